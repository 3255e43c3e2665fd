package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"godwit/internal/agent"
)

// addresses lists the addresses of the family, with what rtnetlink knows of them
// (rtnetlink(7)): net.Interfaces leaves the flags out.
func addresses(agent.Family) ([]address, error) {
	messages, err := dump(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, i := range interfaces {
		names[i.Index] = i.Name
	}
	var out []address
	for _, m := range messages {
		if a, ok := parseAddress(m); ok {
			out = append(out, address{addr: a.addr, iface: names[a.index], unfit: unfit(a), preferred: a.preferred})
		}
	}
	return out, nil
}

// kernelAddress is an RTM_NEWADDR or RTM_DELADDR message.
type kernelAddress struct {
	addr      netip.Addr
	index     int
	flags     uint32
	preferred time.Duration
}

func parseAddress(m syscall.NetlinkMessage) (kernelAddress, bool) {
	if t := m.Header.Type; t != unix.RTM_NEWADDR && t != unix.RTM_DELADDR || len(m.Data) < unix.SizeofIfAddrmsg {
		return kernelAddress{}, false
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return kernelAddress{}, false
	}
	header := (*unix.IfAddrmsg)(unsafe.Pointer(&m.Data[0]))
	out := kernelAddress{index: int(header.Index), flags: uint32(header.Flags), preferred: forever}
	local := false
	for _, a := range attrs {
		switch {
		case a.Attr.Type == unix.IFA_LOCAL, a.Attr.Type == unix.IFA_ADDRESS && !local:
			// On a point-to-point link IFA_ADDRESS is the other end.
			out.addr, _ = netip.AddrFromSlice(a.Value)
			local = a.Attr.Type == unix.IFA_LOCAL
		case a.Attr.Type == unix.IFA_FLAGS && len(a.Value) >= 4:
			out.flags = binary.NativeEndian.Uint32(a.Value)
		case a.Attr.Type == unix.IFA_CACHEINFO && len(a.Value) >= 4:
			if seconds := binary.NativeEndian.Uint32(a.Value); seconds != 1<<32-1 {
				out.preferred = time.Duration(seconds) * time.Second
			}
		}
	}
	return out, out.addr.IsValid()
}

func unfit(a kernelAddress) string {
	switch {
	case a.addr.Is6() && a.flags&unix.IFA_F_TEMPORARY != 0: // in IPv4 the same bit means secondary
		return "temporary"
	case a.flags&unix.IFA_F_DADFAILED != 0:
		return "a duplicate"
	case a.flags&unix.IFA_F_DEPRECATED != 0 || a.preferred == 0:
		return "deprecated"
	case a.flags&unix.IFA_F_TENTATIVE != 0 && a.flags&unix.IFA_F_OPTIMISTIC == 0:
		return "still tentative"
	}
	return ""
}

// route is what the kernel says of a route.
type route struct {
	dst     netip.Prefix // the zero prefix is the default route
	table   uint32
	kind    uint8
	gateway netip.Addr
}

func parseRoute(m syscall.NetlinkMessage) (route, bool) {
	if t := m.Header.Type; t != unix.RTM_NEWROUTE && t != unix.RTM_DELROUTE || len(m.Data) < unix.SizeofRtMsg {
		return route{}, false
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return route{}, false
	}
	header := (*unix.RtMsg)(unsafe.Pointer(&m.Data[0]))
	out := route{kind: header.Type, table: uint32(header.Table)}
	for _, a := range attrs {
		switch {
		case a.Attr.Type == unix.RTA_DST:
			addr, _ := netip.AddrFromSlice(a.Value)
			out.dst = netip.PrefixFrom(addr, int(header.Dst_len))
		case a.Attr.Type == unix.RTA_GATEWAY:
			out.gateway, _ = netip.AddrFromSlice(a.Value)
		case a.Attr.Type == unix.RTA_TABLE && len(a.Value) >= 4:
			out.table = binary.NativeEndian.Uint32(a.Value)
		}
	}
	return out, true
}

func dump(what, family int) ([]syscall.NetlinkMessage, error) {
	data, err := syscall.NetlinkRIB(what, family)
	if err != nil {
		return nil, os.NewSyscallError("netlink", err)
	}
	return syscall.ParseNetlinkMessage(data)
}

// gateway is where IPv4 leaves this network.
func gateway() (netip.Addr, error) {
	messages, err := dump(unix.RTM_GETROUTE, unix.AF_INET)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list routes: %w", err)
	}
	// The kernel lists a table in the order of metrics.
	for _, m := range messages {
		if r, ok := parseRoute(m); ok && !r.dst.IsValid() && r.table == unix.RT_TABLE_MAIN && r.gateway.IsValid() {
			return r.gateway, nil
		}
	}
	return netip.Addr{}, errNoGateway
}

// delegated are the prefixes that the provider delegates to this device, if it is
// the router: prefix delegation leaves an unreachable route for the whole of each
// (RFC 7084 section 4.2, WPD-5), so that its unused parts do not loop.
func delegated() (found []netip.Prefix, err error) {
	messages, err := dump(unix.RTM_GETROUTE, unix.AF_INET6)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, m := range messages {
		r, ok := parseRoute(m)
		if !ok || r.kind != unix.RTN_UNREACHABLE && r.kind != unix.RTN_BLACKHOLE && r.kind != unix.RTN_PROHIBIT {
			continue
		}
		if _, ours := special(r.dst.Addr()); r.dst.IsValid() && !ours && r.dst.Bits() >= minPrefix && r.dst.Bits() <= maxPrefix && !slices.Contains(found, r.dst) {
			found = append(found, r.dst)
		}
	}
	return found, nil
}

// Watch calls changed each time that the operating system reports another
// address or another default route, and once at the start when it listens, so
// that nothing is missed in between. It sleeps until then. A change may be
// reported more than once; changed is called by one goroutine and must return
// soon. Watch returns ctx.Err() when ctx ends, and errors.ErrUnsupported on
// systems that have no such report.
func Watch(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("watch addresses: %w", os.NewSyscallError("socket", err))
	}
	events := os.NewFile(uintptr(fd), "rtnetlink")
	defer events.Close()
	const groups = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("watch addresses: %w", os.NewSyscallError("bind", err))
	}
	defer context.AfterFunc(ctx, func() { events.Close() })()

	changed()
	known := map[knownAddress]uint32{}
	buffer := make([]byte, 64<<10)
	for {
		n, err := events.Read(buffer)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS): // the kernel dropped reports
			changed()
			continue
		case err != nil:
			return fmt.Errorf("watch addresses: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("watch addresses: %w", err)
		}
		news := false
		for _, m := range messages {
			news = isNews(m, known) || news
		}
		if news {
			changed()
		}
	}
}

type knownAddress struct {
	addr  netip.Addr
	index int
}

// isNews tells whether a report changes anything: each router advertisement
// repeats the addresses that it keeps alive. known has the flags of the
// addresses reported so far.
func isNews(m syscall.NetlinkMessage, known map[knownAddress]uint32) bool {
	if r, ok := parseRoute(m); ok {
		return !r.dst.IsValid() && r.table == unix.RT_TABLE_MAIN
	}
	a, ok := parseAddress(m)
	if !ok {
		return false
	}
	key := knownAddress{a.addr, a.index}
	if m.Header.Type == unix.RTM_DELADDR {
		delete(known, key)
		return true
	}
	flags, seen := known[key]
	known[key] = a.flags
	return !seen || flags != a.flags
}
