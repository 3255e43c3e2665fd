package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"godwit/internal/client"
)

type hostExportCommand struct {
	targetFlags
	jsonFlag
	Host        hostName `placeholder:"NAME" help:"Only this one."`
	WithSecrets bool     `help:"Put recoverable shared secrets in, in the clear."`
	Output      string   `short:"o" placeholder:"FILE" help:"Write to this new file, readable by its owner only. Default: standard output."`
}

func (hostExportCommand) Help() string {
	return `The result is one JSON document. Without --with-secrets it holds hashes and public keys:
where it is imported tokens go on working, and the seed's protocol does not until a host is rotated.

Examples:

    godwit host export -o hosts.json
    godwit host export --with-secrets -o hosts-with-secrets.json
    godwit host export --host nas.dyn.example.com | jq .hosts[0].a`
}

func (c hostExportCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	options := client.ExportOptions{Secrets: c.WithSecrets}
	if !c.Host.IsZero() {
		options.Host = c.Host.String()
	}
	if c.Output == "" {
		if c.WithSecrets && isTerminal(a.stdout) {
			return usage("secrets are not shown on a terminal; add -o FILE")
		}
		return server.Export(a.ctx, a.stdout, options)
	}
	if c.JSON {
		return usage("--json is about standard output, and -o writes to a file; leave one out")
	}
	if err := writeNew(c.Output, func(w io.Writer) error { return server.Export(a.ctx, w, options) }); err != nil {
		return err
	}
	a.say("Written to %s. Import it with: godwit host import %s", c.Output, shellQuote(c.Output))
	if c.WithSecrets {
		a.say("It holds secrets in the clear: keep it where nobody else reads, and remove it after use.")
	}
	return nil
}

// writeNew makes a file of mode 0600, whole and durable or not at all. It
// replaces nothing.
func writeNew(name string, fill func(io.Writer) error) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s is there already; name a new file, or remove it first", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".godwit-*") // mode 0600
	if err != nil {
		return fmt.Errorf("%w; name a file in a directory that you may write to", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err = fill(w); err == nil { // else Flush would say the same once more
		err = errors.Join(w.Flush(), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	// The name is durable when its directory is.
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
