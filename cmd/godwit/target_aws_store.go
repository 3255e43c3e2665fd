package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/publish/route53"
	"godwit/internal/store/dynamodb"
)

// stackStore is the installation's store as an operator's commands need it. It
// does what the function does once a day, when it is needed: in an adopted table
// it looks for rows that are spelled in another way than their host's name. And
// it shows of a host that was never updated here what DNS has of it.
type stackStore struct {
	*dynamodb.Store
	publisher *route53.Publisher
	say       func(string, ...any)

	mu      sync.Mutex               // guards following
	adopted bool                     // aliases have been made
	known   map[dnsname.Name]listing // by apex

	warn sync.Once // about DNS that does not answer
}

// Host is [ddns.Store]'s.
func (s *stackStore) Host(ctx context.Context, name dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	h, credentials, err := s.Store.Host(ctx, name)
	if errors.Is(err, ddns.ErrNoHost) {
		if made, adoptErr := s.adopt(ctx); adoptErr != nil {
			return nil, nil, adoptErr
		} else if made {
			h, credentials, err = s.Store.Host(ctx, name)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	h, err = s.asShown(ctx, h, false)
	return h, credentials, err
}

// Save is [ddns.Store]'s. A new host must not take the name of one that is not
// found. It keeps the addresses that DNS has of its name, which is said.
func (s *stackStore) Save(ctx context.Context, writes ...ddns.Write) error {
	fresh := slices.DeleteFunc(slices.Clone(writes), func(w ddns.Write) bool { return w.Before != nil })
	if len(fresh) > 0 {
		if _, err := s.adopt(ctx); err != nil {
			return err
		}
	}
	if err := s.Store.Save(ctx, writes...); err != nil {
		return err
	}
	if len(fresh) == 1 && fresh[0].Event.What == "created" && len(fresh[0].Host.Current()) > 0 {
		h := fresh[0].Host
		s.say("DNS has %s for %s already; that stays until its first update.", addrs(h.A, h.AAAA), h.Name)
	}
	return nil
}

// adopt makes aliases, once, and tells whether it made any now.
func (s *stackStore) adopt(ctx context.Context) (made bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adopted {
		return false, nil
	}
	n, err := s.Store.Adopt(ctx)
	if err != nil {
		return false, fmt.Errorf("look for rows in another spelling: %w", err)
	}
	s.adopted = true
	if n > 0 {
		s.say("Found %s in another spelling; each has an alias now.", quantity(n, "host"))
	}
	return n > 0, nil
}

// Hosts is [ddns.Store]'s.
func (s *stackStore) Hosts(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	hosts, next, err := s.Store.Hosts(ctx, cursor, limit)
	for i := range hosts {
		if err == nil {
			hosts[i], err = s.asShown(ctx, hosts[i], true)
		}
	}
	return hosts, next, err
}

// asShown gives a host that others made, and that no update of ours has met yet,
// the addresses that DNS has of it. all is as in shown.
func (s *stackStore) asShown(ctx context.Context, h *ddns.Host, all bool) (*ddns.Host, error) {
	if h.Generation > 0 || h.Removed {
		return h, nil
	}
	sets, err := s.shown(ctx, h, all)
	switch {
	case err == nil:
		h = h.Clone()
		takeAddresses(h, sets)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default: // the host is there all the same
		s.warn.Do(func() {
			s.say("Warning: what DNS has of hosts that were never updated here is not known: %s", withFix(err))
		})
	}
	return h, nil
}

// shownLife is how long a listing of a zone is taken for right.
const shownLife = 15 * time.Second

// shown is what DNS has of a host. all reads the whole zone for it, and keeps
// that for a moment: many more such hosts follow.
func (s *stackStore) shown(ctx context.Context, h *ddns.Host, all bool) ([]ddns.RRset, error) {
	if !all {
		return s.publisher.Look(ctx, h)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	z, known := s.known[h.Zone]
	if !known || time.Since(z.at) > shownLife {
		z = listing{time.Now(), map[dnsname.Name][]ddns.RRset{}, nil}
		z.err = s.publisher.List(ctx, h.Zone, func(page []ddns.RRset) error {
			for _, set := range page {
				if set.Type == ddns.TypeA || set.Type == ddns.TypeAAAA {
					z.sets[set.Owner] = append(z.sets[set.Owner], set)
				}
			}
			return nil
		})
		if s.known == nil {
			s.known = map[dnsname.Name]listing{}
		}
		s.known[h.Zone] = z
	}
	var sets []ddns.RRset
	for _, name := range h.Names() {
		sets = append(sets, z.sets[name]...)
	}
	return sets, z.err
}

// listing is what a zone had, by owner.
type listing struct {
	at   time.Time
	sets map[dnsname.Name][]ddns.RRset
	err  error
}

// takeAddresses makes what DNS has at a host's name its addresses.
func takeAddresses(h *ddns.Host, sets []ddns.RRset) {
	for _, set := range sets {
		sorted := slices.SortedFunc(slices.Values(set.Addrs), netip.Addr.Compare)
		switch {
		case set.Owner != h.Name:
		case set.Type == ddns.TypeA:
			h.A = sorted
		case set.Type == ddns.TypeAAAA:
			h.AAAA = sorted
		}
	}
}
