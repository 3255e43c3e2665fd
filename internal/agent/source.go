package agent

import (
	"context"
	"errors"
	"net/netip"
)

// Family is one of the two kinds of address. They are found, proven and
// reported separately.
type Family uint8

const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func (f Family) String() string {
	if f == IPv4 {
		return "IPv4"
	}
	return "IPv6"
}

// Source says which public address of a family this device has: an interface, a
// router, a page in the web. The sources of a family are asked in their
// configured order until one answers. Safe for concurrent use.
type Source interface {
	// Name is what the configuration and messages call it: "interface eth0".
	Name() string
	// Find looks for the address. ctx bounds it. ErrNone says that there is none;
	// any other error that it cannot be told now. Neither removes an address from
	// DNS.
	Find(ctx context.Context, f Family) (Finding, error)
}

// Finding is what a Source found.
type Finding struct {
	// Addr is of the family asked for, unmapped and without a zone.
	Addr netip.Addr
	// Prefix is what the provider delegates to this place, 48 to 64 bits; invalid
	// if the source does not know one.
	Prefix netip.Prefix
	// Note is what a person should know of it, such as a router that has no public
	// address itself; "" if nothing.
	Note string
}

// ErrNone: this place has no public address of the family.
var ErrNone = errors.New("no public address of this family")
