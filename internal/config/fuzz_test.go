package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"godwit/internal/config"
)

// FuzzConfigFile: whatever the file says, it is refused with a way out, or
// accepted; and then every key in it is a setting that came from it, and what
// is printed of the settings is a file that means the same.
func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{
		"zone = \"dyn.example.org\"",
		"zone = [\"dyn.example.org\", 'NAS.Example.ORG.']\nhttp = []\ndns = \":53\"",
		"zone = \"a\\u002eexample\"\nns = [\"ns1.example.net\", \"ns.a.example=192.0.2.1,2001:db8::1\"]",
		"zone = \"dyn.example.org\"\nzone-file = \"dyn.example.org=/etc/a\\\\b\\\"c.zone\"",
		"zone = \"dyn.example.org\"\nchanges-per-hour = 0\nrequests-per-second = 0x10\nlog-format = \"json\"",
		"zone = \"dyn.example.org\"\nhttps = \"0.0.0.0:443\"\ntls-cert = \"/c\"\ntls-key = \"/k\"\nurl = \"HTTPS://Ddns.example.org/%41/\"",
		"zone = \"dyn.example.org\"\nadmin = \"127.0.0.1:1\"\nadmin-token-file = \"/t\"\ntrusted-proxy = [\"192.0.2.1\", \"2001:db8::/32\"]",
		"zone = \"dyn.example.org\"\nhttps = \":443\"\ntls = \"auto\"\nurl = \"https://D.example.org\"\ntls-name = [\"dyn.example.org\"]\ntls-key-type = \"rsa\"\nacme-directory = \"https://ca.example.org/%41\"",
		"[zone]\nx = 1", "zonne = 1", "zone.a = 1", "\"zone\" = \"dyn.example.org\"", "zone = \"xn--\"", "\xff", "zone = [[\"a\"]]",
		"zone = \"" + strings.Repeat("a", 64) + ".example\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		load := func(text string) (*config.Serve, error) {
			name, env := "godwit.toml", environment(nil)
			env.ReadFile = func(string) ([]byte, error) { return []byte(text), nil }
			return config.LoadServe(config.Flags{Config: &name}, env)
		}
		s, err := load(text)
		if err != nil {
			var ours *config.Error
			if !errors.As(err, &ours) || ours.Why == "" || ours.Fix == "" {
				t.Fatalf("refused without a way out: %v", err)
			}
			return
		}
		var top map[string]any
		if err := toml.Unmarshal([]byte(text), &top); err != nil {
			t.Fatalf("accepted what is not TOML: %v", err)
		}
		for _, src := range s.Sources {
			_, there := top[src.Name]
			if there != strings.HasPrefix(src.From, "file ") {
				t.Errorf("%s came from %q; it is in the file: %v", src.Name, src.From, there)
			}
			delete(top, src.Name)
		}
		if len(top) > 0 {
			t.Errorf("ignored silently: %v", top)
		}
		again, err := load(s.String())
		if err != nil {
			t.Fatalf("what is printed cannot be read: %v\n%s", err, s)
		}
		same(t, s, again)
	})
}
