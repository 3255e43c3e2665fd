package httpserver_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

// FuzzAddresses: a body that is taken says the same when it is written again,
// and has nothing but plain addresses of the right family in it.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[]}`, `{"a":["192.0.2.1"],"aaaa":["2001:db8::1"],"prefix":"2001:db8:0:ff00::/56"}`, `{"a":null}`, `{"A":[]}`,
		`{"a":["::ffff:192.0.2.1"]}`, `{"aaaa":["fe80::1%eth0"]}`, `{"a":[],"a":[]}`, `{"prefix":""}`, `{"\u0061":["192.0.2.1"]}`, `{"a":[""]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		changes, auto, err := httpserver.ReadAddresses(body)
		if err != nil {
			return
		}
		var out api.SetAddresses
		for _, c := range changes {
			list := []netip.Addr{}
			for _, a := range c.Addrs {
				if a.Zone() != "" || a.Is4() != (c.Type == ddns.TypeA) || !a.IsValid() {
					t.Fatalf("%q gives %s %v", body, c.Type, a)
				}
				list = append(list, a)
			}
			if (c.Op == ddns.Clear) != (len(list) == 0) && c.Type != ddns.TypePrefix {
				t.Fatalf("%q gives %+v", body, c)
			}
			switch c.Type {
			case ddns.TypeA:
				out.A = &list
			case ddns.TypeAAAA:
				out.AAAA = &list
			default:
				out.Prefix = &c.Prefix
			}
		}
		if auto != (out.A == nil && out.AAAA == nil) {
			t.Fatalf("%q: auto is %t beside %+v", body, auto, changes)
		}
		text, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		again, autoAgain, err := httpserver.ReadAddresses(text)
		if err != nil || autoAgain != auto || !reflect.DeepEqual(again, changes) {
			t.Fatalf("%q gives %+v; written again, %s, it gives %+v, %v", body, changes, text, again, err)
		}
	})
}

// FuzzSignedDoor: no request makes a status that is not documented, none of 500
// and above, and none without the key changes anything.
func FuzzSignedDoor(f *testing.F) {
	r := newRig(f, func(_ *ddns.Config, c *httpserver.Config) { c.HTTPTokens = true })
	d := r.join(host1, anyAddress())
	for _, c := range []struct{ method, path, body string }{{"PUT", d.path() + "/addresses", "{}"}, {"GET", d.path(), ""}, {"POST", d.path() + "/key", `{"public_key":"` + textOf(newKey("x")) + `"}`}} {
		req := device{r, host1, d.id, newKey("another")}.signed(c.method, c.path, home, c.body, 0)
		f.Add(c.method, c.path, req.Header.Get("Signature-Input"), req.Header.Get("Signature"), req.Header.Get("Content-Digest"), "", []byte(c.body))
	}
	f.Add("POST", "/v1/join", "", "", "", "", []byte(joinBody("aaaa-bbbb-cccc-dddd", textOf(newKey("x")))))
	f.Add("PUT", "//v1/hosts/%2A.dyn.example.com/addresses/", "x", "", "", "Bearer "+d.id+"-aaaaaaaaaaaaaaaaaaaaaaaaaa", []byte(`{"a":["192.0.2.1"]}`))
	before := r.state(host1)
	known := []int{200, 201, 204, 400, 401, 403, 404, 405, 409, 413, 422}
	f.Fuzz(func(t *testing.T, method, path, input, sig, digest, authorization string, body []byte) {
		req, err := http.NewRequest(method, "http://"+server+"/", bytes.NewReader(body))
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		if req.URL, err = req.URL.Parse(path); err != nil || req.URL.Host != server {
			return
		}
		req.RequestURI, req.RemoteAddr = path, home+":40000"
		for name, v := range map[string]string{"Signature-Input": input, "Signature": sig, "Content-Digest": digest, "Authorization": authorization} {
			if v != "" {
				req.Header[name] = []string{v}
			}
		}
		r.t = t
		w := httptest.NewRecorder()
		r.server.Public().ServeHTTP(w, req)
		if !slices.Contains(known, w.Code) {
			t.Fatalf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
		if w.Code == http.StatusOK && strings.Contains(path, "/v1/") || w.Code == http.StatusCreated {
			if after := r.state(host1); after != before {
				t.Fatalf("%s %q changed the host: %s", method, path, after)
			}
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") == api.ProblemType {
			var p api.Problem
			if json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Status != w.Code || p.Code == "" || p.Detail == "" {
				t.Fatalf("%s %q: %s", method, path, w.Body)
			}
		}
	})
}

// FuzzJoinCode: what is read as a code has one ID in all its spellings, and that
// is one that a credential can have.
func FuzzJoinCode(f *testing.F) {
	for _, s := range []string{"abcd-efgh-ijkl-mnop", "ABCDEFGHIJKLMNOP", "abcd-efgh-ijkl-mno0", "abcdefgh-ijklmnop", "", "ſbcdefghijklmnop"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := ddns.ParseCode(text)
		if !ok {
			return
		}
		again, ok := ddns.ParseCode(strings.ToUpper(strings.ReplaceAll(text, "-", "")))
		if id := p.CredentialID(); !ok || again != p || len(id) != 8 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Fatalf("%q is %q, and %v %t without hyphens", text, id, again, ok)
		}
	})
}

// Every credential at every host of the door: only the diagonal changes.
func TestSignedMatrix(t *testing.T) {
	r := newRig(t, func(_ *ddns.Config, c *httpserver.Config) { c.HTTPTokens = true })
	hosts := []string{"a." + zone, "b." + zone, "c." + zone, "*.w." + zone}
	settings := anyAddress()
	settings.Free = on()
	devices := make([]device, len(hosts))
	tokens := make([]string, len(hosts))
	narrow := make([]string, len(hosts))
	for i, name := range hosts {
		devices[i] = r.join(name, settings)
		for _, into := range []struct {
			to   *string
			spec ddns.TokenSpec
		}{{&tokens[i], ddns.TokenSpec{}}, {&narrow[i], ddns.TokenSpec{Types: []ddns.Type{ddns.TypeAAAA}}}} {
			made, err := r.service.AddToken(t.Context(), dnsname.MustParse(name), into.spec)
			if err != nil {
				t.Fatal(err)
			}
			*into.to = made.Token.Reveal()
		}
	}
	r.now.Move(time.Minute)
	all := func() (out string) {
		for _, name := range hosts {
			h := r.show(name)
			out += line(name, h.A, h.AAAA, h.Prefix, h.Credentials)
		}
		return out
	}
	bodies := map[string]string{"A": `{"a":["192.0.2.%d"]}`, "AAAA": `{"aaaa":["2001:db8::%d"]}`, "prefix": `{"a":[],"prefix":"2001:db8:%d::/48"}`, "auto": `{}`}
	n := 1
	for i := range hosts {
		for j, target := range hosts {
			for kind, body := range bodies {
				for what, send := range map[string]func(body string) *httptest.ResponseRecorder{
					"key": func(body string) *httptest.ResponseRecorder {
						return device{r, target, devices[i].id, devices[i].key}.put("192.0.2.77", body, 0)
					},
					"token": func(body string) *httptest.ResponseRecorder {
						return r.send("PUT", "/v1/hosts/"+target+"/addresses", "192.0.2.78", body, "Authorization", "Bearer "+tokens[i])
					},
					"narrow": func(body string) *httptest.ResponseRecorder {
						return r.send("PUT", "/v1/hosts/"+target+"/addresses", "192.0.2.79", body, "Authorization", "Bearer "+narrow[i])
					},
				} {
					n++
					r.now.Move(time.Minute)
					body := strings.ReplaceAll(body, "%d", line(n%250))
					before := all()
					w := send(body)
					want := 401
					switch {
					case i != j && what == "key": // its ID is of no host but its own
					case i != j:
						want = 403
					case what != "narrow" || kind == "AAAA":
						want = 200
					case kind == "auto":
						want = 422
					default:
						want = 403
					}
					if w.Code != want || (all() != before) != (want == 200) {
						t.Errorf("the %s of %s at %s, %s: %d %s", what, hosts[i], target, kind, w.Code, w.Body)
					}
				}
			}
			if i != j {
				w := r.answer(device{r, target, devices[i].id, devices[i].key}.signed("POST", "/v1/hosts/"+target+"/key", home, `{"public_key":"`+textOf(newKey("evil"))+`"}`, 0))
				if w.Code != 401 || len(r.show(target).Credentials) != 3 {
					t.Errorf("the key of %s gave %s a key: %d", hosts[i], target, w.Code)
				}
			}
		}
		// No door of a host's is one to the admin API.
		for _, path := range []string{"/v1/admin/hosts", "/v1/admin/hosts/" + hosts[i]} {
			if w := r.send("GET", path, home, "", "Authorization", "Bearer "+tokens[i]); w.Code != 404 {
				t.Errorf("%s at the public doors: %d", path, w.Code)
			}
		}
	}
}
