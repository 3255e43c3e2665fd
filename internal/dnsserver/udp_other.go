//go:build !linux

package dnsserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const udpBuffer = 8192 // a query, then its response: the largest size and zone.Slack

// udpSocket is a socket, or one more goroutine for the same socket.
type udpSocket struct {
	conn *net.UDPConn
}

// listenUDP opens one socket and has count goroutines read from it: what
// SO_REUSEPORT means differs between systems.
func listenUDP(ctx context.Context, network string, addr netip.AddrPort, count int) ([]*udpSocket, error) {
	if addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("%s: on this system a reply would leave from another address than the one that was asked; give the machine's addresses one by one", addr)
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, network, addr.String())
	if err != nil {
		return nil, err
	}
	sockets := make([]*udpSocket, count)
	for i := range sockets {
		sockets[i] = &udpSocket{conn: pc.(*net.UDPConn)}
	}
	return sockets, nil
}

func (u *udpSocket) close() error {
	if err := u.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// overflowed is what Linux tells.
func (u *udpSocket) overflowed() uint64 { return 0 }

// serve answers until the socket is closed.
func (u *udpSocket) serve(r *responder, now func() time.Time) error {
	buffer := make([]byte, udpBuffer)
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			continue // a client that is gone (Windows tells), or a message too long
		}
		t := now()
		reply := r.respond(buffer[:n], buffer[:0], from.Addr().Unmap(), false, t)
		if r.waits {
			send := func(reply []byte) {
				if len(reply) > 0 {
					u.conn.WriteToUDPAddrPort(reply, from)
				}
			}
			if !r.aside.add(asked{bytes.Clone(buffer[:n]), from.Addr().Unmap(), false, t, send}) {
				r.counts.crowded.Add(1)
			}
			continue
		}
		if len(reply) > 0 {
			// An error is the client's: there is nobody to tell.
			u.conn.WriteToUDPAddrPort(reply, from)
			r.counts.latency.Observe(now().Sub(t), 1)
		}
	}
}
