package route53_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/publish/route53"
)

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
