package dynamodb

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// saveAll makes writes that touch several items: it reads all of them, judges on
// what it has read as one machine would, and writes on the condition that all is
// as it was read. If something is not, it begins again.
func (s *Store) saveAll(ctx context.Context, writes []ddns.Write) error {
	var lost error // of a transaction whose answer was lost
	mark := rand.Uint64()
	for attempt := 1; ; attempt++ {
		p := &plan{Store: s, items: map[string]*node{}, targets: map[dnsname.Name]*target{}, small: map[string]*op{}, mark: mark}
		done, err := p.make(ctx, writes, lost != nil)
		if done || err != nil {
			return err
		}
		switch ops := p.ops(); {
		case len(ops) > maxTransaction && p.fitsClaimed(len(ops)):
			if err = p.claim(ctx); err == nil {
				err = errMoved // by us: begin again with the names claimed
			}
		default:
			if err = s.transact(ctx, ops); err == nil {
				p.finish()
				return nil
			}
		}
		if unknown(err) {
			lost = err
		} else if !errors.Is(err, errMoved) {
			return err
		}
		if attempt == 12 {
			return cmp.Or(lost, ddns.ErrConflict)
		}
		if wait := pause(ctx, attempt); wait != nil {
			return cmp.Or(lost, wait)
		}
	}
}

// plan is one attempt: what was read, and what is to be written.
type plan struct {
	*Store
	adopted bool
	mark    uint64           // of this Save, in the events that it writes
	items   map[string]*node // by key; nil: read, and not there
	targets map[dnsname.Name]*target
	order   []*target
	small   map[string]*op // of items that are no rows, by key
	claims  [][]*op        // of those, what gives a host one more name
	spare   []string       // keys of those that need not be written: the names are free without it
}

// target is one row and what becomes of it.
type target struct {
	name  dnsname.Name
	row   *row       // nil: there is none
	host  *ddns.Host // the state to be; the present one if only credentials change
	given *ddns.Host // of the Write; nil if only credentials change
	event string
	creds map[string]*ddns.Credential
	touch bool // its credentials change
	op    *op
}

func (t *target) live() bool { return t.row != nil && !t.row.gone }

// target is what is to become of a host's row, made at the first call.
func (p *plan) target(ctx context.Context, name dnsname.Name) (*target, error) {
	if t := p.targets[name]; t != nil {
		return t, nil
	}
	r, err := p.rowOf(ctx, name)
	if err != nil {
		return nil, err
	}
	t := &target{name: name, row: r, creds: map[string]*ddns.Credential{}}
	if t.live() {
		t.host = r.host
		for _, c := range r.creds {
			t.creds[c.ID] = c
		}
	}
	p.targets[name] = t
	p.order = append(p.order, t)
	return t, nil
}

// make judges the writes and prepares what they do. done tells that they have
// been made already, by an attempt whose answer was lost.
func (p *plan) make(ctx context.Context, writes []ddns.Write, lost bool) (done bool, err error) {
	if p.adopted, err = p.isAdopted(ctx); err != nil {
		return false, err
	}
	var keys []string
	for _, w := range writes {
		for _, n := range w.Host.Names() {
			keys = append(keys, p.keys(n)...)
		}
		for _, c := range w.Credentials {
			keys = append(keys, credItem+c.ID)
			if len(c.Fingerprint) > 0 {
				keys = append(keys, secretKey(c.Fingerprint))
			}
		}
		for _, id := range w.Revoked {
			keys = append(keys, credItem+id)
		}
	}
	if err := p.need(ctx, keys...); err != nil {
		return false, err
	}
	for i := range writes {
		if done, err = p.state(ctx, &writes[i], lost); done || err != nil {
			return done, err
		}
	}
	if err := p.names(ctx); err != nil {
		return false, err
	}
	if err := p.credentials(ctx, writes); err != nil {
		return false, err
	}
	return false, p.rows()
}

// state prepares a host's next state.
func (p *plan) state(ctx context.Context, w *ddns.Write, lost bool) (done bool, err error) {
	t, err := p.target(ctx, w.Host.Name)
	if err != nil {
		return false, err
	}
	h, event := w.Host.Clone(), w.Event
	if w.Before == nil && t.row != nil {
		base := t.row.gen
		if !t.row.gone { // then it may be this very write that made it
			base -= min(base, h.Generation)
		}
		h.Generation, h.Published, event.Generation = h.Generation+base, h.Published+base, event.Generation+base
	}
	text := string(appendEvent(nil, &event, p.mark))
	if lost && t.live() && t.row.gen == h.Generation && eventAt(t.row.item, h.Generation) == text {
		// One transaction made all writes: what holds for one holds for all.
		merge(h, t.row.host)
		h.Row = t.row
		*w.Host = *h
		return true, nil
	}
	if lost && t.row != nil && t.row.gone && dropped(h) && t.row.gen == h.Generation {
		return true, nil
	}
	switch {
	case w.Before == nil && t.live():
		return false, ddns.ErrNameTaken
	case w.Before != nil && (!t.live() || t.row.gen != w.Before.Generation):
		return false, ddns.ErrConflict
	}
	if t.live() {
		merge(h, t.row.host)
	}
	if id := w.Touch.Credential; id != "" {
		if !t.live() || !advances(t.row, w.Touch) {
			return false, ddns.ErrConflict
		}
		held := *t.creds[id]
		held.Mark = w.Touch.Mark
		t.creds[id], t.touch = &held, true
	}
	t.host, t.given, t.event = h, w.Host, text
	return false, nil
}

// finish tells the caller what was stored.
func (p *plan) finish() {
	for _, t := range p.order {
		if t.given != nil {
			t.host.Row = nil // to be read again
			*t.given = *t.host
		}
	}
}

// key is where a target's row is, or will be.
func (t *target) key() string {
	if t.live() {
		return t.row.key
	}
	return t.name.String()
}

func secretKey(fingerprint []byte) string { return secretItem + hex.EncodeToString(fingerprint) }

// copies are the copies of a credential in the rows of its hosts.
func (p *plan) copies(ctx context.Context, id string) (all []*ddns.Credential, hosts []dnsname.Name, err error) {
	if err := p.need(ctx, credItem+id); err != nil {
		return nil, nil, err
	}
	hosts = hostsOf(p.items[credItem+id])
	for _, t := range p.order { // and where it is although its item was lost
		if t.live() && !slices.Contains(hosts, t.name) {
			hosts = append(hosts, t.name)
		}
	}
	for _, n := range hosts {
		r, err := p.rowOf(ctx, n)
		if err != nil {
			return nil, nil, err
		}
		if r == nil || r.gone {
			continue
		}
		for _, c := range r.creds {
			if c.ID == id {
				all = append(all, c)
			}
		}
	}
	return all, hosts, nil
}

// credentials prepares what becomes of credentials, in the rows of all their hosts.
func (p *plan) credentials(ctx context.Context, writes []ddns.Write) error {
	touched := map[string]bool{} // their secrets are free for one another
	for _, w := range writes {
		for _, id := range w.Revoked {
			touched[id] = true
		}
		for _, c := range w.Credentials {
			touched[c.ID] = true
		}
	}
	prints := map[string]string{} // key of the #secret# item to the credential that is to have it
	free := map[string]bool{}     // those that are given up
	for _, w := range writes {
		for _, id := range w.Revoked {
			old, hosts, err := p.copies(ctx, id)
			if err != nil {
				return err
			}
			for _, n := range hosts {
				if err := p.take(ctx, n, id); err != nil {
					return err
				}
			}
			if p.items[credItem+id] != nil {
				p.one("Delete", credItem+id)
			}
			for _, c := range old {
				free[string(c.Fingerprint)] = len(c.Fingerprint) > 0
			}
		}
	}
	for _, w := range writes {
		for _, c := range w.Credentials {
			if err := p.credential(ctx, c, touched, prints, free); err != nil {
				return err
			}
		}
	}
	for f, given := range free {
		if key := secretKey([]byte(f)); given && prints[key] == "" {
			if err := p.need(ctx, key); err != nil {
				return err
			}
			if by, _ := p.items[key].member("credential").str(); touched[by] {
				p.one("Delete", key)
			}
		}
	}
	return nil
}

// take removes a credential from a host's row.
func (p *plan) take(ctx context.Context, host dnsname.Name, id string) error {
	t, err := p.target(ctx, host)
	if err == nil && t.creds[id] != nil {
		delete(t.creds, id)
		t.touch = true
	}
	return err
}

// credential prepares one that is added or replaced.
func (p *plan) credential(ctx context.Context, c *ddns.Credential, touched map[string]bool, prints map[string]string, free map[string]bool) error {
	old, hosts, err := p.copies(ctx, c.ID)
	if err != nil {
		return err
	}
	grants := func(n dnsname.Name) bool { _, ok := c.Grant(n); return ok }
	mark := c.Mark
	for _, o := range old {
		if !slices.ContainsFunc(o.Grants, func(g ddns.Grant) bool { return grants(g.Host) }) {
			return ddns.ErrConflict // another one has this ID by chance
		}
		mark = max(mark, o.Mark)
		if len(o.Fingerprint) > 0 && !bytes.Equal(o.Fingerprint, c.Fingerprint) {
			free[string(o.Fingerprint)] = true
		}
	}
	for _, n := range hosts {
		if !grants(n) {
			if err := p.take(ctx, n, c.ID); err != nil {
				return err
			}
		}
	}
	item := openObject(nil, "{")
	item.s(attrKey, credItem+c.ID)
	item.key("hosts")
	item.b = appendList(item.b, c.Grants, func(dst []byte, g ddns.Grant) []byte { return appendS(dst, g.Host.String()) })
	for _, g := range c.Grants {
		t, err := p.target(ctx, g.Host)
		if err != nil {
			return err
		}
		if t.host == nil {
			continue // there is no such host
		}
		held := *c
		held.Mark = mark
		held.Created, held.Expires = fromMicros(micros(c.Created)), fromMicros(micros(c.Expires))
		t.creds[c.ID], t.touch = &held, true
	}
	p.one("Put", credItem+c.ID).item = append(item.b, '}')
	if len(c.Fingerprint) == 0 {
		return nil
	}
	key := secretKey(c.Fingerprint)
	if by := prints[key]; by != "" && by != c.ID {
		return ddns.ErrSecretTaken
	}
	prints[key] = c.ID
	if err := p.need(ctx, key); err != nil {
		return err
	}
	if by, ok := p.items[key].member("credential").str(); ok && !touched[by] {
		others, _, err := p.copies(ctx, by)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(others, func(o *ddns.Credential) bool { return bytes.Equal(o.Fingerprint, c.Fingerprint) }) {
			return ddns.ErrSecretTaken
		}
	}
	secret := openObject(nil, "{")
	secret.s(attrKey, key)
	secret.s("credential", c.ID)
	p.one("Put", key).item = append(secret.b, '}')
	return nil
}

// rows prepares the writes of the hosts' own items.
func (p *plan) rows() error {
	for _, t := range p.order {
		if t.given == nil && !t.touch {
			continue
		}
		if err := p.row(t); err != nil {
			return err
		}
		delete(p.small, t.op.key) // its own condition is the stronger one
	}
	return nil
}

func (p *plan) row(t *target) error {
	if !t.live() {
		t.op = newOp("Put", t.key())
		if t.row == nil || t.row.key != t.op.key { // what is left of a row with a dot stays
			t.op.only("attribute_not_exists(hostname)")
		} else {
			t.op.onlyIs(attrGen, string(appendN(nil, int64(t.row.gen))))
			t.op.only("attribute_exists(gw_gone)")
		}
	} else {
		t.op = newOp("Update", t.key())
		t.op.only("attribute_exists(hostname)")
	}
	if dropped(t.host) {
		if !t.live() {
			tomb := openObject(nil, "{")
			tomb.s(attrKey, t.op.key)
			tomb.n(attrV, layoutVersion)
			tomb.n(attrGen, int64(t.host.Generation))
			tomb.flag(attrGone, true)
			t.op.item = append(tomb.b, '}')
			return nil
		}
		t.op.name("#d", attrData)
		t.op.onlyIs("#d", string(appendS(nil, t.row.data.text)))
		t.op.onlyIs(attrGen, genValue(t.row))
		bury(t.op, t.host.Generation)
		return nil
	}
	owned, secret := t.secret()
	next, err := p.dataOf(t.host, t.row, secret)
	if err != nil {
		return err
	}
	creds := slices.SortedFunc(maps.Values(t.creds), func(a, b *ddns.Credential) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	switch {
	case !t.live():
		t.op.item = create(t.host, t.op.key, next, creds, owned, t.event)
		return nil
	case t.given != nil:
		t.op.name("#d", attrData)
		change(t.op, t.host, t.row, next, t.event)
	case t.row.first:
		return fmt.Errorf("%s is as the reference's tools made it: run godwit host set %[1]s --ttl %d first", t.name, t.host.TTL)
	default:
		t.op.name("#d", attrData)
		t.op.onlyIs("#d", string(appendS(nil, t.row.data.text)))
		t.op.onlyIs(attrGen, genValue(t.row))
		if next.text != t.row.data.text {
			t.op.setS("#d", next.text)
		}
	}
	if t.row.first || t.touch {
		t.op.setRaw(attrCreds, appendCredentials(nil, creds, owned))
		// Marks move without a change of generation.
		was := ""
		if v := t.row.item.member(attrCreds); v != nil {
			was = v.raw
		}
		t.op.onlyIs(attrCreds, was)
	}
	return nil
}

// genValue is a row's generation as it stands in the item; "": it does not.
func genValue(r *row) string {
	if r.first {
		return ""
	}
	return string(appendN(nil, int64(r.gen)))
}

// secret is what stands in data: the secret of the newest credential that the
// seed's proof may be made with, or one that nobody knows.
func (t *target) secret() (owned, secret string) {
	if !t.host.SeedOff && !t.host.Removed {
		for _, id := range slices.Backward(t.host.Credentials) {
			if c := t.creds[id]; c != nil && mayOwn(c) {
				return id, string(c.Sealed)
			}
		}
	}
	if t.live() && t.row.owned == "" {
		return "", t.row.data.secret // nobody knows it already
	}
	return "", nobodys()
}

// ops are the writes of the transaction: all, or as many as it may have of those
// that need not be.
func (p *plan) ops() []*op {
	for len(p.spare) > 0 && len(p.order)+len(p.small) > maxTransaction {
		delete(p.small, p.spare[0])
		p.spare = p.spare[1:]
	}
	var ops []*op
	for _, t := range p.order {
		if t.op != nil {
			ops = append(ops, t.op)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.small)) {
		ops = append(ops, p.small[key])
	}
	return ops
}
