package route53_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/publish/route53"
)

// calls is what the stand-in was asked since the last time.
type calls struct{ changes, lists int }

func (w *world) since(before *calls) calls {
	now := calls{w.Count(awstest.ChangeSets), w.Count(awstest.ListSets)}
	d := calls{now.changes - before.changes, now.lists - before.lists}
	*before = now
	return d
}

// TestCalls: what a publish costs.
func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		seen := new(calls)
		expect := func(doing string, changes, lists int) {
			t.Helper()
			if got := w.since(seen); got != (calls{changes, lists}) {
				t.Errorf("%s: %+v, want %d and %d", doing, got, changes, lists)
			}
		}
		h := host(t, "nas", 1)
		must(t, w, h)
		expect("first", 1, 0)
		h = next(h, func(h *ddns.Host) { h.A = []netip.Addr{v4(2)} })
		must(t, w, h)
		expect("changed", 1, 0)
		must(t, w, h)
		expect("published already", 0, 1)
		h = next(h, func(h *ddns.Host) { h.Free = true })
		must(t, w, h)
		expect("changed in nothing that shows", 0, 1)
		h = next(h, func(h *ddns.Host) { h.TXT = []ddns.TXT{{Value: "t"}} })
		must(t, w, h)
		expect("challenge", 1, 0)
		h = next(h, func(h *ddns.Host) { h.A, h.TXT = []netip.Addr{v4(3)}, nil })
		must(t, w, h)
		expect("both kinds", 2, 0)
		h = next(next(h, func(*ddns.Host) {}), func(h *ddns.Host) { h.A = []netip.Addr{v4(4)} })
		must(t, w, h)
		expect("a generation in between that nobody has heard of", 1, 1)
		hosts := make([]*ddns.Host, 500)
		for i := range hosts {
			hosts[i] = host(t, fmt.Sprintf("h%d", i), i)
		}
		must(t, w, hosts...)
		expect("500 new hosts of two families", 1, 0)
		for i := range hosts {
			hosts[i] = next(hosts[i], func(h *ddns.Host) { h.A = []netip.Addr{v4(i + 1)} })
		}
		must(t, w, hosts...)
		expect("500 hosts that changed one", 1, 0)
		for i := range hosts {
			hosts[i] = next(hosts[i], func(h *ddns.Host) { h.TTL = 300 })
		}
		must(t, w, hosts...)
		expect("500 hosts that changed two", 2, 0)
		must(t, w)
		expect("none", 0, 0)
	})
}

// TestFaults befall one host alone and one of three. The fault lasts for one
// call; DNS must show the hosts, and say so, or say that it does not.
func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault awstest.Fault
		fails bool // the calls that it befalls are not repeated
	}{
		"500":                {awstest.ServerError(), false},
		"503":                {awstest.Unavailable(), false},
		"500 after":          {awstest.ServerError().AfterCommit(), false},
		"503 after":          {awstest.Unavailable().AfterCommit(), false},
		"cut":                {awstest.Cut(), false},
		"cut after":          {awstest.Cut().AfterCommit(), false},
		"throttled":          {awstest.Throttled(), false},
		"busy":               {awstest.Busy(), false},
		"malformed":          {awstest.Malformed(), false},
		"truncated":          {awstest.Truncated(), false},
		"malformed refusal":  {awstest.Fault{Status: 400, Code: "InvalidChangeBatch", Garble: awstest.Malformed().Garble}, true},
		"delayed, then seen": {awstest.Fault{Delay: 2 * time.Second}, false},
		"no answer":          {awstest.Fault{Delay: time.Hour}, false},
		"no answer after":    {awstest.Fault{Delay: time.Hour}.AfterCommit(), false},
		"denied":             {awstest.Denied(), true},
	} {
		for _, n := range []int{1, 3} {
			for _, action := range []string{awstest.ChangeSets, awstest.ListSets} {
				t.Run(fmt.Sprintf("%s/%d/%s", name, n, action), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := open(t, awstest.Route53Config{})
						hosts := make([]*ddns.Host, n)
						for i := range hosts {
							hosts[i] = host(t, fmt.Sprintf("h%d", i), i)
						}
						must(t, w, hosts...)
						for i := range hosts {
							hosts[i] = next(hosts[i], func(h *ddns.Host) { h.A = []netip.Addr{v4(100 + i)} })
							if action == awstest.ListSets { // something to look at
								hosts[i].Published, hosts[i].Generation = 1, 3
							}
						}
						w.Inject(awstest.Rule{Action: action, Fault: tt.fault})
						failed := 0
						for i, r := range w.Publish(t.Context(), hosts) {
							got := w.shows(hosts[i].Name.String(), "A")
							switch want := fmt.Sprint("60 ", v4(100+i)); {
							case r.Err != nil:
								failed++
							case got != want:
								t.Errorf("%s is said to be shown; DNS shows %s, want %s", hosts[i].Name, got, want)
							default:
								hosts[i].Published, hosts[i].Shown = r.Generation, r.Shown
							}
						}
						if n == 1 && (failed > 0) != tt.fails {
							t.Errorf("%d of %d failed", failed, n)
						}
						synctest.Wait()
						time.Sleep(time.Hour) // whatever was under way has ended
						must(t, w, hosts...)
						for i := range hosts {
							if got, want := w.shows(hosts[i].Name.String(), "A"), fmt.Sprint("60 ", v4(100+i)); got != want {
								t.Errorf("in the end DNS shows %s, want %s", got, want)
							}
							w.neverEmpty(t, hosts[i].Name.String())
						}
					})
				})
			}
		}
	}
}

// neverEmpty: once there, a name has had an answer in every state since.
func (w *world) neverEmpty(t *testing.T, name string) {
	t.Helper()
	for i, s := range w.History(name, "A") {
		if s == nil {
			t.Errorf("%s was empty after its change %d", name, i)
		}
	}
}

// states are the IPv4 addresses that a name has had, "-" where it had none.
func (w *world) states(name string) string {
	var out []string
	for _, s := range w.History(name, "A") {
		if s == nil {
			out = append(out, "-")
		} else {
			out = append(out, s.Values...)
		}
	}
	return strings.Join(out, " ")
}

// TestDrift: what others did to a host's sets is seen and put right, and what
// is not the host's is left alone.
func TestDrift(t *testing.T) {
	for name, edit := range map[string]awstest.RecordSet{
		"wrong TTL":     {Name: "nas.dyn.example.org", Type: "A", TTL: 61, Values: []string{"198.18.0.1"}},
		"wrong address": {Name: "nas.dyn.example.org", Type: "A", TTL: 60, Values: []string{"192.0.2.9"}},
		"one too many":  {Name: "nas.dyn.example.org", Type: "A", TTL: 60, Values: []string{"198.18.0.1", "192.0.2.9"}},
		"missing":       {Name: "nas.dyn.example.org", Type: "AAAA"},
		"challenge":     {Name: "_acme-challenge.nas.dyn.example.org", Type: "TXT", TTL: 60, Values: []string{`"two"`}},
		"wildcard":      {Name: "*.nas.dyn.example.org", Type: "A"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := open(t, awstest.Route53Config{})
				h := host(t, "nas", 1)
				h.Wildcard, h.TXT = true, []ddns.TXT{{Value: "one"}}
				for _, s := range []awstest.RecordSet{
					{Name: "nas.dyn.example.org", Type: "MX", TTL: 60, Values: []string{"10 mx.example.org"}},
					{Name: "nas.dyn.example.org", Type: "TXT", TTL: 60, Values: []string{`"v=spf1 -all"`}},
					{Name: "other.dyn.example.org", Type: "A", TTL: 60, Values: []string{"192.0.2.1"}},
					{Name: "alias.dyn.example.org", Type: "A", Alias: "other.dyn.example.org."},
					{Name: "weighted.dyn.example.org", Type: "A", TTL: 60, Identifier: "x", Values: []string{"192.0.2.1"}},
				} {
					w.Put(w.zone, s)
				}
				must(t, w, h)
				right := fmt.Sprint(w.Sets(w.zone))
				w.Put(w.zone, edit)
				for _, how := range []string{"look", "list", "publish"} {
					w.Put(w.zone, edit)
					seen := h.Clone()
					var err error
					switch how {
					case "look":
						seen.Shown, err = w.Look(t.Context(), h)
					case "list":
						seen.Shown = nil
						err = w.List(t.Context(), apex, func(sets []ddns.RRset) error {
							for _, s := range sets {
								if s.Owner != h.Name || s.Type != ddns.TypeTXT {
									if s.Owner.Under(h.Name) {
										seen.Shown = append(seen.Shown, s)
									}
								}
							}
							return nil
						})
					}
					if err != nil {
						t.Fatal(err)
					}
					must(t, w, seen)
					if got := fmt.Sprint(w.Sets(w.zone)); got != right {
						t.Errorf("%s: %s\nwant %s", how, got, right)
					}
				}
			})
		})
	}
}

// TestSpelling: what Route 53 spells in another way than we is deleted as it
// spells it, and not changed if it means the same.
func TestSpelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{Exact: true})
		put := func() {
			w.Put(w.zone, awstest.RecordSet{Name: "nas.dyn.example.org", Type: "AAAA", TTL: 60, Values: []string{"2001:DB8:0:0:0:0:0:1"}})
			w.Put(w.zone, awstest.RecordSet{Name: "_acme-challenge.nas.dyn.example.org", Type: "TXT", TTL: 60, Values: []string{`"o"   "ne"`}})
		}
		put()
		h := host(t, "nas", 1)
		h.TXT = []ddns.TXT{{Value: "one"}}
		h.Generation = 2 // nobody knows what was published before
		must(t, w, h)
		if got := w.shows("nas.dyn.example.org", "AAAA"); got != "60 2001:DB8:0:0:0:0:0:1" {
			t.Errorf("changed to %s", got)
		}
		must(t, w, next(h, func(h *ddns.Host) { h.AAAA, h.TXT = []netip.Addr{v6(2)}, nil }))
		if got := w.shows("nas.dyn.example.org", "AAAA") + w.shows("_acme-challenge.nas.dyn.example.org", "TXT"); got != "60 2001:db8::2" {
			t.Error(got)
		}
	})
}

// TestGivenUp: a name that a host no longer has may be another's by now. What
// stands there goes only if it is what the host had shown.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		h := host(t, "router", 1)
		h.Followers = []ddns.Follower{{Name: child(t, "tv"), A: true}, {Name: child(t, "nas"), A: true}}
		must(t, w, h)
		other := host(t, "tv", 7)
		other.AAAA = nil
		h = next(h, func(h *ddns.Host) { h.A, h.Followers = []netip.Addr{v4(2)}, nil })
		must(t, w, other)
		must(t, w, h)
		if got := w.shows("tv.dyn.example.org", "A"); got != "60 198.18.0.7" {
			t.Errorf("tv, which is another's: %q", got)
		}
		if got := w.shows("nas.dyn.example.org", "A"); got != "" {
			t.Errorf("nas, which is nobody's: %q", got)
		}
		if got := w.shows("router.dyn.example.org", "A"); got != "60 198.18.0.2" {
			t.Error(got)
		}
	})
}

// TestLargeHost: a router with all the followers that it may have moves in one
// batch, unless it has more than six IPv4 addresses and each follower shows them:
// then it takes two, and no set is taken apart. DELETE and CREATE count a value
// once each.
func TestLargeHost(t *testing.T) {
	for addresses, batches := range map[int]int{1: 1, 6: 1, ddns.MaxAddresses: 2} {
		synctest.Test(t, func(t *testing.T) {
			w := open(t, awstest.Route53Config{})
			h := host(t, "router", 0)
			h.A, h.Wildcard = nil, true
			for i := range addresses {
				h.A = append(h.A, v4(i))
			}
			h.Prefix = netip.MustParsePrefix("2001:db8:0:ff00::/56")
			for i := range ddns.MaxFollowers {
				low := netip.AddrFrom16([16]byte{15: byte(i + 1)})
				h.Followers = append(h.Followers, ddns.Follower{Name: child(t, fmt.Sprintf("f%d", i)), Low: low, A: true, AAAA: true})
			}
			must(t, w, h)
			h = next(h, func(h *ddns.Host) {
				h.Prefix = netip.MustParsePrefix("2001:db8:1:ff00::/56")
				for i := range h.A {
					h.A[i] = v4(1000 + i)
				}
			})
			w.Poison("f3.dyn.example.org")()
			before := w.Count()
			must(t, w, h)
			if n := w.Count() - before; n != batches || w.Count(awstest.ChangeSets) < n {
				t.Errorf("%d addresses: %d calls, want %d", addresses, n, batches)
			}
			for _, f := range h.Followers {
				w.neverEmpty(t, f.Name.String())
			}
			// Shown is lost: all of it is seen again.
			h.Shown = nil
			must(t, w, h)
		})
	}
}

// TestManyLost: the answer to a batch of 250 hosts is lost. What it did is found
// out page by page.
func TestManyLost(t *testing.T) {
	for _, fault := range []awstest.Fault{awstest.Cut(), awstest.Cut().AfterCommit()} {
		synctest.Test(t, func(t *testing.T) {
			w := open(t, awstest.Route53Config{})
			hosts := make([]*ddns.Host, 250)
			for i := range hosts {
				hosts[i] = host(t, fmt.Sprintf("h%d", i), i)
			}
			hosts[7].Wildcard = true
			must(t, w, hosts...)
			for i := range hosts {
				hosts[i] = next(hosts[i], func(h *ddns.Host) { h.A = []netip.Addr{v4(1000 + i)} })
			}
			w.Inject(awstest.Rule{Action: awstest.ChangeSets, Fault: fault})
			seen := new(calls)
			w.since(seen)
			must(t, w, hosts...)
			if got := w.since(seen); got.lists > 5 || got.changes > 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestZones: a zone that is busy does not hold up another one.
func TestZones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		second := dnsname.MustParse("example.net")
		id := w.AddZone(second.String())
		p := w.another(t, func(c *route53.Config) { c.Zones[second] = id })
		a, b := host(t, "nas", 1), host(t, "nas", 2)
		b.Name, b.Zone = dnsname.MustParse("nas.example.net"), second
		w.Inject(awstest.Rule{Action: awstest.ChangeSets, Name: a.Name.String(), Times: -1, Fault: awstest.Busy()})
		results := p.Publish(t.Context(), []*ddns.Host{a, b})
		if results[0].Err == nil || results[1].Err != nil {
			t.Errorf("%v", results)
		}
		for _, c := range w.Calls() {
			if c.Zone == id && c.Time.Sub(w.Calls()[0].Time) > time.Second {
				t.Errorf("it waited until %s", c.Time)
			}
		}
	})
}

// TestConfig: what cannot work is refused.
func TestConfig(t *testing.T) {
	if _, err := route53.New(route53.Config{}); err == nil {
		t.Error("no client")
	}
	c := client(t, "http://route53.example.com", awstest.NewRoute53(awstest.Route53Config{}))
	if _, err := route53.New(route53.Config{Client: c, Zones: map[dnsname.Name]string{apex: "/hostedzone/"}}); err == nil {
		t.Error("no ID")
	}
	p, err := route53.New(route53.Config{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Publish(t.Context(), []*ddns.Host{host(t, "nas", 1)})[0]; r.Err == nil || !strings.Contains(r.Err.Error(), "no hosted zone is configured for dyn.example.org") {
		t.Error(r.Err)
	}
	if _, err := p.Look(t.Context(), host(t, "nas", 1)); err == nil {
		t.Error("look")
	}
	if err := p.List(t.Context(), apex, nil); err == nil {
		t.Error("list")
	}
}
