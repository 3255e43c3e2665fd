package ddns

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// enterAll has n callers ask for a place, and returns how many have one and how
// many were refused so far.
func enterAll(ctx context.Context, l *load, n int, group *sync.WaitGroup) (in, out func() int) {
	var mu sync.Mutex
	var entered, refused int
	for range n {
		group.Go(func() {
			ok := l.enter(ctx, time.Now())
			mu.Lock()
			defer mu.Unlock()
			if ok {
				entered++
			} else {
				refused++
			}
		})
	}
	synctest.Wait()
	read := func(n *int) func() int {
		return func() int { mu.Lock(); defer mu.Unlock(); return *n }
	}
	return read(&entered), read(&refused)
}

// A burst waits and is served; nobody is refused.
func TestLoadTakesABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoad(4)
		var group sync.WaitGroup
		in, out := enterAll(t.Context(), l, 20, &group)
		if in() != 4 || out() != 0 {
			t.Fatalf("%d entered, %d refused", in(), out())
		}
		for range 16 {
			time.Sleep(patience / 20)
			l.leave()
			synctest.Wait()
		}
		group.Wait()
		if in() != 20 || out() != 0 {
			t.Errorf("%d entered, %d refused", in(), out())
		}
		for range 4 {
			l.leave()
		}
		if l.free != 4 || len(l.line) > 0 {
			t.Errorf("%+v is left", l)
		}
	})
}

// Where the line does not end, those who come later are refused at once, and
// those with a place keep theirs; it is over once nobody had to be refused.
func TestLoadRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a line that moves too slowly
		l := newLoad(4)
		var group sync.WaitGroup
		in, out := enterAll(t.Context(), l, 40, &group)
		for range 11 { // a place comes free now and then, never enough of them
			time.Sleep(patience/10 - 1) // the tenth still comes in time
			l.leave()
			synctest.Wait()
		}
		if in() != 14 || out() != 26 { // the last leaves a place free: the line has given up
			t.Errorf("%d entered, %d refused", in(), out())
		}
		group.Wait()
		_, out = enterAll(t.Context(), l, 1, &group)
		if out() != 0 {
			t.Error("who finds a place is refused")
		}
		_, out = enterAll(t.Context(), l, 5, &group)
		if out() != 5 || !l.refuses(time.Now()) {
			t.Errorf("%d of 5 are refused at once", out())
		}
		time.Sleep(calm + 1)
		if l.refuses(time.Now()) {
			t.Error("nobody was refused for long, and nobody may wait")
		}
	})
	synctest.Test(t, func(t *testing.T) { // a line that does not move
		l := newLoad(1)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		_, out := enterAll(ctx, l, 3, &group)
		time.Sleep(patience - 1)
		cancel()
		synctest.Wait()
		if out() != 2 {
			t.Errorf("%d who went away are refused", out())
		}
		began := time.Now()
		_, out = enterAll(t.Context(), l, 50, &group) // a new line
		time.Sleep(patience)
		synctest.Wait()
		if out() != 50 || time.Since(began) != patience || !l.refuses(time.Now()) {
			t.Errorf("%d refused after %s", out(), time.Since(began))
		}
		group.Wait()
	})
	synctest.Test(t, func(t *testing.T) { // a line that is always there
		l := newLoad(1)
		var group sync.WaitGroup
		enterAll(t.Context(), l, 1, &group)
		ended := make(chan struct{})
		group.Go(func() { // there is always somebody in line
			for range 3 {
				group.Go(func() { l.enter(t.Context(), time.Now()) })
				time.Sleep(patience / 2)
			}
			close(ended)
		})
		time.Sleep(patience + 1)
		if !l.refuses(time.Now()) {
			t.Error("there has been a line for too long, and somebody may wait")
		}
		_, out := enterAll(t.Context(), l, 5, &group)
		if out() != 5 {
			t.Errorf("%d of 5 are refused at once", out())
		}
		<-ended
		time.Sleep(calm + patience)
		if l.refuses(time.Now()) {
			t.Error("nobody was refused for long, and nobody may wait")
		}
		group.Wait()
	})
}
