package source

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"godwit/internal/agent"
)

// address is an address of an interface, as the operating system tells it.
type address struct {
	addr  netip.Addr
	iface string
	// unfit says why it must not be published though it is public: temporary,
	// deprecated, not yet or no longer its own; "" if nothing speaks against it.
	unfit string
	// preferred is how much longer it stays preferred (RFC 4862 section 5.5.4);
	// forever if the system sets or tells no limit.
	preferred time.Duration
}

const forever time.Duration = math.MaxInt64

// advertised is the pause between two router advertisements that routers keep by
// default (RFC 4861 section 6.2.1). Lifetimes that differ by less say nothing:
// each is new when its own advertisement came.
const advertised = 10 * time.Minute

// onInterface is the address of an interface of this device. It keeps to what
// it found last while that is as good as any other.
type onInterface struct {
	iface string // "" is any

	mu   sync.Mutex // guards last
	last map[agent.Family]netip.Addr
}

func newInterface(iface string) *onInterface {
	return &onInterface{iface: iface, last: map[agent.Family]netip.Addr{}}
}

func (s *onInterface) Name() string { return strings.TrimSpace("interface " + s.iface) }

func (s *onInterface) Find(_ context.Context, f agent.Family) (agent.Finding, error) {
	all, err := addresses(f)
	if err != nil {
		return agent.Finding{}, fmt.Errorf("%s: %w", s.Name(), err)
	}
	all = slices.DeleteFunc(all, func(a address) bool { return a.addr.Is4() != (f == agent.IPv4) })
	if s.iface != "" {
		if _, err := net.InterfaceByName(s.iface); err != nil {
			return agent.Finding{}, fmt.Errorf("there is no interface %s now; is it plugged in, and the name right?", s.iface)
		}
		all = slices.DeleteFunc(all, func(a address) bool { return a.iface != s.iface })
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	addr, err := choose(s.Name(), all, f, outgoing(all, f), s.last[f])
	if err != nil {
		return agent.Finding{}, err
	}
	s.last[f] = addr
	return agent.Finding{Addr: addr}, nil
}

// outgoing is the interface that the kernel sends from, "" if it does not say.
func outgoing(all []address, f agent.Family) string {
	// No packet leaves: connecting a UDP socket only looks up the route.
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9"))
	if f == agent.IPv6 {
		to = net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:9"))
	}
	conn, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return ""
	}
	defer conn.Close()
	from := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	for _, a := range all {
		if a.addr == from {
			return a.iface
		}
	}
	return ""
}

// choose returns the address to publish out of those of the family. An
// interface that the kernel sends from comes first, then the prefix that stays
// preferred longest: after a renumbering the old one lingers (RFC 9096). Within a
// prefix the lowest, so that the choice is the same each time.
func choose(from string, all []address, f agent.Family, outgoing string, last netip.Addr) (netip.Addr, error) {
	var fit []address
	var none error
	var seen []string
	for _, a := range all {
		_, err := checkAddr(from, a.addr, f)
		switch {
		case err != nil:
			if (none == nil || a.iface == outgoing) && f == agent.IPv4 && !a.addr.IsLoopback() && !a.addr.IsLinkLocalUnicast() {
				none = err
			}
		case a.unfit != "":
			seen = append(seen, fmt.Sprintf("%s is %s", a.addr, a.unfit))
		default:
			fit = append(fit, a)
		}
	}
	if len(fit) == 0 {
		switch {
		case len(seen) > 0:
			return netip.Addr{}, fmt.Errorf("%s has no stable public %s address (%s): %w", from, f, strings.Join(seen, ", "), agent.ErrNone)
		case none != nil:
			return netip.Addr{}, none
		}
		return netip.Addr{}, fmt.Errorf("%s: %w", from, agent.ErrNone)
	}

	if on := slices.DeleteFunc(slices.Clone(fit), func(a address) bool { return a.iface != outgoing }); len(on) > 0 {
		fit = on
	}
	longest := map[netip.Prefix]time.Duration{}
	for _, a := range fit {
		longest[subnet(a.addr)] = max(longest[subnet(a.addr)], a.preferred)
	}
	best := slices.MinFunc(fit, func(a, b address) int {
		return cmp.Or(cmp.Compare(longest[subnet(b.addr)], longest[subnet(a.addr)]), a.addr.Compare(b.addr))
	})
	for _, a := range fit {
		if a.addr == last && longest[subnet(best.addr)]-longest[subnet(last)] < advertised {
			return last, nil
		}
	}
	return best.addr, nil
}

// subnet is the link's prefix of an IPv6 address, and an IPv4 address alone.
func subnet(a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, min(64, a.BitLen())).Masked()
}
