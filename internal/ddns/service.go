package ddns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"godwit/internal/dnsname"
)

// Config is what a Service is made of.
type Config struct {
	Store  Store  // required
	Sealer Sealer // required
	Zones  Zones  // required
	// Publisher makes DNS show what the store holds. nil: DNS follows the
	// store's commits, so whatever is stored is published by construction.
	Publisher Publisher
	// Deferred leaves what was stored to somebody who follows the store and calls
	// PublishHosts: commands return once the change is durable. Needs a Publisher.
	Deferred bool
	// Grace is how old an unpublished change is before Repair takes it for
	// forgotten; 0: none at all, every one is. PublishHosts leaves such changes to
	// Repair, so that the two, which run at once in two processes, hardly ever
	// publish the same host: who comes second has its whole batch refused.
	Grace  time.Duration
	Limits Limits           // zero: no limits
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: nothing is logged
}

// Service makes updates and runs the installation's hosts. Safe for concurrent use.
type Service struct {
	Config
	limits   *limiter
	refusals *refusals
	asked    *buckets[dnsname.Name] // of DNS, on behalf of updates that change nothing
	ownPass  atomic.Pointer[Pass]   // where the Store keeps none
	listings struct {
		mu    sync.Mutex // guards zones
		zones map[dnsname.Name]listing
	}
	untaken untaken // states that DNS does not take
	checks  *turns  // of proofs
	replays *replays
	load    *load // updates at work
	counts  updateCounts

	// What an unknown host's proof is checked against, so that it costs the same.
	decoy *Credential
	// A host that there is, to be read where another one is not; nil: none known.
	familiar atomic.Pointer[dnsname.Name]
	// When it was last logged that a secret cannot be opened, and a host not read,
	// in Unix seconds: strangers can bring it about.
	complained, damaged atomic.Int64
}

// NewService returns a Service. It starts nothing; see [Service.Run].
func NewService(c Config) (*Service, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		Config: c, limits: newLimiter(c.Limits), refusals: newRefusals(), asked: newBuckets[dnsname.Name](askLimit),
		replays: newReplays(c.Now()), checks: newTurns(2*runtime.GOMAXPROCS(0), 512*runtime.GOMAXPROCS(0)),
	}
	if c.Publisher == nil || c.Deferred { // else an update waits for another system, which has limits of its own
		s.load = newLoad(updatesPerProcessor * min(runtime.NumCPU(), runtime.GOMAXPROCS(0)))
	}
	decoy, secret := NewToken(decoyName, time.Time{})
	var err error
	if decoy.Sealed, err = c.Sealer.Seal(decoyName, decoy.ID, secret); err != nil {
		return nil, fmt.Errorf("seal the decoy secret: %w", err)
	}
	s.decoy = decoy
	return s, nil
}

var decoyName = dnsname.MustParse("decoy.invalid")

// maxTries bounds how often one request starts again because its host changed
// meanwhile. With group commit one writer of many wins each round.
const maxTries = 64

// Admit counts a request against its source's limit. Doors that do not end in
// Update call it themselves.
func (s *Service) Admit(src Source) *Refusal {
	if wait := s.limits.request(src.plain(), s.Now()); wait > 0 {
		return tooOften("too many requests", wait)
	}
	return nil
}

func tooOften(why string, wait time.Duration) *Refusal {
	r := refuse(RateLimited, why, fmt.Sprintf("try again in %s", wait.Truncate(time.Second)+time.Second))
	r.RetryAfter = wait
	return r
}

// overloaded is never written down: there is too much to do already.
func (s *Service) overloaded() *Refusal {
	s.counts.overloaded.Add(1)
	return tooOften("the server has more to do than it can", time.Second)
}

func unavailable(doing string, cause error) *Refusal {
	return &Refusal{Code: Unavailable, Why: "the server cannot store changes at the moment", Fix: "try again later",
		RetryAfter: 30 * time.Second, Cause: fmt.Errorf("%s: %w", doing, cause)}
}

// errUnpublished is why DNS is not known to show a state that is stored.
var errUnpublished = errors.New("DNS has not confirmed the newest state yet")

// Update makes one update, or returns a *Refusal and no other error. A nil error
// means that the outcome is durable. After code unavailable a change may have
// been stored all the same; asking again is harmless. ctx bounds reading,
// storing and publishing; a change that is stored before it ends stays.
//
// The order of checks is the same for every door: source limits, proof, rights,
// address, decision. Until the proof holds, an unknown host and a wrong proof
// cost the same and answer the same.
func (s *Service) Update(ctx context.Context, u Update) (Outcome, error) {
	began := s.Now()
	do := func() (Outcome, error) { return s.update(ctx, u) }
	var out Outcome
	var err error
	if p, ok := u.Proof.(*TSIGProof); ok {
		out, err = s.replays.once(p, began, do)
	} else {
		out, err = do()
	}
	s.counts.count(u.Door, out, err, s.Now().Sub(began))
	return out, err
}

// update is Update, not counted.
func (s *Service) update(ctx context.Context, u Update) (Outcome, error) {
	u.Source = u.Source.plain()
	if r := s.Admit(u.Source); r != nil {
		return Outcome{}, r
	}
	if s.load.refuses(s.Now()) {
		return Outcome{}, s.overloaded()
	}
	entered := false
	defer func() {
		if entered {
			s.load.leave()
		}
	}()
	for range maxTries {
		now := s.Now()
		host, _, credential, refusal := s.prove(ctx, u, now)
		if refusal != nil {
			return Outcome{}, refusal // never written down: it may be a guess
		}
		// Not before: a flood of guesses takes no place from those who prove themselves.
		if !entered {
			if entered = s.load.enter(ctx, s.Now()); !entered {
				return Outcome{}, s.overloaded()
			}
		}
		if refusal = fresh(host, credential, u, now); refusal != nil {
			return Outcome{}, refusal // nor this: who repeats a request proves nothing
		}
		if refusal = authorize(host, credential, u); refusal != nil {
			return Outcome{}, s.refused(ctx, host, credential, u, refusal, now)
		}
		host, err := s.meet(ctx, host)
		if err != nil {
			return Outcome{}, unavailable("take over the host", err)
		}
		d := decide(host, credential, u, s.Limits.Changes, now)
		if d.refusal != nil {
			return Outcome{}, s.refused(ctx, host, credential, u, d.refusal, now)
		}
		if d.next == nil && host.Generation > 0 {
			if err := s.touch(ctx, host, d.touch); errors.Is(err, ErrConflict) || errors.Is(err, ErrNoHost) {
				continue
			} else if err != nil {
				return Outcome{}, unavailable("move the replay mark", err)
			}
			return Outcome{Before: host, Host: host, Unconfirmed: s.confirm(ctx, host, now)}, nil
		}
		taken := d.next == nil
		if taken {
			d.next, d.event = adopt(host, credential, u, now)
		}
		if refusal := s.challengeTaken(host, d.next); refusal != nil {
			return Outcome{}, s.refused(ctx, host, credential, u, refusal, now)
		}
		if credential.Rate > 0 && !taken {
			history, err := s.Store.Events(ctx, host.Name)
			if err != nil {
				return Outcome{}, unavailable("read the history", err)
			}
			if refusal := pace(credential, history, now); refusal != nil {
				return Outcome{}, s.refused(ctx, host, credential, u, refusal, now)
			}
		}
		// Store before publishing: a crash in between is repaired by Repair, the
		// reverse is not.
		err = s.save(ctx, Write{Before: host, Host: d.next, Event: d.event, Touch: u.mark(credential, now, true)})
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return Outcome{}, unavailable("store the change", err)
		}
		return Outcome{Changed: !taken, Before: host, Host: d.next, Unconfirmed: s.show(ctx, d.next)}, nil
	}
	return Outcome{}, unavailable("store the change", ErrConflict)
}

func (s *Service) save(ctx context.Context, writes ...Write) error {
	if s.Publisher == nil {
		for _, w := range writes {
			w.Host.Published = w.Host.Generation // by construction
		}
	}
	return s.Store.Save(ctx, writes...)
}

// touch notes a sign of life, which may fail: the next one will note it. Where
// it moves a replay mark too, nothing is done unless it has, so the error counts.
func (s *Service) touch(ctx context.Context, h *Host, t Touch) error {
	if t == (Touch{}) {
		return nil
	}
	err := s.Store.Touch(ctx, h.Name, h.Generation, t)
	if t.Credential != "" || err == nil {
		return err
	}
	if !errors.Is(err, ErrConflict) {
		s.Log.Warn("could not note a sign of life", "host", h.Name.String(), "err", err)
	}
	return nil
}

// publish makes DNS show the hosts and notes it. The result says for each host
// why DNS is not known to show its newest state; nil if it is.
func (s *Service) publish(ctx context.Context, hosts ...*Host) []error {
	errs := make([]error, len(hosts))
	if s.Publisher == nil {
		return errs
	}
	todo := make([]int, len(hosts)) // indexes into hosts
	for i := range hosts {
		todo[i] = i
	}
	hosts = slices.Clone(hosts)
	// Who notes n and finds n+1 publishes again, so that a publisher which was
	// overtaken leaves the newest state behind.
	for round := 0; len(todo) > 0 && round < maxTries; round++ {
		batch := make([]*Host, len(todo))
		for i, at := range todo {
			batch[i] = hosts[at]
		}
		results := s.publishBatch(ctx, batch)
		newer := make([]*Host, len(todo))
		each(len(todo), func(i int) {
			if i >= len(results) {
				errs[todo[i]] = errUnpublished
				return
			}
			newer[i], errs[todo[i]] = s.settle(ctx, batch[i], results[i])
		})
		var again []int
		for i, at := range todo {
			if newer[i] != nil {
				hosts[at] = newer[i]
				again = append(again, at)
			}
		}
		todo = again
	}
	for _, at := range todo {
		errs[at] = fmt.Errorf("%s changes faster than DNS can be made to show it", hosts[at].Name)
	}
	return errs
}

// noteTime is what publishing many hosts leaves of ctx's time for writing down
// what DNS took. What is shown and not noted has to be asked for the next time,
// and costs a batch that is refused for it.
const noteTime = 2 * time.Second

// publishBatch publishes hosts, in time for noting it.
func (s *Service) publishBatch(ctx context.Context, hosts []*Host) []Published {
	if deadline, ok := ctx.Deadline(); ok && len(hosts) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-noteTime))
		defer cancel()
	}
	return s.Publisher.Publish(ctx, hosts)
}

// each calls do for 0 to n-1, several at once, and returns when all are done.
func each(n int, do func(i int)) {
	const workers = 8
	if n == 1 {
		do(0)
		return
	}
	var wg sync.WaitGroup
	for w := range min(workers, n) {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
}

// show publishes one host, unless that is left to others or has been done.
func (s *Service) show(ctx context.Context, h *Host) error {
	if s.Deferred || h.Published >= h.Generation {
		return nil
	}
	return s.showNow(ctx, h)
}

// showNow publishes one host and logs if DNS is not known to show it.
func (s *Service) showNow(ctx context.Context, h *Host) error {
	err := s.publish(ctx, h)[0]
	if err != nil {
		s.Log.Warn("DNS is not known to show a host; it will be published again", "host", h.Name.String(),
			"generation", h.Generation, "err", err)
	}
	return err
}

// settle writes down what DNS shows, and returns the host if it has a newer
// state by now. It looks for one after an error too: what was published late
// may have reached DNS although nobody heard so.
func (s *Service) settle(ctx context.Context, h *Host, p Published) (*Host, error) {
	err, shows := p.Err, h.Generation
	if err == nil {
		shows = p.Generation
		var latest uint64
		latest, err = s.Store.Note(ctx, h.Name, p.Generation, p.Shown)
		if err == nil && latest <= shows {
			return nil, nil // and so there is nothing newer to look for
		}
		if errors.Is(err, ErrNoHost) {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("note that %s is published: %w", h.Name, err)
		}
	}
	latest, _, readErr := s.Store.Host(ctx, h.Name)
	switch {
	case errors.Is(readErr, ErrNoHost) && !h.Removed:
		// Its removal was published and noted meanwhile, and this came after it.
		gone := h.Clone()
		gone.Removed = true
		gone.Generation++
		if p.Err == nil {
			gone.Shown = p.Shown
		}
		return gone, nil
	case errors.Is(readErr, ErrNoHost):
		return nil, err
	case readErr != nil:
		return nil, errors.Join(err, fmt.Errorf("read %s after publishing: %w", h.Name, readErr))
	case latest.Generation > shows:
		if p.Err == nil {
			// The newer state goes on from what has just been sent, whatever was
			// noted of another publisher meanwhile.
			latest = latest.Clone()
			latest.Shown = p.Shown
		}
		return latest, nil
	}
	return nil, err
}

// Repair publishes every host that DNS is not known to show. It is what mends a
// crash between storing and publishing, and an outage of DNS. An error means
// that the store could not list them all; what DNS did not take stays
// unpublished, is logged, and is for the next call; what DNS refused for what it
// says (ErrNotTaken) is tried again after 1, 2, 4 … 60 minutes, and logged by
// every call all the same: alarms count how long a host is not shown.
func (s *Service) Repair(ctx context.Context) error {
	if s.Publisher == nil {
		return nil
	}
	now := s.Now()
	return pages(ctx, s.Store.Unpublished, func(hosts []*Host) {
		var waiting []*Host
		hosts = slices.DeleteFunc(slices.Clone(hosts), func(h *Host) bool {
			if now.Sub(h.ChangedAt).Abs() < s.Grace { // a clock may have been set back
				return true
			}
			waits := s.untaken.waits(h, now)
			if waits {
				waiting = append(waiting, h)
			}
			return waits
		})
		if len(waiting) > 0 {
			s.Log.Warn("DNS is not known to show some hosts that it did not take; they wait to be tried again", "hosts", len(waiting),
				"host", waiting[0].Name.String())
		}
		for i, err := range s.publishAll(ctx, hosts) {
			s.untaken.note(hosts[i], err, now)
		}
	})
}

// publishAll publishes a page of hosts and logs once for all that DNS is not
// known to show. The result is publish's.
func (s *Service) publishAll(ctx context.Context, hosts []*Host) []error {
	failed, example := 0, 0
	errs := s.publish(ctx, hosts...)
	for i, err := range errs {
		if err != nil {
			failed, example = failed+1, i
		}
	}
	if failed > 0 {
		s.Log.Warn("DNS is not known to show some hosts; they will be published again", "hosts", failed,
			"host", hosts[example].Name.String(), "err", errs[example])
	}
	return errs
}

// Sweep takes away what has ended by itself: challenge values after a day, the
// addresses of hosts whose lease ran out, join codes and replaced keys. A host for which that fails does
// not hold up the others; the error is the first such.
func (s *Service) Sweep(ctx context.Context) error {
	var first error
	now := s.Now()
	due := func(ctx context.Context, cursor string, limit int) ([]*Host, string, error) {
		return s.Store.Due(ctx, now, cursor, limit)
	}
	err := pages(ctx, due, func(hosts []*Host) {
		for _, h := range hosts {
			next, event := expire(h, now)
			if next == nil {
				continue
			}
			w := Write{Before: h, Host: next, Event: event}
			err := s.dropEnded(ctx, &w, now)
			if err == nil {
				err = s.save(ctx, w)
			}
			if errors.Is(err, ErrConflict) {
				continue // it lives: the next sweep looks again
			}
			if err != nil {
				if first == nil {
					first = fmt.Errorf("withdraw what ended at %s: %w", h.Name, err)
				}
				continue
			}
			_ = s.show(ctx, next) // logged, and for Repair
		}
	})
	return errors.Join(err, first)
}

// pages calls do with every page of a listing.
func pages(ctx context.Context, list func(context.Context, string, int) ([]*Host, string, error), do func([]*Host)) error {
	for cursor := ""; ; {
		hosts, next, err := list(ctx, cursor, 500)
		if err != nil {
			return err
		}
		do(hosts)
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// Run repairs and sweeps at once and then every minute, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.Repair(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("could not publish what is not yet published; trying again in a minute", "err", err)
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("could not withdraw what has ended; trying again in a minute", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
