package dynamodb_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"godwit/internal/awscall"
)

// fault is what becomes of one request.
type fault int

const (
	none     fault = iota
	throttle       // refused for want of room
	fail           // 500 before anything was done
	failLate       // 500 after it was done
	cutEarly       // the connection ends before anything was done
	cutLate        // the connection ends after it was done
	conflict       // a transaction is said to be at work on the item
)

// proxy stands between a store and the database: it counts calls, makes some go
// wrong, and lets through one at a time. DynamoDB writes and reads an item as a
// whole; the emulator does so only for one request at a time.
type proxy struct {
	*httptest.Server
	one sync.Mutex // held while the database is at work

	mu     sync.Mutex // guards following
	calls  []string   // actions, in the order in which they came
	asked  []string   // what IAM is asked for them: see permissions
	decide func(n int, action string) fault
}

// proxied is a client of the database behind a proxy.
func (d *database) proxied(edit ...func(*awscall.Config)) (*proxy, *awscall.Client) {
	d.t.Helper()
	p := &proxy{}
	transport := awscall.NewTransport()
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, d.url, transport) }))
	d.t.Cleanup(func() {
		p.Close()
		transport.CloseIdleConnections()
	})
	return p, d.newClient(p.URL, edit...)
}

func (p *proxy) serve(w http.ResponseWriter, r *http.Request, url string, to http.RoundTripper) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	p.mu.Lock()
	p.calls = append(p.calls, action)
	p.asked = append(p.asked, permissions(action, body)...)
	f := none
	if p.decide != nil {
		f = p.decide(len(p.calls), action)
	}
	p.mu.Unlock()
	answer := func(status int, code string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#`+code+`","message":"as the test wants it"}`)
	}
	switch f {
	case throttle:
		answer(400, "ProvisionedThroughputExceededException")
		return
	case conflict:
		answer(400, "TransactionConflictException")
		return
	case fail:
		answer(500, "InternalServerError")
		return
	case cutEarly:
		panic(http.ErrAbortHandler)
	}
	resp, text, err := p.forward(r, url, body, to)
	switch {
	case err != nil:
		answer(502, "ProxyError")
		return
	case f == failLate:
		answer(500, "InternalServerError")
		return
	case f == cutLate:
		panic(http.ErrAbortHandler)
	}
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(text)
}

// forward hands a request on. What the client gives up may be done all the same.
func (p *proxy) forward(r *http.Request, url string, body []byte, to http.RoundTripper) (*http.Response, []byte, error) {
	p.one.Lock()
	defer p.one.Unlock()
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, url+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header = r.Header.Clone()
	resp, err := to.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp, text, err
}

// watch forgets what was called and lets faults be decided.
func (p *proxy) watch(decide func(n int, action string) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.asked, p.decide = nil, nil, decide
}

// called are the actions since the last watch.
func (p *proxy) called() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.calls, " ")
}

func wantCalls(t *testing.T, p *proxy, what, want string) {
	t.Helper()
	if got := p.called(); got != want {
		t.Errorf("%s: calls %s; want %s", what, got, want)
	}
}

// answering is a server that is no DynamoDB.
func answering(t *testing.T, answer func(body string) string) (url string) {
	t.Helper()
	var one sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, answer(string(body)))
	}))
	t.Cleanup(s.Close)
	return s.URL
}
