package dynamodb

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"godwit/internal/awscall"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

type keys struct{}

func (keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
}

// unconnected is a store that makes no calls.
func unconnected(t testing.TB) *Store {
	t.Helper()
	client, err := awscall.New(awscall.Config{Service: "dynamodb", Region: "eu-west-1", Endpoint: "http://127.0.0.1:1", Credentials: keys{}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Client: client, Table: "hosts", Zones: map[dnsname.Name]string{dnsname.MustParse("dyn.example.org"): "Z0DYN"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var at = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// full is a host and a credential with every field set.
func full() (*ddns.Host, []*ddns.Credential) {
	name := func(label string) dnsname.Name { return dnsname.MustParse(label + ".dyn.example.org") }
	addr := netip.MustParseAddr
	rule, err := ddns.ParseAddressRule("192.0.2.0/24,2001:db8::/32")
	if err != nil {
		panic(err)
	}
	c, token := ddns.NewToken(name("nas"), at)
	c.Sealed = []byte(token.Reveal())
	tsig := *c
	tsig.ID, tsig.Kind, tsig.Algorithm, tsig.State, tsig.Label = "22222222", ddns.KindTSIG, "hmac-sha256", ddns.CredentialStop, "ü \"x\" \\"
	tsig.Verifier, tsig.Sealed, tsig.Fingerprint = []byte{0, 255}, []byte{1, 0, 255}, []byte{9}
	tsig.Grants = []ddns.Grant{{Host: name("nas"), Types: []ddns.Type{ddns.TypeA, ddns.TypeTXT}, URLToken: true}, {Host: name("tv")}}
	tsig.Networks, tsig.Rate = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, 7
	tsig.Created, tsig.Expires, tsig.Mark = at.Add(time.Hour), at.Add(9*time.Hour), 1770000000
	h := &ddns.Host{
		Name: name("nas"), Zone: dnsname.MustParse("dyn.example.org"), TTL: 60, Addresses: rule, Free: true, Suspended: true, Wildcard: true, Lease: 36 * time.Hour,
		A: []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}, AAAA: []netip.Addr{addr("2001:db8::1")}, Prefix: netip.MustParsePrefix("2001:db8:0:ff00::/56"),
		Followers:  []ddns.Follower{{Name: name("z"), Low: addr("::1"), A: true}, {Name: name("a"), Low: addr("::2"), AAAA: true}},
		TXT:        []ddns.TXT{{Value: "q\"\\ü\xff", Credential: "k7m2qx4p", Time: at}, {Value: "x", Time: at}},
		Generation: 7, Published: 6,
		Shown: []ddns.RRset{
			{Owner: name("nas"), Type: ddns.TypeA, TTL: 60, Addrs: []netip.Addr{addr("192.0.2.9")}},
			{Owner: name("_acme-challenge.nas"), Type: ddns.TypeTXT, TTL: 60, Texts: []string{"", " a b ", "\"\\\x00ü"}},
		},
		Created: at, ChangedAt: at, ChangedBy: "k7m2qx4p", Seen: at, Busy: at, Refusals: 17, Credentials: []string{c.ID, tsig.ID},
	}
	return h, []*ddns.Credential{c, &tsig}
}

// encode writes a whole item as a creation does.
func encode(t testing.TB, s *Store, h *ddns.Host, creds []*ddns.Credential, base *row) string {
	t.Helper()
	owned, secret := "", "nobody's"
	if base != nil {
		owned, secret = base.owned, base.data.secret
	}
	d, err := s.dataOf(h, base, secret)
	if err != nil {
		t.Fatal(err)
	}
	return string(create(h, h.Name.String(), d, creds, owned, `{"time":"2026-03-01T12:00:00Z"}`))
}

func TestItemRoundTrip(t *testing.T) {
	s := unconnected(t)
	h, creds := full()
	owner := &row{owned: creds[0].ID, data: data{zone: "Z0DYN", secret: string(creds[0].Sealed)}, host: h}
	text := encode(t, s, h, creds, owner)
	if !json.Valid([]byte(text)) {
		t.Fatalf("the item is not JSON: %s", text)
	}
	n, err := parseJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.decode(&n)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", r.data, r.data, r.data, r.data); strings.Contains(text, r.data.secret) {
		t.Errorf("a secret can be printed: %s", text)
	}
	if r.owned != creds[0].ID || r.gen != 7 || r.first || r.gone {
		t.Errorf("%+v", r)
	}
	r.host.Row = nil
	if !reflect.DeepEqual(r.host, h) {
		t.Errorf("got  %+v\nwant %+v", r.host, h)
	}
	if !reflect.DeepEqual(r.creds, creds) {
		t.Errorf("got  %+v\nwant %+v", r.creds[0], creds[0])
	}
	if strings.Count(text, string(creds[0].Sealed)) != 1 {
		t.Error("the shared secret stands in the item more than once, or not at all")
	}
}

// TestSeedRows: what the reference's tools have written, by hand or by program.
func TestSeedRows(t *testing.T) {
	s := unconnected(t)
	for name, c := range map[string]struct {
		key, data    string
		secret, host string
		ttl          uint32
		damaged      string
	}{
		"as newrecord.py writes": {"nas.dyn.example.org", `{"route_53_zone_id": "Z0DYN","route_53_record_ttl": 60,"shared_secret": "s3cret"}`, "s3cret", "nas.dyn.example.org", 60, ""},
		"dot and capitals":       {"NAS.dyn.Example.org.", `{"route_53_zone_id":"Z0DYN","route_53_record_ttl":"300","shared_secret":"x","route_53_record_type":"A","aws_region":"eu-west-1"}`, "x", "nas.dyn.example.org", 300, ""},
		"an escaped secret":      {"nas.dyn.example.org", `{"route_53_zone_id":"Z0DYN","route_53_record_ttl":60,"shared_secret":"a\"b\\\u00fc\ud83d\ude00"}`, "a\"b\\ü😀", "nas.dyn.example.org", 60, ""},
		"a quote by hand":        {"nas.dyn.example.org", `{"route_53_zone_id": "Z0DYN","route_53_record_ttl": 60,"shared_secret": "a"b"}`, `a"b`, "nas.dyn.example.org", 60, ""},
		"a backslash by hand":    {"nas.dyn.example.org", `{"route_53_zone_id": "Z0DYN","route_53_record_ttl": 60,"shared_secret": "a\qb"}`, `a\qb`, "nas.dyn.example.org", 60, ""},
		"repeated: the last":     {"nas.dyn.example.org", `{"route_53_zone_id":"Z0DYN","route_53_record_ttl":60,"shared_secret":"a","shared_secret":"b"}`, "b", "nas.dyn.example.org", 60, ""},
		"another zone, by name":  {"nas.dyn.example.org", `{"route_53_zone_id":"Z0OTHER","route_53_record_ttl":60,"shared_secret":"a"}`, "a", "nas.dyn.example.org", 60, ""},
		"no JSON":                {"nas.dyn.example.org", `nonsense`, "", "", 0, "not a JSON object"},
		"a list":                 {"nas.dyn.example.org", `[]`, "", "", 0, "not a JSON object"},
		"no secret":              {"nas.dyn.example.org", `{"route_53_zone_id":"Z0DYN","route_53_record_ttl":60}`, "", "", 0, "shared_secret"},
		"no zone":                {"nas.dyn.example.org", `{"route_53_record_ttl":60,"shared_secret":"a"}`, "", "", 0, "route_53_zone_id"},
		"no TTL":                 {"nas.dyn.example.org", `{"route_53_zone_id":"Z0DYN","shared_secret":"a"}`, "", "", 0, "route_53_record_ttl"},
		"TTL below zero":         {"nas.dyn.example.org", `{"route_53_zone_id":"Z0DYN","route_53_record_ttl":-1,"shared_secret":"a"}`, "", "", 0, "route_53_record_ttl"},
		"another type":           {"nas.dyn.example.org", `{"route_53_zone_id":"Z0DYN","route_53_record_ttl":60,"shared_secret":"a","route_53_record_type":"CNAME"}`, "", "", 0, "CNAME"},
		"another's zone":         {"nas.example.com", `{"route_53_zone_id":"Z0OTHER","route_53_record_ttl":60,"shared_secret":"a"}`, "", "", 0, "Z0OTHER"},
		"no host name":           {"a..b", `{"route_53_zone_id":"Z0DYN","route_53_record_ttl":60,"shared_secret":"a"}`, "", "", 0, "empty label"},
	} {
		t.Run(name, func(t *testing.T) {
			o := openObject(nil, "{")
			o.s(attrKey, c.key)
			o.s(attrData, c.data)
			n, err := parseJSON(string(append(o.b, '}')))
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.decode(&n)
			if c.damaged != "" {
				if err == nil || !strings.Contains(err.Error(), c.damaged) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			h := r.host
			if h.Name.String() != c.host || h.TTL != c.ttl || h.Generation != 0 || h.Zone.String() != "dyn.example.org" || r.data.secret != c.secret || !r.first {
				t.Errorf("%+v of %+v", h, r)
			}
			if len(r.creds) != 1 || string(r.creds[0].Sealed) != c.secret || h.Credentials[0] != r.creds[0].ID || len(r.creds[0].ID) != 8 {
				t.Errorf("credentials %+v", r.creds)
			}
			// What is written is what the reference's function reads: JSON with these members.
			next := r.data.with(r.data.zone, 77, c.secret)
			var read struct {
				Zone   string `json:"route_53_zone_id"`
				TTL    int    `json:"route_53_record_ttl"`
				Secret string `json:"shared_secret"`
				Region string `json:"aws_region"`
			}
			if err := json.Unmarshal([]byte(next.text), &read); err != nil || read.TTL != 77 || read.Secret != c.secret || read.Zone != r.data.zone || read.Region != "" && read.Region != "eu-west-1" {
				t.Errorf("%s: %+v, %v", next.text, read, err)
			}
			if strings.Contains(c.data, "aws_region") != strings.Contains(next.text, "aws_region") {
				t.Errorf("%s: a member that is not ours was lost", next.text)
			}
		})
	}
}

// TestParseJSON against the standard library.
func TestParseJSON(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{}`, `[]`, `{"a":1}`, `{"a":[true,false,null,-1.5e3,"x"]}`, `{"a":{"b":{"c":[[[]]]}}}`, `"\u00fc\ud83d\ude00\ud83dx\udc00"`, `"\q"`, `"a`, `{"a"}`, `{"a":}`,
		`[1,]`, `{,}`, `nul`, `tru`, `1 2`, "\"\n\"", `{"a":1}}`, `"\u12"`, `"\`, `-`, `"\b\f\n\r\t\/\\\""`,
		strings.Repeat("[", 79) + strings.Repeat("]", 79),
	} {
		n, err := parseJSON(text)
		if (err == nil) != json.Valid([]byte(text)) {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil && n.kind == '"' {
			var want string
			if err := json.Unmarshal([]byte(text), &want); err != nil || n.text != want {
				t.Errorf("%s: %q, want %q", text, n.text, want)
			}
		}
	}
	if _, err := parseJSON(strings.Repeat("[", 81) + strings.Repeat("]", 81)); err == nil {
		t.Error("nesting has no bound")
	}
}

// FuzzItem: whatever stands in a table, reading it does not panic, and what can
// be read is the same after it was written again.
func FuzzItem(f *testing.F) {
	s := unconnected(f)
	h, creds := full()
	owner := &row{owned: creds[0].ID, data: data{zone: "Z0DYN", secret: string(creds[0].Sealed)}, host: h}
	f.Add(encode(f, s, h, creds, owner))
	for _, seed := range []string{
		`{"hostname":{"S":"nas.dyn.example.org"},"data":{"S":"{\"route_53_zone_id\": \"Z0DYN\",\"route_53_record_ttl\": 60,\"shared_secret\": \"a\"b\"}"}}`,
		`{"hostname":{"S":"NAS.dyn.example.org."},"gw_gen":{"N":"3"},"gw_gone":{"BOOL":true}}`,
		`{"hostname":{"S":"a.dyn.example.org"},"gw_gen":{"N":"-3"},"data":{"S":"{}"}}`,
		`{"hostname":{"S":"a.dyn.example.org"},"gw_gen":{"N":"1e9"},"gw_creds":{"M":{"x":{"M":{"grants":{"L":[{"M":{}}]}}}}},"data":{"S":"{\"route_53_zone_id\":\"Z\",\"route_53_record_ttl\":1,\"shared_secret\":\"s\"}"}}`,
		`{"hostname":{"N":"1"}}`, `{}`, `[]`, `{"hostname":{"S":"#meta"}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseJSON(text)
		if err != nil {
			return
		}
		r, err := s.decode(&n)
		if err != nil || r.gone || r.key != r.host.Name.String() || r.data.broken {
			return
		}
		if r.first {
			r.gen, r.host.Generation = 1, 1
		}
		again := encode(t, s, r.host, r.creds, r)
		n2, err := parseJSON(again)
		if err != nil || !json.Valid([]byte(again)) {
			t.Fatalf("%v: %s", err, again)
		}
		r2, err := s.decode(&n2)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		twice := encode(t, s, r2.host, r2.creds, r2)
		if twice != again || r2.owned != r.owned || r2.data.secret != r.data.secret {
			t.Fatalf("not the same:\n%s\n%s", again, twice)
		}
	})
}

// FuzzJSON: the parser takes what the standard library takes, but for bounds.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"\u00fc",{}]}`, `"\ud800"`, "\"\xff\"", `1e999`, `01`, `{"a":1,"a":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseJSON(text)
		if err != nil {
			if json.Valid([]byte(text)) && strings.Count(text, "[")+strings.Count(text, "{") < maxDepth {
				t.Errorf("refused: %q", text)
			}
			return
		}
		if n.kind == '"' && json.Valid([]byte(text)) {
			var want string
			if err := json.Unmarshal([]byte(text), &want); err == nil && strings.ToValidUTF8(n.text, "\ufffd") != want && !strings.Contains(want, "\ufffd") {
				t.Errorf("%q, want %q", n.text, want)
			}
			if quoted := appendQuoted(nil, n.text); !json.Valid(quoted) {
				t.Errorf("%q is written as %s", n.text, quoted)
			}
		}
		if !bytes.Contains([]byte(text), []byte(n.raw)) {
			t.Error("raw is no part of the text")
		}
	})
}

// ordinary is a host as most are: one address, one token, full of history.
func ordinary() (*ddns.Host, []*ddns.Credential) {
	name := dnsname.MustParse("nas.dyn.example.org")
	c, token := ddns.NewToken(name, at)
	c.Sealed = []byte(token.Reveal())
	a := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	return &ddns.Host{Name: name, Zone: dnsname.MustParse("dyn.example.org"), TTL: 60, A: a, Generation: 7, Published: 7,
		Shown:   []ddns.RRset{{Owner: name, Type: ddns.TypeA, TTL: 60, Addrs: a}},
		Created: at, ChangedAt: at, ChangedBy: c.ID, Seen: at, Busy: at, Credentials: []string{c.ID}}, []*ddns.Credential{c}
}

// BenchmarkDecode is what a read costs besides the call.
func BenchmarkDecode(b *testing.B) {
	s := unconnected(b)
	h, creds := ordinary()
	text := `{"Item":` + encode(b, s, h, creds, &row{owned: creds[0].ID, data: data{zone: "Z0DYN", secret: string(creds[0].Sealed)}, host: h}) + `}`
	n, err := parseJSON(text)
	if err != nil {
		b.Fatal(err)
	}
	// As a read asks for it: without the history.
	item := n.member("Item")
	kept := openObject([]byte(`{"Item":`), "{")
	for i := range item.kids {
		if item.kids[i].name != attrLog {
			kept.raw(item.kids[i].name, item.kids[i].raw)
		}
	}
	text = string(append(kept.b, "}}"...))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		n, err := parseJSON(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.decode(n.member("Item")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncode is what the conditional write of an update costs besides the call.
func BenchmarkEncode(b *testing.B) {
	s := unconnected(b)
	h, creds := ordinary()
	base := &row{key: h.Name.String(), gen: 7, owned: creds[0].ID, data: data{zone: "Z0DYN", ttl: 60, secret: string(creds[0].Sealed)}.with("Z0DYN", 60, string(creds[0].Sealed)), host: h}
	next := h.Clone()
	next.Generation, next.A, next.Seen, next.ChangedAt = 8, []netip.Addr{netip.MustParseAddr("192.0.2.2")}, at.Add(time.Hour), at.Add(time.Hour)
	e := ddns.Event{Time: at, Generation: 8, Outcome: "changed", Door: "seed", Credential: creds[0].ID, Source: next.A[0], Proven: true, Before: h.A, After: next.A}
	b.ReportAllocs()
	for b.Loop() {
		d, err := s.dataOf(next, base, base.data.secret)
		if err != nil {
			b.Fatal(err)
		}
		o := newOp("Update", base.key)
		o.name("#d", attrData)
		change(o, next, base, d, string(appendEvent(nil, &e, 7)))
		if body := o.write(s.open(), `"ALL_OLD"`); len(body.b) == 0 {
			b.Fatal("nothing")
		}
	}
}
