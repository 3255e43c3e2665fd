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
	untaken untaken       // states that DNS does not take
	checks  chan struct{} // one slot per proof check in flight
	waiting atomic.Int64  // checks that wait for a slot

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
		checks: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
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
	u.Source = u.Source.plain()
	if r := s.Admit(u.Source); r != nil {
		return Outcome{}, r
	}
	for range maxTries {
		now := s.Now()
		host, credentials, err := s.Store.Host(ctx, u.Host)
		if errors.Is(err, ErrDamaged) {
			// No proof can be checked, and a stranger is not to learn that it is there.
			if s.seldom(&s.damaged) {
				s.Log.Error("a host cannot be read: its updates are refused as if there were none", "host", u.Host.String(), "err", err)
			}
			err = ErrNoHost
		}
		if err != nil && !errors.Is(err, ErrNoHost) {
			return Outcome{}, unavailable("read the host", err)
		}
		if host != nil && s.familiar.Load() == nil {
			s.familiar.Store(new(host.Name))
		}
		credential, refusal := s.authenticate(ctx, host, credentials, u, now)
		if refusal != nil {
			return Outcome{}, refusal // never written down: it may be a guess
		}
		if refusal = authorize(host, credential, u); refusal != nil {
			return Outcome{}, s.refused(ctx, host, credential, u, refusal, now)
		}
		if host, err = s.meet(ctx, host); err != nil {
			return Outcome{}, unavailable("take over the host", err)
		}
		d := decide(host, credential, u, s.Limits.Changes, now)
		if d.refusal != nil {
			return Outcome{}, s.refused(ctx, host, credential, u, d.refusal, now)
		}
		if d.next == nil && host.Generation > 0 {
			s.touch(ctx, host, d.touch)
			return Outcome{Host: host, Unconfirmed: s.confirm(ctx, host, now)}, nil
		}
		taken := d.next == nil
		if taken {
			d.next, d.event = adopt(host, credential, u, now)
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
		err = s.save(ctx, Write{Before: host, Host: d.next, Event: d.event})
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return Outcome{}, unavailable("store the change", err)
		}
		return Outcome{Changed: !taken, Host: d.next, Unconfirmed: s.show(ctx, d.next)}, nil
	}
	return Outcome{}, unavailable("store the change", ErrConflict)
}

// evenChecks is how many checks a proof that does not hold costs at least,
// whether there is such a host or not. It is as many as an ordinary host has
// credentials that one proof could answer: two while a secret is replaced.
const evenChecks = 2

// authenticate finds the credential for which the proof holds. host is nil for
// an unknown one.
func (s *Service) authenticate(ctx context.Context, host *Host, credentials []*Credential, u Update, now time.Time) (*Credential, *Refusal) {
	if u.Proof == nil {
		u.Proof = TokenProof{} // that of nobody
	}
	if !s.enterCheck(ctx) {
		return nil, tooOften("too many requests", time.Second)
	}
	defer func() { <-s.checks }()
	done := 0
	if host != nil && !host.Removed {
		for _, c := range credentials {
			if !mayAnswer(host, c, u.Proof) {
				continue
			}
			done++
			if s.holds(host.Name, c, u.Proof) && c.usable(now, u.Source) {
				return c, nil
			}
		}
	}
	for ; done < evenChecks; done++ {
		s.holds(decoyName, s.decoy, u.Proof)
	}
	s.evenReads(ctx, host)
	return nil, s.failed(u, now)
}

// evenReads reads once more after a proof that does not hold: what is not there
// if the host is, a host that is if it is not. A store may find what it has
// faster, or slower, than what it has not; so both take the time of both.
func (s *Service) evenReads(ctx context.Context, host *Host) {
	name, err := decoyName.Child(randomText(idLength)) // new, lest the store remember it
	if err != nil {
		return // decoyName is short
	}
	if known := s.familiar.Load(); host == nil && known != nil {
		name = *known
	}
	if _, _, err := s.Store.Host(ctx, name); host == nil && errors.Is(err, ErrNoHost) {
		s.familiar.Store(nil) // it has been removed
	}
}

// mayAnswer tells whether a proof could be one of the credential's.
func mayAnswer(h *Host, c *Credential, p Proof) bool {
	// The credential says which hosts it serves and the host says which
	// credentials it has. Both must: the host's word is what Save compares.
	if !slices.Contains(h.Credentials, c.ID) {
		return false
	}
	if p.NeedsSecret() && (c.Sealed == nil || h.SeedOff && c.shared()) {
		return false
	}
	// A token has its ID in it. A secret of the user's own has none, but may look so.
	id := p.CredentialID()
	return id == c.ID || c.Kind == KindSeed || id == "" && (p.NeedsSecret() || c.Kind != KindToken)
}

// enterCheck waits for a slot to check a proof in. The queue is bounded.
func (s *Service) enterCheck(ctx context.Context) bool {
	select {
	case s.checks <- struct{}{}:
		return true
	default:
	}
	if s.waiting.Add(1) > 256*int64(cap(s.checks)) {
		s.waiting.Add(-1)
		return false
	}
	defer s.waiting.Add(-1)
	select {
	case s.checks <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Service) holds(host dnsname.Name, c *Credential, p Proof) bool {
	if !p.NeedsSecret() {
		return p.Check(c, Secret{})
	}
	secret, err := s.Sealer.Open(host, c.ID, c.Sealed)
	ok := p.Check(c, secret)
	if err == nil {
		return ok
	}
	if s.seldom(&s.complained) {
		s.Log.Error("a sealed secret cannot be opened: its host's seed proof does not work; rotate it, or restore the sealing key",
			"host", host.String(), "credential", c.ID, "err", err)
	}
	return false
}

// seldom is true once a minute.
func (s *Service) seldom(at *atomic.Int64) bool {
	now, last := s.Now().Unix(), at.Load()
	return (now-last >= 60 || now < last) && at.CompareAndSwap(last, now)
}

// failed counts a proof that did not hold. The proof was checked first, so that
// a right one is never refused because of others' wrong ones.
func (s *Service) failed(u Update, now time.Time) *Refusal {
	if wait := s.limits.failed(u.Source, u.Host, now); wait > 0 {
		return tooOften("too many requests", wait)
	}
	return refuse(BadProof, "the proof does not hold for this host", "check the host name and the secret")
}

// authorize says whether a proven credential may update this host's types at
// all. Together with decide, which judges each address, it is the only place
// that does, for every door.
func authorize(h *Host, c *Credential, u Update) *Refusal {
	g, ok := c.Grant(h.Name)
	if !ok {
		return refuse(NotYours, "this credential does not cover that host", "use the host's own credential")
	}
	for _, ch := range u.Changes {
		if !g.covers(ch.Type) {
			return refuse(NotYours, fmt.Sprintf("this credential does not cover %s records", ch.Type), "use one that does")
		}
	}
	if len(u.Changes) == 0 && !g.covers(familyOf(u.Source.Addr)) {
		return refuse(WrongFamily, fmt.Sprintf("this credential does not cover %s records", familyOf(u.Source.Addr)), "send the update over the other family")
	}
	return nil
}

func (s *Service) save(ctx context.Context, writes ...Write) error {
	if s.Publisher == nil {
		for _, w := range writes {
			w.Host.Published = w.Host.Generation // by construction
		}
	}
	return s.Store.Save(ctx, writes...)
}

// touch notes a sign of life. It may fail: the next one will note it.
func (s *Service) touch(ctx context.Context, h *Host, t Touch) {
	if t == (Touch{}) {
		return
	}
	if err := s.Store.Touch(ctx, h.Name, h.Generation, t); err != nil && !errors.Is(err, ErrConflict) {
		s.Log.Warn("could not note a sign of life", "host", h.Name.String(), "err", err)
	}
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

// Sweep takes away what has ended by itself: challenge values after a day, and
// the addresses of hosts whose lease ran out. A host for which that fails does
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
			err := s.save(ctx, Write{Before: h, Host: next, Event: event})
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
