package httpserver_test

import (
	"net/netip"
	"strings"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/httpserver"
)

func proxies(texts ...string) edit {
	return func(_ *ddns.Config, c *httpserver.Config) {
		for _, text := range texts {
			c.TrustedProxies = append(c.TrustedProxies, netip.MustParsePrefix(text))
		}
	}
}

// trust.md section 2.3, first row: without a listed proxy no header counts.
func TestForgedHeaders(t *testing.T) {
	forged := []string{
		"X-Forwarded-For", "203.0.113.9", "X-Forwarded-For", "203.0.113.10, 203.0.113.11", "X-Forwarded-For", "[2001:db8::1]:443",
		"X-Real-IP", "203.0.113.9", "X-Real-Ip", "203.0.113.9", "Forwarded", `for="[2001:db8::1]:443";proto=https`,
		"CF-Connecting-IP", "203.0.113.9", "True-Client-IP", "203.0.113.9", "X-Client-IP", "203.0.113.9", "X-Cluster-Client-IP", "203.0.113.9",
		"Fastly-Client-IP", "203.0.113.9", "X-Original-Forwarded-For", "203.0.113.9",
	}
	for name, r := range map[string]*rig{"no list": newRig(t), "another listed": newRig(t, proxies("192.0.2.0/24", "2001:db8:ffff::/48"))} {
		t.Run(name, func(t *testing.T) {
			for _, source := range []string{home, "2001:db8::5"} {
				want(t, r.send("GET", "/ip", source, "", forged...), 200, source+"\n")
				want(t, r.send("POST", "/", source, `{"execution_mode":"get"}`, forged...), 200, seedJSON("success", source))
			}
		})
	}
	// A listed proxy is believed in X-Forwarded-For, and in nothing else.
	r := newRig(t, proxies("192.0.2.1/32"))
	want(t, r.send("GET", "/ip", "192.0.2.1", "", append(forged[6:], "X-Forwarded-For", home)...), 200, home+"\n")
}

func TestForwardedFor(t *testing.T) {
	r := newRig(t, proxies("192.0.2.0/24", "2001:db8:ffff::/48"))
	for _, c := range []struct {
		name, peer string
		headers    []string
		source     string // "": refused
	}{
		{"one hop", "192.0.2.1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"over IPv6", "2001:db8:ffff::1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"mapped peer", "::ffff:192.0.2.1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"right-most untrusted", "192.0.2.1", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		{"past a listed one", "192.0.2.1", []string{"203.0.113.9, 198.51.100.7, 192.0.2.2"}, "198.51.100.7"},
		{"two headers", "192.0.2.1", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7"},
		{"two headers, past one", "192.0.2.1", []string{"198.51.100.7", "192.0.2.2,192.0.2.3"}, "198.51.100.7"},
		{"all listed", "192.0.2.1", []string{"192.0.2.9, 192.0.2.2"}, "192.0.2.9"},
		{"with a port", "192.0.2.1", []string{"198.51.100.7:4711"}, "198.51.100.7"},
		{"brackets", "192.0.2.1", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"brackets and port", "192.0.2.1", []string{"[2001:db8::7]:443"}, "2001:db8::7"},
		{"IPv6", "192.0.2.1", []string{"2001:DB8:0::7"}, "2001:db8::7"},
		{"mapped", "192.0.2.1", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"mapped and listed", "192.0.2.1", []string{"198.51.100.7, ::ffff:192.0.2.2"}, "198.51.100.7"},
		{"zone", "192.0.2.1", []string{"fe80::1%eth0"}, "fe80::1"},
		{"spaces", "192.0.2.1", []string{" 203.0.113.9 ,\t198.51.100.7 "}, "198.51.100.7"},
		{"junk that nobody reads", "192.0.2.1", []string{"<script>, 198.51.100.7"}, "198.51.100.7"},

		{"no header", "192.0.2.1", nil, ""},
		{"empty", "192.0.2.1", []string{""}, ""},
		{"empty hop", "192.0.2.1", []string{"198.51.100.7,"}, ""},
		{"name", "192.0.2.1", []string{"example.org"}, ""},
		{"unknown", "192.0.2.1", []string{"unknown"}, ""},
		{"leading zero", "192.0.2.1", []string{"0177.0.0.1"}, ""},
		{"three parts", "192.0.2.1", []string{"1.2.3"}, ""},
		{"IPv4 in brackets", "192.0.2.1", []string{"[198.51.100.7]"}, ""},
		{"bad port", "192.0.2.1", []string{"198.51.100.7:http"}, ""},
		{"no port", "192.0.2.1", []string{"198.51.100.7:"}, ""},
		{"open bracket", "192.0.2.1", []string{"[2001:db8::7"}, ""},
		{"behind the bracket", "192.0.2.1", []string{"[2001:db8::7]443"}, ""},
		{"second header bad", "192.0.2.1", []string{"198.51.100.7", "x"}, ""},
		{"too many hops", "192.0.2.1", []string{"198.51.100.7" + strings.Repeat(",192.0.2.2", 40)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			for _, h := range c.headers {
				headers = append(headers, "X-Forwarded-For", h)
			}
			w := r.send("GET", "/ip", c.peer, "", headers...)
			if c.source != "" {
				want(t, w, 200, c.source+"\n")
				return
			}
			if w.Code != 400 || strings.Contains(w.Body.String(), "192.0.2") {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if w := r.send("POST", "/", c.peer, `{"execution_mode":"get"}`, headers...); w.Code != 400 {
				t.Errorf("seed: got %d %s", w.Code, w.Body)
			}
		})
	}
}

// An update behind a proxy is made for the address that the proxy names.
func TestUpdateBehindProxy(t *testing.T) {
	r := newRig(t, proxies("192.0.2.1/32"))
	r.add(host1, secret, ddns.Settings{})
	w := r.send("POST", "/", "192.0.2.1", setBody(host1, goodHash), "X-Forwarded-For", home)
	want(t, w, 201, seedJSON("success", isSet(host1+".", home)))
}

// A platform that makes RemoteAddr itself may spell IPv6 in its own way. It is
// the same address, shown as we spell it, and a seed hash over either spelling
// is good.
func TestOwnSpelling(t *testing.T) {
	const plain = "2a00:1450:4001:82b::200e"
	for _, spelling := range []string{"2a00:1450:4001:82b:0:0:0:200e", "2A00:1450:4001:082B:0000:0000:0000:200E", plain} {
		r := newRig(t)
		r.add(host1, secret, ddns.Settings{})
		remote := "[" + spelling + "]:0"
		want(t, r.send("GET", "/ip", remote, ""), 200, plain+"\n")
		for _, hashed := range []string{spelling, plain} {
			body := setBody(host1, ddns.SeedHash(hashed, host1, ddns.NewSecret(secret)))
			if w := r.send("POST", "/", remote, body); w.Code/100 != 2 {
				t.Errorf("from %s, hash over %s: got %d %s", spelling, hashed, w.Code, w.Body)
			}
		}
		if h := r.show(host1); len(h.AAAA) != 1 || h.AAAA[0].String() != plain || h.Generation != 2 {
			t.Errorf("from %s: AAAA %v, generation %d", spelling, h.AAAA, h.Generation)
		}
	}
	r := newRig(t)
	r.add(host1, secret, ddns.Settings{})
	want(t, r.send("POST", "/", "[::ffff:"+home+"]:0", setBody(host1, goodHash)), 201, seedJSON("success", isSet(host1+".", home)))
}
