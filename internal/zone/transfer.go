package zone

import (
	"iter"
	"sync"
)

// A Transfer is what a secondary gets: the whole zone (RFC 5936), a difference
// (RFC 1995), or only the news that there is none. It does not change.
type Transfer struct {
	zone *Zone
	// Serial is what the secondary has afterwards.
	Serial uint32
	cut    *Cut
	diff   *Difference
}

// Whole is a transfer of all of the zone. Nobody may change the zone meanwhile.
func (z *Zone) Whole() (*Transfer, error) {
	cut, err := z.Cut()
	if err != nil {
		return nil, err
	}
	return &Transfer{zone: z, Serial: cut.serial, cut: cut}, nil
}

// Since is a transfer for a secondary that has a serial: the difference, if the
// history reaches so far back and the zone is not signed, else the whole zone; nothing, if the serial is
// the present one or a later one (RFC 1995 section 2). Nobody may change the zone
// meanwhile.
func (z *Zone) Since(serial uint32) (*Transfer, error) {
	now := z.Serial()
	if int32(serial-now) >= 0 { // RFC 1982
		return &Transfer{zone: z, Serial: now}, nil
	}
	steps, ok := z.history.since(serial)
	if !ok || z.Secured() {
		return z.Whole()
	}
	// Not now, while changes wait.
	changes := sync.OnceValue(func() []change { return condense(steps) })
	return &Transfer{zone: z, Serial: now, diff: &Difference{zone: z, From: serial, To: now, changes: changes}}, nil
}

// Cut is the whole zone, nil if the transfer is not that.
func (t *Transfer) Cut() *Cut { return t.cut }

// Difference is what the transfer consists of, nil if it is not that.
func (t *Transfer) Difference() *Difference { return t.diff }

// RRsets yields the transfer's records in the order of the wire: between two SOA
// records the whole zone, or the records that are gone after the old SOA and those
// that came after the new one; or one SOA alone. What is yielded holds until the
// next one.
func (t *Transfer) RRsets() iter.Seq[RRset] {
	return func(yield func(RRset) bool) {
		soa := t.zone.soaSet(t.Serial)
		each := func(sets iter.Seq[RRset]) bool {
			for s := range sets {
				if !yield(s) {
					return false
				}
			}
			return true
		}
		switch {
		case !yield(soa):
		case t.cut != nil:
			_ = each(t.cut.RRsets()) && yield(soa)
		case t.diff != nil:
			_ = yield(t.zone.soaSet(t.diff.From)) && each(t.diff.Removed()) &&
				yield(soa) && each(t.diff.Added()) && yield(soa)
		}
	}
}
