//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// programs are what TestMain built.
var programs struct {
	// plain is godwit as people get it: for commands, and for daemons that are
	// started hundreds of times. It is in PATH.
	plain string
	// checked is for daemons; it has the race detector if the tests have it.
	checked string
}

const (
	ledgerEnv   = "E2E_GODWIT_LEDGER"   // its value is a ledgerConfig in JSON
	binariesEnv = "E2E_GODWIT_BINARIES" // where a test that runs itself again finds the programs
	isolatedEnv = "E2E_GODWIT_ISOLATED" // set where a test has run itself again
)

func TestMain(m *testing.M) {
	if config := os.Getenv(ledgerEnv); config != "" {
		os.Exit(ledgerMain(config))
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	// What the operator's shell says must not reach the daemons under test.
	for _, kv := range os.Environ() {
		if key, _, _ := cutEnv(kv); isSetting(key) {
			os.Unsetenv(key)
		}
	}
	dir := os.Getenv(binariesEnv)
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "godwit-e2e-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := buildPrograms(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Setenv(binariesEnv, dir)
	}
	programs.plain = filepath.Join(dir, "godwit")
	programs.checked = programs.plain
	if raceEnabled {
		programs.checked = filepath.Join(dir, "godwit-race")
	}
	// The administrator's tools are not in everybody's PATH.
	os.Setenv("PATH", dir+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")

	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

func buildPrograms(dir string) error {
	build := func(out string, env []string, args ...string) error {
		args = append([]string{"build", "-o", filepath.Join(dir, out)}, args...)
		cmd := exec.Command("go", append(args, "godwit/cmd/godwit")...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build godwit/cmd/godwit: %w\n%s", err, out)
		}
		return nil
	}
	// As make build does it, so that both find the other's packages in the build cache.
	if err := build("godwit", []string{"CGO_ENABLED=0"}, "-trimpath"); err != nil || !raceEnabled {
		return err
	}
	return build("godwit-race", nil, "-race")
}
