package publishtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Store is a [ddns.Store] and [ddns.Sealer] in memory, for tests that need a
// Service and no disk: it keeps the contract and nothing beyond the process.
// Calls are counted, and Fail can make them fail. Safe for concurrent use; the
// zero Store is empty.
type Store struct {
	// Fail, if not nil, is asked before every call of the Store's methods, by
	// name; what it returns is the call's error. It is set before first use.
	Fail func(method string) error

	mu          sync.Mutex // guards following
	hosts       map[dnsname.Name]*ddns.Host
	owners      map[dnsname.Name]dnsname.Name
	credentials map[string]*ddns.Credential
	events      map[dnsname.Name][]ddns.Event // oldest first
	retired     map[dnsname.Name]uint64
	calls       map[string]int
}

// Plant puts a host there that others made: no command of ours did.
func (s *Store) Plant(h *ddns.Host, credentials ...*ddns.Credential) {
	if err := s.enter("Plant"); err != nil {
		panic(err)
	}
	defer s.mu.Unlock()
	s.hosts[h.Name] = h
	for _, n := range h.Names() {
		s.owners[n] = h.Name
	}
	for _, c := range credentials {
		s.credentials[c.ID] = c
	}
}

// Writes is how many calls have written something: Save, Touch, Refused, Note.
func (s *Store) Writes() int { return s.Calls("Save", "Touch", "Refused", "Note") }

// Calls is how often the methods have been called, failed calls too.
func (s *Store) Calls(methods ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range methods {
		n += s.calls[m]
	}
	return n
}

// enter counts a call and locks the store unless the call is to fail.
func (s *Store) enter(method string) error {
	var err error
	if s.Fail != nil {
		err = s.Fail(method)
	}
	s.mu.Lock()
	if s.calls == nil {
		s.hosts, s.owners = map[dnsname.Name]*ddns.Host{}, map[dnsname.Name]dnsname.Name{}
		s.credentials, s.events = map[string]*ddns.Credential{}, map[dnsname.Name][]ddns.Event{}
		s.retired, s.calls = map[dnsname.Name]uint64{}, map[string]int{}
	}
	s.calls[method]++
	if err != nil {
		s.mu.Unlock()
	}
	return err
}

// Host is [ddns.Store]'s.
func (s *Store) Host(_ context.Context, name dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	if err := s.enter("Host"); err != nil {
		return nil, nil, err
	}
	defer s.mu.Unlock()
	h := s.hosts[name]
	if h == nil {
		return nil, nil, ddns.ErrNoHost
	}
	var granted []*ddns.Credential
	for _, c := range s.credentials {
		if _, ok := c.Grant(name); ok {
			granted = append(granted, c)
		}
	}
	slices.SortFunc(granted, func(a, b *ddns.Credential) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return h, granted, nil
}

// Credential is [ddns.Store]'s.
func (s *Store) Credential(_ context.Context, id string) (*ddns.Credential, error) {
	if err := s.enter("Credential"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if c := s.credentials[id]; c != nil {
		return c, nil
	}
	return nil, ddns.ErrNoCredential
}

// Owner is [ddns.Store]'s.
func (s *Store) Owner(_ context.Context, name dnsname.Name) (dnsname.Name, error) {
	if err := s.enter("Owner"); err != nil {
		return dnsname.Name{}, err
	}
	defer s.mu.Unlock()
	if owner, ok := s.owners[name]; ok {
		return owner, nil
	}
	return dnsname.Name{}, ddns.ErrNoHost
}

// Save is [ddns.Store]'s.
func (s *Store) Save(_ context.Context, writes ...ddns.Write) error {
	if err := s.enter("Save"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := s.checkLocked(writes); err != nil {
		return err
	}
	for _, w := range writes {
		if old := s.hosts[w.Host.Name]; old != nil {
			for _, n := range old.Names() {
				delete(s.owners, n)
			}
		}
	}
	for _, w := range writes {
		s.saveLocked(w)
	}
	return nil
}

// checkLocked says why the writes cannot be made, all of them or none.
func (s *Store) checkLocked(writes []ddns.Write) error {
	written := map[dnsname.Name]bool{} // hosts whose names are free for one another
	touched := map[string]bool{}       // credentials whose secrets are free likewise
	for _, w := range writes {
		written[w.Host.Name] = true
		for _, id := range w.Revoked {
			touched[id] = true
		}
		for _, c := range w.Credentials {
			touched[c.ID] = true
		}
	}
	names := map[dnsname.Name]bool{}
	prints := map[string]string{} // fingerprint to credential
	for _, w := range writes {
		old := s.hosts[w.Host.Name]
		switch {
		case w.Before == nil && old != nil:
			return ddns.ErrNameTaken
		case w.Before == nil && w.Host.Generation != 1, w.Before != nil && w.Host.Generation != w.Before.Generation+1:
			return errors.New("publishtest: the host is not one generation further")
		case w.Before != nil && (old == nil || old.Generation != w.Before.Generation):
			return ddns.ErrConflict
		}
		if err := s.markLocked(w.Host.Name, w.Touch, false); err != nil {
			return err
		}
		for _, n := range w.Host.Names() {
			if owner, taken := s.owners[n]; taken && !written[owner] || names[n] {
				return ddns.ErrNameTaken
			}
			names[n] = true
		}
		for _, c := range w.Credentials {
			if old := s.credentials[c.ID]; old != nil && !overlap(old, c) {
				return ddns.ErrConflict
			}
			if c.Fingerprint == nil {
				continue
			}
			if id, taken := prints[string(c.Fingerprint)]; taken && id != c.ID {
				return ddns.ErrSecretTaken
			}
			prints[string(c.Fingerprint)] = c.ID
			for _, other := range s.credentials {
				if !touched[other.ID] && bytes.Equal(other.Fingerprint, c.Fingerprint) {
					return ddns.ErrSecretTaken
				}
			}
		}
	}
	return nil
}

func overlap(a, b *ddns.Credential) bool {
	return slices.ContainsFunc(b.Grants, func(g ddns.Grant) bool {
		_, ok := a.Grant(g.Host)
		return ok
	})
}

func (s *Store) saveLocked(w ddns.Write) {
	h, name := w.Host, w.Host.Name
	if old := s.hosts[name]; old != nil {
		if old.Published > h.Published {
			h.Published, h.Shown = old.Published, old.Shown
		}
		h.Refusals = max(h.Refusals, old.Refusals)
		if old.Seen.After(h.Seen) {
			h.Seen = old.Seen
		}
	} else {
		base := s.retired[name]
		h.Generation, h.Published, w.Event.Generation = h.Generation+base, h.Published+base, w.Event.Generation+base
	}
	for _, id := range w.Revoked {
		delete(s.credentials, id)
	}
	for _, c := range w.Credentials {
		if old := s.credentials[c.ID]; old != nil {
			c.Mark = max(c.Mark, old.Mark)
		}
		s.credentials[c.ID] = c
	}
	s.hosts[name] = h
	_ = s.markLocked(name, w.Touch, true) // checked
	for _, n := range h.Names() {
		s.owners[n] = name
	}
	s.recordLocked(name, w.Event)
	s.forgetLocked(h)
}

// recordLocked keeps an event and forgets the oldest of its sort beyond the
// limits of the contract.
func (s *Store) recordLocked(name dnsname.Name, e ddns.Event) {
	s.events[name] = append(s.events[name], e)
	changes, refusals := 0, 0
	kept := slices.Clone(s.events[name])
	slices.Reverse(kept)
	kept = slices.DeleteFunc(kept, func(e ddns.Event) bool {
		if e.Outcome == "changed" {
			changes++
			return changes > ddns.MaxEvents
		}
		refusals++
		return refusals > ddns.MaxRefusals
	})
	slices.Reverse(kept)
	s.events[name] = kept
}

// forgetLocked drops a removed host of which DNS is empty.
func (s *Store) forgetLocked(h *ddns.Host) {
	if !h.Removed || h.Published < h.Generation {
		return
	}
	s.retired[h.Name] = h.Generation
	for _, n := range h.Names() {
		delete(s.owners, n)
	}
	delete(s.hosts, h.Name)
	delete(s.events, h.Name)
}

// Touch is [ddns.Store]'s.
func (s *Store) Touch(_ context.Context, name dnsname.Name, generation uint64, t ddns.Touch) error {
	if err := s.enter("Touch"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	h := s.hosts[name]
	if h == nil || h.Generation != generation {
		return ddns.ErrConflict
	}
	if err := s.markLocked(name, t, true); err != nil {
		return err
	}
	if t.Seen.After(h.Seen) {
		h = h.Clone()
		h.Seen = t.Seen
		s.hosts[name] = h
	}
	return nil
}

// markLocked moves a replay mark, or only tells whether it would advance.
func (s *Store) markLocked(name dnsname.Name, t ddns.Touch, move bool) error {
	if t.Credential == "" {
		return nil
	}
	c := s.credentials[t.Credential]
	if c == nil || t.Mark <= c.Mark {
		return ddns.ErrConflict
	}
	if _, ok := c.Grant(name); !ok {
		return ddns.ErrConflict
	}
	if move {
		marked := *c
		marked.Mark = t.Mark
		s.credentials[c.ID] = &marked
	}
	return nil
}

// Refused is [ddns.Store]'s.
func (s *Store) Refused(_ context.Context, name dnsname.Name, e ddns.Event, n uint64) error {
	if err := s.enter("Refused"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if h := s.hosts[name]; h != nil {
		h = h.Clone()
		h.Refusals += n
		s.hosts[name] = h
		s.recordLocked(name, e)
	}
	return nil
}

// Note is [ddns.Store]'s.
func (s *Store) Note(_ context.Context, name dnsname.Name, generation uint64, shown []ddns.RRset) (uint64, error) {
	if err := s.enter("Note"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	h := s.hosts[name]
	if h == nil {
		return 0, ddns.ErrNoHost
	}
	if generation > h.Published && generation <= h.Generation {
		h = h.Clone()
		h.Published, h.Shown = generation, shown
		s.hosts[name] = h
		s.forgetLocked(h)
	}
	return h.Generation, nil
}

// Hosts is [ddns.Store]'s.
func (s *Store) Hosts(_ context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	return s.list("Hosts", cursor, limit, func(*ddns.Host) bool { return true })
}

// Unpublished is [ddns.Store]'s.
func (s *Store) Unpublished(_ context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	return s.list("Unpublished", cursor, limit, func(h *ddns.Host) bool { return h.Published < h.Generation })
}

// Due is [ddns.Store]'s.
func (s *Store) Due(_ context.Context, now time.Time, cursor string, limit int) ([]*ddns.Host, string, error) {
	return s.list("Due", cursor, limit, func(h *ddns.Host) bool {
		due := h.NextDue()
		return !due.IsZero() && !due.After(now)
	})
}

// list pages through the hosts in the order of their names' wire form.
func (s *Store) list(method, cursor string, limit int, wanted func(*ddns.Host) bool) ([]*ddns.Host, string, error) {
	if err := s.enter(method); err != nil {
		return nil, "", err
	}
	defer s.mu.Unlock()
	if limit < 1 || limit > 1000 {
		return nil, "", fmt.Errorf("publishtest: a page of %d hosts", limit)
	}
	var all []*ddns.Host
	for _, h := range s.hosts {
		if h.Name.Wire() > cursor && wanted(h) {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b *ddns.Host) int { return cmp.Compare(a.Name.Wire(), b.Name.Wire()) })
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], all[limit-1].Name.Wire(), nil
}

// Events is [ddns.Store]'s.
func (s *Store) Events(_ context.Context, name dnsname.Name) ([]ddns.Event, error) {
	if err := s.enter("Events"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	newest := slices.Clone(s.events[name])
	slices.Reverse(newest)
	return newest, nil
}

// Seal is [ddns.Sealer]'s. It hides nothing: it binds the secret to its host and
// credential, so that a test sees whether those are given.
func (s *Store) Seal(host dnsname.Name, credential string, secret ddns.Secret) ([]byte, error) {
	if err := s.enter("Seal"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return append(place(host, credential), secret.Reveal()...), nil
}

// Open is [ddns.Sealer]'s.
func (s *Store) Open(host dnsname.Name, credential string, sealed []byte) (ddns.Secret, error) {
	if err := s.enter("Open"); err != nil {
		return ddns.Secret{}, err
	}
	defer s.mu.Unlock()
	text, ok := bytes.CutPrefix(sealed, place(host, credential))
	if !ok {
		return ddns.Secret{}, errors.New("sealed for another place")
	}
	return ddns.NewSecret(string(text)), nil
}

func place(host dnsname.Name, credential string) []byte {
	sum := sha256.Sum256([]byte(host.Wire() + credential))
	return sum[:]
}

// Fingerprint is [ddns.Sealer]'s.
func (s *Store) Fingerprint(secret ddns.Secret) []byte {
	m := hmac.New(sha256.New, []byte("publishtest"))
	m.Write([]byte(secret.Reveal()))
	return m.Sum(nil)
}

var (
	_ ddns.Store  = (*Store)(nil)
	_ ddns.Sealer = (*Store)(nil)
)
