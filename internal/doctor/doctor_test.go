package doctor_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"godwit/internal/api"
	"godwit/internal/doctor"
)

// The DNS that cmd/godwit's tests examine is a real one. Here nobody answers.

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// healthy is a host with which nothing is wrong but that nobody can be asked.
func healthy() doctor.Case {
	return doctor.Case{
		Host: api.HostState{
			Host: "nas.dyn.example.com", Zone: "dyn.example.com", A: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TTL: 60, Generation: 2, Published: 2, Source: api.SourceMatch,
			ChangedAt: now.Add(-time.Hour), ChangedBy: "k7m2qx4p", Seen: now.Add(-time.Hour), Credentials: []api.Credential{{ID: "k7m2qx4p", Kind: "token", State: "active"}},
		},
		Events: []api.Event{{Time: now.Add(-time.Hour), Outcome: api.Changed, Door: "dyndns2", Source: netip.MustParseAddr("192.0.2.1"), After: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		Flag:   " --target local:DIR",
	}
}

// examine looks at a case, and returns its finding of one check.
func examine(t *testing.T, in doctor.Case, check string) doctor.Finding {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no question is sent
	in.Zones = append(in.Zones, api.Zone{Apex: "dyn.example.com", NameServers: []string{"ns.example.net"}})
	r := doctor.Examine(ctx, doctor.Config{Resolver: netip.MustParseAddrPort("192.0.2.53:53"), Now: func() time.Time { return now }}, in)
	for _, f := range r.Findings {
		if f.Check == check {
			return f
		}
	}
	return doctor.Finding{}
}

// TestStored: what can be told without asking anybody.
func TestStored(t *testing.T) {
	here, there := netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("203.0.113.1")
	request := func(minutes int, source netip.Addr, outcome string) api.Request {
		return api.Request{Host: "nas.dyn.example.com", Time: now.Add(-time.Duration(minutes) * time.Minute), Count: 1, Door: "dyndns2", Source: source, Outcome: outcome}
	}
	for _, c := range []struct {
		name  string
		edit  func(*doctor.Case)
		check string
		state doctor.State
		what  string
		do    string
	}{
		{"all is well", func(*doctor.Case) {}, "last update", doctor.Right, "changed 60 minutes ago at door dyndns2 from 192.0.2.1", ""},
		{"suspended", func(c *doctor.Case) { c.Host.Suspended = true }, "host", doctor.Wrong, "it is suspended", "godwit host set nas.dyn.example.com --suspended=off --target local:DIR"},
		{"not published", func(c *doctor.Case) { c.Host.Published = 1 }, "published", doctor.Wrong, "generation 1, and 2 is stored", "Wait two minutes"},
		{"lease ran out", func(c *doctor.Case) { c.Host.A, c.Host.Lease, c.Host.ChangedBy = nil, 3600, "clock" }, "addresses", doctor.Wrong, "the lease of 1h0m0s ran out", "Look after the client"},
		{"taken away", func(c *doctor.Case) { c.Host.A, c.Host.ChangedBy = nil, "k7m2qx4p" }, "addresses", doctor.Wrong, "taken away 60 minutes ago by k7m2qx4p", "godwit host history nas"},
		{"never updated", func(c *doctor.Case) { c.Host.A, c.Events = nil, nil }, "addresses", doctor.Wrong, "no update has ever been accepted", "--for CLIENT --wait"},
		{"a follower without a prefix", func(c *doctor.Case) {
			c.Host.Host, c.Host.Router, c.Host.A, c.Events[0].After = "tv.dyn.example.com", "nas.dyn.example.com", nil, nil
		}, "addresses", doctor.Wrong, "none: what nas.dyn.example.com sends gives it none", "godwit host show nas.dyn.example.com --target local:DIR"},
		{"long TTL", func(c *doctor.Case) { c.Host.TTL = 86400 }, "ttl", doctor.Note, "24h0m0s", "--ttl 60"},
		{"expired", func(c *doctor.Case) { c.Host.Credentials[0].Expires = now.Add(-time.Second) }, "credentials", doctor.Wrong, "nobody can update", "godwit host token add"},
		{"quiet", func(c *doctor.Case) { c.Host.Seen, c.Events[0].Time = now.AddDate(0, 0, -30), now.AddDate(0, 0, -30) }, "last update", doctor.Note, "30 days ago", "--wait"},
		{"another address", func(c *doctor.Case) {
			c.Host.Source, c.Requests = api.SourceFree, []api.Request{request(1, there, api.Unchanged)}
		}, "last update", doctor.Note, "from 203.0.113.1, which is not the address that it set", "--source match"},
		{"wrong token since", func(c *doctor.Case) { c.Requests = []api.Request{request(1, here, "bad-proof")} }, "refusals", doctor.Wrong, "1 minutes ago at door dyndns2 from 192.0.2.77: bad-proof", "8 characters, a hyphen"},
		{"a stranger's guess", func(c *doctor.Case) { c.Requests = []api.Request{request(1, there, "bad-proof")} }, "refusals", doctor.Note, "somebody guesses", ""},
		{"a guess at a new host", func(c *doctor.Case) { c.Events, c.Requests = nil, []api.Request{request(1, there, "bad-proof")} }, "refusals", doctor.Wrong, "bad-proof", ""},
		{"refused for its address", func(c *doctor.Case) { c.Requests = []api.Request{request(1, there, "address-not-allowed")} }, "refusals", doctor.Wrong, "address-not-allowed", "--addresses any"},
		{"a guess after a refusal", func(c *doctor.Case) {
			c.Requests = []api.Request{request(1, there, "bad-proof"), request(5, here, "not-source")}
		}, "refusals", doctor.Wrong, "not-source", "--source free"},
		{"refused before", func(c *doctor.Case) { c.Requests = []api.Request{request(90, here, "not-source")} }, "refusals", doctor.Note, "before that", ""},
		{"refused in its history", func(c *doctor.Case) {
			c.Events = append([]api.Event{{Time: now.Add(-time.Minute), Outcome: "not-source", Door: "signed", Source: there, What: "it names another"}}, c.Events...)
		}, "refusals", doctor.Wrong, "not-source (it names another)", "--source free"},
		{"no name", func(c *doctor.Case) {
			c.Events, c.Requests = nil, []api.Request{{Time: now, Outcome: "malformed", Why: "a host name is not understood", Door: "dyndns2", Source: there}}
		}, "strangers", doctor.Note, "named no host of this server came less than a minute ago from 203.0.113.1, and was refused: a host name is not understood", ""},
		{"no certificate", func(c *doctor.Case) {
			c.Status = &api.Status{Certificate: &api.Certificate{Problem: "the CA is away"}}
		}, "certificate", doctor.Wrong, "there is none yet, and HTTPS does not work without", "cannot get one: the CA is away"},
		{"expired certificate", func(c *doctor.Case) {
			c.Status = &api.Status{Certificate: &api.Certificate{NotAfter: now.Add(-3 * time.Hour)}}
		}, "certificate", doctor.Wrong, "it expired 3 hours ago", "--tls-cert"},
		{"good certificate", func(c *doctor.Case) {
			c.Status = &api.Status{Certificate: &api.Certificate{NotAfter: now.Add(time.Hour)}}
		}, "certificate", "", "", ""},
		{"provider right", func(c *doctor.Case) {
			c.Listed = []api.RRset{{Name: "nas.dyn.example.com", Type: "A", Values: []string{"192.0.2.1"}}}
		}, "provider", doctor.Right, "it has 192.0.2.1", ""},
		{"provider wrong", func(c *doctor.Case) {
			c.Listed = []api.RRset{{Name: "nas.dyn.example.com", Type: "A", Values: []string{"192.0.2.9"}}}
		}, "provider", doctor.Wrong, "it has 192.0.2.9, and 192.0.2.1 is stored", "Somebody else"},
		{"twins", func(c *doctor.Case) { c.Twins = []string{"cam.dyn.example.com"} }, "secret", doctor.Wrong, "is that of cam.dyn.example.com too", "godwit host rotate nas"},
		{"provider not known", func(c *doctor.Case) { c.NotListed = "a CNAME at nas.dyn.example.com" }, "provider", doctor.Wrong, "cannot be compared: a CNAME at", "console"},
		{"provider empty", func(c *doctor.Case) { c.Listed = []api.RRset{} }, "provider", doctor.Wrong, "it has nothing", ""},
		{"resolver does not answer", func(*doctor.Case) {}, "delegation", doctor.Note, "192.0.2.53:53 cannot be asked", "--resolver"},
		{"zone is not served", func(c *doctor.Case) { c.Host.Zone = "old.example.com" }, "zone", doctor.Wrong, "does not serve old.example.com", "--zone old.example.com"},
		{"wildcard", func(c *doctor.Case) { c.Host.Host, c.Host.Suspended = "*.dyn.example.com", true }, "host", doctor.Wrong, "", "godwit host set '*.dyn.example.com'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := healthy()
			c.edit(&in)
			f := examine(t, in, c.check)
			if f.State != c.state || !strings.Contains(f.What, c.what) || !strings.Contains(strings.Join(f.Do, "\n"), c.do) {
				t.Errorf("%+v", f)
			}
		})
	}
}

// Every refusal has advice.
func TestAdvice(t *testing.T) {
	for _, code := range []string{"malformed", "bad-proof", "clock", "replayed", "not-yours", "not-source", "address-not-allowed", "wrong-family", "too-many", "suspended", "rate-limited", "unavailable", "too-large"} {
		if len(doctor.Advice(api.Request{Outcome: code}, "nas.dyn.example.com", "")) == 0 {
			t.Errorf("none for %s", code)
		}
	}
	plain := api.Request{Outcome: "bad-proof", Why: "a password was sent over plain HTTP, where it is not taken", Fix: "use https"}
	if got := doctor.Advice(plain, "nas.dyn.example.com", ""); len(got) != 1 || got[0] != "Use https" {
		t.Errorf("over plain HTTP: %q", got)
	}
}
