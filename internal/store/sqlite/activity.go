package sqlite

import (
	"context"
	"database/sql/driver"
	"sync/atomic"
	"time"

	"godwit/internal/histogram"
)

// Activity is what a store has done since it was opened, and what it has yet to do.
type Activity struct {
	// Commits that somebody waited for, by how long they took: from when the writer
	// took up the writes until they were durable and the follower had heard of them.
	Commits histogram.Counts
	Writes  uint64    // that went with them: with one commit, as many as came together
	Log     int64     // octets of changes that are in the log and not in their rows yet, about
	Swept   time.Time // when all of the log was last brought into the rows; opening does
	// Refusing tells whether the store takes no writes, because the disk failed or is full.
	Refusing bool
}

// activity is Activity as the writer keeps it for others to look at.
type activity struct {
	commits    histogram.Histogram
	writes     atomic.Uint64
	log, swept atomic.Int64 // swept in Unix microseconds
	refusing   atomic.Bool
}

// Activity may be called at any time; it waits for nobody.
func (s *Store) Activity() Activity {
	a := &s.activity
	out := Activity{Writes: a.writes.Load(), Log: a.log.Load(), Swept: time.UnixMicro(a.swept.Load()), Refusing: a.refusing.Load()}
	a.commits.AddTo(&out.Commits)
	return out
}

// committed counts a commit of these writes that began at began.
func (a *activity) committed(ops []*op, began time.Time) {
	n := uint64(0)
	for _, o := range ops {
		if o.err == nil {
			n++
		}
	}
	if n > 0 {
		a.writes.Add(n)
		a.commits.Observe(time.Since(began), 1)
	}
}

// tell has others see how the writer is.
func (w *writer) tell() {
	w.s.activity.log.Store(int64(w.backlog.bytes))
	w.s.activity.refusing.Store(w.conn == nil)
}

// Lag says how many hosts DNS is not known to show as they are, and since when
// the one that has waited longest. A host that changes while it waits may count
// from either change. Damaged rows are left out.
func (s *Store) Lag(ctx context.Context) (hosts int, since time.Time, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("select count(*), coalesce(min(json_extract(state, '$[1]')), 0) from hosts where unpublished is not null and json_valid(state)",
			func(row []driver.Value) error {
				r := reader{row: row}
				hosts = int(r.num())
				if at := r.num(); at > 0 {
					since = time.UnixMicro(at)
				}
				return r.err
			})
	})
	return hosts, since, err
}
