package zone

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"iter"

	"codeberg.org/miekg/dns"
)

// An RRset is records of one name and type, in wire form: names in lower case and
// not compressed.
type RRset struct {
	Owner []byte
	Type  uint16
	TTL   uint32 // seconds
	Data  [][]byte
}

// A Cut is all that a zone shows at one serial. The zone goes on changing beside
// it; the cut holds on to the memory of what it shows, which is at most that of a
// whole zone more. Any number of goroutines may read it.
type Cut struct {
	zone   *Zone
	serial uint32
	seed   maphash.Seed
	slots  []*bucket
	// secured is how the zone is signed; nil: it is not.
	secured *secured
}

// ErrUnsettled says that the zone has changes that no serial stands for yet.
var ErrUnsettled = errors.New("the zone has a change that its serial does not stand for yet; ask again in a moment")

// Cut takes a cut. Nobody may change the zone meanwhile, which is for as long as
// it takes to copy 8 octets for each 16 to 48 hosts.
func (z *Zone) Cut() (*Cut, error) {
	if z.history != nil && (len(z.history.pending) > 0 || z.history.overflowed) {
		return nil, ErrUnsettled
	}
	d := z.hosts.dir.Load()
	c := &Cut{zone: z, serial: z.Serial(), seed: z.hosts.seed, slots: make([]*bucket, len(d.slots)), secured: z.secured.Load()}
	for i := range d.slots {
		c.slots[i] = d.slots[i].Load()
	}
	return c, nil
}

// Serial is the SOA serial of the cut.
func (c *Cut) Serial() uint32 { return c.serial }

// SOA is the zone's SOA with that serial.
func (c *Cut) SOA() RRset { return c.zone.soaSet(c.serial) }

func (z *Zone) soaSet(serial uint32) RRset {
	data := append(append([]byte(nil), z.soa.mname...), z.soa.rname...)
	for _, v := range [...]uint32{serial, z.soa.refresh, z.soa.retry, z.soa.expire, z.soa.minimum} {
		data = binary.BigEndian.AppendUint32(data, v)
	}
	return RRset{z.suffix, dns.TypeSOA, z.soa.ttl, [][]byte{data}}
}

// RRsets yields every RRset but the SOA, glue too, those of one name together and
// the names in no order. Of a signed zone these are also the signatures, that of the
// SOA too, and NSEC records. What is yielded holds until the next one.
func (c *Cut) RRsets() iter.Seq[RRset] {
	if c.secured != nil {
		return c.signed
	}
	return func(yield func(RRset) bool) {
		var sets setsOf
		for rel, n := range c.zone.static {
			sets.fill(c.zone, rel, n, readHost(c.find([]byte(rel))))
			if !sets.yield(yield) {
				return
			}
		}
		for rel, value := range c.hosts() {
			if c.zone.static[string(rel)] != nil {
				continue
			}
			sets.fill(c.zone, string(rel), nil, readHost(value))
			if !sets.yield(yield) {
				return
			}
		}
	}
}

// hosts yields each name that hosts have, and what is stored there.
func (c *Cut) hosts() iter.Seq2[[]byte, []byte] {
	return func(yield func(rel, value []byte) bool) {
		for slot, p := range c.slots {
			// Slots share a bucket; it is read at the first of them.
			if p == nil || slot >= 1<<(*p)[0] {
				continue
			}
			b := *p
			n := b.count()
			for i := range n {
				e := b.entry(i, n)
				if !yield(e[1:1+e[0]], e[1+e[0]:]) {
					return
				}
			}
		}
	}
}

// find is hosts.find in the cut.
func (c *Cut) find(rel []byte) []byte {
	hash := maphash.Bytes(c.seed, rel)
	p := c.slots[hash&uint64(len(c.slots)-1)]
	if p == nil {
		return nil
	}
	i := p.index(byte(hash>>56), rel)
	if i < 0 {
		return nil
	}
	return p.entry(i, p.count())[1+len(rel):]
}

// setsOf are the RRsets of one name: of a host, and of the static node there. It
// is filled again and again.
type setsOf struct {
	owner  []byte
	sets   []RRset
	static int // sets from here on are not touched by what hosts do
}

func (s *setsOf) fill(z *Zone, rel string, n *node, h host) {
	s.owner = append(append(s.owner[:0], rel...), z.suffix...)
	s.sets = s.sets[:0]
	s.addresses(dns.TypeA, h.ttl, h.a, 4)
	s.addresses(dns.TypeAAAA, h.ttl, h.aaaa, 16)
	text := n.set(dns.TypeTXT)
	if text != nil || len(h.txt)+len(h.challenge) > 0 {
		set := s.next(dns.TypeTXT, h.ttl)
		if text != nil {
			set.Data = append(set.Data, text.rdata...)
			// As an answer has it: see Writer.both.
			if set.TTL = text.ttl; h.hasText() {
				set.TTL = min(h.ttl, text.ttl)
			}
		}
		for _, txt := range [...][]byte{h.txt, h.challenge} {
			for len(txt) > 0 {
				end := 2 + int(binary.BigEndian.Uint16(txt))
				set.Data = append(set.Data, txt[2:end])
				txt = txt[end:]
			}
		}
	}
	if s.static = len(s.sets); n == nil {
		return
	}
	for _, static := range n.sets {
		if static != text {
			set := s.next(static.rrtype, static.ttl)
			set.Data = append(set.Data, static.rdata...)
		}
	}
}

func (h *host) hasText() bool { return len(h.txt)+len(h.challenge) > 0 }

// next adds an empty set, in memory that was used before.
func (s *setsOf) next(rrtype uint16, ttl uint32) *RRset {
	if len(s.sets) < cap(s.sets) {
		s.sets = s.sets[:len(s.sets)+1]
	} else {
		s.sets = append(s.sets, RRset{})
	}
	set := &s.sets[len(s.sets)-1]
	set.Owner, set.Type, set.TTL, set.Data = s.owner, rrtype, ttl, set.Data[:0]
	return set
}

func (s *setsOf) addresses(rrtype uint16, ttl uint32, all []byte, size int) {
	if len(all) == 0 {
		return
	}
	set := s.next(rrtype, ttl)
	for ; len(all) > 0; all = all[size:] {
		set.Data = append(set.Data, all[:size])
	}
}

// dynamic are those of the sets that change with hosts.
func (s *setsOf) dynamic() []RRset { return s.sets[:s.static] }

func (s *setsOf) of(rrtype uint16) *RRset {
	for i := range s.sets {
		if s.sets[i].Type == rrtype {
			return &s.sets[i]
		}
	}
	return nil
}

func (s *setsOf) yield(yield func(RRset) bool) bool {
	for _, set := range s.sets {
		if !yield(set) {
			return false
		}
	}
	return true
}
