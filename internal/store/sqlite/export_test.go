package sqlite

import "godwit/internal/dnsname"

// OneThread has the writer keep to one thread, so that the N-th sync of a thread
// is the N-th sync of the store.
func (cfg Config) OneThread() Config {
	cfg.oneThread = true
	return cfg
}

// Warmed waits until the cache has been filled after Follow.
func (s *Store) Warmed() { s.background.Wait() }

// Cached tells whether a host is in memory.
func (s *Store) Cached(name dnsname.Name) bool {
	e, _ := s.cache.get(name)
	return e != nil
}
