package ddns

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"

	"godwit/internal/dnsname"
)

const (
	// CodeLife is how long a join code may be used.
	CodeLife = 24 * time.Hour
	// KeyOverlap is how long a key goes on working after it has introduced the next.
	KeyOverlap = 24 * time.Hour
	// KeySize is the length of a public key in octets.
	KeySize = ed25519.PublicKeySize

	codeLength = 16 // 80 bits
)

// CodeProof is a join code, as its hash.
type CodeProof struct{ sum [sha256.Size]byte }

// ParseCode reads a join code: 16 characters of a-z2-7 in either case, with
// hyphens between groups of four or without.
func ParseCode(text string) (CodeProof, bool) {
	if len(text) == codeLength+3 && text[4] == '-' && text[9] == '-' && text[14] == '-' {
		text = text[:4] + text[5:9] + text[10:14] + text[15:]
	}
	text = strings.ToLower(text)
	if len(text) != codeLength || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return CodeProof{}, false
	}
	return CodeProof{sha256.Sum256([]byte(text))}, true
}

// CredentialID is the beginning of the hash, so that the store finds a code, and
// who sees the ID learns nothing of use about it.
func (p CodeProof) CredentialID() string { return lowerBase32.EncodeToString(p.sum[:5*idLength/8]) }
func (p CodeProof) NeedsSecret() bool    { return false }

func (p CodeProof) Check(c *Credential, _ Secret) bool {
	return subtle.ConstantTimeCompare(p.sum[:], c.Verifier) == 1 && c.Kind == KindJoin
}

// newJoin makes a join code for one host.
func newJoin(host dnsname.Name, now time.Time) Created {
	text := randomText(codeLength)
	text = text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
	p, _ := ParseCode(text) // it is one
	return Created{Code: NewSecret(text), Credential: &Credential{
		ID: p.CredentialID(), Kind: KindJoin, Verifier: p.sum[:], State: Active,
		Grants: []Grant{{Host: host}}, Created: now, Expires: now.Add(CodeLife),
	}}
}

// rotates tells whether the credential is one that rotating a host replaces.
func (c *Credential) rotates() bool {
	return c.shared() || c.Kind == KindTSIG || c.Kind == KindEd25519 || c.Kind == KindJoin
}

// AddJoin is [Service.Add] with a join code as the first credential: the host
// has no shared secret, so the seed's proof is off.
func (s *Service) AddJoin(ctx context.Context, name dnsname.Name, settings Settings) (Created, error) {
	if settings.SeedOff != nil && !*settings.SeedOff {
		return Created{}, refuse(Malformed, "a host that a device joins has no shared secret for the seed's proof", "leave --seed or --join out")
	}
	settings.SeedOff = new(true)
	return s.add(ctx, name, settings, func(h *Host, now time.Time) (Created, error) { return newJoin(h.Name, now), nil })
}

// RotateJoin is [Service.Rotate] with a join code as the new credential. The
// seed's proof is off then.
func (s *Service) RotateJoin(ctx context.Context, name dnsname.Name) (Created, error) {
	return s.rotate(ctx, name, new(true), func(h *Host, now time.Time) (Created, error) { return newJoin(h.Name, now), nil })
}

// Joined is a key's place.
type Joined struct {
	Host       *Host // read only
	Credential *Credential
	New        bool // it was not there before
}

func suspended(h *Host, c *Credential) *Refusal {
	if !h.Suspended && c.State != CredentialStop {
		return nil
	}
	return refuse(Suspended, "an operator stopped this host or credential", "ask the operator of this server")
}

// keyOf finds the credential of a public key on a host; nil if there is none.
func keyOf(h *Host, credentials []*Credential, key ed25519.PublicKey) *Credential {
	for _, c := range credentials {
		if c.Kind == KindEd25519 && slices.Contains(h.Credentials, c.ID) && subtle.ConstantTimeCompare(c.Verifier, key) == 1 {
			return c
		}
	}
	return nil
}

// Join turns a join code into the credential of a public key of KeySize octets,
// or returns a *Refusal. The same code and key again give the same credential,
// because the first answer may have been lost.
//
// A code that is unknown, used or expired costs the same and answers the same.
func (s *Service) Join(ctx context.Context, door string, src Source, p CodeProof, key ed25519.PublicKey) (Joined, error) {
	// One name for all codes, so that guesses are limited by their source alone.
	u := Update{Host: decoyName, Door: door, Proof: p, Source: src.plain()}
	if r := s.Admit(u.Source); r != nil {
		return Joined{}, r
	}
	for range maxTries {
		now := s.Now()
		host, credentials, err := s.behind(ctx, p.CredentialID())
		if err != nil {
			return Joined{}, unavailable("look for the join code", err)
		}
		if host != nil {
			// The key has the ID that its code had.
			if c := keyOf(host, credentials, key); c != nil && c.ID == p.CredentialID() && c.usable(now, u.Source) {
				return Joined{Host: host, Credential: c}, nil
			}
		}
		code, refusal := s.authenticate(ctx, host, credentials, u, now)
		if refusal == nil {
			refusal = suspended(host, code)
		}
		if refusal != nil {
			return Joined{}, refusal
		}
		w, c := newKey(host, code, code.ID, key, u, now)
		w.Event.What = "key joined"
		w.setEnds(credentials)
		err = s.save(ctx, w)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return Joined{}, unavailable("store the key", err)
		}
		_ = s.show(ctx, w.Host) // logged, and for Repair
		return Joined{Host: w.Host, Credential: c, New: true}, nil
	}
	return Joined{}, unavailable("store the key", ErrConflict)
}

// behind is the host of a credential, with all its credentials; nil if there is none.
func (s *Service) behind(ctx context.Context, id string) (*Host, []*Credential, error) {
	c, err := s.Store.Credential(ctx, id)
	if errors.Is(err, ErrNoCredential) || errors.Is(err, ErrDamaged) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	host, credentials, err := s.Store.Host(ctx, c.Grants[0].Host)
	if errors.Is(err, ErrNoHost) || errors.Is(err, ErrDamaged) {
		return nil, nil, nil
	}
	return host, credentials, err
}

// newKey begins the write that gives a host a key with the limits of the
// credential by which it came.
func newKey(host *Host, by *Credential, id string, key ed25519.PublicKey, u Update, now time.Time) (Write, *Credential) {
	h := host.Clone()
	h.Generation++
	h.ChangedAt, h.ChangedBy, h.Seen = now, id, now
	c := &Credential{
		ID: id, Kind: KindEd25519, Verifier: slices.Clone(key), State: Active, Grants: slices.Clone(by.Grants), Networks: by.Networks,
		Rate: by.Rate, Label: by.Label, Created: now,
		Mark: now.Unix() - 1, // it has signed nothing before, and may sign in this second
	}
	return Write{Before: host, Host: h, Credentials: []*Credential{c}, Event: Event{
		Time: now, Generation: h.Generation, Outcome: changed, Door: u.Door, Credential: by.ID, Source: u.Source.Addr,
		Proven: u.Source.Proven, Before: h.Current(), After: h.Current(),
	}}, c
}

// ReplaceKey gives a host the key that the key which proves u introduces, with
// the same limits, or returns a *Refusal. The old one goes on for KeyOverlap and
// introduces no other. The same new key again gives the same credential. It
// counts as a change of the host.
func (s *Service) ReplaceKey(ctx context.Context, u Update, key ed25519.PublicKey) (Joined, error) {
	u.Source = u.Source.plain()
	if r := s.Admit(u.Source); r != nil {
		return Joined{}, r
	}
	for range maxTries {
		now := s.Now()
		host, credentials, old, refusal := s.prove(ctx, u, now)
		if refusal == nil {
			refusal = fresh(host, old, u, now)
		}
		if refusal != nil {
			return Joined{}, refusal
		}
		there := keyOf(host, credentials, key)
		if refusal = suspended(host, old); refusal == nil && there == nil {
			refusal = mayIntroduce(old)
		}
		if refusal != nil {
			return Joined{}, s.refused(ctx, host, old, u, refusal, now)
		}
		if there != nil {
			if err := s.touch(ctx, host, u.mark(old, now, false)); errors.Is(err, ErrConflict) || errors.Is(err, ErrNoHost) {
				continue
			} else if err != nil {
				return Joined{}, unavailable("move the replay mark", err)
			}
			return Joined{Host: host, Credential: there}, nil
		}
		busy, wait := s.Limits.Changes.take(host.Busy, now)
		if wait > 0 {
			return Joined{}, s.refused(ctx, host, old, u, tooOften(host.Name.String()+" changed too often", wait), now)
		}
		w, c := newKey(host, old, randomText(idLength), key, u, now)
		ending := *old
		ending.Expires, ending.Mark = now.Add(KeyOverlap), u.mark(old, now, true).Mark
		w.Credentials = append(w.Credentials, &ending)
		w.Host.Credentials = append(w.Host.Credentials, c.ID)
		w.Host.Busy = busy
		w.Event.What = "key " + old.ID + " introduced " + c.ID
		w.setEnds(credentials)
		if err := w.Host.Validate(); err != nil {
			return Joined{}, refuse(TooMany, "the host has as many credentials as it may have", "let the operator revoke one that is not used")
		}
		err := s.save(ctx, w)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return Joined{}, unavailable("store the key", err)
		}
		_ = s.show(ctx, w.Host) // logged, and for Repair
		return Joined{Host: w.Host, Credential: c, New: true}, nil
	}
	return Joined{}, unavailable("store the key", ErrConflict)
}

// mayIntroduce refuses credentials that cannot introduce a key.
func mayIntroduce(c *Credential) *Refusal {
	switch {
	case c.Kind != KindEd25519:
		return refuse(NotYours, "only a key introduces a key", "sign the request")
	case len(c.Grants) > 1:
		return refuse(NotYours, "this key serves several hosts", "let the operator make a join code for each")
	case !c.Expires.IsZero():
		// Else whoever has stolen it could go on making new ones.
		return refuse(NotYours, "this key is being replaced already", "use the new key, or let the operator make a join code")
	}
	return nil
}

// Look returns the host that the caller proves to speak for, read only, or a
// *Refusal. A signature is held to the clock; no mark moves, for nothing changes.
func (s *Service) Look(ctx context.Context, u Update) (*Host, error) {
	u.Source = u.Source.plain()
	if r := s.Admit(u.Source); r != nil {
		return nil, r
	}
	now := s.Now()
	host, _, c, refusal := s.prove(ctx, u, now)
	if refusal != nil {
		return nil, refusal
	}
	if p, ok := u.Proof.(SignatureProof); ok {
		if refusal = p.CheckTime(now); refusal != nil {
			return nil, refusal
		}
	}
	if _, refusal = grantFor(host, c, u.Proof); refusal == nil {
		refusal = suspended(host, c)
	}
	if refusal != nil {
		return nil, s.refused(ctx, host, c, u, refusal, now)
	}
	return host, nil
}

// ends is when a credential ends and is swept; zero: never. A token that has
// ended stays to be seen, for an operator said when.
func (c *Credential) ends() time.Time {
	if c.Kind == KindJoin || c.Kind == KindEd25519 {
		return c.Expires
	}
	return time.Time{}
}

// setEnds notes when the next of the credentials ends that the write leaves its
// host, which had these before.
func (w *Write) setEnds(before []*Credential) {
	h := w.Host
	h.Ends = time.Time{}
	for i, c := range slices.Concat(w.Credentials, before) {
		stale := i >= len(w.Credentials) && slices.ContainsFunc(w.Credentials, func(n *Credential) bool { return n.ID == c.ID })
		if end := c.ends(); !stale && !end.IsZero() && slices.Contains(h.Credentials, c.ID) && (h.Ends.IsZero() || end.Before(h.Ends)) {
			h.Ends = end
		}
	}
}

// dropEnded takes the join codes and keys that have ended from a write's host.
func (s *Service) dropEnded(ctx context.Context, w *Write, now time.Time) error {
	if w.Before.Ends.IsZero() || now.Before(w.Before.Ends) {
		return nil
	}
	host, credentials, err := s.Store.Host(ctx, w.Before.Name)
	switch {
	case errors.Is(err, ErrNoHost) || err == nil && host.Generation != w.Before.Generation:
		return ErrConflict
	case err != nil:
		return err
	}
	for _, c := range credentials {
		if end := c.ends(); !end.IsZero() && !now.Before(end) {
			w.drop(w.Host, c)
		}
	}
	w.setEnds(credentials)
	return nil
}
