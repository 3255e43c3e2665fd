package client_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/dnsname"
)

var nas = dnsname.MustParse("nas.dyn.example.com")

const bearer = "k7m2qx4p-zyxwvutsrqponmlkjihgfedcba"

func door(t testing.TB, c client.DoorConfig) *client.Door {
	t.Helper()
	d, err := client.NewDoor(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestDoorURLs(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://ddns.example.com": true, "https://ddns.example.com:8443/": true, "http://127.0.0.1:8053": true, "http://[::1]:1": true, "http://localhost": true,
		"http://ddns.example.com": false, "http://192.0.2.1": false, "ftp://a.example": false, "ddns.example.com": false, "https://u:p@a.example": false,
		"https://a.example/path": false, "https://a.example?x": false, "": false,
	} {
		_, err := client.NewDoor(client.DoorConfig{URL: url, Token: bearer})
		if (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
	// A signature may go in the clear.
	if _, err := client.NewDoor(client.DoorConfig{URL: "http://ddns.example.com", Sign: func(*http.Request, []byte) error { return nil }}); err != nil {
		t.Error(err)
	}
}

// TestDoorFamily: the family of a request is forced, and so is its address.
func TestDoorFamily(t *testing.T) {
	var from atomic.Value
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		from.Store(host)
		_, _ = io.WriteString(w, host+"\n")
	})
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	defer server.Close()
	got, err := door(t, client.DoorConfig{URL: server.URL, Network: "tcp4", Local: netip.MustParseAddr("127.0.0.2")}).Source(t.Context())
	if err != nil || got != netip.MustParseAddr("127.0.0.2") || from.Load() != "127.0.0.2" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := door(t, client.DoorConfig{URL: server.URL, Network: "tcp6"}).Source(t.Context()); err == nil {
		t.Errorf("over tcp6: %s", got)
	}
}

// TestDoorSource: the body is one address and nothing else, or there is none.
func TestDoorSource(t *testing.T) {
	for body, ok := range map[string]bool{
		"198.51.100.7\n": true, "2001:db8::7": true, "": false, "<html>198.51.100.7</html>": false, "198.51.100.7, 198.51.100.8": false,
		"198.51.100.7%eth0": false, "fe80::1%eth0": false, "198.51.100": false, "0177.0.0.1": false,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Address", "203.0.113.66")
			_, _ = io.WriteString(w, body)
		}))
		got, err := door(t, client.DoorConfig{URL: server.URL}).Source(t.Context())
		if (err == nil) != ok || ok && got.String() != strings.TrimSpace(body) {
			t.Errorf("%q: %s, %v", body, got, err)
		}
		server.Close()
	}
}

// TestDoorHostile: whatever comes is an error that says so, in bounded time and
// memory, and the token goes nowhere else.
func TestDoorHostile(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"redirect to another": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
		"permanent redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusPermanentRedirect)
		},
		"10 MB": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(bytes.Repeat([]byte(" "), 10<<20))
		},
		"10 MB of refusal": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", api.ProblemType)
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write(bytes.Repeat([]byte(" "), 10<<20))
		},
		"broken off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, `{"host":"nas.dyn.example.com","outcome":"changed"}`)
		},
		"aborted": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"1 MB of header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		},
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drops": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client goes
				handler(w, r)
			}))
			defer server.Close()
			d := door(t, client.DoorConfig{URL: server.URL, Token: bearer, Timeout: 500 * time.Millisecond})
			_, err := d.SetAddresses(t.Context(), nas, api.SetAddresses{})
			if err == nil || strings.Contains(err.Error(), bearer) {
				t.Error(err)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went to where a redirect pointed", n)
	}
}

// TestDoorNoHTTP: what net/http says of an answer that is none repeats it, and
// so it could repeat the token.
func TestDoorNoHTTP(t *testing.T) {
	for _, answer := range []string{"HTTP/1.1 " + bearer + " OK\r\n\r\n", bearer + "\r\n\r\n", "HTTP/1.1 200 OK\r\n" + bearer + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + bearer + "\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + bearer + "\r\n\r\n"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := listener.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, answer)
		}()
		_, err = door(t, client.DoorConfig{URL: "http://" + listener.Addr().String(), Token: bearer}).Addresses(t.Context(), nas)
		if err == nil || strings.Contains(err.Error(), bearer) {
			t.Errorf("%q: %v", answer, err)
		}
		listener.Close()
		<-done
	}
}

// TestDoorCertificates: nothing is sent to a server that does not show who it is.
func TestDoorCertificates(t *testing.T) {
	ca, caKey := certificate(t, nil, nil, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	good := func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate)
		self   bool
		config *tls.Config
		time   func() time.Time
		ok     bool
	}{
		{name: "good", change: good, ok: true},
		{name: "expired", change: func(c *x509.Certificate) { good(c); c.NotAfter = time.Now().Add(-time.Hour) }},
		{name: "not yet", change: func(c *x509.Certificate) { good(c); c.NotBefore = time.Now().Add(time.Hour) }},
		{name: "valid by the server's clock", change: func(c *x509.Certificate) { good(c); c.NotBefore = time.Now().Add(time.Hour) }, time: func() time.Time { return time.Now().Add(2 * time.Hour) }, ok: true},
		{name: "wrong name", change: func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} }},
		{name: "self-signed", change: good, self: true},
		{name: "for a client", change: func(c *x509.Certificate) {
			good(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}},
		{name: "TLS 1.1", change: good, config: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent, parentKey := ca, caKey
			if c.self {
				parent, parentKey = nil, nil
			}
			leaf, key := certificate(t, parent, parentKey, c.change)
			var requests atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				_, _ = io.WriteString(w, "198.51.100.7")
			}))
			server.TLS = &tls.Config{}
			if c.config != nil {
				server.TLS = c.config
			}
			server.TLS.Certificates = []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			defer server.Close()
			_, err := door(t, client.DoorConfig{URL: server.URL, Token: bearer, RootCAs: roots, Time: c.time}).Source(t.Context())
			if (err == nil) != c.ok || !c.ok && requests.Load() != 0 {
				t.Errorf("%v, %d requests", err, requests.Load())
			}
		})
	}
}

func certificate(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	change(c)
	if parent == nil {
		parent, parentKey = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out, key
}

// says is a transport that answers with these octets.
type says struct {
	status int
	kind   string
	after  string
	body   string
	date   string
}

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	out := httptest.NewRecorder()
	out.Header().Set("Content-Type", s.kind)
	out.Header().Set("Retry-After", s.after)
	if s.date != "" {
		out.Header().Set("Date", s.date)
	}
	out.WriteHeader(s.status)
	_, _ = io.WriteString(out, s.body)
	return out.Result(), nil
}

func TestDoorRetryAfter(t *testing.T) {
	for after, want := range map[string]int64{"120": 120, "-5": 0, "soon": 0, "99999999999999999999": 0, "": 0,
		"Wed, 21 Oct 2015 07:29:30 GMT": 90, "Wed, 21 Oct 2015 07:00:00 GMT": 0} {
		d := door(t, client.DoorConfig{URL: "https://a.example", Transport: says{429, "text/plain", after, "no", "Wed, 21 Oct 2015 07:28:00 GMT"}})
		var p *api.Problem
		if _, err := d.Addresses(t.Context(), nas); !errors.As(err, &p) || p.RetryAfter != want || p.Code != "" || p.Status != 429 {
			t.Errorf("%q: %+v", after, p)
		}
	}
}

// FuzzDoor: what is accepted is an answer about the host, with addresses that it
// can have; what is not is said in printable text without the token.
func FuzzDoor(f *testing.F) {
	for _, body := range []string{
		`{"host":"nas.dyn.example.com","outcome":"changed","a":["198.51.100.7"],"aaaa":["2001:db8::7"],"ttl":60,"generation":1,"published":1}`,
		`{"host":"NAS.dyn.example.com.","outcome":"unchanged","a":["::ffff:198.51.100.7"],"aaaa":["fe80::1%eth0"]}`,
		`{"code":"bad-proof","detail":"\u001b[2J` + bearer + `","status":401,"now":-1,"retry_after":-1}`, `null`, `[]`, `{"a":null}`, "<html>", "\xff",
	} {
		f.Add(200, "application/json", "1", body)
		f.Add(403, api.ProblemType, "Wed, 21 Oct 2015 07:28:00 GMT", body)
	}
	f.Fuzz(func(t *testing.T, status int, kind, after, body string) {
		if status < 200 || status > 999 {
			return
		}
		d, err := client.NewDoor(client.DoorConfig{URL: "https://a.example", Token: bearer, Transport: says{status, kind, after, body, ""}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.SetAddresses(context.Background(), nas, api.SetAddresses{})
		if err == nil {
			if name, err := dnsname.Parse(got.Host); err != nil || name != nas || got.Outcome == "" || len(got.A) > 8 || len(got.AAAA) > 8 {
				t.Fatalf("%+v", got)
			}
			for _, a := range got.A {
				if !a.Is4() {
					t.Fatal(a)
				}
			}
			for _, a := range got.AAAA {
				if !a.Is6() || a.Is4In6() || a.Zone() != "" {
					t.Fatal(a)
				}
			}
			return
		}
		text, _ := json.Marshal(err)
		var p *api.Problem
		if strings.Contains(string(text)+err.Error(), bearer) || errors.As(err, &p) && p.RetryAfter < 0 {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Fatalf("%q", err.Error())
		}
	})
}
