package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/store/sqlite"
)

// shadow is what a follower knows.
type shadow struct {
	mu      sync.Mutex // guards following
	hosts   map[dnsname.Name]string
	serials map[dnsname.Name]ddns.Serial
	wrong   []string
}

func newShadow() *shadow {
	return &shadow{hosts: map[dnsname.Name]string{}, serials: map[dnsname.Name]ddns.Serial{}}
}

func state(h *ddns.Host) string { return fmt.Sprintf("%d %s %v", h.Generation, h.Zone, h.RRsets()) }

func (s *shadow) loader() func(*ddns.Host) error { return s.load }

func (s *shadow) load(h *ddns.Host) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.hosts[h.Name]; twice {
		s.wrong = append(s.wrong, "loaded twice: "+h.Name.String())
	}
	s.hosts[h.Name] = state(h)
	return nil
}

func (s *shadow) apply(c ddns.Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, change := range c.Changes {
		before := ""
		if change.Before != nil {
			before = state(change.Before)
		}
		if before != s.hosts[change.After.Name] {
			s.wrong = append(s.wrong, fmt.Sprintf("%s was %q, the commit says %q", change.After.Name, s.hosts[change.After.Name], before))
		}
		if s.hosts[change.After.Name] = state(change.After); change.After.Removed {
			delete(s.hosts, change.After.Name)
		}
		if _, ok := c.Serials[change.After.Zone]; !ok {
			s.wrong = append(s.wrong, "a change without a serial")
		}
	}
	for name, serial := range c.Serials {
		if last, ok := s.serials[name]; ok && !last.Before(serial) {
			s.wrong = append(s.wrong, fmt.Sprintf("serial %d after %d", serial, last))
		}
		s.serials[name] = serial
	}
}

// TestFollow follows a store that changes all the time, from the middle on.
func TestFollow(t *testing.T) {
	s := open(t, t.TempDir())
	const hosts = 700
	fill(t, s, hosts)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for ctx.Err() == nil {
				name := benchName(r.IntN(hosts))
				h, _, err := s.Host(context.Background(), name)
				switch {
				case errors.Is(err, ddns.ErrNoHost):
					err = s.Save(context.Background(), created(newHost(name)))
				case err == nil && r.IntN(10) == 0:
					w := moved(h, "192.0.2.1")
					w.Host.Removed, w.Host.Credentials, w.Revoked = true, nil, h.Credentials
					err = s.Save(context.Background(), w)
				case err == nil:
					err = s.Save(context.Background(), moved(h, address(r)))
				}
				if err != nil && !errors.Is(err, ddns.ErrConflict) && !errors.Is(err, ddns.ErrNameTaken) {
					t.Error(err)
					return
				}
			}
		})
	}
	known := newShadow()
	loaded := 0
	if err := s.Follow(known.loader, func() { loaded++ }, known.apply); err != nil || loaded != 1 {
		t.Fatalf("Follow: %v, loaded %d times", err, loaded)
	}
	if err := s.Follow(known.loader, nil, known.apply); err == nil {
		t.Error("a second follower was taken")
	}
	time.Sleep(300 * time.Millisecond)
	stop()
	wg.Wait()
	want := map[dnsname.Name]string{}
	for cursor := ""; ; {
		page, next, err := s.Hosts(t.Context(), cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range page {
			want[h.Name] = state(h)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	for _, wrong := range known.wrong[:min(len(known.wrong), 5)] {
		t.Error(wrong)
	}
	if len(want) != len(known.hosts) {
		t.Errorf("the follower knows %d hosts, the store %d", len(known.hosts), len(want))
	}
	for name, w := range want {
		if known.hosts[name] != w {
			t.Errorf("%s: the follower knows %q, the store %q", name, known.hosts[name], w)
		}
	}
	sound(t, s)
}

func TestAppliedBeforeAcknowledged(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Save(t.Context(), created(newHost(nas))); err != nil {
		t.Fatal(err)
	}
	var applied atomic.Uint64
	if err := s.Follow(newShadow().loader, nil, func(c ddns.Commit) { applied.Store(c.Changes[0].After.Generation) }); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		h, _, err := s.Host(t.Context(), nas)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Save(t.Context(), moved(h, "192.0.2.3")); err != nil {
			t.Fatal(err)
		}
		if applied.Load() != h.Generation+1 {
			t.Fatalf("generation %d is acknowledged, %d applied", h.Generation+1, applied.Load())
		}
	}
}

// TestPanic lets a follower fail once: the writer's caller gets an answer, the
// store goes on, and the follower is told what it missed.
func TestPanic(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Save(t.Context(), created(newHost(nas))); err != nil {
		t.Fatal(err)
	}
	known := newShadow()
	fail := true
	err := s.Follow(known.loader, nil, func(c ddns.Commit) {
		if fail {
			fail = false
			panic("out of cheese")
		}
		known.apply(c)
	})
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := s.Host(t.Context(), nas)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), moved(h, "192.0.2.3")); err == nil || !strings.Contains(err.Error(), "could not confirm") {
		t.Errorf("Save whose commit could not be applied: %v", err)
	}
	h, _, err = s.Host(t.Context(), nas)
	if err != nil || h.Generation != 2 {
		t.Fatalf("%+v, %v: the change was made, after all", h, err)
	}
	if err := s.Save(t.Context(), moved(h, "192.0.2.4")); err != nil {
		t.Fatal(err)
	}
	h, _, err = s.Host(t.Context(), nas)
	if err != nil {
		t.Fatal(err)
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.hosts[nas] != state(h) || len(known.wrong) > 0 {
		t.Errorf("the follower knows %q, the store %q; %v", known.hosts[nas], state(h), known.wrong)
	}
}

func TestDamagedRowsAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bad := benchName(7)
	edit(t, dir, "update hosts set dns = json_replace(dns, '$[4]', '192.0.2.66') where json_extract(dns, '$[0]') = '"+bad.String()+"'; delete from names where name = '"+benchName(9).String()+
		"'; update hosts set state = json_replace(state, '$[3]', 1) where json_extract(dns, '$[0]') = '"+benchName(8).String()+"'")
	var said bytes.Buffer
	s, err := sqlite.Open(dir, sqlite.Config{Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	known := newShadow()
	if err := s.Follow(known.loader, nil, known.apply); err != nil {
		t.Fatal(err)
	}
	if _, ok := known.hosts[bad]; ok || len(known.hosts) != 19 {
		t.Errorf("%d hosts are loaded, the damaged one: %q", len(known.hosts), known.hosts[bad])
	}
	if !strings.Contains(said.String(), bad.String()) {
		t.Errorf("the damaged row is not named:\n%s", said.String())
	}
	_, _, err = s.Host(t.Context(), bad)
	if _, ok := errors.AsType[*sqlite.DamagedError](err); !ok {
		t.Errorf("Host of a damaged row: %v", err)
	}
	// It stops nobody else, in the same batch neither.
	h := newHost(bad)
	h.Generation = 2
	before := newHost(bad)
	if err := s.Save(t.Context(), ddns.Write{Before: before, Host: h}); err == nil {
		t.Error("a damaged row was written over")
	}
	if err := s.Save(t.Context(), created(newHost(nas))); err != nil {
		t.Error(err)
	}
	page, _, err := s.Hosts(t.Context(), "", 1000)
	if err != nil || len(page) != 18 || slices.ContainsFunc(page, func(h *ddns.Host) bool { return h.Name == bad }) {
		t.Errorf("%d hosts are listed, %v", len(page), err)
	}
	found, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"host \"" + bad.String(), "host \"" + benchName(8).String(), "host " + benchName(9).String() + ": its name"} {
		if !slices.ContainsFunc(found, func(f sqlite.Finding) bool { return strings.Contains(f.What, want) && f.Fix != "" }) {
			t.Errorf("Check does not tell of %s: %v", want, found)
		}
	}
}

func TestZone(t *testing.T) {
	dir := t.TempDir()
	now := day
	conf := sqlite.Config{Now: func() time.Time { return now }}
	s, err := sqlite.Open(dir, conf)
	if err != nil {
		t.Fatal(err)
	}
	serial := func(print string) ddns.Serial {
		t.Helper()
		n, err := s.Zone(t.Context(), zone, []byte(print))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := serial("a")
	if first != ddns.Serial(day.Unix()) {
		t.Errorf("a new zone begins at %d, want %d", first, day.Unix())
	}
	if again := serial("a"); again != first {
		t.Errorf("the same content has serial %d after %d", again, first)
	}
	now = day.Add(-time.Hour) // the clock goes back
	if next := serial("b"); next != first+1 {
		t.Errorf("other content has serial %d after %d", next, first)
	}
	if err := s.Save(t.Context(), created(newHost(nas))); err != nil {
		t.Fatal(err)
	}
	if next := serial("b"); next != first+2 {
		t.Errorf("a commit moved the serial to %d, want %d", next, first+2)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = sqlite.Open(dir, conf); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if next := serial("b"); next != first+2 {
		t.Errorf("after a restart the serial is %d, want %d", next, first+2)
	}
	now = day.Add(time.Hour)
	if next := serial("c"); next != ddns.Serial(now.Unix()) {
		t.Errorf("the serial is %d, want the Unix time %d", next, now.Unix())
	}
}

// TestDamageDoesNotFillTheLog: a database with many bad rows says so and names
// some of them.
func TestDamageDoesNotFillTheLog(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, "update hosts set dns = json_replace(dns, '$[4]', '192.0.2.66')")
	var said bytes.Buffer
	s, err := sqlite.Open(dir, sqlite.Config{Log: slog.New(slog.NewTextHandler(&said, nil)), Now: func() time.Time { return day }})
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(h *ddns.Host) error { return errors.New(h.Name.String() + " is loaded") }
	if err := s.Follow(func() func(*ddns.Host) error { return refuse }, nil, func(ddns.Commit) {}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(said.String(), "level=ERROR"); n != 21 || !strings.Contains(said.String(), "godwit check, which lists them") {
		t.Errorf("%d lines, want 20 and where the rest is:\n%s", n, said.String())
	}
}
