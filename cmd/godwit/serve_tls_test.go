package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckOfTLSAuto: --check says how the names of a certificate will be proved
// and what stands in the way, and neither asks nor writes anything.
func TestCheckOfTLSAuto(t *testing.T) {
	alone(t)
	eab := filepath.Join(t.TempDir(), "eab")
	if err := os.WriteFile(eab, []byte("only-one-word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args string
		code int
		want []string
		not  string
	}{
		"own zone": {"--https :443 --url https://ddns.dyn.example.com --tls-name dyn.example.com", exitDone,
			[]string{"to be for ddns.dyn.example.com, dyn.example.com, proved by DNS, in zones of this server."}, "port 443 of"},
		"own zone, any port": {"--https :8443 --url https://ddns.dyn.example.com:8443", exitDone, []string{"proved by DNS"}, "port 443"},
		"one elsewhere": {"--https :443 --url https://ddns.dyn.example.com --tls-name ddns.example.net", exitDone,
			[]string{"proved at port 443, because ddns.example.net is in none of the zones."}, "warning: the certificate authority"},
		"elsewhere, another port": {"--https :8443 --url https://ddns.example.net", exitDone,
			[]string{"warning: the certificate authority connects to port 443", "and no --https is at port 443; have the port forwarded here"}, "by DNS"},
		"Route 53": {"--https :443 --url https://ddns.dyn.example.com --publish route53", exitDone,
			[]string{"proved at port 443, because this server does not answer DNS for them."}, "by DNS"},
		"no DNS": {"--https :443 --url https://ddns.dyn.example.com --dns off", exitDone, []string{"proved at port 443"}, "by DNS"},
		"EAB":    {"--https :443 --url https://ddns.dyn.example.com --acme-eab-file " + eab, exitFailed, []string{"has not two words; write the key ID"}, "are right"},
		"roots":  {"--https :443 --url https://ddns.dyn.example.com --acme-ca " + eab, exitFailed, []string{"has no certificate in PEM form"}, "are right"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			args := append([]string{"serve", "--check", "--config", os.DevNull, "--zone", "dyn.example.com", "--tls", "auto", "--data", dir}, strings.Fields(c.args)...)
			r := call("", args...)
			if r.code != c.code || strings.Contains(r.stderr, c.not) {
				t.Errorf("exit %d, and it says\n%s", r.code, r.stderr)
			}
			for _, want := range c.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("it lacks %q:\n%s", want, r.stderr)
				}
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("it made the data directory")
			}
		})
	}
}
