package awstest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
)

// clock is a time that only the test moves.
type clock struct {
	mu sync.Mutex // guards at
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newClock() *clock { return &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

// granted is how many of n requests are not throttled.
func granted(t *testing.T, n int, do func() string) int {
	t.Helper()
	ok := 0
	for range n {
		switch code := do(); code {
		case "":
			ok++
		case "Throttling":
		default:
			t.Fatal(code)
		}
	}
	return ok
}

func TestRoute53Throttling(t *testing.T) {
	c := newClock()
	a := open(t, awstest.Route53Config{Rates: awstest.Rates2026(), Now: c.now})
	list := func() string {
		_, _, code := a.call("GET", "hostedzone/"+a.zone+"/rrset?maxitems=1", "")
		return code
	}
	if n := granted(t, 60, list); n != 50 {
		t.Errorf("%d requests at once, want 50", n)
	}
	c.pass(time.Second)
	if n := granted(t, 60, list); n != 10 {
		t.Errorf("%d requests after a second, want 10", n)
	}
	c.pass(time.Hour)
	n := 0
	upsert := func() string {
		n++
		code, _ := a.change(set("UPSERT", fmt.Sprintf("h%d.example.org", n), "A 60 192.0.2.1"))
		return code
	}
	// Single changes meet the bucket of requests first, batches that of changes.
	if n := granted(t, 60, upsert); n != 50 {
		t.Errorf("%d single upserts at once, want 50", n)
	}
	c.pass(time.Hour)
	hundred := func() string {
		var changes []string
		for i := range 100 {
			changes = append(changes, set("UPSERT", fmt.Sprintf("h%d.example.org", i), "A 60 192.0.2.1"))
		}
		code, _ := a.change(changes...)
		return code
	}
	if n := granted(t, 10, hundred); n != 7 { // 1,500 tokens of 200
		t.Errorf("%d batches of 100 upserts at once, want 7", n)
	}
	c.pass(2 * time.Second) // 200 tokens, and 100 are left
	if n := granted(t, 10, hundred); n != 1 {
		t.Errorf("%d batches of 100 upserts after 2 s, want 1", n)
	}
}

func TestRoute53ThrottlingLegacy(t *testing.T) {
	c := newClock()
	a := open(t, awstest.Route53Config{Rates: awstest.RatesLegacy(), Now: c.now})
	for range 3 {
		n := granted(t, 10, func() string {
			_, _, code := a.call("GET", "hostedzone/"+a.zone+"/rrset", "")
			return code
		})
		if n != 5 {
			t.Errorf("%d requests a second, want 5", n)
		}
		c.pass(time.Second)
	}
}

// TestRoute53OwnBucket: an action with a smaller bucket does not use up that of others.
func TestRoute53OwnBucket(t *testing.T) {
	c := newClock()
	a := open(t, awstest.Route53Config{Rates: awstest.Rates2026(), Now: c.now})
	n := 0
	create := func() string {
		n++
		_, _, code := a.call("POST", "hostedzone", fmt.Sprintf(`<CreateHostedZoneRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Name>z%d.example.org</Name><CallerReference>%d</CallerReference></CreateHostedZoneRequest>`, n, n))
		return code
	}
	if n := granted(t, 50, create); n != 40 {
		t.Errorf("%d zones at once, want 40", n)
	}
	if n := granted(t, 20, func() string { _, _, code := a.call("GET", "hostedzonesbyname", ""); return code }); n != 10 {
		t.Errorf("%d others, want 10", n)
	}
}

func TestRoute53Hold(t *testing.T) {
	c := newClock()
	a := open(t, awstest.Route53Config{Hold: time.Second, Pending: time.Minute, Now: c.now})
	a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1"))
	if code, _ := a.change(set("CREATE", "b.example.org", "A 60 192.0.2.1")); code != "PriorRequestNotComplete" {
		t.Error(code)
	}
	other := *a
	other.zone = a.AddZone("example.net")
	other.must(set("CREATE", "a.example.net", "A 60 192.0.2.1"))
	c.pass(time.Second)
	_, body := a.change(set("CREATE", "b.example.org", "A 60 192.0.2.1"))
	_, id, _ := strings.Cut(body, "<Id>/change/")
	id, _, _ = strings.Cut(id, "<")
	for _, want := range []string{"PENDING", "INSYNC"} {
		if _, body, _ := a.call("GET", "change/"+id, ""); !strings.Contains(body, "<Status>"+want+"</Status>") {
			t.Errorf("not %s: %s", want, body)
		}
		c.pass(time.Minute)
	}
}

func TestRoute53MaxSets(t *testing.T) {
	a := open(t, awstest.Route53Config{MaxSets: 3})
	a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1"))
	if code, _ := a.change(set("CREATE", "b.example.org", "A 60 192.0.2.1")); code != "InvalidChangeBatch" {
		t.Error(code)
	}
	a.must(set("DELETE", "a.example.org", "A 60 192.0.2.1"), set("CREATE", "b.example.org", "A 60 192.0.2.1"))
}

// BenchmarkRoute53Batch is a batch of 500 hosts whose address changes, in a zone
// of 10,000.
func BenchmarkRoute53Batch(b *testing.B) {
	r := awstest.NewRoute53(awstest.Route53Config{Forget: true, MaxSets: -1})
	a := &account{b, client(b, awscall.Config{Transport: r}), r, r.AddZone("example.org")}
	for i := range 10000 {
		a.Put(a.zone, awstest.RecordSet{Name: fmt.Sprintf("h%d.example.org", i), Type: "A", TTL: 60, Values: []string{"192.0.2.1"}})
	}
	address := func(n int) string { return fmt.Sprintf("A 60 192.0.2.%d", 1+n%2) }
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		var changes []string
		for i := range 500 {
			name := fmt.Sprintf("h%d.example.org.", i*20)
			changes = append(changes, set("DELETE", name, address(n)), set("CREATE", name, address(n+1)))
		}
		body := batch(changes...)
		b.StartTimer()
		if _, text, code := a.call("POST", "hostedzone/"+a.zone+"/rrset", body); code != "" {
			b.Fatal(text)
		}
	}
}
