package api

import "net/netip"

// Paths of the signed door. HostPath is followed by the host's name.
const (
	HostPath      = "/v1/hosts/"
	AddressesPath = "/addresses" // behind HostPath and the name
	KeyPath       = "/key"       // behind HostPath and the name
	JoinPath      = "/v1/join"
)

// SetAddresses asks for a host's addresses to be these. A nil family is left
// alone, an empty one removed; neither of them said means the address that the
// request comes from, its family only.
type SetAddresses struct {
	A      *[]netip.Addr `json:"a,omitempty"`
	AAAA   *[]netip.Addr `json:"aaaa,omitempty"`
	Prefix *netip.Prefix `json:"prefix,omitempty"` // of the host's followers, 48 to 64 bits
}

// Addresses are what a host's owner is told of it.
type Addresses struct {
	Host string `json:"host"`
	// Outcome of the request that this answers: Changed or Unchanged; empty for a reading one.
	Outcome    string       `json:"outcome,omitempty"`
	A          []netip.Addr `json:"a"`    // never null
	AAAA       []netip.Addr `json:"aaaa"` // never null
	Prefix     netip.Prefix `json:"prefix,omitzero"`
	TTL        uint32       `json:"ttl"` // seconds
	Generation uint64       `json:"generation"`
	// Published is the generation that DNS is known to show.
	Published uint64 `json:"published"`
	// Source is where the request came from. A client that names its address
	// learns by it that it has moved, also where any address would be taken.
	Source netip.Addr `json:"source,omitzero"`
	// Now is the server's clock in Unix seconds. Only a reading request is told.
	Now int64 `json:"now,omitempty"`
}

// Join turns a one-time code into a key for its host.
type Join struct {
	Code string `json:"code"` // 16 characters of a-z2-7, with or without hyphens between groups of four
	// PublicKey is Ed25519, 32 octets; base64 on the wire.
	PublicKey []byte `json:"public_key"`
}

// ReplaceKey introduces the key that follows the one that signs the request.
// That one goes on for KeyOverlap and can introduce no other. The same key again
// is the same credential again, because the first answer may have been lost.
type ReplaceKey struct {
	PublicKey []byte `json:"public_key"` // as in Join
}

// KeyOverlap is for how many seconds a replaced key goes on working.
const KeyOverlap = 24 * 60 * 60

// Joined is the place of a key that joined or was introduced.
type Joined struct {
	Host       string `json:"host"`
	Credential string `json:"credential"` // the key's ID
	Now        int64  `json:"now"`        // the server's clock, Unix seconds
}
