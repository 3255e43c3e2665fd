// Package dynamodb keeps hosts in a DynamoDB table, which may be the table of
// the reference implementation, in place.
//
// There is one item per host, with the host's name as its key. The attribute
// data is the reference's: its function reads the hosted zone, the TTL and the
// shared secret there, and goes on working. Everything of ours lies in
// attributes that begin with gw_, beside it. Items whose keys begin with # are
// ours too: #name# (who owns a name), #cred# (which hosts a credential serves),
// #secret# (who has a secret) and #meta. docs/decisions/0008 has the whole layout.
//
// An update of a host is one conditional write of its item; what touches several
// items is a transaction whose conditions pin everything that it was decided on.
// Reads are strongly consistent. Limits are DynamoDB's: 400 KB for an item, 100
// items in one Save, and a [ddns.Write] beyond them is refused and does nothing.
// Of the names that a host gains one item each counts, however many there are.
package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"godwit/internal/awscall"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Config is what a Store is made of.
type Config struct {
	Client *awscall.Client // of service "dynamodb"; required
	Table  string          // its name; required
	// Zones are the hosted zone IDs ("Z0123456789ABC") of the zones that the
	// installation serves, by apex. A host in another zone cannot be added.
	Zones map[dnsname.Name]string
	Log   *slog.Logger     // nil: nothing is logged
	Now   func() time.Time // nil: time.Now
}

// Store is a [ddns.Store], a [ddns.Sealer] and a [ddns.PassKeeper]. Safe for
// concurrent use, by any number of processes.
type Store struct {
	Config
	apexes map[string]dnsname.Name // by hosted zone ID

	mu   sync.Mutex // guards following
	meta meta
	read time.Time               // when meta was read; zero: never
	odd  map[dnsname.Name]string // keys of rows that have another one than their host's name
}

// New returns a Store. It makes no call.
func New(c Config) (*Store, error) {
	if c.Client == nil || c.Table == "" {
		return nil, errors.New("a DynamoDB store needs a client and the name of a table")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Store{Config: c, apexes: make(map[string]dnsname.Name, len(c.Zones))}
	for apex, id := range c.Zones {
		s.apexes[strings.TrimPrefix(id, "/hostedzone/")] = apex
	}
	return s, nil
}

const (
	ours       = "#" // begins the keys of items that are no hosts: it is no character of a host name
	nameItem   = "#name#"
	credItem   = "#cred#"
	secretItem = "#secret#"
	metaItem   = "#meta"
)

// keysOf are the keys under which a host's row may be, in the order in which they
// count, and its alias. A table that we made has the first alone.
func keysOf(name dnsname.Name) []string {
	text := name.String()
	return []string{text, text + ".", nameItem + text}
}

// find reads a host's row, or nil. In a table that was adopted it may have
// another key than the host's name.
func (s *Store) find(ctx context.Context, name dnsname.Name) (*row, error) {
	adopted, fresh := s.mode()
	if fresh && !adopted {
		item, err := s.get(ctx, name.String(), hostAttributes)
		if err != nil || item == nil {
			return nil, err
		}
		return s.decode(item)
	}
	keys := keysOf(name)
	// Behind an alias it is found in one call too, once it has been found.
	odd := s.keyOf(name)
	if !slices.Contains(keys, odd) {
		keys = append(keys, odd)
	}
	if !fresh {
		keys = append(keys, metaItem)
	}
	items, err := s.getAll(ctx, keys, hostAttributes+",host,adopted,pass_cursor,pass_began,pass_completed")
	if err != nil {
		return nil, err
	}
	if !fresh {
		if adopted, err = s.setMeta(items[metaItem]); err != nil {
			return nil, err
		}
	}
	r, err := s.pick(ctx, name, items, odd, adopted)
	if adopted && r != nil && !r.gone {
		s.remember(name, r.key)
	}
	return r, err
}

// pick takes a host's row among the items under its keys: the first that there
// is. A host that is gone from there is gone, whatever is under the others. The
// key odd has been read too.
func (s *Store) pick(ctx context.Context, name dnsname.Name, items map[string]*node, odd string, adopted bool) (*row, error) {
	keys := keysOf(name)
	for _, key := range keys[:2] {
		if isRow(items[key]) {
			return s.decode(items[key])
		}
		if !adopted {
			return nil, nil
		}
	}
	alias, ok := items[keys[2]].member("host").str()
	if !ok || !isAlias(alias, name) {
		return nil, nil // no alias, or another host's follower
	}
	item := items[alias]
	if alias != odd {
		var err error
		if item, err = s.get(ctx, alias, hostAttributes); err != nil {
			return nil, err
		}
	}
	if !isRow(item) {
		return nil, nil
	}
	return s.decode(item)
}

// isRow tells whether there is a host in an item, or what is left of one.
func isRow(item *node) bool { return item.has(attrData) || item.has(attrGone) }

// Host is [ddns.Store]'s.
func (s *Store) Host(ctx context.Context, name dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	r, err := s.find(ctx, name)
	switch {
	case err != nil:
		return nil, nil, err
	case r == nil || r.gone:
		return nil, nil, ddns.ErrNoHost
	}
	return r.host, r.creds, nil
}

// Credential is [ddns.Store]'s. Each of its hosts has a copy, with the mark that
// was moved there; the greatest counts.
func (s *Store) Credential(ctx context.Context, id string) (*ddns.Credential, error) {
	item, err := s.get(ctx, credItem+id, "")
	if err != nil {
		return nil, err
	}
	var found *ddns.Credential
	for _, name := range hostsOf(item) {
		r, err := s.find(ctx, name)
		if err != nil {
			return nil, err
		}
		if r == nil || r.gone {
			continue
		}
		for _, c := range r.creds {
			if c.ID != id {
				continue
			}
			if found == nil {
				found = c
			}
			found.Mark = max(found.Mark, c.Mark)
		}
	}
	if found == nil {
		return nil, ddns.ErrNoCredential
	}
	return found, nil
}

// hostsOf are the hosts in a #cred# item. One that is no name is left out: the
// hosts' own items decide.
func hostsOf(item *node) (names []dnsname.Name) {
	list, _ := item.member("hosts").list()
	for i := range list {
		if text, ok := list[i].str(); ok {
			if n, err := dnsname.Parse(text); err == nil {
				names = append(names, n)
			}
		}
	}
	return names
}

// Owner is [ddns.Store]'s.
func (s *Store) Owner(ctx context.Context, name dnsname.Name) (dnsname.Name, error) {
	r, err := s.find(ctx, name)
	if err != nil {
		return dnsname.Name{}, err
	}
	if r != nil && !r.gone {
		return name, nil
	}
	item, err := s.get(ctx, nameItem+name.String(), "")
	if err != nil {
		return dnsname.Name{}, err
	}
	by, err := s.claims(ctx, item, name)
	if err != nil {
		return dnsname.Name{}, err
	}
	if by == nil {
		return dnsname.Name{}, ddns.ErrNoHost
	}
	return by.host.Name, nil
}

// claims reads the row that a #name# item says owns the name, or nil if it does
// not: items of a host that is gone stay behind, for the function deletes nothing.
func (s *Store) claims(ctx context.Context, item *node, name dnsname.Name) (*row, error) {
	key, ok := item.member("host").str()
	if !ok || strings.HasPrefix(key, ours) {
		return nil, nil
	}
	found, err := s.get(ctx, key, hostAttributes)
	if err != nil || found == nil {
		return nil, err
	}
	r, err := s.decode(found)
	if err != nil || r.gone || !slices.Contains(r.host.Names(), name) {
		return nil, err
	}
	return r, nil
}

// Events is [ddns.Store]'s.
func (s *Store) Events(ctx context.Context, name dnsname.Name) ([]ddns.Event, error) {
	r, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if r == nil || r.gone {
		return nil, ddns.ErrNoHost
	}
	item, err := s.get(ctx, r.key, "#d,gw_log,gw_refused")
	if err != nil {
		return nil, err
	}
	changes, refusals := s.events(item.member(attrLog), name), s.events(item.member(attrRefuse).dict().member("log"), name)
	// The newest first. Clocks may go back, so order is by what was counted: a
	// refusal came after the change of its generation.
	slices.Reverse(refusals)
	slices.SortFunc(changes, newer)
	list := slices.Concat(refusals, changes)
	slices.SortStableFunc(list, newer)
	return list, nil
}

func newer(a, b ddns.Event) int {
	switch {
	case a.Generation > b.Generation:
		return -1
	case a.Generation < b.Generation:
		return 1
	}
	return 0
}

// events reads a list of events. One that cannot be read is left out and logged:
// history must not keep anybody from anything.
func (s *Store) events(n *node, name dnsname.Name) (out []ddns.Event) {
	list, _ := n.list()
	for i := range list {
		text, ok := list[i].str()
		if text == "" && ok {
			continue
		}
		e, err := parseEvent(text)
		if err != nil {
			s.Log.Warn("an event in a host's history cannot be read", "host", name.String(), "err", err)
			continue
		}
		out = append(out, e)
	}
	return out
}

func checkLimit(limit int) error {
	if limit < 1 || limit > 1000 {
		return fmt.Errorf("a page has 1 to 1000 hosts, not %d", limit)
	}
	return nil
}

// Hosts is [ddns.Store]'s. A row that cannot be read is left out and logged.
func (s *Store) Hosts(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	if err := checkLimit(limit); err != nil {
		return nil, "", err
	}
	var hosts []*ddns.Host
	for {
		items, next, err := s.scan(ctx, "", cursor, limit-len(hosts), hostAttributes, "attribute_exists(#d)", "", true)
		if err != nil {
			return nil, "", err
		}
		for i := range items {
			h, err := s.listed(ctx, &items[i])
			if err != nil {
				return nil, "", err
			}
			if h != nil {
				hosts = append(hosts, h)
			}
		}
		if cursor = next; cursor == "" || len(hosts) == limit {
			return hosts, cursor, nil
		}
	}
}

// listed reads an item of a listing; nil if it is not to be listed.
func (s *Store) listed(ctx context.Context, item *node) (*ddns.Host, error) {
	key, _ := item.member(attrKey).str()
	if strings.HasPrefix(key, ours) {
		return nil, nil
	}
	r, err := s.decode(item)
	if err != nil {
		s.Log.Warn("a host is left out of a listing", "err", err)
		return nil, nil
	}
	if r.gone || key == r.host.Name.String() {
		return r.host, nil
	}
	// A row with and one without a trailing dot are one host.
	used, err := s.find(ctx, r.host.Name)
	switch {
	case errors.Is(err, ddns.ErrDamaged):
		s.Log.Warn("a host is left out of a listing", "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	case used != nil && used.key != key:
		s.Log.Warn("two items are for one host: remove one of them", "host", r.host.Name.String(), "used", used.key, "unused", key)
		return nil, nil
	case used == nil && !r.first:
		s.Log.Warn("a host is left out of a listing: no update finds its item", "unused", key)
		return nil, nil
	}
	return r.host, nil
}

// Unpublished is [ddns.Store]'s. It reads an index that holds unpublished hosts
// alone and is a moment behind.
func (s *Store) Unpublished(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	return s.indexed(ctx, attrDue, cursor, limit, "", "", func(h *ddns.Host) bool { return h.Published < h.Generation })
}

// Due is [ddns.Store]'s. It reads an index that holds hosts alone of which
// something ends by itself and is a moment behind.
func (s *Store) Due(ctx context.Context, now time.Time, cursor string, limit int) ([]*ddns.Host, string, error) {
	before := openObject(nil, "{")
	before.n(":now", micros(now))
	return s.indexed(ctx, attrNext, cursor, limit, attrNext+"<=:now", string(append(before.b, '}')), func(h *ddns.Host) bool {
		due := h.NextDue()
		return !due.IsZero() && !due.After(now)
	})
}

func (s *Store) indexed(ctx context.Context, index, cursor string, limit int, filter, values string, wanted func(*ddns.Host) bool) ([]*ddns.Host, string, error) {
	if err := checkLimit(limit); err != nil {
		return nil, "", err
	}
	var hosts []*ddns.Host
	for {
		items, next, err := s.scan(ctx, index, cursor, limit-len(hosts), "", filter, values, false)
		if err != nil {
			return nil, "", err
		}
		var keys []string
		for i := range items {
			if key, ok := items[i].member(attrKey).str(); ok && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
		found, err := s.getAll(ctx, keys, hostAttributes)
		if err != nil {
			return nil, "", err
		}
		for _, key := range keys {
			if item := found[key]; item.has(attrData) {
				h, err := s.listed(ctx, item)
				if err != nil {
					return nil, "", err
				}
				if h != nil && wanted(h) {
					hosts = append(hosts, h)
				}
			}
		}
		if cursor = next; cursor == "" || len(hosts) == limit {
			return hosts, cursor, nil
		}
	}
}
