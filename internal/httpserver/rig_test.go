package httpserver_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
	"godwit/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	zone   = "dyn.example.com"
	host1  = "host1.dyn.example.com"
	home   = "176.32.100.36" // public; documentation addresses are not
	secret = "shared_secret_1"
)

// oneZone is ddns.Zones with one zone and no static records.
type oneZone struct{}

func (oneZone) Zone(n dnsname.Name) (dnsname.Name, bool) {
	if n.IsZero() {
		panic("asked for the zone of no name, which the daemon's zones have not")
	}
	apex := dnsname.MustParse(zone)
	return apex, n.Under(apex)
}
func (oneZone) Clash(dnsname.Name) error { return nil }

// rig is a server on a real store.
type rig struct {
	t       testing.TB
	dir     string
	edits   []edit
	store   *sqlite.Store
	service *ddns.Service
	server  *httpserver.Server
	log     *logBuffer
	now     *clock
}

// clock is time that moves when it is told to.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logBuffer keeps what is logged, everything.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

type edit func(*ddns.Config, *httpserver.Config)

func newRig(t testing.TB, edits ...edit) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), edits: edits, log: &logBuffer{}, now: &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	t.Cleanup(func() { _ = r.store.Close() })
	r.open()
	r.start()
	return r
}

// open opens the store.
func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.store, err = sqlite.Open(r.dir, sqlite.Config{}); err != nil {
		r.t.Fatal(err)
	}
}

// start makes a server on the store, which has nothing in memory.
func (r *rig) start() {
	r.t.Helper()
	core := ddns.Config{Store: r.store, Sealer: r.store, Zones: oneZone{}, Now: r.now.Now}
	front := httpserver.Config{Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, e := range r.edits {
		e(&core, &front)
	}
	var err error
	if r.service, err = ddns.NewService(core); err != nil {
		r.t.Fatal(err)
	}
	front.Service = r.service
	if r.server, err = httpserver.New(front); err != nil {
		r.t.Fatal(err)
	}
}

// add makes a host with a shared secret, or with a token if that is "".
func (r *rig) add(name, secret string, settings ddns.Settings) ddns.Created {
	r.t.Helper()
	out, err := r.service.Add(context.Background(), dnsname.MustParse(name), settings, ddns.NewSecret(secret))
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *rig) show(name string) *ddns.Host {
	r.t.Helper()
	h, _, err := r.service.Show(context.Background(), dnsname.MustParse(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// send makes a request to the public doors. headers are NAME, VALUE, NAME, …
func (r *rig) send(method, path, source, body string, headers ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if a, err := netip.ParseAddr(source); err == nil {
		source = netip.AddrPortFrom(a, 40000).String()
	}
	req.RemoteAddr = source
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.server.Public().ServeHTTP(w, req)
	return w
}

// set is one update as a seed client makes it.
func (r *rig) set(source, name, secret string) *httptest.ResponseRecorder {
	r.t.Helper()
	return r.send("POST", "/", source, setBody(name, ddns.SeedHash(source, name, ddns.NewSecret(secret))))
}

func setBody(name, hash string) string {
	return `{"execution_mode":"set","ddns_hostname":` + strconv.Quote(name) + `,"validation_hash":"` + hash + `"}`
}

func anyAddress() ddns.Settings { return ddns.Settings{Addresses: &ddns.AnyAddress} }

func on() *bool { b := true; return &b }

// want checks status and body of an answer, and the rules that hold for all.
func want(t testing.TB, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || w.Body.String() != body {
		t.Errorf("got  %d %s\nwant %d %s", w.Code, w.Body, status, body)
	}
	rules(t, w.Result())
}

// rules are what holds for every answer of every public door.
func rules(t testing.TB, r *http.Response) {
	t.Helper()
	for name, values := range r.Header {
		for _, v := range values {
			if name != "Date" && strings.Count(strings.Trim(dotted(v), " "), ".") >= 3 {
				t.Errorf("header %s: %s may be taken for an address", name, v)
			}
		}
	}
	if r.Header.Get("Server") != "" {
		t.Errorf("there is a Server header")
	}
	if r.Header.Get("Cache-Control") != "no-store" && r.StatusCode != http.StatusNoContent {
		t.Errorf("Cache-Control is %q", r.Header.Get("Cache-Control"))
	}
	if r.Header.Get("Content-Length") == "" && r.StatusCode != http.StatusNoContent {
		t.Error("there is no Content-Length")
	}
	if len(r.TransferEncoding) > 0 {
		t.Error("the answer is chunked")
	}
}

// dotted is the digits and dots of a text.
func dotted(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || '0' <= r && r <= '9' {
			return r
		}
		return ' '
	}, text)
}

func seedJSON(status, message string) string {
	return `{"return_status": "` + status + `", "return_message": "` + message + `"}`
}

// brokenStore fails where it is told to.
type brokenStore struct {
	ddns.Store
	reads, writes bool
}

var errBroken = errors.New("arn:aws:dynamodb /var/lib/godwit table hosts: no space left on device")

func (b *brokenStore) Host(ctx context.Context, n dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	if b.reads {
		return nil, nil, errBroken
	}
	return b.Store.Host(ctx, n)
}

func (b *brokenStore) Save(ctx context.Context, w ...ddns.Write) error {
	if b.writes {
		return errBroken
	}
	return b.Store.Save(ctx, w...)
}

// deadPublisher publishes nothing.
type deadPublisher struct{}

func (deadPublisher) Publish(_ context.Context, hosts []*ddns.Host) []ddns.Published {
	out := make([]ddns.Published, len(hosts))
	for i := range out {
		out[i].Err = errBroken
	}
	return out
}

// fullAdmin fills in what the admin API tells.
func fullAdmin(_ *ddns.Config, c *httpserver.Config) {
	c.URL = "https://ddns.example.com"
	c.Version = "test"
	c.AdminTokenHash = httpserver.HashAdminToken(adminToken)
	c.Zones = func() []api.Zone {
		return []api.Zone{{Apex: zone, Serial: 7, Hosts: 1, NameServers: []string{"ns." + zone}}}
	}
	c.ZoneKeys = func(_ context.Context, apex dnsname.Name, do string) (api.ZoneKeys, error) {
		switch apex.String() {
		case zone:
		case "full.example.net":
			return api.ZoneKeys{}, &ddns.Refusal{Code: ddns.Unavailable, Why: "the store cannot write", Fix: "free some room"}
		default:
			return api.ZoneKeys{}, &ddns.Refusal{Code: ddns.ConditionFailed, Why: "the zone is not signed", Fix: "sign it"}
		}
		due := time.Unix(1767225600, 0).UTC()
		return api.ZoneKeys{DS: []string{}, DNSKEY: []string{}, Keys: []api.ZoneKey{{Tag: 1, State: "signing", Made: due}}, Next: do, Due: &due}, nil
	}
	c.Status = func(context.Context) (api.Status, error) {
		return api.Status{Started: time.Unix(1767225600, 0), Hosts: 1, Zones: 1}, nil
	}
	c.Backup = func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "SQLite format 3"); return err }
	c.Check = func(context.Context) ([]string, error) { return nil, nil }
	c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "godwit_store_hosts 1\n")
	})
	recent := httpserver.NewRecent()
	c.Noted, c.Requests = recent.Note, recent.List
	c.Look = func(_ context.Context, h *ddns.Host) ([]ddns.RRset, error) { return h.RRsets(), nil }
}

const adminToken = "correct horse battery staple"
