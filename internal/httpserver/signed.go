package httpserver

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/signature"
)

// The signed door: a host's owner sets and reads its addresses, and introduces
// the next key. The proof is an HTTP message signature (RFC 9421) or a token.

const doorSigned = "signed"

// setAddresses is PUT /v1/hosts/{name}/addresses. A request like most is answered
// by front instead.
func (s *Server) setAddresses(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	in, err := s.doorRequest(w, r, *room)
	if err != nil {
		s.turnAway(in, doorSigned, ddns.Update{}, err).write(w)
		return
	}
	s.signedUpdate(r.Context(), in).write(w)
}

// signedUpdate is setAddresses without net/http.
func (s *Server) signedUpdate(ctx context.Context, in doorRequest) response {
	var u ddns.Update
	var err error
	u.Changes, u.Auto, err = readAddresses(in.Body)
	if err == nil {
		err = s.prove(in, &u)
	}
	if err != nil {
		return s.turnAway(in, doorSigned, u, err)
	}
	out, err := s.Service.Update(ctx, u)
	s.logUpdate(ctx, u.Host, doorSigned, u.Source, in.agent, out, err)
	if err != nil {
		return s.doorFail(in, err)
	}
	state := addresses(out.Host)
	state.Source, state.Outcome = u.Source.Addr, api.Unchanged
	if out.Changed {
		state.Outcome = api.Changed
	}
	return respondJSON(http.StatusOK, state)
}

// getAddresses is GET /v1/hosts/{name}.
func (s *Server) getAddresses(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	in, err := s.doorRequest(w, r, *room)
	if err == nil && len(in.Body) > 0 {
		err = malformed("a GET has a body", "leave it out")
	}
	var u ddns.Update
	if err == nil {
		err = s.prove(in, &u)
	}
	if err != nil {
		s.turnAway(in, doorSigned, u, err).write(w)
		return
	}
	host, err := s.Service.Look(r.Context(), u)
	if err != nil {
		s.logUpdate(r.Context(), u.Host, doorSigned, u.Source, in.agent, ddns.Outcome{}, err)
		s.doorFail(in, err).write(w)
		return
	}
	state := addresses(host)
	state.Source, state.Now = u.Source.Addr, s.Service.Now().Unix()
	reply(w, http.StatusOK, state)
}

// replaceKey is POST /v1/hosts/{name}/key.
func (s *Server) replaceKey(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	var said api.ReplaceKey
	var u ddns.Update
	in, err := s.doorRequest(w, r, *room)
	if err == nil {
		err = strict(in.Body, &said, `send {"public_key":"BASE64"}`)
	}
	if err == nil {
		err = checkKey(said.PublicKey)
	}
	if err == nil {
		err = s.prove(in, &u)
	}
	if err != nil {
		s.turnAway(in, doorSigned, u, err).write(w)
		return
	}
	joined, err := s.Service.ReplaceKey(r.Context(), u, said.PublicKey)
	s.joined(r.Context(), in, u, joined, err).write(w)
}

// readAddresses reads the body of an update. auto asks for the source address.
func readAddresses(body []byte) (changes []ddns.Change, auto bool, err error) {
	var in api.SetAddresses
	if err := strict(body, &in, `send {}, or any of "a", "aaaa" and "prefix"`); err != nil {
		return nil, false, err
	}
	for _, family := range []struct {
		ddns.Type
		list *[]netip.Addr
	}{{ddns.TypeA, in.A}, {ddns.TypeAAAA, in.AAAA}} {
		if family.list == nil {
			continue
		}
		c := ddns.Change{Type: family.Type, Op: ddns.Replace}
		if len(*family.list) == 0 {
			c.Op = ddns.Clear
		}
		for _, addr := range *family.list {
			if addr = addr.Unmap(); !addr.IsValid() || addr.Zone() != "" || addr.Is4() != (family.Type == ddns.TypeA) {
				return nil, false, malformed("an address is of another family, or has a zone, or is empty", "give IPv4 in a, and IPv6 without a zone in aaaa")
			}
			c.Addrs = append(c.Addrs, addr)
		}
		changes = append(changes, c)
	}
	auto = len(changes) == 0
	if in.Prefix != nil && !in.Prefix.IsValid() {
		return nil, false, malformed("prefix is empty", "send the delegated prefix, such as 2001:db8:0:ff00::/56")
	}
	if in.Prefix != nil {
		changes = append(changes, ddns.Change{Type: ddns.TypePrefix, Op: ddns.Replace, Prefix: *in.Prefix})
	}
	return changes, auto, nil
}

// checkKey checks the length of a public key; there is no more to be told by
// looking at it.
func checkKey(key []byte) error {
	if len(key) != ddns.KeySize {
		return malformed("public_key is not an Ed25519 public key", "send its 32 octets in base64")
	}
	return nil
}

// prove reads whose host a request is about, where it comes from, and what shows
// who sent it. It judges nothing: no proof is a proof that does not hold.
func (s *Server) prove(in doorRequest, u *ddns.Update) (err error) {
	u.Door = doorSigned
	if u.Host, err = dnsname.ParseHost(in.name); err != nil {
		return err
	}
	if u.Source, err = s.doorSource(in); err != nil {
		return err
	}
	if len(in.Input) > 0 {
		m, err := signature.Parse(in.Request)
		if err == nil {
			u.Proof = ddns.SignatureProof{KeyID: m.KeyID, Created: m.Created, Verify: m.Verify, CheckTime: func(now time.Time) *ddns.Refusal {
				if e, ok := errors.AsType[*signature.Error](m.CheckTime(now)); ok {
					return &ddns.Refusal{Code: ddns.Clock, Why: e.Why, Fix: e.Fix}
				}
				return nil
			}}
			return nil
		}
		if e, ok := errors.AsType[*signature.Error](err); !ok || e.Kind != signature.ErrMissing {
			return malformed(e.Why, e.Fix)
		}
	}
	scheme, token, _ := strings.Cut(in.auth, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	if !in.tokens {
		return &httpError{string(ddns.BadProof), "a token was sent over plain HTTP, where it is not taken",
			"use https, or sign the request; the operator can allow it with --http-tokens"}
	}
	u.Proof = ddns.TokenProof{Token: ddns.NewSecret(strings.TrimLeft(token, " "))} // RFC 9110 section 11.4 allows several
	return nil
}

// doorSource is where a request came from, or an error for the caller.
func (s *Server) doorSource(in doorRequest) (ddns.Source, error) {
	if in.unknown != nil {
		s.Log.Warn("a request's source is not known", "door", doorSigned, "err", in.unknown)
		return in.source, malformed("the server does not know your address: "+in.unknown.Error(), "tell the operator of this server")
	}
	return in.source, nil
}

// addresses is a host as its owner sees it.
func addresses(h *ddns.Host) api.Addresses {
	return api.Addresses{Host: h.Name.String(), A: some(h.A), AAAA: some(h.AAAA), Prefix: h.Prefix, TTL: h.TTL, Generation: h.Generation, Published: h.Published}
}

// joined answers a request that brings a key.
func (s *Server) joined(ctx context.Context, in doorRequest, u ddns.Update, j ddns.Joined, err error) response {
	if err != nil {
		s.logUpdate(ctx, u.Host, u.Door, u.Source, in.agent, ddns.Outcome{}, err)
		return s.doorFail(in, err)
	}
	status := http.StatusOK
	if j.New {
		status = http.StatusCreated
	}
	s.logUpdate(ctx, j.Host.Name, u.Door, u.Source, in.agent, ddns.Outcome{Changed: j.New, Host: j.Host}, nil)
	return respondJSON(status, api.Joined{Host: j.Host.Name.String(), Credential: j.Credential.ID, Now: s.Service.Now().Unix()})
}

// turnAway answers a request that does not get as far as the core.
func (s *Server) turnAway(in doorRequest, door string, u ddns.Update, err error) response {
	s.refused(door, u.Host, in.source, in.agent, err)
	return s.doorFail(in, err)
}

// doorFail answers a request of the signed door that was not done.
func (s *Server) doorFail(in doorRequest, err error) response {
	if h, ok := errors.AsType[*httpError](err); ok {
		return challenge(s.problem(api.Problem{Code: h.code, Detail: h.why, Help: h.fix}))
	}
	p := s.problemOf(err)
	switch ddns.Code(p.Code) {
	case ddns.BadProof:
		// By another name, or the address, all works until the first signature.
		if len(in.Input) > 0 && s.Authority != "" && !strings.EqualFold(in.Host, s.Authority) {
			p.Help = "sign for " + s.Authority + ", the only name in a URL that this server takes; else " + p.Help
		}
	case ddns.Clock:
		p.Now = s.Service.Now().Unix()
	case ddns.NotSource, ddns.AddressNotAllowed, ddns.WrongFamily: // the proof holds
		p.Source = in.source.Addr
	case ddns.RateLimited, ddns.Unavailable:
		p.RetryAfter = max(p.RetryAfter, 1)
	}
	return challenge(s.problem(p))
}

// challenge says in a 401 what would be taken (RFC 9110 section 11.6.1).
func challenge(r response) response {
	if r.status == http.StatusUnauthorized {
		r.fields = append(r.fields, field{"WWW-Authenticate", `Bearer realm="godwit"`})
	}
	return r
}
