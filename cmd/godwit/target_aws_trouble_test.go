package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/internal/awstest"
)

// awsTrouble: what goes wrong is said with what to do, and nothing hangs.
func awsTrouble(t *testing.T, moto string) {
	i := install(t, moto)
	must(t, "host", "add", "nas.dyn.example.com")
	if r := call(`{"godwit_export":1,"hosts":[{"name":"cam.dyn.example.com","ttl":60,"a":["198.51.100.7"],"addresses":"any","credentials":[]}]}`, "host", "import", "-"); r.code != exitDone {
		t.Fatal(r)
	}
	want := func(code int, in string, stdout string, args ...string) {
		t.Helper()
		began := time.Now()
		r := call("", args...)
		if r.code != code || !strings.Contains(r.stderr, in) || r.stdout != stdout {
			t.Errorf("godwit %s: got %+v\nwant exit %d and %q", strings.Join(args, " "), r, code, in)
		}
		if took := time.Since(began); took > 40*time.Second {
			t.Errorf("godwit %s took %s", strings.Join(args, " "), took)
		}
	}
	for _, c := range []struct {
		code int
		args string
		want string
	}{
		{1, "host list --target aws:other", "there is no stack other in eu-west-1; name another with --target aws:STACK@REGION, or make it: godwit aws deploy --stack other\n"},
		{1, "host list --target aws:godwit@eu-central-1", `there is no table "` + i.name + `" in eu-central-1`}, // the stand-in has one CloudFormation for all
		{2, "host list --target aws:", "target aws: names no installation; write it as aws:godwit"},
		{2, "host list --target aws:godwit@", "target aws:godwit@ names no installation"},
		{2, "host list --target aws:a_b", `"a_b" is no name of a stack`},
		{2, "host list --target aws:godwit@me-central-1", "AWS Lambda has no function URLs in me-central-1"},
		{2, "host list --admin-token-file /dev/null", "--admin-token-file is for a target with https; aws:godwit needs none"},
		{2, "host list --target gcp:x", "give local:DIR, aws:STACK, the path of a socket, or https://HOST"},
		{1, "host show tv.dyn.example.com", "there is no host tv.dyn.example.com; godwit host list shows all"},
	} {
		want(c.code, c.want, "", strings.Fields(c.args)...)
	}

	i.table.refuse("", "AccessDeniedException")
	want(1, `AccessDeniedException (HTTP 400): as the test wants it; the credentials may not do this on table "`+i.name+`": compare them with the policy`, "", "host", "list")
	i.table.refuse("", "ResourceNotFoundException")
	want(1, `there is no table "`+i.name+`" in eu-west-1`, "", "host", "show", "nas.dyn.example.com")
	i.table.refuse("", "ProvisionedThroughputExceededException")
	want(1, "as the test wants it; AWS has no room for it at the moment: try again in a minute", "", "host", "list")
	i.table.refuse("UpdateItem", "ProvisionedThroughputExceededException")
	want(1, "AWS has no room for it at the moment", "", "host", "set", "nas.dyn.example.com", "--ttl", "90")
	// The answer to a change is lost, and to the reading after it too.
	i.table.set(func(operation string, w http.ResponseWriter) bool {
		if operation == "UpdateItem" {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	want(1, "could not confirm that it was done", "", "host", "set", "nas.dyn.example.com", "--ttl", "90")
	i.table.set(func(operation string, w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	want(1, "AWS is in trouble: try again later", "", "host", "history", "nas.dyn.example.com")
	i.table.set(nil)

	// Route 53: the change is stored, and what is missing is said.
	for name, c := range map[string]struct {
		fault awstest.Fault
		want  string
	}{
		"denied":    {awstest.Denied(), "the credentials may not do this"},
		"throttled": {awstest.Throttled(), "AWS has no room for it at the moment"},
		"away":      {awstest.Unavailable(), "Unavailable (HTTP 503)"},
	} {
		ttl := fmt.Sprint(100 + len(name))
		heal := i.DNS.Inject(awstest.Rule{Times: -1, Fault: c.fault})
		r := call("", "host", "set", "cam.dyn.example.com", "--ttl", ttl)
		heal()
		if r.code != exitDone || !strings.HasPrefix(r.stderr, "Warning: DNS is not known to show a host; it will be published again (host cam.dyn.example.com, generation ") || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: %+v", name, r)
		}
		if out := must(t, "host", "show", "cam.dyn.example.com"); !strings.Contains(out, ttl) || !strings.Contains(out, "follows") {
			t.Errorf("%s: stored is %s", name, out)
		}
	}
	// What DNS has of a new name must be known, or it would be emptied later.
	heal := i.DNS.Inject(awstest.Rule{Action: awstest.ListSets, Times: -1, Fault: awstest.Denied()})
	want(1, "ask DNS what it has of tv.dyn.example.com", "", "host", "add", "tv.dyn.example.com")
	want(1, "the credentials may not do this: compare them with the policy that godwit aws deploy prints", "", "host", "add", "tv.dyn.example.com")
	heal()
	want(1, "there is no host tv.dyn.example.com", "", "host", "show", "tv.dyn.example.com")

	must(t, "host", "set", "cam.dyn.example.com", "--ttl", "77")
	if set, _ := i.DNS.Set(i.zone, "cam.dyn.example.com", "A"); set.TTL != 77 {
		t.Errorf("Route 53 has %+v", set)
	}
	heal = i.DNS.Inject(awstest.Rule{Action: awstest.GetZone, Times: -1, Fault: awstest.Denied()})
	r := call("", "zone", "list")
	heal()
	if r.code != exitDone || !strings.Contains(r.stderr, "Warning: the name servers are not known") || !strings.Contains(r.stdout, "dyn.example.com  -       1 name") {
		t.Errorf("zone list: %+v", r)
	}

	// Nobody is there at all.
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
	want(1, "AWS is not reached: check the network and the region, and try again", "", "host", "list")
	t.Setenv("AWS_REGION", "")
	want(2, "no region is set", "", "host", "list")
	t.Setenv("AWS_REGION", "eu-west-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	want(1, "there are no AWS credentials that can be used; set AWS_PROFILE, or", "", "host", "list")
}

// awsExportBreaksOff: what did not come whole is not taken for whole.
func awsExportBreaksOff(t *testing.T, moto string) {
	i := install(t, moto)
	must(t, "host", "add", "nas.dyn.example.com")
	must(t, "host", "add", "cam.dyn.example.com")
	reads := 0
	i.table.set(func(operation string, w http.ResponseWriter) bool {
		if operation != "GetItem" && operation != "BatchGetItem" {
			return false
		}
		reads++
		if reads < 2 {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"x#AccessDeniedException","message":"no"}`)
		return true
	})
	file := filepath.Join(t.TempDir(), "hosts.json")
	r := call("", "host", "export", "-o", file)
	if r.code != exitFailed || strings.Count(r.stderr, "AccessDeniedException") != 1 {
		t.Errorf("got %+v", r)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("half an export is there")
	}
}

// awsImportInParts: many hosts go in by whole transactions, and what was
// added stays when it stops on the way.
func awsImportInParts(t *testing.T, moto string) {
	i := install(t, moto)
	var file strings.Builder
	const hosts = stackImport + 5
	for n := range hosts {
		fmt.Fprintf(&file, `%s"h%03d.dyn.example.com": {"route_53_record_ttl": 60, "shared_secret": "shared_secret_%03d"}`, map[bool]string{true: "{", false: ","}[n == 0], n, n)
	}
	file.WriteString("}")
	transactions := 0
	i.table.set(func(operation string, w http.ResponseWriter) bool {
		if operation == "TransactWriteItems" {
			transactions++
		}
		if transactions < 2 || operation != "TransactWriteItems" {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"x#AccessDeniedException","message":"no"}`)
		return true
	})
	r := call(file.String(), "host", "import", "-")
	if r.code != exitFailed || !strings.Contains(r.stderr, fmt.Sprintf("%d hosts added before it stopped; they stay.", stackImport)) || !strings.Contains(r.stderr, "AccessDeniedException") {
		t.Fatalf("got %+v", r)
	}
	i.table.set(nil)
	r = call(file.String(), "host", "import", "-")
	if want := fmt.Sprintf("%d hosts added, %d skipped.\n", hosts-stackImport, stackImport); r.stdout != want {
		t.Errorf("again: %+v, want %s", r, want)
	}
}

// awsNames: a name that could never be published is refused when it is asked for.
func awsNames(t *testing.T, moto string) {
	i := install(t, moto, "--names", "*.home.dyn.example.com", "--names", "office.dyn.example.com")
	refused := func(want string, args ...string) {
		t.Helper()
		if r := call("", args...); r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, want) {
			t.Errorf("godwit %s: got %+v\nwant %q", strings.Join(args, " "), r, want)
		}
	}
	must(t, "host", "add", "office.dyn.example.com")
	must(t, "host", "add", "cam.home.dyn.example.com", "--follower", "lamp.home.dyn.example.com=::1")
	must(t, "host", "add", "*.home.dyn.example.com")
	outside := "nas.dyn.example.com is none of the names that the function may change: *.home.dyn.example.com, office.dyn.example.com"
	refused(outside, "host", "add", "nas.dyn.example.com")
	refused("choose another name, or allow it: godwit aws deploy --zone dyn.example.com="+i.zone+
		" --names '*.home.dyn.example.com' --names office.dyn.example.com --names nas.dyn.example.com", "host", "add", "nas.dyn.example.com")
	refused("home.dyn.example.com is none of the names", "host", "add", "home.dyn.example.com")
	refused(outside, "host", "set", "cam.home.dyn.example.com", "--follower", "nas.dyn.example.com=::1")
	r := call(`{"nas.dyn.example.com": {"route_53_record_ttl": 60, "shared_secret": "shared_secret_1"}}`, "host", "import", "-")
	if r.code != exitFailed || !strings.Contains(r.stderr, outside) {
		t.Errorf("import: %+v", r)
	}

	i.DNS.Put(i.zone, awstest.RecordSet{Name: "www.home.dyn.example.com.", Type: "CNAME", TTL: 60, Values: []string{"example.net."}})
	refused("a CNAME at www.home.dyn.example.com", "host", "add", "www.home.dyn.example.com")
	refused("take it away in Route 53, or choose another name", "host", "add", "www.home.dyn.example.com")
	refused("there is no host www.home.dyn.example.com", "host", "show", "www.home.dyn.example.com")
}
