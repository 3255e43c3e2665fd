package sqlite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"godwit/internal/ddns"
	"godwit/internal/ddns/storetest"
	"godwit/internal/dnsname"
	"godwit/internal/store/sqlite"
)

// restless is a store in which, before a call, now and then some of what is
// pending is brought into its rows, or the database is opened again.
type restless struct {
	*sqlite.Store
	mu     sync.Mutex // guards random
	random *rand.Rand
	t      *testing.T
}

func (r *restless) stir() {
	r.mu.Lock()
	what := r.random.IntN(20)
	r.mu.Unlock()
	var err error
	switch {
	case what < 6:
		err = r.Advance(what)
	case what == 6:
		err = r.Stumble()
	}
	if err != nil {
		r.t.Error(err)
	}
}

func (r *restless) Host(ctx context.Context, name dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	r.stir()
	return r.Store.Host(ctx, name)
}

func (r *restless) Save(ctx context.Context, writes ...ddns.Write) error {
	r.stir()
	return r.Store.Save(ctx, writes...)
}

func (r *restless) Touch(ctx context.Context, name dnsname.Name, generation uint64, t ddns.Touch) error {
	r.stir()
	return r.Store.Touch(ctx, name, generation, t)
}

func (r *restless) Note(ctx context.Context, name dnsname.Name, generation uint64, shown []ddns.RRset) (uint64, error) {
	r.stir()
	return r.Store.Note(ctx, name, generation, shown)
}

func (r *restless) Hosts(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	r.stir()
	return r.Store.Hosts(ctx, cursor, limit)
}

func (r *restless) Events(ctx context.Context, name dnsname.Name) ([]ddns.Event, error) {
	r.stir()
	return r.Store.Events(ctx, name)
}

// TestStoreWhileChangesArePending: when what is pending gets into its rows makes
// no difference that anybody can see, whether hosts are in the cache or not.
func TestStoreWhileChangesArePending(t *testing.T) {
	for _, cache := range []int{-1, 0} {
		if cache == 0 && testing.Short() {
			continue
		}
		t.Run(fmt.Sprint("cache ", cache), func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) ddns.Store {
				s, err := sqlite.Open(t.TempDir(), sqlite.Config{Cache: cache})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if found, err := s.Check(context.Background()); err != nil || len(found) > 0 {
						t.Errorf("check: %v, %v", found, err)
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
				return &restless{Store: s, random: rand.New(rand.NewPCG(1, 2)), t: t}
			})
		})
	}
}

// known is all that can be asked of a store.
type known struct {
	Hosts       map[string]*ddns.Host
	Credentials map[string][]*ddns.Credential
	Events      map[string][]ddns.Event
	Serial      ddns.Serial
}

func know(t *testing.T, s *sqlite.Store) known {
	t.Helper()
	k := known{map[string]*ddns.Host{}, map[string][]*ddns.Credential{}, map[string][]ddns.Event{}, 0}
	for cursor := ""; ; {
		page, next, err := s.Hosts(t.Context(), cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, listed := range page {
			name := listed.Name.String()
			h, credentials, err := s.Host(t.Context(), listed.Name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := difference(listed, h); diff != "" {
				t.Errorf("%s is listed otherwise than it is read:\n%s", name, diff)
			}
			k.Hosts[name], k.Credentials[name] = h, credentials
			events, err := s.Events(t.Context(), listed.Name)
			if err != nil {
				t.Fatal(err)
			}
			k.Events[name] = events[:min(len(events), ddns.MaxEvents)] // of older ones some may be kept
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	var err error
	if k.Serial, err = s.Zone(t.Context(), zone, []byte("static")); err != nil {
		t.Fatal(err)
	}
	return k
}

func difference(got, want any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b dnsname.Name) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b ddns.AddressRule) bool { return a == b }))
}

// unswept opens a store that leaves changes pending until the test goes on with
// the sweep.
func unswept(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(dir, sqlite.Config{}.Unswept())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestPowerCutAtEachStep cuts the power after each step of a life: changes that
// are logged, changes of what the log cannot say in between, hosts brought into
// their rows one by one, rows of the log deleted. What was acknowledged is there
// after each, and again after another start.
func TestPowerCutAtEachStep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := unswept(t, dir)
	fill(t, s, 12)
	if _, err := s.Zone(t.Context(), zone, []byte("static")); err != nil {
		t.Fatal(err)
	}
	cuts := 0
	cut := func() {
		t.Helper()
		want := know(t, s)
		at := snapshot(t, dir, -1)
		for start := range 2 {
			c, err := sqlite.Open(at, sqlite.Config{})
			if err != nil {
				t.Fatalf("cut %d, start %d: %v", cuts, start, err)
			}
			if hosts, _, _ := c.Pending(); hosts > 0 {
				t.Errorf("cut %d: %d hosts are pending after a start", cuts, hosts)
			}
			if diff := difference(know(t, c), want); diff != "" {
				t.Fatalf("cut %d, start %d differs (-want +got):\n%s", cuts, start, diff)
			}
			sound(t, c)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		cuts++
	}
	read := func(i int) *ddns.Host {
		t.Helper()
		h, _, err := s.Host(t.Context(), benchName(i))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	save := func(writes ...ddns.Write) {
		t.Helper()
		if err := s.Save(t.Context(), writes...); err != nil {
			t.Fatal(err)
		}
	}
	change := func(i int, edit func(*ddns.Write)) {
		t.Helper()
		w := moved(read(i), fmt.Sprintf("192.0.2.%d", 10+i))
		if edit != nil {
			edit(&w)
		}
		save(w)
	}
	marks := int64(0)
	for range 2 {
		for i := range 10 {
			change(i, nil)
		}
		save(moved(read(1), "192.0.2.99"), moved(read(2), "192.0.2.99"))
		if err := s.Refused(t.Context(), benchName(3), ddns.Event{Time: day, Outcome: "not-source", Door: "seed"}, 2); err != nil {
			t.Fatal(err)
		}
		if err := s.Touch(t.Context(), benchName(4), read(4).Generation, ddns.Touch{Seen: read(4).ChangedAt.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		cut()
		// Replay marks: alone, and with a change.
		for _, i := range []int{4, 5, 9} {
			marks++
			if err := s.Touch(t.Context(), benchName(i), read(i).Generation, ddns.Touch{Credential: read(i).Credentials[0], Mark: marks}); err != nil {
				t.Fatal(err)
			}
			marks++
			change(i, func(w *ddns.Write) { w.Touch = ddns.Touch{Credential: w.Host.Credentials[0], Mark: marks} })
			if c, err := s.Credential(t.Context(), read(i).Credentials[0]); err != nil || c.Mark != marks {
				t.Errorf("host %d: mark %d, %v, want %d", i, c.Mark, err, marks)
			}
		}
		cut()
		// What the log cannot say, of hosts that are pending.
		change(5, func(w *ddns.Write) {
			c, _ := ddns.NewToken(w.Host.Name, day)
			w.Credentials, w.Revoked, w.Host.Credentials = []*ddns.Credential{c}, w.Host.Credentials, []string{c.ID}
		})
		change(6, func(w *ddns.Write) {
			w.Host.Followers = []ddns.Follower{{Name: benchName(int(100 + w.Host.Generation)), Low: netip.MustParseAddr("::1"), A: true}}
		})
		change(7, func(w *ddns.Write) { w.Host.Lease = 40 * time.Hour })
		change(8, func(w *ddns.Write) { w.Host.Removed, w.Host.Credentials, w.Revoked = true, nil, w.Host.Credentials })
		cut()
		save(created(newHost(benchName(8))))
		change(8, nil)
		change(5, nil)
		change(6, nil)
		change(7, func(w *ddns.Write) { w.Host.Lease = 0 })
		change(7, nil)
		cut()
		hosts, _, log := s.Pending()
		if hosts < 8 || log == 0 {
			t.Fatalf("%d hosts are pending, %d bytes of log", hosts, log)
		}
		// Some hosts are in their rows, and change again before the others are.
		if err := s.Advance(3); err != nil {
			t.Fatal(err)
		}
		cut()
		change(0, nil)
		change(9, nil)
		cut()
		for step := 0; ; step++ {
			if err := s.Advance(3); err != nil {
				t.Fatal(err)
			}
			cut()
			if hosts, bytes, log := s.Pending(); hosts == 0 && bytes == 0 && log == 0 {
				break
			}
			if step > 100 {
				t.Fatal("what is pending does not come to an end")
			}
		}
	}
	for i := range 90 { // more rows of the log than are deleted at a time, and more changes of one host than may be pending
		change(i%2, nil)
	}
	for range 5 {
		if err := s.Advance(1); err != nil {
			t.Fatal(err)
		}
		cut()
	}
	if hosts, bytes, log := s.Pending(); hosts != 0 || bytes != 0 || log != 0 {
		t.Errorf("%d hosts, %d bytes, %d bytes of log are pending after all", hosts, bytes, log)
	}
}

// TestLog says what is in the log and for how long.
func TestLog(t *testing.T) {
	dir := t.TempDir()
	s := unswept(t, dir)
	fill(t, s, 3)
	pending := func(want int) {
		t.Helper()
		if hosts, _, _ := s.Pending(); hosts != want {
			t.Errorf("%d hosts are pending, want %d", hosts, want)
		}
	}
	change := func(i int, edit func(*ddns.Write)) {
		t.Helper()
		h, _, err := s.Host(t.Context(), benchName(i))
		if err != nil {
			t.Fatal(err)
		}
		w := moved(h, "192.0.2.7")
		if edit != nil {
			edit(&w)
		}
		if err := s.Save(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	pending(0)
	change(0, nil)
	change(1, func(w *ddns.Write) { w.Host.TTL = 300 })
	pending(2)
	change(1, func(w *ddns.Write) { w.Host.Published-- }) // the index of unpublished hosts has to know
	pending(1)
	change(2, func(w *ddns.Write) { w.Host.Wildcard = true })
	pending(1)
	list, _, err := s.Unpublished(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].Generation != 3 {
		t.Errorf("unpublished: %v, %v", list, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, "create table was as select count(*) as n from pending; create table shown as select ttl, addresses from host_view order by name")
	edit(t, dir, "insert into was select 100 where (select n from was) <> 0 or (select count(*) from shown) <> 3")
	s = unswept(t, dir)
	if list, _, err := s.Hosts(t.Context(), "", 10); err != nil || len(list) != 3 || list[1].TTL != 300 {
		t.Errorf("after a restart: %v, %v", list, err)
	}
}

// TestPendingIsBounded writes many hosts, and one host many times, and looks at
// what is held and logged meanwhile.
func TestPendingIsBounded(t *testing.T) {
	t.Parallel()
	const room = 200 << 10
	s, err := sqlite.Open(t.TempDir(), sqlite.Config{Cache: -1}.PendingRoom(room).Unswept())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const hosts = 1000
	fill(t, s, hosts)
	var mu sync.Mutex // guards following
	most, mostLog := 0, 0
	look := func() {
		_, bytes, log := s.Pending()
		mu.Lock()
		defer mu.Unlock()
		most, mostLog = max(most, bytes), max(mostLog, log)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < hosts; i += 8 {
				if err := change(s, benchName(i), "192.0.2.5"); err != nil {
					t.Error(err)
				}
				look()
			}
		})
	}
	wg.Wait()
	for range 1500 {
		if err := change(s, benchName(1), "192.0.2.6"); err != nil {
			t.Fatal(err)
		}
		look()
	}
	if most < room/8 || most > room+room/8 || mostLog < room/3 || mostLog > 4*room { // a record takes a block of the log
		t.Errorf("at most %d bytes were pending, with %d bytes of log; the room is %d", most, mostLog, room)
	}
	h, _, err := s.Host(t.Context(), benchName(1))
	if err != nil || h.Generation != 1502 {
		t.Errorf("%+v, %v", h, err)
	}
	sound(t, s)
}

// TestReadersWhileHostsAreBrought reads and lists hosts that change all the time
// while they are brought into their rows: nobody is shown less than what was
// acknowledged before he asked.
func TestReadersWhileHostsAreBrought(t *testing.T) {
	s, err := sqlite.Open(t.TempDir(), sqlite.Config{Cache: -1}.PendingRoom(1))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const hosts = 24
	fill(t, s, hosts)
	var acknowledged [hosts]atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				i := w + 4*(n%(hosts/4))
				if err := change(s, benchName(i), fmt.Sprintf("192.0.2.%d", n%250)); err != nil {
					t.Error(err)
					return
				}
				acknowledged[i].Add(1)
			}
		})
	}
	for round := range 300 {
		var before [hosts]uint64
		for i := range before {
			before[i] = 1 + acknowledged[i].Load()
		}
		list, _, err := s.Hosts(t.Context(), "", 1000)
		if err != nil || len(list) != hosts {
			t.Fatalf("%d hosts, %v", len(list), err)
		}
		for i, h := range list {
			if h.Generation < before[i] {
				t.Fatalf("round %d: generation %d of %s was acknowledged, %d is listed", round, before[i], h.Name, h.Generation)
			}
		}
		i := round % hosts
		before[i] = 1 + acknowledged[i].Load()
		h, credentials, err := s.Host(t.Context(), benchName(i))
		if err != nil || h.Generation < before[i] || len(credentials) != 1 {
			t.Fatalf("generation %d was acknowledged, %+v is read with %d credentials, %v", before[i], h, len(credentials), err)
		}
		before[i] = 1 + acknowledged[i].Load()
		events, err := s.Events(t.Context(), benchName(i))
		if err != nil || events[0].Generation < before[i] {
			t.Fatalf("generation %d was acknowledged, %v", before[i], err)
		}
		for n := range events[1:] {
			if events[n].Generation != events[n+1].Generation+1 {
				t.Fatalf("event %d after event %d", events[n].Generation, events[n+1].Generation)
			}
		}
	}
	stop()
	wg.Wait()
	sound(t, s)
}
