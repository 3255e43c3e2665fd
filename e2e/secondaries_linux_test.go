package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/api"
)

// follower is a name server of others that follows ours.
type follower struct {
	name    string
	program string
	addr    string
	block   string   // of docs/secondaries.md: its configuration
	adds    string   // what only a test needs in it
	args    []string // CONFIG stands for the file
	setup   string   // a block of commands, run once
	catalog bool     // it learns of zones from the catalog
	counted bool     // it must follow by IXFR

	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

func followers() []*follower {
	return []*follower{
		{name: "Knot", program: "knotd", addr: "192.0.2.2", block: "knot.conf", args: []string{"-c", "CONFIG"}, catalog: true, counted: true,
			adds: "log:\n  - target: stderr\n    any: info\n"},
		{name: "BIND", program: "named", addr: "192.0.2.3", block: "named.conf", args: []string{"-g", "-n", "1", "-c", "CONFIG"}, catalog: true, counted: true,
			adds: "controls {};\n"},
		{name: "NSD", program: "nsd", addr: "192.0.2.4", block: "nsd.conf", args: []string{"-d", "-c", "CONFIG"}, counted: true,
			adds: "server:\n username: \"\"\n pidfile: \"/var/lib/nsd/pid\"\n xfrdfile: \"/var/lib/nsd/xfrd\"\n zonelistfile: \"/var/lib/nsd/list\"\n xfrdir: \"/var/lib/nsd\"\n server-count: 1\n xfrd-reload-timeout: 0\nremote-control:\n control-enable: no\n"},
		{name: "PowerDNS", program: "pdns_server", addr: "192.0.2.5", block: "pdns.conf", args: []string{"--config-dir=DIR", "--socket-dir=DIR", "--daemon=no", "--guardian=no"}, setup: "pdnsutil"},
	}
}

var transferDirs = regexp.MustCompile(`/var/lib/(knot|nsd|powerdns)|/var/cache/bind|/run/knot|/etc/(bind|powerdns|godwit)`)

// prepare writes the follower's files as the document has them, with folders and
// the key of the test.
func (f *follower) prepare(t *testing.T, blocks map[string]string, secret, keyFile string) {
	t.Helper()
	needProgram(t, f.program)
	f.t, f.dir = t, t.TempDir()
	here := func(text string) string {
		text = strings.ReplaceAll(text, "SECRET", secret)
		text = strings.ReplaceAll(text, "/etc/bind/transfer.key", keyFile)
		return transferDirs.ReplaceAllLiteralString(text, f.dir)
	}
	if blocks[f.block] == "" {
		t.Fatalf("docs/secondaries.md has no block %s", f.block)
	}
	if err := os.WriteFile(filepath.Join(f.dir, f.block), []byte(here(blocks[f.block]+f.adds)), 0o600); err != nil {
		t.Fatal(err)
	}
	if f.setup != "" {
		script := strings.ReplaceAll(here(blocks[f.setup]), "pdnsutil ", "pdnsutil --config-dir="+f.dir+" ")
		if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", f.setup, err, out)
		}
	}
	// AppArmor forbids some of these programs to read files of ours, but not a copy.
	path, err := exec.LookPath(f.program)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, f.program), octets, 0o700); err != nil {
		t.Fatal(err)
	}
}

func (f *follower) start() {
	f.t.Helper()
	log, err := os.OpenFile(filepath.Join(f.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer log.Close()
	var args []string
	for _, a := range f.args {
		args = append(args, strings.NewReplacer("CONFIG", filepath.Join(f.dir, f.block), "DIR", f.dir).Replace(a))
	}
	f.cmd = exec.Command(filepath.Join(f.dir, f.program), args...)
	f.cmd.Dir, f.cmd.Stdout, f.cmd.Stderr = f.dir, log, log
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := f.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	done := make(chan struct{})
	f.done = done
	cmd := f.cmd
	go func() { cmd.Wait(); close(done) }()
}

func (f *follower) stop() {
	f.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-f.done:
	case <-time.After(10 * time.Second):
		f.cmd.Process.Kill()
		<-f.done
	}
}

func (f *follower) log() string {
	text, _ := os.ReadFile(filepath.Join(f.dir, "log"))
	return string(text)
}

// serialAt is what a server has of a zone; 0: nothing yet.
func serialAt(addr, apex string) uint32 {
	m := dns.NewMsg(apex, dns.TypeSOA)
	m.ID, m.RecursionDesired, m.UDPSize = 7, false, 1232
	c := dns.NewClient()
	c.ReadTimeout = time.Second
	res, _, err := c.Exchange(context.Background(), m, "udp", addr+":53")
	if err != nil || res.Rcode != dns.RcodeSuccess || len(res.Answer) != 1 {
		return 0
	}
	soa, ok := res.Answer[0].(*dns.SOA)
	if !ok {
		return 0
	}
	return soa.Serial
}

// secondaryRig is a primary as docs/secondaries.md has it, and its secondaries, in
// a network of their own.
type secondaryRig struct {
	t         *testing.T
	daemon    *daemon
	followers []*follower
	key       string // file
	hosts     []testHost
	updates   int
}

const primaryAddr = "192.0.2.1"

func newSecondaryRig(t *testing.T, hosts int, followers []*follower, args ...string) *secondaryRig {
	t.Helper()
	if err := loopbackUp(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 5; i++ {
		mustRun(t, "ip", "addr", "add", fmt.Sprintf("192.0.2.%d/32", i), "dev", "lo")
	}
	r := &secondaryRig{t: t, key: filepath.Join(t.TempDir(), "transfer.key"), followers: followers}
	text := mustRun(t, "tsig-keygen", "transfer")
	if err := os.WriteFile(r.key, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := regexp.MustCompile(`secret "(.*)"`).FindStringSubmatch(text)[1]
	blocks := docBlocks(t, "../docs/secondaries.md")
	config := filepath.Join(t.TempDir(), "godwit.toml")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(blocks["primary"], "/etc/godwit/transfer.key", r.key)), 0o600); err != nil {
		t.Fatal(err)
	}
	l := launch{args: append([]string{"--config", config, "--log-level", "debug"}, append(args, openLimits...)...)}
	r.daemon = l.daemon(t)
	// The document says where DNS is answered.
	r.daemon.args = slices.DeleteFunc(r.daemon.args, func(a string) bool { return a == "--dns" || a == v4(r.daemon.ports.dns) || a == v6(r.daemon.ports.dns) })
	t.Cleanup(func() {
		r.daemon.kill()
		for _, f := range r.followers {
			if f.cmd != nil {
				f.stop()
			}
			if t.Failed() {
				t.Logf("%s said:\n%s", f.name, tail(f.log(), 40))
			}
		}
		if t.Failed() {
			t.Logf("the daemon said:\n%s", tail(r.daemon.output(), 60))
		}
		if strings.Contains(r.daemon.output(), "DATA RACE") {
			t.Errorf("the race detector spoke up:\n%s", r.daemon.output())
		}
	})
	r.start()
	r.hosts = testHosts("home", hosts)
	mustAddHosts(t, r.daemon, r.hosts)
	for _, f := range r.followers {
		f.prepare(t, blocks, secret, r.key)
		f.start()
	}
	return r
}

func (r *secondaryRig) start() {
	r.t.Helper()
	if err := r.daemon.start(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.daemon.waitReady(); err != nil {
		r.t.Fatal(err)
	}
}

// update changes one host after the other, so many times.
func (r *secondaryRig) update(n int, pause time.Duration) {
	r.t.Helper()
	for range n {
		r.updates++
		h := r.hosts[r.updates%len(r.hosts)]
		if got, err := r.daemon.updateFrom(sourceAddress(r.updates), h.Name, h.Secret); err != nil || got.status != 201 {
			r.t.Fatalf("update of %s: %v %+v", h.Name, err, got)
		}
		time.Sleep(pause) // as updates come in life; they need not wait for each other
	}
}

// level waits until all secondaries have the primary's serial of a zone.
func (r *secondaryRig) level(apex string, followers ...*follower) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		want := serialAt(primaryAddr, apex)
		behind := slices.DeleteFunc(slices.Clone(followers), func(f *follower) bool { return want != 0 && serialAt(f.addr, apex) == want })
		if len(behind) == 0 {
			return
		}
		if time.Now().After(deadline) {
			for _, f := range behind {
				r.t.Errorf("%s has serial %d of %s, the primary %d", f.name, serialAt(f.addr, apex), apex, want)
			}
			r.t.FailNow()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// equal compares what each server gives by AXFR.
func (r *secondaryRig) equal(apex string, followers ...*follower) {
	r.t.Helper()
	whole := func(addr string) []string {
		// PowerDNS, for one, sends an RRset's records in an order of its own.
		out := mustRun(r.t, "dig", "@"+addr, apex, "AXFR", "-k", r.key, "+noall", "+answer", "+onesoa", "-b", primaryAddr)
		var lines []string
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) > 3 && fields[3] != "TSIG" && fields[0][0] != ';' {
				lines = append(lines, strings.ToLower(strings.Join(fields, " ")))
			}
		}
		slices.Sort(lines)
		return lines
	}
	want := whole(primaryAddr)
	if len(want) < len(r.hosts) {
		r.t.Fatalf("the primary gives %d records:\n%s", len(want), strings.Join(want, "\n"))
	}
	for _, f := range followers {
		if got := whole(f.addr); !slices.Equal(got, want) {
			r.t.Errorf("%s has\n%s\nthe primary\n%s", f.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// transfers counts what the primary sent to a secondary, by kind.
func (r *secondaryRig) transfers(apex string, f *follower) (axfr, ixfr int) {
	for line := range strings.Lines(r.daemon.output()) {
		if strings.Contains(line, "msg=transfer zone="+apex+" client="+f.addr+" ") {
			axfr += strings.Count(line, "kind=axfr")
			ixfr += strings.Count(line, "kind=ixfr")
		}
	}
	return axfr, ixfr
}

// TestSecondaries lets Knot, BIND, NSD and PowerDNS follow as docs/secondaries.md
// says, through restarts of each and a kill of the primary, and learn of a new
// zone from the catalog.
func TestSecondaries(t *testing.T) {
	needRoot(t, "for a network of its own")
	for _, program := range []string{"ip", "dig", "tsig-keygen", "sqlite3"} {
		needProgram(t, program)
	}
	if !isolated(t, "--net") {
		return
	}
	r := newSecondaryRig(t, 20, followers())
	r.level(zone, r.followers...)
	updates, pause := 200, 10*time.Millisecond
	if long() {
		updates, pause = 10_000, time.Millisecond
	}
	part := updates / (len(r.followers) + 2)
	for _, f := range r.followers {
		r.update(part, pause)
		f.stop()
		r.update(10, pause)
		f.start()
		r.level(zone, f)
	}
	r.update(part, pause)
	r.level(zone, r.followers...)
	r.daemon.kill()
	r.start()
	r.update(max(part, updates-r.updates), pause)
	r.level(zone, r.followers...)
	r.equal(zone, r.followers...)
	for _, f := range r.followers {
		axfr, ixfr := r.transfers(zone, f)
		t.Logf("%s: %d updates, %d IXFR, %d AXFR", f.name, r.updates, ixfr, axfr)
		// The first one, one after the kill, and one after its own start if it kept nothing.
		if f.counted && (axfr > 3 || ixfr < 5) {
			t.Errorf("%s got the zone %d times and a difference %d times", f.name, axfr, ixfr)
		}
	}

	var zones []api.Zone
	if err := json.Unmarshal([]byte(r.daemon.mustGodwit(t, "zone", "list", "--json")), &zones); err != nil {
		t.Fatal(err)
	}
	for i, s := range zones[0].Secondaries {
		if s.Problem != "" || s.Notified.IsZero() || s.Serial != zones[0].Serial || !strings.HasPrefix(s.Address, r.followers[i].addr+":") {
			t.Errorf("zone list says of %s: %+v", r.followers[i].name, s)
		}
	}

	// A further zone: who reads the catalog has it without being told.
	if code, err := r.daemon.stop(); err != nil || code != 0 {
		t.Fatalf("exit %d, %v", code, err)
	}
	r.daemon.args = append(r.daemon.args, "--zone", "lab.example.net")
	r.start()
	readers := slices.DeleteFunc(slices.Clone(r.followers), func(f *follower) bool { return !f.catalog })
	r.level("lab.example.net", readers...)
}
