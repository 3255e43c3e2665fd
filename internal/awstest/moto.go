package awstest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// StartMoto starts moto_server, an emulator of AWS that we did not write, on a
// free port of 127.0.0.1 and returns its URL. It is stopped at the end of the
// test. Where the program is missing the test skips, and fails if CI is true.
func StartMoto(tb testing.TB) (url string) {
	tb.Helper()
	path, err := exec.LookPath("moto_server")
	if err != nil {
		const text = `moto_server not found; install it with: pip install "moto[server]"`
		if os.Getenv("CI") == "true" {
			tb.Fatal(text)
		}
		tb.Skip(text)
	}
	cmd := exec.Command(path, "-H", "127.0.0.1", "-p", "0")
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	says, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	drained := make(chan struct{})
	found := make(chan string, 1)
	go func() {
		defer close(drained)
		defer close(found)
		lines := bufio.NewScanner(says)
		for lines.Scan() {
			if _, at, ok := strings.Cut(lines.Text(), "Running on "); ok {
				found <- strings.TrimSpace(at)
				break
			}
		}
		_, _ = io.Copy(io.Discard, says)
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait() // killed
	})
	url, ok := <-found
	if !ok {
		tb.Fatal("moto_server ended before it listened")
	}
	return url
}
