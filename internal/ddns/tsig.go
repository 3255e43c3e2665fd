package ddns

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/tsig"
)

// tsigName is the associated data of TSIG secrets in place of a host's name: a
// key may serve several hosts, which come and go.
var tsigName = dnsname.MustParse("tsig.invalid")

// sealedFor is the name that the credential's secret is sealed with, on a host.
func (c *Credential) sealedFor(host dnsname.Name) dnsname.Name {
	if c.Kind == KindTSIG {
		return tsigName
	}
	return host
}

func (c *Credential) tsigAlgorithmKnown() bool { return tsig.Algorithm(c.Algorithm).Size() > 0 }

// newTSIG makes a TSIG key, whose secret is as long as its MAC.
func (s *Service) newTSIG(h *Host, algorithm tsig.Algorithm, now time.Time) (Created, error) {
	raw := make([]byte, algorithm.Size())
	rand.Read(raw)
	secret := NewSecret(base64.StdEncoding.EncodeToString(raw))
	c := &Credential{
		ID: randomText(idLength), Kind: KindTSIG, Algorithm: string(algorithm), Verifier: hashSecret(secret), State: Active,
		Grants: []Grant{{Host: h.Name}}, Created: now,
	}
	return Created{Credential: c, TSIGSecret: secret}, s.seal(h, c, secret)
}

// tsigSecret is a TSIG secret's octets; nil if its text is not base64.
func tsigSecret(s Secret) []byte {
	raw, err := base64.StdEncoding.DecodeString(s.Reveal())
	if err != nil {
		return nil
	}
	return raw
}

// TSIGName is the name of a TSIG key for a host's zone. The key answers to its
// name in each zone of the installation.
func (c *Credential) TSIGName(h *Host) (dnsname.Name, error) { return h.Zone.Child(c.ID) }

// TSIGProof is a DNS message's TSIG record. Only [Service.VerifyTSIG] makes one
// that holds: it shows that the core has checked the record over the octets that
// came. It serves one message, and one goroutine.
type TSIGProof struct {
	id     string
	sealed []byte // the credential's, so that one replaced meanwhile does not hold; nil: the proof holds for nothing
	key    tsig.Key
	record tsig.Record
}

func (p *TSIGProof) CredentialID() string { return p.id }
func (p *TSIGProof) NeedsSecret() bool    { return false }

func (p *TSIGProof) Check(c *Credential, _ Secret) bool {
	return subtle.ConstantTimeCompare(p.sealed, c.Sealed) == 1 && p.sealed != nil && c.Kind == KindTSIG
}

// time is when the message was signed, Unix seconds.
func (p *TSIGProof) time() int64 { return int64(p.record.Time) }

// Sign signs a response to the message, and appends the TSIG record. code is 0,
// tsig.BadTime or tsig.BadTrunc.
func (p *TSIGProof) Sign(response []byte, code uint16, now time.Time) []byte {
	r := p.record.Response(code, now)
	signed, _ := p.key.Sign(response, &r, p.record.MAC, false)
	return signed
}

// SignedLen is how many octets Sign appends.
func (p *TSIGProof) SignedLen(code uint16) int {
	r := p.record.Response(code, time.Time{})
	return r.Size() + p.key.Algorithm.Size()
}

// VerifyTSIG checks the TSIG record of a message that came from src (RFC 8945
// section 5.2). The error is nil, or one of package tsig, or a *Refusal with code
// rate-limited or unavailable. With tsig.ErrTime and tsig.ErrTrunc there is a
// proof as well, to sign the response with; it proves nothing else.
//
// A key that is unknown, has ended, or is not good from there is tsig.ErrKey, after
// a check against a decoy. Unless the transport proves the source, failures count
// against nobody: they would count against whom they name. The message counts
// against its source's limit only when it is an update.
func (s *Service) VerifyTSIG(ctx context.Context, src Source, msg []byte, r tsig.Record) (*TSIGProof, error) {
	src = src.plain()
	if !s.checks.enter(ctx, network(src.Addr, 24, 48)) {
		return nil, tooOften("too many requests", time.Second)
	}
	defer s.checks.leave()
	now := s.Now()
	c, key, err := s.tsigKey(ctx, r)
	if err != nil {
		return nil, unavailable("read the credential", err)
	}
	err = key.Verify(msg, &r, nil, false, now)
	if c == nil || !c.usable(now, src) {
		err = tsig.ErrKey
	}
	switch {
	case err == nil && s.replays.stale(c, int64(r.Time), now):
		err = tsig.ErrTime
	case errors.Is(err, tsig.ErrKey), errors.Is(err, tsig.ErrSig):
		if !src.Proven {
			break
		}
		if wait := s.limits.failed(src, tsigName, now); wait > 0 {
			return nil, tooOften("too many requests", wait)
		}
	}
	p := &TSIGProof{key: key, record: r}
	switch {
	case err == nil:
		p.id, p.sealed = c.ID, c.Sealed
	case !errors.Is(err, tsig.ErrTime) && !errors.Is(err, tsig.ErrTrunc):
		p = nil
	}
	return p, err
}

// tsigKey finds the credential that a record names, and its key. If there is
// none, or it is of another algorithm, the credential is nil and the key a decoy
// that nobody has.
func (s *Service) tsigKey(ctx context.Context, r tsig.Record) (*Credential, tsig.Key, error) {
	key := tsig.Key{Name: r.Name, Algorithm: tsig.SHA256, Secret: s.decoy.Verifier}
	if a, ok := tsig.FromWire(r.Algorithm); ok {
		key.Algorithm = a
	}
	if len(r.Name) <= 1+idLength || r.Name[0] != idLength {
		return nil, key, nil
	}
	apex, _, err := dnsname.FromWire(r.Name[1+idLength:])
	if err != nil {
		return nil, key, nil
	}
	if zone, ok := s.Zones.Zone(apex); !ok || zone != apex {
		return nil, key, nil
	}
	c, err := s.Store.Credential(ctx, string(r.Name[1:1+idLength]))
	switch {
	case errors.Is(err, ErrNoCredential), errors.Is(err, ErrDamaged):
		return nil, key, nil
	case err != nil:
		return nil, key, err
	case c.Kind != KindTSIG || c.Algorithm != string(key.Algorithm) || c.Sealed == nil:
		return nil, key, nil
	}
	secret, err := s.Sealer.Open(tsigName, c.ID, c.Sealed)
	raw := tsigSecret(secret)
	if err != nil || len(raw) == 0 {
		if s.seldom(&s.complained) {
			s.Log.Error("the sealed secret of a TSIG key cannot be opened: rotate the key, or restore the sealing key", "credential", c.ID, "err", err)
		}
		return nil, key, nil
	}
	key.Secret = raw
	return c, key, nil
}
