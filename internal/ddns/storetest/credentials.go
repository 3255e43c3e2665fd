package storetest

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

func sharedCredentials(t *testing.T, s ddns.Store) {
	a, b := name("a"), name("b")
	key := token(a, b)
	own := token(b)
	save(t, s, creation(newHost(a), key), creation(newHost(b), own))
	// b's list of IDs catches up in a save of its own.
	save(t, s, next(host(t, s, b), func(h *ddns.Host) { h.Credentials = append(h.Credentials, key.ID) }))
	same(t, "credentials of a", credentials(t, s, a), sorted(key.ID))
	same(t, "credentials of b", credentials(t, s, b), sorted(key.ID, own.ID))
	if h := host(t, s, b); len(h.Credentials) != 2 {
		t.Errorf("b lists %v", h.Credentials)
	}
	// What one host does to it, the other sees, and who asks for it, even where it
	// has been asked for before.
	for range 2 {
		if c, err := s.Credential(t.Context(), key.ID); err != nil || c.Label == "shared" || len(c.Grants) != 2 {
			t.Errorf("credential %+v, %v", c, err)
		}
	}
	changed := *key
	changed.Label = "shared"
	w := next(host(t, s, a), func(*ddns.Host) {})
	w.Credentials = []*ddns.Credential{&changed}
	save(t, s, w)
	_, list, err := s.Host(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range list {
		found = found || c.ID == key.ID && c.Label == "shared"
	}
	if !found {
		t.Error("a change of a shared credential is not seen by the other host")
	}
	if err := s.Touch(t.Context(), a, 2, ddns.Touch{Credential: key.ID, Mark: 7}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Credential(t.Context(), key.ID); err != nil || c.Mark != 7 || c.Label != "shared" {
		t.Errorf("credential %+v, %v", c, err)
	}
	// One host lets go of it; it goes on serving the other.
	less := changed
	less.Mark = 7
	less.Grants = []ddns.Grant{{Host: b}}
	w = next(host(t, s, a), func(h *ddns.Host) { h.Credentials = nil })
	w.Credentials = []*ddns.Credential{&less}
	save(t, s, w)
	same(t, "credentials of a", credentials(t, s, a), sorted())
	same(t, "credentials of b", credentials(t, s, b), sorted(key.ID, own.ID))
	if c, err := s.Credential(t.Context(), key.ID); err != nil || len(c.Grants) != 1 || c.Grants[0].Host != b {
		t.Errorf("credential %+v, %v", c, err)
	}
}

func sorted(ids ...string) []string {
	out := []string{}
	for _, id := range ids {
		at := 0
		for at < len(out) && out[at] < id {
			at++
		}
		out = append(out[:at], append([]string{id}, out[at:]...)...)
	}
	return out
}

func replacedCredentials(t *testing.T, s ddns.Store) {
	n := name("nas")
	first, second := token(n), token(n)
	save(t, s, creation(newHost(n), first, second))
	replaced := *first
	replaced.Verifier, replaced.State, replaced.Networks = []byte("other"), ddns.CredentialStop, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	w := next(host(t, s, n), func(h *ddns.Host) { h.Credentials = []string{first.ID} })
	w.Credentials, w.Revoked = []*ddns.Credential{&replaced}, []string{second.ID, "aaaaaaaa"} // one that is not there is no matter
	want := replaced
	save(t, s, w)
	same(t, "credentials", credentials(t, s, n), sorted(first.ID))
	c, err := s.Credential(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "replaced credential", c, &want)
	_, err = s.Credential(t.Context(), second.ID)
	wantError(t, "a revoked credential", err, ddns.ErrNoCredential)
	// The last goes with the host.
	w = next(host(t, s, n), func(h *ddns.Host) { h.Removed, h.Credentials = true, nil })
	w.Revoked = []string{first.ID}
	save(t, s, w)
	_, err = s.Credential(t.Context(), first.ID)
	wantError(t, "a credential of a removed host", err, ddns.ErrNoCredential)
	// A host that comes again has none of them.
	save(t, s, creation(newHost(n)))
	same(t, "credentials", credentials(t, s, n), sorted())
}

func uniqueSecrets(t *testing.T, s ddns.Store) {
	a, b, c := name("a"), name("b"), name("c")
	with := func(cred *ddns.Credential, fingerprint string) *ddns.Credential {
		cred.Kind, cred.Fingerprint = ddns.KindSeed, []byte(fingerprint)
		return cred
	}
	ca, cb := with(token(a), "one"), with(token(b), "two")
	save(t, s, creation(newHost(a), ca), creation(newHost(b), cb))
	err := s.Save(t.Context(), creation(newHost(c), with(token(c), "one")))
	wantError(t, "a secret that another host has", err, ddns.ErrSecretTaken)
	_, _, err = s.Host(t.Context(), c)
	wantError(t, "the host with that secret", err, ddns.ErrNoHost)
	err = s.Save(t.Context(), creation(newHost(c), with(token(c), "three")), creation(newHost(name("d")), with(token(name("d")), "three")))
	wantError(t, "one secret twice in one save", err, ddns.ErrSecretTaken)
	// The same credential keeps its secret when it is replaced.
	same1 := *ca
	same1.Label = "again"
	w := next(host(t, s, a), func(*ddns.Host) {})
	w.Credentials = []*ddns.Credential{&same1}
	save(t, s, w)
	// A secret that is revoked is free in the same save.
	fresh := with(token(a), "one")
	w = next(host(t, s, a), func(h *ddns.Host) { h.Credentials = []string{fresh.ID} })
	w.Credentials, w.Revoked = []*ddns.Credential{fresh}, []string{ca.ID}
	save(t, s, w)
	// Two hosts may exchange theirs.
	ea, eb := *fresh, *cb
	ea.Fingerprint, eb.Fingerprint = []byte("two"), []byte("one")
	wa, wb := next(host(t, s, a), func(*ddns.Host) {}), next(host(t, s, b), func(*ddns.Host) {})
	wa.Credentials, wb.Credentials = []*ddns.Credential{&ea}, []*ddns.Credential{&eb}
	save(t, s, wa, wb)
	err = s.Save(t.Context(), creation(newHost(c), with(token(c), "two")))
	wantError(t, "a secret that was exchanged", err, ddns.ErrSecretTaken)
}

func uniqueIDs(t *testing.T, s ddns.Store) {
	a, b := name("a"), name("b")
	ca := token(a)
	save(t, s, creation(newHost(a), ca))
	cb := token(b)
	cb.ID = ca.ID
	if err := s.Save(t.Context(), creation(newHost(b), cb)); err == nil {
		t.Fatal("a credential took the place of another host's")
	}
	if c, err := s.Credential(t.Context(), ca.ID); err != nil || c.Grants[0].Host != a {
		t.Errorf("credential %+v, %v", c, err)
	}
}

func touch(t *testing.T, s ddns.Store) {
	ctx := t.Context()
	n, other := name("nas"), name("other")
	key, foreign := token(n), token(other)
	save(t, s, creation(newHost(n), key), creation(newHost(other), foreign))
	at := func(d time.Duration) time.Time { return start.Add(d) }
	seen := func(want time.Time) {
		t.Helper()
		if h := host(t, s, n); !h.Seen.Equal(want) || h.Generation != 1 || h.Published != 1 {
			t.Fatalf("seen %s, generation %d, want %s, 1", h.Seen, h.Generation, want)
		}
	}
	mark := func(want int64) {
		t.Helper()
		_, list, err := s.Host(ctx, n)
		if err != nil || len(list) != 1 || list[0].Mark != want {
			t.Fatalf("credentials %v, %v; want mark %d", list, err, want)
		}
		if c, err := s.Credential(ctx, key.ID); err != nil || c.Mark != want {
			t.Fatalf("credential %v, %v; want mark %d", c, err, want)
		}
	}
	do := func(generation uint64, to ddns.Touch, want error) {
		t.Helper()
		wantError(t, fmt.Sprintf("Touch(%d, %+v)", generation, to), s.Touch(ctx, n, generation, to), want)
	}
	do(1, ddns.Touch{Seen: at(time.Hour)}, nil)
	seen(at(time.Hour))
	do(1, ddns.Touch{Seen: at(time.Minute)}, nil) // an older sign of life is no conflict
	seen(at(time.Hour))
	do(1, ddns.Touch{Credential: key.ID, Mark: 10}, nil)
	mark(10)
	seen(at(time.Hour)) // zero leaves it
	do(1, ddns.Touch{Credential: key.ID, Mark: 10}, ddns.ErrConflict)
	do(1, ddns.Touch{Credential: key.ID, Mark: 9, Seen: at(2 * time.Hour)}, ddns.ErrConflict)
	seen(at(time.Hour)) // all or none
	do(2, ddns.Touch{Seen: at(2 * time.Hour)}, ddns.ErrConflict)
	do(0, ddns.Touch{Credential: key.ID, Mark: 11}, ddns.ErrConflict)
	mark(10)
	if err := s.Touch(ctx, n, 1, ddns.Touch{Credential: foreign.ID, Mark: 11}); err == nil {
		t.Error("a touch moved the mark of another host's credential")
	}
	do(1, ddns.Touch{Credential: key.ID, Mark: 11, Seen: at(2 * time.Hour)}, nil)
	mark(11)
	seen(at(2 * time.Hour))
}

// markedChange has a change move a replay mark, or do nothing at all.
func markedChange(t *testing.T, s ddns.Store) {
	n, other := name("nas"), name("other")
	key, foreign := token(n), token(other)
	save(t, s, creation(newHost(n), key), creation(newHost(other), foreign))
	change := func(id string, mark int64) ddns.Write {
		w := next(host(t, s, n), func(h *ddns.Host) { h.TTL++ })
		w.Touch = ddns.Touch{Credential: id, Mark: mark}
		return w
	}
	want := func(generation uint64, mark int64) {
		t.Helper()
		h, list, err := s.Host(t.Context(), n)
		if err != nil || h.Generation != generation || h.TTL != 59+uint32(generation) || len(list) != 1 || list[0].Mark != mark {
			t.Fatalf("host %+v, credentials %+v, %v; want generation %d, mark %d", h, list, err, generation, mark)
		}
		if c, err := s.Credential(t.Context(), key.ID); err != nil || c.Mark != mark {
			t.Fatalf("credential %+v, %v; want mark %d", c, err, mark)
		}
	}
	save(t, s, change(key.ID, 10))
	want(2, 10)
	wantError(t, "a mark that stays", s.Save(t.Context(), change(key.ID, 10)), ddns.ErrConflict)
	wantError(t, "a mark that goes back", s.Save(t.Context(), change(key.ID, 9)), ddns.ErrConflict)
	wantError(t, "another host's credential", s.Save(t.Context(), change(foreign.ID, 11)), ddns.ErrConflict)
	wantError(t, "no credential", s.Save(t.Context(), change("aaaaaaaa", 11)), ddns.ErrConflict)
	want(2, 10)
	// What a touch did since the state was read counts.
	late := change(key.ID, 12)
	if err := s.Touch(t.Context(), n, 2, ddns.Touch{Credential: key.ID, Mark: 12}); err != nil {
		t.Fatal(err)
	}
	wantError(t, "a mark that was moved meanwhile", s.Save(t.Context(), late), ddns.ErrConflict)
	want(2, 12)
	// With names and other credentials in the same write.
	w := change(key.ID, 13)
	fresh := token(n)
	w.Host.Wildcard, w.Credentials = true, []*ddns.Credential{fresh}
	save(t, s, w)
	w = next(host(t, s, n), func(h *ddns.Host) { h.TTL++ })
	w.Revoked = []string{fresh.ID}
	save(t, s, w)
	want(4, 13)
}

func refusedCounts(t *testing.T, s ddns.Store) {
	n := name("nas")
	save(t, s, creation(newHost(n)))
	var total uint64
	for i := range 5 {
		by := uint64(i * i)
		if by == 0 {
			by = 8
		}
		total += by
		if err := s.Refused(t.Context(), n, ddns.Event{Time: start, Outcome: "not-source", Door: "seed", Generation: 1}, by); err != nil {
			t.Fatal(err)
		}
		if h := host(t, s, n); h.Refusals != total || h.Generation != 1 {
			t.Fatalf("%d refusals, want %d", h.Refusals, total)
		}
	}
}

// events fills a host's history beyond what is kept.
func events(t *testing.T, s ddns.Store) {
	n := name("nas")
	save(t, s, creation(newHost(n)))
	now, refusals := host(t, s, n), 0
	refuse := func() {
		t.Helper()
		refusals++
		e := ddns.Event{Time: now.ChangedAt, Generation: now.Generation, Outcome: "not-source", Door: "seed",
			What: fmt.Sprintf("refusal %d", refusals), Source: addr("192.0.2.7"), Proven: true}
		if err := s.Refused(t.Context(), n, e, 8); err != nil { // by eight, so that a ring by the counter would show
			t.Fatal(err)
		}
	}
	check := func(changes int) {
		t.Helper()
		list, err := s.Events(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		wantChange, wantRefusal := uint64(changes), refusals
		gotChanges, gotRefusals := 0, 0
		last := ^uint64(0)
		for _, e := range list {
			if e.Generation > last {
				t.Fatalf("events are not the newest first: generation %d after %d", e.Generation, last)
			}
			last = e.Generation
			if e.Outcome == "changed" {
				gotChanges++
				if e.Generation != wantChange {
					t.Fatalf("change of generation %d, want %d", e.Generation, wantChange)
				}
				wantChange--
				continue
			}
			gotRefusals++
			if want := fmt.Sprintf("refusal %d", wantRefusal); e.What != want {
				t.Fatalf("%s, want %s", e.What, want)
			}
			wantRefusal--
		}
		if gotChanges < min(changes, ddns.MaxEvents) || gotRefusals < min(refusals, ddns.MaxRefusals) {
			t.Fatalf("%d changes and %d refusals are kept, of %d and %d", gotChanges, gotRefusals, changes, refusals)
		}
		if gotChanges > 4*ddns.MaxEvents || gotRefusals > 4*ddns.MaxRefusals {
			t.Fatalf("%d changes and %d refusals are kept: not bounded", gotChanges, gotRefusals)
		}
	}
	check(1)
	const changes = 4*ddns.MaxEvents + 7
	for i := 2; i <= changes; i++ {
		w := next(now, func(h *ddns.Host) { h.TTL = uint32(i) })
		save(t, s, w)
		now = w.Host
		if i%7 == 0 {
			refuse()
		}
		if i%5 == 0 || i > changes-9 {
			check(i)
		}
	}
	for range 4 * ddns.MaxRefusals {
		refuse()
	}
	refuse()
	check(changes)
}

// manyHosts gives one credential to many hosts, replaces it and ends it, each in
// one save.
func manyHosts(t *testing.T, s ddns.Store) {
	const hosts = 8
	var names []dnsname.Name
	var made []ddns.Write
	for i := range hosts {
		names = append(names, numbered(i))
		made = append(made, creation(newHost(names[i])))
	}
	save(t, s, made...)
	all := func(edit func(*ddns.Host)) (writes []ddns.Write) {
		for _, n := range names {
			writes = append(writes, next(host(t, s, n), edit))
		}
		return writes
	}
	want := func(ids ...string) {
		t.Helper()
		for _, n := range []dnsname.Name{names[0], names[4], names[hosts-1]} {
			h, list, err := s.Host(t.Context(), n)
			if err != nil || len(list) != len(ids) {
				t.Fatalf("%s has credentials %+v, %v; want %v", n, list, err, ids)
			}
			same(t, "listed", sorted(h.Credentials...), sorted(ids...))
			same(t, "held", credentials(t, s, n), sorted(ids...))
			for _, c := range list {
				same(t, "hosts of "+c.ID, len(c.Grants), len(names))
			}
		}
	}
	old := token(names...)
	old.Grants[4].URLToken, old.Grants[4].Types = true, []ddns.Type{ddns.TypeA}
	given := *old
	writes := all(func(h *ddns.Host) { h.Credentials = []string{old.ID} })
	writes[0].Credentials = []*ddns.Credential{old}
	save(t, s, writes...)
	want(old.ID)
	c, err := s.Credential(t.Context(), old.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the credential", c, &given)

	// Rotated with an overlap.
	fresh, ending := token(names...), given
	ending.Expires = start.Add(time.Hour)
	writes = all(func(h *ddns.Host) { h.Credentials = append(h.Credentials, fresh.ID) })
	writes[0].Credentials = []*ddns.Credential{&ending, fresh}
	save(t, s, writes...)
	want(given.ID, fresh.ID)

	// One host that has changed meanwhile keeps it for all.
	writes = all(func(h *ddns.Host) { h.Credentials = []string{fresh.ID} })
	writes[0].Revoked = []string{given.ID}
	save(t, s, next(host(t, s, names[4]), func(h *ddns.Host) { h.TTL++ }))
	wantError(t, "a save on an old state", s.Save(t.Context(), writes...), ddns.ErrConflict)
	want(given.ID, fresh.ID)

	writes = all(func(h *ddns.Host) { h.Credentials = nil })
	writes[0].Revoked = []string{given.ID, fresh.ID}
	save(t, s, writes...)
	want()
	for _, id := range []string{given.ID, fresh.ID} {
		_, err := s.Credential(t.Context(), id)
		wantError(t, "a revoked credential", err, ddns.ErrNoCredential)
	}
}
