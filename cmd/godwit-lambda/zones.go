package main

import (
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// hostedZones are the IDs of the hosted zones by apex. It is ddns.Zones: what
// else is in a hosted zone is not known here, and Route 53 refuses what clashes.
type hostedZones map[dnsname.Name]string

func zonesOf(s settings) hostedZones {
	ids := make(hostedZones, len(s.zones))
	for _, z := range s.zones {
		ids[z.apex] = z.id
	}
	return ids
}

// Zone is the longest apex that the name is under.
func (z hostedZones) Zone(name dnsname.Name) (apex dnsname.Name, ok bool) {
	for at := range z {
		if name.Under(at) && (!ok || len(at.Wire()) > len(apex.Wire())) {
			apex, ok = at, true
		}
	}
	return apex, ok
}

// Clash is never known.
func (hostedZones) Clash(dnsname.Name) error { return nil }

var _ ddns.Zones = hostedZones(nil)
