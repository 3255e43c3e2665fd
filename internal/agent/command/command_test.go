package command_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/agent"
	"godwit/internal/agent/command"
	"godwit/internal/api"
	"godwit/internal/dnsname"
	"godwit/internal/signature"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a System with these variables and files.
func machine(vars, files map[string]string) command.System {
	return command.System{
		Lookup: func(key string) (string, bool) { v, ok := vars[key]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		Exists: func(name string) bool { _, ok := files[name]; return ok },
	}
}

var home = map[string]string{"HOME": "/home/op"}

// TestExample holds the documented file to what is read from it.
func TestExample(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```toml\n")
	text, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("docs/agent.md has no example")
	}
	// The certificates are the only file that is read with it.
	text = strings.Replace(text, "ca-file", "# ca-file", 1)
	s, err := command.Load(command.Flags{}, machine(home, map[string]string{command.DefaultFile: text}))
	if err != nil {
		t.Fatal(err)
	}
	nas, cam := s.Agent.Targets[0], s.Agent.Targets[1]
	if nas.Server != "https://ddns.example.com" || nas.KeyFile != "/var/lib/godwit-agent/keys/nas.dyn.example.com@ddns.example.com.key" ||
		len(nas.IPv4.Sources) != 1 || nas.IPv4.Sources[0] != nil || len(nas.IPv6.Sources) != 2 || nas.IPv6.Sources[0].Name() != "interface eth0" ||
		len(nas.Hook) != 2 || nas.PollIP || nas.Prefix == nil || nas.Prefix.Name() != "interface br-lan/56" {
		t.Errorf("%+v", nas)
	}
	if cam.Server != "https://other.example.net" || cam.TokenFile != "/etc/godwit/cam.token" || cam.KeyFile != "" || !cam.IPv4.Off || !cam.IPv6.Remove {
		t.Errorf("%+v", cam)
	}
	if s.Agent.Interval != 5*time.Minute || s.StatusFile() != "/run/godwit-agent.json" {
		t.Errorf("%+v", s)
	}
}

// TestPackagedExample: so is the file that packages bring.
func TestPackagedExample(t *testing.T) {
	text, err := os.ReadFile("../../../packaging/examples/agent.toml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := command.Load(command.Flags{}, machine(home, map[string]string{command.DefaultFile: string(text)}))
	if err != nil || len(s.Agent.Targets) != 1 {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestPrecedence(t *testing.T) {
	file := map[string]string{command.DefaultFile: "interval = \"10m\"\nurl = \"https://a.example\"\n[[host]]\nname = \"nas.example.org\"\nkey-file = \"/k\"\n[[host]]\nname = \"cam.example.org\"\nurl = \"https://b.example\"\n"}
	s, err := command.Load(command.Flags{}, machine(home, file))
	if err != nil || len(s.Agent.Targets) != 2 || s.Agent.Targets[1].Server != "https://b.example" || s.Agent.Dir != "/home/op/.local/state/godwit-agent" {
		t.Fatalf("%v, %+v", err, s)
	}
	vars := map[string]string{"GODWIT_INTERVAL": "7m", "GODWIT_URL": "https://c.example/", "GODWIT_IPV6": "interface eth0, server", "STATE_DIRECTORY": "/s:/t"}
	s, err = command.Load(command.Flags{Interval: "3m", TokenFile: "/t", Host: []string{"NAS.example.org."}}, machine(vars, file))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Agent.Targets[0]
	if s.Agent.Interval != 3*time.Minute || got.Server != "https://c.example" || len(got.IPv6.Sources) != 2 || got.TokenFile != "/t" || got.KeyFile != "" || len(s.Agent.Targets) != 1 || s.Agent.Dir != "/s" {
		t.Errorf("%+v, %+v", s, got)
	}
	root := machine(nil, nil)
	root.Root = true
	if s, err := command.Load(command.Flags{}, root); err != nil || s.Agent.Dir != "/var/lib/godwit-agent" || s.File != command.DefaultFile {
		t.Errorf("root: %v, %+v", err, s)
	}
	own := machine(map[string]string{"XDG_CONFIG_HOME": "/x", "XDG_STATE_HOME": "/y"}, nil)
	if s, err := command.Load(command.Flags{}, own); err != nil || s.Agent.Dir != "/y/godwit-agent" || s.File != "/x/godwit/agent.toml" {
		t.Errorf("own: %v, %+v", err, s)
	}
}

func TestRefusedSettings(t *testing.T) {
	const host = "[[host]]\nname = \"nas.example.org\"\n"
	for _, c := range []struct {
		name, file string
		flags      command.Flags
		vars       map[string]string
		want       string
	}{
		{name: "no host", file: "interval = \"5m\"\n", want: "configures no host"},
		{name: "no file", want: "there is no configuration at"},
		{name: "named and not there", flags: command.Flags{Config: "/nowhere", Host: []string{"a.example"}, URL: "https://b.example"}, want: "there is no configuration at /nowhere"},
		{name: "not TOML", file: "url = https\n", want: "line 1"},
		{name: "unknown", file: "url = \"https://a.example\"\n\nintervall = \"5m\"\n", want: "line 3: there is no setting \"intervall\""},
		{name: "unknown of a host", file: host + "tokenfile = \"x\"\n", want: "line 3: there is no setting \"host.tokenfile\""},
		{name: "second host's", file: "url = \"https://a.example\"\n" + host + "ipv4 = \"off\"\n" + host + "ipv4 = \"nonsense\"\n", want: "line 7"},
		{name: "at the wrong place", file: host + "interval = \"5m\"\n", want: "put it above the first [[host]]"},
		{name: "a key for all", file: "key-file = \"/k\"\n", want: "put it below a [[host]]"},
		{name: "one table", file: "[host]\nname = \"a.example\"\n", want: "begin each host with [[host]]"},
		{name: "a table", file: "[url]\na = 1\n", want: "url is no text"},
		{name: "no name", file: "[[host]]\nurl = \"https://a.example\"\n", want: "the first [[host]] has no name"},
		{name: "bad name", file: "[[host]]\nname = \"nas..example\"\n", want: "line 2"},
		{name: "no server", file: host, want: "has no server"},
		{name: "URL", file: "url = \"https://u:p4ssw0rd@a.example\"\n" + host, want: "the server's URL is not understood"},
		{name: "both proofs", file: "url = \"https://a.example\"\n" + host + "key-file = \"/k\"\ntoken-file = \"/t\"\n", want: "has a key"},
		{name: "all off", file: "url = \"https://a.example\"\nipv4 = \"off\"\nipv6 = \"off\"\n" + host, want: "both families of nas.example.org are off"},
		{name: "off and more", file: "url = \"https://a.example\"\nipv4 = [\"off\", \"server\"]\n" + host, want: "stands beside other sources"},
		{name: "interval", flags: command.Flags{Interval: "10s"}, want: "--interval: interval \"10s\""},
		{name: "empty variable", vars: map[string]string{"GODWIT_INTERVAL": " "}, want: "GODWIT_INTERVAL is set but empty"},
		{name: "level", flags: command.Flags{LogLevel: "loud"}, want: "not debug, info, warn or error"},
		{name: "format", flags: command.Flags{LogFormat: "xml"}, want: "not text or json"},
		{name: "poll", file: "url = \"https://a.example\"\npoll = \"often\"\n" + host, want: "not update or ip"},
		{name: "prefix", file: "url = \"https://a.example\"\nprefix = \"server\"\n" + host, want: "line 2: source \"server\" of the prefix is not known"},
		{name: "length of the prefix", flags: command.Flags{Prefix: "interface br-lan/72", Host: []string{"a.example"}, URL: "https://b.example"}, want: "--prefix: source"},
		{name: "prefix without IPv6", file: "url = \"https://a.example\"\nipv6 = \"off\"\nprefix = \"delegated\"\n" + host, want: "line 3: the prefix goes with the IPv6 address of nas.example.org"},
		{name: "list for one", file: "url = [\"https://a.example\"]\n", want: "url takes one value"},
		{name: "no certificates", file: "ca-file = \"/none\"\n", want: "open /none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{}
			if c.file != "" {
				files[command.DefaultFile] = c.file
			}
			vars := map[string]string{"HOME": "/home/op"}
			for k, v := range c.vars {
				vars[k] = v
			}
			s, err := command.Load(c.flags, machine(vars, files))
			if err == nil {
				err = s.Check()
			}
			var ours *command.Error
			if !errors.As(err, &ours) || ours.Fix == "" || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "p4ssw0rd") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// registry is a server to join. It loses answers if it is told to.
type registry struct {
	mu     sync.Mutex
	code   string
	keys   map[string]ed25519.PublicKey // by credential
	next   string                       // credential of the next key
	lose   bool
	clock  time.Duration
	offers int
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	var in api.Join
	_ = json.Unmarshal(body, &in)
	refuse := func(code string, status int) {
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(api.Problem{Status: status, Code: code, Detail: "refused", Now: time.Now().Add(g.clock).Unix()})
	}
	g.offers++
	credential := "aaaaaaaa"
	switch {
	case r.URL.Path == api.JoinPath && in.Code != g.code:
		refuse("bad-proof", 401)
		return
	case strings.HasSuffix(r.URL.Path, api.KeyPath):
		m, err := signature.Parse(signature.RequestOf(r, body, ""))
		if err != nil || !m.Verify(g.keys[m.KeyID]) {
			refuse("bad-proof", 401)
			return
		}
		if m.CheckTime(time.Now().Add(g.clock)) != nil {
			refuse("clock", 401)
			return
		}
		credential = g.next
	}
	if have := g.keys[credential]; have != nil && !have.Equal(ed25519.PublicKey(in.PublicKey)) {
		refuse("bad-proof", 401)
		return
	}
	g.keys[credential] = in.PublicKey
	if g.lose {
		g.lose = false
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(api.Joined{Host: "nas.example.org", Credential: credential, Now: time.Now().Unix()})
}

func TestJoinAndRotate(t *testing.T) {
	g := &registry{code: "abcdefghijklmnop", keys: map[string]ed25519.PublicKey{}, next: "bbbbbbbb", lose: true}
	server := httptest.NewServer(g)
	defer server.Close()
	dir := t.TempDir()
	flags := command.Flags{Config: filepath.Join(dir, "etc", "agent.toml"), StateDir: filepath.Join(dir, "state")}
	load := func() *command.Settings {
		t.Helper()
		s, err := command.Load(flags, command.OS())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if _, err := command.Join(t.Context(), load(), server.URL, "ABCD-EFGH-IJKL"); err == nil || g.offers != 0 {
		t.Errorf("half a code: %v", err)
	}
	if _, err := command.Join(t.Context(), load(), server.URL, "ABCD-EFGH-IJKL-MNOP"); err == nil {
		t.Fatal("the answer got lost, and it succeeded")
	}
	joined, err := command.Join(t.Context(), load(), server.URL+"/", "abcdefghijklmnop")
	if err != nil || !joined.Added || joined.Credential != "aaaaaaaa" {
		t.Fatalf("%v, %+v", err, joined)
	}
	info, err := os.Stat(joined.KeyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info, err)
	}
	s := load()
	if len(s.Agent.Targets) != 1 || s.Agent.Targets[0].Server != server.URL || s.Agent.Targets[0].KeyFile != joined.KeyFile {
		t.Fatalf("%+v", s.Agent.Targets)
	}
	if _, err := command.Join(t.Context(), load(), server.URL, "abcdefghijklmnop"); err == nil {
		t.Error("a spent code with a new key was taken")
	}

	g.lose, g.clock = true, 400*24*time.Hour
	if _, err := command.Rotate(t.Context(), s); err == nil {
		t.Fatal("the answer got lost, and it succeeded")
	}
	if key, err := agent.ReadKey(joined.KeyFile); err != nil || key.Credential != "aaaaaaaa" {
		t.Errorf("the old key is gone: %v", err)
	}
	rotated, err := command.Rotate(t.Context(), s)
	if err != nil || len(rotated) != 1 || rotated[0].Credential != "bbbbbbbb" {
		t.Fatalf("%v, %+v", err, rotated)
	}
	key, err := agent.ReadKey(joined.KeyFile)
	if err != nil || key.Credential != "bbbbbbbb" || !g.keys["bbbbbbbb"].Equal(ed25519.PublicKey(key.Public())) {
		t.Errorf("%v, %+v", err, key)
	}
	left, err := filepath.Glob(filepath.Join(dir, "state", "keys", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("%q, %v", left, err)
	}
}

// TestOthersCanRead: a key or token that others can read is refused.
func TestOthersCanRead(t *testing.T) {
	key, err := agent.NewKey("https://a.example")
	if err != nil {
		t.Fatal(err)
	}
	path := agent.KeyPath(t.TempDir(), "https://a.example", dnsname.MustParse("nas.example.org"))
	if err := key.Write(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func() error{
		func() error { _, err := agent.ReadKey(path); return err },
		func() error { _, err := agent.ReadToken(path); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Error(err)
		}
	}
}

// FuzzFile: what is accepted is complete, and is read to the same again.
func FuzzFile(f *testing.F) {
	f.Add("url = \"https://a.example\"\nipv4 = [\"interface eth0\", \"server\"]\n[[host]]\nname = \"nas.example.org\"\n")
	f.Add("[[host]]\n[[host]]\nname = \"a.example\"\nhost = 1\n")
	f.Add("host = [{name = \"a.example\", url = \"https://a\"}]\n")
	f.Add("[[host]]\nname = \"a.example\"\n[host.x]\nname = \"b\"\n")
	f.Add("host.name = \"a\"\n[a.b.c]\nname = 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		read := func() *command.Settings {
			s, err := command.Load(command.Flags{}, machine(home, map[string]string{command.DefaultFile: text}))
			var ours *command.Error
			if err != nil && !errors.As(err, &ours) {
				t.Fatalf("%T: %v", err, err)
			}
			if err != nil {
				return nil
			}
			return s
		}
		s, again := read(), read()
		if (s == nil) != (again == nil) {
			t.Fatal("accepted once, and refused once")
		}
		if s == nil {
			return
		}
		for i, target := range s.Agent.Targets {
			if target.Host.IsZero() || target.Server == "" || (target.KeyFile == "") == (target.TokenFile == "") || target.Host != again.Agent.Targets[i].Host {
				t.Fatalf("%+v", target)
			}
		}
	})
}
