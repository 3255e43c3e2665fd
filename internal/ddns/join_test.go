package ddns_test

import (
	"bytes"
	"crypto/ed25519"
	"net/netip"
	"slices"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// pub is a public key that fits signatures of the same name; see signed.
func pub(b byte) ed25519.PublicKey { return bytes.Repeat([]byte{b}, ddns.KeySize) }

// signed is an update with a signature of this second, as the core sees one.
func (w *world) signed(host, id string, key ed25519.PublicKey, source string, changes ...ddns.Change) ddns.Update {
	created := w.clock().Unix()
	return ddns.Update{Host: named(host), Door: "signed", Source: from(source), Changes: changes, Proof: ddns.SignatureProof{
		KeyID: id, Created: created, Verify: func(k ed25519.PublicKey) bool { return bytes.Equal(k, key) },
		CheckTime: func(now time.Time) *ddns.Refusal {
			if now.Unix() != created {
				return &ddns.Refusal{Code: ddns.Clock}
			}
			return nil
		}}}
}

// join has a device use a code.
func (w *world) join(t testing.TB, code ddns.Secret, key ed25519.PublicKey, source string) (ddns.Joined, error) {
	t.Helper()
	p, ok := ddns.ParseCode(code.Reveal())
	if !ok {
		t.Fatalf("%q is no code", code.Reveal())
	}
	return w.Join(t.Context(), "join", from(source), p, key)
}

func (w *world) credentials(t testing.TB, host string) (*ddns.Host, map[string]*ddns.Credential) {
	t.Helper()
	h, list, err := w.Show(t.Context(), named(host))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*ddns.Credential{}
	for _, c := range list {
		out[c.ID] = c
	}
	if len(out) != len(h.Credentials) {
		t.Fatalf("the host lists %v, and has %v", h.Credentials, out)
	}
	return h, out
}

const pi = "pi.dyn.example.org"

// A key has the limits of the code that it came by.
func TestKeyHasItsCodesLimits(t *testing.T) {
	w := newWorld(t)
	w.add(t, pi)
	code, err := w.AddToken(t.Context(), named(pi), ddns.TokenSpec{Join: true, Label: "pi", Types: []ddns.Type{ddns.TypeAAAA}, Rate: 2,
		Networks: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.0/24")}})
	if err != nil {
		t.Fatal(err)
	}
	if !code.Token.IsZero() || !code.Credential.Expires.Equal(w.clock().Add(ddns.CodeLife)) {
		t.Errorf("a code with a token, or another end: %+v", code)
	}
	_, err = w.join(t, code.Code, pub(1), "198.51.100.1")
	wantCode(t, err, ddns.BadProof) // outside the networks
	joined, err := w.join(t, code.Code, pub(1), "192.0.2.1")
	if err != nil || joined.Credential.ID != code.Credential.ID {
		t.Fatalf("%+v, %v", joined, err)
	}
	_, list := w.credentials(t, pi)
	if c := list[code.Credential.ID]; c.Kind != ddns.KindEd25519 || c.Label != "pi" || c.Rate != 2 || len(c.Networks) != 2 || !c.Expires.IsZero() || !slices.Equal(c.Grants[0].Types, []ddns.Type{ddns.TypeAAAA}) {
		t.Errorf("the key is %+v", c)
	}
	_, err = w.Update(t.Context(), w.signed(pi, joined.Credential.ID, pub(1), "192.0.2.1"))
	wantCode(t, err, ddns.WrongFamily)
	_, err = w.Update(t.Context(), w.signed(pi, joined.Credential.ID, pub(1), "198.51.100.1", set(ddns.TypeAAAA, "2001:db8::1")))
	wantCode(t, err, ddns.BadProof)
	w.must(t, w.signed(pi, joined.Credential.ID, pub(1), "2001:db8::1"))
	for _, spec := range []ddns.TokenSpec{{Join: true, Expires: w.clock().Add(time.Hour)}, {Join: true, URLToken: true}} {
		_, err = w.AddToken(t.Context(), named(pi), spec)
		wantCode(t, err, ddns.Malformed)
	}
}

// A joined host has no shared secret; rotating it ends keys and codes.
func TestRotateEndsKeys(t *testing.T) {
	w := newWorld(t)
	on := false
	_, err := w.AddJoin(t.Context(), named(pi), ddns.Settings{SeedOff: &on})
	wantCode(t, err, ddns.Malformed)
	made, err := w.AddJoin(t.Context(), named(pi), open())
	if err != nil || !made.Host.SeedOff || made.Credential.Sealed != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	joined, err := w.join(t, made.Code, pub(1), "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	spare, err := w.AddToken(t.Context(), named(pi), ddns.TokenSpec{Join: true})
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.RotateJoin(t.Context(), named(pi))
	if err != nil {
		t.Fatal(err)
	}
	h, list := w.credentials(t, pi)
	if len(list) != 1 || list[again.Credential.ID] == nil || !h.Ends.Equal(again.Credential.Expires) {
		t.Errorf("after rotating: %+v, %v", h, list)
	}
	_, err = w.join(t, spare.Code, pub(2), "192.0.2.1")
	wantCode(t, err, ddns.BadProof)
	w.pass(time.Minute)
	_, err = w.Update(t.Context(), w.signed(pi, joined.Credential.ID, pub(1), "192.0.2.1"))
	wantCode(t, err, ddns.BadProof)
	// A token in place of all.
	if _, err := w.Rotate(t.Context(), named(pi), ddns.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	if h, list = w.credentials(t, pi); len(list) != 1 || !h.Ends.IsZero() {
		t.Errorf("after rotating to a token: %+v, %v", h, list)
	}
}

// An operator's rotation of a key is a code; the old key goes on meanwhile, and
// is swept when it has ended. Nothing else goes with it.
func TestRotateKey(t *testing.T) {
	w := newWorld(t)
	made, err := w.AddJoin(t.Context(), named(pi), open())
	if err != nil {
		t.Fatal(err)
	}
	old, err := w.join(t, made.Code, pub(1), "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.AddToken(t.Context(), named(pi), ddns.TokenSpec{Expires: w.clock().Add(30 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	next, err := w.RotateToken(t.Context(), named(pi), old.Credential.ID, time.Hour)
	if err != nil || next.Code.IsZero() {
		t.Fatalf("%+v, %v", next, err)
	}
	h, _ := w.credentials(t, pi)
	if want := w.clock().Add(time.Hour); !h.Ends.Equal(want) || !h.NextDue().Equal(want) {
		t.Errorf("ends %s, due %s, want %s", h.Ends, h.NextDue(), want)
	}
	w.pass(time.Minute)
	w.must(t, w.signed(pi, old.Credential.ID, pub(1), "192.0.2.1"))
	if _, err := w.join(t, next.Code, pub(2), "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h, list := w.credentials(t, pi)
	if len(list) != 2 || list[next.Credential.ID] == nil || list[token.Credential.ID] == nil || !h.Ends.IsZero() || len(h.A) != 1 {
		t.Errorf("after the sweep: %+v, %v", h, list)
	}
	events, err := w.History(t.Context(), named(pi))
	if err != nil || events[0].What != "a join code or a replaced key ended" || events[0].Door != "clock" {
		t.Errorf("the newest event is %+v, %v", events[0], err)
	}
	if shown := w.shows(pi, ddns.TypeA); len(shown) != 1 {
		t.Errorf("DNS shows %v", shown)
	}
}

// New keys are counted as changes are, and there are as many as a host may have.
func TestReplaceKeyLimits(t *testing.T) {
	for _, limited := range []bool{true, false} {
		w := newWorld(t, func(c *ddns.Config) {
			if limited {
				c.Limits.Changes = ddns.Rate{PerHour: 1, Burst: 2}
			}
		})
		made, err := w.AddJoin(t.Context(), named(pi), open())
		if err != nil {
			t.Fatal(err)
		}
		joined, err := w.join(t, made.Code, pub(1), "192.0.2.1")
		id, refused := "", error(nil)
		for b := byte(2); err == nil && refused == nil && b < 100; b++ {
			id = joined.Credential.ID
			w.pass(time.Second)
			joined, refused = w.ReplaceKey(t.Context(), w.signed(pi, id, pub(b-1), "192.0.2.1"), pub(b))
		}
		_, list := w.credentials(t, pi)
		switch {
		case err != nil:
			t.Fatal(err)
		case limited:
			if wantCode(t, refused, ddns.RateLimited); len(list) != 3 {
				t.Errorf("%d keys", len(list))
			}
		default:
			if wantCode(t, refused, ddns.TooMany); len(list) != ddns.MaxCredentials {
				t.Errorf("%d keys", len(list))
			}
		}
		if !list[id].Expires.IsZero() {
			t.Error("the key that could not introduce another ends")
		}
	}
}

// A proof that does not hold costs as much whatever is wrong with it.
func TestSignatureCostsTheSame(t *testing.T) {
	w := newWorld(t)
	made, err := w.AddJoin(t.Context(), named(pi), open())
	if err != nil {
		t.Fatal(err)
	}
	joined, err := w.join(t, made.Code, pub(1), "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, "token.dyn.example.org")
	for _, c := range []struct{ host, id string }{{pi, joined.Credential.ID}, {pi, "aaaaaaaa"}, {"nobody.dyn.example.org", joined.Credential.ID}, {"token.dyn.example.org", joined.Credential.ID}} {
		u := w.signed(c.host, c.id, nil, "192.0.2.1")
		p := u.Proof.(ddns.SignatureProof)
		checks, reads := 0, w.store.Calls("Host")
		p.Verify = func(k ed25519.PublicKey) bool {
			if checks++; len(k) != ddns.KeySize {
				t.Errorf("%v is checked with a key of %d octets, which costs less", c, len(k))
			}
			return false
		}
		u.Proof = p
		_, err := w.Update(t.Context(), u)
		if wantCode(t, err, ddns.BadProof); checks != 2 || w.store.Calls("Host")-reads != 2 {
			t.Errorf("%v costs %d checks and %d reads", c, checks, w.store.Calls("Host")-reads)
		}
	}
}

// Keys and codes come along with an export, and end where they go.
func TestKeysAreExported(t *testing.T) {
	w, to := newWorld(t), newWorld(t)
	made, err := w.AddJoin(t.Context(), named(pi), open())
	if err != nil {
		t.Fatal(err)
	}
	joined, err := w.join(t, made.Code, pub(1), "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	code, err := w.AddToken(t.Context(), named(pi), ddns.TokenSpec{Join: true})
	if err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	w.must(t, w.signed(pi, joined.Credential.ID, pub(1), "192.0.2.1"))
	h, list, err := w.Show(t.Context(), dnsname.MustParse(pi))
	if err != nil {
		t.Fatal(err)
	}
	exported, err := w.ExportHost(h, list, false)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := to.ImportHosts(t.Context(), []ddns.ExportedHost{exported}); err != nil || out.Added != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if h, _ := to.credentials(t, pi); !h.Ends.Equal(code.Credential.Expires) || !h.SeedOff {
		t.Errorf("imported: %+v", h)
	}
	if _, err := to.join(t, code.Code, pub(2), "192.0.2.2"); err != nil {
		t.Error(err)
	}
	to.pass(time.Minute)
	// What was signed for the one is too old for the other.
	_, err = to.Update(t.Context(), to.signed(pi, joined.Credential.ID, pub(1), "192.0.2.9"))
	wantCode(t, err, ddns.Replayed)
	to.pass(time.Minute)
	to.must(t, to.signed(pi, joined.Credential.ID, pub(1), "192.0.2.9"))
}

// A key of several hosts introduces none: it would end at all of them, and the
// next one be good for one.
func TestSharedKeyIntroducesNone(t *testing.T) {
	w := newWorld(t)
	key := ddns.ExportedCredential{ID: "kkkkkkkk", Kind: ddns.KindEd25519, Verifier: pub(1)}
	var hosts []ddns.ExportedHost
	for _, host := range []string{pi, "nas.dyn.example.org"} {
		hosts = append(hosts, ddns.ExportedHost{Name: named(host), Addresses: ddns.AnyAddress, SeedOff: true, Credentials: []ddns.ExportedCredential{key}})
	}
	if out, err := w.ImportHosts(t.Context(), hosts); err != nil || out.Added != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	w.pass(time.Minute)
	_, err := w.ReplaceKey(t.Context(), w.signed(pi, key.ID, pub(1), "192.0.2.1"), pub(2))
	wantCode(t, err, ddns.NotYours)
	w.pass(ddns.KeyOverlap)
	w.must(t, w.signed("nas.dyn.example.org", key.ID, pub(1), "192.0.2.1"))
}
