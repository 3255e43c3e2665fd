package ddns

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/dnsname"
)

const (
	accountKey    = 40 // characters of an account's key: 200 bits
	accountValues = 2  // of an account that stay: a name and its wildcard are proved at once
)

// AccountProof is user and key of an acme-dns account, which may do nothing but
// add challenge values of its host. The zero value is that of nobody.
type AccountProof struct {
	id  string
	sum [sha256.Size]byte
}

// NewAccountProof takes an account's user, which is a UUID, and its key. What
// cannot be one is a proof of nobody.
func NewAccountProof(user string, key Secret) AccountProof {
	octets, ok := parseUUID(user)
	if text := key.Reveal(); !ok || len(text) != accountKey || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return AccountProof{}
	}
	return AccountProof{accountID(octets), accountSum(octets, key)}
}

// IsAccountUser tells whether a text has the look of an account's user.
func IsAccountUser(text string) bool {
	_, ok := parseUUID(text)
	return ok
}

func (p AccountProof) CredentialID() string { return p.id }
func (p AccountProof) NeedsSecret() bool    { return false }

func (p AccountProof) Check(c *Credential, _ Secret) bool {
	return subtle.ConstantTimeCompare(p.sum[:], c.Verifier) == 1 && c.Kind == KindACME
}

// accountID is the credential's ID: the UUID's first 40 bits, so that the store
// finds it.
func accountID(uuid [16]byte) string { return lowerBase32.EncodeToString(uuid[:5*idLength/8]) }

// accountSum covers all of the UUID, for the ID is a part of it only.
func accountSum(uuid [16]byte, key Secret) [sha256.Size]byte {
	return sha256.Sum256(append(uuid[:], key.Reveal()...))
}

// parseUUID reads the text form of a UUID (RFC 9562 section 4), in either case.
func parseUUID(text string) (uuid [16]byte, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return uuid, false
	}
	n, err := hex.Decode(uuid[:], []byte(text[:8]+text[9:13]+text[14:18]+text[19:23]+text[24:]))
	return uuid, err == nil && n == len(uuid)
}

// newAccount makes an account's user, a random UUID (RFC 9562 section 5.4), its
// key, and the credential that they prove.
func newAccount(host dnsname.Name, now time.Time) (c *Credential, user string, key Secret) {
	var uuid [16]byte
	rand.Read(uuid[:])
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80
	text := hex.EncodeToString(uuid[:])
	user = text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
	key = NewSecret(randomText(accountKey))
	sum := accountSum(uuid, key)
	return &Credential{
		ID: accountID(uuid), Kind: KindACME, Verifier: sum[:], State: Active,
		Grants: []Grant{{Host: host, Types: []Type{TypeTXT}}}, Created: now, Label: "acme-dns",
	}, user, key
}

// Registered is a new acme-dns account, and the one time that its key is shown.
type Registered struct {
	Host       *Host // read only
	Credential *Credential
	User       string
	Key        Secret
	Challenge  dnsname.Name // where its values are shown
}

// Register makes an acme-dns account of the host that u proves to speak for, or
// returns a *Refusal; u has no changes. networks are where the account may be used
// from, within those of the credential that u proves; none: those. The account ends
// with that credential's own end, or by being revoked. It counts as a change of the
// host.
func (s *Service) Register(ctx context.Context, u Update, networks []netip.Prefix) (Registered, error) {
	began := s.Now()
	made, err := s.register(ctx, u, networks)
	s.counts.count(u.Door, Outcome{Changed: err == nil}, err, s.Now().Sub(began))
	return made, err
}

// register is Register, not counted.
func (s *Service) register(ctx context.Context, u Update, networks []netip.Prefix) (Registered, error) {
	u.Source = u.Source.plain()
	u.Changes = []Change{{Type: TypeTXT, Op: Add}}
	if r := s.Admit(u.Source); r != nil {
		return Registered{}, r
	}
	for range maxTries {
		now := s.Now()
		host, credentials, by, refusal := s.prove(ctx, u, now)
		if refusal != nil {
			return Registered{}, refusal // never written down: it may be a guess
		}
		if refusal = authorize(host, by, u); refusal == nil {
			refusal = suspended(host, by)
		}
		if refusal == nil {
			refusal = mayRegister(host, credentials, by, networks)
		}
		if refusal != nil {
			return Registered{}, s.refused(ctx, host, by, u, refusal, now)
		}
		challenge, err := host.challenge()
		if err != nil {
			return Registered{}, s.refused(ctx, host, by, u, noChallenge(), now)
		}
		if host, err = s.meet(ctx, host); err != nil {
			return Registered{}, unavailable("take over the host", err)
		}
		busy, wait := s.Limits.Changes.take(host.Busy, now)
		if wait > 0 {
			return Registered{}, s.refused(ctx, host, by, u, tooOften(host.Name.String()+" changed too often", wait), now)
		}
		c, user, key := newAccount(host.Name, now)
		c.Networks, c.Rate, c.Expires = by.Networks, by.Rate, by.Expires
		if len(networks) > 0 {
			c.Networks = networks
		}
		h := host.Clone()
		h.Generation++
		h.ChangedAt, h.ChangedBy, h.Seen, h.Busy = now, by.ID, now, busy
		h.Credentials = append(h.Credentials, c.ID)
		w := Write{Before: host, Host: h, Credentials: []*Credential{c}, Event: Event{
			Time: now, Generation: h.Generation, Outcome: changed, Door: u.Door, Credential: by.ID, Source: u.Source.Addr,
			Proven: u.Source.Proven, What: "acme-dns account " + c.ID + " registered", Before: host.Current(), After: h.Current(),
		}}
		w.setEnds(credentials)
		if err := h.Validate(); err != nil {
			return Registered{}, s.refused(ctx, host, by, u, tooManyAccounts(), now)
		}
		if err = s.save(ctx, w); errors.Is(err, ErrConflict) {
			continue
		} else if err != nil {
			return Registered{}, unavailable("store the account", err)
		}
		_ = s.show(ctx, h) // logged, and for Repair
		return Registered{Host: h, Credential: c, User: user, Key: key, Challenge: challenge}, nil
	}
	return Registered{}, unavailable("store the account", ErrConflict)
}

// mayRegister refuses an account beyond the number that a host may have, or one
// that would be good where the credential that asks for it is not.
func mayRegister(h *Host, credentials []*Credential, by *Credential, networks []netip.Prefix) *Refusal {
	if !by.shared() { // else who has stolen an account could go on making new ones
		return refuse(NotYours, "only a token registers an account", "send the host's token")
	}
	accounts := 0
	for _, c := range credentials {
		if c.Kind == KindACME && slices.Contains(h.Credentials, c.ID) {
			accounts++
		}
	}
	if accounts >= MaxAccounts {
		return tooManyAccounts()
	}
	within := func(p netip.Prefix) bool {
		return slices.ContainsFunc(by.Networks, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
	}
	if len(by.Networks) > 0 && slices.ContainsFunc(networks, func(p netip.Prefix) bool { return !within(p) }) {
		return refuse(NotYours, "the credential that registers is not good in all of these networks", "name networks within its own, or none")
	}
	return nil
}

func tooManyAccounts() *Refusal {
	return refuse(TooMany, fmt.Sprintf("the host has as many credentials as it may have, or %d acme-dns accounts", MaxAccounts),
		"let the operator revoke one that is not used: godwit host token list NAME shows them")
}

// noChallenge refuses challenge values of a host that has no place for them.
func noChallenge() *Refusal {
	return refuse(NotYours, "this host has no challenge name of its own", "a wildcard's challenge stands at the name below the star: use that host")
}

// challengeTaken refuses a host's first challenge values where something else
// stands: DNS could not show them.
func (s *Service) challengeTaken(h, next *Host) *Refusal {
	if len(h.TXT) > 0 || len(next.TXT) == 0 {
		return nil
	}
	owner, err := next.challenge()
	if err == nil {
		err = s.Zones.Clash(owner)
	}
	if err == nil {
		return nil
	}
	return &Refusal{Code: NotYours, Why: "something else stands at the host's challenge name", Fix: "let the operator take the record there out of the zone file",
		Cause: err}
}
