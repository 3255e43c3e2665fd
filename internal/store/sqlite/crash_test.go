package sqlite_test

import (
	"bytes"
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

func copyFile(t testing.TB, from, to string, limit int64) {
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
func snapshot(t testing.TB, dir string, wal int64) string {
	t.Helper()
	to := t.TempDir()
	copyFile(t, filepath.Join(dir, "seal.key"), filepath.Join(to, "seal.key"), -1)
	// The logs first: what goes from one file into the next between two copies would else be missed.
	for i := range 2 {
		if _, err := os.Stat(changesFile(dir, i)); err == nil {
			copyFile(t, changesFile(dir, i), changesFile(to, i), -1)
		}
	}
	copyFile(t, filepath.Join(dir, "godwit.db-wal"), filepath.Join(to, "godwit.db-wal"), wal)
	copyFile(t, filepath.Join(dir, "godwit.db"), filepath.Join(to, "godwit.db"), -1)
	return to
}

// changesFile is a file of a store's log.
func changesFile(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprint("godwit.changes-", i))
}

// TestCutLog cuts the log at each sector of its first blocks, where what was there before goes
// on: nothing, zeros, or an earlier round's records. Each cut must open, hold
// every change whose record is whole, and no part of another.
func TestCutLog(t *testing.T) {
	dir := t.TempDir()
	s := unswept(t, dir)
	a, b := benchName(1), benchName(2)
	if err := s.Save(t.Context(), created(newHost(a)), created(newHost(b))); err != nil {
		t.Fatal(err)
	}
	round := func(changes int) {
		t.Helper()
		for range changes {
			ha, _, err1 := s.Host(t.Context(), a)
			hb, _, err2 := s.Host(t.Context(), b)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			to := fmt.Sprintf("192.0.2.%d", ha.Generation+1) // both to one address: half of a change would show
			if err := s.Save(t.Context(), moved(ha, to), moved(hb, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	sweep := func() {
		t.Helper()
		for log := 1; log > 0; _, _, log = s.Pending() {
			if err := s.Advance(10); err != nil {
				t.Fatal(err)
			}
		}
	}
	round(6) // in the first file
	sweep()
	round(1) // in the second one
	sweep()
	const swept, block, changes = 8, 4096, 2 // the newest generation in rows, a record's length
	earlier, err := os.ReadFile(changesFile(dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	round(changes)
	whole := snapshot(t, dir, -1)
	data, err := os.ReadFile(changesFile(whole, 0))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != len(earlier) || bytes.Equal(data[:block], earlier[:block]) {
		t.Fatal("the log's file is not used again")
	}
	for cut := changes * block; cut >= 0; cut -= 512 {
		for what, rest := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 6*block), "earlier records": earlier[cut:]} {
			file := append(data[:cut:cut], rest...)
			want := uint64(swept)
			for at := 0; at+block <= min(len(file), changes*block) && bytes.Equal(file[at:at+block], data[at:at+block]); at += block {
				want++ // the cut may be behind a record's end
			}
			at := snapshot(t, whole, -1)
			if err := os.WriteFile(changesFile(at, 0), file, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := sqlite.Open(at, sqlite.Config{})
			if err != nil {
				t.Fatalf("cut at %d, then %s: %v", cut, what, err)
			}
			ha, _, err1 := c.Host(t.Context(), a)
			hb, _, err2 := c.Host(t.Context(), b)
			if err := errors.Join(err1, err2, c.Close()); err != nil {
				t.Fatalf("cut at %d, then %s: %v", cut, what, err)
			}
			if ha.Generation != want || hb.Generation != want || ha.A[0] != hb.A[0] {
				t.Fatalf("cut at %d, then %s: generations %d and %d, want %d; addresses %v and %v", cut, what, ha.Generation, hb.Generation, want, ha.A, hb.A)
			}
			if err := os.RemoveAll(at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestCopiedWhileWriting copies a live store's files between two writes, at random
// moments, while hosts are brought into their rows: whatever was acknowledged
// before the copy began is in it.
func TestCopiedWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlite.Open(dir, sqlite.Config{}.PendingRoom(1))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const hosts = 8
	var acknowledged [hosts]atomic.Uint64
	ctx := t.Context()
	more := make(chan struct{}, 32) // one for each change, so that they end while a copy is looked at
	var wg sync.WaitGroup
	for i := range hosts {
		h := newHost(benchName(i))
		if err := s.Save(ctx, created(h)); err != nil {
			t.Fatal(err)
		}
		acknowledged[i].Store(1)
		wg.Go(func() {
			for range more {
				h, _, err := s.Host(ctx, benchName(i))
				if err == nil {
					err = s.Save(ctx, moved(h, fmt.Sprintf("192.0.2.%d", h.Generation%250)))
				}
				if err != nil {
					t.Error(err)
					continue
				}
				acknowledged[i].Store(h.Generation + 1)
			}
		})
	}
	defer wg.Wait()
	defer close(more)
	random := rand.New(rand.NewPCG(1, 2))
	for range 15 {
		for range random.IntN(200) {
			more <- struct{}{}
		}
		var before [hosts]uint64
		for i := range before {
			before[i] = acknowledged[i].Load()
		}
		var at string
		if err := s.Between(func() { at = snapshot(t, dir, -1) }); err != nil {
			t.Fatal(err)
		}
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
