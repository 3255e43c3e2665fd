package awsstack_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/internal/awsstack"
	"godwit/internal/awstest"
	"godwit/internal/dnsname"
)

// zones are zones by name alone.
func zones(names ...string) []awsstack.Zone {
	var out []awsstack.Zone
	for _, n := range names {
		out = append(out, awsstack.Zone{Apex: dnsname.MustParse(n)})
	}
	return out
}

func (w *world) deploy(name string, r awsstack.Request) *awsstack.Result {
	w.t.Helper()
	if r.Zip == nil {
		r.Zip = functionZip(w.t, arm64, "1")
	}
	result, err := w.stack(name).Deploy(w.t.Context(), r)
	if err != nil {
		w.t.Fatalf("deploy: %v\n%s", err, strings.Join(w.said, "\n"))
	}
	return result
}

// fails deploys, and wants an error with all of these texts.
func (w *world) fails(name string, r awsstack.Request, texts ...string) error {
	w.t.Helper()
	if r.Zip == nil {
		r.Zip = functionZip(w.t, arm64, "1")
	}
	_, err := w.stack(name).Deploy(w.t.Context(), r)
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			w.t.Errorf("deploy: got %v, want %q in it", err, text)
		}
	}
	return err
}

func (w *world) state(name string) awstest.StackState {
	w.t.Helper()
	s, ok := w.Formation.Stack(name)
	if !ok {
		w.t.Fatalf("there is no stack %s", name)
	}
	return s
}

func TestStories(t *testing.T) {
	moto := awstest.StartMoto(t)
	for name, story := range map[string]func(*testing.T, *world){
		"first deploy, again, update":        firstDeploy,
		"a failure, and again":               failureAndRetry,
		"a change that fails":                failingUpdate,
		"adopt a table":                      adoptTable,
		"a table that cannot be adopted":     unfitTable,
		"take up a table again":              takeUpTable,
		"create a zone":                      createZone,
		"zones that are not there, or twice": wrongZones,
		"destroy keeps data":                 destroyKeepsData,
		"destroy with data":                  destroyWithData,
		"destroy fails":                      destroyFails,
		"status":                             statusStory,
		"somebody else is deploying":         inProgress,
		"states that need a person":          stuckStates,
		"interrupted":                        interrupted,
		"interrupted, and seen late":         seenLate,
		"a bucket of somebody else":          foreignBucket,
		"credentials that are no good":       refusedCaller,
		"stream mode":                        streamMode,
		"an older stack, a newer template":   olderStack,
		"requests that cannot be":            wrongRequests,
		"throttled":                          throttled,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, moto)
			w.DNS.AddZone("example.com")
			story(t, w)
		})
	}
}

func firstDeploy(t *testing.T, w *world) {
	zone := w.DNS.AddZone("dyn.example.com")
	first := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Tags: map[string]string{"team": "net"}})
	if first.Change != "created" || first.URL != w.Door.URL+"/" || first.Mode != "direct" || len(first.Zones) != 1 || first.Zones[0].ID != zone {
		t.Errorf("got %+v", first)
	}
	for _, line := range []string{"Made the private bucket godwit-code-123456789012-eu-west-1", "Put the function (", "Create the stack godwit", "Table              CREATE_IN_PROGRESS", "Url                CREATE_COMPLETE", "godwit             CREATE_COMPLETE"} {
		if !w.heard(line) {
			t.Errorf("nobody said %q:\n%s", line, strings.Join(w.said, "\n"))
		}
	}
	s := w.state("godwit")
	want(t, "parameters", []string{s.Parameters["Zones"], s.Parameters["NamePatterns"], s.Parameters["ZoneArns"], s.Parameters["Architecture"], s.Parameters["LogDays"]},
		[]string{"dyn.example.com=" + zone, "dyn.example.com,*.dyn.example.com", "arn:aws:route53:::hostedzone/" + zone, "arm64", "30"})
	want(t, "tags", s.Tags, map[string]string{"team": "net"})
	if table, ok := w.table(first.Table); !ok || !table.DeletionProtectionEnabled || len(table.GlobalSecondaryIndexes) != 2 || table.LatestStreamArn != "" {
		t.Errorf("the table is %+v, %t", table, ok)
	}
	want(t, "#meta", w.meta(first.Table), map[string]map[string]any{"hostname": {"S": "#meta"}, "gw_v": {"N": "1"}, "adopted": {"BOOL": false}, "stack": {"S": "godwit"}, "url": {"S": w.Door.URL + "/"}})

	// Again: nothing is said, nothing is made, whatever the way it is asked for.
	for _, r := range []awsstack.Request{{}, {Zones: zones("dyn.example.com")}, {Zones: zones("DYN.example.com."), Mode: "direct", Architecture: awsstack.ARM64}} {
		w.said = nil
		again := w.deploy("godwit", r)
		if again.Change != "unchanged" || again.URL != first.URL || again.Table != first.Table || len(w.said) > 0 {
			t.Errorf("again with %+v: %+v, said %q", r, again, w.said)
		}
	}
	if n := slices.Index(w.Formation.Calls(), "UpdateStack"); n < 0 {
		t.Error("the second time nobody asked CloudFormation whether there is something to do")
	}

	// New code, and one setting; the others stay.
	w.said = nil
	update := w.deploy("godwit", awsstack.Request{Zip: functionZip(t, amd64, "2"), Parameters: map[string]string{"LogDays": "7"}})
	after := w.state("godwit")
	if update.Change != "updated" || update.Table != first.Table || after.Parameters["LogDays"] != "7" || after.Parameters["Zones"] != s.Parameters["Zones"] ||
		after.Parameters["Architecture"] != "x86_64" || after.Parameters["CodeKey"] == s.Parameters["CodeKey"] {
		t.Errorf("after the update: %+v, %v", update, after.Parameters)
	}
	if !w.heard("Function           UPDATE_COMPLETE") || w.heard("Table  ") || w.heard("private bucket") {
		t.Errorf("the update said\n%s", strings.Join(w.said, "\n"))
	}
	want(t, "tags stay", after.Tags, map[string]string{"team": "net"})

	// More zones, narrower names.
	other := w.DNS.AddZone("example.net")
	w.deploy("godwit", awsstack.Request{Zones: append(zones("dyn.example.com"), awsstack.Zone{Apex: dnsname.MustParse("example.net"), ID: other}), Names: []string{"*.dyn.example.com", "*.Home.example.net"}})
	after = w.state("godwit")
	want(t, "two zones", []string{after.Parameters["Zones"], after.Parameters["NamePatterns"]}, []string{"dyn.example.com=" + zone + ",example.net=" + other, "*.dyn.example.com,*.home.example.net"})

	// The operator's policy names what there is, and nothing else.
	policy, err := json.Marshal(update.OperatorPolicy)
	if err != nil || strings.Contains(string(policy), `"*"`) || !strings.Contains(string(policy), "table/"+first.Table+`"`) || !strings.Contains(string(policy), "hostedzone/"+zone) || !strings.Contains(string(policy), ":stack/godwit/*") {
		t.Errorf("the operator's policy is %s, %v", policy, err)
	}
}

func failureAndRetry(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	w.Formation.FailOn("Function", "Resource handler returned message: \"Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].\"")
	err := w.fails("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Parameters: map[string]string{"ReservedConcurrency": "5"}},
		"Function (AWS::Lambda::Function) failed:", "minimum value of [100]", "add --reserved-concurrency -1, then run the same command again: it clears away")
	var failed *awsstack.FailedError
	if !errors.As(err, &failed) || failed.Resource != "Function" || failed.Status != "ROLLBACK_COMPLETE" {
		t.Errorf("got %+v", failed)
	}
	if !w.heard("Function           CREATE_FAILED: Resource handler") {
		t.Errorf("the failure was not shown as it came:\n%s", strings.Join(w.said, "\n"))
	}
	// The failed stack's table holds nothing and is not left behind.
	if w.heard("Table              DELETE_SKIPPED") {
		t.Error("a failed first attempt leaves a table behind")
	}
	w.said = nil
	if r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Parameters: map[string]string{"ReservedConcurrency": "-1"}}); r.Change != "created" {
		t.Errorf("got %+v", r)
	}
	if !w.heard("An earlier attempt has failed and left the empty stack godwit; removing it first.") {
		t.Errorf("said\n%s", strings.Join(w.said, "\n"))
	}
}

func failingUpdate(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	before := w.state("godwit")
	w.Formation.FailOn("Role", "User: arn:aws:iam::123456789012:user/operator is not authorized to perform: iam:PutRolePolicy on resource: role godwit")
	w.fails("godwit", awsstack.Request{Mode: "stream"}, "Role (AWS::IAM::Role) failed: User:", "give whoever deploys the policy of docs/aws.md, then run the same command again; the installation goes on as it was before")
	after := w.state("godwit")
	if after.Status != "UPDATE_ROLLBACK_COMPLETE" || after.Parameters["Mode"] != "direct" || len(after.Resources) != len(before.Resources) {
		t.Errorf("got %+v", after)
	}
	if r := w.deploy("godwit", awsstack.Request{Mode: "stream"}); r.Change != "updated" || r.Mode != "stream" {
		t.Errorf("got %+v", r)
	}
}

func adoptTable(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	w.SeedTable(t, "ddns", "hostname")
	row := map[string]any{"hostname": text("nas.dyn.example.com."), "data": text(`{"route_53_zone_id":"Z1","route_53_record_ttl":60,"shared_secret":"s"}`)}
	w.put("ddns", row)
	r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Table: "ddns", Mode: "stream"})
	if r.Table != "ddns" {
		t.Errorf("got %+v", r)
	}
	s := w.state("godwit")
	if _, owned := s.Resources["Table"]; owned {
		t.Error("the stack owns a table that was there before")
	}
	want(t, "#meta", w.meta("ddns"), map[string]map[string]any{"hostname": {"S": "#meta"}, "gw_v": {"N": "1"}, "adopted": {"BOOL": true}, "stack": {"S": "godwit"}, "url": {"S": w.Door.URL + "/"}})
	table, _ := w.table("ddns")
	if len(table.GlobalSecondaryIndexes) != 2 || table.GlobalSecondaryIndexes[0].IndexName != "gw_due" || table.GlobalSecondaryIndexes[1].IndexName != "gw_next" || table.StreamSpecification.StreamViewType != "NEW_IMAGE" || s.Parameters["AdoptedStreamArn"] != table.LatestStreamArn {
		t.Errorf("the table is %+v, the stack has the stream %s", table, s.Parameters["AdoptedStreamArn"])
	}
	var ttl struct {
		TimeToLiveDescription struct{ AttributeName, TimeToLiveStatus string }
	}
	w.dynamo("DescribeTimeToLive", map[string]any{"TableName": "ddns"}, &ttl)
	want(t, "time to live", ttl.TimeToLiveDescription.AttributeName, "gw_expires")
	var got struct{ Item map[string]any }
	w.dynamo("GetItem", map[string]any{"TableName": "ddns", "Key": map[string]any{"hostname": text("nas.dyn.example.com.")}}, &got)
	wanted := map[string]any{}
	for name, value := range row {
		wanted[name] = map[string]any{"S": value.(map[string]string)["S"]}
	}
	want(t, "the seed's row", got.Item, wanted)

	// Again: nothing is left to do. Without --table too: a stack keeps its table.
	for _, request := range []awsstack.Request{{Table: "ddns"}, {}} {
		w.said = nil
		if r := w.deploy("godwit", request); r.Change != "unchanged" || r.Table != "ddns" || len(w.said) > 0 {
			t.Errorf("again: %+v, said %q", r, w.said)
		}
	}
	w.fails("godwit", awsstack.Request{Table: "other"}, "a stack keeps its table; for other take another stack: --stack NAME --table other")
	// It is not deleted: it was there before.
	_, err := w.stack("godwit").Removal(t.Context(), true)
	if err == nil || !strings.Contains(err.Error(), "aws dynamodb delete-table --region eu-west-1 --table-name ddns") {
		t.Errorf("got %v", err)
	}
}

func unfitTable(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	w.SeedTable(t, "users", "id")
	w.fails("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Table: "users"}, "the table users cannot be adopted: its key is not hostname alone, a string")
	w.fails("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Table: "none"}, "there is no table none in eu-west-1")
	w.dynamo("CreateTable", map[string]any{"TableName": "old", "BillingMode": "PAY_PER_REQUEST", "StreamSpecification": map[string]any{"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
		"AttributeDefinitions": []any{map[string]string{"AttributeName": "hostname", "AttributeType": "S"}},
		"KeySchema":            []any{map[string]string{"AttributeName": "hostname", "KeyType": "HASH"}}}, nil)
	w.fails("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Table: "old", Mode: "stream"}, "the stream of the table old shows KEYS_ONLY", "--mode direct")
	if _, there := w.Formation.Stack("godwit"); there {
		t.Error("a stack was made before it was clear that the table will do")
	}
}

// takeUpTable: what an installation has left can be taken up by the next one,
// and is not mistaken for the reference implementation's.
func takeUpTable(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	first := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	if _, err := w.stack("godwit").Destroy(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	again := w.deploy("second", awsstack.Request{Zones: zones("dyn.example.com"), Table: first.Table})
	meta := w.meta(first.Table)
	if again.Table != first.Table || meta["adopted"]["BOOL"] != false || meta["stack"]["S"] != "second" {
		t.Errorf("got %+v, #meta %v", again, meta)
	}
}

func createZone(t *testing.T, w *world) {
	r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com", "example.com"), CreateZone: true})
	if len(r.Created) != 1 || r.Created[0].Apex.String() != "dyn.example.com" || len(r.Created[0].NameServers) == 0 || r.Created[0].ID == "" {
		t.Fatalf("created %+v", r.Created)
	}
	// The next time it is found, not made.
	if again := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com", "example.com"), CreateZone: true}); len(again.Created) > 0 || again.Change != "unchanged" || w.DNS.Count(awstest.CreateZone) != 1 {
		t.Errorf("again: %+v, %d zones made", again, w.DNS.Count(awstest.CreateZone))
	}
}

func wrongZones(t *testing.T, w *world) {
	w.fails("godwit", awsstack.Request{Zones: zones("dyn.example.com")}, "no public hosted zone dyn.example.com; add --create-zone", "or use the one that is here: --zone example.com --names '*.dyn.example.com'")
	w.fails("godwit", awsstack.Request{Zones: zones("dyn.example.org")}, "no public hosted zone dyn.example.org; add --create-zone")
	w.fails("godwit", awsstack.Request{Zones: zones("example.com", "Example.com")}, "the zone example.com is given twice")
	one, two := w.DNS.AddZone("twice.example.com"), w.DNS.AddZone("twice.example.com")
	err := w.fails("godwit", awsstack.Request{Zones: zones("twice.example.com")}, "2 public hosted zones twice.example.com; say which: --zone twice.example.com=")
	if err != nil && (!strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), two)) {
		t.Errorf("got %v, want both IDs in it", err)
	}
	if calls := w.Formation.Calls(); slices.Contains(calls, "CreateStack") {
		t.Errorf("calls %v", calls)
	}
}

func destroyKeepsData(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	made := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	r, err := w.stack("godwit").Destroy(t.Context(), false)
	if err != nil || !r.Kept || r.Table != made.Table {
		t.Fatalf("got %+v, %v", r, err)
	}
	if _, there := w.Formation.Stack("godwit"); there {
		t.Error("the stack is still there")
	}
	if table, ok := w.table(made.Table); !ok || !table.DeletionProtectionEnabled {
		t.Error("the data is gone, or no longer protected")
	}
	if !w.heard("Table              DELETE_SKIPPED") || !w.heard("Function           DELETE_COMPLETE") {
		t.Errorf("said\n%s", strings.Join(w.said, "\n"))
	}
	var absent *awsstack.NotFoundError
	if _, err := w.stack("godwit").Destroy(t.Context(), false); !errors.As(err, &absent) {
		t.Errorf("again: %v", err)
	}
}

func destroyWithData(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	made := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	r, err := w.stack("godwit").Destroy(t.Context(), true)
	if err != nil || r.Kept {
		t.Fatalf("got %+v, %v", r, err)
	}
	if _, ok := w.table(made.Table); ok {
		t.Error("the table is still there")
	}
}

func destroyFails(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	w.Formation.FailOn("Role", "Cannot delete entity, must detach all policies first.")
	if _, err := w.stack("godwit").Destroy(t.Context(), true); err == nil || !strings.Contains(err.Error(), "Role (AWS::IAM::Role) failed: Cannot delete entity") {
		t.Fatalf("got %v", err)
	}
	w.fails("godwit", awsstack.Request{}, "stack godwit is half removed (DELETE_FAILED); finish that first: godwit aws destroy --stack godwit")
	// The table is gone already; the rest goes now.
	if _, err := w.stack("godwit").Destroy(t.Context(), true); err != nil {
		t.Error(err)
	}
}

func statusStory(t *testing.T, w *world) {
	var absent *awsstack.NotFoundError
	if _, err := w.stack("godwit").Status(t.Context()); !errors.As(err, &absent) {
		t.Fatalf("got %v", err)
	}
	zone := w.DNS.AddZone("dyn.example.com")
	r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Mode: "stream"})
	w.put(r.Table, map[string]any{"hostname": text("nas.dyn.example.com"), "data": text("{}")})
	w.put(r.Table, map[string]any{"hostname": text("#name#tv.dyn.example.com"), "host": text("nas.dyn.example.com")})
	s, err := w.stack("godwit").Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Problems) > 0 || s.Hosts != 1 || s.HostsAbout || s.Unpublished != 0 || s.Zones[0].ID != zone || len(s.Zones[0].NameServers) == 0 || s.State != "CREATE_COMPLETE" || s.Mode != "stream" || s.Cost.Total < 0.5 || s.Cost.Total > 0.6 {
		t.Errorf("got %+v", s)
	}
	is, err := w.stack("godwit").Installation(t.Context())
	if err != nil || is.Table != r.Table || is.URL != r.URL || is.Mode != "stream" || len(is.Zones) != 1 || is.Zones[0].ID != zone {
		t.Errorf("got %+v, %v", is, err)
	}
	// Everything that can be wrong at once.
	old := time.Now().Add(-25 * time.Minute).UnixMicro()
	w.put(r.Table, map[string]any{"hostname": text("cam.dyn.example.com"), "data": text("{}"), "gw_due": map[string]string{"N": strconv.FormatInt(old, 10)}})
	resources := w.state("godwit").Resources
	if err := w.Call("sqs", "AmazonSQS.SendMessage", map[string]any{"QueueUrl": resources["DeadLetters"].ID, "MessageBody": "batch"}, nil); err != nil {
		t.Fatal(err)
	}
	w.Say("forbidden")
	w.Formation.Set("godwit", "UPDATE_ROLLBACK_FAILED")
	s, err = w.stack("godwit").Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Hosts != 2 || s.Unpublished != 1 || s.DeadLetters != 1 || s.Oldest.UnixMicro() != old {
		t.Errorf("got %+v", s)
	}
	all := strings.Join(s.Problems, "\n")
	for _, text := range []string{"the stack is in UPDATE_ROLLBACK_FAILED", "newest address for 25 minutes", "given up changes (messages: 1)", "/ip does not answer as it should: its answer is not an address"} {
		if !strings.Contains(all, text) {
			t.Errorf("problems are\n%s\nwithout %q", all, text)
		}
	}
}

func inProgress(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	// A run that was interrupted has begun an update; this one waits for it.
	ctx, cancel := context.WithCancel(t.Context())
	w.Formation.Refuse = func(action string) (string, string) {
		if action == "UpdateStack" {
			w.Formation.Refuse = nil
			cancel()
		}
		return "", ""
	}
	_, err := w.stack("godwit").Deploy(ctx, awsstack.Request{Zip: functionZip(t, arm64, "new")})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	w.said = nil
	r := w.deploy("godwit", awsstack.Request{Zip: functionZip(t, arm64, "new")})
	if r.Change != "unchanged" || !w.heard("Stack godwit is in UPDATE_") || !w.heard("_IN_PROGRESS already; waiting for that first.") {
		t.Errorf("got %+v, said\n%s", r, strings.Join(w.said, "\n"))
	}
}

func stuckStates(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	w.Formation.Set("godwit", "UPDATE_ROLLBACK_FAILED")
	w.fails("godwit", awsstack.Request{}, "aws cloudformation continue-update-rollback --region eu-west-1 --stack-name godwit")
	w.Formation.Set("godwit", "REVIEW_IN_PROGRESS")
	w.fails("godwit", awsstack.Request{}, "change set")
}

func interrupted(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := awsstack.New(awsstack.Config{Name: "godwit", AWS: w.config, Endpoints: w.endpoints(), Pause: time.Millisecond, Say: func(format string, args ...any) {
		if strings.Contains(format, "Create the stack") {
			time.AfterFunc(0, cancel)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Deploy(ctx, awsstack.Request{Zones: zones("dyn.example.com"), Zip: functionZip(t, arm64, "1")}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")}); r.URL == "" {
		t.Errorf("got %+v", r)
	}
}

// What an interrupted run has asked for may take effect after the next one looked.
func seenLate(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	first := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	w.Formation.Refuse = func(action string) (string, string) {
		if action == "DescribeStacks" {
			w.Formation.Refuse = nil
			return "ValidationError", "Stack with id godwit does not exist"
		}
		return "", ""
	}
	r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	if r.Change != "unchanged" || r.URL != first.URL || r.Table != first.Table || !w.heard("The stack godwit has come into being meanwhile; going on from there.") {
		t.Errorf("got %+v, said\n%s", r, strings.Join(w.said, "\n"))
	}
}

func foreignBucket(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	// S3 answers so when the owner is not the one that is expected.
	s3 := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusForbidden) }))
	defer s3.Close()
	t.Setenv("AWS_ENDPOINT_URL_S3", s3.URL)
	w.load()
	w.fails("godwit", awsstack.Request{Zones: zones("dyn.example.com")}, "the bucket godwit-code-123456789012-eu-west-1 belongs to another account")
	if calls := w.Formation.Calls(); slices.Contains(calls, "CreateStack") {
		t.Errorf("calls %v", calls)
	}
}

func refusedCaller(t *testing.T, w *world) {
	w.Formation.Refuse = func(action string) (string, string) {
		if action == "GetCallerIdentity" {
			return "InvalidClientTokenId", "The security token included in the request is invalid."
		}
		return "", ""
	}
	w.fails("godwit", awsstack.Request{Zones: zones("dyn.example.com")}, "InvalidClientTokenId", "aws sts get-caller-identity")
	w.Formation.Refuse = func(action string) (string, string) {
		if action == "CreateStack" {
			return "AccessDenied", "User: arn:aws:iam::123456789012:user/operator is not authorized to perform: cloudformation:CreateStack"
		}
		return "", ""
	}
	w.fails("godwit", awsstack.Request{Zones: zones("example.com")}, "create the stack godwit: AccessDenied", "docs/aws.md has the policy")
}

func streamMode(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com"), Mode: "stream"})
	table, _ := w.table(r.Table)
	if table.StreamSpecification.StreamViewType != "NEW_IMAGE" {
		t.Errorf("the table is %+v", table)
	}
	want(t, "stream", w.state("godwit").Resources["StreamMapping"].Properties["EventSourceArn"], any(table.LatestStreamArn))
	// Back again: the mapping and its queue go.
	if r := w.deploy("godwit", awsstack.Request{Mode: "direct"}); r.Mode != "direct" || r.Change != "updated" {
		t.Errorf("got %+v", r)
	}
	if _, there := w.state("godwit").Resources["DeadLetters"]; there {
		t.Error("the queue is still there")
	}
}

// olderStack: a stack of an older template lacks parameters of this one, and has
// some that are gone.
func olderStack(t *testing.T, w *world) {
	zone := w.DNS.AddZone("dyn.example.com")
	r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")})
	w.Formation.Change("godwit", func(p map[string]string) {
		delete(p, "ChangesPerHour")
		p["Flavour"] = "vanilla"
	})
	if again := w.deploy("godwit", awsstack.Request{Parameters: map[string]string{"LogDays": "60"}}); again.Change != "updated" || again.Table != r.Table {
		t.Errorf("got %+v", again)
	}
	p := w.state("godwit").Parameters
	if p["Zones"] != "dyn.example.com="+zone || p["ChangesPerHour"] != "30" || p["Flavour"] != "" {
		t.Errorf("parameters are %v", p)
	}
}

func wrongRequests(t *testing.T, w *world) {
	for _, c := range []struct {
		r    awsstack.Request
		text string
	}{
		{awsstack.Request{}, "a zone is needed: add --zone"},
		{awsstack.Request{Zones: zones("dyn.example.com"), Names: []string{"*.example.org"}}, "in none of the zones"},
		{awsstack.Request{Zones: zones("dyn.example.com"), Names: []string{"nas..example.org"}}, "empty label"},
		{awsstack.Request{Names: []string{"*.example.org"}}, "a zone is needed"},
	} {
		var wrong *awsstack.UsageError
		if err := w.fails("godwit", c.r, c.text); !errors.As(err, &wrong) {
			t.Errorf("%v is no mistake in the request", err)
		}
	}
	w.fails("godwit", awsstack.Request{Zones: zones("example.com"), Zip: []byte("PK")}, "the function's zip cannot be read", "make lambda-zip")
	w.fails("godwit", awsstack.Request{Zones: zones("example.com"), Zip: functionZip(t, arm64, ""), Architecture: awsstack.AMD64}, "is for arm64, not for x86_64")
	_, err := w.stack("godwit").Deploy(t.Context(), awsstack.Request{Zones: zones("example.com")})
	if err == nil || !strings.Contains(err.Error(), "this build carries no function; make one with make lambda-zip") {
		t.Errorf("without a zip: %v", err)
	}
	if w.DNS.Count() != 0 || slices.Contains(w.Formation.Calls(), "CreateStack") {
		t.Error("something was asked for before the request was checked")
	}
}

func throttled(t *testing.T, w *world) {
	w.DNS.AddZone("dyn.example.com")
	seen := map[string]int{}
	w.Formation.Refuse = func(action string) (string, string) {
		if seen[action]++; seen[action] == 1 {
			return "Throttling", "Rate exceeded"
		}
		return "", ""
	}
	if r := w.deploy("godwit", awsstack.Request{Zones: zones("dyn.example.com")}); r.Change != "created" {
		t.Errorf("got %+v", r)
	}
}
