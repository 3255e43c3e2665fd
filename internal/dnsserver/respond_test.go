package dnsserver_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
	"godwit/internal/dnsserver"
	"godwit/internal/zone"
)

var (
	testClient = netip.MustParseAddr("192.0.2.77")
	testNow    = time.Unix(1_800_000_000, 0)
)

// respond is a server without sockets.
func respond(zones dnsserver.Zones) func(query []byte, tcp bool) []byte {
	r := dnsserver.NewTestResponder(zones, 0)
	out := make([]byte, 0, 65535+zone.Slack)
	return func(query []byte, tcp bool) []byte { return r(query, out, testClient, tcp, testNow) }
}

func TestNoAllocations(t *testing.T) {
	answer := respond(testZones(t))
	for _, p := range probes() {
		if p.tsig {
			continue
		}
		query := p.query()
		for _, tcp := range []bool{false, true} {
			if n := testing.AllocsPerRun(50, func() { answer(query, tcp) }); n != 0 {
				t.Errorf("%s (tcp %t): %v allocations", p.name, tcp, n)
			}
		}
	}
}

// TestMalformed has messages that get FORMERR or nothing, by what is wrong.
func TestMalformed(t *testing.T) {
	answer := respond(testZones(t))
	good := (&probe{qname: "home." + z, qtype: dns.TypeA, edns: edns()}).query()
	end := 12 + len(wireName("home."+z)) + 4
	with := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	set := func(i int, values ...byte) []byte {
		return with(func(b []byte) []byte { copy(b[i:], values); return b })
	}
	opt := func(options ...byte) []byte {
		return (&probe{qname: z, qtype: dns.TypeSOA, edns: edns(options...)}).query()
	}
	record := func(owner []byte, rrtype, class uint16) []byte {
		b := binary.BigEndian.AppendUint16(bytes.Clone(owner), rrtype)
		b = binary.BigEndian.AppendUint16(b, class)
		return append(b, 0, 0, 0, 0, 0, 0)
	}
	for _, tt := range []struct {
		name  string
		query []byte
		want  int // rcode, -1: nothing
	}{
		{"good", good, 0},
		{"nothing", nil, -1},
		{"eleven octets", good[:11], -1},
		{"a response", set(2, 0x80), -1},
		{"header only", good[:12], dns.RcodeFormatError},
		{"cut in the name", good[:20], dns.RcodeFormatError},
		{"cut in the type", good[:end-3], dns.RcodeFormatError},
		{"cut in the OPT", good[:len(good)-1], dns.RcodeFormatError},
		{"two questions", set(4, 0, 2), dns.RcodeFormatError},
		{"no question", set(4, 0, 0), dns.RcodeFormatError},
		{"one octet too many", append(bytes.Clone(good), 0), dns.RcodeFormatError},
		{"pointer in the question", set(12, 0xc0, 12), dns.RcodeFormatError},
		{"label type 0x40", set(12, 0x41), dns.RcodeFormatError},
		{"claims 65535 records", set(6, 255, 255, 255, 255, 255, 255), dns.RcodeFormatError},
		{"claims an answer", set(6, 0, 1, 0, 0, 0, 0), 0}, // the OPT is that answer
		{"OPT with a name", with(func(b []byte) []byte { return slices.Insert(b, end, 1, 'a') }), dns.RcodeFormatError},
		{"option cut short", opt(0, 10, 0, 8, 1, 2), dns.RcodeFormatError},
		{"option without length", opt(0, 10), dns.RcodeFormatError},
		{"cookie of 0", opt(0, 10, 0, 0), dns.RcodeFormatError},
		{"cookie of 8", opt(append([]byte{0, 10, 0, 8}, make([]byte, 8)...)...), 0},
		{"cookie of 9", opt(append([]byte{0, 10, 0, 9}, make([]byte, 9)...)...), dns.RcodeFormatError},
		{"cookie of 15", opt(append([]byte{0, 10, 0, 15}, make([]byte, 15)...)...), dns.RcodeFormatError},
		{"cookie of 16", opt(append([]byte{0, 10, 0, 16}, make([]byte, 16)...)...), 0},
		{"cookie of 40", opt(append([]byte{0, 10, 0, 40}, make([]byte, 40)...)...), 0},
		{"cookie of 41", opt(append([]byte{0, 10, 0, 41}, make([]byte, 41)...)...), dns.RcodeFormatError},
		{"keepalive on UDP", opt(0, 11, 0, 1, 9), 0},
		{"TSIG before OPT", with(func(b []byte) []byte {
			b[11] = 2
			return slices.Insert(b, end, record([]byte{0}, dns.TypeTSIG, dns.ClassANY)...)
		}), dns.RcodeFormatError},
		{"TSIG of class IN", with(func(b []byte) []byte {
			b[11] = 2
			return append(b, record([]byte{0}, dns.TypeTSIG, dns.ClassINET)...)
		}), dns.RcodeFormatError},
		{"TSIG without data", with(func(b []byte) []byte {
			b[11] = 2
			return append(b, record([]byte{0}, dns.TypeTSIG, dns.ClassANY)...)
		}), -2},
		{"pointer forward", with(func(b []byte) []byte {
			b[11] = 2
			return append(b, record([]byte{0xc0, 200}, dns.TypeA, dns.ClassINET)...)
		}), dns.RcodeFormatError},
		{"pointer to itself", with(func(b []byte) []byte {
			b[11] = 2
			return append(b, record([]byte{0xc0, byte(len(b))}, dns.TypeA, dns.ClassINET)...)
		}), dns.RcodeFormatError},
		{"name of 255 octets", longName(255), dns.RcodeRefused},
		{"name of 256 octets", longName(256), dns.RcodeFormatError},
	} {
		reply := answer(tt.query, false)
		got := -1
		if reply != nil {
			got = int(reply[3] & 15)
		}
		if tt.want == -2 { // what the library makes of it: any refusal will do
			if got != dns.RcodeFormatError && got != int(dns.RcodeNotAuth) {
				t.Errorf("%s: rcode %d", tt.name, got)
			}
			continue
		}
		if got != tt.want {
			t.Errorf("%s: rcode %d, want %d", tt.name, got, tt.want)
		}
	}
}

// longKey asks with a TSIG record whose key and question have long names.
func longKey() []byte {
	name := longName(250)
	p := probe{qname: ".", qtype: dns.TypeA, tsig: true}
	query := p.query()
	return slices.Concat(query[:12], name[12:], name[12:262], query[12+1+4+1:])
}

// TestLongKey: the TSIG record of the answer must fit, or there is none.
func TestLongKey(t *testing.T) {
	answer := respond(testZones(t))
	if reply := answer(longKey(), false); len(reply) > 512 || reply[3]&15 != dns.RcodeFormatError || reply[11] != 0 {
		t.Errorf("by UDP: %x", reply)
	}
	if reply := answer(longKey(), true); reply[3]&15 != byte(dns.RcodeNotAuth) || reply[11] != 1 {
		t.Errorf("by TCP: %x", reply)
	}
}

// longName asks for a name of n octets.
func longName(n int) []byte {
	msg := []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	left := n - 1
	for left > 0 {
		l := min(left-1, 63)
		if left-1-l == 1 {
			l--
		}
		msg = append(msg, byte(l))
		msg = append(msg, strings.Repeat("a", l)...)
		left -= 1 + l
	}
	return append(msg, 0, 0, 1, 0, 1)
}

func TestKeepaliveOnTCP(t *testing.T) {
	answer := respond(testZones(t))
	p := probe{qname: "home." + z, qtype: dns.TypeA, edns: edns(0, 11, 0, 0)}
	reply := answer(p.query(), true)
	if !bytes.HasSuffix(reply, []byte{0, 11, 0, 2, 0, 100}) { // 10 s in units of 100 ms
		t.Errorf("%x", reply)
	}
	p.edns = edns(0, 11, 0, 2, 0, 1)
	if reply := answer(p.query(), true); reply[3]&15 != dns.RcodeFormatError {
		t.Errorf("keepalive with data: %x", reply)
	}
}

func TestConfigErrors(t *testing.T) {
	zones := testZones(t)
	local := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	for _, tt := range []struct {
		config dnsserver.Config
		want   string
	}{
		{dnsserver.Config{Addresses: local}, "without zones"},
		{dnsserver.Config{Zones: zones}, "without an address"},
		{dnsserver.Config{Zones: zones, Addresses: make([]netip.AddrPort, 1)}, "an address that is none"},
		{dnsserver.Config{Zones: zones, Addresses: local, UDPSize: 100}, "a UDP size of 100 octets; give 512 to 1400"},
		{dnsserver.Config{Zones: zones, Addresses: local, MaxConns: -1}, "a negative limit"},
		{dnsserver.Config{Zones: zones, Addresses: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")}}, "192.0.2.1:0"},
	} {
		s, err := dnsserver.New(context.Background(), tt.config)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestPortInUse(t *testing.T) {
	s := start(t, dnsserver.Config{})
	_, err := dnsserver.New(context.Background(), dnsserver.Config{Zones: testZones(t), Addresses: s.Addrs()[:1]})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a second server on the port: %v", err)
	}
}

// FuzzRespond: a reply is to a query, echoes ID, opcode and question, keeps
// the size limit and parses; a query that the library reads is answered as
// message objects would (reference); and it is quick.
func FuzzRespond(f *testing.F) {
	for _, p := range probes() {
		f.Add(p.query(), false)
		f.Add(p.query(), true)
	}
	f.Add([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0xc0, 12, 0, 1, 0, 1}, false)
	f.Add(longName(255), false)
	f.Add(longKey(), false)
	f.Add(longKey(), true)
	f.Add(append(longName(200), 0xc0, 12, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0), true)
	answer := respond(testZones(f))
	f.Fuzz(func(t *testing.T, query []byte, tcp bool) {
		if len(query) > 65535 {
			return
		}
		asked := bytes.Clone(query)
		var reply []byte
		for try := 0; ; try++ {
			began := time.Now()
			reply = answer(query, tcp)
			took := time.Since(began)
			if took <= 10*time.Millisecond {
				break
			}
			if try == 9 { // a busy machine is slow now and then, not each time
				t.Fatalf("took %v", took)
			}
		}
		if !bytes.Equal(query, asked) {
			t.Fatal("the query was changed")
		}
		if reply == nil {
			if len(query) >= 12 && query[2]&0x80 == 0 {
				t.Fatal("no reply")
			}
			return
		}
		if len(query) < 12 || query[2]&0x80 != 0 {
			t.Fatalf("a reply to no query: %x", reply)
		}
		if reply[0] != query[0] || reply[1] != query[1] || reply[2]&0xf8 != 0x80|query[2]&0x78 || reply[3]&0xe0 != 0 {
			t.Fatalf("header %x to %x", reply[:4], query[:4])
		}
		m := &dns.Msg{Data: reply}
		if err := m.Unpack(); err != nil {
			t.Fatalf("reply does not parse: %v\n%x", err, reply)
		}
		if !tcp && 2*len(reply) > 5*len(query) {
			t.Fatalf("%d octets for %d: %x", len(reply), len(query), query)
		}
		limit := 512
		switch q := (&dns.Msg{Data: query}); {
		case tcp:
			limit = 65535
		case m.UDPSize > 0 && q.Unpack() == nil:
			limit = min(1232, int(q.UDPSize)) // the library knows the floor too
		case m.UDPSize > 0:
			limit = 1232
		}
		if len(reply) > limit {
			t.Fatalf("%d octets, limit %d: %x", len(reply), limit, query)
		}
		if reply[5] == 1 {
			_, n, err := dnsname.FromWire(reply[12:])
			if err != nil || !bytes.Equal(reply[12:12+n+4], query[12:12+n+4]) {
				t.Fatalf("question of %x to %x", reply, query)
			}
		}
		if want, ok := reference(query); ok && (m.Rcode&15 != want.rcode || types(m.Answer) != want.answer && !m.Truncated) {
			t.Fatalf("%d %s, want %d %s\n%x", m.Rcode, types(m.Answer), want.rcode, want.answer, query)
		}
	})
}

type referenceAnswer struct {
	rcode  uint16
	answer string
}

// reference says what the answer to an ordinary question is, from message
// objects and the list of what the test zone has; false if it is not ordinary.
func reference(query []byte) (want referenceAnswer, ok bool) {
	m := &dns.Msg{Data: query}
	if m.Unpack() != nil || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 || len(m.Pseudo)+len(m.Extra)+len(m.Answer)+len(m.Ns) > 0 || m.Version != 0 {
		return want, false
	}
	name, n, err := dnsname.FromWire(query[12:])
	if err != nil || len(query) < 12+n+4 || strings.ContainsAny(name.String(), `\`) {
		return want, false
	}
	if len(query) > 12+n+4 && query[12+n+4] != 0 {
		return want, false // an OPT with a name, which the library takes
	}
	qtype, class := binary.BigEndian.Uint16(query[12+n:]), binary.BigEndian.Uint16(query[14+n:])
	if class != dns.ClassINET || !name.Under(dnsname.MustParse(z)) || qtype == dns.TypeAXFR || qtype == dns.TypeIXFR {
		return referenceAnswer{dns.RcodeRefused, none}, true
	}
	if qtype != dns.TypeA {
		return want, false
	}
	switch owner := strings.TrimSuffix(strings.TrimSuffix(name.String(), z), "."); {
	case slices.Contains([]string{"home", "v4only", "a.ent", "ns"}, owner), strings.HasSuffix(owner, ".w"):
		return referenceAnswer{dns.RcodeSuccess, "A"}, true
	case owner == "www":
		return referenceAnswer{dns.RcodeSuccess, "CNAME A"}, true
	case strings.HasSuffix(owner, ".old"):
		return want, false
	case slices.Contains([]string{"", "ent", "w", "old", "big", "unknown"}, owner), owner == "child", strings.HasSuffix(owner, ".child"):
		return referenceAnswer{dns.RcodeSuccess, none}, true
	}
	return referenceAnswer{dns.RcodeNameError, none}, true
}

func BenchmarkRespond(b *testing.B) {
	for _, p := range []probe{
		{name: "plain", qname: "home." + z, qtype: dns.TypeA},
		{name: "edns", qname: "home." + z, qtype: dns.TypeA, edns: edns()},
		{name: "cookie", qname: "home." + z, qtype: dns.TypeA, edns: edns(clientCookie...)},
		{name: "nxdomain", qname: "nothere." + z, qtype: dns.TypeA, edns: edns()},
		{name: "nodata", qname: "v4only." + z, qtype: dns.TypeAAAA, edns: edns()},
	} {
		b.Run(p.name, func(b *testing.B) {
			answer := respond(testZones(b))
			query := p.query()
			b.ReportAllocs()
			for b.Loop() {
				answer(query, false)
			}
		})
	}
}
