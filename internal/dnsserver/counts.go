package dnsserver

import (
	"sync/atomic"

	"codeberg.org/miekg/dns"
)

// Counts are how many messages were answered, and how. They only grow.
type Counts struct {
	UDP, TCP  uint64     // responses by transport
	Rcodes    [24]uint64 // responses by rcode, 0 to 23 (BADCOOKIE)
	Truncated uint64     // responses with TC
	Dropped   uint64     // messages that got no response: too short, or responses themselves
	Withheld  uint64     // responses by UDP that were not sent, over Config.ResponsesPerSecond
	Slipped   uint64     // those of which a slip was sent
	Cookies   uint64     // queries with a valid server cookie
	Conns     uint64     // TCP connections that were accepted
	Refused   uint64     // TCP connections that were closed over a limit: at once, or to make room
}

// counts are the counts of one goroutine, or of all TCP connections: apart, so
// that the processors do not pass one cache line around.
type counts struct {
	udp, tcp, truncated, dropped, withheld, slipped, cookies, conns, refused atomic.Uint64
	rcodes                                                                   [24]atomic.Uint64
	_                                                                        [64]byte
}

func (c *counts) count(tcp bool, rcode uint16, truncated bool) {
	if tcp {
		c.tcp.Add(1)
	} else {
		c.udp.Add(1)
	}
	if rcode <= dns.RcodeBadCookie {
		c.rcodes[rcode].Add(1)
	}
	if truncated {
		c.truncated.Add(1)
	}
}

// Counts adds up what was counted so far. It may be called at any time.
func (s *Server) Counts() Counts {
	s.countsMu.Lock()
	defer s.countsMu.Unlock()
	var sum Counts
	for _, c := range s.counts {
		sum.UDP += c.udp.Load()
		sum.TCP += c.tcp.Load()
		sum.Truncated += c.truncated.Load()
		sum.Dropped += c.dropped.Load()
		sum.Withheld += c.withheld.Load()
		sum.Slipped += c.slipped.Load()
		sum.Cookies += c.cookies.Load()
		sum.Conns += c.conns.Load()
		sum.Refused += c.refused.Load()
		for i := range c.rcodes {
			sum.Rcodes[i] += c.rcodes[i].Load()
		}
	}
	return sum
}
