package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	"modernc.org/sqlite"
)

// conn is one connection to the database file with its prepared statements. It
// is used by one goroutine at a time. It speaks to the driver without the pool
// of database/sql, which costs as much as the statement itself.
type conn struct {
	driver driver.Conn
	stmts  map[string]*stmt
	later  later
}

// later is a transaction that begins when something is to be written in it.
type later struct {
	waits bool // it has not begun
	begun bool
	full  bool // its commit is synced, with all before it
}

// stmt is a prepared statement and room for its arguments.
type stmt struct {
	driver driver.Stmt
	args   []driver.NamedValue
	dest   []driver.Value
}

// busyMillis is how long a connection waits for another one's lock. Only a
// checkpoint, a backup or a foreign SQLite tool ever holds one that is in the way.
const busyMillis = 5000

// openConn opens a database file. pages bounds its page cache, in KiB.
func openConn(file string, cacheKiB int, readOnly bool) (*conn, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	name := "file:" + (&url.URL{Path: abs}).EscapedPath()
	if readOnly {
		name += "?mode=ro"
	}
	d, err := new(sqlite.Driver).Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	c := &conn{driver: d, stmts: map[string]*stmt{}, later: later{full: true}}
	for _, pragma := range []string{
		fmt.Sprintf("pragma busy_timeout = %d", busyMillis),
		fmt.Sprintf("pragma cache_size = -%d", cacheKiB),
		"pragma synchronous = full",
		"pragma trusted_schema = off",
		"pragma cell_size_check = on", // a torn page is an error, not a surprise
		"pragma temp_store = memory",
	} {
		if err := c.exec(pragma); err != nil {
			c.close()
			return nil, fmt.Errorf("open %s: %w", file, err)
		}
	}
	return c, nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		_ = s.driver.Close()
	}
	c.stmts = nil
	return c.driver.Close()
}

// exec runs a statement or a script once, without keeping it prepared.
func (c *conn) exec(script string, args ...driver.Value) error {
	_, err := c.driver.(driver.ExecerContext).ExecContext(context.Background(), script, named(nil, args))
	return err
}

// named numbers arguments as the driver wants them, in the room of into.
func named(into []driver.NamedValue, args []driver.Value) []driver.NamedValue {
	into = into[:0]
	for i, a := range args {
		into = append(into, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return into
}

// prepare returns the prepared statement of that text; it is kept.
func (c *conn) prepare(text string) (*stmt, error) {
	if s := c.stmts[text]; s != nil {
		return s, nil
	}
	d, err := c.driver.Prepare(text)
	if err != nil {
		return nil, err
	}
	s := &stmt{driver: d}
	c.stmts[text] = s
	return s, nil
}

// beginLater has the next statement that is run begin a transaction. full tells
// whether its commit is to be synced, or only be in order with the others.
func (c *conn) beginLater(full bool) error {
	c.later.waits, c.later.begun = true, false
	if full == c.later.full {
		return nil
	}
	c.later.full = full
	if full {
		return c.exec("pragma synchronous = full")
	}
	return c.exec("pragma synchronous = normal")
}

// end ends the transaction of beginLater, if it has begun.
func (c *conn) end(statement string) error {
	begun := c.later.begun
	c.later.waits, c.later.begun = false, false
	if !begun {
		return nil
	}
	return c.run(statement)
}

// run executes a prepared statement that returns no rows.
func (c *conn) run(text string, args ...driver.Value) error {
	if c.later.waits {
		c.later.waits = false
		if err := c.run("begin immediate"); err != nil {
			return err
		}
		c.later.begun = true
	}
	s, err := c.prepare(text)
	if err != nil {
		return err
	}
	s.args = named(s.args, args)
	_, err = s.driver.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	return err
}

// errStop ends a query early.
var errStop = errors.New("stop")

// query calls each with every row of a prepared statement; the row is valid
// during the call only. An error of each ends the query and is returned, errStop excepted.
func (c *conn) query(text string, each func(row []driver.Value) error, args ...driver.Value) (err error) {
	s, err := c.prepare(text)
	if err != nil {
		return err
	}
	s.args = named(s.args, args)
	rows, err := s.driver.(driver.StmtQueryContext).QueryContext(context.Background(), s.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if n := len(rows.Columns()); len(s.dest) != n {
		s.dest = make([]driver.Value, n)
	}
	for {
		switch err := rows.Next(s.dest); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		switch err := each(s.dest); {
		case err == errStop:
			return nil
		case err != nil:
			return err
		}
	}
}

// queryInt returns the one number that a statement yields, or ok false for no row.
func (c *conn) queryInt(text string, args ...driver.Value) (n int64, ok bool, err error) {
	err = c.query(text, func(row []driver.Value) error {
		n, ok = row[0].(int64)
		return errStop
	}, args...)
	return n, ok, err
}

// queryText is queryInt for a text.
func (c *conn) queryText(text string, args ...driver.Value) (t string, ok bool, err error) {
	err = c.query(text, func(row []driver.Value) error {
		t, ok = row[0].(string)
		return errStop
	}, args...)
	return t, ok, err
}

// snapshot has all questions of do answered from one state of the database.
func (c *conn) snapshot(do func() error) error {
	if err := c.run("begin"); err != nil {
		return err
	}
	return errors.Join(do(), c.run("rollback"))
}

// lastID is the integer key of the row inserted last.
func (c *conn) lastID() (int64, error) {
	id, _, err := c.queryInt("select last_insert_rowid()")
	return id, err
}

// code is SQLite's primary result code of an error, or 0.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}
