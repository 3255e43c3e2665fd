package main

import (
	"strings"

	"godwit/internal/api"
)

type hostAddCommand struct {
	targetFlags
	jsonFlag
	Name hostName `arg:"" help:"Name of the host, in one of the server's zones."`
	settingFlags
	SecretFile string `placeholder:"FILE" help:"Use the secret in this file (- for standard input) instead of a token that is made: for clients of the seed that have one."`
	Join       bool   `help:"Make a join code instead of a token: a device makes its own key and joins with the code (godwit agent join). The seed's protocol is off then."`
}

func (hostAddCommand) Help() string {
	return `The token that is printed is the seed's shared secret as well. It is shown once. With
--join there is neither: the secret is a key that never leaves the device.

Examples:

    godwit host add nas.dyn.example.com
    godwit host add pi.dyn.example.com --join
    godwit host add lab.dyn.example.com --addresses any --ttl 30
    godwit host add cam.dyn.example.com --secret-file cam.secret
    godwit host add fritz.dyn.example.com --follower tv.dyn.example.com=::1234`
}

func (c hostAddCommand) Run(a *app) error {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	request := api.AddHost{Host: c.Name.String(), Settings: settings, Join: c.Join}
	if c.Join && (c.SecretFile != "" || settings.Seed != nil && *settings.Seed) {
		return usage("--join is for a host without a shared secret; leave --secret-file and --seed=on out")
	}
	if c.SecretFile != "" {
		if request.Secret, err = a.readSecret(c.SecretFile, "Secret of "+c.Name.String()); err != nil {
			return err
		}
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	created, err := server.AddHost(a.ctx, request)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(created)
	}
	a.print("Host %s is in zone %s, with a TTL of %d seconds.", created.Host, created.Zone, created.TTL)
	if c.Join {
		a.printJoin(created, c.targetFlag(a))
		return nil
	}
	seedOn := settings.Seed == nil || *settings.Seed
	a.printSetup(created, c.SecretFile, seedOn, c.targetFlag(a))
	return nil
}

// printSetup prints a new secret and what to paste where.
func (a *app) printSetup(c api.Created, secretFile string, seed bool, target string) {
	if c.Token != "" {
		a.print("\nIts token, shown this once:\n\n  %s", c.Token)
	}
	url := c.URL
	if url == "" {
		url = "http://YOUR-SERVER"
		a.say("The server does not know its own URL: replace %s below, and start it with --url.", url)
	}
	file := secretFile
	if c.Token != "" {
		file = c.Host + ".secret"
		if strings.HasPrefix(file, "*") {
			file = "wildcard" + strings.TrimPrefix(file, "*")
		}
		a.print("\nOn the machine whose address it shall have, keep the token in a file.\nPaste it, then press Enter and Ctrl-D:\n\n  (umask 077; cat >%s)", file)
	} else if file == "-" || file == "" {
		file = "SECRET-FILE"
	}
	file = shellQuote(file)
	if !seed {
		a.print("\nThe seed's protocol is off for it. Whenever the address may have changed, over HTTPS:\n\n%s", bearerCommand(url, c.Host, file))
		a.print("\nBetter, with a key in place of the token: godwit host token add %s --join%s", shellQuote(c.Host), target)
		a.print("\nThen see: godwit host show %s%s", shellQuote(c.Host), target)
		return
	}
	a.print("\nWhenever the address may have changed, with godwit:\n\n  godwit set --url %s --host %s --secret-file %s", shellQuote(url), shellQuote(c.Host), file)
	a.print("\nor with nothing but curl and sha256sum:\n\n%s", seedCommands(url, c.Host, file))
	a.print("\nFor a router or another program, next: godwit host setup %s --for CLIENT%s", shellQuote(c.Host), target)
	a.print("Then see: godwit host show %s%s", shellQuote(c.Host), target)
}

// bearerCommand sets a host with curl and a token, which does not stand in an
// argument that others can see.
func bearerCommand(url, host, file string) string {
	return `  printf 'Authorization: Bearer %s\n' "$(cat ` + file + `)" |
    curl -sS -H @- -X PUT -d '{}' ` + shellQuote(strings.TrimRight(url, "/")+api.HostPath+host+api.AddressesPath)
}

// seedCommands is the seed's client in three commands. The answer of get has the
// address last, after return_message.
func seedCommands(url, host, file string) string {
	url = shellQuote(strings.TrimRight(url, "/") + "/")
	return `  IP=$(curl -s -d '{"execution_mode":"get"}' ` + url + ` | sed 's/.*: "//; s/".*//')
  HASH=$(printf %s "${IP}` + host + `$(cat ` + file + `)" | sha256sum | cut -c 1-64)
  curl -s -d '{"execution_mode":"set","ddns_hostname":"` + host + `","validation_hash":"'$HASH'"}' ` + url
}
