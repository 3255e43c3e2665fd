package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

func compareAndSet(t *testing.T, s ddns.Store) {
	n := name("nas")
	save(t, s, creation(newHost(n)))
	before := host(t, s, n)
	save(t, s, next(before, func(h *ddns.Host) { h.A = []netip.Addr{addr("192.0.2.1")} }))
	err := s.Save(t.Context(), next(before, func(h *ddns.Host) { h.A = []netip.Addr{addr("192.0.2.2")} }))
	wantError(t, "Save on an old state", err, ddns.ErrConflict)
	if h := host(t, s, n); h.Generation != 2 || h.A[0] != addr("192.0.2.1") {
		t.Errorf("after a conflict: generation %d, %v", h.Generation, h.A)
	}
	wantError(t, "Save of a new host that is there", s.Save(t.Context(), creation(newHost(n))), ddns.ErrNameTaken)
	gone := newHost(name("gone"))
	wantError(t, "Save of a host that is not there", s.Save(t.Context(), next(gone, func(*ddns.Host) {})), ddns.ErrConflict)
	if list, err := s.Events(t.Context(), n); err != nil || len(list) != 2 {
		t.Errorf("%d events, %v; want those of the two writes that were made", len(list), err)
	}
}

func allOrNone(t *testing.T, s ddns.Store) {
	a, b, c := name("a"), name("b"), name("c")
	save(t, s, creation(newHost(a)), creation(newHost(b)))
	oldA, oldB := host(t, s, a), host(t, s, b)
	save(t, s, next(oldB, func(h *ddns.Host) { h.TTL = 61 }))
	key := token(a)
	w := next(oldA, func(h *ddns.Host) { h.TTL = 62; h.Credentials = []string{key.ID} })
	w.Credentials = []*ddns.Credential{key}
	err := s.Save(t.Context(), w, creation(newHost(c)), next(oldB, func(h *ddns.Host) { h.TTL = 62 }))
	wantError(t, "Save of three, the last in conflict", err, ddns.ErrConflict)
	if h := host(t, s, a); h.TTL != 60 || h.Generation != 1 {
		t.Errorf("the first of the writes was made: %+v", h)
	}
	_, _, err = s.Host(t.Context(), c)
	wantError(t, "the second of the writes", err, ddns.ErrNoHost)
	_, err = s.Credential(t.Context(), key.ID)
	wantError(t, "the credential", err, ddns.ErrNoCredential)

	err = s.Save(t.Context(), next(host(t, s, a), func(h *ddns.Host) { h.TTL = 63 }), creation(newHost(b)))
	wantError(t, "Save of two, the last's name taken", err, ddns.ErrNameTaken)
	if h := host(t, s, a); h.TTL != 60 {
		t.Error("the first of the writes was made")
	}
	save(t, s, next(host(t, s, a), func(h *ddns.Host) { h.TTL = 64 }), next(host(t, s, b), func(h *ddns.Host) { h.TTL = 64 }), creation(newHost(c)))
	for _, n := range []dnsname.Name{a, b, c} {
		if h := host(t, s, n); n != c && h.TTL != 64 {
			t.Errorf("%s was not written", n)
		}
	}
}

func follower(label string) ddns.Follower {
	return ddns.Follower{Name: name(label), Low: addr("::1"), AAAA: true}
}

func owner(t *testing.T, s ddns.Store, n, want dnsname.Name) {
	t.Helper()
	got, err := s.Owner(t.Context(), n)
	if want.IsZero() {
		wantError(t, fmt.Sprintf("Owner(%s)", n), err, ddns.ErrNoHost)
		return
	}
	if err != nil || got != want {
		t.Fatalf("Owner(%s) = %s, %v; want %s", n, got, err, want)
	}
}

func uniqueNames(t *testing.T, s ddns.Store) {
	router, other := name("router"), name("other")
	h := newHost(router)
	h.Wildcard = true
	h.Followers = []ddns.Follower{follower("tv"), follower("nas")}
	save(t, s, creation(h), creation(newHost(other)))
	for _, label := range []string{"router", "*.router", "tv", "nas"} {
		owner(t, s, name(label), router)
		wantError(t, "a host named "+label, s.Save(t.Context(), creation(newHost(name(label)))), ddns.ErrNameTaken)
		err := s.Save(t.Context(), next(host(t, s, other), func(h *ddns.Host) { h.Followers = []ddns.Follower{follower(label)} }))
		wantError(t, "a follower named "+label, err, ddns.ErrNameTaken)
	}
	star, err := dnsname.Parse("*.other.dyn.example.org")
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, creation(newHost(star)))
	err = s.Save(t.Context(), next(host(t, s, other), func(h *ddns.Host) { h.Wildcard = true }))
	wantError(t, "a wildcard that is a host", err, ddns.ErrNameTaken)
	err = s.Save(t.Context(), next(host(t, s, other), func(h *ddns.Host) { h.Followers = []ddns.Follower{follower("x"), follower("x")} }))
	wantError(t, "two followers of one name", err, ddns.ErrNameTaken)
	err = s.Save(t.Context(), next(host(t, s, other), func(h *ddns.Host) { h.Followers = []ddns.Follower{follower("other")} }))
	wantError(t, "a follower named as its host", err, ddns.ErrNameTaken)
	err = s.Save(t.Context(), creation(newHost(name("y"))), next(host(t, s, other), func(h *ddns.Host) { h.Followers = []ddns.Follower{follower("y")} }))
	wantError(t, "one name twice in one save", err, ddns.ErrNameTaken)
	_, _, err = s.Host(t.Context(), name("tv"))
	wantError(t, "Host of a follower", err, ddns.ErrNoHost)

	// A follower or wildcard that goes frees its name.
	save(t, s, next(host(t, s, router), func(h *ddns.Host) {
		h.Wildcard = false
		h.Followers = []ddns.Follower{follower("nas"), follower("printer")}
	}))
	owner(t, s, name("tv"), dnsname.Name{})
	owner(t, s, name("*.router"), dnsname.Name{})
	owner(t, s, name("nas"), router)
	owner(t, s, name("printer"), router)
	save(t, s, creation(newHost(name("tv"))))
	owner(t, s, name("tv"), name("tv"))
	// A removed host frees all.
	save(t, s, next(host(t, s, router), func(h *ddns.Host) { h.Followers = nil; h.Removed = true }))
	for _, label := range []string{"router", "nas", "printer"} {
		owner(t, s, name(label), dnsname.Name{})
	}
	save(t, s, next(host(t, s, other), func(h *ddns.Host) { h.Followers = []ddns.Follower{follower("router")} }))
	owner(t, s, router, other)
}

// allFollowers: a host may come with as many followers as there can be, and get
// as many others.
func allFollowers(t *testing.T, s ddns.Store) {
	all := func(label string) (list []ddns.Follower) {
		for i := range ddns.MaxFollowers {
			list = append(list, follower(fmt.Sprintf("%s%d", label, i)))
		}
		return list
	}
	router := name("router")
	h := newHost(router)
	h.Wildcard, h.Followers = true, all("a")
	save(t, s, creation(h))
	if got := host(t, s, router).Followers; !slices.Equal(got, all("a")) {
		t.Errorf("%d followers, in another order or with other settings: %v", len(got), got)
	}
	owner(t, s, name("a63"), router)
	save(t, s, next(host(t, s, router), func(h *ddns.Host) { h.Followers = all("b") }))
	owner(t, s, name("a63"), dnsname.Name{})
	owner(t, s, name("b63"), router)
	save(t, s, creation(newHost(name("a0"))))
}

func movedNames(t *testing.T, s ddns.Store) {
	a, b := name("a"), name("b")
	ha := newHost(a)
	ha.Followers = []ddns.Follower{follower("tv")}
	save(t, s, creation(ha), creation(newHost(b)))
	move := func(from, to dnsname.Name, fromFirst bool) {
		drop := next(host(t, s, from), func(h *ddns.Host) { h.Followers = nil })
		take := next(host(t, s, to), func(h *ddns.Host) { h.Followers = []ddns.Follower{follower("tv")} })
		if fromFirst {
			save(t, s, drop, take)
		} else {
			save(t, s, take, drop)
		}
		owner(t, s, name("tv"), to)
	}
	move(a, b, true)
	move(b, a, false)
	// A follower becomes a host of its own, in the save that lets it go.
	save(t, s, creation(newHost(name("tv"))), next(host(t, s, a), func(h *ddns.Host) { h.Followers = nil }))
	owner(t, s, name("tv"), name("tv"))
}

func generations(t *testing.T, s ddns.Store) {
	n := name("nas")
	for round := range uint64(3) {
		h := newHost(n)
		save(t, s, creation(h))
		got := host(t, s, n)
		if want := round*3 + 1; got.Generation != want || got.Published != want {
			t.Fatalf("round %d: created at generation %d, published %d; want %d", round, got.Generation, got.Published, want)
		}
		if list, err := s.Events(t.Context(), n); err != nil || len(list) != 1 || list[0].Generation != got.Generation {
			t.Fatalf("round %d: events %v, %v; want that of the creation, at its generation", round, list, err)
		}
		save(t, s, next(got, func(h *ddns.Host) { h.TTL = 61 }))
		save(t, s, next(host(t, s, n), func(h *ddns.Host) { h.Removed = true }))
		_, _, err := s.Host(t.Context(), n)
		wantError(t, "Host, removed and published by construction", err, ddns.ErrNoHost)
		noEvents(t, s, n)
	}
}

func removal(t *testing.T, s ddns.Store) {
	n := name("nas")
	h := newHost(n)
	h.Wildcard = true
	save(t, s, creation(h))
	save(t, s, unpublished(host(t, s, n), func(h *ddns.Host) { h.Removed = true }))
	got := host(t, s, n)
	if !got.Removed || got.Published != 1 || got.Generation != 2 {
		t.Fatalf("removed, not yet published: %+v", got)
	}
	owner(t, s, n, n) // taken until DNS is empty
	if page := all(t, s.Unpublished, 10, nil); len(page) != 1 {
		t.Errorf("%d unpublished hosts, want the removed one", len(page))
	}
	if err := noted(t.Context(), s, n, 1, nil); err != nil {
		t.Fatal(err)
	}
	if host(t, s, n).Generation != 2 {
		t.Fatal("an older note removed the host")
	}
	if err := noted(t.Context(), s, n, 2, nil); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Host(t.Context(), n)
	wantError(t, "Host after its removal was noted", err, ddns.ErrNoHost)
	wantError(t, "Note again", noted(t.Context(), s, n, 2, nil), ddns.ErrNoHost)
	owner(t, s, n, dnsname.Name{})
	owner(t, s, name("*.nas"), dnsname.Name{})
	noEvents(t, s, n)
	for what, list := range lists(s) {
		if page := all(t, list, 10, nil); len(page) != 0 {
			t.Errorf("%s lists %d hosts after the removal", what, len(page))
		}
	}
	h = newHost(n)
	h.Published = 0
	save(t, s, creation(h))
	if got := host(t, s, n); got.Generation != 3 || got.Published != 2 {
		t.Errorf("created again at generation %d, published %d; want 3, 2", got.Generation, got.Published)
	}
}

func recreation(t *testing.T, s ddns.Store) {
	n := name("nas")
	save(t, s, creation(newHost(n)))
	save(t, s, unpublished(host(t, s, n), func(h *ddns.Host) { h.Removed = true }))
	old := host(t, s, n)
	h := newHost(n)
	h.Generation, h.Published = old.Generation+1, old.Published
	w := creation(h)
	w.Before = old
	save(t, s, w)
	if err := noted(t.Context(), s, n, 2, nil); err != nil {
		t.Fatal(err)
	}
	got := host(t, s, n)
	if got.Removed || got.Generation != 3 || got.Published != 2 {
		t.Errorf("created again before its removal was noted: %+v", got)
	}
}

func note(t *testing.T, s ddns.Store) {
	n := name("nas")
	h := newHost(n)
	h.Published = 0
	save(t, s, creation(h))
	shown := func(text string) []ddns.RRset {
		return []ddns.RRset{{Owner: n, Type: ddns.TypeA, TTL: 60, Addrs: []netip.Addr{addr(text)}}}
	}
	for i := range 3 {
		save(t, s, unpublished(host(t, s, n), func(h *ddns.Host) { h.TTL = uint32(100 + i) }))
	}
	for _, step := range []struct{ note, want uint64 }{{2, 2}, {1, 2}, {3, 3}, {2, 3}, {4, 4}, {4, 4}, {1, 4}} {
		if latest, err := s.Note(t.Context(), n, step.note, shown(fmt.Sprintf("192.0.2.%d", step.note))); err != nil || latest != 4 {
			t.Fatalf("Note(%d) = %d, %v; want 4, the host's generation", step.note, latest, err)
		}
		got := host(t, s, n)
		if got.Published != step.want || got.Generation != 4 {
			t.Fatalf("after Note(%d): published %d, generation %d; want %d, 4", step.note, got.Published, got.Generation, step.want)
		}
		same(t, "shown", got.Shown, shown(fmt.Sprintf("192.0.2.%d", step.want)))
	}
}

func notedMeanwhile(t *testing.T, s ddns.Store) {
	n := name("nas")
	key := token(n)
	h := newHost(n)
	h.Published = 0
	save(t, s, creation(h, key))
	before := host(t, s, n)
	shown := []ddns.RRset{{Owner: n, Type: ddns.TypeA, TTL: 60, Addrs: []netip.Addr{addr("192.0.2.1")}}}
	ctx := t.Context()
	if err := errors.Join(
		noted(ctx, s, n, 1, shown),
		s.Touch(ctx, n, 1, ddns.Touch{Seen: start.Add(time.Hour), Credential: key.ID, Mark: 100}),
		s.Refused(ctx, n, ddns.Event{Time: start, Outcome: "not-source"}, 5),
	); err != nil {
		t.Fatal(err)
	}
	w := unpublished(before, func(h *ddns.Host) { h.TTL = 61 })
	older := *key
	older.Mark, older.Label = 50, "renamed"
	w.Credentials = []*ddns.Credential{&older}
	save(t, s, w)
	got, list, err := s.Host(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	if got.Published != 1 || got.Refusals != 5 || !got.Seen.Equal(start.Add(time.Hour)) || got.TTL != 61 {
		t.Errorf("a save took back what was noted: published %d, refusals %d, seen %s", got.Published, got.Refusals, got.Seen)
	}
	same(t, "shown", got.Shown, shown)
	if list[0].Mark != 100 || list[0].Label != "renamed" {
		t.Errorf("a save took a replay mark back to %d", list[0].Mark)
	}
}

func hostPages(t *testing.T, s ddns.Store) {
	const hosts = 25
	want := []string{}
	for i := range hosts {
		save(t, s, creation(newHost(numbered(i))))
		if i%5 != 0 {
			want = append(want, numbered(i).String())
		}
	}
	slices.Sort(want)
	for _, limit := range []int{1, 7, 25, 1000} {
		if got := all(t, s.Hosts, limit, nil); len(got) != hosts {
			t.Fatalf("limit %d: %d hosts", limit, len(got))
		}
	}
	// Every fifth goes, new ones come, and the others change while they are listed.
	removed := 0
	got := all(t, s.Hosts, 3, func(page int) {
		if removed < hosts {
			save(t, s, next(host(t, s, numbered(removed)), func(h *ddns.Host) { h.Removed = true }))
			removed += 5
		}
		save(t, s, creation(newHost(name(fmt.Sprintf("new-%03d", page)))))
		save(t, s, next(host(t, s, numbered(21)), func(h *ddns.Host) { h.TTL++ }))
	})
	stayed := slices.DeleteFunc(namesOf(got), func(n string) bool { return !slices.Contains(want, n) })
	same(t, "hosts that stayed", stayed, want)
	if _, _, err := s.Hosts(t.Context(), "", 0); err == nil {
		t.Error("a page of 0 hosts was given")
	}
}

func unpublishedPages(t *testing.T, s ddns.Store) {
	const hosts = 20
	want := []string{}
	for i := range hosts {
		h := newHost(numbered(i))
		if i%2 == 0 {
			h.Published = 0
			want = append(want, h.Name.String())
		}
		save(t, s, creation(h))
	}
	same(t, "unpublished", namesOf(all(t, s.Unpublished, 3, nil)), want)
	// Each is published as it is listed: the repair loop.
	var seen []*ddns.Host
	got := all(t, func(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
		page, next, err := s.Unpublished(ctx, cursor, limit)
		for _, h := range page {
			if err := noted(ctx, s, h.Name, h.Generation, h.RRsets()); err != nil {
				t.Fatal(err)
			}
		}
		seen = append(seen, page...)
		return page, next, err
	}, 3, nil)
	same(t, "unpublished, noted meanwhile", namesOf(got), want)
	if left := all(t, s.Unpublished, 3, nil); len(left) != 0 {
		t.Errorf("%d hosts are unpublished after all were noted", len(left))
	}
	save(t, s, unpublished(host(t, s, numbered(3)), func(h *ddns.Host) { h.TTL = 61 }))
	same(t, "unpublished after a change", namesOf(all(t, s.Unpublished, 3, nil)), []string{numbered(3).String()})
}

func duePages(t *testing.T, s ddns.Store) {
	const hosts = 20
	want := []string{}
	for i := range hosts {
		h := newHost(numbered(i))
		switch i % 4 {
		case 0: // due a day after its time
			h.TXT = []ddns.TXT{{Value: "x", Time: start.Add(time.Duration(i) * time.Minute)}}
		case 1: // a lease from the last sign of life
			h.A, h.Lease = []netip.Addr{addr("192.0.2.1")}, 12*time.Hour
			h.Seen = start.Add(12 * time.Hour)
		case 3: // a join code's end
			if i < 8 {
				h.Ends = start.Add(24*time.Hour + time.Duration(i)*time.Minute)
			}
		case 2: // later
			h.TXT = []ddns.TXT{{Value: "x", Time: start.Add(time.Hour)}}
		}
		if i%4 < 2 || !h.Ends.IsZero() {
			want = append(want, h.Name.String())
		}
		save(t, s, creation(h))
	}
	now := start.Add(24*time.Hour + 20*time.Minute)
	due := func(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
		return s.Due(ctx, now, cursor, limit)
	}
	same(t, "due", namesOf(all(t, due, 3, nil)), want)
	if got, _, err := s.Due(t.Context(), start.Add(24*time.Hour-time.Microsecond), "", 10); err != nil || len(got) != 0 {
		t.Errorf("%d hosts are due before their time, %v", len(got), err)
	}
	if got, _, err := s.Due(t.Context(), start.Add(24*time.Hour), "", 10); err != nil || len(got) != 6 {
		t.Errorf("%d hosts are due at their time, %v; want 6: not after now", len(got), err)
	}
	// A sign of life moves a lease on.
	if err := s.Touch(t.Context(), numbered(1), 1, ddns.Touch{Seen: now}); err != nil {
		t.Fatal(err)
	}
	want = slices.DeleteFunc(want, func(n string) bool { return n == numbered(1).String() })
	same(t, "due after a touch", namesOf(all(t, due, 3, nil)), want)
	// Each is swept as it is listed.
	got := all(t, func(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
		page, cur, err := due(ctx, cursor, limit)
		for _, h := range page {
			save(t, s, next(h, func(h *ddns.Host) { h.TXT, h.A, h.Ends = nil, nil, time.Time{} }))
		}
		return page, cur, err
	}, 3, nil)
	same(t, "due, swept meanwhile", namesOf(got), want)
	if left := all(t, due, 3, nil); len(left) != 0 {
		t.Errorf("%d hosts are due after all were swept", len(left))
	}
}

func immutable(t *testing.T, s ddns.Store) {
	n := name("nas")
	h := full(n)
	h.Suspended = false
	c := fullCredential(n)
	save(t, s, creation(h, c))
	got, list, err := s.Host(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	want := got.Clone()
	wantCredential := *list[0]
	edit := got.Clone()
	edit.A[0], edit.AAAA[0], edit.Followers[0].A, edit.TXT[0].Value, edit.Credentials[0] = addr("192.0.2.99"), addr("2001:db8::99"), false, "other", "other"
	edit.TTL, edit.Generation = 1, 99
	// What was read stays as it was while the host changes.
	save(t, s, next(got, func(h *ddns.Host) { h.A, h.Followers, h.TXT = nil, nil, nil }))
	if err := s.Touch(t.Context(), n, 2, ddns.Touch{Seen: start.Add(time.Hour), Credential: c.ID, Mark: c.Mark + 1}); err != nil {
		t.Fatal(err)
	}
	same(t, "a host read before", got, want)
	same(t, "a credential read before", list[0], &wantCredential)
}

func cancelled(t *testing.T, s ddns.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := name("nas")
	if err := s.Save(ctx, creation(newHost(n))); err == nil {
		host(t, s, n) // then it must be there
		return
	}
	// An error means that the outcome is unknown; the store is in order either way.
	if _, _, err := s.Host(t.Context(), n); err != nil && !errors.Is(err, ddns.ErrNoHost) {
		t.Fatal(err)
	}
}

func manyWriters(t *testing.T, s ddns.Store) {
	const writers, each = 8, 8
	n := name("nas")
	save(t, s, creation(newHost(n)))
	var won atomic.Uint64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				before, _, err := s.Host(t.Context(), n)
				if err != nil {
					t.Error(err)
					return
				}
				switch err := s.Save(t.Context(), next(before, func(h *ddns.Host) { h.TTL++ })); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ddns.ErrConflict):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	h := host(t, s, n)
	if h.Generation != won.Load()+1 || uint64(h.TTL) != won.Load()+60 {
		t.Errorf("%d writes succeeded; generation %d, TTL %d", won.Load(), h.Generation, h.TTL)
	}
	if won.Load() == 0 {
		t.Error("no write succeeded")
	}
}

func manyCreators(t *testing.T, s ddns.Store) {
	const writers = 8
	n := name("nas")
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			h := newHost(n)
			if i%2 == 1 { // half of them want the name for a follower
				h = newHost(numbered(i))
				h.Followers = []ddns.Follower{follower("nas")}
			}
			switch err := s.Save(t.Context(), creation(h)); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ddns.ErrNameTaken):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d writers took one name", won.Load())
	}
}

// noHalves reads two hosts that are always saved together.
func noHalves(t *testing.T, s ddns.Store) {
	n := name("nas")
	key := token(n)
	save(t, s, creation(newHost(n), key))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			last := uint64(0)
			for {
				select {
				case <-done:
					return
				default:
				}
				h, list, err := s.Host(t.Context(), n)
				switch {
				case err != nil:
					t.Error(err)
					return
				case h.Generation < last:
					t.Errorf("read generation %d after %d", h.Generation, last)
					return
				case uint64(h.TTL) != h.Generation+59 || len(h.Credentials) != 1 || len(list) != 1 || list[0].ID != h.Credentials[0]:
					t.Errorf("half a change: generation %d, TTL %d, credentials %v of %v", h.Generation, h.TTL, len(list), h.Credentials)
					return
				}
				last = h.Generation
			}
		})
	}
	for range 25 {
		fresh := token(n)
		w := next(host(t, s, n), func(h *ddns.Host) { h.TTL++; h.Credentials = []string{fresh.ID} })
		w.Credentials, w.Revoked = []*ddns.Credential{fresh}, []string{key.ID}
		save(t, s, w)
		key = fresh
	}
	close(done)
	wg.Wait()
}
