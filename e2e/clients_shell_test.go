//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"godwit/internal/awstest"
)

// TestShellClient: the shell client sets a host of the daemon in every shell,
// with every program that it knows.
func TestShellClient(t *testing.T) {
	needShellClients(t)
	d := serve(t, launch{plain: true, args: openLimits})
	res, err := newResolver(d.ports.dns)
	if err != nil {
		t.Fatal(err)
	}
	defer res.close()
	hosts := testHosts("shell", len(shells)*len(fetchers)*len(hashes))
	mustAddHosts(t, d, hosts)
	shows := func(host, want string) {
		t.Helper()
		if got, err := res.addresses(host); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", host, got, err, want)
		}
	}
	for _, shell := range shells {
		for _, fetcher := range fetchers {
			for _, hash := range hashes {
				host := hosts[0]
				hosts = hosts[1:]
				c := shellClient{shell, fetcher, hash}
				r := shellRun{client: c, url: d.url(), host: host.Name, secret: host.Secret}
				t.Run(c.String(), func(t *testing.T) {
					shows(host.Name, "")
					r.run(t).want(t, 0, host.Name+". has been set to 127.0.0.1\n")
					shows(host.Name, "127.0.0.1")
					if hash != hashes[0] {
						return
					}
					quiet := r
					quiet.args = []string{"-q"}
					if got := quiet.run(t); got.code != 0 || got.stdout+got.stderr != "" {
						t.Errorf("quietly: %+v", got)
					}
					r.run(t).want(t, 0, "Your IP address matches the current Route53 DNS record.\n")
					r.url = "http://" + v6(d.ports.http)
					r.run(t).want(t, 0, host.Name+". has been set to ::1\n")
					r.secret += "x"
					r.run(t).want(t, 3, "refuses (HTTP 401)")
				})
			}
		}
	}
}

// TestShellClientFamilies: -4 and -6 go over that family, both go over both, and
// where one cannot the other is done all the same. BusyBox wget has no choice.
func TestShellClientFamilies(t *testing.T) {
	needShellClients(t)
	const host = "both." + zone
	seen := map[string]string{}
	var mu sync.Mutex // guards seen
	var servers []*httptest.Server
	port := strconv.Itoa(freePort(t))
	for _, at := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(at, port))
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(seedServer("secret", func(address string) {
			mu.Lock()
			defer mu.Unlock()
			seen[at] = address
		}))
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
		servers = append(servers, s)
	}
	for _, fetcher := range fetchers {
		for _, c := range []struct {
			args []string
			url  string
			code int
			want map[string]string
		}{
			{[]string{"-4"}, servers[0].URL, 0, map[string]string{"127.0.0.1": "127.0.0.1"}},
			{[]string{"-6"}, servers[1].URL, 0, map[string]string{"::1": "::1"}},
			{[]string{"-4"}, servers[1].URL, 1, nil},
			{[]string{"-46"}, servers[0].URL, 1, map[string]string{"127.0.0.1": "127.0.0.1"}},
		} {
			mu.Lock()
			clear(seen)
			mu.Unlock()
			got := shellRun{client: shellClient{"dash", fetcher, "sha256sum"}, url: c.url, host: host, secret: "secret", args: c.args}.run(t)
			if got.code != c.code || fmt.Sprint(seen) != fmt.Sprint(c.want) && len(seen)+len(c.want) > 0 {
				t.Errorf("%s %v %s: exit %d, set %v; want %d, %v\n%s", fetcher, c.args, c.url, got.code, seen, c.code, c.want, got.stderr)
			}
		}
	}
}

// TestShellClientHostileServer: whatever comes back, the client ends with the
// right code, within its time, and makes a hash over nothing but one address.
func TestShellClientHostileServer(t *testing.T) {
	needShellClients(t)
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); bytes.Contains(body, []byte("validation_hash")) {
			t.Error("a hash went where a redirect led")
		}
		fmt.Fprint(w, done("192.0.2.1"))
	}))
	defer elsewhere.Close()
	cases := []struct {
		name string
		get  http.HandlerFunc // nil: as it should be
		set  http.HandlerFunc // nil: must not be asked
		code int
		says string // "" if it is no matter, and then which program fetches is none either
	}{
		{"HTML", status(200, "<html>192.0.2.1</html>"), nil, 1, "did not answer as a godwit server does"},
		{"portal refuses", status(403, "<html>pay here</html>"), nil, 1, "HTTP 403"},
		{"address alone", status(200, "192.0.2.1"), nil, 1, ""},
		{"two addresses", status(200, done("192.0.2.1, 192.0.2.2")), nil, 1, "did not answer as a godwit server does"},
		{"two answers", status(200, done("192.0.2.1")+"\n"+done("192.0.2.2")), nil, 1, ""},
		{"HTML around", status(200, "<html>\n"+done("192.0.2.1")+"\n</html>"), nil, 1, ""},
		{"no IPv4 address", status(200, done("192.0.2.256")), nil, 1, ""},
		{"three parts", status(200, done("192.0.2")), nil, 1, ""},
		{"a zero in front", status(200, done("192.0.02.1")), nil, 1, ""},
		{"no IPv6 address", status(200, done("2001:db8:::1")), nil, 1, ""},
		{"two gaps", status(200, done("2001::db8::1")), nil, 1, ""},
		{"seven groups", status(200, done("1:2:3:4:5:6:7")), nil, 1, ""},
		{"five digits", status(200, done("2001:db8::12345")), nil, 1, ""},
		{"a name", status(200, done("nas.example.org")), nil, 1, ""},
		{"empty address", status(200, done("")), nil, 1, ""},
		{"a command", status(200, done("$(touch /tmp/x);`touch /tmp/x`")), nil, 1, ""},
		{"a star", status(200, done("*")), nil, 1, ""},
		{"fails with an address", status(200, `{"return_status": "fail", "return_message": "192.0.2.1"}`), nil, 1, ""},
		{"empty", status(200, ""), nil, 1, ""},
		{"NUL", status(200, "\x00"), nil, 1, ""},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, nil, 1, "redirects"},
		{"500", status(500, "no"), nil, 1, "HTTP 500"},
		{"too often", status(429, fail("Too many requests. Try again later.")), nil, 1, "HTTP 429"},
		{"ends in the middle", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, done("192.0.2.1")[:40])
		}, nil, 1, "did not answer"},
		{"10 MB", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 10<<20))
		}, nil, 1, "did not answer"},
		{"10 MB of header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 10<<20))
		}, nil, 1, "did not answer"},
		{"refused", nil, status(401, badHash), 3, "HTTP 401"},
		{"not allowed", nil, status(403, fail("The address is private.")), 3, "HTTP 403"},
		{"cannot store", nil, status(503, later), 1, "HTTP 503"},
		{"HTML instead of done", nil, status(200, "<html></html>"), 1, "did not answer as a godwit server does"},
		{"terminal codes", nil, status(200, `{"return_status": "success", "return_message": "`+"\x1b[2Jdone"+`"}`), 0, "[2Jdone\n"},
		{"the other order", status(200, `{ "return_message":"192.0.2.7" , "return_status":"success" }`+"\r\n"), status(200, matches), 0, ""},
	}
	for n, fetcher := range fetchers {
		for i, c := range cases {
			if c.says == "" && i%len(fetchers) != n {
				continue
			}
			t.Run(fetcher+"/"+c.name, func(t *testing.T) {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					isSet := bytes.Contains(body, []byte("validation_hash"))
					switch {
					case isSet && c.set == nil:
						t.Errorf("a hash was made: %s", body)
					case isSet:
						c.set(w, r)
					case c.get == nil:
						fmt.Fprint(w, done("127.0.0.1"))
					default:
						c.get(w, r)
					}
				}))
				defer server.Close()
				client := shellClient{shells[i%len(shells)], fetcher, "sha256sum"}
				got := shellRun{client: client, url: server.URL, host: nas, secret: nasKey}.run(t)
				got.want(t, c.code, c.says)
				if strings.ContainsRune(got.stdout+got.stderr, '\x1b') {
					t.Errorf("it writes what the server sent: %q", got.stdout+got.stderr)
				}
				if code := got.code; code != 0 && strings.Count(got.stderr, "\n") != 1 {
					t.Errorf("it says more than one line:\n%s", got.stderr)
				}
			})
		}
	}
}

// TestShellClientSlowServer: a server that never comes to an end is left after
// its time. That is a second here: the test's sleep makes the script's shorter.
func TestShellClientSlowServer(t *testing.T) {
	needShellClients(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}))
	defer server.Close()
	for i, fetcher := range fetchers {
		shellRun{
			client: shellClient{shells[i], fetcher, "sha256sum"}, url: server.URL, host: nas, secret: nasKey,
			wrap: func(path string) string {
				if filepath.Base(path) == "sleep" {
					return "exec " + path + " 1\n"
				}
				return ""
			},
		}.run(t).want(t, 1, server.URL+" did not answer")
	}
}

// TestShellClientLoop: a loop asks which address it has, sets it when it is
// another one, waits longer after each trouble in a row and for an hour after a
// refusal, and says each thing once. Its sleep is the test's, which writes down
// for how long it was asked to.
func TestShellClientLoop(t *testing.T) {
	needShellClients(t)
	// What the server says to one get after the other, and to the sets.
	gets := []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "", "", "", "", "", "192.0.2.2", "192.0.2.1", "192.0.2.66", "192.0.2.66", "192.0.2.1"}
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			var mu sync.Mutex // guards n and sets
			var sets []string
			n := 0
			last := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				set := bytes.Contains(body, []byte("validation_hash"))
				mu.Lock()
				defer mu.Unlock()
				if !set {
					n++
				}
				if n > len(gets) {
					close(last)
					<-r.Context().Done() // until it is ended
					return
				}
				address := gets[n-1]
				switch {
				case address == "":
					w.WriteHeader(http.StatusServiceUnavailable)
				case !set:
					fmt.Fprint(w, done(address))
				case address == "192.0.2.66":
					w.WriteHeader(http.StatusForbidden)
					fmt.Fprint(w, fail("Not this one."))
				default:
					sets = append(sets, address)
					fmt.Fprint(w, matches)
				}
			}))
			defer server.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			r := shellRun{
				client: shellClient{shell, "curl", "sha256sum"}, url: server.URL, host: nas, secret: nasKey, args: []string{"-i", "100"}, dir: t.TempDir(),
			}
			pauses := filepath.Join(r.dir, "pauses")
			r.wrap = func(path string) string {
				if filepath.Base(path) != "sleep" {
					return ""
				}
				// 20 is how long a request may take.
				return `case $1 in 20) exec ` + path + ` 20 ;; *) echo "$1" >>` + pauses + ` ;; esac` + "\n"
			}
			cmd := r.command(ctx, t)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-last:
			case <-ctx.Done():
			}
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 143 {
				t.Errorf("SIGTERM ended it with %v", err)
			}
			if left, err := os.ReadDir(filepath.Join(r.dir, "tmp")); err != nil || len(left) > 0 {
				t.Errorf("it leaves %v (%v)", left, err)
			}
			if want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.1"}; !slices.Equal(sets, want) {
				t.Errorf("it set %q, want %q", sets, want)
			}
			data, err := os.ReadFile(pauses)
			if err != nil {
				t.Fatal(err)
			}
			want := []int{100, 100, 100, 30, 60, 100, 100, 100, 100, 100, 3600, 3600, 100}
			got := strings.Fields(string(data))
			if len(got) != len(want) {
				t.Fatalf("it slept %q, want %d times", got, len(want))
			}
			for i, text := range got { // up to a tenth more, at random
				if seconds, err := strconv.Atoi(text); err != nil || seconds < want[i] || seconds > want[i]*11/10 {
					t.Errorf("pause %d is %s s, want %d to %d", i, text, want[i], want[i]*11/10)
				}
			}
			if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "HTTP 503") || !strings.Contains(lines[1], "Not this one.") {
				t.Errorf("it says\n%s", stderr.String())
			}
		})
	}
}

// TestShellClientSecrets: no program that the script runs has the secret in its
// arguments or environment, and its files are for nobody else and lack it too.
func TestShellClientSecrets(t *testing.T) {
	needShellClients(t)
	const canary = "canary-7f3a9c-$HOME-`id`-*-'\"\\n"
	server := httptest.NewServer(seedServer(canary, func(string) {}))
	defer server.Close()
	for _, c := range []shellClient{
		{"dash", "curl", "sha256sum"}, {"ash", "busybox wget", "openssl"}, {"bash", "wget", "shasum"},
	} {
		t.Run(c.String(), func(t *testing.T) {
			r := shellRun{client: c, url: server.URL, host: nas, secret: canary, dir: t.TempDir()}
			seen := filepath.Join(r.dir, "seen")
			if err := os.Mkdir(seen, 0o700); err != nil {
				t.Fatal(err)
			}
			r.wrap = func(path string) string {
				return `{ printf 'program %s\n' "` + path + `" "$@"; /bin/cat /proc/$$/environ; ` +
					`/bin/ls -lR "$TMPDIR"; set +f; /bin/cat "$TMPDIR"/*/*; } >` + seen + `/$$ 2>/dev/null` + "\nexec " + path + ` "$@"` + "\n"
			}
			// A variable of these names that is in the environment goes on to children.
			r.env = []string{"secret=x", "GODWIT_SECRET=" + canary, "hash=x"}
			r.run(t).want(t, 0, "has been set")
			files, err := os.ReadDir(seen)
			if err != nil || len(files) < 10 {
				t.Fatalf("%d programs were seen (%v)", len(files), err)
			}
			hash := false
			for _, file := range files {
				data, err := os.ReadFile(filepath.Join(seen, file.Name()))
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(data, []byte("canary-7f3a9c")) {
					t.Errorf("a program sees the secret:\n%s", data)
				}
				hash = hash || bytes.Contains(data, []byte(seedHash("127.0.0.1", nas, canary)))
				if open := regexp.MustCompile(`(?m)^[-d]...[^\n]{0,5}[rwx].*(godwit\.|request|answer|head|log)$`).Find(data); open != nil {
					t.Errorf("others may read %s", open)
				}
			}
			if !hash {
				t.Error("no program was seen beside the request: the test looks in the wrong place")
			}
		})
	}
}

// TestShellClientCertificates: over https nobody is believed whose certificate
// does not hold.
func TestShellClientCertificates(t *testing.T) {
	needShellClients(t)
	ca, cert, key, err := makeCertificates("localhost", net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	sets := 0
	server := httptest.NewUnstartedServer(seedServer("secret", func(string) { sets++ }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fetcher, hash string
		url           string // empty: the certificate's
		env           []string
		code          int
		says          string
	}{
		{"curl", "sha256sum", "", []string{"CURL_CA_BUNDLE=" + file}, 0, "has been set"},
		{"curl", "sha256sum", "https://127.0.0.2:", []string{"CURL_CA_BUNDLE=" + file}, 1, "did not answer"},
		{"curl", "sha256sum", "", nil, 1, "did not answer"},
		{"wget", "sha256sum", "", nil, 1, "did not answer"},
		{"busybox wget", "openssl", "https://localhost:", []string{"SSL_CERT_FILE=" + file}, 0, "has been set"},
		{"busybox wget", "openssl", "https://127.0.0.2:", []string{"SSL_CERT_FILE=" + file}, 1, "did not answer"},
		{"busybox wget", "openssl", "https://localhost:", nil, 1, "did not answer"},
		{"busybox wget", "sha256sum", "", []string{"SSL_CERT_FILE=" + file}, 2, "install curl, GNU wget or openssl"},
	} {
		sets = 0
		url := server.URL
		if c.url != "" {
			url = c.url + server.URL[strings.LastIndex(server.URL, ":")+1:]
		}
		got := shellRun{client: shellClient{"dash", c.fetcher, c.hash}, url: url, host: nas, secret: "secret", env: c.env}.run(t)
		got.want(t, c.code, c.says)
		if (sets == 1) != (c.code == 0) {
			t.Errorf("%+v: %d sets", c, sets)
		}
	}
}

// TestShellClientLambda: the client speaks to the function in AWS as to the
// daemon. An HTTP server makes the events that the Function URL would.
func TestShellClientLambda(t *testing.T) {
	needShellClients(t)
	c := newCloud(t, awstest.StartMoto(t), awstest.Route53Config{})
	c.makeTable()
	f := c.function()
	server := httptest.NewServer(functionURL(t, f, home1))
	defer server.Close()
	for _, shell := range shells {
		for _, fetcher := range fetchers {
			client := shellClient{shell, fetcher, "sha256sum"}
			host := strings.ReplaceAll(shell+"-"+fetcher, " ", "-") + "." + zone
			c.putSeedRow(host, nasKey)
			r := shellRun{client: client, url: server.URL, host: host, secret: nasKey}
			r.run(t).want(t, 0, host+". has been set to "+home1+"\n")
			if got := c.shows(host, "A"); got != home1 {
				t.Errorf("%s: Route 53 shows %q", client, got)
			}
			r.run(t).want(t, 0, "Your IP address matches the current Route53 DNS record.\n")
			r.secret = "guess"
			r.run(t).want(t, 3, "refuses (HTTP 401)")
		}
	}
}

// TestShellClientUsage: what cannot work is said before anybody is asked.
func TestShellClientUsage(t *testing.T) {
	needShellClients(t)
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it asks the server") }))
	defer server.Close()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-h"}, 0, "usage: godwit.sh"},
		{[]string{"-z"}, 2, "usage: godwit.sh"},
		{[]string{"now"}, 2, "no argument"},
		{[]string{"-u", ""}, 2, "the URL of the server is needed"},
		{[]string{"-u", "ftp://example.org"}, 2, "the URL of the server is needed"},
		{[]string{"-u", "https://nas:secret@example.org"}, 2, "does not belong there"},
		{[]string{"-u", "https://example.org/ -x"}, 2, "does not belong there"},
		{[]string{"-n", ""}, 2, "the name of the host is needed"},
		{[]string{"-n", `nas","x":"`}, 2, "not in ASCII letters"},
		{[]string{"-n", "büro.example.org"}, 2, "xn--"},
		{[]string{"-i", "29"}, 2, "30 seconds or more"},
		{[]string{"-i", "5m"}, 2, "a number of seconds"},
		{[]string{"-s", filepath.Join(dir, "none")}, 2, "cannot be read"},
		{[]string{"-s", file("open", "secret", 0o644)}, 2, "chmod 600"},
		{[]string{"-s", file("group", "secret", 0o640)}, 2, "chmod 600"},
		{[]string{"-s", file("empty", "", 0o600)}, 2, "is empty"},
		{[]string{"-s", file("line", "\nsecret\n", 0o600)}, 2, "secret is needed"},
	} {
		got := shellRun{client: shellClient{"dash", "curl", "sha256sum"}, url: server.URL, host: nas, secret: "secret", args: c.args}.run(t)
		if got.want(t, c.code, c.says); strings.Contains(got.stdout+got.stderr, ":secret@") {
			t.Errorf("%q: it repeats a password", c.args)
		}
	}
}

// TestShellcheck holds the scripts that users run to what a POSIX shell has, and
// what makes a release to what bash has.
func TestShellcheck(t *testing.T) {
	needProgram(t, "shellcheck")
	for _, args := range [][]string{
		{"../clients/godwit.sh", "../scripts/release.sh"},
		{"../packaging/debian/postinst", "../packaging/debian/prerm", "../packaging/debian/postrm"},
		// OpenWrt's shell has local, and its functions and variables come from elsewhere.
		{"--shell=dash", "--exclude=SC1091,SC2034,SC2154,SC3043", "../packaging/openwrt/godwit-agent.init", "../packaging/openwrt/postinst", "../packaging/openwrt/prerm"},
	} {
		if out, err := exec.Command("shellcheck", args...).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
