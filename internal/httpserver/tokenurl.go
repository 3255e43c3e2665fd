package httpserver

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

const doorTokenURL = "token-url"

// tokenURLPath is GET /u/{token}: the URL is all that a client needs.
func (s *Server) tokenURLPath(w http.ResponseWriter, r *http.Request) {
	in := s.routerRequest(r)
	var p paramSet
	p.read(in.query, "")
	p.query.text[pPassword] = r.PathValue("token")
	s.tokenURLReply(r.Context(), &in, &p).response().write(w)
}

// tokenURL is GET /u with Basic authentication.
func (s *Server) tokenURL(ctx context.Context, in routerRequest) routerReply {
	var p paramSet
	p.read(in.query, in.form)
	return s.tokenURLReply(ctx, &in, &p)
}

func (s *Server) tokenURLReply(ctx context.Context, in *routerRequest, p *paramSet) routerReply {
	who := in.credential(p)
	name, err := dnsname.Name{}, error(nil)
	if text := p.get(pH, pH); text != "" {
		name, err = dnsname.Parse(text)
	} else if strings.Contains(who.user, ".") {
		name, err = dnsname.Parse(who.user)
	}
	want, refusal := readWishes("", "", p.get(pIP, pAddress), "", in.source.Addr)
	want.loopback = netip.Addr{} // no client of this form tries it out
	if err != nil {
		name, refusal = nowhere, badName()
	}
	if away := in.turnedAway(who); away != nil {
		refusal = away
	}
	if refusal != nil {
		s.unasked(ctx, in, doorTokenURL, name, refusal)
		return s.refusedByCode(refusal)
	}
	done := s.routerUpdate(ctx, in, doorTokenURL, name, who.proof, &want)
	if done.refusal != nil {
		return s.refusedByCode(done.refusal)
	}
	// ddclient looks for "Updated", the host, "to" and the address, in this order.
	text := "No change, " + done.host.Name.String() + " is " + addressesOf(done.host)
	if done.changed {
		text = "Updated " + done.host.Name.String() + " from " + addressesOf(done.before) + " to " + addressesOf(done.host)
	}
	return routerReply{status: http.StatusOK, body: []byte(text)}
}

// addressesOf is a host's addresses in words.
func addressesOf(h *ddns.Host) string {
	var b []byte
	for i, a := range h.Current() {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.AppendTo(b)
	}
	if len(b) == 0 {
		return "none"
	}
	return string(b)
}
