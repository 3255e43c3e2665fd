package source_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/agent"
	"godwit/internal/agent/source"
)

// authority signs the certificates of the tests' web servers. TestMain makes it
// the only one that this process trusts, as an operator would.
var authority *certAuthority

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "source")
	if err != nil {
		panic(err)
	}
	authority = newAuthority()
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.cert.Raw}), 0o600); err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", file)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

type certAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() *certAuthority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-48 * time.Hour),
		NotAfter: time.Now().Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &certAuthority{cert, key}
}

// sign makes a server certificate for an address.
func (a *certAuthority) sign(t *testing.T, addr string, expires time.Time) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: expires.Add(-24 * time.Hour), NotAfter: expires,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.ParseIP(addr)}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

func newSource(t *testing.T, spec string) agent.Source {
	t.Helper()
	s, err := source.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkFind holds what a source finds to an address, or to what its error says.
func checkFind(t *testing.T, s agent.Source, f agent.Family, want string) {
	t.Helper()
	got, err := s.Find(t.Context(), f)
	if addr, parseErr := netip.ParseAddr(want); parseErr == nil {
		if err != nil || got.Addr != addr {
			t.Errorf("%s: got %v, %v; want %s", s.Name(), got, err, want)
		}
		return
	}
	if err == nil || got.Addr.IsValid() || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, %v; want an error that says %q", s.Name(), got, err, want)
	}
}

func TestNew(t *testing.T) {
	for _, spec := range []string{"interface", "interface eth0", "router", "web https://ddns.example.com/ip", "web http://127.0.0.1:8053/ip http://[::1]:8053/ip",
		"dns myip.example.net@192.0.2.53", "dns myip.example.net@ns.example.net:5300", "dns myip.example.net@[2001:db8::53]:5300 TXT",
		"dns myip.example.net@2001:db8::53", "command /usr/bin/address 'of the' \"router\""} {
		if s := newSource(t, spec); s.Name() != spec {
			t.Errorf("%q is called %q", spec, s.Name())
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"":                                 "is not known",
		"iface eth0":                       "is not known",
		"interface eth0 eth1":              "more than one interface",
		"router 192.168.1.1":               "takes no argument",
		"web":                              "at least one page",
		"web http://ddns.example.com/ip":   "is not https",
		"web http://localhost/ip":          "is not https",
		"web ftp://127.0.0.1/ip":           "is not https",
		"web https://":                     "is not a URL",
		"web https://user:pw@example.com/": "is not a URL",
		"web https://a.example https://a.example/ip": "is there twice",
		"dns":                  "form NAME@SERVER",
		"dns myip.example.net": "form NAME@SERVER",
		"dns @192.0.2.53":      "form NAME@SERVER",
		"dns a@":               "form NAME@SERVER",
		"dns a@b@c":            "form NAME@SERVER",
		"dns a@192.0.2.53 MX":  "form NAME@SERVER",
		"command":              "whole path",
		"command address":      "whole path",
		"command /bin/echo 'x": "does not end",
	} {
		if s, err := source.New(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want an error that says %q", spec, s, err, want)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Setenv("GODWIT_ADMIN_TOKEN", "hush")
	script := func(text string) string { return fmt.Sprintf("command /bin/sh -c '%s'", text) }
	for _, test := range []struct {
		spec string
		f    agent.Family
		want string
	}{
		{"command /bin/echo 20.0.0.7", agent.IPv4, "20.0.0.7"},
		{"command /bin/echo 2a01:100::7", agent.IPv6, "2a01:100::7"},
		{"command /bin/echo 20.0.0.7", agent.IPv6, "not an IPv6 address"},
		{"command /bin/echo ::ffff:20.0.0.7", agent.IPv6, "not an IPv6 address"},
		{"command /bin/echo 20.0.0.7;id", agent.IPv4, "not one address"},
		{"command /bin/echo '20.0.0.7 20.0.0.8'", agent.IPv4, "not one address"},
		{"command /bin/echo 192.168.1.7", agent.IPv4, "behind NAT"},
		{"command /bin/echo 100.64.0.7", agent.IPv4, "behind CGNAT"},
		{"command /bin/echo 0.0.0.0", agent.IPv4, "knows no address"},
		{"command /nowhere/at/all", agent.IPv4, "no such file"},
		{script("exit 3"), agent.IPv4, "exit status 3"},
		{script("exit 0"), agent.IPv4, "no public address"},
		{script("while :; do echo 20.0.0.7; done"), agent.IPv4, "more than 64 octets"},
		{script("test $GODWIT_FAMILY = IPv4 && echo 20.0.0.7"), agent.IPv4, "20.0.0.7"},
		{script("test $GODWIT_FAMILY = IPv6 && echo 2a01:100::7"), agent.IPv6, "2a01:100::7"},
		{script("echo 20.0.0.1$GODWIT_ADMIN_TOKEN"), agent.IPv4, "20.0.0.1"},
		{script("echo 20.0.0.7; echo noise >&2"), agent.IPv4, "20.0.0.7"},
	} {
		t.Run(test.spec, func(t *testing.T) { checkFind(t, newSource(t, test.spec), test.f, test.want) })
	}
	t.Run("no end", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if got, err := newSource(t, script("exec sleep 3600")).Find(ctx, agent.IPv4); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}
