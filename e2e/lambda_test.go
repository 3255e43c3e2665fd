//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"godwit/internal/awstest"
)

// TestLambda runs the function's own program as Lambda does, against moto's
// DynamoDB and our Route 53: events go in as the Function URL, the stream and
// the schedule send them, and what counts is the answer and what Route 53 has.
func TestLambda(t *testing.T) {
	moto := awstest.StartMoto(t)
	for _, story := range []struct {
		name string
		tell func(*testing.T, *cloud)
	}{
		{"seed", lambdaSeed},
		{"doors", lambdaDoors},
		{"calls", lambdaCalls},
		{"log", lambdaLog},
		{"stream", lambdaStream},
		{"schedule", lambdaSchedule},
		{"table in trouble", lambdaTable},
		{"Route 53 in trouble", lambdaRoute53},
		{"near the deadline", lambdaDeadline},
		{"two at once", lambdaTwo},
		{"paused", lambdaPaused},
		{"cannot start", lambdaCannotStart},
	} {
		t.Run(story.name, func(t *testing.T) {
			c := newCloud(t, moto, awstest.Route53Config{})
			c.makeTable()
			story.tell(t, c)
		})
	}
}

const (
	nas    = "nas." + zone
	nasKey = "a_secret_of_the_owner_of_nas"
)

// set is one update as the seed's client makes it.
func set(t testing.TB, f *awstest.Function, source, host, secret string) awstest.URLAnswer {
	t.Helper()
	return ask(t, f, awstest.URLRequest{Source: source, Body: seedSet(source, host, secret)})
}

// wantAnswer compares an answer.
func wantAnswer(t testing.TB, got awstest.URLAnswer, status int, body string) {
	t.Helper()
	if got.StatusCode != status || got.Body != body {
		t.Errorf("got  %d %s\nwant %d %s", got.StatusCode, got.Body, status, body)
	}
}

// wantShown compares what Route 53 has of nas.
func (c *cloud) wantShown(a, aaaa string) {
	c.t.Helper()
	if gotA, gotAAAA := c.shows(nas, "A"), c.shows(nas, "AAAA"); gotA != a || gotAAAA != aaaa {
		c.t.Errorf("Route 53 shows %q and %q, want %q and %q", gotA, gotAAAA, a, aaaa)
	}
}

// The seed's get and set, over IPv4 and IPv6, in whatever spelling the platform
// gives an address.
func lambdaSeed(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	f := c.function()
	const get = `{"execution_mode":"get"}`
	wantAnswer(t, ask(t, f, awstest.URLRequest{Source: home1, Body: get}), 200, done(home1))
	wantAnswer(t, ask(t, f, awstest.URLRequest{Source: home6, Body: get}), 200, done(home6))
	wantAnswer(t, set(t, f, home1, nas, nasKey), 201, hasBeenSet(nas, home1))
	c.wantShown(home1, "")
	wantAnswer(t, set(t, f, home6, nas, nasKey), 201, hasBeenSet(nas, home6))
	c.wantShown(home1, home6)
	wantAnswer(t, set(t, f, home1, nas, nasKey), 200, matches)

	const spelt = "2A00:1450:4001:082B:0000:0000:0000:200E" // home6
	wantAnswer(t, ask(t, f, awstest.URLRequest{Source: spelt, Body: get}), 200, done(home6))
	wantAnswer(t, set(t, f, spelt, nas, nasKey), 200, matches)
	wantAnswer(t, ask(t, f, awstest.URLRequest{Source: spelt, Body: seedSet(home6, nas, nasKey)}), 200, matches)
	wantAnswer(t, ask(t, f, awstest.URLRequest{Source: "::ffff:" + home2, Body: seedSet(home2, nas, nasKey)}), 201, hasBeenSet(nas, home2))
	c.wantShown(home2, home6)
	// No header moves a host.
	forged := map[string]string{"x-forwarded-for": home1, "forwarded": "for=" + home1, "x-real-ip": home1}
	wantAnswer(t, ask(t, f, awstest.URLRequest{Source: home2, Header: forged, Body: seedSet(home1, nas, nasKey)}), 401, badHash)
	wantAnswer(t, ask(t, f, awstest.URLRequest{Source: home2, Header: forged, Body: seedSet(home2, nas, nasKey)}), 200, matches)
	c.wantShown(home2, home6)
}

// The other public doors; no administration.
func lambdaDoors(t *testing.T, c *cloud) {
	f := c.function()
	for _, q := range []struct {
		in     awstest.URLRequest
		status int
		body   string // "": whatever
	}{
		{awstest.URLRequest{Method: "GET", Path: "/ip", Source: home6}, 200, home6 + "\n"},
		{awstest.URLRequest{Method: "GET", Path: "/healthz", Source: home1}, 200, "ok\n"},
		{awstest.URLRequest{Method: "HEAD", Path: "/healthz", Source: home1}, 200, ""},
		{awstest.URLRequest{Method: "GET", Source: home1}, 200, ""},
		{awstest.URLRequest{Method: "GET", Path: "/errors/method", Source: home1}, 200, ""},
		{awstest.URLRequest{Method: "DELETE", Source: home1}, 405, ""},
		{awstest.URLRequest{Method: "GET", Path: "/v1/admin/hosts", Source: "127.0.0.1"}, 404, ""},
		{awstest.URLRequest{Method: "GET", Path: "/../", Source: home1}, 404, ""},
		{awstest.URLRequest{Method: "GET", Path: "/ip", Source: "nowhere"}, 400, ""},
		{awstest.URLRequest{Source: home1, Body: strings.Repeat("x", 4<<20)}, 413, fail("The request body is too large.")},
		{awstest.URLRequest{Source: home1, Body: strings.Repeat("x", 4<<20), Encoded: true}, 413, fail("The request body is too large.")},
	} {
		a := ask(t, f, q.in)
		if a.StatusCode != q.status || q.body != "" && a.Body != q.body {
			t.Errorf("%s %s: got %d %s, want %d %s", q.in.Method, q.in.Path, a.StatusCode, a.Body, q.status, q.body)
		}
	}
	// What is no event of ours fails, and the function goes on.
	for _, event := range []string{`{}`, `[]`, `{"Records":[{"eventSource":"aws:s3"}]}`, `{"source":"aws.s3"}`} {
		if out, err := tell(f, []byte(event)); err == nil {
			t.Errorf("%s: got %s", event, out)
		}
	}
	wantAnswer(t, ask(t, f, awstest.URLRequest{Method: "GET", Path: "/ip", Source: home1}), 200, home1+"\n")
}

// What an update costs (docs/aws.md): nothing but one read where nothing
// changes, four calls in all where something does.
func lambdaCalls(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	f := c.function()
	wantAnswer(t, set(t, f, home1, nas, nasKey), 201, hasBeenSet(nas, home1)) // first contact
	wantAnswer(t, set(t, f, home1, nas, nasKey), 200, matches)                // and what it brings with it

	count := func() (table map[string]int, dns int) { return c.calls.take(), c.dns.Count() }
	_, before := count()
	for range 3 {
		wantAnswer(t, set(t, f, home1, nas, nasKey), 200, matches)
	}
	if table, after := count(); len(table) != 1 || table["GetItem"] != 3 || after != before {
		t.Errorf("3 unchanged updates: %v of the table, %d of Route 53", table, after-before)
	}
	_, before = count()
	wantAnswer(t, set(t, f, home2, nas, nasKey), 201, hasBeenSet(nas, home2))
	if table, after := count(); table["GetItem"] != 1 || table["UpdateItem"] != 2 || len(table) != 2 || after-before != 1 {
		t.Errorf("a changed update: %v of the table, %d of Route 53", table, after-before)
	}
	_, before = count()
	wantAnswer(t, set(t, f, home2, nas, "guess"), 401, badHash)
	if table, after := count(); table["UpdateItem"] != 0 || after != before {
		t.Errorf("a guess: %v of the table, %d of Route 53", table, after-before)
	}
	// A minute in which there is nothing to do.
	if _, err := tell(f, awstest.ScheduleEvent()); err != nil { // the day's inspection
		t.Fatal(err)
	}
	_, before = count()
	if _, err := tell(f, awstest.ScheduleEvent()); err != nil {
		t.Fatal(err)
	}
	if table, after := count(); table["UpdateItem"]+table["PutItem"] != 0 || after != before {
		t.Errorf("an idle minute: %v of the table, %d of Route 53", table, after-before)
	}
}

// One line for each change and refusal, none for what changes nothing, and no
// secret in any.
func lambdaLog(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	f := c.function()
	set(t, f, home1, nas, nasKey)
	for range 5 {
		set(t, f, home1, nas, nasKey)
	}
	set(t, f, home1, nas, "guess")
	set(t, f, "10.0.0.1", nas, nasKey)
	ask(t, f, awstest.URLRequest{Source: home1, Body: "{"})
	var outcomes []string
	for line := range strings.Lines(f.Log()) {
		var entry struct{ Level, Msg, Host, Door, Outcome string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("a line that is no JSON: %s", line)
		}
		if entry.Msg == "update" {
			outcomes = append(outcomes, entry.Outcome)
		}
	}
	if want := []string{"changed", "bad-proof", "address-not-allowed"}; !slices.Equal(outcomes, want) {
		t.Errorf("the log tells of %v, want %v:\n%s", outcomes, want, f.Log())
	}
	for _, secret := range []string{nasKey, awstest.SecretAccessKey, seedHash(home1, nas, nasKey)} {
		if strings.Contains(f.Log(), secret) {
			t.Errorf("the log has %q:\n%s", secret, f.Log())
		}
	}
}

// Stream mode: the request only stores; the stream publishes, record by record,
// and what DNS does not take comes again.
func lambdaStream(t *testing.T, c *cloud) {
	names := []string{nas, "b." + zone, "c." + zone}
	for _, n := range names {
		c.putSeedRow(n, nasKey+n)
	}
	f := c.function("GODWIT_MODE=stream")
	for i, n := range names {
		address := fmt.Sprintf("176.32.100.%d", 50+i)
		wantAnswer(t, set(t, f, address, n, nasKey+n), 201, hasBeenSet(n, address))
		wantAnswer(t, set(t, f, address, n, nasKey+n), 200, matches)
	}
	if n := c.dns.Count(awstest.ChangeSets); n != 0 {
		t.Errorf("%d changes of Route 53 before the stream", n)
	}
	heal := c.dns.Poison(names[1])
	failed := func(first int, keys ...string) []string {
		t.Helper()
		out, err := tell(f, awstest.StreamEvent(first, keys...))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Failures []struct {
				ID string `json:"itemIdentifier"`
			} `json:"batchItemFailures"`
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		ids := []string{}
		for _, r := range answer.Failures {
			ids = append(ids, r.ID)
		}
		return ids
	}
	if ids := failed(100, names[0], names[1], names[2], names[1], "gone."+zone); !slices.Equal(ids, []string{awstest.SequenceNumber(101), awstest.SequenceNumber(103)}) {
		t.Errorf("failed: %v", ids)
	}
	for i, n := range names {
		want := fmt.Sprintf("176.32.100.%d", 50+i)
		if i == 1 {
			want = ""
		}
		if got := c.shows(n, "A"); got != want {
			t.Errorf("%s shows %q, want %q", n, got, want)
		}
	}
	// The poisoned host moves on meanwhile; what is published is its state.
	wantAnswer(t, set(t, f, "176.32.100.60", names[1], nasKey+names[1]), 201, hasBeenSet(names[1], "176.32.100.60"))
	heal()
	if ids := failed(101, names[1], names[2], names[1]); len(ids) != 0 {
		t.Errorf("failed: %v", ids)
	}
	if got := c.shows(names[1], "A"); got != "176.32.100.60" {
		t.Errorf("it shows %q", got)
	}
	before := c.dns.Count()
	if ids := failed(101, names...); len(ids) != 0 || c.dns.Count() != before {
		t.Errorf("the same records again: %v failed, %d calls of Route 53", ids, c.dns.Count()-before)
	}
	// A batch of many hosts is a change or few of Route 53, not as many.
	var many []string
	for i := range 30 {
		n := fmt.Sprintf("h%d.%s", i, zone)
		c.putSeedRow(n, nasKey+n)
		many = append(many, n)
		if a := set(t, f, home1, n, nasKey+n); a.StatusCode != 201 {
			t.Fatalf("%s: %d %s", n, a.StatusCode, a.Body)
		}
	}
	before = c.dns.Count(awstest.ChangeSets)
	if ids := failed(200, many...); len(ids) != 0 {
		t.Errorf("failed: %v", ids)
	}
	if n := c.dns.Count(awstest.ChangeSets) - before; n > 3 {
		t.Errorf("%d changes of Route 53 for a batch of %d", n, len(many))
	}
	for _, n := range many {
		if got := c.shows(n, "A"); got != home1 {
			t.Errorf("%s shows %q", n, got)
		}
	}
}

// The schedule publishes what was left unpublished, and once a day puts right
// what another hand has changed in DNS.
func lambdaSchedule(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	f := c.function()
	wantAnswer(t, set(t, f, home1, nas, nasKey), 201, hasBeenSet(nas, home1))
	heal := c.dns.Poison(nas)
	wantAnswer(t, set(t, f, home2, nas, nasKey), 500, fail(notYet))
	c.wantShown(home1, "")
	heal()
	// Too young: whoever stored it may still be at it.
	c.tick(f)
	c.wantShown(home1, "")
	c.age(nas, time.Minute)
	c.tick(f)
	c.wantShown(home2, "")
	wantAnswer(t, set(t, f, home2, nas, nasKey), 200, matches)

	// The first tick was the day's inspection; the next one is due in a day.
	other := awstest.RecordSet{Name: nas, Type: "A", TTL: 5, Values: []string{"192.0.2.99"}}
	c.dns.Put(c.zone, other)
	c.tick(f)
	c.wantShown("192.0.2.99", "")
	c.forgetInspection()
	c.tick(c.function()) // another instance: the pass is in the table
	c.wantShown(home2, "")
	if got, _ := c.dns.Set(c.zone, nas, "A"); got.TTL != 60 {
		t.Errorf("the TTL is %d", got.TTL)
	}
}

// tick is the schedule's event.
func (c *cloud) tick(f *awstest.Function) {
	c.t.Helper()
	if out, err := tell(f, awstest.ScheduleEvent()); err != nil {
		c.t.Errorf("the schedule: %s %v", out, err)
	}
}

// A table in trouble: nothing is done before a change is stored, and what may
// have been stored is not lost.
func lambdaTable(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	f := c.function()
	wantAnswer(t, set(t, f, home1, nas, nasKey), 201, hasBeenSet(nas, home1))

	for name, fault := range map[string]tableFault{"throttled": throttled, "down": down} {
		c.calls.set(func(string, int) tableFault { return fault })
		for range 2 {
			a := set(t, f, home2, nas, nasKey)
			wantAnswer(t, a, 503, later)
			if a.Headers["retry-after"] == "" {
				t.Errorf("%s: no Retry-After", name)
			}
		}
		c.calls.set(func(operation string, _ int) tableFault {
			if operation == "UpdateItem" {
				return fault
			}
			return fine
		})
		wantAnswer(t, set(t, f, home2, nas, nasKey), 503, later)
		c.wantShown(home1, "")
	}
	// A little trouble is not even seen.
	c.calls.set(func(_ string, n int) tableFault {
		if n == 1 {
			return throttled
		}
		return fine
	})
	wantAnswer(t, set(t, f, home2, nas, nasKey), 201, hasBeenSet(nas, home2))
	c.wantShown(home2, "")

	// The change is stored and nobody heard it. It is either found to be stored,
	// or the client tries again; DNS has it in the end.
	c.calls.set(func(operation string, n int) tableFault {
		if operation == "UpdateItem" && n == 1 {
			return lost
		}
		return fine
	})
	if a := set(t, f, home1, nas, nasKey); a.StatusCode != 201 && a.StatusCode != 503 {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
	c.calls.set(nil)
	c.age(nas, time.Minute)
	if a := set(t, f, home1, nas, nasKey); a.StatusCode/100 != 2 {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
	c.tick(f)
	c.wantShown(home1, "")

	// It is published, and the note of that is not.
	c.calls.set(func(operation string, n int) tableFault {
		if operation == "UpdateItem" && n > 1 {
			return down
		}
		return fine
	})
	if a := set(t, f, home2, nas, nasKey); a.StatusCode != 500 && a.StatusCode != 201 {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
	c.calls.set(nil)
	c.wantShown(home2, "")
	c.age(nas, time.Minute)
	c.tick(f)
	c.wantShown(home2, "")
	wantAnswer(t, set(t, f, home2, nas, nasKey), 200, matches)
}

// Route 53 in trouble, before and after a change took effect: the change is
// stored, the answer says whether DNS has it, and DNS ends at the newest state.
func lambdaRoute53(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	f := c.function()
	wantAnswer(t, set(t, f, home1, nas, nasKey), 201, hasBeenSet(nas, home1))
	addresses := []string{home2, home1}
	for i, fault := range []struct {
		name string
		awstest.Fault
	}{
		{"500", awstest.ServerError()},
		{"500 after", awstest.ServerError().AfterCommit()},
		{"cut", awstest.Cut()},
		{"cut after", awstest.Cut().AfterCommit()},
		{"throttled", awstest.Throttled()},
		{"busy", awstest.Busy()},
		{"not XML after", awstest.Malformed().AfterCommit()},
	} {
		// Once is got over.
		to := addresses[i%2]
		c.dns.Inject(awstest.Rule{Action: awstest.ChangeSets, Fault: fault.Fault})
		if a := set(t, f, to, nas, nasKey); a.StatusCode != 201 {
			t.Errorf("%s: got %d %s", fault.name, a.StatusCode, a.Body)
		}
		c.wantShown(to, "")
	}
	// The limit of changes does not forget: another host for what goes on.
	c.putSeedRow("b."+zone, nasKey)
	for i, fault := range []awstest.Fault{awstest.ServerError(), awstest.Throttled(), awstest.Cut(), awstest.Denied()} {
		to := addresses[i%2]
		remove := c.dns.Inject(awstest.Rule{Times: -1, Fault: fault})
		began := time.Now()
		a := set(t, f, to, "b."+zone, nasKey)
		if i == 0 {
			// Never seen before: without Route 53 it is not known what it has.
			wantAnswer(t, a, 503, later)
		} else {
			wantAnswer(t, a, 500, fail(notYet))
		}
		if took := time.Since(began); took > 30*time.Second { // it ends itself after 8 s, Lambda after a minute
			t.Errorf("it took %s", took)
		}
		remove()
		if i == 0 {
			wantAnswer(t, set(t, f, to, "b."+zone, nasKey), 201, hasBeenSet("b."+zone, to))
		}
		c.age("b."+zone, time.Minute)
		c.tick(f)
		if got := c.shows("b."+zone, "A"); got != to {
			t.Errorf("after the repair it shows %q, want %q", got, to)
		}
	}
	// No name was ever empty in between.
	for _, n := range []string{nas, "b." + zone} {
		if slices.Contains(c.dns.History(n, "A"), nil) {
			t.Errorf("%s was empty for a while", n)
		}
	}
}

// Near the deadline there is an answer all the same, and the change is kept.
func lambdaDeadline(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	f := c.function()
	wantAnswer(t, set(t, f, home1, nas, nasKey), 201, hasBeenSet(nas, home1))
	f.Timeout = 2 * time.Second
	release := make(chan struct{})
	c.dns.Inject(awstest.Rule{Action: awstest.ChangeSets, Fault: awstest.Fault{Wait: release}})
	began := time.Now()
	wantAnswer(t, set(t, f, home2, nas, nasKey), 500, fail(notYet))
	if took := time.Since(began); took > 3*time.Second { // what the publisher waits for a call, where there is time
		t.Errorf("the answer came after %s, the deadline was 2 s away", took)
	}
	c.wantShown(home1, "")
	// The held change takes effect long after the function has forgotten it.
	close(release)
	eventually(t, "the change that was held back", func() bool { return c.shows(nas, "A") == home2 })
	f.Timeout = time.Minute
	c.age(nas, time.Minute)
	c.tick(f)
	c.wantShown(home2, "")
	wantAnswer(t, set(t, f, home2, nas, nasKey), 200, matches)
}

// Two functions at once on one host: DNS ends at the newest acknowledged state.
func lambdaTwo(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	functions := []*awstest.Function{c.function("GODWIT_CHANGES_PER_HOUR=0"), c.function("GODWIT_CHANGES_PER_HOUR=0")}
	set(t, functions[0], home1, nas, nasKey)
	var wg sync.WaitGroup
	for i, f := range functions {
		wg.Go(func() {
			for n := range 15 {
				source := netip.AddrFrom4([4]byte{176, 32, byte(101 + i), byte(1 + n)}).String()
				a, err := tell(f, awstest.URLRequest{Source: source, Body: seedSet(source, nas, nasKey)}.Event())
				if err != nil {
					t.Error(err)
					return
				}
				// Where the other keeps winning there may be no room: that is said.
				if u, err := awstest.ParseURLAnswer(a); err != nil || u.StatusCode != 201 && u.StatusCode != 503 && u.StatusCode != 500 {
					t.Errorf("got %s, %v", a, err)
				}
			}
		})
	}
	wg.Wait()
	c.age(nas, time.Minute)
	c.tick(functions[0])
	if stored := c.stored(nas); c.shows(nas, "A") != stored {
		t.Errorf("Route 53 shows %s, and the table has %s", c.shows(nas, "A"), stored)
	}
	if slices.Contains(c.dns.History(nas, "A"), nil) {
		t.Error("the name was empty for a while")
	}
}

// A function that is paused between reading and publishing, and one whose
// publication is held up on its way, wake late with an older state: it never
// replaces the newer one.
func lambdaPaused(t *testing.T, c *cloud) {
	c.putSeedRow(nas, nasKey)
	slow, quick := c.function(), c.function()
	wantAnswer(t, set(t, slow, home1, nas, nasKey), 201, hasBeenSet(nas, home1))

	release := make(chan struct{})
	c.dns.Inject(awstest.Rule{Action: awstest.ChangeSets, Fault: awstest.Fault{Wait: release}})
	answer := make(chan awstest.URLAnswer, 1)
	changes := c.dns.Count(awstest.ChangeSets)
	go func() {
		a, err := tell(slow, awstest.URLRequest{Source: home2, Body: seedSet(home2, nas, nasKey)}.Event())
		if err != nil {
			t.Error(err)
		}
		u, _ := awstest.ParseURLAnswer(a) // Error'd above
		answer <- u
	}()
	eventually(t, "the slow one's change is stored", func() bool { return c.stored(nas) == home2 })
	// Frozen with its request on the way, which arrives only later.
	if err := syscall.Kill(slow.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, set(t, quick, "176.32.100.38", nas, nasKey), 201, hasBeenSet(nas, "176.32.100.38"))
	c.wantShown("176.32.100.38", "")
	close(release)
	eventually(t, "the held change arrives", func() bool { return c.dns.Count(awstest.ChangeSets) >= changes+2 })
	c.wantShown("176.32.100.38", "")
	if !slices.ContainsFunc(c.dns.Calls(), func(call awstest.Call) bool { return call.Code == "InvalidChangeBatch" }) {
		t.Error("the held change was not refused")
	}
	if err := syscall.Kill(slow.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if a := <-answer; a.StatusCode != 201 && a.StatusCode != 500 {
		t.Errorf("the slow one: %d %s", a.StatusCode, a.Body)
	}
	c.wantShown("176.32.100.38", "")
	if c.stored(nas) != "176.32.100.38" {
		t.Errorf("the table has %s", c.stored(nas))
	}
	// Once the newest state was shown, nothing older came back.
	seen := false
	for _, s := range c.dns.History(nas, "A") {
		newest := s != nil && slices.Equal(s.Values, []string{"176.32.100.38"})
		if seen && !newest {
			t.Errorf("after the newest state Route 53 showed %+v", s)
		}
		seen = seen || newest
	}
}

// A function that cannot start says why in its log, and ends.
func lambdaCannotStart(t *testing.T, c *cloud) {
	f := c.function("GODWIT_ZONES=")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.Ready(ctx); err == nil || !strings.Contains(err.Error(), "GODWIT_ZONES: it names no zone") || strings.Contains(err.Error(), awstest.SecretAccessKey) {
		t.Errorf("got %v", err)
	}
}
