package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"godwit/internal/api"
	"godwit/internal/client"
)

type hostListCommand struct {
	targetFlags
	jsonFlag
}

func (hostListCommand) Help() string {
	return `Examples:

    godwit host list
    godwit host list --target local:/var/lib/godwit
    godwit host list --json | jq -r '.[] | select(.a == []) | .host'`
}

func (c hostListCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	if c.JSON {
		return c.printAll(a, server)
	}
	t := newTable(a.stdout, "HOST", "ADDRESSES", "CHANGED", "SEEN", "NOTES")
	now, n := a.now(), 0
	for cursor := ""; ; {
		page, err := server.HostPage(a.ctx, cursor, 0)
		if err != nil {
			return err
		}
		for _, h := range page.Hosts {
			seen := h.Seen
			if seen.Before(h.ChangedAt) && h.ChangedBy != "admin" && h.ChangedBy != "clock" {
				seen = h.ChangedAt // a change is a sign of life too
			}
			t.add(h.Host, addrs(h.A, h.AAAA), age(now, h.ChangedAt), age(now, seen), notes(h))
			for _, f := range h.Followers {
				t.add(f.Name, addrs(f.Addresses), age(now, h.ChangedAt), age(now, seen), followerNotes(h, f))
			}
			n++
		}
		t.flush()
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if n == 0 {
		a.say("There is no host yet. Add one: godwit host add NAME%s", c.targetFlag(a))
	}
	return nil
}

// printAll writes one array, page by page: a million hosts need no memory.
func (c hostListCommand) printAll(a *app, server *client.Client) error {
	separator := "["
	for cursor := ""; ; {
		page, err := server.HostPage(a.ctx, cursor, 0)
		if err != nil {
			return err
		}
		for _, h := range page.Hosts {
			text, err := json.MarshalIndent(h, "  ", "  ")
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s\n  %s", separator, text)
			separator = ","
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if separator == "[" {
		a.print("[]")
		return nil
	}
	a.print("\n]")
	return nil
}

// followerNotes say whose follower it is, and what is out of the ordinary.
func followerNotes(h api.HostState, f api.FollowerState) string {
	out := "follows " + h.Host
	if why := noRoom(h, f); why != "" {
		out += ", " + why
	}
	return out
}

// notes are what is out of the ordinary about a host.
func notes(h api.HostState) string {
	var out []string
	if h.Suspended {
		out = append(out, "suspended")
	}
	if h.Published < h.Generation {
		out = append(out, "not yet in DNS")
	}
	if h.Wildcard {
		out = append(out, "wildcard")
	}
	if n := len(h.Followers); n > 0 {
		out = append(out, quantity(n, "follower"))
	}
	return strings.Join(out, ", ")
}
