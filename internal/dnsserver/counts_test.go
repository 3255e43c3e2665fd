package dnsserver_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsserver"
	"godwit/internal/tsig"
)

// TestCounts asks in all ways and looks at what was counted. Counts are made
// before a response is on its way, but for its latency.
func TestCounts(t *testing.T) {
	s := start(t, dnsserver.Config{UDPSockets: 1})
	at := s.Addrs()[0]
	for _, network := range []string{"udp", "tcp"} {
		for _, q := range []probe{
			{qname: "home." + z, qtype: dns.TypeA},
			{qname: "home." + z, qtype: dns.TypeAAAA},
			{qname: "nothere." + z, qtype: dns.TypeHTTPS},
			{qname: "www.example.net", qtype: dns.TypeCAA},
			{qname: "home." + z, qtype: 65280},
			{qname: "home." + z, qtype: dns.TypeA, edns: edns1()},
		} {
			exchange(t, network, at, q.query())
		}
	}
	withCookie := probe{qname: "home." + z, qtype: dns.TypeA, edns: edns(clientCookie...)}
	reply := &dns.Msg{Data: exchange(t, "udp", at, withCookie.query())}
	if err := reply.Unpack(); err != nil {
		t.Fatal(err)
	}
	cut := hostQuery(1)[:14]
	exchange(t, "udp", at, cut) // FORMERR, and of no type

	for deadline := time.Now().Add(within); ; {
		c := s.Counts()
		if c.UDP.Latency.N == c.UDP.Responses() && c.TCP.Latency.N == c.TCP.Responses() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not every response was timed: %+v", c)
		}
		runtime.Gosched()
	}
	c := s.Counts()
	types := map[string]uint64{"A": 2, "AAAA": 1, "HTTPS": 1, "CAA": 1, "other": 1, "MX": 0}
	rcodes := map[string]uint64{"NOERROR": 3, "NXDOMAIN": 1, "REFUSED": 1, "BADVERS": 1, "FORMERR": 0, "other": 0}
	check := func(transport string, got *dnsserver.Transport) {
		for name, want := range types {
			if got.Types[name] != want {
				t.Errorf("%s: %d queries of type %s, want %d", transport, got.Types[name], name, want)
			}
		}
		for rcode, want := range rcodes {
			if got.Rcodes[rcode] != want {
				t.Errorf("%s: %d responses with rcode %s, want %d", transport, got.Rcodes[rcode], rcode, want)
			}
		}
	}
	check("TCP", &c.TCP)
	types["A"]++
	types["other"]++
	rcodes["NOERROR"]++
	rcodes["FORMERR"]++
	check("UDP", &c.UDP)
	if c.Conns != 6 || c.Dropped+c.Withheld+c.Unsent+c.Refused+c.Evicted != 0 {
		t.Errorf("%+v", c)
	}
	conn := dial(t, "tcp", at)
	conn.Write(framed(hostQuery(2)))
	readTCP(t, conn)
	if c := s.Counts(); c.Open < 1 {
		t.Errorf("%d connections are open", c.Open)
	}
}

// TestOverflowed sends more than a socket's queue holds to a server that does not
// read yet, and hears of what the kernel dropped.
func TestOverflowed(t *testing.T) {
	if runtime.GOOS != "linux" {
		s := start(t, dnsserver.Config{})
		if n := s.Counts().Overflowed; n != 0 {
			t.Errorf("%d", n)
		}
		return
	}
	s, err := dnsserver.New(t.Context(), dnsserver.Config{Zones: testZones(t), UDPSockets: 1, Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	packet := make([]byte, 16<<10)
	for sent := 0; s.Counts().Overflowed == 0; sent++ {
		if sent > 4000 { // 64 MB
			t.Fatal("the kernel has dropped nothing")
		}
		if _, err := c.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpdateCounts: UPDATE messages are counted by what they were answered, and no
// queries; what is wrong with signatures is counted of both.
func TestUpdateCounts(t *testing.T) {
	u := newUpdates(t)
	at := u.server.Addrs()[0]
	wrong := u.key
	wrong.Secret = append([]byte("x"), wrong.Secret...)
	for _, network := range []string{"udp", "tcp"} {
		u.pass(time.Second)
		exchangeAll(t, network, at, u.sign(update(1, z, false, nil, []rr{{challengeOf(home), dns.TypeTXT, dns.ClassINET, 60, "\x01x"}})))
		exchangeAll(t, network, at, u.sign(update(2, z, false, nil, []rr{{other, dns.TypeTXT, dns.ClassINET, 60, "\x01x"}})))
		exchangeAll(t, network, at, update(3, z, false, nil, []rr{addA(7)}))
		for _, msg := range [][]byte{update(4, z, false, nil, []rr{addA(7)}), (&probe{qname: home, qtype: dns.TypeA}).query()} {
			r := tsig.Request(binary.BigEndian.Uint16(msg), u.clock())
			msg, _ = wrong.Sign(msg, &r, nil, false)
			exchangeAll(t, network, at, msg)
		}
		exchangeAll(t, network, at, u.sign((&probe{qname: home, qtype: dns.TypeAAAA}).query()))
	}
	c := u.server.Counts()
	for transport, got := range map[string]*dnsserver.Transport{"UDP": &c.UDP, "TCP": &c.TCP} {
		for rcode, want := range map[string]uint64{"NOERROR": 1, "REFUSED": 2, "NOTAUTH": 1, "SERVFAIL": 0} {
			if got.Updates[rcode] != want {
				t.Errorf("%s: %d updates were answered %s, want %d", transport, got.Updates[rcode], rcode, want)
			}
		}
		for name, want := range map[string]uint64{"A": 1, "AAAA": 1, "SOA": 0, "other": 0} {
			if got.Types[name] != want {
				t.Errorf("%s: %d queries of type %s, want %d", transport, got.Types[name], name, want)
			}
		}
		if n := got.Responses(); n != 2 {
			t.Errorf("%s: %d responses to queries, want 2", transport, n)
		}
	}
	if c.TSIG["BADSIG"] != 4 || c.TSIG["BADKEY"]+c.TSIG["BADTIME"]+c.TSIG["BADTRUNC"]+c.Crowded+c.Dropped != 0 {
		t.Errorf("%+v", c)
	}
}
