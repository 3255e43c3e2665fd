package httpserver

import (
	"cmp"
	"container/list"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Bounds of what a Recent keeps. A flood of guesses takes up no more than the
// places of its own network, and never one of a caller whose proof held.
const (
	recentTotal   = 2048 // of each class; together about 2 MB
	recentHost    = 16   // of one host and class
	recentNetwork = 32   // of one /24 or /48 and class
)

// Recent keeps the newest requests for changes in memory, so that an operator can
// be told what a client sent and what was wrong with it. There is nothing in it of
// a query, a body or a proof.
//
// Requests for the same host, from the same network (/24 or /48) and with the
// same outcome are one entry, which has the newest of them and their number.
// Requests whose proof held and all others are classes with bounds of their own:
// whatever strangers send, the requests of a host's owner stay. In a class that is
// full the entry that was quiet longest goes, first of the same host or network.
//
// Safe for concurrent use.
type Recent struct {
	mu      sync.Mutex // guards following
	mark    uint64     // of the newest request
	classes [2]recentClass
}

// recentClass is the requests whose proof held, or all others.
type recentClass struct {
	byKey     map[recentKey]*list.Element
	byAge     list.List // of *recentEntry, the longest quiet first
	byHost    map[dnsname.Name][]*list.Element
	byNetwork map[netip.Prefix][]*list.Element
}

type recentKey struct {
	host    dnsname.Name // zero: no host of this server's was named
	network netip.Prefix
	outcome string
}

type recentEntry struct {
	key    recentKey
	newest Request
	mark   uint64
	first  time.Time
	count  uint64
}

// NewRecent returns one that keeps nothing yet.
func NewRecent() *Recent {
	r := &Recent{}
	for i := range r.classes {
		r.classes[i].byKey = make(map[recentKey]*list.Element)
		r.classes[i].byHost = make(map[dnsname.Name][]*list.Element)
		r.classes[i].byNetwork = make(map[netip.Prefix][]*list.Element)
	}
	return r
}

// Note keeps a request. It is a [Config.Noted].
func (r *Recent) Note(req Request) {
	key := recentKey{req.Host, callerNetwork(req.Source), req.Outcome}
	class := &r.classes[0]
	if !req.proven() {
		class = &r.classes[1]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mark++
	at, known := class.byKey[key]
	if !known {
		at = class.add(key, req.Time)
	}
	e := at.Value.(*recentEntry)
	e.newest, e.mark = req, r.mark
	e.count++
	class.byAge.MoveToBack(at)
}

// proven tells whether the sender's proof held, as far as the outcome says. Limits
// are told to anyone, too many hosts or addresses before the proof is looked at, and
// not-yours to the holder of any token, whatever host it names.
func (r Request) proven() bool {
	switch ddns.Code(r.Outcome) {
	case api.Changed, api.Unchanged, ddns.NotSource, ddns.AddressNotAllowed, ddns.WrongFamily, ddns.Suspended,
		ddns.Clock, ddns.Replayed, ddns.ConditionFailed:
		return true
	}
	return false
}

// callerNetwork is what one household or provider's customer has of addresses.
func callerNetwork(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil { // not known
		return netip.Prefix{}
	}
	return p
}

// add makes room for an entry and adds it.
func (c *recentClass) add(key recentKey, now time.Time) *list.Element {
	// Who names no host shares one place with all others who do not: the network's
	// bound is enough there.
	if l := c.byHost[key.host]; len(l) >= recentHost && !key.host.IsZero() {
		c.remove(quietest(l))
	}
	if l := c.byNetwork[key.network]; len(l) >= recentNetwork {
		c.remove(quietest(l))
	}
	if len(c.byKey) >= recentTotal {
		c.remove(c.byAge.Front())
	}
	at := c.byAge.PushBack(&recentEntry{key: key, first: now})
	c.byKey[key] = at
	if !key.host.IsZero() {
		c.byHost[key.host] = append(c.byHost[key.host], at)
	}
	c.byNetwork[key.network] = append(c.byNetwork[key.network], at)
	return at
}

func quietest(l []*list.Element) *list.Element {
	return slices.MinFunc(l, func(a, b *list.Element) int {
		return cmp.Compare(a.Value.(*recentEntry).mark, b.Value.(*recentEntry).mark)
	})
}

func (c *recentClass) remove(at *list.Element) {
	key := c.byAge.Remove(at).(*recentEntry).key
	delete(c.byKey, key)
	removeFrom(c.byHost, key.host, at)
	removeFrom(c.byNetwork, key.network, at)
}

func removeFrom[K comparable](m map[K][]*list.Element, key K, at *list.Element) {
	left := slices.DeleteFunc(m[key], func(e *list.Element) bool { return e == at })
	if len(left) == 0 {
		delete(m, key)
		return
	}
	m[key] = left
}

// List is what is kept of a host, and of those who named no host of this
// server's; with the zero name it is everything. Only what came after the mark,
// the newest first. It is a [Config.Requests], and has no error.
func (r *Recent) List(_ context.Context, host dnsname.Name, after uint64) (api.Requests, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := api.Requests{Requests: []api.Request{}, Mark: r.mark}
	for i := range r.classes {
		for at := r.classes[i].byAge.Back(); at != nil; at = at.Prev() {
			e := at.Value.(*recentEntry)
			if e.mark <= after {
				break
			}
			if host.IsZero() || e.key.host.IsZero() || e.key.host == host {
				out.Requests = append(out.Requests, e.api())
			}
		}
	}
	slices.SortFunc(out.Requests, func(a, b api.Request) int { return cmp.Compare(b.Mark, a.Mark) })
	return out, nil
}

func (e *recentEntry) api() api.Request {
	n := e.newest
	out := api.Request{Mark: e.mark, Time: n.Time.UTC(), First: e.first.UTC(), Count: e.count, Door: n.Door, Source: n.Source,
		UserAgent: n.UserAgent, Outcome: n.Outcome, Why: n.Why, Fix: n.Fix}
	if !n.Host.IsZero() {
		out.Host = n.Host.String()
	}
	return out
}
