package awstest_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
)

type route53Keys struct{ id, secret string }

func (k route53Keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret, SessionToken: "session"}, nil
}

// account is a client of a stand-in, or of moto.
type account struct {
	t testing.TB
	*awscall.Client
	*awstest.Route53
	zone string // ID of example.org
}

func client(t testing.TB, c awscall.Config) *awscall.Client {
	t.Helper()
	c.Service, c.Attempts = "route53", 1
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Endpoint == "" {
		c.Endpoint = "http://route53.example.com"
	}
	if c.Credentials == nil {
		c.Credentials = route53Keys{awstest.AccessKeyID, awstest.SecretAccessKey}
	}
	made, err := awscall.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func open(t testing.TB, c awstest.Route53Config) *account {
	r := awstest.NewRoute53(c)
	return &account{t, client(t, awscall.Config{Transport: r}), r, r.AddZone("example.org")}
}

// call makes a request and returns status, body and the code of an error.
func (a *account) call(method, path, body string) (int, string, string) {
	a.t.Helper()
	resp, err := a.Do(a.t.Context(), awscall.Request{Method: method, Path: "/2013-04-01/" + path, Body: []byte(body)})
	if e, ok := errors.AsType[*awscall.Error](err); ok {
		return e.Status, string(e.Body), e.Code
	}
	if err != nil {
		return 0, "", err.Error()
	}
	return resp.Status, string(resp.Body), ""
}

// set writes a set as XML: "A 60 192.0.2.1 192.0.2.2" at a name.
func set(action, name, text string) string {
	f := strings.SplitN(text, " ", 3)
	var out strings.Builder
	fmt.Fprintf(&out, "<Change><Action>%s</Action><ResourceRecordSet><Name>%s</Name><Type>%s</Type><TTL>%s</TTL><ResourceRecords>", action, name, f[0], f[1])
	for v := range strings.SplitSeq(f[2], "|") {
		out.WriteString("<ResourceRecord><Value>")
		_ = xml.EscapeText(&out, []byte(v))
		out.WriteString("</Value></ResourceRecord>")
	}
	return out.String() + "</ResourceRecords></ResourceRecordSet></Change>"
}

func batch(changes ...string) string {
	return `<?xml version="1.0"?><ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Comment>c</Comment><Changes>` +
		strings.Join(changes, "\n") + `</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>`
}

// change sends a batch to example.org and returns the code and the whole answer.
func (a *account) change(changes ...string) (code, body string) {
	a.t.Helper()
	_, body, code = a.call("POST", "hostedzone/"+a.zone+"/rrset/", batch(changes...))
	return code, body
}

func (a *account) must(changes ...string) {
	a.t.Helper()
	if code, body := a.change(changes...); code != "" {
		a.t.Fatalf("%s: %s", code, body)
	}
}

// shows is the stand-in's set as text, "" if there is none.
func (a *account) shows(name, rrType string) string {
	s, ok := a.Set(a.zone, name, rrType)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s %d %s", s.Type, s.TTL, strings.Join(s.Values, "|"))
}

// listed is a page of a listing.
type listed struct {
	Sets []struct {
		Name   string   `xml:"Name"`
		Type   string   `xml:"Type"`
		TTL    int      `xml:"TTL"`
		Values []string `xml:"ResourceRecords>ResourceRecord>Value"`
	} `xml:"ResourceRecordSets>ResourceRecordSet"`
	Truncated bool   `xml:"IsTruncated"`
	NextName  string `xml:"NextRecordName"`
	NextType  string `xml:"NextRecordType"`
	MaxItems  int    `xml:"MaxItems"`
}

func (l listed) names() string {
	var out []string
	for _, s := range l.Sets {
		out = append(out, s.Name+" "+s.Type)
	}
	return strings.Join(out, ", ")
}

func (a *account) list(query string) listed {
	a.t.Helper()
	status, body, _ := a.call("GET", "hostedzone/"+a.zone+"/rrset?"+query, "")
	var l listed
	if err := xml.Unmarshal([]byte(body), &l); err != nil || status != 200 {
		a.t.Fatalf("list %s: %d, %v: %s", query, status, err, body)
	}
	return l
}

// TestRoute53Batches judges one batch on a zone with a, cname and *.
func TestRoute53Batches(t *testing.T) {
	const invalid = "InvalidChangeBatch"
	addresses := func(n int) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf("198.18.%d.%d", i/256, i%256))
		}
		return strings.Join(out, "|")
	}
	long := `TXT 60 "` + strings.Repeat("a", 255) + `"`
	many := func(action string, n int) (out []string) {
		for i := range n {
			out = append(out, set(action, fmt.Sprintf("m%d.example.org", i), "A 60 192.0.2.1"))
		}
		return out
	}
	texts := func(action string, n int) (out []string) { // of 800 characters each
		for i := range n {
			out = append(out, set(action, fmt.Sprintf("t%d.example.org", i), `TXT 1 "`+strings.Repeat("x", 255)+`" "`+strings.Repeat("y", 255)+`" "`+strings.Repeat("z", 255)+`" "`+strings.Repeat("q", 24)+`"`))
		}
		return out
	}
	for _, tt := range []struct {
		name    string
		changes []string
		code    string
		says    string
	}{
		{"create", []string{set("CREATE", "b.example.org", "A 60 192.0.2.9")}, "", ""},
		{"create what is there, though equal", []string{set("CREATE", "a.example.org", "A 60 192.0.2.1|192.0.2.2")}, invalid, "Tried to create resource record set [name='a.example.org.', type='A'] but it already exists"},
		{"delete", []string{set("DELETE", "A.example.org.", "A 60 192.0.2.2|192.0.2.1")}, "", ""},
		{"delete with another TTL", []string{set("DELETE", "a.example.org", "A 61 192.0.2.1|192.0.2.2")}, invalid, "but the values provided do not match the current values"},
		{"delete part of a set", []string{set("DELETE", "a.example.org", "A 60 192.0.2.1")}, invalid, "do not match"},
		{"delete what is not there", []string{set("DELETE", "b.example.org", "A 60 192.0.2.1")}, invalid, "[name='b.example.org.', type='A'] but it was not found"},
		{"delete twice", []string{set("DELETE", "a.example.org", "A 60 192.0.2.1|192.0.2.2"), set("DELETE", "a.example.org", "A 60 192.0.2.1|192.0.2.2")}, invalid, "not found"},
		{"replace", []string{set("DELETE", "a.example.org", "A 60 192.0.2.1|192.0.2.2"), set("CREATE", "a.example.org", "A 60 192.0.2.1")}, "", ""},
		{"create before delete", []string{set("CREATE", "a.example.org", "A 60 192.0.2.1"), set("DELETE", "a.example.org", "A 60 192.0.2.1|192.0.2.2")}, invalid, "already exists"},
		{"create and delete again", []string{set("CREATE", "b.example.org", "A 60 192.0.2.1"), set("DELETE", "b.example.org", "A 60 192.0.2.1")}, "", ""},
		{"upsert", []string{set("UPSERT", "a.example.org", "A 300 192.0.2.3")}, "", ""},
		{"IPv6 by value", []string{set("CREATE", "b.example.org", "AAAA 60 2001:DB8:0:0::1"), set("DELETE", "b.example.org", "AAAA 60 2001:db8::1")}, "", ""},
		{"one bad of two", []string{set("UPSERT", "a.example.org", "A 300 192.0.2.3"), set("DELETE", "b.example.org", "A 60 192.0.2.1")}, invalid, "not found"},
		{"outside the zone", []string{set("CREATE", "badexample.org", "A 60 192.0.2.1")}, invalid, "RRSet with DNS name badexample.org. is not permitted in zone example.org."},
		{"SOA at the apex", []string{set("DELETE", "example.org", "SOA 900 ns-1.example.net. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400")}, invalid, "exactly one SOA"},
		{"the apex may have addresses", []string{set("CREATE", "example.org", "A 60 192.0.2.1")}, "", ""},
		{"CNAME at the apex", []string{set("CREATE", "example.org", "CNAME 60 a.example.net")}, invalid, "not permitted at apex"},
		{"CNAME beside another", []string{set("CREATE", "a.example.org", "CNAME 60 a.example.net")}, invalid, "conflicting RRSet"},
		{"another beside CNAME", []string{set("CREATE", "cname.example.org", "A 60 192.0.2.1")}, invalid, "conflicting RRSet"},
		{"CNAME in place of another", []string{set("DELETE", "a.example.org", "A 60 192.0.2.1|192.0.2.2"), set("CREATE", "a.example.org", "CNAME 60 a.example.net")}, "", ""},
		{"CNAME beside one of the batch", []string{set("CREATE", "b.example.org", "A 60 192.0.2.1"), set("CREATE", "b.example.org", "CNAME 60 a.example.net")}, invalid, "conflicting RRSet"},
		{"the same address twice", []string{set("CREATE", "b.example.org", "A 60 192.0.2.1|192.0.2.1")}, invalid, "Duplicate"},
		{"the same address in two spellings", []string{set("CREATE", "b.example.org", "AAAA 60 2001:db8::1|2001:db8::0:1")}, invalid, "Duplicate"},
		{"IPv6 in A", []string{set("CREATE", "b.example.org", "A 60 2001:db8::1")}, invalid, "ARRDATAIllegalIPv4Address"},
		{"IPv4 in AAAA", []string{set("CREATE", "b.example.org", "AAAA 60 192.0.2.1")}, invalid, "AAAARRDATAIllegalIPv6Address"},
		{"TXT without quotation marks", []string{set("CREATE", "b.example.org", "TXT 60 x")}, invalid, "quotation marks"},
		{"TXT of two strings", []string{set("CREATE", "b.example.org", `TXT 60 "x" "y \"z\" \\ \303\251"`)}, "", ""},
		{"TXT string of 255", []string{set("CREATE", "b.example.org", long)}, "", ""},
		{"TXT string of 256", []string{set("CREATE", "b.example.org", long[:len(long)-1]+`a"`)}, invalid, "255"},
		{"TTL", []string{set("CREATE", "b.example.org", "A 2147483648 192.0.2.1")}, invalid, "InvalidTTL"},
		{"no changes", nil, "InvalidInput", "changeBatch.changes"},
		{"label of 64", []string{set("CREATE", strings.Repeat("a", 64)+".example.org", "A 60 192.0.2.1")}, "InvalidInput", "63"},
		{"wildcard spelled with *", []string{set("DELETE", "*.example.org", "A 60 192.0.2.3")}, "", ""},
		{"wildcard spelled with \\052", []string{set("DELETE", `\052.example.org`, "A 60 192.0.2.3")}, "", ""},
		{"400 values", []string{set("CREATE", "b.example.org", "A 60 "+addresses(400))}, "", ""},
		{"401 values", []string{set("CREATE", "b.example.org", "A 60 "+addresses(401))}, invalid, "400"},
		{"1000 elements", many("CREATE", 1000), "", ""},
		{"1001 elements", many("CREATE", 1001), invalid, "1000"},
		{"500 upserts", many("UPSERT", 500), "", ""},
		{"501 upserts", many("UPSERT", 501), invalid, "1000"},
		{"32,000 characters", texts("CREATE", 40), "", ""},
		{"32,800 characters", texts("CREATE", 41), invalid, "32000"},
		{"20 upserts of 800 characters", texts("UPSERT", 20), "", ""},
		{"21 upserts of 800 characters", texts("UPSERT", 21), invalid, "32000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, own := range []bool{false, true} {
				a := open(t, awstest.Route53Config{OwnRoot: own})
				a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1|192.0.2.2"), set("CREATE", "cname.example.org", "CNAME 60 a.example.org"), set("CREATE", "*.example.org", "A 60 192.0.2.3"))
				before := fmt.Sprint(a.Sets(a.zone))
				code, body := a.change(tt.changes...)
				if code != tt.code || !strings.Contains(strings.ReplaceAll(body, "&#39;", "'"), tt.says) {
					t.Errorf("%s: %s", code, body)
				}
				if own && code == invalid && !strings.HasPrefix(body, "<?xml version=\"1.0\"?>\n<InvalidChangeBatch ") {
					t.Errorf("not a root of its own: %s", body)
				}
				after := fmt.Sprint(a.Sets(a.zone))
				if code != "" && after != before {
					t.Errorf("a refused batch left %s of %s", after, before)
				}
			}
		})
	}
}

// TestRoute53Messages has one for each faulty change.
func TestRoute53Messages(t *testing.T) {
	a := open(t, awstest.Route53Config{OwnRoot: true})
	_, body := a.change(set("DELETE", "b.example.org", "A 60 192.0.2.1"), set("CREATE", "c.example.org", "A 60 192.0.2.1"), set("DELETE", "d.example.org", "A 60 192.0.2.1"))
	if n := strings.Count(body, "<Message>"); n != 2 {
		t.Errorf("%d messages: %s", n, body)
	}
}

func TestRoute53Listing(t *testing.T) {
	a := open(t, awstest.Route53Config{})
	a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1"), set("CREATE", "a.example.org", "AAAA 60 2001:db8::1"), set("CREATE", "a.example.org", `TXT 60 "t"`),
		set("CREATE", "x.a.example.org", "A 60 192.0.2.1"), set("CREATE", "a-b.example.org", "A 60 192.0.2.1"), set("CREATE", "*.a.example.org", "A 60 192.0.2.1"),
		set("CREATE", "b.example.org", "A 60 192.0.2.1"))
	const all = `example.org. NS, example.org. SOA, a-b.example.org. A, a.example.org. A, a.example.org. AAAA, a.example.org. TXT, \052.a.example.org. A, x.a.example.org. A, b.example.org. A`
	for _, tt := range []struct{ query, want, next string }{
		{"", all, ""},
		{"maxitems=1000", all, ""},
		{"maxitems=2", "example.org. NS, example.org. SOA", "a-b.example.org. A"},
		{"name=a.example.org&type=AAAA&maxitems=1", "a.example.org. AAAA", "a.example.org. TXT"},
		{"name=A.EXAMPLE.ORG&type=B&maxitems=1", "a.example.org. TXT", `\052.a.example.org. A`},
		{"name=a.example.org.&maxitems=3", "a.example.org. A, a.example.org. AAAA, a.example.org. TXT", `\052.a.example.org. A`},
		{"name=*.a.example.org&type=A&maxitems=1", `\052.a.example.org. A`, "x.a.example.org. A"},
		{`name=%5C052.a.example.org&type=AAAA`, "x.a.example.org. A, b.example.org. A", ""},
		{"name=c.example.org", "", ""},
		{"name=aa.example.org", "b.example.org. A", ""},
	} {
		l := a.list(tt.query)
		next := strings.TrimSpace(l.NextName + " " + l.NextType)
		if l.names() != tt.want || next != tt.next || l.Truncated != (tt.next != "") {
			t.Errorf("%s: %s; next %q\nwant %s; next %q", tt.query, l.names(), next, tt.want, tt.next)
		}
	}
	for _, query := range []string{"type=A", "name=a.example.org&identifier=x", "maxitems=0", "maxitems=x", "name=a..b"} {
		if status, _, code := a.call("GET", "hostedzone/"+a.zone+"/rrset?"+query, ""); status != 400 || code != "InvalidInput" {
			t.Errorf("%s: %d %s", query, status, code)
		}
	}
	var changes []string
	for i := range 700 {
		changes = append(changes, set("CREATE", fmt.Sprintf("h%d.example.org", i), "A 60 192.0.2.1"))
	}
	a.must(changes...)
	seen, query := 0, "maxitems=500"
	for pages := 1; ; pages++ {
		l := a.list(query)
		if seen += len(l.Sets); !l.Truncated {
			if pages != 3 || seen != 709 || l.MaxItems != 300 {
				t.Errorf("%d sets on %d pages of %d", seen, pages, l.MaxItems)
			}
			break
		}
		query = "maxitems=500&name=" + url.QueryEscape(l.NextName) + "&type=" + l.NextType
	}
}

// TestRoute53NamesAndIDs come in several forms and leave in one.
func TestRoute53NamesAndIDs(t *testing.T) {
	a := open(t, awstest.Route53Config{})
	a.must(set("CREATE", `We@ird_1\040x.example.org`, "A 60 192.0.2.1"))
	if got := a.list("name=we%40ird_1%5C040x.example.org&type=A&maxitems=1").names(); got != `we\100ird_1\040x.example.org. A` {
		t.Error(got)
	}
	for _, path := range []string{"hostedzone/" + a.zone, "hostedzone/hostedzone/" + a.zone, "hostedzone/%2Fhostedzone%2F" + a.zone} {
		status, body, code := a.call("GET", path, "")
		if status != 200 || !strings.Contains(body, "<Id>/hostedzone/"+a.zone+"</Id>") {
			t.Errorf("%s: %d %s: %s", path, status, code, body)
		}
	}
	for path, want := range map[string]string{"hostedzone/ZNONE/rrset": "NoSuchHostedZone", "change/CNONE": "NoSuchChange", "hostedzones": "UnknownOperationException"} {
		if status, _, code := a.call("GET", path, ""); status != 404 || code != want {
			t.Errorf("%s: %d %s", path, status, code)
		}
	}
}

func TestRoute53Zones(t *testing.T) {
	a := open(t, awstest.Route53Config{})
	create := func(name, reference string) (int, string, string) {
		return a.call("POST", "hostedzone", `<CreateHostedZoneRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Name>`+name+`</Name><CallerReference>`+reference+`</CallerReference></CreateHostedZoneRequest>`)
	}
	if status, body, code := create("dyn.example.org", "r1"); status != 201 || !strings.Contains(body, "<Name>dyn.example.org.</Name>") || strings.Count(body, "<NameServer>") != 4 {
		t.Errorf("%d %s: %s", status, code, body)
	}
	if status, _, code := create("dyn.example.org", "r1"); status != 409 || code != "HostedZoneAlreadyExists" {
		t.Errorf("%d %s", status, code)
	}
	if status, _, code := create("a..b", "r2"); status != 400 || code != "InvalidDomainName" {
		t.Errorf("%d %s", status, code)
	}
	a.AddZone("example.net")
	for query, want := range map[string]string{
		"":                                   "example.net. example.org. dyn.example.org.",
		"dnsname=example.org":                "example.org. dyn.example.org.",
		"dnsname=example.org&maxitems=1":     "example.org.",
		"dnsname=foo.example.org":            "",
		"dnsname=nas.dyn.example.org":        "",
		"dnsname=cyn.example.org&maxitems=1": "dyn.example.org.",
	} {
		status, body, _ := a.call("GET", "hostedzonesbyname?"+query, "")
		var got struct {
			Names     []string `xml:"HostedZones>HostedZone>Name"`
			Next      string   `xml:"NextDNSName"`
			Truncated bool     `xml:"IsTruncated"`
		}
		if err := xml.Unmarshal([]byte(body), &got); err != nil || status != 200 || strings.Join(got.Names, " ") != want || got.Truncated != (got.Next != "") {
			t.Errorf("%s: %d %v", query, status, got)
		}
	}
	a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1"))
	if status, _, code := a.call("DELETE", "hostedzone/"+a.zone, ""); status != 400 || code != "HostedZoneNotEmpty" {
		t.Errorf("%d %s", status, code)
	}
	a.must(set("DELETE", "a.example.org", "A 60 192.0.2.1"))
	if status, _, code := a.call("DELETE", "hostedzone/"+a.zone, ""); status != 200 {
		t.Errorf("%d %s", status, code)
	}
	if status, _, _ := a.call("GET", "hostedzone/"+a.zone, ""); status != 404 {
		t.Errorf("deleted, and still there: %d", status)
	}
}

func TestRoute53Signature(t *testing.T) {
	a := open(t, awstest.Route53Config{})
	for name, tt := range map[string]struct {
		config awscall.Config
		code   string
	}{
		"right":        {awscall.Config{}, ""},
		"wrong secret": {awscall.Config{Credentials: route53Keys{awstest.AccessKeyID, "wrong"}}, "SignatureDoesNotMatch"},
		"wrong key":    {awscall.Config{Credentials: route53Keys{"AKIDOTHER", awstest.SecretAccessKey}}, "InvalidClientTokenId"},
		"wrong region": {awscall.Config{Region: "eu-west-1"}, "SignatureDoesNotMatch"},
	} {
		tt.config.Transport = a.Route53
		b := *a
		b.Client = client(t, tt.config)
		if _, _, code := b.call("GET", "hostedzone/"+a.zone+"/rrset?name=%2A.example.org&type=A&maxitems=1", ""); code != tt.code {
			t.Errorf("%s: %s", name, code)
		}
	}
	// Of another service, and with another body than was signed.
	tamper := roundTripper(func(r *http.Request) (*http.Response, error) {
		r.URL.RawQuery = "name=b.example.org"
		return a.RoundTrip(r)
	})
	b := *a
	b.Client = client(t, awscall.Config{Transport: tamper})
	if _, _, code := b.call("GET", "hostedzone/"+a.zone+"/rrset?name=a.example.org", ""); code != "SignatureDoesNotMatch" {
		t.Error(code)
	}
	request, _ := http.NewRequest("GET", "http://route53.example.com/2013-04-01/hostedzonesbyname", nil)
	if resp, err := a.RoundTrip(request); err != nil || resp.StatusCode != 403 {
		t.Errorf("unsigned: %v, %v", resp, err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRoute53Access(t *testing.T) {
	a := open(t, awstest.Route53Config{})
	other := a.AddZone("example.net")
	restricted := awstest.NewRoute53(awstest.Route53Config{Policies: []awstest.Policy{
		{Actions: []string{awstest.ListSets}, Zones: []string{a.zone}},
		{Actions: []string{awstest.ChangeSets}, Zones: []string{a.zone}, Names: []string{"*.dyn.example.org"}, Types: []string{"A", "AAAA"}, Changes: []string{"CREATE", "DELETE"}},
		{Actions: []string{awstest.ChangeSets}, Zones: []string{a.zone}, Names: []string{"_acme-challenge.*"}, Types: []string{"TXT"}},
	}})
	if id := restricted.AddZone("example.org"); id != a.zone {
		t.Fatal(id)
	}
	a.Client, a.Route53 = client(t, awscall.Config{Transport: restricted}), restricted
	allowed := [][]string{
		{set("CREATE", "a.dyn.example.org", "A 60 192.0.2.1"), set("CREATE", "a.dyn.example.org", "AAAA 60 2001:db8::1")},
		{set("CREATE", "*.dyn.example.org", "A 60 192.0.2.1")},
		{set("UPSERT", "_acme-challenge.dyn.example.org", `TXT 60 "t"`)},
	}
	for _, c := range allowed {
		if code, body := a.change(c...); code != "" {
			t.Errorf("%s: %s", code, body)
		}
	}
	denied := [][]string{
		{set("UPSERT", "a.dyn.example.org", "A 60 192.0.2.1")},
		{set("CREATE", "www.example.org", "A 60 192.0.2.1")},
		{set("CREATE", "b.dyn.example.org", `TXT 60 "t"`)},
		// Neither statement allows both, and so none does.
		{set("CREATE", "b.dyn.example.org", "A 60 192.0.2.1"), set("CREATE", "_acme-challenge.b.dyn.example.org", `TXT 60 "t"`)},
	}
	for _, c := range denied {
		if code, _ := a.change(c...); code != "AccessDenied" {
			t.Errorf("%v: %s", c, code)
		}
	}
	for path, want := range map[string]string{"hostedzone/" + a.zone + "/rrset": "", "hostedzone/" + other + "/rrset": "AccessDenied", "hostedzonesbyname": "AccessDenied", "change/C1": "AccessDenied"} {
		if _, _, code := a.call("GET", path, ""); code != want {
			t.Errorf("%s: %q", path, code)
		}
	}
}
