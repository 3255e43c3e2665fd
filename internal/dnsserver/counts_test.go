package dnsserver_test

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsserver"
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
