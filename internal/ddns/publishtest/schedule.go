package publishtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// schedules plays random interleavings of writers through the core: some are
// held between storing a state and publishing it, while others go on. In the end
// DNS must show what the store holds, and the store must know it.
func schedules(ctx context.Context, s Setup) error {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		name, err := s.Zone.Child(fmt.Sprintf("seed%d", seed))
		if err != nil {
			return err
		}
		if err := Interleave(ctx, s, name, random.IntN); err != nil {
			return fmt.Errorf("schedule %d: %w", seed, err)
		}
	}
	return nil
}

// oneZone is the [ddns.Zones] of the suite.
type oneZone struct{ apex dnsname.Name }

func (z oneZone) Zone(name dnsname.Name) (dnsname.Name, bool) { return z.apex, name.Under(z.apex) }
func (oneZone) Clash(dnsname.Name) error                      { return nil }

// late is a Publisher that one writer has for itself. Its first call waits.
type late struct {
	ddns.Publisher
	entered chan struct{} // closed when the first call has come
	release chan struct{} // closed to let it go on
	waited  bool
}

func (l *late) Publish(ctx context.Context, hosts []*ddns.Host) []ddns.Published {
	if !l.waited {
		l.waited = true
		close(l.entered)
		<-l.release
	}
	return l.Publisher.Publish(ctx, hosts)
}

// held is a writer that has stored its state and has not yet published it.
type held struct {
	release chan struct{}
	done    chan struct{}
}

// Interleave plays one schedule of about a dozen steps with a host of that name
// and says what is wrong in the end. choose(n) picks one of 0 to n-1: it is the
// schedule.
func Interleave(ctx context.Context, s Setup, name dnsname.Name, choose func(int) int) error {
	store := new(Store)
	service := func(p ddns.Publisher) *ddns.Service {
		svc, err := ddns.NewService(ddns.Config{Store: store, Sealer: store, Zones: oneZone{s.Zone}, Publisher: p})
		if err != nil {
			panic(err) // Store seals everything
		}
		return svc
	}
	direct := service(s.Publisher)
	settings := ddns.Settings{Addresses: new(ddns.AnyAddress)}
	var token ddns.Secret
	add := func() error {
		made, err := direct.Add(ctx, name, settings, ddns.Secret{})
		token = made.Token
		return err
	}
	if err := add(); err != nil {
		return err
	}
	ttl := uint32(60)
	// write chooses a change and says how to make it.
	write := func() func(*ddns.Service) error {
		what, stop := choose(4), choose(2) == 0
		ttl++
		settings := ddns.Settings{TTL: new(ttl)}
		address := v4(int(ttl))
		proof := ddns.TokenProof{Token: token}
		return func(svc *ddns.Service) (err error) {
			switch what {
			case 0:
				_, err = svc.Set(ctx, name, settings)
			case 1:
				settings.Suspended = &stop
				_, err = svc.Set(ctx, name, settings)
			case 2:
				err = svc.Remove(ctx, name)
			default:
				_, err = svc.Update(ctx, ddns.Update{Host: name, Proof: proof, Source: ddns.SourceOf(address)})
			}
			return err
		}
	}
	// Writers may find the host removed or suspended: that is no fault of theirs.
	tolerate := func(err error) error {
		if r, ok := errors.AsType[*ddns.Refusal](err); ok && r.Code != ddns.Unavailable {
			return nil
		}
		return err
	}
	var waiting []held
	finish := func(i int) {
		close(waiting[i].release)
		<-waiting[i].done
		waiting = append(waiting[:i], waiting[i+1:]...)
	}
	defer func() {
		for len(waiting) > 0 {
			finish(0)
		}
	}()
	letGo := func() {
		if choose(3) == 0 {
			s.Fail(LoseAnswer, name)
		}
		finish(choose(len(waiting)))
	}
	for range 12 {
		switch what := choose(5); {
		case what == 0 && len(waiting) > 0:
			letGo()
		case what == 1:
			if err := tolerate(add()); err != nil {
				return err
			}
		case what == 2:
			if err := tolerate(write()(direct)); err != nil {
				return err
			}
		default:
			l := &late{Publisher: s.Publisher, entered: make(chan struct{}), release: make(chan struct{})}
			w := held{l.release, make(chan struct{})}
			change := write()
			var err error
			go func() {
				defer close(w.done)
				err = change(service(l))
			}()
			select {
			case <-l.entered: // stored
				waiting = append(waiting, w)
			case <-w.done: // nothing to publish
				if err := tolerate(err); err != nil {
					return err
				}
			}
		}
	}
	for len(waiting) > 0 {
		letGo()
	}
	// What was refused or not heard is repaired, by a timer in real life. Twice,
	// for a publisher that knew better than to ask DNS has left a lost answer for
	// the first.
	for range 2 {
		if err := direct.Repair(ctx); err != nil {
			return err
		}
	}
	return s.settled(ctx, store, name)
}

// settled compares DNS with the store.
func (s Setup) settled(ctx context.Context, store *Store, name dnsname.Name) error {
	h, _, err := store.Host(ctx, name)
	if errors.Is(err, ddns.ErrNoHost) {
		h = &ddns.Host{Name: name, Removed: true}
	} else if err != nil {
		return err
	}
	if h.Published != h.Generation {
		return fmt.Errorf("%s is at generation %d and published at %d", name, h.Generation, h.Published)
	}
	return s.shows(h)
}
