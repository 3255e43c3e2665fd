package dynamodb_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/ddns/storetest"
	"godwit/internal/dnsname"
	"godwit/internal/store/dynamodb"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Each step of a random run asks the emulator some twenty times.
	if flag.Lookup("rapid.checks").Value.String() == "100" {
		_ = flag.Set("rapid.checks", "3")
	}
	goleak.VerifyTestMain(m)
}

type keys struct{}

func (keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
}

var zones = map[dnsname.Name]string{dnsname.MustParse("dyn.example.org"): "Z0DYN", dnsname.MustParse("example.net"): "Z0NET"}

// database is a DynamoDB that we did not write, and its tables.
type database struct {
	t      testing.TB
	url    string
	client *awscall.Client
	tables atomic.Int64
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	d := &database{t: t, url: awstest.StartMoto(t)}
	d.client = d.newClient(d.url)
	return d
}

func (d *database) newClient(url string, edit ...func(*awscall.Config)) *awscall.Client {
	d.t.Helper()
	transport := awscall.NewTransport()
	d.t.Cleanup(transport.CloseIdleConnections)
	c := awscall.Config{Service: "dynamodb", Region: "eu-west-1", Endpoint: url, Credentials: keys{}, Transport: transport, Backoff: time.Millisecond}
	for _, e := range edit {
		e(&c)
	}
	client, err := awscall.New(c)
	if err != nil {
		d.t.Fatal(err)
	}
	return client
}

// do makes a call as any client of AWS would.
func (d *database) do(action, body string) string {
	d.t.Helper()
	resp, err := d.client.Do(context.Background(), awscall.Request{Method: http.MethodPost, Path: "/", Body: []byte(body), Repeat: true,
		Header: http.Header{"X-Amz-Target": {"DynamoDB_20120810." + action}, "Content-Type": {"application/x-amz-json-1.0"}}})
	if err != nil {
		d.t.Fatal(err)
	}
	return string(resp.Body)
}

// table makes an empty table with the indexes that the stack's template gives it.
func (d *database) table() string {
	d.t.Helper()
	name := fmt.Sprintf("hosts-%d", d.tables.Add(1))
	index := func(attribute string) string {
		return fmt.Sprintf(`{"IndexName":%q,"KeySchema":[{"AttributeName":%[1]q,"KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}`, attribute)
	}
	d.do("CreateTable", fmt.Sprintf(`{"TableName":%q,"BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"hostname","KeyType":"HASH"}],
		"AttributeDefinitions":[{"AttributeName":"hostname","AttributeType":"S"},{"AttributeName":"gw_due","AttributeType":"N"},{"AttributeName":"gw_next","AttributeType":"N"}],
		"GlobalSecondaryIndexes":[%s,%s]}`, name, index("gw_due"), index("gw_next")))
	return name
}

func (d *database) store(table string, edit ...func(*dynamodb.Config)) *dynamodb.Store {
	d.t.Helper()
	c := dynamodb.Config{Client: d.client, Table: table, Zones: zones}
	for _, e := range edit {
		e(&c)
	}
	s, err := dynamodb.New(c)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	d := newDatabase(t)
	_, d.client = d.proxied()
	storetest.Run(t, func(*testing.T) ddns.Store { return d.store(d.table()) })
}

// TestStoreAdopted: a table that was the reference's meets the same contract.
func TestStoreAdopted(t *testing.T) {
	d := newDatabase(t)
	_, d.client = d.proxied()
	storetest.Run(t, func(*testing.T) ddns.Store {
		s := d.store(d.table())
		if err := s.SetAdopted(context.Background(), true); err != nil {
			t.Fatal(err)
		}
		return s
	})
}
