//go:build linux

package e2e

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
)

// updateSetup is what `godwit host setup --for CLIENT --new-token --json` says of a
// client that sends UPDATE messages.
type updateSetup struct {
	File     struct{ Path, Text string }
	Commands []string
	TSIG     struct{ Name, Algorithm, Secret string }
}

// setUp asks for a client's set-up, with a key of its own, and puts this test's
// server and folder in the place of the public ones.
func (r *clientRig) setUp(client, host string) updateSetup {
	r.Helper()
	here := strings.NewReplacer("ddns.example.com", "127.0.0.1", "/etc/letsencrypt/", r.dir+"/", "/etc/", r.dir+"/")
	var s updateSetup
	if err := json.Unmarshal([]byte(here.Replace(r.daemon.mustGodwit(r, "host", "setup", host, "--for", client, "--new-token", "--json"))), &s); err != nil {
		r.Fatal(err)
	}
	if s.File.Path != "" {
		r.write(filepath.Base(s.File.Path), s.File.Text)
	}
	return s
}

// afterStart waits for the second after that in which the daemon started: what is
// signed before is of another time to it.
func afterStart() { time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) }

// Programs that send UPDATE messages, set up as `godwit host setup` says.
func TestUpdateClients(t *testing.T) {
	r := newClientRig(t, false)
	port := strconv.Itoa(r.daemon.ports.dns)
	for _, host := range []string{"nas", "lab", "cam", "old"} {
		r.add(host+"."+zone, "--source", "match")
	}
	afterStart()
	sh := func(r *clientRig, script string) ran {
		return r.run(foreign{args: []string{"sh", "-c", script}})
	}
	for i, client := range []string{"nsupdate", "knsupdate"} {
		t.Run(client, func(t *testing.T) {
			needProgram(t, client)
			r := r.in(t)
			host := []string{"nas", "lab"}[i] + "." + zone
			s := r.setUp(client, host)
			run := strings.Join(s.Commands, "\n")
			for range 2 { // the second time nothing changes
				if got := sh(r, strings.Replace(run, "ADDRESS", "127.0.0.1", 1)); got.code != 0 || r.shows(host) != "127.0.0.1" {
					t.Errorf("exit %d, DNS shows %q:\n%s", got.code, r.shows(host), got.said)
				}
			}
			refused := map[string]int{"nsupdate": 2, "knsupdate": 1}[client]
			for name, change := range map[string]func(string) string{
				"an address that is not the sender's": func(run string) string { return strings.Replace(run, "ADDRESS", "192.0.2.1", 1) },
				"over UDP":                            func(run string) string { return strings.Replace(run, client+" -v", client, 1) },
				"another host":                        func(run string) string { return strings.ReplaceAll(run, host, "cam."+zone) },
				"HMAC-MD5": func(run string) string {
					return strings.Replace(run, "-k "+r.dir+"/godwit.key", "-y hmac-md5:"+s.TSIG.Name+":"+s.TSIG.Secret, 1)
				},
			} {
				if got := sh(r, strings.Replace(change(run), "ADDRESS", "127.0.0.2", 1)); got.code != refused {
					t.Errorf("%s: exit %d:\n%s", name, got.code, got.said)
				}
			}
			if got := r.shows(host); got != "127.0.0.1" {
				t.Errorf("DNS shows %s", got)
			}
			if got := r.shows("cam." + zone); got != "" {
				t.Errorf("another host shows %s", got)
			}
		})
	}

	// nsupdate finds the zone by a question that it signs.
	t.Run("nsupdate without a zone", func(t *testing.T) {
		needProgram(t, "nsupdate")
		r := r.in(t)
		run := strings.Replace(strings.Join(r.setUp("nsupdate", "nas."+zone).Commands, "\n"), `zone `+zone+`\n`, "", 1)
		if got := sh(r, strings.Replace(run, "ADDRESS", "127.0.0.1", 1)); got.code != 0 || strings.Contains(run, "zone "+zone) {
			t.Errorf("exit %d:\n%s", got.code, got.said)
		}
	})

	t.Run("ddclient", func(t *testing.T) {
		needDdclient(t)
		needProgram(t, "nsupdate")
		r := r.in(t)
		key := r.setUp("nsupdate", "cam."+zone) // the same key file
		got := r.runDdclient("ddclient", strings.NewReplacer("{KEY}", r.dir+"/"+filepath.Base(key.File.Path), "{PORT}", port).Replace(`ssl=no
use=ip, ip=127.0.0.1
protocol=nsupdate
server='127.0.0.1 {PORT}'
password={KEY}
zone=`+zone+`
ttl=60
tcp=yes
cam.`+zone+`
`))
		if got.code != 0 || r.shows("cam."+zone) != "127.0.0.1" {
			t.Errorf("exit %d, DNS shows %q:\n%s", got.code, r.shows("cam."+zone), got.said)
		}
	})

	// A key for a device that knows nothing better, made so on purpose.
	t.Run("HMAC-MD5", func(t *testing.T) {
		needProgram(t, "nsupdate")
		r := r.in(t)
		var made struct{ TSIG struct{ Name, Secret string } }
		text := r.daemon.mustGodwit(t, "host", "token", "add", "old."+zone, "--tsig", "--tsig-algorithm", "hmac-md5", "--json")
		if err := json.Unmarshal([]byte(text), &made); err != nil {
			t.Fatal(err)
		}
		// As nsupdate's own "key" line signs.
		got := sh(r, "printf 'server 127.0.0.1 "+port+"\nkey "+made.TSIG.Name+" "+made.TSIG.Secret+"\nupdate add old."+zone+" 60 A 127.0.0.1\nsend\n' | nsupdate -v")
		if got.code != 0 || r.shows("old."+zone) != "127.0.0.1" {
			t.Errorf("exit %d:\n%s", got.code, got.said)
		}
	})
}

// TestUpdateCertificates: clients of certificate authorities prove a host and its
// wildcard by UPDATE messages, set up as `godwit host setup` says.
func TestUpdateCertificates(t *testing.T) {
	t.Parallel() // they wait most of the time
	r := newClientRig(t, false)
	const host = "nas." + zone
	r.add(host, "--wildcard")
	afterStart()
	resolver := v4(r.daemon.ports.dns)
	for _, c := range []struct {
		client, program string
		command         func(r *clientRig, ca *pebble, run string) string
		chain           string
	}{
		{"lego-rfc2136", "lego", func(r *clientRig, ca *pebble, run string) string {
			return strings.Replace(run, "lego --email", "lego --accept-tos --server "+ca.directory+" --path "+r.dir+" --dns.disable-cp --dns.resolvers "+resolver+" --email", 1)
		}, "certificates/" + host + ".crt"},
		{"certbot", "certbot", func(r *clientRig, ca *pebble, run string) string {
			run = strings.Replace(run, "propagation-seconds 5", "propagation-seconds 1", 1)
			return strings.Replace(run, "certbot certonly", "certbot certonly --non-interactive --agree-tos --register-unsafely-without-email --server "+ca.directory+
				" --config-dir "+r.dir+"/c --work-dir "+r.dir+"/w --logs-dir "+r.dir+"/l", 1)
		}, "c/live/" + host + "/fullchain.pem"},
	} {
		t.Run(c.client, func(t *testing.T) {
			needProgram(t, c.program)
			r := r.in(t)
			ca := newPebble(t, freePort(t))
			if c.client == "certbot" {
				ca.goodNonces = true
			}
			roots, _ := ca.start(t, resolver)
			s := r.setUp(c.client, host)
			got := r.run(foreign{args: []string{"sh", "-ec", c.command(r, ca, strings.Join(s.Commands, "\n"))},
				env: []string{"LEGO_CA_CERTIFICATES=" + ca.ca, "REQUESTS_CA_BUNDLE=" + ca.ca}})
			if got.code != 0 {
				t.Fatalf("exit %d:\n%s", got.code, got.said)
			}
			wantCertificate(t, filepath.Join(r.dir, c.chain), roots, host, "anything."+host)
			res, err := r.dns.ask("_acme-challenge."+host, dns.TypeTXT)
			if err != nil || slices.ContainsFunc(res.Answer, func(rr dns.RR) bool { return dns.RRToType(rr) == dns.TypeTXT }) {
				t.Errorf("DNS still shows %v, %v", res.Answer, err)
			}
		})
	}
}
