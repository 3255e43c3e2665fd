package route53_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/publish/route53"
)

// turnstile holds each request of one publisher until it is let through, in
// front of the stand-in.
type turnstile struct {
	http.RoundTripper
	turn chan struct{}
}

func (s *turnstile) RoundTrip(r *http.Request) (*http.Response, error) {
	<-s.turn
	return s.RoundTripper.RoundTrip(r)
}

// TestTwoPublishers lets several publishers, each a process of its own, publish
// one host at once. Which one's next request gets through, and whether its
// answer is lost, is chosen. What DNS shows never goes back by a generation, is
// never empty, and is the newest state once somebody publishes that undisturbed.
func TestTwoPublishers(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		choices := rapid.SliceOfN(rapid.IntRange(0, 11), 60, 60).Draw(r, "choices")
		var wrong string
		synctest.Test(t, func(t *testing.T) { wrong = compete(t, choices) })
		if wrong != "" {
			r.Fatal(wrong)
		}
	})
}

// compete plays one schedule and says what is wrong in the end.
func compete(t *testing.T, choices []int) string {
	w := open(t, awstest.Route53Config{})
	state := func(h *ddns.Host) func(*ddns.Host) { // every generation has an address of its own
		return func(n *ddns.Host) { n.A, n.AAAA = []netip.Addr{v4(int(h.Generation + 1))}, h.AAAA }
	}
	stored := host(t, "nas", 1)
	must(t, w, stored)
	type process struct {
		*turnstile
		*route53.Publisher
		busy bool
		host *ddns.Host
		done chan ddns.Published
	}
	processes := make([]*process, 3)
	for i := range processes {
		p := &process{turnstile: &turnstile{w.Route53, make(chan struct{})}, done: make(chan ddns.Published, 1)}
		p.Publisher = w.another(t, func(c *route53.Config) {
			c.Client, c.Budget = client(t, "http://route53.example.com", p.turnstile), -1
			c.Latest = func(context.Context, dnsname.Name) (*ddns.Host, error) { return stored, nil }
		})
		processes[i] = p
	}
	settle := func() {
		synctest.Wait()
		time.Sleep(time.Minute) // pauses between attempts
		for _, p := range processes {
			select {
			case result := <-p.done:
				p.busy = false
				if result.Err == nil && result.Generation == stored.Generation { // noted as the store would
					stored = stored.Clone()
					stored.Published, stored.Shown = result.Generation, result.Shown
				}
			default:
			}
		}
	}
	for _, choice := range choices {
		p := processes[choice%len(processes)]
		switch what := choice / len(processes); {
		case !p.busy:
			if what > 0 || stored.Published == stored.Generation {
				stored = next(stored, state(stored))
			}
			p.busy, p.host = true, stored
			go func() { p.done <- p.Publish(context.Background(), []*ddns.Host{p.host})[0] }()
		case what == 0:
			remove := w.Inject(awstest.Rule{Action: awstest.ChangeSets, Fault: awstest.Cut().AfterCommit()})
			p.turn <- struct{}{}
			settle()
			remove()
		default:
			p.turn <- struct{}{}
		}
		settle()
	}
	for _, p := range processes {
		for p.busy {
			p.turn <- struct{}{}
			settle()
		}
	}
	must(t, w, stored)
	name := stored.Name.String()
	shown, last := []string{}, -1
	for _, s := range w.History(name, "A") {
		if s == nil {
			return "the name was empty in between"
		}
		a := netip.MustParseAddr(s.Values[0]).As4()
		n := int(a[2])<<8 | int(a[3])
		shown = append(shown, fmt.Sprint(n))
		if n < last {
			return "an older state replaced a newer one: " + strings.Join(shown, " ")
		}
		last = n
	}
	if got, want := w.shows(name, "A"), fmt.Sprint("60 ", stored.A[0]); got != want {
		return fmt.Sprintf("in the end DNS shows %s, want %s", got, want)
	}
	return ""
}
