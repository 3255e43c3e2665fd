//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"godwit/internal/agent"
)

const (
	// window is what the agent spreads its start over, distance what it leaves
	// between two tries.
	window   = 10 * time.Second
	distance = 30 * time.Second
	patience = 60 * time.Second
)

// tally is what all agents of one start sent.
type tally struct {
	began time.Time

	mu     sync.Mutex  // guards the rest
	sent   []time.Time // each request
	right  map[int]time.Time
	errors int
}

// transport sends from one address and counts.
type transport struct {
	*http.Transport // also for CloseIdleConnections
	host            int
	tally           *tally
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.tally.mu.Lock()
	t.tally.sent = append(t.tally.sent, time.Now())
	t.tally.mu.Unlock()
	response, err := t.Transport.RoundTrip(r)
	t.tally.mu.Lock()
	defer t.tally.mu.Unlock()
	switch {
	case err != nil || response.StatusCode != http.StatusOK:
		if t.tally.errors++; t.tally.errors == 1 {
			fmt.Fprintln(os.Stderr, "agentload: the first of the requests that went wrong:", err, response)
		}
	case t.tally.right[t.host].IsZero():
		t.tally.right[t.host] = time.Now()
	}
	return response, err
}

// crowd starts all agents at once, and again when their last try is long enough
// ago: first with the address that they had, then with another, and so on.
func crowd() error {
	for round := range *rounds {
		label := "same-address"
		if round%2 == 0 {
			label = "new-address"
		}
		if round > 0 {
			time.Sleep(distance)
		}
		if err := start(label, byte(10+round/2)); err != nil {
			return err
		}
	}
	return nil
}

// start prints one row.
func start(label string, net8 byte) error {
	t := &tally{right: map[int]time.Time{}}
	agents := make([]*agent.Agent, *hosts)
	for i := range agents {
		addr := netip.AddrFrom4([4]byte{127, net8, byte(i / 250), byte(1 + i%250)})
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: addr.AsSlice()}, Timeout: 10 * time.Second}
		over := &transport{&http.Transport{DialContext: d.DialContext}, i, t}
		state := filepath.Join(*states, strconv.Itoa(i))
		if err := os.MkdirAll(state, 0o700); err != nil {
			return err
		}
		var err error
		agents[i], err = agent.New(agent.Config{
			Targets:   []agent.Target{{Server: *url, Host: hostName(i), KeyFile: keyPath(i), IPv6: agent.Choice{Off: true}}},
			Dir:       state,
			Transport: func(agent.Family) http.RoundTripper { return over },
			Local:     func(agent.Family) []netip.Addr { return []netip.Addr{addr} },
		})
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all sync.WaitGroup
	before := cpu()
	t.began = time.Now()
	for _, a := range agents {
		all.Go(func() { a.Run(ctx) })
	}
	// A retry comes within the next distance at the earliest: what is not right
	// after the window and a bit is waited for.
	for n := 0; ctx.Err() == nil && (n < len(agents) || time.Since(t.began) < window+time.Second); {
		time.Sleep(50 * time.Millisecond)
		t.mu.Lock()
		n = len(t.right)
		t.mu.Unlock()
	}
	spent := cpu() - before
	cancel()
	all.Wait()
	var last time.Time
	for _, at := range t.right {
		if at.After(last) {
			last = at
		}
	}
	steady := float64(*hosts) / window.Seconds()
	most := peak(t.sent)
	fmt.Printf("%s agents=%d right=%d converged_s=%.1f requests=%d errors=%d steady_per_s=%.0f peak_per_s=%d peak_ratio=%.2f cpu_us=%.0f\n", label,
		*hosts, len(t.right), last.Sub(t.began).Seconds(), len(t.sent), t.errors, steady, most, float64(most)/steady,
		float64(spent.Microseconds())/float64(max(len(t.sent), 1)))
	return nil
}

// peak is the most requests in any one second.
func peak(sent []time.Time) int {
	slices.SortFunc(sent, time.Time.Compare)
	most, from := 0, 0
	for i, at := range sent {
		for at.Sub(sent[from]) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}
