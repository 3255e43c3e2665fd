package httpserver_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/httpserver"
)

// The readers below say what a client makes of an answer, each as its source has
// it.

// ddclientReads is ddclient 3.10: line n belongs to host n, and any status but
// 2xx is a failure of all. It tells which hosts are done; nil: it cannot tell.
func ddclientReads(status int, body string, hosts int) []bool {
	done := make([]bool, hosts)
	if status/100 != 2 {
		return done
	}
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if len(lines) != hosts {
		return nil
	}
	for i, line := range lines {
		word, _, _ := strings.Cut(strings.ToLower(line), " ")
		switch word {
		case "good", "nochg":
			done[i] = true
		case "badauth", "notfqdn", "nohost", "abuse", "numhost", "dnserr", "911":
		default:
			return nil
		}
	}
	return done
}

// inadynReads is inadyn 2.10's custom provider: one of its words anywhere in a
// body with status 200 is success, 5xx is tried again, anything else is the end.
func inadynReads(status int, body string) (done bool) {
	return status == 200 && slices.ContainsFunc([]string{"OK", "good", "true", "updated", "success", "nochg"}, func(word string) bool {
		return strings.Contains(strings.ToLower(body), strings.ToLower(word))
	})
}

// opnsenseReads is OPNsense's native backend: any 2xx is success.
func opnsenseReads(status int) (done bool) { return status/100 == 2 }

// openwrtReads is OpenWrt's script with an answer to look for, as for No-IP: curl
// without -f shows it bodies of any status.
func openwrtReads(body string) (done bool) { return regexp.MustCompile("good|nochg").MatchString(body) }

// pfsenseReads is pfSense's custom service with the match that is advised.
func pfsenseReads(body, ip string) (done bool) {
	body = strings.Trim(body, "\t\n\r")
	return body == "good "+ip || body == "nochg "+ip
}

// What requests are put together of.
var (
	routerPaths  = []string{"/nic/update", "/update", "/api/update", "/u", "/u/{url}", "/update/host1/{url}"}
	routerAgents = []string{"ddclient/3.10.0", "inadyn/2.10.0", "OPNsense-dyndns", ""}
	routerAuths  = []string{"", "{basic host1.dyn.example.com:host1}", "{basic x:both}", "{basic host1.dyn.example.com:wrong}", "{basic own.dyn.example.com:own}"}
)

// FuzzRouterDoors: whatever a query or a form says, the status is one of those
// that are documented, and 503 only where inadyn is to try again; every client's
// reader comes to the same end; an answer that is no success has changed nothing,
// and no other host ever changes.
func FuzzRouterDoors(f *testing.F) {
	for _, file := range []string{"dyndns2.golden", "dialects.golden", "recorded.golden"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		for i, m := range regexp.MustCompile(`(?m)^(?:GET|POST) (/[^ ?]*)\??(\S*) HTTP`).FindAllStringSubmatch(string(data), -1) {
			if at := slices.Index(routerPaths, strings.TrimSuffix(m[1], "/")); at >= 0 && i%3 == 0 { // a third will do, for each is a request with a store behind it
				f.Add(uint8(at), uint8(i), uint8(i/3), m[2], "")
			}
		}
	}
	f.Add(uint8(0), uint8(0), uint8(1), "hostname=NAS.Example.ORG.,"+strings.Repeat("a", 64)+".example,xn--,*.x,%00&myip=::ffff:1.2.3.4/120", "%&=&&+=+%2")
	o := newRouterRig(f, func(_ *ddns.Config, c *httpserver.Config) { c.Log = nil })
	f.Fuzz(func(t *testing.T, path, agent, auth uint8, query, form string) {
		if len(query) > 4000 || strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) {
			t.Skip("no request can have it")
		}
		o.holds(t, routerPaths[int(path)%len(routerPaths)], routerAgents[int(agent)%len(routerAgents)], routerAuths[int(auth)%len(routerAuths)], query, form)
	})
}

// TestRouterCombinations holds requests that are put together of all parameters
// and values, as no mutation of octets comes to them, to the same.
func TestRouterCombinations(t *testing.T) {
	o := newRouterRig(t, func(_ *ddns.Config, c *httpserver.Config) { c.Log = nil })
	names := strings.Fields("hostname host host_id domain domains h zone myipv4 ipv4 ip4 myipv6 ipv6 myip6 ip6 myip2 myip ip address " +
		"ip6lanprefix ipv6prefix lanprefix username login password token key offline txt clear verbose system wildcard")
	values := []string{"", ",", ",%09,", "YES", "NO", "true", "-", "auto", "preserve", "198.51.100.7", "198.51.100.7/32", "198.51.100.7/24", "2001:db8::7",
		"2001:db8::7/64", "2001:db8:0:ff00::/56", "2001:db8::/128", "127.0.0.1", "::1", "::ffff:198.51.100.7", "198.51.100.7,2001:db8::7", "6to4", "<ipaddr>", "x",
		"host1.dyn.example.com", "host1", "HOST1.dyn.example.com.", "host2.dyn.example.com", "host1.dyn.example.com,host2.dyn.example.com",
		"host1.dyn.example.com,,a..b,none.dyn.example.com", "own.dyn.example.com,own2.dyn.example.com", strings.Repeat("h.example,", 21),
		"stopped.dyn.example.com", "{url}", "{host1}", "{both}", "{acme}", "{wrong}", "{own}", "%zz", "%00"}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list []string) string { return list[random.IntN(len(list))] }
	for range 400 {
		var query, form []string
		for range random.IntN(6) {
			query = append(query, pick(names)+"="+pick(values))
		}
		for range random.IntN(6) - 3 {
			form = append(form, pick(names)+"="+pick(values))
		}
		path, agent, auth := pick(routerPaths), pick(routerAgents), pick(routerAuths)
		o.holds(t, path, agent, auth, strings.Join(query, "&"), strings.Join(form, "&"))
		if t.Failed() {
			t.Fatalf("%s?%v with %v, %q, %q", path, query, form, agent, auth)
		}
	}
}

// holds sends a request by POST and looks at what comes of it.
func (o *routerRig) holds(t *testing.T, path, agent, auth, query, form string) {
	t.Helper()
	o.t = t
	o.reset()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(o.fill(form)))
	r.URL = &url.URL{Path: o.fill(path), RawQuery: o.fill(query)}
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(away), 40000).String()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", agent)
	if value := o.fill(auth); value != "" {
		r.Header.Set("Authorization", value)
	}
	w := httptest.NewRecorder()
	o.server.Public().ServeHTTP(w, r)
	rules(t, w.Result())
	body, state := w.Body.String(), o.state()
	if !slices.Contains([]int{200, 400, 401, 403, 404, 413, 422, 503}, w.Code) {
		t.Errorf("status %d", w.Code)
	}
	if w.Code == 503 && (agent != "inadyn/2.10.0" || !strings.HasPrefix(body, "dnserr ")) {
		t.Errorf("503 from input alone: %s", body)
	}
	refused := w.Header().Get("Godwit-Reason") != ""
	if (w.Code != 200 || body == "KO") && !refused {
		t.Errorf("%d %q gives no reason", w.Code, body)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(state, "\n"), "\n") {
		name, _, _ := strings.Cut(line, " ")
		if !slices.Contains([]string{"", "host1", "host2", "own"}, name) {
			t.Errorf("%s has changed", line)
		}
	}
	switch {
	case path == "/nic/update" && w.Header().Get("Content-Type") == "text/plain; charset=utf-8":
		readWords(t, w.Code, body, agent, state, refused)
	case w.Code == 413, strings.HasPrefix(body, "OK"), body == "KO" && w.Code == 200:
	case path == "/nic/update", path == "/update":
		if !strings.Contains(body, "\n") {
			t.Errorf("%d %q", w.Code, body)
		}
	case path == "/api/update" && agent == "inadyn/2.10.0" && inadynReads(w.Code, body) == refused:
		t.Errorf("%d %q, and inadyn takes it for the reverse", w.Code, body)
	}
	if refused && w.Code != 200 && state != "" && !strings.Contains(body, "\n") {
		t.Errorf("%d %s has changed %s", w.Code, body, state)
	}
}

// readWords holds an answer of the dyndns2 door to all readers.
func readWords(t *testing.T, status int, body, agent, state string, refused bool) {
	t.Helper()
	if !strings.HasSuffix(body, "\n") {
		t.Errorf("%q does not end with a line feed", body)
	}
	hosts := strings.Count(body, "\n")
	success := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(body, "\n"), "\n") {
		if word, _, _ := strings.Cut(line, " "); word == "good" || word == "nochg" {
			success++
		}
	}
	if success == 0 && state != "" {
		t.Errorf("%d %q, and yet %s", status, body, state)
	}
	if success < hosts != refused {
		t.Errorf("%q, and refused is %v", body, refused)
	}
	done := ddclientReads(status, body, hosts)
	if done == nil {
		t.Errorf("ddclient cannot read %d %q", status, body)
	}
	n := 0
	for _, d := range done {
		if d {
			n++
		}
	}
	if n != success && status == 200 {
		t.Errorf("ddclient takes %d of %q for done", n, body)
	}
	if inadynReads(status, body) != (success > 0) || openwrtReads(body) != (success > 0) {
		t.Errorf("%d %q: inadyn %v, OpenWrt %v", status, body, inadynReads(status, body), openwrtReads(body))
	}
	if agent == "OPNsense-dyndns" && opnsenseReads(status) != (success > 0) {
		t.Errorf("OPNsense takes %d %q", status, body)
	}
	if hosts == 1 && pfsenseReads(body, "198.51.100.7") && success == 0 {
		t.Errorf("pfSense takes %q", body)
	}
}
