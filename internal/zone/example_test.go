package zone_test

import (
	"fmt"
	"net/netip"
	"strings"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// A zone with a mail record from a file and one host, asked for the host's
// address as a responder asks: with the header and the question of the query.
func Example() {
	apex := dnsname.MustParse("dyn.example.org")
	records, err := zone.Parse(strings.NewReader("@ 3600 IN MX 10 mail.example.net.\n"), "dyn.zone", apex)
	if err != nil {
		fmt.Println(err)
		return
	}
	z, err := zone.New(zone.Config{Apex: apex, Records: records, Serial: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	nas := dnsname.MustParse("nas.dyn.example.org")
	if err := z.Set(nas, 60, []netip.Addr{netip.MustParseAddr("198.51.100.7")}, nil, nil, 1); err != nil {
		fmt.Println(err)
		return
	}

	msg := make([]byte, 12, 512+zone.Slack)
	msg[2], msg[5] = 0x80, 1 // a response, with one question
	msg = append(append(msg, nas.Wire()...), 0, byte(dns.TypeA), 0, byte(dns.ClassINET))
	var w zone.Writer
	w.Start(msg, []byte(nas.Wire()), 512)
	z.Answer(&w, dns.TypeA)

	reply := dns.Msg{Data: w.Finish()}
	if err := reply.Unpack(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Join(strings.Fields(reply.Answer[0].String()), " "))
	// Output: nas.dyn.example.org. 60 IN A 198.51.100.7
}
