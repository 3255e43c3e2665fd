package dnsserver

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// limitPrefix4 and limitPrefix6 are what counts as one client in octets: a
	// forger who aims at a network takes any address of it.
	limitPrefix4 = 24 / 8
	limitPrefix6 = 56 / 8

	// limitWindow is for how long a flood is remembered: accounts go no deeper
	// into debt than this many seconds' worth of responses, nor higher into
	// credit than one second's.
	limitWindow = 15 * time.Second
	limitCredit = time.Second

	// The table has 131,072 accounts in 1 MiB. An account stands somewhere in its
	// set, which is one line of the processor's cache.
	limitSets = 1 << 14
	limitWays = 8
)

// decision is what is to become of a response.
type decision uint8

const (
	sendIt     decision = iota
	slipIt              // every second of those that are over the limit: no forger can come by TCP or with a cookie
	withholdIt          // the others
)

// A limiter limits how often one response goes by UDP to one network, so that
// queries with forged addresses make this server a nuisance to nobody (response
// rate limiting, as BIND, NSD and Knot have it). An account belongs to a network,
// a kind of response and the name that it is about. It is credited with so many
// responses in a second and debited with each query, answered or not, so that a
// flood gets nothing but slips until it ends. All sockets share one limiter; it
// allocates nothing and waits for nobody.
type limiter struct {
	seed  maphash.Seed
	began time.Time
	cost  uint64 // of one response, in microseconds of credit
	sets  [limitSets][limitWays]atomic.Uint64
}

// An account is a word: a tag, which tells it from others of its set, a bit for
// whose turn it is when responses are withheld, and the time in microseconds
// since the limiter began at which it will have full credit again. The time
// wraps after 12 days: who was not seen for as long has full credit.
const (
	accountTimeBits = 40
	accountTimeMask = 1<<accountTimeBits - 1
	accountSlip     = 1 << accountTimeBits
	accountTagMask  = ^uint64(accountSlip | accountTimeMask)
)

// newLimiter makes a limiter of so many responses in a second, 1 to 1,000,000.
func newLimiter(perSecond int, now time.Time) *limiter {
	return &limiter{seed: maphash.MakeSeed(), began: now, cost: uint64(time.Second/time.Microsecond) / uint64(perSecond)}
}

// take debits the account of a client, a kind of response and a name with one
// response at time now.
func (l *limiter) take(client netip.Addr, kind byte, name []byte, now time.Time) decision {
	var key [8 + 1 + limitPrefix6]byte
	binary.LittleEndian.PutUint64(key[:], maphash.Bytes(l.seed, name))
	key[8] = kind
	if client.Is4() {
		a := client.As4()
		copy(key[9:], a[:limitPrefix4])
	} else {
		a := client.As16()
		copy(key[9:], a[:limitPrefix6])
	}
	hash := maphash.Bytes(l.seed, key[:])
	set := &l.sets[hash%limitSets]
	tag := hash & accountTagMask
	clock := uint64(now.Sub(l.began)/time.Microsecond) & accountTimeMask
	for {
		account, old := l.find(set, tag, clock)
		debt := uint64(0)
		if old&accountTagMask == tag {
			debt = owed(old, clock)
		}
		decided, turn := sendIt, old&accountSlip
		if debt+l.cost > uint64(limitCredit/time.Microsecond) {
			decided = withholdIt
			if turn != 0 {
				decided = slipIt
			}
			turn ^= accountSlip
		}
		debt = min(debt+l.cost, uint64((limitCredit+limitWindow)/time.Microsecond))
		if account.CompareAndSwap(old, tag|turn|(clock+debt)&accountTimeMask) {
			return decided
		}
	}
}

// find returns the account with a tag, or the one that owes least, to be taken
// over: so a flood from everywhere does not make a debtor be forgotten.
func (l *limiter) find(set *[limitWays]atomic.Uint64, tag, clock uint64) (account *atomic.Uint64, old uint64) {
	least := ^uint64(0)
	for i := range set {
		word := set[i].Load()
		if word&accountTagMask == tag {
			return &set[i], word
		}
		if debt := owed(word, clock); debt < least {
			account, old, least = &set[i], word, debt
		}
	}
	return account, old
}

// owed is how far the time of an account lies ahead, in microseconds. What seems
// to be further ahead than any debt lies behind: the account has full credit.
func owed(account, clock uint64) uint64 {
	debt := (account - clock) & accountTimeMask
	if debt > uint64((limitCredit+limitWindow+time.Second)/time.Microsecond) {
		return 0
	}
	return debt
}
