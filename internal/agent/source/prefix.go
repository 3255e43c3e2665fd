package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"godwit/internal/agent"
)

// NewPrefix reads the text of a source of the delegated prefix as the
// configuration has it:
//
//	delegated                what DHCPv6 delegates to this device, if it is the router; Linux only
//	interface br-lan         the /64 that this interface has its stable public address in
//	interface br-lan/56      that, cut to so many bits, 48 to 64
//	command PATH [ARG…]      a program that prints the prefix; no shell
//
// What comes back is public and has 48 to 64 bits. An error says what is wrong
// with the text and how it is written.
func NewPrefix(spec string) (agent.PrefixSource, error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(spec), " ")
	rest = strings.TrimSpace(rest)
	switch kind {
	case "delegated":
		if rest == "" {
			return delegation{}, nil
		}
		return nil, fmt.Errorf("source %q: delegated takes no argument", spec)
	case "interface":
		name, length, given := strings.Cut(rest, "/")
		bits := 64
		var err error
		if given {
			bits, err = strconv.Atoi(length)
		}
		if name == "" || strings.ContainsAny(rest, " \t") || err != nil || bits < minPrefix || bits > maxPrefix {
			return nil, fmt.Errorf("source %q names no interface, or a length that is not 48 to 64; write it as in \"interface br-lan\" or \"interface br-lan/56\"", spec)
		}
		return &interfacePrefix{iface: name, bits: bits}, nil
	case "command":
		c, err := newCommand(rest)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	return nil, fmt.Errorf("source %q of the prefix is not known; there are delegated, interface and command, as in \"interface br-lan\"", spec)
}

// Lengths of a prefix that a home can be delegated and that a server takes.
const minPrefix, maxPrefix = 48, 64

// parsePrefix reads text that must be one public prefix with nothing but white
// space around it. from says in errors who gave it.
func parsePrefix(from, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(strings.TrimSpace(text))
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%s answers %.64q, which is not one prefix and nothing else", from, text)
	case !p.Addr().Is6() || p.Addr().Is4In6() || p.Bits() < minPrefix || p.Bits() > maxPrefix || p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s answers %s, which is not an IPv6 prefix of 48 to 64 bits with zeros behind it", from, p)
	}
	if block, ok := special(p.Addr()); ok {
		return netip.Prefix{}, &NotPublic{From: from, Addr: p.Addr(), Block: block}
	}
	return p, nil
}

// FindPrefix runs the program as Find does. It prints one prefix; nothing and
// exit status 0 say that there is none.
func (s *command) FindPrefix(ctx context.Context) (netip.Prefix, error) {
	text, err := s.output(ctx, agent.IPv6)
	if err != nil {
		return netip.Prefix{}, err
	}
	return parsePrefix(s.argv[0], text)
}

// interfacePrefix is the prefix that an interface of the LAN has its address in.
type interfacePrefix struct {
	iface string
	bits  int

	mu   sync.Mutex // guards last
	last netip.Addr
}

func (s *interfacePrefix) Name() string {
	if s.bits == maxPrefix {
		return "interface " + s.iface
	}
	return fmt.Sprintf("interface %s/%d", s.iface, s.bits)
}

func (s *interfacePrefix) FindPrefix(context.Context) (netip.Prefix, error) {
	all, err := addresses(agent.IPv6)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s: %w", s.Name(), err)
	}
	if _, err := net.InterfaceByName(s.iface); err != nil {
		return netip.Prefix{}, fmt.Errorf("there is no interface %s now; is it plugged in, and the name right?", s.iface)
	}
	all = slices.DeleteFunc(all, func(a address) bool { return !a.addr.Is6() || a.iface != s.iface })
	s.mu.Lock()
	defer s.mu.Unlock()
	addr, err := choose(s.Name(), all, agent.IPv6, s.iface, s.last)
	if err != nil {
		return netip.Prefix{}, err
	}
	s.last = addr
	return netip.PrefixFrom(addr, s.bits).Masked(), nil
}

// delegation is the prefix that DHCPv6 delegates to this device.
type delegation struct{}

func (delegation) Name() string { return "delegated" }

// FindPrefix finds the one prefix that is delegated. While an old one lingers
// beside a new one (RFC 9096) it is that of the address that stays preferred
// longest.
func (d delegation) FindPrefix(context.Context) (netip.Prefix, error) {
	found, err := delegated()
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%s: %w", d.Name(), err)
	case len(found) == 0:
		return netip.Prefix{}, fmt.Errorf("%s: no prefix of 48 to 64 bits is delegated to this device: %w", d.Name(), agent.ErrNone)
	case len(found) == 1:
		return found[0], nil
	}
	all, err := addresses(agent.IPv6)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s: %w", d.Name(), err)
	}
	of := func(a netip.Addr) int {
		return slices.IndexFunc(found, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	all = slices.DeleteFunc(all, func(a address) bool { return of(a.addr) < 0 })
	addr, err := choose(d.Name(), all, agent.IPv6, "", netip.Addr{})
	if errors.Is(err, agent.ErrNone) {
		err = fmt.Errorf("%s: several prefixes are delegated (%v), and this device has a stable address in none of them", d.Name(), found)
	}
	if err != nil {
		return netip.Prefix{}, err
	}
	return found[of(addr)], nil
}
