package ddns

import (
	"net/netip"

	"godwit/internal/dnsname"
)

// Update is a request that a host's records be these. A door fills it in and
// judges nothing.
type Update struct {
	// Host is whose records they are. Zero: the only host of the credential that a
	// token or account names.
	Host   dnsname.Name
	Door   string // for events: "seed", "dyndns2" …
	Proof  Proof
	Source Source
	// Changes to make, all or none. None at all is Auto, unless Ask is set.
	Changes []Change
	// Auto asks for the source address, its family only, besides Changes.
	Auto bool
	// Ask asks about the Preconditions alone, if there are no Changes.
	Ask bool
	// Preconditions are judged on the state that the change is compared with.
	Preconditions []Precondition
}

func (u Update) auto() bool { return u.Auto || len(u.Changes) == 0 && !u.Ask }

// Op is what a Change does to a set of values.
type Op uint8

const (
	Replace Op = iota + 1 // the set becomes the values
	Add                   // the values join the set
	Remove                // the values leave the set
	Clear                 // the set becomes empty; no values
)

// Change is one explicit change of one set. Which field holds the values
// depends on Type. A type that no Change names is left alone.
type Change struct {
	Type   Type
	Op     Op
	Addrs  []netip.Addr // A, AAAA: unmapped, without zone
	Texts  []string     // TXT
	Prefix netip.Prefix // prefix
}

// PreconditionKind is one of the five of RFC 2136 section 2.4.
type PreconditionKind uint8

const (
	RRsetExists  PreconditionKind = iota + 1 // value independent, 2.4.1
	RRsetEquals                              // value dependent, 2.4.2
	RRsetAbsent                              // 2.4.3
	NameInUse                                // 2.4.4
	NameNotInUse                             // 2.4.5
)

// Precondition is a condition on the host's own records that must hold for the
// update to be made.
type Precondition struct {
	Kind PreconditionKind
	// Type is A, AAAA or TXT, or 0 for one that hosts do not have. For the two
	// about the name, TXT is the challenge's name and all else the host's.
	Type  Type
	Addrs []netip.Addr // for RRsetEquals
	Texts []string
}

// Outcome of an update that was not refused.
type Outcome struct {
	Changed bool
	Before  *Host // the state before; read only
	Host    *Host // the state now; read only
	// Unconfirmed says why DNS is not known to show the state, which is durable
	// all the same: it will be published by the repair loop. nil: DNS shows it.
	Unconfirmed error
	// Repeated tells that the same signed message was answered before, and nothing
	// else is known: Before and Host are nil.
	Repeated bool
}
