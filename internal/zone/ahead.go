package zone

import (
	"bytes"
	"hash/maphash"
)

// maxAhead is how many questions are looked ahead for at a time.
const maxAhead = 64

// Ahead brings into the processor's cache what the answers to several questions
// will need. A host of a large zone is in nobody's cache: finding it takes four
// accesses to memory, one after the other, in which the processor could do the
// work of a whole answer. Those for different questions can go on at the same
// time, which they do here, step by step for all of them. What is answered does
// not depend on it. The zero value is ready; one goroutine may use it at a time.
type Ahead struct {
	n     int
	steps [maxAhead]ahead
	sum   byte // of what was touched, so that the compiler leaves it in
}

type ahead struct {
	hash   uint64
	slot   *atomicBucket
	stored *bucket
	bucket bucket
}

// Add notes a question for z, whose name is lower case in wire form and at or
// below the apex. Beyond 64 it does nothing.
func (a *Ahead) Add(z *Zone, qname []byte) {
	if a.n == maxAhead {
		return
	}
	hash := maphash.Bytes(z.hosts.seed, z.relative(qname))
	slots := z.hosts.dir.Load().slots
	a.steps[a.n].hash, a.steps[a.n].slot = hash, &slots[hash&uint64(len(slots)-1)]
	a.n++
}

// Load touches what was noted, and forgets it.
func (a *Ahead) Load() {
	steps := a.steps[:a.n]
	a.n = 0
	for i := range steps {
		steps[i].stored = steps[i].slot.Load()
	}
	for i := range steps {
		steps[i].bucket = nil
		if p := steps[i].stored; p != nil {
			steps[i].bucket = *p
		}
	}
	const line = 64
	for i := range steps {
		b := steps[i].bucket
		for at := 0; at < min(len(b), 4*line); at += line { // the tags and offsets of an ordinary bucket
			a.sum += b[at]
		}
	}
	for i := range steps {
		b := steps[i].bucket
		if len(b) == 0 {
			continue
		}
		n := b.count()
		if e := bytes.IndexByte(b[bucketHeader:bucketHeader+n], byte(steps[i].hash>>56)); e >= 0 {
			a.sum += b[b.offset(e, n)]
		}
	}
}
