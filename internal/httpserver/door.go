package httpserver

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/signature"
)

// doorRequest is a request as a public door sees it, whether net/http has read
// it or front. The strings and lists are not to be changed.
type doorRequest struct {
	// What a signature has to do with: method, target, body … The body lasts as
	// long as the request does.
	signature.Request
	name  string // {name} of the path
	auth  string // the first Authorization
	agent string // the first User-Agent
	// source is where it came from; zero if unknown says why that is not known.
	source  ddns.Source
	unknown error
	// tokens tells whether a token in it has come in a way in which nobody could
	// read it, or the operator does not mind.
	tokens bool
}

// doorRequest is a request that net/http has read, with its body of at most
// seedBody octets in room. With an error it is all but the body.
func (s *Server) doorRequest(w http.ResponseWriter, r *http.Request, room []byte) (doorRequest, error) {
	body, whole := readBody(r, room)
	in := doorRequest{Request: signature.RequestOf(r, body, s.Authority), name: r.PathValue("name"),
		auth: r.Header.Get("Authorization"), agent: r.UserAgent(), tokens: s.takesTokens(r)}
	in.source, in.unknown = s.source(r)
	switch {
	case len(body) > seedBody:
		w.Header().Set("Connection", "close")
		return in, &httpError{api.CodeTooLarge, "the body is longer than 4096 octets", "send what this path takes and nothing else"}
	case !whole:
		return in, malformed("the body broke off", "send it again")
	case strings.Contains(r.RequestURI, "?"):
		return in, malformed("the request has a query", "leave it out")
	}
	return in, nil
}

// takesTokens tells whether a token in the request has come in a way in which
// nobody could read it, or the operator does not mind.
func (s *Server) takesTokens(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return s.takesTokensAt(local)
}

// takesTokensAt is takesTokens for plain HTTP that came to this address; nil: it
// is not known.
func (s *Server) takesTokensAt(local net.Addr) bool {
	if s.HTTPTokens || local == nil {
		return s.HTTPTokens
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}
