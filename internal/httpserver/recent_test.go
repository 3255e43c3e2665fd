package httpserver_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/internal/api"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

// requestAt is a request that came at some second.
func requestAt(second int, host, source, outcome string) httpserver.Request {
	r := httpserver.Request{Time: time.Unix(int64(second), 0), Door: "seed", Outcome: outcome}
	if host != "" {
		r.Host = dnsname.MustParse(host)
	}
	if source != "" {
		r.Source = netip.MustParseAddr(source)
	}
	return r
}

func listed(t *testing.T, r *httpserver.Recent, host string, after uint64) api.Requests {
	t.Helper()
	var name dnsname.Name
	if host != "" {
		name = dnsname.MustParse(host)
	}
	out, err := r.List(t.Context(), name, after)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRecentCounts(t *testing.T) {
	r := httpserver.NewRecent()
	r.Note(requestAt(1, host1, "192.0.2.1", "bad-proof"))
	r.Note(requestAt(2, host1, "192.0.2.9", "bad-proof")) // the same network
	r.Note(requestAt(3, host1, "192.0.2.9", "changed"))
	r.Note(requestAt(4, "two.dyn.example.com", "192.0.2.9", "bad-proof"))
	r.Note(requestAt(5, "", "2001:db8::1", "malformed"))
	r.Note(requestAt(6, "", "", "malformed"))

	got := listed(t, r, host1, 0)
	want := []struct {
		second, count int
		source        string
	}{{6, 1, ""}, {5, 1, "2001:db8::1"}, {3, 1, "192.0.2.9"}, {2, 2, "192.0.2.9"}}
	if len(got.Requests) != len(want) || got.Mark != 6 {
		t.Fatalf("got %+v", got)
	}
	for i, w := range want {
		e := got.Requests[i]
		source := ""
		if e.Source.IsValid() {
			source = e.Source.String()
		}
		if e.Time.Unix() != int64(w.second) || e.Count != uint64(w.count) || source != w.source {
			t.Errorf("entry %d: %+v, want %+v", i, e, w)
		}
	}
	if e := got.Requests[3]; e.First.Unix() != 1 {
		t.Errorf("the first came at %v", e.First)
	}
	if all := listed(t, r, "", 0); len(all.Requests) != 5 {
		t.Errorf("all: %+v", all)
	}

	// From a mark on: what is new, and what came again.
	r.Note(requestAt(7, host1, "192.0.2.1", "bad-proof"))
	if later := listed(t, r, host1, got.Mark); len(later.Requests) != 1 || later.Requests[0].Count != 3 || later.Mark != 7 {
		t.Errorf("after the mark: %+v", later)
	}
}

// TestRecentFlood sends guesses from one network, from many at one host, and from
// many at many hosts. Whoever proved himself is not pushed out, nor is what comes
// from another network or is for another host, as long as one is not attacked too.
func TestRecentFlood(t *testing.T) {
	address := func(i int) string {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i)<<8)
		return netip.AddrFrom4(b).String()
	}
	r := httpserver.NewRecent()
	r.Note(requestAt(1, host1, "192.0.2.1", "not-source"))
	r.Note(requestAt(2, "two.dyn.example.com", "192.0.2.1", "bad-proof"))
	for i := range 10_000 { // one network, at names of its choice
		r.Note(requestAt(3, "g"+strconv.Itoa(i)+".dyn.example.com", "203.0.113."+strconv.Itoa(i%256), "bad-proof"))
	}
	for i := range 10_000 { // many networks, at one host
		r.Note(requestAt(3, host1, address(i), "bad-proof"))
	}
	if got := listed(t, r, "two.dyn.example.com", 0).Requests; len(got) != 1 {
		t.Errorf("the wrong password of another host is gone: %+v", got)
	}
	mine := listed(t, r, host1, 0).Requests
	if len(mine) != 1+16 || mine[16].Outcome != "not-source" {
		t.Errorf("%d entries of the host, the oldest is %+v", len(mine), mine[len(mine)-1])
	}
	if all := listed(t, r, "", 0).Requests; len(all) != 1+1+32+16 {
		t.Errorf("%d entries in all", len(all))
	}
	for i := range 10_000 { // many networks, at many hosts
		r.Note(requestAt(4, "h"+strconv.Itoa(i)+".dyn.example.com", address(i), "bad-proof"))
	}
	if all := listed(t, r, "", 0).Requests; len(all) != 2048+1 || all[2048].Outcome != "not-source" {
		t.Errorf("%d entries in all", len(all))
	}
}

// TestRecentUnderLoad accepts more in a second than is kept. What comes first stays;
// refusals are kept all the same, and so is what comes later.
func TestRecentUnderLoad(t *testing.T) {
	r := httpserver.NewRecent()
	for i := range 1_000 {
		r.Note(requestAt(1, "h"+strconv.Itoa(i)+".dyn.example.com", "192.0.2.1", "changed"))
	}
	r.Note(requestAt(1, host1, "192.0.2.1", "not-source"))
	if got := listed(t, r, "h5.dyn.example.com", 0).Requests; len(got) != 1 {
		t.Errorf("one of the first: %+v", got)
	}
	if got := listed(t, r, host1, 0).Requests; len(got) != 1 {
		t.Errorf("a refusal among them: %+v", got)
	}
	r.Note(requestAt(2, "h999.dyn.example.com", "192.0.2.1", "changed"))
	if got := listed(t, r, "h999.dyn.example.com", 0).Requests; len(got) != 1 {
		t.Errorf("a second later: %+v", got)
	}
	if all := listed(t, r, "", 0).Requests; len(all) != 32 {
		t.Errorf("%d entries in all", len(all))
	}
}

// TestRecentIsBounded holds any order of requests to the bounds, and to having the
// newest.
func TestRecentIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := httpserver.NewRecent()
		for i := range rapid.IntRange(1, 3000).Draw(t, "requests") {
			host := "h" + strconv.Itoa(rapid.IntRange(0, 40).Draw(t, "host")) + ".dyn.example.com"
			source := netip.AddrFrom4([4]byte{192, 0, byte(rapid.IntRange(0, 60).Draw(t, "network")), 1})
			last := requestAt(i, host, source.String(), rapid.SampledFrom([]string{"changed", "unchanged", "bad-proof", "malformed"}).Draw(t, "outcome"))
			r.Note(last)
			if i%500 != 0 {
				continue
			}
			out, err := r.List(context.Background(), dnsname.Name{}, 0)
			if err != nil || len(out.Requests) == 0 || !out.Requests[0].Time.Equal(last.Time) || out.Requests[0].Host != host {
				t.Fatalf("the newest is not there: %v", err)
			}
			hosts, networks := map[string]int{}, map[string]int{}
			for _, e := range out.Requests {
				class := "others"
				if e.Outcome == "changed" || e.Outcome == "unchanged" {
					class = "proven"
				}
				hosts[class+e.Host]++
				networks[class+e.Source.String()]++
			}
			for key, n := range hosts {
				if n > 16 {
					t.Fatalf("%d entries of %s", n, key)
				}
			}
			for key, n := range networks {
				if n > 32 {
					t.Fatalf("%d entries of %s", n, key)
				}
			}
		}
	})
}

// A host's everyday request costs no memory.
func TestRecentAllocatesNothing(t *testing.T) {
	r := httpserver.NewRecent()
	req := requestAt(1, host1, "192.0.2.1", "unchanged")
	r.Note(req)
	if n := testing.AllocsPerRun(100, func() { r.Note(req) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecent(b *testing.B) {
	requests := func(n int) []httpserver.Request {
		out := make([]httpserver.Request, n)
		for i := range out {
			out[i] = requestAt(1, "h"+strconv.Itoa(i)+".dyn.example.com", netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)}).String(), "unchanged")
		}
		return out
	}
	for _, c := range []struct {
		name  string
		hosts int
	}{{"few", 1000}, {"many", 100_000}} {
		b.Run(c.name, func(b *testing.B) {
			r, all := httpserver.NewRecent(), requests(c.hosts)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Note(all[i%len(all)])
			}
		})
	}
}
