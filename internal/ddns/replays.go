package ddns

import (
	"errors"
	"sync"
	"time"

	"godwit/internal/tsig"
)

const (
	// maxReplays bounds the memory of replays: about 60 MB. At the updates per second
	// that fill it before a signature's time has passed, the oldest are forgotten and
	// count as of another time from then on.
	maxReplays = 1 << 19
	// replaySpan is the times in seconds whose messages are forgotten together.
	replaySpan = 10
)

// replays remembers TSIG messages that were answered, so that the same one again
// gets the same answer and does nothing: clients send a message again when its
// answer was lost, and so do others (docs/decisions/0022). A message is known by
// its MAC, for as long as its time holds.
//
// Every message of a time before floor is refused as of another time: those of
// before the start may have been answered by the process before. A client whose
// clock is ahead may have had answered what is signed after this start, so what
// that one accepted moved its key's mark, and nothing up to there is taken again.
type replays struct {
	mu    sync.Mutex // guards following
	floor int64      // Unix seconds; what is signed at this time or before is not taken
	known map[int64]map[replayID]replayed
	count int
	marks map[string]keyMarks // of keys whose clock is ahead, by credential
}

// replayID is the beginning of a MAC that holds, which nobody can choose.
type replayID [16]byte

// replayed is how a message was answered.
type replayed struct {
	at     bool // it is at work
	code   Code // empty: accepted
	failed PreconditionKind
}

// keyMarks are a credential's replay marks: the greatest that this process moved
// it to, and the greatest that it found.
type keyMarks struct{ own, found int64 }

func newReplays(now time.Time) *replays {
	return &replays{floor: now.Unix(), known: make(map[int64]map[replayID]replayed), marks: make(map[string]keyMarks)}
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
	m, known := r.marks[c.ID]
	if !known && !ahead && c.Mark == 0 {
		return false
	}
	if c.Mark > m.own {
		m.found = max(m.found, c.Mark)
	}
	if signed <= m.found {
		r.marks[c.ID] = m
		return true
	}
	if ahead {
		m.own = max(m.own, signed)
	}
	r.marks[c.ID] = m
	return false
}

// once makes the update of a message, unless the same one was answered before.
// The refusal of one that is at work has code replayed.
func (r *replays) once(p *TSIGProof, update func() (Outcome, error)) (Outcome, error) {
	if p.sealed == nil {
		return Outcome{}, badProof(p)
	}
	before, again := r.begin(p)
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
func (r *replays) begin(p *TSIGProof) (before replayed, again bool) {
	span, id := p.replayKey()
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, again = r.known[span][id]; again {
		return before, true
	}
	if p.time() <= r.floor {
		return replayed{code: Clock}, true
	}
	if r.count >= maxReplays {
		r.forgetLocked(span)
	}
	if r.known[span] == nil {
		// A span begins every ten seconds at most by our clock: the time to forget
		// those that have passed.
		r.dropLocked(span - 2*tsig.Fudge/replaySpan - 2)
		r.known[span] = make(map[replayID]replayed)
	}
	r.known[span][id] = replayed{at: true}
	r.count++
	return replayed{}, false
}

func (r *replays) end(p *TSIGProof, how replayed) {
	span, id := p.replayKey()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[span] != nil { // else it was forgotten, and its time is before the floor
		r.known[span][id] = how
	}
}

// dropLocked forgets the spans before this one, whose times have passed.
func (r *replays) dropLocked(first int64) {
	for span, messages := range r.known {
		if span < first {
			r.count -= len(messages)
			delete(r.known, span)
		}
	}
}

// forgetLocked makes room by forgetting the oldest span, but not the newest.
func (r *replays) forgetLocked(newest int64) {
	oldest := newest
	for span := range r.known {
		oldest = min(oldest, span)
	}
	if oldest < newest {
		r.floor = max(r.floor, (oldest+1)*replaySpan-1)
		r.dropLocked(oldest + 1)
	}
}
