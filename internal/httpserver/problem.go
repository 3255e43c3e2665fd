package httpserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// problem is an RFC 9457 problem. p.Code, Detail and Help are the caller's, the
// rest is filled in.
func (s *Server) problem(p api.Problem) response {
	code, ok := s.codes[p.Code]
	if !ok {
		code = s.codes[api.CodeInternal]
	}
	p.Type, p.Title, p.Status = s.URL+"/errors/"+code.Code, code.Title, code.Status
	body, err := json.Marshal(p)
	if err != nil { // cannot be: texts and numbers
		panic(err)
	}
	r := respond(code.Status, api.ProblemType, append(body, '\n'))
	if p.RetryAfter > 0 {
		r.fields = append(r.fields, field{"Retry-After", strconv.FormatInt(p.RetryAfter, 10)})
	}
	return r
}

func (s *Server) refuse(w http.ResponseWriter, code, detail, help string) {
	s.problem(api.Problem{Code: code, Detail: detail, Help: help}).write(w)
}

// fail writes the problem that an error of the core is, and returns its code.
func (s *Server) fail(w http.ResponseWriter, err error) string {
	p := s.problemOf(err)
	s.problem(p).write(w)
	return p.Code
}

// problemOf is the problem that an error of the core is. Causes are logged and
// not shown.
func (s *Server) problemOf(err error) api.Problem {
	p := api.Problem{Code: api.CodeInternal, Detail: "the server made a mistake", Help: "look at the server's log"}
	var refusal *ddns.Refusal
	var name *dnsname.Error
	switch {
	case errors.As(err, &refusal):
		p = api.Problem{Code: string(refusal.Code), Detail: refusal.Why, Help: refusal.Fix, RetryAfter: retrySeconds(refusal.RetryAfter), LastCreated: refusal.LastCreated}
		if refusal.Code == ddns.Unavailable {
			s.Log.Error("an answer was: unavailable", "err", refusal.Cause)
		}
	case errors.As(err, &name):
		p = api.Problem{Code: string(ddns.Malformed), Detail: "name " + strconv.Quote(name.Text) + " " + name.Why, Help: name.Fix}
	default:
		s.Log.Error("an answer was: internal", "err", err)
	}
	return p
}

// retrySeconds is a wait in whole seconds, rounded up; 0: there is none.
func retrySeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Second - 1) / time.Second)
}

// answer writes a whole answer.
func answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	respond(status, contentType, body).write(w)
}
