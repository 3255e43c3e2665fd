package httpserver

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"

	"godwit/internal/api"
)

// everydayKind is a kind of request that front answers.
type everydayKind struct {
	method, door string
	// target tells whether a request target, which has no space in it, is of this
	// kind, and the {name} in it. net/http's mux would find the same; what it might
	// read otherwise is not of the kind.
	target func(string) (name string, ok bool)
	answer func(*Server, context.Context, doorRequest) response
}

var everydayKinds = [...]everydayKind{
	{http.MethodPost, doorSeed, seedTarget, (*Server).seedUpdate},
	{http.MethodPut, doorSigned, signedTarget, (*Server).signedUpdate},
	{http.MethodGet, doorDyndns2, dyndns2Target, (*Server).dyndns2Update},
}

func seedTarget(target string) (string, bool) { return "", target == "/" }

func signedTarget(target string) (string, bool) {
	rest, begins := strings.CutPrefix(target, api.HostPath)
	name, ends := strings.CutSuffix(rest, api.AddressesPath)
	return name, begins && ends && !consistsOf(name, ".") && consistsOf(name, alphanumeric+"-.")
}

func dyndns2Target(target string) (string, bool) {
	query, ok := strings.CutPrefix(target, dyndns2Path+"?")
	return "", ok && isPrintable(query) && !strings.Contains(query, " ")
}

// dyndns2Update is a GET of the dyndns2 door without net/http.
func (s *Server) dyndns2Update(ctx context.Context, in doorRequest) response {
	return s.dyndns2(ctx, routerRequest{doorRequest: in, query: in.Target[len(dyndns2Path+"?"):]}).response()
}

const dyndns2Path = "/nic/update"

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// consistsOf tells whether text has no characters but these.
func consistsOf(text, characters string) bool { return strings.Trim(text, characters) == "" }

// everydayRoom is how long an everyday request may be, in octets.
const everydayRoom = 2 << 10

// readEveryday reads a request of one of the kinds that is here to its end, with
// nothing behind it, and has no header fields but those that the doors look at,
// some that mean nothing to them, and the two that it must have (RFC 9112
// sections 3.2 and 6.2). kind is nil for all others: it may refuse what net/http
// would take, never the reverse. in is what the request says; its body is inside
// of the request.
func readEveryday(request []byte) (kind *everydayKind, in doorRequest) {
	end := bytes.Index(request, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, in
	}
	line, fields, _ := strings.Cut(string(request[:end+2]), "\r\n")
	in.Body = request[end+4:]
	in.Method, line, _ = strings.Cut(line, " ")
	target, isHTTP := strings.CutSuffix(line, " HTTP/1.1")
	in.Target = target
	for i := range everydayKinds {
		k := &everydayKinds[i]
		if k.method != in.Method || !isHTTP {
			continue
		}
		if name, ok := k.target(target); ok {
			kind, in.name = k, name
			break
		}
	}
	if kind == nil {
		return nil, in
	}
	length := -1
	for fields != "" {
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " ")
		ok = ok && isPrintable(value)
		switch {
		case !ok:
		case sameField(name, "host"):
			ok = once(&in.Host, value) && consistsOf(value, alphanumeric+".-:[]")
		case sameField(name, "content-length"):
			var n uint64
			var err error
			n, err = strconv.ParseUint(value, 10, 16)
			ok = length < 0 && err == nil
			length = int(n)
		case sameField(name, "user-agent"):
			ok = once(&in.agent, value)
		case sameField(name, "authorization"):
			ok = once(&in.auth, value)
		case sameField(name, "signature-input"):
			ok = onceLine(&in.Input, value)
		case sameField(name, "signature"):
			ok = onceLine(&in.Signature, value)
		case sameField(name, "content-digest"):
			ok = onceLine(&in.Digest, value)
		case sameField(name, "connection"):
			ok = strings.EqualFold(value, "keep-alive") // as it is anyway
		default:
			ok = sameField(name, "content-type") || sameField(name, "accept") || sameField(name, "accept-encoding")
		}
		if !ok {
			return nil, in
		}
	}
	if kind.method == http.MethodGet {
		length++ // it has no body, and says nothing of one
	}
	if in.Host == "" || length != len(in.Body) {
		return nil, in
	}
	return kind, in
}

// sameField tells whether a field's name is the one in lower case.
func sameField(name, lower string) bool {
	return len(name) == len(lower) && strings.EqualFold(name, lower)
}

// once sets what is not set yet, to what is not empty.
func once(to *string, value string) bool {
	if *to != "" {
		return false
	}
	*to = value
	return value != ""
}

func onceLine(to *[]string, value string) bool {
	if *to != nil {
		return false
	}
	*to = []string{value}
	return true
}

func isPrintable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
