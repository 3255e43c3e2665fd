package ddns_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
)

// TestUnconfirmed: what is stored is success; DNS follows when it can, and until
// then nobody is told that it shows it.
func TestUnconfirmed(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free)
	w.dns.Fail(publishtest.Refuse, made.Host.Name)
	out := w.must(t, by(made, home))
	if !out.Changed || out.Unconfirmed == nil || w.host(t, "nas.dyn.example.org").Published == out.Host.Generation {
		t.Errorf("%+v", out)
	}
	calls := w.dns.Calls()
	if again := w.must(t, by(made, home)); again.Changed || again.Unconfirmed == nil || w.dns.Calls() != calls {
		t.Errorf("again %+v", again)
	}
	if err := w.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := w.must(t, by(made, home)); again.Changed || again.Unconfirmed != nil {
		t.Errorf("repaired %+v", again)
	}
	if a := w.shows("nas.dyn.example.org", ddns.TypeA); fmt.Sprint(a) != "["+home+"]" {
		t.Errorf("DNS shows %s", a)
	}
	calls = w.dns.Calls()
	if err := w.Repair(t.Context()); err != nil || w.dns.Calls() != calls {
		t.Errorf("nothing to repair: %v", err)
	}
}

// TestNoPublisher: where DNS follows the store, everything stored is published.
func TestNoPublisher(t *testing.T) {
	w := newWorld(t, func(c *ddns.Config) { c.Publisher = nil })
	made := w.add(t, "nas.dyn.example.org")
	if out := w.must(t, by(made, home)); out.Unconfirmed != nil || out.Host.Published != 2 {
		t.Errorf("%+v", out)
	}
	if err := w.Repair(t.Context()); err != nil || w.store.Calls("Unpublished", "Note") != 0 {
		t.Errorf("repaired: %v", err)
	}
	if err := w.Remove(t.Context(), made.Host.Name); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.store.Host(t.Context(), made.Host.Name); !errors.Is(err, ddns.ErrNoHost) {
		t.Errorf("a removed host stays: %v", err)
	}
}

type publisher func(context.Context, []*ddns.Host) []ddns.Published

func (p publisher) Publish(ctx context.Context, hosts []*ddns.Host) []ddns.Published {
	return p(ctx, hosts)
}

// TestOddPublishers do not make the core claim what is not so, or stop it.
func TestOddPublishers(t *testing.T) {
	for name, p := range map[string]publisher{
		"says nothing": func(context.Context, []*ddns.Host) []ddns.Published { return nil },
		"says an old generation for ever": func(_ context.Context, hosts []*ddns.Host) []ddns.Published {
			return []ddns.Published{{Generation: hosts[0].Generation - 1}}
		},
	} {
		w := newWorld(t, func(c *ddns.Config) { c.Publisher = p })
		made := w.add(t, "nas.dyn.example.org")
		out := w.must(t, by(made, home))
		if !out.Changed || out.Unconfirmed == nil {
			t.Errorf("%s: %+v", name, out)
		}
		if h := w.host(t, "nas.dyn.example.org"); h.Published >= h.Generation {
			t.Errorf("%s: published at %d of %d", name, h.Published, h.Generation)
		}
	}
	// One result too many is nobody's.
	w := newWorld(t)
	w.Service.Publisher = publisher(func(ctx context.Context, hosts []*ddns.Host) []ddns.Published {
		return append(w.dns.Publish(ctx, hosts), ddns.Published{Err: errors.New("whose?")})
	})
	if out := w.must(t, by(w.add(t, "nas.dyn.example.org"), home)); out.Unconfirmed != nil {
		t.Errorf("%+v", out)
	}
}

// TestNoteFails: published and not noted is published again.
func TestNoteFails(t *testing.T) {
	for _, failing := range []string{"Note", "Host"} {
		w := newWorld(t)
		made := w.add(t, "nas.dyn.example.org")
		broken, host := errors.New("disk full"), 0
		w.store.Fail = func(method string) error {
			if method == "Host" {
				host++
			}
			if method == failing && (method != "Host" || host == 2) { // the one after publishing
				return broken
			}
			return nil
		}
		if failing == "Host" { // it is read again only after something went wrong
			w.dns.Fail(publishtest.LoseAnswer, made.Host.Name)
		}
		out := w.must(t, by(made, home))
		if !errors.Is(out.Unconfirmed, broken) {
			t.Errorf("%s fails: %v", failing, out.Unconfirmed)
		}
		w.store.Fail = nil
		if err := w.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h := w.host(t, "nas.dyn.example.org"); h.Published != h.Generation {
			t.Errorf("%s fails: published at %d of %d", failing, h.Published, h.Generation)
		}
	}
}

// TestRepairLogsOnce for each page, however many hosts DNS does not take.
func TestRepairLogsOnce(t *testing.T) {
	var log strings.Builder
	w := newWorld(t, func(c *ddns.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	w.Service.Publisher = publisher(func(_ context.Context, hosts []*ddns.Host) []ddns.Published {
		out := make([]ddns.Published, len(hosts))
		for i := range out {
			out[i].Err = errors.New("away")
		}
		return out
	})
	var hosts []ddns.ExportedHost
	for i := range 700 {
		hosts = append(hosts, ddns.ExportedHost{Name: named(fmt.Sprintf("h%d.dyn.example.org", i))})
	}
	if got, err := w.ImportHosts(t.Context(), hosts); err != nil || got.Added != 700 {
		t.Fatalf("%+v, %v", got, err)
	}
	log.Reset()
	if err := w.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "hosts=500") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	w.store.Fail = func(string) error { return errors.New("disk full") }
	if err := w.Repair(t.Context()); err == nil {
		t.Error("a store that cannot list is no error")
	}
}

// TestSweep: challenge values go after a day, addresses after the lease, and a
// host that cannot be written does not hold up the others.
func TestSweep(t *testing.T) {
	w := newWorld(t)
	leased := w.add(t, "leased.dyn.example.org", func(s *ddns.Settings) { s.Lease = new(48 * time.Hour) })
	acme := w.add(t, "acme.dyn.example.org", func(s *ddns.Settings) { s.Lease = new(48 * time.Hour) })
	w.add(t, "idle.dyn.example.org")
	key, err := w.AddToken(t.Context(), acme.Host.Name, ddns.TokenSpec{Types: []ddns.Type{ddns.TypeTXT}})
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, by(leased, home))
	w.must(t, by(acme, home))
	w.must(t, by(key, home, txt(ddns.Add, "one")))
	sweep := func() {
		t.Helper()
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	values := func() string {
		set, _ := w.dns.Shows(named("_acme-challenge.acme.dyn.example.org"), ddns.TypeTXT)
		return strings.Join(set.Texts, " ")
	}
	w.pass(23 * time.Hour)
	w.must(t, by(key, home, txt(ddns.Add, "one", "two"))) // again: it is no younger for that
	w.must(t, by(leased, home))                           // a sign of life
	writes := w.store.Calls("Save")
	sweep()
	if w.store.Calls("Save") != writes || values() != "one two" {
		t.Errorf("something ended too early: %s", values())
	}
	w.pass(time.Hour)
	sweep()
	if values() != "two" {
		t.Errorf("after a day DNS shows %s", values())
	}
	events, err := w.History(t.Context(), acme.Host.Name)
	if err != nil || events[0].Door != "clock" || events[0].What != "challenge values expired" {
		t.Errorf("history %+v, %v", events[0], err)
	}
	w.pass(23 * time.Hour)
	sweep()
	if values() != "" {
		t.Errorf("after two days DNS shows %s", values())
	}
	w.pass(time.Hour + 30*time.Minute) // 48.5 hours: acme was last heard of at 23, leased at 23
	sweep()
	if len(w.shows("acme.dyn.example.org", ddns.TypeA)) == 0 || len(w.shows("leased.dyn.example.org", ddns.TypeA)) == 0 {
		t.Error("a lease ended too early")
	}
	w.pass(22*time.Hour + 30*time.Minute) // 71 hours
	failed := false
	w.store.Fail = func(method string) error {
		if method == "Save" && !failed {
			failed = true
			return errors.New("a bad row")
		}
		return nil
	}
	if err := w.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "acme.dyn.example.org") {
		t.Errorf("the bad row: %v", err)
	}
	if len(w.shows("leased.dyn.example.org", ddns.TypeA)) != 0 {
		t.Error("a bad row held up another host")
	}
	sweep()
	if len(w.shows("acme.dyn.example.org", ddns.TypeA)) != 0 {
		t.Error("what ended by itself has prolonged the lease")
	}
	// Repair does not bring it back, the host does.
	if err := w.Repair(t.Context()); err != nil || len(w.shows("leased.dyn.example.org", ddns.TypeA)) != 0 {
		t.Errorf("repaired: %v", err)
	}
	if !w.must(t, by(leased, home)).Changed || len(w.shows("leased.dyn.example.org", ddns.TypeA)) != 1 {
		t.Error("the host does not come back")
	}
	w.store.Fail = func(method string) error {
		if method == "Due" {
			return errors.New("disk full")
		}
		return nil
	}
	if w.Sweep(t.Context()) == nil {
		t.Error("a store that cannot list is no error")
	}
}

// TestSweepMeetsLife: who is heard of while the sweep looks stays.
func TestSweepMeetsLife(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free, func(s *ddns.Settings) { s.Lease = new(24 * time.Hour) })
	w.must(t, by(made, home))
	w.pass(25 * time.Hour)
	inside := false
	w.store.Fail = func(method string) error {
		if method == "Save" && !inside {
			inside = true
			w.must(t, by(made, home, set(ddns.TypeA, "192.0.2.8")))
		}
		return nil
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := w.shows("nas.dyn.example.org", ddns.TypeA); fmt.Sprint(a) != "[192.0.2.8]" {
		t.Errorf("DNS shows %s", a)
	}
}

// TestRun repairs and sweeps at once and every minute until it is told to stop.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		w := newWorld(t, func(c *ddns.Config) {
			c.Now = nil // the bubble's
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		var full atomic.Bool
		w.store.Fail = func(method string) error {
			if full.Load() && (method == "Unpublished" || method == "Due") {
				return errors.New("disk full")
			}
			return nil
		}
		made := w.add(t, "nas.dyn.example.org", func(s *ddns.Settings) { s.Lease = new(12 * time.Hour) })
		w.dns.Fail(publishtest.Refuse, made.Host.Name)
		w.must(t, by(made, home))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		synctest.Wait()
		if len(w.shows("nas.dyn.example.org", ddns.TypeA)) != 1 {
			t.Error("not repaired at once")
		}
		w.dns.Fail(publishtest.Refuse, made.Host.Name)
		w.must(t, by(made, "192.0.2.8"))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if a := w.shows("nas.dyn.example.org", ddns.TypeA); fmt.Sprint(a) != "[192.0.2.8]" {
			t.Errorf("after two minutes DNS shows %s", a)
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if a := w.shows("nas.dyn.example.org", ddns.TypeA); len(a) != 0 {
			t.Errorf("after the lease DNS shows %s", a)
		}
		full.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "disk full"); n != 2 {
			t.Errorf("said %d times that the disk is full", n)
		}
		cancel()
		<-done
	})
}

// TestOvertaken: a publisher that was held up leaves nothing behind, also at a
// name that the newer state has no more. This one takes away what it is told
// that DNS shows, and nothing else.
func TestOvertaken(t *testing.T) {
	w := newWorld(t)
	shows := map[string]ddns.RRset{}
	key := func(set ddns.RRset) string { return fmt.Sprint(set.Owner, set.Type) }
	var heldUp func() // before the next call does its work
	w.Service.Publisher = publisher(func(_ context.Context, hosts []*ddns.Host) []ddns.Published {
		if during := heldUp; during != nil {
			heldUp = nil
			during()
		}
		var out []ddns.Published
		for _, h := range hosts {
			for _, set := range h.Shown {
				delete(shows, key(set))
			}
			for _, set := range h.RRsets() {
				shows[key(set)] = set
			}
			out = append(out, ddns.Published{Generation: h.Generation, Shown: h.RRsets()})
		}
		return out
	})
	made := w.add(t, "nas.dyn.example.org")
	w.must(t, by(made, home))
	set := func(followers ...ddns.Follower) {
		t.Helper()
		if _, err := w.Set(t.Context(), made.Host.Name, ddns.Settings{Followers: &followers}); err != nil {
			t.Fatal(err)
		}
	}
	tv := ddns.Follower{Name: named("tv.dyn.example.org"), Low: netip.MustParseAddr("::1"), A: true}
	heldUp = func() { set() } // while tv is on its way, it is given up
	set(tv)
	if h := w.host(t, "nas.dyn.example.org"); h.Published != h.Generation || len(h.Followers) != 0 {
		t.Errorf("published at %d of %d with followers %v", h.Published, h.Generation, h.Followers)
	}
	if len(shows) != 1 {
		t.Errorf("DNS shows %v", shows)
	}
}

// slowly is a store that takes its time to note, and does not when that is over.
type slowly struct{ *publishtest.Store }

func (s slowly) Note(ctx context.Context, name dnsname.Name, generation uint64, shown []ddns.RRset) (uint64, error) {
	if time.Sleep(10 * time.Millisecond); ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return s.Store.Note(ctx, name, generation, shown)
}

// TestNoted: what DNS took is noted, although publishing it takes all the time
// that it is given.
func TestNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *ddns.Config) { c.Store = slowly{c.Store.(*publishtest.Store)} })
		var names []dnsname.Name
		for i := range 500 {
			made := w.add(t, fmt.Sprintf("h%d.dyn.example.org", i))
			w.dns.Fail(publishtest.Refuse, made.Host.Name)
			w.must(t, by(made, home))
			names = append(names, made.Host.Name)
		}
		w.Service.Publisher = publisher(func(ctx context.Context, hosts []*ddns.Host) []ddns.Published {
			<-ctx.Done()
			return w.dns.Publish(ctx, hosts)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Repair(ctx); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if h := w.host(t, name.String()); h.Published != h.Generation {
				t.Fatalf("%s is shown, and not noted", name)
			}
		}
	})
}
