package main

import "godwit/internal/api"

type hostSetCommand struct {
	targetFlags
	jsonFlag
	Name hostName `arg:"" help:"Name of the host."`
	settingFlags
	Suspended *switchFlag `help:"Stop the host: updates are refused and DNS is empty, its state stays. --suspended=off lets it go on."`
}

func (hostSetCommand) Help() string {
	return `What is not named stays as it is.

Examples:

    godwit host set nas.dyn.example.com --ttl 300
    godwit host set nas.dyn.example.com --addresses 192.168.0.0/16,fd00::/8
    godwit host set nas.dyn.example.com --suspended
    godwit host set nas.dyn.example.com --suspended=off
    godwit host set nas.dyn.example.com --seed=off`
}

func (c hostSetCommand) Run(a *app) error {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	settings.Suspended = (*bool)(c.Suspended)
	if settings == (api.Settings{}) {
		return usage("nothing is to be changed; name a setting, such as --ttl 300")
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	h, err := server.SetHost(a.ctx, c.Name.String(), settings)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(h)
	}
	if h.Outcome == api.Unchanged {
		a.print("%s had these settings already; nothing changed.", h.Host)
		return nil
	}
	a.print("%s has these settings now (generation %d).", h.Host, h.Generation)
	return nil
}
