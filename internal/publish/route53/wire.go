package route53

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// The namespace and version of the API, which has only this one.
const (
	namespace = "https://route53.amazonaws.com/doc/2013-04-01/"
	version   = "/2013-04-01/"
)

// key is the place of an RRset.
type key struct {
	owner dnsname.Name
	t     ddns.Type
}

func keyOf(r *ddns.RRset) key { return key{r.Owner, r.Type} }

// record is an RRset as Route 53 has it or is to have it. The zero record is none.
type record struct {
	ddns.RRset
	// raw are the values as Route 53 wrote them: a DELETE gives them back as they
	// came. nil: made from the RRset.
	raw []string
	// foreign says why godwit cannot have made it and cannot replace it: an alias,
	// a routing policy, a CNAME in its place. The rest but owner and type is then zero.
	foreign string
}

func (r *record) isZero() bool { return r.Type == 0 }

// same tells whether two records show the same, in whatever order and spelling.
func (r *record) same(s *record) bool {
	if keyOf(&r.RRset) != keyOf(&s.RRset) || r.TTL != s.TTL || r.foreign != s.foreign ||
		len(r.Addrs) != len(s.Addrs) || len(r.Texts) != len(s.Texts) {
		return false
	}
	if slices.Equal(r.Addrs, s.Addrs) && slices.Equal(r.Texts, s.Texts) {
		return true
	}
	return slices.Equal(slices.SortedFunc(slices.Values(r.Addrs), netip.Addr.Compare), slices.SortedFunc(slices.Values(s.Addrs), netip.Addr.Compare)) &&
		slices.Equal(slices.Sorted(slices.Values(r.Texts)), slices.Sorted(slices.Values(s.Texts)))
}

// values are the record's values as they are sent.
func (r *record) values() []string {
	if r.raw != nil {
		return r.raw
	}
	values := make([]string, 0, len(r.Addrs)+len(r.Texts))
	for _, a := range r.Addrs {
		values = append(values, a.String())
	}
	for _, t := range r.Texts {
		values = append(values, string(appendText(nil, t)))
	}
	return values
}

// size is what a record costs in a batch: elements, and characters of values.
func (r *record) size() (elements, characters int) {
	elements = len(r.Addrs) + len(r.Texts)
	if r.raw != nil {
		for _, v := range r.raw {
			characters += len(v)
		}
		return elements, characters
	}
	var buf [64]byte
	for _, a := range r.Addrs {
		characters += len(a.AppendTo(buf[:0]))
	}
	for _, t := range r.Texts {
		characters += len(appendText(nil, t))
	}
	return elements, characters
}

// appendName writes an owner name as Route 53 does: absolute, octets other than
// a-z 0-9 - _ as \ooo.
func appendName(dst []byte, n dnsname.Name) []byte {
	for label := range n.Labels() {
		for i := range len(label) {
			switch c := label[i]; {
			case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_':
				dst = append(dst, c)
			default:
				dst = appendOctal(dst, c)
			}
		}
		dst = append(dst, '.')
	}
	return dst
}

func appendOctal(dst []byte, c byte) []byte {
	return append(dst, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
}

// octal reads what follows a backslash as three octal digits.
func octal(text string) (byte, bool) {
	if len(text) < 3 {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:3], 8, 8)
	return byte(n), err == nil
}

var errName = errors.New("not an owner name")

// parseName reads an owner name as Route 53 writes it.
func parseName(text string) (dnsname.Name, error) {
	if len(text) > 4*dnsname.MaxWire {
		return dnsname.Name{}, errName
	}
	text = strings.TrimSuffix(text, ".")
	wire := make([]byte, 1, len(text)+2) // each label's length goes before it
	start := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '.':
			start = len(wire)
			wire = append(wire, 0)
			continue
		case '\\':
			var ok bool
			if c, ok = octal(text[i+1:]); !ok {
				return dnsname.Name{}, errName
			}
			i += 3
		}
		if wire = append(wire, c); len(wire)-start > 64 {
			return dnsname.Name{}, errName
		}
		wire[start]++
	}
	if wire[start] == 0 { // empty, or an empty last label
		return dnsname.Name{}, errName
	}
	wire = append(wire, 0)
	n, used, err := dnsname.FromWire(wire)
	if err != nil || used != len(wire) {
		return dnsname.Name{}, errName
	}
	return n, nil
}

// position is where a name stands in listings: its labels in reverse, with a
// final dot, compared as octets.
func position(n dnsname.Name) string {
	labels := slices.Collect(n.Labels())
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

// maxString is how long one character string of a TXT record is (RFC 1035
// section 3.3.14).
const maxString = 255

// appendText writes a TXT value: character strings in quotation marks.
func appendText(dst []byte, text string) []byte {
	for first := true; first || text != ""; first = false {
		if !first {
			dst = append(dst, ' ')
		}
		n := min(len(text), maxString)
		dst = append(dst, '"')
		for i := range n {
			switch c := text[i]; {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c < ' ' || c > '~':
				dst = appendOctal(dst, c)
			default:
				dst = append(dst, c)
			}
		}
		dst, text = append(dst, '"'), text[n:]
	}
	return dst
}

// parseText reads a TXT value; its character strings are one text.
func parseText(value string) (string, bool) {
	var out []byte
	for n := 0; ; n++ {
		for value != "" && (value[0] == ' ' || value[0] == '\t') {
			value = value[1:]
		}
		if value == "" {
			return string(out), n > 0
		}
		if value[0] != '"' {
			return "", false
		}
		i := 1
		for ; i < len(value) && value[i] != '"'; i++ {
			c := value[i]
			if c == '\\' {
				if o, ok := octal(value[i+1:]); ok {
					c = o
					i += 3
				} else if i++; i < len(value) {
					c = value[i]
				} else {
					return "", false
				}
			}
			out = append(out, c)
		}
		if i >= len(value) {
			return "", false
		}
		value = value[i+1:]
	}
}

// appendEscaped writes text between tags. What is appended to values and names
// is printable ASCII.
func appendEscaped(dst, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendChange writes one change. The order of elements is the schema's, and
// Route 53 insists on it.
func appendChange(dst []byte, action string, r *record) []byte {
	var buf [256]byte
	dst = append(dst, "<Change><Action>"...)
	dst = append(dst, action...)
	dst = append(dst, "</Action><ResourceRecordSet><Name>"...)
	dst = appendName(dst, r.Owner) // needs no escapes of XML
	dst = append(dst, "</Name><Type>"...)
	dst = append(dst, r.Type.String()...)
	dst = append(dst, "</Type><TTL>"...)
	dst = strconv.AppendUint(dst, uint64(r.TTL), 10)
	dst = append(dst, "</TTL><ResourceRecords>"...)
	value := func(v []byte) {
		dst = append(dst, "<ResourceRecord><Value>"...)
		dst = appendEscaped(dst, v)
		dst = append(dst, "</Value></ResourceRecord>"...)
	}
	switch {
	case r.raw != nil:
		for _, v := range r.raw {
			value([]byte(v))
		}
	default:
		for _, a := range r.Addrs {
			value(a.AppendTo(buf[:0]))
		}
		for _, t := range r.Texts {
			value(appendText(buf[:0], t))
		}
	}
	return append(dst, "</ResourceRecords></ResourceRecordSet></Change>"...)
}

// appendBatch writes the body of one ChangeResourceRecordSets: what is to go,
// set by set before what is to come in its place.
func appendBatch(dst []byte, units []*unit) []byte {
	dst = append(dst, `<?xml version="1.0" encoding="UTF-8"?><ChangeResourceRecordSetsRequest xmlns="`+namespace+`"><ChangeBatch><Changes>`...)
	for _, u := range units {
		for i := range u.pairs {
			p := &u.pairs[i]
			if !p.before.isZero() {
				dst = appendChange(dst, "DELETE", &p.before)
			}
			if !p.after.isZero() {
				dst = appendChange(dst, "CREATE", &p.after)
			}
		}
	}
	return append(dst, "</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"...)
}

func changePath(zone string) string {
	return version + "hostedzone/" + url.PathEscape(zone) + "/rrset/"
}

// start is where a listing begins; the zero start is the zone's first set.
type start struct {
	name, rrType, identifier string // as Route 53 writes them
	items                    int    // at most maxPage
}

func (s start) path(zone string) string {
	path := version + "hostedzone/" + url.PathEscape(zone) + "/rrset?maxitems=" + strconv.Itoa(s.items)
	if s.identifier != "" {
		path += "&identifier=" + escape(s.identifier)
	}
	if s.name != "" {
		path += "&name=" + escape(s.name)
	}
	if s.rrType != "" {
		path += "&type=" + escape(s.rrType)
	}
	return path
}

// escape is for a query. Signatures want a blank as %20.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// page is one answer of a listing: our types only, in order.
type page struct {
	records []record
	next    *start // nil: this was the last page
}

// Bounds on one page, beyond which it is not believed.
const (
	maxPage   = 300
	maxValues = 400
)

type listResponse struct {
	XMLName xml.Name `xml:"ListResourceRecordSetsResponse"`
	Sets    []struct {
		Name       string
		Type       string
		Identifier *string `xml:"SetIdentifier"`
		TTL        uint32
		Values     []string  `xml:"ResourceRecords>ResourceRecord>Value"`
		Alias      *struct{} `xml:"AliasTarget"`
	} `xml:"ResourceRecordSets>ResourceRecordSet"`
	IsTruncated    *bool
	NextName       string `xml:"NextRecordName"`
	NextType       string `xml:"NextRecordType"`
	NextIdentifier string `xml:"NextRecordIdentifier"`
}

// decodeList reads one page. Sets of types that hosts have not, and at names
// that are none, are left out; a set that godwit cannot have made is foreign. A
// CNAME stands for both sets that cannot be beside it.
func decodeList(body []byte) (page, error) {
	var l listResponse
	if err := xml.Unmarshal(body, &l); err != nil {
		return page{}, fmt.Errorf("read Route 53's listing: %w", err)
	}
	if len(l.Sets) > maxPage {
		return page{}, fmt.Errorf("read Route 53's listing: %d sets on a page", len(l.Sets))
	}
	if l.IsTruncated == nil || *l.IsTruncated && (l.NextName == "" || l.NextType == "") {
		return page{}, errors.New("read Route 53's listing: it does not say where it goes on")
	}
	p := page{records: make([]record, 0, len(l.Sets))}
	for _, s := range l.Sets {
		owner, err := parseName(s.Name)
		if err != nil {
			continue
		}
		if s.Type == "CNAME" { // nothing else can stand beside it (RFC 1034 section 3.6.2)
			for _, t := range []ddns.Type{ddns.TypeA, ddns.TypeAAAA} {
				p.records = append(p.records, record{RRset: ddns.RRset{Owner: owner, Type: t}, foreign: "a CNAME"})
			}
			continue
		}
		r := record{RRset: ddns.RRset{Owner: owner}}
		if r.Type.UnmarshalText([]byte(s.Type)) != nil || r.Type == ddns.TypePrefix {
			continue
		}
		switch {
		case s.Alias != nil:
			r.foreign = "an alias"
		case s.Identifier != nil:
			r.foreign = "a routing policy"
		case len(s.Values) == 0 || len(s.Values) > maxValues || !r.parse(s.Values):
			r = record{RRset: ddns.RRset{Owner: r.Owner, Type: r.Type}, foreign: "values that cannot be read"}
		default:
			r.TTL, r.raw = s.TTL, s.Values
		}
		p.records = append(p.records, r)
	}
	if *l.IsTruncated {
		p.next = &start{l.NextName, l.NextType, l.NextIdentifier, maxPage}
	}
	return p, nil
}

// parse reads values into the RRset.
func (r *record) parse(values []string) bool {
	for _, v := range values {
		if r.Type == ddns.TypeTXT {
			text, ok := parseText(v)
			if !ok {
				return false
			}
			r.Texts = append(r.Texts, text)
			continue
		}
		a, err := netip.ParseAddr(v)
		if err != nil || a.Is4() != (r.Type == ddns.TypeA) || a.Zone() != "" {
			return false
		}
		r.Addrs = append(r.Addrs, a)
	}
	return true
}

// taken tells whether the answer to a batch is whole, and so can be believed.
func taken(body []byte) bool {
	return bytes.Contains(body, []byte("<ChangeInfo>")) && bytes.HasSuffix(bytes.TrimRight(body, " \r\n\t"), []byte("</ChangeResourceRecordSetsResponse>"))
}

// messages are the texts of a refusal that awscall has no room for: one for each
// faulty change, or all in one.
func messages(body []byte) string {
	var out strings.Builder
	d := xml.NewDecoder(bytes.NewReader(body))
	inside := false
	for {
		token, err := d.RawToken()
		if err != nil {
			return out.String()
		}
		switch t := token.(type) {
		case xml.StartElement:
			inside = t.Name.Local == "Message"
		case xml.EndElement:
			if inside {
				out.WriteByte('\n')
			}
			inside = false
		case xml.CharData:
			if inside {
				out.Write(t)
			}
		}
	}
}

// names are the words of a refusal's text that may be owner names.
func names(text string) map[string]bool {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && r != '\\' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	out := make(map[string]bool, len(words))
	for _, w := range words {
		if strings.Contains(w, ".") {
			out[strings.TrimSuffix(strings.ToLower(w), ".")] = true
		}
	}
	return out
}
