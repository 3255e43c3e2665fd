package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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
	// One call of DynamoDB is tried for a quarter of a minute, and again if there
	// is no room for it: a person waits rather than begin again.
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
	zones := stackZones{}
	for _, z := range at.Zones {
		zones[z.Apex] = z.ID
	}
	log := d.log.logger()

	config := stack.Client("dynamodb").Config
	config.Attempts, config.Timeout = tableAttempts, tableAttempt
	table, err := awscall.New(config)
	if err != nil {
		return nil, err
	}
	rows, err := dynamodb.New(dynamodb.Config{Client: table, Table: at.Table, Zones: zones, Log: log})
	if err != nil {
		return nil, err
	}

	config = stack.Client("route53").Config
	config.Attempts, config.Timeout = 1, 0 // the publisher knows what may be repeated, and how long
	dns, err := awscall.New(config)
	if err != nil {
		return nil, err
	}
	publisher, err := route53.New(route53.Config{Client: dns, Zones: zones, Latest: func(ctx context.Context, name dnsname.Name) (*ddns.Host, error) {
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
	server, err := httpserver.New(httpserver.Config{Service: service, URL: at.URL, Log: log,
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

// stackZones are the IDs of the installation's hosted zones by apex. It is a
// [ddns.Zones]: what else is in them Route 53 itself knows.
type stackZones map[dnsname.Name]string

// Zone is the longest apex that the name is under.
func (z stackZones) Zone(name dnsname.Name) (apex dnsname.Name, ok bool) {
	for at := range z {
		if name.Under(at) && (!ok || len(at.Wire()) > len(apex.Wire())) {
			apex, ok = at, true
		}
	}
	return apex, ok
}

// Clash is never known.
func (stackZones) Clash(dnsname.Name) error { return nil }

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

// stackStore is the installation's store as an operator's commands need it. It
// does what the function does once a day, when it is needed: in an adopted table
// it looks for rows that are spelled in another way than their host's name. And
// it shows of a host that was never updated here what DNS has of it.
type stackStore struct {
	*dynamodb.Store
	publisher *route53.Publisher
	say       func(string, ...any)

	mu      sync.Mutex               // guards following
	adopted bool                     // aliases have been made
	known   map[dnsname.Name]listing // by apex

	warn sync.Once // about DNS that does not answer
}

// Host is [ddns.Store]'s.
func (s *stackStore) Host(ctx context.Context, name dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	h, credentials, err := s.Store.Host(ctx, name)
	if errors.Is(err, ddns.ErrNoHost) {
		if made, adoptErr := s.adopt(ctx); adoptErr != nil {
			return nil, nil, adoptErr
		} else if made {
			h, credentials, err = s.Store.Host(ctx, name)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	h, err = s.asShown(ctx, h, false)
	return h, credentials, err
}

// Save is [ddns.Store]'s. A new host must not take the name of one that is not
// found, and a name that DNS has already must not be emptied because its host is
// new: what is there is its state.
func (s *stackStore) Save(ctx context.Context, writes ...ddns.Write) error {
	fresh := slices.Clone(writes)
	fresh = slices.DeleteFunc(fresh, func(w ddns.Write) bool { return w.Before != nil })
	if len(fresh) == 0 {
		return s.Store.Save(ctx, writes...)
	}
	if _, err := s.adopt(ctx); err != nil {
		return err
	}
	for _, w := range fresh {
		h := w.Host
		if len(h.Current()) > 0 || h.Prefix.IsValid() {
			continue // it comes with a state
		}
		sets, err := s.shown(ctx, h, len(fresh) > 1)
		if err != nil {
			return fmt.Errorf("ask DNS what it has of %s: %w", h.Name, err)
		}
		takeAddresses(h, sets)
		if len(h.A) > ddns.MaxAddresses || len(h.AAAA) > ddns.MaxAddresses {
			return fmt.Errorf("DNS has more than %d addresses for %s, and a host has no more: take some of them away in Route 53 first", ddns.MaxAddresses, h.Name)
		}
		h.Shown = sets
		if sameSets(sets, h.RRsets()) {
			h.Published = h.Generation
		}
	}
	if err := s.Store.Save(ctx, writes...); err != nil {
		return err
	}
	if h := fresh[0].Host; len(fresh) == 1 && len(fresh[0].Event.After) == 0 && len(h.Current()) > 0 {
		s.say("DNS has %s for %s already; that stays until its first update.", addrs(h.A, h.AAAA), h.Name)
	}
	return nil
}

// adopt makes aliases, once, and tells whether it made any now.
func (s *stackStore) adopt(ctx context.Context) (made bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adopted {
		return false, nil
	}
	n, err := s.Store.Adopt(ctx)
	if err != nil {
		return false, fmt.Errorf("look for rows in another spelling: %w", err)
	}
	s.adopted = true
	if n > 0 {
		s.say("Found %s in another spelling; each has an alias now.", quantity(n, "host"))
	}
	return n > 0, nil
}

// Hosts is [ddns.Store]'s.
func (s *stackStore) Hosts(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	hosts, next, err := s.Store.Hosts(ctx, cursor, limit)
	for i := range hosts {
		if err == nil {
			hosts[i], err = s.asShown(ctx, hosts[i], true)
		}
	}
	return hosts, next, err
}

// asShown gives a host that others made, and that no update of ours has met yet,
// the addresses that DNS has of it. all is as in shown.
func (s *stackStore) asShown(ctx context.Context, h *ddns.Host, all bool) (*ddns.Host, error) {
	if h.Generation > 0 || h.Removed {
		return h, nil
	}
	sets, err := s.shown(ctx, h, all)
	switch {
	case err == nil:
		h = h.Clone()
		takeAddresses(h, sets)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default: // the host is there all the same
		s.warn.Do(func() {
			s.say("Warning: what DNS has of hosts that were never updated here is not known: %s", withFix(err))
		})
	}
	return h, nil
}

// shownLife is how long a listing of a zone is taken for right.
const shownLife = 15 * time.Second

// shown is what DNS has of a host. all reads the whole zone for it, and keeps
// that for a moment: many more such hosts follow.
func (s *stackStore) shown(ctx context.Context, h *ddns.Host, all bool) ([]ddns.RRset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	z, known := s.known[h.Zone]
	if !all {
		return s.publisher.Look(ctx, h)
	}
	if !known || time.Since(z.at) > shownLife {
		z = listing{time.Now(), map[dnsname.Name][]ddns.RRset{}, nil}
		z.err = s.publisher.List(ctx, h.Zone, func(page []ddns.RRset) error {
			for _, set := range page {
				if set.Type == ddns.TypeA || set.Type == ddns.TypeAAAA {
					z.sets[set.Owner] = append(z.sets[set.Owner], set)
				}
			}
			return nil
		})
		if s.known == nil {
			s.known = map[dnsname.Name]listing{}
		}
		s.known[h.Zone] = z
	}
	var sets []ddns.RRset
	for _, name := range h.Names() {
		sets = append(sets, z.sets[name]...)
	}
	return sets, z.err
}

// listing is what a zone had, by owner.
type listing struct {
	at   time.Time
	sets map[dnsname.Name][]ddns.RRset
	err  error
}

// takeAddresses makes what DNS has at a host's name its addresses.
func takeAddresses(h *ddns.Host, sets []ddns.RRset) {
	for _, set := range sets {
		sorted := slices.SortedFunc(slices.Values(set.Addrs), netip.Addr.Compare)
		switch {
		case set.Owner != h.Name:
		case set.Type == ddns.TypeA:
			h.A = sorted
		case set.Type == ddns.TypeAAAA:
			h.AAAA = sorted
		}
	}
}

// sameSets tells whether two lists of address sets are the same, in whatever order.
func sameSets(a, b []ddns.RRset) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x ddns.RRset) bool {
		return !slices.ContainsFunc(b, func(y ddns.RRset) bool {
			return x.Owner == y.Owner && x.Type == y.Type && x.TTL == y.TTL &&
				slices.Equal(slices.SortedFunc(slices.Values(x.Addrs), netip.Addr.Compare), slices.SortedFunc(slices.Values(y.Addrs), netip.Addr.Compare))
		})
	})
}
