package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/store/sqlite"
)

// writeUntilTold is another process's part: it makes 40 changes of one host, and
// says of each whether it was acknowledged.
func writeUntilTold(dir string) int {
	s, err := sqlite.Open(dir, sqlite.Config{})
	if err != nil {
		fmt.Println("open", err)
		return 0 // the start may fail: nothing was acknowledged
	}
	defer s.Close()
	ctx := context.Background()
	fmt.Println("open")
	if _, _, err := s.Host(ctx, nas); errors.Is(err, ddns.ErrNoHost) {
		if err := s.Save(ctx, created(newHost(nas))); err != nil {
			fmt.Println("refused", err)
		} else {
			fmt.Println("stored 1")
		}
	}
	for range 40 {
		h, _, err := s.Host(ctx, nas)
		if err != nil {
			continue
		}
		if err := s.Save(ctx, moved(h, "192.0.2.2")); err != nil {
			fmt.Println("refused", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		fmt.Println("stored", h.Generation+1)
	}
	return 0
}

// TestFailingCalls lets the N-th sync or write fail, for each N, and compares
// what was acknowledged with what the disk holds.
func TestFailingCalls(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		skip(t, "strace is not installed")
	}
	if testing.Short() {
		t.Skip("slow")
	}
	for _, c := range []struct {
		calls, failure string
		when           []string
	}{
		{"fsync,fdatasync", "error=EIO", []string{"1", "2", "3", "5", "8", "9", "13", "20", "12+"}},
		{"pwrite64,write", "error=EIO", []string{"4", "9", "17", "18", "19", "40", "60+"}},
		{"pwrite64", "error=ENOSPC", []string{"9", "17", "18", "30+"}},
	} {
		for _, when := range c.when {
			t.Run(fmt.Sprintf("%s %s %s", c.calls, c.failure, when), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "data")
				cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-o", os.DevNull, "-e", "signal=none", "-e", "trace="+c.calls,
					"-P", filepath.Join(dir, "godwit.db"), "-P", filepath.Join(dir, "godwit.db-wal"),
					"-e", "inject="+c.calls+":"+c.failure+":when="+when, os.Args[0])
				cmd.Env = append(os.Environ(), "GODWIT_TEST_WRITER="+dir)
				out, err := cmd.CombinedOutput()
				if err != nil {
					if strings.Contains(string(out), "ptrace") {
						skip(t, "strace may not trace here")
					}
					t.Fatalf("%v\n%s", err, out)
				}
				acknowledged, refused := uint64(0), 0
				for line := range bytes.Lines(out) {
					var g uint64
					if n, _ := fmt.Sscanf(string(line), "stored %d", &g); n == 1 {
						acknowledged = g
					}
					if bytes.HasPrefix(line, []byte("refused")) {
						refused++
					}
				}
				t.Logf("acknowledged generation %d, refused %d", acknowledged, refused)
				s := open(t, dir)
				h, _, err := s.Host(t.Context(), nas)
				switch {
				case errors.Is(err, ddns.ErrNoHost) && acknowledged == 0:
				case err != nil:
					t.Fatalf("after generation %d: %v\n%s", acknowledged, err, out)
				case h.Generation < acknowledged || h.Generation > acknowledged+1:
					t.Errorf("acknowledged generation %d, the disk holds %d\n%s", acknowledged, h.Generation, out)
				}
				sound(t, s)
			})
		}
	}
}

// sound checks the whole store.
func sound(t *testing.T, s *sqlite.Store) {
	t.Helper()
	found, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("check: %s", f)
	}
}

// skip skips where that is allowed.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// TestKilled kills a writing process and looks for what it had acknowledged.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	last := uint64(0)
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "GODWIT_TEST_WRITER="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			_, _ = fmt.Sscanf(lines.Text(), "stored %d", &last)
			if n == 3+3*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		s, err := sqlite.Open(dir, sqlite.Config{})
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := s.Host(t.Context(), nas)
		if err != nil || h.Generation < last || h.Generation > last+1 {
			t.Fatalf("round %d: acknowledged generation %d; %+v, %v", round, last, h, err)
		}
		last = h.Generation
		sound(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

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
