// Package route53 publishes hosts in Amazon Route 53.
//
// Route 53 compares and sets: a batch that deletes exactly what is believed to
// be shown and creates what a host says is done as a whole or refused as a
// whole. So there is no moment without an answer, no older state replaces a
// newer one, and a batch whose answer was lost may be followed by another one.
// [Publisher.Publish] believes Host.Shown and sends one batch for up to some
// hundred hosts. Only if Route 53 refuses it, or its answer is lost, or what was
// published in between is not known, does it ask what is shown, and decides again.
//
// Route 53 has little room: some requests a second for the whole account. What
// is throttled is repeated, with pauses, until the time for the call is over.
package route53

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"godwit/internal/awscall"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Config is what a Publisher is made of.
type Config struct {
	// Client calls Route 53: service "route53", region "us-east-1". It should make
	// one attempt: what may be repeated, and when, is for the Publisher to say.
	Client *awscall.Client
	// Zones are the IDs of the hosted zones by their apex, with or without
	// "/hostedzone/".
	Zones map[dnsname.Name]string
	// Latest reads a host from the store as it is now, with no cache between. It
	// is asked when DNS does not show what was believed, so that a publisher that
	// was held up does not bring an older state back. ddns.ErrNoHost: it is gone.
	// nil: the state given to Publish is published, and the core publishes again
	// if there is a newer one.
	Latest func(ctx context.Context, name dnsname.Name) (*ddns.Host, error)
	// Budget bounds a call of Publish or Look, beside its context: 0 is 5 s,
	// negative no bound, not of a single request either. Each RRset that is
	// published adds 10 ms, the time that Route 53's change bucket takes to have
	// room for it.
	Budget time.Duration
	// Rate is how many requests a second the Publisher sends at most; 0: 8. As
	// many may go at once after a pause.
	Rate float64
}

// Publisher is a [ddns.Publisher] and a [ddns.Inspector]. Safe for concurrent use.
type Publisher struct {
	client *awscall.Client
	zones  map[dnsname.Name]string
	latest func(context.Context, dnsname.Name) (*ddns.Host, error)
	budget time.Duration
	pace   pace
}

var _ ddns.Inspector = (*Publisher)(nil)

const (
	defaultBudget = 5 * time.Second
	perChange     = 10 * time.Millisecond // a hundred changes a second
	defaultRate   = 8
)

// New returns a Publisher. It starts nothing.
func New(c Config) (*Publisher, error) {
	if c.Client == nil {
		return nil, errors.New("a publisher for Route 53 needs a client")
	}
	if c.Budget == 0 {
		c.Budget = defaultBudget
	}
	if c.Rate == 0 {
		c.Rate = defaultRate
	}
	p := &Publisher{client: c.Client, zones: map[dnsname.Name]string{}, latest: c.Latest, budget: c.Budget, pace: newPace(c.Rate)}
	for apex, id := range c.Zones {
		if id = strings.TrimPrefix(id, "/hostedzone/"); !validID(id) || apex.IsZero() {
			return nil, fmt.Errorf("%.40q is not the ID of zone %s: give one such as Z0123456789ABC", id, apex)
		}
		p.zones[apex] = id
	}
	return p, nil
}

// validID tells whether a text can be a zone's ID: letters and digits, at most
// 32 of them.
func validID(id string) bool {
	return id != "" && len(id) <= 32 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// zone is the ID of a zone.
func (p *Publisher) zone(apex dnsname.Name) (string, error) {
	if id, ok := p.zones[apex]; ok {
		return id, nil
	}
	return "", fmt.Errorf("no hosted zone is configured for %s", apex)
}

// Publish is [ddns.Publisher]'s. It makes one call of Route 53 if it believes
// rightly what is shown. An error says what Route 53 says of that host; after
// one it may be that DNS shows the host's state all the same. When ctx ends, a
// batch that is under way may still be done; it is done only if nothing else was
// published in between.
func (p *Publisher) Publish(ctx context.Context, hosts []*ddns.Host) []ddns.Published {
	jobs := make([]job, len(hosts))
	byZone := map[string][]*job{}
	changes := 0
	for i, h := range hosts {
		j := &jobs[i]
		zone, err := p.zone(h.Zone)
		if err != nil {
			j.fail(addresses, err)
			continue
		}
		j.publish(h)
		byZone[zone] = append(byZone[zone], j)
		changes += len(h.Shown) + len(j.wanted)
	}
	if p.budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.budget+time.Duration(changes)*perChange)
		defer cancel()
	}
	if len(byZone) == 1 {
		for zone, jobs := range byZone {
			p.publishZone(ctx, zone, jobs)
		}
	} else {
		// A zone that is held by another's change does not hold up the others.
		var wg sync.WaitGroup
		for zone, jobs := range byZone {
			wg.Go(func() { p.publishZone(ctx, zone, jobs) })
		}
		wg.Wait()
	}
	results := make([]ddns.Published, len(hosts))
	for i := range jobs {
		j := &jobs[i]
		if err := errors.Join(j.errs[:]...); err != nil {
			results[i].Err = fmt.Errorf("publish %s in Route 53: %w", hosts[i].Name, err)
		} else {
			results[i] = ddns.Published{Generation: j.host.Generation, Shown: j.wanted}
		}
	}
	return results
}

// run is the publishing of one kind in one zone.
type run struct {
	*Publisher
	ctx     context.Context
	zone    string
	refused int  // hosts that were refused on their own, for another reason than what they say
	granted bool // whether any batch was taken
}

func (p *Publisher) publishZone(ctx context.Context, zone string, jobs []*job) {
	for k := range kinds {
		r := &run{Publisher: p, ctx: ctx, zone: zone}
		var ready, doubtful []*unit
		for _, j := range jobs {
			switch {
			case !j.doubtful():
				ready = append(ready, j.units(k, j.pairs[k])...)
			case len(keys(j.host, k)) > 0:
				doubtful = append(doubtful, &unit{job: j, kind: k, pairs: j.pairs[k]})
			}
		}
		if len(doubtful) > 0 {
			ready = append(ready, r.look(doubtful, nil)...)
		}
		r.sendAll(ready)
	}
}

// sendAll sends units in as few batches as there can be.
func (r *run) sendAll(units []*unit) {
	for len(units) > 0 {
		var batch []*unit
		batch, units = cut(units)
		r.send(batch)
	}
}

// maxRefused is how many hosts may be refused on their own, and none taken,
// until the rest is believed to be refused too: the role is wrong, or the zone.
const maxRefused = 8

// send sends one batch. What is refused is taken apart until each host stands
// alone, so that one that DNS does not take hinders no other.
func (r *run) send(batch []*unit) {
	err := r.change(batch)
	refusal, refused := errors.AsType[*awscall.Error](err)
	_, full := errors.AsType[*crowded](err)
	switch {
	case err == nil:
		r.granted = true
	case unknown(err):
		// Look before repeating: it may have been done.
		r.sendAll(r.look(batch, err))
	case full:
		// Half as many need half as much room.
		r.send(batch[:len(batch)/2])
		r.send(batch[len(batch)/2:])
	case !refused || awscall.Throttled(err) || refusal.Status != http.StatusBadRequest && refusal.Status != http.StatusForbidden || r.hopeless():
		fail(batch, err)
	case len(batch) > 1:
		named, rest := suspects(batch, refusal)
		if len(named) == 0 || len(rest) == 0 {
			r.send(batch[:len(batch)/2])
			r.send(batch[len(batch)/2:])
			return
		}
		r.send(rest)
		r.sendAll(r.look(named, err))
	case refusal.Code == invalidBatch || refusal.Code == "":
		// DNS shows something else than was believed, or it does not take this.
		r.sendAll(r.look(batch, err))
	default:
		r.refused++
		fail(batch, err)
	}
}

// invalidBatch is the code of a batch whose changes cannot be made.
const invalidBatch = "InvalidChangeBatch"

// hopeless tells whether it is not the hosts that are wrong.
func (r *run) hopeless() bool { return r.refused >= maxRefused && !r.granted }

func fail(batch []*unit, err error) {
	for _, u := range batch {
		u.job.fail(u.kind, err)
	}
}

// suspects are the units whose names are in a refusal's text. Which texts there
// are is not documented, so they only say where to look first.
func suspects(batch []*unit, refusal *awscall.Error) (named, rest []*unit) {
	words := names(messages(refusal.Body))
	if len(words) == 0 {
		return nil, batch
	}
	var buf []byte
	for _, u := range batch {
		is := slices.ContainsFunc(u.pairs, func(p pair) bool {
			buf = appendName(buf[:0], p.key().owner)
			return words[string(buf[:len(buf)-1])]
		})
		if is {
			named = append(named, u)
		} else {
			rest = append(rest, u)
		}
	}
	return named, rest
}

// maxLooks is how often DNS is asked about a host in one call. Who loses against
// other publishers so often leaves it to them.
const maxLooks = 4

// look asks what DNS shows of the units' hosts and plans again. cause is why:
// nil, a refusal or a lost answer. It returns what is still to be sent.
func (r *run) look(units []*unit, cause error) []*unit {
	var wanted []key
	asked := units[:0:0]
	for _, u := range units {
		if u.looked >= maxLooks {
			u.job.fail(u.kind, fmt.Errorf("could not confirm that it is shown: %w", cause))
			continue
		}
		u.looked++
		asked = append(asked, u)
		wanted = append(wanted, keys(u.job.host, u.kind)...)
		for i := range u.pairs {
			wanted = append(wanted, u.pairs[i].key())
		}
	}
	shown, err := r.show(r.ctx, r.zone, wanted)
	if err != nil {
		if cause != nil {
			err = fmt.Errorf("could not confirm that it is shown: %w", errors.Join(cause, err))
		}
		fail(asked, err)
		return nil
	}
	var again []*unit
	for _, u := range asked {
		again = append(again, r.decide(u, shown, cause)...)
	}
	return again
}

// decide plans a unit again from what is shown.
func (r *run) decide(u *unit, shown map[key]record, cause error) []*unit {
	j := u.job
	if j.errs[u.kind] != nil {
		return nil // another part of it has failed
	}
	refused := cause != nil && !unknown(cause)
	pairs, err := j.plan(u.kind, shown)
	pairs = u.own(pairs)
	if err == nil && refused && samePairs(pairs, u.pairs) {
		j.fail(u.kind, fmt.Errorf("%w: %w", ddns.ErrNotTaken, cause)) // all was as believed
		return nil
	}
	if len(pairs) > 0 && !samePairs(pairs, u.pairs) {
		// Somebody else has published. What they know, the store knows.
		newer, readErr := r.newest(j.host)
		if readErr != nil {
			j.fail(u.kind, errors.Join(cause, readErr))
			return nil
		}
		if newer != j.host {
			if u.kind != addresses || newer.Zone != j.host.Zone || u.part != nil {
				j.fail(u.kind, fmt.Errorf("the host has changed meanwhile, to generation %d: that is to be published", newer.Generation))
				return nil
			}
			j.publish(newer)
			pairs, err = j.plan(u.kind, shown)
		}
	}
	if err != nil {
		j.fail(u.kind, err)
		return nil
	}
	if u.part != nil {
		u.set(pairs)
		if len(pairs) == 0 {
			return nil
		}
		return []*unit{u}
	}
	units := j.units(u.kind, pairs)
	for _, x := range units {
		x.looked = u.looked
	}
	return units
}

// own leaves of a plan what is the unit's.
func (u *unit) own(pairs []pair) []pair {
	if u.part == nil {
		return pairs
	}
	return slices.DeleteFunc(pairs, func(p pair) bool { return !u.part[p.key()] })
}

// newest is the host as the store has it if that is newer, else the one given.
func (r *run) newest(h *ddns.Host) (*ddns.Host, error) {
	if r.latest == nil {
		return h, nil
	}
	latest, err := r.latest(r.ctx, h.Name)
	switch {
	case errors.Is(err, ddns.ErrNoHost) && h.Removed:
		return h, nil
	case errors.Is(err, ddns.ErrNoHost):
		gone := h.Clone()
		gone.Removed = true
		gone.Generation++
		return gone, nil
	case err != nil:
		return nil, fmt.Errorf("read the host again: %w", err)
	case latest.Generation > h.Generation:
		return latest, nil
	}
	return h, nil
}

// Look is [ddns.Inspector]'s. A CNAME, an alias or a routing policy at one of the
// host's names is an error.
func (p *Publisher) Look(ctx context.Context, h *ddns.Host) ([]ddns.RRset, error) {
	zone, err := p.zone(h.Zone)
	if err != nil {
		return nil, err
	}
	if p.budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.budget)
		defer cancel()
	}
	wanted := append(keys(h, addresses), keys(h, texts)...)
	shown, err := p.show(ctx, zone, wanted)
	if err != nil {
		return nil, fmt.Errorf("ask Route 53 about %s: %w", h.Name, err)
	}
	var sets []ddns.RRset
	for _, x := range wanted {
		r, ok := shown[x]
		if !ok {
			continue
		}
		if r.foreign != "" {
			return nil, fmt.Errorf("%s at %s %s is no address: take it away in Route 53, or choose another name", r.foreign, x.owner, x.t)
		}
		sets = append(sets, r.RRset)
	}
	return sets, nil
}

// List is [ddns.Inspector]'s. Aliases and routing policies are left out: godwit
// cannot have made them. It gives a page of at most 300 at a time.
func (p *Publisher) List(ctx context.Context, apex dnsname.Name, do func([]ddns.RRset) error) error {
	zone, err := p.zone(apex)
	if err != nil {
		return err
	}
	for at := (start{items: maxPage}); ; {
		page, err := p.page(ctx, zone, at)
		if err != nil {
			return fmt.Errorf("list zone %s in Route 53: %w", apex, err)
		}
		sets := make([]ddns.RRset, 0, len(page.records))
		for i := range page.records {
			if page.records[i].foreign == "" {
				sets = append(sets, page.records[i].RRset)
			}
		}
		if err := do(sets); err != nil {
			return err
		}
		if page.next == nil {
			return nil
		}
		if *page.next == at {
			return fmt.Errorf("list zone %s in Route 53: the listing does not go on after %s", apex, at.name)
		}
		at = *page.next
	}
}
