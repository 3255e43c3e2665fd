package awscall_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"

	"godwit/internal/awscall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type keys struct{ aws.Credentials }

func (k keys) Retrieve(context.Context) (aws.Credentials, error) { return k.Credentials, nil }

var dummy = keys{aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}}

// service is an HTTP server whose n-th request (from 1) is handled by answer,
// and a client of it.
type service struct {
	*awscall.Client
	calls  atomic.Int64
	server *httptest.Server
}

func serve(t *testing.T, answer func(n int64, w http.ResponseWriter, r *http.Request), edit ...func(*awscall.Config)) *service {
	t.Helper()
	s := &service{}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(s.calls.Add(1), w, r) }))
	t.Cleanup(s.server.Close)
	transport := awscall.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	c := awscall.Config{Service: "dynamodb", Region: "eu-west-1", Endpoint: s.server.URL, Credentials: dummy, Transport: transport, Backoff: time.Microsecond}
	for _, e := range edit {
		e(&c)
	}
	var err error
	if s.Client, err = awscall.New(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func request(repeat bool) awscall.Request {
	return awscall.Request{Method: "POST", Path: "/", Body: []byte(`{"TableName":"hosts"}`), Repeat: repeat,
		Header: http.Header{"X-Amz-Target": {"DynamoDB_20120810.GetItem"}, "Content-Type": {"application/x-amz-json-1.0"}}}
}

func say(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// inChunks answers without saying how long the answer will be.
func inChunks(w http.ResponseWriter, n int) {
	w.(http.Flusher).Flush()
	_, _ = io.WriteString(w, strings.Repeat("x", n))
}

// cut ends the connection in the middle of an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":")
	_ = conn.Close()
}

func TestGranted(t *testing.T) {
	s := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		for name, want := range map[string]string{
			"X-Amz-Target": "DynamoDB_20120810.GetItem", "X-Amz-Security-Token": "session", "User-Agent": "godwit", "Accept-Encoding": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		auth := r.Header.Get("Authorization")
		if !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") || !strings.Contains(auth, "/eu-west-1/dynamodb/aws4_request") || !strings.Contains(auth, "x-amz-target") {
			t.Errorf("authorization %s", auth)
		}
		if r.URL.Path != "/" || string(text) != `{"TableName":"hosts"}` || r.ContentLength != int64(len(text)) {
			t.Errorf("%s, %s", r.URL, text)
		}
		w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE([]byte("{}"))))
		say(w, 200, "{}")
	})
	resp, err := s.Do(t.Context(), request(false))
	if err != nil || resp.Status != 200 || string(resp.Body) != "{}" || resp.Repeated {
		t.Errorf("%+v, %v", resp, err)
	}
}

// TestPathAndQuery go out as they are.
func TestPathAndQuery(t *testing.T) {
	var got string
	s := serve(t, func(_ int64, _ http.ResponseWriter, r *http.Request) { got = r.RequestURI })
	const path = `/2013-04-01/hostedzone/Z%2F1/rrset?maxitems=1&name=%5C052.dyn.example.org`
	if _, err := s.Do(t.Context(), awscall.Request{Method: "GET", Path: path, Repeat: true}); err != nil || got != path {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := s.Do(t.Context(), awscall.Request{Method: "GET", Path: "/%zz"}); err == nil || awscall.Unknown(err) {
		t.Errorf("a path that is none: %v", err)
	}
}

// TestOutcomes: what is repeated, and what is said of the outcome.
func TestOutcomes(t *testing.T) {
	const refusal = `{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"The conditional request failed"}`
	const throttle = `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}`
	for name, c := range map[string]struct {
		answers   []any // status and text, or a function; the last one goes on
		repeat    bool
		calls     int64
		code      string // "" and no error: granted
		failed    bool
		unknown   bool
		throttled bool
		repeated  bool
	}{
		"refused":                              {answers: []any{400, refusal}, repeat: true, calls: 1, failed: true, code: "ConditionalCheckFailedException"},
		"throttled, then granted":              {answers: []any{400, throttle, 200, "{}"}, calls: 2},
		"throttled for ever":                   {answers: []any{400, throttle}, calls: 3, failed: true, code: "ProvisionedThroughputExceededException", throttled: true},
		"throttled by Route 53":                {answers: []any{400, `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`}, calls: 3, failed: true, code: "Throttling", throttled: true},
		"another change is being processed":    {answers: []any{400, `<ErrorResponse><Error><Code>PriorRequestNotComplete</Code></Error></ErrorResponse>`, 200, ""}, calls: 2},
		"429 without a word":                   {answers: []any{429, ""}, calls: 3, failed: true, throttled: true},
		"503 that is a throttle":               {answers: []any{503, `{"__type":"ThrottlingException"}`}, calls: 3, failed: true, code: "ThrottlingException", throttled: true},
		"500 on a change":                      {answers: []any{500, `{"__type":"InternalServerError"}`}, calls: 1, failed: true, unknown: true, code: "InternalServerError"},
		"500 on what may be repeated":          {answers: []any{500, "", 503, "busy", 200, "{}"}, repeat: true, calls: 3, repeated: true},
		"500 for ever":                         {answers: []any{500, ""}, repeat: true, calls: 3, failed: true, unknown: true},
		"cut on a change":                      {answers: []any{cut}, calls: 1, failed: true, unknown: true},
		"cut, then granted":                    {answers: []any{cut, 200, "{}"}, repeat: true, calls: 2, repeated: true},
		"cut, then refused: it may be our own": {answers: []any{cut, 400, refusal}, repeat: true, calls: 2, failed: true, unknown: true, code: "ConditionalCheckFailedException"},
		"cut, then throttled":                  {answers: []any{cut, 400, throttle}, repeat: true, calls: 3, failed: true, unknown: true, throttled: true, code: "ProvisionedThroughputExceededException"},
		"throttled, then cut on a change":      {answers: []any{400, throttle, cut}, calls: 2, failed: true, unknown: true},
		"a redirect":                           {answers: []any{302, ""}, repeat: true, calls: 1, failed: true},
		"somebody else's page":                 {answers: []any{403, "<html><body>Log in first</body></html>"}, calls: 1, failed: true},
		"denied":                               {answers: []any{400, `{"__type":"AccessDeniedException","Message":"not authorized"}`}, repeat: true, calls: 1, failed: true, code: "AccessDeniedException"},
	} {
		t.Run(name, func(t *testing.T) {
			rest := c.answers
			var mu sync.Mutex // guards rest
			s := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				switch a := rest[0].(type) {
				case int:
					say(w, a, rest[1].(string))
					if len(rest) > 2 {
						rest = rest[2:]
					}
				case func(http.ResponseWriter):
					a(w)
					if len(rest) > 1 {
						rest = rest[1:]
					}
				}
			})
			resp, err := s.Do(t.Context(), request(c.repeat))
			if n := s.calls.Load(); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			if (err != nil) != c.failed || awscall.Unknown(err) != c.unknown || awscall.Throttled(err) != c.throttled || resp.Repeated != c.repeated {
				t.Errorf("%+v, error %v: unknown %t, throttled %t", resp, err, awscall.Unknown(err), awscall.Throttled(err))
			}
			code := ""
			if e, ok := errors.AsType[*awscall.Error](err); ok {
				code = e.Code
			}
			if code != c.code {
				t.Errorf("code %q, want %q", code, c.code)
			}
			if c.unknown && !strings.Contains(err.Error(), "could not confirm") {
				t.Errorf("the message claims more than is known: %v", err)
			}
		})
	}
}

// TestNobodyThere: what never left did nothing.
func TestNobodyThere(t *testing.T) {
	s := serve(t, func(int64, http.ResponseWriter, *http.Request) {})
	s.server.Close()
	_, err := s.Do(t.Context(), request(false))
	if err == nil || awscall.Unknown(err) || awscall.Throttled(err) {
		t.Errorf("%v: unknown %t", err, awscall.Unknown(err))
	}
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		t.Errorf("the cause is not there: %#v", err)
	}
}

// TestSlow: an answer that does not come in time is lost, and the deadline holds.
func TestSlow(t *testing.T) {
	release := make(chan struct{})
	slow := func(n int64, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if n == 1 {
			<-release
		}
		say(w, 200, "{}")
	}
	s := serve(t, slow, func(c *awscall.Config) { c.Timeout = 30 * time.Millisecond })
	t.Cleanup(func() { close(release) }) // before the server closes
	resp, err := s.Do(t.Context(), request(true))
	if err != nil || !resp.Repeated {
		t.Errorf("a second attempt: %+v, %v", resp, err)
	}
	s.calls.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = s.Do(ctx, request(true))
	if !errors.Is(err, context.DeadlineExceeded) || !awscall.Unknown(err) || s.calls.Load() != 1 {
		t.Errorf("past the deadline: %v, %d calls", err, s.calls.Load())
	}
}

// TestNoTimeToWait: a pause that the deadline does not allow is not begun.
func TestNoTimeToWait(t *testing.T) {
	s := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) { say(w, 429, "") }, func(c *awscall.Config) { c.Backoff = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Do(ctx, request(true)); err == nil || s.calls.Load() > 1 {
		t.Errorf("%v after %d calls", err, s.calls.Load())
	}
}

// TestBounds: no answer costs more memory than was agreed, and a damaged one is
// not taken for an answer.
func TestBounds(t *testing.T) {
	small := func(c *awscall.Config) { c.MaxBody = 1000 }
	for name, answer := range map[string]func(http.ResponseWriter){
		"too long, and says so":   func(w http.ResponseWriter) { say(w, 200, strings.Repeat("x", 1001)) },
		"too long, in chunks":     func(w http.ResponseWriter) { inChunks(w, 1001) },
		"another checksum":        func(w http.ResponseWriter) { w.Header().Set("X-Amz-Crc32", "1"); say(w, 200, "{}") },
		"a checksum that is none": func(w http.ResponseWriter) { w.Header().Set("X-Amz-Crc32", "?"); say(w, 200, "{}") },
	} {
		s := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) { answer(w) }, small)
		if _, err := s.Do(t.Context(), request(false)); err == nil || !awscall.Unknown(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) {
		inChunks(w, 1000)
	}, small)
	if resp, err := s.Do(t.Context(), request(false)); err != nil || len(resp.Body) != 1000 {
		t.Errorf("as long as may be: %v", err)
	}
}

// TestClock: a signature that is refused for its time is made again with the
// service's clock, once, and so are all that follow.
func TestClock(t *testing.T) {
	theirs := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		ours  time.Time
		text  string
		calls int64
		fails bool
	}{
		"an hour ahead":       {theirs.Add(time.Hour), `{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature not yet current"}`, 2, false},
		"years behind":        {theirs.AddDate(-3, 0, 0), `<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired</Message></Error></ErrorResponse>`, 2, false},
		"RequestExpired":      {theirs.Add(-time.Minute), `{"__type":"RequestExpired"}`, 2, false},
		"the key is wrong":    {theirs.Add(time.Minute), `{"__type":"InvalidSignatureException","message":"does not match"}`, 1, true},
		"something else":      {theirs.Add(time.Hour), `{"__type":"AccessDeniedException"}`, 1, true},
		"it does not help":    {theirs.Add(time.Hour), `{"__type":"RequestExpired"}`, 2, true},
		"the service is lost": {theirs.Add(time.Hour), `{"__type":"RequestInTheFuture"}`, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
				at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
				if err != nil {
					t.Error(err)
				}
				if at.Sub(theirs).Abs() < 5*time.Second && name != "it does not help" {
					say(w, 200, "{}")
					return
				}
				w.Header().Set("Date", theirs.Format(http.TimeFormat))
				if name == "the service is lost" {
					w.Header().Set("Date", "soon")
				}
				say(w, 400, c.text)
			}, func(cfg *awscall.Config) { cfg.Now = func() time.Time { return c.ours } })
			_, err := s.Do(t.Context(), request(false))
			if (err != nil) != c.fails || s.calls.Load() != c.calls {
				t.Errorf("%v after %d calls", err, s.calls.Load())
			}
			if !c.fails {
				if _, err := s.Do(t.Context(), request(false)); err != nil || s.calls.Load() != c.calls+1 {
					t.Errorf("afterwards: %v, %d calls", err, s.calls.Load())
				}
			}
		})
	}
}

// TestConnections are kept, and one that the service closed meanwhile is no loss.
func TestConnections(t *testing.T) {
	conns := make(map[string]bool)
	s := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		conns[r.RemoteAddr] = true
		say(w, 200, strings.Repeat("x", 100_000))
	})
	for range 20 {
		if _, err := s.Do(t.Context(), request(false)); err != nil {
			t.Fatal(err)
		}
	}
	if len(conns) != 1 {
		t.Errorf("%d connections for 20 calls, one after the other", len(conns))
	}
	s.server.CloseClientConnections()
	if _, err := s.Do(t.Context(), request(true)); err != nil {
		t.Error(err)
	}
}

type noKeys struct{}

func (noKeys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, errors.New("no credentials in the environment")
}

func TestCredentials(t *testing.T) {
	s := serve(t, func(int64, http.ResponseWriter, *http.Request) {}, func(c *awscall.Config) { c.Credentials = noKeys{} })
	if _, err := s.Do(t.Context(), request(true)); err == nil || awscall.Unknown(err) || !strings.Contains(err.Error(), "no credentials") || s.calls.Load() != 0 {
		t.Errorf("%v after %d calls", err, s.calls.Load())
	}
}

func TestConfig(t *testing.T) {
	good := awscall.Config{Service: "dynamodb", Region: "eu-west-1", Endpoint: "https://dynamodb.eu-west-1.amazonaws.com/", Credentials: dummy}
	if _, err := awscall.New(good); err != nil {
		t.Error(err)
	}
	for _, endpoint := range []string{"", "dynamodb.eu-west-1.amazonaws.com", "http://", "https://host/path", "https://host?x=1", "https://u:p@host", "ftp://host", "http://h\x00"} {
		c := good
		c.Endpoint = endpoint
		if _, err := awscall.New(c); err == nil {
			t.Errorf("endpoint %q is taken", endpoint)
		}
	}
	for _, c := range []awscall.Config{{Endpoint: good.Endpoint, Region: "r", Credentials: dummy}, {Endpoint: good.Endpoint, Service: "s", Credentials: dummy}, {Endpoint: good.Endpoint, Service: "s", Region: "r"}} {
		if _, err := awscall.New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// TestHeaderStays as the caller made it: it is shared by all its requests.
func TestHeaderStays(t *testing.T) {
	s := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) { say(w, 200, "") })
	r := request(true)
	if _, err := s.Do(t.Context(), r); err != nil || len(r.Header) != 2 {
		t.Errorf("%v, %v", r.Header, err)
	}
}

// transport answers at once, without a network.
type transport struct{ body []byte }

func (tr transport) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: int64(len(tr.body)), Body: io.NopCloser(bytes.NewReader(tr.body))}, nil
}

// BenchmarkDo is what a call costs besides the network: signing, mostly.
func BenchmarkDo(b *testing.B) {
	c, err := awscall.New(awscall.Config{Service: "dynamodb", Region: "eu-west-1", Endpoint: "http://127.0.0.1", Credentials: dummy, Transport: transport{[]byte("{}")}, Timeout: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Do(b.Context(), request(true)); err != nil {
			b.Fatal(err)
		}
	}
}
