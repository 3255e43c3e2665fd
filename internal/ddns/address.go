package ddns

import "net/netip"

// special are the blocks of the IANA special-purpose registries (RFC 6890 and
// its updates, as of 2025) that are not globally reachable, and those whose
// addresses carry another address inside (6to4, NAT64, Teredo): a name must not
// lead there unless its owner asked for it.
var special = prefixes(
	"0.0.0.0/8",       // this network, RFC 791
	"10.0.0.0/8",      // private, RFC 1918
	"100.64.0.0/10",   // shared (CGNAT), RFC 6598
	"127.0.0.0/8",     // loopback, RFC 1122
	"169.254.0.0/16",  // link-local, RFC 3927
	"172.16.0.0/12",   // private, RFC 1918
	"192.0.0.0/24",    // protocol assignments, RFC 6890
	"192.0.2.0/24",    // documentation, RFC 5737
	"192.88.99.0/24",  // 6to4 relay, RFC 7526
	"192.168.0.0/16",  // private, RFC 1918
	"198.18.0.0/15",   // benchmarking, RFC 2544
	"198.51.100.0/24", // documentation, RFC 5737
	"203.0.113.0/24",  // documentation, RFC 5737
	"224.0.0.0/4",     // multicast, RFC 5771
	"240.0.0.0/4",     // reserved and broadcast, RFC 1112

	"::/8",           // unspecified, loopback, mapped, IPv4-compatible, RFC 4291
	"64:ff9b::/96",   // NAT64, RFC 6052
	"64:ff9b:1::/48", // local NAT64, RFC 8215
	"100::/64",       // discard-only, RFC 6666
	"100:0:0:1::/64", // dummy prefix, RFC 9780
	"2001::/23",      // protocol assignments with Teredo, ORCHID …, RFC 2928
	"2001:db8::/32",  // documentation, RFC 3849
	"2002::/16",      // 6to4, RFC 3056
	"3fff::/20",      // documentation, RFC 9637
	"5f00::/16",      // segment routing SIDs, RFC 9602
	"fc00::/7",       // unique local, RFC 4193
	"fe80::/10",      // link-local, RFC 4291
	"fec0::/10",      // site-local, RFC 3879
	"ff00::/8",       // multicast, RFC 4291
)

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

// SourceOf makes the Source of a TCP peer.
func SourceOf(a netip.Addr) Source { return Source{Addr: a.Unmap().WithZone(""), Proven: true} }
