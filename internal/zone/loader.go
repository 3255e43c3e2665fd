package zone

import (
	"hash/maphash"
	"net/netip"

	"godwit/internal/dnsname"
)

// Loader fills a zone that has no hosts yet, at start. Setting hosts one by one
// copies a bucket for each; a Loader puts the names aside and builds each bucket
// once, which is several times faster. Not safe for concurrent use; nothing of
// it is seen before Done.
type Loader struct {
	zone    *Zone
	blocks  [][]byte   // entries as in a bucket; blocks, because growing one slice copies it
	index   [][]loaded // full ones have indexBlock entries
	count   int
	above   map[string]uint64 // hosts below the names between a host and the apex
	a, aaaa []byte            // room for one host
	present int64
}

const (
	loadBlock  = 1 << 20 // octets
	indexBlock = 1 << 16
)

// loaded is one entry that was put aside: its name's hash, and where it is.
type loaded struct {
	hash   uint64
	at     uint32
	length uint16 // a host takes less: see maxAllTexts
	block  uint16
}

// Load begins to fill the zone.
func (z *Zone) Load() *Loader { return &Loader{zone: z, above: make(map[string]uint64)} }

// Add is [Zone.Set] for a name that was not added before. A host that shows
// nothing is left out.
func (l *Loader) Add(owner dnsname.Name, ttl uint32, a, aaaa []netip.Addr, txt []string, generation uint64) error {
	next, rel, err := l.zone.state(owner, ttl, a, aaaa, txt, generation, l.a[:0], l.aaaa[:0])
	if err != nil {
		return err
	}
	l.a, l.aaaa = next.a, next.aaaa
	if !next.hasData() {
		return nil
	}
	l.put(rel, &next)
	l.present++
	if len(rel) > 0 {
		for up := parent(rel); len(up) > 0; up = parent(up) {
			l.above[string(up)]++
		}
	}
	return nil
}

func (l *Loader) put(rel []byte, h *host) {
	var buf [128]byte // most hosts fit
	value := h.store(buf[:])
	length := 1 + len(rel) + len(value)
	last := len(l.blocks) - 1
	if last < 0 || len(l.blocks[last])+length > loadBlock {
		l.blocks = append(l.blocks, make([]byte, 0, loadBlock))
		last++
	}
	b := l.blocks[last]
	e := loaded{maphash.Bytes(l.zone.hosts.seed, rel), uint32(len(b)), uint16(length), uint16(last)}
	b = append(b, byte(len(rel)))
	b = append(b, rel...)
	l.blocks[last] = append(b, value...)
	if l.count%indexBlock == 0 {
		l.index = append(l.index, make([]loaded, 0, indexBlock))
	}
	at := l.count / indexBlock
	l.index[at] = append(l.index[at], e)
	l.count++
}

// Done shows all that was added. The Loader is spent.
func (l *Loader) Done() {
	h := l.zone.hosts
	d := &directory{}
	for d.depth < maxDepth && bucketFill<<d.depth < l.count {
		d.depth++
	}
	// Sort the entries by slot: count, sum up, place.
	slots := 1 << d.depth
	mask := uint64(slots - 1)
	ends := make([]uint32, slots+1)
	for _, block := range l.index {
		for i := range block {
			ends[block[i].hash&mask+1]++
		}
	}
	for i := range slots {
		ends[i+1] += ends[i]
	}
	order := make([]*loaded, l.count)
	for _, block := range l.index {
		for i := range block {
			slot := block[i].hash & mask
			order[ends[slot]] = &block[i]
			ends[slot]++
		}
	}
	// ends[slot] has moved to where slot ends.
	d.slots = make([]atomicBucket, slots)
	var entries [][]byte
	var tags []byte
	from := uint32(0)
	for slot := range slots {
		entries, tags = entries[:0], tags[:0]
		for _, e := range order[from:ends[slot]] {
			entries, tags = append(entries, l.blocks[e.block][e.at:e.at+uint32(e.length)]), append(tags, byte(e.hash>>56))
		}
		if from = ends[slot]; len(entries) > 0 {
			b := buildBucket(d.depth, entries, tags)
			d.slots[slot].Store(&b)
		}
	}
	h.dir.Store(d)
	z := l.zone
	for name, n := range l.above {
		up := readHost(h.find([]byte(name)))
		up.children += n
		h.put([]byte(name), up.store(nil))
	}
	z.present.Store(l.present)
	z.version.Add(1)
	*l = Loader{}
}
