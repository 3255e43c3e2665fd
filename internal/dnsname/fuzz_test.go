package dnsname_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"godwit/internal/dnsname"
)

// seeds are texts that have hurt somebody.
var seeds = []string{
	"", ".", "..", "nas.example.org", "NAS.Example.ORG.", "badexample.com",
	"nas." + label64, name253, name253 + ".", name254, name254 + ".",
	`\046`, `a\.b.example.org`, `\`, `\2`, `\256`, `\000`, "nas\x00.example.org",
	"xn--", "xn--.example.org", "xn--0.example.org", "XN--Bcher-KVA.example.org", "xn--xn--bcher-u9a.example.org",
	"*", "*.example.org", "_acme-challenge.nas.example.org", "_acme-challenge.bücher.example.org",
	"💩.example.org", "straße.example.org", "עברית.3com.example.org", "nas。example．org｡",
	"na\u00ads.example.org", "nas.example.\u00ad", "n\xffas.example.org", "192.0.2.1", "192.0.2.0x1f", "2001:db8::1",
}

func FuzzParse(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := dnsname.Parse(text)
		if err != nil {
			checkRefusal(t, n, err)
			return
		}
		if n.IsZero() {
			t.Fatalf("Parse(%q) is no name and no error", text)
		}
		checkCanonical(t, n)
		if before, ok := strings.CutSuffix(text, "."); ok && before != "" && !strings.HasSuffix(before, `\`) {
			if same, err := dnsname.Parse(before); err != nil || same != n {
				t.Fatalf("%q is %s with its dot and %s, %v without", text, n, same, err)
			}
		}
		if upper, err := dnsname.Parse(strings.ToUpper(n.String())); err != nil || upper != n {
			t.Fatalf("%s in capitals is %s, %v", n, upper, err)
		}
	})
}

func FuzzParseHost(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := dnsname.ParseHost(text)
		if err != nil {
			checkRefusal(t, n, err)
			return
		}
		checkCanonical(t, n)
		if plain, err := dnsname.Parse(text); err != nil || plain != n {
			t.Fatalf("ParseHost(%q) = %s, but Parse says %s, %v", text, n, plain, err)
		}
		if again, err := dnsname.ParseHost(n.String()); err != nil || again != n {
			t.Fatalf("%q is the host %s, which is %s, %v", text, n, again, err)
		}
		if n.CountLabels() < 2 {
			t.Fatalf("%s is a single label", n)
		}
		if _, err := netip.ParseAddr(n.String()); err == nil {
			t.Fatalf("%s is an address", n)
		}
		if host := strings.TrimPrefix(n.String(), "*."); strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			t.Fatalf("%s is not a host name", n)
		}
	})
}

func FuzzFromWire(f *testing.F) {
	for _, seed := range seeds {
		if n, err := dnsname.Parse(seed); err == nil {
			f.Add([]byte(n.Wire()))
		}
	}
	f.Add([]byte("\x03NAS\x07EXAMPLE\x03ORG\x00rest"))
	f.Add([]byte("\x03nas\xc0\x00"))
	f.Add([]byte("\x01\x00\x00"))
	f.Add([]byte(strings.Repeat("\x01a", 128)))
	f.Fuzz(func(t *testing.T, msg []byte) {
		n, took, err := dnsname.FromWire(msg)
		if err != nil {
			if took != 0 || !n.IsZero() {
				t.Fatalf("refused, and yet %s, %d octets", n, took)
			}
			return
		}
		if want := asciiLower(string(msg[:took])); n.Wire() != want {
			t.Fatalf("Wire = %q, want %q", n.Wire(), want)
		}
		checkCanonical(t, n)
	})
}

// checkRefusal holds what is true of every refusal: it is one, it can be shown,
// and it costs a stranger's text at most 80 octets of room.
func checkRefusal(t *testing.T, n dnsname.Name, err error) {
	refusal, ok := errors.AsType[*dnsname.Error](err)
	switch {
	case !ok:
		t.Fatalf("error is a %T", err)
	case !n.IsZero():
		t.Fatalf("refused, and yet the name is %q", n)
	case refusal.Why == "", refusal.Fix == "", len(refusal.Text) > 80, len(refusal.Error()) > 1024:
		t.Fatalf("refusal is not fit to be shown: %q", err)
	case !utf8.ValidString(refusal.Why):
		t.Fatalf("reason %q is not UTF-8", refusal.Why)
	}
}
