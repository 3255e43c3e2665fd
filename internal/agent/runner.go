package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"
)

// runner keeps one target right. Only its own goroutine uses it, but for notify.
type runner struct {
	Target
	a        *Agent
	index    int // in the agent's status
	log      *slog.Logger
	proof    *proof
	memory   *targetMemory // guarded by a.mu
	families []*family
	// said are the refusals that a person was told of, until the server takes
	// something again.
	said map[string]Family
}

// family is where a runner stands with one family.
type family struct {
	Family
	Choice
	index  int
	events chan struct{}
	memory *familyMemory // guarded by a.mu
	// anew lets the server choose the address in the next request.
	anew     bool
	unsaved  bool // memory has what is not on disk
	next     time.Time
	tried    time.Time // last try that went out
	held     time.Time // until then the server asked us to wait
	failures int       // in a row
	last     verdict
}

func (a *Agent) newRunner(t Target, index int, p *proof) *runner {
	r := &runner{Target: t, a: a, index: index, proof: p, said: map[string]Family{},
		log:    a.c.Log.With("host", t.Host.String(), "server", t.Server),
		memory: a.memory.target(t.Host.String() + "@" + authority(t.Server))}
	status := HostStatus{Host: t.Host.String(), Server: t.Server, Families: []FamilyStatus{}}
	for _, f := range []struct {
		Family
		Choice
	}{{IPv4, t.IPv4}, {IPv6, t.IPv6}} {
		if f.Off {
			continue
		}
		m := r.memory.family(f.Family)
		if !f.Remove && len(f.Sources) == 0 {
			f.Sources = []Source{nil}
		}
		r.families = append(r.families, &family{Family: f.Family, Choice: f.Choice, index: len(r.families),
			events: make(chan struct{}, 1), memory: m, tried: m.Tried})
		status.Families = append(status.Families, FamilyStatus{Family: f.Family.String(), State: StateWaiting,
			Address: m.Address, Since: m.Since, Answers: []Answer{}})
	}
	a.status.Hosts = append(a.status.Hosts, status)
	return r
}

// notify says that the device's addresses changed.
func (r *runner) notify(f Family) {
	for _, own := range r.families {
		if own.Family == f {
			select {
			case own.events <- struct{}{}:
			default: // it has been told already
			}
		}
	}
}

// run tries families as they are due until ctx ends.
func (r *runner) run(ctx context.Context) {
	// All devices of a street start when its power returns.
	start := time.Now().Add(time.Duration(float64(startWindow) * r.a.c.Random()))
	for _, f := range r.families {
		f.anew = true
		f.next = r.notBefore(f, start)
		r.report(f)
	}
	for {
		f := slices.MinFunc(r.families, func(a, b *family) int { return a.next.Compare(b.next) })
		if !r.wait(ctx, f.next) {
			return
		}
		if f.next.After(time.Now()) { // woken for something else
			continue
		}
		if f.last.class == untried {
			r.begin(f)
		}
		v, _ := r.try(ctx, f)
		if ctx.Err() != nil {
			return
		}
		f.held = time.Time{}
		if v.after > 0 {
			f.held = time.Now().Add(min(v.after, longestTrouble))
		}
		wait := pause(v, max(f.failures, 1), r.a.c.Interval, r.a.c.Random())
		if v.class == absent && !r.reached() {
			// Nothing goes out at all: look again soon, without sending anything.
			wait = pause(verdict{class: unreachable}, max(f.failures, 1), r.a.c.Interval, r.a.c.Random())
		}
		f.next = r.notBefore(f, time.Now().Add(wait))
		r.report(f)
	}
}

// begin puts the first try of this process on disk before it goes out: if it is
// what kills the process, the next one still keeps its distance.
func (r *runner) begin(f *family) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	f.memory.Tried = time.Now().Round(0)
	r.a.writeMemoryLocked()
}

// notBefore keeps the distance from the last try, also across a restart, and
// what the server asked for. A clock that was set back holds nothing up.
func (r *runner) notBefore(f *family, at time.Time) time.Time {
	if f.held.After(at) {
		at = f.held
	}
	if earliest := f.tried.Add(MinInterval); earliest.After(at) && time.Until(f.tried) <= 0 {
		return earliest
	}
	return at
}

// reached tells whether the server answered over any family last time.
func (r *runner) reached() bool {
	return slices.ContainsFunc(r.families, func(f *family) bool {
		return f.last.class != untried && f.last.class != absent && f.last.class != unreachable
	})
}

// wait until a time, or until something happened that may change it. False: ctx
// ended.
func (r *runner) wait(ctx context.Context, until time.Time) bool {
	// Two intervals at most: a new key is not reported by any system.
	timer := time.NewTimer(min(time.Until(until), 2*r.a.c.Interval))
	defer timer.Stop()
	var events [2]chan struct{}
	for i, f := range r.families {
		events[i] = f.events
	}
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		r.noticeKey()
	case <-events[0]:
		r.hasten(r.families[0])
	case <-events[1]:
		r.hasten(r.families[1])
	}
	return true
}

// hasten lets a family be tried at once, because its addresses changed. That
// makes no wrong key right.
func (r *runner) hasten(f *family) {
	f.anew = true
	if f.last.class != badProof {
		f.failures = 0
		f.next = r.notBefore(f, time.Now())
	}
}

// noticeKey lets everything that was refused be tried again with a new key or
// token.
func (r *runner) noticeKey() {
	waiting := func(f *family) bool { return f.last.class == badProof || f.last.class == refused }
	if !slices.ContainsFunc(r.families, waiting) || !r.proof.changed() {
		return
	}
	for _, f := range r.families {
		if waiting(f) {
			f.last, f.failures = verdict{}, 0
			f.next = r.notBefore(f, time.Now())
		}
	}
}

// try does what there is to do for a family now, and remembers and tells what
// came of it.
func (r *runner) try(ctx context.Context, f *family) (verdict, error) {
	began := time.Now()
	before, _ := r.remembered(f)
	found, note, err := r.find(ctx, f)
	var outcome string
	if err == nil {
		prefix, why := r.findPrefix(ctx, f)
		note = cmp.Or(why, note)
		outcome, err = r.exchange(ctx, f, found, prefix)
	}
	if ctx.Err() != nil { // the agent ends; that is nobody's fault
		return verdict{class: unreachable}, err
	}
	v := verdict{class: fine}
	if err != nil {
		v = r.judge(f, err)
	}
	if v.class != absent {
		f.tried = began
	}
	f.failures++
	if v.class == fine || v.class != f.last.class {
		f.failures = 1
	}
	f.unsaved = f.unsaved || f.failures == 1 && v.class != fine && v.class != absent
	r.say(f, v, err)
	f.last = v
	r.remember(f)
	r.answer(f, v, outcome, note, err)
	if after, _ := r.remembered(f); after != before && len(r.Hook) > 0 {
		output, err := runHook(ctx, r.Hook, r.Host.String(), r.Server, f.Family, after, before)
		log := r.log.With("family", f.Family, "program", r.Hook[0], "output", output)
		if err != nil {
			log.Warn("the hook did not succeed", "error", err)
		} else {
			log.Info("the hook was run")
		}
	}
	return v, err
}

// judge knows one thing more than the errors tell: which family works.
func (r *runner) judge(f *family, err error) verdict {
	if errors.Is(err, ErrNone) {
		return verdict{class: absent, code: "absent"}
	}
	var local *localError
	if errors.As(err, &local) {
		return verdict{class: refused, code: "this device"}
	}
	v := judge(err)
	if known, _ := r.remembered(f); v.class == absent && known.IsValid() && r.hasRoute(f.Family) {
		// This device can send, and a gateway says that it goes nowhere: an outage.
		return verdict{class: unreachable, code: "unreachable"}
	}
	if v.class != unreachable {
		return v
	}
	var op *net.OpError
	var dns *net.DNSError
	others := slices.ContainsFunc(r.families, func(o *family) bool { return o != f && o.last.class == fine })
	switch {
	case errors.As(err, &op) && op.Op == "dial" && !r.hasRoute(f.Family),
		errors.As(err, &dns) && dns.IsNotFound && others: // the server's name has no address of the family
		return verdict{class: absent, code: "absent"}
	}
	return v
}

func (r *runner) hasRoute(f Family) bool {
	local := r.a.c.Local(f)
	return len(local) > 0 && local[0].IsValid()
}

// localError is what a person has to mend on this device.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// find asks the sources in order. A zero Finding without an error is what the
// server sees. ErrNone: there is no address of the family here.
func (r *runner) find(ctx context.Context, f *family) (found Finding, note string, err error) {
	if f.Remove {
		return Finding{}, "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	none := true
	var last error
	for _, source := range f.Sources {
		if source == nil {
			return Finding{}, note, nil
		}
		found, err := source.Find(ctx, f.Family)
		switch {
		case err == nil && found.Addr.IsValid() && found.Addr.Is4() == (f.Family == IPv4) && !found.Addr.Is4In6() && found.Addr.Zone() == "":
			return found, cmp.Or(found.Note, note), nil
		case err == nil:
			err = errors.New("it found what is no address of the family")
		}
		r.log.Debug("a source has no address", "family", f.Family, "source", source.Name(), "reason", err)
		if errors.Is(err, ErrNone) {
			note = cmp.Or(note, source.Name()+": "+err.Error())
		} else {
			none = false
		}
		last = &sourceError{source.Name(), err}
	}
	if none {
		return Finding{}, note, ErrNone
	}
	return Finding{}, note, last
}

// findPrefix asks for the prefix that goes with the address of a family. One that
// is not found now is left as the server has it, and note says so: the address
// does not wait for it.
func (r *runner) findPrefix(ctx context.Context, f *family) (prefix netip.Prefix, note string) {
	if f.Family != IPv6 || r.Prefix == nil {
		return netip.Prefix{}, ""
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	prefix, err := r.Prefix.FindPrefix(ctx)
	if err != nil {
		return netip.Prefix{}, "the prefix is left as it is: " + err.Error()
	}
	return prefix, ""
}

// sourceError says which source could not tell the address now.
type sourceError struct {
	source string
	cause  error
}

// Error is for people. The cause is not unwrapped: what a web page answered
// must not be taken for what the server did.
func (e *sourceError) Error() string {
	return e.source + " cannot tell the address: " + e.cause.Error()
}

// remember puts what must outlive a restart where it does. A poll that changed
// nothing is not worth wearing out a flash chip.
func (r *runner) remember(f *family) {
	r.proof.mu.Lock()
	signer := r.proof.signer
	r.proof.mu.Unlock()
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	f.memory.Tried = f.tried.Round(0)
	if signer != nil {
		r.memory.Offset, r.memory.LastCreated = signer.Order()
	}
	if f.unsaved {
		f.unsaved = false
		r.a.writeMemoryLocked()
	}
}

// answer puts what came of a try into the status.
func (r *runner) answer(f *family, v verdict, outcome, note string, err error) {
	local := r.a.c.Local(f.Family)
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	s := &r.a.status.Hosts[r.index].Families[f.index]
	before := s.Note
	s.Note, s.Message = note, ""
	switch v.class {
	case fine:
		s.State = StateRight
		if f.Remove {
			s.State = StateRemoved
		}
		s.Note = cmp.Or(s.Note, behind(f.memory.Address, local))
	case absent:
		s.State = StateAbsent
		if !errors.Is(err, ErrNone) {
			s.Message = err.Error()
		}
	case refused, badProof:
		s.State, s.Message = StateRefused, err.Error()
	default:
		s.State, s.Message = StateTrouble, err.Error()
	}
	s.Answers = slices.Insert(s.Answers, 0, Answer{time.Now(), cmp.Or(outcome, v.code)})
	s.Answers = slices.Clip(s.Answers[:min(len(s.Answers), keptAnswers)])
	if s.Note != "" && s.Note != before {
		r.log.Info("about the address", "family", f.Family, "note", s.Note)
	}
}

// report writes down where the family stands.
func (r *runner) report(f *family) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	s := &r.a.status.Hosts[r.index].Families[f.index]
	s.Address, s.Prefix, s.Since, s.Next = f.memory.Address, f.memory.Prefix, f.memory.Since, f.next
	r.a.writeStatusLocked()
}

// say tells a person what changed, and what a person has to mend once.
func (r *runner) say(f *family, v verdict, err error) {
	log := r.log.With("family", f.Family)
	again := v.class == f.last.class && v.code == f.last.code
	switch {
	case v.class == fine:
		if f.last.class != fine && f.last.class != untried {
			log.Info("all is well again")
		}
		maps.DeleteFunc(r.said, func(_ string, by Family) bool { return by == f.Family })
	case v.class == absent:
		if !again {
			log.Info("this device has no address of the family, or no way to the server over it; nothing is sent for it", "reason", err)
		}
	case v.class == refused || v.class == badProof:
		if _, told := r.said[v.code]; !told {
			log.Error("the host is not kept right until somebody acts", "reason", err)
			r.said[v.code] = f.Family
		}
	case !again:
		log.Warn("the server could not be told the address; it will be tried again", "reason", err)
	default:
		log.Debug("tried again in vain", "reason", err)
	}
}

// behind says what a person should know of an address that is not this device's.
func behind(seen netip.Addr, local []netip.Addr) string {
	if !seen.Is4() || !seen.IsGlobalUnicast() || seen.IsPrivate() || len(local) == 0 || !local[0].IsValid() || slices.Contains(local, seen) {
		return ""
	}
	switch {
	case sharedSpace.Contains(local[0]):
		return "this device is behind CGNAT: its address is " + local[0].String() + ", which the provider shares among customers; nobody reaches it from outside over IPv4"
	case !local[0].IsPrivate() && local[0].IsGlobalUnicast():
		return "the server sees " + seen.String() + ", and this device has " + local[0].String() + ": something in between, such as CGNAT or a VPN, changes the address"
	}
	return ""
}

// sharedSpace is RFC 6598's.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
