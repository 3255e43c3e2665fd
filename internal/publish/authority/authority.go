// Package authority publishes hosts in zones of our own: it keeps the zones in
// memory and follows the commits of the store, so that what is acknowledged is
// what the next question is answered with. Nothing has to be noted or repaired.
//
// Zones are configuration. A host belongs to the zone with the longest matching
// apex; hosts of a zone that is configured no longer are kept in the store and
// not answered ([Authority.Follow] counts them).
package authority

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// Feed is the ordered stream of a store's commits.
type Feed interface {
	// Follow loads every host, in several goroutines side by side: each calls
	// loader for a function of its own, and that for each host that it reads; the
	// Host is good during the call only. Then it calls loaded, and from the same
	// instant on apply for each commit, in order, before the commit is
	// acknowledged. It returns after loaded.
	Follow(loader func() (load func(*ddns.Host) error), loaded func(), apply func(ddns.Commit)) error
	// Zone returns a zone's SOA serial. It moves the serial forward, durably, if
	// the fingerprint of the zone's static content is not the one it was last
	// called with.
	Zone(ctx context.Context, apex dnsname.Name, fingerprint []byte) (ddns.Serial, error)
}

// ZoneConfig is one zone to serve.
type ZoneConfig struct {
	Apex        dnsname.Name
	NameServers []zone.NameServer // at least one, here or in File
	// File has the static records, nil for none; FileName is for messages.
	File     io.Reader
	FileName string
}

// Authority keeps the zones. It is a [ddns.Zones], and it feeds the DNS server.
type Authority struct {
	zones  *zone.Zones
	list   []*zone.Zone
	prints map[dnsname.Name][]byte // fingerprints of static content
	log    *slog.Logger
	mu     sync.Mutex // guards changes of the zones

	feed       Feed                      // after Follow
	secured    map[dnsname.Name][]byte   // fingerprints of what Secure made zones show; guarded by mu
	challenges map[dnsname.Name][]string // see ShowChallenge; guarded by mu
	waiting    map[dnsname.Name][]string // those of them that the zones do not have yet; guarded by mu

	secondaries Secondaries
	catalog     *zone.Zone // nil: none
}

// New makes the zones of a configuration, still without hosts. An error names
// the file and line of what is wrong.
func New(configs []ZoneConfig, log *slog.Logger) (*Authority, error) {
	a := &Authority{prints: make(map[dnsname.Name][]byte), log: log,
		secured: make(map[dnsname.Name][]byte), challenges: make(map[dnsname.Name][]string), waiting: make(map[dnsname.Name][]string)}
	for _, c := range configs {
		print := sha256.New()
		for _, other := range configs {
			// With such a zone the hosts in it leave this one.
			if other.Apex != c.Apex && other.Apex.Under(c.Apex) {
				fmt.Fprintln(print, "inside", other.Apex)
			}
		}
		for _, ns := range c.NameServers {
			fmt.Fprintln(print, ns.Name, ns.Addresses)
		}
		var records *zone.Records
		if c.File != nil {
			var err error
			if records, err = zone.Parse(io.TeeReader(c.File, print), c.FileName, c.Apex); err != nil {
				return nil, err
			}
		}
		z, err := zone.New(zone.Config{Apex: c.Apex, NameServers: c.NameServers, Records: records})
		if err != nil {
			return nil, err
		}
		a.list = append(a.list, z)
		a.prints[c.Apex] = print.Sum(nil)
	}
	slices.SortFunc(a.list, func(x, y *zone.Zone) int { return strings.Compare(x.Apex().String(), y.Apex().String()) })
	var err error
	a.zones, err = zone.NewZones(a.list...)
	return a, err
}

// Zones are the zones for the DNS server to ask.
func (a *Authority) Zones() *zone.Zones { return a.zones }

// List is the zones in the order of their names.
func (a *Authority) List() []*zone.Zone { return a.list }

// zone is the zone that a name belongs to, or nil.
func (a *Authority) zone(name dnsname.Name) *zone.Zone {
	return a.zones.Find([]byte(name.Wire()), 0)
}

// Zone implements [ddns.Zones].
func (a *Authority) Zone(name dnsname.Name) (dnsname.Name, bool) {
	if z := a.zone(name); z != nil {
		return z.Apex(), true
	}
	return dnsname.Name{}, false
}

// Clash implements [ddns.Zones].
func (a *Authority) Clash(name dnsname.Name) error {
	if z := a.zone(name); z != nil {
		return z.CheckHost(name)
	}
	return fmt.Errorf("%s is in no zone of this server", name)
}

// Loaded is what Follow found in the store.
type Loaded struct {
	Hosts int
	// Homeless counts hosts by the zone that they were made in and that is not
	// configured any more. They are kept and not answered.
	Homeless map[dnsname.Name]int
	// Moved are hosts that another configured zone now has a longer match for.
	// They are answered there; see [ddns.Service.Rehome].
	Moved []dnsname.Name
}

// Follow loads every host of the feed and follows it from then on, for ever.
// Call it once, before the first question is answered. An error that is a
// *[zone.ClashError] says that a static record stands where a host is.
func (a *Authority) Follow(ctx context.Context, feed Feed) (Loaded, error) {
	out := Loaded{Homeless: make(map[dnsname.Name]int)}
	a.feed = feed
	for _, z := range a.list {
		serial, err := feed.Zone(ctx, z.Apex(), a.fingerprint(z.Apex()))
		if err != nil {
			return out, fmt.Errorf("serial of zone %s: %w", z.Apex(), err)
		}
		z.SetSerial(uint32(serial))
	}
	if err := a.beginTransfers(ctx); err != nil {
		return out, err
	}
	var mu sync.Mutex // guards loaders
	var loaders []*loader
	err := feed.Follow(func() func(*ddns.Host) error {
		l := &loader{a: a, zones: make(map[*zone.Zone]*zone.Loader), homeless: make(map[dnsname.Name]int)}
		mu.Lock()
		defer mu.Unlock()
		loaders = append(loaders, l)
		return l.load
	}, func() {
		for _, z := range a.list {
			var parts []*zone.Loader
			for _, l := range loaders {
				if part := l.zones[z]; part != nil {
					parts = append(parts, part)
				}
			}
			z.Fill(parts...)
		}
	}, a.apply)
	var clashes []error
	for _, l := range loaders {
		out.Hosts += l.hosts
		for zone, n := range l.homeless {
			out.Homeless[zone] += n
		}
		out.Moved = append(out.Moved, l.moved...)
		clashes = append(clashes, l.clashes...)
	}
	if err == nil {
		err = errors.Join(clashes[:min(len(clashes), maxClashes)]...)
	}
	return out, err
}

// maxClashes is how many clashes are shown at once.
const maxClashes = 10

// loader is what one goroutine of a feed has read so far.
type loader struct {
	a        *Authority
	zones    map[*zone.Zone]*zone.Loader
	hosts    int
	homeless map[dnsname.Name]int
	moved    []dnsname.Name
	clashes  []error
	room     []ddns.RRset
}

func (l *loader) load(h *ddns.Host) error {
	err := l.show(h)
	if _, ok := errors.AsType[*zone.ClashError](err); !ok {
		return err
	}
	l.clashes = append(l.clashes, fmt.Errorf("%w; take the record out of the zone file, or remove the host while it is out", err))
	if len(l.clashes) < maxClashes {
		return nil
	}
	return errors.Join(l.clashes...)
}

func (l *loader) show(h *ddns.Host) error {
	l.hosts++
	z := l.a.zone(h.Name)
	if z == nil {
		l.homeless[h.Zone]++
		return nil
	}
	if z.Apex() != h.Zone {
		l.moved = append(l.moved, h.Name)
	}
	l.room = h.AppendRRsets(l.room[:0])
	if len(l.room) == 0 {
		return z.CheckHost(h.Name)
	}
	return l.a.show(z, h.Name, l.room, h.Generation, l.add)
}

// add is a setter.
func (l *loader) add(z *zone.Zone, owner dnsname.Name, ttl uint32, a, aaaa []netip.Addr, txt []string, generation uint64) error {
	part := l.zones[z]
	if part == nil {
		part = z.Load()
		l.zones[z] = part
	}
	return part.Add(owner, ttl, a, aaaa, txt, generation)
}

// apply shows one commit: data first, then the serials that stand for it.
func (a *Authority) apply(c ddns.Commit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var room [8]ddns.RRset
	for _, change := range c.Changes {
		after := change.After.AppendRRsets(room[:0])
		if err := a.show(a.zone(change.After.Name), change.After.Name, after, change.After.Generation, (*zone.Zone).Set); err != nil {
			// Admission checks what show checks, so this is a fault of ours; the
			// rest of the commit must be shown all the same.
			a.log.Error("a host cannot be shown", "host", change.After.Name.String(), "err", err)
		}
		if change.Before != nil {
			a.hide(change, after)
		}
	}
	for apex, serial := range c.Serials {
		if z := a.zone(apex); z != nil && z.Apex() == apex {
			a.step(z, serial)
		}
	}
}

// step moves a zone's serial forward, and shows the challenges that wait for that;
// a.mu is held.
func (a *Authority) step(z *zone.Zone, serial ddns.Serial) {
	for owner, texts := range a.waiting {
		if a.zone(owner) != z {
			continue
		}
		if err := z.SetChallenge(owner, texts); err != nil {
			a.log.Error("a challenge cannot be shown", "owner", owner.String(), "err", err)
		}
		delete(a.waiting, owner)
	}
	if !ddns.Serial(z.Serial()).Before(serial) {
		return
	}
	z.SetSerial(uint32(serial))
	if a.secondaries.Changed != nil {
		a.secondaries.Changed(z.Apex())
	}
}

// setter is (*zone.Zone).Set, or what stands in for it at the start.
type setter func(z *zone.Zone, owner dnsname.Name, ttl uint32, a, aaaa []netip.Addr, txt []string, generation uint64) error

// show sets each owner name's records; most are those of the host itself, whose
// zone is home. RRsets of one owner stand together. What cannot be shown keeps
// nothing else from being shown.
func (a *Authority) show(home *zone.Zone, host dnsname.Name, sets []ddns.RRset, generation uint64, set setter) error {
	var errs []error
	for len(sets) > 0 {
		owner := sets[0].Owner
		var addrs, addrs6 []netip.Addr
		var texts []string
		ttl := sets[0].TTL
		for len(sets) > 0 && sets[0].Owner == owner {
			switch sets[0].Type {
			case ddns.TypeA:
				addrs = sets[0].Addrs
			case ddns.TypeAAAA:
				addrs6 = sets[0].Addrs
			case ddns.TypeTXT:
				texts = sets[0].Texts
			}
			sets = sets[1:]
		}
		z := home
		if owner != host {
			z = a.zone(owner)
		}
		if z == nil {
			continue // of a zone that is not configured
		}
		if err := set(z, owner, ttl, addrs, addrs6, texts, generation); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// hide takes away the names that a host showed before and does not show after.
func (a *Authority) hide(change ddns.HostChange, after []ddns.RRset) {
	var room [8]ddns.RRset
	for _, was := range change.Before.AppendRRsets(room[:0]) {
		if slices.ContainsFunc(after, func(is ddns.RRset) bool { return is.Owner == was.Owner }) {
			continue
		}
		z := a.zone(was.Owner)
		if z == nil {
			continue
		}
		if err := z.Set(was.Owner, was.TTL, nil, nil, nil, change.After.Generation); err != nil {
			a.log.Error("a name cannot be taken out of DNS", "owner", was.Owner.String(), "err", err)
			continue
		}
		// The feed is in order: no older state can arrive any more, and another
		// host, with a generation of its own, may get the name.
		z.Forget(was.Owner)
	}
}
