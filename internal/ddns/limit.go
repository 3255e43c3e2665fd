package ddns

import (
	"net/netip"
	"sync"
	"time"

	"godwit/internal/dnsname"
)

// Rate is a limit of so many an hour with a burst, by the generic cell rate
// algorithm: all that a limited thing has to remember is one time. PerHour 0 is
// no limit.
type Rate struct {
	PerHour float64
	Burst   int
}

// take uses up one cell. busy is the time until which the allowance is used up;
// take returns its new value, or the time to wait, and then nothing is used.
func (r Rate) take(busy, now time.Time) (time.Time, time.Duration) {
	if r.PerHour <= 0 {
		return busy, 0
	}
	cell := time.Duration(float64(time.Hour) / r.PerHour)
	slack := cell * time.Duration(max(r.Burst, 1)-1)
	// No use of the allowance leads further ahead than this: the clock was set
	// back, or the limit was another one, and neither may lock anyone out. One
	// more cell is room for the clocks of two machines.
	if busy.After(now.Add(slack + 2*cell)) {
		busy = now.Add(slack)
	}
	if busy.Before(now) {
		busy = now
	}
	if wait := busy.Add(-slack).Sub(now); wait > 0 {
		return busy, wait
	}
	return busy.Add(cell), 0
}

// Limits are how much one host or source may ask for. The zero value is no
// limit at all; DefaultLimits are docs/protocols.md's.
type Limits struct {
	Changes  Rate // accepted changes per host
	Requests Rate // requests per source, /32 or /64
	Failures Rate // failed proofs per source and host
	Prefix   Rate // failed proofs per /24 or /48
}

// DefaultLimits suit an installation on the open internet.
func DefaultLimits() Limits {
	return Limits{
		Changes:  Rate{30, 10},
		Requests: Rate{20 * 3600, 100},
		Failures: Rate{10 * 60, 20},
		Prefix:   Rate{60 * 60, 120},
	}
}

// buckets remembers a Rate for many keys, in bounded memory. The monotonic
// clock measures: times come from time.Now.
type buckets[K comparable] struct {
	rate Rate
	mu   sync.Mutex // guards busy
	busy map[K]time.Time
}

// maxBuckets bounds each kind's memory. When it is full of keys that are still
// busy, one of them is forgotten: a flood from everywhere is not what limits
// per source are for.
const maxBuckets = 1 << 16

func newBuckets[K comparable](r Rate) *buckets[K] {
	return &buckets[K]{rate: r, busy: make(map[K]time.Time)}
}

// take uses up one of the key's cells, or says how long to wait.
func (b *buckets[K]) take(key K, now time.Time) time.Duration {
	if b.rate.PerHour <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	busy, wait := b.rate.take(b.busy[key], now)
	if wait > 0 {
		return wait
	}
	if len(b.busy) >= maxBuckets {
		b.makeRoomLocked(now)
	}
	b.busy[key] = busy
	return 0
}

// makeRoomLocked forgets idle keys among some that map order picks, and one at
// least.
func (b *buckets[K]) makeRoomLocked(now time.Time) {
	looked, gone := 0, 0
	for k, busy := range b.busy {
		if looked++; busy.Before(now) || looked == 64 && gone == 0 {
			delete(b.busy, k)
			gone++
		}
		if looked >= 64 {
			return
		}
	}
}

type sourceHost struct {
	source netip.Prefix
	host   dnsname.Name
}

// limiter is the memory of all limits that are not kept in the store.
type limiter struct {
	requests *buckets[netip.Prefix]
	failures *buckets[sourceHost]
	prefix   *buckets[netip.Prefix]
}

func newLimiter(l Limits) *limiter {
	return &limiter{
		requests: newBuckets[netip.Prefix](l.Requests),
		failures: newBuckets[sourceHost](l.Failures),
		prefix:   newBuckets[netip.Prefix](l.Prefix),
	}
}

// network is the block that counts as one source: v4 bits for IPv4, v6 for IPv6.
func network(a netip.Addr, v4, v6 int) netip.Prefix {
	bits := v6
	if a.Is4() {
		bits = v4
	}
	p, _ := a.Prefix(bits)
	return p
}

func (l *limiter) request(src Source, now time.Time) time.Duration {
	return l.requests.take(network(src.Addr, 32, 64), now)
}

// failed counts a proof that did not hold. There is no bucket per host alone: a
// stranger could use it to lock the owner out.
func (l *limiter) failed(src Source, host dnsname.Name, now time.Time) time.Duration {
	wait := l.failures.take(sourceHost{network(src.Addr, 32, 64), host}, now)
	return max(wait, l.prefix.take(network(src.Addr, 24, 48), now))
}
