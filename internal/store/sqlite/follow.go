package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"godwit/internal/ddns"
)

// Follow loads every host, calls loaded, and from the same instant on apply for
// each commit that changes hosts, in order, before the commit is acknowledged.
// It returns after loaded. Writes wait meanwhile.
//
// Several goroutines load, side by side. Each calls loader for a function of its
// own and that for each host that it reads, in no order. The host has what DNS
// shows and no more (name, zone, TTL, switches, addresses, prefix, followers,
// TXT, generation) and is valid during the call only. An error of such a
// function ends Follow. Hosts with damaged rows are reported in the log and left
// out. loaded may be nil.
//
// apply is called by the store's writer: it must not call the store's writing
// methods, and while it runs nobody's change is acknowledged. There is one
// follower at most.
func (s *Store) Follow(loader func() func(*ddns.Host) error, loaded func(), apply func(ddns.Commit)) error {
	return s.submit(context.Background(), nil, func(w *writer) error {
		if w.follow != nil {
			return errors.New("the store has a follower already")
		}
		if err := w.flush(); err != nil {
			return err
		}
		// Not with a reader's connection: all may be lent to those who wait for the writer.
		last, _, err := w.conn.queryInt("select coalesce(max(id), 0) from hosts")
		if err != nil {
			return err
		}
		if err := s.loadAll(last, loader); err != nil {
			return err
		}
		if loaded != nil {
			loaded()
		}
		w.follow = apply
		s.background.Go(func() { s.warm(s.lives) })
		return nil
	})
}

// loadChunk is how many row ids are read at a time.
const loadChunk = 1024

// loadAll reads all hosts, in as many goroutines as there are processors (which
// may be less than GOMAXPROCS), each with a snapshot of its own: they are the same one, because the writer is here.
func (s *Store) loadAll(last int64, loader func() func(*ddns.Host) error) error {
	var next atomic.Int64 // first id of the next chunk
	errs := make([]error, min(runtime.NumCPU(), runtime.GOMAXPROCS(0), 4))
	var wg sync.WaitGroup
	for i := range errs {
		load := loader()
		wg.Go(func() {
			errs[i] = guard(func() error { return s.loadChunks(&next, last, load) })
			if errs[i] != nil {
				next.Store(last + 1) // so that the others end
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// loadChunks reads one range of rows after the other until none is left. Each
// range is read before it is decoded, because SQLite and what follows it fill the
// processor's instruction cache: row by row takes a tenth longer.
func (s *Store) loadChunks(next *atomic.Int64, last int64, load func(*ddns.Host) error) error {
	c, err := openConn(s.file, readerPages, false)
	if err != nil {
		return err
	}
	defer c.close()
	var sum summer
	var zone zoneMemo
	var host ddns.Host
	rows := make([][]byte, 0, loadChunk)
	keep := func(row []driver.Value) error {
		// As octets, which the driver hands over at half the cost of a text; they
		// are ours alone.
		octets, _ := row[0].([]byte)
		rows = append(rows, octets)
		return nil
	}
	for {
		from := next.Add(loadChunk) - loadChunk
		if from > last {
			return nil
		}
		rows = rows[:0]
		if err := c.query("select cast(dns as blob) from hosts where id between ? and ?", keep, from, from+loadChunk-1); err != nil {
			return explain(err)
		}
		for _, octets := range rows {
			dns := unsafe.String(unsafe.SliceData(octets), len(octets))
			if _, err := decodeDNS(&host, dns, &zone, &sum); err != nil {
				s.damaged(&DamagedError{columnName(dns), err.Error()})
				continue
			}
			if err := load(&host); err != nil {
				return err
			}
		}
	}
}
