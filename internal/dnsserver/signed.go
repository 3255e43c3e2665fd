package dnsserver

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/ddns"
	"godwit/internal/tsig"
)

// signer is who signed a query with TSIG, and how the response is to be signed.
type signer struct {
	key       tsig.Key // without a name: nobody
	record    tsig.Record
	transfers bool            // the key is one of Config.TransferKeys
	proof     *ddns.TSIGProof // else: the Updater knows the key
}

// reserve is how many octets of a response its TSIG record takes.
func (s *signer) reserve() int {
	if s.proof != nil {
		return s.proof.SignedLen(0)
	}
	if s.key.Name == nil {
		return 0
	}
	return len(s.key.Name) + len(s.key.Algorithm.Wire()) + s.key.Algorithm.Size() + 26 + 6
}

// sign appends the TSIG record to a response to the query.
func (s *signer) sign(out []byte, code uint16, now time.Time) []byte {
	if s.proof != nil {
		return s.proof.Sign(out, code, now)
	}
	record := s.record.Response(code, now)
	out, _ = s.key.Sign(out, &record, s.record.MAC, false)
	return out
}

// signed answers a query that is signed with TSIG (RFC 8945 section 5.2). The key
// is looked for and the signature checked before anything else of the query is
// understood.
func (r *responder) signed(query, out []byte, tcp bool, now time.Time) []byte {
	q := &r.query
	record, err := tsig.Read(query)
	if err != nil {
		q.rcode = dns.RcodeFormatError
		return r.refuseSigned(query, out)
	}
	record.MAC = slices.Clone(record.MAC) // the response may be written over the query
	key, transfers := r.transferKeys[string(record.Name)]
	var proof *ddns.TSIGProof
	switch {
	case transfers:
		err = key.Verify(query, &record, nil, false, now)
	case r.updater != nil:
		proof, err = r.verify(query, record)
	case r.aside != nil:
		r.waits = true
		return nil
	default:
		err = tsig.ErrKey
	}
	why, _ := errors.AsType[*ddns.Refusal](err)
	switch {
	case err == nil:
		r.reply.signer = signer{key, record, transfers && r.transfers != nil, proof}
		if out = r.plain(query, out, tcp); r.transfer == nil {
			out = r.reply.signer.sign(out, 0, now)
		}
		return out
	case why != nil:
		q.rcode = updateRcode(why)
		return r.refuseSigned(query, out)
	case errors.Is(err, tsig.ErrKey), errors.Is(err, tsig.ErrSig):
		code := tsigError(err)
		r.counts.countTSIG(code)
		refusal := record.Refusal(code)
		if q.rcode = dns.RcodeNotAuth; q.question+optLen+refusal.Size() > r.sizeLimit(len(query), tcp, false) {
			q.rcode = dns.RcodeFormatError
			return r.refuseSigned(query, out)
		}
		return refusal.Append(r.refuseSigned(query, out))
	case errors.Is(err, tsig.ErrTime), errors.Is(err, tsig.ErrTrunc):
		q.rcode = dns.RcodeNotAuth
		code := tsigError(err)
		r.counts.countTSIG(code)
		s := signer{key: key, record: record, proof: proof}
		return s.sign(r.refuseSigned(query, out), code, now)
	}
	q.rcode = dns.RcodeFormatError
	return r.refuseSigned(query, out)
}

// refuseSigned answers with q.rcode and, for those who are not who they say,
// without anything that they asked for by EDNS.
func (r *responder) refuseSigned(query, out []byte) []byte {
	r.query.cookieLen, r.query.expire, r.query.keepalive = 0, false, false
	return r.appendOPT(r.begin(query, out), nil)
}

// ixfrSerial is the serial that an IXFR query says its sender has: that of the
// one SOA in its authority section (RFC 1995 section 3). query has been read, so
// its records are where their lengths say.
func ixfrSerial(query []byte, question int) (uint32, bool) {
	if binary.BigEndian.Uint16(query[6:]) != 0 || binary.BigEndian.Uint16(query[8:]) != 1 {
		return 0, false
	}
	at := skipName(query, question)
	fixed := query[at : at+10]
	data := query[at+10 : at+10+int(binary.BigEndian.Uint16(fixed[8:]))]
	if binary.BigEndian.Uint16(fixed) != dns.TypeSOA || binary.BigEndian.Uint16(fixed[2:]) != dns.ClassINET {
		return 0, false
	}
	// Two names, which may be compressed, and five numbers.
	end := at + 10
	for range 2 {
		if end = skipName(query, end); end == 0 {
			return 0, false
		}
	}
	if end-(at+10)+20 != len(data) {
		return 0, false
	}
	return binary.BigEndian.Uint32(query[end:]), true
}
