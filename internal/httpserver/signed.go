package httpserver

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/signature"
)

// The signed door: a host's owner sets and reads its addresses, and introduces
// the next key. The proof is an HTTP message signature (RFC 9421) or a token.

const doorSigned = "signed"

// setAddresses is PUT /v1/hosts/{name}/addresses.
func (s *Server) setAddresses(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	body, err := doorBody(w, r, *room)
	var u ddns.Update
	if err == nil {
		u.Changes, u.Auto, err = readAddresses(body)
	}
	if err == nil {
		err = s.prove(r, body, &u)
	}
	if err != nil {
		s.turnAway(w, r, doorSigned, u, err)
		return
	}
	out, err := s.Service.Update(r.Context(), u)
	s.logUpdate(r.Context(), u.Host, doorSigned, u.Source, r.UserAgent(), out, err)
	if err != nil {
		s.doorFail(w, r, u.Source, err)
		return
	}
	state := addresses(out.Host)
	state.Source, state.Outcome = u.Source.Addr, api.Unchanged
	if out.Changed {
		state.Outcome = api.Changed
	}
	reply(w, http.StatusOK, state)
}

// getAddresses is GET /v1/hosts/{name}.
func (s *Server) getAddresses(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	body, err := doorBody(w, r, *room)
	if err == nil && len(body) > 0 {
		err = malformed("a GET has a body", "leave it out")
	}
	var u ddns.Update
	if err == nil {
		err = s.prove(r, body, &u)
	}
	if err != nil {
		s.turnAway(w, r, doorSigned, u, err)
		return
	}
	host, err := s.Service.Look(r.Context(), u)
	if err != nil {
		s.logUpdate(r.Context(), u.Host, doorSigned, u.Source, r.UserAgent(), ddns.Outcome{}, err)
		s.doorFail(w, r, u.Source, err)
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
	var in api.ReplaceKey
	var u ddns.Update
	body, err := doorBody(w, r, *room)
	if err == nil {
		err = strict(body, &in, `send {"public_key":"BASE64"}`)
	}
	if err == nil {
		err = checkKey(in.PublicKey)
	}
	if err == nil {
		err = s.prove(r, body, &u)
	}
	if err != nil {
		s.turnAway(w, r, doorSigned, u, err)
		return
	}
	joined, err := s.Service.ReplaceKey(r.Context(), u, in.PublicKey)
	s.joined(w, r, u, joined, err)
}

// doorBody reads a body of at most seedBody octets into room.
func doorBody(w http.ResponseWriter, r *http.Request, room []byte) ([]byte, error) {
	body, whole := readBody(r, room)
	switch {
	case len(body) > seedBody:
		w.Header().Set("Connection", "close")
		return nil, &httpError{api.CodeTooLarge, "the body is longer than 4096 octets", "send what this path takes and nothing else"}
	case !whole:
		return nil, malformed("the body broke off", "send it again")
	case strings.Contains(r.RequestURI, "?"):
		return nil, malformed("the request has a query", "leave it out")
	}
	return body, nil
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
func (s *Server) prove(r *http.Request, body []byte, u *ddns.Update) (err error) {
	u.Door = doorSigned
	if u.Host, err = hostName(r); err != nil {
		return err
	}
	if u.Source, err = s.doorSource(r); err != nil {
		return err
	}
	if len(r.Header["Signature-Input"]) > 0 {
		m, err := signature.Parse(signature.RequestOf(r, body, s.Authority))
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
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	if !s.takesTokens(r) {
		return &httpError{string(ddns.BadProof), "a token was sent over plain HTTP, where it is not taken",
			"use https, or sign the request; the operator can allow it with --http-tokens"}
	}
	u.Proof = ddns.TokenProof{Token: ddns.NewSecret(strings.TrimLeft(token, " "))} // RFC 9110 section 11.4 allows several
	return nil
}

// doorSource is source, with an error for the caller.
func (s *Server) doorSource(r *http.Request) (ddns.Source, error) {
	src, err := s.source(r)
	if err != nil {
		s.Log.Warn("a request's source is not known", "door", doorSigned, "err", err)
		return src, malformed("the server does not know your address: "+err.Error(), "tell the operator of this server")
	}
	return src, nil
}

// takesTokens tells whether a token in the request has come in a way in which
// nobody could read it, or the operator does not mind.
func (s *Server) takesTokens(r *http.Request) bool {
	if s.HTTPTokens || r.TLS != nil {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// addresses is a host as its owner sees it.
func addresses(h *ddns.Host) api.Addresses {
	return api.Addresses{Host: h.Name.String(), A: some(h.A), AAAA: some(h.AAAA), Prefix: h.Prefix, TTL: h.TTL, Generation: h.Generation, Published: h.Published}
}

// joined answers a request that brings a key.
func (s *Server) joined(w http.ResponseWriter, r *http.Request, u ddns.Update, j ddns.Joined, err error) {
	if err != nil {
		s.logUpdate(r.Context(), u.Host, u.Door, u.Source, r.UserAgent(), ddns.Outcome{}, err)
		s.doorFail(w, r, u.Source, err)
		return
	}
	status := http.StatusOK
	if j.New {
		status = http.StatusCreated
	}
	s.logUpdate(r.Context(), j.Host.Name, u.Door, u.Source, r.UserAgent(), ddns.Outcome{Changed: j.New, Host: j.Host}, nil)
	reply(w, status, api.Joined{Host: j.Host.Name.String(), Credential: j.Credential.ID, Now: s.Service.Now().Unix()})
}

// turnAway answers a request that does not get as far as the core.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, door string, u ddns.Update, err error) {
	if !u.Source.Addr.IsValid() {
		u.Source, _ = s.source(r) // zero is what there is to tell then
	}
	s.refused(door, u.Host, u.Source, r.UserAgent(), err)
	s.doorFail(w, r, u.Source, err)
}

// doorFail answers a request of the signed door that was not done.
func (s *Server) doorFail(w http.ResponseWriter, r *http.Request, src ddns.Source, err error) {
	if h, ok := errors.AsType[*httpError](err); ok {
		s.challenge(w, h.code)
		s.refuse(w, h.code, h.why, h.fix)
		return
	}
	p := s.problemOf(err)
	switch ddns.Code(p.Code) {
	case ddns.BadProof:
		// By another name, or the address, all works until the first signature.
		if len(r.Header["Signature-Input"]) > 0 && s.Authority != "" && !strings.EqualFold(r.Host, s.Authority) {
			p.Help = "sign for " + s.Authority + ", the only name in a URL that this server takes; else " + p.Help
		}
	case ddns.Clock:
		p.Now = s.Service.Now().Unix()
	case ddns.NotSource, ddns.AddressNotAllowed, ddns.WrongFamily: // the proof holds
		p.Source = src.Addr
	case ddns.RateLimited, ddns.Unavailable:
		p.RetryAfter = max(p.RetryAfter, 1)
	}
	s.challenge(w, p.Code)
	s.problem(w, p)
}

// challenge says in a 401 what would be taken (RFC 9110 section 11.6.1).
func (s *Server) challenge(w http.ResponseWriter, code string) {
	if s.codes[code].Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="godwit"`)
	}
}
