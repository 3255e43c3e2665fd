//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inadynWaits is what inadyn says when it goes on trying.
const inadynWaits = "Will retry again in 600 sec"

// runInadyn runs inadyn once with a configuration; what it remembers is in the
// folder of that name. If it goes on trying, it is ended.
func (r *clientRig) runInadyn(name, configuration string, flags ...string) ran {
	r.Helper()
	if err := os.MkdirAll(filepath.Join(r.dir, name), 0o700); err != nil {
		r.Fatal(err)
	}
	return r.run(foreign{
		args: append([]string{"inadyn", "--once", "--foreground", "--no-pidfile", "-l", "info", "--cache-dir", filepath.Join(r.dir, name),
			"-f", r.write(name+".conf", configuration)}, flags...),
		until: inadynWaits,
	})
}

// inadynCustom is a configuration for these hosts at this address. With
// checkip-server in place of the command it would ask somebody else, far away,
// where that does not answer, as it does for an address that it takes for none.
func (r *clientRig) inadynCustom(w wish, address string) string {
	return fmt.Sprintf(`ca-trust-file = %s
allow-ipv6 = true
verify-address = false
custom godwit {
	ssl = %t
	username = %s
	password = %s
	hostname = { "%s" }
	ddns-server = "%s"
	ddns-path = "/nic/update?hostname=%%h&myip=%%i"
	checkip-command = "echo %s"
}
`, r.ca, r.scheme == "https", w.login(), w.token, strings.Join(w.hosts, `", "`), r.server(), address)
}

func inadyn() program {
	return program{
		name: "inadyn", need: needs("inadyn"),
		update: func(r *clientRig, w wish) ran {
			var flags []string
			if w.force {
				flags = []string{"--force"}
			}
			// It keeps one address for each host, so that each family needs a folder of its own.
			var last ran
			said := ""
			for i, address := range w.addresses() {
				last = r.runInadyn(fmt.Sprint("in", i), r.inadynCustom(w, address), flags...)
				said += last.said
			}
			last.said = said
			return last
		},
		believes: func(r *clientRig, w wish) string {
			var out []string
			for _, host := range w.hosts {
				out = append(out, r.read(filepath.Join("in0", host+".cache")))
			}
			return strings.Join(out, " ")
		},
		lessons: map[string]lesson{
			"first update":        {says: `Successful alias table update for nas\.dyn\.example\.com => new IP# 198\.51\.100\.7`, believes: "198.51.100.7", sent: 1},
			"nothing new":         {says: "No IP# change detected", believes: "198.51.100.7"},
			"nothing new, forced": {says: "Successful alias table update", believes: "198.51.100.7", sent: 1},
			"change":              {says: "Successful alias table update", believes: "198.51.100.8", sent: 1},
			// With --once that is no error to it; what it remembers is what it was.
			"server down":                  {says: "Failed connecting to localhost: Connection refused"},
			"server back":                  {says: "Successful alias table update", believes: "198.51.100.9", sent: 1},
			"wrong password":               {code: 50, says: "Authentication failure", believes: "198.51.100.9", sent: 1},
			"wrong password, unknown host": {code: 50, says: "Authentication failure", sent: 1},
			"another's host":               {code: 48, says: `\[200 OK\] nohost not-yours`, sent: 1},
			"unknown host":                 {code: 48, says: `\[200 OK\] nohost not-yours`, sent: 1},
			"two names":                    {says: `(?s)update for first.*update for second`, believes: "198.51.100.14 198.51.100.14", sent: 2},
			"both families":                {says: `(?s)new IP# 198\.51\.100\.11.*new IP# 2001:db8::11`, believes: "198.51.100.11", sent: 2},
			"address refused":              {alive: true, says: `\[503 Service Unavailable\] dnserr address-not-allowed`, sent: 1},
			"too often":                    {alive: true, says: `\[503 Service Unavailable\] 911 rate-limited`, sent: 1},
		},
	}
}

// startInadyn starts inadyn as a service does.
func (r *clientRig) startInadyn(configuration string, flags ...string) *process {
	r.Helper()
	return r.start(foreign{args: append([]string{"inadyn", "--foreground", "--no-pidfile", "-l", "info", "--cache-dir", r.dir, "-f", r.write("in.conf", configuration)}, flags...)})
}

// stop ends it as a service manager does.
func (p *process) stop() ran {
	p.rig.Helper()
	p.signal(syscall.SIGTERM)
	return p.end()
}

// TestInadynStays: as a service it lives through a server that is away, which it
// asks again when it is told to, or later by itself; and with a wrong password
// only if it was started with -C.
func TestInadynStays(t *testing.T) {
	needProgram(t, "inadyn")
	const nas = "nas." + zone
	t.Run("server away", func(t *testing.T) {
		t.Parallel()
		r := newClientRig(t, true)
		w := wish{hosts: []string{nas}, token: r.add(nas), v4: "198.51.100.7"}
		r.relay.move(w.v4)
		r.down()
		p := r.startInadyn(r.inadynCustom(w, w.v4))
		p.wait("Failed connecting")
		r.up()
		p.signal(syscall.SIGUSR1) // now
		p.wait("Successful alias table update")
		if got := p.stop(); got.code != 0 || r.shows(nas) != w.v4 {
			t.Errorf("exit %d, and DNS shows %q\n%s", got.code, r.shows(nas), got.said)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		r := newClientRig(t, true)
		w := wish{hosts: []string{nas}, token: r.add(nas) + "x", v4: "198.51.100.7"}
		r.relay.move(w.v4)
		p := r.startInadyn(r.inadynCustom(w, w.v4), "-C")
		p.wait("ignoring")
		if got := p.stop(); got.code != 0 || r.shows(nas) != "" {
			t.Errorf("exit %d, and DNS shows %q\n%s", got.code, r.shows(nas), got.said)
		}
	})
}

// TestUniFi runs inadyn as UniFi's gateways do, with the path that some of their
// versions make.
func TestUniFi(t *testing.T) {
	needProgram(t, "inadyn")
	const nas = "nas." + zone
	r := newClientRig(t, true)
	w := wish{hosts: []string{nas}, token: r.add(nas), v4: "198.51.100.7"}
	r.relay.move(w.v4)
	p := r.startInadyn(strings.Replace(r.inadynCustom(w, w.v4), `"/nic`, `"//nic`, 1), "-C")
	p.wait("Successful alias table update")
	got, sent := p.stop(), r.relay.took()
	if got.code != 0 || r.shows(nas) != w.v4 || len(sent) != 1 || !strings.HasPrefix(sent[0], "GET //nic/update?hostname="+nas+"&myip=198.51.100.7 HTTP/1.0\r\n") {
		t.Errorf("exit %d, and DNS shows %q\n%s%s", got.code, r.shows(nas), got.said, strings.Join(sent, ""))
	}
}

// TestInadynDialects: inadyn's own providers take no server of ours, but "custom"
// can say what they say. It is content with a repeated update in each, but must be
// told how that is said in the last.
func TestInadynDialects(t *testing.T) {
	needProgram(t, "inadyn")
	const nas = "nas." + zone
	for _, c := range []struct{ name, path, sends string }{
		{"dynv6", `"/api/update?hostname=%h&token=%p&ipv4=%i"`, "GET /api/update?hostname=" + nas + "&token=TOKEN&ipv4=198.51.100.7 HTTP/1.0\r\n"},
		{"DuckDNS", `"/update?domains=%h&token=%p&ip=%i"`, "GET /update?domains=" + nas + "&token=TOKEN&ip=198.51.100.7 HTTP/1.0\r\n"},
		{"token URL", `"/u/%p/?ip=%i"` + "\n\t" + `ddns-response = { Updated, "No change" }`, "GET /u/TOKEN/?ip=198.51.100.7 HTTP/1.0\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newClientRig(t, true)
			r.add(nas)
			w := wish{hosts: []string{nas}, token: r.token("host", "token", "add", nas, "--url-token"), v4: "198.51.100.7"}
			r.relay.move(w.v4)
			configuration := strings.Replace(r.inadynCustom(w, w.v4), `"/nic/update?hostname=%h&myip=%i"`, c.path, 1)
			for range 2 {
				got := r.runInadyn("in", configuration, "--force")
				sent := r.relay.took()
				if got.code != 0 || got.alive || !strings.Contains(got.said, "Successful alias table update") || r.shows(nas) != w.v4 || len(sent) != 1 {
					t.Fatalf("exit %d, and DNS shows %q\n%s%s", got.code, r.shows(nas), got.said, strings.Join(sent, ""))
				}
				if want := strings.ReplaceAll(c.sends, "TOKEN", w.token); !strings.HasPrefix(sent[0], want) {
					t.Errorf("it sent\n%swant %s", sent[0], want)
				}
			}
		})
	}
	r := newClientRig(t, true)
	named := r.runInadyn("named", "provider default@duckdns.org {\n\tusername = x\n\thostname = "+nas+"\n\tddns-server = "+r.server()+"\n}\n", "--check-config")
	if named.code == 0 || len(r.relay.took()) > 0 {
		t.Errorf("a provider that it knows takes a server of ours: exit %d\n%s", named.code, named.said)
	}
}
