package zone

import (
	"iter"
	"maps"
	"slices"

	"godwit/internal/dnsname"
)

// All yields the owner and the type of each RRset, the SOA's not among them, in a
// fixed order.
func (r *Records) All() iter.Seq2[dnsname.Name, uint16] {
	return func(yield func(dnsname.Name, uint16) bool) {
		for _, rel := range slices.Sorted(maps.Keys(r.nodes)) {
			owner, _, err := dnsname.FromWire([]byte(rel + r.apex.Wire()))
			if err != nil {
				return // add took no such name
			}
			for _, s := range r.nodes[rel].sets {
				if !yield(owner, s.rrtype) {
					return
				}
			}
		}
	}
}
