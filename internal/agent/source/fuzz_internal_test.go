package source

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"godwit/internal/agent"
)

var fuzzGateway = netip.MustParseAddr("192.168.1.1")

// FuzzNATPMP: what is taken says the address in the octets that RFC 6886 names.
func FuzzNATPMP(f *testing.F) {
	f.Add([]byte{0, 128, 0, 0, 0, 0, 0, 1, 20, 0, 0, 7})
	f.Add([]byte{0, 128, 0, 3, 0, 0, 0, 1})
	f.Add([]byte{0, 129, 0, 0})
	f.Fuzz(func(t *testing.T, reply []byte) {
		addr, err, ok := parseNATPMP(reply)
		if addr.IsValid() && (!ok || err != nil || len(reply) != 12 || !bytes.Equal(addr.AsSlice(), reply[8:])) {
			t.Errorf("%x is taken for %s", reply, addr)
		}
		if err != nil && binary.BigEndian.Uint16(reply[2:]) == 0 {
			t.Errorf("success is taken for %v", err)
		}
	})
}

// FuzzPCP: an address comes only from a reply to this very request.
func FuzzPCP(f *testing.F) {
	m := mapping{client: netip.MustParseAddr("192.168.1.7"), nonce: [12]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, port: 40000}
	reply := m.request(mapLifetime)
	reply[1] |= pcpReply
	f.Add(reply)
	f.Add(append(slices.Clone(reply), 0, 0, 0, 0))
	f.Add([]byte{0, 0x81, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, reply []byte) {
		addr, err, ok := m.parse(reply)
		if !addr.IsValid() {
			return
		}
		if !ok || err != nil || len(reply) > pcpLongest || !bytes.Equal(reply[24:36], m.nonce[:]) || binary.BigEndian.Uint16(reply[40:]) != m.port {
			t.Errorf("%x is taken for %s", reply, addr)
		}
	})
}

// FuzzSearchReply: wherever an answer sends us, it is the gateway.
func FuzzSearchReply(f *testing.F) {
	for _, location := range []string{"http://192.168.1.1:5000/root.xml", "http://192.168.1.1.example.org/", "http://192.168.1.1@203.0.113.1/",
		"https://192.168.1.1/", "//192.168.1.1/x", "http://[::ffff:192.168.1.1]/"} {
		f.Add([]byte("HTTP/1.1 200 OK\r\nST: " + searches[0] + "\r\nLOCATION: " + location + "\r\n\r\n"))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if location, err := parseSearchReply(datagram, fuzzGateway); err == nil {
			atGateway(t, location)
		}
	})
}

// FuzzDescription: whatever a description says, calls go to the gateway, and
// there are few.
func FuzzDescription(f *testing.F) {
	f.Add([]byte(descriptionOf("urn:schemas-upnp-org:service:WANIPConnection:1", "/ctl")))
	f.Add([]byte(descriptionOf("urn:schemas-upnp-org:service:WANPPPConnection:1", "http://203.0.113.1/ctl")))
	f.Add([]byte(`<root><URLBase>http://192.168.1.1:80</URLBase>` + strings.Repeat("<device><deviceList>", 50)))
	f.Add([]byte(`<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><root><device>&b;</device></root>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		location, _ := url.Parse("http://192.168.1.1:5000/root.xml")
		connections, err := parseDescription(data, location, fuzzGateway)
		if err != nil {
			return
		}
		if len(connections) == 0 || len(connections) > connectionLimit {
			t.Errorf("%d connections", len(connections))
		}
		for _, c := range connections {
			atGateway(t, c.control)
			if strings.ContainsAny(c.service, "\"\r\n<&") {
				t.Errorf("service %q would break the request", c.service)
			}
		}
	})
}

func atGateway(t *testing.T, u *url.URL) {
	t.Helper()
	again, err := url.Parse(u.String())
	if err != nil || again.Scheme != "http" || again.Hostname() != fuzzGateway.String() || again.User != nil {
		t.Errorf("%q is taken for the gateway's own", u)
	}
}

// FuzzExternalAddress: an answer has one IPv4 address, which it contains.
func FuzzExternalAddress(f *testing.F) {
	f.Add([]byte(soapOf("20.0.0.7")))
	f.Add([]byte(soapOf("")))
	f.Add([]byte(soapOf("2a01:100::1")))
	f.Add([]byte(soapOf("20.0.0.7</NewExternalIPAddress><NewExternalIPAddress>20.0.0.8")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if addr, err := parseExternalAddress(data); err == nil && !addr.Is4() {
			t.Errorf("got %s", addr)
		}
	})
}

// FuzzAddr: text that is taken is one public address of the family and white
// space, and nothing else.
func FuzzAddr(f *testing.F) {
	for _, text := range []string{"20.0.0.7", " 20.0.0.7\r\n", "20.0.0.7 20.0.0.8", "0.0.0.0", "192.168.1.1", "020.0.0.7", "::ffff:20.0.0.7", "2a01:100::1",
		"fe80::1%eth0", "2a01:100::1%eth0", "<b>20.0.0.7</b>", "20.0.0.7/32", "[2a01:100::1]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, family := range []agent.Family{agent.IPv4, agent.IPv6} {
			addr, err := parseAddr("it", text, family)
			if err != nil {
				continue
			}
			if _, ok := special(addr); ok || addr.Is4() != (family == agent.IPv4) || addr.Is4In6() || addr.Zone() != "" {
				t.Errorf("%q is taken for %s", text, addr)
			}
			if again, err := netip.ParseAddr(strings.TrimSpace(text)); err != nil || again != addr {
				t.Errorf("%q is taken for %s", text, addr)
			}
		}
	})
}

// FuzzSplitArgs: arguments that are quoted again are read as the same.
func FuzzSplitArgs(f *testing.F) {
	for _, text := range []string{"/bin/echo 20.0.0.7", `a "b c" 'd "e"' ""`, `"`, "a\x00b", `a"b"'c'`, "\t a  "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args, err := splitArgs(text)
		if err != nil {
			return
		}
		var quoted []string
		for _, a := range args {
			// A quotation has no escapes, so each kind of quote stands in the other.
			quoted = append(quoted, `"`+strings.ReplaceAll(a, `"`, `"'"'"`)+`"`)
		}
		again, err := splitArgs(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(args, again) {
			t.Errorf("%q is %q, and again %q, %v", text, args, again, err)
		}
	})
}

// FuzzNew: the name of a source makes the same source.
func FuzzNew(f *testing.F) {
	for _, text := range []string{"interface", "interface eth0", "router", "web https://a.example/ip https://b.example/ip", "dns n@192.0.2.1:5300 TXT",
		"dns n@[2001:db8::1]:53", "dns n@2001:db8::1", "command /bin/x 'a b'"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := New(text)
		if err != nil {
			return
		}
		again, err := New(s.Name())
		if err != nil || again.Name() != s.Name() {
			t.Errorf("%q has the name %q, which makes %v", text, s.Name(), err)
		}
	})
}

// descriptionOf is a gateway's description with one service in the device of a device.
func descriptionOf(service, control string) string {
	return `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>` + searches[0] + `</deviceType><deviceList><device>` +
		`<deviceList><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/l3</controlURL></service>` +
		`<service><serviceType>` + service + `</serviceType><controlURL>` + control + `</controlURL></service></serviceList></device></deviceList></device></deviceList></device></root>`
}

// soapOf is an answer of GetExternalIPAddress.
func soapOf(addr string) string {
	return `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:GetExternalIPAddressResponse ` +
		`xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1"><NewExternalIPAddress>` + addr + `</NewExternalIPAddress></u:GetExternalIPAddressResponse></s:Body></s:Envelope>`
}

// FuzzPrefix: what is taken is one public prefix that a server takes too, and is
// written as it was read, but for the spelling.
func FuzzPrefix(f *testing.F) {
	for _, seed := range []string{"2a01:100:0:ff00::/56\n", "2a01:100::/48", " 2A01:0100:0:1::/64 ", "2a01:100::/65", "2a01:100::7/64", "fd00::/48", "::/48",
		"2a01:100::%eth0/64", "::ffff:1.2.3.0/120", "2a01:100::/56 2a01:200::/56", "2a01:100::/056", "1.2.3.0/56"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePrefix("a program", text)
		if err != nil {
			if p.IsValid() || len(err.Error()) > 1000 {
				t.Fatalf("%q: %s with %v", text, p, err)
			}
			return
		}
		again, err := parsePrefix("a program", p.String())
		if _, ours := special(p.Addr()); err != nil || again != p || ours || p != p.Masked() || !p.Addr().Is6() || p.Bits() < 48 || p.Bits() > 64 {
			t.Fatalf("%q is taken for %s, and that for %s, %v", text, p, again, err)
		}
	})
}
