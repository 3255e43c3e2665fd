package httpserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

const challengeText = "J1Sf5ZRnhbJm1mmGzrvJ3TrmGEEyyZ3IlLRuqGVzPcg"

// newChallengeRig is a routerRig with an acme-dns account of host1: {user} and {key}.
func newChallengeRig(t testing.TB, edits ...edit) *routerRig {
	t.Helper()
	o := newRouterRig(t, edits...)
	account, err := o.service.Register(t.Context(), ddns.Update{Host: dnsname.MustParse(host1), Door: "acme-dns", Source: ddns.SourceOf(netip.MustParseAddr(away)),
		Proof: ddns.TokenProof{Token: ddns.NewSecret(o.tokens["acme"])}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.tokens["user"], o.tokens["key"] = account.User, account.Key.Reveal()
	o.tokens["nobody"] = "0" + account.User[1:]
	if account.User[0] == '0' {
		o.tokens["nobody"] = "1" + account.User[1:]
	}
	o.tokens["badkey"] = strings.Repeat("a", 40)
	o.reset()
	return o
}

func httpreqOf(verb, host, token, value string) string {
	return fmt.Sprintf("POST /httpreq/%s HTTP/1.1\nAuthorization: {basic x:%s}\n\n{\"fqdn\":\"_acme-challenge.%s.\",\"value\":\"%s\"}\n", verb, token, host, value)
}

func accountOf(user, key, value string) string {
	return fmt.Sprintf("POST /acme-dns/update HTTP/1.1\nX-Api-User: {%s}\nX-Api-Key: {%s}\n\n{\"subdomain\":\"{%[1]s}\",\"txt\":\"%[3]s\"}", user, key, value)
}

func registerOf(user, token, body string) string {
	return fmt.Sprintf("POST /acme-dns/register HTTP/1.1\nAuthorization: {basic %s:%s}\n\n%s", user, token, body)
}

// TestChallengesGolden: each answer of the doors for certificates.
func TestChallengesGolden(t *testing.T) { newChallengeRig(t).golden("challenges.golden") }

// TestRegisterAnswer: what an account is told, and that it works.
func TestRegisterAnswer(t *testing.T) {
	o := newChallengeRig(t)
	for body, allowed := range map[string]string{
		"": `[]`, "{}": `[]`, `{"allowfrom":[]}`: `[]`, "null\n": `[]`, `{"allowfrom":["198.51.100.9/24","2001:db8::1/32"],"more":1}`: `["198.51.100.0/24","2001:db8::/32"]`,
	} {
		w := o.raw(away, registerOf(host1, "host1", body))
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 201 {
			t.Fatal(whole(w))
		}
		want := fmt.Sprintf(`{"username":%q,"password":%q,"fulldomain":"_acme-challenge.host1.dyn.example.com","subdomain":%[1]q,"allowfrom":%[3]s}`,
			got["username"], got["password"], allowed)
		if w.Body.String() != want {
			t.Errorf("got  %s\nwant %s", w.Body, want)
		}
		o.tokens["newuser"], o.tokens["newkey"] = got["username"].(string), got["password"].(string)
		if w := o.raw(away, accountOf("newuser", "newkey", challengeText)); w.Code != 200 {
			t.Error(whole(w))
		}
		if w := o.raw("203.0.113.7", accountOf("newuser", "newkey", challengeText)); (w.Code == 200) != (allowed == "[]") {
			t.Errorf("from elsewhere: %s", whole(w))
		}
	}
}

// TestNameAndWildcard: both values stand before either is cleaned up, and cleaning
// up takes one's own alone.
func TestNameAndWildcard(t *testing.T) {
	o := newChallengeRig(t)
	for _, step := range []struct{ verb, value, want string }{
		{"present", "one", "one"}, {"present", "two", "one two"}, {"present", "two", "one two"}, {"cleanup", "one", "two"}, {"cleanup", "one", "two"}, {"cleanup", "two", ""},
	} {
		if w := o.raw(away, httpreqOf(step.verb, host1, "acme", step.value)); w.Code != 200 || w.Body.String() != "{}" {
			t.Error(whole(w))
		}
		var got []string
		for _, v := range o.show(host1).TXT {
			got = append(got, v.Value)
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("after %s of %s: %s", step.verb, step.value, got)
		}
	}
	for i := range ddns.MaxTXT {
		o.raw(away, httpreqOf("present", host1, "acme", fmt.Sprint(i)))
	}
	if w := o.raw(away, httpreqOf("present", host1, "acme", "ninth")); w.Code != 422 || !strings.Contains(w.Body.String(), "too-many") {
		t.Error(whole(w))
	}
	if w := o.raw(away, accountOf("user", "key", challengeText)); w.Code != 422 || w.Body.String() != `{"error":"too_many"}` {
		t.Error(whole(w))
	}
}

// TestChallengesAreShown: an operator sees the values, and whose they are.
func TestChallengesAreShown(t *testing.T) {
	o := newOver(t)
	made := o.add(host1, "", anyAddress())
	u := ddns.Update{Host: made.Host.Name, Source: ddns.SourceOf(netip.MustParseAddr(away)), Proof: ddns.TokenProof{Token: made.Token},
		Changes: []ddns.Change{{Type: ddns.TypeTXT, Op: ddns.Add, Texts: []string{challengeText}}}}
	if _, err := o.service.Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(o.do("GET /v1/admin/hosts/{name}", "/v1/admin/hosts/"+host1, "", 200)["challenges"])
	if want := fmt.Sprint([]any{map[string]any{"value": challengeText, "credential": made.Credential.ID, "time": "2026-01-01T00:00:00Z"}}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestChallengeStrangers: nobody learns whether there is such a host or account.
func TestChallengeStrangers(t *testing.T) {
	o := newChallengeRig(t)
	none := "none.dyn.example.com"
	for _, pair := range [][2]string{
		{httpreqOf("present", host2, "wrong", "x"), httpreqOf("present", none, "wrong", "x")},
		{httpreqOf("cleanup", host2, "acme", "x"), httpreqOf("cleanup", none, "acme", "x")},
		{registerOf(host2, "wrong", ""), registerOf(none, "wrong", "")},
		{registerOf(host2, "acme", ""), registerOf(none, "acme", "")},
		{accountOf("user", "badkey", challengeText), accountOf("nobody", "badkey", challengeText)},
		{accountOf("user", "badkey", challengeText), accountOf("nobody", "key", challengeText)},
		{accountOf("user", "badkey", challengeText), accountOf("user", "host1", challengeText)},
	} {
		if a, b := whole(o.raw(away, pair[0])), whole(o.raw(away, pair[1])); a != b {
			t.Errorf("%s\n%s\n%s", pair[0], a, b)
		}
	}
}

// TestChallengeTroubles: what passes says when to come again.
func TestChallengeTroubles(t *testing.T) {
	broken := &brokenStore{}
	o := newChallengeRig(t, func(c *ddns.Config, _ *httpserver.Config) {
		c.Limits.Changes = ddns.Rate{PerHour: 1, Burst: 1} // registering was the one
		broken.Store = c.Store
		c.Store = broken
	})
	check := func(request string, status int, word string) {
		t.Helper()
		if w := o.raw(away, request); w.Code != status || !strings.Contains(w.Body.String(), word) || w.Header().Get("Retry-After") == "" {
			t.Error(whole(w))
		}
	}
	requests := []string{httpreqOf("present", host1, "acme", "x"), accountOf("user", "key", challengeText), registerOf(host1, "acme", "")}
	words := []string{"rate-limited", `{"error":"rate_limited"}`, `{"error":"rate_limited"}`}
	for i, r := range requests {
		check(r, 429, words[i])
	}
	o.now.Move(2 * 3600e9)
	words, statuses := []string{"unavailable", `{"error":"db_error"}`, `{"error":"db_error"}`}, []int{503, 500, 500}
	for _, reads := range []bool{false, true} {
		broken.writes, broken.reads = true, reads
		for i, r := range requests {
			check(r, statuses[i], words[i])
		}
	}
}

// TestChallengeSecretsStay: neither over plain HTTP, nor in the log, nor in what an
// operator is told.
func TestChallengeSecretsStay(t *testing.T) {
	o := newChallengeRig(t)
	o.golden("challenges.golden")
	for _, tokens := range []bool{true, false} {
		if !tokens {
			o.edits = append(o.edits, func(_ *ddns.Config, c *httpserver.Config) { c.HTTPTokens = false })
			o.start()
		}
		for _, request := range []string{
			httpreqOf("present", host1, "acme", "x"), httpreqOf("present", "{acme}.dyn.example.com", "wrong", "x"), httpreqOf("present", host1, "key", "x"),
			accountOf("user", "key", challengeText), accountOf("user", "acme", challengeText), accountOf("key", "key", challengeText), registerOf("x", "acme", ""),
		} {
			o.told.take()
			w := o.raw(away, request)
			told := o.told.take()
			if len(told) != 1 {
				t.Errorf("told %+v", told)
			}
			if !tokens && (w.Code/100 != 4 || !slices.ContainsFunc(told, func(r httpserver.Request) bool {
				return strings.Contains(r.Fix, "--http-tokens") || r.Outcome == "malformed"
			})) {
				t.Errorf("%s over plain HTTP: %s\n%+v", request, whole(w), told)
			}
			text := strings.ReplaceAll(fmt.Sprintf("%+v %s", told, o.log), o.tokens["acme"][9:]+".dyn.example.com", "") // a name, whatever it looks like
			for _, secret := range []string{o.tokens["acme"][9:], o.tokens["key"]} {
				if strings.Contains(text, secret) {
					t.Fatalf("after %s a secret is in the log or told:\n%s", request, text)
				}
			}
		}
	}
	if !strings.Contains(o.log.String(), "door=acme-dns outcome=bad-proof") || !strings.Contains(o.log.String(), "door=httpreq outcome=changed") {
		t.Error("a request is not in the log")
	}
}

// TestChallengePaths: behind a Function URL the seed's clients keep what is not
// acme-dns's, and a long body is not read.
func TestChallengePaths(t *testing.T) {
	o := newChallengeRig(t, func(_ *ddns.Config, c *httpserver.Config) { c.SeedEverywhere = true })
	if w := o.send("POST", "/register", away, `{"execution_mode":"get"}`); w.Code != 200 || w.Body.String() != seedJSON("success", away) {
		t.Error(whole(w))
	}
	if w := o.send("POST", "/register", away, "", "Authorization", "Basic eDp5"); w.Code != 401 || w.Body.String() != `{"error":"forbidden"}` {
		t.Error(whole(w))
	}
	if w := o.raw(away, strings.Replace(registerOf(host1, "acme", ""), "/acme-dns", "", 1)); w.Code != 201 {
		t.Error(whole(w))
	}
	long := `{"fqdn":"` + strings.Repeat("a", 4096) + `"}`
	for path, body := range map[string]string{"/acme-dns/register": `{"error":"too_large"}`, "/acme-dns/update": `{"error":"too_large"}`, "/httpreq/present": ""} {
		if w := o.send("POST", path, away, long); w.Code != 413 || body != "" && w.Body.String() != body {
			t.Error(whole(w))
		}
	}
}

// FuzzChallengeDoors: whatever a body says, the status is one that is documented,
// the answer is JSON, what is refused has changed nothing, nothing but challenge
// values ever changes, and those of the proven host alone.
func FuzzChallengeDoors(f *testing.F) {
	paths := []string{"/httpreq/present", "/httpreq/cleanup", "/acme-dns/update", "/acme-dns/register", "/update"}
	proofs := [][]string{{}, {"Authorization", "{basic host1.dyn.example.com:acme}"}, {"Authorization", "{basic x:both}"}, {"X-Api-User", "{user}", "X-Api-Key", "{key}"},
		{"Authorization", "{basic host1.dyn.example.com:wrong}", "X-Api-User", "{nobody}", "X-Api-Key", "{key}"}}
	for i, body := range []string{
		`{"fqdn":"_acme-challenge.host1.dyn.example.com.","value":"` + challengeText + `"}`, `{"fqdn":"_acme-challenge.xn--.host1.dyn.example.com.","value":"\u00e9"}`,
		`{"domain":"*.host1.dyn.example.com","token":"t","keyAuth":"t.k"}`, `{"subdomain":"{user}","txt":"` + challengeText + `"}`, `{"subdomain":"\ud800","txt":""}`,
		`{"allowfrom":["192.0.2.0/24","::/0"]}`, `{"allowfrom":["192.0.2.0/24",]}`, `{"allowfrom":[[]]}`, "", "{}", `{"fqdn":"_acme-challenge.` + strings.Repeat("a", 64) + `."}`,
	} {
		for p := range proofs {
			f.Add(uint8(i), uint8(p), body)
		}
	}
	o := newChallengeRig(f, func(_ *ddns.Config, c *httpserver.Config) { c.Log = nil })
	f.Fuzz(func(t *testing.T, path, proof uint8, body string) {
		o.t = t
		o.reset()
		before := *o.show(host1)
		r := httptest.NewRequest(http.MethodPost, paths[int(path)%len(paths)], strings.NewReader(o.fill(body)))
		r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(away), 40000).String()
		fields := proofs[int(proof)%len(proofs)]
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], o.fill(fields[i+1]))
		}
		w := httptest.NewRecorder()
		o.server.Public().ServeHTTP(w, r)
		rules(t, w.Result())
		if !slices.Contains([]int{200, 201, 400, 401, 403, 413, 415, 422}, w.Code) {
			t.Errorf("status %d", w.Code)
		}
		if r.URL.Path != "/update" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %q is no JSON", w.Code, w.Body)
		}
		state := o.state()
		if w.Code >= 400 && state != "" {
			t.Errorf("%d %s has changed %s", w.Code, w.Body, state)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(state, "\n"), "\n") {
			for _, host := range []string{"host1", "host2"} { // "both" is of both
				line = strings.TrimPrefix(line, host+" [192.0.2.1] [2001:db8::1] txt ")
			}
			if line != "" && line[0] != '[' && r.URL.Path != "/update" {
				t.Errorf("%s has changed", line)
			}
		}
		if w.Code == 201 { // or there would soon be no room
			_, credentials, err := o.service.Show(t.Context(), before.Name)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range credentials {
				if c.Kind == ddns.KindACME && !slices.Contains(before.Credentials, c.ID) {
					if _, err := o.service.RevokeToken(t.Context(), before.Name, c.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
}
