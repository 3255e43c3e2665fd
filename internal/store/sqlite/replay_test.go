package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/store/sqlite"
)

// TestDamagedLog: what was acknowledged and cannot be read any more is not
// passed over, be it at a start, in a check or in a backup.
func TestDamagedLog(t *testing.T) {
	dir := t.TempDir()
	s := unswept(t, dir)
	fill(t, s, 3)
	save := func(more ...ddns.Write) {
		t.Helper()
		h, _, err := s.Host(t.Context(), benchName(1))
		if err == nil {
			err = s.Save(t.Context(), append(more, moved(h, "192.0.2.77"))...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	save() // records 1 and 2 are in the file,
	save()
	save(created(newHost(benchName(7)))) // the third, of which the tables have to know, in the table,
	save()                               // and one in the file again
	flip := func(dir string) {
		t.Helper()
		data, err := os.ReadFile(changesFile(dir, 0))
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(data, []byte("192.0.2.77"))
		if at < 0 {
			t.Fatal("the address is not in the log")
		}
		f, err := os.OpenFile(changesFile(dir, 0), os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("192.0.2.78"), int64(at))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, script := range map[string]string{
		"another address":  "update pending set batch = replace(batch, '192.0.2.77', '192.0.2.78') where id = 3",
		"another number":   "update pending set id = 17 where id = 3",
		"another checksum": "update pending set sum = sum + 1 where id = 3",
		"no JSON":          "update pending set batch = substr(batch, 1, 20)",
		"no row":           "delete from pending",
		"a flipped file":   "",
		"no file":          "",
	} {
		at := snapshot(t, dir, -1)
		var err error
		switch what {
		case "a flipped file":
			flip(at)
		case "no file":
			err = os.Remove(changesFile(at, 0))
		default:
			edit(t, at, script)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = sqlite.Open(at, sqlite.Config{})
		if bad, ok := errors.AsType[*sqlite.DamagedError](err); !ok || !strings.Contains(bad.Row, "changes number") {
			t.Errorf("%s: Open: %v", what, err)
		}
		to := filepath.Join(t.TempDir(), "to")
		if err := sqlite.Restore(t.Context(), to, filepath.Join(at, "godwit.db"), sqlite.Config{}); what != "no row" && (err == nil || !strings.Contains(err.Error(), "changes number")) {
			t.Errorf("%s: Restore: %v", what, err)
		}
	}
	for number, damage := range map[int]func(){
		1: func() { flip(dir) },
		3: func() { edit(t, dir, "update pending set sum = sum + 1") },
	} {
		damage()
		found, err := s.Check(t.Context())
		if err != nil || !slices.ContainsFunc(found, func(f sqlite.Finding) bool {
			return strings.Contains(f.What, fmt.Sprintf("changes number %d:", number))
		}) {
			t.Errorf("Check: %v, %v", found, err)
		}
	}
	if err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "backup"), nil); err == nil || !strings.Contains(err.Error(), "changes number") {
		t.Errorf("Backup: %v", err)
	}
	// The hosts are in memory, and their rows are made of that.
	for range 2 {
		if err := s.Advance(10); err != nil {
			t.Fatal(err)
		}
	}
	sound(t, s)
}

// TestBackupOfPendingChanges: a backup has what is pending, and a restored store
// has it in its rows.
func TestBackupOfPendingChanges(t *testing.T) {
	s := unswept(t, t.TempDir())
	fill(t, s, 5)
	for i := range 3 {
		h, _, err := s.Host(t.Context(), benchName(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Save(t.Context(), moved(h, "192.0.2.77")); err != nil {
			t.Fatal(err)
		}
	}
	want := know(t, s)
	if hosts, _, _ := s.Pending(); hosts != 3 {
		t.Fatalf("%d hosts are pending", hosts)
	}
	backup, to := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "to")
	if err := s.Backup(t.Context(), backup, nil); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Restore(t.Context(), to, backup, sqlite.Config{}); err != nil {
		t.Fatal(err)
	}
	r := open(t, to)
	sound(t, r)
	got := know(t, r)
	for name, h := range want.Hosts {
		restored := got.Hosts[name]
		if restored.Generation != h.Generation+1<<20 || difference(restored.A, h.A) != "" || difference(got.Events[name], want.Events[name]) != "" {
			t.Errorf("%+v became %+v\n%v\n%v", h, restored, want.Events[name], got.Events[name])
		}
	}
	if !want.Serial.Before(got.Serial) {
		t.Errorf("serial %d after %d", got.Serial, want.Serial)
	}
}

// TestStumbleWithPendingChanges: after a failure nothing of what is pending is
// lost, and a store whose disk lacks some of it says so and refuses changes.
func TestStumbleWithPendingChanges(t *testing.T) {
	dir := t.TempDir()
	var said bytes.Buffer
	s, err := sqlite.Open(dir, sqlite.Config{Log: slog.New(slog.NewTextHandler(&said, nil))}.Unswept())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s, 5)
	change := func(i int) error {
		h, _, err := s.Host(t.Context(), benchName(i))
		if err != nil {
			t.Fatal(err)
		}
		return s.Save(t.Context(), moved(h, "192.0.2.77"))
	}
	for i := range 4 {
		if err := change(i); err != nil {
			t.Fatal(err)
		}
	}
	want := know(t, s)
	if err := s.Stumble(); err != nil {
		t.Fatal(err)
	}
	if diff := difference(know(t, s), want); diff != "" {
		t.Errorf("after a failure (-want +got):\n%s", diff)
	}
	if hosts, bytes, log := s.Pending(); hosts != 0 || bytes != 0 || log != 0 {
		t.Errorf("%d hosts, %d bytes, %d bytes of log are pending", hosts, bytes, log)
	}
	// A sign of life moves no serial, and is not lost unnoticed either.
	h, _, err := s.Host(t.Context(), benchName(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Touch(t.Context(), h.Name, h.Generation, ddns.Touch{Seen: day.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(changesFile(dir, 0), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Stumble(); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("the disk has lost a change: %v", err)
	}
	if err := change(2); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("a change is stored on a disk that loses them: %v", err)
	}
	if h, _, err := s.Host(t.Context(), benchName(1)); err != nil || !h.Seen.Equal(day.Add(time.Hour)) {
		t.Errorf("what was acknowledged is not read any more: %v, %v", h, err)
	}
}

// TestFlippedBitsOfTheLog flips bits of the log, which has later records: none
// goes unnoticed.
func TestFlippedBitsOfTheLog(t *testing.T) {
	dir := t.TempDir()
	s := unswept(t, dir)
	fill(t, s, 4)
	for i := range 4 {
		if err := change(s, benchName(i), "192.0.2.77"); err != nil {
			t.Fatal(err)
		}
	}
	whole := snapshot(t, dir, -1)
	data, err := os.ReadFile(changesFile(whole, 0))
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.Index(data, []byte("]}"))
	if end < 0 {
		t.Fatal("the file has no record")
	}
	for bit := 0; bit < 8*end; bit += 101 {
		at := snapshot(t, whole, -1)
		data[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(changesFile(at, 0), data, 0o600); err != nil {
			t.Fatal(err)
		}
		data[bit/8] ^= 1 << (bit % 8)
		if _, err := sqlite.Open(at, sqlite.Config{}); err == nil {
			t.Fatalf("bit %d was flipped, and the log is read", bit)
		}
	}
}

// TestUpgradeAfterCrash: a store of format 1, which had its whole log in the table
// pending, comes up after a kill with all that was in it, and after another one too.
func TestUpgradeAfterCrash(t *testing.T) {
	dir := t.TempDir()
	s := unswept(t, dir)
	fill(t, s, 3)
	for i := range 3 { // a new host has its batch's record in the table
		h, _, err := s.Host(t.Context(), benchName(i))
		if err == nil {
			err = s.Save(t.Context(), moved(h, "192.0.2.77"), created(newHost(benchName(10+i))))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := know(t, s)
	if hosts, _, _ := s.Pending(); hosts != 3 {
		t.Fatalf("%d hosts are pending", hosts)
	}
	at := snapshot(t, dir, -1)
	edit(t, at, "delete from notes where key = 'log'; pragma user_version = 1")
	for range 2 {
		c := unswept(t, at)
		if diff := difference(know(t, c).Hosts, want.Hosts); diff != "" {
			t.Errorf("after the upgrade (-want +got):\n%s", diff)
		}
		sound(t, c)
		if err := change(c, benchName(1), "192.0.2.78"); err != nil { // into a file
			t.Fatal(err)
		}
		h, _, err := c.Host(t.Context(), benchName(1))
		if err != nil {
			t.Fatal(err)
		}
		want.Hosts[h.Name.String()] = h
		at = snapshot(t, at, -1)
	}
}

// TestLogTakenAway: while a store runs, somebody removes or empties the files of
// its log. A check and a backup say so; hosts are in memory, and a stop loses none.
func TestLogTakenAway(t *testing.T) {
	for what, take := range map[string]func(string) error{"removed": os.Remove, "emptied": func(file string) error { return os.Truncate(file, 0) }} {
		dir := t.TempDir()
		s := unswept(t, dir)
		fill(t, s, 2)
		if err := change(s, benchName(1), "192.0.2.77"); err != nil {
			t.Fatal(err)
		}
		if err := take(changesFile(dir, 0)); err != nil {
			t.Fatal(err)
		}
		if found, err := s.Check(t.Context()); err != nil || len(found) != 1 || !strings.Contains(found[0].What, "changes number 1: they are missing") {
			t.Errorf("%s: Check: %v, %v", what, found, err)
		}
		if err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "backup"), nil); err == nil || !strings.Contains(err.Error(), "changes number 1 is damaged (they are missing)") {
			t.Errorf("%s: Backup: %v", what, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
		if h, _, err := s.Host(t.Context(), benchName(1)); err != nil || h.Generation != 2 {
			t.Errorf("%s: after a stop: %+v, %v", what, h, err)
		}
	}
}

// TestLogWithoutDatabase: a start takes the log of a database that is not there
// for nobody's, and leaves it as it is.
func TestLogWithoutDatabase(t *testing.T) {
	dir := t.TempDir()
	s := unswept(t, dir)
	fill(t, s, 2)
	if err := change(s, benchName(1), "192.0.2.77"); err != nil {
		t.Fatal(err)
	}
	at, aside := snapshot(t, dir, -1), t.TempDir()
	for _, name := range []string{"godwit.db", "godwit.db-wal"} {
		if err := os.Rename(filepath.Join(at, name), filepath.Join(aside, name)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := sqlite.Open(at, sqlite.Config{}); err == nil || !strings.Contains(err.Error(), "put it back") {
			t.Errorf("Open without the database: %v", err)
		}
	}
	for _, name := range []string{"godwit.db", "godwit.db-wal"} {
		if err := os.Rename(filepath.Join(aside, name), filepath.Join(at, name)); err != nil {
			t.Fatal(err)
		}
	}
	if h, _, err := open(t, at).Host(t.Context(), benchName(1)); err != nil || h.Generation != 2 {
		t.Errorf("with the database again: %+v, %v", h, err)
	}
}
