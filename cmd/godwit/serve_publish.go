package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"godwit/internal/awscall"
	"godwit/internal/awsstack"
	"godwit/internal/config"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/publish/route53"
)

// makePublisher makes what publishes in Route 53, if something is to.
func (d *daemon) makePublisher(ctx context.Context) (ddns.Publisher, error) {
	if !d.settings.Route53 {
		return nil, nil // what the store commits is published by construction
	}
	aws, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{})) // errors say enough
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w; see it with: aws configure list", err)
	}
	endpoint := awsEndpoint(config.OSEnvironment(), "route53")
	if endpoint == "" {
		endpoint = "https://route53.amazonaws.com"
	}
	// The publisher itself knows what may be repeated, and how long.
	client, err := awscall.New(awscall.Config{Service: "route53", Region: "us-east-1", Endpoint: endpoint, Credentials: aws.Credentials,
		Transport: awscall.NewTransport(), Attempts: 1})
	if err != nil {
		return nil, err
	}
	zones := maps.Clone(d.settings.HostedZones)
	for _, apex := range d.settings.Zones {
		z := awsstack.Zone{Apex: apex, ID: zones[apex]}
		if z.ID == "" {
			if z.ID, err = findHostedZone(ctx, client, apex, d.started); err != nil {
				return nil, err
			}
			zones[apex] = z.ID
		}
		if err := z.Read(ctx, client); err != nil { // only zone list wants to know
			d.log.Warn("the name servers of a hosted zone are not known", "zone", apex.String(), "err", err)
		}
		d.hosted = append(d.hosted, z)
	}
	return route53.New(route53.Config{Client: client, Zones: zones, Latest: func(ctx context.Context, name dnsname.Name) (*ddns.Host, error) {
		h, _, err := d.store.Host(ctx, name)
		return h, err
	}})
}

// findHostedZone finds the one public hosted zone of that name.
func findHostedZone(ctx context.Context, client *awscall.Client, apex dnsname.Name, now time.Time) (string, error) {
	ids, err := awsstack.HostedZones(ctx, client, apex)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w; if these credentials may not list hosted zones, or this server is to start without asking, give the ID: --hosted-zone %s=ID", err, apex)
	case len(ids) == 0:
		return "", fmt.Errorf("this AWS account has no public hosted zone %s; make it: aws route53 create-hosted-zone --name %s --caller-reference %s, or name another zone",
			apex, apex, now.UTC().Format("20060102T150405"))
	case len(ids) > 1:
		return "", fmt.Errorf("this AWS account has %d public hosted zones %s; say which one its parent delegates to: --hosted-zone %s=%s", len(ids), apex, apex, strings.Join(ids, " or "))
	}
	return ids[0], nil
}

// inspect compares once a day what others can change with what is stored.
func (d *daemon) inspect(ctx context.Context) {
	if !d.settings.Route53 {
		return
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	zones := slices.Clone(d.settings.Zones)
	for {
		if err := d.service.Inspect(ctx, zones); err != nil && ctx.Err() == nil {
			d.log.Error("could not compare what Route 53 has with what is stored; trying again in a minute", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
