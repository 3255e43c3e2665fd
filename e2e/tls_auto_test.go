//go:build linux

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/api"
)

// ownName is the name that the certificates of these tests are for.
const ownName = "ddns.dyn.example.com"

// httpsGet asks for a path on a connection of its own, and returns what was
// said and the certificate that was shown.
func httpsGet(port int, config *tls.Config, path string) (string, *tls.ConnectionState, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", v4(port), config)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	body, err := httpsAsk(conn, config.ServerName, path)
	state := conn.ConnectionState()
	return body, &state, err
}

// httpsAsk asks on a connection that is there already.
func httpsAsk(conn *tls.Conn, host, path string) (string, error) {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// certificateOf is what godwit check says of the certificate, and its exit code.
func (d *daemon) certificateOf(t *testing.T) (*api.Certificate, int) {
	t.Helper()
	r := d.godwit("check", "--json")
	var out struct{ Certificate *api.Certificate }
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || out.Certificate == nil {
		t.Fatalf("godwit check: %v, %+v", err, r)
	}
	return out.Certificate, r.code
}

// hangUp is what a service manager's reload does.
func (d *daemon) hangUp(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// TestTLSAuto: the server starts while the certificate authority is away, gets
// its certificate by way of its own DNS once that is back, renews it when the
// authority wishes so without dropping a connection, and starts again with what
// it has.
func TestTLSAuto(t *testing.T) {
	needProgram(t, "curl")
	port := freePort(t)
	ca := newPebble(t, port)
	d := serve(t, launch{args: []string{"--https", v4(port), "--ns", ownName + "=127.0.0.1", "--tls", "auto", "--url", fmt.Sprintf("https://%s:%d", ownName, port),
		"--acme-directory", ca.directory, "--acme-ca", ca.ca}})

	// HTTP and DNS serve; HTTPS says no at the handshake.
	await(t, "a complaint", func() error {
		if c, code := d.certificateOf(t); code == 0 || !c.NotAfter.IsZero() || !strings.Contains(c.Problem, "see that this machine reaches "+ca.directory) {
			return fmt.Errorf("the state is %+v", c)
		}
		return nil
	})
	if res, err := http.Get(d.url() + "ip"); err != nil {
		t.Error(err)
	} else if res.Body.Close(); res.StatusCode != http.StatusOK {
		t.Errorf("HTTP without a certificate: %s", res.Status)
	}
	if _, _, err := httpsGet(port, &tls.Config{ServerName: ownName, InsecureSkipVerify: true}, "/ip"); err == nil {
		t.Error("HTTPS works without a certificate")
	}
	res, err := newResolver(d.ports.dns)
	if err != nil {
		t.Fatal(err)
	}
	defer res.close()
	before, err := res.serial(zone)
	if err != nil {
		t.Fatal(err)
	}

	roots, rootFile := ca.start(t, v4(d.ports.dns))
	d.hangUp(t)
	config := &tls.Config{ServerName: ownName, RootCAs: roots}
	var first *tls.ConnectionState
	await(t, "a certificate", func() (err error) {
		_, first, err = httpsGet(port, config, "/ip")
		return err
	})
	leaf := first.PeerCertificates[0]
	if _, ec := leaf.PublicKey.(*ecdsa.PublicKey); !ec || !slices.Equal(leaf.DNSNames, []string{ownName}) {
		t.Errorf("the certificate is for %v with a %T", leaf.DNSNames, leaf.PublicKey)
	}
	out, err := exec.Command("curl", "-sS", "--noproxy", "*", "--cacert", rootFile, "--resolve", fmt.Sprintf("%s:%d:127.0.0.1", ownName, port),
		fmt.Sprintf("https://%s:%d/ip", ownName, port)).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "127.0.0.1" {
		t.Errorf("curl: %v\n%s", err, out)
	}
	if c, code := d.certificateOf(t); code != 0 || c.Problem != "" || !c.NotAfter.Equal(leaf.NotAfter) || !slices.Equal(c.Names, leaf.DNSNames) {
		t.Errorf("godwit check says %+v (exit %d), want the certificate until %s", c, code, leaf.NotAfter)
	}
	// The proof is gone from DNS, and the serial went on.
	await(t, "the end of the challenge", func() error {
		answer, err := res.ask("_acme-challenge."+ownName, dns.TypeTXT)
		if err == nil && answer.Rcode != dns.RcodeNameError {
			err = fmt.Errorf("DNS shows %v", answer.Answer)
		}
		return err
	})
	after, err := res.serial(zone)
	if err != nil || after == before || serialBack(before, after) {
		t.Errorf("the serial went from %d to %d (%v)", before, after, err)
	}
	for _, name := range ownFiles(t, d.data) {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %o", name, err, info.Mode().Perm())
		}
	}

	// A connection that is open outlives the renewal.
	open, err := tls.Dial("tcp", v4(port), config)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	ca.renewNow(t, leaf)
	d.hangUp(t)
	var second *x509.Certificate
	await(t, "another certificate", func() error {
		_, state, err := httpsGet(port, config, "/ip")
		if err != nil {
			t.Fatalf("while it is renewed: %v", err)
		}
		if second = state.PeerCertificates[0]; second.Equal(leaf) {
			return errors.New("the old one is served")
		}
		return nil
	})
	if body, err := httpsAsk(open, ownName, "/ip"); err != nil || body != "127.0.0.1" {
		t.Errorf("the connection from before the renewal: %q, %v", body, err)
	}

	// A restart needs no authority.
	ca.stop()
	if code, err := d.stop(); err != nil || code != 0 {
		t.Fatalf("the daemon ended with %d, %v", code, err)
	}
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	if err := d.waitReady(); err != nil {
		t.Fatal(err)
	}
	if _, state, err := httpsGet(port, config, "/ip"); err != nil || !state.PeerCertificates[0].Equal(second) {
		t.Errorf("after a restart: %v, or another certificate", err)
	}
}

// TestTLSAutoRefused: an authority that sees another DNS, as before a delegation,
// says no; the operator hears why and what to do, and nothing stays in DNS. One
// that has forgotten the account gets it again.
func TestTLSAutoRefused(t *testing.T) {
	port := freePort(t)
	elsewhere := serve(t, launch{plain: true, zones: []string{"example.net"}})
	ca := newPebble(t, port)
	ca.start(t, v4(elsewhere.ports.dns))
	d := serve(t, launch{args: []string{"--https", v4(port), "--tls", "auto", "--url", "https://" + ownName,
		"--acme-directory", ca.directory, "--acme-ca", ca.ca}})
	await(t, "a complaint", func() error {
		c, code := d.certificateOf(t)
		for _, want := range []string{ownName, "see that the internet asks this server for the zone (godwit zone list)", "next attempt 20"} {
			if code == 0 || !strings.Contains(c.Problem, want) {
				return fmt.Errorf("the state is %+v, which lacks %q", c, want)
			}
		}
		return nil
	})
	res, err := newResolver(d.ports.dns)
	if err != nil {
		t.Fatal(err)
	}
	defer res.close()
	if answer, err := res.ask("_acme-challenge."+ownName, dns.TypeTXT); err != nil || answer.Rcode != dns.RcodeNameError {
		t.Errorf("DNS shows %v (%v)", answer, err)
	}
	for _, want := range []string{"agreeing to its terms of service", ownName + ", a name of the certificate, has no address"} {
		if !strings.Contains(d.output(), want) {
			t.Errorf("nobody is told: %s", want)
		}
	}

	ca.stop()
	roots, _ := ca.start(t, v4(d.ports.dns))
	d.hangUp(t)
	await(t, "a certificate", func() error {
		_, _, err := httpsGet(port, &tls.Config{ServerName: ownName, RootCAs: roots}, "/ip")
		return err
	})
}

// ownFiles are the files that automatic certificates are kept in.
func ownFiles(t *testing.T, data string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "tls", "*", "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("the files are %v (%v), want a key and a certificate", names, err)
	}
	return names
}

// TestTLSAutoElsewhere: names in a zone of somebody else are proved on the HTTPS
// listener itself, at an authority that wants an account of its own.
func TestTLSAutoElsewhere(t *testing.T) {
	port := freePort(t)
	names := []string{"ddns.example.net", "update.example.net"}
	zoneFile := filepath.Join(t.TempDir(), "example.net.zone")
	if err := os.WriteFile(zoneFile, []byte("ddns A 127.0.0.1\nupdate A 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := serve(t, launch{plain: true, zones: []string{"example.net"}, args: []string{"--zone-file", "example.net=" + zoneFile}})
	ca := newPebble(t, port)
	ca.config["externalAccountBindingRequired"] = true
	ca.config["externalAccountMACKeys"] = map[string]string{"kid-7": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
	roots, _ := ca.start(t, v4(elsewhere.ports.dns))

	l := launch{args: []string{"--https", v4(port), "--tls", "auto", "--url", "https://" + names[0], "--tls-name", names[1],
		"--tls-key-type", "rsa", "--tls-email", "hostmaster@example.net", "--acme-directory", ca.directory, "--acme-ca", ca.ca}}
	d := serve(t, l)
	await(t, "a complaint", func() error {
		if c, _ := d.certificateOf(t); !strings.Contains(c.Problem, "--acme-eab-file") {
			return fmt.Errorf("the state is %+v", c)
		}
		return nil
	})
	if !strings.Contains(d.output(), "connects to port 443") {
		t.Error("nobody is told that the authority needs port 443")
	}
	if code, err := d.stop(); err != nil || code != 0 {
		t.Fatalf("the daemon ended with %d, %v", code, err)
	}
	eab := filepath.Join(t.TempDir(), "eab")
	if err := os.WriteFile(eab, []byte("kid-7 zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.args = append(d.args, "--acme-eab-file", eab)
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	if err := d.waitReady(); err != nil {
		t.Fatal(err)
	}

	// An old client: TLS 1.2, and a session that it resumes.
	config := &tls.Config{ServerName: names[1], RootCAs: roots, MaxVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	var state *tls.ConnectionState
	await(t, "a certificate", func() (err error) {
		_, state, err = httpsGet(port, config, "/ip")
		return err
	})
	leaf := state.PeerCertificates[0]
	if _, isRSA := leaf.PublicKey.(*rsa.PublicKey); !isRSA || !slices.Equal(slices.Sorted(slices.Values(leaf.DNSNames)), names) {
		t.Errorf("the certificate is for %v with a %T", leaf.DNSNames, leaf.PublicKey)
	}
	if _, state, err := httpsGet(port, config, "/ip"); err != nil || !state.DidResume {
		t.Errorf("the second connection: %v, or it did not resume", err)
	}
	if _, _, err := httpsGet(port, &tls.Config{ServerName: names[0], InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}}, "/ip"); err == nil {
		t.Error("a challenge is answered that is over")
	}

	// Another address at the authority, and the same account.
	ca.renewNow(t, leaf)
	if code, err := d.stop(); err != nil || code != 0 {
		t.Fatalf("the daemon ended with %d, %v", code, err)
	}
	d.args[slices.Index(d.args, "hostmaster@example.net")] = "other@example.net"
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	await(t, "another certificate", func() error {
		_, state, err := httpsGet(port, &tls.Config{ServerName: names[0], RootCAs: roots}, "/ip")
		if err == nil && state.PeerCertificates[0].Equal(leaf) {
			err = errors.New("the old one is served")
		}
		return err
	})
	if n := strings.Count(d.output(), "made an account"); n != 1 {
		t.Errorf("%d accounts were made, want 1", n)
	}
	for _, secret := range []string{"zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W", "PRIVATE KEY"} {
		if strings.Contains(d.output(), secret) {
			t.Error("the log tells a secret")
		}
	}
}
