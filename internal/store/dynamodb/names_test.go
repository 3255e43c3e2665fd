package dynamodb_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"godwit/internal/ddns"
)

// many are as many followers as a host may have.
func many(label, below string) *[]ddns.Follower {
	list := make([]ddns.Follower, ddns.MaxFollowers)
	for i := range list {
		list[i] = ddns.Follower{Name: named(fmt.Sprintf("%s%d.%sdyn.example.org", label, i, below)), Low: netip.MustParseAddr("::1"), A: true, AAAA: true}
	}
	return &list
}

// testManyNames adds, replaces and removes more names than a transaction takes.
func testManyNames(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	router := named("router.dyn.example.org")
	owner := func(f ddns.Follower, want string) {
		t.Helper()
		switch got, err := x.store.Owner(t.Context(), f.Name); {
		case want == "" && !errors.Is(err, ddns.ErrNoHost), want != "" && (err != nil || got != named(want)):
			t.Errorf("%.10s… is of %s, %v; want %q", f.Name, got, err, want)
		}
	}
	// As long as names get: they have to fit into the router's item.
	first, second := many("a", strings.Repeat(strings.Repeat("x", 63)+".", 3)), many("b", "")
	made, err := x.Add(t.Context(), router, ddns.Settings{Followers: first, Wildcard: new(true), Addresses: new(ddns.AnyAddress), Free: new(true)}, ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	u := seedUpdate("router.dyn.example.org", made.Token.Reveal(), home)
	u.Changes = []ddns.Change{{Type: ddns.TypePrefix, Op: ddns.Replace, Prefix: netip.MustParsePrefix("2606:4700::/56")}}
	u.Auto = true
	if out := x.must(t, u); out.Unconfirmed != nil || len(out.Host.RRsets()) != 2+2*ddns.MaxFollowers {
		t.Errorf("%d RRsets, %v", len(out.Host.RRsets()), out.Unconfirmed)
	}
	if _, err := x.Set(t.Context(), router, ddns.Settings{Followers: second}); err != nil {
		t.Fatal(err)
	}
	owner((*first)[63], "")
	owner((*second)[63], "router.dyn.example.org")
	// A name that was given up is free, for a host and for a follower.
	if _, err := x.Add(t.Context(), (*first)[0].Name, ddns.Settings{}, ddns.Secret{}); err != nil {
		t.Error(err)
	}
	other := named("other.dyn.example.org")
	if _, err := x.Add(t.Context(), other, ddns.Settings{}, ddns.Secret{}); err != nil {
		t.Fatal(err)
	}
	// One name of many is taken: none is given, and none of the others is lost to anybody.
	_, err = x.Set(t.Context(), other, ddns.Settings{Followers: first})
	if !errors.Is(err, ddns.ErrNameTaken) {
		t.Errorf("a list with a taken name: %v", err)
	}
	owner((*first)[1], "")
	if err := x.Remove(t.Context(), router); err != nil {
		t.Fatal(err)
	}
	owner((*second)[0], "")
	taken := (*second)[:1]
	if _, err := x.Set(t.Context(), other, ddns.Settings{Followers: &taken}); err != nil {
		t.Error(err)
	}
	owner((*second)[0], "other.dyn.example.org")
}

// testManyNamesRace: two routers want the same 64 names at once, and somebody
// else one of them. Each name has one owner in the end.
func testManyNamesRace(t *testing.T, d *database) {
	table := d.table()
	x, y := d.newSite(t, table), d.newSite(t, table)
	list := many("a", "")
	errs := make([]error, 3)
	var all sync.WaitGroup
	for i, add := range []func() error{
		func() error {
			_, err := x.Add(t.Context(), named("r1.dyn.example.org"), ddns.Settings{Followers: list}, ddns.Secret{})
			return err
		},
		func() error {
			_, err := y.Add(t.Context(), named("r2.dyn.example.org"), ddns.Settings{Followers: list}, ddns.Secret{})
			return err
		},
		func() error {
			_, err := y.Add(t.Context(), (*list)[33].Name, ddns.Settings{}, ddns.Secret{})
			return err
		},
	} {
		all.Go(func() { errs[i] = add() })
	}
	all.Wait()
	got := 0
	for _, err := range errs {
		if r, ok := errors.AsType[*ddns.Refusal](err); err == nil {
			got++
		} else if !ok || r.Code != ddns.Exists && r.Code != ddns.Unavailable {
			t.Error(err)
		}
	}
	if got > 1 {
		t.Errorf("%d of three have the name: %v", got, errs)
	}
	of := map[string]bool{}
	for _, f := range (*list)[30:36] {
		if name, err := x.store.Owner(t.Context(), f.Name); err == nil {
			of[name.String()] = true
		}
	}
	if len(of) > 1 {
		t.Errorf("the names are of several: %v", of)
	}
}
