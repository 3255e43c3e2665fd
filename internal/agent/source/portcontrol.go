package source

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// portControl is the UDP port of PCP and NAT-PMP servers (RFC 6887 section 19.1).
const portControl = "5351"

// dialGateway connects a socket, so that the kernel drops what others send to it
// and reports a closed port at once.
func dialGateway(ctx context.Context, gateway netip.Addr) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "udp4", net.JoinHostPort(gateway.String(), portControl))
}

// askNATPMP asks for the external address (RFC 6886 section 3.2).
func askNATPMP(ctx context.Context, gateway netip.Addr) (netip.Addr, error) {
	conn, err := dialGateway(ctx, gateway)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	var addr netip.Addr
	var refused error
	err = exchange(ctx, conn, []byte{0, 0}, func(reply []byte) (ok bool) {
		addr, refused, ok = parseNATPMP(reply)
		return ok
	})
	if err == nil {
		err = refused
	}
	return addr, err
}

// parseNATPMP reads a reply to an external address request; !ok says that it is
// none. An error is the router's own.
func parseNATPMP(reply []byte) (addr netip.Addr, err error, ok bool) {
	if len(reply) < 4 || reply[0] != 0 || reply[1] != 128 {
		return netip.Addr{}, nil, false
	}
	if code := binary.BigEndian.Uint16(reply[2:]); code != 0 {
		return netip.Addr{}, fmt.Errorf("the router refuses with result code %d (RFC 6886 section 3.5)", code), true
	}
	if len(reply) != 12 {
		return netip.Addr{}, nil, false
	}
	return netip.AddrFrom4([4]byte(reply[8:])), nil, true
}

// mapping is a PCP request for one port (RFC 6887 section 11.1), the only way in
// PCP to learn the external address.
type mapping struct {
	client netip.Addr
	nonce  [12]byte
	port   uint16
}

// mapLifetime is how long a mapping stays if its removal is lost: the least that
// servers are told to grant (RFC 6887 section 15), in seconds.
const mapLifetime = 120

const (
	pcpVersion  = 2
	pcpMap      = 1
	pcpReply    = 0x80
	pcpUDP      = 17
	pcpHeader   = 24
	pcpMapLen   = pcpHeader + 36
	pcpLongest  = 1100 // RFC 6887 section 7
	pcpMismatch = 12   // ADDRESS_MISMATCH
)

// request asks for the mapping, or with lifetime 0 for its end.
func (m mapping) request(lifetime uint32) []byte {
	out := make([]byte, pcpMapLen)
	out[0], out[1] = pcpVersion, pcpMap
	binary.BigEndian.PutUint32(out[4:], lifetime)
	client := m.client.As16()
	copy(out[8:], client[:])
	copy(out[24:], m.nonce[:])
	out[36] = pcpUDP
	binary.BigEndian.PutUint16(out[40:], m.port)
	any4 := netip.IPv4Unspecified().As16() // an IPv4 address, whichever
	copy(out[44:], any4[:])
	return out
}

// parse reads a reply to the request; !ok says that it is none. An error is the
// router's own.
func (m mapping) parse(reply []byte) (addr netip.Addr, err error, ok bool) {
	if len(reply) < 4 || len(reply) > pcpLongest || reply[1] != pcpReply|pcpMap {
		return netip.Addr{}, nil, false
	}
	if reply[0] != pcpVersion { // RFC 6887 section 9; NAT-PMP answers with its own version, 0
		return netip.Addr{}, fmt.Errorf("the router speaks version %d, not 2", reply[0]), true
	}
	if len(reply) < pcpMapLen || len(reply)%4 != 0 || !bytes.Equal(reply[24:36], m.nonce[:]) ||
		reply[36] != pcpUDP || binary.BigEndian.Uint16(reply[40:]) != m.port {
		return netip.Addr{}, nil, false
	}
	switch code := reply[3]; code {
	case 0:
		return netip.AddrFrom16([16]byte(reply[44:])).Unmap(), nil, true
	case pcpMismatch:
		return netip.Addr{}, fmt.Errorf("another NAT stands between here and the router (ADDRESS_MISMATCH)"), true
	default:
		return netip.Addr{}, fmt.Errorf("the router refuses with result code %d (RFC 6887 section 7.4)", code), true
	}
}

// askPCP maps a port for a moment and reads the external address out of the
// answer. The port is the one that the request leaves from, where nobody listens:
// the socket is connected to the router.
func askPCP(ctx context.Context, gateway netip.Addr) (netip.Addr, error) {
	conn, err := dialGateway(ctx, gateway)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	m := mapping{client: local.Addr().Unmap(), port: local.Port()}
	rand.Read(m.nonce[:])
	var addr netip.Addr
	var refused error
	err = exchange(ctx, conn, m.request(mapLifetime), func(reply []byte) (ok bool) {
		addr, refused, ok = m.parse(reply)
		return ok
	})
	if err != nil {
		return netip.Addr{}, err
	}
	if refused != nil {
		return netip.Addr{}, refused
	}
	// If this is lost, the mapping ends by itself.
	_, _ = conn.Write(m.request(0))
	return addr, nil
}
