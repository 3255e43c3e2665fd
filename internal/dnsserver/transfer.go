package dnsserver

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/zone"
)

const (
	// transferMessage is the size in octets of the messages of a transfer, about.
	// Larger ones save little, and a slow secondary is the slower to take one.
	transferMessage = 16 << 10
	// A transfer holds on to what the zone was when it began.
	maxTransfers          = 16
	maxTransfersPerClient = 8
	// transferPatience is how long a transfer waits for its turn.
	transferPatience = 10 * time.Second
	// transferTime is how long one may take in all. Each message of it has
	// Config.MessageTimeout.
	transferTime = 30 * time.Minute
)

// Transfers has what secondaries get. Its methods are called by many goroutines;
// Whole and Since may wait for changes of the zone. *authority.Authority is one.
type Transfers interface {
	// Find finds the zones that secondaries may have, among them such as nobody
	// else is told of.
	Zones
	Whole(z *zone.Zone) (*zone.Transfer, error)
	Since(z *zone.Zone, serial uint32) (*zone.Transfer, error)
}

// Transferred is what a secondary has now.
type Transferred struct {
	Client netip.Addr
	Key    []byte // the TSIG key's name in lower-case wire form
	Zone   *zone.Zone
	Serial uint32
	Kind   TransferKind
}

// TransferKind is what a secondary was sent.
type TransferKind uint8

const (
	NoNews     TransferKind = iota // it had the present serial, or a later one
	Difference                     // RFC 1995
	Whole                          // RFC 5936
)

// transfer is a query for a zone that may be answered.
type transfer struct {
	zone   *zone.Zone
	since  uint32
	differ bool // since counts
}

// askTransfer judges a query for a transfer, by anybody. What it returns is the
// answer, if there is one: nil says that r.transfer is to be sent.
func (r *responder) askTransfer(query, out []byte, tcp bool) []byte {
	q := &r.query
	refuse := func(rcode uint16, extended int) []byte {
		q.rcode, r.reply.extended = rcode, extended
		return r.appendOPT(r.begin(query, out), nil)
	}
	signer := &r.reply.signer
	if !signer.transfers {
		return refuse(dns.RcodeRefused, int(dns.ExtendedErrorProhibited))
	}
	z := r.transfers.Find(q.qname(), q.qtype)
	if z == nil || len(z.Apex().Wire()) != q.nameLen {
		return refuse(dns.RcodeNotAuth, int(dns.ExtendedErrorNotAuthoritative)) // RFC 5936 section 2.2.1
	}
	if !z.Transferable() {
		return refuse(dns.RcodeRefused, int(dns.ExtendedErrorNotSupported))
	}
	t := transfer{zone: z}
	if q.qtype == dns.TypeIXFR {
		if t.since, t.differ = ixfrSerial(query, q.question); !t.differ {
			return refuse(dns.RcodeFormatError, noExtendedError)
		}
	}
	switch {
	case tcp:
		r.transfer = &t
		return nil
	case !t.differ: // RFC 5936 section 4.2
		return refuse(dns.RcodeFormatError, int(dns.ExtendedErrorNotSupported))
	}
	// By UDP, one SOA says whether it is worth while to come by TCP (RFC 1995
	// section 2): no answer is larger than the query.
	r.writer.Start(r.begin(query, out), q.qname(), r.sizeLimit(len(query), false, false)-r.sizeOPT(z)-signer.reserve())
	z.Answer(&r.writer, dns.TypeSOA)
	if int32(t.since-z.Serial()) >= 0 { // RFC 1982
		r.tell(z, t.since, NoNews)
	}
	r.reply.source = q.qname()
	return r.appendOPT(r.writer.Finish(), z)
}

func (r *responder) tell(z *zone.Zone, serial uint32, kind TransferKind) {
	if r.transferred != nil {
		r.transferred(Transferred{r.reply.client, r.reply.signer.key.Name, z, serial, kind})
	}
}

// serveTransfer sends what r.transfer asks for. An error ends the connection.
func (s *Server) serveTransfer(c *tcpConn, r *responder, query []byte) error {
	t, q := r.transfer, &r.query
	r.transfer = nil
	ended := s.places.take(c.client)
	var content *zone.Transfer
	if ended != nil {
		defer ended()
		var err error
		if t.differ {
			content, err = s.config.Transfers.Since(t.zone, t.since)
		} else {
			content, err = s.config.Transfers.Whole(t.zone)
		}
		if err != nil {
			content = nil
		}
	}
	out := &stream{conn: c, server: s, responder: r, query: query, zone: t.zone, deadline: time.Now().Add(transferTime)}
	out.begin()
	if content == nil {
		q.rcode, r.reply.extended = dns.RcodeServerFailure, int(dns.ExtendedErrorNotReady)
		r.counts.count(q, q.rcode, false)
		return out.send()
	}
	for set := range content.RRsets() {
		for _, data := range set.Data {
			if err := out.add(&set, data); err != nil {
				return err
			}
		}
	}
	if err := out.send(); err != nil {
		return err
	}
	r.counts.count(q, dns.RcodeSuccess, false)
	switch {
	case content.Cut() != nil:
		r.tell(t.zone, content.Serial, Whole)
	case content.Difference() != nil:
		r.tell(t.zone, content.Serial, Difference)
	default:
		r.tell(t.zone, t.since, NoNews)
	}
	return nil
}

// stream is the response to a query for a transfer, in as many messages as it takes.
type stream struct {
	conn      *tcpConn
	server    *Server
	responder *responder
	query     []byte
	zone      *zone.Zone
	deadline  time.Time
	room      []byte // of a message and the 2 octets of its length
	msg       []byte // in room
	answers   uint16
	mac       []byte // of the message before; nil: none was sent
}

var errRecordTooLong = errors.New("a record does not fit into a message")

// begin starts a message. Each has the question: names are compressed against it.
func (s *stream) begin() {
	if s.room == nil {
		s.room = make([]byte, 2, 2+transferMessage+zone.Slack)
	}
	s.msg = s.responder.begin(s.query, s.room[2:2])
	s.msg[2] |= 0x04 // AA
	s.answers = 0
}

// add appends a record, and sends the message before if it does not fit.
func (s *stream) add(set *zone.RRset, data []byte) error {
	apex := s.responder.query.nameLen
	rel := set.Owner[:len(set.Owner)-apex]
	size := len(rel) + 12 + len(data)
	if s.answers > 0 && len(s.msg)+size > transferMessage {
		if err := s.send(); err != nil {
			return err
		}
		s.begin()
	}
	if len(s.msg)+size+s.responder.sizeOPT(s.zone)+s.responder.reply.signer.reserve() > maxTCP {
		return errRecordTooLong
	}
	s.msg = append(s.msg, rel...)
	s.msg = append(s.msg, 0xc0, headerLen, byte(set.Type>>8), byte(set.Type), 0, dns.ClassINET)
	s.msg = binary.BigEndian.AppendUint32(s.msg, set.TTL)
	s.msg = binary.BigEndian.AppendUint16(s.msg, uint16(len(data)))
	s.msg = append(s.msg, data...)
	s.answers++
	return nil
}

// send signs and sends the message: over the request first, then over what was
// signed before (RFC 8945 section 5.3.1).
func (s *stream) send() error {
	binary.BigEndian.PutUint16(s.msg[6:], s.answers)
	signer := &s.responder.reply.signer
	prior, further := signer.record.MAC, s.mac != nil
	if further {
		prior = s.mac
	} else {
		s.msg = s.responder.appendOPT(s.msg, s.zone)
	}
	now := s.server.config.Now()
	record := signer.record.Response(0, now)
	s.msg, s.mac = signer.key.Sign(s.msg, &record, prior, further)
	deadline := time.Now().Add(s.server.config.MessageTimeout)
	if s.deadline.Before(deadline) {
		deadline = s.deadline
	}
	s.conn.SetWriteDeadline(deadline)
	s.server.conns.asked(s.conn)
	s.room = append(s.room[:2], s.msg...) // where it is, unless it has outgrown it
	binary.BigEndian.PutUint16(s.room, uint16(len(s.msg)))
	_, err := s.conn.Write(s.room)
	return err
}

// places bounds the transfers that go on at once.
type places struct {
	mu       sync.Mutex
	taken    map[netip.Prefix]int // guarded by mu, as the rest
	all      int
	freed    chan struct{} // closed, and another one made, when a place is given back
	stopping chan struct{} // set once; closed when nobody need wait any more
}

func newPlaces() *places {
	return &places{taken: make(map[netip.Prefix]int), freed: make(chan struct{}), stopping: make(chan struct{})}
}

// take waits for a place, which ended gives back. nil: there was none in time.
func (p *places) take(client netip.Addr) (ended func()) {
	prefix := clientPrefix(client)
	patience := time.NewTimer(transferPatience)
	defer patience.Stop()
	for {
		p.mu.Lock()
		freed := p.freed
		if p.all < maxTransfers && p.taken[prefix] < maxTransfersPerClient {
			p.all++
			p.taken[prefix]++
			p.mu.Unlock()
			return func() { p.give(prefix) }
		}
		p.mu.Unlock()
		select {
		case <-freed:
		case <-p.stopping:
			return nil
		case <-patience.C:
			return nil
		}
	}
}

func (p *places) give(prefix netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.taken[prefix]--; p.taken[prefix] == 0 {
		delete(p.taken, prefix)
	}
	close(p.freed)
	p.freed = make(chan struct{})
}
