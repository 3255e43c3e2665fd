package certificate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"godwit/internal/dnsname"
)

// account is the account at the CA that goes with the stored key.
func (m *Manager) account(ctx context.Context) (acme.Account, error) {
	key, err := m.accountKey()
	if err != nil {
		return acme.Account{}, err
	}
	var contact []string
	if m.config.Email != "" {
		contact = []string{"mailto:" + m.config.Email}
	}
	account, err := m.client.GetAccount(ctx, acme.Account{PrivateKey: key})
	switch problem, _ := errors.AsType[acme.Problem](err); {
	case err == nil && (contact == nil || slices.Equal(account.Contact, contact)):
		return account, nil
	case err == nil:
		at := account.Location
		account, err = m.client.UpdateAccount(ctx, acme.Account{PrivateKey: key, Location: at, Contact: contact})
		if account.Location = at; err != nil {
			return account, fmt.Errorf("tell the CA of --tls-email %s: %w", m.config.Email, err)
		}
		return account, nil
	case problem.Type != acme.ProblemTypeAccountDoesNotExist:
		return account, fmt.Errorf("find the account at the CA: %w", err)
	}
	return m.newAccount(ctx, acme.Account{PrivateKey: key, Contact: contact, TermsOfServiceAgreed: true})
}

// newAccount makes one, which agrees to the CA's terms of service: whoever gives
// --tls auto has agreed.
func (m *Manager) newAccount(ctx context.Context, wish acme.Account) (acme.Account, error) {
	if m.config.EABFile != "" {
		eab, err := readEAB(m.config.EABFile)
		if err != nil {
			return wish, err
		}
		if err := wish.SetExternalAccountBinding(ctx, m.client.Client, eab); err != nil {
			return wish, fmt.Errorf("bind the account at the CA: %w", err)
		}
	}
	account, err := m.client.NewAccount(ctx, wish)
	if err != nil {
		return account, fmt.Errorf("make an account at the CA: %w", err)
	}
	terms := ""
	if dir, err := m.client.GetDirectory(ctx); err == nil && dir.Meta != nil {
		terms = dir.Meta.TermsOfService
	}
	m.config.Log.Info("made an account at the CA, agreeing to its terms of service", "directory", m.config.Directory, "terms", terms)
	return account, nil
}

// order gets a certificate with a key of its own.
func (m *Manager) order(ctx context.Context, account acme.Account) (*tls.Certificate, error) {
	var key crypto.Signer
	var err error
	if m.config.RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	csr, err := acmez.NewCSR(key, m.names)
	if err != nil {
		return nil, err
	}
	params, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return nil, err
	}
	params.Replaces = m.replaces()
	chains, err := m.client.ObtainCertificate(ctx, params)
	if err != nil {
		return nil, err
	}
	if len(chains) == 0 {
		return nil, errors.New("the CA gave no certificate")
	}
	pair, err := joinPair(key, chains[0].ChainPEM)
	if err != nil {
		return nil, fmt.Errorf("the CA gave a certificate that cannot be used: %w", err)
	}
	return pair, m.check(pair)
}

// challenges show proofs while the CA looks for them.
type challenges struct {
	dns Challenges

	mu    sync.Mutex                  // guards what follows
	texts map[dnsname.Name][]string   // in DNS
	pairs map[string]*tls.Certificate // by name, for acme-tls/1
}

// solvers are for the one type of challenge that is used.
func (c *challenges) solvers() map[string]acmez.Solver {
	c.texts, c.pairs = make(map[dnsname.Name][]string), make(map[string]*tls.Certificate)
	if c.dns != nil {
		return map[string]acmez.Solver{acme.ChallengeTypeDNS01: inDNS{c}}
	}
	return map[string]acmez.Solver{acme.ChallengeTypeTLSALPN01: inTLS{c}}
}

// inDNS solves dns-01.
type inDNS struct{ *challenges }

// Present implements [acmez.Solver].
func (c inDNS) Present(ctx context.Context, ch acme.Challenge) error {
	return c.show(ctx, ch, func(texts []string) []string { return append(texts, ch.DNS01KeyAuthorization()) })
}

// CleanUp implements [acmez.Solver]. It takes away this challenge's text alone:
// an order for a name and its like has several at one owner.
func (c inDNS) CleanUp(ctx context.Context, ch acme.Challenge) error {
	// Even if the server is about to stop: what is shown is durable in the serial.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return c.show(ctx, ch, func(texts []string) []string {
		if i := slices.Index(texts, ch.DNS01KeyAuthorization()); i >= 0 {
			texts = slices.Delete(texts, i, i+1)
		}
		return texts
	})
}

func (c inDNS) show(ctx context.Context, ch acme.Challenge, change func([]string) []string) error {
	owner, err := dnsname.Parse(ch.DNS01TXTRecordName())
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.texts[owner] = change(c.texts[owner])
	return c.dns.ShowChallenge(ctx, owner, c.texts[owner])
}

// inTLS solves tls-alpn-01.
type inTLS struct{ *challenges }

// Present implements [acmez.Solver].
func (c inTLS) Present(_ context.Context, ch acme.Challenge) error {
	pair, err := acmez.TLSALPN01ChallengeCert(ch)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pairs[ch.Identifier.Value] = pair
	return nil
}

// CleanUp implements [acmez.Solver].
func (c inTLS) CleanUp(_ context.Context, ch acme.Challenge) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pairs, ch.Identifier.Value)
	return nil
}

// config is for a client that asks for acme-tls/1 alone (RFC 8737 section 3);
// nil for all others.
func (c *challenges) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.Equal(hello.SupportedProtos, []string{acmez.ACMETLS1Protocol}) {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	pair := c.pairs[hello.ServerName]
	if pair == nil {
		return nil, fmt.Errorf("no challenge is on for %q", hello.ServerName)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acmez.ACMETLS1Protocol}, Certificates: []tls.Certificate{*pair}}, nil
}
