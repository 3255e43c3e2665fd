package source

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"godwit/internal/agent"
)

// addresses lists the addresses of the family with what GetAdaptersAddresses
// knows of them. Interfaces have their friendly names, as in the net package.
func addresses(f agent.Family) ([]address, error) {
	family := uint32(windows.AF_INET)
	if f == agent.IPv6 {
		family = windows.AF_INET6
	}
	size := uint32(16 << 10)
	var buffer []byte
	for {
		buffer = make([]byte, size)
		err := windows.GetAdaptersAddresses(family, windows.GAA_FLAG_SKIP_ANYCAST|windows.GAA_FLAG_SKIP_MULTICAST|windows.GAA_FLAG_SKIP_DNS_SERVER,
			0, (*windows.IpAdapterAddresses)(unsafe.Pointer(&buffer[0])), &size)
		if err == nil {
			break
		}
		if !errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) || size <= uint32(len(buffer)) {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
	}
	var out []address
	for adapter := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buffer[0])); adapter != nil; adapter = adapter.Next {
		if adapter.OperStatus != windows.IfOperStatusUp {
			continue
		}
		name := windows.UTF16PtrToString(adapter.FriendlyName)
		for u := adapter.FirstUnicastAddress; u != nil; u = u.Next {
			addr, ok := netip.AddrFromSlice(u.Address.IP())
			if !ok {
				continue
			}
			a := address{addr: addr, iface: name, unfit: unfit(u), preferred: forever}
			if u.PreferredLifetime != 1<<32-1 {
				a.preferred = time.Duration(u.PreferredLifetime) * time.Second
			}
			out = append(out, a)
		}
	}
	return out, nil
}

func unfit(u *windows.IpAdapterUnicastAddress) string {
	switch {
	case u.DadState == windows.IpDadStateTentative:
		return "still tentative"
	case u.DadState == windows.IpDadStateDuplicate, u.DadState == windows.IpDadStateInvalid:
		return "a duplicate"
	case u.DadState == windows.IpDadStateDeprecated || u.PreferredLifetime == 0:
		return "deprecated"
	// The suffix of a stable address is random too, and yet not called so.
	case u.PrefixOrigin == windows.IpPrefixOriginRouterAdvertisement && u.SuffixOrigin == windows.IpSuffixOriginRandom:
		return "temporary"
	}
	return ""
}

// gateway is where IPv4 leaves this network.
func gateway() (netip.Addr, error) {
	var table *windows.MibIpForwardTable2
	if err := windows.GetIpForwardTable2(windows.AF_INET, &table); err != nil {
		return netip.Addr{}, fmt.Errorf("list routes: %w", err)
	}
	defer windows.FreeMibTable(unsafe.Pointer(table))
	var found netip.Addr
	var metric uint32
	for _, row := range table.Rows() {
		next := netip.AddrFrom4((*windows.RawSockaddrInet4)(unsafe.Pointer(&row.NextHop)).Addr)
		if row.DestinationPrefix.PrefixLength != 0 || next.IsUnspecified() {
			continue
		}
		// The kernel adds the interface's metric. Where that decides, there are two
		// gateways, and each knows its own address.
		if !found.IsValid() || row.Metric < metric {
			found, metric = next, row.Metric
		}
	}
	if !found.IsValid() {
		return netip.Addr{}, errNoGateway
	}
	return found, nil
}

// delegated: Windows is seldom a router, and does not tell.
func delegated() ([]netip.Prefix, error) {
	return nil, fmt.Errorf("this system does not tell which prefix is delegated; give interface or command: %w", errors.ErrUnsupported)
}

// Watch calls changed each time that the operating system reports a change of
// an address or a route, and once at the start when it listens, so that nothing
// is missed in between. It sleeps until then. A change may be reported more than
// once; changed is called by one goroutine and must return soon. Watch returns
// ctx.Err() when ctx ends, and errors.ErrUnsupported on systems that have no such
// report. Windows never frees what one call of Watch takes for its callback: call
// it once in a process.
func Watch(ctx context.Context, changed func()) error {
	news := make(chan struct{}, 1)
	callback := windows.NewCallback(func(_, _, _ uintptr) uintptr {
		select {
		case news <- struct{}{}:
		default: // one is waiting already
		}
		return 0
	})
	var addresses, routes windows.Handle
	if err := windows.NotifyUnicastIpAddressChange(windows.AF_UNSPEC, callback, nil, false, &addresses); err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	defer windows.CancelMibChangeNotify2(addresses)
	if err := windows.NotifyRouteChange2(windows.AF_UNSPEC, callback, nil, false, &routes); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	defer windows.CancelMibChangeNotify2(routes)
	for {
		changed()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}
