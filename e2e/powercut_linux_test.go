package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"godwit/internal/client"
)

// disk is a file system in a file, mounted through a loop device.
type disk struct {
	image, dir string
}

func newDisk(t *testing.T, mkfs ...string) *disk {
	t.Helper()
	base := t.TempDir()
	d := &disk{image: filepath.Join(base, "image"), dir: filepath.Join(base, "m")}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 320<<20); err != nil { // XFS makes nothing smaller
		t.Fatal(err)
	}
	if err := command(append(mkfs, d.image)...); err != nil {
		t.Fatal(err)
	}
	if err := d.mount(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

func command(words ...string) error {
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, out)
	}
	return nil
}

func (d *disk) mount() error { return command("mount", "-o", "loop", d.image, d.dir) }

// How a cut leaves the file system: what was not synced is gone in both.
const (
	logWritten = 1 // the journal was written out before
	logDropped = 2
)

// cut makes the file system drop what was not synced and fail all that comes later.
func (d *disk) cut(mode int) error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	const shutdown = 0x8004587d // XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN
	return unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, mode)
}

// powerOn is what comes after a cut: the process is gone, the disk comes back.
func (d *disk) powerOn() error {
	if err := unix.Unmount(d.dir, 0); err != nil {
		return fmt.Errorf("umount %s: %w", d.dir, err)
	}
	return d.mount()
}

// TestPowerCut cuts the power under the daemon's file system, as often under a
// load of updates as at its very first start, while a secret is rotated, and
// while hosts are imported. What was acknowledged is there afterwards.
func TestPowerCut(t *testing.T) {
	needRoot(t, "to mount a file system")
	needProgram(t, "mkfs.ext4")
	needProgram(t, "mkfs.xfs")
	if !isolated(t, "--mount", "--propagation", "private") {
		return
	}
	cuts := 20
	switch {
	case long():
		cuts = 10_000
	case testing.Short():
		cuts = 4
	}
	for _, fs := range []struct {
		name string
		mkfs []string
	}{
		{"ext4", []string{"mkfs.ext4", "-q"}},
		{"xfs", []string{"mkfs.xfs", "-q"}},
	} {
		t.Run(fs.name, func(t *testing.T) { powerCuts(t, newDisk(t, fs.mkfs...), cuts) })
	}
}

func powerCuts(t *testing.T, d *disk, cuts int) {
	// Its log is on another disk, which has power.
	p := &powerRig{t: t, disk: d, rig: newRig(t, launch{plain: true, data: filepath.Join(d.dir, "D"), args: openLimits}, testHosts("cut", 24), 8)}
	if err := p.prepareRotation(); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for n := range cuts {
		aim := []struct {
			name string
			do   func(n, mode int) error
		}{
			{"load", p.underLoad}, {"first start", p.firstStart}, {"load", p.underLoad},
			{"rotate", p.rotate}, {"load", p.underLoad}, {"import", p.importing},
		}[n%6]
		mode := logDropped
		if n/6%3 == 2 || n%4 == 3 {
			mode = logWritten
		}
		counts[aim.name]++
		if err := aim.do(n, mode); err != nil {
			t.Fatalf("cut %d, mode %d, aimed at %s: %v", n, mode, aim.name, err)
		}
		if err := p.rig.look(n == cuts-1); err != nil {
			t.Fatalf("after cut %d, mode %d, aimed at %s: %v", n, mode, aim.name, err)
		}
	}
	if err := p.rig.check(); err != nil {
		t.Error(err)
	}
	t.Logf("%d cuts, %d updates acknowledged, aims %v", cuts, p.rig.ledger.acknowledged, counts)
}

type powerRig struct {
	t    *testing.T
	disk *disk
	rig  *rig
	// token of the host that is rotated: the last that was shown, and its ID.
	token, id string
}

const rotated = "rotated." + zone

// cut is the power cut itself and the way back up.
func (p *powerRig) cut(mode int) error {
	if err := p.rig.ledger.noteCut(); err != nil {
		return err
	}
	err := p.disk.cut(mode)
	p.rig.daemon.kill()
	return err
}

func (p *powerRig) powerOn() error {
	if err := p.disk.powerOn(); err != nil {
		return err
	}
	if err := p.rig.daemon.start(); err != nil {
		return err
	}
	return p.rig.daemon.waitReady()
}

func (p *powerRig) underLoad(_, mode int) error {
	if err := p.rig.load(1+p.rig.random.IntN(120), func() error { return p.cut(mode) }); err != nil {
		return err
	}
	return p.powerOn()
}

// moment lets a random time pass: the cut comes wherever the program is then.
func (p *powerRig) moment(most time.Duration) {
	<-time.After(time.Duration(p.rig.random.Int64N(int64(most))))
}

// firstStart starts another daemon on an empty directory. Cut anywhere, the
// next start must work, and a host added after it stays.
func (p *powerRig) firstStart(n, mode int) error {
	fresh := launch{plain: true, data: filepath.Join(p.disk.dir, fmt.Sprintf("first%d", n))}.daemon(p.t)
	defer fresh.kill()
	if err := fresh.start(); err != nil {
		return err
	}
	p.moment(120 * time.Millisecond)
	err := p.cut(mode)
	fresh.kill()
	if err := errors.Join(err, p.powerOn()); err != nil {
		return err
	}
	for range 2 {
		if err := errors.Join(fresh.start(), fresh.waitReady()); err != nil {
			return fmt.Errorf("start after the cut: %w", err)
		}
		hosts, err := fresh.hosts(context.Background())
		if err != nil {
			return err
		}
		if len(hosts) == 0 {
			if err := fresh.addHosts(testHosts("new", 1)); err != nil {
				return err
			}
		} else if len(hosts) != 1 {
			return fmt.Errorf("%d hosts from nowhere", len(hosts))
		}
		fresh.kill()
	}
	return os.RemoveAll(fresh.data)
}

func (p *powerRig) prepareRotation() error {
	r := p.rig.daemon.godwit("host", "add", rotated, "--addresses", "any", "--json")
	return p.tokenOf(r)
}

// tokenOf takes the token that a command printed.
func (p *powerRig) tokenOf(r result) error {
	var out struct{ Token, Credential string }
	if r.code != 0 {
		return fmt.Errorf("exit %d: %s", r.code, r.stderr)
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		return err
	}
	p.token, p.id = out.Token, out.Credential
	return nil
}

// rotate cuts while a secret is being rotated. If the new token was shown before
// the cut it works; if not, the old one does, unless the rotation came through.
func (p *powerRig) rotate(_, mode int) error {
	done := make(chan result, 1)
	go func() { done <- p.rig.daemon.godwit("host", "rotate", rotated, "--json") }()
	p.moment(60 * time.Millisecond)
	var r result
	said := false
	select {
	case r = <-done:
		said = true
	default:
	}
	if err := p.cut(mode); err != nil {
		return err
	}
	if !said {
		r = <-done
	}
	old := *p
	if r.code == 0 {
		if err := p.tokenOf(r); err != nil {
			return err
		}
	}
	if err := p.powerOn(); err != nil {
		return err
	}
	c, err := p.rig.daemon.admin()
	if err != nil {
		return err
	}
	defer c.Close()
	tokens, err := c.Tokens(context.Background(), rotated)
	if err != nil {
		return err
	}
	if len(tokens.Credentials) != 1 {
		return fmt.Errorf("%s has %d credentials, not one", rotated, len(tokens.Credentials))
	}
	switch id := tokens.Credentials[0].ID; {
	case id == p.id:
	case said && r.code == 0:
		return fmt.Errorf("%s has credential %s; %s was acknowledged", rotated, id, p.id)
	case id == old.id:
		p.token, p.id = old.token, old.id
	case r.code == 0:
		return fmt.Errorf("%s has credential %s; it had %s, and %s came", rotated, id, old.id, p.id)
	default: // it came through, but its token was never shown
		return p.tokenOf(p.rig.daemon.godwit("host", "rotate", rotated, "--json"))
	}
	got, err := p.rig.daemon.updateFrom(sourceAddress(p.rig.random.IntN(1000)), rotated, p.token)
	if err == nil && got.status/100 != 2 {
		err = fmt.Errorf("the token that was acknowledged does not work: %d %s", got.status, got.body)
	}
	return err
}

// importing cuts while hosts are imported. If it was acknowledged before the cut all
// are there; without one some may be, but each whole: its address and its secret.
func (p *powerRig) importing(n, mode int) error {
	hosts := testHosts(fmt.Sprintf("import%d-", n), 400)
	c, err := p.rig.daemon.admin()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		got, err := c.Import(context.Background(), bytes.NewReader(importFile(hosts, sourceAddress)), client.ImportOptions{})
		if err == nil && got.Added != len(hosts) {
			err = fmt.Errorf("added %d of %d", got.Added, len(hosts))
		}
		done <- err
	}()
	p.moment(80 * time.Millisecond)
	acknowledged := false
	select {
	case err := <-done:
		if err != nil {
			return err
		}
		acknowledged = true
	default:
	}
	if err := p.cut(mode); err != nil {
		return err
	}
	if !acknowledged {
		<-done
	}
	c.Close()
	if err := p.powerOn(); err != nil {
		return err
	}
	all, err := p.rig.daemon.hosts(context.Background())
	if err != nil {
		return err
	}
	caller := newCaller(sourceAddress(0), p.rig.daemon.url())
	defer caller.close()
	for i, h := range hosts {
		state, there := all[h.Name]
		switch {
		case !there && acknowledged:
			return fmt.Errorf("the import was acknowledged, but %s is not there", h.Name)
		case !there:
			continue
		case joinAddrs(state.A) != sourceAddress(i):
			return fmt.Errorf("%s was imported by half: it has %s", h.Name, joinAddrs(state.A))
		case i%40 != 0:
			continue
		}
		if got, err := caller.update(h.Name, h.Secret); err != nil || got.status/100 != 2 {
			return fmt.Errorf("%s was imported by half: its secret gives %d %s (%v)", h.Name, got.status, got.body, err)
		}
	}
	return nil
}
