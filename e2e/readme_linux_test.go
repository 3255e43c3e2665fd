package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shellBlocks are the ```sh blocks of a Markdown file between two headings.
func shellBlocks(t *testing.T, file, from, to string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), "\n"+from+"\n")
	part, _, ok2 := strings.Cut(rest, "\n"+to+"\n")
	if !ok || !ok2 {
		t.Fatalf("%s lacks the headings %q and %q", file, from, to)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```sh\n(.*?)```\n").FindAllStringSubmatch(part, -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no ```sh block between %q and %q", file, from, to)
	}
	return blocks
}

// TestReadmes holds the two READMEs to the same commands.
func TestReadmes(t *testing.T) {
	english := shellBlocks(t, "README.md", "## Run it", "## What it does")
	korean := shellBlocks(t, "README.ko.md", "## 실행하기", "## 무엇을 하는가")
	if !slices.Equal(english, korean) {
		t.Errorf("README.ko.md has other commands than README.md:\n%q\n%q", korean, english)
	}
}

// TestReadme runs the commands of README.md as they stand, in order, in an empty
// folder, and looks at what a reader would see.
func TestReadme(t *testing.T) {
	needProgram(t, "dig")
	needProgram(t, "curl")
	if os.Getuid() == 0 { // the ports in the README are free in a network of our own
		if !isolated(t, "--net") {
			return
		}
		if err := loopbackUp(); err != nil {
			t.Fatal(err)
		}
	} else if !portFree(8053) || !portFree(5300) {
		t.Fatal("the README's ports 8053 and 5300 are in use; stop what uses them, or run as root")
	}
	blocks := shellBlocks(t, "README.md", "## Run it", "## What it does")

	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	for i, block := range blocks {
		fmt.Fprintf(&script, "printf '\\n=== %d\\n'\n%s", i, block)
		switch {
		case i == 0: // a reader sees that it is up before typing on
			script.WriteString("GODWIT=$!\ntrap 'kill $GODWIT; wait $GODWIT' EXIT\n" +
				"for n in {1..1000}; do curl -sf http://127.0.0.1:8053/readyz >ready && break; sleep 0.03; done\n")
		case strings.Contains(block, "HASH=") && !strings.Contains(block, "[::1]"): // "Send the last curl again"
			fmt.Fprintf(&script, "printf '\\n=== %d again\\n'\n%s", i, lastLine(block))
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.WaitDelay = 10 * time.Second
	data, err := cmd.CombinedOutput()
	text := string(data)
	t.Log(text)
	if err != nil {
		t.Fatal(err)
	}

	outputs := map[string]string{}
	for _, part := range strings.Split("\n"+text, "\n=== ")[1:] {
		title, output, _ := strings.Cut(part, "\n")
		outputs[title] = output
	}
	const host = "host1.dyn.example.com"
	for i, block := range blocks {
		var want []string
		switch {
		case strings.Contains(block, "[::1]"):
			want = []string{hasBeenSet(host, "::1"), "::1\n"} // the server's log may come between
		case strings.Contains(block, "HASH="):
			want = []string{hasBeenSet(host, "127.0.0.1")}
			if again := outputs[fmt.Sprintf("%d again", i)]; !strings.Contains(again, matches) {
				t.Errorf("the same curl again says %q", again)
			}
		case strings.HasPrefix(block, "dig"):
			want = []string{"127.0.0.1\n"}
		case strings.Contains(block, "host history"):
			want = []string{"127.0.0.1", "::1", "created", "backup.db"}
		case strings.Contains(block, "host add"), strings.Contains(block, "serve"):
		default:
			t.Errorf("this test does not know what to expect of block %d:\n%s", i, block)
		}
		for _, w := range want {
			if !strings.Contains(outputs[fmt.Sprint(i)]+"\n", w) {
				t.Errorf("block %d says %q, which lacks %q:\n%s", i, outputs[fmt.Sprint(i)], w, block)
			}
		}
	}
	if info, err := os.Stat(filepath.Join(cmd.Dir, "backup.db")); err != nil || info.Size() == 0 {
		t.Errorf("the README's backup is not there: %v", err)
	}
}

func lastLine(block string) string {
	lines := strings.SplitAfter(strings.TrimSuffix(block, "\n"), "\n")
	return lines[len(lines)-1] + "\n"
}
