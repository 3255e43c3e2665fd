package ddns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"godwit/internal/dnsname"
)

// prove reads an update's host with its credentials, and finds the credential
// for which the proof holds.
func (s *Service) prove(ctx context.Context, u Update, now time.Time) (*Host, []*Credential, *Credential, *Refusal) {
	if u.Host.IsZero() {
		var refusal *Refusal
		if u.Host, refusal = s.onlyHost(ctx, u, now); refusal != nil {
			return nil, nil, nil, refusal
		}
	}
	host, credentials, err := s.Store.Host(ctx, u.Host)
	if errors.Is(err, ErrDamaged) {
		// No proof can be checked, and a stranger is not to learn that it is there.
		if s.seldom(&s.damaged) {
			s.Log.Error("a host cannot be read: its updates are refused as if there were none", "host", u.Host.String(), "err", err)
		}
		err = ErrNoHost
	}
	if err != nil && !errors.Is(err, ErrNoHost) {
		return nil, nil, nil, unavailable("read the host", err)
	}
	if host != nil && s.familiar.Load() == nil {
		s.familiar.Store(new(host.Name))
	}
	credential, refusal := s.authenticate(ctx, host, credentials, u, now)
	return host, credentials, credential, refusal
}

// evenChecks is how many checks a proof that does not hold costs at least,
// whether there is such a host or not. It is as many as an ordinary host has
// credentials that one proof could answer: two while a secret is replaced.
const evenChecks = 2

// authenticate finds the credential for which the proof holds. host is nil for
// an unknown one.
func (s *Service) authenticate(ctx context.Context, host *Host, credentials []*Credential, u Update, now time.Time) (*Credential, *Refusal) {
	proof := u.Proof
	if proof == nil {
		proof = TokenProof{} // that of nobody
	}
	if !s.checks.enter(ctx, network(u.Source.Addr, 24, 48)) {
		return nil, tooOften("too many requests", time.Second)
	}
	defer s.checks.leave()
	done := 0
	if host != nil && !host.Removed {
		for _, c := range credentials {
			if !mayAnswer(host, c, proof) {
				continue
			}
			done++
			if s.holds(host.Name, c, proof) && c.usable(now, u.Source) {
				return c, nil
			}
		}
	}
	for ; done < evenChecks; done++ {
		s.holds(decoyName, s.decoy, proof)
	}
	s.evenReads(ctx, host)
	// Whether there is such a host or not, so it tells a token's holder nothing.
	c, refusal := s.named(ctx, u, now)
	switch {
	case refusal != nil:
		return nil, refusal
	case c != nil:
		return nil, notCovered()
	}
	return nil, s.failed(u, now)
}

// named finds the credential that a token or account names by its ID and holds
// for; nil: there is none, or the proof is neither. It costs the same whether there
// is such an ID or not, but for what the store makes of it.
func (s *Service) named(ctx context.Context, u Update, now time.Time) (*Credential, *Refusal) {
	switch u.Proof.(type) {
	case TokenProof, AccountProof:
	default:
		return nil, nil
	}
	proof := u.Proof
	id := proof.CredentialID()
	if id == "" {
		return nil, nil
	}
	c, err := s.Store.Credential(ctx, id)
	switch {
	case errors.Is(err, ErrNoCredential), errors.Is(err, ErrDamaged):
		c = s.decoy
	case err != nil:
		return nil, unavailable("read the credential", err)
	}
	if !s.holds(decoyName, c, proof) || !c.usable(now, u.Source) {
		return nil, nil
	}
	return c, nil
}

// onlyHost is whose update it is that names no host: the one that its token or
// account covers.
func (s *Service) onlyHost(ctx context.Context, u Update, now time.Time) (dnsname.Name, *Refusal) {
	if !s.checks.enter(ctx, network(u.Source.Addr, 24, 48)) {
		return dnsname.Name{}, tooOften("too many requests", time.Second)
	}
	defer s.checks.leave()
	c, refusal := s.named(ctx, u, now)
	switch {
	case refusal != nil:
		return dnsname.Name{}, refusal
	case c == nil:
		return dnsname.Name{}, s.failed(u, now)
	case len(c.Grants) != 1:
		return dnsname.Name{}, refuse(Malformed, "the request names no host, and its credential covers several", "name the host")
	}
	return c.Grants[0].Host, nil
}

// evenReads reads once more after a proof that does not hold: what is not there
// if the host is, a host that is if it is not. A store may find what it has
// faster, or slower, than what it has not; so both take the time of both.
func (s *Service) evenReads(ctx context.Context, host *Host) {
	name, err := decoyName.Child(randomText(idLength)) // new, lest the store remember it
	if err != nil {
		return // decoyName is short
	}
	if known := s.familiar.Load(); host == nil && known != nil {
		name = *known
	}
	if _, _, err := s.Store.Host(ctx, name); host == nil && errors.Is(err, ErrNoHost) {
		s.familiar.Store(nil) // it has been removed
	}
}

// mayAnswer tells whether a proof could be one of the credential's.
func mayAnswer(h *Host, c *Credential, p Proof) bool {
	// The credential says which hosts it serves and the host says which
	// credentials it has. Both must: the host's word is what Save compares.
	if !slices.Contains(h.Credentials, c.ID) {
		return false
	}
	if p.NeedsSecret() && (c.Sealed == nil || h.SeedOff || !c.shared()) {
		return false
	}
	id := p.CredentialID()
	switch p.(type) {
	case SignatureProof, CodeProof, AccountProof, *TSIGProof:
		return id == c.ID
	}
	// A token has its ID in it. A secret of the user's own has none, but may look so.
	return id == c.ID || c.Kind == KindSeed || p.NeedsSecret()
}

func (s *Service) holds(host dnsname.Name, c *Credential, p Proof) bool {
	if !p.NeedsSecret() {
		return p.Check(c, Secret{})
	}
	secret, err := s.Sealer.Open(host, c.ID, c.Sealed)
	ok := p.Check(c, secret)
	if err == nil {
		return ok
	}
	if s.seldom(&s.complained) {
		s.Log.Error("a sealed secret cannot be opened: its host's seed proof does not work; rotate it, or restore the sealing key",
			"host", host.String(), "credential", c.ID, "err", err)
	}
	return false
}

// seldom is true once a minute.
func (s *Service) seldom(at *atomic.Int64) bool {
	now, last := s.Now().Unix(), at.Load()
	return (now-last >= 60 || now < last) && at.CompareAndSwap(last, now)
}

// failed counts a proof that did not hold. The proof was checked first, so that
// a right one is never refused because of others' wrong ones.
func (s *Service) failed(u Update, now time.Time) *Refusal {
	if wait := s.limits.failed(u.Source, u.Host, now); wait > 0 {
		return tooOften("too many requests", wait)
	}
	return badProof(u.Proof)
}

// badProof says what the caller can look at. It goes by the kind of the proof
// alone, so it tells strangers nothing.
func badProof(p Proof) *Refusal {
	why, fix := "the proof does not hold for this host", "check the host name and the secret"
	switch p.(type) {
	case nil:
		why, fix = "the request does not prove who sent it", "sign it, or send a token"
	case SignatureProof:
		fix = "check the host name; if the key was revoked or has ended, join with a new code"
	case CodeProof:
		why, fix = "the join code does not hold: it is wrong, was used already, or has ended", "check it, or let the operator make a new one"
	}
	return refuse(BadProof, why, fix)
}

// grantFor is a proven credential's grant for a host, if it may be used as it was.
func grantFor(h *Host, c *Credential, p Proof) (Grant, *Refusal) {
	g, ok := c.Grant(h.Name)
	if !ok {
		return g, notCovered()
	}
	if t, ok := p.(TokenProof); ok && t.InURL && !g.URLToken {
		return g, refuse(BadProof, "this credential may not be in a URL, where logs see it",
			"send it as the password of Basic authentication, or let the operator run: godwit host token add "+h.Name.String()+" --url-token")
	}
	return g, nil
}

func notCovered() *Refusal {
	return refuse(NotYours, "this credential does not cover that host", "check the host name, or use the host's own credential")
}

// authorize says whether a proven credential may update this host's types at
// all. Together with decide, which judges each address, it is the only place
// that does, for every door.
func authorize(h *Host, c *Credential, u Update) *Refusal {
	g, refusal := grantFor(h, c, u.Proof)
	if refusal != nil {
		return refusal
	}
	for _, ch := range u.Changes {
		if !g.covers(ch.Type) {
			return refuse(NotYours, fmt.Sprintf("this credential does not cover %s records", ch.Type), "use one that does")
		}
	}
	if u.auto() && !g.covers(familyOf(u.Source.Addr)) {
		return refuse(WrongFamily, fmt.Sprintf("this credential does not cover %s records", familyOf(u.Source.Addr)), "send the update over the other family")
	}
	return nil
}
