package dynamodb

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// need reads the items that have not been read yet.
func (p *plan) need(ctx context.Context, keys ...string) error {
	var missing []string
	for _, k := range keys {
		if _, there := p.items[k]; !there && !slices.Contains(missing, k) {
			missing = append(missing, k)
		}
	}
	found, err := p.getAll(ctx, missing, "")
	if err != nil {
		return err
	}
	for _, k := range missing {
		p.items[k] = found[k]
	}
	return nil
}

// keys are those that must be read to know who has a name.
func (p *plan) keys(name dnsname.Name) []string {
	keys := keysOf(name)
	if !p.adopted {
		return []string{keys[0], keys[2]}
	}
	return keys
}

// rowOf is a host's row, or nil.
func (p *plan) rowOf(ctx context.Context, name dnsname.Name) (*row, error) {
	if err := p.need(ctx, p.keys(name)...); err != nil {
		return nil, err
	}
	if alias, ok := p.items[nameItem+name.String()].member("host").str(); ok && p.adopted {
		if err := p.need(ctx, alias); err != nil {
			return nil, err
		}
	}
	return p.pickFrom(name)
}

// pickFrom is Store.pick over what has been read.
func (p *plan) pickFrom(name dnsname.Name) (*row, error) {
	keys := keysOf(name)
	if alias, ok := p.items[keys[2]].member("host").str(); ok && p.adopted {
		if isAlias(alias, name) {
			keys[2] = alias
		}
	}
	if !p.adopted {
		keys = keys[:1]
	}
	for _, key := range keys {
		if item := p.items[key]; isRow(item) {
			return p.decode(item)
		}
	}
	return nil, nil
}

// owner is who has a name now: a host whose name it is, or one that shows it.
func (p *plan) owner(ctx context.Context, name dnsname.Name) (dnsname.Name, error) {
	r, err := p.rowOf(ctx, name)
	if err != nil || r != nil && !r.gone {
		return name, err
	}
	key, ok := p.items[nameItem+name.String()].member("host").str()
	if !ok {
		return dnsname.Name{}, nil
	}
	if err := p.need(ctx, key); err != nil || p.items[key] == nil {
		return dnsname.Name{}, err
	}
	by, err := p.decode(p.items[key])
	if err != nil || by.gone || !slices.Contains(by.host.Names(), name) {
		return dnsname.Name{}, err
	}
	return by.host.Name, nil
}

// names judges the owner names of the hosts that are written, and prepares the
// items that hold them.
func (p *plan) names(ctx context.Context) error {
	claimed, held := map[dnsname.Name]*target{}, map[dnsname.Name]bool{}
	for _, t := range p.order {
		if dropped(t.host) {
			continue
		}
		for _, n := range t.host.Names() {
			if claimed[n] != nil {
				return ddns.ErrNameTaken
			}
			claimed[n] = t
			by, err := p.owner(ctx, n)
			if err != nil {
				return err
			}
			if !by.IsZero() && by != t.name && p.targets[by] == nil {
				return ddns.ErrNameTaken
			}
			held[n] = !by.IsZero()
		}
	}
	for _, t := range p.order {
		if t.live() {
			for _, n := range t.row.host.Names()[1:] {
				if claimed[n] == nil {
					p.spare = append(p.spare, nameItem+n.String())
				}
			}
		}
	}
	if err := p.need(ctx, p.spare...); err != nil {
		return err
	}
	for _, key := range p.spare {
		p.one("Delete", key)
	}
	for n, t := range claimed {
		key := nameItem + n.String()
		switch {
		case n == t.name && t.live():
		case n == t.name:
			// Nobody may take the name for a follower meanwhile.
			if at, ok := p.items[key].member("host").str(); ok && !isAlias(at, n) {
				p.one("Delete", key)
			} else {
				p.one("ConditionCheck", key)
			}
		default:
			if t.live() && slices.Contains(t.row.host.Names(), n) {
				continue
			}
			o := p.one("Put", key)
			item := openObject(nil, "{")
			item.s(attrKey, key)
			item.s("host", t.key())
			// Who found it free because the host did not show it is to find another item.
			item.s(attrMark, strconv.FormatUint(rand.Uint64(), 36))
			o.item = append(item.b, '}')
			claim := []*op{o}
			// And nobody may take it for a host.
			if p.targets[n] != nil {
				continue // its own write sees to that
			}
			if at, ok := p.items[key].member("host").str(); ok && at == t.key() {
				continue // claimed: who makes it a host deletes the item
			}
			for _, k := range p.keys(n)[:len(p.keys(n))-1] {
				check := newOp("ConditionCheck", k)
				check.name("#d", attrData)
				check.only("attribute_not_exists(#d)")
				p.small[k] = check
				claim = append(claim, check)
			}
			if !held[n] { // else another host shows it until the transaction
				p.claims = append(p.claims, claim)
			}
		}
	}
	return nil
}

// isAlias tells whether a #name# item of a name says only under which key the
// host of that name was.
func isAlias(key string, name dnsname.Name) bool {
	at, err := canonical(key)
	return err == nil && at == name
}

// one prepares the write of an item that is no row, on the condition that it is
// as it was read. An item is written once in a transaction.
func (p *plan) one(kind, key string) *op {
	o := newOp(kind, key)
	item := p.items[key]
	if item == nil {
		o.only("attribute_not_exists(hostname)")
	}
	for _, a := range []string{"host", "hosts", "credential", attrMark} {
		if v := item.member(a); v != nil {
			o.onlyIs(a, v.raw)
		} else if a == attrMark && item != nil && strings.HasPrefix(key, nameItem) {
			o.onlyIs(a, "")
		}
	}
	p.small[key] = o
	return o
}

// fitsClaimed tells whether so many items would be few enough if the names that
// can be claimed were.
func (p *plan) fitsClaimed(items int) bool {
	for _, c := range p.claims {
		items -= len(c) - 1
	}
	return len(p.claims) > 0 && items <= maxTransaction
}

// claim takes names for their hosts before these have them, some at a time,
// because a name takes two or three of a transaction's items until it is
// claimed, and one from then on. Should the hosts not get them after all, the
// items say nothing: a name is free unless the host in its item shows it.
func (p *plan) claim(ctx context.Context) error {
	for chunk := range slices.Chunk(p.claims, maxTransaction/3) {
		if err := p.transact(ctx, slices.Concat(chunk...)); err != nil {
			return err
		}
	}
	return nil
}
