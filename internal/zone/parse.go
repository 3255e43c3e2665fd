package zone

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
)

const (
	// maxFile bounds a zone file in octets, maxRecords its records.
	maxFile    = 16 << 20
	maxRecords = 100_000
	// maxSet bounds an RRset in octets, so that it fits into a response by TCP
	// with everything that may stand beside it.
	maxSet = 48 << 10
)

// A FileError says what is wrong in a zone file, where, and what to do.
type FileError struct {
	File string
	Line int // the first line is 1
	Why  string
	Fix  string
}

func (e *FileError) Error() string {
	if e.Fix == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Why)
	}
	return fmt.Sprintf("%s:%d: %s; %s", e.File, e.Line, e.Why, e.Fix)
}

// Parse reads a zone file (RFC 1035 section 5) with the static records of the
// zone apex. file is its name, for messages only: Parse opens nothing, and
// $INCLUDE and $GENERATE are refused. Names without a trailing dot are relative
// to $ORIGIN, at first the apex. A record without a TTL has that of $TTL, else
// of the record before it, else 3600.
//
// Each record is checked on its own and against the others: in the zone, class
// IN, nothing beside a CNAME, nothing but glue below a delegation, one TTL per
// RRset. An error is a *[FileError], or one of r.
func Parse(r io.Reader, file string, apex dnsname.Name) (*Records, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	p := &parser{records: newRecords(file, apex), origin: apex, scan: scanner{text: string(text), line: 1}}
	if len(text) > maxFile {
		return nil, p.bad(1, fmt.Sprintf("the file is larger than %d MiB", maxFile>>20), "keep hosts out of it: they are added with 'host add'")
	}
	for {
		e, err := p.scan.next()
		if err != nil {
			return nil, p.bad(err.line, err.why, err.fix)
		}
		if len(e.fields) == 0 {
			break
		}
		p.line = e.line
		if err := p.entry(e); err != nil {
			return nil, err
		}
	}
	if err := p.records.check(); err != nil {
		return nil, err
	}
	return p.records, nil
}

type parser struct {
	records *Records
	scan    scanner
	line    int
	origin  dnsname.Name
	owner   dnsname.Name // of the record before; zero: none yet
	ttl     uint32
	haveTTL bool // ttl was given, by $TTL or a record
	fixed   bool // ttl was given by $TTL
}

func (p *parser) bad(line int, why, fix string) error {
	return &FileError{File: p.records.file, Line: line, Why: why, Fix: fix}
}

func (p *parser) fail(why, fix string) error { return p.bad(p.line, why, fix) }

// name reads a name that may be relative to the origin.
func (p *parser) name(field string) (dnsname.Name, error) {
	if field == "@" {
		return p.origin, nil
	}
	if !absolute(field) {
		if p.origin == dnsname.Root {
			field += "."
		} else {
			field += "." + p.origin.FQDN()
		}
	}
	n, err := dnsname.Parse(field)
	if err != nil {
		return n, p.fail(err.Error(), "")
	}
	return n, nil
}

// absolute tells whether a name ends in a dot that is not escaped.
func absolute(field string) bool {
	if !strings.HasSuffix(field, ".") {
		return false
	}
	slashes := 0
	for i := len(field) - 2; i >= 0 && field[i] == '\\'; i-- {
		slashes++
	}
	return slashes%2 == 0
}

func (p *parser) entry(e entry) error {
	if strings.HasPrefix(e.fields[0], "$") && !e.blank {
		return p.directive(e.fields)
	}
	fields := e.fields
	if !e.blank {
		owner, err := p.name(fields[0])
		if err != nil {
			return err
		}
		p.owner = owner
		fields = fields[1:]
	}
	if p.owner.IsZero() {
		return p.fail("a record without an owner name, and none before it", "start the line with a name, or with @ for the zone itself")
	}
	if !p.owner.Under(p.records.apex) {
		return p.fail(fmt.Sprintf("%s is not in zone %s", p.owner, p.records.apex), "names without a trailing dot are relative to "+p.origin.FQDN()+"; remove the record, or move it to its own zone's file")
	}
	ttl, rrtype, fields, err := p.head(fields)
	if err != nil {
		return err
	}
	if len(fields) == 0 {
		return p.fail(typeName(rrtype)+" record without data", "add its data")
	}
	return p.record(rrtype, ttl, fields)
}

func (p *parser) directive(fields []string) error {
	switch name := strings.ToUpper(fields[0]); {
	case name == "$ORIGIN" && len(fields) == 2:
		origin, err := p.name(fields[1])
		if err != nil {
			return err
		}
		p.origin = origin
	case name == "$TTL" && len(fields) == 2:
		ttl, ok := parseTTL(fields[1])
		if !ok {
			return p.fail(fmt.Sprintf("%q is not a TTL", fields[1]), "give seconds, or a form such as 1h30m")
		}
		p.ttl, p.haveTTL, p.fixed = ttl, true, true
	case name == "$ORIGIN", name == "$TTL":
		return p.fail(name+" takes one value", "write one, such as $ORIGIN "+p.records.apex.FQDN()+" or $TTL 3600")
	case name == "$INCLUDE":
		return p.fail("$INCLUDE is not supported", "put the records into this file")
	case name == "$GENERATE":
		return p.fail("$GENERATE is not supported", "write the records out")
	default:
		return p.fail(fmt.Sprintf("%.20q is not a directive", fields[0]), "the known ones are $ORIGIN and $TTL")
	}
	return nil
}

// head reads TTL, class and type, the first two in any order or not at all, and
// returns the fields after them.
func (p *parser) head(fields []string) (ttl uint32, rrtype uint16, rest []string, err error) {
	ttl = defaultTTL
	if p.haveTTL {
		ttl = p.ttl
	}
	var sawTTL, sawClass bool
	for len(fields) > 0 {
		field := strings.ToUpper(fields[0])
		fields = fields[1:]
		class, isClass := dns.StringToClass[field]
		switch {
		case field == "IN" && !sawClass:
			sawClass = true
			continue
		case isClass && class != dns.ClassANY || strings.HasPrefix(field, "CLASS"):
			return 0, 0, nil, p.fail("class "+field, "godwit serves class IN only; write IN, or nothing")
		}
		if value, ok := parseTTL(field); ok && !sawTTL {
			ttl, sawTTL = value, true
			if !p.fixed {
				p.ttl, p.haveTTL = value, true
			}
			continue
		}
		if rrtype, ok := parseType(field); ok {
			return ttl, rrtype, fields, nil
		}
		return 0, 0, nil, p.fail(fmt.Sprintf("%.40q is not a record type", field), `write: NAME TTL IN TYPE DATA, and a type without a name here as TYPE45 \# LENGTH HEX`)
	}
	return 0, 0, nil, p.fail("a line without a record type", "write: NAME TTL IN TYPE DATA")
}

func parseType(field string) (uint16, bool) {
	if number, ok := strings.CutPrefix(field, "TYPE"); ok {
		n, err := strconv.ParseUint(number, 10, 16)
		return uint16(n), err == nil
	}
	rrtype, ok := dns.StringToType[field]
	return rrtype, ok
}

// parseTTL reads seconds, or numbers with the units of BIND: 1w2d3h4m5s.
func parseTTL(field string) (uint32, bool) {
	var total, n uint64
	digits, units := 0, 0
	for i := range len(field) {
		c := field[i]
		if '0' <= c && c <= '9' {
			if n = n*10 + uint64(c-'0'); n > maxTTL {
				return 0, false
			}
			digits++
			continue
		}
		unit := map[byte]uint64{'S': 1, 'M': 60, 'H': 3600, 'D': 86400, 'W': 604800}[c&^0x20]
		if unit == 0 || digits == 0 {
			return 0, false
		}
		total += n * unit
		n, digits = 0, 0
		units++
	}
	if digits > 0 && units > 0 || digits == 0 && units == 0 {
		return 0, false
	}
	total += n
	return uint32(total), total <= maxTTL
}

// record reads the data of one record and adds it.
func (p *parser) record(rrtype uint16, ttl uint32, fields []string) error {
	if why, fix := refused(rrtype); why != "" {
		return p.fail(why, fix)
	}
	if p.owner.IsWildcard() && (rrtype == dns.TypeNS || rrtype == dns.TypeDNAME) {
		return p.fail(typeName(rrtype)+" record at a wildcard", "nobody agrees what that means (RFC 4592 section 4); name each child")
	}
	if rrtype == dns.TypeSOA {
		return p.soa(ttl, fields)
	}
	rdata, err := p.rdata(rrtype, fields)
	if err != nil {
		return err
	}
	if p.records.count >= maxRecords {
		return p.fail(fmt.Sprintf("more than %d records", maxRecords), "keep hosts out of the file: they are added with 'host add'")
	}
	s, added := p.records.add(p.owner, rrtype, ttl, rdata, p.line)
	if s.ttl != ttl {
		return p.fail(fmt.Sprintf("%s %s has TTL %d here and %d on line %d", p.owner, typeName(rrtype), ttl, s.ttl, s.line), "give all records of one name and type one TTL (RFC 2181 section 5.2)")
	}
	if !added {
		return nil
	}
	if s.size += len(rdata) + 12; s.size > maxSet {
		return p.fail(fmt.Sprintf("the %s records of %s do not fit into a message", typeName(rrtype), p.owner), "use fewer of them")
	}
	return nil
}

// refused says why records of a type cannot be in a zone file, and what to do.
func refused(rrtype uint16) (why, fix string) {
	name := typeName(rrtype)
	switch rrtype {
	case dns.TypeDNSKEY, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeCDS, dns.TypeCDNSKEY:
		return name + " records are made by the server, for a zone that it signs", "remove the record, and start the server with --dnssec and the zone's name to have it signed"
	case dns.TypeSIG, dns.TypeKEY, dns.TypeNXT, dns.TypeDLV:
		return name + " records are obsolete", "remove the record"
	case 3, 4, 7, 8, 9, 10, 14, 38: // MD, MF, MB, MG, MR, NULL, MINFO, A6
		return name + " records are obsolete", "remove the record"
	}
	if rrtype == 0 || rrtype == dns.TypeOPT || 128 <= rrtype && rrtype <= 255 || rrtype == 65535 {
		return name + " is not a type that a zone can hold (RFC 6895 section 3.1)", "remove the record"
	}
	return "", ""
}

// rdata reads record data. The types with names that a response compresses are
// read here, with the names of package dnsname; the library has the others.
func (p *parser) rdata(rrtype uint16, fields []string) ([]byte, error) {
	generic := fields[0] == `\#`
	switch {
	case (rrtype == dns.TypeA || rrtype == dns.TypeAAAA) && !generic:
		addr, err := netip.ParseAddr(fields[0])
		if err != nil || len(fields) != 1 || addr.Zone() != "" || addr.Is6() != (rrtype == dns.TypeAAAA) {
			return nil, p.fail(fmt.Sprintf("%.60q is not the address of an %s record", strings.Join(fields, " "), typeName(rrtype)), "give one such as "+map[bool]string{true: "2001:db8::1", false: "192.0.2.1"}[rrtype == dns.TypeAAAA])
		}
		return addr.AsSlice(), nil
	case rrtype == dns.TypeNS, rrtype == dns.TypeCNAME, rrtype == dns.TypePTR, rrtype == dns.TypeDNAME:
		if len(fields) != 1 || generic {
			return nil, p.fail(typeName(rrtype)+" record takes one name", "write the name alone")
		}
		n, err := p.name(fields[0])
		return []byte(n.Wire()), err
	case rrtype == dns.TypeMX:
		if len(fields) != 2 || generic {
			return nil, p.fail("MX record takes a preference and a name", "write it as: MX 10 mail.example.com.")
		}
		preference, err := strconv.ParseUint(fields[0], 10, 16)
		if err != nil {
			return nil, p.fail(fmt.Sprintf("%.20q is not a preference", fields[0]), "give a number from 0 to 65535")
		}
		n, err := p.name(fields[1])
		return append([]byte{byte(preference >> 8), byte(preference)}, n.Wire()...), err
	}
	return p.libraryData(rrtype, fields)
}

// libraryData reads record data with the DNS library.
func (p *parser) libraryData(rrtype uint16, fields []string) ([]byte, error) {
	// An unknown type may have no data (RFC 3597 section 5). The library takes that
	// for types that need some, too: it packs a wrong record, or panics (RP).
	if _, known := dns.TypeToString[rrtype]; known && fields[0] == `\#` && len(fields) > 1 {
		if n, err := strconv.Atoi(fields[1]); err == nil && n == 0 {
			return nil, p.fail(typeName(rrtype)+" record without data", "add its data")
		}
	}
	// The library's names take \. and \DDD for what they are not, so a name with
	// them would come out as another one. Texts are quoted; they may have them.
	if rrtype != dns.TypeTXT && fields[0] != `\#` {
		for _, f := range fields {
			if f[0] != '"' && strings.ContainsFunc(f, func(r rune) bool { return r == '\\' || r > '~' }) {
				return nil, p.fail(fmt.Sprintf("%.60q has an escape or a letter beyond ASCII", f), "write texts in quotes and names as A-labels")
			}
		}
	}
	origin := p.origin.FQDN()
	if strings.Contains(origin, `\`) {
		return nil, p.fail("the origin "+origin+" has an escape", "use another $ORIGIN for this record")
	}
	typeText := typeName(rrtype)
	data := strings.Join(fields, " ")
	if isService(rrtype) {
		data = joinService(fields)
	}
	text := ". 0 IN " + typeText + " " + data + "\n"
	zp := dns.NewZoneParser(strings.NewReader(text), origin, "")
	rr, ok := zp.Next()
	if err := zp.Err(); err != nil || !ok || rr == nil {
		return nil, p.fail("the data of this "+typeText+" record is not understood"+reason(err), "check it, or write it in the form of RFC 3597: \\# LENGTH HEX")
	}
	if _, more := zp.Next(); more {
		return nil, p.fail("more than one record on the line", "write one record")
	}
	m := &dns.Msg{Answer: []dns.RR{rr}}
	err := m.Pack()
	if err == nil {
		// The library packs names that are too long; reading them back tells.
		err = (&dns.Msg{Data: m.Data}).Unpack()
	}
	// Header, the root as owner, type, class, TTL and length come before the data.
	const before = headerLen + 1 + 10
	if err == nil && len(m.Data) > before+2 && isService(rrtype) {
		err = orderService(m.Data[before:])
	}
	if err != nil || len(m.Data) < before {
		return nil, p.fail("the data of this "+typeText+" record is not valid"+reason(err), "check it")
	}
	rdata := m.Data[before:len(m.Data):len(m.Data)]
	lowerNames(rrtype, rdata)
	return rdata, nil
}

// lowerNames puts the names in the data of a record into lower case, as they are
// signed (RFC 4034 section 6.2): of the types that came before signatures, and of
// no others (RFC 3597 section 7).
func lowerNames(rrtype uint16, rdata []byte) {
	at, names := 0, 1
	switch rrtype {
	case dns.TypeAFSDB, dns.TypeRT, dns.TypeKX:
		at = 2
	case dns.TypePX:
		at, names = 2, 2
	case dns.TypeSRV:
		at = 6
	case dns.TypeRP:
		names = 2
	case dns.TypeNAPTR:
		at = 4
		for range 3 { // flags, services, regular expression
			if at < len(rdata) {
				at += 1 + int(rdata[at])
			}
		}
	default:
		return
	}
	for ; names > 0; names-- {
		for at < len(rdata) && rdata[at] != 0 {
			n := 1 + int(rdata[at])
			for i := at + 1; i < min(at+n, len(rdata)); i++ {
				if c := rdata[i]; c-'A' < 26 {
					rdata[i] = c + 'a' - 'A'
				}
			}
			at += n
		}
		at++
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(" (%.120s)", strings.ReplaceAll(err.Error(), "\n", " "))
}

// soa reads the SOA record. Its serial is read and dropped.
func (p *parser) soa(ttl uint32, fields []string) error {
	if p.owner != p.records.apex {
		return p.fail("SOA record at "+p.owner.String(), "it belongs to the zone's apex, "+p.records.apex.String())
	}
	if p.records.soa != nil {
		return p.fail("a second SOA record", "keep one of them")
	}
	if len(fields) != 7 {
		return p.fail(fmt.Sprintf("SOA record of %d fields", len(fields)), "write: SOA MNAME RNAME SERIAL REFRESH RETRY EXPIRE MINIMUM")
	}
	var names [2]dnsname.Name
	var numbers [5]uint32
	for i := range names {
		n, err := p.name(fields[i])
		if err != nil {
			return err
		}
		names[i] = n
	}
	for i := range numbers {
		if i == 0 {
			if _, err := strconv.ParseUint(fields[2], 10, 32); err != nil {
				return p.fail(fmt.Sprintf("%.20q is not a serial", fields[2]), "give any number up to 4294967295; the server makes its own serials")
			}
			continue
		}
		v, ok := parseTTL(strings.ToUpper(fields[2+i]))
		if !ok {
			return p.fail(fmt.Sprintf("%.20q is not a time", fields[2+i]), "give seconds, or a form such as 4h")
		}
		numbers[i] = v
	}
	p.records.soa = &soa{
		mname: []byte(names[0].Wire()), rname: []byte(names[1].Wire()), ttl: ttl,
		refresh: numbers[1], retry: numbers[2], expire: numbers[3], minimum: numbers[4],
	}
	p.records.count++
	return nil
}
