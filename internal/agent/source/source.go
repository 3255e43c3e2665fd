// Package source finds the public address of this device: on an interface, from
// the router, from pages in the web, by a DNS question, or by a command; and says
// when the operating system reports a change.
//
// What comes back is published in DNS, so every source is narrow. It takes one
// address of the family asked for and nothing around it; it takes no address of
// the IANA special-purpose registries; and what it reads from others is bounded
// in size and time. An address that only this place can use is reported as
// [NotPublic], which is [agent.ErrNone]: behind NAT, behind CGNAT. All sources
// are safe for concurrent use.
package source

import (
	"fmt"
	"net/netip"
	"strings"

	"godwit/internal/agent"
)

// New reads the text of a source as the configuration has it:
//
//	interface              any interface, preferring the one that the kernel sends from
//	interface eth0         this interface only
//	router                 the default gateway, by PCP, NAT-PMP or UPnP IGD; IPv4 only
//	web URL [URL…]         pages that answer with the caller's address and nothing else
//	dns NAME@SERVER [TXT]  a name that SERVER answers with the caller's address
//	command PATH [ARG…]    a program that prints the address; no shell
//
// An error says what is wrong with the text and how it is written.
func New(spec string) (agent.Source, error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(spec), " ")
	rest = strings.TrimSpace(rest)
	switch kind {
	case "interface":
		if strings.ContainsAny(rest, " \t") {
			return nil, fmt.Errorf("source %q names more than one interface; give one, as in \"interface eth0\", and a source for each other", spec)
		}
		return newInterface(rest), nil
	case "router":
		if rest != "" {
			return nil, fmt.Errorf("source %q: the router is the default gateway and takes no argument; write \"router\"", spec)
		}
		return &router{gateway: gateway}, nil
	case "web":
		return newWeb(rest)
	case "dns":
		return newDNS(rest)
	case "command":
		return newCommand(rest)
	}
	return nil, fmt.Errorf("source %q is not known; there are interface, router, web, dns and command, as in \"interface eth0\"", spec)
}

// parseAddr reads text that must be one public address of the family with
// nothing but white space around it. from says in errors who gave it.
func parseAddr(from, text string, f agent.Family) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s answers %.64q, which is not one address and nothing else", from, text)
	}
	return checkAddr(from, a, f)
}

// checkAddr returns an address that may be published: public, of the family,
// not an IPv4 address in the clothes of IPv6.
func checkAddr(from string, a netip.Addr, f agent.Family) (netip.Addr, error) {
	if a.Is4() != (f == agent.IPv4) || a.Is4In6() || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s answers %s, which is not an %s address", from, a, f)
	}
	if a.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("%s answers %s: it knows no address now", from, a)
	}
	if block, ok := special(a); ok {
		return netip.Addr{}, &NotPublic{From: from, Addr: a, Block: block}
	}
	return a, nil
}
