package ddns_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
)

// inspected is a world whose DNS can be asked, and changed by others.
func inspected(t testing.TB, edit ...func(*ddns.Config)) (*world, *publishtest.Inspected) {
	d := new(publishtest.Inspected)
	return newWorld(t, append(edit, func(c *ddns.Config) { c.Publisher = d })...), d
}

// one is the zone of most test hosts.
var one = []dnsname.Name{named("dyn.example.org")}

func address(owner string, ttl uint32, addrs ...string) ddns.RRset {
	set := ddns.RRset{Owner: named(owner), Type: ddns.TypeA, TTL: ttl}
	for _, a := range addrs {
		addr := netip.MustParseAddr(a)
		set.Addrs = append(set.Addrs, addr)
		if addr.Is6() {
			set.Type = ddns.TypeAAAA
		}
	}
	return set
}

func shows(d *publishtest.Inspected, owner string, t ddns.Type) string {
	set, _ := d.Shows(named(owner), t)
	return fmt.Sprint(set.TTL, set.Addrs)
}

// planted is a host of the seed's: nothing is known of it but its secret.
func (w *world) planted(t testing.TB, name string) ddns.Update {
	t.Helper()
	c, token := ddns.NewToken(named(name), w.clock())
	w.store.Plant(&ddns.Host{Name: named(name), Zone: named("dyn.example.org"), TTL: 60, Addresses: ddns.AnyAddress, Credentials: []string{c.ID}}, c)
	return ddns.Update{Host: named(name), Door: "seed", Proof: ddns.TokenProof{Token: token}, Source: ddns.SourceOf(netip.MustParseAddr(home))}
}

// TestFirstContact: what DNS has of a host that others made is its state.
func TestFirstContact(t *testing.T) {
	const nas = "nas.dyn.example.org"
	for name, c := range map[string]struct {
		dns       []ddns.RRset
		changed   bool
		published uint64
		a, aaaa   string // in DNS afterwards
	}{
		"nothing there":           {nil, true, 1, "60 [" + home + "]", "0 []"},
		"matches":                 {[]ddns.RRset{address(nas, 60, home)}, false, 1, "60 [" + home + "]", "0 []"},
		"matches, with AAAA":      {[]ddns.RRset{address(nas, 60, home), address(nas, 60, "2001:db8::1")}, false, 1, "60 [" + home + "]", "60 [2001:db8::1]"},
		"matches, with other TTL": {[]ddns.RRset{address(nas, 300, home)}, false, 1, "60 [" + home + "]", "0 []"},
		"another address":         {[]ddns.RRset{address(nas, 60, "198.51.100.99"), address(nas, 60, "2001:db8::1")}, true, 1, "60 [" + home + "]", "60 [2001:db8::1]"},
		"two addresses":           {[]ddns.RRset{address(nas, 60, home, "198.51.100.99")}, true, 1, "60 [" + home + "]", "0 []"},
	} {
		t.Run(name, func(t *testing.T) {
			w, d := inspected(t)
			d.Change(c.dns...)
			u := w.planted(t, nas)
			out := w.must(t, u)
			h := w.host(t, nas)
			if out.Changed != c.changed || out.Unconfirmed != nil || h.Generation != 1 || h.Published != c.published {
				t.Errorf("%+v; generation %d, published %d", out, h.Generation, h.Published)
			}
			if a, aaaa := shows(d, nas, ddns.TypeA), shows(d, nas, ddns.TypeAAAA); a != c.a || aaaa != c.aaaa {
				t.Errorf("DNS shows %s and %s, want %s and %s", a, aaaa, c.a, c.aaaa)
			}
			looks, writes := d.Looks(), w.store.Writes()
			if looks != 1 {
				t.Errorf("DNS was asked %d times", looks)
			}
			if err := w.Inspect(t.Context(), one); err != nil {
				t.Fatal(err)
			}
			if again := w.must(t, u); again.Changed || d.Looks() != looks || w.store.Writes() != writes {
				t.Errorf("the second time: %+v, %d looks, %d writes", again, d.Looks()-looks, w.store.Writes()-writes)
			}
		})
	}
}

// TestFirstContactRefused: strangers bring about no call of DNS, and one that
// does not answer is no empty one.
func TestFirstContactRefused(t *testing.T) {
	const nas = "nas.dyn.example.org"
	w, d := inspected(t)
	d.Change(address(nas, 60, "198.51.100.99"))
	u := w.planted(t, nas)
	wrong := u
	wrong.Proof = ddns.TokenProof{Token: ddns.NewSecret("nonsense")}
	_, err := w.Update(t.Context(), wrong)
	if wantCode(t, err, ddns.BadProof); d.Looks() != 0 {
		t.Error("a stranger made us ask DNS")
	}
	away := true
	d.Away = func() error {
		if away {
			return errors.New("throttled")
		}
		return nil
	}
	_, err = w.Update(t.Context(), u)
	wantCode(t, err, ddns.Unavailable)
	_, err = w.Set(t.Context(), named(nas), ddns.Settings{TTL: new(uint32(300))})
	wantCode(t, err, ddns.Unavailable)
	if w.store.Writes() != 0 || shows(d, nas, ddns.TypeA) != "60 [198.51.100.99]" {
		t.Error("something was done without knowing the state")
	}
	// An operator's first change keeps what DNS has.
	away = false
	if _, err := w.Set(t.Context(), named(nas), ddns.Settings{TTL: new(uint32(300))}); err != nil {
		t.Fatal(err)
	}
	if got := shows(d, nas, ddns.TypeA); got != "300 [198.51.100.99]" {
		t.Errorf("DNS shows %s", got)
	}
}

// TestDeferred: what is stored is published by whoever follows the store.
func TestDeferred(t *testing.T) {
	w, d := inspected(t, func(c *ddns.Config) { c.Deferred, c.Grace = true, 10*time.Minute })
	made := w.add(t, "nas.dyn.example.org")
	other := w.add(t, "other.dyn.example.org")
	for _, m := range []ddns.Created{made, other} {
		if out := w.must(t, by(m, home)); !out.Changed || out.Unconfirmed != nil {
			t.Errorf("%+v", out)
		}
	}
	if out := w.must(t, by(made, home)); out.Changed || out.Unconfirmed != nil || d.Calls() != 0 {
		t.Errorf("again: %+v, %d calls", out, d.Calls())
	}
	if err := w.Repair(t.Context()); err != nil || d.Calls() != 0 {
		t.Errorf("Repair took away the follower's work: %v, %d calls", err, d.Calls())
	}
	d.Fail(publishtest.Refuse, other.Host.Name)
	errs := w.PublishHosts(t.Context(), []dnsname.Name{other.Host.Name, named("gone.dyn.example.org"), made.Host.Name})
	if errs[0] == nil || errs[1] != nil || errs[2] != nil || d.Calls() != 1 {
		t.Errorf("%v after %d calls", errs, d.Calls())
	}
	if got := shows(d, "nas.dyn.example.org", ddns.TypeA); got != "60 ["+home+"]" {
		t.Errorf("DNS shows %s", got)
	}
	if errs := w.PublishHosts(t.Context(), []dnsname.Name{made.Host.Name}); errs[0] != nil || d.Calls() != 1 {
		t.Errorf("what is published was published again: %v", errs)
	}
	// What the follower gave up on is repaired, and by nobody else.
	w.pass(10 * time.Minute)
	if errs := w.PublishHosts(t.Context(), []dnsname.Name{other.Host.Name}); errs[0] != nil || d.Calls() != 1 {
		t.Errorf("the follower took away Repair's work: %v, %d calls", errs, d.Calls())
	}
	if out := w.must(t, by(other, home)); out.Changed || out.Unconfirmed != nil || d.Calls() != 1 {
		t.Errorf("a request took away Repair's work: %+v, %d calls", out, d.Calls())
	}
	if err := w.Repair(t.Context()); err != nil || shows(d, "other.dyn.example.org", ddns.TypeA) != "60 ["+home+"]" {
		t.Errorf("not repaired: %v", err)
	}
	// One whose store cannot be read says so.
	w.store.Fail = func(string) error { return errors.New("away") }
	if errs := w.PublishHosts(t.Context(), []dnsname.Name{made.Host.Name}); errs[0] == nil {
		t.Error("nobody heard that the store is away")
	}
}

// TestGrace: a clock that was set back hinders no repair for long.
func TestGrace(t *testing.T) {
	w, d := inspected(t, func(c *ddns.Config) { c.Grace = 30 * time.Second })
	made := w.add(t, "nas.dyn.example.org")
	d.Fail(publishtest.Refuse, made.Host.Name)
	w.must(t, by(made, home))
	w.pass(-time.Hour)
	if err := w.Repair(t.Context()); err != nil || w.host(t, "nas.dyn.example.org").Published != 2 {
		t.Errorf("not repaired: %v", err)
	}
}

// TestDoubt: where DNS may show something else, an unchanged update asks.
func TestDoubt(t *testing.T) {
	const nas = "nas.dyn.example.org"
	w, d := inspected(t)
	made := w.add(t, nas)
	w.must(t, by(made, home))
	inspect := func() {
		t.Helper()
		if err := w.Inspect(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	inspect()
	unchanged := func(looks int, confirmed bool) {
		t.Helper()
		before := d.Looks()
		if out := w.must(t, by(made, home)); out.Changed || (out.Unconfirmed == nil) != confirmed || d.Looks()-before != looks {
			t.Errorf("%+v after %d looks, want %d", out, d.Looks()-before, looks)
		}
	}
	unchanged(0, true)
	w.pass(47 * time.Hour)
	unchanged(0, true)
	w.pass(time.Hour)
	d.Change(address(nas, 60, "198.51.100.99"))
	unchanged(1, true)
	if got := shows(d, nas, ddns.TypeA); got != "60 ["+home+"]" {
		t.Errorf("not put right: DNS shows %s", got)
	}
	unchanged(0, true) // not again so soon
	w.pass(time.Hour)
	unchanged(1, true)
	d.Away = func() error { return errors.New("throttled") }
	w.pass(time.Hour)
	unchanged(0, false)
	d.Away = nil
	inspect()
	w.pass(time.Hour)
	unchanged(0, true)
	// What was not published is published on the way, once it is somebody's to do.
	d.Fail(publishtest.Refuse, made.Host.Name)
	w.must(t, by(made, "198.51.100.8"))
	publishes := d.Calls()
	if out := w.must(t, by(made, "198.51.100.8")); out.Unconfirmed == nil || d.Calls() != publishes {
		t.Errorf("%+v", out)
	}
	w.pass(time.Minute)
	if out := w.must(t, by(made, "198.51.100.8")); out.Unconfirmed != nil || d.Calls() != publishes+1 {
		t.Errorf("%+v after %d calls", out, d.Calls()-publishes)
	}
}

// TestInspect: once a day what others changed is put right, of our hosts alone.
func TestInspect(t *testing.T) {
	w, d := inspected(t)
	var list []ddns.ExportedHost
	for i := range 40 {
		list = append(list, ddns.ExportedHost{Name: named(fmt.Sprintf("h%d.dyn.example.org", i)), Addresses: ddns.AnyAddress, A: []netip.Addr{netip.MustParseAddr(home)}})
	}
	list = append(list, ddns.ExportedHost{Name: named("far.example.net"), Addresses: ddns.AnyAddress, A: []netip.Addr{netip.MustParseAddr(home)}})
	if got, err := w.ImportHosts(t.Context(), list); err != nil || got.Added != len(list) {
		t.Fatalf("%+v, %v", got, err)
	}
	w.planted(t, "seed.dyn.example.org")
	damage := func() {
		d.Change(
			address("h1.dyn.example.org", 60, "198.51.100.99"),
			address("h2.dyn.example.org", 300, home),
			ddns.RRset{Owner: named("h3.dyn.example.org"), Type: ddns.TypeA},
			address("h4.dyn.example.org", 60, "2001:db8::99"),
			address("far.example.net", 60, "198.51.100.99"),
			address("www.dyn.example.org", 60, "198.51.100.99"),  // no host of ours
			address("seed.dyn.example.org", 60, "198.51.100.99"), // not ours yet
			ddns.RRset{Owner: named("_acme-challenge.h5.dyn.example.org"), Type: ddns.TypeTXT, TTL: 60, Texts: []string{"somebody else's"}},
		)
	}
	zones := []dnsname.Name{named("dyn.example.org"), named("example.net")}
	right := func(when string) {
		t.Helper()
		for owner, want := range map[string]string{
			"h0.dyn.example.org": "60 [" + home + "]", "h1.dyn.example.org": "60 [" + home + "]", "h2.dyn.example.org": "60 [" + home + "]",
			"h3.dyn.example.org": "60 [" + home + "]", "far.example.net": "60 [" + home + "]",
			"www.dyn.example.org": "60 [198.51.100.99]", "seed.dyn.example.org": "60 [198.51.100.99]",
		} {
			if got := shows(d, owner, ddns.TypeA); got != want {
				t.Errorf("%s: DNS shows %s at %s, want %s", when, got, owner, want)
			}
		}
		if got := shows(d, "h4.dyn.example.org", ddns.TypeAAAA); got != "0 []" {
			t.Errorf("%s: DNS shows %s", when, got)
		}
		if _, ok := d.Shows(named("_acme-challenge.h5.dyn.example.org"), ddns.TypeTXT); !ok {
			t.Errorf("%s: somebody else's challenge is gone", when)
		}
	}
	damage()
	calls := d.Calls()
	if err := w.Inspect(t.Context(), zones); err != nil {
		t.Fatal(err)
	}
	if right("the first time"); d.Calls() != calls+2 {
		t.Errorf("%d publishes, want one for each zone", d.Calls()-calls)
	}
	// Not again before a day has passed.
	damage()
	w.pass(23 * time.Hour)
	if err := w.Inspect(t.Context(), zones); err != nil || shows(d, "h1.dyn.example.org", ddns.TypeA) != "60 [198.51.100.99]" {
		t.Errorf("too soon: %v", err)
	}
	w.pass(time.Hour)
	// What fails on the way goes on at the next call.
	failing := true
	w.store.Fail = func(method string) error {
		if failing && method == "Hosts" {
			return errors.New("throttled")
		}
		return nil
	}
	if err := w.Inspect(t.Context(), zones); err == nil {
		t.Error("a store that is away is no error")
	}
	failing = false
	w.pass(time.Minute)
	if err := w.Inspect(t.Context(), zones); err != nil {
		t.Fatal(err)
	}
	right("after it was interrupted")
	d.Away = func() error { return errors.New("throttled") }
	w.pass(24 * time.Hour)
	if err := w.Inspect(t.Context(), zones); err == nil {
		t.Error("DNS that is away is no error")
	}
	// Without anybody to ask there is nothing to do.
	if err := newWorld(t).Inspect(t.Context(), zones); err != nil {
		t.Error(err)
	}
}

// TestMendedLate: what DNS had no room for when the pass found it does not wait
// for a day; what it does not take does.
func TestMendedLate(t *testing.T) {
	for _, c := range []struct {
		err   error
		after time.Duration // the next pass
	}{{errors.New("throttled"), time.Hour}, {ddns.ErrNotTaken, 24 * time.Hour}} {
		w, d := inspected(t)
		made := w.add(t, "nas.dyn.example.org")
		w.must(t, by(made, home))
		d.Change(address("nas.dyn.example.org", 60, "198.51.100.99"))
		w.Service.Publisher = unable{d, c.err}
		if err := w.Inspect(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		w.Service.Publisher = d
		looks := d.Looks()
		for passed := time.Duration(0); passed < c.after; passed += time.Minute {
			if err := w.Inspect(t.Context(), one); err != nil || shows(d, "nas.dyn.example.org", ddns.TypeA) != "60 [198.51.100.99]" {
				t.Fatalf("%v: a pass after %s already: %v", c.err, passed, err)
			}
			w.pass(time.Minute)
		}
		if err := w.Inspect(t.Context(), one); err != nil || shows(d, "nas.dyn.example.org", ddns.TypeA) != "60 ["+home+"]" {
			t.Errorf("%v: after %s DNS shows %s, %v", c.err, c.after, shows(d, "nas.dyn.example.org", ddns.TypeA), err)
		}
		// The pass was a complete one all the same: requests need not ask.
		if w.must(t, by(made, home)); d.Looks() != looks {
			t.Errorf("%v: a request asked DNS", c.err)
		}
	}
}

// unable is DNS that can be asked and publishes nothing.
type unable struct {
	*publishtest.Inspected
	err error
}

func (u unable) Publish(_ context.Context, hosts []*ddns.Host) []ddns.Published {
	out := make([]ddns.Published, len(hosts))
	for i := range out {
		out[i].Err = u.err
	}
	return out
}

// keeper is a store that remembers the pass.
type keeper struct {
	*publishtest.Store
	now  ddns.Pass
	past []ddns.Pass
	err  error
}

func (k *keeper) Pass(context.Context) (ddns.Pass, error)      { return k.now, k.err }
func (k *keeper) Inspected(context.Context) (time.Time, error) { return k.now.Completed, k.err }
func (k *keeper) SetPass(_ context.Context, p ddns.Pass) error {
	k.now, k.past = p, append(k.past, p)
	return k.err
}

// TestInspectGoesOn where another process stopped.
func TestInspectGoesOn(t *testing.T) {
	k := &keeper{Store: new(publishtest.Store)}
	w, d := inspected(t, func(c *ddns.Config) { c.Store = k })
	zones := []dnsname.Name{named("dyn.example.org"), named("example.net")}
	began := w.clock().Add(-time.Hour)
	made := w.add(t, "a.dyn.example.org")
	w.must(t, by(made, home))
	far := w.add(t, "b.example.net")
	w.must(t, by(far, home))
	damage := func() {
		d.Change(address("a.dyn.example.org", 60, "198.51.100.99"), address("b.example.net", 60, "198.51.100.99"))
	}
	for name, c := range map[string]struct {
		cursor string
		a, b   bool // put right
	}{
		"from the beginning":        {"", true, true},
		"at the first zone":         {"dyn.example.org ", true, true},
		"past the first host":       {"dyn.example.org " + named("a.dyn.example.org").Wire(), false, true},
		"at the second zone":        {"example.net ", false, true},
		"at a zone that is no more": {"gone.example x", true, true},
	} {
		damage()
		k.now, k.past = ddns.Pass{Cursor: c.cursor, Began: began}, nil
		if c.cursor == "" {
			k.now.Began = began.Add(-24 * time.Hour)
		}
		if err := w.Inspect(t.Context(), zones); err != nil {
			t.Fatal(err)
		}
		if k.now.Cursor != "" || !k.now.Completed.Equal(w.clock()) || c.cursor != "" && !k.now.Began.Equal(began) {
			t.Errorf("%s: the pass ends as %+v", name, k.now)
		}
		right := "60 [" + home + "]"
		if a, b := shows(d, "a.dyn.example.org", ddns.TypeA) == right, shows(d, "b.example.net", ddns.TypeA) == right; a != c.a || b != c.b {
			t.Errorf("%s: put right %t and %t, want %t and %t", name, a, b, c.a, c.b)
		}
	}
	k.err = errors.New("away")
	k.now.Began = time.Time{}
	if w.Inspect(t.Context(), zones) == nil {
		t.Error("a store that is away is no error")
	}
	looks := d.Looks()
	if out := w.must(t, by(made, home)); out.Changed || d.Looks() != looks+1 {
		t.Errorf("in doubt about the pass itself: %+v after %d looks", out, d.Looks()-looks)
	}
}

// TestUntaken: a state that DNS does not take is tried again with growing pauses,
// a newer one at once, and no other host waits for it.
func TestUntaken(t *testing.T) {
	var log strings.Builder
	w := newWorld(t, func(c *ddns.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	var tried []string
	poisoned := true
	w.Service.Publisher = publisher(func(ctx context.Context, hosts []*ddns.Host) []ddns.Published {
		out := w.dns.Publish(ctx, hosts)
		for i, h := range hosts {
			tried = append(tried, h.Name.String())
			if poisoned && h.Name == named("bad.dyn.example.org") {
				out[i] = ddns.Published{Err: fmt.Errorf("publish %s: %w", h.Name, ddns.ErrNotTaken)}
			}
		}
		return out
	})
	bad, good := w.add(t, "bad.dyn.example.org"), w.add(t, "good.dyn.example.org")
	w.must(t, by(bad, home))
	minutes := []int{}
	for minute := range 300 {
		if minute%7 == 0 {
			w.must(t, by(good, fmt.Sprintf("198.51.100.%d", minute%250+1)))
		}
		tried = nil
		log.Reset()
		if err := w.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(tried) > 0 {
			minutes = append(minutes, minute)
		}
		// The stack's alarm counts these.
		if n := strings.Count(log.String(), "DNS is not known to show"); n != 1 || !strings.Contains(log.String(), "host=bad.dyn.example.org") {
			t.Errorf("minute %d is logged %d times: %s", minute, n, log.String())
		}
		w.pass(time.Minute)
	}
	if got, want := fmt.Sprint(minutes), "[0 1 3 7 15 31 63 123 183 243]"; got != want {
		t.Errorf("tried in minutes %s, want %s", got, want)
	}
	if h := w.host(t, "good.dyn.example.org"); h.Published != h.Generation {
		t.Errorf("the other host is published at %d of %d", h.Published, h.Generation)
	}
	// A newer state is another one.
	tried = nil
	w.must(t, by(bad, "198.51.100.9"))
	if err := w.Repair(t.Context()); err != nil || len(tried) != 2 {
		t.Errorf("a newer state: tried %s, %v", tried, err)
	}
	poisoned = false
	w.pass(2 * time.Minute)
	if err := w.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h := w.host(t, "bad.dyn.example.org"); h.Published != h.Generation {
		t.Errorf("published at %d of %d", h.Published, h.Generation)
	}
}

// TestNewHostKeeps: a name that DNS has already is not emptied because its host
// is new, be it added or imported.
func TestNewHostKeeps(t *testing.T) {
	const nas = "nas.dyn.example.org"
	many := make([]string, ddns.MaxAddresses+1)
	for i := range many {
		many[i] = fmt.Sprintf("198.51.100.%d", i+1)
	}
	add := func(w *world) error {
		_, err := w.Add(t.Context(), named(nas), open(), ddns.Secret{})
		return err
	}
	load := func(addrs ...netip.Addr) func(w *world) error {
		return func(w *world) error {
			out, err := w.ImportHosts(t.Context(), []ddns.ExportedHost{
				{Name: named(nas), Addresses: ddns.AnyAddress, A: addrs}, {Name: named("other.dyn.example.org"), Addresses: ddns.AnyAddress},
			})
			if err == nil && out.Added != 2 {
				err = fmt.Errorf("%+v", out)
			}
			return err
		}
	}
	for name, c := range map[string]struct {
		dns   []ddns.RRset
		away  bool
		how   func(*world) error
		shown string // "": refused, and nothing is added
		left  int    // hosts that Repair has to publish
	}{
		"added":               {dns: []ddns.RRset{address(nas, 60, home)}, how: add, shown: "60 [" + home + "]"},
		"added, another TTL":  {dns: []ddns.RRset{address(nas, 300, home)}, how: add, shown: "60 [" + home + "]", left: 1},
		"added, nothing":      {how: add, shown: "0 []"},
		"added, DNS away":     {away: true, how: add},
		"added, too many":     {dns: []ddns.RRset{address(nas, 60, many...)}, how: add},
		"imported":            {dns: []ddns.RRset{address(nas, 60, home)}, how: load(), shown: "60 [" + home + "]"},
		"imported with state": {dns: []ddns.RRset{address(nas, 60, home)}, how: load(netip.MustParseAddr("198.51.100.9")), shown: "60 [198.51.100.9]"},
		"imported, DNS away":  {away: true, how: load()},
	} {
		t.Run(name, func(t *testing.T) {
			w, d := inspected(t)
			d.Change(c.dns...)
			if c.away {
				d.Away = func() error { return errors.New("throttled") }
			}
			err := c.how(w)
			_, _, hostErr := w.store.Host(t.Context(), named(nas))
			if c.shown == "" {
				if err == nil || !errors.Is(hostErr, ddns.ErrNoHost) {
					t.Errorf("not refused: %v, %v", err, hostErr)
				}
				return
			}
			if err != nil || hostErr != nil {
				t.Fatal(err, hostErr)
			}
			if unpublished, _, err := w.store.Unpublished(t.Context(), "", 10); err != nil || len(unpublished) != c.left {
				t.Errorf("%d unpublished, %v", len(unpublished), err)
			}
			if err := w.Repair(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := shows(d, nas, ddns.TypeA); got != c.shown {
				t.Errorf("DNS shows %s, want %s", got, c.shown)
			}
		})
	}
}
