package main

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/ddns"
	"godwit/internal/doctor"
)

// doctorTime bounds the whole examination.
const doctorTime = 2 * time.Minute

type doctorCommand struct {
	targetFlags
	jsonFlag
	resolverFlags
	Name hostName `arg:"" help:"Name of the host, or of a follower."`
}

// resolverFlags say how DNS is asked.
type resolverFlags struct {
	Resolver string `placeholder:"ADDRESS" help:"Resolver to ask about the parent zone, and for what it holds of the name: an address, or ADDRESS:PORT. Default: this machine's."`
	DNSPort  uint16 `name:"dns-port" default:"53" placeholder:"PORT" help:"Where name servers are asked, if not at 53."`
}

func (doctorCommand) Help() string {
	return `Holds side by side what the client last sent and why it was refused, what is stored, what the
parent zone says, what each name server answers, and what a resolver still has of it. It changes
nothing. The exit code is 1 if something is wrong.

Examples:

    godwit doctor nas.dyn.example.com
    godwit doctor nas.dyn.example.com --resolver 9.9.9.9
    godwit doctor nas.dyn.example.com --json | jq -r '.do[]'`
}

func (c doctorCommand) Run(a *app) error {
	config := doctor.Config{Port: c.DNSPort}
	var err error
	if config.Resolver, err = c.resolver(); err != nil {
		return err
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(a.ctx, doctorTime)
	defer cancel()
	var report doctor.Report
	of, err := c.facts(ctx, a, server)
	p, answered := errors.AsType[*api.Problem](err)
	switch {
	case answered && p.Code == string(ddns.Unavailable) && of.Host.Host == "":
		report = doctor.Unreadable(c.Name.String(), p.Detail, p.Help)
	case err != nil:
		return err
	default:
		report = doctor.Examine(ctx, config, of)
	}
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	return a.report(report, c.JSON)
}

// report shows what was found, and fails if something is wrong.
func (a *app) report(r doctor.Report, asJSON bool) (err error) {
	if asJSON {
		err = a.printJSON(r)
	} else {
		a.showReport(r)
	}
	if err == nil && !r.Right {
		err = errFailed
	}
	return err
}

// resolver is the one to ask.
func (c resolverFlags) resolver() (netip.AddrPort, error) {
	if c.Resolver == "" {
		at, err := doctor.SystemResolver()
		if err != nil {
			return at, usage("%s; name one: --resolver 9.9.9.9", err)
		}
		return at, nil
	}
	if at, err := netip.ParseAddrPort(c.Resolver); err == nil {
		return at, nil
	}
	at, err := netip.ParseAddr(c.Resolver)
	if err != nil {
		return netip.AddrPort{}, usage("--resolver %q is not an address; give one such as 9.9.9.9 or 192.0.2.53:5353", c.Resolver)
	}
	return netip.AddrPortFrom(at, 53), nil
}

// facts is what the installation says. What one kind of installation does not tell
// is left out.
func (c doctorCommand) facts(ctx context.Context, a *app, server *client.Client) (of doctor.Case, err error) {
	of.Flag = c.targetFlag(a)
	if of.Host, err = server.ShowHost(ctx, c.Name.String()); err != nil {
		return of, err
	}
	history, err := server.History(ctx, c.Name.String())
	if err != nil {
		return of, err
	}
	of.Events = history.Events
	if of.Zones, err = server.Zones(ctx); err != nil {
		return of, err
	}
	seen, err := server.Requests(ctx, cmp.Or(of.Host.Router, of.Host.Host), 0)
	if err != nil && !isAbsent(err) {
		a.say("Warning: what came lately is not known: %s", err)
	}
	of.Requests = seen.Requests
	if status, err := server.Status(ctx); err == nil {
		of.Status = &status
	} else if !isAbsent(err) {
		return of, err
	}
	in, err := server.InDNS(ctx, c.Name.String())
	if err != nil && !isAbsent(err) {
		of.NotListed = err.Error()
	}
	of.Listed = in.RRsets
	if strings.HasPrefix(c.Target, awsTarget) && of.Host.Seed && of.Host.Router == "" {
		if of.Twins, err = twins(ctx, server, of.Host.Host); err != nil {
			a.say("Warning: the secrets of all hosts could not be compared: %s", err)
		}
	}
	return of, nil
}

func (a *app) showReport(r doctor.Report) {
	marks := map[doctor.State]string{doctor.Right: "✓", doctor.Wrong: "✗", doctor.Note: "•"}
	width := 0
	for _, f := range r.Findings {
		width = max(width, len(f.Check))
	}
	for _, f := range r.Findings {
		a.print("%s %-*s  %s", marks[f.State], width, f.Check, f.What)
		if f.State == doctor.Note {
			for _, do := range f.Do {
				a.print("  %*s  → %s", width, "", do)
			}
		}
	}
	if r.Right {
		a.print("\nNothing is wrong with %s.", r.Host)
		return
	}
	a.print("\nWhat to do:\n")
	for i, do := range r.Do {
		a.print("  %d. %s", i+1, do)
	}
}
