// Package ddns is godwit's core: hosts whose addresses change, and the one way
// in which they change.
//
// A [Host] is one owner name that someone may update. A door (seed JSON,
// dyndns2, a DNS UPDATE message …) turns foreign bytes into an [Update] and
// hands it to [Service.Update], which does the same six steps for all of them:
//
//	authenticate → authorize → decide → store → publish → record
//
// The core does no I/O of its own and knows no DNS library and no cloud: a
// [Store] keeps hosts, a [Publisher] makes DNS show them. What must hold:
//
//   - A change is durable before it is acknowledged, and published after it is durable.
//   - The [Store] compares and sets by [Host.Generation], which counts a host's
//     accepted changes and never restarts for a name.
//   - Publishing is by state and idempotent. An older state never replaces a newer one.
//   - Absent is not empty: a family that an Update does not name is left alone.
//   - An Update that changes nothing writes nothing and calls nothing.
//   - Nobody learns whether a host exists without a proof that holds for it.
package ddns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"godwit/internal/dnsname"
)

// Limits of every host and update (docs/protocols.md). They bound what one row,
// one answer and one request can cost.
const (
	MaxAddresses   = 8  // per family and host
	MaxTXT         = 8  // values per host
	MaxAccounts    = 8  // acme-dns accounts per host, which count as credentials too
	MaxFollowers   = 64 // per host
	MaxCredentials = 16 // per host
	MaxGrants      = 50 // hosts that one credential may serve: all are written in one transaction
	MaxEvents      = 32 // accepted changes kept per host, the newest
	MaxRefusals    = 8  // refusals kept per host, the newest
	MaxTTL         = 86400
	DefaultTTL     = 60
	// SeenEvery is how coarse Host.Seen is: at most one write per host and 6 hours.
	SeenEvery = 6 * time.Hour
	// RefusalEvery is how often a host's refusals are written down at most.
	RefusalEvery = 10 * time.Minute
)

// Errors that a Store returns, to be matched with errors.Is. Any other error
// means that the store could not do its work, and after a write that the
// outcome is unknown.
var (
	ErrNoHost       = errors.New("no such host")
	ErrNoCredential = errors.New("no such credential")
	// ErrConflict: the host is not at the generation that the write was decided
	// on. Nothing was written; read again and decide again.
	ErrConflict = errors.New("the host has changed meanwhile")
	// ErrNameTaken: a host or a follower has the name already. Nothing was written.
	ErrNameTaken = errors.New("the name is taken")
	// ErrSecretTaken: another host has the same shared secret. Nothing was written.
	ErrSecretTaken = errors.New("another host has this secret")
	// ErrDamaged: there is something of the host that cannot be read. It is neither
	// updated nor published until an operator mends it.
	ErrDamaged = errors.New("what is stored of the host is damaged")
)

// Code is the stable word for why an update was refused. It is part of the API.
type Code string

// The codes of docs/protocols.md, one list for all doors.
const (
	Malformed         Code = "malformed"           // cannot be parsed
	BadProof          Code = "bad-proof"           // unknown host; wrong, revoked or expired credential
	Clock             Code = "clock"               // a signature is from another time
	Replayed          Code = "replayed"            // a signature is not newer than what was accepted
	NotYours          Code = "not-yours"           // the proof holds; this name or type is not covered
	NotSource         Code = "not-source"          // the address is not the request's own
	AddressNotAllowed Code = "address-not-allowed" // outside the host's address policy
	WrongFamily       Code = "wrong-family"        // the host or credential takes none of this family
	TooMany           Code = "too-many"            // more values than a host may have
	Suspended         Code = "suspended"           // an operator stopped the host or the credential
	RateLimited       Code = "rate-limited"        // too often
	Unavailable       Code = "unavailable"         // the store failed before the change was durable
	ConditionFailed   Code = "precondition"        // a condition that the request made does not hold

	// Told to operators only.
	NotFound Code = "not-found" // there is no such host or credential
	Exists   Code = "exists"    // the name is taken
)

// Refusal is an update or a command that was not done, for a reason the caller
// can act on. The server's state is as it was.
type Refusal struct {
	Code Code
	Why  string // what was wrong; names no secret, no table, no path
	Fix  string // what to do
	// RetryAfter, when positive, is when trying again makes sense.
	RetryAfter time.Duration
	// LastCreated is what the time of a signature must be greater than, in Unix
	// seconds, for code replayed.
	LastCreated int64
	// Failed is the precondition that did not hold, for code precondition.
	Failed PreconditionKind
	// Cause is for the operator's log; it is never shown to a caller.
	Cause error
}

func (r *Refusal) Error() string {
	if r.Fix == "" {
		return fmt.Sprintf("%s: %s", r.Code, r.Why)
	}
	return fmt.Sprintf("%s: %s; %s", r.Code, r.Why, r.Fix)
}

func (r *Refusal) Unwrap() error { return r.Cause }

func refuse(code Code, why, fix string) *Refusal { return &Refusal{Code: code, Why: why, Fix: fix} }

// Store keeps hosts, names, credentials and events. storetest is its contract.
//
// Safe for concurrent use. What a Store returns is shared and must not be
// changed by the caller; Save takes ownership of what it is given.
type Store interface {
	// Host returns the host of that name and all credentials granted on it, or
	// ErrNoHost, or ErrDamaged. A removed host is returned until DNS is empty of it.
	Host(ctx context.Context, name dnsname.Name) (*Host, []*Credential, error)
	// Credential finds a credential by its ID, or ErrNoCredential.
	Credential(ctx context.Context, id string) (*Credential, error)
	// Owner says which host owns a name, be it the host's own or a follower's,
	// or ErrNoHost.
	Owner(ctx context.Context, name dnsname.Name) (dnsname.Name, error)
	// Save makes all writes or none, durably, or returns ErrConflict,
	// ErrNameTaken or ErrSecretTaken.
	Save(ctx context.Context, writes ...Write) error
	// Touch notes what is not a change: see Touch. It returns ErrConflict when
	// the host is at another generation or the mark would not advance.
	Touch(ctx context.Context, name dnsname.Name, generation uint64, t Touch) error
	// Refused counts n refusals of a host and records the newest. Unknown hosts are ignored.
	Refused(ctx context.Context, name dnsname.Name, e Event, n uint64) error
	// Note records that DNS is known to show the host's RRsets as they were at
	// this generation, and returns the generation that the host is at. It never
	// takes Published back, and once a removed host's removal is noted the host is
	// gone. ErrNoHost when it is gone already.
	Note(ctx context.Context, name dnsname.Name, generation uint64, shown []RRset) (latest uint64, err error)
	// Hosts, Unpublished and Due list hosts page by page: start with cursor "",
	// go on with the one returned until it is "" again. limit is 1 to 1000. A
	// host that stays throughout is listed exactly once; one that comes or goes
	// meanwhile may be.
	Hosts(ctx context.Context, cursor string, limit int) ([]*Host, string, error)
	// Unpublished lists hosts with Published below Generation.
	Unpublished(ctx context.Context, cursor string, limit int) ([]*Host, string, error)
	// Due lists hosts whose NextDue is set and not after now.
	Due(ctx context.Context, now time.Time, cursor string, limit int) ([]*Host, string, error)
	// Events returns the newest events of a host, accepted changes (at least
	// MaxEvents) and refusals (at least MaxRefusals), the newest first.
	Events(ctx context.Context, name dnsname.Name) ([]Event, error)
}

// Write is the new state of one host, decided on the state Before, and what
// goes with it in the same transaction.
//
// What Note, Touch and Refused have written since Before was read is no change
// of generation and must not be lost: the store keeps the greater of what it has
// and what it is given of Published (with its Shown), Seen, Refusals and each
// credential's Mark.
type Write struct {
	// Before is the state that the change was decided on, as the store returned
	// it; the host must still be at its generation. nil: there must be no such host.
	Before *Host
	// Host is the new state, one generation further. For a new host the store
	// adds the generation at which an earlier host of that name went, because
	// generations never restart for a name, to Generation and Published alike.
	// If Host is removed and Published equals Generation, DNS is empty by
	// construction and the row goes in this transaction.
	Host  *Host
	Event Event
	// Credentials are added, or replaced by ID. IDs are random and short: one that
	// a credential without any of these hosts has already is ErrConflict, and
	// deciding again makes another.
	Credentials []*Credential
	// Revoked are credential IDs to remove, before Credentials are added: a
	// fingerprint of theirs is free again.
	Revoked []string
	// Touch moves a replay mark in the same transaction, or nothing is written and
	// the error is ErrConflict: the mark would not advance. Its credential is not
	// among Credentials and Revoked, and it has no Seen.
	Touch Touch
}

// Touch is what may be written without a change of generation.
type Touch struct {
	// Seen is the new Host.Seen; zero leaves it.
	Seen time.Time
	// Credential and Mark move that credential's replay mark forward; "" leaves it.
	// Of a credential that serves several hosts a store may keep a mark for each;
	// Credential then returns the greatest.
	Credential string
	Mark       int64
}

// Sealer keeps shared secrets unreadable in a stolen store. Associated data are
// the host name and the credential ID, so a sealed secret cannot be moved to
// another row; a TSIG key, which may serve several hosts, has tsig.invalid for a name. Safe for concurrent use.
type Sealer interface {
	Seal(host dnsname.Name, credential string, secret Secret) ([]byte, error)
	Open(host dnsname.Name, credential string, sealed []byte) (Secret, error)
	// Fingerprint is the same for the same secret and tells nothing about it
	// without the sealing key.
	Fingerprint(secret Secret) []byte
}

// Publisher makes DNS show what hosts say. publishtest is its contract.
//
// Publish is by state and idempotent: it looks at [Host.RRsets], not at what
// changed, and takes away what it or another published of the host before
// (Host.Shown is what DNS is known to have shown). It returns one result per
// host, in order. A host that DNS does not take hinders no other one. A
// publisher that can tell does not publish a state older than what DNS shows
// already, and the result then has the newer generation; for one that cannot,
// the core publishes the newest state again. Whatever the result, nothing of
// this call reaches DNS after it has returned. Safe for concurrent use.
type Publisher interface {
	Publish(ctx context.Context, hosts []*Host) []Published
}

// Published is what DNS shows for one host after a Publish.
type Published struct {
	Generation uint64  // that DNS shows; meaningless if Err is not nil
	Shown      []RRset // what DNS shows at that generation
	Err        error   // why it is not known to show it; see ErrNotTaken
}

// Zones are the zones that an installation serves.
type Zones interface {
	// Zone is the apex of the longest matching zone, and whether there is one.
	Zone(name dnsname.Name) (dnsname.Name, bool)
	// Clash returns an error that names the place (file and line) when a static
	// record, a name server or a delegation stands where a host of that name would.
	Clash(name dnsname.Name) error
}

// Commit is one durable transaction, as a store tells it to a follower that
// publishes by construction: every host it wrote, and the new serial of every
// zone that it touched.
type Commit struct {
	Changes []HostChange
	Serials map[dnsname.Name]Serial
}

// HostChange is a host before and after a transaction. Before is nil for a new
// host. After is never nil: a removed host is marked so.
type HostChange struct{ Before, After *Host }

// Serial is a SOA serial. It has no order with <, because RFC 1982 gives it none.
type Serial uint32

// Before tells whether s comes before t in the sense of RFC 1982 section 3.2.
// Serials half the circle apart are not comparable; false then.
func (s Serial) Before(t Serial) bool { return int32(t-s) > 0 }

// Next is the serial after s: the Unix time, so that secondaries that hold date
// serials follow, but always ahead of s.
func (s Serial) Next(now time.Time) Serial {
	if t := Serial(now.Unix()); s.Before(t) {
		return t
	}
	return s + 1
}

// Event is what happened to a host. The store keeps the newest of them.
type Event struct {
	Time       time.Time `json:"time"`
	Generation uint64    `json:"generation"`
	// Outcome is "changed", or the Code of a refusal.
	Outcome    string     `json:"outcome"`
	Door       string     `json:"door"`                 // seed, admin, lease …
	Credential string     `json:"credential,omitempty"` // ID; empty when none held
	Source     netip.Addr `json:"source,omitzero"`
	// Proven tells whether the transport proves the source. UDP does not.
	Proven bool `json:"proven,omitempty"`
	// What is said in words: "created", "suspended", "ttl 60 to 300" …
	What   string       `json:"what,omitempty"`
	Before []netip.Addr `json:"before,omitempty"`
	After  []netip.Addr `json:"after,omitempty"`
}
