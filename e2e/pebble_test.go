//go:build linux

package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pebble is a certificate authority for tests, Let's Encrypt's own. It refuses
// one nonce in twenty, as it does by default, and asks our DNS and our HTTPS.
type pebble struct {
	directory string // URL
	ca        string // file: what its own HTTPS is held to
	dir       string
	manage    string // URL
	config    map[string]any
	client    *http.Client
	cmd       *exec.Cmd
	// goodNonces is for clients that do not try again when a nonce is refused.
	goodNonces bool
}

// buildPebble and buildGoACMEDNS build each once, from a module file of their own.
var (
	buildPebble    = sync.OnceValues(func() (string, error) { return buildForeign("pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble") })
	buildGoACMEDNS = sync.OnceValues(func() (string, error) { return buildForeign("goacmedns", "./e2e/testdata/goacmedns") })
)

func buildForeign(name, source string) (program string, err error) {
	program = filepath.Join(os.Getenv(binariesEnv), name)
	cmd := exec.Command("go", "build", "-modfile=e2e/pebble.mod", "-o", program, source)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

// needBuilt is what such a build made.
func needBuilt(t *testing.T, name string, build func() (string, error)) string {
	t.Helper()
	program, err := build()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("this test needs %s, which go build makes: %v", name, err)
		}
		t.Skipf("needs %s, which go build makes: %v", name, err)
	}
	return program
}

// newPebble makes one that is not started yet. tlsPort is where it looks for
// tls-alpn-01 challenges.
func newPebble(t *testing.T, tlsPort int) *pebble {
	t.Helper()
	needBuilt(t, "pebble", buildPebble)
	ca, cert, key, err := makeCertificates("ca.example", net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	listen, manage := v4(freePort(t)), v4(freePort(t))
	p := &pebble{dir: t.TempDir(), directory: "https://" + listen + "/dir", manage: "https://" + manage}
	p.ca = filepath.Join(p.dir, "ca.pem")
	for name, data := range map[string][]byte{"ca.pem": ca, "cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.config = map[string]any{
		"listenAddress": listen, "managementListenAddress": manage, "httpPort": 9, "tlsPort": tlsPort,
		"certificate": filepath.Join(p.dir, "cert.pem"), "privateKey": filepath.Join(p.dir, "key.pem"),
		"retryAfter": map[string]int{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	p.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return p
}

// start starts it and returns the roots of its certificates, new ones each time.
func (p *pebble) start(t *testing.T, dns string) (roots *x509.CertPool, rootFile string) {
	t.Helper()
	config, err := json.Marshal(map[string]any{"pebble": p.config})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := buildPebble()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(program, "-config", file, "-dnsserver", dns)
	// No pauses of its own, and a proof for each order.
	p.cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	if p.goodNonces {
		p.cmd.Env = append(p.cmd.Env, "PEBBLE_WFE_NONCEREJECT=0")
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr = &log, &log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("pebble said last:\n%s", tail(log.String(), 60))
		}
	})
	var root []byte
	await(t, "pebble", func() (err error) {
		if _, err = p.get(p.directory); err == nil {
			root, err = p.get(p.manage + "/roots/0")
		}
		return err
	})
	roots, rootFile = x509.NewCertPool(), filepath.Join(p.dir, "root.pem")
	if !roots.AppendCertsFromPEM(root) {
		t.Fatalf("pebble gave no root: %s", root)
	}
	if err := os.WriteFile(rootFile, root, 0o600); err != nil {
		t.Fatal(err)
	}
	return roots, rootFile
}

// stop is kill -9. Stopping twice is fine.
func (p *pebble) stop() {
	if p.cmd != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *pebble) get(url string) ([]byte, error) {
	res, err := p.client.Get(url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return io.ReadAll(res.Body)
}

// renewNow makes it wish that a certificate be renewed at once (RFC 9773).
func (p *pebble) renewNow(t *testing.T, leaf *x509.Certificate) {
	t.Helper()
	now := time.Now()
	window, err := json.Marshal(map[string]any{"suggestedWindow": map[string]time.Time{"start": now.Add(-2 * time.Hour), "end": now.Add(-time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{
		"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})), "ARIResponse": string(window),
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.client.Post(p.manage+"/set-renewal-info/", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("set renewal info: %s", res.Status)
	}
}

// await tries until there is no error. It has more patience than others: a
// certificate takes a dozen requests, and pauses between them.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(4 * patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %v", 4*patience, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wantCertificate holds the chain in a file to names and roots.
func wantCertificate(t *testing.T, file string, roots *x509.CertPool, names ...string) {
	t.Helper()
	chain, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, rest := pem.Decode(chain)
	if first == nil {
		t.Fatalf("no certificate in %s:\n%s", file, chain)
	}
	leaf, err := x509.ParseCertificate(first.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	between.AppendCertsFromPEM(rest)
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between}); err != nil {
			t.Errorf("the certificate is not good for %s: %v", name, err)
		}
	}
}
