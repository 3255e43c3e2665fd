package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
	"unsafe"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// An ordinary change does not rewrite its host's row. All hosts that a batch
// changes go as one record into a log (see changes.go): that is a few blocks in a
// row, where a row for each host is a page somewhere for each host. The hosts
// as they are now are held in memory (see cache), and everybody looks there
// first.
//
// What is pending is brought into the rows later, host by host in the order of
// rows (a sweep), in transactions that are short enough for nobody to wait for
// them; then the log's records go. Each host's row knows how far it has
// been brought (entry.applied), so a log that is read again after a crash, from
// the beginning and in order, changes nothing twice. For the same reason the
// number of a record is never given again.
//
// What a record cannot say is written into the tables at once: new and removed
// hosts, names, credentials, and all that one of the partial indexes of hosts would
// have to know. Then the batch's record is in the same transaction, as a row of
// the table pending. The two are one log: numbers go through both. Of a
// credential, the log can have the replay mark, with the host that it is granted on.
const (
	// A sweep begins when nobody has written for a while (Config.quiet), and goes
	// on after each batch while something has been pending for so long or there is
	// too much of it (Config.pendingRoom).
	pendingFor = 30 * time.Second
	// sweepHosts is how many hosts a transaction of its own brings into their
	// rows, sweepRows how many rows of pending one deletes, and sweepEvery how long
	// the processor is left to others in between.
	sweepHosts = 128
	sweepRows  = 64
	sweepEvery = 10 * time.Millisecond
	// logRow is how long a row of the log may be that has more than one host, in
	// octets: it fills a page of the database. A longer one takes two and, with what
	// the pages themselves need, twice as much writing.
	logRow = 4000
	// maxChanges is how many changes of one host may be pending.
	maxChanges = 64
	// replayHosts is how many changes of hosts one transaction reads of the log after a crash.
	replayHosts = 4096
)

// noteApplied is the key of the note that holds the number of the newest row
// that was deleted from pending.
const noteApplied = "applied"

// change is an event that the host's row does not have yet.
type change struct {
	at         int64 // entry.logged as the change came
	generation uint64
	text       string // as appendEvent writes it
}

// mark is a replay mark that the credential's row does not have yet.
type mark struct {
	credential string
	at         int64
}

// pending tells whether the log has something of the host that its row has not.
func (e *entry) pending() bool { return e.logged > e.applied }

// backlog is what the writer knows of the log.
type backlog struct {
	last   int64                     // number of the newest record there ever was
	first  int64                     // no record has a lower number
	bytes  int                       // that the records take, about
	since  time.Time                 // when the oldest was written, or earlier
	zones  map[dnsname.Name]struct{} // whose newest serial is in no other table
	sweep  *sweep
	buffer []byte // room for a record
	spare  []byte // and for its last host
}

// startBacklog is the backlog where nothing is pending.
func startBacklog(last int64) backlog {
	return backlog{last: last, first: last + 1, zones: map[dnsname.Name]struct{}{}}
}

// sweep is one pass over all hosts that are pending.
type sweep struct {
	hosts []dnsname.Name // still to come, in the order of their rows
	upTo  int64          // after them, no record up to this one says anything new
	bytes int            // of these records
	began time.Time
}

func (l *backlog) empty() bool { return l.first > l.last }

// swept tells whether the sweep has brought all hosts, and only records are left
// to go.
func (l *backlog) swept() bool { return l.sweep != nil && len(l.sweep.hosts) == 0 }

// over tells whether there is so much in the log that writers must help.
func (w *writer) over(now time.Time) bool {
	l := &w.backlog
	room := w.s.cfg.pendingRoom
	return !l.empty() && (w.s.cache.pendingBytes > room || l.bytes > room/2 || now.Sub(l.since) > pendingFor)
}

// keep makes next the state of its host, in the log if that will do and in the
// host's row if not. before is what load gave; next is nobody else's yet.
func (b *batch) keep(before, next *entry) error {
	if before.applied < b.id && len(next.changes) <= maxChanges && foundAlike(before.host, next.host) {
		next.logged = b.id
		b.put(next.host.Name, before, next)
		return nil
	}
	return b.bring(before, next)
}

// bring makes next the state of its host, in the host's row.
func (b *batch) bring(before, next *entry) error {
	next.applied, next.logged = b.w.backlog.last, 0
	if err := putRow(b.w.conn, before.host, next); err != nil {
		return err
	}
	b.put(next.host.Name, before, next)
	return nil
}

// putRow writes a host's row, with all changes and marks of it that are pending.
// found is the host as the row has it, or one that is found alike.
func putRow(c *conn, found *ddns.Host, e *entry) error {
	if err := putMarks(c, e); err != nil {
		return err
	}
	for i := range e.changes {
		if err := putChange(c, e, &e.changes[i]); err != nil {
			return err
		}
	}
	e.changes = nil
	return updateHost(c, found, e)
}

// putMarks writes the marks of e's credentials that are pending into their rows. A
// credential that was replaced or revoked since has no use for them.
func putMarks(c *conn, e *entry) error {
	for _, m := range e.marks {
		cred := e.credential(m.credential)
		if cred == nil { // e has been read of the log
			var err error
			cred, err = readCredential(c, m.credential)
			if _, damaged := errors.AsType[*DamagedError](err); damaged {
				continue // it proves nothing
			} else if err != nil {
				return err
			}
			if cred == nil || cred.Mark >= m.at {
				continue
			}
			cred.Mark = m.at
		}
		if err := setMark(c, cred); err != nil {
			return err
		}
	}
	e.marks = nil
	return nil
}

// log writes what the batch keeps in the log, as records that are no longer than
// they may be, but of a host each at least. With them goes each zone's serial.
func (b *batch) log(write func(id int64, text []byte) (int, error), length int) error {
	l := &b.w.backlog
	s := summer{make([]byte, 0, 256)}
	var text []byte
	for _, e := range b.hosts {
		if e == nil || e.logged != b.id {
			continue
		}
		if text == nil {
			text = append(l.buffer[:0], logHead...)
		}
		begin := len(text)
		var sum int64
		var err error
		text = strconv.AppendInt(append(text, '['), e.id, 10)
		if text, sum, err = appendDNS(append(text, ','), e.host, &s); err != nil {
			return err
		}
		if text, err = appendState(append(text, ','), e.host, e.applied, sum, &s); err != nil {
			return err
		}
		for _, c := range e.changes {
			if c.at == b.id {
				text = append(text, c.text...) // begins with a comma
			}
		}
		for _, m := range e.marks {
			text = appendText(append(text, ",{"...), m.credential)
			text = append(strconv.AppendInt(append(text, ':'), m.at, 10), '}')
		}
		text = append(text, "],"...)
		if len(text) > length && begin > len(logHead) {
			rest := append(l.spare[:0], text[begin:]...)
			l.spare = rest
			if err := b.logRecord(write, append(text[:begin-1], "]}"...)); err != nil {
				return err
			}
			text = append(text[:len(logHead)], rest...)
		}
	}
	if text == nil {
		return nil
	}
	text = append(text[:len(text)-1], `],"zones":[`...)
	for name, z := range b.zones {
		text = appendText(append(text, '['), name.String())
		text = append(strconv.AppendUint(append(text, ','), uint64(z.serial), 10), "],"...)
	}
	text = append(bytes.TrimSuffix(text, []byte(",")), "]}"...)
	l.buffer = text
	return b.logRecord(write, text)
}

// logHead is how a record begins.
const logHead = `{"hosts":[`

func (b *batch) logRecord(write func(id int64, text []byte) (int, error), text []byte) error {
	n, err := write(b.id+b.logged, text)
	b.logged++
	b.logBytes += n
	return err
}

// putPending writes a record as a row, and returns how much of the database it
// takes, about.
func (c *conn) putPending(id int64, text []byte) (int, error) {
	// The engine has copied the text when the statement has run.
	return len(text), c.run("insert into pending values (?, ?, ?)", id, sumPending(id, text), unsafe.String(unsafe.SliceData(text), len(text)))
}

// sumPending is the checksum of a row of pending.
func sumPending(id int64, text []byte) int64 {
	s := summer{make([]byte, 0, 16)}
	s.num(uint64(id))
	return int64(crc32.Update(crc32.Checksum(s.b, castagnoli), castagnoli, text))
}

// advance goes on with the sweep, or begins one: it brings up to n hosts into
// their rows, or, when all have been brought, has records go. The commit of that
// is synced: what is no longer in the log is in the rows.
func (b *batch) advance(n int) error {
	l := &b.w.backlog
	if l.empty() {
		return nil
	}
	if l.swept() {
		return b.shorten()
	}
	if l.sweep == nil {
		l.sweep = &sweep{hosts: b.w.s.cache.pendingHosts(), upTo: l.last, bytes: l.bytes, began: b.now}
		b.w.log.turn()
	}
	n = min(n, len(l.sweep.hosts))
	for _, name := range l.sweep.hosts[:n] {
		e, err := b.load(name)
		if err != nil {
			return err
		}
		if e == nil || !e.pending() {
			continue // it was removed or written otherwise
		}
		next := *e
		if err := b.bring(e, &next); err != nil {
			return err
		}
	}
	b.swept = n
	return nil
}

// shorten deletes rows of pending. When the last that the sweep has gone past is
// deleted, the file of the log that it was in is free too.
func (b *batch) shorten() error {
	upTo := b.w.backlog.sweep.upTo
	at, more, err := b.w.conn.queryInt("select id from pending where id <= ? order by id limit 1 offset ?", upTo, int64(sweepRows-1))
	if err != nil {
		return err
	}
	if !more {
		at = upTo
	}
	b.deleted, b.wrote = at, true
	if err := b.w.conn.run("delete from pending where id <= ?", b.deleted); err != nil {
		return err
	}
	return setNote(b.w.conn, noteApplied, strconv.FormatInt(b.deleted, 10))
}

// committed brings the backlog up to what a batch did.
func (l *backlog) committed(b *batch) {
	if b.swept > 0 {
		l.sweep.hosts = l.sweep.hosts[b.swept:]
	}
	if b.deleted > 0 {
		l.first = b.deleted + 1
		if b.deleted == l.sweep.upTo {
			l.bytes -= l.sweep.bytes
			l.since = l.sweep.began
			l.sweep = nil
		}
	}
	if b.logged > 0 {
		if l.empty() {
			l.since = b.now
		}
		l.last += b.logged
		l.bytes += b.logBytes
	}
}

// tidy brings some of what is pending into the rows while nobody writes.
func (w *writer) tidy() {
	share := max(w.owed, sweepHosts)
	w.owed = 0
	if w.conn != nil && !w.backlog.empty() {
		w.commit(nil, share)
	}
}

// flush brings all that is pending into the rows.
func (w *writer) flush() error {
	for !w.backlog.empty() {
		if w.conn == nil {
			return fmt.Errorf("the store cannot write: %w", explain(w.cause))
		}
		w.commit(nil, replayHosts)
	}
	return nil
}
