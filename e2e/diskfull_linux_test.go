package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDiskFull fills the disk while updates run. DNS goes on answering, updates
// are refused with the documented answer, and when there is room again they
// work, without a restart and with nothing acknowledged lost.
func TestDiskFull(t *testing.T) {
	needRoot(t, "to mount a small tmpfs")
	if !isolated(t, "--mount", "--propagation", "private") {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })

	hosts := testHosts("full", 16)
	spare := testHosts("spare", 1)[0] // its owner is this test, the ledger leaves it alone
	r := newRig(t, launch{data: filepath.Join(dir, "D"), args: openLimits}, hosts, 4)
	mustAddHosts(t, r.daemon, []testHost{spare})
	asked := askAll(t, r.daemon, hosts)
	rounds := 1
	if long() {
		rounds = 100
	}
	for range rounds {
		ballast := filepath.Join(dir, "ballast")
		err := r.load(50+r.random.IntN(200), func() error {
			if err := fill(ballast); err != nil {
				return err
			}
			return r.whileFull(spare)
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.ledger.refusals["503"] == 0 {
			t.Error("the load was never refused while the disk was full")
		}
		pid := r.daemon.pid()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if err := r.untilAccepted(spare); err != nil {
			t.Fatal(err)
		}
		if err := r.load(50, func() error { return nil }); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		if r.daemon.pid() != pid {
			t.Error("it was restarted")
		}
		if err := r.look(true); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	asked.stop(t)
	r.daemon.kill()
	r.mustStart(t)
	if err := errors.Join(r.look(true), r.check()); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
	if !strings.Contains(r.daemon.output(), "space") {
		t.Errorf("the log does not say that there is no space:\n%s", r.daemon.output())
	}
}

// fill takes all the room that the file system has, to the last octet.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 1<<16); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			return err
		}
	}
	return nil
}

// whileFull asks for what must hold while nothing can be written. What the WAL
// holds may still be reused for a while, so refusals are waited for.
func (r *rig) whileFull(spare testHost) error {
	refusedAs := answer{} // what an owner hears
	deadline := time.Now().Add(patience)
	for n := 1; refusedAs.status != http.StatusServiceUnavailable; n++ {
		got, err := r.daemon.updateFrom(fmt.Sprintf("127.0.9.%d", n%200+1), spare.Name, spare.Secret)
		if err != nil {
			return err
		}
		if refusedAs = got; time.Now().After(deadline) {
			return fmt.Errorf("updates are still answered %d %s on a full disk", got.status, got.body)
		}
	}
	if refusedAs.body != later {
		return fmt.Errorf("on a full disk an update is answered %q, not %q", refusedAs.body, later)
	}
	if refusedAs.header.Get("Retry-After") == "" {
		return errors.New("the refusal on a full disk has no Retry-After")
	}
	for _, path := range []string{"healthz", "readyz"} {
		if err := getOK(r.daemon.url() + path); err != nil {
			return err
		}
	}
	return nil
}

func getOK(url string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", url, res.StatusCode, body)
	}
	return err
}

// untilAccepted polls until an update is accepted again.
func (r *rig) untilAccepted(spare testHost) error {
	deadline := time.Now().Add(patience)
	for n := 1; ; n++ {
		got, err := r.daemon.updateFrom(fmt.Sprintf("127.0.8.%d", n%200+1), spare.Name, spare.Secret)
		if err != nil {
			return err
		}
		if got.status == http.StatusCreated {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("with room again updates are still answered %d %s", got.status, got.body)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// asking is a client that asks DNS without a pause.
type asking struct {
	ended   chan struct{}
	running sync.WaitGroup
	asked   atomic.Int64
	failed  atomic.Pointer[error]
}

// askAll asks for every host over and over: each question must be answered.
func askAll(t *testing.T, d *daemon, hosts []testHost) *asking {
	t.Helper()
	a := &asking{ended: make(chan struct{})}
	res, err := newResolver(d.ports.dns)
	if err != nil {
		t.Fatal(err)
	}
	a.running.Go(func() {
		defer res.close()
		for i := 0; ; i++ {
			select {
			case <-a.ended:
				return
			default:
			}
			if _, err := res.addresses(hosts[i%len(hosts)].Name); err != nil {
				a.failed.CompareAndSwap(nil, &err)
				return
			}
			a.asked.Add(1)
		}
	})
	t.Cleanup(a.end)
	return a
}

func (a *asking) end() {
	select {
	case <-a.ended:
	default:
		close(a.ended)
	}
	a.running.Wait()
}

func (a *asking) stop(t *testing.T) {
	t.Helper()
	a.end()
	if err := a.failed.Load(); err != nil {
		t.Errorf("after %d answers DNS gave none: %v", a.asked.Load(), *err)
	}
	t.Logf("%d questions, all answered", a.asked.Load())
}
