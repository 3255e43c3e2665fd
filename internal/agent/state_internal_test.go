package agent

import (
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzState: whatever is in the state file, only addresses of the right family
// are believed, and what is believed is written and read to the same.
func FuzzState(f *testing.F) {
	for _, text := range []string{
		`{"targets":{"nas.dyn.example.com@ddns.example.com":{"offset":-9,"last_created":1,"families":{"IPv4":{"address":"198.51.100.7"},"IPv6":{"address":"198.51.100.7"}}}}}`,
		`{"targets":{"nas.dyn.example.com@ddns.example.com":null}}`, `{"targets":{"nas.dyn.example.com@ddns.example.com":{"families":{"IPv4":null}}}}`,
		`{"targets":null}`, `null`, `[]`, `{`, "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _ := parseMemory(data)
		target := m.target("nas.dyn.example.com@ddns.example.com")
		for _, family := range []Family{IPv4, IPv6} {
			if addr := target.family(family).Address; addr.IsValid() && addr.Is4() != (family == IPv4) {
				t.Fatalf("%s has %s", family, addr)
			}
		}
		written, err := json.Marshal(target)
		if err != nil {
			t.Fatal(err)
		}
		var again targetMemory
		if err := json.Unmarshal(written, &again); err != nil || again.LastCreated != target.LastCreated || again.Offset != target.Offset ||
			!reflect.DeepEqual(again.family(IPv4).Address, target.family(IPv4).Address) {
			t.Fatalf("%v: %s", err, written)
		}
	})
}
