package ddns

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"godwit/internal/dnsname"
)

// Follower is a name behind the host's router. It moves with the router: it has
// no generation, no credential and no history of its own.
type Follower struct {
	Name dnsname.Name `json:"name"`
	// Low is the interface ID, and a subnet ID above it if there is one, in the
	// bits below the delegated prefix.
	Low  netip.Addr `json:"low"`
	A    bool       `json:"a"`    // shows the router's IPv4 addresses
	AAAA bool       `json:"aaaa"` // shows prefix + Low
}

// FollowerAddrs are the addresses that the host's state gives a follower of its;
// read only. A follower whose subnet ID has no room below the prefix has no IPv6
// address: it would be one in another subnet, where somebody else may be.
func (h *Host) FollowerAddrs(f Follower) (a, aaaa []netip.Addr) {
	if f.A {
		a = h.A
	}
	if f.AAAA && h.Prefix.IsValid() && f.Fits(h.Prefix) {
		aaaa = []netip.Addr{join(h.Prefix, f.Low)}
	}
	return a, aaaa
}

// Follower is the host's follower of that name, and whether there is one.
func (h *Host) Follower(name dnsname.Name) (Follower, bool) {
	i := slices.IndexFunc(h.Followers, func(f Follower) bool { return f.Name == name })
	if i < 0 {
		return Follower{}, false
	}
	return h.Followers[i], true
}

// Fits tells whether the prefix, of 48 to 64 bits, leaves room for the subnet ID.
func (f Follower) Fits(p netip.Prefix) bool {
	return f.Low.Is6() && p.Bits() <= 48+bits.LeadingZeros16(subnetID(f.Low))
}

// subnetID is what stands between the shortest prefix and the interface ID.
func subnetID(low netip.Addr) uint16 {
	b := low.As16()
	return binary.BigEndian.Uint16(b[6:])
}

// join puts low's bits below the prefix, where they fit.
func join(p netip.Prefix, low netip.Addr) netip.Addr {
	out, l := p.Masked().Addr().As16(), low.As16()
	for i := range out {
		out[i] |= l[i]
	}
	return netip.AddrFrom16(out)
}

// isLow tells whether an address is the lower part of one: nothing where the
// shortest prefix goes, and something in the interface ID, for prefix:: is a
// router's anycast address (RFC 4291 section 2.6.1).
func isLow(a netip.Addr) bool {
	if !plain(a) || !a.Is6() {
		return false
	}
	b := a.As16()
	return [6]byte(b[:6]) == [6]byte{} && [8]byte(b[8:]) != [8]byte{}
}

// ParseLow reads a follower's interface ID: "::1234"; "0:0:0:5::1/56", with a
// subnet ID below a delegated prefix of that length, 48 to 64; or a MAC address
// such as "02:00:5e:10:00:00" as modified EUI-64 (RFC 4291 appendix A). An error
// is a *Refusal with code malformed.
func ParseLow(text string) (netip.Addr, error) {
	if low, ok := parseMAC(text); ok {
		return low, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil {
			p = netip.PrefixFrom(a.WithZone(""), 64)
			if a.Zone() != "" {
				p = netip.Prefix{}
			}
		}
	}
	// No bit may stand where the prefix goes.
	if err != nil || p.Bits() < 48 || p.Bits() > 64 || !isLow(p.Addr()) || !p.Masked().Addr().IsUnspecified() {
		return netip.Addr{}, refuse(Malformed, fmt.Sprintf("%.60q is not an interface ID", text),
			"give ::1234, 0:0:0:5::1/56 or a MAC address such as 02:00:5e:10:00:00")
	}
	return p.Addr(), nil
}

// LowText is what [ParseLow] reads again: an interface ID such as "::1234", or
// one with a subnet ID and the length of the longest prefix, in whole digits,
// that leaves room for it: "0:0:0:5::1/60".
func LowText(low netip.Addr) string {
	if !low.Is6() || subnetID(low) == 0 {
		return low.String()
	}
	b := low.As16()
	b[6], b[7] = 0, 0
	id := netip.AddrFrom16(b).String()
	if b[8]|b[9] != 0 { // four groups: "::" would stand for none
		id = strings.TrimPrefix(id, ":")
	}
	room := bits.LeadingZeros16(subnetID(low)) &^ 3
	return fmt.Sprintf("0:0:0:%x%s/%d", subnetID(low), id, 48+room)
}

// parseMAC reads six octets in hexadecimal with one separator, ":" or "-".
func parseMAC(text string) (netip.Addr, bool) {
	if len(text) != 17 || text[2] != ':' && text[2] != '-' {
		return netip.Addr{}, false
	}
	parts := strings.Split(text, text[2:3])
	mac, err := hex.DecodeString(strings.Join(parts, ""))
	if err != nil || slices.ContainsFunc(parts, func(p string) bool { return len(p) != 2 }) {
		return netip.Addr{}, false
	}
	var b [16]byte
	copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(b), true
}

// moved says in words what a change of prefix does to the followers.
func (h *Host) moved(from netip.Prefix) string {
	what := fmt.Sprintf("prefix %s to %s", orNone(from), orNone(h.Prefix))
	moves, lost := 0, 0
	for _, f := range h.Followers {
		switch {
		case !f.AAAA:
		case h.Prefix.IsValid() && !f.Fits(h.Prefix):
			lost++
		default:
			moves++
		}
	}
	if moves > 0 {
		what += fmt.Sprintf(" (followers moved: %d)", moves)
	}
	if lost > 0 {
		what += fmt.Sprintf(" (followers without AAAA, for their subnet IDs have no room in it: %d)", lost)
	}
	return what
}

// refollowed says in words how a list of followers changed; "" if it did not.
func refollowed(from, to []Follower) string {
	var added, changed, removed []dnsname.Name
	was := &Host{Followers: from}
	for _, f := range to {
		switch old, ok := was.Follower(f.Name); {
		case !ok:
			added = append(added, f.Name)
		case old != f:
			changed = append(changed, f.Name)
		}
	}
	is := &Host{Followers: to}
	for _, f := range from {
		if _, ok := is.Follower(f.Name); !ok {
			removed = append(removed, f.Name)
		}
	}
	var what []string
	for _, part := range []struct {
		word  string
		names []dnsname.Name
	}{{"added", added}, {"changed", changed}, {"removed", removed}} {
		const some = 4 // an event has its place in the host's row
		var texts []string
		for _, n := range part.names[:min(some, len(part.names))] {
			texts = append(texts, n.String())
		}
		if more := len(part.names) - some; more > 0 {
			texts = append(texts, fmt.Sprintf("%d more", more))
		}
		if len(texts) > 0 {
			what = append(what, part.word+" "+strings.Join(texts, " "))
		}
	}
	if len(what) == 0 && !slices.Equal(from, to) {
		return "followers in another order"
	}
	if len(what) == 0 {
		return ""
	}
	return "followers " + strings.Join(what, ", ")
}

// Find returns the host that a name is of: its own, or a follower's.
func (s *Service) Find(ctx context.Context, name dnsname.Name) (*Host, []*Credential, error) {
	h, credentials, err := s.Show(ctx, name)
	if errors.Is(err, ErrNoHost) {
		if router, ok := s.routerOf(ctx, name); ok {
			return s.Show(ctx, router)
		}
	}
	return h, credentials, err
}

// routerOf is the host that has a name without being it. What cannot be found
// out now is not known: it is for a better word alone.
func (s *Service) routerOf(ctx context.Context, name dnsname.Name) (dnsname.Name, bool) {
	owner, err := s.Store.Owner(ctx, name)
	if err != nil || owner == name {
		return dnsname.Name{}, false
	}
	if h, _, err := s.Store.Host(ctx, owner); err == nil {
		if _, ok := h.Follower(name); ok {
			return owner, true
		}
	}
	return dnsname.Name{}, false
}

// taken says which of a host's names is whose, after the store refused them.
func (s *Service) taken(ctx context.Context, h *Host) *Refusal {
	names := h.Names()
	for _, n := range append(names[1:], h.Name) { // its own last: a host that is there has that rightly
		owner, err := s.Store.Owner(ctx, n)
		switch {
		case err != nil || owner == h.Name && n != h.Name:
		case owner == n:
			return &Refusal{Code: Exists, Why: fmt.Sprintf("there is a host %s already", n),
				Fix: "godwit host show tells about it; godwit host set changes it", Cause: ErrNameTaken}
		default:
			word := "a follower"
			if n.IsWildcard() {
				word = "the wildcard"
			}
			return &Refusal{Code: Exists, Why: fmt.Sprintf("%s is %s of %s already", n, word, owner),
				Fix: fmt.Sprintf("godwit host show %s tells about it; godwit host set changes it", owner), Cause: ErrNameTaken}
		}
	}
	return &Refusal{Code: Exists, Why: "a host or follower has that name already", Fix: "godwit host list shows all names", Cause: ErrNameTaken}
}
