package dnsserver_test

import (
	"context"
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
	"godwit/internal/dnsserver"
	"godwit/internal/tsig"
	"godwit/internal/zone"
)

// noKeys is a store that has no keys and keeps none.
type noKeys struct{ zones *zone.Zones }

func (noKeys) ZoneKeys(context.Context, dnsname.Name) ([]byte, error)  { return nil, nil }
func (noKeys) SetZoneKeys(context.Context, dnsname.Name, []byte) error { return nil }

func (n noKeys) Secure(_ context.Context, apex dnsname.Name, s *zone.Security) error {
	n.zones.Find([]byte(apex.Wire()), 0).Secure(s)
	return nil
}

// signedZones are the zones of the tests, signed.
func signedZones(t testing.TB) *zone.Zones {
	t.Helper()
	zones := testZones(t)
	sign(t, zones, z)
	return zones
}

func sign(t testing.TB, zones *zone.Zones, apex string) {
	t.Helper()
	_, err := dnssec.Open(t.Context(), dnssec.Config{
		Zones: noKeys{zones}, Store: noKeys{}, Apexes: map[dnsname.Name]time.Duration{dnsname.MustParse(apex): time.Hour}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCompactDenial asks for names that do not exist as one who knows compact
// denial, and for the type that says so.
func TestCompactDenial(t *testing.T) {
	s := start(t, dnsserver.Config{Zones: signedZones(t)})
	for _, tt := range []struct {
		name  string
		qtype uint16
		flags uint16
		rcode uint16
		co    bool
	}{
		{"nothere." + z, dns.TypeA, 0x8000, dns.RcodeSuccess, false},
		{"nothere." + z, dns.TypeA, 0xc000, dns.RcodeNameError, true},
		{"nothere." + z, dns.TypeA, 0x4000, dns.RcodeNameError, false}, // without DO as from an unsigned zone
		{"ent." + z, dns.TypeA, 0xc000, dns.RcodeSuccess, true},
		{"home." + z, dns.TypeA, 0xc000, dns.RcodeSuccess, true},
		{"x.child." + z, dns.TypeA, 0xc000, dns.RcodeSuccess, true},
		{"home." + z, zone.TypeNXNAME, 0xc000, dns.RcodeFormatError, false},
	} {
		p := probe{qname: tt.name, qtype: tt.qtype, edns: &ednsQuery{size: 1232, flags: tt.flags}}
		for _, network := range []string{"udp", "tcp"} {
			m := &dns.Msg{Data: exchange(t, network, s.Addrs()[0], p.query())}
			if err := m.Unpack(); err != nil {
				t.Fatal(err)
			}
			if m.Rcode != tt.rcode || m.CompactAnswers != tt.co {
				t.Errorf("%s %d by %s with flags %x: rcode %d, CO %t", tt.name, tt.qtype, network, tt.flags, m.Rcode, m.CompactAnswers)
			}
			if tt.qtype == zone.TypeNXNAME && (len(m.Pseudo) != 1 || m.Pseudo[0].(*dns.EDE).InfoCode != dns.ExtendedErrorInvalidQueryType) {
				t.Errorf("%s: %v", tt.name, m.Pseudo)
			}
		}
	}
}

// loop is a server without sockets, and its clock.
type loop struct {
	respond func(query, out []byte, client netip.Addr, tcp bool, now time.Time) []byte
	now     func() time.Time
	out     []byte
}

func newLoop(zones *zone.Zones, now func() time.Time) *loop {
	return &loop{dnsserver.NewTestResponder(zones, 0), now, make([]byte, 0, 65535+zone.Slack)}
}

func (l *loop) ask(query []byte, tcp bool) []byte {
	return l.respond(query, l.out, testClient, tcp, l.now())
}

// TestSignaturesAreRationed floods a server with names that do not exist: beyond
// what may be signed in a second, clients by UDP are sent to TCP, and there refused,
// while those who ask for what is there notice nothing.
func TestSignaturesAreRationed(t *testing.T) {
	now := time.Now()
	l := newLoop(signedZones(t), func() time.Time { return now })
	count := func(tcp bool) (signed, cut, refused int) {
		for i := range 3000 {
			p := probe{qname: string([]byte{'a' + byte(i%26), 'a' + byte(i/26%26), 'a' + byte(i/676)}) + map[bool]string{true: "t", false: "u"}[tcp] + "." + z, qtype: dns.TypeA, edns: &ednsQuery{size: 1232, flags: 0x8000}}
			reply := l.ask(p.query(), tcp)
			switch {
			case reply[3]&0x0f == byte(dns.RcodeServerFailure):
				refused++
			case reply[2]&0x02 != 0:
				cut++
			default:
				signed++
			}
		}
		return signed, cut, refused
	}
	if signed, cut, refused := count(false); signed != 500 || cut != 2500 || refused != 0 {
		t.Errorf("by UDP %d signed, %d cut, %d refused", signed, cut, refused)
	}
	if signed, cut, refused := count(true); signed != 1000 || cut != 0 || refused != 2000 {
		t.Errorf("by TCP %d signed, %d cut, %d refused", signed, cut, refused)
	}
	home := probe{qname: "home." + z, qtype: dns.TypeA, edns: &ednsQuery{size: 1232, flags: 0x8000}}
	if reply := l.ask(home.query(), false); reply[2]&0x02 != 0 || reply[7] != 2 {
		t.Errorf("what is there: %x", reply)
	}
	// Unsigned, all are answered; a second later some are signed again.
	missing := probe{qname: "zzz." + z, qtype: dns.TypeA}
	if reply := l.ask(missing.query(), false); reply[3]&0x0f != byte(dns.RcodeNameError) {
		t.Errorf("unsigned: %x", reply)
	}
	now = now.Add(time.Second)
	missing.edns = &ednsQuery{size: 1232, flags: 0x8000}
	if reply := l.ask(missing.query(), false); reply[2]&0x02 != 0 || reply[9] != 4 {
		t.Errorf("a second later: %x", reply)
	}
}

// TestSignedAnswersAllocateNothing holds for what has been signed once.
func TestSignedAnswersAllocateNothing(t *testing.T) {
	l := newLoop(signedZones(t), time.Now)
	for _, name := range []string{"home." + z, "nothere." + z, "x.w." + z, "v4only." + z, "x.child." + z} {
		p := probe{qname: name, qtype: dns.TypeAAAA, edns: &ednsQuery{size: 1232, flags: 0x8000}}
		query := p.query()
		l.ask(query, true)
		if n := testing.AllocsPerRun(100, func() { l.ask(query, true) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestSignedTransfer: a signed zone is transferred whole, unless a secondary has it,
// and one with more names than can be signed for that is refused.
func TestSignedTransfer(t *testing.T) {
	zones := signedZones(t)
	made := zones.Find([]byte(dnsname.MustParse(z).Wire()), 0)
	made.KeepHistory(zone.History{Changes: 1e5, Octets: 1e7})
	s := start(t, dnsserver.Config{Zones: zones, Transfers: &primary{Zones: zones}, TransferKeys: []tsig.Key{transferKey}})
	from := made.Serial()
	setTransferHost(t, made, 1, 1)
	made.SetSerial(from + 1)
	_, whole := transferFrom(t, "tcp", s.Addrs()[0], transferQuery(z, dns.TypeAXFR, 0, true), transferKey)
	_, again := transferFrom(t, "tcp", s.Addrs()[0], transferQuery(z, dns.TypeIXFR, from, true), transferKey)
	if !slices.Equal(slices.Sorted(slices.Values(whole)), slices.Sorted(slices.Values(again))) || !strings.Contains(strings.Join(whole, "\n"), " IN NSEC ") {
		t.Errorf("AXFR has\n%s\nIXFR\n%s", strings.Join(whole, "\n"), strings.Join(again, "\n"))
	}
	if _, none := transferFrom(t, "tcp", s.Addrs()[0], transferQuery(z, dns.TypeIXFR, from+1, true), transferKey); len(none) != 1 {
		t.Errorf("no news is %q", none)
	}
	for i := range 100_000 {
		setTransferHost(t, made, i, 2)
	}
	for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
		first, records := transferFrom(t, "tcp", s.Addrs()[0], transferQuery(z, qtype, map[uint16]uint32{dns.TypeIXFR: 1}[qtype], true), transferKey)
		if first.Rcode != dns.RcodeRefused || len(records) != 0 || len(first.Pseudo) == 0 || first.Pseudo[0].(*dns.EDE).InfoCode != dns.ExtendedErrorNotSupported {
			t.Errorf("%s: %v, %d records", dnsutil.TypeToString(qtype), first, len(records))
		}
	}
}
