package dynamodb

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Members of the seed's text.
const (
	dataZone   = "route_53_zone_id"
	dataTTL    = "route_53_record_ttl"
	dataSecret = "shared_secret"
	dataType   = "route_53_record_type"
)

// data is the seed's text of a host, the attribute that its function reads.
type data struct {
	text   string // as stored; "" of a new host
	zone   string // hosted zone ID
	ttl    uint32
	secret string
	broken bool // the seed's function cannot read it; what it says was guessed
}

// Format hides the text: it has the secret in it.
func (d data) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[data]")) }

// byHand reads what the seed's newrecord.py makes by joining strings. A quote or
// a backslash in the secret makes it no JSON.
func byHand(text string) (d data, ok bool) {
	rest, ok1 := strings.CutPrefix(text, `{"route_53_zone_id": "`)
	zone, rest, ok2 := strings.Cut(rest, `","route_53_record_ttl": `)
	ttl, rest, ok3 := strings.Cut(rest, `,"shared_secret": "`)
	secret, ok4 := strings.CutSuffix(rest, `"}`)
	seconds, err := strconv.ParseUint(ttl, 10, 31)
	return data{text: text, zone: zone, ttl: uint32(seconds), secret: secret, broken: true},
		ok1 && ok2 && ok3 && ok4 && err == nil && !strings.Contains(zone, `"`)
}

func parseData(text string) (data, error) {
	d := data{text: text}
	n, err := parseJSON(text)
	if err != nil {
		guess, ok := byHand(text)
		if !ok {
			return d, errors.New("data is not a JSON object")
		}
		return guess, nil
	}
	// Of a repeated member Python, and so the seed's function, takes the last.
	last := func(name string) *node {
		for i := len(n.kids) - 1; i >= 0; i-- {
			if n.kids[i].name == name {
				return &n.kids[i]
			}
		}
		return nil
	}
	str := func(name string) string {
		if v := last(name); v != nil && v.kind == '"' {
			return v.text
		}
		return ""
	}
	d.zone, d.secret = str(dataZone), str(dataSecret)
	v := last(dataTTL)
	switch t := last(dataType); {
	case n.kind != '{':
		return d, errors.New("data is not a JSON object")
	case d.zone == "":
		return d, errors.New("data has no " + dataZone)
	case d.secret == "":
		return d, errors.New("data has no " + dataSecret)
	case v == nil || v.kind != '0' && v.kind != '"':
		return d, errors.New("data has no " + dataTTL)
	case t != nil && (t.kind != '"' || t.text != "A" && t.text != "AAAA"):
		return d, fmt.Errorf("%s is %.40s, not A or AAAA", dataType, t.raw)
	}
	ttl, err := strconv.ParseUint(v.text, 10, 31)
	if err != nil {
		return d, fmt.Errorf("%s is %.40q, not whole seconds", dataTTL, v.text)
	}
	d.ttl = uint32(ttl)
	return d, nil
}

// with is the text that says these instead; what else is in the old one stays.
func (d data) with(zone string, ttl uint32, secret string) data {
	next := data{zone: zone, ttl: ttl, secret: secret}
	if d.text != "" && !d.broken && zone == d.zone && ttl == d.ttl && secret == d.secret {
		return d
	}
	known := []string{dataZone, dataTTL, dataSecret}
	values := []string{string(appendQuoted(nil, zone)), strconv.FormatUint(uint64(ttl), 10), string(appendQuoted(nil, secret))}
	var b strings.Builder
	write := func(name, value string) {
		if b.WriteByte(','); b.Len() == 1 {
			b.Reset()
			b.WriteByte('{')
		}
		b.Write(appendQuoted(nil, name))
		b.WriteString(": ")
		b.WriteString(value)
	}
	old, err := parseJSON(d.text)
	if err != nil {
		old = node{}
	}
	written := [3]bool{}
	for _, m := range old.kids {
		i := slices.Index(known, m.name)
		switch {
		case i < 0:
			write(m.name, m.raw)
		case !written[i]: // a repeated one is taken out
			written[i] = true
			write(m.name, values[i])
		}
	}
	for i, done := range written {
		if !done {
			write(known[i], values[i])
		}
	}
	b.WriteByte('}')
	next.text = b.String()
	return next
}

// nobodys is a secret that nobody knows, for rows whose host has none that the
// seed's function may accept.
func nobodys() string {
	raw := make([]byte, 20)
	rand.Read(raw)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))
}
