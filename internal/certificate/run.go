package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

const (
	// leastRetry and maxRetry are the pauses after the first failure, and after
	// many. The longer one is short beside what a certificate has left when it is
	// due, and one order an hour, with the failed proofs that it may bring, is within
	// what public CAs allow.
	leastRetry = time.Minute
	maxRetry   = time.Hour
	// attempt bounds one order, from the account to the chain.
	attempt = 10 * time.Minute
	// askEvery is how often the CA is asked when it would like to renew, unless it
	// says so itself, from leastAsk to mostAsk.
	askEvery = 6 * time.Hour
	leastAsk = time.Minute
	mostAsk  = 24 * time.Hour
	// leastLife is how soon a certificate may be followed by the next one, half of
	// its life if that is less, and leastRetry in any case: a CA may wish so, or a
	// wrong clock, but not without end.
	leastLife = time.Hour
)

// Run gets certificates until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	defer m.client.HTTPClient.CloseIdleConnections()
	failures, least := 0, time.Duration(0)
	for {
		wait := max(m.due(ctx), least)
		if wait <= 0 {
			err := m.obtain(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				failures, least = 0, max(leastRetry, min(leastLife, time.Until(m.current.Load().Leaf.NotAfter)/2))
				m.say("")
				continue
			}
			wait = pause(failures)
			failures++
			m.complain(err, wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-m.again:
			failures = 0
		case <-time.After(wait):
		}
		least = 0
	}
}

// pause is how long to wait after so many failures and one: twice as long each
// time, give or take an eighth.
func pause(failures int) time.Duration {
	d := leastRetry
	for range min(failures, 20) {
		d = min(2*d, maxRetry)
	}
	return d - d/8 + rand.N(d/4)
}

// due is how long to wait until a certificate is to be got, or the question is
// to be asked again; 0 is now.
func (m *Manager) due(ctx context.Context) time.Duration {
	pair := m.current.Load()
	if pair == nil || !m.wanted(pair.Leaf) {
		return 0
	}
	ask := askEvery
	info, err := m.client.GetRenewalInfo(ctx, pair.Leaf)
	// A window that ends before it begins comes without an error.
	if err == nil && info.SuggestedWindow.End.After(info.SuggestedWindow.Start) {
		// The time in it is drawn anew each time; it holds while the window does.
		if !info.SameWindow(m.window) {
			m.window = info
		}
		if info.RetryAfter != nil {
			ask = min(max(time.Until(*info.RetryAfter), leastAsk), mostAsk)
		}
	}
	at := renewAt(pair.Leaf)
	if m.window.HasWindow() { // of now, or of the last time that the CA answered
		at = m.window.SelectedTime
	}
	if err != nil && !errors.Is(err, acme.ErrUnsupported) && ctx.Err() == nil {
		m.config.Log.Info("the CA does not say when to renew the TLS certificate; it is done in good time", "at", at, "err", err)
	}
	return min(max(0, time.Until(at)), ask)
}

// wanted tells whether a certificate is one as the configuration asks for.
func (m *Manager) wanted(leaf *x509.Certificate) bool {
	_, ecdsa := leaf.PublicKey.(*ecdsa.PublicKey)
	return slices.Equal(slices.Sorted(slices.Values(leaf.DNSNames)), m.names) && ecdsa != m.config.RSA
}

// renewAt is when to renew a certificate whose CA does not say: after two thirds
// of its life, give or take a thirtieth. It is the same time for each call.
func renewAt(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	// The serial number is random, and differs from server to server.
	random := rand.New(rand.NewPCG(leaf.SerialNumber.Uint64(), 0))
	return leaf.NotBefore.Add(life*2/3 - life/30 + time.Duration(random.Float64()*float64(life/15)))
}

// say notes what State is to say of the last attempt.
func (m *Manager) say(problem string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problem = problem
}

// complain tells the operator what failed, what that means and what to do.
func (m *Manager) complain(err error, wait time.Duration) {
	next := time.Now().Add(wait).UTC().Truncate(time.Second)
	fix := m.remedy(err)
	m.say(fmt.Sprintf("%v; %s; next attempt %s", err, fix, next.Format(time.RFC3339)))
	what := "there is no TLS certificate, and HTTPS does not work without"
	if pair := m.current.Load(); pair != nil {
		what = "the TLS certificate could not be renewed; the old one is good until " + pair.Leaf.NotAfter.UTC().Format(time.RFC3339)
		if time.Now().After(pair.Leaf.NotAfter) {
			what = "the TLS certificate could not be renewed and has expired"
		}
	}
	m.config.Log.Warn(what, "err", err, "fix", fix, "next", next)
}

// remedy is what an operator can do about an error.
func (m *Manager) remedy(err error) string {
	problem, ok := errors.AsType[acme.Problem](err)
	if _, unreached := errors.AsType[*url.Error](err); unreached {
		return "see that this machine reaches " + m.config.Directory + ", then send SIGHUP to try at once"
	}
	if !ok {
		return "correct that, then send SIGHUP to try at once"
	}
	switch problem.Type {
	case acme.ProblemTypeRateLimited:
		return "wait: the CA has been asked too often"
	case acme.ProblemTypeCAA:
		return "let the CAA records of the name allow this CA"
	case acme.ProblemTypeExternalAccountRequired:
		return "give the key that the CA has given you: --acme-eab-file FILE"
	case acme.ProblemTypeRejectedIdentifier, acme.ProblemTypeUnsupportedIdentifier:
		return "give names that this CA is for, with --url and --tls-name"
	}
	if m.config.Challenges != nil {
		return "see that the internet asks this server for the zone (godwit zone list), then send SIGHUP to try at once"
	}
	return "see that the internet reaches port 443 of the names at this server, then send SIGHUP to try at once"
}

// obtain gets a certificate, and keeps it.
func (m *Manager) obtain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	account, err := m.account(ctx)
	if err != nil {
		return err
	}
	pair, err := m.order(ctx, account)
	if err != nil {
		return err
	}
	m.current.Store(pair)
	m.window = acme.RenewalInfo{}
	m.config.Log.Info("got a TLS certificate", "names", m.names, "until", pair.Leaf.NotAfter)
	if err := writePair(m.file(pairFile), pair); err != nil {
		// It is served all the same; a restart will ask for another one.
		m.config.Log.Error("the TLS certificate could not be stored; make room or give rights, a restart asks for another one", "err", err)
	}
	return nil
}

// replaces is the certificate that an order is to replace, if the CA knows it.
func (m *Manager) replaces() *x509.Certificate {
	if pair := m.current.Load(); pair != nil && m.window.HasWindow() {
		return pair.Leaf
	}
	return nil
}

// check refuses a certificate that could not be served for the names.
func (m *Manager) check(pair *tls.Certificate) error {
	for _, name := range m.names {
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			return fmt.Errorf("the CA gave a certificate for something else: %w", err)
		}
	}
	return nil
}
