package httpserver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

func TestPaths(t *testing.T) {
	r := newRig(t)
	get := `{"execution_mode":"get"}`
	for _, path := range []string{"/", "//", "///", "/?x=1", "//?x=1"} {
		want(t, r.send("POST", path, home, get), 200, seedJSON("success", home))
	}
	for _, path := range []string{"/ip", "//ip", "/ip/", "//ip//", "/ip?x=%zz", "///ip///"} {
		want(t, r.send("GET", path, home, ""), 200, home+"\n")
	}
	for _, path := range []string{"/x", "/ip/x", "/./ip", "/a/../ip", "/%2Fip", "/ip%2F", "/..", "/IP", "/v1/admin/status", "/metrics"} {
		w := r.send("GET", path, home, "")
		if w.Code != 404 || w.Header().Get("Content-Type") != api.ProblemType || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		rules(t, w.Result())
	}
	want(t, r.send("POST", "/x", home, get), 404,
		`{"type":"/errors/not-found","title":"There is no such thing here","status":404,"code":"not-found","detail":"there is nothing at this path","help":"check the URL"}`+"\n")
}

func TestMethods(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, path, allow string
		status              int
	}{
		{"HEAD", "/", "GET, OPTIONS, POST", 405},
		{"PUT", "/", "GET, OPTIONS, POST", 405},
		{"DELETE", "//", "GET, OPTIONS, POST", 405},
		{"TRACE", "/", "GET, OPTIONS, POST", 405},
		{"POST", "/ip", "GET, HEAD", 405},
		{"OPTIONS", "/ip", "GET, HEAD", 405},
		{"HEAD", "/ip", "", 200},
		{"HEAD", "/healthz", "", 200},
		{"OPTIONS", "*", "", 404},
	} {
		w := r.send(c.method, c.path, home, "")
		if w.Code != c.status || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", c.method, c.path, w.Code, w.Header().Get("Allow"), c.status, c.allow)
		}
		rules(t, w.Result())
	}
	w := r.send("OPTIONS", "/", home, "")
	want(t, w, 204, "")
	wantCORS(t, w)
	// CORS is for the seed's door only.
	for _, path := range []string{"/ip", "/", "/healthz", "/errors/malformed", "/x"} {
		if w := r.send("GET", path, home, ""); w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("GET %s has CORS headers", path)
		}
	}
}

func TestPages(t *testing.T) {
	loading := errors.New("zone dyn.example.com is loading")
	ready := loading
	r := newRig(t, func(_ *ddns.Config, c *httpserver.Config) {
		c.Version, c.URL = "1.2.3.4", "https://ddns.example.com/"
		c.Ready = func() error { return ready }
	})
	front := r.send("GET", "/", home, "")
	if front.Code != 200 || strings.ContainsAny(front.Body.String(), "0123456789") && strings.Contains(front.Body.String(), "1.2.3.4") {
		t.Errorf("the front page: %d %s", front.Code, front.Body)
	}
	rules(t, front.Result())
	for _, c := range api.Codes() {
		w := r.send("GET", "/errors/"+c.Code, home, "")
		if w.Code != 200 || !strings.Contains(w.Body.String(), c.Code+": ") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", c.Code, w.Code, w.Body)
		}
		rules(t, w.Result())
	}
	if w := r.send("GET", "/errors/%3Cscript%3E", home, ""); w.Code != 404 || strings.Contains(w.Body.String(), "<script>") {
		t.Errorf("an unknown code: %d %s", w.Code, w.Body)
	}
	want(t, r.send("GET", "/healthz", home, ""), 200, "ok\n")
	want(t, r.send("GET", "/readyz", home, ""), 503, "not ready: zone dyn.example.com is loading\n")
	ready = nil
	want(t, r.send("GET", "/readyz", home, ""), 200, "ready\n")
	if w := r.send("GET", "/nowhere", home, ""); !strings.Contains(w.Body.String(), `"type":"https://ddns.example.com/errors/not-found"`) {
		t.Errorf("got %s", w.Body)
	}
}

// Every code of the core has a page and a status.
func TestCodes(t *testing.T) {
	for _, code := range []ddns.Code{ddns.Malformed, ddns.BadProof, ddns.NotYours, ddns.NotSource, ddns.AddressNotAllowed, ddns.WrongFamily,
		ddns.TooMany, ddns.Suspended, ddns.RateLimited, ddns.Unavailable, ddns.ConditionFailed, ddns.NotFound, ddns.Exists} {
		if !slices.ContainsFunc(api.Codes(), func(c api.Code) bool { return c.Code == string(code) }) {
			t.Errorf("api.Codes lacks %s", code)
		}
	}
}

// panicStore panics when it is asked for a host.
type panicStore struct{ ddns.Store }

func (panicStore) Host(context.Context, dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	panic("canary in /var/lib")
}

func TestPanicStaysInside(t *testing.T) {
	r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Store = panicStore{c.Store} })
	w := r.set(home, host1, secret)
	if w.Code != 500 || strings.Contains(w.Body.String(), "canary") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if !strings.Contains(r.log.String(), "canary") {
		t.Error("the log does not have the panic")
	}
}

// Behind a Function URL a POST to whatever path is the seed's, as long as no
// other door owns the path; no other method is.
func TestSeedEverywhere(t *testing.T) {
	r := newRig(t, func(_ *ddns.Config, c *httpserver.Config) { c.SeedEverywhere = true })
	const get = `{"execution_mode":"get"}`
	for _, path := range []string{"/", "/prod", "//prod/ddns/", "/a/../b", "/%2e%2e/", "/v1", "/healthz/x"} {
		want(t, r.send("POST", path, home, get), 200, seedJSON("success", home))
		for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS"} {
			if w := r.send(method, path, home, get); path != "/" && w.Code != 404 {
				t.Errorf("%s %s: got %d", method, path, w.Code)
			}
		}
	}
	for _, path := range []string{"/ip", "/healthz", "/errors/method"} {
		if w := r.send("POST", path, home, get); w.Code != 405 {
			t.Errorf("POST %s: got %d", path, w.Code)
		}
	}
	if w := newRig(t).send("POST", "/prod", home, get); w.Code != 404 {
		t.Errorf("POST /prod of a server of its own: got %d", w.Code)
	}
}
