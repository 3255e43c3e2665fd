package main

import (
	"os/exec"
	"strings"
	"testing"
)

// A function that cannot start says why in one line of its log.
func TestCannotStart(t *testing.T) {
	bad := least()
	bad["AWS_ENDPOINT_URL"] = "ftp://127.0.0.1"
	for want, env := range map[string]map[string]string{
		"GODWIT_TABLE: it is not set":          {"AWS_SECRET_ACCESS_KEY": "hidden"},
		"is not scheme and host, such as http": bad,
	} {
		var log strings.Builder
		if _, err := start(environ(env), &log); err == nil {
			t.Errorf("%v: it started", env)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, want) || strings.Contains(text, "hidden") {
			t.Errorf("the log says %s", text)
		}
	}
}

func TestStart(t *testing.T) {
	for _, mode := range []string{"direct", "stream"} {
		env := least()
		env["GODWIT_MODE"], env["GODWIT_TABEL"] = mode, "x"
		var log strings.Builder
		server, err := start(environ(env), &log)
		if err != nil {
			t.Fatal(err)
		}
		if got := server.Publish != nil; got != (mode == "stream") {
			t.Errorf("%s: it takes a stream's records: %t", mode, got)
		}
		if !strings.Contains(log.String(), "GODWIT_TABEL means nothing") {
			t.Errorf("the log says %s", log.String())
		}
	}
}

// What would make the function larger and slower to start is not linked, by
// whatever way it might come in.
func TestLinks(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-tags", "lambda.norpc", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for pkg := range strings.Lines(string(out)) {
		pkg = strings.TrimSpace(pkg)
		for _, banned := range []string{
			"html/template", "text/template", "net/rpc", "encoding/gob", "database/sql", "testing", "modernc.org/", "codeberg.org/",
			"github.com/aws/aws-sdk-go-v2/service/", "github.com/aws/aws-sdk-go-v2/config", "github.com/alecthomas/",
		} {
			if pkg == banned || strings.HasSuffix(banned, "/") && strings.HasPrefix(pkg, banned) {
				t.Errorf("the function links %s", pkg)
			}
		}
	}
}

// What bench/lambda.sh builds is built here too.
func TestTimedBuilds(t *testing.T) {
	if out, err := exec.Command("go", "vet", "-tags", "timed", ".").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
