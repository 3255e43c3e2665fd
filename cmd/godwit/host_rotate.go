package main

import "godwit/internal/api"

type hostRotateCommand struct {
	targetFlags
	jsonFlag
	Name       hostName    `arg:"" help:"Name of the host."`
	SecretFile string      `placeholder:"FILE" help:"Use the secret in this file (- for standard input) instead of a token that is made."`
	Seed       *switchFlag `placeholder:"on|off" help:"Switch the seed's protocol on or off with it."`
	Join       bool        `help:"Make a join code instead of a token; the seed's protocol is off then."`
}

func (hostRotateCommand) Help() string {
	return `Every token, shared secret, key and join code of the host ends at once; one that serves other hosts too
ends for this one only. To replace one token alone: godwit host token rotate.

Examples:

    godwit host rotate nas.dyn.example.com
    godwit host rotate nas.dyn.example.com --seed=on
    godwit host rotate pi.dyn.example.com --join
    godwit host rotate nas.dyn.example.com --secret-file nas.secret`
}

func (c hostRotateCommand) Run(a *app) error {
	request := api.RotateHost{Seed: (*bool)(c.Seed), Join: c.Join}
	if c.Join && (c.SecretFile != "" || c.Seed != nil) {
		return usage("--join makes a host without a shared secret; leave --secret-file and --seed out")
	}
	var err error
	if c.SecretFile != "" {
		if request.Secret, err = a.readSecret(c.SecretFile, "New secret of "+c.Name.String()); err != nil {
			return err
		}
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	created, err := server.RotateHost(a.ctx, c.Name.String(), request)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(created)
	}
	if c.Join {
		a.print("All secrets and keys of %s have ended.", created.Host)
		a.printJoin(created, c.targetFlag(a))
		return nil
	}
	a.print("%s has a new secret. The old ones have ended.", created.Host)
	seed := true
	if request.Seed != nil {
		seed = *request.Seed
	} else if h, err := server.ShowHost(a.ctx, c.Name.String()); err == nil {
		seed = h.Seed
	}
	a.printSetup(created, c.SecretFile, seed, c.targetFlag(a))
	return nil
}
