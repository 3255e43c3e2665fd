package ddns

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/dnsname"
)

// Secret is a text that cannot be printed: every fmt verb, slog and JSON say
// "[secret]" instead. The zero value is no secret.
//
// The text is behind a pointer because fmt passes methods by where it may not
// call them, in unexported fields and after a wrong verb: it then prints an
// address. Secrets are not compared with ==.
type Secret struct{ text *string }

// NewSecret takes the text of a secret; "" is no secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal is the one way to the text. Whoever calls it answers for where it goes.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil }

// String, Format, LogValue and MarshalText all hide the text.
func (s Secret) String() string               { return "[secret]" }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("[secret]")) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue("[secret]") }
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Kind is what sort of proof a credential answers.
type Kind string

// All kinds of credentials.
const (
	KindToken   Kind = "token"   // made by us: ID-SECRET; its hash is kept, and for the seed's proof the sealed text
	KindSeed    Kind = "seed"    // a shared secret of the user's own; it works where the host is named
	KindEd25519 Kind = "ed25519" // a device's public key
	KindTSIG    Kind = "tsig"    // a key for UPDATE messages; its secret is kept sealed
	KindACME    Kind = "acme"    // an acme-dns account: TXT at _acme-challenge only
	KindJoin    Kind = "join"    // a one-time code that becomes a key
)

// State of a credential.
type State string

const (
	Active         State = "active"
	CredentialStop State = "suspended" // an operator stopped it
)

// Grant is one host that a credential may speak for, and how.
type Grant struct {
	Host  dnsname.Name `json:"host"`
	Types []Type       `json:"types,omitempty"` // empty: all
	// URLToken allows the credential in a URL, where logs may see it.
	URLToken bool `json:"url_token,omitempty"`
}

func (g Grant) covers(t Type) bool { return len(g.Types) == 0 || slices.Contains(g.Types, t) }

// Credential is what a caller proves to hold. It may narrow its hosts' policy,
// never widen it.
type Credential struct {
	ID        string // 8 characters of a-z2-7, unique in the store
	Kind      Kind
	Algorithm string // of a TSIG key; else empty
	// Verifier checks a proof and cannot make one: SHA-256 of a token or seed
	// secret or join code, or an Ed25519 public key.
	Verifier []byte
	// Sealed is the secret itself, for proofs that need it (the seed's, TSIG).
	// nil: it is kept nowhere.
	Sealed []byte
	// Fingerprint of Sealed's secret, unique in the store; see Sealer.
	Fingerprint []byte
	Grants      []Grant        // at least one
	Networks    []netip.Prefix // sources it may be used from; empty: all
	Rate        int            // accepted changes of a host in any hour, at most MaxEvents; 0: the host's limit alone
	Created     time.Time
	Expires     time.Time // zero: never
	State       State     // one that is not known proves nothing
	Mark        int64     // newest accepted creation time of a signature, Unix seconds
	Label       string    // the owner's note: "router", "laptop"
}

// Grant is the credential's grant for a host, if it has one.
func (c *Credential) Grant(host dnsname.Name) (Grant, bool) {
	for _, g := range c.Grants {
		if g.Host == host {
			return g, true
		}
	}
	return Grant{}, false
}

// shared tells whether caller and server know the same text: a token, or a
// secret of the user's own.
func (c *Credential) shared() bool { return c.Kind == KindToken || c.Kind == KindSeed }

// usable tells whether the credential is good at this time from this source.
func (c *Credential) usable(now time.Time, src Source) bool {
	// A suspended one proves who it is, so that its holder may be told.
	if c.State != Active && c.State != CredentialStop || !c.Expires.IsZero() && !now.Before(c.Expires) {
		return false
	}
	if len(c.Networks) == 0 {
		return true
	}
	return src.Proven && slices.ContainsFunc(c.Networks, func(p netip.Prefix) bool { return p.Contains(src.Addr) })
}

// Proof shows who sent an Update. A door makes one from the bytes it got and
// does not judge it: the core looks the credential up and runs Check.
//
// Check is constant in time: it does the same work whatever the credential is,
// of another kind too, because strangers are answered after a check against a
// decoy.
type Proof interface {
	// CredentialID is the ID that the proof names, or "": then it is tried
	// against each of the host's credentials that it could answer.
	CredentialID() string
	// NeedsSecret tells whether Check needs the secret itself.
	NeedsSecret() bool
	// Check tells whether the proof holds for a credential. secret is its
	// opened secret if NeedsSecret, else zero.
	Check(c *Credential, secret Secret) bool
}

// SeedProof is the seed's: a SHA-256 over source, host name and shared secret.
type SeedProof struct {
	Source Source
	Host   string // exactly as the client sent it
	Hash   [sha256.Size]byte
}

func (p SeedProof) CredentialID() string { return "" }
func (p SeedProof) NeedsSecret() bool    { return true }

func (p SeedProof) Check(c *Credential, secret Secret) bool {
	ok := p.matches(p.Source.Addr.String(), secret)
	if p.Source.Text != "" {
		ok |= p.matches(p.Source.Text, secret)
	}
	return ok == 1 && c.shared()
}

func (p SeedProof) matches(source string, secret Secret) int {
	var room [256]byte
	text := append(append(append(room[:0], source...), p.Host...), secret.Reveal()...)
	sum := sha256.Sum256(text)
	return subtle.ConstantTimeCompare(sum[:], p.Hash[:])
}

// SeedHash is the hash that a seed client sends, as lower-case hex.
func SeedHash(source, host string, secret Secret) string {
	sum := sha256.Sum256([]byte(source + host + secret.Reveal()))
	return hex.EncodeToString(sum[:])
}

// TokenProof is a token, or a shared secret of the user's own, given as it is.
type TokenProof struct {
	Token Secret
	// InURL tells that it came in a query or a path, which needs a right of its own.
	InURL bool
}

func (p TokenProof) CredentialID() string {
	id, secret, ok := strings.Cut(p.Token.Reveal(), "-")
	if ok && len(id) == idLength && len(secret) == secretLength {
		return id
	}
	return ""
}
func (p TokenProof) NeedsSecret() bool { return false }

func (p TokenProof) Check(c *Credential, _ Secret) bool {
	sum := sha256.Sum256([]byte(p.Token.Reveal()))
	return subtle.ConstantTimeCompare(sum[:], c.Verifier) == 1 && c.shared()
}

const (
	idLength     = 8  // 40 bits
	secretLength = 26 // 130 bits
)

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// randomText is n characters of a-z2-7.
func randomText(n int) string {
	raw := make([]byte, n) // more than the 5n bits that are needed
	rand.Read(raw)
	return lowerBase32.EncodeToString(raw)[:n]
}

// NewToken makes a credential of kind token for one host and the token that
// proves it, ID-SECRET: characters that no router fails to escape.
func NewToken(host dnsname.Name, now time.Time) (*Credential, Secret) {
	id := randomText(idLength)
	token := NewSecret(id + "-" + randomText(secretLength))
	return &Credential{
		ID: id, Kind: KindToken, Verifier: hashSecret(token), State: Active,
		Grants: []Grant{{Host: host}}, Created: now,
	}, token
}

func hashSecret(s Secret) []byte {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return sum[:]
}

// newSeed makes a credential of kind seed from a secret of the user's own.
func newSeed(host dnsname.Name, secret Secret, now time.Time) *Credential {
	return &Credential{
		ID: randomText(idLength), Kind: KindSeed, Verifier: hashSecret(secret), State: Active,
		Grants: []Grant{{Host: host}}, Created: now,
	}
}

// CheckOwnSecret says why a text may not be a host's shared secret. minimum is
// the least length in octets.
func CheckOwnSecret(s Secret, minimum int) error {
	text := s.Reveal()
	switch {
	case len(text) < minimum:
		return refuse(Malformed, fmt.Sprintf("the secret is shorter than %d characters", minimum),
			"use a longer one, or leave --secret-file out and let godwit make one")
	case len(text) > 200:
		return refuse(Malformed, "the secret is longer than 200 octets", "use a shorter one")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' }):
		return refuse(Malformed, "the secret has control characters or is not UTF-8", "use printable characters on one line")
	}
	return nil
}
