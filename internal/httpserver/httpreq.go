package httpserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// The form of lego's provider httpreq: a token adds a challenge value, and takes
// that one away again.

const doorHTTPReq = "httpreq"

// httpreq makes the handler of /httpreq/present, which adds, or of
// /httpreq/cleanup, which removes.
func (s *Server) httpreq(op ddns.Op) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		room := s.bodies.Get().(*[]byte)
		defer s.bodies.Put(room)
		in, err := s.doorRequest(w, r, *room)
		s.challengeUpdate(r.Context(), &routerRequest{doorRequest: in}, op, err).write(w)
	}
}

func (s *Server) challengeUpdate(ctx context.Context, in *routerRequest, op ddns.Op, err error) response {
	u := ddns.Update{Host: nowhere, Door: doorHTTPReq, Source: in.source}
	var value string
	if err == nil {
		u.Host, value, err = readChallenge(in.Body)
	}
	if err != nil {
		s.refused(doorHTTPReq, nowhere, in.source, in.agent, err)
		return s.basicFail(err)
	}
	u.Changes = []ddns.Change{{Type: ddns.TypeTXT, Op: op, Texts: []string{value}}}
	user, password, _ := readBasic(in.auth)
	who := presented{user: user, proof: ddns.TokenProof{Token: ddns.NewSecret(password)}}
	if password != "" {
		u.Proof = who.proof
	}
	if away := in.turnedAway(who); away != nil {
		s.unasked(ctx, in, doorHTTPReq, u.Host, away)
		return s.basicFail(away)
	}
	out, err := s.Service.Update(ctx, u)
	s.logUpdate(ctx, u.Host, doorHTTPReq, in.source, in.agent, out, err)
	if err != nil {
		return s.basicFail(err)
	}
	return respond(http.StatusOK, jsonType, []byte("{}"))
}

// readChallenge reads whose challenge a body is about, and the value. In lego's
// RAW mode the value is made of keyAuth here (RFC 8555 section 8.4).
func readChallenge(body []byte) (host dnsname.Name, value string, err error) {
	var members [5][]byte
	s := scanner{data: body}
	ok := s.textMembers([]string{"fqdn", "value", "domain", "token", "keyAuth"}, members[:])
	fqdn, text, domain, keyAuth := members[0], members[1], members[2], members[4]
	raw := domain != nil && keyAuth != nil && fqdn == nil && text == nil
	if !ok || !raw && (fqdn == nil || text == nil || domain != nil || keyAuth != nil) {
		return host, "", malformed("the body is not a challenge", `send {"fqdn":"_acme-challenge.nas.dyn.example.com.","value":"VALUE"}, or domain, token and keyAuth`)
	}
	if raw {
		sum := sha256.Sum256(keyAuth)
		host, err = dnsname.Parse(strings.TrimPrefix(string(domain), "*."))
		return host, base64.RawURLEncoding.EncodeToString(sum[:]), err
	}
	owner, err := dnsname.Parse(string(fqdn))
	if err != nil {
		return host, "", err
	}
	for label := range owner.Labels() {
		if label != "_acme-challenge" {
			break
		}
		host, _ = owner.Parent()
		return host, string(text), nil
	}
	return host, "", malformed("fqdn does not begin with _acme-challenge", "send the name at which the authority looks, such as _acme-challenge.nas.dyn.example.com.")
}

// basicFail answers a request that was not done with a problem, and asks for a
// password where one is missing.
func (s *Server) basicFail(err error) response {
	var p api.Problem
	if h, ok := errors.AsType[*httpError](err); ok {
		p = api.Problem{Code: h.code, Detail: h.why, Help: h.fix}
	} else {
		p = s.problemOf(err)
	}
	if code := ddns.Code(p.Code); code == ddns.RateLimited || code == ddns.Unavailable {
		p.RetryAfter = max(p.RetryAfter, 1)
	}
	r := s.problem(p)
	if r.status == http.StatusUnauthorized {
		r.fields = append(r.fields, basicChallenge)
	}
	return r
}
