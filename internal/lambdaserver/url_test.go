package lambdaserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/awstest"
	"godwit/internal/lambdaserver"
)

// seen is a request as a handler sees it.
type seen struct {
	Method, URI, Path, RawPath, Query, Host, Remote, Proto, Body, BodyErr string
	Length                                                                int64
	Header                                                                http.Header
}

// watch is a handler that keeps what it sees.
func watch(into *seen) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		*into = seen{Method: r.Method, URI: r.RequestURI, Path: r.URL.Path, RawPath: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Remote: r.RemoteAddr,
			Proto: r.Proto, Body: string(body), Length: r.ContentLength, Header: r.Header}
		if err != nil {
			into.BodyErr = err.Error()
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func newServer(t testing.TB, c lambdaserver.Config) *lambdaserver.Server {
	t.Helper()
	s, err := lambdaserver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends an event of the URL and reads the answer.
func ask(t testing.TB, s *lambdaserver.Server, event []byte) awstest.URLAnswer {
	t.Helper()
	out, err := s.Invoke(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	a, err := awstest.ParseURLAnswer(out)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRequest(t *testing.T) {
	for _, c := range []struct {
		name string
		in   awstest.URLRequest
		want seen // Header apart
	}{
		{"post", awstest.URLRequest{Source: "192.0.2.1", Body: `{"a":1}`},
			seen{Method: "POST", URI: "/", Path: "/", RawPath: "/", Remote: "192.0.2.1:0", Body: `{"a":1}`, Length: 7}},
		{"no body", awstest.URLRequest{Method: "GET", Path: "/ip", Source: "192.0.2.1"},
			seen{Method: "GET", URI: "/ip", Path: "/ip", RawPath: "/ip", Remote: "192.0.2.1:0"}},
		{"base64", awstest.URLRequest{Source: "192.0.2.1", Body: "\xff\x00ab", Encoded: true},
			seen{Method: "POST", URI: "/", Path: "/", RawPath: "/", Remote: "192.0.2.1:0", Body: "\xff\x00ab", Length: 4}},
		{"query", awstest.URLRequest{Method: "GET", Path: "/nic/update", Query: "hostname=a,b&myip=%3A%3A1", Source: "192.0.2.1"},
			seen{Method: "GET", URI: "/nic/update?hostname=a,b&myip=%3A%3A1", Path: "/nic/update", RawPath: "/nic/update", Query: "hostname=a,b&myip=%3A%3A1", Remote: "192.0.2.1:0"}},
		{"escaped path", awstest.URLRequest{Method: "PUT", Path: "//v1/hosts/a%2Fb", Source: "192.0.2.1"},
			seen{Method: "PUT", URI: "//v1/hosts/a%2Fb", Path: "//v1/hosts/a/b", RawPath: "//v1/hosts/a%2Fb", Remote: "192.0.2.1:0"}},
		{"IPv6", awstest.URLRequest{Source: "2001:db8::1"}, seen{Method: "POST", URI: "/", Path: "/", RawPath: "/", Remote: "[2001:db8::1]:0"}},
		{"IPv6 in another spelling", awstest.URLRequest{Source: "2001:0DB8:0:0:0:0:0:1"},
			seen{Method: "POST", URI: "/", Path: "/", RawPath: "/", Remote: "[2001:0DB8:0:0:0:0:0:1]:0"}},
		{"mapped", awstest.URLRequest{Source: "::ffff:192.0.2.1"}, seen{Method: "POST", URI: "/", Path: "/", RawPath: "/", Remote: "[::ffff:192.0.2.1]:0"}},
		{"IPv6 in brackets", awstest.URLRequest{Source: "[2001:db8::1]"}, seen{Method: "POST", URI: "/", Path: "/", RawPath: "/", Remote: "[2001:db8::1]:0"}},
		{"no address", awstest.URLRequest{Source: "unknown"}, seen{Method: "POST", URI: "/", Path: "/", RawPath: "/"}},
		{"IPv4 with a leading zero", awstest.URLRequest{Source: "192.0.2.01"}, seen{Method: "POST", URI: "/", Path: "/", RawPath: "/"}},
		{"an address with a port", awstest.URLRequest{Source: "192.0.2.1:80"}, seen{Method: "POST", URI: "/", Path: "/", RawPath: "/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got seen
			ask(t, newServer(t, lambdaserver.Config{HTTP: watch(&got)}), c.in.Event())
			if !strings.HasSuffix(got.Host, ".on.aws") || got.Header["Host"] != nil || got.Header.Get("X-Forwarded-For") != c.in.Source {
				t.Errorf("host %q, header %v", got.Host, got.Header)
			}
			got.Host, got.Header, c.want.Proto = "", nil, "HTTP/1.1"
			if !equal(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func equal(a, b seen) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// The source is requestContext.http.sourceIp, whatever a client says.
func TestForgedSource(t *testing.T) {
	forged := map[string]string{
		"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9", "sourceIp": "203.0.113.9", "True-Client-IP": "203.0.113.9",
	}
	var got seen
	s := newServer(t, lambdaserver.Config{HTTP: watch(&got)})
	ask(t, s, awstest.URLRequest{Source: "192.0.2.1", Header: forged, Body: `{"requestContext":{"http":{"sourceIp":"203.0.113.9"}}}`, Query: "sourceIp=203.0.113.9"}.Event())
	if got.Remote != "192.0.2.1:0" {
		t.Errorf("the source is %s", got.Remote)
	}
}

func TestHeaders(t *testing.T) {
	var got seen
	s := newServer(t, lambdaserver.Config{HTTP: watch(&got)})
	ask(t, s, awstest.URLRequest{
		Source: "192.0.2.1", Cookies: []string{"a=1", "b=2"},
		Header: map[string]string{"authorization": "Basic eDp5", "accept": "text/plain,text/html", "transfer-encoding": "chunked", "connection": "close", "host": "ddns.example.com"},
	}.Event())
	for name, want := range map[string]string{
		"Authorization": "Basic eDp5", "Accept": "text/plain,text/html", "Cookie": "a=1; b=2", "Transfer-Encoding": "", "Connection": "", "X-Amzn-Trace-Id": "Root=1-00000000-000000000000000000000000",
	} {
		if v := got.Header.Get(name); v != want || len(got.Header[name]) > 1 {
			t.Errorf("%s is %q, want %q", name, got.Header[name], want)
		}
	}
	if !strings.HasSuffix(got.Host, ".lambda-url.us-east-1.on.aws") { // signatures are made for it
		t.Errorf("host %q is not the platform's word", got.Host)
	}
}

// What a URL's event says wrongly is answered, not an error: those make the
// platform say 502.
func TestBadRequests(t *testing.T) {
	var got seen
	s := newServer(t, lambdaserver.Config{HTTP: watch(&got)})
	for name, event := range map[string]string{
		"no method":      `{"requestContext":{"http":{"sourceIp":"192.0.2.1"}}}`,
		"bad method":     `{"requestContext":{"http":{"method":"GET /","sourceIp":"192.0.2.1"}}}`,
		"no slash":       `{"rawPath":"nic/update","requestContext":{"http":{"method":"GET","sourceIp":"192.0.2.1"}}}`,
		"bad escape":     `{"rawPath":"/%zz","requestContext":{"http":{"method":"GET","sourceIp":"192.0.2.1"}}}`,
		"control octets": `{"rawPath":"/","rawQueryString":"a\u0000b","requestContext":{"http":{"method":"GET","sourceIp":"192.0.2.1"}}}`,
	} {
		a := ask(t, s, []byte(event))
		if a.StatusCode != 400 || !strings.HasPrefix(a.Body, "the request is not understood: ") {
			t.Errorf("%s: got %+v", name, a)
		}
	}
	if got.Method != "" {
		t.Errorf("the handler was asked for %s %s", got.Method, got.URI)
	}
	// Broken base64 breaks off where it is read.
	ask(t, s, []byte(`{"isBase64Encoded":true,"body":"YWJj!","requestContext":{"http":{"method":"POST","sourceIp":"192.0.2.1"}}}`))
	if got.BodyErr == "" {
		t.Errorf("the handler read %q", got.Body)
	}
}

// A body costs what the handler reads of it.
func TestLargeBody(t *testing.T) {
	large := strings.Repeat("x", 4<<20)
	for _, encoded := range []bool{false, true} {
		var length int64
		s := newServer(t, lambdaserver.Config{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			length = r.ContentLength
			n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1000))
			if n > 1000 || err == nil {
				t.Errorf("read %d, %v", n, err)
			}
		})})
		ask(t, s, awstest.URLRequest{Source: "192.0.2.1", Body: large, Encoded: encoded}.Event())
		if length != 4<<20 {
			t.Errorf("encoded %t: the length is %d", encoded, length)
		}
	}
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name    string
		method  string
		handler http.HandlerFunc
		want    awstest.URLAnswer // an empty Headers is not compared
		encoded bool
	}{
		{"text", "GET", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "good 192.0.2.1\n") }, awstest.URLAnswer{StatusCode: 200, Body: "good 192.0.2.1\n"}, false},
		{"nothing", "GET", func(http.ResponseWriter, *http.Request) {}, awstest.URLAnswer{StatusCode: 200}, false},
		{"octets", "GET", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{0xff, 0}) }, awstest.URLAnswer{StatusCode: 200, Body: "\xff\x00"}, true},
		{"status first, once", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(401)
			w.WriteHeader(200)
			io.WriteString(w, "badauth")
		}, awstest.URLAnswer{StatusCode: 401, Body: "badauth"}, false},
		{"headers", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-Two"] = []string{"a", "b"}
			w.Header().Set("Connection", "close")
			w.Header().Set("Content-Length", "0")
			w.Header().Set("Content-Type", "text/plain")
			w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		}, awstest.URLAnswer{StatusCode: 200, Headers: map[string]string{"x-two": "a, b", "content-type": "text/plain"}, Cookies: []string{"a=1", "b=2"}}, false},
		{"HEAD", "HEAD", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "not for HEAD") }, awstest.URLAnswer{StatusCode: 200}, false},
		{"204", "OPTIONS", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("a body of 204: %v", err)
			}
		}, awstest.URLAnswer{StatusCode: 204}, false},
		{"panic", "GET", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "half"); panic("secret text") }, awstest.URLAnswer{StatusCode: 500, Body: "the server made a mistake\n"}, false},
		{"abort", "GET", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, awstest.URLAnswer{StatusCode: 500, Body: "the server made a mistake\n"}, false},
		{"impossible status", "GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(7) }, awstest.URLAnswer{StatusCode: 500, Body: "the server made a mistake\n"}, false},
		{"too long", "GET", func(w http.ResponseWriter, _ *http.Request) {
			for range 5 {
				w.Write(make([]byte, 1<<20))
			}
		}, awstest.URLAnswer{StatusCode: 500, Body: "the answer is too long\n"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(t, newServer(t, lambdaserver.Config{HTTP: c.handler}), awstest.URLRequest{Method: c.method, Source: "192.0.2.1"}.Event())
			if a.StatusCode != c.want.StatusCode || a.Body != c.want.Body || a.IsBase64Encoded != c.encoded || !slices.Equal(a.Cookies, c.want.Cookies) {
				t.Errorf("got  %+v\nwant %+v", a, c.want)
			}
			if len(c.want.Headers) > 0 {
				got, _ := json.Marshal(a.Headers)
				want, _ := json.Marshal(c.want.Headers)
				if !bytes.Equal(got, want) {
					t.Errorf("got headers %s, want %s", got, want)
				}
			}
		})
	}
}

// A panic is in the log, and nothing of it in the answer.
func TestPanicIsLogged(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, lambdaserver.Config{
		HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("what happened") }),
		Log:  slog.New(slog.NewJSONHandler(&log, nil)),
	})
	if a := ask(t, s, awstest.URLRequest{Source: "192.0.2.1"}.Event()); strings.Contains(a.Body, "happened") {
		t.Errorf("got %q", a.Body)
	}
	if !strings.Contains(log.String(), "what happened") {
		t.Errorf("the log says %s", log.String())
	}
}

// A request ends after 8 s, or half a second before the invocation does.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took time.Duration
		s := newServer(t, lambdaserver.Config{
			HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				start := time.Now()
				<-r.Context().Done()
				took = time.Since(start)
				w.WriteHeader(503)
			}),
			Tick: func(ctx context.Context) error {
				start := time.Now()
				<-ctx.Done()
				took = time.Since(start)
				return nil
			},
		})
		for _, c := range []struct {
			event      []byte
			left, want time.Duration
		}{
			{awstest.URLRequest{Source: "192.0.2.1"}.Event(), time.Minute, 8 * time.Second},
			{awstest.URLRequest{Source: "192.0.2.1"}.Event(), 3 * time.Second, 2500 * time.Millisecond},
			{awstest.URLRequest{Source: "192.0.2.1"}.Event(), 100 * time.Millisecond, 0},
			{awstest.ScheduleEvent(), time.Minute, 59500 * time.Millisecond},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), c.left)
			if _, err := s.Invoke(ctx, c.event); err != nil || took != c.want {
				t.Errorf("with %s left: took %s, want %s; error %v", c.left, took, c.want, err)
			}
			cancel()
		}
	})
}

func TestNew(t *testing.T) {
	if _, err := lambdaserver.New(lambdaserver.Config{}); err == nil {
		t.Error("a server without a handler")
	}
}
