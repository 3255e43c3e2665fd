// Package dnsname reads owner names, once, at the edge of the program, into a
// type that cannot hold a wrong one.
//
// A [Name] is absolute and canonical: ASCII letters are lower case, labels
// beyond ASCII are A-labels, and there is one spelling of it. Two names are the
// same owner name exactly when they are equal with ==, so a Name is a map key.
// The text form has no trailing dot, as in our API; see [Name.FQDN] for the
// other one.
//
// Limits are those of RFC 1035 section 2.3.4: 1 to 63 octets in a label, 255 in
// a name with its length octets and the root.
package dnsname

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxLabel = 63
	// MaxWire is the greatest length of a name in wire form, in octets.
	MaxWire = 255
	// maxText bounds the text that Parse looks at: the longest name with every
	// octet written as \DDD, and room for letters that punycode will shorten.
	maxText = 4 * MaxWire
	// maxLabelText bounds a label beyond ASCII before punycode sees it, whose
	// cost grows with the square of the length. Four octets a letter; no label
	// that would end within 63 octets is longer.
	maxLabelText = 4 * maxLabel
)

// Name is an owner name. The zero Name is none at all; it is not the root.
type Name struct {
	// wire is RFC 1035 section 3.1 wire form, in lower case, with the root's
	// zero octet. A string, so that == compares names.
	wire string
}

// Root is the name with no labels.
var Root = Name{wire: "\x00"}

// Error says why a text is not an owner name, and how to mend it.
type Error struct {
	Text string // what was given, at most 80 octets of it
	Why  string
	Fix  string
}

func (e *Error) Error() string { return fmt.Sprintf("name %q: %s; %s", e.Text, e.Why, e.Fix) }

func bad(text, why, fix string) error {
	return &Error{Text: clip(text), Why: why, Fix: fix}
}

// clip shortens a stranger's text for a message, and never inside a letter.
func clip(text string) string {
	if len(text) <= 80 {
		return text
	}
	end := 77
	for end > 77-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

const (
	longLabel = "has a label of more than 63 octets"
	longName  = "is longer than 255 octets"
)

// labelProfile is UTS 46 processing of one label, non-transitional, with the
// checks that registries make too. STD3, because an octet that is not a host's
// has no business beside letters beyond ASCII.
var labelProfile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(true),
	idna.BidiRule(),
	idna.VerifyDNSLength(false), // checked here, the last label too
)

// nameProfile is for a whole name, whose labels labelProfile has passed: it
// sees right-to-left labels beside others (RFC 5893 section 2). Hyphens in the
// third and fourth place of an ASCII label are the owner's choice.
var nameProfile = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.CheckHyphens(false),
)

// Parse reads an owner name in the text form of RFC 1035 section 5.1, with or
// without the trailing dot. \. and \DDD stand for octets; white space and
// control octets must be written so. A label beyond ASCII is taken to its
// A-label by UTS 46, other labels are left as they are; the dots of other
// scripts that UTS 46 takes for dots separate labels too. Any octet may be in a
// label: use [ParseHost] for what people may register.
func Parse(text string) (Name, error) {
	switch {
	case text == "":
		return Name{}, bad(text, "is empty", "give a full name such as nas.dyn.example.com")
	case text == ".":
		return Root, nil
	case len(text) > maxText:
		return Name{}, bad(text, "is too long", "a name has at most 253 characters")
	}
	ascii, err := toASCII(text)
	if err != nil {
		return Name{}, err
	}
	var wire [MaxWire + 1]byte // and the octet that is one too many
	label, n := 0, 1           // where the label's length goes; where its next octet goes
	for i := 0; i < len(ascii); i++ {
		c := ascii[i]
		if c == '.' {
			if n-label-1 == 0 {
				return Name{}, bad(text, "has an empty label", "write one dot between labels")
			}
			wire[label] = byte(n - label - 1)
			label, n = n, n+1
			continue
		}
		if c <= ' ' || c == 0x7f {
			return Name{}, bad(text, "contains white space or a control character", `remove it, or write the octet as \DDD`)
		}
		if c == '\\' {
			if c, i, err = unescape(text, ascii, i); err != nil {
				return Name{}, err
			}
		}
		if n-label-1 == maxLabel {
			return Name{}, bad(text, longLabel, "shorten that label")
		}
		if n >= MaxWire {
			return Name{}, bad(text, longName, "use fewer or shorter labels")
		}
		wire[n] = lower(c)
		n++
	}
	if n-label-1 == 0 { // the trailing dot
		wire[label] = 0
	} else {
		wire[label] = byte(n - label - 1)
		wire[n] = 0
		n++
	}
	if n > MaxWire {
		return Name{}, bad(text, longName, "use fewer or shorter labels")
	}
	return Name{wire: string(wire[:n])}, nil
}

// unescape reads the escape that starts at ascii[i] and returns its octet and
// the index of its last character.
func unescape(text, ascii string, i int) (byte, int, error) {
	if i+1 >= len(ascii) {
		return 0, i, bad(text, "ends in a backslash", `write \\ for a backslash`)
	}
	if d := ascii[i+1]; d < '0' || d > '9' {
		return d, i + 1, nil
	}
	v := 0
	for j := i + 1; j <= i+3; j++ {
		if j >= len(ascii) || ascii[j] < '0' || ascii[j] > '9' {
			return 0, i, bad(text, `has a \ with fewer than three digits`, `write \DDD with three decimal digits`)
		}
		v = v*10 + int(ascii[j]-'0')
	}
	if v > 255 {
		return 0, i, bad(text, `has an escape above \255`, `write \DDD with a value up to 255`)
	}
	return byte(v), i + 3, nil
}

// toASCII takes the labels beyond ASCII to their A-labels and the dots of other
// scripts to dots. ASCII labels come back as they are, escapes and all.
func toASCII(text string) (string, error) {
	i := 0
	for i < len(text) && text[i] < utf8.RuneSelf {
		i++
	}
	if i == len(text) {
		return text, nil
	}
	var out strings.Builder
	out.Grow(MaxWire)
	for rest, more := text, true; more; {
		var label string
		label, rest, more = cutLabel(rest)
		a, err := labelToASCII(text, label)
		if err != nil {
			return "", err
		}
		out.WriteString(a)
		if more {
			out.WriteByte('.')
		}
	}
	return out.String(), nil
}

// cutLabel cuts text at its first dot that is not escaped. Dots are those of
// UTS 46 section 4: U+002E, U+3002, and U+FF0E and U+FF61 that map to them.
func cutLabel(text string) (label, rest string, found bool) {
	escaped := false
	for i, r := range text {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '.', r == '\u3002', r == '\uff0e', r == '\uff61':
			return text[:i], text[i+utf8.RuneLen(r):], true
		}
	}
	return text, "", false
}

// labelToASCII is one label of text in ASCII. An empty one is left for Parse to
// judge, which knows whether it is the last.
func labelToASCII(text, label string) (string, error) {
	ascii, escape := true, false
	for i := range len(label) {
		ascii = ascii && label[i] < utf8.RuneSelf
		escape = escape || label[i] == '\\'
	}
	switch {
	case ascii:
		return label, nil
	case escape:
		return "", bad(text, "has an escape in a label beyond ASCII", "write that label in its A-label form (xn--...)")
	case !utf8.ValidString(label):
		return "", bad(text, "is not UTF-8", "send the name as UTF-8, or in its A-label form (xn--...)")
	case len(label) > maxLabelText:
		return "", bad(text, longLabel, "shorten that label")
	}
	a, err := labelProfile.ToASCII(label)
	if err == nil && strings.HasPrefix(a, "xn--") && !validALabel(a) {
		// ToASCII lets U+FFFD pass where its tables have no entry, and would so
		// make one name of many.
		err = errors.New("no A-label for it")
	}
	switch {
	case err != nil:
		return "", bad(text, "is not a valid internationalized name ("+clip(strings.TrimPrefix(err.Error(), "idna: "))+")", "check its spelling, or give its A-label form (xn--...)")
	case a == "":
		return "", bad(text, "has a label of nothing but invisible characters", "remove them")
	case strings.ContainsAny(a, `.\`): // would change the labels; no mapping of today does it
		return "", bad(text, "has a character that stands for a dot", "write a plain dot")
	}
	return a, nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// ParseHost reads a name that someone may own and update: letters, digits and
// inner hyphens in every label (RFC 1123 section 2.1), at least two labels, an
// A-label that UTS 46 would itself have made, and a top label that nobody reads
// as the end of an address, neither digits nor 0x and hexadecimal digits. A
// single leading "*" label makes a wildcard (RFC 4592) and is allowed.
func ParseHost(text string) (Name, error) {
	n, err := Parse(text)
	if err != nil {
		return Name{}, err
	}
	if err := n.checkHost(text); err != nil {
		return Name{}, err
	}
	return n, nil
}

func (n Name) checkHost(text string) error {
	count, last, international := 0, "", false
	for label := range n.Labels() {
		count++
		last = label
		if label == "*" && count == 1 {
			continue
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			case c == '-' && i > 0 && i < len(label)-1:
			default:
				return bad(text, fmt.Sprintf("label %q is not a host label", label), "use letters, digits and inner hyphens")
			}
		}
		if strings.HasPrefix(label, "xn--") {
			international = true
			if !validALabel(label) {
				return bad(text, fmt.Sprintf("label %q is not a valid A-label", label), "check its spelling, or write the name in its own script")
			}
		}
	}
	if count < 2 {
		return bad(text, "is a single label", "give the full name, such as nas.dyn.example.com")
	}
	if looksNumeric(last) {
		return bad(text, "ends in a number and looks like an address", "give a name, not an address")
	}
	if international {
		// Both spellings come here, so that both are judged alike.
		if _, err := nameProfile.ToUnicode(strings.TrimPrefix(n.String(), "*.")); err != nil {
			return bad(text, "mixes right-to-left and other labels against RFC 5893", "use labels that begin with a letter beside right-to-left ones")
		}
	}
	return nil
}

// validALabel tells whether UTS 46 takes the label to a U-label and back.
func validALabel(label string) bool {
	u, err := labelProfile.ToUnicode(label)
	if err != nil {
		return false
	}
	back, err := labelProfile.ToASCII(u)
	return err == nil && back == label
}

// looksNumeric tells whether programs that read addresses liberally take a name
// that ends in this label for one, as in 192.0.2.1 and 192.0.2.0x1.
func looksNumeric(label string) bool {
	if strings.Trim(label, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(label, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// MustParse is [Parse] for names in the program's own text; it panics on an error.
func MustParse(text string) Name {
	n, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return n
}

// FromWire reads an uncompressed name at the start of msg and returns how many
// octets it took. Letters are folded; any octet may be in a label.
func FromWire(msg []byte) (Name, int, error) {
	for i := 0; i < len(msg) && i < MaxWire; {
		l := int(msg[i])
		if l == 0 {
			return Name{wire: foldWire(msg[:i+1])}, i + 1, nil
		}
		if l > maxLabel {
			return Name{}, 0, errors.New("dnsname: label type is not plain")
		}
		i += 1 + l
	}
	return Name{}, 0, errors.New("dnsname: name is cut short or longer than 255 octets")
}

// foldWire copies wire, at most MaxWire octets, in lower case. Length octets
// are at most 63, below 'A', and stay as they are.
func foldWire(wire []byte) string {
	var folded [MaxWire]byte
	for i, c := range wire {
		folded[i] = lower(c)
	}
	return string(folded[:len(wire)])
}

// Wire is the name in wire form, lower case, with the root's zero octet. It is
// a string so that nobody can change it.
func (n Name) Wire() string { return n.wire }

// IsZero tells whether n is no name at all.
func (n Name) IsZero() bool { return n.wire == "" }

// String is the text without a trailing dot ("." for the root), octets that
// are not plain escaped as in RFC 1035 section 5.1.
func (n Name) String() string {
	if len(n.wire) <= 1 {
		return strings.Repeat(".", len(n.wire))
	}
	s := n.FQDN()
	return s[:len(s)-1]
}

// FQDN is the text with the trailing dot.
func (n Name) FQDN() string {
	if len(n.wire) <= 1 {
		return strings.Repeat(".", len(n.wire))
	}
	var b strings.Builder
	b.Grow(len(n.wire))
	for label := range n.Labels() {
		for i := range len(label) {
			switch c := label[i]; {
			case c == '.' || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' || c == '@' || c == '$':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c <= ' ' || c >= 0x7f:
				b.Write([]byte{'\\', '0' + c/100, '0' + c/10%10, '0' + c%10})
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('.')
	}
	return b.String()
}

// Labels yields the labels as octets, the leftmost first, without the root.
func (n Name) Labels() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; i < len(n.wire) && n.wire[i] != 0; {
			end := i + 1 + int(n.wire[i])
			if !yield(n.wire[i+1 : end]) {
				return
			}
			i = end
		}
	}
}

// CountLabels is the number of labels, the root not counted.
func (n Name) CountLabels() int {
	c := 0
	for range n.Labels() {
		c++
	}
	return c
}

// Parent is the name without its leftmost label. The root has none.
func (n Name) Parent() (Name, bool) {
	if len(n.wire) <= 1 {
		return Name{}, false
	}
	return Name{wire: n.wire[1+int(n.wire[0]):]}, true
}

// Child is the name with one label more on the left, such as "_acme-challenge".
// It is given as octets, not as text: no escapes, no IDNA; letters are folded. An
// error says that the label is empty, that it or the whole became too long, or
// that n is no name.
func (n Name) Child(label string) (Name, error) {
	if n.IsZero() {
		return Name{}, bad(label, "has nothing to stand under", "give the name above it")
	}
	if label == "" || len(label) > maxLabel {
		return Name{}, bad(label, "is not a label", "a label has 1 to 63 octets")
	}
	if 1+len(label)+len(n.wire) > MaxWire {
		return Name{}, bad(label+"."+n.String(), longName, "use a shorter name")
	}
	var wire [MaxWire]byte
	wire[0] = byte(len(label))
	for i := range len(label) {
		wire[1+i] = lower(label[i])
	}
	end := 1 + len(label)
	end += copy(wire[end:], n.wire)
	return Name{wire: string(wire[:end])}, nil
}

// Under tells whether n is apex or below it, label by label.
func (n Name) Under(apex Name) bool {
	if apex.IsZero() || len(n.wire) < len(apex.wire) {
		return false
	}
	cut := len(n.wire) - len(apex.wire)
	if n.wire[cut:] != apex.wire {
		return false
	}
	i := 0
	for i < cut {
		i += 1 + int(n.wire[i])
	}
	return i == cut
}

// IsWildcard tells whether the leftmost label is "*" (RFC 4592 section 2.1.1).
func (n Name) IsWildcard() bool { return strings.HasPrefix(n.wire, "\x01*") }

// MarshalText is String, so that a Name is a JSON string and a map key.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText is Parse; an empty text is the zero Name.
func (n *Name) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*n = Name{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*n = parsed
	return nil
}
