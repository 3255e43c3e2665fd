package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/store/dynamodb"
)

// many are as many followers as a host may have.
func many(label, below string) *[]ddns.Follower {
	list := make([]ddns.Follower, ddns.MaxFollowers)
	for i := range list {
		list[i] = ddns.Follower{Name: named(fmt.Sprintf("%s%d.%sdyn.example.org", label, i, below)), Low: netip.MustParseAddr("::1"), A: true, AAAA: true}
	}
	return &list
}

// testManyNames: more names than a transaction takes, all of them as long as names
// get, fit into a host's item and move in one write; if one of them is taken,
// none is given, and none is lost to anybody.
func testManyNames(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	router, other := named("router.dyn.example.org"), named("other.dyn.example.org")
	list := many("a", strings.Repeat(strings.Repeat("x", 63)+".", 3))
	if _, err := x.Add(t.Context(), (*list)[63].Name, ddns.Settings{}, ddns.Secret{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Add(t.Context(), other, ddns.Settings{Followers: list}, ddns.Secret{}); !errors.Is(err, ddns.ErrNameTaken) {
		t.Errorf("a list with a taken name: %v", err)
	}
	if by, err := x.store.Owner(t.Context(), (*list)[0].Name); !errors.Is(err, ddns.ErrNoHost) {
		t.Errorf("a name of that list is of %s, %v", by, err)
	}
	if err := x.Remove(t.Context(), (*list)[63].Name); err != nil {
		t.Fatal(err)
	}
	made, err := x.Add(t.Context(), router, ddns.Settings{Followers: list, Wildcard: new(true), Addresses: new(ddns.AnyAddress), Free: new(true)}, ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	u := seedUpdate("router.dyn.example.org", made.Token.Reveal(), home)
	u.Changes = []ddns.Change{{Type: ddns.TypePrefix, Op: ddns.Replace, Prefix: netip.MustParsePrefix("2606:4700::/56")}}
	u.Auto = true
	if out := x.must(t, u); out.Unconfirmed != nil || len(out.Host.RRsets()) != 2+2*ddns.MaxFollowers {
		t.Errorf("%d RRsets, %v", len(out.Host.RRsets()), out.Unconfirmed)
	}
	if err := x.Remove(t.Context(), router); err != nil {
		t.Fatal(err)
	}
	one := (*list)[:1]
	if _, err := x.Add(t.Context(), other, ddns.Settings{Followers: &one}, ddns.Secret{}); err != nil {
		t.Error(err)
	}
}

// testClaimedName: somebody wants a host of a name that a router has claimed and
// does not show yet, and comes to write it when the router shows it.
func testClaimedName(t *testing.T, d *database) {
	table := d.table()
	x, y := d.newSite(t, table), d.newSite(t, table)
	list := many("a", "")
	begin, looked, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	hasLooked := sync.OnceFunc(func() { close(looked) })
	transactions := 0
	x.p.watch(func(_ int, action string) fault {
		if action == "TransactWriteItems" {
			if transactions++; transactions == 3 { // the names are claimed
				close(begin)
				<-looked
			}
		}
		return none
	})
	y.p.watch(func(_ int, action string) fault {
		if action == "TransactWriteItems" {
			hasLooked()
			<-done
		}
		return none
	})
	var hostErr error
	var other sync.WaitGroup
	other.Go(func() {
		defer hasLooked()
		select {
		case <-begin:
		case <-done:
		}
		_, hostErr = y.Add(context.Background(), (*list)[33].Name, ddns.Settings{}, ddns.Secret{})
	})
	_, err := x.Add(t.Context(), named("router.dyn.example.org"), ddns.Settings{Followers: list}, ddns.Secret{})
	close(done)
	other.Wait()
	if r, ok := errors.AsType[*ddns.Refusal](hostErr); err != nil || !ok || r.Code != ddns.Exists {
		t.Errorf("the router: %v; the host of its follower's name: %v", err, hostErr)
	}
}

// testManyNamesRace: two routers want the same 64 names at once, and somebody
// else one of them. Each name has one owner in the end.
func testManyNamesRace(t *testing.T, d *database) {
	table := d.table()
	x := d.newSite(t, table)
	list := many("a", "")
	add := func(name string, followers *[]ddns.Follower) func() error {
		site := &site{d: d, dns: x.dns} // a process of its own, before the same database
		site.serve(t, d.store(table, func(c *dynamodb.Config) { c.Client = d.newClient(x.p.URL) }))
		return func() error {
			_, err := site.Add(context.Background(), named(name), ddns.Settings{Followers: followers}, ddns.Secret{})
			return err
		}
	}
	adds := []func() error{add("r1.dyn.example.org", list), add("r2.dyn.example.org", list), add((*list)[33].Name.String(), nil)}
	errs := make([]error, len(adds))
	var all sync.WaitGroup
	for i, add := range adds {
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
}
