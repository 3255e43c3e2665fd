package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/doctor"
)

// How often is looked for requests. CloudWatch takes some seconds to show a line,
// and its calls are counted.
const (
	lookEvery    = 200 * time.Millisecond
	lookEveryAWS = 2 * time.Second
)

// waited is what came of waiting.
type waited struct {
	Setup    *setup       `json:"setup,omitempty"`
	Accepted bool         `json:"accepted"`
	Request  *api.Request `json:"request,omitempty"` // none came
	// Advice is what to do now, in order.
	Advice []string       `json:"advice"` // never null
	Host   *api.HostState `json:"state,omitempty"`
}

// wait says what is wrong with the first request for the host that comes after
// the mark. One that names no host that there is may be the client's too, and is
// explained, but strangers send such ones as well: it goes on waiting.
func (c hostSetupCommand) wait(a *app, server *client.Client, s *setup, mark uint64) error {
	if !c.JSON && s != nil {
		a.printSetupOf(s)
		a.print("")
	}
	a.say("Waiting for a request for %s, %s at most; Ctrl-C ends it.", c.Name, span(c.Timeout))
	if strings.HasPrefix(c.Target, awsTarget) {
		a.say("The function's log shows it some seconds later, and shows nothing of a request that changes nothing.")
	}
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	r, err := c.firstRequest(ctx, a, server, mark)
	w := waited{Setup: s, Request: r, Advice: []string{}}
	switch {
	case errors.Is(err, context.DeadlineExceeded) && a.ctx.Err() == nil:
		w.Advice, err = checklist(s), nil
	case err != nil:
		return err
	case r.Outcome == api.Changed || r.Outcome == api.Unchanged:
		w.Accepted = true
		h, err := server.ShowHost(a.ctx, c.Name.String())
		if err != nil {
			return err
		}
		w.Host = &h
	default:
		w.Advice = doctor.Advice(*r, c.Name.String(), c.targetFlag(a))
	}
	if c.JSON {
		err = a.printJSON(w)
	} else {
		c.printWaited(a, w)
	}
	if err == nil && !w.Accepted {
		err = errFailed
	}
	return err
}

// firstRequest returns the first request for the host. Others that may be meant
// for it are explained meanwhile.
func (c hostSetupCommand) firstRequest(ctx context.Context, a *app, server *client.Client, mark uint64) (*api.Request, error) {
	every := lookEvery
	if strings.HasPrefix(c.Target, awsTarget) {
		every = lookEveryAWS
	}
	said := map[string]bool{}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		seen, err := server.Requests(ctx, "", mark)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, err
		}
		mark = max(mark, seen.Mark)
		for i := len(seen.Requests) - 1; i >= 0; i-- { // the oldest first
			r := seen.Requests[i]
			if r.Host == c.Name.String() {
				return &r, nil
			}
			if what := strangeName(ctx, server, r); what != "" && !said[what] {
				said[what] = true
				a.say("Somebody%s %s. If that was yours: the host is %s; correct the name in the client.", from(r), what, c.Name)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// strangeName says how a request names no host that there is; "" if it names one.
func strangeName(ctx context.Context, server *client.Client, r api.Request) string {
	switch {
	case r.Host == "":
		// The doors with a token in the URL refuse one over plain HTTP before they look for a name.
		what := "sent a request that names no host in a zone of this server"
		if r.Why != "" {
			what += " (" + r.Why + ")"
		}
		return what
	case r.Outcome == api.Changed || r.Outcome == api.Unchanged:
		return ""
	}
	switch h, err := server.ShowHost(ctx, r.Host); {
	case isAbsent(err):
		return "asked for " + r.Host + ", which is no host here"
	case err == nil && h.Router != "":
		return "asked for " + r.Host + ", which moves with " + h.Router + ": name that one"
	}
	return ""
}

// from says where a request came from.
func from(r api.Request) string {
	var out string
	if r.Source.IsValid() {
		out = " at " + r.Source.String()
	}
	if r.UserAgent != "" {
		out += " (" + r.UserAgent + ")"
	}
	return out
}

func (c hostSetupCommand) printWaited(a *app, w waited) {
	switch r := w.Request; {
	case r == nil:
		a.print("✗ No request for %s has come in %s.", c.Name, span(c.Timeout))
	case w.Accepted:
		a.print("✓ A request%s was accepted by door %s: %s.\n", from(*r), r.Door, r.Outcome)
		a.printHost(*w.Host)
		return
	default:
		a.print("✗ A request%s was refused at door %s: %s", from(*r), r.Door, r.Outcome)
		if r.Why != "" {
			a.print("  %s", r.Why)
		}
	}
	a.print("\nWhat to do:\n")
	for i, line := range w.Advice {
		a.print("  %d. %s", i+1, line)
	}
	a.say("\nThen once more: godwit host setup %s --wait%s", shellQuote(c.Name.String()), c.targetFlag(a))
}

// checklist is for when nothing comes at all.
func checklist(s *setup) []string {
	list := []string{
		"Let the client send now: most send only when their address has changed. Save its settings again, or restart it.",
		"Is the server's name right in the client, without a path where it wants a name, and with https where the server has it?",
		"Does the client reach the server? From its network: curl -v URL/ip must print an address.",
		"Does the client trust the server's certificate? Old devices do not know every authority.",
		"Look at the client's own log: it says what it was answered, or why it did not connect.",
	}
	if s != nil && s.Sends != nil {
		list[2] = "Does the client reach the server? From its network: curl -v " + serverOf(s.Sends.URL) + "/ip must print an address."
	}
	return list
}

// serverOf is the URL up to its path.
func serverOf(u string) string {
	scheme, rest, _ := strings.Cut(u, "://")
	address, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + address
}
