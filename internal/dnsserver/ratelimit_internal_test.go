package dnsserver

import (
	"net/netip"
	"testing"
	"time"
)

// TestLimitManyNetworks floods from more networks than the table has accounts:
// those that ask little are answered, and who floods is not forgotten.
func TestLimitManyNetworks(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := newLimiter(10, now)
	flooder, name := netip.MustParseAddr("192.0.2.1"), []byte("\x04home\x00")
	for range 1000 {
		l.take(flooder, 1, name, now)
	}
	answered := 0
	const networks = limitSets * limitWays * 3 / 2
	for i := range networks {
		if l.take(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}), 1, name, now) == sendIt {
			answered++
		}
	}
	if answered < networks-1 { // one of them is the flooder's
		t.Errorf("%d of %d networks answered", answered, networks)
	}
	if l.take(flooder, 1, name, now) == sendIt {
		t.Error("the flood was forgotten")
	}
}
