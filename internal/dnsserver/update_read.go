package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"codeberg.org/miekg/dns"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// challengeLabel begins the name at which a host's TXT values stand.
const challengeLabel = "_acme-challenge"

// updateMessage is what an UPDATE message asks for (RFC 2136 section 2).
type updateMessage struct {
	zoneEnd int          // where the zone section ends, 0: there is none to echo
	zone    dnsname.Name // its apex
	edns    bool
	host    dnsname.Name // whose records they are; zero: the message is about none
	changes []ddns.Change
	asked   []ddns.Precondition
}

// updateRecord is a record of the prerequisite or update section.
type updateRecord struct {
	name       dnsname.Name
	typ, class uint16
	ttl        uint32
	data       []byte
}

// read reads a message whose TSIG record, which begins at end, holds. zoneOf is the
// apex of our zone that a name is in; zero: of none. It returns the rcode of what is
// wrong, in the order of RFC 2136 section 3; records of one host at most, and of the
// types that hosts have, else REFUSED. The cost is bounded by the message's length.
func (m *updateMessage) read(msg []byte, end int, zoneOf func(dnsname.Name) dnsname.Name) uint16 {
	prerequisites, updates := int(binary.BigEndian.Uint16(msg[6:])), int(binary.BigEndian.Uint16(msg[8:]))
	apex, at, ok := readUpdateName(msg, headerLen)
	if !ok || binary.BigEndian.Uint16(msg[4:]) != 1 || at+4 > end || binary.BigEndian.Uint16(msg[at:]) != dns.TypeSOA {
		return dns.RcodeFormatError
	}
	class := binary.BigEndian.Uint16(msg[at+2:])
	at += 4
	m.zone, m.zoneEnd = apex, at
	if class != dns.ClassINET || zoneOf(apex) != apex {
		return dns.RcodeNotAuth
	}
	refused := uint16(dns.RcodeSuccess)
	for i := range prerequisites + updates {
		var r updateRecord
		if r, at, ok = readUpdateRecord(msg, at, end); !ok {
			return dns.RcodeFormatError
		}
		if zoneOf(r.name) != apex { // outside, or in a zone of ours below this one
			return dns.RcodeNotZone
		}
		take := m.change
		if i < prerequisites {
			take = m.ask
		}
		// What is malformed comes before what is not taken, wherever it stands.
		switch rcode := take(r); rcode {
		case dns.RcodeSuccess:
		case dns.RcodeRefused:
			refused = rcode
		default:
			return rcode
		}
	}
	for range binary.BigEndian.Uint16(msg[10:]) - 1 {
		typ := skipName(msg, at)
		if typ == 0 || typ+10 > end {
			return dns.RcodeFormatError
		}
		m.edns = m.edns || binary.BigEndian.Uint16(msg[typ:]) == dns.TypeOPT
		if at = typ + 10 + int(binary.BigEndian.Uint16(msg[typ+8:])); at > end {
			return dns.RcodeFormatError
		}
	}
	if at != end {
		return dns.RcodeFormatError
	}
	return refused
}

// readUpdateName reads the name at i, which may be compressed (RFC 1035 section
// 4.1.4), and returns where it ends. Pointers lead back, so there is an end.
func readUpdateName(msg []byte, i int) (name dnsname.Name, end int, ok bool) {
	var room [maxName]byte
	wire := room[:0]
	for limit := i; ; {
		if i >= len(msg) {
			return name, 0, false
		}
		n := int(msg[i])
		switch {
		case n >= 0xc0:
			if i+2 > len(msg) {
				return name, 0, false
			}
			if end == 0 {
				end = i + 2
			}
			if i = n&0x3f<<8 | int(msg[i+1]); i >= limit {
				return name, 0, false
			}
			limit = i
			continue
		case n > 63, i+1+n > len(msg), len(wire)+1+n > maxName:
			return name, 0, false
		}
		wire = append(wire, msg[i:i+1+n]...)
		i += 1 + n
		if n > 0 {
			continue
		}
		if end == 0 {
			end = i
		}
		name, _, err := dnsname.FromWire(wire)
		return name, end, err == nil
	}
}

func readUpdateRecord(msg []byte, at, end int) (r updateRecord, next int, ok bool) {
	if r.name, at, ok = readUpdateName(msg, at); !ok || at+10 > end {
		return r, 0, false
	}
	r.typ, r.class, r.ttl = binary.BigEndian.Uint16(msg[at:]), binary.BigEndian.Uint16(msg[at+2:]), binary.BigEndian.Uint32(msg[at+4:])
	next = at + 10 + int(binary.BigEndian.Uint16(msg[at+8:]))
	if next > end {
		return r, 0, false
	}
	r.data = msg[at+10 : next]
	return r, next, true
}

// about notes whose record it is. known is its type as the core has it, 0 for one
// that hosts do not have there; own tells that the record is about the message's
// host at all.
func (m *updateMessage) about(r updateRecord) (known ddns.Type, challenge, own bool) {
	host := r.name
	for label := range r.name.Labels() {
		if challenge = label == challengeLabel; challenge {
			host, _ = r.name.Parent()
		}
		break
	}
	if m.host.IsZero() {
		m.host = host
	}
	switch {
	case !challenge && r.typ == dns.TypeA:
		known = ddns.TypeA
	case !challenge && r.typ == dns.TypeAAAA:
		known = ddns.TypeAAAA
	case challenge && r.typ == dns.TypeTXT:
		known = ddns.TypeTXT
	}
	return known, challenge, host == m.host
}

// isMeta tells whether no record has this type (RFC 6895 section 3.1).
func isMeta(typ uint16) bool { return typ == 0 || typ >= 128 && typ <= 255 || typ == dns.TypeOPT }

// ask takes a prerequisite (RFC 2136 section 3.2).
func (m *updateMessage) ask(r updateRecord) uint16 {
	known, challenge, own := m.about(r)
	p := ddns.Precondition{Type: known}
	switch {
	case r.ttl != 0, r.class != dns.ClassINET && len(r.data) > 0, isMeta(r.typ) && (r.typ != dns.TypeANY || r.class == dns.ClassINET):
		return dns.RcodeFormatError
	case r.typ == dns.TypeANY && challenge:
		p.Type = ddns.TypeTXT
	}
	switch {
	case r.class == dns.ClassANY && r.typ == dns.TypeANY:
		p.Kind = ddns.NameInUse
	case r.class == dns.ClassANY:
		p.Kind = ddns.RRsetExists
	case r.class == dns.ClassNONE && r.typ == dns.TypeANY:
		p.Kind = ddns.NameNotInUse
	case r.class == dns.ClassNONE:
		p.Kind = ddns.RRsetAbsent
	case r.class != dns.ClassINET:
		return dns.RcodeFormatError
	case known == 0: // the value of what is not there
		p.Kind = ddns.RRsetExists
	default:
		ok := false
		p.Kind = ddns.RRsetEquals
		if p.Addrs, p.Texts, ok = readValue(known, r.data); !ok {
			return dns.RcodeFormatError
		}
		// The records of one RRset are one condition.
		for i := range m.asked {
			if q := &m.asked[i]; q.Kind == ddns.RRsetEquals && q.Type == known && own {
				q.Addrs, q.Texts = append(q.Addrs, p.Addrs...), append(q.Texts, p.Texts...)
				return dns.RcodeSuccess
			}
		}
	}
	if !own {
		return dns.RcodeRefused
	}
	m.asked = append(m.asked, p)
	return dns.RcodeSuccess
}

// change takes an update (RFC 2136 sections 3.4.1 and 3.4.2). The TTL of what is
// added is not looked at: it is the host's own.
func (m *updateMessage) change(r updateRecord) uint16 {
	known, challenge, own := m.about(r)
	c := ddns.Change{Type: known}
	switch r.class {
	case dns.ClassANY:
		if r.ttl != 0 || len(r.data) > 0 || isMeta(r.typ) && r.typ != dns.TypeANY {
			return dns.RcodeFormatError
		}
		c.Op = ddns.Clear
	case dns.ClassNONE, dns.ClassINET:
		if c.Op = ddns.Add; r.class == dns.ClassNONE {
			c.Op = ddns.Remove
			if r.ttl != 0 {
				return dns.RcodeFormatError
			}
		}
		if isMeta(r.typ) {
			return dns.RcodeFormatError
		}
		if known == 0 {
			return dns.RcodeRefused
		}
		ok := false
		if c.Addrs, c.Texts, ok = readValue(known, r.data); !ok {
			return dns.RcodeFormatError
		}
	default:
		return dns.RcodeFormatError
	}
	switch {
	case !own:
		return dns.RcodeRefused
	case known != 0:
		m.changes = append(m.changes, c)
	case r.typ != dns.TypeANY:
		return dns.RcodeRefused
	case challenge:
		m.changes = append(m.changes, ddns.Change{Type: ddns.TypeTXT, Op: ddns.Clear})
	default: // all types of the name that are the host's
		m.changes = append(m.changes, ddns.Change{Type: ddns.TypeA, Op: ddns.Clear}, ddns.Change{Type: ddns.TypeAAAA, Op: ddns.Clear})
	}
	return dns.RcodeSuccess
}

// readValue reads the data of a record of a type that hosts have.
func readValue(t ddns.Type, data []byte) (addrs []netip.Addr, texts []string, ok bool) {
	if t != ddns.TypeTXT {
		addr, ok := netip.AddrFromSlice(data)
		if !ok || addr.Is4() != (t == ddns.TypeA) {
			return nil, nil, false
		}
		// The core takes no IPv4 address in IPv6 form, and says so.
		return []netip.Addr{addr}, nil, true
	}
	var text strings.Builder
	for len(data) > 0 {
		n := int(data[0])
		if 1+n > len(data) {
			return nil, nil, false
		}
		text.Write(data[1 : 1+n])
		data = data[1+n:]
		ok = true
	}
	return nil, []string{text.String()}, ok
}
