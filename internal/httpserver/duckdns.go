package httpserver

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

const doorDuckDNS = "duckdns"

// update is /update: of DuckDNS's form if there are domains and a token, else of
// dyndns2's.
func (s *Server) update(ctx context.Context, in routerRequest) routerReply {
	var p paramSet
	p.read(in.query, in.form)
	if p.get(pDomains, pDomains) != "" && p.get(pToken, pToken) != "" {
		return s.duckDNS(ctx, &in, &p)
	}
	return s.dyndns2Reply(ctx, &in, &p)
}

// duckDNSPath is GET /update/{domain}/{token}[/{ip}].
func (s *Server) duckDNSPath(w http.ResponseWriter, r *http.Request) {
	in := s.routerRequest(r)
	var p paramSet
	p.read(in.query, "")
	p.query.text[pDomains], p.query.text[pToken] = r.PathValue("domain"), r.PathValue("token")
	if ip := r.PathValue("ip"); ip != "" {
		p.query.text[pIP] = ip
	}
	s.duckDNS(r.Context(), &in, &p).response().write(w)
}

// duckDNS is a request in DuckDNS's form. Its answers are OK and KO, and OK only
// if every domain is as the request wants it.
func (s *Server) duckDNS(ctx context.Context, in *routerRequest, p *paramSet) routerReply {
	who := in.credential(p)
	want, txt, refusal := duckDNSWanted(p, in.source.Addr)
	if away := in.turnedAway(who); away != nil {
		refusal = away
	}
	var room [routerHosts]dyndns2Line
	lines, named := readHosts(room[:0], p.get(pDomains, pDomains), s.duckDNSName)
	switch {
	case named == 0:
		refusal = badName()
	case named > routerHosts:
		refusal = tooManyHosts()
	}
	if refusal != nil {
		s.unasked(ctx, in, doorDuckDNS, nowhere, refusal)
		return duckDNSRefused(refusal)
	}
	var first *ddns.Host
	changed := false
	for i := range lines {
		var done routerDone
		if lines[i].word != "" { // no name
			done.refusal = badName()
			s.unasked(ctx, in, doorDuckDNS, nowhere, done.refusal)
		} else {
			done = s.routerUpdate(ctx, in, doorDuckDNS, lines[i].name, who.proof, &want)
		}
		if done.refusal == nil {
			changed = changed || done.changed
			if first == nil {
				first = done.host
			}
			continue
		}
		if refusal == nil {
			refusal = done.refusal
		}
		if done.refusal.Code == ddns.BadProof {
			break
		}
	}
	if refusal != nil {
		return duckDNSRefused(refusal)
	}
	r := routerReply{status: http.StatusOK, body: []byte("OK")}
	if p.get(pVerbose, pVerbose) != "true" {
		return r
	}
	if txt != "" {
		r.body = append(append(r.body, '\n'), txt...)
	} else {
		r.body = appendFirst(append(r.body, '\n'), first.A)
		r.body = appendFirst(append(r.body, '\n'), first.AAAA)
	}
	if changed {
		r.body = append(r.body, "\nUPDATED"...)
	} else {
		r.body = append(r.body, "\nNOCHANGE"...)
	}
	return r
}

func appendFirst(b []byte, addrs []netip.Addr) []byte {
	if len(addrs) == 0 {
		return b
	}
	return addrs[0].AppendTo(b)
}

// duckDNSWanted is what a request says, and the challenge value in it. A request
// with txt is about that alone, also if it is empty: that is how ACME clients
// clear it.
func duckDNSWanted(p *paramSet, source netip.Addr) (want wanted, txt string, refusal *ddns.Refusal) {
	clear := p.get(pClear, pClear) == "true"
	txt = p.get(pTXT, pTXT)
	switch {
	case p.has(pTXT) && clear:
		want.changes = []ddns.Change{{Type: ddns.TypeTXT, Op: ddns.Clear}}
	case txt != "":
		want.changes = []ddns.Change{{Type: ddns.TypeTXT, Op: ddns.Replace, Texts: []string{txt}}}
	case p.has(pTXT):
		return want, "", &ddns.Refusal{Code: ddns.Malformed, Why: "txt is empty", Fix: "send the challenge value, or clear=true with it"}
	case clear:
		want.changes = []ddns.Change{{Type: ddns.TypeA, Op: ddns.Clear}, {Type: ddns.TypeAAAA, Op: ddns.Clear}}
	default:
		want, refusal = readWishes("", p.get(pIPv6, pIPv6), p.get(pIP, pIP), "", source)
		want.loopback = netip.Addr{} // no client of this form tries it out
	}
	return want, txt, refusal
}

// duckDNSName reads a domain: a full name, or a label in the default zone. What
// clients leave of duckdns.org is taken off.
func (s *Server) duckDNSName(text string) (dnsname.Name, error) {
	const suffix = ".duckdns.org"
	text = strings.TrimSuffix(text, ".")
	if at := len(text) - len(suffix); at > 0 && strings.EqualFold(text[at:], suffix) {
		text = text[:at]
	}
	if !strings.Contains(text, ".") && !s.DefaultZone.IsZero() {
		if id := (ddns.TokenProof{Token: ddns.NewSecret(text)}).CredentialID(); id != "" {
			return dnsname.Name{}, badName() // a token in the wrong place is not to become a name that is logged
		}
		text += "." + s.DefaultZone.String()
	}
	return dnsname.Parse(text)
}

func duckDNSRefused(refusal *ddns.Refusal) routerReply {
	r := routerReply{status: http.StatusOK, body: []byte("KO"), reason: string(refusal.Code)}
	if refusal.Code == ddns.RateLimited || refusal.Code == ddns.Unavailable {
		r.status, r.retry = http.StatusServiceUnavailable, max(retrySeconds(refusal.RetryAfter), 1)
	}
	return r
}
