//go:build linux

package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"godwit/internal/api"
	"godwit/internal/awstest"
)

// stack is an installation that the program itself has deployed into the
// stand-ins' account, with the function's own program behind it.
type stack struct {
	*awstest.Account
	t        testing.TB
	zone     string // ID of the hosted zone
	table    string
	function *awstest.Function
}

// deploy makes an installation. prepare, if not nil, is for what is there before.
func deploy(t *testing.T, moto string, prepare func(*stack), args ...string) *stack {
	t.Helper()
	s := &stack{Account: awstest.NewAccount(t, moto), t: t, table: "ddns"}
	s.zone = s.DNS.AddZone(zone)
	if prepare != nil {
		prepare(s)
	}
	// The stand-in for CloudFormation runs no functions, so any will do.
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	header := &zip.FileHeader{Name: "bootstrap"}
	header.SetMode(0o755)
	file, err := w.CreateHeader(header)
	if err == nil {
		_, err = file.Write([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"))
	}
	name := filepath.Join(t.TempDir(), "function.zip")
	if err != nil || w.Close() != nil || os.WriteFile(name, archive.Bytes(), 0o600) != nil {
		t.Fatal("no zip: ", err)
	}
	var out struct{ Table, Mode string }
	s.must(&out, "", append([]string{"aws", "deploy", "--zone", zone, "--function-zip", name}, args...)...)
	s.table = out.Table

	program, err := bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	s.function, err = awstest.StartFunction([]string{
		"GODWIT_TABLE=" + s.table, "GODWIT_ZONES=" + zone + "=" + s.zone, "GODWIT_MODE=" + out.Mode,
		"AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=" + awstest.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + awstest.SecretAccessKey,
		"AWS_ENDPOINT_URL_DYNAMODB=" + moto, "AWS_ENDPOINT_URL_ROUTE_53=" + s.DNSURL,
	}, program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.function.Stop()
		if t.Failed() {
			t.Logf("the function said:\n%s", s.function.Log())
		}
	})
	t.Setenv("GODWIT_TARGET", "aws:godwit")
	return s
}

// godwit runs the program as people get it.
func (s *stack) godwit(stdin string, args ...string) (stdout, stderr string, err error) {
	var out, messages bytes.Buffer
	cmd := exec.CommandContext(s.t.Context(), programs.plain, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &messages
	err = cmd.Run()
	return out.String(), messages.String(), err
}

// must is godwit for what has to work, with the result as JSON in out.
func (s *stack) must(out any, stdin string, args ...string) {
	s.t.Helper()
	stdout, stderr, err := s.godwit(stdin, append(args, "--json")...)
	if err == nil && out != nil {
		err = json.Unmarshal([]byte(stdout), out)
	}
	if err != nil {
		s.t.Fatalf("godwit %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
}

func (s *stack) shows(name, rrtype string) string {
	set, _ := s.DNS.Set(s.zone, name, rrtype)
	if len(set.Values) == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", set.TTL, strings.Join(set.Values, " "))
}

func (s *stack) wantShown(name, a, aaaa string) {
	s.t.Helper()
	if gotA, gotAAAA := s.shows(name, "A"), s.shows(name, "AAAA"); gotA != a || gotAAAA != aaaa {
		s.t.Errorf("Route 53 shows %s at %q and %q, want %q and %q", name, gotA, gotAAAA, a, aaaa)
	}
}

// TestAWSAdmin: what an operator does with --target aws:STACK the function goes
// by at once, and the reverse; no server is in between.
func TestAWSAdmin(t *testing.T) {
	moto := awstest.StartMoto(t)
	t.Run("own table", func(t *testing.T) { awsAdminOwn(t, moto) })
	t.Run("the reference's table", func(t *testing.T) { awsAdminAdopted(t, moto) })
	t.Run("stream", func(t *testing.T) { awsAdminStream(t, moto) })
}

func awsAdminOwn(t *testing.T, moto string) {
	s := deploy(t, moto, nil)
	if _, err := tell(s.function, awstest.ScheduleEvent()); err != nil { // so that no doubt remains
		t.Fatal(err)
	}
	var created api.Created
	s.must(&created, "", "host", "add", nas)
	if created.URL != s.Door.URL || created.TTL != 60 || created.Zone != zone {
		t.Errorf("got %+v", created)
	}
	update := func(source, host, secret string, status int, body string) {
		t.Helper()
		wantAnswer(t, set(t, s.function, source, host, secret), status, body)
	}
	update(home1, nas, created.Token, 201, hasBeenSet(nas, home1))
	s.wantShown(nas, "60 "+home1, "")
	update(home6, nas, created.Token, 201, hasBeenSet(nas, home6))
	calls := len(s.DNS.Calls())
	update(home1, nas, created.Token, 200, matches)
	if more := len(s.DNS.Calls()) - calls; more != 0 {
		t.Errorf("an unchanged update of a host that the operator added made %d calls of Route 53", more)
	}

	var host api.HostState
	s.must(&host, "", "host", "show", nas)
	if host.Generation != 3 || host.Published != 3 || addrsOf(host) != home1+" "+home6 {
		t.Errorf("show: %+v", host)
	}
	s.must(&host, "", "host", "set", nas, "--ttl", "120", "--wildcard")
	s.wantShown(nas, "120 "+home1, "120 "+home6)
	s.wantShown("*."+nas, "120 "+home1, "120 "+home6)
	var events []api.Event
	s.must(&events, "", "host", "history", nas)
	if len(events) != 4 || events[0].Door != "admin" || events[1].Door != "seed" || events[1].Source.String() != home6 {
		t.Errorf("history: %+v", events)
	}

	old := created.Token
	s.must(&created, "", "host", "rotate", nas)
	update(home2, nas, old, 401, badHash)
	update(home2, nas, created.Token, 201, hasBeenSet(nas, home2))
	s.must(nil, "", "host", "set", nas, "--suspended")
	s.wantShown(nas, "", "")
	if a := set(t, s.function, home2, nas, created.Token); a.StatusCode/100 == 2 {
		t.Errorf("a suspended host: %+v", a)
	}
	s.must(nil, "", "host", "set", nas, "--suspended=off")
	s.wantShown(nas, "120 "+home2, "120 "+home6)

	// The reference's file, then out to a file and in again elsewhere.
	var imported api.ImportResult
	s.must(&imported, `{"cam.`+zone+`.": {"route_53_zone_id": "Z1", "route_53_record_ttl": 60, "shared_secret": "`+nasKey+`"}}`, "host", "import", "-")
	update(home1, "cam."+zone, nasKey, 201, hasBeenSet("cam."+zone, home1))
	export := filepath.Join(t.TempDir(), "hosts.json")
	if _, stderr, err := s.godwit("", "host", "export", "--with-secrets", "-o", export); err != nil {
		t.Fatalf("export: %v %s", err, stderr)
	}
	for _, name := range []string{nas, "cam." + zone} {
		s.must(nil, "", "host", "remove", name, "--yes")
		s.wantShown(name, "", "")
	}
	s.wantShown("*."+nas, "", "")
	update(home2, nas, created.Token, 401, badHash)
	s.must(&imported, "", "host", "import", export)
	if imported.Added != 2 {
		t.Errorf("import: %+v", imported)
	}
	s.wantShown(nas, "120 "+home2, "120 "+home6)
	s.wantShown("cam."+zone, "60 "+home1, "")
	update(home2, nas, created.Token, 200, matches)
	update(home2, "cam."+zone, nasKey, 201, hasBeenSet("cam."+zone, home2))
}

func addrsOf(h api.HostState) string {
	var out []string
	for _, a := range slices.Concat(h.A, h.AAAA) {
		out = append(out, a.String())
	}
	return strings.Join(out, " ")
}

// Rows of the reference implementation, in whatever spelling, serve all three:
// the operator, our function and the reference's, which reads data alone.
func awsAdminAdopted(t *testing.T, moto string) {
	const tv = "tv." + zone
	s := deploy(t, moto, func(s *stack) {
		s.SeedTable(t, s.table, "hostname")
		for _, name := range []string{nas + ".", "TV." + zone} {
			s.put(name, `{"route_53_zone_id": "`+s.zone+`","route_53_record_ttl": 60,"shared_secret": "`+nasKey+name+`","owner": "me"}`)
			s.DNS.Put(s.zone, awstest.RecordSet{Name: strings.ToLower(strings.TrimSuffix(name, ".")) + ".", Type: "A", TTL: 60, Values: []string{home1}})
		}
	}, "--table", "ddns")
	var list []api.HostState
	s.must(&list, "", "host", "list")
	if len(list) != 2 || addrsOf(list[0]) != home1 || addrsOf(list[1]) != home1 {
		t.Errorf("list: %+v", list)
	}
	// First contact by the function, and by the operator.
	wantAnswer(t, set(t, s.function, home1, nas, nasKey+nas+"."), 200, matches)
	s.must(nil, "", "host", "set", tv, "--ttl", "90")
	s.wantShown(nas, "60 "+home1, "")
	s.wantShown(tv, "90 "+home1, "")
	wantAnswer(t, set(t, s.function, home2, tv, nasKey+"TV."+zone), 201, hasBeenSet(tv, home2))
	s.wantShown(tv, "90 "+home2, "")

	var created api.Created
	s.must(&created, "", "host", "rotate", nas)
	for key, want := range map[string]string{
		nas + ".":    `{"route_53_zone_id": "` + s.zone + `","route_53_record_ttl": 60,"shared_secret": "` + created.Token + `","owner": "me"}`,
		"TV." + zone: `{"route_53_zone_id": "` + s.zone + `","route_53_record_ttl": 90,"shared_secret": "` + nasKey + "TV." + zone + `","owner": "me"}`,
	} {
		if got := s.data(key); !sameJSON(t, got, want) {
			t.Errorf("%s: the reference's function reads %s, want %s", key, got, want)
		}
	}
	wantAnswer(t, set(t, s.function, home2, nas, created.Token), 201, hasBeenSet(nas, home2))
	// The reference's tools go on too: a secret of theirs counts.
	s.put("lamp."+zone+".", `{"route_53_zone_id": "`+s.zone+`","route_53_record_ttl": 60,"shared_secret": "`+nasKey+`"}`)
	wantAnswer(t, set(t, s.function, home2, "lamp."+zone, nasKey), 201, hasBeenSet("lamp."+zone, home2))
	s.must(nil, "", "host", "remove", "lamp."+zone, "--yes")
	s.wantShown("lamp."+zone, "", "")
}

// In stream mode what an operator changes is published by the function.
func awsAdminStream(t *testing.T, moto string) {
	s := deploy(t, moto, nil, "--mode", "stream")
	var created api.Created
	s.must(&created, "", "host", "add", nas)
	stream := func() {
		t.Helper()
		if out, err := tell(s.function, awstest.StreamEvent(1, nas)); err != nil || !strings.Contains(string(out), `"batchItemFailures":[]`) {
			t.Errorf("stream: %s, %v", out, err)
		}
	}
	if a := set(t, s.function, home1, nas, created.Token); a.StatusCode/100 != 2 {
		t.Fatalf("got %+v", a)
	}
	stream()
	s.wantShown(nas, "60 "+home1, "")
	s.must(nil, "", "host", "set", nas, "--ttl", "90")
	s.wantShown(nas, "60 "+home1, "")
	stream()
	s.wantShown(nas, "90 "+home1, "")
	s.must(nil, "", "host", "remove", nas, "--yes")
	stream()
	s.wantShown(nas, "", "")
	var list []api.HostState
	if s.must(&list, "", "host", "list"); len(list) != 0 {
		t.Errorf("list: %+v", list)
	}
}

// put writes a row as the reference implementation's tools do.
func (s *stack) put(hostname, data string) {
	s.t.Helper()
	err := s.Call("dynamodb", "DynamoDB_20120810.PutItem", obj{"TableName": s.table, "Item": obj{"hostname": obj{"S": hostname}, "data": obj{"S": data}}}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
}

// data is what the reference's function reads of a row.
func (s *stack) data(hostname string) string {
	s.t.Helper()
	var out struct{ Item map[string]map[string]any }
	err := s.Call("dynamodb", "DynamoDB_20120810.GetItem", obj{"TableName": s.table, "ConsistentRead": true, "Key": obj{"hostname": obj{"S": hostname}}}, &out)
	if err != nil {
		s.t.Fatal(err)
	}
	text, _ := out.Item["data"]["S"].(string)
	return text
}

func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Errorf("%s: %v", a, err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Errorf("%s: %v", b, err)
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}
