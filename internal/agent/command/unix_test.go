//go:build unix

package command_test

import (
	"context"
	"crypto/ed25519"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/internal/agent"
	"godwit/internal/agent/command"
)

// TestJoinUnderUmask: the service's user reads the configuration that root wrote
// with a umask that leaves others nothing. The key stays the owner's.
func TestJoinUnderUmask(t *testing.T) {
	g := &registry{code: "abcdefghijklmnop", keys: map[string]ed25519.PublicKey{}, next: "bbbbbbbb"}
	server := httptest.NewServer(g)
	defer server.Close()
	dir := t.TempDir()
	s, err := command.Load(command.Flags{Config: filepath.Join(dir, "etc", "agent.toml"), StateDir: filepath.Join(dir, "state")}, command.OS())
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Umask(syscall.Umask(0o077))
	joined, err := command.Join(t.Context(), s, server.URL, "abcdefghijklmnop")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{joined.Config: 0o644, filepath.Dir(joined.Config): 0o755, joined.KeyFile: 0o600, filepath.Dir(joined.KeyFile): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

// TestTwoAgents: the second one on a state directory says so and leaves it alone.
func TestTwoAgents(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("k7m2qx4p-aaaaaaaaaaaaaaaaaaaaaaaaaa\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := command.Load(command.Flags{StateDir: filepath.Join(dir, "state"),
		Host: []string{"nas.example.org"}, URL: "http://127.0.0.1:1", TokenFile: token}, command.OS())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- command.Run(ctx, s, io.Discard) }()
	status := filepath.Join(s.Agent.Dir, agent.StatusName)
	for _, err := os.Stat(status); err != nil; _, err = os.Stat(status) {
		select {
		case err := <-ended:
			t.Fatalf("it did not run: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	for _, second := range []func(context.Context, *command.Settings, io.Writer) error{command.Run, command.Once} {
		if err := second(t.Context(), s, io.Discard); err == nil || !strings.Contains(err.Error(), "running already") {
			t.Errorf("a second agent: %v", err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := command.Once(t.Context(), s, io.Discard); err == nil || strings.Contains(err.Error(), "running already") {
		t.Errorf("after the first one ended: %v", err)
	}
}
