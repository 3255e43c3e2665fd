package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// What the store tells of hosts, credentials and events.

// Host returns the host of that name and all credentials granted on it. A
// damaged row gives a *DamagedError.
func (s *Store) Host(ctx context.Context, name dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	e, ticket := s.cache.get(name)
	if e == nil {
		pending := s.cache.pending(name)
		err := s.read(ctx, func(c *conn) error {
			return c.snapshot(func() (err error) {
				if pending != nil {
					e, err = s.withCredentials(c, pending)
				} else {
					e, err = s.readEntry(c, name, true)
				}
				return err
			})
		})
		if err != nil {
			return nil, nil, fmt.Errorf("read host %s: %w", name, err)
		}
		if e == nil {
			return nil, nil, ddns.ErrNoHost
		}
		s.cache.put(name, e, ticket)
	}
	return e.host, e.creds, nil
}

const selectByName = "select " + entryColumns + " from hosts where id = (select host from names where name = ? and kind = 'host')"

// readEntry reads a host's row, and its credentials if asked to; nil if there is none.
func (s *Store) readEntry(c *conn, name dnsname.Name, credentials bool) (*entry, error) {
	var e *entry
	text := name.String()
	err := c.query(selectByName, func(row []driver.Value) (err error) {
		if e, err = decodeRow(row); err == nil && e.host.Name != name {
			err = &DamagedError{"host " + text, "its name leads to the row of " + e.host.Name.String()}
		}
		return err
	}, text)
	if err != nil || e == nil || !credentials {
		return e, err
	}
	return s.withCredentials(c, e)
}

// withCredentials is e with its host's credentials.
func (s *Store) withCredentials(c *conn, e *entry) (*entry, error) {
	list, err := readCredentials(c, e.host.Name.String(), s.damaged)
	full := *e
	full.withCreds(list)
	return &full, err
}

// Credential finds a credential by its ID.
func (s *Store) Credential(ctx context.Context, id string) (*ddns.Credential, error) {
	if cred := s.cache.credential(id); cred != nil {
		return cred, nil
	}
	var cred *ddns.Credential
	err := s.read(ctx, func(c *conn) (err error) {
		for {
			brought := s.cache.brought.Load()
			if cred, err = readCredential(c, id); err != nil || cred == nil || len(cred.Grants) != 1 {
				return err
			}
			// A newer mark may be nowhere but with its host.
			if e := s.cache.pending(cred.Grants[0].Host); e != nil && len(e.marks) > 0 {
				if c := e.credential(id); c != nil {
					cred = c
				}
				return nil
			}
			if s.cache.brought.Load() == brought {
				return nil
			}
		}
	})
	if err == nil && cred == nil {
		err = ddns.ErrNoCredential
	}
	if err == nil && len(cred.Grants) > 0 {
		s.cache.holds(cred.Grants[0].Host, id)
	}
	return cred, err
}

const selectOwner = "select o.name from names n join names o on o.host = n.host and o.kind = 'host' where n.name = ?"

// Owner says which host owns a name: its own, its wildcard or a follower's.
func (s *Store) Owner(ctx context.Context, name dnsname.Name) (dnsname.Name, error) {
	var text string
	var ok bool
	err := s.read(ctx, func(c *conn) (err error) {
		text, ok, err = c.queryText(selectOwner, name.String())
		return err
	})
	switch {
	case err != nil:
		return dnsname.Name{}, err
	case !ok:
		return dnsname.Name{}, ddns.ErrNoHost
	}
	return dnsname.Parse(text)
}

// Events returns the newest events of a host: 32 to 35 changes and 8 refusals, if
// there have been so many. They go with the host, because a later host of the name may be another
// person's.
func (s *Store) Events(ctx context.Context, name dnsname.Name) ([]ddns.Event, error) {
	var out []ddns.Event
	pending := s.cache.pending(name)
	err := s.read(ctx, func(c *conn) error {
		return c.snapshot(func() error {
			e, err := s.readEntry(c, name, false)
			switch {
			case err != nil:
				return err
			case e == nil:
				return ddns.ErrNoHost
			case pending != nil && pending.logged > e.applied:
				e.changes = pending.changes
			}
			out, err = readEvents(c, e, s.damaged)
			return err
		})
	})
	return out, err
}

// Hosts lists all hosts in order of their names.
func (s *Store) Hosts(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	return s.list(ctx, limit, func(e *entry) string { return e.host.Name.String() },
		"select h."+strings.ReplaceAll(hostColumns, ", ", ", h.")+" from names n join hosts h on h.id = n.host where n.kind = 'host' and n.name > ? order by n.name limit ?",
		cursor)
}

// Unpublished lists hosts with Published below Generation, the oldest host first.
func (s *Store) Unpublished(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	after, err := cursorNumbers(cursor, 1)
	if err != nil {
		return nil, "", err
	}
	return s.list(ctx, limit, func(e *entry) string { return strconv.FormatInt(e.id, 10) },
		"select "+hostColumns+" from hosts where unpublished is not null and id > ? order by id limit ?", after[0])
}

// Due lists hosts whose NextDue is set and not after now, the most overdue
// first. One that moves to another time not after now during the listing may be
// listed again.
func (s *Store) Due(ctx context.Context, now time.Time, cursor string, limit int) ([]*ddns.Host, string, error) {
	after, err := cursorNumbers(cursor, 2)
	if err != nil {
		return nil, "", err
	}
	return s.list(ctx, limit, func(e *entry) string { return fmt.Sprintf("%d,%d", micros(e.host.NextDue()), e.id) },
		"select "+hostColumns+" from hosts where due is not null and (due, id) > (?, ?) and due <= ? order by due, id limit ?", after[0], after[1], micros(now))
}

// cursorNumbers reads a cursor of n numbers; "" stands before all others.
func cursorNumbers(cursor string, n int) ([]int64, error) {
	out := make([]int64, n)
	if cursor == "" {
		out[0] = -1 << 62
		return out, nil
	}
	parts := strings.Split(cursor, ",")
	for i := range out {
		var err error
		if len(parts) != n {
			err = strconv.ErrSyntax
		} else {
			out[i], err = strconv.ParseInt(parts[i], 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("cursor %.40q is not one that this store gave", cursor)
		}
	}
	return out, nil
}

// list reads one page. cursorOf says how to go on after a host; the page's limit
// is the statement's last argument. Damaged rows are reported and left out.
//
// What is pending of a host never changes whether and where it is listed.
func (s *Store) list(ctx context.Context, limit int, cursorOf func(*entry) string, text string, args ...driver.Value) ([]*ddns.Host, string, error) {
	if limit < 1 || limit > 1000 {
		return nil, "", fmt.Errorf("a page has 1 to 1000 hosts, not %d", limit)
	}
	var page []*entry
	next, rows := "", 0
	err := s.read(ctx, func(c *conn) error {
		brought := s.cache.brought.Load()
		err := c.query(text, func(row []driver.Value) error {
			rows++
			e, err := decodeRow(row)
			if bad, ok := errors.AsType[*DamagedError](err); ok {
				s.damaged(bad)
				return nil
			}
			if err != nil {
				return err
			}
			page = append(page, e)
			next = cursorOf(e)
			return nil
		}, append(args, int64(limit))...)
		if err != nil {
			return err
		}
		var unsure []int
		for i, e := range page {
			if pending := s.cache.pending(e.host.Name); pending == nil {
				unsure = append(unsure, i)
			} else if pending.logged > e.applied {
				page[i] = pending
			}
		}
		if s.cache.brought.Load() == brought {
			return nil
		}
		// Some host was pending when its row was read, and not any more when this
		// was looked up: now its row has it.
		for _, i := range unsure {
			e, err := s.readEntry(c, page[i].host.Name, false)
			switch _, damaged := errors.AsType[*DamagedError](err); {
			case damaged: // since: what was read of it stands
			case err != nil:
				return err
			case e != nil:
				page[i] = e
			}
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list hosts: %w", err)
	}
	if rows < limit {
		next = ""
	}
	out := make([]*ddns.Host, len(page))
	for i, e := range page {
		out[i] = e.host
	}
	return out, next, nil
}
