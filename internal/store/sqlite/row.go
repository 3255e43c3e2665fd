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

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// The columns of hosts, in the order in which rows are read. dns is all that DNS
// needs of a host, state is the rest; both are JSON arrays. See appendDNS and appendState.
const (
	hostColumns  = "id, dns, state"
	entryColumns = hostColumns + ", recent, chunks"
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
	h.Ends = stored(h.Ends)
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

// appendAddrs writes addresses as text, separated by spaces; from is where the
// first one begins.
func appendAddrs(dst []byte, from int, lists ...[]netip.Addr) []byte {
	for _, list := range lists {
		for _, a := range list {
			if len(dst) > from {
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
	Ends      int64           `json:"ends,omitempty"`
}

func setDetail(h *ddns.Host, text string) error {
	h.Prefix, h.Followers, h.TXT, h.Ends = netip.Prefix{}, nil, nil, time.Time{}
	if text == "" {
		return nil
	}
	var d detail
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return err
	}
	h.Prefix, h.Followers, h.TXT, h.Ends = d.Prefix, d.Followers, d.TXT, fromMicros(d.Ends)
	for i := range h.TXT {
		h.TXT[i].Time = stored(h.TXT[i].Time)
	}
	return nil
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
	if !h.Ends.IsZero() {
		s.time(h.Ends)
	}
	return s.sum()
}

// sumState is the checksum of a row's column state. It begins with the first
// one, so that parts of two rows cannot be mixed.
func sumState(s *summer, h *ddns.Host, applied, dns int64) int64 {
	s.b = s.b[:0]
	s.num(uint64(dns))
	s.num(uint64(applied))
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

// appendDNS writes the column dns: name, zone, TTL, flags, addresses, generation,
// checksum, and what few hosts have if this one has it.
func appendDNS(dst []byte, h *ddns.Host, s *summer) ([]byte, int64, error) {
	sum := sumDNS(s, h)
	dst = appendText(append(dst, '['), h.Name.String())
	dst = appendText(append(dst, ','), h.Zone.String())
	dst = strconv.AppendUint(append(dst, ','), uint64(h.TTL), 10)
	dst = appendText(append(dst, ','), flags(h))
	dst = append(dst, ',', '"')
	from := len(dst)
	dst = appendAddrs(dst, from, h.A, h.AAAA)
	dst = strconv.AppendUint(append(dst, '"', ','), h.Generation, 10)
	dst = strconv.AppendInt(append(dst, ','), sum, 10)
	if h.Prefix.IsValid() || len(h.Followers) > 0 || len(h.TXT) > 0 || !h.Ends.IsZero() {
		text, err := json.Marshal(detail{h.Prefix, h.Followers, h.TXT, micros(h.Ends)})
		if err != nil {
			return nil, 0, err
		}
		dst = append(append(dst, ','), text...)
	}
	return append(dst, ']'), sum, nil
}

// appendState writes the column state: published, changed, changed by, seen, busy,
// refusals, created, policy, lease, credentials, applied, checksum, and what DNS
// showed at published if that is known. dns is the checksum of the column dns.
func appendState(dst []byte, h *ddns.Host, applied, dns int64, s *summer) ([]byte, error) {
	dst = strconv.AppendUint(append(dst, '['), h.Published, 10)
	dst = strconv.AppendInt(append(dst, ','), micros(h.ChangedAt), 10)
	dst = appendText(append(dst, ','), h.ChangedBy)
	dst = strconv.AppendInt(append(dst, ','), micros(h.Seen), 10)
	dst = strconv.AppendInt(append(dst, ','), micros(h.Busy), 10)
	dst = strconv.AppendUint(append(dst, ','), h.Refusals, 10)
	dst = strconv.AppendInt(append(dst, ','), micros(h.Created), 10)
	dst = appendText(append(dst, ','), h.Addresses.String())
	dst = strconv.AppendInt(append(dst, ','), h.Lease.Microseconds(), 10)
	dst = appendText(append(dst, ','), strings.Join(h.Credentials, " "))
	dst = strconv.AppendInt(append(dst, ','), applied, 10)
	dst = strconv.AppendInt(append(dst, ','), sumState(s, h, applied, dns), 10)
	if len(h.Shown) > 0 {
		text, err := json.Marshal(h.Shown)
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, ','), text...)
	}
	return append(dst, ']'), nil
}

// decodeDNS reads what appendDNS wrote into h, whose slices it reuses, and
// verifies the checksum, which it returns. It fills h even if that is wrong; the
// error is errSum then.
func decodeDNS(h *ddns.Host, column string, zones *zoneMemo, s *summer) (sum int64, err error) {
	v := values{rest: column}
	name, zone, ttl, words, list := v.text(), v.text(), v.num(), v.text(), v.text()
	h.TTL, h.Generation = uint32(ttl), uint64(v.num())
	sum = v.num()
	more := v.last()
	if v.err != nil {
		return 0, v.err
	}
	if h.Name, err = dnsname.Parse(name); err != nil {
		return 0, err
	}
	if h.Zone, err = zones.parse(zone); err != nil {
		return 0, err
	}
	if err := setFlags(h, words); err != nil {
		return 0, err
	}
	if h.A, h.AAAA, err = addrs(h.A[:0], h.AAAA[:0], list); err != nil {
		return 0, err
	}
	if err := setDetail(h, more); err != nil {
		return 0, err
	}
	if sum != sumDNS(s, h) {
		return sum, errSum
	}
	return sum, nil
}

// decodeState reads what appendState wrote, and verifies the checksum.
func decodeState(h *ddns.Host, column string, dns int64, s *summer) (applied int64, err error) {
	v := values{rest: column}
	h.Published = uint64(v.num())
	h.ChangedAt = fromMicros(v.num())
	h.ChangedBy = strings.Clone(v.text())
	h.Seen, h.Busy = fromMicros(v.num()), fromMicros(v.num())
	h.Refusals = uint64(v.num())
	h.Created = fromMicros(v.num())
	policy := v.text()
	h.Lease = time.Duration(v.num()) * time.Microsecond
	if ids := v.text(); ids != "" {
		h.Credentials = strings.Split(strings.Clone(ids), " ")
	}
	applied = v.num()
	sum := v.num()
	if shown := v.last(); shown != "" {
		v.fail(json.Unmarshal([]byte(shown), &h.Shown))
	}
	h.Addresses, err = ddns.ParseAddressRule(policy)
	v.fail(err)
	if v.err == nil && sum != sumState(s, h, applied, dns) {
		v.err = errSum
	}
	return applied, v.err
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

// columnName is what to call a host in a message, of whose column dns it is not
// known whether it is sound.
func columnName(dns string) string {
	v := values{rest: dns}
	if name := v.text(); v.err == nil {
		return fmt.Sprintf("host %.300q", name)
	}
	return fmt.Sprintf("host %.300q", dns)
}

// errSum: a row's checksum is not that of what the row says.
var errSum = errors.New("its checksum does not match")

// decodeHost reads the columns dns and state, and verifies both checksums. A
// damaged one gives a *DamagedError.
func decodeHost(dns, state string) (h *ddns.Host, applied int64, err error) {
	h = new(ddns.Host)
	s := summer{make([]byte, 0, 256)}
	sum, err := decodeDNS(h, dns, new(zoneMemo), &s)
	if err == nil {
		applied, err = decodeState(h, state, sum, &s)
	}
	if err != nil {
		return nil, 0, &DamagedError{columnName(dns), err.Error()}
	}
	if len(h.A) == 0 {
		h.A = nil
	}
	if len(h.AAAA) == 0 {
		h.AAAA = nil
	}
	return h, applied, nil
}

// decodeRow reads hostColumns, or entryColumns. A damaged row gives a *DamagedError.
func decodeRow(row []driver.Value) (*entry, error) {
	id, _ := row[0].(int64)
	dns, _ := row[1].(string)
	state, _ := row[2].(string)
	h, applied, err := decodeHost(dns, state)
	if err != nil {
		return nil, err
	}
	e := &entry{id: id, host: h, applied: applied}
	if len(row) > 3 {
		recent, _ := row[3].(string)
		e.recent = trimRecent(recent)
		if e.chunks, _ = row[4].([]byte); len(e.chunks) != len(noChunks) {
			return nil, &DamagedError{"host " + h.Name.String(), "its history cannot be found"}
		}
	}
	return e, nil
}

// due and unpublished are the columns by which hosts are found that something is
// to be done about; null for all others.
func due(h *ddns.Host) driver.Value {
	if t := h.NextDue(); !t.IsZero() {
		return micros(t)
	}
	return nil
}

func unpublished(h *ddns.Host) driver.Value {
	if h.Published < h.Generation {
		return int64(1)
	}
	return nil
}

// foundAlike tells whether two states of a host have the same due and unpublished.
func foundAlike(a, b *ddns.Host) bool {
	return unpublished(a) == unpublished(b) && a.NextDue().Equal(b.NextDue())
}

// encodeHost makes the columns dns and state.
func encodeHost(h *ddns.Host, applied int64) (dns, state string, err error) {
	s := summer{make([]byte, 0, 256)}
	room := make([]byte, 0, 512)
	first, sum, err := appendDNS(room, h, &s)
	if err != nil {
		return "", "", err
	}
	second, err := appendState(first[len(first):], h, applied, sum, &s)
	return string(first), string(second), err
}

// insertHost adds a host's row and sets its id.
func insertHost(c *conn, e *entry) error {
	dns, state, err := encodeHost(e.host, e.applied)
	if err != nil {
		return err
	}
	if err := c.run("insert into hosts values (null, ?, ?, ?, ?, ?, ?)",
		dns, state, due(e.host), unpublished(e.host), padRecent(e.recent, len(dns)+len(state)), e.chunks); err != nil {
		return err
	}
	e.id, err = c.lastID()
	return err
}

// updateHost rewrites a host's row; before is what the row says now.
func updateHost(c *conn, before *ddns.Host, e *entry) error {
	dns, state, err := encodeHost(e.host, e.applied)
	if err != nil {
		return err
	}
	recent := padRecent(e.recent, len(dns)+len(state))
	if foundAlike(before, e.host) {
		return c.run("update hosts set dns = ?, state = ?, recent = ?, chunks = ? where id = ?", dns, state, recent, e.chunks, e.id)
	}
	return c.run("update hosts set dns = ?, state = ?, recent = ?, chunks = ?, due = ?, unpublished = ? where id = ?",
		dns, state, recent, e.chunks, due(e.host), unpublished(e.host), e.id)
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
