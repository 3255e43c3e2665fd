package main

import (
	"net/netip"
	"slices"
	"time"

	"godwit/internal/api"
)

type hostHistoryCommand struct {
	targetFlags
	jsonFlag
	Name hostName `arg:"" help:"Name of the host."`
}

func (hostHistoryCommand) Help() string {
	return `The newest comes first. At least the last 32 changes are kept, and some refusals.

Examples:

    godwit host history nas.dyn.example.com
    godwit host history nas.dyn.example.com --json | jq -r '.[0].time'`
}

func (c hostHistoryCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	history, err := server.History(a.ctx, c.Name.String())
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(history.Events)
	}
	if history.Router != "" {
		a.say("%s is a follower of %s, with which it moves.", history.Host, history.Router)
	}
	t := newTable(a.stdout, "TIME (UTC)", "OUTCOME", "DOOR", "SOURCE", "CREDENTIAL", "WHAT")
	for _, e := range history.Events {
		source := "-"
		if e.Source.IsValid() {
			source = e.Source.String()
			if !e.Proven {
				source += " (unproven)"
			}
		}
		t.add(e.Time.UTC().Format(time.DateTime), e.Outcome, e.Door, source, dash(e.Credential), what(e))
	}
	t.flush()
	return nil
}

// what says in words what an event did.
func what(e api.Event) string {
	if e.Outcome != api.Changed || slices.Equal[[]netip.Addr](e.Before, e.After) {
		return dash(e.What)
	}
	move := addrs(e.Before) + " → " + addrs(e.After)
	if e.What == "" {
		return move
	}
	return e.What + ": " + move
}
