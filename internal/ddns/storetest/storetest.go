// Package storetest says, in tests, what every ddns.Store must do. A rule of the
// contract is a case here, and both stores pass all of them.
//
// What the suite says beyond the words of ddns.Store:
//
//   - Times and durations are kept to the microsecond, in UTC.
//   - What Touch, Note and Refused wrote since a state was read survives a Save
//     that was decided on that state: Published, Seen, Refusals and a
//     credential's Mark never go back.
//   - A credential whose ID is another's by chance does not take its place.
//   - Events of a host go with its row.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Run runs the suite. open returns an empty store each time it is called; it
// sees to closing it.
func Run(t *testing.T, open func(t *testing.T) ddns.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, ddns.Store)
	}{
		{"every field comes back", everyField},
		{"absent hosts and credentials", absent},
		{"compare and set", compareAndSet},
		{"all writes or none", allOrNone},
		{"names are unique", uniqueNames},
		{"names move within one save", movedNames},
		{"all followers at once", allFollowers},
		{"generations never restart", generations},
		{"removal before DNS is empty", removal},
		{"re-creation before DNS is empty", recreation},
		{"note never goes back", note},
		{"what was noted meanwhile survives a save", notedMeanwhile},
		{"hosts page by page", hostPages},
		{"unpublished page by page", unpublishedPages},
		{"due page by page", duePages},
		{"events are the newest, in order", events},
		{"credentials of several hosts", sharedCredentials},
		{"a credential of many hosts", manyHosts},
		{"credentials replaced and revoked", replacedCredentials},
		{"secrets are unique", uniqueSecrets},
		{"credential IDs are unique", uniqueIDs},
		{"touch", touch},
		{"a mark moves with a change", markedChange},
		{"refused", refusedCounts},
		{"what is returned may be kept", immutable},
		{"a cancelled caller", cancelled},
		{"many writers of one host", manyWriters},
		{"many creators of one host", manyCreators},
		{"readers never see half", noHalves},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("model", func(t *testing.T) { Model(t, open) })
}

var (
	zone  = dnsname.MustParse("dyn.example.org")
	start = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
)

func name(label string) dnsname.Name { return dnsname.MustParse(label + ".dyn.example.org") }

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// newHost is a host as it is first saved, published by construction.
func newHost(n dnsname.Name) *ddns.Host {
	return &ddns.Host{Name: n, Zone: zone, TTL: 60, Generation: 1, Published: 1, Created: start, ChangedAt: start, ChangedBy: "admin"}
}

// creation is the write that makes a host, with its credentials.
func creation(h *ddns.Host, credentials ...*ddns.Credential) ddns.Write {
	for _, c := range credentials {
		h.Credentials = append(h.Credentials, c.ID)
	}
	return ddns.Write{Host: h, Credentials: credentials, Event: event(h, "created")}
}

func event(h *ddns.Host, what string) ddns.Event {
	return ddns.Event{Time: h.ChangedAt, Generation: h.Generation, Outcome: "changed", Door: "admin", What: what, After: h.Current()}
}

// next is the write of one change, published by construction.
func next(before *ddns.Host, edit func(*ddns.Host)) ddns.Write {
	h := before.Clone()
	h.Generation++
	h.Published = h.Generation
	h.ChangedAt = h.ChangedAt.Add(time.Second)
	edit(h)
	return ddns.Write{Before: before, Host: h, Event: event(h, "edited")}
}

// unpublished is next, for a store whose DNS does not follow.
func unpublished(before *ddns.Host, edit func(*ddns.Host)) ddns.Write {
	w := next(before, edit)
	w.Host.Published = before.Published
	return w
}

func token(hosts ...dnsname.Name) *ddns.Credential {
	c, _ := ddns.NewToken(hosts[0], start)
	for _, h := range hosts[1:] {
		c.Grants = append(c.Grants, ddns.Grant{Host: h})
	}
	return c
}

func save(t *testing.T, s ddns.Store, writes ...ddns.Write) {
	t.Helper()
	if err := s.Save(t.Context(), writes...); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

func host(t *testing.T, s ddns.Store, n dnsname.Name) *ddns.Host {
	t.Helper()
	h, _, err := s.Host(t.Context(), n)
	if err != nil {
		t.Fatalf("Host(%s): %v", n, err)
	}
	return h
}

func credentials(t *testing.T, s ddns.Store, n dnsname.Name) []string {
	t.Helper()
	_, list, err := s.Host(t.Context(), n)
	if err != nil {
		t.Fatalf("Host(%s): %v", n, err)
	}
	ids := []string{}
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return ids
}

// noted is Note for whoever does not ask how far the host is.
func noted(ctx context.Context, s ddns.Store, n dnsname.Name, generation uint64, shown []ddns.RRset) error {
	_, err := s.Note(ctx, n, generation, shown)
	return err
}

func wantError(t *testing.T, doing string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: got error %v, want %v", doing, got, want)
	}
}

// same says how two values differ, nil and empty taken for the same.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := difference(got, want); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func difference(got, want any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b dnsname.Name) bool { return a == b }),
		cmp.Comparer(func(a, b ddns.AddressRule) bool { return a == b }), cmpopts.EquateApproxTime(0),
		cmpopts.IgnoreFields(ddns.Host{}, "Row"))
}

// full is a host with every field set.
func full(n dnsname.Name) *ddns.Host {
	rule, err := ddns.ParseAddressRule("192.0.2.0/24,2001:db8::/32")
	if err != nil {
		panic(err)
	}
	at := func(d time.Duration) time.Time { return start.Add(d) }
	return &ddns.Host{
		Name: n, Zone: zone, TTL: 300, Addresses: rule, Free: true, SeedOff: true, Suspended: true, Wildcard: true, Lease: 36 * time.Hour,
		A: []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}, AAAA: []netip.Addr{addr("2001:db8::1"), addr("2001:db8::2")},
		Prefix: netip.MustParsePrefix("2001:db8:0:ff00::/56"),
		Followers: []ddns.Follower{
			{Name: name("follower-1"), Low: addr("::1234"), A: true, AAAA: true},
			{Name: name("follower-2"), Low: addr("::5:0:0:0:1")},
		},
		TXT:        []ddns.TXT{{Value: `with "quotes" \ and ü`, Credential: "k7m2qx4p", Time: at(time.Minute)}, {Value: "x", Time: at(time.Hour)}},
		Generation: 1, Published: 1,
		Shown: []ddns.RRset{
			{Owner: n, Type: ddns.TypeA, TTL: 60, Addrs: []netip.Addr{addr("192.0.2.9")}},
			{Owner: name("_acme-challenge.x"), Type: ddns.TypeTXT, TTL: 60, Texts: []string{"a", `"`}},
		},
		Created: at(0), ChangedAt: at(2 * time.Minute), ChangedBy: "k7m2qx4p", Seen: at(3 * time.Minute), Busy: at(4 * time.Minute), Refusals: 17,
		Ends: at(5 * time.Minute),
	}
}

// fullCredential is a credential with every field set.
func fullCredential(hosts ...dnsname.Name) *ddns.Credential {
	c := token(hosts...)
	c.Kind, c.Algorithm, c.State, c.Label = ddns.KindTSIG, "hmac-sha256", ddns.CredentialStop, `the "router" ü`
	c.Sealed, c.Fingerprint = []byte{1, 0, 255, 'x'}, []byte{0, 254, 7}
	c.Grants[0].Types, c.Grants[0].URLToken = []ddns.Type{ddns.TypeA, ddns.TypeTXT}, true
	c.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	c.Rate, c.Expires, c.Mark = 12, start.Add(90*24*time.Hour), 1770000000
	return c
}

func everyField(t *testing.T, s ddns.Store) {
	n := name("full")
	h, c := full(n), fullCredential(n)
	h.Credentials = []string{c.ID}
	want, wantCredential := h.Clone(), *c
	e := ddns.Event{Time: start, Generation: 1, Outcome: "changed", Door: "dyndns2", Credential: c.ID, Source: addr("2001:db8::7"), Proven: true,
		What: `created "so" \ ü`, Before: []netip.Addr{addr("192.0.2.7"), addr("2001:db8::7")}, After: []netip.Addr{addr("192.0.2.8")}}
	save(t, s, ddns.Write{Host: h, Credentials: []*ddns.Credential{c}, Event: e})

	got, list, err := s.Host(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "host", got, want)
	same(t, "credentials", list, []*ddns.Credential{&wantCredential})
	one, err := s.Credential(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "credential", one, &wantCredential)
	page, cursor, err := s.Hosts(t.Context(), "", 10)
	if err != nil || cursor != "" {
		t.Fatalf("Hosts: cursor %q, error %v", cursor, err)
	}
	same(t, "list", page, []*ddns.Host{want})
	history, err := s.Events(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "events", history, []ddns.Event{e})

	// The same by way of a change: all fields differ from what was.
	save(t, s, next(got, func(h *ddns.Host) {
		g := h.Generation
		*h = *newHost(n)
		h.Generation, h.Published = g, g
		h.Refusals, h.Seen = got.Refusals, got.Seen // these two are never taken back
	}))
	bare := newHost(n)
	bare.Generation, bare.Published, bare.Refusals, bare.Seen = 2, 2, 17, got.Seen
	same(t, "changed host", host(t, s, n), bare)
	save(t, s, next(host(t, s, n), func(h *ddns.Host) {
		g := h.Generation
		*h = *full(n)
		h.Generation, h.Published = g, g
	}))
	want.Generation, want.Published, want.Credentials = 3, 3, nil
	same(t, "host changed back", host(t, s, n), want)
}

func absent(t *testing.T, s ddns.Store) {
	ctx := t.Context()
	n := name("nobody")
	_, _, err := s.Host(ctx, n)
	wantError(t, "Host", err, ddns.ErrNoHost)
	_, err = s.Credential(ctx, "aaaaaaaa")
	wantError(t, "Credential", err, ddns.ErrNoCredential)
	_, err = s.Owner(ctx, n)
	wantError(t, "Owner", err, ddns.ErrNoHost)
	wantError(t, "Note", noted(ctx, s, n, 1, nil), ddns.ErrNoHost)
	if err := s.Refused(ctx, n, ddns.Event{Time: start, Outcome: "not-yours"}, 1); err != nil {
		t.Errorf("Refused of an unknown host: %v, want it ignored", err)
	}
	if err := s.Touch(ctx, n, 1, ddns.Touch{Seen: start}); err == nil {
		t.Error("Touch of an unknown host succeeded")
	}
	noEvents(t, s, n)
	for what, list := range lists(s) {
		page, cursor, err := list(ctx, "", 1000)
		if err != nil || cursor != "" || len(page) != 0 {
			t.Errorf("%s of an empty store: %d hosts, cursor %q, error %v", what, len(page), cursor, err)
		}
	}
}

func noEvents(t *testing.T, s ddns.Store, n dnsname.Name) {
	t.Helper()
	if list, err := s.Events(t.Context(), n); len(list) != 0 || err != nil && !errors.Is(err, ddns.ErrNoHost) {
		t.Errorf("Events(%s) = %v, %v; want none", n, list, err)
	}
}

type lister = func(context.Context, string, int) ([]*ddns.Host, string, error)

func lists(s ddns.Store) map[string]lister {
	return map[string]lister{
		"Hosts": s.Hosts, "Unpublished": s.Unpublished,
		"Due": func(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
			return s.Due(ctx, start.Add(1000*time.Hour), cursor, limit)
		},
	}
}

// all reads a listing to its end, with a function called after every page.
func all(t *testing.T, list lister, limit int, between func(page int)) []*ddns.Host {
	t.Helper()
	var out []*ddns.Host
	cursor := ""
	for page := range 1000 {
		hosts, next, err := list(t.Context(), cursor, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(hosts) > limit {
			t.Fatalf("a page of %d hosts, limit %d", len(hosts), limit)
		}
		out = append(out, hosts...)
		if cursor = next; cursor == "" {
			return out
		}
		if between != nil {
			between(page)
		}
	}
	t.Fatal("the listing does not end")
	return nil
}

func namesOf(hosts []*ddns.Host) []string {
	out := []string{}
	for _, h := range hosts {
		out = append(out, h.Name.String())
	}
	slices.Sort(out)
	return out
}

func numbered(i int) dnsname.Name { return name(fmt.Sprintf("host-%03d", i)) }
