//go:build linux

package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"godwit/internal/api"
	"godwit/internal/awstest"
)

// wish is what a client is to bring about.
type wish struct {
	hosts  []string
	user   string // empty: the first host
	token  string
	v4, v6 string // the addresses that the client has; empty: none of that family
	force  bool   // although the client may think that it has done so already
}

func (w wish) login() string {
	if w.user == "" {
		return w.hosts[0]
	}
	return w.user
}

func (w wish) addresses() []string { return strings.Fields(w.v4 + " " + w.v6) }

// lesson is what a client makes of it.
type lesson struct {
	code  int
	alive bool   // it goes on trying
	says  string // a regular expression
	// believes is what the client has put down about each host; "" where it puts
	// nothing down.
	believes string
	sent     int // requests, beside those for its address
}

// program is a client that we did not write.
type program struct {
	name string
	need func(*testing.T) // skips
	// update has the client bring a wish about.
	update   func(r *clientRig, w wish) ran
	believes func(r *clientRig, w wish) string // nil: it puts nothing down
	lessons  map[string]lesson                 // by step of the story
}

// TestClients tells one story with every client: the daemon speaks HTTPS with a
// certificate of a private authority, and the relay counts what is sent. After
// each step, what the client believes and what DNS shows are compared.
func TestClients(t *testing.T) {
	for _, p := range everyProgram() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.need(t)
			p.story(t)
		})
	}
}

func everyProgram() []program {
	return []program{ddclient(), inadyn(), curl(), wget(), busyboxWget(), openwrtWget(), openwrtCurl()}
}

// TestClientsPlainHTTP: over plain HTTP on loopback the everyday request of each
// client passes net/http by, and is answered as over HTTPS.
func TestClientsPlainHTTP(t *testing.T) {
	r := newClientRig(t, false)
	r.scheme = "http"
	for i, p := range everyProgram() {
		t.Run(p.name, func(t *testing.T) {
			p.need(t)
			r := r.in(t)
			w := wish{hosts: []string{fmt.Sprintf("host%d.%s", i, zone)}, v4: "127.0.0.1", force: true}
			w.token = r.add(w.hosts[0])
			p.short(t, r, w, func() string { return r.shows(w.hosts[0]) })
		})
	}
}

// TestClientsLambda: the same clients at a Function URL before the function in AWS.
func TestClientsLambda(t *testing.T) {
	s := deploy(t, awstest.StartMoto(t), nil)
	ca, cert, key, err1 := makeCertificates("localhost", net.IPv4(127, 0, 0, 1))
	pair, err2 := tls.X509KeyPair(cert, key)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(functionURL(t, s.function, home1))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	for i, p := range everyProgram() {
		t.Run(p.name, func(t *testing.T) {
			p.need(t)
			r := &clientRig{TB: t, scheme: "https", https: server.Listener.Addr().(*net.TCPAddr).Port, dir: t.TempDir()}
			r.ca = r.write("ca.pem", string(ca))
			w := wish{hosts: []string{fmt.Sprintf("host%d.%s", i, zone)}, v4: home1, force: true}
			var made api.Created
			s.must(&made, "", "host", "add", w.hosts[0])
			w.token = made.Token
			p.short(t, r, w, func() string { return strings.TrimPrefix(s.shows(w.hosts[0], "A"), "60 ") })
		})
	}
}

// short is a story for a host that has no address, at a server that is not asked
// where the client is.
func (p program) short(t *testing.T, r *clientRig, w wish, shows func() string) {
	t.Helper()
	r.write("dd0.cache", "") // which ddclient is to forget
	wrong := w
	wrong.token = w.token[:len(w.token)-1] + "0"
	for _, c := range []struct {
		lesson string
		w      wish
		shows  string
	}{{"wrong password", wrong, ""}, {"first update", w, w.v4}, {"nothing new, forced", w, w.v4}} {
		got, want := p.update(r, c.w), p.lessons[c.lesson]
		says := strings.NewReplacer(`198\.51\.100\.7`, regexp.QuoteMeta(w.v4), `nas\.`, `host\d\.`).Replace(want.says)
		if shown := shows(); got.code != want.code || got.alive != want.alive || !regexp.MustCompile(says).MatchString(got.said) || shown != c.shows {
			t.Errorf("%s: exit %d, alive %v, and DNS shows %q; want %d, %v, %q, and that it says %q:\n%s", c.lesson, got.code, got.alive, shown, want.code, want.alive, c.shows, says, got.said)
		}
	}
}

// needs is needProgram for several.
func needs(names ...string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		for _, name := range names {
			needProgram(t, name)
		}
	}
}

// TestClientCertificates has each client speak to the daemon's own TLS, and then
// refuse it because another authority is the one that it was told to trust.
func TestClientCertificates(t *testing.T) {
	r := newClientRig(t, false)
	other, _, _, err := makeCertificates("localhost", net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	otherCA := r.write("other.pem", string(other))
	for i, p := range everyProgram() {
		t.Run(p.name, func(t *testing.T) {
			p.need(t)
			r := r.in(t)
			w := wish{hosts: []string{fmt.Sprintf("host%d.%s", i, zone)}, v4: "127.0.0.1"}
			w.token = r.add(w.hosts[0])
			ca := r.ca
			r.ca = otherCA
			if got := p.update(r, w); r.shows(w.hosts[0]) != "" || strings.Contains(r.daemon.output(), "host="+w.hosts[0]+" door=dyndns2") {
				t.Errorf("it trusts another authority:\n%s", got.said)
			}
			r.ca, r.dir = ca, t.TempDir()
			if got := p.update(r, w); got.code != 0 || got.alive || r.shows(w.hosts[0]) != "127.0.0.1" {
				t.Errorf("exit %d, and DNS shows %q:\n%s", got.code, r.shows(w.hosts[0]), got.said)
			}
		})
	}
}

func (p program) story(t *testing.T) {
	const nas, first, second, both, lan, busy = "nas." + zone, "first." + zone, "second." + zone, "both." + zone, "public." + zone, "busy." + zone
	r := newClientRig(t, true)
	token := r.add(nas)
	step := func(name string, w wish, show ...string) {
		t.Helper()
		r.relay.move(w.addresses()[0])
		got := p.update(r, w)
		want, known := p.lessons[name]
		believes := ""
		if p.believes != nil {
			believes = p.believes(r, w)
		}
		sent := r.relay.took()
		if !known || got.code != want.code || got.alive != want.alive || believes != want.believes || len(sent) != want.sent || !regexp.MustCompile(want.says).MatchString(got.said) {
			t.Errorf("%s:\n got exit %d, alive %v, believes %q, %d requests\nwant exit %d, alive %v, believes %q, %d requests, and that it says %q\nit says:\n%s\nit sent:\n%s",
				name, got.code, got.alive, believes, len(sent), want.code, want.alive, want.believes, want.sent, want.says, got.said, strings.Join(sent, ""))
		}
		for i, host := range w.hosts {
			if shown := r.shows(host); shown != show[i] {
				t.Errorf("%s: DNS shows %q for %s, want %q", name, shown, host, show[i])
			}
		}
	}

	w := wish{hosts: []string{nas}, token: token, v4: "198.51.100.7"}
	step("first update", w, "198.51.100.7")
	step("nothing new", w, "198.51.100.7")
	w.force = true
	step("nothing new, forced", w, "198.51.100.7")
	w.force, w.v4 = false, "198.51.100.8"
	step("change", w, "198.51.100.8")

	r.down()
	w.v4 = "198.51.100.9"
	r.relay.move(w.v4)
	if got, want := p.update(r, w), p.lessons["server down"]; got.code != want.code || got.alive != want.alive || !regexp.MustCompile(want.says).MatchString(got.said) {
		t.Errorf("server down: exit %d, alive %v; want %d, %v, and that it says %q:\n%s", got.code, got.alive, want.code, want.alive, want.says, got.said)
	}
	r.up()
	step("server back", w, "198.51.100.9")

	wrong := w
	wrong.token, wrong.v4 = strings.Repeat("a", 8)+"-"+strings.Repeat("b", 26), "198.51.100.10"
	step("wrong password", wrong, "198.51.100.9")
	// Which hosts there are is nobody's business: with a password that does not hold this is no other than the one before.
	wrong.hosts, wrong.user = []string{"nobody." + zone}, ""
	step("wrong password, unknown host", wrong, "")
	r.add(first)
	step("another's host", wish{hosts: []string{first}, user: nas, token: token, v4: "198.51.100.10"}, "")
	step("unknown host", wish{hosts: []string{"nobody." + zone}, user: nas, token: token, v4: "198.51.100.10"}, "")

	r.add(second)
	pair := wish{hosts: []string{first, second}, token: r.token("host", "token", "add", first, "--host", second), v4: "198.51.100.14"}
	step("two names", pair, pair.v4, pair.v4)
	step("both families", wish{hosts: []string{both}, token: r.add(both, "--source", "free"), v4: "198.51.100.11", v6: "2001:db8::11"}, "198.51.100.11 2001:db8::11")
	step("address refused", wish{hosts: []string{lan}, token: r.token("host", "add", lan), v4: "198.51.100.12"}, "")
	token = r.add(busy)
	step("too often", wish{hosts: []string{busy}, token: token, v4: "198.51.100.13"}, r.exhaust(busy, token))
}
