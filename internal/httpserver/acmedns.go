package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// The API of acme-dns: a token registers an account of its host, which adds
// challenge values for certificates and does nothing else. Words and statuses are
// in docs/protocols.md.

const doorACMEDNS = "acme-dns"

// The header fields of an account.
const (
	apiUser = "X-Api-User"
	apiKey  = "X-Api-Key"
)

// maxAllowFrom is how many networks an account may be held to.
const maxAllowFrom = 32

// orACMEDNS gives requests at the root with a header field that only clients of
// acme-dns send there to its door, and all others to whom they belong.
func orACMEDNS(field string, door, other http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(field) != "" {
			door(w, r)
			return
		}
		other(w, r)
	}
}

// acmeHealth is GET /acme-dns/health.
func (s *Server) acmeHealth(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, jsonType, nil)
}

// account is what a registration answers. The password is shown this once.
type account struct {
	Username   string         `json:"username"`
	Password   string         `json:"password"`
	FullDomain string         `json:"fulldomain"`
	Subdomain  string         `json:"subdomain"`
	AllowFrom  []netip.Prefix `json:"allowfrom"` // never null
}

// acmeRegister is POST /acme-dns/register. Nobody registers without a token that
// may set challenge values.
func (s *Server) acmeRegister(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	in, err := s.doorRequest(w, r, *room)
	s.register(r.Context(), &routerRequest{doorRequest: in}, err).write(w)
}

func (s *Server) register(ctx context.Context, in *routerRequest, err error) response {
	var networks []netip.Prefix
	if err == nil {
		networks, err = readAllowFrom(in.Body)
	}
	if err != nil {
		return s.accountMalformed(in, err)
	}
	user, password, _ := readBasic(in.auth)
	u := ddns.Update{Door: doorACMEDNS, Source: in.source}
	who := presented{user: user, proof: ddns.TokenProof{Token: ddns.NewSecret(password)}}
	if password != "" {
		u.Proof = who.proof
	}
	if strings.Contains(user, ".") {
		if u.Host, err = dnsname.Parse(user); err != nil {
			u.Host = nowhere
		}
	}
	if away := in.turnedAway(who); away != nil {
		s.unasked(ctx, in, doorACMEDNS, u.Host, away)
		return accountRefused(away)
	}
	made, err := s.Service.Register(ctx, u, networks)
	if err != nil {
		s.logUpdate(ctx, u.Host, doorACMEDNS, in.source, in.agent, ddns.Outcome{}, err)
		return accountRefused(asRefusal(err))
	}
	s.logUpdate(ctx, made.Host.Name, doorACMEDNS, in.source, in.agent, ddns.Outcome{Changed: true, Host: made.Host}, nil)
	body, err := json.Marshal(account{made.User, made.Key.Reveal(), made.Challenge.String(), made.User, append([]netip.Prefix{}, made.Credential.Networks...)})
	if err != nil { // cannot be: our own types
		panic(err)
	}
	return respond(http.StatusCreated, jsonType, body)
}

// acmeUpdate is POST /acme-dns/update.
func (s *Server) acmeUpdate(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	in, err := s.doorRequest(w, r, *room)
	s.accountUpdate(r.Context(), &routerRequest{doorRequest: in}, r.Header.Get(apiUser), ddns.NewSecret(r.Header.Get(apiKey)), err).write(w)
}

func (s *Server) accountUpdate(ctx context.Context, in *routerRequest, user string, key ddns.Secret, err error) response {
	var subdomain, value string
	if err == nil {
		subdomain, value, err = readAccountUpdate(in.Body)
	}
	if err != nil {
		return s.accountMalformed(in, err)
	}
	u := ddns.Update{Door: doorACMEDNS, Source: in.source, Proof: ddns.AccountProof{}, // that of nobody
		Changes: []ddns.Change{{Type: ddns.TypeTXT, Op: ddns.Add, Texts: []string{value}}}}
	if strings.EqualFold(user, subdomain) {
		u.Proof = ddns.NewAccountProof(user, key)
	}
	if away := in.turnedAway(presented{proof: ddns.TokenProof{Token: key}}); away != nil {
		s.unasked(ctx, in, doorACMEDNS, u.Host, away)
		return accountRefused(away)
	}
	out, err := s.Service.Update(ctx, u)
	if err == nil {
		u.Host = out.Host.Name
	}
	s.logUpdate(ctx, u.Host, doorACMEDNS, in.source, in.agent, out, err)
	if err != nil {
		return accountRefused(asRefusal(err))
	}
	return respond(http.StatusOK, jsonType, []byte(`{"txt": "`+value+`"}`))
}

// accountError is an error of the API that is in the request's own bytes.
type accountError struct {
	word string
	httpError
}

func (e *accountError) Unwrap() error { return &e.httpError }

func badAccountRequest(word, why, fix string) error {
	return &accountError{word, httpError{string(ddns.Malformed), why, fix}}
}

func badJSON() error {
	return badAccountRequest("malformed_json_payload", "the body is not the JSON that this path takes", "see what the client sends")
}

// readAllowFrom reads the body of a registration, which may be empty, or null as the
// library of clients in Go has it. What is not understood closes: an account is not
// to be good from everywhere by mistake.
func readAllowFrom(body []byte) (networks []netip.Prefix, err error) {
	s := scanner{data: body}
	if s.end() || s.null() && s.end() {
		return nil, nil
	}
	bad := badAccountRequest("invalid_allowfrom_cidr", "allowfrom is not a list of CIDR blocks, or longer than 32", "send blocks such as 192.0.2.0/24 or 2001:db8::/32")
	wrong := false
	ok := s.object(func(name []byte) bool {
		if string(name) != "allowfrom" {
			return s.skip()
		}
		return s.texts(func(text []byte) {
			p, err := netip.ParsePrefix(string(text))
			if wrong = wrong || err != nil || p.Addr().Is4In6() || len(networks) == maxAllowFrom; !wrong {
				networks = append(networks, p.Masked())
			}
		})
	})
	switch {
	case !ok || !s.end():
		return nil, badJSON()
	case wrong:
		return nil, bad
	}
	return networks, nil
}

// readAccountUpdate reads the body of an update. A value is a SHA-256 in
// base64url (RFC 8555 section 8.4).
func readAccountUpdate(body []byte) (subdomain, value string, err error) {
	var members [2][]byte
	s := scanner{data: body}
	ok := s.textMembers([]string{"subdomain", "txt"}, members[:])
	subdomain, value = string(members[0]), string(members[1])
	switch {
	case !ok || members[0] == nil || members[1] == nil:
		return "", "", badJSON()
	case !ddns.IsAccountUser(subdomain):
		return "", "", badAccountRequest("bad_subdomain", "the subdomain is not one that a registration gave", "send it as it was registered")
	case len(value) != 43 || !consistsOf(value, alphanumeric+"-_"):
		return "", "", badAccountRequest("bad_txt", "txt is not a challenge value", "send its 43 characters of base64url")
	}
	return subdomain, value, nil
}

// accountMalformed answers a request that cannot be read.
func (s *Server) accountMalformed(in *routerRequest, err error) response {
	s.refused(doorACMEDNS, nowhere, in.source, in.agent, err)
	word, code := "malformed_json_payload", string(ddns.Malformed)
	if own, ok := errors.AsType[*accountError](err); ok {
		word = own.word
	} else if h, ok := errors.AsType[*httpError](err); ok && h.code == api.CodeTooLarge {
		return accountFail(http.StatusRequestEntityTooLarge, "too_large", h.code)
	}
	return accountFail(http.StatusBadRequest, word, code)
}

// accountRefused is the answer where the core refused.
func accountRefused(refusal *ddns.Refusal) response {
	status, word := http.StatusBadRequest, strings.ReplaceAll(string(refusal.Code), "-", "_")
	switch refusal.Code {
	case ddns.BadProof:
		status, word = http.StatusUnauthorized, "forbidden"
	case ddns.NotYours, ddns.Suspended:
		status, word = http.StatusForbidden, "forbidden"
	case ddns.TooMany:
		status = http.StatusUnprocessableEntity
	case ddns.RateLimited:
		status = http.StatusTooManyRequests
	case ddns.Unavailable:
		status, word = http.StatusInternalServerError, "db_error"
	}
	r := accountFail(status, word, string(refusal.Code))
	if status == http.StatusTooManyRequests || status == http.StatusInternalServerError {
		r.fields = append(r.fields, field{"Retry-After", strconv.FormatInt(max(retrySeconds(refusal.RetryAfter), 1), 10)})
	}
	return r
}

func accountFail(status int, word, reason string) response {
	return respond(status, jsonType, []byte(`{"error":"`+word+`"}`), field{"Godwit-Reason", reason})
}
