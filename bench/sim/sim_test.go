// Package sim is an AWS account in virtual time: clients whose addresses change,
// the function, a table with its stream, the schedule, and Route 53 with its
// buckets. The core, the publisher and the function's handling of batches are
// the ones that run on AWS; Route 53 is the stand-in of internal/awstest, and the
// table is one in memory that has no limits.
//
// `go test` plays small scenarios; bench/sim.sh plays all of them and prints a
// table. What a run comes to differs a little from the next one's: pauses between
// attempts are random, and what happens at the same moment has no order.
package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/awstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scenario is what happens to an account.
type scenario struct {
	stream bool // direct mode otherwise
	legacy bool // Route 53's limits of before 2026-07-30
	zones  int
	hosts  int
	raised bool // the quota of record sets in a zone was raised
	// rate is how many hosts change a second, for as long as it lasts; 0: all of
	// them do, once, within that time.
	rate  float64
	lasts time.Duration
	// What is demanded.
	quiet  bool          // no client hears that DNS does not show its change
	within time.Duration // from the first change until DNS is right; 0: whatever it takes
}

// most is how many hosts of one address a zone may have.
const most = 10000 - 2 // NS and SOA are record sets too

// small are played by every go test.
var small = []scenario{
	{stream: true, zones: 1, hosts: 2000, rate: 20, lasts: 2 * time.Minute, quiet: true},
	{stream: true, zones: 2, hosts: 4000, lasts: 30 * time.Second},
	{stream: true, legacy: true, zones: 1, hosts: 1000, rate: 50, lasts: 20 * time.Second},
	{zones: 1, hosts: 1000, rate: 3, lasts: time.Minute},
	{zones: 1, hosts: 300, lasts: 10 * time.Second},
}

// whole are bench/sim.sh's.
var whole = []scenario{
	{zones: 1, hosts: most, rate: 1, lasts: 5 * time.Minute},
	{zones: 1, hosts: most, rate: 10, lasts: 5 * time.Minute},
	{zones: 1, hosts: most, rate: 50, lasts: 2 * time.Minute},
	{zones: 1, hosts: most, rate: 500, lasts: time.Minute},
	{stream: true, zones: 1, hosts: most, rate: 1, lasts: 5 * time.Minute, quiet: true},
	{stream: true, zones: 1, hosts: most, rate: 10, lasts: 5 * time.Minute, quiet: true},
	{stream: true, zones: 1, hosts: most, rate: 40, lasts: 10 * time.Minute, quiet: true},
	{stream: true, zones: 1, hosts: most, rate: 50, lasts: 10 * time.Minute, quiet: true},
	{stream: true, zones: 1, hosts: most, rate: 500, lasts: time.Minute, quiet: true},
	{zones: 1, hosts: most, lasts: time.Minute},
	{stream: true, zones: 1, hosts: most, lasts: time.Minute, quiet: true},
	{stream: true, zones: 11, hosts: 100000, lasts: time.Minute, quiet: true, within: allowed(100000) * 11 / 10},
	{stream: true, zones: 1, hosts: 100000, raised: true, lasts: time.Minute, quiet: true, within: allowed(100000) * 11 / 10},
	{legacy: true, zones: 1, hosts: most, rate: 1, lasts: 5 * time.Minute},
	{legacy: true, zones: 1, hosts: most, rate: 10, lasts: 5 * time.Minute},
	{legacy: true, stream: true, zones: 1, hosts: most, rate: 50, lasts: 10 * time.Minute},
	{legacy: true, stream: true, zones: 11, hosts: 100000, lasts: time.Minute},
}

// allowed is how long the change bucket takes to let each of so many hosts change
// one value, if it is full at first.
func allowed(hosts int) time.Duration {
	b := awstest.Rates2026().Changes
	return time.Duration((2*float64(hosts) - b.Capacity) / b.Refill * float64(time.Second))
}

// TestSimulation plays scenarios: nothing may be lost in any of them, and DNS may
// never go back to an older address. With GODWIT_SIM=FILE it plays them all and
// writes a table into that file.
func TestSimulation(t *testing.T) {
	scenarios, file := small, os.Getenv("GODWIT_SIM")
	if file != "" {
		scenarios = whole
	}
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(w, "%v\t", c)
		}
		fmt.Fprintln(w)
	}
	row("mode", "limits", "load", "changes", "calls", "throttled", "told", "away", "p50", "p99", "slowest", "right after", "lost")
	for _, s := range scenarios {
		mode, limits, load := s.title()
		t.Run(strings.ReplaceAll(mode+" "+limits+" "+load, "/", " a "), func(t *testing.T) {
			r := simulate(t, s)
			row(mode, limits, load, r.changes, r.calls, r.throttled, r.told, r.away, short(r.quantile(0.5)), short(r.quantile(0.99)), short(r.quantile(1)), short(r.last.Sub(r.began)), r.lost)
			t.Logf("%+v", r.counts)
			r.judge(t, s)
		})
	}
	if file == "" {
		return
	}
	_ = w.Flush() // to memory
	if err := os.WriteFile(file, table.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *scenario) title() (mode, limits, load string) {
	mode, limits = "direct", "2026"
	if s.stream {
		mode = "stream"
	}
	if s.legacy {
		limits = "legacy"
	}
	load = fmt.Sprintf("all of %d", s.hosts)
	if s.rate > 0 {
		load = fmt.Sprintf("%g/s for %d s", s.rate, int(s.lasts.Seconds()))
	}
	return mode, limits, fmt.Sprintf("%s, zones: %d", load, s.zones)
}

// short writes a time as people say it.
func short(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// counts are what has happened, in numbers.
type counts struct {
	changes     int // sent by clients
	calls       int // of Route 53
	lists       int // of these, listings
	throttled   int // of these, over a bucket
	busy        int // of these, PriorRequestNotComplete
	refused     int // of these, for another reason: DNS showed something else than was believed
	redelivered int // batches of the stream
	instances   int // of the function at once
	told        int // answers that DNS does not show it yet, which is a 500 at the seed's door
	errors      int // answers that it was not stored either
	away        int // requests for which there was no instance
	backwards   int // times that DNS went back to an older address
	lost        int // hosts that are not as they should be in the end
}

// report is what has happened.
type report struct {
	counts
	began, last time.Time       // the first change, and when the last one was shown
	took        []time.Duration // for each change, from a client's first request until DNS shows it or a newer one
	example     error           // of what is lost, or of an error
}

// quantile of how long changes took; 1: the slowest.
func (r *report) quantile(q float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	slices.Sort(r.took)
	return r.took[int(q*float64(len(r.took)-1))]
}

// judge holds a report to what is demanded.
func (r *report) judge(t *testing.T, s scenario) {
	t.Helper()
	if r.lost > 0 || r.errors > 0 {
		t.Errorf("%d hosts are lost, %d clients heard an error: %v", r.lost, r.errors, r.example)
	}
	if r.backwards > 0 {
		t.Errorf("DNS went back to an older address %d times", r.backwards)
	}
	if r.changes == 0 || len(r.took) != r.changes {
		t.Errorf("%d changes were sent and %d shown", r.changes, len(r.took))
	}
	if s.quiet && r.told+r.away > 0 {
		t.Errorf("%d clients heard that DNS does not show their change yet, %d heard nothing", r.told, r.away)
	}
	if took := r.last.Sub(r.began); s.within > 0 && took > s.within {
		t.Errorf("DNS was right after %s; %s were allowed", took, s.within)
	}
}

// simulate plays a scenario.
func simulate(t *testing.T, s scenario) (r report) {
	synctest.Test(t, func(t *testing.T) {
		a, err := newAccount(s)
		if err != nil {
			t.Fatal(err)
		}
		r = a.run(rand.New(rand.NewPCG(53, 2026)))
	})
	return r
}
