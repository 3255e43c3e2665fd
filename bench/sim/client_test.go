package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// client is what updates one host. Its addresses are numbered in the order in
// which it gets them.
type client struct {
	name  dnsname.Name
	token ddns.Secret
	now   atomic.Int64 // number of its present address

	// account.mu guards following.
	sent  []sent // changes that DNS does not show yet
	shown int64  // number of the address that DNS shows
}

type sent struct {
	number int64
	at     time.Time
}

// address is a client's n-th, of those kept for benchmarks (RFC 2544).
func address(n int64) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16)&1, byte(n >> 8), byte(n)})
}

// number is the inverse of address.
func number(text string) int64 {
	a := netip.MustParseAddr(text).As4()
	return int64(binary.BigEndian.Uint32(a[:]) & (1<<17 - 1))
}

// change gives a client another address, of which it tells the function.
func (a *account) change(c *client) {
	n := c.now.Add(1)
	a.mu.Lock()
	c.sent = append(c.sent, sent{n, time.Now()})
	a.unright++
	a.report.changes++
	a.mu.Unlock()
	a.update(c)
}

// update sends a client's present address until there is an answer that says yes.
func (a *account) update(c *client) {
	for {
		if a.try(c) {
			return
		}
		time.Sleep(awayTime + rand.N(awayTime/2))
	}
}

// try sends one request and tells whether the client is content.
func (a *account) try(c *client) bool {
	in := a.start()
	if in == nil {
		a.count(func(r *report) { r.away++ })
		return false
	}
	defer a.end(in)
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	out, err := in.service.Update(ctx, ddns.Update{Host: c.name, Door: "sim", Proof: ddns.TokenProof{Token: c.token}, Source: ddns.SourceOf(address(c.now.Load()))})
	a.count(func(r *report) {
		switch {
		case err != nil:
			r.errors++
			r.example = err
		case out.Unconfirmed != nil:
			r.told++
		}
	})
	return err == nil
}

// run lets the clients live until DNS shows all of it, and reports.
func (a *account) run(random *rand.Rand) report {
	began := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	var parts, requests sync.WaitGroup // what goes on for ever, and what ends by itself
	parts.Go(func() { a.every(ctx, &requests) })
	if a.stream != nil {
		for i := range a.stream.shards {
			parts.Go(func() { a.stream.follow(ctx, &a.stream.shards[i]) })
		}
	}
	parts.Go(func() { a.checks(ctx, &requests) })

	for i, at := range a.load(random) {
		if wait := time.Until(began.Add(at)); wait > 0 {
			time.Sleep(wait)
		}
		requests.Go(func() { a.change(a.clients[i%len(a.clients)]) })
	}
	for !a.right() && time.Since(began) < 24*time.Hour {
		time.Sleep(time.Second)
	}
	cancel()
	parts.Wait()
	requests.Wait()
	a.report.began = began
	a.report.lost = a.lost()
	return a.report
}

// load is when which client changes, in order: each a rate's, or all of them.
func (s *scenario) load(random *rand.Rand) []time.Duration {
	n := s.hosts
	if s.rate > 0 {
		n = int(s.rate * s.lasts.Seconds())
	}
	out := make([]time.Duration, n)
	at := 0.0
	mean := s.lasts.Seconds() / float64(n)
	for i := range out {
		out[i] = time.Duration(at * float64(time.Second))
		at += random.ExpFloat64() * mean // as independent hosts do
	}
	return out
}

// checks lets each client ask once in checkEvery, evenly.
func (a *account) checks(ctx context.Context, requests *sync.WaitGroup) {
	for i := 0; ; i++ {
		pause(ctx, checkEvery/time.Duration(len(a.clients)))
		if ctx.Err() != nil {
			return
		}
		requests.Go(func() { a.try(a.clients[i*7919%len(a.clients)]) })
	}
}

// right tells whether DNS shows all that was sent, and the store knows.
func (a *account) right() bool {
	a.mu.Lock()
	unright := a.unright
	a.mu.Unlock()
	if unright > 0 {
		return false
	}
	hosts, _, err := a.table.Unpublished(context.Background(), "", 1)
	return err == nil && len(hosts) == 0
}

// lost is how many hosts are not as they should be in the end.
func (a *account) lost() (n int) {
	for _, c := range a.clients {
		h, _, err := a.table.part(c.name).Host(context.Background(), c.name)
		if err == nil {
			want := address(c.now.Load()).String()
			set, ok := a.dns.Set(a.zones[h.Zone], c.name.String(), "A")
			switch {
			case !ok || len(set.Values) != 1 || set.Values[0] != want || set.TTL != 60:
				err = fmt.Errorf("DNS shows %s for %s, want %s", &set, c.name, want)
			case len(h.A) != 1 || h.A[0].String() != want || h.Published != h.Generation:
				err = fmt.Errorf("the store has %v for %s, generation %d, published %d; want %s", h.A, c.name, h.Generation, h.Published, want)
			}
		}
		if err != nil {
			n, a.report.example = n+1, err
		}
	}
	return n
}
