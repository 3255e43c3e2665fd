// Package tsig reads, checks and makes transaction signatures of DNS messages
// (RFC 8945), octets to octets and without building a message. It knows no store,
// no socket and no clock.
//
// A message is read once with [Read], which finds the TSIG record behind all
// others; [Key.Verify] then checks it over the octets that came, so that nothing
// of the message is understood before its key is. [Key.Sign] appends a record to
// a message. Answers are signed over the MAC of their request, and messages of a
// stream over the MAC before them (RFC 8945 section 5.3.1).
package tsig

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"time"
)

// Fudge is the difference of clocks in seconds that RFC 8945 section 10
// recommends, and the greatest that is granted: a message may say more.
const Fudge = 300

// Values of the error field (RFC 8945 section 3).
const (
	BadSig   = 16
	BadKey   = 17
	BadTime  = 18
	BadTrunc = 22
)

const (
	headerLen = 12
	maxName   = 255
	typeTSIG  = 250
	classANY  = 255
	// timersLen is how long the fixed part of the record's data is before the MAC.
	timersLen = 6 + 2 + 2
)

// Errors of reading and checking, to be matched with errors.Is.
var (
	// ErrNone: the message has no TSIG record.
	ErrNone = errors.New("the message has no TSIG record")
	// ErrFormat: the message or its TSIG record is malformed, there are several or
	// it is not the last, or the MAC is of a length that RFC 8945 section 5.2.2.1
	// forbids. The answer is FORMERR.
	ErrFormat = errors.New("the message or its TSIG record is malformed")
	// ErrKey, ErrSig, ErrTime and ErrTrunc are BADKEY, BADSIG, BADTIME and BADTRUNC.
	// After the last two the sender is known to hold the key, so the answer is signed.
	ErrKey   = errors.New("the TSIG key or its algorithm is another one")
	ErrSig   = errors.New("the TSIG signature does not hold")
	ErrTime  = errors.New("the TSIG signature is of another time")
	ErrTrunc = errors.New("the TSIG signature is truncated")
)

// Record is the TSIG record of a message. What [Read] returns shares the
// message's memory, except for the names.
type Record struct {
	Name       []byte // of the key, in lower-case wire form
	Algorithm  []byte // in lower-case wire form; see [ParseAlgorithm]
	Time       uint64 // when the message was signed, Unix seconds, 48 bits
	Fudge      uint16 // seconds that Time may be off
	MAC        []byte
	OriginalID uint16
	Error      uint16
	Other      []byte // of BADTIME: the server's time in 6 octets
	// Offset is where the record begins in its message, and so how long the
	// message is without it.
	Offset int
}

// Read finds the TSIG record of a message, which must be the last record. It
// looks at each octet at most once, but for names that the record points back to.
func Read(msg []byte) (Record, error) {
	if len(msg) < headerLen {
		return Record{}, ErrFormat
	}
	at := headerLen
	for range binary.BigEndian.Uint16(msg[4:]) {
		if at = skipName(msg, at); at == 0 || at+4 > len(msg) {
			return Record{}, ErrFormat
		}
		at += 4
	}
	records := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:])) + int(binary.BigEndian.Uint16(msg[10:]))
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	for i := range records {
		start := at
		if at = skipName(msg, at); at == 0 || at+10 > len(msg) {
			return Record{}, ErrFormat
		}
		fixed := msg[at : at+10]
		data := at + 10
		if at = data + int(binary.BigEndian.Uint16(fixed[8:])); at > len(msg) {
			return Record{}, ErrFormat
		}
		if binary.BigEndian.Uint16(fixed) != typeTSIG {
			continue
		}
		// RFC 8945 section 4.2: class ANY, TTL 0; section 5.1: the last one, in the
		// additional section.
		if i != records-1 || additional == 0 || at != len(msg) || binary.BigEndian.Uint16(fixed[2:]) != classANY || binary.BigEndian.Uint32(fixed[4:]) != 0 {
			return Record{}, ErrFormat
		}
		r := Record{Offset: start}
		if r.Name = readName(msg, start); r.Name == nil || !r.read(msg[data:at]) {
			return Record{}, ErrFormat
		}
		return r, nil
	}
	if at != len(msg) {
		return Record{}, ErrFormat
	}
	return Record{}, ErrNone
}

// read reads the record's data. The algorithm's name is not compressed
// (RFC 3597 section 4).
func (r *Record) read(data []byte) bool {
	end := skipName(data, 0)
	if end == 0 || data[end-1] != 0 || end+timersLen > len(data) {
		return false
	}
	if r.Algorithm = readName(data, 0); r.Algorithm == nil || len(r.Algorithm) != end {
		return false
	}
	data = data[end:]
	r.Time = uint64(binary.BigEndian.Uint16(data))<<32 | uint64(binary.BigEndian.Uint32(data[2:]))
	r.Fudge = binary.BigEndian.Uint16(data[6:])
	size := int(binary.BigEndian.Uint16(data[8:]))
	if data = data[timersLen:]; size+6 > len(data) {
		return false
	}
	r.MAC, data = data[:size:size], data[size:]
	r.OriginalID = binary.BigEndian.Uint16(data)
	r.Error = binary.BigEndian.Uint16(data[2:])
	size = int(binary.BigEndian.Uint16(data[4:]))
	if data = data[6:]; size != len(data) {
		return false
	}
	r.Other = data
	return true
}

// skipName returns where the name that starts at i ends, 0 if it is none.
func skipName(msg []byte, i int) int {
	for start := i; i < len(msg) && i-start < maxName; {
		switch n := int(msg[i]); {
		case n == 0:
			return i + 1
		case n >= 0xc0:
			if i+2 > len(msg) {
				return 0
			}
			return i + 2
		case n > 63:
			return 0
		default:
			i += 1 + n
		}
	}
	return 0
}

// readName is the name at i in lower-case wire form without compression; nil if
// it is none. Pointers lead back, so there is an end.
func readName(msg []byte, i int) []byte {
	name := make([]byte, 0, 64)
	for limit := i; ; {
		if i >= len(msg) {
			return nil
		}
		n := int(msg[i])
		switch {
		case n >= 0xc0:
			if i+2 > len(msg) {
				return nil
			}
			if i = n&0x3f<<8 | int(msg[i+1]); i >= limit {
				return nil
			}
			limit = i
			continue
		case n > 63, i+1+n > len(msg), len(name)+1+n > maxName:
			return nil
		}
		name = append(name, msg[i:i+1+n]...)
		if n == 0 {
			return name
		}
		for j := len(name) - n; j < len(name); j++ {
			if c := name[j]; c-'A' < 26 {
				name[j] += 'a' - 'A'
			}
		}
		i += 1 + n
	}
}

// Signed is what a record's MAC is over (RFC 8945 sections 4.3 and 5.3.1). msg
// is the message; what is behind Offset, the record itself, does not count.
// prior is the MAC of the request for a response, the MAC before for a further
// message of a stream, nil for a request. timersOnly is for a further message
// of a stream: then prior stands for name and algorithm.
func (r *Record) Signed(msg, prior []byte, timersOnly bool) []byte {
	out := make([]byte, 0, 2+len(prior)+r.Offset+len(r.Name)+len(r.Algorithm)+24+len(r.Other))
	if prior != nil {
		out = binary.BigEndian.AppendUint16(out, uint16(len(prior)))
		out = append(out, prior...)
	}
	start := len(out)
	out = append(out, msg[:r.Offset]...)
	binary.BigEndian.PutUint16(out[start:], r.OriginalID) // a forwarder may have changed it
	if r.Offset < len(msg) {
		binary.BigEndian.PutUint16(out[start+10:], binary.BigEndian.Uint16(msg[10:])-1)
	}
	if !timersOnly {
		out = append(out, r.Name...)
		out = append(out, 0, classANY, 0, 0, 0, 0)
		out = append(out, r.Algorithm...)
	}
	out = r.appendTimers(out)
	if !timersOnly {
		out = r.appendOther(out)
	}
	return out
}

func (r *Record) appendTimers(out []byte) []byte {
	out = binary.BigEndian.AppendUint16(out, uint16(r.Time>>32))
	out = binary.BigEndian.AppendUint32(out, uint32(r.Time))
	return binary.BigEndian.AppendUint16(out, r.Fudge)
}

func (r *Record) appendOther(out []byte) []byte {
	out = binary.BigEndian.AppendUint16(out, r.Error)
	out = binary.BigEndian.AppendUint16(out, uint16(len(r.Other)))
	return append(out, r.Other...)
}

// Append appends the record to msg, which must not have one, and counts it.
// msg[:12] is the header.
func (r *Record) Append(msg []byte) []byte {
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	msg = append(msg, r.Name...)
	msg = append(msg, 0, typeTSIG, 0, classANY, 0, 0, 0, 0, 0, 0)
	data := len(msg)
	msg = append(msg, r.Algorithm...)
	msg = r.appendTimers(msg)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(r.MAC)))
	msg = append(msg, r.MAC...)
	msg = binary.BigEndian.AppendUint16(msg, r.OriginalID)
	msg = r.appendOther(msg)
	binary.BigEndian.PutUint16(msg[data-2:], uint16(len(msg)-data))
	return msg
}

// Size is how many octets Append adds, for a record whose MAC has its length.
func (r *Record) Size() int {
	return len(r.Name) + 10 + len(r.Algorithm) + timersLen + len(r.MAC) + 6 + len(r.Other)
}

// Refusal is the record of an unsigned answer, which says BadKey or BadSig
// (RFC 8945 section 5.3.2). Its time is the client's own: an answer without a
// signature proves nothing anyway.
func (r *Record) Refusal(code uint16) Record {
	return Record{Name: r.Name, Algorithm: r.Algorithm, Time: r.Time, Fudge: r.Fudge, OriginalID: r.OriginalID, Error: code}
}

// Response is the record of a signed answer to a request, before it is signed.
// code 0 is success; with BadTime the record tells the server's time and keeps
// the client's, so that the client can check it (RFC 8945 section 5.2.3).
func (r *Record) Response(code uint16, now time.Time) Record {
	out := Record{Name: r.Name, Algorithm: r.Algorithm, Time: seconds(now), Fudge: Fudge, OriginalID: r.OriginalID, Error: code}
	if code == BadTime {
		out.Other = binary.BigEndian.AppendUint16(nil, uint16(out.Time>>32))
		out.Other = binary.BigEndian.AppendUint32(out.Other, uint32(out.Time))
		out.Time, out.Fudge = r.Time, r.Fudge
	}
	return out
}

func seconds(t time.Time) uint64 { return uint64(max(0, t.Unix())) & (1<<48 - 1) }

// Off tells whether the record's time is further from now than it may be.
func (r *Record) Off(now time.Time) bool {
	off := int64(r.Time) - int64(seconds(now))
	return max(off, -off) > int64(min(r.Fudge, Fudge))
}

// Key is a shared secret with the one algorithm that it is for. Safe for
// concurrent use.
type Key struct {
	Name      []byte // in lower-case wire form
	Algorithm Algorithm
	Secret    []byte
}

// MAC is the key's full MAC over what [Record.Signed] returns; nil if the key's
// algorithm is none of ours.
func (k Key) MAC(signed []byte) []byte {
	f, ok := functions[k.Algorithm]
	if !ok {
		return nil
	}
	h := hmac.New(f.new, k.Secret)
	h.Write(signed)
	return h.Sum(nil)
}

// Verify checks the record of msg, in the order of RFC 8945 section 5.2: key,
// MAC, time, truncation. prior and timersOnly are those of [Record.Signed]. The
// error is nil, ErrFormat, ErrKey, ErrSig, ErrTime or ErrTrunc. A MAC that was
// truncated never holds here, but ErrTrunc is only for who has the key.
func (k Key) Verify(msg []byte, r *Record, prior []byte, timersOnly bool, now time.Time) error {
	if !bytes.Equal(k.Name, r.Name) || !bytes.Equal(k.Algorithm.Wire(), r.Algorithm) {
		return ErrKey
	}
	if err := k.Check(r, r.Signed(msg, prior, timersOnly)); err != nil {
		return err
	}
	if r.Off(now) {
		return ErrTime
	}
	if len(r.MAC) < k.Algorithm.Size() {
		return ErrTrunc
	}
	return nil
}

// Check is the second step of Verify alone, over what [Record.Signed] returned:
// whether the MAC, or what there is of it, is the key's. The error is nil,
// ErrFormat or ErrSig. It takes the same time whatever the MAC is.
func (k Key) Check(r *Record, signed []byte) error {
	mac := k.MAC(signed)
	if mac == nil || len(r.MAC) > len(mac) || len(r.MAC) < max(10, len(mac)/2) {
		return ErrFormat
	}
	if !hmac.Equal(mac[:len(r.MAC)], r.MAC) {
		return ErrSig
	}
	return nil
}

// Sign signs msg, which has no TSIG record, with what r says of time, ID and
// error, and appends the record. It returns the message and its MAC, which the
// next message of a stream is signed over. r's Name, Algorithm, MAC and Offset
// are set. prior and timersOnly are those of [Record.Signed].
func (k Key) Sign(msg []byte, r *Record, prior []byte, timersOnly bool) (signed, mac []byte) {
	r.Name, r.Algorithm, r.Offset = k.Name, k.Algorithm.Wire(), len(msg)
	r.MAC = k.MAC(r.Signed(msg, prior, timersOnly))
	return r.Append(msg), r.MAC
}

// Request is the record of a request with this ID at this time, for Sign.
func Request(id uint16, now time.Time) Record {
	return Record{Time: seconds(now), Fudge: Fudge, OriginalID: id}
}
