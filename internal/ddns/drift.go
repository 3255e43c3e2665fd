package ddns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/dnsname"
)

// Inspector is a Publisher whose DNS others can change too, and which can say
// what it shows. Safe for concurrent use.
type Inspector interface {
	Publisher
	// Look asks DNS what it has of a host: the A and AAAA RRsets at the names of
	// [Host.Names] and at the owners in Host.Shown, and the TXT RRset at its
	// _acme-challenge name if the host has challenge values or Host.Shown has.
	Look(ctx context.Context, h *Host) ([]RRset, error)
	// List calls do with all A, AAAA and TXT RRsets of a zone, some at a time. An
	// error of do ends it and is returned.
	List(ctx context.Context, zone dnsname.Name, do func([]RRset) error) error
}

// Pass is how far the inspection of DNS has come.
type Pass struct {
	Cursor    string    `json:"cursor,omitempty"` // where the pass at hand goes on; "": none is at hand
	Began     time.Time `json:"began"`            // the pass at hand, or the last one
	Completed time.Time `json:"completed"`        // the last complete pass; zero: there was none
}

// PassKeeper is a Store that remembers the Pass for processes that come and go.
// Without one the Service remembers it itself.
type PassKeeper interface {
	// Pass is the Pass as it is now.
	Pass(ctx context.Context) (Pass, error)
	SetPass(ctx context.Context, p Pass) error
	// Inspected is Pass.Completed, from memory that is some minutes old at most.
	Inspected(ctx context.Context) (time.Time, error)
}

const (
	inspectEvery = 24 * time.Hour
	// inspectAgain is when the next pass begins after one that found what could not
	// be put right at once.
	inspectAgain = time.Hour
	// doubtAfter is how old a complete inspection may be before an update that
	// changes nothing asks DNS all the same.
	doubtAfter = 48 * time.Hour
	// ownTime is how long whoever stored a change has for publishing it himself.
	ownTime = 30 * time.Second
)

// askLimit is how often a process asks DNS about one host on behalf of updates
// that change nothing: they are counted against no other limit.
var askLimit = Rate{PerHour: 12, Burst: 1}

// meet is the first contact with a host that others made (generation 0): what
// DNS has of it now is its present state.
func (s *Service) meet(ctx context.Context, h *Host) (*Host, error) {
	in, ok := s.Publisher.(Inspector)
	if !ok || h.Generation > 0 || h.Removed {
		return h, nil
	}
	shown, err := in.Look(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("ask DNS what it has of %s: %w", h.Name, err)
	}
	m := h.Clone()
	m.takeShown(shown)
	return m, nil
}

// takeShown makes what DNS shows the host's state.
func (h *Host) takeShown(shown []RRset) {
	h.Shown = shown
	for _, set := range shown {
		switch {
		case set.Owner != h.Name:
		case set.Type == TypeA:
			h.A = sortAddrs(slices.Clone(set.Addrs))
		case set.Type == TypeAAAA:
			h.AAAA = sortAddrs(slices.Clone(set.Addrs))
		}
	}
}

// meetNew is meet for hosts that are about to be added. One that comes without a
// state has what DNS has of its name: a name that works must not be emptied
// because its host is new. The events say what was taken over.
func (s *Service) meetNew(ctx context.Context, writes []Write) error {
	in, ok := s.Publisher.(Inspector)
	if !ok {
		return nil
	}
	for i := range writes {
		w := &writes[i]
		h := w.Host
		if w.Before != nil || h.Prefix.IsValid() || len(h.Current()) > 0 {
			continue
		}
		shown, err := s.shownOfNew(ctx, in, h, len(writes) > 1)
		if err != nil {
			return unavailable("ask DNS what it has of "+h.Name.String(), err)
		}
		h.takeShown(shown)
		if len(h.A) > MaxAddresses || len(h.AAAA) > MaxAddresses {
			return refuse(Malformed, fmt.Sprintf("DNS has more than %d addresses for %s, and a host has no more", MaxAddresses, h.Name),
				"take some of them away there first")
		}
		if w.Event.After = h.Current(); sameRRsets(shown, h.RRsets()) {
			h.Published = h.Generation
		}
	}
	return nil
}

// listingLife is how long a listing of a zone is taken for right while hosts are
// imported.
const listingLife = 15 * time.Second

// listing is what a zone had, by owner.
type listing struct {
	at   time.Time
	sets map[dnsname.Name][]RRset
}

// shownOfNew asks DNS for one host, or lists its zone when there are many.
func (s *Service) shownOfNew(ctx context.Context, in Inspector, h *Host, many bool) ([]RRset, error) {
	if !many {
		return in.Look(ctx, h)
	}
	s.listings.mu.Lock()
	defer s.listings.mu.Unlock()
	z := s.listings.zones[h.Zone]
	if now := s.Now(); z.sets == nil || now.Sub(z.at).Abs() > listingLife {
		z = listing{now, map[dnsname.Name][]RRset{}}
		err := in.List(ctx, h.Zone, func(sets []RRset) error {
			for _, set := range sets {
				z.sets[set.Owner] = append(z.sets[set.Owner], set)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		s.listings.zones = map[dnsname.Name]listing{h.Zone: z} // one zone's at a time
	}
	return shownOf(h, z.sets), nil
}

// adopt makes a host that others made, and that an update leaves as it is, one
// of ours, so that DNS need not be asked again.
func adopt(h *Host, c *Credential, u Update, now time.Time) (*Host, Event) {
	next := h.Clone()
	next.Generation = 1
	next.Created, next.ChangedAt, next.ChangedBy, next.Seen = now, now, c.ID, now
	if sameRRsets(h.Shown, next.RRsets()) { // not if its TTL is another one
		next.Published = 1
	}
	return next, Event{Time: now, Generation: 1, Outcome: changed, Door: u.Door, Credential: c.ID, Source: u.Source.Addr,
		Proven: u.Source.Proven, What: "taken over as DNS had it", Before: h.Current(), After: next.Current()}
}

// confirm says why DNS is not known to show an unchanged host, if it is not.
// Where doubt remains it asks DNS, and puts right what is wrong there.
func (s *Service) confirm(ctx context.Context, h *Host, now time.Time) error {
	if s.Publisher == nil {
		return nil
	}
	if h.Published < h.Generation {
		if s.Deferred {
			// Requests would ask for one host each when there are the most of them.
			return nil
		}
		if now.Sub(h.ChangedAt) >= ownTime && s.asked.take(h.Name, now) == 0 {
			return s.showNow(ctx, h)
		}
		return errUnpublished
	}
	in, ok := s.Publisher.(Inspector)
	if !ok {
		return nil
	}
	completed, err := s.inspected(ctx)
	if err == nil && now.Sub(completed) < doubtAfter || s.asked.take(h.Name, now) > 0 {
		return nil
	}
	shown, err := in.Look(ctx, h)
	if err != nil {
		s.Log.Warn("could not ask DNS what it shows of a host", "host", h.Name.String(), "err", err)
		return err
	}
	if sameRRsets(shown, h.RRsets()) {
		return nil
	}
	s.Log.Warn("DNS shows something else than was published; publishing again", "host", h.Name.String(), "generation", h.Generation)
	seen := h.Clone()
	seen.Shown = shown
	return s.showNow(ctx, seen)
}

// PublishHosts makes DNS show the newest states of the hosts of these names, as
// a feed of changes tells them, each once. The result says for each why it has
// to be told again; nil if DNS is known to show it, if there is no such host or
// none that can be read, or if the change is older than Grace: then it is Repair's.
func (s *Service) PublishHosts(ctx context.Context, names []dnsname.Name) []error {
	errs := make([]error, len(names))
	if s.Publisher == nil {
		return errs
	}
	read := make([]*Host, len(names))
	now := s.Now()
	each(len(names), func(i int) {
		switch h, _, err := s.Store.Host(ctx, names[i]); {
		case err == nil && h.Published < h.Generation && (s.Grace == 0 || now.Sub(h.ChangedAt) < s.Grace):
			read[i] = h
		case errors.Is(err, ErrDamaged):
			// To be told again would hold up what comes after it, and help nobody.
			s.Log.Error("a host cannot be read, and so not published", "host", names[i].String(), "err", err)
		case err != nil && !errors.Is(err, ErrNoHost):
			errs[i] = fmt.Errorf("read %s: %w", names[i], err)
		}
	})
	var hosts []*Host
	var at []int // of hosts among names
	for i, h := range read {
		if h != nil {
			hosts, at = append(hosts, h), append(at, i)
		}
	}
	for i, err := range s.publishAll(ctx, hosts) {
		errs[at[i]] = err
	}
	return errs
}

// Inspect goes once a day through what DNS has in these zones and publishes
// every host of which it shows something else than was published there. Call it
// every minute or so: it does nothing until a day has passed, and what ctx left
// no time for goes on at the next call, at the host where it stopped. It holds
// one zone's RRsets in memory. Records that are no host's are left alone. After
// a pass that could not put all right the next one begins an hour later.
func (s *Service) Inspect(ctx context.Context, zones []dnsname.Name) error {
	in, ok := s.Publisher.(Inspector)
	if !ok {
		return nil
	}
	p, err := s.pass(ctx)
	if err != nil {
		return fmt.Errorf("read how far the inspection of DNS has come: %w", err)
	}
	now := s.Now()
	if p.Cursor == "" {
		if age := now.Sub(p.Began); age >= 0 && age < inspectEvery {
			return nil
		}
		p.Began = now
	}
	// The cursor is a zone and, after a space, where its hosts go on.
	apex, hosts, _ := strings.Cut(p.Cursor, " ")
	first := max(0, slices.IndexFunc(zones, func(z dnsname.Name) bool { return z.String() == apex }))
	if first == 0 && (len(zones) == 0 || zones[0].String() != apex) {
		hosts = "" // that zone is no longer served: from the beginning
	}
	for _, zone := range zones[first:] {
		if err := s.inspectZone(ctx, in, zone, hosts, &p); err != nil {
			return fmt.Errorf("inspect zone %s: %w", zone, err)
		}
		hosts = ""
	}
	p.Cursor, p.Completed = "", now
	return s.setPass(ctx, p)
}

// inspectZone inspects one zone from a cursor of hosts on.
func (s *Service) inspectZone(ctx context.Context, in Inspector, zone dnsname.Name, cursor string, p *Pass) error {
	shown := map[dnsname.Name][]RRset{}
	// DNS first, then the hosts: what changes in between makes a difference that
	// is looked at again, never one that is missed.
	err := in.List(ctx, zone, func(sets []RRset) error {
		for _, set := range sets {
			shown[set.Owner] = append(shown[set.Owner], set)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for {
		p.Cursor = zone.String() + " " + cursor
		if err := s.setPass(ctx, *p); err != nil {
			return err
		}
		hosts, next, err := s.Store.Hosts(ctx, cursor, 500)
		if err != nil {
			return err
		}
		if err := s.mend(ctx, zone, hosts, shown, p); err != nil {
			return err
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// mend publishes those of a zone's hosts of which DNS shows something else than
// was published. If that fails the next pass begins sooner.
func (s *Service) mend(ctx context.Context, zone dnsname.Name, hosts []*Host, shown map[dnsname.Name][]RRset, p *Pass) error {
	var wrong []*Host
	for _, h := range hosts {
		// What is unpublished is for Repair, and what others made is as they made it.
		if h.Zone != zone || h.Generation == 0 || h.Published < h.Generation || sameRRsets(shownOf(h, shown), h.RRsets()) {
			continue
		}
		h, _, err := s.Store.Host(ctx, h.Name) // the listing may be behind
		if errors.Is(err, ErrNoHost) || errors.Is(err, ErrDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		if at := shownOf(h, shown); h.Published == h.Generation && !sameRRsets(at, h.RRsets()) {
			h = h.Clone()
			h.Shown = at
			wrong = append(wrong, h)
		}
	}
	if len(wrong) > 0 {
		s.Log.Warn("DNS shows something else than was published; publishing again", "hosts", len(wrong), "host", wrong[0].Name.String())
		for _, err := range s.publishAll(ctx, wrong) {
			// It counts as published, so nobody but the next pass would see to it.
			if soon := s.Now().Add(inspectAgain - inspectEvery); err != nil && !errors.Is(err, ErrNotTaken) && p.Began.After(soon) {
				p.Began = soon
			}
		}
	}
	return ctx.Err()
}

// shownOf picks what is a host's among all that a zone has.
func shownOf(h *Host, shown map[dnsname.Name][]RRset) (sets []RRset) {
	take := func(owner dnsname.Name, types ...Type) {
		for _, set := range shown[owner] {
			if slices.Contains(types, set.Type) {
				sets = append(sets, set)
			}
		}
	}
	for _, n := range h.Names() {
		take(n, TypeA, TypeAAAA)
	}
	// Others put challenge values there too.
	if isTXT := func(r RRset) bool { return r.Type == TypeTXT }; len(h.TXT) > 0 || slices.ContainsFunc(h.Shown, isTXT) {
		if owner, err := h.challenge(); err == nil {
			take(owner, TypeTXT)
		}
	}
	return sets
}

// sameRRsets tells whether two lists have the same RRsets, in whatever order.
func sameRRsets(a, b []RRset) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x RRset) bool {
		return !slices.ContainsFunc(b, func(y RRset) bool { return sameRRset(x, y) })
	})
}

func sameRRset(a, b RRset) bool {
	return a.Owner == b.Owner && a.Type == b.Type && a.TTL == b.TTL &&
		sameSet(a.Addrs, b.Addrs, netip.Addr.Compare) && sameSet(a.Texts, b.Texts, strings.Compare)
}

func sameSet[T comparable](a, b []T, order func(T, T) int) bool {
	if len(a) != len(b) {
		return false
	}
	return slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order))
}

func (s *Service) pass(ctx context.Context) (Pass, error) {
	if k, ok := s.Store.(PassKeeper); ok {
		return k.Pass(ctx)
	}
	if p := s.ownPass.Load(); p != nil {
		return *p, nil
	}
	return Pass{}, nil
}

func (s *Service) setPass(ctx context.Context, p Pass) error {
	if k, ok := s.Store.(PassKeeper); ok {
		return k.SetPass(ctx, p)
	}
	s.ownPass.Store(&p)
	return nil
}

func (s *Service) inspected(ctx context.Context) (time.Time, error) {
	if k, ok := s.Store.(PassKeeper); ok {
		return k.Inspected(ctx)
	}
	p, err := s.pass(ctx)
	return p.Completed, err
}
