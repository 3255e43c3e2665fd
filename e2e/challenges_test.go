//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"
)

// printedSetup is what `godwit host setup --new-token` says for one client.
type printedSetup struct {
	Token    string
	File     struct{ Path, Text string }
	Commands []string
}

// printed makes a set-up, and holds what docs/clients.md has of the same client to
// it: block is that of the commands, file that of the file, or "".
func (r *clientRig) printed(blocks map[string]string, client, block, file string) (s printedSetup) {
	r.Helper()
	if err := json.Unmarshal([]byte(r.daemon.mustGodwit(r, "host", "setup", docHost, "--for", client, "--new-token", "--json")), &s); err != nil {
		r.Fatal(err)
	}
	fill := strings.NewReplacer("TOKEN", s.Token).Replace
	if commands := strings.Join(s.Commands, "\n") + "\n"; commands != fill(blocks[block]) {
		r.Errorf("the set-up for %s says\n%sand the document\n%s", client, commands, blocks[block])
	}
	if file != "" && s.File.Text != fill(blocks[file]) {
		r.Errorf("the file of %s is\n%sand in the document\n%s", client, s.File.Text, blocks[file])
	}
	return s
}

// challenges are the values that DNS shows for docHost, in order.
func (r *clientRig) challenges() string {
	r.Helper()
	answer, err := r.dns.ask("_acme-challenge."+docHost, dns.TypeTXT)
	if err != nil {
		r.Fatal(err)
	}
	var values []string
	for _, rr := range answer.Answer {
		txt, ok := rr.(*dns.TXT)
		if !ok || txt.Hdr.TTL != 60 {
			r.Errorf("DNS shows %v", rr)
			continue
		}
		values = append(values, strings.Join(txt.Txt, ""))
	}
	slices.Sort(values)
	return strings.Join(values, " ")
}

// TestCertificatesForHosts: the clients that get certificates for a host do with
// what `godwit host setup` and docs/clients.md say, with the server, the authority
// and the folders of this test in place of theirs.
func TestCertificatesForHosts(t *testing.T) {
	t.Parallel() // lego waits most of the time
	blocks := docBlocks(t, "../docs/clients.md")
	r := newClientRig(t, false, "--changes-per-hour", "0")
	r.add(docHost, "--wildcard")
	here := func(r *clientRig, text string) string {
		return strings.NewReplacer("ddns.example.com", r.server(), "/etc/letsencrypt/", r.dir+"/", "/etc/", r.dir+"/").Replace(text)
	}
	empty := func(r *clientRig) {
		r.Helper()
		if got := r.challenges(); got != "" {
			r.Errorf("DNS still shows %s", got)
		}
	}
	const one, two, three = "J1Sf5ZRnhbJm1mmGzrvJ3TrmGEEyyZ3IlLRuqGVzPcg", "n1-L4Fbbm0GA8y4VVKJWzjZtYMVKQFbOFWRTpxqJ7_4", "r3tE8lTGVSKfZLxTT9aFNPP0zFPiUcTRqgkLZ6mGkzI"

	t.Run("lego", func(t *testing.T) {
		needProgram(t, "lego")
		r := r.in(t)
		ca := newPebble(t, freePort(t))
		roots, _ := ca.start(t, v4(r.daemon.ports.dns))
		s := r.printed(blocks, "lego", "lego", "")
		r.write(filepath.Base(s.File.Path), s.File.Text)
		// It looks for the zone in our DNS, and is not to ask the name servers by their addresses.
		command := strings.NewReplacer("lego --accept-tos", "lego --server "+ca.directory+" --path "+r.dir+" --dns.disable-cp --dns.resolvers "+v4(r.daemon.ports.dns)+" --accept-tos").
			Replace(here(r, strings.Join(s.Commands, "\n")))
		got := r.run(foreign{args: []string{"sh", "-ec", command}, env: []string{"LEGO_CA_CERTIFICATES=" + ca.ca, "SSL_CERT_FILE=" + r.ca}})
		if got.code != 0 {
			t.Fatalf("lego ended with %d:\n%s", got.code, got.said)
		}
		wantCertificate(t, filepath.Join(r.dir, "certificates", docHost+".crt"), roots, docHost, "anything."+docHost)
		empty(r)
	})

	t.Run("certbot's hooks", func(t *testing.T) {
		needProgram(t, "curl")
		r := r.in(t)
		s := r.printed(blocks, "certbot-hooks", "certbot", "godwit.sh")
		if err := os.Chmod(r.write("godwit.sh", here(r, s.File.Text)), 0o700); err != nil {
			t.Fatal(err)
		}
		hook := func(verb, value, want string) {
			t.Helper()
			got := r.run(foreign{args: []string{"sh", "-c", r.dir + "/godwit.sh " + verb}, env: []string{"CERTBOT_DOMAIN=" + docHost, "CERTBOT_VALIDATION=" + value, "CURL_CA_BUNDLE=" + r.ca}})
			if shows := r.challenges(); got.code != 0 || shows != want {
				t.Errorf("%s ended with %d, and DNS shows %q, want %q:\n%s", verb, got.code, shows, want, got.said)
			}
		}
		hook("present", one, one)
		hook("present", two, one+" "+two)
		hook("cleanup", one, two)
		hook("cleanup", two, "")
	})

	t.Run("acme-dns with curl", func(t *testing.T) {
		needProgram(t, "curl")
		r := r.in(t)
		s := r.printed(blocks, "acme-dns", "acme-dns", "")
		curl := func(script string) string {
			t.Helper()
			got := r.run(foreign{args: []string{"sh", "-ec", here(r, script)}, env: []string{"CURL_CA_BUNDLE=" + r.ca}})
			if got.code != 0 {
				t.Fatalf("curl ended with %d:\n%s", got.code, got.said)
			}
			return got.said
		}
		var account struct{ Username, Password, FullDomain, Subdomain string }
		if err := json.Unmarshal([]byte(curl(strings.Join(s.Commands, "\n"))), &account); err != nil || account.FullDomain != "_acme-challenge."+docHost {
			t.Fatalf("registered %+v, %v", account, err)
		}
		for base, value := range map[string]string{"/acme-dns": one, "": two} {
			script := "curl -fsS -X POST https://ddns.example.com" + base + "/update -H 'X-Api-User: " + account.Username + "' -H 'X-Api-Key: " + account.Password + "' -d '" +
				`{"subdomain":"` + account.Subdomain + `","txt":"` + value + `"}'`
			if got := curl(script); got != `{"txt": "`+value+`"}` {
				t.Errorf("answered %s", got)
			}
		}
		if shows := r.challenges(); shows != one+" "+two {
			t.Errorf("DNS shows %s", shows)
		}
		if got := curl("curl -fsS -o /dev/null -w '%{http_code}' https://ddns.example.com/acme-dns/health"); got != "200" {
			t.Errorf("health is %s", got)
		}
		var list []struct{ ID, Kind string }
		if err := json.Unmarshal([]byte(r.daemon.mustGodwit(r, "host", "token", "list", docHost, "--json")), &list); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(c struct{ ID, Kind string }) bool { return c.Kind == "acme" })
		if i < 0 {
			t.Fatalf("the account is not listed: %+v", list)
		}
		r.daemon.mustGodwit(r, "host", "token", "revoke", docHost, list[i].ID)
		got := r.run(foreign{args: []string{"sh", "-ec", here(r, "curl -sS -X POST https://ddns.example.com/acme-dns/update -H 'X-Api-User: "+account.Username+"' -H 'X-Api-Key: "+account.Password+"' -d '"+
			`{"subdomain":"`+account.Subdomain+`","txt":"`+three+`"}'`)}, env: []string{"CURL_CA_BUNDLE=" + r.ca}})
		if got.said != `{"error":"forbidden"}` {
			t.Errorf("a revoked account is answered %s", got.said)
		}
	})

	t.Run("goacmedns", func(t *testing.T) {
		program := needBuilt(t, "goacmedns", buildGoACMEDNS)
		r := r.in(t)
		before := r.challenges()
		token := r.token("host", "token", "add", docHost, "--types", "TXT")
		got := r.run(foreign{args: []string{program, "https://" + docHost + ":" + token + "@" + r.server() + "/acme-dns", "127.0.0.0/8", one[1:] + "a", two[1:] + "a", three}, env: []string{"SSL_CERT_FILE=" + r.ca}})
		if got.code != 0 || got.said != "_acme-challenge."+docHost+"\n" {
			t.Fatalf("it ended with %d:\n%s", got.code, got.said)
		}
		want := append(strings.Fields(before), two[1:]+"a", three) // of three the two newest
		slices.Sort(want)
		if shows := r.challenges(); shows != strings.Join(want, " ") {
			t.Errorf("DNS shows %s, want %s", shows, want)
		}
		// At the root, and without networks, in place of which the library sends null.
		root := r.run(foreign{args: []string{program, "https://" + docHost + ":" + token + "@" + r.server(), "", three}, env: []string{"SSL_CERT_FILE=" + r.ca}})
		if root.code != 0 || root.said != "_acme-challenge."+docHost+"\n" {
			t.Errorf("at the root it ended with %d:\n%s", root.code, root.said)
		}
		if nobody := r.run(foreign{args: []string{program, "https://" + r.server() + "/acme-dns", "", one}, env: []string{"SSL_CERT_FILE=" + r.ca}}); nobody.code != 1 || !strings.Contains(nobody.said, "401") {
			t.Errorf("without a token it ended with %d:\n%s", nobody.code, nobody.said)
		}
	})
}
