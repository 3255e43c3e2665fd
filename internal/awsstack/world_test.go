package awsstack_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"godwit/internal/awsstack"
	"godwit/internal/awstest"
)

// world is an account with what was said while it was worked on.
type world struct {
	*awstest.Account
	t      *testing.T
	config aws.Config
	said   []string
}

func newWorld(t *testing.T, moto string) *world {
	t.Helper()
	w := &world{t: t, Account: awstest.NewAccount(t, moto)}
	w.load()
	return w
}

// load reads the environment, as the program does.
func (w *world) load() {
	w.t.Helper()
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	var err error
	if w.config, err = config.LoadDefaultConfig(w.t.Context(), config.WithHTTPClient(&http.Client{Transport: transport})); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) endpoints() map[string]string {
	return map[string]string{"dynamodb": w.Moto, "route53": w.DNSURL, "sqs": w.Moto}
}

// stack is the installation of that name in this account.
func (w *world) stack(name string) *awsstack.Stack {
	w.t.Helper()
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	s, err := awsstack.New(awsstack.Config{Name: name, AWS: w.config, Endpoints: w.endpoints(), Pause: time.Millisecond, HTTP: &http.Client{Transport: transport},
		Say: func(format string, args ...any) { w.said = append(w.said, fmt.Sprintf(format, args...)) }})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// heard tells whether a line was said that has this in it.
func (w *world) heard(text string) bool { return strings.Contains(strings.Join(w.said, "\n"), text) }

func (w *world) dynamo(operation string, in, out any) {
	w.t.Helper()
	if err := w.Call("dynamodb", "DynamoDB_20120810."+operation, in, out); err != nil {
		w.t.Fatal(err)
	}
}

// described is what DynamoDB says of a table.
type described struct {
	TableStatus               string
	DeletionProtectionEnabled bool
	GlobalSecondaryIndexes    []struct{ IndexName string }
	StreamSpecification       struct{ StreamViewType string }
	LatestStreamArn           string
}

func (w *world) table(name string) (described, bool) {
	w.t.Helper()
	var out struct{ Table described }
	err := w.Call("dynamodb", "DynamoDB_20120810.DescribeTable", map[string]string{"TableName": name}, &out)
	return out.Table, err == nil
}

func (w *world) put(table string, item map[string]any) {
	w.t.Helper()
	w.dynamo("PutItem", map[string]any{"TableName": table, "Item": item}, nil)
}

// meta is what the table says it is.
func (w *world) meta(table string) map[string]map[string]any {
	w.t.Helper()
	var out struct{ Item map[string]map[string]any }
	w.dynamo("GetItem", map[string]any{"TableName": table, "Key": map[string]any{"hostname": text("#meta")}}, &out)
	return out.Item
}

func text(s string) map[string]string { return map[string]string{"S": s} }

// functionZip is a zip as Lambda wants it, of a program that never runs here.
func functionZip(t *testing.T, machine uint16, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	header.SetMode(0o755)
	file, err := archive.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	program := append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00"), byte(machine), byte(machine>>8))
	if _, err := file.Write(append(program, content...)); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const (
	arm64 = 183 // ELF's number of the machine
	amd64 = 62
)
