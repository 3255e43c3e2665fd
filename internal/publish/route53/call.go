package route53

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"godwit/internal/awscall"
)

const (
	// minTime is how much time a batch needs to be sent at all: an answer that
	// comes too late is worth less than none, for it has to be asked for again.
	minTime = 250 * time.Millisecond
	// requestTime bounds one request, beside its context: it may wait on a
	// connection that is dead, and then there has to be time to look and repeat.
	// Each value of a batch adds perChange.
	requestTime = 3 * time.Second
	// Pauses between attempts have full jitter: anything up to a bound that
	// doubles from the first to the longest.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// manyThrottles is how often a batch of several hosts is repeated as it is.
	manyThrottles = 6
	// maxLost is how often a listing is repeated whose answer was lost.
	maxLost = 4
)

var errNoTime = errors.New("there was no time left to send it; it was not changed")

// pace spreads requests: so many a second, and as many at once after a pause
// (generic cell rate algorithm).
type pace struct {
	mu   *sync.Mutex // guards next
	next *time.Time  // when all that was let through would have been spread evenly
	each time.Duration
	room time.Duration
}

func newPace(rate float64) pace {
	each := time.Duration(float64(time.Second) / rate)
	return pace{new(sync.Mutex), new(time.Time), each, time.Duration(max(rate-1, 0)) * each}
}

// wait waits for a place and takes it, or says that ctx leaves no time for that.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	at := *p.next
	if at.Before(now) {
		at = now
	}
	pause := at.Sub(now) - p.room
	if deadline, ok := ctx.Deadline(); ok && pause > 0 && deadline.Sub(now) <= pause {
		p.mu.Unlock()
		return errNoTime
	}
	*p.next = at.Add(p.each)
	p.mu.Unlock()
	return sleep(ctx, pause)
}

// sleep pauses, or says that ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return errNoTime
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backOff pauses before another attempt.
func backOff(ctx context.Context, attempt int) error {
	return sleep(ctx, rand.N(min(firstPause<<min(attempt, 16), longestPause)))
}

var xmlHeader = http.Header{"Content-Type": {"text/xml"}}

// change sends one batch and repeats it while there is no room for it: that it
// has been refused for want of room is known. A single host's batch is repeated
// until ctx ends.
func (r *run) change(batch []*unit) error {
	var body []byte
	var last error // why there was no room for it
	for attempt := 0; ; attempt++ {
		if deadline, ok := r.ctx.Deadline(); ok && time.Until(deadline) < minTime {
			return cmp.Or(last, errNoTime)
		}
		if err := r.pace.wait(r.ctx); err != nil {
			return cmp.Or(last, err)
		}
		if body == nil {
			body = appendBatch(make([]byte, 0, 512+size(batch)), batch)
		}
		resp, err := r.do(r.ctx, awscall.Request{Method: http.MethodPost, Path: changePath(r.zone), Header: xmlHeader, Body: body}, elements(batch))
		if err == nil && !taken(resp.Body) {
			return &lost{errors.New("the answer to a batch could not be read")}
		}
		if err == nil || unknown(err) || !awscall.Throttled(err) {
			return err
		}
		if attempt >= manyThrottles && len(batch) > 1 {
			return &crowded{err}
		}
		if last = err; backOff(r.ctx, attempt) != nil {
			return err
		}
	}
}

// do makes a call, in its time.
func (p *Publisher) do(ctx context.Context, r awscall.Request, elements int) (awscall.Response, error) {
	if p.budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTime+time.Duration(elements)*perChange)
		defer cancel()
	}
	return p.client.Do(ctx, r)
}

func elements(batch []*unit) (n int) {
	for _, u := range batch {
		n += u.elements
	}
	return n
}

// size is about how long a batch is as XML.
func size(batch []*unit) int {
	n := 0
	for _, u := range batch {
		n += 200*2*len(u.pairs) + 64*u.elements + u.characters
		for i := range u.pairs {
			n += 2 * len(u.pairs[i].key().owner.Wire())
		}
	}
	return n
}

// lost is a batch whose outcome is not known although something was answered.
type lost struct{ error }

// crowded is a batch for which there is no room as it is.
type crowded struct{ error }

// unknown tells whether a batch that ended in err may have been done.
func unknown(err error) bool {
	_, ok := errors.AsType[*lost](err)
	return ok || awscall.Unknown(err)
}

// page asks for one page of a listing.
func (p *Publisher) page(ctx context.Context, zone string, at start) (page, error) {
	return ask(ctx, p, at.path(zone), decodeList)
}

// ask makes a call that changes nothing, and reads its answer. What was lost or
// cannot be read is asked for again, a few times.
func ask[T any](ctx context.Context, p *Publisher, path string, decode func([]byte) (T, error)) (answer T, err error) {
	for attempt, failures := 0, 0; ; attempt++ {
		if waitErr := p.pace.wait(ctx); waitErr != nil {
			return answer, cmp.Or(err, waitErr)
		}
		var resp awscall.Response
		resp, err = p.do(ctx, awscall.Request{Method: http.MethodGet, Path: path, Repeat: true}, 0)
		if err == nil {
			if answer, err = decode(resp.Body); err == nil {
				return answer, nil
			}
			failures++
		} else if awscall.Unknown(err) {
			failures++
		} else if !awscall.Throttled(err) {
			return answer, err
		}
		if failures >= maxLost || backOff(ctx, attempt) != nil {
			return answer, err
		}
	}
}

// place is where a key stands in listings.
type place struct {
	key
	position string
	rrType   string
}

func (a place) compare(b place) int {
	return cmp.Or(strings.Compare(a.position, b.position), strings.Compare(a.rrType, b.rrType))
}

// show asks what Route 53 has at these keys, and returns what it has. It asks
// for one host's names one by one and for many hosts page by page, whichever
// takes fewer calls.
func (p *Publisher) show(ctx context.Context, zone string, wanted []key) (map[key]record, error) {
	todo := make([]place, 0, len(wanted))
	is := make(map[key]bool, len(wanted))
	for _, x := range wanted {
		if !is[x] {
			is[x] = true
			todo = append(todo, place{x, position(x.owner), x.t.String()})
		}
	}
	slices.SortFunc(todo, place.compare)
	shown := make(map[key]record, len(todo))
	for len(todo) > 0 {
		first := todo[0]
		n := 1 // of the same owner
		for n < len(todo) && todo[n].owner == first.owner {
			n++
		}
		// Where * stands in the order is a matter of spelling, so a wildcard is asked
		// for alone. Between A and AAAA of a name there is nothing.
		alone := n == len(todo) || first.owner.IsWildcard()
		at := start{name: string(appendName(nil, first.owner)), rrType: first.rrType, items: maxPage}
		if alone {
			at.items = n
		}
		page, err := p.page(ctx, zone, at)
		if err != nil {
			return nil, err
		}
		for _, r := range page.records {
			if x := keyOf(&r.RRset); is[x] {
				shown[x] = r
			}
		}
		answered := len(todo)
		if alone {
			answered = n
		}
		if page.next != nil {
			next, err := page.next.place()
			if err != nil {
				return nil, err
			}
			end := answered
			answered = 1 // the first set at or after the start is that one, or there is none
			for answered < end && todo[answered].compare(next) < 0 && (answered < n || !todo[answered].owner.IsWildcard()) {
				answered++
			}
		}
		todo = todo[answered:]
	}
	return shown, nil
}

// place is where a listing goes on.
func (s *start) place() (place, error) {
	owner, err := parseName(s.name)
	if err != nil {
		return place{}, fmt.Errorf("the listing goes on at %.300q: %w", s.name, err)
	}
	return place{key{owner: owner}, position(owner), s.rrType}, nil
}
