package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// maxImport bounds a file that has to be read whole because it is changed on
// its way.
const maxImport = 1 << 30

type hostImportCommand struct {
	targetFlags
	jsonFlag
	File      string   `arg:"" help:"File to read; - for standard input."`
	Host      hostName `placeholder:"NAME" help:"Whose row it is, if the file is one row of the seed's table."`
	Addresses string   `placeholder:"POLICY" help:"Give all of them this address policy instead of the file's: public, any, or CIDR blocks."`
}

func (hostImportCommand) Help() string {
	return `Reads what "godwit host export" writes, the seed's config.json with many hosts, one row of
its table, or items as the DynamoDB command line prints them. Hosts that are there already stay
as they are; what is skipped is listed with its reason, and then the exit code is 1.

Examples:

    godwit host import hosts.json
    godwit host import config.json --addresses any
    godwit host import row.json --host nas.dyn.example.com
    aws dynamodb scan --table-name ddns --output json | godwit host import -`
}

func (c hostImportCommand) Run(a *app) error {
	in := a.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("%w; name a file that can be read", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return fmt.Errorf("%s is a directory; name a file that can be read", c.File)
		}
		in = f
	}
	if c.Addresses != "" {
		var err error
		if in, err = withPolicy(in, c.Addresses, c.Host.Name); err != nil {
			return err
		}
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	options := client.ImportOptions{}
	if !c.Host.IsZero() {
		options.Host = c.Host.String()
	}
	progress := newProgress(a)
	options.Progress = func(r api.ImportResult) {
		progress.show("%d hosts added, %d skipped …", r.Added, len(r.Skipped))
	}
	result, err := server.Import(a.ctx, in, options)
	progress.done()
	if err != nil {
		if result.Added > 0 {
			a.say("%s added before it stopped; they stay. Run the import again: it goes on.", quantity(result.Added, "host"))
		}
		return err
	}
	if c.JSON {
		if err := a.printJSON(result); err != nil {
			return err
		}
	} else {
		for _, s := range result.Skipped {
			a.say("skipped %s: %s", s.Name, s.Why)
		}
		a.print("%s added, %d skipped.", quantity(result.Added, "host"), len(result.Skipped))
	}
	if len(result.Skipped) > 0 {
		return errFailed
	}
	return nil
}

// withPolicy reads a file whole and gives its hosts another address policy.
func withPolicy(in io.Reader, policy string, single dnsname.Name) (io.Reader, error) {
	rule, err := ddns.ParseAddressRule(policy)
	if err != nil {
		return nil, usage("--addresses %q is not understood; give public, any, or CIDR blocks such as 192.168.0.0/16,fd00::/8", policy)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxImport+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the file: %w", err)
	case len(data) > maxImport:
		return nil, fmt.Errorf("the file is larger than 1 GiB; import it without --addresses, or in parts")
	}
	hosts, err := ddns.ParseImport(data, single)
	if err != nil {
		return nil, err
	}
	for i := range hosts {
		hosts[i].Addresses = rule
	}
	doc, err := json.Marshal(ddns.Export{Version: ddns.ExportVersion, Time: time.Now().UTC(), Hosts: hosts})
	if err != nil {
		return nil, fmt.Errorf("write the hosts for the server: %w", err)
	}
	return bytes.NewReader(doc), nil
}
