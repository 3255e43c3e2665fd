// Package agent keeps hosts at the address of the device that it runs on: it
// finds out which address that is, tells the server when it changed, and lives
// with whatever the network does meanwhile.
//
// An [Agent] has one goroutine for each [Target], a host at a server, which
// tries its families one after the other: a server refuses a signature that is
// not newer than the last. A try is at most a handful of requests. Most tries
// name the address that the server acknowledged last, which costs the server a
// read; one asks for the request's own address at the start, once a day, and
// when the device's addresses changed.
//
// What must hold: an address is sent only if a [Source] found it just now or
// the server acknowledged it before; a family that cannot be found is left
// alone; there are 30 seconds from one try of a family to the next, whatever
// happens; no answer ends the loop; no secret is in a message.
package agent

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"godwit/internal/dnsname"
)

// Config is what an Agent is made of.
type Config struct {
	// Targets are what to keep right; at least one, none of them twice.
	Targets []Target
	// Dir is the state directory, which is made if need be. "": nothing outlives
	// the agent.
	Dir string
	// Status is the file that [ReadStatus] reads. "": StatusName in Dir, if there
	// is a Dir.
	Status string
	// Interval is from one look at an address to the next, give or take a tenth.
	// 0: DefaultInterval. Never less than MinInterval.
	Interval time.Duration
	Log      *slog.Logger // nil: nothing is logged
	RootCAs  *x509.CertPool
	// Watch calls changed whenever the system reports a change of addresses or
	// routes, until ctx ends; see package source. nil: only polling.
	Watch func(ctx context.Context, changed func()) error

	// Transport carries the requests of a family. For tests; nil: the network.
	Transport func(Family) http.RoundTripper
	// Local are this device's own addresses of a family, the one that traffic
	// leaves from first; none: no route out. For tests; nil: the system's.
	Local func(Family) []netip.Addr
	// Random is from 0 to 1. For tests; nil: by chance.
	Random func() float64
}

// Target is one host at one server.
type Target struct {
	Server string // URL
	Host   dnsname.Name
	// KeyFile or TokenFile proves the host; exactly one is set.
	KeyFile, TokenFile string
	IPv4, IPv6         Choice
	// Prefix is for the names that follow the host, and goes with its IPv6
	// address. nil: none is sent.
	Prefix PrefixSource
	// PollIP asks the server for the address it sees (GET /ip) and sends an update
	// only if that is another. For servers where reading a host costs money.
	PollIP bool
	// Hook is run when the server acknowledged another address; empty: none.
	Hook []string
}

// Choice is what to do with one family.
type Choice struct {
	// Off leaves the family alone; Remove takes its addresses out of DNS.
	Off, Remove bool
	// Sources are asked in order until one answers. A nil among them, and none at
	// all, is what the server sees.
	Sources []Source
}

// Agent keeps its targets right. Run and Once may each be called once.
type Agent struct {
	c       Config
	runners []*runner
	started time.Time

	mu     sync.Mutex // guards memory and status, and their files
	memory *memory
	status Status
}

// New returns an agent. It reads what an earlier one remembered, and connects
// to nothing yet.
func New(c Config) (*Agent, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Local == nil {
		c.Local = localAddresses
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Status == "" && c.Dir != "" {
		c.Status = filepath.Join(c.Dir, StatusName)
	}
	switch {
	case c.Interval < MinInterval:
		return nil, fmt.Errorf("the interval is %s; give at least %s", c.Interval, MinInterval)
	case len(c.Targets) == 0:
		return nil, errors.New("no host is configured; join one: godwit agent join URL CODE")
	}
	a := &Agent{c: c, memory: &memory{Targets: map[string]*targetMemory{}}, started: time.Now()}
	if c.Dir != "" {
		if err := MakeDir(c.Dir); err != nil {
			return nil, fmt.Errorf("make the state directory: %w", err)
		}
		var err error
		if a.memory, err = readMemory(a.statePath()); err != nil {
			c.Log.Warn("what the agent remembered is lost", "error", err)
		}
	}
	a.status = Status{Started: a.started, Hosts: []HostStatus{}}
	proofs := map[string]*proof{}
	for i, t := range c.Targets {
		if slices.ContainsFunc(c.Targets[:i], func(o Target) bool { return o.Host == t.Host && authority(o.Server) == authority(t.Server) }) {
			return nil, fmt.Errorf("%s at %s is configured twice; leave one out", t.Host, t.Server)
		}
		if t.Host.IsZero() || authority(t.Server) == "" || (t.KeyFile == "") == (t.TokenFile == "") {
			return nil, fmt.Errorf("host %q at %q is not complete; it needs a name, a server's URL, and a key or a token", t.Host, t.Server)
		}
		path := cmp.Or(t.KeyFile, t.TokenFile)
		if proofs[path] == nil {
			proofs[path] = &proof{path: path, isKey: t.KeyFile != ""}
		}
		r := a.newRunner(t, i, proofs[path])
		if len(r.families) == 0 {
			return nil, fmt.Errorf("both families of %s are off; leave the host out, or let one be", t.Host)
		}
		if t.Prefix != nil && t.IPv6.Off {
			return nil, fmt.Errorf("IPv6 of %s is off, and its prefix goes with its IPv6 address; leave one out", t.Host)
		}
		a.runners = append(a.runners, r)
	}
	return a, nil
}

func (a *Agent) statePath() string { return filepath.Join(a.c.Dir, StateName) }

// Run keeps the targets right until ctx ends. Nothing that goes wrong meanwhile
// is its end.
func (a *Agent) Run(ctx context.Context) {
	var all sync.WaitGroup
	if a.c.Watch != nil {
		all.Go(func() { a.observe(ctx) })
	}
	for _, r := range a.runners {
		all.Go(func() { r.run(ctx) })
	}
	all.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Ended = time.Now()
	a.writeStatusLocked()
}

// Once tries every family of every target one time, without waiting. The error
// is that of what did not succeed.
func (a *Agent) Once(ctx context.Context) error {
	var errs []error
	for _, r := range a.runners {
		reached := false
		for _, f := range r.families {
			v, err := r.try(ctx, f)
			r.report(f)
			if v.class != fine && v.class != absent {
				errs = append(errs, fmt.Errorf("%s of %s: %w", f.Family, r.Host, err))
			}
			reached = reached || v.class != absent
		}
		if !reached {
			errs = append(errs, fmt.Errorf("%s: this device reaches the server over no family; check the network", r.Host))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Ended = time.Now()
	a.writeStatusLocked()
	return errors.Join(errs...)
}

// Status is what the agent believes and does.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.status
	out.Hosts = slices.Clone(out.Hosts)
	for i := range out.Hosts {
		out.Hosts[i].Families = slices.Clone(out.Hosts[i].Families)
	}
	return out
}

func (a *Agent) writeStatusLocked() {
	a.status.Written = time.Now()
	if a.c.Status == "" {
		return
	}
	if err := writeJSON(a.c.Status, a.status, false); err != nil {
		a.c.Log.Debug("the status could not be written", "error", err)
	}
}

func (a *Agent) writeMemoryLocked() {
	if a.c.Dir == "" {
		return
	}
	if err := writeJSON(a.statePath(), a.memory, true); err != nil {
		// The agent is right without it; only a restart asks once more than needed.
		a.c.Log.Warn("the state could not be written; make room, or give the directory to the agent's user", "error", err)
	}
}

// observe tells the runners when the device's addresses changed. The system
// reports much more, such as every router advertisement; that wakes nobody.
func (a *Agent) observe(ctx context.Context) {
	events := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watching.Go(func() {
		err := a.c.Watch(ctx, func() {
			select {
			case events <- struct{}{}:
			default: // one is waiting already
			}
		})
		if err != nil && ctx.Err() == nil {
			a.c.Log.Info("the system does not report changes of addresses; the agent looks by itself", "every", a.c.Interval, "reason", err)
		}
	})
	last := map[Family][]netip.Addr{IPv4: a.c.Local(IPv4), IPv6: a.c.Local(IPv6)}
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
		}
		if !calm(ctx, events) {
			return
		}
		for _, f := range []Family{IPv4, IPv6} {
			now := a.c.Local(f)
			if slices.Equal(now, last[f]) {
				continue
			}
			last[f] = now
			a.c.Log.Debug("the addresses of this device changed", "family", f)
			for _, r := range a.runners {
				r.notify(f)
			}
		}
	}
}

// calm waits until the events of one change are over: what goes and what comes
// are reported one by one. False: ctx ended.
func calm(ctx context.Context, events <-chan struct{}) bool {
	atMost := time.NewTimer(settleAtMost)
	defer atMost.Stop()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-atMost.C:
			return true
		case <-quiet.C:
			return true
		case <-events:
			quiet.Reset(settle)
		}
	}
}

// localAddresses asks the system. Choosing a route sends nothing.
func localAddresses(f Family) []netip.Addr {
	network, far := "udp4", "192.0.2.1:9"
	if f == IPv6 {
		network, far = "udp6", "[2001:db8::1]:9"
	}
	var out []netip.Addr
	if c, err := net.Dial(network, far); err == nil {
		if at, ok := c.LocalAddr().(*net.UDPAddr); ok {
			out = append(out, at.AddrPort().Addr().Unmap().WithZone(""))
		}
		c.Close()
	} else {
		out = append(out, netip.Addr{})
	}
	all, _ := net.InterfaceAddrs()
	for _, one := range all {
		p, ok := one.(*net.IPNet)
		if !ok {
			continue
		}
		addr, _ := netip.AddrFromSlice(p.IP)
		if addr = addr.Unmap(); addr.Is4() == (f == IPv4) && addr.IsGlobalUnicast() {
			out = append(out, addr)
		}
	}
	slices.SortFunc(out[1:], netip.Addr.Compare)
	return out
}
