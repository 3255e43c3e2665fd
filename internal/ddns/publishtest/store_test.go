package publishtest_test

import (
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/ddns/storetest"
)

// TestStore: the store in memory is a Store like the others.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) ddns.Store { return new(publishtest.Store) })
}

func TestReplay(t *testing.T) {
	storetest.Replay(t, 150, func(*testing.T) ddns.Store { return new(publishtest.Store) })
}
