package route53_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"godwit/internal/awstest"
	"godwit/internal/ddns"
)

// TestPoisoned: of 500 changes one or more are refused, for ever; the rest goes
// through, in few calls.
func TestPoisoned(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config awstest.Route53Config
		bad    []int
		calls  int // at most
	}{
		{"one, by its message", awstest.Route53Config{}, []int{250}, 3},
		{"one, by a root of its own", awstest.Route53Config{OwnRoot: true}, []int{499}, 3},
		{"one, without a message", awstest.Route53Config{Silent: true}, []int{123}, 20},
		{"twenty, by their messages", awstest.Route53Config{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109}, 5},
		{"two, without a message", awstest.Route53Config{Silent: true}, []int{0, 499}, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := open(t, tt.config)
				hosts := make([]*ddns.Host, 500)
				for i := range hosts {
					hosts[i] = host(t, fmt.Sprintf("h%d", i), i)
				}
				must(t, w, hosts...)
				bad := map[int]bool{}
				for _, i := range tt.bad {
					bad[i] = true
					w.Poison(hosts[i].Name.String())
				}
				for i := range hosts {
					hosts[i] = next(hosts[i], func(h *ddns.Host) { h.A = []netip.Addr{v4(1000 + i)} })
				}
				before := w.Count()
				for i, r := range w.Publish(t.Context(), hosts) {
					want := 1000 + i
					if bad[i] {
						want = i
						if !errors.Is(r.Err, ddns.ErrNotTaken) || !strings.Contains(r.Err.Error(), hosts[i].Name.String()) || !strings.Contains(r.Err.Error(), "InvalidChangeBatch") {
							t.Errorf("%s was refused: %v", hosts[i].Name, r.Err)
						}
					} else if r.Err != nil {
						t.Errorf("%s suffers from another: %v", hosts[i].Name, r.Err)
					}
					if got := w.shows(hosts[i].Name.String(), "A"); got != fmt.Sprint("60 ", v4(want)) {
						t.Errorf("%s shows %s", hosts[i].Name, got)
					}
				}
				if n := w.Count() - before; n > tt.calls {
					t.Errorf("%d calls, want at most %d", n, tt.calls)
				}
			})
		})
	}
}

// TestChallengeBesidePoison: a certificate does not wait for an address that
// DNS does not take.
func TestChallengeBesidePoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		h := host(t, "nas", 1)
		h.TXT = []ddns.TXT{{Value: "one"}}
		w.Poison(h.Name.String())
		if r := w.Publish(t.Context(), []*ddns.Host{h})[0]; r.Err == nil {
			t.Error("no error")
		}
		if got := w.shows("_acme-challenge.nas.dyn.example.org", "TXT"); got != `60 "one"` {
			t.Error(got)
		}
	})
}

// TestDenied: a role that may not change one name hinders no other; one that
// may change nothing is asked a few times only.
func TestDenied(t *testing.T) {
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := open(t, awstest.Route53Config{})
			hosts := make([]*ddns.Host, 500)
			for i := range hosts {
				hosts[i] = host(t, fmt.Sprintf("h%d", i), i)
			}
			rule := awstest.Rule{Action: awstest.ChangeSets, Name: hosts[77].Name.String(), Times: -1, Fault: awstest.Denied()}
			if all {
				rule.Name = ""
			}
			w.Inject(rule)
			for i, r := range w.Publish(t.Context(), hosts) {
				if failed := r.Err != nil; failed != (all || i == 77) {
					t.Errorf("%d: %v", i, r.Err)
				}
			}
			if n := w.Count(); n > 40 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// TestRole: the role of the function, and nothing more, suffices. A host that
// it does not cover fails alone.
func TestRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const zone = "Z000000000001"
		w := open(t, awstest.Route53Config{Policies: []awstest.Policy{
			{Actions: []string{awstest.ListSets}, Zones: []string{zone}},
			{Actions: []string{awstest.ChangeSets}, Zones: []string{zone}, Names: []string{"*.dyn.example.org"}, Types: []string{"A", "AAAA"}, Changes: []string{"CREATE", "DELETE"}},
			{Actions: []string{awstest.ChangeSets}, Zones: []string{zone}, Names: []string{"_acme-challenge.*"}, Types: []string{"TXT"}, Changes: []string{"CREATE", "DELETE"}},
		}})
		if w.zone != zone {
			t.Fatal(w.zone)
		}
		h, star, outside := host(t, "nas", 1), host(t, "*", 2), host(t, "x", 3)
		outside.Name = apex
		h.Wildcard, h.TXT = true, []ddns.TXT{{Value: "one"}}
		for range 2 {
			results := w.Publish(t.Context(), []*ddns.Host{h, outside, star})
			if results[0].Err != nil || results[1].Err == nil || results[2].Err != nil {
				t.Errorf("%v", results)
			}
			h, star, outside = next(h, func(h *ddns.Host) { h.TTL++ }), next(star, func(h *ddns.Host) { h.TTL++ }), next(outside, func(*ddns.Host) {})
			h.Published, h.Shown, star.Published, star.Shown = results[0].Generation, results[0].Shown, results[2].Generation, results[2].Shown
		}
	})
}

// TestInTheWay: what godwit cannot have made is not replaced, and is named.
func TestInTheWay(t *testing.T) {
	for name, there := range map[string]awstest.RecordSet{
		"an alias":                   {Name: "nas.dyn.example.org", Type: "A", Alias: "lb.example.org."},
		"a routing policy":           {Name: "nas.dyn.example.org", Type: "AAAA", TTL: 60, Identifier: "x", Values: []string{"2001:db8::1"}},
		"a CNAME":                    {Name: "nas.dyn.example.org", Type: "CNAME", TTL: 60, Values: []string{"www.example.org"}},
		"values that cannot be read": {Name: "nas.dyn.example.org", Type: "A", TTL: 60, Values: []string{"198.18.0.1.9"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := open(t, awstest.Route53Config{})
			w.Put(w.zone, there)
			h := host(t, "nas", 1)
			if there.Type == "AAAA" { // an identifier makes it another set
				h.Published, h.Generation = 1, 3
			}
			before := fmt.Sprint(w.Sets(w.zone))
			r := w.Publish(t.Context(), []*ddns.Host{h})[0]
			if !errors.Is(r.Err, ddns.ErrNotTaken) || !strings.Contains(r.Err.Error(), name+" at nas.dyn.example.org") {
				t.Errorf("%s: %v", name, r.Err)
			}
			if after := fmt.Sprint(w.Sets(w.zone)); after != before {
				t.Errorf("%s\nbecame %s", before, after)
			}
			if _, err := w.Look(t.Context(), h); err == nil || !strings.Contains(err.Error(), name+" at nas.dyn.example.org") {
				t.Errorf("%s: Look: %v", name, err)
			}
		})
	}
}
