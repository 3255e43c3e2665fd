//go:build linux

package e2e

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected outputs in testdata/script")

// TestScript runs the stories in testdata/script. Beside testscript's own
// commands they have:
//
//	serve FLAGS            start the daemon on free ports, with data in D, and wait until it is ready;
//	                       the environment then has URL, URL6, HTTP, HTTP6, DNS_PORT and GODWIT_TARGET
//	! serve FLAGS          the daemon must end before it is ready; then stdout, stderr and code
//	sigterm, sigkill       end it; by SIGTERM it must exit 0, and then there are stdout and stderr
//	godwit ARGUMENTS       run godwit, as exec does, and remember what tokens it shows
//	code N                 the last godwit, curl or serve must have ended with that exit code
//	update HOST ADDRESS [SECRET]
//	                       send the seed's "set" from that address, with the last token that was shown for
//	                       the host, and print status and body. An address that is not a loopback one goes
//	                       through a proxy at 127.0.0.9, which the daemon must trust
//	dig ARGUMENTS          ask the daemon with the real dig and print status and sections, one space
//	                       between words, the SOA serial as SERIAL
//	curl ARGUMENTS         the real curl, quiet
//	certificates [renewed] make ca.pem, and cert.pem with key.pem for localhost and 127.0.0.1; renewed: in the
//	                       place of those, and $HTTPS and $ADMIN stay
//	sighup TEXT            send SIGHUP, and wait until the daemon's log says so in one more line
func TestScript(t *testing.T) {
	for _, name := range []string{"dig", "curl", "sqlite3", "openssl", "script"} {
		needProgram(t, name)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[storyKey{}] = &story{t: t, tokens: map[string]string{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":        cmdServe,
			"sigterm":      cmdSigterm,
			"sigkill":      cmdSigkill,
			"godwit":       cmdGodwit,
			"code":         cmdCode,
			"update":       cmdUpdate,
			"dig":          cmdDig,
			"curl":         cmdCurl,
			"certificates": cmdCertificates,
			"sighup":       cmdSighup,
		},
	})
}

// story is what the commands of one script share.
type story struct {
	t      testing.TB
	daemon *daemon
	tokens map[string]string // of each host the last that was shown
	code   int               // of the last program
}

type storyKey struct{}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

func (s *story) running(ts *testscript.TestScript) *daemon {
	if s.daemon == nil {
		ts.Fatalf("no daemon is running: serve first")
	}
	return s.daemon
}

// settingsInScripts are the variables that a script may hand to serve.
var settingsInScripts = []string{"GODWIT_CONFIG", "GODWIT_ZONE", "GODWIT_LOG_LEVEL", "GODWIT_CHANGES_PER_HOUR", "GODWIT_ZNOE"}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts)
	if s.daemon != nil {
		ts.Fatalf("a daemon is running already: sigterm it first")
	}
	d := &daemon{program: programs.checked, data: ts.MkAbs("D"), ports: newPorts(s.t), log: ts.MkAbs("serve.stderr"), out: ts.MkAbs("serve.stdout"), dir: ts.MkAbs(".")}
	d.args = append([]string{"serve"}, args...)
	if i := slices.Index(args, "--data"); i >= 0 {
		d.data = ts.MkAbs(args[i+1])
	} else {
		d.args = append(d.args, "--data", "D")
	}
	if !slices.Contains(args, "--http") {
		d.args = append(d.args, "--http", v4(d.ports.http), "--http", v6(d.ports.http))
	}
	if !slices.Contains(args, "--dns") {
		d.args = append(d.args, "--dns", v4(d.ports.dns), "--dns", v6(d.ports.dns))
	}
	d.env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME")}
	for _, key := range settingsInScripts {
		if v := ts.Getenv(key); v != "" {
			d.env = append(d.env, key+"="+v)
		}
	}
	for _, file := range []string{d.log, d.out} {
		ts.Check(os.WriteFile(file, nil, 0o644))
	}
	ts.Check(d.start())
	ts.Defer(func() {
		d.kill()
		if strings.Contains(d.output(), "DATA RACE") {
			s.t.Errorf("the race detector spoke up:\n%s", d.output())
		}
	})
	err := d.waitReady()
	s.code = 0
	switch {
	case neg && err == nil:
		ts.Fatalf("the daemon is ready, but it should have refused to start")
	case neg:
		d.kill()
		s.code = d.cmd.ProcessState.ExitCode()
		s.say(ts, d)
	case err != nil:
		ts.Fatalf("%v", err)
	default:
		s.daemon = d
		ts.Setenv("HTTP", v4(d.ports.http))
		ts.Setenv("HTTP6", v6(d.ports.http))
		ts.Setenv("URL", d.url())
		ts.Setenv("URL6", "http://"+v6(d.ports.http)+"/")
		ts.Setenv("DNS_PORT", strconv.Itoa(d.ports.dns))
		ts.Setenv("GODWIT_TARGET", d.target())
		s.say(ts, d)
	}
}

// say hands what the daemon said to the script's stdout and stderr.
func (s *story) say(ts *testscript.TestScript, d *daemon) {
	fmt.Fprint(ts.Stdout(), ts.ReadFile(d.out))
	fmt.Fprint(ts.Stderr(), ts.ReadFile(d.log))
}

func cmdSigterm(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts)
	d := s.running(ts)
	code, err := d.stop()
	ts.Check(err)
	if code != 0 {
		ts.Fatalf("SIGTERM ended the daemon with code %d:\n%s", code, d.output())
	}
	s.daemon = nil
	s.say(ts, d)
}

func cmdSigkill(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts)
	s.running(ts).kill()
	s.daemon = nil
}

// exec runs a program and holds its success to what the script expects.
func (s *story) exec(ts *testscript.TestScript, neg bool, program string, args ...string) {
	err := ts.Exec(program, args...)
	var exit *exec.ExitError
	s.code = 0
	switch {
	case errors.As(err, &exit):
		s.code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%s: %v", program, err)
	}
	if neg != (s.code != 0) {
		ts.Fatalf("%s %s: exit %d", program, strings.Join(args, " "), s.code)
	}
}

var tokenText = regexp.MustCompile(`\b[a-z2-7]{8}-[a-z2-7]{26}\b`)

func cmdGodwit(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts)
	s.exec(ts, neg, programs.plain, args...)
	if token := tokenText.FindString(ts.ReadFile("stdout")); token != "" && len(args) > 2 && args[0] == "host" && args[1] != "token" {
		i := slices.IndexFunc(args, func(a string) bool { return strings.Contains(a, ".") })
		s.tokens[args[i]] = token
		ts.Setenv("TOKEN", token)
	}
}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if s := storyOf(ts); len(args) != 1 || strconv.Itoa(s.code) != args[0] {
		ts.Fatalf("the exit code was %d", s.code)
	}
}

func cmdCurl(ts *testscript.TestScript, neg bool, args []string) {
	storyOf(ts).exec(ts, neg, "curl", append([]string{"-sS", "--max-time", "20"}, args...)...)
}

func cmdUpdate(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: update HOST ADDRESS [SECRET]")
	}
	s := storyOf(ts)
	d := s.running(ts)
	host, source := args[0], args[1]
	secret := s.tokens[strings.TrimSuffix(strings.ToLower(host), ".")]
	if len(args) == 3 {
		secret = args[2]
	}
	if secret == "" {
		ts.Fatalf("no token of %s was shown", host)
	}
	var got answer
	var err error
	if addr := netip.MustParseAddr(source); addr.IsLoopback() {
		got, err = d.updateFrom(source, host, secret)
	} else {
		got, err = throughProxy(d, source, seedBody(host, seedHash(source, host, secret)))
	}
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s\n", got.status, got.body)
	if neg != (got.status/100 != 2) {
		ts.Fatalf("update %s %s: %d %s", host, source, got.status, got.body)
	}
}

// throughProxy posts as a proxy at 127.0.0.9 does for a caller elsewhere.
func throughProxy(d *daemon, source, body string) (answer, error) {
	proxy := newCaller("127.0.0.9", d.url())
	defer proxy.close()
	proxy.forwardedFor = source
	return proxy.post(body)
}

func cmdDig(ts *testscript.TestScript, neg bool, args []string) {
	s := storyOf(ts)
	d := s.running(ts)
	server := []string{"@127.0.0.1", "-p", strconv.Itoa(d.ports.dns)}
	if slices.Contains(args, "-6") {
		server[0] = "@::1"
	}
	cmd := exec.Command("dig", slices.Concat(server, []string{"+tries=1", "+time=5", "+norec", "+nocookie"}, args)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		ts.Fatalf("dig: %v\n%s", err, out)
	}
	text := string(out)
	if !slices.Contains(args, "+short") {
		text = normalDig(text)
	}
	fmt.Fprint(ts.Stdout(), text)
}

// normalDig leaves of dig's output the status, the flags and the records.
func normalDig(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, ";; ->>HEADER<<-"):
			b.WriteString(strings.TrimSuffix(words[5], ","))
		case strings.HasPrefix(line, ";; flags:"):
			flags, _, _ := strings.Cut(strings.TrimPrefix(line, ";; flags:"), ";")
			b.WriteString(flags + "\n")
		case strings.HasPrefix(line, ";; AUTHORITY SECTION"), strings.HasPrefix(line, ";; ADDITIONAL SECTION"):
			b.WriteString("; " + strings.ToLower(words[1]) + "\n")
		case line == "" || strings.HasPrefix(line, ";"):
		default:
			if len(words) == 11 && words[3] == "SOA" {
				words[6] = "SERIAL"
			}
			b.WriteString(strings.Join(words, " ") + "\n")
		}
	}
	return b.String()
}

func cmdCertificates(ts *testscript.TestScript, neg bool, args []string) {
	ca, cert, key, err := makeCertificates("localhost", net.IPv4(127, 0, 0, 1))
	ts.Check(err)
	for name, data := range map[string][]byte{"ca.pem": ca, "cert.pem": cert, "key.pem": key} {
		ts.Check(os.WriteFile(ts.MkAbs(name), data, 0o600))
	}
	if len(args) > 0 {
		return
	}
	port := freePort(storyOf(ts).t)
	ts.Setenv("HTTPS", v4(port))
	ts.Setenv("ADMIN", v4(freePort(storyOf(ts).t)))
}

func cmdSighup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sighup TEXT")
	}
	d := storyOf(ts).running(ts)
	before := strings.Count(d.output(), args[0])
	ts.Check(d.cmd.Process.Signal(syscall.SIGHUP))
	for deadline := time.Now().Add(20 * time.Second); strings.Count(d.output(), args[0]) == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("after SIGHUP the log does not say %q:\n%s", args[0], d.output())
		}
	}
}
