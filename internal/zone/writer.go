package zone

import (
	"encoding/binary"

	"codeberg.org/miekg/dns"
)

const (
	headerLen = 12
	// maxNames bounds the compression table. Names beyond it are written in
	// full, which costs octets and nothing else.
	maxNames = 48
	// Slack is how much room a message buffer needs beyond the size limit: the
	// record that turns out not to fit is written before it is taken back.
	Slack = 1024
)

// A Writer writes one response. It is made once per goroutine and used again
// with [Writer.Start]; nothing here allocates while the buffer is large enough.
type Writer struct {
	msg      []byte
	limit    int
	question int    // where the question ends and the records start
	qname    []byte // lower case
	source   []byte // see Source
	names    [maxNames]nameAt
	written  int // how many of names are in use
	counts   [3]uint16
	section  int
	rcode    uint8
	aa, full bool
	signing
}

// nameAt says that a name, or the end of one, stands in the message.
type nameAt struct {
	name []byte // lower case; belongs to the zone or to the caller of Start
	at   uint16
}

// The sections of a response after the question.
const (
	answerSection = iota
	authoritySection
	additionalSection
)

// Start begins a response. msg holds the header and one question, whose name
// starts at octet 12 in the asker's own case; qname is the same name in lower
// case. limit is the size in octets that the message may reach, and msg should
// have a capacity of limit + [Slack]. Both slices stay in use until [Writer.Finish].
func (w *Writer) Start(msg, qname []byte, limit int) {
	w.msg, w.limit, w.question, w.qname, w.source = msg, limit, len(msg), qname, qname
	w.counts = [3]uint16{}
	w.section, w.rcode, w.aa, w.full = answerSection, dns.RcodeSuccess, false, false
	w.written = 0
	w.signing.start()
	w.remember(qname, headerLen, len(qname)-1)
}

// Finish writes rcode, AA, TC and the counts into the header and returns the
// message. A response that did not fit keeps its question only, with TC set: a
// resolver must not use part of it anyway (RFC 2181 section 9), and asks by TCP.
// So does one that lacks a signature (see [Writer.Unsigned]).
// The other flags, ID and opcode are left as they are.
func (w *Writer) Finish() []byte {
	if w.full || w.unsigned {
		w.msg = w.msg[:w.question]
		w.counts = [3]uint16{}
		w.msg[2] |= 0x02
	}
	if w.aa {
		w.msg[2] |= 0x04
	}
	w.msg[3] = w.msg[3]&0xf0 | w.rcode
	for i, n := range w.counts {
		binary.BigEndian.PutUint16(w.msg[6+2*i:], n)
	}
	return w.msg
}

// Source is the name that the response is about: the one that was asked for, if
// it exists; of those that do not, the one that governs them, which is the closest
// encloser of a wildcard, the owner of a delegation or DNAME record, or the apex.
// However many names are asked for, a zone has no more sources than names. It is
// in lower-case wire form and holds until the next Start.
func (w *Writer) Source() []byte { return w.source }

// remember notes the names that end in name and start in its first n octets,
// which stand at octet at of the message.
func (w *Writer) remember(name []byte, at, n int) {
	// A compression pointer has 14 bits (RFC 1035 section 4.1.4).
	for i := 0; i < n && w.written < maxNames && at+i < 1<<14; i += 1 + int(name[i]) {
		w.names[w.written] = nameAt{name[i:], uint16(at + i)}
		w.written++
	}
}

// name writes a lower-case name in wire form, compressed.
func (w *Writer) name(name []byte) {
	start := len(w.msg)
	for i := 0; name[i] != 0; i += 1 + int(name[i]) {
		rest := name[i:]
		for k := range w.names[:w.written] {
			if known := &w.names[k]; len(known.name) == len(rest) && string(known.name) == string(rest) {
				w.msg = append(w.msg, name[:i]...)
				w.msg = append(w.msg, 0xc0|byte(known.at>>8), byte(known.at))
				w.remember(name, start, i)
				return
			}
		}
	}
	w.msg = append(w.msg, name...)
	w.remember(name, start, len(name)-1)
}

// open starts a record and returns where its data starts.
func (w *Writer) open(owner []byte, rrtype uint16, ttl uint32) int {
	w.name(owner)
	w.msg = append(w.msg,
		byte(rrtype>>8), byte(rrtype), 0, byte(dns.ClassINET),
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), 0, 0)
	return len(w.msg)
}

// close ends the record whose data started at octet data.
func (w *Writer) close(data int) {
	binary.BigEndian.PutUint16(w.msg[data-2:], uint16(len(w.msg)-data))
	w.counts[w.section]++
	if len(w.msg) > w.limit {
		w.full = true
	}
}

// record writes one record. Names in the data of the types of RFC 1035 are
// compressed, and no others (RFC 3597 section 4).
func (w *Writer) record(owner []byte, rrtype uint16, ttl uint32, rdata []byte) {
	if w.full || len(w.msg)+12+len(rdata) > w.limit+maxNameLen {
		w.full = true
		return
	}
	data := w.open(owner, rrtype, ttl)
	switch rrtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR:
		w.name(rdata)
	case dns.TypeMX:
		w.msg = append(w.msg, rdata[:2]...)
		w.name(rdata[2:])
	default:
		w.msg = append(w.msg, rdata...)
	}
	w.close(data)
	if w.signer != nil {
		w.rdata = append(w.rdata, rdata)
	}
}

// set writes a static RRset.
func (w *Writer) set(owner []byte, s *rrset) {
	for i := range s.rdata {
		w.record(owner, s.rrtype, s.ttl, s.rdata[i])
	}
	w.seal(owner, s.rrtype, s.ttl)
}
