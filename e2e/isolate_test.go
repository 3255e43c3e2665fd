//go:build linux

package e2e

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// needRoot skips a test that needs root. Where CI is set it fails instead: a
// test that never runs holds nothing.
func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs root %s; run make test as root, or in a container", why)
	}
	t.Skipf("needs root %s", why)
}

// needProgram skips, or with CI set fails, where a program is not installed.
func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs %s; scripts/deps.sh installs it", name)
	}
	t.Skipf("needs %s; scripts/deps.sh installs it", name)
}

// isolated runs the calling test again in namespaces of its own, which vanish
// with their mounts and loop devices when it ends, however it ends. It returns
// false in the outer process, where the test has nothing more to do.
func isolated(t *testing.T, unshare ...string) bool {
	t.Helper()
	if os.Getenv(isolatedEnv) == t.Name() {
		return true
	}
	needProgram(t, "unshare")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(unshare, self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+flag.Lookup("test.timeout").Value.String())
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), isolatedEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	text := strings.TrimSpace(out.String())
	if err != nil {
		t.Fatalf("in namespaces of its own: %v\n%s", err, text)
	}
	if !strings.Contains(text, "--- PASS: "+t.Name()) {
		t.Fatalf("in namespaces of its own the test did not run:\n%s", text)
	}
	t.Log(text)
	return false
}
