package signature_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"godwit/internal/signature"
)

const (
	keyID     = "k7m2qx4p"
	authority = "ddns.example.com"
	target    = "/v1/hosts/host1.dyn.example.com/addresses"
	created   = 1767225600
	list      = `("@method" "@authority" "@path" "content-digest")`
	params    = `;created=1767225600;keyid="k7m2qx4p";alg="ed25519";tag="godwit"`
)

var clock = time.Unix(created, 0)

// testKey is the key of RFC 8032 section 7.1, test 1.
func testKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	seed, err := hex.DecodeString("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func publicKey(t testing.TB) ed25519.PublicKey {
	return testKey(t).Public().(ed25519.PublicKey)
}

func newSigner(t testing.TB) *signature.Signer {
	t.Helper()
	s, err := signature.NewSigner(keyID, testKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newRequest is a client's request that is not signed yet.
func newRequest(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wire is a signed request in its parts, so that each can be bent.
type wire struct {
	method, host, target     string
	input, signature, digest string // header fields; "" for none
	body                     string
}

// received is the request as a server has it.
func (w wire) received() *http.Request {
	path, query, _ := strings.Cut(w.target, "?")
	r := &http.Request{
		Method: w.method, Host: w.host, RequestURI: w.target,
		URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{},
	}
	for name, value := range map[string]string{"Signature-Input": w.input, "Signature": w.signature, "Content-Digest": w.digest} {
		if value != "" {
			r.Header[name] = strings.Split(value, "\n") // one line of the field each
		}
	}
	return r
}

func (w wire) parse() (*signature.Message, error) {
	return signature.Parse(signature.RequestOf(w.received(), []byte(w.body), ""))
}

// holds tells whether the request proves that the test key signed it.
func (w wire) holds(key ed25519.PublicKey) bool {
	m, err := w.parse()
	return err == nil && m.Verify(key)
}

// vector is one of docs/protocols.md.
type vector struct {
	name string
	wire
	created int64
	base    string
}

// vectors are computed by other implementations too: Node's crypto and OpenSSL.
var vectors = []vector{
	{"named by the server", wire{
		method: "PUT", host: authority, target: target, body: `{}`,
		digest:    "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:",
		input:     "godwit=" + list + params,
		signature: "godwit=:FFODwepv2foKUsonLTMmxzksrmFO84IreKXxNR9C25XRSS7lW4WieYiyyTmjI1t8KuZT7T0SHD+VJLsMpNrTAQ==:",
	}, created, `"@method": PUT
"@authority": ddns.example.com
"@path": /v1/hosts/host1.dyn.example.com/addresses
"content-digest": sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:
"@signature-params": ("@method" "@authority" "@path" "content-digest");created=1767225600;keyid="k7m2qx4p";alg="ed25519";tag="godwit"`},
	{"named by the client", wire{
		method: "PUT", host: authority, target: target, body: `{"a":["198.51.100.7"]}`,
		digest:    "sha-256=:/hfWdtb2ZCqwB8dEh9TPnvFWQgImDeZkZHyBxLdC1co=:",
		input:     "godwit=" + list + params,
		signature: "godwit=:60Z4Ai92LdYzJXo/N3OC3fhJBbzGRn8Yx6Pt7wav5S6QnNv3PJO6XhhpRJ0WqfFGvZ9gMSbr+nItULaLqYT4Ag==:",
	}, created, `"@method": PUT
"@authority": ddns.example.com
"@path": /v1/hosts/host1.dyn.example.com/addresses
"content-digest": sha-256=:/hfWdtb2ZCqwB8dEh9TPnvFWQgImDeZkZHyBxLdC1co=:
"@signature-params": ("@method" "@authority" "@path" "content-digest");created=1767225600;keyid="k7m2qx4p";alg="ed25519";tag="godwit"`},
	{"state", wire{
		method: "GET", host: authority, target: "/v1/hosts/host1.dyn.example.com",
		input:     `godwit=("@method" "@authority" "@path");created=1767225601;keyid="k7m2qx4p";alg="ed25519";tag="godwit"`,
		signature: "godwit=:RL/tIm2BcTSobUL1Vh1u2Y614DdvVzRG0YwGXNXUempXMcrtom/ujrxbpCdOuFlh3yEG7X/45PmePjE4Pl7MCQ==:",
	}, created + 1, `"@method": GET
"@authority": ddns.example.com
"@path": /v1/hosts/host1.dyn.example.com
"@signature-params": ("@method" "@authority" "@path");created=1767225601;keyid="k7m2qx4p";alg="ed25519";tag="godwit"`},
}

// The vectors of docs/protocols.md, octet for octet, from both sides.
func TestVectors(t *testing.T) {
	if got := base64.StdEncoding.EncodeToString(publicKey(t)); got != "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" {
		t.Fatalf("public key is %s", got)
	}
	if sum := sha256.Sum256([]byte(vectors[0].base)); len(vectors[0].base) != 303 || hex.EncodeToString(sum[:4]) != "192ff4ba" {
		t.Fatalf("the first base has %d octets and SHA-256 %x", len(vectors[0].base), sum)
	}
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			r := newRequest(t, v.method, "https://"+authority+v.target, v.body)
			if err := newSigner(t).Sign(r, []byte(v.body), time.Unix(v.created, 0)); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{"Content-Digest": v.digest, "Signature-Input": v.input, "Signature": v.signature} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s\n got %s\nwant %s", name, got, want)
				}
			}
			m, err := v.parse()
			if err != nil {
				t.Fatal(err)
			}
			if m.Base() != v.base {
				t.Errorf("base\n got %s\nwant %s", m.Base(), v.base)
			}
			if m.KeyID != keyID || m.Created != v.created || m.Expires != 0 {
				t.Errorf("got %s, %d, %d", m.KeyID, m.Created, m.Expires)
			}
			if !m.Verify(publicKey(t)) {
				t.Error("does not verify")
			}
			other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
			for name, key := range map[string]ed25519.PublicKey{"other": other, "none": nil, "short": publicKey(t)[1:], "no point": bytes.Repeat([]byte{2}, 32)} {
				if m.Verify(key) {
					t.Errorf("verifies with the key %q", name)
				}
			}
		})
	}
}

// Whatever octet of a signed request is changed, in any bit, left out or
// doubled, the request proves nothing. The case of Host alone says nothing.
func TestEveryOctetCounts(t *testing.T) {
	key := publicKey(t)
	for _, v := range vectors {
		parts := map[string]func(*wire) *string{
			"method": func(w *wire) *string { return &w.method },
			"host":   func(w *wire) *string { return &w.host },
			"target": func(w *wire) *string { return &w.target },
			"input":  func(w *wire) *string { return &w.input },
			"value":  func(w *wire) *string { return &w.signature },
			"digest": func(w *wire) *string { return &w.digest },
			"body":   func(w *wire) *string { return &w.body },
		}
		for name, part := range parts {
			t.Run(v.name+"/"+name, func(t *testing.T) {
				w := v.wire
				whole := *part(&w)
				refused := func(changed string) {
					bent := v.wire
					*part(&bent) = changed
					if bent.holds(key) && !(name == "host" && strings.ToLower(changed) == whole) {
						t.Errorf("%q still holds", changed)
					}
				}
				for i := range len(whole) {
					for bit := range 8 {
						changed := []byte(whole)
						changed[i] ^= 1 << bit
						refused(string(changed))
					}
					refused(whole[:i] + whole[i+1:])
					refused(whole[:i] + whole[i:i+1] + whole[i:])
				}
				if name != "digest" || v.method != "GET" {
					refused(whole + "x")
				}
				if !v.holds(key) {
					t.Error("the request itself does not hold") // or the test proves nothing
				}
			})
		}
	}
}

// A signature for one server is worth nothing at another, whatever Host says.
func TestAuthorityOfTheServer(t *testing.T) {
	v := vectors[0]
	for i := range len(authority) {
		for bit := range 8 {
			changed := []byte(authority)
			changed[i] ^= 1 << bit
			if m, err := signature.Parse(signature.RequestOf(v.received(), []byte(v.body), string(changed))); err == nil && m.Verify(publicKey(t)) {
				t.Errorf("holds at %q", changed)
			}
		}
	}
	v.host = "10.0.0.1:8053" // as a proxy rewrites it
	m, err := signature.Parse(signature.RequestOf(v.received(), []byte(v.body), authority))
	if err != nil || !m.Verify(publicKey(t)) {
		t.Errorf("does not hold behind a proxy that rewrites Host: %v", err)
	}
	if v.holds(publicKey(t)) {
		t.Error("holds for another Host where the server knows no name of its own")
	}
}

func TestAuthority(t *testing.T) {
	for _, c := range []struct{ scheme, host, want string }{ // want "" for refused
		{"https", "ddns.example.com", "ddns.example.com"},
		{"https", "DDNS.Example.COM:443", "ddns.example.com"},
		{"https", "ddns.example.com:80", "ddns.example.com:80"},
		{"http", "ddns.example.com:80", "ddns.example.com"},
		{"http", "ddns.example.com:443", "ddns.example.com:443"},
		{"http", "ddns.example.com:8053", "ddns.example.com:8053"},
		{"https", "[2001:DB8::1]:443", "[2001:db8::1]"},
		{"https", "[2001:db8::443]", "[2001:db8::443]"},
		{"http", "192.0.2.1:80", "192.0.2.1"},
		{"http", "", ""},
		{"http", ":80", ""},
		{"http", "bücher.example.com", ""},
		{"http", "user@ddns.example.com", ""},
		{"http", "[fe80::1%25eth0]", ""},
		{"http", "ddns.example.com\n\"@path\": /", ""},
		{"http", "ddns.example.com/x", ""},
		{"http", strings.Repeat("a", 301), ""},
	} {
		got, err := signature.Authority(c.scheme, c.host)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, signature.ErrMalformed) {
			t.Errorf("Authority(%q, %q) = %q, %v; want %q", c.scheme, c.host, got, err, c.want)
		}
	}
}

// What is not the profile is refused, each for its kind of reason.
func TestParseRefuses(t *testing.T) {
	good := vectors[0].wire
	value := strings.TrimPrefix(good.signature, "godwit=")
	digest := strings.TrimPrefix(good.digest, "sha-256=")
	input := func(text string) func(*wire) { return func(w *wire) { w.input = text } }
	sent := func(text string) func(*wire) { return func(w *wire) { w.signature = text } }
	digested := func(text string) func(*wire) { return func(w *wire) { w.digest = text } }
	to := func(text string) func(*wire) { return func(w *wire) { w.target = text } }
	with := func(more string) func(*wire) { return input("godwit=" + list + params + more) }
	without := func(less string) func(*wire) {
		return func(w *wire) { w.input = strings.Replace(w.input, less, "", 1) }
	}
	instead := func(old, new string) func(*wire) {
		return func(w *wire) { w.input = strings.Replace(w.input, old, new, 1) }
	}
	for _, c := range []struct {
		name string
		kind error
		bend func(*wire)
	}{
		{"nothing", signature.ErrMissing, func(w *wire) { w.input, w.signature = "", "" }},
		{"no Signature-Input", signature.ErrMissing, input("")},
		{"other tag", signature.ErrMissing, instead(`tag="godwit"`, `tag="other"`)},
		{"tag in capitals", signature.ErrMissing, instead(`tag="godwit"`, `tag="Godwit"`)},
		{"tag that is a token", signature.ErrMissing, instead(`tag="godwit"`, `tag=godwit`)},
		{"no tag", signature.ErrMissing, without(`;tag="godwit"`)},
		{"tag on a component", signature.ErrMissing, input(`godwit=("@method";tag="godwit");created=1`)},
		{"other body", signature.ErrDigest, func(w *wire) { w.body = "{ }" }},
		{"no body", signature.ErrDigest, func(w *wire) { w.body = "" }},

		{"no Signature", signature.ErrMalformed, sent("")},
		{"other label", signature.ErrMalformed, sent("sig1=" + value)},
		{"signature is a string", signature.ErrMalformed, sent(`godwit="x"`)},
		{"signature is a list", signature.ErrMalformed, sent("godwit=(" + value + ")")},
		{"signature with a parameter", signature.ErrMalformed, sent(good.signature + ";a")},
		{"signature of 63 octets", signature.ErrMalformed, sent("godwit=:" + base64.StdEncoding.EncodeToString(make([]byte, 63)) + ":")},
		{"signature of 65 octets", signature.ErrMalformed, sent("godwit=:" + base64.StdEncoding.EncodeToString(make([]byte, 65)) + ":")},
		{"signature of 66 octets", signature.ErrMalformed, sent("godwit=:" + base64.StdEncoding.EncodeToString(make([]byte, 66)) + ":")},
		{"signature without padding", signature.ErrMalformed, sent(strings.Replace(good.signature, "==", "", 1))},
		{"signature with bits too many", signature.ErrMalformed, sent(strings.Replace(good.signature, "AQ==", "AR==", 1))},
		{"signature in URL base64", signature.ErrMalformed, sent(strings.Replace(good.signature, "+", "-", 1))},
		{"signature twice", signature.ErrMalformed, sent(good.signature + ", " + good.signature)},
		{"signature on two lines", signature.ErrMalformed, sent(good.signature + "\n" + good.signature)},

		{"two with the tag", signature.ErrMalformed, func(w *wire) { w.input += ", b=" + list + params; w.signature += ", b=" + value }},
		{"two lines with the tag", signature.ErrMalformed, func(w *wire) { w.input += "\nb=" + list + params; w.signature += "\nb=" + value }},
		{"label twice", signature.ErrMalformed, input("a=" + list + params + ", a=()")},
		{"no list", signature.ErrMalformed, input(`godwit="x"` + params)},
		{"true", signature.ErrMalformed, input(`godwit` + params)},
		{"too many labels", signature.ErrMalformed, input("a, b, c, d, e, f, g, h, godwit=" + list + params)},
		{"too long", signature.ErrMalformed, input(strings.Repeat(" ", signature.MaxField) + good.input)},
		{"too many lines", signature.ErrMalformed, input(strings.Repeat("\n", signature.MaxField/2) + good.input)},
		{"empty line", signature.ErrMalformed, input(good.input + "\n")},

		{"no method", signature.ErrMalformed, without(`"@method" `)},
		{"no authority", signature.ErrMalformed, without(`"@authority" `)},
		{"no path", signature.ErrMalformed, without(`"@path" `)},
		{"no digest", signature.ErrMalformed, without(` "content-digest"`)},
		{"nothing covered", signature.ErrMalformed, instead(list, "()")},
		{"one covered twice", signature.ErrMalformed, instead(`"@path"`, `"@method"`)},
		{"one more covered", signature.ErrMalformed, instead(`"@path"`, `"@path" "@query"`)},
		{"component with a parameter", signature.ErrMalformed, instead(`"@path"`, `"@path";req`)},
		{"component that is a token", signature.ErrMalformed, instead(`"@path"`, `path`)},
		{"component in capitals", signature.ErrMalformed, instead("content-digest", "Content-Digest")},

		{"space after semicolon", signature.ErrMalformed, instead(";keyid", "; keyid")},
		{"space in the list", signature.ErrMalformed, instead(`("@method"`, `( "@method"`)},
		{"two spaces in the list", signature.ErrMalformed, instead(`" "@path"`, `"  "@path"`)},
		{"no space after a comma", signature.ErrMalformed, input(good.input + ",b=()")},
		{"comma at the end", signature.ErrMalformed, input(good.input + ",")},
		{"zero before created", signature.ErrMalformed, instead("created=", "created=0")},
		{"key in capitals", signature.ErrMalformed, instead("created", "Created")},
		{"parameter twice", signature.ErrMalformed, with(";created=1767225600")},
		{"true in full", signature.ErrMalformed, with(";x=?1")},

		{"no created", signature.ErrMalformed, without(";created=1767225600")},
		{"no keyid", signature.ErrMalformed, without(`;keyid="k7m2qx4p"`)},
		{"no alg", signature.ErrMalformed, without(`;alg="ed25519"`)},
		{"created is a string", signature.ErrMalformed, instead("1767225600", `"1767225600"`)},
		{"created is a decimal", signature.ErrMalformed, instead("1767225600", `1767225600.0`)},
		{"created is a date", signature.ErrMalformed, instead("1767225600", `@1767225600`)},
		{"created is true", signature.ErrMalformed, instead("=1767225600", "")},
		{"created is 0", signature.ErrMalformed, instead("1767225600", "0")},
		{"created is before 1970", signature.ErrMalformed, instead("1767225600", "-1")},
		{"created of 16 digits", signature.ErrMalformed, instead("1767225600", "1000000000000000")},
		{"keyid is a token", signature.ErrMalformed, instead(`"k7m2qx4p"`, "k7m2qx4p")},
		{"keyid is empty", signature.ErrMalformed, instead(`"k7m2qx4p"`, `""`)},
		{"keyid with an escape", signature.ErrMalformed, instead(`k7m2qx4p`, `k7m2\"x4p`)},
		{"keyid with a space", signature.ErrMalformed, instead(`k7m2qx4p`, `k7m2 x4p`)},
		{"keyid too long", signature.ErrMalformed, instead(`k7m2qx4p`, strings.Repeat("k", 65))},
		{"other algorithm", signature.ErrMalformed, instead("ed25519", "hmac-sha256")},
		{"algorithm in capitals", signature.ErrMalformed, instead("ed25519", "Ed25519")},
		{"nonce is a number", signature.ErrMalformed, with(";nonce=1")},
		{"expires is a string", signature.ErrMalformed, with(`;expires="1767225601"`)},
		{"expires before created", signature.ErrMalformed, with(";expires=1767225599")},
		{"unknown parameter", signature.ErrMalformed, with(";x")},

		{"no Content-Digest", signature.ErrMalformed, digested("")},
		{"other digest", signature.ErrMalformed, digested("sha-512=" + digest)},
		{"digest is a string", signature.ErrMalformed, digested(`sha-256="x"`)},
		{"digest of 31 octets", signature.ErrMalformed, digested("sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + ":")},
		{"digest of 33 octets", signature.ErrMalformed, digested("sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + ":")},
		{"digest with a parameter", signature.ErrMalformed, digested(good.digest + ";a")},
		{"digest twice", signature.ErrMalformed, digested(good.digest + ", " + good.digest)},
		{"digest as in RFC 3230", signature.ErrMalformed, digested("SHA-256=" + strings.Trim(digest, ":"))},

		{"query", signature.ErrMalformed, to(target + "?a=b")},
		{"empty query", signature.ErrMalformed, to(target + "?")},
		{"whole URL", signature.ErrMalformed, to("http://" + authority + target)},
		{"asterisk", signature.ErrMalformed, to("*")},
		{"dot segment", signature.ErrMalformed, to("/v1/./hosts")},
		{"two dots at the end", signature.ErrMalformed, to("/v1/hosts/..")},
		{"escape that is not needed", signature.ErrMalformed, to("/v1/hosts/%68ost1")},
		{"escape in small letters", signature.ErrMalformed, to("/v1/hosts/%2a")},
		{"escape cut short", signature.ErrMalformed, to("/v1/hosts/%2")},
		{"path beyond ASCII", signature.ErrMalformed, to("/v1/hosts/bücher")},
		{"path with a line", signature.ErrMalformed, to("/v1\n\"@method\": GET")},
		{"path too long", signature.ErrMalformed, to("/" + strings.Repeat("a", 1024))},
		{"method in small letters", signature.ErrMalformed, func(w *wire) { w.method = "put" }},
		{"method with a line", signature.ErrMalformed, func(w *wire) { w.method = "PUT\nX" }},
		{"method too long", signature.ErrMalformed, func(w *wire) { w.method = strings.Repeat("A", 17) }},
		{"no Host", signature.ErrMalformed, func(w *wire) { w.host = "" }},
		{"GET that covers a digest", signature.ErrMalformed, func(w *wire) { w.method = "GET" }},
		{"GET with a body", signature.ErrMalformed, func(w *wire) { *w = vectors[2].wire; w.body = "{}" }},
		{"PUT that covers no digest", signature.ErrMalformed, func(w *wire) { *w = vectors[2].wire; w.method = "PUT" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := good
			c.bend(&w)
			if w == good {
				t.Fatal("nothing is bent")
			}
			m, err := w.parse()
			if m != nil || !errors.Is(err, c.kind) {
				t.Errorf("got %v, %v; want %v", m, err, c.kind)
			}
			checkError(t, err)
		})
	}
}

// checkError holds what is true of every error.
func checkError(t testing.TB, err error) {
	t.Helper()
	e, ok := errors.AsType[*signature.Error](err)
	switch {
	case !ok:
		t.Fatalf("the error is a %T: %v", err, err)
	case e.Why == "" || e.Fix == "" || e.Kind == nil || len(e.Error()) > 300:
		t.Fatalf("the error is not fit to be shown: %+v", e)
	}
}

// signedBy makes the signature for a wire's Signature-Input, whatever that says.
func signedBy(t testing.TB, w wire, label string) wire {
	t.Helper()
	w.signature = label + "=:" + base64.StdEncoding.EncodeToString(make([]byte, ed25519.SignatureSize)) + ":"
	m, err := w.parse()
	if err != nil {
		t.Fatal(err)
	}
	w.signature = label + "=:" + base64.StdEncoding.EncodeToString(ed25519.Sign(testKey(t), []byte(m.Base()))) + ":"
	return w
}

// What the profile leaves to the signer.
func TestParseTakes(t *testing.T) {
	for name, input := range map[string]string{
		"label":                `*a-1.b_c=` + list + params,
		"order of components":  `godwit=("content-digest" "@path" "@authority" "@method")` + params,
		"order of parameters":  `godwit=` + list + `;tag="godwit";alg="ed25519";keyid="k7m2qx4p";created=1767225600`,
		"space around":         " \tgodwit=" + list + params + "\t ",
		"nonce":                `godwit=` + list + `;nonce="a \"b\" \\c"` + params,
		"expires":              `godwit=` + list + params + `;expires=1767225600`,
		"others of all types":  `a=("@method";sf "x";b=1.5 tok/en :AA==:;c=-1);s="a, b=\"";f=?0;t;tag="other", godwit=` + list + params + `, b=()`,
		"others on lines":      "a=(\"@path\")\n  godwit=" + list + params + "\t\nb=()",
		"others that are none": `a, b=1;c, godwit=` + list + params,
	} {
		t.Run(name, func(t *testing.T) {
			w := vectors[0].wire
			w.input = input
			label := "godwit"
			if name == "label" {
				label = "*a-1.b_c"
			}
			w = signedBy(t, w, label)
			if !w.holds(publicKey(t)) {
				t.Error("does not hold")
			}
			w.signature = `a=:AA==:;x` + "\n" + w.signature + "\n" + `b="x"`
			if !w.holds(publicKey(t)) {
				t.Error("does not hold beside others")
			}
		})
	}
	w := vectors[0].wire
	w.digest += ", sha-512=:AAAA:"
	if w = signedBy(t, w, "godwit"); !w.holds(publicKey(t)) {
		t.Error("does not hold with a second digest")
	}
	w.digest = vectors[0].digest + "\nsha-512=:AAAA:" // the same value (RFC 9110 section 5.3)
	if !w.holds(publicKey(t)) {
		t.Error("does not hold with two lines of Content-Digest")
	}
}

func TestCheckTime(t *testing.T) {
	m := signature.Message{Created: created}
	expiring := signature.Message{Created: created, Expires: created + 10}
	for _, c := range []struct {
		name string
		m    *signature.Message
		now  time.Time
		ok   bool
	}{
		{"now", &m, clock, true},
		{"300 s ago", &m, clock.Add(300 * time.Second), true},
		{"300.9 s ago", &m, clock.Add(300*time.Second + 900*time.Millisecond), true},
		{"301 s ago", &m, clock.Add(301 * time.Second), false},
		{"300 s ahead", &m, clock.Add(-300 * time.Second), true},
		{"301 s ahead", &m, clock.Add(-301 * time.Second), false},
		{"a day ago", &m, clock.AddDate(0, 0, 1), false},
		{"a day ahead", &m, clock.AddDate(0, 0, -1), false},
		{"last second", &expiring, clock.Add(10 * time.Second), true},
		{"expired", &expiring, clock.Add(11 * time.Second), false},
	} {
		err := c.m.CheckTime(c.now)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			if checkError(t, err); !errors.Is(err, signature.ErrTime) {
				t.Errorf("%s: %v is of another kind", c.name, err)
			}
		}
	}
}

// The vector of RFC 9421 appendix B.2.6. Its components are not ours, so it does
// not parse; its key, its base and its signature are what Verify takes, and a
// request may carry it beside ours.
func TestAppendixB26(t *testing.T) {
	const (
		input = `("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`
		value = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
		base  = `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ` + input
	)
	key, err := base64.StdEncoding.DecodeString("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")
	if err != nil {
		t.Fatal(err)
	}
	sig, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	if !signature.MessageOf(base, sig).Verify(key) || signature.MessageOf(base+" ", sig).Verify(key) {
		t.Error("the vector does not verify, or verifies over another base")
	}
	w := wire{method: "POST", host: "example.com", target: "/foo", input: "sig-b26=" + input, signature: "sig-b26=:" + value + ":", body: `{"hello": "world"}`}
	if _, err := w.parse(); !errors.Is(err, signature.ErrMissing) {
		t.Errorf("alone: %v", err)
	}
	w.input += `;alg="ed25519";tag="godwit"`
	if _, err := w.parse(); !errors.Is(err, signature.ErrMalformed) {
		t.Errorf("with our tag: %v", err)
	}
	both := vectors[0].wire
	both.input, both.signature = "sig-b26="+input+", "+both.input, both.signature+", sig-b26=:"+value+":"
	if !both.holds(publicKey(t)) {
		t.Error("ours does not hold beside it")
	}
}

// Requests over real connections: what net/http sends is what was signed.
func TestOverTheWire(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		m, err := signature.Parse(signature.RequestOf(r, body, ""))
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case !m.Verify(publicKey(t)):
			http.Error(w, m.Base(), http.StatusUnauthorized)
		default:
			fmt.Fprint(w, r.Proto)
		}
	})
	plain := httptest.NewServer(handler)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	signer := newSigner(t)
	for _, c := range []struct {
		server        *httptest.Server
		host          string // "" for the address
		method, path  string
		body, version string
	}{
		{plain, "", "PUT", target, "{}", "HTTP/1.1"},
		{secure, "", "PUT", target, "{}", "HTTP/2.0"},
		{plain, "", "GET", "/v1/hosts/host1.dyn.example.com", "", "HTTP/1.1"},
		{secure, "", "GET", "", "", "HTTP/2.0"},
		{plain, "DDNS.example.com:80", "PUT", target, "", "HTTP/1.1"},
		{secure, "DDNS.example.com:443", "DELETE", target, `{"a":[]}`, "HTTP/2.0"},
		{plain, "", "PUT", "//v1/hosts//*.dyn.example.com/", "{}", "HTTP/1.1"},
		{secure, "", "PUT", "/v1/hosts/%2A.dyn.example.com/", "{}", "HTTP/2.0"},
	} {
		r := newRequest(t, c.method, c.server.URL+c.path, c.body)
		r.Host = c.host
		if err := signer.Sign(r, []byte(c.body), clock); err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		answer, err := c.server.Client().Do(r)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || string(text) != c.version {
			t.Errorf("%s %s at %q: %d %s, %v", c.method, c.path, c.host, answer.StatusCode, text, err)
		}
	}
}

// overWire is a client's request as a server reads it.
func overWire(t interface{ Fatal(...any) }, r *http.Request, body []byte) *http.Request {
	var sent bytes.Buffer
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if err := r.Write(&sent); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&sent))
	if err != nil {
		t.Fatal(err)
	}
	if r.URL.Scheme == "https" {
		got.TLS = &tls.ConnectionState{}
	}
	return got
}
