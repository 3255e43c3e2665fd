package httpserver

import (
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep arrays and objects may stand in each other.
const maxDepth = 32

// scanner reads JSON strictly (RFC 8259 with the limits of RFC 7493): valid
// UTF-8, no lone surrogate, no repeated member, nothing after the value, at most
// maxDepth levels. encoding/json takes all of these. Its cost is linear in the
// length, and what the caller does not keep is not copied.
type scanner struct {
	data  []byte
	at    int
	depth int
	// plain refuses what our own API never takes: null, and a member name with a
	// capital, which encoding/json would take for another.
	plain bool
}

// checkJSON tells whether data is one JSON object that is strict in the sense
// of scanner, plain included.
func checkJSON(data []byte) bool {
	s := scanner{data: data, plain: true}
	if s.space(); s.at == len(data) || data[s.at] != '{' {
		return false
	}
	return s.skip() && s.end()
}

// space moves over white space.
func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// end tells whether nothing but white space is left.
func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.data)
}

// take moves over c, after white space, if it is there.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

// text reads a string. What it returns is inside data unless the string has
// escapes.
func (s *scanner) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	from := s.at
	for s.at < len(s.data) {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return s.data[from : s.at-1], true
		case c == '\\':
			return s.escapedText(from)
		case c < ' ':
			return nil, false
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, n := utf8.DecodeRune(s.data[s.at:])
			if r == utf8.RuneError && n == 1 {
				return nil, false
			}
			s.at += n
		}
	}
	return nil, false
}

// escapedText goes on with a string that began at from, at its first escape.
func (s *scanner) escapedText(from int) ([]byte, bool) {
	out := append(make([]byte, 0, 64), s.data[from:s.at]...)
	for s.at < len(s.data) {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return out, true
		case c == '\\':
			r, ok := s.escape()
			if !ok {
				return nil, false
			}
			out = utf8.AppendRune(out, r)
		case c < ' ':
			return nil, false
		case c < utf8.RuneSelf:
			out = append(out, c)
			s.at++
		default:
			r, n := utf8.DecodeRune(s.data[s.at:])
			if r == utf8.RuneError && n == 1 {
				return nil, false
			}
			out = append(out, s.data[s.at:s.at+n]...)
			s.at += n
		}
	}
	return nil, false
}

// escape reads one escape; a pair of surrogates is one.
func (s *scanner) escape() (rune, bool) {
	if s.at+1 >= len(s.data) {
		return 0, false
	}
	c := s.data[s.at+1]
	s.at += 2
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
	default:
		return 0, false
	}
	r, ok := s.hex4()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	if s.at+1 >= len(s.data) || s.data[s.at] != '\\' || s.data[s.at+1] != 'u' {
		return 0, false
	}
	s.at += 2
	low, ok := s.hex4()
	if !ok {
		return 0, false
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, false
	}
	return r, true
}

func (s *scanner) hex4() (rune, bool) {
	if s.at+4 > len(s.data) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.data[s.at:s.at+4]), 16, 16)
	s.at += 4
	return rune(n), err == nil
}

// skip moves over one value of any kind.
func (s *scanner) skip() bool {
	s.space()
	if s.at == len(s.data) {
		return false
	}
	switch c := s.data[s.at]; {
	case c == '"':
		_, ok := s.text()
		return ok
	case c == '{':
		return s.object(func([]byte) bool { return s.skip() })
	case c == '[':
		return s.array()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return !s.plain && s.literal("null")
	}
	return s.number()
}

func (s *scanner) literal(word string) bool {
	if s.at+len(word) > len(s.data) || string(s.data[s.at:s.at+len(word)]) != word {
		return false
	}
	s.at += len(word)
	return true
}

// null moves over null, after white space, if it is there.
func (s *scanner) null() bool {
	s.space()
	return s.literal("null")
}

// number reads a number (RFC 8259 section 6).
func (s *scanner) number() bool {
	s.one('-')
	if !s.one('0') && !s.digits() {
		return false
	}
	if s.one('.') && !s.digits() {
		return false
	}
	if s.one('e') || s.one('E') {
		if !s.one('+') {
			s.one('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) one(c byte) bool {
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) digits() bool {
	from := s.at
	for s.at < len(s.data) && '0' <= s.data[s.at] && s.data[s.at] <= '9' {
		s.at++
	}
	return s.at > from
}

func (s *scanner) array() bool {
	s.at++
	if s.depth++; s.depth > maxDepth {
		return false
	}
	if !s.take(']') {
		for {
			if !s.skip() {
				return false
			}
			if s.take(']') {
				break
			}
			if !s.take(',') {
				return false
			}
		}
	}
	s.depth--
	return true
}

// object reads an object, calling value with each member's name, to read its
// value.
func (s *scanner) object(value func(name []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.depth++; s.depth > maxDepth {
		return false
	}
	var names members
	if !s.take('}') {
		for {
			name, ok := s.text()
			if !ok || s.plain && slices.ContainsFunc(name, isCapital) || !names.add(name) || !s.take(':') || !value(name) {
				return false
			}
			if s.take('}') {
				break
			}
			if !s.take(',') {
				return false
			}
		}
	}
	s.depth--
	return true
}

// textMembers reads an object of which only the texts of these members matter, into
// texts; one that is missing stays nil. All others are skipped.
func (s *scanner) textMembers(names []string, texts [][]byte) bool {
	return s.object(func(name []byte) bool {
		i := slices.Index(names, string(name))
		if i < 0 {
			return s.skip()
		}
		text, ok := s.text()
		if text == nil {
			text = []byte{} // empty is not absent
		}
		texts[i] = text
		return ok
	}) && s.end()
}

// texts reads an array of strings.
func (s *scanner) texts(each func([]byte)) bool {
	if !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		text, ok := s.text()
		if !ok {
			return false
		}
		each(text)
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// isCapital tells whether c may be in a name that encoding/json folds: it takes
// "HOST" for host, and U+017F for s.
func isCapital(c byte) bool { return 'A' <= c && c <= 'Z' || c >= utf8.RuneSelf }

// members are the names of one object's members: few are kept in place, more in
// a map, so that many cost no more than linear time.
type members struct {
	few  [8][]byte
	n    int
	many map[string]bool
}

// add tells whether the name is new.
func (m *members) add(name []byte) bool {
	if m.many != nil {
		if m.many[string(name)] {
			return false
		}
		m.many[string(name)] = true
		return true
	}
	for _, have := range m.few[:m.n] {
		if string(have) == string(name) {
			return false
		}
	}
	if m.n < len(m.few) {
		m.few[m.n] = name
		m.n++
		return true
	}
	m.many = make(map[string]bool, 2*len(m.few))
	for _, have := range m.few {
		m.many[string(have)] = true
	}
	m.many[string(name)] = true
	return true
}
