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
	"godwit/internal/dnsname"
)

// at is the update that made's token makes of another of its hosts.
func at(made ddns.Created, host, source string, changes ...ddns.Change) ddns.Update {
	u := by(made, source, changes...)
	u.Host = named(host)
	return u
}

func names(labels ...string) (out []dnsname.Name) {
	for _, label := range labels {
		out = append(out, named(label+".dyn.example.org"))
	}
	return out
}

// lists tells which of the hosts list a credential, and that they and the
// credential are of one mind.
func (w *world) lists(t *testing.T, id string, labels ...string) (out []string) {
	t.Helper()
	for _, label := range labels {
		n := named(label + ".dyn.example.org")
		h, credentials, err := w.Show(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		listed := slices.Contains(h.Credentials, id)
		if held := slices.ContainsFunc(credentials, func(c *ddns.Credential) bool { return c.ID == id }); held != listed {
			t.Errorf("%s: listed %t, held %t", n, listed, held)
		}
		if listed {
			out = append(out, label)
		}
	}
	return out
}

// TestTokenOfSeveralHosts: one token for several hosts, whose life is one.
func TestTokenOfSeveralHosts(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b", "c", "d"} {
		w.add(t, n+".dyn.example.org", free)
	}
	all := []string{"a", "b", "c", "d"}
	a := named("a.dyn.example.org")
	may := func(made ddns.Created, labels ...string) {
		t.Helper()
		for i, label := range all {
			_, err := w.Update(t.Context(), at(made, label+".dyn.example.org", home, set(ddns.TypeA, fmt.Sprintf("192.0.2.%d", w.clock().Second()+i))))
			if want := slices.Contains(labels, label); (err == nil) != want {
				t.Errorf("%s: %v, want allowed %t", label, err, want)
			}
		}
		w.pass(4 * time.Second)
		if got := w.lists(t, made.Credential.ID, all...); !slices.Equal(got, labels) {
			t.Errorf("listed at %v, want %v", got, labels)
		}
	}
	spec := ddns.TokenSpec{Hosts: names("b", "c", "b", "a"), Label: "router", Types: []ddns.Type{ddns.TypeA}, URLToken: true, Rate: 7,
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	made, err := w.AddToken(t.Context(), a, spec)
	if err != nil || made.Host.Name != a || len(made.Credential.Grants) != 3 || made.Credential.Sealed != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	for _, g := range made.Credential.Grants {
		if !g.URLToken || !slices.Equal(g.Types, spec.Types) {
			t.Errorf("grant %+v", g)
		}
	}
	may(made, "a", "b", "c")
	_, err = w.Update(t.Context(), at(made, "b.dyn.example.org", home, set(ddns.TypeAAAA, "2001:db8::1")))
	wantCode(t, err, ddns.NotYours)

	// Hosts come and go; the rest is as it was.
	c, err := w.SetToken(t.Context(), named("b.dyn.example.org"), made.Credential.ID, names("d"), names("a"))
	if err != nil || len(c.Grants) != 3 || c.Rate != 7 || c.Label != "router" {
		t.Fatalf("%+v, %v", c, err)
	}
	may(made, "b", "c", "d")
	generation := w.host(t, "b.dyn.example.org").Generation
	if c, err = w.SetToken(t.Context(), named("b.dyn.example.org"), made.Credential.ID, names("d"), nil); err != nil || len(c.Grants) != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	if w.host(t, "b.dyn.example.org").Generation != generation {
		t.Error("nothing was to change, and something did")
	}
	for what, call := range map[string]func() error{
		"a host that it does not serve": func() error { _, err := w.SetToken(t.Context(), a, made.Credential.ID, nil, nil); return err },
		"to remove what it has not": func() error {
			_, err := w.SetToken(t.Context(), named("b.dyn.example.org"), made.Credential.ID, nil, names("a"))
			return err
		},
		"an unknown host": func() error {
			_, err := w.SetToken(t.Context(), named("b.dyn.example.org"), made.Credential.ID, names("none"), nil)
			return err
		},
		"a token for an unknown host": func() error { _, err := w.AddToken(t.Context(), a, ddns.TokenSpec{Hosts: names("none")}); return err },
	} {
		if err := call(); code(err) != ddns.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = w.SetToken(t.Context(), named("b.dyn.example.org"), made.Credential.ID, nil, names("b", "c", "d"))
	wantCode(t, err, ddns.Malformed)

	// Rotating at any of its hosts is for all of them.
	next, err := w.RotateToken(t.Context(), named("d.dyn.example.org"), made.Credential.ID, time.Hour)
	if err != nil || len(next.Credential.Grants) != 3 || next.Host.Name != named("d.dyn.example.org") {
		t.Fatalf("%+v, %v", next, err)
	}
	may(made, "b", "c", "d")
	may(next, "b", "c", "d")
	w.pass(time.Hour)
	if _, err := w.Update(t.Context(), at(made, "c.dyn.example.org", home)); code(err) != ddns.BadProof {
		t.Errorf("after the overlap: %v", err)
	}
	last, err := w.RotateToken(t.Context(), named("c.dyn.example.org"), next.Credential.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	may(next)
	may(last, "b", "c", "d")

	// A host that goes leaves the others.
	if err := w.Remove(t.Context(), named("d.dyn.example.org")); err != nil {
		t.Fatal(err)
	}
	all = []string{"a", "b", "c"}
	may(last, "b", "c")
	if _, err := w.Rotate(t.Context(), named("c.dyn.example.org"), ddns.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	may(last, "b")
	if _, err = w.SetToken(t.Context(), named("b.dyn.example.org"), last.Credential.ID, names("a", "c"), nil); err != nil {
		t.Fatal(err)
	}
	may(last, "a", "b", "c")
	concerned, err := w.RevokeToken(t.Context(), named("c.dyn.example.org"), last.Credential.ID)
	slices.SortFunc(concerned, func(a, b dnsname.Name) int { return strings.Compare(a.String(), b.String()) })
	if err != nil || !slices.Equal(concerned, names("a", "b", "c")) {
		t.Errorf("revoked for %v, %v", concerned, err)
	}
	may(last)
	if _, err := w.store.Credential(t.Context(), last.Credential.ID); !errors.Is(err, ddns.ErrNoCredential) {
		t.Errorf("it is still there: %v", err)
	}
	for _, n := range names("a", "b", "c") {
		events, err := w.History(t.Context(), n)
		if err != nil || !strings.Contains(events[0].What, "revoked, for 3 hosts") {
			t.Errorf("%s: %+v, %v", n, events[0], err)
		}
	}
}

// TestTokensThatServeOneHost: what only one host may have, and how many hosts
// one credential may.
func TestTokensThatServeOneHost(t *testing.T) {
	w := newWorld(t)
	a := named("a.dyn.example.org")
	made := w.add(t, "a.dyn.example.org")
	own, err := w.Add(t.Context(), named("own.dyn.example.org"), open(), ddns.NewSecret("a secret of my own"))
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, "b.dyn.example.org")
	join, err := w.AddToken(t.Context(), a, ddns.TokenSpec{Join: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []ddns.Created{made, own, join} {
		_, err := w.SetToken(t.Context(), c.Host.Name, c.Credential.ID, names("b"), nil)
		wantCode(t, err, ddns.Malformed)
	}
	_, err = w.AddToken(t.Context(), a, ddns.TokenSpec{Join: true, Hosts: names("b")})
	wantCode(t, err, ddns.Malformed)
	// A token that is no secret of the seed's any more may.
	if _, err := w.Set(t.Context(), a, ddns.Settings{SeedOff: new(true)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.SetToken(t.Context(), a, made.Credential.ID, names("b"), nil); err != nil {
		t.Fatal(err)
	}
	w.must(t, at(made, "b.dyn.example.org", home))

	var many []dnsname.Name
	for i := range ddns.MaxGrants {
		w.add(t, fmt.Sprintf("h%d.dyn.example.org", i))
		many = append(many, named(fmt.Sprintf("h%d.dyn.example.org", i)))
	}
	_, err = w.AddToken(t.Context(), a, ddns.TokenSpec{Hosts: many})
	wantCode(t, err, ddns.TooMany)
	_, err = w.AddToken(t.Context(), a, ddns.TokenSpec{Hosts: slices.Repeat(many, 2)})
	wantCode(t, err, ddns.TooMany)
	_, err = w.SetToken(t.Context(), a, made.Credential.ID, many, nil)
	wantCode(t, err, ddns.TooMany)
	full, err := w.AddToken(t.Context(), a, ddns.TokenSpec{Hosts: many[1:]})
	if err != nil || len(full.Credential.Grants) != ddns.MaxGrants {
		t.Fatalf("%+v, %v", full, err)
	}
	// All or none: one host that has no room keeps all from it.
	for range ddns.MaxCredentials {
		if _, err = w.AddToken(t.Context(), many[0], ddns.TokenSpec{}); err != nil {
			break
		}
	}
	wantCode(t, err, ddns.Malformed)
	before := w.host(t, "a.dyn.example.org").Generation
	_, err = w.AddToken(t.Context(), a, ddns.TokenSpec{Hosts: many[:2]})
	if r := wantCode(t, err, ddns.Malformed); !strings.Contains(r.Why, "h0.dyn.example.org") {
		t.Errorf("it does not say which host: %s", r.Why)
	}
	if w.host(t, "a.dyn.example.org").Generation != before {
		t.Error("half of it was done")
	}
}

// TestSharedTokenBesideDamage: a host that cannot be read keeps no token alive.
func TestSharedTokenBesideDamage(t *testing.T) {
	w := newWorld(t)
	w.add(t, "a.dyn.example.org")
	w.add(t, "b.dyn.example.org")
	made, err := w.AddToken(t.Context(), named("a.dyn.example.org"), ddns.TokenSpec{Hosts: names("b")})
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	w.store.Fail = func(method string) error {
		if method != "Host" {
			return nil
		}
		if reads++; reads == 2 { // the first is of a
			return fmt.Errorf("row of b: %w", ddns.ErrDamaged)
		}
		return nil
	}
	hosts, err := w.RevokeToken(t.Context(), named("a.dyn.example.org"), made.Credential.ID)
	if err != nil || !slices.Equal(hosts, names("a")) {
		t.Errorf("revoked for %v, %v", hosts, err)
	}
	_, err = w.Update(t.Context(), at(made, "b.dyn.example.org", home))
	wantCode(t, err, ddns.BadProof)
}

// TestSharedTokensTravel: what an export says of a token of several hosts is
// there again after an import, without secrets too.
func TestSharedTokensTravel(t *testing.T) {
	w := newWorld(t)
	var hosts []ddns.ExportedHost
	for _, n := range []string{"a", "b", "c"} {
		w.add(t, n+".dyn.example.org", free)
	}
	made, err := w.AddToken(t.Context(), named("a.dyn.example.org"), ddns.TokenSpec{Hosts: names("b", "c"), URLToken: true, Types: []ddns.Type{ddns.TypeA}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names("a", "b", "c") {
		h, credentials, err := w.Show(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		e, err := w.ExportHost(h, credentials, n == named("b.dyn.example.org"))
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, e)
	}
	v := newWorld(t)
	if got, err := v.ImportHosts(t.Context(), hosts); err != nil || got.Added != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got := v.lists(t, made.Credential.ID, "a", "b", "c"); len(got) != 3 {
		t.Errorf("listed at %v", got)
	}
	c, err := v.store.Credential(t.Context(), made.Credential.ID)
	if err != nil || len(c.Grants) != 3 || !c.Grants[2].URLToken || !slices.Equal(c.Grants[1].Types, []ddns.Type{ddns.TypeA}) {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, n := range names("a", "b", "c") {
		v.must(t, at(made, n.String(), home, set(ddns.TypeA, "192.0.2.77")))
	}
}

// TestImportSharesNoSeedSecret: what answers the seed's proof at one host comes to
// no other by an import either.
func TestImportSharesNoSeedSecret(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "a.dyn.example.org")
	e, err := w.ExportHost(made.Host, []*ddns.Credential{made.Credential}, true)
	if err != nil {
		t.Fatal(err)
	}
	e.Name = named("b.dyn.example.org")
	got, err := w.ImportHosts(t.Context(), []ddns.ExportedHost{e})
	if err != nil || got.Added != 0 || !strings.Contains(got.Skipped[0].Why, "a.dyn.example.org") {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.Set(t.Context(), made.Host.Name, ddns.Settings{SeedOff: new(true)}); err != nil {
		t.Fatal(err)
	}
	if got, err = w.ImportHosts(t.Context(), []ddns.ExportedHost{e}); err != nil || got.Added != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got := w.lists(t, made.Credential.ID, "a", "b"); len(got) != 2 {
		t.Errorf("listed at %v", got)
	}
	u := at(made, "b.dyn.example.org", home)
	u.Proof = seedProof(u.Source, "b.dyn.example.org", made.Token)
	_, err = w.Update(t.Context(), u)
	wantCode(t, err, ddns.BadProof)
}
