package dnssec

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

const (
	// A signature is valid from a while before it was made, for clients whose
	// clocks are late, and for two weeks, up to validityJitter less, so that not
	// all end together. It is made again when less than leastValidity is left:
	// more than what any TTL should be.
	backdated      = 3 * time.Hour
	validity       = 14 * 24 * time.Hour
	validityJitter = 4 * 24 * time.Hour
	leastValidity  = 7 * 24 * time.Hour
)

// Signatures that may be made in a second. One takes some 30 µs of a processor.
const (
	// perSecond is for what is in a zone, which has an end: after a start, or a
	// change of keys, all of it is signed anew as it is asked for.
	perSecond = 20_000
	// perSecondMadeUp is for names that somebody thought of, who may be a forger,
	// perSecondKnown for such names of clients whose address is their own.
	perSecondMadeUp = 500
	perSecondKnown  = 1_000
)

const (
	cacheWays   = 4
	cacheSets   = 1 << 14 // 65,536 signatures of what is in the zones, 20 MiB at most
	madeUpSets  = 1 << 10 // 4,096 of what is not
	maxDataRoom = 18 + dnsname.MaxWire + sigLen
)

// A Pool remembers signatures, and bounds how many are made in a second, for all
// zones of a server.
type Pool struct {
	seed          maphash.Seed
	there, madeUp []cacheSet
	budgetThere   budget
	budgetMadeUp  budget
	budgetKnown   budget
	// Signatures that were made, and that were refused because a budget was spent:
	// of what is in the zones, and of made-up names.
	counts [2]struct{ made, refused atomic.Uint64 }
}

// NewPool makes a Pool.
func NewPool() *Pool {
	return &Pool{
		seed: maphash.MakeSeed(), there: make([]cacheSet, cacheSets), madeUp: make([]cacheSet, madeUpSets),
		budgetThere: budget{cost: int64(time.Second / perSecond)}, budgetMadeUp: budget{cost: int64(time.Second / perSecondMadeUp)},
		budgetKnown: budget{cost: int64(time.Second / perSecondKnown)},
	}
}

// Counts are how many signatures were asked for that were not remembered.
type Counts struct{ There, MadeUp Signatures }

// Signatures are those of what is in the zones, or of names that somebody made up.
type Signatures struct {
	Made    uint64
	Refused uint64 // not made, because too many were in that second
}

// Counts may be called at any time.
func (p *Pool) Counts() Counts {
	of := func(i int) Signatures { return Signatures{p.counts[i].made.Load(), p.counts[i].refused.Load()} }
	return Counts{of(0), of(1)}
}

// A cacheSet is where the signatures of RRsets with one hash stand. A reader waits
// for nobody: it loads pointers to what does not change.
type cacheSet [cacheWays]atomic.Pointer[signature]

type signature struct {
	key   *signingKey
	set   string // the RRset's canonical form
	from  int64  // Unix time at which it begins to be valid: later, if the clock was set back
	until int64  // Unix time at which it is to be made again
	data  []byte // of the RRSIG record
}

// budget counts what may be done in a second, with a second's worth of credit.
type budget struct {
	cost int64        // nanoseconds of credit that one takes
	due  atomic.Int64 // Unix time in nanoseconds until which credit is spent
}

func (b *budget) take(now time.Time) bool {
	at := now.UnixNano()
	for {
		old := b.due.Load()
		spent := old
		if spent > at+int64(time.Second) {
			spent = at - b.cost // the clock was set back
		}
		due := max(spent, at-int64(time.Second)) + b.cost
		if due > at {
			return false
		}
		if b.due.CompareAndSwap(old, due) {
			return true
		}
	}
}

// signingKey is a key in use.
type signingKey struct {
	private *ecdsa.PrivateKey
	public  []byte // DNSKEY data
	tag     uint16
}

// signer signs one zone's RRsets. It is a [zone.Signer].
type signer struct {
	pool *Pool
	apex []byte
	// zone signs everything; keys, of which it is one, sign the RRsets about keys
	// (RFC 7344 section 4.1 for CDS and CDNSKEY).
	zone *signingKey
	keys []*signingKey
}

func (s *signer) Sign(dst []byte, set *zone.ToSign, now time.Time, known bool) ([]byte, bool) {
	switch set.Type {
	case typeKey, typeCDS, typeCDKey:
		for _, k := range s.keys {
			var ok bool
			if dst, ok = s.append(dst, k, set, now, known); !ok {
				return dst, false
			}
		}
		return dst, true
	}
	return s.append(dst, s.zone, set, now, known)
}

// append appends the signature that is remembered, or a new one.
func (s *signer) append(dst []byte, key *signingKey, set *zone.ToSign, now time.Time, known bool) ([]byte, bool) {
	sets, budget, counts := s.pool.there, &s.pool.budgetThere, &s.pool.counts[0]
	if set.MadeUp {
		sets, budget, counts = s.pool.madeUp, &s.pool.budgetMadeUp, &s.pool.counts[1]
		if known {
			budget = &s.pool.budgetKnown
		}
	}
	hash := maphash.Bytes(s.pool.seed, set.Canonical)
	ways := &sets[hash%uint64(len(sets))]
	oldest := &ways[0]
	var least int64
	for i := range ways {
		sig := ways[i].Load()
		switch {
		case sig == nil:
			oldest, least = &ways[i], -1
			continue
		case sig.key == key && sig.set == string(set.Canonical):
			if at := now.Unix(); sig.from < at && at < sig.until {
				return appendData(dst, sig.data), true
			}
			oldest, least = &ways[i], -1
			continue
		}
		if least == 0 || sig.until < least {
			oldest, least = &ways[i], sig.until
		}
	}
	if !budget.take(now) {
		counts.refused.Add(1)
		return dst, false
	}
	counts.made.Add(1)
	inception, expiration := now.Add(-backdated), now.Add(validity-time.Duration(hash>>1)%validityJitter)
	sig := &signature{
		key: key, set: string(set.Canonical), from: inception.Unix(), until: expiration.Add(-leastValidity).Unix(),
		data: s.sign(key, set, inception, expiration),
	}
	oldest.Store(sig)
	return appendData(dst, sig.data), true
}

func appendData(dst, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(data))), data...)
}

// sign makes the data of an RRSIG record (RFC 4034 section 3.1; RFC 6605 section 4).
func (s *signer) sign(key *signingKey, set *zone.ToSign, inception, expiration time.Time) []byte {
	out := make([]byte, 0, maxDataRoom)
	out = binary.BigEndian.AppendUint16(out, set.Type)
	out = append(out, algorithm, labels(set.Owner))
	out = binary.BigEndian.AppendUint32(out, set.TTL)
	out = binary.BigEndian.AppendUint32(out, uint32(expiration.Unix())) // serial numbers: they may wrap
	out = binary.BigEndian.AppendUint32(out, uint32(inception.Unix()))
	out = binary.BigEndian.AppendUint16(out, key.tag)
	out = append(out, s.apex...)
	h := sha256.New()
	h.Write(out)
	h.Write(set.Canonical)
	// The error is one of the random source, which has none.
	r, v, err := ecdsa.Sign(rand.Reader, key.private, h.Sum(nil))
	if err != nil {
		panic(err)
	}
	n := len(out)
	out = out[:n+sigLen]
	r.FillBytes(out[n : n+sigLen/2])
	v.FillBytes(out[n+sigLen/2:])
	return out[:len(out):len(out)]
}

// labels counts those of a name, without the root and the asterisk of a wildcard.
func labels(name []byte) (n byte) {
	if name[0] == 1 && name[1] == '*' {
		name = name[2:]
	}
	for ; name[0] != 0; name = name[1+int(name[0]):] {
		n++
	}
	return n
}
