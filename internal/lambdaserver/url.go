package lambdaserver

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"unicode/utf8"
)

// response is what a Function URL takes for an answer. It knows no header twice:
// multiValueHeaders is ignored there, and cookies go apart.
type response struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies,omitempty"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

// maxAnswer bounds an answer's body, in octets: the platform takes 6 MB of JSON,
// in which base64 makes four octets of three.
const maxAnswer = 4 << 20

// request answers one request through the URL.
func (s *Server) request(ctx context.Context, e *event) []byte {
	ctx, cancel := context.WithTimeout(ctx, s.RequestTime)
	defer cancel()
	w := &answerWriter{header: make(http.Header, 8)}
	if r, err := httpRequest(ctx, e); err != nil {
		http.Error(w, "the request is not understood: "+err.Error(), http.StatusBadRequest)
	} else {
		w.bodiless = r.Method == http.MethodHead
		s.serve(w, r)
	}
	out, err := json.Marshal(w.response())
	if err != nil { // cannot be: texts and numbers
		panic(err)
	}
	return out
}

// serve calls the handler and keeps its panic inside, as net/http does: the
// program goes on, and the caller learns nothing of it.
func (s *Server) serve(w *answerWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				s.Log.Error("a handler panicked; please report it", "method", r.Method, "panic", v, "stack", string(debug.Stack()))
			}
			*w = answerWriter{header: http.Header{}}
			http.Error(w, "the server made a mistake", http.StatusInternalServerError)
		}
	}()
	s.HTTP.ServeHTTP(w, r)
}

// httpRequest is the request that the event tells of, as net/http's server would
// have it.
//
// RemoteAddr is requestContext.http.sourceIp in the platform's own spelling,
// with port 0; no header has a say in it. It is "" if that is no address.
// Host is the domain name that the platform tells, else the header's. The
// body is decoded while it is read, so a handler that bounds its reading bounds
// what a body costs.
func httpRequest(ctx context.Context, e *event) (*http.Request, error) {
	about := e.RequestContext.HTTP
	method := about.Method
	if !isToken(method) {
		return nil, errors.New("the method is no token")
	}
	path := e.RawPath
	if path == "" {
		path = "/"
	}
	if path[0] != '/' {
		return nil, errors.New("the path does not begin with a slash")
	}
	target := path
	if e.RawQueryString != "" {
		target += "?" + e.RawQueryString
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, errors.New("the path is not a URL's")
	}
	r := &http.Request{
		Method: method, URL: u, RequestURI: target,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:     make(http.Header, len(e.Headers)+1),
		RemoteAddr: remoteAddr(about.SourceIP),
	}
	r.Host = e.RequestContext.DomainName // the platform's own word
	if major, minor, ok := http.ParseHTTPVersion(about.Protocol); ok {
		r.Proto, r.ProtoMajor, r.ProtoMinor = about.Protocol, major, minor
	}
	for name, value := range e.Headers {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Host":
			r.Host = cmp.Or(r.Host, value)
		case "Transfer-Encoding", "Connection": // of the connection to the platform
		default:
			r.Header[name] = append(r.Header[name], value)
		}
	}
	if len(e.Cookies) > 0 {
		r.Header["Cookie"] = []string{strings.Join(e.Cookies, "; ")}
	}
	r.Body, r.ContentLength = body(e.Body, e.IsBase64Encoded)
	return r.WithContext(ctx), nil
}

// body is a request's body and its length. One that is not the base64 that it
// should be breaks off where it is read.
func body(text string, encoded bool) (io.ReadCloser, int64) {
	switch {
	case text == "":
		return http.NoBody, 0
	case !encoded:
		return io.NopCloser(strings.NewReader(text)), int64(len(text))
	}
	length := base64.RawStdEncoding.DecodedLen(len(strings.TrimRight(text, "=")))
	return io.NopCloser(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text))), int64(length)
}

// remoteAddr is an address as [http.Request.RemoteAddr] has it, or "" for what
// is none. IPv6 is taken in any spelling, which is kept: the seed's hash may
// have been made over it.
func remoteAddr(text string) string {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	if _, err := netip.ParseAddr(text); err != nil {
		return ""
	}
	return net.JoinHostPort(text, "0")
}

// isToken tells whether a method is one (RFC 9110 section 5.6.2).
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r >= utf8.RuneSelf || !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// answerWriter keeps an answer until it is whole.
type answerWriter struct {
	header   http.Header
	status   int // 0: not begun
	body     []byte
	bodiless bool // the method is HEAD
	over     bool // the body is longer than maxAnswer
}

var errAnswer = fmt.Errorf("the answer is longer than %d octets", maxAnswer)

func (w *answerWriter) Header() http.Header { return w.header }

func (w *answerWriter) WriteHeader(status int) {
	if status < 100 || status > 999 { // as net/http has it
		panic("lambdaserver: status " + strconv.Itoa(status))
	}
	if w.status == 0 && status >= 200 { // informational ones have no way out
		w.status = status
	}
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	switch {
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case w.bodiless:
		return len(p), nil
	case w.over || len(w.body)+len(p) > maxAnswer:
		w.over = true
		return 0, errAnswer
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

// response is what was written, in the platform's form. Headers of the
// connection stay out, and so does the length: the platform has both of its own.
func (w *answerWriter) response() response {
	if w.over { // half an answer would be taken for a whole one
		*w = answerWriter{header: http.Header{}}
		http.Error(w, "the answer is too long", http.StatusInternalServerError)
	}
	out := response{StatusCode: w.status, Headers: make(map[string]string, len(w.header))}
	if out.StatusCode == 0 {
		out.StatusCode = http.StatusOK
	}
	for name, values := range w.header {
		switch name {
		case "Set-Cookie":
			out.Cookies = values
		case "Connection", "Transfer-Encoding", "Content-Length":
		default:
			if len(values) > 0 {
				out.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
			}
		}
	}
	if utf8.Valid(w.body) {
		out.Body = string(w.body)
	} else {
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(w.body), true
	}
	return out
}
