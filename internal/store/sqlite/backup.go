package sqlite

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
)

// backupPages is how many pages a backup copies between two looks at its context.
const backupPages = 256

// Backup copies the store, as it is at one instant, into a new file of mode
// 0600. The file is complete and durable or not there; an existing one is not
// replaced. Reads and writes go on meanwhile, and the log grows until it is
// done. progress, if not nil, is told how many pages of how many are done.
//
// The sealing key is left out: without it the secrets in the backup are sealed.
// Keep a copy of seal.key in another place.
func (s *Store) Backup(ctx context.Context, file string, progress func(done, total int)) error {
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s exists already: give another name", file)
	}
	err := s.read(ctx, func(c *conn) error {
		files, err := s.freeze(ctx, c)
		defer func() { _ = c.run("rollback") }()
		if err != nil {
			return err
		}
		return writeFile(file, func(f *os.File) error {
			if err := c.copyTo(ctx, f.Name(), progress); err != nil {
				return err
			}
			return settleCopy(f.Name(), files)
		})
	})
	if err != nil {
		return fmt.Errorf("back up to %s: %w", file, err)
	}
	return nil
}

// freeze begins a transaction in which c sees the database as it is at one
// instant, and returns what the files of the log have besides at that instant.
// Writes wait meanwhile, for the time that it takes to read some 64 MiB at most.
func (s *Store) freeze(ctx context.Context, c *conn) (files []logged, err error) {
	err = s.submit(ctx, nil, func(w *writer) error {
		err := c.run("begin")
		if err == nil {
			files, _, err = s.unswept(c) // its first question is what begins the snapshot
		}
		if err == nil && w.conn != nil {
			err = w.backlog.whole(c, files)
		}
		return err
	})
	return files, err
}

// whole looks for each record of the log that is not in the rows: somebody may have
// taken the files away, or others be in their place.
func (l *backlog) whole(c *conn, files []logged) error {
	there := map[int64]bool{}
	for _, f := range files {
		there[f.id] = true
	}
	if err := c.query("select id from pending", func(row []driver.Value) error {
		id, _ := row[0].(int64)
		there[id] = true
		return nil
	}); err != nil {
		return err
	}
	for id := l.first; id <= l.last; id++ {
		if !there[id] {
			return damagedChanges(id, errMissing)
		}
	}
	return nil
}

// backuper is the driver's connection, as far as backups need it.
type backuper interface {
	NewBackup(uri string) (*sqlite.Backup, error)
}

// copyTo copies the database page by page inside the read transaction that has
// begun, so that a commit meanwhile does not make it start again.
func (c *conn) copyTo(ctx context.Context, file string, progress func(done, total int)) error {
	d, ok := c.driver.(backuper)
	if !ok {
		return errors.New("this build's SQLite driver has no backup")
	}
	total, _, err := c.queryInt("pragma page_count")
	if err != nil {
		return err
	}
	b, err := d.NewBackup("file:" + (&url.URL{Path: file}).EscapedPath())
	if err != nil {
		return err
	}
	done := 0
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, b.Finish())
		}
		if more, err = b.Step(backupPages); err != nil {
			return errors.Join(err, b.Finish())
		}
		done = min(done+backupPages, int(total))
		if progress != nil {
			progress(done, int(total))
		}
	}
	return b.Finish()
}

// settleCopy brings what is pending, and what the files of the log had, into the
// rows of a copy, so that any SQLite tool finds in it what was acknowledged. The
// store itself would make its writers wait for that.
func settleCopy(file string, files []logged) (err error) {
	c, err := openCopy(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	_, err = replay(c, files)
	return err
}

// openCopy opens a copy as one file with no log beside it.
func openCopy(file string) (*conn, error) {
	c, err := openConn(file, 16<<10, false)
	if err != nil {
		return nil, err
	}
	if _, _, err := c.queryText("pragma journal_mode = delete"); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// header is what the first 100 octets of a database say, as far as we ask.
type header struct {
	pageSize    int
	application uint32
	format      uint32
}

const headerSize = 100

// errNotSQLite: the file does not begin as SQLite's do.
var errNotSQLite = errors.New("is not an SQLite database")

// parseHeader reads the header of a database file (SQLite file format, section 1.3).
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize || !bytes.HasPrefix(b, []byte("SQLite format 3\x00")) {
		return header{}, errNotSQLite
	}
	h := header{pageSize: int(binary.BigEndian.Uint16(b[16:])), application: binary.BigEndian.Uint32(b[68:]), format: binary.BigEndian.Uint32(b[60:])}
	if h.pageSize == 1 {
		h.pageSize = 65536
	}
	if h.pageSize < 512 || h.pageSize&(h.pageSize-1) != 0 {
		return header{}, errNotSQLite
	}
	return h, nil
}

// Restore makes a data directory's store from a backup. The directory must have
// no store, and the backup is checked whole first; if anything is wrong nothing
// is left behind. The sealing key is not in a backup: put its file beside, before or after.
//
// What was in DNS when the backup's successor went is ahead of the backup, so
// two counters are moved on. Each zone's SOA serial goes to the Unix time, which
// is ahead of every serial that the old store gave at one a second or slower,
// and secondaries follow. Each host's generation goes up by 2^20, more changes than a host can
// have made since, so that a publisher or an agent which remembers a later state
// of the old store never takes the restored one for older; Published stays
// behind, and a publisher that is not by construction shows the restored state.
//
// Replay marks go back too, so each host counts as changed by an operator now: no
// signature that the old store may have accepted is newer (docs/decisions/0012).
func Restore(ctx context.Context, dir, file string, cfg Config) (err error) {
	cfg = cfg.withDefaults()
	fail := func(err error) error { return fmt.Errorf("restore %s: %w", file, err) }
	if err := checkBackupHeader(file); err != nil {
		return fail(err)
	}
	if err := prepareDir(dir, cfg.Log); err != nil {
		return fail(err)
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	target := filepath.Join(dir, databaseFile)
	for _, f := range []string{target, target + "-wal", target + "-journal", changesName(dir, 0), changesName(dir, 1)} {
		if _, err := os.Lstat(f); err == nil {
			return fail(fmt.Errorf("%s exists already: move it away first, or give another --data", f))
		}
	}
	err = writeFile(target, func(f *os.File) error {
		in, err := os.Open(file)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, in)
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
		return prepareRestored(ctx, f.Name(), cfg.Now())
	})
	if err != nil {
		return fail(explain(err))
	}
	return nil
}

// checkBackupHeader refuses early what cannot be a backup.
func checkBackupHeader(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	b := make([]byte, headerSize)
	_, err = io.ReadFull(f, b)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(errNotSQLite, err)
	}
	h, err := parseHeader(b)
	switch {
	case err != nil:
		return err
	case h.application != applicationID:
		return errors.New("is not a backup of godwit's")
	case h.format > schemaVersion:
		return fmt.Errorf("has format %d, and this godwit knows formats up to %d: restore it with a newer godwit", h.format, schemaVersion)
	}
	return nil
}

// generationLeap is how far a restore moves generations.
const generationLeap = 1 << 20

// prepareRestored checks a copy of a backup and moves its counters on.
func prepareRestored(ctx context.Context, file string, now time.Time) (err error) {
	c, err := openCopy(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if _, err := checkVersion(c, file); err != nil {
		return err
	}
	if err := migrate(c, steps); err != nil {
		return err
	}
	found := &findings{}
	if err := found.check(ctx, c, nil); err != nil {
		if _, full := errors.AsType[*tooMany](err); !full {
			return err
		}
	}
	if len(found.list) > 0 {
		return fmt.Errorf("the backup is damaged (%d findings; the first: %s): take another one", len(found.list), found.list[0].What)
	}
	if _, err := replay(c, nil); err != nil {
		return err
	}
	return inTransaction(c, func() error {
		if err := newLogKey(c); err != nil {
			return err
		}
		if err := leap(c, now); err != nil {
			return err
		}
		zones, err := readZones(c)
		if err != nil {
			return err
		}
		for name, z := range zones {
			if err := c.run("update zones set serial = ? where name = ?", int64(z.serial.Next(now)), name.String()); err != nil {
				return err
			}
		}
		return nil
	})
}

// leap moves all generations on, those of retired names too, and makes the
// restore each host's last change. Events keep theirs: they tell what was.
func leap(c *conn, now time.Time) error {
	if err := c.run("update retired set generation = generation + ?", int64(generationLeap)); err != nil {
		return err
	}
	for after := int64(0); ; {
		var page []*entry
		err := c.query("select "+entryColumns+" from hosts where id > ? order by id limit 1000", func(row []driver.Value) error {
			e, err := decodeRow(row)
			page = append(page, e)
			return err
		}, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			before := e.host
			e.host = before.Clone()
			e.host.Generation += generationLeap
			e.host.ChangedAt, e.host.ChangedBy = stored(now), "admin"
			if err := updateHost(c, before, e); err != nil {
				return err
			}
			after = e.id
		}
	}
}
