package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/config"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

type demoCommand struct {
	Once bool `help:"Stop after the transcript; the exit code says whether every step went as it should."`
}

func (demoCommand) Help() string {
	return `Starts the real server on free loopback ports with a temporary directory, adds a host, and is
its client: sets its address, asks DNS, moves to another address, asks again, and tries what must
not work. Then it stays up and says how to play with it, until Ctrl-C. Nothing is left behind.

Examples:

    godwit demo
    godwit demo --once && echo it works here`
}

func (c demoCommand) Run(a *app) error {
	dir, err := os.MkdirTemp("", "godwit-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w; set TMPDIR to a directory that you may write to", err)
	}
	defer os.RemoveAll(dir)
	demo, err := newDemo(a, dir)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(a.ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return demo.daemon.serve(ctx) })
	demo.play(ctx)
	if !c.Once && ctx.Err() == nil {
		demo.invite()
		<-ctx.Done()
	}
	stop()
	if err := errors.Join(group.Wait(), demo.daemon.close()); err != nil {
		return err
	}
	if demo.failed > 0 {
		a.say("godwit: %s of the demo failed; please report it with the transcript above", quantity(demo.failed, "step"))
		return errFailed
	}
	return nil
}

// demo is one play of the whole loop.
type demo struct {
	a      *app
	dir    string
	daemon *daemon
	home   netip.Addr // the client's address at first
	away   netip.Addr // and after its move
	zone   dnsname.Name
	host   dnsname.Name
	token  ddns.Secret
	steps  int
	failed int
}

func newDemo(a *app, dir string) (*demo, error) {
	d := &demo{
		a: a, dir: dir, home: netip.MustParseAddr("127.0.0.1"), away: netip.MustParseAddr("127.0.0.2"),
		zone: dnsname.MustParse("dyn.example.com"), host: dnsname.MustParse("nas.dyn.example.com"),
	}
	http := []string{"127.0.0.1:0"}
	a.print("godwit demo: the whole loop on this machine. It uses loopback addresses and %s only.", dir)
	if l, err := net.Listen("tcp4", "127.0.0.2:0"); err == nil {
		_ = l.Close()
	} else {
		// macOS has 127.0.0.1 alone unless an administrator adds more.
		a.print("This system has no 127.0.0.2 (%v), so ::1 is the other address.", err)
		d.away = netip.IPv6Loopback()
		http = append(http, "[::1]:0")
	}
	data := filepath.Join(dir, "data")
	zone, level := d.zone.String(), "warn"
	settings, err := config.LoadServe(config.Flags{
		Zone: []string{zone}, Data: &data, HTTP: http, DNS: []string{"127.0.0.1:0"}, Level: &level,
	}, config.Environment{ // a demo is the same for everyone: nobody's settings count
		Lookup:   func(string) (string, bool) { return "", false },
		List:     func() []string { return nil },
		ReadFile: func(string) ([]byte, error) { return nil, os.ErrNotExist },
	})
	if err != nil {
		return nil, err
	}
	d.daemon, err = open(a.ctx, settings, newLogger(a.stderr, settings.LogLevel, settings.LogJSON))
	return d, err
}

// step begins a step.
func (d *demo) step(title string) {
	d.steps++
	d.a.print("\n%d. %s", d.steps, title)
}

func (d *demo) sent(format string, args ...any) { d.a.print("   → "+format, args...) }
func (d *demo) came(format string, args ...any) { d.a.print("   ← "+format, args...) }

// verdict ends a step: what was to be shown, and whether it was.
func (d *demo) verdict(ok bool, format string, args ...any) {
	mark := "✓"
	if !ok {
		mark = "✗ it should be that"
		d.failed++
	}
	d.a.print("   %s "+format, append([]any{mark}, args...)...)
}

// play is the transcript.
func (d *demo) play(ctx context.Context) {
	d.step("Start a server for the zone " + d.zone.String())
	d.sent("godwit serve --zone %s --data %s", d.zone, d.daemon.settings.Data)
	d.verdict(true, "it serves HTTP at %s and DNS at %s", strings.Join(urls("http", d.daemon.bound.HTTP), " "), d.daemon.bound.DNS[0])

	d.step("Add a host")
	d.sent("godwit host add %s --addresses any", d.host)
	if err := d.addHost(ctx); err != nil {
		d.verdict(false, "%s", err)
		return
	}
	d.verdict(true, "its token, shown this once, is %s", d.token.Reveal())
	d.a.print("     (--addresses any: loopback and private addresses are refused otherwise)")

	d.step("Ask the server for my address, from " + d.home.String())
	d.get(ctx, d.home)

	d.step("Set the host to it: SHA-256 over address, name and token shows who I am")
	first := d.request(d.home, d.token)
	d.set(ctx, d.home, first, http.StatusCreated, "set to "+d.home.String())

	d.step("Ask DNS")
	d.resolve(ctx, d.home)

	d.step(fmt.Sprintf("Move: from now on I am at %s", d.away))
	d.get(ctx, d.away)
	d.set(ctx, d.away, d.request(d.away, d.token), http.StatusCreated, "set to "+d.away.String())

	d.step("Ask DNS again: the name has followed")
	d.resolve(ctx, d.away)

	d.step("Set it once more: nothing has changed, so nothing is written")
	d.set(ctx, d.away, d.request(d.away, d.token), http.StatusOK, "matches the current")

	d.step("Try a wrong secret")
	d.set(ctx, d.away, d.request(d.away, ddns.NewSecret("guess-1234")), http.StatusUnauthorized, "do not match")

	d.step(fmt.Sprintf("Replay my first request, made at %s, from %s", d.home, d.away))
	d.set(ctx, d.away, first, http.StatusUnauthorized, "do not match")

	d.step("Ask DNS a last time: both were in vain")
	d.resolve(ctx, d.away)

	if d.failed == 0 {
		d.a.print("\nAll %d steps went as they should.", d.steps)
	} else {
		d.a.print("\n%s did not go as they should.", quantity(d.failed, "thing"))
	}
}

func (d *demo) addHost(ctx context.Context) error {
	admin, err := client.New(client.Config{Target: "local:" + d.daemon.settings.Data})
	if err != nil {
		return err
	}
	defer admin.Close()
	anyAddress := ddns.AnyAddress.String()
	created, err := admin.AddHost(ctx, api.AddHost{Host: d.host.String(), Settings: api.Settings{Addresses: &anyAddress}})
	if err != nil {
		return err
	}
	d.token = ddns.NewSecret(created.Token)
	return os.WriteFile(d.secretFile(), []byte(created.Token+"\n"), 0o600)
}

func (d *demo) secretFile() string { return filepath.Join(d.dir, "nas.secret") }

// seedRequest is the body of the seed's second request.
type seedRequest struct {
	Mode string `json:"execution_mode"`
	Host string `json:"ddns_hostname"`
	Hash string `json:"validation_hash"`
}

// request is what a client at an address sends to set the host.
func (d *demo) request(from netip.Addr, secret ddns.Secret) seedRequest {
	return seedRequest{"set", d.host.String(), ddns.SeedHash(from.String(), d.host.String(), secret)}
}

func (d *demo) get(ctx context.Context, from netip.Addr) {
	d.sent(`POST {"execution_mode":"get"}`)
	status, message := d.post(ctx, from, map[string]string{"execution_mode": "get"})
	d.verdict(status == http.StatusOK && message == from.String(), "the server sees me at %s", from)
}

// set sends a request from an address and says whether the answer was the one
// that it should be.
func (d *demo) set(ctx context.Context, from netip.Addr, r seedRequest, want int, text string) {
	d.sent(`POST {"execution_mode":"set","ddns_hostname":"%s","validation_hash":"%.8s…"}`, r.Host, r.Hash)
	status, message := d.post(ctx, from, r)
	ok := status == want && strings.Contains(message, text)
	switch want {
	case http.StatusCreated:
		d.verdict(ok, "accepted, and on disk")
	case http.StatusOK:
		d.verdict(ok, "accepted, unchanged")
	default:
		d.verdict(ok, "refused")
	}
}

// post sends one request of the seed's from an address.
func (d *demo) post(ctx context.Context, from netip.Addr, body any) (status int, message string) {
	status, text, err := d.exchange(ctx, from, body)
	if err != nil {
		d.came("%s", err)
		return 0, ""
	}
	d.came("%d %s", status, text)
	var a struct {
		Message string `json:"return_message"`
	}
	if json.Unmarshal([]byte(text), &a) != nil {
		return 0, ""
	}
	return status, a.Message
}

func (d *demo) exchange(ctx context.Context, from netip.Addr, body any) (status int, text string, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	transport := &http.Transport{DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url(from), bytes.NewReader(data))
	if err != nil {
		return 0, "", err
	}
	r, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	return r.StatusCode, string(answer), err
}

// url is that of the listener of the address's family.
func (d *demo) url(from netip.Addr) string {
	list := d.daemon.bound.HTTP
	i := max(0, slices.IndexFunc(list, func(l string) bool { return strings.HasPrefix(l, "[") == from.Is6() }))
	return "http://" + list[i] + "/"
}

// resolve asks DNS over UDP for the host and says whether it is at want alone.
func (d *demo) resolve(ctx context.Context, want netip.Addr) {
	rtype, name := uint16(typeA), "A"
	if want.Is6() {
		rtype, name = typeAAAA, "AAAA"
	}
	server := netip.MustParseAddrPort(d.daemon.bound.DNS[0])
	d.sent("%s %s? by UDP to %s", d.host, name, server)
	a, err := ask(ctx, server, d.host, rtype)
	if err != nil {
		d.came("%s", err)
		d.verdict(false, "no answer")
		return
	}
	var found []netip.Addr
	var ttl uint32
	for _, r := range a.records {
		if r.owner == d.host && r.rtype == rtype {
			found, ttl = append(found, r.addr), r.ttl
		}
	}
	d.came("%s, %s, TTL %d", rcodeText(a.rcode), addrs(found), ttl)
	d.verdict(a.rcode == 0 && slices.Equal(found, []netip.Addr{want}), "%s is at %s", d.host, want)
}

// invite says how to play with what is running.
func (d *demo) invite() {
	program := shellQuote(programName())
	dns := netip.MustParseAddrPort(d.daemon.bound.DNS[0])
	url := strings.TrimRight(d.url(d.home), "/")
	d.a.print(`
It stays up. In another terminal:

  dig @%s -p %d %s A +short
  curl -s %s/ip

  export GODWIT_TARGET=%s
  %s host show %s
  %s host history %s
  %s host add cam.%s --addresses any
  %s zone list

  %s set --url %s --host %s --secret-file %s

or the last one with nothing but curl and sha256sum:

%s

Ctrl-C stops it and removes %s.`,
		dns.Addr(), dns.Port(), d.host, url,
		shellQuote("local:"+d.daemon.settings.Data), program, d.host, program, d.host, program, d.zone, program,
		program, url, d.host, shellQuote(d.secretFile()), seedCommands(url, d.host.String(), shellQuote(d.secretFile())), d.dir)
}

// programName is how this program is typed here.
func programName() string {
	self, err := os.Executable()
	if err != nil {
		return "godwit"
	}
	if found, err := exec.LookPath("godwit"); err == nil {
		if a, err := filepath.EvalSymlinks(found); err == nil && a == self {
			return "godwit"
		}
	}
	return self
}
