//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"

	"godwit/internal/agent"
)

// addresses lists the addresses of the family. How long one stays preferred is
// not asked.
func addresses(f agent.Family) ([]address, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []address
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			network, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			addr, _ := netip.AddrFromSlice(network.IP)
			found := address{addr: addr.Unmap(), iface: i.Name, preferred: forever}
			if found.addr.Is6() && f == agent.IPv6 && !found.addr.IsLinkLocalUnicast() {
				if found.unfit, err = unfit(i.Name, found.addr); err != nil {
					return nil, fmt.Errorf("flags of %s: %w", found.addr, err)
				}
			}
			out = append(out, found)
		}
	}
	return out, nil
}

// gateway is where IPv4 leaves this network.
func gateway() (netip.Addr, error) {
	data, err := route.FetchRIB(unix.AF_INET, route.RIBTypeRoute, 0)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list routes: %w", err)
	}
	messages, err := route.ParseRIB(route.RIBTypeRoute, data)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list routes: %w", err)
	}
	for _, m := range messages {
		r, ok := m.(*route.RouteMessage)
		if !ok || !isDefault(r) || r.Flags&unix.RTF_UP == 0 || len(r.Addrs) <= unix.RTAX_GATEWAY {
			continue
		}
		if via, ok := r.Addrs[unix.RTAX_GATEWAY].(*route.Inet4Addr); ok {
			return netip.AddrFrom4(via.IP), nil
		}
	}
	return netip.Addr{}, errNoGateway
}

// isDefault tells whether it is a default route.
func isDefault(r *route.RouteMessage) bool {
	if r.Flags&unix.RTF_HOST != 0 || len(r.Addrs) <= unix.RTAX_NETMASK {
		return false
	}
	zero := func(a route.Addr) bool {
		switch a := a.(type) {
		case nil:
			return true
		case *route.Inet4Addr:
			return a.IP == [4]byte{}
		case *route.Inet6Addr:
			return a.IP == [16]byte{}
		}
		return false
	}
	return r.Addrs[unix.RTAX_DST] != nil && zero(r.Addrs[unix.RTAX_DST]) && zero(r.Addrs[unix.RTAX_NETMASK])
}

// delegated: these systems do not tell which route delegation made.
func delegated() ([]netip.Prefix, error) {
	return nil, fmt.Errorf("this system does not tell which prefix is delegated; give interface or command: %w", errors.ErrUnsupported)
}

// Watch calls changed each time that the operating system reports another
// address or another default route, and once at the start when it listens, so
// that nothing is missed in between. It sleeps until then. A change may be
// reported more than once; changed is called by one goroutine and must return
// soon. Watch returns ctx.Err() when ctx ends, and errors.ErrUnsupported on
// systems that have no such report.
func Watch(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("watch addresses: %w", os.NewSyscallError("socket", err))
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil { // so that Close ends Read
		unix.Close(fd)
		return fmt.Errorf("watch addresses: %w", err)
	}
	events := os.NewFile(uintptr(fd), "route")
	defer events.Close()
	defer context.AfterFunc(ctx, func() { events.Close() })()

	changed()
	buffer := make([]byte, 4<<10)
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
		if isNews(buffer[:n]) {
			changed()
		}
	}
}

// isNews tells whether a report is of an address or a default route: the
// routing socket also reports each neighbour.
func isNews(report []byte) bool {
	messages, err := route.ParseRIB(route.RIBTypeRoute, report)
	if err != nil {
		return false
	}
	for _, m := range messages {
		switch m := m.(type) {
		case *route.InterfaceAddrMessage:
			return true
		case *route.RouteMessage:
			if isDefault(m) {
				return true
			}
		}
	}
	return false
}
