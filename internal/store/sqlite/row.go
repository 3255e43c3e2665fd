package sqlite

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// The columns of hosts, in the order in which rows are read. The first ones are
// all that DNS needs.
const (
	dnsColumns  = "id, name, zone, ttl, flags, addresses, detail, generation, dns_sum"
	hostColumns = dnsColumns + ", published, changed, changed_by, seen, busy, due, refusals, created, policy, lease, credentials, shown, sum"
	// dnsSumColumn is where dns_sum stands among them.
	dnsSumColumn = 8
)

// DamagedError says that a stored row is not what was written: a bit flipped,
// or somebody edited it. It is neither published nor served.
type DamagedError struct {
	Row string // "host nas.example.org", "credential k7m2qx4p"
	Why string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the stored row of %s is damaged (%s): run godwit check, and restore a backup", e.Row, e.Why)
}

// micros is how times and durations are stored: whole microseconds, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// stored is t as it will be read back.
func stored(t time.Time) time.Time { return fromMicros(micros(t)) }

// normalize makes a host's times those that will be read back, so that the
// cached state and the stored one are the same.
func normalize(h *ddns.Host) {
	h.Created, h.ChangedAt, h.Seen, h.Busy = stored(h.Created), stored(h.ChangedAt), stored(h.Seen), stored(h.Busy)
	h.Lease = h.Lease.Truncate(time.Microsecond)
	for i := range h.TXT {
		h.TXT[i].Time = stored(h.TXT[i].Time)
	}
}

const (
	flagSuspended = "suspended"
	flagWildcard  = "wildcard"
	flagRemoved   = "removed"
	flagFree      = "free"
	flagSeedOff   = "seed-off"
)

func flags(h *ddns.Host) string {
	if !h.Suspended && !h.Wildcard && !h.Removed && !h.Free && !h.SeedOff {
		return ""
	}
	var words []string
	for _, f := range []struct {
		on   bool
		word string
	}{{h.Suspended, flagSuspended}, {h.Wildcard, flagWildcard}, {h.Removed, flagRemoved}, {h.Free, flagFree}, {h.SeedOff, flagSeedOff}} {
		if f.on {
			words = append(words, f.word)
		}
	}
	return strings.Join(words, " ")
}

func setFlags(h *ddns.Host, text string) error {
	h.Suspended, h.Wildcard, h.Removed, h.Free, h.SeedOff = false, false, false, false, false
	for text != "" {
		var word string
		word, text, _ = strings.Cut(text, " ")
		switch word {
		case flagSuspended:
			h.Suspended = true
		case flagWildcard:
			h.Wildcard = true
		case flagRemoved:
			h.Removed = true
		case flagFree:
			h.Free = true
		case flagSeedOff:
			h.SeedOff = true
		default:
			return fmt.Errorf("flag %q", word)
		}
	}
	return nil
}

// appendAddrs writes addresses as text, separated by spaces.
func appendAddrs(dst []byte, lists ...[]netip.Addr) []byte {
	for _, list := range lists {
		for _, a := range list {
			if len(dst) > 0 {
				dst = append(dst, ' ')
			}
			dst = a.AppendTo(dst)
		}
	}
	return dst
}

// addrs reads what appendAddrs wrote onto a and aaaa.
func addrs(a, aaaa []netip.Addr, text string) ([]netip.Addr, []netip.Addr, error) {
	for text != "" {
		var one string
		one, text, _ = strings.Cut(text, " ")
		addr, err := netip.ParseAddr(one)
		switch {
		case err != nil:
			return a, aaaa, err
		case addr.Is4():
			a = append(a, addr)
		default:
			aaaa = append(aaaa, addr)
		}
	}
	if len(a) > maxStoredAddrs || len(aaaa) > maxStoredAddrs {
		return a, aaaa, errors.New("too many addresses")
	}
	return a, aaaa, nil
}

// maxStoredAddrs bounds what one row may hold. It is above every limit of the
// core, so that lowering one there never makes a row unreadable.
const maxStoredAddrs = 64

// detail is the JSON of what few hosts have.
type detail struct {
	Prefix    netip.Prefix    `json:"prefix,omitzero"`
	Followers []ddns.Follower `json:"followers,omitempty"`
	TXT       []ddns.TXT      `json:"txt,omitempty"`
}

func encodeDetail(h *ddns.Host) (driver.Value, error) {
	if !h.Prefix.IsValid() && len(h.Followers) == 0 && len(h.TXT) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(detail{h.Prefix, h.Followers, h.TXT})
	return string(text), err
}

func setDetail(h *ddns.Host, text string) error {
	h.Prefix, h.Followers, h.TXT = netip.Prefix{}, nil, nil
	if text == "" {
		return nil
	}
	var d detail
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return err
	}
	h.Prefix, h.Followers, h.TXT = d.Prefix, d.Followers, d.TXT
	for i := range h.TXT {
		h.TXT[i].Time = stored(h.TXT[i].Time)
	}
	return nil
}

func encodeShown(shown []ddns.RRset) (driver.Value, error) {
	if len(shown) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(shown)
	return string(text), err
}

// sumDNS is the checksum of all that DNS shows of a host.
func sumDNS(s *summer, h *ddns.Host) int64 {
	s.b = s.b[:0]
	s.text(h.Name.Wire())
	s.text(h.Zone.Wire())
	s.num(uint64(h.TTL))
	s.num(h.Generation)
	s.bool(h.Suspended)
	s.bool(h.Wildcard)
	s.bool(h.Removed)
	s.addrs(h.A)
	s.addrs(h.AAAA)
	if h.Prefix.IsValid() {
		s.addr(h.Prefix.Addr())
		s.num(uint64(h.Prefix.Bits()))
	}
	s.num(uint64(len(h.Followers)))
	for _, f := range h.Followers {
		s.text(f.Name.Wire())
		s.addr(f.Low)
		s.bool(f.A)
		s.bool(f.AAAA)
	}
	s.num(uint64(len(h.TXT)))
	for _, t := range h.TXT {
		s.text(t.Value)
		s.text(t.Credential)
		s.time(t.Time)
	}
	return s.sum()
}

// sumRest is the checksum of a row's other columns. It begins with the first
// one, so that parts of two rows cannot be mixed.
func sumRest(s *summer, h *ddns.Host, dns int64) int64 {
	s.b = s.b[:0]
	s.num(uint64(dns))
	s.num(h.Published)
	s.time(h.ChangedAt)
	s.text(h.ChangedBy)
	s.time(h.Seen)
	s.time(h.Busy)
	s.num(h.Refusals)
	s.time(h.Created)
	s.text(h.Addresses.String())
	s.num(uint64(h.Lease.Microseconds()))
	s.bool(h.Free)
	s.bool(h.SeedOff)
	s.num(uint64(len(h.Credentials)))
	for _, id := range h.Credentials {
		s.text(id)
	}
	s.num(uint64(len(h.Shown)))
	for _, r := range h.Shown {
		s.text(r.Owner.Wire())
		s.num(uint64(r.Type))
		s.num(uint64(r.TTL))
		s.addrs(r.Addrs)
		s.num(uint64(len(r.Texts)))
		for _, t := range r.Texts {
			s.text(t)
		}
	}
	return s.sum()
}

// sums are a host row's two checksums.
func sums(h *ddns.Host) (dns, rest int64) {
	s := summer{make([]byte, 0, 256)}
	dns = sumDNS(&s, h)
	return dns, sumRest(&s, h, dns)
}

// dnsRow is dnsColumns, not yet understood.
type dnsRow struct {
	name, zone, flags, addresses, detail string
	ttl, generation, sum                 int64
}

// decode reads the row into h, whose slices it reuses, and verifies the
// checksum. It fills h even if that is wrong; the error is errSum then.
func (d *dnsRow) decode(h *ddns.Host, zones *zoneMemo, s *summer) (err error) {
	if h.Name, err = dnsname.Parse(d.name); err != nil {
		return err
	}
	if h.Zone, err = zones.parse(d.zone); err != nil {
		return err
	}
	h.TTL, h.Generation = uint32(d.ttl), uint64(d.generation)
	if err := setFlags(h, d.flags); err != nil {
		return err
	}
	if h.A, h.AAAA, err = addrs(h.A[:0], h.AAAA[:0], d.addresses); err != nil {
		return err
	}
	if err := setDetail(h, d.detail); err != nil {
		return err
	}
	if d.sum != sumDNS(s, h) {
		return errSum
	}
	return nil
}

// decodeDNS reads dnsColumns, and leaves the reader at what follows them.
func decodeDNS(h *ddns.Host, row []driver.Value, s *summer) (id int64, r reader, err error) {
	r = reader{row: row}
	id = r.num()
	d := dnsRow{name: r.text(), zone: r.text(), ttl: r.num(), flags: r.text(), addresses: r.text(), detail: r.text(), generation: r.num(), sum: r.num()}
	if r.err == nil {
		r.err = d.decode(h, new(zoneMemo), s)
	}
	return id, r, r.err
}

// joinedColumns are dnsColumns without id as one value, a line each: asking the
// driver for a column costs more than decoding it.
const joinedColumns = "cast(name || '\n' || zone || '\n' || ttl || '\n' || flags || '\n' || addresses || '\n' || coalesce(detail, '') || '\n' || generation || '\n' || dns_sum as blob)"

// split reads joinedColumns. The texts share the value's octets, which nobody changes.
func (d *dnsRow) split(value driver.Value) error {
	octets, _ := value.([]byte)
	rest := unsafe.String(unsafe.SliceData(octets), len(octets))
	var numbers [3]string
	for _, into := range []*string{&d.name, &d.zone, &numbers[0], &d.flags, &d.addresses, &d.detail, &numbers[1], &numbers[2]} {
		*into, rest, _ = strings.Cut(rest, "\n")
	}
	if rest != "" {
		return errors.New("has a line break in a column")
	}
	for i, into := range []*int64{&d.ttl, &d.generation, &d.sum} {
		n, err := strconv.ParseInt(numbers[i], 10, 64)
		if err != nil {
			return err
		}
		*into = n
	}
	return nil
}

// zoneMemo remembers the zone parsed last; hosts of a zone come in a row.
type zoneMemo struct {
	text string
	name dnsname.Name
}

func (m *zoneMemo) parse(text string) (dnsname.Name, error) {
	if text == m.text && text != "" {
		return m.name, nil
	}
	n, err := dnsname.Parse(text)
	if err == nil {
		m.text, m.name = strings.Clone(text), n
	}
	return n, err
}

// rowName is what to call a row in a message, before it is known to be sound.
func rowName(row []driver.Value) string {
	if len(row) > 1 {
		if name, ok := row[1].(string); ok {
			return fmt.Sprintf("host %.300q", name)
		}
	}
	return "a host"
}

// readRest reads what hostColumns has beyond dnsColumns, and returns the checksum there.
func readRest(h *ddns.Host, r *reader) int64 {
	h.Published = uint64(r.num())
	h.ChangedAt = r.time()
	h.ChangedBy = r.text()
	h.Seen = r.time()
	h.Busy = r.time()
	r.next() // due is derived
	h.Refusals = uint64(r.num())
	h.Created = r.time()
	rule, err := ddns.ParseAddressRule(r.text())
	r.fail(err)
	h.Addresses = rule
	h.Lease = time.Duration(r.num()) * time.Microsecond
	if ids := r.text(); ids != "" {
		h.Credentials = strings.Split(ids, " ")
	}
	if shown := r.text(); shown != "" {
		r.fail(json.Unmarshal([]byte(shown), &h.Shown))
	}
	return r.num()
}

// errSum: a row's checksum is not that of what the row says.
var errSum = errors.New("its checksum does not match")

// decodeHost reads hostColumns and verifies both checksums. A bad row gives a *DamagedError.
func decodeHost(row []driver.Value) (id int64, h *ddns.Host, err error) {
	h = new(ddns.Host)
	s := summer{make([]byte, 0, 256)}
	id, r, err := decodeDNS(h, row, &s)
	if err != nil {
		return id, nil, &DamagedError{rowName(row), err.Error()}
	}
	dns := row[dnsSumColumn].(int64)
	sum := readRest(h, &r)
	if r.err == nil && sum != sumRest(&s, h, dns) {
		r.err = errSum
	}
	if r.err != nil {
		return id, nil, &DamagedError{rowName(row), r.err.Error()}
	}
	if len(h.A) == 0 {
		h.A = nil
	}
	if len(h.AAAA) == 0 {
		h.AAAA = nil
	}
	return id, h, nil
}

// due is the column of NextDue.
func due(h *ddns.Host) driver.Value {
	if t := h.NextDue(); !t.IsZero() {
		return micros(t)
	}
	return nil
}

// hostValues are a host's row in the order of hostColumns, without id.
func hostValues(h *ddns.Host) ([]driver.Value, error) {
	det, err1 := encodeDetail(h)
	shown, err2 := encodeShown(h.Shown)
	dns, rest := sums(h)
	return []driver.Value{h.Name.String(), h.Zone.String(), int64(h.TTL), flags(h), string(appendAddrs(nil, h.A, h.AAAA)), det,
		int64(h.Generation), dns, int64(h.Published), micros(h.ChangedAt), h.ChangedBy, micros(h.Seen), micros(h.Busy), due(h),
		int64(h.Refusals), micros(h.Created), h.Addresses.String(), h.Lease.Microseconds(), strings.Join(h.Credentials, " "), shown, rest,
	}, errors.Join(err1, err2)
}

// insertHost adds a host's row and returns its id. recent is its first event.
func insertHost(c *conn, h *ddns.Host, recent string) (int64, error) {
	values, err := hostValues(h)
	if err != nil {
		return 0, err
	}
	if err := c.run("insert into hosts ("+hostColumns+", recent, chunks) values (null, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		append(values, padRecent([]byte(recent)), noChunks)...); err != nil {
		return 0, err
	}
	return c.lastID()
}

const (
	setState  = "update hosts set addresses = ?, dns_sum = ?, generation = ?, published = ?, changed = ?, changed_by = ?, seen = ?, busy = ?, due = ?, refusals = ?, sum = ?"
	setRest   = ", zone = ?, ttl = ?, flags = ?, detail = ?, created = ?, policy = ?, lease = ?, credentials = ?, shown = ?"
	setRecent = ", recent = ?"
	setChunks = ", chunks = ?"
	whereID   = " where id = ?"
)

// updateHost rewrites a host's row. Most updates change addresses and counters
// only; for them a statement with half the arguments does. recent "" and chunks
// nil leave those columns.
func updateHost(c *conn, id int64, before, h *ddns.Host, recent string, chunks []byte) error {
	dns, rest := sums(h)
	var room [25]driver.Value
	args := append(room[:0], string(appendAddrs(make([]byte, 0, 64), h.A, h.AAAA)), dns, int64(h.Generation), int64(h.Published), micros(h.ChangedAt),
		h.ChangedBy, micros(h.Seen), micros(h.Busy), due(h), int64(h.Refusals), rest)
	short := sameButState(before, h)
	if !short {
		det, err1 := encodeDetail(h)
		shown, err2 := encodeShown(h.Shown)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		args = append(args, h.Zone.String(), int64(h.TTL), flags(h), det, micros(h.Created), h.Addresses.String(), h.Lease.Microseconds(),
			strings.Join(h.Credentials, " "), shown)
	}
	if recent != "" {
		args = append(args, recent)
	}
	if chunks != nil {
		args = append(args, chunks)
	}
	args = append(args, id)
	switch { // constants, so that no text is put together for each update
	case short && chunks != nil:
		return c.run(setState+setRecent+setChunks+whereID, args...)
	case short && recent != "":
		return c.run(setState+setRecent+whereID, args...)
	case short:
		return c.run(setState+whereID, args...)
	case chunks != nil:
		return c.run(setState+setRest+setRecent+setChunks+whereID, args...)
	case recent != "":
		return c.run(setState+setRest+setRecent+whereID, args...)
	}
	return c.run(setState+setRest+whereID, args...)
}

// sameButState tells whether b differs from a at most in what the short
// statement of updateHost writes.
func sameButState(a, b *ddns.Host) bool {
	return a.Zone == b.Zone && a.TTL == b.TTL && a.Addresses == b.Addresses && a.Free == b.Free && a.SeedOff == b.SeedOff &&
		a.Suspended == b.Suspended && a.Wildcard == b.Wildcard && a.Removed == b.Removed && a.Lease == b.Lease &&
		a.Prefix == b.Prefix && equal(a.Followers, b.Followers) && equal(a.TXT, b.TXT) && equal(a.Credentials, b.Credentials) &&
		a.Created.Equal(b.Created) && sameShown(a.Shown, b.Shown)
}

// equal is slices.Equal with a short cut for slices that are one and the same.
func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func sameShown(a, b []ddns.RRset) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}
