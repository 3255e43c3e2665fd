package main

import (
	"fmt"
	"os"
	"path/filepath"

	"godwit/internal/store/sqlite"
)

type restoreCommand struct {
	targetFlags
	jsonFlag
	File string `arg:"" help:"A file of \"godwit backup\"."`
}

func (restoreCommand) Help() string {
	return `The data directory must hold no store, and no server may run on it. The backup is checked
whole before anything is written. The sealing key is not in a backup: put seal.key beside.

Examples:

    godwit restore godwit-2026-11-24.db --target local:/var/lib/godwit
    mv /var/lib/godwit /var/lib/godwit.old && godwit restore b.db --target local:/var/lib/godwit`
}

func (c restoreCommand) Run(a *app) error {
	dir, err := c.local(a)
	if err != nil {
		return err
	}
	if dir == "" {
		return usage("a backup is restored into a data directory of this machine, with no server running on it; name it: --target local:DIR")
	}
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); err == nil {
		return fmt.Errorf("%s holds a store already; move it away first, or name another directory with --target local:DIR", dir)
	}
	// A copy is checked and made ready beside its place: say so, it may take a while.
	if info, err := os.Stat(c.File); err == nil && info.Size() > 64<<20 {
		a.say("Checking and copying %s (%d MiB) …", c.File, info.Size()>>20)
	}
	if err := sqlite.Restore(a.ctx, dir, c.File, sqlite.Config{Log: newLogger(a.stderr, quietLevel, false)}); err != nil {
		return inUse(err)
	}
	key := filepath.Join(dir, sealingKey)
	_, keyErr := os.Stat(key)
	if c.JSON {
		return a.printJSON(struct {
			Data       string `json:"data"`
			SealingKey bool   `json:"sealing_key"` // whether it is there
		}{dir, keyErr == nil})
	}
	if keyErr != nil {
		a.say("The sealing key is not there: put its copy at %s (mode 0600) before you start the server, or hosts with the seed's protocol have to be rotated.", key)
	}
	a.say("Start it: godwit serve --zone ZONE --data %s", shellQuote(dir))
	a.print("%s", fmt.Sprintf("Restored %s into %s.", c.File, dir))
	return nil
}
