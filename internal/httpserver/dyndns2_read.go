package httpserver

import (
	"net/netip"
	"slices"
	"strings"

	"godwit/internal/ddns"
)

// wanted is what a router's request says of addresses.
type wanted struct {
	changes []ddns.Change
	auto    bool // the source's address, besides changes
	// v4 and v6 are the families that it speaks of.
	v4, v6 bool
	// loopback is set if all that is asked for is loopback addresses.
	loopback netip.Addr
	// refusal is for a caller whose proof holds; nothing is done then.
	refusal *ddns.Refusal
}

// nothing tells whether the request wants everything to stay.
func (w *wanted) nothing() bool { return !w.auto && len(w.changes) == 0 }

// familyWish is what a request says of one family.
type familyWish struct {
	op    wish
	addrs []netip.Addr
}

type wish uint8

const (
	unsaid wish = iota
	keep
	set
	remove
)

// say notes one more word of a family, which must not contradict another.
func (f *familyWish) say(op wish) bool {
	if f.op != unsaid && f.op != op {
		return false
	}
	f.op = op
	return true
}

// add notes one more address of a family.
func (f *familyWish) add(addr netip.Addr) *ddns.Refusal {
	switch {
	case !f.say(set):
		return badAddress()
	case slices.Contains(f.addrs, addr):
	case len(f.addrs) == ddns.MaxAddresses:
		return &ddns.Refusal{Code: ddns.TooMany, Why: "the request names more than 8 addresses of a family", Fix: "name fewer"}
	default:
		f.addrs = append(f.addrs, addr)
	}
	return nil
}

// wishReader reads the address parameters of one request.
type wishReader struct {
	source   netip.Addr
	v4, v6   familyWish
	prefix   netip.Prefix // that an address came with, or in place of one
	explicit bool         // an address was named
}

func badAddress() *ddns.Refusal {
	return &ddns.Refusal{Code: ddns.Malformed, Why: "an address parameter is not understood",
		Fix: "send addresses with commas in between, or one of auto, preserve and - alone; see what the router puts in for its placeholders"}
}

// list reads one address parameter. v4 and v6 tell which families it is about;
// exactly tells that an address of another one is wrong, rather than told
// elsewhere.
func (r *wishReader) list(text string, v4, v6, exactly bool) *ddns.Refusal {
	for text != "" {
		var one string
		one, text, _ = strings.Cut(text, ",")
		if one = strings.Trim(one, " \t"); one == "" {
			continue // a placeholder that had nothing to put in
		}
		op := unsaid
		switch {
		case one == "-":
			op = remove
		case strings.EqualFold(one, "preserve"):
			op = keep
		case strings.EqualFold(one, "auto"):
			if refusal := r.auto(v4, v6); refusal != nil {
				return refusal
			}
			continue
		}
		if op != unsaid {
			if v4 && !r.v4.say(op) || v6 && !r.v6.say(op) {
				return badAddress()
			}
			continue
		}
		addr, prefix, ok := readAddr(one)
		if !ok || exactly && addr.Is4() != v4 {
			return badAddress()
		}
		if prefix.IsValid() && v6 {
			r.prefix = prefix
		}
		family, take := &r.v6, v6
		if addr.Is4() {
			family, take = &r.v4, v4
		}
		switch {
		case !take:
			continue
		case prefix.IsValid() && prefix.Addr() == addr: // nobody can be reached at a prefix
			continue
		}
		if refusal := family.add(addr); refusal != nil {
			return refusal
		}
		r.explicit = true
	}
	return nil
}

// auto asks for the source, if it is of one of the families; the other stays.
func (r *wishReader) auto(v4, v6 bool) *ddns.Refusal {
	family, is := &r.v6, v6
	if r.source.Is4() {
		family, is = &r.v4, v4
	}
	if is {
		return family.add(r.source)
	}
	for _, f := range [...]struct {
		*familyWish
		is bool
	}{{&r.v4, v4}, {&r.v6, v6}} {
		if f.is && !f.say(keep) {
			return badAddress()
		}
	}
	return nil
}

// readAddr reads an address, or an address with a length: then prefix is what it
// is in, and addr is prefix's own if no bit of it stands beyond the length. A
// whole address' length means nothing, and IPv4 has no other.
func readAddr(text string) (addr netip.Addr, prefix netip.Prefix, ok bool) {
	address, _, long := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Zone() != "" {
		return addr, prefix, false
	}
	mapped := addr.Is4In6()
	addr = addr.Unmap()
	switch {
	case !long:
		return addr, prefix, true
	case mapped:
		return addr, prefix, false
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return addr, prefix, false
	case p.Bits() == addr.BitLen():
		return addr, prefix, true
	case addr.Is4() || !isDelegated(p.Masked()):
		return addr, prefix, false
	}
	return addr, p.Masked(), true
}

// isDelegated tells whether a prefix may be one that a router was given: the
// length that followers can be put below.
func isDelegated(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is6() && !p.Addr().Is4In6() && p.Bits() >= 48 && p.Bits() <= 64 && p == p.Masked()
}

// readPrefix reads a prefix parameter; change is nil if it leaves the prefix as it is.
func readPrefix(text string, source netip.Addr) (change *ddns.Change, refusal *ddns.Refusal) {
	change = &ddns.Change{Type: ddns.TypePrefix, Op: ddns.Replace}
	switch {
	case text == "" || strings.EqualFold(text, "preserve"):
		return nil, nil
	case text == "-":
		change.Op = ddns.Clear
		return change, nil
	case strings.EqualFold(text, "auto"):
		if source.Is4() {
			return nil, nil
		}
		change.Prefix, _ = source.Prefix(64)
		return change, nil
	}
	var err error
	if change.Prefix, err = netip.ParsePrefix(text); err != nil || !isDelegated(change.Prefix) {
		return nil, &ddns.Refusal{Code: ddns.Malformed, Why: "the prefix is not an IPv6 prefix of 48 to 64 bits with zeros behind it",
			Fix: "send the delegated prefix, such as 2001:db8:0:ff00::/56"}
	}
	return change, nil
}

// readWanted reads what a request says of addresses: in parameters of one family,
// in such of either, of which those of one family go before, and of a prefix.
// What is not said is left alone; if no address parameter says anything, it is the
// source's address that is meant.
func readWanted(p *paramSet, source netip.Addr) (w wanted, refusal *ddns.Refusal) {
	if strings.EqualFold(p.get(pOffline, pOffline), "yes") {
		w.v4, w.v6 = true, true
		w.changes = []ddns.Change{{Type: ddns.TypeA, Op: ddns.Clear}, {Type: ddns.TypeAAAA, Op: ddns.Clear}}
		return w, nil
	}
	v4, v6 := p.get(pMyIPv4, pIP4), p.get(pMyIPv6, pMyIP2)
	return readWishes(v4, v6, p.get(pMyIP, pAddress), p.get(pIP6LANPrefix, pLANPrefix), source)
}

// readWishes is readWanted for the values of the parameters.
func readWishes(v4, v6, either, prefix string, source netip.Addr) (w wanted, refusal *ddns.Refusal) {
	r := wishReader{source: source}
	if refusal = r.list(v4, true, false, true); refusal == nil {
		refusal = r.list(v6, false, true, true)
	}
	said4, said6 := r.v4.op != unsaid, r.v6.op != unsaid
	if refusal == nil {
		refusal = r.list(either, !said4, !said6, false)
	}
	if refusal != nil {
		return w, refusal
	}
	w.v4, w.v6 = r.v4.op != unsaid, r.v6.op != unsaid
	w.auto = !w.v4 && !w.v6 && !r.prefix.IsValid()
	for _, family := range [...]struct {
		ddns.Type
		*familyWish
	}{{ddns.TypeA, &r.v4}, {ddns.TypeAAAA, &r.v6}} {
		switch family.op {
		case set:
			w.changes = append(w.changes, ddns.Change{Type: family.Type, Op: ddns.Replace, Addrs: family.addrs})
		case remove:
			w.changes = append(w.changes, ddns.Change{Type: family.Type, Op: ddns.Clear})
		}
	}
	if w.auto {
		w.v4, w.v6 = source.Is4(), source.Is6()
	}
	if prefix == "" && r.prefix.IsValid() {
		w.changes = append(w.changes, ddns.Change{Type: ddns.TypePrefix, Op: ddns.Replace, Prefix: r.prefix})
		return w, nil
	}
	change, refusal := readPrefix(prefix, source)
	if change != nil {
		w.changes = append(w.changes, *change)
	}
	if r.explicit && onlyLoopback(w.changes) {
		w.loopback = w.changes[0].Addrs[0]
	}
	return w, refusal
}

// onlyLoopback tells whether the changes, of which there is one, set nothing but
// loopback addresses.
func onlyLoopback(changes []ddns.Change) bool {
	for _, c := range changes {
		if c.Op != ddns.Replace || len(c.Addrs) == 0 || slices.ContainsFunc(c.Addrs, func(a netip.Addr) bool { return !a.IsLoopback() }) {
			return false
		}
	}
	return true
}
