package httpserver_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

// TestDyndns2Golden: each row of the door's tables in docs/protocols.md.
func TestDyndns2Golden(t *testing.T) { newRouterRig(t).golden("dyndns2.golden") }

// TestDialectsGolden: the doors with words of their own, and the echo.
func TestDialectsGolden(t *testing.T) { newRouterRig(t).golden("dialects.golden") }

// TestRecordedGolden: requests as routers and programs send them.
func TestRecordedGolden(t *testing.T) { newRouterRig(t).golden("recorded.golden") }

// successWords are what one client or another takes for success, wherever it
// stands in an answer and in whatever case: inadyn, OpenWrt's scripts.
var successWords = []string{"good", "nochg", "ok", "true", "updated", "unchanged", "success"}

// TestRefusalsHoldNoSuccess: no line that refuses looks like success to a client.
func TestRefusalsHoldNoSuccess(t *testing.T) {
	lines := 0
	for _, file := range []string{"dyndns2.golden", "dialects.golden", "recorded.golden"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "\n## ")[1:] {
			_, answer, _ := strings.Cut(part, "\n=>\n")
			head, body, _ := strings.Cut(answer, "\n\n")
			// Who is refused with a 401, or in JSON, does not read words.
			if !strings.Contains(head, "Godwit-Reason") || strings.HasPrefix(head, "401") || strings.Contains(head, "json") {
				continue
			}
			for line := range strings.SplitSeq(strings.Trim(body, "\n"), "\n") {
				if strings.HasPrefix(line, "good ") || strings.HasPrefix(line, "-- ") {
					continue
				}
				lines++
				for _, word := range successWords {
					if strings.Contains(strings.ToLower(line), word) {
						t.Errorf("%q holds %q", line, word)
					}
				}
			}
		}
	}
	if lines < 50 {
		t.Errorf("only %d lines", lines)
	}
}

// doors are an update of host1 at each door, with a token that may be in a URL.
var doors = map[string]string{
	"dyndns2":   "GET /nic/update?hostname=HOST&myip=198.51.100.7 HTTP/1.1\nAuthorization: {basic x:TOKEN}",
	"query":     "GET /nic/update?hostname=HOST&myip=198.51.100.7&password={TOKEN} HTTP/1.1",
	"form":      "POST /nic/update HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\nhostname=HOST&myip=198.51.100.7&password={TOKEN}",
	"duckdns":   "GET /update?domains=HOST&token={TOKEN}&ip=198.51.100.7 HTTP/1.1",
	"path":      "GET /update/HOST/{TOKEN}/198.51.100.7 HTTP/1.1",
	"dynv6":     "GET /api/update?zone=HOST&token={TOKEN}&ipv4=198.51.100.7 HTTP/1.1",
	"token-url": "GET /u/{TOKEN}?h=HOST&ip=198.51.100.7 HTTP/1.1",
}

func at(door, host, token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(doors[door], "HOST", host), "TOKEN", token)
}

// whole is an answer with all its fields.
func whole(w *httptest.ResponseRecorder) string { return fmt.Sprint(w.Code, w.Header(), w.Body) }

// TestStrangersLearnNothing: whether there is such a host or not, a wrong token
// gets the same answer to the byte, and a right one of another host too.
func TestStrangersLearnNothing(t *testing.T) {
	o := newRouterRig(t)
	for door := range doors {
		for _, token := range []string{"wrong", "url"} {
			there, none := whole(o.raw(away, at(door, host2, token))), whole(o.raw(away, at(door, "none.dyn.example.com", token)))
			if there != none {
				t.Errorf("%s with the %s token:\n%s\n%s", door, token, there, none)
			}
		}
	}
}

// TestRouterTroubles: what passes is never a 429, which ends inadyn, and says
// when to come again.
func TestRouterTroubles(t *testing.T) {
	broken := &brokenStore{}
	o := newRouterRig(t, func(c *ddns.Config, _ *httpserver.Config) {
		c.Limits.Changes = ddns.Rate{PerHour: 1, Burst: 1}
		broken.Store = c.Store
		c.Store = broken
	})
	words := map[string]string{"duckdns": "KO", "path": "KO", "dynv6": "CODE", "token-url": "CODE"}
	check := func(door, code string, w *httptest.ResponseRecorder) {
		t.Helper()
		body := words[door]
		if body == "" {
			body = "911 CODE\n"
		}
		body = strings.ReplaceAll(body, "CODE", code)
		if w.Code != 503 || w.Body.String() != body || w.Header().Get("Godwit-Reason") != code || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %s", door, whole(w))
		}
	}
	if w := o.raw(away, at("dyndns2", host1, "url")); w.Code != 200 {
		t.Fatal(whole(w))
	}
	for door := range doors {
		check(door, "rate-limited", o.raw(away, strings.ReplaceAll(at(door, host1, "url"), "198.51.100.7", "198.51.100.8")))
	}
	for _, agent := range []string{"inadyn/2.10", "OPNsense-dyndns", "curl/8", "ddclient/3"} {
		check("dyndns2", "rate-limited", o.raw(away, strings.Replace(at("dyndns2", host1, "url"), "198.51.100.7", "198.51.100.8", 1)+"\nUser-Agent: "+agent))
	}
	// One of two: the other's line counts.
	w := o.raw(away, strings.Replace(at("dyndns2", host1+","+host2, "both"), "198.51.100.7", "198.51.100.8", 1))
	if w.Code != 200 || w.Body.String() != "911 rate-limited\ngood 198.51.100.8\n" || w.Header().Get("Retry-After") != "" {
		t.Error(whole(w))
	}
	// All refused, for different reasons: who reads words reads them, others come again.
	for agent, status := range map[string]int{"ddclient/3": 200, "curl/8": 503, "inadyn/2.10": 503} {
		w := o.raw(away, strings.Replace(at("dyndns2", host1+","+strict, "both"), "198.51.100.7", "198.51.100.8", 1)+"\nUser-Agent: "+agent)
		if w.Code != status || w.Body.String() != "911 rate-limited\nnohost not-yours\n" || (w.Header().Get("Retry-After") != "") != (status == 503) {
			t.Error(whole(w))
		}
	}
	o.now.Move(time.Hour)
	broken.writes = true
	for door := range doors {
		check(door, "unavailable", o.raw(away, strings.ReplaceAll(at(door, host1, "url"), "198.51.100.7", "198.51.100.9")))
	}
	broken.reads = true
	for door := range doors {
		check(door, "unavailable", o.raw(away, at(door, host1, "url")))
	}
	w = o.raw(away, at("dyndns2", host1+","+host2, "both"))
	if w.Code != 503 || w.Body.String() != "911 unavailable\n911 unavailable\n" {
		t.Error(whole(w))
	}
}

// TestRouterRequestLimit: the limit of a source is told as 911 too.
func TestRouterRequestLimit(t *testing.T) {
	o := newRouterRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Limits.Requests = ddns.Rate{PerHour: 1, Burst: 1} })
	o.raw(away, at("dyndns2", host1, "url"))
	if w := o.raw(away, at("dyndns2", host1, "url")); w.Code != 503 || w.Body.String() != "911 rate-limited\n" {
		t.Error(whole(w))
	}
}

// TestRouterPlainHTTP: a token that others can read is not taken, and whoever
// looks is told what to do.
func TestRouterPlainHTTP(t *testing.T) {
	o := newRouterRig(t, func(_ *ddns.Config, c *httpserver.Config) { c.HTTPTokens = false })
	for door := range doors {
		o.told.take()
		w := o.raw(away, at(door, host1, "url"))
		if w.Code == 200 && w.Body.String() != "KO" || w.Header().Get("Godwit-Reason") == "" {
			t.Errorf("%s: %s", door, whole(w))
		}
		told := o.told.take()
		if len(told) != 1 || told[0].Outcome != "bad-proof" || !strings.Contains(told[0].Why, "plain HTTP") || !strings.Contains(told[0].Fix, "--http-tokens") {
			t.Errorf("%s: told %+v", door, told)
		}
	}
	w := o.raw(away, at("dyndns2", host1, "url"))
	if w.Code != 401 || w.Body.String() != "badauth\n" || !strings.Contains(w.Header().Get("Godwit-Reason"), "https") {
		t.Error(whole(w))
	}
	if !strings.Contains(o.log.String(), "--http-tokens") {
		t.Errorf("the log does not say what to do:\n%s", o.log)
	}
	// Without a password there is nothing to be read: it is asked for as ever.
	if w := o.raw(away, "GET /nic/update?hostname="+host1+" HTTP/1.1"); w.Code != 401 || w.Header().Get("Godwit-Reason") != "bad-proof" {
		t.Error(whole(w))
	}
	r := httptest.NewRequest("GET", "/nic/update?hostname="+host1+"&myip=198.51.100.7", nil)
	r.TLS = &tls.ConnectionState{}
	r.SetBasicAuth("x", o.tokens["host1"])
	tw := httptest.NewRecorder()
	o.server.Public().ServeHTTP(tw, r)
	if tw.Code != 200 || tw.Body.String() != "good 198.51.100.7\n" {
		t.Error(whole(tw))
	}
}

// TestRouterLogBounds: what is refused before any proof is looked at fills no log,
// and is told all the same.
func TestRouterLogBounds(t *testing.T) {
	for _, tokens := range []bool{true, false} {
		o := newRouterRig(t, func(c *ddns.Config, f *httpserver.Config) {
			c.Limits.Requests = ddns.Rate{PerHour: 1, Burst: 3}
			f.HTTPTokens = tokens
		})
		n := 0
		for door := range doors {
			n++
			o.told.take()
			before := strings.Count(o.log.String(), "level=INFO msg=update")
			for range 10 {
				o.raw(fmt.Sprintf("198.51.100.%d", n), at(door, "a..b", "url"))
			}
			if told, lines := len(o.told.take()), strings.Count(o.log.String(), "level=INFO msg=update")-before; told != 10 || lines != 3 {
				t.Errorf("%s: told %d times, %d lines in the log", door, told, lines)
			}
		}
	}
}

// TestRouterSourceUnknown: behind a proxy that does not say.
func TestRouterSourceUnknown(t *testing.T) {
	o := newRouterRig(t, func(_ *ddns.Config, c *httpserver.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	})
	o.reset()
	for door := range doors {
		if w := o.raw("203.0.113.1", at(door, host1, "url")); w.Code >= 500 || w.Header().Get("Godwit-Reason") != "malformed" {
			t.Errorf("%s: %s", door, whole(w))
		}
	}
	if w := o.raw("203.0.113.1", at("dyndns2", host1, "url")); w.Body.String() != "dnserr malformed\n" {
		t.Error(whole(w))
	}
	if o.state() != "" {
		t.Error(o.state())
	}
}

// TestManyHosts: a line for each name, however many, and no work for any.
func TestManyHosts(t *testing.T) {
	o := newRouterRig(t)
	names := strings.Repeat("h.dyn.example.com,", 10000)
	w := o.raw(away, at("dyndns2", names, "url"))
	if w.Code != 200 || w.Body.String() != strings.Repeat("numhost too-many\n", 10000) {
		t.Errorf("%d, %d octets", w.Code, w.Body.Len())
	}
	if w := o.raw(away, at("duckdns", names, "url")); w.Code != 200 || w.Body.String() != "KO" {
		t.Error(w.Code, w.Body)
	}
	if w := o.raw(away, at("form", names, "url")); w.Code != 413 || w.Header().Get("Godwit-Reason") != "too-large" {
		t.Error(whole(w))
	}
}

// TestFormBroken: a body that breaks off changes nothing.
func TestFormBroken(t *testing.T) {
	o := newRouterRig(t)
	body := strings.NewReader("hostname=" + host1 + "&myip=")
	r := httptest.NewRequest("POST", "/nic/update", http.MaxBytesReader(nil, io.NopCloser(body), 20))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(host1, o.tokens["host1"])
	w := httptest.NewRecorder()
	o.server.Public().ServeHTTP(w, r)
	if w.Code != 400 || w.Header().Get("Godwit-Reason") != "malformed" {
		t.Error(whole(w))
	}
}

// TestRouterSecretsStay: nothing of a token or a password is in the log or in what
// is told, wherever in a request it stands.
func TestRouterSecretsStay(t *testing.T) {
	o := newRouterRig(t)
	for _, file := range []string{"dyndns2.golden", "dialects.golden", "recorded.golden"} {
		o.golden(file)
	}
	o.told.take()
	for door := range doors {
		for _, token := range []string{"url", "wrong", "host1"} {
			o.raw(away, at(door, host1, token))
			o.raw(away, at(door, "{"+token+"}", token))
			o.raw(away, at(door, "{"+token+"}.dyn.example.com", "wrong"))
		}
	}
	told := fmt.Sprintf("%+v", o.told.take())
	for name, secret := range o.tokens {
		if len(secret) > 9 {
			secret = secret[9:] // the ID may be seen
		}
		// A name below the zone is a name, whatever it looks like.
		log := strings.ReplaceAll(o.log.String(), secret+".dyn.example.com", "")
		if name != "wrong" && secret != "" && (strings.Contains(log, secret) || strings.Contains(strings.ReplaceAll(told, secret+".dyn.example.com", ""), secret)) {
			t.Errorf("the secret of %s is in the log or told", name)
		}
	}
	if !strings.Contains(o.log.String(), "door=dyndns2 outcome=bad-proof") {
		t.Error("a refusal is not in the log")
	}
}

// TestLoopbackLeavesNoTrace: what is ignored is no refusal in the host's history.
func TestLoopbackLeavesNoTrace(t *testing.T) {
	o := newRouterRig(t)
	before := o.show(openHost)
	w := o.raw(away, strings.Replace(at("dyndns2", openHost, "public"), "198.51.100.7", "127.0.0.1", 1))
	if w.Body.String() != "good 127.0.0.1\n" {
		t.Fatal(whole(w))
	}
	if h := o.show(openHost); h.Refusals != before.Refusals || h.Generation != before.Generation {
		t.Errorf("refusals %d, generation %d", h.Refusals, h.Generation)
	}
}

// TestOneUpdateEach: a name that is there twice is one update.
func TestOneUpdateEach(t *testing.T) {
	o := newRouterRig(t)
	before := o.show(host1).Generation
	w := o.raw(away, at("dyndns2", strings.Repeat(host1+",", 20), "url"))
	if w.Body.String() != strings.Repeat("good 198.51.100.7\n", 20) || o.show(host1).Generation != before+1 {
		t.Error(o.show(host1).Generation-before, whole(w))
	}
	events, err := o.store.Events(t.Context(), o.show(host1).Name)
	if err != nil || !slices.ContainsFunc(events, func(e ddns.Event) bool { return e.Door == "dyndns2" && e.Source.String() == away }) {
		t.Errorf("%v in the history: %v", events, err)
	}
}

// TestNoDefaultZone: with several zones and none that is said, a label is no host.
func TestNoDefaultZone(t *testing.T) {
	o := newRouterRig(t, func(_ *ddns.Config, c *httpserver.Config) { c.DefaultZone = dnsname.Name{} })
	if w := o.raw(away, at("duckdns", "host1", "url")); w.Body.String() != "KO" {
		t.Error(whole(w))
	}
	if w := o.raw(away, at("duckdns", host1, "url")); w.Body.String() != "OK" {
		t.Error(whole(w))
	}
}
