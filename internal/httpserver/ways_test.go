package httpserver_test

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"

	"godwit/internal/ddns"
)

// asked is one thing to ask for.
type asked struct {
	verb  string // set or remove
	types string // that it is about
	value string
}

// way is one way to ask at one door. make returns nil for what cannot be asked so.
type way struct {
	what  string
	proof string // seed, key, text, url, account
	make  func(h *holder, name string, a asked) *http.Request
}

const here, here6 = "192.0.2.1", "2001:db8:ffff::1"

func request(method, target, source, body string, fields ...string) *http.Request {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(source), 40000).String()
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	return req
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// spoken are an asked one's parameters in the words of a door, by "verb types".
func spoken(a asked, words map[string]string) (url.Values, bool) {
	text, ok := words[a.verb+" "+a.types]
	if !ok {
		return nil, false
	}
	q, err := url.ParseQuery(text)
	if err != nil {
		panic(err)
	}
	for name := range q {
		if q.Get(name) == "V" {
			q.Set(name, a.value)
		}
	}
	return q, true
}

func matrixWays() []way {
	dyndns2 := map[string]string{"set A": "myip=V", "set AAAA": "myipv6=V", "set prefix": "myip=preserve&ip6lanprefix=V",
		"set A prefix": "ip6lanprefix=V", // no address: the source's
		"remove A":     "myipv4=-", "remove AAAA": "myipv6=-", "remove prefix": "myip=preserve&ip6lanprefix=-", "remove A AAAA": "offline=YES"}
	duck := map[string]string{"set A": "ip=V", "set AAAA": "ipv6=V", "set TXT": "txt=V", "remove A AAAA": "clear=true", "remove TXT": "txt=V&clear=true"}
	dynv6 := map[string]string{"set A": "ipv4=V", "set AAAA": "ipv6=V", "set prefix": "ipv6prefix=V", "remove A": "ipv4=-", "remove AAAA": "ipv6=-",
		"remove prefix": "ipv6prefix=-"}
	tokenURL := map[string]string{"set A": "ip=V", "set AAAA": "address=V", "remove A AAAA": "ip=-"}
	body := map[string]string{"set A": "a", "set AAAA": "aaaa", "set A prefix": "prefix", "remove A": "a", "remove AAAA": "aaaa"}
	state := func(a asked) (string, bool) {
		member, ok := body[a.verb+" "+a.types]
		switch {
		case a.verb == "remove":
			return fmt.Sprintf(`{"%s":[]}`, member), ok
		case member == "prefix":
			return fmt.Sprintf(`{"prefix":%q}`, a.value), ok
		}
		return fmt.Sprintf(`{"%s":[%q]}`, member, a.value), ok
	}
	// query makes a way that says all in a query.
	query := func(what, proof, path string, words map[string]string, more func(h *holder, name string, q url.Values) (path string, fields []string)) way {
		return way{what, proof, func(h *holder, name string, a asked) *http.Request {
			q, ok := spoken(a, words)
			if !ok {
				return nil
			}
			add, fields := more(h, name, q)
			return request("GET", path+add+"?"+q.Encode(), here, "", fields...)
		}}
	}
	return []way{
		{"seed", "seed", func(h *holder, name string, a asked) *http.Request {
			if a.verb != "set" || a.types != "A" && a.types != "AAAA" {
				return nil
			}
			return request("POST", "/", a.value, setBody(name, ddns.SeedHash(a.value, name, ddns.NewSecret(h.text))))
		}},
		{"signed", "key", func(h *holder, name string, a asked) *http.Request {
			text, ok := state(a)
			if !ok {
				return nil
			}
			return h.device.signed("PUT", "/v1/hosts/"+name+"/addresses", here, text, 0)
		}},
		{"bearer", "text", func(h *holder, name string, a asked) *http.Request {
			text, ok := state(a)
			if !ok {
				return nil
			}
			return request("PUT", "/v1/hosts/"+name+"/addresses", here, text, "Authorization", "Bearer "+h.text)
		}},
		query("dyndns2, Basic with the host", "text", "/nic/update", dyndns2, func(h *holder, name string, q url.Values) (string, []string) {
			q.Set("hostname", name)
			return "", []string{"Authorization", basic(name, h.text)}
		}),
		query("dyndns2, Basic with the ID", "text", "/v3/update", dyndns2, func(h *holder, name string, q url.Values) (string, []string) {
			q.Set("hostname", name)
			return "", []string{"Authorization", basic(h.id, h.text)}
		}),
		query("dyndns2, Basic with another host", "text", "//nic/update", dyndns2, func(h *holder, name string, q url.Values) (string, []string) {
			q.Set("h", name)
			return "", []string{"Authorization", basic(foreign, h.text)}
		}),
		query("dyndns2, in the URL", "url", "/update", dyndns2, func(h *holder, name string, q url.Values) (string, []string) {
			q.Set("hostname", name)
			q.Set("username", h.id)
			q.Set("password", h.text)
			return "", nil
		}),
		{"dyndns2, form", "url", func(h *holder, name string, a asked) *http.Request {
			q, ok := spoken(a, dyndns2)
			if !ok {
				return nil
			}
			q.Set("host", name)
			q.Set("user", name)
			q.Set("key", h.text)
			return request("POST", "/ddns/update", here, q.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		}},
		query("DuckDNS", "url", "/update", duck, func(h *holder, name string, q url.Values) (string, []string) {
			q.Set("domains", name)
			q.Set("token", h.text)
			return "", nil
		}),
		{"DuckDNS, path", "url", func(h *holder, name string, a asked) *http.Request {
			if a.verb != "set" || a.types != "A" && a.types != "AAAA" || h.text == "" {
				return nil
			}
			return request("GET", "/update/"+url.PathEscape(name)+"/"+url.PathEscape(h.text)+"/"+a.value, here, "")
		}},
		query("dynv6", "url", "/api/update", dynv6, func(h *holder, name string, q url.Values) (string, []string) {
			q.Set("zone", name)
			q.Set("token", h.text)
			return "", nil
		}),
		query("token URL", "url", "/u/", tokenURL, func(h *holder, name string, q url.Values) (string, []string) {
			q.Set("h", name)
			return url.PathEscape(h.text), nil
		}),
		{"httpreq", "text", func(h *holder, name string, a asked) *http.Request {
			path, ok := map[string]string{"set TXT": "present", "remove TXT": "cleanup"}[a.verb+" "+a.types]
			if !ok {
				return nil
			}
			return request("POST", "/httpreq/"+path, here, fmt.Sprintf(`{"fqdn":"_acme-challenge.%s.","value":%q}`, name, a.value), "Authorization", basic(name, h.text))
		}},
		{"httpreq, RAW", "text", func(h *holder, name string, a asked) *http.Request {
			if a.verb != "set" || a.types != "TXT" || strings.HasPrefix(name, "*") { // a star is the name below it
				return nil
			}
			return request("POST", "/httpreq/present", here, fmt.Sprintf(`{"domain":%q,"token":"t","keyAuth":%q}`, name, a.value), "Authorization", basic(h.id, h.text))
		}},
		{"acme-dns", "account", func(h *holder, name string, a asked) *http.Request {
			if a.verb != "set" || a.types != "TXT" || h.user != "" && name != mine { // a request names no host
				return nil
			}
			user, key := h.user, h.text
			if user == "" { // that of an account which would have the holder's ID, and a key that could be one
				key = (strings.ReplaceAll(key, "-", "") + strings.Repeat("b", 40))[:40]
				octets := make([]byte, 16)
				_, _ = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").Decode(octets, []byte(h.id))
				user = fmt.Sprintf("%x-%x-%x-%x-%x", octets[:4], octets[4:6], octets[6:8], octets[8:10], octets[10:])
			}
			return request("POST", "/acme-dns/update", here, fmt.Sprintf(`{"subdomain":%q,"txt":%q}`, user, a.value+strings.Repeat("x", 43-len(a.value))),
				"X-Api-User", user, "X-Api-Key", key)
		}},
		query("token URL, Basic", "text", "/u", tokenURL, func(h *holder, name string, q url.Values) (string, []string) {
			q.Set("h", name)
			return "", []string{"Authorization", basic("", h.text)}
		}),
	}
}
