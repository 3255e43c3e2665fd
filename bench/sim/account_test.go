package sim

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
	"godwit/internal/lambdaserver"
	"godwit/internal/publish/route53"
)

// What is assumed of AWS beyond its documented limits. None of it has been
// measured there.
const (
	storeTime     = 5 * time.Millisecond   // a call of DynamoDB
	changeTime    = 100 * time.Millisecond // a ChangeResourceRecordSets
	holdTime      = 50 * time.Millisecond  // of that, while the zone takes no other
	listTime      = 50 * time.Millisecond  // a ListResourceRecordSets
	pollTime      = 250 * time.Millisecond // between two looks at a shard that has nothing
	redeliverTime = time.Second            // until what failed comes again
	streamShards  = 4                      // of a table that was made on demand
	instances     = 1000                   // of the function at once, an account's default
)

// What our template and programs say.
const (
	batchSize    = 200
	batchWindow  = time.Second
	functionTime = 60 * time.Second
	requestTime  = 8 * time.Second
	grace        = 30 * time.Second
	checkEvery   = 5 * time.Minute  // by each host
	awayTime     = 30 * time.Second // until a client asks again that got no answer
)

// account is an AWS account with godwit in it.
type account struct {
	scenario
	dns     *awstest.Route53
	zones   zones
	table   *table
	stream  *stream // nil in direct mode
	clients []*client
	byName  map[string]*client // as Route 53 writes names

	mu      sync.Mutex // guards following
	idle    []*instance
	running int
	report  report
	unright int // changes that DNS does not show yet
}

// zones are hosted zone IDs by apex. It is ddns.Zones.
type zones map[dnsname.Name]string

func (z zones) Zone(name dnsname.Name) (dnsname.Name, bool) {
	for apex := range z {
		if name.Under(apex) { // none lies in another
			return apex, true
		}
	}
	return dnsname.Name{}, false
}

func (zones) Clash(dnsname.Name) error { return nil }

// newAccount makes an account whose hosts are all published.
func newAccount(s scenario) (*account, error) {
	rates := awstest.Rates2026()
	if s.legacy {
		rates = awstest.RatesLegacy()
	}
	config := awstest.Route53Config{Rates: rates, Hold: holdTime, Forget: true}
	if s.raised {
		config.MaxSets = -1
	}
	a := &account{scenario: s, dns: awstest.NewRoute53(config), zones: zones{}, byName: make(map[string]*client, s.hosts)}
	var feed func(dnsname.Name)
	if s.stream {
		a.stream = newStream(a, streamShards)
		feed = a.stream.add
	}
	a.table = newTable(s.hosts, feed)
	apexes := make([]dnsname.Name, s.zones)
	for i := range apexes {
		apexes[i] = dnsname.MustParse(fmt.Sprintf("z%d.example.org", i))
		a.zones[apexes[i]] = a.dns.AddZone(apexes[i].String())
	}
	now := time.Now()
	a.clients = make([]*client, s.hosts)
	for i := range a.clients {
		apex := apexes[i%len(apexes)]
		name, err := apex.Child(fmt.Sprintf("host%06d", i))
		if err != nil {
			return nil, err
		}
		h := &ddns.Host{Name: name, Zone: apex, TTL: 60, Addresses: ddns.AnyAddress, A: []netip.Addr{address(0)},
			Generation: 1, Published: 1, Created: now, ChangedAt: now, Seen: now}
		h.Shown = h.RRsets()
		credential, token := ddns.NewToken(name, now)
		h.Credentials = []string{credential.ID}
		a.table.part(name).Plant(h, credential)
		a.dns.Put(a.zones[apex], awstest.RecordSet{Name: name.String() + ".", Type: "A", TTL: 60, Values: []string{address(0).String()}})
		a.clients[i] = &client{name: name, token: token}
		a.byName[name.String()+"."] = a.clients[i]
	}
	return a, nil
}

// instance is one process of the function.
type instance struct {
	service *ddns.Service
	server  *lambdaserver.Server
}

// newInstance wires what cmd/godwit-lambda wires, without its doors: requests
// come as updates.
func (a *account) newInstance() (*instance, error) {
	client, err := awscall.New(awscall.Config{Service: "route53", Region: "us-east-1", Endpoint: "https://route53.example.com",
		Credentials: keys{}, Transport: a, Attempts: 1})
	if err != nil {
		return nil, err
	}
	publisher, err := route53.New(route53.Config{Client: client, Zones: a.zones,
		Latest: func(ctx context.Context, name dnsname.Name) (*ddns.Host, error) {
			h, _, err := a.table.Host(ctx, name)
			return h, err
		}})
	if err != nil {
		return nil, err
	}
	in := new(instance)
	in.service, err = ddns.NewService(ddns.Config{Store: a.table, Sealer: new(publishtest.Store), Zones: a.zones, Publisher: publisher,
		Deferred: a.scenario.stream, Grace: grace, Limits: ddns.Limits{Changes: ddns.DefaultLimits().Changes}})
	if err != nil {
		return nil, err
	}
	apexes := make([]dnsname.Name, 0, len(a.zones))
	for apex := range a.zones {
		apexes = append(apexes, apex)
	}
	in.server, err = lambdaserver.New(lambdaserver.Config{
		HTTP: http.NotFoundHandler(),
		Publish: func(ctx context.Context, keys []string) []error {
			names := make([]dnsname.Name, len(keys))
			for i, key := range keys {
				names[i] = dnsname.MustParse(key)
			}
			return in.service.PublishHosts(ctx, names)
		},
		Tick: func(ctx context.Context) error {
			return errors.Join(in.service.Repair(ctx), in.service.Sweep(ctx), in.service.Inspect(ctx, apexes))
		},
	})
	return in, err
}

type keys struct{}

func (keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: awstest.SecretAccessKey}, nil
}

// start gives an instance that does nothing, or a new one; nil: there are as many
// as there may be.
func (a *account) start() *instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == instances {
		return nil
	}
	a.running++
	a.report.instances = max(a.report.instances, a.running)
	if n := len(a.idle); n > 0 {
		in := a.idle[n-1]
		a.idle = a.idle[:n-1]
		return in
	}
	in, err := a.newInstance()
	if err != nil {
		panic(err) // the settings are always the same
	}
	return in
}

// end gives an instance back.
func (a *account) end(in *instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	a.idle = append(a.idle, in)
}

// count changes the report.
func (a *account) count(edit func(*report)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	edit(&a.report)
}

// every fires the schedule until ctx ends: each minute, whether or not the
// firing before is over.
func (a *account) every(ctx context.Context, wg *sync.WaitGroup) {
	for {
		pause(ctx, time.Minute)
		if ctx.Err() != nil {
			return
		}
		wg.Go(func() {
			in := a.start()
			if in == nil {
				return // the next minute's
			}
			defer a.end(in)
			ctx, cancel := context.WithTimeout(context.Background(), functionTime)
			defer cancel()
			_, _ = in.server.Invoke(ctx, []byte(`{"source":"aws.events"}`)) // that its time was over is ordinary
		})
	}
}

// RoundTrip is [http.RoundTripper]: the way to Route 53 and back, which takes its
// time. It sees what Route 53 sees, whoever still waits for the answer.
func (a *account) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	takes := listTime
	if req.Body != nil {
		takes = changeTime
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	in := req.Clone(context.WithoutCancel(req.Context()))
	in.Body = io.NopCloser(bytes.NewReader(body))
	if pause(req.Context(), takes/2); req.Context().Err() != nil {
		return nil, req.Context().Err()
	}
	resp, err := a.dns.RoundTrip(in)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a.saw(req.Method, body, resp.StatusCode, answer)
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	if pause(req.Context(), takes/2); req.Context().Err() != nil {
		return nil, req.Context().Err()
	}
	return resp, nil
}

// saw notes a call of Route 53, and what DNS shows since.
func (a *account) saw(method string, body []byte, status int, answer []byte) {
	var batch struct {
		Changes []struct {
			Action string
			Name   string `xml:"ResourceRecordSet>Name"`
			Value  string `xml:"ResourceRecordSet>ResourceRecords>ResourceRecord>Value"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	taken := method == http.MethodPost && status == http.StatusOK
	if taken {
		if err := xml.Unmarshal(body, &batch); err != nil {
			panic(err) // the stand-in has read it
		}
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &a.report
	r.calls++
	if method != http.MethodPost {
		r.lists++
	}
	if status != http.StatusOK {
		switch _, after, _ := bytes.Cut(answer, []byte("<Code>")); {
		case bytes.HasPrefix(after, []byte("Throttling<")):
			r.throttled++
		case bytes.HasPrefix(after, []byte("PriorRequestNotComplete<")):
			r.busy++
		default:
			r.refused++
		}
	}
	for _, c := range batch.Changes {
		if c.Action != "CREATE" {
			continue
		}
		k := a.byName[strings.ToLower(c.Name)]
		n := number(c.Value)
		if n < k.shown {
			r.backwards++
		}
		k.shown = n
		left := k.sent[:0]
		for _, s := range k.sent {
			if s.number > n {
				left = append(left, s)
				continue
			}
			r.took = append(r.took, now.Sub(s.at))
			r.last = now
			a.unright--
		}
		k.sent = left
	}
}
