//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// long tells whether this is make long.
func long() bool { return os.Getenv("GODWIT_LONG") != "" }

func cutEnv(kv string) (key, value string, ok bool) { return strings.Cut(kv, "=") }

// isSetting tells whether godwit reads that variable.
func isSetting(key string) bool {
	return strings.HasPrefix(key, "GODWIT_") && key != "GODWIT_LONG"
}

// ports are the ports of one daemon, the same on 127.0.0.1 and ::1.
type ports struct{ http, dns int }

// portsTaken counts up below the range from which the kernel gives clients their
// ports, so that no client takes the port of a daemon that is just restarting.
var portsTaken atomic.Int32

func newPorts(t testing.TB) ports {
	t.Helper()
	return ports{freePort(t), freePort(t)}
}

func freePort(t testing.TB) int {
	t.Helper()
	for range 2000 {
		port := 10000 + (os.Getpid()*97+int(portsTaken.Add(1)))%22000
		if portFree(port) {
			return port
		}
	}
	t.Fatal("no free port between 10000 and 32000")
	return 0
}

func portFree(port int) bool {
	for _, host := range []string{"127.0.0.1", "::1"} {
		at := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := net.Listen("tcp", at)
		if err != nil {
			return false
		}
		l.Close()
		p, err := net.ListenPacket("udp", at)
		if err != nil {
			return false
		}
		p.Close()
	}
	return true
}

func v4(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
func v6(port int) string { return fmt.Sprintf("[::1]:%d", port) }

// daemon is a running `godwit serve`.
type daemon struct {
	program string
	data    string
	ports   ports
	args    []string // of serve, all of them
	log     string   // file of its stderr, appended to by each start
	out     string   // file of its stdout; empty: log too
	dir     string   // working directory; empty: the test's
	env     []string // nil: the test's

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	err    error         // what Wait said; after exited
}

// launch says how to start a daemon. The zero value of a field is a choice too.
type launch struct {
	plain bool     // without the race detector, for many starts
	zones []string // empty: dyn.example.com
	data  string   // empty: a temporary directory
	ports ports    // zero: free ones
	args  []string // more of them
	log   string   // empty: a file in a temporary directory
}

const zone = "dyn.example.com"

func (l launch) daemon(t testing.TB) *daemon {
	t.Helper()
	d := &daemon{program: programs.checked, data: l.data, ports: l.ports, log: l.log}
	if l.plain {
		d.program = programs.plain
	}
	if d.data == "" {
		d.data = filepath.Join(t.TempDir(), "D")
	}
	if d.ports == (ports{}) {
		d.ports = newPorts(t)
	}
	if d.log == "" {
		d.log = filepath.Join(t.TempDir(), "log")
	}
	if l.zones == nil {
		l.zones = []string{zone}
	}
	d.args = []string{"serve", "--data", d.data}
	for _, z := range l.zones {
		d.args = append(d.args, "--zone", z)
	}
	d.args = append(d.args, "--http", v4(d.ports.http), "--http", v6(d.ports.http), "--dns", v4(d.ports.dns), "--dns", v6(d.ports.dns))
	d.args = append(d.args, l.args...)
	return d
}

// serve starts a daemon, waits until it is ready, and stops it when the test ends.
func serve(t testing.TB, l launch) *daemon {
	t.Helper()
	d := l.daemon(t)
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.output())
		}
		if strings.Contains(d.output(), "DATA RACE") {
			t.Errorf("the race detector spoke up:\n%s", d.output())
		}
	})
	if err := d.waitReady(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *daemon) start() error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.program, d.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir, cmd.Env = d.dir, d.env
	if d.out != "" {
		out, err := os.OpenFile(d.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer out.Close()
		cmd.Stdout = out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	d.cmd, d.exited = cmd, exited
	go func() {
		d.err = cmd.Wait()
		close(exited)
	}()
	return nil
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

func (d *daemon) output() string {
	data, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// kill is kill -9, and waits until the process is gone. Killing twice is fine.
func (d *daemon) kill() {
	if d.cmd == nil {
		return
	}
	d.cmd.Process.Kill()
	<-d.exited
}

// stop asks the daemon to end, as a service manager does, and returns its exit code.
func (d *daemon) stop() (int, error) {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-d.exited:
		return d.cmd.ProcessState.ExitCode(), nil
	case <-time.After(30 * time.Second):
		return 0, fmt.Errorf("the daemon did not end within 30 s of SIGTERM")
	}
}

// patience is how long anything may take that should take no time.
const patience = 30 * time.Second

// waitReady polls until /readyz says 200; it gives up when the process is gone.
func (d *daemon) waitReady() error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	ready := func() bool {
		res, err := client.Get(d.url() + "readyz")
		if err != nil {
			return false
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}
	deadline := time.Now().Add(patience)
	for !ready() {
		select {
		case <-d.exited:
			return fmt.Errorf("the daemon ended before it was ready (%v):\n%s", d.err, d.output())
		case <-time.After(3 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the daemon was not ready within %s:\n%s", patience, d.output())
		}
	}
	return nil
}

func (d *daemon) url() string { return "http://" + v4(d.ports.http) + "/" }

// target is what --target says for this daemon.
func (d *daemon) target() string { return "local:" + d.data }

// result is what a command said.
type result struct {
	stdout, stderr string
	code           int
}

// run runs godwit with stdin empty.
func run(args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, programs.plain, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	if cmd.ProcessState == nil && err != nil {
		r.code, r.stderr = -1, err.Error()
	}
	return r
}

// godwit runs an admin command against the daemon.
func (d *daemon) godwit(args ...string) result {
	return run(append(args, "--target", d.target())...)
}

func (d *daemon) mustGodwit(t testing.TB, args ...string) string {
	t.Helper()
	r := d.godwit(args...)
	if r.code != 0 {
		t.Fatalf("godwit %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}
