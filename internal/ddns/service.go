package ddns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
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
	Limits    Limits           // zero: no limits
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: nothing is logged
}

// Service makes updates and runs the installation's hosts. Safe for concurrent use.
type Service struct {
	Config
	limits   *limiter
	refusals *refusals
	checks   chan struct{} // one slot per proof check in flight
	waiting  atomic.Int64  // checks that wait for a slot

	// What an unknown host's proof is checked against, so that it costs the same.
	decoy *Credential
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
		Config: c, limits: newLimiter(c.Limits), refusals: newRefusals(),
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
	if wait := s.limits.request(src, s.Now()); wait > 0 {
		return tooOften(wait)
	}
	return nil
}

func tooOften(wait time.Duration) *Refusal {
	r := refuse(RateLimited, "too many requests", fmt.Sprintf("try again in %s", wait.Truncate(time.Second)+time.Second))
	r.RetryAfter = wait
	return r
}

func unavailable(doing string, cause error) *Refusal {
	return &Refusal{Code: Unavailable, Why: "the server cannot store changes at the moment", Fix: "try again later",
		RetryAfter: 30 * time.Second, Cause: fmt.Errorf("%s: %w", doing, cause)}
}

var badProof = refuse(BadProof, "the proof does not hold for this host", "check the host name and the secret")

// Update makes one update, or returns a *Refusal. A nil error means that the
// outcome is durable.
//
// The order of checks is the same for every door: source limits, proof, rights,
// address, decision. Until the proof holds, an unknown host and a wrong proof
// cost the same and answer the same.
func (s *Service) Update(ctx context.Context, u Update) (Outcome, error) {
	if r := s.Admit(u.Source); r != nil {
		return Outcome{}, r
	}
	for range maxTries {
		now := s.Now()
		host, credentials, err := s.Store.Host(ctx, u.Host)
		if err != nil && !errors.Is(err, ErrNoHost) {
			return Outcome{}, unavailable("read the host", err)
		}
		credential, refusal := s.authenticate(ctx, host, credentials, u, now)
		if refusal != nil {
			return Outcome{}, refusal // never written down: it may be a guess
		}
		if refusal = authorize(host, credential, u); refusal != nil {
			return Outcome{}, s.refused(ctx, host, credential, u, refusal, now)
		}
		d := decide(host, credential, u, s.Limits.Changes, now)
		if d.refusal != nil {
			return Outcome{}, s.refused(ctx, host, credential, u, d.refusal, now)
		}
		if d.next == nil {
			s.touch(ctx, host, d.touch)
			return Outcome{Host: host}, nil
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
		return Outcome{Changed: true, Host: d.next, Unconfirmed: s.publish(ctx, d.next)[0]}, nil
	}
	return Outcome{}, unavailable("store the change", ErrConflict)
}

// authenticate finds the credential for which the proof holds. host is nil for
// an unknown one.
func (s *Service) authenticate(ctx context.Context, host *Host, credentials []*Credential, u Update, now time.Time) (*Credential, *Refusal) {
	if !s.enterCheck(ctx) {
		return nil, tooOften(time.Second)
	}
	defer func() { <-s.checks }()
	if host == nil || host.Removed {
		s.holds(decoyName, s.decoy, u.Proof)
		return nil, s.failed(u, now)
	}
	var found *Credential
	checked := false
	for _, c := range credentials {
		if id := u.Proof.CredentialID(); id != "" && id != c.ID && c.Kind != KindSeed {
			continue
		}
		if u.Proof.NeedsSecret() && (c.Sealed == nil || host.SeedOff) {
			continue
		}
		checked = true
		if s.holds(host.Name, c, u.Proof) && c.usable(now, u.Source) {
			found = c
			break
		}
	}
	if found == nil {
		if !checked {
			s.holds(decoyName, s.decoy, u.Proof)
		}
		return nil, s.failed(u, now)
	}
	return found, nil
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
	var secret Secret
	if p.NeedsSecret() {
		var err error
		if secret, err = s.Sealer.Open(host, c.ID, c.Sealed); err != nil {
			s.Log.Error("a sealed secret cannot be opened: its host's seed proof does not work; rotate it, or restore the sealing key",
				"host", host.String(), "credential", c.ID, "err", err)
			return false
		}
	}
	return p.Check(c, secret)
}

// failed counts a proof that did not hold. The proof was checked first, so that
// a right one is never refused because of others' wrong ones.
func (s *Service) failed(u Update, now time.Time) *Refusal {
	if wait := s.limits.failed(u.Source, u.Host, now); wait > 0 {
		return tooOften(wait)
	}
	return badProof
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
		var again []int
		for i, p := range s.Publisher.Publish(ctx, batch) {
			at := todo[i]
			if errs[at] = p.Err; p.Err != nil {
				continue
			}
			newer, err := s.note(ctx, hosts[at].Name, p)
			errs[at] = err
			if newer != nil {
				hosts[at] = newer
				again = append(again, at)
			}
		}
		todo = again
	}
	for _, at := range todo {
		errs[at] = fmt.Errorf("%s changes faster than DNS can be made to show it", hosts[at].Name)
	}
	for i, err := range errs {
		if err != nil {
			s.Log.Warn("DNS is not known to show a host; it will be published again", "host", hosts[i].Name.String(),
				"generation", hosts[i].Generation, "err", err)
		}
	}
	return errs
}

// note writes down what DNS shows, and returns the host if it has a newer state.
func (s *Service) note(ctx context.Context, name dnsname.Name, p Published) (*Host, error) {
	if err := s.Store.Note(ctx, name, p.Generation, p.Shown); err != nil {
		if errors.Is(err, ErrNoHost) {
			return nil, nil
		}
		return nil, fmt.Errorf("note that %s is published: %w", name, err)
	}
	latest, _, err := s.Store.Host(ctx, name)
	switch {
	case errors.Is(err, ErrNoHost):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s after publishing: %w", name, err)
	case latest.Generation > p.Generation:
		return latest, nil
	}
	return nil, nil
}

// Repair publishes every host that DNS is not known to show. It is what mends a
// crash between storing and publishing, and an outage of DNS.
func (s *Service) Repair(ctx context.Context) error {
	if s.Publisher == nil {
		return nil
	}
	return pages(ctx, s.Store.Unpublished, func(hosts []*Host) error {
		s.publish(ctx, hosts...)
		return nil
	})
}

// Sweep takes away what has ended by itself: challenge values after a day, and
// the addresses of hosts whose lease ran out.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.Now()
	due := func(ctx context.Context, cursor string, limit int) ([]*Host, string, error) {
		return s.Store.Due(ctx, now, cursor, limit)
	}
	return pages(ctx, due, func(hosts []*Host) error {
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
				return fmt.Errorf("withdraw what ended at %s: %w", h.Name, err)
			}
			s.publish(ctx, next)
		}
		return nil
	})
}

// pages calls do with every page of a listing.
func pages(ctx context.Context, list func(context.Context, string, int) ([]*Host, string, error), do func([]*Host) error) error {
	for cursor := ""; ; {
		hosts, next, err := list(ctx, cursor, 500)
		if err != nil {
			return err
		}
		if err := do(hosts); err != nil {
			return err
		}
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
