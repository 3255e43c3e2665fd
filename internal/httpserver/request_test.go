package httpserver_test

import (
	"strings"
	"sync"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/httpserver"
)

// requestLog keeps what Config.Noted is told.
type requestLog struct {
	mu  sync.Mutex // guards all
	all []httpserver.Request
}

func (l *requestLog) note(r httpserver.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
}

// take returns what came since the last call.
func (l *requestLog) take() []httpserver.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// listen makes a server tell the log.
func (l *requestLog) listen(_ *ddns.Config, c *httpserver.Config) { c.Noted = l.note }

// TestRequestsAreTold sends what each door refuses, before the core and in it, and what it does not.
func TestRequestsAreTold(t *testing.T) {
	var told requestLog
	r := newRig(t, told.listen)
	r.add(host1, secret, ddns.Settings{})
	agent := "router/1.0 \x01ä" + strings.Repeat("x", 200)
	for _, c := range []struct {
		name, method, path, body, auth string
		door, host, code               string
	}{
		{"seed, wrong hash", "POST", "/", setBody(host1, strings.Repeat("0", 64)), "", "seed", host1, "bad-proof"},
		{"seed, no name", "POST", "/", setBody("..", strings.Repeat("0", 64)), "", "seed", "", "bad-proof"},
		{"seed, no JSON", "POST", "/", "{", "", "seed", "", "malformed"},
		{"seed, too long", "POST", "/", strings.Repeat(" ", 5000), "", "seed", "", "too-large"},
		{"signed, no proof", "PUT", "/v1/hosts/" + host1 + "/addresses", "{}", "", "signed", host1, "bad-proof"},
		{"signed, no JSON", "PUT", "/v1/hosts/" + host1 + "/addresses", "{", "", "signed", "", "malformed"},
		{"signed, plain HTTP", "PUT", "/v1/hosts/" + host1 + "/addresses", "{}", "Bearer " + secret, "signed", host1, "bad-proof"},
		{"read", "GET", "/v1/hosts/" + host1, "", "", "signed", host1, "bad-proof"},
		{"key", "POST", "/v1/hosts/" + host1 + "/key", "{}", "", "signed", "", "malformed"},
		{"join", "POST", "/v1/join", "{", "", "join", "", "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			headers := []string{"User-Agent", agent}
			if c.auth != "" {
				headers = append(headers, "Authorization", c.auth)
			}
			r.send(c.method, c.path, home, c.body, headers...)
			all := told.take()
			if len(all) != 1 {
				t.Fatalf("told %d times: %+v", len(all), all)
			}
			got := all[0]
			host := ""
			if !got.Host.IsZero() {
				host = got.Host.String()
			}
			if got.Door != c.door || host != c.host || got.Outcome != c.code || got.Source.String() != home || got.Why == "" || !got.Time.Equal(r.now.Now()) {
				t.Errorf("got %+v", got)
			}
			if !strings.HasPrefix(got.UserAgent, "router/1.0 xx") || len(got.UserAgent) > 100 {
				t.Errorf("the user agent is %q", got.UserAgent)
			}
			if strings.Contains(got.Why+got.Fix, secret) {
				t.Error("a secret is told")
			}
		})
	}
	r.set(home, host1, secret)
	r.set(home, host1, secret)
	all := told.take()
	if len(all) != 2 || all[0].Outcome != "changed" || all[1].Outcome != "unchanged" || all[0].Host.String() != host1 || all[0].Why != "" {
		t.Errorf("told of what was not refused: %+v", all)
	}
}
