package httpserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/httpserver"
)

// admin makes a request to the admin API as over the socket.
func (r *rig) admin(method, path, body string) *httptest.ResponseRecorder {
	r.t.Helper()
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Net: "unix", Name: "admin.sock"}))
	req := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				panic(v)
			}
		}()
		r.server.Admin().ServeHTTP(w, req)
	}()
	return w
}

// over checks the answer against the OpenAPI document too.
type over struct {
	*rig
	doc  *openapi3.T
	seen map[string]bool // routes
}

func (o over) do(route, path, body string, status int) map[string]any {
	o.t.Helper()
	method, pattern, _ := strings.Cut(route, " ")
	o.seen[route] = true
	w := o.admin(method, path, body)
	if w.Code != status {
		o.t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
		return nil
	}
	item := o.doc.Paths.Value(pattern)
	if item == nil || item.GetOperation(method) == nil {
		o.t.Errorf("%s is not in the document", route)
		return nil
	}
	op := item.GetOperation(method)
	if body != "" && status < 300 && op.RequestBody != nil {
		var in any
		if json.Unmarshal([]byte(body), &in) == nil {
			if err := op.RequestBody.Value.Content.Get("application/json").Schema.Value.VisitJSON(in); err != nil {
				o.t.Errorf("%s: request %s: %v", route, body, err)
			}
		}
	}
	return o.valid(route, op, w)
}

func (o over) valid(route string, op *openapi3.Operation, w *httptest.ResponseRecorder) map[string]any {
	o.t.Helper()
	answer := op.Responses.Status(w.Code)
	if answer == nil {
		answer = op.Responses.Default()
	}
	if answer == nil {
		o.t.Errorf("%s: status %d is not in the document", route, w.Code)
		return nil
	}
	if w.Body.Len() == 0 {
		return nil
	}
	kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	media := answer.Value.Content.Get(kind)
	if media == nil || answer.Value.Content[kind] == nil {
		o.t.Errorf("%s: content type %s of status %d is not in the document", route, kind, w.Code)
		return nil
	}
	if !strings.HasSuffix(kind, "json") {
		return nil
	}
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		o.t.Errorf("%s: %v in %s", route, err, w.Body)
		return nil
	}
	if err := media.Schema.Value.VisitJSON(out); err != nil {
		o.t.Errorf("%s: %s: %v", route, w.Body, err)
	}
	return out
}

func newOver(t *testing.T, edits ...edit) over {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return over{newRig(t, append(edits, fullAdmin)...), doc, map[string]bool{}}
}

func line(v ...any) string { return strings.TrimSuffix(fmt.Sprintln(v...), "\n") }

// The document has every route of the server and no other.
func TestOpenAPIRoutes(t *testing.T) {
	o := newOver(t)
	documented := map[string]bool{}
	for path, item := range o.doc.Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+path] = true
		}
	}
	public, admin := httpserver.Routes(o.server)
	for _, route := range append(public, admin...) {
		if !documented[route] {
			t.Errorf("%s is not in the document", route)
		}
		delete(documented, route)
	}
	for route := range documented {
		t.Errorf("%s is in the document, and nobody answers it", route)
	}
}

// A run through everything; each answer is as the document says.
func TestAdmin(t *testing.T) {
	o := newOver(t)
	const hosts, host = "/v1/admin/hosts", "/v1/admin/hosts/{name}"
	at := hosts + "/" + host1

	made := o.do("POST "+hosts, hosts, `{"host":"Host1.dyn.example.com.","ttl":120,"addresses":"any"}`, 201)
	if made["host"] != host1 || made["zone"] != zone || made["ttl"] != 120.0 || made["url"] != "https://ddns.example.com" ||
		!strings.HasPrefix(made["token"].(string), made["credential"].(string)+"-") {
		t.Errorf("made %v", made)
	}
	want(t, o.set("10.0.0.1", host1, made["token"].(string)), 201, seedJSON("success", isSet(host1+".", "10.0.0.1")))
	shown := o.do("GET "+host, at, "", 200)
	if line(shown["a"], shown["aaaa"], shown["ttl"], shown["seed"], shown["source"], shown["generation"]) != "[10.0.0.1] [] 120 true match 2" {
		t.Errorf("shown %v", shown)
	}
	shown = o.do("PATCH "+host, at, `{"ttl":60,"source":"free","wildcard":true,"lease":86400,"followers":[{"name":"nas.dyn.example.com","low":"02:00:5e:10:00:00","a":false,"aaaa":true}]}`, 200)
	if line(shown["ttl"], shown["source"], shown["wildcard"], shown["lease"], shown["followers"]) != "60 free true 86400 [map[a:false aaaa:true addresses:[] low:::5eff:fe10:0 name:nas.dyn.example.com]]" {
		t.Errorf("shown %v", shown)
	}
	const tv = hosts + "/nas.dyn.example.com"
	shown = o.do("GET "+host, tv, "", 200)
	if line(shown["host"], shown["router"], shown["ttl"], shown["followers"], shown["wildcard"]) != "nas.dyn.example.com "+host1+" 60 <nil> false" {
		t.Errorf("a follower: %v", shown)
	}
	told := o.do("GET "+host+"/history", tv+"/history", "", 200)
	if list := told["events"].([]any); told["router"] != host1 || len(list) != 2 || !strings.Contains(fmt.Sprint(list[0]), "followers added nas.dyn.example.com") {
		t.Errorf("a follower's history: %v", told) // without the router's own move
	}
	o.do("PATCH "+host, tv, `{"ttl":60}`, 404)
	o.do("PATCH "+host, at, `{}`, 200)
	events := o.do("GET "+host+"/history", at+"/history", "", 200)["events"].([]any)
	if len(events) != 3 || events[0].(map[string]any)["outcome"] != "changed" {
		t.Errorf("events %v", events)
	}
	token := o.do("POST "+host+"/tokens", at+"/tokens", `{"label":"router","types":["A"],"networks":["10.0.0.0/8"],"rate":5,"expires":"2027-01-01T00:00:00Z","url_token":true}`, 201)
	tokens := o.do("GET "+host+"/tokens", at+"/tokens", "", 200)["credentials"].([]any)
	if len(tokens) != 2 || strings.Contains(fmt.Sprint(tokens), token["token"].(string)) {
		t.Errorf("tokens %v", tokens)
	}
	id := token["credential"].(string)
	token = o.do("POST "+host+"/tokens/{id}/rotate", at+"/tokens/"+id+"/rotate", `{"overlap":60}`, 201)
	const host2 = "host2.dyn.example.com"
	o.do("POST "+hosts, hosts, `{"host":"`+host2+`"}`, 201)
	if got := o.do("PATCH "+host+"/tokens/{id}", at+"/tokens/"+token["credential"].(string), `{"add_hosts":["Host2.dyn.example.com."]}`, 200); line(got["hosts"]) != line([]string{host1, host2}) {
		t.Errorf("hosts %v", got)
	}
	for _, c := range o.do("GET "+host, hosts+"/"+host2, "", 200)["credentials"].([]any) { // both of one second
		if got := c.(map[string]any); got["id"] == token["credential"] && line(got["hosts"], got["types"], got["url_token"]) != line([]string{host1, host2}, []string{"A"}, true) {
			t.Errorf("shown %v", got)
		}
	}
	if got := o.do("DELETE "+host+"/tokens/{id}", hosts+"/"+host2+"/tokens/"+token["credential"].(string), "", 200); line(got["hosts"]) != line([]string{host2, host1}) {
		t.Errorf("hosts %v", got)
	}
	both := o.do("POST "+host+"/tokens", at+"/tokens", `{"hosts":["`+host2+`"]}`, 201)
	if line(both["hosts"]) != line([]string{host1, host2}) {
		t.Errorf("made %v", both)
	}
	o.do("DELETE "+host, hosts+"/"+host2, "", 204)
	o.do("DELETE "+host+"/tokens/{id}", at+"/tokens/"+token["credential"].(string), "", 404)
	o.do("POST "+host+"/rotate", at+"/rotate", `{"seed":true}`, 201)
	o.do("POST "+host+"/rotate", at+"/rotate", `{"secret":"a secret of my own"}`, 201)

	export := o.admin("GET", "/v1/admin/export?secrets=true", "").Body.String()
	if !strings.Contains(export, "a secret of my own") {
		t.Errorf("export %s", export)
	}
	if got := o.do("GET /v1/admin/export", "/v1/admin/export?host="+host1, "", 200); len(got["hosts"].([]any)) != 1 || strings.Contains(fmt.Sprint(got), "of my own") {
		t.Errorf("export %v", got)
	}
	list := o.do("GET "+hosts, hosts+"?limit=1", "", 200)
	if len(list["hosts"].([]any)) != 1 {
		t.Errorf("list %v", list)
	}
	o.do("DELETE "+host, at, "", 204)
	o.do("GET "+host, at, "", 404)
	if got := o.do("POST /v1/admin/import", "/v1/admin/import", export, 200); got["added"] != 1.0 {
		t.Errorf("import %v", got)
	}
	if got := o.do("POST /v1/admin/import", "/v1/admin/import", export, 200); got["added"] != 0.0 || len(got["skipped"].([]any)) != 1 {
		t.Errorf("import %v", got)
	}
	o.do("POST /v1/admin/import", "/v1/admin/import?host=row.dyn.example.com", `{"route_53_zone_id":"Z","route_53_record_ttl":60,"shared_secret":"shared_secret_77"}`, 200)
	want(t, o.set(home, "row.dyn.example.com", "shared_secret_77"), 201, seedJSON("success", isSet("row.dyn.example.com.", home)))

	o.do("GET /v1/admin/status", "/v1/admin/status", "", 200)
	o.do("GET /v1/admin/zones", "/v1/admin/zones", "", 200)
	if got := o.do("POST /v1/admin/zones/{zone}/keys", "/v1/admin/zones/dyn.example.com/keys", `{"do":"roll"}`, 200); got["next"] != "roll" {
		t.Errorf("keys: %v", got)
	}
	if got := o.do("GET /v1/admin/hosts/{name}/dns", "/v1/admin/hosts/row.dyn.example.com/dns", "", 200); len(got["rrsets"].([]any)) != 1 {
		t.Errorf("in DNS: %v", got)
	}
	if got := o.do("GET /v1/admin/requests", "/v1/admin/requests", "", 200); len(got["requests"].([]any)) == 0 || got["mark"] == 0.0 {
		t.Errorf("requests %v", got)
	}
	if got := o.do("GET /v1/admin/requests", "/v1/admin/requests?host=other.dyn.example.com&after=0", "", 200); len(got["requests"].([]any)) > 0 {
		t.Errorf("requests of another host %v", got)
	}
	o.do("POST /v1/admin/check", "/v1/admin/check", "", 200)
	o.do("GET /v1/admin/backup", "/v1/admin/backup", "", 200)
	o.do("GET /metrics", "/metrics", "", 200)
	o.do("GET /v1/admin/openapi.yaml", "/v1/admin/openapi.yaml", "", 200)
	_, admin := httpserver.Routes(o.server)
	for _, route := range admin {
		if !o.seen[route] {
			t.Errorf("%s was not tried", route)
		}
	}
	if text := o.log.String(); strings.Contains(text, "of my own") || strings.Contains(text, token["token"].(string)) {
		t.Error("the log has a secret")
	}
}

func TestPublicAnswersAsDocumented(t *testing.T) {
	o := newOver(t)
	for _, c := range []struct{ method, path, pattern, body string }{
		{"GET", "/", "/", ""}, {"POST", "/", "/", `{"execution_mode":"get"}`}, {"POST", "/", "/", `{}`}, {"OPTIONS", "/", "/", ""},
		{"POST", "/", "/", setBody(host1, goodHash)}, {"GET", "/ip", "/ip", ""}, {"GET", "/healthz", "/healthz", ""}, {"GET", "/readyz", "/readyz", ""},
		{"GET", "/errors/malformed", "/errors/{code}", ""}, {"GET", "/errors/x", "/errors/{code}", ""},
	} {
		o.valid(c.method+" "+c.path, o.doc.Paths.Value(c.pattern).GetOperation(c.method), o.send(c.method, c.path, home, c.body))
	}
}

// A refusal names members as the API does, not as Go does.
func TestMemberNames(t *testing.T) {
	o := newOver(t)
	for body, want := range map[string]string{
		`{"host":"a.dyn.example.com","ttl":"60"}`: "member ttl cannot be a string",
		`{"host":7}`: "member host cannot be a number",
		`{"host":"a.dyn.example.com","followers":[{"name":7}]}`: "member followers.name cannot be a number",
	} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest("POST", "http://localhost/v1/admin/hosts", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+adminToken)
		o.server.Admin().ServeHTTP(w, req)
		if w.Code != 400 || !strings.Contains(w.Body.String(), ": "+want+`"`) {
			t.Errorf("%s: got %d %s, want %q", body, w.Code, w.Body, want)
		}
	}
}

func TestAdminRefusals(t *testing.T) {
	o := newOver(t)
	o.add(host1, secret, ddns.Settings{})
	const hosts, host = "/v1/admin/hosts", "/v1/admin/hosts/{name}"
	at := hosts + "/" + host1
	for _, c := range []struct {
		route, path, body, code string
		status                  int
	}{
		{"POST " + hosts, hosts, `{"host":"host1.dyn.example.com"}`, "exists", 409},
		{"POST " + hosts, hosts, `{"host":"two.dyn.example.com","secret":"shared_secret_1"}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"example.org"}`, "malformed", 400},
		{"GET /v1/admin/requests", "/v1/admin/requests?host=..", "", "malformed", 400},
		{"GET /v1/admin/requests", "/v1/admin/requests?after=yesterday", "", "malformed", 400},
		{"POST " + hosts, hosts, `{"host":""}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a_b.dyn.example.com"}`, "malformed", 400},
		{"POST " + hosts, hosts, `{}`, "malformed", 400},
		{"POST " + hosts, hosts, `[]`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com"} {}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","hots":1}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"Host":"a.dyn.example.com"}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","host":"b.dyn.example.com"}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","ttl":null}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","ttl":-1}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","ttl":0}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","ttl":"60"}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","source":"me"}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","addresses":"10.0.0.0"}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","lease":9223372036854775807}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","lease":1}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","followers":[{"name":"b.dyn.example.com","low":"x","a":true,"aaaa":true}]}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"a.dyn.example.com","secret":"short"}`, "malformed", 400},
		{"POST " + hosts, hosts, `{"host":"` + strings.Repeat("a", 70000) + `"}`, "too-large", 413},
		{"GET " + hosts, hosts + "?limit=0", "", "malformed", 400},
		{"GET " + hosts, hosts + "?limit=1001", "", "malformed", 400},
		{"GET " + hosts, hosts + "?page=1", "", "malformed", 400},
		{"GET " + hosts, hosts + "?limit=1&limit=2", "", "malformed", 400},
		{"GET " + hosts, hosts + "?limit=%zz", "", "malformed", 400},
		{"GET " + host, hosts + "/other.dyn.example.com", "", "not-found", 404},
		{"GET " + host, hosts + "/x..y", "", "malformed", 400},
		{"PATCH " + host, hosts + "/other.dyn.example.com", `{"ttl":60}`, "not-found", 404},
		{"DELETE " + host, hosts + "/other.dyn.example.com", "", "not-found", 404},
		{"POST " + host + "/rotate", hosts + "/other.dyn.example.com/rotate", `{}`, "not-found", 404},
		{"POST " + host + "/tokens", at + "/tokens", `{"types":["MX"]}`, "malformed", 400},
		{"POST " + host + "/tokens", at + "/tokens", `{"types":["A","A"]}`, "malformed", 400},
		{"POST " + host + "/tokens", at + "/tokens", `{"networks":["10.0.0.1"]}`, "malformed", 400},
		{"POST " + host + "/tokens", at + "/tokens", `{"expires":"2001-01-01T00:00:00Z"}`, "malformed", 400},
		{"POST " + host + "/tokens", at + "/tokens", `{"expires":"soon"}`, "malformed", 400},
		{"POST " + host + "/tokens", at + "/tokens", `{"label":"a\u0000"}`, "malformed", 400},
		{"POST " + host + "/tokens", at + "/tokens", `{"hosts":["other.dyn.example.com"]}`, "not-found", 404},
		{"POST " + host + "/tokens", at + "/tokens", `{"hosts":["a_b.dyn.example.com"]}`, "malformed", 400},
		{"PATCH " + host + "/tokens/{id}", at + "/tokens/aaaaaaaa", `{"add_hosts":["other.dyn.example.com"]}`, "not-found", 404},
		{"PATCH " + host + "/tokens/{id}", at + "/tokens/aaaaaaaa", `{"remove_hosts":[""]}`, "malformed", 400},
		{"PATCH " + host + "/tokens/{id}", at + "/tokens/aaaaaaaa", `{"add_hosts":[".."]}`, "malformed", 400},
		{"POST " + host + "/tokens/{id}/rotate", at + "/tokens/aaaaaaaa/rotate", `{}`, "not-found", 404},
		{"POST " + host + "/tokens/{id}/rotate", at + "/tokens/aaaaaaaa/rotate", `{"overlap":-1}`, "malformed", 400},
		{"POST /v1/admin/zones/{zone}/keys", "/v1/admin/zones/dyn.example.com/keys", `{"do":"burn"}`, "malformed", 400},
		{"POST /v1/admin/zones/{zone}/keys", "/v1/admin/zones/a..b/keys", `{"do":"roll"}`, "malformed", 400},
		{"POST /v1/admin/zones/{zone}/keys", "/v1/admin/zones/example.net/keys", `{"do":"roll"}`, "precondition", 412},
		{"POST /v1/admin/zones/{zone}/keys", "/v1/admin/zones/full.example.net/keys", `{"do":"roll"}`, "unavailable", 503},
		{"POST /v1/admin/import", "/v1/admin/import", `{"x":1}`, "malformed", 400},
		{"POST /v1/admin/import", "/v1/admin/import", `null`, "malformed", 400},
		{"POST /v1/admin/import", "/v1/admin/import", `{"godwit_export":99,"hosts":[]}`, "malformed", 400},
		{"POST /v1/admin/import", "/v1/admin/import?host=..", `{}`, "malformed", 400},
		{"GET /v1/admin/export", "/v1/admin/export?secrets=maybe", "", "malformed", 400},
		{"GET /v1/admin/export", "/v1/admin/export?host=other.dyn.example.com", "", "not-found", 404},
	} {
		got := o.do(c.route, c.path, c.body, c.status)
		if got["code"] != c.code || got["help"] == nil {
			t.Errorf("%s %.80s: %v, want %s and a way out", c.route, c.body, got, c.code)
		}
	}
	if w := o.admin("HEAD", at, ""); w.Code != 405 {
		t.Errorf("HEAD: %d", w.Code)
	}
	if w := o.admin("GET", "/ip", ""); w.Code != 404 {
		t.Errorf("the admin listener serves public doors: %d", w.Code)
	}
}

// Over TCP nobody is let in without the admin token, and no browser's page with it.
func TestAdminLock(t *testing.T) {
	send := func(r *rig, host string, headers ...string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{})), "POST", "/v1/admin/check", nil)
		req.RemoteAddr, req.Host = "127.0.0.1:4000", host
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		r.server.Admin().ServeHTTP(w, req)
		return w
	}
	r := newRig(t, fullAdmin)
	good := "Bearer " + adminToken
	created := r.add(host1, "", ddns.Settings{})
	for _, c := range []struct {
		name, host string
		headers    []string
		code       string // "": let in
	}{
		{"token", "127.0.0.1:8054", []string{"Authorization", good}, ""},
		{"scheme in lower case", "[::1]:8054", []string{"Authorization", "bearer " + adminToken}, ""},
		{"localhost", "localhost:8054", []string{"Authorization", good}, ""},
		{"own URL", "DDNS.example.com", []string{"Authorization", good}, ""},
		{"none", "127.0.0.1", nil, "bad-proof"},
		{"empty", "127.0.0.1", []string{"Authorization", "Bearer "}, "bad-proof"},
		{"wrong", "127.0.0.1", []string{"Authorization", good + "x"}, "bad-proof"},
		{"basic", "127.0.0.1", []string{"Authorization", "Basic " + adminToken}, "bad-proof"},
		{"a host's token", "127.0.0.1", []string{"Authorization", "Bearer " + created.Token.Reveal()}, "bad-proof"},
		{"rebound name", "attacker.example.org", []string{"Authorization", good}, "wrong-host"},
		{"another site's page", "127.0.0.1", []string{"Authorization", good, "Sec-Fetch-Site", "cross-site"}, "cross-origin"},
		{"another origin", "127.0.0.1", []string{"Authorization", good, "Origin", "https://attacker.example.org"}, "cross-origin"},
	} {
		w := send(r, c.host, c.headers...)
		var p api.Problem
		_ = json.Unmarshal(w.Body.Bytes(), &p)
		if p.Code != c.code || (w.Code == 200) != (c.code == "") {
			t.Errorf("%s: %d %s, want %q", c.name, w.Code, w.Body, c.code)
		}
	}
	for name, r := range map[string]*rig{"no token is set": newRig(t)} {
		for _, header := range []string{"", "Bearer", "Bearer ", good} {
			if w := send(r, "127.0.0.1", "Authorization", header); w.Code != 401 {
				t.Errorf("%s: %q gets %d", name, header, w.Code)
			}
		}
	}
	limited := newRig(t, fullAdmin, func(c *ddns.Config, _ *httpserver.Config) { c.Limits.Requests = ddns.Rate{PerHour: 60, Burst: 3} })
	for i := range 5 {
		if w := send(limited, "127.0.0.1", "Authorization", "Bearer guess"); (w.Code == 429) != (i >= 3) {
			t.Errorf("guess %d: %d", i, w.Code)
		}
	}
	if w := send(limited, "127.0.0.1", "Authorization", good); w.Code != 200 {
		t.Errorf("the owner is locked out: %d", w.Code)
	}
}

// What cannot be told whole is broken off, and what did not begin is a problem.
func TestBrokenStreams(t *testing.T) {
	for after, status := range map[string]int{"": 500, "SQLite format 3": 200} {
		r := newRig(t, fullAdmin, func(_ *ddns.Config, c *httpserver.Config) {
			c.Backup = func(_ context.Context, w io.Writer) error {
				if after != "" {
					_, _ = io.WriteString(w, after)
				}
				return errors.New("canary: disk on fire")
			}
		})
		server := httptest.NewUnstartedServer(nil)
		server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			req.Header.Set("Authorization", "Bearer "+adminToken)
			r.server.Admin().ServeHTTP(w, req)
		})
		server.Start()
		resp, err := server.Client().Get(server.URL + "/v1/admin/backup")
		var body []byte
		if err == nil { // a short stream may break off before its header went
			body, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != status {
				t.Errorf("after %q: %d", after, resp.StatusCode)
			}
		}
		if (err != nil) != (after != "") || strings.Contains(string(body), "canary") {
			t.Errorf("after %q: %s, %v", after, body, err)
		}
		server.Close()
		if !strings.Contains(r.log.String(), "disk on fire") {
			t.Error("the log does not have the cause")
		}
	}
}

func TestUntold(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"GET status", "GET zones", "GET backup", "POST check"} {
		method, path, _ := strings.Cut(path, " ")
		if w := r.admin(method, "/v1/admin/"+path, ""); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
