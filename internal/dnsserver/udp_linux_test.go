package dnsserver_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"godwit/internal/dnsserver"
)

// TestMixedBatch sends all kinds of queries at once, so that many are read before
// the first is answered: each gets the answer that it gets alone.
func TestMixedBatch(t *testing.T) {
	s := start(t, dnsserver.Config{UDPSockets: 1})
	c := dial(t, "udp", s.Addrs()[0])
	all := probes()
	buffer := make([]byte, 2048)
	for len(all) > 0 {
		some := all[:min(len(all), 100)]
		all = all[len(some):]
		for _, p := range some {
			if _, err := c.Write(p.query()); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range some {
			n, err := c.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(p.name, func(t *testing.T) { p.check(t, p.query(), buffer[:n], true) })
		}
	}
}

// TestStopsInSilence: sockets to which nobody has ever sent anything, and those
// on which messages are coming in, stop with the server; what is received is
// answered or left, but nothing hangs.
func TestStopsInSilence(t *testing.T) {
	for _, wildcard := range []bool{false, true} {
		addresses := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")}
		if wildcard {
			addresses = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("[::]:0")}
		}
		t.Run("", func(t *testing.T) {
			s := start(t, dnsserver.Config{Addresses: addresses, UDPSockets: 3})
			c := dial(t, "udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.Addrs()[0].Port()))
			for id := range uint16(20) {
				c.Write(hostQuery(id))
			}
		})
	}
}

// TestDontFragment looks at the header of a response on its way (RFC 9715).
func TestDontFragment(t *testing.T) {
	raw, err := net.ListenIP("ip4:udp", &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		if inCI() {
			t.Fatal(err)
		}
		t.Skipf("%v; this needs root", err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(within))
	conn, err := raw.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, dnsserver.Config{})
	port := s.Addrs()[0].Port()
	exchange(t, "udp", s.Addrs()[0], hostQuery(3))
	packet := make([]byte, 2048)
	for {
		var n int
		var receive error
		// net takes the IP header off.
		err := conn.Read(func(fd uintptr) bool {
			n, _, receive = syscall.Recvfrom(int(fd), packet, 0)
			return receive != syscall.EAGAIN
		})
		if err != nil || receive != nil {
			t.Fatal(err, receive)
		}
		if header := int(packet[0]&15) * 4; n > header+8+2 && binary.BigEndian.Uint16(packet[header:]) == port && bytes.Equal(packet[header+8:header+10], []byte{0, 3}) {
			if packet[6]&0x40 == 0 {
				t.Errorf("routers may make fragments of it: %x", packet[:n])
			}
			return
		}
	}
}
