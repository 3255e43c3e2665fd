package certificate

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mholt/acmez/v3/acme"
)

// Files in a CA's folder.
const (
	pairFile    = "certificate.pem"
	accountFile = "account.key"
)

// folder is the name of a CA's folder: its directory's URL, readable, without
// what no file name may have.
func folder(directory string) string {
	text := strings.TrimPrefix(directory, "https://")
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '_'
	}, text)
}

// readEAB reads a file of two words: a key ID, and a MAC key in base64url.
func readEAB(file string) (acme.EAB, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return acme.EAB{}, fmt.Errorf("read the key of the account at the CA: %w", err)
	}
	words := strings.Fields(string(data))
	if len(words) != 2 {
		return acme.EAB{}, fmt.Errorf("%s has not two words; write the key ID, a space, and the MAC key", file)
	}
	key := strings.TrimRight(words[1], "=") // some CAs give it padded
	if _, err := base64.RawURLEncoding.DecodeString(key); err != nil {
		return acme.EAB{}, fmt.Errorf("the MAC key in %s, the second word, is not base64url; write it as the CA gave it", file)
	}
	return acme.EAB{KeyID: words[0], MACKey: key}, nil
}

// accountKey reads the account's key, and makes it at the first call of all. A
// damaged one is not replaced: with it goes the account.
func (m *Manager) accountKey() (crypto.Signer, error) {
	file := m.file(accountFile)
	data, err := os.ReadFile(file)
	if err == nil {
		return parseKey(file, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the key of the account at the CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := keyBlock(key)
	if err != nil {
		return nil, err
	}
	if err := writeFile(file, block); err != nil {
		return nil, fmt.Errorf("keep the key of the account at the CA: %w", err)
	}
	return key, nil
}

func parseKey(file string, data []byte) (crypto.Signer, error) {
	if block, _ := pem.Decode(data); block != nil {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, nil
			}
		}
	}
	return nil, fmt.Errorf("%s is damaged; restore it, or move it away to make a new account at the CA", file)
}

func keyBlock(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// readPair reads a key and a chain that stand in one file, so that they always
// belong together.
func readPair(file string) (*tls.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &pair, nil
}

func writePair(file string, pair *tls.Certificate) error {
	data, err := keyBlock(pair.PrivateKey)
	if err != nil {
		return err
	}
	for _, der := range pair.Certificate {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return writeFile(file, data)
}

// joinPair makes a pair of a key and the chain that a CA gave for it.
func joinPair(key crypto.PrivateKey, chain []byte) (*tls.Certificate, error) {
	data, err := keyBlock(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(bytes.Clone(chain), data)
	return &pair, err
}

// writeFile replaces a file, for its owner alone, durably and whole or not at all.
func writeFile(file string, data []byte) (err error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), file); err != nil {
		return err
	}
	// The name is durable when its directory is.
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
