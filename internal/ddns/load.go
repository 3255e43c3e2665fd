package ddns

import (
	"context"
	"slices"
	"sync"
	"time"
)

// load bounds how many updates are at work at once, so that each takes its time
// whatever comes besides (docs/decisions/0017). Only those enter whose proof
// holds.
//
// Who finds no place waits in line. If there has been a line for patience, or
// somebody waited for as long in vain, more is asked for than can be done: from
// then on nobody waits, and whoever finds no place is refused at once, until
// nobody had to be for calm. nil has room for everybody.
type load struct {
	mu     sync.Mutex // guards following
	free   int
	line   []chan struct{} // closed when it is his turn
	since  time.Time       // when the line began
	strict time.Time       // until when nobody waits
}

const (
	// updatesPerProcessor is about what one processor and one sync of a disk serve
	// best together: fewer leave one of them idle, more wait.
	updatesPerProcessor = 64
	// patience is how long a burst may be, and how long who waits does so.
	patience = 100 * time.Millisecond
	// calm is longer than those who were refused stay away.
	calm = 2 * time.Second
)

func newLoad(places int) *load { return &load{free: places} }

// refuses tells whether somebody who comes now would be refused, at no cost.
func (l *load) refuses(now time.Time) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.free == 0 && l.strictLocked(now)
}

// strictLocked tells whether nobody may wait, for somebody who would have to.
func (l *load) strictLocked(now time.Time) bool {
	if now.Before(l.strict) || len(l.line) > 0 && now.Sub(l.since) >= patience {
		l.strict = now.Add(calm)
		return true
	}
	return false
}

// enter waits for a place. false: there is none in time. After true it is to be
// given back by leave.
func (l *load) enter(ctx context.Context, now time.Time) bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	if l.free > 0 { // then nobody waits
		l.free--
		l.mu.Unlock()
		return true
	}
	if l.strictLocked(now) {
		l.mu.Unlock()
		return false
	}
	if len(l.line) == 0 {
		l.since = now
	}
	turn := make(chan struct{})
	l.line = append(l.line, turn)
	l.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	case <-timer.C:
		now = now.Add(patience)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.line, turn)
	if i < 0 {
		return true // it came at the last moment
	}
	l.line = slices.Delete(l.line, i, i+1)
	if ctx.Err() == nil {
		l.strict = now.Add(calm)
	}
	return false
}

// length is how many wait in line.
func (l *load) length() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.line)
}

// leave gives the place to the first in line.
func (l *load) leave() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) == 0 {
		l.free++
		return
	}
	close(l.line[0])
	l.line = l.line[1:]
}
