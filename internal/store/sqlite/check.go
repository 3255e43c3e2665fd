package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"godwit/internal/dnsname"
)

// Stats are a store's figures.
type Stats struct {
	Hosts       int // removed ones that DNS still shows counted
	Credentials int
	Bytes       int64 // on disk, the log counted
	Free        int64 // of these, unused inside the file: the next hosts go there
}

// Stats says how much the store holds. It reads no table: the writer counts.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	out := Stats{Hosts: int(s.counts.hosts.Load()), Credentials: int(s.counts.credentials.Load())}
	err := s.read(ctx, func(c *conn) (err error) {
		out.Free, _, err = c.queryInt("select f.freelist_count * p.page_size from pragma_freelist_count f, pragma_page_size p")
		return err
	})
	for _, f := range []string{s.file, s.file + "-wal"} {
		if info, err := os.Stat(f); err == nil {
			out.Bytes += info.Size()
		}
	}
	out.Bytes += changesBytes(s.dir)
	return out, err
}

// counts are how many rows there are, as of the last commit. Counting a million
// rows takes SQLite a second.
type counts struct{ hosts, credentials atomic.Int64 }

// Keys of notes that hold the counts.
const (
	noteHosts       = "hosts"
	noteCredentials = "credentials"
)

// read takes the counts from the database.
func (n *counts) read(c *conn) error {
	for _, k := range []struct {
		key  string
		into *atomic.Int64
	}{{noteHosts, &n.hosts}, {noteCredentials, &n.credentials}} {
		text, err := note(c, k.key)
		if err != nil {
			return err
		}
		number := int64(0)
		if text != "" {
			if number, err = strconv.ParseInt(text, 10, 64); err != nil {
				return &DamagedError{"the count of " + k.key, err.Error()}
			}
		}
		k.into.Store(number)
	}
	return nil
}

// writeCounts stores what the batch made of the counts.
func (b *batch) writeCounts() error {
	n := &b.w.s.counts
	if b.newHosts != 0 {
		if err := setNote(b.w.conn, noteHosts, strconv.FormatInt(n.hosts.Load()+b.newHosts, 10)); err != nil {
			return err
		}
	}
	if b.newCredentials != 0 {
		return setNote(b.w.conn, noteCredentials, strconv.FormatInt(n.credentials.Load()+b.newCredentials, 10))
	}
	return nil
}

// Finding is something that Check found wrong.
type Finding struct {
	What string `json:"what"` // "host nas.example.org: its row's checksum does not match"
	Fix  string `json:"fix"`
}

func (f Finding) String() string { return f.What + "; " + f.Fix }

// maxFindings bounds what one Check returns.
const maxFindings = 1000

const (
	fixRestore = "restore a backup: godwit restore FILE; until then the host is not served"
	fixReport  = "please report it; restoring a backup mends it"
)

// Check looks at everything: SQLite's own integrity check, each row's checksum,
// and what must hold between tables. It returns what is wrong, nothing if all is
// well. Reads and writes go on meanwhile, and the log grows; it takes about a
// minute for a million hosts.
func (s *Store) Check(ctx context.Context) ([]Finding, error) {
	found := &findings{}
	err := s.read(ctx, func(c *conn) error {
		files, err := s.freeze(ctx, c)
		defer func() { _ = c.run("rollback") }()
		if bad, ok := errors.AsType[*DamagedError](err); ok {
			err = found.damagedLog(bad)
		}
		if err != nil {
			return err
		}
		if err := found.check(ctx, c, files); err != nil {
			return err
		}
		return s.seal.zoneKeys(found, c)
	})
	if full, ok := errors.AsType[*tooMany](err); ok {
		found.list = append(found.list, Finding{full.Error(), "mend these first"})
		err = nil
	}
	found.list = append(found.list, s.seal.findings(found.keys)...)
	return found.list, err
}

type findings struct {
	list []Finding
	keys map[[keyIDSize]byte]int // secrets sealed under each key
}

type tooMany struct{}

func (*tooMany) Error() string { return fmt.Sprintf("more than %d findings", maxFindings) }

func (f *findings) add(fix, format string, args ...any) error {
	f.list = append(f.list, Finding{fmt.Sprintf(format, args...), fix})
	if len(f.list) >= maxFindings {
		return &tooMany{}
	}
	return nil
}

// integrity runs SQLite's own check: integrity_check or quick_check.
func integrity(c *conn, pragma string) ([]string, error) {
	var out []string
	err := c.query("pragma "+pragma, func(row []driver.Value) error {
		if text, _ := row[0].(string); text != "ok" {
			out = append(out, text)
		}
		return nil
	})
	return out, err
}

// check looks at a database, and at what the files of its log have besides.
func (f *findings) check(ctx context.Context, c *conn, files []logged) error {
	damage, err := integrity(c, "integrity_check")
	if err != nil {
		return err
	}
	for _, text := range damage {
		if err := f.add("copy the data directory, then restore a backup: godwit restore FILE", "the database file: %s", text); err != nil {
			return err
		}
	}
	pending := func(c *conn) error { return f.pending(c, files) }
	for _, part := range []func(*conn) error{f.hosts, pending, f.credentials, f.events, f.orphans} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := part(c); err != nil {
			return err
		}
	}
	return nil
}

// hosts verifies each row of hosts, that its names are its own, and that its
// credentials are there and granted.
func (f *findings) hosts(c *conn) error {
	return c.query("select "+entryColumns+", due, unpublished from hosts", func(row []driver.Value) error {
		e, err := decodeRow(row)
		if bad, ok := errors.AsType[*DamagedError](err); ok {
			return f.add(fixRestore, "%s: %s", bad.Row, bad.Why)
		}
		if err != nil {
			return err
		}
		h := e.host
		if row[5] != due(h) || row[6] != unpublished(h) {
			if err := f.add(fixReport, "host %s: it is not found when it is due or unpublished", h.Name); err != nil {
				return err
			}
		}
		last, _, err := c.queryInt("select generation from retired where name = ?", h.Name.String())
		if err != nil {
			return err
		}
		if last > 0 && h.Generation <= uint64(last) {
			if err := f.add(fixReport, "host %s: it is behind an earlier host of the name", h.Name); err != nil {
				return err
			}
		}
		for _, n := range h.Names() {
			owner, found, err := c.queryInt("select host from names where name = ?", n.String())
			if err != nil {
				return err
			}
			if !found || owner != e.id {
				if err := f.add(fixReport, "host %s: its name %s is not kept for it", h.Name, n); err != nil {
					return err
				}
			}
		}
		for _, cred := range h.Credentials {
			_, found, err := c.queryInt("select 1 from grants where host = ? and credential = ?", h.Name.String(), cred)
			if err != nil {
				return err
			}
			if !found {
				if err := f.add("rotate the host's secret: godwit host rotate "+h.Name.String(), "host %s: its credential %s is not granted on it", h.Name, cred); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// pending verifies each record of the log, and that its hosts are where it says.
func (f *findings) pending(c *conn, files []logged) error {
	look := func(id int64, r record, err error) error {
		p := newPart(0)
		for i := 0; i < len(r.Hosts) && err == nil; i++ {
			err = p.add(c, id, &r.Hosts[i])
		}
		if bad, ok := errors.AsType[*DamagedError](err); ok {
			return f.damagedLog(bad)
		}
		return err
	}
	for _, l := range files {
		r, err := decodeRecord(l.id, l.text)
		if err := look(l.id, r, err); err != nil {
			return err
		}
	}
	return c.query(selectPending, func(row []driver.Value) error { return look(decodePending(row)) })
}

func (f *findings) damagedLog(bad *DamagedError) error {
	return f.add("restore a backup: godwit restore FILE; without it these changes are lost", "%s: %s", bad.Row, bad.Why)
}

func (f *findings) credentials(c *conn) error {
	f.keys = map[[keyIDSize]byte]int{}
	return c.query("select "+credentialColumns+" from credentials", func(row []driver.Value) error {
		cred, err := decodeCredential(row)
		if err != nil {
			return f.add("rotate its hosts' secrets, or restore a backup", "%v", err)
		}
		if len(cred.Sealed) >= sealHeader {
			f.keys[[keyIDSize]byte(cred.Sealed[1:])]++
		}
		for _, g := range cred.Grants {
			_, found, err := c.queryInt("select 1 from grants where host = ? and credential = ?", g.Host.String(), cred.ID)
			if err != nil {
				return err
			}
			_, host, err := c.queryInt("select 1 from names where name = ? and kind = 'host'", g.Host.String())
			if err != nil {
				return err
			}
			if !found || !host {
				if err := f.add(fixReport, "credential %s: its host %s does not know it", cred.ID, g.Host); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (f *findings) events(c *conn) error {
	return c.query("select dns, recent from hosts union all select host, events from history union all select host, event from refusals", func(row []driver.Value) error {
		text, _ := row[1].(string)
		if _, err := decodeEvents(text); err != nil {
			host := fmt.Sprintf("host number %v", row[0])
			if dns, ok := row[0].(string); ok {
				host = columnName(dns)
			}
			return f.add("its history has lost entries; nothing else is harmed", "%s: an entry of its history is damaged (%v)", host, err)
		}
		return nil
	})
}

// orphans are rows that belong to nothing.
func (f *findings) orphans(c *conn) error {
	for _, o := range []struct{ what, query string }{
		{"a name without its host", "select n.name from names n left join hosts h on h.id = n.host where h.id is null"},
		{"a grant without its credential", "select g.host || ' ' || g.credential from grants g left join credentials c on c.id = g.credential where c.id is null"},
		{"an event without its host", "select cast(e.id as text) from history e left join hosts h on h.id = e.host where h.id is null"},
		{"a refusal without its host", "select cast(e.id as text) from refusals e left join hosts h on h.id = e.host where h.id is null"},
	} {
		if err := c.query(o.query, func(row []driver.Value) error {
			return f.add(fixReport, "%s: %.300v", o.what, row[0])
		}); err != nil {
			return err
		}
	}
	for _, table := range []string{noteHosts, noteCredentials} {
		text, err := note(c, table)
		if err != nil {
			return err
		}
		number, _, err := c.queryInt("select count(*) from " + table)
		if err != nil {
			return err
		}
		if want := strconv.FormatInt(number, 10); text != want && (text != "" || number != 0) {
			if err := f.add(fixReport, "there are %s %s, and %s are counted", want, table, text); err != nil {
				return err
			}
		}
	}
	return c.query("select name from zones", func(row []driver.Value) error {
		text, _ := row[0].(string)
		if _, err := dnsname.Parse(text); err != nil {
			return f.add(fixReport, "zone %.300q: %v", text, err)
		}
		return nil
	})
}

// findings says which secrets cannot be opened with the keys at hand.
func (s *sealer) findings(sealed map[[keyIDSize]byte]int) []Finding {
	var out []Finding
	for id, n := range sealed {
		if s.keys[id] == nil {
			out = append(out, Finding{fmt.Sprintf("%d shared secrets are sealed under key %x, which is not in %s", n, id, s.dir),
				"restore that key's file there as " + s.place() + ", or rotate those hosts"})
		}
	}
	return out
}
