package main

import "fmt"

type hostRemoveCommand struct {
	targetFlags
	jsonFlag
	Name hostName `arg:"" help:"Name of the host."`
	Yes  bool     `help:"Do not ask."`
}

func (hostRemoveCommand) Help() string {
	return `Its addresses, followers and credentials go, and its history with them.

Examples:

    godwit host remove nas.dyn.example.com
    godwit host remove nas.dyn.example.com --yes`
}

func (c hostRemoveCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	name := c.Name.String()
	if !c.Yes {
		// First whether it is there at all, so that nobody is asked in vain.
		h, err := server.ShowHost(a.ctx, name)
		if err != nil {
			return err
		}
		question := fmt.Sprintf("%s (%s) and its credentials will be gone.", h.Host, addrs(h.A, h.AAAA))
		if err := a.confirm(question, "--yes"); err != nil {
			return err
		}
	}
	if err := server.RemoveHost(a.ctx, name); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(struct {
			Host    string `json:"host"`
			Removed bool   `json:"removed"`
		}{name, true})
	}
	a.print("%s is removed.", name)
	return nil
}
