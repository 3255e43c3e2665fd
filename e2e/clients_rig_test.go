//go:build linux

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
)

// clientRig is a daemon on HTTPS with a private certification authority, a relay
// in front of it, and a folder for one client.
type clientRig struct {
	testing.TB
	daemon *daemon
	relay  *relay // nil: clients speak to the daemon itself
	scheme string // https, or, without a relay, http
	https  int    // the daemon's own HTTPS port, on 127.0.0.1
	dir    string
	ca     string // file of the authority's certificate
	dns    *resolver
}

// newClientRig starts a daemon, with more flags, and a relay if behind is set.
func newClientRig(t testing.TB, behind bool, flags ...string) *clientRig {
	t.Helper()
	r := &clientRig{TB: t, scheme: "https", dir: t.TempDir(), https: freePort(t)}
	ca, cert, key, err := makeCertificates("localhost", net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	r.ca = r.write("ca.pem", string(ca))
	args := append(flags, "--https", v4(r.https), "--tls-cert", r.write("cert.pem", string(cert)), "--tls-key", r.write("key.pem", string(key)), "--url", "https://ddns.example.com", "--log-level", "debug")
	if behind {
		args = append(args, "--trusted-proxy", "127.0.0.1")
	}
	r.daemon = serve(t, launch{plain: true, args: args})
	pair, err1 := tls.X509KeyPair(cert, key)
	res, err2 := newResolver(r.daemon.ports.dns)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	r.dns = res
	t.Cleanup(res.close)
	if behind {
		r.relay = newRelay(t, &tls.Config{Certificates: []tls.Certificate{pair}}, func() (net.Conn, error) { return r.dial(r.https) })
	}
	return r
}

// dial connects to a port of this machine, and trusts the rig's authority alone.
func (r *clientRig) dial(port int) (*tls.Conn, error) {
	ca, err := os.ReadFile(r.ca)
	if err != nil {
		return nil, err
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(ca)
	return tls.Dial("tcp", v4(port), &tls.Config{RootCAs: trust, ServerName: "localhost"})
}

// in is the rig with a folder of its own, for another client.
func (r *clientRig) in(t testing.TB) *clientRig {
	c := *r
	c.TB, c.dir = t, t.TempDir()
	return &c
}

func (r *clientRig) port() int {
	switch {
	case r.relay != nil:
		return r.relay.port
	case r.scheme == "http":
		return r.daemon.ports.http
	}
	return r.https
}

// server is what clients call the server.
func (r *clientRig) server() string {
	if r.scheme == "http" {
		return r.address() // its daemon is at ::1 too
	}
	return "localhost:" + strconv.Itoa(r.port())
}

// address is server for clients to which a name without a dot is none.
func (r *clientRig) address() string { return v4(r.port()) }

// write makes a file that nobody else may read.
func (r *clientRig) write(name, text string) string {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	return path
}

func (r *clientRig) read(name string) string {
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Fatal(err)
	}
	return string(data)
}

// add makes a host that takes documentation addresses and returns its token.
func (r *clientRig) add(host string, flags ...string) (token string) {
	r.Helper()
	return r.token(append([]string{"host", "add", host, "--addresses", "any"}, flags...)...)
}

// token runs a command that makes one.
func (r *clientRig) token(args ...string) string {
	r.Helper()
	var made struct{ Token string }
	if err := json.Unmarshal([]byte(r.daemon.mustGodwit(r, append(args, "--json")...)), &made); err != nil || made.Token == "" {
		r.Fatalf("godwit %s made no token (%v)", strings.Join(args, " "), err)
	}
	return made.Token
}

// shows asks DNS for both families of a host; space between addresses, "" for none.
func (r *clientRig) shows(host string) string {
	r.Helper()
	a, err1 := r.dns.addresses(host)
	res, err2 := r.dns.ask(host, dns.TypeAAAA)
	if err := errors.Join(err1, err2); err != nil {
		r.Fatal(err)
	}
	list := strings.Fields(a)
	for _, rr := range res.Answer {
		if aaaa, ok := rr.(*dns.AAAA); ok {
			list = append(list, aaaa.Addr.String())
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// down ends the daemon as a service manager does; who calls is refused. up starts
// it again.
func (r *clientRig) down() {
	r.Helper()
	r.relay.down()
	if code, err := r.daemon.stop(); err != nil || code != 0 {
		r.Fatalf("the daemon ended with %d (%v)", code, err)
	}
}

func (r *clientRig) up() {
	r.Helper()
	if err := errors.Join(r.daemon.start(), r.daemon.waitReady()); err != nil {
		r.Fatal(err)
	}
	r.relay.up()
}

// exhaust changes a host until it may not be changed any more; it is last at the
// address that is returned.
func (r *clientRig) exhaust(host, token string) string {
	r.Helper()
	last := ""
	source := netip.MustParseAddr("127.0.1.1")
	for range 100 {
		got, err := r.daemon.updateFrom(source.String(), host, token)
		switch {
		case err == nil && got.status == 429:
			return last
		case err != nil || got.status != 201:
			r.Fatalf("update of %s from %s: %v %+v", host, source, err, got)
		}
		last, source = source.String(), source.Next()
	}
	r.Fatal("there is no limit")
	return ""
}

// foreign is one run of a program that we did not write.
type foreign struct {
	args []string
	env  []string // beside PATH, HOME and the like
	// until ends a program that does not end by itself, when it has said this;
	// "": it ends by itself.
	until string
}

// ran is how it went.
type ran struct {
	code  int    // exit code
	alive bool   // it was still there when it had said what it was waited for
	said  string // on both streams, in order
}

// run runs a program to its end.
func (r *clientRig) run(c foreign) ran {
	r.Helper()
	p := r.start(c)
	alive := p.until(c.until)
	if alive {
		p.signal(syscall.SIGTERM)
	}
	out := p.end()
	out.alive = alive
	return out
}

// process is a program that runs.
type process struct {
	rig    *clientRig
	cmd    *exec.Cmd
	exited chan struct{} // closed when it is gone
	err    error         // what Wait said; after exited

	mu    sync.Mutex // guards following
	said  strings.Builder
	spoke chan struct{} // closed, and another one, when it says more
}

// start starts a program in the rig's folder, in which it finds nothing of this
// machine's user.
func (r *clientRig) start(c foreign) *process {
	r.Helper()
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Dir = r.dir
	// Names that are asked for on the way are not to be waited for.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "LC_ALL=C", "TZ=UTC", "RES_OPTIONS=timeout:1 attempts:1"}, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{rig: r, cmd: cmd, exited: make(chan struct{}), spoke: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	r.Cleanup(func() {
		cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// Write takes what the program says.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Write(text)
	close(p.spoke)
	p.spoke = make(chan struct{})
	return len(text), nil
}

func (p *process) text() (said string, spoke <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String(), p.spoke
}

// until waits until the program has said something, or is gone, and tells whether
// it has said it. Nothing is ever said.
func (p *process) until(something string) bool {
	p.rig.Helper()
	late := time.After(patience)
	for {
		said, spoke := p.text()
		if something != "" && strings.Contains(said, something) {
			return true
		}
		select {
		case <-spoke:
		case <-p.exited:
			said, _ = p.text()
			return something != "" && strings.Contains(said, something)
		case <-late:
			p.rig.Fatalf("%s neither ends nor says %q:\n%s", p.cmd.Path, something, said)
		}
	}
}

// wait is until for what must be said.
func (p *process) wait(something string) {
	p.rig.Helper()
	if !p.until(something) {
		said, _ := p.text()
		p.rig.Fatalf("%s ended and did not say %q:\n%s", p.cmd.Path, something, said)
	}
}

func (p *process) signal(s os.Signal) { p.cmd.Process.Signal(s) }

// end waits until the program is gone.
func (p *process) end() ran {
	p.rig.Helper()
	p.until("")
	var exit *exec.ExitError
	said, _ := p.text()
	if p.err != nil && !errors.As(p.err, &exit) {
		p.rig.Fatalf("%s: %v\n%s", strings.Join(p.cmd.Args, " "), p.err, said)
	}
	return ran{code: p.cmd.ProcessState.ExitCode(), said: said}
}
