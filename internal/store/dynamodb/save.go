package dynamodb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Save is [ddns.Store]'s. An update of one host that touches no name and no
// credential is one conditional write; all else is a transaction.
func (s *Store) Save(ctx context.Context, writes ...ddns.Write) error {
	seen := make(map[dnsname.Name]bool, len(writes))
	for _, w := range writes {
		before := uint64(0)
		if w.Before != nil {
			before = w.Before.Generation
		}
		if w.Host.Generation != before+1 {
			return fmt.Errorf("save %s: generation %d does not follow %d", w.Host.Name, w.Host.Generation, before)
		}
		if seen[w.Host.Name] {
			return fmt.Errorf("save %s: it is written twice at once", w.Host.Name)
		}
		seen[w.Host.Name] = true
		normalize(w.Host)
	}
	if len(writes) == 0 {
		return nil
	}
	if w := writes[0]; len(writes) == 1 && w.Before != nil && len(w.Credentials)+len(w.Revoked) == 0 && !dropped(w.Host) {
		done, err := s.accept(ctx, w)
		if done || err != nil {
			return err
		}
	}
	return s.saveAll(ctx, writes)
}

// normalize makes a host's times those that will be read back.
func normalize(h *ddns.Host) {
	h.Created, h.ChangedAt = fromMicros(micros(h.Created)), fromMicros(micros(h.ChangedAt))
	h.Seen, h.Busy, h.Ends = fromMicros(micros(h.Seen)), fromMicros(micros(h.Busy)), fromMicros(micros(h.Ends))
	h.Lease -= h.Lease % 1000
	for i := range h.TXT {
		h.TXT[i].Time = fromMicros(micros(h.TXT[i].Time))
	}
}

// dropped tells whether a host goes with the write, because DNS is empty of it
// by construction.
func dropped(h *ddns.Host) bool { return h.Removed && h.Published == h.Generation }

// merge takes over what Note, Touch and Refused wrote meanwhile: it is no change
// of generation and must not be lost.
func merge(h, now *ddns.Host) {
	if now.Published > h.Published {
		h.Published, h.Shown = now.Published, now.Shown
	}
	if now.Seen.After(h.Seen) {
		h.Seen = now.Seen
	}
	h.Refusals = max(h.Refusals, now.Refusals)
}

// accept makes one change of one host. done is false if it takes a transaction.
func (s *Store) accept(ctx context.Context, w ddns.Write) (done bool, err error) {
	base, _ := w.Before.Row.(*row)
	if base == nil || base.gen != w.Before.Generation || base.host.Name != w.Host.Name {
		if base, err = s.find(ctx, w.Host.Name); err != nil {
			return true, err
		}
		if base == nil || base.gone || base.gen != w.Before.Generation {
			return true, ddns.ErrConflict
		}
	}
	if was := base.host; base.first && w.Touch.Credential != "" || !sameNames(was, w.Host) || w.Host.SeedOff != was.SeedOff || w.Host.Removed != was.Removed {
		return false, nil
	}
	h := w.Host
	merge(h, base.host)
	event := string(appendEvent(make([]byte, 0, 256), &w.Event, rand.Uint64()))
	for range 4 {
		next, err := s.dataOf(h, base, base.data.secret)
		if err != nil {
			return true, err
		}
		o := newOp("Update", base.key)
		o.name("#d", attrData)
		o.only("attribute_exists(hostname)") // else a name that is not there would get a row
		change(o, h, base, next, event)
		if w.Touch.Credential != "" {
			moveMark(o, w.Touch)
		}
		if base.first {
			o.setRaw(attrCreds, appendCredentials(nil, base.creds, base.owned))
		}
		err = s.update(ctx, o, true)
		if err == nil {
			h.Row = &row{key: base.key, data: next, gen: h.Generation, owned: base.owned, host: h, creds: marked(base.creds, w.Touch)}
			return true, nil
		}
		item, failed := failedItem(err)
		if !failed {
			return true, err
		}
		if item == nil {
			return true, ddns.ErrConflict
		}
		now, decodeErr := s.decode(item)
		switch {
		case decodeErr != nil:
			return true, decodeErr
		case now.gone:
			return true, ddns.ErrConflict
		case unknown(err) && now.gen == h.Generation && eventAt(item, now.gen) == event:
			// An attempt whose answer was lost has made it.
			merge(h, now.host)
			h.Row = now
			return true, nil
		case now.gen != base.gen || now.first != base.first || now.data.text != base.data.text, !advances(now, w.Touch):
			return true, ddns.ErrConflict
		}
		base = now
		merge(h, base.host)
	}
	return true, ddns.ErrConflict
}

// moveMark moves a credential's replay mark, if it advances.
func moveMark(o *op, t ddns.Touch) {
	o.name("#c", t.Credential)
	o.name("#m", "mark")
	value := o.put()
	o.values.b = appendN(o.values.b, t.Mark)
	o.only("gw_creds.#c.#m<" + value)
	o.assign("gw_creds.#c.#m", value)
}

// advances tells whether a touch would move the mark that it names.
func advances(r *row, t ddns.Touch) bool {
	mark, ok := markOf(r, t.Credential)
	return t.Credential == "" || ok && mark < t.Mark
}

// marked are the credentials after a touch.
func marked(creds []*ddns.Credential, t ddns.Touch) []*ddns.Credential {
	if t.Credential == "" {
		return creds
	}
	out := slices.Clone(creds)
	for i, c := range out {
		if c.ID == t.Credential {
			held := *c
			held.Mark = t.Mark
			out[i] = &held
		}
	}
	return out
}

// eventAt is the text of a generation's event in an item.
func eventAt(item *node, generation uint64) string {
	list, _ := item.member(attrLog).list()
	if i := slot(generation); i < len(list) {
		text, _ := list[i].str()
		return text
	}
	return ""
}

// sameNames tells whether two states of a host have the same owner names.
func sameNames(a, b *ddns.Host) bool {
	return a.Wildcard == b.Wildcard && slices.EqualFunc(a.Followers, b.Followers, func(x, y ddns.Follower) bool { return x.Name == y.Name })
}

// dataOf is the seed's text for a host's new state.
func (s *Store) dataOf(h *ddns.Host, base *row, secret string) (data, error) {
	var old data
	zone := ""
	if base != nil {
		old = base.data
		if base.host != nil && base.host.Zone == h.Zone {
			zone = old.zone
		}
	}
	if zone == "" {
		if zone = s.Zones[h.Zone]; zone == "" {
			return data{}, fmt.Errorf("save %s: the hosted zone of %s is not known: add it with godwit aws deploy --zone %[2]s", h.Name, h.Zone)
		}
	}
	return old.with(zone, h.TTL, secret), nil
}

// change writes what differs between a row and its host's next state, on the
// condition that the row is still as it was. What others write without a change
// of generation is compared by itself.
func change(o *op, h *ddns.Host, base *row, next data, event string) {
	was := base.host
	o.onlyIs("#d", string(appendS(nil, base.data.text)))
	if base.first {
		o.only("attribute_not_exists(gw_gen)")
		o.setN(attrV, layoutVersion)
		o.setRaw(attrLog, appendLog(nil, h.Generation, event))
	} else {
		o.onlyIs(attrGen, string(appendN(nil, int64(base.gen))))
		o.setS("gw_log["+strconv.Itoa(slot(h.Generation))+"]", event)
	}
	o.setN(attrGen, int64(h.Generation))
	o.setN(attrAt, micros(h.ChangedAt))
	o.setS(attrBy, h.ChangedBy)
	if next.text != base.data.text {
		o.setS("#d", next.text)
	}
	if base.first || !slices.Equal(h.A, was.A) {
		o.setRaw(attrA, appendList(nil, h.A, appendAddr))
	}
	if base.first || !slices.Equal(h.AAAA, was.AAAA) {
		o.setRaw(attrAAAA, appendList(nil, h.AAAA, appendAddr))
	}
	optional := func(path string, same, has bool, write func([]byte) []byte) {
		switch {
		case same:
		case has:
			o.setRaw(path, write(nil))
		default:
			o.drop(path)
		}
	}
	optional(attrPrefix, h.Prefix == was.Prefix, h.Prefix.IsValid(), func(b []byte) []byte { return appendS(b, h.Prefix.String()) })
	optional(attrTXT, slices.Equal(h.TXT, was.TXT), len(h.TXT) > 0, func(b []byte) []byte { return appendTXT(b, h.TXT) })
	optional(attrFollow, slices.Equal(h.Followers, was.Followers), len(h.Followers) > 0, func(b []byte) []byte { return appendFollowers(b, h.Followers) })
	optional(attrBusy, h.Busy.Equal(was.Busy), !h.Busy.IsZero(), func(b []byte) []byte { return appendN(b, micros(h.Busy)) })
	if base.first || !sameOpts(h, was) {
		o.setRaw(attrOpts, appendOpts(nil, h))
	}
	due, wasDue := h.NextDue(), was.NextDue()
	optional(attrNext, due.Equal(wasDue), !due.IsZero(), func(b []byte) []byte { return appendN(b, micros(due)) })
	if h.Published < h.Generation {
		// The time of the first change that is unpublished: it says how long DNS
		// has been behind, and keeps the host's place in the index.
		name := o.put()
		o.values.b = appendN(o.values.b, micros(h.ChangedAt))
		o.assign(attrDue, "if_not_exists(gw_due,"+name+")")
	} else {
		o.drop(attrDue)
	}
	if base.first || h.Published != was.Published {
		o.setN(attrPub, int64(h.Published))
		o.setRaw(attrShown, appendShown(nil, h.Shown))
		if !base.first {
			o.onlyIs(attrPub, string(appendN(nil, int64(was.Published))))
		}
	}
	if !h.Seen.Equal(was.Seen) {
		o.setN(attrSeen, micros(h.Seen))
		o.onlyIs(attrSeen, timeValue(was))
	}
	if h.Refusals != was.Refusals {
		if was.Refusals == 0 {
			o.only("attribute_not_exists(gw_refused)")
			o.setRaw(attrRefuse, appendRefused(nil, int64(h.Refusals)))
		} else {
			o.onlyIs("gw_refused.n", string(appendN(nil, int64(was.Refusals))))
			o.setN("gw_refused.n", int64(h.Refusals))
		}
	}
}

// timeValue is a host's last sign of life as it stands in the item; "": it does not.
func timeValue(h *ddns.Host) string {
	if h.Seen.IsZero() {
		return ""
	}
	return string(appendN(nil, micros(h.Seen)))
}

func appendRefused(dst []byte, n int64) []byte {
	o := openObject(dst, `{"M":{`)
	o.n("n", n)
	return append(o.b, "}}"...)
}

// create writes the whole item of a new host.
func create(h *ddns.Host, key string, d data, creds []*ddns.Credential, owned, event string) []byte {
	o := openObject(make([]byte, 0, 2048), "{")
	o.s(attrKey, key)
	o.s(attrData, d.text)
	o.n(attrV, layoutVersion)
	o.n(attrGen, int64(h.Generation))
	o.n(attrPub, int64(h.Published))
	if h.Published < h.Generation {
		o.n(attrDue, micros(h.ChangedAt))
	}
	if due := h.NextDue(); !due.IsZero() {
		o.n(attrNext, micros(due))
	}
	o.key(attrShown)
	o.b = appendShown(o.b, h.Shown)
	o.key(attrA)
	o.b = appendList(o.b, h.A, appendAddr)
	o.key(attrAAAA)
	o.b = appendList(o.b, h.AAAA, appendAddr)
	if h.Prefix.IsValid() {
		o.s(attrPrefix, h.Prefix.String())
	}
	if len(h.TXT) > 0 {
		o.key(attrTXT)
		o.b = appendTXT(o.b, h.TXT)
	}
	if len(h.Followers) > 0 {
		o.key(attrFollow)
		o.b = appendFollowers(o.b, h.Followers)
	}
	o.key(attrCreds)
	o.b = appendCredentials(o.b, creds, owned)
	o.key(attrOpts)
	o.b = appendOpts(o.b, h)
	o.n(attrAt, micros(h.ChangedAt))
	o.s(attrBy, h.ChangedBy)
	if !h.Seen.IsZero() {
		o.n(attrSeen, micros(h.Seen))
	}
	if !h.Busy.IsZero() {
		o.n(attrBusy, micros(h.Busy))
	}
	o.key(attrLog)
	o.b = appendLog(o.b, h.Generation, event)
	if h.Refusals > 0 {
		o.key(attrRefuse)
		o.b = appendRefused(o.b, int64(h.Refusals))
	}
	return append(o.b, '}')
}

// ourAttributes are all that a row loses when its host goes.
var ourAttributes = []string{attrDue, attrNext, attrPub, attrShown, attrA, attrAAAA, attrPrefix, attrTXT, attrFollow, attrCreds, attrOpts, attrAt, attrBy,
	attrSeen, attrBusy, attrLog, attrRefuse}

// bury leaves nothing of a row but the generation that its host had come to.
// Nothing is deleted: generations never restart for a name, and the function has
// no right to delete.
func bury(o *op, generation uint64) {
	o.drop("#d") // the name is the caller's to give
	for _, a := range ourAttributes {
		o.drop(a)
	}
	o.setN(attrV, layoutVersion)
	o.setN(attrGen, int64(generation))
	o.setRaw(attrGone, []byte(avTrue))
}
