package publishtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

func shown(ctx context.Context, s Setup) error {
	h := s.host(1)
	h.A = []netip.Addr{v4(1), v4(2), v4(3)}
	return s.all(ctx, h)
}

func idempotent(ctx context.Context, s Setup) error {
	h := s.host(1)
	unnoted := h.Clone() // as after a crash between publishing and noting
	return errors.Join(s.all(ctx, h), s.all(ctx, h), s.all(ctx, unnoted), s.all(ctx, h))
}

func byState(ctx context.Context, s Setup) error {
	h := s.host(1)
	err := s.all(ctx, h)
	for _, edit := range []func(*ddns.Host){
		func(h *ddns.Host) { h.A = []netip.Addr{v4(2)} },
		func(h *ddns.Host) { h.A = []netip.Addr{v4(2), v4(3)} },
		func(h *ddns.Host) { h.A = nil },
		func(h *ddns.Host) { h.AAAA = nil },
		func(h *ddns.Host) { h.A = []netip.Addr{v4(1)} },
	} {
		h = next(h, edit)
		err = errors.Join(err, s.all(ctx, h))
	}
	return err
}

func ttlChange(ctx context.Context, s Setup) error {
	h := s.host(1)
	err := s.all(ctx, h)
	return errors.Join(err, s.all(ctx, next(h, func(h *ddns.Host) { h.TTL = 300 })))
}

func wildcard(ctx context.Context, s Setup) error {
	h := s.host(1)
	h.Wildcard = true
	err := s.all(ctx, h)
	h = next(h, func(h *ddns.Host) { h.A = []netip.Addr{v4(2)} })
	err = errors.Join(err, s.all(ctx, h))
	return errors.Join(err, s.all(ctx, next(h, func(h *ddns.Host) { h.Wildcard = false })))
}

// withFollowers gives a host two followers.
func withFollowers(h *ddns.Host) {
	child := func(label string) dnsname.Name {
		n, err := h.Name.Child(label)
		if err != nil {
			panic(err)
		}
		return n
	}
	h.Prefix = netip.MustParsePrefix("2001:db8:0:ff00::/56")
	h.Followers = []ddns.Follower{
		{Name: child("nas"), Low: netip.MustParseAddr("::1234"), A: true, AAAA: true},
		{Name: child("tv"), Low: netip.MustParseAddr("0:0:0:5::1"), AAAA: true},
	}
}

func followers(ctx context.Context, s Setup) error {
	h := s.host(1)
	withFollowers(h)
	err := s.all(ctx, h)
	for _, edit := range []func(*ddns.Host){
		func(h *ddns.Host) { h.Prefix = netip.MustParsePrefix("2001:db8:1:fe00::/56") },
		func(h *ddns.Host) { h.A = []netip.Addr{v4(9)} },
		func(h *ddns.Host) { h.Followers = h.Followers[:1] },
		func(h *ddns.Host) { h.Prefix = netip.Prefix{} },
		func(h *ddns.Host) { h.Followers = nil },
	} {
		h = next(h, edit)
		err = errors.Join(err, s.all(ctx, h))
	}
	return err
}

func challenge(ctx context.Context, s Setup) error {
	h := s.host(1)
	h.TXT = []ddns.TXT{{Value: "one", Time: start}, {Value: "a \"quoted\" \\ value; with % and \xc3\xa9", Time: start}}
	err := s.all(ctx, h)
	h = next(h, func(h *ddns.Host) { h.TXT = h.TXT[:1] })
	err = errors.Join(err, s.all(ctx, h))
	return errors.Join(err, s.all(ctx, next(h, func(h *ddns.Host) { h.TXT = nil })))
}

// everything gives a host all that a host can have.
func everything(h *ddns.Host) {
	withFollowers(h)
	h.Wildcard = true
	h.TXT = []ddns.TXT{{Value: "one", Time: start}}
}

func suspended(ctx context.Context, s Setup) error {
	h := s.host(1)
	everything(h)
	err := s.all(ctx, h)
	h = next(h, func(h *ddns.Host) { h.Suspended = true })
	err = errors.Join(err, s.all(ctx, h))
	return errors.Join(err, s.all(ctx, next(h, func(h *ddns.Host) { h.Suspended = false })))
}

// removal takes away what was shown although the removed state knows nothing of
// it but Shown, and a host of the same name may come afterwards.
func removal(ctx context.Context, s Setup) error {
	h := s.host(1)
	everything(h)
	err := s.all(ctx, h)
	h = next(h, func(h *ddns.Host) {
		h.A, h.AAAA, h.Prefix, h.Followers, h.TXT, h.Wildcard, h.Removed = nil, nil, netip.Prefix{}, nil, nil, false, true
	})
	err = errors.Join(err, s.all(ctx, h), s.all(ctx, h))
	again := s.host(1)
	again.Generation, again.Published, again.Shown = h.Generation+1, h.Published, nil
	return errors.Join(err, s.all(ctx, again))
}

// many makes n hosts.
func (s Setup) many(n int) []*ddns.Host {
	hosts := make([]*ddns.Host, n)
	for i := range hosts {
		hosts[i] = s.host(i)
	}
	return hosts
}

func batch(ctx context.Context, s Setup, n int) error {
	hosts := s.many(n)
	if err := s.all(ctx, hosts...); err != nil {
		return err
	}
	for i := range hosts {
		hosts[i] = next(hosts[i], func(h *ddns.Host) { h.A = []netip.Addr{v4(i + 1)} })
	}
	return s.all(ctx, hosts...)
}

// isolates lets DNS refuse some hosts of a batch and looks at all of them.
func isolates(ctx context.Context, s Setup, n, bad int) error {
	hosts := s.many(n)
	if err := s.all(ctx, hosts...); err != nil {
		return err
	}
	before := make([]*ddns.Host, n)
	refused := map[int]bool{}
	for i := range hosts {
		before[i] = hosts[i]
		hosts[i] = next(hosts[i], func(h *ddns.Host) { h.A = []netip.Addr{v4(i + 1)} })
	}
	for k := range bad {
		i := (2*k + 1) * n / (2 * bad)
		refused[i] = true
		s.Fail(Refuse, hosts[i].Name)
	}
	results, err := s.publish(ctx, hosts...)
	if err != nil {
		return err
	}
	for i, r := range results {
		switch {
		case refused[i] && r.Err == nil:
			err = errors.Join(err, fmt.Errorf("%s was refused; the result has no error", hosts[i].Name))
		case refused[i]:
			err = errors.Join(err, s.shows(before[i])) // not emptied, not half changed
		case r.Err != nil:
			err = errors.Join(err, fmt.Errorf("%s suffers from another: %w", hosts[i].Name, r.Err))
		default:
			err = errors.Join(err, s.shows(hosts[i]))
		}
	}
	return errors.Join(err, s.all(ctx, hosts...)) // and then it is taken
}

func lostAnswer(ctx context.Context, s Setup) error {
	a, b := s.host(1), s.host(2)
	if err := s.all(ctx, a, b); err != nil {
		return err
	}
	a = next(a, func(h *ddns.Host) { h.A = []netip.Addr{v4(9)} })
	b = next(b, func(h *ddns.Host) { h.A = []netip.Addr{v4(8)} })
	s.Fail(LoseAnswer, a.Name)
	// It may find out by itself that DNS has taken it. If it does not, it must
	// say so, and the next time must do.
	results, err := s.publish(ctx, a, b)
	if err != nil {
		return err
	}
	if results[0].Err == nil {
		err = s.shows(a)
	}
	if results[1].Err != nil {
		err = errors.Join(err, fmt.Errorf("%s suffers from another: %w", b.Name, results[1].Err))
	}
	err = errors.Join(err, s.all(ctx, a, b))
	// What was taken without an answer is known to nobody, and must still go away.
	withFollowers(a)
	a = next(a, func(*ddns.Host) {})
	s.Fail(LoseAnswer, a.Name)
	if _, wrong := s.publish(ctx, a); wrong != nil {
		return errors.Join(err, wrong)
	}
	return errors.Join(err, s.all(ctx, a))
}

func atOnce(ctx context.Context, s Setup) error {
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			h := s.host(i)
			errs[i] = s.all(ctx, h)
			for n := range 5 {
				h = next(h, func(h *ddns.Host) { h.A = []netip.Addr{v4(100*i + n)} })
				errs[i] = errors.Join(errs[i], s.all(ctx, h))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ended publishes under a context that is over: the result may be either, but
// must be true.
func ended(ctx context.Context, s Setup) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	h := s.host(1)
	results, err := s.publish(ctx, h)
	if err == nil && results[0].Err == nil {
		err = s.shows(h)
	}
	return errors.Join(err, s.all(context.WithoutCancel(ctx), h))
}

// inspected asks a publisher that is a [ddns.Inspector] what DNS shows.
func inspected(ctx context.Context, s Setup) error {
	in, ok := s.Publisher.(ddns.Inspector)
	if !ok {
		return nil
	}
	other, h := s.host(2), s.host(1)
	everything(h)
	unknown := h.Clone() // nothing is known of what was published for it
	err := s.all(ctx, other, h)
	check := func(doing string, h *ddns.Host, want []ddns.RRset) {
		got, lookErr := in.Look(ctx, h)
		if lookErr == nil {
			lookErr = same(got, want)
		}
		if lookErr != nil {
			err = errors.Join(err, fmt.Errorf("look at %s: %w", doing, lookErr))
		}
	}
	check("what was published", h, h.RRsets())
	check("what others published", unknown, h.RRsets())
	check("what is not there", s.host(3), nil)
	bare := h.Clone()
	bare.Followers, bare.Wildcard, bare.TXT = nil, false, nil
	check("what is no longer the host's", bare, h.RRsets())
	listed := map[dnsname.Name][]ddns.RRset{}
	listErr := in.List(ctx, s.Zone, func(sets []ddns.RRset) error {
		for _, set := range sets {
			listed[set.Owner] = append(listed[set.Owner], set)
		}
		return nil
	})
	err = errors.Join(err, listErr)
	for _, want := range slices.Concat(h.RRsets(), other.RRsets()) {
		found := slices.DeleteFunc(slices.Clone(listed[want.Owner]), func(r ddns.RRset) bool { return r.Type != want.Type })
		if wrong := same(found, []ddns.RRset{want}); wrong != nil {
			err = errors.Join(err, fmt.Errorf("list: %w", wrong))
		}
	}
	stop := errors.New("enough")
	if got := in.List(ctx, s.Zone, func([]ddns.RRset) error { return stop }); !errors.Is(got, stop) {
		err = errors.Join(err, fmt.Errorf("a listing that was to stop: %w", got))
	}
	// Somebody else's state is put right by whoever has seen it.
	h = next(h, func(h *ddns.Host) { h.A = []netip.Addr{v4(7)} })
	h.Shown, listErr = in.Look(ctx, h)
	return errors.Join(err, listErr, s.all(ctx, h))
}
