package e2e

import (
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAgentBehindNAT changes the outside address of the gateway that a device is
// behind. Nothing on the device changes, so no event tells it: the next poll
// does, with one request more.
func TestAgentBehindNAT(t *testing.T) {
	t.Parallel() // it waits for half a minute and does nothing
	needRoot(t, "for network namespaces")
	for _, program := range []string{"ip", "nsenter", "mount", "dig", "nft"} {
		needProgram(t, program)
	}
	if !isolated(t, "--net", "--mount", "--propagation", "private") {
		return
	}
	const host = "nas.dyn.example.com"
	gateway, device := newDevice(t), newNamespace(t)
	mustRun(t, strings.Fields("ip link set lo up")...)
	gateway.mustRun(t, strings.Fields("ip link add g1 type veth peer name h0 netns "+strconv.Itoa(device.pid))...)
	for _, line := range []string{
		"ip link set g1 up", "ip addr add 192.168.1.1/24 dev g1", "ip addr add 198.51.100.7/24 dev h0",
		"sysctl -qw net.ipv4.ip_forward=1",
		"nft add table ip nat", "nft add chain ip nat out { type nat hook postrouting priority 100 ; }", "nft add rule ip nat out oifname h0 masquerade",
	} {
		gateway.mustRun(t, strings.Fields(line)...)
	}
	for _, line := range []string{"ip link set h0 up", "ip addr add 192.168.1.2/24 dev h0", "ip route add default via 192.168.1.1"} {
		device.mustRun(t, strings.Fields(line)...)
	}
	port := strconv.Itoa(freePort(t))
	d := serve(t, launch{args: []string{"--http", "198.51.100.1:" + port}})
	flags := []string{"--config", filepath.Join(device.dir, "agent.toml"), "--state-dir", filepath.Join(device.dir, "state")}
	agent := func(words ...string) []string {
		return append(append([]string{programs.checked, "agent"}, words...), flags...)
	}
	device.mustRun(t, agent("join", "http://"+net.JoinHostPort("ddns.test", port), d.joinCode(t, host))...)
	device.start(t, agent("run", "--interval", "30s", "--log-level", "debug")...)
	inDNS := func(want string) bool {
		out, err := exec.Command("dig", "+short", "+tries=1", "@127.0.0.1", "-p", strconv.Itoa(d.ports.dns), host, "A").Output()
		return err == nil && strings.TrimSpace(string(out)) == want
	}
	within := func(most time.Duration, want string) {
		t.Helper()
		for began := time.Now(); !inDNS(want); time.Sleep(250 * time.Millisecond) {
			if time.Since(began) > most {
				t.Fatalf("DNS does not show %s after %s", want, most)
			}
		}
	}
	within(2*patience, "198.51.100.7")
	d.asked(t, host, 1, 0)

	gateway.mustRun(t, strings.Fields("ip addr del 198.51.100.7/24 dev h0")...)
	gateway.mustRun(t, strings.Fields("ip addr add 198.51.100.9/24 dev h0")...)
	within(4*patience, "198.51.100.9")
	d.asked(t, host, 2, 1) // not-source is what told it
}
