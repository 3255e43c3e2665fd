package dnsserver

import (
	"testing"

	"codeberg.org/miekg/dns"
)

// TestTypeRows holds the two tables of counted types to each other.
func TestTypeRows(t *testing.T) {
	seen := map[uint8]bool{}
	for qtype, row := range typeRows {
		if row == 0 {
			continue
		}
		seen[row] = true
		if got, want := typeNames[row], dns.TypeToString[uint16(qtype)]; got != want {
			t.Errorf("type %d is counted as %s, want %s", qtype, got, want)
		}
	}
	if len(seen) != len(typeNames)-1 {
		t.Errorf("%d types are counted under %d names", len(seen), len(typeNames)-1)
	}
}
