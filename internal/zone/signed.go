package zone

import (
	"encoding/binary"
	"slices"
	"strings"

	"codeberg.org/miekg/dns"
)

// maxSigned is how many names a signed zone may have to be transferred. All of
// them are sorted for each transfer, and signed once in a while.
const maxSigned = 100_000

// Transferable tells whether the zone can be transferred. It can not if it is
// signed and has more than 100,000 names.
func (z *Zone) Transferable() bool { return !z.Secured() || z.Hosts()+len(z.static) <= maxSigned }

// place is a name of a signed cut.
type place struct {
	order string // see canonicalOrder
	rel   string
	value []byte // of the host there, as a bucket has it
}

// signed yields what a secondary needs of a signed zone: every RRset with its
// signatures, and a chain of NSEC records over all names that have any (RFC 4035
// section 2), in canonical order. Unlike answers, which deny compactly, the chain
// shows all names of the zone: to who has a key for transfers, and to whoever asks
// a secondary.
func (c *Cut) signed(yield func(RRset) bool) {
	places := c.places()
	var sets setsOf
	var cut string // the order of the delegation that was seen last
	seal := sealing{signer: c.secured.Signer, yield: yield}
	for i, p := range places {
		node := c.zone.static[p.rel]
		sets.fill(c.zone, p.rel, node, readHost(p.value))
		if below(p.order, cut) {
			if !sets.yield(yield) { // glue
				return
			}
			continue
		}
		delegated := p.rel != "" && node.set(dns.TypeNS) != nil
		if delegated {
			cut = p.order
		}
		types := append(seal.types[:0], dns.TypeRRSIG, dns.TypeNSEC)
		if p.rel == "" {
			for _, s := range c.secured.node.sets {
				set := sets.next(s.rrtype, s.ttl)
				set.Data = append(set.Data, s.rdata...)
			}
			types = append(types, dns.TypeSOA)
			soa := c.SOA()
			if !seal.signatures(&soa) {
				return
			}
		}
		for j := range sets.sets {
			s := &sets.sets[j]
			if !yield(*s) {
				return
			}
			// At a delegation the parent's own are DS and NSEC records alone; NS
			// is in the bitmap and addresses are not (RFC 4035 section 2.3).
			if delegated && s.Type != dns.TypeDS {
				if s.Type == dns.TypeNS {
					types = append(types, s.Type)
				}
				continue
			}
			types = append(types, s.Type)
			if !seal.signatures(s) {
				return
			}
		}
		slices.Sort(types)
		seal.types = types
		next := places[0].rel // the last one points to the apex
		for _, later := range places[i+1:] {
			if !below(later.order, cut) {
				next = later.rel
				break
			}
		}
		data := append(append(seal.nsec[:0], next...), c.zone.suffix...)
		seal.nsec = appendBitmap(data, types)
		nsec := RRset{sets.owner, dns.TypeNSEC, min(c.zone.soa.ttl, c.zone.soa.minimum), [][]byte{seal.nsec}} // RFC 9077
		if !yield(nsec) || !seal.signatures(&nsec) {
			return
		}
	}
}

// below tells whether a name is below a cut, "" for none.
func below(order, cut string) bool {
	return cut != "" && len(order) > len(cut) && strings.HasPrefix(order, cut)
}

// sealing is room for what is made of each RRset.
type sealing struct {
	signer    Signer
	yield     func(RRset) bool
	types     []uint16
	nsec      []byte
	canonical []byte
	made      []byte
	data      [][]byte
}

// signatures yields those of a set, whose records it may put into another order.
func (s *sealing) signatures(set *RRset) bool {
	s.canonical = appendCanonical(s.canonical[:0], set.Owner, set.Type, set.TTL, set.Data)
	s.made = s.signer.SignTransfer(s.made[:0], &ToSign{Owner: set.Owner, Type: set.Type, TTL: set.TTL, Canonical: s.canonical})
	s.data = s.data[:0]
	for made := s.made; len(made) > 0; {
		end := 2 + int(binary.BigEndian.Uint16(made))
		s.data = append(s.data, made[2:end])
		made = made[end:]
	}
	return s.yield(RRset{set.Owner, dns.TypeRRSIG, set.TTL, s.data})
}

// places are the names that have records, the apex first.
func (c *Cut) places() (out []place) {
	for rel, n := range c.zone.static {
		if value := c.find([]byte(rel)); rel == "" || len(n.sets) > 0 || shows(value) {
			out = append(out, place{canonicalOrder(rel), rel, value})
		}
	}
	for rel, value := range c.hosts() {
		if c.zone.static[string(rel)] == nil && shows(value) {
			out = append(out, place{canonicalOrder(string(rel)), string(rel), value})
		}
	}
	slices.SortFunc(out, func(a, b place) int { return strings.Compare(a.order, b.order) })
	return out
}

// shows tells whether a host has records; there may be such below it alone, or none
// any more.
func shows(value []byte) bool {
	h := readHost(value)
	return h.hasData()
}

// canonicalOrder makes of a name a string such that strings are in the order of RFC
// 4034 section 6.1, and that of a name begins those of the names below it: the
// labels, the last one first, each with an octet 0 at its end. To make room for that
// the octets 0 and 1 are written as two.
func canonicalOrder(rel string) string {
	var starts [128]int
	labels := 0
	for at := 0; at < len(rel); at += 1 + int(rel[at]) {
		starts[labels] = at
		labels++
	}
	out := make([]byte, 0, len(rel))
	for labels--; labels >= 0; labels-- {
		at := starts[labels]
		for _, c := range []byte(rel[at+1 : at+1+int(rel[at])]) {
			if c <= 1 {
				out = append(out, 1)
				c++
			}
			out = append(out, c)
		}
		out = append(out, 0)
	}
	return string(out)
}
