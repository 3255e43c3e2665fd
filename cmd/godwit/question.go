package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"godwit/internal/dnsname"
)

// Types of records that this program asks for itself. Everything about DNS that
// needs more is in dnsserver and zone.
const (
	typeA    = 1
	typeNS   = 2
	typeAAAA = 28
)

// record is one resource record of an answer, as far as this program reads it.
type record struct {
	owner dnsname.Name
	rtype uint16
	ttl   uint32
	addr  netip.Addr   // of A and AAAA
	name  dnsname.Name // of NS
}

// answer is a DNS response.
type answer struct {
	rcode   int
	records []record // of all sections, the ones that are read
}

// question makes a query for one name and type (RFC 1035 section 4.1).
func question(id uint16, name dnsname.Name, rtype uint16) []byte {
	msg := binary.BigEndian.AppendUint16(nil, id)
	msg = append(msg, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	msg = append(msg, name.Wire()...)
	msg = binary.BigEndian.AppendUint16(msg, rtype)
	return binary.BigEndian.AppendUint16(msg, 1) // class IN
}

// ask puts a question to a server over UDP.
func ask(ctx context.Context, server netip.AddrPort, name dnsname.Name, rtype uint16) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", server.String())
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return answer{}, err
		}
	}
	var b [2]byte
	rand.Read(b[:])
	id := binary.BigEndian.Uint16(b[:])
	if _, err := conn.Write(question(id, name, rtype)); err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", server, err)
	}
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return answer{}, fmt.Errorf("no answer from %s: %w", server, err)
		}
		if n >= 2 && binary.BigEndian.Uint16(buffer) == id {
			return parseAnswer(buffer[:n])
		}
	}
}

var errShort = errors.New("the DNS answer is cut short")

// parseAnswer reads a response.
func parseAnswer(msg []byte) (answer, error) {
	if len(msg) < 12 {
		return answer{}, errShort
	}
	if msg[2]&0x80 == 0 {
		return answer{}, errors.New("what came is a question, not an answer")
	}
	out := answer{rcode: int(msg[3] & 0xf)}
	questions := int(binary.BigEndian.Uint16(msg[4:]))
	records := 0
	for _, at := range []int{6, 8, 10} {
		records += int(binary.BigEndian.Uint16(msg[at:]))
	}
	at := 12
	var err error
	for range questions {
		if _, at, err = nameAt(msg, at); err != nil {
			return answer{}, err
		}
		if at += 4; at > len(msg) {
			return answer{}, errShort
		}
	}
	for range records {
		var r record
		if r.owner, at, err = nameAt(msg, at); err != nil {
			return answer{}, err
		}
		if at+10 > len(msg) {
			return answer{}, errShort
		}
		r.rtype, r.ttl = binary.BigEndian.Uint16(msg[at:]), binary.BigEndian.Uint32(msg[at+4:])
		size := int(binary.BigEndian.Uint16(msg[at+8:]))
		at += 10
		if at+size > len(msg) {
			return answer{}, errShort
		}
		data := msg[at : at+size]
		switch {
		case r.rtype == typeA && size == 4, r.rtype == typeAAAA && size == 16:
			r.addr, _ = netip.AddrFromSlice(data)
			out.records = append(out.records, r)
		case r.rtype == typeNS:
			var end int
			if r.name, end, err = nameAt(msg, at); err != nil {
				return answer{}, err
			}
			if end != at+size {
				return answer{}, errors.New("a name server in the DNS answer has the wrong length")
			}
			out.records = append(out.records, r)
		}
		at += size
	}
	return out, nil
}

// nameAt reads a name, following its compression (RFC 1035 section 4.1.4), and
// returns where it ends. Pointers go backwards only, so they come to an end.
func nameAt(msg []byte, at int) (dnsname.Name, int, error) {
	var wire []byte
	end, limit := -1, at
	for {
		if at >= len(msg) {
			return dnsname.Name{}, 0, errShort
		}
		n := int(msg[at])
		switch {
		case n&0xc0 == 0xc0:
			if at+1 >= len(msg) {
				return dnsname.Name{}, 0, errShort
			}
			if end < 0 {
				end = at + 2
			}
			at = (n&0x3f)<<8 | int(msg[at+1])
			if at >= limit {
				return dnsname.Name{}, 0, errors.New("a name in the DNS answer points forwards")
			}
			limit = at
		case at+1+n > len(msg):
			return dnsname.Name{}, 0, errShort
		default:
			wire = append(wire, msg[at:at+1+n]...)
			at += 1 + n
			if len(wire) > dnsname.MaxWire {
				return dnsname.Name{}, 0, errors.New("a name in the DNS answer is too long")
			}
			if n == 0 {
				if end < 0 {
					end = at
				}
				name, _, err := dnsname.FromWire(wire)
				return name, end, err
			}
		}
	}
}

func rcodeText(code int) string {
	switch code {
	case 0:
		return "NOERROR"
	case 2:
		return "SERVFAIL"
	case 3:
		return "NXDOMAIN"
	case 5:
		return "REFUSED"
	}
	return fmt.Sprintf("RCODE%d", code)
}
