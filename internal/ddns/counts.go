package ddns

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"godwit/internal/histogram"
)

// Counts are how many updates were made, and what waits at this moment.
type Counts struct {
	Doors       map[string]DoorCounts // by Update.Door
	Unconfirmed uint64                // updates after which DNS was not known to show the host's state
	Overloaded  uint64                // updates refused as rate-limited because too many others were at work
	Proofs      int                   // proofs that wait for their turn to be checked
	Places      int                   // updates that wait for a place at work
}

// DoorCounts are the updates of one door, and the accounts that were registered
// there. What a door refuses without asking the
// core, because it cannot be read, is no update.
type DoorCounts struct {
	Outcomes map[string]uint64 // by outcome: changed, unchanged, or a code
	Latency  histogram.Counts  // of all of them, from the core's view
}

// updateCounts count the updates of all doors. There are as many doors as the
// program has, whatever strangers send.
type updateCounts struct {
	doors                   atomic.Pointer[map[string]*doorCounts] // never changed: replaced; nil: none yet
	mu                      sync.Mutex                             // guards replacing doors
	unconfirmed, overloaded atomic.Uint64
}

type doorCounts struct {
	outcomes [len(outcomes)]atomic.Uint64
	latency  histogram.Histogram
}

// outcomes are those that an update can have, the most frequent first.
var outcomes = [...]string{
	"unchanged", "changed", string(BadProof), string(RateLimited), string(NotSource), string(AddressNotAllowed), string(WrongFamily), string(Suspended),
	string(NotYours), string(Clock), string(Replayed), string(TooMany), string(ConditionFailed), string(Malformed), string(Unavailable),
}

// count counts an update that took so long. An error is a *Refusal.
func (n *updateCounts) count(door string, out Outcome, err error, took time.Duration) {
	d := n.all()[door]
	if d == nil {
		d = n.add(door)
	}
	d.latency.Observe(took, 1)
	outcome := outcomes[0]
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		outcome = string(refusal.Code)
	} else if out.Changed {
		outcome = "changed"
	}
	i := slices.Index(outcomes[:], outcome)
	if i < 0 {
		i = len(outcomes) - 1 // a code that is not in the list stands for a mistake of ours
	}
	d.outcomes[i].Add(1)
	if out.Unconfirmed != nil {
		n.unconfirmed.Add(1)
	}
}

func (n *updateCounts) all() map[string]*doorCounts {
	if all := n.doors.Load(); all != nil {
		return *all
	}
	return nil
}

// add makes a door known.
func (n *updateCounts) add(door string) *doorCounts {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.all()
	if d := all[door]; d != nil {
		return d
	}
	next := map[string]*doorCounts{door: {}}
	maps.Copy(next, all)
	n.doors.Store(&next)
	return next[door]
}

// Counts adds up what was counted so far. It may be called at any time.
func (s *Service) Counts() Counts {
	out := Counts{Doors: map[string]DoorCounts{}, Unconfirmed: s.counts.unconfirmed.Load(), Overloaded: s.counts.overloaded.Load()}
	for door, d := range s.counts.all() {
		sum := DoorCounts{Outcomes: make(map[string]uint64, len(outcomes))}
		for i := range d.outcomes {
			sum.Outcomes[outcomes[i]] = d.outcomes[i].Load()
		}
		d.latency.AddTo(&sum.Latency)
		out.Doors[door] = sum
	}
	out.Proofs, out.Places = s.checks.length(), s.load.length()
	return out
}
