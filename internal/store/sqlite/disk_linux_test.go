package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/internal/store/sqlite"
)

// TestDiskFull fills a small file system: changes are refused, reads go on, and
// changes go on by themselves when there is space again.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root to mount a small file system")
	}
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=2m"); err != nil {
		skip(t, "cannot mount here: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	s, err := sqlite.Open(filepath.Join(mount, "data"), sqlite.Config{Cache: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	other := newHost(benchName(1))
	if err := s.Save(ctx, created(newHost(nas)), created(other)); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		ballast := filepath.Join(mount, "ballast")
		fill, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{64 << 10, 4 << 10, 1} {
			for err = nil; err == nil; {
				_, err = fill.Write(make([]byte, size))
			}
		}
		if err := fill.Close(); err != nil {
			t.Fatal(err)
		}
		var refused error
		stored := uint64(0)
		for range 2000 { // until the log needs another page
			h, _, err := s.Host(ctx, nas)
			if err != nil {
				t.Fatalf("round %d: a read on a full disk: %v", round, err)
			}
			if refused != nil {
				if h.Generation != stored {
					t.Fatalf("round %d: generation %d after %d was acknowledged and one refused", round, h.Generation, stored)
				}
				break
			}
			if refused = s.Save(ctx, moved(h, "192.0.2.2")); refused == nil {
				stored = h.Generation + 1
			} else {
				stored = h.Generation
			}
		}
		if refused == nil || !strings.Contains(refused.Error(), "disk is full") {
			t.Fatalf("round %d: a change on a full disk: %v", round, refused)
		}
		start := time.Now()
		for range 20 {
			h, _, err := s.Host(ctx, nas)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Save(ctx, moved(h, "192.0.2.3"))
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("20 changes on a full disk took %s", took)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		for tries := 0; ; tries++ {
			h, _, err := s.Host(ctx, nas)
			if err != nil {
				t.Fatal(err)
			}
			if err = s.Save(ctx, moved(h, "192.0.2.4")); err == nil {
				break
			}
			if tries == 200 {
				t.Fatalf("round %d: changes do not go on: %v", round, err)
			}
			time.Sleep(25 * time.Millisecond)
		}
		sound(t, s)
	}
}

// TestRefusing: whoever watches can see that nothing is stored, and that it is
// again.
func TestRefusing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Save(t.Context(), created(newHost(nas))); err != nil {
		t.Fatal(err)
	}
	file, away := filepath.Join(dir, "godwit.db"), filepath.Join(dir, "godwit.away")
	if err := errors.Join(os.Rename(file, away), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := s.Stumble(); err == nil || !s.Activity().Refusing {
		t.Errorf("without a database: %v, %+v", err, s.Activity())
	}
	if err := errors.Join(os.Remove(file), os.Rename(away, file)); err != nil {
		t.Fatal(err)
	}
	if err := s.Stumble(); err != nil || s.Activity().Refusing {
		t.Errorf("with it: %v, %+v", err, s.Activity())
	}
}
