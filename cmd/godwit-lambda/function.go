// Command godwit-lambda is godwit as an AWS Lambda function: `bootstrap` of the
// runtime provided.al2023. It serves the public doors behind a Function URL,
// publishes from the table's stream where it is told to, and repairs when the
// schedule asks.
//
// config.go has its settings, all of them variables of the environment;
// function.go is the wiring. What changes and what is refused leaves a line of
// JSON in the log, what changes nothing leaves none. docs/decisions/0010 says
// why it is as it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"godwit/internal/awscall"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
	"godwit/internal/lambdaserver"
	"godwit/internal/publish/route53"
	"godwit/internal/store/dynamodb"
)

// start reads the environment and makes the function. Why it cannot is written
// to the log, in one line.
func start(environ []string, log io.Writer) (*lambdaserver.Server, error) {
	s, err := readSettings(environ)
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: s.level}))
	if err == nil {
		for _, w := range s.warnings {
			logger.Warn(w)
		}
		if s.memory > 0 {
			// Rather collect more often than be ended by Lambda; an eighth is for
			// what is not the heap's.
			debug.SetMemoryLimit(int64(s.memory) << 20 / 8 * 7)
		}
		// There is one event at a time, and less than one processor for it: handing
		// work to a second one costs more than it brings.
		runtime.GOMAXPROCS(1)
		var server *lambdaserver.Server
		if server, err = newFunction(s, logger); err == nil {
			return server, nil
		}
	}
	logger.Error("the function cannot start", "err", err)
	return nil, err
}

const (
	// attemptTime bounds one attempt at a call of DynamoDB, of which there are
	// three within the 8 s of a request.
	attemptTime = 2 * time.Second
	// grace is how long whoever stored a change has for publishing it: more than
	// a request takes at most.
	grace = 30 * time.Second
)

// newFunction wires the function, in the order in which an update passes through
// from its end: what is stored, what is shown, who decides, the doors. It
// connects to nothing; the first event does.
func newFunction(s settings, log *slog.Logger) (*lambdaserver.Server, error) {
	zones := zonesOf(s)
	transport := awscall.NewTransport()
	// Lambda's credentials are good for as long as the process lives.
	credentials := aws.Credentials{AccessKeyID: s.accessKey, SecretAccessKey: s.secretKey, SessionToken: s.sessionToken}
	client := awscall.Config{
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials, nil }),
		Transport:   transport,
	}

	client.Service, client.Region, client.Endpoint = "dynamodb", s.region, s.endpointDynamoDB
	client.Timeout = attemptTime
	table, err := awscall.New(client)
	if err != nil {
		return nil, err
	}
	store, err := dynamodb.New(dynamodb.Config{Client: table, Table: s.table, Zones: zones, Log: log})
	if err != nil {
		return nil, err
	}

	client.Service, client.Region, client.Endpoint = "route53", "us-east-1", s.endpointRoute53
	client.Timeout, client.Attempts = 0, 1 // the publisher knows what may be repeated, and how long
	dns, err := awscall.New(client)
	if err != nil {
		return nil, err
	}
	publisher, err := route53.New(route53.Config{
		Client: dns, Zones: zones, Rate: float64(s.route53),
		Latest: func(ctx context.Context, name dnsname.Name) (*ddns.Host, error) {
			h, _, err := store.Host(ctx, name)
			return h, err
		},
	})
	if err != nil {
		return nil, err
	}

	limits := ddns.DefaultLimits()
	limits.Changes.PerHour = float64(s.changes)
	limits.Requests = ddns.Rate{PerHour: 3600 * float64(s.requests), Burst: 5 * s.requests}
	service, err := ddns.NewService(ddns.Config{
		Store: store, Sealer: store, Zones: zones, Publisher: publisher, Deferred: s.mode == stream, Grace: grace,
		Limits: limits, Log: log,
	})
	if err != nil {
		return nil, err
	}

	doors, err := httpserver.New(httpserver.Config{
		Service: service, SeedEverywhere: true, Log: log,
		HTTPTokens:  true, // what is in front speaks HTTPS alone
		DefaultZone: s.defaultZone(),
	})
	if err != nil {
		return nil, err
	}
	d := &duties{service: service, store: store, zones: s.apexes(), log: log}
	events := lambdaserver.Config{HTTP: doors.Public(), Tick: d.tick, Log: log}
	if s.mode == stream {
		events.Publish = d.publish
	}
	return lambdaserver.New(events)
}

// duties are what the function does besides answering requests.
type duties struct {
	service *ddns.Service
	store   *dynamodb.Store
	zones   []dnsname.Name
	log     *slog.Logger
}

// publish publishes the hosts of which the stream gave the keys. Keys that are no
// host's are nobody's to publish.
func (d *duties) publish(ctx context.Context, keys []string) []error {
	errs := make([]error, len(keys))
	at := map[dnsname.Name]int{} // index into names; several keys may be one host's
	var names []dnsname.Name
	host := make([]dnsname.Name, len(keys))
	for i, key := range keys {
		name, err := dnsname.Parse(key)
		if err != nil {
			continue
		}
		host[i] = name
		if _, ok := at[name]; !ok {
			at[name] = len(names)
			names = append(names, name)
		}
	}
	results := d.service.PublishHosts(ctx, names)
	for i := range keys {
		if !host[i].IsZero() {
			errs[i] = results[at[host[i]]]
		}
	}
	return errs
}

// tick is the schedule's: what is to be done every minute, and what is due once
// a day. Which day it is for is in the table.
func (d *duties) tick(ctx context.Context) error {
	var errs []error
	for _, duty := range []struct {
		doing string
		do    func(context.Context) error
	}{
		{"publish what is not yet published", d.service.Repair},
		{"withdraw what has ended", d.service.Sweep},
		{"inspect what DNS shows", d.inspect},
	} {
		switch err := duty.do(ctx); {
		case err == nil:
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			// More than a minute's work: the next minute goes on.
			d.log.Info("the time is over; the next firing goes on", "doing", duty.doing)
		default:
			errs = append(errs, fmt.Errorf("%s: %w", duty.doing, err))
		}
	}
	return errors.Join(errs...)
}

// inspect holds DNS against the table, which is due once a day, and after that
// looks for rows that the reference implementation's tools have added.
func (d *duties) inspect(ctx context.Context) error {
	before, err := d.store.Inspected(ctx)
	if err != nil {
		return err
	}
	if err := d.service.Inspect(ctx, d.zones); err != nil {
		return err
	}
	if after, err := d.store.Inspected(ctx); err != nil || after.Equal(before) {
		return err
	}
	_, err = d.store.Adopt(ctx)
	return err
}
