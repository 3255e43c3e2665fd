package ddns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/dnsname"
)

// Settings are what an operator may say of a host. A nil field leaves what is there.
type Settings struct {
	TTL       *uint32
	Addresses *AddressRule
	Free      *bool
	SeedOff   *bool
	Suspended *bool
	Wildcard  *bool
	Lease     *time.Duration
	Followers *[]Follower
}

// apply sets what is given and says in words what it changed.
func (s Settings) apply(h *Host) (what []string) {
	set := func(name string, differs bool, from, to any, do func()) {
		if differs {
			what = append(what, fmt.Sprintf("%s %v to %v", name, from, to))
			do()
		}
	}
	if p := s.TTL; p != nil {
		set("ttl", *p != h.TTL, h.TTL, *p, func() { h.TTL = *p })
	}
	if p := s.Addresses; p != nil {
		set("addresses", *p != h.Addresses, h.Addresses, *p, func() { h.Addresses = *p })
	}
	if p := s.Free; p != nil {
		set("source", *p != h.Free, sourceWord(h.Free), sourceWord(*p), func() { h.Free = *p })
	}
	if p := s.SeedOff; p != nil {
		set("seed", *p != h.SeedOff, onOff(!h.SeedOff), onOff(!*p), func() { h.SeedOff = *p })
	}
	if p := s.Suspended; p != nil {
		set("suspended", *p != h.Suspended, onOff(h.Suspended), onOff(*p), func() { h.Suspended = *p })
	}
	if p := s.Wildcard; p != nil {
		set("wildcard", *p != h.Wildcard, onOff(h.Wildcard), onOff(*p), func() { h.Wildcard = *p })
	}
	if p := s.Lease; p != nil {
		set("lease", *p != h.Lease, h.Lease, *p, func() { h.Lease = *p })
	}
	if p := s.Followers; p != nil {
		if text := refollowed(h.Followers, *p); text != "" {
			what = append(what, text)
			h.Followers = slices.Clone(*p)
		}
	}
	return what
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func sourceWord(free bool) string {
	if free {
		return "free"
	}
	return "match"
}

const byAdmin = "admin" // Host.ChangedBy and Event.Door of what an operator does

func noSuchHost(name dnsname.Name) *Refusal {
	return &Refusal{Code: NotFound, Why: fmt.Sprintf("there is no host %s", name), Fix: "godwit host list shows all; godwit host add makes one", Cause: ErrNoHost}
}

// Created is a new host and the one time that its secret is shown.
type Created struct {
	Host       *Host
	Credential *Credential
	// Token is the secret that was made, or the zero Secret if the caller gave one
	// or asked for a join code.
	Token Secret
	Code  Secret // the join code that was made, which ends when Credential does
	// TSIGSecret is the secret of the TSIG key that was made, in base64.
	TSIGSecret Secret
}

// Add makes a host with its first credential: a token, which is also the seed's
// shared secret unless settings turn the seed's proof off. own, if not zero, is
// a secret of the user's own in its place.
//
// An error is a *Refusal: exists, malformed, too-many or unavailable. Like all
// changes by an operator it counts against no limit.
func (s *Service) Add(ctx context.Context, name dnsname.Name, settings Settings, own Secret) (Created, error) {
	return s.add(ctx, name, settings, func(h *Host, now time.Time) (Created, error) { return s.newCredential(h, own, now) })
}

// first makes the first credential of a host, or the one that replaces all others.
type first func(h *Host, now time.Time) (Created, error)

func (s *Service) add(ctx context.Context, name dnsname.Name, settings Settings, first first) (Created, error) {
	for range maxTries {
		old, _, err := s.Store.Host(ctx, name)
		switch {
		case errors.Is(err, ErrNoHost):
			old = nil
		case err != nil:
			return Created{}, unavailable("read "+name.String(), err)
		case !old.Removed:
			return Created{}, s.taken(ctx, old)
		}
		now := s.Now()
		h := &Host{Name: name, TTL: DefaultTTL, Generation: 1, Created: now, ChangedAt: now, ChangedBy: byAdmin}
		if old != nil {
			// DNS is not known to be empty of it: what it shows must not be forgotten.
			h.Generation, h.Published, h.Shown = old.Generation+1, old.Published, old.Shown
		}
		settings.apply(h)
		if err := s.place(h); err != nil {
			return Created{}, err
		}
		made, err := first(h, now)
		if err != nil {
			return Created{}, err
		}
		h.Credentials = []string{made.Credential.ID}
		if err := h.Validate(); err != nil {
			return Created{}, err
		}
		w := []Write{{Before: old, Host: h, Credentials: []*Credential{made.Credential},
			Event: Event{Time: now, Generation: h.Generation, Outcome: changed, Door: byAdmin, What: "created"}}}
		w[0].setEnds(nil)
		if err := s.meetNew(ctx, w); err != nil {
			return Created{}, err
		}
		err = s.save(ctx, w...)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return Created{}, s.adminError(ctx, "add", h, err)
		}
		made.Host = h
		return made, nil
	}
	return Created{}, unavailable("add "+name.String(), ErrConflict)
}

// place finds the host's zone and refuses names that nobody may have or that
// something else has.
func (s *Service) place(h *Host) error {
	apex, ok := s.Zones.Zone(h.Name)
	if !ok {
		return refuse(Malformed, fmt.Sprintf("%s is in none of this server's zones", h.Name), "give a name under one of them; godwit zone list shows them")
	}
	h.Zone = apex
	for _, n := range h.Names() {
		if _, err := dnsname.ParseHost(n.String()); err != nil {
			return badName(err)
		}
		if zone, ok := s.Zones.Zone(n); zone != apex {
			where := "none of this server's zones"
			if ok {
				where = "zone " + zone.String()
			}
			return refuse(Malformed, fmt.Sprintf("%s is in %s, and a follower lives in its router's zone", n, where), "give a name in zone "+apex.String())
		}
		if IsReserved(n, apex) {
			return refuse(Malformed, fmt.Sprintf("%s is reserved: name servers and certificates need such names", n), "choose another first label")
		}
		if err := s.Zones.Clash(n); err != nil {
			if r, ok := errors.AsType[*Refusal](err); ok {
				return r
			}
			return &Refusal{Code: Malformed, Why: err.Error(), Fix: "choose another name, or take the record out of the zone file", Cause: err}
		}
	}
	return nil
}

// badName is what dnsname says of a name, as a refusal.
func badName(err error) *Refusal {
	r := &Refusal{Code: Malformed, Why: err.Error(), Cause: err}
	if e, ok := errors.AsType[*dnsname.Error](err); ok {
		r.Why, r.Fix = fmt.Sprintf("name %q %s", e.Text, e.Why), e.Fix
	}
	return r
}

// newCredential makes a token, or a credential of the user's own secret.
func (s *Service) newCredential(h *Host, own Secret, now time.Time) (Created, error) {
	if own.IsZero() {
		c, token := NewToken(h.Name, now)
		return Created{Credential: c, Token: token}, s.seal(h, c, token)
	}
	if err := CheckOwnSecret(own, 12); err != nil {
		return Created{}, err
	}
	c := newSeed(h.Name, own, now)
	return Created{Credential: c}, s.seal(h, c, own)
}

// seal keeps the secret itself for the proofs that need it: the seed's, unless
// that is off, and TSIG.
func (s *Service) seal(h *Host, c *Credential, secret Secret) error {
	keep := c.Kind == KindTSIG || c.shared() && !h.SeedOff
	// Two hosts with one secret can be taken for each other by the seed's hash,
	// which joins its parts without separators: the fingerprint refuses that.
	if c.Kind == KindSeed || c.Kind == KindToken && keep {
		c.Fingerprint = s.Sealer.Fingerprint(secret)
	}
	if !keep {
		return nil
	}
	var err error
	if c.Sealed, err = s.Sealer.Seal(c.sealedFor(h.Name), c.ID, secret); err != nil {
		return unavailable("seal a secret", err)
	}
	return nil
}

// adminError is why a host's new state was not saved.
func (s *Service) adminError(ctx context.Context, doing string, h *Host, err error) error {
	switch {
	case errors.Is(err, ErrNameTaken):
		return s.taken(ctx, h)
	case errors.Is(err, ErrSecretTaken):
		return &Refusal{Code: Malformed, Why: "another host has the same secret", Fix: "give each host a secret of its own", Cause: err}
	}
	return unavailable(doing+" "+h.Name.String(), err)
}

// Show returns a host and its credentials; read only.
func (s *Service) Show(ctx context.Context, name dnsname.Name) (*Host, []*Credential, error) {
	h, credentials, err := s.Store.Host(ctx, name)
	switch {
	case errors.Is(err, ErrNoHost) || err == nil && h.Removed:
		if router, ok := s.routerOf(ctx, name); ok {
			return nil, nil, &Refusal{Code: NotFound, Why: fmt.Sprintf("%s is a follower of %s and has no settings of its own", name, router),
				Fix: fmt.Sprintf("godwit host set %s changes its followers", router), Cause: ErrNoHost}
		}
		return nil, nil, noSuchHost(name)
	case err != nil:
		return nil, nil, unavailable("read "+name.String(), err)
	}
	return h, credentials, nil
}

// List returns a page of hosts; see [Store].Hosts.
func (s *Service) List(ctx context.Context, cursor string, limit int) ([]*Host, string, error) {
	hosts, next, err := s.Store.Hosts(ctx, cursor, limit)
	if err != nil {
		return nil, "", unavailable("list hosts", err)
	}
	return slices.DeleteFunc(slices.Clone(hosts), func(h *Host) bool { return h.Removed }), next, nil
}

// History returns a host's newest events, the newest first; a follower's are its
// router's, with which it moves.
func (s *Service) History(ctx context.Context, name dnsname.Name) ([]Event, error) {
	h, _, err := s.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	events, err := s.Store.Events(ctx, h.Name)
	if err != nil {
		return nil, unavailable("read the history of "+name.String(), err)
	}
	return events, nil
}

// edit is one host in an operator's change. Its Write.Host may be changed.
type edit struct {
	Write
	had []*Credential // its credentials before
}

// change makes one operator's change of a host, deciding again if the host
// changes meanwhile. edit gets a state that it may change, and the write that
// will carry it; it says in words what it did, or nothing if there is nothing to do.
func (s *Service) change(ctx context.Context, name dnsname.Name, do func(h *Host, credentials []*Credential, w *Write) (what string, err error)) (Outcome, error) {
	alone := func([]*Credential) []dnsname.Name { return nil }
	out, err := s.changeAll(ctx, name, alone, func(edits []edit) (string, error) {
		return do(edits[0].Host, edits[0].had, &edits[0].Write)
	})
	if err != nil {
		return Outcome{}, err
	}
	return out[0], nil
}

// changeAll is change for a host and others, all or none. which says by the first
// one's credentials which others; it may repeat names. do gets the first one
// first; others that are not there, or cannot be read, are left out.
func (s *Service) changeAll(ctx context.Context, name dnsname.Name, which func([]*Credential) []dnsname.Name, do func([]edit) (what string, err error)) ([]Outcome, error) {
	for range maxTries {
		first, err := s.begin(ctx, name)
		if err != nil {
			return nil, err
		}
		edits, seen := []edit{first}, map[dnsname.Name]bool{name: true}
		for _, other := range which(first.had) {
			if seen[other] {
				continue
			}
			seen[other] = true
			switch e, err := s.begin(ctx, other); {
			case errors.Is(err, ErrNoHost), errors.Is(err, ErrDamaged):
			case err != nil:
				return nil, err
			default:
				edits = append(edits, e)
			}
		}
		now := s.Now()
		what, err := do(edits)
		if err != nil {
			return nil, err
		}
		out, writes := make([]Outcome, len(edits)), make([]Write, len(edits))
		for i := range edits {
			w := &edits[i].Write
			out[i] = Outcome{Host: w.Before}
			if what == "" {
				continue
			}
			if err := w.Host.Validate(); err != nil {
				return nil, of(w.Host.Name, name, err)
			}
			w.setEnds(edits[i].had)
			w.Host.Generation++
			w.Host.ChangedAt, w.Host.ChangedBy = now, byAdmin
			w.Event = Event{Time: now, Generation: w.Host.Generation, Outcome: changed, Door: byAdmin, What: what,
				Before: w.Before.Current(), After: w.Host.Current()}
			out[i], writes[i] = Outcome{Changed: true, Host: w.Host}, *w
		}
		if what == "" {
			return out, nil
		}
		err = s.save(ctx, writes...)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return nil, s.adminError(ctx, "change", edits[0].Host, err)
		}
		each(len(out), func(i int) { out[i].Unconfirmed = s.show(ctx, out[i].Host) })
		return out, nil
	}
	return nil, unavailable("change "+name.String(), ErrConflict)
}

// begin reads a host for an operator's change.
func (s *Service) begin(ctx context.Context, name dnsname.Name) (edit, error) {
	before, credentials, err := s.Show(ctx, name)
	if err != nil {
		return edit{}, err
	}
	if before, err = s.meet(ctx, before); err != nil {
		return edit{}, unavailable("take over "+name.String(), err)
	}
	return edit{Write{Before: before, Host: before.Clone()}, credentials}, nil
}

// of names the host in a refusal, unless it is the one that was asked about.
func of(host, asked dnsname.Name, err error) error {
	r, ok := errors.AsType[*Refusal](err)
	if !ok || host == asked {
		return err
	}
	named := *r
	named.Why = host.String() + ": " + r.Why
	return &named
}

// Set changes a host's settings.
func (s *Service) Set(ctx context.Context, name dnsname.Name, settings Settings) (Outcome, error) {
	return s.change(ctx, name, func(h *Host, credentials []*Credential, w *Write) (string, error) {
		was := w.Before.SeedOff
		what := settings.apply(h)
		if was && !h.SeedOff {
			return "", refuse(Malformed, "the seed's proof cannot be turned on: it needs the plain secret, which is kept nowhere",
				fmt.Sprintf("run: godwit host rotate %s --seed=on", name))
		}
		if !was && h.SeedOff {
			for _, c := range credentials {
				if c.Sealed != nil && c.shared() {
					d := *c
					d.Sealed = nil
					if d.Kind == KindToken {
						d.Fingerprint = nil
					}
					w.Credentials = append(w.Credentials, &d)
				}
			}
		}
		if len(what) == 0 {
			return "", nil
		}
		if !slices.Equal(w.Before.Names(), h.Names()) {
			if err := s.place(h); err != nil {
				return "", err
			}
		}
		return strings.Join(what, ", "), nil
	})
}

// Rotate replaces all of a host's tokens, shared secrets, keys, join codes and
// acme-dns accounts by one new credential. Credentials that serve other hosts too lose only this one.
// own and seed are as in Add; seedOff nil leaves the switch.
func (s *Service) Rotate(ctx context.Context, name dnsname.Name, own Secret, seedOff *bool) (Created, error) {
	return s.rotate(ctx, name, seedOff, func(h *Host, now time.Time) (Created, error) { return s.newCredential(h, own, now) })
}

func (s *Service) rotate(ctx context.Context, name dnsname.Name, seedOff *bool, first first) (Created, error) {
	var out Created
	done, err := s.change(ctx, name, func(h *Host, credentials []*Credential, w *Write) (string, error) {
		if seedOff != nil {
			h.SeedOff = *seedOff
		}
		var err error
		if out, err = first(h, s.Now()); err != nil {
			return "", err
		}
		for _, old := range credentials {
			if old.rotates() || old.Kind == KindACME { // who had the token may have registered
				w.drop(h, old)
			}
		}
		w.Credentials = append(w.Credentials, out.Credential)
		h.Credentials = append(h.Credentials, out.Credential.ID)
		return "secret rotated", nil
	})
	out.Host = done.Host
	return out, err
}

// drop takes a credential from the host, and away altogether if it serves no other.
func (w *Write) drop(h *Host, c *Credential) {
	h.Credentials = slices.DeleteFunc(h.Credentials, func(id string) bool { return id == c.ID })
	rest := slices.DeleteFunc(slices.Clone(c.Grants), func(g Grant) bool { return g.Host == h.Name })
	if len(rest) == 0 {
		w.Revoked = append(w.Revoked, c.ID)
		return
	}
	d := *c
	d.Grants = rest
	w.Credentials = append(w.Credentials, &d)
}

// Remove empties DNS of a host and forgets it.
func (s *Service) Remove(ctx context.Context, name dnsname.Name) error {
	_, err := s.change(ctx, name, func(h *Host, credentials []*Credential, w *Write) (string, error) {
		for _, c := range credentials {
			w.drop(h, c)
		}
		h.A, h.AAAA, h.Prefix, h.Followers, h.TXT = nil, nil, netip.Prefix{}, nil, nil
		h.Removed = true
		return "removed", nil
	})
	return err
}

// Rehome moves a host to the zone that now has the longest matching apex, after
// the configuration gained or lost one.
func (s *Service) Rehome(ctx context.Context, name dnsname.Name) error {
	_, err := s.change(ctx, name, func(h *Host, _ []*Credential, _ *Write) (string, error) {
		was := h.Zone
		if err := s.place(h); err != nil || h.Zone == was {
			return "", err
		}
		return fmt.Sprintf("moved from zone %s to %s", was, h.Zone), nil
	})
	return err
}
