package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestZonemaster lets Zonemaster, with which registries test delegations, judge a
// zone as an operator would set it up: no error, no warning, and three notices,
// which are that the zone is not signed (twice) and that negative answers are
// cached for 60 s only, because a new host must appear fast.
func TestZonemaster(t *testing.T) {
	needRoot(t, "for a network of its own")
	needProgram(t, "ip")
	needProgram(t, "zonemaster-cli")
	if !isolated(t, "--net") {
		return
	}
	if err := loopbackUp(); err != nil {
		t.Fatal(err)
	}
	// Addresses for documentation are an error to it. There is no way out of this
	// network, so these are nobody's.
	for _, addr := range []string{"20.0.0.53/32", "30.0.0.53/32", "2a01:100::53/128", "2a02:100::53/128"} {
		mustRun(t, "ip", "addr", "add", addr, "dev", "lo")
	}
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte("@ MX 10 mail\nmail A 20.0.0.25\nmail AAAA 2a01:100::25\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := serve(t, launch{args: []string{
		"--dns", "20.0.0.53:53", "--dns", "30.0.0.53:53", "--dns", "[2a01:100::53]:53", "--dns", "[2a02:100::53]:53",
		"--ns", "ns1." + zone + "=20.0.0.53,2a01:100::53", "--ns", "ns2." + zone + "=30.0.0.53,2a02:100::53",
		"--zone-file", zone + "=" + file,
	}})
	mustAddHosts(t, d, testHosts("home", 3))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := []string{"--level", "INFO", "--no-time"}
	for _, module := range []string{"Basic", "Connectivity", "Consistency", "DNSSEC", "Delegation", "Nameserver", "Syntax", "Zone"} {
		args = append(args, "--test", module)
	}
	for _, ns := range []string{"ns1." + zone + "/20.0.0.53", "ns2." + zone + "/30.0.0.53", "ns1." + zone + "/2a01:100::53", "ns2." + zone + "/2a02:100::53"} {
		args = append(args, "--ns", ns)
	}
	out, err := exec.CommandContext(ctx, "zonemaster-cli", append(args, zone)...).CombinedOutput()
	if err != nil {
		t.Fatalf("zonemaster-cli: %v\n%s", err, out)
	}
	levels := map[string]map[string]bool{}
	for line := range strings.Lines(string(out)) {
		level, message, _ := strings.Cut(strings.TrimSpace(line), " ")
		if levels[level] == nil {
			levels[level] = map[string]bool{}
		}
		levels[level][message] = true
	}
	for _, level := range []string{"WARNING", "ERROR", "CRITICAL"} {
		for message := range levels[level] {
			t.Errorf("%s %s", level, message)
		}
	}
	if len(levels["NOTICE"]) > 3 || len(levels["INFO"]) < 20 {
		t.Errorf("%d notices, %d good marks:\n%s", len(levels["NOTICE"]), len(levels["INFO"]), out)
	}
}
