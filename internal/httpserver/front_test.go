package httpserver_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

// post is a request at the seed's door. One with fields of its own is not an
// everyday one.
func post(body string, fields ...string) string {
	return "POST / HTTP/1.1\r\nHost: ddns.example.com:8053\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\ncontent-type: application/json\r\n" +
		strings.Join(fields, "") + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

func dialTCP(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, bufio.NewReader(c)
}

// exchange sends text and reads n answers.
func exchange(t *testing.T, c net.Conn, r *bufio.Reader, text string, n int) (answers []string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	for range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("after %q: %v", answers, err)
		}
		rules(t, resp)
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Header.Del("Date")
		var fields []string
		for name, values := range resp.Header {
			fields = append(fields, fmt.Sprint(name, values))
		}
		slices.Sort(fields)
		answers = append(answers, fmt.Sprint(resp.Status, fields, string(body)))
	}
	return answers
}

// loopback is host1, with a proof for an update from 127.0.0.1.
func (r *rig) loopback() (good string) {
	r.add(host1, secret, anyAddress())
	return setBody(host1, ddns.SeedHash("127.0.0.1", host1, ddns.NewSecret(secret)))
}

// Whether net/http reads a request or not, the answer is the same.
func TestEverydayAnswers(t *testing.T) {
	r := newRig(t)
	good := r.loopback()
	addr := r.serve(httpserver.Listener{})
	c, read := dialTCP(t, addr)
	for _, body := range []string{
		good, `{"execution_mode":"get"}`, setBody(host1, strings.Repeat("0", 64)), setBody("no..name", strings.Repeat("0", 64)),
		setBody(host1, "0"), `{}`, `{"execution_mode":"put"}`, `{`, "", strings.Repeat(" ", 1500) + `{"execution_mode":"get"}`,
	} {
		// The same update once more is unchanged, so the change is made first.
		exchange(t, c, read, post(body), 1)
		other, otherRead := dialTCP(t, addr)
		got := exchange(t, c, read, post(body), 1)[0]
		want := exchange(t, other, otherRead, post(body, "X-Any: 1\r\n"), 1)[0]
		if got != want {
			t.Errorf("%.80s\ngot  %s\nwant %s", body, got, want)
		}
	}
	if got := r.show(host1).A; len(got) != 1 || got[0].String() != "127.0.0.1" {
		t.Errorf("the host is at %v", got)
	}
}

// wire is a request as it goes over a connection, with a field more if that is
// not "".
func wire(t *testing.T, r *http.Request, field string) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: godwit\r\nConnection: keep-alive\r\nContent-Length: %d\r\n%s", r.Method, r.RequestURI, r.Host, len(body), field)
	if err := r.Header.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\r\n" + string(body)
}

// Whether net/http reads a signed request or not, the answer is the same.
func TestEverydaySigned(t *testing.T) {
	r := newRig(t, func(_ *ddns.Config, c *httpserver.Config) { c.Authority = server })
	d := r.join(host1, anyAddress())
	token, err := r.service.AddToken(t.Context(), dnsname.MustParse(host1), ddns.TokenSpec{})
	if err != nil {
		t.Fatal(err)
	}
	r.now.Move(time.Minute)
	put := func(body string, edit func(*http.Request)) *http.Request {
		req := d.signed("PUT", d.path()+"/addresses", home, body, 0)
		if edit != nil {
			edit(req)
		}
		return req
	}
	named := `{"a":["127.0.0.1"]}`
	addr := r.serve(httpserver.Listener{})
	c, read := dialTCP(t, addr)
	if got := exchange(t, c, read, wire(t, put(`{}`, nil), ""), 1)[0]; !strings.HasPrefix(got, "200") || !strings.Contains(got, `"outcome":"changed"`) {
		t.Fatal(got)
	}
	r.now.Move(time.Minute)
	for name, req := range map[string]*http.Request{
		"unchanged":     put(named, nil),
		"not there":     put(`{"a":["192.0.2.1"]}`, nil),
		"no JSON":       put(`{`, nil),
		"other body":    put(named, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(named + " ")) }),
		"other name":    put(named, func(r *http.Request) { r.Host = "other.example.com" }),
		"no name":       put(named, func(r *http.Request) { r.RequestURI = "/v1/hosts/-a-..b/addresses" }),
		"stranger":      put(named, func(r *http.Request) { r.RequestURI = "/v1/hosts/no." + zone + "/addresses" }),
		"not signed":    put(named, func(r *http.Request) { clear(r.Header) }),
		"no digest":     put(named, func(r *http.Request) { r.Header.Del("Content-Digest") }),
		"old":           d.signed("PUT", d.path()+"/addresses", home, named, -time.Hour),
		"replayed":      d.signed("PUT", d.path()+"/addresses", home, named, -time.Minute),
		"token":         put(named, func(r *http.Request) { clear(r.Header); r.Header.Set("Authorization", "Bearer "+token.Token.Reveal()) }),
		"no such token": put(named, func(r *http.Request) { clear(r.Header); r.Header.Set("Authorization", "Bearer x") }),
	} {
		other, otherRead := dialTCP(t, addr)
		got := exchange(t, c, read, wire(t, req, ""), 1)[0]
		want := exchange(t, other, otherRead, wire(t, req, "X-Any: 1\r\n"), 1)[0]
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", name, got, want)
		}
		if ok := strings.HasPrefix(got, "200"); ok != (name == "unchanged" || name == "other name" || name == "token") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Whether net/http reads a router's request or not, the answer is the same.
func TestEverydayDyndns2(t *testing.T) {
	r := newRig(t)
	token := r.add(host1, "", anyAddress()).Token.Reveal()
	addr := r.serve(httpserver.Listener{})
	c, read := dialTCP(t, addr)
	get := func(query, user, password, more string) string {
		text := "GET /nic/update?" + query + " HTTP/1.1\r\nHost: ddns.example.com\r\n" + more
		if user != "" {
			text += "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + "\r\n"
		}
		return text + "\r\n"
	}
	for _, q := range []struct{ query, user, password, agent, want string }{
		{"hostname=" + host1, host1, token, "", "200"},
		{"hostname=" + host1 + "&myip=127.0.0.1", token[:8], token, "curl/8.0", "200"},
		{"hostname=" + host1 + "," + host1 + "&myip=", host1, token, "", "200"},
		{"myip=127.0.0.1", host1, token, "", "200"},
		{"hostname=" + host1 + "&myip=192.0.2.1", host1, token, "curl/8.0", "422"},
		{"hostname=" + host1 + "&myip=192.0.2.1", host1, token, "inadyn/2.10", "503"},
		{"hostname=" + host1 + "&myip=x%zz", host1, token, "", "200"},
		{"hostname=no." + zone, host1, token, "", "200"},
		{"hostname=" + host1, host1, "wrong", "", "401"},
		{"hostname=no." + zone, "no." + zone, "wrong", "", "401"},
		{"hostname=" + host1, "", "", "", "401"},
		{"", host1, token, "", "200"},
		{strings.Repeat("h=a&", 300) + "#", host1, token, "", "200"},
	} {
		agent := ""
		if q.agent != "" {
			agent = "User-Agent: " + q.agent + "\r\n"
		}
		// The same update once more is unchanged, so the change is made first.
		exchange(t, c, read, get(q.query, q.user, q.password, agent), 1)
		other, otherRead := dialTCP(t, addr)
		got := exchange(t, c, read, get(q.query, q.user, q.password, agent), 1)[0]
		want := exchange(t, other, otherRead, get(q.query, q.user, q.password, agent+"X-Any: 1\r\n"), 1)[0]
		if got != want || !strings.HasPrefix(got, q.want) {
			t.Errorf("%.80s as %s, %s\ngot  %s\nwant %s: %s", q.query, q.user, q.agent, got, q.want, want)
		}
	}
	if got := r.show(host1).A; len(got) != 1 || got[0].String() != "127.0.0.1" {
		t.Errorf("the host is at %v", got)
	}
}

// A limit's answer says when to come back.
func TestEverydayRetry(t *testing.T) {
	r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Limits.Requests = ddns.Rate{PerHour: 60, Burst: 1} })
	c, read := dialTCP(t, r.serve(httpserver.Listener{}))
	answers := exchange(t, c, read, post(`{"execution_mode":"get"}`), 1)
	answers = append(answers, exchange(t, c, read, post(`{"execution_mode":"get"}`), 1)...)
	if !strings.HasPrefix(answers[0], "200") || !strings.HasPrefix(answers[1], "429") || !strings.Contains(answers[1], "Retry-After[60]") {
		t.Errorf("got %q", answers)
	}
}

// A connection goes on whatever arrives on it, and in whatever pieces.
func TestEverydayAndOthers(t *testing.T) {
	addr := newRig(t).serve(httpserver.Listener{})
	get := post(`{"execution_mode":"get"}`)
	c, read := dialTCP(t, addr)
	var got []string
	got = append(got, exchange(t, c, read, get, 1)...)
	got = append(got, exchange(t, c, read, get, 1)...)
	if _, err := io.WriteString(c, get[:40]); err != nil {
		t.Fatal(err)
	}
	got = append(got, exchange(t, c, read, get[40:], 1)...)
	got = append(got, exchange(t, c, read, get+get+get, 3)...)
	for i := range got {
		if !strings.HasPrefix(got[i], "200") || got[i] != got[0] {
			t.Errorf("answer %d: %q", i, got[i])
		}
	}
	c, read = dialTCP(t, addr)
	got = exchange(t, c, read, get+get+"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"+get, 4)
	if got[0] != got[1] || got[0] != got[3] || !strings.HasPrefix(got[2], "200") {
		t.Errorf("got %q", got)
	}
}

// A connection that has had its answer may not be silent for long.
func TestEverydayTimes(t *testing.T) {
	r := newRig(t, func(_ *ddns.Config, c *httpserver.Config) {
		c.Limits.Idle = 100 * time.Millisecond
	})
	c, read := dialTCP(t, r.serve(httpserver.Listener{}))
	exchange(t, c, read, post(`{"execution_mode":"get"}`), 1)
	if rest, err := io.ReadAll(read); err != nil || len(rest) > 0 {
		t.Errorf("after the answer: %q, %v", rest, err)
	}
}

// slowStore lets a save wait.
type slowStore struct {
	ddns.Store
	begun, goOn chan struct{}
}

func (s *slowStore) Save(ctx context.Context, w ...ddns.Write) error {
	if w[0].Before != nil {
		close(s.begun)
		<-s.goOn
	}
	return s.Store.Save(ctx, w...)
}

// An update that has begun when the server is to stop is answered; a connection
// that waits for a request is let go.
func TestEverydayStop(t *testing.T) {
	slow := &slowStore{begun: make(chan struct{}), goOn: make(chan struct{})}
	r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { slow.Store, c.Store = c.Store, slow })
	good := r.loopback()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.server.Serve(ctx, httpserver.Listener{Listener: l}) }()
	idle, idleRead := dialTCP(t, l.Addr().String())
	exchange(t, idle, idleRead, post(`{"execution_mode":"get"}`), 1)
	answer := make(chan string)
	go func() { answer <- raw(t, l.Addr().String(), post(good)) }()
	<-slow.begun
	cancel()
	if _, err := idleRead.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
	close(slow.goOn)
	if got := <-answer; !strings.HasPrefix(got, "HTTP/1.1 201 Created\r\n") || !strings.Contains(got, "\r\nConnection: close\r\n") {
		t.Errorf("got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// stuckStore reads nothing, for as long as it may.
type stuckStore struct{ ddns.Store }

func (stuckStore) Host(ctx context.Context, _ dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	<-ctx.Done()
	return nil, nil, ctx.Err()
}

// A store that stands still does not keep connections for ever whose clients may
// have gone: they would be missing to everything else.
func TestEverydayStuck(t *testing.T) {
	r := newRig(t, func(c *ddns.Config, f *httpserver.Config) {
		c.Store = stuckStore{c.Store}
		f.Limits.Write = 100 * time.Millisecond
	})
	c, read := dialTCP(t, r.serve(httpserver.Listener{}))
	if got := exchange(t, c, read, post(setBody(host1, strings.Repeat("0", 64))), 1)[0]; !strings.HasPrefix(got, "503") {
		t.Errorf("got %q", got)
	}
}

// A door's panic ends its connection and nothing else.
func TestEverydayPanic(t *testing.T) {
	r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Store = panicStore{c.Store} })
	addr := r.serve(httpserver.Listener{})
	if got := raw(t, addr, post(setBody(host1, strings.Repeat("0", 64)))); got != "" {
		t.Errorf("got %q", got)
	}
	c, read := dialTCP(t, addr)
	exchange(t, c, read, post(`{"execution_mode":"get"}`), 1)
	if !strings.Contains(r.log.String(), "a door panicked") {
		t.Error("it is not in the log")
	}
}
