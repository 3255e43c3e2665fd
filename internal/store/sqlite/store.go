// Package sqlite keeps hosts in one SQLite file that any SQLite tool can read.
//
// One goroutine at a time writes: the first of those who wait for their writes,
// for all. It takes whatever is queued, decides each write against the present state, commits all that hold in one transaction with one sync,
// tells the follower ([Store.Follow]), and only then answers: an acknowledged
// write is on disk and in DNS. There is no timer, so a lone writer waits for
// one sync only. What a batch changes of hosts goes as one record into a log
// beside the database, and from there into the hosts' rows when there is time (see
// pending.go, docs/decisions/0007 and 0015). Readers use the write-ahead log's snapshots and a cache of
// decoded hosts, and never wait for the writer.
//
// What must hold:
//
//   - A write that was acknowledged survives the process, the kernel and the
//     power. A write that was refused, or whose caller saw another error, may
//     have happened only in the latter case.
//   - After any failed write or sync nothing is acknowledged until the database
//     has been opened again, everything in the log has been brought into the
//     file and synced, and what the file holds has been compared with what was
//     acknowledged (see recover.go).
//   - Each host's row has checksums. A damaged row is reported by name and is
//     neither served nor published.
//   - Only one process has a data directory open; a lock file sees to it.
//
// The directory has mode 0700 and holds godwit.db (while it is open, with -wal and
// -shm, godwit.changes-0 and -1 beside it), seal.key and godwit.lock, all 0600.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"godwit/internal/ddns"
)

// Names of the files in a data directory.
const (
	databaseFile = "godwit.db"
	lockFile     = "godwit.lock"
)

// Config tunes a store. The zero value is good for everyone.
type Config struct {
	Log *slog.Logger     // nil: nothing is logged
	Now func() time.Time // for SOA serials; nil: time.Now
	// Cache bounds the decoded hosts that are kept, in bytes. 0: 192 MiB, which
	// is some 120,000 hosts; negative: none. Hosts whose changes are not in their
	// rows yet are held besides, 64 MiB of them.
	Cache int
	// PageCache bounds the writer's cache of database pages, in bytes. 0: 64 MiB.
	// Readers have 512 KiB each: a commit makes them forget their pages anyway.
	PageCache int
	// KeepKey is for looking at a store that may yet get its own sealing key
	// back: where that is missing, no new one is made, and nothing can be sealed.
	KeepKey bool
	// pendingRoom bounds the hosts whose changes are not in their rows yet, in
	// bytes, and their log by half of that. 0: 64 MiB.
	pendingRoom int
	// quiet is after what time without writes changes are brought into their rows.
	// 0: a quarter of a second.
	quiet time.Duration
}

func (cfg Config) withDefaults() Config {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Cache == 0 {
		cfg.Cache = defaultCache
	}
	if cfg.PageCache == 0 {
		cfg.PageCache = defaultPageCache
	}
	if cfg.pendingRoom == 0 {
		cfg.pendingRoom = defaultPendingRoom
	}
	if cfg.quiet == 0 {
		cfg.quiet = defaultQuiet
	}
	return cfg
}

const (
	defaultCache     = 192 << 20
	defaultPageCache = 64 << 20
	// Some 40,000 hosts, and 100,000 changes.
	defaultPendingRoom = 64 << 20
	defaultQuiet       = 250 * time.Millisecond
	// maxReaders bounds the connections that read at the same time.
	maxReaders  = 4
	readerPages = 512 // KiB
	// checkpointPages is how long the log grows before its pages are brought
	// into the file, in pages: 40 MiB. SQLite's own 1000 costs a sixth of the
	// throughput and doubles the 99th percentile.
	checkpointPages = 10000
)

// ErrClosed: the store has been closed.
var ErrClosed = errors.New("the store is closed")

// Store is an open data directory. It is a ddns.Store and a ddns.Sealer. Safe
// for concurrent use.
type Store struct {
	dir      string
	file     string
	cfg      Config
	lock     *lock
	seal     *sealer
	cache    *cache
	writer   *writer
	counts   counts
	activity activity

	readers chan *conn // maxReaders of them at rest; nil: not yet opened

	damage struct{ minute, lines atomic.Int64 } // what damaged has logged

	background sync.WaitGroup // ends when stop is called
	lives      context.Context
	stop       context.CancelFunc

	closeOnce sync.Once
	closeErr  error
}

var (
	_ ddns.Store  = (*Store)(nil)
	_ ddns.Sealer = (*Store)(nil)
)

// Open opens a data directory, making it and what belongs in it if need be, and
// takes its lock. A directory that somebody else has open, that a newer godwit
// wrote, or that holds something else is refused and left as it is.
//
// A directory or file of godwit's that others may read is tightened to its
// owner, with a warning in the log; a directory with other people's files in it
// is refused instead, because it is not ours to close.
func Open(dir string, cfg Config) (_ *Store, err error) {
	cfg = cfg.withDefaults()
	file := filepath.Join(dir, databaseFile)
	if err := prepareDir(dir, cfg.Log); err != nil {
		return nil, err
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = lock.release()
		}
	}()
	removeTemporary(dir)
	crashed, err := openDatabase(file, cfg, steps)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, file: file, cfg: cfg, lock: lock, cache: newCache(max(cfg.Cache, 0)), readers: make(chan *conn, maxReaders)}
	for range maxReaders {
		s.readers <- nil
	}
	w, err := newWriter(s)
	if err != nil {
		return nil, err
	}
	if s.seal, err = openSealer(dir, w.conn, cfg); err != nil {
		return nil, errors.Join(err, w.conn.close())
	}
	if crashed {
		cfg.Log.Info("the store was not closed last time; its log has been read", "file", file)
	}
	s.writer = w
	s.lives, s.stop = context.WithCancel(context.Background())
	go w.run()
	return s, nil
}

// prepareDir makes the data directory, private to its owner.
func prepareDir(dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, "godwit.") && !strings.HasPrefix(name, "seal") && name != "admin.sock" && name != "lost+found" {
			return fmt.Errorf("the data directory %s is open to others (mode %04o) and holds %s, which is not godwit's: give a directory of its own, or run: chmod 700 %s",
				dir, info.Mode().Perm(), name, dir)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("close the data directory to others: %w", err)
	}
	log.Info("the data directory was open to others and is now its owner's only", "dir", dir)
	return nil
}

// removeTemporary clears away what a crash left of writeFile. The lock is held.
func removeTemporary(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// tighten makes a file its owner's only.
func tighten(file string, log *slog.Logger) error {
	info, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return fmt.Errorf("close %s to others: %w", file, err)
	}
	log.Warn("a file was open to others and is now its owner's only; if others have read it, rotate the hosts' secrets", "file", file)
	return nil
}

// quickCheckBytes is up to which size a database that was not closed is checked
// whole at once. Beyond it, the check takes longer than a start may (seconds for
// a million hosts); row checksums guard what is served either way, and godwit
// check does the rest on demand.
const quickCheckBytes = 64 << 20

// openDatabase makes or migrates the database file, and says whether it was not
// closed last time.
func openDatabase(file string, cfg Config, steps []step) (crashed bool, err error) {
	for _, f := range []string{file, file + "-wal", file + "-shm", changesName(filepath.Dir(file), 0), changesName(filepath.Dir(file), 1)} {
		if err := tighten(f, cfg.Log); err != nil {
			return false, err
		}
	}
	// Made here, because SQLite would make it readable for all.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, fmt.Errorf("open the database: %w", err)
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, fmt.Errorf("open the database: %w", err)
	}
	if err := syncDir(filepath.Dir(file)); err != nil {
		return false, err
	}
	if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
		crashed = true
	}
	c, err := openConn(file, 4<<10, false)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	format, err := checkVersion(c, file)
	if err != nil {
		return false, explain(err)
	}
	if dir := filepath.Dir(file); format == 0 && changesBytes(dir) > 0 {
		return false, fmt.Errorf("%s* hold changes, and %s, which they belong to, is not there: put it back, or move them away", filepath.Join(dir, changesFile), file)
	}
	if mode, _, err := c.queryText("pragma journal_mode = wal"); err != nil || mode != "wal" {
		return false, explain(fmt.Errorf("%s cannot have a write-ahead log (mode %q; is the file system a network share?): %w", file, mode, err))
	}
	if crashed && format > 0 && info.Size() <= quickCheckBytes {
		found, err := integrity(c, "quick_check")
		if err != nil {
			return false, explain(err)
		}
		if len(found) > 0 {
			cfg.Log.Error("the database is damaged: run godwit check, and restore a backup", "file", file, "finding", found[0])
		}
	}
	return crashed, explain(migrate(c, steps))
}

// explain adds to an error of SQLite's what to do about it.
func explain(err error) error {
	switch c := code(err); {
	case c == codeFull || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk is full: free some space, and changes go on by themselves: %w", err)
	case c == codeCorrupt || c == codeNotADB:
		return fmt.Errorf("the database is damaged: run godwit check, and restore a backup: %w", err)
	case c == codeReadOnly:
		return fmt.Errorf("the database cannot be written: look at the permissions and the mount: %w", err)
	case c == codeIO || errors.Is(err, syscall.EIO):
		return fmt.Errorf("the disk fails: look at the system's log: %w", err)
	}
	return err
}

// Primary result codes of SQLite.
const (
	codeBusy     = 5
	codeReadOnly = 8
	codeIO       = 10
	codeCorrupt  = 11
	codeFull     = 13
	codeNotADB   = 26
)

// syncDir makes a directory's entries durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// Close waits for what is queued, brings the log into the file and gives the
// lock back. Later calls of any method return ErrClosed.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.stop()
		s.background.Wait()
		close(s.writer.closing)
		<-s.writer.stopped
		var errs []error
		for range maxReaders {
			if c := <-s.readers; c != nil {
				errs = append(errs, c.close())
			}
		}
		// Last, so that the log is brought into the file once, by its only user.
		if s.writer.conn != nil {
			errs = append(errs, s.writer.conn.close())
		}
		s.closeErr = errors.Join(append(errs, s.lock.release())...)
	})
	return s.closeErr
}

// read lends a connection for reading to do.
func (s *Store) read(ctx context.Context, do func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	select {
	case <-s.writer.stopped:
		return ErrClosed
	case c = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	var err error
	defer func() { s.readers <- c }()
	if c == nil {
		if c, err = openConn(s.file, readerPages, false); err != nil {
			return err
		}
		// A belt to the braces: readers never write.
		if err = c.exec("pragma query_only = on"); err != nil {
			_ = c.close()
			c = nil
			return err
		}
	}
	if err = do(c); code(err) != 0 {
		_ = c.close() // whatever went wrong, the next reader starts anew
		c = nil
		return explain(err)
	}
	return err
}

// damaged reports a row that cannot be used.
//
// A page that went bad has many rows, and whoever asks for one brings a line
// about: some a minute say enough.
func (s *Store) damaged(err error) {
	const enough = 20
	minute := s.cfg.Now().Unix() / 60
	if was := s.damage.minute.Load(); was != minute && s.damage.minute.CompareAndSwap(was, minute) {
		s.damage.lines.Store(0)
	}
	switch n := s.damage.lines.Add(1); {
	case n <= enough:
		s.cfg.Log.Error("a stored row is damaged; it is left out", "err", err)
	case n == enough+1:
		s.cfg.Log.Error("more stored rows are damaged than are named here; run godwit check, which lists them")
	}
}
