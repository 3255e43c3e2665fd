package dnsserver

import (
	"cmp"
	"sync/atomic"

	"codeberg.org/miekg/dns"

	"godwit/internal/histogram"
	"godwit/internal/tsig"
)

// Counts are how many messages were answered, and how. They only grow, but for
// Open.
type Counts struct {
	UDP, TCP  Transport
	Truncated uint64 // responses with TC
	Dropped   uint64 // messages that got no response: too short, or responses themselves
	Withheld  uint64 // responses by UDP that were not sent, over Config.ResponsesPerSecond
	Slipped   uint64 // those above it of which a slip was sent
	Unsent    uint64 // responses by UDP that the kernel did not take, on Linux
	// Overflowed is how many messages by UDP the kernel has dropped, mostly because
	// they came faster than they were read. 0 where it does not tell: not on Linux.
	Overflowed uint64
	Cookies    uint64 // queries with a valid server cookie
	Conns      uint64 // TCP connections that were accepted
	Refused    uint64 // TCP connections that were closed at once, over a client's limit
	Evicted    uint64 // TCP connections that were closed to make room for others
	Open       int    // TCP connections that are open now
	// TSIG are messages whose TSIG record does not hold, by the error that they were
	// answered (RFC 8945 section 3), of UPDATE messages and of signed queries.
	TSIG map[string]uint64
	// Crowded are UPDATE messages, and queries signed with a key of the Updater's, that
	// were not looked at because too many others were: dropped by UDP, SERVFAIL by TCP.
	Crowded uint64
}

// Transport are the counts of UDP or TCP. UPDATE messages are in Updates alone, and
// in Latency.
type Transport struct {
	// Types are queries by the name of their type: some common ones, and "other".
	// Those to which no response was sent are among them, but for Counts.Dropped.
	Types map[string]uint64
	// Rcodes are responses by the name of their rcode: those that a name server
	// has, and "other".
	Rcodes map[string]uint64
	// Updates are responses to UPDATE messages by rcode, with the names of Rcodes.
	Updates map[string]uint64
	// Latency is how long responses took from when their queries were read until
	// they were handed to the kernel. Those that went with one call count alike,
	// by the first to be read. Transfers are not timed.
	Latency histogram.Counts
}

// Responses are those with any rcode.
func (t *Transport) Responses() uint64 {
	sum := uint64(0)
	for _, n := range t.Rcodes {
		sum += n
	}
	return sum
}

// typeNames are the types that queries are counted by, the most common of those
// that a server like this one is asked for; typeRows has where each stands. A
// list without an end would let strangers fill the memory of whoever watches.
var (
	typeNames = [...]string{"other", "A", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "AAAA", "SRV", "NAPTR",
		"DS", "RRSIG", "DNSKEY", "TLSA", "SVCB", "HTTPS", "IXFR", "AXFR", "ANY", "CAA"}
	typeRows = [...]uint8{dns.TypeA: 1, dns.TypeNS: 2, dns.TypeCNAME: 3, dns.TypeSOA: 4, dns.TypePTR: 5, dns.TypeMX: 6, dns.TypeTXT: 7,
		dns.TypeAAAA: 8, dns.TypeSRV: 9, dns.TypeNAPTR: 10, dns.TypeDS: 11, dns.TypeRRSIG: 12, dns.TypeDNSKEY: 13, dns.TypeTLSA: 14,
		dns.TypeSVCB: 15, dns.TypeHTTPS: 16, dns.TypeIXFR: 17, dns.TypeAXFR: 18, dns.TypeANY: 19, dns.TypeCAA: 20}
)

// rcodeNames are the rcodes as dig names them, those of UPDATE among them.
var rcodeNames = [notSent]string{
	dns.RcodeSuccess: "NOERROR", dns.RcodeFormatError: "FORMERR", dns.RcodeServerFailure: "SERVFAIL", dns.RcodeNameError: "NXDOMAIN",
	dns.RcodeNotImplemented: "NOTIMP", dns.RcodeRefused: "REFUSED", dns.RcodeYXDomain: "YXDOMAIN", dns.RcodeYXRrset: "YXRRSET",
	dns.RcodeNXRrset: "NXRRSET", dns.RcodeNotAuth: "NOTAUTH", dns.RcodeNotZone: "NOTZONE", dns.RcodeBadVers: "BADVERS", dns.RcodeBadCookie: "BADCOOKIE",
}

func rcodeName(rcode int) string { return cmp.Or(rcodeNames[rcode], "other") }

// notSent stands in place of an rcode for a query whose response was not sent.
const notSent = dns.RcodeBadCookie + 1

// tsigNames are the errors of TSIG.
var tsigNames = [...]string{"BADSIG", "BADKEY", "BADTIME", "BADTRUNC"}

// counts are the counts of one UDP socket's goroutine, or of all TCP connections:
// apart, so that the processors do not pass one cache line around.
type counts struct {
	tcp                                                                             bool // set once
	truncated, dropped, withheld, slipped, unsent, cookies, conns, refused, evicted atomic.Uint64
	crowded                                                                         atomic.Uint64
	tsig                                                                            [len(tsigNames)]atomic.Uint64
	updates                                                                         [notSent + 1]atomic.Uint64
	latency                                                                         histogram.Histogram
	answered                                                                        [len(typeNames)][notSent + 1]atomic.Uint64
	_                                                                               [64]byte
}

// count counts a query and what it was answered. It is one addition for most.
func (c *counts) count(q *query, rcode uint16, truncated bool) {
	row := uint8(0)
	if q.question > 0 && int(q.qtype) < len(typeRows) {
		row = typeRows[q.qtype]
	}
	c.answered[row][min(rcode, notSent)].Add(1)
	if truncated {
		c.truncated.Add(1)
	}
}

// countUpdate counts an UPDATE message and what it was answered.
func (c *counts) countUpdate(rcode uint16) { c.updates[min(rcode, notSent)].Add(1) }

// countTSIG counts an error of TSIG (RFC 8945 section 3).
func (c *counts) countTSIG(code uint16) {
	switch code {
	case tsig.BadKey:
		c.tsig[1].Add(1)
	case tsig.BadTime:
		c.tsig[2].Add(1)
	case tsig.BadTrunc:
		c.tsig[3].Add(1)
	default:
		c.tsig[0].Add(1)
	}
}

// Counts adds up what was counted so far. It may be called at any time.
func (s *Server) Counts() Counts {
	sum := Counts{TSIG: make(map[string]uint64, len(tsigNames))}
	for _, u := range s.udp {
		sum.Overflowed += u.overflowed()
	}
	s.conns.mu.Lock()
	sum.Open = s.conns.open.Len()
	s.conns.mu.Unlock()
	for _, t := range []*Transport{&sum.UDP, &sum.TCP} {
		t.Types, t.Rcodes = make(map[string]uint64, len(typeNames)), make(map[string]uint64, len(rcodeNames))
		t.Updates = make(map[string]uint64, len(rcodeNames))
	}
	s.countsMu.Lock()
	defer s.countsMu.Unlock()
	for _, c := range s.counts {
		sum.Truncated += c.truncated.Load()
		sum.Dropped += c.dropped.Load()
		sum.Withheld += c.withheld.Load()
		sum.Slipped += c.slipped.Load()
		sum.Unsent += c.unsent.Load()
		sum.Cookies += c.cookies.Load()
		sum.Conns += c.conns.Load()
		sum.Refused += c.refused.Load()
		sum.Evicted += c.evicted.Load()
		sum.Crowded += c.crowded.Load()
		for i := range c.tsig {
			sum.TSIG[tsigNames[i]] += c.tsig[i].Load()
		}
		t := &sum.UDP
		if c.tcp {
			t = &sum.TCP
		}
		c.latency.AddTo(&t.Latency)
		for rcode := range notSent {
			t.Updates[rcodeName(rcode)] += c.updates[rcode].Load()
		}
		for row := range c.answered {
			for rcode := range c.answered[row] {
				n := c.answered[row][rcode].Load()
				t.Types[typeNames[row]] += n
				if rcode < notSent {
					t.Rcodes[rcodeName(rcode)] += n
				}
			}
		}
	}
	return sum
}
