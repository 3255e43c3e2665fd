package source

import (
	"fmt"
	"net/netip"
	"strings"

	"godwit/internal/agent"
)

// NotPublic says that a source found an address which is of use in this place
// only. It is [agent.ErrNone].
type NotPublic struct {
	From  string     // who said so: "interface eth0", "router 192.168.1.1 (PCP)"
	Addr  netip.Addr // never published
	Block string     // what the address is: "private, RFC 1918"
}

func (e *NotPublic) Error() string {
	text := fmt.Sprintf("%s has %s (%s)", e.From, e.Addr, e.Block)
	switch {
	case e.CGNAT():
		text += ": behind CGNAT, the provider shares one public address among its customers and no name can lead here over IPv4"
	case e.NAT():
		text += ": behind NAT, the public address is another device's; let the server see it"
	}
	return text
}

// Unwrap makes it agent.ErrNone.
func (e *NotPublic) Unwrap() error { return agent.ErrNone }

// CGNAT tells whether the address is of the space that providers share among
// customers (RFC 6598).
func (e *NotPublic) CGNAT() bool { return strings.HasSuffix(e.Block, "RFC 6598") }

// NAT tells whether the address is of the private IPv4 space (RFC 1918).
func (e *NotPublic) NAT() bool { return strings.HasSuffix(e.Block, "RFC 1918") }

// specialBlocks are the IANA special-purpose registries (RFC 6890 and its
// updates) and the blocks whose addresses carry another address inside. The
// server judges by the same list; a test holds the two together.
var specialBlocks = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network, RFC 791"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private, RFC 1918"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space, RFC 6598"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback, RFC 1122"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local, RFC 3927"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private, RFC 1918"},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments, RFC 6890"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation, RFC 5737"},
	{netip.MustParsePrefix("192.31.196.0/24"), "AS112, RFC 7535"},
	{netip.MustParsePrefix("192.52.193.0/24"), "AMT, RFC 7450"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay, RFC 7526"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private, RFC 1918"},
	{netip.MustParsePrefix("192.175.48.0/24"), "AS112, RFC 7534"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking, RFC 2544"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation, RFC 5737"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation, RFC 5737"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast, RFC 5771"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved, RFC 1112"},

	{netip.MustParsePrefix("::/8"), "unspecified, loopback or IPv4 inside, RFC 4291"},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64, RFC 6052"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "local NAT64, RFC 8215"},
	{netip.MustParsePrefix("100::/64"), "discard-only, RFC 6666"},
	{netip.MustParsePrefix("100:0:0:1::/64"), "dummy prefix, RFC 9780"},
	{netip.MustParsePrefix("2001::/23"), "protocol assignments, RFC 2928"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation, RFC 3849"},
	{netip.MustParsePrefix("2002::/16"), "6to4, RFC 3056"},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112, RFC 7534"},
	{netip.MustParsePrefix("3fff::/20"), "documentation, RFC 9637"},
	{netip.MustParsePrefix("5f00::/16"), "segment routing, RFC 9602"},
	{netip.MustParsePrefix("fc00::/7"), "unique local, RFC 4193"},
	{netip.MustParsePrefix("fe80::/10"), "link-local, RFC 4291"},
	{netip.MustParsePrefix("fec0::/10"), "site-local, RFC 3879"},
	{netip.MustParsePrefix("ff00::/8"), "multicast, RFC 4291"},
}

// special returns what a special-purpose address is for.
func special(a netip.Addr) (block string, ok bool) {
	for _, b := range specialBlocks {
		if b.prefix.Contains(a) {
			return b.what, true
		}
	}
	return "", false
}
