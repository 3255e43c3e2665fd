package dnsserver_test

import (
	"net"
	"net/netip"
	"runtime"
	"testing"

	"godwit/internal/dnsserver"
)

// TestHalfOpen has connections that claim a place and say nothing, or say it octet
// by octet: those who ask are answered by TCP and UDP all the while, though there
// are more connections than there may be, and each has one goroutine at most. It
// comes from many addresses, which only Linux has on loopback.
func TestHalfOpen(t *testing.T) {
	attackers := 500
	if long() {
		attackers = 10_000
	}
	for _, tt := range []struct {
		name     string
		maxConns int
	}{{"few may be open", 100}, {"the default", 1000}} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, dnsserver.Config{MaxConns: tt.maxConns, Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
			addr := s.Addrs()[0]
			good := func() {
				t.Helper()
				for _, network := range []string{"tcp", "udp"} {
					if reply := exchange(t, network, addr, hostQuery(7)); reply[7] != 1 {
						t.Fatalf("by %s: %x", network, reply)
					}
				}
			}
			idle := runtime.NumGoroutine()
			var conns []net.Conn
			for i := range attackers {
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 66, byte(i / 40 >> 8), byte(i/40) + 1}), 0)
				c, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(addr))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				conns = append(conns, c)
				if i%100 == 0 {
					good()
				}
			}
			query := framed(hostQuery(8))
			for octet := range 12 {
				for i, c := range conns {
					if i%2 == 0 {
						c.Write(query[octet : octet+1]) // an error: it was closed
					}
				}
				good()
				if n := runtime.NumGoroutine(); n > idle+tt.maxConns+10 {
					t.Fatalf("%d goroutines, %d at rest", n, idle)
				}
			}
			if counts := s.Counts(); attackers > tt.maxConns && counts.Evicted < uint64(attackers-tt.maxConns) {
				t.Errorf("%+v", counts)
			}
		})
	}
}
