package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// device is a network namespace with one interface, h0, at the other end of the
// server's s0.
type device struct {
	pid int // of the process that holds it
	dir string
}

// newDevice connects a device to the namespace of the test, where the server is
// at 198.51.100.1 and 2001:db8:7::1, and its name is ddns.test. The device has
// no address yet.
func newDevice(t *testing.T) *device {
	t.Helper()
	d := newNamespace(t)
	hosts := filepath.Join(d.dir, "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n198.51.100.1 ddns.test\n2001:db8:7::1 ddns.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"mount --bind " + hosts + " /etc/hosts",
		"ip link set lo up",
		"ip link add s0 type veth peer name h0 netns " + strconv.Itoa(d.pid),
		"ip link set s0 up", "ip addr add 198.51.100.1/24 dev s0", "ip addr add 2001:db8:7::1/64 dev s0 nodad",
	} {
		mustRun(t, strings.Fields(line)...)
	}
	d.mustRun(t, "ip", "link", "set", "h0", "up")
	return d
}

// newNamespace makes a device that is connected to nothing.
func newNamespace(t *testing.T) *device {
	t.Helper()
	holder := exec.Command("sleep", "3600")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	d := &device{holder.Process.Pid, t.TempDir()}
	d.mustRun(t, "ip", "link", "set", "lo", "up")
	return d
}

// command is a command on the device.
func (d *device) command(args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--net=/proc/" + strconv.Itoa(d.pid) + "/ns/net"}, args...)...)
	cmd.Dir = d.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (d *device) mustRun(t *testing.T, args ...string) {
	t.Helper()
	if out, err := d.command(args...).CombinedOutput(); err != nil {
		t.Fatalf("%q on the device: %v\n%s", args, err, out)
	}
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// start runs a program on the device until the test ends, or stop is called.
func (d *device) start(t *testing.T, args ...string) (stop func(), log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := d.command(args...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() }
	t.Cleanup(func() {
		stop()
		if data, _ := os.ReadFile(log); t.Failed() || strings.Contains(string(data), "DATA RACE") {
			t.Errorf("the agent said:\n%s", data)
		}
	})
	return stop, log
}

// shows waits until the server's DNS has these addresses, and returns how long
// that took.
func shows(t *testing.T, d *daemon, host, a, aaaa string) time.Duration {
	t.Helper()
	began := time.Now()
	var got string
	for time.Since(began) < patience {
		ask := func(kind string) string {
			out, err := exec.Command("dig", "+short", "+tries=1", "@127.0.0.1", "-p", strconv.Itoa(d.ports.dns), host, kind).Output()
			if err != nil {
				return err.Error()
			}
			return strings.TrimSpace(string(out))
		}
		if got = ask("A") + " " + ask("AAAA"); got == a+" "+aaaa {
			return time.Since(began)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("DNS shows %q after %s, want %q", got, patience, a+" "+aaaa)
	return 0
}

// TestAgent joins a device with a code, and changes its addresses: DNS shows
// them without waiting for the next look, which is a day away.
func TestAgent(t *testing.T) {
	needRoot(t, "for network namespaces")
	for _, program := range []string{"ip", "nsenter", "mount", "dig"} {
		needProgram(t, program)
	}
	if !isolated(t, "--net", "--mount", "--propagation", "private") {
		return
	}
	const host = "nas.dyn.example.com"
	device := newDevice(t)
	port := strconv.Itoa(freePort(t))
	d := serve(t, launch{args: []string{"--http", "198.51.100.1:" + port, "--http", "[2001:db8:7::1]:" + port}})
	code := d.joinCode(t, host)
	flags := []string{"--config", filepath.Join(device.dir, "agent.toml"), "--state-dir", filepath.Join(device.dir, "state")}
	agent := func(words ...string) []string {
		return append(append([]string{programs.checked, "agent"}, words...), flags...)
	}

	device.mustRun(t, "ip", "addr", "add", "2001:db8:7::99/64", "dev", "h0", "nodad")
	device.mustRun(t, agent("join", "http://"+net.JoinHostPort("ddns.test", port), code)...)
	device.mustRun(t, "ip", "addr", "del", "2001:db8:7::99/64", "dev", "h0")

	// The provider is late: the agent runs, and there is no address yet.
	device.start(t, agent("run", "--interval", "24h", "--log-level", "debug")...)
	waitFor(t, "the agent to look in vain", func() bool {
		out, _ := device.command(agent("status", "--json")...).Output()
		return strings.Count(string(out), `"state": "absent"`) == 2
	})
	device.mustRun(t, "ip", "addr", "add", "198.51.100.7/24", "dev", "h0")
	device.mustRun(t, "ip", "addr", "add", "2001:db8:7::7/64", "dev", "h0", "nodad")
	t.Logf("in DNS %s after both addresses came", shows(t, d, host, "198.51.100.7", "2001:db8:7::7"))
	d.asked(t, host, 2, 0)

	if out, err := device.command(agent("status")...).CombinedOutput(); err != nil {
		t.Errorf("status: %v\n%s", err, out)
	}
	if out, err := device.command(agent("rotate")...).CombinedOutput(); err != nil {
		t.Errorf("rotate: %v\n%s", err, out)
	}
	if !long() {
		return
	}
	waitFor(t, "half a minute of quiet", func() bool { return quiet(t, device, agent("status", "--json")) })
	device.mustRun(t, "ip", "addr", "del", "198.51.100.7/24", "dev", "h0")
	device.mustRun(t, "ip", "addr", "del", "2001:db8:7::7/64", "dev", "h0")
	device.mustRun(t, "ip", "addr", "add", "198.51.100.9/24", "dev", "h0")
	device.mustRun(t, "ip", "addr", "add", "2001:db8:7::9/64", "dev", "h0", "nodad")
	t.Logf("in DNS %s after both addresses changed", shows(t, d, host, "198.51.100.9", "2001:db8:7::9"))
	d.asked(t, host, 5, 0) // the new key is one
}

// joinCode adds a host that may have any address.
func (d *daemon) joinCode(t *testing.T, host string) string {
	t.Helper()
	var added struct {
		JoinCode string `json:"join_code"`
	}
	if err := json.Unmarshal([]byte(d.mustGodwit(t, "host", "add", host, "--join", "--addresses", "any", "--json")), &added); err != nil {
		t.Fatal(err)
	}
	return added.JoinCode
}

// asked holds the host to so many changes, and so many requests that were
// refused on the way to them.
func (d *daemon) asked(t *testing.T, host string, changes, refusals uint64) {
	t.Helper()
	var history []struct {
		Outcome string `json:"outcome"`
		Door    string `json:"door"`
	}
	if err := json.Unmarshal([]byte(d.mustGodwit(t, "host", "history", host, "--json")), &history); err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, e := range history {
		if e.Door == "signed" && e.Outcome == "changed" {
			n++
		}
	}
	var state struct {
		Refusals uint64 `json:"refusals"`
	}
	if err := json.Unmarshal([]byte(d.mustGodwit(t, "host", "show", host, "--json")), &state); err != nil {
		t.Fatal(err)
	}
	if n != changes || state.Refusals != refusals {
		t.Errorf("%d changes and %d refusals, want %d and %d: %+v", n, state.Refusals, changes, refusals, history)
	}
}

// quiet tells whether the last answers of an agent are more than its distance
// between tries ago.
func quiet(t *testing.T, d *device, status []string) bool {
	t.Helper()
	out, err := d.command(status...).Output()
	if err != nil {
		t.Fatal(fmt.Errorf("status: %w", err))
	}
	var s struct {
		Hosts []struct {
			Families []struct {
				Answers []struct{ Time time.Time }
			}
		}
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Hosts[0].Families {
		if time.Since(f.Answers[0].Time) < 30*time.Second {
			return false
		}
	}
	return true
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 2*patience {
			t.Fatalf("waited %s for %s", 2*patience, what)
		}
	}
}
