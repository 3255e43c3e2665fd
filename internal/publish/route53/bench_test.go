package route53_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/publish/route53"
)

// grants takes every batch without a look at it.
type grants struct{}

var granted = []byte(`<?xml version="1.0"?>
<ChangeResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>2026-01-01T00:00:00.000Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>`)

func (grants) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: int64(len(granted)), Body: io.NopCloser(bytes.NewReader(granted))}, nil
}

func quick(b testing.TB) *route53.Publisher {
	p, err := route53.New(route53.Config{Client: client(b, "http://route53.example.com", grants{}), Zones: map[dnsname.Name]string{apex: "Z1"}, Rate: 1e9})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// changed are n hosts of which DNS shows another address than they have.
func changed(b testing.TB, n int) []*ddns.Host {
	hosts := make([]*ddns.Host, n)
	for i := range hosts {
		h := host(b, fmt.Sprintf("h%d", i), i)
		h.Published, h.Shown = h.Generation, h.RRsets()
		hosts[i] = next(h, func(h *ddns.Host) { h.A = []netip.Addr{v4(1000 + i)} })
	}
	return hosts
}

func bench(b *testing.B, n int) {
	p, hosts := quick(b), changed(b, n)
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range p.Publish(b.Context(), hosts) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
}

// BenchmarkOne is one changed host, from its state to the noted answer, without
// the network. BenchmarkBatch is 500 in one batch.
func BenchmarkOne(b *testing.B)   { bench(b, 1) }
func BenchmarkBatch(b *testing.B) { bench(b, 500) }

// TestAllocations: what one changed host costs, signing and HTTP included, is
// bounded, and a host of a batch costs no more than its own few values.
func TestAllocations(t *testing.T) {
	one := testing.AllocsPerRun(50, func() {
		if r := quick(t).Publish(t.Context(), changed(t, 1))[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	})
	p, hosts := quick(t), changed(t, 500)
	many := testing.AllocsPerRun(5, func() { p.Publish(t.Context(), hosts) })
	if one > 200 || many > 500*20 {
		t.Errorf("%.0f allocations for one host, %.0f for 500", one, many)
	}
}
