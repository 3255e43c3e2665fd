package route53

import (
	"encoding/xml"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"nas.example.org":                 `nas.example.org.`,
		"*.example.org":                   `\052.example.org.`,
		"_acme-challenge.nas.example.org": `_acme-challenge.nas.example.org.`,
		`a\@b.example.org`:                `a\100b.example.org.`,
		`a\.b.example.org`:                `a\056b.example.org.`,
	} {
		n := dnsname.MustParse(text)
		if got := string(appendName(nil, n)); got != want {
			t.Errorf("%s is written %s, want %s", text, got, want)
		}
		if got, err := parseName(want); err != nil || got != n {
			t.Errorf("%s is read as %s, %v", want, got, err)
		}
	}
	for _, text := range []string{"", ".", "..", "a..b", `\4`, `\400.org`, `\09x.org`, strings.Repeat("a", 64), strings.Repeat("a.", 128), strings.Repeat(`\141`, 600)} {
		if n, err := parseName(text); err == nil {
			t.Errorf("%q is read as %s", text, n)
		}
	}
	if got, err := parseName("*.Example.ORG"); err != nil || got != dnsname.MustParse("*.example.org") {
		t.Errorf("%s, %v", got, err)
	}
}

// FuzzName: what is read is written so that it is read as the same.
func FuzzName(f *testing.F) {
	for _, s := range []string{"a.example.org.", `\052.x`, `\000.`, "A", `a\056b`, strings.Repeat("a.", 127)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseName(text)
		if err != nil {
			return
		}
		if again, err := parseName(string(appendName(nil, n))); err != nil || again != n {
			t.Errorf("%q is %s, then %s, %v", text, n, again, err)
		}
		if strings.Count(position(n), ".") < n.CountLabels() {
			t.Errorf("%s stands at %q", n, position(n))
		}
	})
}

// TestTexts of any octets survive, in strings of at most 255, printable and short.
func TestTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.Byte(), 0, 700).Draw(t, "text"))
		value := string(appendText(nil, text))
		if got, ok := parseText(value); !ok || got != text {
			t.Fatalf("%q is written %s and read as %q, %t", text, value, got, ok)
		}
		if i := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 || len(value) > 4*len(text)+3*(len(text)/maxString+1) {
			t.Fatalf("%q is written %q", text, value)
		}
	})
	for _, value := range []string{"", "x", `"x`, `"x\`, `"x\"`, `"x" y`} {
		if got, ok := parseText(value); ok {
			t.Errorf("%s is read as %q", value, got)
		}
	}
}

// FuzzText: what is read is written so that it is read as the same.
func FuzzText(f *testing.F) {
	for _, s := range []string{`"a"`, `"a" "b"`, `"\"" "\\"`, `"\303\251"`, `"\4"`, `""`, "\"\xff\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		text, ok := parseText(value)
		if !ok {
			return
		}
		if again, ok := parseText(string(appendText(nil, text))); !ok || again != text || len(text) > len(value) {
			t.Errorf("%q is %q, then %q", value, text, again)
		}
	})
}

const listing = `<?xml version="1.0"?><ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets>` +
	`<ResourceRecordSet><Name>a.example.org.</Name><Type>A</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>192.0.2.1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>` +
	`<ResourceRecordSet><Name>\052.example.org.</Name><Type>TXT</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>"a" "&lt;b"</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>` +
	`<ResourceRecordSet><Name>b.example.org.</Name><Type>A</Type><AliasTarget><HostedZoneId>Z</HostedZoneId><DNSName>c.</DNSName><EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget></ResourceRecordSet>` +
	`<ResourceRecordSet><Name>c.example.org.</Name><Type>AAAA</Type><SetIdentifier>x</SetIdentifier><Weight>1</Weight><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>2001:db8::1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>` +
	`<ResourceRecordSet><Name>c.example.org.</Name><Type>MX</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>10 mx</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>` +
	`</ResourceRecordSets><IsTruncated>true</IsTruncated><NextRecordName>d.example.org.</NextRecordName><NextRecordType>A</NextRecordType><MaxItems>5</MaxItems></ListResourceRecordSetsResponse>`

func TestDecodeList(t *testing.T) {
	p, err := decodeList([]byte(listing))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range p.records {
		got = append(got, r.Owner.String()+" "+r.Type.String()+" "+r.foreign)
	}
	want := []string{"a.example.org A ", "*.example.org TXT ", "b.example.org A an alias", "c.example.org AAAA a routing policy"}
	if !slices.Equal(got, want) || p.records[1].Texts[0] != "a<b" || p.next == nil || *p.next != (start{"d.example.org.", "A", "", maxPage}) {
		t.Errorf("%q, %+v", got, p.next)
	}
	for name, body := range map[string]string{
		"another root":    strings.ReplaceAll(listing, "ListResourceRecordSetsResponse", "ErrorResponse"),
		"half":            listing[:len(listing)/2],
		"no next":         strings.Replace(listing, "<NextRecordName>d.example.org.</NextRecordName>", "", 1),
		"no word of more": strings.Replace(listing, "<IsTruncated>true</IsTruncated>", "", 1),
		"301 sets":        strings.Replace(listing, "<ResourceRecordSets>", "<ResourceRecordSets>"+strings.Repeat("<ResourceRecordSet></ResourceRecordSet>", 300), 1),
		"TTL":             strings.Replace(listing, "<TTL>60", "<TTL>-60", 1),
	} {
		if p, err := decodeList([]byte(body)); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// FuzzListResponse: what is taken from a listing can be deleted as it came: its
// values are read as the same from a batch that names them.
func FuzzListResponse(f *testing.F) {
	// Short ones: to make an interesting input smaller takes the fuzzer as long as
	// the input is.
	for _, set := range []string{
		"", "<Name>a.</Name><Type>A</Type><TTL>60</TTL>", `<Name>\052.a.</Name><Type>TXT</Type><ResourceRecords><ResourceRecord><Value>"a" "&lt;b"</Value></ResourceRecord></ResourceRecords>`,
		"<Name>a.</Name><Type>AAAA</Type><ResourceRecords><ResourceRecord><Value>2001:db8::1</Value></ResourceRecord></ResourceRecords>",
		"<Name>a.</Name><Type>A</Type><AliasTarget/>", "<Name>a.</Name><Type>A</Type><SetIdentifier>x</SetIdentifier>",
	} {
		f.Add([]byte("<ListResourceRecordSetsResponse><ResourceRecordSets><ResourceRecordSet>" + set + "</ResourceRecordSet></ResourceRecordSets><IsTruncated>false</IsTruncated></ListResourceRecordSetsResponse>"))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodeList(body)
		if err != nil {
			return
		}
		if len(p.records) > maxPage {
			t.Errorf("%d sets", len(p.records))
		}
		for i := range p.records {
			r := &p.records[i]
			if n, err := parseName(string(appendName(nil, r.Owner))); err != nil || n != r.Owner {
				t.Errorf("%s is written so that it is %s, %v", r.Owner, n, err)
			}
			if r.foreign != "" {
				continue
			}
			var sent struct {
				Values []string `xml:"ResourceRecordSet>ResourceRecords>ResourceRecord>Value"`
			}
			if err := xml.Unmarshal(appendChange(nil, "DELETE", r), &sent); err != nil {
				t.Fatal(err)
			}
			again := record{RRset: ddns.RRset{Owner: r.Owner, Type: r.Type, TTL: r.TTL}}
			if !again.parse(sent.Values) || !again.same(r) {
				t.Errorf("%q is sent as %q", r.raw, sent.Values)
			}
		}
	})
}

// FuzzErrorResponse: a refusal's text is no longer than the refusal, and its
// words are names at most.
func FuzzErrorResponse(f *testing.F) {
	for _, s := range []string{
		`<InvalidChangeBatch><Messages><Message>[name='a.example.org.', type='A']</Message><Message>b.example.org</Message></Messages></InvalidChangeBatch>`,
		`<ErrorResponse><Error><Code>InvalidChangeBatch</Code><Message>[Tried &apos;\052.x.&apos;]</Message></Error></ErrorResponse>`,
		`<Message>`, `<Message>&#x0;`, "<a", `<Message><Message>.</Message>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text := messages(body)
		if len(text) > 3*len(body)+1 { // an octet that is no text becomes three
			t.Errorf("%d octets of %d", len(text), len(body))
		}
		for w := range names(text) {
			if strings.ContainsAny(w, " '\"<>") || len(w) > len(text) {
				t.Errorf("%q", w)
			}
		}
	})
}

func TestSuspects(t *testing.T) {
	h := &ddns.Host{Name: dnsname.MustParse("a.example.org"), A: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TTL: 60}
	j := new(job)
	j.publish(h)
	u := j.units(addresses, j.pairs[addresses])[0]
	for text, want := range map[string]bool{
		"[name='a.example.org.', type='A']":              true,
		"RRSet with DNS name A.Example.org is not":       true,
		"[name='ba.example.org.', type='A']":             false,
		"[name='a.example.org.example.net.', type='A']":  false,
		"[name='\\052.a.example.org.', type='A'] and so": false,
		"": false,
	} {
		words := names(text)
		if got := words[strings.TrimSuffix(string(appendName(nil, u.pairs[0].key().owner)), ".")]; got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
