package dynamodb

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// node is one JSON value of an answer. Its texts are parts of the answer, so
// that reading an item costs few allocations.
type node struct {
	kind byte   // '{', '[', '"', '0', 't', 'f' or 'n'
	name string // of a member of an object
	text string // of a string or a number
	raw  string // as it stands in the answer
	kids []node
}

// maxDepth bounds how deep an answer nests: DynamoDB allows 32 levels in an item,
// and each is two in JSON.
const maxDepth = 80

var errJSON = errors.New("is not JSON")

// parser reads JSON (RFC 8259). It reads numbers and white space as strictly as
// it has to: what it reads was written by a service or by our own tools.
type parser struct {
	text  string
	at    int
	depth int
	stack []node // members of the objects at hand
	slab  []node // room for those of finished ones
}

func parseJSON(text string) (node, error) {
	p := parser{text: text, stack: make([]node, 0, 32)}
	n, ok := p.value()
	if p.space(); !ok || p.at != len(p.text) {
		return node{}, errJSON
	}
	return n, nil
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// next skips white space and takes one octet if it is c.
func (p *parser) next(c byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) value() (node, bool) {
	p.space()
	if p.at >= len(p.text) || p.depth >= maxDepth {
		return node{}, false
	}
	begin := p.at
	n := node{kind: p.text[p.at]}
	ok := false
	switch n.kind {
	case '{':
		p.at++
		n.kids, ok = p.members('}', true)
	case '[':
		p.at++
		n.kids, ok = p.members(']', false)
	case '"':
		p.at++
		n.text, ok = p.str()
	case 't':
		ok = p.word("true")
	case 'f':
		ok = p.word("false")
	case 'n':
		ok = p.word("null")
	default:
		n.kind = '0'
		n.text, ok = p.number()
	}
	n.raw = p.text[begin:p.at]
	return n, ok
}

func (p *parser) word(w string) bool {
	if !strings.HasPrefix(p.text[p.at:], w) {
		return false
	}
	p.at += len(w)
	return true
}

func (p *parser) members(end byte, named bool) ([]node, bool) {
	p.depth++
	defer func() { p.depth-- }()
	base := len(p.stack)
	if p.next(end) {
		return nil, true
	}
	for {
		name := ""
		if named {
			if !p.next('"') {
				return nil, false
			}
			var ok bool
			if name, ok = p.str(); !ok || !p.next(':') {
				return nil, false
			}
		}
		n, ok := p.value()
		if !ok {
			return nil, false
		}
		n.name = name
		p.stack = append(p.stack, n)
		if p.next(end) {
			kids := p.keep(p.stack[base:])
			p.stack = p.stack[:base]
			return kids, true
		}
		if !p.next(',') {
			return nil, false
		}
	}
}

// keep copies finished members to where they stay.
func (p *parser) keep(nodes []node) []node {
	if len(p.slab)+len(nodes) > cap(p.slab) {
		p.slab = make([]node, 0, max(len(nodes), 64))
	}
	begin := len(p.slab)
	p.slab = append(p.slab, nodes...)
	return p.slab[begin:len(p.slab):len(p.slab)]
}

// str reads a string after its first quote.
func (p *parser) str() (string, bool) {
	begin := p.at
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return p.text[begin : p.at-1], true
		case c == '\\':
			return p.escaped(begin)
		case c < ' ':
			return "", false
		}
	}
	return "", false
}

// escaped reads the rest of a string that has an escape at p.at.
func (p *parser) escaped(begin int) (string, bool) {
	out := append(make([]byte, 0, 2*(p.at-begin)+32), p.text[begin:p.at]...)
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == '"':
			return string(out), true
		case c < ' ':
			return "", false
		case c != '\\':
			out = append(out, c)
			continue
		case p.at >= len(p.text):
			return "", false
		}
		c = p.text[p.at]
		p.at++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := p.hex()
			if !ok {
				return "", false
			}
			if utf16.IsSurrogate(r) {
				low := rune(0)
				if strings.HasPrefix(p.text[p.at:], `\u`) {
					back := p.at
					p.at += 2
					if low, ok = p.hex(); !ok {
						return "", false
					}
					if utf16.DecodeRune(r, low) == utf8.RuneError {
						p.at = back // it stands for itself
					}
				}
				r = utf16.DecodeRune(r, low)
			}
			out = utf8.AppendRune(out, r)
		default:
			return "", false
		}
	}
	return "", false
}

func (p *parser) hex() (rune, bool) {
	if p.at+4 > len(p.text) {
		return 0, false
	}
	r, err := strconv.ParseUint(p.text[p.at:p.at+4], 16, 16)
	p.at += 4
	return rune(r), err == nil
}

func (p *parser) number() (string, bool) {
	begin := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			p.at++
			continue
		}
		break
	}
	text := p.text[begin:p.at]
	_, err := strconv.ParseFloat(text, 64)
	return text, err == nil || errors.Is(err, strconv.ErrRange)
}

// member is the first member of that name; nil if there is none.
func (n *node) member(name string) *node {
	if n == nil || n.kind != '{' {
		return nil
	}
	for i := range n.kids {
		if n.kids[i].name == name {
			return &n.kids[i]
		}
	}
	return nil
}

// An attribute value is an object with one member, whose name is its type.

// typed is an attribute value's content if it is of that type, else nil.
func (n *node) typed(t string, kind byte) *node {
	if n == nil || n.kind != '{' || len(n.kids) != 1 || n.kids[0].name != t || n.kids[0].kind != kind {
		return nil
	}
	return &n.kids[0]
}

// has tells whether an item or map has an attribute.
func (n *node) has(name string) bool { return n.member(name) != nil }

func (n *node) str() (string, bool) {
	if v := n.typed("S", '"'); v != nil {
		return v.text, true
	}
	return "", false
}

func (n *node) integer() (int64, bool) {
	v := n.typed("N", '"')
	if v == nil {
		return 0, false
	}
	i, err := strconv.ParseInt(v.text, 10, 64)
	return i, err == nil
}

func (n *node) octets() ([]byte, bool) {
	v := n.typed("B", '"')
	if v == nil {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(v.text)
	return b, err == nil
}

// yes tells whether an attribute is true; one that is absent is not.
func (n *node) yes() bool { return n.typed("BOOL", 't') != nil }

func (n *node) list() ([]node, bool) {
	if v := n.typed("L", '['); v != nil {
		return v.kids, true
	}
	return nil, false
}

// dict is a map attribute's content.
func (n *node) dict() *node { return n.typed("M", '{') }

// appendQuoted writes a JSON string. Octets that are no UTF-8 become U+FFFD.
func appendQuoted(dst []byte, text string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	begin := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(text[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, text[begin:i]...)
		switch {
		case c >= utf8.RuneSelf:
			dst = append(dst, "\ufffd"...)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i += size
		begin = i
	}
	dst = append(dst, text[begin:]...)
	return append(dst, '"')
}

func appendS(dst []byte, text string) []byte {
	return append(appendQuoted(append(dst, `{"S":`...), text), '}')
}

func appendN(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, `{"N":"`...), n, 10), `"}`...)
}

func appendB(dst []byte, b []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, `{"B":"`...), b), `"}`...)
}

const (
	avTrue = `{"BOOL":true}`
	avNone = `{"L":[]}`
)

// object writes the members of an object one by one.
type object struct {
	b     []byte
	empty bool
}

func openObject(dst []byte, head string) object { return object{append(dst, head...), true} }

// key begins a member, whose value the caller appends to o.b.
func (o *object) key(name string) {
	if !o.empty {
		o.b = append(o.b, ',')
	}
	o.empty = false
	o.b = append(appendQuoted(o.b, name), ':')
}

func (o *object) s(name, text string) { o.key(name); o.b = appendS(o.b, text) }
func (o *object) n(name string, n int64) {
	o.key(name)
	o.b = appendN(o.b, n)
}
func (o *object) raw(name string, av string) { o.key(name); o.b = append(o.b, av...) }

// flag writes true, or nothing.
func (o *object) flag(name string, on bool) {
	if on {
		o.raw(name, avTrue)
	}
}

// text writes a text that is not empty.
func (o *object) text(name, text string) {
	if text != "" {
		o.s(name, text)
	}
}

// appendList writes a list attribute, one value per element.
func appendList[T any](dst []byte, list []T, one func([]byte, T) []byte) []byte {
	dst = append(dst, `{"L":[`...)
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, v)
	}
	return append(dst, `]}`...)
}
