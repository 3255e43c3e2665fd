package ddns_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// register makes an acme-dns account by a token.
func (w *world) register(t testing.TB, made ddns.Created, source string, networks ...string) (ddns.Registered, error) {
	t.Helper()
	var list []netip.Prefix
	for _, text := range networks {
		list = append(list, netip.MustParsePrefix(text))
	}
	return w.Register(t.Context(), by(made, source), list)
}

// challenge is an update by an account, which names no host.
func challenge(a ddns.Registered, source, value string) ddns.Update {
	return ddns.Update{Door: "test", Proof: ddns.NewAccountProof(a.User, a.Key), Source: from(source), Changes: []ddns.Change{txt(ddns.Add, value)}}
}

func texts(h *ddns.Host) string {
	var out []string
	for _, t := range h.TXT {
		out = append(out, t.Value)
	}
	return strings.Join(out, " ")
}

// TestAccountKeepsTwo: of an account the two newest values stay, and it touches
// nobody else's.
func TestAccountKeepsTwo(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	w.must(t, by(made, home, txt(ddns.Add, "other")))
	a, err := w.register(t, made, home)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(a.User) || len(a.Key.Reveal()) != 40 {
		t.Errorf("registered %s with a key of %d characters", a.User, len(a.Key.Reveal()))
	}
	if a.Challenge.String() != "_acme-challenge.nas.dyn.example.org" || a.Host.ChangedBy != made.Credential.ID {
		t.Errorf("registered at %s by %s", a.Challenge, a.Host.ChangedBy)
	}
	for _, step := range []struct{ value, want, what string }{
		{"one", "other one", "challenge value one added"},
		{"two", "other one two", "challenge value two added"},
		{"one", "other two one", "challenge value one came again"}, // else the next would take it away
		{"three", "other one three", "challenge value three added, challenge value two removed"},
	} {
		w.pass(time.Minute)
		out := w.must(t, challenge(a, home, step.value))
		if texts(out.Host) != step.want || !out.Changed {
			t.Errorf("after %s: %s", step.value, texts(out.Host))
		}
		if events, err := w.History(t.Context(), a.Host.Name); err != nil || events[0].What != step.what || events[0].Credential != a.Credential.ID {
			t.Errorf("history %+v, %v", events[0], err)
		}
	}
	if out := w.must(t, challenge(a, home, "three")); out.Changed {
		t.Error("the newest once more is a change")
	}
	set, _ := w.dns.Shows(a.Challenge, ddns.TypeTXT)
	if strings.Join(set.Texts, " ") != "other one three" || set.TTL != 60 {
		t.Errorf("DNS shows %v", set)
	}
}

// TestAccountProvesItself: nothing but the whole of user and key does, all else
// answers alike, and what is proved is good for challenge values alone.
func TestAccountProvesItself(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free)
	other := w.add(t, "other.dyn.example.org", free)
	a, err := w.register(t, made, home)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.register(t, other, home)
	if err != nil {
		t.Fatal(err)
	}
	key := a.Key.Reveal()
	flip := "b"
	if key[39] == 'b' {
		flip = "c"
	}
	last := "0"
	if strings.HasSuffix(a.User, "0") {
		last = "1"
	}
	writes := w.store.Writes()
	var first string
	for what, p := range map[string]ddns.Proof{
		"another key":      ddns.NewAccountProof(a.User, b.Key),
		"a near key":       ddns.NewAccountProof(a.User, ddns.NewSecret(key[:39]+flip)),
		"a short key":      ddns.NewAccountProof(a.User, ddns.NewSecret(key[:39])),
		"no key":           ddns.NewAccountProof(a.User, ddns.Secret{}),
		"a near user":      ddns.NewAccountProof(a.User[:35]+last, a.Key),
		"no UUID":          ddns.NewAccountProof("x"+a.User[1:], a.Key),
		"an unknown user":  ddns.NewAccountProof("00000000-0000-4000-8000-000000000000", a.Key),
		"nobody":           ddns.AccountProof{},
		"as a token":       ddns.TokenProof{Token: a.Key},
		"the ID and a key": ddns.TokenProof{Token: ddns.NewSecret(a.Credential.ID + "-" + key[:26])},
		"a token's":        ddns.NewAccountProof(a.User, made.Token),
	} {
		for _, host := range []dnsname.Name{{}, a.Host.Name} {
			u := challenge(a, home, "x")
			u.Proof, u.Host = p, host
			_, err := w.Update(t.Context(), u)
			if r := wantCode(t, err, ddns.BadProof); first == "" {
				first = r.Error()
			} else if r.Error() != first {
				t.Errorf("%s: %v", what, r)
			}
		}
	}
	if w.store.Writes() != writes {
		t.Error("a guess was written down")
	}
	u := challenge(a, home, "x")
	u.Proof = ddns.NewAccountProof(strings.ToUpper(a.User), a.Key)
	w.must(t, u)
	u.Host = other.Host.Name
	_, err = w.Update(t.Context(), u)
	wantCode(t, err, ddns.NotYours)
	u = challenge(a, home, "x")
	u.Changes = []ddns.Change{set(ddns.TypeA, home)}
	_, err = w.Update(t.Context(), u)
	wantCode(t, err, ddns.NotYours)
	_, err = w.Register(t.Context(), ddns.Update{Host: made.Host.Name, Proof: u.Proof, Source: from(home)}, nil)
	wantCode(t, err, ddns.NotYours)
}

// TestRegister: an account is no wider than what it was registered by, and there
// are few of them.
func TestRegister(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	narrow, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Types: []ddns.Type{ddns.TypeTXT}, Rate: 7, Expires: w.clock().Add(time.Hour),
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/48")}})
	if err != nil {
		t.Fatal(err)
	}
	addressOnly, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Types: []ddns.Type{ddns.TypeA, ddns.TypeAAAA}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.register(t, addressOnly, home)
	wantCode(t, err, ddns.NotYours)
	_, err = w.register(t, narrow, "198.51.100.1")
	wantCode(t, err, ddns.BadProof)
	for _, network := range []string{"198.51.100.0/24", "192.0.0.0/16", "0.0.0.0/0", "2001:db8::/47"} {
		_, err = w.register(t, narrow, home, "192.0.2.0/25", network)
		wantCode(t, err, ddns.NotYours)
	}
	a, err := w.register(t, narrow, home)
	if err != nil || !slices.Equal(a.Credential.Networks, narrow.Credential.Networks) || a.Credential.Rate != 7 || !a.Credential.Expires.Equal(narrow.Credential.Expires) {
		t.Fatalf("registered %+v, %v", a.Credential, err)
	}
	_, err = w.Update(t.Context(), challenge(a, "198.51.100.1", "x"))
	wantCode(t, err, ddns.BadProof)
	w.must(t, challenge(a, home, "x"))
	b, err := w.register(t, made, home, "203.0.113.0/24")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Update(t.Context(), challenge(b, home, "y"))
	wantCode(t, err, ddns.BadProof)
	w.must(t, challenge(b, "203.0.113.9", "y"))
	for range ddns.MaxAccounts - 2 {
		if _, err := w.register(t, made, home); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.register(t, made, home)
	wantCode(t, err, ddns.TooMany)

	// Revoking ends one, rotating the host all.
	if _, err := w.RotateToken(t.Context(), made.Host.Name, a.Credential.ID, 0); code(err) != ddns.Malformed {
		t.Errorf("rotate an account: %v", err)
	}
	if _, err := w.RevokeToken(t.Context(), made.Host.Name, a.Credential.ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.Update(t.Context(), challenge(a, home, "z"))
	wantCode(t, err, ddns.BadProof)
	if _, err := w.Rotate(t.Context(), made.Host.Name, ddns.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = w.Update(t.Context(), challenge(b, "203.0.113.9", "z"))
	wantCode(t, err, ddns.BadProof)

	wild := w.add(t, "*.home.dyn.example.org")
	_, err = w.register(t, wild, home)
	wantCode(t, err, ddns.NotYours)
	held := w.add(t, "held.dyn.example.org")
	if _, err := w.Set(t.Context(), held.Host.Name, ddns.Settings{Suspended: new(true)}); err != nil {
		t.Fatal(err)
	}
	_, err = w.register(t, held, home)
	wantCode(t, err, ddns.Suspended)
}

// TestRegisterIsLimited: registering counts as a change of its host.
func TestRegisterIsLimited(t *testing.T) {
	w := newWorld(t, func(c *ddns.Config) { c.Limits.Changes = ddns.Rate{PerHour: 1, Burst: 2} })
	made := w.add(t, "nas.dyn.example.org")
	for range 2 {
		if _, err := w.register(t, made, home); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.register(t, made, home)
	wantCode(t, err, ddns.RateLimited)
}

// clashing are zones in which something else stands at a challenge name.
type clashing struct{ zones }

func (clashing) Clash(name dnsname.Name) error {
	if name == named("_acme-challenge.nas.dyn.example.org") {
		return fmt.Errorf("a CNAME record is there")
	}
	return nil
}

func TestChallengeHasNoPlace(t *testing.T) {
	w := newWorld(t, func(c *ddns.Config) { c.Zones = clashing{} })
	made := w.add(t, "nas.dyn.example.org")
	_, err := w.Update(t.Context(), by(made, home, txt(ddns.Add, "x")))
	wantCode(t, err, ddns.NotYours)
	w.must(t, by(made, home))
}
