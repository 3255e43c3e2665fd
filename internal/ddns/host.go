package ddns

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/dnsname"
)

// Host is one owner name that someone may update: settings, present state, and
// how far DNS is known to show it. A Host that has been stored is never changed
// in place; [Host.Clone] makes one that may be.
type Host struct {
	Name dnsname.Name
	Zone dnsname.Name // apex of the zone that holds it
	// TTL of its RRsets in whole seconds, 1 to MaxTTL (RFC 2181 section 8).
	TTL uint32

	Addresses AddressRule   // which addresses may be published
	Free      bool          // --source free: the request may name another address than its own
	SeedOff   bool          // refuses the seed's proof
	Suspended bool          // every door refuses, DNS is empty, the state stays
	Wildcard  bool          // *.name shows the same addresses
	Removed   bool          // gone, once DNS is known to be empty
	Lease     time.Duration // addresses are withdrawn after no sign of life for so long; 0: never

	A, AAAA   []netip.Addr // sorted, at most MaxAddresses each
	Prefix    netip.Prefix // delegated to the host's router; moves followers. Zero: none
	Followers []Follower
	TXT       []TXT // at _acme-challenge.name

	Generation uint64  // counts accepted changes, from 1
	Published  uint64  // the generation that DNS is known to show; unused where DNS follows the store
	Shown      []RRset // what DNS showed at Published

	Created   time.Time
	ChangedAt time.Time // of the newest generation
	ChangedBy string    // credential ID, or "admin"
	Seen      time.Time // last sign of life, coarse: see SeenEvery
	// Busy is the change limit's memory: the time until which the host has used
	// up its allowance (generic cell rate algorithm). It is stored, so the limit
	// holds across processes.
	Busy     time.Time
	Refusals uint64 // ever counted for callers who had proved themselves

	Credentials []string // IDs, in order of creation
}

// Follower is a name behind the host's router.
type Follower struct {
	Name dnsname.Name `json:"name"`
	// Low is the interface ID in the bits below the delegated prefix.
	Low  netip.Addr `json:"low"`
	A    bool       `json:"a"`    // shows the router's IPv4 addresses
	AAAA bool       `json:"aaaa"` // shows prefix + Low
}

// TXT is one value of the ACME challenge RRset, who set it, and when.
type TXT struct {
	Value      string    `json:"value"`
	Credential string    `json:"credential"`
	Time       time.Time `json:"time"`
}

// txtLife is how long an ACME challenge value stays.
const txtLife = 24 * time.Hour

// txtTTL is the TTL of the ACME challenge RRset in seconds.
const txtTTL = 60

// Type is a kind of record that hosts have.
type Type uint8

const (
	TypeA Type = iota + 1
	TypeAAAA
	TypeTXT
	TypePrefix // a delegated prefix, from which followers' AAAA derive; not a DNS type
)

func (t Type) String() string {
	switch t {
	case TypeA:
		return "A"
	case TypeAAAA:
		return "AAAA"
	case TypeTXT:
		return "TXT"
	case TypePrefix:
		return "prefix"
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// RRset is what DNS must show at one owner name for one type. Exactly one of
// Addrs and Texts is used, as Type says; it is never empty.
type RRset struct {
	Owner dnsname.Name `json:"owner"`
	Type  Type         `json:"type"`
	TTL   uint32       `json:"ttl"`
	Addrs []netip.Addr `json:"addrs,omitempty"`
	Texts []string     `json:"texts,omitempty"`
}

// RRsets says what DNS must show for the host: nothing while it is suspended or
// removed. Both publishers use it and nothing else. Pure.
func (h *Host) RRsets() []RRset { return h.AppendRRsets(nil) }

// AppendRRsets is [Host.RRsets] onto dst. The slices inside the RRsets are the
// host's own: read them only.
func (h *Host) AppendRRsets(dst []RRset) []RRset {
	if h.Suspended || h.Removed {
		return dst
	}
	dst = appendAddrs(dst, h.Name, h.TTL, h.A, h.AAAA)
	if h.Wildcard {
		// A wildcard of a wildcard cannot be set; Validate refuses it.
		if star, err := h.Name.Child("*"); err == nil {
			dst = appendAddrs(dst, star, h.TTL, h.A, h.AAAA)
		}
	}
	for _, f := range h.Followers {
		var a, aaaa []netip.Addr
		if f.A {
			a = h.A
		}
		if f.AAAA && h.Prefix.IsValid() {
			aaaa = []netip.Addr{join(h.Prefix, f.Low)}
		}
		dst = appendAddrs(dst, f.Name, h.TTL, a, aaaa)
	}
	if len(h.TXT) > 0 {
		if owner, err := h.Name.Child("_acme-challenge"); err == nil {
			texts := make([]string, len(h.TXT))
			for i, t := range h.TXT {
				texts[i] = t.Value
			}
			dst = append(dst, RRset{Owner: owner, Type: TypeTXT, TTL: txtTTL, Texts: texts})
		}
	}
	return dst
}

func appendAddrs(dst []RRset, owner dnsname.Name, ttl uint32, a, aaaa []netip.Addr) []RRset {
	if len(a) > 0 {
		dst = append(dst, RRset{Owner: owner, Type: TypeA, TTL: ttl, Addrs: a})
	}
	if len(aaaa) > 0 {
		dst = append(dst, RRset{Owner: owner, Type: TypeAAAA, TTL: ttl, Addrs: aaaa})
	}
	return dst
}

// join puts low's bits below the prefix.
func join(p netip.Prefix, low netip.Addr) netip.Addr {
	out, l := p.Masked().Addr().As16(), low.As16()
	for i := range out {
		keep := p.Bits() - 8*i // bits of this octet that belong to the prefix
		switch {
		case keep >= 8:
		case keep <= 0:
			out[i] = l[i]
		default:
			out[i] |= l[i] & (0xff >> keep)
		}
	}
	return netip.AddrFrom16(out)
}

// Names are all owner names that the host has in DNS or keeps for itself: its
// own, its wildcard, its followers'. They are unique across hosts.
func (h *Host) Names() []dnsname.Name {
	names := []dnsname.Name{h.Name}
	if h.Wildcard {
		if star, err := h.Name.Child("*"); err == nil {
			names = append(names, star)
		}
	}
	for _, f := range h.Followers {
		names = append(names, f.Name)
	}
	return names
}

// NextDue is when something about the host ends by itself: a TXT value's life
// or the lease. Zero: nothing does.
func (h *Host) NextDue() time.Time {
	var due time.Time
	soonest := func(t time.Time) {
		if due.IsZero() || t.Before(due) {
			due = t
		}
	}
	for _, t := range h.TXT {
		soonest(t.Time.Add(txtLife))
	}
	if h.Lease > 0 && len(h.A)+len(h.AAAA) > 0 {
		soonest(h.lastSign().Add(h.Lease))
	}
	return due
}

// lastSign is the last sign of life that is written down.
func (h *Host) lastSign() time.Time {
	if h.ChangedAt.After(h.Seen) {
		return h.ChangedAt
	}
	return h.Seen
}

// Current is the host's addresses, IPv4 first.
func (h *Host) Current() []netip.Addr { return slices.Concat(h.A, h.AAAA) }

// Clone returns a copy that may be changed.
func (h *Host) Clone() *Host {
	c := *h
	c.A, c.AAAA = slices.Clone(h.A), slices.Clone(h.AAAA)
	c.Followers, c.TXT = slices.Clone(h.Followers), slices.Clone(h.TXT)
	c.Credentials = slices.Clone(h.Credentials)
	return &c
}

// Validate says what is wrong with the host's settings, in the operator's words.
func (h *Host) Validate() error {
	bad := func(why, fix string) error { return refuse(Malformed, why, fix) }
	switch {
	case h.TTL < 1 || h.TTL > MaxTTL:
		return bad(fmt.Sprintf("TTL %d is not 1 to %d seconds", h.TTL, MaxTTL), "give --ttl 60, for example")
	case h.Lease != 0 && h.Lease < 2*SeenEvery:
		// Seen is only that exact.
		return bad("a lease is at least 12 hours", "give a longer one, or none")
	case h.Lease > 10*365*24*time.Hour:
		return bad("a lease is at most 10 years", "give a shorter one, or none")
	case h.Wildcard && h.Name.IsWildcard():
		return bad("a wildcard host cannot have a wildcard of its own", "leave the wildcard switch off")
	case len(h.Followers) > MaxFollowers:
		return bad(fmt.Sprintf("more than %d followers", MaxFollowers), "give some of them to another host")
	case len(h.Credentials) > MaxCredentials:
		return bad(fmt.Sprintf("more than %d credentials", MaxCredentials), "revoke one that is not used")
	}
	for _, f := range h.Followers {
		if !f.Name.Under(h.Zone) {
			return bad(fmt.Sprintf("follower %s is not in the host's zone %s", f.Name, h.Zone), "a follower lives in its router's zone")
		}
		if !f.Low.Is6() || f.Low.Is4In6() {
			return bad(fmt.Sprintf("follower %s has no IPv6 interface ID", f.Name), "give one such as ::1234")
		}
	}
	return nil
}

// reserved are labels that hosts may not begin with: name servers and ACME need them.
var reserved = []string{"_acme-challenge", "ns", "ns1", "ns2", "ns3", "ns4"}

// IsReserved tells whether the leftmost label of a name below its zone's apex is
// kept for name servers or ACME.
func IsReserved(name, apex dnsname.Name) bool {
	if name == apex {
		return false
	}
	first := ""
	for label := range name.Labels() {
		first = label
		break
	}
	return slices.Contains(reserved, first)
}

// sortAddrs returns the addresses in order, each once.
func sortAddrs(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// parseLow reads a follower's interface ID: "::1234", "0:0:0:5::1/56", or a MAC
// address as modified EUI-64 (RFC 4291 appendix A).
func ParseLow(text string) (netip.Addr, error) {
	bad := refuse(Malformed, fmt.Sprintf("%q is not an interface ID", text), "give ::1234, 0:0:0:5::1/56 or a MAC address such as 02:00:5e:10:00:00")
	if mac, err := hex.DecodeString(strings.NewReplacer(":", "", "-", "").Replace(text)); err == nil && len(mac) == 6 && len(text) == 17 {
		var b [16]byte
		copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
		return netip.AddrFrom16(b), nil
	}
	addr, bits := text, 64
	if p, err := netip.ParsePrefix(text); err == nil {
		addr, bits = p.Addr().String(), p.Bits()
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" || bits < 48 || bits > 64 {
		return netip.Addr{}, bad
	}
	if masked := netip.PrefixFrom(a, bits).Masked().Addr(); masked != netip.IPv6Unspecified() {
		return netip.Addr{}, bad // it has bits where the prefix goes
	}
	return a, nil
}

// AddressRule says which addresses a host may publish. The zero value is
// "public": everything but the special-purpose registries.
type AddressRule struct {
	any  bool
	nets string // canonical text of a CIDR list, so that rules compare with ==
}

// AnyAddress admits private and loopback addresses too.
var AnyAddress = AddressRule{any: true}

// ParseAddressRule reads "public", "any", or a list of CIDR blocks.
func ParseAddressRule(text string) (AddressRule, error) {
	switch text {
	case "", "public":
		return AddressRule{}, nil
	case "any":
		return AnyAddress, nil
	}
	var nets []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil || len(nets) == 32 {
			return AddressRule{}, refuse(Malformed, fmt.Sprintf("address policy %q is not understood", text),
				"give public, any, or CIDR blocks such as 192.168.0.0/16,fd00::/8 (at most 32)")
		}
		nets = append(nets, p.Masked())
	}
	slices.SortFunc(nets, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	texts := make([]string, 0, len(nets))
	for _, p := range slices.Compact(nets) {
		texts = append(texts, p.String())
	}
	return AddressRule{nets: strings.Join(texts, ",")}, nil
}

func (r AddressRule) String() string {
	switch {
	case r.any:
		return "any"
	case r.nets != "":
		return r.nets
	}
	return "public"
}

// Allows tells whether a may be published under the rule. No rule admits the
// unspecified address, multicast, or an address with a zone.
func (r AddressRule) Allows(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return false
	}
	switch {
	case r.any:
		return true
	case r.nets != "":
		for part := range strings.SplitSeq(r.nets, ",") {
			if p, err := netip.ParsePrefix(part); err == nil && p.Contains(a) {
				return true
			}
		}
		return false
	}
	return IsPublic(a)
}

// MarshalText is String.
func (r AddressRule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseAddressRule.
func (r *AddressRule) UnmarshalText(text []byte) (err error) {
	*r, err = ParseAddressRule(string(text))
	return err
}
