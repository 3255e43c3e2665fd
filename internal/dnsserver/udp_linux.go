package dnsserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	udpBatch  = 64
	udpBuffer = 8192 // a query, then its response: the largest size and zone.Slack
	// udpReceive is how much of a query is taken. More is cut off by the kernel,
	// which makes it malformed.
	udpReceive = 4096
	// udpQueue is the receive buffer asked for, in octets: it holds a burst
	// while the goroutine waits for a processor. The kernel may give less.
	udpQueue = 4 << 20
	oobLen   = 64
	// memDrops is where SO_MEMINFO has what was dropped (linux/sock_diag.h), of so
	// many figures.
	memDrops, memFigures = 8, 9
)

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// udpSocket is one socket and all that its one goroutine needs.
type udpSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn

	received int // by the last receive
	sending  []mmsghdr
	unsent   uint64 // of the batch
	err      syscall.Errno

	in, out [udpBatch]mmsghdr
	inIov   [udpBatch]unix.Iovec
	outIov  [udpBatch]unix.Iovec
	from    [udpBatch]unix.RawSockaddrInet6 // large enough for IPv4 too
	oob     [udpBatch][oobLen]byte
	buffers [udpBatch][udpBuffer]byte
}

// listenUDP opens count sockets on one address; the kernel deals the clients
// out among them.
func listenUDP(ctx context.Context, network string, addr netip.AddrPort, count int) (sockets []*udpSocket, err error) {
	wildcard := addr.Addr().IsUnspecified()
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = socketOptions(int(fd), addr.Addr().Is6(), wildcard) }); cerr != nil {
			return cerr
		}
		return err
	}}
	defer func() {
		if err != nil {
			for _, u := range sockets {
				u.close()
			}
			sockets = nil
		}
	}()
	for range count {
		pc, err := lc.ListenPacket(ctx, network, addr.String())
		if err != nil {
			return sockets, err
		}
		u := &udpSocket{conn: pc.(*net.UDPConn)}
		sockets = append(sockets, u)
		if u.raw, err = u.conn.SyscallConn(); err != nil {
			return sockets, err
		}
		u.prepare(wildcard)
	}
	return sockets, nil
}

func socketOptions(fd int, v6, wildcard bool) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
	}
	// These two only help: a smaller queue serves too, and so does a kernel
	// that believes forged ICMP messages about the path's MTU.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, udpQueue)
	if v6 {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT)
	} else {
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT)
	}
	if !wildcard {
		return nil
	}
	// So that a reply can leave from the address that was asked.
	if v6 {
		return os.NewSyscallError("setsockopt IPV6_RECVPKTINFO", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
	}
	return os.NewSyscallError("setsockopt IP_PKTINFO", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
}

func (u *udpSocket) prepare(wildcard bool) {
	for i := range u.in {
		u.inIov[i].Base = &u.buffers[i][0]
		u.inIov[i].SetLen(udpReceive)
		h := &u.in[i].hdr
		h.Iov = &u.inIov[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&u.from[i]))
		if wildcard {
			h.Control = &u.oob[i][0]
		}
	}
	u.rearm(udpBatch)
}

// rearm makes the first n receive headers ready: the kernel changed them.
func (u *udpSocket) rearm(n int) {
	for i := range u.in[:n] {
		h := &u.in[i].hdr
		h.Namelen = uint32(unsafe.Sizeof(u.from[i]))
		if h.Control != nil {
			h.SetControllen(oobLen)
		}
	}
}

func (u *udpSocket) close() error { return u.conn.Close() }

// serve answers until the socket is closed.
func (u *udpSocket) serve(r *responder, now func() time.Time) error {
	// Made once: a closure for each call would be an allocation for each call.
	receive, send := u.receive, u.send
	for {
		if err := u.raw.Read(receive); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		if u.err != 0 {
			if u.err == unix.EINTR || u.err == unix.ENOBUFS || u.err == unix.ENOMEM {
				continue
			}
			return os.NewSyscallError("recvmmsg", u.err)
		}
		t := now()
		replies := 0
		for i := range u.received {
			m := &u.in[i]
			buffer := u.buffers[i][:]
			reply := r.respond(buffer[:m.len], buffer[:0], u.client(i), false, t)
			if r.waits {
				if !r.aside.add(asked{bytes.Clone(buffer[:m.len]), u.client(i), false, t, u.later(i)}) {
					r.counts.dropped.Add(1)
				}
				continue
			}
			if len(reply) == 0 {
				continue
			}
			u.outIov[replies].Base = &reply[0]
			u.outIov[replies].SetLen(len(reply))
			u.out[replies] = mmsghdr{hdr: m.hdr}
			u.out[replies].hdr.Iov = &u.outIov[replies]
			u.out[replies].hdr.Flags = 0
			if m.hdr.Control != nil {
				u.replyFrom(i, &u.out[replies].hdr)
			}
			replies++
		}
		for u.sending = u.out[:replies]; len(u.sending) > 0; {
			if err := u.raw.Write(send); err != nil {
				if errors.Is(err, net.ErrClosed) {
					return nil
				}
				return err
			}
		}
		// One more look at the clock for a batch, none for a query.
		if replies > 0 {
			r.counts.latency.Observe(now().Sub(t), uint64(replies))
		}
		if u.unsent > 0 {
			r.counts.unsent.Add(u.unsent)
			u.unsent = 0
		}
		u.rearm(u.received)
	}
}

// receive takes what is there, up to a batch; false if nothing is, which makes
// the poller wait. The calls do not block, so the scheduler need not hear of them.
func (u *udpSocket) receive(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&u.in[0])), udpBatch, unix.MSG_DONTWAIT, 0, 0)
	u.received, u.err = int(n), errno
	if errno != 0 {
		u.received = 0
	}
	return errno != unix.EAGAIN
}

// send sends what it can; false if the socket takes no more for now.
func (u *udpSocket) send(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&u.sending[0])), uintptr(len(u.sending)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		u.sending = u.sending[n:]
	case unix.EAGAIN:
		return false
	case unix.EINTR:
	default:
		// This reply cannot be sent (no route, a firewall); the next one may.
		u.sending = u.sending[1:]
		u.unsent++
	}
	return true
}

// overflowed is how many messages the kernel has dropped at the socket, 0 if it
// does not say.
func (u *udpSocket) overflowed() uint64 {
	var info [memFigures]uint32
	size := uint32(unsafe.Sizeof(info))
	_ = u.raw.Control(func(fd uintptr) { // fails once the socket is closed
		unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	return uint64(info[memDrops])
}

// later returns what sends a reply to message i from any goroutine, at any time.
func (u *udpSocket) later(i int) func(reply []byte) {
	h, from := u.in[i].hdr, u.from[i]
	var control []byte
	if h.Control != nil {
		if u.replyFrom(i, &h); h.Control != nil {
			control = bytes.Clone(u.oob[i][:h.Controllen])
		}
	}
	return func(reply []byte) {
		if len(reply) == 0 {
			return
		}
		iov := unix.Iovec{Base: &reply[0]}
		iov.SetLen(len(reply))
		m := unix.Msghdr{Name: (*byte)(unsafe.Pointer(&from)), Namelen: h.Namelen, Iov: &iov}
		m.SetIovlen(1)
		if len(control) > 0 {
			m.Control = &control[0]
			m.SetControllen(len(control))
		}
		// An error is the client's: there is nobody to tell.
		u.raw.Write(func(fd uintptr) bool {
			_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&m)), unix.MSG_DONTWAIT)
			return errno != unix.EAGAIN
		})
	}
}

// client is the address that message i came from.
func (u *udpSocket) client(i int) netip.Addr {
	from := &u.from[i]
	if from.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(from)).Addr)
	}
	return netip.AddrFrom16(from.Addr)
}

// replyFrom makes a reply leave from the address that message i went to: the
// kernel takes back what it told, except that the interface is for it to choose
// (RFC 3542 section 6.2), unless the address is a link-local one.
func (u *udpSocket) replyFrom(i int, h *unix.Msghdr) {
	n := int(u.in[i].hdr.Controllen)
	const header = unix.SizeofCmsghdr
	oob := u.oob[i][:]
	if n <= header {
		h.Control = nil
		h.SetControllen(0)
		return
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	switch {
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO:
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&oob[header]))
		info.Ifindex = 0
		info.Spec_dst = info.Addr
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO:
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&oob[header]))
		if binary.BigEndian.Uint16(info.Addr[:])&0xffc0 != 0xfe80 {
			info.Ifindex = 0
		}
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	default:
		h.Control = nil
		h.SetControllen(0)
	}
}
