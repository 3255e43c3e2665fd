package secondary

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"godwit/internal/tsig"
)

const (
	headerLen = 12
	// flagsNotify is opcode NOTIFY and AA (RFC 1996 section 3.3).
	flagsNotify = 4<<11 | 1<<10
	typeSOA     = 6
	classIN     = 1
)

// message makes the NOTIFY for a zone, and notes that it was sent.
func (t *told) message(key tsig.Key, serial uint32, now time.Time) []byte {
	t.serial, t.asked, t.known, t.sent = serial, true, false, now
	t.id = uint16(rand.Uint32()) // it is signed: nobody gains by guessing this
	m := binary.BigEndian.AppendUint16(nil, t.id)
	m = binary.BigEndian.AppendUint16(m, flagsNotify)
	m = append(m, 0, 1, 0, 0, 0, 0, 0, 0)
	m = append(m, t.Zone.Wire()...)
	m = append(m, 0, typeSOA, 0, classIN)
	record := tsig.Request(t.id, now)
	m, t.mac = key.Sign(m, &record, nil, false)
	return m
}

// answer tells whether a message is the answer to the last one, with which rcode,
// "" for NOERROR, and whether that says that the zone is none of its. An answer that is not signed counts if it says that the
// signature was not taken, as who cannot check it could do no better (RFC 8945
// section 5.3.2); it acknowledges nothing.
func (t *told) answer(key tsig.Key, reply []byte, now time.Time) (rcode string, refused, ok bool) {
	if binary.BigEndian.Uint16(reply) != t.id || binary.BigEndian.Uint16(reply[2:])&0xf800 != 0x8000|flagsNotify&0x7800 {
		return "", false, false
	}
	code := reply[3] & 0x0f
	record, err := tsig.Read(reply)
	if err == nil && len(record.MAC) > 0 {
		if key.Verify(reply, &record, t.mac, false, now) != nil {
			return "", false, false
		}
	} else if code == 0 {
		return "", false, false
	}
	if code == 0 {
		return "", false, true
	}
	name := fmt.Sprintf("rcode %d", code)
	if names := strings.Fields(rcodes); int(code) < len(names) {
		name = names[code]
	}
	switch record.Error {
	case 0:
		// NXDOMAIN, NOTIMP, REFUSED, NOTAUTH: they differ in what they say then.
		refused = code == 3 || code == 4 || code == 5 || code == 9
	case tsig.BadKey:
		name += ", BADKEY: it does not know the TSIG key"
	case tsig.BadSig:
		name += ", BADSIG: it has another secret for the TSIG key"
	case tsig.BadTime:
		name += ", BADTIME: its clock or this one is wrong"
	}
	return name, refused, true
}

const rcodes = "NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE"
