package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"godwit/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// alone takes the tester's own settings out of the environment.
func alone(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if key, _, _ := strings.Cut(kv, "="); strings.HasPrefix(key, "GODWIT_") {
			t.Setenv(key, "") // so that it is put back
			os.Unsetenv(key)
		}
	}
	t.Setenv("COLUMNS", "")
	t.Setenv("STATE_DIRECTORY", filepath.Join(t.TempDir(), "state"))
}

// result of one call of the program.
type result struct {
	code           int
	stdout, stderr string
}

// call runs the program in this process. Its clock is an hour and a half ahead
// of the server's, so that all that has just happened is "1h ago".
func call(stdin string, args ...string) result {
	var stdout, stderr bytes.Buffer
	a := &app{ctx: context.Background(), stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr, env: config.OSEnvironment(),
		now: func() time.Time { return time.Now().Add(90 * time.Minute) }}
	code := a.run(args)
	return result{code, stdout.String(), stderr.String()}
}

// must is call for what has to work.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := call("", args...)
	if r.code != exitDone {
		t.Fatalf("godwit %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// start runs a server on free ports until the test ends. It returns the daemon
// and the target that commands speak to.
func start(t *testing.T, args ...string) (*daemon, string) {
	t.Helper()
	alone(t)
	dir := filepath.Join(shortDir(t), "d")
	flags := []string{"--data", dir, "--http", "127.0.0.1:0", "--config", os.DevNull}
	for _, usual := range []string{"--zone=dyn.example.com", "--dns=127.0.0.1:0"} {
		flag, _, _ := strings.Cut(usual, "=")
		if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, flag+"=") }) {
			flags = append(flags, usual)
		}
	}
	d, err := openWith(t, append(flags, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := d.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d, "local:" + dir
}

// shortDir is a directory whose path a socket's may begin with: the names of
// tests make t.TempDir too long.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func openWith(t *testing.T, args ...string) (*daemon, error) {
	t.Helper()
	var flags config.Flags
	parser, err := kong.New(&flags)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	settings, err := config.LoadServe(flags, config.OSEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	return open(t.Context(), settings, newLogger(io.Discard, settings.LogLevel, false))
}

// golden compares text with a file of testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := 0
	for g, w := got, string(want); g != w; line++ {
		var gotLine, wantLine string
		gotLine, g, _ = strings.Cut(g, "\n")
		wantLine, w, _ = strings.Cut(w, "\n")
		if gotLine != wantLine {
			t.Errorf("%s line %d: got\n%s\nwant\n%s\ngo test -update rewrites the file", path, line+1, gotLine, wantLine)
			return
		}
	}
}

var changing = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`\b[a-z2-7]{8}-[a-z2-7]{26}\b`), "TOKEN"},
	{regexp.MustCompile(`\b[a-z2-7]{4}(-[a-z2-7]{4}){3}\b`), "JOIN-CODE"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d+)?(Z?)`), "2026-01-02${1}03:04:05$3"},
	{regexp.MustCompile(`"(id|credential|changed_by)": "[a-z2-7]{8}"`), `"$1": "CREDENTIAL"`},
	{regexp.MustCompile(`127\.0\.0\.1:\d{4,5}`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`"serial": \d+`), `"serial": SERIAL`},
	{regexp.MustCompile(`"verifier": *"[^"]+"`), `"verifier":"HASH"`},
	{regexp.MustCompile(`"id":"[a-z2-7]{8}"`), `"id":"CREDENTIAL"`},
}

// steady takes out of a text what is another one each time.
func steady(text string) string {
	for _, c := range changing {
		text = c.pattern.ReplaceAllString(text, c.word)
	}
	return text
}

// leaves calls do for each command that does something.
func leaves(node *kong.Node, do func(*kong.Node)) {
	if len(node.Children) == 0 {
		do(node)
	}
	for _, child := range node.Children {
		leaves(child, do)
	}
}

func model(t *testing.T) *kong.Application {
	t.Helper()
	parser, err := kong.New(&commands{}, kong.Name("godwit"), kong.Vars{"run_socket": runSocket})
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model
}

func TestHelp(t *testing.T) {
	alone(t)
	var all strings.Builder
	all.WriteString(must(t, "--help"))
	leaves(model(t).Node, func(n *kong.Node) {
		words := strings.Fields(n.Path())
		text := must(t, append(words, "--help")...)
		if !strings.Contains(text, "Example") {
			t.Errorf("godwit %s --help has no example", n.Path())
		}
		all.WriteString("\n# godwit " + n.Path() + "\n" + text)
		if again := must(t, append([]string{"help"}, words...)...); again != text {
			t.Errorf("godwit help %s says something else than --help", n.Path())
		}
	})
	golden(t, "help.golden", all.String())
}

// TestNoSecretInArguments: every user of a machine can read arguments. Flags
// about secrets name files, and nothing else is called like one.
func TestNoSecretInArguments(t *testing.T) {
	leaves(model(t).Node, func(n *kong.Node) {
		for _, group := range n.AllFlags(false) {
			for _, f := range group {
				about := strings.Contains(f.Name, "secret") || strings.Contains(f.Name, "token") || strings.Contains(f.Name, "password")
				if about && !f.IsBool() && (!strings.HasSuffix(f.Name, "-file") || f.PlaceHolder != "FILE") {
					t.Errorf("godwit %s --%s takes a secret in its arguments", n.Path(), f.Name)
				}
			}
		}
	})
	// A whole token where its ID is meant is not repeated.
	const token = "k7m2qx4p-abcdefghijklmnopqrstuvwxyz"
	r := call("", "host", "token", "revoke", "nas.dyn.example.com", token, "--target", "local:/nowhere")
	if r.code != exitUsage || strings.Contains(r.stdout+r.stderr, token) {
		t.Errorf("got %+v, want exit 2 without the token", r)
	}
}

func TestUsageErrors(t *testing.T) {
	alone(t)
	for _, c := range []struct {
		args string
		want string // in stderr
	}{
		{"", "Usage: godwit"},
		{"fly", "unexpected argument fly"},
		{"host", "expected one of"},
		{"serve --zonee=a", "unknown flag --zonee, did you mean \"--zone\""},
		{"serve", "--zone: a zone is needed"},
		{"serve --zone=dyn.example.com --data=a --data=b", "--data is given twice"},
		{"serve --zone=dyn.example.com --http=80", "is not an IP address with a port; give it as in --http 0.0.0.0:80"},
		{"host add", "expected \"<name>\""},
		{"host add nas..example.com", "empty label"},
		{"host add nas.dyn.example.com --ttl=0", "--ttl 0 is not 1 to 86400 seconds; give --ttl 60"},
		{"host add nas.dyn.example.com --ttl=soon", "--ttl"},
		{"host add nas.dyn.example.com --addresses=lan", "give public, any, or CIDR blocks"},
		{"host add nas.dyn.example.com --addresses=", "give public, any, or CIDR blocks"},
		{"host add nas.dyn.example.com --source=any", "give match or free"},
		{"host add nas.dyn.example.com --seed=maybe", "maybe is neither on nor off"},
		{"host add nas.dyn.example.com --lease=long", "give a time such as 72h or 30d, or off"},
		{"host add nas.dyn.example.com --follower=tv", "give NAME=ID"},
		{"host add nas.dyn.example.com --follower=tv.dyn.example.com=192.0.2.1", "is not an interface ID"},
		{"host add nas.dyn.example.com --target=ftp:a", "target"},
		{"host add nas.dyn.example.com --target=https://ddns.example.com", "add --admin-token-file FILE"},
		{"host list --target=local:/nowhere --admin-token-file=f", "--admin-token-file is for a target with https"},
		{"host set nas.dyn.example.com", "nothing is to be changed"},
		{"host token add nas.dyn.example.com --networks=192.0.2.1/24", "is not a CIDR block"},
		{"host token add nas.dyn.example.com --expires=2001-01-01", "has passed"},
		{"host token add nas.dyn.example.com --types=MX", "--types"},
		{"get", "--url"},
		{"set --url=http://127.0.0.1 --host=nas.dyn.example.com", "the host's secret is needed; add --secret-file FILE"},
		{"get --url=http://127.0.0.1 -4 -6", "exclude each other"},
		{"get --url=ddns.example.com", "write it as https://ddns.example.com"},
		{"set --url=ftp://ddns.example.com --host=nas.dyn.example.com --secret-file=/dev/null", "write it as https://ddns.example.com"},
		{"restore f --target=https://ddns.example.com", "name it: --target local:DIR"},
		{"version now", "unexpected argument now"},
	} {
		r := call("", strings.Fields(c.args)...)
		if r.code != exitUsage {
			t.Errorf("godwit %s: exit %d, want 2", c.args, r.code)
		}
		if r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("godwit %s: got %q on stdout, %q on stderr; want nothing, and %q", c.args, r.stdout, r.stderr, c.want)
		}
		if c.args != "" && !strings.Contains(r.stderr, "\nFor help run: godwit") {
			t.Errorf("godwit %s: the message does not end in what to do: %q", c.args, r.stderr)
		}
	}
}

// TestFailures: what was called rightly and cannot be done exits 1, and says
// what to do.
func TestFailures(t *testing.T) {
	alone(t)
	empty := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"host", "list", "--target", "local:" + empty}, "start it: godwit serve --zone dyn.example.com --data " + empty},
		{[]string{"host", "list"}, "start it: godwit serve"},
		{[]string{"check", "--target", "local:" + empty}, "there is no store in " + empty},
		{[]string{"backup", filepath.Join(empty, "b.db"), "--target", "local:" + empty}, "there is no store in " + empty},
		{[]string{"restore", filepath.Join(empty, "b.db"), "--target", "local:" + empty}, "no such file"},
		{[]string{"host", "import", filepath.Join(empty, "none"), "--target", "local:" + empty}, "name a file that can be read"},
		{[]string{"host", "import", empty, "--target", "local:" + empty}, "name a file that can be read"},
		{[]string{"set", "--url", "http://127.0.0.1:1", "--host", "nas.dyn.example.com", "--secret-file", empty}, "give a file that holds the secret"},
		{[]string{"get", "--url", "http://127.0.0.1:1"}, "check the URL and that the server runs"},
		{[]string{"set", "--url", "http://127.0.0.1:1", "--host", "nas.dyn.example.com", "--secret-file", filepath.Join(empty, "none")}, "give a file that holds the secret"},
	} {
		r := call("", c.args...)
		if r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("godwit %s: got %+v; want exit 1 and %q", strings.Join(c.args, " "), r, c.want)
		}
	}
	entries, err := os.ReadDir(empty)
	if err != nil || len(entries) > 0 {
		t.Errorf("commands that failed left %v behind, %v", entries, err)
	}
}

func TestFlagBeatsEnvironment(t *testing.T) {
	alone(t)
	t.Setenv("GODWIT_TARGET", "local:/from-environment")
	if r := call("", "host", "list"); !strings.Contains(r.stderr, "/from-environment") {
		t.Errorf("the environment was not used: %s", r.stderr)
	}
	if r := call("", "host", "list", "--target", "local:/from-flag"); !strings.Contains(r.stderr, "/from-flag") {
		t.Errorf("the flag does not beat the environment: %s", r.stderr)
	}
}

func TestVersion(t *testing.T) {
	alone(t)
	if got := must(t, "version"); !regexp.MustCompile(`^godwit \S+.* go1\.\S+ \w+/\w+\n$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	if got := must(t, "version", "--json"); !strings.HasPrefix(got, "{\n  \"version\": \"") {
		t.Errorf("got %q", got)
	}
}

// fullDisk takes so many octets, and then no more.
type fullDisk struct{ room int }

func (f *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	if f.room -= n; n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

// TestResultIsWritten: a result that could not be written is no success, least
// of all one that is shown once.
func TestResultIsWritten(t *testing.T) {
	_, target := start(t)
	must(t, "host", "add", "nas.dyn.example.com", "--target", target)
	for _, command := range []string{"version", "version --json", "host list", "host list --json", "host show nas.dyn.example.com", "host add new.dyn.example.com",
		"host token add nas.dyn.example.com", "host rotate nas.dyn.example.com --json", "host export", "zone list", "check", "help"} {
		for _, room := range []int{0, 5} {
			args := strings.Fields(strings.Replace(command, "new", fmt.Sprintf("new%d", room), 1))
			if len(args) > 1 && args[0] != "version" || command == "check" {
				args = append(args, "--target", target)
			}
			var stderr bytes.Buffer
			a := &app{ctx: t.Context(), stdin: strings.NewReader(""), stdout: &fullDisk{room}, stderr: &stderr, env: config.OSEnvironment(), now: time.Now}
			if code := a.run(args); code != exitFailed || !strings.Contains(stderr.String(), "no space left") {
				t.Errorf("godwit %s: exit %d, %q", command, code, stderr.String())
			}
		}
	}
}
