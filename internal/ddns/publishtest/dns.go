package publishtest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// DNS is a [ddns.Publisher] in memory: it keeps the contract with the least that
// does it. It knows no generations, so it publishes an older state after a newer
// one if it is told to, as most providers do. Safe for concurrent use; the zero
// DNS shows nothing.
type DNS struct {
	mu     sync.Mutex // guards following
	sets   map[rrset]ddns.RRset
	hosts  map[dnsname.Name][]rrset // what each host has put there
	faults map[dnsname.Name]Fault
	calls  int
}

type rrset struct {
	owner dnsname.Name
	t     ddns.Type
}

var errAway = errors.New("publishtest: DNS is away")

// Setup is the suite's Setup of it.
func (d *DNS) Setup(zone dnsname.Name) Setup {
	return Setup{Publisher: d, Zone: zone, Shows: d.Shows, Fail: d.Fail}
}

// Publish is [ddns.Publisher]'s.
func (d *DNS) Publish(_ context.Context, hosts []*ddns.Host) []ddns.Published {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	results := make([]ddns.Published, len(hosts))
	for i, h := range hosts {
		fault := d.faults[h.Name]
		delete(d.faults, h.Name)
		if fault != Refuse {
			d.setLocked(h)
			results[i] = ddns.Published{Generation: h.Generation, Shown: h.RRsets()}
		}
		if fault != 0 {
			results[i] = ddns.Published{Err: errAway}
		}
	}
	return results
}

func (d *DNS) setLocked(h *ddns.Host) {
	if d.sets == nil {
		d.sets, d.hosts = map[rrset]ddns.RRset{}, map[dnsname.Name][]rrset{}
	}
	for _, at := range d.hosts[h.Name] {
		delete(d.sets, at)
	}
	delete(d.hosts, h.Name)
	for _, set := range h.RRsets() {
		at := rrset{set.Owner, set.Type}
		d.sets[at] = set
		d.hosts[h.Name] = append(d.hosts[h.Name], at)
	}
}

// Shows is what DNS has at an owner name for a type.
func (d *DNS) Shows(owner dnsname.Name, t ddns.Type) (ddns.RRset, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	set, ok := d.sets[rrset{owner, t}]
	return set, ok
}

// Fail makes each host's next publish go wrong.
func (d *DNS) Fail(f Fault, hosts ...dnsname.Name) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.faults == nil {
		d.faults = map[dnsname.Name]Fault{}
	}
	for _, name := range hosts {
		d.faults[name] = f
	}
}

// Calls is how often Publish has been called.
func (d *DNS) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Inspected is a DNS that can be asked what it shows, a [ddns.Inspector], and
// that others can change. The zero Inspected shows nothing.
type Inspected struct {
	DNS
	// Away, if not nil, is asked before each Look and List; what it returns is
	// their error. It is set before first use.
	Away  func() error
	looks int // guarded by DNS.mu
}

// Change is what somebody else does to DNS: these RRsets are replaced, and one
// without values is taken away.
func (d *Inspected) Change(sets ...ddns.RRset) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sets == nil {
		d.sets, d.hosts = map[rrset]ddns.RRset{}, map[dnsname.Name][]rrset{}
	}
	for _, set := range sets {
		at := rrset{set.Owner, set.Type}
		if d.sets[at] = set; len(set.Addrs)+len(set.Texts) == 0 {
			delete(d.sets, at)
		}
	}
}

// Publish is [ddns.Publisher]'s. It takes away what Host.Shown says, and not
// what it remembers itself: others may have put it there.
func (d *Inspected) Publish(ctx context.Context, hosts []*ddns.Host) []ddns.Published {
	d.mu.Lock()
	if d.sets == nil {
		d.sets, d.hosts = map[rrset]ddns.RRset{}, map[dnsname.Name][]rrset{}
	}
	for _, h := range hosts {
		for _, set := range h.Shown {
			if at := (rrset{set.Owner, set.Type}); !slices.Contains(d.hosts[h.Name], at) {
				d.hosts[h.Name] = append(d.hosts[h.Name], at)
			}
		}
	}
	d.mu.Unlock()
	return d.DNS.Publish(ctx, hosts)
}

// Look is [ddns.Inspector]'s.
func (d *Inspected) Look(_ context.Context, h *ddns.Host) ([]ddns.RRset, error) {
	if d.Away != nil {
		if err := d.Away(); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks++
	owners := h.Names()
	for _, set := range slices.Concat(h.Shown, h.RRsets()) {
		if !slices.Contains(owners, set.Owner) {
			owners = append(owners, set.Owner)
		}
	}
	var sets []ddns.RRset
	for _, owner := range owners {
		for t := ddns.TypeA; t <= ddns.TypeTXT; t++ {
			if set, ok := d.sets[rrset{owner, t}]; ok {
				sets = append(sets, set)
			}
		}
	}
	return sets, nil
}

// List is [ddns.Inspector]'s. Its pages are of three.
func (d *Inspected) List(_ context.Context, zone dnsname.Name, do func([]ddns.RRset) error) error {
	if d.Away != nil {
		if err := d.Away(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	var all []ddns.RRset
	for at, set := range d.sets {
		if at.owner.Under(zone) {
			all = append(all, set)
		}
	}
	d.mu.Unlock()
	for page := range slices.Chunk(all, 3) {
		if err := do(page); err != nil {
			return err
		}
	}
	return nil
}

// Looks is how often Look has asked.
func (d *Inspected) Looks() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.looks
}

var _ ddns.Inspector = (*Inspected)(nil)
