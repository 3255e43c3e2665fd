package ddns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// decision is what an update comes to, on one state of its host.
type decision struct {
	next    *Host    // nil: unchanged
	event   Event    // of next
	touch   Touch    // of an unchanged one; may be empty
	refusal *Refusal // nil unless refused
}

// decide says what an authorized update does to a host. Pure: the same inputs
// give the same decision.
func decide(h *Host, c *Credential, u Update, limit Rate, now time.Time) decision {
	if r := suspended(h, c); r != nil {
		return decision{refusal: r}
	}
	if r := judge(h, u.Preconditions); r != nil {
		return decision{refusal: r}
	}
	changes := u.Changes
	if u.auto() {
		changes = append(slices.Clip(changes), Change{Type: familyOf(u.Source.Addr), Op: Replace, Addrs: []netip.Addr{u.Source.Addr}})
	}
	next := h.Clone()
	for _, ch := range changes {
		if r := next.apply(ch, c, u.Source, now); r != nil {
			return decision{refusal: r}
		}
	}
	if sameRecords(h, next) {
		d := decision{touch: u.mark(c, now, u.auto())}
		if now.Sub(h.lastSign()) >= SeenEvery {
			d.touch.Seen = now
		}
		return d
	}
	busy, wait := limit.take(h.Busy, now)
	if wait > 0 {
		return decision{refusal: tooOften(h.Name.String()+" changed too often", wait)}
	}
	next.Busy = busy
	next.Generation++
	next.ChangedAt, next.ChangedBy, next.Seen = now, c.ID, now
	return decision{next: next, event: Event{
		Time: now, Generation: next.Generation, Outcome: changed, Door: u.Door, Credential: c.ID,
		Source: u.Source.Addr, Proven: u.Source.Proven, What: besides(h, next), Before: h.Current(), After: next.Current(),
	}}
}

// besides says in words what changed besides the addresses.
func besides(h, next *Host) string {
	var what []string
	if h.Prefix != next.Prefix {
		what = append(what, next.moved(h.Prefix))
	}
	return strings.Join(append(what, besidesTXT(h.TXT, next.TXT)...), ", ")
}

// besidesTXT says in words how challenge values changed. They are public, and a
// challenge has 43 octets; the rest of what is longer is not worth its room.
func besidesTXT(was, is []TXT) (what []string) {
	say := func(t TXT, word string) {
		what = append(what, "challenge value "+t.Value[:min(len(t.Value), 43)]+" "+word)
	}
	for _, t := range is {
		if indexText(was, t.Value) < 0 {
			say(t, "added")
		}
	}
	for _, t := range was {
		if indexText(is, t.Value) < 0 {
			say(t, "removed")
		}
	}
	if len(what) == 0 && !slices.Equal(was, is) {
		say(is[len(is)-1], "came again")
	}
	return what
}

// indexText is where a value stands in a list; -1: nowhere.
func indexText(list []TXT, value string) int {
	return slices.IndexFunc(list, func(t TXT) bool { return t.Value == value })
}

func orNone(p netip.Prefix) string {
	if !p.IsValid() {
		return "none"
	}
	return p.String()
}

// pace holds a credential to its own rate, which its host's limit does not
// know: so many accepted changes in any hour, by the host's history (the newest
// event first). Pure.
func pace(c *Credential, history []Event, now time.Time) *Refusal {
	n := 0
	for _, e := range history {
		// What lies ahead was written before a clock was set back; a little of it
		// is the difference between two machines.
		if age := now.Sub(e.Time); e.Credential != c.ID || e.Outcome != changed || age >= time.Hour || age < -time.Minute {
			continue
		}
		if n++; n >= c.Rate {
			return tooOften("this credential changed the host too often", e.Time.Add(time.Hour).Sub(now))
		}
	}
	return nil
}

// changed is the Event.Outcome of an accepted change.
const changed = "changed"

func familyOf(a netip.Addr) Type {
	if a.Is4() {
		return TypeA
	}
	return TypeAAAA
}

// apply makes one change, or says why not.
func (h *Host) apply(ch Change, c *Credential, src Source, now time.Time) *Refusal {
	switch ch.Type {
	case TypeA:
		return h.applyAddrs(&h.A, ch, src)
	case TypeAAAA:
		return h.applyAddrs(&h.AAAA, ch, src)
	case TypePrefix:
		return h.applyPrefix(ch, src)
	case TypeTXT:
		return h.applyTXT(ch, c, now)
	}
	return refuse(Malformed, fmt.Sprintf("type %s cannot be updated", ch.Type), "update A, AAAA or TXT")
}

// unproven refuses whatever a source that the transport does not prove asks of
// a host whose policy goes by the source: it may be forged, so it fails closed.
func (h *Host) unproven(src Source) *Refusal {
	if h.Free || src.Proven {
		return nil
	}
	return refuse(NotSource, "the transport does not prove where this request came from",
		"use TCP, or let the operator run: godwit host set "+h.Name.String()+" --source free")
}

func (h *Host) applyAddrs(set *[]netip.Addr, ch Change, src Source) *Refusal {
	if (ch.Op == Clear) != (len(ch.Addrs) == 0) {
		return refuse(Malformed, "no address is given, or one to clear", "name at least one; removing takes an explicit word")
	}
	if r := h.unproven(src); r != nil {
		return r
	}
	for _, a := range ch.Addrs {
		if !plain(a) {
			return refuse(Malformed, fmt.Sprintf("address %s is not plain", a), "give it without zone, IPv4 in its own form")
		}
		if familyOf(a) != ch.Type {
			return refuse(WrongFamily, fmt.Sprintf("%s is not an %s address", a, ch.Type), "give IPv4 for A, IPv6 for AAAA")
		}
		if ch.Op == Remove {
			continue
		}
		if !h.Free && a != src.Addr {
			return refuse(NotSource, "the address is not the one that this request came from",
				"send the update from that address, or let the operator run: godwit host set "+h.Name.String()+" --source free")
		}
		if !h.Addresses.Allows(a) {
			return refuse(AddressNotAllowed, fmt.Sprintf("this host's address policy (%s) does not admit it", h.Addresses),
				"to allow it run: godwit host set "+h.Name.String()+" --addresses any")
		}
	}
	switch ch.Op {
	case Replace:
		*set = sortAddrs(slices.Clone(ch.Addrs))
	case Add:
		*set = sortAddrs(append(*set, ch.Addrs...))
	case Remove:
		*set = slices.DeleteFunc(*set, func(a netip.Addr) bool { return slices.Contains(ch.Addrs, a) })
	case Clear:
		*set = nil
	default:
		return refuse(Malformed, "unknown operation", "replace, add, remove or clear")
	}
	if len(*set) > MaxAddresses {
		return refuse(TooMany, fmt.Sprintf("more than %d %s addresses", MaxAddresses, ch.Type), "name fewer")
	}
	return nil
}

// checkPrefix says what is wrong with the text of a delegated prefix.
func checkPrefix(p netip.Prefix) *Refusal {
	switch {
	case !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() || p.Bits() < 48 || p.Bits() > 64:
		return refuse(Malformed, "the prefix is not an IPv6 prefix of 48 to 64 bits", "send the delegated prefix, such as 2001:db8:0:ff00::/56")
	case p != p.Masked():
		return refuse(Malformed, "the prefix has bits set beyond its length", "send it with zeros there")
	}
	return nil
}

func (h *Host) applyPrefix(ch Change, src Source) *Refusal {
	if r := h.unproven(src); r != nil {
		return r
	}
	switch ch.Op {
	case Clear:
		h.Prefix = netip.Prefix{}
		return nil
	case Replace:
	default:
		return refuse(Malformed, "a prefix can be replaced or cleared", "send the whole prefix")
	}
	p := ch.Prefix
	if r := checkPrefix(p); r != nil {
		return r
	}
	switch {
	case !h.Free && !p.Contains(src.Addr):
		return refuse(NotSource, "the prefix does not contain the address that this request came from",
			"send the update over IPv6 from that prefix, or let the operator run: godwit host set "+h.Name.String()+" --source free")
	case !h.Addresses.AllowsPrefix(p):
		return refuse(AddressNotAllowed, fmt.Sprintf("this host's address policy (%s) does not admit the prefix", h.Addresses),
			"to allow it run: godwit host set "+h.Name.String()+" --addresses any")
	}
	h.Prefix = p
	return nil
}

func (h *Host) applyTXT(ch Change, c *Credential, now time.Time) *Refusal {
	if _, err := h.challenge(); err != nil {
		return noChallenge()
	}
	if (ch.Op == Clear) != (len(ch.Texts) == 0) {
		return refuse(Malformed, "no TXT value is given, or one to clear", "name at least one; removing takes an explicit word")
	}
	if ch.Op != Remove && len(ch.Texts) > MaxTXT {
		return refuse(TooMany, fmt.Sprintf("more than %d TXT values", MaxTXT), "name fewer")
	}
	for _, v := range ch.Texts {
		// Challenges are base64url. Stores keep text as JSON, which has no octets beyond UTF-8.
		if v == "" || len(v) > 255 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
			return refuse(Malformed, "a TXT value has 1 to 255 printable ASCII characters", "send the challenge value alone")
		}
	}
	has := func(t TXT) bool { return slices.Contains(ch.Texts, t.Value) }
	switch ch.Op {
	case Replace:
		h.TXT = slices.DeleteFunc(h.TXT, func(t TXT) bool { return !has(t) })
	case Add:
	case Remove:
		h.TXT = slices.DeleteFunc(h.TXT, has)
		return nil
	case Clear:
		h.TXT = nil
		return nil
	default:
		return refuse(Malformed, "unknown operation", "replace, add, remove or clear")
	}
	for _, v := range ch.Texts {
		value := TXT{Value: v, Credential: c.ID, Time: now}
		if i := indexText(h.TXT, v); i >= 0 {
			if c.Kind != KindACME {
				continue
			}
			// It is of its account's newest from now on, but no younger.
			value = h.TXT[i]
			h.TXT = slices.Delete(h.TXT, i, i+1)
		}
		h.TXT = append(h.TXT, value)
	}
	if c.Kind == KindACME {
		h.keepNewest(c.ID, accountValues)
	}
	if len(h.TXT) > MaxTXT {
		return refuse(TooMany, fmt.Sprintf("more than %d TXT values", MaxTXT), "remove the old ones first")
	}
	return nil
}

// keepNewest takes away a credential's oldest challenge values beyond n.
func (h *Host) keepNewest(id string, n int) {
	for i := len(h.TXT) - 1; i >= 0; i-- {
		if h.TXT[i].Credential != id {
			continue
		}
		if n--; n < 0 {
			h.TXT = slices.Delete(h.TXT, i, i+1)
		}
	}
}

// sameRecords tells whether two states of a host have the same records.
func sameRecords(a, b *Host) bool {
	return slices.Equal(a.A, b.A) && slices.Equal(a.AAAA, b.AAAA) && a.Prefix == b.Prefix && slices.Equal(a.TXT, b.TXT)
}

// judge checks preconditions on a host's own records (RFC 2136 section 3.2).
func judge(h *Host, conditions []Precondition) *Refusal {
	for _, p := range conditions {
		var addrs []netip.Addr
		var texts []string
		switch p.Type {
		case TypeA:
			addrs = h.A
		case TypeAAAA:
			addrs = h.AAAA
		case TypeTXT:
			for _, t := range h.TXT {
				texts = append(texts, t.Value)
			}
		}
		exists := len(addrs)+len(texts) > 0
		inUse := len(h.A)+len(h.AAAA) > 0
		if p.Type == TypeTXT {
			inUse = exists
		}
		ok := false
		switch p.Kind {
		case RRsetExists:
			ok = exists
		case RRsetAbsent:
			ok = !exists
		case NameInUse:
			ok = inUse
		case NameNotInUse:
			ok = !inUse
		case RRsetEquals:
			wantTexts := slices.Clone(p.Texts)
			slices.Sort(wantTexts)
			slices.Sort(texts)
			ok = slices.Equal(addrs, sortAddrs(slices.Clone(p.Addrs))) && slices.Equal(texts, slices.Compact(wantTexts))
		}
		if !ok {
			r := refuse(ConditionFailed, "a condition that the request made does not hold", "look at the present records and decide again")
			r.Failed = p.Kind
			return r
		}
	}
	return nil
}

// expire says what a host is once what ended by now is taken away; nil if
// nothing did. Pure.
func expire(h *Host, now time.Time) (*Host, Event) {
	if due := h.NextDue(); due.IsZero() || now.Before(due) {
		return nil, Event{}
	}
	next := h.Clone()
	e := Event{Time: now, Outcome: changed, Door: byClock, Before: h.Current()}
	next.TXT = slices.DeleteFunc(next.TXT, func(t TXT) bool { return !now.Before(t.Time.Add(txtLife)) })
	if len(next.TXT) != len(h.TXT) {
		e.What = "challenge values expired"
	}
	if h.leased() && !now.Before(h.lastSign().Add(h.Lease)) {
		next.A, next.AAAA, next.Prefix = nil, nil, netip.Prefix{}
		e.What = fmt.Sprintf("no sign of life for %s: addresses withdrawn", h.Lease)
	}
	if !h.Ends.IsZero() && !now.Before(h.Ends) {
		e.What = "a join code or a replaced key ended"
	}
	next.Generation++
	next.Seen = h.lastSign() // that something ended is no sign of life
	next.ChangedAt, next.ChangedBy = now, byClock
	e.Generation, e.After = next.Generation, next.Current()
	return next, e
}
