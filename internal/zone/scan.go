package zone

import "strings"

// entry is one logical line of a zone file: the fields of a record or a
// directive, quotes and escapes as they were written.
type entry struct {
	line   int  // where it starts
	blank  bool // it starts with a blank: the owner is that of the record before
	fields []string
}

type scanError struct {
	line     int
	why, fix string
}

// scanner cuts a zone file into entries: it knows comments, quotes, escapes and
// parentheses (RFC 1035 section 5.1), and what line it is on, which the library's
// parser does not tell.
type scanner struct {
	text string
	line int
}

// next returns the next entry that has fields; one without fields is the end.
func (s *scanner) next() (entry, *scanError) {
	for s.text != "" {
		e, err := s.entry()
		if err != nil || len(e.fields) > 0 {
			return e, err
		}
	}
	return entry{}, nil
}

func (s *scanner) entry() (entry, *scanError) {
	e := entry{line: s.line}
	e.blank = s.text[0] == ' ' || s.text[0] == '\t'
	depth, opened := 0, 0
	for i := 0; i < len(s.text); {
		switch c := s.text[i]; c {
		case '\n':
			s.line++
			i++
			if depth == 0 {
				s.text = s.text[i:]
				return e, nil
			}
		case ' ', '\t', '\r':
			i++
		case ';':
			if n := strings.IndexByte(s.text[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(s.text)
			}
		case '(':
			if depth == 0 {
				opened = s.line
			}
			depth++
			i++
		case ')':
			if depth == 0 {
				return e, &scanError{s.line, "a ) without its (", "remove it, or add the ("}
			}
			depth--
			i++
		default:
			n, err := s.field(i)
			if err != nil {
				return e, err
			}
			if len(e.fields) == 0 {
				e.line = s.line
			}
			e.fields = append(e.fields, s.text[i:n])
			i = n
		}
	}
	s.text = ""
	if depth > 0 {
		return e, &scanError{opened, "a ( without its )", "add the )"}
	}
	return e, nil
}

// field returns where the field that starts at i ends.
func (s *scanner) field(i int) (int, *scanError) {
	quoted := s.text[i] == '"'
	start := i
	if quoted {
		i++
	}
	for ; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '\\':
			if i+1 == len(s.text) || s.text[i+1] == '\n' {
				return i, &scanError{s.line, "a backslash at the end of the line", `write \\ for a backslash`}
			}
			i++
		case quoted && c == '"':
			return i + 1, nil
		case c == '\n' && quoted:
			return i, &scanError{s.line, "a quote that is not closed on its line", `add the "`}
		case c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f:
			return i, &scanError{s.line, "a control character", "remove it, or write it as \\DDD"}
		case !quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ';' || c == '(' || c == ')' || c == '"' && i > start):
			return i, nil
		}
	}
	if quoted {
		return i, &scanError{s.line, "a quote that is not closed", `add the "`}
	}
	return i, nil
}
