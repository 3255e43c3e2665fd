//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// needDdclient skips also where ddclient cannot speak TLS.
func needDdclient(t *testing.T) {
	t.Helper()
	needProgram(t, "ddclient")
	if err := exec.Command("perl", "-MIO::Socket::SSL", "-e", "1").Run(); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("ddclient needs the Debian package libio-socket-ssl-perl for TLS")
	}
	t.Skip("ddclient needs the Debian package libio-socket-ssl-perl for TLS")
}

// runDdclient runs ddclient once with a configuration; what it remembers is in
// the file "name.cache".
func (r *clientRig) runDdclient(name, configuration string) ran {
	r.Helper()
	// Never -foreground: with it, it does not end.
	return r.run(foreign{
		args: []string{"ddclient", "-daemon=0", "-timeout", "10", "-noquiet", "-file", r.write(name+".conf", configuration), "-cache", filepath.Join(r.dir, name+".cache")},
		env:  []string{"SSL_CERT_FILE=" + r.ca},
	})
}

// ddclientStatus is what ddclient remembers of hosts.
func ddclientStatus(cache string, hosts ...string) string {
	out := make([]string, len(hosts))
	for i, host := range hosts {
		if m := regexp.MustCompile(`(?m)^.*[,^]status=(\w*),.* ` + regexp.QuoteMeta(host) + `$`).FindStringSubmatch(cache); m != nil {
			out[i] = m[1]
		}
	}
	return strings.Join(out, " ")
}

func ddclient() program {
	return program{
		name: "ddclient", need: needDdclient,
		update: func(r *clientRig, w wish) ran {
			var last ran
			said := ""
			for i, address := range w.addresses() {
				name := "dd" + fmt.Sprint(i)
				if w.force {
					if err := os.Remove(filepath.Join(r.dir, name+".cache")); err != nil {
						r.Fatal(err)
					}
				}
				use := fmt.Sprintf("use=web, web=%s://%s/nic/checkip", r.scheme, r.address())
				if len(w.addresses()) > 1 {
					use = "use=ip, ip=" + address
				}
				last = r.runDdclient(name, fmt.Sprintf("protocol=dyndns2\n%s\nserver=%s\nssl=%s\nmin-interval=0\nmin-error-interval=0\nlogin=%s\npassword='%s'\n%s\n",
					use, r.address(), map[string]string{"https": "yes", "http": "no"}[r.scheme], w.login(), w.token, strings.Join(w.hosts, ",")))
				said += last.said
			}
			last.said = said
			return last
		},
		believes: func(r *clientRig, w wish) string {
			return ddclientStatus(r.read("dd0.cache"), w.hosts...)
		},
		lessons: map[string]lesson{
			"first update":        {says: `SUCCESS: +updating nas\.dyn\.example\.com: good: IP address set to 198\.51\.100\.7`, believes: "good", sent: 1},
			"nothing new":         {believes: "good"},
			"nothing new, forced": {says: "nochg: No update required", believes: "good", sent: 1},
			"change":              {says: `good: IP address set to 198\.51\.100\.8`, believes: "good", sent: 1},
			// It does not know where it is, and would have had the server find that out.
			"server down":                  {code: 1, says: `(?s)found neither IPv4 nor IPv6 address.*Could not connect to 127\.0\.0\.1`},
			"server back":                  {says: `good: IP address set to 198\.51\.100\.9`, believes: "good", sent: 1},
			"wrong password":               {code: 1, says: `authorization failed \(HTTP/1\.1 401`, believes: "noconnect", sent: 1},
			"wrong password, unknown host": {code: 1, says: `authorization failed \(HTTP/1\.1 401`, believes: "noconnect", sent: 1},
			"another's host":               {code: 1, says: "nohost: The hostname specified does not exist", believes: "nohost", sent: 1},
			"unknown host":                 {code: 1, says: "nohost: The hostname specified does not exist", believes: "nohost", sent: 1},
			"two names":                    {says: `(?s)first.*good.*second.*good`, believes: "good good", sent: 1},
			"both families":                {says: `good: IP address set to 2001:db8::11`, believes: "good", sent: 2},
			"address refused":              {code: 1, says: "dnserr", believes: "dnserr", sent: 1},
			// It drops the body of anything but 2xx, says nothing, and tries again.
			"too often": {believes: "noconnect", sent: 1},
		},
	}
}

// TestDdclientWords: what ddclient makes of each answer, host by host. It gives
// the first word of line n to host n.
func TestDdclientWords(t *testing.T) {
	needDdclient(t)
	const nas, cam, tv = "nas." + zone, "cam." + zone, "tv." + zone
	r := newClientRig(t, true)
	r.relay.move("198.51.100.7")
	token := r.add(nas)
	other := r.add(cam)
	busy := r.add(tv)
	last := r.exhaust(tv, busy)
	for i, c := range []struct {
		name          string
		configuration string
		hosts         []string
		code          int
		status, says  string
		sent          int
		shows         []string
	}{
		{"its own and another's", "login=" + nas + "\npassword='" + token + "'\n" + nas + "," + cam, []string{nas, cam}, 1, "good nohost", "", 1, []string{"198.51.100.7", ""}},
		{"two tokens", "login=" + nas + ", password='" + token + "' " + nas + "\nlogin=" + cam + ", password='" + other + "' " + cam, []string{nas, cam}, 0, "good good", "", 2, []string{"198.51.100.7", "198.51.100.7"}},
		{"wrong password", "login=" + nas + "\npassword='" + token + "x'\n" + nas + "," + cam, []string{nas, cam}, 1, "noconnect noconnect", "authorization failed", 1, []string{"198.51.100.7", "198.51.100.7"}},
		{"too often", "login=" + tv + "\npassword='" + busy + "'\n" + tv, []string{tv}, 0, "noconnect", "", 1, []string{last}},
		{"no name", "login=nas\npassword='" + token + "'\nnas", []string{"nas"}, 1, "", "", 1, nil},
	} {
		name := fmt.Sprint("words", i)
		got := r.runDdclient(name, fmt.Sprintf("protocol=dyndns2\nuse=ip, ip=198.51.100.7\nssl=yes\nserver=%s\n%s\n", r.address(), c.configuration))
		sent := r.relay.took()
		status := ddclientStatus(r.read(name+".cache"), c.hosts...)
		if got.code != c.code || c.shows != nil && status != c.status || len(sent) != c.sent || !strings.Contains(got.said, c.says) {
			t.Errorf("%s: exit %d, status %q, %d requests; want %d, %q, %d\n%s%s", c.name, got.code, status, len(sent), c.code, c.status, c.sent, got.said, strings.Join(sent, ""))
		}
		for i, want := range c.shows {
			if shown := r.shows(c.hosts[i]); shown != want {
				t.Errorf("%s: DNS shows %q for %s, want %q", c.name, shown, c.hosts[i], want)
			}
		}
	}
}

// TestDdclientDialects: the other protocols of ddclient that work here, and IPv6
// alone, for which it sends an empty myip.
func TestDdclientDialects(t *testing.T) {
	needDdclient(t)
	const nas = "nas." + zone
	for _, c := range []struct{ name, settings, from, shows, sends string }{
		{"noip", "protocol=noip\nuse=web, web=https://ADDRESS/nic/checkip\nlogin=" + nas, "198.51.100.7", "198.51.100.7", "/nic/update?system=noip&hostname=" + nas + "&myip=198.51.100.7 "},
		{"duckdns", "protocol=duckdns\nuse=web, web=https://ADDRESS/nic/checkip", "198.51.100.7", "198.51.100.7", "/update?domains=" + nas + "&token=TOKEN&ip=198.51.100.7 "},
		{"IPv6 alone", "protocol=dyndns2\nusev6=webv6, webv6=https://ADDRESS/ip\nlogin=" + nas, "2001:db8::7", "2001:db8::7", "/nic/update?system=dyndns&hostname=" + nas + "&myip= "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newClientRig(t, true)
			r.relay.move(c.from)
			r.add(nas)
			token := r.token("host", "token", "add", nas, "--url-token")
			got := r.runDdclient("dd", strings.ReplaceAll(c.settings, "ADDRESS", r.address())+fmt.Sprintf("\nserver=%s\nssl=yes\npassword='%s'\n%s\n", r.address(), token, nas))
			sent := r.relay.took()
			if got.code != 0 || ddclientStatus(r.read("dd.cache"), nas) != "good" || len(sent) != 1 || r.shows(nas) != c.shows {
				t.Errorf("exit %d, %d requests, and DNS shows %q\n%s%s", got.code, len(sent), r.shows(nas), got.said, strings.Join(sent, ""))
			}
			if want := strings.ReplaceAll(c.sends, "TOKEN", token); len(sent) == 1 && !strings.Contains(sent[0], want) {
				t.Errorf("it sent\n%swant %s", sent[0], want)
			}
		})
	}
}
