package dnsserver_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsutil"

	"godwit/internal/dnsname"
	"godwit/internal/dnsserver"
	"godwit/internal/zone"
)

// largeZone has more at many of its names than a forger may be lent.
const largeZone = `
$TTL 300
@         IN MX    10 mail.example.net.
          IN MX    20 backup.example.com.
          IN TXT   "v=spf1 include:_spf.example.net include:_spf.example.com ip4:192.0.2.0/24 -all"
www       IN CNAME many
alias     IN CNAME www
child     IN NS    ns1.child
          IN NS    ns2.child
          IN NS    ns.example.net.
ns1.child IN A     192.0.2.1
          IN AAAA  2001:db8::1
ns2.child IN A     192.0.2.2
          IN AAAA  2001:db8::2
old       IN DNAME many
mixed     IN TXT   "a"
          IN CAA   0 issue "a-certification-authority-with-a-long-name.example.net; account=0123456789"
          IN TYPE666 \# 40 00000000000000000000000000000000000000000000000000000000000000000000000000000000
`

var largeNames = []string{"", "many.", "nothere.", "ent.", "a.ent.", "*.w.", "x.w.", "x.y.w.", "www.", "alias.", "child.", "x.child.", "ns1.child.", "old.", "x.old.", "mixed.", "ns.", "gone."}

// large is largeZone at an apex, with hosts that have as many values as there may be.
func large(t testing.TB, apex string) *zone.Zones {
	t.Helper()
	records, err := zone.Parse(strings.NewReader(largeZone), "large.zone", dnsname.MustParse(apex))
	if err != nil {
		t.Fatal(err)
	}
	made, err := zone.New(zone.Config{
		Apex:    dnsname.MustParse(apex),
		Records: records,
		NameServers: []zone.NameServer{
			{Name: dnsname.MustParse("ns." + apex), Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.53")}},
			{Name: dnsname.MustParse("a-secondary.of-a-company.example.net")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var a, aaaa []netip.Addr
	var txt []string
	for i := range 8 {
		a = append(a, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		aaaa = append(aaaa, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i)))
		txt = append(txt, fmt.Sprint(strings.Repeat("t", 60), i))
	}
	for _, owner := range []string{"many.", "a.ent.", "*.w.", "mixed.", "gone."} {
		if err := made.Set(dnsname.MustParse(owner+apex), 60, a, aaaa, txt, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := made.Set(dnsname.MustParse("gone."+apex), 60, nil, nil, nil, 2); err != nil {
		t.Fatal(err)
	}
	zones, err := zone.NewZones(made)
	if err != nil {
		t.Fatal(err)
	}
	return zones
}

// TestAmplification: whatever name and type is asked for by UDP, and however, a
// response is at most two and a half times as long as its query, unless a valid
// cookie has proved the client's address. Of a signed zone it is ten times for who
// asks for signatures. An apex of one short label is where a query is smallest and
// a SOA weighs most.
func TestAmplification(t *testing.T) {
	othersCookie := func(answer func(query []byte, tcp bool) []byte) []byte {
		reply := answer((&probe{qname: "nowhere.example.net", qtype: dns.TypeA, edns: edns(clientCookie...)}).query(), false)
		cookie := bytes.Clone(reply[len(reply)-6-28 : len(reply)-6]) // before the extended error
		cookie[len(cookie)-1] ^= 1
		return cookie
	}
	for _, apex := range []string{z, "x", "signed", "s"} {
		zones := large(t, apex)
		signed := strings.HasPrefix(apex, "s")
		if signed {
			sign(t, zones, apex)
		}
		for _, limit := range []int{0, 1} { // 1: everything but the first is a slip, or nothing
			if signed && limit > 0 {
				continue // slips are the same
			}
			respond := dnsserver.NewTestResponder(zones, limit)
			out := make([]byte, 0, 1232+zone.Slack)
			answer := func(query []byte, tcp bool) []byte { return respond(query, out, testClient, tcp, testNow) }
			forms := []*ednsQuery{nil, edns(), withFlags(edns(), 0x8000), edns(clientCookie...), edns(expireOption...), edns(allOptions...)}
			if limit == 0 {
				forms = append(forms, edns(othersCookie(answer)...))
			}
			check := func(p probe) {
				query := p.query()
				most := 5 * len(query)
				if signed && p.edns != nil && p.edns.flags&0x8000 != 0 {
					most = 20 * len(query)
				}
				if reply := answer(query, false); 2*len(reply) > most {
					t.Errorf("%s %s: %d octets for %d: %x", p.qname, dnsutil.TypeToString(p.qtype), len(reply), len(query), query)
				}
			}
			for _, label := range append(largeNames, "outside") {
				name := label + apex
				if label == "outside" {
					name = "example.net"
				}
				for i, form := range forms {
					types := 300 // all that are assigned but for a few, and reserved ones
					if label == "" && i == 0 && limit == 0 && !signed {
						types = 1 << 16
					}
					for rrtype := range types {
						check(probe{qname: name, qtype: uint16(rrtype), edns: form})
					}
					check(probe{qname: name, qtype: dns.TypeTXT, class: dns.ClassCHAOS, edns: form})
					check(probe{qname: name, qtype: dns.TypeA, edns: form, tsig: true})
				}
			}
			for _, p := range probes() {
				check(p)
			}
		}
	}
}

// TestProvenGetsAll: what is held back is there by TCP, and by UDP for who sends
// back the cookie that it was given, while who knows no cookies is told to come
// by TCP.
func TestProvenGetsAll(t *testing.T) {
	answer := respond(large(t, z))
	for _, tt := range []struct {
		qname string
		qtype uint16
		want  int // records
	}{
		{"many." + z, dns.TypeA, 8},
		{"many." + z, dns.TypeAAAA, 8},
		{"many." + z, dns.TypeTXT, 8},
		{"many." + z, dns.TypeANY, 8},
		{"alias." + z, dns.TypeA, 2 + 8},
		{"x.y.w." + z, dns.TypeA, 8},
		{z, dns.TypeTXT, 1},
		{"child." + z, dns.TypeA, 3 + 4},
		{"mixed." + z, dns.TypeCAA, 1},
	} {
		ask := func(form *ednsQuery, tcp bool) *dns.Msg {
			t.Helper()
			m := &dns.Msg{Data: answer((&probe{qname: tt.qname, qtype: tt.qtype, edns: form}).query(), tcp)}
			if err := m.Unpack(); err != nil {
				t.Fatal(err)
			}
			return m
		}
		records := func(m *dns.Msg) int { return len(m.Answer) + len(m.Ns) + len(m.Extra) }
		title := fmt.Sprint(tt.qname, " ", dnsutil.TypeToString(tt.qtype))
		for _, form := range []*ednsQuery{nil, edns()} {
			if m := ask(form, false); !m.Truncated || records(m) != 0 {
				t.Errorf("%s: by UDP, without a cookie: %v", title, m)
			}
			if m := ask(form, true); m.Truncated || records(m) != tt.want {
				t.Errorf("%s: by TCP: %v", title, m)
			}
		}
		m := ask(edns(clientCookie...), false)
		if m.Truncated || m.Rcode != dns.RcodeBadCookie || records(m) != 0 {
			t.Errorf("%s: with half a cookie: %v", title, m)
		}
		cookie := edns(bytes.Clone(m.Data[len(m.Data)-28:])...)
		if m := ask(cookie, false); m.Truncated || m.Rcode != dns.RcodeSuccess || records(m) != tt.want {
			t.Errorf("%s: with a cookie: %v", title, m)
		}
		cookie.size = 512
		if m := ask(cookie, false); len(m.Data) > 512 || m.Truncated != (tt.qname == "many."+z && tt.qtype == dns.TypeTXT) {
			t.Errorf("%s: with a cookie, in 512 octets: %v", title, m)
		}
	}
}

// TestOrdinaryFits: what resolvers ask hosts for everyday is not cut, whatever
// they know of EDNS and cookies.
func TestOrdinaryFits(t *testing.T) {
	answer := respond(testZones(t))
	for _, qname := range []string{"home." + z, "v4only." + z, "x.w." + z, "nothere." + z, "ent." + z, z} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSOA, dns.TypeNS, dns.TypeHTTPS, dns.TypeCAA, dns.TypeDS} {
			for _, form := range []*ednsQuery{nil, edns(), withFlags(edns(clientCookie...), 0x8000)} {
				p := probe{qname: qname, qtype: qtype, edns: form}
				if reply := answer(p.query(), false); reply[2]&2 != 0 || reply[7]+reply[9] == 0 {
					t.Errorf("%s %s: %x", qname, dnsutil.TypeToString(qtype), reply)
				}
			}
		}
	}
}
