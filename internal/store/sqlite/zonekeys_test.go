package sqlite_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"godwit/internal/dnsname"
	"godwit/internal/store/sqlite"
)

func TestZoneKeys(t *testing.T) {
	dir, apex, other := t.TempDir(), dnsname.MustParse("dyn.example.org"), dnsname.MustParse("example.net")
	s := open(t, dir)
	for _, text := range []string{`{"keys":["secret-one"]}`, `{"keys":["secret-two"]}`} {
		if err := s.SetZoneKeys(t.Context(), apex, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ZoneKeys(t.Context(), apex); err != nil || string(got) != text {
			t.Errorf("%s, %v", got, err)
		}
	}
	if got, err := s.ZoneKeys(t.Context(), other); err != nil || got != nil {
		t.Errorf("of a zone without keys: %s, %v", got, err)
	}
	copied := filepath.Join(t.TempDir(), "backup.db")
	if err := s.Backup(t.Context(), copied, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{copied, filepath.Join(dir, "godwit.db")} {
		if octets, err := os.ReadFile(file); err != nil || bytes.Contains(octets, []byte("secret-")) {
			t.Errorf("%s holds keys in the clear (%v)", file, err)
		}
	}
	// They are one zone's.
	edit(t, dir, "insert into zone_keys select 'example.net', sealed from zone_keys")
	s = open(t, dir)
	if got, err := s.ZoneKeys(t.Context(), apex); err != nil || string(got) != `{"keys":["secret-two"]}` {
		t.Errorf("after a start %s, %v", got, err)
	}
	if got, err := s.ZoneKeys(t.Context(), other); err == nil {
		t.Errorf("another zone's keys: %s", got)
	}
	if found, err := s.Check(t.Context()); err != nil || len(found) != 1 || !strings.Contains(found[0].What, "example.net") {
		t.Errorf("check: %v, %v", found, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A backup brings them along, and not what opens them.
	restored := t.TempDir()
	if err := sqlite.Restore(t.Context(), restored, copied, sqlite.Config{}); err != nil {
		t.Fatal(err)
	}
	s = open(t, restored)
	if got, err := s.ZoneKeys(t.Context(), apex); err == nil || !strings.Contains(err.Error(), "seal-old.key") {
		t.Errorf("without the sealing key: %s, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "seal.key"))
	if err := errors.Join(err, os.WriteFile(filepath.Join(restored, "seal-old.key"), key, 0o600)); err != nil {
		t.Fatal(err)
	}
	s = open(t, restored)
	defer s.Close()
	if got, err := s.ZoneKeys(t.Context(), apex); err != nil || string(got) != `{"keys":["secret-two"]}` {
		t.Errorf("with the sealing key: %s, %v", got, err)
	}
}

// TestOldFormatTakesZoneKeys opens a store of the format before.
func TestOldFormatTakesZoneKeys(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, "drop table zone_keys; pragma user_version = 2")
	s := open(t, dir)
	defer s.Close()
	if err := s.SetZoneKeys(t.Context(), dnsname.MustParse("dyn.example.org"), []byte("{}")); err != nil {
		t.Error(err)
	}
}
