// Package dnssec signs zones: it makes their keys, keeps them, changes them, and
// signs answers with them while they are asked for (RFC 4033 to 4035, 6605, 9824).
//
// A [Keeper] has the keys of each zone, one that signs, and at times its successor
// or predecessor. What it makes of them, a [zone.Security], goes to the zone: the
// RRsets about keys, and a signer. Signatures are made when an answer needs them,
// and remembered by a [Pool], which also bounds how many are made in a second, so
// that questions for names that do not exist cannot take the processor.
//
// Keys change by themselves, slowly, and only so far as the parent zone follows:
// see the type state for the steps. Every step is stored before it is shown.
//
// Why it is so is in docs/decisions/0021.
package dnssec

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// Zones are where answers come from.
type Zones interface {
	// Secure makes a zone show what s says from then on, and moves its serial if
	// that or its round is something new.
	Secure(ctx context.Context, apex dnsname.Name, s *zone.Security) error
}

// Store keeps a text for each zone, secret and durable.
type Store interface {
	// ZoneKeys returns what was set last, nil for nothing.
	ZoneKeys(ctx context.Context, apex dnsname.Name) ([]byte, error)
	SetZoneKeys(ctx context.Context, apex dnsname.Name, text []byte) error
}

// Config says what a Keeper keeps.
type Config struct {
	// Zones, Store and Apexes are required. Apexes are the zones to sign, and
	// their longest TTLs.
	Zones  Zones
	Store  Store
	Apexes map[dnsname.Name]time.Duration
	// Lifetime is how old a key becomes before another one takes its place. 0: any
	// age, until [Keeper.Roll].
	Lifetime time.Duration
	// Parent asks the name servers of the parent zone for the DS records of a
	// zone. An error says that they cannot be asked: then the operator tells, by
	// [Keeper.Confirm]. Nil: they never can.
	Parent func(ctx context.Context, apex dnsname.Name) (Parent, error)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// A Keeper keeps the keys of zones. It is safe for use by many goroutines.
type Keeper struct {
	config Config
	pool   *Pool

	mu     sync.Mutex // held while a state changes, with the writes that it takes
	states map[dnsname.Name]state
	rounds map[dnsname.Name]time.Time // that zones show
}

// every is how often the parent is asked, and how late a step may be.
const every = time.Hour

// Open reads the keys of all zones, makes those that are not there yet, and has
// the zones signed with them.
func Open(ctx context.Context, c Config) (*Keeper, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Keeper{config: c, pool: NewPool(), states: make(map[dnsname.Name]state), rounds: make(map[dnsname.Name]time.Time)}
	for apex := range c.Apexes {
		if err := k.open(ctx, apex); err != nil {
			return nil, fmt.Errorf("zone %s cannot be signed: %w", apex, err)
		}
	}
	return k, nil
}

func (k *Keeper) open(ctx context.Context, apex dnsname.Name) error {
	text, err := k.config.Store.ZoneKeys(ctx, apex)
	if err != nil {
		return err
	}
	if text == nil {
		s, err := newState(k.now())
		if err != nil {
			return err
		}
		return k.set(ctx, apex, s)
	}
	s, err := decode(text)
	if err != nil {
		return err
	}
	// What is due is done by Run: here nothing is written, so that a start that
	// fails afterwards has changed nothing.
	k.states[apex] = s
	return k.show(ctx, apex, s)
}

// Unused tells whether the keys of a zone that is not signed are needed no more: it
// has none, or was left with the parent's consent, and at now no resolver holds a DS
// record of it. A zone whose keys are needed is refused by resolvers while it is
// answered unsigned.
func Unused(ctx context.Context, store Store, apex dnsname.Name, now time.Time) (bool, error) {
	text, err := store.ZoneKeys(ctx, apex)
	if err != nil || text == nil {
		return err == nil, err
	}
	s, err := decode(text)
	return err == nil && s.left(now), err
}

// now has what a stored time has.
func (k *Keeper) now() time.Time { return k.config.Now().UTC().Truncate(time.Second) }

// set stores a state and shows it.
func (k *Keeper) set(ctx context.Context, apex dnsname.Name, s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	// Stored before it is shown: a key that resolvers know must not be lost.
	if err := k.config.Store.SetZoneKeys(ctx, apex, text); err != nil {
		return err
	}
	k.states[apex] = s
	return k.show(ctx, apex, s)
}

func (k *Keeper) show(ctx context.Context, apex dnsname.Name, s state) error {
	now := k.now()
	security, err := s.security(apex, k.pool, now)
	if err != nil {
		return err
	}
	if err := k.config.Zones.Secure(ctx, apex, security); err != nil {
		return err
	}
	k.rounds[apex] = roundOf(now)
	return nil
}

func (k *Keeper) timing(apex dnsname.Name) timing {
	return timing{lifetime: k.config.Lifetime, zone: k.config.Apexes[apex]}
}

// Run asks parents and changes keys until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		k.Tend(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Tend asks the parent of each zone once and does what is due. What goes wrong is
// in the log, and tried again the next time.
func (k *Keeper) Tend(ctx context.Context) {
	for apex := range k.config.Apexes {
		var parent *Parent
		if k.config.Parent != nil {
			p, err := k.config.Parent(ctx, apex)
			if err == nil {
				parent = &p
			} else if ctx.Err() == nil {
				k.config.Log.Debug("the parent of a signed zone cannot be asked", "zone", apex.String(), "err", err)
			}
		}
		err := k.change(ctx, apex, func(s *state, now time.Time) (bool, error) {
			if parent == nil {
				return false, nil
			}
			return s.see(apex, *parent, now)
		})
		if err != nil && ctx.Err() == nil {
			k.config.Log.Error("the keys of a zone could not be changed; trying again in an hour", "zone", apex.String(), "err", err)
		}
	}
}

// A Refusal says why keys are not changed as the operator asked, and what to do.
// Other errors of a Keeper are those of its Store and Zones.
type Refusal struct{ Why, Fix string }

func (r *Refusal) Error() string { return r.Why + "; " + r.Fix }

// NotSigned refuses for a zone that has no keys here.
func NotSigned(apex dnsname.Name) *Refusal {
	return &Refusal{fmt.Sprintf("zone %s is not signed", apex), fmt.Sprintf("start the server with --dnssec %s", apex)}
}

// change changes a zone's state by do, which tells whether it did, and does what
// is due.
func (k *Keeper) change(ctx context.Context, apex dnsname.Name, do func(*state, time.Time) (bool, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old, ok := k.states[apex]
	if !ok {
		return NotSigned(apex)
	}
	s, now := old.clone(), k.now()
	changed, err := do(&s, now)
	if err != nil {
		return err
	}
	stepped, err := s.advance(now, k.timing(apex))
	switch {
	case err != nil:
		return err
	case !changed && !stepped && k.rounds[apex].Equal(roundOf(now)):
		return nil
	case !changed && !stepped:
		return k.show(ctx, apex, s)
	}
	if err := k.set(ctx, apex, s); err != nil {
		return err
	}
	if stepped {
		k.config.Log.Info("the keys of a zone changed", "zone", apex.String(), "state", k.status(apex, s).Next)
	}
	return nil
}

// Roll begins to change a zone's key, or has that wait until the first key's DS record
// is due. It is refused with a [*Refusal] while another change is under way.
func (k *Keeper) Roll(ctx context.Context, apex dnsname.Name) error {
	return k.change(ctx, apex, func(s *state, now time.Time) (bool, error) {
		if len(s.Keys) > 1 {
			return false, &Refusal{fmt.Sprintf("the key of zone %s is being changed already", apex), fmt.Sprintf("see what that waits for: godwit zone check %s", apex)}
		}
		if !s.Leaving.IsZero() {
			return false, &Refusal{fmt.Sprintf("zone %s is to be signed no more", apex), fmt.Sprintf("take that back first: godwit zone unsign --undo %s", apex)}
		}
		s.Roll = now
		return true, nil
	})
}

// Leave asks the parent to take its DS records away (RFC 8078 section 4), or with
// stay takes that back. The zone stays signed.
func (k *Keeper) Leave(ctx context.Context, apex dnsname.Name, stay bool) error {
	return k.change(ctx, apex, func(s *state, now time.Time) (bool, error) {
		switch {
		case s.Leaving.IsZero() == stay:
			return false, nil
		case stay:
			if s.left(now) {
				// It may have been answered unsigned: as from a first start.
				signing, _, _ := s.roles()
				signing.Made, signing.Offered = now, time.Time{}
			}
			s.Leaving = time.Time{}
		default:
			s.Leaving, s.Roll = now, time.Time{}
		}
		return true, nil
	})
}

// Confirm takes the operator's word that the parent has the DS record that it is
// to have and no other, or none if the zone is to be signed no more.
func (k *Keeper) Confirm(ctx context.Context, apex dnsname.Name) error {
	return k.change(ctx, apex, func(s *state, now time.Time) (bool, error) {
		if !s.Leaving.IsZero() {
			return s.see(apex, Parent{}, now)
		}
		wanted := s.wanted()
		if wanted.Offered.IsZero() {
			return false, &Refusal{fmt.Sprintf("it is too early for a DS record of zone %s", apex), fmt.Sprintf("the parent may have it from %s on", s.offer(k.timing(apex)))}
		}
		used, err := wanted.use()
		if err != nil {
			return false, err
		}
		return s.see(apex, Parent{DS: []string{digest(apex, used.public).Text()}, TTL: max(s.DSTTL, defaultDSTTL)}, now)
	})
}

// offer is when the key that is not offered yet will be, for people.
func (s *state) offer(t timing) string {
	at, _ := s.due(t)
	return stamp(at)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// Counts are those of all zones' signatures.
func (k *Keeper) Counts() Counts { return k.pool.Counts() }

// Status is what is to be known of a signed zone.
type Status struct {
	// DS is what the parent is to have, Ready whether it may have it by now, DNSKEY
	// the record's data that it is of, as in a zone file. Of a zone that is to be
	// signed no more the parent is to have none.
	DS      DS
	DNSKEY  string
	Ready   bool
	Leaving bool
	Keys    []KeyStatus
	// Next is what happens next, in a sentence; Due is when, zero if that is up to
	// the parent or the operator.
	Next string
	Due  time.Time
}

// KeyStatus is one key's.
type KeyStatus struct {
	Tag    uint16
	State  string // "published", "signing" or "retired"
	Made   time.Time
	Parent bool // the parent was seen to have its DS record
}

// Status tells of a zone; false: it is not signed.
func (k *Keeper) Status(apex dnsname.Name) (Status, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.states[apex]
	if !ok {
		return Status{}, false
	}
	return k.status(apex, s), true
}

func (k *Keeper) status(apex dnsname.Name, s state) Status {
	signing, next, _ := s.roles()
	wanted := s.wanted()
	out := Status{Ready: !wanted.Offered.IsZero(), Leaving: !s.Leaving.IsZero()}
	for i := range s.Keys {
		one := &s.Keys[i]
		used, err := one.use()
		if err != nil {
			continue // decode has used it
		}
		if one == wanted {
			out.DS, out.DNSKEY = digest(apex, used.public), keyText(used.public)
		}
		ks := KeyStatus{Tag: used.tag, State: "retired", Made: one.Made, Parent: !one.Parent.IsZero()}
		switch one {
		case signing:
			ks.State = "signing"
		case next:
			ks.State = "published"
		}
		out.Keys = append(out.Keys, ks)
	}
	at, what := s.due(k.timing(apex))
	out.Due = at
	switch {
	case what == offerIt:
		tag := out.DS.Tag
		if next != nil && out.Ready {
			tag = out.Keys[len(out.Keys)-1].Tag
		}
		out.Next = fmt.Sprintf("from %s on the parent may have the DS record of key %d", stamp(at), tag)
		if !s.Roll.IsZero() {
			out.Next += "; after that the key is changed, as was asked for"
		}
	case what == switchKeys:
		out.Next = fmt.Sprintf("key %d signs the zone from %s on", out.Keys[len(out.Keys)-1].Tag, stamp(at))
	case what == dropOld:
		out.Next = fmt.Sprintf("key %d goes at %s", out.Keys[0].Tag, stamp(at))
	case what == makeNext:
		out.Next = fmt.Sprintf("the key is changed from %s on", stamp(at))
	case out.Leaving && !s.Bare.IsZero():
		out.Due = s.forgotten()
		out.Next = fmt.Sprintf("from %s on the server may be started without --dnssec for this zone", stamp(out.Due))
	case out.Leaving:
		out.Next = "the parent is to take its DS records away"
	case !out.Keys[len(out.Keys)-1].Parent:
		out.Next = fmt.Sprintf("the parent is to have the DS record of key %d, and no other", out.DS.Tag)
	default:
		out.Next = "nothing: all is done"
	}
	return out
}
