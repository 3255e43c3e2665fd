package dnsserver

import (
	"net/netip"
	"time"
)

// NewTestResponder is a responder alone, with the default settings.
func NewTestResponder(zones Zones) func(query, out []byte, client netip.Addr, tcp bool, now time.Time) []byte {
	r := &responder{zones: zones, secrets: newSecrets(), counts: &counts{}, udpSize: 1232, keepalive: 10 * time.Second}
	return r.respond
}
