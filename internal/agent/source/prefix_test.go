package source_test

import (
	"net/netip"
	"strings"
	"testing"

	"godwit/internal/agent"
	"godwit/internal/agent/source"
)

func newPrefix(t *testing.T, spec string) agent.PrefixSource {
	t.Helper()
	s, err := source.NewPrefix(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkPrefix holds what a source finds to a prefix, or to what its error says.
func checkPrefix(t *testing.T, s agent.PrefixSource, want string) {
	t.Helper()
	got, err := s.FindPrefix(t.Context())
	if prefix, parseErr := netip.ParsePrefix(want); parseErr == nil {
		if err != nil || got != prefix {
			t.Errorf("%s: got %v, %v; want %s", s.Name(), got, err, want)
		}
		return
	}
	if err == nil || got.IsValid() || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, %v; want an error that says %q", s.Name(), got, err, want)
	}
}

func TestNewPrefix(t *testing.T) {
	for _, spec := range []string{"delegated", "interface br-lan", "interface br-lan/56", "interface br-lan/48", "command /usr/bin/prefix 'of the' \"router\""} {
		if s := newPrefix(t, spec); s.Name() != spec {
			t.Errorf("%q is called %q", spec, s.Name())
		}
	}
	for spec, want := range map[string]string{
		"": "not known", "server": "not known", "2001:db8::/56": "not known", "delegated eth0": "takes no argument", "interface": "names no interface",
		"interface /56": "names no interface", "interface br-lan/47": "not 48 to 64", "interface br-lan/65": "not 48 to 64", "interface br-lan/": "not 48 to 64",
		"interface br-lan/x": "not 48 to 64", "interface br-lan eth0": "names no interface", "command": "whole path", "command prefix": "whole path",
	} {
		if s, err := source.NewPrefix(spec); s != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error that says %q", spec, s, err, want)
		}
	}
}

func TestPrefixCommand(t *testing.T) {
	for text, want := range map[string]string{
		"/bin/echo 2a01:100:0:ff00::/56":          "2a01:100:0:ff00::/56",
		"/bin/echo 2a01:100::/48":                 "2a01:100::/48",
		"/bin/echo 2a01:100:0:1::/64":             "2a01:100:0:1::/64",
		"/bin/echo 2a01:100::/47":                 "not an IPv6 prefix of 48 to 64 bits",
		"/bin/echo 2a01:100:0:1:8000::/65":        "not an IPv6 prefix of 48 to 64 bits",
		"/bin/echo 2a01:100:0:ff05::/56":          "with zeros behind it",
		"/bin/echo 2a01:100::7":                   "not one prefix",
		"/bin/echo 20.0.0.0/24":                   "not an IPv6 prefix",
		"/bin/echo ::ffff:20.0.0.0/120":           "not an IPv6 prefix",
		"/bin/echo 2a01:100::/56 2a01:200::/56":   "not one prefix",
		"/bin/echo fd00:1:2:3300::/56":            "unique local",
		"/bin/echo 2001:db8:0:ff00::/56":          "documentation",
		"/bin/true":                               "prints nothing",
		"/bin/sh -c 'echo 2a01:100::/56; exit 3'": "exit status 3",
		"/bin/sh -c '[ $GODWIT_FAMILY = IPv6 ]'":  "prints nothing",
		"/bin/sh -c 'yes 2a01:100::/56'":          "more than",
		"/nowhere/at/all":                         "no such file",
	} {
		checkPrefix(t, newPrefix(t, "command "+text), want)
	}
}
