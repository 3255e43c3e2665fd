package ddns

import (
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
	TXT       []TXT // at _acme-challenge.name, in the order in which they came, at most MaxTXT

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
	// Ends is when the next of its join codes and keys ends by itself. Zero: none does.
	Ends time.Time

	// Row is for the store that returned this state alone: what it has of the
	// state beyond these fields, to compare with when the state is replaced.
	Row any
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

// MarshalText is String; a type that is none of the four is an error.
func (t Type) MarshalText() ([]byte, error) {
	if t < TypeA || t > TypePrefix {
		return nil, fmt.Errorf("%s is not a type of record", t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads "A", "AAAA", "TXT" or "prefix".
func (t *Type) UnmarshalText(text []byte) error {
	for *t = TypeA; *t <= TypePrefix; *t++ {
		if t.String() == string(text) {
			return nil
		}
	}
	*t = 0
	return fmt.Errorf("%.20q is not a type of record: use A, AAAA, TXT or prefix", text)
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
		a, aaaa := h.FollowerAddrs(f)
		dst = appendAddrs(dst, f.Name, h.TTL, a, aaaa)
	}
	if len(h.TXT) > 0 {
		if owner, err := h.challenge(); err == nil {
			texts := make([]string, len(h.TXT))
			for i, t := range h.TXT {
				texts[i] = t.Value
			}
			dst = append(dst, RRset{Owner: owner, Type: TypeTXT, TTL: txtTTL, Texts: texts})
		}
	}
	return dst
}

// challenge is where the host's TXT values stand. A wildcard has no such place
// of its own: its challenge is that of the name below the star.
func (h *Host) challenge() (dnsname.Name, error) {
	if h.Name.IsWildcard() {
		return dnsname.Name{}, fmt.Errorf("%s is a wildcard", h.Name)
	}
	return h.Name.Child("_acme-challenge")
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

// NextDue is when something about the host ends by itself: a TXT value's life,
// the lease, a join code or a key. Zero: nothing does.
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
	if h.leased() {
		soonest(h.lastSign().Add(h.Lease))
	}
	if !h.Ends.IsZero() {
		soonest(h.Ends)
	}
	return due
}

// leased tells whether the host has something that a lease withdraws.
func (h *Host) leased() bool {
	return h.Lease > 0 && (len(h.A)+len(h.AAAA) > 0 || h.Prefix.IsValid())
}

// byClock is Host.ChangedBy and Event.Door of what ended by itself.
const byClock = "clock"

// lastSign is the last sign of life that is written down. That something ended
// by itself is none.
func (h *Host) lastSign() time.Time {
	if h.ChangedBy != byClock && h.ChangedAt.After(h.Seen) {
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
	case h.Wildcard && len(h.Name.Wire())+len("\x01*") > dnsname.MaxWire:
		return bad("the name is too long for a wildcard below it", "leave the wildcard switch off")
	case len(h.Followers) > MaxFollowers:
		return bad(fmt.Sprintf("more than %d followers", MaxFollowers), "give some of them to another host")
	case len(h.Credentials) > MaxCredentials:
		return bad(fmt.Sprintf("more than %d credentials", MaxCredentials), "revoke one that is not used")
	}
	for _, family := range []struct {
		Type
		addrs []netip.Addr
	}{{TypeA, h.A}, {TypeAAAA, h.AAAA}} {
		if len(family.addrs) > MaxAddresses {
			return refuse(TooMany, fmt.Sprintf("more than %d %s addresses", MaxAddresses, family.Type), "name fewer")
		}
		for _, a := range family.addrs {
			if !plain(a) || familyOf(a) != family.Type {
				return bad(fmt.Sprintf("%s is not an %s address", a, family.Type), "give IPv4 for A, IPv6 without zone for AAAA")
			}
		}
	}
	if h.Prefix != (netip.Prefix{}) {
		if r := checkPrefix(h.Prefix); r != nil {
			return r
		}
	}
	names := h.Names()
	slices.SortFunc(names, func(a, b dnsname.Name) int { return strings.Compare(a.Wire(), b.Wire()) })
	for i := range names[1:] {
		if names[i] == names[i+1] {
			return bad(fmt.Sprintf("the name %s is given twice", names[i]), "give each follower a name of its own")
		}
	}
	for _, f := range h.Followers {
		if !f.Name.Under(h.Zone) {
			return bad(fmt.Sprintf("follower %s is not in the host's zone %s", f.Name, h.Zone), "a follower lives in its router's zone")
		}
		if !isLow(f.Low) {
			return bad(fmt.Sprintf("follower %s has no IPv6 interface ID", f.Name), "give one such as ::1234")
		}
	}
	return nil
}

// plain tells whether an address has the one form in which hosts keep it.
func plain(a netip.Addr) bool { return a.IsValid() && !a.Is4In6() && a.Zone() == "" }

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
