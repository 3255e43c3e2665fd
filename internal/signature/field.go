package signature

import "strings"

// Bounds of a structured field, so that what a stranger sends costs time by its
// length only.
const (
	maxMembers = 8  // of a dictionary
	maxItems   = 32 // of an inner list
	maxParams  = 16 // of a member or an item
)

// member is one member of a Dictionary (RFC 8941 section 3.2). All texts are as
// they were sent.
type member struct {
	key    string
	value  string   // everything after the "=", parameters too
	item   string   // the bare item; "" for an inner list and for true
	items  []string // of an inner list, each with its parameters
	params []param
}

// param is a parameter; value "" stands for true.
type param struct{ key, value string }

// parseDictionary reads a Dictionary that is spelt as RFC 8941 section 4.1 would
// write it, and nothing else: one space after a comma and none elsewhere, no key
// twice, no leading zeros, padded base64, true left out. Types are those of RFC
// 8941; Dates and Display Strings came later and stand in no field of ours.
func parseDictionary(text string) ([]member, bool) {
	var members []member
	for text != "" {
		var ok bool
		if len(members) > 0 {
			if text, ok = strings.CutPrefix(text, ", "); !ok || len(members) == maxMembers {
				return nil, false
			}
		}
		n := keyLength(text)
		m := member{key: text[:n]}
		if n == 0 || find(members, m.key) != nil {
			return nil, false
		}
		text = text[n:]
		start := text
		if strings.HasPrefix(text, "=") {
			text = text[1:]
			start = text
			if strings.HasPrefix(text, "(") {
				m.items, text, ok = parseItems(text)
			} else {
				m.item, text, ok = cutItem(text)
				ok = ok && m.item != "?1"
			}
			if !ok {
				return nil, false
			}
		}
		if m.params, text, ok = parseParams(text); !ok {
			return nil, false
		}
		m.value = start[:len(start)-len(text)]
		members = append(members, m)
	}
	return members, true
}

func find(members []member, key string) *member {
	for i := range members {
		if members[i].key == key {
			return &members[i]
		}
	}
	return nil
}

// parseItems reads the parentheses of an inner list and what is in them.
func parseItems(text string) (items []string, rest string, ok bool) {
	text = text[1:]
	for !strings.HasPrefix(text, ")") {
		if len(items) > 0 {
			if text, ok = strings.CutPrefix(text, " "); !ok || len(items) == maxItems {
				return nil, "", false
			}
		}
		start := text
		if _, text, ok = cutItem(text); !ok {
			return nil, "", false
		}
		if _, text, ok = parseParams(text); !ok {
			return nil, "", false
		}
		items = append(items, start[:len(start)-len(text)])
	}
	return items, text[1:], true
}

func parseParams(text string) (params []param, rest string, ok bool) {
	for strings.HasPrefix(text, ";") {
		text = text[1:]
		n := keyLength(text)
		if n == 0 || len(params) == maxParams {
			return nil, "", false
		}
		p := param{key: text[:n]}
		for _, earlier := range params {
			if earlier.key == p.key {
				return nil, "", false
			}
		}
		text = text[n:]
		if strings.HasPrefix(text, "=") {
			if p.value, text, ok = cutItem(text[1:]); !ok || p.value == "?1" {
				return nil, "", false
			}
		}
		params = append(params, p)
	}
	return params, text, true
}

// cutItem cuts the bare item off that text begins with.
func cutItem(text string) (item, rest string, ok bool) {
	n := itemLength(text)
	return text[:n], text[n:], n > 0
}

// keyLength is the length of the key that text begins with, or 0.
func keyLength(text string) int {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', c == '*':
		case i > 0 && ('0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'):
		default:
			return i
		}
	}
	return len(text)
}

// itemLength is the length of the bare item that text begins with, or 0 if there
// is none in canonical spelling.
func itemLength(text string) int {
	if text == "" {
		return 0
	}
	switch c := text[0]; {
	case c == '"':
		return stringLength(text)
	case c == ':':
		end := strings.IndexByte(text[1:], ':')
		if end < 0 || !isBase64(text[1:1+end]) {
			return 0
		}
		return end + 2
	case c == '?':
		if len(text) < 2 || text[1] != '0' && text[1] != '1' {
			return 0
		}
		return 2
	case c == '-', isDigit(c):
		return numberLength(text)
	case c == '*', isLetter(c):
		n := 1
		for n < len(text) && (isLetter(text[n]) || isDigit(text[n]) || strings.IndexByte("!#$%&'*+-.^_`|~:/", text[n]) >= 0) {
			n++
		}
		return n
	}
	return 0
}

func stringLength(text string) int {
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < ' ' || c > '~':
			return 0
		case c == '\\':
			i++
			if i == len(text) || text[i] != '"' && text[i] != '\\' {
				return 0
			}
		}
	}
	return 0
}

// numberLength is that of an Integer of at most 15 digits, or of a Decimal of at
// most 12 and 3.
func numberLength(text string) int {
	digits := strings.TrimPrefix(text, "-")
	sign := len(text) - len(digits)
	whole := digitsLength(digits)
	if whole == 0 || whole > 1 && digits[0] == '0' {
		return 0
	}
	zero, n, places := digits[0] == '0', whole, 0
	if strings.HasPrefix(digits[whole:], ".") {
		places = digitsLength(digits[whole+1:])
		last := whole + places // of the fraction
		if places == 0 || places > 3 || whole > 12 || places > 1 && digits[last] == '0' {
			return 0
		}
		zero, n = zero && strings.Trim(digits[whole+1:last+1], "0") == "", last+1
	}
	if whole > 15 || sign > 0 && zero {
		return 0
	}
	return sign + n
}

func digitsLength(text string) int {
	n := 0
	for n < len(text) && isDigit(text[n]) {
		n++
	}
	return n
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// isBase64 tells whether text is base64 with its padding and no bits too many.
// It decodes nothing: a stranger may send hundreds of items.
func isBase64(text string) bool {
	data := strings.TrimSuffix(strings.TrimSuffix(text, "="), "=")
	last := 0
	for i := range len(data) {
		if last = strings.IndexByte(base64Digits, data[i]); last < 0 {
			return false
		}
	}
	beyond := []int{0, 1<<2 - 1, 1<<4 - 1}[len(text)-len(data)] // bits of the last digit that stand for nothing
	return len(text)%4 == 0 && last&beyond == 0
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
