package ddns_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a Service with everything around it in memory.
type world struct {
	*ddns.Service
	store *publishtest.Store
	dns   *publishtest.DNS

	mu  sync.Mutex // guards now
	now time.Time
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// newWorld makes a world without limits, unless edit says otherwise.
func newWorld(t testing.TB, edit ...func(*ddns.Config)) *world {
	t.Helper()
	w := &world{store: new(publishtest.Store), dns: new(publishtest.DNS), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	config := ddns.Config{Store: w.store, Sealer: w.store, Zones: zones{}, Publisher: w.dns, Now: w.clock}
	for _, e := range edit {
		e(&config)
	}
	var err error
	if w.Service, err = ddns.NewService(config); err != nil {
		t.Fatal(err)
	}
	return w
}

// zones are dyn.example.org with a subzone, and example.net.
type zones struct{}

func (zones) Zone(name dnsname.Name) (dnsname.Name, bool) {
	for _, apex := range []string{"sub.dyn.example.org", "dyn.example.org", "example.net"} {
		if a := dnsname.MustParse(apex); name.Under(a) {
			return a, true
		}
	}
	return dnsname.Name{}, false
}

func (zones) Clash(name dnsname.Name) error {
	if name == dnsname.MustParse("static.dyn.example.org") {
		return errors.New("static.dyn.example.org has an MX record in zone file z, line 7")
	}
	return nil
}

// open are the settings of most test hosts: documentation addresses may be set.
func open(edit ...func(*ddns.Settings)) ddns.Settings {
	s := ddns.Settings{Addresses: new(ddns.AnyAddress)}
	for _, e := range edit {
		e(&s)
	}
	return s
}

func free(s *ddns.Settings) { s.Free = new(true) }

func named(text string) dnsname.Name { return dnsname.MustParse(text) }

// add makes a host with a token.
func (w *world) add(t testing.TB, name string, edit ...func(*ddns.Settings)) ddns.Created {
	t.Helper()
	made, err := w.Add(t.Context(), named(name), open(edit...), ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// put saves a state that no command makes.
func (w *world) put(t testing.TB, name string, edit func(h *ddns.Host, write *ddns.Write)) {
	t.Helper()
	before, _, err := w.store.Host(t.Context(), named(name))
	if err != nil {
		t.Fatal(err)
	}
	h := before.Clone()
	h.Generation++
	write := ddns.Write{Before: before, Host: h}
	edit(h, &write)
	if err := w.store.Save(t.Context(), write); err != nil {
		t.Fatal(err)
	}
}

// host is the state of a host in the store.
func (w *world) host(t testing.TB, name string) *ddns.Host {
	t.Helper()
	h, _, err := w.store.Host(t.Context(), named(name))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// by is an update of the host that made is for, by its token, from a source.
func by(made ddns.Created, source string, changes ...ddns.Change) ddns.Update {
	return ddns.Update{Host: made.Host.Name, Door: "test", Proof: ddns.TokenProof{Token: made.Token}, Source: from(source), Changes: changes}
}

func from(source string) ddns.Source { return ddns.SourceOf(netip.MustParseAddr(source)) }

func addrs(texts ...string) (out []netip.Addr) {
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

func set(t ddns.Type, texts ...string) ddns.Change {
	return ddns.Change{Type: t, Op: ddns.Replace, Addrs: addrs(texts...)}
}

func txt(op ddns.Op, values ...string) ddns.Change {
	return ddns.Change{Type: ddns.TypeTXT, Op: op, Texts: values}
}

func prefix(text string) ddns.Change {
	return ddns.Change{Type: ddns.TypePrefix, Op: ddns.Replace, Prefix: netip.MustParsePrefix(text)}
}

// must makes an update that must succeed.
func (w *world) must(t testing.TB, u ddns.Update) ddns.Outcome {
	t.Helper()
	out, err := w.Update(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// code is the code of a refusal, "" for none, and the text of any other error.
func code(err error) ddns.Code {
	if err == nil {
		return ""
	}
	if r, ok := errors.AsType[*ddns.Refusal](err); ok {
		return r.Code
	}
	return ddns.Code(err.Error())
}

func wantCode(t testing.TB, err error, want ddns.Code) *ddns.Refusal {
	t.Helper()
	if got := code(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
	r, _ := errors.AsType[*ddns.Refusal](err)
	return r
}

// shows is what DNS has, as addresses.
func (w *world) shows(name string, t ddns.Type) []netip.Addr {
	set, _ := w.dns.Shows(named(name), t)
	return set.Addrs
}

var background = context.Background()
