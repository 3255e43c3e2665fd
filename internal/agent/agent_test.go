package agent_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/agent"
)

// live runs an agent while f looks at it. Everything ends inside the bubble.
func live(t *testing.T, w *world, c agent.Config, f func(a *agent.Agent)) {
	t.Helper()
	a, err := agent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	f(a)
	cancel()
	<-done
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config(io.Discard)
		c.Dir = "" // a day's writes of the status are a second
		live(t, w, c, func(a *agent.Agent) {
			pass(10 * time.Second)
			if !w.right(both...) {
				t.Fatalf("DNS shows %v within ten seconds of the start", w.shows)
			}
			writes := w.writes
			pass(20 * time.Hour)
			if w.writes != writes {
				t.Errorf("%d writes in 20 hours without a change", w.writes-writes)
			}
			for _, f := range both {
				tries := w.seen(f, time.Time{})
				if n := len(tries); n < 200 || n > 280 {
					t.Errorf("%s: %d requests in 20 hours", f, n)
				}
				if tries[0].body != "{}" || strings.Contains(tries[1].body, "{}") || !strings.Contains(tries[1].body, home[f].String()) {
					t.Errorf("%s: first %s, then %s", f, tries[0].body, tries[1].body)
				}
			}
			pass(5 * time.Hour)
			if w.writes != writes+2 {
				t.Errorf("%d writes after a day, want one refresh of each family", w.writes-writes)
			}
			s := a.Status()
			if err := s.Health(time.Now()); err != nil || s.Hosts[0].Families[0].State != agent.StateRight || s.Hosts[0].Families[1].Address != home[agent.IPv6] {
				t.Errorf("%v: %+v", err, s)
			}
		})
		w.checkGentle(t)
	})
}

// TestPollIP: where a read of the host costs money, only the source is asked for.
func TestPollIP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.free = true // named, a wrong address would be taken
		c := w.config(io.Discard)
		c.Targets[0].PollIP = true
		live(t, w, c, func(*agent.Agent) {
			pass(20 * time.Second)
			began := time.Now()
			pass(time.Hour)
			for _, try := range w.seen(agent.IPv4, began) {
				if try.method != http.MethodGet {
					t.Errorf("%s %s", try.method, try.body)
				}
			}
			w.move(moved)
			pass(6 * time.Minute)
			if !w.right(both...) {
				t.Errorf("DNS shows %v", w.shows)
			}
		})
		w.checkGentle(t)
	})
}

func TestMoves(t *testing.T) {
	t.Run("found by polling where any address is taken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.free = true
			live(t, w, w.config(io.Discard), func(*agent.Agent) {
				pass(time.Minute)
				w.move(moved)
				pass(6 * time.Minute)
				if !w.right(both...) {
					t.Errorf("DNS shows %v", w.shows)
				}
			})
			w.checkGentle(t)
		})
	})
	t.Run("found by polling", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			live(t, w, w.config(io.Discard), func(*agent.Agent) {
				pass(time.Minute)
				w.move(moved)
				began := time.Now()
				pass(6 * time.Minute)
				if !w.right(both...) {
					t.Errorf("DNS shows %v", w.shows)
				}
				for _, f := range both {
					if tries := w.seen(f, began); len(tries) < 2 || tries[0].answer != 403 || tries[1].body != "{}" {
						t.Errorf("%s: %+v", f, tries)
					}
				}
			})
			w.checkGentle(t)
		})
	})
	t.Run("reported by the system", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			c := w.config(io.Discard)
			c.Watch = w.watch
			live(t, w, c, func(*agent.Agent) {
				pass(time.Minute)
				began := time.Now()
				for range 100 { // nothing that matters, such as router advertisements
					w.changed()
					pass(time.Second)
				}
				if n := len(w.seen(agent.IPv4, began)); n > 1 {
					t.Errorf("%d requests for events that changed nothing", n)
				}
				began = time.Now()
				for range 3 {
					w.changed()
					pass(100 * time.Millisecond)
				}
				w.move(moved)
				w.changed()
				pass(700 * time.Millisecond)
				if !w.right(both...) {
					t.Errorf("DNS shows %v", w.shows)
				}
				for _, f := range both {
					if tries := w.seen(f, began); len(tries) != 1 || tries[0].body != "{}" {
						t.Errorf("%s: %+v, want one request", f, tries)
					}
				}
				// And one that flaps.
				for i := range 300 {
					w.move([]map[agent.Family]netip.Addr{home, moved}[i%2])
					w.changed()
					pass(time.Second)
				}
				pass(agent.MinInterval + time.Second)
				if !w.right(both...) {
					t.Errorf("after flapping DNS shows %v", w.shows)
				}
			})
			w.checkGentle(t)
		})
	})
	t.Run("no events here", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			var log safe
			c := w.config(&log)
			c.Watch = func(context.Context, func()) error { return errors.ErrUnsupported }
			live(t, w, c, func(*agent.Agent) { pass(time.Minute) })
			if !w.right(both...) || !strings.Contains(log.String(), "does not report changes") {
				t.Error(log.String())
			}
		})
	})
}

// TestToldToWait: what the server asks for goes before a change of addresses.
func TestToldToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config(io.Discard)
		c.Watch = w.watch
		live(t, w, c, func(*agent.Agent) {
			pass(time.Minute)
			w.set(func() { w.fault = refusing("rate-limited", 429, 600) })
			w.move(moved)
			w.changed()
			pass(time.Second)
			w.set(func() { w.fault = nil })
			began := time.Now()
			for i := range 9 {
				w.move([]map[agent.Family]netip.Addr{home, moved}[i%2])
				w.changed()
				pass(time.Minute)
			}
			if n := len(w.seen(agent.IPv4, began)); n != 0 {
				t.Errorf("%d requests within the ten minutes that the server asked for", n)
			}
			pass(4 * time.Minute)
			if !w.right(both...) {
				t.Errorf("DNS shows %v", w.shows)
			}
		})
	})
}

// watch is the system's report of changes.
func (w *world) watch(ctx context.Context, changed func()) error {
	w.set(func() { w.changed = changed })
	<-ctx.Done()
	return ctx.Err()
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		name   string
		fault  func(http.ResponseWriter, *http.Request) bool
		state  string
		within time.Duration // after it is mended, the host is right again within
		tries  [2]int        // of one family in 24 hours, least and most
		says   string        // once, in the log
	}{
		{"bad-proof", refusing("bad-proof", 401, 0), agent.StateRefused, 7 * time.Hour, [2]int{4, 6}, "until somebody acts"},
		{"suspended", refusing("suspended", 403, 0), agent.StateRefused, 70 * time.Minute, [2]int{20, 30}, "until somebody acts"},
		{"not-yours", refusing("not-yours", 403, 0), agent.StateRefused, 70 * time.Minute, [2]int{20, 30}, "until somebody acts"},
		{"address-not-allowed", refusing("address-not-allowed", 422, 0), agent.StateRefused, 70 * time.Minute, [2]int{20, 30}, "until somebody acts"},
		{"wrong-family", refusing("wrong-family", 422, 0), agent.StateRefused, 70 * time.Minute, [2]int{20, 30}, "until somebody acts"},
		{"too-many", refusing("too-many", 422, 0), agent.StateRefused, 70 * time.Minute, [2]int{20, 30}, "until somebody acts"},
		{"malformed", refusing("malformed", 400, 0), agent.StateRefused, 70 * time.Minute, [2]int{20, 30}, "until somebody acts"},
		{"not-found", refusing("not-found", 404, 0), agent.StateRefused, 70 * time.Minute, [2]int{20, 30}, "until somebody acts"},
		{"a code of tomorrow", refusing("no-such-code", 400, 0), agent.StateRefused, 70 * time.Minute, [2]int{20, 30}, "until somebody acts"},
		{"clock for ever", refusing("clock", 401, 0), agent.StateTrouble, time.Hour, [2]int{20, 80}, "will be tried again"},
		{"replayed for ever", refusing("replayed", 409, 0), agent.StateTrouble, time.Hour, [2]int{20, 40}, "will be tried again"},
		{"not-source for ever", refusing("not-source", 403, 0), agent.StateTrouble, time.Hour, [2]int{20, 80}, "will be tried again"},
		{"rate-limited", refusing("rate-limited", 429, 0), agent.StateTrouble, time.Hour, [2]int{20, 50}, "will be tried again"},
		{"rate-limited for two minutes", refusing("rate-limited", 429, 120), agent.StateTrouble, 150 * time.Second, [2]int{570, 730}, "will be tried again"},
		{"rate-limited for a second", refusing("rate-limited", 429, 1), agent.StateTrouble, 38 * time.Second, [2]int{2300, 2900}, "will be tried again"},
		{"unavailable for a year", refusing("unavailable", 503, 365*86400), agent.StateTrouble, 75 * time.Minute, [2]int{18, 26}, "will be tried again"},
		{"internal", refusing("internal", 500, 0), agent.StateTrouble, time.Hour, [2]int{20, 50}, "will be tried again"},
		{"a proxy's 502", page(502, "text/html", "<html>Bad Gateway"), agent.StateTrouble, time.Hour, [2]int{20, 50}, "will be tried again"},
		{"a portal's page", page(200, "text/html", "<html>Log in"), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"a portal's redirect", redirect("http://portal.example/"), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"a redirect to itself", redirect(server + "/"), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"a portal's 403", page(403, "text/html", "<html>"), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"no content", page(204, "", ""), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"half of the JSON", page(200, "application/json", `{"host":"nas.dyn.example.com","outcome":"changed","a":["203.0`), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"another JSON", page(200, "application/json", `[]`), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"another host", page(200, "application/json", `{"host":"other.example","outcome":"changed","a":["203.0.113.66"],"aaaa":["2001:db8::66"]}`), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"no outcome", page(200, "application/json", `{"host":"nas.dyn.example.com","a":["203.0.113.66"],"aaaa":["2001:db8::66"]}`), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"two addresses", page(200, "application/json", `{"host":"nas.dyn.example.com","outcome":"changed","a":["203.0.113.66","203.0.113.67"],"aaaa":["2001:db8::66","2001:db8::67"]}`), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"the wrong family", page(200, "application/json", `{"host":"nas.dyn.example.com","outcome":"changed","a":["2001:db8::66"],"aaaa":["203.0.113.66"]}`), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
		{"10 MB", page(200, "application/json", strings.Repeat(" ", 10<<20)), agent.StateTrouble, 2 * time.Minute, [2]int{1000, 2900}, "will be tried again"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var log safe
				config := w.config(&log)
				config.Dir = "" // so many tries, each with its status
				if c.name == "10 MB" {
					config.Targets[0].IPv6.Off = true
				}
				live(t, w, config, func(a *agent.Agent) {
					pass(time.Minute)
					w.set(func() { w.fault = c.fault })
					w.move(moved)
					began := time.Now()
					if c.name == "10 MB" {
						pass(5 * time.Minute)
					} else {
						part := 1 // of a day
						if c.tries[0] > 100 {
							part = 24
						}
						pass(24 * time.Hour / time.Duration(part))
						if n := len(rounds(w.seen(agent.IPv4, began))) * part; n < c.tries[0] || n > c.tries[1] {
							t.Errorf("%d tries in a day, want %v", n, c.tries)
						}
					}
					s := a.Status()
					if f := s.Hosts[0].Families[0]; f.State != c.state || f.Message == "" || f.Address != home[agent.IPv4] {
						t.Errorf("status %+v", f)
					}
					if s.Health(time.Now()) == nil {
						t.Error("it says that it is healthy")
					}
					if n := strings.Count(log.String(), c.says); n < 1 || n > 2 {
						t.Errorf("said %d times:\n%s", n, head(log.String()))
					}
					w.set(func() { w.fault = nil })
					pass(c.within)
					if !w.right(agent.IPv4) || c.name != "10 MB" && !w.right(agent.IPv6) {
						t.Errorf("DNS shows %v, %s after it was mended", w.shows, c.within)
					}
				})
				w.checkGentle(t)
			})
		})
	}
}

func head(s string) string { return s[:min(len(s), 2000)] }

func page(status int, kind, text string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		return true
	}
}

func redirect(to string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return true
	}
}

// TestNoNetwork: what never gets there is tried again soon, and nothing changes.
func TestNoNetwork(t *testing.T) {
	for name, err := range map[string]error{
		"reset": syscall.ECONNRESET, "refused": syscall.ECONNREFUSED, "broken off": io.ErrUnexpectedEOF, "no route": syscall.ENETUNREACH,
		"DNS is down":         &net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", Name: "ddns.example.com", IsTemporary: true}},
		"the name is gone":    &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "ddns.example.com", IsNotFound: true}},
		"a wrong certificate": &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				live(t, w, w.config(io.Discard), func(a *agent.Agent) {
					pass(time.Minute)
					w.set(func() { w.broken = func(agent.Family) error { return err } })
					w.move(moved)
					pass(time.Hour)
					s := a.Status()
					if s.Health(time.Now()) == nil {
						t.Errorf("it says that it is healthy: %+v", s)
					}
					w.set(func() { w.broken = nil })
					pass(2 * time.Minute)
					if !w.right(both...) {
						t.Errorf("DNS shows %v two minutes after the repair", w.shows)
					}
				})
				w.checkGentle(t)
			})
		})
	}
}

// TestHangs: a server that takes requests and never answers holds nothing up
// for long.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config(io.Discard)
		live(t, w, c, func(*agent.Agent) {
			pass(time.Minute)
			w.set(func() {
				w.fault = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
			})
			w.move(moved)
			pass(2 * time.Hour)
			w.set(func() { w.fault = nil })
			pass(2 * time.Minute)
			if !w.right(both...) {
				t.Errorf("DNS shows %v two minutes after the repair", w.shows)
			}
		})
		w.checkGentle(t)
	})
}

// TestOneFamily: a family that is not there is no trouble, and takes nothing away.
func TestOneFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.shows[agent.IPv6] = home[agent.IPv6] // from elsewhere
		var log safe
		w.broken = func(f agent.Family) error {
			if f == agent.IPv6 {
				return syscall.ENETUNREACH
			}
			return nil
		}
		live(t, w, w.config(&log), func(a *agent.Agent) {
			pass(6 * time.Hour)
			s := a.Status()
			if f := s.Hosts[0].Families[1]; f.State != agent.StateAbsent || s.Health(time.Now()) != nil {
				t.Errorf("%+v, %v", f, s.Health(time.Now()))
			}
			if w.shows[agent.IPv6] != home[agent.IPv6] || !w.right(agent.IPv4) {
				t.Errorf("DNS shows %v", w.shows)
			}
		})
		if n := strings.Count(log.String(), "nothing is sent for it"); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}

// TestGatewayLosesFamily: a family that worked, and for which a gateway now says
// that it goes nowhere, is looked after as closely as without any network.
func TestGatewayLosesFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		live(t, w, w.config(io.Discard), func(a *agent.Agent) {
			pass(time.Minute)
			w.set(func() {
				w.broken = func(f agent.Family) error {
					if f == agent.IPv4 {
						return &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
					}
					return nil
				}
			})
			pass(time.Hour)
			if s := a.Status(); s.Health(time.Now()) == nil || s.Hosts[0].Families[0].State != agent.StateTrouble {
				t.Errorf("%+v", s)
			}
			w.set(func() { w.broken = nil })
			w.move(moved)
			pass(2 * time.Minute)
			if !w.right(agent.IPv4) {
				t.Errorf("DNS shows %v two minutes after the repair", w.shows)
			}
		})
		w.checkGentle(t)
	})
}

// TestRemove: only an explicit setting takes a family away.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.shows[agent.IPv6] = home[agent.IPv6]
		c := w.config(io.Discard)
		c.Targets[0].IPv6.Remove = true
		live(t, w, c, func(a *agent.Agent) {
			pass(time.Hour)
			if w.shows[agent.IPv6].IsValid() || !w.right(agent.IPv4) {
				t.Errorf("DNS shows %v", w.shows)
			}
			if s := a.Status(); s.Hosts[0].Families[1].State != agent.StateRemoved {
				t.Errorf("%+v", s)
			}
		})
		w.checkGentle(t)
	})
}

// TestWrongClock: a device that wakes up in 2000 is right at the first try, and
// remembers by how much its clock is wrong.
func TestWrongClock(t *testing.T) {
	for _, off := range []time.Duration{25 * 365 * 24 * time.Hour, -200 * 24 * time.Hour, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.clock = off
			c := w.config(io.Discard)
			live(t, w, c, func(*agent.Agent) { pass(10 * time.Second) })
			if n := len(w.seen(agent.IPv4, time.Time{})); n != 2 || !w.right(both...) {
				t.Errorf("%d requests, DNS shows %v", n, w.shows)
			}
			pass(time.Minute)
			began := time.Now()
			live(t, w, c, func(*agent.Agent) { pass(10 * time.Second) })
			if n := len(w.seen(agent.IPv4, began)); n != 1 {
				t.Errorf("%d requests after a restart", n)
			}
			w.checkGentle(t)
		})
	}
}

// TestRestart: what was acknowledged is known, and a crash loop is no storm.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.config(io.Discard)
		for range 60 {
			live(t, w, c, func(a *agent.Agent) { pass(5 * time.Second) })
		}
		if !w.right(both...) {
			t.Errorf("DNS shows %v", w.shows)
		}
		w.checkGentle(t)
		// Another device moved the mark meanwhile: the order is learnt anew.
		w.set(func() { w.mark = time.Now().Unix() + 100 })
		live(t, w, c, func(a *agent.Agent) {
			pass(time.Minute)
			s := a.Status()
			if err := s.Health(time.Now()); err != nil {
				t.Error(err)
			}
		})
	})
}

// TestKilledWhileItAsks: a crash loop is no storm either where no try ever comes
// to its end.
func TestKilledWhileItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
		c := w.config(io.Discard)
		c.Targets[0].IPv6.Off = true // one hangs before the other gets its turn
		for range 20 {
			live(t, w, c, func(a *agent.Agent) { pass(11 * time.Second) })
		}
		if n := len(w.seen(agent.IPv4, time.Time{})); n < 4 || n > 8 {
			t.Errorf("%d tries in 220 seconds", n)
		}
		w.checkGentle(t)
	})
}

// TestNewKey: a revoked device says so, asks rarely, and goes on at once with
// the key that it is given.
func TestNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var log safe
		c := w.config(&log)
		live(t, w, c, func(a *agent.Agent) {
			pass(time.Minute)
			next, err := agent.NewKey(server)
			if err != nil {
				t.Fatal(err)
			}
			next.Host, next.Credential = host.String(), "zzzzzzzz"
			w.set(func() { w.key = next })
			w.move(moved)
			pass(24 * time.Hour)
			s := a.Status()
			if f := s.Hosts[0].Families[0]; f.State != agent.StateRefused {
				t.Errorf("%+v", f)
			}
			if strings.Count(log.String(), "until somebody acts") != 1 {
				t.Error(head(log.String()))
			}
			if err := next.Write(c.Targets[0].KeyFile); err != nil {
				t.Fatal(err)
			}
			pass(2*agent.DefaultInterval + time.Second)
			if !w.right(both...) {
				t.Errorf("DNS shows %v with the new key", w.shows)
			}
		})
		w.checkGentle(t)
	})
}
