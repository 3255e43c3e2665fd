package httpserver_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

// readCounter counts what is read of a store, and what is written.
type readCounter struct {
	ddns.Store
	hosts, credentials, writes atomic.Int64
}

func (c *readCounter) Host(ctx context.Context, n dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	c.hosts.Add(1)
	return c.Store.Host(ctx, n)
}

func (c *readCounter) Credential(ctx context.Context, id string) (*ddns.Credential, error) {
	c.credentials.Add(1)
	return c.Store.Credential(ctx, id)
}

func (c *readCounter) Save(ctx context.Context, w ...ddns.Write) error {
	c.writes.Add(1)
	return c.Store.Save(ctx, w...)
}

func (c *readCounter) Touch(ctx context.Context, n dnsname.Name, generation uint64, t ddns.Touch) error {
	c.writes.Add(1)
	return c.Store.Touch(ctx, n, generation, t)
}

func (c *readCounter) Refused(ctx context.Context, n dnsname.Name, e ddns.Event, count uint64) error {
	c.writes.Add(1)
	return c.Store.Refused(ctx, n, e, count)
}

// guesser is the holder of nothing who guesses at a host with an ID that he knows.
func (r *rig) guesser(id, secret string) *holder {
	return &holder{id: id, text: id + "-" + secret, device: &device{rig: r, host: host1, id: id, key: newKey(secret)}}
}

// TestGuessesAreBounded guesses at every door under the limits that people have.
// What is checked is bounded by the sources and the time alone, nothing is
// written, and the owner gets through from a new address.
func TestGuessesAreBounded(t *testing.T) {
	guesses, during := 10_000, 6*time.Second
	if os.Getenv("GODWIT_LONG") != "" {
		guesses, during = 1_000_000, 10*time.Minute
	}
	const sources = 8
	counter := &readCounter{}
	r := newRig(t, quiet, func(core *ddns.Config, front *httpserver.Config) {
		counter.Store = core.Store
		core.Store, core.Limits = counter, ddns.DefaultLimits()
		front.HTTPTokens = true
	})
	made := r.add(host1, "", anyAddress())
	if w := r.set("203.0.113.1", host1, made.Token.Reveal()); w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	ways := matrixWays()
	reads, writes, owner := counter.hosts.Load(), counter.writes.Load(), int64(0)
	for i := range guesses {
		if i%sources == 0 {
			r.now.Move(during * sources / time.Duration(guesses))
		}
		h := r.guesser(made.Credential.ID, fmt.Sprintf("%026d", i))
		way := ways[i%len(ways)]
		req := way.make(h, host1, asked{"set", "A", fmt.Sprintf("198.51.100.%d", 1+i%sources)})
		if req == nil { // it is for challenge values
			req = way.make(h, host1, asked{"set", "TXT", "x"})
		}
		req.RemoteAddr = fmt.Sprintf("198.51.100.%d:4000", 1+i%sources)
		w := httptest.NewRecorder()
		if r.server.Public().ServeHTTP(w, req); !refusesStranger(w) {
			t.Fatalf("%s: %d %s", way.what, w.Code, w.Body)
		}
		if i%1000 == 0 {
			owner++
			if w := r.set("203.0.113.1", host1, made.Token.Reveal()); w.Code != 200 {
				t.Fatalf("the owner is answered %d %s", w.Code, w.Body)
			}
		}
	}
	// A wrong proof costs two reads of hosts: the one that is named, and a decoy.
	checks := (counter.hosts.Load() - reads - owner) / 2
	limit := ddns.DefaultLimits().Requests
	bound := sources * int64(float64(limit.Burst)+limit.PerHour*during.Hours()+1)
	t.Logf("%d of %d guesses were checked, at most %d", checks, guesses, bound)
	if checks == 0 || checks > bound {
		t.Errorf("%d guesses were checked, at most %d", checks, bound)
	}
	if counter.writes.Load() != writes {
		t.Errorf("guesses caused %d writes", counter.writes.Load()-writes)
	}
	if w := r.set("203.0.113.200", host1, made.Token.Reveal()); w.Code != 201 {
		t.Errorf("the owner at a new address is answered %d %s", w.Code, w.Body)
	}
}

func refusesStranger(w *httptest.ResponseRecorder) bool {
	return w.Code == http.StatusUnauthorized || w.Code == http.StatusTooManyRequests || w.Code == http.StatusServiceUnavailable || w.Body.String() == "KO"
}

// TestGuessesAnswerAlike: at every door a wrong proof gets the same answer, and
// the same is read for it, whether there is such a host or not and whether there
// is such a credential or not.
func TestGuessesAnswerAlike(t *testing.T) {
	counter := &readCounter{}
	r := newRig(t, quiet, func(core *ddns.Config, front *httpserver.Config) {
		counter.Store = core.Store
		core.Store = counter
		front.HTTPTokens = true
	})
	made := r.add(host1, "", anyAddress())
	r.join("joined.dyn.example.com", ddns.Settings{})
	twice := r.add("twice.dyn.example.com", "", anyAddress())
	if _, err := r.service.RotateToken(t.Context(), twice.Host.Name, twice.Credential.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	r.add("own.dyn.example.com", "a secret of my own", ddns.Settings{})
	halt := r.add("halted.dyn.example.com", "", ddns.Settings{})
	if _, err := r.service.Set(t.Context(), halt.Host.Name, ddns.Settings{Suspended: on()}); err != nil {
		t.Fatal(err)
	}
	told := func(req *http.Request) string {
		t.Helper()
		hosts, credentials := counter.hosts.Load(), counter.credentials.Load()
		w := httptest.NewRecorder()
		if r.server.Public().ServeHTTP(w, req); !refusesStranger(w) {
			t.Errorf("%s: %d %s", req.URL, w.Code, w.Body)
		}
		return fmt.Sprintf("%d %v %s; %d hosts and %d credentials read", w.Code, w.Result().Header, w.Body, counter.hosts.Load()-hosts, counter.credentials.Load()-credentials)
	}
	// Where no host is named the ID alone finds it, and tells nothing either.
	for _, path := range []string{"/nic/update", "/u/TOKEN", "/api/update?token=TOKEN", "/update?password=TOKEN"} {
		want := ""
		for _, id := range []string{"aaaaaaaa", made.Credential.ID, halt.Credential.ID} {
			token := id + "-" + strings.Repeat("b", 26)
			req := request("GET", strings.Replace(path, "TOKEN", token, 1), here, "")
			if path == "/nic/update" {
				req.SetBasicAuth(id, token)
			}
			got := told(req)
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s with %s:\n%s\nwant\n%s", path, id, got, want)
			}
		}
	}
	for _, way := range matrixWays() {
		for _, a := range []asked{{"set", "A", here}, {"remove", "A AAAA", ""}, {"set", "TXT", "x"}, {"remove", "TXT", "x"}} {
			for _, password := range []bool{false, true} {
				want := ""
				for _, name := range []string{"nobody.dyn.example.com", host1, "joined.dyn.example.com", "twice.dyn.example.com", "own.dyn.example.com", "halted.dyn.example.com"} {
					for _, id := range []string{"aaaaaaaa", made.Credential.ID, twice.Credential.ID} {
						h := r.guesser(id, strings.Repeat("b", 26))
						if password {
							h.text = "a guess"
						}
						req := way.make(h, name, a)
						if req == nil {
							continue
						}
						got := told(req)
						if want == "" {
							want = got
						}
						if got != want {
							t.Errorf("%s, %s %s of %s with %s:\n%s\nwant\n%s", way.what, a.verb, a.types, name, id, got, want)
						}
					}
				}
			}
		}
	}
}
