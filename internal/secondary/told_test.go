package secondary

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/tsig"
)

// toldRig is one secondary with two zones, the second of them a catalog, and a
// clock of the test's own.
type toldRig struct {
	t       *testing.T
	peer    *peer
	set     *Set
	conn    *net.UDPConn
	serials map[dnsname.Name]uint32
	now     time.Time
}

func newToldRig(t *testing.T) *toldRig {
	t.Helper()
	zone, catalog := dnsname.MustParse("dyn.example.com"), dnsname.MustParse("catalog.example.com")
	r := &toldRig{t: t, serials: map[dnsname.Name]uint32{zone: 1, catalog: 1}, now: time.Unix(1_800_000_000, 0)}
	r.set = New(Config{
		Secondaries: []Secondary{{netip.MustParseAddrPort("192.0.2.2:53"), tsig.Key{Name: []byte("\x01k\x00"), Algorithm: tsig.SHA256, Secret: []byte("0123456789abcdef0123456789abcdef")}}},
		Zones:       []dnsname.Name{zone, catalog}, Catalog: catalog,
		Serial: func(apex dnsname.Name) uint32 { return r.serials[apex] },
	})
	r.peer = r.set.peers[0]
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	if r.conn, err = net.DialUDP("udp4", nil, sink.LocalAddr().(*net.UDPAddr)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.conn.Close() })
	return r
}

// tell returns which of the two zones were told when the time has come.
func (r *toldRig) tell(after time.Duration) (told [2]bool) {
	r.t.Helper()
	r.now = r.now.Add(after)
	if _, err := r.peer.tell(r.conn, r.now); err != nil {
		r.t.Fatal(err)
	}
	for i, t := range r.peer.zones {
		told[i] = t.sent.Equal(r.now)
	}
	return told
}

// answer has the secondary answer for a zone.
func (r *toldRig) answer(zone int, rcode byte, signed bool) {
	t := r.peer.zones[zone]
	reply := binary.BigEndian.AppendUint16(nil, t.id)
	reply = append(reply, 0xa4, rcode, 0, 0, 0, 0, 0, 0, 0, 0)
	if signed {
		request := tsig.Request(t.id, r.now)
		record := request.Response(0, r.now)
		reply, _ = r.peer.Key.Sign(reply, &record, t.mac, false)
	}
	r.peer.take(reply, r.now)
}

// TestSocketFails: what cannot be sent is a problem of the zones that there is
// something to tell of, and of no other: nothing would ever end it there.
func TestSocketFails(t *testing.T) {
	r := newToldRig(t)
	r.tell(0)
	r.answer(0, 0, true)
	r.answer(1, 0, true)
	r.serials[r.peer.zones[0].Zone]++
	r.peer.fail(errors.New("no route"))
	if s := r.set.States(); s[0].Problem != "NOTIFY cannot be sent: no route" || s[1].Problem != "" {
		t.Errorf("the problems are %q and %q", s[0].Problem, s[1].Problem)
	}
}

// TestCatalogRefused: who refuses the catalog has no problem, and hears of it when it
// changes. Who refuses a zone, or fails, hears of it again.
func TestCatalogRefused(t *testing.T) {
	for _, test := range []struct {
		rcode  byte
		signed bool // PowerDNS signs its refusal, NSD does not
		want   [2]bool
	}{{5, true, [2]bool{true, false}}, {3, false, [2]bool{true, false}}, {9, true, [2]bool{true, false}}, {2, true, [2]bool{true, true}}} {
		r := newToldRig(t)
		if got := r.tell(0); got != [2]bool{true, true} {
			t.Fatalf("at the start: %v", got)
		}
		r.answer(0, test.rcode, test.signed)
		r.answer(1, test.rcode, test.signed)
		for _, s := range r.set.States() {
			if fine := s.Problem == ""; fine != (s.Zone == r.peer.catalog && !test.want[1]) || !s.Acknowledged.IsZero() {
				t.Errorf("after rcode %d: %+v", test.rcode, s)
			}
		}
		if got := r.tell(time.Hour); got != test.want {
			t.Errorf("after rcode %d: %v, want %v", test.rcode, got, test.want)
		}
		r.serials[r.peer.catalog]++
		if got := r.tell(time.Second); !got[1] {
			t.Errorf("after rcode %d it does not hear of a change", test.rcode)
		}
	}
}

// TestSource: a secondary is told from a listener's address that it can answer to.
func TestSource(t *testing.T) {
	var listeners []netip.AddrPort
	for _, l := range []string{"0.0.0.0:53", "127.0.0.1:53", "10.0.0.1:53", "192.0.2.1:53", "[2001:db8::1]:53"} {
		listeners = append(listeners, netip.MustParseAddrPort(l))
	}
	for to, want := range map[string]string{
		"198.51.100.1:53": "192.0.2.1:0", "10.9.9.9:53": "10.0.0.1:0", "127.0.0.9:53": "127.0.0.1:0",
		"[2001:db8::9]:53": "[2001:db8::1]:0", "[fd00::9]:53": "[2001:db8::1]:0",
	} {
		if got := source(netip.MustParseAddrPort(to), listeners); got.String() != want {
			t.Errorf("%s is told from %s, want %s", to, got, want)
		}
	}
	if got := source(netip.MustParseAddrPort("192.0.2.2:53"), listeners[:2]); got.IsValid() {
		t.Errorf("where every address is listened on, it is told from %s", got)
	}
}
