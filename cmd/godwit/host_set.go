package main

import (
	"context"
	"fmt"
	"slices"

	"godwit/internal/api"
	"godwit/internal/client"
)

type hostSetCommand struct {
	targetFlags
	jsonFlag
	Name hostName `arg:"" help:"Name of the host."`
	settingFlags
	AddFollower    []string   `sep:"none" placeholder:"NAME=ID" help:"Add a name behind the same router, or give one another interface ID; the others stay (repeatable)."`
	RemoveFollower []hostName `sep:"none" placeholder:"NAME" help:"Take a name behind the router out; the others stay (repeatable)."`

	Suspended *switchFlag `help:"Stop the host: updates are refused and DNS is empty, its state stays. --suspended=off lets it go on."`
}

func (hostSetCommand) Help() string {
	return `What is not named stays as it is.

Examples:

    godwit host set nas.dyn.example.com --ttl 300
    godwit host set nas.dyn.example.com --addresses 192.168.0.0/16,fd00::/8
    godwit host set nas.dyn.example.com --suspended
    godwit host set nas.dyn.example.com --suspended=off
    godwit host set nas.dyn.example.com --seed=off
    godwit host set fritz.dyn.example.com --add-follower tv.dyn.example.com=::1234,a`
}

func (c hostSetCommand) Run(a *app) error {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	settings.Suspended = (*bool)(c.Suspended)
	follow := len(c.AddFollower)+len(c.RemoveFollower) > 0
	if follow && settings.Followers != nil {
		return usage("--follower replaces the whole list; leave it out, or --add-follower and --remove-follower")
	}
	if settings == (api.Settings{}) && !follow {
		return usage("nothing is to be changed; name a setting, such as --ttl 300")
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	if follow {
		if settings.Followers, err = c.followers(a.ctx, server); err != nil {
			return err
		}
	}
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

// followers is the host's list with what is to be added and removed.
func (c hostSetCommand) followers(ctx context.Context, server *client.Client) (*[]api.Follower, error) {
	var add []api.Follower
	for _, text := range c.AddFollower {
		f, err := parseFollower("--add-follower", text)
		if err != nil {
			return nil, err
		}
		add = append(add, f)
	}
	h, err := server.ShowHost(ctx, c.Name.String())
	if err != nil {
		return nil, err
	}
	list := []api.Follower{}
	for _, f := range h.Followers {
		list = append(list, f.Follower)
	}
	at := func(name string) int {
		return slices.IndexFunc(list, func(f api.Follower) bool { return f.Name == name })
	}
	for _, name := range c.RemoveFollower {
		i := at(name.String())
		if i < 0 {
			return nil, fmt.Errorf("%s is no follower of %s; godwit host show %[2]s lists those that there are", name, c.Name)
		}
		list = slices.Delete(list, i, i+1)
	}
	for _, f := range add {
		if i := at(f.Name); i >= 0 {
			list[i] = f
		} else {
			list = append(list, f)
		}
	}
	return &list, nil
}
