package dnsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/tsig"
)

// Updater judges what is signed with a key that is none of Config.TransferKeys:
// UPDATE messages (RFC 2136), and queries, whose answers it signs. Its calls may
// wait for a disk, so no goroutine that answers ordinary queries makes them.
// *[ddns.Service] is one.
type Updater interface {
	VerifyTSIG(ctx context.Context, src ddns.Source, msg []byte, r tsig.Record) (*ddns.TSIGProof, error)
	Update(ctx context.Context, u ddns.Update) (ddns.Outcome, error)
}

// updateTimeout is how long one message may take the Updater.
const updateTimeout = 10 * time.Second

// isUpdate tells whether a message is a request with opcode UPDATE.
func isUpdate(msg []byte) bool { return len(msg) >= headerLen && msg[2]&0xf8 == dns.OpcodeUpdate<<3 }

// verify asks the Updater about a message's TSIG record, by the responder of a
// goroutine that may wait.
func (r *responder) verify(msg []byte, record tsig.Record) (*ddns.TSIGProof, error) {
	ctx, cancel := context.WithTimeout(context.Background(), updateTimeout)
	defer cancel()
	return r.updater.VerifyTSIG(ctx, r.source(), msg, record)
}

// source is where the message at hand came from.
func (r *responder) source() ddns.Source {
	return ddns.Source{Addr: r.reply.client, Proven: r.counts.tcp}
}

// update answers an UPDATE message; nil if there must be no answer. Nothing of the
// message is understood before its key is. The response is appended to out.
func (r *responder) update(msg, out []byte, now time.Time) []byte {
	q := &r.query
	record, err := tsig.Read(msg)
	var proof *ddns.TSIGProof
	if err == nil {
		proof, err = r.verify(msg, record)
	}
	if err != nil {
		return r.refuseUpdate(msg, out, record, proof, err, now)
	}
	var m updateMessage
	var why *ddns.Refusal
	if q.rcode = m.read(msg, record.Offset, r.zoneOf); q.rcode == dns.RcodeSuccess && !m.host.IsZero() {
		why = r.makeUpdate(m, proof)
		if why != nil && why.Code == ddns.Replayed && !r.counts.tcp {
			r.counts.countUpdate(notSent)
			return nil // the answer to the first one is on its way
		}
		q.rcode = updateRcode(why)
	}
	out = beginUpdate(out, msg, m.zoneEnd, q.rcode)
	if m.edns {
		out = r.appendUpdateOPT(out, why)
	}
	r.counts.countUpdate(q.rcode)
	return proof.Sign(out, 0, now)
}

// makeUpdate makes a message's one update.
func (r *responder) makeUpdate(m updateMessage, proof *ddns.TSIGProof) *ddns.Refusal {
	ctx, cancel := context.WithTimeout(context.Background(), updateTimeout)
	defer cancel()
	_, err := r.updater.Update(ctx, ddns.Update{
		Host: m.host, Door: "update", Proof: proof, Source: r.source(), Changes: m.changes, Preconditions: m.asked, Ask: len(m.changes) == 0,
	})
	why, _ := errors.AsType[*ddns.Refusal](err)
	return why
}

// zoneOf is the apex of the zone of ours that a name is in; zero: of none.
func (r *responder) zoneOf(name dnsname.Name) (apex dnsname.Name) {
	if z := r.zones.Find([]byte(name.Wire()), dns.TypeSOA); z != nil {
		apex = z.Apex()
	}
	return apex
}

// updateRcode is the rcode of an update that was refused for this reason; nil:
// it was not (RFC 2136 section 3.2, docs/protocols.md).
func updateRcode(why *ddns.Refusal) uint16 {
	if why == nil {
		return dns.RcodeSuccess
	}
	switch why.Code {
	case ddns.ConditionFailed:
		switch why.Failed {
		case ddns.RRsetAbsent:
			return dns.RcodeYXRrset
		case ddns.NameInUse:
			return dns.RcodeNameError
		case ddns.NameNotInUse:
			return dns.RcodeYXDomain
		}
		return dns.RcodeNXRrset
	case ddns.Malformed:
		return dns.RcodeFormatError
	case ddns.Unavailable, ddns.Replayed:
		return dns.RcodeServerFailure
	}
	return dns.RcodeRefused
}

// refuseUpdate answers a message whose TSIG record does not hold, or that has none
// (RFC 8945 sections 5.2 and 5.3.2). By UDP the unsigned answers are limited as
// those to queries are: they are as long as what was sent at most.
func (r *responder) refuseUpdate(msg, out []byte, record tsig.Record, proof *ddns.TSIGProof, err error, now time.Time) []byte {
	q, code := &r.query, uint16(0)
	why, _ := errors.AsType[*ddns.Refusal](err)
	switch {
	case errors.Is(err, tsig.ErrNone):
		q.rcode = dns.RcodeRefused
	case errors.Is(err, tsig.ErrFormat):
		q.rcode = dns.RcodeFormatError
	case why != nil:
		q.rcode = updateRcode(why)
	default:
		q.rcode, code = dns.RcodeNotAuth, tsigError(err)
		r.counts.countTSIG(code)
	}
	out = beginUpdate(out, msg, 0, q.rcode)
	switch {
	case proof != nil:
		r.counts.countUpdate(q.rcode)
		return proof.Sign(out, code, now)
	case code != 0:
		refusal := record.Refusal(code)
		out = refusal.Append(out)
	}
	if r.limiter != nil && !r.counts.tcp && r.limiter.take(r.reply.client, byte(q.rcode)<<1, nil, now) == withholdIt {
		r.counts.withheld.Add(1)
		r.counts.countUpdate(notSent)
		return nil
	}
	r.counts.countUpdate(q.rcode)
	return out
}

// beginUpdate begins a response with the zone section that it was asked with.
func beginUpdate(out, msg []byte, zoneEnd int, rcode uint16) []byte {
	at := len(out)
	out = append(out, msg[:max(headerLen, zoneEnd)]...)
	header := out[at : at+headerLen]
	header[2], header[3] = 0x80|dns.OpcodeUpdate<<3, byte(rcode)
	clear(header[4:])
	if zoneEnd > 0 {
		header[5] = 1
	}
	return out
}

// maxReason bounds the text of an extended error.
const maxReason = 200

// appendUpdateOPT appends an OPT record that says in words why an update was
// refused (RFC 8914), to somebody who holds the key.
func (r *responder) appendUpdateOPT(out []byte, why *ddns.Refusal) []byte {
	out = append(out, 0, 0, byte(dns.TypeOPT), byte(r.udpSize>>8), byte(r.udpSize), 0, 0, 0, 0, 0, 0)
	if why != nil && why.Code != ddns.ConditionFailed {
		text := why.Why + "; " + why.Fix
		text = text[:min(len(text), maxReason)]
		binary.BigEndian.PutUint16(out[len(out)-2:], uint16(6+len(text)))
		code := dns.ExtendedErrorProhibited
		if updateRcode(why) == dns.RcodeServerFailure {
			code = dns.ExtendedErrorOther // nothing prohibits it
		}
		out = append(out, 0, byte(dns.CodeEDE), 0, byte(2+len(text)), 0, byte(code))
		out = append(out, text...)
	}
	binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])+1)
	return out
}

// tsigError is the error field that a failed check is answered with.
func tsigError(err error) uint16 {
	switch {
	case errors.Is(err, tsig.ErrKey):
		return tsig.BadKey
	case errors.Is(err, tsig.ErrTime):
		return tsig.BadTime
	case errors.Is(err, tsig.ErrTrunc):
		return tsig.BadTrunc
	}
	return tsig.BadSig
}
