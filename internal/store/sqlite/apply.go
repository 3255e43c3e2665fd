package sqlite

import (
	"context"
	"fmt"
	"slices"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Save makes all writes or none. What Touch, Note and Refused wrote since
// Before was read is kept: they move no generation, so a write decided before
// them must not undo them.
//
// The times of what is saved are cut to microseconds, in place.
func (s *Store) Save(ctx context.Context, writes ...ddns.Write) error {
	for i := range writes {
		if err := check(writes, i); err != nil {
			return err
		}
		normalize(writes[i].Host)
		for _, c := range writes[i].Credentials {
			normalizeCredential(c)
		}
	}
	if len(writes) == 0 {
		return nil
	}
	return s.write(ctx, func(b *batch) error { return b.save(writes) })
}

// check refuses what no state would make right.
func check(writes []ddns.Write, i int) error {
	w := &writes[i]
	bad := func(why string) error { return &invalidError{"save: " + why} }
	switch {
	case w.Host == nil || w.Host.Name.IsZero() || w.Host.Zone.IsZero():
		return bad("a write without a host, its name or its zone")
	case w.Before == nil && w.Host.Generation != 1:
		return bad("a new host begins at generation 1")
	case w.Before == nil && w.Host.Removed:
		return bad("a new host cannot be removed already")
	case w.Before != nil && (w.Before.Name != w.Host.Name || w.Host.Generation != w.Before.Generation+1):
		return bad(fmt.Sprintf("%s is not one generation further than what it was decided on", w.Host.Name))
	case w.Host.Published > w.Host.Generation:
		return bad(fmt.Sprintf("%s cannot be published before it is stored", w.Host.Name))
	}
	for _, c := range w.Credentials {
		if c.ID == "" || len(c.Grants) == 0 {
			return bad("a credential without an ID or a grant")
		}
	}
	for _, other := range writes[:i] {
		if other.Host.Name == w.Host.Name {
			return bad(fmt.Sprintf("%s is written twice", w.Host.Name))
		}
	}
	return nil
}

// save first decides all writes and then makes them, so that a refusal leaves
// nothing to roll back.
func (b *batch) save(writes []ddns.Write) error {
	var room [1]*entry
	current := room[:0]
	for i := range writes {
		e, err := b.load(writes[i].Host.Name)
		if err != nil {
			return err
		}
		switch before := writes[i].Before; {
		case before == nil && e != nil:
			return ddns.ErrNameTaken
		case before != nil && (e == nil || e.host.Generation != before.Generation):
			return ddns.ErrConflict
		}
		current = append(current, e)
	}
	if err := b.decideNames(writes, current); err != nil {
		return err
	}
	credentials, err := b.decideCredentials(writes)
	if err != nil {
		return err
	}
	for i := range writes {
		if _, err := b.markOf(writes[i].Host.Name, writes[i].Touch); err != nil {
			return err
		}
	}
	// Names and secrets that one host gives up and another takes: give up first.
	for i := range writes {
		if err := b.freeNames(&writes[i], current[i]); err != nil {
			return err
		}
	}
	for i := range writes {
		if err := b.saveHost(&writes[i], current[i]); err != nil {
			return err
		}
	}
	if err := b.saveCredentials(writes, credentials); err != nil {
		return err
	}
	for i := range writes {
		if err := b.moveMark(writes[i].Host.Name, writes[i].Touch); err != nil {
			return err
		}
	}
	return nil
}

// drops tells whether the host's row goes with this write.
func drops(w *ddns.Write) bool { return w.Host.Removed && w.Host.Published == w.Host.Generation }

// namesChange tells whether a write changes which names the host has.
func namesChange(w *ddns.Write, e *entry) bool {
	if e == nil || drops(w) || e.host.Wildcard != w.Host.Wildcard || len(e.host.Followers) != len(w.Host.Followers) {
		return true
	}
	for i, f := range w.Host.Followers {
		if e.host.Followers[i].Name != f.Name {
			return true
		}
	}
	return false
}

// decideNames refuses names that others have, unless this very save frees them.
func (b *batch) decideNames(writes []ddns.Write, current []*entry) error {
	var freed, taken map[dnsname.Name]bool
	for i := range writes {
		w, e := &writes[i], current[i]
		if !namesChange(w, e) {
			continue
		}
		if freed == nil {
			freed, taken = map[dnsname.Name]bool{}, map[dnsname.Name]bool{}
		}
		if e != nil {
			for _, n := range e.host.Names() {
				freed[n] = true
			}
		}
		if drops(w) {
			continue
		}
		for _, n := range w.Host.Names() {
			if taken[n] {
				return ddns.ErrNameTaken
			}
			taken[n] = true
		}
	}
	for n := range taken {
		if freed[n] {
			continue
		}
		_, found, err := b.w.conn.queryInt("select host from names where name = ?", n.String())
		if err != nil {
			return err
		}
		if found {
			return ddns.ErrNameTaken
		}
	}
	return nil
}

// decideCredentials refuses secrets that other credentials have, unless this
// very save revokes or changes those. It returns what is stored now of each
// credential that the save touches.
func (b *batch) decideCredentials(writes []ddns.Write) (map[string]*ddns.Credential, error) {
	count := 0
	for i := range writes {
		count += len(writes[i].Credentials) + len(writes[i].Revoked)
	}
	if count == 0 {
		return nil, nil
	}
	old := make(map[string]*ddns.Credential, count)
	look := func(id string) error {
		if _, ok := old[id]; ok {
			return nil
		}
		c, err := b.credential(id)
		old[id] = c
		return err
	}
	kept := map[string]*ddns.Credential{} // what the save leaves of those it touches
	for i := range writes {
		w := &writes[i]
		for _, id := range w.Revoked {
			if err := look(id); err != nil {
				return nil, err
			}
			kept[id] = nil
		}
		for _, c := range w.Credentials {
			if err := look(c.ID); err != nil {
				return nil, err
			}
			if o := old[c.ID]; o != nil {
				// IDs are random and short. One that is another's by chance must
				// not take the other's place; deciding again makes a new one.
				if !slices.ContainsFunc(c.Grants, func(g ddns.Grant) bool { return granted(o, g.Host) }) && !granted(o, w.Host.Name) {
					return nil, ddns.ErrConflict
				}
				c.Mark = max(c.Mark, o.Mark) // a replay mark never goes back
			}
			kept[c.ID] = c
		}
	}
	byFingerprint := map[string]string{}
	for id, c := range kept {
		if c == nil || len(c.Fingerprint) == 0 {
			continue
		}
		if _, ok := byFingerprint[string(c.Fingerprint)]; ok {
			return nil, ddns.ErrSecretTaken
		}
		byFingerprint[string(c.Fingerprint)] = id
		holder, found, err := b.w.conn.queryText("select id from credentials where fingerprint = ?", c.Fingerprint)
		if err != nil {
			return nil, err
		}
		if _, touched := kept[holder]; found && holder != id && !touched {
			return nil, ddns.ErrSecretTaken
		}
	}
	return old, nil
}

// freeNames takes away the names that a host has no longer.
func (b *batch) freeNames(w *ddns.Write, e *entry) error {
	if e == nil || !namesChange(w, e) {
		return nil
	}
	var keep []dnsname.Name
	if !drops(w) {
		keep = w.Host.Names()
	}
	for _, n := range e.host.Names() {
		if !slices.Contains(keep, n) {
			if err := b.w.conn.run("delete from names where name = ?", n.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// saveHost writes one host that has been decided on, and its event.
func (b *batch) saveHost(w *ddns.Write, e *entry) error {
	c, h := b.w.conn, w.Host
	next := &entry{host: h}
	told := ddns.HostChange{After: h}
	b.touchZone(h.Zone)
	if e == nil {
		// Generations never restart for a name.
		went, _, err := c.queryInt("select generation from retired where name = ?", h.Name.String())
		if err != nil {
			return err
		}
		h.Generation += uint64(went)
		h.Published += uint64(went)
		w.Event.Generation += uint64(went)
		next.recent, next.chunks, next.applied = b.event(&w.Event), noChunks, b.w.backlog.last
		if err := insertHost(c, next); err != nil {
			return err
		}
		b.newHosts++
		// A credential may have been granted on the host before there was one.
		_, granted, err := c.queryInt("select 1 from grants where host = ? limit 1", h.Name.String())
		if err != nil {
			return err
		}
		next.complete = !granted
		b.put(h.Name, e, next)
	} else {
		told.Before = e.host
		b.touchZone(e.host.Zone)
		mergeNoted(h, e.host)
		*next = *e
		next.host = h
		if drops(w) {
			b.changes = append(b.changes, told)
			return b.drop(h.Name, e, h)
		}
		next.changes = append(slices.Clip(e.changes), change{b.id, w.Event.Generation, b.event(&w.Event)})
		// What the tables say of names and credentials, a host's row says too.
		keep := b.keep
		if namesChange(w, e) || len(w.Credentials)+len(w.Revoked) > 0 || !slices.Equal(e.host.Credentials, h.Credentials) {
			keep = b.bring
		}
		if err := keep(e, next); err != nil {
			return err
		}
	}
	if namesChange(w, e) {
		if err := b.takeNames(h, e, next.id); err != nil {
			return err
		}
	}
	b.changes = append(b.changes, told)
	return nil
}

// mergeNoted keeps in next what was noted of the host since next was decided.
func mergeNoted(next, now *ddns.Host) {
	if now.Published > next.Published {
		next.Published, next.Shown = now.Published, now.Shown
	}
	if now.Seen.After(next.Seen) {
		next.Seen = now.Seen
	}
	next.Refusals = max(next.Refusals, now.Refusals)
}

func (b *batch) takeNames(h *ddns.Host, e *entry, id int64) error {
	var had []dnsname.Name
	if e != nil {
		had = e.host.Names()
	}
	for i, n := range h.Names() {
		if slices.Contains(had, n) {
			continue
		}
		kind := kindFollower
		switch {
		case i == 0:
			kind = kindHost
		case i == 1 && h.Wildcard:
			kind = kindWildcard
		}
		if err := b.w.conn.run("insert into names values (?, ?, ?)", n.String(), id, kind); err != nil {
			return err
		}
	}
	return nil
}

// Kinds of names.
const (
	kindHost     = "host"
	kindWildcard = "wildcard"
	kindFollower = "follower"
)

// drop takes a removed host's row away, with all that belongs to it; its last
// generation stays.
func (b *batch) drop(name dnsname.Name, e *entry, last *ddns.Host) error {
	c, text := b.w.conn, name.String()
	left := *e // a credential may go on without the host
	for _, err := range []error{
		putMarks(c, &left),
		c.run("delete from hosts where id = ?", e.id),
		c.run("delete from names where host = ?", e.id),
		dropEvents(c, e),
		c.run("insert into retired values (?, ?) on conflict (name) do update set generation = excluded.generation", text, int64(last.Generation)),
	} {
		if err != nil {
			return err
		}
	}
	b.newHosts--
	b.put(name, e, &entry{id: e.id, host: last, gone: true})
	return nil
}

// saveCredentials adds, replaces and revokes.
func (b *batch) saveCredentials(writes []ddns.Write, old map[string]*ddns.Credential) error {
	c := b.w.conn
	for i := range writes {
		for _, id := range writes[i].Revoked {
			if o := old[id]; o != nil {
				if err := dropCredential(c, o); err != nil {
					return err
				}
				old[id] = nil
				b.newCredentials--
				b.credentialChanged(o, nil)
			}
		}
	}
	for i := range writes {
		for _, cred := range writes[i].Credentials {
			if err := putCredential(c, old[cred.ID], cred); err != nil {
				return err
			}
			if old[cred.ID] == nil {
				b.newCredentials++
			}
			b.credentialChanged(old[cred.ID], cred)
			old[cred.ID] = cred // two writes of one save may both carry it
		}
	}
	return nil
}

// credentialChanged brings a credential into the entries of all hosts that it
// is or was granted on, as far as they are at hand.
func (b *batch) credentialChanged(old, now *ddns.Credential) {
	var hosts []dnsname.Name
	for _, c := range []*ddns.Credential{old, now} {
		if c != nil {
			for _, g := range c.Grants {
				if !slices.Contains(hosts, g.Host) {
					hosts = append(hosts, g.Host)
				}
			}
		}
	}
	for _, name := range hosts {
		e := b.hosts[name]
		if e == nil {
			if e, _ = b.w.s.cache.get(name); e == nil {
				// Somebody may be reading it, the credential as it was: that must
				// not come into the cache.
				b.forget(name)
				continue
			}
		}
		if e.gone || !e.complete {
			continue
		}
		next := *e
		creds := slices.DeleteFunc(slices.Clone(e.creds), func(c *ddns.Credential) bool {
			return old != nil && c.ID == old.ID || now != nil && c.ID == now.ID
		})
		if granted(now, name) {
			creds = append(creds, now)
			sortCredentials(creds)
		}
		next.withCreds(creds)
		// Its row has been written or is gone.
		next.marks = slices.DeleteFunc(slices.Clone(e.marks), func(m mark) bool {
			return old != nil && m.credential == old.ID || now != nil && m.credential == now.ID
		})
		b.put(name, e, &next)
	}
}

// forget has readers look for a host again.
func (b *batch) forget(name dnsname.Name) {
	if _, ok := b.hosts[name]; ok {
		return
	}
	b.room()
	b.hosts[name] = nil
}

// markOf is the credential whose replay mark t moves, nil if it moves none. It
// is ErrConflict if the mark would not advance.
func (b *batch) markOf(host dnsname.Name, t ddns.Touch) (*ddns.Credential, error) {
	if t.Credential == "" {
		return nil, nil
	}
	e, err := b.load(host)
	if err != nil {
		return nil, err
	}
	var c *ddns.Credential
	if e != nil && e.complete {
		c = e.credential(t.Credential)
	} else if c, err = b.credential(t.Credential); err != nil {
		return nil, err
	}
	if !granted(c, host) || t.Mark <= c.Mark {
		return nil, ddns.ErrConflict
	}
	return c, nil
}

func (b *batch) moveMark(host dnsname.Name, t ddns.Touch) error {
	old, err := b.markOf(host, t)
	if old == nil || err != nil {
		return err
	}
	now := *old
	now.Mark = t.Mark
	e, err := b.load(host)
	if err != nil {
		return err
	}
	if e != nil && e.complete && len(now.Grants) == 1 {
		// With the host, whose row of the log is written for its change anyway.
		next := *e
		next.creds = slices.Clone(e.creds) // the same in size and order
		next.creds[slices.Index(e.creds, old)] = &now
		next.marks = slices.DeleteFunc(slices.Clone(e.marks), func(m mark) bool { return m.credential == now.ID })
		next.marks = append(next.marks, mark{now.ID, now.Mark})
		return b.keep(e, &next)
	}
	if err := setMark(b.w.conn, &now); err != nil {
		return err
	}
	b.wrote = true
	b.credentialChanged(old, &now)
	return nil
}

// Touch notes what is not a change of a host. Seen only moves forward; that it
// would not is no conflict.
func (s *Store) Touch(ctx context.Context, name dnsname.Name, generation uint64, t ddns.Touch) error {
	t.Seen = stored(t.Seen)
	return s.write(ctx, func(b *batch) error {
		e, err := b.load(name)
		switch {
		case err != nil:
			return err
		case e == nil:
			return ddns.ErrNoHost
		case e.host.Generation != generation:
			return ddns.ErrConflict
		}
		if err := b.moveMark(name, t); err != nil {
			return err
		}
		if at := b.hosts[name]; at != nil {
			e = at
		}
		if !t.Seen.After(e.host.Seen) {
			return nil
		}
		return b.rewrite(e, func(h *ddns.Host) { h.Seen = t.Seen })
	})
}

// rewrite changes a host without a change of generation.
func (b *batch) rewrite(e *entry, edit func(*ddns.Host)) error {
	next := *e
	next.host = e.host.Clone()
	edit(next.host)
	return b.keep(e, &next)
}

// Refused counts n refusals of a host and records the newest.
func (s *Store) Refused(ctx context.Context, name dnsname.Name, event ddns.Event, n uint64) error {
	if n == 0 {
		return nil
	}
	return s.write(ctx, func(b *batch) error {
		e, err := b.load(name)
		if err != nil || e == nil {
			return err
		}
		// A refusal is placed in the history by the host's generation now.
		event.Generation = e.host.Generation
		if err := b.rewrite(e, func(h *ddns.Host) { h.Refusals += n }); err != nil {
			return err
		}
		return putRefusal(b.w.conn, e.id, &event, e.host.Refusals+n)
	})
}

// Note records that DNS is known to show the host as it was at this generation.
// It returns the generation that the host is at.
func (s *Store) Note(ctx context.Context, name dnsname.Name, generation uint64, shown []ddns.RRset) (uint64, error) {
	var latest uint64
	err := s.write(ctx, func(b *batch) error {
		e, err := b.load(name)
		if e != nil {
			latest = e.host.Generation
		}
		switch {
		case err != nil:
			return err
		case e == nil:
			return ddns.ErrNoHost
		case generation > e.host.Generation:
			return &invalidError{fmt.Sprintf("note: %s has not come to generation %d yet", name, generation)}
		case generation < e.host.Published:
			return nil
		case e.host.Removed && generation == e.host.Generation:
			return b.drop(name, e, e.host)
		case generation == e.host.Published && sameShown(shown, e.host.Shown):
			return nil
		}
		return b.rewrite(e, func(h *ddns.Host) { h.Published, h.Shown = generation, shown })
	})
	if err != nil { // the batch may still be at work
		return 0, err
	}
	return latest, nil
}
