package storetest

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// naive is a store's meaning with no thought of speed or disks.
type naive struct {
	hosts       map[dnsname.Name]*ddns.Host
	credentials map[string]*ddns.Credential
	changes     map[dnsname.Name][]ddns.Event
	refusals    map[dnsname.Name]int
	retired     map[dnsname.Name]uint64
}

func newNaive() *naive {
	return &naive{map[dnsname.Name]*ddns.Host{}, map[string]*ddns.Credential{}, map[dnsname.Name][]ddns.Event{}, map[dnsname.Name]int{}, map[dnsname.Name]uint64{}}
}

func (m *naive) owner(n dnsname.Name) (dnsname.Name, bool) {
	for _, h := range m.hosts {
		if slices.Contains(h.Names(), n) {
			return h.Name, true
		}
	}
	return dnsname.Name{}, false
}

func (m *naive) drop(n dnsname.Name) {
	m.retired[n] = m.hosts[n].Generation
	delete(m.hosts, n)
	delete(m.changes, n)
	delete(m.refusals, n)
}

// save makes one write, or says why not.
func (m *naive) save(w ddns.Write) error {
	h := w.Host.Clone()
	was := m.hosts[h.Name]
	switch {
	case w.Before == nil && was != nil:
		return ddns.ErrNameTaken
	case w.Before != nil && (was == nil || was.Generation != w.Before.Generation):
		return ddns.ErrConflict
	}
	if c := m.credentials[w.Touch.Credential]; w.Touch.Credential != "" && (c == nil || w.Touch.Mark <= c.Mark) {
		return ddns.ErrConflict
	}
	dropped := h.Removed && h.Published == h.Generation
	if !dropped {
		seen := map[dnsname.Name]bool{}
		for _, n := range h.Names() {
			if by, taken := m.owner(n); seen[n] || taken && by != h.Name {
				return ddns.ErrNameTaken
			}
			seen[n] = true
		}
	}
	for _, c := range w.Credentials {
		for id, other := range m.credentials {
			if len(c.Fingerprint) > 0 && id != c.ID && string(other.Fingerprint) == string(c.Fingerprint) && !slices.Contains(w.Revoked, id) {
				return ddns.ErrSecretTaken
			}
		}
	}
	e := w.Event
	if was == nil {
		h.Generation += m.retired[h.Name]
		h.Published += m.retired[h.Name]
		e.Generation = h.Generation
	} else {
		if was.Published > h.Published {
			h.Published, h.Shown = was.Published, was.Shown
		}
		if was.Seen.After(h.Seen) {
			h.Seen = was.Seen
		}
		h.Refusals = max(h.Refusals, was.Refusals)
	}
	m.hosts[h.Name] = h
	m.changes[h.Name] = append(m.changes[h.Name], e)
	for _, id := range w.Revoked {
		delete(m.credentials, id)
	}
	for _, c := range w.Credentials {
		c := *c
		if old := m.credentials[c.ID]; old != nil {
			c.Mark = max(c.Mark, old.Mark)
		}
		m.credentials[c.ID] = &c
	}
	if id := w.Touch.Credential; id != "" {
		c := *m.credentials[id]
		c.Mark = w.Touch.Mark
		m.credentials[id] = &c
	}
	if dropped {
		m.drop(h.Name)
	}
	return nil
}

// machine does the same to a store and to the model.
type machine struct {
	s     ddns.Store
	m     *naive
	stale map[dnsname.Name]*ddns.Host // states read some time ago
	clock time.Time
	stem  string // of this run's names: all runs share one store
}

// Model compares a store with a naive one over random runs. It is part of Run,
// and stands alone for a further form of a store that has passed that. Each run
// has names of its own in one store, which is far cheaper than a store for each.
func Model(t *testing.T, open func(t *testing.T) ddns.Store) {
	s := open(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &machine{s: s, m: newNaive(), stale: map[dnsname.Name]*ddns.Host{}, clock: start, stem: fmt.Sprintf("-%d", run)}
		rt.Repeat(map[string]func(*rapid.T){
			"":        func(rt *rapid.T) { m.compare(t, rt) },
			"create":  func(rt *rapid.T) { m.create(t, rt) },
			"change":  func(rt *rapid.T) { m.change(t, rt, nil) },
			"remove":  func(rt *rapid.T) { m.change(t, rt, func(h *ddns.Host) { h.Removed, h.Followers = true, nil }) },
			"rotate":  func(rt *rapid.T) { m.rotate(t, rt) },
			"note":    func(rt *rapid.T) { m.note(t, rt) },
			"touch":   func(rt *rapid.T) { m.touch(t, rt) },
			"refused": func(rt *rapid.T) { m.refused(t, rt) },
			"read":    func(rt *rapid.T) { m.read(t, rt) },
		})
	})
}

func (m *machine) name(rt *rapid.T) dnsname.Name {
	return name(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "name") + m.stem)
}

func (m *machine) now() time.Time {
	m.clock = m.clock.Add(1001 * time.Microsecond)
	return m.clock
}

// both holds a store's error against the model's.
func (m *machine) both(rt *rapid.T, doing string, got, want error) bool {
	if !errors.Is(got, want) || want == nil && got != nil {
		rt.Fatalf("%s: store says %v, model says %v", doing, got, want)
	}
	return want == nil
}

func (m *machine) edit(rt *rapid.T, h *ddns.Host) {
	h.TTL = rapid.Uint32Range(1, ddns.MaxTTL).Draw(rt, "ttl")
	h.Wildcard = rapid.Bool().Draw(rt, "wildcard")
	h.Suspended = rapid.Bool().Draw(rt, "suspended")
	h.A = nil
	for i := range rapid.IntRange(0, 3).Draw(rt, "addresses") {
		h.A = append(h.A, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	h.Followers = nil
	for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 2, rapid.ID).Draw(rt, "followers") {
		h.Followers = append(h.Followers, follower(f+m.stem))
	}
}

func (m *machine) publish(rt *rapid.T, h *ddns.Host) {
	if rapid.Bool().Draw(rt, "by construction") {
		h.Published = h.Generation
	}
}

func (m *machine) create(t *testing.T, rt *rapid.T) {
	n := m.name(rt)
	h := &ddns.Host{Name: n, Zone: zone, TTL: 60, Generation: 1, Created: m.now(), ChangedAt: m.clock, ChangedBy: "admin"}
	m.edit(rt, h)
	m.publish(rt, h)
	c := m.credential(rt, n)
	w := creation(h, c)
	m.save(t, rt, "create", w)
}

// credential makes one, now and then with a secret that another may have.
func (m *machine) credential(rt *rapid.T, n dnsname.Name) *ddns.Credential {
	c := token(n)
	if secret := rapid.IntRange(0, 4).Draw(rt, "secret"); secret > 1 {
		c.Fingerprint = fmt.Appendf(nil, "%d%s", secret, m.stem)
	}
	c.Created = m.now()
	return c
}

func (m *machine) save(t *testing.T, rt *rapid.T, doing string, w ddns.Write) {
	want := m.m.save(w)
	m.both(rt, doing, m.s.Save(t.Context(), w), want)
}

// base is a state of a host to decide on: the present one, or an old one.
func (m *machine) base(rt *rapid.T) *ddns.Host {
	n := m.name(rt)
	if old := m.stale[n]; old != nil && rapid.IntRange(0, 3).Draw(rt, "stale") == 0 {
		return old
	}
	return m.m.hosts[n]
}

func (m *machine) change(t *testing.T, rt *rapid.T, edit func(*ddns.Host)) {
	before := m.base(rt)
	if before == nil {
		rt.Skip("no host")
	}
	w := unpublished(before, func(h *ddns.Host) {
		m.edit(rt, h)
		h.Removed = false
		if edit != nil {
			edit(h)
		}
		h.ChangedAt = m.now()
	})
	m.publish(rt, w.Host)
	w.Event = event(w.Host, "edited")
	// Which error comes first of two is no part of the contract: names stay.
	if len(before.Credentials) > 0 && !w.Host.Removed && slices.Equal(before.Names(), w.Host.Names()) && rapid.Bool().Draw(rt, "with a mark") {
		w.Touch = ddns.Touch{Credential: before.Credentials[0], Mark: int64(rapid.IntRange(1, 5).Draw(rt, "mark"))}
	}
	if w.Host.Removed {
		w.Revoked = slices.Clone(before.Credentials)
		w.Host.Credentials = nil
	}
	m.save(t, rt, "change", w)
}

func (m *machine) rotate(t *testing.T, rt *rapid.T) {
	before := m.base(rt)
	if before == nil {
		rt.Skip("no host")
	}
	c := m.credential(rt, before.Name)
	w := unpublished(before, func(h *ddns.Host) { h.Credentials = []string{c.ID}; h.ChangedAt = m.now() })
	m.publish(rt, w.Host)
	if w.Host.Removed {
		rt.Skip("removed")
	}
	w.Event = event(w.Host, "rotated")
	w.Credentials, w.Revoked = []*ddns.Credential{c}, slices.Clone(before.Credentials)
	m.save(t, rt, "rotate", w)
}

func (m *machine) note(t *testing.T, rt *rapid.T) {
	n := m.name(rt)
	h := m.m.hosts[n]
	if h == nil {
		m.both(rt, "note", noted(t.Context(), m.s, n, 1, nil), ddns.ErrNoHost)
		return
	}
	generation := rapid.Uint64Range(max(h.Generation, 3)-2, h.Generation).Draw(rt, "generation")
	var shown []ddns.RRset
	if rapid.Bool().Draw(rt, "shown") {
		shown = []ddns.RRset{{Owner: n, Type: ddns.TypeA, TTL: uint32(generation), Addrs: []netip.Addr{addr("192.0.2.1")}}}
	}
	latest, err := m.s.Note(t.Context(), n, generation, shown)
	if m.both(rt, "note", err, nil); latest != h.Generation {
		rt.Fatalf("note says generation %d, model says %d", latest, h.Generation)
	}
	switch {
	case generation < h.Published:
	case h.Removed && generation == h.Generation:
		m.m.drop(n)
	case generation > h.Published:
		h = h.Clone()
		h.Published, h.Shown = generation, shown
		m.m.hosts[n] = h
	default: // noted before: what DNS shows at one generation is one thing
		got, _, err := m.s.Host(t.Context(), n)
		if err != nil {
			rt.Fatal(err)
		}
		h = h.Clone()
		h.Shown = got.Shown
		m.m.hosts[n] = h
	}
}

func (m *machine) touch(t *testing.T, rt *rapid.T) {
	n := m.name(rt)
	h := m.m.hosts[n]
	if h == nil {
		rt.Skip("no host")
	}
	to := ddns.Touch{}
	if rapid.Bool().Draw(rt, "seen") {
		to.Seen = start.Add(time.Duration(rapid.IntRange(0, 5).Draw(rt, "hours")) * time.Hour)
	}
	if len(h.Credentials) > 0 && rapid.Bool().Draw(rt, "with a mark") {
		to.Credential, to.Mark = h.Credentials[0], int64(rapid.IntRange(1, 5).Draw(rt, "mark"))
	}
	generation := h.Generation - uint64(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "behind"))
	var want error
	if generation != h.Generation || to.Credential != "" && to.Mark <= m.m.credentials[to.Credential].Mark {
		want = ddns.ErrConflict
	}
	if !m.both(rt, "touch", m.s.Touch(t.Context(), n, generation, to), want) {
		return
	}
	if to.Credential != "" {
		c := *m.m.credentials[to.Credential]
		c.Mark = to.Mark
		m.m.credentials[c.ID] = &c
	}
	if to.Seen.After(h.Seen) {
		h = h.Clone()
		h.Seen = to.Seen
		m.m.hosts[n] = h
	}
}

func (m *machine) refused(t *testing.T, rt *rapid.T) {
	n := m.name(rt)
	by := rapid.Uint64Range(1, 9).Draw(rt, "by")
	m.both(rt, "refused", m.s.Refused(t.Context(), n, ddns.Event{Time: m.now(), Outcome: "not-source", Door: "seed"}, by), nil)
	if h := m.m.hosts[n]; h != nil {
		h = h.Clone()
		h.Refusals += by
		m.m.hosts[n] = h
		m.m.refusals[n]++
	}
}

// read keeps a state to decide on later.
func (m *machine) read(t *testing.T, rt *rapid.T) {
	n := m.name(rt)
	if h, _, err := m.s.Host(t.Context(), n); err == nil {
		m.stale[n] = h
	}
}

// compare holds everything that can be asked against the model.
func (m *machine) compare(t *testing.T, rt *rapid.T) {
	ctx := t.Context()
	for _, label := range []string{"a", "b", "c", "d"} {
		n := name(label + m.stem)
		h, list, err := m.s.Host(ctx, n)
		want := m.m.hosts[n]
		if want == nil {
			m.both(rt, "host "+label, err, ddns.ErrNoHost)
		} else {
			if err != nil {
				rt.Fatalf("host %s: %v", label, err)
			}
			if diff := difference(h, want); diff != "" {
				rt.Fatalf("host %s differs (-want +got):\n%s", label, diff)
			}
			var granted []*ddns.Credential
			for _, id := range slices.Sorted(maps.Keys(m.m.credentials)) {
				if _, ok := m.m.credentials[id].Grant(n); ok {
					granted = append(granted, m.m.credentials[id])
				}
			}
			got := slices.Clone(list)
			slices.SortFunc(got, func(a, b *ddns.Credential) int { return compareText(a.ID, b.ID) })
			if diff := difference(got, granted); diff != "" {
				rt.Fatalf("credentials of %s differ (-want +got):\n%s", label, diff)
			}
			m.compareEvents(t, rt, n)
		}
		by, err := m.s.Owner(ctx, n)
		if owner, ok := m.m.owner(n); !ok {
			m.both(rt, "owner of "+label, err, ddns.ErrNoHost)
		} else if err != nil || by != owner {
			rt.Fatalf("owner of %s: %s, %v; want %s", label, by, err, owner)
		}
	}
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (m *machine) compareEvents(t *testing.T, rt *rapid.T, n dnsname.Name) {
	list, err := m.s.Events(t.Context(), n)
	if err != nil {
		rt.Fatal(err)
	}
	changes := slices.DeleteFunc(slices.Clone(list), func(e ddns.Event) bool { return e.Outcome != "changed" })
	want := slices.Clone(m.m.changes[n])
	slices.Reverse(want)
	if len(changes) < min(len(want), ddns.MaxEvents) || len(list)-len(changes) < min(m.m.refusals[n], ddns.MaxRefusals) {
		rt.Fatalf("%d changes and %d refusals are kept, of %d and %d", len(changes), len(list)-len(changes), len(want), m.m.refusals[n])
	}
	if diff := difference(changes, want[:min(len(changes), len(want))]); diff != "" {
		rt.Fatalf("changes of %s differ (-want +got):\n%s", n, diff)
	}
}
