package dynamodb

import (
	"crypto/sha256"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Seal returns the secret's octets as they are. There is no sealing key here:
// the reference's function must read its row, so what guards a secret is who may
// read the table, and its encryption at rest. With --seed=off nothing is sealed.
// So Credential.Sealed of this store is the secret itself: it is never logged.
func (s *Store) Seal(_ dnsname.Name, _ string, secret ddns.Secret) ([]byte, error) {
	return []byte(secret.Reveal()), nil
}

// Open is the reverse of Seal.
func (s *Store) Open(_ dnsname.Name, _ string, sealed []byte) (ddns.Secret, error) {
	return ddns.NewSecret(string(sealed)), nil
}

// Fingerprint is a hash of the secret. It tells no more than the verifier does
// that stands beside it.
func (s *Store) Fingerprint(secret ddns.Secret) []byte {
	sum := sha256.Sum256([]byte("godwit fingerprint " + secret.Reveal()))
	return sum[:]
}
