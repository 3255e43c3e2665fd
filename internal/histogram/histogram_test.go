package histogram_test

import (
	"sync"
	"testing"
	"time"

	"godwit/internal/histogram"
)

func TestCounts(t *testing.T) {
	var fast, slow histogram.Histogram
	fast.Observe(10*time.Microsecond, 3) // a bound belongs to its bucket
	fast.Observe(10*time.Microsecond+1, 1)
	fast.Observe(-time.Second, 1)
	slow.Observe(time.Minute, 2)
	var sum histogram.Counts
	fast.AddTo(&sum)
	slow.AddTo(&sum)
	if want := 2*time.Minute + 40*time.Microsecond + 1; sum.N != 7 || sum.Sum != want {
		t.Errorf("%d in %v, want 7 in %v", sum.N, sum.Sum, want)
	}
	got := sum.Cumulative()
	for bound, want := range map[float64]uint64{1e-05: 4, 2.5e-05: 5, 0.0001: 5, 10: 5} {
		if n, ok := got[bound]; !ok || n != want {
			t.Errorf("up to %v s: %d, %v; want %d", bound, n, ok, want)
		}
	}
}

// TestConcurrent: nothing is lost, and nothing that is read contradicts itself.
func TestConcurrent(t *testing.T) {
	var h histogram.Histogram
	const writers, each = 4, 1000
	var done sync.WaitGroup
	for range writers {
		done.Go(func() {
			for i := range each {
				h.Observe(time.Duration(i)*time.Microsecond, 2)
			}
		})
	}
	for range 100 {
		var c histogram.Counts
		h.AddTo(&c)
		if all := c.Cumulative()[10]; all != c.N {
			t.Fatalf("%d of %d took at most 10 s", all, c.N)
		}
	}
	done.Wait()
	var c histogram.Counts
	if h.AddTo(&c); c.N != 2*writers*each {
		t.Errorf("%d of %d", c.N, 2*writers*each)
	}
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond, 64) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
