package sqlite

import (
	"context"
	"errors"
	"time"

	"godwit/internal/dnsname"
)

// PendingRoom bounds what is pending, in bytes.
func (cfg Config) PendingRoom(bytes int) Config {
	cfg.pendingRoom = bytes
	return cfg
}

// Unswept has nothing brought into its row just because nobody writes.
func (cfg Config) Unswept() Config {
	cfg.quiet = time.Hour
	return cfg
}

// Pending says how many hosts are pending, and how many bytes they and their log take.
func (s *Store) Pending() (hosts, bytes, log int) {
	_ = s.submit(context.Background(), nil, func(w *writer) error {
		hosts, bytes, log = len(s.cache.pendingHosts()), s.cache.pendingBytes, w.backlog.bytes
		return nil
	})
	return hosts, bytes, log
}

// Between calls do between two writes.
func (s *Store) Between(do func()) error {
	return s.submit(context.Background(), nil, func(*writer) error {
		do()
		return nil
	})
}

// Advance goes on with the sweep by so many hosts.
func (s *Store) Advance(hosts int) error {
	return s.submit(context.Background(), nil, func(w *writer) error {
		if w.conn != nil {
			w.commit(nil, hosts)
		}
		return w.cause
	})
}

// Stumble has the writer open its database again, as after a write that failed.
func (s *Store) Stumble() error {
	return s.submit(context.Background(), nil, func(w *writer) error {
		w.tried = time.Time{}
		w.fall(&batch{}, errors.New("the test had it stumble"))
		return w.cause
	})
}

// Warmed waits until the cache has been filled after Follow.
func (s *Store) Warmed() { s.background.Wait() }

// Cached tells whether a host is in memory.
func (s *Store) Cached(name dnsname.Name) bool {
	e, _ := s.cache.get(name)
	return e != nil
}
