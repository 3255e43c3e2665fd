package dnsname_test

import (
	"testing"

	"godwit/internal/dnsname"
)

// TestAllocations holds what the answer path and the update path may cost.
func TestAllocations(t *testing.T) {
	owner, apex := dnsname.MustParse("nas.dyn.example.com"), dnsname.MustParse("example.com")
	msg := []byte(owner.Wire())
	tests := []struct {
		name string
		want float64
		do   func()
	}{
		{"Parse", 1, func() { mustParse(t, "nas.dyn.example.com") }},
		{"Parse, capitals and a trailing dot", 1, func() { mustParse(t, "NAS.dyn.Example.com.") }},
		{"ParseHost", 1, func() {
			if _, err := dnsname.ParseHost("nas.dyn.example.com"); err != nil {
				t.Fatal(err)
			}
		}},
		{"FromWire", 1, func() {
			if _, _, err := dnsname.FromWire(msg); err != nil {
				t.Fatal(err)
			}
		}},
		{"Child", 1, func() {
			if _, err := owner.Child("_acme-challenge"); err != nil {
				t.Fatal(err)
			}
		}},
		{"String", 1, func() { _ = owner.String() }},
		{"Labels", 0, func() {
			for label := range owner.Labels() {
				_ = label
			}
		}},
		{"CountLabels", 0, func() { _ = owner.CountLabels() }},
		{"Parent", 0, func() { _, _ = owner.Parent() }},
		{"Under", 0, func() { _ = owner.Under(apex) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, tt.do); got > tt.want {
				t.Errorf("%v allocations, want at most %v", got, tt.want)
			}
		})
	}
}

func mustParse(t *testing.T, text string) {
	if _, err := dnsname.Parse(text); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bb := range []struct{ name, text string }{
		{"ascii", "nas.dyn.example.com"},
		{"capitals", "NAS.Dyn.Example.com."},
		{"international", "bücher.dyn.example.com"},
		{"longest", name253},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dnsname.Parse(bb.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseHost(b *testing.B) {
	for _, bb := range []struct{ name, text string }{
		{"ascii", "nas.dyn.example.com"},
		{"international", "xn--bcher-kva.dyn.example.com"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dnsname.ParseHost(bb.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFromWire(b *testing.B) {
	msg := []byte("\x03NAS\x03dyn\x07example\x03com\x00\x00\x01\x00\x01")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := dnsname.FromWire(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkString(b *testing.B) {
	n := dnsname.MustParse("nas.dyn.example.com")
	b.ReportAllocs()
	for b.Loop() {
		_ = n.String()
	}
}

func BenchmarkUnder(b *testing.B) {
	owner, apex := dnsname.MustParse("nas.dyn.example.com"), dnsname.MustParse("example.com")
	b.ReportAllocs()
	for b.Loop() {
		if !owner.Under(apex) {
			b.Fatal("not under its apex")
		}
	}
}
