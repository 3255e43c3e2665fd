package sqlite

import "godwit/internal/dnsname"

// Warmed waits until the cache has been filled after Follow.
func (s *Store) Warmed() { s.background.Wait() }

// Cached tells whether a host is in memory.
func (s *Store) Cached(name dnsname.Name) bool {
	e, _ := s.cache.get(name)
	return e != nil
}
