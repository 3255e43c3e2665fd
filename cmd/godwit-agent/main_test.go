package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	state := []string{"-state-dir", filepath.Join(dir, "S"), "-config", filepath.Join(dir, "agent.toml")}
	for _, c := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{nil, exitUsage, "", "Commands:"},
		{[]string{"help"}, exitDone, "Commands:", ""},
		{[]string{"version"}, exitDone, "godwit-agent ", ""},
		{[]string{"jion"}, exitUsage, "", `no command "jion"`},
		{[]string{"run", "-h"}, exitDone, "", "-interval DURATION"},
		{[]string{"run", "-intervall", "5m"}, exitUsage, "", "flag provided but not defined"},
		{append([]string{"run"}, state...), exitUsage, "", "there is no configuration at"},
		{append([]string{"run", "now"}, state...), exitUsage, "", "takes 0 arguments, not 1"},
		{append([]string{"join", "https://ddns.example.com"}, state...), exitUsage, "", "takes 2 arguments, not 1"},
		{append([]string{"join", "https://ddns.example.com", "abcd"}, state...), exitUsage, "", "the code is not 16 letters"},
		{append([]string{"rotate"}, state...), exitUsage, "", "there is no configuration at"},
		{append([]string{"status", "-json"}, state...), exitFailed, "", "no agent has run here"},
		{[]string{"once", "-state-dir", dir, "-host", "nas.example.org", "-url", "https://ddns.example.com"}, exitFailed, "", "join first: godwit agent join"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(c.args, &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) || c.stdout == "" && stdout.Len() > 0 {
			t.Errorf("%q: exit %d\n%s%s", c.args, code, &stdout, &stderr)
		}
	}
}
