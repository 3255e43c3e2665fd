package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"godwit/internal/config"
)

// TestSetupTexts shows what a person reads.
func TestSetupTexts(t *testing.T) {
	_, target := start(t, "--url=https://ddns.example.com")
	t.Setenv("GODWIT_TARGET", target)
	must(t, "host", "add", "nas.dyn.example.com")
	var all strings.Builder
	show := func(want int, args ...string) {
		t.Helper()
		r := call("", args...)
		if r.code != want {
			t.Fatalf("godwit %s: %+v", strings.Join(args, " "), r)
		}
		text := strings.ReplaceAll(r.stdout+r.stderr, target, "local:DIR")
		all.WriteString("$ godwit " + strings.Join(args, " ") + "\n" + text + "\n")
	}
	show(0, "host", "setup", "nas.dyn.example.com")
	for _, known := range setupClients() {
		show(0, "host", "setup", "nas.dyn.example.com", "--for", known.name)
	}
	show(2, "host", "setup", "nas.dyn.example.com", "--for", "toaster")
	show(2, "host", "setup", "nas.dyn.example.com", "--for", "shell", "--new-token")
	show(2, "host", "setup", "nas.dyn.example.com", "--new-token")
	show(2, "host", "setup", "nas.dyn.example.com", "--for", "curl", "--new-token", "--wait", "--json")
	show(1, "host", "setup", "other.dyn.example.com", "--for", "curl")
	// The daemon of the test has a free port.
	port := regexp.MustCompile(`(server ddns\.example\.com |dns_rfc2136_port = |NAMESERVER=ddns\.example\.com:)[0-9]+`)
	golden(t, "setup.golden", port.ReplaceAllString(all.String(), "${1}53"))
}

// A token that a set-up makes is good for what that client needs, and no more.
func TestSetupToken(t *testing.T) {
	_, target := start(t)
	t.Setenv("GODWIT_TARGET", target)
	must(t, "host", "add", "nas.dyn.example.com")
	for name, want := range map[string][2]string{
		"duckdns": {"true", "A AAAA"}, "fritzbox": {"false", "A AAAA prefix"}, "curl": {"false", "A AAAA"},
	} {
		must(t, "host", "setup", "nas.dyn.example.com", "--for", name, "--new-token")
		var tokens []struct {
			Label string
			Types []string
			URL   bool `json:"url_token"`
		}
		if err := json.Unmarshal([]byte(must(t, "host", "token", "list", "nas.dyn.example.com", "--json")), &tokens); err != nil {
			t.Fatal(err)
		}
		got := tokens[len(tokens)-1]
		for _, token := range tokens {
			if token.Label == name {
				got = token
			}
		}
		if got.Label != name || got.URL != (want[0] == "true") || strings.Join(got.Types, " ") != want[1] {
			t.Errorf("for %s: %+v", name, got)
		}
	}
	out := must(t, "host", "setup", "nas.dyn.example.com", "--for", "agent", "--new-token")
	if !regexp.MustCompile(`godwit agent join http://127\.0\.0\.1:\d+ [a-z2-7]{4}(-[a-z2-7]{4}){3}\n`).MatchString(out) {
		t.Errorf("for the agent:\n%s", out)
	}
	if !strings.Contains(out, " is for this machine alone.") {
		t.Errorf("of a server that no other machine reaches:\n%s", out)
	}
}

// waiter is a call of the program that waits.
type waiter struct {
	lines  chan string // of standard error
	result chan result
	cancel context.CancelFunc
}

// startWait returns when the program has begun to wait.
func startWait(t *testing.T, args ...string) *waiter {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	out := &waiter{make(chan string, 100), make(chan result, 1), cancel}
	var stdout bytes.Buffer
	a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: &stdout, stderr: w, env: config.OSEnvironment(), now: time.Now}
	go func() {
		code := a.run(args)
		_ = w.Close()
		out.result <- result{code: code, stdout: stdout.String()}
	}()
	begun := make(chan struct{})
	go func() {
		defer close(out.lines)
		var text strings.Builder
		room := make([]byte, 4096)
		for {
			n, err := r.Read(room)
			text.Write(room[:n])
			for {
				line, rest, ok := strings.Cut(text.String(), "\n")
				if !ok {
					break
				}
				text.Reset()
				text.WriteString(rest)
				if strings.HasPrefix(line, "Waiting for") {
					close(begun)
				}
				out.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(cancel)
	select {
	case <-begun:
	case r := <-out.result:
		t.Fatalf("it did not wait: %+v", r)
	}
	return out
}

// end is what came of it, with all that it said.
func (w *waiter) end() result {
	r := <-w.result
	for line := range w.lines {
		r.stderr += line + "\n"
	}
	return r
}

// TestSetupWait explains what arrives.
func TestSetupWait(t *testing.T) {
	d, target := start(t)
	t.Setenv("GODWIT_TARGET", target)
	const name = "nas.dyn.example.com"
	token := regexp.MustCompile(`[a-z2-7]{8}-[a-z2-7]{26}`)
	secret := token.FindString(must(t, "host", "add", name))
	put := func(host, auth, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, d.url+"/v1/hosts/"+host+"/addresses", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+auth)
		req.Header.Set("User-Agent", "router/1.0")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	}
	get := func(query, password string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/nic/update?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth(name, password)
		}
		req.Header.Set("User-Agent", "router/1.0")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	}
	const wrong = "aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa"
	put(name, wrong, "{}") // before: it is not waited for

	for _, c := range []struct {
		name             string
		send             func()
		code             int
		outcome, says    string
		saidOnTheWay     string
		before, thenAway []string // settings of the host
	}{
		{name: "wrong token", send: func() { put(name, wrong, "{}") }, code: 1, outcome: "bad-proof", says: "8 characters, a hyphen, 26 more"},
		{name: "private address", send: func() { put(name, secret, "{}") }, code: 1, outcome: "address-not-allowed", says: "godwit host set " + name + " --addresses any"},
		{name: "another's address", send: func() { put(name, secret, `{"a":["192.0.2.1"]}`) }, code: 1, outcome: "not-source", says: "godwit host set " + name + " --source free"},
		{name: "suspended", before: []string{"--suspended"}, thenAway: []string{"--suspended=off"}, send: func() { put(name, secret, "{}") }, code: 1, outcome: "suspended", says: "--suspended=off"},
		{name: "wrong name, then right", before: []string{"--addresses", "any"}, send: func() { put("nsa.dyn.example.com", secret, "{}"); put(name, secret, "{}") },
			outcome: "changed", saidOnTheWay: "asked for nsa.dyn.example.com, which is no host here"},
		{name: "dyndns2, wrong password", send: func() { get("hostname="+name, wrong) }, code: 1, outcome: "bad-proof", says: "8 characters, a hyphen"},
		{name: "dyndns2, no password", send: func() { get("hostname="+name, "") }, code: 1, outcome: "bad-proof", says: "8 characters, a hyphen"},
		{name: "dyndns2, in the URL", send: func() { get("hostname="+name+"&username="+name+"&password="+secret, "") }, code: 1, outcome: "bad-proof", says: "--url-token"},
		{name: "dyndns2, no address", send: func() { get("hostname="+name+"&myip=none", secret) }, code: 1, outcome: "malformed", says: "see what the router puts in for its placeholders"},
		{name: "dyndns2, wrong name, then right", send: func() { get("hostname=nsa.dyn.example.com", secret); get("hostname="+name, secret) },
			outcome: "unchanged", saidOnTheWay: "asked for nsa.dyn.example.com, which is no host here"},
		{name: "no name", send: func() { put("nas.example.org", secret, "{}"); put(name, secret, "{}") },
			outcome: "unchanged", saidOnTheWay: "names no host in a zone of this server"},
		{name: "a name that is none, then right", send: func() { get("hostname=a..b", secret); get("hostname="+name, secret) },
			outcome: "unchanged", saidOnTheWay: "names no host in a zone of this server (a host name is not understood)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != nil {
				must(t, append([]string{"host", "set", name}, c.before...)...)
			}
			w := startWait(t, "host", "setup", name, "--for", "curl", "--wait", "--json", "--timeout", "30s")
			c.send()
			r := w.end()
			if c.thenAway != nil {
				must(t, append([]string{"host", "set", name}, c.thenAway...)...)
			}
			var got waited
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
				t.Fatalf("%v: %+v", err, r)
			}
			if r.code != c.code || got.Request == nil || got.Request.Outcome != c.outcome || got.Request.UserAgent != "router/1.0" || got.Accepted != (c.code == 0) {
				t.Errorf("exit %d, %s", r.code, r.stdout)
			}
			if !strings.Contains(strings.Join(got.Advice, "\n"), c.says) || !strings.Contains(r.stderr, c.saidOnTheWay) {
				t.Errorf("%q is not said, or %q: %s\n%s", c.says, c.saidOnTheWay, r.stdout, r.stderr)
			}
			if strings.Contains(r.stdout+r.stderr, secret) {
				t.Error("the token is told")
			}
		})
	}

	t.Run("text", func(t *testing.T) {
		w := startWait(t, "host", "setup", name, "--wait", "--timeout", "30s")
		put(name, secret, "{}")
		if r := w.end(); r.code != 0 || !strings.Contains(r.stdout, "✓ A request at 127.0.0.1 (router/1.0) was accepted by door signed: unchanged.") || !strings.Contains(r.stdout, "A           127.0.0.1") {
			t.Errorf("%+v", r)
		}
		w = startWait(t, "host", "setup", name, "--wait", "--timeout", "30s")
		put(name, wrong, "{}")
		if r := w.end(); r.code != 1 || !strings.Contains(r.stdout, "✗ A request at 127.0.0.1 (router/1.0) was refused at door signed: bad-proof") || !strings.Contains(r.stdout, "  1. ") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("nothing comes", func(t *testing.T) {
		r := call("", "host", "setup", name, "--wait", "--timeout", "10ms")
		if r.code != 1 || !strings.Contains(r.stdout, "✗ No request for "+name+" has come in 10ms.") || !strings.Contains(r.stdout, "  5. ") || strings.Contains(r.stderr, "deadline") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		w := startWait(t, "host", "setup", name, "--wait", "--timeout", "30s")
		w.cancel()
		if r := w.end(); r.code != 1 || !strings.Contains(r.stderr, "interrupted") {
			t.Errorf("%+v", r)
		}
	})
}
