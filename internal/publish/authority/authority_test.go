package authority_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
	"go.uber.org/goleak"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/publish/authority"
	"godwit/internal/store/sqlite"
	"godwit/internal/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	apex = dnsname.MustParse("dyn.example.com")
	nas  = dnsname.MustParse("nas.dyn.example.com")

	catalog = dnsname.MustParse("catalog.dyn.example.com")
)

// rig is a store that an authority follows, and the service in front.
type rig struct {
	t       *testing.T
	store   *sqlite.Store
	auth    *authority.Authority
	service *ddns.Service
	loaded  authority.Loaded
	told    atomic.Int32 // that a zone has changed
}

func configs(file string, apexes ...dnsname.Name) (out []authority.ZoneConfig) {
	for i, a := range apexes {
		ns, _ := a.Child("ns")
		c := authority.ZoneConfig{Apex: a, NameServers: []zone.NameServer{{Name: ns, Addresses: addrs("192.0.2.53")}}}
		if i == 0 && file != "" {
			c.File, c.FileName = strings.NewReader(file), "dyn.zone"
		}
		out = append(out, c)
	}
	return out
}

func open(t *testing.T, dir, file string, apexes ...dnsname.Name) (*rig, error) {
	t.Helper()
	store, err := sqlite.Open(dir, sqlite.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	auth, err := authority.New(configs(file, apexes...), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	service, err := ddns.NewService(ddns.Config{Store: store, Sealer: store, Zones: auth})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: store, auth: auth, service: service}
	err = auth.ServeSecondaries(authority.Secondaries{Catalog: catalog, Changed: func(dnsname.Name) { r.told.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	r.loaded, err = auth.Follow(t.Context(), store)
	return r, err
}

func mustOpen(t *testing.T, dir, file string, apexes ...dnsname.Name) *rig {
	t.Helper()
	r, err := open(t, dir, file, apexes...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// add makes a host that takes any address and gives it these, from a source that
// may name others.
func (r *rig) add(name dnsname.Name, settings ddns.Settings, values ...string) ddns.Created {
	r.t.Helper()
	any, free := ddns.AnyAddress, true
	settings.Addresses, settings.Free = &any, &free
	created, err := r.service.Add(r.t.Context(), name, settings, ddns.Secret{})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(values) > 0 {
		r.update(created, values...)
	}
	return created
}

func (r *rig) update(c ddns.Created, values ...string) ddns.Outcome {
	r.t.Helper()
	changes := map[ddns.Type]ddns.Change{}
	for _, a := range addrs(values...) {
		t := ddns.TypeAAAA
		if a.Is4() {
			t = ddns.TypeA
		}
		ch := changes[t]
		changes[t] = ddns.Change{Type: t, Op: ddns.Replace, Addrs: append(ch.Addrs, a)}
	}
	u := ddns.Update{Host: c.Host.Name, Door: "test", Proof: ddns.TokenProof{Token: c.Token}, Source: ddns.SourceOf(netip.MustParseAddr("198.51.100.1"))}
	for _, ch := range changes {
		u.Changes = append(u.Changes, ch)
	}
	out, err := r.service.Update(r.t.Context(), u)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// ask returns the rcode and the data of the answer section, sorted.
func (r *rig) ask(name string, qtype uint16) string {
	r.t.Helper()
	n := dnsname.MustParse(name)
	z := r.auth.Zones().Find([]byte(n.Wire()), qtype)
	if z == nil {
		return "REFUSED"
	}
	msg := append(make([]byte, 12, 4096+zone.Slack), n.Wire()...)
	msg[5] = 1
	msg = append(msg, byte(qtype>>8), byte(qtype), 0, 1)
	var w zone.Writer
	w.Start(msg, []byte(n.Wire()), 4096)
	z.Answer(&w, qtype)
	m := &dns.Msg{Data: w.Finish()}
	if err := m.Unpack(); err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, rr := range m.Answer {
		out = append(out, strings.Join(strings.Fields(rr.String())[1:], " "))
	}
	slices.Sort(out)
	if len(out) == 0 {
		return dns.RcodeToString[m.Rcode]
	}
	return strings.Join(out, "; ")
}

func (r *rig) want(name string, qtype uint16, want string) {
	r.t.Helper()
	if got := r.ask(name, qtype); got != want {
		r.t.Errorf("%s %s:\n got %s\nwant %s", name, dns.TypeToString[qtype], got, want)
	}
}

func TestFollowsUpdates(t *testing.T) {
	dir := t.TempDir()
	r := mustOpen(t, dir, "", apex)
	c := r.add(nas, ddns.Settings{})
	r.want("nas.dyn.example.com", dns.TypeA, "NXDOMAIN")
	r.update(c, "198.51.100.7", "2001:db8::7")
	r.want("nas.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.7")
	r.want("nas.dyn.example.com", dns.TypeAAAA, "60 IN AAAA 2001:db8::7")
	r.update(c, "198.51.100.8")
	r.want("nas.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.8")
	r.want("nas.dyn.example.com", dns.TypeAAAA, "60 IN AAAA 2001:db8::7")

	ttl, on, off := uint32(300), true, false
	set := func(s ddns.Settings) {
		t.Helper()
		if _, err := r.service.Set(t.Context(), nas, s); err != nil {
			t.Fatal(err)
		}
	}
	set(ddns.Settings{TTL: &ttl, Wildcard: &on})
	r.want("nas.dyn.example.com", dns.TypeA, "300 IN A 198.51.100.8")
	r.want("x.nas.dyn.example.com", dns.TypeA, "300 IN A 198.51.100.8")
	set(ddns.Settings{Suspended: &on})
	r.want("nas.dyn.example.com", dns.TypeA, "NXDOMAIN")
	r.want("x.nas.dyn.example.com", dns.TypeA, "NXDOMAIN")
	set(ddns.Settings{Suspended: &off, Wildcard: &off})
	r.want("nas.dyn.example.com", dns.TypeA, "300 IN A 198.51.100.8")
	r.want("x.nas.dyn.example.com", dns.TypeA, "NXDOMAIN")

	r.store.Close()
	r = mustOpen(t, dir, "", apex)
	r.want("nas.dyn.example.com", dns.TypeA, "300 IN A 198.51.100.8")
	if err := r.service.Remove(t.Context(), nas); err != nil {
		t.Fatal(err)
	}
	r.want("nas.dyn.example.com", dns.TypeA, "NXDOMAIN")
	if z := r.auth.List()[0]; z.Hosts() != 0 {
		t.Errorf("%d hosts are left in the zone, want 0", z.Hosts())
	}
}

func TestFollowersMoveWithThePrefix(t *testing.T) {
	r := mustOpen(t, t.TempDir(), "", apex)
	low, err := ddns.ParseLow("::1234")
	if err != nil {
		t.Fatal(err)
	}
	tv := dnsname.MustParse("tv.dyn.example.com")
	followers := []ddns.Follower{{Name: tv, Low: low, A: true, AAAA: true}}
	c := r.add(nas, ddns.Settings{Followers: &followers}, "198.51.100.7")
	prefix := func(p string) {
		t.Helper()
		_, err := r.service.Update(t.Context(), ddns.Update{Host: nas, Proof: ddns.TokenProof{Token: c.Token},
			Source:  ddns.SourceOf(netip.MustParseAddr("198.51.100.7")),
			Changes: []ddns.Change{{Type: ddns.TypePrefix, Op: ddns.Replace, Prefix: netip.MustParsePrefix(p)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	prefix("2001:db8:0:ff00::/56")
	r.want("tv.dyn.example.com", dns.TypeAAAA, "60 IN AAAA 2001:db8:0:ff00::1234")
	r.want("tv.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.7")
	prefix("2001:db8:1::/56")
	r.want("tv.dyn.example.com", dns.TypeAAAA, "60 IN AAAA 2001:db8:1::1234")

	// A name that a follower gave up may be a host's, whose generations start low.
	none := []ddns.Follower{}
	if _, err := r.service.Set(t.Context(), nas, ddns.Settings{Followers: &none}); err != nil {
		t.Fatal(err)
	}
	r.want("tv.dyn.example.com", dns.TypeA, "NXDOMAIN")
	r.add(tv, ddns.Settings{}, "198.51.100.9")
	r.want("tv.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.9")
}

func TestSerialMoves(t *testing.T) {
	dir := t.TempDir()
	other := dnsname.MustParse("lab.example.net")
	r := mustOpen(t, dir, "", apex, other)
	serials := func() (out []ddns.Serial) {
		for _, z := range r.auth.List() {
			out = append(out, ddns.Serial(z.Serial()))
		}
		return out
	}
	before := serials()
	c := r.add(nas, ddns.Settings{}, "198.51.100.7")
	after := serials()
	if !before[0].Before(after[0]) {
		t.Errorf("the serial of %s went from %d to %d with a change", apex, before[0], after[0])
	}
	if before[1] != after[1] {
		t.Errorf("the serial of %s went from %d to %d without a change", other, before[1], after[1])
	}
	r.update(c, "198.51.100.7")
	if again := serials(); again[0] != after[0] {
		t.Errorf("the serial went from %d to %d though nothing changed", after[0], again[0])
	}

	restart := func(file string) []ddns.Serial {
		t.Helper()
		r.store.Close()
		r = mustOpen(t, dir, file, apex, other)
		return serials()
	}
	if same := restart(""); !slices.Equal(same, after) {
		t.Errorf("serials after a restart are %d, want %d", same, after)
	}
	if edited := restart("@ MX 10 mail.example.net.\n"); !after[0].Before(edited[0]) {
		t.Errorf("the serial went from %d to %d though the zone file changed", after[0], edited[0])
	}
}

func TestStaticRecordsClash(t *testing.T) {
	dir := t.TempDir()
	file := "@ MX 10 mail.example.net.\nwww A 192.0.2.80\nnas MX 10 nas\noffice NS ns1.example.net.\n"
	r := mustOpen(t, dir, file, apex)
	for name, line := range map[string]string{"www.dyn.example.com": "dyn.zone:2", "pc.office.dyn.example.com": "dyn.zone:4", "ns.dyn.example.com": "reserved"} {
		_, err := r.service.Add(t.Context(), dnsname.MustParse(name), ddns.Settings{}, ddns.Secret{})
		if err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("add %s: got %v, want an error that says %s", name, err, line)
		}
	}
	r.add(nas, ddns.Settings{}, "198.51.100.7")
	r.want("nas.dyn.example.com", dns.TypeMX, "3600 IN MX 10 nas.dyn.example.com.")
	r.want("nas.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.7")

	r.store.Close()
	_, err := open(t, dir, "; moved\nnas A 192.0.2.9\n", apex)
	var clash *zone.ClashError
	if !errors.As(err, &clash) || !strings.Contains(err.Error(), "dyn.zone:2") || !strings.Contains(err.Error(), "take the record out") {
		t.Errorf("start with a record at a host: got %v, want a clash at dyn.zone:2 and what to do", err)
	}
}

// readers is a feed that reads its hosts in several goroutines.
type readers [][]*ddns.Host

func (r readers) Follow(loader func() func(*ddns.Host) error, loaded func(), _ func(ddns.Commit)) error {
	errs := make([]error, len(r))
	var wg sync.WaitGroup
	for i, hosts := range r {
		wg.Go(func() {
			load := loader()
			for _, h := range hosts {
				if errs[i] = load(h); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	loaded()
	return nil
}

func (readers) Zone(context.Context, dnsname.Name, []byte) (ddns.Serial, error) { return 7, nil }

// TestReadersSideBySide: what several goroutines of a feed have read is put together.
func TestReadersSideBySide(t *testing.T) {
	host := func(name string, home dnsname.Name) *ddns.Host {
		return &ddns.Host{Name: dnsname.MustParse(name), Zone: home, TTL: 60, Generation: 1, A: addrs("198.51.100.7")}
	}
	other := dnsname.MustParse("other.example")
	feed := readers{
		{host("a.dyn.example.com", apex), host("x.other.example", other), host("m.dyn.example.com", other)},
		{host("b.dyn.example.com", apex), host("y.other.example", other), host("n.dyn.example.com", other)},
		{},
	}
	auth, err := authority.New(configs("", apex), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := auth.Follow(t.Context(), feed)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, auth: auth}
	for _, name := range []string{"a", "b", "m", "n"} {
		r.want(name+".dyn.example.com", dns.TypeA, "60 IN A 198.51.100.7")
	}
	if loaded.Hosts != 6 || loaded.Homeless[other] != 2 || len(loaded.Moved) != 2 {
		t.Errorf("%+v, want 6 hosts, 2 of them homeless and 2 moved", loaded)
	}

	// Each of them meets more clashes than are shown.
	feed = readers{nil, nil}
	var records strings.Builder
	for i := range 40 {
		fmt.Fprintf(&records, "c%d A 192.0.2.80\n", i)
		feed[i%2] = append(feed[i%2], host(fmt.Sprintf("c%d.dyn.example.com", i), apex))
	}
	if auth, err = authority.New(configs(records.String(), apex), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	_, err = auth.Follow(t.Context(), feed)
	if err == nil || strings.Count(err.Error(), "take the record out") < 10 {
		t.Errorf("40 clashes: %v, want ten of them and what to do", err)
	}
}

// commits is a feed of no hosts, and of whatever a test calls apply with.
type commits struct{ apply func(ddns.Commit) }

func (c *commits) Follow(_ func() func(*ddns.Host) error, loaded func(), apply func(ddns.Commit)) error {
	loaded()
	c.apply = apply
	return nil
}

func (*commits) Zone(context.Context, dnsname.Name, []byte) (ddns.Serial, error) { return 7, nil }

// TestShowsTheRest: a name that cannot be shown, which admission prevents, keeps
// no other name and no serial from being shown.
func TestShowsTheRest(t *testing.T) {
	auth, err := authority.New(configs("www A 192.0.2.80\n", apex), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var feed commits
	if _, err := auth.Follow(t.Context(), &feed); err != nil {
		t.Fatal(err)
	}
	pc := dnsname.MustParse("pc.dyn.example.com")
	host := &ddns.Host{
		Name: nas, Zone: apex, TTL: 60, Generation: 1, A: addrs("198.51.100.7"),
		Followers: []ddns.Follower{{Name: dnsname.MustParse("www.dyn.example.com"), A: true}, {Name: pc, A: true}},
	}
	feed.apply(ddns.Commit{Changes: []ddns.HostChange{{After: host}}, Serials: map[dnsname.Name]ddns.Serial{apex: 8, dnsname.MustParse("other.example"): 9}})
	r := &rig{t: t, auth: auth}
	r.want("nas.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.7")
	r.want("pc.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.7")
	if got := auth.List()[0].Serial(); got != 8 {
		t.Errorf("serial %d, want 8", got)
	}
}

func TestHostsOfOtherConfigurations(t *testing.T) {
	dir := t.TempDir()
	parent := dnsname.MustParse("example.com")
	r := mustOpen(t, dir, "", parent)
	r.add(nas, ddns.Settings{}, "198.51.100.7")
	r.add(dnsname.MustParse("www.example.com"), ddns.Settings{}, "198.51.100.8")
	r.store.Close()

	r = mustOpen(t, dir, "", apex)
	if got := r.loaded.Homeless[parent]; got != 1 {
		t.Errorf("%d hosts have no zone, want 1", got)
	}
	if !slices.Equal(r.loaded.Moved, []dnsname.Name{nas}) {
		t.Errorf("moved are %v, want %v", r.loaded.Moved, nas)
	}
	r.want("nas.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.7")
	r.want("www.example.com", dns.TypeA, "REFUSED")
	if err := r.service.Rehome(t.Context(), nas); err != nil {
		t.Fatal(err)
	}
	h, _, err := r.service.Show(t.Context(), nas)
	if err != nil || h.Zone != apex {
		t.Errorf("after Rehome the host is in zone %v (%v), want %v", h.Zone, err, apex)
	}
	r.store.Close()

	r = mustOpen(t, dir, "", parent, apex)
	if len(r.loaded.Moved)+len(r.loaded.Homeless) != 0 {
		t.Errorf("hosts out of place: %+v", r.loaded)
	}
}

func TestLeaseEmptiesDNS(t *testing.T) {
	r := mustOpen(t, t.TempDir(), "", apex)
	lease := 24 * time.Hour
	r.add(nas, ddns.Settings{Lease: &lease}, "198.51.100.7")
	late, err := ddns.NewService(ddns.Config{Store: r.store, Sealer: r.store, Zones: r.auth, Now: func() time.Time { return time.Now().Add(25 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("nas.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.7")
	if err := late.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("nas.dyn.example.com", dns.TypeA, "NXDOMAIN")
}
