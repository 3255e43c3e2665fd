package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

const (
	// queueLength bounds the writes that wait. Who finds the queue full waits
	// for a place as long as its context lets it.
	queueLength = 1024
	// batchLength bounds the writes of one transaction, and with it how long
	// the first of them waits for the last.
	batchLength = 512
)

// op is one write in the queue. do decides it against the present state and
// then writes, inside the batch's transaction. If it returns a refusal (see
// refused) it has written nothing; any other error fails the whole batch.
type op struct {
	do func(*batch) error
	// alone, if set, is run in place of do between two transactions.
	alone func(*writer) error
	err   error
	done  chan error
}

var ops = sync.Pool{New: func() any { return &op{done: make(chan error, 1)} }}

// invalidError is a write that no state would make right.
type invalidError struct{ why string }

func (e *invalidError) Error() string { return e.why }

// refused tells errors that decide one write from those of the store.
func refused(err error) bool {
	for _, is := range []error{ddns.ErrConflict, ddns.ErrNoHost, ddns.ErrNameTaken, ddns.ErrSecretTaken, ddns.ErrNoCredential} {
		if err == is {
			return true
		}
	}
	switch err.(type) {
	case *invalidError, *DamagedError:
		return true
	}
	return false
}

// write queues a write and waits for its outcome.
func (s *Store) write(ctx context.Context, do func(*batch) error) error {
	return s.submit(ctx, do, nil)
}

// submit waits for a place in the queue as long as ctx lets it. Once queued, a
// write is waited for: its outcome matters to DNS whether its caller is there or not.
func (s *Store) submit(ctx context.Context, do func(*batch) error, alone func(*writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := ops.Get().(*op)
	o.do, o.alone, o.err = do, alone, nil
	select {
	case s.writer.queue <- o:
	default:
		select {
		case s.writer.queue <- o:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.writer.stopped:
			return ErrClosed
		}
	}
	err, done := s.writer.wait(o)
	if !done {
		return ErrClosed // queued after the writer looked for the last time
	}
	o.do, o.alone = nil, nil
	ops.Put(o)
	return err
}

// wait returns the outcome of a queued write. Who finds that nobody has the turn
// to write does what is queued, his own write and others': a lone one is done
// without a change of goroutine.
func (w *writer) wait(o *op) (err error, done bool) {
	select {
	case w.turn <- struct{}{}:
		w.lead()
		w.pass()
	default: // who has it looks at the queue when he is done
	}
	for {
		select {
		case err = <-o.done:
		case <-w.stopped:
			select {
			case err = <-o.done:
			default:
				return nil, false
			}
		}
		if err != errTurn {
			return err, true
		}
		w.lead()
		w.pass()
	}
}

// errTurn tells who waits for his write that it is his turn to do what is queued.
var errTurn = errors.New("it is your turn")

// pass gives the turn to the first in the queue; to run, if that waits for it; or
// to nobody, and then the next one finds it.
func (w *writer) pass() {
	for wanted := w.wanted.Load(); ; wanted = false { // once, for run may not have come that far
		if !wanted {
			select {
			case w.first = <-w.queue:
				w.first.done <- errTurn
				return
			default:
			}
		}
		<-w.turn
		if len(w.queue) == 0 {
			return
		}
		select {
		case w.turn <- struct{}{}: // somebody came when it was about to be free
		default:
			return
		}
	}
}

// zoneState is what is stored of one zone.
type zoneState struct {
	serial      ddns.Serial
	fingerprint []byte
}

// writer owns the connection that writes, and all state that only who has the
// turn may change.
type writer struct {
	s       *Store
	queue   chan *op
	turn    chan struct{} // who sends has it until he receives, or passes it on
	first   *op           // of the batch of him who was passed the turn
	wanted  atomic.Bool   // run waits for the turn
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer has answered everybody and is gone

	conn   *conn // nil while the store is sick
	zones  map[dnsname.Name]zoneState
	follow func(ddns.Commit)
	// quiet goes off when nobody has written for a while and something is pending,
	// or when hosts must be brought into their rows at once: owed, how many.
	quiet   *time.Timer
	owed    int
	backlog backlog
	log     changeLog
	illness

	batch         []*op                   // room for who leads
	hosts, before map[dnsname.Name]*entry // room for a batch's
	event         []byte                  // and for an event's text
}

func newWriter(s *Store) (*writer, error) {
	w := &writer{s: s, quiet: time.NewTimer(time.Hour), illness: illness{timer: time.NewTimer(time.Hour)}, queue: make(chan *op, queueLength),
		turn: make(chan struct{}, 1), closing: make(chan struct{}), stopped: make(chan struct{}),
		hosts: map[dnsname.Name]*entry{}, before: map[dnsname.Name]*entry{}}
	var err error
	if w.conn, err = s.openWriting(); err != nil {
		return nil, err
	}
	last, err := w.replay(w.conn)
	if err != nil {
		return nil, errors.Join(explain(err), w.conn.close())
	}
	w.backlog = startBacklog(last)
	s.activity.swept.Store(s.cfg.Now().UnixMicro())
	w.zones, err = readZones(w.conn)
	if err := errors.Join(err, s.counts.read(w.conn)); err != nil {
		return nil, errors.Join(err, w.conn.close())
	}
	return w, nil
}

// openWriting opens the connection that writes.
func (s *Store) openWriting() (*conn, error) {
	c, err := openConn(s.file, s.cfg.PageCache>>10, false)
	if err != nil {
		return nil, err
	}
	if err := c.exec(fmt.Sprintf("pragma wal_autocheckpoint = %d", checkpointPages)); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// run does what nobody asked for.
func (w *writer) run() {
	defer close(w.stopped)
	defer w.timer.Stop()
	defer w.quiet.Stop()
	for {
		select {
		case <-w.timer.C:
			w.take()
			if w.conn == nil && !w.lost {
				w.heal()
			}
			w.pass()
		case <-w.quiet.C:
			w.take()
			w.tidy()
			w.rest(sweepEvery)
			w.pass()
		case <-w.closing:
			w.take() // for good
			w.drain()
			err := w.flush()
			if err == nil {
				err = w.log.remove()
			}
			if err = errors.Join(err, w.log.close()); err != nil {
				w.s.cfg.Log.Error("changes stay in the log until the next start", "err", err)
			}
			return
		}
	}
}

// take waits for the turn, which only run does.
func (w *writer) take() {
	w.wanted.Store(true)
	w.turn <- struct{}{}
	w.wanted.Store(false)
}

// lead does a batch of what is queued.
func (w *writer) lead() {
	batch := w.batch[:0]
	if w.first != nil {
		batch, w.first = append(batch, w.first), nil
	}
more:
	for len(batch) < batchLength && (len(batch) == 0 || batch[len(batch)-1].alone == nil) {
		select {
		case o := <-w.queue:
			batch = append(batch, o)
		default:
			break more
		}
	}
	if w.batch = batch; len(batch) > 0 {
		w.serve(batch)
		w.rest(w.s.cfg.quiet)
	}
}

// rest has what is pending looked after when nobody has written for so long.
func (w *writer) rest(d time.Duration) {
	if w.owed > 0 {
		d = 0
	}
	if w.conn != nil && !w.backlog.empty() {
		w.quiet.Reset(d)
	}
}

// drain does what was queued before Close.
func (w *writer) drain() {
	for {
		select {
		case o := <-w.queue:
			w.serve([]*op{o})
		default:
			return
		}
	}
}

// serve does a batch of writes and answers them; only the last may be alone.
func (w *writer) serve(ops []*op) {
	last := ops[len(ops)-1]
	alone := last.alone // an op is its caller's again once it is answered
	if alone != nil {
		ops = ops[:len(ops)-1]
	}
	if len(ops) > 0 {
		if w.conn == nil {
			w.refuse(ops)
		} else {
			w.commit(ops, 0)
		}
		if w.conn != nil && w.over(w.s.cfg.Now()) {
			w.owed += 2*len(ops) + 8 // more than they added
		}
		for _, o := range ops {
			o.done <- o.err
		}
	}
	if alone != nil {
		last.done <- guard(func() error { return alone(w) })
	}
}

// guard turns a panic into an error, so that whoever waits gets an answer.
func guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

// batch is one transaction in the making.
type batch struct {
	w   *writer
	now time.Time
	id  int64 // of its first row in pending, if there will be one
	// hosts are those that the batch has written, as they will be. nil: one whose
	// credentials it changed without having looked at it.
	hosts   map[dnsname.Name]*entry
	before  map[dnsname.Name]*entry // what they were; nil for none
	looked  map[dnsname.Name]*entry // read, not written
	changes []ddns.HostChange
	serials map[dnsname.Name]ddns.Serial
	zones   map[dnsname.Name]zoneState // that are new or differ
	wrote   bool
	zoned   bool // the static content of a zone has changed
	// newHosts and newCredentials are how many more there are after the batch.
	newHosts, newCredentials int64
	// logged and logBytes are how many rows of pending it has written, and their
	// length; swept and deleted what it has done of the sweep.
	logged   int64
	logBytes int
	swept    int
	deleted  int64
}

// commit does all writes that hold, or a share of the sweep, at once: as one
// record of the log if that can say it all, else in one transaction, the record
// in the table pending. It leaves the outcome of each write in its err.
func (w *writer) commit(ops []*op, share int) {
	b := &batch{w: w, now: w.s.cfg.Now(), id: w.backlog.last + 1}
	begun, began := false, time.Now()
	defer w.tell()
	err := guard(func() error {
		if err := w.conn.beginLater(len(ops) > 0 || w.backlog.swept()); err != nil {
			return err
		}
		for _, o := range ops {
			if o.err = o.do(b); o.err != nil && !refused(o.err) {
				return o.err
			}
		}
		if share > 0 {
			if err := b.advance(share); err != nil {
				return err
			}
		}
		if !b.wrote {
			return w.conn.end("rollback")
		}
		write, rowLength := w.log.append, math.MaxInt
		if w.conn.later.begun || b.zoned {
			write, rowLength = w.conn.putPending, logRow
		}
		begun = true
		w.s.cache.begin(b.hosts)
		if err := errors.Join(b.log(write, rowLength), b.writeZones(), b.writeCounts()); err != nil {
			return err
		}
		if err := w.conn.end("commit"); err != nil {
			return err
		}
		// DNS first: whoever sees the new state in the store finds it in DNS too.
		if w.follow != nil && len(b.changes) > 0 {
			w.follow(ddns.Commit{Changes: b.changes, Serials: b.serials})
		}
		for name, z := range b.zones {
			w.zones[name] = z
		}
		w.s.counts.hosts.Add(b.newHosts)
		w.s.counts.credentials.Add(b.newCredentials)
		w.s.activity.committed(ops, began)
		sweeping := w.backlog.sweep != nil
		w.backlog.committed(b)
		if sweeping && w.backlog.sweep == nil {
			w.s.activity.swept.Store(b.now.UnixMicro())
		}
		if w.backlog.sweep == nil {
			w.log.free(w.backlog.first - 1)
		}
		return nil
	})
	if begun {
		w.s.cache.end(err == nil)
	}
	if err == nil {
		return
	}
	w.fall(b, err)
	for _, o := range ops {
		if o.err == nil || !refused(o.err) {
			o.err = fmt.Errorf("could not confirm that the change is stored: %w", explain(err))
		}
	}
}

// load finds a host as the batch sees it: as it will be after the writes
// before; nil if there is none. Its credentials may be missing: see credentials.
func (b *batch) load(name dnsname.Name) (*entry, error) {
	if e := b.hosts[name]; e != nil {
		if e.gone {
			return nil, nil
		}
		return e, nil
	}
	if e, ok := b.looked[name]; ok {
		return e, nil
	}
	if e, _ := b.w.s.cache.get(name); e != nil {
		return e, nil
	}
	if e := b.w.s.cache.pending(name); e != nil {
		return e, nil
	}
	e, err := b.w.s.readEntry(b.w.conn, name, false)
	if err == nil {
		if b.looked == nil {
			b.looked = map[dnsname.Name]*entry{}
		}
		b.looked[name] = e
	}
	return e, err
}

// put makes e the state of its host in this batch. before is what load gave.
func (b *batch) put(name dnsname.Name, before, e *entry) {
	b.room()
	if _, ok := b.before[name]; !ok {
		b.before[name] = before
	}
	b.hosts[name] = e
	b.wrote = true
}

// room makes hosts and before, of what the last batch had.
func (b *batch) room() {
	if b.hosts == nil {
		b.hosts, b.before = b.w.hosts, b.w.before
		clear(b.hosts)
		clear(b.before)
	}
}

// event is an event as its host's row has it.
func (b *batch) event(e *ddns.Event) string {
	b.w.event = appendEvent(b.w.event[:0], e, 0)
	return string(b.w.event)
}

// credential finds a credential as the batch sees it; nil if there is none.
// Statements of the transaction see what the ones before wrote; a mark may be
// nowhere but with its host.
func (b *batch) credential(id string) (*ddns.Credential, error) {
	c, err := readCredential(b.w.conn, id)
	if c != nil && len(c.Grants) == 1 {
		if e := b.atHand(c.Grants[0].Host); e != nil && len(e.marks) > 0 {
			c = e.credential(id)
		}
	}
	return c, err
}

// atHand finds a host as load does, if it is in memory.
func (b *batch) atHand(name dnsname.Name) *entry {
	if e := b.hosts[name]; e != nil {
		return e
	}
	if e, _ := b.w.s.cache.get(name); e != nil {
		return e
	}
	return b.w.s.cache.pending(name)
}

// touchZone gives a zone a new serial in this transaction.
func (b *batch) touchZone(name dnsname.Name) {
	if _, ok := b.serials[name]; ok || name.IsZero() {
		return
	}
	z := b.zone(name)
	z.serial = z.serial.Next(b.now)
	b.setZone(name, z)
}

func (b *batch) zone(name dnsname.Name) zoneState {
	if z, ok := b.zones[name]; ok {
		return z
	}
	return b.w.zones[name]
}

func (b *batch) setZone(name dnsname.Name, z zoneState) {
	if b.zones == nil {
		b.zones, b.serials = map[dnsname.Name]zoneState{}, map[dnsname.Name]ddns.Serial{}
	}
	b.zones[name], b.serials[name] = z, z.serial
	b.wrote = true
}

// writeZones stores the serials that the log does not have. Once rows of the log
// are deleted, it needs to have none.
func (b *batch) writeZones() error {
	known := b.w.backlog.zones // that only the log has
	if b.deleted > 0 {
		for name := range known {
			if err := putZone(b.w.conn, name, b.zone(name)); err != nil {
				return err
			}
		}
		clear(known)
	}
	for name, z := range b.zones {
		if b.logged > 0 && b.deleted == 0 && string(z.fingerprint) == string(b.w.zones[name].fingerprint) {
			known[name] = struct{}{}
			continue
		}
		if err := putZone(b.w.conn, name, z); err != nil {
			return err
		}
	}
	return nil
}

func putZone(c *conn, name dnsname.Name, z zoneState) error {
	return c.run("insert into zones values (?, ?, ?) on conflict (name) do update set serial = excluded.serial, fingerprint = excluded.fingerprint",
		name.String(), int64(z.serial), blobOrNull(z.fingerprint))
}

func readZones(c *conn) (map[dnsname.Name]zoneState, error) {
	zones := map[dnsname.Name]zoneState{}
	err := c.query("select name, serial, fingerprint from zones", func(row []driver.Value) error {
		r := reader{row: row}
		name := r.name()
		z := zoneState{ddns.Serial(r.num()), r.blob()}
		if r.err != nil {
			return &DamagedError{fmt.Sprintf("zone %.300v", row[0]), r.err.Error()}
		}
		zones[name] = z
		return nil
	})
	return zones, err
}

// Zone returns a zone's SOA serial. If the fingerprint, which stands for the
// zone's static content, is not the stored one, the serial moves forward and
// both are stored, durably, before it returns. A new zone begins at the Unix time.
func (s *Store) Zone(ctx context.Context, apex dnsname.Name, fingerprint []byte) (ddns.Serial, error) {
	var serial ddns.Serial
	err := s.write(ctx, func(b *batch) error {
		z := b.zone(apex)
		if z.serial == 0 || string(z.fingerprint) != string(fingerprint) {
			z.serial, z.fingerprint = z.serial.Next(b.now), append([]byte(nil), fingerprint...)
			b.setZone(apex, z)
			b.zoned = true
		}
		serial = z.serial
		return nil
	})
	return serial, err
}
