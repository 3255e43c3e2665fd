package dnsserver_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsserver"
	"godwit/internal/zone"
)

// limited is a server without sockets that sends so many responses in a second,
// and its clock.
type limited struct {
	respond func(query, out []byte, client netip.Addr, tcp bool, now time.Time) []byte
	now     time.Time
}

func newLimited(t testing.TB, perSecond int) *limited {
	return &limited{dnsserver.NewTestResponder(testZones(t), perSecond), testNow}
}

func (l *limited) ask(p probe, client string, tcp bool) []byte {
	return l.respond(p.query(), make([]byte, 0, 65535+zone.Slack), netip.MustParseAddr(client), tcp, l.now)
}

// outcome is "answer", "slip", "cookie" (a slip for who knows cookies) or "nothing".
func outcome(t testing.TB, reply []byte) string {
	t.Helper()
	if reply == nil {
		return "nothing"
	}
	m := &dns.Msg{Data: reply}
	if err := m.Unpack(); err != nil {
		t.Fatalf("%v: %x", err, reply)
	}
	empty := len(m.Answer)+len(m.Ns)+len(m.Extra) == 0 && len(m.Question) == 1
	switch {
	case m.Truncated && empty && m.Rcode == dns.RcodeSuccess:
		return "slip"
	case m.Rcode == dns.RcodeBadCookie && empty && !m.Authoritative:
		return "cookie"
	}
	return "answer"
}

// outcomes asks n times and says how often each outcome came.
func (l *limited) outcomes(t testing.TB, n int, ask func(i int) []byte) string {
	t.Helper()
	counts := map[string]int{}
	for i := range n {
		counts[outcome(t, ask(i))]++
	}
	var out []string
	for _, kind := range []string{"answer", "slip", "cookie", "nothing"} {
		if counts[kind] > 0 {
			out = append(out, fmt.Sprint(counts[kind], " ", kind))
		}
	}
	return strings.Join(out, ", ")
}

var hostA = probe{qname: "home." + z, qtype: dns.TypeA}

// TestLimitOverTime floods, goes slow, and comes back.
func TestLimitOverTime(t *testing.T) {
	l := newLimited(t, 10)
	flood := func(n int) string {
		return l.outcomes(t, n, func(i int) []byte { return l.ask(hostA, fmt.Sprintf("192.0.2.%d", i%256), false) })
	}
	for i, step := range []struct {
		wait time.Duration
		n    int
		want string
	}{
		{0, 10, "10 answer"}, // a second's worth at once
		{0, 10, "5 slip, 5 nothing"},
		{time.Second, 10, "5 slip, 5 nothing"},     // still in debt, of one second, and now of another
		{2500 * time.Millisecond, 10, "10 answer"}, // paid, with credit again
		{0, 400, "200 slip, 200 nothing"},          // as deep as debt goes
		{14 * time.Second, 1, "1 nothing"},         // and so long it takes
		{3 * time.Second, 10, "10 answer"},         //
		{14 * 24 * time.Hour, 10, "10 answer"},     // the time of an account has wrapped
		{-time.Hour, 10, "10 answer"},              // the clock was put back
		{time.Second, 5, "5 answer"},               // what is within the rate goes on
		{500 * time.Millisecond, 5, "5 answer"},    //
		{500 * time.Millisecond, 5, "5 answer"},    //
		{500 * time.Millisecond, 15, "10 answer, 3 slip, 2 nothing"},
	} {
		l.now = l.now.Add(step.wait)
		if got := flood(step.n); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

// TestLimitAccounts says which responses share an account: floods one, then asks
// another, which is limited if they are the same.
func TestLimitAccounts(t *testing.T) {
	const client = "192.0.2.7"
	a := func(name string) probe { return probe{qname: name, qtype: dns.TypeA} }
	aaaa := func(name string) probe { return probe{qname: name, qtype: dns.TypeAAAA} }
	for _, tt := range []struct {
		name          string
		flood, other  probe
		from          string // other; "": the same client
		wantTheirsToo bool   // limited
	}{
		{"the same", hostA, hostA, "", true},
		{"in other case", hostA, a("HOME." + z), "", true},
		{"another host", hostA, a("v4only." + z), "", false},
		{"in the same /24", hostA, hostA, "192.0.2.200", true},
		{"in another /24", hostA, hostA, "192.0.3.7", false},
		{"by IPv6", hostA, hostA, "2001:db8::7", false},
		{"names that do not exist", a("no.such." + z), a("nor.this." + z), "", true},
		{"types of a name that does not exist", a("no." + z), aaaa("no." + z), "", true},
		{"no such name, and the zone itself", a("no." + z), probe{qname: z, qtype: dns.TypeSOA}, "", false},
		{"names of a wildcard", a("x.w." + z), a("y.z.w." + z), "", true},
		{"nothing of a wildcard", aaaa("x.w." + z), aaaa("y.w." + z), "", true},
		{"something and nothing of a name", a("v4only." + z), aaaa("v4only." + z), "", false},
		{"names below a delegation", a("x.child." + z), a("y.child." + z), "", true},
		{"names below a DNAME", a("x.old." + z), a("y.old." + z), "", true},
		{"errors", a("www.example.net"), a("www.example.com"), "", true},
	} {
		l := newLimited(t, 10)
		for range 40 {
			l.ask(tt.flood, client, false)
		}
		from := client
		if tt.from != "" {
			from = tt.from
		}
		got := outcome(t, l.ask(tt.other, from, false)) + " " + outcome(t, l.ask(tt.other, from, false))
		want := "answer answer"
		switch {
		case tt.name == "errors": // leaks: REFUSED is not to be had otherwise by TCP
			want = "nothing answer"
		case tt.wantTheirsToo:
			want = "nothing slip"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", tt.name, got, want)
		}
	}
	l := newLimited(t, 10)
	for range 40 {
		l.ask(hostA, "2001:db8:0:1ff::1", false)
	}
	if got := outcome(t, l.ask(hostA, "2001:db8:0:100::9", false)); got != "nothing" {
		t.Errorf("in the same /56: %s", got)
	}
	if got := outcome(t, l.ask(hostA, "2001:db8:0:200::9", false)); got != "answer" {
		t.Errorf("in another /56: %s", got)
	}
}

// TestLimitIsForForgers: what a forger cannot have is answered whatever the flood.
func TestLimitIsForForgers(t *testing.T) {
	const client = "192.0.2.7"
	l := newLimited(t, 10)
	flood := func(n int) {
		for range n {
			l.ask(hostA, "192.0.2.99", false)
		}
	}
	flood(1000)
	if got := l.outcomes(t, 100, func(int) []byte { return l.ask(hostA, client, true) }); got != "100 answer" {
		t.Errorf("by TCP: %s", got)
	}
	// Who knows cookies is given one, and is answered with it.
	asks := hostA
	asks.edns = edns(clientCookie...)
	reply := l.ask(asks, client, false)
	if got := outcome(t, reply); got != "nothing" {
		t.Fatalf("with half a cookie: %s", got)
	}
	reply = l.ask(asks, client, false)
	if got := outcome(t, reply); got != "cookie" {
		t.Fatalf("with half a cookie: %s", got)
	}
	asks.edns = edns(reply[len(reply)-28:]...)
	if got := l.outcomes(t, 100, func(int) []byte { return l.ask(asks, client, false) }); got != "100 answer" {
		t.Errorf("with a cookie: %s", got)
	}
	if got := l.outcomes(t, 100, func(int) []byte { return l.ask(asks, "192.0.2.8", false) }); got != "50 cookie, 50 nothing" {
		t.Errorf("with another one's cookie: %s", got)
	}
}

// TestSlipIsSmall: a slip is no larger than the query, but for the cookie.
func TestSlipIsSmall(t *testing.T) {
	for _, p := range probes() {
		l := newLimited(t, 1)
		query := p.query()
		for range 8 {
			if reply := l.ask(p, "192.0.2.7", false); outcome(t, reply) == "slip" && len(reply) > len(query) {
				t.Errorf("%s: %d octets for %d", p.name, len(reply), len(query))
			}
		}
	}
}

// TestLimitedFlood floods a live server from many sockets: as its clock stands
// still, exactly one second's worth is answered, and TCP is served meanwhile.
func TestLimitedFlood(t *testing.T) {
	const perSecond, senders, each = 25, 8, 60 // fewer than a socket's queue holds
	s := start(t, dnsserver.Config{ResponsesPerSecond: perSecond, UDPSockets: 4, Now: func() time.Time { return testNow }})
	query := hostA.query()
	replies := make(chan string, senders*each)
	done := make(chan struct{})
	for range senders {
		c := dial(t, "udp", s.Addrs()[0])
		go func() {
			buffer := make([]byte, 512)
			for {
				n, err := c.Read(buffer)
				if err != nil {
					return
				}
				replies <- outcome(t, bytes.Clone(buffer[:n]))
			}
		}()
		go func() {
			defer func() { done <- struct{}{} }()
			for range each {
				c.Write(query)
			}
		}()
	}
	for range 20 {
		if got := outcome(t, exchange(t, "tcp", s.Addrs()[0], query)); got != "answer" {
			t.Fatalf("by TCP: %s", got)
		}
	}
	for range senders {
		<-done
	}
	for deadline := time.Now().Add(within); ; {
		counts := s.Counts()
		if counts.UDP.Responses()+counts.Withheld == senders*each {
			if limited := counts.Withheld + counts.Slipped; limited != senders*each-perSecond || counts.Slipped != limited/2 {
				t.Errorf("%+v", counts)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v of %d", counts, senders*each)
		}
		exchange(t, "tcp", s.Addrs()[0], query)
	}
	var got []string
	for range perSecond + (senders*each-perSecond)/2 {
		got = append(got, <-replies)
	}
	slices.Sort(got)
	if answers := slices.Index(got, "slip"); answers != perSecond || got[len(got)-1] != "slip" {
		t.Errorf("%d answers, last %s", answers, got[len(got)-1])
	}
}

func TestLimitNoAllocations(t *testing.T) {
	l := newLimited(t, 10)
	out := make([]byte, 0, 512+zone.Slack)
	for _, client := range []string{"192.0.2.1", "2001:db8::1"} {
		client, query := netip.MustParseAddr(client), hostA.query()
		if n := testing.AllocsPerRun(100, func() { l.respond(query, out, client, false, l.now) }); n != 0 {
			t.Errorf("%s: %v allocations", client, n)
		}
	}
}

func TestLimitConfig(t *testing.T) {
	for _, n := range []int{-1, 1_000_001} {
		_, err := dnsserver.New(context.Background(), dnsserver.Config{Zones: testZones(t), Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, ResponsesPerSecond: n})
		if err == nil || !strings.Contains(err.Error(), "give 1 to 1000000") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// TestExtendedErrors: a refusal says why to who speaks EDNS (RFC 8914), and with
// a cookie too.
func TestExtendedErrors(t *testing.T) {
	answer := respond(testZones(t))
	for _, tt := range []struct {
		probe
		want int // -1: none
	}{
		{probe{qname: "www.example.net", qtype: dns.TypeA, edns: edns()}, 20},
		{probe{qname: z, qtype: dns.TypeAXFR, edns: edns()}, 18},
		{probe{qname: "version.bind", qtype: dns.TypeTXT, class: dns.ClassCHAOS, edns: edns(clientCookie...)}, 21},
		{probe{qname: "nothere." + z, qtype: dns.TypeA, edns: edns()}, -1},
		{probe{qname: z, qtype: dns.TypeSOA, edns: edns1()}, -1},
	} {
		m := &dns.Msg{Data: answer(tt.query(), false)}
		if err := m.Unpack(); err != nil {
			t.Fatal(err)
		}
		got := -1
		for _, o := range m.Pseudo {
			if e, ok := o.(*dns.EDE); ok {
				got = int(e.InfoCode)
			}
		}
		if got != tt.want {
			t.Errorf("%s %d: %d, want %d", tt.qname, tt.qtype, got, tt.want)
		}
	}
	plain := probe{qname: "www.example.net", qtype: dns.TypeA}
	if reply := answer(plain.query(), false); binary.BigEndian.Uint16(reply[10:]) != 0 {
		t.Errorf("without EDNS: %x", reply)
	}
}

// BenchmarkRespondLimited is BenchmarkRespond/edns with a limit that is not reached.
func BenchmarkRespondLimited(b *testing.B) {
	l := newLimited(b, 1_000_000)
	p := hostA
	p.edns = edns()
	query, out := p.query(), make([]byte, 0, 1232+zone.Slack)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.respond(query, out, testClient, false, testNow.Add(time.Duration(i)*2*time.Microsecond))
	}
}
