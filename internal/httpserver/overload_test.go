package httpserver_test

import (
	"context"
	"encoding/base64"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/httpserver"
)

// fullStore is so slow that updates pile up: none is stored before all may go on.
type fullStore struct {
	ddns.Store
	begun, goOn chan struct{}
}

func (s *fullStore) Save(ctx context.Context, w ...ddns.Write) error {
	if w[0].Before != nil {
		select {
		case s.begun <- struct{}{}:
			<-s.goOn
		case <-s.goOn:
		}
	}
	return s.Store.Save(ctx, w...)
}

// TestOverload: when as many updates are at work as the server can do well, each
// door refuses further ones in its own words, and nothing is written of it;
// guesses are answered as ever. Afterwards all is well.
func TestOverload(t *testing.T) {
	full := &fullStore{begun: make(chan struct{}), goOn: make(chan struct{})}
	r := newRig(t, func(c *ddns.Config, h *httpserver.Config) {
		full.Store, c.Store = c.Store, full
		h.HTTPTokens = true
	})
	settings := anyAddress()
	settings.Free = on()
	token := r.add(host1, "", settings).Token.Reveal()
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(host1+":"+password))
	}
	var work sync.WaitGroup
	for range 64 * min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) {
		work.Go(func() {
			if w := r.send("GET", "/nic/update?myip=192.0.2.1", home, "", "Authorization", basic(token)); w.Code != 200 {
				t.Errorf("one that was let in: %d %s", w.Code, w.Body)
			}
		})
		<-full.begun
	}
	before, counted := r.show(host1), 0
	for _, door := range []struct {
		name   string
		send   func() *httptest.ResponseRecorder
		status int
		body   string
	}{
		{"seed", func() *httptest.ResponseRecorder { return r.set(home, host1, token) }, 429, seedJSON("fail", "Too many requests. Try again later.")},
		{"dyndns2", func() *httptest.ResponseRecorder {
			return r.send("GET", "/nic/update?myip=192.0.2.2", home, "", "Authorization", basic(token))
		}, 503, "911 rate-limited\n"},
		{"signed", func() *httptest.ResponseRecorder {
			return r.send("PUT", "/v1/hosts/"+host1+"/addresses", home, "{}", "Authorization", "Bearer "+token)
		}, 429, `"code":"rate-limited"`},
	} {
		w := door.send()
		if w.Code != door.status || !strings.Contains(w.Body.String(), door.body) || w.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %d %v %s", door.name, w.Code, w.Header(), w.Body)
		}
		rules(t, w.Result())
		counted++
	}
	if n := r.service.Counts().Overloaded; n != uint64(counted) {
		t.Errorf("%d refusals are counted, want %d", n, counted)
	}
	if after := r.show(host1); after.Generation != before.Generation || after.Refusals != before.Refusals {
		t.Errorf("refusing changed the host: %+v", after)
	}
	close(full.goOn)
	work.Wait()
	want(t, r.send("GET", "/nic/update?myip=192.0.2.3", home, "", "Authorization", basic(token)), 200, "good 192.0.2.3\n")
}
