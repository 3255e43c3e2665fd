package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgentCanaries lets an agent use a join code, keys and tokens, right and
// wrong, with the log at its most talkative, and looks for them in what it
// prints and remembers, and in the environment and on the command line of the
// programs that it runs and of itself.
func TestAgentCanaries(t *testing.T) {
	d := serve(t, launch{args: []string{"--log-level", "debug"}})
	c := &canaries{t: t, d: d, where: map[string]string{}}
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const keyed, tokened = "keyed." + zone, "tokened." + zone
	code := d.joinCode(t, keyed)
	c.add(code, "the join code")
	c.add(strings.ReplaceAll(code, "-", ""), "the join code without hyphens")
	token := c.token("host", "add", tokened, "--addresses", "any", "--json")
	c.add("canary-of-the-environment", "a variable of the agent's own")

	spy := write("spy", `#!/bin/sh
{ env; tr '\0' '\n' </proc/$$/cmdline; tr '\0' '\n' </proc/$PPID/cmdline; echo "$@"; } >>`+filepath.Join(dir, "spied.$1")+`
[ "$1" = hook ] || echo 127.0.0.1
`, 0o700)
	write("agent.toml", `url = "`+strings.TrimSuffix(d.url(), "/")+`"
hook = ["`+spy+`", "hook"]
ipv4 = ["command `+spy+` source", "server"]
[[host]]
name = "`+tokened+`"
token-file = "`+write("token", token+"\n", 0o600)+`"
`, 0o600)
	agent := func(succeeds bool, words ...string) {
		t.Helper()
		cmd := exec.Command(programs.checked, append(append([]string{"agent"}, words...),
			"--config", filepath.Join(dir, "agent.toml"), "--state-dir", filepath.Join(dir, "state"), "--log-level", "debug")...)
		cmd.Env = append(os.Environ(), "GODWIT_SECRET=canary-of-the-environment")
		out, err := cmd.CombinedOutput()
		if (err == nil) != succeeds {
			t.Errorf("agent %s: %v\n%s", words[0], err, out)
		}
		c.look("what agent "+words[0]+" said", out)
		for _, name := range []string{"agent.toml", "state/state.json", "state/status.json"} {
			if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				c.look(name, data)
			}
		}
	}
	// key adds what the keys' files hold to what is looked for.
	key := func() {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "state", "keys", "*.key"))
		if err != nil || len(files) != 1 {
			t.Fatalf("keys: %q, %v", files, err)
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Seed []byte }
		if err := json.Unmarshal(data, &file); err != nil || len(file.Seed) != 32 {
			t.Fatalf("%v in the key's file", err)
		}
		c.add(string(file.Seed), "a private key")
	}

	agent(true, "join", d.url(), code)
	key()
	agent(false, "join", d.url(), code) // it is spent
	agent(true, "once")
	agent(true, "rotate", "--host", keyed)
	key()
	agent(true, "once")
	agent(false, "status") // none runs
	agent(false, "status", "--json")
	write("token", strings.ToUpper(token)+"\n", 0o600)
	c.add(strings.ToUpper(token), "a token that is none")
	agent(false, "once")
	c.quiet("host", "rotate", keyed)
	agent(false, "once")
	for _, name := range []string{"spied.hook", "spied.source"} {
		data := read(name)
		if !strings.Contains(string(data), "GODWIT_FAMILY=IPv4") || !strings.Contains(string(data), "agent.toml") {
			t.Errorf("%s: %s", name, data)
		}
		// A code is on the command line of join alone, which runs no program.
		c.look(name, data)
	}
	c.look("the daemon's log", []byte(d.output()))
}
