//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proxyBlock is the block of settings of a kind in docs/reverse-proxy.md, with
// what stands in it for one's own names, ports and files replaced. All that is
// to be replaced must be there.
func proxyBlock(t *testing.T, kind string, pairs ...string) string {
	t.Helper()
	data, err := os.ReadFile("../docs/reverse-proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)\n```" + kind + "\n(.*?)```\n").FindSubmatch(data)
	if block == nil {
		t.Fatalf("docs/reverse-proxy.md has no settings for %s", kind)
	}
	text := string(block[1])
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the settings for %s have no %q", kind, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// reverseProxy is a program in front of godwit.
type reverseProxy struct {
	program string
	// settings gets the address to listen on and the one of godwit, and files with a
	// chain, a key, and both; args are what starts it with the settings in a file.
	settings func(t *testing.T, dir, at, godwit, chain, key, both string) string
	args     func(file string) []string
}

var reverseProxies = []reverseProxy{
	{"nginx", func(t *testing.T, dir, at, godwit, chain, key, _ string) string {
		site := proxyBlock(t, "nginx", "    listen [::]:443 ssl;\n", "", "listen 443", "listen "+at, "127.0.0.1:8053", godwit,
			"/etc/letsencrypt/live/ddns.example.com/fullchain.pem", chain, "/etc/letsencrypt/live/ddns.example.com/privkey.pem", key)
		temporary := ""
		for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			temporary += what + "_temp_path " + filepath.Join(dir, what) + ";\n"
		}
		user := "" // as root it would give its work to somebody who may not enter here
		if os.Getuid() == 0 {
			user = "user root;\n"
		}
		return user + "daemon off;\nworker_processes 1;\npid " + filepath.Join(dir, "pid") + ";\nerror_log stderr;\nevents {}\nhttp {\n" + temporary + site + "}\n"
	}, func(file string) []string { return []string{"-e", "stderr", "-p", filepath.Dir(file), "-c", file} }},
	{"caddy", func(t *testing.T, _, at, godwit, chain, key, _ string) string {
		return "{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + proxyBlock(t, "caddy", "127.0.0.1:8053", godwit,
			"ddns.example.com {", fmt.Sprintf("https://%s {\n\tbind 127.0.0.1\n\ttls %s %s", at, chain, key))
	}, func(file string) []string { return []string{"run", "--adapter", "caddyfile", "--config", file} }},
	{"haproxy", func(t *testing.T, _, at, godwit, _, _, both string) string {
		return proxyBlock(t, "haproxy", "bind :443", "bind "+at, "/etc/haproxy/ddns.example.com.pem", both, "127.0.0.1:8053", godwit)
	}, func(file string) []string { return []string{"-db", "-f", file} }},
}

// TestReverseProxies: with the settings in docs/reverse-proxy.md each proxy says
// where a request came from, and a client cannot say so in its stead.
func TestReverseProxies(t *testing.T) {
	ca, cert, key, err := makeCertificates("ddns.example.com", net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	file := func(name string, data []byte) string {
		name = filepath.Join(files, name)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	chain, keyFile, both := file("chain.pem", cert), file("key.pem", key), file("both.pem", append(append([]byte{}, cert...), key...))
	caFile := file("ca.pem", ca)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)

	for i, proxy := range reverseProxies {
		t.Run(proxy.program, func(t *testing.T) {
			needProgram(t, proxy.program)
			at := v4(freePort(t))
			url := "https://" + at
			d := serve(t, launch{args: []string{"--trusted-proxy", "127.0.0.1", "--url", url}})
			name := "nas." + zone
			var added struct{ Token string }
			if err := json.Unmarshal([]byte(d.mustGodwit(t, "host", "add", name, "--addresses", "any", "--json")), &added); err != nil {
				t.Fatal(err)
			}
			proxy.start(t, at, v4(d.ports.http), chain, keyFile, both, roots)

			from := fmt.Sprintf("127.0.0.%d", 10+i)
			client := clientFrom(from, roots)
			for what, forged := range map[string][]string{
				"nothing": nil, "an address": {"192.0.2.1"}, "several": {"192.0.2.1, 127.0.0.1"}, "two fields": {"192.0.2.1", "127.0.0.1"}, "no address": {"unknown"},
			} {
				req, err := http.NewRequest(http.MethodGet, url+"/ip", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header["X-Forwarded-For"] = forged
				if got := fetch(t, client, req); got != "200 "+from {
					t.Errorf("a client that claims %s is answered %q, want its own address, %s", what, got, from)
				}
			}

			// Doors with tokens, their paths as they are.
			for _, door := range []struct{ method, path, want string }{
				{http.MethodGet, "/nic/update?hostname=" + name, "200 good " + from},
				{http.MethodGet, "//nic/update?hostname=" + name, "200 nochg " + from},
			} {
				req, err := http.NewRequest(door.method, url+door.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.SetBasicAuth(name, added.Token)
				req.Header.Set("X-Forwarded-For", "192.0.2.1")
				if got := fetch(t, client, req); got != door.want {
					t.Errorf("%s is answered %q, want %q", door.path, got, door.want)
				}
			}

			// Signatures, by our own client.
			code := regexp.MustCompile(`[a-z2-7]{4}(-[a-z2-7]{4}){3}`).FindString(d.mustGodwit(t, "host", "token", "add", name, "--join"))
			if r := run("agent", "join", url, code, "--config", filepath.Join(t.TempDir(), "agent.toml"), "--state-dir", t.TempDir(), "--ca-file", caFile); r.code != 0 {
				t.Errorf("join: %+v", r)
			}

			// Who does not come by way of the proxy cannot claim to.
			direct := "http://" + v4(d.ports.http) + "/ip"
			for source, want := range map[string]string{"127.0.0.77": "200 127.0.0.77", "127.0.0.1": "400"} {
				req, err := http.NewRequest(http.MethodGet, direct, nil)
				if err != nil {
					t.Fatal(err)
				}
				if source != "127.0.0.1" {
					req.Header.Set("X-Forwarded-For", "192.0.2.1")
				}
				if got := fetch(t, clientFrom(source, nil), req); got != want && !strings.HasPrefix(got, want+" ") {
					t.Errorf("%s, past the proxy, is answered %q, want %s", source, got, want)
				}
			}
		})
	}
}

// start starts the proxy and waits until it passes requests on.
func (p reverseProxy) start(t *testing.T, at, godwit, chain, key, both string, roots *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	settings := filepath.Join(dir, "settings")
	if err := os.WriteFile(settings, []byte(p.settings(t, dir, at, godwit, chain, key, both)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, p.program, p.args(settings)...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// As a service manager does it: nginx and its like end their children then.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.program, tail(log.String(), 40))
		}
	})
	client := clientFrom("127.0.0.1", roots)
	await(t, p.program, func() error {
		res, err := client.Get("https://" + at + "/readyz")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
}

// clientFrom is a client at an address of its own.
func clientFrom(source string, roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}
}

// fetch is the status and the body, in one line.
func fetch(t *testing.T, client *http.Client, req *http.Request) string {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + strings.TrimSpace(string(body)))
}
