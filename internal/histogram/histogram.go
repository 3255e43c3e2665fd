// Package histogram counts how long things took. What is counted pays for a few
// additions, waits for nobody and allocates nothing; who reads adds up.
//
// There is one scale for everything, from 10 µs, which an answer takes, to 10 s,
// after which nobody waits for an update: 1, 2.5 and 5 of each power of ten.
package histogram

import (
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of the buckets, which include them. One more
// bucket has what took longer.
var bounds = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	1 * time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Histogram counts durations. The zero value has counted none. Safe for
// concurrent use; must not be copied.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts n things of which each took d. A negative d counts as none: a
// clock that was set back has measured nothing.
func (h *Histogram) Observe(d time.Duration, n uint64) {
	d = max(d, 0)
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(n)
	h.sum.Add(int64(d) * int64(n))
}

// Counts are what histograms have counted up to a moment.
type Counts struct {
	N       uint64
	Sum     time.Duration
	buckets [len(bounds)]uint64 // not cumulative; what is missing to N took longer
}

// AddTo adds what h has counted so far to c. Of what is counted meanwhile a part
// may be missing; no bucket ever has more than the ones above it.
func (h *Histogram) AddTo(c *Counts) {
	for i := range h.counts {
		n := h.counts[i].Load()
		c.N += n
		if i < len(bounds) {
			c.buckets[i] += n
		}
	}
	c.Sum += time.Duration(h.sum.Load())
}

// Cumulative says for each bound, in seconds, how many took no longer.
func (c *Counts) Cumulative() map[float64]uint64 {
	out := make(map[float64]uint64, len(bounds))
	sum := uint64(0)
	for i, bound := range bounds {
		sum += c.buckets[i]
		out[bound.Seconds()] = sum
	}
	return out
}
