//go:build linux

package e2e

import (
	"os"
	"strings"
	"testing"

	"godwit/internal/awstest"
)

// TestServeRoute53: the daemon publishes in Route 53 what its store holds. What
// was not taken, what others changed, and what was stored before there was a
// Route 53, is there after the next start at the latest.
func TestServeRoute53(t *testing.T) {
	aws := awstest.NewRoute53(awstest.Route53Config{Rates: awstest.Rates2026()})
	id := aws.AddZone(zone)
	endpoint, stop, err := aws.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	environment := append(os.Environ(), "AWS_ENDPOINT_URL_ROUTE_53="+endpoint, "AWS_ACCESS_KEY_ID="+awstest.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY="+awstest.SecretAccessKey, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
	shown := func(name string) string {
		set, _ := aws.Set(id, name+".", "A")
		return strings.Join(set.Values, " ")
	}
	// A host from before: its store published it by construction.
	old := testHosts("old", 1)[0]
	before := serve(t, launch{})
	mustAddHosts(t, before, []testHost{old})
	if got, err := before.updateFrom("127.0.8.1", old.Name, old.Secret); err != nil || got.body != hasBeenSet(old.Name, "127.0.8.1") {
		t.Fatalf("before: %d %s (%v)", got.status, got.body, err)
	}
	if code, err := before.stop(); code != 0 || err != nil {
		t.Fatalf("stop: %d, %v", code, err)
	}

	start := func(args ...string) *daemon {
		t.Helper()
		d := launch{data: before.data, args: append([]string{"--publish", "route53"}, args...)}.daemon(t)
		d.env = environment
		t.Cleanup(d.kill)
		if err := d.start(); err != nil {
			t.Fatal(err)
		}
		if err := d.waitReady(); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := start()
	eventually(t, "what the store held is in Route 53", func() bool { return shown(old.Name) == "127.0.8.1" })
	if !strings.Contains(d.output(), "in Route 53, hosted zone "+id) {
		t.Errorf("the start does not say where the zone is:\n%s", d.output())
	}
	if list := d.mustGodwit(t, "zone", "list"); !strings.Contains(list, "IN NS ns-") {
		t.Errorf("zone list does not tell Route 53's name servers:\n%s", list)
	}

	hosts := testHosts("nas", 2)
	mustAddHosts(t, d, hosts)
	nas, away := hosts[0], hosts[1]
	update := func(from string, h testHost, status int, body string) {
		t.Helper()
		if got, err := d.updateFrom(from, h.Name, h.Secret); err != nil || got.status != status || !strings.Contains(got.body, body) {
			t.Fatalf("%s from %s: %d %s (%v)", h.Name, from, got.status, got.body, err)
		}
	}
	update("127.0.8.2", nas, 201, hasBeenSet(nas.Name, "127.0.8.2"))
	if got := shown(nas.Name); got != "127.0.8.2" {
		t.Errorf("Route 53 shows %q after the acknowledgement", got)
	}
	calls := len(aws.Calls())
	update("127.0.8.2", nas, 200, matches)
	if more := len(aws.Calls()) - calls; more != 0 {
		t.Errorf("an unchanged update made %d calls", more)
	}

	// Route 53 refuses: the change is kept, and the caller hears so.
	heal := aws.Inject(awstest.Rule{Action: "ChangeResourceRecordSets", Times: -1, Fault: awstest.Denied()})
	update("127.0.8.3", away, 500, "The change is stored; DNS has not confirmed it yet.")
	heal()
	if code, err := d.stop(); code != 0 || err != nil {
		t.Fatalf("stop: %d, %v", code, err)
	}
	// Meanwhile somebody edits a record by hand.
	aws.Put(id, awstest.RecordSet{Name: nas.Name + ".", Type: "A", TTL: 60, Values: []string{"127.0.8.99"}})

	d = start("--hosted-zone", zone+"="+id)
	eventually(t, "what was refused is published", func() bool { return shown(away.Name) == "127.0.8.3" })
	eventually(t, "what others changed is put right", func() bool { return shown(nas.Name) == "127.0.8.2" })
	d.mustGodwit(t, "host", "remove", nas.Name, "--yes")
	if got := shown(nas.Name); got != "" {
		t.Errorf("a removed host is shown at %s", got)
	}

	// A zone that is not there is said before anything is served.
	lost := launch{zones: []string{"dyn.example.net"}, args: []string{"--publish", "route53"}}.daemon(t)
	lost.env = environment
	if err := lost.start(); err != nil {
		t.Fatal(err)
	}
	<-lost.exited
	if want := "this AWS account has no public hosted zone dyn.example.net; make it: aws route53 create-hosted-zone"; !strings.Contains(lost.output(), want) {
		t.Errorf("without a hosted zone: %v\n%s", lost.err, lost.output())
	}
	if code := lost.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("without a hosted zone: exit %d", code)
	}
}
