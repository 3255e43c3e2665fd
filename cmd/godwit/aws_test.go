package main

import (
	"archive/zip"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"godwit/internal/awsstack"
	"godwit/internal/awstest"
)

// functionZip writes a zip as Lambda wants it, of a program for arm64 that never
// runs here.
func functionZip(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "function.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	archive := zip.NewWriter(f)
	header := &zip.FileHeader{Name: "bootstrap"}
	header.SetMode(0o755)
	w, err := archive.CreateHeader(header)
	if err == nil {
		_, err = w.Write([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00" + content))
	}
	if err != nil || archive.Close() != nil {
		t.Fatal("no zip: ", err)
	}
	return path
}

// awsSteady takes out of a text what is another one each time, beside what
// steady does.
func awsSteady(text string, account *awstest.Account, zips ...string) string {
	for _, z := range zips {
		text = strings.ReplaceAll(text, z, "function.zip")
	}
	text = strings.ReplaceAll(text, account.Door.URL, "https://URL")
	text = regexp.MustCompile(`-\d{8}\b`).ReplaceAllString(text, "-ID")
	text = regexp.MustCompile(`stack/godwit/\d{8}`).ReplaceAllString(text, "stack/godwit/ID")
	text = regexp.MustCompile(`(?m)^ *\d+s  `).ReplaceAllString(text, "  0s  ")
	text = regexp.MustCompile(`\bZ0\d{11}\b`).ReplaceAllString(text, "ZONEID")
	text = regexp.MustCompile(`\((?:now|\d+[smh] ago)\)`).ReplaceAllString(text, "(1h ago)")
	return steady(text)
}

// TestAWS is an installation's whole life, as a person sees it.
func TestAWS(t *testing.T) {
	alone(t)
	account := awstest.NewAccount(t, awstest.StartMoto(t))
	first, second := functionZip(t, "1"), functionZip(t, "2")
	var all strings.Builder
	show := func(code int, args ...string) result {
		t.Helper()
		r := call("", append([]string{"aws"}, args...)...)
		if r.code != code {
			t.Fatalf("godwit aws %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
		}
		all.WriteString(awsSteady("$ godwit aws "+strings.Join(args, " ")+"\n"+r.stderr+r.stdout+"\n", account, first, second))
		return r
	}
	show(exitFailed, "status")
	show(exitFailed, "deploy", "--zone", "dyn.example.com", "--function-zip", first)
	show(exitDone, "deploy", "--zone", "dyn.example.com", "--create-zone", "--function-zip", first)
	show(exitDone, "deploy", "--function-zip", first)
	r := show(exitDone, "deploy", "--function-zip", second, "--log-days", "7", "--no-deletion-protection", "--json")
	var deployed struct {
		Change, URL string
		Zones       []struct{ Zone string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &deployed); err != nil || deployed.Change != "updated" || deployed.URL != account.Door.URL+"/" || deployed.Zones[0].Zone != "dyn.example.com" {
		t.Errorf("got %+v, %v", deployed, err)
	}
	account.Formation.FailOn("Function", "no room")
	show(exitFailed, "deploy", "--function-zip", second, "--reserved-concurrency", "5")
	show(exitDone, "status")
	show(exitDone, "status", "--json")
	account.Say("out of order")
	show(exitFailed, "status")
	show(exitUsage, "destroy")
	show(exitDone, "destroy", "--yes")
	show(exitFailed, "destroy", "--yes")
	golden(t, "aws.golden", all.String())
	if strings.Contains(all.String(), "null") {
		t.Error("a list is null in JSON")
	}
}

// TestAWSAdopts: rows of the reference implementation are found in any spelling
// once their table is adopted, and stay as they are.
func TestAWSAdopts(t *testing.T) {
	alone(t)
	account := awstest.NewAccount(t, awstest.StartMoto(t))
	account.DNS.AddZone("dyn.example.com")
	account.SeedTable(t, "ddns", "hostname")
	text := func(s string) map[string]string { return map[string]string{"S": s} }
	for _, name := range []string{"nas.dyn.example.com", "cam.dyn.example.com.", "TV.dyn.example.com"} {
		if err := account.Call("dynamodb", "DynamoDB_20120810.PutItem", map[string]any{"TableName": "ddns", "Item": map[string]any{
			"hostname": text(name), "data": text(`{"route_53_zone_id":"Z1","route_53_record_ttl":60,"shared_secret":"s"}`)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"aws", "deploy", "--zone", "dyn.example.com", "--table", "ddns", "--function-zip", functionZip(t, "1")}
	r := call("", args...)
	if r.code != exitDone || !strings.Contains(r.stderr, "Found 1 host in another spelling; each has an alias now.") {
		t.Fatalf("got %+v", r)
	}
	var out struct {
		Items []map[string]map[string]any
	}
	if err := account.Call("dynamodb", "DynamoDB_20120810.Scan", map[string]any{"TableName": "ddns"}, &out); err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]map[string]any{}
	for _, item := range out.Items {
		rows[item["hostname"]["S"].(string)] = item
	}
	if len(rows) != 5 || len(rows["TV.dyn.example.com"]) != 2 || rows["#name#tv.dyn.example.com"]["host"]["S"] != "TV.dyn.example.com" || rows["#meta"]["adopted"]["BOOL"] != true {
		t.Errorf("the table holds %v", rows)
	}
	if again := call("", args...); again.code != exitDone || again.stderr != "" || !strings.Contains(again.stdout, "was up to date already") {
		t.Errorf("again: %+v", again)
	}
}

func TestAWSUsage(t *testing.T) {
	alone(t)
	account := awstest.NewAccount(t, "")
	function := functionZip(t, "1")
	for _, c := range []struct{ args, want string }{
		{"deploy --function-zip " + function, "a zone is needed: add --zone"},
		{"deploy --create-zone", "add --zone, as in --zone dyn.example.com"},
		{"deploy --zone dyn..example.com", "--zone: "},
		{"deploy --zone dyn.example.com=nonsense", "is no zone; give its name"},
		{"deploy --zone dyn.example.com --names *.example.org --function-zip " + function, "is in none of the zones"},
		{"deploy --zone dyn.example.com --region me-central-1", "AWS Lambda has no function URLs in me-central-1"},
		{"status --region ca-west-1", "AWS Lambda has no function URLs in ca-west-1"},
		{"deploy --zone dyn.example.com --stack a_b", "is no name of a stack"},
		{"deploy --mode fast", "--mode"},
		{"deploy --arch mips", "--arch"},
		{"deploy --zone dyn.example.com --alarm-email nobody", "is no address"},
		{"deploy --log-days soon", "--log-days"},
	} {
		r := call("", append([]string{"aws"}, strings.Fields(c.args)...)...)
		if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("godwit aws %s: got %+v, want exit 2 and %q", c.args, r, c.want)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"deploy --zone example.com --function-zip /nowhere/function.zip", "make one with: make lambda-zip"},
		{"deploy --zone example.com --function-zip /dev/null", "make one with: make lambda-zip"},
		{"deploy --zone example.com", "this build carries no function; make one with make lambda-zip"},
		{"status", "there is no stack godwit in eu-west-1"},
		{"destroy --stack other --region eu-central-1", "there is no stack other in eu-central-1"},
	} {
		r := call("", append([]string{"aws"}, strings.Fields(c.args)...)...)
		if r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("godwit aws %s: got %+v, want exit 1 and %q", c.args, r, c.want)
		}
	}
	if calls := account.Formation.Calls(); strings.Contains(strings.Join(calls, " "), "CreateStack") {
		t.Errorf("something was made: %v", calls)
	}
}

// TestAWSNextCommand: what deploy prints leads to the same installation, and names
// a host that the function may change.
func TestAWSNextCommand(t *testing.T) {
	alone(t)
	account := awstest.NewAccount(t, awstest.StartMoto(t))
	account.DNS.AddZone("example.com")
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("[profile dns]\naws_access_key_id = "+awstest.AccessKeyID+"\naws_secret_access_key = "+awstest.SecretAccessKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", config)
	t.Setenv("AWS_REGION", "")
	out := must(t, "aws", "deploy", "--stack", "home", "--region", "eu-west-1", "--profile", "dns", "--zone", "example.com", "--names", "www.example.com", "--names", "*.home.example.com",
		"--function-zip", functionZip(t, "1"))
	if want := "\n  AWS_PROFILE=dns godwit host add nas.home.example.com --target aws:home@eu-west-1\n"; !strings.HasSuffix(out, want) {
		t.Errorf("got %s\nwant at its end %s", out, want)
	}
	t.Setenv("AWS_PROFILE", "dns")
	out = must(t, "aws", "deploy", "--stack", "home", "--region", "eu-west-1", "--alarm-email", "ops@example.com", "--function-zip", functionZip(t, "1"))
	if want := "\nAWS asks ops@example.com by mail whether it wants alarms: none arrives before that is confirmed.\n"; !strings.Contains(out, want) {
		t.Errorf("got %s\nwant in it %s", out, want)
	}
	must(t, "host", "add", "nas.home.example.com", "--target", "aws:home@eu-west-1")
	out = must(t, "aws", "destroy", "--stack", "home", "--region", "eu-west-1", "--yes")
	if !strings.Contains(out, " --names www.example.com --names '*.home.example.com' --table ") {
		t.Errorf("got %s", out)
	}
}

func TestAWSTemplate(t *testing.T) {
	alone(t)
	if got := must(t, "aws", "template"); got != awsstack.Template {
		t.Errorf("got %d octets, want the template's %d", len(got), len(awsstack.Template))
	}
}
