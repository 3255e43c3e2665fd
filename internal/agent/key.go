package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/signature"
)

// maxSecretFile bounds a key or token file, in octets.
const maxSecretFile = 4096

// Key is what proves a host to a server: an Ed25519 key, and the ID under which
// the server knows it. It is made on the device and never leaves it.
type Key struct {
	Server     string // URL
	Host       string // "" until the server has said it
	Credential string // "" until the server has said it
	// private is a function, because fmt prints what fields hold, but never what a
	// function does.
	private func() ed25519.PrivateKey
}

// keyFile is a Key in its file.
type keyFile struct {
	Server     string `json:"server"`
	Host       string `json:"host,omitempty"`
	Credential string `json:"credential,omitempty"`
	Seed       []byte `json:"seed"` // RFC 8032 private key, 32 octets
}

// NewKey makes a key for a server.
func NewKey(server string) (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Key{Server: server, private: func() ed25519.PrivateKey { return private }}, nil
}

// Public is the half that the server gets.
func (k *Key) Public() []byte { return k.private().Public().(ed25519.PublicKey) }

// Signer signs in the key's name.
func (k *Key) Signer() (*signature.Signer, error) {
	return signature.NewSigner(k.Credential, k.private())
}

// ReadKey reads a key file. One that others can read is refused.
func ReadKey(path string) (*Key, error) {
	data, err := readSecretFile(path)
	if err != nil {
		return nil, err
	}
	var f keyFile
	if json.Unmarshal(data, &f) != nil || len(f.Seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is not a key of godwit; join again: godwit agent join URL CODE", path)
	}
	private := ed25519.NewKeyFromSeed(f.Seed)
	return &Key{f.Server, f.Host, f.Credential, func() ed25519.PrivateKey { return private }}, nil
}

// Write puts the key into a file that nobody else can read, whole or not at all.
func (k *Key) Write(path string) error {
	data, err := json.Marshal(keyFile{k.Server, k.Host, k.Credential, k.private().Seed()})
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	return writeFile(path, append(data, '\n'), 0o600, true)
}

// KeyPath is where a state directory has the key of a host at a server.
func KeyPath(dir, server string, host dnsname.Name) string {
	return filepath.Join(dir, "keys", fileName(host.String()+"@"+authority(server))+".key")
}

// PendingKeyPath is where the key is that was made for a join code, until the
// server has said whose it is: the same code must come with the same key again.
func PendingKeyPath(dir, server, code string) string {
	sum := sha256.Sum256([]byte(server + " " + strings.ToLower(strings.ReplaceAll(code, "-", ""))))
	return filepath.Join(dir, "keys", "join-"+hex.EncodeToString(sum[:8])+".key")
}

func authority(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	a, _ := signature.Authority(u.Scheme, u.Host)
	return a
}

// fileName is a name that every file system takes.
func fileName(text string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("-._@", r) {
			return r
		}
		return '+'
	}, text)
}

// ReadToken reads a token file: the token alone, on one line. One that others
// can read is refused.
func ReadToken(path string) (string, error) {
	data, err := readSecretFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimRight(string(data), "\r\n")
	if token == "" || strings.Trim(token, "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") != "" {
		return "", fmt.Errorf("%s does not hold a token alone on one line; put the host's token there", path)
	}
	return token, nil
}

func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// Windows has other means, and its modes say nothing of them.
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s can be read by others (mode %04o); protect it: chmod 600 %s, and if others may have read it, replace what it holds", path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(data) > maxSecretFile {
		err = fmt.Errorf("%s is longer than %d octets; is it the right file?", path, maxSecretFile)
	}
	return data, err
}

// proof is what one key or token file shows a server. Targets that share the
// file share it, and their requests go one after the other: a key's signatures
// have an order.
type proof struct {
	mu     sync.Mutex // held while a request is under way; guards the rest
	path   string
	isKey  bool
	stamp  string // what the file looked like when it was read
	signer *signature.Signer
	token  string
}

// loadLocked reads the file if it is not the one that was read last. fresh tells that
// it was read.
func (p *proof) loadLocked() (fresh bool, err error) {
	stamp := stampOf(p.path)
	if stamp == p.stamp && stamp != "" {
		return false, nil
	}
	p.signer, p.token, p.stamp = nil, "", ""
	if p.isKey {
		key, err := ReadKey(p.path)
		if err == nil && key.Credential == "" {
			err = fmt.Errorf("%s has not been accepted by a server; join again: godwit agent join URL CODE", p.path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no key at %s; join first: godwit agent join URL CODE", p.path)
		}
		if err != nil {
			return false, err
		}
		if p.signer, err = key.Signer(); err != nil {
			return false, fmt.Errorf("%s: %w", p.path, err)
		}
	} else if p.token, err = ReadToken(p.path); err != nil {
		return false, err
	}
	p.stamp = stamp
	return true, nil
}

// changed tells whether the file is another than the one that was read.
func (p *proof) changed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return stampOf(p.path) != p.stamp
}

// stampOf is what tells a file from the one that was there before; "" if there
// is none.
func stampOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Mode())
}

// signLocked is for client.DoorConfig; nil without a key.
func (p *proof) signLocked() func(*http.Request, []byte) error {
	if p.signer == nil {
		return nil
	}
	return SignWith(p.signer)
}

// SignWith is a client.DoorConfig's Sign.
func SignWith(s *signature.Signer) func(*http.Request, []byte) error {
	return func(r *http.Request, body []byte) error { return s.Sign(r, body, time.Now()) }
}
