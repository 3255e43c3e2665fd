package zone

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"

	"godwit/internal/dnsname"
)

// Loader takes hosts of a zone that has none yet, at start. Setting hosts one by
// one copies a bucket for each; Loaders put the names aside, and [Zone.Fill]
// builds each bucket once, which is several times faster.
//
// A Loader is not safe for concurrent use, but a zone may have several, one for
// each goroutine that reads. Nothing of them is seen before Fill.
type Loader struct {
	zone    *Zone
	parts   [loadParts][]byte
	count   int
	above   map[string]uint64 // hosts below the names between a host and the apex
	a, aaaa []byte            // room for one host
	present int64
}

// Names are put aside by the low bits of their hashes, as buckets are, so that
// all buckets of one part are built from memory that fits a processor's cache.
// An entry is the name's hash (8 octets), the length of the rest (2; a host
// takes less: see maxAllTexts), and what stands in a bucket.
const (
	partBits   = 8
	loadParts  = 1 << partBits
	partHeader = 10
)

// Load makes a Loader.
func (z *Zone) Load() *Loader { return &Loader{zone: z, above: make(map[string]uint64)} }

// Add is [Zone.Set] for a name that was not added before, to no Loader of the
// zone. A host that shows nothing is left out.
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
			l.above[up]++
		}
	}
	return nil
}

func (l *Loader) put(rel string, h *host) {
	var buf [128]byte // most hosts fit
	value := h.store(buf[:])
	hash := maphash.String(l.zone.hosts.seed, rel)
	length := 1 + len(rel) + len(value)
	part := &l.parts[hash%loadParts]
	p := *part
	if cap(p)-len(p) < partHeader+length {
		// Twice as large, where append would copy all of it five times.
		p = slices.Grow(p, max(partHeader+length, len(p)))
	}
	p = binary.LittleEndian.AppendUint64(p, hash)
	p = binary.LittleEndian.AppendUint16(p, uint16(length))
	p = append(p, byte(len(rel)))
	p = append(p, rel...)
	*part = append(p, value...)
	l.count++
}

// Fill shows all that was added to the zone's Loaders, which are spent then.
func (z *Zone) Fill(loaders ...*Loader) {
	count := 0
	for _, l := range loaders {
		count += l.count
	}
	d := &directory{}
	for d.depth < maxDepth && bucketFill<<d.depth < count {
		d.depth++
	}
	d.slots = make([]atomicBucket, 1<<d.depth)
	// Slots whose numbers have their low bits in common are filled together: from
	// one part, or from several if there are fewer slots than parts.
	low := min(d.depth, partBits)
	type names struct {
		entries [][]byte
		tags    []byte
	}
	room := make([]names, 1<<(d.depth-low))
	for from := range 1 << low {
		for part := from; part < loadParts; part += 1 << low {
			for _, l := range loaders {
				for p := l.parts[part]; len(p) > 0; {
					hash, end := binary.LittleEndian.Uint64(p), partHeader+int(binary.LittleEndian.Uint16(p[8:]))
					n := &room[hash>>low%uint64(len(room))]
					n.entries, n.tags = append(n.entries, p[partHeader:end]), append(n.tags, byte(hash>>56))
					p = p[end:]
				}
				l.parts[part] = nil
			}
		}
		for i := range room {
			if n := &room[i]; len(n.entries) > 0 {
				b := buildBucket(d.depth, n.entries, n.tags)
				d.slots[from|i<<low].Store(&b)
				n.entries, n.tags = n.entries[:0], n.tags[:0]
			}
		}
	}
	z.hosts.dir.Store(d)
	for _, l := range loaders {
		for name, n := range l.above {
			up := readHost(z.hosts.find([]byte(name)))
			up.children += n
			z.hosts.put([]byte(name), up.store(nil))
		}
		z.present.Add(l.present)
		*l = Loader{}
	}
	z.version.Add(1)
}
