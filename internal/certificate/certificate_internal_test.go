package certificate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/dnsname"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const directory = "https://ca.example.net/directory"

// stored makes a folder with a certificate of a life as if a CA had given it.
func stored(t *testing.T, key crypto.Signer, from, until time.Time, names ...string) (dir string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: from, NotAfter: until, DNSNames: names, AuthorityKeyId: []byte("key")}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := joinPair(key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := writePair(filepath.Join(dir, folder(directory), pairFile), pair); err != nil {
		t.Fatal(err)
	}
	return dir
}

func ecKey(t *testing.T) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func config(dir string) Config {
	return Config{Dir: dir, Names: []dnsname.Name{dnsname.MustParse("ddns.example.org"), dnsname.MustParse("a.example.org")}, Directory: directory}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// away is a CA that cannot be reached.
type away struct{}

func (away) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

// TestCAWayOff: while the CA cannot be had, what is stored is served, attempts
// grow rarer, a request for one is heard at once, and nothing ends.
func TestCAWayOff(t *testing.T) {
	old := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(-80 * 24 * time.Hour) // the bubble's time starts in 2000
	dir := stored(t, ecKey(t), old, old.Add(90*24*time.Hour), "a.example.org", "ddns.example.org")
	synctest.Test(t, func(t *testing.T) {
		var log lines
		c := config(dir)
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		m, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		m.client.HTTPClient.Transport = away{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			m.Run(ctx)
			close(done)
		}()
		attempts := func(after time.Duration) int {
			time.Sleep(after)
			synctest.Wait()
			return strings.Count(log.String(), "could not be renewed")
		}
		for _, step := range []struct {
			after       time.Duration
			least, most int
		}{{40 * time.Second, 1, 1}, {9 * time.Minute, 3, 5}, {24 * time.Hour, 23, 34}, {24 * time.Hour, 44, 62}} {
			if n := attempts(step.after); n < step.least || n > step.most {
				t.Errorf("%d attempts after another %s, want %d to %d", n, step.after, step.least, step.most)
			}
		}
		if s := m.State(); !strings.Contains(s.Problem, "no route to host") || !strings.Contains(s.Problem, "see that this machine reaches "+directory) ||
			!strings.Contains(s.Problem, "next attempt 2000-01-0") || len(s.Names) != 2 {
			t.Errorf("the state is %+v", s)
		}
		if pair, err := m.Get(nil); err != nil || pair.Leaf.DNSNames[1] != "ddns.example.org" {
			t.Errorf("the stored certificate is not served: %v", err)
		}
		before := attempts(0)
		m.Again()
		if now := attempts(30 * time.Second); now != before+1 {
			t.Errorf("%d attempts after a request for one, want %d", now, before+1)
		}
		if attempts(30 * 24 * time.Hour); !strings.Contains(log.String(), "has expired") {
			t.Error("nobody is told that the certificate has expired")
		}
		cancel()
		<-done
	})
}

// TestAsksForNothing: a certificate that is good is not renewed, whether or not
// the CA says when it would like to.
func TestAsksForNothing(t *testing.T) {
	old := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	dir := stored(t, ecKey(t), old, old.Add(90*24*time.Hour), "a.example.org", "ddns.example.org")
	synctest.Test(t, func(t *testing.T) {
		var log lines
		c := config(dir)
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		m, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		m.client.HTTPClient.Transport = away{}
		ctx, cancel := context.WithTimeout(t.Context(), 56*24*time.Hour) // less than two thirds by more than a thirtieth
		defer cancel()
		m.Run(ctx)
		if strings.Contains(log.String(), "could not be renewed") || m.State().Problem != "" {
			t.Errorf("it was to be renewed too early:\n%s", log.String())
		}
	})
}

// TestDue: a certificate is due when its time has come, or when it is not what
// the configuration asks for.
func TestDue(t *testing.T) {
	now := time.Now()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		key   crypto.Signer
		from  time.Time
		life  time.Duration
		names string
		rsa   bool
		due   bool
	}{
		"fresh":       {ecKey(t), now, 90 * day, "ddns.example.org a.example.org", false, false},
		"two thirds":  {ecKey(t), now.Add(-64 * day), 90 * day, "ddns.example.org a.example.org", false, true},
		"not so soon": {ecKey(t), now.Add(-56 * day), 90 * day, "ddns.example.org a.example.org", false, false},
		"six days":    {ecKey(t), now.Add(-3 * day), 6 * day, "ddns.example.org a.example.org", false, false},
		"expired":     {ecKey(t), now.Add(-91 * day), 90 * day, "ddns.example.org a.example.org", false, true},
		"a name less": {ecKey(t), now, 90 * day, "ddns.example.org", false, true},
		"a name more": {ecKey(t), now, 90 * day, "ddns.example.org a.example.org b.example.org", false, true},
		"other key":   {ecKey(t), now, 90 * day, "ddns.example.org a.example.org", true, true},
		"RSA":         {rsaKey, now, 90 * day, "ddns.example.org a.example.org", true, false},
		"no longer":   {rsaKey, now, 90 * day, "ddns.example.org a.example.org", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(now))
				conf := config(stored(t, c.key, c.from, c.from.Add(c.life), strings.Fields(c.names)...))
				conf.RSA = c.rsa
				m, err := Open(conf)
				if err != nil {
					t.Fatal(err)
				}
				m.client.HTTPClient.Transport = away{}
				if got := m.due(t.Context()) == 0; got != c.due {
					t.Errorf("due is %v, want %v", got, c.due)
				}
			})
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, "f"+text[:min(1, len(text))])
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no roots":     {func(c *Config) { c.RootsFile = filepath.Join(dir, "none") }, "root certificates"},
		"empty roots":  {func(c *Config) { c.RootsFile = file("x") }, "no certificate in PEM form"},
		"no EAB":       {func(c *Config) { c.EABFile = filepath.Join(dir, "none") }, "no such file"},
		"one word":     {func(c *Config) { c.EABFile = file("key-id\n") }, "write the key ID, a space, and the MAC key"},
		"not base64":   {func(c *Config) { c.EABFile = file("id sec*ret\n") }, "not base64url"},
		"padded is ok": {func(c *Config) { c.EABFile = file("id c2VjcmV0cw==\n") }, ""},
	} {
		conf := config(dir)
		c.change(&conf)
		_, err := Open(conf)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "sec*ret") {
			t.Errorf("%s: the message tells the secret: %v", name, err)
		}
	}
}

// TestDamagedFiles: a certificate that cannot be read is replaced; an account's
// key never is.
func TestDamagedFiles(t *testing.T) {
	dir := stored(t, ecKey(t), time.Now(), time.Now().Add(time.Hour), "ddns.example.org")
	own := filepath.Join(dir, folder(directory))
	for _, name := range []string{pairFile, accountFile} {
		if err := os.WriteFile(filepath.Join(own, name), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log lines
	c := config(dir)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	m, err := Open(c)
	if err != nil || !strings.Contains(log.String(), "getting another one") {
		t.Errorf("got %v and the log %q, want no error and a warning", err, log.String())
	}
	if _, err := m.Get(nil); !errors.Is(err, errNone) {
		t.Errorf("a handshake without a certificate ends with %v", err)
	}
	if _, err := m.accountKey(); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a damaged key of the account: %v, want what to do", err)
	}
}

// TestFilesAreTheOwnersAlone: keys are for nobody else to read.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(stored(t, ecKey(t), time.Now(), time.Now().Add(time.Hour), "ddns.example.org"), folder(directory))
	m, err := Open(config(filepath.Dir(dir)))
	if err != nil {
		t.Fatal(err)
	}
	first, err1 := m.accountKey()
	second, err2 := m.accountKey()
	if err1 != nil || err2 != nil || !first.(*ecdsa.PrivateKey).Equal(second) {
		t.Errorf("the account's key changes: %v, %v", err1, err2)
	}
	for _, name := range []string{"", pairFile, accountFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o", info.Name(), info.Mode().Perm())
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("the folder has %v (%v), want two files", entries, err)
	}
}

// TestOnlyTheCAGetsAChallenge: who offers other protocols beside acme-tls/1, or
// asks for a name that is not being proved, does not see one.
func TestOnlyTheCAGetsAChallenge(t *testing.T) {
	m, err := Open(config(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	m.challenge.pairs["ddns.example.org"] = &tls.Certificate{}
	for _, c := range []struct {
		name, protocols string
		config, fails   bool
	}{
		{"ddns.example.org", "acme-tls/1", true, false},
		{"ddns.example.org", "h2 acme-tls/1", false, false},
		{"ddns.example.org", "h2 http/1.1", false, false},
		{"ddns.example.org", "", false, false},
		{"a.example.org", "acme-tls/1", false, true},
	} {
		got, err := m.Challenge(&tls.ClientHelloInfo{ServerName: c.name, SupportedProtos: strings.Fields(c.protocols)})
		if (got != nil) != c.config || (err != nil) != c.fails {
			t.Errorf("%s, %q: got %v, %v", c.name, c.protocols, got, err)
		}
	}
}
