package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"godwit/internal/client"
	"godwit/internal/store/sqlite"
)

type backupCommand struct {
	targetFlags
	jsonFlag
	File string `arg:"" help:"New file to write."`
}

func (backupCommand) Help() string {
	return `Works while the server runs, and without it on a data directory. The file is an SQLite
database, whole and durable or not there.

Examples:

    godwit backup godwit-$(date +%F).db
    godwit backup /backup/godwit.db --target local:/var/lib/godwit`
}

// Names of files in a data directory; see sqlite.
const (
	databaseFile = "godwit.db"
	sealingKey   = "seal.key"
)

// backupResult is what --json prints.
type backupResult struct {
	File       string `json:"file"`
	Bytes      int64  `json:"bytes"`
	SealingKey string `json:"sealing_key,omitempty"` // not in it; where it is
}

func (c backupCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	dir, err := c.local(a)
	if err != nil {
		return err
	}
	p := newProgress(a)
	err = writeNew(c.File, func(w io.Writer) error {
		return server.Backup(a.ctx, &countingWriter{w: w, show: func(n int64) { p.show("%d MiB copied …", n>>20) }})
	})
	p.done()
	if notRunning(err) && dir != "" {
		err = withStore(a, dir, func(store *sqlite.Store) error {
			defer p.done()
			return store.Backup(a.ctx, c.File, func(done, total int) { p.show("%d of %d pages copied …", done, total) })
		})
	}
	if err != nil {
		return err
	}
	result := backupResult{File: c.File}
	if info, err := os.Stat(c.File); err == nil {
		result.Bytes = info.Size()
	}
	key := "the server's data directory (" + sealingKey + ")"
	if dir != "" {
		result.SealingKey = filepath.Join(dir, sealingKey)
		key = result.SealingKey
	}
	if c.JSON {
		return a.printJSON(result)
	}
	a.say("The sealing key is left out, so that the file alone gives away no shared secret. Keep a copy of it in another place: %s", key)
	a.print("Backed up to %s, %d bytes.", c.File, result.Bytes)
	return nil
}

// notRunning tells whether a request failed because no server is there.
func notRunning(err error) bool {
	var absent *client.NotRunning
	return errors.As(err, &absent)
}

// countingWriter says how much has gone through.
type countingWriter struct {
	w    io.Writer
	n    int64
	show func(int64)
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.show(c.n)
	return n, err
}

// withStore opens the store of a data directory that no server runs on. It
// makes none: a mistyped directory must not become an empty store.
func withStore(a *app, dir string, do func(*sqlite.Store) error) error {
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); err != nil {
		return errors.New("there is no store in " + dir + "; name the server's data directory: --target local:DIR")
	}
	log := newLogger(a.stderr, quietLevel, false)
	store, err := sqlite.Open(dir, sqlite.Config{Log: log, KeepKey: true})
	if err != nil {
		return inUse(err)
	}
	return errors.Join(do(store), store.Close())
}

// inUse says in this program's words that a data directory is another process's.
func inUse(err error) error {
	if held, ok := errors.AsType[*sqlite.LockedError](err); ok {
		return fmt.Errorf("a server runs on %s (process %d) and does not answer on its admin socket; look at its log, or stop it first", held.Dir, held.PID)
	}
	return err
}
