// Package certificate gets the server's own TLS certificate from a certificate
// authority (CA) that speaks ACME (RFC 8555), and renews it for as long as the
// server runs.
//
// A [Manager] starts with what is stored, so that a restart asks for nothing.
// [Manager.Run] then looks when a new certificate is due, proves to the CA that
// the names are this server's, and replaces the certificate between two
// handshakes. While the CA cannot be had the old certificate is served on, or
// none; Run says why, waits longer each time, and never gives up.
//
// # Challenges
//
// If DNS answers for all names out of zones of this server, the proof is a text
// at _acme-challenge.NAME (dns-01, RFC 8555 section 8.4), and no port has to be
// open but that of DNS. If not, the proof is a certificate that this server shows
// to whoever asks for the protocol acme-tls/1 (tls-alpn-01, RFC 8737), and the CA
// must reach the HTTPS listener at port 443.
//
// # When
//
// The CA says when it would like to renew (RFC 9773). One that does not is asked
// after two thirds of a certificate's life, give or take a little, so that not
// all servers ask at once.
//
// # Files
//
// Each CA has a folder of its own, of mode 0700, with account.key and
// certificate.pem, the certificate's key in front of its chain, of mode 0600. They
// are replaced whole or not at all.
package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"godwit/internal/dnsname"
)

// Config says which certificate to have, and from whom.
type Config struct {
	// Dir holds a folder for each CA. It is made when there is something to keep.
	Dir string
	// Names are what the certificate is for; at least one, no wildcards.
	Names []dnsname.Name
	// RSA asks for RSA keys of 2048 bits in place of ECDSA with P-256, for clients
	// that know no other.
	RSA bool
	// Directory is the URL of the CA's directory (RFC 8555 section 7.1.1).
	Directory string
	// Email is where the CA may write to. Empty: nowhere.
	Email string
	// RootsFile has the certificates, PEM, that the CA's own HTTPS is held to.
	// Empty: the system's.
	RootsFile string
	// EABFile has a key ID and a MAC key in base64url, with space between, that
	// bind the account to one at the CA (RFC 8555 section 7.3.4). Empty: none.
	EABFile string
	// Challenges show texts in DNS. Nil: tls-alpn-01.
	Challenges Challenges
	// UserAgent is what the CA sees of the program. Empty: the library's name.
	UserAgent string
	Log       *slog.Logger // nil: none
}

// Challenges show texts in DNS.
type Challenges interface {
	// ShowChallenge shows texts at owner in place of those of the call before;
	// with none they are gone. When it returns, the next question sees them.
	ShowChallenge(ctx context.Context, owner dnsname.Name, texts []string) error
}

// Manager keeps a certificate. Its methods are safe for concurrent use.
type Manager struct {
	config Config
	names  []string // as the certificate has them, sorted
	dir    string   // of this CA
	client *acmez.Client
	again  chan struct{}

	current   atomic.Pointer[tls.Certificate] // nil: none yet
	challenge challenges

	mu      sync.Mutex // guards problem
	problem string

	window acme.RenewalInfo // of current; Run's own
}

// Open reads the stored certificate and the files that the configuration names.
// It asks nobody and writes nothing. Of what is stored it takes only what can be
// served: a damaged file is told of, and replaced when there is a new one.
func Open(c Config) (*Manager, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m := &Manager{config: c, again: make(chan struct{}, 1), dir: filepath.Join(c.Dir, folder(c.Directory))}
	for _, name := range c.Names {
		m.names = append(m.names, name.String())
	}
	slices.Sort(m.names)
	if c.EABFile != "" {
		if _, err := readEAB(c.EABFile); err != nil {
			return nil, err
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.RootsFile != "" {
		data, err := os.ReadFile(c.RootsFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA's root certificates: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s has no certificate in PEM form", c.RootsFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	m.client = &acmez.Client{Client: &acme.Client{
		Directory: c.Directory, UserAgent: c.UserAgent, PollTimeout: 2 * time.Minute,
		HTTPClient: &http.Client{Transport: bounded{transport}, Timeout: 30 * time.Second},
	}}
	m.challenge.dns = c.Challenges
	m.client.ChallengeSolvers = m.challenge.solvers()

	switch pair, err := readPair(m.file(pairFile)); {
	case err == nil:
		m.current.Store(pair)
	case !errors.Is(err, os.ErrNotExist):
		c.Log.Warn("the stored TLS certificate cannot be used; getting another one", "err", err)
	}
	return m, nil
}

// bounded lets no answer of a CA be longer than a mebibyte. The library would
// read all of it.
type bounded struct{ *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.Transport.RoundTrip(r)
	if err == nil {
		res.Body = http.MaxBytesReader(nil, res.Body, 1<<20)
	}
	return res, err
}

func (m *Manager) file(name string) string { return filepath.Join(m.dir, name) }

// errNone is what a handshake ends with as long as there is no certificate.
var errNone = errors.New("there is no TLS certificate yet")

// Get is a [tls.Config.GetCertificate]: the certificate, whatever name is asked for.
func (m *Manager) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := m.current.Load(); pair != nil {
		return pair, nil
	}
	return nil, errNone
}

// Challenge is a [tls.Config.GetConfigForClient]: it answers a CA that asks for
// a tls-alpn-01 challenge, and leaves everyone else alone.
func (m *Manager) Challenge(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	return m.challenge.config(hello)
}

// String is the names that the certificate is to be for.
func (m *Manager) String() string { return strings.Join(m.names, ", ") }

// State is what there is to say of the certificate.
type State struct {
	// Names and NotAfter are the certificate's. None: there is none yet.
	Names    []string
	NotAfter time.Time
	// Problem is why the last attempt to get one failed, and when the next one
	// is. Empty: it did not.
	Problem string
}

// State says how things are.
func (m *Manager) State() State {
	m.mu.Lock()
	s := State{Problem: m.problem}
	m.mu.Unlock()
	if pair := m.current.Load(); pair != nil {
		s.Names, s.NotAfter = pair.Leaf.DNSNames, pair.Leaf.NotAfter
	}
	return s
}

// Again makes Run look at once whether a certificate is due.
func (m *Manager) Again() {
	select {
	case m.again <- struct{}{}:
	default: // it is asked already
	}
}
