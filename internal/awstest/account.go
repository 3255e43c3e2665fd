package awstest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// AccountID is the account that moto says it is.
const AccountID = "123456789012"

// Account is a whole account of AWS in the region eu-west-1: CloudFormation, STS
// and Route 53 are stand-ins of ours, everything else is moto. A stack's table
// and queue are made in moto as the template says, and its function's URL leads
// to Door. Without moto all resources are made up.
type Account struct {
	Moto      string // its URL; "" without
	Formation *CloudFormation
	DNS       *Route53
	DNSURL    string
	Door      *httptest.Server
	doorSays  atomic.Pointer[string]
}

// NewAccount makes an account and lets the environment's AWS variables lead to
// it, and to nothing else, until the end of the test.
func NewAccount(tb testing.TB, moto string) *Account {
	tb.Helper()
	a := &Account{Moto: moto, DNS: NewRoute53(Route53Config{})}
	a.Formation = &CloudFormation{Account: AccountID, Region: "eu-west-1", Make: a.make}
	if moto != "" {
		r, err := http.Post(moto+"/moto-api/reset", "", nil)
		if err != nil {
			tb.Fatal(err)
		}
		_ = r.Body.Close()
	}
	serve := func(h http.Handler) *httptest.Server {
		s := httptest.NewServer(h)
		tb.Cleanup(s.Close)
		return s
	}
	tb.Cleanup(http.DefaultClient.CloseIdleConnections)
	formation := serve(a.Formation)
	a.DNSURL = serve(a.DNS).URL
	a.Say("192.0.2.7\n")
	a.Door = serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ip" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, *a.doorSays.Load())
	}))
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": AccessKeyID, "AWS_SECRET_ACCESS_KEY": SecretAccessKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_ENDPOINT_URL":                cmp.Or(moto, "http://127.0.0.1:1"), // where nobody listens
		"AWS_ENDPOINT_URL_CLOUDFORMATION": formation.URL, "AWS_ENDPOINT_URL_STS": formation.URL, "AWS_ENDPOINT_URL_ROUTE_53": a.DNSURL,
	} {
		tb.Setenv(key, value)
	}
	return a
}

// Say sets what the function's URL answers to GET /ip.
func (a *Account) Say(text string) { a.doorSays.Store(&text) }

// make makes what a stack needs for real.
func (a *Account) make(r Resource) (Resource, error) {
	switch {
	case r.Type == "AWS::Lambda::Url":
		r.Attributes = map[string]string{"FunctionUrl": a.Door.URL + "/"}
	case a.Moto == "":
	case r.Type == "AWS::DynamoDB::Table":
		in := map[string]any{"TableName": r.ID}
		for name, value := range r.Properties {
			switch name {
			case "PointInTimeRecoverySpecification", "TimeToLiveSpecification", "SSESpecification": // calls of their own
			case "DeletionProtectionEnabled": // CloudFormation reads texts as what a property is
				in[name] = value == "true"
			case "StreamSpecification":
				in[name] = map[string]any{"StreamEnabled": true, "StreamViewType": value.(map[string]any)["StreamViewType"]}
			default:
				in[name] = value
			}
		}
		var out struct {
			TableDescription struct{ TableArn, LatestStreamArn string }
		}
		if err := a.Call("dynamodb", "DynamoDB_20120810.CreateTable", in, &out); err != nil {
			return r, err
		}
		r.Attributes = map[string]string{"Arn": out.TableDescription.TableArn, "StreamArn": out.TableDescription.LatestStreamArn}
	case r.Type == "AWS::SQS::Queue":
		var out struct{ QueueUrl string }
		if err := a.Call("sqs", "AmazonSQS.CreateQueue", map[string]any{"QueueName": r.Attributes["QueueName"]}, &out); err != nil {
			return r, err
		}
		r.ID = out.QueueUrl
	}
	return r, nil
}

// Call makes a JSON call of moto, such as dynamodb, DynamoDB_20120810.GetItem.
// out may be nil.
func (a *Account) Call(service, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, a.Moto+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	// Moto reads the service's name from here and checks nothing.
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+AccessKeyID+"/20260101/eu-west-1/"+service+"/aws4_request, SignedHeaders=host, Signature=none")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return err
	case r.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", target, text)
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

// SeedTable makes a table as the reference implementation does, with a key of
// that name.
func (a *Account) SeedTable(tb testing.TB, table, key string) {
	tb.Helper()
	err := a.Call("dynamodb", "DynamoDB_20120810.CreateTable", map[string]any{"TableName": table, "BillingMode": "PAY_PER_REQUEST",
		"AttributeDefinitions": []any{map[string]string{"AttributeName": key, "AttributeType": "S"}},
		"KeySchema":            []any{map[string]string{"AttributeName": key, "KeyType": "HASH"}}}, nil)
	if err != nil {
		tb.Fatal(err)
	}
}
