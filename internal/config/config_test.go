package config_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"godwit/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// environment is one with these variables and a home.
func environment(vars map[string]string) config.Environment {
	all := map[string]string{"HOME": "/home/op"}
	maps.Copy(all, vars)
	return config.Environment{
		Lookup: func(key string) (string, bool) { v, ok := all[key]; return v, ok },
		List: func() []string {
			var out []string
			for k, v := range all {
				out = append(out, k+"="+v)
			}
			return out
		},
		ReadFile: os.ReadFile,
	}
}

// parse reads a command line as the program does.
func parse(t *testing.T, args ...string) config.Flags {
	t.Helper()
	var flags config.Flags
	parser, err := kong.New(&flags, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "godwit.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestPrecedence: kong lets a file beat the environment. Here a flag beats the
// environment, the environment beats the file, and the file beats the default.
func TestPrecedence(t *testing.T) {
	file := write(t, "zone = \"file.example.org\"\ndata = \"/file\"\nlog-level = \"error\"\nchanges-per-hour = 7\n")
	env := environment(map[string]string{
		"GODWIT_CONFIG": file, "GODWIT_ZONE": "env.example.org", "GODWIT_DATA": "/env",
	})
	s, err := config.LoadServe(parse(t, "--zone", "flag.example.org"), env)
	if err != nil {
		t.Fatal(err)
	}
	from := map[string]string{}
	for _, src := range s.Sources {
		from[src.Name] = fmt.Sprint(src.Values, " ", src.From)
	}
	for name, want := range map[string]string{
		"zone":                 "[flag.example.org] flag",
		"data":                 "[/env] environment GODWIT_DATA",
		"log-level":            "[error] file " + file + " line 3",
		"changes-per-hour":     "[7] file " + file + " line 4",
		"requests-per-second":  "[20] default",
		"dnssec-key-days":      "[365] default",
		"responses-per-second": "[200] default",
		"url":                  "[] default",
	} {
		if from[name] != want {
			t.Errorf("%s is %q, want %q", name, from[name], want)
		}
	}
	// The named file beats the one in the environment too.
	other := write(t, "zone = \"other.example.org\"")
	s, err = config.LoadServe(parse(t, "--config", other, "--data", "/d"), environment(map[string]string{"GODWIT_CONFIG": file}))
	if err != nil || s.Zones[0].String() != "other.example.org" {
		t.Errorf("got %v, %v; want the zone of --config", s, err)
	}
}

func TestWaysToWriteAList(t *testing.T) {
	ns := "ns1.dyn.example.org=192.0.2.1,2001:db8::1"
	for name, load := range map[string]func() (*config.Serve, error){
		"flags": func() (*config.Serve, error) {
			return config.LoadServe(parse(t, "--zone=dyn.example.org", "--zone=b.example.org", "--ns", ns, "--ns=ns2.example.net"), environment(nil))
		},
		"commas": func() (*config.Serve, error) {
			return config.LoadServe(parse(t, "--zone=dyn.example.org,b.example.org", "--ns", ns, "--ns=ns2.example.net"), environment(nil))
		},
		"environment": func() (*config.Serve, error) {
			return config.LoadServe(config.Flags{}, environment(map[string]string{"GODWIT_ZONE": "dyn.example.org, b.example.org", "GODWIT_NS": ns + " ns2.example.net"}))
		},
		"file": func() (*config.Serve, error) {
			f := write(t, "zone = [\n\t\"dyn.example.org\",\n\t\"b.example.org\",\n]\nns = [\""+ns+"\", \"ns2.example.net\"]\n")
			return config.LoadServe(parse(t, "--config", f), environment(nil))
		},
	} {
		s, err := load()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := fmt.Sprint(s.Zones, s.NameServers); got != "[dyn.example.org b.example.org] [{ns1.dyn.example.org [192.0.2.1 2001:db8::1]} {ns2.example.net []}]" {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// TestRefused shows every message that a wrong setting gets: each names the
// setting, its place and an example that works.
func TestRefused(t *testing.T) {
	zone := []string{"--zone", "dyn.example.org"}
	cases := []struct {
		name string
		args []string
		env  map[string]string
		file string
		want string
	}{
		{name: "no zone", want: "--zone: a zone is needed: the part of the name space that this server answers for; give it as in --zone dyn.example.com"},
		{name: "zone name", args: []string{"--zone", "a..b"}, want: "--zone: name"},
		{name: "zone twice", args: []string{"--zone", "a.example", "--zone", "A.example."}, want: "--zone: zone a.example is there twice; name it once"},
		{name: "wildcard zone", args: []string{"--zone", "*.example.org"}, want: "cannot be a wildcard"},
		{name: "unknown key", file: "zone = \"dyn.example.org\"\n\nhttps-cert = \"x\"\n", want: "line 3: there is no setting \"https-cert\"; did you mean tls-cert?"},
		{name: "unknown table", file: "[serve]\nzone = \"dyn.example.org\"\n", want: "line 1: there is no setting \"serve\"; did you mean"},
		{name: "a table for a value", file: "[zone]\na = 1\n", want: "line 1: zone: it is not a table; write it as in zone = [\"dyn.example.com\"]"},
		{name: "wrong type", file: "zone = 1.5\n", want: "line 1: zone: it is neither text, a whole number, true nor false; write it as in zone = [\"dyn.example.com\"]"},
		{name: "list for one", file: "zone = \"dyn.example.org\"\nurl = [\"http://a\", \"http://b\"]\n", want: "line 2): it takes one value, not a list; give it as in url = \"https://ddns.example.com\""},
		{name: "empty list", file: "zone = []\n", want: "line 1): the list is empty"},
		{name: "not TOML", file: "zone = dyn.example.org\n", want: "line 1: "},
		{name: "no file", args: []string{"--config", "/nowhere/godwit.toml"}, want: "--config: open /nowhere/godwit.toml"},
		{name: "empty variable", args: zone, env: map[string]string{"GODWIT_HTTP": ""}, want: "setting http (environment GODWIT_HTTP): it is set but empty; unset the variable, or give it as in GODWIT_HTTP=0.0.0.0:80"},
		{name: "empty flag", args: append(zone, "--http="), want: `--http: "" is not an IP address with a port; give it as in --http 0.0.0.0:80`},
		{name: "no port", args: append(zone, "--dns", "0.0.0.0"), want: `--dns: "0.0.0.0" is not an IP address with a port; give it as in --dns 0.0.0.0:53`},
		{name: "port too large", args: append(zone, "--dns", "0.0.0.0:70000"), want: "is not an IP address with a port"},
		{name: "a name to listen on", args: append(zone, "--http", "ddns.example.org:80"), want: "is not an IP address with a port"},
		{name: "off beside an address", args: append(zone, "--http", "off", "--http", "0.0.0.0:80"), want: "off cannot stand beside addresses"},
		{name: "all off", args: append(zone, "--http", "off", "--dns", "off"), want: "--dns: all listeners are off"},
		{name: "half a pair", args: append(zone, "--https", "0.0.0.0:443", "--tls-cert", "c.pem"), want: "--tls-cert: a certificate needs its key; add --tls-key FILE"},
		{name: "other half", args: append(zone, "--tls-key", "k.pem"), want: "--tls-key: a key needs its certificate; add --tls-cert FILE"},
		{name: "HTTPS without", args: append(zone, "--https", "0.0.0.0:443"), want: "--https: HTTPS needs a certificate; add --tls-cert FILE --tls-key FILE"},
		{name: "certificate for nothing", args: append(zone, "--tls-cert", "c", "--tls-key", "k"), want: "--tls-cert: nothing uses the certificate"},
		{name: "other TLS", args: append(zone, "--tls", "manual"), want: `--tls: "manual" is not auto; give it as in --tls auto`},
		{name: "two certificates", args: append(zone, "--https", ":443", "--tls", "auto", "--tls-cert", "c", "--tls-key", "k"), want: "--tls: there is a certificate in a file too"},
		{name: "TLS for nothing", args: append(zone, "--tls", "auto", "--url", "https://ddns.example.org"), want: "--tls: nothing uses the certificate; add --https 0.0.0.0:443"},
		{name: "TLS for no name", args: append(zone, "--https", ":443", "--tls", "auto"), want: "--tls: the certificate is for the name in --url, which has to be an https URL; give it, for example --url https://"},
		{name: "TLS for HTTP", args: append(zone, "--https", ":443", "--tls", "auto", "--url", "http://ddns.example.org"), want: "which has to be an https URL"},
		{name: "TLS for an address", args: append(zone, "--https", ":443", "--tls", "auto", "--url", "https://192.0.2.1"), want: "--url: 192.0.2.1 is an address, and certificates are for names"},
		{name: "TLS for another address", args: append(zone, "--https", ":443", "--tls", "auto", "--url", "https://[2001:db8::1]"), want: "--url: 2001:db8::1 is an address"},
		{name: "TLS for localhost", args: append(zone, "--https", ":443", "--tls", "auto", "--url", "https://localhost"), want: `--url: name "localhost": is a single label`},
		{name: "TLS name", args: append(zone, "--tls-name", "x.localhost"), want: "--tls-name: x.localhost is no name that the internet knows"},
		{name: "TLS wildcard", args: append(zone, "--tls-name", "*.dyn.example.org"), want: "is a wildcard, and this server has no need of one; name each"},
		{name: "TLS name twice", args: append(zone, "--tls-name", "a.example.org,A.example.org"), want: "a.example.org is there twice; name it once"},
		{name: "TLS name without", args: append(zone, "--tls-name", "dyn.example.org"), want: "--tls-name: it is about certificates that the server gets itself; add --tls auto, or leave it out"},
		{name: "key type without", args: append(zone, "--tls-key-type", "rsa"), want: "--tls-key-type: it is about certificates that the server gets itself"},
		{name: "key type", args: append(zone, "--tls-key-type", "dsa"), want: `--tls-key-type: "dsa" is not ecdsa or rsa`},
		{name: "e-mail", args: append(zone, "--tls-email", "Op <op@example.org>"), want: "is not an e-mail address; give it as in --tls-email hostmaster@example.com"},
		{name: "directory in the clear", args: append(zone, "--acme-directory", "http://ca.example.org/directory"), want: "is not an https URL; give it as in --acme-directory https://acme-staging-v02"},
		{name: "directory with a password", args: append(zone, "--acme-directory", "https://op:hunter2@ca.example.org/"), want: "--acme-directory: a URL with a user name or password in it is not accepted"},
		{name: "overlap", args: append(zone, "--http", "0.0.0.0:5300"), want: "--dns: 127.0.0.1:5300 overlaps with 0.0.0.0:5300 of --http; give one of them another port or address"},
		{name: "same twice", args: append(zone, "--http", "127.0.0.1:80", "--http", "127.0.0.1:80"), want: "overlaps"},
		{name: "admin without token", args: append(zone, "--admin", "127.0.0.1:8054"), want: "--admin: the admin API on TCP needs a token; make one: "},
		{name: "admin in the clear", args: append(zone, "--admin", "192.0.2.1:8054", "--admin-token-file", "f"), want: "--admin: the admin token must not travel in the clear"},
		{name: "token for nothing", args: append(zone, "--admin-token-file", "f"), want: "--admin-token-file: nothing uses the admin token"},
		{name: "URL", args: append(zone, "--url", "ddns.example.org"), want: `--url: "ddns.example.org" is not an http or https URL with a host; give it as in --url https://ddns.example.com`},
		{name: "URL with a password", args: append(zone, "--url", "https://op:hunter2@ddns.example.org"), want: "--url: a URL with a user name or password in it is not accepted"},
		{name: "name server out of zone", args: append(zone, "--ns", "ns1.example.net=192.0.2.1"), want: "--ns: ns1.example.net is in none of the zones, so its addresses come from elsewhere; give the name alone: --ns ns1.example.net"},
		{name: "name server without address", args: append(zone, "--ns", "ns1.dyn.example.org"), want: "--ns: ns1.dyn.example.org is in zone dyn.example.org and has no address, so nobody could reach it; give its public addresses: --ns ns1.dyn.example.org=192.0.2.1,2001:db8::1"},
		{name: "name server address", args: append(zone, "--ns", "ns1.dyn.example.org=0.0.0.0"), want: "is not an address that a resolver could ask"},
		{name: "signed zone of another", args: append(zone, "--dnssec", "example.net"), want: "--dnssec: example.net is not one of the zones; add --zone example.net, or leave it out"},
		{name: "signed zone twice", args: append(zone, "--dnssec", "dyn.example.org", "--dnssec", "dyn.example.org."), want: "--dnssec: zone dyn.example.org is there twice; name it once"},
		{name: "signed in Route 53", args: append(zone, "--dnssec", "dyn.example.org", "--publish", "route53"), want: "--dnssec: Route 53 answers, and signs by itself"},
		{name: "resolver without signed zones", args: append(zone, "--dnssec-resolver", "192.0.2.53"), want: "--dnssec-resolver: no zone is signed, so nothing asks it; add --dnssec with a zone, or leave it out"},
		{name: "resolver by name", args: append(zone, "--dnssec", "dyn.example.org", "--dnssec-resolver", "dns.example.org"), want: `--dnssec-resolver: "dns.example.org" is not an IP address with or without a port; give it as in --dnssec-resolver 9.9.9.9`},
		{name: "zone file of another", args: append(zone, "--zone-file", "example.net=/f"), want: "--zone-file: example.net is not one of the zones; add --zone example.net, or leave its file out"},
		{name: "zone file", args: append(zone, "--zone-file", "/f"), want: "is not a zone, =, and a file; give it as in --zone-file"},
		{name: "publish elsewhere", args: append(zone, "--publish", "cloudflare"), want: `--publish: "cloudflare" is not authority or route53; give it as in --publish route53`},
		{name: "default zone of another", args: append(zone, "--default-zone", "example.net"), want: "--default-zone: example.net is not one of the zones; add --zone example.net, or name one that is there"},
		{name: "default zone", args: append(zone, "--default-zone", "a..b"), want: "give it as in --default-zone dyn.example.com"},
		{name: "hosted zone for nothing", args: append(zone, "--hosted-zone", "dyn.example.org=Z1"), want: "--hosted-zone: nothing is published in Route 53; add --publish route53, or leave the hosted zone out"},
		{name: "hosted zone of another", args: append(zone, "--publish", "route53", "--hosted-zone", "example.net=Z1"), want: "--hosted-zone: example.net is not one of the zones; add --zone example.net, or leave its hosted zone out"},
		{name: "hosted zone", args: append(zone, "--publish", "route53", "--hosted-zone", "dyn.example.org"), want: `"dyn.example.org" is not a zone, =, and the ID of a hosted zone; give it as in --hosted-zone dyn.example.com=Z0123456789ABC`},
		{name: "secondary without a key", args: append(zone, "--secondary", "192.0.2.2"), want: "--secondary: zones are given only to who has a TSIG key; make a key: (umask 077; tsig-keygen transfer >transfer.key), then add --tsig-key-file transfer.key"},
		{name: "secondary by name", args: append(zone, "--secondary", "ns2.example.org"), want: `--secondary: "ns2.example.org" is not an IP address with or without a port; give it as in --secondary 192.0.2.2=transfer`},
		{name: "secondary nowhere", args: append(zone, "--secondary", "[::]:53"), want: "--secondary: [::]:53 is no place where a name server listens; give it as in --secondary 192.0.2.2=transfer"},
		{name: "secondary twice", args: append(zone, "--secondary", "192.0.2.2,192.0.2.2:53=k"), want: "--secondary: secondary 192.0.2.2:53 is there twice; name it once"},
		{name: "secondary with a bad key name", args: append(zone, "--secondary", "192.0.2.2=a..b"), want: "--secondary: the TSIG key's name: "},
		{name: "secondary of Route 53", args: append(zone, "--publish", "route53", "--secondary", "192.0.2.2"), want: "--secondary: Route 53 answers for the zones, so no secondary can follow this server; leave it out, or --publish route53"},
		{name: "keys without DNS", args: append(zone, "--dns", "off", "--tsig-key-file", "k"), want: "--tsig-key-file: there is no DNS listener that a secondary could get a zone from; add one, for example --dns 0.0.0.0:53"},
		{name: "keys twice", args: append(zone, "--tsig-key-file", "/k", "--tsig-key-file", "/k"), want: "--tsig-key-file: /k is there twice; name it once"},
		{name: "catalog without a key", args: append(zone, "--catalog", "catalog.example.org"), want: "--catalog: zones are given only to who has a TSIG key; make a key: (umask 077; tsig-keygen transfer >transfer.key), then add --tsig-key-file transfer.key"},
		{name: "catalog that is a zone", args: append(zone, "--tsig-key-file", "/k", "--catalog", "dyn.example.org"), want: "--catalog: dyn.example.org is one of the zones; give the catalog a name of its own, for example --catalog catalog.dyn.example.org"},
		{name: "catalog that is a wildcard", args: append(zone, "--tsig-key-file", "/k", "--catalog", "*.example.org"), want: "--catalog: *.example.org cannot be a catalog's name; give it as in --catalog catalog.example.com"},
		{name: "two hosted zones", args: append(zone, "--publish", "route53", "--hosted-zone", "dyn.example.org=Z1,dyn.example.org=Z2"), want: "zone dyn.example.org has two hosted zones; give the one that its parent delegates to"},
		{name: "no listener beside Route 53", args: append(zone, "--publish", "route53", "--http", "off"), want: "--dns: all listeners are off"},
		{name: "proxy bits", args: append(zone, "--trusted-proxy", "192.0.2.1/24"), want: "--trusted-proxy: 192.0.2.1/24 has bits set beyond its length; did you mean 192.0.2.0/24?"},
		{name: "proxy all", args: append(zone, "--trusted-proxy", "0.0.0.0/0"), want: "would trust everybody"},
		{name: "limit", args: append(zone, "--changes-per-hour", "many"), want: `--changes-per-hour: "many" is not a whole number from 0 to 1000000; give it as in --changes-per-hour 30`},
		{name: "no truth value", file: "zone = \"a.example.org\"\nhttp-tokens = 1\n", want: "\"1\" is neither true nor false; give it as in --http-tokens=true"},
		{name: "negative", args: append(zone, "--requests-per-second=-1"), want: "is not a whole number"},
		{name: "level", args: append(zone, "--log-level", "loud"), want: `--log-level: "loud" is not debug, info, warn or error`},
		{name: "format", args: append(zone, "--log-format", "xml"), want: `--log-format: "xml" is not text or json`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			if c.file != "" {
				args = append(slices.Clone(args), "--config", write(t, c.file))
			}
			_, err := config.LoadServe(parse(t, args...), environment(c.env))
			var ours *config.Error
			if !errors.As(err, &ours) || ours.Fix == "" {
				t.Fatalf("got %v, want an *Error with a way out", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the message repeats a password")
			}
		})
	}
}

func TestShortFormsOfListeners(t *testing.T) {
	s, err := config.LoadServe(parse(t, "--zone", "dyn.example.org", "--dns", ":53", "--http", "localhost:80"), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.DNS, s.HTTP); got != "[0.0.0.0:53 [::]:53] [127.0.0.1:80 [::1]:80]" {
		t.Errorf("got %s", got)
	}
}

func TestDefaultData(t *testing.T) {
	for _, c := range []struct {
		vars map[string]string
		want string
	}{
		{nil, "/home/op/.local/state/godwit"},
		{map[string]string{"XDG_STATE_HOME": "/x"}, "/x/godwit"},
		{map[string]string{"XDG_STATE_HOME": "relative"}, "/home/op/.local/state/godwit"},
		{map[string]string{"XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/var/lib/godwit:/var/lib/other"}, "/var/lib/godwit"},
		{map[string]string{"HOME": ""}, ""},
	} {
		got, err := config.DefaultData(environment(c.vars))
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%v: got %q, %v, want %q", c.vars, got, err, c.want)
		}
	}
}

func TestUnknownVariableIsWarnedAbout(t *testing.T) {
	s, err := config.LoadServe(parse(t, "--zone", "dyn.example.org"), environment(map[string]string{"GODWIT_HTTPP": "x", "GODWIT_TARGET": "local:/d", "GODWIT_INTERVAL": "1m"}))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"the environment variable GODWIT_HTTPP means nothing to godwit; did you mean GODWIT_HTTP?"}
	if !slices.Equal(s.Warnings, want) {
		t.Errorf("got %q, want %q", s.Warnings, want)
	}
}

// TestClientsTokenIsLeftAlone: the variable is the admin commands' too.
func TestClientsTokenIsLeftAlone(t *testing.T) {
	env := environment(map[string]string{"GODWIT_ADMIN_TOKEN_FILE": "/token"})
	s, err := config.LoadServe(parse(t, "--zone", "dyn.example.org"), env)
	if err != nil || s.AdminTokenFile != "" || len(s.Warnings) != 1 || strings.Contains(s.String(), "/token") {
		t.Errorf("without --admin: %v, %v", s, err)
	}
	s, err = config.LoadServe(parse(t, "--zone", "dyn.example.org", "--admin", "127.0.0.1:8054"), env)
	if err != nil || s.AdminTokenFile != "/token" || len(s.Warnings) != 0 {
		t.Errorf("with --admin: %v, %v", s, err)
	}
}

// TestTableIsComplete: a flag without a row in the table would be ignored.
func TestTableIsComplete(t *testing.T) {
	s, err := config.LoadServe(parse(t, "--zone", "dyn.example.org"), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	var flags config.Flags
	parser, err := kong.New(&flags)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range parser.Model.Flags {
		known := slices.ContainsFunc(s.Sources, func(src config.Source) bool { return src.Name == f.Name })
		if !known && f.Name != "config" && f.Name != "help" {
			t.Errorf("--%s has no row in settings", f.Name)
		}
		if f.HasDefault || len(f.Envs) > 0 {
			t.Errorf("--%s has a default or a variable of kong's", f.Name)
		}
	}
}

// TestRoute53: who publishes elsewhere answers DNS only where he says so.
func TestRoute53(t *testing.T) {
	for _, tt := range []struct {
		args []string
		dns  int
	}{
		{[]string{"--hosted-zone", "dyn.example.org=/hostedzone/Z0123456789ABC"}, 0},
		{[]string{"--dns", "127.0.0.1:5300"}, 1},
	} {
		s, err := config.LoadServe(parse(t, append([]string{"--zone", "dyn.example.org", "--publish", "route53"}, tt.args...)...), environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !s.Route53 || len(s.DNS) != tt.dns {
			t.Errorf("%q: publish in Route 53: %t, DNS at %v", tt.args, s.Route53, s.DNS)
		}
		if id := s.HostedZones[s.Zones[0]]; tt.dns == 0 && id != "Z0123456789ABC" {
			t.Errorf("%q: hosted zone %q", tt.args, id)
		}
		again, err := config.LoadServe(parse(t, "--config", write(t, s.String())), environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		same(t, s, again)
	}
}

// TestTLSAuto: the certificate is for the URL's name first, and what is printed
// means the same.
func TestSecondaries(t *testing.T) {
	s, err := config.LoadServe(parse(t, "--zone", "dyn.example.org", "--tsig-key-file", "/etc/godwit/k", "--catalog", "Catalog.example.org",
		"--secondary", "192.0.2.2", "--secondary", "[2001:db8::2]:5353=Transfer.", "--secondary", "2001:db8::3=other,198.51.100.1:54"), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"192.0.2.2:53 ", "[2001:db8::2]:5353 transfer", "[2001:db8::3]:53 other", "198.51.100.1:54 "}
	var got []string
	for _, one := range s.Secondaries {
		key := ""
		if !one.Key.IsZero() {
			key = one.Key.String()
		}
		got = append(got, one.Addr.String()+" "+key)
	}
	if !slices.Equal(got, want) || s.Catalog.String() != "catalog.example.org" || !slices.Equal(s.TSIGKeyFiles, []string{"/etc/godwit/k"}) {
		t.Errorf("%q, %s, %q", got, s.Catalog, s.TSIGKeyFiles)
	}
}

func TestTLSAuto(t *testing.T) {
	s, err := config.LoadServe(parse(t, "--zone", "dyn.example.org", "--https", "127.0.0.1:443", "--tls", "auto", "--url", "https://DDNS.dyn.example.org:8443",
		"--tls-name", "dyn.example.org,ddns.dyn.example.org", "--tls-email", "op@example.org", "--tls-key-type", "rsa",
		"--acme-directory", "https://ca.example.org/acme", "--acme-ca", "/ca.pem", "--acme-eab-file", "/eab"), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(fmt.Sprintln(s.TLSAuto, s.TLSNames, s.TLSEmail, s.TLSKeyRSA, s.ACMEDirectory, s.ACMECA, s.ACMEEABFile)); got !=
		"true [ddns.dyn.example.org dyn.example.org] op@example.org true https://ca.example.org/acme /ca.pem /eab" {
		t.Errorf("got %s", got)
	}
	again, err := config.LoadServe(parse(t, "--config", write(t, s.String())), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	same(t, s, again)
}

func TestString(t *testing.T) {
	s, err := config.LoadServe(parse(t, "--zone", "dyn.example.org", "--data", "/var/lib/godwit", "--https", ":443",
		"--tls-cert", "/etc/godwit/fullchain.pem", "--tls-key", "/etc/godwit/privkey.pem",
		"--ns", "ns1.dyn.example.org=2001:db8::1,192.0.2.1", "--zone-file", "dyn.example.org=/etc/godwit/a.zone"),
		environment(map[string]string{"GODWIT_LOG_LEVEL": "debug", "GODWIT_TRUSTED_PROXY": "192.0.2.9 2001:db8::/32"}))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "settings.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(s.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if s.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
	again, err := config.LoadServe(parse(t, "--config", write(t, s.String())), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	same(t, s, again)
}

// same compares settings but for where they came from.
func same(t *testing.T, a, b *config.Serve) {
	t.Helper()
	x, y := *a, *b
	x.Sources, y.Sources, x.Warnings, y.Warnings = nil, nil, nil, nil
	if !reflect.DeepEqual(x, y) {
		t.Errorf("settings differ:\n%+v\n%+v\nfrom:\n%s", x, y, a)
	}
}

// TestDefaultZone: the only zone, or the one that is said.
func TestDefaultZone(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--zone", "dyn.example.org"}, "dyn.example.org"},
		{[]string{"--zone", "dyn.example.org", "--zone", "example.net"}, ""},
		{[]string{"--zone", "dyn.example.org", "--zone", "example.net", "--default-zone", "Example.NET."}, "example.net"},
	} {
		s, err := config.LoadServe(parse(t, c.args...), environment(nil))
		if err != nil || s.DefaultZone.String() != c.want {
			t.Errorf("%v: %v, %v", c.args, s.DefaultZone, err)
		}
	}
}
