//go:build linux

package e2e

import (
	"testing"
	"time"
)

// TestKill kills the daemon with signal 9 under a load of updates, over and
// over: nothing acknowledged is lost, nothing is half applied, the SOA serial
// never goes back. One kill in eight comes while it is still starting.
func TestKill(t *testing.T) {
	kills := 200
	switch {
	case long():
		kills = 10_000
	case testing.Short():
		kills = 20
	}
	r := newRig(t, launch{plain: true, args: openLimits}, testHosts("kill", 48), 16)
	var loaded time.Duration
	for n := range kills {
		if n%8 == 7 {
			r.daemon.kill()
			if err := r.daemon.start(); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Duration(r.random.IntN(60_000)) * time.Microsecond) // the moment is the point
		} else {
			began := time.Now()
			if err := r.load(1+r.random.IntN(150), func() error { r.daemon.kill(); return nil }); err != nil {
				t.Fatalf("kill %d: %v", n, err)
			}
			loaded += time.Since(began)
		}
		r.daemon.kill()
		r.mustStart(t)
		if err := r.look(n == kills-1); err != nil {
			t.Fatalf("after kill %d: %v", n, err)
		}
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
	rate := float64(r.ledger.acknowledged) / loaded.Seconds()
	t.Logf("%d kills, %d updates acknowledged, %.0f a second while they ran", kills, r.ledger.acknowledged, rate)
	if rate < 200 {
		t.Errorf("%.0f updates a second while they ran; the promise is about 200 or more", rate)
	}
	if len(r.ledger.refusals) > 0 {
		t.Errorf("updates were refused, by status: %v", r.ledger.refusals)
	}
}
