package agent_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/agent"
	"godwit/internal/api"
	"godwit/internal/dnsname"
	"godwit/internal/signature"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	server     = "https://ddns.example.com"
	credential = "k7m2qx4p"
)

var (
	host = dnsname.MustParse("nas.dyn.example.com")
	home = map[agent.Family]netip.Addr{
		agent.IPv4: netip.MustParseAddr("198.51.100.7"),
		agent.IPv6: netip.MustParseAddr("2001:db8:7::1"),
	}
	moved = map[agent.Family]netip.Addr{
		agent.IPv4: netip.MustParseAddr("203.0.113.9"),
		agent.IPv6: netip.MustParseAddr("2001:db8:9::1"),
	}
)

// try is one request as the server saw it.
type try struct {
	at     time.Time
	family agent.Family
	method string
	body   string
	auth   string
	answer int // status; 0: none
}

// world is a server that keeps the contract of the signed door, the way there,
// and the device's addresses. All of it can be made worse.
type world struct {
	t  testing.TB
	mu sync.Mutex // guards the rest

	device map[agent.Family]netip.Addr // what the server sees
	local  map[agent.Family][]netip.Addr
	key    *agent.Key
	token  string
	clock  time.Duration // the server's clock less the device's
	mark   int64
	shows  map[agent.Family]netip.Addr // DNS
	prefix netip.Prefix                // of the host's followers
	writes int
	tries  []try
	free   bool // the host may be set to any address
	// fault, if not nil, answers in place of the server; false: it does not.
	fault func(w http.ResponseWriter, r *http.Request) bool
	// broken, if not nil, is an error of the way there.
	broken func(agent.Family) error

	changed func() // tells the agent
}

func newWorld(t testing.TB) *world {
	t.Helper()
	key, err := agent.NewKey(server)
	if err != nil {
		t.Fatal(err)
	}
	key.Host, key.Credential = host.String(), credential
	w := &world{t: t, key: key, device: map[agent.Family]netip.Addr{}, local: map[agent.Family][]netip.Addr{}, shows: map[agent.Family]netip.Addr{}}
	w.move(home)
	return w
}

// move gives the device other addresses.
func (w *world) move(to map[agent.Family]netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for f, addr := range to {
		w.device[f], w.local[f] = addr, []netip.Addr{addr, addr}
	}
}

// config is of one agent in this world.
func (w *world) config(log io.Writer) agent.Config {
	dir := w.t.TempDir()
	target := agent.Target{Server: server, Host: host, KeyFile: agent.KeyPath(dir, server, host)}
	if err := w.key.Write(target.KeyFile); err != nil {
		w.t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	return agent.Config{
		Targets: []agent.Target{target}, Dir: dir,
		Log:       slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Transport: func(f agent.Family) http.RoundTripper { return way{w, f} },
		Local: func(f agent.Family) []netip.Addr {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.local[f]
		},
		Random: func() float64 { mu.Lock(); defer mu.Unlock(); return random.Float64() },
	}
}

// way is the network from the device to the server, over one family.
type way struct {
	w *world
	f agent.Family
}

func (y way) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	w := y.w
	w.mu.Lock()
	i := len(w.tries)
	w.tries = append(w.tries, try{at: time.Now(), family: y.f, method: r.Method, body: string(body), auth: r.Header.Get("Authorization")})
	broken, fault := w.broken, w.fault
	w.mu.Unlock()
	if broken != nil {
		if err := broken(y.f); err != nil {
			return nil, err
		}
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.Body = r.URL.RequestURI(), io.NopCloser(bytes.NewReader(body))
	out := httptest.NewRecorder()
	if fault == nil || !fault(out, in) {
		w.mu.Lock()
		w.serve(out, in, y.f, body)
		w.mu.Unlock()
	}
	w.mu.Lock()
	w.tries[i].answer = out.Code
	w.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return out.Result(), nil
}

func (w *world) now() time.Time { return time.Now().Add(w.clock) }

// serve is the signed door as docs/protocols.md has it, for one host.
func (w *world) serve(out http.ResponseWriter, r *http.Request, f agent.Family, body []byte) {
	source := w.device[f]
	if r.URL.Path == "/ip" {
		_, _ = io.WriteString(out, source.String()+"\n")
		return
	}
	refuse := func(code string, status int) {
		problem(out, api.Problem{Status: status, Code: code, Detail: "refused", Now: w.now().Unix(), LastCreated: w.mark})
	}
	if strings.Count(r.URL.Path, "/") != 4 || !strings.HasSuffix(r.URL.Path, host.String()+api.AddressesPath) || r.Method != http.MethodPut {
		refuse(api.CodeNotFound, http.StatusNotFound)
		return
	}
	var created int64
	if w.token == "" {
		m, err := signature.Parse(signature.RequestOf(r, body, "ddns.example.com"))
		switch {
		case err != nil || m.KeyID != w.key.Credential || !m.Verify(w.key.Public()):
			refuse("bad-proof", http.StatusUnauthorized)
			return
		case m.CheckTime(w.now()) != nil:
			refuse("clock", http.StatusUnauthorized)
			return
		case m.Created <= w.mark:
			refuse("replayed", http.StatusConflict)
			return
		}
		created = m.Created
	} else if r.Header.Get("Authorization") != "Bearer "+w.token {
		refuse("bad-proof", http.StatusUnauthorized)
		return
	}
	var set api.SetAddresses
	if err := json.Unmarshal(body, &set); err != nil {
		refuse("malformed", http.StatusBadRequest)
		return
	}
	want := map[agent.Family]*[]netip.Addr{agent.IPv4: set.A, agent.IPv6: set.AAAA}
	auto := set.A == nil && set.AAAA == nil
	if auto {
		want[f] = &[]netip.Addr{source}
	}
	outcome := api.Unchanged
	for family, list := range want {
		switch {
		case list == nil:
			continue
		case len(*list) == 0:
			if w.shows[family].IsValid() {
				outcome = api.Changed
			}
			w.shows[family] = netip.Addr{}
			continue
		case !w.free && (*list)[0] != source:
			refuse("not-source", http.StatusForbidden)
			return
		case (*list)[0] != w.shows[family]:
			w.shows[family], outcome = (*list)[0], api.Changed
		}
	}
	if set.Prefix != nil && *set.Prefix != w.prefix {
		w.prefix, outcome = *set.Prefix, api.Changed
	}
	if auto || outcome == api.Changed {
		w.mark = created
		w.writes++
	}
	a := api.Addresses{Host: host.String(), Outcome: outcome, A: []netip.Addr{}, AAAA: []netip.Addr{}, Prefix: w.prefix, TTL: 60, Generation: 1, Source: source}
	if x := w.shows[agent.IPv4]; x.IsValid() {
		a.A = append(a.A, x)
	}
	if x := w.shows[agent.IPv6]; x.IsValid() {
		a.AAAA = append(a.AAAA, x)
	}
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(a)
}

func problem(out http.ResponseWriter, p api.Problem) {
	out.Header().Set("Content-Type", api.ProblemType)
	if p.RetryAfter > 0 {
		out.Header().Set("Retry-After", strconv.FormatInt(p.RetryAfter, 10))
	}
	out.WriteHeader(p.Status)
	_ = json.NewEncoder(out).Encode(p)
}

// refusing answers every request with a problem.
func refusing(code string, status int, after int64) func(http.ResponseWriter, *http.Request) bool {
	return func(out http.ResponseWriter, _ *http.Request) bool {
		problem(out, api.Problem{Status: status, Code: code, Detail: "refused for a test", RetryAfter: after})
		return true
	}
}

// set changes the world.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// seen are the requests since, of a family.
func (w *world) seen(f agent.Family, since time.Time) []try {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []try
	for _, t := range w.tries {
		if t.family == f && !t.at.Before(since) {
			out = append(out, t)
		}
	}
	return out
}

// rounds are the times at which tries began: requests of one try follow each
// other without a pause.
func rounds(tries []try) []time.Time {
	var out []time.Time
	for i, t := range tries {
		if i == 0 || t.at.Sub(tries[i-1].at) > time.Second {
			out = append(out, t.at)
		}
	}
	return out
}

// checkGentle holds an agent to its distance between tries, and to a handful of
// requests in one.
func (w *world) checkGentle(t *testing.T) {
	t.Helper()
	for _, f := range []agent.Family{agent.IPv4, agent.IPv6} {
		tries := w.seen(f, time.Time{})
		began := rounds(tries)
		for i := 1; i < len(began); i++ {
			if gap := began[i].Sub(began[i-1]); gap < agent.MinInterval {
				t.Errorf("%s: two tries within %s", f, gap)
			}
		}
		if len(tries) > 5*len(began) {
			t.Errorf("%s: %d requests in %d tries", f, len(tries), len(began))
		}
	}
}

// right tells whether DNS shows the device's addresses.
func (w *world) right(families ...agent.Family) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range families {
		if w.shows[f] != w.device[f] {
			return false
		}
	}
	return true
}

var both = []agent.Family{agent.IPv4, agent.IPv6}

// safe is a log that several goroutines write.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.b.Write(p) }
func (s *safe) String() string              { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }
