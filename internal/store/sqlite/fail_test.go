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
	"runtime"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/store/sqlite"
)

// writeUntilTold is another process's part: it makes 40 changes of one host, and
// says of each whether it was acknowledged.
func writeUntilTold(dir string) int {
	// The tracer counts the calls of each thread, and this one writes.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cfg := sqlite.Config{}
	if os.Getenv("GODWIT_TEST_SWEEP") != "" {
		cfg = cfg.PendingRoom(1) // each batch brings what was pending into its rows, too
	}
	s, err := sqlite.Open(dir, cfg)
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
		for i := range 2 * len(c.when) {
			when, sweep := c.when[i/2], []string{"", "sweep"}[i%2]
			t.Run(fmt.Sprintf("%s %s %s %s", c.calls, c.failure, when, sweep), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "data")
				cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-o", os.DevNull, "-e", "signal=none", "-e", "trace="+c.calls,
					"-P", dir, "-P", filepath.Join(dir, "godwit.db"), "-P", filepath.Join(dir, "godwit.db-wal"),
					"-P", filepath.Join(dir, "godwit.changes-0"), "-P", filepath.Join(dir, "godwit.changes-1"),
					"-e", "inject="+c.calls+":"+c.failure+":when="+when, os.Args[0])
				cmd.Env = append(os.Environ(), "GODWIT_TEST_WRITER="+dir, "GODWIT_TEST_SWEEP="+sweep)
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
		cmd.Env = append(os.Environ(), "GODWIT_TEST_WRITER="+dir, "GODWIT_TEST_SWEEP="+strings.Repeat("x", round%2))
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
