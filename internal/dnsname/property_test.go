package dnsname_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/internal/dnsname"
)

// genWire makes wire names of every kind that fits: any octet, any length.
func genWire() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var wire strings.Builder
		for range rapid.IntRange(0, 127).Draw(t, "labels") {
			room := dnsname.MaxWire - 1 - wire.Len() - 1 // the root's octet, the length octet
			if room < 1 {
				break
			}
			label := rapid.SliceOfN(rapid.Byte(), 1, min(63, room)).Draw(t, "label")
			wire.WriteByte(byte(len(label)))
			wire.Write(label)
		}
		wire.WriteByte(0)
		return wire.String()
	})
}

func genName() *rapid.Generator[dnsname.Name] {
	return rapid.Map(genWire(), func(wire string) dnsname.Name {
		n, _, err := dnsname.FromWire([]byte(wire))
		if err != nil {
			panic(err) // genWire makes valid names only
		}
		return n
	})
}

// genText makes texts that are often names and now and then not.
func genText() *rapid.Generator[string] {
	label := rapid.OneOf(
		rapid.StringMatching(`[A-Za-z0-9_-]{1,63}`),
		rapid.SampledFrom([]string{"bücher", "STRAßE", "עברית", "ｎａｓ", "xn--bcher-kva", "XN--", "*", "💩", `a\.b`, `\046`, `\000`, "na\u00ads", "\u00ad", ""}),
		rapid.String(),
	)
	return rapid.Map(rapid.SliceOfN(label, 1, 6), func(labels []string) string {
		return strings.Join(labels, ".")
	})
}

func TestWireAndTextKeepTheName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wire := genWire().Draw(t, "wire")
		n, took, err := dnsname.FromWire([]byte(wire + "rest"))
		if err != nil || took != len(wire) {
			t.Fatalf("FromWire = %d octets, %v; want %d", took, err, len(wire))
		}
		if want := asciiLower(wire); n.Wire() != want {
			t.Fatalf("Wire = %q, want %q", n.Wire(), want)
		}
		checkCanonical(t, n)
	})
}

func TestCanonicalTwiceIsCanonicalOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := genText().Draw(t, "text")
		for _, parse := range []func(string) (dnsname.Name, error){dnsname.Parse, dnsname.ParseHost} {
			once, err := parse(text)
			if err != nil {
				continue
			}
			twice, err := parse(once.String())
			if err != nil || twice != once {
				t.Fatalf("%q is %s, and that is %s, %v", text, once, twice, err)
			}
		}
	})
}

func TestUnderIsByLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner, apex := genName().Draw(t, "owner"), genName().Draw(t, "apex")
		if rapid.Bool().Draw(t, "make it a suffix") {
			apex = owner
			for range rapid.IntRange(0, owner.CountLabels()).Draw(t, "steps up") {
				apex, _ = apex.Parent()
			}
		}
		ownerLabels, apexLabels := slices.Collect(owner.Labels()), slices.Collect(apex.Labels())
		cut := len(ownerLabels) - len(apexLabels)
		want := cut >= 0 && slices.Equal(ownerLabels[max(cut, 0):], apexLabels)
		if got := owner.Under(apex); got != want {
			t.Fatalf("%s under %s: got %t, want %t", owner, apex, got, want)
		}
	})
}

// A longer first label makes another name with the same end, octet for octet
// but for its length: it must not be under what the shorter one is under.
func TestUnderNeverBySuffix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		apex := genName().Draw(t, "apex")
		rest, ok := apex.Parent()
		if !ok {
			t.Skip("the root has no suffix that could deceive")
		}
		label := slices.Collect(apex.Labels())[0]
		neighbour, err := rest.Child("bad" + label)
		if err != nil {
			t.Skip("no room for a longer label")
		}
		if neighbour.Under(apex) {
			t.Fatalf("%s is under %s", neighbour, apex)
		}
	})
}

func TestChildAndParent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := genName().Draw(t, "name")
		label := string(rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "label"))
		child, err := n.Child(label)
		fits := label != "" && len(label) <= 63 && len(n.Wire())+1+len(label) <= dnsname.MaxWire
		if (err == nil) != fits {
			t.Fatalf("Child(%q) = %v, want it to succeed: %t", label, err, fits)
		}
		if err != nil {
			return
		}
		checkCanonical(t, child)
		if parent, ok := child.Parent(); !ok || parent != n {
			t.Fatalf("parent of %s = %s, want %s", child, parent, n)
		}
		if !child.Under(n) || n.Under(child) {
			t.Fatalf("%s and %s stand in the wrong order", child, n)
		}
	})
}

// asciiLower is the letters of wire folded and every other octet as it is; a
// length octet is below 'A'.
func asciiLower(wire string) string {
	out := []byte(wire)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c | 0x20
		}
	}
	return string(out)
}

// checkCanonical holds what is true of every Name.
func checkCanonical(t interface{ Fatalf(string, ...any) }, n dnsname.Name) {
	wire := n.Wire()
	if len(wire) < 1 || len(wire) > dnsname.MaxWire {
		t.Fatalf("%q has %d octets", wire, len(wire))
	}
	if strings.ContainsAny(wire, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t.Fatalf("%q is not in lower case", wire)
	}
	again, took, err := dnsname.FromWire([]byte(wire))
	if err != nil || again != n || took != len(wire) {
		t.Fatalf("from the wire %s came back as %s, %d, %v", n, again, took, err)
	}
	for _, text := range []string{n.String(), n.FQDN()} {
		back, err := dnsname.Parse(text)
		if err != nil || back != n {
			t.Fatalf("%q came back as %q, %v", text, back, err)
		}
		for i := range len(text) {
			if text[i] <= ' ' || text[i] >= 0x7f {
				t.Fatalf("%q is not plain ASCII", text)
			}
		}
	}
	size := 1
	for label := range n.Labels() {
		if label == "" || len(label) > 63 {
			t.Fatalf("%s has a label of %d octets", n, len(label))
		}
		size += 1 + len(label)
	}
	if size != len(wire) {
		t.Fatalf("the labels of %s make %d octets, its wire form has %d", n, size, len(wire))
	}
}
