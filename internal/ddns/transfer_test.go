package ddns_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

func TestParseImport(t *testing.T) {
	row := `{"route_53_zone_id":"Z1","route_53_record_ttl":300,"route_53_record_type":"A","shared_secret":"shared_secret_1","aws_region":"us-west-2"}`
	quoted := func(s string) string {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, tt := range []struct {
		name, data, single string
		want               string // name, TTL and secret of each; "": refused
	}{
		{"the seed's file", `{"host1.dyn.example.org.": ` + row + `, "Host2.dyn.example.org.": {"route_53_zone_id":"Z1","route_53_record_ttl":"60","shared_secret":"shared_secret_2"}}`, "",
			"host2.dyn.example.org 60 shared_secret_2, host1.dyn.example.org 300 shared_secret_1"},
		{"no TTL", `{"a.example.net.": {"shared_secret":"x"}}`, "", "a.example.net 60 x"},
		{"empty TTL", `{"a.example.net.": {"shared_secret":"x","route_53_record_ttl":""}}`, "", "a.example.net 60 x"},
		{"null TTL", `{"a.example.net.": {"shared_secret":"x","route_53_record_ttl":null,"route_53_record_type":"AAAA"}}`, "", "a.example.net 60 x"},
		{"wildcard", `{"*.example.net.": {"shared_secret":"x"}}`, "", "*.example.net 60 x"},
		{"secret with quotes", `{"a.example.net": {"shared_secret":"a\"b\\cé"}}`, "", `a.example.net 60 a"b\cé`},
		{"one row", row, "NAS.dyn.example.org.", "nas.dyn.example.org 300 shared_secret_1"},
		{"scan", `{"Items":[{"hostname":{"S":"a.example.net."},"data":{"S":` + quoted(row) + `},"generation":{"N":"7"}},{"hostname":{"S":"b.example.net"},"data":{"S":` + quoted(row) + `}}],"Count":2,"ScannedCount":2,"ConsumedCapacity":null}`, "",
			"a.example.net 300 shared_secret_1, b.example.net 300 shared_secret_1"},
		{"get-item", `{"Item":{"data":{"S":` + quoted(row) + `},"hostname":{"S":"a.example.net."}}}`, "", "a.example.net 300 shared_secret_1"},

		{"nothing", ``, "", ""}, {"no JSON", `hosts`, "", ""}, {"a list", `[]`, "", ""}, {"null", `null`, "", ""}, {"no host", `{}`, "", ""},
		{"no items", `{"Items":[]}`, "", ""}, {"null items", `{"Items":null}`, "", ""}, {"null item", `{"Item":null}`, "", ""},
		{"items of another shape", `{"Items":[1]}`, "", ""}, {"item of another shape", `{"Item":[]}`, "", ""},
		{"row without a name", row, "", ""}, {"row of another shape", `{"shared_secret":1}`, "a.example.net", ""}, {"row without a secret", `{"shared_secret":""}`, "a.example.net", ""},
		{"trailing data", `{"a.example.net": ` + row + `} {}`, "", ""}, {"trailing brace", `{"a.example.net": ` + row + `}}`, "", ""},
		{"no secret", `{"a.example.net": {}}`, "", ""}, {"null host", `{"a.example.net": null}`, "", ""}, {"host is a list", `{"a.example.net": []}`, "", ""},
		{"single label", `{"nas": ` + row + `}`, "", ""}, {"no name", `{"": ` + row + `}`, "", ""}, {"no host's name", `{"_x.example.net": ` + row + `}`, "", ""},
		{"TTL with a unit", `{"a.example.net": {"shared_secret":"x","route_53_record_ttl":"60s"}}`, "", ""},
		{"negative TTL", `{"a.example.net": {"shared_secret":"x","route_53_record_ttl":-1}}`, "", ""},
		{"TTL with a fraction", `{"a.example.net": {"shared_secret":"x","route_53_record_ttl":1.5}}`, "", ""},
		{"TTL is a list", `{"a.example.net": {"shared_secret":"x","route_53_record_ttl":[60]}}`, "", ""},
		{"type MX", `{"a.example.net": {"shared_secret":"x","route_53_record_type":"MX"}}`, "", ""},
		{"data is no JSON", `{"Items":[{"hostname":{"S":"a.example.net"},"data":{"S":"{\"shared_secret\": \"a\"b\"}"}}]}`, "", ""},
		{"newer export", `{"godwit_export": 2, "hosts": []}`, "", ""}, {"export of another shape", `{"godwit_export": 1, "hosts": {}}`, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var single dnsname.Name
			if tt.single != "" {
				single = named(tt.single)
			}
			hosts, err := ddns.ParseImport([]byte(tt.data), single)
			if tt.want == "" {
				if r := wantCode(t, err, ddns.Malformed); r.Fix == "" || hosts != nil || strings.Contains(r.Why, "Go value") {
					t.Errorf("%v with %v", hosts, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range hosts {
				if len(h.Credentials) != 1 || h.Credentials[0].Kind != ddns.KindSeed {
					t.Fatalf("credentials %v", h.Credentials)
				}
				got = append(got, fmt.Sprintf("%s %d %s", h.Name, h.TTL, h.Credentials[0].Secret.Reveal()))
			}
			if g := strings.Join(got, ", "); g != tt.want {
				t.Errorf("got  %s\nwant %s", g, tt.want)
			}
		})
	}
}

// TestImportSeed: a host of the seed's file works with the seed's hash, in the
// spelling that its client has.
func TestImportSeed(t *testing.T) {
	w := newWorld(t)
	hosts, err := ddns.ParseImport([]byte(`{"NAS.dyn.example.org.": {"route_53_record_ttl":"60","shared_secret":"shared_secret_1"}, "nas.dyn.example.org": {"shared_secret":"shared_secret_2"}}`), dnsname.Name{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range hosts {
		hosts[i].Addresses = ddns.AnyAddress
	}
	got, err := w.ImportHosts(t.Context(), hosts)
	if err != nil || got.Added != 1 || len(got.Skipped) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	source := from(home)
	w.must(t, ddns.Update{Host: named("nas.dyn.example.org"), Source: source, Proof: seedProof(source, "NAS.dyn.example.org.", ddns.NewSecret("shared_secret_1"))})
}

// export is everything, as `godwit host export` writes it.
func (w *world) export(t *testing.T, secrets bool) []byte {
	t.Helper()
	hosts, _, err := w.List(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	doc := ddns.Export{Version: ddns.ExportVersion, Time: w.clock()}
	for _, h := range hosts {
		h, credentials, err := w.Show(t.Context(), h.Name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := w.ExportHost(h, credentials, secrets)
		if err != nil {
			t.Fatal(err)
		}
		doc.Hosts = append(doc.Hosts, e)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (w *world) imports(t *testing.T, doc []byte) ddns.Imported {
	t.Helper()
	hosts, err := ddns.ParseImport(doc, dnsname.Name{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.ImportHosts(t.Context(), hosts)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestExportRoundTrip(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free, func(s *ddns.Settings) {
		s.TTL, s.Wildcard, s.Lease = new(uint32(300)), new(true), new(24*time.Hour)
		s.Followers = &[]ddns.Follower{{Name: named("tv.dyn.example.org"), Low: netip.MustParseAddr("::1234"), A: true, AAAA: true}}
	})
	w.must(t, by(made, home, set(ddns.TypeA, home), set(ddns.TypeAAAA, home6), prefix("2001:db8:0:ff00::/56")))
	w.pass(time.Second) // credentials are in order of creation
	own := ddns.NewSecret(`a "secret" of my own`)
	if _, err := w.Add(t.Context(), named("own.dyn.example.org"), open(), own); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Second)
	more, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Label: "laptop", Types: []ddns.Type{ddns.TypeA, ddns.TypeTXT}, Rate: 3,
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Expires: w.clock().Add(time.Hour), URLToken: true})
	if err != nil {
		t.Fatal(err)
	}
	// one token for two hosts
	w.put(t, "own.dyn.example.org", func(h *ddns.Host, write *ddns.Write) {
		c := *more.Credential
		c.Grants = append(c.Grants, ddns.Grant{Host: h.Name})
		h.Credentials = append(h.Credentials, c.ID)
		write.Credentials = []*ddns.Credential{&c}
	})
	for _, secrets := range []bool{false, true} {
		t.Run(fmt.Sprintf("secrets %v", secrets), func(t *testing.T) {
			doc := w.export(t, secrets)
			for _, secret := range []string{made.Token.Reveal(), more.Token.Reveal(), `of my own`} {
				if shown := bytes.Contains(doc, []byte(secret)); shown != (secrets && secret != more.Token.Reveal()) {
					t.Errorf("%.8s… is in the document: %v", secret, shown)
				}
			}
			v := newWorld(t)
			if got := v.imports(t, doc); got.Added != 2 || len(got.Skipped) != 0 {
				t.Fatalf("%+v", got)
			}
			for _, name := range []string{"nas.dyn.example.org", "own.dyn.example.org"} {
				if got, want := v.host(t, name), w.host(t, name); show(got.RRsets()) != show(want.RRsets()) || got.Lease != want.Lease ||
					got.Addresses != want.Addresses || got.Free != want.Free || !got.Created.Equal(want.Created) || fmt.Sprint(got.Credentials) != fmt.Sprint(want.Credentials) {
					t.Errorf("%s came over as %+v", name, got)
				}
				if set, _ := v.dns.Shows(named(name), ddns.TypeA); name == "nas.dyn.example.org" && len(set.Addrs) != 1 {
					t.Errorf("DNS does not show %s", name)
				}
			}
			v.must(t, by(made, "192.0.2.8"))
			v.must(t, by(more, "192.0.2.9"))
			u := by(more, "192.0.2.9")
			u.Host = named("own.dyn.example.org")
			v.must(t, u)
			u.Proof = ddns.TokenProof{Token: own}
			v.must(t, u)
			u = by(made, home)
			u.Proof = seedProof(u.Source, "nas.dyn.example.org", made.Token)
			_, err := v.Update(t.Context(), u)
			if want := map[bool]ddns.Code{true: "", false: ddns.BadProof}[secrets]; code(err) != want {
				t.Errorf("the seed's hash: %v", err)
			}
			_, err = v.Update(t.Context(), by(more, "198.51.100.1"))
			wantCode(t, err, ddns.BadProof)
			// And once more: nothing is added, nothing overwritten.
			before := v.host(t, "nas.dyn.example.org").Generation
			if got := v.imports(t, doc); got.Added != 0 || len(got.Skipped) != 2 || v.host(t, "nas.dyn.example.org").Generation != before {
				t.Errorf("again: %+v", got)
			}
			v.must(t, by(more, "192.0.2.10"))
		})
	}
	// A secret that cannot be opened is not left out quietly.
	h, credentials, err := w.Show(t.Context(), made.Host.Name)
	if err != nil {
		t.Fatal(err)
	}
	other := h.Clone()
	other.Name = named("other.dyn.example.org")
	if _, err := w.ExportHost(other, credentials, true); err == nil {
		t.Error("a secret of another host was exported")
	}
	if bare, err := w.ExportHost(h, nil, true); err != nil || bare.Credentials == nil {
		t.Errorf("without credentials: %v, %v", bare.Credentials, err)
	}
}

// TestImportRefuses hosts one by one; the others come in.
func TestImportRefuses(t *testing.T) {
	verifier := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("v"), 32))
	cred := func(fields string) string { return `"ttl": 60, "credentials": [{` + fields + `}]` }
	for _, tt := range []struct{ name, host, why string }{
		{"bad name", `"name": "_x.dyn.example.org"`, "host label"},
		{"no name", `"name": ""`, "zones"},
		{"other zone", `"name": "nas.example.com"`, "zones"},
		{"reserved", `"name": "ns1.dyn.example.org"`, "reserved"},
		{"static", `"name": "static.dyn.example.org"`, "line 7"},
		{"exists", `"name": "here.dyn.example.org"`, "here.dyn.example.org already"},
		{"TTL", `"ttl": 90000`, "TTL"},
		{"lease", `"lease": 60`, "lease"},
		{"lease that overflows", `"lease": 36893488147`, "lease"},
		{"private address", `"a": ["10.0.0.1"]`, "policy"},
		{"IPv6 in A", `"a": ["2001:db8::1"], "addresses": "any"`, "not an A address"},
		{"IPv4 in both", `"a": ["192.0.2.1"], "aaaa": ["192.0.2.1"], "addresses": "any"`, "not an AAAA address"},
		{"no address", `"a": [""]`, "not an A address"},
		{"nine addresses", `"a": ["192.0.2.1","192.0.2.2","192.0.2.3","192.0.2.4","192.0.2.5","192.0.2.6","192.0.2.7","192.0.2.8","192.0.2.9"]`, "more than 8"},
		{"IPv4 prefix", `"prefix": "192.0.2.0/24"`, "prefix"},
		{"documentation prefix", `"prefix": "2001:db8::/56"`, "policy"},
		{"follower elsewhere", `"followers": [{"name":"tv.example.net","low":"::1","a":true,"aaaa":true}]`, "zone"},
		{"follower taken", `"followers": [{"name":"here.dyn.example.org","low":"::1","a":true,"aaaa":true}]`, "here.dyn.example.org already"},
		{"kind", cred(`"kind": "password", "verifier": "` + verifier + `"`), "kind"},
		{"state", cred(`"kind": "token", "state": "on", "verifier": "` + verifier + `"`), "state"},
		{"ID", cred(`"kind": "token", "id": "ABCDEFGH", "verifier": "` + verifier + `"`), "credential ID"},
		{"neither secret nor verifier", cred(`"kind": "token"`), "neither"},
		{"short verifier", cred(`"kind": "token", "verifier": "dg=="`), "neither"},
		{"empty secret", cred(`"kind": "seed", "secret": ""`), "neither"},
		{"secret of two lines", cred(`"kind": "seed", "secret": "a\nb"`), "control"},
		{"secret of a key", cred(`"kind": "ed25519", "secret": "x", "verifier": "` + verifier + `"`), "no secret"},
		{"token that is none", cred(`"kind": "token", "secret": "shared_secret_1"`), "is not its ID"},
		{"token of another ID", cred(`"kind": "token", "id": "aaaaaaaa", "secret": "bbbbbbbb-cccccccccccccccccccccccccc"`), "is not its ID"},
		{"network", cred(`"kind": "token", "networks": [""], "verifier": "` + verifier + `"`), "network"},
		{"rate", cred(`"kind": "token", "rate": -1, "verifier": "` + verifier + `"`), "rate"},
		{"label", cred(`"kind": "token", "label": "` + strings.Repeat("x", 65) + `", "verifier": "` + verifier + `"`), "label"},
		{"one ID twice", `"credentials": [{"kind":"token","id":"cccccccc","verifier":"` + verifier + `"},{"kind":"token","id":"cccccccc","verifier":"` + verifier + `"}]`, "twice"},
		{"17 credentials", `"credentials": [` + strings.Repeat(`{"kind":"token","verifier":"`+verifier+`"},`, 16) + `{"kind":"token","verifier":"` + verifier + `"}]`, "more than 16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.add(t, "here.dyn.example.org")
			host := tt.host
			if !strings.Contains(host, `"name": `) {
				host = `"name": "nas.dyn.example.org", ` + host
			}
			doc := `{"godwit_export": 1, "hosts": [{"name": "a.dyn.example.org", "ttl": 60}, {` + host + `}, {"name": "b.dyn.example.org"}]}`
			got := w.imports(t, []byte(doc))
			if got.Added != 2 || len(got.Skipped) != 1 || !strings.Contains(got.Skipped[0].Why, tt.why) {
				t.Errorf("%+v", got)
			}
			w.host(t, "a.dyn.example.org")
			if w.host(t, "b.dyn.example.org").TTL != ddns.DefaultTTL {
				t.Error("no default TTL")
			}
		})
	}
}

// TestImportTakesNothingOver: a credential whose ID another host's has does not
// replace it, be it in the store or in the same file.
func TestImportTakesNothingOver(t *testing.T) {
	w := newWorld(t)
	victim := w.add(t, "victim.dyn.example.org", free)
	evil := ddns.NewSecret(victim.Credential.ID + "-" + strings.Repeat("e", 26))
	hash := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("v"), 32))
	host := func(name, credential string) string {
		return `{"name": "` + name + `.dyn.example.org", "addresses": "any", "free": true, "credentials": [` + credential + `]}`
	}
	doc := `{"godwit_export": 1, "hosts": [` + strings.Join([]string{
		host("a", `{"kind":"token","secret":"`+evil.Reveal()+`"}`),
		host("b", `{"kind":"token","id":"`+victim.Credential.ID+`","verifier":"`+hash+`","grants":[{"host":"victim.dyn.example.org"}]}`),
		host("c", `{"kind":"ed25519","id":"`+victim.Credential.ID+`","verifier":"`+base64.StdEncoding.EncodeToString(victim.Credential.Verifier)+`"}`),
		host("d", `{"kind":"tsig","algorithm":"hmac-sha256","id":"`+victim.Credential.ID+`","secret":"c2VjcmV0"}`),
		host("e", `{"kind":"token","id":"dddddddd","verifier":"`+hash+`"}`),
		host("f", `{"kind":"token","id":"dddddddd","verifier":"`+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("w"), 32))+`"}`),
		host("g", `{"kind":"token","id":"dddddddd","verifier":"`+hash+`"}`),
		host("h", `{"kind":"tsig","algorithm":"hmac-sha256","secret":"c2VjcmV0"}`),
	}, ",") + `]}`
	got := w.imports(t, []byte(doc))
	if got.Added != 3 || len(got.Skipped) != 5 {
		t.Errorf("%+v", got)
	}
	for _, s := range got.Skipped {
		if !strings.Contains(s.Why, "another credential has the ID") {
			t.Errorf("%+v", s)
		}
	}
	w.must(t, by(victim, home))
	u := by(victim, "192.0.2.8")
	u.Proof = ddns.TokenProof{Token: evil}
	_, err := w.Update(t.Context(), u)
	wantCode(t, err, ddns.BadProof)
	shared, err := w.store.Credential(t.Context(), "dddddddd")
	if err != nil || len(shared.Grants) != 2 {
		t.Errorf("the credential of e and g: %+v, %v", shared, err)
	}
	// A TSIG key is sealed, and no answer to the seed's hash.
	_, credentials, err := w.Show(t.Context(), named("h.dyn.example.org"))
	if err != nil || len(credentials) != 1 || credentials[0].Sealed == nil || credentials[0].Fingerprint != nil {
		t.Fatalf("%+v, %v", credentials, err)
	}
	u.Host, u.Proof = named("h.dyn.example.org"), seedProof(u.Source, "h.dyn.example.org", ddns.NewSecret("c2VjcmV0"))
	_, err = w.Update(t.Context(), u)
	wantCode(t, err, ddns.BadProof)
}

func TestImportManyGrants(t *testing.T) {
	hash := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("v"), 32))
	var hosts []string
	for i := range ddns.MaxGrants + 1 {
		hosts = append(hosts, fmt.Sprintf(`{"name": "h%d.dyn.example.org", "credentials": [{"kind":"token","id":"dddddddd","verifier":"%s"}]}`, i, hash))
	}
	w := newWorld(t)
	got := w.imports(t, []byte(`{"godwit_export": 1, "hosts": [`+strings.Join(hosts, ",")+`]}`))
	if got.Added != ddns.MaxGrants || len(got.Skipped) != 1 {
		t.Errorf("added %d, skipped %v", got.Added, got.Skipped)
	}
}

// TestImportBatches: more hosts than a transaction takes, published in batches,
// and a store that fails on the way.
func TestImportBatches(t *testing.T) {
	var hosts []ddns.ExportedHost
	for i := range 1100 {
		hosts = append(hosts, ddns.ExportedHost{Name: named(fmt.Sprintf("h%d.dyn.example.org", i)), Addresses: ddns.AnyAddress, A: addrs(home)})
	}
	w := newWorld(t)
	got, err := w.ImportHosts(t.Context(), hosts)
	if err != nil || got.Added != 1100 || w.dns.Calls() != 3 || w.store.Calls("Save") != 3 {
		t.Errorf("%+v, %v; %d publishes, %d saves", got, err, w.dns.Calls(), w.store.Calls("Save"))
	}
	for _, failing := range []string{"Save", "Credential", "Seal"} {
		broken := errors.New("disk full")
		v := newWorld(t)
		saves := 0
		v.store.Fail = func(method string) error {
			if method == failing {
				if saves++; saves > 2 {
					return broken
				}
			}
			return nil
		}
		list := hosts[:3]
		if failing == "Save" {
			list = hosts
		} else {
			for i := range list {
				list[i].Credentials = []ddns.ExportedCredential{{Kind: ddns.KindSeed, Secret: ddns.ExportedSecret{Secret: ddns.NewSecret(fmt.Sprintf("secret %d", i))}}}
			}
		}
		got, err := v.ImportHosts(t.Context(), list)
		wantCode(t, err, ddns.Unavailable)
		stored, _, _ := v.List(t.Context(), "", 1000)
		if !errors.Is(err, broken) || got.Added == 0 || got.Added > len(stored) {
			t.Errorf("%s fails: %d added, %d stored, %v", failing, got.Added, len(stored), err)
		}
	}
}
