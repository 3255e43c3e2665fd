package ddns_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/tsig"
)

// addKey gives a host, and others, a TSIG key.
func (w *world) addKey(t testing.TB, name string, edit ...func(*ddns.TokenSpec)) ddns.Created {
	t.Helper()
	spec := ddns.TokenSpec{TSIG: tsig.SHA256}
	for _, e := range edit {
		e(&spec)
	}
	made, err := w.AddToken(t.Context(), named(name), spec)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func keyOf(t testing.TB, made ddns.Created) tsig.Key {
	t.Helper()
	name, err := made.Credential.TSIGName(made.Host)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base64.StdEncoding.DecodeString(made.TSIGSecret.Reveal())
	if err != nil || len(secret) != tsig.Algorithm(made.Credential.Algorithm).Size() {
		t.Fatalf("a secret of %d octets, %v", len(secret), err)
	}
	return tsig.Key{Name: []byte(name.Wire()), Algorithm: tsig.Algorithm(made.Credential.Algorithm), Secret: secret}
}

// signed is a message, which need not be more than a header for the core.
func signed(t testing.TB, k tsig.Key, id uint16, at time.Time) ([]byte, tsig.Record) {
	t.Helper()
	msg := append(binary.BigEndian.AppendUint16(nil, id), 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	r := tsig.Request(id, at)
	msg, _ = k.Sign(msg, &r, nil, false)
	r, err := tsig.Read(msg)
	if err != nil {
		t.Fatal(err)
	}
	return msg, r
}

// send verifies a message and makes the update that it is taken for.
func (w *world) send(t testing.TB, msg []byte, r tsig.Record, u ddns.Update) (ddns.Outcome, error) {
	t.Helper()
	proof, err := w.VerifyTSIG(t.Context(), u.Source, msg, r)
	if err != nil {
		return ddns.Outcome{}, err
	}
	u.Proof = proof
	return w.Update(t.Context(), u)
}

func tsigUpdate(name string, changes ...ddns.Change) ddns.Update {
	return ddns.Update{Host: named(name), Door: "update", Source: from("192.0.2.7"), Changes: changes, Ask: len(changes) == 0}
}

func TestTSIG(t *testing.T) {
	w := newWorld(t)
	w.add(t, "a.dyn.example.org", free)
	w.add(t, "b.dyn.example.org", free)
	w.add(t, "c.example.net", free)
	made := w.addKey(t, "a.dyn.example.org", func(s *ddns.TokenSpec) {
		s.Hosts, s.Types = []dnsname.Name{named("c.example.net")}, []ddns.Type{ddns.TypeA}
	})
	k := keyOf(t, made)
	w.pass(time.Minute)
	id := uint16(0)
	try := func(k tsig.Key, u ddns.Update) (ddns.Outcome, error) {
		id++
		msg, r := signed(t, k, id, w.clock())
		return w.send(t, msg, r, u)
	}
	for _, name := range []string{"a.dyn.example.org", "c.example.net"} {
		if out, err := try(k, tsigUpdate(name, set(ddns.TypeA, "192.0.2.9"))); err != nil || !out.Changed {
			t.Errorf("%s: %v, %v", name, out.Changed, err)
		}
		if h := w.host(t, name); len(h.A) != 1 || h.ChangedBy != made.Credential.ID {
			t.Errorf("%s: %v by %s", name, h.A, h.ChangedBy)
		}
	}
	elsewhere := k // its name in the other zone
	elsewhere.Name = []byte("\x08" + made.Credential.ID + "\x07example\x03net\x00")
	if _, err := try(elsewhere, tsigUpdate("c.example.net", set(ddns.TypeA, "192.0.2.10"))); err != nil {
		t.Error(err)
	}
	if _, err := try(k, tsigUpdate("b.dyn.example.org", set(ddns.TypeA, "192.0.2.9"))); code(err) != ddns.BadProof {
		t.Errorf("a host that it does not serve: %v", err)
	}
	if _, err := try(k, tsigUpdate("a.dyn.example.org", set(ddns.TypeAAAA, "2001:db8::1"))); code(err) != ddns.NotYours {
		t.Errorf("a type that it does not cover: %v", err)
	}
	wrong := func(edit func(k *tsig.Key)) tsig.Key {
		other := k
		edit(&other)
		return other
	}
	for name, c := range map[string]struct {
		key  tsig.Key
		want error
	}{
		"another secret":    {wrong(func(k *tsig.Key) { k.Secret = []byte("other") }), tsig.ErrSig},
		"another algorithm": {wrong(func(k *tsig.Key) { k.Algorithm = tsig.MD5 }), tsig.ErrKey},
		"another zone":      {wrong(func(k *tsig.Key) { k.Name = []byte("\x08" + made.Credential.ID + "\x07invalid\x00") }), tsig.ErrKey},
		"no zone":           {wrong(func(k *tsig.Key) { k.Name = k.Name[:9:9]; k.Name = append(k.Name, 0) }), tsig.ErrKey},
		"unknown":           {wrong(func(k *tsig.Key) { k.Name = []byte("\x08aaaaaaaa\x03dyn\x07example\x03org\x00") }), tsig.ErrKey},
		"the root":          {wrong(func(k *tsig.Key) { k.Name = []byte{0} }), tsig.ErrKey},
	} {
		if _, err := try(c.key, tsigUpdate("a.dyn.example.org", set(ddns.TypeA, "192.0.2.66"))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if h := w.host(t, "a.dyn.example.org"); h.A[0].String() != "192.0.2.9" || len(h.AAAA) > 0 {
		t.Errorf("it shows %v", h.Current())
	}

	// What ends a token ends a key.
	next, err := w.RotateToken(t.Context(), named("a.dyn.example.org"), made.Credential.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	fresh := keyOf(t, next)
	for _, k := range []tsig.Key{k, fresh} {
		if _, err := try(k, tsigUpdate("c.example.net", set(ddns.TypeA, "192.0.2.11"))); err != nil {
			t.Errorf("while both hold: %v", err)
		}
	}
	w.pass(2 * time.Hour)
	if _, err := try(k, tsigUpdate("c.example.net", set(ddns.TypeA, "192.0.2.12"))); !errors.Is(err, tsig.ErrKey) {
		t.Errorf("after the overlap: %v", err)
	}
	msg, r := signed(t, fresh, 7, w.clock())
	proof, err := w.VerifyTSIG(t.Context(), from("192.0.2.7"), msg, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.RevokeToken(t.Context(), named("a.dyn.example.org"), next.Credential.ID); err != nil {
		t.Fatal(err)
	}
	u := tsigUpdate("a.dyn.example.org", set(ddns.TypeA, "192.0.2.13"))
	u.Proof = proof
	if _, err := w.Update(t.Context(), u); code(err) != ddns.BadProof {
		t.Errorf("revoked after it was verified: %v", err)
	}
	if _, err := try(fresh, tsigUpdate("c.example.net", set(ddns.TypeA, "192.0.2.13"))); !errors.Is(err, tsig.ErrKey) {
		t.Errorf("revoked: %v", err)
	}
	u.Proof = &ddns.TSIGProof{}
	if _, err := w.Update(t.Context(), u); code(err) != ddns.BadProof {
		t.Errorf("a proof that nobody verified: %v", err)
	}
}

// A key with networks is good where the transport proves the source.
func TestTSIGNetworks(t *testing.T) {
	w := newWorld(t)
	w.add(t, "a.dyn.example.org", free)
	k := keyOf(t, w.addKey(t, "a.dyn.example.org", func(s *ddns.TokenSpec) {
		s.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	}))
	w.pass(time.Second)
	for name, c := range map[string]struct {
		src  ddns.Source
		want error
	}{
		"within":   {from("192.0.2.7"), nil},
		"outside":  {from("198.51.100.7"), tsig.ErrKey},
		"unproven": {ddns.Source{Addr: netip.MustParseAddr("192.0.2.7")}, tsig.ErrKey},
	} {
		msg, r := signed(t, k, 1, w.clock())
		if _, err := w.VerifyTSIG(t.Context(), c.src, msg, r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same message again gets the same answer and does nothing, whatever
// happened meanwhile, and over a restart it is of another time.
func TestTSIGReplay(t *testing.T) {
	w := newWorld(t)
	w.add(t, "a.dyn.example.org", free)
	k := keyOf(t, w.addKey(t, "a.dyn.example.org"))
	w.pass(time.Second)
	type recorded struct {
		msg  []byte
		r    tsig.Record
		u    ddns.Update
		code ddns.Code
	}
	var corpus []recorded
	record := func(u ddns.Update, want ddns.Code, ahead time.Duration) {
		t.Helper()
		msg, r := signed(t, k, uint16(len(corpus)), w.clock().Add(ahead))
		if _, err := w.send(t, msg, r, u); code(err) != want {
			t.Fatalf("message %d: %v, want %q", len(corpus), err, want)
		}
		corpus = append(corpus, recorded{msg, r, u, want})
	}
	record(tsigUpdate("a.dyn.example.org", set(ddns.TypeA, "192.0.2.1")), "", 0)
	record(tsigUpdate("a.dyn.example.org", set(ddns.TypeA, "192.0.2.2")), "", 0) // in the same second
	record(tsigUpdate("a.dyn.example.org", txt(ddns.Add, "value")), "", 0)
	record(tsigUpdate("a.dyn.example.org", txt(ddns.Clear)), "", 0)
	record(tsigUpdate("a.dyn.example.org", set(ddns.TypeA, "192.0.2.2")), "", 290*time.Second) // changes nothing, and its clock is ahead
	conditional := tsigUpdate("a.dyn.example.org", set(ddns.TypeA, "192.0.2.3"))
	conditional.Preconditions = []ddns.Precondition{{Kind: ddns.RRsetExists, Type: ddns.TypeTXT}}
	record(conditional, ddns.ConditionFailed, 0)
	record(tsigUpdate("a.dyn.example.org", txt(ddns.Add, "later")), "", 0) // now the condition would hold
	before := w.host(t, "a.dyn.example.org")

	unchanged := func(when string) {
		t.Helper()
		if h := w.host(t, "a.dyn.example.org"); h.Generation != before.Generation {
			t.Errorf("%s: generation %d, not %d", when, h.Generation, before.Generation)
		}
	}
	for range 1000 {
		for i, c := range corpus {
			out, err := w.send(t, c.msg, c.r, c.u)
			if code(err) != c.code || !out.Repeated {
				t.Fatalf("message %d again: %+v, %v; want %q", i, out, err, c.code)
			}
		}
	}
	unchanged("again")

	// A new process knows no messages.
	for range 2 {
		s, err := ddns.NewService(w.Config)
		if err != nil {
			t.Fatal(err)
		}
		w.Service = s
		for range 3 {
			for i, c := range corpus {
				if _, err := w.send(t, c.msg, c.r, c.u); !errors.Is(err, tsig.ErrTime) {
					t.Errorf("message %d after a start: %v", i, err)
				}
			}
			w.pass(200 * time.Second)
		}
	}
	unchanged("after a start")
	// The client whose clock is ahead goes on.
	record(tsigUpdate("a.dyn.example.org", set(ddns.TypeA, "192.0.2.4")), "", 290*time.Second)
	record(tsigUpdate("a.dyn.example.org", set(ddns.TypeA, "192.0.2.5")), "", 290*time.Second)
}

// Secrets are exported on demand, and the key goes on working where they are
// imported; without them it is known and does not work.
func TestTSIGExport(t *testing.T) {
	for _, withSecrets := range []bool{true, false} {
		w, other := newWorld(t), newWorld(t)
		w.add(t, "a.dyn.example.org", free)
		w.add(t, "b.dyn.example.org", free)
		made := w.addKey(t, "a.dyn.example.org", func(s *ddns.TokenSpec) { s.Hosts = []dnsname.Name{named("b.dyn.example.org")} })
		k := keyOf(t, made)
		var hosts []ddns.ExportedHost
		for _, name := range []string{"b.dyn.example.org", "a.dyn.example.org"} {
			h, credentials, err := w.store.Host(t.Context(), named(name))
			if err != nil {
				t.Fatal(err)
			}
			e, err := w.ExportHost(h, credentials, withSecrets)
			if err != nil {
				t.Fatal(err)
			}
			hosts = append(hosts, e)
		}
		if done, err := other.ImportHosts(t.Context(), hosts); err != nil || done.Added != 2 {
			t.Fatalf("%+v, %v", done, err)
		}
		other.pass(time.Second)
		for i, name := range []string{"a.dyn.example.org", "b.dyn.example.org"} {
			msg, r := signed(t, k, uint16(i), other.clock())
			_, err := other.send(t, msg, r, tsigUpdate(name, set(ddns.TypeA, "192.0.2.1")))
			if withSecrets && err != nil || !withSecrets && !errors.Is(err, tsig.ErrKey) {
				t.Errorf("%s, secrets %t: %v", name, withSecrets, err)
			}
		}
	}
}

func TestTSIGSpec(t *testing.T) {
	w := newWorld(t)
	w.add(t, "a.dyn.example.org")
	for want, spec := range map[string]ddns.TokenSpec{
		"no such TSIG algorithm":   {TSIG: "hmac-sha3"},
		"no join code":             {TSIG: tsig.SHA256, Join: true},
		"does not stand in a URL":  {TSIG: tsig.SHA256, URLToken: true},
		"would have expired alrea": {TSIG: tsig.SHA256, Expires: w.clock()},
	} {
		if _, err := w.AddToken(t.Context(), named("a.dyn.example.org"), spec); code(err) != ddns.Malformed || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
