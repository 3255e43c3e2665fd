package httpserver

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Request is a request for a change that came to a door, and what came of it:
// what helps its sender and tells nobody a secret. There is nothing in it of a
// query, a body or a proof but the host's name.
type Request struct {
	Time time.Time
	Door string // "seed", "signed" …
	// Host that it was for. Zero: it named none in a zone of this server, for else
	// a secret in the wrong place could become one.
	Host    dnsname.Name
	Source  netip.Addr // where it came from; zero: not known
	Outcome string     // "changed", "unchanged", or the code of the refusal
	Why     string     // what was wrong, in words for whoever set the client up
	Fix     string     // what to do
	// UserAgent is what the client calls itself, at most 100 octets, printable
	// ASCII; "" if it does not say, or is not known.
	UserAgent string
}

// refused tells Config.Noted of a refused request.
func (s *Server) refused(door string, host dnsname.Name, src ddns.Source, agent string, err error) {
	if s.Noted == nil {
		return
	}
	r := Request{Time: s.Service.Now(), Door: door, Source: src.Addr, UserAgent: printable(agent)}
	if !host.IsZero() {
		if _, ours := s.Service.Zones.Zone(host); ours {
			r.Host = host
		}
	}
	var refusal *ddns.Refusal
	var name *dnsname.Error
	var http *httpError
	switch {
	case errors.As(err, &refusal):
		r.Outcome, r.Why, r.Fix = string(refusal.Code), refusal.Why, refusal.Fix
	case errors.As(err, &name): // its text is a stranger's
		r.Outcome, r.Why, r.Fix = string(ddns.Malformed), "the host's name cannot be read", "give the full name, such as nas.dyn.example.com"
	case errors.As(err, &http):
		r.Outcome, r.Why, r.Fix = http.code, http.why, http.fix
	default:
		r.Outcome, r.Why = string(ddns.Unavailable), "the server made a mistake"
	}
	s.Noted(r)
}

// done tells Config.Noted of a request that was not refused.
func (s *Server) done(door string, host dnsname.Name, src ddns.Source, agent string, changed bool) {
	if s.Noted == nil {
		return
	}
	r := Request{Time: s.Service.Now(), Door: door, Host: host, Source: src.Addr, UserAgent: printable(agent), Outcome: api.Unchanged}
	if changed {
		r.Outcome = api.Changed
	}
	s.Noted(r)
}

// printable is the start of a stranger's text, without what is not printable
// ASCII.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text[:min(len(text), 100)])
}
