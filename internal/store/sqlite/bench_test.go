package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/store/sqlite"
)

const benchHosts = 100_000

func benchName(i int) dnsname.Name {
	return dnsname.MustParse(fmt.Sprintf("host%07d.dyn.example.org", i))
}

// fill adds n hosts, each with a token.
func fill(tb testing.TB, s *sqlite.Store, n int) {
	tb.Helper()
	const batch = 1000
	for at := 0; at < n; at += batch {
		for err := ddns.ErrConflict; errors.Is(err, ddns.ErrConflict); { // two of a million IDs may be the same by chance
			writes := make([]ddns.Write, 0, batch)
			for i := at; i < min(at+batch, n); i++ {
				h := newHost(benchName(i))
				c, _ := ddns.NewToken(h.Name, day)
				writes = append(writes, created(h, c))
			}
			if err = s.Save(context.Background(), writes...); err != nil && !errors.Is(err, ddns.ErrConflict) {
				tb.Fatal(err)
			}
		}
	}
}

// age changes each host five times, so that rows and pages have the sizes that
// they have after some days.
func age(tb testing.TB, s *sqlite.Store, n int) {
	tb.Helper()
	const batch = 1000
	for range 5 {
		for at := 0; at < n; at += batch {
			var writes []ddns.Write
			for i := at; i < min(at+batch, n); i++ {
				h, _, err := s.Host(context.Background(), benchName(i))
				if err != nil {
					tb.Fatal(err)
				}
				writes = append(writes, moved(h, fmt.Sprintf("10.1.%d.%d", i>>8&255, i&255)))
			}
			if err := s.Save(context.Background(), writes...); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

func address(r *rand.Rand) string {
	n := r.Uint32()
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String()
}

// change does what the service does for one changed update.
func change(s *sqlite.Store, name dnsname.Name, to string) error {
	for {
		h, _, err := s.Host(context.Background(), name)
		if err != nil {
			return err
		}
		if err = s.Save(context.Background(), moved(h, to)); !errors.Is(err, ddns.ErrConflict) {
			return err
		}
	}
}

func BenchmarkSaveChanged(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s, err := sqlite.Open(b.TempDir(), sqlite.Config{Cache: 256 << 20}) // all hosts are cached
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			fill(b, s, benchHosts)
			age(b, s, benchHosts)
			names := make([]dnsname.Name, benchHosts)
			for i := range names {
				names[i] = benchName(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			was := cpu()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(1, uint64(w)))
					for left.Add(-1) >= 0 {
						if err := change(s, names[r.IntN(benchHosts)], address(r)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
			b.ReportMetric(float64((cpu()-was).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func BenchmarkHostCached(b *testing.B) {
	s := open(b, b.TempDir())
	fill(b, s, 1000)
	b.ReportAllocs()
	name := benchName(7)
	for b.Loop() {
		if _, _, err := s.Host(context.Background(), name); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHostUncached(b *testing.B) {
	s, err := sqlite.Open(b.TempDir(), sqlite.Config{Cache: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	fill(b, s, benchHosts)
	names := make([]dnsname.Name, 1000)
	for i := range names {
		names[i] = benchName(rand.IntN(benchHosts))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, _, err := s.Host(context.Background(), names[i%len(names)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkFollow(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir)
	const hosts = 1_000_000
	fill(b, s, hosts)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s, err := sqlite.Open(dir, sqlite.Config{})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		var n atomic.Int64
		load := func(h *ddns.Host) error { n.Add(int64(len(h.A))); return nil }
		if err := s.Follow(func() func(*ddns.Host) error { return load }, nil, func(ddns.Commit) {}); err != nil || n.Load() != hosts {
			b.Fatal(n.Load(), err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/load")
}

// BenchmarkOpenKilled opens a store whose log has 12,800 changes of 20,000 hosts.
func BenchmarkOpenKilled(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir)
	fill(b, s, 20_000)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	s, err := sqlite.Open(dir, sqlite.Config{}.Unswept())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range 200 {
				if err := change(s, benchName(r.IntN(20_000)), address(r)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	_, _, log := s.Pending()
	for b.Loop() {
		b.StopTimer()
		at := snapshot(b, dir, -1)
		b.StartTimer()
		killed, err := sqlite.Open(at, sqlite.Config{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := killed.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(log)/(1<<20), "MiB-log")
}
