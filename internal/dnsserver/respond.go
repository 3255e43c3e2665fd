package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/tsig"
	"godwit/internal/zone"
)

// Bits of the third octet of a header.
const (
	flagAA = 0x04
	flagTC = 0x02
)

// maxTCP is the greatest length of a message (RFC 1035 section 4.2.2).
const maxTCP = 65535

const (
	// optLen is an OPT record without options; each option has a header of 4 octets.
	optLen = 11

	// noExtendedError is no extended error (RFC 8914 section 4); 0 is "other".
	noExtendedError = -1
)

// A responder turns queries into responses, one after the other. Each goroutine
// that serves has its own.
type responder struct {
	zones     Zones
	secrets   *secrets
	counts    *counts
	limiter   *limiter      // nil: responses are not limited
	udpSize   int           // the largest response by UDP, and what an OPT record says
	keepalive time.Duration // how long an idle TCP connection stays open
	query     query
	writer    zone.Writer
	reply     reply

	// aside takes what may have to wait for the store, and updater is what it waits
	// for: a responder has one of them, or neither. waits tells that respond left the
	// query to be set aside.
	aside   *aside
	updater Updater
	waits   bool

	transfers    Transfers           // nil: there are none
	transferKeys map[string]tsig.Key // by name in lower-case wire form
	transferred  func(Transferred)   // nil: nobody wants to know
	transfer     *transfer           // what respond left to its caller; nil: nothing
}

// reply is what is known of the response in the making beside its octets.
type reply struct {
	source   []byte // what it is about (zone.Writer), nil: no name in particular
	extended int    // an extended error, or noExtendedError
	compact  bool   // it may have a compact denial, for a client that knows them
	signer   signer
	client   netip.Addr
	now      time.Time
	known    bool                                    // the client has proved by a cookie that its address is its own
	cookie   [clientCookieLen + serverCookieLen]byte // for the client, if it sent one
}

// respond answers query, which came from client, and returns the response; nil
// if there must be none. The response is written into out, which has length 0
// and should have a capacity of the size limit + [zone.Slack]; out may be
// query[:0], since the query has been read before the response is written.
// It neither keeps nor returns query's memory otherwise, and it allocates
// nothing unless the query has a TSIG record or the answer a DNAME.
//
// A query by TCP for a transfer is not answered here but left in r.transfer. What
// has to be set aside is not answered either: r.waits.
func (r *responder) respond(query, out []byte, client netip.Addr, tcp bool, now time.Time) []byte {
	return r.respondRead(r.query.read(query, tcp), query, out, client, tcp, now)
}

// respondRead is respond for a query that has been read into r.query, with this
// verdict.
func (r *responder) respondRead(verdict verdict, query, out []byte, client netip.Addr, tcp bool, now time.Time) []byte {
	q := &r.query
	if r.waits = r.aside != nil && isUpdate(query); r.waits {
		return nil
	}
	r.reply.source, r.reply.extended, r.reply.compact, r.reply.known = nil, noExtendedError, false, false
	r.reply.client, r.reply.now = client, now
	if verdict == dropIt {
		r.counts.dropped.Add(1)
		return nil
	}
	if q.cookieLen > 0 {
		if r.reply.known = r.secrets.cookie(&r.reply.cookie, q.cookie[:q.cookieLen], client, now); r.reply.known {
			r.counts.cookies.Add(1)
		}
	}
	if out = r.answer(verdict, query, out, tcp, now); r.transfer != nil || r.waits {
		return nil
	}
	if r.limiter != nil && !r.proven(tcp) {
		if out = r.limit(out, client, now); out == nil {
			return nil
		}
	}
	r.counts.count(q, q.rcode, out[2]&flagTC != 0)
	return out
}

// answer writes the response that a query with this verdict gets.
func (r *responder) answer(verdict verdict, query, out []byte, tcp bool, now time.Time) []byte {
	q := &r.query
	switch {
	case verdict == headerOnly:
		out = append(out, query[:headerLen]...)
		clear(out[4:headerLen])
		out[2] = 0x80 | out[2]&0x78
		out[3] = byte(q.rcode)
		return out
	case verdict == refuseIt:
		return r.appendOPT(r.begin(query, out), nil)
	case q.tsig:
		return r.signed(query, out, tcp, now)
	}
	r.reply.signer.key.Name, r.reply.signer.transfers = nil, false
	return r.plain(query, out, tcp)
}

// plain writes the response without its TSIG record, for which it leaves room.
func (r *responder) plain(query, out []byte, tcp bool) []byte {
	q := &r.query
	var z *zone.Zone
	switch {
	case q.qtype == zone.TypeNXNAME: // RFC 9824 section 3.5
		q.rcode = dns.RcodeFormatError
		r.reply.extended = int(dns.ExtendedErrorInvalidQueryType)
		return r.appendOPT(r.begin(query, out), nil)
	case q.qclass != dns.ClassINET:
		r.reply.extended = int(dns.ExtendedErrorNotSupported)
	case q.qtype == dns.TypeAXFR, q.qtype == dns.TypeIXFR:
		return r.askTransfer(query, out, tcp)
	default:
		zones := r.zones
		if r.reply.signer.transfers {
			zones = r.transfers
		}
		if z = zones.Find(q.qname(), q.qtype); z == nil {
			r.reply.extended = int(dns.ExtendedErrorNotAuthoritative)
		}
	}
	out = r.begin(query, out)
	if z == nil {
		q.rcode = dns.RcodeRefused
		return r.appendOPT(out, nil)
	}
	r.writer.Start(out, q.qname(), r.sizeLimit(len(query), tcp, q.do && z.Secured())-r.sizeOPT(z)-r.reply.signer.reserve())
	if q.do {
		r.writer.Secure(r.reply.now, r.proven(tcp), q.co)
	}
	z.Answer(&r.writer, q.qtype)
	out = r.writer.Finish()
	if r.writer.Unsigned() && tcp {
		// There is no other way to send the client to, and no other answer.
		out[2] &^= 0x02
		out[3] = out[3]&0xf0 | byte(dns.RcodeServerFailure)
		r.reply.extended = int(dns.ExtendedErrorNotReady)
	}
	r.reply.compact = q.co && r.writer.Signed()
	q.rcode = uint16(out[3] & 0x0f)
	r.reply.source = r.writer.Source()
	if q.cookieLen > 0 && out[2]&flagTC != 0 && !r.proven(tcp) {
		return r.badCookie(out)
	}
	return r.appendOPT(out, z)
}

// limit lets the limiter judge a response by UDP to a client that may have been
// forged, and returns what to send: the response, less, or nothing.
func (r *responder) limit(out []byte, client netip.Addr, now time.Time) []byte {
	q := &r.query
	// One kind for each rcode, and for answers and for none.
	kind := byte(q.rcode) << 1
	if binary.BigEndian.Uint16(out[6:]) > 0 {
		kind |= 1
	}
	switch r.limiter.take(client, kind, r.reply.source, now) {
	case withholdIt:
		r.counts.withheld.Add(1)
		r.counts.count(q, notSent, false)
		return nil
	case slipIt:
		r.counts.slipped.Add(1)
		if r.reply.source == nil { // an error, which is small and would not be another one by TCP
			return out
		}
		if q.cookieLen > 0 {
			return r.badCookie(out)
		}
		out = r.questionOnly(out)
		out[2] |= flagTC
		q.rcode = dns.RcodeSuccess
		return r.appendOPT(out, nil)
	}
	return out
}

// badCookie makes of a response, with or without its OPT record, one that has
// nothing but a cookie, with which the client may ask again at once (RFC 7873
// section 5.2.3).
func (r *responder) badCookie(out []byte) []byte {
	out = r.questionOnly(out)
	out[2] &^= flagAA | flagTC
	r.query.rcode = dns.RcodeBadCookie
	return r.appendOPT(out, nil)
}

// questionOnly takes away what follows the question, and the rcode.
func (r *responder) questionOnly(out []byte) []byte {
	out = out[:r.query.question]
	clear(out[6:headerLen])
	out[3] &= 0xf0
	return out
}

// begin writes header and question of a response: ID, opcode, RD and CD are
// those of the query (RFC 6840 section 3.1 about CD), the name keeps its case,
// all else is zero.
func (r *responder) begin(query, out []byte) []byte {
	out = append(out, query[:r.query.question]...)
	out[2] = 0x80 | out[2]&0x79
	out[3] &= 0x10
	clear(out[6:headerLen])
	return out
}

// proven tells whether the address that the query came from is the client's own.
func (r *responder) proven(tcp bool) bool { return tcp || r.reply.known }

// sizeLimit is the size that the response to a query of so many octets may have.
func (r *responder) sizeLimit(asked int, tcp, signed bool) int {
	if tcp {
		return maxTCP
	}
	limit := floorUDP
	if r.query.edns {
		limit = min(r.query.udpSize, r.udpSize)
	}
	if !r.reply.known {
		limit = min(limit, unprovenLimit(asked, signed))
	}
	return limit
}

// unprovenLimit is the size in octets that a response may have whose query of so
// many octets may come from somebody else than its address says, so that no
// forger gains much by us (decision 0019). A response without records stays below
// it by itself: its options are 22 octets longer than the query's at most.
// Signatures and proofs are long: with them it is four times as much (decision
// 0021).
func unprovenLimit(asked int, signed bool) int {
	if signed {
		return asked * 10
	}
	return asked * 5 / 2
}

// sizeOPT is what appendOPT will append.
func (r *responder) sizeOPT(z *zone.Zone) int {
	q := &r.query
	if !q.edns {
		return 0
	}
	n := optLen
	if q.cookieLen > 0 {
		n += 4 + clientCookieLen + serverCookieLen
	}
	if r.wantsExpire(z) {
		n += 4 + 4
	}
	if q.keepalive {
		n += 4 + 2
	}
	return n
}

func (r *responder) wantsExpire(z *zone.Zone) bool {
	if !r.query.expire || z == nil {
		return false
	}
	switch r.query.qtype {
	case dns.TypeSOA, dns.TypeIXFR, dns.TypeAXFR:
		return true
	}
	return false
}

// appendOPT ends a response with its rcode, and with an OPT record if the query
// had one (RFC 6891 section 7), with what its options ask for. A BADVERS answer
// has no options: what they mean is up to the other version.
func (r *responder) appendOPT(out []byte, z *zone.Zone) []byte {
	q := &r.query
	out[3] |= byte(q.rcode & 0x0f)
	if !q.edns {
		return out
	}
	flags := byte(0)
	if q.do {
		flags = 0x80
	}
	if r.reply.compact {
		flags |= 0x40
	}
	out = append(out, 0, 0, byte(dns.TypeOPT), byte(r.udpSize>>8), byte(r.udpSize), byte(q.rcode>>4), 0, flags, 0, 0, 0)
	start := len(out)
	if q.rcode != dns.RcodeBadVers {
		if q.cookieLen > 0 {
			out = append(out, 0, byte(dns.CodeCOOKIE), 0, byte(len(r.reply.cookie)))
			out = append(out, r.reply.cookie[:]...)
		}
		if r.wantsExpire(z) {
			out = append(out, 0, byte(dns.CodeEXPIRE), 0, 4)
			out = binary.BigEndian.AppendUint32(out, z.Expire())
		}
		if q.keepalive {
			// In units of 100 ms (RFC 7828 section 3.1).
			units := min(r.keepalive/(100*time.Millisecond), 65535)
			out = append(out, 0, byte(dns.CodeTCPKEEPALIVE), 0, 2, byte(units>>8), byte(units))
		}
		if r.reply.extended != noExtendedError {
			out = append(out, 0, byte(dns.CodeEDE), 0, 2, byte(r.reply.extended>>8), byte(r.reply.extended))
		}
		binary.BigEndian.PutUint16(out[start-2:], uint16(len(out)-start))
	}
	binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])+1)
	return out
}
