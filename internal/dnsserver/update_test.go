package dnsserver_test

import (
	"encoding/base64"
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

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
	"godwit/internal/dnsserver"
	"godwit/internal/tsig"
)

// home is the host that the tests update, other one that they may not.
const (
	home  = "home." + z
	other = "v4only." + z
)

// oneZone is z, for the core.
type oneZone struct{}

func (oneZone) Zone(name dnsname.Name) (dnsname.Name, bool) {
	apex := dnsname.MustParse(z)
	return apex, name.Under(apex)
}
func (oneZone) Clash(dnsname.Name) error { return nil }

// updates is a server, the core behind it, and a key.
type updates struct {
	*ddns.Service
	server *dnsserver.Server
	key    tsig.Key
	id     uint16

	mu  sync.Mutex // guards now
	now time.Time
}

func (u *updates) clock() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now
}

// pass lets a second pass, so that what is signed then is after the start.
func (u *updates) pass(d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now = u.now.Add(d)
}

func newUpdates(t *testing.T, edit ...func(*ddns.Settings)) *updates {
	t.Helper()
	u := &updates{now: time.Unix(1_800_000_000, 0)}
	store := new(publishtest.Store)
	var err error
	if u.Service, err = ddns.NewService(ddns.Config{Store: store, Sealer: store, Zones: oneZone{}, Now: u.clock}); err != nil {
		t.Fatal(err)
	}
	settings := ddns.Settings{Addresses: new(ddns.AnyAddress), Free: new(true)}
	for _, e := range edit {
		e(&settings)
	}
	for _, name := range []string{home, other} {
		if _, err := u.Add(t.Context(), dnsname.MustParse(name), settings, ddns.Secret{}); err != nil {
			t.Fatal(err)
		}
	}
	u.key = u.addKey(t, ddns.TokenSpec{TSIG: tsig.SHA256})
	u.pass(time.Second)
	u.server = start(t, dnsserver.Config{Updater: u.Service, Now: u.clock})
	return u
}

func (u *updates) addKey(t *testing.T, spec ddns.TokenSpec) tsig.Key {
	t.Helper()
	made, err := u.AddToken(t.Context(), dnsname.MustParse(home), spec)
	if err != nil {
		t.Fatal(err)
	}
	name, err := made.Credential.TSIGName(made.Host)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base64.StdEncoding.DecodeString(made.TSIGSecret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return tsig.Key{Name: []byte(name.Wire()), Algorithm: spec.TSIG, Secret: secret}
}

// records of a home, as text in order.
func (u *updates) shown(t *testing.T) string {
	t.Helper()
	h, _, err := u.Show(t.Context(), dnsname.MustParse(home))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range h.Current() {
		out = append(out, a.String())
	}
	for _, v := range h.TXT {
		out = append(out, v.Value)
	}
	return strings.Join(out, " ")
}

type rr struct {
	name       string
	typ, class uint16
	ttl        uint32
	data       string
}

// update is an UPDATE message; edns adds an OPT record.
func update(id uint16, zone string, edns bool, asked, changes []rr) []byte {
	msg := binary.BigEndian.AppendUint16(nil, id)
	msg = append(msg, dns.OpcodeUpdate<<3, 0, 0, 1)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(asked)))
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(changes)))
	msg = append(msg, 0, 0)
	msg = append(append(msg, dnsname.MustParse(zone).Wire()...), 0, byte(dns.TypeSOA), 0, dns.ClassINET)
	for _, r := range slices.Concat(asked, changes) {
		msg = append(msg, dnsname.MustParse(r.name).Wire()...)
		msg = binary.BigEndian.AppendUint16(msg, r.typ)
		msg = binary.BigEndian.AppendUint16(msg, r.class)
		msg = binary.BigEndian.AppendUint32(msg, r.ttl)
		msg = binary.BigEndian.AppendUint16(msg, uint16(len(r.data)))
		msg = append(msg, r.data...)
	}
	if edns {
		msg[11]++
		msg = append(msg, 0, 0, byte(dns.TypeOPT), 4, 208, 0, 0, 0, 0, 0, 0)
	}
	return msg
}

func addA(last byte) rr {
	return rr{home, dns.TypeA, dns.ClassINET, 3600, "\xc0\x00\x02" + string(rune(last))}
}

// sign signs a message at the clock's time, and more.
func (u *updates) sign(msg []byte) []byte {
	r := tsig.Request(binary.BigEndian.Uint16(msg), u.clock())
	msg, _ = u.key.Sign(msg, &r, nil, false)
	return msg
}

// exchangeAll sends messages one after the other, over one connection, and returns
// the answer to the last.
func exchangeAll(t testing.TB, network string, server netip.AddrPort, msgs ...[]byte) []byte {
	t.Helper()
	c, err := net.Dial(network, server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	reply := make([]byte, 65535)
	n := 0
	for _, msg := range msgs {
		if network == "tcp" {
			msg = append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
		}
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		if network == "tcp" {
			if _, err := io.ReadFull(c, reply[:2]); err != nil {
				t.Fatal(err)
			}
			n = int(binary.BigEndian.Uint16(reply))
			_, err = io.ReadFull(c, reply[:n])
		} else {
			n, err = c.Read(reply)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return reply[:n]
}

// rcodeOf is a response's rcode, with the error of its TSIG record if it has one.
// A record with a MAC must hold for the request's.
func (u *updates) rcodeOf(t *testing.T, request, reply []byte) string {
	t.Helper()
	if binary.BigEndian.Uint16(request) != binary.BigEndian.Uint16(reply) || reply[2] != 0x80|request[2]&0x79 && reply[2]&^0x04 != 0x80|request[2]&0x79 {
		t.Errorf("header % x to % x", reply[:4], request[:4])
	}
	text := dns.RcodeToString[uint16(reply[3]&0xf)]
	r, err := tsig.Read(reply)
	if err != nil {
		return text
	}
	if len(r.MAC) > 0 {
		asked, err := tsig.Read(request)
		if err != nil {
			t.Fatal(err)
		}
		at := u.clock()
		if r.Error == tsig.BadTime {
			at = time.Unix(int64(r.Time), 0)
		}
		if err := u.key.Verify(reply, &r, asked.MAC, false, at); err != nil {
			t.Errorf("the answer's signature: %v", err)
		}
		text += " signed"
	}
	return strings.TrimSpace(text + " " + map[uint16]string{16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 22: "BADTRUNC"}[r.Error])
}

// transports calls do for UDP and TCP over IPv4 and IPv6.
func (u *updates) transports(t *testing.T, do func(t *testing.T, network string, server netip.AddrPort)) {
	for _, server := range u.server.Addrs() {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(fmt.Sprintf("%s over %s", network, server.Addr()), func(t *testing.T) { do(t, network, server) })
		}
	}
}

// What is not signed as it must be is refused over every transport, as RFC 8945
// section 5.2 has it, and never done.
func TestUpdateTSIGMatrix(t *testing.T) {
	u := newUpdates(t)
	edited := func(edit func(r *tsig.Record)) func(msg []byte) []byte {
		return func(msg []byte) []byte {
			msg = u.sign(msg)
			r, err := tsig.Read(msg)
			if err != nil {
				t.Fatal(err)
			}
			edit(&r)
			bare := slices.Clone(msg[:r.Offset])
			bare[11]--
			return r.Append(bare)
		}
	}
	with := func(edit func(k *tsig.Key), at time.Duration) func(msg []byte) []byte {
		return func(msg []byte) []byte {
			k := u.key
			edit(&k)
			r := tsig.Request(binary.BigEndian.Uint16(msg), u.clock().Add(at))
			msg, _ = k.Sign(msg, &r, nil, false)
			return msg
		}
	}
	for _, c := range []struct {
		name string
		sign func(msg []byte) []byte
		want string
	}{
		{"no TSIG", func(msg []byte) []byte { return msg }, "REFUSED"},
		{"zero MAC", edited(func(r *tsig.Record) { r.MAC = make([]byte, 32) }), "NOTAUTH BADSIG"},
		{"MAC cut below half", edited(func(r *tsig.Record) { r.MAC = r.MAC[:15] }), "FORMERR"},
		{"MAC cut to half", edited(func(r *tsig.Record) { r.MAC = r.MAC[:16] }), "NOTAUTH signed BADTRUNC"},
		{"wrong algorithm", with(func(k *tsig.Key) { k.Algorithm = tsig.MD5 }, 0), "NOTAUTH BADKEY"},
		{"wrong secret", with(func(k *tsig.Key) { k.Secret = []byte("another") }, 0), "NOTAUTH BADSIG"},
		{"unknown key", with(func(k *tsig.Key) { k.Name = []byte("\x08aaaaaaaa" + dnsname.MustParse(z).Wire()) }, 0), "NOTAUTH BADKEY"},
		{"an hour ago", with(func(*tsig.Key) {}, -time.Hour), "NOTAUTH signed BADTIME"},
		{"in an hour", with(func(*tsig.Key) {}, time.Hour), "NOTAUTH signed BADTIME"},
		{"before the start", with(func(*tsig.Key) {}, -2*time.Second), "NOTAUTH signed BADTIME"},
		{"a record behind", func(msg []byte) []byte {
			msg = u.sign(msg)
			msg[11]++
			return append(msg, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0)
		}, "FORMERR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u.transports(t, func(t *testing.T, network string, server netip.AddrPort) {
				u.id++
				msg := c.sign(update(u.id, z, false, nil, []rr{addA(66)}))
				if got := u.rcodeOf(t, msg, exchangeAll(t, network, server, msg)); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
	if got := u.shown(t); got != "" {
		t.Errorf("it shows %s", got)
	}
	u.transports(t, func(t *testing.T, network string, server netip.AddrPort) {
		u.id++
		msg := u.sign(update(u.id, z, false, nil, []rr{addA(byte(u.id))}))
		if got := u.rcodeOf(t, msg, exchangeAll(t, network, server, msg)); got != "NOERROR signed" {
			t.Errorf("a good one: %s", got)
		}
	})
}

// The sections of a message, as RFC 2136 section 3 has them. Each case begins with
// 192.0.2.1 and a challenge value.
func TestUpdateSections(t *testing.T) {
	challenge := challengeOf(home)
	const start = "192.0.2.1 old"
	text := func(values ...string) (out string) {
		for _, v := range values {
			out += string(rune(len(v))) + v
		}
		return out
	}
	ask := func(name string, typ, class uint16, data string) rr { return rr{name, typ, class, 0, data} }
	for _, c := range []struct {
		name    string
		zone    string
		asked   []rr
		changes []rr
		rcode   string
		shown   string
	}{
		{name: "add", changes: []rr{addA(2)}, shown: "192.0.2.1 192.0.2.2 old"},
		{name: "add what is there", changes: []rr{addA(1)}, shown: start},
		{name: "add IPv6", changes: []rr{{home, dns.TypeAAAA, dns.ClassINET, 0, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"}}, shown: "192.0.2.1 2001:db8::1 old"},
		{name: "replace", changes: []rr{ask(home, dns.TypeA, dns.ClassANY, ""), addA(3)}, shown: "192.0.2.3 old"},
		{name: "delete a record", changes: []rr{{home, dns.TypeA, dns.ClassNONE, 0, "\xc0\x00\x02\x01"}}, shown: "old"},
		{name: "delete what is not there", changes: []rr{{home, dns.TypeA, dns.ClassNONE, 0, "\xc0\x00\x02\x09"}, ask(home, dns.TypeAAAA, dns.ClassANY, "")}, shown: start},
		{name: "delete an RRset", changes: []rr{ask(home, dns.TypeA, dns.ClassANY, "")}, shown: "old"},
		{name: "delete a name", changes: []rr{ask(home, dns.TypeANY, dns.ClassANY, "")}, shown: "old"},
		{name: "add a challenge", changes: []rr{{challenge, dns.TypeTXT, dns.ClassINET, 60, text("a", "b")}}, shown: "192.0.2.1 old ab"},
		{name: "delete a challenge", changes: []rr{{challenge, dns.TypeTXT, dns.ClassNONE, 0, text("old")}}, shown: "192.0.2.1"},
		{name: "delete all challenges", changes: []rr{ask(challenge, dns.TypeANY, dns.ClassANY, "")}, shown: "192.0.2.1"},
		{name: "both names of a host", changes: []rr{addA(2), ask(challenge, dns.TypeTXT, dns.ClassANY, "")}, shown: "192.0.2.1 192.0.2.2"},
		{name: "nothing", shown: start},

		{name: "RRset exists", asked: []rr{ask(home, dns.TypeA, dns.ClassANY, "")}, changes: []rr{addA(2)}, shown: "192.0.2.1 192.0.2.2 old"},
		{name: "RRset exists, not", asked: []rr{ask(home, dns.TypeAAAA, dns.ClassANY, "")}, changes: []rr{addA(2)}, rcode: "NXRRSET", shown: start},
		{name: "RRset of another type exists, not", asked: []rr{ask(home, dns.TypeCNAME, dns.ClassANY, "")}, changes: []rr{addA(2)}, rcode: "NXRRSET", shown: start},
		{name: "RRset equals", asked: []rr{ask(home, dns.TypeA, dns.ClassINET, "\xc0\x00\x02\x01")}, changes: []rr{addA(2)}, shown: "192.0.2.1 192.0.2.2 old"},
		{name: "RRset equals, not", asked: []rr{ask(home, dns.TypeA, dns.ClassINET, "\xc0\x00\x02\x01"), ask(home, dns.TypeA, dns.ClassINET, "\xc0\x00\x02\x02")}, rcode: "NXRRSET", shown: start},
		{name: "challenge equals", asked: []rr{ask(challenge, dns.TypeTXT, dns.ClassINET, text("old"))}, changes: []rr{addA(2)}, shown: "192.0.2.1 192.0.2.2 old"},
		{name: "RRset absent", asked: []rr{ask(home, dns.TypeAAAA, dns.ClassNONE, ""), ask(home, dns.TypeCNAME, dns.ClassNONE, "")}, changes: []rr{addA(2)}, shown: "192.0.2.1 192.0.2.2 old"},
		{name: "RRset absent, not", asked: []rr{ask(home, dns.TypeA, dns.ClassNONE, "")}, changes: []rr{addA(2)}, rcode: "YXRRSET", shown: start},
		{name: "name in use", asked: []rr{ask(home, dns.TypeANY, dns.ClassANY, ""), ask(challenge, dns.TypeANY, dns.ClassANY, "")}, changes: []rr{addA(2)}, shown: "192.0.2.1 192.0.2.2 old"},
		{name: "name not in use, not", asked: []rr{ask(home, dns.TypeANY, dns.ClassNONE, "")}, changes: []rr{addA(2)}, rcode: "YXDOMAIN", shown: start},
		{name: "challenge not in use, not", asked: []rr{ask(challenge, dns.TypeANY, dns.ClassNONE, "")}, rcode: "YXDOMAIN", shown: start},
		{name: "condition alone", asked: []rr{ask(home, dns.TypeANY, dns.ClassANY, "")}, shown: start},

		{name: "another zone", zone: "example.net", changes: []rr{addA(2)}, rcode: "NOTAUTH", shown: start},
		{name: "a zone below", zone: "child." + z, rcode: "NOTAUTH", shown: start},
		{name: "a name outside", changes: []rr{addA(2), {"home.example.net", dns.TypeA, dns.ClassINET, 60, "\xc0\x00\x02\x02"}}, rcode: "NOTZONE", shown: start},
		{name: "a condition outside", asked: []rr{ask("home.example.net", dns.TypeA, dns.ClassANY, "")}, rcode: "NOTZONE", shown: start},
		{name: "another's name", changes: []rr{{other, dns.TypeA, dns.ClassINET, 60, "\xc0\x00\x02\x02"}}, rcode: "REFUSED", shown: start},
		{name: "another's challenge", changes: []rr{{challengeOf(other), dns.TypeTXT, dns.ClassINET, 60, text("x")}}, rcode: "REFUSED", shown: start},
		{name: "a name that nobody has", changes: []rr{{"none." + z, dns.TypeA, dns.ClassINET, 60, "\xc0\x00\x02\x02"}}, rcode: "REFUSED", shown: start},
		{name: "two hosts", changes: []rr{addA(2), {other, dns.TypeA, dns.ClassINET, 60, "\xc0\x00\x02\x02"}}, rcode: "REFUSED", shown: start},
		{name: "a condition on another", asked: []rr{ask(other, dns.TypeA, dns.ClassANY, "")}, changes: []rr{addA(2)}, rcode: "REFUSED", shown: start},
		{name: "another type", changes: []rr{addA(2), {home, dns.TypeMX, dns.ClassINET, 60, "\x00\x0a\x00"}}, rcode: "REFUSED", shown: start},
		{name: "TXT at the host", changes: []rr{{home, dns.TypeTXT, dns.ClassINET, 60, text("x")}}, rcode: "REFUSED", shown: start},
		{name: "the apex", changes: []rr{{z, dns.TypeNS, dns.ClassANY, 0, ""}}, rcode: "REFUSED", shown: start},

		{name: "data cut", changes: []rr{{home, dns.TypeA, dns.ClassINET, 60, "\xc0\x00\x02"}}, rcode: "FORMERR", shown: start},
		{name: "no text", changes: []rr{{challenge, dns.TypeTXT, dns.ClassINET, 60, ""}}, rcode: "FORMERR", shown: start},
		{name: "text cut", changes: []rr{{challenge, dns.TypeTXT, dns.ClassINET, 60, "\x05abc"}}, rcode: "FORMERR", shown: start},
		{name: "add ANY", changes: []rr{addA(2), {home, dns.TypeANY, dns.ClassINET, 60, ""}}, rcode: "FORMERR", shown: start},
		{name: "delete with a TTL", changes: []rr{{home, dns.TypeA, dns.ClassANY, 60, ""}}, rcode: "FORMERR", shown: start},
		{name: "delete an RRset by value", changes: []rr{{home, dns.TypeA, dns.ClassANY, 0, "\xc0\x00\x02\x01"}}, rcode: "FORMERR", shown: start},
		{name: "condition with a TTL", asked: []rr{{home, dns.TypeA, dns.ClassANY, 60, ""}}, rcode: "FORMERR", shown: start},
		{name: "class CH", changes: []rr{{home, dns.TypeA, dns.ClassCHAOS, 60, "\xc0\x00\x02\x02"}}, rcode: "FORMERR", shown: start},
		{name: "malformed after what is not taken", changes: []rr{{other, dns.TypeA, dns.ClassINET, 60, "\xc0\x00\x02\x02"}, {home, dns.TypeA, dns.ClassANY, 60, ""}}, rcode: "FORMERR", shown: start},

		// The updates of ISC Kea's D2 and ISC dhcpd for a new lease (RFC 4703 section
		// 5.3.1): the name is not in use, then the address and a DHCID record (RFC 4701).
		{name: "DHCP server with DHCID", asked: []rr{ask(home, dns.TypeANY, dns.ClassNONE, "")},
			changes: []rr{addA(2), {home, dns.TypeDHCID, dns.ClassINET, 60, "\x00\x02\x01" + strings.Repeat("x", 32)}}, rcode: "REFUSED", shown: start},
		// Kea with "ddns-conflict-resolution-mode": "no-check-without-dhcid".
		{name: "DHCP server without DHCID", changes: []rr{ask(home, dns.TypeA, dns.ClassANY, ""), addA(2)}, shown: "192.0.2.2 old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUpdates(t)
			send := func(zone string, asked, changes []rr) string {
				u.id++
				msg := u.sign(update(u.id, zone, false, asked, changes))
				return u.rcodeOf(t, msg, exchangeAll(t, "tcp", u.server.Addrs()[0], msg))
			}
			if got := send(z, nil, []rr{addA(1), {challenge, dns.TypeTXT, dns.ClassINET, 60, text("old")}}); got != "NOERROR signed" {
				t.Fatal(got)
			}
			if c.zone == "" {
				c.zone = z
			}
			if c.rcode == "" {
				c.rcode = "NOERROR"
			}
			if got := send(c.zone, c.asked, c.changes); got != c.rcode+" signed" {
				t.Errorf("%s, want %s", got, c.rcode)
			}
			if got := u.shown(t); got != c.shown {
				t.Errorf("it shows %s, want %s", got, c.shown)
			}
		})
	}
}

func challengeOf(host string) string { return "_acme-challenge." + host }

// The same message a thousand times, over both transports, does nothing after the
// first time, whatever was changed meanwhile.
func TestUpdateReplay(t *testing.T) {
	u := newUpdates(t)
	server := u.server.Addrs()[0]
	var corpus [][]byte
	for _, changes := range [][]rr{{addA(1)}, {addA(2)}, {{home, dns.TypeA, dns.ClassANY, 0, ""}}, {addA(3)}} { // in one second
		u.id++
		corpus = append(corpus, u.sign(update(u.id, z, false, nil, changes)))
	}
	for _, msg := range corpus {
		if got := u.rcodeOf(t, msg, exchangeAll(t, "tcp", server, msg)); got != "NOERROR signed" {
			t.Fatal(got)
		}
	}
	h, _, err := u.Show(t.Context(), dnsname.MustParse(home))
	if err != nil {
		t.Fatal(err)
	}
	many := slices.Repeat(corpus, 500)
	for _, network := range []string{"udp", "tcp"} {
		reply := exchangeAll(t, network, server, many...)
		if got := u.rcodeOf(t, many[len(many)-1], reply); got != "NOERROR signed" {
			t.Error(got)
		}
	}
	after, _, err := u.Show(t.Context(), dnsname.MustParse(home))
	if err != nil || after.Generation != h.Generation {
		t.Errorf("generation %d, not %d; %v", after.Generation, h.Generation, err)
	}
}

// Under --source match an address goes over TCP, from that address.
func TestUpdateSource(t *testing.T) {
	u := newUpdates(t, func(s *ddns.Settings) { s.Free = new(false) })
	for _, c := range []struct {
		network string
		change  rr
		rcode   string
		reason  string
	}{
		{"udp", rr{home, dns.TypeA, dns.ClassINET, 60, "\x7f\x00\x00\x01"}, "REFUSED signed", "use TCP"},
		{"udp", rr{home, dns.TypeA, dns.ClassANY, 0, ""}, "REFUSED signed", "use TCP"},
		{"udp", rr{challengeOf(home), dns.TypeTXT, dns.ClassINET, 60, "\x01x"}, "NOERROR signed", ""},
		{"tcp", addA(1), "REFUSED signed", "--source free"},
		{"tcp", rr{home, dns.TypeA, dns.ClassINET, 60, "\x7f\x00\x00\x01"}, "NOERROR signed", ""},
	} {
		u.id++
		msg := u.sign(update(u.id, z, true, nil, []rr{c.change}))
		reply := exchangeAll(t, c.network, u.server.Addrs()[0], msg)
		if got := u.rcodeOf(t, msg, reply); got != c.rcode || !strings.Contains(string(reply), c.reason) || len(c.reason) > 0 != strings.Contains(string(reply), "; ") {
			t.Errorf("%s %v: %s, %q", c.network, c.change, got, reply)
		}
	}
	if got := u.shown(t); got != "127.0.0.1 x" {
		t.Errorf("it shows %s", got)
	}
	events, err := u.History(t.Context(), dnsname.MustParse(home))
	if err != nil || events[0].Door != "update" || !events[0].Proven || events[1].Proven {
		t.Errorf("%+v, %v", events, err)
	}
}

// A client that looks for the zone first asks in the key's name, and gets an answer
// that is signed.
func TestSignedQuery(t *testing.T) {
	u := newUpdates(t)
	u.transports(t, func(t *testing.T, network string, server netip.AddrPort) {
		q := dns.NewMsg(home+".", dns.TypeSOA)
		q.ID = 77
		if err := q.Pack(); err != nil {
			t.Fatal(err)
		}
		msg := u.sign(slices.Clone(q.Data))
		reply := exchangeAll(t, network, server, msg)
		if got := u.rcodeOf(t, msg, reply); got != "NOERROR signed" {
			t.Error(got)
		}
		answer := &dns.Msg{Data: reply}
		if err := answer.Unpack(); err != nil || len(answer.Ns) != 1 {
			t.Errorf("authority %v, %v", answer.Ns, err)
		}
		k := u.key
		k.Name = []byte("\x08aaaaaaaa" + dnsname.MustParse(z).Wire())
		r := tsig.Request(77, u.clock())
		msg, _ = k.Sign(slices.Clone(q.Data), &r, nil, false)
		if got := u.rcodeOf(t, msg, exchangeAll(t, network, server, msg)); got != "NOTAUTH BADKEY" {
			t.Error(got)
		}
	})
}

// Each key changes what it is granted and nothing else: keys × records × verbs ×
// transports.
func TestUpdateAuthorisation(t *testing.T) {
	u := newUpdates(t)
	add := func(host string, types ...ddns.Type) tsig.Key {
		t.Helper()
		made, err := u.AddToken(t.Context(), dnsname.MustParse(host), ddns.TokenSpec{TSIG: tsig.SHA256, Types: types})
		if err != nil {
			t.Fatal(err)
		}
		name, _ := made.Credential.TSIGName(made.Host)
		secret, _ := base64.StdEncoding.DecodeString(made.TSIGSecret.Reveal())
		return tsig.Key{Name: []byte(name.Wire()), Algorithm: tsig.SHA256, Secret: secret}
	}
	type record struct {
		name string
		typ  uint16
		data string
	}
	records := []record{
		{home, dns.TypeA, "\xc0\x00\x02\x01"}, {home, dns.TypeAAAA, strings.Repeat("\x20", 16)}, {challengeOf(home), dns.TypeTXT, "\x01x"},
		{other, dns.TypeA, "\xc0\x00\x02\x01"}, {other, dns.TypeAAAA, strings.Repeat("\x20", 16)}, {challengeOf(other), dns.TypeTXT, "\x01x"},
		{"www." + z, dns.TypeA, "\xc0\x00\x02\x01"}, {z, dns.TypeA, "\xc0\x00\x02\x01"},
	}
	for _, c := range []struct {
		name string
		key  tsig.Key
		may  []int // indexes into records
	}{
		{"all of home", u.key, []int{0, 1, 2}},
		{"A of home", add(home, ddns.TypeA), []int{0}},
		{"challenges of home", add(home, ddns.TypeTXT), []int{2}},
		{"AAAA of the other", add(other, ddns.TypeAAAA), []int{4}},
		{"all of the other", add(other), []int{3, 4, 5}},
	} {
		u.key = c.key
		for i, r := range records {
			for verb, change := range map[string]rr{
				"add": {r.name, r.typ, dns.ClassINET, 60, r.data}, "delete": {r.name, r.typ, dns.ClassNONE, 0, r.data}, "delete all": {r.name, r.typ, dns.ClassANY, 0, ""},
			} {
				for _, network := range []string{"udp", "tcp"} {
					want := "REFUSED signed"
					if slices.Contains(c.may, i) {
						want = "NOERROR signed"
					}
					u.id++
					msg := u.sign(update(u.id, z, false, nil, []rr{change}))
					if got := u.rcodeOf(t, msg, exchangeAll(t, network, u.server.Addrs()[0], msg)); got != want {
						t.Errorf("%s: %s of %s %s over %s: %s, want %s", c.name, verb, r.name, dns.TypeToString[r.typ], network, got, want)
					}
				}
			}
		}
	}
}
