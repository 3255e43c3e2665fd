package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"godwit/internal/api"
	"godwit/internal/awscall"
	"godwit/internal/awsstack"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
	"godwit/internal/publish/route53"
	"godwit/internal/store/dynamodb"
)

// awsTarget begins a target in an AWS account: aws:STACK or aws:STACK@REGION.
const awsTarget = "aws:"

// stackImport is how many hosts one request of an import brings: a host with one
// credential takes four items, and 100 fit into a transaction of DynamoDB.
const stackImport = 25

const (
	// findTime bounds finding out where the installation is.
	findTime = 30 * time.Second
	// A call of DynamoDB is tried as long and as often: a person would rather wait
	// than begin again.
	tableAttempt  = 15 * time.Second
	tableAttempts = 6
	// partTime bounds a request that the client does not bound: one part of an import.
	partTime = 3 * time.Minute
)

// noFiles says to a command about the store's file what there is instead.
func noFiles(stack string) error {
	name, region, _ := strings.Cut(stack, "@")
	flags := stackFlags{Stack: name, Region: region}.flags()
	return usage("an installation in AWS keeps its hosts in DynamoDB and has no file to back up, restore or check; "+
		"its table goes back to any second of the last 35 days (aws dynamodb restore-table-to-point-in-time), "+
		"godwit host export --with-secrets -o FILE writes a copy, and godwit aws status%s says how it is", flags)
}

// stackDoor is the admin API of an installation in AWS, in this process and with
// the operator's own credentials: there is no server to ask. It is an
// [http.RoundTripper], so every command is the same as with a server. It calls
// nobody before the first request.
type stackDoor struct {
	a     *app
	flags stackFlags
	log   *operatorLog

	mu      sync.Mutex // guards following
	handler http.Handler
}

func newStackDoor(a *app, target string) (*stackDoor, error) {
	name, region, hasRegion := strings.Cut(target, "@")
	if name == "" || hasRegion && region == "" {
		return nil, usage("target %s%s names no installation; write it as aws:godwit, or as aws:godwit@eu-central-1 in another region than your own", awsTarget, target)
	}
	return &stackDoor{a: a, flags: stackFlags{Stack: name, Region: region}, log: &operatorLog{say: a.say}}, nil
}

// RoundTrip answers a request of the admin API.
func (d *stackDoor) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() // as a RoundTripper must
	}
	handler, err := d.open(r.Context())
	if err != nil {
		return nil, err
	}
	if _, bounded := r.Context().Deadline(); !bounded && r.Method != http.MethodGet {
		ctx, cancel := context.WithTimeout(r.Context(), partTime)
		defer cancel() // the answer to what is no GET is whole by then
		r = r.WithContext(ctx)
	}
	return inProcess(handler, d.log, r)
}

// open finds the installation and wires what a server would be made of.
func (d *stackDoor) open(ctx context.Context) (http.Handler, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.handler != nil {
		return d.handler, nil
	}
	stack, at, err := d.find(ctx)
	if err != nil {
		return nil, err
	}
	zones := stackZones{ids: map[dnsname.Name]string{}, at: at, flags: d.flags.flags()}
	for _, z := range at.Zones {
		zones.ids[z.Apex] = z.ID
	}
	log := d.log.logger()

	config := stack.Client("dynamodb").Config
	config.Attempts, config.Timeout = tableAttempts, tableAttempt
	table, err := awscall.New(config)
	if err != nil {
		return nil, err
	}
	rows, err := dynamodb.New(dynamodb.Config{Client: table, Table: at.Table, Zones: zones.ids, Log: log})
	if err != nil {
		return nil, err
	}

	config = stack.Client("route53").Config
	config.Attempts, config.Timeout = 1, 0 // the publisher knows what may be repeated, and how long
	dns, err := awscall.New(config)
	if err != nil {
		return nil, err
	}
	publisher, err := route53.New(route53.Config{Client: dns, Zones: zones.ids, Latest: func(ctx context.Context, name dnsname.Name) (*ddns.Host, error) {
		h, _, err := rows.Host(ctx, name)
		return h, err
	}})
	if err != nil {
		return nil, err
	}

	// In stream mode the function publishes what is stored here too.
	store := &stackStore{Store: rows, publisher: publisher, say: d.a.say}
	service, err := ddns.NewService(ddns.Config{
		Store: store, Sealer: rows, Zones: zones, Publisher: publisher, Deferred: at.Mode == "stream", Log: log,
	})
	if err != nil {
		return nil, err
	}
	server, err := httpserver.New(httpserver.Config{Service: service, URL: at.URL, Log: log, Look: publisher.Look,
		Requests: func(ctx context.Context, host dnsname.Name, after uint64) (api.Requests, error) {
			return logged(ctx, stack, at.Log, host, after)
		},
		Zones: func() []api.Zone { return listZones(d.a, service, stack.Client("route53"), at.Zones) }})
	if err != nil {
		return nil, err
	}
	d.handler = server.Admin()
	return d.handler, nil
}

// find asks CloudFormation where things are. Its errors say what to do.
func (d *stackDoor) find(ctx context.Context) (*awsstack.Stack, *awsstack.Installation, error) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	stack, err := d.flags.stack(d.a)
	if wrong, ok := errors.AsType[*usageError](err); ok {
		return nil, nil, usage("%s; in a target the region stands behind an @, as in aws:godwit@eu-central-1, or in AWS_REGION", wrong)
	}
	if err != nil {
		return nil, nil, err
	}
	if _, err := stack.AWS.Credentials.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("could not get AWS credentials in time: %w; look with: aws sts get-caller-identity", err)
		}
		return nil, nil, fmt.Errorf("there are no AWS credentials that can be used; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and look with: aws sts get-caller-identity (%w)", rootOf(err))
	}
	at, err := stack.Installation(ctx)
	var absent *awsstack.NotFoundError
	switch {
	case errors.As(err, &absent):
		return nil, nil, fmt.Errorf("there is no stack %s in %s; name another with --target aws:STACK@REGION, or make it: godwit aws deploy%s", absent.Name, absent.Region, d.flags.flags())
	case err != nil && ctx.Err() != nil:
		return nil, nil, fmt.Errorf("AWS has not answered in time (%w); check the network and the region %s, and try again", ctx.Err(), stack.AWS.Region)
	case err != nil:
		return nil, nil, fmt.Errorf("find the installation %s: %w", d.flags.Stack, withFix(err))
	}
	return stack, at, nil
}

// rootOf is what went wrong first: the SDK puts a preface before it at each level.
func rootOf(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// stackZones are the installation's zones. It is a [ddns.Zones].
type stackZones struct {
	ids   map[dnsname.Name]string // of the hosted zones, by apex
	at    *awsstack.Installation
	flags string // that name the installation to a command
}

// Zone is the longest apex that the name is under.
func (z stackZones) Zone(name dnsname.Name) (apex dnsname.Name, ok bool) {
	for at := range z.ids {
		if name.Under(at) && (!ok || len(at.Wire()) > len(apex.Wire())) {
			apex, ok = at, true
		}
	}
	return apex, ok
}

// Clash refuses a name that the function could never publish. What else is in the
// zones Route 53 itself knows.
func (z stackZones) Clash(name dnsname.Name) error {
	if z.at.Allows(name) {
		return nil
	}
	return &ddns.Refusal{Code: ddns.Malformed, Why: fmt.Sprintf("%s is none of the names that the function may change: %s", name, strings.Join(z.at.Names, ", ")),
		Fix: fmt.Sprintf("choose another name, or allow it: godwit aws deploy%s%s%s", z.flags, zoneFlags(z.at.Zones), nameFlags(append(slices.Clone(z.at.Names), name.String())))}
}

// listZones is what "godwit zone list" shows. What cannot be found out is left
// out with a word about it: the rest is worth having.
func listZones(a *app, service *ddns.Service, dns *awscall.Client, zones []awsstack.Zone) []api.Zone {
	ctx, cancel := context.WithTimeout(a.ctx, findTime)
	defer cancel()
	shown := map[dnsname.Name]int{}
	for cursor := ""; ; {
		hosts, next, err := service.List(ctx, cursor, 1000)
		if err != nil {
			a.say("Warning: not all hosts could be counted: %s", withFix(causeOf(err)))
			break
		}
		for _, h := range hosts {
			if len(h.RRsets()) > 0 {
				shown[h.Zone]++
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	out := make([]api.Zone, len(zones))
	for i, z := range zones {
		if err := z.Read(ctx, dns); err != nil {
			a.say("Warning: the name servers are not known: %s", withFix(err))
		}
		out[i] = api.Zone{Apex: z.Apex.String(), Hosts: shown[z.Apex], NameServers: z.NameServers}
	}
	return out
}
