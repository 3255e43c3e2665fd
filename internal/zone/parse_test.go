package zone_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

func TestParse(t *testing.T) {
	text := `; a comment
$ORIGIN example.org.
$TTL 1h30m
@  IN SOA ns1 host\.master (
	2026010101 ; serial, which the server makes itself
	4h 1h 2w 5m )
	NS ns1
	NS ns.example.net.
ns1 300 IN A 192.0.2.1
    IN 300 A 192.0.2.2
    IN 300 A 192.0.2.2 ; twice is once
	AAAA 2001:db8::1
$ORIGIN sub.example.org.
www 60 CNAME @
@   TXT "semi;colon" "quote\"" plain \100
    CAA 0 issue "ca.example.net"
a\.b A 192.0.2.3
BÜCHER A 192.0.2.4
raw TYPE65280 \# 4 01020304
raw A \# 4 c0000205
svc HTTPS 1 . alpn=h2
`
	z := mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Records: mustParse(t, text, "example.org"), Serial: 9})
	for _, tt := range []struct{ question, want string }{
		{"example.org SOA", `answer example.org. 5400 IN SOA ns1.example.org. host\.master.example.org. 9 14400 3600 1209600 300`},
		{"example.org NS", `answer example.org. 5400 IN NS ns1.example.org. answer example.org. 5400 IN NS ns.example.net.`},
		{"ns1.example.org A", `answer ns1.example.org. 300 IN A 192.0.2.1 answer ns1.example.org. 300 IN A 192.0.2.2`},
		{"ns1.example.org AAAA", `answer ns1.example.org. 5400 IN AAAA 2001:db8::1`},
		{"www.sub.example.org CNAME", `answer www.sub.example.org. 60 IN CNAME sub.example.org.`},
		{"sub.example.org TXT", `answer sub.example.org. 5400 IN TXT "semi;colon" "quote\"" "plain" "d"`},
		{`a\.b.sub.example.org A`, `answer a.b.sub.example.org. 5400 IN A 192.0.2.3`},
		{"xn--bcher-kva.sub.example.org A", `answer xn--bcher-kva.sub.example.org. 5400 IN A 192.0.2.4`},
		{"raw.sub.example.org A", `answer raw.sub.example.org. 5400 IN A 192.0.2.5`},
		{"svc.sub.example.org HTTPS", `answer svc.sub.example.org. 5400 IN HTTPS 1 . alpn="h2"`},
	} {
		name, rrtype, _ := strings.Cut(tt.question, " ")
		_, records, _ := strings.Cut(show(t, ask(z, name, dns.StringToType[rrtype], 1232)), "\n")
		if got := strings.Join(strings.Fields(records), " "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.question, got, tt.want)
		}
	}
	if reply := ask(z, "raw.sub.example.org", 65280, 1232); !bytes.HasSuffix(reply, []byte{0xff, 0x00, 0, 1, 0, 0, 0x15, 0x18, 0, 4, 1, 2, 3, 4}) {
		t.Errorf("TYPE65280: %x", reply)
	}
}

// TestParseService has records of RFC 9460 in its own spellings (appendix D), and
// what comes out in wire form: keys in order, and those of "mandatory" too.
func TestParseService(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`HTTPS 0 foo.example.com.`, "\x00\x00\x03foo\x07example\x03com\x00"},
		{`SVCB 1 .`, "\x00\x01\x00"},
		{`SVCB 16 foo.example.com. port=53`, "\x00\x10\x03foo\x07example\x03com\x00\x00\x03\x00\x02\x00\x35"},
		{`SVCB 1 . key667=hello`, "\x00\x01\x00\x02\x9b\x00\x05hello"},
		{`SVCB 1 . key667="hello\210qoo"`, "\x00\x01\x00\x02\x9b\x00\x09hello\xd2qoo"},
		{`SVCB 1 . ipv6hint="2001:db8::1,2001:db8::53:1"`, "\x00\x01\x00\x00\x06\x00\x20" +
			"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x53\x00\x01"},
		{`SVCB 16 . alpn="h2,h3-19" mandatory=ipv4hint,alpn ipv4hint=192.0.2.1`,
			"\x00\x10\x00\x00\x00\x00\x04\x00\x01\x00\x04\x00\x01\x00\x09\x02h2\x05h3-19\x00\x04\x00\x04\xc0\x00\x02\x01"},
		{`SVCB 16 . alpn="f\\\\oo\\,bar,h2"`, "\x00\x10\x00\x00\x01\x00\x0c\x08f\\oo,bar\x02h2"},
		{`HTTPS 1 . port=443 no-default-alpn alpn="h2"`, "\x00\x01\x00\x00\x01\x00\x03\x02h2\x00\x02\x00\x00\x00\x03\x00\x02\x01\xbb"},
	} {
		z := mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Records: mustParse(t, "s "+tt.text+"\n", "example.org")})
		rrtype, _, _ := strings.Cut(tt.text, " ")
		reply := ask(z, "s.example.org", dns.StringToType[rrtype], 1232)
		if _, got, _ := bytes.Cut(reply[12+15+4:], []byte{0, byte(len(tt.want))}); string(got) != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, reply[12+15+4:], tt.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"www A 192.0.2.1\nwww.example.net. A 192.0.2.1\n", "dyn.zone:2: www.example.net is not in zone example.org"},
		{"\n\nwww A 192.0.2\n", `dyn.zone:3: "192.0.2" is not the address of an A record; give one such as 192.0.2.1`},
		{"www AAAA 192.0.2.1\n", "is not the address of an AAAA record"},
		{"www CNAME a\nwww CNAME b\n", "dyn.zone:1: www.example.org has 2 CNAME records"},
		{"www CNAME a\n\nwww A 192.0.2.1\n", "dyn.zone:3: www.example.org has CNAME on line 1 and A on line 3"},
		{"@ CNAME a\n", "dyn.zone:1: a CNAME at the zone's apex"},
		{"www CH A 192.0.2.1\n", "dyn.zone:1: class CH"},
		{"www CLASS32 A 192.0.2.1\n", "dyn.zone:1: class CLASS32"},
		{"www DNSKEY 257 3 13 aaaa\n", "dyn.zone:1: DNSKEY records are made by the server"},
		{"child DS 1 13 2 00\n", "dyn.zone:1: DS record at child.example.org, which is not delegated"},
		{"@ DS 1 13 2 00\n", "dyn.zone:1: DS record at example.org, which is not delegated"},
		{"child NS ns.example.net.\nx.child DS 1 13 2 00\n", "dyn.zone:2: DS record at x.child.example.org, which is not delegated"},
		{"www MINFO a b\n", "MINFO records are obsolete"},
		{"www TYPE41 \\# 0\n", "OPT is not a type that a zone can hold"},
		{"www TYPE255 \\# 0\n", "is not a type that a zone can hold"},
		{"$INCLUDE other.zone\n", "dyn.zone:1: $INCLUDE is not supported"},
		{"$GENERATE 1-10 a$ A 192.0.2.$\n", "dyn.zone:1: $GENERATE is not supported"},
		{"$FOO bar\n", `dyn.zone:1: "$FOO" is not a directive`},
		{"$TTL\n", "dyn.zone:1: $TTL takes one value"},
		{"$TTL 2147483648\n", `dyn.zone:1: "2147483648" is not a TTL`},
		{"$ORIGIN a..b\n", "dyn.zone:1: name \"a..b.example.org.\": has an empty label"},
		{" A 192.0.2.1\n", "dyn.zone:1: a record without an owner name"},
		{"www\n", "dyn.zone:1: a line without a record type"},
		{"www 60 IN\n", "dyn.zone:1: a line without a record type"},
		{"www BLAH x\n", `dyn.zone:1: "BLAH" is not a record type`},
		{"www A\n", "dyn.zone:1: A record without data"},
		{"www 60 A 192.0.2.1\nwww 61 A 192.0.2.2\n", "dyn.zone:2: www.example.org A has TTL 61 here and 60 on line 1"},
		{"www TXT \"open\nmore\"\n", "dyn.zone:1: a quote that is not closed on its line"},
		{"www TXT \"open", "a quote that is not closed"},
		{"www TXT ( \"a\"\n\n", "dyn.zone:1: a ( without its )"},
		{"www TXT \"a\" )\n", "dyn.zone:1: a ) without its ("},
		{"www TXT a\\\n", "dyn.zone:1: a backslash at the end of the line"},
		{"www TXT \x01\n", "dyn.zone:1: a control character"},
		{"www MX mail\n", "dyn.zone:1: MX record takes a preference and a name"},
		{"www MX ten mail\n", `dyn.zone:1: "ten" is not a preference`},
		{"www NS a b\n", "dyn.zone:1: NS record takes one name"},
		{"www CAA 0 issue\n", "dyn.zone:1: the data of this CAA record is not"},
		{"www SRV 0 0 1 b\\.c\n", "dyn.zone:1: \"b\\\\.c\" has an escape"},
		{"www RP \\# 0\n", "dyn.zone:1: RP record without data"},
		{"www AAAA \\# +00\n", "dyn.zone:1: AAAA record without data"},
		{"www TYPE16 \\# 0\n", "dyn.zone:1: TXT record without data"},
		{"www HTTPS 1 . alpn=h2 alpn=h3\n", "dyn.zone:1: the data of this HTTPS record is not valid"},
		{"www HTTPS 1 . mandatory=port alpn=h2\n", "mandatory names key3, which must be another one that is there, once"},
		{"www HTTPS 1 . mandatory=alpn,alpn alpn=h2\n", "mandatory names key1"},
		{"www SVCB 1 . mandatory=mandatory\n", "mandatory names key0"},
		{"www HTTPS 1 . no-default-alpn\n", "no-default-alpn without alpn"},
		{"www HTTPS 1 . alpn=\n", "alpn without a protocol"},
		{"www HTTPS 1 . port=99999\n", "dyn.zone:1: the data of this HTTPS record is not understood"},
		{"www HTTPS 1 . \"alpn=h2\"\n", "dyn.zone:1: the data of this HTTPS record is not understood"},
		{"www TYPE666 \\# 3 ab\n", "dyn.zone:1: the data of this TYPE666 record"},
		{"child NS ns.child\nx.child TXT a\nns.child A 192.0.2.1\n", "dyn.zone:2: x.child.example.org TXT is at or below the delegation on line 1"},
		{"child NS ns.child\nchild MX 10 a\n", "dyn.zone:2: child.example.org MX is at or below the delegation"},
		{"*.w NS ns.example.net.\n", "dyn.zone:1: NS record at a wildcard"},
		{"old DNAME a\nx.old A 192.0.2.1\n", "dyn.zone:2: x.old.example.org is below the DNAME on line 1"},
		{"old DNAME a\nold DNAME b\n", "dyn.zone:1: old.example.org has 2 DNAME records"},
		{"old DNAME a\nold NS b\n", "dyn.zone:2: old.example.org has DNAME on line 1 and is delegated on line 2"},
		{"www SOA a b 1 2 3 4 5\n", "dyn.zone:1: SOA record at www.example.org"},
		{"@ SOA a b 1 2 3 4 5\n@ SOA a b 1 2 3 4 5\n", "dyn.zone:2: a second SOA record"},
		{"@ SOA a b 1 2 3 4\n", "dyn.zone:1: SOA record of 6 fields"},
		{"@ SOA a b x 2 3 4 5\n", `dyn.zone:1: "x" is not a serial`},
		{"@ SOA a b 1 2 3 4 x\n", `dyn.zone:1: "x" is not a time`},
		{strings.Repeat("a", 64) + " A 192.0.2.1\n", "has a label of more than 63 octets"},
		{strings.Repeat(" ", 16<<20+1), "dyn.zone:1: the file is larger than 16 MiB"},
		{manyTexts(), "do not fit into a message"},
	} {
		_, err := zone.Parse(strings.NewReader(tt.text), "dyn.zone", dnsname.MustParse("example.org"))
		var fileErr *zone.FileError
		if !errors.As(err, &fileErr) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func manyTexts() string {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "www TXT \"%d%s\"\n", i, strings.Repeat("x", 200))
	}
	return b.String()
}

func TestNewErrors(t *testing.T) {
	apex := dnsname.MustParse("example.org")
	ns := func(name string, a ...string) []zone.NameServer {
		return []zone.NameServer{{Name: dnsname.MustParse(name), Addresses: addrs(a...)}}
	}
	for _, tt := range []struct {
		text    string
		servers []zone.NameServer
		want    string
	}{
		{"", ns("ns.example.net", "192.0.2.1"), "name server ns.example.net is outside of zone example.org"},
		{"child NS ns.example.net.\n", ns("ns.child.example.org", "192.0.2.1"), "dyn.zone:1: child.example.org is delegated"},
		{"old DNAME new\n", ns("ns.old.example.org", "192.0.2.1"), "dyn.zone:1: a DNAME at old.example.org redirects it"},
		{"ns CNAME a\n", ns("ns.example.org", "192.0.2.1"), "has a CNAME at dyn.zone:1"},
	} {
		records, err := zone.Parse(strings.NewReader(tt.text), "dyn.zone", apex)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := zone.New(zone.Config{Apex: apex, Records: records, NameServers: tt.servers}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
	if _, err := zone.New(zone.Config{}); err == nil {
		t.Error("a zone without a name was made")
	}
	if _, err := zone.New(zone.Config{Apex: apex, Records: mustParse(t, "", "example.net")}); err == nil {
		t.Error("records of another zone were taken")
	}
}

// TestNameServers: those of the configuration join those of the file, the first
// one of the configuration is the SOA's MNAME, and each is there once.
func TestNameServers(t *testing.T) {
	z := mustNew(t, zone.Config{
		Apex: dnsname.MustParse("example.org"), Records: mustParse(t, "@ 300 NS a\n@ 300 NS b\n", "example.org"),
		NameServers: []zone.NameServer{{Name: dnsname.MustParse("b.example.org")}, {Name: dnsname.MustParse("c.example.net")}},
	})
	got := show(t, ask(z, "example.org", dns.TypeNS, 1232))
	want := `NOERROR aa
  answer     example.org. 300 IN NS b.example.org.
  answer     example.org. 300 IN NS a.example.org.
  answer     example.org. 300 IN NS c.example.net.
`
	if got != want {
		t.Errorf("got %s", got)
	}
	if soa := show(t, ask(z, "example.org", dns.TypeSOA, 1232)); !strings.Contains(soa, "SOA b.example.org. hostmaster.example.org. 0 14400 3600 1209600 60") {
		t.Errorf("got %s", soa)
	}
}

func TestCheckHost(t *testing.T) {
	text := `www   A 192.0.2.1
alias CNAME www
mail  MX 10 www
      TXT "text"
child NS ns.child
ns.child A 192.0.2.2
old   DNAME www
`
	z := mustNew(t, zone.Config{
		Apex: dnsname.MustParse("example.org"), Records: mustParse(t, text, "example.org"),
		NameServers: []zone.NameServer{{Name: dnsname.MustParse("ns.example.org"), Addresses: addrs("192.0.2.53")}},
	})
	for _, tt := range []struct {
		owner string
		line  int // -1: it may be a host
		want  string
	}{
		{"www.example.org", 1, "test.zone:1: a static A record is there"},
		{"alias.example.org", 2, "test.zone:2: a static CNAME record is there"},
		{"mail.example.org", -1, ""},
		{"example.org", -1, ""},
		{"x.mail.example.org", -1, ""},
		{"*.example.org", -1, ""},
		{"child.example.org", 5, "test.zone:5: child.example.org is delegated"},
		{"a.b.child.example.org", 5, "test.zone:5: child.example.org is delegated"},
		{"old.example.org", 7, "test.zone:7: a static DNAME record is there"},
		{"x.old.example.org", 7, "test.zone:7: a DNAME at old.example.org redirects it"},
		{"ns.example.org", 0, "the list of name servers: it is a name server with an address of its own"},
	} {
		err := z.CheckHost(dnsname.MustParse(tt.owner))
		if tt.line < 0 {
			if err != nil {
				t.Errorf("%s: %v", tt.owner, err)
			}
			continue
		}
		var clash *zone.ClashError
		if !errors.As(err, &clash) || clash.Line != tt.line || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.owner, err, tt.want)
		}
		if setErr := z.Set(dnsname.MustParse(tt.owner), 60, addrs("192.0.2.9"), nil, nil, 1); setErr == nil {
			t.Errorf("%s: Set took it", tt.owner)
		}
	}
	if z.CheckHost(dnsname.MustParse("www.example.net")) == nil || z.CheckHost(dnsname.MustParse("badexample.org")) == nil {
		t.Error("a name outside of the zone may be a host")
	}
}

// FuzzParse: what is accepted can be served, every name of it, whole, in a
// response that parses; and an error has a line of the file.
func FuzzParse(f *testing.F) {
	f.Add("$TTL 300\n@ SOA ns host ( 1 2 3 4 5 )\n NS ns\nns A 192.0.2.1\n")
	f.Add("*.w 60 IN TXT \"a\\\"b\" c\\046d ; comment\n")
	f.Add("a\\046b.\\000x A 192.0.2.1\n$ORIGIN b\n@ CNAME c\n")
	f.Add("x RP \\# 0\n")
	f.Add("x TYPE666 \\# 0\nx TYPE666 \\# 3 abcdef\nx CAA 0 issue \";\"\ny SRV 1 2 3 z\n")
	f.Add("x TXT (\n\"a\"\n)\nold DNAME new\nchild NS ns.child\nns.child AAAA 2001:db8::1\n")
	f.Add("x HTTPS 1 . mandatory=port,alpn port=1 alpn=\"h2\"\nx TYPE65 \\# 7 00010000000000\nx TYPE64 \\# 3 000100\nx HTTPS 0 .\n")
	f.Add("x HTTPS 1 . alpn=h2 ech=AAAA\nx LOC 1 N 1 E 1m\nx NAPTR 1 1 \"\" \"\" \"\" .\n")
	apex := dnsname.MustParse("example.org")
	f.Fuzz(func(t *testing.T, text string) {
		records, err := zone.Parse(strings.NewReader(text), "f", apex)
		if err != nil {
			var fileErr *zone.FileError
			if !errors.As(err, &fileErr) || fileErr.Line < 1 || fileErr.Line > 1+strings.Count(text, "\n") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		z, err := zone.New(zone.Config{Apex: apex, Records: records})
		if err != nil {
			return // ns.example.org can be in the way of nothing else
		}
		for owner, rrtype := range records.All() {
			var w zone.Writer
			msg := append(make([]byte, 12), owner.Wire()...)
			msg[5] = 1
			w.Start(append(msg, byte(rrtype>>8), byte(rrtype), 0, 1), []byte(owner.Wire()), 65535)
			z.Answer(&w, rrtype)
			reply := w.Finish()
			if reply[2]&2 != 0 {
				t.Fatalf("%q: %s type %d is too long", text, owner, rrtype)
			}
			if err := (&dns.Msg{Data: reply}).Unpack(); err != nil {
				t.Fatalf("%q: %s type %d: %v\n%x", text, owner, rrtype, err, reply)
			}
		}
	})
}
