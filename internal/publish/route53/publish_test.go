package route53_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

// gate holds a publisher's batches until it is opened.
type gate struct {
	http.RoundTripper
	open chan struct{}
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		<-g.open
	}
	return g.RoundTripper.RoundTrip(r)
}

// TestLate stops a publisher between reading and sending for minutes, while
// another publishes a newer state. When it sends, and dies before it notes
// anything, DNS shows the newer state throughout.
func TestLate(t *testing.T) {
	for _, asks := range []bool{false, true} {
		t.Run(fmt.Sprintf("asks the store %t", asks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := open(t, awstest.Route53Config{})
				first := host(t, "nas", 1)
				must(t, w, first)
				older := next(first, func(h *ddns.Host) { h.A = []netip.Addr{v4(2)} })
				newer := next(older, func(h *ddns.Host) { h.A = []netip.Addr{v4(3)} })
				held := &gate{w.Route53, make(chan struct{})}
				asked := 0
				late := w.another(t, func(c *route53.Config) {
					c.Client, c.Budget = client(t, "http://route53.example.com", held), -1
					if asks {
						c.Latest = func(context.Context, dnsname.Name) (*ddns.Host, error) {
							asked++
							return newer, nil
						}
					}
				})
				done := make(chan ddns.Published)
				go func() { done <- late.Publish(context.Background(), []*ddns.Host{older})[0] }()
				time.Sleep(5 * time.Minute)
				must(t, w, newer)
				seen := new(calls)
				w.since(seen)
				close(held.open)
				r := <-done
				if asks {
					if r.Err != nil || r.Generation != newer.Generation || asked != 1 {
						t.Errorf("%+v after asking %d times", r, asked)
					}
					// The refused batch and a look: the newer state is there already.
					if got := w.since(seen); got != (calls{1, 1}) {
						t.Errorf("%+v", got)
					}
					if got := w.states("nas.dyn.example.org"); got != "198.18.0.1 198.18.0.3" {
						t.Errorf("DNS showed %s", got)
					}
				}
				// Without the store it cannot know better; the core then publishes again.
				must(t, w, newer)
				if got := w.shows("nas.dyn.example.org", "A"); got != "60 198.18.0.3" {
					t.Error(got)
				}
			})
		})
	}
}

// TestGone: a publisher that wakes after the host was removed and forgotten does
// not bring it back.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		w.Publisher = w.another(t, func(c *route53.Config) {
			c.Latest = func(context.Context, dnsname.Name) (*ddns.Host, error) { return nil, ddns.ErrNoHost }
		})
		h := host(t, "nas", 1)
		must(t, w, h)
		late := next(h, func(h *ddns.Host) { h.A = []netip.Addr{v4(2)} })
		removed := next(late, func(h *ddns.Host) { h.Removed = true })
		must(t, w, removed)
		if r := w.Publish(t.Context(), []*ddns.Host{late})[0]; r.Err != nil || r.Generation != removed.Generation || len(r.Shown) != 0 {
			t.Errorf("%+v", r)
		}
		if got := w.shows("nas.dyn.example.org", "A") + w.shows("nas.dyn.example.org", "AAAA"); got != "" {
			t.Error(got)
		}
	})
}

// TestStoreAway: who cannot ask the store publishes nothing over what he does
// not know.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		away := errors.New("the store is away")
		p := w.another(t, func(c *route53.Config) {
			c.Latest = func(context.Context, dnsname.Name) (*ddns.Host, error) { return nil, away }
		})
		h := host(t, "nas", 1)
		must(t, p, h)
		w.Put(w.zone, awstest.RecordSet{Name: "nas.dyn.example.org", Type: "A", TTL: 60, Values: []string{"192.0.2.99"}})
		h = next(h, func(h *ddns.Host) { h.A = []netip.Addr{v4(2)} })
		if r := p.Publish(t.Context(), []*ddns.Host{h})[0]; !errors.Is(r.Err, away) {
			t.Error(r.Err)
		}
		if got := w.shows("nas.dyn.example.org", "A"); got != "60 192.0.2.99" {
			t.Error(got)
		}
	})
}

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

// TestThrottleStorm: 40 hosts change at once, each by a call of its own, while
// the account has no room. All of it is done, in the time that the buckets need.
func TestThrottleStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{Rates: awstest.Rates{Account: awstest.Rate{Capacity: 5, Refill: 5}, Changes: awstest.Rate{Capacity: 20, Refill: 10}}})
		began := time.Now()
		results := make(chan error, 40)
		for i := range cap(results) {
			p := w.another(t, func(c *route53.Config) { c.Budget = time.Minute }) // a process of its own
			go func() {
				results <- p.Publish(context.Background(), []*ddns.Host{host(t, fmt.Sprintf("h%d", i), i)})[0].Err
			}()
		}
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		// 40 requests at 5 a second, of which many are in vain.
		if took := time.Since(began); took > 40*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestLargeBatchGetsRoom although small changes take all tokens as they come:
// it is sent in parts.
func TestLargeBatchGetsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{Rates: awstest.Rates{Changes: awstest.Rate{Capacity: 300, Refill: 100}}})
		hosts := make([]*ddns.Host, 250)
		for i := range hosts {
			hosts[i] = host(t, fmt.Sprintf("h%d", i), i)
		}
		p := w.another(t, func(c *route53.Config) { c.Budget = time.Minute })
		must(t, p, hosts...)
	})
}

// TestBudget: a publish that there is no room for ends in its time, and says so;
// with little time left nothing is sent.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		h := host(t, "nas", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if r := w.Publish(ctx, []*ddns.Host{h})[0]; r.Err == nil || w.Count() != 0 {
			t.Errorf("%v after %d calls", r.Err, w.Count())
		}
		remove := w.Inject(awstest.Rule{Times: -1, Fault: awstest.Throttled()})
		began := time.Now()
		r := w.Publish(t.Context(), []*ddns.Host{h})[0]
		if took := time.Since(began); r.Err == nil || !strings.Contains(r.Err.Error(), "Throttling") || took > 5100*time.Millisecond || took < 500*time.Millisecond {
			t.Errorf("%v after %s", r.Err, took)
		}
		remove()
		must(t, w, h)
	})
}

// TestSilence: a service that takes requests and does not answer holds up nobody
// for long, whatever time his context has.
func TestSilence(t *testing.T) {
	for name, fault := range map[string]awstest.Fault{"silent": {Delay: 10 * time.Minute}, "throttled": awstest.Throttled()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := open(t, awstest.Route53Config{})
				h := host(t, "nas", 1)
				must(t, w, h)
				w.Inject(awstest.Rule{Times: -1, Fault: fault})
				began := time.Now()
				_, err := w.Look(t.Context(), h)
				if took := time.Since(began); err == nil || took > 5100*time.Millisecond {
					t.Errorf("Look: %v after %s", err, took)
				}
				began = time.Now()
				r := w.Publish(t.Context(), []*ddns.Host{next(h, func(h *ddns.Host) { h.A = []netip.Addr{v4(2)} })})[0]
				if took := time.Since(began); r.Err == nil || took > 5100*time.Millisecond {
					t.Errorf("Publish: %v after %s", r.Err, took)
				}
				if name == "throttled" {
					return // whoever lists a zone waits for room
				}
				began = time.Now()
				err = w.List(t.Context(), apex, func([]ddns.RRset) error { return nil })
				if took := time.Since(began); err == nil || took > time.Minute {
					t.Errorf("List: %v after %s", err, took)
				}
				time.Sleep(time.Hour) // until the stand-in is done
			})
		})
	}
}

// TestPace: no more requests a second than agreed, whoever calls.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		done := make(chan error)
		for i := range 80 {
			go func() {
				done <- w.Publish(context.Background(), []*ddns.Host{host(t, fmt.Sprintf("h%d", i), i)})[0].Err
			}()
		}
		late := 0
		for range 80 {
			if err := <-done; err != nil {
				late++
			}
		}
		// 8 at once and 8 a second for 5 s; the rest had no time left.
		if n := w.Count(); n < 40 || n > 48 || n+late != 80 {
			t.Errorf("%d calls, %d without time", n, late)
		}
		perSecond := map[int64]int{}
		for _, c := range w.Calls() {
			perSecond[c.Time.Unix()]++
		}
		for _, n := range perSecond {
			if n > 16 {
				t.Errorf("%d calls in one second", n)
			}
		}
	})
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

// TestLargeHost: more than one batch takes is sent in several, and no set is
// taken apart.
func TestLargeHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, awstest.Route53Config{})
		h := host(t, "router", 0)
		h.A = nil
		for i := range ddns.MaxAddresses {
			h.A = append(h.A, v4(i))
		}
		h.Prefix = netip.MustParsePrefix("2001:db8:0:ff00::/56")
		for i := range ddns.MaxFollowers {
			h.Followers = append(h.Followers, ddns.Follower{Name: child(t, fmt.Sprintf("f%d", i)), Low: v6(i + 1), A: true, AAAA: true})
		}
		must(t, w, h)
		h = next(h, func(h *ddns.Host) {
			h.Prefix = netip.MustParsePrefix("2001:db8:1:ff00::/56")
			for i := range h.A {
				h.A[i] = v4(1000 + i)
			}
		})
		w.Poison("f3.dyn.example.org")()
		before := w.Count(awstest.ChangeSets)
		must(t, w, h)
		if n := w.Count(awstest.ChangeSets) - before; n != 2 {
			t.Errorf("%d batches", n)
		}
		for _, f := range h.Followers {
			w.neverEmpty(t, f.Name.String())
		}
		// Shown is lost: all of it is seen again.
		h.Shown = nil
		must(t, w, h)
	})
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
