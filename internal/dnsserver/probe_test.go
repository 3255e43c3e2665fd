package dnsserver_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsutil"

	"godwit/internal/dnsserver"
)

// Header bits of the second 16-bit word.
const (
	bitAA = 0x0400
	bitTC = 0x0200
	bitRD = 0x0100
	bitRA = 0x0080
	bitZ  = 0x0040
	bitAD = 0x0020
	bitCD = 0x0010
)

// ednsQuery is the OPT record of a query.
type ednsQuery struct {
	version byte
	size    uint16
	flags   uint16
	options []byte // as on the wire
}

// probe is one row of the table: the query as octets, the same as dig says it,
// and what must come back.
type probe struct {
	name   string
	dig    string // after "dig +tries=1 +time=2 @SERVER"
	qname  string
	qtype  uint16
	class  uint16 // 0: IN
	opcode uint16
	bits   uint16
	header bool // header only
	edns   *ednsQuery
	twoOPT bool
	tsig   bool

	rcode     string   // "": NOERROR
	flags     []string // nil: qr aa
	answer    string   // types of the answer section, "": SOA
	authority string   // types of the authority section
	do        bool
	cookie    bool
	expire    bool
	maxLen    int
	truncated bool // by UDP
	signed    bool // the zone is
	noDig     bool // dig cannot ask this
}

const none = "-" // an empty section

var (
	qr   = []string{"qr"}
	qrRD = []string{"qr", "aa", "rd"}
	qrCD = []string{"qr", "aa", "cd"}
)

const (
	noEDNS = "+noedns +noad +norec "
	eDNS   = "+edns=0 +nocookie +noad +norec "
	eDNS1  = "+edns=1 +noednsneg +nocookie +noad +norec "
)

func edns(options ...byte) *ednsQuery { return &ednsQuery{size: 1232, options: options} }
func edns1(options ...byte) *ednsQuery {
	return &ednsQuery{version: 1, size: 1232, options: options}
}
func withFlags(e *ednsQuery, flags uint16) *ednsQuery { e.flags = flags; return e }

var (
	clientCookie = []byte{0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}
	nsid         = []byte{0, 3, 0, 0}
	expireOption = []byte{0, 9, 0, 0}
	subnet       = []byte{0, 8, 0, 4, 0, 1, 0, 0}
	unknown100   = []byte{0, 100, 0, 0}
	allOptions   = slices.Concat(nsid, clientCookie, expireOption, subnet)
)

// soaProbes ask for the SOA.
func soaProbes() []probe {
	var out []probe
	add := func(p probe) {
		p.qname, p.qtype = z, dns.TypeSOA
		p.dig += " SOA " + z
		out = append(out, p)
	}
	add(probe{name: "dns", dig: noEDNS})
	for _, f := range []struct {
		flag string
		bit  uint16
	}{{"aaflag", bitAA}, {"ad", bitAD}, {"raflag", bitRA}, {"tcflag", bitTC}, {"zflag", bitZ}} {
		add(probe{name: f.flag, dig: noEDNS + "+" + f.flag, bits: f.bit})
	}
	add(probe{name: "cd", dig: noEDNS + "+cd", bits: bitCD, flags: qrCD})
	add(probe{name: "rd", dig: "+noedns +noad +rec", bits: bitRD, flags: qrRD})
	add(probe{name: "edns", dig: eDNS, edns: edns()})
	add(probe{name: "edns1", dig: eDNS1, edns: edns1(), rcode: "BADVERS", flags: qr, answer: none})
	add(probe{name: "unknown option", dig: eDNS + "+ednsopt=100", edns: edns(unknown100...)})
	add(probe{name: "unknown option, edns1", dig: eDNS1 + "+ednsopt=100", edns: edns1(unknown100...), rcode: "BADVERS", flags: qr, answer: none})
	add(probe{name: "do", dig: eDNS + "+dnssec", edns: withFlags(edns(), 0x8000), do: true})
	add(probe{name: "do, cd", dig: eDNS + "+dnssec +cd", edns: withFlags(edns(), 0x8000), bits: bitCD, flags: qrCD, do: true})
	add(probe{name: "do, edns1", dig: eDNS1 + "+dnssec", edns: withFlags(edns1(), 0x8000), rcode: "BADVERS", flags: qr, answer: none, do: true})
	add(probe{name: "edns flags", dig: eDNS + "+ednsflags=0x0080", edns: withFlags(edns(), 0x0080)})
	add(probe{name: "nsid", dig: eDNS + "+nsid", edns: edns(nsid...)})
	add(probe{name: "nsid, edns1", dig: eDNS1 + "+nsid", edns: edns1(nsid...), rcode: "BADVERS", flags: qr, answer: none})
	add(probe{name: "cookie", dig: eDNS + "+cookie=0102030405060708", edns: edns(clientCookie...), cookie: true})
	add(probe{name: "cookie, edns1", dig: eDNS1 + "+cookie=0102030405060708", edns: edns1(clientCookie...), rcode: "BADVERS", flags: qr, answer: none})
	add(probe{name: "expire", dig: eDNS + "+expire", edns: edns(expireOption...), expire: true})
	add(probe{name: "expire, edns1", dig: eDNS1 + "+expire", edns: edns1(expireOption...), rcode: "BADVERS", flags: qr, answer: none})
	add(probe{name: "subnet", dig: eDNS + "+subnet=0.0.0.0/0", edns: edns(subnet...)})
	add(probe{name: "subnet, edns1", dig: eDNS1 + "+subnet=0.0.0.0/0", edns: edns1(subnet...), rcode: "BADVERS", flags: qr, answer: none})
	all := "+nsid +cookie=0102030405060708 +expire +subnet=0.0.0.0/0"
	add(probe{name: "all options", dig: eDNS + all, edns: edns(allOptions...), cookie: true, expire: true})
	add(probe{name: "all options, edns1", dig: eDNS1 + all, edns: edns1(allOptions...), rcode: "BADVERS", flags: qr, answer: none})
	add(probe{name: "bad cookie", dig: eDNS + "+ednsopt=10:010203", edns: edns(0, 10, 0, 3, 1, 2, 3), rcode: "FORMERR", flags: qr, answer: none})
	add(probe{name: "as resolvers ask", dig: "+edns=0 +cookie=0102030405060708 +noad +norec +dnssec", edns: withFlags(edns(clientCookie...), 0x8000), do: true, cookie: true})
	add(probe{name: "as resolvers ask, rd", dig: "+edns=0 +cookie=0102030405060708 +ad +rec +dnssec", edns: withFlags(edns(clientCookie...), 0x8000), bits: bitRD | bitAD, flags: qrRD, do: true, cookie: true})
	add(probe{name: "unknown key", dig: noEDNS + "-y hmac-sha256:.:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", tsig: true, rcode: "NOTAUTH", flags: qr, answer: none})
	add(probe{name: "two OPT", edns: edns(), twoOPT: true, rcode: "FORMERR", flags: qr, answer: none, noDig: true})
	return out
}

// probes are the table: what is asked for the SOA of the apex is asked for a host,
// a wildcard, an empty non-terminal and a name that does not exist too.
func probes() []probe {
	out := soaProbes()
	soa := out
	for _, at := range []struct{ title, name, rcode, answer, authority string }{
		{"A at a host", "home." + z, "", "A", ""},
		{"A at a wildcard", "x.w." + z, "", "A", ""},
		{"A at an empty non-terminal", "ent." + z, "", none, "SOA"},
		{"A at a missing name", "nothere." + z, "NXDOMAIN", none, "SOA"},
	} {
		for _, p := range soa {
			p.name += ", " + at.title
			p.dig = strings.ReplaceAll(p.dig, "SOA "+z, "A "+at.name)
			p.qname, p.qtype, p.expire = at.name, dns.TypeA, false
			if p.answer == "" {
				p.rcode, p.answer, p.authority = at.rcode, at.answer, at.authority
			}
			out = append(out, p)
		}
	}
	with := func(name, flags, rrtype, qname string, p probe) {
		p.name, p.dig, p.qname = name, flags+rrtype+" "+qname, qname
		p.qtype, _ = dnsutil.StringToType(rrtype)
		out = append(out, p)
	}
	flags := uint16(bitTC | bitRD | bitRA | bitCD | bitAD | bitAA | bitZ)
	out = append(out,
		probe{name: "opcode", dig: noEDNS + "+header-only +opcode=15", header: true, opcode: 15, rcode: "NOTIMP", flags: qr, answer: none},
		probe{name: "opcode, all flags", dig: "+noedns +header-only +opcode=15 +tcflag +rec +raflag +cd +ad +aaflag +zflag", header: true, opcode: 15, bits: flags, rcode: "NOTIMP", flags: qr, answer: none},
		probe{name: "notify", header: true, opcode: 4, rcode: "NOTIMP", flags: qr, answer: none, noDig: true},
		probe{name: "update", header: true, opcode: 5, rcode: "NOTIMP", flags: qr, answer: none, noDig: true},
		probe{name: "no question", header: true, rcode: "FORMERR", flags: qr, answer: none, noDig: true},
	)
	with("type666", noEDNS, "TYPE666", z, probe{answer: none, authority: "SOA"})
	with("type666 that is there", noEDNS, "TYPE666", "unknown."+z, probe{answer: "TYPE666"})
	with("edns 512", eDNS+"+dnssec +ignore +bufsize=512 ", "DNSKEY", z, probe{edns: &ednsQuery{size: 512, flags: 0x8000}, do: true, answer: none, authority: "SOA", maxLen: 512})
	with("edns 512, cut", eDNS+"+ignore +bufsize=512 ", "TXT", "big."+z, probe{edns: &ednsQuery{size: 512}, answer: "TXT TXT TXT TXT TXT", maxLen: 512, truncated: true})
	with("edns size below the floor", eDNS+"+ignore +bufsize=100 ", "TXT", z, probe{edns: &ednsQuery{size: 100}, answer: "TXT", maxLen: 512})
	with("missing", noEDNS, "A", "nothere."+z, probe{rcode: "NXDOMAIN", answer: none, authority: "SOA"})
	with("nodata", noEDNS, "AAAA", "v4only."+z, probe{answer: none, authority: "SOA"})
	with("ent", noEDNS, "A", "ent."+z, probe{answer: none, authority: "SOA"})
	with("wildcard", noEDNS, "A", "x.w."+z, probe{answer: "A"})
	with("outside", noEDNS, "A", "www.example.net", probe{rcode: "REFUSED", flags: qr, answer: none})
	with("case", noEDNS, "A", "HoMe."+z, probe{answer: "A"})
	with("any", noEDNS, "ANY", z, probe{answer: "SOA", maxLen: 512})
	with("chaos", noEDNS+"CH ", "TXT", "version.bind", probe{class: dns.ClassCHAOS, rcode: "REFUSED", flags: qr, answer: none})
	with("class ANY", noEDNS+"-c ANY ", "A", "home."+z, probe{class: dns.ClassANY, rcode: "REFUSED", flags: qr, answer: none})
	with("cname", noEDNS, "A", "www."+z, probe{answer: "CNAME A"})
	with("delegation", noEDNS, "A", "x.child."+z, probe{flags: qr, answer: none, authority: "NS"})
	with("axfr", noEDNS, "AXFR", z, probe{rcode: "REFUSED", flags: qr, answer: none, noDig: true})
	with("ixfr", noEDNS, "IXFR", z, probe{rcode: "REFUSED", flags: qr, answer: none, noDig: true})
	return out
}

// wireName is a name in wire form in the case given.
func wireName(name string) []byte {
	if name == "" || name == "." {
		return []byte{0}
	}
	var out []byte
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		out = append(out, byte(len(label)))
		out = append(out, label...)
	}
	return append(out, 0)
}

func (p *probe) query() []byte {
	msg := []byte{0xab, 0xcd, byte(p.opcode<<3) | byte(p.bits>>8), byte(p.bits), 0, 0, 0, 0, 0, 0, 0, 0}
	if p.header {
		return msg
	}
	class := p.class
	if class == 0 {
		class = dns.ClassINET
	}
	msg[5] = 1
	msg = append(msg, wireName(p.qname)...)
	msg = binary.BigEndian.AppendUint16(msg, p.qtype)
	msg = binary.BigEndian.AppendUint16(msg, class)
	for i := 0; p.edns != nil && (i == 0 || i == 1 && p.twoOPT); i++ {
		msg[11]++
		msg = append(msg, 0, 0, 41, byte(p.edns.size>>8), byte(p.edns.size), 0, p.edns.version, byte(p.edns.flags>>8), byte(p.edns.flags))
		msg = binary.BigEndian.AppendUint16(msg, uint16(len(p.edns.options)))
		msg = append(msg, p.edns.options...)
	}
	if p.tsig {
		msg[11]++
		msg = append(msg, 0, 0, 250, 0, 255, 0, 0, 0, 0)
		rdata := slices.Concat(wireName("hmac-sha256"), []byte{0, 0, 0x65, 0, 0, 0, 1, 44, 0, 32}, make([]byte, 32), []byte{0xab, 0xcd, 0, 0, 0, 0})
		msg = binary.BigEndian.AppendUint16(msg, uint16(len(rdata)))
		msg = append(msg, rdata...)
	}
	return msg
}

func exchange(t testing.TB, network string, addr netip.AddrPort, query []byte) []byte {
	t.Helper()
	c := dial(t, network, addr)
	defer c.Close()
	if network == "udp" {
		if _, err := c.Write(query); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 65536)
		n, err := c.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return buffer[:n]
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		t.Fatal(err)
	}
	return readTCP(t, c)
}

func readTCP(t testing.TB, r io.Reader) []byte {
	t.Helper()
	var prefix [2]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	if _, err := io.ReadFull(r, reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

// types are the types of a section.
func types(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		rrtype := dns.RRToType(rr)
		if _, unknown := rr.(*dns.RFC3597); unknown {
			rrtype = 666 // the library does not keep it
		}
		out = append(out, dnsutil.TypeToString(rrtype))
	}
	if len(out) == 0 {
		return none
	}
	return strings.Join(out, " ")
}

func headerFlags(msg []byte) (out []string) {
	word := binary.BigEndian.Uint16(msg[2:])
	for _, f := range []struct {
		name string
		bit  uint16
	}{{"qr", 0x8000}, {"aa", bitAA}, {"tc", bitTC}, {"rd", bitRD}, {"ra", bitRA}, {"z", bitZ}, {"ad", bitAD}, {"cd", bitCD}} {
		if word&f.bit != 0 {
			out = append(out, f.name)
		}
	}
	return out
}

// want is what the row expects by a transport.
func (p probe) want(udp bool) probe {
	if p.flags == nil {
		p.flags = []string{"qr", "aa"}
	}
	if p.answer == "" {
		p.answer = "SOA"
	}
	if p.authority == "" {
		p.authority = none
	}
	if p.rcode == "" {
		p.rcode = "NOERROR"
	}
	if p.signed {
		p.sign()
	}
	if p.truncated && udp {
		p.answer = none
		p.flags = []string{"qr", "aa", "tc"}
	}
	return p
}

// sign adds to what is expected what a signed zone answers beside it.
func (p *probe) sign() {
	switch {
	case p.qtype == dns.TypeDNSKEY:
		p.answer, p.authority = "DNSKEY", none
	case p.authority == "SOA" && p.do && p.rcode != "FORMERR":
		p.authority, p.rcode = "SOA NSEC", "NOERROR"
	}
	if p.do && p.edns.version == 0 {
		for _, section := range []*string{&p.answer, &p.authority} {
			if *section != none {
				*section = strings.ReplaceAll(*section, " ", " RRSIG ") + " RRSIG"
			}
		}
	}
}

func (p probe) check(t *testing.T, query, reply []byte, udp bool) {
	t.Helper()
	want := p.want(udp)
	m := &dns.Msg{Data: reply}
	if err := m.Unpack(); err != nil {
		t.Fatalf("reply does not parse: %v\n%x", err, reply)
	}
	if m.ID != 0xabcd {
		t.Errorf("ID %#x", m.ID)
	}
	rcode := dnsutil.RcodeToString(m.Rcode)
	switch rcode {
	case "BADSIG":
		rcode = "BADVERS"
	case "NOTIMPL":
		rcode = "NOTIMP"
	}
	if rcode != want.rcode {
		t.Errorf("rcode %s, want %s", rcode, want.rcode)
	}
	if got := headerFlags(reply); !slices.Equal(got, want.flags) {
		t.Errorf("flags %v, want %v", got, want.flags)
	}
	if got := reply[2] >> 3 & 15; got != byte(p.opcode) {
		t.Errorf("opcode %d, want %d", got, p.opcode)
	}
	if got := types(m.Answer); got != want.answer {
		t.Errorf("answer %s, want %s", got, want.answer)
	}
	if got := types(m.Ns); got != want.authority {
		t.Errorf("authority %s, want %s", got, want.authority)
	}
	if p.header != (len(m.Question) == 0) {
		t.Errorf("%d questions", len(m.Question))
	}
	if !p.header {
		if end := 12 + len(wireName(p.qname)) + 4; string(reply[12:end]) != string(query[12:end]) {
			t.Errorf("question %x, want %x", reply[12:end], query[12:end])
		}
	}
	if (m.UDPSize > 0) != (p.edns != nil) || p.edns != nil && m.UDPSize != 1232 {
		t.Errorf("OPT with size %d", m.UDPSize)
	}
	if m.Security != p.do || m.Version != 0 || m.CompactAnswers || m.Delegation {
		t.Errorf("do %t, version %d", m.Security, m.Version)
	}
	var options []string
	for _, o := range m.Pseudo {
		switch o := o.(type) {
		case *dns.COOKIE:
			options = append(options, fmt.Sprint("cookie ", o.Cookie[:16], " ", len(o.Cookie)/2))
		case *dns.EXPIRE:
			options = append(options, fmt.Sprint("expire ", o.Expire))
		case *dns.TSIG:
			options = append(options, fmt.Sprint("tsig ", o.Error, " ", o.MACSize))
		default:
			options = append(options, fmt.Sprintf("%T", o))
		}
	}
	var wantOptions []string
	if p.cookie {
		wantOptions = append(wantOptions, "cookie 0102030405060708 24")
	}
	if p.expire {
		wantOptions = append(wantOptions, "expire 1209600")
	}
	if p.tsig {
		wantOptions = append(wantOptions, "tsig 17 0")
	}
	if !slices.Equal(options, wantOptions) {
		t.Errorf("options %q, want %q", options, wantOptions)
	}
	if udp && p.maxLen > 0 && len(reply) > p.maxLen {
		t.Errorf("%d octets, want at most %d", len(reply), p.maxLen)
	}
}

func TestProbes(t *testing.T) {
	eachZone(t, func(t *testing.T, s *dnsserver.Server, signed bool) {
		for i, family := range []string{"IPv4", "IPv6"} {
			for _, network := range []string{"udp", "tcp"} {
				for _, p := range probes() {
					t.Run(family+"/"+network+"/"+p.name, func(t *testing.T) {
						query := p.query()
						p.signed = signed
						p.check(t, query, exchange(t, network, s.Addrs()[i], query), network == "udp")
					})
				}
			}
		}
	})
}

// eachZone serves the zone of the tests, unsigned and signed.
func eachZone(t *testing.T, test func(t *testing.T, s *dnsserver.Server, signed bool)) {
	run := func(t *testing.T, signed bool, zones dnsserver.Zones) {
		// dig may reuse addresses: its own socket must not get a port of the server's.
		at := []netip.AddrPort{freePort(t, "127.0.0.1"), freePort(t, "::1")}
		test(t, start(t, dnsserver.Config{Zones: zones, Addresses: at}), signed)
	}
	t.Run("unsigned", func(t *testing.T) { run(t, false, testZones(t)) })
	t.Run("signed", func(t *testing.T) { run(t, true, signedZones(t)) })
}

var (
	digStatus  = regexp.MustCompile(`opcode: (\S+), status: (\S+), id`)
	digFlags   = regexp.MustCompile(`;; flags: ([a-z ]*);.* QUERY: (\d+), ANSWER: (\d+), AUTHORITY: (\d+)`)
	digEDNS    = regexp.MustCompile(`; EDNS: version: (\d+), flags:([^;]*); udp: (\d+)`)
	digCookie  = regexp.MustCompile(`; COOKIE: ([0-9a-f]+)`)
	digSection = regexp.MustCompile(`(?m)^([^;\s]\S*)\s+\d+\s+IN\s+(\S+)`)
)

// TestProbesWithDig asks the same by dig, whose reading of the answers is not ours.
func TestProbesWithDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		if inCI() {
			t.Fatal("dig is missing; install it: apt-get install bind9-dnsutils")
		}
		t.Skip("dig is missing; install bind9-dnsutils to run this")
	}
	eachZone(t, func(t *testing.T, s *dnsserver.Server, signed bool) { probeWithDig(t, dig, s, signed) })
}

func probeWithDig(t *testing.T, dig string, s *dnsserver.Server, signed bool) {
	for i, family := range []string{"IPv4", "IPv6"} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(family+"/"+network, func(t *testing.T) {
				t.Parallel()
				// One process asks all rows in turn, but for those with a key,
				// which holds for a whole process.
				var together, keyed []probe
				for _, p := range probes() {
					p.signed = signed
					switch {
					case p.noDig:
					case p.tsig:
						keyed = append(keyed, p)
					default:
						together = append(together, p)
					}
				}
				runDig(t, dig, network, s.Addrs()[i], together)
				runDig(t, dig, network, s.Addrs()[i], keyed)
			})
		}
	}
}

func runDig(t *testing.T, dig, network string, addr netip.AddrPort, rows []probe) {
	t.Helper()
	args := []string{"@" + addr.Addr().String(), "-p", fmt.Sprint(addr.Port())}
	transport := map[string]string{"udp": "+notcp", "tcp": "+tcp"}[network]
	for _, p := range rows {
		name, options := ".", []string{"+tries=1", "+time=5", transport}
		var kind []string
		for fields := strings.Fields(p.dig); len(fields) > 0; fields = fields[1:] {
			switch f := fields[0]; {
			case f == "-y" || f == "-c":
				kind = append(kind, f, fields[1])
				fields = fields[1:]
			case f == "CH":
				kind = append(kind, "-c", f)
			case f[0] == '+':
				options = append(options, f)
			case p.qname != f:
				kind = append(kind, "-t", f)
			default:
				name = f
			}
		}
		args = append(append(append(args, "-q", name), kind...), options...)
	}
	out, _ := exec.Command(dig, args...).CombinedOutput() // 1 for a bad TSIG, which is no failure here
	replies := strings.Split(string(out), ";; Got answer:")[1:]
	if len(replies) != len(rows) {
		t.Fatalf("dig printed %d answers to %d questions:\n%s", len(replies), len(rows), out)
	}
	for i, p := range rows {
		t.Run(p.name, func(t *testing.T) { p.checkDig(t, replies[i], network == "udp") })
	}
}

func (p probe) checkDig(t *testing.T, out string, udp bool) {
	t.Helper()
	want := p.want(udp)
	status, flags := digStatus.FindStringSubmatch(out), digFlags.FindStringSubmatch(out)
	if status == nil || flags == nil {
		t.Fatalf("no answer:\n%s", out)
	}
	if status[2] != want.rcode {
		t.Errorf("status %s, want %s", status[2], want.rcode)
	}
	if got := strings.Fields(flags[1]); !slices.Equal(got, want.flags) {
		t.Errorf("flags %v, want %v", got, want.flags)
	}
	var got []string
	for _, m := range digSection.FindAllStringSubmatch(out, -1) {
		got = append(got, m[2])
	}
	sections := slices.DeleteFunc(strings.Fields(want.answer+" "+want.authority), func(s string) bool { return s == none })
	if p.name == "delegation" {
		sections = append(sections, "A") // glue
	}
	if !slices.Equal(got, sections) {
		t.Errorf("records %v, want %v", got, sections)
	}
	edns := digEDNS.FindStringSubmatch(out)
	if (edns != nil) != (p.edns != nil) {
		t.Fatalf("OPT %v", edns)
	}
	if edns != nil && (edns[1] != "0" || edns[3] != "1232" || strings.TrimSpace(edns[2]) != map[bool]string{true: "do"}[p.do]) {
		t.Errorf("OPT %v", edns)
	}
	if cookie := digCookie.FindStringSubmatch(out); (cookie != nil) != p.cookie || cookie != nil && len(cookie[1]) != 48 {
		t.Errorf("COOKIE %v", cookie)
	}
	if p.expire != strings.Contains(out, "EXPIRE: 1209600") {
		t.Errorf("EXPIRE wanted: %t", p.expire)
	}
	if p.tsig != strings.Contains(out, "BADKEY") {
		t.Errorf("BADKEY wanted: %t", p.tsig)
	}
	if t.Failed() {
		t.Log(out)
	}
}
