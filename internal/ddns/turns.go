package ddns

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// turns hands out the slots in which proofs are checked. Who finds none free
// waits in the line of his network, and the lines take turns: the first of a line
// waits for one check of each other line, however long those are. So a flood of
// guesses makes others wait a little and refuses nobody but itself.
type turns struct {
	room int // how many may wait before lines are held to their share of it

	mu      sync.Mutex // guards following
	free    int
	waiting int
	lines   map[netip.Prefix]*line
	order   []*line // whose turn is next; each has somebody waiting
}

// line is one network's, in the order in which they came.
type line struct {
	network netip.Prefix
	waiting []chan struct{} // closed when it is his turn
}

func newTurns(slots, room int) *turns {
	return &turns{room: room, free: slots, lines: make(map[netip.Prefix]*line)}
}

// enter waits for a slot. false: the network has more than its share waiting, or
// ctx has ended. After true the slot is to be given back by leave.
func (t *turns) enter(ctx context.Context, network netip.Prefix) bool {
	t.mu.Lock()
	if t.free > 0 { // then nobody waits
		t.free--
		t.mu.Unlock()
		return true
	}
	l := t.lines[network]
	if l == nil {
		l = &line{network: network}
	}
	if t.waiting >= t.room && len(l.waiting) >= max(1, t.room/max(1, len(t.order))) {
		t.mu.Unlock()
		return false
	}
	turn := make(chan struct{})
	if l.waiting = append(l.waiting, turn); len(l.waiting) == 1 {
		t.lines[network] = l
		t.order = append(t.order, l)
	}
	t.waiting++
	t.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(l.waiting, turn)
	if i < 0 { // it was given meanwhile
		t.leaveLocked()
		return false
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	t.waiting--
	if len(l.waiting) == 0 {
		delete(t.lines, network)
		t.order = slices.Delete(t.order, slices.Index(t.order, l), slices.Index(t.order, l)+1)
	}
	return false
}

// length is how many wait, in all lines.
func (t *turns) length() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// leave gives a slot to the next, if anybody waits.
func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaveLocked()
}

func (t *turns) leaveLocked() {
	if len(t.order) == 0 {
		t.free++
		return
	}
	l := t.order[0]
	t.order = t.order[1:]
	close(l.waiting[0])
	l.waiting = l.waiting[1:]
	t.waiting--
	if len(l.waiting) == 0 {
		delete(t.lines, l.network)
		return
	}
	t.order = append(t.order, l)
}
