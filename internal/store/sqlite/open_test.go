package sqlite_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/store/sqlite"
)

// edit changes a closed store's database with another SQLite program.
func edit(t *testing.T, dir, script string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "godwit.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(script)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, file string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %04o, want %04o", filepath.Base(file), got, want)
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir)
	if err := s.Save(t.Context(), created(newHost(nas))); err != nil {
		t.Fatal(err)
	}
	mode(t, dir, 0o700)
	if err := change(s, nas, "192.0.2.7"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"godwit.db", "godwit.db-wal", "godwit.db-shm", "godwit.changes-0", "seal.key", "godwit.lock"} {
		mode(t, filepath.Join(dir, f), 0o600)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"godwit.db-wal", "godwit.changes-0"} {
		if _, err := os.Stat(filepath.Join(dir, f)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there after Close: %v", f, err)
		}
	}
	// Opened wide, they are closed again, and it is said.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "seal.key"), 0o644), os.Chmod(filepath.Join(dir, "godwit.db"), 0o666)); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	s, err := sqlite.Open(dir, sqlite.Config{Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mode(t, dir, 0o700)
	mode(t, filepath.Join(dir, "seal.key"), 0o600)
	mode(t, filepath.Join(dir, "godwit.db"), 0o600)
	if !strings.Contains(said.String(), "seal.key") {
		t.Errorf("nothing is said of a key that others could read:\n%s", said.String())
	}
}

func TestDirectoriesOfOthersAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(dir, sqlite.Config{}); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("Open of somebody's directory: %v", err)
	}
	mode(t, dir, 0o755)
	dir = t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, "create table other (x)")
	if _, err := sqlite.Open(dir, sqlite.Config{}); err == nil || !strings.Contains(err.Error(), "not one of godwit's") {
		t.Errorf("Open of somebody's database: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "godwit.db"), []byte(strings.Repeat("text ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(dir, sqlite.Config{}); err == nil {
		t.Error("Open of a text file succeeded")
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := sqlite.Open(dir, sqlite.Config{})
	held, ok := errors.AsType[*sqlite.LockedError](err)
	if !ok || held.PID != os.Getpid() || held.Dir != dir {
		t.Fatalf("a second Open: %v", err)
	}
	if err := sqlite.Restore(t.Context(), dir, "none", sqlite.Config{}); err == nil {
		t.Error("Restore into an open store succeeded")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestNewerFormatIsRefusedUntouched(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, "pragma user_version = 99")
	sum := func() string {
		data, err := os.ReadFile(filepath.Join(dir, "godwit.db"))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(data))
	}
	before := sum()
	_, err := sqlite.Open(dir, sqlite.Config{})
	if err == nil || !strings.Contains(err.Error(), "format 99") || !strings.Contains(err.Error(), "newer godwit") {
		t.Errorf("Open of a newer format: %v", err)
	}
	if sum() != before {
		t.Error("the database was touched")
	}
}

func TestClose(t *testing.T) {
	s := open(t, t.TempDir())
	ctx := t.Context()
	for i := range 4 {
		if err := s.Save(ctx, created(newHost(benchName(i)))); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for {
				h, _, err := s.Host(ctx, benchName(i))
				if err == nil {
					err = s.Save(ctx, moved(h, "192.0.2.7"))
				}
				if errors.Is(err, sqlite.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait() // nobody is left waiting
	if err := s.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if _, _, err := s.Hosts(ctx, "", 10); !errors.Is(err, sqlite.ErrClosed) {
		t.Errorf("Hosts of a closed store: %v", err)
	}
}

func TestSeal(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	secret := ddns.NewSecret("open sesame, please")
	sealed, err := s.Seal(nas, "k7m2qx4p", secret)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Seal(nas, "k7m2qx4p", secret); err != nil || bytes.Equal(sealed, again) {
		t.Errorf("sealed twice alike, %v", err)
	}
	print := s.Fingerprint(secret)
	if bytes.Contains(sealed, []byte("sesame")) || bytes.Equal(print, s.Fingerprint(ddns.NewSecret("other"))) {
		t.Error("the secret shows")
	}
	if got, err := s.Open(nas, "k7m2qx4p", sealed); err != nil || got.Reveal() != secret.Reveal() {
		t.Fatalf("Open: %v", err)
	}
	for what, open := range map[string]func() (ddns.Secret, error){
		"another host's": func() (ddns.Secret, error) { return s.Open(benchName(1), "k7m2qx4p", sealed) },
		"another ID's":   func() (ddns.Secret, error) { return s.Open(nas, "aaaaaaaa", sealed) },
		"a cut one":      func() (ddns.Secret, error) { return s.Open(nas, "k7m2qx4p", sealed[:len(sealed)-1]) },
		"none":           func() (ddns.Secret, error) { return s.Open(nas, "k7m2qx4p", nil) },
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s secret opens", what)
		}
	}
	c, _ := ddns.NewToken(nas, day)
	c.Sealed, c.Fingerprint = sealed, print
	if err := s.Save(t.Context(), created(newHost(nas), c)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "seal.key")
	old, err := os.ReadFile(key)
	if err != nil || len(old) != 32 {
		t.Fatalf("key of %d octets, %v", len(old), err)
	}

	// Whoever only looks makes no key in the place of the missing one.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	looked, err := sqlite.Open(dir, sqlite.Config{KeepKey: true})
	if err != nil {
		t.Fatal(err)
	}
	if findings, err := looked.Check(t.Context()); err != nil || len(findings) != 1 || !strings.Contains(findings[0].String(), "seal.key") {
		t.Errorf("Check without the key: %v, %v", findings, err)
	}
	if _, err := looked.Seal(nas, "cccccccc", secret); err == nil || looked.Fingerprint(secret) != nil {
		t.Errorf("a secret is sealed without a key: %v", err)
	}
	if err := looked.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(key); !os.IsNotExist(err) {
		t.Errorf("looking made a key: %v", err)
	}

	// Without its key the store opens, says what is missing, and seals under a new one.
	var said bytes.Buffer
	s, err = sqlite.Open(dir, sqlite.Config{Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "sealing key of this database is missing") {
		t.Errorf("nothing is said of the missing key:\n%s", said.String())
	}
	if _, err := s.Open(nas, c.ID, sealed); err == nil || !strings.Contains(err.Error(), "restore that key's file") || !strings.Contains(err.Error(), "rotate") {
		t.Errorf("a secret of the missing key: %v", err)
	}
	if h, _, err := s.Host(t.Context(), nas); err != nil || h.Name != nas {
		t.Errorf("the host: %v", err)
	}
	found, err := s.Check(t.Context())
	if err != nil || len(found) != 1 || !strings.Contains(found[0].What, "sealed under key") {
		t.Errorf("Check: %v, %v", found, err)
	}
	fresh, err := s.Seal(nas, "bbbbbbbb", secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// With the old key beside it both open.
	if err := os.WriteFile(filepath.Join(dir, "seal-old.key"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	for id, sealed := range map[string][]byte{"bbbbbbbb": fresh, "k7m2qx4p": sealed} {
		if got, err := s.Open(nas, id, sealed); err != nil || got.Reveal() != secret.Reveal() {
			t.Errorf("secret of %s: %v", id, err)
		}
	}
	sound(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A key that is none is refused: nothing is made in its place.
	if err := os.WriteFile(key, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(dir, sqlite.Config{}); err == nil || !strings.Contains(err.Error(), "not a sealing key") {
		t.Errorf("Open with a wrong key: %v", err)
	}
}
