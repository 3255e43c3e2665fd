package dnsserver

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/tsig"
	"godwit/internal/zone"
)

// TestPlaces: transfers at once are bounded, for each client and in all, and the
// next one waits for its turn, but not for ever.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		one, two, three := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.3")
		var ends []func()
		take := func(client netip.Addr, want bool) {
			t.Helper()
			end := p.take(client)
			if (end != nil) != want {
				t.Fatalf("a place for %s: %t, want %t", client, end != nil, want)
			}
			if end != nil {
				ends = append(ends, end)
			}
		}
		for range maxTransfersPerClient {
			take(one, true)
		}
		take(one, false)
		for range maxTransfersPerClient {
			take(two, true)
		}
		take(netip.MustParseAddr("2001:db8::2"), false) // of the same /64
		take(three, false)                              // all are taken
		go func() {
			time.Sleep(transferPatience / 2)
			ends[0]()
		}()
		begin := time.Now()
		take(three, true)
		if waited := time.Since(begin); waited != transferPatience/2 {
			t.Errorf("the place came after %s", waited)
		}
		for _, end := range ends[1:] {
			end()
		}
		if p.all != 0 || len(p.taken) != 0 {
			t.Errorf("%d places are taken when all are given back, by %v", p.all, p.taken)
		}
		for range maxTransfersPerClient {
			take(one, true)
		}
		close(p.stopping)
		begin = time.Now()
		take(one, false)
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("at the end it waited %s", waited)
		}
	})
}

type fixedTransfers struct{ *zone.Zones }

func (fixedTransfers) Whole(z *zone.Zone) (*zone.Transfer, error)           { return z.Whole() }
func (fixedTransfers) Since(z *zone.Zone, s uint32) (*zone.Transfer, error) { return z.Since(s) }

// FuzzTransferQuery: whatever a holder of the key signs is answered with a signed
// response or, if it is a well-formed query by TCP for a zone, with a transfer;
// the serial is taken from where the SOA has it.
func FuzzTransferQuery(f *testing.F) {
	apex := dnsname.MustParse("example.org")
	made, err := zone.New(zone.Config{Apex: apex, Serial: 7})
	if err != nil {
		f.Fatal(err)
	}
	zones, err := zone.NewZones(made)
	if err != nil {
		f.Fatal(err)
	}
	key := tsig.Key{Name: []byte("\x01k\x00"), Algorithm: tsig.SHA256, Secret: []byte("0123456789abcdef0123456789abcdef")}
	header := "\x12\x34\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00"
	soa := "\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	question := "\x07example\x03org\x00\x00\xfb\x00\x01"
	f.Add([]byte(header+question+soa), true)
	f.Add([]byte(header+question+soa), false)
	f.Add([]byte(header+question+soa[:len(soa)-1]), true)
	f.Add([]byte(header+question+"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\xc0\x0c\xc0\x0c\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), true)
	f.Add([]byte("\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\xfc\x00\x01"), true)
	f.Fuzz(func(t *testing.T, msg []byte, tcp bool) {
		if len(msg) < headerLen || msg[10] != 0 || msg[11] == 0xff {
			return
		}
		now := time.Unix(1_800_000_000, 0)
		r := &responder{zones: zones, secrets: newSecrets(), counts: &counts{}, udpSize: 1232, keepalive: 10 * time.Second,
			transfers: fixedTransfers{zones}, transferKeys: map[string]tsig.Key{string(key.Name): key}}
		record := tsig.Request(uint16(msg[0])<<8|uint16(msg[1]), now)
		query, mac := key.Sign(append([]byte(nil), msg...), &record, nil, false)
		out := r.respond(query, nil, netip.MustParseAddr("192.0.2.1"), tcp, now)
		if r.transfer != nil {
			if !tcp || out != nil || r.query.qtype != 251 && r.query.qtype != 252 {
				t.Fatalf("a transfer by TCP %t of type %d", tcp, r.query.qtype)
			}
			return
		}
		if _, err := tsig.Read(query); err != nil || out == nil || len(out) == headerLen {
			return // not DNS, or not to be understood
		}
		signed, err := tsig.Read(out)
		if err != nil {
			return // an answer that no key can sign: see respond
		}
		if err := key.Verify(out, &signed, mac, false, now); err != nil && signed.Error == 0 {
			t.Fatalf("the response is not signed: %v", err)
		}
		if limit := 1232; !tcp && len(out) > limit {
			t.Fatalf("%d octets by UDP", len(out))
		}
	})
}
