package dnsserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"godwit/internal/zone"
)

const (
	udpBatch = 64
	// udpBuffer holds a query, then its response: the largest size and zone.Slack.
	// With the odd lines of the processor's cache the buffers of a batch start in
	// different sets of it.
	udpBuffer = udpReceive + 3*64
	// udpReceive is how much of a query is taken. More is cut off by the kernel,
	// which makes it malformed.
	udpReceive = 4096
	// udpQueue is the receive buffer asked for, in octets: it holds a burst
	// while the goroutine waits for a processor. The kernel may give less.
	udpQueue = 4 << 20
	// udpSendSeconds is for how long answers wait for a network device that takes
	// no more.
	udpSendSeconds = 1
	oobLen         = 64
	// memDrops is where SO_MEMINFO has what was dropped (linux/sock_diag.h), of so
	// many figures.
	memDrops, memFigures = 8, 9
)

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// udpSocket is one socket and all that its one goroutine needs. The runtime's
// poller does not know it: a socket that is watched costs a call back into epoll
// for every message that comes or has gone, and a thread that is blocked in a
// receive costs little more than one that waits in the poller.
type udpSocket struct {
	mu     sync.Mutex // guards the end of fd, and served
	fd     int        // -1: closed
	served bool       // the goroutine closes fd
	closed atomic.Bool

	queries  [udpBatch]query
	verdicts [udpBatch]verdict
	ahead    zone.Ahead
	in, out  [udpBatch]mmsghdr
	inIov    [udpBatch]unix.Iovec
	outIov   [udpBatch]unix.Iovec
	from     [udpBatch]unix.RawSockaddrInet6 // large enough for IPv4 too
	oob      [udpBatch][oobLen]byte
	buffers  [udpBatch][udpBuffer]byte
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
		fd, err := takeOver(pc.(*net.UDPConn))
		if err != nil {
			return sockets, err
		}
		u := &udpSocket{fd: fd}
		sockets = append(sockets, u)
		u.prepare(wildcard)
	}
	return sockets, nil
}

// takeOver takes a socket out of the runtime's poller.
func takeOver(conn *net.UDPConn) (fd int, err error) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(theirs uintptr) {
		if fd, err = unix.FcntlInt(theirs, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, false)
		}
	})
	if cerr != nil {
		return -1, cerr
	}
	return fd, os.NewSyscallError("fcntl", err)
}

func socketOptions(fd int, v6, wildcard bool) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
	}
	// These only help: a smaller queue serves too, and so does a kernel that
	// waits for its device as long as it likes, or believes forged ICMP messages
	// about the path's MTU. No response is so large that it needs fragments, and
	// no IPv4 router may make some of it (RFC 9715 section 3.1 leaves that to us),
	// which spares the kernel finding a number for each packet too.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, udpQueue)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: udpSendSeconds})
	if v6 {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT)
	} else {
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
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

// close closes the socket, or makes serve do so once it has answered what it has
// received.
func (u *udpSocket) close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed.Store(true)
	switch {
	case u.fd < 0:
		return nil
	case u.served:
		// It says that there is no peer, but wakes who is waiting.
		unix.Shutdown(u.fd, unix.SHUT_RD)
		return nil
	}
	return u.release()
}

// release closes fd; the caller holds mu.
func (u *udpSocket) release() error {
	fd := u.fd
	u.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

// start tells whether the socket is open, to be closed by stop.
func (u *udpSocket) start() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.served = u.fd >= 0
	return u.served
}

func (u *udpSocket) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.release()
}

// serve answers until the socket is closed.
func (u *udpSocket) serve(r *responder, now func() time.Time) error {
	if !u.start() {
		return nil
	}
	defer u.stop()
	for !u.closed.Load() {
		received, errno := u.receive()
		switch errno {
		case 0:
		case unix.EINTR, unix.ENOBUFS, unix.ENOMEM:
			continue
		default:
			return os.NewSyscallError("recvmmsg", errno)
		}
		t := now()
		u.read(received, r.zones)
		replies := 0
		for i := range received {
			m := &u.in[i]
			buffer := u.buffers[i][:]
			r.query = u.queries[i]
			reply := r.respondRead(u.verdicts[i], buffer[:m.len], buffer[:0], u.client(i), false, t)
			if r.waits {
				if !r.aside.add(asked{bytes.Clone(buffer[:m.len]), u.client(i), false, t, u.later(i)}) {
					r.counts.crowded.Add(1)
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
		if replies > 0 {
			if unsent := u.send(u.out[:replies]); unsent > 0 {
				r.counts.unsent.Add(unsent)
			}
			// One more look at the clock for a batch, none for a query.
			r.counts.latency.Observe(now().Sub(t), uint64(replies))
		}
		u.rearm(received)
	}
	return nil
}

// read reads the n queries of a batch, and has what their answers need brought
// into the processor's cache while there is more than one to do that for.
func (u *udpSocket) read(n int, zones Zones) {
	for i := range n {
		q := &u.queries[i]
		if u.verdicts[i] = q.read(u.buffers[i][:u.in[i].len], false); n > 1 && u.verdicts[i] == answerIt {
			if z := zones.Find(q.qname(), q.qtype); z != nil {
				u.ahead.Add(z, q.qname())
			}
		}
	}
	u.ahead.Load()
}

// receive takes what is there, up to a batch, and waits if nothing is.
func (u *udpSocket) receive() (received int, errno syscall.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(u.fd), uintptr(unsafe.Pointer(&u.in[0])), udpBatch, unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// send sends messages, waiting when a device takes no more for now, and returns
// how many could not be sent.
func (u *udpSocket) send(messages []mmsghdr) (unsent uint64) {
	for len(messages) > 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(u.fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN {
			n, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(u.fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), 0, 0, 0)
		}
		switch errno {
		case 0:
			messages = messages[n:]
		case unix.EINTR:
		default:
			// This one cannot be sent (no route, a firewall); the next one may.
			messages = messages[1:]
			unsent++
		}
	}
	return unsent
}

// overflowed is how many messages the kernel has dropped at the socket, 0 if it
// does not say.
func (u *udpSocket) overflowed() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fd < 0 {
		return 0
	}
	var info [memFigures]uint32
	size := uint32(unsafe.Sizeof(info))
	unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(u.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
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
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.fd >= 0 {
			// An error is the client's: there is nobody to tell.
			unix.Syscall(unix.SYS_SENDMSG, uintptr(u.fd), uintptr(unsafe.Pointer(&m)), 0)
		}
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
