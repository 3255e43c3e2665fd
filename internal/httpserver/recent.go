package httpserver

import (
	"cmp"
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
// Where more is accepted in a second than is kept, a part is kept: the history of
// a host has every change.
//
// Safe for concurrent use.
type Recent struct {
	mu      sync.Mutex // guards following
	mark    uint64     // of the newest request
	classes [2]recentClass
}

// recentClass is the requests whose proof held, or all others. Each entry is in
// three lists, of all entries, of its host's and of its network's, the longest quiet
// first: whatever comes, a few links are moved and nothing is searched.
type recentClass struct {
	byKey    map[recentKey]*recentEntry
	all      recentList
	hosts    map[dnsname.Name]*recentList
	networks map[netip.Prefix]*recentList
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

	host, network *recentList // host is nil if none was named
	links         [3]struct{ prev, next *recentEntry }
}

// The lists that an entry is in.
const (
	ofAll = iota
	ofHost
	ofNetwork
)

// recentList is linked through its entries.
type recentList struct {
	first, last *recentEntry
	n           int
}

// append makes an entry the newest of its list of that kind.
func (l *recentList) append(kind int, e *recentEntry) {
	e.links[kind].prev, e.links[kind].next = l.last, nil
	if l.last != nil {
		l.last.links[kind].next = e
	} else {
		l.first = e
	}
	l.last = e
	l.n++
}

func (l *recentList) remove(kind int, e *recentEntry) {
	link := e.links[kind]
	if link.prev != nil {
		link.prev.links[kind].next = link.next
	} else {
		l.first = link.next
	}
	if link.next != nil {
		link.next.links[kind].prev = link.prev
	} else {
		l.last = link.prev
	}
	l.n--
}

// NewRecent returns one that keeps nothing yet.
func NewRecent() *Recent {
	r := &Recent{}
	for i := range r.classes {
		r.classes[i] = recentClass{byKey: make(map[recentKey]*recentEntry), hosts: make(map[dnsname.Name]*recentList), networks: make(map[netip.Prefix]*recentList)}
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
	e := class.byKey[key]
	if e == nil {
		if req.accepted() && class.turnsOver(key.network, req.Time) {
			return
		}
		e = class.add(key)
		e.first, e.count = req.Time, 0
	} else {
		class.unlink(e)
	}
	e.newest, e.mark = req, r.mark
	e.count++
	class.link(e)
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

// accepted tells whether what was asked for is so.
func (r Request) accepted() bool { return r.Outcome == api.Changed || r.Outcome == api.Unchanged }

// turnsOver tells whether all that is kept of the class, or of the network in it,
// came within a second, and there is no room.
func (c *recentClass) turnsOver(network netip.Prefix, now time.Time) bool {
	if l := c.networks[network]; l != nil && l.n >= recentNetwork && now.Sub(l.first.newest.Time) < time.Second {
		return true
	}
	return len(c.byKey) >= recentTotal && now.Sub(c.all.first.newest.Time) < time.Second
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

// add makes room for an entry, and it, without links.
func (c *recentClass) add(key recentKey) *recentEntry {
	// Who names no host has no host's bound: the network's is enough there.
	var host *recentList
	if !key.host.IsZero() {
		if host = c.hosts[key.host]; host == nil {
			host = &recentList{}
			c.hosts[key.host] = host
		}
	}
	network := c.networks[key.network]
	if network == nil {
		network = &recentList{}
		c.networks[key.network] = network
	}
	var e *recentEntry // one that goes is used again
	if host != nil && host.n >= recentHost {
		e = c.remove(host.first, host, network)
	}
	if network.n >= recentNetwork {
		e = c.remove(network.first, host, network)
	}
	if len(c.byKey) >= recentTotal {
		e = c.remove(c.all.first, host, network)
	}
	if e == nil {
		e = &recentEntry{}
	}
	e.key, e.host, e.network = key, host, network
	c.byKey[key] = e
	return e
}

// remove takes an entry out and returns it. Lists that are empty then go too, but
// for two that are about to be used.
func (c *recentClass) remove(e *recentEntry, host, network *recentList) *recentEntry {
	c.unlink(e)
	delete(c.byKey, e.key)
	if e.host != nil && e.host.n == 0 && e.host != host {
		delete(c.hosts, e.key.host)
	}
	if e.network.n == 0 && e.network != network {
		delete(c.networks, e.key.network)
	}
	return e
}

func (c *recentClass) link(e *recentEntry) {
	c.all.append(ofAll, e)
	e.network.append(ofNetwork, e)
	if e.host != nil {
		e.host.append(ofHost, e)
	}
}

func (c *recentClass) unlink(e *recentEntry) {
	c.all.remove(ofAll, e)
	e.network.remove(ofNetwork, e)
	if e.host != nil {
		e.host.remove(ofHost, e)
	}
}

// List is what is kept of a host, and of those who named no host of this
// server's; with the zero name it is everything. Only what came after the mark,
// the newest first. It is a [Config.Requests], and has no error.
func (r *Recent) List(_ context.Context, host dnsname.Name, after uint64) (api.Requests, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := api.Requests{Requests: []api.Request{}, Mark: r.mark}
	for i := range r.classes {
		for e := r.classes[i].all.last; e != nil && e.mark > after; e = e.links[ofAll].prev {
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
