package ddns_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// FuzzParseImport: what is refused says how to mend it; what is read can be
// written as an export and read again, and neither adding nor refusing it may
// fail in another way than a refusal.
func FuzzParseImport(f *testing.F) {
	row := `{"route_53_zone_id":"Z1","route_53_record_ttl":"60","shared_secret":"shared_secret_1"}`
	for _, seed := range []string{
		``, `{}`, `[]`, `null`, row, `{"NAS.dyn.example.org.": ` + row + `}`, `{"*.example.net": ` + row + `, "a.example.net": ` + row + `}`,
		`{"Items":[{"hostname":{"S":"a.example.net."},"data":{"S":"{\"shared_secret\":\"x\",\"route_53_record_ttl\":300}"}}]}`,
		`{"Item":{"hostname":{"S":"a.example.net"},"data":{"S":"{}"}}}`, `{"Items":null}`, `{"godwit_export":2}`,
		`{"godwit_export":1,"hosts":[{"name":"a.example.net","ttl":60,"addresses":"any","a":["192.0.2.1"],"aaaa":["2001:db8::1"],"prefix":"2001:db8::/56","lease":86400,
		"followers":[{"name":"b.example.net","low":"::1","a":true,"aaaa":true}],"credentials":[{"id":"aaaaaaaa","kind":"token","secret":"aaaaaaaa-bbbbbbbbbbbbbbbbbbbbbbbbbb",
		"grants":[{"host":"a.example.net","types":["A","TXT"]}],"networks":["192.0.2.0/24"]},{"kind":"tsig","algorithm":"hmac-sha256","secret":"c2VjcmV0"}]}]}`,
		`{"godwit_export":1,"hosts":[{"name":"a.example.net","a":[""],"prefix":"::ffff:0.0.0.0/64","lease":9223372036854775807}]}`,
		`{"a.example.net": {"shared_secret":"x","route_53_record_ttl":4294967296}}`,
	} {
		f.Add([]byte(seed))
	}
	single := dnsname.MustParse("nas.dyn.example.org")
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		hosts, err := ddns.ParseImport(data, single)
		if err != nil {
			r, ok := errors.AsType[*ddns.Refusal](err)
			if !ok || r.Code != ddns.Malformed || r.Why == "" || r.Fix == "" || hosts != nil {
				t.Fatalf("%v with %v", err, hosts)
			}
			return
		}
		text, err := json.Marshal(ddns.Export{Version: ddns.ExportVersion, Hosts: hosts})
		if err != nil {
			if len(hosts) > 0 { // types of grants may be none of ours only by a fault
				t.Fatalf("cannot be written: %v", err)
			}
			return
		}
		back, err := ddns.ParseImport(text, dnsname.Name{})
		if err != nil || len(back) != len(hosts) {
			t.Fatalf("%s comes back as %d hosts, %v", text, len(back), err)
		}
		if again, err := json.Marshal(ddns.Export{Version: ddns.ExportVersion, Hosts: back}); err != nil || string(again) != string(text) {
			t.Fatalf("%s comes back as %s", text, again)
		}
		w := newWorld(t)
		got, err := w.ImportHosts(t.Context(), hosts)
		if err != nil || got.Added+len(got.Skipped) != len(hosts) {
			t.Fatalf("%+v, %v of %d hosts", got, err, len(hosts))
		}
		all, _, err := w.List(t.Context(), "", 1000)
		if err != nil || len(all) != min(got.Added, 1000) {
			t.Fatalf("%d added, %d listed, %v", got.Added, len(all), err)
		}
		for _, h := range all {
			if err := h.Validate(); err != nil {
				t.Fatalf("imported what cannot be: %v", err)
			}
		}
	})
}

// FuzzParseAddressRule: a rule has one text, which is read as the same rule; no
// rule admits what nobody may publish; cost is bounded.
func FuzzParseAddressRule(f *testing.F) {
	for _, seed := range []string{"", "public", "any", "10.0.0.0/8", "fd00::/8,10.1.2.3/8, 10.0.0.0/8", "0.0.0.0/0,::/0", "::ffff:10.0.0.0/104",
		"fe80::%1/64", "10.0.0.0/08", "10.0.0.0/8,,", "ANY", "１０.0.0.0/8"} {
		f.Add(seed)
	}
	never := addrs("0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:224.0.0.1", "::ffff:0.0.0.0", "fe80::1%eth0")
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := ddns.ParseAddressRule(text)
		if err != nil {
			if rule != (ddns.AddressRule{}) || len(err.Error()) > 1000 {
				t.Fatalf("%v with %v", rule, err)
			}
			return
		}
		back, err := ddns.ParseAddressRule(rule.String())
		if err != nil || back != rule || back.String() != rule.String() {
			t.Fatalf("%q is %q, which is %q, %v", text, rule, back, err)
		}
		if len(rule.String()) > 32*44 {
			t.Fatalf("a text of %d octets", len(rule.String()))
		}
		for _, a := range never {
			if rule.Allows(a) {
				t.Fatalf("%q allows %s", text, a)
			}
		}
		for _, p := range []string{"10.0.0.0/8", "2a02::/48", "fd00::/64"} {
			p := netip.MustParsePrefix(p)
			if rule.AllowsPrefix(p) && !rule.Allows(p.Addr().Next()) {
				t.Fatalf("%q allows %s and not what is in it", text, p)
			}
		}
	})
}

// FuzzParseLow: what is read leaves the bits of every prefix alone, is no
// address by itself, reads back as the same, and is never put where a prefix
// leaves it no room.
func FuzzParseLow(f *testing.F) {
	for _, seed := range []string{"::1234", "0:0:0:5::1/56", "02:00:5e:10:00:00", "00-00-5E-00-53-01", "::1:0200:5e10:aaa", "::", "::1%eth0",
		"::ffff:192.0.2.1", "::1.2.3.4", "::1/", "0:0:0:5::1/56/56", "2001:db8::1", "::1/064", "+::1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		low, err := ddns.ParseLow(text)
		if err != nil {
			if low.IsValid() || len(err.Error()) > 1000 {
				t.Fatalf("%s with %v", low, err)
			}
			return
		}
		b := low.As16()
		if !low.Is6() || low.Is4In6() || low.Zone() != "" || [6]byte(b[:6]) != [6]byte{} || [8]byte(b[8:]) == [8]byte{} {
			t.Fatalf("%q is %s", text, low)
		}
		if back, err := ddns.ParseLow(low.String() + "/48"); err != nil || back != low {
			t.Fatalf("%q is %s, which is %s, %v", text, low, back, err)
		}
		if back, err := ddns.ParseLow(ddns.LowText(low)); err != nil || back != low {
			t.Fatalf("%q is written %q, which is %s, %v", text, ddns.LowText(low), back, err)
		}
		h := ddns.Host{Name: named("r.example.net"), Zone: named("example.net"), TTL: 60, Prefix: netip.MustParsePrefix("2001:db8:0:ff00::/56"),
			Followers: []ddns.Follower{{Name: named("f.example.net"), Low: low, AAAA: true}}}
		sets := h.RRsets()
		if err := h.Validate(); err != nil || len(sets) > 0 != (b[6] == 0) || len(sets) > 0 && !h.Prefix.Contains(sets[0].Addrs[0]) {
			t.Fatalf("%q: %v, %v", text, sets, err)
		}
	})
}
