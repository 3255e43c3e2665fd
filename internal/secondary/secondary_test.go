package secondary_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"godwit/internal/dnsname"
	"godwit/internal/secondary"
	"godwit/internal/tsig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	key = tsig.Key{Name: []byte("\x03xfr\x00"), Algorithm: tsig.SHA256, Secret: []byte("0123456789abcdef0123456789abcdef")}
	one = dnsname.MustParse("dyn.example.com")
	two = dnsname.MustParse("lab.example.net")
)

// server is the other end: it reads what it is told and answers as the test says.
type server struct {
	t    *testing.T
	conn *net.UDPConn
}

func newServer(t *testing.T) *server {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second)) // passes only when something is wrong
	return &server{t, c}
}

func (s *server) addr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

type message struct {
	from netip.AddrPort
	msg  []byte
	zone string
}

func (s *server) read() message {
	s.t.Helper()
	m, ok := s.tryRead()
	if !ok {
		s.t.Fatal("it was not told")
	}
	return m
}

func (s *server) tryRead() (message, bool) {
	s.t.Helper()
	buffer := make([]byte, 2048)
	n, from, err := s.conn.ReadFromUDPAddrPort(buffer)
	if err != nil {
		return message{}, false
	}
	m := message{from: from, msg: buffer[:n]}
	record, err := tsig.Read(m.msg)
	if err != nil {
		s.t.Fatalf("told without a signature: %v", err)
	}
	if err := key.Verify(m.msg, &record, nil, false, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	if flags := binary.BigEndian.Uint16(m.msg[2:]); flags != 0x2400 {
		s.t.Errorf("the flags are %04x, want NOTIFY and AA", flags)
	}
	name, n, err := dnsname.FromWire(m.msg[12:record.Offset])
	if err != nil || !slices.Equal(m.msg[12+n:record.Offset], []byte{0, 6, 0, 1}) {
		s.t.Errorf("the question is %x; %v", m.msg[12:], err)
	}
	m.zone = name.String()
	return m, true
}

// answer sends an answer with an rcode; k signs it, nil: nobody.
func (s *server) answer(m message, rcode byte, k *tsig.Key) {
	s.t.Helper()
	record, err := tsig.Read(m.msg)
	if err != nil {
		s.t.Fatal(err)
	}
	reply := slices.Clone(m.msg[:record.Offset])
	reply[2] |= 0x80
	reply[3] = rcode
	binary.BigEndian.PutUint16(reply[10:], 0)
	if k != nil {
		response := record.Response(0, time.Now())
		reply, _ = k.Sign(reply, &response, record.MAC, false)
	}
	if _, err := s.conn.WriteToUDPAddrPort(reply, m.from); err != nil {
		s.t.Fatal(err)
	}
}

func run(t *testing.T, c secondary.Config) *secondary.Set {
	t.Helper()
	s := secondary.New(c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// TestTold: a secondary hears of every zone at the start, and of each change, from
// the listener's address; changes that come meanwhile are told as one.
func TestTold(t *testing.T) {
	srv := newServer(t)
	var serials [2]atomic.Uint32
	serials[0].Store(1)
	serials[1].Store(1)
	s := run(t, secondary.Config{
		Secondaries: []secondary.Secondary{{Addr: srv.addr(), Key: key}},
		Zones:       []dnsname.Name{one, two},
		Serial: func(apex dnsname.Name) uint32 {
			if apex == one {
				return serials[0].Load()
			}
			return serials[1].Load()
		},
		Listeners: []netip.AddrPort{netip.MustParseAddrPort("[::1]:53"), netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("127.0.0.7:53")},
	})
	var zones []string
	for range 2 {
		m := srv.read()
		if m.from.Addr() != netip.MustParseAddr("127.0.0.7") {
			t.Errorf("told from %s, and the listener is 127.0.0.7", m.from)
		}
		zones = append(zones, m.zone)
		srv.answer(m, 0, &key)
	}
	if slices.Sort(zones); !slices.Equal(zones, []string{one.String(), two.String()}) {
		t.Errorf("at the start it was told of %v", zones)
	}
	for range 3 {
		for range 1000 {
			serials[1].Add(1)
			s.Changed(two)
		}
		// The first of a thousand perhaps alone, the last for sure.
		srv.answer(srv.read(), 0, &key)
		srv.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if m, ok := srv.tryRead(); ok {
			srv.answer(m, 0, &key)
		}
		if m, ok := srv.tryRead(); ok {
			t.Errorf("a third message for what two can tell: %x", m.msg)
		}
		srv.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	}
	for _, st := range s.States() {
		if st.Acknowledged.IsZero() || st.Problem != "" || st.Secondary != srv.addr() {
			t.Errorf("%+v", st)
		}
	}
}

// TestToldAgain: what is not acknowledged by who holds the key is told again.
func TestToldAgain(t *testing.T) {
	srv := newServer(t)
	s := run(t, secondary.Config{
		Secondaries: []secondary.Secondary{{Addr: srv.addr(), Key: key}},
		Zones:       []dnsname.Name{one},
		Serial:      func(dnsname.Name) uint32 { return 1 },
		Listeners:   []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")},
	})
	state := func() secondary.State { return s.States()[0] }
	forged := key
	forged.Secret = []byte("another secret that is none of ours")

	m := srv.read() // no acknowledgement: unsigned, forged, another ID
	srv.answer(m, 0, nil)
	srv.answer(m, 0, &forged)
	other := message{m.from, slices.Clone(m.msg), m.zone}
	other.msg[0] ^= 1
	srv.answer(other, 0, &key)

	m = srv.read()
	if st := state(); !st.Acknowledged.IsZero() || st.Problem != "no answer to NOTIFY" {
		t.Errorf("after answers that prove nothing: %+v", st)
	}
	srv.answer(m, 9, nil) // NOTAUTH: it does not know the key, or the zone yet

	m = srv.read()
	if st := state(); !st.Acknowledged.IsZero() || st.Problem != "it answers NOTIFY with NOTAUTH" {
		t.Errorf("after a refusal: %+v", st)
	}
	srv.answer(m, 0, &key)
	for deadline := time.Now().Add(20 * time.Second); state().Acknowledged.IsZero(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the acknowledgement is not seen")
		}
	}
	if st := state(); st.Problem != "" {
		t.Errorf("after the acknowledgement: %+v", st)
	}
}

// TestTransferred: who got a zone is known by address and key, or by the key alone.
func TestTransferred(t *testing.T) {
	third := key
	third.Name = []byte("\x05other\x00")
	a, b, c, d := netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53"), netip.MustParseAddrPort("192.0.2.3:53"), netip.MustParseAddrPort("192.0.2.4:53")
	s := secondary.New(secondary.Config{
		Secondaries: []secondary.Secondary{{a, key}, {b, key}, {c, third}, {d, key}},
		Zones:       []dnsname.Name{one},
		Serial:      func(dnsname.Name) uint32 { return 8 },
	})
	now := time.Unix(1_800_000_000, 0)
	s.Transferred(d.Addr(), key.Name, one, 6, secondary.NoNews, now)
	s.Transferred(b.Addr(), key.Name, one, 7, secondary.Difference, now)
	s.Transferred(netip.MustParseAddr("2001:db8::3"), third.Name, one, 8, secondary.Whole, now)
	s.Transferred(netip.MustParseAddr("2001:db8::4"), key.Name, one, 9, secondary.Whole, now)    // which of two?
	s.Transferred(a.Addr(), []byte("\x04none\x00"), one, 9, secondary.Whole, now)                // nobody's key
	s.Transferred(a.Addr(), key.Name, dnsname.MustParse("example.org"), 9, secondary.Whole, now) // no zone
	got := s.States()
	if !got[0].Transferred.IsZero() || got[1].Serial != 7 || got[1].Kind != secondary.Difference || got[2].Serial != 8 || !got[2].Transferred.Equal(now) || got[3].Serial != 6 {
		t.Errorf("%+v", got)
	}
	// Of the first one nothing is known, the third has what is there.
	if got[0].Behind || !got[1].Behind || got[2].Behind || !got[3].Behind {
		t.Errorf("behind: %+v", got)
	}
	s.Transferred(a.Addr(), key.Name, one, 9, secondary.NoNews, now)
	if got := s.States(); !strings.HasPrefix(got[0].Problem, "it has a later serial") || got[1].Problem != "" || got[2].Problem != "" {
		t.Errorf("one has a later serial than the zone: %+v", got)
	}
}
