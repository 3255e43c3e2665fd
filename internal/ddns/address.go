package ddns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// special are the blocks of the IANA special-purpose registries (RFC 6890 and
// its updates, as of 2025), those too that are reachable but nobody's home, and
// with them all whose addresses carry another address inside (mapped, 6to4,
// NAT64, Teredo): a name must not lead there unless its owner asked for it.
var special = prefixes(
	"0.0.0.0/8",       // this network, RFC 791
	"10.0.0.0/8",      // private, RFC 1918
	"100.64.0.0/10",   // shared (CGNAT), RFC 6598
	"127.0.0.0/8",     // loopback, RFC 1122
	"169.254.0.0/16",  // link-local, RFC 3927
	"172.16.0.0/12",   // private, RFC 1918
	"192.0.0.0/24",    // protocol assignments, RFC 6890
	"192.0.2.0/24",    // documentation, RFC 5737
	"192.31.196.0/24", // AS112, RFC 7535
	"192.52.193.0/24", // AMT, RFC 7450
	"192.88.99.0/24",  // 6to4 relay, RFC 7526
	"192.168.0.0/16",  // private, RFC 1918
	"192.175.48.0/24", // AS112, RFC 7534
	"198.18.0.0/15",   // benchmarking, RFC 2544
	"198.51.100.0/24", // documentation, RFC 5737
	"203.0.113.0/24",  // documentation, RFC 5737
	"224.0.0.0/4",     // multicast, RFC 5771
	"240.0.0.0/4",     // reserved and broadcast, RFC 1112

	"::/8",              // unspecified, loopback, mapped, IPv4-compatible, RFC 4291
	"64:ff9b::/96",      // NAT64, RFC 6052
	"64:ff9b:1::/48",    // local NAT64, RFC 8215
	"100::/64",          // discard-only, RFC 6666
	"100:0:0:1::/64",    // dummy prefix, RFC 9780
	"2001::/23",         // protocol assignments with Teredo, ORCHID …, RFC 2928
	"2001:db8::/32",     // documentation, RFC 3849
	"2002::/16",         // 6to4, RFC 3056
	"2620:4f:8000::/48", // AS112, RFC 7534
	"3fff::/20",         // documentation, RFC 9637
	"5f00::/16",         // segment routing SIDs, RFC 9602
	"fc00::/7",          // unique local, RFC 4193
	"fe80::/10",         // link-local, RFC 4291
	"fec0::/10",         // site-local, RFC 3879
	"ff00::/8",          // multicast, RFC 4291
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255}) // RFC 919

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// IsPublic tells whether an address is globally reachable unicast: in none of
// the IANA special-purpose registries.
func IsPublic(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// AddressRule says which addresses a host may publish. The zero value is
// "public": everything but the special-purpose registries.
type AddressRule struct {
	any  bool
	nets string // canonical text of a CIDR list, so that rules compare with ==
}

// AnyAddress admits private and loopback addresses too.
var AnyAddress = AddressRule{any: true}

// ParseAddressRule reads "public" (also ""), "any", or a list of 1 to 32 CIDR
// blocks with commas between them. An error is a *Refusal with code malformed.
func ParseAddressRule(text string) (AddressRule, error) {
	switch text {
	case "", "public":
		return AddressRule{}, nil
	case "any":
		return AnyAddress, nil
	}
	var nets []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil || p.Addr().Is4In6() || len(nets) == 32 {
			return AddressRule{}, refuse(Malformed, fmt.Sprintf("address policy %.80q is not understood", text),
				"give public, any, or CIDR blocks such as 192.168.0.0/16,fd00::/8 (at most 32)")
		}
		nets = append(nets, p.Masked())
	}
	slices.SortFunc(nets, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	texts := make([]string, 0, len(nets))
	for _, p := range slices.Compact(nets) {
		texts = append(texts, p.String())
	}
	return AddressRule{nets: strings.Join(texts, ",")}, nil
}

func (r AddressRule) String() string {
	switch {
	case r.any:
		return "any"
	case r.nets != "":
		return r.nets
	}
	return "public"
}

// Allows tells whether a may be published under the rule. No rule admits the
// unspecified address, multicast, the limited broadcast, or an address with a zone.
func (r AddressRule) Allows(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a == broadcast {
		return false
	}
	switch {
	case r.any:
		return true
	case r.nets != "":
		for part := range strings.SplitSeq(r.nets, ",") {
			if p, err := netip.ParsePrefix(part); err == nil && p.Contains(a) {
				return true
			}
		}
		return false
	}
	return IsPublic(a)
}

// AllowsPrefix tells whether every address in a prefix may be published.
func (r AddressRule) AllowsPrefix(p netip.Prefix) bool {
	switch {
	case !p.IsValid() || p.Addr().IsMulticast():
		return false
	case r.any:
		return true
	case r.nets != "":
		for part := range strings.SplitSeq(r.nets, ",") {
			if n, err := netip.ParsePrefix(part); err == nil && n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
				return true
			}
		}
		return false
	}
	return !slices.ContainsFunc(special, p.Overlaps)
}

// MarshalText is String.
func (r AddressRule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseAddressRule.
func (r *AddressRule) UnmarshalText(text []byte) (err error) {
	*r, err = ParseAddressRule(string(text))
	return err
}

// Source is where a request came from.
type Source struct {
	Addr netip.Addr // unmapped, without zone
	// Text is the platform's own spelling of the address when it differs from
	// RFC 5952; the seed's hash may have been made over it.
	Text string
	// Proven tells whether the transport shows that the caller receives at the
	// address: TCP does, UDP does not.
	Proven bool
}

// SourceOf makes the Source of a TCP peer. A zone and the mapping of IPv4 into
// IPv6 are taken off.
func SourceOf(a netip.Addr) Source { return Source{Addr: a, Proven: true}.plain() }

// plain is the source in the form that limits and rules count with.
func (s Source) plain() Source {
	s.Addr = s.Addr.Unmap().WithZone("")
	return s
}
