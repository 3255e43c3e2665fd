package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSignedSecondaries lets Knot, BIND and NSD follow a signed zone: what each of them
// answers is valid, be it that there is something or that there is not, and goes on
// being so through updates and a restart of the primary.
func TestSignedSecondaries(t *testing.T) {
	needRoot(t, "for a network of its own")
	for _, program := range []string{"ip", "dig", "tsig-keygen", "delv", "ldns-verify-zone"} {
		needProgram(t, program)
	}
	if !isolated(t, "--net") {
		return
	}
	r := newSecondaryRig(t, 20, followers()[:3], "--dnssec", zone)
	r.daemon.mustGodwit(t, "host", "set", r.hosts[1].Name, "--wildcard")
	r.update(10, 0)
	r.level(zone, r.followers...)
	anchor := filepath.Join(t.TempDir(), "anchor")
	key := strings.Fields(mustRun(t, "dig", "@"+primaryAddr, zone, "DNSKEY", "+short"))
	text := fmt.Sprintf("trust-anchors { %s. static-key %s %s %s \"%s\"; };\n", zone, key[0], key[1], key[2], strings.Join(key[3:], ""))
	if err := os.WriteFile(anchor, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	judge := func() {
		t.Helper()
		r.equal(zone, r.followers...)
		for _, f := range r.followers {
			for question, want := range map[string]string{
				r.hosts[1].Name + " A":         "; fully validated",
				"x." + r.hosts[1].Name + " A":  "; fully validated",
				zone + " DNSKEY":               "; fully validated",
				r.hosts[1].Name + " MX":        ";-$NXRRSET",
				"x." + r.hosts[1].Name + " MX": ";-$NXRRSET",
				"not.there." + zone + " A":     ";-$NXDOMAIN",
			} {
				args := append([]string{"-a", anchor, "+root=" + zone, "@" + f.addr}, strings.Fields(question)...)
				out, _ := exec.Command("delv", args...).CombinedOutput()
				if text := string(out); !strings.Contains(text, "fully validated") || !strings.Contains(text, want) {
					t.Errorf("%s, asked for %s:\n%s", f.name, question, out)
				}
			}
		}
		verifySigned(t, zone, time.Now(), "@"+primaryAddr, "-k", r.key)
	}
	judge()
	if code, err := r.daemon.stop(); err != nil || code != 0 {
		t.Fatalf("exit %d, %v", code, err)
	}
	r.start()
	r.update(30, 0)
	r.level(zone, r.followers...)
	judge()
}

// verifySigned gets a signed zone by AXFR with these arguments of dig, and has ldns
// look at it as of now.
func verifySigned(t *testing.T, apex string, now time.Time, args ...string) {
	t.Helper()
	out := mustRun(t, append(append([]string{"dig"}, args...), apex, "AXFR", "+onesoa", "+noall", "+answer")...)
	var records strings.Builder
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[3] != "TSIG" && fields[0][0] != ';' {
			records.WriteString(line)
		}
	}
	file := filepath.Join(t.TempDir(), "transferred")
	if err := os.WriteFile(file, []byte(records.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("ldns-verify-zone", "-t", now.UTC().Format("20060102150405"), file).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "Zone is verified and complete") {
		t.Errorf("ldns-verify-zone: %v\n%s\n%s", err, said, records.String())
	}
}
