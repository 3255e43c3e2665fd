package ddns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/internal/dnsname"
)

func TestRateTake(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rate := Rate{PerHour: 30, Burst: 10} // a cell is 2 minutes, a full burst 20
	for _, tt := range []struct {
		name     string
		rate     Rate
		busy     time.Time
		wantBusy time.Time
		wait     time.Duration
	}{
		{"no limit", Rate{}, now.Add(time.Hour), now.Add(time.Hour), 0},
		{"never used", rate, time.Time{}, now.Add(2 * time.Minute), 0},
		{"used long ago", rate, now.Add(-time.Hour), now.Add(2 * time.Minute), 0},
		{"half used", rate, now.Add(10 * time.Minute), now.Add(12 * time.Minute), 0},
		{"one left", rate, now.Add(18 * time.Minute), now.Add(20 * time.Minute), 0},
		{"a moment too early", rate, now.Add(18*time.Minute + 1), now.Add(18*time.Minute + 1), 1},
		{"used up", rate, now.Add(20 * time.Minute), now.Add(20 * time.Minute), 2 * time.Minute},
		{"another machine's clock is ahead", rate, now.Add(21 * time.Minute), now.Add(21 * time.Minute), 3 * time.Minute},
		{"the clock was set back", rate, now.Add(23 * time.Minute), now.Add(20 * time.Minute), 0},
		{"by years", rate, now.AddDate(12, 0, 0), now.Add(20 * time.Minute), 0},
		{"no burst", Rate{PerHour: 60}, now.Add(time.Minute), now.Add(time.Minute), time.Minute},
		{"burst of one", Rate{PerHour: 60, Burst: 1}, now, now.Add(time.Minute), 0},
		{"negative", Rate{PerHour: -1}, now, now, 0},
	} {
		busy, wait := tt.rate.take(tt.busy, now)
		if !busy.Equal(tt.wantBusy) || wait != tt.wait {
			t.Errorf("%s: busy until %s, wait %s; want %s, %s", tt.name, busy, wait, tt.wantBusy, tt.wait)
		}
	}
}

// TestRateNeverExceeded: whatever the tries, no window has more than the burst
// and what the window's length allows; and who waits as told is let in.
func TestRateNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate{PerHour: float64(rapid.IntRange(1, 3600).Draw(t, "rate")), Burst: rapid.IntRange(0, 20).Draw(t, "burst")}
		start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		now, busy := start, time.Time{}
		var taken []time.Time
		for range 100 {
			now = now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "seconds")) * time.Second)
			next, wait := rate.take(busy, now)
			if wait > 0 {
				if _, again := rate.take(next, now.Add(wait)); again != 0 {
					t.Fatalf("after %s still %s to wait", wait, again)
				}
				continue
			}
			busy = next
			taken = append(taken, now)
		}
		for i, from := range taken {
			allowed := float64(max(rate.Burst, 1)) + taken[len(taken)-1].Sub(from).Hours()*rate.PerHour + 1e-6
			if n := len(taken) - i; float64(n) > allowed {
				t.Fatalf("%d in %s, want at most %f", n, taken[len(taken)-1].Sub(from), allowed)
			}
		}
	})
}

// TestBucketsAreBounded, however many keys there are, and a key that is in use
// among idle ones is not forgotten.
func TestBucketsAreBounded(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b := newBuckets[int](Rate{PerHour: 60, Burst: 1})
	for i := range maxBuckets + 10000 {
		if b.take(i, now) != 0 {
			t.Fatal("a new key has to wait")
		}
	}
	if len(b.busy) > maxBuckets {
		t.Errorf("%d keys", len(b.busy))
	}
	later := now.Add(time.Hour)
	if b.take(-1, later) != 0 || b.take(-1, later) == 0 {
		t.Error("a key is not counted")
	}
	if len(b.busy) > maxBuckets-60 {
		t.Errorf("idle keys are not forgotten: %d", len(b.busy))
	}
	for i := range 1000 {
		b.take(-2-i, later)
	}
	if b.take(-1, later) == 0 {
		t.Error("a busy key was forgotten among idle ones")
	}
	r := newRefusals()
	for i := range maxBuckets + 1000 {
		if n := r.count(dnsname.MustParse(fmt.Sprintf("h%d.example.org", i)), now); n != 1 {
			t.Fatalf("the first refusal of a host counts %d", n)
		}
	}
	if len(r.hosts) > maxBuckets {
		t.Errorf("refusals of %d hosts are remembered", len(r.hosts))
	}
}

func TestNetwork(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.77": "192.0.2.77/32", "2001:db8:0:1:2:3:4:5": "2001:db8:0:1::/64"} {
		if got := network(netip.MustParseAddr(text), 32, 64); got != netip.MustParsePrefix(want) {
			t.Errorf("%s counts as %s", text, got)
		}
	}
	if network(netip.Addr{}, 32, 64).IsValid() {
		t.Error("no address is in a network")
	}
}
