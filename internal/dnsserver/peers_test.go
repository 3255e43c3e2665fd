package dnsserver_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peer is a name server of others that serves the same zone files.
type peer struct {
	name, program, debian string
	// configure writes a configuration for one address and the zone files, by
	// apex, into dir, and returns the program's arguments.
	configure func(dir string, addr netip.AddrPort, zones map[string]string) (config string, args []string)
}

func zoneLines(zones map[string]string, format string) string {
	var b strings.Builder
	for apex, file := range zones {
		fmt.Fprintf(&b, format, apex, file)
	}
	return b.String()
}

// peers answer from one file without additional records that nobody needs, and
// without a limit on their rate.
var peers = []peer{
	{"BIND", "named", "bind9", func(dir string, addr netip.AddrPort, zones map[string]string) (string, []string) {
		return fmt.Sprintf(`options {
	directory %q; pid-file none; session-keyfile none; managed-keys-directory %q; lock-file none;
	listen-on port %d { %s; }; listen-on-v6 { none; };
	recursion no; dnssec-validation no; empty-zones-enable no; minimal-responses yes; notify no;
	check-integrity no; check-names primary ignore; check-wildcard no;
};
controls {};
%s`, dir, dir, addr.Port(), addr.Addr(), zoneLines(zones, "zone %q { type primary; file %q; };\n")), []string{"-g", "-n", "1", "-c"}
	}},
	{"NSD", "nsd", "nsd", func(dir string, addr netip.AddrPort, zones map[string]string) (string, []string) {
		return fmt.Sprintf(`server:
	ip-address: %s@%d
	username: ""
	database: ""
	zonesdir: %q
	pidfile: %q
	xfrdfile: ""
	zonelistfile: %q
	xfrdir: %q
	server-count: 1
	minimal-responses: yes
	rrl-ratelimit: 0
remote-control:
	control-enable: no
%s`, addr.Addr(), addr.Port(), dir, dir+"/pid", dir+"/zone.list", dir, zoneLines(zones, "zone:\n\tname: %q\n\tzonefile: %q\n")), []string{"-d", "-c"}
	}},
	{"Knot", "knotd", "knot", func(dir string, addr netip.AddrPort, zones map[string]string) (string, []string) {
		return fmt.Sprintf(`server:
    rundir: %q
    listen: %s@%d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: warning
database:
    storage: %q
template:
  - id: default
    zonefile-sync: -1
    journal-content: none
    semantic-checks: soft
zone:
%s`, dir, addr.Addr(), addr.Port(), dir, zoneLines(zones, "  - domain: %s\n    file: %q\n")), []string{"-c"}
	}},
}

// programPath finds a daemon, which is not in everybody's PATH.
func programPath(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

// startPeer serves the zone files, by apex, until the test ends. It skips the
// test, or fails it in CI, when the program is missing.
func startPeer(t *testing.T, p peer, zones map[string]string) netip.AddrPort {
	t.Helper()
	path, err := programPath(p.program)
	if err != nil {
		if inCI() {
			t.Fatalf("%s is missing; install it: apt-get install %s", p.program, p.debian)
		}
		t.Skipf("%s is missing; install %s to run this", p.program, p.debian)
	}
	dir := t.TempDir()
	addr := freePort(t, "127.0.0.1")
	text, args := p.configure(dir, addr, zones)
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// What Debian's AppArmor profile forbids to the program in its own place,
	// reading files of ours, it does not forbid to a copy.
	program := filepath.Join(dir, p.program)
	if octets, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(program, octets, 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, append(args, config)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cancel(); <-ended })
	tell := func() string { octets, _ := os.ReadFile(log.Name()); return string(octets) }
	for deadline := time.Now().Add(30 * time.Second); len(zones) > 0; {
		for apex := range zones {
			// A zone that a peer does not serve would make every comparison void.
			if reply, err := tryUDP(addr, soaQuery(apex)); err == nil && reply[3]&15 == 0 && reply[7] == 1 {
				delete(zones, apex)
			} else if err == nil && reply[3]&15 != 2 && reply[3]&15 != 5 {
				t.Fatalf("%s does not serve %s: %x\n%s", p.name, apex, reply, tell())
			} else {
				break
			}
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", p.name, err, tell())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not serve %d zones after 30 s:\n%s", p.name, len(zones), tell())
		}
	}
	return addr
}

func soaQuery(apex string) []byte { return (&probe{qname: apex, qtype: 6}).query() }

// freePort is an address of loopback that nobody listens on, below the ports
// that Linux gives to clients: one of ours could take it before the server does.
func freePort(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	for range 100 {
		addr := netip.AddrPortFrom(netip.MustParseAddr(host), uint16(20000+rand.IntN(12000)))
		l, err := net.Listen("tcp", addr.String())
		if err != nil {
			continue
		}
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		l.Close()
		if err == nil {
			u.Close()
			return addr
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return netip.AddrPort{}
}

// tryUDP asks once and waits a little.
func tryUDP(addr netip.AddrPort, query []byte) ([]byte, error) {
	c, err := net.Dial("udp", addr.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buffer := make([]byte, 512)
	n, err := io.ReadAtLeast(c, buffer, 12)
	return buffer[:n], err
}
