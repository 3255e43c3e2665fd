package sqlite_test

import (
	"net/netip"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/ddns/storetest"
	"godwit/internal/dnsname"
	"godwit/internal/store/sqlite"
)

func open(t testing.TB, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(dir, sqlite.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) ddns.Store { return open(t, t.TempDir()) })
}

func TestReplay(t *testing.T) {
	storetest.Replay(t, 60, func(t *testing.T) ddns.Store { return open(t, t.TempDir()) })
}

var (
	zone = dnsname.MustParse("dyn.example.org")
	nas  = dnsname.MustParse("nas.dyn.example.org")
	day  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// newHost is a host as it is first saved.
func newHost(name dnsname.Name) *ddns.Host {
	return &ddns.Host{Name: name, Zone: zone, TTL: 60, Addresses: ddns.AnyAddress, Generation: 1, Published: 1,
		Created: day, ChangedAt: day, ChangedBy: "admin", A: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
}

// moved is the change of a host to another address.
func moved(before *ddns.Host, to string) ddns.Write {
	h := before.Clone()
	h.A = []netip.Addr{netip.MustParseAddr(to)}
	h.Generation++
	h.Published = h.Generation
	h.ChangedAt = h.ChangedAt.Add(time.Second)
	return ddns.Write{Before: before, Host: h, Event: ddns.Event{Time: h.ChangedAt, Generation: h.Generation, Outcome: "changed",
		Door: "seed", Credential: "k7m2qx4p", Source: h.A[0], Proven: true, Before: before.Current(), After: h.Current()}}
}

func created(h *ddns.Host, credentials ...*ddns.Credential) ddns.Write {
	for _, c := range credentials {
		h.Credentials = append(h.Credentials, c.ID)
	}
	return ddns.Write{Host: h, Credentials: credentials,
		Event: ddns.Event{Time: h.ChangedAt, Generation: h.Generation, Outcome: "changed", Door: "admin", What: "created"}}
}
