package sqlite

import (
	"errors"
	"fmt"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// retryEvery is how often a store that refuses changes tries to go on.
const retryEvery = 250 * time.Millisecond

// illness is the writer's state after a failed write, commit or sync.
//
// SQLite acknowledges the commit after a failed one, and a kernel that could
// not write a page may forget that it should. So after any failure the writer
// lets go of its connection and acknowledges nothing until it has a new one, the
// whole log has been brought into the database file and synced, and what the
// file holds agrees with what was acknowledged. Readers keep theirs: what they
// see was synced before.
type illness struct {
	cause    error
	suspects map[dnsname.Name]*entry // hosts whose last write may or may not be there, as they were; nil for none
	lost     bool                    // the disk does not hold what was acknowledged: nothing mends that
	timer    *time.Timer             // when to try to go on
	tried    time.Time
}

// fall ends the use of a connection after a failure.
func (w *writer) fall(b *batch, cause error) {
	if w.suspects == nil {
		w.suspects = map[dnsname.Name]*entry{}
	}
	for name, e := range b.before {
		if _, ok := w.suspects[name]; !ok {
			w.suspects[name] = e
		}
	}
	w.s.cfg.Log.Error("could not store changes: refusing them until the database has been opened again and compared", "err", explain(cause))
	w.sicken(cause)
	// The first failure in a while: try at once, it may have been one bad moment.
	if now := time.Now(); now.Sub(w.tried) > retryEvery {
		w.heal()
	}
}

func (w *writer) sicken(cause error) {
	if w.conn != nil {
		_ = w.conn.end("rollback") // SQLite may have done so already
		_ = w.conn.close()
		w.conn = nil
	}
	w.cause = cause
	w.timer.Reset(retryEvery)
	w.tell()
}

// refuse answers writes while the store cannot write.
func (w *writer) refuse(ops []*op) {
	for _, o := range ops {
		o.err = fmt.Errorf("the store cannot write: %w", explain(w.cause))
	}
}

// heal opens the database again and goes on if it is sound.
func (w *writer) heal() {
	w.tried = time.Now()
	var c *conn
	err := guard(func() (err error) {
		if c, err = w.s.openWriting(); err != nil {
			return err
		}
		return w.compare(c)
	})
	if err != nil {
		if c != nil {
			_ = c.close()
		}
		w.conn = nil
		w.sicken(err)
		return
	}
	w.conn, w.cause, w.suspects = c, nil, nil
	w.tell()
	w.s.cfg.Log.Info("changes are stored again")
}

// errLost: the database lacks what was acknowledged.
var errLost = errors.New("the disk has lost changes that were acknowledged: stop godwit, look at the disk, and restore a backup if need be")

// compare brings the log into the file, and all that is pending into its tables,
// and holds the file against what was acknowledged: each record has a
// higher number, and each change moved the serial of its zones. What a failed
// commit left there all the same is told to the follower, because it will be
// there after a restart too.
func (w *writer) compare(c *conn) error {
	// Readers must keep nothing of what they read meanwhile.
	unsure := map[dnsname.Name]*entry{}
	pending := w.s.cache.pendingHosts()
	for _, name := range pending {
		unsure[name] = nil
	}
	for name := range w.suspects {
		unsure[name] = nil
	}
	w.s.cache.begin(unsure)
	defer w.s.cache.end(false)
	// A backup that is under way keeps the log from being emptied; then it is
	// brought in as far as it goes. What is left was synced when it was
	// acknowledged, and the next commit writes over what was not.
	if _, _, err := c.queryInt("pragma wal_checkpoint(truncate)"); err != nil {
		return err
	}
	last, err := w.replay(c)
	if err != nil {
		return err
	}
	if last < w.backlog.last {
		w.lost = true
		return errLost
	}
	zones, err := readZones(c)
	if err != nil {
		return err
	}
	for name, known := range w.zones {
		if now, ok := zones[name]; !ok || now.serial.Before(known.serial) {
			w.lost = true
			return errLost
		}
	}
	if err := w.s.counts.read(c); err != nil {
		return err
	}
	var commit ddns.Commit
	for name, before := range w.suspects {
		e, err := w.s.readEntry(c, name, false)
		if err != nil {
			return err
		}
		if change, differs := settle(before, e); differs {
			commit.Changes = append(commit.Changes, change)
		}
	}
	if len(commit.Changes) > 0 {
		commit.Serials = map[dnsname.Name]ddns.Serial{}
		for name, z := range zones {
			if w.zones[name].serial != z.serial {
				commit.Serials[name] = z.serial
			}
		}
		if w.follow != nil {
			w.follow(commit)
		}
	}
	w.s.cache.allBrought(pending)
	w.backlog = startBacklog(last)
	w.s.activity.swept.Store(w.s.cfg.Now().UnixMicro())
	w.zones = zones
	return nil
}

// settle says what became of a host whose write had an unknown outcome.
func settle(before, now *entry) (ddns.HostChange, bool) {
	switch {
	case before == nil && now == nil:
		return ddns.HostChange{}, false
	case before == nil:
		return ddns.HostChange{After: now.host}, true
	case now == nil:
		gone := before.host.Clone()
		gone.Generation++
		gone.Removed = true
		return ddns.HostChange{Before: before.host, After: gone}, true
	}
	return ddns.HostChange{Before: before.host, After: now.host}, before.host.Generation != now.host.Generation
}
