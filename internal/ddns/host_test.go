package ddns_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
)

// show writes RRsets as zone-file lines.
func show(sets []ddns.RRset) string {
	var lines []string
	for _, s := range sets {
		for _, a := range s.Addrs {
			lines = append(lines, fmt.Sprintf("%s %d %s %s", s.Owner, s.TTL, s.Type, a))
		}
		for _, text := range s.Texts {
			lines = append(lines, fmt.Sprintf("%s %d %s %q", s.Owner, s.TTL, s.Type, text))
		}
	}
	return strings.Join(lines, "\n")
}

func TestRRsets(t *testing.T) {
	low := netip.MustParseAddr
	for _, tt := range []struct {
		name string
		edit func(h *ddns.Host)
		want string
	}{
		{"nothing yet", func(h *ddns.Host) { h.A, h.AAAA = nil, nil }, ""},
		{"both families", func(*ddns.Host) {}, "r.example.net 60 A 192.0.2.1\nr.example.net 60 A 192.0.2.2\nr.example.net 60 AAAA 2001:db8::1"},
		{"one family", func(h *ddns.Host) { h.A, h.TTL = nil, 300 }, "r.example.net 300 AAAA 2001:db8::1"},
		{"wildcard", func(h *ddns.Host) { h.A, h.Wildcard = addrs("192.0.2.1"), true }, "r.example.net 60 A 192.0.2.1\nr.example.net 60 AAAA 2001:db8::1\n*.r.example.net 60 A 192.0.2.1\n*.r.example.net 60 AAAA 2001:db8::1"},
		{"a wildcard host's TXT has no place", func(h *ddns.Host) {
			h.Name, h.A, h.AAAA, h.TXT = named("*.example.net"), nil, nil, []ddns.TXT{{Value: "x"}}
		}, ""},
		{"TXT", func(h *ddns.Host) {
			h.A, h.AAAA, h.TTL, h.TXT = nil, nil, 300, []ddns.TXT{{Value: "x"}, {Value: "a"}}
		}, "_acme-challenge.r.example.net 60 TXT \"x\"\n_acme-challenge.r.example.net 60 TXT \"a\""},
		{"follower without prefix", func(h *ddns.Host) {
			h.A, h.AAAA = nil, nil
			h.Followers = []ddns.Follower{{Name: named("f.example.net"), Low: low("::1"), A: true, AAAA: true}}
		}, ""},
		{"follower with A alone", func(h *ddns.Host) {
			h.A, h.AAAA, h.Prefix = addrs("192.0.2.1"), nil, netip.MustParsePrefix("2001:db8::/56")
			h.Followers = []ddns.Follower{{Name: named("f.example.net"), Low: low("::1"), A: true}}
		}, "r.example.net 60 A 192.0.2.1\nf.example.net 60 A 192.0.2.1"},
		{"follower without switches", func(h *ddns.Host) {
			h.A, h.AAAA, h.Prefix = nil, nil, netip.MustParsePrefix("2001:db8::/56")
			h.Followers = []ddns.Follower{{Name: named("f.example.net"), Low: low("::1")}}
		}, ""},
		{"the host's own AAAA is no follower's", func(h *ddns.Host) {
			h.A, h.Prefix = nil, netip.MustParsePrefix("2001:db8:0:ff00::/56")
			h.Followers = []ddns.Follower{{Name: named("f.example.net"), Low: low("0:0:0:5::1"), A: true, AAAA: true}}
		}, "r.example.net 60 AAAA 2001:db8::1\nf.example.net 60 AAAA 2001:db8:0:ff05::1"},
		{"suspended", func(h *ddns.Host) { h.Suspended = true }, ""},
		{"removed", func(h *ddns.Host) { h.Removed = true }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &ddns.Host{Name: named("r.example.net"), Zone: named("example.net"), TTL: 60,
				A: addrs("192.0.2.1", "192.0.2.2"), AAAA: addrs("2001:db8::1")}
			tt.edit(h)
			if got := show(h.RRsets()); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if got := h.AppendRRsets(make([]ddns.RRset, 1))[1:]; show(got) != tt.want {
				t.Errorf("appended\n%s", show(got))
			}
		})
	}
}

func TestAddressRule(t *testing.T) {
	for _, tt := range []struct{ text, canonical, allowed, refused string }{
		{"", "public", "176.32.100.36 2a02::1", "10.0.0.1 ::1 192.0.2.1 2001:db8::1"},
		{"public", "public", "176.32.100.36", "127.0.0.1"},
		{"any", "any", "10.0.0.1 127.0.0.1 ::1 fe80::1 fd00::1 192.0.2.1", "0.0.0.0 :: 224.0.0.1 ff02::1 255.255.255.255"},
		{"192.168.0.0/16", "192.168.0.0/16", "192.168.1.1 ::ffff:192.168.1.1", "192.169.0.1 176.32.100.36 2a02::1"},
		{"fd00::/8,10.1.2.3/8, 10.0.0.0/8", "10.0.0.0/8,fd00::/8", "10.9.9.9 fd01::1", "fc00::1 11.0.0.1"},
		{"0.0.0.0/0", "0.0.0.0/0", "1.2.3.4 10.0.0.1", "0.0.0.0 255.255.255.255 239.1.1.1 ::1"},
		{"::/0", "::/0", "::1", ":: ff02::1 1.2.3.4 ::ffff:1.2.3.4"},
	} {
		rule, err := ddns.ParseAddressRule(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if rule.String() != tt.canonical {
			t.Errorf("%q is %q, want %q", tt.text, rule, tt.canonical)
		}
		var back ddns.AddressRule
		if text, err := rule.MarshalText(); err != nil || back.UnmarshalText(text) != nil || back != rule {
			t.Errorf("%q: %q, %v comes back as %q", tt.text, text, err, back)
		}
		for _, a := range addrs(strings.Fields(tt.allowed)...) {
			if !rule.Allows(a) {
				t.Errorf("%q does not allow %s", tt.text, a)
			}
		}
		for _, a := range append(addrs(strings.Fields(tt.refused)...), netip.Addr{}, netip.MustParseAddr("fd00::1%eth0")) {
			if rule.Allows(a) {
				t.Errorf("%q allows %s", tt.text, a)
			}
		}
	}
	for _, text := range []string{"none", "10.0.0.0", "10.0.0.0/8,", "10.0.0.0/33", "::ffff:10.0.0.0/104", "fe80::%eth0/64", "any,10.0.0.0/8",
		strings.Repeat("10.0.0.0/8,", 32) + "10.0.0.0/8", strings.Repeat("x", 10000)} {
		rule, err := ddns.ParseAddressRule(text)
		if r := wantCode(t, err, ddns.Malformed); len(r.Why) > 200 {
			t.Errorf("%.20q: the refusal has %d octets", text, len(r.Why))
		}
		if rule != (ddns.AddressRule{}) {
			t.Errorf("%.20q gives %s", text, rule)
		}
	}
	if (ddns.AddressRule{}).AllowsPrefix(netip.Prefix{}) {
		t.Error("no prefix is allowed")
	}
	if (ddns.AddressRule{}).AllowsPrefix(netip.MustParsePrefix("100::/48")) {
		t.Error("a prefix with a special-purpose one in it is public")
	}
}

// TestIsPublic has the registries of IANA, each with its first and last address.
func TestIsPublic(t *testing.T) {
	special4 := strings.Fields(`0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
		192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
		192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
		255.255.255.255/32 224.0.0.0/4`)
	special6 := strings.Fields(`::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32
		2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28
		2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8 ::/96`)
	last := func(p netip.Prefix) netip.Addr {
		b := p.Addr().AsSlice()
		for i := p.Bits(); i < len(b)*8; i++ {
			b[i/8] |= 0x80 >> (i % 8)
		}
		a, _ := netip.AddrFromSlice(b)
		return a
	}
	for _, text := range append(slices.Clone(special4), special6...) {
		p := netip.MustParsePrefix(text)
		for _, a := range []netip.Addr{p.Addr(), last(p)} {
			if ddns.IsPublic(a) {
				t.Errorf("%s of %s is public", a, text)
			}
			if a.Is4() && ddns.IsPublic(netip.AddrFrom16(a.As16())) {
				t.Errorf("%s of %s, mapped, is public", a, text)
			}
		}
	}
	// No address that carries another is public, whichever that is.
	for _, inner := range addrs("176.32.100.36", "10.0.0.1", "127.0.0.1", "255.255.255.255", "0.0.0.0") {
		b := inner.As4()
		for name, outer := range map[string][16]byte{
			"6to4":            {0x20, 2, b[0], b[1], b[2], b[3]},
			"NAT64":           {0, 0x64, 0xff, 0x9b, 12: b[0], b[1], b[2], b[3]},
			"local NAT64":     {0, 0x64, 0xff, 0x9b, 0, 1, 12: b[0], b[1], b[2], b[3]},
			"Teredo":          {0x20, 1, 12: ^b[0], ^b[1], ^b[2], ^b[3]},
			"IPv4-compatible": {12: b[0], b[1], b[2], b[3]},
			"translated":      {8: 0xff, 0xff, 0, 0, b[0], b[1], b[2], b[3]},
		} {
			if a := netip.AddrFrom16(outer); ddns.IsPublic(a) {
				t.Errorf("%s %s of %s is public", name, a, inner)
			}
		}
	}
	for _, a := range addrs("176.32.100.36", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
		"128.0.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8",
		"2001:200::1", "2001:db7::1", "2001:db9::1", "2003::1", "2606:4700::1111", "2620:4f:8001::1", "2a02::1", "3ffe::1") {
		if !ddns.IsPublic(a) {
			t.Errorf("%s is not public", a)
		}
	}
	if ddns.IsPublic(netip.Addr{}) || ddns.IsPublic(netip.MustParseAddr("2a02::1%eth0")) {
		t.Error("no address, or one with a zone, is public")
	}
}

func TestType(t *testing.T) {
	grant := ddns.Grant{Host: named("r.example.net"), Types: []ddns.Type{ddns.TypeA, ddns.TypeAAAA, ddns.TypeTXT, ddns.TypePrefix}}
	text, err := json.Marshal(grant)
	if want := `{"host":"r.example.net","types":["A","AAAA","TXT","prefix"]}`; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	var back ddns.Grant
	if err := json.Unmarshal(text, &back); err != nil || fmt.Sprint(back) != fmt.Sprint(grant) {
		t.Errorf("%v, %v", back, err)
	}
	if _, err := ddns.Type(9).MarshalText(); err == nil || ddns.Type(9).String() != "Type(9)" {
		t.Errorf("%s has a text: %v", ddns.Type(9), err)
	}
	typ := ddns.TypeA
	if err := typ.UnmarshalText([]byte("MX")); err == nil || typ != 0 {
		t.Errorf("MX is %s", typ)
	}
}

func TestValidate(t *testing.T) {
	low := netip.MustParseAddr("::1")
	follower := func(names ...string) []ddns.Follower {
		var out []ddns.Follower
		for _, n := range names {
			out = append(out, ddns.Follower{Name: named(n), Low: low, AAAA: true})
		}
		return out
	}
	var many []string
	for i := range ddns.MaxFollowers + 1 {
		many = append(many, fmt.Sprintf("f%d.example.net", i))
	}
	long := strings.Repeat(strings.Repeat("x", 62)+".", 3) + strings.Repeat("y", 52) + ".example.net" // 255 octets
	for _, tt := range []struct {
		name string
		edit func(h *ddns.Host)
		want ddns.Code
	}{
		{"as it should be", func(*ddns.Host) {}, ""},
		{"everything", func(h *ddns.Host) {
			h.A, h.AAAA, h.Wildcard, h.Lease = addrs("192.0.2.1"), addrs("2001:db8::1"), true, 24*time.Hour
			h.Prefix, h.Followers = netip.MustParsePrefix("2001:db8::/56"), follower(many[:ddns.MaxFollowers]...)
		}, ""},
		{"TTL 0", func(h *ddns.Host) { h.TTL = 0 }, ddns.Malformed},
		{"TTL of two days", func(h *ddns.Host) { h.TTL = 2 * 86400 }, ddns.Malformed},
		{"lease of an hour", func(h *ddns.Host) { h.Lease = time.Hour }, ddns.Malformed},
		{"negative lease", func(h *ddns.Host) { h.Lease = -1 }, ddns.Malformed},
		{"lease of a century", func(h *ddns.Host) { h.Lease = 100 * 365 * 24 * time.Hour }, ddns.Malformed},
		{"wildcard of a wildcard", func(h *ddns.Host) { h.Name, h.Wildcard = named("*.example.net"), true }, ddns.Malformed},
		{"no room for a wildcard", func(h *ddns.Host) { h.Name, h.Wildcard = named(long), true }, ddns.Malformed},
		{"too many followers", func(h *ddns.Host) { h.Followers = follower(many...) }, ddns.Malformed},
		{"too many credentials", func(h *ddns.Host) { h.Credentials = make([]string, ddns.MaxCredentials+1) }, ddns.Malformed},
		{"nine addresses", func(h *ddns.Host) { h.A = make([]netip.Addr, 9) }, ddns.TooMany},
		{"IPv4 in AAAA", func(h *ddns.Host) { h.AAAA = addrs("192.0.2.1") }, ddns.Malformed},
		{"IPv4 in both", func(h *ddns.Host) { h.A, h.AAAA = addrs("192.0.2.1"), addrs("192.0.2.1") }, ddns.Malformed},
		{"IPv6 in A", func(h *ddns.Host) { h.A = addrs("2001:db8::1") }, ddns.Malformed},
		{"mapped in AAAA", func(h *ddns.Host) { h.AAAA = addrs("::ffff:192.0.2.1") }, ddns.Malformed},
		{"zone in AAAA", func(h *ddns.Host) { h.AAAA = addrs("fe80::1%eth0") }, ddns.Malformed},
		{"no address in A", func(h *ddns.Host) { h.A = make([]netip.Addr, 1) }, ddns.Malformed},
		{"IPv4 prefix", func(h *ddns.Host) { h.Prefix = netip.MustParsePrefix("192.0.2.0/24") }, ddns.Malformed},
		{"prefix with host bits", func(h *ddns.Host) { h.Prefix = netip.MustParsePrefix("2001:db8::1/56") }, ddns.Malformed},
		{"follower elsewhere", func(h *ddns.Host) { h.Followers = follower("f.example.org") }, ddns.Malformed},
		{"follower in a name like the zone", func(h *ddns.Host) { h.Followers = follower("badexample.net") }, ddns.Malformed},
		{"follower twice", func(h *ddns.Host) { h.Followers = follower("f.example.net", "g.example.net", "f.example.net") }, ddns.Malformed},
		{"follower of the host's name", func(h *ddns.Host) { h.Followers = follower("r.example.net") }, ddns.Malformed},
		{"follower of the wildcard's name", func(h *ddns.Host) { h.Wildcard, h.Followers = true, follower("*.r.example.net") }, ddns.Malformed},
		{"follower without low bits", func(h *ddns.Host) { h.Followers = []ddns.Follower{{Name: named("f.example.net")}} }, ddns.Malformed},
		{"follower with low bits 0", func(h *ddns.Host) {
			h.Followers = []ddns.Follower{{Name: named("f.example.net"), Low: netip.IPv6Unspecified()}}
		}, ddns.Malformed},
		{"follower with a whole address", func(h *ddns.Host) {
			h.Followers = []ddns.Follower{{Name: named("f.example.net"), Low: netip.MustParseAddr("2001:db8::1")}}
		}, ddns.Malformed},
		{"follower with IPv4", func(h *ddns.Host) {
			h.Followers = []ddns.Follower{{Name: named("f.example.net"), Low: netip.MustParseAddr("192.0.2.1")}}
		}, ddns.Malformed},
	} {
		h := &ddns.Host{Name: named("r.example.net"), Zone: named("example.net"), TTL: 60}
		tt.edit(h)
		if got := code(h.Validate()); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestNextDue(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, tt := range []struct {
		name string
		host ddns.Host
		want time.Duration // after at; 0: never
	}{
		{"nothing", ddns.Host{A: addrs("192.0.2.1"), Seen: at}, 0},
		{"TXT", ddns.Host{TXT: []ddns.TXT{{Time: at.Add(time.Hour)}, {Time: at}}}, day},
		{"lease", ddns.Host{A: addrs("192.0.2.1"), Lease: 2 * day, Seen: at}, 2 * day},
		{"lease from the change", ddns.Host{A: addrs("192.0.2.1"), Lease: 2 * day, ChangedAt: at.Add(time.Hour), Seen: at}, 2*day + time.Hour},
		{"lease, not from what ended", ddns.Host{A: addrs("192.0.2.1"), Lease: 2 * day, ChangedAt: at.Add(time.Hour), ChangedBy: "clock", Seen: at}, 2 * day},
		{"lease of nothing", ddns.Host{Lease: 2 * day, Seen: at}, 0},
		{"lease of a prefix", ddns.Host{Prefix: netip.MustParsePrefix("2001:db8::/56"), Lease: 2 * day, Seen: at}, 2 * day},
		{"lease before TXT", ddns.Host{AAAA: addrs("2001:db8::1"), Lease: 12 * time.Hour, Seen: at, TXT: []ddns.TXT{{Time: at}}}, 12 * time.Hour},
	} {
		got := tt.host.NextDue()
		if want := at.Add(tt.want); tt.want == 0 && !got.IsZero() || tt.want != 0 && !got.Equal(want) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

func TestIsReserved(t *testing.T) {
	apex := named("ns.example.net")
	for name, want := range map[string]bool{
		"ns.example.net": false, "ns.ns.example.net": true, "ns1.ns.example.net": true, "NS4.ns.example.net": true,
		"_acme-challenge.ns.example.net": true, "ns5.ns.example.net": false, "nsx.ns.example.net": false, "a.ns1.ns.example.net": false,
	} {
		if got := ddns.IsReserved(named(name), apex); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSerial(t *testing.T) {
	now := time.Unix(1767225600, 0)
	for _, tt := range []struct{ s, want ddns.Serial }{
		{0, 1767225600}, {1767225599, 1767225600}, {1767225600, 1767225601}, {1767225700, 1767225701}, {2026010100, 2026010101},
		{1<<32 - 1, 1767225600}, {1767225600 + 1<<31, 1767225601 + 1<<31}, {1767225601 + 1<<31, 1767225600},
	} {
		if got := tt.s.Next(now); got != tt.want || !tt.s.Before(got) {
			t.Errorf("%d: next is %d, want %d", tt.s, got, tt.want)
		}
	}
	if ddns.Serial(1).Before(1) || ddns.Serial(0).Before(1<<31) || ddns.Serial(1<<31).Before(0) {
		t.Error("serials half the circle apart have an order")
	}
}

// TestClone: nothing that Clone returns is shared with what it came from.
func TestClone(t *testing.T) {
	h := &ddns.Host{A: addrs("192.0.2.1"), AAAA: addrs("2001:db8::1"), Followers: make([]ddns.Follower, 1), TXT: make([]ddns.TXT, 1), Credentials: []string{"a"}}
	c := h.Clone()
	c.A[0], c.AAAA[0], c.Followers[0].A, c.TXT[0].Value, c.Credentials[0] = netip.Addr{}, netip.Addr{}, true, "x", "b"
	got := fmt.Sprintf("%s %v %q %s", h.Current(), h.Followers[0].A, h.TXT[0].Value, h.Credentials)
	if want := `[192.0.2.1 2001:db8::1] false "" [a]`; got != want {
		t.Errorf("the original became %s", got)
	}
}
