package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/store/sqlite"
)

func copyFile(t *testing.T, from, to string, limit int64) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if limit >= 0 && int64(len(data)) > limit {
		data = data[:limit]
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// snapshot copies the files of a store as a power cut would leave them.
func snapshot(t *testing.T, dir string, wal int64) string {
	t.Helper()
	to := t.TempDir()
	copyFile(t, filepath.Join(dir, "seal.key"), filepath.Join(to, "seal.key"), -1)
	// The log first: a checkpoint between the two copies would else be missed.
	copyFile(t, filepath.Join(dir, "godwit.db-wal"), filepath.Join(to, "godwit.db-wal"), wal)
	copyFile(t, filepath.Join(dir, "godwit.db"), filepath.Join(to, "godwit.db"), -1)
	return to
}

// TestCutLog cuts the log at every 512 octets of its last part. Each cut must
// open, hold every change whose commit is whole, and no part of another.
func TestCutLog(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	a, b := benchName(1), benchName(2)
	if err := s.Save(t.Context(), created(newHost(a)), created(newHost(b))); err != nil {
		t.Fatal(err)
	}
	wal := filepath.Join(dir, "godwit.db-wal")
	var ends []int64 // size of the log after the commit of generation i+1
	size := func() int64 {
		info, err := os.Stat(wal)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	ends = append(ends, size())
	for range 5 {
		ha, _, err1 := s.Host(t.Context(), a)
		hb, _, err2 := s.Host(t.Context(), b)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		to := fmt.Sprintf("192.0.2.%d", ha.Generation+1) // both to one address: half of a change would show
		if err := s.Save(t.Context(), moved(ha, to), moved(hb, to)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, size())
		if err := s.Advance(1); err != nil { // changes nothing that anybody can see
			t.Fatal(err)
		}
	}
	if err := s.Advance(2); err != nil {
		t.Fatal(err)
	}
	if ends[0] >= ends[len(ends)-1] {
		t.Fatal("the log does not grow")
	}
	for cut := size(); cut >= ends[0]; cut -= 512 {
		want := uint64(0) // the newest generation that is whole
		for i, end := range ends {
			if end <= cut {
				want = uint64(i + 1)
			}
		}
		at := snapshot(t, dir, cut)
		c, err := sqlite.Open(at, sqlite.Config{})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		ha, _, err1 := c.Host(t.Context(), a)
		hb, _, err2 := c.Host(t.Context(), b)
		if err := errors.Join(err1, err2, c.Close()); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if ha.Generation != want || hb.Generation != want || ha.A[0] != hb.A[0] {
			t.Fatalf("cut at %d: generations %d and %d, want %d; addresses %v and %v", cut, ha.Generation, hb.Generation, want, ha.A, hb.A)
		}
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCopiedWhileWriting copies a live store's log at random moments: whatever
// was acknowledged before the copy began is in it.
func TestCopiedWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const hosts = 8
	var acknowledged [hosts]atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range hosts {
		h := newHost(benchName(i))
		if err := s.Save(ctx, created(h)); err != nil {
			t.Fatal(err)
		}
		acknowledged[i].Store(1)
		wg.Go(func() {
			for ctx.Err() == nil {
				h, _, err := s.Host(context.Background(), benchName(i))
				if err == nil {
					err = s.Save(context.Background(), moved(h, fmt.Sprintf("192.0.2.%d", h.Generation%250)))
				}
				if err != nil {
					t.Error(err)
					return
				}
				acknowledged[i].Store(h.Generation + 1)
			}
		})
	}
	defer wg.Wait()
	defer stop()
	for range 15 {
		var before [hosts]uint64
		for i := range before {
			before[i] = acknowledged[i].Load()
		}
		at := snapshot(t, dir, -1)
		c, err := sqlite.Open(at, sqlite.Config{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range before {
			h, _, err := c.Host(ctx, benchName(i))
			if err != nil || h.Generation < before[i] {
				t.Errorf("host %d: generation %d was acknowledged; %+v, %v", i, before[i], h, err)
			}
		}
		sound(t, c)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFlippedBits flips bits anywhere in the file. Whatever happens, no host is
// loaded or read with something that was never written.
func TestFlippedBits(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 60)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "godwit.db"))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	want := newHost(nas)
	noticed := 0
	flips := 20
	if testing.Short() {
		flips = 8
	}
	for range flips {
		at := t.TempDir()
		copyFile(t, filepath.Join(dir, "seal.key"), filepath.Join(at, "seal.key"), -1)
		bit := r.IntN(8 * len(data))
		data[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(filepath.Join(at, "godwit.db"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		data[bit/8] ^= 1 << (bit % 8)
		c, err := sqlite.Open(at, sqlite.Config{})
		if err != nil {
			noticed++
			continue
		}
		var n atomic.Int32
		err = c.Follow(func() func(*ddns.Host) error {
			return func(h *ddns.Host) error {
				n.Add(1)
				if len(h.A) != 1 || h.A[0] != want.A[0] || len(h.AAAA) != 0 || h.TTL != want.TTL || h.Zone != zone {
					t.Errorf("bit %d: %s is loaded with %v, %v, TTL %d in %s", bit, h.Name, h.A, h.AAAA, h.TTL, h.Zone)
				}
				return nil
			}
		}, nil, func(ddns.Commit) {})
		for i := range 60 {
			h, _, err := c.Host(t.Context(), benchName(i))
			if err == nil && (len(h.A) != 1 || h.A[0] != want.A[0] || h.Name != benchName(i)) {
				t.Errorf("bit %d: %s is read with %v", bit, h.Name, h.A)
			}
		}
		if found, checkErr := c.Check(t.Context()); err != nil || n.Load() != 60 || checkErr != nil || len(found) > 0 {
			noticed++
		}
		_ = c.Close()
	}
	t.Logf("%d of %d flipped bits were noticed; the others changed nothing", noticed, flips)
}
