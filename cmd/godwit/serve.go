package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/internal/api"
	"godwit/internal/awsstack"
	"godwit/internal/certificate"
	"godwit/internal/config"
	"godwit/internal/ddns"
	"godwit/internal/dnssec"
	"godwit/internal/dnsserver"
	"godwit/internal/httpserver"
	"godwit/internal/publish/authority"
	"godwit/internal/secondary"
	"godwit/internal/signature"
	"godwit/internal/store/sqlite"
	"godwit/internal/tsig"
)

type serveCommand struct {
	config.Flags
	Check bool `help:"Say every setting and where it came from, check the files that they name, and stop."`
}

func (serveCommand) Help() string {
	return `Each setting is a flag, a variable (GODWIT_DATA, GODWIT_TRUSTED_PROXY ...) or a key of the
file; a flag beats a variable, a variable beats the file. Without flags about listeners the server
is for this machine only. SIGHUP loads the certificate again, or tries at once to get one; Ctrl-C
or SIGTERM stops the server.

Examples:

    godwit serve --zone dyn.example.com

    godwit serve --zone dyn.example.com --dns 192.0.2.1:53 --http 192.0.2.1:80 \
        --ns ns1.dyn.example.com=192.0.2.1 --data /var/lib/godwit

    godwit serve --zone dyn.example.com --dns 192.0.2.1:53 --ns ddns.dyn.example.com=192.0.2.1 \
        --https 192.0.2.1:443 --tls auto --url https://ddns.dyn.example.com

    godwit serve --zone dyn.example.com --publish route53 --http 192.0.2.1:80

    godwit serve --config /etc/godwit/godwit.toml --check

A file says the same with the flags' names:

    zone = ["dyn.example.com"]
    dns  = ["192.0.2.1:53"]
    ns   = ["ns1.dyn.example.com=192.0.2.1"]`
}

func (c serveCommand) Run(a *app) error {
	settings, err := config.LoadServe(c.Flags, a.env)
	if err != nil {
		return err
	}
	if c.Check {
		return checkSettings(a, settings)
	}
	// Go ends a program whose standard error nobody reads any more. A server whose
	// log has lost its reader, as when journald is restarted, goes on.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)

	// Messages and log go one way, so that they keep their order.
	stderr, queue := a.stderr, &lineQueue{w: a.stderr}
	a.stderr = queue
	defer func() {
		queue.flush()
		a.stderr = stderr
	}()
	d, err := open(a.ctx, settings, newLogger(a.stderr, settings.LogLevel, settings.LogJSON))
	if err != nil {
		return err
	}
	// Not before: nothing is written while hosts are loaded, and the collector's
	// threads would get in each other's way.
	useOneProcessor()
	d.greet(a)
	queue.flush() // who finds that it answers finds what it has said, too
	return errors.Join(d.serve(a.ctx), d.close())
}

// checkSettings shows the settings, and reads what they name.
func checkSettings(a *app, settings *config.Serve) error {
	a.print("%s", strings.TrimSuffix(settings.String(), "\n"))
	for _, w := range settings.Warnings {
		a.say("warning: %s", w)
	}
	d := &daemon{settings: settings, log: slog.New(slog.DiscardHandler)}
	if err := errors.Join(d.readFiles(), d.makeZones()); err != nil {
		return err
	}
	if err := d.makeSecondaries(); err != nil {
		return err
	}
	if err := d.makeCertificate(); err != nil {
		return err
	}
	for _, w := range d.warnings {
		a.say("warning: %s", w)
	}
	if d.automatic != nil {
		a.say("The certificate is to be for %s, proved %s.", d.automatic, d.proof)
	}
	a.say("The settings are right. Start the server with the same ones, without --check.")
	return nil
}

// daemon is a server with all that it is made of, in the order in which an
// update passes through from its end: what is stored, what is shown, who
// decides, and the doors.
type daemon struct {
	settings *config.Serve
	log      *slog.Logger
	started  time.Time
	warnings []string // for people: what they should look at

	certificate *httpserver.Certificate // nil: not from files
	automatic   *certificate.Manager    // nil: not from a certificate authority
	proof       string                  // how that hears whose the names are
	adminToken  [32]byte                // hash; zero: none

	store        *sqlite.Store
	authority    *authority.Authority
	secondaries  *secondary.Set // nil: none may follow
	transferKeys []tsig.Key

	hosted    []awsstack.Zone // where the zones are, if they are in Route 53
	keeper    *dnssec.Keeper  // nil: no zone is signed
	service   *ddns.Service
	dns       *dnsserver.Server // nil: no DNS listener
	http      *httpserver.Server
	listeners []httpserver.Listener
	bound     api.Listeners // with the ports that port 0 became
	url       string        // of the public doors; "" if there are none
}

// open makes a daemon that is ready to serve: its store is locked, its zones
// are loaded, its sockets are bound. Whoever does not call serve calls close.
func open(ctx context.Context, settings *config.Serve, log *slog.Logger) (_ *daemon, err error) {
	d := &daemon{settings: settings, log: log, started: time.Now(), warnings: slices.Clone(settings.Warnings)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if err := d.readFiles(); err != nil {
		return nil, err
	}
	if err := d.makeZones(); err != nil {
		return nil, err
	}
	if err := d.makeSecondaries(); err != nil {
		return nil, err
	}
	if err := d.makeCertificate(); err != nil {
		return nil, err
	}

	// What is acknowledged is durable here, before anything else knows of it.
	if d.store, err = sqlite.Open(settings.Data, sqlite.Config{Log: log}); err != nil {
		return nil, err
	}
	removeLeftovers(settings.Data)

	// Keys are records of a zone, so they are there before it has a serial.
	if err := d.makeKeys(ctx); err != nil {
		return nil, err
	}

	// The zones follow the store's commits, so that the next question sees what
	// was acknowledged.
	loaded, err := d.authority.Follow(ctx, d.store)
	if err != nil {
		return nil, err
	}

	publisher, err := d.makePublisher(ctx)
	if err != nil {
		return nil, err
	}

	// All doors ask the one service, which alone decides.
	d.service, err = ddns.NewService(ddns.Config{
		Store: d.store, Sealer: d.store, Zones: d.authority, Publisher: publisher, Limits: limits(settings), Log: log,
	})
	if err != nil {
		return nil, err
	}
	d.tend(ctx, loaded)
	d.lookForAddresses()

	if err := d.listenDNS(ctx); err != nil {
		return nil, err
	}
	if err := d.listenHTTP(ctx); err != nil {
		return nil, err
	}
	signedFor := "" // what the listeners tell of a URL is one of several
	if u, err := url.Parse(settings.URL); err == nil && u.Host != "" {
		if signedFor, err = signature.Authority(u.Scheme, u.Host); err != nil {
			return nil, fmt.Errorf("--url %s: %w", settings.URL, err)
		}
	}
	recent := httpserver.NewRecent()
	var look func(context.Context, *ddns.Host) ([]ddns.RRset, error)
	if elsewhere, ok := publisher.(ddns.Inspector); ok {
		look = elsewhere.Look
	}
	d.http, err = httpserver.New(httpserver.Config{
		Service:        d.service,
		TrustedProxies: settings.TrustedProxies,
		URL:            d.url,
		Authority:      signedFor,
		HTTPTokens:     settings.HTTPTokens,
		DefaultZone:    settings.DefaultZone,
		Version:        buildInfo().Version,
		Log:            log,
		AdminTokenHash: d.adminToken,
		Zones:          d.zones,
		ZoneKeys:       d.changeKeys,
		Status:         d.status,
		Noted:          recent.Note,
		Requests:       recent.List,
		Look:           look,
		Backup:         d.backup,
		Check:          d.check,
		Metrics:        d.metricsHandler(d.dns),
	})
	return d, err
}

// serve answers until ctx ends, lets requests that have begun end, and returns
// nil; or it returns the error that made it stop before.
func (d *daemon) serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if dns := d.dns; dns != nil {
		d.dns = nil // it closes its sockets itself
		group.Go(func() error { return dns.Serve(ctx) })
	}
	listeners := d.listeners
	d.listeners = nil // as above
	group.Go(func() error { return d.http.Serve(ctx, listeners...) })
	group.Go(func() error { d.service.Run(ctx); return nil })
	group.Go(func() error { d.inspect(ctx); return nil })
	if d.secondaries != nil {
		group.Go(func() error { d.secondaries.Run(ctx); return nil })
	}
	group.Go(func() error { d.reload(ctx); return nil })
	if d.keeper != nil {
		group.Go(func() error { d.keeper.Run(ctx); return nil })
	}
	if d.automatic != nil {
		group.Go(func() error { d.automatic.Run(ctx); return nil })
	}
	err := group.Wait()
	d.log.Info("stopped")
	return err
}

// close gives back what open took. The store goes last: until then an update
// that is on its way may still be acknowledged.
func (d *daemon) close() error {
	var errs []error
	for _, l := range d.listeners {
		errs = append(errs, l.Close())
	}
	if d.dns != nil {
		errs = append(errs, d.dns.Close())
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	return errors.Join(errs...)
}

// limits are the ones for the open internet, as far as the settings leave them.
func limits(s *config.Serve) ddns.Limits {
	l := ddns.DefaultLimits()
	l.Changes.PerHour = float64(s.ChangesPerHour)
	l.Requests = ddns.Rate{PerHour: 3600 * float64(s.RequestsPerSecond), Burst: 5 * s.RequestsPerSecond}
	return l
}

// tend looks after hosts whose zones came or went since the last start.
func (d *daemon) tend(ctx context.Context, loaded authority.Loaded) {
	for apex, n := range loaded.Homeless {
		d.warn(fmt.Sprintf("zone %s is not configured: its hosts (%d) are kept in the store and not answered; add --zone %s, or remove them", apex, n, apex))
	}
	for _, name := range loaded.Moved {
		if err := d.service.Rehome(ctx, name); err != nil {
			d.warn(fmt.Sprintf("%s could not be moved to the zone that it is in now: %s", name, err))
		}
	}
}

// warn keeps a warning for those who ask for the status, and for the start.
func (d *daemon) warn(text string) { d.warnings = append(d.warnings, text) }

// status is what the daemon says of itself.
func (d *daemon) status(ctx context.Context) (api.Status, error) {
	stats, err := d.store.Stats(ctx)
	if err != nil {
		return api.Status{}, err
	}
	return api.Status{
		Version: buildInfo().Version, Started: d.started, Hosts: stats.Hosts, Zones: len(d.authority.List()),
		Listeners: d.bound, URL: d.url, Warnings: d.warnings, Certificate: d.certificateState(),
	}, nil
}

// backup copies the store to w by way of a file: SQLite copies into files only.
func (d *daemon) backup(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp(d.settings.Data, leftover)
	if err != nil {
		return fmt.Errorf("make room for the backup: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "backup.db")
	if err := d.store.Backup(ctx, file, nil); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// leftover is how the copies of backups are called that were on their way out.
const leftover = "godwit.backup-*"

// removeLeftovers removes what a backup left behind when the process was killed.
func removeLeftovers(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, leftover)) // the pattern is right
	for _, name := range names {
		_ = os.RemoveAll(name)
	}
}

func (d *daemon) check(ctx context.Context) ([]string, error) {
	findings, err := d.store.Check(ctx)
	var problems []string
	for _, f := range findings {
		problems = append(problems, f.String())
	}
	return problems, err
}

// greet says what is served and what to type next. A log that programs read
// gets one line of its own kind instead.
func (d *daemon) greet(a *app) {
	l := d.bound
	for _, w := range d.warnings {
		d.log.Warn(w)
	}
	if d.settings.LogJSON {
		d.log.Info("serving", "zones", d.settings.Zones, "http", l.HTTP, "https", l.HTTPS, "dns", l.DNS, "admin", l.Admin, "data", d.settings.Data)
		return
	}
	a.say("godwit %s serves", buildInfo().Version)
	for i, z := range d.zones() {
		label, where := "", fmt.Sprintf("serial %d", z.Serial)
		if i == 0 {
			label = "zone"
		}
		for _, hosted := range d.hosted {
			if hosted.Apex.String() == z.Apex {
				where = "in Route 53, hosted zone " + hosted.ID
			}
		}
		a.say("  %-6s %s (%s, %s in DNS)", label, z.Apex, where, quantity(z.Hosts, "name"))
	}
	for _, row := range []struct {
		label string
		list  []string
	}{{"HTTP", urls("http", l.HTTP)}, {"HTTPS", urls("https", l.HTTPS)}, {"DNS", l.DNS}, {"admin", l.Admin}, {"data", []string{d.settings.Data}}} {
		if len(row.list) > 0 {
			a.say("  %-6s %s", row.label, strings.Join(row.list, "  "))
		}
	}
	name := "nas." + d.settings.Zones[0].String()
	tail := ""
	if d.loopbackOnly() {
		tail = " --addresses any"
	}
	a.say("\nNext, in another terminal:\n\n  godwit host add %s --target %s%s\n", name, shellQuote("local:"+d.settings.Data), tail)
}

func urls(scheme string, listeners []string) []string {
	var out []string
	for _, l := range listeners {
		out = append(out, scheme+"://"+l)
	}
	return out
}
