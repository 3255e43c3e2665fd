package dnsserver

import (
	"encoding/binary"

	"codeberg.org/miekg/dns"
)

const (
	headerLen = 12
	maxName   = 255
	// floorUDP is what every client takes by UDP (RFC 1035 section 4.2.1), and
	// what a smaller size in an OPT record means (RFC 6891 section 6.2.5).
	floorUDP = 512
)

// verdict is what is to become of a message before anyone looks at its question.
type verdict uint8

const (
	answerIt   verdict = iota
	dropIt             // no header, or a response: answering those makes loops
	headerOnly         // answer with nothing but a header, with query.rcode
	refuseIt           // answer with question and OPT, with query.rcode
)

// query is a message that was read. The reader looks at each octet once and
// follows no compression pointer, so that the cost is bounded by the length.
// It is used again and again: a read allocates nothing.
type query struct {
	rcode    uint16
	question int // where the question ends, 0: there is none to echo
	qtype    uint16
	qclass   uint16
	name     [maxName]byte // lower case
	nameLen  int

	edns      bool
	version   uint8
	do        bool
	co        bool // RFC 9824
	udpSize   int
	cookie    [clientCookieLen + maxServerCookie]byte
	cookieLen int
	expire    bool // RFC 7314
	keepalive bool // RFC 7828
	tsig      bool
}

func (q *query) qname() []byte { return q.name[:q.nameLen] }

// read reads msg. The checks stand in the order in which the answer to several
// faults at once is decided.
func (q *query) read(msg []byte, tcp bool) verdict {
	q.rcode, q.question, q.nameLen, q.cookieLen = dns.RcodeSuccess, 0, 0, 0
	q.edns, q.do, q.co, q.expire, q.keepalive, q.tsig, q.version = false, false, false, false, false, false, 0
	if len(msg) < headerLen || msg[2]&0x80 != 0 {
		return dropIt
	}
	if msg[2]>>3&0x0f != dns.OpcodeQuery {
		q.rcode = dns.RcodeNotImplemented
		return headerOnly
	}
	q.rcode = dns.RcodeFormatError
	if binary.BigEndian.Uint16(msg[4:]) != 1 { // RFC 9619
		return headerOnly
	}
	end := q.readQuestion(msg)
	if end == 0 {
		return headerOnly
	}
	q.question = end
	records := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:]))
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	at := end
	for i := range records + additional {
		start := at
		if at = skipName(msg, at); at == 0 || at+10 > len(msg) {
			return headerOnly
		}
		fixed := msg[at : at+10]
		data := at + 10
		if at = data + int(binary.BigEndian.Uint16(fixed[8:])); at > len(msg) {
			return headerOnly
		}
		if i < records { // an IXFR question comes with a SOA
			continue
		}
		switch binary.BigEndian.Uint16(fixed) {
		case dns.TypeOPT:
			if q.edns || msg[start] != 0 { // RFC 6891 section 6.1.1
				return refuseIt
			}
			if !q.readOPT(fixed, msg[data:at], tcp) {
				return refuseIt
			}
		case dns.TypeTSIG: // RFC 8945 section 5.1
			if i != records+additional-1 || binary.BigEndian.Uint16(fixed[2:]) != dns.ClassANY {
				return refuseIt
			}
			q.tsig = true
		}
	}
	if at != len(msg) {
		return headerOnly
	}
	if q.version != 0 {
		q.rcode = dns.RcodeBadVers
		return refuseIt
	}
	if q.cookieLen < 0 {
		return refuseIt
	}
	q.rcode = dns.RcodeSuccess
	return answerIt
}

// readQuestion returns where the question ends, 0 if it is not one. A
// compression pointer could only point into the header.
func (q *query) readQuestion(msg []byte) int {
	i := headerLen
	for {
		if i >= len(msg) || i-headerLen >= maxName {
			return 0
		}
		n := int(msg[i])
		if n == 0 {
			break
		}
		if n > 63 || i+1+n > len(msg) || i-headerLen+1+n >= maxName {
			return 0
		}
		q.name[i-headerLen] = msg[i]
		for j := i + 1; j <= i+n; j++ {
			c := msg[j]
			if c-'A' < 26 {
				c += 'a' - 'A'
			}
			q.name[j-headerLen] = c
		}
		i += 1 + n
	}
	q.name[i-headerLen] = 0
	q.nameLen = i - headerLen + 1
	i++
	if i+4 > len(msg) {
		return 0
	}
	q.qtype, q.qclass = binary.BigEndian.Uint16(msg[i:]), binary.BigEndian.Uint16(msg[i+2:])
	return i + 4
}

// skipName returns where the name that starts at i ends, 0 if it is none.
func skipName(msg []byte, i int) int {
	start := i
	for i < len(msg) && i-start < maxName {
		switch n := int(msg[i]); {
		case n == 0:
			return i + 1
		case n >= 0xc0:
			if i+2 > len(msg) || int(binary.BigEndian.Uint16(msg[i:])&0x3fff) >= start {
				return 0
			}
			return i + 2
		case n > 63:
			return 0
		default:
			i += 1 + n
		}
	}
	return 0
}

// readOPT reads the OPT record (RFC 6891 section 6.1); false if its options are
// cut short. An option's own fault is only remembered: BADVERS comes before it.
func (q *query) readOPT(fixed, options []byte, tcp bool) bool {
	q.edns = true
	q.udpSize = max(floorUDP, int(binary.BigEndian.Uint16(fixed[2:])))
	q.version = fixed[5]
	q.do, q.co = fixed[6]&0x80 != 0, fixed[6]&0x40 != 0
	bad := false
	for len(options) > 0 {
		if len(options) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(options), int(binary.BigEndian.Uint16(options[2:]))
		if n > len(options)-4 {
			return false
		}
		data := options[4 : 4+n]
		options = options[4+n:]
		switch code {
		case dns.CodeCOOKIE:
			server := n - clientCookieLen
			if server != 0 && (server < minServerCookie || server > maxServerCookie) {
				bad = true // RFC 7873 section 5.2.2
			} else if q.cookieLen == 0 { // of several, the first counts
				q.cookieLen = copy(q.cookie[:], data)
			}
		case dns.CodeEXPIRE:
			q.expire = true
		case dns.CodeTCPKEEPALIVE:
			// RFC 7828 section 3.2.1: to be ignored on UDP, and empty on TCP.
			q.keepalive = tcp
			bad = bad || tcp && n != 0
		}
	}
	if bad {
		q.cookieLen = -1
	}
	return true
}
