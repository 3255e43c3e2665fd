package source_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"godwit/internal/agent"
	"godwit/internal/agent/source"
)

const isolatedEnv = "SOURCE_ISOLATED_TEST"

// isolated runs the calling test again in a network namespace of its own, which
// ends with it, beside other parallel tests. It returns false in the outer process, where nothing is left to do.
func isolated(t *testing.T, programs ...string) bool {
	t.Helper()
	t.Parallel()
	if os.Getenv(isolatedEnv) == t.Name() {
		return true
	}
	for _, program := range append(programs, "ip") {
		if _, err := exec.LookPath(program); err != nil {
			skip(t, "needs %s; scripts/deps.sh installs it", program)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+flag.Lookup("test.timeout").Value.String())
	// The race detector would wait a second before it ends.
	cmd.Env = append(os.Environ(), isolatedEnv+"="+t.Name(), "GORACE=atexit_sleep_ms=10")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if errors.Is(err, unix.EPERM) {
		skip(t, "needs root for a network namespace of its own")
	}
	if text := out.String(); err != nil || !strings.Contains(text, "--- PASS: "+t.Name()) {
		t.Fatalf("in a network namespace of its own: %v\n%s", err, text)
	}
	return false
}

// skip skips, and where CI is set fails: a test that never runs holds nothing.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("this test "+format, args...)
	}
	t.Skipf(format, args...)
}

// ip runs ip(8) with the words of each line.
func ip(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out)
		}
	}
}

// link makes the interface h0, with the interface r0 at its other end.
func link(t *testing.T) {
	t.Helper()
	ip(t, "link set lo up", "link add h0 type veth peer name r0", "link set h0 addrgenmode none", "link set r0 addrgenmode none", "link set h0 up", "link set r0 up")
}

func TestInterface(t *testing.T) {
	if !isolated(t) {
		return
	}
	link(t)
	h0, anywhere := newSource(t, "interface h0"), newSource(t, "interface")

	checkFind(t, newSource(t, "interface h9"), agent.IPv4, "there is no interface h9")
	for _, s := range []agent.Source{h0, anywhere} {
		checkFind(t, s, agent.IPv4, "no public address")
		checkFind(t, s, agent.IPv6, "no public address")
	}

	// All that is not to be published: unique local, link-local, documentation, a
	// deprecated one, one whose detection of duplicates does not end.
	set := func(name, value string) {
		t.Helper()
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/h0/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	set("dad_transmits", "1000")
	ip(t, "addr add fd00::7/64 dev h0 nodad", "addr add fe80::7/64 dev h0 nodad", "addr add 2001:db8::7/64 dev h0 nodad",
		"addr add 2a01:100::1/64 dev h0 nodad preferred_lft 0 valid_lft 3600", "addr add 2a01:100::2/64 dev h0",
		"addr add 192.168.1.7/24 dev h0")
	for _, s := range []agent.Source{h0, anywhere} {
		checkFind(t, s, agent.IPv4, "behind NAT")
		checkFind(t, s, agent.IPv6, "2a01:100::1 is deprecated")
		checkFind(t, s, agent.IPv6, "2a01:100::2 is still tentative")
	}

	// The kernel makes a temporary address beside this one.
	set("dad_transmits", "0")
	set("use_tempaddr", "2")
	ip(t, "addr add 2a01:100::8/64 dev h0 nodad mngtmpaddr preferred_lft 1800 valid_lft 3600", "addr add 20.0.0.7/24 dev h0")
	if list, err := exec.Command("ip", "-6", "addr", "show", "dev", "h0", "temporary").Output(); err != nil || !bytes.Contains(list, []byte("2a01:100::")) {
		t.Fatalf("no temporary address was made: %v\n%s", err, list)
	}
	for _, s := range []agent.Source{h0, anywhere} {
		checkFind(t, s, agent.IPv4, "20.0.0.7")
		checkFind(t, s, agent.IPv6, "2a01:100::8")
	}

	// The provider renumbers; the old prefix lingers.
	ip(t, "addr add 2a01:200::8/64 dev h0 nodad preferred_lft 7200 valid_lft 7200", "addr add 100.64.0.7/10 dev r0", "addr del 20.0.0.7/24 dev h0")
	checkFind(t, h0, agent.IPv6, "2a01:200::8")
	checkFind(t, h0, agent.IPv4, "behind NAT")
	checkFind(t, newSource(t, "interface r0"), agent.IPv4, "behind CGNAT")

	// A point-to-point link has the other end's address beside ours.
	ip(t, "addr add 20.0.1.7 peer 20.0.1.1 dev r0")
	checkFind(t, newSource(t, "interface r0"), agent.IPv4, "20.0.1.7")

	// An interface with the default route comes before one without.
	ip(t, "addr add 20.0.2.7/24 dev h0", "route add default via 20.0.2.1")
	checkFind(t, anywhere, agent.IPv4, "20.0.2.7")
	ip(t, "route replace default via 20.0.1.1")
	checkFind(t, anywhere, agent.IPv4, "20.0.1.7")
}

// TestDelegatedPrefix: a router keeps an unreachable route for the whole of the
// prefix that the provider delegates to it.
func TestDelegatedPrefix(t *testing.T) {
	if !isolated(t) {
		return
	}
	link(t)
	ip(t, "addr add 2a01:100::7/64 dev h0 nodad")
	prefix := func(want string) {
		t.Helper()
		checkPrefix(t, newPrefix(t, "delegated"), want)
	}
	prefix("no prefix of 48 to 64 bits is delegated") // the link's own /64 is not
	ip(t, "-6 route add unreachable fd00:1::/48", "-6 route add unreachable default metric 9999", "-6 route add unreachable 2a01::/20",
		"-6 route add unreachable 2a01:300::1/128", "-6 route add unreachable 2001:db8:1::/48")
	prefix("no prefix of 48 to 64 bits is delegated")
	ip(t, "-6 route add unreachable 2a01:300:0:ff00::/56")
	prefix("2a01:300:0:ff00::/56")
	ip(t, "-6 route add unreachable 2a01:400:0:ff00::/60")
	prefix("several prefixes are delegated")
	// The router numbers its LAN from one of them; later the old one lingers.
	ip(t, "addr add 2a01:300:0:ff01::1/64 dev r0 nodad")
	prefix("2a01:300:0:ff00::/56")
	ip(t, "addr change 2a01:300:0:ff01::1/64 dev r0 preferred_lft 0 valid_lft 3600", "addr add 2a01:400:0:ff01::1/64 dev r0 nodad")
	prefix("2a01:400:0:ff00::/60")
}

// TestInterfacePrefix takes the prefix from the address that the LAN has.
func TestInterfacePrefix(t *testing.T) {
	if !isolated(t) {
		return
	}
	link(t)
	lan, whole := newPrefix(t, "interface h0"), newPrefix(t, "interface h0/56")
	checkPrefix(t, newPrefix(t, "interface h9/60"), "there is no interface h9")
	ip(t, "addr add fd00::7/64 dev h0 nodad", "addr add 2001:db8::7/64 dev h0 nodad", "addr add 2a01:900::7/64 dev r0 nodad")
	checkPrefix(t, lan, "no public address")
	ip(t, "addr add 2a01:100:0:ff05::1/64 dev h0 nodad preferred_lft 7200 valid_lft 7200")
	checkPrefix(t, lan, "2a01:100:0:ff05::/64")
	checkPrefix(t, whole, "2a01:100:0:ff00::/56")
	ip(t, "addr change 2a01:100:0:ff05::1/64 dev h0 preferred_lft 0 valid_lft 7200", "addr add 2a01:200:0:ee05::1/64 dev h0 nodad")
	checkPrefix(t, lan, "2a01:200:0:ee05::/64")
	checkPrefix(t, whole, "2a01:200:0:ee00::/56")
}

func TestWatch(t *testing.T) {
	if !isolated(t) {
		return
	}
	link(t)
	ip(t, "addr add 20.0.0.1/24 dev h0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := make(chan struct{}, 100)
	ended := make(chan error)
	go func() { ended <- source.Watch(ctx, func() { calls <- struct{}{} }) }()
	<-calls // it listens

	for _, line := range []string{"addr add 20.0.0.7/24 dev h0", "addr add 2a01:100::7/64 dev h0 nodad", "route add default via 20.0.0.99",
		"route del default via 20.0.0.99", "addr change 2a01:100::7/64 dev h0 preferred_lft 0 valid_lft 3600", "addr del 2a01:100::7/64 dev h0",
		"addr change 20.0.0.7/24 dev h0 preferred_lft 1800 valid_lft 3600"} { // it was permanent
		ip(t, line)
		<-calls
	}
	// What repeats, and what says nothing of addresses, wakes nobody: the call
	// after it is that of the last line, and the last.
	for range 3 {
		ip(t, "addr change 20.0.0.7/24 dev h0 preferred_lft 1800 valid_lft 3600", "route add 20.7.0.0/16 via 20.0.0.99", "neigh add 20.0.0.3 lladdr 02:00:00:00:00:01 dev h0",
			"addr change 20.0.0.7/24 dev h0 preferred_lft 1900 valid_lft 3600", "route del 20.7.0.0/16", "neigh del 20.0.0.3 dev h0")
	}
	ip(t, "addr add 20.0.0.8/24 dev h0")
	<-calls
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returns %v", err)
	}
	if extra := len(calls); extra > 0 {
		t.Errorf("%d calls without a change", extra)
	}
}

// routerSide makes a second network namespace with r0 in it, and returns a
// function that calls another there. Only the calling goroutine goes there.
func routerSide(t *testing.T) (enter func(func())) {
	t.Helper()
	runtime.LockOSThread() // and never unlock: the thread ends with the test
	open := func() int {
		fd, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	move := func(fd int) {
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			t.Fatal(err)
		}
	}
	home := open()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	router := open()
	move(home)
	ip(t, fmt.Sprintf("link set r0 netns /proc/%d/fd/%d", os.Getpid(), router))
	return func(do func()) {
		move(router)
		defer move(home)
		do()
	}
}

// TestMiniupnpd asks a router that we did not write, by each protocol where it
// speaks nothing else; with a public address outside, and without.
func TestMiniupnpd(t *testing.T) {
	if !isolated(t, "miniupnpd", "nft") {
		return
	}
	link(t)
	ip(t, "addr add 192.168.77.7/24 dev h0", "route add default via 192.168.77.1")
	enter := routerSide(t)
	enter(func() {
		ip(t, "link set lo up", "link add w0 type veth peer name w1", "link set w0 up", "link set w1 up", "link set r0 up", "addr add 192.168.77.1/24 dev r0")
	})
	router := newSource(t, "router")
	for _, test := range []struct{ outside, natpmp, upnp, want string }{
		{"20.0.0.6", "yes", "no", "20.0.0.6"}, // by NAT-PMP: it cannot map ports yet
		{"20.0.0.7", "yes", "no", "20.0.0.7"},
		{"20.0.0.8", "no", "yes", "20.0.0.8"},
		{"100.64.0.7", "no", "yes", "itself behind NAT or CGNAT"}, // it does not say which address it has
	} {
		var stop func()
		enter(func() {
			ip(t, "addr flush dev w0", "addr add "+test.outside+"/24 dev w0")
			stop = miniupnpd(t, test.natpmp, test.upnp)
		})
		checkFind(t, router, agent.IPv4, test.want)
		stop()
		enter(func() {
			rules := "add table inet filter; add chain inet filter forwarded; add chain inet filter mapped; add chain inet filter peers"
			if out, err := exec.Command("nft", rules).CombinedOutput(); err != nil {
				t.Fatalf("nft: %v\n%s", err, out)
			}
		})
	}
}

// miniupnpd runs the program on r0 until stop is called, in the namespace of the
// calling thread.
func miniupnpd(t *testing.T, natpmp, upnp string) (stop func()) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "conf")
	text := strings.Join([]string{"enable_natpmp=" + natpmp, "enable_upnp=" + upnp, "ext_ifname=w0", "listening_ip=r0", "secure_mode=no", "uuid=00000000-0000-0000-0000-000000000001",
		"upnp_table_name=filter", "upnp_nat_table_name=filter", "upnp_forward_chain=forwarded", "upnp_nat_chain=mapped", "upnp_nat_postrouting_chain=peers",
		"allow 1024-65535 192.168.77.0/24 1024-65535"}, "\n") + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("miniupnpd", "-d", "-f", config, "-P", filepath.Join(dir, "pid"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan bool, 1), make(chan string, 1)
	go func() {
		var lines []string
		for scanner := bufio.NewScanner(log); scanner.Scan(); {
			lines = append(lines, scanner.Text())
			// The last lines before it answers.
			if strings.Contains(scanner.Text(), map[string]string{"yes": "HTTP IPv6 address", "no": "Listening for NAT-PMP"}[upnp]) {
				ready <- true
			}
		}
		close(ready)
		ended <- strings.Join(lines, "\n")
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cmd.Process.Kill()
			t.Log(<-ended)
			cmd.Wait()
		}
	}
	t.Cleanup(stop)
	if !<-ready {
		t.Fatal("miniupnpd ends before it listens")
	}
	return stop
}
