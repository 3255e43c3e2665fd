//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
)

// TestSoak runs a mixed load for a minute: updates from changing addresses,
// repeats, wrong proofs, questions of all kinds, an operator who looks. Every
// answer is a value that was current while the question was under way, and
// memory, threads and descriptors do not grow.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of load is left out with -short")
	}
	length := time.Minute
	if long() {
		length = time.Hour
	}
	d := serve(t, launch{args: openLimits})
	hosts := testHosts("soak", 60)
	mustAddHosts(t, d, hosts)
	s := &soak{daemon: d, ctx: t.Context()}
	for i := range hosts {
		s.hosts = append(s.hosts, &soakHost{testHost: hosts[i]})
	}
	idle := usageOf(t, d.pid())

	half := func() usage {
		ctx, cancel := context.WithTimeout(t.Context(), length/2)
		defer cancel()
		s.run(ctx)
		return s.calm(t, idle)
	}
	first := half()
	second := half()
	for _, err := range s.errs {
		t.Error(err)
	}
	t.Logf("%d updates, %d questions; idle %v, after one half %v, after the other %v",
		s.updates.Load(), s.questions.Load(), idle, first, second)
	if s.updates.Load() < 1000 || s.questions.Load() < 1000 {
		t.Error("that was no load")
	}
	// The heap breathes: what counts is that the second half adds next to nothing.
	if second.memory > first.memory+first.memory/4+(8<<20) {
		t.Errorf("memory grew from %d to %d MiB in the second half", first.memory>>20, second.memory>>20)
	}
	if second.threads > first.threads+4 {
		t.Errorf("threads grew from %d to %d", first.threads, second.threads)
	}
}

type soakHost struct {
	testHost
	// tried and held are rounds: a question that began when held was h and ended
	// when tried was t may be answered with any round from h to t.
	tried, held atomic.Int64
}

type soak struct {
	daemon             *daemon
	ctx                context.Context
	hosts              []*soakHost
	round              atomic.Int64 // goes on over both halves
	updates, questions atomic.Int64
	mu                 sync.Mutex // guards errs
	errs               []error
}

func (s *soak) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) < 10 {
		s.errs = append(s.errs, err)
	}
}

const soakOwners = 4

// roundAddress is the address of an owner's n-th round; round 0 is none yet.
func roundAddress(owner int, round int64) string {
	if round == 0 {
		return ""
	}
	return sourceAddress(int(round)*soakOwners + owner)
}

// run is the load, until ctx ends.
func (s *soak) run(ctx context.Context) {
	base := s.round.Load()
	var running sync.WaitGroup
	for owner := range soakOwners {
		running.Go(func() { s.own(ctx, owner, base) })
	}
	for range 2 {
		running.Go(func() { s.ask(ctx, owners(s.hosts)) })
	}
	running.Go(func() { s.operate(ctx) })
	running.Go(func() { s.guess(ctx) })
	running.Wait()
}

func owners(hosts []*soakHost) [][]*soakHost {
	out := make([][]*soakHost, soakOwners)
	for i, h := range hosts {
		out[i%soakOwners] = append(out[i%soakOwners], h)
	}
	return out
}

// own moves an owner's hosts round by round, each round over a new connection.
func (s *soak) own(ctx context.Context, owner int, base int64) {
	own := owners(s.hosts)[owner]
	for round := base + 1; ctx.Err() == nil; round++ {
		for { // the highest round of all owners is where the next half begins
			seen := s.round.Load()
			if round <= seen || s.round.CompareAndSwap(seen, round) {
				break
			}
		}
		c := newCaller(roundAddress(owner, round), s.daemon.url())
		for i, h := range own {
			h.tried.Store(round)
			got, err := c.update(h.Name, h.Secret)
			if err == nil && got.body != hasBeenSet(h.Name, c.source) {
				err = fmt.Errorf("update of %s: %d %s", h.Name, got.status, got.body)
			}
			if err == nil && i%8 == 0 {
				if got, err = c.update(h.Name, h.Secret); err == nil && got.body != matches {
					err = fmt.Errorf("the same update of %s again: %d %s", h.Name, got.status, got.body)
				}
			}
			if err != nil {
				s.fail(err)
				c.close()
				return
			}
			h.held.Store(round)
			s.updates.Add(1)
		}
		c.close()
	}
}

// ask asks for hosts, and for what is not there.
func (s *soak) ask(ctx context.Context, byOwner [][]*soakHost) {
	res, err := newResolver(s.daemon.ports.dns)
	if err != nil {
		s.fail(err)
		return
	}
	defer res.close()
	for n := 0; ctx.Err() == nil; n++ {
		owner := n % soakOwners
		h := byOwner[owner][n/soakOwners%len(byOwner[owner])]
		held := h.held.Load()
		shown, err := res.addresses(h.Name)
		tried := h.tried.Load()
		if err != nil {
			s.fail(err)
			return
		}
		current := false
		for round := held; round <= tried && !current; round++ {
			current = roundAddress(owner, round) == shown
		}
		if !current {
			s.fail(fmt.Errorf("%s was answered with %q; current were rounds %d (%s) to %d (%s)",
				h.Name, shown, held, roundAddress(owner, held), tried, roundAddress(owner, tried)))
		}
		s.questions.Add(1)
		if n%16 == 0 {
			missing, err := res.ask("missing"+strconv.Itoa(n)+"."+zone, dns.TypeAAAA)
			if err == nil && missing.Rcode != dns.RcodeNameError {
				err = fmt.Errorf("a missing name was answered %s", dns.RcodeToString[missing.Rcode])
			}
			if err != nil {
				s.fail(err)
				return
			}
		}
	}
}

// operate looks at everything now and then, as dashboards do.
func (s *soak) operate(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		hosts, err := s.daemon.hosts(s.ctx)
		if err == nil && len(hosts) != len(s.hosts) {
			err = fmt.Errorf("a listing has %d hosts of %d", len(hosts), len(s.hosts))
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// guess tries wrong proofs from elsewhere.
func (s *soak) guess(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		got, err := s.daemon.updateFrom(fmt.Sprintf("127.0.6.%d", n%250+1), s.hosts[n%len(s.hosts)].Name, "wrong")
		if err == nil && got.status != http.StatusUnauthorized && got.status != http.StatusTooManyRequests {
			err = fmt.Errorf("a wrong proof was answered %d %s", got.status, got.body)
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// calm waits until the daemon has closed what the load opened, and tells what
// it uses then.
func (s *soak) calm(t *testing.T, idle usage) usage {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		u := usageOf(t, s.daemon.pid())
		if u.descriptors <= idle.descriptors+2 {
			return u
		}
		if time.Now().After(deadline) {
			t.Fatalf("it has %d descriptors open after the load, %d before", u.descriptors, idle.descriptors)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// usage is what /proc tells of a process.
type usage struct {
	memory      int // octets, resident
	threads     int
	descriptors int
}

func (u usage) String() string {
	return fmt.Sprintf("%d MiB, %d threads, %d descriptors", u.memory>>20, u.threads, u.descriptors)
}

func usageOf(t *testing.T, pid int) usage {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	entries, err2 := os.ReadDir(filepath.Join(dir, "fd"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	number := func(key string) int {
		lines := strings.Split(string(status), "\n")
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+":") })
		if i < 0 {
			t.Fatalf("/proc says nothing of %s", key)
		}
		n, err := strconv.Atoi(strings.Fields(lines[i])[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return usage{number("VmRSS") << 10, number("Threads"), len(entries)}
}
