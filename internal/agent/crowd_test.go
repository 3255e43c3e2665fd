package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/agent"
	"godwit/internal/api"
	"godwit/internal/dnsname"
)

// crowd is one server and the many devices that speak to it.
type crowd struct {
	mu     sync.Mutex // guards the rest
	began  time.Time
	second map[int]int     // requests in each second
	right  map[string]bool // by server and host
	down   bool
	busy   int // beyond so many requests in a second, "rate-limited"; 0: none
}

func (c *crowd) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Body.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	at := int(time.Since(c.began) / time.Second)
	c.second[at]++
	out := httptest.NewRecorder()
	name := strings.Split(r.URL.Path, "/")[3]
	switch {
	case c.down:
		return nil, syscall.ECONNREFUSED
	case c.busy > 0 && c.second[at] > c.busy:
		problem(out, api.Problem{Status: 503, Code: "unavailable", Detail: "busy", RetryAfter: 30})
	default:
		c.right[r.URL.Host+" "+name] = true
		out.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(out, `{"host":%q,"outcome":"unchanged","a":["198.51.100.7"],"aaaa":[],"ttl":60,"generation":1,"published":1}`, name)
	}
	return out.Result(), nil
}

// peak is the most requests in a second from one time to another.
func (c *crowd) peak(from, to time.Duration) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := 0
	for at, n := range c.second {
		if d := time.Duration(at) * time.Second; d >= from && d < to {
			most = max(most, n)
		}
	}
	return most
}

// TestCrowd: a thousand agents that start at once, against a server that is down
// for three minutes, and one that can do a fifth of it. For one that works see
// TestCrowdAtDaemon.
func TestCrowd(t *testing.T) {
	const window = 10 // seconds
	agents := 1000
	if os.Getenv("GODWIT_LONG") != "" {
		agents = 10_000
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("k7m2qx4p-aaaaaaaaaaaaaaaaaaaaaaaaaa\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		make func(*crowd)
		mend time.Duration // when the server is all right
		done time.Duration // when all must be right
	}{
		{"down", func(c *crowd) { c.down = true }, 3 * time.Minute, 5 * time.Minute},
		{"busy", func(c *crowd) { c.busy = agents / window / 5 }, 0, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &crowd{began: time.Now(), second: map[int]int{}, right: map[string]bool{}}
				tt.make(c)
				random := rand.New(rand.NewPCG(3, 4))
				var mu sync.Mutex
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for i := range agents {
					a, err := agent.New(agent.Config{
						Targets:   []agent.Target{{Server: server, Host: dnsname.MustParse(fmt.Sprintf("h%d.dyn.example.com", i)), TokenFile: token, IPv6: agent.Choice{Off: true}}},
						Transport: func(agent.Family) http.RoundTripper { return c },
						Local:     func(agent.Family) []netip.Addr { return []netip.Addr{home[agent.IPv4]} },
						Random:    func() float64 { mu.Lock(); defer mu.Unlock(); return random.Float64() },
					})
					if err != nil {
						t.Fatal(err)
					}
					all.Go(func() { a.Run(ctx) })
				}
				pass(tt.mend)
				c.mu.Lock()
				c.down = false
				c.mu.Unlock()
				pass(tt.done - tt.mend)
				c.mu.Lock()
				if len(c.right) != agents {
					t.Errorf("%d of %d agents are right after %s", len(c.right), agents, tt.done)
				}
				c.mu.Unlock()
				pass(2 * time.Minute)
				if peak := c.peak(0, time.Hour); peak > 2*agents/window {
					t.Errorf("%d requests in one second, want at most %d", peak, 2*agents/window)
				}
				cancel()
				all.Wait()
			})
		})
	}
}

// TestManyHosts: one device, several names, several servers, and a token that is
// good for more than one of them.
func TestManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{began: time.Now(), second: map[int]int{}, right: map[string]bool{}}
		config := agent.Config{Dir: t.TempDir(), Transport: func(agent.Family) http.RoundTripper { return c },
			Local: func(agent.Family) []netip.Addr { return []netip.Addr{home[agent.IPv4]} }}
		token := filepath.Join(config.Dir, "token")
		if err := os.WriteFile(token, []byte("k7m2qx4p-aaaaaaaaaaaaaaaaaaaaaaaaaa\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{server, "https://other.example.net"} {
			for _, name := range []string{"a.example.org", "b.example.org"} {
				config.Targets = append(config.Targets, agent.Target{Server: at, Host: dnsname.MustParse(name), TokenFile: token, IPv6: agent.Choice{Off: true}})
			}
		}
		a, err := agent.New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		pass(time.Minute)
		cancel()
		<-done
		if len(c.right) != 4 {
			t.Errorf("right: %v", c.right)
		}
		config.Targets = append(config.Targets, config.Targets[0])
		if _, err := agent.New(config); err == nil || !strings.Contains(err.Error(), "configured twice") {
			t.Errorf("the same host twice: %v", err)
		}
	})
}

// TestMisbehaves: a server of which one answer in twenty is wrong, for a day in
// which the device moves every hour. DNS never shows what was never the
// device's address.
func TestMisbehaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		random := rand.New(rand.NewPCG(5, 6))
		faults := []func(http.ResponseWriter, *http.Request) bool{
			refusing("clock", 401, 0), refusing("replayed", 409, 0), refusing("rate-limited", 429, 60), refusing("unavailable", 503, 0),
			page(500, "", ""), page(200, "text/html", "<html>203.0.113.66"), page(200, "application/json", "{"), redirect("http://203.0.113.66/"),
			page(200, "application/json", `{"host":"nas.dyn.example.com","outcome":"changed","a":["203.0.113.66"],"aaaa":["2001:db8::66"]}`),
			func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true },
		}
		ever := map[netip.Addr]bool{}
		w.fault = func(out http.ResponseWriter, r *http.Request) bool {
			w.mu.Lock()
			wrong, which := random.IntN(20) == 0, random.IntN(len(faults))
			for _, shown := range w.shows {
				if shown.IsValid() && !ever[shown] {
					t.Errorf("DNS shows %s, which was never this device's", shown)
				}
			}
			w.mu.Unlock()
			return wrong && faults[which](out, r)
		}
		c := w.config(io.Discard)
		c.Dir, c.Watch = "", w.watch
		live(t, w, c, func(*agent.Agent) {
			for i := range 24 {
				to := []map[agent.Family]netip.Addr{home, moved}[i%2]
				for _, addr := range to {
					ever[addr] = true
				}
				w.move(to)
				if i > 0 {
					w.changed()
				}
				pass(58 * time.Minute)
				if i > 0 && !w.right(both...) {
					t.Errorf("hour %d: DNS shows %v", i, w.shows)
				}
				pass(2 * time.Minute)
			}
		})
		w.checkGentle(t)
	})
}

// TestSecrets: a token that a hostile server sends back, in every way it can, is
// in no log, status or error.
func TestSecrets(t *testing.T) {
	const token = "k7m2qx4p-zyxwvutsrqponmlkjihgfedcba"
	echo := func(status int, kind string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Location", "https://"+token+".example/")
			w.Header().Set("Retry-After", token)
			w.WriteHeader(status)
			split := token[:9] + "\x00\x1b" + token[9:]
			_ = json.NewEncoder(w).Encode(map[string]string{"code": token, "title": token, "detail": "you sent " + token + " or " + split, "help": split, "host": token, "outcome": token})
			return true
		}
	}
	w := newWorld(t)
	w.token = token
	var log safe
	c := w.config(&log)
	file := filepath.Join(c.Dir, "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Targets[0].KeyFile, c.Targets[0].TokenFile = "", file
	c.Targets[0].Hook = []string{"/nonexistent/hook"}
	for _, status := range []int{0, 200, 201, 302, 400, 401, 403, 429, 500, 503} {
		for _, kind := range []string{"application/json", api.ProblemType, "text/html"} {
			if status > 0 {
				w.fault = echo(status, kind)
			}
			a, err := agent.New(c)
			if err != nil {
				t.Fatal(err)
			}
			err = a.Once(t.Context())
			if told := fmt.Sprintf("%v %+v", err, a.Status()); strings.Contains(told, token) || (err == nil) != (status == 0) {
				t.Errorf("%d %s: %s", status, kind, told)
			}
		}
	}
	if strings.Contains(log.String(), token) || !strings.Contains(log.String(), "[secret]") {
		t.Errorf("the log has the token, or nothing of what was sent:\n%s", head(log.String()))
	}
	for _, name := range []string{agent.StateName, agent.StatusName} {
		if data, err := os.ReadFile(filepath.Join(c.Dir, name)); err != nil || strings.Contains(string(data), token) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, try := range w.seen(agent.IPv4, time.Time{}) {
		if try.auth != "Bearer "+token || strings.Contains(try.body, token) {
			t.Errorf("%+v", try)
		}
	}
}

// TestHook runs a real program, with a canary in the agent's own environment.
func TestHook(t *testing.T) {
	t.Setenv("GODWIT_SECRET", "canary-of-the-environment")
	w := newWorld(t)
	var log safe
	c := w.config(&log)
	c.Targets[0].IPv6.Off = true
	out := filepath.Join(t.TempDir(), "out")
	c.Targets[0].Hook = []string{"/bin/sh", "-c", `env > "$1"; head -c 5000 /dev/zero | tr '\0' x; exit 3`, "hook", out}
	a, err := agent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("the hook did not run: %v\n%s", err, log.String())
	}
	env := strings.Split(string(data), "\n")
	for _, want := range []string{"GODWIT_HOST=" + host.String(), "GODWIT_SERVER=" + server, "GODWIT_FAMILY=IPv4", "GODWIT_ADDRESS=198.51.100.7", "GODWIT_OLD_ADDRESS="} {
		if !slices.Contains(env, want) {
			t.Errorf("the hook's environment lacks %s:\n%s", want, data)
		}
	}
	if strings.Contains(string(data), "canary") {
		t.Error("the hook got the agent's environment")
	}
	if s := log.String(); !strings.Contains(s, "exit status 3") || strings.Count(s, "x") > 3000 {
		t.Errorf("%d octets of log", len(s))
	}
}
