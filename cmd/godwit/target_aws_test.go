package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"godwit/internal/api"
	"godwit/internal/awstest"
)

// tableDoor stands before moto's DynamoDB: it notes which actions IAM would be
// asked about, and answers in DynamoDB's place where a test says so.
type tableDoor struct {
	mu      sync.Mutex // guards following
	actions map[string]bool
	spoil   func(operation string, w http.ResponseWriter) bool
}

func (d *tableDoor) set(spoil func(operation string, w http.ResponseWriter) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spoil = spoil
}

// refuse answers every call of the operation ("": all) with an error.
func (d *tableDoor) refuse(operation, code string) {
	d.set(func(op string, w http.ResponseWriter) bool {
		if operation != "" && op != operation {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"as the test wants it"}`, code)
		return true
	})
}

// note notes a call's actions: those inside of a transaction are asked about one
// by one.
func (d *tableDoor) note(operation string, body []byte) func(string, http.ResponseWriter) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch operation {
	case "TransactWriteItems":
	case "FilterLogEvents":
		d.actions["logs:"+operation] = true
		return d.spoil
	default:
		d.actions["dynamodb:"+operation] = true
		return d.spoil
	}
	var in struct{ TransactItems []map[string]any }
	if json.Unmarshal(body, &in) != nil {
		d.actions["unreadable"] = true
	}
	for _, item := range in.TransactItems {
		for kind := range item {
			if kind != "ConditionCheck" {
				d.actions["dynamodb:"+kind+"Item"] = true
			} else {
				d.actions["dynamodb:ConditionCheckItem"] = true
			}
		}
	}
	return d.spoil
}

func (d *tableDoor) handler(t *testing.T, moto string) http.Handler {
	to, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	t.Cleanup(func() { http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if spoil := d.note(operation, body); spoil != nil && spoil(operation, w) {
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// installation is one in the stand-ins' account, with the target of its commands
// in the environment.
type installation struct {
	*awstest.Account
	t     *testing.T
	table *tableDoor
	zone  string // ID of dyn.example.com's hosted zone
	name  string // of the table
	out   string // what deploy printed, as JSON
}

func install(t *testing.T, moto string, deploy ...string) *installation {
	t.Helper()
	alone(t)
	i := &installation{Account: awstest.NewAccount(t, moto), t: t, table: &tableDoor{actions: map[string]bool{}}}
	door := httptest.NewServer(i.table.handler(t, i.Moto))
	t.Cleanup(door.Close)
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", door.URL)
	t.Setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", door.URL)
	i.zone = i.DNS.AddZone("dyn.example.com")
	i.DNS.AddZone("example.net")
	if slices.Contains(deploy, "ddns") {
		i.SeedTable(t, "ddns", "hostname")
	}
	i.out = must(t, append([]string{"aws", "deploy", "--zone", "dyn.example.com", "--json", "--function-zip", functionZip(t, "1")}, deploy...)...)
	var out struct{ Table string }
	if err := json.Unmarshal([]byte(i.out), &out); err != nil {
		t.Fatal(err)
	}
	i.name = out.Table
	i.table.actions = map[string]bool{}
	t.Setenv("GODWIT_TARGET", "aws:godwit")
	return i
}

// put writes a row as the reference implementation's newrecord.py does.
func (i *installation) put(hostname, secret string) {
	i.t.Helper()
	text := func(s string) map[string]string { return map[string]string{"S": s} }
	err := i.Call("dynamodb", "DynamoDB_20120810.PutItem", map[string]any{"TableName": i.name, "Item": map[string]any{"hostname": text(hostname),
		"data": text(`{"route_53_zone_id": "` + i.zone + `","route_53_record_ttl": 60,"shared_secret": "` + secret + `"}`)}}, nil)
	if err != nil {
		i.t.Fatal(err)
	}
}

// row is an item's attributes; nil: there is none.
func (i *installation) row(hostname string) map[string]map[string]any {
	i.t.Helper()
	var out struct{ Item map[string]map[string]any }
	err := i.Call("dynamodb", "DynamoDB_20120810.GetItem", map[string]any{"TableName": i.name, "ConsistentRead": true,
		"Key": map[string]any{"hostname": map[string]string{"S": hostname}}}, &out)
	if err != nil {
		i.t.Fatal(err)
	}
	return out.Item
}

// data is the text that the reference's function reads of a row.
func (i *installation) data(hostname string) (d struct {
	Zone   string `json:"route_53_zone_id"`
	TTL    int    `json:"route_53_record_ttl"`
	Secret string `json:"shared_secret"`
}) {
	i.t.Helper()
	text, _ := i.row(hostname)["data"]["S"].(string)
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		i.t.Errorf("the reference cannot read %s: %v", hostname, err)
	}
	return d
}

func (i *installation) shows(name, rrtype string) string {
	set, _ := i.DNS.Set(i.zone, name, rrtype)
	return strings.Join(set.Values, " ")
}

// TestAWSTarget: every command about hosts works on an installation in AWS.
func TestAWSTarget(t *testing.T) {
	moto := awstest.StartMoto(t)
	for _, story := range []struct {
		name string
		tell func(t *testing.T, moto string)
	}{
		{"hosts", awsHosts}, {"names", awsNames}, {"publishes", awsPublishes}, {"takes over", awsTakesOver}, {"keeps records", awsKeepsRecords}, {"trouble", awsTrouble},
		{"export breaks off", awsExportBreaksOff}, {"import in parts", awsImportInParts}, {"policy", awsOperatorPolicy}, {"doctor", awsDoctor}, {"waits", awsWaits},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(t, moto) })
	}
}

// awsHosts is every command about hosts, as a person sees it, on an
// installation in AWS.
func awsHosts(t *testing.T, moto string) {
	i := install(t, moto)
	secret := filepath.Join(t.TempDir(), "secret")
	seed := filepath.Join(t.TempDir(), "config.json")
	export := filepath.Join(t.TempDir(), "hosts.json")
	for file, text := range map[string]string{secret: "correct horse battery\n", seed: `{
		"cam.dyn.example.com": {"route_53_zone_id": "Z1", "route_53_record_ttl": 60, "shared_secret": "shared_secret_1"},
		"old.dyn.example.com.": {"route_53_zone_id": "Z1", "route_53_record_ttl": "300", "shared_secret": "shared_secret_2"},
		"old.example.net": {"route_53_record_ttl": 60, "shared_secret": "shared_secret_3"}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var all strings.Builder
	show := func(code int, args ...string) result {
		t.Helper()
		r := call("", args...)
		if r.code != code {
			t.Fatalf("godwit %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
		}
		if strings.Contains(r.stdout, "null") {
			t.Errorf("godwit %s: a list is null: %s", strings.Join(args, " "), r.stdout)
		}
		text := strings.NewReplacer(secret, "FILE", seed, "config.json", export, "hosts.json").Replace("$ godwit " + strings.Join(args, " ") + "\n" + r.stderr + r.stdout)
		text = regexp.MustCompile(`(?m)^[a-z2-7]{8}  `).ReplaceAllString(text, "CREDENT.  ")
		text = regexp.MustCompile(`(token (?:rotate|revoke) \S+) [a-z2-7]{8}\b`).ReplaceAllString(text, "$1 CREDENTIAL")
		text = regexp.MustCompile(`(?:Credential|token) [a-z2-7]{8} (of|added)`).ReplaceAllString(text, "token CREDENT. $1")
		text = regexp.MustCompile(`(credential|token) [a-z2-7]{8}( rotated| revoked)`).ReplaceAllString(text, "$1 CREDENT.$2")
		text = regexp.MustCompile(`rotated to [a-z2-7]{8}\n`).ReplaceAllString(text, "rotated to CREDENT.\n")
		all.WriteString(awsSteady(text, i.Account) + "\n")
		return r
	}
	show(0, "host", "list")
	show(0, "host", "list", "--json")
	show(0, "host", "add", "NAS.dyn.example.com.")
	show(0, "host", "add", "*.dyn.example.com", "--secret-file", secret, "--json")
	show(1, "host", "add", "nas.dyn.example.com")
	show(1, "host", "add", "nas.example.net")
	show(1, "host", "add", "other.dyn.example.com", "--secret-file", secret)
	show(0, "host", "set", "nas.dyn.example.com", "--ttl", "300", "--addresses", "any", "--follower", "tv.dyn.example.com=::1234,a")
	show(0, "host", "set", "nas.dyn.example.com", "--ttl", "300")
	show(0, "host", "show", "nas.dyn.example.com")
	show(1, "host", "import", seed)
	show(0, "host", "list")
	show(0, "host", "show", "old.dyn.example.com", "--json")
	var token api.Created
	if err := json.Unmarshal([]byte(show(0, "host", "token", "add", "nas.dyn.example.com", "--label", "router", "--types", "A", "--json").stdout), &token); err != nil {
		t.Fatal(err)
	}
	show(0, "host", "token", "list", "nas.dyn.example.com")
	show(0, "host", "token", "rotate", "nas.dyn.example.com", token.Credential, "--overlap", "24h", "--json")
	show(0, "host", "token", "revoke", "nas.dyn.example.com", token.Credential)
	show(0, "host", "rotate", "old.dyn.example.com", "--seed=off")
	show(0, "host", "history", "nas.dyn.example.com")
	show(0, "host", "export", "--with-secrets", "-o", export)
	show(2, "host", "remove", "nas.dyn.example.com")
	show(0, "host", "remove", "nas.dyn.example.com", "--yes")
	show(1, "host", "show", "nas.dyn.example.com")
	show(1, "host", "import", export)
	show(0, "host", "list")
	show(0, "zone", "list")
	show(0, "zone", "list", "--json")
	show(2, "backup", "b.db")
	show(2, "check")
	show(2, "restore", "b.db")
	golden(t, "aws_hosts.golden", all.String())

	// What is stored is whole for the reference's function too.
	if d := i.data("cam.dyn.example.com"); d.Zone != i.zone || d.TTL != 60 || d.Secret != "shared_secret_1" {
		t.Errorf("cam: %+v", d)
	}
	if d := i.data("old.dyn.example.com"); d.TTL != 300 || d.Secret == "shared_secret_2" {
		t.Errorf("old, rotated: %+v", d)
	}
}

// awsPublishes: what an operator changes is in DNS when the command ends, and
// in stream mode it is left to the stream.
func awsPublishes(t *testing.T, moto string) {
	file := filepath.Join(t.TempDir(), "hosts.json")
	if err := os.WriteFile(file, []byte(`{"godwit_export":1,"hosts":[
		{"name":"nas.dyn.example.com","ttl":60,"a":["198.51.100.7"],"addresses":"any","credentials":[{"kind":"seed","secret":"shared_secret_1"}]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"direct", "stream"} {
		t.Run(mode, func(t *testing.T) {
			i := install(t, moto, "--mode", mode)
			want := func(direct string) {
				t.Helper()
				if mode == "stream" {
					direct = ""
				}
				set, _ := i.DNS.Set(i.zone, "nas.dyn.example.com", "A")
				if got := strings.TrimSpace(fmt.Sprint(set.TTL, " ", strings.Join(set.Values, " "))); got != direct && !(direct == "" && len(set.Values) == 0) {
					t.Errorf("Route 53 has %s, want %s", got, direct)
				}
			}
			must(t, "host", "import", file)
			want("60 198.51.100.7")
			must(t, "host", "set", "nas.dyn.example.com", "--ttl", "300")
			want("300 198.51.100.7")
			must(t, "host", "set", "nas.dyn.example.com", "--suspended")
			want("")
			must(t, "host", "set", "nas.dyn.example.com", "--suspended=off")
			want("300 198.51.100.7")
			must(t, "host", "remove", "nas.dyn.example.com", "--yes")
			want("")
			due := i.row("nas.dyn.example.com")["gw_due"] != nil
			if due != (mode == "stream") {
				t.Errorf("the removed host waits for being published: %t", due)
			}
			if changes := slices.ContainsFunc(i.DNS.Calls(), func(c awstest.Call) bool { return c.Action == awstest.ChangeSets }); changes != (mode == "direct") {
				t.Errorf("changes were sent: %t", changes)
			}
		})
	}
}

// awsTakesOver: rows of the reference implementation are there at once, in
// any spelling, with the addresses that DNS has, and can be worked with.
func awsTakesOver(t *testing.T, moto string) {
	i := install(t, moto, "--table", "ddns")
	for n, name := range []string{"nas.dyn.example.com", "cam.dyn.example.com.", "TV.dyn.example.com", "nas.dyn.example.com."} {
		i.put(name, fmt.Sprintf("shared_secret_%d", n))
	}
	i.DNS.Put(i.zone, awstest.RecordSet{Name: "cam.dyn.example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.7"}})
	i.DNS.Put(i.zone, awstest.RecordSet{Name: "tv.dyn.example.com.", Type: "AAAA", TTL: 60, Values: []string{"2001:db8::7"}})

	r := call("", "host", "list")
	for _, want := range []string{"cam.dyn.example.com  198.51.100.7  never", "nas.dyn.example.com  -             never", "tv.dyn.example.com   2001:db8::7   never"} {
		if r.code != exitDone || strings.Count(r.stdout, want) != 1 || strings.Count(r.stdout, "\n") != 4 {
			t.Fatalf("want %q once among three hosts in %+v", want, r)
		}
	}
	if want := "Warning: two items are for one host: remove one of them (host nas.dyn.example.com, used nas.dyn.example.com, unused nas.dyn.example.com.)\n"; r.stderr != want {
		t.Errorf("got  %swant %s", r.stderr, want)
	}
	// It was written after the deployment, so it has no alias yet.
	r = call("", "host", "show", "tv.dyn.example.com")
	if r.code != exitDone || !strings.Contains(r.stdout, "2001:db8::7") || r.stderr != "Found 1 host in another spelling; each has an alias now.\n" {
		t.Errorf("show: %+v", r)
	}
	if alias := i.row("#name#tv.dyn.example.com")["host"]["S"]; alias != "TV.dyn.example.com" {
		t.Errorf("the alias leads to %v", alias)
	}
	// Nobody gets a name that a row has in another spelling.
	i.put("Radio.dyn.example.com", "shared_secret_8")
	if r := call("", "host", "add", "radio.dyn.example.com"); r.code != exitFailed || !strings.Contains(r.stderr, "radio.dyn.example.com already") {
		t.Errorf("add: %+v", r)
	}
	i.put("Lamp.dyn.example.com", "shared_secret_9")
	if r := call(`{"lamp.dyn.example.com": {"route_53_record_ttl": 60, "shared_secret": "shared_secret_7"}}`, "host", "import", "-"); r.code != exitFailed || !strings.Contains(r.stderr, "skipped lamp.dyn.example.com: ") {
		t.Errorf("import: %+v", r)
	}

	// A change takes the host over as DNS has it, and both sides go on.
	must(t, "host", "set", "cam.dyn.example.com", "--ttl", "120")
	if set, _ := i.DNS.Set(i.zone, "cam.dyn.example.com", "A"); set.TTL != 120 || !slices.Equal(set.Values, []string{"198.51.100.7"}) {
		t.Errorf("Route 53 has %+v", set)
	}
	if d := i.data("cam.dyn.example.com."); d.TTL != 120 || d.Secret != "shared_secret_1" || d.Zone != i.zone {
		t.Errorf("the reference reads %+v", d)
	}
	out := must(t, "host", "rotate", "tv.dyn.example.com")
	token := regexp.MustCompile(`[a-z2-7]{8}-[a-z2-7]{26}`).FindString(out)
	if d := i.data("TV.dyn.example.com"); d.Secret != token || token == "" {
		t.Errorf("the reference reads %+v, and the token is %q", d, token)
	}
	must(t, "host", "remove", "tv.dyn.example.com", "--yes")
	if got := i.shows("tv.dyn.example.com", "AAAA"); got != "" {
		t.Errorf("Route 53 shows the removed host at %s", got)
	}
	// Without Route 53 the list is there all the same.
	heal := i.DNS.Inject(awstest.Rule{Action: awstest.ListSets, Times: -1, Fault: awstest.Denied()})
	r = call("", "host", "list")
	heal()
	if r.code != exitDone || !strings.Contains(r.stdout, "\nnas.dyn.example.com ") ||
		strings.Count(r.stderr, "is not known") != 1 || !strings.Contains(r.stderr, "compare them with the policy that godwit aws deploy prints") {
		t.Errorf("list: %+v", r)
	}
}

// awsKeepsRecords: a host that is added does not empty a name that DNS has already,
// be it the reference's or somebody's own. What is there is its present state.
func awsKeepsRecords(t *testing.T, moto string) {
	for _, mode := range []string{"direct", "stream"} {
		t.Run(mode, func(t *testing.T) {
			i := install(t, moto, "--mode", mode)
			i.DNS.Put(i.zone, awstest.RecordSet{Name: "nas.dyn.example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.7"}})
			i.DNS.Put(i.zone, awstest.RecordSet{Name: "cam.dyn.example.com.", Type: "AAAA", TTL: 300, Values: []string{"2001:db8::7"}})
			r := call(`{"nas.dyn.example.com": {"route_53_record_ttl": 60, "shared_secret": "shared_secret_1"}}`, "host", "import", "-")
			if r.code != exitDone {
				t.Fatalf("import: %+v", r)
			}
			if r := call("", "host", "add", "cam.dyn.example.com"); r.code != exitDone || !strings.Contains(r.stderr, "DNS has 2001:db8::7 for cam.dyn.example.com already") {
				t.Errorf("add: %+v", r)
			}
			want := func(ttl int64) {
				t.Helper()
				if got := i.shows("nas.dyn.example.com", "A"); got != "198.51.100.7" {
					t.Errorf("Route 53 shows nas at %q", got)
				}
				if set, _ := i.DNS.Set(i.zone, "cam.dyn.example.com", "AAAA"); set.TTL != ttl || !slices.Equal(set.Values, []string{"2001:db8::7"}) {
					t.Errorf("Route 53 has of cam %+v", set)
				}
			}
			want(300)
			if out := must(t, "host", "list"); !strings.Contains(out, "nas.dyn.example.com  198.51.100.7") || !strings.Contains(out, "cam.dyn.example.com  2001:db8::7") {
				t.Errorf("list: %s", out)
			}
			if mode == "direct" {
				must(t, "host", "set", "cam.dyn.example.com", "--ttl", "90") // publishes, as the function's repair would
				want(90)
			}
		})
	}
}

// awsOperatorPolicy: the commands need what the policy that deploy prints
// allows, and nothing in it is for nothing.
func awsOperatorPolicy(t *testing.T, moto string) {
	i := install(t, moto, "--table", "ddns")
	var out struct {
		Policy struct {
			Statement []struct {
				Action   any
				Resource any
			}
		} `json:"operator_policy"`
	}
	if err := json.Unmarshal([]byte(i.out), &out); err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, s := range out.Policy.Statement {
		for _, action := range s.Action.([]any) {
			allowed[action.(string)] = true
		}
	}
	dnsBefore, formationBefore := len(i.DNS.Calls()), len(i.Formation.Calls())
	i.put("TV.dyn.example.com", "shared_secret_1")
	i.DNS.Put(i.zone, awstest.RecordSet{Name: "tv.dyn.example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.7"}})
	must(t, "host", "add", "nas.dyn.example.com", "--follower", "lamp.dyn.example.com=::1")
	must(t, "host", "list")
	must(t, "host", "show", "tv.dyn.example.com")
	must(t, "host", "set", "tv.dyn.example.com", "--ttl", "90")
	must(t, "host", "set", "nas.dyn.example.com", "--follower", "off")
	must(t, "host", "history", "nas.dyn.example.com")
	must(t, "host", "rotate", "nas.dyn.example.com")
	var token api.Created
	if err := json.Unmarshal([]byte(must(t, "host", "token", "add", "nas.dyn.example.com", "--json")), &token); err != nil {
		t.Fatal(err)
	}
	must(t, "host", "token", "list", "nas.dyn.example.com")
	must(t, "host", "token", "rotate", "nas.dyn.example.com", token.Credential)
	must(t, "host", "export")
	must(t, "zone", "list")
	call("", "doctor", "nas.dyn.example.com", "--resolver", nobody)
	must(t, "host", "remove", "nas.dyn.example.com", "--yes")
	used := map[string]bool{}
	for action := range i.table.actions {
		used[action] = true
	}
	for _, c := range i.DNS.Calls()[dnsBefore:] {
		used["route53:"+c.Action] = true
	}
	for _, action := range i.Formation.Calls()[formationBefore:] {
		used["cloudformation:"+action] = true
	}
	for action := range used {
		if !allowed[action] {
			t.Errorf("the commands need %s, and the policy does not have it", action)
		}
	}
	for action := range allowed {
		if !used[action] {
			t.Errorf("the policy has %s, and no command needs it", action)
		}
	}
}
