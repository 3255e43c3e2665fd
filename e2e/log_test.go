//go:build linux

package e2e

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLogReaderGone: the daemon goes on when what reads its log has ended, as
// when journald is restarted.
func TestLogReaderGone(t *testing.T) {
	ports := newPorts(t)
	cmd := exec.Command(programs.plain, "serve", "--zone", zone, "--data", filepath.Join(t.TempDir(), "D"), "--config", os.DevNull,
		"--http", v4(ports.http), "--dns", v4(ports.dns), "--log-level", "debug")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.Contains(lines.Text(), "godwit host add") { // the last that it says
			break
		}
	}
	if err := stderr.Close(); err != nil {
		t.Fatal(err)
	}
	body := `{"execution_mode":"set","ddns_hostname":"nas.` + zone + `","validation_hash":"` + strings.Repeat("0", 64) + `"}`
	for range 20 {
		r, err := http.Post("http://"+v4(ports.http), "application/json", strings.NewReader(body)) // leaves a line
		if err != nil {
			t.Fatalf("the daemon is gone with its log's reader: %v", err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusUnauthorized {
			t.Errorf("got %s", r.Status)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
}
