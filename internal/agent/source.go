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
	// Note is what a person should know of it, such as a router that has no public
	// address itself; "" if nothing.
	Note string
}

// PrefixSource says which IPv6 prefix the provider delegates to this place, for
// the names that follow a host. Safe for concurrent use.
type PrefixSource interface {
	// Name is what the configuration and messages call it: "interface br-lan".
	Name() string
	// FindPrefix looks for the prefix: 48 to 64 bits, none set beyond. ctx bounds
	// it. Whatever the error, what the server has stays.
	FindPrefix(ctx context.Context) (netip.Prefix, error)
}

// ErrNone: this place has no public address of the family.
var ErrNone = errors.New("no public address of this family")
