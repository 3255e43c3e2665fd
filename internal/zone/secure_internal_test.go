package zone

import (
	"slices"
	"strings"
	"testing"

	"godwit/internal/dnsname"
)

// TestSuccessor: what comes next in canonical order (RFC 4034 section 6.1), with
// nothing between or, past a cut, with nothing between but what is below.
func TestSuccessor(t *testing.T) {
	label := func(n int, last string) string { return strings.Repeat("a", n-len(last)) + last }
	full := label(63, "") + "." + label(63, "") + "." + label(63, "") + "."
	for _, tt := range []struct {
		name, next string
		past       bool
	}{
		{"a.example", "\x00.a.example", false},
		{"a.example", "a\x00.example", true},
		{"*.example", "*\x00.example", true},
		{label(63, "a") + ".example", label(63, "b") + ".example", true},
		{label(63, "@") + ".example", label(63, "[") + ".example", true}, // A to Z are a to z
		{full + label(59, "a"), "\x00." + full + label(59, "a"), false},
		{full + label(60, "a"), full + label(60, "a"), false}, // one octet is left: at the end of the first label, see below
		{full + label(61, "a"), "", false},
	} {
		wire := func(text string) (out []byte) {
			for l := range strings.SplitSeq(text, ".") {
				out = append(append(out, byte(len(l))), l...)
			}
			return append(out, 0)
		}
		name := wire(tt.name)
		if len(name) > dnsname.MaxWire {
			t.Fatalf("%q has %d octets", tt.name, len(name))
		}
		got := appendSuccessor(nil, name, tt.past)
		if len(got) > dnsname.MaxWire {
			t.Errorf("%q: the next one has %d octets", tt.name, len(got))
		}
		if canonical(name, got) >= 0 {
			t.Errorf("%q: %q does not come after it", tt.name, got)
		}
		if len(name) < dnsname.MaxWire-1 && string(got) != string(wire(tt.next)) {
			t.Errorf("%q: %q, want %q", tt.name, got, wire(tt.next))
		}
	}
}

// canonical compares names by their labels from the right.
func canonical(a, b []byte) int {
	split := func(n []byte) (labels []string) {
		for ; n[0] != 0; n = n[1+int(n[0]):] {
			labels = append(labels, strings.ToLower(string(n[1:1+int(n[0])])))
		}
		slices.Reverse(labels)
		return labels
	}
	return slices.Compare(split(a), split(b))
}
