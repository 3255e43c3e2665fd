package dnsserver_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/dnsname"
	"godwit/internal/dnsserver"
	"godwit/internal/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// z is the zone of the tests. Its SOA record fits into two and a half times a
// query without EDNS, as that of a shorter name would not (TestAmplification).
const z = "hosts.example.org"

const zoneFile = `
$TTL 300
@           IN MX    10 mail.example.net.
            IN TXT   "v=spf1 -all"
www         IN CNAME home
child       IN NS    ns.child
ns.child    IN A     192.0.2.2
big         IN TXT   "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "a"
big         IN TXT   "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "b"
big         IN TXT   "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "c"
big         IN TXT   "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "d"
big         IN TXT   "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "e"
big         IN MX    10 mail.example.net.
old         IN DNAME child.example.net.
unknown     IN TYPE666 \# 3 abcdef
`

func testZone(t testing.TB) *zone.Zone {
	t.Helper()
	records, err := zone.Parse(strings.NewReader(zoneFile), "test.zone", dnsname.MustParse(z))
	if err != nil {
		t.Fatal(err)
	}
	made, err := zone.New(zone.Config{
		Apex:        dnsname.MustParse(z),
		Records:     records,
		NameServers: []zone.NameServer{{Name: dnsname.MustParse("ns." + z), Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}},
		Serial:      1767225600,
	})
	if err != nil {
		t.Fatal(err)
	}
	set := func(owner string, a, aaaa []netip.Addr) {
		if err := made.Set(dnsname.MustParse(owner), 60, a, aaaa, nil, 1); err != nil {
			t.Fatal(err)
		}
	}
	v4 := []netip.Addr{netip.MustParseAddr("198.51.100.7")}
	v6 := []netip.Addr{netip.MustParseAddr("2001:db8::7")}
	set("home."+z, v4, v6)
	set("v4only."+z, v4, nil)
	set("a.ent."+z, v4, nil)
	set("*.w."+z, v4, nil)
	return made
}

func testZones(t testing.TB) *zone.Zones {
	t.Helper()
	zones, err := zone.NewZones(testZone(t))
	if err != nil {
		t.Fatal(err)
	}
	return zones
}

// start serves on loopback, IPv4 first and IPv6 second, until the test ends.
func start(t testing.TB, c dnsserver.Config) *dnsserver.Server {
	t.Helper()
	if c.Zones == nil {
		c.Zones = testZones(t)
	}
	if c.Addresses == nil {
		c.Addresses = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")}
	}
	s, err := dnsserver.New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// within bounds a socket for a test: long, since it only passes when something is wrong.
const within = 5 * time.Second

func dial(t testing.TB, network string, addr netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(within))
	return c
}

func inCI() bool { return os.Getenv("CI") == "true" }
