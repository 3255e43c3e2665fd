package httpserver

import (
	"net/http"

	"godwit/internal/api"
	"godwit/internal/ddns"
)

const doorJoin = "join"

// join is POST /v1/join: a one-time code becomes a key. Nothing proves who asks
// but the code, and nothing in the request says which host it is for.
func (s *Server) join(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	u := ddns.Update{Host: nowhere, Door: doorJoin}
	var code ddns.CodeProof
	var said api.Join
	in, err := s.doorRequest(w, r, *room)
	if err == nil {
		err = strict(in.Body, &said, `send {"code":"CODE","public_key":"BASE64"}`)
	}
	if err == nil {
		var ok bool
		if code, ok = ddns.ParseCode(said.Code); !ok {
			err = malformed("code is not a join code", "give its 16 characters, a-z and 2-7, with or without hyphens between groups of four")
		}
	}
	if err == nil {
		err = checkKey(said.PublicKey)
	}
	if err == nil {
		u.Source, err = s.doorSource(in)
	}
	if err != nil {
		s.turnAway(in, doorJoin, u, err).write(w)
		return
	}
	joined, err := s.Service.Join(r.Context(), doorJoin, u.Source, code, said.PublicKey)
	s.joined(r.Context(), in, u, joined, err).write(w)
}
