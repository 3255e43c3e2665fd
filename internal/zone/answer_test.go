package zone_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsutil"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func mustParse(t testing.TB, text, apex string) *zone.Records {
	t.Helper()
	records, err := zone.Parse(strings.NewReader(text), "test.zone", dnsname.MustParse(apex))
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func mustNew(t testing.TB, c zone.Config) *zone.Zone {
	t.Helper()
	z, err := zone.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

func setHost(t testing.TB, z *zone.Zone, owner string, generation uint64, values ...string) {
	t.Helper()
	var a, aaaa []netip.Addr
	var txt []string
	for _, v := range values {
		addr, err := netip.ParseAddr(v)
		switch {
		case err != nil:
			txt = append(txt, v)
		case addr.Is4():
			a = append(a, addr)
		default:
			aaaa = append(aaaa, addr)
		}
	}
	if err := z.Set(dnsname.MustParse(owner), 60, a, aaaa, txt, generation); err != nil {
		t.Fatal(err)
	}
}

// questionBytes is a header and a question, as a responder hands them on.
func questionBytes(name string, qtype uint16) (msg, qname []byte) {
	n := dnsname.MustParse(name)
	wire := n.Wire()
	if strings.EqualFold(name, n.String()) && !strings.Contains(name, `\`) { // keep the case asked for
		b := []byte(wire)
		for i, c := range []byte(name) {
			if c != '.' {
				b[i+1] = c
			}
		}
		wire = string(b)
	}
	msg = make([]byte, 12, 1232+zone.Slack)
	msg[2] = 0x80
	msg[5] = 1
	msg = append(msg, wire...)
	return append(msg, byte(qtype>>8), byte(qtype), 0, 1), []byte(n.Wire())
}

func ask(z *zone.Zone, name string, qtype uint16, limit int) []byte {
	var w zone.Writer
	msg, qname := questionBytes(name, qtype)
	w.Start(msg, qname, limit)
	z.Answer(&w, qtype)
	return w.Finish()
}

// show is a response as text, one record a line.
func show(t testing.TB, data []byte) string {
	t.Helper()
	m := &dns.Msg{Data: data}
	if err := m.Unpack(); err != nil {
		t.Fatalf("response does not parse: %v\n%x", err, data)
	}
	return text(m)
}

func text(m *dns.Msg) string {
	var b strings.Builder
	b.WriteString(dnsutil.RcodeToString(m.Rcode))
	if m.Authoritative {
		b.WriteString(" aa")
	}
	if m.Truncated {
		b.WriteString(" tc")
	}
	b.WriteByte('\n')
	for _, section := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", m.Answer}, {"authority", m.Ns}, {"additional", m.Extra}} {
		for _, rr := range section.rrs {
			fmt.Fprintf(&b, "  %-10s %s\n", section.name, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	return b.String()
}

func TestAnswers(t *testing.T) {
	records, err := os.ReadFile("testdata/answers.zone")
	if err != nil {
		t.Fatal(err)
	}
	z := mustNew(t, zone.Config{
		Apex:    dnsname.MustParse("example.org"),
		Records: mustParse(t, string(records), "example.org"),
		NameServers: []zone.NameServer{
			{Name: dnsname.MustParse("ns1.example.org"), Addresses: addrs("192.0.2.53", "2001:db8::53")},
			{Name: dnsname.MustParse("ns.example.net")},
		},
		Serial: 2026010101,
	})
	setHost(t, z, "nas.example.org", 1, "198.51.100.7", "2001:db8::7", "hello", strings.Repeat("x", 300))
	setHost(t, z, "v4only.example.org", 1, "198.51.100.8")
	setHost(t, z, "a.deep.ent.example.org", 1, "198.51.100.9")
	setHost(t, z, "*.dynwild.example.org", 1, "198.51.100.10")
	setHost(t, z, "mail.example.org", 1, "198.51.100.11", "dynamic")
	setHost(t, z, "gone.example.org", 1, "198.51.100.12")
	setHost(t, z, "gone.example.org", 2)
	setHost(t, z, "below.left.example.org", 1, "198.51.100.12")
	setHost(t, z, "below.left.example.org", 2)
	setHost(t, z, "_acme-challenge.nas.example.org", 1, "token")

	questions, err := os.ReadFile("testdata/answers.questions")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(questions)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			fmt.Fprintln(&got, line)
			continue
		}
		name, typeText, _ := strings.Cut(line, " ")
		qtype, err := dnsutil.StringToType(typeText)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		fmt.Fprintf(&got, "%s: %s", line, show(t, ask(z, name, qtype, 1232)))
	}
	golden(t, "testdata/answers.golden", got.String())
}

// nameOf is a name of n octets in wire form that ends in end.
func nameOf(n int, end string) string {
	name := end
	for left := n - len(end) - 2; left > 0; {
		label := min(left-1, 63)
		if left-1-label == 1 {
			label--
		}
		name = strings.Repeat("x", label) + "." + name
		left -= 1 + label
	}
	return name
}

// TestLongestNames asks for names of 255 octets, and for what would be longer.
func TestLongestNames(t *testing.T) {
	z := mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Records: mustParse(t, `
*.static A     192.0.2.1
shorter  DNAME longer-by-2
*.longer-by-2 A 192.0.2.2
`, "example.org")})
	setHost(t, z, "*.host.example.org", 1, "192.0.2.3")
	setHost(t, z, nameOf(255, "example.org"), 1, "192.0.2.4")
	const soa = "SOA ns.example.org."
	for _, tt := range []struct {
		octets    int
		end, want string
	}{
		{255, "static.example.org", "A 192.0.2.1"},
		{255, "host.example.org", "A 192.0.2.3"},
		{255, "example.org", "A 192.0.2.4"},
		{253, "example.org", soa},
		{255, "none.example.org", soa},
		{251, "shorter.example.org", "A 192.0.2.2"}, // becomes 255
		{252, "shorter.example.org", "YXDOMAIN aa\n"},
		{255, "shorter.example.org", "YXDOMAIN aa\n"},
	} {
		name := nameOf(tt.octets, tt.end)
		if got := len(dnsname.MustParse(name).Wire()); got != tt.octets {
			t.Fatalf("%s has %d octets", name, got)
		}
		if got := show(t, ask(z, name, dns.TypeA, 1232)); !strings.Contains(got, tt.want) {
			t.Errorf("%d octets, %s: got\n%swant %s", tt.octets, tt.end, got, tt.want)
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.FromSlash(file), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i := range g {
			if i >= len(w) || g[i] != w[i] {
				t.Fatalf("%s:%d: got %q (see go test -update, and review the diff)", file, i+1, g[i])
			}
		}
		t.Fatalf("%s: got fewer lines than wanted", file)
	}
}
