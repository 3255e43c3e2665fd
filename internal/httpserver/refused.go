package httpserver

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// RefusedRequest is a request for a change that was refused at a door: what
// helps its sender and tells nobody a secret. There is nothing in it of a query,
// a body or a proof but the host's name.
type RefusedRequest struct {
	Time   time.Time
	Door   string       // "seed", "signed" …
	Host   dnsname.Name // that it was for; zero: it named none, or what is no name
	Source netip.Addr   // where it came from; zero: not known
	Code   string       // the refusal's, "too-large" …
	Why    string       // what was wrong, in words for whoever set the client up
	Fix    string       // what to do
	// UserAgent is what the client calls itself, at most 100 octets, printable
	// ASCII; "" if it does not say, or is not known.
	UserAgent string
}

// refused tells Config.Refused of a refused request.
func (s *Server) refused(door string, host dnsname.Name, src ddns.Source, agent string, err error) {
	if s.Refused == nil {
		return
	}
	r := RefusedRequest{Time: s.Service.Now(), Door: door, Host: host, Source: src.Addr, UserAgent: printable(agent)}
	if host == nowhere {
		r.Host = dnsname.Name{}
	}
	var refusal *ddns.Refusal
	var name *dnsname.Error
	var http *httpError
	switch {
	case errors.As(err, &refusal):
		r.Code, r.Why, r.Fix = string(refusal.Code), refusal.Why, refusal.Fix
	case errors.As(err, &name):
		r.Code, r.Why, r.Fix = string(ddns.Malformed), "name "+strconv.Quote(name.Text)+" "+name.Why, name.Fix
	case errors.As(err, &http):
		r.Code, r.Why, r.Fix = http.code, http.why, http.fix
	default:
		r.Code, r.Why = string(ddns.Unavailable), "the server made a mistake"
	}
	s.Refused(r)
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
