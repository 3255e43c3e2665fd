package dnsserver_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/dnsserver"
)

// A name belongs to the longest of our zones that it is under: in the zone section
// of another one it is outside (RFC 2136 section 3.1.2).
func TestUpdateZoneBelow(t *testing.T) {
	above, below := dnsname.MustParse("example.com"), dnsname.MustParse("dyn.example.com")
	zoneOf := func(name dnsname.Name) (apex dnsname.Name) {
		for _, z := range []dnsname.Name{above, below} {
			if name.Under(z) {
				apex = z
			}
		}
		return apex
	}
	for _, c := range []struct {
		zone, host string
		want       uint16
	}{
		{"example.com", "nas.example.com", dns.RcodeSuccess},
		{"dyn.example.com", "nas.dyn.example.com", dns.RcodeSuccess},
		{"example.com", "nas.dyn.example.com", dns.RcodeNotZone},
		{"dyn.example.com", "nas.example.com", dns.RcodeNotZone},
		{"other.example.com", "nas.other.example.com", dns.RcodeNotAuth},
	} {
		record := []rr{{c.host, dns.TypeA, dns.ClassANY, 0, ""}}
		for _, msg := range [][]byte{update(1, c.zone, false, record, nil), update(1, c.zone, false, nil, record)} {
			msg[11] = 1 // the TSIG record
			if rcode, _, _, _ := dnsserver.ReadUpdate(msg, zoneOf); rcode != c.want {
				t.Errorf("%s in the zone section, %s in a record: %s, want %s", c.zone, c.host, dns.RcodeToString[rcode], dns.RcodeToString[c.want])
			}
		}
	}
}

func FuzzUpdate(f *testing.F) {
	f.Add(update(1, z, true, []rr{{home, dns.TypeANY, dns.ClassANY, 0, ""}}, []rr{addA(1)}))
	f.Add(update(1, z, false, []rr{{home, dns.TypeA, dns.ClassINET, 0, "\xc0\x00\x02\x01"}}, []rr{{challengeOf(home), dns.TypeTXT, dns.ClassNONE, 0, "\x01x"}}))
	f.Add(append(update(1, z, false, nil, nil), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4))
	apex := dnsname.MustParse(z)
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) < 12 {
			return
		}
		msg = slices.Clone(msg)
		binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])|1) // it has a TSIG record
		rcode, host, changes, asked := dnsserver.ReadUpdate(msg, func(name dnsname.Name) (zone dnsname.Name) {
			if name.Under(apex) {
				zone = apex
			}
			return zone
		})
		if len(changes)+len(asked) > len(msg)/11*2 {
			t.Fatalf("%d changes and conditions of %d octets", len(changes)+len(asked), len(msg))
		}
		if rcode != dns.RcodeSuccess {
			return
		}
		if len(changes)+len(asked) > 0 && !host.Under(apex) {
			t.Fatalf("%s is outside", host)
		}
		for _, c := range changes {
			if (c.Op == ddns.Clear) != (len(c.Addrs)+len(c.Texts) == 0) || c.Type == 0 {
				t.Fatalf("%+v", c)
			}
		}
	})
}
