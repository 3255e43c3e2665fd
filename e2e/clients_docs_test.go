//go:build linux

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docBlocks are the fenced blocks of a document that have a name, which is the
// second word behind the fence.
func docBlocks(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^```\\w+ (\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if _, twice := blocks[m[1]]; twice {
			t.Errorf("%s has two blocks named %s", file, m[1])
		}
		blocks[m[1]] = m[2]
	}
	return blocks
}

// docHost is the host that the documents speak of.
const docHost = "nas." + zone

// TestClientDocs does what docs/clients.md says for each program: it writes the
// files and runs the commands of its blocks, with the server, the token and the
// folders of this test in place of the document's.
func TestClientDocs(t *testing.T) {
	blocks := docBlocks(t, "../docs/clients.md")
	for _, c := range []struct {
		need     func(*testing.T)
		file     string // block of the configuration; "": there is none
		command  string // block of the command
		sent     int
		says     string
		remember string // a file that has then been written, and what is in it
		memory   string
	}{
		{needDdclient, "ddclient.conf", "ddclient", 1, "", "ddclient.cache", "status=good"},
		{needs("inadyn"), "inadyn.conf", "inadyn", 1, "", docHost + ".cache", "198.51.100.7"},
		{needs("curl"), "godwit.curl", "curl", 1, "good 198.51.100.7\n", "", ""},
		{needs("wget"), "godwit.wget", "wget", 2, "good 198.51.100.7\n", "", ""},
		{needs("busybox", "openssl"), "", "busybox", 1, "good 198.51.100.7\n", "", ""},
	} {
		t.Run(c.command, func(t *testing.T) {
			t.Parallel()
			c.need(t)
			r := newClientRig(t, true)
			r.relay.move("198.51.100.7")
			server := r.server()
			if c.command == "ddclient" {
				server = r.address()
			}
			here := strings.NewReplacer("TOKEN", r.add(docHost), "ddns.example.com", server, "/etc/", r.dir+"/", "/var/cache", r.dir)
			if c.file != "" {
				r.write(c.file, here.Replace(blocks[c.file]))
			}
			got := r.run(foreign{args: []string{"sh", "-ec", here.Replace(blocks[c.command])}})
			if sent := r.relay.took(); blocks[c.command] == "" || got.code != 0 || !strings.Contains(got.said, c.says) || len(sent) != c.sent || r.shows(docHost) != "198.51.100.7" {
				t.Errorf("exit %d, %d requests, and DNS shows %q:\n%s", got.code, len(sent), r.shows(docHost), got.said)
			}
			if c.remember != "" && !strings.Contains(r.read(c.remember), c.memory) {
				t.Errorf("%s is %q", c.remember, r.read(c.remember))
			}
		})
	}

	t.Run("openwrt", func(t *testing.T) {
		t.Parallel()
		needProgram(t, "wget")
		r := newClientRig(t, true)
		r.relay.move("198.51.100.7")
		option := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^\toption (\w+) '(.*)'$`).FindAllStringSubmatch(blocks["openwrt"], -1) {
			option[m[1]] = m[2]
		}
		w := wish{hosts: []string{option["domain"]}, user: option["username"], token: r.add(docHost), v4: "198.51.100.7"}
		if want := r.openwrtURL(w, docHost, w.v4); option["use_https"] != "1" || option["service_name"] != "" || updateURLFor(r, w, option["update_url"]) != want {
			t.Errorf("update_url is %q, want what the other tests take: %s", option["update_url"], want)
		}
		if got := openwrtWget().update(r, w); got.code != 0 || r.shows(docHost) != "198.51.100.7" {
			t.Errorf("exit %d, and DNS shows %q:\n%s", got.code, r.shows(docHost), got.said)
		}
	})
}

// TestPrintedSetups does what `godwit host setup` prints for the programs that can
// run here, with the server and the folders of this test.
func TestPrintedSetups(t *testing.T) {
	r := newClientRig(t, true)
	r.relay.move("198.51.100.7")
	for _, c := range []struct {
		name       string
		need       func(*testing.T)
		ca         string   // line to put before the file
		where, env []string // in the command, old and new; beside the environment
	}{
		{name: "ddclient", need: needDdclient, where: []string{"ddclient -daemon", "ddclient -file /etc/ddclient.conf -cache /etc/cache -daemon"}, env: []string{"SSL_CERT_FILE=" + r.ca}},
		{name: "inadyn", need: needs("inadyn"), ca: "ca-trust-file = " + r.ca, where: []string{"inadyn --once", "inadyn --no-pidfile --cache-dir /etc --once"}},
		{name: "curl", need: needs("curl"), env: []string{"CURL_CA_BUNDLE=" + r.ca}},
		{name: "wget", need: needs("wget"), ca: "ca_certificate = " + r.ca},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.need(t)
			r := r.in(t)
			host := c.name + "." + zone
			r.add(host)
			var made struct {
				File     struct{ Path, Text string }
				Commands []string
			}
			if err := json.Unmarshal([]byte(r.daemon.mustGodwit(t, "host", "setup", host, "--for", c.name, "--new-token", "--json")), &made); err != nil {
				t.Fatal(err)
			}
			server := r.server()
			if c.name == "ddclient" {
				server = r.address()
			}
			here := strings.NewReplacer(append(c.where, "ddns.example.com", server, "/etc/", r.dir+"/")...)
			r.write(filepath.Base(made.File.Path), c.ca+"\n"+here.Replace(made.File.Text))
			commands := slices.DeleteFunc(made.Commands, func(command string) bool { return strings.HasPrefix(command, "systemctl ") })
			// What takes a word's place is not looked at again, so that /etc is left in it.
			got := r.run(foreign{args: []string{"sh", "-ec", strings.ReplaceAll(here.Replace(strings.Join(commands, "\n")), "/etc", r.dir)}, env: c.env})
			if got.code != 0 || len(commands) == 0 || r.shows(host) != "198.51.100.7" {
				t.Errorf("exit %d, and DNS shows %q:\n%s", got.code, r.shows(host), got.said)
			}
		})
	}
}

// updateURLFor fills in an update_url as OpenWrt's scripts do.
func updateURLFor(r *clientRig, w wish, url string) string {
	return strings.NewReplacer("[USERNAME]", w.login(), "[PASSWORD]", w.token, "[DOMAIN]", w.hosts[0], "[IP]", w.v4, "ddns.example.com", r.server()).Replace(url)
}

// TestRecordedRequests sends what docs/clients.md has of devices that cannot be
// run here, byte for byte, and compares the answers with what those devices look
// for.
func TestRecordedRequests(t *testing.T) {
	blocks := docBlocks(t, "../docs/clients.md")
	const v4, both = "198.51.100.7", "198.51.100.7 2001:db8::7"
	r := newClientRig(t, true)
	r.relay.move(v4)
	good, challenge := "200 good 198.51.100.7\n", "401 badauth\n"
	tests := map[string]struct {
		answers []string
		shows   string
	}{
		"fritzbox":      {[]string{"200 good 198.51.100.7,2001:db8::7\n"}, both},
		"fritzbox-ipv4": {[]string{good}, v4},
		"unifi":         {[]string{good}, v4},
		"opnsense":      {[]string{good}, v4},
		"pfsense":       {[]string{good}, v4},
		"synology":      {[]string{good}, v4},
		"mikrotik":      {[]string{good}, v4},
		"asus":          {[]string{good}, v4},
		"uclient-fetch": {[]string{challenge, good}, v4},
	}
	recorded := 0
	for name, block := range blocks {
		if !strings.Contains(block, " HTTP/1.") {
			continue
		}
		recorded++
		c, known := tests[name]
		if !known {
			t.Errorf("the request of %s has no test", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := r.in(t)
			host := name + "." + zone // one each
			r.add(host, "--source", "free")
			token := r.token("host", "token", "add", host, "--url-token")
			block = strings.NewReplacer("BASIC", base64.StdEncoding.EncodeToString([]byte(host+":"+token)), "TOKEN", token, docHost, host).Replace(block)
			var got []string
			for _, request := range strings.SplitAfter(block, "\n\n") {
				if request != "" {
					got = append(got, r.send(strings.ReplaceAll(request, "\n", "\r\n")))
				}
			}
			if !slices.Equal(got, c.answers) || r.shows(host) != c.shows {
				t.Errorf("answers %q, and DNS shows %q; want %q, %q", got, r.shows(host), c.answers, c.shows)
			}
		})
	}
	if recorded != len(tests) {
		t.Errorf("docs/clients.md has %d requests, want %d", recorded, len(tests))
	}
}

// send sends bytes to the relay over TLS, says no more, and returns status and
// body of the answer.
func (r *clientRig) send(request string) string {
	r.Helper()
	conn, err := r.dial(r.port())
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close()
	var answer []byte
	if _, err = io.WriteString(conn, request); err == nil {
		if err = conn.CloseWrite(); err == nil {
			answer, err = io.ReadAll(conn)
		}
	}
	head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	status := strings.Fields(string(head))
	if err != nil || !ok || len(status) < 2 {
		r.Fatalf("%v, answer %q", err, answer)
	}
	return fmt.Sprintf("%s %s", status[1], body)
}
