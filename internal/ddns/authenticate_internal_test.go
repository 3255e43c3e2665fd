package ddns

import (
	"testing"
	"time"

	"godwit/internal/dnsname"
)

// TestEvenChecks: a host with as many keys, join codes and tokens as it may have
// costs a guess no more checks than a host that is not there.
func TestEvenChecks(t *testing.T) {
	h := &Host{Name: dnsname.MustParse("a.dyn.example.org")}
	var all []*Credential
	for i := range MaxCredentials {
		c, _ := NewToken(h.Name, time.Time{})
		c.Kind = []Kind{KindEd25519, KindJoin, KindToken}[i%3]
		all, h.Credentials = append(all, c), append(h.Credentials, c.ID)
	}
	for name, proof := range map[string]Proof{
		"a password": TokenProof{Token: NewSecret("password")}, "nothing": TokenProof{},
		"an ID":      TokenProof{Token: NewSecret(all[0].ID + "-abcdefghijklmnopqrstuvwxyz")},
		"the seed's": SeedProof{}, "a code": CodeProof{},
	} {
		n := 0
		for _, c := range all {
			if mayAnswer(h, c, proof) {
				n++
			}
		}
		if n > evenChecks {
			t.Errorf("%s costs %d checks", name, n)
		}
	}
}
