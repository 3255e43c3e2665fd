//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
)

// bootstrap builds the function's program once, as releases do.
var bootstrap = sync.OnceValues(func() (string, error) {
	program := filepath.Join(filepath.Dir(programs.plain), "bootstrap")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", program, "godwit/cmd/godwit-lambda")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build godwit/cmd/godwit-lambda: %w\n%s", err, out)
	}
	return program, nil
})

// cloud is one account of AWS as far as the function needs it: a table in moto,
// and our Route 53.
type cloud struct {
	t        testing.TB
	dynamodb string // URL of moto, behind a proxy that can spoil its answers
	route53  string
	dns      *awstest.Route53
	zone     string // ID of the hosted zone of dyn.example.com
	table    string
	calls    *tableCalls
	client   *awscall.Client
}

// tableCalls stands before DynamoDB: it counts calls by operation, and spoils
// those that spoil says.
type tableCalls struct {
	mu     sync.Mutex // guards following
	counts map[string]int
	spoil  func(operation string, n int) tableFault // n counts that operation's calls from 1; nil: none
}

// tableFault is how a call goes wrong.
type tableFault int

const (
	fine      tableFault = iota
	throttled            // refused, nothing happened
	lost                 // done, and the answer is not heard
	down                 // refused, by a server that is in trouble
)

func (c *tableCalls) set(spoil func(operation string, n int) tableFault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts, c.spoil = map[string]int{}, spoil
}

// take returns the counts so far, as "GetItem=1 UpdateItem=2", and starts again.
func (c *tableCalls) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	c.counts = map[string]int{}
	return counts
}

func (c *tableCalls) next(operation string) tableFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[operation]++
	if c.spoil == nil {
		return fine
	}
	return c.spoil(operation, c.counts[operation])
}

func (c *tableCalls) proxy(to *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		switch c.next(operation) {
		case throttled:
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput for the table was exceeded."}`)
		case down:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"The request processing has failed because of an unknown error."}`)
		case lost:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		default:
			proxy.ServeHTTP(w, r)
		}
	})
}

// motos counts tables, so that each test has one of its own in a shared moto.
var motos atomic.Int32

// newCloud makes an account with a table and the zone dyn.example.com. moto is
// the URL of a moto_server, which tests may share.
func newCloud(t testing.TB, moto string, config awstest.Route53Config) *cloud {
	t.Helper()
	to, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, dns: awstest.NewRoute53(config), calls: &tableCalls{counts: map[string]int{}}, table: fmt.Sprintf("hosts-%d", motos.Add(1))}
	before := httptest.NewServer(c.calls.proxy(to))
	t.Cleanup(before.Close)
	c.dynamodb = before.URL
	var stop func()
	if c.route53, stop, err = c.dns.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c.zone = c.dns.AddZone(zone)
	transport := awscall.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	c.client, err = awscall.New(awscall.Config{
		Service: "dynamodb", Region: "us-east-1", Endpoint: moto, Transport: transport,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: awstest.SecretAccessKey}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dynamo makes a call of DynamoDB, past the proxy.
func (c *cloud) dynamo(operation string, request any) map[string]any {
	c.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := c.client.Do(context.Background(), awscall.Request{
		Method: "POST", Path: "/", Body: body,
		Header: http.Header{"X-Amz-Target": {"DynamoDB_20120810." + operation}, "Content-Type": {"application/x-amz-json-1.0"}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(res.Body, &out); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// obj is a JSON object.
type obj = map[string]any

// makeSeedTable makes the table as the reference implementation has it.
func (c *cloud) makeSeedTable() {
	c.t.Helper()
	c.dynamo("CreateTable", obj{
		"TableName": c.table, "BillingMode": "PAY_PER_REQUEST",
		"AttributeDefinitions": []obj{{"AttributeName": "hostname", "AttributeType": "S"}},
		"KeySchema":            []obj{{"AttributeName": "hostname", "KeyType": "HASH"}},
	})
}

// makeTable makes the table as the stack's template does, with its two indexes:
// of hosts that are unpublished, and of hosts of which something ends by itself.
func (c *cloud) makeTable() {
	c.t.Helper()
	index := func(attribute string) obj {
		return obj{"IndexName": attribute, "KeySchema": []obj{{"AttributeName": attribute, "KeyType": "HASH"}}, "Projection": obj{"ProjectionType": "KEYS_ONLY"}}
	}
	c.dynamo("CreateTable", obj{
		"TableName": c.table, "BillingMode": "PAY_PER_REQUEST",
		"AttributeDefinitions": []obj{
			{"AttributeName": "hostname", "AttributeType": "S"}, {"AttributeName": "gw_due", "AttributeType": "N"}, {"AttributeName": "gw_next", "AttributeType": "N"},
		},
		"KeySchema":              []obj{{"AttributeName": "hostname", "KeyType": "HASH"}},
		"GlobalSecondaryIndexes": []obj{index("gw_due"), index("gw_next")},
	})
}

// adopt says in the table that it was the reference implementation's, as
// `godwit aws deploy --table` does.
func (c *cloud) adopt() {
	c.t.Helper()
	c.dynamo("PutItem", obj{"TableName": c.table, "Item": obj{"hostname": obj{"S": "#meta"}, "gw_v": obj{"N": "1"}, "adopted": obj{"BOOL": true}}})
}

// putSeedRow writes a row as the reference implementation's newrecord.py does.
func (c *cloud) putSeedRow(hostname, secret string) {
	c.t.Helper()
	c.putRow(hostname, `{"route_53_zone_id": "`+c.zone+`","route_53_record_ttl": 60,"shared_secret": "`+secret+`"}`)
}

func (c *cloud) putRow(hostname, data string) {
	c.t.Helper()
	c.dynamo("PutItem", obj{"TableName": c.table, "Item": obj{"hostname": obj{"S": hostname}, "data": obj{"S": data}}})
}

// row is an item of the table, in DynamoDB's JSON; nil: there is none.
func (c *cloud) row(hostname string) obj {
	c.t.Helper()
	out := c.dynamo("GetItem", obj{"TableName": c.table, "Key": obj{"hostname": obj{"S": hostname}}, "ConsistentRead": true})
	item, _ := out["Item"].(obj)
	return item
}

// stored is the IPv4 address that the table has for a host.
func (c *cloud) stored(hostname string) string {
	c.t.Helper()
	list, _ := c.row(hostname)["gw_a"].(obj)
	var out []string
	items, _ := list["L"].([]any)
	for _, item := range items {
		text, _ := item.(obj)["S"].(string)
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// age makes a host's last change older: what others are still at work on is not
// repaired.
func (c *cloud) age(hostname string, d time.Duration) {
	c.t.Helper()
	c.dynamo("UpdateItem", obj{
		"TableName": c.table, "Key": obj{"hostname": obj{"S": hostname}}, "UpdateExpression": "SET gw_at = gw_at - :d",
		"ExpressionAttributeValues": obj{":d": obj{"N": fmt.Sprint(d.Microseconds())}},
	})
}

// forgetInspection lets a day pass since DNS was last inspected.
func (c *cloud) forgetInspection() {
	c.t.Helper()
	c.dynamo("UpdateItem", obj{
		"TableName": c.table, "Key": obj{"hostname": obj{"S": "#meta"}}, "UpdateExpression": "SET pass_began = pass_began - :d, pass_completed = pass_completed - :d",
		"ExpressionAttributeValues": obj{":d": obj{"N": fmt.Sprint((25 * time.Hour).Microseconds())}},
	})
}

// env is the environment that Lambda and the stack give a function here.
func (c *cloud) env(more ...string) []string {
	return append([]string{
		"GODWIT_TABLE=" + c.table, "GODWIT_ZONES=" + zone + "=" + c.zone,
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=" + awstest.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + awstest.SecretAccessKey,
		"AWS_ENDPOINT_URL_DYNAMODB=" + c.dynamodb, "AWS_ENDPOINT_URL_ROUTE_53=" + c.route53, "AWS_EC2_METADATA_DISABLED=true",
	}, more...)
}

// function starts the function's own program.
func (c *cloud) function(more ...string) *awstest.Function {
	c.t.Helper()
	program, err := bootstrap()
	if err != nil {
		c.t.Fatal(err)
	}
	return c.start(c.env(more...), program)
}

func (c *cloud) start(env []string, args ...string) *awstest.Function {
	c.t.Helper()
	f, err := awstest.StartFunction(env, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		f.Stop()
		if c.t.Failed() {
			c.t.Logf("the function said:\n%s", f.Log())
		}
	})
	return f
}

// ask sends a request through the Function URL.
func ask(t testing.TB, f *awstest.Function, q awstest.URLRequest) awstest.URLAnswer {
	t.Helper()
	a, err := tell(f, q.Event())
	if err != nil {
		t.Fatal(err)
	}
	u, err := awstest.ParseURLAnswer(a)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// tell sends an event. What the function reports as its failure is the error.
func tell(f *awstest.Function, event []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := f.Invoke(ctx, event)
	if err == nil && a.Failed {
		err = errors.New(string(bytes.TrimSpace(a.Body)))
	}
	return a.Body, err
}

// shows is the addresses that Route 53 has, "" if there is no such set.
func (c *cloud) shows(name, rrType string) string {
	set, _ := c.dns.Set(c.zone, name, rrType)
	return strings.Join(set.Values, " ")
}

// eventually waits until want holds.
func eventually(t testing.TB, what string, want func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !want(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}
