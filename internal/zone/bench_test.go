package zone_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// hostZone is a zone of n hosts with an address each, as a start makes it.
func hostZone(tb testing.TB, n int) *zone.Zone {
	tb.Helper()
	z := mustNew(tb, zone.Config{
		Apex:        dnsname.MustParse("dyn.example.com"),
		NameServers: []zone.NameServer{{Name: dnsname.MustParse("ns.dyn.example.com"), Addresses: addrs("192.0.2.53")}},
		Serial:      1,
	})
	load := z.Load()
	addr := make([]netip.Addr, 1)
	for i := range n {
		addr[0] = netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)})
		if err := load.Add(hostName(i), 60, addr, nil, nil, uint64(i)); err != nil {
			tb.Fatal(err)
		}
	}
	z.Fill(load)
	return z
}

func hostName(i int) dnsname.Name {
	return dnsname.MustParse(fmt.Sprintf("host%06d.dyn.example.com", i))
}

// prepared is a question that can be asked again and again.
type prepared struct {
	msg, qname []byte
	qtype      uint16
}

func prepare(name string, qtype uint16) prepared {
	msg, qname := questionBytes(name, qtype)
	return prepared{msg, qname, qtype}
}

func (p *prepared) ask(z *zone.Zone, w *zone.Writer) []byte {
	w.Start(p.msg, p.qname, 1232)
	z.Answer(w, p.qtype)
	return w.Finish()
}

func benchmarkAnswers(b *testing.B, questions []prepared) {
	z := hostZone(b, 100_000)
	var w zone.Writer
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		questions[i%len(questions)].ask(z, &w)
	}
}

func hits(n int) (out []prepared) {
	for i := range n {
		out = append(out, prepare(hostName(i*7919%100_000).String(), dns.TypeA))
	}
	return out
}

func BenchmarkAnswerHit(b *testing.B) { benchmarkAnswers(b, hits(4096)) }

// BenchmarkAnswerMix is 80 % hits, 10 % NXDOMAIN, 10 % NODATA.
func BenchmarkAnswerMix(b *testing.B) {
	questions := hits(4096)
	for i := range questions {
		switch i % 10 {
		case 8:
			questions[i] = prepare(fmt.Sprintf("nobody%06d.dyn.example.com", i), dns.TypeA)
		case 9:
			questions[i] = prepare(hostName(i).String(), dns.TypeAAAA)
		}
	}
	benchmarkAnswers(b, questions)
}

// BenchmarkAnswerHitBesideWriter asks while one goroutine updates hosts all the time.
func BenchmarkAnswerHitBesideWriter(b *testing.B) {
	z := hostZone(b, 100_000)
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for i := uint64(0); ; i++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			z.Set(hostName(int(i*31%100_000)), 60, addrs("203.0.113.1"), nil, nil, 1_000_000+i)
			n++
		}
	}()
	questions := hits(4096)
	var w zone.Writer
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		questions[i%len(questions)].ask(z, &w)
	}
	close(stop)
	b.ReportMetric(float64(<-done)/b.Elapsed().Seconds(), "updates/s")
}

func BenchmarkSet(b *testing.B) {
	z := hostZone(b, 100_000)
	names := make([]dnsname.Name, 4096)
	for i := range names {
		names[i] = hostName(i * 7919 % 100_000)
	}
	addr := addrs("203.0.113.1")
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		z.Set(names[i%4096], 60, addr, nil, nil, 1_000_000+i)
	}
}

// BenchmarkLoadMillion loads 1,000,000 hosts and reports what they occupy.
func BenchmarkLoadMillion(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		z := hostZone(b, n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/host")
		if z.Hosts() != n {
			b.Fatalf("%d hosts", z.Hosts())
		}
	}
}

func TestOrdinaryAnswersAllocateNothing(t *testing.T) {
	z := hostZone(t, 1000)
	if err := z.Set(dnsname.MustParse("*.w.dyn.example.com"), 60, addrs("192.0.2.1"), addrs("2001:db8::1"), []string{"text"}, 1); err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]prepared{
		"hit":      prepare("host000001.dyn.example.com", dns.TypeA),
		"case":     prepare("HoSt000001.dyn.example.com", dns.TypeA),
		"nodata":   prepare("host000001.dyn.example.com", dns.TypeAAAA),
		"nxdomain": prepare("a.b.c.nobody.dyn.example.com", dns.TypeA),
		"wildcard": prepare("x.y.w.dyn.example.com", dns.TypeAAAA),
		"txt":      prepare("x.w.dyn.example.com", dns.TypeTXT),
		"soa":      prepare("dyn.example.com", dns.TypeSOA),
		"ns":       prepare("dyn.example.com", dns.TypeNS),
		"long":     prepare(strings.Repeat("a", 63)+"."+strings.Repeat("b", 63)+".dyn.example.com", dns.TypeA),
	} {
		var w zone.Writer
		if n := testing.AllocsPerRun(100, func() { q.ask(z, &w) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestMemoryPerHost keeps the index small; BenchmarkLoadMillion has the figure
// for a million.
func TestMemoryPerHost(t *testing.T) {
	const n = 20_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	z := hostZone(t, n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if per := float64(after.HeapAlloc-before.HeapAlloc) / n; per > 60 {
		t.Errorf("%.1f octets per host, want at most 60", per)
	}
	runtime.KeepAlive(z)
}
