package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/internal/awstest"
	"godwit/internal/doctor"
)

// nobody is where no resolver answers.
const nobody = "127.0.0.9:1"

// log writes lines into the function's log.
func (i *installation) log(lines ...string) {
	i.t.Helper()
	var status struct {
		Group string `json:"log_group"`
	}
	r := call("", "aws", "status", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &status); err != nil || status.Group == "" {
		i.t.Fatalf("%v: %+v", err, r)
	}
	// They may be there already.
	_ = i.Call("logs", "Logs_20140328.CreateLogGroup", map[string]string{"logGroupName": status.Group}, nil)
	_ = i.Call("logs", "Logs_20140328.CreateLogStream", map[string]string{"logGroupName": status.Group, "logStreamName": "1"}, nil)
	var events []map[string]any
	for _, line := range lines {
		events = append(events, map[string]any{"timestamp": time.Now().UnixMilli(), "message": line})
	}
	if err := i.Call("logs", "Logs_20140328.PutLogEvents", map[string]any{"logGroupName": status.Group, "logStreamName": "1", "logEvents": events}, nil); err != nil {
		i.t.Fatal(err)
	}
}

// line is what the function logs of a request.
func line(host, outcome, source string) string {
	return fmt.Sprintf(`{"time":%q,"level":"INFO","msg":"update","host":%q,"door":"dyndns2","outcome":%q,"source":%q}`, time.Now().UTC().Format(time.RFC3339Nano), host, outcome, source)
}

// awsDoctor: what an installation in AWS can be asked about a name.
func awsDoctor(t *testing.T, moto string) {
	i := install(t, moto, "--table", "ddns")
	i.put("tv.dyn.example.com", "shared_secret_1")
	i.DNS.Put(i.zone, awstest.RecordSet{Name: "tv.dyn.example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.7"}})
	finding := func(check string) doctor.Finding {
		t.Helper()
		r := call("", "doctor", "tv.dyn.example.com", "--resolver", nobody, "--json")
		var report doctor.Report
		if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
			t.Fatalf("%v: %+v", err, r)
		}
		for _, f := range report.Findings {
			if f.Check == check {
				return f
			}
		}
		return doctor.Finding{}
	}
	if f := finding("provider"); f.State != doctor.Right || f.What != "it has 198.51.100.7" {
		t.Errorf("%+v", f)
	}
	if f := finding("zone"); f.State != doctor.Right || !strings.Contains(f.What, "name servers ns-") {
		t.Errorf("%+v", f)
	}

	// The log has a wrong password, and lines of others and of another kind.
	i.log(`START RequestId: 1`, line("nas.dyn.example.com", "changed", "192.0.2.9"), line("tv.dyn.example.com", "bad-proof", "192.0.2.1"))
	if f := finding("refusals"); f.State != doctor.Wrong || !strings.Contains(f.What, "at door dyndns2 from 192.0.2.1: bad-proof") || len(f.Do) < 3 {
		t.Errorf("%+v", f)
	}

	// Rows as others make them: one secret for two, and a type that is none.
	if f := finding("secret"); f.Check != "" {
		t.Errorf("%+v", f)
	}
	i.put("cam.dyn.example.com", "shared_secret_1")
	if f := finding("secret"); f.State != doctor.Wrong || !strings.Contains(f.What, "cam.dyn.example.com") {
		t.Errorf("%+v", f)
	}
	text := func(s string) map[string]string { return map[string]string{"S": s} }
	if err := i.Call("dynamodb", "DynamoDB_20120810.PutItem", map[string]any{"TableName": i.name, "Item": map[string]any{"hostname": text("odd.dyn.example.com"),
		"data": text(`{"route_53_zone_id": "` + i.zone + `","route_53_record_ttl": 60,"shared_secret": "shared_secret_3","route_53_record_type":"MX"}`)}}, nil); err != nil {
		t.Fatal(err)
	}
	if r := call("", "doctor", "odd.dyn.example.com", "--resolver", nobody); r.code != 1 || !strings.Contains(r.stdout, "✗ host  it cannot be read: ") || !strings.Contains(r.stdout, `route_53_record_type is "MX", not A or AAAA`) {
		t.Errorf("%+v", r)
	}

	// What stands in the host's place, and what the operator may not read.
	i.put("www.dyn.example.com", "shared_secret_2")
	i.DNS.Put(i.zone, awstest.RecordSet{Name: "www.dyn.example.com.", Type: "CNAME", TTL: 60, Values: []string{"tv.dyn.example.com."}})
	if r := call("", "doctor", "www.dyn.example.com", "--resolver", nobody); r.code != 1 || !strings.Contains(r.stdout, "cannot be compared: ") || !strings.Contains(r.stdout, "CNAME at www.dyn.example.com") {
		t.Errorf("%+v", r)
	}
	i.table.refuse("FilterLogEvents", "AccessDeniedException")
	if r := call("", "doctor", "tv.dyn.example.com", "--resolver", nobody); !strings.Contains(r.stderr, "Warning: what came lately is not known") || !strings.Contains(r.stderr, "AccessDeniedException") {
		t.Errorf("%+v", r)
	}
}

// awsWaits: the function's log tells what arrived.
func awsWaits(t *testing.T, moto string) {
	i := install(t, moto)
	const name = "nas.dyn.example.com"
	if out := must(t, "host", "add", name); !strings.Contains(out, "godwit host setup "+name+" --for CLIENT --target aws:godwit") {
		t.Errorf("add: %s", out)
	}
	if out := must(t, "host", "setup", name, "--for", "inadyn"); !strings.Contains(out, strings.TrimPrefix(i.Door.URL, "http://")) || !strings.Contains(out, http10) {
		t.Errorf("setup: %s", out)
	}
	i.log(line(name, "changed", "192.0.2.1"))
	w := startWait(t, "host", "setup", name, "--wait", "--timeout", "60s", "--target", "aws:godwit")
	i.log(line("other.dyn.example.com", "changed", "192.0.2.2"), line(name, "address-not-allowed", "192.0.2.1"))
	if r := w.end(); r.code != 1 || !strings.Contains(r.stdout, "✗ A request at 192.0.2.1 was refused at door dyndns2: address-not-allowed") || !strings.Contains(r.stdout, "--addresses any --target aws:godwit") {
		t.Errorf("%+v", r)
	}
}
