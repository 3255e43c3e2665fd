package dynamodb_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
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
	tables *atomic.Int64
}

// TestDynamoDB runs every test that needs a database, each in tables of its own:
// the emulator takes longer to start than to answer them.
func TestDynamoDB(t *testing.T) {
	url, tables := awstest.StartMoto(t), new(atomic.Int64)
	for _, c := range []struct {
		name string
		test func(*testing.T, *database)
	}{
		{"Store", testStore},
		{"StoreAdopted", testStoreAdopted},
		{"BothDirections", testBothDirections},
		{"ForeignMembers", testForeignMembers},
		{"TwoRowsOfOneHost", testTwoRowsOfOneHost},
		{"UnusedRow", testUnusedRow},
		{"AddedTwice", testAddedTwice},
		{"AliasMoves", testAliasMoves},
		{"Damaged", testDamaged},
		{"Replay", testReplay},
		{"Calls", testCalls},
		{"Role", testRole},
		{"SignedCalls", testSignedCalls},
		{"TwoFunctions", testTwoFunctions},
		{"Faults", testFaults},
		{"ManyFaults", testManyFaults},
		{"Down", testDown},
		{"NoPhantoms", testNoPhantoms},
		{"Limits", testLimits},
		{"ManyNames", testManyNames},
		{"ManyNamesRace", testManyNamesRace},
		{"ClaimedName", testClaimedName},
		{"Unprocessed", testUnprocessed},
		{"Garbage", testGarbage},
		{"Wiped", testWiped},
		{"Pass", testPass},
		{"InspectFar", testInspectFar},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &database{t: t, url: url, tables: tables}
			d.client = d.newClient(url)
			c.test(t, d)
		})
	}
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

func testStore(t *testing.T, d *database) {
	_, d.client = d.proxied()
	storetest.Run(t, func(*testing.T) ddns.Store { return d.store(d.table()) })
}

func testReplay(t *testing.T, d *database) {
	_, d.client = d.proxied()
	storetest.Replay(t, 12, func(*testing.T) ddns.Store { return d.store(d.table()) })
}

// testStoreAdopted: a table that was the reference's meets the same contract. It
// is read in another way and written in the same one, so random runs are enough
// from day to day.
func testStoreAdopted(t *testing.T, d *database) {
	_, d.client = d.proxied()
	open := func(t *testing.T) ddns.Store {
		s := d.store(d.table())
		if err := s.SetAdopted(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if os.Getenv("GODWIT_LONG") == "1" {
		storetest.Run(t, open)
		return
	}
	storetest.Model(t, open)
}
