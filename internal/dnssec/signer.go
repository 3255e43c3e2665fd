package dnssec

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"sync"
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

	// Signatures in a transfer are of one round: all begin and end at the same
	// times. A new round moves the serial, so that secondaries get others. They are
	// valid for two weeks more, the SOA's expire timer unless a zone file has
	// another one: who cannot reach us stops answering before they end. A day is for
	// a round that begins late.
	renewal          = 3 * 24 * time.Hour
	transferValidity = renewal + 15*24*time.Hour
	// maxTransferred is how many of them are remembered, for all zones, at some 130
	// octets each. Then all are forgotten.
	maxTransferred = 400_000
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

	// transfers is held while a signature for a transfer is made: so all transfers
	// together take at most one processor.
	transfers   sync.Mutex
	transferred map[transferred][sigLen]byte // guarded by transfers
}

// transferred is the RRset, and what else a signature is made over, by its digest.
type transferred struct {
	key    *signingKey
	digest [sha256.Size]byte
}

// NewPool makes a Pool.
func NewPool() *Pool {
	return &Pool{
		seed: maphash.MakeSeed(), there: make([]cacheSet, cacheSets), madeUp: make([]cacheSet, madeUpSets),
		budgetThere: budget{cost: int64(time.Second / perSecond)}, budgetMadeUp: budget{cost: int64(time.Second / perSecondMadeUp)},
		budgetKnown: budget{cost: int64(time.Second / perSecondKnown)}, transferred: make(map[transferred][sigLen]byte),
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
	// zoneKeys signs everything; keys, of which it is one, sign the RRsets about keys
	// (RFC 7344 section 4.1 for CDS and CDNSKEY).
	zoneKeys [1]*signingKey
	keys     []*signingKey
	// began is the time from which signatures in transfers are valid.
	began time.Time
}

func (s *signer) keysFor(rrtype uint16) []*signingKey {
	switch rrtype {
	case typeKey, typeCDS, typeCDKey:
		return s.keys
	}
	return s.zoneKeys[:]
}

func (s *signer) Sign(dst []byte, set *zone.ToSign, now time.Time, known bool) ([]byte, bool) {
	for _, k := range s.keysFor(set.Type) {
		var ok bool
		if dst, ok = s.append(dst, k, set, now, known); !ok {
			return dst, false
		}
	}
	return dst, true
}

func (s *signer) SignTransfer(dst []byte, set *zone.ToSign) []byte {
	for _, k := range s.keysFor(set.Type) {
		dst = s.appendTransferred(dst, k, set)
	}
	return dst
}

// appendTransferred is append for transfers, which have a memory of their own: each
// asks for all of a zone, and an update has most of it as it was.
func (s *signer) appendTransferred(dst []byte, key *signingKey, set *zone.ToSign) []byte {
	p := s.pool
	data := s.header(key, set, s.began.Add(-backdated), s.began.Add(transferValidity))
	at := transferred{key, digestOf(data, set)}
	p.transfers.Lock()
	defer p.transfers.Unlock()
	made, ok := p.transferred[at]
	if !ok {
		if len(p.transferred) >= maxTransferred {
			p.transferred = make(map[transferred][sigLen]byte)
		}
		p.counts[0].made.Add(1)
		made = key.sign(at.digest)
		p.transferred[at] = made
	}
	return appendData(dst, append(data, made[:]...))
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

// sign makes the data of an RRSIG record (RFC 4034 section 3.1).
func (s *signer) sign(key *signingKey, set *zone.ToSign, inception, expiration time.Time) []byte {
	out := s.header(key, set, inception, expiration)
	made := key.sign(digestOf(out, set))
	out = append(out, made[:]...)
	return out[:len(out):len(out)]
}

// header makes the data of an RRSIG record without its signature.
func (s *signer) header(key *signingKey, set *zone.ToSign, inception, expiration time.Time) []byte {
	out := make([]byte, 0, maxDataRoom)
	out = binary.BigEndian.AppendUint16(out, set.Type)
	out = append(out, algorithm, labels(set.Owner))
	out = binary.BigEndian.AppendUint32(out, set.TTL)
	out = binary.BigEndian.AppendUint32(out, uint32(expiration.Unix())) // serial numbers: they may wrap
	out = binary.BigEndian.AppendUint32(out, uint32(inception.Unix()))
	out = binary.BigEndian.AppendUint16(out, key.tag)
	return append(out, s.apex...)
}

// digestOf is the hash of what is signed (RFC 4034 section 3.1.8.1).
func digestOf(header []byte, set *zone.ToSign) (out [sha256.Size]byte) {
	h := sha256.New()
	h.Write(header)
	h.Write(set.Canonical)
	h.Sum(out[:0])
	return out
}

// sign makes a signature in the form of RFC 6605 section 4.
func (k *signingKey) sign(digest [sha256.Size]byte) (out [sigLen]byte) {
	// The error is one of the random source, which has none.
	r, v, err := ecdsa.Sign(rand.Reader, k.private, digest[:])
	if err != nil {
		panic(err)
	}
	r.FillBytes(out[:sigLen/2])
	v.FillBytes(out[sigLen/2:])
	return out
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
