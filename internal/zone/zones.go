package zone

import (
	"fmt"

	"codeberg.org/miekg/dns"
)

// Zones are the zones that one server answers for; a zone may lie inside of
// another one. Zones do not change: to add one, make new Zones. The nil *Zones
// holds none.
type Zones struct {
	byApex map[string]*Zone
}

// NewZones makes Zones, and each zone one of them: see [Zone.Answer]. Two of them
// with one apex is an error.
func NewZones(zones ...*Zone) (*Zones, error) {
	s := &Zones{byApex: make(map[string]*Zone, len(zones))}
	for _, z := range zones {
		if s.byApex[z.apex.Wire()] != nil {
			return nil, fmt.Errorf("zone %s is there twice; name it once", z.apex)
		}
		s.byApex[z.apex.Wire()] = z
	}
	for _, z := range zones {
		z.among.Store(&neighbours{zones: s, inside: z.inside(zones)})
	}
	return s, nil
}

// Find returns the zone that answers a question, nil if none does: the one with
// the longest apex that qname (lower case, wire form) is under. A question for
// DS at a zone's own apex is for the parent, if that is here and delegates to
// it (RFC 4035 section 3.1.4.1). Find allocates nothing.
func (s *Zones) Find(qname []byte, qtype uint16) *Zone {
	if s == nil {
		return nil
	}
	z := s.longest(qname)
	if qtype == dns.TypeDS && z != nil && len(qname) == len(z.suffix) && qname[0] != 0 {
		if above := s.longest(parent(qname)); above != nil && above.delegates(qname) {
			return above
		}
	}
	return z
}

func (s *Zones) longest(name []byte) *Zone {
	for {
		if z := s.byApex[string(name)]; z != nil {
			return z
		}
		if name[0] == 0 {
			return nil
		}
		name = parent(name)
	}
}

func (z *Zone) delegates(name []byte) bool {
	rel := z.relative(name)
	at, s := governor(z.static, rel)
	return s != nil && s.rrtype == dns.TypeNS && len(at) == len(rel)
}

// answersFor tells whether a question for name, lower case in wire form, is this
// zone's: name is at or below the apex, and in no zone inside of this one.
func (z *Zone) answersFor(name []byte) bool {
	if n := z.among.Load(); n != nil {
		return n.zones.longest(name) == z
	}
	return z.holds(name)
}

// neighbours is what a zone knows of those that it is served with.
type neighbours struct {
	zones *Zones
	// inside has the apexes of zones inside of this one and the names above them,
	// relative to its apex. They exist although this zone has no record there:
	// NXDOMAIN would deny what is below (RFC 8020).
	inside map[string]*node
}

func (z *Zone) inside(zones []*Zone) map[string]*node {
	var inside map[string]*node
	for _, other := range zones {
		if other == z || !other.apex.Under(z.apex) {
			continue
		}
		if inside == nil {
			inside = make(map[string]*node)
		}
		for rel := z.relative(other.suffix); len(rel) > 0; rel = parent(rel) {
			inside[string(rel)] = &node{}
		}
	}
	return inside
}
