package source_test

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"godwit/internal/agent"
)

// nameServer answers every question with these records, and returns its address
// and port.
func nameServer(t *testing.T, network, addr string, rcode dnsmessage.RCode, answers ...dnsmessage.ResourceBody) string {
	t.Helper()
	conn, err := net.ListenPacket(network, net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if query.Unpack(buffer[:n]) != nil || len(query.Questions) != 1 {
				continue
			}
			q := query.Questions[0]
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true, RCode: rcode}, Questions: query.Questions}
			for _, body := range answers {
				reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: body})
			}
			if packed, err := reply.Pack(); err == nil {
				conn.WriteTo(packed, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func TestDNS(t *testing.T) {
	a := func(text string) dnsmessage.ResourceBody {
		return &dnsmessage.AResource{A: netip.MustParseAddr(text).As4()}
	}
	txt := func(texts ...string) dnsmessage.ResourceBody { return &dnsmessage.TXTResource{TXT: texts} }
	for _, test := range []struct {
		name, suffix, want string
		rcode              dnsmessage.RCode
		answers            []dnsmessage.ResourceBody
	}{
		{"address", "", "20.0.0.7", dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{a("20.0.0.7")}},
		{"text", " TXT", "20.0.0.7", dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{txt("20.0.0.7")}},
		{"two addresses", "", "2 records", dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{a("20.0.0.7"), a("20.0.0.8")}},
		{"two texts", " TXT", "2 records", dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{txt("20.0.0.7"), txt("edns0-client-subnet")}},
		{"text around it", " TXT", "not one address", dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{txt("you are 20.0.0.7")}},
		{"private", "", "behind NAT", dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{a("192.168.1.7")}},
		{"another type", "", "no such host", dnsmessage.RCodeSuccess, []dnsmessage.ResourceBody{txt("20.0.0.7")}},
		{"no such name", "", "no such host", dnsmessage.RCodeNameError, nil},
		{"refused", "", "server misbehaving", dnsmessage.RCodeRefused, []dnsmessage.ResourceBody{a("20.0.0.7")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := nameServer(t, "udp4", "127.0.0.1", test.rcode, test.answers...)
			checkFind(t, newSource(t, "dns myip.example.net@"+server+test.suffix), agent.IPv4, test.want)
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		server := nameServer(t, "udp6", "::1", dnsmessage.RCodeSuccess, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2a01:100::7").As16()})
		checkFind(t, newSource(t, "dns myip.example.net@"+server), agent.IPv6, "2a01:100::7")
	})
	t.Run("another family than the server's", func(t *testing.T) {
		server := nameServer(t, "udp4", "127.0.0.1", dnsmessage.RCodeSuccess, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2a01:100::7").As16()})
		checkFind(t, newSource(t, "dns myip.example.net@"+server), agent.IPv6, "no suitable address")
	})
}
