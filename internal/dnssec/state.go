package dnssec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// A state is the keys of one zone and how far a change of keys has come.
//
// One key signs the zone. Another one takes its place so: it is published, and
// signs the RRsets about keys too; when no resolver can hold these without it, the
// parent is asked to have its DS record in place of the other's; when no resolver
// can hold the other's, it signs the zone; when no resolver can hold a signature of
// the other key, that goes (RFC 6781 section 4.1.3). At any time the parent needs
// one DS record, and it may take as long as it likes.
type state struct {
	Keys []key `json:"keys"` // in the order in which they were made; at most two
	// Leaving is when the operator asked for the end of signing, Roll when for
	// another key; zero: not.
	Leaving time.Time `json:"leaving,omitzero"`
	Roll    time.Time `json:"roll,omitzero"`
	// Bare is since when the parent is known to have no DS record; zero: it has
	// one, or nobody knows.
	Bare time.Time `json:"bare,omitzero"`
	// DSTTL is how long resolvers hold what the parent says of DS records, in
	// seconds, as was seen last.
	DSTTL uint32 `json:"ds_ttl,omitempty"`
}

type key struct {
	Private []byte `json:"private"` // the scalar, 32 octets
	// Made is when it was published first, Offered when the parent was asked for
	// its DS record, Active when it began to sign the zone, Retired when another
	// key did; zero: not yet.
	Made    time.Time `json:"made"`
	Offered time.Time `json:"offered,omitzero"`
	Active  time.Time `json:"active,omitzero"`
	Retired time.Time `json:"retired,omitzero"`
	// Parent is since when the parent is known to have its DS record; zero: it has
	// not, or nobody knows.
	Parent time.Time `json:"parent,omitzero"`
}

// timing is what a change of keys waits for.
type timing struct {
	lifetime time.Duration // of a key; 0: until the operator asks for another one
	zone     time.Duration // the longest TTL in the zone
}

const (
	// keyTTL is the TTL of the RRsets about keys, in seconds.
	keyTTL = 3600
	// margin is for secondaries that are behind.
	margin = time.Hour
	// defaultDSTTL is that of most parents, in seconds, or more.
	defaultDSTTL = 86400
)

// Parent is what the name servers of the parent zone say of a zone.
type Parent struct {
	DS  []string // data of the records as in a zone file
	TTL uint32   // seconds, of the DS RRset; without one, how long resolvers hold that there is none
}

func newKey(now time.Time) (key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return key{}, err
	}
	scalar, err := private.Bytes()
	return key{Private: scalar, Made: now}, err
}

// use makes of a stored key one to sign with.
func (k *key) use() (*signingKey, error) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.Private)
	if err != nil {
		return nil, err
	}
	public, err := publicData(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	return &signingKey{private, public, tag(public)}, nil
}

func newState(now time.Time) (state, error) {
	k, err := newKey(now)
	k.Active = now
	return state{Keys: []key{k}, DSTTL: defaultDSTTL}, err
}

// maxState bounds what decode reads, in octets.
const maxState = 16 << 10

// decode reads a state in JSON, and holds it to what the rest relies on.
func decode(text []byte) (s state, err error) {
	bad := func(why any) (state, error) { return state{}, fmt.Errorf("its keys are damaged: %v", why) }
	if len(text) > maxState {
		return bad("they are too long")
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return bad(err)
	}
	if n := len(s.Keys); n < 1 || n > 2 {
		return bad(fmt.Sprintf("there are %d", n))
	}
	signing := 0
	for i := range s.Keys {
		if _, err := s.Keys[i].use(); err != nil {
			return bad(err)
		}
		switch active, retired := !s.Keys[i].Active.IsZero(), !s.Keys[i].Retired.IsZero(); {
		case active && !retired:
			signing++
		case !active && retired:
			return bad("one has retired that never signed")
		}
	}
	if signing != 1 {
		return bad(fmt.Sprintf("%d of them sign", signing))
	}
	return s, nil
}

// clone makes a copy to change.
func (s state) clone() state {
	s.Keys = slices.Clone(s.Keys)
	return s
}

// roles are the key that signs the zone, the one that is to follow it and the one
// before it; nil: there is none.
func (s *state) roles() (signing, next, old *key) {
	for i := range s.Keys {
		switch k := &s.Keys[i]; {
		case k.Active.IsZero():
			next = k
		case k.Retired.IsZero():
			signing = k
		default:
			old = k
		}
	}
	return signing, next, old
}

// wanted is the key whose DS record the parent is to have. It is not to have it
// before the key is offered.
func (s *state) wanted() *key {
	signing, next, _ := s.roles()
	if next != nil && !next.Offered.IsZero() {
		return next
	}
	return signing
}

// see notes what the parent says, and tells whether that is news.
func (s *state) see(apex dnsname.Name, p Parent, now time.Time) (news bool, err error) {
	before := s.clone()
	for i := range s.Keys {
		k := &s.Keys[i]
		used, err := k.use()
		if err != nil {
			return false, err
		}
		switch has := slices.Contains(p.DS, digest(apex, used.public).Text()); {
		case has && k.Parent.IsZero():
			k.Parent = now
		case !has:
			k.Parent = time.Time{}
		}
	}
	switch {
	case len(p.DS) > 0:
		// While keys change, records that are gone may be held for as long as they
		// said.
		if s.Bare = (time.Time{}); len(s.Keys) > 1 {
			p.TTL = max(p.TTL, s.DSTTL)
		}
		s.DSTTL = p.TTL
	case s.Bare.IsZero():
		s.Bare = now
	}
	return !slices.Equal(marks(before), marks(*s)), nil
}

// marks are what see may change.
func marks(s state) (out []time.Time) {
	out = append(out, s.Bare, time.Unix(int64(s.DSTTL), 0))
	for _, k := range s.Keys {
		out = append(out, k.Parent)
	}
	return out
}

func (s *state) dsTTL() time.Duration { return time.Duration(s.DSTTL) * time.Second }

// due is when something is next to happen by itself, and what: one of the steps
// below. The zero time: not before the parent or the operator does something.
func (s *state) due(t timing) (at time.Time, what step) {
	signing, next, old := s.roles()
	switch {
	case signing.Offered.IsZero() && s.Leaving.IsZero():
		// What was asked before the zone had a key may be held without signatures.
		return signing.Made.Add(t.zone + margin), offerIt
	case old != nil:
		at = old.Retired.Add(t.zone + margin)
		switch {
		case !signing.Parent.IsZero():
			at = latest(at, signing.Parent.Add(s.dsTTL()+margin))
		case !old.Parent.IsZero():
			// The parent took its DS record after all, late: that is all that
			// resolvers have to trust.
			return time.Time{}, nothing
		case !s.Bare.IsZero():
			at = latest(at, s.Bare.Add(s.dsTTL()+margin))
		}
		return at, dropOld
	case next != nil && next.Offered.IsZero():
		return next.Made.Add(keyTTL*time.Second + margin), offerIt
	case next != nil && !next.Parent.IsZero():
		return next.Parent.Add(s.dsTTL() + margin), switchKeys
	case next != nil && !s.Bare.IsZero():
		return s.Bare.Add(s.dsTTL() + margin), switchKeys // nobody validates
	case next != nil || !s.Leaving.IsZero():
		return time.Time{}, nothing
	case !s.Roll.IsZero():
		return s.Roll, makeNext
	case t.lifetime > 0 && !signing.Parent.IsZero():
		return signing.Active.Add(t.lifetime), makeNext
	}
	return time.Time{}, nothing
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// forgotten is when no resolver holds a DS record any more, of a zone that is to be
// signed no more; zero: the parent has one, or nobody knows.
func (s *state) forgotten() time.Time {
	if s.Leaving.IsZero() || s.Bare.IsZero() {
		return time.Time{}
	}
	return s.Bare.Add(s.dsTTL() + margin)
}

// left tells whether the zone may be answered unsigned.
func (s *state) left(now time.Time) bool {
	at := s.forgotten()
	return !at.IsZero() && !now.Before(at)
}

type step int

const (
	nothing    step = iota
	offerIt         // ask the parent for a key's DS record
	makeNext        // publish a successor
	switchKeys      // let it sign
	dropOld         // take the one before it away
)

// advance does what is due, and tells whether anything was.
func (s *state) advance(now time.Time, t timing) (changed bool, err error) {
	for {
		at, what := s.due(t)
		if what == nothing || now.Before(at) {
			return changed, nil
		}
		changed = true
		signing, next, _ := s.roles()
		switch what {
		case offerIt:
			if signing.Offered.IsZero() {
				next = signing
			}
			next.Offered = now
		case makeNext:
			k, err := newKey(now)
			if err != nil {
				return false, err
			}
			s.Keys, s.Roll = append(s.Keys, k), time.Time{}
		case switchKeys:
			next.Active, signing.Retired = now, now
		case dropOld:
			s.Keys = slices.DeleteFunc(s.Keys, func(k key) bool { return !k.Retired.IsZero() })
		}
	}
}

// security is what the state means for the zone's answers.
// What transfers carry is signed as of now.
func (s *state) security(apex dnsname.Name, pool *Pool, now time.Time) (*zone.Security, error) {
	out := &zone.Security{TTL: keyTTL}
	by := &signer{pool: pool, apex: []byte(apex.Wire()), began: now}
	signing, _, _ := s.roles()
	wanted := s.wanted()
	for i := range s.Keys {
		k := &s.Keys[i]
		used, err := k.use()
		if err != nil {
			return nil, err
		}
		by.keys = append(by.keys, used)
		out.DNSKEY = append(out.DNSKEY, used.public)
		if k == signing {
			by.zoneKeys[0] = used
			out.Round = fmt.Appendf(nil, "%x %d", used.public, roundOf(now).Unix())
		}
		if k == wanted && !k.Offered.IsZero() && s.Leaving.IsZero() {
			out.CDS, out.CDNSKEY = [][]byte{cds(apex, used.public)}, [][]byte{used.public}
		}
	}
	if !s.Leaving.IsZero() {
		out.CDS, out.CDNSKEY = [][]byte{deleteCDS}, [][]byte{deleteCDNSKEY}
	}
	if by.zoneKeys[0] == nil {
		return nil, errors.New("no key signs") // decode and advance see to it
	}
	out.Signer = by
	return out, nil
}

// roundOf is when a round of signatures for transfers begins, the one at now.
func roundOf(now time.Time) time.Time { return now.Truncate(renewal) }
