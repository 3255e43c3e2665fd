package signature_test

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/internal/signature"
)

// Whatever a Signer signs is read at the other end as what it was, holds for its
// key alone, and for no other request.
func TestSignedIsRead(t *testing.T) {
	key := testKey(t)
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	signed := 0
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.OneOf(
			rapid.StringMatching(`(/[a-zA-Z0-9*._~%:@!$&'()+,;=-]{0,12}){0,5}`),
			rapid.Map(rapid.String(), func(text string) string { return "/" + text }),
		).Draw(t, "path")
		u := &url.URL{
			Scheme: rapid.SampledFrom([]string{"http", "https"}).Draw(t, "scheme"),
			Host: rapid.StringMatching(`([A-Za-z0-9-]{1,20}(\.[A-Za-z0-9-]{1,20}){0,3}|192\.0\.2\.[1-9]|\[2001:[dD]b8::[1-9]\])(:80|:443|:8053)?`).
				Draw(t, "host"),
			Path: path,
		}
		if raw, err := url.Parse("http://x" + path); err == nil && rapid.Bool().Draw(t, "as spelt") {
			u.Path, u.RawPath = raw.Path, raw.RawPath
		}
		method := rapid.SampledFrom([]string{"GET", "PUT", "POST", "DELETE"}).Draw(t, "method")
		var body []byte
		if method != http.MethodGet {
			body = rapid.SliceOfN(rapid.Byte(), 0, 4096).Draw(t, "body")
		}
		id := rapid.StringMatching(`[!#-\[\]-~]{1,64}`).Draw(t, "ID")
		now := time.Unix(rapid.Int64Range(-1e10, 1e12).Draw(t, "clock"), 0)
		server := time.Unix(rapid.Int64Range(1, 1e12).Draw(t, "server's clock"), 0)

		s, err := signature.NewSigner(id, key)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{}}
		s.Learn(server, now)
		if err := s.Sign(r, body, now); err != nil {
			if !errors.Is(err, signature.ErrMalformed) || normal(u.RequestURI()) {
				t.Fatalf("%s is not signed: %v", u, err)
			}
			return
		}
		signed++
		got := overWire(t, r, body)
		m, err := signature.Parse(signature.RequestOf(got, body, ""))
		if err != nil {
			t.Fatalf("%s: %v", u, err)
		}
		if !m.Verify(key.Public().(ed25519.PublicKey)) || m.Verify(other) {
			t.Fatalf("%s: holds for the wrong key", u)
		}
		if m.KeyID != id || m.Created != server.Unix() || m.CheckTime(server) != nil {
			t.Fatalf("read as %s, %d", m.KeyID, m.Created)
		}
		if method != http.MethodGet {
			longer := append(body[:len(body):len(body)], rapid.Byte().Draw(t, "one more"))
			if _, err := signature.Parse(signature.RequestOf(got, longer, "")); !errors.Is(err, signature.ErrDigest) {
				t.Fatalf("another body: %v", err)
			}
		}
		for name, bend := range map[string]func(*http.Request){
			"host":   func(r *http.Request) { r.Host = "x" + r.Host },
			"path":   func(r *http.Request) { r.RequestURI += "x" },
			"method": func(r *http.Request) { r.Method += "X" },
		} {
			bent := got.Clone(got.Context())
			bend(bent)
			if m, err := signature.Parse(signature.RequestOf(bent, body, "")); err == nil && m.Verify(key.Public().(ed25519.PublicKey)) {
				t.Fatalf("another %s still holds", name)
			}
		}
	})
	if signed == 0 {
		t.Error("nothing was signed")
	}
}

// normal tells, by another way than the package, whether a request target is in
// normal form and without a query.
func normal(target string) bool {
	if strings.ContainsAny(target, "?") || len(target) > 1024 {
		return false
	}
	for i := 0; i < len(target); i++ {
		if target[i] != '%' {
			if !strings.Contains("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/", target[i:i+1]) {
				return false
			}
			continue
		}
		octet, err := url.PathUnescape(target[i : i+3])
		if err != nil || strings.ToUpper(target[i:i+3]) != target[i:i+3] ||
			strings.Contains("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", octet) {
			return false
		}
		i += 2
	}
	whole := target + "/"
	return strings.HasPrefix(target, "/") && !strings.Contains(whole, "/./") && !strings.Contains(whole, "/../")
}
