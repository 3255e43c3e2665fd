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
	var in api.Join
	body, err := doorBody(w, r, *room)
	if err == nil {
		err = strict(body, &in, `send {"code":"CODE","public_key":"BASE64"}`)
	}
	if err == nil {
		var ok bool
		if code, ok = ddns.ParseCode(in.Code); !ok {
			err = malformed("code is not a join code", "give its 16 characters, a-z and 2-7, with or without hyphens between groups of four")
		}
	}
	if err == nil {
		err = checkKey(in.PublicKey)
	}
	if err == nil {
		u.Source, err = s.doorSource(r)
	}
	if err != nil {
		s.turnAway(w, r, doorJoin, u, err)
		return
	}
	joined, err := s.Service.Join(r.Context(), doorJoin, u.Source, code, in.PublicKey)
	s.joined(w, r, u, joined, err)
}
