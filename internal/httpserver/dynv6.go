package httpserver

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

const doorDynv6 = "dynv6"

// dynv6 is /api/update in the form of dynv6.com.
func (s *Server) dynv6(ctx context.Context, in routerRequest) routerReply {
	var p paramSet
	p.read(in.query, in.form)
	who := in.credential(&p)
	var name dnsname.Name
	var refusal *ddns.Refusal
	if text := firstOf(p.get(pZone, pZone), p.get(pHostname, pHostname)); text != "" {
		var err error
		if name, err = dnsname.Parse(text); err != nil {
			name, refusal = nowhere, badName()
		}
	}
	// A 6to4 address is special-purpose, which is told after the proof.
	v4, v6, prefix := p.get(pIPv4, pIPv4), p.get(pIPv6, pIPv6), p.get(pIPv6Prefix, pIPv6Prefix)
	sixToFour := strings.EqualFold(v6, "6to4") || strings.EqualFold(prefix, "6to4")
	var want wanted
	if sixToFour {
		want.refusal = &ddns.Refusal{Code: ddns.AddressNotAllowed, Why: "6to4 asks for a special-purpose address", Fix: "send the address itself"}
	} else if refusal == nil {
		want, refusal = readWishes(v4, v6, "", prefix, in.source.Addr)
		want.auto = false            // nothing said is nothing changed
		want.loopback = netip.Addr{} // no client of this form tries it out
	}
	if away := in.turnedAway(who); away != nil {
		refusal = away
	}
	if refusal != nil {
		s.unasked(ctx, &in, doorDynv6, name, refusal)
		return s.dynv6Refused(refusal)
	}
	done := s.routerUpdate(ctx, &in, doorDynv6, name, who.proof, &want)
	switch {
	case done.refusal != nil:
		return s.dynv6Refused(done.refusal)
	case done.changed:
		return routerReply{status: http.StatusOK, body: []byte("addresses updated")}
	case profileOf(in.agent) == byRetry: // it knows but the one word
		return routerReply{status: http.StatusOK, body: []byte("addresses updated (no change)")}
	}
	return routerReply{status: http.StatusOK, body: []byte("addresses unchanged")}
}

func (s *Server) dynv6Refused(refusal *ddns.Refusal) routerReply {
	r := s.refusedByCode(refusal)
	switch r.status {
	case http.StatusUnauthorized:
		r.body = []byte("invalid authentication token")
	case http.StatusServiceUnavailable:
	default:
		r.status = http.StatusUnprocessableEntity
	}
	return r
}

// refusedByCode answers with the refusal's code, and the status that goes with it:
// none of those that end a client for good where waiting helps.
func (s *Server) refusedByCode(refusal *ddns.Refusal) routerReply {
	r := routerReply{status: s.codes[string(refusal.Code)].Status, body: []byte(refusal.Code), reason: string(refusal.Code)}
	switch refusal.Code {
	case ddns.Malformed:
		r.status = http.StatusUnprocessableEntity
	case ddns.RateLimited, ddns.Unavailable:
		r.status, r.retry = http.StatusServiceUnavailable, max(retrySeconds(refusal.RetryAfter), 1)
	}
	return r
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
