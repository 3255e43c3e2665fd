package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"godwit/internal/doctor"
)

// tree is a piece of the DNS: the server under examination, the server of the
// parent zone example.com, and a resolver that asks the two.
type tree struct {
	t        *testing.T
	target   string
	resolver string
	port     string // of both servers, each at an address of its own
	http     string
}

// plant makes a tree. dyn is what the parent zone says of dyn.example.com.
func plant(t *testing.T, dyn string, flags ...string) *tree {
	t.Helper()
	d, target := start(t, append([]string{"--ns=ns1.dyn.example.com=127.0.0.1"}, flags...)...)
	server := netip.MustParseAddrPort(d.bound.DNS[0])
	file := filepath.Join(t.TempDir(), "example.com.zone")
	if err := os.WriteFile(file, []byte("$TTL 3600\n@ NS ns.example.com.\nns A 127.0.0.2\n"+dyn), 0o600); err != nil {
		t.Fatal(err)
	}
	parent := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), server.Port())
	start(t, "--zone=example.com", "--zone-file=example.com="+file, "--ns=ns.example.com=127.0.0.2", "--dns="+parent.String())
	t.Setenv("GODWIT_TARGET", target)
	return &tree{t, target, relay(t, server, parent), fmt.Sprint(server.Port()), d.url}
}

// relay is a resolver without a cache: it asks the first server for what is below
// dyn.example.com, and the second for all else.
func relay(t *testing.T, server, parent netip.AddrPort) string {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		room := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(room)
			if err != nil {
				return
			}
			to := parent
			if bytes.Contains(room[:n], []byte("\x03dyn\x07example\x03com")) {
				to = server
			}
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				continue
			}
			if _, err = c.Write(room[:n]); err == nil {
				n, err = c.Read(room)
			}
			_ = c.Close()
			if err == nil {
				_, _ = conn.WriteToUDPAddrPort(room[:n], from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// examine runs the command.
func (tr *tree) examine(want int, name string) doctor.Report {
	tr.t.Helper()
	r := call("", "doctor", name, "--resolver", tr.resolver, "--dns-port", tr.port, "--json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != want || report.Right != (want == 0) {
		tr.t.Fatalf("exit %d, want %d: %v\n%s%s", r.code, want, err, r.stdout, r.stderr)
	}
	return report
}

// wrong checks that exactly these checks are wrong, each with a text.
func (tr *tree) wrong(r doctor.Report, want map[string]string) {
	tr.t.Helper()
	for _, f := range r.Findings {
		text, expected := want[f.Check]
		if (f.State == doctor.Wrong) != expected {
			tr.t.Errorf("%s %s: %s", f.State, f.Check, f.What)
		}
		if expected && (!strings.Contains(f.What, text) || len(f.Do) == 0) {
			tr.t.Errorf("%s says %q and %q, want %q", f.Check, f.What, f.Do, text)
		}
		delete(want, f.Check)
	}
	for check := range want {
		tr.t.Errorf("%s was not looked at", check)
	}
}

const delegated = "dyn NS ns1.dyn\nns1.dyn A 127.0.0.1\n"

// update sets the host to this machine's address, or is refused.
func (tr *tree) update(name, token string) {
	tr.t.Helper()
	tr.send(name, token, "{}")
}

func (tr *tree) send(name, token, body string) {
	tr.t.Helper()
	req, err := http.NewRequestWithContext(tr.t.Context(), http.MethodPut, tr.http+"/v1/hosts/"+name+"/addresses", strings.NewReader(body))
	if err != nil {
		tr.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", "router/1.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tr.t.Fatal(err)
	}
	_ = res.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func tokenIn(text string) string {
	return regexp.MustCompile(`[a-z2-7]{8}-[a-z2-7]{26}`).FindString(text)
}

// TestDoctorWell: a name with which nothing is wrong, then with what its owner and
// its operator can do to it.
func TestDoctorWell(t *testing.T) {
	tr := plant(t, delegated)
	const name = "nas.dyn.example.com"
	token := tokenIn(must(t, "host", "add", name, "--addresses", "any", "--follower", "tv.dyn.example.com=::1,a"))
	tr.wrong(tr.examine(1, name), map[string]string{"addresses": "no update has ever been accepted"})

	tr.update(name, token)
	tr.examine(0, name)
	text := call("", "doctor", name, "--resolver", tr.resolver, "--dns-port", tr.port)
	if text.code != 0 || strings.Contains(text.stdout, "✗") || !strings.Contains(text.stdout, "Nothing is wrong with "+name+".") {
		t.Errorf("%+v", text)
	}
	for _, want := range []string{
		`(?m)^✓ last update +changed less than a minute ago at door signed from 127\.0\.0\.1 \(router/1\.0\)$`,
		`(?m)^✓ delegation +the parent zone example\.com names ns1\.dyn\.example\.com$`,
		`(?m)^✓ glue +ns1\.dyn\.example\.com is at 127\.0\.0\.1$`,
		`(?m)^✓ name server ns1\.dyn\.example\.com +127\.0\.0\.1 answers 127\.0\.0\.1, serial \d+$`,
		`(?m)^✓ follower tv\.dyn\.example\.com +127\.0\.0\.1 answers 127\.0\.0\.1$`,
		`(?m)^✓ resolver +127\.0\.0\.1:\d+ says 127\.0\.0\.1, for 1m0s more$`,
	} {
		if !regexp.MustCompile(want).MatchString(text.stdout) {
			t.Errorf("it does not say %s:\n%s", want, text.stdout)
		}
	}
	if r := tr.examine(0, "tv.dyn.example.com"); !strings.Contains(fmt.Sprint(r.Findings), "it follows "+name) {
		t.Errorf("of the follower: %+v", r)
	}

	tr.update(name, "aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa")
	tr.wrong(tr.examine(1, name), map[string]string{"refusals": "at door signed from 127.0.0.1 (router/1.0): bad-proof"})
	tr.update(name, token)
	tr.examine(0, name)

	must(t, "host", "set", name, "--suspended")
	r := tr.examine(1, name)
	tr.wrong(r, map[string]string{"host": "it is suspended"})
	if !strings.Contains(strings.Join(r.Do, "\n"), "godwit host set "+name+" --suspended=off") {
		t.Errorf("to do: %q", r.Do)
	}
	must(t, "host", "set", name, "--suspended=off")
	id := strings.Split(token, "-")[0]
	must(t, "host", "token", "revoke", name, id)
	tr.wrong(tr.examine(1, name), map[string]string{"credentials": "nobody can update the host"})
}

// TestDoctorParent: what can be wrong above the zone.
func TestDoctorParent(t *testing.T) {
	const ns1 = "name server ns1.dyn.example.com"
	for _, c := range []struct {
		name, dyn string
		wrong     map[string]string
	}{
		{"no delegation", "", map[string]string{"delegation": "the parent zone example.com does not know dyn.example.com"}},
		{"another's address", "dyn NS ns1.dyn\nns1.dyn A 127.0.0.9\n", map[string]string{"glue": "the parent zone has ns1.dyn.example.com at 127.0.0.9, and the server says 127.0.0.1",
			ns1: "127.0.0.9 does not answer: nothing listens there"}},
		{"another's name", "dyn NS ns9.example.com.\nns9 A 127.0.0.1\n", map[string]string{"delegation": "knows nothing of ns9.example.com; ns1.dyn.example.com is missing there"}},
		{"one that serves another zone", delegated + "dyn NS ns.example.com.\n", map[string]string{"delegation": "knows nothing of ns.example.com",
			"name server ns.example.com": "127.0.0.2 answers (NOERROR), but not for dyn.example.com"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := plant(t, c.dyn)
			const name = "nas.dyn.example.com"
			tr.update(name, tokenIn(must(t, "host", "add", name, "--addresses", "any")))
			tr.wrong(tr.examine(1, name), c.wrong)
		})
	}
}

// TestDoctorOtherServers: a server of the zone, and a resolver, that say something
// else.
func TestDoctorOtherServers(t *testing.T) {
	tr := plant(t, delegated+"dyn NS ns2.dyn\nns2.dyn A 127.0.0.3\n", "--ns=ns2.dyn.example.com=127.0.0.3")
	const name = "nas.dyn.example.com"
	tr.update(name, tokenIn(must(t, "host", "add", name, "--addresses", "any")))
	tr.wrong(tr.examine(1, name), map[string]string{"name server ns2.dyn.example.com": "127.0.0.3 does not answer: nothing listens there"})

	// Another installation of the same zone, in which the host has another address,
	// and a resolver that has asked it.
	other, otherTarget := start(t, "--dns=127.0.0.3:"+tr.port)
	token := tokenIn(must(t, "host", "add", name, "--addresses", "any", "--source", "free", "--target", otherTarget))
	(&tree{t: t, http: other.url}).send(name, token, `{"a":["127.0.0.7"]}`)
	t.Setenv("GODWIT_TARGET", tr.target)
	parent := netip.MustParseAddrPort("127.0.0.2:" + tr.port)
	tr.resolver = relay(t, netip.MustParseAddrPort("127.0.0.3:"+tr.port), parent)
	r := tr.examine(1, name)
	tr.wrong(r, map[string]string{"name server ns2.dyn.example.com": "127.0.0.3 answers 127.0.0.7, and 127.0.0.1 is stored", "resolver": "says 127.0.0.7, and 127.0.0.1 is stored; it may hold that for 1m0s more"})
	if !strings.Contains(strings.Join(r.Do, "\n"), "wait 1m0s") {
		t.Errorf("to do: %q", r.Do)
	}

	// Nothing answers for the resolver's part: that is said, and is not the name's fault.
	tr.resolver = "127.0.0.9:" + tr.port
	for _, f := range tr.examine(1, name).Findings {
		if f.Check == "delegation" && (f.State != doctor.Note || !strings.Contains(f.What, "nothing listens there")) {
			t.Errorf("%+v", f)
		}
	}
}

func TestDoctorUsage(t *testing.T) {
	_, target := start(t)
	t.Setenv("GODWIT_TARGET", target)
	for want, args := range map[string][]string{
		`--resolver "here" is not an address`: {"doctor", "nas.dyn.example.com", "--resolver", "here"},
	} {
		if r := call("", args...); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := call("", "doctor", "nas.dyn.example.com", "--resolver", "127.0.0.1"); r.code != exitFailed || !strings.Contains(r.stderr, "there is no host nas.dyn.example.com") {
		t.Errorf("%+v", r)
	}
}
