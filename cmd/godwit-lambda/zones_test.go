package main

import (
	"testing"

	"godwit/internal/dnsname"
)

func TestZones(t *testing.T) {
	zones := hostedZones{
		dnsname.MustParse("example.com"): "Z1", dnsname.MustParse("dyn.example.com"): "Z2", dnsname.MustParse("example.org"): "Z3",
	}
	for name, want := range map[string]string{
		"nas.dyn.example.com": "dyn.example.com", "dyn.example.com": "dyn.example.com", "nas.example.com": "example.com",
		"baddyn.example.com": "example.com", "example.net": "", "com": "",
	} {
		apex, ok := zones.Zone(dnsname.MustParse(name))
		if ok != (want != "") || ok && apex != dnsname.MustParse(want) {
			t.Errorf("%s is in %s, %t; want %q", name, apex, ok, want)
		}
	}
}
