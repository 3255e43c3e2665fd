//go:build linux

package e2e

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"godwit/internal/awstest"
)

var referenceFile = flag.String("reference", "", "the reference implementation's index.py: record what it answers, in testdata/reference/answers.json; PYTHON is the interpreter that has boto3 (default python3)")

const answersFile = "testdata/reference/answers.json"

// recording is what the reference answered.
type recording struct {
	Headers map[string]string   `json:"headers"` // of every answer
	Answers map[string]answered `json:"answers"` // by case
}

type answered struct {
	// Crashed is the type of the exception that left its handler: the Function URL
	// then says 502.
	Crashed string `json:"crashed,omitempty"`
	Status  int    `json:"status,omitempty"`
	Body    string `json:"body,omitempty"`
}

// referenceCase is one request, in the order in which both get them.
type referenceCase struct {
	name   string
	before func(*cloud) func() // what happens before, and its end; nil: nothing
	in     awstest.URLRequest
	// Where ours must differ: its status and body, and the place in
	// docs/protocols.md, or trust.md's number, that says so. All zero: it must not.
	status int
	body   string
	why    string
	// elsewhere: not the seed's door answers, so only the status is told here.
	elsewhere bool
}

const (
	bare      = "host1.dyn.example.com"
	knownHost = bare + "."
	knownKey  = "shared_secret_1_of_the_reference"
	home1     = "176.32.100.36" // a public address: others are refused by default
	home2     = "176.32.100.37"
	home6     = "2a00:1450:4001:82b::200e"
)

// seedSet is the body of the seed's set.
func seedSet(source, host, secret string) string {
	return seedBody(host, seedHash(source, host, secret))
}

// fail is the body of a refusal, done of a success.
func fail(text string) string { return `{"return_status": "fail", "return_message": "` + text + `"}` }
func done(text string) string {
	return `{"return_status": "success", "return_message": "` + text + `"}`
}

const (
	malformed  = "The request body must be a JSON object with the documented members."
	noHash     = "You must pass a valid sha256 hash in the hash= argument."
	badMode    = "You must pass mode=get or mode=set arguments."
	notAllowed = "The address is outside this host's address policy (--addresses)."
	notYet     = "The change is stored; DNS has not confirmed it yet."
)

func referenceCases() []referenceCase {
	const (
		text     = "section 2.4: the blog's text is the contract"
		bodies   = "section 2.4 (2): bad bodies get 400, not a crash"
		unknown  = "section 2.4 (1): an unknown host is answered as a wrong hash"
		postOnly = "section 7: the seed's door is POST"
	)
	const get = `{"execution_mode":"get"}`
	from := func(source, body string) awstest.URLRequest { return awstest.URLRequest{Source: source, Body: body} }
	upper := strings.ToUpper(seedHash(home2, knownHost, knownKey))
	return []referenceCase{
		{name: "get", in: from(home1, get)},
		{name: "get over IPv6", in: from(home6, get)},
		{name: "get with a member that nobody knows", in: from(home1, `{"x": [1, {"y": null}], "execution_mode": "get"}`)},
		{name: "get at another path", in: awstest.URLRequest{Path: "/prod/ddns", Source: home1, Body: get}},
		{name: "get in base64", in: awstest.URLRequest{Source: home1, Body: get, Encoded: true},
			status: 200, body: done(home1), why: "section 2.1: the platform's base64 flag is honoured"},

		{name: "set, nothing in DNS", in: from(home1, seedSet(home1, knownHost, knownKey)),
			status: 201, body: hasBeenSet(bare, home1), why: text},
		{name: "set, already right", in: from(home1, seedSet(home1, knownHost, knownKey))},
		{name: "set, moved", in: from(home2, seedSet(home2, knownHost, knownKey)), status: 201, body: hasBeenSet(bare, home2), why: text},
		{name: "set, already right again", in: from(home2, seedSet(home2, knownHost, knownKey))},
		{name: "set, already right by another hand", in: from(home1, seedSet(home1, "host2.dyn.example.com.", knownKey+"2")),
			before: func(c *cloud) func() {
				c.dns.Put(c.zone, awstest.RecordSet{Name: "host2.dyn.example.com.", Type: "A", TTL: 60, Values: []string{home1}})
				return nil
			}},
		{name: "set with the members in another order and spaces", in: from(home2,
			" {\n\"validation_hash\" : \""+seedHash(home2, knownHost, knownKey)+"\", \"ddns_hostname\" : \""+knownHost+"\", \"execution_mode\" : \"set\" } ")},

		{name: "wrong hash", in: from(home1, seedSet(home1, knownHost, "guess"))},
		{name: "hash of another address", in: from(home1, seedSet(home2, knownHost, knownKey))},
		{name: "hash too short", in: from(home1, seedBody(knownHost, seedHash(home1, knownHost, knownKey)[:63]))},
		{name: "hash not hexadecimal", in: from(home1, seedBody(knownHost, strings.Repeat("g", 64)))},
		{name: "hash empty", in: from(home1, seedBody(knownHost, ""))},
		{name: "hash with something after it", in: from(home2, seedBody(knownHost, seedHash(home2, knownHost, knownKey)+"0")),
			status: 400, body: fail(noHash), why: "section 2.2: exactly 64 hex digits (S6)"},
		{name: "hash in capitals", in: from(home2, seedBody(knownHost, upper)),
			status: 200, body: matches, why: "section 2.4 (5): upper-case hex is accepted"},

		{name: "unknown host", in: from(home1, seedSet(home1, "nobody.dyn.example.com.", "x")), status: 401, body: badHash, why: unknown},
		{name: "unknown host, not ASCII", in: from(home1, seedSet(home1, "né.dyn.example.com.", "x")), status: 401, body: badHash, why: unknown},
		{name: "unknown host, no name at all", in: from(home1, seedSet(home1, "..", "x")), status: 401, body: badHash, why: unknown},
		{name: "unknown host, bad hash", in: from(home1, seedBody("nobody.dyn.example.com.", "x")),
			status: 400, body: fail(noHash), why: "section 2.4 (4): shape is checked before any lookup"},
		{name: "host without its final dot", in: from(home2, seedSet(home2, bare, knownKey)),
			status: 200, body: matches, why: "section 2.2: the row is found by canonical name (S7)"},
		{name: "host in capitals", in: from(home2, seedSet(home2, "HOST1.Dyn.Example.Com.", knownKey)),
			status: 200, body: matches, why: "section 2.2: the row is found by canonical name (S7)"},

		{name: "unknown mode", in: from(home1, `{"execution_mode":"delete"}`), status: 400, body: fail(badMode), why: "section 2.4 (3): an unknown mode gets its 400"},
		{name: "unknown mode with all members", in: from(home2, strings.Replace(seedSet(home2, knownHost, knownKey), `"set"`, `"SET"`, 1)),
			status: 400, body: fail(badMode), why: "section 2.4 (3): an unknown mode gets its 400, and does not fall through to set"},
		{name: "mode missing", in: from(home1, `{}`), status: 400, body: fail(badMode), why: "section 2.3: other or missing mode"},
		{name: "mode not a text", in: from(home1, `{"execution_mode":null}`), status: 400, body: fail(malformed), why: bodies},
		{name: "host missing", in: from(home1, `{"execution_mode":"set","validation_hash":"x"}`), status: 400, body: fail(malformed), why: bodies},
		{name: "hash missing", in: from(home1, `{"execution_mode":"set","ddns_hostname":"x"}`), status: 400, body: fail(malformed), why: bodies},
		{name: "hash not a text", in: from(home1, `{"execution_mode":"set","ddns_hostname":"`+knownHost+`","validation_hash":7}`), status: 400, body: fail(malformed), why: bodies},
		{name: "no body", in: from(home1, ""), status: 400, body: fail(malformed), why: bodies},
		{name: "half a body", in: from(home1, "{"), status: 400, body: fail(malformed), why: bodies},
		{name: "body not an object", in: from(home1, "[]"), status: 400, body: fail(malformed), why: bodies},
		{name: "something after the object", in: from(home1, get+"x"), status: 400, body: fail(malformed), why: bodies},
		{name: "member twice", in: from(home1, `{"execution_mode":"set","execution_mode":"get"}`),
			status: 400, body: fail(malformed), why: "section 2.1: a repeated member is malformed"},
		{name: "body too large", in: from(home1, `{"execution_mode":"get","x":"`+strings.Repeat("x", 5000)+`"}`),
			status: 413, body: fail("The request body is too large."), why: "section 1.3: bodies have 4 KiB at most"},

		{name: "set over IPv6", in: from(home6, seedSet(home6, knownHost, knownKey)),
			status: 201, body: hasBeenSet(bare, home6), why: "section 2.4 (6): an IPv6 caller sets AAAA"},
		{name: "set from an address that is not public", in: from("10.1.2.3", seedSet("10.1.2.3", knownHost, knownKey)),
			status: 403, body: fail(notAllowed), why: "section 1.1: special-purpose addresses are not public"},
		{name: "wildcard host", in: from(home1, seedSet(home1, "*.wild.dyn.example.com.", knownKey+"3")),
			status: 201, body: hasBeenSet("*.wild.dyn.example.com", home1), why: text},
		{name: "wildcard host, already right", in: from(home1, seedSet(home1, "*.wild.dyn.example.com.", knownKey+"3")),
			status: 200, body: matches, why: `S14: Route 53 lists "*" as "\052"`},
		{name: "row that is not JSON", in: from(home1, seedSet(home1, "broken.dyn.example.com.", "x")),
			before: func(c *cloud) func() { c.putRow("broken.dyn.example.com.", `{"shared_secret": "a"b"}`); return nil },
			status: 401, body: badHash, why: "S4: a stranger is not to learn that it is there; the log says it"},
		{name: "row with a quote in its secret", in: from(home1, seedSet(home1, "quote.dyn.example.com.", `a"secret"of_the_reference`)),
			before: func(c *cloud) func() { c.putSeedRow("quote.dyn.example.com.", `a"secret"of_the_reference`); return nil },
			status: 201, body: hasBeenSet("quote.dyn.example.com", home1), why: "S10: reading tolerates what newrecord.py joins"},

		{name: "DNS refuses", in: from(home2, seedSet(home2, "host2.dyn.example.com.", knownKey+"2")),
			before: func(c *cloud) func() { return c.dns.Poison("host2.dyn.example.com.") },
			status: 500, body: fail(notYet), why: "section 2.4 (7): AWS's error texts are not passed on"},
		{name: "the table is away", in: from(home1, seedSet(home1, knownHost, knownKey)),
			before: func(c *cloud) func() {
				c.calls.set(func(string, int) tableFault { return throttled })
				return func() { c.calls.set(nil) }
			},
			status: 503, body: later, why: "section 2.3: store failed"},
		{name: "GET", in: awstest.URLRequest{Method: "GET", Path: "/nothing", Source: home1, Body: get}, status: 404, why: postOnly, elsewhere: true},
		{name: "OPTIONS", in: awstest.URLRequest{Method: "OPTIONS", Source: home1}, status: 204, why: "section 2.3: OPTIONS is answered"},
	}
}

// seedRows are the rows that the cases need, as the reference makes them.
func seedRows(c *cloud) {
	c.makeSeedTable()
	c.putSeedRow(knownHost, knownKey)
	c.putSeedRow("host2.dyn.example.com.", knownKey+"2")
	c.putSeedRow("*.wild.dyn.example.com.", knownKey+"3")
}

// TestLambdaReference sends the function the requests that the reference
// implementation's own function was sent, on a table as that has it. Status and
// body are equal where docs/protocols.md has nothing against it, and as it says
// where it has. With -reference FILE what the reference answers is recorded:
//
//	go test ./e2e -run LambdaReference -reference .../lambda/index.py
func TestLambdaReference(t *testing.T) {
	moto := awstest.StartMoto(t)
	if *referenceFile != "" {
		record(t, moto)
	}
	data, err := os.ReadFile(answersFile)
	if err != nil {
		t.Fatal(err)
	}
	var recorded recording
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	cases := referenceCases()
	if len(recorded.Answers) != len(cases) {
		t.Errorf("%d answers are recorded, and there are %d cases: record them again", len(recorded.Answers), len(cases))
	}

	c := newCloud(t, moto, awstest.Route53Config{})
	seedRows(c)
	c.adopt()
	f := c.function()
	for _, rc := range cases {
		t.Run(rc.name, func(t *testing.T) {
			ref, ok := recorded.Answers[rc.name]
			if !ok {
				t.Fatal("what the reference answers is not recorded")
			}
			got := rc.send(t, c, f)
			wantStatus, wantBody := ref.Status, ref.Body
			if rc.why != "" {
				wantStatus, wantBody = rc.status, rc.body
				if ref.Crashed == "" && ref.Status == wantStatus && ref.Body == wantBody {
					t.Errorf("ours need not differ here: %s", rc.why)
				}
			}
			if rc.elsewhere {
				if got.StatusCode != wantStatus {
					t.Errorf("got %d, want %d", got.StatusCode, wantStatus)
				}
				return
			}
			if got.StatusCode != wantStatus || got.Body != wantBody {
				t.Errorf("got  %d %s\nwant %d %s\nthe reference: %+v", got.StatusCode, got.Body, wantStatus, wantBody, ref)
			}
			for name, value := range recorded.Headers {
				if got.Headers[name] != value {
					t.Errorf("header %s is %q, the reference has %q", name, got.Headers[name], value)
				}
			}
		})
	}
	// The rows are still the reference's: its function reads what it wrote.
	for host, secret := range map[string]string{knownHost: knownKey, "host2.dyn.example.com.": knownKey + "2", "*.wild.dyn.example.com.": knownKey + "3"} {
		data, _ := c.row(host)["data"].(obj)["S"].(string)
		var row struct {
			Zone   string `json:"route_53_zone_id"`
			TTL    int    `json:"route_53_record_ttl"`
			Secret string `json:"shared_secret"`
		}
		if err := json.Unmarshal([]byte(data), &row); err != nil || row.Zone != c.zone || row.TTL != 60 || row.Secret != secret {
			t.Errorf("the row of %s holds %s: %v", host, data, err)
		}
	}
}

// send makes the request of a case.
func (rc *referenceCase) send(t *testing.T, c *cloud, f *awstest.Function) awstest.URLAnswer {
	t.Helper()
	if rc.before != nil {
		if after := rc.before(c); after != nil {
			defer after()
		}
	}
	return ask(t, f, rc.in)
}

// record runs the reference's function behind the Runtime API, sends it all
// cases, and writes down what it answers.
func record(t *testing.T, moto string) {
	c := newCloud(t, moto, awstest.Route53Config{})
	seedRows(c)
	python := os.Getenv("PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import boto3").CombinedOutput(); err != nil {
		t.Fatalf("%s has no boto3: %s", python, out)
	}
	driver, err := filepath.Abs("../bench/src/pyref/drive.py")
	if err != nil {
		t.Fatal(err)
	}
	index, err := filepath.Abs(*referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), c.env("ddns_config_table="+c.table, "AWS_DEFAULT_REGION=us-east-1", "AWS_MAX_ATTEMPTS=1")...)
	f := c.start(env, python, driver, index)
	made := recording{Answers: map[string]answered{}}
	for _, rc := range referenceCases() {
		var after func()
		if rc.before != nil {
			after = rc.before(c)
		}
		data, err := tell(f, rc.in.Event())
		if after != nil {
			after()
		}
		if err != nil {
			var crash struct {
				Type string `json:"errorType"`
			}
			if json.Unmarshal([]byte(err.Error()), &crash) != nil || crash.Type == "" {
				t.Fatal(err)
			}
			made.Answers[rc.name] = answered{Crashed: crash.Type}
			continue
		}
		a, err := awstest.ParseURLAnswer(data)
		if err != nil {
			t.Fatal(err)
		}
		// The table's and the zone's names are of this run only.
		body := strings.NewReplacer(c.table, "TABLE", c.zone, "ZONE").Replace(a.Body)
		headers := map[string]string{}
		for name, value := range a.Headers {
			headers[strings.ToLower(name)] = value
		}
		if made.Headers != nil && !maps.Equal(headers, made.Headers) {
			t.Fatalf("%s: headers %v, before %v", rc.name, headers, made.Headers)
		}
		made.Headers = headers
		made.Answers[rc.name] = answered{Status: a.StatusCode, Body: body}
	}
	out, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(answersFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(answersFile, append(out, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("recorded %d answers in %s", len(made.Answers), answersFile)
}
