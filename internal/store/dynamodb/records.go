package dynamodb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// shown reads lines such as "nas.example.org 60 A 192.0.2.1 192.0.2.2".
func (d *decoder) shown(n *node) []ddns.RRset {
	sets := n.dict().member("sets")
	if sets == nil {
		return nil
	}
	lines := d.texts(sets)
	if len(lines) == 0 {
		return nil
	}
	out := make([]ddns.RRset, len(lines))
	for i, line := range lines {
		set, err := parseRRset(line)
		d.fail(n.name, err)
		out[i] = set
	}
	return out
}

func appendShown(dst []byte, shown []ddns.RRset) []byte {
	dst = append(dst, `{"M":{"sets":`...)
	var line []byte
	dst = appendList(dst, shown, func(dst []byte, set ddns.RRset) []byte {
		line = appendRRset(line[:0], set)
		return appendS(dst, string(line))
	})
	return append(dst, "}}"...)
}

// appendRRset writes an RRset as in a zone file, but all values in one line.
func appendRRset(dst []byte, set ddns.RRset) []byte {
	dst = append(dst, set.Owner.String()...)
	dst = strconv.AppendUint(append(dst, ' '), uint64(set.TTL), 10)
	dst = append(append(dst, ' '), set.Type.String()...)
	for _, a := range set.Addrs {
		dst = a.AppendTo(append(dst, ' '))
	}
	for _, t := range set.Texts {
		dst = append(dst, ' ', '"')
		for _, c := range []byte(t) {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c < ' ' || c >= 0x7f:
				dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			default:
				dst = append(dst, c)
			}
		}
		dst = append(dst, '"')
	}
	return dst
}

func parseRRset(line string) (set ddns.RRset, err error) {
	owner, rest, _ := strings.Cut(line, " ")
	ttl, rest, _ := strings.Cut(rest, " ")
	kind, rest, _ := strings.Cut(rest, " ")
	seconds, err1 := strconv.ParseUint(ttl, 10, 32)
	set.TTL = uint32(seconds)
	var err2 error
	set.Owner, err2 = dnsname.Parse(owner)
	if err := errors.Join(err1, err2, set.Type.UnmarshalText([]byte(kind))); err != nil {
		return set, fmt.Errorf("has the line %.80q: %w", line, err)
	}
	for rest != "" {
		if set.Type == ddns.TypeTXT {
			var text string
			var ok bool
			if text, rest, ok = cutText(rest); !ok {
				return set, fmt.Errorf("has the line %.80q: its text does not end", line)
			}
			set.Texts = append(set.Texts, text)
			continue
		}
		var one string
		one, rest, _ = strings.Cut(rest, " ")
		a, err := netip.ParseAddr(one)
		if err != nil {
			return set, fmt.Errorf("has the line %.80q: %w", line, err)
		}
		set.Addrs = append(set.Addrs, a)
	}
	return set, nil
}

// cutText takes one quoted text and the space behind it.
func cutText(line string) (text, rest string, ok bool) {
	if line == "" || line[0] != '"' {
		return "", "", false
	}
	var out []byte
	for i := 1; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			return string(out), strings.TrimPrefix(line[i+1:], " "), true
		case c != '\\':
			out = append(out, c)
		case i+3 < len(line) && line[i+1] >= '0' && line[i+1] <= '9':
			n, err := strconv.ParseUint(line[i+1:i+4], 10, 8)
			if err != nil {
				return "", "", false
			}
			out = append(out, byte(n))
			i += 3
		case i+1 < len(line):
			i++
			out = append(out, line[i])
		}
	}
	return "", "", false
}

func (d *decoder) txt(n *node) []ddns.TXT {
	list := d.list(n)
	if len(list) == 0 {
		return nil
	}
	out := make([]ddns.TXT, len(list))
	for i := range list {
		list[i].name = n.name
		for _, m := range d.dict(&list[i]) {
			switch m.name {
			case "value":
				if b, ok := m.octets(); ok {
					out[i].Value = string(b)
				} else {
					out[i].Value = d.s(&m)
				}
			case "credential":
				out[i].Credential = d.s(&m)
			case "time":
				out[i].Time = d.time(&m)
			}
		}
	}
	return out
}

func appendTXT(dst []byte, list []ddns.TXT) []byte {
	return appendList(dst, list, func(dst []byte, t ddns.TXT) []byte {
		o := openObject(dst, `{"M":{`)
		if utf8.ValidString(t.Value) {
			o.s("value", t.Value)
		} else {
			o.key("value")
			o.b = appendB(o.b, []byte(t.Value))
		}
		o.text("credential", t.Credential)
		o.n("time", micros(t.Time))
		return append(o.b, "}}"...)
	})
}

func (d *decoder) followers(n *node) []ddns.Follower {
	type placed struct {
		at int64
		ddns.Follower
	}
	var list []placed
	for _, m := range d.dict(n) {
		f := placed{}
		name, err := dnsname.Parse(m.name)
		d.fail(n.name, err)
		f.Name = name
		for _, a := range d.dict(&m) {
			switch a.name {
			case "at":
				f.at = d.n(&a)
			case "low":
				low, err := netip.ParseAddr(d.s(&a))
				if err == nil && (!low.Is6() || low.Is4In6() || low.Zone() != "") {
					err = fmt.Errorf("%s is no interface ID", low)
				}
				d.fail(n.name, err)
				f.Low = low
			case "a":
				f.A = a.yes()
			case "aaaa":
				f.AAAA = a.yes()
			}
		}
		list = append(list, f)
	}
	slices.SortStableFunc(list, func(a, b placed) int { return int(min(max(a.at-b.at, -1), 1)) })
	var out []ddns.Follower
	for _, f := range list {
		out = append(out, f.Follower)
	}
	return out
}

func appendFollowers(dst []byte, list []ddns.Follower) []byte {
	o := openObject(dst, `{"M":{`)
	for i, f := range list {
		o.key(f.Name.String())
		m := openObject(o.b, `{"M":{`)
		m.n("at", int64(i)) // a map has no order, the operator's list has
		if f.Low.IsValid() {
			m.s("low", f.Low.String())
		}
		m.flag("a", f.A)
		m.flag("aaaa", f.AAAA)
		o.b = append(m.b, "}}"...)
	}
	return append(o.b, "}}"...)
}
