package httpserver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Certificate is a server certificate with its key, from two files. It is
// loaded again when they change, so that a renewal needs no restart. Safe for
// concurrent use.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time
	current           atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // guards following
	stamp   [2]fileStamp
	checked time.Time // when the files were last looked at
}

// fileStamp changes when a file does.
type fileStamp struct {
	modified time.Time
	size     int64
}

// checkEvery is how often the files are looked at, at most.
const checkEvery = time.Minute

// LoadCertificate loads a certificate chain and its key from PEM files.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, c.Reload()
}

// TLSConfig is a TLS configuration for a listener: TLS 1.2 and 1.3, HTTP/1.1 and
// HTTP/2, session tickets.
func TLSConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: get}
}

// Config is [TLSConfig] for this certificate.
func (c *Certificate) Config() *tls.Config {
	return TLSConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c.refresh()
		return c.current.Load(), nil
	})
}

// Leaf is the certificate that is served.
func (c *Certificate) Leaf() *x509.Certificate { return c.current.Load().Leaf }

// Reload loads the files now. If they cannot be used, the certificate that was
// loaded before goes on being served.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reloadLocked()
}

func (c *Certificate) reloadLocked() error {
	// The stamps first: what changes while the files are read is loaded next time.
	stamp, err := c.stamps()
	if err != nil {
		return fmt.Errorf("look at the TLS certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load the TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.stamp, c.checked = stamp, c.now()
	c.current.Store(&pair)
	return nil
}

func (c *Certificate) stamps() (out [2]fileStamp, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return out, err
		}
		out[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return out, nil
}

// refresh loads the files again if a minute has passed and they have changed.
// Only one handshake waits for it.
func (c *Certificate) refresh() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.checked) < checkEvery {
		return
	}
	c.checked = now
	stamp, err := c.stamps()
	if err == nil && stamp == c.stamp {
		return
	}
	if err := c.reloadLocked(); err != nil {
		c.log.Error("the TLS certificate has changed but cannot be used; the old one is served", "err", err)
		return
	}
	c.log.Info("the TLS certificate was loaded again")
}
