package ddns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestTurns: the owner's check comes after one of each network's that floods, not
// after the flood; who floods is refused what goes beyond his share, and who
// gives up leaves no gap.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, 100)
		var mu sync.Mutex // guards got and refused
		var got []string
		refused := map[string]int{}
		enter := func(ctx context.Context, who, network string) {
			go func() {
				ok := turns.enter(ctx, netip.MustParsePrefix(network))
				mu.Lock()
				defer mu.Unlock()
				if ok {
					got = append(got, who)
				} else {
					refused[who]++
				}
			}()
			synctest.Wait()
		}
		ctx := t.Context()
		enter(ctx, "first", "192.0.2.0/24")
		for range 150 {
			enter(ctx, "flood", "198.51.100.0/24")
		}
		for i := range 3 {
			enter(ctx, fmt.Sprint("other flood ", i), "2001:db8::/48")
		}
		leaving, leave := context.WithCancel(ctx)
		for range 2 {
			enter(leaving, "gives up", "192.0.2.0/24")
		}
		enter(ctx, "owner", "203.0.113.0/24")
		leave()
		synctest.Wait()
		if refused["flood"] != 50 || refused["gives up"] != 2 || len(refused) != 2 {
			t.Errorf("refused %v", refused)
		}
		for range 100 + 3 + 1 + 1 {
			turns.leave()
			synctest.Wait()
		}
		if want := []string{"first", "flood", "other flood 0", "owner", "flood", "other flood 1", "flood", "other flood 2", "flood", "flood"}; !slices.Equal(got[:len(want)], want) {
			t.Errorf("the order is %q, want %q", got[:len(want)], want)
		}
		if len(got) != 105 || turns.free != 1 || turns.waiting != 0 || len(turns.lines) != 0 || len(turns.order) != 0 {
			t.Errorf("%d got a slot; left %d free, %d waiting, %d lines", len(got), turns.free, turns.waiting, len(turns.lines))
		}
	})
}
