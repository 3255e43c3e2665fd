package zone_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// manyNames is a zone whose referral needs more names than the compression
// table holds, with targets that share labels in many ways.
func manyNames(t *testing.T) *zone.Zone {
	var text strings.Builder
	for i := range 60 {
		fmt.Fprintf(&text, "child NS ns%d.a%d.b%d.child\nns%d.a%d.b%d.child A 192.0.2.%d\n", i, i%7, i%3, i, i%7, i%3, i)
		fmt.Fprintf(&text, "child NS ns%d.x.example.net.\n", i)
	}
	return mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Records: mustParse(t, text.String(), "example.org")})
}

// TestSizeLimit: at every limit a response is whole, or its question with TC.
func TestSizeLimit(t *testing.T) {
	z := manyNames(t)
	setHost(t, z, "nas.example.org", 1, "192.0.2.1", "192.0.2.2", strings.Repeat("x", 700))
	for _, q := range []struct {
		name  string
		qtype uint16
	}{{"nas.example.org", dns.TypeA}, {"nas.example.org", dns.TypeTXT}, {"x.child.example.org", dns.TypeA}, {"nothere.example.org", dns.TypeA}} {
		whole := ask(z, q.name, q.qtype, 65535)
		question, _ := questionBytes(q.name, q.qtype)
		for limit := len(question); limit < len(whole)+20; limit += 1 + limit/200 {
			got := ask(z, q.name, q.qtype, limit)
			if limit >= len(whole) {
				if !bytes.Equal(got, whole) {
					t.Fatalf("%s at %d: %d octets, want %d", q.name, limit, len(got), len(whole))
				}
				continue
			}
			if len(got) != len(question) || got[2]&2 == 0 || got[7]|got[9]|got[11] != 0 {
				t.Fatalf("%s at %d: %x", q.name, limit, got)
			}
		}
	}
}

// TestManyNames: with the compression table full the message is still right.
func TestManyNames(t *testing.T) {
	reply := ask(manyNames(t), "x.child.example.org", dns.TypeA, 65535)
	m := &dns.Msg{Data: reply}
	if err := m.Unpack(); err != nil {
		t.Fatal(err)
	}
	if len(m.Ns) != 120 || len(m.Extra) != 60 {
		t.Fatalf("%d name servers, %d addresses", len(m.Ns), len(m.Extra))
	}
	for i, rr := range m.Extra {
		if want := fmt.Sprintf("ns%d.a%d.b%d.child.example.org.", i, i%7, i%3); rr.Header().Name != want {
			t.Errorf("%s, want %s", rr.Header().Name, want)
		}
	}
	var plain int
	for _, rr := range append(m.Ns, m.Extra...) {
		plain += rr.Len()
	}
	if len(reply) > plain*2/3 {
		t.Errorf("%d octets, %d without compression", len(reply), plain)
	}
}
