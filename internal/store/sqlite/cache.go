package sqlite

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// entry is a host as it is stored, decoded. It is never changed once others can
// see it.
type entry struct {
	id    int64 // of its row
	host  *ddns.Host
	creds []*ddns.Credential // all that are granted on the host, if complete
	// recent are the newest changes as they stand in the row, trimmed.
	recent string
	chunks []byte // ids of its rows in history, as they stand in the row
	// applied is the newest row of pending that the host's row knows of, and
	// logged the first one of the batch that kept the host there last; 0 if the
	// host's row has everything.
	applied, logged int64
	changes         []change // that the row does not have yet
	marks           []mark   // that the credentials' rows do not have yet; only if complete
	credBytes       int      // what creds take, about
	// complete tells whether creds have been read.
	complete bool
	gone     bool // the row has been removed
}

// cache keeps decoded hosts, at most limit estimated bytes of them, and beyond
// these all whose newest state is not in their row yet. It is coherent because
// only this process writes: the writer puts what it committed, and a reader's put
// is dropped if a commit came in between.
//
// When it is full, what has not been asked for since the hand last passed goes
// first (the clock algorithm). It costs nothing while it is empty.
type cache struct {
	limit  int
	shards [cacheShards]cacheShard
	seed   maphash.Seed

	// holders says on which host a credential was found last. It is where to look
	// first, and no more than that.
	holders struct {
		mu   sync.RWMutex // guards host
		host map[string]dnsname.Name
	}

	pendingBytes int     // of all that is pending; the writer's
	commit       []place // the one that is going on; the writer's
	// brought counts what was pending and is not any more. Who has read rows and
	// finds that it has moved may have missed something in both places.
	brought atomic.Int64
}

const (
	cacheShards = 16
	cacheMarks  = 512 // in each shard
	maxHolders  = 1 << 16
)

type cacheShard struct {
	mu    sync.RWMutex // guards following
	hosts map[dnsname.Name]*slot
	// pending are the hosts whose rows are behind.
	pending map[dnsname.Name]behind
	ring    []*slot // in no order; the clock's hand goes round
	hand    int
	bytes   int
	// marks count, for all hosts of one hash together, the commits that were
	// begun or ended; odd while one is between.
	marks [cacheMarks]uint32
}

// behind is a host whose row is behind.
type behind struct {
	entry *entry
	bytes int
}

type slot struct {
	name  dnsname.Name
	entry *entry
	bytes int
	at    int // its place in the ring
	used  atomic.Bool
}

// ticket says when a reader began to read a host.
type ticket uint32

func newCache(limit int) *cache { return &cache{limit: limit, seed: maphash.MakeSeed()} }

// shard finds a host's shard and mark.
func (c *cache) shard(name dnsname.Name) (*cacheShard, int) {
	hash := maphash.String(c.seed, name.Wire())
	return &c.shards[hash%cacheShards], int(hash / cacheShards % cacheMarks)
}

// get returns the entry, or nil and a ticket for put.
func (c *cache) get(name dnsname.Name) (*entry, ticket) {
	s, mark := c.shard(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if found := s.hosts[name]; found != nil {
		if !found.used.Load() { // a store only when it says something new: others read the line
			found.used.Store(true)
		}
		return found.entry, 0
	}
	if e := s.pending[name].entry; e != nil && e.complete {
		return e, 0
	}
	return nil, ticket(s.marks[mark])
}

// credential returns a credential, if a host is here that it was found on; else nil.
func (c *cache) credential(id string) *ddns.Credential {
	c.holders.mu.RLock()
	host, ok := c.holders.host[id]
	c.holders.mu.RUnlock()
	if !ok {
		return nil
	}
	e, _ := c.get(host)
	if e == nil || e.gone {
		return nil
	}
	return e.credential(id)
}

// holds notes that a host has a credential.
func (c *cache) holds(host dnsname.Name, id string) {
	if c.limit == 0 {
		return
	}
	c.holders.mu.Lock()
	defer c.holders.mu.Unlock()
	if c.holders.host == nil || len(c.holders.host) >= maxHolders {
		c.holders.host = make(map[string]dnsname.Name)
	}
	c.holders.host[id] = host
}

// pending returns a host's newest state if its row does not have it, else nil.
// Its credentials may not have been read. Who wants to read the row looks here
// before: afterwards both may be old.
func (c *cache) pending(name dnsname.Name) *entry {
	s, _ := c.shard(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pending[name].entry
}

// pendingHosts are all hosts whose rows are behind, in the order of the rows.
// Only the writer may call it.
func (c *cache) pendingHosts() []dnsname.Name {
	var entries []*entry
	for i := range c.shards {
		for _, b := range c.shards[i].pending { // nobody else writes it
			entries = append(entries, b.entry)
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	names := make([]dnsname.Name, len(entries))
	for i, e := range entries {
		names[i] = e.host.Name
	}
	return names
}

// put keeps what a reader has read since it got its ticket, unless a commit of
// the host came in between: then what it read may be old.
func (c *cache) put(name dnsname.Name, e *entry, since ticket) {
	s, mark := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.marks[mark] == uint32(since) && since%2 == 0 {
		s.set(name, e, e.size(), c.limit/cacheShards)
	}
}

// place is a host of the commit that is going on, and where it is kept.
type place struct {
	name  dnsname.Name
	entry *entry
	shard *cacheShard
	mark  int
}

// begin is called before a commit of these hosts becomes visible in the
// database, and end afterwards. Only the writer calls them. nil: something of
// the host changes, and what it will be is not known.
func (c *cache) begin(hosts map[dnsname.Name]*entry) {
	c.commit = c.commit[:0]
	for name, e := range hosts {
		s, mark := c.shard(name)
		c.commit = append(c.commit, place{name, e, s, mark})
		s.mu.Lock()
		if s.marks[mark]%2 == 0 { // two hosts of one hash in one commit
			s.marks[mark]++
		}
		s.mu.Unlock()
	}
}

// end says what became of the hosts of begin.
func (c *cache) end(committed bool) {
	for _, p := range c.commit {
		s, name, e := p.shard, p.name, p.entry
		s.mu.Lock()
		size := 0
		if committed && e != nil {
			size = e.size()
			c.setPending(s, name, e, size)
		}
		if !committed || e == nil || e.gone || !e.complete {
			s.drop(name)
		} else {
			s.set(name, e, size, c.limit/cacheShards)
		}
		s.mu.Unlock()
	}
	for _, p := range c.commit {
		p.shard.mu.Lock()
		if p.shard.marks[p.mark]%2 == 1 {
			p.shard.marks[p.mark]++
		}
		p.shard.mu.Unlock()
	}
	clear(c.commit)
}

// setPending keeps a host while its row is behind. It is called with mu held.
func (c *cache) setPending(s *cacheShard, name dnsname.Name, e *entry, size int) {
	if old, ok := s.pending[name]; ok {
		c.pendingBytes -= old.bytes
		if !e.pending() {
			c.brought.Add(1) // first, for list
			delete(s.pending, name)
		}
	}
	if e.pending() {
		if s.pending == nil {
			s.pending = make(map[dnsname.Name]behind)
		}
		s.pending[name] = behind{e, size}
		c.pendingBytes += size
	}
}

// allBrought says that every host's row has everything. It is called between
// begin and end of these hosts.
func (c *cache) allBrought(hosts []dnsname.Name) {
	for _, name := range hosts {
		s, _ := c.shard(name)
		s.mu.Lock()
		s.drop(name)
		c.brought.Add(1)
		delete(s.pending, name)
		s.mu.Unlock()
	}
	c.pendingBytes = 0
}

// set is called with mu held.
func (s *cacheShard) set(name dnsname.Name, e *entry, size, limit int) {
	if size > limit {
		s.drop(name)
		return
	}
	if old := s.hosts[name]; old != nil {
		s.bytes += size - old.bytes
		old.entry, old.bytes = e, size
		old.used.Store(true)
	} else {
		if s.hosts == nil {
			s.hosts = make(map[dnsname.Name]*slot)
		}
		added := &slot{name: name, entry: e, bytes: size, at: len(s.ring)}
		s.hosts[name] = added
		s.ring = append(s.ring, added)
		s.bytes += size
	}
	for s.bytes > limit && len(s.ring) > 1 {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		if at := s.ring[s.hand]; at.name == name || at.used.Swap(false) {
			s.hand++
		} else {
			s.drop(at.name)
		}
	}
}

// drop is called with mu held.
func (s *cacheShard) drop(name dnsname.Name) {
	old := s.hosts[name]
	if old == nil {
		return
	}
	delete(s.hosts, name)
	s.bytes -= old.bytes
	last := len(s.ring) - 1
	s.ring[old.at] = s.ring[last]
	s.ring[old.at].at = old.at
	s.ring[last] = nil
	s.ring = s.ring[:last]
}

// size estimates the bytes that an entry holds: structs, slices, texts, and its
// share of the map.
func (e *entry) size() int {
	h := e.host
	n := 780 + len(e.recent) + len(e.chunks) + 2*len(h.Name.Wire()) + 24*(len(h.A)+len(h.AAAA)) + 64*len(h.Followers) + 32*len(h.Credentials)
	for _, f := range h.Followers {
		n += len(f.Name.Wire())
	}
	for _, c := range e.changes {
		n += 32 + len(c.text)
	}
	n += 24 * len(e.marks)
	for _, t := range h.TXT {
		n += 80 + len(t.Value)
	}
	for _, r := range h.Shown {
		n += 96 + len(r.Owner.Wire()) + 24*len(r.Addrs)
		for _, t := range r.Texts {
			n += 16 + len(t)
		}
	}
	return n + e.credBytes
}

// credential is the one of creds with that ID, nil if there is none.
func (e *entry) credential(id string) *ddns.Credential {
	for _, c := range e.creds {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// withCreds gives e its host's credentials.
func (e *entry) withCreds(creds []*ddns.Credential) {
	e.creds, e.credBytes, e.complete = creds, 0, true
	for _, c := range creds {
		e.credBytes += 320 + len(c.Verifier) + len(c.Sealed) + len(c.Fingerprint) + len(c.Label) + 32*len(c.Networks) + 64*len(c.Grants)
		for _, g := range c.Grants {
			e.credBytes += len(g.Host.Wire())
		}
	}
}
