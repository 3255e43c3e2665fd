//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"godwit/internal/awstest"
)

// shellClient is clients/godwit.sh in one shell, with one program that fetches
// and one that hashes, and nothing else to fall back on.
type shellClient struct{ shell, fetcher, hash string }

var (
	shells   = []string{"dash", "ash", "bash"}
	fetchers = []string{"curl", "wget", "busybox wget"}
	hashes   = []string{"sha256sum", "shasum", "openssl"}
)

func (c shellClient) String() string { return c.shell + ", " + c.fetcher + ", " + c.hash }

// needShellClients skips where a part of the matrix is not installed.
func needShellClients(t *testing.T) {
	for _, name := range []string{"dash", "busybox", "bash", "curl", "wget", "sha256sum", "shasum", "openssl"} {
		needProgram(t, name)
	}
}

// clientTools are what the script needs beside a program to fetch and one to hash.
var clientTools = []string{"cat", "date", "grep", "ls", "mktemp", "rm", "sed", "sleep", "tr"}

// shellRun is one run of the script.
type shellRun struct {
	client shellClient
	url    string
	host   string
	secret string   // goes into a file of mode 0600
	args   []string // more of them
	env    []string // more of it
	dir    string   // for everything; empty: a new one
	script string   // empty: the one in clients
	// wrap, if not nil, gives a shell script to stand in PATH for the program at
	// that path; "": none, the program itself.
	wrap func(path string) string
}

// command prepares the run: a PATH that has just what it should.
func (r *shellRun) command(ctx context.Context, t testing.TB) *exec.Cmd {
	t.Helper()
	if r.dir == "" {
		r.dir = t.TempDir()
	}
	path := filepath.Join(r.dir, "path")
	for _, dir := range []string{path, filepath.Join(r.dir, "tmp")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, tool := range append([]string{r.client.fetcher, r.client.hash}, clientTools...) {
		program, applet, isApplet := strings.Cut(tool, " ")
		real, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		name := program
		if isApplet { // BusyBox is what it is called by
			name = applet
		}
		if r.wrap != nil {
			run := real
			if isApplet {
				run += " " + applet
			}
			if text := r.wrap(run); text != "" {
				if err := os.WriteFile(filepath.Join(path, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
					t.Fatal(err)
				}
				continue
			}
		}
		if err := os.Symlink(real, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(r.dir, "secret")
	if err := os.WriteFile(secret, []byte(r.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := r.script
	if script == "" {
		script = "../clients/godwit.sh"
	}
	shell := []string{r.client.shell}
	if r.client.shell == "ash" {
		shell = []string{"busybox", "ash"}
	}
	args := append(shell[1:], script, "-u", r.url, "-n", r.host, "-s", secret)
	cmd := exec.CommandContext(ctx, shell[0], append(args, r.args...)...)
	cmd.Env = append([]string{"PATH=" + path, "TMPDIR=" + filepath.Join(r.dir, "tmp"), "HOME=" + r.dir}, r.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs the script to its end, after which nothing of it must be left.
func (r shellRun) run(t testing.TB) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := r.command(ctx, t)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s", r.client, err, &stderr)
	}
	if left, err := os.ReadDir(filepath.Join(r.dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("%s leaves %v (%v)", r.client, left, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// want compares how a run ended, and what it said on either stream.
func (r result) want(t testing.TB, code int, text string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stdout+r.stderr, text) || code == 0 && r.stderr != "" {
		t.Errorf("exit %d, want %d and %q; it says:\n%s%s", r.code, code, text, r.stdout, r.stderr)
	}
}

// seedServer answers as the seed does, and tells set which addresses it is told
// with the right hash.
func seedServer(secret string, set func(address string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, _, _ := net.SplitHostPort(r.RemoteAddr)
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		host := regexp.MustCompile(`"ddns_hostname":"([^"]*)"`).FindSubmatch(body)
		switch {
		case bytes.Contains(body, []byte(`"get"`)):
			fmt.Fprint(w, done(address))
		case host != nil && bytes.Contains(body, []byte(seedHash(address, string(host[1]), secret))):
			set(address)
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, hasBeenSet(string(host[1]), address))
		default:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, badHash)
		}
	})
}

// functionURL is a Function URL before a function: requests over HTTP become
// events, as if they came from source.
func functionURL(t testing.TB, f *awstest.Function, source string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		header := map[string]string{}
		for name := range r.Header {
			header[strings.ToLower(name)] = r.Header.Get(name)
		}
		event := awstest.URLRequest{
			Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Source: source, Body: string(body),
			// The platform knows few kinds that are text, and JSON is one.
			Encoded: header["content-type"] != "application/json", Header: header,
		}.Event()
		data, err := tell(f, event)
		if err != nil {
			http.Error(w, "Internal Server Error", http.StatusBadGateway)
			return
		}
		a, err := awstest.ParseURLAnswer(data)
		if err != nil {
			t.Error(err)
		}
		for name, value := range a.Headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.StatusCode)
		_, _ = io.WriteString(w, a.Body)
	})
}
