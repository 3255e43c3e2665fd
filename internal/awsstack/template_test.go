package awsstack_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"godwit/internal/awscall"
	"godwit/internal/awsstack"
	"godwit/internal/awstest"
)

// needTool finds a program that is no part of Go. Without it a test skips, and
// fails if CI is true: a third of the product would go untested.
func needTool(t *testing.T, program, install string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	text := program + " not found; install it with: " + install
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

func TestTemplateLints(t *testing.T) {
	// Warnings (exit bit 4) are failures too: W3037 is an action that does not exist.
	out, err := exec.Command(needTool(t, "cfn-lint", "pip install cfn-lint"), "-r", "eu-west-1", "us-east-1", "--", "template.yaml").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

// TestTemplateFits: longer templates have to be in a bucket.
func TestTemplateFits(t *testing.T) {
	if n := len(awsstack.Template); n > 51200 {
		t.Errorf("the template has %d octets, and 51200 go into a request", n)
	}
}

// given are parameters as deploy gives them.
func given(changes map[string]string) map[string]string {
	p := map[string]string{
		"Zones":        "dyn.example.com=Z1,example.net=Z2",
		"ZoneArns":     "arn:aws:route53:::hostedzone/Z1,arn:aws:route53:::hostedzone/Z2",
		"NamePatterns": "dyn.example.com,*.dyn.example.com,*.home.example.net",
		"CodeBucket":   "bucket", "CodeKey": "key", "AdoptedStreamArn": "",
	}
	maps.Copy(p, changes)
	return p
}

const (
	tableARN  = "arn:aws:dynamodb:eu-west-1:123456789012:table/hosts"
	streamARN = tableARN + "/stream/2026"
)

// forms are the forms that an installation may have.
var forms = map[string]map[string]string{
	"direct":          {},
	"stream":          {"Mode": "stream"},
	"adopted":         {"AdoptedTable": "hosts"},
	"adopted, stream": {"AdoptedTable": "hosts", "Mode": "stream", "AdoptedStreamArn": streamARN},
	"alarms":          {"AlarmEmail": "ops@example.com"},
	"all": {"Mode": "stream", "AlarmEmail": "ops@example.com", "ReservedConcurrency": "5", "DeletionProtection": "false", "LogDays": "7",
		"Architecture": "x86_64", "ChangesPerHour": "0", "RequestsPerSecond": "5"},
}

func expand(t *testing.T, changes map[string]string) *awstest.Expanded {
	t.Helper()
	template, err := awstest.ParseTemplate(awsstack.Template)
	if err != nil {
		t.Fatal(err)
	}
	out, err := template.Expand(awstest.Expansion{
		Parameters: given(changes),
		Pseudo: map[string]string{"AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012", "AWS::Partition": "aws", "AWS::StackName": "godwit",
			"AWS::StackId": "id", "AWS::URLSuffix": "amazonaws.com"},
		Resource: func(name, attribute string) (string, error) {
			switch name + "." + attribute {
			case "Table.Arn":
				return tableARN, nil
			case "Table.StreamArn":
				return streamARN, nil
			}
			return name + "." + attribute, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// at looks into an evaluated template: names of members, numbers of elements.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestPermissionsOfURL: a URL needs both, and the second one only through the
// URL; nobody but the schedule may call otherwise.
func TestPermissionsOfURL(t *testing.T) {
	for name, form := range forms {
		var public, others []map[string]any
		for _, r := range expand(t, form).Resources {
			if r["Type"] != "AWS::Lambda::Permission" {
				continue
			}
			p := r["Properties"].(map[string]any)
			if p["Principal"] == "*" {
				public = append(public, p)
			} else {
				others = append(others, p)
			}
		}
		slices.SortFunc(public, func(a, b map[string]any) int {
			return strings.Compare(fmt.Sprint(a["Action"]), fmt.Sprint(b["Action"]))
		})
		want(t, name, public, []map[string]any{
			{"FunctionName": "Function.Arn", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": true, "Principal": "*"},
			{"FunctionName": "Function.Arn", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE", "Principal": "*"},
		})
		want(t, name, others, []map[string]any{
			{"FunctionName": "Function.Arn", "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com", "SourceArn": "Schedule.Arn"},
		})
	}
}

// statement is one of the role's policy.
type statement struct {
	actions, resources []string
	condition          map[string]any
}

func list(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, item := range v {
			out = append(out, fmt.Sprint(item))
		}
	}
	return out
}

func role(t *testing.T, form map[string]string) []statement {
	t.Helper()
	properties := expand(t, form).Resources["Role"]["Properties"]
	for name := range properties.(map[string]any) {
		if !slices.Contains([]string{"AssumeRolePolicyDocument", "Policies", "Tags"}, name) {
			t.Errorf("the role has %s", name) // ManagedPolicyArns would be power that is not seen here
		}
	}
	want(t, "who may be the function", at(properties, "AssumeRolePolicyDocument", "Statement"), []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]any{"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}})
	var out []statement
	for _, s := range at(properties, "Policies", 0, "PolicyDocument", "Statement").([]any) {
		s := s.(map[string]any)
		want(t, "effect", s["Effect"], "Allow")
		condition, _ := s["Condition"].(map[string]any)
		out = append(out, statement{list(s["Action"]), list(s["Resource"]), condition})
	}
	return out
}

// TestLeastPower holds the role to the table of permissions: action, resources.
func TestLeastPower(t *testing.T) {
	table := tableARN
	zones := []string{"arn:aws:route53:::hostedzone/Z1", "arn:aws:route53:::hostedzone/Z2"}
	always := map[string][]string{
		"dynamodb:GetItem": {table}, "dynamodb:BatchGetItem": {table}, "dynamodb:UpdateItem": {table}, "dynamodb:PutItem": {table}, "dynamodb:DeleteItem": {table},
		"dynamodb:Scan":                    {table, table + "/index/gw_due", table + "/index/gw_next"},
		"route53:ChangeResourceRecordSets": zones, "route53:ListResourceRecordSets": zones,
		"logs:CreateLogStream": {"LogGroup.Arn"}, "logs:PutLogEvents": {"LogGroup.Arn"},
	}
	stream := map[string][]string{
		"dynamodb:DescribeStream": {streamARN}, "dynamodb:GetRecords": {streamARN}, "dynamodb:GetShardIterator": {streamARN},
		"dynamodb:ListStreams": {"*"}, // it knows no resource
		"sqs:SendMessage":      {"DeadLetters.Arn"},
	}
	for name, form := range forms {
		wanted := maps.Clone(always)
		if form["Mode"] == "stream" {
			maps.Copy(wanted, stream)
		}
		got := map[string][]string{}
		for _, s := range role(t, form) {
			for _, action := range s.actions {
				if before, twice := got[action]; twice && !slices.Equal(before, s.resources) {
					t.Errorf("%s: %s is allowed on %v and on %v", name, action, before, s.resources)
				}
				got[action] = s.resources
			}
		}
		want(t, name, got, wanted)
	}
}

func TestConditions(t *testing.T) {
	const keys = "route53:ChangeResourceRecordSets"
	null := map[string]any{keys + "NormalizedRecordNames": "false", keys + "RecordTypes": "false", keys + "Actions": "false"}
	var changes []map[string]any
	for _, s := range role(t, nil) {
		switch {
		case slices.Contains(s.actions, "dynamodb:PutItem"):
			want(t, "PutItem", s, statement{[]string{"dynamodb:PutItem"}, []string{tableARN}, map[string]any{
				"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": []any{"#name#*", "#cred#*"}},
				"Null":                    map[string]any{"dynamodb:LeadingKeys": "false"},
			}})
		case slices.Contains(s.actions, "dynamodb:DeleteItem"):
			want(t, "DeleteItem", s, statement{[]string{"dynamodb:DeleteItem"}, []string{tableARN}, map[string]any{
				"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": []any{"#cred#*"}},
				"Null":                    map[string]any{"dynamodb:LeadingKeys": "false"},
			}})
		case slices.Contains(s.actions, keys):
			changes = append(changes, s.condition)
		default:
			want(t, fmt.Sprint(s.actions), s.condition, map[string]any(nil))
		}
	}
	want(t, "changes", changes, []map[string]any{{
		"ForAllValues:StringLike":   map[string]any{keys + "NormalizedRecordNames": []any{"dyn.example.com", "*.dyn.example.com", "*.home.example.net"}},
		"ForAllValues:StringEquals": map[string]any{keys + "RecordTypes": []any{"A", "AAAA"}, keys + "Actions": []any{"CREATE", "DELETE"}},
		"Null":                      null,
	}, {
		"ForAllValues:StringLike": map[string]any{keys + "NormalizedRecordNames": []any{
			"_acme-challenge.dyn.example.com", "_acme-challenge.*.dyn.example.com", "_acme-challenge.*.home.example.net"}},
		"ForAllValues:StringEquals": map[string]any{keys + "RecordTypes": []any{"TXT"}, keys + "Actions": []any{"CREATE", "DELETE"}},
		"Null":                      null,
	}})
}

// policies are the role's statements about Route 53, for the stand-in.
func policies(t *testing.T) []awstest.Policy {
	const keys = "route53:ChangeResourceRecordSets"
	var out []awstest.Policy
	for _, s := range role(t, nil) {
		if !strings.HasPrefix(s.actions[0], "route53:") {
			continue
		}
		p := awstest.Policy{
			Names:   list(at(s.condition, "ForAllValues:StringLike", keys+"NormalizedRecordNames")),
			Types:   list(at(s.condition, "ForAllValues:StringEquals", keys+"RecordTypes")),
			Changes: list(at(s.condition, "ForAllValues:StringEquals", keys+"Actions")),
		}
		for _, action := range s.actions {
			p.Actions = append(p.Actions, strings.TrimPrefix(action, "route53:"))
		}
		for _, zone := range s.resources {
			p.Zones = append(p.Zones, strings.TrimPrefix(zone, "arn:aws:route53:::hostedzone/"))
		}
		out = append(out, p)
	}
	return out
}

// TestRoleOnRoute53 tries what the role may do, and what it may not.
func TestRoleOnRoute53(t *testing.T) {
	allowed := policies(t)
	held := awstest.NewRoute53(awstest.Route53Config{Policies: allowed})
	ids := map[string]string{"Z1": held.AddZone("dyn.example.com"), "Z2": held.AddZone("example.net"), "Z3": held.AddZone("example.org")}
	for _, p := range allowed {
		for i, zone := range p.Zones {
			p.Zones[i] = ids[zone]
		}
	}
	client, err := awscall.New(awscall.Config{Service: "route53", Region: "us-east-1", Endpoint: "http://route53.example.com", Attempts: 1, Transport: held,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: awstest.SecretAccessKey}, nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"A": "192.0.2.1", "AAAA": "2001:db8::1", "TXT": `"token"`, "MX": "10 mail.example.com.", "CNAME": "www.example.com."}
	change := func(action, name, rrtype string) string {
		return "<Change><Action>" + action + "</Action><ResourceRecordSet><Name>" + name + "</Name><Type>" + rrtype + "</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>" +
			values[rrtype] + "</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change>"
	}
	for _, c := range []struct {
		zone    string
		changes string
		ok      bool
	}{
		{"Z1", change("CREATE", "nas.dyn.example.com.", "A"), true},
		{"Z1", change("DELETE", "nas.dyn.example.com.", "A") + change("CREATE", "NAS.dyn.example.com.", "A") + change("CREATE", "cam.dyn.example.com.", "AAAA"), true},
		{"Z1", change("CREATE", "*.dyn.example.com.", "A"), true},
		{"Z1", change("CREATE", "dyn.example.com.", "A"), true},
		{"Z1", change("CREATE", "_acme-challenge.nas.dyn.example.com.", "TXT"), true},
		{"Z1", change("CREATE", "_acme-challenge.dyn.example.com.", "TXT"), true},
		{"Z2", change("CREATE", "nas.home.example.net.", "A"), true},
		{"Z1", change("UPSERT", "nas.dyn.example.com.", "A"), false},
		{"Z1", change("CREATE", "nas.dyn.example.com.", "TXT"), false},
		{"Z1", change("CREATE", "mail.dyn.example.com.", "MX"), false},
		{"Z1", change("CREATE", "www.dyn.example.com.", "CNAME"), false},
		{"Z1", change("CREATE", "tv.dyn.example.com.", "A") + change("CREATE", "_acme-challenge.tv.dyn.example.com.", "TXT"), false}, // unmixed batches
		{"Z2", change("CREATE", "www.example.net.", "A"), false},                                                                     // outside the patterns
		{"Z2", change("CREATE", "_acme-challenge.example.net.", "TXT"), false},                                                       // a certificate for all of it
		{"Z3", change("CREATE", "nas.example.org.", "A"), false},                                                                     // another zone
	} {
		_, err := client.Do(t.Context(), awscall.Request{Method: http.MethodPost, Path: "/2013-04-01/hostedzone/" + ids[c.zone] + "/rrset",
			Header: http.Header{"Content-Type": {"text/xml"}},
			Body:   []byte(`<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes>` + c.changes + `</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>`)})
		if denied := err != nil && strings.Contains(err.Error(), "AccessDenied"); denied == c.ok || c.ok && err != nil {
			t.Errorf("%s %s: %v, want it allowed: %t", c.zone, c.changes, err, c.ok)
		}
	}
	for zone, ok := range map[string]bool{"Z1": true, "Z2": true, "Z3": false} {
		_, err := client.Do(t.Context(), awscall.Request{Method: http.MethodGet, Path: "/2013-04-01/hostedzone/" + ids[zone] + "/rrset"})
		if (err == nil) != ok {
			t.Errorf("list %s: %v, want it allowed: %t", zone, err, ok)
		}
	}
}

func TestTable(t *testing.T) {
	sparse := func(name string) map[string]any {
		return map[string]any{"IndexName": name, "KeySchema": []any{map[string]any{"AttributeName": name, "KeyType": "HASH"}}, "Projection": map[string]any{"ProjectionType": "KEYS_ONLY"}}
	}
	for name, form := range forms {
		out := expand(t, form)
		r := out.Resources["Table"]
		if strings.HasPrefix(name, "adopted") {
			if r != nil {
				t.Errorf("%s: the template owns a table that it did not make", name)
			}
			want(t, name, at(out.Resources["Function"], "Properties", "Environment", "Variables", "GODWIT_TABLE"), "hosts")
			continue
		}
		want(t, "deletion policy", []any{r["DeletionPolicy"], r["UpdateReplacePolicy"]}, []any{"Retain", "Retain"})
		wanted := map[string]any{
			"BillingMode":                      "PAY_PER_REQUEST",
			"AttributeDefinitions":             []any{map[string]any{"AttributeName": "hostname", "AttributeType": "S"}, map[string]any{"AttributeName": "gw_due", "AttributeType": "N"}, map[string]any{"AttributeName": "gw_next", "AttributeType": "N"}},
			"KeySchema":                        []any{map[string]any{"AttributeName": "hostname", "KeyType": "HASH"}},
			"GlobalSecondaryIndexes":           []any{sparse("gw_due"), sparse("gw_next")},
			"PointInTimeRecoverySpecification": map[string]any{"PointInTimeRecoveryEnabled": true},
			"SSESpecification":                 map[string]any{"SSEEnabled": true},
			"TimeToLiveSpecification":          map[string]any{"AttributeName": "gw_expires", "Enabled": true},
			"DeletionProtectionEnabled":        "true",
			"Tags":                             []any{map[string]any{"Key": "godwit:stack", "Value": "godwit"}},
		}
		if name == "all" {
			wanted["DeletionProtectionEnabled"] = "false"
		}
		if form["Mode"] == "stream" {
			wanted["StreamSpecification"] = map[string]any{"StreamViewType": "NEW_IMAGE"}
		}
		want(t, name, r["Properties"], wanted)
	}
}

func TestFunction(t *testing.T) {
	p := expand(t, nil).Resources["Function"]["Properties"].(map[string]any)
	want(t, "runtime", []any{p["Runtime"], p["Handler"], p["MemorySize"], p["Timeout"], p["Architectures"]}, []any{"provided.al2023", "bootstrap", 128, 60, []any{"arm64"}})
	want(t, "logging", p["LoggingConfig"], map[string]any{"LogGroup": "LogGroup.", "LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN"})
	if n, there := p["ReservedConcurrentExecutions"]; there {
		t.Errorf("concurrency %v is reserved, which new accounts have no room for", n)
	}
	want(t, "retention", at(expand(t, nil).Resources["LogGroup"], "Properties", "RetentionInDays"), "30")
	want(t, "variables", at(p, "Environment", "Variables"), map[string]any{
		"GODWIT_TABLE": "Table.", "GODWIT_ZONES": "dyn.example.com=Z1,example.net=Z2", "GODWIT_MODE": "direct",
		"GODWIT_CHANGES_PER_HOUR": "30", "GODWIT_REQUESTS_PER_SECOND": "20"})

	all := expand(t, forms["all"]).Resources
	p = all["Function"]["Properties"].(map[string]any)
	want(t, "architecture", p["Architectures"], []any{"x86_64"})
	want(t, "concurrency", p["ReservedConcurrentExecutions"], "5")
	want(t, "retention", at(all["LogGroup"], "Properties", "RetentionInDays"), "7")
	want(t, "switched off", at(expand(t, map[string]string{"ReservedConcurrency": "0"}).Resources["Function"], "Properties", "ReservedConcurrentExecutions"), "0")
}

// TestVariablesAreRead: the function reads every variable that the template sets.
func TestVariablesAreRead(t *testing.T) {
	source, err := os.ReadFile("../../cmd/godwit-lambda/config.go")
	if err != nil {
		t.Fatal(err)
	}
	for name := range at(expand(t, nil).Resources["Function"], "Properties", "Environment", "Variables").(map[string]any) {
		if !strings.Contains(string(source), `"`+name+`"`) {
			t.Errorf("the template sets %s, and godwit-lambda does not read it", name)
		}
	}
}

func TestStream(t *testing.T) {
	for name, form := range forms {
		out := expand(t, form).Resources
		mapping := out["StreamMapping"]
		if (mapping != nil) != (form["Mode"] == "stream") || (out["DeadLetters"] != nil) != (mapping != nil) || (out["DeadLettersAlarm"] != nil) != (mapping != nil) {
			t.Errorf("%s: stream mapping %v, dead letters %v, alarm %v", name, mapping, out["DeadLetters"], out["DeadLettersAlarm"])
		}
		if mapping == nil {
			continue
		}
		want(t, name, mapping["Properties"], map[string]any{
			"FunctionName": "Function.Arn", "EventSourceArn": streamARN, "StartingPosition": "TRIM_HORIZON", "BatchSize": 200,
			"MaximumBatchingWindowInSeconds": 1, "MaximumRecordAgeInSeconds": 86400, "BisectBatchOnFunctionError": true,
			"FunctionResponseTypes": []any{"ReportBatchItemFailures"},
			"FilterCriteria":        map[string]any{"Filters": []any{map[string]any{"Pattern": `{"dynamodb":{"NewImage":{"gw_due":{"N":[{"exists":true}]}}}}`}}},
			"DestinationConfig":     map[string]any{"OnFailure": map[string]any{"Destination": "DeadLetters.Arn"}},
			"Tags":                  []any{map[string]any{"Key": "godwit:stack", "Value": "godwit"}},
		})
	}
}

func TestAlarms(t *testing.T) {
	alarms := func(form map[string]string) map[string]any {
		out := map[string]any{}
		for name, r := range expand(t, form).Resources {
			if r["Type"] == "AWS::CloudWatch::Alarm" {
				out[name] = at(r, "Properties", "AlarmActions", 0)
			}
		}
		return out
	}
	want(t, "none by default", alarms(nil), map[string]any{})
	want(t, "stream", alarms(forms["stream"]), map[string]any{"DeadLettersAlarm": nil})
	want(t, "to e-mail", alarms(forms["all"]), map[string]any{"DeadLettersAlarm": "Alarms.", "ErrorsAlarm": "Alarms.", "ThrottlesAlarm": "Alarms.", "UnpublishedAlarm": "Alarms."})
	want(t, "address", at(expand(t, forms["all"]).Resources["Alarms"], "Properties", "Subscription"), []any{map[string]any{"Protocol": "email", "Endpoint": "ops@example.com"}})
	for _, bad := range []string{"Mode=fast", "LogDays=31", "ReservedConcurrency=-2", "Zones=dyn.example.com", "AdoptedTable=a b"} {
		name, value, _ := strings.Cut(bad, "=")
		template, err := awstest.ParseTemplate(awsstack.Template)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := template.Expand(awstest.Expansion{Parameters: given(map[string]string{name: value})}); err == nil {
			t.Errorf("the template takes %s", bad)
		}
	}
}

func TestSchedule(t *testing.T) {
	for name, form := range forms {
		p := expand(t, form).Resources["Schedule"]["Properties"]
		want(t, name, []any{at(p, "ScheduleExpression"), at(p, "State"), at(p, "Targets")},
			[]any{"rate(1 minute)", "ENABLED", []any{map[string]any{"Id": "function", "Arn": "Function.Arn"}}})
	}
}

// TestEverythingHasTags: what can have tags says whose it is.
func TestEverythingHasTags(t *testing.T) {
	untaggable := []string{"AWS::Lambda::Url", "AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig", "AWS::Events::Rule", "AWS::CloudWatch::Alarm", "AWS::Logs::MetricFilter"}
	for name, r := range expand(t, forms["all"]).Resources {
		if slices.Contains(untaggable, fmt.Sprint(r["Type"])) {
			continue
		}
		want(t, name, at(r, "Properties", "Tags"), []any{map[string]any{"Key": "godwit:stack", "Value": "godwit"}})
	}
}

// TestParametersAreDescribed: who uses the template by hand has nothing else.
func TestParametersAreDescribed(t *testing.T) {
	template, err := awstest.ParseTemplate(awsstack.Template)
	if err != nil {
		t.Fatal(err)
	}
	obvious := []string{"Architecture", "LogDays"}
	for name, p := range template.Parameters {
		if p["Description"] == nil && !slices.Contains(obvious, name) {
			t.Errorf("parameter %s has no description", name)
		}
		used := regexp.MustCompile(`!Ref ` + name + `\b|\$\{` + name + `\}`)
		if !used.MatchString(awsstack.Template) {
			t.Errorf("parameter %s is used nowhere", name)
		}
	}
}
