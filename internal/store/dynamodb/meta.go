package dynamodb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// meta is what the item #meta says of the table.
type meta struct {
	adopted bool // the table was the reference's, so rows may have other keys
	pass    ddns.Pass
}

// metaLife is how long meta is taken for right.
const metaLife = 5 * time.Minute

// mode is whether the table was adopted, and whether that is known well enough.
func (s *Store) mode() (adopted, fresh bool) {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.adopted, !s.read.IsZero() && now.Sub(s.read).Abs() < metaLife
}

// setMeta takes over what #meta says; nil is that it says nothing.
func (s *Store) setMeta(item *node) (adopted bool, err error) {
	var m meta
	var d decoder
	if item != nil {
		for i := range item.kids {
			switch a := &item.kids[i]; a.name {
			case attrV:
				if v := d.n(a); v != layoutVersion {
					d.fail(a.name, fmt.Errorf("is %d; this program knows %d", v, layoutVersion))
				}
			case "adopted":
				m.adopted = a.yes()
			case "pass_cursor":
				m.pass.Cursor = d.s(a)
			case "pass_began":
				m.pass.Began = d.time(a)
			case "pass_completed":
				m.pass.Completed = d.time(a)
			}
		}
	}
	if d.err != nil {
		return false, &DamagedError{metaItem, d.err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta, s.read = m, s.Now()
	return m.adopted, nil
}

// isAdopted is mode's answer, asked for if it is not known.
func (s *Store) isAdopted(ctx context.Context) (bool, error) {
	if adopted, fresh := s.mode(); fresh {
		return adopted, nil
	}
	item, err := s.get(ctx, metaItem, "")
	if err != nil {
		return false, err
	}
	return s.setMeta(item)
}

// Pass is [ddns.PassKeeper]'s.
func (s *Store) Pass(ctx context.Context) (ddns.Pass, error) {
	item, err := s.get(ctx, metaItem, "")
	if err == nil {
		_, err = s.setMeta(item)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.pass, err
}

// SetPass is [ddns.PassKeeper]'s.
func (s *Store) SetPass(ctx context.Context, p ddns.Pass) error {
	o := newOp("Update", metaItem)
	o.setN(attrV, layoutVersion)
	o.setS("pass_cursor", p.Cursor)
	o.setN("pass_began", micros(p.Began))
	o.setN("pass_completed", micros(p.Completed))
	if err := s.update(ctx, o, true); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta.pass = p
	return nil
}

// Inspected is [ddns.PassKeeper]'s.
func (s *Store) Inspected(ctx context.Context) (time.Time, error) {
	if _, err := s.isAdopted(ctx); err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.pass.Completed, nil
}

// SetAdopted says in #meta whether the table was the reference's. It is for
// whoever sets the installation up.
func (s *Store) SetAdopted(ctx context.Context, adopted bool) error {
	o := newOp("Update", metaItem)
	o.setN(attrV, layoutVersion)
	o.setRaw("adopted", fmt.Appendf(nil, `{"BOOL":%t}`, adopted))
	if err := s.update(ctx, o, true); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = time.Time{} // read it again
	return nil
}

// Adopt gives every row whose key is spelled in another way than its host's
// canonical name an alias, under which updates find it, and returns how many it
// made. Rows with a trailing dot are found without one. It is for whoever sets
// the installation up, and again once a day while the reference's tools add
// rows; where the table was not adopted it does nothing.
func (s *Store) Adopt(ctx context.Context) (int, error) {
	adopted, err := s.isAdopted(ctx)
	if err != nil || !adopted {
		return 0, err
	}
	made := 0
	for cursor := ""; ; {
		items, next, err := s.scan(ctx, "", cursor, 1000, "hostname,#d", "attribute_exists(#d)", "", false)
		if err != nil {
			return made, err
		}
		for i := range items {
			key, _ := items[i].member(attrKey).str()
			name, err := canonical(key)
			switch {
			case strings.HasPrefix(key, ours):
				continue
			case err != nil:
				s.Log.Warn("an item's key is not a host name: it is left alone", "key", key, "err", err)
				continue
			case strings.TrimSuffix(key, ".") == name.String():
				continue
			}
			err = s.putAlias(ctx, name, key, func(o *op) { o.only("attribute_not_exists(hostname)") })
			if item, there := failedItem(err); there {
				// That it is this one or another: the first has the name, while there is
				// one. What is left of a host that is gone has it too.
				var has bool
				if has, err = s.hasName(ctx, item, name); has {
					continue
				}
				if err == nil {
					err = s.putAlias(ctx, name, key, func(o *op) {
						mark := ""
						if v := item.member(attrMark); v != nil {
							mark = v.raw
						}
						o.onlyIs("host", item.member("host").raw)
						o.onlyIs(attrMark, mark)
					})
				}
				if _, moved := failedItem(err); moved {
					continue
				}
			}
			if err != nil {
				return made, fmt.Errorf("make an alias for %s: %w", key, err)
			}
			made++
		}
		if cursor = next; cursor == "" {
			return made, nil
		}
	}
}

// putAlias makes an alias on a condition.
func (s *Store) putAlias(ctx context.Context, name dnsname.Name, key string, only func(*op)) error {
	o := newOp("Put", nameItem+name.String())
	item := openObject(nil, "{")
	item.s(attrKey, o.key)
	item.s("host", key)
	o.item = append(item.b, '}')
	only(o)
	_, err := s.call(ctx, "PutItem", append(o.write(s.open(), `"ALL_OLD"`).b, '}'), true)
	return err
}

// hasName tells whether there is something under the key in a #name# item that
// has the name, be it what is left of a host or what cannot be read.
func (s *Store) hasName(ctx context.Context, item *node, name dnsname.Name) (bool, error) {
	key, ok := item.member("host").str()
	if !ok {
		return true, nil // none of ours
	}
	at, err := s.get(ctx, key, hostAttributes)
	if err != nil || !isRow(at) {
		return false, err
	}
	r, err := s.decode(at)
	if err != nil || r.gone {
		return err != nil || isAlias(key, name), nil
	}
	return slices.Contains(r.host.Names(), name), nil
}
