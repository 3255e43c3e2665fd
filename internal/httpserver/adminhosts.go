package httpserver

import (
	"net/http"
	"strconv"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// pageHosts is how many hosts a page has if the request does not say.
const pageHosts = 500

func (s *Server) listHosts(w http.ResponseWriter, r *http.Request) {
	q, err := query(r, "cursor", "limit")
	limit := pageHosts
	if err == nil && q.Has("limit") {
		if limit, err = strconv.Atoi(q.Get("limit")); err != nil || limit < 1 || limit > 1000 {
			err = malformed("limit is not 1 to 1000", "leave it out, or give such a number")
		}
	}
	if err != nil {
		s.adminFail(w, r, "list", err)
		return
	}
	hosts, next, err := s.Service.List(r.Context(), q.Get("cursor"), limit)
	if err != nil {
		s.adminFail(w, r, "list", err)
		return
	}
	page := api.HostPage{Hosts: make([]api.HostState, len(hosts)), Next: next}
	for i, h := range hosts {
		page.Hosts[i] = hostState(h, nil)
	}
	reply(w, http.StatusOK, page)
}

func (s *Server) addHost(w http.ResponseWriter, r *http.Request) {
	var in api.AddHost
	err := decode(w, r, &in)
	if err != nil {
		s.adminFail(w, r, "add", err)
		return
	}
	name, err := parseHost(in.Host)
	if err != nil {
		s.adminFail(w, r, "add", err)
		return
	}
	settings, err := readSettings(in.Settings)
	if err != nil {
		s.adminFail(w, r, "add", err)
		return
	}
	var out ddns.Created
	switch {
	case !in.Join:
		out, err = s.Service.Add(r.Context(), name, settings, ddns.NewSecret(in.Secret))
	case in.Secret != "":
		err = malformed("a host that a device joins has no secret", "leave secret or join out")
	default:
		out, err = s.Service.AddJoin(r.Context(), name, settings)
	}
	if err != nil {
		s.adminFail(w, r, "add", err)
		return
	}
	s.created(w, r, "add", out)
}

// created answers with a new credential, the one time that its token or join code
// is shown.
func (s *Server) created(w http.ResponseWriter, r *http.Request, doing string, c ddns.Created) {
	var key *api.TSIGKey
	if !c.TSIGSecret.IsZero() {
		name, err := c.Credential.TSIGName(c.Host)
		if err != nil {
			s.adminFail(w, r, doing, err)
			return
		}
		key = &api.TSIGKey{Name: name.String(), Algorithm: c.Credential.Algorithm, Secret: c.TSIGSecret.Reveal()}
	}
	s.adminDone(r.Context(), doing, c.Host.Name.String())
	reply(w, http.StatusCreated, api.Created{
		TSIG: key,
		Host: c.Host.Name.String(), Zone: c.Host.Zone.String(), TTL: c.Host.TTL,
		Hosts: hostsOf(c.Credential), Credential: c.Credential.ID, Token: c.Token.Reveal(), JoinCode: c.Code.Reveal(), Expires: c.Credential.Expires.UTC(), URL: s.URL,
	})
}

func (s *Server) showHost(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err != nil {
		s.adminFail(w, r, "show", err)
		return
	}
	h, credentials, err := s.Service.Find(r.Context(), name)
	if err != nil {
		s.adminFail(w, r, "show", err)
		return
	}
	state := nameState(name, h, credentials)
	state.URL = s.URL
	reply(w, http.StatusOK, state)
}

func (s *Server) setHost(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err != nil {
		s.adminFail(w, r, "set", err)
		return
	}
	var in api.Settings
	if err := decode(w, r, &in); err != nil {
		s.adminFail(w, r, "set", err)
		return
	}
	settings, err := readSettings(in)
	if err != nil {
		s.adminFail(w, r, "set", err)
		return
	}
	done, err := s.Service.Set(r.Context(), name, settings)
	if err != nil {
		s.adminFail(w, r, "set", err)
		return
	}
	outcome := api.Unchanged
	if done.Changed {
		outcome = api.Changed
		s.adminDone(r.Context(), "set", name.String())
	}
	h, credentials, err := s.Service.Show(r.Context(), name)
	if err != nil {
		s.adminFail(w, r, "show", err)
		return
	}
	state := hostState(h, credentials)
	state.Outcome = outcome
	reply(w, http.StatusOK, state)
}

func (s *Server) removeHost(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err == nil {
		err = s.Service.Remove(r.Context(), name)
	}
	if err != nil {
		s.adminFail(w, r, "remove", err)
		return
	}
	s.adminDone(r.Context(), "remove", name.String())
	gone(w)
}

// gone is the answer to a removal: there is nothing left to say.
func gone(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err != nil {
		s.adminFail(w, r, "history", err)
		return
	}
	h, _, err := s.Service.Find(r.Context(), name)
	if err != nil {
		s.adminFail(w, r, "history", err)
		return
	}
	events, err := s.Service.History(r.Context(), h.Name)
	if err != nil {
		s.adminFail(w, r, "history", err)
		return
	}
	out := api.History{Host: name.String(), Events: make([]api.Event, 0, len(events))}
	f, follows := h.Follower(name)
	if follows {
		out.Router = h.Name.String()
		events = aboutFollower(events, f)
	}
	for _, e := range events {
		out.Events = append(out.Events, api.Event{
			Time: e.Time.UTC(), Generation: e.Generation, Outcome: e.Outcome, Door: e.Door, Credential: e.Credential,
			Source: e.Source, Proven: e.Proven, What: e.What, Before: e.Before, After: e.After,
		})
	}
	reply(w, http.StatusOK, out)
}

func (s *Server) rotateHost(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err != nil {
		s.adminFail(w, r, "rotate", err)
		return
	}
	var in api.RotateHost
	if err := decode(w, r, &in); err != nil {
		s.adminFail(w, r, "rotate", err)
		return
	}
	var out ddns.Created
	switch {
	case !in.Join:
		out, err = s.Service.Rotate(r.Context(), name, ddns.NewSecret(in.Secret), negate(in.Seed))
	case in.Secret != "" || in.Seed != nil:
		err = malformed("a host that a device joins has no secret", "leave join, or secret and seed out")
	default:
		out, err = s.Service.RotateJoin(r.Context(), name)
	}
	if err != nil {
		s.adminFail(w, r, "rotate", err)
		return
	}
	s.created(w, r, "rotate", out)
}

func (s *Server) listTokens(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err != nil {
		s.adminFail(w, r, "list tokens", err)
		return
	}
	h, credentials, err := s.Service.Show(r.Context(), name)
	if err != nil {
		s.adminFail(w, r, "list tokens", err)
		return
	}
	reply(w, http.StatusOK, api.Tokens{Host: name.String(), Credentials: credentialStates(h, credentials)})
}

func (s *Server) addToken(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err != nil {
		s.adminFail(w, r, "add token", err)
		return
	}
	var in api.TokenSpec
	if err := decode(w, r, &in); err != nil {
		s.adminFail(w, r, "add token", err)
		return
	}
	spec, err := readTokenSpec(in)
	if err != nil {
		s.adminFail(w, r, "add token", err)
		return
	}
	out, err := s.Service.AddToken(r.Context(), name, spec)
	if err != nil {
		s.adminFail(w, r, "add token", err)
		return
	}
	s.created(w, r, "add token", out)
}

func (s *Server) rotateToken(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err != nil {
		s.adminFail(w, r, "rotate token", err)
		return
	}
	var in api.RotateToken
	if err := decode(w, r, &in); err != nil {
		s.adminFail(w, r, "rotate token", err)
		return
	}
	overlap, err := seconds("overlap", in.Overlap)
	if err != nil {
		s.adminFail(w, r, "rotate token", err)
		return
	}
	out, err := s.Service.RotateToken(r.Context(), name, r.PathValue("id"), overlap)
	if err != nil {
		s.adminFail(w, r, "rotate token", err)
		return
	}
	s.created(w, r, "rotate token", out)
}

func (s *Server) setToken(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err != nil {
		s.adminFail(w, r, "set token", err)
		return
	}
	var in api.SetToken
	if err := decode(w, r, &in); err != nil {
		s.adminFail(w, r, "set token", err)
		return
	}
	add, err := parseHosts(in.AddHosts)
	if err != nil {
		s.adminFail(w, r, "set token", err)
		return
	}
	remove, err := parseHosts(in.RemoveHosts)
	if err != nil {
		s.adminFail(w, r, "set token", err)
		return
	}
	c, err := s.Service.SetToken(r.Context(), name, r.PathValue("id"), add, remove)
	if err != nil {
		s.adminFail(w, r, "set token", err)
		return
	}
	s.adminDone(r.Context(), "set token", name.String())
	out := api.TokenHosts{Credential: c.ID}
	for _, g := range c.Grants {
		out.Hosts = append(out.Hosts, g.Host.String())
	}
	reply(w, http.StatusOK, out)
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	var hosts []dnsname.Name
	if err == nil {
		hosts, err = s.Service.RevokeToken(r.Context(), name, r.PathValue("id"))
	}
	if err != nil {
		s.adminFail(w, r, "revoke token", err)
		return
	}
	s.adminDone(r.Context(), "revoke token", name.String())
	out := api.TokenHosts{Credential: r.PathValue("id")}
	for _, n := range hosts {
		out.Hosts = append(out.Hosts, n.String())
	}
	reply(w, http.StatusOK, out)
}
