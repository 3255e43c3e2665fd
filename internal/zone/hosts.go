package zone

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
)

const (
	// bucketFill is how many names a bucket holds on average after loading, at
	// most; bucketMax is when it is split. Larger buckets take less memory and
	// make an update dearer, because it copies one bucket.
	bucketFill = 32
	bucketMax  = 48
	// maxDepth bounds the directory. Beyond it buckets grow, which only an
	// attacker who knows the seed could bring about.
	maxDepth = 24
)

// hosts is the index of all dynamic names of a zone: an extendible hash table
// (Fagin and others, 1979) whose buckets are immutable byte strings.
//
// A reader takes two atomic loads, of the directory and of a bucket, and then
// looks at memory that never changes. The one writer copies the bucket that it
// changes. The directory doubles by copying pointers: two slots then share a
// bucket until a write splits it, so that no update waits for the rehashing of
// a million names. Buckets hold no pointers: the collector does not scan them.
//
// Names are relative to the apex, in lower-case wire form without the root. The
// hash is seeded, so that nobody can choose names that fall into one bucket.
type hosts struct {
	seed maphash.Seed
	dir  atomic.Pointer[directory]
}

type directory struct {
	depth uint8          // the directory has 1<<depth slots
	slots []atomicBucket // by the low bits of the hash; nil is an empty bucket of this depth
}

// bucket is: depth (1 octet: how many low bits of the hash its names share),
// count (2), one tag per entry (the hash's top octet), one offset per entry
// (4), and the entries. An entry starts with the length of the name (1) and
// the name; the rest is up to the caller.
type bucket []byte

type atomicBucket = atomic.Pointer[bucket]

const bucketHeader = 3

func newHosts() *hosts {
	h := &hosts{seed: maphash.MakeSeed()}
	h.dir.Store(&directory{slots: make([]atomicBucket, 1)})
	return h
}

func (b bucket) count() int { return int(binary.LittleEndian.Uint16(b[1:])) }

// offset is where entry i of n starts.
func (b bucket) offset(i, n int) int {
	return int(binary.LittleEndian.Uint32(b[bucketHeader+n+4*i:]))
}

func (b bucket) entry(i, n int) []byte {
	end := len(b)
	if i+1 < n {
		end = b.offset(i+1, n)
	}
	return b[b.offset(i, n):end]
}

// index finds name, -1 if it is not here.
func (b bucket) index(tag byte, name []byte) int {
	n := b.count()
	tags := b[bucketHeader : bucketHeader+n]
	for from := 0; ; {
		i := bytes.IndexByte(tags[from:], tag)
		if i < 0 {
			return -1
		}
		i += from
		if e := b.entry(i, n); int(e[0]) == len(name) && string(e[1:1+len(name)]) == string(name) {
			return i
		}
		from = i + 1
	}
}

// find returns what is stored with name, nil if nothing is.
func (h *hosts) find(name []byte) []byte {
	hash := maphash.Bytes(h.seed, name)
	d := h.dir.Load()
	p := d.slots[hash&uint64(len(d.slots)-1)].Load()
	if p == nil {
		return nil
	}
	b := *p
	i := b.index(byte(hash>>56), name)
	if i < 0 {
		return nil
	}
	return b.entry(i, b.count())[1+len(name):]
}

// put stores value with name, or removes name when value is nil. Readers see
// the old bucket or the new one. Only the zone's one writer calls it.
func (h *hosts) put(name, value []byte) {
	hash := maphash.Bytes(h.seed, name)
	d := h.dir.Load()
	slot := hash & uint64(len(d.slots)-1)
	old := bucket{d.depth, 0, 0}
	if p := d.slots[slot].Load(); p != nil {
		old = *p
	}
	h.store(slot, old.replace(byte(hash>>56), name, value))
}

// store puts b into each slot that its names belong to, split as far as needed.
func (h *hosts) store(slot uint64, b bucket) {
	d := h.dir.Load()
	depth := b[0]
	if b.count() > bucketMax && depth < maxDepth {
		if depth == d.depth {
			h.double(d)
		}
		low, high := h.split(b)
		slot &= 1<<depth - 1
		h.store(slot, low)
		h.store(slot|1<<depth, high)
		return
	}
	for i := slot & (1<<depth - 1); i < uint64(len(d.slots)); i += 1 << depth {
		d.slots[i].Store(&b)
	}
}

// double makes a directory of twice the size; each pair of slots shares a bucket.
func (h *hosts) double(d *directory) *directory {
	n := len(d.slots)
	next := &directory{depth: d.depth + 1, slots: make([]atomicBucket, 2*n)}
	for i := range d.slots {
		p := d.slots[i].Load()
		next.slots[i].Store(p)
		next.slots[i+n].Store(p)
	}
	h.dir.Store(next)
	return next
}

// split divides the names of b by the next bit of their hash.
func (h *hosts) split(b bucket) (low, high bucket) {
	var entries [2][][]byte
	var tags [2][]byte
	n := b.count()
	for i := range n {
		e := b.entry(i, n)
		hash := maphash.Bytes(h.seed, e[1:1+int(e[0])])
		side := hash >> b[0] & 1
		entries[side] = append(entries[side], e)
		tags[side] = append(tags[side], byte(hash>>56))
	}
	return buildBucket(b[0]+1, entries[0], tags[0]), buildBucket(b[0]+1, entries[1], tags[1])
}

func buildBucket(depth uint8, entries [][]byte, tags []byte) bucket {
	n := len(entries)
	size := bucketHeader + 5*n
	for _, e := range entries {
		size += len(e)
	}
	b := make(bucket, bucketHeader+5*n, size)
	b[0] = depth
	binary.LittleEndian.PutUint16(b[1:], uint16(n))
	copy(b[bucketHeader:], tags)
	for i, e := range entries {
		binary.LittleEndian.PutUint32(b[bucketHeader+n+4*i:], uint32(len(b)))
		b = append(b, e...)
	}
	return b
}

// replace returns a copy of b in which name has value, or is not there when
// value is nil.
func (b bucket) replace(tag byte, name, value []byte) bucket {
	n := b.count()
	at := b.index(tag, name)
	before, after := b[bucketHeader+5*n:], []byte(nil) // the entries around the new one
	moved := n                                         // the first entry after it
	if at >= 0 {
		start := b.offset(at, n) - (bucketHeader + 5*n)
		end := start + len(b.entry(at, n))
		before, after, moved = before[:start], before[end:], at+1
	}
	added := 0
	if value != nil {
		added = 1
	}
	first := n // how many come before it
	if at >= 0 {
		first = at
	}
	count := first + added + n - moved
	size := bucketHeader + 5*count + len(before) + len(after)
	if value != nil {
		size += 1 + len(name) + len(value)
	}
	out := make(bucket, bucketHeader, size)
	out[0] = b[0]
	binary.LittleEndian.PutUint16(out[1:], uint16(count))
	tags := b[bucketHeader : bucketHeader+n]
	out = append(out, tags[:first]...)
	if value != nil {
		out = append(out, tag)
	}
	out = append(out, tags[moved:]...)
	// Entries before the new one move with the header, those after it also by
	// the difference in length.
	shift := 5 * (count - n)
	for i := range first {
		out = binary.LittleEndian.AppendUint32(out, uint32(b.offset(i, n)+shift))
	}
	middle := bucketHeader + 5*count + len(before)
	if value != nil {
		out = binary.LittleEndian.AppendUint32(out, uint32(middle))
		middle += 1 + len(name) + len(value)
	}
	if moved < n {
		shift = middle - b.offset(moved, n)
		for i := moved; i < n; i++ {
			out = binary.LittleEndian.AppendUint32(out, uint32(b.offset(i, n)+shift))
		}
	}
	out = append(out, before...)
	if value != nil {
		out = append(out, byte(len(name)))
		out = append(out, name...)
		out = append(out, value...)
	}
	return append(out, after...)
}
