package zone

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"codeberg.org/miekg/dns"
)

// TypeNXNAME says in the bitmap of an NSEC record that the name does not exist
// (RFC 9824 section 3.1). Nobody can ask for it.
const TypeNXNAME uint16 = 128

// ToSign is an RRset that a [Signer] signs.
type ToSign struct {
	Owner []byte // lower case, wire form
	Type  uint16
	TTL   uint32 // seconds
	// Canonical are its records in wire form and canonical order (RFC 4034
	// section 6). It is good during the call only.
	Canonical []byte
	// MadeUp tells that the owner is a name that the client thought of: one that
	// does not exist, or that a wildcard stands for. There is no end of them.
	MadeUp bool
}

// A Signer signs RRsets of one zone, for many goroutines at once.
type Signer interface {
	// Sign appends to dst the data of each RRSIG record that the set gets, after
	// its length in two octets. False says that there is to be no signature now,
	// and so no answer either. now is the time of the query, and known tells
	// that the client's address is its own.
	Sign(dst []byte, set *ToSign, now time.Time, known bool) ([]byte, bool)

	// SignTransfer is Sign for a set of a transfer ([Cut.RRsets]). There is always
	// a signature, valid for as long as a secondary may have it.
	SignTransfer(dst []byte, set *ToSign) []byte
}

// Security makes a zone a signed one: its answers carry signatures and proofs of
// what is not there, for those who ask for them ([Writer.Secure]).
//
// A missing name is denied by an NSEC record that says that the name exists and
// has nothing (compact denial, RFC 9824), so a zone cannot be walked, and one
// signature is all that a denial takes beside the SOA's. What a wildcard stands
// for is signed as if it were there.
type Security struct {
	Signer Signer
	// DNSKEY, CDNSKEY and CDS are the data of the records at the apex, TTL theirs
	// in seconds. Without any of a type there is no RRset of it.
	DNSKEY, CDNSKEY, CDS [][]byte
	TTL                  uint32
	// Round stands for the signatures that secondaries have. With another one they
	// are to get the zone anew: see that its serial moves.
	Round []byte
}

type secured struct {
	Security
	node node // the sets of Security
}

// Secure makes the zone a signed one from the next question on, or with nil one
// that is not signed. Change the serial afterwards.
func (z *Zone) Secure(s *Security) {
	if s == nil {
		z.secured.Store(nil)
		return
	}
	next := &secured{Security: *s}
	for _, set := range []rrset{{rrtype: dns.TypeDNSKEY, rdata: s.DNSKEY}, {rrtype: dns.TypeCDNSKEY, rdata: s.CDNSKEY}, {rrtype: dns.TypeCDS, rdata: s.CDS}} {
		if len(set.rdata) > 0 {
			set.ttl = s.TTL
			for _, rdata := range set.rdata {
				set.size += len(rdata) + 12
			}
			next.node.sets = append(next.node.sets, &set)
		}
	}
	z.secured.Store(next)
}

// Secured tells whether answers are signed.
func (z *Zone) Secured() bool { return z.secured.Load() != nil }

// MaxStaticTTL is the longest TTL in seconds of the static records.
func (z *Zone) MaxStaticTTL() uint32 {
	longest := z.soa.ttl
	for _, n := range z.static {
		for _, s := range n.sets {
			longest = max(longest, s.ttl)
		}
	}
	return longest
}

// signing is the part of a Writer that signed answers need.
type signing struct {
	wanted   bool   // the client asked for signatures
	compact  bool   // it knows compact denial
	known    bool   // its address is its own
	secure   bool   // and the zone is signed
	unsigned bool   // a signature was refused
	madeUp   bool   // the name at hand is made up
	signer   Signer // nil: sign nothing
	now      time.Time
	rrset    ToSign
	rdata    [][]byte // of the RRset in the making
	types    [maxTypes]uint16
	room     []byte // the data of SOA and NSEC records
	sorted   []byte // canonical form
	made     []byte // signatures
}

// maxTypes is how many types of a name fit without an allocation.
const maxTypes = 24

func (s *signing) start() {
	s.wanted, s.compact, s.known, s.secure, s.unsigned, s.madeUp, s.signer = false, false, false, false, false, false, nil
	s.rdata = s.rdata[:0]
}

// Secure asks for signatures, for a client that set DO (RFC 4035 section 3.1). now
// is the time of the question; known tells that the client's address is its own,
// and compact that it set CO (RFC 9824 section 5.1). Call it after Start. A zone
// that is not signed answers as without.
func (w *Writer) Secure(now time.Time, known, compact bool) {
	w.wanted, w.now, w.known, w.compact = true, now, known, compact
}

// Signed tells whether the answer is a signed zone's, with what Secure asked for.
func (w *Writer) Signed() bool { return w.secure }

// Unsigned tells that the answer lacks a signature, because making it would cost
// too much now. Finish leaves the question alone then, and TC.
func (w *Writer) Unsigned() bool { return w.unsigned }

// unsealed ends an RRset that gets no signature.
func (w *Writer) unsealed() { w.rdata = w.rdata[:0] }

// seal signs the RRset whose records were written last.
func (w *Writer) seal(owner []byte, rrtype uint16, ttl uint32) {
	if w.signer == nil || len(w.rdata) == 0 {
		return
	}
	rdata := w.rdata
	w.rdata = w.rdata[:0]
	if w.full || w.unsigned {
		return
	}
	w.sorted = appendCanonical(w.sorted[:0], owner, rrtype, ttl, rdata)
	w.rrset = ToSign{owner, rrtype, ttl, w.sorted, w.madeUp}
	signatures, ok := w.signer.Sign(w.made[:0], &w.rrset, w.now, w.known)
	if !ok {
		w.unsigned = true
		return
	}
	w.made = signatures
	for len(signatures) > 0 && !w.full {
		n := 2 + int(binary.BigEndian.Uint16(signatures))
		data := w.open(owner, dns.TypeRRSIG, ttl)
		w.msg = append(w.msg, signatures[2:n]...)
		w.close(data)
		signatures = signatures[n:]
	}
}

// appendCanonical appends the canonical form of an RRset (RFC 4034 section 6), and
// puts its data into that order.
func appendCanonical(out, owner []byte, rrtype uint16, ttl uint32, rdata [][]byte) []byte {
	if len(rdata) > 1 {
		slices.SortFunc(rdata, bytes.Compare)
	}
	for _, data := range rdata {
		out = append(append(out, owner...),
			byte(rrtype>>8), byte(rrtype), 0, byte(dns.ClassINET),
			byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), byte(len(data)>>8), byte(len(data)))
		out = append(out, data...)
	}
	return out
}

// deny proves that name lacks the type that was asked for, or that it does not
// exist.
func (w *Writer) deny(name []byte, m *match, z *Zone) {
	if w.signer != nil {
		w.nsec(name, z, appendTypes(w.types[:0], z, z.relative(name), m), false)
	}
}

// denyDS proves that a delegation is an unsigned one.
func (w *Writer) denyDS(cut []byte, z *Zone) {
	if w.signer != nil {
		w.nsec(cut, z, append(w.types[:0], dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC), true)
	}
}

// appendTypes appends the types at a name, in order.
func appendTypes(types []uint16, z *Zone, rel []byte, m *match) []uint16 {
	if !m.exists() {
		return append(types, dns.TypeRRSIG, dns.TypeNSEC, TypeNXNAME)
	}
	types = append(types, dns.TypeRRSIG, dns.TypeNSEC)
	if len(rel) == 0 {
		types = append(types, dns.TypeSOA)
	}
	for _, n := range [...]*node{m.node, m.keys} {
		if n != nil {
			for _, s := range n.sets {
				types = append(types, s.rrtype)
			}
		}
	}
	for _, of := range [...]struct {
		values []byte
		rrtype uint16
	}{{m.host.a, dns.TypeA}, {m.host.aaaa, dns.TypeAAAA}, {m.host.txt, dns.TypeTXT}, {m.host.challenge, dns.TypeTXT}} {
		if len(of.values) > 0 {
			types = append(types, of.rrtype)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// nsec writes an NSEC record that covers nothing but its own name, or in case of
// a cut the names below it too, which are not this zone's.
func (w *Writer) nsec(name []byte, z *Zone, types []uint16, cut bool) {
	ttl := w.nsecData(name, z, types, cut)
	data := w.open(name, dns.TypeNSEC, ttl)
	w.msg = append(w.msg, w.room...)
	w.close(data)
	w.seal(name, dns.TypeNSEC, ttl)
}

func (w *Writer) signatureOfNSEC(name []byte, z *Zone, types []uint16, cut bool) {
	w.seal(name, dns.TypeNSEC, w.nsecData(name, z, types, cut))
}

// nsecData puts the data of an NSEC record (RFC 4034 section 4.1) into w.room and
// returns its TTL (RFC 9077).
func (w *Writer) nsecData(name []byte, z *Zone, types []uint16, cut bool) (ttl uint32) {
	w.room = appendSuccessor(w.room[:0], name, cut)
	w.room = appendBitmap(w.room, types)
	if w.rdata = w.rdata[:0]; w.signer != nil {
		w.rdata = append(w.rdata, w.room)
	}
	return min(z.soa.ttl, z.soa.minimum)
}

// appendBitmap appends the type bit map of types, which are in order (RFC 4034
// section 4.1.2).
func appendBitmap(out []byte, types []uint16) []byte {
	for len(types) > 0 {
		window := types[0] >> 8
		var bits [32]byte
		used := 0
		for len(types) > 0 && types[0]>>8 == window {
			low := types[0] & 0xff
			bits[low/8] |= 0x80 >> (low % 8)
			used = int(low)/8 + 1
			types = types[1:]
		}
		out = append(append(out, byte(window), byte(used)), bits[:used]...)
	}
	return out
}

// appendSuccessor appends the name that comes after name in canonical order (RFC
// 4471 section 3.1): the one below it with the label \000; or, if past the names
// below it too, the one beside it whose label has that octet more. Where there is
// no room for the one or the other, the next greater label stands beside it.
func appendSuccessor(out, name []byte, past bool) []byte {
	label := int(name[0])
	switch {
	case !past && len(name)+2 <= maxNameLen:
		return append(append(out, 1, 0), name...)
	case label < 63 && len(name)+1 <= maxNameLen:
		out = append(append(out, byte(label+1)), name[1:1+label]...)
		return append(append(out, 0), name[1+label:]...)
	}
	// Count up in the last octet that can be, without those after it.
	for i := label; i > 0; i-- {
		c := name[i] + 1
		if c == 0 {
			continue
		}
		if c == 'A' {
			c = 'Z' + 1 // names are compared in lower case (RFC 4034 section 6.1)
		}
		out = append(append(out, byte(i)), name[1:i]...)
		return append(append(out, c), name[1+label:]...)
	}
	return appendSuccessor(out, name[1+label:], true)
}
