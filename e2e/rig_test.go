//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/api"
)

// rig is a daemon under the eyes of a ledger.
type rig struct {
	daemon *daemon
	ledger *ledger
	random *rand.Rand
	serial uint32 // the last that DNS showed
	looks  int
}

// openLimits switch off what would slow a load down.
var openLimits = []string{"--changes-per-hour", "0", "--requests-per-second", "0", "--responses-per-second", "0"}

// seed of everything that is left to chance. Change it to see other schedules.
const seed = 20260501

func newRandom(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// newRig starts nothing yet; the hosts are added by prepare.
func newRig(t *testing.T, l launch, hosts []testHost, workers int) *rig {
	t.Helper()
	r := &rig{daemon: l.daemon(t), random: newRandom(1)}
	t.Cleanup(func() {
		r.daemon.kill()
		if t.Failed() {
			t.Logf("the daemon complained:\n%s", complaints(r.daemon.output()))
			t.Logf("the daemon said last:\n%s", tail(r.daemon.output(), 20))
		}
	})
	r.mustStart(t)
	mustAddHosts(t, r.daemon, hosts)
	r.ledger = startLedger(t, r.daemon, hosts, workers)
	if err := r.look(false); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) mustStart(t *testing.T) {
	t.Helper()
	if err := r.daemon.start(); err != nil {
		t.Fatal(err)
	}
	if err := r.daemon.waitReady(); err != nil {
		t.Fatal(err)
	}
}

// load runs the ledger until so many updates are acknowledged, then calls
// strike, which ends the server or its disk, and pauses the ledger.
func (r *rig) load(acknowledgements int, strike func() error) error {
	if err := r.ledger.run(acknowledgements); err != nil {
		return err
	}
	select {
	case line := <-r.ledger.lines:
		if line != "reached" {
			return fmt.Errorf("the ledger said %q", line)
		}
	case <-time.After(patience):
		return fmt.Errorf("%d updates were not acknowledged within %s", acknowledgements, patience)
	}
	res, err := newResolver(r.daemon.ports.dns)
	if err != nil {
		return err
	}
	defer res.close()
	if err := r.seeSerial(res); err != nil {
		return err
	}
	err = strike()
	_, pauseErr := r.ledger.pause()
	return errors.Join(err, pauseErr)
}

// seeSerial asks for the SOA and refuses a serial that went back.
func (r *rig) seeSerial(res *resolver) error {
	now, err := res.serial(zone)
	if err != nil {
		return err
	}
	if r.looks > 0 && serialBack(r.serial, now) {
		return fmt.Errorf("the SOA serial went back from %d to %d", r.serial, now)
	}
	r.serial = now
	return nil
}

// look compares the ledger with what the restarted server says, host by host:
// in the admin API, in DNS, and, if whole is set, in the history.
func (r *rig) look(whole bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hosts, err := r.daemon.hosts(ctx)
	if err != nil {
		return err
	}
	res, err := newResolver(r.daemon.ports.dns)
	if err != nil {
		return err
	}
	defer res.close()
	if err := r.seeSerial(res); err != nil {
		return err
	}
	r.looks++
	names := make([]string, 0, len(r.ledger.hosts))
	for name, o := range r.ledger.hosts {
		names = append(names, name)
		h, ok := hosts[name]
		if !ok {
			return fmt.Errorf("%s is gone", name)
		}
		if h.Published != h.Generation {
			return fmt.Errorf("%s is at generation %d, published is %d", name, h.Generation, h.Published)
		}
		if err := o.settle(joinAddrs(h.A), h.Generation); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		shown, err := res.addresses(name)
		if err != nil {
			return err
		}
		if shown != o.acknowledged {
			return fmt.Errorf("%s: the store has %q, DNS shows %q", name, o.acknowledged, shown)
		}
	}
	slices.Sort(names)
	if !whole { // two of them, another pair each time
		names = []string{names[r.random.IntN(len(names))], names[r.random.IntN(len(names))]}
	}
	for _, name := range names {
		if err := r.lookAtHistory(ctx, hosts[name]); err != nil {
			return err
		}
	}
	return nil
}

// lookAtHistory holds a host's newest events to its state: the event was written
// with the change or not at all, and each begins where the one before ended.
func (r *rig) lookAtHistory(ctx context.Context, h api.HostState) error {
	c, err := r.daemon.admin()
	if err != nil {
		return err
	}
	defer c.Close()
	history, err := c.History(ctx, h.Host)
	if err != nil {
		return err
	}
	if len(history.Events) == 0 {
		return fmt.Errorf("%s has no history", h.Host)
	}
	newest := history.Events[0]
	if newest.Generation != h.Generation || joinAddrs(newest.After) != joinAddrs(h.A) {
		return fmt.Errorf("%s is %s at generation %d, its newest event says %s at %d",
			h.Host, joinAddrs(h.A), h.Generation, joinAddrs(newest.After), newest.Generation)
	}
	for i, older := range history.Events[1:] {
		newer := history.Events[i]
		if newer.Generation != older.Generation+1 || joinAddrs(newer.Before) != joinAddrs(older.After) {
			return fmt.Errorf("%s: event %d (%s before) follows event %d (%s after)",
				h.Host, newer.Generation, joinAddrs(newer.Before), older.Generation, joinAddrs(older.After))
		}
	}
	return nil
}

// check runs the program's own check of the store.
func (r *rig) check() error {
	c, err := r.daemon.admin()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := c.Check(ctx)
	if err == nil && !got.OK {
		err = fmt.Errorf("godwit check: %s", strings.Join(got.Problems, "; "))
	}
	return err
}

func joinAddrs(list []netip.Addr) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// complaints are the first warnings and errors of a log.
func complaints(log string) string {
	var out []string
	for line := range strings.Lines(log) {
		if len(out) < 20 && (strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR")) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "\n")
}
