package dnsserver

import (
	"net/netip"
	"time"
)

// NewTestResponder is a responder alone, with the default settings and a limit
// of so many responses in a second, 0: none.
func NewTestResponder(zones Zones, perSecond int) func(query, out []byte, client netip.Addr, tcp bool, now time.Time) []byte {
	r := &responder{zones: zones, secrets: newSecrets(), counts: &counts{}, udpSize: 1232, keepalive: 10 * time.Second}
	if perSecond > 0 {
		r.limiter = newLimiter(perSecond, time.Unix(1_800_000_000, 0))
	}
	return r.respond
}
