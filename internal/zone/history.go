package zone

import (
	"bytes"
	"iter"
	"slices"
)

// History bounds what a zone remembers of its past, so that secondaries can be
// told of what changed (RFC 1995 section 5).
type History struct {
	Changes int // hosts that changed, over all serials
	Octets  int // memory, about
}

// history is the past of a zone: for each serial, what led away from it.
type history struct {
	limit   History
	steps   []step // oldest first, without a gap up to the present serial
	changes int    // of steps
	octets  int
	// pending are changes that no serial stands for yet.
	pending       []change
	pendingOctets int
	overflowed    bool // pending had more than fits, and is not whole
}

// A step is what became of the zone between the serial from and the next one.
type step struct {
	from    uint32
	changes []change
	octets  int
}

// A change is what one name showed before and after, as a bucket has it, without
// generation and children; nil: nothing. Changes are never written to.
type change struct {
	rel           string
	before, after []byte
}

// changeOverhead is about what a change or a step takes beside its octets.
const changeOverhead = 96

// KeepHistory makes the zone remember, from its present serial on. Without it
// [Zone.Since] knows the present serial alone.
func (z *Zone) KeepHistory(limit History) { z.history = &history{limit: limit} }

// shown is what of a host is seen in DNS, in the form that buckets have.
func (h *host) shown() []byte {
	seen := host{ttl: h.ttl, a: h.a, aaaa: h.aaaa, txt: h.txt, challenge: h.challenge}
	return seen.store(nil)
}

// note remembers that a name is about to change.
func (h *history) note(rel []byte, old, next *host) {
	if h == nil || h.overflowed {
		return
	}
	before, after := old.shown(), next.shown()
	if bytes.Equal(before, after) {
		return
	}
	h.pending = append(h.pending, change{string(rel), before, after})
	h.pendingOctets += len(rel) + len(before) + len(after) + changeOverhead
	if h.pendingOctets > h.limit.Octets || len(h.pending) > h.limit.Changes {
		h.overflowed = true
		h.pending, h.pendingOctets = nil, 0
	}
}

// seal makes of what is pending the step between two serials.
func (h *history) seal(from, to uint32) {
	if h == nil || from == to {
		return
	}
	if h.overflowed {
		h.steps, h.changes, h.octets, h.overflowed = nil, 0, 0, false
		return
	}
	s := step{from, h.pending, h.pendingOctets + changeOverhead}
	h.steps = append(h.steps, s)
	h.changes += len(s.changes)
	h.octets += s.octets
	h.pending, h.pendingOctets = nil, 0
	drop := 0
	for h.changes > h.limit.Changes || h.octets > h.limit.Octets {
		h.changes -= len(h.steps[drop].changes)
		h.octets -= h.steps[drop].octets
		drop++
	}
	h.steps = h.steps[drop:] // not cleared: somebody may be reading them
}

// since returns the steps from a serial on; false if the history does not reach it.
func (h *history) since(serial uint32) ([]step, bool) {
	if h == nil {
		return nil, false
	}
	for i := len(h.steps) - 1; i >= 0; i-- {
		if h.steps[i].from == serial {
			return h.steps[i:], true
		}
	}
	return nil, false
}

// A Difference is what became of a zone between two serials, condensed into one
// step (RFC 1995 section 6). It does not change.
type Difference struct {
	zone     *Zone
	From, To uint32
	changes  func() []change // one for each name
}

// condense makes one change for each name.
func condense(steps []step) []change {
	at := make(map[string]int)
	var out []change
	for _, s := range steps {
		for _, c := range s.changes {
			if i, ok := at[c.rel]; ok {
				out[i].after = c.after
				continue
			}
			at[c.rel] = len(out)
			out = append(out, c)
		}
	}
	return slices.DeleteFunc(out, func(c change) bool { return bytes.Equal(c.before, c.after) })
}

// Removed yields the records that are gone, those of an RRset together. What is
// yielded holds until the next one.
func (d *Difference) Removed() iter.Seq[RRset] {
	return d.compare(func(c change) (have, other []byte) { return c.before, c.after })
}

// Added yields the records that came, in the manner of [Difference.Removed].
func (d *Difference) Added() iter.Seq[RRset] {
	return d.compare(func(c change) (have, other []byte) { return c.after, c.before })
}

// compare yields the records of one side of each change that the other side lacks.
func (d *Difference) compare(sides func(change) (have, other []byte)) iter.Seq[RRset] {
	return func(yield func(RRset) bool) {
		var left, right setsOf
		for _, c := range d.changes() {
			node := d.zone.static[c.rel]
			have, other := sides(c)
			left.fill(d.zone, c.rel, node, readHost(have))
			right.fill(d.zone, c.rel, node, readHost(other))
			for _, s := range left.dynamic() {
				twin := right.of(s.Type)
				if twin != nil && twin.TTL == s.TTL {
					s.Data = slices.DeleteFunc(s.Data, func(data []byte) bool {
						return slices.ContainsFunc(twin.Data, func(d []byte) bool { return bytes.Equal(d, data) })
					})
				}
				if len(s.Data) > 0 && !yield(s) {
					return
				}
			}
		}
	}
}
