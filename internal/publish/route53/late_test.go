package route53_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/publish/route53"
)

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
