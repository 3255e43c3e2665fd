package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/api"
)

// TestJSON shows the JSON documents of all commands that make one, one after
// the other on a server.
func TestJSON(t *testing.T) {
	d, target := start(t)
	t.Setenv("GODWIT_TARGET", target)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	seed := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(seed, []byte(`{"old.dyn.example.com": {"route_53_zone_id": "Z1", "route_53_record_ttl": 60, "shared_secret": "shared_secret_1"},
		"old.example.net": {"route_53_record_ttl": 60, "shared_secret": "shared_secret_2"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	show := func(want int, args ...string) string {
		r := call("", append(args, "--json")...)
		if r.code != want {
			t.Fatalf("godwit %s: %+v", strings.Join(args, " "), r)
		}
		if !json.Valid([]byte(r.stdout)) {
			t.Errorf("godwit %s: not one JSON document: %s", strings.Join(args, " "), r.stdout)
		}
		if strings.Contains(r.stdout, "null") {
			t.Errorf("godwit %s: a list is null: %s", strings.Join(args, " "), r.stdout)
		}
		line := strings.NewReplacer(secret, "FILE", seed, "config.json", d.url, "URL").Replace(strings.Join(args, " "))
		line = regexp.MustCompile(`(token (?:rotate|revoke) \S+) [a-z2-7]{8}\b`).ReplaceAllString(line, "$1 CREDENTIAL")
		all.WriteString("$ godwit " + line + " --json\n" + steady(r.stdout))
		return r.stdout
	}
	show(0, "host", "list")
	show(0, "host", "add", "NAS.dyn.example.com.", "--addresses", "any")
	show(0, "host", "add", "cam.dyn.example.com", "--secret-file", secret, "--ttl", "300", "--addresses", "any", "--wildcard", "--lease", "72h",
		"--follower", "tv.dyn.example.com=02:00:5e:10:00:00,a")
	show(0, "set", "--url", d.url, "--host", "cam.dyn.example.com", "--secret-file", secret)
	show(0, "set", "--url", d.url, "--host", "cam.dyn.example.com", "--secret-file", secret)
	show(0, "get", "--url", d.url)
	show(0, "host", "show", "cam.dyn.example.com")
	show(0, "host", "history", "cam.dyn.example.com")
	show(0, "host", "list")
	show(0, "host", "set", "nas.dyn.example.com", "--suspended", "--source", "free")
	show(0, "host", "rotate", "nas.dyn.example.com", "--seed=off")
	var token api.Created
	if err := json.Unmarshal([]byte(show(0, "host", "token", "add", "nas.dyn.example.com", "--label", "router", "--types", "A,AAAA", "--networks", "192.0.2.0/24,2001:db8::1")), &token); err != nil {
		t.Fatal(err)
	}
	show(0, "host", "token", "rotate", "nas.dyn.example.com", token.Credential, "--overlap", "24h")
	show(0, "host", "token", "revoke", "nas.dyn.example.com", token.Credential)
	show(0, "host", "token", "list", "nas.dyn.example.com")
	var code api.Created
	if err := json.Unmarshal([]byte(show(0, "host", "add", "pi.dyn.example.com", "--join", "--addresses", "any")), &code); err != nil {
		t.Fatal(err)
	}
	show(0, "host", "token", "add", "pi.dyn.example.com", "--join", "--label", "spare")
	show(0, "host", "token", "rotate", "pi.dyn.example.com", code.Credential, "--overlap", "1h")
	show(0, "host", "rotate", "pi.dyn.example.com", "--join")
	show(0, "host", "show", "pi.dyn.example.com")
	show(1, "host", "import", seed)
	show(0, "host", "export", "--host", "nas.dyn.example.com")
	show(0, "host", "remove", "nas.dyn.example.com", "--yes")
	show(0, "zone", "list")
	show(0, "check")
	golden(t, "json.golden", all.String())
}

// TestText shows what a person reads.
func TestText(t *testing.T) {
	d, target := start(t, "--zone=dyn.example.com", "--zone=lan.example.com", "--ns=ns1.dyn.example.com=192.0.2.1,2001:db8::1", "--ns=ns2.example.net")
	t.Setenv("GODWIT_TARGET", target)
	var all strings.Builder
	show := func(want int, args ...string) {
		t.Helper()
		r := call("", args...)
		if r.code != want {
			t.Fatalf("godwit %s: %+v", strings.Join(args, " "), r)
		}
		text := strings.NewReplacer(d.url, "http://127.0.0.1:PORT", target, "local:DIR", strings.TrimPrefix(target, "local:"), "DIR").Replace(r.stdout + r.stderr)
		text = regexp.MustCompile(`(?m)^[a-z2-7]{8}  `).ReplaceAllString(text, "CREDENT.  ")
		text = regexp.MustCompile(`\b\d{10}\b`).ReplaceAllString(text, "SERIAL....")
		text = regexp.MustCompile(`( +changed +seed +127.0.0.1 +)[a-z2-7]{8}`).ReplaceAllString(steady(text), "${1}CREDENT.")
		text = regexp.MustCompile(`by [a-z2-7]{8}\b`).ReplaceAllString(text, "by CREDENT.")
		text = regexp.MustCompile(`(token|Key) [a-z2-7]{8} of`).ReplaceAllString(text, "$1 CREDENT. of")
		all.WriteString("$ godwit " + strings.NewReplacer(d.url, "URL").Replace(strings.Join(args, " ")) + "\n" + text)
	}
	show(0, "host", "list")
	show(0, "host", "add", "nas.dyn.example.com", "--addresses", "any")
	show(1, "host", "add", "nas.dyn.example.com")
	show(1, "host", "add", "nas.example.org")
	show(1, "host", "add", "ns1.dyn.example.com")
	show(0, "host", "add", "*.lan.example.com", "--seed=off")
	show(0, "host", "add", "pi.dyn.example.com", "--join")
	show(2, "host", "add", "pi.dyn.example.com", "--join", "--seed=on")
	show(2, "host", "rotate", "pi.dyn.example.com", "--join", "--seed=on")
	show(2, "host", "token", "add", "pi.dyn.example.com", "--join", "--expires", "90d")
	show(0, "host", "rotate", "pi.dyn.example.com", "--join")
	show(0, "host", "token", "add", "pi.dyn.example.com", "--join")
	r := call("wrong\n", "set", "--url", d.url, "--host", "nas.dyn.example.com", "--secret-file", "-")
	if r.code != exitFailed || !strings.Contains(r.stderr, "check the host name and the secret") {
		t.Errorf("wrong secret: %+v", r)
	}
	r = call("correct horse battery\n", "host", "rotate", "nas.dyn.example.com", "--secret-file", "-")
	if r.code != exitDone || strings.Contains(r.stdout+r.stderr, "correct horse") {
		t.Fatalf("rotate: %+v", r)
	}
	t.Setenv("GODWIT_SECRET", "correct horse battery")
	show(0, "set", "--url", d.url, "--host", "nas.dyn.example.com")
	show(0, "set", "--url", d.url, "--host", "nas.dyn.example.com")
	show(0, "get", "--url", d.url)
	show(0, "host", "show", "nas.dyn.example.com")
	show(0, "host", "history", "nas.dyn.example.com")
	show(0, "host", "set", "nas.dyn.example.com", "--suspended")
	show(0, "host", "list")
	show(0, "host", "token", "add", "nas.dyn.example.com", "--label", "router", "--rate", "3")
	show(0, "host", "token", "list", "nas.dyn.example.com")
	show(2, "host", "remove", "nas.dyn.example.com")
	show(0, "host", "remove", "nas.dyn.example.com", "--yes")
	show(1, "host", "show", "nas.dyn.example.com")
	show(0, "zone", "list")
	show(0, "check")
	golden(t, "text.golden", all.String())
}

// needProgram skips a test that runs a program which is not here; with CI=true
// that is a failure.
func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// TestPrintedCommands runs what `host add` prints, as a person would paste it.
func TestPrintedCommands(t *testing.T) {
	for _, tool := range []string{"sh", "curl", "sha256sum"} {
		needProgram(t, tool)
	}
	_, target := start(t)
	out := must(t, "host", "add", "nas.dyn.example.com", "--addresses", "any", "--target", target)
	var script []string
	for line := range strings.Lines(out) {
		for _, begin := range []string{"  (umask", "  IP=", "  HASH=", "  curl"} {
			if strings.HasPrefix(line, begin) {
				script = append(script, line)
			}
		}
	}
	if len(script) != 4 {
		t.Fatalf("found %d commands to paste in\n%s", len(script), out)
	}
	token := regexp.MustCompile(`[a-z2-7]{8}-[a-z2-7]{26}`).FindString(out)
	if strings.Count(out, token) != 1 {
		t.Errorf("the token is shown more than once:\n%s", out)
	}
	dir := t.TempDir()
	paste := func(lines []string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Join(lines, ""))
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(token+"\n")
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return string(text)
	}
	if got := paste(script); !strings.Contains(got, "nas.dyn.example.com. has been set to 127.0.0.1") {
		t.Errorf("first time: %s", got)
	}
	if got := paste(script[1:]); !strings.Contains(got, "matches the current") {
		t.Errorf("second time: %s", got)
	}
	info, err := os.Stat(filepath.Join(dir, "nas.dyn.example.com.secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file is %v, %v", info, err)
	}
}

func TestImportAndExport(t *testing.T) {
	_, target := start(t)
	t.Setenv("GODWIT_TARGET", target)
	dir := t.TempDir()
	must(t, "host", "add", "nas.dyn.example.com", "--ttl", "300")
	file := filepath.Join(dir, "hosts.json")
	must(t, "host", "export", "--with-secrets", "-o", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the export is %v, %v", info, err)
	}
	if r := call("", "host", "export", "-o", file); r.code != exitFailed || !strings.Contains(r.stderr, "is there already") {
		t.Errorf("an export over a file: %+v", r)
	}
	must(t, "host", "remove", "nas.dyn.example.com", "--yes")
	if out := must(t, "host", "import", file, "--addresses", "192.168.0.0/16"); out != "1 host added, 0 skipped.\n" {
		t.Errorf("import: %s", out)
	}
	if out := must(t, "host", "show", "nas.dyn.example.com"); !strings.Contains(out, "192.168.0.0/16") || !strings.Contains(out, "300") {
		t.Errorf("imported: %s", out)
	}
	r := call(`{"shared_secret": "from-the-seed's-table", "route_53_record_ttl": "120"}`, "host", "import", "-", "--host", "row.dyn.example.com")
	if r.code != exitDone || r.stdout != "1 host added, 0 skipped.\n" {
		t.Errorf("row: %+v", r)
	}
	r = call("", "host", "import", file)
	if r.code != exitFailed || !strings.Contains(r.stderr, "skipped nas.dyn.example.com: ") || r.stdout != "0 hosts added, 1 skipped.\n" {
		t.Errorf("import again: %+v", r)
	}
	if r := call("not JSON", "host", "import", "-"); r.code != exitFailed || !strings.Contains(r.stderr, "give a file of") {
		t.Errorf("not JSON: %+v", r)
	}
}

func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	file, file2 := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	var target string
	var key []byte
	t.Run("while the server runs", func(t *testing.T) {
		_, target = start(t)
		must(t, "host", "add", "nas.dyn.example.com", "--target", target)
		r := call("", "backup", file, "--target", target)
		if r.code != exitDone || !strings.Contains(r.stderr, "The sealing key is left out") || !strings.Contains(r.stderr, "seal.key") {
			t.Errorf("backup: %+v", r)
		}
		if r := call("", "backup", file, "--target", target); r.code != exitFailed {
			t.Errorf("backup over a file: %+v", r)
		}
		if r := call("", "restore", file, "--target", target); r.code != exitFailed || !strings.Contains(r.stderr, "holds a store already") {
			t.Errorf("restore onto a server: %+v", r)
		}
		var err error
		if key, err = os.ReadFile(filepath.Join(strings.TrimPrefix(target, "local:"), sealingKey)); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(filepath.Join(strings.TrimPrefix(target, "local:"), leftover)); len(left) > 0 {
			t.Errorf("the backup left %v behind", left)
		}
	})
	alone(t)
	restored := filepath.Join(shortDir(t), "r")
	r := call("", "restore", file, "--target", "local:"+restored)
	if r.code != exitDone || !strings.Contains(r.stderr, "The sealing key is not there") {
		t.Fatalf("restore: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(restored, sealingKey), key, 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "backup", file2, "--target", "local:"+restored)
	if got := must(t, "check", "--target", "local:"+restored); got != "The store is sound.\n" {
		t.Errorf("check said %q", got)
	}
	if info, err := os.Stat(file2); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", info, err)
	}
}

// TestRemoteAdmin speaks to the admin API over TCP with a token.
func TestRemoteAdmin(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, _ := start(t, "--admin=127.0.0.1:0", "--admin-token-file="+token)
	target := "http://" + d.bound.Admin[0]
	must(t, "host", "add", "nas.dyn.example.com", "--target", target, "--admin-token-file", token)
	if err := os.WriteFile(token, []byte("wrong-wrong-wrong-wrong-wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := call("", "host", "list", "--target", target, "--admin-token-file", token); r.code != exitFailed || r.stdout != "" {
		t.Errorf("a wrong token: %+v", r)
	}
	// Nothing of it on the public listener.
	r, err := http.Get("http://" + d.bound.HTTP[0] + api.AdminPath + "/hosts")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if r.StatusCode != http.StatusNotFound {
		t.Errorf("the public listener answers admin requests with %s", r.Status)
	}
}

func TestSpans(t *testing.T) {
	for text, want := range map[string]time.Duration{"off": 0, "30d": 720 * time.Hour, "72h": 72 * time.Hour, "90m": 90 * time.Minute} {
		if got, err := parseSpan(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1h", "d", "-1d", "1w", "99999999d"} {
		if got, err := parseSpan(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
	for d, want := range map[time.Duration]string{72 * time.Hour: "3d", 90 * time.Minute: "1h30m", 13 * time.Hour: "13h", 45 * time.Second: "45s"} {
		if got := span(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

// TestDelegation: an address that the world cannot reach is not left without a word.
func TestDelegation(t *testing.T) {
	for _, c := range []struct {
		server string
		want   []string
	}{
		{"ns.dyn.example.com=192.0.2.53,2001:db8::53", []string{
			"dyn.example.com. 3600 IN NS ns.dyn.example.com.", "ns.dyn.example.com. 3600 IN A 192.0.2.53", "ns.dyn.example.com. 3600 IN AAAA 2001:db8::53"}},
		{"ns.dyn.example.com=127.0.0.1", []string{
			"dyn.example.com. 3600 IN NS ns.dyn.example.com.",
			"; 127.0.0.1 is not reached from the internet: for that start the server with --dns and --ns ns.dyn.example.com=ADDRESS",
			"ns.dyn.example.com. 3600 IN A 127.0.0.1"}},
		{"ns.example.net=192.0.2.53", []string{"dyn.example.com. 3600 IN NS ns.example.net."}},
		{"ns.dyn.example.com", []string{
			"dyn.example.com. 3600 IN NS ns.dyn.example.com.", "; ns.dyn.example.com. has no address here: start the server with --ns ns.dyn.example.com=ADDRESS"}},
	} {
		if got := delegation("dyn.example.com", []string{c.server}); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.server, got, c.want)
		}
	}
}
