package dnssec_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsutil"

	"godwit/internal/dnsname"
	"godwit/internal/dnssec"
	"godwit/internal/zone"
)

const apex = "dyn.example.org"

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// records have every form that an answer can take.
const records = `
$TTL 300
@           IN MX    10 Mail.example.net.
            IN TXT   "v=spf1 -all"
www         IN CNAME home
away        IN CNAME www.example.net.
loop        IN CNAME loop2
loop2       IN CNAME loop
gone        IN CNAME nothere
child       IN NS    ns.child
ns.child    IN A     192.0.2.2
safe        IN NS    ns.example.net.
safe        IN DS    12345 13 2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
old         IN DNAME new
new         IN TXT   "new"
a.new       IN A     192.0.2.9
*.cn        IN CNAME home
_sip._udp   IN SRV   0 5 5060 SIP.Example.net.
rp          IN RP    Who.example.net. Txt.example.net.
naptr       IN NAPTR 100 10 "u" "sip+E2U" "!^.*$!sip:info@example.org!" Nowhere.Example.net.
afsdb       IN AFSDB 1 AFS.Example.net.
svc         IN HTTPS 1 Svc.Example.net. alpn=h2
unknown     IN TYPE666 \# 3 abcdef
home        IN TXT   "static"
far         IN TYPE65280 \# 1 00
`

// memory is a store and what is secured.
type memory struct {
	texts map[dnsname.Name][]byte
	zone  *zone.Zone
	shown *zone.Security
	fail  error
}

func (m *memory) ZoneKeys(_ context.Context, apex dnsname.Name) ([]byte, error) {
	return m.texts[apex], m.fail
}

func (m *memory) SetZoneKeys(_ context.Context, apex dnsname.Name, text []byte) error {
	if m.fail == nil {
		m.texts[apex] = text
	}
	return m.fail
}

func (m *memory) Secure(_ context.Context, _ dnsname.Name, s *zone.Security) error {
	m.shown = s
	if m.zone != nil {
		m.zone.Secure(s)
	}
	return nil
}

func newZone(t testing.TB) *zone.Zone {
	t.Helper()
	parsed, err := zone.Parse(strings.NewReader(records), "test.zone", dnsname.MustParse(apex))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zone.New(zone.Config{
		Apex: dnsname.MustParse(apex), Records: parsed, Serial: 1,
		NameServers: []zone.NameServer{{Name: dnsname.MustParse("ns." + apex), Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v4, v6 := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7")
	for _, h := range []struct {
		name string
		a    []netip.Addr
		aaaa []netip.Addr
		txt  []string
	}{
		{"home", []netip.Addr{netip.MustParseAddr("203.0.113.9"), v4}, []netip.Addr{v6}, []string{"dynamic", "a"}},
		{"v4only", []netip.Addr{v4}, nil, nil},
		{"a.ent", []netip.Addr{v4}, nil, nil},
		{"*.w", []netip.Addr{v4}, nil, []string{"wild"}},
	} {
		if err := z.Set(dnsname.MustParse(h.name+"."+apex), 60, h.a, h.aaaa, h.txt, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.SetChallenge(dnsname.MustParse("_acme-challenge.home."+apex), []string{"token"}); err != nil {
		t.Fatal(err)
	}
	return z
}

// signedZone is a zone with every form, and the keeper of its keys.
func signedZone(t testing.TB) (*zone.Zone, *dnssec.Keeper) {
	t.Helper()
	z := newZone(t)
	m := &memory{texts: map[dnsname.Name][]byte{}, zone: z}
	k, err := dnssec.Open(t.Context(), dnssec.Config{
		Zones: m, Store: m, Apexes: map[dnsname.Name]time.Duration{dnsname.MustParse(apex): time.Hour},
		Now: func() time.Time { return began }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return z, k
}

// ask asks a zone for signatures and reads the answer.
func ask(t testing.TB, z *zone.Zone, name string, qtype uint16, now time.Time, compact bool) *dns.Msg {
	t.Helper()
	q := dns.NewMsg(dnsutil.Fqdn(name), qtype)
	if err := q.Pack(); err != nil {
		t.Fatal(err)
	}
	msg := append(make([]byte, 0, 1<<16), q.Data...)
	msg[2] |= 0x80
	end := 12
	for msg[end] != 0 {
		end += 1 + int(msg[end])
	}
	var w zone.Writer
	w.Start(msg[:end+5], []byte(strings.ToLower(string(msg[12:end+1]))), 65535-zone.Slack)
	w.Secure(now, true, compact)
	z.Answer(&w, qtype)
	m := &dns.Msg{Data: w.Finish()}
	if err := m.Unpack(); err != nil {
		t.Fatalf("%s: %v\n%x", name, err, m.Data)
	}
	return m
}

// rrset is one RRset with its signatures.
type rrset struct {
	owner  string
	rrtype uint16
	rrs    []dns.RR
	sigs   []*dns.RRSIG
}

func rrsets(section []dns.RR) (out []*rrset) {
	find := func(owner string, rrtype uint16) *rrset {
		for _, s := range out {
			if s.owner == owner && s.rrtype == rrtype {
				return s
			}
		}
		s := &rrset{owner: owner, rrtype: rrtype}
		out = append(out, s)
		return s
	}
	for _, rr := range section {
		owner := strings.ToLower(rr.Header().Name)
		if sig, ok := rr.(*dns.RRSIG); ok {
			s := find(owner, sig.TypeCovered)
			s.sigs = append(s.sigs, sig)
			continue
		}
		rrtype := dns.RRToType(rr)
		if unknown, ok := rr.(*dns.RFC3597); ok {
			rrtype = unknown.RRType
		}
		s := find(owner, rrtype)
		s.rrs = append(s.rrs, rr)
	}
	return out
}

// keysOf are the zone's keys, by tag.
func keysOf(t testing.TB, z *zone.Zone, now time.Time) map[uint16]*dns.DNSKEY {
	out := make(map[uint16]*dns.DNSKEY)
	for _, rr := range ask(t, z, apex, dns.TypeDNSKEY, now, false).Answer {
		if k, ok := rr.(*dns.DNSKEY); ok {
			out[k.KeyTag()] = k
		}
	}
	return out
}

// validate holds each RRset of an answer to its signature, which it must have but
// for what is the child's side of a delegation and what a DNAME makes.
func validate(t testing.TB, m *dns.Msg, keys map[uint16]*dns.DNSKEY, now time.Time) {
	t.Helper()
	dnames := ""
	for i, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, s := range rrsets(section) {
			if s.rrtype == dns.TypeDNAME {
				dnames = s.owner
			}
			if i == 1 && s.rrtype == dns.TypeNS || s.rrtype == dns.TypeCNAME && dnames != "" && strings.HasSuffix(s.owner, "."+dnames) {
				if len(s.sigs) > 0 {
					t.Errorf("%s %s is signed", s.owner, dnsutil.TypeToString(s.rrtype))
				}
				continue
			}
			if len(s.sigs) == 0 {
				t.Errorf("%s %s has no signature", s.owner, dnsutil.TypeToString(s.rrtype))
			}
			for _, sig := range s.sigs {
				if len(s.rrs) == 0 {
					continue // of a question for RRSIG
				}
				key := keys[sig.KeyTag]
				if key == nil {
					t.Errorf("%s %s: signed by key %d, which is none of the zone's", s.owner, dnsutil.TypeToString(s.rrtype), sig.KeyTag)
					continue
				}
				if err := sig.Verify(key, s.rrs, &dns.SignOption{}); err != nil {
					t.Errorf("%s %s: %v", s.owner, dnsutil.TypeToString(s.rrtype), err)
				}
				if !sig.ValidPeriod(now) || !sig.ValidPeriod(now.Add(-2*time.Hour)) || !sig.ValidPeriod(now.Add(7*24*time.Hour)) {
					t.Errorf("%s %s: valid from %d to %d, and it is %d", s.owner, dnsutil.TypeToString(s.rrtype), sig.Inception, sig.Expiration, now.Unix())
				}
				if sig.OrigTTL != s.rrs[0].Header().TTL || sig.Hdr.TTL != sig.OrigTTL {
					t.Errorf("%s: TTL %d of a set with %d", s.owner, sig.OrigTTL, s.rrs[0].Header().TTL)
				}
			}
		}
	}
	for _, rr := range m.Extra {
		if _, is := rr.(*dns.RRSIG); is {
			t.Errorf("glue is signed: %s", rr)
		}
	}
}

// nsec is the proof in an answer, "" if there is none.
func nsec(m *dns.Msg) string {
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		if n, ok := rr.(*dns.NSEC); ok {
			var types []string
			for _, b := range n.TypeBitMap {
				types = append(types, dnsutil.TypeToString(b))
			}
			next := strings.ReplaceAll(n.NextDomain, "\x00", `\000`) // the library does not escape it
			return strings.TrimSuffix(n.Hdr.Name, "."+apex+".") + " " + strings.TrimSuffix(next, "."+apex+".") + " " + strings.Join(types, " ")
		}
	}
	return ""
}

func TestSignedAnswers(t *testing.T) {
	z, _ := signedZone(t)
	keys := keysOf(t, z, began)
	if len(keys) != 1 {
		t.Fatalf("%d keys", len(keys))
	}
	none := "RRSIG NSEC NXNAME"
	for _, tt := range []struct {
		name, qtype string
		nsec        string // owner, next, types
		missing     bool
	}{
		{"home", "A", "", false}, {"home", "AAAA", "", false}, {"home", "TXT", "", false}, {"HoMe", "A", "", false},
		{"home", "MX", `home \000.home A TXT AAAA RRSIG NSEC`, false},
		{"v4only", "AAAA", `v4only \000.v4only A RRSIG NSEC`, false},
		{"@", "SOA", "", false}, {"@", "NS", "", false}, {"@", "MX", "", false}, {"@", "DNSKEY", "", false}, {"@", "ANY", "", false},
		{"@", "A", apex + `. \000 NS SOA MX TXT RRSIG NSEC DNSKEY`, false},
		{"@", "DS", apex + `. \000 NS SOA MX TXT RRSIG NSEC DNSKEY`, false},
		{"@", "NSEC", apex + `. \000 NS SOA MX TXT RRSIG NSEC DNSKEY`, false}, {"@", "RRSIG", "", false},
		{"home", "RRSIG", "", false}, {"ent", "RRSIG", "", false}, {"www", "RRSIG", "", false},
		{"home", "NSEC", `home \000.home A TXT AAAA RRSIG NSEC`, false}, {"www", "NSEC", `www \000.www CNAME RRSIG NSEC`, false},
		{"nothere", "A", `nothere \000.nothere ` + none, true}, {"nothere", "NSEC", `nothere \000.nothere ` + none, true}, {"a.b.c", "ANY", `a.b.c \000.a.b.c ` + none, true},
		{"ent", "A", `ent \000.ent RRSIG NSEC`, false}, {"_acme-challenge.home", "TXT", "", false},
		{"_acme-challenge.home", "A", `_acme-challenge.home \000._acme-challenge.home TXT RRSIG NSEC`, false},
		{"x.w", "A", "", false}, {"x.y.w", "TXT", "", false}, {"*.w", "A", "", false}, {"w", "A", `w \000.w RRSIG NSEC`, false},
		{"x.w", "AAAA", `x.w \000.x.w A TXT RRSIG NSEC`, false}, {"*.w", "MX", `*.w \000.*.w A TXT RRSIG NSEC`, false},
		{"x.cn", "A", "", false}, {"x.cn", "MX", `home \000.home A TXT AAAA RRSIG NSEC`, false},
		{"www", "A", "", false}, {"www", "CNAME", "", false}, {"www", "MX", `home \000.home A TXT AAAA RRSIG NSEC`, false},
		{"away", "A", "", false}, {"loop", "A", "", false}, {"gone", "A", `nothere \000.nothere ` + none, true},
		{"a.old", "A", "", false}, {"x.old", "A", `x.new \000.x.new ` + none, true}, {"old", "A", `old \000.old DNAME RRSIG NSEC`, false}, {"old", "DNAME", "", false},
		{"x.child", "A", `child child\000 NS RRSIG NSEC`, false}, {"child", "DS", `child child\000 NS RRSIG NSEC`, false},
		{"x.safe", "A", "", false}, {"safe", "DS", "", false}, {"safe", "NS", "", false},
		{"_sip._udp", "SRV", "", false}, {"rp", "RP", "", false}, {"naptr", "NAPTR", "", false}, {"afsdb", "AFSDB", "", false}, {"svc", "HTTPS", "", false},
		{"unknown", "A", `unknown \000.unknown RRSIG NSEC TYPE666`, false}, {"far", "A", `far \000.far RRSIG NSEC TYPE65280`, false},
	} {
		t.Run(tt.name+" "+tt.qtype, func(t *testing.T) {
			name := apex
			if tt.name != "@" {
				name = tt.name + "." + apex
			}
			qtype, err := dnsutil.StringToType(tt.qtype)
			if err != nil {
				t.Fatal(err)
			}
			for _, compact := range []bool{false, true} {
				m := ask(t, z, name, qtype, began, compact)
				validate(t, m, keys, began)
				if got := nsec(m); got != tt.nsec {
					t.Errorf("NSEC %q, want %q", got, tt.nsec)
				}
				want := uint16(dns.RcodeSuccess)
				if tt.missing && compact {
					want = dns.RcodeNameError
				}
				if m.Rcode != want {
					t.Errorf("rcode %d, want %d", m.Rcode, want)
				}
				if tt.qtype == "RRSIG" && len(m.Answer) != 1 {
					t.Errorf("%d signatures", len(m.Answer))
				}
			}
		})
	}
}

// TestSignaturesAreCounted: those that are made, once each, and those that are
// refused when a second's worth has been made.
func TestSignaturesAreCounted(t *testing.T) {
	z, k := signedZone(t)
	for range 3 {
		ask(t, z, "rp."+apex, dns.TypeRP, began, false)
	}
	if got, want := k.Counts(), (dnssec.Counts{There: dnssec.Signatures{Made: 1}}); got != want {
		t.Errorf("one signature, asked for three times: %+v", got)
	}
	for i := range 1100 { // the SOA's is one of what is there
		ask(t, z, fmt.Sprintf("none%d.%s", i, apex), dns.TypeA, began, false)
	}
	if got, want := k.Counts(), (dnssec.Counts{There: dnssec.Signatures{Made: 2}, MadeUp: dnssec.Signatures{Made: 1000, Refused: 100}}); got != want {
		t.Errorf("made-up names: %+v, want %+v", got, want)
	}
}

// TestClockIsSetBack: what was signed at a time that is still to come is signed anew,
// though a second's worth was made then.
func TestClockIsSetBack(t *testing.T) {
	z, _ := signedZone(t)
	keys := keysOf(t, z, began)
	wrong := began.Add(365 * 24 * time.Hour)
	ask(t, z, "home."+apex, dns.TypeA, wrong, false)
	for i := range 1100 {
		ask(t, z, fmt.Sprintf("none%d.%s", i, apex), dns.TypeA, wrong, false)
	}
	for i, name := range []string{"home", "none1", "another"} {
		now := began.Add(time.Duration(i) * time.Second / 100)
		m := ask(t, z, name+"."+apex, dns.TypeA, now, false)
		if m.Truncated || len(m.Answer)+len(m.Ns) == 0 {
			t.Errorf("%s: no signature", name)
		}
		validate(t, m, keys, now)
	}
}
