package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// asClient fills in what the clients themselves fill in.
func asClient(s setup, address string) string {
	return strings.NewReplacer(
		"<domain>", s.Host, "<ipaddr>", address, "<ip6addr>", "", "<ip6lanprefix>", "", "<address>", address, // FRITZ!Box, and where a program makes the URL
		"%h", s.Host, "%i", address, // inadyn
		"%IP%", address, // pfSense
		"[DOMAIN]", s.Host, "[IP]", address, // OpenWrt, Omada
		"__HOSTNAME__", s.Host, "__MYIP__", address, "__USERNAME__", s.Host, "__PASSWORD__", s.Token, // Synology
		"###IP###", address, // DrayTek
		"$1", address, // the router's call of the script
		"ADDRESS", address,
	).Replace(s.Sends.URL)
}

// TestSetupIsAnswered sends what each client that makes a URL then sends, with
// the token that the set-up made.
func TestSetupIsAnswered(t *testing.T) {
	_, target := start(t)
	t.Setenv("GODWIT_TARGET", target)
	must(t, "host", "add", "nas.dyn.example.com", "--addresses", "any", "--source", "free")
	userAgents := map[string]string{"fritzbox": "Fritz!Box DDNS/1.0.1", "unifi": "inadyn/2.9", "inadyn": "inadyn/2.10", "opnsense": "OPNsense-dyndns", "wget": "Wget/1.21", "mikrotik": "Mikrotik/7"}
	tried := 0
	for _, known := range setupClients() {
		if known.sends == "" {
			continue
		}
		tried++
		t.Run(known.name, func(t *testing.T) {
			var s setup
			if err := json.Unmarshal([]byte(must(t, "host", "setup", "nas.dyn.example.com", "--for", known.name, "--new-token", "--json")), &s); err != nil {
				t.Fatal(err)
			}
			id := s.Credential
			defer must(t, "host", "token", "revoke", "nas.dyn.example.com", id)
			if s.Token == "" || len(s.Warnings) > 0 {
				t.Fatalf("made %+v", s)
			}
			text := asClient(s, "127.0.0.1")
			if u, err := url.Parse(text); err != nil || strings.ContainsAny(text, "<>{}%[]$ ") || u.Host == "" {
				t.Fatalf("after the client has filled it in, it is %q, %v", text, err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, text, nil)
			if err != nil {
				t.Fatal(err)
			}
			if s.Sends.User != "" {
				req.SetBasicAuth(s.Sends.User, s.Sends.Password)
			}
			req.Header.Set("User-Agent", userAgents[known.name])
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			good := regexp.MustCompile(`^((good|nochg) 127\.0\.0\.1\n|OK|addresses (updated|unchanged).*|(Updated|No change, ).*\n?)$`)
			if res.StatusCode != http.StatusOK || !good.Match(body) {
				t.Errorf("%s is answered %d %q", text, res.StatusCode, body)
			}
		})
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if tried < 15 {
		t.Errorf("only %d clients send a URL", tried)
	}
}

// TestSetupCommands runs what the set-ups for programs of a shell say, each with
// its file.
func TestSetupCommands(t *testing.T) {
	_, target := start(t)
	t.Setenv("GODWIT_TARGET", target)
	must(t, "host", "add", "nas.dyn.example.com", "--addresses", "any")
	for _, name := range []string{"curl", "wget"} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			var s setup
			if err := json.Unmarshal([]byte(must(t, "host", "setup", "nas.dyn.example.com", "--for", name, "--new-token", "--json")), &s); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, []byte(s.File.Text), 0o600); err != nil {
				t.Fatal(err)
			}
			script := strings.ReplaceAll(strings.Join(s.Run, "\n"), s.File.Path, file)
			if strings.Contains(script, s.Token) {
				t.Errorf("the token is in an argument: %s", script)
			}
			out, err := exec.CommandContext(t.Context(), "sh", "-ec", script).CombinedOutput()
			if err != nil || !regexp.MustCompile(`^(good|nochg) 127\.0\.0\.1\n$`).Match(out) {
				t.Errorf("%s\n%v: %q", script, err, out)
			}
		})
	}
}
