package dnsname_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"godwit/internal/dnsname"
)

var (
	label63 = strings.Repeat("a", 63)
	label64 = strings.Repeat("a", 64)
	// name253 is the longest name in text: 255 octets in wire form.
	name253 = strings.Join([]string{label63, label63, label63, strings.Repeat("a", 61)}, ".")
	name254 = strings.Join([]string{label63, label63, label63, strings.Repeat("a", 62)}, ".")
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"plain", "nas.example.org", "nas.example.org"},
		{"trailing dot", "nas.example.org.", "nas.example.org"},
		{"capitals", "NAS.Example.ORG.", "nas.example.org"},
		{"one label", "localhost", "localhost"},
		{"root", ".", "."},
		{"underscore", "_acme-challenge.nas.example.org", "_acme-challenge.nas.example.org"},
		{"wildcard", "*.example.org", "*.example.org"},
		{"star inside", "a.*.example.org", "a.*.example.org"},
		{"hyphens anywhere", "-a-.example.org", "-a-.example.org"},
		{"63-octet last label", "nas." + label63, "nas." + label63},
		{"63-octet last label, trailing dot", "nas." + label63 + ".", "nas." + label63},
		{"63 octets of escapes", strings.Repeat(`\200`, 63) + ".org", strings.Repeat(`\200`, 63) + ".org"},
		{"255 octets", name253, name253},
		{"255 octets, trailing dot", name253 + ".", name253},
		{"escaped dot", `first\.last.example.org`, `first\.last.example.org`},
		{"escaped dot by number", `first\046last.example.org`, `first\.last.example.org`},
		{"escaped dot at the end", `example.org\.`, `example.org\.`},
		{"escaped dot, then the root", `example.org\..`, `example.org\.`},
		{"escaped letter", `\nas.example.org`, "nas.example.org"},
		{"escaped capital by number", `\078as.example.org`, "nas.example.org"},
		{"escaped space", `a\ b.example.org`, `a\032b.example.org`},
		{"escaped NUL", `\000.example.org`, `\000.example.org`},
		{"escaped star is a star", `\042.example.org`, "*.example.org"},
		{"escaped backslash", `a\\b.example.org`, `a\\b.example.org`},
		{"zone file specials", `\"\(\)\;\@\$.example.org`, `\"\(\)\;\@\$.example.org`},
		{"high octet", `\255.example.org`, `\255.example.org`},
		{"A-label", "XN--Bcher-KVA.example.org", "xn--bcher-kva.example.org"},
		{"an A-label that is none", "xn--.example.org", "xn--.example.org"},

		{"U-label", "bücher.example.org", "xn--bcher-kva.example.org"},
		{"U-label, capitals and trailing dot", "BÜCHER.Example.ORG.", "xn--bcher-kva.example.org"},
		{"U-label, decomposed", "bu\u0308cher.example.org", "xn--bcher-kva.example.org"},
		{"U-label last", "example.москва", "example.xn--80adxhks"},
		{"sharp s stays", "straße.example.org", "xn--strae-oqa.example.org"},
		{"final sigma stays", "βόλος.example.org", "xn--nxasmm1c.example.org"},
		{"full-width letters", "ｎａｓ.example.org", "nas.example.org"},
		{"full-width A-label", "ｘn--bcher-kva.example.org", "xn--bcher-kva.example.org"},
		{"soft hyphen vanishes", "na\u00ads.example.org", "nas.example.org"},
		{"emoji", "💩.example.org", "xn--ls8h.example.org"},
		{"ideographic full stop", "nas。example。org", "nas.example.org"},
		{"full-width full stop", "nas．example．org．", "nas.example.org"},
		{"half-width ideographic full stop", "bücher｡example｡org", "xn--bcher-kva.example.org"},
		{"wildcard over a U-label", "*.bücher.example.org", "*.xn--bcher-kva.example.org"},
		{"underscore over a U-label", "_acme-challenge.bücher.example.org", "_acme-challenge.xn--bcher-kva.example.org"},
		{"escapes beside a U-label", `first\.last.bücher.example.org`, `first\.last.xn--bcher-kva.example.org`},
		{"63-octet A-label", strings.Repeat("ü", 57) + ".org", "xn--td" + strings.Repeat("a", 57) + ".org"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := dnsname.Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want {
				t.Errorf("Parse(%q) = %s, want %s", tt.text, got, tt.want)
			}
			fqdn := tt.want + "."
			if got == dnsname.Root {
				fqdn = "."
			}
			if got.FQDN() != fqdn {
				t.Errorf("Parse(%q).FQDN() = %s, want %s", tt.text, got.FQDN(), fqdn)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, text, why string
	}{
		{"empty", "", "is empty"},
		{"two dots", "..", "has an empty label"},
		{"dot first", ".example.org", "has an empty label"},
		{"dots inside", "nas..example.org", "has an empty label"},
		{"two dots last", "nas.example.org..", "has an empty label"},
		{"ideographic dot last, twice", "nas.example.org。。", "has an empty label"},
		{"invisible label", "nas.\u00ad.example.org", "has a label of nothing but invisible characters"},
		{"invisible last label", "nas.example.\u00ad", "has a label of nothing but invisible characters"},
		{"64-octet first label", label64 + ".org", "has a label of more than 63 octets"},
		{"64-octet last label", "nas." + label64, "has a label of more than 63 octets"},
		{"64-octet last label, trailing dot", "nas." + label64 + ".", "has a label of more than 63 octets"},
		{"64 octets of escapes", strings.Repeat(`\200`, 64) + ".org", "has a label of more than 63 octets"},
		{"64-octet A-label", strings.Repeat("ü", 58) + ".org", "has a label of more than 63 octets"},
		{"endless U-label", strings.Repeat("ü", 127) + ".org", "has a label of more than 63 octets"},
		{"256 octets", name254, "is longer than 255 octets"},
		{"256 octets, trailing dot", name254 + ".", "is longer than 255 octets"},
		{"257 octets", name253 + ".a", "is longer than 255 octets"},
		{"128 labels", strings.Repeat("a.", 128), "is longer than 255 octets"},
		{"a kilobyte and more", strings.Repeat("a", 1021), "is too long"},
		{"NUL", "nas\x00.example.org", "contains white space or a control character"},
		{"new line", "nas.example.org\n", "contains white space or a control character"},
		{"space", "nas .example.org", "contains white space or a control character"},
		{"DEL", "nas\x7f.example.org", "contains white space or a control character"},
		{"space beside a U-label", "n as.bücher.example.org", "contains white space or a control character"},
		{"backslash last", `nas.example.org\`, "ends in a backslash"},
		{"one digit", `\4`, `has a \ with fewer than three digits`},
		{"two digits", `\04.example.org`, `has a \ with fewer than three digits`},
		{"far above 255", `\900.example.org`, `has an escape above \255`},
		{"above 255", `\256.example.org`, `has an escape above \255`},
		{"escape in a U-label", `b\252ücher.example.org`, "has an escape in a label beyond ASCII"},
		{"escaped letter beyond ASCII", `\ücher.example.org`, "has an escape in a label beyond ASCII"},
		{"escaped ideographic dot", `nas\。example.org`, "has an escape in a label beyond ASCII"},
		{"not UTF-8", "n\xffas.example.org", "is not UTF-8"},
		{"surrogate", "n\xed\xa0\x80as.example.org", "is not UTF-8"},
		{"lowest octet beyond ASCII", "nas\x80.example.org", "is not UTF-8"},
		{"UTF-8 cut short", "nas.example.or\xc3", "is not UTF-8"},
		{"replacement character", "n\ufffdas.example.org", "is not a valid internationalized name (disallowed rune U+FFFD)"},
		{"unassigned code point", "n\u0378as.example.org", "is not a valid internationalized name (disallowed rune U+0378)"},
		{"underscore in a U-label", "_bücher.example.org", "is not a valid internationalized name (disallowed rune U+005F)"},
		{"full-width star", "＊.example.org", "is not a valid internationalized name (disallowed rune U+FF0A)"},
		{"full-width backslash", "＼046.example.org", "is not a valid internationalized name (disallowed rune U+FF3C)"},
		{"one dot leader", "nas\u2024example.org", "is not a valid internationalized name (disallowed rune U+2024)"},
		{"digit full stop", "\u2488example.org", "is not a valid internationalized name (disallowed rune U+2488)"},
		{"joiner out of place", "a\u200db.example.org", `is not a valid internationalized name (invalid label "a\u200db")`},
		{"combining mark first", "\u0308u.example.org", `is not a valid internationalized name (invalid label "̈u")`},
		{"hyphen before a letter beyond ASCII", "-ü.example.org", `is not a valid internationalized name (invalid label "-ü")`},
		{"two directions in a label", "aא.example.org", `is not a valid internationalized name (invalid label "aא")`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := dnsname.Parse(tt.text)
			if err == nil {
				t.Fatalf("Parse(%q) = %s, want a refusal: %s", tt.text, got, tt.why)
			}
			wantRefusal(t, got, err, tt.why)
			if _, err := dnsname.ParseHost(tt.text); err == nil {
				t.Errorf("ParseHost(%q) accepts what Parse refuses", tt.text)
			}
		})
	}
}

// wantRefusal checks that err is an [dnsname.Error] that says why and offers a
// way out, and that it is fit to be shown.
func wantRefusal(t *testing.T, got dnsname.Name, err error, why string) {
	t.Helper()
	refusal, ok := errors.AsType[*dnsname.Error](err)
	switch {
	case !ok:
		t.Fatalf("error is a %T, want a *dnsname.Error", err)
	case refusal.Why != why:
		t.Errorf("refused because it %s, want: %s", refusal.Why, why)
	case refusal.Fix == "":
		t.Errorf("refusal %q offers no way out", err)
	case len(refusal.Text) > 80:
		t.Errorf("refusal quotes %d octets, want at most 80", len(refusal.Text))
	case !got.IsZero():
		t.Errorf("refused, and yet the name is %q", got)
	}
}

func TestErrorCutsBetweenLetters(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"80 octets stay", strings.Repeat("a", 78) + "..", strings.Repeat("a", 78) + ".."},
		{"81 octets are cut", strings.Repeat("a", 79) + "..", strings.Repeat("a", 77) + "..."},
		{"before a letter of two octets", strings.Repeat("a", 76) + "üü..", strings.Repeat("a", 76) + "..."},
		{"behind a letter of two octets", strings.Repeat("a", 75) + "üü...", strings.Repeat("a", 75) + "ü..."},
		{"before a letter of four octets", strings.Repeat("a", 74) + "💩💩..", strings.Repeat("a", 74) + "..."},
		{"octets that are no letters", strings.Repeat("\x80", 90), strings.Repeat("\x80", 73) + "..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dnsname.Parse(tt.text)
			refusal, ok := errors.AsType[*dnsname.Error](err)
			if !ok {
				t.Fatalf("got %v, want a *dnsname.Error", err)
			}
			if refusal.Text != tt.want {
				t.Errorf("Text = %q, want %q", refusal.Text, tt.want)
			}
			if utf8.ValidString(tt.text) && !utf8.ValidString(refusal.Text) {
				t.Errorf("Text = %q is not UTF-8", refusal.Text)
			}
		})
	}
}

func TestParseHost(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"plain", "NAS.Example.ORG.", "nas.example.org"},
		{"two labels", "example.org", "example.org"},
		{"digits", "1.2.3.example.org", "1.2.3.example.org"},
		{"inner hyphens", "my-n-a-s.example.org", "my-n-a-s.example.org"},
		{"hyphens in third and fourth place", "my--nas.example.org", "my--nas.example.org"},
		{"wildcard", "*.nas.example.org", "*.nas.example.org"},
		{"U-label", "bücher.example.org", "xn--bcher-kva.example.org"},
		{"A-label", "xn--bcher-kva.example.org", "xn--bcher-kva.example.org"},
		{"sharp s", "xn--strae-oqa.example.org", "xn--strae-oqa.example.org"},
		{"wildcard over an A-label", "*.xn--bcher-kva.example.org", "*.xn--bcher-kva.example.org"},
		{"wildcard over a right-to-left label", "*.עברית.example.org", "*.xn--5dbqzzl.example.org"},
		{"emoji", "💩.example.org", "xn--ls8h.example.org"},
		{"right to left", "nas.עברית.example.org", "nas.xn--5dbqzzl.example.org"},
		{"hyphens beside an A-label", "my--nas.bücher.example.org", "my--nas.xn--bcher-kva.example.org"},
		{"escaped letters", `\110\097\115.example.org`, "nas.example.org"},
		{"255 octets", name253, name253},
		{"top label with 0x and more", "nas.0xample", "nas.0xample"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := dnsname.ParseHost(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want {
				t.Errorf("ParseHost(%q) = %s, want %s", tt.text, got, tt.want)
			}
		})
	}
}

func TestParseHostRefuses(t *testing.T) {
	tests := []struct {
		name, text, why string
	}{
		{"root", ".", "is a single label"},
		{"one label", "nas", "is a single label"},
		{"one star", "*", "is a single label"},
		{"underscore", "_acme-challenge.example.org", `label "_acme-challenge" is not a host label`},
		{"star not first", "a.*.example.org", `label "*" is not a host label`},
		{"two stars", "*.*.example.org", `label "*" is not a host label`},
		{"star in a label", "a*.example.org", `label "a*" is not a host label`},
		{"hyphen first", "-nas.example.org", `label "-nas" is not a host label`},
		{"hyphen last", "nas-.example.org", `label "nas-" is not a host label`},
		{"hyphen alone", "-.example.org", `label "-" is not a host label`},
		{"bad last label", "nas.example.or_g", `label "or_g" is not a host label`},
		{"escaped dot", `nas\046example.org`, `label "nas.example" is not a host label`},
		{"escaped NUL", `nas\000.example.org`, `label "nas\x00" is not a host label`},
		{"high octet", `\252.example.org`, `label "\xfc" is not a host label`},
		{"IPv4 address", "192.0.2.1", "ends in a number and looks like an address"},
		{"IPv4 address, full-width", "１９２。０。２。１", "ends in a number and looks like an address"},
		{"IPv4 address, hexadecimal", "192.0.2.0x1F", "ends in a number and looks like an address"},
		{"IPv4 address, bare 0x", "192.0.2.0x", "ends in a number and looks like an address"},
		{"IPv6 address", "2001:db8::1", `label "2001:db8::1" is not a host label`},
		{"URL", "https://nas.example.org", `label "https://nas" is not a host label`},
		{"port", "nas.example.org:53", `label "org:53" is not a host label`},
		{"A-label of nothing", "xn--.example.org", `label "xn--" is not a host label`},
		{"A-label of ASCII", "xn--nas-.example.org", `label "xn--nas-" is not a host label`},
		{"A-label that is not punycode", "xn--0.example.org", `label "xn--0" is not a valid A-label`},
		{"A-label of a capital", "xn--bcher-2pa.example.org", `label "xn--bcher-2pa" is not a valid A-label`},
		{"A-label of an unassigned code point", "xn--nas-5qc.example.org", `label "xn--nas-5qc" is not a valid A-label`},
		{"A-label of the replacement character", "xn--nas-5t7s.example.org", `label "xn--nas-5t7s" is not a valid A-label`},
		{"A-label of a decomposed letter", "xn--bucher-xyd.example.org", `label "xn--bucher-xyd" is not a valid A-label`},
		{"A-label within an A-label", "xn--xn--bcher-u9a.example.org", `label "xn--xn--bcher-u9a" is not a valid A-label`},
		{"two directions beside each other, U-label", "3com.עברית.example.org", "mixes right-to-left and other labels against RFC 5893"},
		{"two directions beside each other, A-label", "3com.xn--5dbqzzl.example.org", "mixes right-to-left and other labels against RFC 5893"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := dnsname.ParseHost(tt.text)
			if err == nil {
				t.Fatalf("ParseHost(%q) = %s, want a refusal: %s", tt.text, got, tt.why)
			}
			wantRefusal(t, got, err, tt.why)
		})
	}
}

func TestMustParse(t *testing.T) {
	if got := dnsname.MustParse("nas.example.org").String(); got != "nas.example.org" {
		t.Errorf("MustParse = %s", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustParse(\"..\") does not panic")
		}
	}()
	dnsname.MustParse("..")
}

func TestZero(t *testing.T) {
	var zero dnsname.Name
	switch {
	case !zero.IsZero(), dnsname.Root.IsZero(), zero == dnsname.Root:
		t.Error("the zero Name and the root are not told apart")
	case zero.String() != "", zero.FQDN() != "", zero.Wire() != "", zero.CountLabels() != 0, zero.IsWildcard():
		t.Error("the zero Name is not empty")
	case zero.Under(dnsname.Root), zero.Under(zero), dnsname.Root.Under(zero):
		t.Error("the zero Name is under something, or something under it")
	}
	if parent, ok := zero.Parent(); ok {
		t.Errorf("the zero Name has the parent %q", parent)
	}
	if child, err := zero.Child("nas"); err == nil {
		t.Errorf("the zero Name has the child %q", child)
	}
}

func TestFromWire(t *testing.T) {
	tests := []struct {
		name, msg, want string
		n               int
	}{
		{"plain", "\x03nas\x07example\x03org\x00rest", "nas.example.org", 17},
		{"capitals", "\x03NaS\x07EXAMPLE\x03org\x00", "nas.example.org", 17},
		{"root", "\x00\x00\x01", ".", 1},
		{"length octet that looks like nothing else", "\x3f" + label63 + "\x00", label63, 65},
		{"any octet", "\x05\x00.\\ \xff\x00", `\000\.\\\032\255`, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, n, err := dnsname.FromWire([]byte(tt.msg))
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want || n != tt.n {
				t.Errorf("FromWire = %s, %d; want %s, %d", got, n, tt.want, tt.n)
			}
		})
	}
	long := dnsname.MustParse(name253).Wire()
	if got, n, err := dnsname.FromWire([]byte(long)); err != nil || n != dnsname.MaxWire || got.String() != name253 {
		t.Errorf("FromWire(255 octets) = %s, %d, %v", got, n, err)
	}
	refused := []struct{ name, msg string }{
		{"nothing", ""},
		{"no root", "\x03nas"},
		{"label cut short", "\x03na"},
		{"pointer", "\x03nas\xc0\x0c"},
		{"pointer at once", "\xc0\x00"},
		{"extended label", "\x41\x01"},
		{"64-octet label", "\x40" + label64 + "\x00"},
		{"256 octets", "\x3f" + label63 + "\x3f" + label63 + "\x3f" + label63 + "\x3e" + label63[:62] + "\x00"},
		{"257 octets", "\x01a" + long[:254] + "\x00"},
		{"endless", strings.Repeat("\x01a", 4096)},
	}
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			if got, n, err := dnsname.FromWire([]byte(tt.msg)); err == nil || n != 0 || !got.IsZero() {
				t.Errorf("FromWire = %q, %d, %v; want a refusal", got, n, err)
			}
		})
	}
}

func TestUnder(t *testing.T) {
	tests := []struct {
		name, owner, apex string
		want              bool
	}{
		{"itself", "example.com", "example.com", true},
		{"child", "nas.example.com", "example.com", true},
		{"grandchild", "a.b.example.com", "example.com", true},
		{"the root holds all", "example.com", ".", true},
		{"the root holds itself", ".", ".", true},
		{"no label boundary", "badexample.com", "example.com", false},
		{"above", "com", "example.com", false},
		{"the root under a name", ".", "com", false},
		{"beside", "example.org", "example.com", false},
		{"a label that holds the apex in wire form", `x\007example\003com.com`, "example.com", false},
		{"a label that ends as the apex does, octet for octet", `aaaa\007example\003com`, "example.com", false},
		{"escaped dot", `nas\.example.com`, "example.com", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			owner, apex := dnsname.MustParse(tt.owner), dnsname.MustParse(tt.apex)
			if got := owner.Under(apex); got != tt.want {
				t.Errorf("%s under %s: got %t, want %t", owner, apex, got, tt.want)
			}
		})
	}
}

func TestParentAndLabels(t *testing.T) {
	n := dnsname.MustParse(`_acme-challenge.first\.last.example.org`)
	want := []string{"_acme-challenge", "first.last", "example", "org"}
	var got []string
	for label := range n.Labels() {
		got = append(got, label)
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("labels = %q, want %q", got, want)
	}
	for label := range n.Labels() {
		if label != want[0] {
			t.Errorf("first label = %q, want %q", label, want[0])
		}
		break
	}
	if n.CountLabels() != 4 || dnsname.Root.CountLabels() != 0 {
		t.Errorf("counts = %d and %d, want 4 and 0", n.CountLabels(), dnsname.Root.CountLabels())
	}
	above := []string{}
	for p, ok := n.Parent(); ok; p, ok = p.Parent() {
		above = append(above, p.String())
	}
	if got, want := strings.Join(above, " "), `first\.last.example.org example.org org .`; got != want {
		t.Errorf("parents = %s, want %s", got, want)
	}
}

func TestChild(t *testing.T) {
	apex := dnsname.MustParse("example.org")
	for label, want := range map[string]string{
		"_acme-challenge": "_acme-challenge.example.org",
		"NAS":             "nas.example.org",
		"first.last":      `first\.last.example.org`,
		label63:           label63 + ".example.org",
	} {
		got, err := apex.Child(label)
		if err != nil || got != dnsname.MustParse(want) {
			t.Errorf("Child(%q) = %s, %v; want %s", label, got, err, want)
		}
	}
	if got, err := dnsname.Root.Child("org"); err != nil || got != dnsname.MustParse("org") {
		t.Errorf("child of the root = %s, %v", got, err)
	}
	for _, label := range []string{"", label64} {
		got, err := apex.Child(label)
		wantRefusal(t, got, err, "is not a label")
	}
	got, err := dnsname.MustParse(name253).Child("a")
	wantRefusal(t, got, err, "is longer than 255 octets")
	full := dnsname.MustParse(name253)
	parent, _ := full.Parent()
	if got, err := parent.Child(label63); err != nil || got != full {
		t.Errorf("child of 255 octets = %s, %v", got, err)
	}
}

func TestIsWildcard(t *testing.T) {
	for text, want := range map[string]bool{
		"*.example.org": true, "*": true, `\042.example.org`: true,
		"a.*.example.org": false, "a*.example.org": false, "**.example.org": false, ".": false,
	} {
		if got := dnsname.MustParse(text).IsWildcard(); got != want {
			t.Errorf("%s is a wildcard: got %t, want %t", text, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	type row struct {
		Owner dnsname.Name         `json:"owner"`
		None  dnsname.Name         `json:"none"`
		TTL   map[dnsname.Name]int `json:"ttl"`
	}
	var got row
	if err := json.Unmarshal([]byte(`{"owner": "NAS.Example.ORG.", "none": "", "ttl": {"Example.org": 60}}`), &got); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"owner":"nas.example.org","none":"","ttl":{"example.org":60}}`; string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	before := dnsname.MustParse("nas.example.org")
	n := before
	if err := n.UnmarshalText([]byte("..")); err == nil || n != before {
		t.Errorf("after a refusal the name is %s, %v; want it untouched", n, err)
	}
}
