package signature_test

import (
	"testing"

	"godwit/internal/signature"
)

func BenchmarkSign(b *testing.B) {
	s := newSigner(b)
	body := []byte(vectors[1].body)
	r := newRequest(b, "PUT", "https://"+authority+target, vectors[1].body)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Sign(r, body, clock); err != nil {
			b.Fatal(err)
		}
	}
}

// What a signed update costs the server before it is looked up: Parse alone, and
// with Verify.
func BenchmarkParse(b *testing.B) {
	r, body := vectors[1].received(), []byte(vectors[1].body)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signature.Parse(signature.RequestOf(r, body, authority)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAndVerify(b *testing.B) {
	r, body, key := vectors[1].received(), []byte(vectors[1].body), publicKey(b)
	b.ReportAllocs()
	for b.Loop() {
		if m, err := signature.Parse(signature.RequestOf(r, body, authority)); err != nil || !m.Verify(key) {
			b.Fatal("does not hold", err)
		}
	}
}
