package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// What is written without a change of generation: Touch, Refused and Note. Each
// is one conditional write in the ordinary case.

// amend makes conditional writes of a host's row until one succeeds. write
// prepares one on the row as it is, which is nil before the first look; it
// returns nil when there is nothing left to do. A write whose answer was lost is
// made again, so it must be one that may be.
func (s *Store) amend(ctx context.Context, name dnsname.Name, repeat bool, write func(now *row, lost bool) (*op, error)) error {
	key, now, lost := s.keyOf(name), (*row)(nil), false
	for range 8 {
		o, err := write(now, lost)
		if o == nil || err != nil {
			return err
		}
		o.key = key
		o.name("#d", attrData)
		o.only("attribute_exists(#d)") // else a name that is not there would get a row
		err = s.update(ctx, o, repeat)
		if err == nil {
			return nil
		}
		item, failed := failedItem(err)
		if !failed {
			return err
		}
		lost = unknown(err)
		if item == nil { // perhaps it has another key
			found, err := s.find(ctx, name)
			if err != nil {
				return err
			}
			if found == nil {
				return ddns.ErrNoHost
			}
			key, now = found.key, found
			continue
		}
		if now, err = s.decode(item); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s is written by too many at once: %w", name, ddns.ErrConflict)
}

// Touch is [ddns.Store]'s.
func (s *Store) Touch(ctx context.Context, name dnsname.Name, generation uint64, t ddns.Touch) error {
	t.Seen = fromMicros(micros(t.Seen))
	if t == (ddns.Touch{}) {
		h, _, err := s.Host(ctx, name)
		if err == nil && h.Generation != generation || errors.Is(err, ddns.ErrNoHost) {
			return ddns.ErrConflict
		}
		return err
	}
	err := s.amend(ctx, name, true, func(now *row, lost bool) (*op, error) {
		seen, next := t.Seen, time.Time{}
		o := newOp("Update", "")
		if now != nil {
			if now.gone || now.first || now.gen != generation {
				return nil, ddns.ErrConflict
			}
			if !seen.After(now.host.Seen) {
				seen = time.Time{}
			}
			if mark, ok := markOf(now, t.Credential); t.Credential != "" && (!ok || mark >= t.Mark) {
				if lost && ok && mark == t.Mark && seen.IsZero() {
					return nil, nil // an attempt whose answer was lost has made it
				}
				return nil, ddns.ErrConflict
			}
			if seen.IsZero() && t.Credential == "" {
				return nil, nil
			}
			if !seen.IsZero() {
				h := now.host.Clone()
				h.Seen = seen
				next = h.NextDue()
			}
		}
		o.onlyIs(attrGen, string(appendN(nil, int64(generation))))
		if !seen.IsZero() {
			o.setN(attrSeen, micros(seen))
			if now == nil {
				value := o.put()
				o.values.b = appendN(o.values.b, micros(seen))
				o.only("(attribute_not_exists(gw_seen) OR gw_seen<" + value + ")")
				// A lease moves on with it, and how long it is stands in the row.
				o.only("attribute_not_exists(gw_next)")
			} else {
				o.onlyIs(attrSeen, timeValue(now.host))
				if !next.IsZero() {
					o.setN(attrNext, micros(next))
				}
			}
		}
		if t.Credential != "" {
			moveMark(o, t)
		}
		return o, nil
	})
	if errors.Is(err, ddns.ErrNoHost) {
		return ddns.ErrConflict
	}
	return err
}

func markOf(r *row, id string) (int64, bool) {
	for _, c := range r.creds {
		if c.ID == id {
			return c.Mark, true
		}
	}
	return 0, false
}

// Refused is [ddns.Store]'s. It is no great loss if it is not written, so it is
// not repeated.
func (s *Store) Refused(ctx context.Context, name dnsname.Name, e ddns.Event, n uint64) error {
	if n == 0 {
		return nil
	}
	key := s.keyOf(name)
	for range 8 {
		item, err := s.get(ctx, key, "#d,gw_gen,gw_refused")
		if err != nil {
			return err
		}
		if !item.has(attrData) {
			r, err := s.find(ctx, name)
			if err != nil || r == nil || r.gone || r.key == key {
				return err
			}
			key = r.key
			continue
		}
		generation, _ := item.member(attrGen).integer()
		// A refusal is placed in the history by the host's generation now.
		e.Generation = uint64(max(generation, 0))
		o := newOp("Update", key)
		o.name("#d", attrData)
		o.only("attribute_exists(#d)")
		old := item.member(attrRefuse)
		if count := old.dict().member("n"); count != nil {
			o.onlyIs("gw_refused.n", count.raw)
		} else {
			o.only("attribute_not_exists(gw_refused)")
		}
		o.setRaw(attrRefuse, appendRefusal(old.dict(), &e, n))
		err = s.update(ctx, o, false)
		if _, failed := failedItem(err); !failed {
			return err
		}
	}
	return fmt.Errorf("%s is written by too many at once: %w", name, ddns.ErrConflict)
}

// appendRefusal adds n refusals and the newest of them to what is counted.
func appendRefusal(old *node, e *ddns.Event, n uint64) []byte {
	count := func(m *node, name string) int64 {
		i, _ := m.member(name).integer()
		return max(i, 0)
	}
	o := openObject(make([]byte, 0, 1024), `{"M":{`)
	o.n("n", count(old, "n")+int64(n))
	first := count(old, "first")
	if first == 0 {
		first = micros(e.Time)
	}
	o.n("first", first)
	o.n("last", micros(e.Time))
	codes := old.member("codes").dict()
	o.key("codes")
	m := openObject(o.b, `{"M":{`)
	if codes != nil {
		for i := range codes.kids {
			if c := &codes.kids[i]; c.name != e.Outcome {
				m.n(c.name, count(codes, c.name))
			}
		}
	}
	m.n(e.Outcome, count(codes, e.Outcome)+int64(n))
	o.b = append(m.b, "}}"...)
	list, _ := old.member("log").list()
	list = list[max(0, len(list)-ddns.MaxRefusals+1):]
	o.key("log")
	o.b = append(o.b, `{"L":[`...)
	for i := range list {
		o.b = append(append(o.b, list[i].raw...), ',')
	}
	o.b = appendS(o.b, string(appendEvent(nil, e, rand.Uint64())))
	return append(o.b, "]}}}"...)
}

// Note is [ddns.Store]'s.
func (s *Store) Note(ctx context.Context, name dnsname.Name, generation uint64, shown []ddns.RRset) (latest uint64, err error) {
	if generation == 0 {
		return 0, fmt.Errorf("note %s: nothing is published at generation 0", name)
	}
	latest = generation
	err = s.amend(ctx, name, true, func(now *row, lost bool) (*op, error) {
		o := newOp("Update", "")
		if now == nil {
			// The ordinary case: nothing has changed since, so nothing is due any more.
			o.onlyIs(attrGen, string(appendN(nil, int64(generation))))
			o.only("attribute_not_exists(gw_opts.removed)")
			o.setN(attrPub, int64(generation))
			o.setRaw(attrShown, appendShown(nil, shown))
			o.drop(attrDue)
			return o, nil
		}
		latest = now.gen
		switch {
		case now.gone && lost && now.gen == generation:
			return nil, nil // an attempt whose answer was lost has made it
		case now.gone:
			return nil, ddns.ErrNoHost
		case now.gen < generation:
			return nil, fmt.Errorf("note: %s has not come to generation %d yet", name, generation)
		case now.gen == generation && now.host.Removed:
			o.onlyIs(attrGen, genValue(now))
			bury(o, generation)
			return o, nil
		case now.host.Published >= generation:
			return nil, nil
		}
		// It has moved on: what DNS shows is known all the same, and it stays due.
		o.onlyIs(attrGen, genValue(now))
		o.onlyIs(attrPub, string(appendN(nil, int64(now.host.Published))))
		o.setN(attrPub, int64(generation))
		o.setRaw(attrShown, appendShown(nil, shown))
		return o, nil
	})
	if err != nil {
		return 0, err
	}
	return latest, nil
}

// keyOf is where a host's row was last found, or its name.
func (s *Store) keyOf(name dnsname.Name) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok := s.odd[name]; ok {
		return key
	}
	return name.String()
}

// maxOdd bounds the memory for rows with other keys.
const maxOdd = 10_000

// remember notes under which key a row was found, so that what follows a read
// need not look for it.
func (s *Store) remember(name dnsname.Name, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == name.String() {
		delete(s.odd, name)
		return
	}
	if s.odd == nil || len(s.odd) >= maxOdd {
		s.odd = map[dnsname.Name]string{}
	}
	s.odd[name] = key
}
