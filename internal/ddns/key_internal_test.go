package ddns

import (
	"crypto/ed25519"
	"testing"
)

func TestDecoyKey(t *testing.T) {
	if want := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public(); !decoyKey.Equal(want) {
		t.Errorf("got %x, want %x", decoyKey, want)
	}
}
