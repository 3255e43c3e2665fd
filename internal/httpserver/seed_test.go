package httpserver_test

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

const (
	matches   = "Your IP address matches the current Route53 DNS record."
	badHash   = "You must pass a valid sha256 hash in the hash= argument."
	badMode   = "You must pass mode=get or mode=set arguments."
	malformed = "The request body must be a JSON object with the documented members."
	mismatch  = "Validation hashes do not match."
	goodHash  = "a1771addefd8130757f890aa56b06da8eef1e51f445f92a65cabe7be3cf48a62"
)

func isSet(name, addr string) string {
	return "Your hostname record " + name + " has been set to " + addr
}

// The vectors of docs/protocols.md section 2.2.
func TestSeedVectors(t *testing.T) {
	for _, v := range []struct{ source, name, hash string }{
		{home, host1, goodHash},
		{home, host1 + ".", "befc7a93749e7fd926135b8d144da90d0c22fc50551863596ef8d8cb15a1dec5"},
		{"2001:db8::1", host1, "09d482d0733b77c80066eb666bd49d769f1bd5b8d13b4a7799f55a542ed2456c"},
	} {
		r := newRig(t)
		r.add(host1, secret, anyAddress())
		want(t, r.send("POST", "/", v.source, setBody(v.name, v.hash)), 201, seedJSON("success", isSet(host1+".", v.source)))
	}
	// trust.md S13
	if got := ddns.SeedHash("11.12.13.14", "www.example.com", ddns.NewSecret("SuP3R_5eCR3T")); got != "0eb3fc760ddbd7dca1702ae359b8f990b8a145d719b9d1014da4aa866022dd70" {
		t.Error(got)
	}
}

// Every row of docs/protocols.md section 2.3, to the byte.
func TestSeedAnswers(t *testing.T) {
	hash := func(c string) string { return strings.Repeat(c, 64) }
	get := `{"execution_mode":"get"}`
	r := newRig(t)
	r.add(host1, secret, ddns.Settings{})
	r.add("off.dyn.example.com", "", ddns.Settings{SeedOff: on()})
	for _, c := range []struct {
		name, body string
		status     int
		message    string
	}{
		{"get", get, 200, home},
		{"get with more", ` {"x":[{"y":null},1.5e3],"execution_mode" : "get","validation_hash":"junk"} ` + "\n", 200, home},
		{"get escaped", `{"execution\u005fmode":"g\u0065t"}`, 200, home},
		{"set", setBody(host1, goodHash), 201, isSet(host1+".", home)},
		{"already right", setBody(host1, goodHash), 200, matches},
		{"upper-case hash", setBody(host1, strings.ToUpper(goodHash)), 200, matches},
		{"with a dot", setBody(host1+".", "befc7a93749e7fd926135b8d144da90d0c22fc50551863596ef8d8cb15a1dec5"), 200, matches},
		{"with capitals", setBody("HOST1.Dyn.Example.COM", ddns.SeedHash(home, "HOST1.Dyn.Example.COM", ddns.NewSecret(secret))), 200, matches},

		{"hash too short", setBody(host1, goodHash[:63]), 400, badHash},
		{"hash with junk behind", setBody(host1, goodHash+"!"), 400, badHash},
		{"hash with more hex behind", setBody(host1, goodHash+"00"), 400, badHash},
		{"hash not hex", setBody(host1, hash("g")), 400, badHash},
		{"hash empty", setBody(host1, ""), 400, badHash},
		{"no mode", `{}`, 400, badMode},
		{"other mode", `{"execution_mode":"Get"}`, 400, badMode},
		{"empty mode", `{"execution_mode":""}`, 400, badMode},

		{"nothing", ``, 400, malformed},
		{"not closed", `{`, 400, malformed},
		{"array", `[]`, 400, malformed},
		{"null", `null`, 400, malformed},
		{"string", `"get"`, 400, malformed},
		{"mode a number", `{"execution_mode":1}`, 400, malformed},
		{"mode null", `{"execution_mode":null}`, 400, malformed},
		{"hash null", `{"execution_mode":"get","validation_hash":null}`, 400, malformed},
		{"no host", `{"execution_mode":"set","validation_hash":"` + goodHash + `"}`, 400, malformed},
		{"no hash", `{"execution_mode":"set","ddns_hostname":"` + host1 + `"}`, 400, malformed},
		{"repeated", `{"execution_mode":"get","execution_mode":"get"}`, 400, malformed},
		{"repeated by escape", `{"execution_mode":"get","execution_mod\u0065":"get"}`, 400, malformed},
		{"repeated inside", `{"execution_mode":"get","x":{"a":1,"a":1}}`, 400, malformed},
		{"trailing", get + `x`, 400, malformed},
		{"two objects", get + get, 400, malformed},
		{"trailing comma", `{"execution_mode":"get",}`, 400, malformed},
		{"not UTF-8", "{\"execution_mode\":\"get\",\"x\":\"\xff\"}", 400, malformed},
		{"lone surrogate", `{"execution_mode":"get","x":"\ud800"}`, 400, malformed},
		{"control character", "{\"execution_mode\":\"get\",\"x\":\"\n\"}", 400, malformed},
		{"too deep", `{"execution_mode":"get","x":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`, 400, malformed},
		{"byte order mark", "\ufeff" + get, 400, malformed},
		{"too large", `{"execution_mode":"get","x":"` + strings.Repeat("a", 4096) + `"}`, 413, "The request body is too large."},

		{"wrong hash", setBody(host1, hash("0")), 401, mismatch},
		{"unknown host", setBody("other.dyn.example.com", hash("0")), 401, mismatch},
		{"outside the zone", setBody("example.org", hash("0")), 401, mismatch},
		{"wildcard", setBody("*.dyn.example.com", hash("0")), 401, mismatch},
		{"no name at all", setBody("", hash("0")), 401, mismatch},
		{"empty label", setBody("a..example.com", hash("0")), 401, mismatch},
		{"root", setBody(".", hash("0")), 401, mismatch},
		{"NUL", `{"execution_mode":"set","ddns_hostname":"a\u0000b.dyn.example.com","validation_hash":"` + hash("0") + `"}`, 401, mismatch},
		{"long label", setBody(strings.Repeat("a", 64)+".dyn.example.com", hash("0")), 401, mismatch},
		{"long name", setBody(strings.Repeat("a.", 200)+"example.com", hash("0")), 401, mismatch},
		{"seed proof off", setBody("off.dyn.example.com", hash("0")), 401, mismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := r.show(host1).Generation
			word := "fail"
			if c.status < 300 {
				word = "success"
			}
			w := r.send("POST", "/", home, c.body)
			want(t, w, c.status, seedJSON(word, c.message))
			wantCORS(t, w)
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type is %q", got)
			}
			if got := r.show(host1).Generation; (got > before) != (c.status == 201) {
				t.Errorf("generation %d became %d", before, got)
			}
		})
	}
}

func wantCORS(t testing.TB, w *httptest.ResponseRecorder) {
	t.Helper()
	for name, value := range map[string]string{
		"Access-Control-Allow-Headers": "Content-Type", "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET",
	} {
		if got := w.Header()[name]; !slices.Equal(got, []string{value}) {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// S12: the seed's door is for pages of any origin, as the reference's is, and no
// other path is: a browser keeps the answers of the rest from foreign pages.
func TestCORSAtSeedOnly(t *testing.T) {
	r := newRig(t, fullAdmin)
	r.add(host1, secret, ddns.Settings{})
	cors := func(w *httptest.ResponseRecorder) (names []string) {
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				names = append(names, name)
			}
		}
		return names
	}
	public, admin := httpserver.Routes(r.server)
	for _, route := range append(public, "POST /nowhere", "GET /nowhere", "OPTIONS /ip", "OPTIONS /nowhere", "OPTIONS *") {
		method, path, _ := strings.Cut(route, " ")
		seed := route == "POST /" || route == "OPTIONS /"
		w := r.send(method, path, home, "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
		if got := cors(w); (len(got) > 0) != seed {
			t.Errorf("%s is answered with %q", route, got)
		}
	}
	for _, route := range admin {
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer("{name}", host1, "{id}", "aaaaaaaa").Replace(path)
		for _, method := range []string{method, "OPTIONS"} {
			req := httptest.NewRequest(method, path, strings.NewReader("{}"))
			req.Header.Set("Origin", "https://evil.example")
			req.Header.Set("Authorization", "Bearer "+adminToken)
			w := httptest.NewRecorder()
			r.server.Admin().ServeHTTP(w, req)
			if got := cors(w); len(got) > 0 {
				t.Errorf("%s %s is answered with %q", method, path, got)
			}
			if w.Code < 400 {
				t.Errorf("%s %s of a foreign page is answered %d", method, path, w.Code)
			}
		}
	}
}

func TestSeedRefusals(t *testing.T) {
	t.Run("address not allowed", func(t *testing.T) {
		r := newRig(t)
		r.add(host1, secret, ddns.Settings{})
		w := r.set("192.0.2.1", host1, secret)
		want(t, w, 403, seedJSON("fail", "The address is outside this host's address policy (--addresses)."))
	})
	t.Run("suspended", func(t *testing.T) {
		r := newRig(t)
		r.add(host1, secret, ddns.Settings{Suspended: on()})
		want(t, r.set(home, host1, secret), 403, seedJSON("fail", "An operator suspended this host."))
		want(t, r.set(home, host1, "another secret"), 401, seedJSON("fail", mismatch))
	})
	t.Run("family", func(t *testing.T) {
		r := newRig(t)
		r.add(host1, secret, ddns.Settings{})
		if _, err := r.service.AddToken(t.Context(), dnsname.MustParse(host1), ddns.TokenSpec{Types: []ddns.Type{ddns.TypeA}}); err != nil {
			t.Fatal(err)
		}
		// A further token is kept as a hash only: it has no seed's proof.
		want(t, r.set("2600::1", host1, secret), 201, seedJSON("success", isSet(host1+".", "2600::1")))
	})
	t.Run("too many requests", func(t *testing.T) {
		r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Limits.Requests = ddns.Rate{PerHour: 3600, Burst: 2} })
		for range 2 {
			want(t, r.send("POST", "/", home, `{"execution_mode":"get"}`), 200, seedJSON("success", home))
		}
		w := r.send("POST", "/", home, `{"execution_mode":"get"}`)
		want(t, w, 429, seedJSON("fail", "Too many requests. Try again later."))
		if got := w.Header().Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After is %q", got)
		}
		if w := r.send("GET", "/ip", home, ""); w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Errorf("the echo answers %d", w.Code)
		}
		want(t, r.send("POST", "/", "176.32.100.37", `{"execution_mode":"get"}`), 200, seedJSON("success", "176.32.100.37"))
	})
	t.Run("changed too often", func(t *testing.T) {
		r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Limits.Changes = ddns.Rate{PerHour: 1, Burst: 1} })
		r.add(host1, secret, ddns.Settings{})
		r.set(home, host1, secret)
		w := r.set("176.32.100.37", host1, secret)
		want(t, w, 429, seedJSON("fail", "Too many requests. Try again later."))
		if got, _ := strconv.Atoi(w.Header().Get("Retry-After")); got < 3500 || got > 3600 {
			t.Errorf("Retry-After is %d", got)
		}
	})
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprintf("store broken, reads %v", reads), func(t *testing.T) {
			broken := &brokenStore{}
			r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) {
				broken.Store = c.Store
				c.Store = broken
			})
			r.add(host1, secret, ddns.Settings{})
			broken.reads, broken.writes = reads, !reads
			w := r.set(home, host1, secret)
			want(t, w, 503, seedJSON("fail", "Temporarily unavailable. Try again later."))
			if got := w.Header().Get("Retry-After"); got == "" || got == "0" {
				t.Errorf("Retry-After is %q", got)
			}
			if !strings.Contains(r.log.String(), "no space left") {
				t.Error("the log does not have the cause")
			}
		})
	}
	t.Run("stored, not published", func(t *testing.T) {
		r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Publisher = deadPublisher{} })
		r.add(host1, secret, ddns.Settings{})
		want(t, r.set(home, host1, secret), 500, seedJSON("fail", "The change is stored; DNS has not confirmed it yet."))
		if got := r.show(host1).A; len(got) != 1 {
			t.Errorf("stored is %v", got)
		}
	})
}

// S1: without separators, a hash made at 1.2.3.4 for 1host… is one for host… at
// 1.2.3.41, if both have the same secret.
func TestSeedCollisions(t *testing.T) {
	// The hash itself collides, and will for ever: it is the seed's.
	if ddns.SeedHash("1.2.3.4", "1host.dyn.example.com", ddns.NewSecret(secret)) != ddns.SeedHash("1.2.3.41", "host.dyn.example.com", ddns.NewSecret(secret)) {
		t.Error("S1 is no collision any more")
	}
	r := newRig(t)
	r.add("1host.dyn.example.com", secret, ddns.Settings{})
	_, err := r.service.Add(t.Context(), dnsname.MustParse("host.dyn.example.com"), ddns.Settings{}, ddns.NewSecret(secret))
	if refusal := (*ddns.Refusal)(nil); !asRefusal(err, &refusal) || refusal.Code != ddns.Malformed {
		t.Fatalf("two hosts with one secret: %v", err)
	}
	// With secrets of our own making nothing of it holds.
	r.add("host.dyn.example.com", "", ddns.Settings{})
	hash := ddns.SeedHash("1.2.3.4", "1host.dyn.example.com", ddns.NewSecret(secret))
	want(t, r.send("POST", "/", "1.2.3.41", setBody("host.dyn.example.com", hash)), 401, seedJSON("fail", mismatch))
}

// twoZones is ddns.Zones with two zones, one apex a part of the other's text.
type twoZones struct{}

func (twoZones) Zone(n dnsname.Name) (dnsname.Name, bool) {
	for _, apex := range []string{"example.com", "example.co"} {
		if apex := dnsname.MustParse(apex); n.Under(apex) {
			return apex, true
		}
	}
	return dnsname.Name{}, false
}
func (twoZones) Clash(dnsname.Name) error { return nil }

// S2: without separators, a secret may begin with the end of a name: what is
// made for a.example.co with "mX" holds for a.example.com with "X". It needs two
// secrets of which one is the end of the other, which those of our making,
// random and of one length, never are.
func TestSeedCollisionsAcrossZones(t *testing.T) {
	const short, long = "a.example.co", "a.example.com"
	own := strings.Repeat("X", 20)
	if ddns.SeedHash(home, short, ddns.NewSecret("m"+own)) != ddns.SeedHash(home, long, ddns.NewSecret(own)) {
		t.Error("S2 is no collision any more")
	}
	r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Zones = twoZones{} })
	tokens := map[string]string{}
	for _, name := range []string{short, long} {
		tokens[name] = r.add(name, "", ddns.Settings{}).Token.Reveal()
	}
	if len(tokens[short]) != len(tokens[long]) {
		t.Errorf("tokens have lengths %d and %d", len(tokens[short]), len(tokens[long]))
	}
	// Each proof is good at its own name and at no other, also if its maker moves
	// the border between name and secret.
	for _, c := range []struct {
		name, made, secret string
		status             int
	}{
		{long, short, "m" + tokens[short], 401},
		{long, short, tokens[short], 401},
		{long, long, tokens[short], 401},
		{short, long, tokens[long], 401},
		{short, long, tokens[long][1:], 401},
		{short, short, tokens[long], 401},
		{short, short, tokens[short], 201},
		{long, long, tokens[long], 201},
	} {
		w := r.send("POST", "/", home, setBody(c.name, ddns.SeedHash(home, c.made, ddns.NewSecret(c.secret))))
		if w.Code != c.status {
			t.Errorf("%s, with a hash over %s: %d %s, want %d", c.name, c.made, w.Code, w.Body, c.status)
		}
	}
	if a, b := r.show(short), r.show(long); len(a.A) != 1 || len(b.A) != 1 {
		t.Errorf("the hosts have %v and %v", a.A, b.A)
	}
}

// S3: a captured request says nothing new at its own source, and is worthless
// from another.
func TestSeedReplay(t *testing.T) {
	r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Limits.Changes = ddns.DefaultLimits().Changes })
	r.add(host1, secret, ddns.Settings{})
	captured := setBody(host1, ddns.SeedHash(home, host1, ddns.NewSecret(secret)))
	r.send("POST", "/", home, captured)
	generation := r.show(host1).Generation
	for range 1000 {
		want(t, r.send("POST", "/", home, captured), 200, seedJSON("success", matches))
	}
	for range 20 {
		want(t, r.send("POST", "/", "176.32.100.40", captured), 401, seedJSON("fail", mismatch))
	}
	if got := r.show(host1).Generation; got != generation {
		t.Errorf("generation went from %d to %d", generation, got)
	}
	// The host moves on, and someone has its old address now: the record can be
	// pulled back, but no more often than the host's limit allows.
	changed := 0
	for i := range 200 {
		r.set("176.32.100.41", host1, secret)
		if w := r.send("POST", "/", home, captured); w.Code == 201 {
			changed++
		} else if w.Code != 200 && w.Code != 429 {
			t.Fatalf("replay %d: %d", i, w.Code)
		}
	}
	if changed > 10 {
		t.Errorf("%d of 200 replays changed the host", changed)
	}
	if _, err := r.service.Set(t.Context(), dnsname.MustParse(host1), ddns.Settings{SeedOff: on()}); err != nil {
		t.Fatal(err)
	}
	r.now.Move(time.Hour)
	want(t, r.send("POST", "/", home, captured), 401, seedJSON("fail", mismatch))
}

// S4: an unknown host and a wrong hash are answered byte for byte alike.
func TestSeedUnknownIsWrong(t *testing.T) {
	broken := &brokenStore{}
	r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) {
		broken.Store = c.Store
		c.Store = broken
	})
	r.add(host1, secret, ddns.Settings{})
	zero := strings.Repeat("0", 64)
	dump := func(w *httptest.ResponseRecorder) string { return fmt.Sprint(w.Code, w.Header(), w.Body) }
	first := r.send("POST", "/", home, setBody(host1, zero))
	r.add("off.dyn.example.com", "", ddns.Settings{SeedOff: on()})
	r.add("stopped.dyn.example.com", "", ddns.Settings{Suspended: on()})
	ask := func(names ...string) {
		for _, name := range names {
			w := r.send("POST", "/", home, setBody(name, zero))
			if w.Code != first.Code || w.Body.String() != first.Body.String() || !maps.EqualFunc(w.Header(), first.Header(), slices.Equal) {
				t.Fatalf("%q is answered %s\nand not %s", name, dump(w), dump(first))
			}
		}
	}
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	for i := range rounds {
		ask(host1, "other.dyn.example.com")
		if i%50 == 0 {
			ask("off.dyn.example.com", "stopped.dyn.example.com", "example.org", "not a name", "")
		}
	}
	// No answer tells about the inside, whatever goes wrong there.
	broken.reads = true
	got := dump(r.set(home, host1, secret))
	for _, leak := range []string{"arn:", "table", "/var", "space", "goroutine"} {
		if strings.Contains(got, leak) {
			t.Errorf("an answer says %q: %s", leak, got)
		}
	}
}

// S9: the family of the source decides the type of the record.
func TestSeedFamilies(t *testing.T) {
	r := newRig(t)
	r.add(host1, secret, anyAddress())
	want(t, r.set("2001:db8::5", host1, secret), 201, seedJSON("success", isSet(host1+".", "2001:db8::5")))
	want(t, r.set("10.0.0.1", host1, secret), 201, seedJSON("success", isSet(host1+".", "10.0.0.1")))
	h := r.show(host1)
	if got := fmt.Sprint(h.A, h.AAAA); got != "[10.0.0.1] [2001:db8::5]" {
		t.Errorf("the host has %s", got)
	}
	for remote, source := range map[string]string{
		"[::ffff:10.0.0.1]:80": "10.0.0.1", "[fe80::1%eth0]:80": "fe80::1", "[2001:db8::5]:80": "2001:db8::5",
	} {
		want(t, r.send("POST", "/", remote, `{"execution_mode":"get"}`), 200, seedJSON("success", source))
		want(t, r.send("GET", "/ip", remote, ""), 200, source+"\n")
	}
	want(t, r.send("POST", "/", "@", `{"execution_mode":"get"}`), 400, seedJSON("fail", "The server does not know your address: the connection has no address."))
}

// S10: whatever a secret holds, its host can be updated.
func TestSeedSecrets(t *testing.T) {
	for i, text := range []string{`with "quotes" and 'such'`, `back\slash \n \u0041 \`, "naïve ☃ 🦉 secret", "{\"a\": [1,2]}", "            ", "a b c d e f g"} {
		r := newRig(t)
		r.add(host1, text, ddns.Settings{})
		want(t, r.set(home, host1, text), 201, seedJSON("success", isSet(host1+".", home)))
		if t.Failed() {
			t.Fatalf("secret %d", i)
		}
	}
	r := newRig(t)
	token := r.add(host1, "", ddns.Settings{}).Token.Reveal()
	want(t, r.set(home, host1, token), 201, seedJSON("success", isSet(host1+".", home)))
	if strings.Contains(r.log.String(), token) {
		t.Error("the log has the token")
	}
}

// A wildcard host exists under its own name only, as any other.
func TestSeedWildcardHost(t *testing.T) {
	r := newRig(t)
	r.add("*.dyn.example.com", secret, ddns.Settings{})
	w := r.set(home, "*.dyn.example.com", secret)
	if w.Code != 201 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	want(t, w, 201, w.Body.String())
	want(t, r.set(home, "x.dyn.example.com", secret), 401, seedJSON("fail", mismatch))
}

func TestSeedLog(t *testing.T) {
	r := newRig(t)
	r.add(host1, secret, ddns.Settings{})
	r.send("POST", "/?secret=canary-query", home, setBody(host1, goodHash), "Authorization", "Bearer canary-header")
	r.set(home, host1, secret)
	r.set(home, host1, "canary-secret")
	got := r.log.String()
	for _, line := range []string{
		"level=INFO msg=update host=" + host1 + " door=seed outcome=changed source=" + home + " generation=2\n",
		"level=DEBUG msg=update host=" + host1 + " door=seed outcome=unchanged source=" + home + "\n",
		"level=INFO msg=update host=" + host1 + " door=seed outcome=bad-proof source=" + home + "\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("the log lacks %q:\n%s", line, got)
		}
	}
	for _, no := range []string{"canary", goodHash} {
		if strings.Contains(got, no) {
			t.Errorf("the log has %s", no)
		}
	}
}

func BenchmarkSeedGet(b *testing.B) {
	r := newRig(b, quiet)
	bench(b, r, func(int) string { return `{"execution_mode":"get"}` })
}

func BenchmarkSeedUnchanged(b *testing.B) {
	r := newRig(b, quiet)
	r.add(host1, secret, ddns.Settings{})
	r.set(home, host1, secret)
	body := setBody(host1, goodHash)
	bench(b, r, func(int) string { return body })
}

func BenchmarkSeedChanged(b *testing.B) {
	r := newRig(b, quiet)
	r.add(host1, secret, anyAddress())
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		source := fmt.Sprintf("10.0.%d.%d", i>>8&255, i&255)
		if w := r.set(source, host1, secret); w.Code != 201 {
			b.Fatal(w.Code, w.Body)
		}
	}
}

func quiet(_ *ddns.Config, c *httpserver.Config) { c.Log = nil }

func asRefusal(err error, into **ddns.Refusal) bool {
	r, ok := err.(*ddns.Refusal)
	*into = r
	return ok
}

// S8: no input alone makes a status outside this set.
func FuzzSeedDoor(f *testing.F) {
	for _, body := range []string{``, `{`, `[]`, `{"execution_mode":"get"}`, setBody(host1, goodHash), setBody("*.\x00..", goodHash), setBody(strings.Repeat("ä.", 500), goodHash),
		`{"execution_mode":"set","ddns_hostname":"\ud83e\udd89.dyn.example.com","validation_hash":"` + goodHash + `"}`, setBody(`a\.b\300.`, goodHash), setBody("xn--.example", goodHash)} {
		f.Add(body, home)
	}
	r := newRig(f, quiet)
	r.add(host1, secret, ddns.Settings{})
	f.Fuzz(func(t *testing.T, body, forwarded string) {
		r.t = t // F is not to be used in here
		w := r.send("POST", "/", home, body, "X-Forwarded-For", forwarded)
		if !slices.Contains([]int{200, 201, 400, 401, 413}, w.Code) {
			t.Fatalf("%q gives %d %s", body, w.Code, w.Body)
		}
		if w.Code == 201 && !strings.HasSuffix(w.Body.String(), home+`"}`) {
			t.Fatalf("%q gives %s", body, w.Body)
		}
		rules(t, w.Result())
	})
}
