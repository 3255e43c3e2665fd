package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/dnssec"
	"godwit/internal/dnsserver"
	"godwit/internal/tsig"
	dnszone "godwit/internal/zone"
)

const signedRecords = `
$TTL 300
@         IN MX    10 Mail.example.net.
www       IN CNAME home
gone      IN CNAME nothere
child     IN NS    ns.example.net.
old       IN DNAME new
a.new     IN A     192.0.2.9
*.cn      IN CNAME home
_sip._udp IN SRV   0 5 5060 SIP.Example.net.
rp        IN RP    Who.example.net. Txt.example.net.
svc       IN HTTPS 1 Svc.Example.net. alpn=h2
unknown   IN TYPE666 \# 3 abcdef
`

// signedPair is a signed zone and its signed parent, which one server answers
// for, with the child's DS record in the parent. The keepers' clock is the test's
// own, and that of signatures is the true one, which is the validators' too.
type signedPair struct {
	t             *testing.T
	zones         atomic.Pointer[dnszone.Zones]
	mu            sync.Mutex // held while the child changes, or is transferred
	parent, child *dnszone.Zone
	now           time.Time
	keeper        *dnssec.Keeper // of the child
	secured       map[dnsname.Name]*dnszone.Security
	texts         map[dnsname.Name][]byte
	ds            []string
	serial        uint32
	server        netip.AddrPort
	dir           string
}

const parentApex, childApex = "example.org", "dyn.example.org"

func (p *signedPair) Find(qname []byte, qtype uint16) *dnszone.Zone {
	return p.zones.Load().Find(qname, qtype)
}

func (p *signedPair) ZoneKeys(_ context.Context, apex dnsname.Name) ([]byte, error) {
	return p.texts[apex], nil
}

func (p *signedPair) SetZoneKeys(_ context.Context, apex dnsname.Name, text []byte) error {
	p.texts[apex] = text
	return nil
}

// transferKey is of whoever gets the child by AXFR.
var transferKey = tsig.Key{Name: []byte("\x08transfer\x00"), Algorithm: tsig.SHA256, Secret: []byte("0123456789abcdef0123456789abcdef")}

func (p *signedPair) Whole(z *dnszone.Zone) (*dnszone.Transfer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return z.Whole()
}

func (p *signedPair) Since(z *dnszone.Zone, serial uint32) (*dnszone.Transfer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return z.Since(serial)
}

func (p *signedPair) Secure(_ context.Context, apex dnsname.Name, s *dnszone.Security) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secured[apex] = s
	if apex == p.child.Apex() {
		p.child.Secure(s)
	} else {
		p.parent.Secure(s)
	}
	return nil
}

func (p *signedPair) make(apex, records string) *dnszone.Zone {
	p.t.Helper()
	parsed, err := dnszone.Parse(strings.NewReader(records), apex+".zone", dnsname.MustParse(apex))
	if err != nil {
		p.t.Fatal(err)
	}
	p.serial++
	z, err := dnszone.New(dnszone.Config{Apex: dnsname.MustParse(apex), Records: parsed, Serial: p.serial,
		NameServers: []dnszone.NameServer{{Name: dnsname.MustParse("ns." + apex), Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}}})
	if err != nil {
		p.t.Fatal(err)
	}
	return z
}

// delegate has the parent point to the child with these DS records.
func (p *signedPair) delegate(ds ...string) {
	p.t.Helper()
	p.ds = ds
	records := "dyn 300 NS ns.dyn\nns.dyn 300 A 127.0.0.1\n"
	for _, data := range ds {
		records += "dyn 300 DS " + data + "\n"
	}
	p.parent = p.make(parentApex, records)
	p.parent.Secure(p.secured[p.parent.Apex()])
	zones, err := dnszone.NewZones(p.parent, p.child)
	if err != nil {
		p.t.Fatal(err)
	}
	p.zones.Store(zones)
}

func newSignedPair(t *testing.T) *signedPair {
	p := &signedPair{t: t, now: time.Now(), secured: map[dnsname.Name]*dnszone.Security{}, texts: map[dnsname.Name][]byte{}, dir: t.TempDir()}
	p.child = p.make(childApex, signedRecords)
	p.delegate()
	open := func(apex string, lifetime time.Duration) *dnssec.Keeper {
		k, err := dnssec.Open(t.Context(), dnssec.Config{
			Zones: p, Store: p, Apexes: map[dnsname.Name]time.Duration{dnsname.MustParse(apex): 24 * time.Hour}, Lifetime: lifetime,
			Now: func() time.Time { return p.now }, Log: slog.New(slog.DiscardHandler),
			Parent: func(context.Context, dnsname.Name) (dnssec.Parent, error) {
				return dnssec.Parent{DS: p.ds, TTL: 300}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	anchor := open(parentApex, 0)
	p.keeper = open(childApex, 0)
	status, _ := anchor.Status(dnsname.MustParse(parentApex))
	p.write("delv.conf", fmt.Sprintf("trust-anchors { %s. static-key %s; };\n", parentApex, quoteKey(status.DNSKEY)))
	p.write("anchor", fmt.Sprintf("%s. 3600 IN DNSKEY %s\n", parentApex, status.DNSKEY))
	s, err := dnsserver.New(t.Context(), dnsserver.Config{Zones: p, Transfers: p, TransferKeys: []tsig.Key{transferKey}, Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	p.server = s.Addrs()[0]
	return p
}

func quoteKey(data string) string {
	i := strings.LastIndexByte(data, ' ')
	return data[:i] + ` "` + data[i+1:] + `"`
}

func (p *signedPair) write(name, text string) {
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// update changes hosts, and the serial.
func (p *signedPair) update(n int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range []struct {
		name string
		txt  []string
	}{{"home", []string{"a", "b"}}, {"a.ent", nil}, {"*.w", nil}} {
		addrs := []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), netip.AddrFrom4([4]byte{192, 0, 2, byte(n + 100)})}
		if err := p.child.Set(dnsname.MustParse(h.name+"."+childApex), 60, addrs, []netip.Addr{netip.MustParseAddr("2001:db8::7")}, h.txt, uint64(n)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.serial++
	p.child.SetSerial(p.serial)
}

// later lets so much time pass for keys, an hour at a time.
func (p *signedPair) later(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); {
		p.now = p.now.Add(time.Hour)
		p.keeper.Tend(p.t.Context())
	}
}

func (p *signedPair) status() dnssec.Status {
	s, ok := p.keeper.Status(p.child.Apex())
	if !ok {
		p.t.Fatal("the child is not signed")
	}
	return s
}

func (p *signedPair) run(name string, args ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		p.t.Errorf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// questions are one for each form of answer: those with data, and the others.
var signedQuestions = [2][]string{
	{"home A", "home AAAA", "home TXT", "@ SOA", "@ NS", "@ DNSKEY", "@ MX", "www A", "x.w A", "x.y.w AAAA", "*.w A", "a.old A", "x.cn A", "_sip._udp SRV", "rp RP", "svc HTTPS", "unknown TYPE666", "home NSEC"},
	{"nothere A", "a.b.c TXT", "ent A", "home MX", "@ A", "x.w MX", "gone A", "x.old A", "unknown A", "www MX"},
}

func inChild(label string) string {
	if label == "@" {
		return childApex
	}
	return label + "." + childApex
}

// delv asks with delv, which starts at the parent's key each time.
func (p *signedPair) delv(questions ...string) {
	p.t.Helper()
	for _, q := range questions {
		label, rrtype, _ := strings.Cut(q, " ")
		out, _ := exec.CommandContext(p.t.Context(), "delv", "-a", filepath.Join(p.dir, "delv.conf"), "+root="+parentApex, "-p", fmt.Sprint(p.server.Port()), "@127.0.0.1", inChild(label), rrtype).CombinedOutput()
		text := string(out)
		if !strings.Contains(text, "fully validated") || strings.Contains(text, "unsigned") || strings.Contains(text, "broken") {
			p.t.Errorf("delv %s:\n%s", q, text)
		}
	}
}

// unbound asks by a resolver that has nothing in its cache.
func (p *signedPair) unbound(questions ...string) {
	p.t.Helper()
	p.validate("unbound", []string{"-d", "-c"}, `server:
  directory: "%[1]s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: 127.0.0.1@%[2]d
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-file: "%[1]s/anchor"
  num-threads: 1
stub-zone:
  name: %[3]s
  stub-addr: 127.0.0.1@%[4]d
remote-control:
  control-enable: no
`, questions...)
}

// bind asks by another one. It asks servers at one port only, and so is told where
// the child is too.
func (p *signedPair) bind(questions ...string) {
	p.t.Helper()
	p.validate("named", []string{"-g", "-n", "1", "-c"}, `include "%[1]s/delv.conf";
options {
  directory "%[1]s";
  pid-file none;
  session-keyfile none;
  listen-on port %[2]d { 127.0.0.1; };
  listen-on-v6 { none; };
  dnssec-validation yes;
  empty-zones-enable no;
  qname-minimization off;
};
controls { };
zone "." { type forward; forward only; forwarders { 127.0.0.1 port %[4]d; }; };
`, questions...)
}

// copied is a copy of a program: AppArmor forbids some to read files of ours, but
// not a copy.
func (p *signedPair) copied(program string) string {
	p.t.Helper()
	to := filepath.Join(p.dir, program)
	if _, err := os.Stat(to); err == nil {
		return to
	}
	path, err := exec.LookPath(program)
	if err != nil {
		p.t.Fatal(err)
	}
	octets, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(to, octets, 0o700); err != nil {
		p.t.Fatal(err)
	}
	return to
}

// validate starts a resolver that validates, with a configuration made of its
// directory, its port, the parent and the server's port, and asks it.
func (p *signedPair) validate(program string, args []string, config string, questions ...string) {
	t := p.t
	t.Helper()
	port := freePort(t)
	p.write(program+".conf", fmt.Sprintf(config, p.dir, port, parentApex, p.server.Port()))
	cmd := exec.Command(p.copied(program), append(args, filepath.Join(p.dir, program+".conf"))...)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	for try := range 100 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			break
		}
		if try == 99 {
			t.Fatalf("%s does not listen: %v", program, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	query := []string{"@127.0.0.1", "-p", fmt.Sprint(port), "+tries=3", "+time=5", "+dnssec"}
	for _, q := range questions {
		label, rrtype, _ := strings.Cut(q, " ")
		query = append(query, inChild(label), rrtype)
	}
	out := p.run("dig", query...)
	answers := strings.Split(out, ";; Got answer:")[1:]
	if len(answers) != len(questions) {
		t.Errorf("%d answers to %d questions:\n%s", len(answers), len(questions), out)
		return
	}
	for i, a := range answers {
		_, flags, _ := strings.Cut(a, ";; flags:")
		flags, _, _ = strings.Cut(flags, ";")
		if !strings.Contains(a, "status: NOERROR") || !strings.Contains(flags, " ad") {
			t.Errorf("%s %s:\n%s", program, questions[i], a)
		}
	}
}

// dnsviz looks at the whole of it.
func (p *signedPair) dnsviz(labels ...string) {
	p.t.Helper()
	at := fmt.Sprintf("ns.%%s=127.0.0.1:%d", p.server.Port())
	probe := filepath.Join(p.dir, "probe.json")
	args := []string{"probe", "-4", "-A", "-a", parentApex, "-x", parentApex + "+:" + fmt.Sprintf(at, parentApex), "-x", childApex + "+:" + fmt.Sprintf(at, childApex), "-o", probe, childApex}
	for _, l := range labels {
		args = append(args, inChild(l))
	}
	p.run("dnsviz", args...)
	// Without a trust anchor: with one it wants a graphics library that Debian has too new.
	if out := p.run("dnsviz", "grok", "-r", probe); strings.Contains(out, `"errors"`) || strings.Contains(out, `"warnings"`) || !strings.Contains(out, `"status": "VALID"`) {
		p.t.Errorf("dnsviz:\n%s", out)
	}
}

// verifyTransfer judges the child as secondaries get it. Signatures of a transfer begin
// by the keeper's clock.
func (p *signedPair) verifyTransfer() {
	p.t.Helper()
	key := "hmac-sha256:transfer:" + base64.StdEncoding.EncodeToString(transferKey.Secret)
	verifySigned(p.t, childApex, p.now, "@127.0.0.1", "-p", fmt.Sprint(p.server.Port()), "-y", key)
}

// TestSignedZone has six validators look at a signed zone and its parent while
// the key changes three times, with updates in between.
func TestSignedZone(t *testing.T) {
	for _, program := range []string{"delv", "dig", "unbound", "named", "drill", "ldns-verify-zone", "dnsviz"} {
		needProgram(t, program)
	}
	rollovers := 3
	if long() {
		rollovers = 25
	}
	p := newSignedPair(t)
	p.update(1)
	// Signed, and not yet trusted: the parent has no DS record.
	p.later(26 * time.Hour)
	p.delegate(p.status().DS.Text())
	p.later(3 * time.Hour)
	p.delv(signedQuestions[0]...)
	p.delv(append(signedQuestions[1], "child DS")...) // a resolver would look for the child's own servers
	p.unbound(signedQuestions[0]...)
	p.unbound(signedQuestions[1]...)
	p.bind(signedQuestions[0]...)
	p.bind(signedQuestions[1]...)
	p.dnsviz("home", "nothere")
	p.verifyTransfer()
	few := []string{"home A", "nothere A", "x.w A", "ent TXT"}
	keys := map[uint16]bool{}
	for i := range rollovers {
		old := p.status().DS
		keys[old.Tag] = true
		if err := p.keeper.Roll(t.Context(), p.child.Apex()); err != nil {
			t.Fatal(err)
		}
		steps := 0
		for p.status().DS == old || len(p.status().Keys) > 1 {
			if s := p.status(); s.DS != old && s.Ready {
				p.delegate(s.DS.Text())
			}
			if steps++; steps > 100 {
				t.Fatalf("rollover %d does not end: %+v", i, p.status())
			}
			p.update(2 + i*100%50 + steps%50)
			state := fmt.Sprintf("%+v", p.status().Keys)
			p.later(time.Hour)
			if fmt.Sprintf("%+v", p.status().Keys) != state {
				p.delv(few[:2]...)
				p.unbound(few...)
				p.verifyTransfer()
			}
		}
		p.dnsviz("home")
	}
	if len(keys) != rollovers {
		t.Errorf("%d keys in %d rollovers", len(keys), rollovers)
	}
	drill := p.run("drill", "-p", fmt.Sprint(p.server.Port()), "-D", "-k", filepath.Join(p.dir, "anchor"), "@127.0.0.1", parentApex, "SOA")
	if strings.Contains(strings.ToLower(drill), "bogus") {
		t.Errorf("drill:\n%s", drill)
	}
}
