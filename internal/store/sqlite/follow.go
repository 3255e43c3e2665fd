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

// Follow calls load for every host, then loaded, and from the same instant on
// apply for each commit that changes hosts, in order, before the commit is
// acknowledged. It returns after loaded. Writes wait meanwhile.
//
// load is called by one goroutine at a time, in no order. The host that it gets
// has what DNS shows and no more (name, zone, TTL, switches, addresses, prefix,
// followers, TXT, generation) and is valid during the call only. An error of
// load ends Follow. Hosts with damaged rows are reported in the log and left
// out. loaded may be nil.
//
// apply is called by the store's writer: it must not call the store's writing
// methods, and while it runs nobody's change is acknowledged. There is one
// follower at most.
func (s *Store) Follow(load func(*ddns.Host) error, loaded func(), apply func(ddns.Commit)) error {
	return s.submit(context.Background(), nil, func(w *writer) error {
		if w.follow != nil {
			return errors.New("the store has a follower already")
		}
		if err := w.flush(); err != nil {
			return err
		}
		if err := s.loadAll(load); err != nil {
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

const (
	loadChunk = 8192 // row ids that a decoder takes at a time
	loadBatch = 256  // hosts handed over at a time
)

// loadAll reads all hosts. Decoding costs far more than most callbacks, so as
// many goroutines decode as there are processors, each with a snapshot of its
// own: they are the same one, because the writer is here. Hosts are handed over
// in batches that go round, so that a million hosts leave no million hosts of garbage.
func (s *Store) loadAll(load func(*ddns.Host) error) error {
	decoders := min(max(runtime.GOMAXPROCS(0), 1), 4)
	var last int64
	if err := s.read(context.Background(), func(c *conn) (err error) {
		last, _, err = c.queryInt("select coalesce(max(id), 0) from hosts")
		return err
	}); err != nil {
		return err
	}
	full, free := make(chan []ddns.Host, 2*decoders), make(chan []ddns.Host, 4*decoders)
	for range cap(free) {
		free <- make([]ddns.Host, 0, loadBatch)
	}
	stop := make(chan struct{})
	var next atomic.Int64 // first id of the next chunk
	var wg sync.WaitGroup
	errs := make([]error, decoders)
	for i := range decoders {
		wg.Go(func() {
			errs[i] = guard(func() error { return s.decodeChunks(&next, last, free, full, stop) })
		})
	}
	go func() { wg.Wait(); close(full) }()
	err := guard(func() error {
		for batch := range full {
			for i := range batch {
				if err := load(&batch[i]); err != nil {
					return err
				}
			}
			free <- batch
		}
		return nil
	})
	close(stop)
	for range full { // until all decoders are gone
	}
	return errors.Join(append(errs, err)...)
}

// decodeChunks decodes one range of rows after the other until none is left.
func (s *Store) decodeChunks(next *atomic.Int64, last int64, free, full chan []ddns.Host, stop chan struct{}) error {
	c, err := openConn(s.file, readerPages, false)
	if err != nil {
		return err
	}
	defer c.close()
	var sum summer
	var zone zoneMemo
	var batch []ddns.Host
	hand := func() error {
		select {
		case full <- batch:
			batch = nil
			return nil
		case <-stop:
			return errStop
		}
	}
	for {
		from := next.Add(loadChunk) - loadChunk
		if from > last {
			break
		}
		err := c.query("select cast(dns as blob) from hosts where id between ? and ?", func(row []driver.Value) error {
			if batch == nil {
				select {
				case batch = <-free:
					batch = batch[:0]
				case <-stop:
					return errStop
				}
			}
			batch = batch[:len(batch)+1]
			// As octets, which the driver hands over at half the cost of a text; they are ours alone.
			octets, _ := row[0].([]byte)
			dns := unsafe.String(unsafe.SliceData(octets), len(octets))
			if _, err := decodeDNS(&batch[len(batch)-1], dns, &zone, &sum); err != nil {
				s.damaged(&DamagedError{columnName(dns), err.Error()})
				batch = batch[:len(batch)-1]
				return nil
			}
			if len(batch) == cap(batch) {
				return hand()
			}
			return nil
		}, from, from+loadChunk-1)
		if err != nil {
			return explain(err)
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
	if len(batch) > 0 {
		_ = hand()
	}
	return nil
}
