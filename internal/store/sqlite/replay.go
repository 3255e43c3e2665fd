package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// record is one of the log, decoded.
type record struct {
	Hosts []item       `json:"hosts"`
	Zones []zoneSerial `json:"zones"`
}

// item is one host of a record: its row's number, its state, what happened, and
// the replay marks of its credentials.
type item struct {
	id      int64
	host    *ddns.Host
	changes []change
	marks   []mark
}

func (i *item) UnmarshalJSON(text []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	if len(raw) < 3 {
		return errors.New("a host has too few values")
	}
	if err := json.Unmarshal(raw[0], &i.id); err != nil {
		return err
	}
	var err error
	if i.host, _, err = decodeHost(string(raw[1]), string(raw[2])); err != nil {
		return err
	}
	for _, event := range raw[3:] {
		if event[0] == '{' {
			marks := map[string]int64{}
			if err := json.Unmarshal(event, &marks); err != nil {
				return err
			}
			for id, at := range marks {
				i.marks = append(i.marks, mark{id, at})
			}
			continue
		}
		var e storedEvent
		if err := decodeEvent(event, &e); err != nil {
			return err
		}
		i.changes = append(i.changes, change{generation: e.Generation, text: "," + string(event)})
	}
	return nil
}

type zoneSerial struct {
	name   dnsname.Name
	serial ddns.Serial
}

func (z *zoneSerial) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&z.name, &z.serial})
}

const selectPending = "select id, sum, batch from pending order by id"

// decodePending reads a row of selectPending. A damaged one gives a *DamagedError.
func decodePending(row []driver.Value) (id int64, r record, err error) {
	id, _ = row[0].(int64)
	sum, _ := row[1].(int64)
	text, _ := row[2].(string)
	if sum != sumPending(id, []byte(text)) {
		return id, r, damagedChanges(id, errSum)
	}
	r, err = decodeRecord(id, text)
	return id, r, err
}

func decodeRecord(id int64, text string) (r record, err error) {
	if err = json.Unmarshal([]byte(text), &r); err != nil {
		err = damagedChanges(id, err)
	}
	return r, err
}

// errMissing: a number of the log is nowhere.
var errMissing = errors.New("they are missing")

func damagedChanges(id int64, why error) error {
	return &DamagedError{fmt.Sprintf("changes number %d", id), why.Error()}
}

// applied is the number of the newest record that is in the tables.
func applied(c *conn) (int64, error) {
	text, err := note(c, noteApplied)
	if err != nil || text == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, &DamagedError{"the number of changes", err.Error()}
	}
	return n, nil
}

// replay brings the whole log into the tables, and has an empty one begin.
func (w *writer) replay(c *conn) (last int64, err error) {
	if err := w.log.close(); err != nil {
		return 0, err
	}
	list, key, err := w.s.unswept(c)
	if err != nil {
		return 0, err
	}
	if last, err = replay(c, list); err != nil {
		return 0, err
	}
	w.log = changeLog{dir: w.s.dir, key: key}
	return last, w.log.remove()
}

// unswept reads what the files of the log have and the tables of a database have
// not, and with what key.
func (s *Store) unswept(c *conn) (list []logged, key string, err error) {
	n, err := applied(c)
	if err != nil {
		return nil, "", err
	}
	if key, err = note(c, noteLog); err != nil {
		return nil, "", err
	}
	list, err = readLog(s.dir, key, n)
	return list, key, err
}

// replay brings all that is pending in a database, and what the files of its log
// have besides, into its tables, and returns the number of the newest record that
// there ever was. It begins where a crash left off, as often as need be. What it
// cannot read it does not pass over: the hosts would be shown as they were, and
// nobody could tell which.
func replay(c *conn, files []logged) (last int64, err error) {
	if last, err = applied(c); err != nil {
		return 0, err
	}
	for {
		p := newPart(last)
		if err := inTransaction(c, func() (err error) {
			if files, err = p.read(c, files); err != nil || p.last == last {
				return err
			}
			return p.write(c)
		}); err != nil {
			return 0, err
		}
		if p.last == last {
			return last, nil
		}
		last = p.last
	}
}

// part is what one transaction of replay does.
type part struct {
	hosts   map[int64]*entry     // by row; nil: there is no such row, or it is damaged
	found   map[int64]*ddns.Host // as the rows have them
	serials map[dnsname.Name]ddns.Serial
	last    int64 // record
}

func newPart(last int64) part {
	return part{hosts: map[int64]*entry{}, found: map[int64]*ddns.Host{}, serials: map[dnsname.Name]ddns.Serial{}, last: last}
}

// read reads as much of the log as one transaction may have, and returns the rest
// of files.
func (p *part) read(c *conn, files []logged) (rest []logged, err error) {
	items := 0
	filesTo := func(end int64) error { // those of a lower number
		for ; len(files) > 0 && files[0].id < end && items < replayHosts; files = files[1:] {
			r, err := decodeRecord(files[0].id, files[0].text)
			if err == nil {
				err = p.record(c, files[0].id, &r)
			}
			if err != nil {
				return err
			}
			items += len(r.Hosts)
		}
		return nil
	}
	if err = c.query(selectPending, func(row []driver.Value) error {
		id, r, err := decodePending(row)
		if err == nil {
			err = filesTo(id)
		}
		if err != nil {
			return err
		}
		if items >= replayHosts {
			return errStop
		}
		items += len(r.Hosts)
		return p.record(c, id, &r)
	}); err == nil {
		err = filesTo(math.MaxInt64)
	}
	return files, err
}

// record adds the next record of the log to the part.
func (p *part) record(c *conn, id int64, r *record) error {
	if id != p.last+1 {
		return damagedChanges(p.last+1, errMissing)
	}
	p.last = id
	for i := range r.Hosts {
		if err := p.add(c, id, &r.Hosts[i]); err != nil {
			return err
		}
	}
	for _, z := range r.Zones {
		p.serials[z.name] = z.serial
	}
	return nil
}

// add makes an item of the log's row id its host's newest state, unless the
// host's row has it already.
func (p *part) add(c *conn, id int64, i *item) error {
	e, ok := p.hosts[i.id]
	if !ok {
		err := c.query("select "+entryColumns+" from hosts where id = ?", func(row []driver.Value) (err error) {
			e, err = decodeRow(row)
			return err
		}, i.id)
		if _, damaged := errors.AsType[*DamagedError](err); damaged {
			e = nil // it stays so: what is wrong with it may be more than its newest state
		} else if err != nil {
			return err
		}
		p.hosts[i.id] = e
		if e != nil {
			p.found[i.id] = e.host
		}
	}
	switch {
	case e == nil || id <= e.applied:
		return nil
	case e.host.Name != i.host.Name:
		return damagedChanges(id, fmt.Errorf("they are of %s where %s is", i.host.Name, e.host.Name))
	}
	e.host, e.logged = i.host, id
	e.changes = append(e.changes, i.changes...)
	e.marks = append(e.marks, i.marks...)
	return nil
}

func (p *part) write(c *conn) error {
	ids := make([]int64, 0, len(p.hosts))
	for id, e := range p.hosts {
		if e != nil && e.pending() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		e := p.hosts[id]
		e.applied = p.last
		if err := putRow(c, p.found[id], e); err != nil {
			return err
		}
	}
	zones, err := readZones(c)
	if err != nil {
		return err
	}
	for name, serial := range p.serials {
		z, ok := zones[name]
		if ok && !z.serial.Before(serial) {
			continue // it was written into its row later
		}
		z.serial = serial
		if err := putZone(c, name, z); err != nil {
			return err
		}
	}
	if err := c.run("delete from pending where id <= ?", p.last); err != nil {
		return err
	}
	return setNote(c, noteApplied, strconv.FormatInt(p.last, 10))
}
