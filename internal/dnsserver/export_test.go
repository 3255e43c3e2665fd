package dnsserver

import (
	"net/netip"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
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

// ReadUpdate reads a message that ends where its TSIG record would begin.
func ReadUpdate(msg []byte, zoneOf func(dnsname.Name) dnsname.Name) (rcode uint16, host dnsname.Name, changes []ddns.Change, asked []ddns.Precondition) {
	var m updateMessage
	rcode = m.read(msg, len(msg), zoneOf)
	return rcode, m.host, m.changes, m.asked
}
