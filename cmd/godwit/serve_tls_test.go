package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCheckOfTLSAuto: --check says how the names of a certificate will be proved
// and what stands in the way, and neither asks nor writes anything.
func TestCheckOfTLSAuto(t *testing.T) {
	alone(t)
	eab := filepath.Join(t.TempDir(), "eab")
	if err := os.WriteFile(eab, []byte("only-one-word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args string
		code int
		want []string
		not  string
	}{
		"own zone": {"--https :443 --url https://ddns.dyn.example.com --tls-name dyn.example.com", exitDone,
			[]string{"to be for ddns.dyn.example.com, dyn.example.com, proved by DNS, in zones of this server."}, "port 443 of"},
		"own zone, any port": {"--https :8443 --url https://ddns.dyn.example.com:8443", exitDone, []string{"proved by DNS"}, "port 443"},
		"one elsewhere": {"--https :443 --url https://ddns.dyn.example.com --tls-name ddns.example.net", exitDone,
			[]string{"proved at port 443, because ddns.example.net is in none of the zones."}, "warning: the certificate authority"},
		"elsewhere, another port": {"--https :8443 --url https://ddns.example.net", exitDone,
			[]string{"warning: the certificate authority connects to port 443", "and no --https is at port 443; have the port forwarded here"}, "by DNS"},
		"Route 53": {"--https :443 --url https://ddns.dyn.example.com --publish route53", exitDone,
			[]string{"proved at port 443, because this server does not answer DNS for them."}, "by DNS"},
		"no DNS": {"--https :443 --url https://ddns.dyn.example.com --dns off", exitDone, []string{"proved at port 443"}, "by DNS"},
		"EAB":    {"--https :443 --url https://ddns.dyn.example.com --acme-eab-file " + eab, exitFailed, []string{"has not two words; write the key ID"}, "are right"},
		"roots":  {"--https :443 --url https://ddns.dyn.example.com --acme-ca " + eab, exitFailed, []string{"has no certificate in PEM form"}, "are right"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			args := append([]string{"serve", "--check", "--config", os.DevNull, "--zone", "dyn.example.com", "--tls", "auto", "--data", dir}, strings.Fields(c.args)...)
			r := call("", args...)
			if r.code != c.code || strings.Contains(r.stderr, c.not) {
				t.Errorf("exit %d, and it says\n%s", r.code, r.stderr)
			}
			for _, want := range c.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("it lacks %q:\n%s", want, r.stderr)
				}
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("it made the data directory")
			}
		})
	}
}

// TestCheckOfExpiredCertificate: a monitoring that asks godwit check hears of it.
func TestCheckOfExpiredCertificate(t *testing.T) {
	file := pair(t, time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC))
	_, target := start(t, "--https=127.0.0.1:0", "--tls-cert="+file, "--tls-key="+file)
	r := call("", "check", "--target", target)
	if r.code != exitFailed || !strings.Contains(r.stdout, "The TLS certificate for ddns.example.com expired at 2020-01-02T03:04:05Z.") {
		t.Errorf("%+v", r)
	}
}

// pair makes a file with a certificate for ddns.example.com and 127.0.0.1, and its key.
func pair(t *testing.T, ends time.Time) (file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"ddns.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ends.AddDate(0, -3, 0), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "pair.pem")
	data := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
