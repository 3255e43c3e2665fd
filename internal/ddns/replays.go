package ddns

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"godwit/internal/tsig"
)

const (
	// maxReplays bounds the memory of replays: about 60 MB. If that many come before
	// a signature's time has passed, the key that sent the most gives way.
	maxReplays = 1 << 19
	// replaySpan is the times in seconds whose messages are forgotten together.
	replaySpan = 10
)

// replays remembers TSIG messages that were answered, so that the same one again
// gets the same answer and does nothing: clients send a message again when its
// answer was lost, and so do others (docs/decisions/0022). A message is known by
// its MAC, for as long as its time holds.
//
// Every message of a time up to a floor is refused as of another time: those of
// before the start may have been answered by the process before, and a key that
// sends too many has a floor of its own. A client whose clock is ahead may have had
// answered what is signed after this start, so what that one accepted moved its
// key's mark, and nothing up to there is taken again.
type replays struct {
	mu    sync.Mutex // guards following
	max   int        // messages to remember
	floor int64      // Unix seconds; what is signed at this time or before is not taken
	known map[int64]map[replayID]replayed
	count int
	keys  map[string]*keyReplays // by credential
	swept int64                  // the span in which what has passed was last forgotten
}

// replayID is the beginning of a MAC that holds, which nobody can choose.
type replayID [16]byte

// replayed is how a message was answered.
type replayed struct {
	key    *keyReplays
	at     bool // it is at work
	code   Code // empty: accepted
	failed PreconditionKind
}

// keyReplays is what there is to know of one key. Its replay marks are the
// greatest that this process moved it to, and the greatest that it found.
type keyReplays struct {
	count      int   // of its messages that are remembered
	floor      int64 // as that of all keys
	own, found int64
}

func newReplays(now time.Time) *replays {
	return &replays{max: maxReplays, floor: now.Unix(), known: make(map[int64]map[replayID]replayed), keys: make(map[string]*keyReplays)}
}

// keyLocked is what is known of a credential; it begins with nothing.
func (r *replays) keyLocked(id string) *keyReplays {
	k := r.keys[id]
	if k == nil {
		k = new(keyReplays)
		r.keys[id] = k
	}
	return k
}

// stale tells whether a message of this time may have been answered and be
// forgotten.
func (r *replays) stale(c *Credential, signed int64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if signed <= r.floor {
		return true
	}
	ahead := signed > now.Unix()
	if r.keys[c.ID] == nil && !ahead && c.Mark == 0 {
		return false
	}
	k := r.keyLocked(c.ID)
	if c.Mark > k.own {
		k.found = max(k.found, c.Mark)
	}
	if signed <= max(k.found, k.floor) {
		return true
	}
	if ahead {
		k.own = max(k.own, signed)
	}
	return false
}

// once makes the update of a message, unless the same one was answered before.
// The refusal of one that is at work has code replayed.
func (r *replays) once(p *TSIGProof, now time.Time, update func() (Outcome, error)) (Outcome, error) {
	if p.sealed == nil {
		return Outcome{}, badProof(p)
	}
	before, again := r.begin(p, now)
	switch {
	case before.at:
		return Outcome{}, refuse(Replayed, "the same message is at work", "wait for its answer")
	case again && before.code == "":
		return Outcome{Repeated: true}, nil
	case again:
		refusal := refuse(before.code, "the same message was refused before", "sign a new one")
		refusal.Failed = before.failed
		return Outcome{Repeated: true}, refusal
	}
	var how replayed
	defer func() { r.end(p, how) }()
	how.code = Unavailable // should it panic
	out, err := update()
	how.code = ""
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		// Also one that may pass: whoever sends it again later, when the client has
		// given up, must not have it done.
		how.code, how.failed = refusal.Code, refusal.Failed
	}
	return out, err
}

func (p *TSIGProof) replayKey() (span int64, id replayID) {
	copy(id[:], p.record.MAC)
	return p.time() / replaySpan, id
}

// begin notes that a message is at work, or returns how it was answered. What is
// of another time by now is so here too.
func (r *replays) begin(p *TSIGProof, now time.Time) (before replayed, again bool) {
	span, id := p.replayKey()
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, again = r.known[span][id]; again {
		return before, true
	}
	if current := now.Unix() / replaySpan; current != r.swept {
		r.sweepLocked(now)
		r.swept = current
	}
	if r.count >= r.max {
		r.giveWayLocked()
	}
	k := r.keyLocked(p.id)
	if p.time() <= max(r.floor, k.floor) {
		return replayed{code: Clock}, true
	}
	if r.known[span] == nil {
		r.known[span] = make(map[replayID]replayed)
	}
	r.known[span][id] = replayed{key: k, at: true}
	r.count++
	k.count++
	return replayed{}, false
}

func (r *replays) end(p *TSIGProof, how replayed) {
	span, id := p.replayKey()
	r.mu.Lock()
	defer r.mu.Unlock()
	// Else it was forgotten, and its time is before its key's floor.
	if begun, ok := r.known[span][id]; ok {
		how.key = begun.key
		r.known[span][id] = how
	}
}

// sweepLocked forgets the spans whose times have passed, and the keys of which
// nothing is left to know. The two spans more are for messages between their check
// and their update.
func (r *replays) sweepLocked(now time.Time) {
	passed := now.Unix() - tsig.Fudge - 2*replaySpan
	for span, messages := range r.known {
		if (span+1)*replaySpan > passed {
			continue
		}
		for _, m := range messages {
			m.key.count--
		}
		r.count -= len(messages)
		delete(r.known, span)
	}
	for id, k := range r.keys {
		if k.count == 0 && max(k.floor, k.own, k.found) < passed {
			delete(r.keys, id)
		}
	}
}

// giveWayLocked makes room by forgetting the oldest span of the key that has sent
// the most, so that nobody who holds a key can have others refused.
func (r *replays) giveWayLocked() {
	most := new(keyReplays)
	for _, k := range r.keys {
		if k.count > most.count {
			most = k
		}
	}
	for _, span := range slices.Sorted(maps.Keys(r.known)) {
		had := most.count
		for id, m := range r.known[span] {
			if m.key == most {
				delete(r.known[span], id)
				most.count--
			}
		}
		if had > most.count {
			r.count -= had - most.count
			most.floor = max(most.floor, (span+1)*replaySpan-1)
			return
		}
	}
}
