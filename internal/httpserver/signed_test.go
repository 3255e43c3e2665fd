package httpserver_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
	"godwit/internal/signature"
)

const server = "ddns.example.com"

// device is a machine with a key that has joined.
type device struct {
	*rig
	host, id string
	key      ed25519.PrivateKey
}

// newKey is a key that is always the same for the same word.
func newKey(word string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(word))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(key ed25519.PrivateKey) []byte { return key.Public().(ed25519.PublicKey) }

func textOf(key ed25519.PrivateKey) string { return base64.StdEncoding.EncodeToString(public(key)) }

// join adds a host, and a device joins it. A minute goes by before and after.
func (r *rig) join(name string, settings ddns.Settings) device {
	r.t.Helper()
	made, err := r.service.AddJoin(r.t.Context(), dnsname.MustParse(name), settings)
	if err != nil {
		r.t.Fatal(err)
	}
	r.now.Move(time.Minute)
	d := device{rig: r, host: name, key: newKey(name)}
	w := r.send("POST", "/v1/join", home, `{"code":"`+made.Code.Reveal()+`","public_key":"`+textOf(d.key)+`"}`)
	var in api.Joined
	if w.Code != 201 || json.Unmarshal(w.Body.Bytes(), &in) != nil || in.Host != name || in.Credential != made.Credential.ID || in.Now != r.now.Now().Unix() {
		r.t.Fatalf("join: %d %s", w.Code, w.Body)
	}
	r.now.Move(time.Minute)
	d.id = in.Credential
	return d
}

// signed is a request that the device makes at a time, the server's plus off.
func (d device) signed(method, path, source, body string, off time.Duration) *http.Request {
	d.t.Helper()
	signer, err := signature.NewSigner(d.id, d.key)
	if err != nil {
		d.t.Fatal(err)
	}
	made, err := http.NewRequest(method, "https://"+server+path, nil)
	if err == nil {
		err = signer.Sign(made, []byte(body), d.now.Now().Add(off))
	}
	if err != nil {
		d.t.Fatal(err)
	}
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Host, req.Header = server, made.Header
	req.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(source), 40000).String()
	return req
}

// answer has the public doors answer a request.
func (r *rig) answer(req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.server.Public().ServeHTTP(w, req)
	rules(r.t, w.Result())
	return w
}

func (d device) path() string { return "/v1/hosts/" + d.host }

// put sets the device's addresses.
func (d device) put(source, body string, off time.Duration) *httptest.ResponseRecorder {
	d.t.Helper()
	return d.answer(d.signed("PUT", d.path()+"/addresses", source, body, off))
}

// code is what a problem says.
func problem(t testing.TB, w *httptest.ResponseRecorder) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != api.ProblemType || p.Status != w.Code {
		t.Fatalf("%d %s is no problem", w.Code, w.Body)
	}
	return p
}

func wantProblem(t testing.TB, w *httptest.ResponseRecorder, status int, code string) api.Problem {
	t.Helper()
	p := problem(t, w)
	if w.Code != status || p.Code != code {
		t.Errorf("got %d %s, want %d %s: %s", w.Code, p.Code, status, code, w.Body)
	}
	return p
}

// The vector of docs/protocols.md section 3, at its time.
func TestSignedVector(t *testing.T) {
	r := newRig(t)
	r.now.Move(-time.Minute)
	key, err := base64.StdEncoding.DecodeString("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.service.ImportHosts(t.Context(), []ddns.ExportedHost{{Name: dnsname.MustParse(host1), Addresses: ddns.AnyAddress, SeedOff: true,
		Credentials: []ddns.ExportedCredential{{ID: "k7m2qx4p", Kind: ddns.KindEd25519, Verifier: key}}}}); err != nil {
		t.Fatal(err)
	}
	r.now.Move(time.Minute)
	send := func() *httptest.ResponseRecorder {
		req := httptest.NewRequest("PUT", "/v1/hosts/host1.dyn.example.com/addresses", strings.NewReader("{}"))
		req.Host, req.RemoteAddr = server, "198.51.100.7:40000"
		req.Header.Set("Content-Digest", "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:")
		req.Header.Set("Signature-Input", `godwit=("@method" "@authority" "@path" "content-digest");created=1767225600;keyid="k7m2qx4p";alg="ed25519";tag="godwit"`)
		req.Header.Set("Signature", "godwit=:FFODwepv2foKUsonLTMmxzksrmFO84IreKXxNR9C25XRSS7lW4WieYiyyTmjI1t8KuZT7T0SHD+VJLsMpNrTAQ==:")
		return r.answer(req)
	}
	want(t, send(), 200, `{"host":"host1.dyn.example.com","outcome":"changed","a":["198.51.100.7"],"aaaa":[],"ttl":60,"generation":2,"published":2,"source":"198.51.100.7"}`+"\n")
	want(t, send(), 409, `{"type":"/errors/replayed","title":"The signature was used before","status":409,"code":"replayed",`+
		`"detail":"the signature is not newer than what was accepted last","help":"sign again with a later time","last_created":1767225600}`+"\n")
}

// What is named, what is left alone, what is removed, and what is read.
func TestSignedAddresses(t *testing.T) {
	o := newOver(t)
	settings := anyAddress()
	free := true
	settings.Free = &free
	settings.Followers = &[]ddns.Follower{{Name: dnsname.MustParse("tv.dyn.example.com"), Low: netip.MustParseAddr("::1234"), AAAA: true}}
	d := o.join(host1, settings)
	for i, c := range []struct{ source, body, outcome, a, aaaa string }{
		{"192.0.2.1", `{}`, "changed", "192.0.2.1", ""},
		{"2001:db8::1", `{}`, "changed", "192.0.2.1", "2001:db8::1"}, // one family each
		{"192.0.2.1", `{}`, "unchanged", "192.0.2.1", "2001:db8::1"},
		{"192.0.2.1", `{"a":["192.0.2.1"]}`, "unchanged", "192.0.2.1", "2001:db8::1"},
		{"192.0.2.1", `{"a":["192.0.2.9","192.0.2.8","::ffff:192.0.2.8"]}`, "changed", "192.0.2.8,192.0.2.9", "2001:db8::1"},
		{"192.0.2.1", `{"aaaa":[]}`, "changed", "192.0.2.8,192.0.2.9", ""},
		{"192.0.2.1", `{"aaaa":["2001:db8::2"],"a":[]}`, "changed", "", "2001:db8::2"},
		{"192.0.2.1", `{"prefix":"2001:db8:0:ff00::/56"}`, "changed", "192.0.2.1", "2001:db8::2"}, // the source besides
		{"192.0.2.1", `{"a":["192.0.2.1"],"prefix":"2001:db8:0:ff00::/56"}`, "unchanged", "192.0.2.1", "2001:db8::2"},
	} {
		o.now.Move(time.Second)
		w := d.put(c.source, c.body, 0)
		var got api.Addresses
		if json.Unmarshal(w.Body.Bytes(), &got) != nil || w.Code != 200 || got.Outcome != c.outcome || joined(got.A) != c.a || joined(got.AAAA) != c.aaaa || got.Host != host1 || got.TTL != 60 {
			t.Errorf("%d: %s from %s: %d %s", i, c.body, c.source, w.Code, w.Body)
		}
		o.valid("PUT /v1/hosts/{name}/addresses", o.doc.Paths.Find("/v1/hosts/{name}/addresses").Put, w)
	}
	w := d.answer(d.signed("GET", d.path(), "192.0.2.77", "", 0))
	o.valid("GET /v1/hosts/{name}", o.doc.Paths.Find("/v1/hosts/{name}").Get, w)
	want(t, w, 200, `{"host":"host1.dyn.example.com","a":["192.0.2.1"],"aaaa":["2001:db8::2"],"prefix":"2001:db8:0:ff00::/56","ttl":60,"generation":8,"published":8,"source":"192.0.2.77","now":`+
		strconv.FormatInt(o.now.Now().Unix(), 10)+"}\n")
	if again := d.answer(d.signed("GET", d.path(), "192.0.2.77", "", 0)); again.Code != 200 {
		t.Errorf("a second GET in one second: %d %s", again.Code, again.Body)
	}
}

func joined(list []netip.Addr) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

// Each code of the door, with what goes beside it.
func TestSignedRefusals(t *testing.T) {
	var broken brokenStore
	o := newOver(t, func(_ *ddns.Config, f *httpserver.Config) { f.HTTPTokens = true })
	closed := newRig(t, func(c *ddns.Config, _ *httpserver.Config) {
		broken.Store = c.Store
		c.Store = &broken
		c.Limits.Changes = ddns.Rate{PerHour: 1, Burst: 1}
	})
	d, e := o.join(host1, anyAddress()), closed.join(host1, ddns.Settings{})
	const body = `{"a":["192.0.2.1"]}`
	put := d.path() + "/addresses"
	token, err := o.service.AddToken(t.Context(), dnsname.MustParse(host1), ddns.TokenSpec{Types: []ddns.Type{ddns.TypeAAAA}})
	if err != nil {
		t.Fatal(err)
	}
	narrow := []string{"Authorization", "bearer  " + token.Token.Reveal()}
	o.now.Move(time.Minute)
	now := o.now.Now().Unix()
	edited := func(edit func(*http.Request)) *httptest.ResponseRecorder {
		req := d.signed("PUT", put, home, body, 0)
		edit(req)
		return o.answer(req)
	}
	for name, c := range map[string]struct {
		w      *httptest.ResponseRecorder
		status int
		code   string
		check  func(p api.Problem) bool
	}{
		"no proof":         {w: o.send("PUT", put, home, body), status: 401, code: "bad-proof"},
		"Basic":            {w: o.send("PUT", put, home, body, "Authorization", "Basic eDp5"), status: 401, code: "bad-proof"},
		"wrong token":      {w: o.send("PUT", put, home, body, "Authorization", "Bearer x"), status: 401, code: "bad-proof"},
		"other key":        {w: device{o.rig, host1, d.id, newKey("other")}.put(home, body, 0), status: 401, code: "bad-proof"},
		"unknown key":      {w: device{o.rig, host1, "aaaaaaaa", d.key}.put(home, body, 0), status: 401, code: "bad-proof"},
		"other authority":  {w: edited(func(r *http.Request) { r.Host = "evil.example.com" }), status: 401, code: "bad-proof"},
		"other path":       {w: edited(func(r *http.Request) { r.RequestURI = strings.ToUpper(r.RequestURI) }), status: 401, code: "bad-proof"},
		"body and digest":  {w: edited(func(r *http.Request) { r.Body = http.NoBody; r.ContentLength = 0 }), status: 400, code: "malformed"},
		"no digest":        {w: edited(func(r *http.Request) { r.Header.Del("Content-Digest") }), status: 400, code: "malformed"},
		"spelling":         {w: edited(func(r *http.Request) { r.Header["Signature-Input"][0] += " " + r.Header["Signature-Input"][0] }), status: 400, code: "malformed"},
		"query":            {w: o.send("PUT", put+"?a=1", home, body, narrow...), status: 400, code: "malformed"},
		"empty query":      {w: o.send("GET", d.path()+"?", home, "", narrow...), status: 400, code: "malformed"},
		"GET with a body":  {w: o.send("GET", d.path(), home, "{}", narrow...), status: 400, code: "malformed"},
		"name":             {w: o.send("PUT", "/v1/hosts/a..b/addresses", home, body, narrow...), status: 400, code: "malformed"},
		"too large":        {w: o.send("PUT", put, home, `{"a":[`+strings.Repeat(" ", 4096)+`]}`, narrow...), status: 413, code: "too-large"},
		"method":           {w: o.send("POST", put, home, body), status: 405, code: "method"},
		"late":             {w: d.put(home, body, -301*time.Second), status: 401, code: "clock", check: func(p api.Problem) bool { return p.Now == now }},
		"early":            {w: d.put(home, body, 301*time.Second), status: 401, code: "clock", check: func(p api.Problem) bool { return p.Now == now }},
		"not newer":        {w: d.put(home, body, -time.Minute), status: 409, code: "replayed", check: func(p api.Problem) bool { return p.LastCreated == now-50 }},
		"type":             {w: o.send("PUT", put, home, `{"a":[]}`, narrow...), status: 403, code: "not-yours"},
		"family":           {w: o.send("PUT", put, home, `{}`, narrow...), status: 422, code: "wrong-family", check: func(p api.Problem) bool { return p.Source.String() == home }},
		"source":           {w: d.put(home, body, 0), status: 403, code: "not-source", check: func(p api.Problem) bool { return p.Source.String() == home }},
		"policy":           {w: e.put("192.0.2.1", body, 0), status: 422, code: "address-not-allowed"},
		"first change":     {w: e.put(home, `{}`, time.Second), status: 200},
		"too often":        {w: e.put("176.32.100.37", `{}`, 2*time.Second), status: 429, code: "rate-limited", check: func(p api.Problem) bool { return p.RetryAfter > 3500 }},
		"prefix too short": {w: d.put(home, `{"prefix":"2001:db8::/32"}`, time.Second), status: 400, code: "malformed"},
	} {
		if c.code == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			p := wantProblem(t, c.w, c.status, c.code)
			if c.check != nil && !c.check(p) {
				t.Errorf("%s", c.w.Body)
			}
			if (c.w.Header().Get("WWW-Authenticate") == `Bearer realm="godwit"`) != (c.status == 401) {
				t.Errorf("WWW-Authenticate %q", c.w.Header().Get("WWW-Authenticate"))
			}
		})
	}
	for _, body := range []string{``, `[]`, `null`, `{} x`, `{"a":null}`, `{"A":[]}`, `{"a":[],"a":[]}`, `{"b":1}`, `{"a":"192.0.2.1"}`, `{"a":["192.0.2.01"]}`, `{"a":[""]}`,
		`{"a":["2001:db8::1"]}`, `{"aaaa":["192.0.2.1"]}`, `{"aaaa":["::ffff:192.0.2.1"]}`, `{"aaaa":["fe80::1%eth0"]}`, `{"prefix":""}`, "{\"a\":[\"\xff\"]}"} {
		if p := wantProblem(t, o.send("PUT", put, home, body, narrow...), 400, "malformed"); strings.Contains(p.Detail, "Parse") {
			t.Errorf("%s: %s", body, p.Detail)
		}
	}
	broken.writes = true
	closed.now.Move(2 * time.Hour)
	if p := wantProblem(t, e.put("176.32.100.38", `{}`, 0), 503, "unavailable"); p.RetryAfter < 1 || strings.Contains(p.Detail, "arn:") {
		t.Errorf("unavailable: %+v", p)
	}
	nine := `{"a":["192.0.2.1","192.0.2.2","192.0.2.3","192.0.2.4","192.0.2.5","192.0.2.6","192.0.2.7","192.0.2.8","192.0.2.9"]}`
	set := func(s ddns.Settings) {
		if _, err := o.service.Set(t.Context(), dnsname.MustParse(host1), s); err != nil {
			t.Fatal(err)
		}
		o.now.Move(time.Minute)
	}
	set(ddns.Settings{Free: on()})
	wantProblem(t, d.put(home, nine, 0), 422, "too-many")
	set(ddns.Settings{Suspended: on()})
	wantProblem(t, d.put(home, nine, 0), 403, "suspended")
	wantProblem(t, d.answer(d.signed("GET", d.path(), home, "", 0)), 403, "suspended")
	wantProblem(t, d.answer(d.signed("POST", d.path()+"/key", home, `{"public_key":"`+textOf(newKey("next"))+`"}`, 0)), 403, "suspended")
}

// A stranger cannot tell an unknown host from an unknown key or a wrong
// signature, at any of the door's paths.
func TestSignedStrangersLearnNothing(t *testing.T) {
	r := newRig(t)
	d := r.join(host1, anyAddress())
	key := `{"public_key":"` + textOf(newKey("mine")) + `"}`
	for _, c := range []struct{ method, tail, body string }{{"PUT", "/addresses", "{}"}, {"PUT", "/addresses", `{"a":["192.0.2.1"]}`}, {"GET", "", ""}, {"POST", "/key", key}} {
		var first *httptest.ResponseRecorder
		for _, who := range []device{
			{r, host1, d.id, newKey("wrong")}, {r, host1, "aaaaaaaa", d.key}, {r, "host2." + zone, d.id, d.key}, {r, "host2.example.org", "aaaaaaaa", newKey("x")},
		} {
			for _, off := range []time.Duration{0, time.Hour} {
				w := r.answer(who.signed(c.method, who.path()+c.tail, home, c.body, off))
				if first == nil {
					first = w
				}
				if w.Code != 401 || w.Body.String() != first.Body.String() || line(w.Header()) != line(first.Header()) {
					t.Errorf("%s %s by %s of %s: %d %v %s", c.method, c.tail, who.id, who.host, w.Code, w.Header(), w.Body)
				}
			}
		}
	}
	if h := r.show(host1); h.Refusals != 0 || h.Generation != 2 {
		t.Errorf("strangers made the server write: %+v", h)
	}
}

// Who is refused for the proof is told what to look at, by what was sent alone.
func TestBadProofSaysWhatToDo(t *testing.T) {
	r := newRig(t, func(_ *ddns.Config, f *httpserver.Config) { f.HTTPTokens = true })
	d := device{r, host1, "aaaaaaaa", newKey("revoked")}
	for name, c := range map[string]struct {
		w    *httptest.ResponseRecorder
		help string
	}{
		"nothing":   {r.send("PUT", d.path()+"/addresses", home, "{}"), "sign it, or send a token"},
		"token":     {r.send("PUT", d.path()+"/addresses", home, "{}", "Authorization", "Bearer x"), "the host name and the secret"},
		"signature": {d.put(home, "{}", 0), "join with a new code"},
		"code":      {r.send("POST", "/v1/join", home, joinBody("aaaa-bbbb-cccc-dddd", textOf(d.key))), "let the operator make a new one"},
	} {
		if p := wantProblem(t, c.w, 401, "bad-proof"); !strings.Contains(p.Help, c.help) {
			t.Errorf("%s: %s; %s", name, p.Detail, p.Help)
		}
	}
}

// A token goes over HTTPS, or on loopback, or where the operator does not mind.
func TestTokensOverPlainHTTP(t *testing.T) {
	for _, c := range []struct {
		at, scheme string
		flag       bool
		want       int
	}{
		{"127.0.0.1:80", "http", false, 200}, {"[::1]:80", "http", false, 200}, {"203.0.113.5:80", "http", false, 401}, {"", "http", false, 401},
		{"203.0.113.5:443", "https", false, 200}, {"203.0.113.5:80", "http", true, 200},
	} {
		r := newRig(t, func(_ *ddns.Config, f *httpserver.Config) { f.HTTPTokens = c.flag })
		made := r.add(host1, "", anyAddress())
		req := httptest.NewRequest("PUT", c.scheme+"://"+server+"/v1/hosts/"+host1+"/addresses", strings.NewReader("{}"))
		req.RequestURI = "/v1/hosts/" + host1 + "/addresses"
		if c.at != "" {
			req = req.WithContext(withLocal(req.Context(), c.at))
		}
		req.Header.Set("Authorization", "Bearer "+made.Token.Reveal())
		req.RemoteAddr = "192.0.2.1:40000"
		if w := r.answer(req); w.Code != c.want {
			t.Errorf("%s at %s, flag %t: %d %s", c.scheme, c.at, c.flag, w.Code, w.Body)
		}
		// A signature gives nothing away.
		d := r.join("host2."+zone, anyAddress())
		req = d.signed("PUT", d.path()+"/addresses", "192.0.2.1", "{}", 0)
		if c.at != "" {
			req = req.WithContext(withLocal(req.Context(), c.at))
		}
		if w := r.answer(req); w.Code != 200 {
			t.Errorf("a signature at %s: %d %s", c.at, w.Code, w.Body)
		}
	}
}

// With an authority of its own a server does not care what Host says, and takes
// no signature for another.
func TestAuthority(t *testing.T) {
	for _, c := range []struct {
		authority, host string
		want            int
	}{{server, server, 200}, {server, "10.0.0.1:8053", 200}, {"other.example.com", server, 401}, {"", server, 200}, {"", "10.0.0.1:8053", 401}} {
		r := newRig(t, func(_ *ddns.Config, f *httpserver.Config) { f.Authority = c.authority })
		d := r.join(host1, anyAddress())
		req := d.signed("PUT", d.path()+"/addresses", home, "{}", 0)
		req.Host = c.host
		w := r.answer(req)
		if w.Code != c.want {
			t.Errorf("authority %q, Host %q: %d %s", c.authority, c.host, w.Code, w.Body)
		}
		if told := strings.Contains(w.Body.String(), "sign for "+c.authority); told != (w.Code == 401 && c.authority != "") {
			t.Errorf("authority %q, Host %q: %s", c.authority, c.host, w.Body)
		}
	}
}
