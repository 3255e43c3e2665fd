package ddns_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/internal/ddns"
)

// seedProof is what a seed client at a source sends.
func seedProof(source ddns.Source, host string, secret ddns.Secret) ddns.Proof {
	sum, err := hex.DecodeString(ddns.SeedHash(source.Addr.String(), host, secret))
	if err != nil {
		panic(err)
	}
	return ddns.SeedProof{Source: source, Host: host, Hash: [sha256.Size]byte(sum)}
}

// TestSecretIsNotPrinted: by no verb of fmt, wherever the secret stands, by no
// handler of slog, and not as JSON.
func TestSecretIsNotPrinted(t *testing.T) {
	const canary = "hunter2-canary"
	secret := ddns.NewSecret(canary)
	type exported struct{ Secret ddns.Secret }
	type unexported struct {
		secret  ddns.Secret
		pointer *ddns.Secret
		list    []ddns.Secret
	}
	values := []any{
		secret, &secret, []ddns.Secret{secret}, map[string]ddns.Secret{"a": secret}, exported{secret}, &exported{secret},
		unexported{secret, &secret, []ddns.Secret{secret}}, &unexported{secret: secret}, [1]any{secret},
		ddns.TokenProof{Token: secret}, ddns.Created{Token: secret}, struct{ p ddns.Proof }{ddns.TokenProof{Token: secret}},
		ddns.Update{Proof: ddns.TokenProof{Token: secret}},
		ddns.ExportedCredential{ID: "aaaaaaaa", Secret: ddns.ExportedSecret{Secret: secret}}, ddns.ExportedHost{Credentials: []ddns.ExportedCredential{{Secret: ddns.ExportedSecret{Secret: secret}}}},
	}
	for _, v := range values {
		for verb := rune('A'); verb <= 'z'; verb++ {
			for _, flags := range []string{"", "+", "#", " ", "-20", ".3", "020"} {
				format := "%" + flags + string(verb)
				got := fmt.Sprintf(format, v)
				// %x of the text would be no better.
				if strings.Contains(got, canary) || strings.Contains(strings.ToLower(got), hex.EncodeToString([]byte(canary))) {
					t.Errorf("%s of %T prints it: %s", format, v, got)
				}
			}
		}
	}
	var out bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		log := slog.New(handler)
		log.Info("x", "secret", secret, "pointer", &secret, "exported", exported{secret}, "list", []ddns.Secret{secret})
		log.With("secret", secret).WithGroup("g").Info("x", slog.Any("proof", ddns.TokenProof{Token: secret}))
	}
	for _, v := range values[:len(values)-2] { // an export is where secrets go when asked for
		text, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		out.Write(text)
	}
	out.WriteString(secret.String())
	if strings.Contains(out.String(), canary) {
		t.Errorf("printed: %s", out.String())
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("nothing says that there is a secret")
	}
	if secret.Reveal() != canary || secret.IsZero() || !(ddns.Secret{}).IsZero() || (ddns.Secret{}).Reveal() != "" || !ddns.NewSecret("").IsZero() {
		t.Error("a secret is not what it was made of")
	}
}

func TestToken(t *testing.T) {
	form := regexp.MustCompile(`^[a-z2-7]{8}-[a-z2-7]{26}$`)
	seen := map[string]bool{}
	for range 1000 {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		c, token := ddns.NewToken(named("nas.dyn.example.org"), now)
		text := token.Reveal()
		if !form.MatchString(text) || seen[text] || seen[c.ID] {
			t.Fatalf("token %s", text)
		}
		seen[text], seen[c.ID] = true, true
		proof := ddns.TokenProof{Token: token}
		if c.ID != text[:8] || proof.CredentialID() != c.ID || c.Kind != ddns.KindToken || c.State != ddns.Active || !c.Created.Equal(now) {
			t.Fatalf("credential %v of token %s", c, text)
		}
		if !proof.Check(c, ddns.Secret{}) || (ddns.TokenProof{Token: ddns.NewSecret(text[:34])}).Check(c, ddns.Secret{}) {
			t.Fatal("the check is wrong")
		}
		if sum := sha256.Sum256([]byte(text)); !bytes.Equal(c.Verifier, sum[:]) || c.Sealed != nil {
			t.Fatal("the verifier is not the hash of the whole token")
		}
	}
	for _, text := range []string{"", "-", "abc", "abcdefgh-", "abcdefgh-abcdefghijklmnopqrstuvwxyz2", "abcdefghabcdefghijklmnopqrstuvwxyz-"} {
		if id := (ddns.TokenProof{Token: ddns.NewSecret(text)}).CredentialID(); id != "" {
			t.Errorf("%q has ID %q", text, id)
		}
	}
}

// TestSeedHash holds the golden vectors of docs/protocols.md and of the blog
// whose printed hash is right.
func TestSeedHash(t *testing.T) {
	for _, tt := range []struct{ source, host, secret, want string }{
		{"176.32.100.36", "host1.dyn.example.com", "shared_secret_1", "a1771addefd8130757f890aa56b06da8eef1e51f445f92a65cabe7be3cf48a62"},
		{"176.32.100.36", "host1.dyn.example.com.", "shared_secret_1", "befc7a93749e7fd926135b8d144da90d0c22fc50551863596ef8d8cb15a1dec5"},
		{"2001:db8::1", "host1.dyn.example.com", "shared_secret_1", "09d482d0733b77c80066eb666bd49d769f1bd5b8d13b4a7799f55a542ed2456c"},
		{"11.12.13.14", "www.example.com", "SuP3R_5eCR3T", "0eb3fc760ddbd7dca1702ae359b8f990b8a145d719b9d1014da4aa866022dd70"},
	} {
		secret := ddns.NewSecret(tt.secret)
		if got := ddns.SeedHash(tt.source, tt.host, secret); got != tt.want {
			t.Errorf("%s %s: %s", tt.source, tt.host, got)
		}
		c := &ddns.Credential{Kind: ddns.KindSeed}
		p := seedProof(from(tt.source), tt.host, secret)
		if !p.Check(c, secret) || p.Check(c, ddns.NewSecret("another")) || p.Check(&ddns.Credential{Kind: ddns.KindTSIG}, secret) {
			t.Errorf("%s %s: the check is wrong", tt.source, tt.host)
		}
	}
}

// TestSeedSourceText: the platform's own spelling of the source counts too.
func TestSeedSourceText(t *testing.T) {
	secret := ddns.NewSecret("shared_secret_1")
	source := from("2001:db8::1")
	source.Text = "2001:0db8:0000:0000:0000:0000:0000:0001"
	sum := sha256.Sum256([]byte(source.Text + "nas.dyn.example.org" + secret.Reveal()))
	c := &ddns.Credential{Kind: ddns.KindToken}
	if !(ddns.SeedProof{Source: source, Host: "nas.dyn.example.org", Hash: sum}).Check(c, secret) {
		t.Error("the hash over the platform's text does not hold")
	}
	if !seedProof(source, "nas.dyn.example.org", secret).Check(c, secret) {
		t.Error("the hash over our text does not hold")
	}
	if (ddns.SeedProof{Source: from("2001:db8::1"), Host: "nas.dyn.example.org", Hash: sum}).Check(c, secret) {
		t.Error("the hash over another text holds")
	}
}

// TestSeedCollisions: two hosts with one secret can be taken for each other
// (docs/trust.md S1 and S2), so no two hosts may have one.
func TestSeedCollisions(t *testing.T) {
	shared := ddns.NewSecret("a secret for two")
	if ddns.SeedHash("192.0.2.4", "1host.dyn.example.org", shared) != ddns.SeedHash("192.0.2.41", "host.dyn.example.org", shared) {
		t.Error("S1 is no collision any more")
	}
	if ddns.SeedHash("192.0.2.4", "a.example.co", ddns.NewSecret("mXXXXXXXXXXXX")) != ddns.SeedHash("192.0.2.4", "a.example.com", ddns.NewSecret("XXXXXXXXXXXX")) {
		t.Error("S2 is no collision any more")
	}
	w := newWorld(t)
	if _, err := w.Add(t.Context(), named("host.dyn.example.org"), open(), shared); err != nil {
		t.Fatal(err)
	}
	_, err := w.Add(t.Context(), named("1host.dyn.example.org"), open(), shared)
	wantCode(t, err, ddns.Malformed)
	if !errors.Is(err, ddns.ErrSecretTaken) {
		t.Errorf("added: %v", err)
	}
	// With the seed's proof off it is still a password that two would have.
	_, err = w.Add(t.Context(), named("1host.dyn.example.org"), open(func(s *ddns.Settings) { s.SeedOff = new(true) }), shared)
	wantCode(t, err, ddns.Malformed)
	made := w.add(t, "1host.dyn.example.org")
	if _, err = w.Rotate(t.Context(), made.Host.Name, shared, nil); !errors.Is(err, ddns.ErrSecretTaken) {
		t.Errorf("set: %v", err)
	}
	exported := func(name string, secret ddns.Secret) ddns.ExportedHost {
		return ddns.ExportedHost{Name: named(name), TTL: 60, Credentials: []ddns.ExportedCredential{{Kind: ddns.KindSeed, Secret: ddns.ExportedSecret{Secret: secret}}}}
	}
	two := ddns.NewSecret("another for two")
	got, err := w.ImportHosts(t.Context(), []ddns.ExportedHost{exported("i.dyn.example.org", shared), exported("j.dyn.example.org", two), exported("1j.dyn.example.org", two), exported("k.dyn.example.org", ddns.NewSecret("its own secret"))})
	if err != nil || got.Added != 2 || len(got.Skipped) != 2 {
		t.Errorf("imported: %+v, %v", got, err)
	}
	for _, skipped := range got.Skipped {
		if !strings.Contains(skipped.Why, "same secret") {
			t.Errorf("skipped: %+v", skipped)
		}
	}
	// One's own secret again is no other host's.
	if _, err := w.Rotate(t.Context(), named("host.dyn.example.org"), shared, nil); err != nil {
		t.Errorf("the same secret again: %v", err)
	}
}

// TestSeedInputsDiffer: for tokens as we make them, distinct (address, host)
// never hash the same input, though there are no separators.
func TestSeedInputsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := rapid.StringMatching(`[12]?[0-9]{1,2}\.1\.1\.[12]?[0-9]{1,2}`)
		host := rapid.StringMatching(`[0-9]{0,3}[a-c]{1,2}\.example\.org`)
		name1, name2 := host.Draw(t, "host1"), host.Draw(t, "host2")
		source1, source2 := source.Draw(t, "source1"), source.Draw(t, "source2")
		_, token1 := ddns.NewToken(named(name1), time.Time{})
		token2 := token1
		if name1 != name2 {
			_, token2 = ddns.NewToken(named(name2), time.Time{})
		}
		same := name1 == name2 && source1 == source2
		if (ddns.SeedHash(source1, name1, token1) == ddns.SeedHash(source2, name2, token2)) != same {
			t.Fatal("two updates have one hash")
		}
	})
}

func TestCheckOwnSecret(t *testing.T) {
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{"shared_secret_1", true}, {`with "quotes" and \`, true}, {"größer als zwölf", true}, {strings.Repeat("x", 200), true},
		{"", false}, {"tiny", false}, {strings.Repeat("x", 201), false}, {"new\nline in it", false}, {"nul\x00 in the text", false},
		{"del\x7f in the text", false}, {"not \xff UTF-8 at all", false}, {"replaced \ufffd here", false},
	} {
		err := ddns.CheckOwnSecret(ddns.NewSecret(tt.text), 12)
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.text, err)
		}
		if err != nil && tt.text != "" && strings.Contains(err.Error(), tt.text) {
			t.Errorf("the refusal shows the secret: %v", err)
		}
	}
}
