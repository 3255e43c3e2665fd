package httpserver

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// TestGateNetworks: whoever has a whole network takes a quarter of the places, and
// leaves them as he found them.
func TestGateNetworks(t *testing.T) {
	for _, c := range []struct{ source, neighbour, other string }{
		{"192.0.2.%d", "192.0.2.250", "198.51.100.1"},
		{"2001:db8:0:%x::1", "2001:db8:0:ffff::1", "2001:db8:1::1"},
	} {
		var l Limits
		l.fill()
		g := (&Server{Config: Config{Limits: l}}).newGate()
		at := func(text string) (netip.Prefix, bool) {
			return g.enter(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(text), 4000)))
		}
		var sources []netip.Prefix
		for i := range 200 * l.PerSource {
			if source, ok := at(fmt.Sprintf(c.source, 1+i%200)); ok {
				sources = append(sources, source)
			}
		}
		if len(sources) != l.Connections/4 {
			t.Errorf("one network has %d of %d connections", len(sources), l.Connections)
		}
		if _, ok := at(c.neighbour); ok {
			t.Error("its neighbour is let in")
		}
		other, ok := at(c.other)
		if !ok {
			t.Error("another network is kept out")
		}
		for _, source := range append(sources, other) {
			g.leave(source)
		}
		if len(g.sources) != 0 || g.open != 0 {
			t.Errorf("%d open, %v left", g.open, g.sources)
		}
		// Whoever is on this machine is no network.
		for i := range 200 * 8 {
			if _, ok := at(fmt.Sprintf("127.0.0.%d", 1+i%200)); !ok {
				t.Fatal("loopback is held to a network's share")
			}
		}
	}
}
