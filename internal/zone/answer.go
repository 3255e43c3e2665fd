package zone

import (
	"encoding/binary"
	"slices"

	"codeberg.org/miekg/dns"
)

const (
	// maxChain bounds the CNAME and DNAME records that one answer follows.
	maxChain = 16
	// maxLooks bounds how often a reader looks again because names came or went
	// meanwhile: it must not wait for a writer that never rests.
	maxLooks = 4
)

// Answer answers the question that w was started with, class IN, whose name
// must be at or below the apex. It sets rcode and AA. A chain of CNAME and DNAME
// records is followed as far as this zone goes: not into another zone, be it one
// inside of this one among the same [Zones]. The question types that ask for
// something else than an answer (AXFR, IXFR) are the caller's.
func (z *Zone) Answer(w *Writer, qtype uint16) {
	// The serial before the data: a SOA never claims what is not there yet.
	serial := z.serial.Load()
	secured := z.secured.Load()
	if secured != nil && w.wanted {
		w.signer, w.secure = secured.Signer, true
	}
	w.aa = true
	name := w.qname
	var owners [maxChain][]byte // of the CNAME records so far, to see a loop
	var dnames [maxChain]*rrset // so far; a record stands in a section once (RFC 2181 section 5)
	for hop := range maxChain {
		rel := z.relative(name)
		w.madeUp = false
		chain := w.counts[answerSection]
		h := readHost(z.hosts.find(rel))
		// A host with addresses is never at or below a cut and has no CNAME, so
		// the ordinary question ends here.
		if qtype == dns.TypeA && len(h.a) > 0 || qtype == dns.TypeAAAA && len(h.aaaa) > 0 {
			w.addresses(name, &h, qtype)
			return
		}
		if z.boundaries > 0 {
			if cut, s := governor(z.static, rel); s != nil {
				cutName := name[len(rel)-len(cut):]
				if hop == 0 {
					w.source = cutName
				}
				switch {
				case s.rrtype == dns.TypeDNAME:
					owners[hop] = name
					if !slices.Contains(dnames[:hop], s) {
						w.set(cutName, s)
					}
					dnames[hop] = s
					name = w.redirect(name, cutName, s)
					// Who asked for the CNAME has it.
					if name == nil || qtype == dns.TypeCNAME || !z.answersFor(name) || contains(owners[:hop+1], name) {
						return
					}
					continue
				case qtype == dns.TypeDS && len(cut) == len(rel):
					// DS belongs to the parent's side of the cut (RFC 4035
					// section 3.1.4.1).
					if ds := z.static[string(cut)].set(dns.TypeDS); ds != nil {
						w.set(cutName, ds)
						return
					}
					z.negative(w, serial, dns.RcodeSuccess)
					w.denyDS(cutName, z)
					return
				}
				w.aa = hop > 0 // the CNAME before it is authoritative data
				z.referral(w, cutName, string(cut), s)
				return
			}
		}
		m := z.match(rel)
		if secured != nil && len(rel) == 0 {
			m.keys = &secured.node
		}
		w.madeUp = m.encloser != len(rel)
		if hop == 0 {
			w.source = name[len(rel)-m.encloser:]
		}
		if !m.exists() {
			z.negative(w, serial, dns.RcodeNameError)
			w.deny(name, &m, z)
			return
		}
		// NSEC and RRSIG stand beside a CNAME.
		own := qtype == dns.TypeCNAME || qtype == dns.TypeANY || secured != nil && (qtype == dns.TypeNSEC || qtype == dns.TypeRRSIG)
		if alias := m.node.set(dns.TypeCNAME); alias != nil && !own {
			w.set(name, alias)
			owners[hop] = name
			name = alias.rdata[0]
			if !z.answersFor(name) || contains(owners[:hop+1], name) {
				return
			}
			continue
		}
		switch {
		case qtype == dns.TypeANY:
			z.any(w, serial, name, &m)
		case qtype == dns.TypeSOA && len(rel) == 0:
			z.writeSOA(w, serial, z.soa.ttl)
		case qtype == dns.TypeNSEC && secured != nil:
			w.nsec(name, z, appendTypes(w.types[:0], z, rel, &m), false)
		case qtype == dns.TypeRRSIG && secured != nil:
			// Of all signatures one, for the reason that ANY has one RRset.
			w.signer = secured.Signer
			w.signatureOfNSEC(name, z, appendTypes(w.types[:0], z, rel, &m), false)
		default:
			w.both(name, &m, qtype)
		}
		if w.counts[answerSection] == chain && !w.full && !w.unsigned {
			z.negative(w, serial, dns.RcodeSuccess)
			w.deny(name, &m, z)
		}
		return
	}
}

func contains(names [][]byte, name []byte) bool {
	for _, n := range names {
		if string(n) == string(name) {
			return true
		}
	}
	return false
}

// holds tells whether a lower-case name in wire form is at or below the apex.
func (z *Zone) holds(name []byte) bool {
	for len(name) > len(z.suffix) {
		name = parent(name)
	}
	return string(name) == string(z.suffix)
}

// match is what stands at a name, or at the wildcard that stands for it.
type match struct {
	node *node
	keys *node // at the apex of a signed zone: its keys
	host host
	// encloser is the length of the name relative to the apex, or of the closest
	// encloser of the wildcard; 0 if there is neither.
	encloser int
}

func (m *match) exists() bool { return m.node != nil || m.host.exists() }

func (z *Zone) at(rel []byte) match {
	n := z.static[string(rel)]
	if n == nil {
		if among := z.among.Load(); among != nil && among.inside != nil {
			n = among.inside[string(rel)]
		}
	}
	return match{node: n, host: readHost(z.hosts.find(rel)), encloser: len(rel)}
}

// match finds the name rel or, if it does not exist, the wildcard at its
// closest encloser (RFC 4592 section 3.3.1).
func (z *Zone) match(rel []byte) (m match) {
	for range maxLooks {
		version := z.version.Load()
		if m = z.at(rel); m.exists() {
			return m
		}
		m = z.wildcard(rel)
		if z.version.Load() == version {
			break
		}
	}
	return m
}

func (z *Zone) wildcard(rel []byte) match {
	for len(rel) > 0 {
		rel = parent(rel)
		if len(rel) > 0 {
			if encloser := z.at(rel); !encloser.exists() {
				continue
			}
		}
		var buf [maxNameLen]byte
		source := append(buf[:0], 1, '*')
		m := z.at(append(source, rel...))
		if m.encloser = 0; m.exists() {
			m.encloser = len(rel)
		}
		return m
	}
	return match{}
}

// redirect answers name, which is below the DNAME record of owner, with the
// CNAME that the record means (RFC 6672 section 3.1), and returns where that
// leads; nil if it leads to a name that is too long.
func (w *Writer) redirect(name, owner []byte, dname *rrset) []byte {
	target := dname.rdata[0]
	prefix := name[:len(name)-len(owner)]
	if len(prefix)+len(target) > maxNameLen {
		w.rcode = dns.RcodeYXDomain
		return nil
	}
	to := make([]byte, 0, len(prefix)+len(target))
	to = append(append(to, prefix...), target...)
	w.record(name, dns.TypeCNAME, dname.ttl, to)
	w.unsealed() // who validates makes it from the DNAME (RFC 6672 section 5.3.1)
	return to
}

// addresses writes a host's addresses of one family.
func (w *Writer) addresses(owner []byte, h *host, rrtype uint16) {
	all, size := h.a, 4
	if rrtype == dns.TypeAAAA {
		all, size = h.aaaa, 16
	}
	for ; len(all) > 0; all = all[size:] {
		w.record(owner, rrtype, h.ttl, all[:size])
	}
	w.seal(owner, rrtype, h.ttl)
}

// both writes what m has of a type, static and dynamic.
func (w *Writer) both(owner []byte, m *match, rrtype uint16) {
	static := m.node.set(rrtype)
	switch {
	case rrtype == dns.TypeA || rrtype == dns.TypeAAAA:
		w.addresses(owner, &m.host, rrtype)
	case rrtype == dns.TypeTXT && len(m.host.txt)+len(m.host.challenge) > 0:
		ttl := m.host.ttl
		if static != nil {
			// One RRset, one TTL (RFC 2181 section 5.2): the shorter one.
			ttl = min(ttl, static.ttl)
			for _, rdata := range static.rdata {
				w.record(owner, rrtype, ttl, rdata)
			}
		}
		for _, txt := range [...][]byte{m.host.txt, m.host.challenge} {
			for len(txt) > 0 {
				n := 2 + int(binary.BigEndian.Uint16(txt))
				w.record(owner, rrtype, ttl, txt[2:n])
				txt = txt[n:]
			}
		}
		w.seal(owner, rrtype, ttl)
		return
	case static == nil:
		static = m.keys.set(rrtype)
	}
	if static != nil {
		w.set(owner, static)
	}
}

// any answers type ANY with one RRset (RFC 8482 section 4.1): of static ones the
// smallest, so that the answer serves nobody as an amplifier.
func (z *Zone) any(w *Writer, serial uint32, name []byte, m *match) {
	switch {
	case len(m.host.a) > 0:
		w.addresses(name, &m.host, dns.TypeA)
	case len(m.host.aaaa) > 0:
		w.addresses(name, &m.host, dns.TypeAAAA)
	case len(name) == len(z.suffix):
		z.writeSOA(w, serial, z.soa.ttl)
	case m.node != nil && len(m.node.sets) > 0:
		least := m.node.sets[0]
		for _, s := range m.node.sets {
			if s.size < least.size {
				least = s
			}
		}
		w.both(name, m, least.rrtype)
	default:
		w.both(name, m, dns.TypeTXT)
	}
}

// referral points to the name servers of a child zone, with the addresses that
// this zone has for them: without AA (RFC 1034 section 4.3.2 step 3b). Glue that
// does not fit sets TC (RFC 9471).
//
// In a signed zone DS records follow, or the proof that there are none (RFC 4035
// section 3.1.4); what belongs to the child's side is not signed here.
func (z *Zone) referral(w *Writer, cut []byte, rel string, ns *rrset) {
	w.section = authoritySection
	signer := w.signer
	w.signer = nil
	w.set(cut, ns)
	if w.signer = signer; signer != nil {
		if ds := z.static[rel].set(dns.TypeDS); ds != nil {
			w.set(cut, ds)
		} else {
			w.denyDS(cut, z)
		}
	}
	w.signer = nil
	w.section = additionalSection
	for _, target := range ns.rdata {
		if z.holds(target) {
			m := z.at(z.relative(target))
			w.both(target, &m, dns.TypeA)
			w.both(target, &m, dns.TypeAAAA)
		}
	}
}

// negative says that there is nothing, and for how long (RFC 2308 section 3).
// Compact denial says of a missing name that it exists and has no data, also in
// the rcode unless the client knows better (RFC 9824 section 5.1).
func (z *Zone) negative(w *Writer, serial uint32, rcode uint8) {
	if w.signer == nil || w.compact || rcode != dns.RcodeNameError {
		w.rcode = rcode
	}
	w.section = authoritySection
	z.writeSOA(w, serial, min(z.soa.ttl, z.soa.minimum))
}

func (z *Zone) writeSOA(w *Writer, serial, ttl uint32) {
	data := w.open(z.suffix, dns.TypeSOA, ttl)
	w.name(z.soa.mname)
	w.name(z.soa.rname)
	for _, v := range [...]uint32{serial, z.soa.refresh, z.soa.retry, z.soa.expire, z.soa.minimum} {
		w.msg = binary.BigEndian.AppendUint32(w.msg, v)
	}
	w.close(data)
	if w.signer != nil {
		made := w.madeUp
		w.madeUp = false
		w.room = append(append(w.room[:0], z.soa.mname...), z.soa.rname...)
		w.room = append(w.room, w.msg[len(w.msg)-20:]...)
		w.rdata = append(w.rdata[:0], w.room)
		w.seal(z.suffix, dns.TypeSOA, ttl)
		w.madeUp = made
	}
}
