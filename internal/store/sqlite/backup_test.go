package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/store/sqlite"
)

func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const hosts = 300
	fill(t, s, hosts)
	serial, err := s.Zone(t.Context(), zone, []byte("static"))
	if err != nil {
		t.Fatal(err)
	}
	// Two hosts that are always changed together show whether the copy is of one instant.
	change := func(n int) error {
		a, _, err1 := s.Host(context.Background(), benchName(1))
		b, _, err2 := s.Host(context.Background(), benchName(2))
		to := fmt.Sprintf("10.0.%d.%d", n>>8&255, n&255)
		return errors.Join(err1, err2, s.Save(context.Background(), moved(a, to), moved(b, to)))
	}
	if err := change(1); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 2; ctx.Err() == nil; n++ {
			if err := change(n); err != nil {
				t.Error(err)
				return
			}
		}
	})
	file := filepath.Join(t.TempDir(), "backup.db")
	calls, done, total := 0, 0, 0
	err = s.Backup(t.Context(), file, func(d, of int) { calls++; done, total = d, of })
	stop()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if calls == 0 || done != total || total == 0 {
		t.Errorf("progress ended at %d of %d after %d calls", done, total, calls)
	}
	mode(t, file, 0o600)
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	var pending, addresses int
	err = errors.Join(db.QueryRow("select count(*) from pending").Scan(&pending),
		db.QueryRow("select count(distinct addresses) from host_view where addresses like '10.%'").Scan(&addresses), db.Close())
	if err != nil || pending != 0 || addresses != 1 {
		t.Errorf("the backup has %d rows pending, and shows %d addresses of hosts that have one, %v", pending, addresses, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("the backup left %v, %v", left, err)
	}
	if err := s.Backup(t.Context(), file, nil); err == nil {
		t.Error("a backup was written over")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(cancelled, file+"2", nil); err == nil {
		t.Error("a cancelled backup succeeded")
	}
	key, err := os.ReadFile(filepath.Join(dir, "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), string(key)) {
		t.Errorf("the backup holds the sealing key, %v", err)
	}

	if err := sqlite.Restore(t.Context(), dir, file, sqlite.Config{}); err == nil {
		t.Error("Restore over an open store succeeded")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Restore(t.Context(), dir, file, sqlite.Config{}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("Restore over a store: %v", err)
	}
	to := filepath.Join(t.TempDir(), "restored")
	later := time.Now().Add(time.Hour)
	if err := sqlite.Restore(t.Context(), to, file, sqlite.Config{Now: func() time.Time { return later }}); err != nil {
		t.Fatal(err)
	}
	mode(t, to, 0o700)
	mode(t, filepath.Join(to, "godwit.db"), 0o600)
	r := open(t, to)
	sound(t, r)
	a, credentials, err1 := r.Host(t.Context(), benchName(1))
	b, _, err2 := r.Host(t.Context(), benchName(2))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if a.A[0] != b.A[0] || a.Generation != b.Generation || len(credentials) != 1 {
		t.Errorf("the restored hosts are of two instants: %v at %d, %v at %d", a.A, a.Generation, b.A, b.Generation)
	}
	if a.Generation < 1<<20 || a.Published >= a.Generation {
		t.Errorf("restored at generation %d, published %d", a.Generation, a.Published)
	}
	next, err := r.Zone(t.Context(), zone, []byte("static"))
	if err != nil || !serial.Before(next) || next != ddns.Serial(later.Unix()) {
		t.Errorf("restored zone has serial %d after %d, %v", next, serial, err)
	}
	if err := r.Save(t.Context(), moved(a, "192.0.2.5")); err != nil {
		t.Error(err)
	}
	if list, err := r.Events(t.Context(), benchName(1)); err != nil || len(list) < 2 || list[0].Generation != a.Generation+1 {
		t.Errorf("events of a restored host: %v, %v", list, err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 50)
	good := filepath.Join(t.TempDir(), "good")
	if err := s.Backup(t.Context(), good, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	change := func(do func([]byte) []byte) []byte { return do(append([]byte(nil), data...)) }
	for what, content := range map[string][]byte{
		"an empty file":  {},
		"a text":         []byte(strings.Repeat("text ", 1000)),
		"a cut backup":   data[:len(data)/2],
		"a newer format": change(func(b []byte) []byte { b[63] = 99; return b }),
		"another's":      change(func(b []byte) []byte { b[68] = 'x'; return b }),
		"a flipped address": change(func(b []byte) []byte {
			at := strings.LastIndex(string(b), "192.0.2.1")
			b[at] = '9'
			return b
		}),
	} {
		file, to := filepath.Join(t.TempDir(), "bad"), filepath.Join(t.TempDir(), "to")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := sqlite.Restore(t.Context(), to, file, sqlite.Config{}); err == nil {
			t.Errorf("Restore of %s succeeded", what)
		}
		left, _ := filepath.Glob(filepath.Join(to, "godwit.[dt]*"))
		if len(left) > 0 {
			t.Errorf("Restore of %s left %v", what, left)
		}
	}
}

func TestStats(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 7)
	got, err := s.Stats(t.Context())
	if err != nil || got.Hosts != 7 || got.Credentials != 7 || got.Bytes < 4096 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestStatsAfterEverything holds the counts against the tables after hosts and
// credentials came, went, were shared and revoked twice, and after a restart.
func TestStatsAfterEverything(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s, 5)
	a, b := benchName(1), benchName(2)
	key, _ := ddns.NewToken(a, day)
	key.Grants = append(key.Grants, ddns.Grant{Host: b})
	edit := func(host *ddns.Host, do func(*ddns.Write)) ddns.Write {
		w := moved(host, "192.0.2.9")
		do(&w)
		return w
	}
	both := func(do func(*ddns.Write)) {
		t.Helper()
		ha, _, err1 := s.Host(t.Context(), a)
		hb, _, err2 := s.Host(t.Context(), b)
		if err := errors.Join(err1, err2, s.Save(t.Context(), edit(ha, do), edit(hb, do))); err != nil {
			t.Fatal(err)
		}
	}
	want := func(hosts, credentials int) {
		t.Helper()
		if got, err := s.Stats(t.Context()); err != nil || got.Hosts != hosts || got.Credentials != credentials {
			t.Errorf("%+v, %v; want %d hosts, %d credentials", got, err, hosts, credentials)
		}
		sound(t, s)
	}
	both(func(w *ddns.Write) {
		w.Host.Credentials = append(w.Host.Credentials, key.ID)
		w.Credentials = []*ddns.Credential{key}
	})
	want(5, 6)
	both(func(w *ddns.Write) {
		w.Host.Credentials = w.Host.Credentials[:1]
		w.Revoked = []string{key.ID}
	})
	want(5, 5)
	both(func(w *ddns.Write) {
		w.Revoked, w.Host.Credentials, w.Host.Removed = w.Host.Credentials, nil, true
	})
	want(3, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	want(3, 3)
}
