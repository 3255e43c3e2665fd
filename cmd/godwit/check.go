package main

import (
	"fmt"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/store/sqlite"
)

type checkCommand struct {
	targetFlags
	jsonFlag
}

func (checkCommand) Help() string {
	return `Works while the server runs, and without it on a data directory. Looks at the database
file, at each row's checksum, and at what must hold between rows. A server that runs says until
when its TLS certificate is good, too. The exit code is 1 if anything is wrong.

Examples:

    godwit check
    godwit check --target local:/var/lib/godwit`
}

func (c checkCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	dir, err := c.local(a)
	if err != nil {
		return err
	}
	result, err := server.Check(a.ctx)
	if notRunning(err) && dir != "" {
		err = withStore(a, dir, func(store *sqlite.Store) error {
			findings, err := store.Check(a.ctx)
			result = api.CheckResult{OK: len(findings) == 0, Problems: []string{}}
			for _, f := range findings {
				result.Problems = append(result.Problems, f.String())
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	out := struct {
		api.CheckResult
		Certificate *api.Certificate `json:"certificate,omitempty"`
	}{CheckResult: result}
	if status, err := server.Status(a.ctx); err == nil { // nobody serves, or a server of another kind
		out.Certificate = status.Certificate
	}
	switch {
	case c.JSON:
		if err := a.printJSON(out); err != nil {
			return err
		}
	case result.OK:
		a.print("The store is sound.")
	default:
		for _, p := range result.Problems {
			a.print("%s", p)
		}
		a.print("The store is not sound: %s. What to do stands beside each.", quantity(len(result.Problems), "problem"))
	}
	cert := out.Certificate
	expired := cert != nil && !cert.NotAfter.IsZero() && !cert.NotAfter.After(a.now())
	if cert != nil && !c.JSON {
		until := "There is no TLS certificate yet."
		if !cert.NotAfter.IsZero() {
			is := "is good until"
			if expired {
				is = "expired at"
			}
			until = fmt.Sprintf("The TLS certificate for %s %s %s.", strings.Join(cert.Names, ", "), is, cert.NotAfter.Format(time.RFC3339))
		}
		if cert.Problem != "" {
			until += " A new one could not be got: " + cert.Problem
		}
		a.print("%s", until)
	}
	if !result.OK || expired || cert != nil && cert.Problem != "" {
		return errFailed
	}
	return nil
}
