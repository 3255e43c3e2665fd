package dnsserver_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsserver"
)

func long() bool { return os.Getenv("GODWIT_LONG") != "" }

// mutator damages queries.
type mutator struct {
	random *rand.Rand
	good   [][]byte
}

func newMutator() *mutator {
	m := &mutator{random: rand.New(rand.NewPCG(1, 2))}
	for _, p := range probes() {
		m.good = append(m.good, p.query())
	}
	m.good = append(m.good, longKey(), longName(255), longName(256))
	return m
}

// next is a query with up to eight things wrong, at most 1000 octets.
func (m *mutator) next() []byte {
	r := m.random
	query := bytes.Clone(m.good[r.IntN(len(m.good))])
	for range r.IntN(9) {
		if len(query) == 0 {
			break
		}
		at := r.IntN(len(query))
		switch r.IntN(8) {
		case 0: // any octet
			query[at] = byte(r.Uint32())
		case 1: // a bit
			query[at] ^= 1 << r.IntN(8)
		case 2: // what is special: lengths, pointers
			query[at] = []byte{0, 1, 63, 64, 127, 128, 0xc0, 0xff}[r.IntN(8)]
		case 3: // cut
			query = query[:at]
		case 4: // counts and flags
			at = min(2+r.IntN(10), len(query)-1)
			query[at] = byte(r.IntN(4))
		case 5: // left out
			query = slices.Delete(query, at, min(len(query), at+1+r.IntN(8)))
		case 6: // repeated
			query = slices.Insert(query, at, bytes.Clone(query[at:min(len(query), at+r.IntN(40))])...)
		case 7: // the end of another
			other := m.good[r.IntN(len(m.good))]
			query = append(query[:at], other[min(at, len(other)):]...)
		}
	}
	return query[:min(len(query), 1000)]
}

// memory is what the process holds after collection, in octets.
func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestDamagedPackets throws damaged queries at a live server by UDP, and every
// tenth by TCP. It accounts for each packet, answers good queries between them,
// and holds no more memory afterwards than it did; a panic would end the test.
func TestDamagedPackets(t *testing.T) {
	packets := 100_000
	if long() {
		packets = 100_000_000
	}
	const batch = 100
	s := start(t, dnsserver.Config{UDPSockets: 1, ResponsesPerSecond: 1_000_000})
	m := newMutator()
	udp := dial(t, "udp", s.Addrs()[0])
	udp.(*net.UDPConn).SetReadBuffer(1 << 20) // for the answers to a batch
	var before uint64
	for sent := 0; sent < packets; sent += batch {
		if sent == packets/10 {
			before = memory()
		}
		udp.SetDeadline(time.Now().Add(within))
		var stream []byte
		for i := range batch {
			query := m.next()
			if i%10 == 0 {
				stream = append(stream, framed(query)...)
			} else if _, err := udp.Write(query); err != nil {
				t.Fatal(err)
			}
		}
		awaitUDP(t, udp, uint16(sent/batch))
		throwTCP(t, s.Addrs()[0], stream)
	}
	counts := s.Counts()
	if want := uint64(packets - packets/10 + packets/batch); counts.UDP.Responses()+counts.Dropped < want {
		t.Errorf("%d answered and %d dropped of %d by UDP", counts.UDP.Responses(), counts.Dropped, want)
	}
	if after := memory(); after > before+before/20+256<<10 {
		t.Errorf("%d octets after a tenth of the packets, %d after all", before, after)
	}
	t.Logf("%+v", counts)
}

// awaitUDP asks a good question behind others and reads until its answer comes.
func awaitUDP(t *testing.T, c net.Conn, id uint16) {
	t.Helper()
	query := hostQuery(id)
	if _, err := c.Write(query); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 2048)
	for {
		n, err := c.Read(reply)
		if err != nil {
			t.Fatal(err)
		}
		if n > len(query) && bytes.Equal(reply[12:len(query)], query[12:]) && reply[0] == query[0] && reply[1] == query[1] && reply[7] == 1 {
			return
		}
	}
}

// throwTCP sends a stream of damaged queries, of which one without a header ends
// the connection, and asks a good question on another.
func throwTCP(t *testing.T, addr netip.AddrPort, stream []byte) {
	t.Helper()
	for i, sends := range [][]byte{stream, framed(hostQuery(1))} {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(within))
		c.Write(sends)
		c.(*net.TCPConn).CloseWrite()
		replies, err := io.ReadAll(c)
		c.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection stays open")
		}
		if i == 1 && (len(replies) < 20 || replies[2+7] != 1) {
			t.Fatalf("%x", replies)
		}
	}
}

// TestOneOctetWriters: queries that come octet by octet, from many at once, are
// answered, whatever is in them.
func TestOneOctetWriters(t *testing.T) {
	s := start(t, dnsserver.Config{})
	query := framed((&probe{qname: "big." + z, qtype: dns.TypeTXT, edns: edns(clientCookie...)}).query())
	var conns []net.Conn
	for range 50 {
		conns = append(conns, dial(t, "tcp", s.Addrs()[0]))
	}
	for i := range query {
		for _, c := range conns {
			if _, err := c.Write(query[i : i+1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range conns {
		if reply := readTCP(t, c); reply[7] != 5 {
			t.Fatalf("%x", reply)
		}
	}
}
