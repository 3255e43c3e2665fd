package sqlite

import (
	"cmp"
	"database/sql/driver"
	"net/netip"
	"slices"
	"strings"

	"godwit/internal/ddns"
)

const (
	changeSlots  = ddns.MaxEvents
	refusalSlots = ddns.MaxRefusals
	slotsPerHost = 64 // the stride of ids in events; a power of two above changeSlots+refusalSlots
)

const eventColumns = "time, generation, count, outcome, door, credential, source, proven, what, before, after"

// storedEvent is an event and, for a refusal, how many there had been.
type storedEvent struct {
	ddns.Event
	count int64 // 0 for a change
}

func putEvent(c *conn, host, slot int64, e *ddns.Event, count int64) error {
	var source, number driver.Value
	if e.Source.IsValid() {
		source = e.Source.String()
	}
	if count > 0 {
		number = count
	}
	proven := int64(0)
	if e.Proven {
		proven = 1
	}
	return c.run("insert or replace into events (id, "+eventColumns+") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		host*slotsPerHost+slot, micros(e.Time), int64(e.Generation), number, e.Outcome, e.Door, textOrNull(e.Credential), source, proven,
		textOrNull(e.What), addrsOrNull(e.Before), addrsOrNull(e.After))
}

// putChange records an accepted change over the one MaxEvents generations before.
func putChange(c *conn, host int64, e *ddns.Event) error {
	return putEvent(c, host, int64(e.Generation%changeSlots), e, 0)
}

// putRefusal records a refusal over the oldest of the host's refusals.
func putRefusal(c *conn, host int64, e *ddns.Event, count uint64) error {
	var at [refusalSlots]int64
	first := host*slotsPerHost + changeSlots
	err := c.query("select id, count from events where id between ? and ?", func(row []driver.Value) error {
		id, _ := row[0].(int64)
		at[id-first], _ = row[1].(int64)
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
	return putEvent(c, host, changeSlots+int64(oldest), e, int64(count))
}

func addrsOrNull(list []netip.Addr) driver.Value {
	if len(list) == 0 {
		return nil
	}
	return string(appendAddrs(make([]byte, 0, 48), list))
}

// decodeEvent reads eventColumns.
func decodeEvent(row []driver.Value) (storedEvent, error) {
	r := reader{row: row}
	var e storedEvent
	e.Time = r.time()
	e.Generation = uint64(r.num())
	if n := r.next(); n != nil {
		r.at--
		e.count = r.num()
	}
	e.Outcome, e.Door, e.Credential = r.text(), r.text(), r.text()
	if source := r.text(); source != "" {
		a, err := netip.ParseAddr(source)
		r.fail(err)
		e.Source = a
	}
	e.Proven = r.num() != 0
	e.What = r.text()
	for _, into := range []*[]netip.Addr{&e.Before, &e.After} {
		for text := r.text(); text != "" && r.err == nil; {
			var one string
			one, text, _ = strings.Cut(text, " ")
			a, err := netip.ParseAddr(one)
			r.fail(err)
			*into = append(*into, a)
		}
	}
	if r.err != nil {
		return storedEvent{}, &DamagedError{"an event", r.err.Error()}
	}
	return e, nil
}

// readEvents reads a host's events, the newest first. Clocks may go back, so
// order is by what was counted: a refusal came after the change of its generation.
func readEvents(c *conn, host int64, damaged func(error)) ([]ddns.Event, error) {
	var list []storedEvent
	err := c.query("select "+eventColumns+" from events where id between ? and ?", func(row []driver.Value) error {
		e, err := decodeEvent(row)
		if err != nil {
			damaged(err)
			return nil
		}
		list = append(list, e)
		return nil
	}, host*slotsPerHost, host*slotsPerHost+slotsPerHost-1)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b storedEvent) int {
		return cmp.Or(cmp.Compare(b.Generation, a.Generation), cmp.Compare(b.count, a.count))
	})
	out := make([]ddns.Event, len(list))
	for i := range list {
		out[i] = list[i].Event
	}
	return out, nil
}
