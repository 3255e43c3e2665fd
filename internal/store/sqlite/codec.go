package sqlite

import (
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"godwit/internal/dnsname"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// summer collects what a checksum is made over. It is made over the values, not
// their text: a flipped bit that changes no meaning is no harm.
type summer struct{ b []byte }

func (s *summer) text(t string) {
	s.b = binary.AppendUvarint(s.b, uint64(len(t)))
	s.b = append(s.b, t...)
}
func (s *summer) bytes(t []byte) {
	s.b = binary.AppendUvarint(s.b, uint64(len(t)))
	s.b = append(s.b, t...)
}
func (s *summer) num(n uint64)     { s.b = binary.AppendUvarint(s.b, n) }
func (s *summer) time(t time.Time) { s.num(uint64(micros(t))) }
func (s *summer) addr(a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		s.b = append(append(s.b, 4), b[:]...)
		return
	}
	b := a.As16()
	s.b = append(append(s.b, 6), b[:]...)
}
func (s *summer) addrs(list []netip.Addr) {
	s.num(uint64(len(list)))
	for _, a := range list {
		s.addr(a)
	}
}
func (s *summer) bool(on bool) {
	n := byte(0)
	if on {
		n = 1
	}
	s.b = append(s.b, n)
}
func (s *summer) sum() int64 { return int64(crc32.Checksum(s.b, castagnoli)) }

// reader takes the values of a row one after the other and keeps the first error.
type reader struct {
	row []driver.Value
	at  int
	err error
}

func (r *reader) next() driver.Value {
	if r.at >= len(r.row) {
		r.fail(errors.New("too few columns"))
		return nil
	}
	r.at++
	return r.row[r.at-1]
}

func (r *reader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("column %d: %w", r.at, err)
	}
}

func (r *reader) num() int64 {
	n, ok := r.next().(int64)
	if !ok {
		r.fail(errors.New("is not a number"))
	}
	return n
}

// text reads a text; null is "".
func (r *reader) text() string {
	switch t := r.next().(type) {
	case string:
		return t
	case nil:
		return ""
	}
	r.fail(errors.New("is not a text"))
	return ""
}

// blob reads octets; null is nil.
func (r *reader) blob() []byte {
	switch b := r.next().(type) {
	case []byte:
		return b
	case nil:
		return nil
	}
	r.fail(errors.New("is not a blob"))
	return nil
}

func (r *reader) time() time.Time { return fromMicros(r.num()) }

func (r *reader) name() dnsname.Name {
	n, err := dnsname.Parse(r.text())
	r.fail(err)
	return n
}

// values takes the values of a column that is a JSON array one after the other,
// and keeps the first error. What we write has no spaces between them.
type values struct {
	rest string // from the bracket or comma before the next value on
	more bool   // not the first one
	err  error
}

func (v *values) fail(err error) {
	if v.err == nil && err != nil {
		v.err = err
	}
}

// skip goes to the next value.
func (v *values) skip() {
	before := byte('[')
	if v.more {
		before = ','
	}
	if v.err == nil && (v.rest == "" || v.rest[0] != before) {
		v.err = errors.New("has too few values")
	}
	if v.err != nil {
		v.rest = ""
		return
	}
	v.rest, v.more = v.rest[1:], true
}

func (v *values) num() int64 {
	v.skip()
	end := 0
	for end < len(v.rest) && v.rest[end] != ',' && v.rest[end] != ']' {
		end++
	}
	n, err := strconv.ParseInt(v.rest[:end], 10, 64)
	v.fail(err)
	v.rest = v.rest[end:]
	return n
}

// text reads a string. It shares the column's octets.
func (v *values) text() string {
	v.skip()
	if len(v.rest) > 0 && v.rest[0] == '"' {
		if end := 1 + strings.IndexByte(v.rest[1:], '"'); end > 0 && strings.IndexByte(v.rest[:end], '\\') < 0 {
			text := v.rest[1:end]
			v.rest = v.rest[end+1:]
			return text
		}
	}
	return v.quoted()
}

// quoted reads a string in which something is quoted. It is apart from text
// because its result would be allocated there for every string.
func (v *values) quoted() (text string) {
	d := json.NewDecoder(strings.NewReader(v.rest))
	if err := d.Decode(&text); err != nil {
		v.fail(fmt.Errorf("has no text where one belongs: %w", err))
		return ""
	}
	v.rest = v.rest[d.InputOffset():]
	return text
}

// last reads the JSON of a last value, which may be missing: "" then.
func (v *values) last() string {
	if v.err == nil && !strings.HasSuffix(v.rest, "]") {
		v.err = errors.New("does not end")
	}
	if v.err != nil || v.rest == "]" {
		return ""
	}
	v.skip()
	return strings.TrimSuffix(v.rest, "]")
}
