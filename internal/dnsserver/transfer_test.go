package dnsserver_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
	"godwit/internal/dnsserver"
	"godwit/internal/tsig"
	"godwit/internal/zone"
)

// primary is zones for secondaries, in which one at a time may change.
type primary struct {
	*zone.Zones
	mu sync.Mutex
}

func (p *primary) Whole(z *zone.Zone) (*zone.Transfer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return z.Whole()
}

func (p *primary) Since(z *zone.Zone, serial uint32) (*zone.Transfer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return z.Since(serial)
}

var transferKey = tsig.Key{Name: []byte("\x07xfr-key\x00"), Algorithm: tsig.SHA256, Secret: []byte("0123456789abcdef0123456789abcdef")}

// transferQuery is a question in wire form; serial is for IXFR, 0: none.
func transferQuery(name string, qtype uint16, serial uint32, edns bool) []byte {
	m := []byte{0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	m = append(m, dnsname.MustParse(name).Wire()...)
	m = append(m, byte(qtype>>8), byte(qtype), 0, 1)
	if serial != 0 {
		m[9] = 1
		m = append(m, 0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0)
		m = binary.BigEndian.AppendUint32(m, serial)
		m = append(m, make([]byte, 16)...)
	}
	if edns {
		m[11] = 1
		m = append(m, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0)
	}
	return m
}

// transferFrom signs a query, sends it and reads responses until one says that it is
// the end, and checks that each is signed over the one before. It returns the
// first response, and the records as text, SOA records among them.
func transferFrom(t *testing.T, network string, addr netip.AddrPort, query []byte, key tsig.Key) (first *dns.Msg, records []string) {
	t.Helper()
	record := tsig.Request(0x1234, time.Now())
	query, prior := key.Sign(query, &record, nil, false)
	c := dial(t, network, addr)
	write := query
	if network == "tcp" {
		write = append([]byte{byte(len(query) >> 8), byte(len(query))}, query...)
	}
	if _, err := c.Write(write); err != nil {
		t.Fatal(err)
	}
	soas := []uint32{}
	for further := false; ; further = true {
		reply := read(t, network, c)
		signed, err := tsig.Read(reply)
		if err != nil {
			t.Fatalf("a response without TSIG: %v\n%x", err, reply)
		}
		if err := key.Verify(reply, &signed, prior, further, time.Now()); err != nil {
			t.Fatalf("a response that is not signed right: %v", err)
		}
		prior = signed.MAC
		m := &dns.Msg{Data: reply}
		if err := m.Unpack(); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = m
		}
		for _, rr := range m.Answer {
			records = append(records, strings.Join(strings.Fields(rr.String()), " "))
			if soa, ok := rr.(*dns.SOA); ok {
				soas = append(soas, soa.Serial)
			}
		}
		// The end: an error, one SOA alone, or that SOA the last of two or four.
		difference := len(records) > 1 && strings.Contains(records[1], " IN SOA ")
		switch {
		case m.Rcode != dns.RcodeSuccess || len(records) == 1,
			difference && len(soas) == 4, !difference && len(soas) == 2:
			return first, records
		}
	}
}

func read(t *testing.T, network string, c net.Conn) []byte {
	t.Helper()
	reply := make([]byte, 65535)
	if network == "udp" {
		n, err := c.Read(reply)
		if err != nil {
			t.Fatal(err)
		}
		return reply[:n]
	}
	if _, err := io.ReadFull(c, reply[:2]); err != nil {
		t.Fatal(err)
	}
	reply = reply[:binary.BigEndian.Uint16(reply)]
	if _, err := io.ReadFull(c, reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

func setTransferHost(t *testing.T, made *zone.Zone, i, last int) {
	t.Helper()
	name := dnsname.MustParse(fmt.Sprintf("host%d.%s", i, z))
	if err := made.Set(name, 60, []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(last)})}, nil, nil, uint64(last)); err != nil {
		t.Fatal(err)
	}
}

func TestTransfer(t *testing.T) {
	made := testZone(t)
	made.KeepHistory(zone.History{Changes: 1e5, Octets: 1e7})
	zones, err := zone.NewZones(made)
	if err != nil {
		t.Fatal(err)
	}
	p := &primary{Zones: zones}
	var told []dnsserver.Transferred
	var mu sync.Mutex
	s := start(t, dnsserver.Config{Zones: zones, Transfers: p, TransferKeys: []tsig.Key{transferKey}, Transferred: func(x dnsserver.Transferred) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, x)
	}})
	const hosts = 3000 // several messages
	for i := range hosts {
		setTransferHost(t, made, i, 1)
	}
	from := made.Serial()
	made.SetSerial(from + 1)
	for _, addr := range s.Addrs() {
		first, records := transferFrom(t, "tcp", addr, transferQuery("Hosts.Example.ORG", dns.TypeAXFR, 0, true), transferKey)
		cut, err := made.Cut()
		if err != nil {
			t.Fatal(err)
		}
		want := 2
		for set := range cut.RRsets() {
			want += len(set.Data)
		}
		if len(records) != want || !first.Authoritative || first.UDPSize == 0 {
			t.Errorf("%d records of %d, first response:\n%v", len(records), want, first)
		}
		slices.Sort(records)
		if twice := slices.Compact(slices.Clone(records)); len(twice) != want-1 { // the SOA
			t.Errorf("%d records are there twice", want-1-len(twice))
		}

		// Without EDNS there is none in the response.
		first, records = transferFrom(t, "tcp", addr, transferQuery(z, dns.TypeIXFR, from, false), transferKey)
		if len(records) != hosts+4 || first.UDPSize != 0 {
			t.Errorf("a difference of %d records, want %d", len(records), hosts+4)
		}
		for _, serial := range []uint32{from + 1, from + 2} {
			if _, records = transferFrom(t, "tcp", addr, transferQuery(z, dns.TypeIXFR, serial, true), transferKey); len(records) != 1 {
				t.Errorf("at serial %d there is news: %q", serial, records)
			}
		}
		if _, records = transferFrom(t, "tcp", addr, transferQuery(z, dns.TypeIXFR, from-1, true), transferKey); len(records) != want {
			t.Errorf("from a serial that nobody knows: %d records, want %d", len(records), want)
		}
		first, records = transferFrom(t, "udp", addr, transferQuery(z, dns.TypeIXFR, from, true), transferKey)
		if len(records) != 1 || first.Truncated {
			t.Errorf("by UDP: %q", records)
		}
		// Other queries are answered signed.
		if first, records = transferFrom(t, "udp", addr, transferQuery(z, dns.TypeSOA, 0, true), transferKey); len(records) != 1 || !first.Authoritative {
			t.Errorf("signed SOA: %v", first)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	var kinds []dnsserver.TransferKind
	var serials []uint32
	for _, x := range told[:len(told)/2] {
		kinds = append(kinds, x.Kind)
		serials = append(serials, x.Serial)
		if string(x.Key) != string(transferKey.Name) || x.Zone != made || !x.Client.IsLoopback() {
			t.Errorf("told of %+v", x)
		}
	}
	if want := []dnsserver.TransferKind{dnsserver.Whole, dnsserver.Difference, dnsserver.NoNews, dnsserver.NoNews, dnsserver.Whole}; !slices.Equal(kinds, want) {
		t.Errorf("told of the kinds %v, want %v", kinds, want)
	}
	// Who asked with a later serial has that.
	if want := []uint32{from + 1, from + 1, from + 1, from + 2, from + 1}; !slices.Equal(serials, want) {
		t.Errorf("told of the serials %d, want %d", serials, want)
	}
}

// TestTransferWhileChanging: a transfer is the zone at its serial, whatever changes
// meanwhile, and so is what it and the differences after it add up to.
func TestTransferWhileChanging(t *testing.T) {
	made := testZone(t)
	made.KeepHistory(zone.History{Changes: 1e5, Octets: 1e7})
	zones, err := zone.NewZones(made)
	if err != nil {
		t.Fatal(err)
	}
	p := &primary{Zones: zones}
	s := start(t, dnsserver.Config{Zones: zones, Transfers: p, TransferKeys: []tsig.Key{transferKey}})
	const hosts = 500
	// All hosts show the low octet of the serial.
	change := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		serial := made.Serial() + 1
		for i := range hosts {
			addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(serial)})
			if err := made.Set(dnsname.MustParse(fmt.Sprintf("host%d.%s", i, z)), 60, []netip.Addr{addr}, nil, nil, uint64(serial)); err != nil {
				t.Error(err)
			}
		}
		made.SetSerial(serial)
	}
	change()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				change()
			}
		}
	})
	for range 10 {
		_, records := transferFrom(t, "tcp", s.Addrs()[0], transferQuery(z, dns.TypeAXFR, 0, false), transferKey)
		serial := strings.Fields(records[0])[6]
		var number uint32
		fmt.Sscan(serial, &number)
		want, shown := fmt.Sprintf("198.51.100.%d", byte(number)), 0
		for _, r := range records {
			if strings.Contains(r, " IN A 198.51.100.") && strings.HasPrefix(r, "host") {
				if !strings.HasSuffix(r, want) {
					t.Fatalf("at serial %s: %s", serial, r)
				}
				shown++
			}
		}
		if shown != hosts {
			t.Errorf("%d hosts, want %d", shown, hosts)
		}
	}
	close(done)
	wg.Wait()
}

// TestTransferRefusals: who may not have a zone, or asks for it in a wrong way,
// hears why.
func TestTransferRefusals(t *testing.T) {
	zones := testZones(t)
	other := transferKey
	other.Name = []byte("\x05other\x00")
	forged := transferKey
	forged.Secret = []byte("another secret that is none of ours")
	s := start(t, dnsserver.Config{Zones: zones, Transfers: &primary{Zones: zones}, TransferKeys: []tsig.Key{transferKey}})
	for _, addr := range s.Addrs() {
		for _, test := range []struct {
			name     string
			query    []byte
			key      *tsig.Key // nil: unsigned
			off      time.Duration
			tcp, udp uint16 // rcodes
			extended int    // -1: none
			code     uint16 // in the TSIG record; 0: signed, if the query was and the rcode is not of TSIG
		}{
			{name: "AXFR unsigned", query: transferQuery(z, dns.TypeAXFR, 0, true), tcp: dns.RcodeRefused, udp: dns.RcodeRefused, extended: 18},
			{name: "IXFR unsigned", query: transferQuery(z, dns.TypeIXFR, 1, true), tcp: dns.RcodeRefused, udp: dns.RcodeRefused, extended: 18},
			{name: "below the apex", query: transferQuery("home."+z, dns.TypeAXFR, 0, true), key: &transferKey, tcp: dns.RcodeNotAuth, udp: dns.RcodeNotAuth, extended: 20},
			{name: "other zone", query: transferQuery("example.net", dns.TypeIXFR, 1, true), key: &transferKey, tcp: dns.RcodeNotAuth, udp: dns.RcodeNotAuth, extended: 20},
			{name: "IXFR without a serial", query: transferQuery(z, dns.TypeIXFR, 0, true), key: &transferKey, tcp: dns.RcodeFormatError, udp: dns.RcodeFormatError, extended: -1},
			{name: "unknown key", query: transferQuery(z, dns.TypeAXFR, 0, true), key: &other, tcp: dns.RcodeNotAuth, udp: dns.RcodeNotAuth, extended: -1, code: tsig.BadKey},
			{name: "forged", query: transferQuery(z, dns.TypeAXFR, 0, true), key: &forged, tcp: dns.RcodeNotAuth, udp: dns.RcodeNotAuth, extended: -1, code: tsig.BadSig},
			{name: "old", query: transferQuery(z, dns.TypeAXFR, 0, true), key: &transferKey, off: -time.Hour, tcp: dns.RcodeNotAuth, udp: dns.RcodeNotAuth, extended: -1, code: tsig.BadTime},
			{name: "early", query: transferQuery(z, dns.TypeAXFR, 0, true), key: &transferKey, off: time.Hour, tcp: dns.RcodeNotAuth, udp: dns.RcodeNotAuth, extended: -1, code: tsig.BadTime},
		} {
			for _, network := range []string{"tcp", "udp"} {
				query, want := test.query, test.tcp
				if network == "udp" {
					want = test.udp
				}
				var mac []byte
				if test.key != nil {
					record := tsig.Request(0x1234, time.Now().Add(test.off))
					query, mac = test.key.Sign(slices.Clone(query), &record, nil, false)
				}
				c := dial(t, network, addr)
				if network == "tcp" {
					query = append([]byte{byte(len(query) >> 8), byte(len(query))}, query...)
				}
				if _, err := c.Write(query); err != nil {
					t.Fatal(err)
				}
				reply := read(t, network, c)
				m := &dns.Msg{Data: reply}
				if err := m.Unpack(); err != nil {
					t.Fatal(err)
				}
				extended := -1
				for _, o := range m.Pseudo {
					if e, ok := o.(*dns.EDE); ok {
						extended = int(e.InfoCode)
					}
				}
				if m.Rcode != want || extended != test.extended || len(m.Answer) != 0 {
					t.Errorf("%s by %s: rcode %d, want %d; extended error %d, want %d", test.name, network, m.Rcode, want, extended, test.extended)
				}
				record, err := tsig.Read(reply)
				if (err == nil) != (test.key != nil) || record.Error != test.code {
					t.Errorf("%s by %s: TSIG error %d, want %d; %v", test.name, network, record.Error, test.code, err)
				}
				if test.code == 0 && test.key != nil || test.code == tsig.BadTime {
					if err := transferKey.Check(&record, record.Signed(reply, mac, false)); err != nil {
						t.Errorf("%s by %s: the refusal is not signed: %v", test.name, network, err)
					}
				}
			}
		}
		// By UDP there is no AXFR for anybody.
		if first, records := transferFrom(t, "udp", addr, transferQuery(z, dns.TypeAXFR, 0, true), transferKey); first.Rcode != dns.RcodeFormatError || len(records) != 0 {
			t.Errorf("AXFR by UDP: %v", first)
		}
	}
}

// TestSlowSecondary: who does not take what he asked for loses the connection, and
// nobody waits for him.
func TestSlowSecondary(t *testing.T) {
	made := testZone(t)
	text := []string{strings.Repeat("x", 4000)}
	for i := range 5000 { // more than the kernel keeps for a connection
		if err := made.Set(dnsname.MustParse(fmt.Sprintf("host%d.%s", i, z)), 60, nil, nil, text, 1); err != nil {
			t.Fatal(err)
		}
	}
	zones, err := zone.NewZones(made)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, dnsserver.Config{Zones: zones, Transfers: &primary{Zones: zones}, TransferKeys: []tsig.Key{transferKey}, MessageTimeout: 200 * time.Millisecond})
	query := transferQuery(z, dns.TypeAXFR, 0, true)
	record := tsig.Request(0x1234, time.Now())
	query, _ = transferKey.Sign(query, &record, nil, false)
	for range 8 { // all places of a client
		c := dial(t, "tcp", s.Addrs()[0])
		c.(*net.TCPConn).SetReadBuffer(4096)
		if _, err := c.Write(append([]byte{byte(len(query) >> 8), byte(len(query))}, query...)); err != nil {
			t.Fatal(err)
		}
	}
	// The places come free when the slow ones have had their time.
	if first, _ := transferFrom(t, "tcp", s.Addrs()[0], transferQuery(z, dns.TypeIXFR, made.Serial(), true), transferKey); first.Rcode != dns.RcodeSuccess {
		t.Errorf("after slow secondaries: %v", first)
	}
}
