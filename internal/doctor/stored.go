package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/api"
)

const (
	longTTL   = 3600 // seconds
	longQuiet = 7 * 24 * time.Hour
)

// stored looks at what the installation has of the host.
func (e *exam) stored() {
	h := e.Host
	if h.Suspended {
		e.find(Wrong, "host", "it is suspended: every update is refused and DNS is empty", "Let it go on: "+e.command("host set", "--suspended=off"))
	} else {
		e.right("host", "in zone %s, generation %d, changed %s by %s", h.Zone, h.Generation, e.ago(h.ChangedAt), h.ChangedBy)
	}
	switch {
	case len(h.A)+len(h.AAAA) > 0:
		e.right("addresses", "%s, TTL %d", list(slices.Concat(h.A, h.AAAA)), h.TTL)
	case h.Lease > 0 && h.ChangedBy == "clock":
		e.find(Wrong, "addresses", fmt.Sprintf("none: the lease of %s ran out, because nothing was heard from its client", time.Duration(h.Lease)*time.Second),
			"Look after the client: it has stopped sending. A new update brings the addresses back")
	case h.Router != "":
		e.find(Wrong, "addresses", "none: what "+h.Router+" sends gives it none", "Let "+h.Router+" send the prefix that the provider delegates (docs/followers.md), and see what it has of it: "+e.command("host show"))
	case !slices.ContainsFunc(e.Events, func(ev api.Event) bool { return len(ev.After) > 0 }):
		do := []string{"Set the client up: " + e.command("host setup", "--for CLIENT", "--wait")}
		if slices.ContainsFunc(e.Requests, func(r api.Request) bool { return r.Host == e.owner() }) {
			do = nil // it is set up, and refused
		}
		e.find(Wrong, "addresses", "none: no update has ever been accepted", do...)
	default:
		e.find(Wrong, "addresses", "none: they were taken away "+e.ago(h.ChangedAt)+" by "+h.ChangedBy, "See by whom, and from where: "+e.command("host history"))
	}
	if h.Published < h.Generation {
		e.find(Wrong, "published", fmt.Sprintf("DNS is known to show generation %d, and %d is stored", h.Published, h.Generation),
			"Wait two minutes: it is tried again every minute. If it stays, the server's log says why the DNS provider does not take it")
	}
	if h.TTL > longTTL {
		e.find(Note, "ttl", fmt.Sprintf("resolvers keep an answer for %s, so long a change goes unseen", time.Duration(h.TTL)*time.Second), "Shorten it: "+e.command("host set", "--ttl 60"))
	}
	if h.Router != "" {
		e.find(Note, "follower", "it follows "+h.Router+", whose updates move it")
	} else if !slices.ContainsFunc(h.Credentials, func(c api.Credential) bool {
		return c.State == "active" && c.Kind != "join" && (c.Expires.IsZero() || c.Expires.After(e.now))
	}) {
		e.find(Wrong, "credentials", "none that is good: nobody can update the host", "Make one: "+e.command("host token add"))
	}
	if len(e.Twins) > 0 {
		e.find(Wrong, "secret", "its shared secret is that of "+strings.Join(e.Twins, " and ")+" too, so that what proves one can prove the other", "Give it a secret of its own, and tell its client: "+e.command("host rotate"))
	}
	if e.Status != nil {
		for _, w := range e.Status.Warnings {
			e.find(Note, "server", w)
		}
		e.certificate()
	}
}

// certificate looks at the server's own: without one no client gets through by https.
func (e *exam) certificate() {
	c := e.Status.Certificate
	if c == nil || c.NotAfter.After(e.now) {
		return
	}
	what := "there is none yet, and HTTPS does not work without"
	if !c.NotAfter.IsZero() {
		what = "it expired " + e.ago(c.NotAfter) + ", and clients that look at it do not send"
	}
	do := "Put a new one into the files that --tls-cert and --tls-key name"
	if c.Problem != "" {
		do = "Mend why the server cannot get one: " + c.Problem
	} else if c.NotAfter.IsZero() {
		do = "Wait a minute: it is being got. Then see: godwit check" + e.Flag
	}
	e.find(Wrong, "certificate", what, do)
}

// heard looks at what came from the host's client.
func (e *exam) heard() {
	// Of the refused ones, strangers cause only those whose proof does not hold, and
	// must not hide the others.
	var accepted, refused, unproven, nameless *api.Request
	refuse := func(r *api.Request) {
		if r.Outcome == "bad-proof" {
			unproven = cmp.Or(unproven, r)
		} else {
			refused = cmp.Or(refused, r)
		}
	}
	for i := range e.Requests { // the newest first
		r := &e.Requests[i]
		switch done := r.Outcome == api.Changed || r.Outcome == api.Unchanged; {
		case r.Host == "":
			nameless = cmp.Or(nameless, r)
		case r.Host != e.owner():
		case done:
			accepted = cmp.Or(accepted, r)
		default:
			refuse(r)
		}
	}
	for _, ev := range e.Events { // older ones, which the server has not forgotten when it started
		if ev.Door == "admin" || ev.Door == "lease" || !ev.Source.IsValid() {
			continue
		}
		r := &api.Request{Time: ev.Time, Count: 1, Door: ev.Door, Source: ev.Source, Outcome: ev.Outcome, Why: ev.What}
		if ev.Outcome == api.Changed {
			r.Why = ""
			accepted = cmp.Or(accepted, r)
		} else {
			refuse(r)
		}
	}
	e.accepted(accepted)
	proven := accepted // the newest
	if refused != nil && !before(refused, accepted) {
		proven = refused
		e.find(Wrong, "refusals", e.refusal(refused), Advice(*refused, e.owner(), e.Flag)...)
	} else if refused != nil {
		e.find(Note, "refusals", "before that, "+e.refusal(refused))
	}
	switch {
	case unproven == nil:
	case before(unproven, proven):
		e.find(Note, "refusals", "before that, "+e.refusal(unproven))
	case proven != nil && !near(unproven.Source, proven.Source):
		// Strangers guess. Whose proof held comes from somewhere else.
		e.find(Note, "refusals", "since then, "+e.refusal(unproven)+"; if that was not yours, somebody guesses", Advice(*unproven, e.owner(), e.Flag)...)
	default:
		e.find(Wrong, "refusals", e.refusal(unproven), Advice(*unproven, e.owner(), e.Flag)...)
	}
	if accepted == nil && refused == nil && unproven == nil && nameless != nil {
		what := "a request that named no host of this server came " + e.ago(nameless.Time) + from(nameless)
		if nameless.Why != "" {
			what += ", and was refused: " + nameless.Why
		}
		e.find(Note, "strangers", what+"; if that was yours, look at the name in the client too")
	}
}

// accepted is about the newest request that was accepted.
func (e *exam) accepted(r *api.Request) {
	if r == nil {
		if len(e.Host.A)+len(e.Host.AAAA) > 0 {
			e.find(Note, "last update", "none is remembered: the server has started since, or the addresses came with an import")
		}
		return
	}
	seen := r.Time
	if e.Host.Seen.After(seen) {
		seen = e.Host.Seen
	}
	what := fmt.Sprintf("%s %s at door %s%s", r.Outcome, e.ago(seen), r.Door, from(r))
	own := e.Host.A
	if !r.Source.Is4() {
		own = e.Host.AAAA
	}
	switch {
	case e.now.Sub(seen) > longQuiet:
		e.find(Note, "last update", what+"; that is long ago", "See whether the client still runs: "+e.command("host setup", "--wait"))
	case len(own) > 0 && !slices.Contains(own, r.Source) && e.Host.Source == api.SourceFree:
		e.find(Note, "last update", what+", which is not the address that it set: it names another", "If that is not meant, take the request's own address only: "+e.command("host set", "--source match"))
	default:
		e.right("last update", "%s", what)
	}
}

func (e *exam) refusal(r *api.Request) string {
	times := "a request was refused"
	if r.Count > 1 {
		times = fmt.Sprintf("%d requests were refused, the newest", r.Count)
	}
	what := fmt.Sprintf("%s %s at door %s%s: %s", times, e.ago(r.Time), r.Door, from(r), r.Outcome)
	if r.Why != "" {
		what += " (" + r.Why + ")"
	}
	return what
}

// from says where a request came from.
func from(r *api.Request) string {
	var out string
	if r.Source.IsValid() {
		out = " from " + r.Source.String()
	}
	if r.UserAgent != "" {
		out += " (" + r.UserAgent + ")"
	}
	return out
}

// before tells whether one request came no later than another, if there was one.
func before(r, other *api.Request) bool { return other != nil && !r.Time.After(other.Time) }

// near tells whether two addresses are of one network, as the server counts them.
func near(a, b netip.Addr) bool {
	if a.Is4() != b.Is4() {
		return false
	}
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	return err == nil && p.Contains(b)
}

// listed compares with what the DNS provider says that it has.
func (e *exam) listed() {
	switch {
	case e.NotListed != "":
		e.find(Wrong, "provider", "what it has cannot be compared: "+e.NotListed, "Look at the name in the DNS provider's own console")
		return
	case e.Listed == nil:
		return
	}
	var has []netip.Addr
	for _, set := range e.Listed {
		if set.Name != e.Host.Host {
			continue
		}
		for _, v := range set.Values {
			if a, err := netip.ParseAddr(v); err == nil {
				has = append(has, a)
			}
		}
		if set.Type == "CNAME" {
			e.find(Wrong, "provider", "it has a CNAME at the name, beside which no address can stand", "Take the CNAME away, or remove the host: "+e.command("host remove"))
			return
		}
	}
	if !same(has, e.wanted()) {
		e.find(Wrong, "provider", fmt.Sprintf("it has %s, and %s is stored", list(has), list(e.wanted())),
			"Somebody else changes the record: find out who. It is put right once a day, and with the next change")
		return
	}
	e.right("provider", "it has %s", list(has))
}
