package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnits has systemd itself read the units that agent install makes.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("this test needs systemd-analyze; scripts/deps.sh installs it")
		}
		t.Skip("needs systemd-analyze; scripts/deps.sh installs it")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "a program of 100%")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, user := range []bool{false, true} {
		unit := filepath.Join(dir, serviceName+".service")
		if err := os.WriteFile(unit, []byte(serviceText("linux-systemd", user, program, `/etc/godwit/an "agent" of $HOME.toml`)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
		if err != nil || strings.Contains(string(out), serviceName) {
			t.Errorf("user %t: %v\n%s", user, err, out)
		}
	}
}
