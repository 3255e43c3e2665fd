// Package zone says what one DNS zone answers to a question.
//
// A [Zone] is made of static records, which come from a zone file ([Parse]) and
// from the name servers in [Config], and of hosts: names with addresses and
// texts that change while questions are answered ([Zone.Set]). [Zone.Answer]
// writes the answer of RFC 1034 section 4.3.2 (with RFC 2308, 4592, 8020 and
// 8482) to a question into a [Writer]: wire form to wire form, because message
// objects cost several times what the rest of an answer costs.
//
// The package is pure: no sockets, no clock, no goroutines.
//
// # Concurrency
//
// Any number of goroutines may ask, none of them ever waits, and the ordinary
// answer allocates nothing. One goroutine at a time may call the methods that
// change a zone ([Zone.Set], [Zone.SetChallenge], [Zone.Forget],
// [Zone.SetSerial], [Zone.Secure], [Zone.Fill], [Zone.KeepHistory]) or that take all of it at
// once ([Zone.Cut], [Zone.Whole], [Zone.Since]); the caller sees to that. When
// such a call returns, the next question sees the change; what was taken is read
// while the zone goes on changing. An answer holds an RRset as one Set left it,
// never a mixture, and who has seen a serial sees every change that was made
// before it was set.
//
// # Memory
//
// A host with one address takes 20 octets and the length of its name below the
// apex: 30 octets for a name such as host000000 (BenchmarkLoadMillion).
package zone

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
)

// maxNameLen is the greatest length of a name in wire form (RFC 1035 section 2.3.4).
const maxNameLen = dnsname.MaxWire

// defaultTTL is the TTL in seconds of SOA, NS and their addresses unless the
// zone file says otherwise, and of zone file records before any $TTL.
const defaultTTL = 3600

// Config says what a zone is made of.
type Config struct {
	// Apex is the zone's name. It is required.
	Apex dnsname.Name

	// NameServers get NS records at the apex, beside those of Records, the
	// first one as SOA MNAME. If there are none in either place, ns.<apex>
	// without an address is the name server.
	NameServers []NameServer

	// Records are the static records. Nil: none. A SOA among them gives MNAME,
	// RNAME, the timers and the TTL; the serial is always the zone's own.
	Records *Records

	// Serial is the SOA serial to start with.
	Serial uint32
}

// A NameServer answers for the zone.
type NameServer struct {
	Name dnsname.Name
	// Addresses are served when Name is in the zone and not below a
	// delegation; otherwise giving any is an error. They may be empty.
	Addresses []netip.Addr
}

// A Zone is one zone's data. See the package's text for who may call what when.
type Zone struct {
	apex   dnsname.Name
	suffix []byte // the apex in wire form
	file   string
	static map[string]*node // by name below the apex; empty non-terminals too
	// boundaries counts the delegations and the DNAME records: names that
	// govern what is below them.
	boundaries int
	soa        soa
	serial     atomic.Uint32
	hosts      *hosts
	present    atomic.Int64 // hosts that are in DNS
	// version counts the changes that make a name exist or not. A reader that
	// looked at several names looks again if it changed meanwhile.
	version atomic.Uint64
	among   atomic.Pointer[neighbours] // nil: in no Zones
	secured atomic.Pointer[secured]    // nil: not signed
	history *history                   // nil: none is kept
}

// soa is the SOA record without its serial.
type soa struct {
	mname, rname []byte
	refresh      uint32 // seconds, as the rest
	retry        uint32
	expire       uint32
	minimum      uint32
	ttl          uint32
}

// New makes a zone without hosts. An error names what in the configuration or
// the zone file contradicts the rest.
func New(c Config) (*Zone, error) {
	if c.Apex.IsZero() {
		return nil, errors.New("zone without a name; give its apex, such as dyn.example.com")
	}
	records := c.Records
	if records == nil {
		records = newRecords("", c.Apex)
	}
	if records.apex != c.Apex {
		return nil, fmt.Errorf("the records of %s are for zone %s, not for %s", records.file, records.apex, c.Apex)
	}
	records = records.clone()
	if err := records.addNameServers(c.NameServers); err != nil {
		return nil, err
	}
	z := &Zone{apex: c.Apex, suffix: []byte(c.Apex.Wire()), file: records.file, static: records.nodes, hosts: newHosts()}
	ns := records.nodes[""].set(dns.TypeNS)
	if z.soa = defaultSOA(c.Apex, ns.rdata[0]); records.soa != nil {
		z.soa = *records.soa
	}
	for name, n := range records.nodes {
		if name != "" && n.set(dns.TypeNS) != nil || n.set(dns.TypeDNAME) != nil {
			z.boundaries++
		}
	}
	z.serial.Store(c.Serial)
	return z, nil
}

func defaultSOA(apex dnsname.Name, mname []byte) soa {
	// A name that is too long for a label more has the apex itself as mailbox.
	rname, err := apex.Child("hostmaster")
	if err != nil {
		rname = apex
	}
	return soa{mname: mname, rname: []byte(rname.Wire()), refresh: 14400, retry: 3600, expire: 1209600, minimum: 60, ttl: defaultTTL}
}

// Apex is the zone's name.
func (z *Zone) Apex() dnsname.Name { return z.apex }

// Serial is the SOA serial that answers show.
func (z *Zone) Serial() uint32 { return z.serial.Load() }

// SetSerial changes the SOA serial. Call it after the changes that the serial
// stands for: an answer reads the serial first, so that it is never newer than
// the data beside it.
func (z *Zone) SetSerial(s uint32) {
	z.history.seal(z.serial.Load(), s)
	z.serial.Store(s)
}

// Expire is the SOA expire timer in seconds, what RFC 7314 tells a secondary.
func (z *Zone) Expire() uint32 { return z.soa.expire }

// Hosts is the number of hosts that are in DNS.
func (z *Zone) Hosts() int { return int(z.present.Load()) }

// relative is name without the apex and the root, both in wire form; name must
// be at or below the apex.
func (z *Zone) relative(name []byte) []byte { return name[:len(name)-len(z.suffix)] }

// parent is rel without its first label.
func parent[T string | []byte](rel T) T { return rel[1+int(rel[0]):] }
