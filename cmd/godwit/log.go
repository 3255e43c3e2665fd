package main

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// quietLevel is for commands that open a store themselves: their messages say
// what matters, and the log only what is wrong.
const quietLevel = slog.LevelWarn

func newLogger(w io.Writer, level slog.Level, asJSON bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// maxWaiting bounds what waits to be written, in octets: some thousand lines.
const maxWaiting = 1 << 20

// gather is how long a line may wait for others, to be written with them: each
// write costs as much as a tenth of an update, and a wake-up.
const gather = time.Millisecond

// lineQueue is a writer that never waits: what it takes is written by a
// goroutine, with what comes within a moment. An update must not wait for the
// reader of the log, which may be a pipe that nobody empties; then lines are
// lost, and counted. Safe for concurrent use.
type lineQueue struct {
	w io.Writer

	mu      sync.Mutex // guards following
	waiting []byte
	spare   []byte // the other buffer, while no write is going on
	lost    int
	writing chan struct{} // closed when all is written; nil: nothing is going on
	timer   *time.Timer   // begins to write; nil: none has been written yet
}

// Write takes whole lines. It never fails: nobody could be told.
func (q *lineQueue) Write(lines []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting)+len(lines) > maxWaiting {
		q.lost++
		return len(lines), nil
	}
	q.waiting = append(q.waiting, lines...)
	if q.writing == nil {
		q.writing = make(chan struct{})
		if q.timer == nil {
			q.timer = time.AfterFunc(gather, q.drain)
		} else {
			q.timer.Reset(gather)
		}
	}
	return len(lines), nil
}

func (q *lineQueue) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 || q.lost > 0 {
		batch, lost := q.waiting, q.lost
		q.waiting, q.lost = q.spare[:0], 0
		q.mu.Unlock()
		if lost > 0 { // they came after those of the batch
			batch = fmt.Appendf(batch, "godwit: %s lost here: the log is not read as fast as it is written\n", quantity(lost, "line"))
		}
		_, _ = q.w.Write(batch) // nobody could be told
		q.mu.Lock()
		q.spare = batch
	}
	close(q.writing)
	q.writing = nil
}

// flush waits until all is written, but not for ever.
func (q *lineQueue) flush() {
	q.mu.Lock()
	done := q.writing
	q.mu.Unlock()
	if done == nil {
		return
	}
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}
