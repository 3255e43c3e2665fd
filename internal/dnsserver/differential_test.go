package dnsserver_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsutil"

	"godwit/internal/dnsname"
	"godwit/internal/dnsserver"
	"godwit/internal/zone"
)

// madeZone is a zone made at random: as a file that holds all of it, and as
// godwit has it, with some of its names as hosts.
type madeZone struct {
	apex   string
	text   string   // all records
	names  []string // owners and targets, to ask for and around
	godwit *zone.Zone
}

var (
	longLabel  = strings.Repeat("l", 63)
	madeLabels = []string{"a", "b", "c", "d", "*", "www", "ns", longLabel}
	madeTypes  = []string{"A", "A", "AAAA", "TXT", "MX", "CNAME", "CNAME", "NS", "DNAME", "SRV", "CAA", "RP", "NAPTR", "TYPE666", "PTR", "HTTPS", "SVCB", "SSHFP", "TLSA"}
	askedTypes = []string{"A", "A", "A", "AAAA", "TXT", "MX", "CNAME", "NS", "DNAME", "SRV", "CAA", "RP", "NAPTR", "TYPE666", "SOA", "DS", "PTR", "HTTPS", "SVCB", "SSHFP", "TLSA", "TYPE667"}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// madeName is a name at or below apex, now and then near the limit of 255.
func madeName(r *rand.Rand, apex string) string {
	name := apex
	for range r.IntN(5) {
		label := pick(r, madeLabels)
		if r.IntN(3) > 0 && label == longLabel {
			label = "e"
		}
		if len(name)+1+len(label) <= 253 {
			name = label + "." + name
		}
	}
	return name
}

func madeData(r *rand.Rand, rrtype, apex string) string {
	target := madeName(r, apex) + "."
	if r.IntN(8) == 0 {
		target = pick(r, []string{"www.example.net.", ".", "a.z1.example.", "b.z0.example."})
	}
	n := r.IntN(250)
	switch rrtype {
	case "A":
		return fmt.Sprintf("192.0.2.%d", n)
	case "AAAA":
		return fmt.Sprintf("2001:db8::%x", n+1)
	case "TXT":
		return pick(r, []string{`"text"`, `"two" "strings"`, `"esc \" \\ \065 \200"`, `""`, `"` + strings.Repeat("x", 255) + `" "y"`})
	case "MX":
		return fmt.Sprintf("%d %s", n, target)
	case "SRV":
		return fmt.Sprintf("1 2 %d %s", n, target)
	case "CAA":
		return fmt.Sprintf(`0 issue "ca%d.example"`, n)
	case "RP":
		return target + " " + madeName(r, apex) + "."
	case "NAPTR":
		return fmt.Sprintf(`%d 10 "u" "sip" "!^.*$!sip:a@example.org!" .`, n)
	case "HTTPS", "SVCB":
		if n%4 == 0 {
			return "0 " + target
		}
		return fmt.Sprintf(`%d %s port=%d alpn="h2,h3" mandatory=port,alpn ipv6hint=2001:db8::1 ipv4hint=192.0.2.%d key65000="a\001\200"`, n, target, n, n)
	case "SSHFP":
		return fmt.Sprintf("4 2 %064x", n)
	case "TLSA":
		return fmt.Sprintf("3 1 1 %064x", n)
	case "TYPE666":
		return fmt.Sprintf(`\# 2 00%02x`, n)
	}
	return target
}

// madeRecord is one line of a zone file; addr and text are its address and its
// text, if it is something that a host may have.
type madeRecord struct {
	owner, line string
	addr        netip.Addr
	text        string
}

// makeZone draws records, of which it keeps those that the parser takes: what it
// refuses other tests say.
func makeZone(t *testing.T, r *rand.Rand, index int) madeZone {
	t.Helper()
	z := madeZone{apex: fmt.Sprintf("z%d.example", index)}
	apex := dnsname.MustParse(z.apex)
	head := fmt.Sprintf("$TTL 300\n%[1]s. SOA ns.%[1]s. hostmaster.%[1]s. 7 14400 3600 1209600 60\n%[1]s. NS ns.%[1]s.\nns.%[1]s. A 192.0.2.1\n", z.apex)
	z.text, z.names = head, []string{z.apex, "ns." + z.apex}
	var records []madeRecord
	for range 10 + r.IntN(50) {
		rrtype := pick(r, madeTypes)
		owner := madeName(r, z.apex)
		if r.IntN(3) == 0 {
			owner = pick(r, z.names)
		}
		data := madeData(r, rrtype, z.apex)
		made := madeRecord{owner: owner, line: fmt.Sprintf("%s. %s %s\n", owner, rrtype, data)}
		// BIND loads no zone whose own name servers lack addresses.
		if rrtype == "NS" && owner == z.apex || strings.Contains(z.text, made.line) {
			continue
		}
		if _, err := zone.Parse(strings.NewReader(z.text+made.line), "made", apex); err != nil {
			continue
		}
		if rrtype == "A" || rrtype == "AAAA" {
			made.addr = netip.MustParseAddr(data)
		}
		if data == `"text"` {
			made.text = "text"
		}
		records = append(records, made)
		z.text += made.line
		z.names = append(z.names, owner)
		if last := data[strings.LastIndexByte(data, ' ')+1:]; strings.HasSuffix(last, z.apex+".") {
			z.names = append(z.names, strings.TrimSuffix(last, "."))
		}
	}
	z.serve(t, r, head, records)
	return z
}

// serve makes godwit's zone of the records: by the toss of a coin a name with
// addresses is a host, with its text, if it may be one.
func (z *madeZone) serve(t *testing.T, r *rand.Rand, head string, records []madeRecord) {
	t.Helper()
	isHost := map[string]bool{}
	for _, made := range records {
		if made.addr.IsValid() && made.owner != "ns."+z.apex && !isHost[made.owner] {
			isHost[made.owner] = r.IntN(2) == 0
		}
	}
	build := func() *zone.Zone {
		text := head
		for _, made := range records {
			if !made.addr.IsValid() && made.text == "" || !isHost[made.owner] {
				text += made.line
			}
		}
		parsed, err := zone.Parse(strings.NewReader(text), "made", dnsname.MustParse(z.apex))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		served, err := zone.New(zone.Config{Apex: dnsname.MustParse(z.apex), Records: parsed, Serial: 7})
		if err != nil {
			t.Fatal(err)
		}
		return served
	}
	first := build()
	for owner := range isHost {
		isHost[owner] = isHost[owner] && first.CheckHost(dnsname.MustParse(owner)) == nil
	}
	z.godwit = build()
	for owner, is := range isHost {
		if !is {
			continue
		}
		var a, aaaa []netip.Addr
		var texts []string
		for _, made := range records {
			switch {
			case made.owner != owner:
			case made.text != "":
				texts = append(texts, made.text)
			case !made.addr.IsValid():
			case made.addr.Is4():
				a = append(a, made.addr)
			default:
				aaaa = append(aaaa, made.addr)
			}
		}
		if err := z.godwit.Set(dnsname.MustParse(owner), 300, a, aaaa, texts, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// answerOf is a response in the parts that are compared, each in one order.
func answerOf(t *testing.T, who string, reply []byte) (parts [4]string) {
	t.Helper()
	m := &dns.Msg{Data: reply}
	if err := m.Unpack(); err != nil {
		t.Fatalf("%s: %v: %x", who, err, reply)
	}
	parts[0] = fmt.Sprintf("%s aa=%t tc=%t", dnsutil.RcodeToString(m.Rcode), m.Authoritative, m.Truncated)
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		var lines []string
		for _, rr := range section {
			lines = append(lines, strings.ToLower(strings.Join(strings.Fields(rr.String()), " ")))
		}
		slices.Sort(lines)
		parts[i+1] = strings.Join(lines, "\n    ")
	}
	return parts
}

// TestAsPeersAnswer asks godwit, BIND, NSD and Knot the same questions about
// zones made at random. Where the three agree on the header or on a section,
// godwit must say the same. Two things are left to each server, and godwit takes
// what is smallest: what a response with TC still holds (RFC 2181 section 9),
// and additional records that are not glue (RFC 1034 section 4.3.2 step 6).
func TestAsPeersAnswer(t *testing.T) {
	zones, questions := 50, 40
	if os.Getenv("GODWIT_LONG") != "" {
		zones, questions = 1000, 100
	}
	seed := uint64(1) // the same zones each time, unless others are asked for
	if text := os.Getenv("GODWIT_PEERS_SEED"); text != "" {
		fmt.Sscan(text, &seed)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	var made []madeZone
	var served []*zone.Zone
	files := map[string]string{}
	dir := t.TempDir()
	for i := range zones {
		z := makeZone(t, r, i)
		made, served = append(made, z), append(served, z.godwit)
		file := filepath.Join(dir, z.apex)
		if err := os.WriteFile(file, []byte(z.text), 0o644); err != nil {
			t.Fatal(err)
		}
		files[z.apex] = file
	}
	hosts := 0
	for _, z := range served {
		hosts += z.Hosts()
	}
	all, err := zone.NewZones(served...)
	if err != nil {
		t.Fatal(err)
	}
	addrs := []netip.AddrPort{start(t, dnsserver.Config{Zones: all}).Addrs()[0]}
	for _, p := range peers {
		addrs = append(addrs, startPeer(t, p, maps.Clone(files)))
	}
	// Large answers by UDP are for those who have proved their address.
	reply := exchange(t, "udp", addrs[0], (&probe{qname: made[0].apex, qtype: dns.TypeSOA, edns: edns(clientCookie...)}).query())
	cookie := bytes.Clone(reply[len(reply)-28:])
	compared := 0
	who := []string{"godwit", peers[0].name, peers[1].name, peers[2].name}
	for _, z := range made {
		for range questions {
			qname, qtype := pick(r, z.names), pick(r, askedTypes)
			if r.IntN(3) == 0 {
				qname = madeName(r, z.apex)
			} else if label := pick(r, madeLabels); r.IntN(2) == 0 && len(label)+1+len(qname) <= 253 {
				qname = label + "." + qname
			}
			code, err := dnsutil.StringToType(qtype)
			if err != nil {
				fmt.Sscanf(qtype, "TYPE%d", &code)
			}
			p := probe{qname: qname, qtype: code, edns: edns(cookie...)}
			network := "udp"
			if r.IntN(4) == 0 {
				p.edns = nil
				// As a resolver goes on when the answer is cut.
				if exchange(t, "udp", addrs[0], p.query())[2]&2 != 0 {
					network = "tcp"
				}
			}
			query := p.query()
			if r.IntN(8) == 0 {
				network = "tcp"
			}
			var parts [4][4]string
			for i, addr := range addrs {
				parts[i] = answerOf(t, who[i], exchange(t, network, addr, query))
			}
			for part, title := range []string{"header", "answer", "authority", "additional"} {
				if parts[1][part] != parts[2][part] || parts[2][part] != parts[3][part] {
					continue
				}
				if part > 0 && strings.Contains(parts[0][0], "tc=true") || title == "additional" && parts[1][2] == "" {
					continue
				}
				compared++
				if parts[0][part] != parts[1][part] {
					t.Errorf("%s %s (seed %d): the %s is\n    %s\n  and BIND, NSD and Knot say\n    %s", qname, qtype, seed, title, parts[0][part], parts[1][part])
				}
			}
			if t.Failed() {
				t.Fatalf("in zone\n%s", z.text)
			}
		}
	}
	// So that the test is not content with having compared nothing.
	t.Logf("%d hosts in %d zones; the three agreed in %d of %d parts", hosts, zones, compared, 4*zones*questions)
	if compared < 2*zones*questions || hosts < zones {
		t.Error("too few")
	}
}
