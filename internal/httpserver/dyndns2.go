package httpserver

import (
	"context"
	"encoding/base64"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

const doorDyndns2 = "dyndns2"

// Bounds of the doors for routers.
const (
	routerForm  = 8 << 10 // octets of a form
	routerHosts = 20      // host names in one request
)

// routerRequest is a request at a door for routers, however it was read.
type routerRequest struct {
	doorRequest
	query, form string // as they were sent; form is the body of a POST
}

// routerReply is what such a door answers.
type routerReply struct {
	status int
	body   []byte // text/plain
	reason string // of a refusal: its code; else ""
	retry  int64  // seconds; 0: no Retry-After
}

// response is what goes over the wire.
func (r routerReply) response() response {
	out := respond(r.status, textPlain, r.body)
	if r.reason != "" {
		out.fields = append(out.fields, field{"Godwit-Reason", r.reason})
	}
	if r.retry > 0 {
		out.fields = append(out.fields, field{"Retry-After", strconv.FormatInt(r.retry, 10)})
	}
	if r.status == http.StatusUnauthorized { // GNU wget sends a password only when it is asked
		out.fields = append(out.fields, basicChallenge)
	}
	return out
}

var basicChallenge = field{"WWW-Authenticate", `Basic realm="godwit"`}

// router makes a handler of a door for routers.
func (s *Server) router(name string, door func(*Server, context.Context, routerRequest) routerReply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in := s.routerRequest(r)
		if r.Method == http.MethodPost {
			var refusal *httpError
			if in.form, refusal = readForm(w, r); refusal != nil {
				s.refused(name, nowhere, in.source, in.agent, refusal)
				w.Header().Set("Godwit-Reason", refusal.code)
				s.refuse(w, refusal.code, refusal.why, refusal.fix)
				return
			}
		}
		door(s, r.Context(), in).response().write(w)
	}
}

// routerRequest is a request that net/http has read, without a form.
func (s *Server) routerRequest(r *http.Request) routerRequest {
	in := routerRequest{query: r.URL.RawQuery}
	in.auth, in.agent, in.tokens = r.Header.Get("Authorization"), r.UserAgent(), s.takesTokens(r)
	in.source, in.unknown = s.source(r)
	return in
}

// readForm reads the body of a POST, which is a form or nothing.
func readForm(w http.ResponseWriter, r *http.Request) (string, *httpError) {
	body, whole := readBody(r, make([]byte, routerForm+1))
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case len(body) > routerForm:
		w.Header().Set("Connection", "close")
		return "", &httpError{api.CodeTooLarge, "the form is longer than 8192 octets", "name fewer hosts"}
	case !whole:
		return "", &httpError{string(ddns.Malformed), "the body broke off", "send it again"}
	case len(body) > 0 && (err != nil || kind != "application/x-www-form-urlencoded"):
		return "", &httpError{api.CodeUnsupportedType, "the body is no form", "send application/x-www-form-urlencoded, or a query"}
	}
	return string(body), nil
}

// presented is the credential that a router's request comes with.
type presented struct {
	user  string
	proof ddns.TokenProof // zero: none
}

// credential is what the request has of Authorization; else of its parameters.
func (in *routerRequest) credential(p *paramSet) presented {
	if user, password, ok := readBasic(in.auth); ok && password != "" {
		return presented{user, ddns.TokenProof{Token: ddns.NewSecret(password)}}
	}
	return presented{p.get(pUsername, pLogin), ddns.TokenProof{Token: ddns.NewSecret(p.get(pPassword, pToken)), InURL: true}}
}

// readBasic reads an Authorization field of the Basic scheme (RFC 7617 section 2).
func readBasic(auth string) (user, password string, ok bool) {
	scheme, coded, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	text, err := base64.StdEncoding.DecodeString(strings.Trim(coded, " "))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(text), ":")
}

// errPlainHTTP is what the log says where a password was not even looked at.
var errPlainHTTP = errors.New("a token came over plain HTTP, where it is not taken: let the client use https, or start the server with --http-tokens")

// plainHTTPReason goes into Godwit-Reason then, for whoever tries it by hand.
const plainHTTPReason = string(ddns.BadProof) + "; plain HTTP is not taken, use https"

// turnedAway is why a request does not get as far as the core, if it does not:
// nobody knows where it came from, or its credential came in the open.
func (in *routerRequest) turnedAway(who presented) *ddns.Refusal {
	switch {
	case in.unknown != nil:
		return &ddns.Refusal{Code: ddns.Malformed, Why: "the server does not know the client's address: " + in.unknown.Error(), Fix: "tell the operator of this server", Cause: in.unknown}
	case !in.tokens && !who.proof.Token.IsZero():
		return &ddns.Refusal{Code: ddns.BadProof, Why: "a password was sent over plain HTTP, where it is not taken",
			Fix: "use https; the operator can allow it with --http-tokens", Cause: errPlainHTTP}
	}
	return nil
}

// unasked notes a refusal for which the core was not asked. Anybody can bring
// about as many as he likes, so the log has of them what a source may ask for.
func (s *Server) unasked(ctx context.Context, in *routerRequest, door string, name dnsname.Name, refusal *ddns.Refusal) {
	if s.Service.Admit(in.source) != nil {
		s.refused(door, name, in.source, in.agent, refusal)
		return
	}
	s.logUpdate(ctx, name, door, in.source, in.agent, ddns.Outcome{}, refusal)
}

// routerDone is what came of an update for one host.
type routerDone struct {
	host    *ddns.Host // the state now; nil if refusal is set
	before  *ddns.Host // the state before
	changed bool
	ignored bool // loopback addresses, which the host does not take
	refusal *ddns.Refusal
}

// routerUpdate makes the update of one host; name zero: the only one of the
// credential.
func (s *Server) routerUpdate(ctx context.Context, in *routerRequest, door string, name dnsname.Name, proof ddns.TokenProof, w *wanted) (done routerDone) {
	u := ddns.Update{Host: name, Door: door, Source: in.source, Changes: w.changes, Auto: w.auto}
	if !proof.Token.IsZero() {
		u.Proof = proof
	}
	var out ddns.Outcome
	var err error
	if w.nothing() || w.loopback.IsValid() {
		// OpenWrt's script for No-IP sends loopback first and gives up unless that is
		// good, so a host that takes none is looked at and left as it is.
		out.Host, err = s.Service.Look(ctx, u)
		done.ignored = err == nil && !w.nothing() && !out.Host.Addresses.Allows(w.loopback)
		if err == nil && w.refusal != nil {
			err = w.refusal
		}
	}
	if err == nil && !w.nothing() && !done.ignored {
		out, err = s.Service.Update(ctx, u)
	}
	if out.Host != nil {
		name = out.Host.Name
	}
	s.logUpdate(ctx, name, door, in.source, in.agent, out, err)
	if err != nil {
		done.refusal = asRefusal(err)
		return done
	}
	done.host, done.before, done.changed = out.Host, out.Before, out.Changed
	return done
}

func badName() *ddns.Refusal {
	return &ddns.Refusal{Code: ddns.Malformed, Why: "a host name is not understood", Fix: "give full names such as nas.dyn.example.com, with commas in between"}
}

func tooManyHosts() *ddns.Refusal {
	return &ddns.Refusal{Code: ddns.TooMany, Why: "the request names more than 20 hosts", Fix: "name fewer"}
}

func asRefusal(err error) *ddns.Refusal {
	var refusal *ddns.Refusal
	if !errors.As(err, &refusal) {
		refusal = &ddns.Refusal{Code: ddns.Unavailable}
	}
	return refusal
}

// dyndns2Line is what a reply says of one host.
type dyndns2Line struct {
	name   dnsname.Name
	word   string
	reason ddns.Code // of a refusal
	done   routerDone
}

// dyndns2 is the door that most routers know. The words and when they are said
// are in docs/protocols.md.
func (s *Server) dyndns2(ctx context.Context, in routerRequest) routerReply {
	var p paramSet
	p.read(in.query, in.form)
	return s.dyndns2Reply(ctx, &in, &p)
}

func (s *Server) dyndns2Reply(ctx context.Context, in *routerRequest, p *paramSet) routerReply {
	who := in.credential(p)
	var room [routerHosts]dyndns2Line
	lines, named := readHosts(room[:0], dyndns2Hosts(p, who.user), dnsname.Parse)
	want, refusal := readWanted(p, in.source.Addr)
	word := "dnserr"
	if away := in.turnedAway(who); away != nil {
		if refusal = away; away.Code == ddns.BadProof {
			word = "badauth"
		}
	}
	if named > routerHosts {
		word, refusal = "numhost", tooManyHosts()
	}
	if refusal != nil {
		s.unasked(ctx, in, doorDyndns2, lines[0].name, refusal)
		return dyndns2Whole(in.agent, word, refusal.Code, named)
	}
	held := false // the proof, at one host at least
	retry := int64(0)
	guess := false // the token names its credential and does not hold
	for i := range lines {
		l := &lines[i]
		if l.word != "" { // no name
			s.unasked(ctx, in, doorDyndns2, nowhere, badName())
			continue
		}
		if j := lineOf(lines[:i], l.name); j >= 0 {
			*l = lines[j]
			continue
		}
		if guess {
			l.word, l.reason = "badauth", ddns.BadProof
			continue
		}
		l.done = s.routerUpdate(ctx, in, doorDyndns2, l.name, who.proof, &want)
		l.say(&want)
		switch l.reason {
		case ddns.BadProof:
			guess = who.proof.CredentialID() != "" || who.proof.Token.IsZero()
		case ddns.RateLimited, ddns.Unavailable:
			retry = max(retry, retrySeconds(l.done.refusal.RetryAfter), 1)
		default:
			held = true
		}
	}
	return dyndns2Answer(in.agent, lines, held, retry, &want)
}

// dyndns2Hosts is the list of host names in a request; "" asks for the only host
// of the credential.
func dyndns2Hosts(p *paramSet, user string) string {
	list := p.get(pHostname, pH)
	if strings.EqualFold(list, "YES") || strings.Trim(list, ", \t") == "" {
		list = ""
		if strings.Contains(user, ".") {
			list = user
		}
	}
	return list
}

// readHosts reads a list of host names into lines, which has room for
// routerHosts, and counts them. What is no name has a word already. An empty list
// is one line without a name.
func readHosts(lines []dyndns2Line, list string, parse func(string) (dnsname.Name, error)) ([]dyndns2Line, int) {
	if list == "" {
		return append(lines, dyndns2Line{}), 1
	}
	named := 0
	for list != "" {
		var text string
		text, list, _ = strings.Cut(list, ",")
		if text = strings.Trim(text, " \t"); text == "" {
			continue
		}
		if named++; named > routerHosts {
			continue
		}
		var l dyndns2Line
		var err error
		if l.name, err = parse(text); err != nil || l.name.IsZero() {
			l = dyndns2Line{word: "notfqdn", reason: ddns.Malformed}
		}
		lines = append(lines, l)
	}
	return lines, named
}

func lineOf(lines []dyndns2Line, name dnsname.Name) int {
	for i := range lines {
		if lines[i].reason != ddns.Malformed && lines[i].name == name {
			return i
		}
	}
	return -1
}

// say puts what came of the update into the door's word.
func (l *dyndns2Line) say(want *wanted) {
	switch r := l.done.refusal; {
	case r == nil && (l.done.changed || l.done.ignored):
		l.word = "good"
	case r == nil:
		l.word = "nochg"
	default:
		l.reason = r.Code
		l.word = dyndns2Word(r.Code)
		if r.Code == ddns.Malformed && l.name.IsZero() {
			l.word = "notfqdn"
		}
	}
}

// dyndns2Word is the word for a code of the core.
func dyndns2Word(code ddns.Code) string {
	switch code {
	case ddns.BadProof:
		return "badauth"
	case ddns.NotYours:
		return "nohost"
	case ddns.Suspended:
		return "abuse"
	case ddns.RateLimited, ddns.Unavailable:
		return "911"
	}
	return "dnserr"
}

// dyndns2Whole answers a request of n hosts that is refused as a whole.
func dyndns2Whole(agent, word string, code ddns.Code, n int) routerReply {
	r := routerReply{status: dyndns2Status(agent, word, false), reason: string(code)}
	if word == "badauth" {
		r.body, r.reason = []byte("badauth\n"), plainHTTPReason
		return r
	}
	for range n {
		r.body = appendRefusal(r.body, word, code)
	}
	return r
}

func appendRefusal(b []byte, word string, code ddns.Code) []byte {
	return append(append(append(append(b, word...), ' '), code...), '\n')
}

// dyndns2Answer writes the lines. held tells whether the proof held for one host;
// if not, nobody learns anything of the hosts.
func dyndns2Answer(agent string, lines []dyndns2Line, held bool, retry int64, want *wanted) routerReply {
	r := routerReply{status: http.StatusOK, body: make([]byte, 0, 64)}
	refused, troubled := 0, 0
	first := -1 // refusal
	for i := range lines {
		l := &lines[i]
		if l.reason == ddns.BadProof {
			if !held {
				return routerReply{status: http.StatusUnauthorized, body: []byte("badauth\n"), reason: string(ddns.BadProof)}
			}
			// A secret of the user's own, which holds for another host of the list.
			l.word, l.reason = "nohost", ddns.NotYours
		}
		if l.reason == "" {
			r.body = l.appendGood(r.body, want)
			continue
		}
		if refused++; first < 0 {
			first = i
		}
		if l.word == "911" {
			troubled++
		}
		r.body = appendRefusal(r.body, l.word, l.reason)
	}
	if first >= 0 {
		r.reason = string(lines[first].reason)
	}
	switch {
	case troubled == len(lines):
		r.status, r.retry = http.StatusServiceUnavailable, retry
	case refused == len(lines):
		r.status = dyndns2Status(agent, lines[first].word, lines[first].done.refusal != nil)
		if r.status == http.StatusServiceUnavailable {
			r.retry = retry
		}
	}
	return r
}

// appendGood writes the line of a host that is as the request wants it: with its
// addresses now, of the families that were spoken of.
func (l *dyndns2Line) appendGood(b []byte, want *wanted) []byte {
	b = append(b, l.word...)
	sep := byte(' ')
	list := func(addrs []netip.Addr) {
		for _, a := range addrs {
			b = a.AppendTo(append(b, sep))
			sep = ','
		}
	}
	switch {
	case l.done.ignored:
		list([]netip.Addr{want.loopback})
	default:
		both := !want.v4 && !want.v6
		if want.v4 || both {
			list(l.done.host.A)
		}
		if want.v6 || both {
			list(l.done.host.AAAA)
		}
	}
	return append(b, '\n')
}

// dyndns2Status is the status of an answer that says nothing but refusals, of
// which word is the first. proved tells whether it is one of a caller whose proof
// held. It goes by what the client is known to look at (docs/protocols.md).
func dyndns2Status(agent, word string, proved bool) int {
	if word == "badauth" {
		return http.StatusUnauthorized
	}
	switch profileOf(agent) {
	case byStatus:
		switch word {
		case "911":
			return http.StatusServiceUnavailable
		case "notfqdn", "numhost":
			return http.StatusBadRequest
		case "nohost":
			return http.StatusNotFound
		case "abuse":
			return http.StatusForbidden
		}
		return http.StatusUnprocessableEntity
	case byRetry:
		if word == "911" || word == "dnserr" && proved {
			return http.StatusServiceUnavailable
		}
	}
	return http.StatusOK
}

// profile is what a client makes of an answer.
type profile uint8

const (
	byWord   profile = iota // reads the words, and takes any status but 200 for an outage
	byStatus                // looks at the status alone
	byRetry                 // ends for good on anything but success or a status of 500 and above
)

// profileOf knows clients by what they call themselves.
func profileOf(agent string) profile {
	for _, known := range [...]struct {
		prefix string
		profile
	}{
		{"OPNsense-dyndns", byStatus}, {"Wget", byStatus}, {"curl/", byStatus}, {"uclient-fetch", byStatus}, {"Mikrotik", byStatus},
		{"inadyn/", byRetry},
	} {
		if len(agent) >= len(known.prefix) && strings.EqualFold(agent[:len(known.prefix)], known.prefix) {
			return known.profile
		}
	}
	return byWord
}
