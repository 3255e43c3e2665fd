package zone

import "time"

// Serial is a SOA serial. It has no <, because RFC 1982 gives serials no total
// order: ask [Serial.Before].
type Serial uint32

// Before tells whether s comes before t in the sense of RFC 1982 section 3.2.
// Of two serials that are exactly 2^31 apart neither is before the other.
func (s Serial) Before(t Serial) bool {
	d := uint32(t) - uint32(s)
	return d != 0 && d < 1<<31
}

// Next is the serial after prev for a change at time now: the Unix time where
// that moves forward, else prev + 1. So it never goes back, whatever the clock
// does, and goes on from a date serial such as 2026010100 that secondaries may
// still hold: that is ahead of the Unix time until 2034.
func Next(prev Serial, now time.Time) Serial {
	if unix := Serial(uint32(now.Unix())); (prev + 1).Before(unix) {
		return unix
	}
	return prev + 1
}
