package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
	"godwit/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	zone  = "dyn.example.com"
	token = "an admin token"
)

type oneZone struct{}

func (oneZone) Zone(n dnsname.Name) (dnsname.Name, bool) {
	apex := dnsname.MustParse(zone)
	return apex, n.Under(apex)
}
func (oneZone) Clash(dnsname.Name) error { return nil }

// start serves a real server and returns its data directory, the address of its
// public doors and that of the admin API over TCP.
func start(t *testing.T) (dir, public, admin string) {
	t.Helper()
	dir = t.TempDir()
	store, err := sqlite.Open(dir, sqlite.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	service, err := ddns.NewService(ddns.Config{Store: store, Sealer: store, Zones: oneZone{}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := httpserver.New(httpserver.Config{
		Service: service, AdminTokenHash: httpserver.HashAdminToken(token),
		Zones:  func() []api.Zone { return []api.Zone{{Apex: zone, Serial: 1}} },
		Status: func(context.Context) (api.Status, error) { return api.Status{Version: "test"}, nil },
		Backup: func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "a database"); return err },
		Check:  func(context.Context) ([]string, error) { return []string{"page 7 is torn"}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	listen := func(network, addr string, admin bool) httpserver.Listener {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		return httpserver.Listener{Listener: l, Admin: admin}
	}
	doors, socket, tcp := listen("tcp", "127.0.0.1:0", false), listen("unix", filepath.Join(dir, client.SocketName), true), listen("tcp", "127.0.0.1:0", true)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx, doors, socket, tcp) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dir, "http://" + doors.Addr().String(), "http://" + tcp.Addr().String()
}

func connect(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	out, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	return out
}

func word(s string) *string { return &s }

// Everything that the client can ask, over the socket and over TCP.
func TestAdmin(t *testing.T) {
	dir, public, tcp := start(t)
	for i, c := range []*client.Client{
		connect(t, client.Config{Target: "local:" + dir}),
		connect(t, client.Config{Target: filepath.Join(dir, client.SocketName)}),
		connect(t, client.Config{Target: tcp + "/", Token: token}),
	} {
		ctx, name := t.Context(), fmt.Sprintf("host%d.%s", i, zone)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		created, err := c.AddHost(ctx, api.AddHost{Host: name, Settings: api.Settings{Addresses: word("any")}})
		must(err)
		message, changed, err := client.Seed{URL: public}.Set(ctx, name, created.Token)
		if must(err); !changed || !strings.HasSuffix(message, "has been set to 127.0.0.1") {
			t.Errorf("set: %s, %v", message, changed)
		}
		_, changed, err = client.Seed{URL: public}.Set(ctx, name, created.Token)
		if must(err); changed {
			t.Error("the second time changed it again")
		}
		_, _, err = client.Seed{URL: public, Local: netip.MustParseAddr("127.0.0.2"), Network: "tcp4"}.Set(ctx, name, created.Token)
		must(err)
		ttl := uint32(300)
		h, err := c.SetHost(ctx, name, api.Settings{TTL: &ttl})
		if must(err); fmt.Sprint(h.A) != "[127.0.0.2]" || h.TTL != 300 {
			t.Errorf("host %+v", h)
		}
		added, err := c.AddToken(ctx, name, api.TokenSpec{Label: "router"})
		must(err)
		rotated, err := c.RotateToken(ctx, name, added.Credential, api.RotateToken{})
		must(err)
		tokens, err := c.Tokens(ctx, name)
		if must(err); len(tokens.Credentials) != 2 {
			t.Errorf("tokens %+v", tokens)
		}
		_, err = c.RevokeToken(ctx, name, rotated.Credential)
		must(err)
		_, err = c.RotateHost(ctx, name, api.RotateHost{})
		must(err)
		history, err := c.History(ctx, name)
		if must(err); len(history.Events) < 6 {
			t.Errorf("history %+v", history)
		}
		_, err = c.ShowHost(ctx, name)
		must(err)
		n := 0
		for _, err := range c.Hosts(ctx) {
			must(err)
			n++
		}
		if n != 1 {
			t.Errorf("%d hosts are listed", n)
		}
		zones, err := c.Zones(ctx)
		if must(err); len(zones) != 1 {
			t.Errorf("zones %+v", zones)
		}
		status, err := c.Status(ctx)
		if must(err); status.Version != "test" {
			t.Errorf("status %+v", status)
		}
		checked, err := c.Check(ctx)
		if must(err); checked.OK || len(checked.Problems) != 1 {
			t.Errorf("check %+v", checked)
		}
		var backup bytes.Buffer
		if must(c.Backup(ctx, &backup)); backup.String() != "a database" {
			t.Errorf("backup %s", &backup)
		}
		must(c.RemoveHost(ctx, name))
		_, err = c.ShowHost(ctx, name)
		if p := (*api.Problem)(nil); !errors.As(err, &p) || p.Code != "not-found" || !strings.HasSuffix(p.Error(), "makes one") {
			t.Errorf("a removed host: %v", err)
		}
	}
}

// An export of more hosts than go into one request comes back whole.
func TestImportInParts(t *testing.T) {
	dir, _, _ := start(t)
	c := connect(t, client.Config{Target: "local:" + dir})
	const n = 1200
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = fmt.Sprintf(`"h%04d.%s":{"route_53_zone_id":"Z","route_53_record_ttl":60,"shared_secret":"shared secret %04d"}`, i, zone, i)
	}
	var calls []int
	progress := client.ImportOptions{Progress: func(r api.ImportResult) { calls = append(calls, r.Added) }}
	got, err := c.Import(t.Context(), strings.NewReader("{"+strings.Join(hosts, ",")+"}"), progress)
	if err != nil || got.Added != n || fmt.Sprint(calls) != "[1000 1200]" {
		t.Fatalf("added %d, %v, in steps %v", got.Added, err, calls)
	}
	var export bytes.Buffer
	if err := c.Export(t.Context(), &export, client.ExportOptions{Secrets: true}); err != nil {
		t.Fatal(err)
	}
	listed := 0
	for h, err := range c.Hosts(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if listed++; h.Host == "" {
			t.Fatal("a host without a name")
		}
	}
	if listed != n {
		t.Errorf("%d hosts are listed", listed)
	}
	dir, _, _ = start(t)
	c = connect(t, client.Config{Target: "local:" + dir})
	if got, err := c.Import(t.Context(), &export, client.ImportOptions{}); err != nil || got.Added != n || len(got.Skipped) > 0 {
		t.Fatalf("added %d, %v, skipped %v", got.Added, err, got.Skipped)
	}
}

// Each form of an import, and what is none, does what one request would.
func TestImportForms(t *testing.T) {
	dir, _, _ := start(t)
	c := connect(t, client.Config{Target: "local:" + dir})
	row := func(i int) string {
		return fmt.Sprintf(`{"route_53_zone_id":"Z","shared_secret":"shared secret %d"}`, i)
	}
	item := func(name string, i int) string {
		data, _ := json.Marshal(row(i))
		return `{"hostname":{"S":"` + name + `"},"data":{"S":` + string(data) + `}}`
	}
	for i, doc := range []struct {
		text, host string
		added      int // -1: refused
	}{
		{`{"a.dyn.example.com":` + row(0) + `}`, "", 1},
		{row(1), "b.dyn.example.com", 1},
		{row(2), "", -1},
		{`{"Items":[` + item("c.dyn.example.com.", 3) + `,` + item("d.dyn.example.com", 4) + `],"Count":2}`, "", 2},
		{`{"Item":` + item("e.dyn.example.com", 5) + `}`, "", 1},
		{`{"godwit_export":1,"time":"2026-01-01T00:00:00Z","hosts":[]}`, "", 0},
		{`{"hosts":[{"name":"f.dyn.example.com","ttl":60,"addresses":"public","generation":1,"credentials":[]}],"godwit_export":1}`, "", 1},
		{`[]`, "", -1}, {`{`, "", -1}, {`{"a":`, "", -1}, {``, "", -1}, {`{"godwit_export":1,"hosts":[{]}`, "", -1}, {`{"godwit_export":1,"hosts":{}}`, "", -1}, {`{} x`, "", -1},
		{`{"godwit_export":9,"hosts":[{"name":"g.dyn.example.com"}]}`, "", -1},
	} {
		got, err := c.Import(t.Context(), strings.NewReader(doc.text), client.ImportOptions{Host: doc.host})
		if (err != nil) != (doc.added < 0) || err == nil && got.Added != doc.added {
			t.Errorf("%d %s: added %d, skipped %v, %v", i, doc.text, got.Added, got.Skipped, err)
		}
	}
}

func TestTargets(t *testing.T) {
	for target, says := range map[string]string{
		"":                                "is not understood",
		"here":                            "is not understood",
		"aws:stack":                       "is not understood",
		"local:":                          "is not understood",
		"ftp://ddns.example.com":          "is not understood",
		"http://ddns.example.com":         "in the clear",
		"https://ddns.example.com":        "--admin-token-file",
		"https://ddns.example.com/v1?x=1": "is not a server's address",
		"https://u:p@ddns.example.com":    "is not a server's address",
	} {
		if _, err := client.New(client.Config{Target: target}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", target, err, says)
		}
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, client.SocketName)
	for _, there := range []bool{false, true} {
		if there {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: stale})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			_ = l.Close()
			if _, err := os.Stat(stale); err != nil {
				t.Fatal(err)
			}
		}
		_, err := connect(t, client.Config{Target: "local:" + dir}).Status(t.Context())
		if n := (*client.NotRunning)(nil); !errors.As(err, &n) || !strings.HasSuffix(err.Error(), "start it: godwit serve --zone dyn.example.com --data "+dir) {
			t.Errorf("socket there %v: %v", there, err)
		}
	}
}

// Neither a token nor a hash goes on to another server.
func TestNoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other server was asked") }))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer first.Close()
	_, err := connect(t, client.Config{Target: first.URL, Token: token}).Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), other.URL) || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
	if _, err := (client.Seed{URL: first.URL}).Get(t.Context()); err == nil || !strings.Contains(err.Error(), other.URL) {
		t.Error(err)
	}
}

// A server that is none of ours, or breaks off, is told from ours.
func TestStrangeAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"html":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "is it a godwit server"},
		"404":   {http.NotFound, "check the address"},
		"abort": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		server := httptest.NewServer(c.handler)
		_, err := connect(t, client.Config{Target: server.URL, Token: token}).Status(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if err := connect(t, client.Config{Target: server.URL, Token: token}).RemoveHost(t.Context(), "h.dyn.example.com"); name == "abort" && !strings.Contains(err.Error(), "could not confirm") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := (client.Seed{URL: server.URL}).Get(t.Context()); err == nil {
			t.Errorf("%s: the seed's get is content", name)
		}
		server.Close()
	}
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 10000))
		panic(http.ErrAbortHandler)
	}))
	defer half.Close()
	if err := connect(t, client.Config{Target: half.URL, Token: token}).Backup(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "not whole") {
		t.Errorf("half a backup: %v", err)
	}
}

func TestSeedRefused(t *testing.T) {
	_, public, _ := start(t)
	_, _, err := client.Seed{URL: public}.Set(t.Context(), "nas.dyn.example.com", "secret")
	if p := (*api.Problem)(nil); !errors.As(err, &p) || p.Code != "bad-proof" || p.Error() != "Validation hashes do not match; check the host name and the secret, and that the host's seed proof is on" {
		t.Error(err)
	}
	if got, err := (client.Seed{URL: public, Local: netip.MustParseAddr("127.0.0.2")}).Get(t.Context()); err != nil || got.String() != "127.0.0.2" {
		t.Error(got, err)
	}
	for _, url := range []string{"", "ddns.example.com", "ftp://x"} {
		if _, err := (client.Seed{URL: url}).Get(t.Context()); err == nil {
			t.Errorf("URL %q is taken", url)
		}
	}
}

// inside answers in place of a server.
type inside func(*http.Request) (*http.Response, error)

func (f inside) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTransport: without a server an error is the transport's own, and an import
// goes in parts as large as is said.
func TestTransport(t *testing.T) {
	var parts []int
	c, err := client.New(client.Config{Target: "aws:godwit", ImportHosts: 2, Token: "nobody's", Transport: inside(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a token was sent")
		}
		switch {
		case r.URL.Path == api.AdminPath+"/export":
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), failing{}))}, nil
		case r.Method == http.MethodPost:
			data, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			parts = append(parts, bytes.Count(data, []byte("shared_secret")))
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`{"added":1,"skipped":[]}`))}, nil
		}
		return nil, errors.New("the table is away; wait")
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Zones(t.Context()); err == nil || err.Error() != "the table is away; wait" {
		t.Errorf("got %v", err)
	}
	if err := c.Export(t.Context(), io.Discard, client.ExportOptions{}); err == nil || err.Error() != "what came is not whole: the table is away" {
		t.Errorf("got %v", err)
	}
	hosts := `{"a.example.org":{"shared_secret":"1"},"b.example.org":{"shared_secret":"2"},"c.example.org":{"shared_secret":"3"}}`
	if got, err := c.Import(t.Context(), strings.NewReader(hosts), client.ImportOptions{}); err != nil || got.Added != 2 || fmt.Sprint(parts) != "[2 1]" {
		t.Errorf("got %+v, %v in parts of %v", got, err, parts)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the table is away") }
