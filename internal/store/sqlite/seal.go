package sqlite

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// The sealing key's file in the data directory. Further files that match
// oldKeys are keys of before: they open secrets and seal none.
const (
	keyFile = "seal.key"
	oldKeys = "seal-*.key"
	keySize = 32
)

// sealVersion is the first octet of a sealed secret: 1, then four octets that
// say which key, twelve of nonce, and AES-256-GCM's output.
const sealVersion = 1

const (
	keyIDSize  = 4
	nonceSize  = 12
	sealHeader = 1 + keyIDSize + nonceSize
)

// sealer keeps secrets unreadable in a stolen database. Each key has an ID, an
// HMAC under it, that goes with every secret, so that secrets of two keys are
// never mixed up: one that the keys at hand did not seal says so.
type sealer struct {
	current *sealKey
	keys    map[[keyIDSize]byte]*sealKey
	random  io.Reader
	dir     string
}

type sealKey struct {
	id          [keyIDSize]byte
	aead        cipher.AEAD
	fingerprint []byte // key of the fingerprints' HMAC
}

// newSealKey derives what is used from the key itself, one key for each use.
func newSealKey(raw []byte) (*sealKey, error) {
	if len(raw) != keySize {
		return nil, fmt.Errorf("has %d octets, not %d", len(raw), keySize)
	}
	derive := func(use string) []byte {
		m := hmac.New(sha256.New, raw)
		m.Write([]byte(use))
		return m.Sum(nil)
	}
	block, err := aes.NewCipher(derive("godwit seal 1"))
	if err != nil {
		return nil, err
	}
	k := &sealKey{fingerprint: derive("godwit fingerprint 1")}
	copy(k.id[:], derive("godwit key id 1"))
	k.aead, err = cipher.NewGCM(block)
	return k, err
}

// openSealer reads the keys, and makes one if there is none.
//
// If the database has been sealed under a key that is not there (a backup was
// restored without it), a new one is made all the same, loudly: hosts with
// tokens and keys of their own go on, and a host can be rotated onto the new
// key. Old secrets then fail to open, each saying which key it needs. With
// Config.KeepKey there is none instead.
func openSealer(dir string, c *conn, cfg Config) (*sealer, error) {
	log := cfg.Log
	s := &sealer{keys: map[[keyIDSize]byte]*sealKey{}, random: rand.Reader, dir: dir}
	known, err := note(c, "sealing key")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, keyFile)
	raw, err := os.ReadFile(file)
	made := errors.Is(err, os.ErrNotExist)
	if made && cfg.KeepKey && known != "" {
		return s, nil
	}
	if made {
		raw, err = makeKey(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: %w", err)
	}
	if err := tighten(file, log); err != nil {
		return nil, err
	}
	if s.current, err = newSealKey(raw); err != nil {
		return nil, fmt.Errorf("%s is not a sealing key: it %w; restore it from where you keep a copy", file, err)
	}
	s.keys[s.current.id] = s.current
	entries, err := os.ReadDir(dir) // in order
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if old, _ := filepath.Match(oldKeys, e.Name()); !old {
			continue
		}
		f := filepath.Join(dir, e.Name())
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read an old sealing key: %w", err)
		}
		k, err := newSealKey(raw)
		if err != nil {
			return nil, fmt.Errorf("%s is not a sealing key: it %w", f, err)
		}
		if s.keys[k.id] == nil {
			s.keys[k.id] = k
		}
	}
	id := hex.EncodeToString(s.current.id[:])
	if known == id {
		return s, nil
	}
	if known != "" {
		var before [keyIDSize]byte
		_, _ = hex.Decode(before[:], []byte(known))
		if s.keys[before] == nil {
			log.Warn("the sealing key of this database is missing: shared secrets sealed under it do not work; restore its file as seal-old.key, or rotate those hosts",
				"dir", dir, "missing", known, "current", id, "made", made)
		}
	}
	// Written after the key file is durable, never before.
	return s, setNote(c, "sealing key", id)
}

// makeKey makes the key file, durably before it is used: a secret sealed under
// a key that a power cut takes away could never be opened again.
func makeKey(dir string) ([]byte, error) {
	raw := make([]byte, keySize)
	rand.Read(raw)
	return raw, writeFile(filepath.Join(dir, keyFile), func(f *os.File) error {
		_, err := f.Write(raw)
		return err
	})
}

// temporary begins the names of files that writeFile has not finished.
const temporary = "godwit.tmp-"

// writeFile makes a file of mode 0600, complete and durable or not at all. It
// replaces nothing.
func writeFile(file string, fill func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), temporary+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = errors.Join(fill(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = moveNew(f.Name(), file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// moveNew renames a file to a name that nothing has yet.
func moveNew(from, to string) error {
	// A link fails where the name is taken; a rename would replace.
	err := os.Link(from, to)
	switch {
	case err == nil:
		return os.Remove(from)
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("%s exists already", to)
	}
	// A file system without links.
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s exists already", to)
	}
	return os.Rename(from, to)
}

// associated is what binds a sealed secret to its row.
func associated(host dnsname.Name, credential string) []byte {
	return append([]byte(host.Wire()), credential...) // a name in wire form ends itself
}

// Seal encrypts a secret for one host's credential.
func (s *Store) Seal(host dnsname.Name, credential string, secret ddns.Secret) ([]byte, error) {
	return s.seal.seal(host, credential, secret)
}

// Open decrypts what Seal made for the same host and credential.
func (s *Store) Open(host dnsname.Name, credential string, sealed []byte) (ddns.Secret, error) {
	return s.seal.open(host, credential, sealed)
}

// Fingerprint is the secret's HMAC-SHA256 under a key of its own; nil where
// there is no sealing key (Config.KeepKey).
func (s *Store) Fingerprint(secret ddns.Secret) []byte {
	if s.seal.current == nil {
		return nil
	}
	m := hmac.New(sha256.New, s.seal.current.fingerprint)
	m.Write([]byte(secret.Reveal()))
	return m.Sum(nil)
}

// place is the file name under which a key that is missing belongs.
func (s *sealer) place() string {
	if s.current == nil {
		return keyFile
	}
	return "seal-old.key"
}

func (s *sealer) seal(host dnsname.Name, credential string, secret ddns.Secret) ([]byte, error) {
	if s.current == nil {
		return nil, fmt.Errorf("there is no sealing key in %s: restore %s", s.dir, keyFile)
	}
	text := secret.Reveal()
	out := make([]byte, sealHeader, sealHeader+len(text)+s.current.aead.Overhead())
	out[0] = sealVersion
	copy(out[1:], s.current.id[:])
	nonce := out[1+keyIDSize : sealHeader]
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return nil, fmt.Errorf("make a nonce: %w", err)
	}
	return s.current.aead.Seal(out, nonce, []byte(text), associated(host, credential)), nil
}

func (s *sealer) open(host dnsname.Name, credential string, sealed []byte) (ddns.Secret, error) {
	if len(sealed) < sealHeader || sealed[0] != sealVersion {
		return ddns.Secret{}, errors.New("the sealed secret is damaged: rotate it")
	}
	k := s.keys[[keyIDSize]byte(sealed[1:])]
	if k == nil {
		return ddns.Secret{}, fmt.Errorf("the secret was sealed under key %x, which is not in %s: restore that key's file there as %s, or rotate the secret",
			sealed[1:1+keyIDSize], s.dir, s.place())
	}
	text, err := k.aead.Open(nil, sealed[1+keyIDSize:sealHeader], sealed[sealHeader:], associated(host, credential))
	if err != nil {
		return ddns.Secret{}, errors.New("the sealed secret is damaged or belongs to another host: rotate it")
	}
	return ddns.NewSecret(string(text)), nil
}
