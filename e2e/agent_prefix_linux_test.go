package e2e

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"
)

// TestAgentPrefix: a router that runs the agent has a LAN, and the provider
// delegates another prefix to it. What is behind it moves in DNS; the router's
// own address, outside that prefix, stays.
func TestAgentPrefix(t *testing.T) {
	needRoot(t, "for network namespaces")
	for _, program := range []string{"ip", "nsenter", "mount", "dig"} {
		needProgram(t, program)
	}
	if !isolated(t, "--net", "--mount", "--propagation", "private") {
		return
	}
	device := newDevice(t)
	port := strconv.Itoa(freePort(t))
	d := serve(t, launch{args: []string{"--http", "198.51.100.1:" + port, "--http", "[2001:db8:7::1]:" + port}})
	code := d.joinCode(t, router)
	d.mustGodwit(t, "host", "set", router, "--source", "free", "--follower", "tv.dyn.example.com=::1234", "--follower", "cam.dyn.example.com=0:0:0:5::1/56")
	ip := func(args ...string) { t.Helper(); device.mustRun(t, append([]string{"ip"}, args...)...) }
	ip("addr", "add", "2001:db8:7::7/64", "dev", "h0", "nodad")
	ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
	ip("link", "set", "lan1", "up")
	ip("link", "set", "lan0", "up")
	flags := []string{"--config", filepath.Join(device.dir, "agent.toml"), "--state-dir", filepath.Join(device.dir, "state")}
	device.mustRun(t, append([]string{programs.checked, "agent", "join", "http://" + net.JoinHostPort("ddns.test", port), code}, flags...)...)
	once := func(prefix, tv, cam string) {
		t.Helper()
		device.mustRun(t, append([]string{programs.checked, "agent", "once", "--prefix", prefix}, flags...)...)
		shows(t, d, router, "", "2001:db8:7::7")
		shows(t, d, "tv.dyn.example.com", "", tv)
		shows(t, d, "cam.dyn.example.com", "", cam)
	}
	once("interface lan0/56", "", "") // the LAN has no address yet

	ip("addr", "add", "2a01:100:0:aa01::1/64", "dev", "lan0", "nodad")
	once("interface lan0/56", "2a01:100:0:aa00::1234", "2a01:100:0:aa05::1")
	once("interface lan0", "2a01:100:0:aa01::1234", "") // a /64 has no room for subnets

	// As DHCPv6 leaves it on a router, before and after.
	ip("-6", "route", "add", "unreachable", "2a01:100:0:aa00::/56")
	once("delegated", "2a01:100:0:aa00::1234", "2a01:100:0:aa05::1")
	ip("-6", "route", "add", "unreachable", "2a01:200:0:bb00::/56")
	ip("addr", "add", "2a01:200:0:bb01::1/64", "dev", "lan0", "nodad")
	ip("addr", "change", "2a01:100:0:aa01::1/64", "dev", "lan0", "preferred_lft", "0", "valid_lft", "3600")
	once("delegated", "2a01:200:0:bb00::1234", "2a01:200:0:bb05::1")

	// The lease is gone: nothing is taken out of DNS for that.
	ip("-6", "route", "flush", "type", "unreachable")
	once("delegated", "2a01:200:0:bb00::1234", "2a01:200:0:bb05::1")
}
