package publishtest

import (
	"context"
	"errors"
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
