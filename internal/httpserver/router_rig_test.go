package httpserver_test

import (
	"bufio"
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The hosts of a routerRig. All take any address; those whose name does not say
// so take one that the request does not come from.
const (
	strict   = "strict.dyn.example.com"  // its source's address alone, and public ones
	same     = "same.dyn.example.com"    // its source's address alone
	own      = "own.dyn.example.com"     // with a secret of the user's own
	own2     = "own2.dyn.example.com"    // with another
	host2    = "host2.dyn.example.com"   // of the token "both" too
	stopped  = "stopped.dyn.example.com" // suspended
	openHost = "public.dyn.example.com"  // public addresses alone
	away     = "198.51.100.1"            // where requests come from
	away6    = "2001:db8:0:ff00::1"
	ownText  = "a secret of the user's own: +%&"
)

// routerRig is a server with hosts for the doors of routers.
type routerRig struct {
	*rig
	tokens map[string]string // by the names that golden files have for them
	told   requestLog
}

func newRouterRig(t testing.TB, edits ...edit) *routerRig {
	t.Helper()
	o := &routerRig{tokens: map[string]string{}}
	o.rig = newRig(t, append([]edit{o.told.listen, func(_ *ddns.Config, c *httpserver.Config) {
		c.DefaultZone = dnsname.MustParse(zone)
		c.HTTPTokens = true
	}}, edits...)...)
	free := anyAddress()
	free.Free = on()
	publicFree := ddns.Settings{Free: on()}
	for _, h := range []struct {
		name, token, secret string
		ddns.Settings
	}{
		{host1, "host1", "", free}, {host2, "host2", "", free}, {strict, "strict", "", ddns.Settings{}}, {same, "same", "", anyAddress()},
		{own, "own", ownText, free}, {own2, "own2", "another " + ownText, free}, {stopped, "stopped", "", free}, {openHost, "public", "", publicFree},
	} {
		made := o.add(h.name, h.secret, h.Settings)
		o.tokens[h.token] = h.secret
		if h.secret == "" {
			o.tokens[h.token] = made.Token.Reveal()
		}
	}
	for name, spec := range map[string]ddns.TokenSpec{
		"url": {URLToken: true}, "a": {Types: []ddns.Type{ddns.TypeA}}, "acme": {Types: []ddns.Type{ddns.TypeTXT}, URLToken: true},
		"elsewhere": {Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}, "both": {URLToken: true},
	} {
		made, err := o.service.AddToken(t.Context(), dnsname.MustParse(host1), spec)
		if err != nil {
			t.Fatal(err)
		}
		o.tokens[name] = made.Token.Reveal()
		if name == "both" {
			o.share(made.Credential, host2)
		}
	}
	o.tokens["wrong"] = o.tokens["host1"][:34] + "0"
	if _, err := o.service.Set(t.Context(), dnsname.MustParse(stopped), ddns.Settings{Suspended: on()}); err != nil {
		t.Fatal(err)
	}
	return o
}

// share lets a credential serve one more host, with the same rights.
func (o *routerRig) share(c *ddns.Credential, name string) {
	o.t.Helper()
	before, _, err := o.store.Host(o.t.Context(), dnsname.MustParse(name))
	if err != nil {
		o.t.Fatal(err)
	}
	also, next := *c, before.Clone()
	g := c.Grants[0]
	g.Host = before.Name
	also.Grants = append(slices.Clip(c.Grants), g)
	next.Credentials = append(next.Credentials, c.ID)
	next.Generation++
	next.Published = next.Generation
	err = o.store.Save(o.t.Context(), ddns.Write{Before: before, Host: next, Credentials: []*ddns.Credential{&also}, Event: ddns.Event{Time: o.now.Now(), Generation: next.Generation, Outcome: "changed"}})
	if err != nil {
		o.t.Fatal(err)
	}
}

// reset puts every host at the addresses from which each case begins.
func (o *routerRig) reset() {
	o.t.Helper()
	for _, host := range []string{host1, host2, same, own, own2, openHost} {
		name := dnsname.MustParse(host)
		h := o.show(host)
		next := h.Clone()
		next.A, next.AAAA = []netip.Addr{netip.MustParseAddr("192.0.2.1")}, []netip.Addr{netip.MustParseAddr("2001:db8::1")}
		next.Prefix, next.TXT = netip.Prefix{}, nil
		if slices.Equal(h.A, next.A) && slices.Equal(h.AAAA, next.AAAA) && !h.Prefix.IsValid() && len(h.TXT) == 0 {
			continue
		}
		next.Generation++
		next.Published = next.Generation
		if err := o.store.Save(o.t.Context(), ddns.Write{Before: h, Host: next, Event: ddns.Event{Time: o.now.Now(), Generation: next.Generation, Outcome: "changed"}}); err != nil {
			o.t.Fatal(name, err)
		}
	}
	o.now.Move(time.Minute)
}

// state is what all hosts have that is not what they begin with.
func (o *routerRig) state() string {
	var b strings.Builder
	for _, host := range []string{host1, host2, strict, same, own, own2, stopped, openHost} {
		h := o.show(host)
		var texts []string
		for _, t := range h.TXT {
			texts = append(texts, t.Value)
		}
		text := fmt.Sprint(h.A, h.AAAA)
		if h.Prefix.IsValid() {
			text += " prefix " + h.Prefix.String()
		}
		if len(texts) > 0 {
			text += " txt " + fmt.Sprint(texts)
		}
		if text != "[192.0.2.1] [2001:db8::1]" && text != "[] []" || text == "[] []" && host != strict && host != stopped {
			fmt.Fprintf(&b, "%s %s\n", strings.TrimSuffix(host, "."+zone), text)
		}
	}
	return b.String()
}

var (
	basicField = regexp.MustCompile(`\{(basic|BASIC) [^}]*\}`)
	tokenField = regexp.MustCompile(`\{([a-z0-9]+)\}`)
)

// fill puts tokens in: {NAME} is a token, {basic USER:NAME} credentials.
func (o *routerRig) fill(text string) string {
	text = basicField.ReplaceAllStringFunc(text, func(m string) string {
		scheme, rest, _ := strings.Cut(strings.Trim(m, "{}"), " ")
		user, name, _ := strings.Cut(rest, ":")
		return scheme + " " + base64.StdEncoding.EncodeToString([]byte(o.fill(user)+":"+o.tokens[name]))
	})
	return tokenField.ReplaceAllStringFunc(text, func(m string) string {
		if token, ok := o.tokens[strings.Trim(m, "{}")]; ok {
			return token
		}
		return m
	})
}

// raw sends a request that is written as it goes over the wire, but with LF.
func (o *routerRig) raw(source, request string) *httptest.ResponseRecorder {
	o.t.Helper()
	head, body, _ := strings.Cut(o.fill(request), "\n\n")
	if !strings.Contains(head, "\nHost:") && !strings.Contains(head, " HTTP/1.0") {
		head += "\nHost: ddns.example.com"
	}
	if body != "" || strings.HasPrefix(head, "POST") && !strings.Contains(head, "Content-Length") {
		head += fmt.Sprintf("\nContent-Length: %d", len(body))
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
	if err != nil {
		o.t.Fatalf("%v\n%s", err, head)
	}
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(source), 40000).String()
	w := httptest.NewRecorder()
	o.server.Public().ServeHTTP(w, r)
	rules(o.t, w.Result())
	return w
}

// golden runs the cases of a file of testdata and compares what comes of them.
// A case is a title after "## ", remarks, a request, and after "=>" the answer and
// the hosts that are not as they were. A request without "from:" comes from away.
func (o *routerRig) golden(file string) {
	t := o.t.(*testing.T)
	t.Helper()
	path := filepath.Join("testdata", file)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(data), "\n## ")
	var out strings.Builder
	out.WriteString(parts[0])
	for _, part := range parts[1:] {
		title, text, _ := strings.Cut(part, "\n")
		request, want, _ := strings.Cut(text, "\n=>\n")
		request = strings.TrimRight(request, "\n")
		want = strings.TrimRight(want, "\n")
		got := ""
		t.Run(title, func(t *testing.T) {
			defer func(was testing.TB) { o.t = was }(o.t)
			o.t = t
			got = strings.TrimRight(o.goldenCase(request), "\n")
			if got != want && !*update {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
		fmt.Fprintf(&out, "\n## %s\n%s\n=>\n%s\n", title, request, got)
	}
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *routerRig) goldenCase(request string) string {
	o.t.Helper()
	o.reset()
	o.told.take()
	source := away
	var lines []string
	for line := range strings.SplitSeq(request, "\n") {
		if text, ok := strings.CutPrefix(line, "from: "); ok {
			source = text
		} else if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	w := o.raw(source, strings.Join(lines, "\n"))
	reason, _, _ := strings.Cut(w.Header().Get("Godwit-Reason"), ";")
	told := o.told.take()
	// A secret of the user's own that holds for another host is not-yours for its holder alone.
	if reason != "" && !slices.ContainsFunc(told, func(r httpserver.Request) bool {
		return r.Outcome == reason || r.Outcome == "bad-proof" && reason == "not-yours"
	}) {
		o.t.Errorf("refused as %s, and told %+v", reason, told)
	}
	var b strings.Builder
	fmt.Fprintln(&b, w.Code)
	for _, name := range []string{"Allow", "Content-Type", "Godwit-Reason", "Retry-After", "WWW-Authenticate"} {
		if v := w.Header().Get(name); v != "" && v != "text/plain; charset=utf-8" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	body := w.Body.String()
	if body != "" && !strings.HasSuffix(body, "\n") {
		body += "\\\n" // no line feed at the end
	}
	fmt.Fprintf(&b, "\n%s", strings.ReplaceAll(body, "\r", "\\r"))
	if state := o.state(); state != "" {
		fmt.Fprintf(&b, "-- %s", strings.ReplaceAll(strings.TrimSuffix(state, "\n"), "\n", "\n-- ")+"\n")
	}
	return b.String()
}
