// Package api holds what godwit's own JSON API says on the wire: the types that
// the server writes and its clients read, and the OpenAPI document that
// describes every request and answer.
//
// Names have no trailing dot, addresses are RFC 5952 text, times are RFC 3339
// in UTC, durations are whole seconds. A pointer that is nil in a request means
// that nothing is said of that member, which is not the same as an empty value.
// Errors are RFC 9457 problems; see [Problem].
package api

import (
	_ "embed"
	"net/netip"
	"time"
)

// OpenAPI is the OpenAPI 3.0 document of every route, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AdminPath is what all admin routes begin with.
const AdminPath = "/v1/admin"

// Outcomes of a change.
const (
	Changed   = "changed"
	Unchanged = "unchanged"
)

// Words for whose address a host may be given.
const (
	SourceMatch = "match" // the request's own address only
	SourceFree  = "free"  // any that the address policy admits
)

// HostState is one host: what DNS shows of it, its settings and its counters.
type HostState struct {
	Host string `json:"host"`
	// Outcome of the request that this answers: Changed or Unchanged; empty for a reading one.
	Outcome    string       `json:"outcome,omitempty"`
	A          []netip.Addr `json:"a"`    // never null
	AAAA       []netip.Addr `json:"aaaa"` // never null
	TTL        uint32       `json:"ttl"`  // seconds
	Generation uint64       `json:"generation"`
	// Published is the generation that DNS is known to show.
	Published uint64 `json:"published"`

	Zone string `json:"zone"`
	// Addresses is the address policy: "public", "any", or CIDR blocks with commas.
	Addresses string `json:"addresses"`
	Source    string `json:"source"` // SourceMatch or SourceFree
	Seed      bool   `json:"seed"`   // takes the seed's proof
	Suspended bool   `json:"suspended"`
	Wildcard  bool   `json:"wildcard"`
	Lease     int64  `json:"lease,omitempty"` // seconds; 0: none
	// Router is the host that this name follows: all but its addresses is the
	// router's. Empty: it is a host.
	Router    string          `json:"router,omitempty"`
	Followers []FollowerState `json:"followers,omitempty"`
	Prefix    netip.Prefix    `json:"prefix,omitzero"`
	// Challenges are the values at _acme-challenge below the host, the oldest first.
	Challenges []Challenge `json:"challenges,omitempty"`

	Created   time.Time `json:"created"`
	ChangedAt time.Time `json:"changed_at"`
	ChangedBy string    `json:"changed_by"` // credential ID, "admin" or "clock"
	// Seen is the last sign of life, exact to six hours. Zero: none yet.
	Seen time.Time `json:"seen,omitzero"`
	// Refusals were counted for callers who had proved themselves.
	Refusals uint64 `json:"refusals"`
	// Credentials that speak for the host; listings leave them out.
	Credentials []Credential `json:"credentials,omitempty"`
	// URL of the server's public doors; listings leave it out. Empty: not known.
	URL string `json:"url,omitempty"`
}

// Challenge is a value for a certificate authority. It is gone a day after Time.
type Challenge struct {
	Value      string    `json:"value"`
	Credential string    `json:"credential"` // ID of the one that set it
	Time       time.Time `json:"time"`
}

// Follower is a name behind the same router.
type Follower struct {
	Name string `json:"name"`
	// Low is the interface ID below the delegated prefix: "::1234"; with a subnet
	// ID, "0:0:0:5::1/56"; or a MAC address. Answers have one of the first two, and
	// then the length is that of the longest prefix, in whole digits, with room for
	// the subnet ID.
	Low  string `json:"low"`
	A    bool   `json:"a"`    // shows the router's IPv4 addresses
	AAAA bool   `json:"aaaa"` // shows prefix and Low
}

// FollowerState is a follower and what its router's state makes of it.
type FollowerState struct {
	Follower
	Addresses []netip.Addr `json:"addresses"` // never null
}

// Credential is what may be shown of a credential; never a secret.
type Credential struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // token, seed, ed25519, tsig, acme, join
	// Algorithm is a TSIG key's.
	Algorithm string         `json:"algorithm,omitempty"`
	Label     string         `json:"label,omitempty"`
	Types     []string       `json:"types,omitempty"`    // A, AAAA, TXT, prefix; empty: all
	Networks  []netip.Prefix `json:"networks,omitempty"` // sources; empty: all
	Rate      int            `json:"rate,omitempty"`     // accepted changes an hour; 0: the host's limit
	Created   time.Time      `json:"created"`
	Expires   time.Time      `json:"expires,omitzero"`
	State     string         `json:"state"` // active, suspended
	URLToken  bool           `json:"url_token"`
	// Hosts are all that it serves, if they are several.
	Hosts []string `json:"hosts,omitempty"`
	// Seed tells whether it answers the seed's proof.
	Seed bool `json:"seed"`
}

// Created is a new host or credential, and the one time that its token or join
// code is shown.
type Created struct {
	Host string `json:"host"`
	Zone string `json:"zone"`
	TTL  uint32 `json:"ttl"`
	// Hosts are all that the credential serves, if they are several.
	Hosts      []string `json:"hosts,omitempty"`
	Credential string   `json:"credential"`
	// Token is empty if the caller gave a secret of its own, or asked for a join code.
	Token string `json:"token,omitempty"`
	// JoinCode becomes a key by way of Join; it is good until Expires.
	JoinCode string    `json:"join_code,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	TSIG     *TSIGKey  `json:"tsig,omitempty"`
	// URL of the server's public doors; empty if the server does not know it.
	URL string `json:"url"`
}

// TSIGKey is a key for DNS UPDATE messages (RFC 8945).
type TSIGKey struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"` // hmac-sha256 …
	Secret    string `json:"secret"`    // base64
}

// Settings of a host. A nil member is left as it is.
type Settings struct {
	TTL       *uint32     `json:"ttl,omitempty"`       // seconds, 1 to 86400
	Addresses *string     `json:"addresses,omitempty"` // as in HostState
	Source    *string     `json:"source,omitempty"`    // SourceMatch or SourceFree
	Seed      *bool       `json:"seed,omitempty"`
	Suspended *bool       `json:"suspended,omitempty"`
	Wildcard  *bool       `json:"wildcard,omitempty"`
	Lease     *int64      `json:"lease,omitempty"` // seconds; 0: none
	Followers *[]Follower `json:"followers,omitempty"`
}

// AddHost asks for a new host.
type AddHost struct {
	Host string `json:"host"`
	Settings
	// Secret is a shared secret of the user's own; empty: a token is made.
	Secret string `json:"secret,omitempty"`
	// Join makes a join code in place of a token. The seed's proof is off then.
	Join bool `json:"join,omitempty"`
}

// RotateHost asks for one new credential in place of all tokens, secrets, keys
// and join codes of a host.
type RotateHost struct {
	Join   bool   `json:"join,omitempty"`   // as in AddHost
	Secret string `json:"secret,omitempty"` // as in AddHost
	// Seed switches the seed's proof; nil leaves the switch.
	Seed *bool `json:"seed,omitempty"`
}

// TokenSpec asks for a further token. It may narrow what the host may do, never
// widen it.
type TokenSpec struct {
	// Hosts that it serves besides the one in the path; 50 at most with that.
	Hosts    []string       `json:"hosts,omitempty"`
	Label    string         `json:"label,omitempty"` // at most 64 octets
	Types    []string       `json:"types,omitempty"`
	Networks []netip.Prefix `json:"networks,omitempty"`
	Rate     int            `json:"rate,omitempty"`
	Expires  time.Time      `json:"expires,omitzero"`
	URLToken bool           `json:"url_token,omitempty"`
	// TSIG asks for a TSIG key of this algorithm: hmac-sha256, -sha384, -sha512, and
	// hmac-sha1 and hmac-md5 for what knows no other. It has no URLToken.
	TSIG string `json:"tsig,omitempty"`
	// Join asks for a join code: all else is for the key that it becomes, which has
	// no Hosts, no Expires and no URLToken.
	Join bool `json:"join,omitempty"`
}

// RotateToken asks for a new token or TSIG key with the limits of an old one, or for
// a join code in place of a device's key or a code.
type RotateToken struct {
	// Overlap is for how many seconds the old one goes on working.
	Overlap int64 `json:"overlap,omitempty"`
}

// SetToken changes which hosts a token serves. An added one gets the types and
// rights of the host in the path.
type SetToken struct {
	AddHosts    []string `json:"add_hosts,omitempty"`
	RemoveHosts []string `json:"remove_hosts,omitempty"`
}

// TokenHosts are the hosts that a token serves, or served until it was revoked.
type TokenHosts struct {
	Credential string   `json:"credential"`
	Hosts      []string `json:"hosts"` // never null
}

// Tokens are a host's credentials.
type Tokens struct {
	Host        string       `json:"host"`
	Credentials []Credential `json:"credentials"` // never null
}

// HostPage is one page of hosts.
type HostPage struct {
	Hosts []HostState `json:"hosts"` // never null; may be empty before the last page
	// Next is the cursor of the next page; empty: this is the last.
	Next string `json:"next,omitempty"`
}

// Event is what happened to a host.
type Event struct {
	Time       time.Time  `json:"time"`
	Generation uint64     `json:"generation"`
	Outcome    string     `json:"outcome"` // Changed, or the code of a refusal
	Door       string     `json:"door"`
	Credential string     `json:"credential,omitempty"`
	Source     netip.Addr `json:"source,omitzero"`
	// Proven tells whether the transport proves the source; UDP does not.
	Proven bool         `json:"proven"`
	What   string       `json:"what,omitempty"`
	Before []netip.Addr `json:"before,omitempty"`
	After  []netip.Addr `json:"after,omitempty"`
}

// History is a host's newest events, the newest first. A follower's are those of
// its router that were about it.
type History struct {
	Host   string  `json:"host"`
	Router string  `json:"router,omitempty"` // as in HostState
	Events []Event `json:"events"`           // never null
}

// Request is requests for changes that came to a door: the newest of those for
// one host that came from one network (/24 or /48) and had one outcome.
type Request struct {
	// Mark orders requests. It means nothing else.
	Mark   uint64     `json:"mark"`
	Time   time.Time  `json:"time"`  // of the newest
	First  time.Time  `json:"first"` // of the oldest
	Count  uint64     `json:"count"`
	Door   string     `json:"door"`
	Host   string     `json:"host,omitempty"` // empty: none in a zone of this server was named
	Source netip.Addr `json:"source,omitzero"`
	// UserAgent is what the client calls itself, at most 100 octets of printable ASCII.
	UserAgent string `json:"user_agent,omitempty"`
	Outcome   string `json:"outcome"` // Changed, Unchanged, or the code of a refusal
	Why       string `json:"why,omitempty"`
	Fix       string `json:"fix,omitempty"`
}

// Requests are the newest requests for changes, the newest first.
type Requests struct {
	Requests []Request `json:"requests"` // never null
	// Mark is what to give as after to be told only of what comes from now on.
	Mark uint64 `json:"mark"`
}

// InDNS is what a DNS provider has of a host, its followers among it.
type InDNS struct {
	Host   string  `json:"host"`
	RRsets []RRset `json:"rrsets"` // never null
}

// RRset is the records of one name and type that a DNS provider has.
type RRset struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"` // A, AAAA, TXT …
	TTL    uint32   `json:"ttl"`  // seconds
	Values []string `json:"values"`
}

// Zone is one zone that the server serves.
type Zone struct {
	Apex        string   `json:"apex"`
	Serial      uint32   `json:"serial"` // SOA serial; 0: DNS is answered elsewhere
	Hosts       int      `json:"hosts"`
	NameServers []string `json:"name_servers"` // never null
	// Secondaries are those that are told of the zone's changes.
	Secondaries []Secondary `json:"secondaries,omitempty"`
	// DNSSEC tells of the zone's keys. nil: it is not signed here.
	DNSSEC *ZoneKeys `json:"dnssec,omitempty"`
}

// Secondary is a name server that follows a zone. A zero time is never.
type Secondary struct {
	Address string `json:"address"` // with its port
	// Notified is when it last acknowledged a NOTIFY; Problem says why it has not
	// acknowledged the last one.
	Notified time.Time `json:"notified,omitzero"`
	Problem  string    `json:"problem,omitempty"`
	// Transferred is when it last asked for what is new, and Serial the one that it
	// has had since; Transfer is axfr, ixfr, or none if there was nothing new.
	Transferred time.Time `json:"transferred,omitzero"`
	Transfer    string    `json:"transfer,omitempty"`
	Serial      uint32    `json:"serial,omitempty"`
}

// ZoneKeys is what is to be known of a signed zone.
type ZoneKeys struct {
	// DS are the data of the DS records that the parent is to have, and of no
	// others: one; none, if the zone is to be signed no more, or if it is too early.
	// DNSKEY are those of the DNSKEY records that they are of. Both as in a zone file.
	DS      []string  `json:"ds"`     // never null
	DNSKEY  []string  `json:"dnskey"` // never null
	Leaving bool      `json:"leaving"`
	Keys    []ZoneKey `json:"keys"` // never null; in the order of their making
	// Next is what happens next, or is to be done, in a sentence.
	Next string `json:"next"`
	// Due is when; absent: that is up to the parent or the operator.
	Due *time.Time `json:"due,omitempty"`
}

// ZoneKey is one key of a signed zone.
type ZoneKey struct {
	Tag      uint16    `json:"tag"`
	State    string    `json:"state"` // published, signing or retired
	Made     time.Time `json:"made"`
	AtParent bool      `json:"at_parent"` // the parent was seen to have its DS record
}

// ChangeZoneKeys asks for something to be done with a zone's keys.
type ChangeZoneKeys struct {
	// Do is "roll": replace the key; "confirm": take it that the parent has the DS
	// records that it is to have; "leave": sign no more, once the parent has no DS
	// record; "stay": after leave, go on signing.
	Do string `json:"do"`
}

// Zones are all zones.
type Zones struct {
	Zones []Zone `json:"zones"` // never null
}

// ImportResult is what came of an import.
type ImportResult struct {
	Added   int       `json:"added"`
	Skipped []Skipped `json:"skipped"` // never null
}

// Skipped is one host that an import left out.
type Skipped struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// CheckResult is what a check of the store found.
type CheckResult struct {
	OK       bool     `json:"ok"`
	Problems []string `json:"problems"` // never null
}

// Status is what the daemon says of itself.
type Status struct {
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	Hosts     int       `json:"hosts"`
	Zones     int       `json:"zones"`
	Listeners Listeners `json:"listeners"`
	URL       string    `json:"url"`
	Warnings  []string  `json:"warnings"` // never null; what an operator should look at
	// Certificate is the one for HTTPS; nil: no TLS.
	Certificate *Certificate `json:"certificate,omitempty"`
}

// Certificate is the server's TLS certificate.
type Certificate struct {
	Names    []string  `json:"names"`              // never null; none: there is none yet
	NotAfter time.Time `json:"not_after,omitzero"` // zero: there is none yet
	Problem  string    `json:"problem,omitempty"`  // why none could be got, and when the next attempt is
}

// Listeners are the addresses that the daemon listens on, as HOST:PORT or a
// socket's path.
type Listeners struct {
	HTTP  []string `json:"http"`
	HTTPS []string `json:"https"`
	DNS   []string `json:"dns"`
	Admin []string `json:"admin"`
}
