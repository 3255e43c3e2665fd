package zone_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"codeberg.org/miekg/dns"
	"pgregory.net/rapid"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

func emptyZone(t testing.TB) *zone.Zone {
	return mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Serial: 7})
}

func TestSetOldGenerationChangesNothing(t *testing.T) {
	z := emptyZone(t)
	const nas = "nas.example.org"
	setHost(t, z, nas, 5, "192.0.2.5")
	before := show(t, ask(z, nas, dns.TypeA, 1232))
	setHost(t, z, nas, 4, "192.0.2.4")
	setHost(t, z, nas, 3)
	if got := show(t, ask(z, nas, dns.TypeA, 1232)); got != before {
		t.Errorf("after older states:\n%s", got)
	}
	setHost(t, z, nas, 6)
	setHost(t, z, nas, 5, "192.0.2.5")
	if got := show(t, ask(z, nas, dns.TypeA, 1232)); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Errorf("an older state came back after the removal:\n%s", got)
	}
	z.Forget(dnsname.MustParse(nas))
	setHost(t, z, nas, 1, "192.0.2.1")
	if got := show(t, ask(z, nas, dns.TypeA, 1232)); !strings.Contains(got, "192.0.2.1") {
		t.Errorf("after Forget:\n%s", got)
	}
	z.Forget(dnsname.MustParse(nas)) // is in DNS: stays
	setHost(t, z, nas, 0, "192.0.2.9")
	if got := show(t, ask(z, nas, dns.TypeA, 1232)); !strings.Contains(got, "192.0.2.1\n") {
		t.Errorf("Forget dropped the generation of a host in DNS:\n%s", got)
	}
	if z.Hosts() != 1 {
		t.Errorf("%d hosts", z.Hosts())
	}
}

func TestSetRefuses(t *testing.T) {
	z := emptyZone(t)
	nas := dnsname.MustParse("nas.example.org")
	many := make([]netip.Addr, 256)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	}
	for name, err := range map[string]error{
		"other zone":      z.Set(dnsname.MustParse("nas.example.net"), 60, nil, nil, nil, 1),
		"TTL":             z.Set(nas, 1<<31, nil, nil, nil, 1),
		"family":          z.Set(nas, 60, addrs("2001:db8::1"), nil, nil, 1),
		"family 6":        z.Set(nas, 60, nil, addrs("192.0.2.1"), nil, 1),
		"none":            z.Set(nas, 60, []netip.Addr{{}}, nil, nil, 1),
		"IPv6 zone":       z.Set(nas, 60, nil, addrs("fe80::1%eth0"), nil, 1),
		"many addresses":  z.Set(nas, 60, many, nil, nil, 1),
		"long text":       z.Set(nas, 60, nil, nil, []string{strings.Repeat("x", 5000)}, 1),
		"many texts":      z.Set(nas, 60, nil, nil, make([]string, 300), 1),
		"text in all":     z.Set(nas, 60, nil, nil, longTexts(), 1),
		"mapped is valid": z.Set(nas, 60, addrs("::ffff:192.0.2.1"), nil, nil, 1),
	} {
		valid := name == "mapped is valid"
		if (err == nil) != valid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := show(t, ask(z, "nas.example.org", dns.TypeA, 1232)); !strings.Contains(got, "192.0.2.1") {
		t.Errorf("mapped address: %s", got)
	}
}

func longTexts() (out []string) {
	for i := range 10 {
		out = append(out, strings.Repeat(fmt.Sprint(i), 4000))
	}
	return out
}

// TestIndex holds the hash table to a map through loading, growth, splits and removals,
// with names at all depths.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z, err := zone.New(zone.Config{Apex: dnsname.MustParse("example.org")})
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		want := map[string]byte{}
		n := rapid.IntRange(1, 400).Draw(t, "names")
		loaders := []*zone.Loader{z.Load(), z.Load()}
		for i := range rapid.IntRange(0, n).Draw(t, "loaded") {
			owner, value := fmt.Sprintf("h%d.d%d.example.org", i, i%3), byte(random.IntN(256))
			if err := loaders[i%2].Add(dnsname.MustParse(owner), 60, []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, value})}, nil, nil, 0); err != nil {
				t.Fatal(err)
			}
			want[owner] = value
		}
		z.Fill(loaders...)
		for i := range 3 * n {
			owner := fmt.Sprintf("h%d.d%d.example.org", random.IntN(n), random.IntN(3))
			value := byte(random.IntN(256))
			var a []netip.Addr
			if value%4 > 0 {
				a = append(a, netip.AddrFrom4([4]byte{192, 0, 2, value}))
				want[owner] = value
			} else {
				delete(want, owner)
			}
			if err := z.Set(dnsname.MustParse(owner), 60, a, nil, nil, uint64(i)); err != nil {
				t.Fatal(err)
			}
			if value%16 == 0 {
				z.Forget(dnsname.MustParse(owner))
			}
		}
		if z.Hosts() != len(want) {
			t.Fatalf("%d hosts, want %d", z.Hosts(), len(want))
		}
		for i := range n {
			for d := range 3 {
				owner := fmt.Sprintf("h%d.d%d.example.org", i, d)
				reply := ask(z, owner, dns.TypeA, 1232)
				value, there := want[owner]
				if there && (reply[3]&15 != 0 || reply[len(reply)-1] != value) || !there && reply[3]&15 != dns.RcodeNameError {
					t.Fatalf("%s: %x, want %d %t", owner, reply, value, there)
				}
			}
		}
		for d := range 3 {
			parent := fmt.Sprintf(".d%d.example.org", d)
			alive := false
			for owner := range want {
				alive = alive || strings.HasSuffix(owner, parent)
			}
			if reply := ask(z, parent[1:], dns.TypeA, 1232); (reply[3]&15 == 0) != alive {
				t.Fatalf("%s: rcode %d, hosts below: %t", parent[1:], reply[3]&15, alive)
			}
		}
	})
}

// TestFill loads so many hosts that each part of the Loaders makes several buckets.
func TestFill(t *testing.T) {
	z := mustNew(t, zone.Config{Apex: dnsname.MustParse("dyn.example.com")})
	const n = 20_000
	loaders := []*zone.Loader{z.Load(), z.Load(), z.Load()} // the last one gets none
	value := func(i int) []byte { return []byte{198, 51, byte(i >> 8), byte(i)} }
	for i := range n {
		if err := loaders[i%2].Add(hostName(i), 60, []netip.Addr{netip.AddrFrom4([4]byte(value(i)))}, nil, nil, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := z.Hosts(); got != 0 {
		t.Errorf("%d hosts before Fill", got)
	}
	z.Fill(loaders...)
	if got := z.Hosts(); got != n {
		t.Errorf("%d hosts, want %d", got, n)
	}
	var w zone.Writer
	for i := range n {
		q := prepare(hostName(i).String(), dns.TypeA)
		if reply := q.ask(z, &w); !bytes.HasSuffix(reply, value(i)) {
			t.Fatalf("%s: %x", hostName(i), reply)
		}
	}
	q := prepare(hostName(n).String(), dns.TypeA)
	if reply := q.ask(z, &w); reply[3]&15 != dns.RcodeNameError {
		t.Errorf("a host that was not loaded: %x", reply)
	}
}

// TestAnswersBesideWriter asks while a writer flips hosts between states that
// no answer may mix: two pairs of addresses, and a name that is there, or not
// there and covered by a wildcard.
func TestAnswersBesideWriter(t *testing.T) {
	z := emptyZone(t)
	setHost(t, z, "*.example.org", 1, "203.0.113.99")
	pairs := [2][]string{{"192.0.2.1", "192.0.2.2", "one"}, {"198.51.100.1", "198.51.100.2", "two"}}
	setHost(t, z, "flip.example.org", 1, pairs[0]...)
	var stop atomic.Bool
	var serial atomic.Uint32 // of the last change that Set has returned from
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				seen := serial.Load()
				a := string(ask(z, "flip.example.org", dns.TypeA, 1232))
				one := strings.Contains(a, "\xc0\x00\x02\x01") && strings.Contains(a, "\xc0\x00\x02\x02")
				two := strings.Contains(a, "\xc6\x33\x64\x01") && strings.Contains(a, "\xc6\x33\x64\x02")
				if a[7] != 2 || one == two {
					t.Errorf("a mixture: %x", a)
					return
				}
				// a.b is there with its parent, or the wildcard answers; there
				// is no NXDOMAIN in between.
				if deep := ask(z, "a.b.example.org", dns.TypeA, 1232); deep[3]&15 != 0 || deep[7] != 1 {
					t.Errorf("a.b: %x", deep)
					return
				}
				// Whoever has seen a serial sees what it stands for.
				soa := ask(z, "example.org", dns.TypeSOA, 1232)
				if shown := uint32(soa[len(soa)-17]) | uint32(soa[len(soa)-18])<<8 | uint32(soa[len(soa)-19])<<16 | uint32(soa[len(soa)-20])<<24; shown < seen {
					t.Errorf("serial %d after %d", shown, seen)
					return
				}
			}
		})
	}
	for i := uint64(2); i < 3000; i++ {
		setHost(t, z, "flip.example.org", i, pairs[i%2]...)
		if i%2 == 0 {
			setHost(t, z, "a.b.example.org", i, "192.0.2.7")
		} else {
			setHost(t, z, "a.b.example.org", i)
			z.Forget(dnsname.MustParse("a.b.example.org"))
		}
		setHost(t, z, fmt.Sprintf("other%d.example.org", i), i, "192.0.2.8") // makes buckets split
		z.SetSerial(uint32(i))
		serial.Store(uint32(i))
	}
	stop.Store(true)
	readers.Wait()
}

func TestZones(t *testing.T) {
	child := mustNew(t, zone.Config{Apex: dnsname.MustParse("child.example.org")})
	hidden := mustNew(t, zone.Config{Apex: dnsname.MustParse("hidden.example.org")})
	parent := mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Records: mustParse(t, "child NS ns.example.net.\n", "example.org")})
	deep := mustNew(t, zone.Config{Apex: dnsname.MustParse("x.child.example.org")})
	zones, err := zone.NewZones(parent, child, hidden, deep)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		qtype uint16
		want  *zone.Zone
	}{
		{"example.org", dns.TypeA, parent},
		{"a.b.example.org", dns.TypeA, parent},
		{"child.example.org", dns.TypeA, child},
		{"y.child.example.org", dns.TypeDS, child},
		{"child.example.org", dns.TypeDS, parent},
		{"hidden.example.org", dns.TypeDS, hidden}, // the parent knows nothing of it
		{"x.child.example.org", dns.TypeDS, deep},  // nor does the parent's parent of this one
		{"example.org", dns.TypeDS, parent},
		{"badexample.org", dns.TypeA, nil},
		{"org", dns.TypeA, nil},
		{".", dns.TypeNS, nil},
	} {
		name := []byte(dnsname.MustParse(tt.name).Wire())
		if got := zones.Find(name, tt.qtype); got != tt.want {
			t.Errorf("%s %d: got %v", tt.name, tt.qtype, got)
		}
		if n := testing.AllocsPerRun(10, func() { zones.Find(name, tt.qtype) }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
	if _, err := zone.NewZones(parent, parent); err == nil {
		t.Error("a zone was taken twice")
	}
	if (*zone.Zones)(nil).Find([]byte{0}, dns.TypeA) != nil {
		t.Error("no zones found one")
	}
}

// TestZonesDSAcrossDelegation: who delegates something above a zone is not its parent.
func TestZonesDSAcrossDelegation(t *testing.T) {
	top := mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Records: mustParse(t, "child NS ns.example.net.\n", "example.org")})
	deep := mustNew(t, zone.Config{Apex: dnsname.MustParse("x.child.example.org")})
	zones, err := zone.NewZones(top, deep)
	if err != nil {
		t.Fatal(err)
	}
	if got := zones.Find([]byte(deep.Apex().Wire()), dns.TypeDS); got != deep {
		t.Errorf("DS of %s is for %s", deep.Apex(), got.Apex())
	}
}

// TestNestedZones: a zone says nothing about names of a zone inside of it, not
// even at the end of a CNAME or DNAME.
func TestNestedZones(t *testing.T) {
	outer := mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Records: mustParse(t, `
www   CNAME nas.inner
old   DNAME inner
apex  CNAME inner
other CNAME nas.innermost
`, "example.org")})
	inner := mustNew(t, zone.Config{Apex: dnsname.MustParse("inner.example.org")})
	setHost(t, outer, "nas.innermost.example.org", 1, "192.0.2.1")
	setHost(t, inner, "nas.inner.example.org", 1, "192.0.2.2")
	far := mustNew(t, zone.Config{Apex: dnsname.MustParse("far.down.example.org")})
	if _, err := zone.NewZones(inner, outer, far); err != nil {
		t.Fatal(err)
	}
	const soa = "  authority  example.org. 60 IN SOA ns.example.org. hostmaster.example.org. 0 14400 3600 1209600 60\n"
	for _, tt := range []struct{ qname, want string }{
		{"www.example.org", "NOERROR aa\n  answer     www.example.org. 3600 IN CNAME nas.inner.example.org.\n"},
		{"apex.example.org", "NOERROR aa\n  answer     apex.example.org. 3600 IN CNAME inner.example.org.\n"},
		{"nas.old.example.org", "NOERROR aa\n  answer     old.example.org. 3600 IN DNAME inner.example.org.\n  answer     nas.old.example.org. 3600 IN CNAME nas.inner.example.org.\n"},
		{"other.example.org", "NOERROR aa\n  answer     other.example.org. 3600 IN CNAME nas.innermost.example.org.\n  answer     nas.innermost.example.org. 60 IN A 192.0.2.1\n"},
		// A resolver would believe that nothing is below what does not exist.
		{"down.example.org", "NOERROR aa\n" + soa},
		{"x.down.example.org", "NXDOMAIN aa\n" + soa},
		{"own.example.org", "NXDOMAIN aa\n" + soa},
	} {
		if got := show(t, ask(outer, tt.qname, dns.TypeA, 1232)); got != tt.want {
			t.Errorf("%s: got\n%swant\n%s", tt.qname, got, tt.want)
		}
	}
}
