package ddns_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/store/sqlite"
)

func openSQLite(t testing.TB, dir string) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(dir, sqlite.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// onSQLite makes a world over the real store.
func onSQLite(t testing.TB, store *sqlite.Store, edit ...func(*ddns.Config)) *world {
	return newWorld(t, append(edit, func(c *ddns.Config) { c.Store, c.Sealer = store, store })...)
}

// TestStoresAgree: the real store and the one in memory, under the same random
// commands, come to the same outcomes and the same states.
func TestStoresAgree(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			store := openSQLite(t, t.TempDir())
			t.Cleanup(func() { _ = store.Close() })
			limited := func(c *ddns.Config) { c.Limits.Changes = ddns.Rate{PerHour: 600, Burst: 5} }
			worlds := []*world{newWorld(t, limited), onSQLite(t, store, limited)}
			var said [2][]string
			for i, w := range worlds {
				said[i] = w.live(t, rand.New(rand.NewPCG(seed, 7)))
			}
			for n := range said[0] {
				if said[0][n] != said[1][n] {
					t.Fatalf("after\n%s\nin memory %s\nin SQLite %s", strings.Join(said[0][max(0, n-5):n], "\n"), said[0][n], said[1][n])
				}
			}
		})
	}
}

// live runs commands as random says, and tells what came of each.
func (w *world) live(t *testing.T, random *rand.Rand) (said []string) {
	names := []string{"a.dyn.example.org", "b.dyn.example.org", "c.dyn.example.org", "*.b.dyn.example.org"}
	secrets := []ddns.Secret{ddns.NewSecret("the first own secret"), ddns.NewSecret("the second own secret")}
	tokens := map[string][]ddns.Created{}
	ctx := t.Context()
	for range 70 {
		name := names[random.IntN(len(names))]
		other := names[random.IntN(len(names))]
		own, flip, some := secrets[random.IntN(2)], random.IntN(2) == 0, random.IntN(250)
		fault := publishtest.Fault(random.IntN(6))
		w.pass(time.Duration(random.IntN(60)) * time.Minute)
		if fault == publishtest.Refuse || fault == publishtest.LoseAnswer {
			w.dns.Fail(fault, named(name))
		}
		var err error
		var made ddns.Created
		what := random.IntN(16)
		switch what {
		case 0, 1:
			made, err = w.Add(ctx, named(name), open(free), ddns.Secret{})
		case 2:
			made, err = w.Add(ctx, named(name), open(free), own)
		case 3:
			err = w.Remove(ctx, named(name))
		case 4:
			made, err = w.Rotate(ctx, named(name), own, &flip)
		case 5:
			made, err = w.AddToken(ctx, named(name), ddns.TokenSpec{Rate: 2})
		case 6:
			_, err = w.Set(ctx, named(name), ddns.Settings{Suspended: &flip, TTL: new(uint32(some + 1))})
		case 7:
			_, err = w.Set(ctx, named(name), ddns.Settings{Wildcard: &flip, Lease: new(13 * time.Hour)})
		case 8:
			_, err = w.Set(ctx, named(name), ddns.Settings{Followers: &[]ddns.Follower{{Name: named(other), Low: netip.MustParseAddr("::1"), A: flip, AAAA: true}}})
		case 9:
			err = errors.Join(w.Sweep(ctx), w.Repair(ctx))
		case 10:
			if list := tokens[name]; len(list) > 0 {
				made, err = w.RotateToken(ctx, named(name), list[len(list)-1].Credential.ID, time.Hour)
			}
		default:
			if list := tokens[name]; len(list) > 0 {
				u := by(list[some%len(list)], home, set(ddns.TypeA, fmt.Sprintf("198.51.100.%d", some)))
				if u.Host = named(name); flip {
					u.Changes = append(u.Changes, prefix(fmt.Sprintf("2001:db8:%x::/56", some)))
				}
				_, err = w.Update(ctx, u)
			}
		}
		if err == nil && !made.Token.IsZero() {
			tokens[name] = append(tokens[name], made)
		}
		state := "gone"
		if h, credentials, err := w.Store.Host(ctx, named(name)); err == nil {
			events, err := w.Store.Events(ctx, h.Name)
			if err != nil {
				t.Fatal(err)
			}
			state = fmt.Sprintf("%d/%d %v seen %s busy %s refusals %d, %d credentials, shown %s, last %s %s: %s", h.Generation, h.Published, h.Removed, h.Seen.UTC(),
				h.Busy.UTC(), h.Refusals, len(credentials), show(h.Shown), events[0].Outcome, events[0].What[:min(5, len(events[0].What))], show(h.RRsets()))
		}
		said = append(said, fmt.Sprintf("%d of %s: %q, %s", what, name, code(err), state))
	}
	return said
}

// TestRestart: what was acknowledged is there after the store was closed and
// opened, the change limit too.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	store := openSQLite(t, dir)
	limited := func(c *ddns.Config) { c.Limits.Changes = ddns.DefaultLimits().Changes }
	w := onSQLite(t, store, limited)
	made := w.add(t, "nas.dyn.example.org", free)
	change := func(i int) error {
		_, err := w.Update(t.Context(), by(made, home, set(ddns.TypeA, fmt.Sprintf("198.51.100.%d", i))))
		return err
	}
	for i := range 10 {
		if err := change(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = openSQLite(t, dir)
	defer func() { _ = store.Close() }()
	now := w.clock()
	w = onSQLite(t, store, limited)
	w.now = now
	wantCode(t, change(11), ddns.RateLimited)
	h, credentials, err := w.Show(t.Context(), made.Host.Name)
	if err != nil || state(h) != "A 198.51.100.9, AAAA , prefix , TXT " || h.Generation != 11 || len(credentials) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	u := by(made, home, set(ddns.TypeA, "198.51.100.9"))
	u.Proof = seedProof(u.Source, "nas.dyn.example.org", made.Token)
	w.must(t, u)
	events, err := w.History(t.Context(), made.Host.Name)
	if err != nil || len(events) < 11 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// TestChosenID: a new credential whose ID another host's has does not take its
// place, in either store.
func TestChosenID(t *testing.T) {
	store := openSQLite(t, t.TempDir())
	defer func() { _ = store.Close() }()
	for _, w := range []*world{newWorld(t), onSQLite(t, store)} {
		victim := w.add(t, "victim.dyn.example.org")
		w.add(t, "other.dyn.example.org")
		before, _, err := w.Show(t.Context(), named("other.dyn.example.org"))
		if err != nil {
			t.Fatal(err)
		}
		h := before.Clone()
		h.Generation++
		h.Credentials = append(h.Credentials, victim.Credential.ID)
		c := &ddns.Credential{ID: victim.Credential.ID, Kind: ddns.KindToken, State: ddns.Active, Verifier: make([]byte, 32), Grants: []ddns.Grant{{Host: h.Name}}}
		if err := w.Store.Save(t.Context(), ddns.Write{Before: before, Host: h, Credentials: []*ddns.Credential{c}}); !errors.Is(err, ddns.ErrConflict) {
			t.Errorf("saved: %v", err)
		}
		w.must(t, by(victim, home))
	}
}
