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
// its file, against a host that had no address.
func TestSetupCommands(t *testing.T) {
	_, target := start(t)
	t.Setenv("GODWIT_TARGET", target)
	for _, c := range []struct{ client, program, says string }{
		{"curl", "curl", `^good 127\.0\.0\.1\n$`},
		{"wget", "wget", `^good 127\.0\.0\.1\n$`},
		{"ddclient", "ddclient", `SUCCESS:\s+updating nas-ddclient\.dyn\.example\.com: good`},
		{"inadyn", "inadyn", `Updating cache for nas-inadyn\.dyn\.example\.com`},
		{"shell", "curl", `127\.0\.0\.1`},
		{"asus", "curl", `good 127\.0\.0\.1\n`},
	} {
		t.Run(c.client, func(t *testing.T) {
			needProgram(t, c.program)
			dir := t.TempDir()
			host := "nas-" + c.client + ".dyn.example.com"
			policy, address := "match", "127.0.0.1"
			if c.client == "inadyn" { // it takes no loopback address for its own
				policy, address = "free", "198.51.100.7"
			}
			token := tokenIn(must(t, "host", "add", host, "--addresses", "any", "--source", policy))
			args := []string{"host", "setup", host, "--for", c.client, "--json"}
			if c.client != "shell" { // it needs the host's own
				args = append(args, "--new-token")
			}
			var s setup
			if err := json.Unmarshal([]byte(must(t, args...)), &s); err != nil {
				t.Fatal(err)
			}
			if s.Token != "" {
				token = s.Token
			}
			file := filepath.Join(dir, "file")
			text := strings.NewReplacer(yourToken, token, "/sbin/ddns_custom_updated 1", "exit 0", "/sbin/ddns_custom_updated 0", "exit 1").Replace(s.File.Text)
			text = regexp.MustCompile(`checkip-server = .*`).ReplaceAllString(text, `checkip-command = "echo `+address+`"`)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			script := strings.Join(s.Run, "\n")
			if strings.Contains(script, token) {
				t.Errorf("the token is in an argument: %s", script)
			}
			self, err := filepath.Abs("../../clients/godwit.sh")
			if err != nil {
				t.Fatal(err)
			}
			// Its files are elsewhere here, and services are not restarted.
			script = regexp.MustCompile(`(?m)^systemctl .*$`).ReplaceAllString(strings.NewReplacer(s.File.Path, file, "godwit.sh", "sh "+self).Replace(script), "")
			switch c.client {
			case "asus":
				script += "\n" + file + " 127.0.0.1"
			case "ddclient":
				script = strings.ReplaceAll(script, "-noquiet", "-noquiet -cache "+filepath.Join(dir, "cache")+" -pid "+filepath.Join(dir, "pid"))
			case "inadyn":
				script = strings.ReplaceAll(script, "--once", "--once --no-pidfile --cache-dir "+dir)
			}
			out, err := exec.CommandContext(t.Context(), "sh", "-ec", script).CombinedOutput()
			if err != nil || !regexp.MustCompile(c.says).Match(out) {
				t.Errorf("%s\n%v: %s", script, err, out)
			}
			if shown := must(t, "host", "show", host); !strings.Contains(shown, "A           "+address+"\n") {
				t.Errorf("it has no address:\n%s", shown)
			}
		})
	}
}
