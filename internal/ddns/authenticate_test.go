package ddns_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// TestAuthenticate: which proofs hold for nas.dyn.example.org, after what was
// done to its first token.
func TestAuthenticate(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	credential := func(edit func(c *ddns.Credential)) func(*ddns.Host, *ddns.Write, ddns.Created) {
		return func(_ *ddns.Host, write *ddns.Write, made ddns.Created) {
			c := *made.Credential
			edit(&c)
			write.Credentials = append(write.Credentials, &c)
		}
	}
	for _, tt := range []struct {
		name        string
		put         func(h *ddns.Host, write *ddns.Write, made ddns.Created)
		udp         bool
		token, seed ddns.Code // of an update by token and by the seed's hash
	}{
		{name: "as made"},
		{name: "seed off", put: func(h *ddns.Host, _ *ddns.Write, _ ddns.Created) { h.SeedOff = true }, seed: ddns.BadProof},
		{name: "not sealed", put: credential(func(c *ddns.Credential) { c.Sealed = nil }), seed: ddns.BadProof},
		{name: "sealed for another", put: credential(func(c *ddns.Credential) { c.Sealed = bytes.Repeat([]byte("x"), 40) }), seed: ddns.BadProof},
		{name: "host suspended", put: func(h *ddns.Host, _ *ddns.Write, _ ddns.Created) { h.Suspended = true }, token: ddns.Suspended, seed: ddns.Suspended},
		{name: "credential suspended", put: credential(func(c *ddns.Credential) { c.State = ddns.CredentialStop }), token: ddns.Suspended, seed: ddns.Suspended},
		{name: "unknown state", put: credential(func(c *ddns.Credential) { c.State = "" }), token: ddns.BadProof, seed: ddns.BadProof},
		{name: "expired", put: credential(func(c *ddns.Credential) { c.Expires = c.Created }), token: ddns.BadProof, seed: ddns.BadProof},
		{name: "expires later", put: credential(func(c *ddns.Credential) { c.Expires = c.Created.Add(time.Second) })},
		{name: "from its network", put: credential(func(c *ddns.Credential) { c.Networks = networks })},
		{name: "from another network", put: credential(func(c *ddns.Credential) { c.Networks = []netip.Prefix{{}, netip.MustParsePrefix("198.51.100.0/24")} }), token: ddns.BadProof, seed: ddns.BadProof},
		{name: "its network, not proven", put: credential(func(c *ddns.Credential) { c.Networks = networks }), udp: true, token: ddns.BadProof, seed: ddns.BadProof},
		{name: "of another kind", put: credential(func(c *ddns.Credential) { c.Kind = ddns.KindTSIG }), token: ddns.BadProof, seed: ddns.BadProof},
		{name: "granted, not listed", put: func(h *ddns.Host, _ *ddns.Write, _ ddns.Created) { h.Credentials = nil }, token: ddns.NotYours, seed: ddns.BadProof},
		{name: "removed", put: func(h *ddns.Host, _ *ddns.Write, _ ddns.Created) { h.Removed = true }, token: ddns.NotYours, seed: ddns.BadProof},
		{name: "revoked", put: func(_ *ddns.Host, write *ddns.Write, made ddns.Created) {
			write.Revoked = []string{made.Credential.ID}
		}, token: ddns.BadProof, seed: ddns.BadProof},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			made := w.add(t, "nas.dyn.example.org", free)
			if tt.put != nil {
				w.put(t, "nas.dyn.example.org", func(h *ddns.Host, write *ddns.Write) { tt.put(h, write, made) })
			}
			u := by(made, home)
			u.Source.Proven = !tt.udp
			_, err := w.Update(t.Context(), u)
			wantCode(t, err, tt.token)
			u.Proof = seedProof(u.Source, "NAS.Dyn.Example.ORG.", made.Token) // as sent, not as canonical
			_, err = w.Update(t.Context(), u)
			wantCode(t, err, tt.seed)
		})
	}
}

// TestOwnSecret: a secret of the user's own works where the host is named,
// also one that looks like a token.
func TestOwnSecret(t *testing.T) {
	for _, text := range []string{"a secret of my own", "abcdefgh-abcdefghijklmnopqrstuvwxyz"} {
		w := newWorld(t)
		secret := ddns.NewSecret(text)
		made, err := w.Add(t.Context(), named("nas.dyn.example.org"), open(), secret)
		if err != nil {
			t.Fatal(err)
		}
		if !made.Token.IsZero() || made.Credential.Kind != ddns.KindSeed {
			t.Errorf("made %v", made)
		}
		made.Token = secret
		w.must(t, by(made, home))
		u := by(made, "192.0.2.8")
		u.Proof = seedProof(u.Source, "nas.dyn.example.org", secret)
		w.must(t, u)
		u.Proof = ddns.TokenProof{Token: ddns.NewSecret(text + "x")}
		_, err = w.Update(t.Context(), u)
		wantCode(t, err, ddns.BadProof)
	}
}

// countingProof counts its checks.
type countingProof struct {
	ddns.Proof
	n *int
}

func (p countingProof) Check(c *ddns.Credential, secret ddns.Secret) bool {
	*p.n++
	return p.Proof.Check(c, secret)
}

// TestEqual: an unknown host, a removed one and a wrong proof get the same
// answer, after the same number of checks and of secrets opened, and nothing is
// written.
func TestEqual(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	w.add(t, "off.dyn.example.org", func(s *ddns.Settings) { s.SeedOff = new(true) })
	w.add(t, "suspended.dyn.example.org", func(s *ddns.Settings) { s.Suspended = new(true) })
	twice := w.add(t, "twice.dyn.example.org")
	if _, err := w.RotateToken(t.Context(), twice.Host.Name, twice.Credential.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	own, err := w.Add(t.Context(), named("own.dyn.example.org"), open(), ddns.NewSecret("a secret of my own"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddToken(t.Context(), own.Host.Name, ddns.TokenSpec{}); err != nil {
		t.Fatal(err)
	}
	w.add(t, "gone.dyn.example.org")
	w.dns.Fail(1, named("gone.dyn.example.org"))
	if err := w.Remove(t.Context(), named("gone.dyn.example.org")); err != nil {
		t.Fatal(err)
	}
	broken := w.add(t, "broken.dyn.example.org")
	w.put(t, "broken.dyn.example.org", func(_ *ddns.Host, write *ddns.Write) {
		c := *broken.Credential
		c.Sealed = []byte("not sealed by us")
		write.Credentials = []*ddns.Credential{&c}
	})
	_, stranger := ddns.NewToken(named("x.example"), time.Time{})
	right, wrong := made.Token.Reveal(), "a"
	if strings.HasSuffix(right, "a") {
		wrong = "b"
	}
	for proof, p := range map[string]ddns.Proof{
		"seed":        seedProof(from(home), "nas.dyn.example.org", stranger),
		"token":       ddns.TokenProof{Token: stranger},
		"near token":  ddns.TokenProof{Token: ddns.NewSecret(right[:34] + wrong)},
		"other token": ddns.TokenProof{Token: made.Token},
		"password":    ddns.TokenProof{Token: ddns.NewSecret("password")},
	} {
		var want string
		for _, host := range []string{"unknown.dyn.example.org", "nas.dyn.example.org", "off.dyn.example.org", "suspended.dyn.example.org",
			"twice.dyn.example.org", "own.dyn.example.org", "gone.dyn.example.org", "broken.dyn.example.org", "elsewhere.example.com"} {
			if proof == "other token" && host == "nas.dyn.example.org" {
				continue
			}
			checks, writes, opened, reads := 0, w.store.Writes(), w.store.Calls("Open"), w.store.Calls("Host")
			_, err := w.Update(t.Context(), ddns.Update{Host: named(host), Proof: countingProof{p, &checks}, Source: from(home)})
			r, _ := errors.AsType[*ddns.Refusal](err)
			got := fmt.Sprintf("%v after %d checks, %d opened, %d reads", *r, checks, w.store.Calls("Open")-opened, w.store.Calls("Host")-reads)
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s for %s: %s, want %s", proof, host, got, want)
			}
			if w.store.Writes() != writes {
				t.Errorf("%s for %s writes", proof, host)
			}
		}
	}
}

// TestUnopenable: a secret that cannot be opened is told to the operator, and
// not as often as strangers like.
func TestUnopenable(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *ddns.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	made := w.add(t, "nas.dyn.example.org")
	w.put(t, "nas.dyn.example.org", func(_ *ddns.Host, write *ddns.Write) {
		c := *made.Credential
		c.Sealed = []byte("not sealed by us")
		write.Credentials = []*ddns.Credential{&c}
	})
	for range 1000 {
		u := by(made, home)
		u.Proof = seedProof(u.Source, "nas.dyn.example.org", made.Token)
		_, err := w.Update(t.Context(), u)
		wantCode(t, err, ddns.BadProof)
		w.pass(100 * time.Millisecond)
	}
	if n := strings.Count(log.String(), "cannot be opened"); n != 2 {
		t.Errorf("said %d times in 100 seconds", n)
	}
	// A secret of nothing is not what cannot be opened.
	u := by(made, home)
	u.Proof = seedProof(u.Source, "nas.dyn.example.org", ddns.Secret{})
	_, err := w.Update(t.Context(), u)
	wantCode(t, err, ddns.BadProof)
}

// TestFailuresAreCounted per source and host and per network, and never hinder
// a right proof.
func TestFailuresAreCounted(t *testing.T) {
	limits := ddns.DefaultLimits()
	limits.Requests = ddns.Rate{}
	limits.Changes = ddns.Rate{}
	w := newWorld(t, func(c *ddns.Config) { c.Limits = limits })
	made := w.add(t, "nas.dyn.example.org")
	wrong := by(made, home)
	wrong.Proof = ddns.TokenProof{Token: ddns.NewSecret("wrong")}
	writes := w.store.Writes()
	for i := range 5000 {
		_, err := w.Update(t.Context(), wrong)
		want := ddns.BadProof
		if i >= limits.Failures.Burst {
			want = ddns.RateLimited
		}
		if r := wantCode(t, err, want); want == ddns.RateLimited && r.RetryAfter <= 0 {
			t.Fatal("no time to try again")
		}
	}
	// An unknown host is counted alike.
	for i := range limits.Failures.Burst + 1 {
		unknown := wrong
		unknown.Host, unknown.Source = named("unknown.dyn.example.org"), from("203.0.113.7")
		_, err := w.Update(t.Context(), unknown)
		if i < limits.Failures.Burst {
			wantCode(t, err, ddns.BadProof)
		} else {
			wantCode(t, err, ddns.RateLimited)
		}
	}
	// The network's count is used up by many hosts.
	limited := false
	for i := range 200 {
		other := wrong
		other.Host, other.Source = named(fmt.Sprintf("h%d.dyn.example.org", i)), from("192.0.2.99")
		_, err := w.Update(t.Context(), other)
		limited = limited || code(err) == ddns.RateLimited
	}
	if !limited {
		t.Error("a network may guess as often as it has names")
	}
	if w.store.Writes() != writes {
		t.Error("guesses were written down")
	}
	// Elsewhere nothing is counted, and the owner is in from the very source.
	other := wrong
	other.Source = from("198.51.100.9")
	_, err := w.Update(t.Context(), other)
	wantCode(t, err, ddns.BadProof)
	if !w.must(t, by(made, home)).Changed {
		t.Error("the owner is out")
	}
	w.pass(time.Hour)
	_, err = w.Update(t.Context(), wrong)
	wantCode(t, err, ddns.BadProof)
}

// TestRequestsAreCounted per source: one of IPv4's, 64 bits of IPv6's.
func TestRequestsAreCounted(t *testing.T) {
	w := newWorld(t, func(c *ddns.Config) { c.Limits.Requests = ddns.Rate{PerHour: 3600, Burst: 3} })
	made := w.add(t, "nas.dyn.example.org", free)
	for i, source := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"} {
		if i < 3 {
			w.must(t, by(made, source))
		}
	}
	_, err := w.Update(t.Context(), by(made, "2001:db8::4"))
	if r := wantCode(t, err, ddns.RateLimited); r.RetryAfter <= 0 || r.RetryAfter > time.Second {
		t.Errorf("retry after %s", r.RetryAfter)
	}
	w.must(t, by(made, "2001:db8:0:1::4"))
	// Mapped sources are IPv4 sources, each for itself.
	for i := range 10 {
		u := by(made, home)
		u.Source.Addr = netip.MustParseAddr(fmt.Sprintf("::ffff:192.0.2.%d", i))
		if out := w.must(t, u); out.Host.A[0] != u.Source.Addr.Unmap() {
			t.Errorf("A is %s", out.Host.A)
		}
	}
	if w.Admit(from("2001:db8::5")) == nil {
		t.Error("Admit does not count")
	}
	w.pass(time.Second)
	w.must(t, by(made, "2001:db8::4"))
}

// held is a wrong proof whose check lasts until it is let go.
type held struct {
	ddns.TokenProof
	release chan struct{}
	once    *sync.Once
}

func (p held) Check(*ddns.Credential, ddns.Secret) bool {
	p.once.Do(func() { <-p.release })
	return false
}

// TestFloodOfChecks: a flood of guesses has every slot and more waiting than may
// wait. The owner is let in all the same, after one more of the flood, and
// whoever goes away while waiting is let go.
func TestFloodOfChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		made := w.add(t, "nas.dyn.example.org", free)
		release := make(chan struct{})
		var flood, owner sync.WaitGroup
		refused := make(chan ddns.Code, 1)
		ctx, cancel := context.WithCancel(t.Context())
		for range 520 * runtime.GOMAXPROCS(0) {
			flood.Go(func() {
				_, err := w.Update(ctx, ddns.Update{Host: made.Host.Name, Proof: held{release: release, once: new(sync.Once)}, Source: from(home)})
				if code(err) == ddns.RateLimited {
					select {
					case refused <- code(err):
					default:
					}
				}
			})
		}
		synctest.Wait()
		select {
		case <-refused:
		default:
			t.Error("there is no bound on what waits")
		}
		done := false
		owner.Go(func() {
			out, err := w.Update(t.Context(), by(made, "198.51.100.7", set(ddns.TypeA, "192.0.2.5")))
			if done = true; err != nil || !out.Changed {
				t.Errorf("the owner: %+v, %v", out, err)
			}
		})
		synctest.Wait()
		if done {
			t.Error("the flood has not every slot")
		}
		for range 2 {
			release <- struct{}{}
			synctest.Wait()
		}
		if !done {
			t.Error("the owner waits behind the flood")
		}
		cancel()
		close(release)
		flood.Wait()
		owner.Wait()
		w.must(t, by(made, home))
	})
}

// TestSeveralHosts: a credential that serves several hosts is good for each,
// with each one's grant, and for no other.
func TestSeveralHosts(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "a.dyn.example.org", free)
	w.add(t, "b.dyn.example.org", free)
	w.add(t, "c.dyn.example.org", free)
	c := *made.Credential
	c.Grants = []ddns.Grant{{Host: named("a.dyn.example.org")}, {Host: named("b.dyn.example.org"), Types: []ddns.Type{ddns.TypeAAAA}}}
	w.put(t, "b.dyn.example.org", func(h *ddns.Host, write *ddns.Write) {
		h.Credentials = append(h.Credentials, c.ID)
		write.Credentials = []*ddns.Credential{&c}
	})
	update := func(host string, changes ...ddns.Change) ddns.Code {
		u := by(made, home, changes...)
		u.Host = named(host)
		_, err := w.Update(t.Context(), u)
		return code(err)
	}
	for _, tt := range []struct {
		host   string
		change []ddns.Change
		want   ddns.Code
	}{
		{"a.dyn.example.org", nil, ""},
		{"b.dyn.example.org", []ddns.Change{set(ddns.TypeAAAA, home6)}, ""},
		{"b.dyn.example.org", []ddns.Change{set(ddns.TypeA, home)}, ddns.NotYours},
		{"b.dyn.example.org", nil, ddns.WrongFamily},
		{"c.dyn.example.org", nil, ddns.NotYours},
		{"none.dyn.example.org", nil, ddns.NotYours},
	} {
		if got := update(tt.host, tt.change...); got != tt.want {
			t.Errorf("%s %v: %q, want %q", tt.host, tt.change, got, tt.want)
		}
	}
	// The whole host's rotation takes this host alone from it.
	if _, err := w.Rotate(t.Context(), named("a.dyn.example.org"), ddns.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	if a, b := update("a.dyn.example.org"), update("b.dyn.example.org", set(ddns.TypeAAAA, "2001:db8::9")); a != ddns.NotYours || b != "" {
		t.Errorf("after rotation: a %q, b %q", a, b)
	}
	if err := w.Remove(t.Context(), named("b.dyn.example.org")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Credential(t.Context(), c.ID); !errors.Is(err, ddns.ErrNoCredential) {
		t.Errorf("a credential without hosts stays: %v", err)
	}
}

// TestOrphanedGrant: a grant that two writers left behind is worth nothing when
// the name comes back.
func TestOrphanedGrant(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "a.dyn.example.org", free)
	c := *made.Credential
	c.Grants = append(c.Grants, ddns.Grant{Host: named("b.dyn.example.org")})
	w.put(t, "a.dyn.example.org", func(_ *ddns.Host, write *ddns.Write) { write.Credentials = []*ddns.Credential{&c} })
	w.add(t, "b.dyn.example.org")
	u := by(made, home)
	u.Host = named("b.dyn.example.org")
	_, err := w.Update(t.Context(), u)
	wantCode(t, err, ddns.NotYours)
}

// TestNoHostNamed: a token finds the one host of its credential, where a request
// names none.
func TestNoHostNamed(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free)
	w.add(t, "b.dyn.example.org")
	u := by(made, home)
	u.Host = dnsname.Name{}
	out, err := w.Update(t.Context(), u)
	if err != nil || !out.Changed || out.Host.Name != made.Host.Name {
		t.Errorf("%+v, %v", out, err)
	}
	text := made.Token.Reveal()
	for name, proof := range map[string]ddns.Proof{
		"no proof":    nil,
		"wrong token": ddns.TokenProof{Token: otherToken(text)},
		"unknown ID":  ddns.TokenProof{Token: ddns.NewSecret("aaaaaaaa" + text[8:])},
		"no token":    ddns.TokenProof{Token: ddns.NewSecret("password")},
	} {
		bad := u
		bad.Proof = proof
		if _, err := w.Update(t.Context(), bad); code(err) != ddns.BadProof {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.put(t, "b.dyn.example.org", func(h *ddns.Host, write *ddns.Write) {
		c := *made.Credential
		c.Grants = append(c.Grants, ddns.Grant{Host: h.Name})
		h.Credentials = append(h.Credentials, c.ID)
		write.Credentials = []*ddns.Credential{&c}
	})
	_, err = w.Update(t.Context(), u)
	wantCode(t, err, ddns.Malformed)
}

// TestTokenInURL: a token in a URL needs the right to be there, of each host.
func TestTokenInURL(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free)
	u := by(made, home)
	u.Proof = ddns.TokenProof{Token: made.Token, InURL: true}
	_, err := w.Update(t.Context(), u)
	if r := wantCode(t, err, ddns.BadProof); !strings.Contains(r.Fix, "--url-token") {
		t.Errorf("%v does not say what to do", r)
	}
	_, err = w.Look(t.Context(), u)
	wantCode(t, err, ddns.BadProof)
	w.put(t, "nas.dyn.example.org", func(h *ddns.Host, write *ddns.Write) {
		c := *made.Credential
		c.Grants = []ddns.Grant{{Host: h.Name, URLToken: true}}
		write.Credentials = []*ddns.Credential{&c}
	})
	w.must(t, u)
	if _, err := w.Look(t.Context(), u); err != nil {
		t.Error(err)
	}
}

// otherToken has the ID of a token, and another secret.
func otherToken(text string) ddns.Secret {
	other := "a"
	if text[20:21] == other {
		other = "b"
	}
	return ddns.NewSecret(text[:20] + other + text[21:])
}

// TestWrongTokenCostsTheSame: what the store is asked does not tell whether there
// is such a host.
func TestWrongTokenCostsTheSame(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free)
	u := by(made, home)
	u.Proof = ddns.TokenProof{Token: otherToken(made.Token.Reveal())}
	ask := func(host string) (hosts, credentials int, answer string) {
		h, c := w.store.Calls("Host"), w.store.Calls("Credential")
		u.Host = named(host)
		_, err := w.Update(t.Context(), u)
		return w.store.Calls("Host") - h, w.store.Calls("Credential") - c, err.Error()
	}
	ask("nas.dyn.example.org") // the store is warm from here on
	h1, c1, a1 := ask("nas.dyn.example.org")
	h2, c2, a2 := ask("none.dyn.example.org")
	if h1 != h2 || c1 != c2 || a1 != a2 {
		t.Errorf("there is one: %d %d %s\nthere is none: %d %d %s", h1, c1, a1, h2, c2, a2)
	}
}

func TestRefusalsAreRecorded(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	other := w.add(t, "other.dyn.example.org")
	refused := func(m ddns.Created) {
		t.Helper()
		_, err := w.Update(t.Context(), by(m, home, set(ddns.TypeA, "192.0.2.8")))
		wantCode(t, err, ddns.NotSource)
	}
	for range 61 { // an hour and the moment at its end
		refused(made)
		w.pass(time.Minute)
	}
	refused(other)
	if n := w.store.Calls("Refused"); n != 8 {
		t.Errorf("%d writes, want one in ten minutes and one for the other host", n)
	}
	events, err := w.History(t.Context(), made.Host.Name)
	if err != nil {
		t.Fatal(err)
	}
	if e := events[0]; e.Outcome != string(ddns.NotSource) || e.Credential != made.Credential.ID || e.Source.String() != home || e.What == "" {
		t.Errorf("event %+v", e)
	}
	if h := w.host(t, "nas.dyn.example.org"); h.Refusals != 61 {
		t.Errorf("%d refusals counted", h.Refusals)
	}
}
