package sqlite

import (
	"cmp"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"godwit/internal/ddns"
)

// A host's newest changes stand in its own row, so that an update writes one
// page and not two; every fourth update moves them as one row into history. The
// first eight of a host's rows there are appended, where all hosts share pages;
// from then on the oldest is overwritten. Eight rows and what is in the host's
// make 32 to 35 changes.
//
// Nothing here grows or shrinks in the middle of a table. SQLite shares out the
// cells of neighbouring pages when a page overflows or runs empty, and then its
// next commit walks the whole page cache: a third more CPU for each update.
const (
	chunkEvents = 4
	chunkRows   = ddns.MaxEvents / chunkEvents
	chunkIDSize = 5 // octets of a row's id in the column chunks
	// rowRoom is how long a row's texts are together at least, for recent is
	// filled up with spaces: enough for three updates of an IPv4 address, and
	// seven rows fit into a page.
	rowRoom      = 520
	refusalSlots = ddns.MaxRefusals
)

// storedEvent is an event and, for a refusal, how many there had been.
type storedEvent struct {
	ddns.Event
	count uint64 // 0 for a change
}

// appendEvent writes a comma and a JSON array, in the order of the columns of
// event_view. What few events have comes last; the array ends with the last that is set.
func appendEvent(dst []byte, e *ddns.Event, count uint64) []byte {
	dst = append(dst, ',', '[')
	dst = strconv.AppendInt(dst, micros(e.Time), 10)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, e.Generation, 10)
	dst = appendText(append(dst, ','), e.Outcome)
	dst = appendText(append(dst, ','), e.Door)
	dst = appendText(append(dst, ','), e.Credential)
	dst = append(dst, ',', '"')
	if e.Source.IsValid() {
		dst = e.Source.AppendTo(dst)
	}
	dst = append(dst, '"', ',')
	if e.Proven {
		dst = append(dst, '1')
	} else {
		dst = append(dst, '0')
	}
	dst = append(dst, ',', '"')
	dst = appendList(dst, e.Before)
	dst = append(dst, '"', ',', '"')
	dst = appendList(dst, e.After)
	dst = append(dst, '"')
	if e.What != "" || count > 0 {
		dst = appendText(append(dst, ','), e.What)
	}
	if count > 0 {
		dst = append(dst, ',')
		dst = strconv.AppendUint(dst, count, 10)
	}
	return append(dst, ']')
}

// appendText writes a JSON string.
func appendText(dst []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(text) // a string always can be
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, text...)
	return append(dst, '"')
}

// appendList writes addresses separated by spaces.
func appendList(dst []byte, list []netip.Addr) []byte {
	for i, a := range list {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = a.AppendTo(dst)
	}
	return dst
}

// decodeEvents reads what appendEvent wrote, any number of times in a row.
func decodeEvents(text string) ([]storedEvent, error) {
	if text = trimRecent(text); text == "" {
		return nil, nil
	}
	if text[0] != ',' {
		return nil, errors.New("does not begin with a comma")
	}
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte("["+text[1:]+"]"), &raw); err != nil {
		return nil, err
	}
	if len(raw) > maxStoredAddrs {
		return nil, errors.New("too many events")
	}
	out := make([]storedEvent, len(raw))
	for i := range raw {
		if err := decodeEvent(raw[i], &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func decodeEvent(raw []byte, e *storedEvent) error {
	var time int64
	var proven uint8
	var source, before, after string
	columns := []any{&time, &e.Generation, &e.Outcome, &e.Door, &e.Credential, &source, &proven, &before, &after, &e.What, &e.count}
	all := len(columns)
	if err := json.Unmarshal(raw, &columns); err != nil {
		return err
	}
	if len(columns) < 9 || len(columns) > all {
		return errors.New("has another number of columns")
	}
	e.Time, e.Proven = fromMicros(time), proven != 0
	var err1, err2, err3 error
	if source != "" {
		e.Source, err1 = netip.ParseAddr(source)
	}
	e.Before, err2 = parseList(before)
	e.After, err3 = parseList(after)
	return errors.Join(err1, err2, err3)
}

func parseList(text string) (out []netip.Addr, err error) {
	for text != "" {
		var one string
		one, text, _ = strings.Cut(text, " ")
		a, err := netip.ParseAddr(one)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func trimRecent(text string) string { return strings.TrimRight(text, " ") }

// padRecent fills up the column recent of a row with so much text beside it.
func padRecent(recent string, beside int) string {
	if n := rowRoom - beside - len(recent); n > 0 {
		return recent + spaces[:n]
	}
	return recent
}

var spaces = strings.Repeat(" ", rowRoom)

// noChunks is the column chunks of a host that has no row in history.
var noChunks = make([]byte, chunkRows*chunkIDSize)

func chunkID(chunks []byte, i int) (id int64) {
	for _, b := range chunks[i*chunkIDSize : (i+1)*chunkIDSize] {
		id = id<<8 | int64(b)
	}
	return id
}

// withChunk returns the ids with this one as the newest, and the oldest left out.
func withChunk(chunks []byte, id int64) []byte {
	next := make([]byte, 0, len(noChunks))
	next = append(next, chunks[chunkIDSize:]...)
	for shift := 8 * (chunkIDSize - 1); shift >= 0; shift -= 8 {
		next = append(next, byte(id>>shift))
	}
	return next
}

// putChange adds a change to a host's newest ones, and moves them into
// history if that makes four. It sets what the row has to say of them.
func putChange(c *conn, e *entry, ch *change) (err error) {
	e.recent += ch.text
	if ch.generation%chunkEvents != 0 {
		return nil
	}
	id := chunkID(e.chunks, 0) // the oldest; 0 while there is room
	if id != 0 {
		err = c.run("update history set events = ? where id = ?", e.recent, id)
	} else if err = c.run("insert into history (host, events) values (?, ?)", e.id, e.recent); err == nil {
		id, err = c.lastID()
	}
	e.recent, e.chunks = "", withChunk(e.chunks, id)
	return err
}

// dropEvents takes away all events of a host.
func dropEvents(c *conn, e *entry) error {
	for i := range chunkRows {
		if id := chunkID(e.chunks, i); id != 0 {
			if err := c.run("delete from history where id = ?", id); err != nil {
				return err
			}
		}
	}
	return c.run("delete from refusals where id between ? and ?", e.id*refusalSlots, e.id*refusalSlots+refusalSlots-1)
}

// putRefusal records a refusal over the oldest of the host's refusals.
func putRefusal(c *conn, host int64, e *ddns.Event, count uint64) error {
	var at [refusalSlots]uint64
	first := host * refusalSlots
	err := c.query("select id, event from refusals where id between ? and ?", func(row []driver.Value) error {
		id, _ := row[0].(int64)
		text, _ := row[1].(string)
		if list, err := decodeEvents(text); err == nil && len(list) > 0 {
			at[id-first] = list[0].count
		}
		return nil
	}, first, first+refusalSlots-1)
	if err != nil {
		return err
	}
	oldest := 0
	for i, n := range at {
		if n < at[oldest] {
			oldest = i
		}
	}
	return c.run("insert or replace into refusals (id, event) values (?, ?)", first+int64(oldest), string(appendEvent(nil, e, count)))
}

// readEvents reads a host's events, the newest first. Clocks may go back, so
// order is by what was counted: a refusal came after the change of its generation.
func readEvents(c *conn, e *entry, damaged func(error)) ([]ddns.Event, error) {
	var list []storedEvent
	add := func(text string) {
		some, err := decodeEvents(text)
		if err != nil {
			damaged(&DamagedError{"the history of host " + e.host.Name.String(), err.Error()})
		}
		list = append(list, some...)
	}
	add(e.recent)
	for _, c := range e.changes {
		add(c.text)
	}
	for i := range chunkRows {
		if id := chunkID(e.chunks, i); id != 0 {
			text, ok, err := c.queryText("select events from history where id = ? and host = ?", id, e.id)
			if err != nil {
				return nil, err
			}
			if !ok {
				damaged(&DamagedError{"the history of host " + e.host.Name.String(), "some of it is gone"})
			}
			add(text)
		}
	}
	err := c.query("select event from refusals where id between ? and ?", func(row []driver.Value) error {
		text, _ := row[0].(string)
		add(text)
		return nil
	}, e.id*refusalSlots, e.id*refusalSlots+refusalSlots-1)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b storedEvent) int {
		return cmp.Or(cmp.Compare(b.Generation, a.Generation), cmp.Compare(b.count, a.count))
	})
	var out []ddns.Event
	changes := 0
	for i := range list {
		if list[i].count == 0 {
			changes++
		}
		if list[i].count > 0 || changes < ddns.MaxEvents+chunkEvents { // what is pending may be more
			out = append(out, list[i].Event)
		}
	}
	return out, nil
}
