package ddns_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
)

func TestAdd(t *testing.T) {
	for _, tt := range []struct {
		name string
		want ddns.Code
	}{
		{"nas.dyn.example.org", ""},
		{"dyn.example.org", ""}, // the apex
		{"*.dyn.example.org", ""},
		{"a.b.c.example.net", ""},
		{"nas.example.com", ddns.Malformed},          // no zone of ours
		{"baddyn.example.org", ddns.Malformed},       // not below the apex
		{"ns1.dyn.example.org", ddns.Malformed},      // reserved
		{"static.dyn.example.org", ddns.Malformed},   // a static record
		{"_dmarc.dyn.example.org", ddns.Malformed},   // not a host's name
		{"a.*.dyn.example.org", ddns.Malformed},      // an inner star
		{`a\.b.dyn.example.org`, ddns.Malformed},     // a dot in a label
		{"taken.dyn.example.org", ddns.Exists},       // a host
		{"follower.dyn.example.org", ddns.Exists},    // a follower
		{"*.taken.dyn.example.org", ddns.Exists},     // another's wildcard
		{"x.taken.dyn.example.org", ""},              // below a wildcard
		{"_acme-challenge.example.net", "malformed"}, // reserved
	} {
		w := newWorld(t)
		w.add(t, "taken.dyn.example.org", func(s *ddns.Settings) {
			s.Wildcard = new(true)
			s.Followers = &[]ddns.Follower{{Name: named("follower.dyn.example.org"), Low: netip.MustParseAddr("::1"), AAAA: true}}
		})
		made, err := w.Add(t.Context(), named(tt.name), ddns.Settings{}, ddns.Secret{})
		if code(err) != tt.want {
			t.Errorf("%s: %q (%v), want %q", tt.name, code(err), err, tt.want)
		}
		if err == nil && (made.Host.TTL != ddns.DefaultTTL || made.Host.Addresses.String() != "public" || made.Host.Free || made.Host.Generation != 1) {
			t.Errorf("%s: %+v", tt.name, made.Host)
		}
	}
}

func TestAddRefusesSettings(t *testing.T) {
	w := newWorld(t)
	for name, s := range map[string]ddns.Settings{
		"TTL": {TTL: new(uint32(0))},
		"follower in a zone below": {Followers: &[]ddns.Follower{
			{Name: named("x.sub.dyn.example.org"), Low: netip.MustParseAddr("::1")}}},
		"follower that is no host": {Followers: &[]ddns.Follower{
			{Name: named("_x.dyn.example.org"), Low: netip.MustParseAddr("::1")}}},
	} {
		_, err := w.Add(t.Context(), named("nas.dyn.example.org"), s, ddns.Secret{})
		if code(err) != ddns.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{"x.sub.dyn.example.org": "in zone sub.dyn.example.org", "x.example.com": "in none of this server's zones"} {
		_, err := w.Add(t.Context(), named("nas.dyn.example.org"), ddns.Settings{Followers: &[]ddns.Follower{{Name: named(name), Low: netip.MustParseAddr("::1")}}}, ddns.Secret{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a follower %s is refused with %v, want %q", name, err, want)
		}
	}
	_, err := w.Add(t.Context(), named("nas.dyn.example.org"), ddns.Settings{}, ddns.NewSecret("short"))
	wantCode(t, err, ddns.Malformed)
	if w.store.Writes() != 0 {
		t.Error("something was written")
	}
}

// TestRemoveAndAdd: what DNS still shows of the host before is not forgotten,
// and generations go on.
func TestRemoveAndAdd(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free, func(s *ddns.Settings) {
		s.Followers = &[]ddns.Follower{{Name: named("tv.dyn.example.org"), Low: netip.MustParseAddr("::1"), A: true}}
	})
	w.must(t, by(made, home))
	w.dns.Fail(publishtest.Refuse, made.Host.Name)
	if err := w.Remove(t.Context(), made.Host.Name); err != nil {
		t.Fatal(err)
	}
	if code(w.Remove(t.Context(), made.Host.Name)) != ddns.NotFound {
		t.Error("removed twice")
	}
	if _, _, err := w.Show(t.Context(), made.Host.Name); code(err) != ddns.NotFound {
		t.Errorf("a removed host is shown: %v", err)
	}
	if list, _, err := w.List(t.Context(), "", 10); err != nil || len(list) != 0 {
		t.Errorf("a removed host is listed: %v, %v", list, err)
	}
	again := w.add(t, "nas.dyn.example.org")
	if h := again.Host; h.Generation != 4 || h.Published != 2 || len(h.Shown) != 2 {
		t.Errorf("generation %d, published %d, shown %v", h.Generation, h.Published, h.Shown)
	}
	if err := w.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := append(w.shows("nas.dyn.example.org", ddns.TypeA), w.shows("tv.dyn.example.org", ddns.TypeA)...); len(a) != 0 {
		t.Errorf("DNS shows %s of the host before", a)
	}
	_, err := w.Update(t.Context(), by(made, home))
	wantCode(t, err, ddns.BadProof)
	// And once DNS was empty of it, they go on too.
	if err := w.Remove(t.Context(), made.Host.Name); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.store.Host(t.Context(), made.Host.Name); !errors.Is(err, ddns.ErrNoHost) {
		t.Errorf("a host that DNS is empty of stays: %v", err)
	}
	if h := w.add(t, "nas.dyn.example.org").Host; h.Generation != 6 {
		t.Errorf("generation %d", h.Generation)
	}
}

func TestSet(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free)
	w.must(t, by(made, home))
	set := func(s ddns.Settings) (*ddns.Host, ddns.Event) {
		t.Helper()
		done, err := w.Set(t.Context(), made.Host.Name, s)
		if err != nil {
			t.Fatal(err)
		}
		events, err := w.History(t.Context(), made.Host.Name)
		if err != nil {
			t.Fatal(err)
		}
		return done.Host, events[0]
	}
	rule, err := ddns.ParseAddressRule("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	followers := []ddns.Follower{{Name: named("tv.dyn.example.org"), Low: netip.MustParseAddr("::1"), A: true}}
	all := ddns.Settings{TTL: new(uint32(300)), Addresses: &rule, Free: new(false), SeedOff: new(true), Suspended: new(true),
		Wildcard: new(true), Lease: new(24 * time.Hour), Followers: &followers}
	h, e := set(all)
	want := "ttl 60 to 300, addresses any to 192.0.2.0/24, source free to match, seed on to off, suspended off to on, wildcard off to on, lease 0s to 24h0m0s, followers added tv.dyn.example.org"
	if e.What != want || e.Door != "admin" || e.Generation != h.Generation || h.ChangedBy != "admin" {
		t.Errorf("event %+v", e)
	}
	if h.TTL != 300 || h.Addresses != rule || h.Free || !h.SeedOff || !h.Suspended || !h.Wildcard || h.Lease != 24*time.Hour || !slices.Equal(h.Followers, followers) {
		t.Errorf("host %+v", h)
	}
	if len(w.shows("nas.dyn.example.org", ddns.TypeA)) != 0 {
		t.Error("DNS shows a suspended host")
	}
	// The same again is nothing.
	writes := w.store.Writes()
	if again, _ := set(all); again.Generation != h.Generation || w.store.Writes() != writes {
		t.Error("no change is a change")
	}
	set(ddns.Settings{Suspended: new(false)})
	for _, name := range []string{"nas.dyn.example.org", "*.nas.dyn.example.org", "tv.dyn.example.org"} {
		if a := w.shows(name, ddns.TypeA); fmt.Sprint(a) != "["+home+"]" {
			t.Errorf("DNS shows %s at %s", a, name)
		}
	}
	// Refused, and nothing changes.
	w.add(t, "other.dyn.example.org")
	for name, s := range map[string]ddns.Settings{
		"seed on":      {SeedOff: new(false)},
		"TTL 0":        {TTL: new(uint32(0))},
		"taken name":   {Followers: &[]ddns.Follower{{Name: named("other.dyn.example.org"), Low: netip.MustParseAddr("::1")}}},
		"static name":  {Followers: &[]ddns.Follower{{Name: named("static.dyn.example.org"), Low: netip.MustParseAddr("::1")}}},
		"short lease":  {Lease: new(time.Minute)},
		"another zone": {Followers: &[]ddns.Follower{{Name: named("tv.sub.dyn.example.org"), Low: netip.MustParseAddr("::1")}}},
	} {
		before := w.host(t, "nas.dyn.example.org").Generation
		got, err := w.Set(t.Context(), made.Host.Name, s)
		if c := code(err); c != ddns.Malformed && c != ddns.Exists || got.Host != nil {
			t.Errorf("%s: %v", name, err)
		}
		if w.host(t, "nas.dyn.example.org").Generation != before {
			t.Errorf("%s: the host changed", name)
		}
	}
	if _, err := w.Set(t.Context(), named("none.dyn.example.org"), all); code(err) != ddns.NotFound || !errors.Is(err, ddns.ErrNoHost) {
		t.Errorf("no host: %v", err)
	}
}

// TestSeedOff: the secret is nowhere in the clear afterwards, TSIG keys stay.
func TestSeedOff(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	own, err := w.Add(t.Context(), named("own.dyn.example.org"), open(), ddns.NewSecret("a secret of my own"))
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, "nas.dyn.example.org", func(h *ddns.Host, write *ddns.Write) {
		h.Credentials = append(h.Credentials, "tttttttt")
		write.Credentials = []*ddns.Credential{{ID: "tttttttt", Kind: ddns.KindTSIG, State: ddns.Active, Sealed: []byte("key"), Grants: []ddns.Grant{{Host: h.Name}}}}
	})
	for _, name := range []string{"nas.dyn.example.org", "own.dyn.example.org"} {
		if _, err := w.Set(t.Context(), named(name), ddns.Settings{SeedOff: new(true)}); err != nil {
			t.Fatal(err)
		}
		_, credentials, err := w.Show(t.Context(), named(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range credentials {
			if (c.Sealed != nil) != (c.Kind == ddns.KindTSIG) {
				t.Errorf("%s: %s %s is sealed: %v", name, c.Kind, c.ID, c.Sealed != nil)
			}
			if (c.Fingerprint != nil) != (c.Kind == ddns.KindSeed) {
				t.Errorf("%s: %s has a fingerprint: %v", name, c.Kind, c.Fingerprint != nil)
			}
		}
	}
	w.must(t, by(made, home))
	u := by(own, home)
	u.Proof = ddns.TokenProof{Token: ddns.NewSecret("a secret of my own")}
	w.must(t, u)
	// On again needs a new secret.
	fresh, err := w.Rotate(t.Context(), made.Host.Name, ddns.Secret{}, new(false))
	if err != nil {
		t.Fatal(err)
	}
	v := by(fresh, home)
	v.Proof = seedProof(v.Source, "nas.dyn.example.org", fresh.Token)
	w.must(t, v)
	if off, err := w.Rotate(t.Context(), made.Host.Name, ddns.Secret{}, new(true)); err != nil || off.Credential.Sealed != nil || !off.Host.SeedOff {
		t.Errorf("rotated with the seed's proof off: %+v, %v", off, err)
	}
}

func TestRotate(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	more, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Label: "laptop"})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := w.Rotate(t.Context(), made.Host.Name, ddns.Secret{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []ddns.Created{made, more} {
		_, err := w.Update(t.Context(), by(old, home))
		wantCode(t, err, ddns.BadProof)
	}
	w.must(t, by(fresh, home))
	if !slices.Equal(fresh.Host.Credentials, []string{fresh.Credential.ID}) {
		t.Errorf("credentials %v", fresh.Host.Credentials)
	}
	_, err = w.Rotate(t.Context(), made.Host.Name, ddns.NewSecret("short"), nil)
	wantCode(t, err, ddns.Malformed)
	_, err = w.Rotate(t.Context(), named("none.dyn.example.org"), ddns.Secret{}, nil)
	wantCode(t, err, ddns.NotFound)
}

func TestRotateToken(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	spec := ddns.TokenSpec{Label: "laptop", Types: []ddns.Type{ddns.TypeA}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Rate: 5, Expires: w.clock().Add(24 * time.Hour), URLToken: true}
	old, err := w.AddToken(t.Context(), made.Host.Name, spec)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := w.RotateToken(t.Context(), made.Host.Name, old.Credential.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a, b := *old.Credential, *fresh.Credential
	if a.ID == b.ID || string(a.Verifier) == string(b.Verifier) || b.Sealed != nil {
		t.Errorf("rotated to %+v", b)
	}
	a.ID, a.Verifier, b.ID, b.Verifier = "", nil, "", nil
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("the limits are not the same:\n%+v\n%+v", a, b)
	}
	w.must(t, by(old, home))
	w.must(t, by(fresh, home))
	w.pass(time.Hour)
	_, err = w.Update(t.Context(), by(old, home))
	wantCode(t, err, ddns.BadProof)
	w.must(t, by(fresh, home))
	_, err = w.RotateToken(t.Context(), made.Host.Name, old.Credential.ID, time.Hour) // expired by now
	wantCode(t, err, ddns.Malformed)
	// An overlap does not prolong.
	last, err := w.RotateToken(t.Context(), made.Host.Name, fresh.Credential.ID, 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.pass(23*time.Hour + time.Minute)
	for _, m := range []ddns.Created{fresh, last} {
		_, err = w.Update(t.Context(), by(m, home))
		wantCode(t, err, ddns.BadProof)
	}
	// The first token answers the seed's hash; so does what takes its place.
	next, err := w.RotateToken(t.Context(), made.Host.Name, made.Credential.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	u := by(next, home)
	u.Proof = seedProof(u.Source, "nas.dyn.example.org", next.Token)
	w.must(t, u)
	_, err = w.Update(t.Context(), by(made, home))
	wantCode(t, err, ddns.BadProof)
	_, err = w.RotateToken(t.Context(), made.Host.Name, made.Credential.ID, 0)
	wantCode(t, err, ddns.NotFound)
	_, err = w.RevokeToken(t.Context(), made.Host.Name, made.Credential.ID)
	wantCode(t, err, ddns.NotFound)
	// A stopped one stays stopped.
	w.put(t, "nas.dyn.example.org", func(_ *ddns.Host, write *ddns.Write) {
		c := *next.Credential
		c.State = ddns.CredentialStop
		write.Credentials = []*ddns.Credential{&c}
	})
	stopped, err := w.RotateToken(t.Context(), made.Host.Name, next.Credential.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Update(t.Context(), by(stopped, home))
	wantCode(t, err, ddns.Suspended)
}

func TestAddToken(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free)
	for name, spec := range map[string]ddns.TokenSpec{
		"label":        {Label: strings.Repeat("x", 65)},
		"33 networks":  {Networks: make([]netip.Prefix, 33)},
		"no network":   {Networks: make([]netip.Prefix, 1)},
		"mapped":       {Networks: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.0"), 120)}},
		"unknown type": {Types: []ddns.Type{0}},
		"rate":         {Rate: -1},
		"high rate":    {Rate: ddns.MaxEvents + 1},
		"expired":      {Expires: w.clock()},
	} {
		if _, err := w.AddToken(t.Context(), made.Host.Name, spec); code(err) != ddns.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range ddns.MaxCredentials {
		_, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{})
		if want := i == ddns.MaxCredentials-1; want != (code(err) == ddns.Malformed) {
			t.Errorf("token %d: %v", i+2, err)
		}
	}
}

// TestTokenRate: a credential's own rate holds by the host's history, across a
// restart and beside others that have no such rate.
func TestTokenRate(t *testing.T) {
	w := newWorld(t, func(c *ddns.Config) { c.Limits.Changes = ddns.Rate{PerHour: 30, Burst: 10} })
	made := w.add(t, "nas.dyn.example.org", free)
	slow, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Rate: 2})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	change := func(m ddns.Created) error {
		n++
		_, err := w.Update(t.Context(), by(m, home, set(ddns.TypeA, fmt.Sprintf("192.0.2.%d", n))))
		return err
	}
	for _, m := range []ddns.Created{slow, made, slow, made} {
		if err := change(m); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * time.Minute)
	}
	again, err := ddns.NewService(w.Config) // memory is gone
	if err != nil {
		t.Fatal(err)
	}
	w.Service = again
	if r := wantCode(t, change(slow), ddns.RateLimited); r.RetryAfter != 20*time.Minute {
		t.Errorf("retry after %s", r.RetryAfter)
	}
	if err := change(made); err != nil {
		t.Fatal(err)
	}
	// What changes nothing is not counted.
	w.must(t, by(slow, home, set(ddns.TypeA, fmt.Sprintf("192.0.2.%d", n))))
	w.pass(20 * time.Minute)
	if err := change(slow); err != nil {
		t.Fatal(err)
	}
	wantCode(t, change(slow), ddns.RateLimited)
	w.pass(-24 * time.Hour) // a clock set back locks nobody out
	if err := change(slow); err != nil {
		t.Fatal(err)
	}
}

// TestChangeLimit: 30 an hour and a burst of 10 for each host, kept in the host,
// so that it holds across a restart and in two processes.
func TestChangeLimit(t *testing.T) {
	limited := func(c *ddns.Config) { c.Limits.Changes = ddns.DefaultLimits().Changes }
	w := newWorld(t, limited)
	made := w.add(t, "nas.dyn.example.org", free)
	n := 0
	change := func() error {
		n++
		_, err := w.Update(t.Context(), by(made, home, set(ddns.TypeA, fmt.Sprintf("198.51.%d.%d", n/250, n%250))))
		return err
	}
	restart := func() {
		s, err := ddns.NewService(w.Config)
		if err != nil {
			t.Fatal(err)
		}
		w.Service = s
	}
	for range 10 {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		restart()
	}
	if r := wantCode(t, change(), ddns.RateLimited); r.RetryAfter != 2*time.Minute {
		t.Errorf("retry after %s", r.RetryAfter)
	}
	h := w.host(t, "nas.dyn.example.org")
	w.must(t, by(made, home, ddns.Change{Type: ddns.TypeA, Op: ddns.Replace, Addrs: h.A})) // unchanged is not limited
	accepted := 10
	for range 60 * 5 { // five hours, a try each minute
		w.pass(time.Minute)
		if change() == nil {
			accepted++
		}
	}
	if accepted != 10+5*30 {
		t.Errorf("%d changes in five hours", accepted)
	}
	if _, err := w.Set(t.Context(), made.Host.Name, ddns.Settings{TTL: new(uint32(300))}); err != nil {
		t.Errorf("the operator is limited: %v", err)
	}
	w.add(t, "other.dyn.example.org")
	// The clock is set back by a year: one change at once, and then the ordinary rate.
	wantCode(t, change(), ddns.RateLimited)
	w.pass(-365 * 24 * time.Hour)
	if err := change(); err != nil {
		t.Fatalf("locked out: %v", err)
	}
	wantCode(t, change(), ddns.RateLimited)
	w.pass(2 * time.Minute)
	if err := change(); err != nil {
		t.Fatal(err)
	}
}

// TestRehome: a host goes to the zone that is now the nearest, unless something
// of it would stay behind.
func TestRehome(t *testing.T) {
	w := newWorld(t)
	w.add(t, "nas.sub.dyn.example.org")
	w.put(t, "nas.sub.dyn.example.org", func(h *ddns.Host, _ *ddns.Write) { h.Zone = named("dyn.example.org") })
	for range 2 {
		if err := w.Rehome(t.Context(), named("nas.sub.dyn.example.org")); err != nil {
			t.Fatal(err)
		}
		if h := w.host(t, "nas.sub.dyn.example.org"); h.Zone != named("sub.dyn.example.org") || h.Generation != 3 {
			t.Errorf("zone %s, generation %d", h.Zone, h.Generation)
		}
	}
	w.put(t, "nas.sub.dyn.example.org", func(h *ddns.Host, _ *ddns.Write) {
		h.Zone = named("dyn.example.org")
		h.Followers = []ddns.Follower{{Name: named("tv.dyn.example.org"), Low: netip.MustParseAddr("::1")}}
	})
	wantCode(t, w.Rehome(t.Context(), named("nas.sub.dyn.example.org")), ddns.Malformed)
}

func TestRefusalText(t *testing.T) {
	r := &ddns.Refusal{Code: ddns.NotFound, Why: "there is no host", Cause: errors.New("table hosts")}
	if r.Error() != "not-found: there is no host" {
		t.Error(r.Error())
	}
	if r.Fix = "add it"; r.Error() != "not-found: there is no host; add it" {
		t.Error(r.Error())
	}
}
