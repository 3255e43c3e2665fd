// Package publishtest says what every [ddns.Publisher] must do, as a suite: what
// it does not check, a Publisher need not do.
//
// [Run] is for the tests of a Publisher. [Cases] is the same as values, so that
// the suite can itself be tested against publishers that are wrong. [Store] and
// [DNS] are small stand-ins for a store and a publisher, for tests of the core
// and of what uses it.
package publishtest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Fault is how a publish is to go wrong.
type Fault int

const (
	// Refuse: DNS does not take the host's state; nothing of it changes.
	Refuse Fault = iota + 1
	// LoseAnswer: DNS takes the host's state, but the publisher does not hear so.
	LoseAnswer
)

func (f Fault) String() string {
	if f == Refuse {
		return "refuse"
	}
	return "lose answer"
}

// Setup is one Publisher under test with an empty DNS behind it.
type Setup struct {
	Publisher ddns.Publisher
	// Zone is the apex under which the suite makes its hosts.
	Zone dnsname.Name
	// Shows asks DNS, without any cache, what it has at an owner name for a type.
	Shows func(owner dnsname.Name, t ddns.Type) (ddns.RRset, bool)
	// Fail makes each host's next publish, and only that, go wrong so. A publisher
	// may try again within one Publish: the fault must outlast that.
	Fail func(f Fault, hosts ...dnsname.Name)
}

// Case is one demand.
type Case struct {
	Name  string
	Check func(ctx context.Context, s Setup) error // nil: the demand is met
}

// Run checks every case on a Setup of its own, which open makes.
func Run(t *testing.T, open func(t *testing.T) Setup) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Check(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Cases are all demands.
func Cases() []Case {
	return []Case{
		{"addresses are shown", shown},
		{"twice is harmless", idempotent},
		{"what a state lacks goes away", byState},
		{"a TTL change shows", ttlChange},
		{"a wildcard is shown and goes away", wildcard},
		{"followers are shown, moved and go away", followers},
		{"challenge values are shown and go away", challenge},
		{"suspended shows nothing", suspended},
		{"removal empties", removal},
		{"a batch of none", func(ctx context.Context, s Setup) error { return batch(ctx, s, 0) }},
		{"a batch of one", func(ctx context.Context, s Setup) error { return batch(ctx, s, 1) }},
		{"a batch of 1000", func(ctx context.Context, s Setup) error { return batch(ctx, s, 1000) }},
		{"one refused of 3 hinders no other", func(ctx context.Context, s Setup) error { return isolates(ctx, s, 3, 1) }},
		{"two refused of 300 hinder no other", func(ctx context.Context, s Setup) error { return isolates(ctx, s, 300, 2) }},
		{"after a lost answer it is repeated", lostAnswer},
		{"many at once", atOnce},
		{"no result without a host, whatever ctx is", ended},
		{"late publishes leave the newest state", schedules},
		{"an Inspector tells what is shown", inspected},
	}
}

// start is the time of everything in the suite. Publishers have no clock in
// their contract.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// host makes a host i at generation 1 with one address of each family.
func (s Setup) host(i int) *ddns.Host {
	name, err := s.Zone.Child(fmt.Sprintf("host%d", i))
	if err != nil {
		panic(err) // the caller's zone is too long
	}
	return &ddns.Host{
		Name: name, Zone: s.Zone, TTL: 60, Addresses: ddns.AnyAddress, Generation: 1, Created: start, ChangedAt: start,
		A: []netip.Addr{v4(i)}, AAAA: []netip.Addr{v6(i)},
	}
}

func v4(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) }
func v6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
}

// next is a host's next state, as edit makes it.
func next(h *ddns.Host, edit func(*ddns.Host)) *ddns.Host {
	n := h.Clone()
	n.Generation++
	edit(n)
	return n
}

// publish publishes hosts and notes the results on them, as the core does. It
// says if a result is missing or wrong in itself.
func (s Setup) publish(ctx context.Context, hosts ...*ddns.Host) ([]ddns.Published, error) {
	results := s.Publisher.Publish(ctx, hosts)
	if len(results) != len(hosts) {
		return results, fmt.Errorf("%d results for %d hosts", len(results), len(hosts))
	}
	for i, r := range results {
		if r.Err != nil {
			continue
		}
		h := hosts[i]
		if r.Generation != h.Generation {
			return results, fmt.Errorf("%s was published at generation %d; the result says %d", h.Name, h.Generation, r.Generation)
		}
		if err := same(r.Shown, h.RRsets()); err != nil {
			return results, fmt.Errorf("the result for %s says that DNS shows something else: %w", h.Name, err)
		}
		h.Published, h.Shown = r.Generation, r.Shown
	}
	return results, nil
}

// all publishes hosts that nothing is wrong with and looks whether DNS shows them.
func (s Setup) all(ctx context.Context, hosts ...*ddns.Host) error {
	results, err := s.publish(ctx, hosts...)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Err != nil {
			return fmt.Errorf("%s at generation %d: %w", hosts[i].Name, hosts[i].Generation, r.Err)
		}
		if err := s.shows(hosts[i]); err != nil {
			return err
		}
	}
	return nil
}

// shows compares what DNS has at all names that hosts of the suite may have
// with what the host says.
func (s Setup) shows(h *ddns.Host) error {
	owners := []dnsname.Name{h.Name}
	for _, label := range []string{"*", "_acme-challenge", "nas", "tv"} {
		owner, err := h.Name.Child(label)
		if err != nil {
			return err
		}
		owners = append(owners, owner)
	}
	var got []ddns.RRset
	for _, owner := range owners {
		for _, t := range []ddns.Type{ddns.TypeA, ddns.TypeAAAA, ddns.TypeTXT} {
			if set, ok := s.Shows(owner, t); ok {
				got = append(got, set)
			}
		}
	}
	if err := same(got, h.RRsets()); err != nil {
		return fmt.Errorf("%s at generation %d: %w", h.Name, h.Generation, err)
	}
	return nil
}

// same compares RRsets as sets: neither they nor their values have an order.
func same(got, want []ddns.RRset) error {
	g, w := lines(got), lines(want)
	if !slices.Equal(g, w) {
		return fmt.Errorf("DNS shows\n\t%q\nwant\n\t%q", g, w)
	}
	return nil
}

// lines writes RRsets in one form, in order.
func lines(sets []ddns.RRset) []string {
	var out []string
	for _, set := range sets {
		for _, a := range set.Addrs {
			out = append(out, fmt.Sprintf("%s %d %s %s", set.Owner, set.TTL, set.Type, a))
		}
		for _, text := range set.Texts {
			out = append(out, fmt.Sprintf("%s %d %s %q", set.Owner, set.TTL, set.Type, text))
		}
	}
	slices.Sort(out)
	return out
}
