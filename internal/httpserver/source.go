package httpserver

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"godwit/internal/ddns"
)

// maxHops bounds how many proxies may stand in a row.
const maxHops = 32

// Why a request's source is not known. None of them names an address: the texts
// go to strangers.
var (
	errNoPeer  = errors.New("the connection has no address")
	errNoHops  = errors.New("the proxy in front of this server does not say where requests come from")
	errBadHops = errors.New("the proxy in front of this server says in a form that is not understood where the request comes from")
)

// source is the address that a request came from: the socket's, or, if that is
// a listed proxy, the right-most address in X-Forwarded-For that is not one.
//
// A listed proxy that sends no such header, or one that cannot be read, makes
// the source unknown. The proxy's own address would be the other choice, and it
// is how a proxy's address ends up in everyone's record.
func (s *Server) source(r *http.Request) (ddns.Source, error) {
	from, listed, err := s.peer(r.RemoteAddr)
	if err != nil || !listed {
		return from, err
	}
	hop, err := sourceHop(r.Header["X-Forwarded-For"], s.trusts)
	return ddns.SourceOf(hop), err
}

// peer is who stands at the other end of a connection, and whether that is a
// listed proxy.
func (s *Server) peer(remote string) (from ddns.Source, listed bool, err error) {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ddns.Source{}, false, errNoPeer
	}
	from = ddns.SourceOf(peer.Addr())
	from.Text = ownSpelling(remote, from.Addr)
	return from, s.trusts(from.Addr), nil
}

// ownSpelling is the address in a RemoteAddr if it is not spelt as we spell it,
// else "". Sockets spell as we do; a platform that makes RemoteAddr need not.
func ownSpelling(remote string, addr netip.Addr) string {
	if at := strings.LastIndexByte(remote, ':'); at >= 0 {
		remote = remote[:at]
	}
	remote = strings.TrimSuffix(strings.TrimPrefix(remote, "["), "]")
	var room [48]byte
	if string(addr.AppendTo(room[:0])) == remote {
		return ""
	}
	return remote
}

func (s *Server) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// sourceHop walks the hops from the server outwards, that is from the last
// header's right end to the left, and returns the first that no listed proxy
// is. If all are, it is the left-most.
func sourceHop(headers []string, trusts func(netip.Addr) bool) (netip.Addr, error) {
	if len(headers) == 0 {
		return netip.Addr{}, errNoHops
	}
	var hop netip.Addr
	hops := 0
	for _, header := range slices.Backward(headers) {
		for more := true; more; {
			if hops++; hops > maxHops {
				return netip.Addr{}, errBadHops
			}
			text := header
			at := strings.LastIndexByte(header, ',')
			if more = at >= 0; more {
				header, text = header[:at], header[at+1:]
			}
			var ok bool
			if hop, ok = parseHop(strings.Trim(text, " \t")); !ok {
				return netip.Addr{}, errBadHops
			}
			if !trusts(hop) {
				return hop, nil
			}
		}
	}
	return hop, nil
}

// parseHop reads one hop: an address, in brackets or not, with a port or not.
// The result is unmapped and has no zone.
func parseHop(text string) (netip.Addr, bool) {
	addr, rest := text, ""
	bracketed := strings.HasPrefix(text, "[")
	if bracketed {
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		addr, rest = text[1:end], text[end+1:]
	} else if host, port, ok := strings.Cut(text, ":"); ok && !strings.Contains(port, ":") {
		addr, rest = host, ":"+port // IPv4 with a port: IPv6 has two colons or more
	}
	if rest != "" {
		port := rest[1:]
		if rest[0] != ':' || port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || bracketed && !a.Is6() {
		return netip.Addr{}, false
	}
	return a.WithZone("").Unmap(), true
}
