package agent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/internal/agent"
)

// TestCertificateTime: a certificate is checked by the device's clock, by the
// time of the last answer if that is later, and by what is known of the
// server's; and a wrong memory of it shuts nobody out.
func TestCertificateTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		from   time.Duration // from when the certificate is valid, from now
		memory string        // %s: in two hours
		poll   bool
		ok     bool
	}{
		{"valid now", -time.Hour, ``, false, true},
		{"valid in an hour", time.Hour, ``, false, false},
		{"valid by the last answer", time.Hour, `"families":{"IPv4":{"refreshed":%q}}`, false, true},
		{"valid by the server's clock", time.Hour, `"offset":7200`, false, true},
		{"a server whose clock was ahead by years", -time.Hour, `"offset":300000000`, false, true},
		{"the same, with polling", -time.Hour, `"offset":300000000,"families":{"IPv4":{"address":"127.0.0.1","refreshed":%q}}`, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(c.from), NotAfter: time.Now().Add(24 * time.Hour),
				IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
			raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			certificate, err := x509.ParseCertificate(raw)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"host":%q,"outcome":"changed","a":["127.0.0.1"],"aaaa":[]}`, host)
			}))
			s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			defer s.Close()

			dir := t.TempDir()
			memory := c.memory
			if strings.Contains(memory, "%q") {
				memory = fmt.Sprintf(memory, time.Now().Add(2*time.Hour).Format(time.RFC3339))
			}
			state := fmt.Sprintf(`{"targets":{"%s@%s":{%s}}}`, host, s.Listener.Addr(), memory)
			token := filepath.Join(dir, "token")
			for name, text := range map[string]string{filepath.Join(dir, agent.StateName): state, token: "k7m2qx4p-aaaaaaaaaaaaaaaaaaaaaaaaaa"} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			roots := x509.NewCertPool()
			roots.AddCert(certificate)
			a, err := agent.New(agent.Config{Dir: dir, RootCAs: roots,
				Local:   func(agent.Family) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
				Targets: []agent.Target{{Server: s.URL, Host: host, TokenFile: token, IPv6: agent.Choice{Off: true}, PollIP: c.poll}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Once(t.Context()); (err == nil) != c.ok {
				t.Error(err)
			}
		})
	}
}
