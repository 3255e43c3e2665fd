package zone_test

import (
	"fmt"
	"sync"
	"testing"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// TestAhead looks ahead for names that are there, that are not, and that come and
// go meanwhile, for more of them than it has room for, and in a zone without
// hosts; it allocates nothing.
func TestAhead(t *testing.T) {
	apex := dnsname.MustParse("example.org")
	full, empty := mustNew(t, zone.Config{Apex: apex}), mustNew(t, zone.Config{Apex: apex})
	var names [][]byte
	for i := range 300 {
		owner := fmt.Sprintf("host%d.example.org", i)
		if i%3 > 0 {
			setHost(t, full, owner, 1, "192.0.2.1")
		}
		names = append(names, []byte(dnsname.MustParse(owner).Wire()))
	}
	names = append(names, []byte(apex.Wire()))
	var ahead zone.Ahead
	look := func() {
		for i := range names {
			ahead.Add(full, names[i])
			if i%5 == 0 {
				ahead.Add(empty, names[i])
			}
			if i%100 == 99 {
				ahead.Load()
			}
		}
		ahead.Load()
		ahead.Load()
	}
	if n := testing.AllocsPerRun(10, look); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var changes sync.WaitGroup
	changes.Go(func() {
		for i := range 2000 {
			owner := fmt.Sprintf("host%d.example.org", i%600)
			if i%2 == 0 {
				setHost(t, full, owner, uint64(2+i), "192.0.2.2")
			} else {
				setHost(t, full, owner, uint64(2+i))
			}
		}
	})
	for range 50 {
		look()
	}
	changes.Wait()
}
