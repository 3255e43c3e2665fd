package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"godwit/internal/dnsname"
)

// TestServe starts the server as a person does and stops it as a service
// manager does.
func TestServe(t *testing.T) {
	alone(t)
	dir := filepath.Join(shortDir(t), "d")
	stderr, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run([]string{"serve", "--zone", "dyn.example.com", "--data", dir, "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", "--config", os.DevNull},
			strings.NewReader(""), io.Discard, w)
		_ = w.Close()
	}()
	var said strings.Builder
	signalled := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "godwit host add nas.dyn.example.com --target local:"+dir+" --addresses any") {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Signal(syscall.SIGTERM)
			}
			if err != nil {
				t.Fatal(err)
			}
			signalled = true
		}
	}
	if code := <-done; code != exitDone || !signalled {
		t.Errorf("exit %d, told what to do next: %v\n%s", code, signalled, said.String())
	}
	for file, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "godwit.db"): 0o600, filepath.Join(dir, "seal.key"): 0o600} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
}

func TestAdminSocketIsItsOwners(t *testing.T) {
	d, target := start(t)
	socket := filepath.Join(strings.TrimPrefix(target, "local:"), "admin.sock")
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if got := d.bound.Admin; len(got) != 1 || got[0] != socket {
		t.Errorf("admin listens on %v", got)
	}
}

// TestDeadSocketIsReplaced: a killed server leaves its socket behind.
func TestDeadSocketIsReplaced(t *testing.T) {
	path := filepath.Join(shortDir(t), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another program listens on "+path) {
		t.Errorf("one that is alive: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	l, err = listenSocket(t.Context(), path)
	if err != nil {
		t.Fatalf("one that is dead: %v", err)
	}
	_ = l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(t.Context(), path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v", err)
	}
	if _, err := listenSocket(t.Context(), "/"+strings.Repeat("d", 120)); err == nil || !strings.Contains(err.Error(), "give a shorter --data") {
		t.Errorf("a long path: %v", err)
	}
}

// TestBindErrors: each says which listener, why, and what to do.
func TestBindErrors(t *testing.T) {
	d, _ := start(t)
	for _, c := range []struct{ args, want string }{
		{"--http=" + d.bound.HTTP[0] + " --dns=off", "another program listens on " + d.bound.HTTP[0] + " already"},
		{"--dns=" + d.bound.DNS[0] + " --http=off", "choose another port with --dns"},
		{"--http=192.0.2.77:80 --dns=off", "this machine has no address 192.0.2.77:80"},
	} {
		args := append(strings.Fields(c.args), "--zone=dyn.example.com", "--config="+os.DevNull, "--data="+filepath.Join(shortDir(t), "d"))
		if _, err := openWith(t, args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.args, err, c.want)
		}
	}
	err := explainBind("dns", &net.OpError{Op: "listen", Addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:53")), Err: os.NewSyscallError("bind", syscall.EACCES)})
	if err == nil || !strings.Contains(err.Error(), "setcap cap_net_bind_service") {
		t.Errorf("a low port: %v", err)
	}
}

func TestTwoServersOfOneDirectory(t *testing.T) {
	_, target := start(t)
	_, err := openWith(t, "--zone=dyn.example.com", "--config="+os.DevNull, "--http=off", "--dns=127.0.0.1:0", "--data="+strings.TrimPrefix(target, "local:"))
	if err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("got %v", err)
	}
}

func TestServeCheck(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	zoneFile := filepath.Join(dir, "a.zone")
	write := func(text string) {
		if err := os.WriteFile(zoneFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GODWIT_LOG_LEVEL", "debug")
	write("@ IN MX 10 mail.example.com.\n@ IN NS ns.example.net.\n")
	args := []string{"serve", "--check", "--config", os.DevNull, "--zone", "dyn.example.com", "--zone-file", "dyn.example.com=" + zoneFile, "--data", "/var/lib/godwit"}
	r := call("", args...)
	if r.code != exitDone || !strings.Contains(r.stderr, "The settings are right.") {
		t.Fatalf("got %+v", r)
	}
	// Without the alignment, which depends on how long the directory's name is.
	text := regexp.MustCompile(` +`).ReplaceAllString(strings.ReplaceAll(r.stdout, dir, "/DIR"), " ")
	golden(t, "check.golden", text)
	write("@ IN MX ten mail.example.com.\n")
	if r := call("", args...); r.code != exitFailed || !strings.Contains(r.stderr, zoneFile) {
		t.Errorf("a wrong zone file: %+v", r)
	}
	if r := call("", append(args, "--https", "127.0.0.1:0", "--tls-cert", zoneFile, "--tls-key", zoneFile)...); r.code != exitFailed || !strings.Contains(r.stderr, "give PEM files that belong together") {
		t.Errorf("a wrong certificate: %+v", r)
	}
	if _, err := os.Stat("/var/lib/godwit"); err == nil {
		t.Error("--check made the data directory")
	}
}

// TestKnownVariables: serve warns of variables that mean nothing, and those of
// the other commands do mean something.
func TestKnownVariables(t *testing.T) {
	alone(t)
	leaves(model(t).Node, func(n *kong.Node) {
		for _, group := range n.AllFlags(false) {
			for _, f := range group {
				for _, key := range f.Envs {
					t.Setenv(key, "http://127.0.0.1") // serve takes GODWIT_URL too
				}
			}
		}
	})
	t.Setenv("GODWIT_SECRET", "x")
	t.Setenv("GODWIT_SECRETS", "x")
	r := call("", "serve", "--check", "--config", os.DevNull, "--zone", "dyn.example.com")
	want := "GODWIT_SECRETS means nothing to godwit; did you mean GODWIT_SECRET?\n"
	if r.code != exitDone || strings.Count(r.stderr, "means nothing") != 1 || !strings.Contains(r.stderr, want) {
		t.Errorf("got %+v, want %q", r, want)
	}
}

// TestNameServers: the zone's name servers come from the settings, else from
// its file, else they are ns.<zone> where DNS is listened for.
func TestNameServers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.zone")
	if err := os.WriteFile(file, []byte("@ IN NS ns.example.net.\n@ IN NS a\na IN A 192.0.2.7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"", "dyn.example.com [ns.dyn.example.com=127.0.0.1]"},
		{"--zone-file=dyn.example.com=" + file, "dyn.example.com [ns.example.net a.dyn.example.com=192.0.2.7]"},
		{"--ns=ns1.dyn.example.com=192.0.2.1", "dyn.example.com [ns1.dyn.example.com=192.0.2.1]"},
		{"--zone=dyn.example.com --zone=in.dyn.example.com --ns=x.in.dyn.example.com=192.0.2.1",
			"dyn.example.com [x.in.dyn.example.com=192.0.2.1] in.dyn.example.com [x.in.dyn.example.com=192.0.2.1]"},
	} {
		t.Run(c.args, func(t *testing.T) {
			d, _ := start(t, strings.Fields(c.args)...)
			var got []string
			for _, z := range d.zones() {
				got = append(got, fmt.Sprint(z.Apex, " ", z.NameServers))
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
}

// TestZonesThatWent: hosts of a zone that is not configured are kept, not
// answered, and warned about.
func TestZonesThatWent(t *testing.T) {
	alone(t)
	dir := filepath.Join(shortDir(t), "d")
	args := []string{"--config=" + os.DevNull, "--data=" + dir, "--http=127.0.0.1:0", "--dns=127.0.0.1:0", "--zone=dyn.example.com"}
	d, err := openWith(t, append(args, "--zone=old.example.com")...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.serve(ctx) }()
	must(t, "host", "add", "nas.old.example.com", "--target", "local:"+dir)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	d, err = openWith(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if len(d.warnings) != 1 || !strings.HasPrefix(d.warnings[0], "zone old.example.com is not configured: its hosts (1) are kept") {
		t.Errorf("warnings: %q", d.warnings)
	}
}

func TestDemo(t *testing.T) {
	alone(t)
	t.Setenv("TMPDIR", shortDir(t))
	r := call("", "demo", "--once")
	if r.code != exitDone || strings.Contains(r.stdout, "✗") || !strings.Contains(r.stdout, "All 11 steps went as they should.") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
}

// FuzzAnswer: a DNS answer is read or refused; what is read lies within it, and
// reading costs no more than its length allows.
func FuzzAnswer(f *testing.F) {
	name := dnsname.MustParse("nas.dyn.example.com")
	reply := question(1, name, typeA)
	reply[2] |= 0x80
	f.Add(reply)
	one := append([]byte(nil), reply...)
	one[7] = 1
	f.Add(append(one, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1))
	f.Add(append(one, 0xc0, 12, 0, 2, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12))
	f.Add(append(one, 0xc0, 33, 0, 1)) // a pointer to itself
	f.Add([]byte{0, 0, 0x80, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, msg []byte) {
		began := time.Now()
		a, err := parseAnswer(msg)
		if err != nil {
			return
		}
		if len(a.records)*11 > len(msg) { // a record has 11 octets at least
			t.Errorf("%d records in %d octets", len(a.records), len(msg))
		}
		for _, r := range a.records {
			if r.owner.IsZero() || r.addr.IsValid() == (r.rtype == typeNS) || (r.rtype == typeNS) == r.name.IsZero() {
				t.Errorf("half a record: %+v", r)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%d octets took %v", len(msg), took)
		}
	})
}
