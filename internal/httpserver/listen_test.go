package httpserver_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/httpserver"
)

// serve serves on loopback until the test ends, and returns the address.
func (r *rig) serve(l httpserver.Listener) string {
	r.t.Helper()
	if l.Listener == nil {
		var err error
		if l.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			r.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.server.Serve(ctx, l) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	return l.Addr().String()
}

// raw sends bytes and returns all that comes back.
func raw(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return rawOn(t, c, text)
}

// rawOn is raw on a connection, which is used up.
func rawOn(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(c)
	return string(got)
}

// What is on the wire: HTTP/1.0 with and without Host, doubled slashes, no
// chunks, no Server header.
func TestWire(t *testing.T) {
	addr := newRig(t).serve(httpserver.Listener{})
	get := `{"execution_mode":"get"}`
	head := func(status, headers string) string {
		return "HTTP/1.0 " + status + "\r\n" + headers
	}
	body := seedJSON("success", "127.0.0.1")
	cors := "Access-Control-Allow-Headers: Content-Type\r\nAccess-Control-Allow-Methods: GET\r\nAccess-Control-Allow-Origin: *\r\n"
	for request, answer := range map[string]string{
		fmt.Sprintf("POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", len(get), get): head("200 OK", cors+"Cache-Control: no-store\r\n"+
			fmt.Sprintf("Content-Length: %d\r\nContent-Type: application/json\r\nDate: D\r\n\r\n", len(body))+body),
		"GET //ip/ HTTP/1.0\r\nHost: ddns.example.com\r\n\r\n": head("200 OK", "Cache-Control: no-store\r\nContent-Length: 10\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nDate: D\r\n\r\n127.0.0.1\n"),
		"HEAD //ip HTTP/1.0\r\n\r\n":                           head("200 OK", "Cache-Control: no-store\r\nContent-Length: 10\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nDate: D\r\n\r\n"),
	} {
		got := raw(t, addr, request)
		if at := strings.Index(got, "Date: "); at >= 0 {
			got = got[:at+6] + "D" + got[at+6+strings.Index(got[at+6:], "\r\n"):]
		}
		got = strings.Replace(got, "HTTP/1.1", "HTTP/1.0", 1)
		got = strings.Replace(got, "Connection: close\r\n", "", 1)
		if got != answer {
			t.Errorf("%q\ngot  %q\nwant %q", request, got, answer)
		}
	}
	for request, status := range map[string]string{
		"GET ip HTTP/1.0\r\n\r\n":                                                                                             "400", // net/http's own
		"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                                                             "405",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                                                          "404",
		"GET /../ip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                                                         "404",
		"GET http://other/ip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                                                "200",
		"CONNECT ip:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                                                      "405",
		"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5000000\r\n\r\n{":                                 "413",
		"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n18\r\n" + get + "\r\n0\r\n\r\n": "200",
		"GET /ip HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 20<<10) + "\r\n\r\n":                                       "431",
	} {
		if got := raw(t, addr, request); len(got) < 12 || got[9:12] != status {
			t.Errorf("%.60q: %.100q, want %s", request, got, status)
		} else if strings.Contains(got, "Transfer-Encoding") || strings.Contains(got, "Server:") || strings.Contains(got, "Location:") {
			t.Errorf("%.60q: %q", request, got)
		}
	}
}

// Who does not go on is let go, and does not keep others out.
func TestSlowClients(t *testing.T) {
	r := newRig(t, func(_ *ddns.Config, c *httpserver.Config) {
		c.Limits.ReadHeader, c.Limits.Read, c.Limits.Idle = 100*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	addr := r.serve(httpserver.Listener{})
	for name, text := range map[string]string{
		"nothing":         "",
		"half a header":   "POST / HTTP/1.1\r\nHost: x\r\nContent-",
		"half a body":     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"idle keep-alive": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		begin := time.Now()
		raw(t, addr, text)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s: let go after %s", name, took)
		}
	}
}

func TestConnectionLimits(t *testing.T) {
	r := newRig(t, func(_ *ddns.Config, c *httpserver.Config) { c.Limits.PerSource, c.Limits.Connections = 2, 3 })
	addr := r.serve(httpserver.Listener{})
	// dial returns whether a connection from that address is served.
	dial := func(from string) (net.Conn, bool) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, "GET /ip HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return c, false
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return c, false
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return c, resp.StatusCode == 200
	}
	first, ok1 := dial("127.0.0.1")
	_, ok2 := dial("127.0.0.1")
	_, ok3 := dial("127.0.0.1")
	if !ok1 || !ok2 || ok3 {
		t.Errorf("served: %v %v %v, want the first two", ok1, ok2, ok3)
	}
	if _, ok := dial("127.0.0.2"); !ok {
		t.Error("another source is kept out")
	}
	if _, ok := dial("127.0.0.3"); ok {
		t.Error("a fourth connection is served")
	}
	_ = first.Close()
	for range 100 { // the server sees the end in its own time
		if _, ok := dial("127.0.0.1"); ok {
			return
		}
	}
	t.Error("a place that was left is not given again")
}

// A request that has begun when the server is to stop is answered.
func TestGracefulStop(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(_ *ddns.Config, c *httpserver.Config) {
		c.Ready = func() error {
			close(begun)
			<-goOn
			return nil
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.server.Serve(ctx, httpserver.Listener{Listener: l}) }()
	answer := make(chan string)
	go func() {
		answer <- raw(t, l.Addr().String(), "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	}()
	<-begun
	cancel()
	close(goOn)
	if got := <-answer; !strings.HasSuffix(got, "ready\n") {
		t.Errorf("got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// pemFiles writes a certificate for localhost with that serial number.
func pemFiles(t *testing.T, dir string, serial int64) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return cert, key, pool
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, pool := pemFiles(t, dir, 1)
	cert, err := httpserver.LoadCertificate(certFile, keyFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := newRig(t).serve(httpserver.Listener{TLS: cert.Config()})
	connect := func(c *tls.Config) (tls.ConnectionState, error) {
		conn, err := tls.Dial("tcp", addr, c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.ConnectionState(), nil
	}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if _, err := connect(&tls.Config{RootCAs: pool, MinVersion: v, MaxVersion: v}); err != nil {
			t.Errorf("TLS %x: %v", v, err)
		}
	}
	if _, err := connect(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + addr + "//ip")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 || string(body) != "127.0.0.1\n" {
		t.Errorf("over %s: %s", resp.Proto, body)
	}

	// A new certificate is served once it is loaded; a broken one never.
	_, _, pool = pemFiles(t, dir, 2)
	if err := cert.Reload(); err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		state, err := connect(&tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber.String()
	}
	if got := serial(); got != "2" {
		t.Errorf("serial %s after a reload", got)
	}
	if err := os.WriteFile(certFile, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cert.Reload(); err == nil {
		t.Error("junk is loaded")
	}
	if got := serial(); got != "2" {
		t.Errorf("serial %s after a reload of junk", got)
	}
	if _, err := httpserver.LoadCertificate(certFile, keyFile, nil); err == nil {
		t.Error("junk is loaded")
	}
}

// Who connects again resumes the session, which costs no signature: clients of
// one request each, as routers are, do so if they can.
func TestTLSResumption(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, pool := pemFiles(t, dir, 1)
	cert, err := httpserver.LoadCertificate(certFile, keyFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := newRig(t).serve(httpserver.Listener{TLS: cert.Config()})
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: v, MaxVersion: v, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for i, want := range []bool{false, true, true} {
			c, err := tls.Dial("tcp", addr, client)
			if err != nil {
				t.Fatal(err)
			}
			// A client of TLS 1.3 reads its ticket with the first answer.
			got := rawOn(t, c, "GET /ip HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			if resumed := c.ConnectionState().DidResume; resumed != want || !strings.HasSuffix(got, "127.0.0.1\n") {
				t.Errorf("TLS %x, connection %d: resumed %t: %q", v, i, resumed, got)
			}
		}
		if v == tls.VersionTLS13 { // a renewed certificate ends no session
			if err := cert.Reload(); err != nil {
				t.Fatal(err)
			}
			c, err := tls.Dial("tcp", addr, client)
			if err != nil {
				t.Fatal(err)
			}
			if !c.ConnectionState().DidResume {
				t.Error("not resumed after the certificate was loaded again")
			}
			_ = c.Close()
		}
	}
}
