package awstest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// untilEOF runs a program until the shell's input ends, as it does when whoever
// holds the other end of the pipe has panicked, was killed, or has run out of
// time. The shell lets go of the output, so that it ends with the program.
const untilEOF = `"$0" "$@" </dev/null & exec >/dev/null 2>&1; read -r _; kill -9 $!; wait`

// StartMoto starts moto_server, an emulator of AWS that we did not write, on a
// free port of 127.0.0.1 and returns its URL. It is stopped at the end of the
// test, and ends with the test's process however that ends. Where the program is
// missing the test skips, and fails if CI is true.
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
	cmd := exec.Command("sh", "-c", untilEOF, path, "-H", "127.0.0.1", "-p", "0")
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	says, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	held, err := cmd.StdinPipe()
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
		_ = held.Close()
		<-drained
		_ = cmd.Wait() // it says that it has killed
	})
	url, ok := <-found
	if !ok {
		tb.Fatal("moto_server ended before it listened")
	}
	return url
}
