package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/api"
)

type hostShowCommand struct {
	targetFlags
	jsonFlag
	Name hostName `arg:"" help:"Name of the host."`
}

func (hostShowCommand) Help() string {
	return `Examples:

    godwit host show nas.dyn.example.com
    godwit host show tv.dyn.example.com        # a follower: whose, and its addresses
    godwit host show nas.dyn.example.com --json | jq -r '.a[]'`
}

func (c hostShowCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	h, err := server.ShowHost(a.ctx, c.Name.String())
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(h)
	}
	a.printHost(h)
	return nil
}

func (a *app) printHost(h api.HostState) {
	now := a.now()
	inDNS := "as above"
	switch {
	case h.Suspended:
		inDNS = "nothing: the host is suspended"
	case h.Published < h.Generation:
		inDNS = fmt.Sprintf("generation %d; %d follows", h.Published, h.Generation)
	case len(h.A)+len(h.AAAA)+len(h.Challenges) == 0:
		inDNS = "nothing yet: no update has come"
	}
	if h.Router != "" {
		a.printFollower(h, inDNS)
		return
	}
	lease := "none"
	if h.Lease > 0 {
		lease = span(time.Duration(h.Lease) * time.Second)
	}
	prefix := ""
	if h.Prefix.IsValid() {
		prefix = h.Prefix.String()
	}
	refusals := ""
	if h.Refusals > 0 {
		refusals = fmt.Sprint(h.Refusals)
	}
	fields(a.stdout,
		"Host", h.Host,
		"Zone", h.Zone,
		"A", addrs(h.A),
		"AAAA", addrs(h.AAAA),
		"Prefix", prefix,
		"In DNS", inDNS,
		"TTL", fmt.Sprint(h.TTL),
		"Generation", fmt.Sprint(h.Generation),
		"Changed", fmt.Sprintf("%s by %s", when(now, h.ChangedAt), h.ChangedBy),
		"Seen", when(now, h.Seen),
		"Created", when(now, h.Created),
		"Addresses", h.Addresses,
		"Source", h.Source,
		"Seed", onOff(h.Seed),
		"Suspended", onOff(h.Suspended),
		"Wildcard", onOff(h.Wildcard),
		"Lease", lease,
		"Refusals", refusals,
	)
	if len(h.Followers) > 0 {
		a.print("")
		t := newTable(a.stdout, "FOLLOWER", "INTERFACE ID", "A", "AAAA", "ADDRESSES", "NOTES")
		for _, f := range h.Followers {
			t.add(f.Name, f.Low, onOff(f.A), onOff(f.AAAA), addrs(f.Addresses), noRoom(h, f))
		}
		t.flush()
	}
	if len(h.Challenges) > 0 {
		a.print("")
		t := newTable(a.stdout, "CHALLENGE VALUE", "CREDENTIAL", "CAME")
		for _, c := range h.Challenges {
			t.add(c.Value, c.Credential, age(now, c.Time))
		}
		t.flush()
	}
	if len(h.Credentials) > 0 {
		a.print("")
		a.printCredentials(h.Credentials, now)
	}
}

// printFollower shows what there is to say of a name that follows a router.
func (a *app) printFollower(h api.HostState, inDNS string) {
	prefix := ""
	if h.Prefix.IsValid() {
		prefix = h.Prefix.String()
	}
	fields(a.stdout,
		"Follower", h.Host,
		"Of", h.Router,
		"Zone", h.Zone,
		"A", addrs(h.A),
		"AAAA", addrs(h.AAAA),
		"Prefix", prefix,
		"In DNS", inDNS,
		"TTL", fmt.Sprint(h.TTL),
		"Generation", fmt.Sprint(h.Generation),
		"Changed", fmt.Sprintf("%s by %s", when(a.now(), h.ChangedAt), h.ChangedBy),
	)
}

// noRoom says why a follower has no AAAA though its router has a prefix.
func noRoom(h api.HostState, f api.FollowerState) string {
	if !f.AAAA || !h.Prefix.IsValid() || slices.ContainsFunc(f.Addresses, netip.Addr.Is6) {
		return ""
	}
	return fmt.Sprintf("its subnet ID has no room in %s", h.Prefix)
}

func (a *app) printCredentials(list []api.Credential, now time.Time) {
	t := newTable(a.stdout, "CREDENTIAL", "KIND", "STATE", "CREATED", "EXPIRES", "LIMITS", "LABEL")
	for _, c := range list {
		var limits []string
		if c.Algorithm != "" {
			limits = append(limits, c.Algorithm)
		}
		if len(c.Types) > 0 {
			limits = append(limits, strings.Join(c.Types, "+"))
		}
		for _, p := range c.Networks {
			limits = append(limits, "from "+p.String())
		}
		if c.Rate > 0 {
			limits = append(limits, fmt.Sprintf("%d changes/h", c.Rate))
		}
		if c.URLToken {
			limits = append(limits, "may stand in a URL")
		}
		if c.Seed {
			limits = append(limits, "seed")
		}
		expires := "never"
		if !c.Expires.IsZero() {
			expires = c.Expires.UTC().Format(time.RFC3339)
		}
		t.add(c.ID, c.Kind, c.State, age(now, c.Created), expires, dash(strings.Join(limits, ", ")), dash(c.Label))
	}
	t.flush()
	for _, c := range list {
		if len(c.Hosts) > 0 {
			a.print("\n%s serves %s.", c.ID, strings.Join(c.Hosts, ", "))
		}
	}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
