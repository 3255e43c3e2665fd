package sqlite

import (
	"context"
	"database/sql/driver"
	"strings"

	"godwit/internal/dnsname"
)

// warmPage is how many row ids warm reads at a time.
const warmPage = 1024

// typicalEntry is the size in bytes of an ordinary host in the cache, with a
// credential and its latest change.
const typicalEntry = 1600

// warm reads every host into the cache, if all of them fit: then no update has
// to read the database. A reader's own pages are worth little while others
// write, because each commit makes SQLite forget them, and reading a host costs
// more than storing it.
func (s *Store) warm(ctx context.Context) {
	if s.counts.hosts.Load()*typicalEntry > int64(s.cfg.Cache) {
		return
	}
	var last int64
	err := s.read(ctx, func(c *conn) (err error) {
		last, _, err = c.queryInt("select coalesce(max(id), 0) from hosts")
		return err
	})
	if err != nil {
		return
	}
	for from := int64(0); from <= last; from += warmPage {
		// What cannot be read now is read, and complained about, when it is asked for.
		if s.read(ctx, func(c *conn) error { return s.warmRows(c, from, from+warmPage-1) }) != nil || ctx.Err() != nil {
			return
		}
	}
}

// warmRows reads the hosts with these row ids into the cache.
func (s *Store) warmRows(c *conn, from, to int64) error {
	// A host's ticket comes first: if it is written while it is read here, what
	// was read is dropped.
	tickets := make(map[dnsname.Name]ticket)
	err := c.query("select dns from hosts where id between ? and ?", func(row []driver.Value) error {
		dns, _ := row[0].(string)
		v := values{rest: dns}
		if name, err := dnsname.Parse(v.text()); err == nil {
			if e, since := s.cache.get(name); e == nil && s.cache.pending(name) == nil {
				tickets[name] = since
			}
		}
		return nil
	}, from, to)
	if err != nil || len(tickets) == 0 {
		return err
	}
	entries := make(map[dnsname.Name]*entry, len(tickets))
	err = c.query("select "+entryColumns+" from hosts where id between ? and ?", func(row []driver.Value) error {
		if e, err := decodeRow(row); err == nil {
			entries[e.host.Name] = e
		}
		return nil
	}, from, to)
	if err != nil {
		return err
	}
	err = c.query("select g.host, c."+strings.ReplaceAll(credentialColumns, ", ", ", c.")+
		" from hosts h join grants g on g.host = iif(json_valid(h.dns), json_extract(h.dns, '$[0]'), '') join credentials c on c.id = g.credential where h.id between ? and ?",
		func(row []driver.Value) error {
			r := reader{row: row[:1]}
			name := r.name()
			e := entries[name]
			if r.err != nil || e == nil {
				return nil
			}
			cred, err := decodeCredential(row[1:])
			if err != nil {
				delete(entries, name)
				return nil
			}
			e.creds = append(e.creds, cred)
			return nil
		}, from, to)
	if err != nil {
		return err
	}
	for name, e := range entries {
		if since, ok := tickets[name]; ok {
			sortCredentials(e.creds)
			e.withCreds(e.creds)
			s.cache.put(name, e, since)
		}
	}
	return nil
}
