package source

import (
	"net/netip"
	"testing"

	"godwit/internal/ddns"
)

// TestSpecialAsTheServer holds the agent's list to the server's, at the edges of
// each block and on both sides of them.
func TestSpecialAsTheServer(t *testing.T) {
	for _, text := range []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4", "::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "2002::/16",
		"2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "20.0.0.0/24", "2a01:100::/32"} {
		prefix := netip.MustParsePrefix(text)
		last := prefix.Addr().AsSlice()
		for bit := prefix.Bits(); bit < len(last)*8; bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		for _, a := range []netip.Addr{prefix.Addr().Prev(), prefix.Addr(), prefix.Addr().Next(), end.Prev(), end, end.Next()} {
			if block, got := special(a); a.IsValid() && got == ddns.IsPublic(a) {
				t.Errorf("%s: special %t (%s); the server says public: %t", a, got, block, ddns.IsPublic(a))
			}
		}
	}
}
