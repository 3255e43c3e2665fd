package zone_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsutil"
	"pgregory.net/rapid"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// model is RFC 1034 section 4.3.2 and RFC 4592 section 3.3 as they are
// written, on a list of records: slow, and nothing of it shared with the zone.
type model struct {
	apex    string
	records []modelRecord
}

type modelRecord struct {
	owner, rrtype string
	ttl           int
	data          string
}

func (m *model) get(owner, rrtype string) (out []modelRecord) {
	for _, r := range m.records {
		if r.owner == owner && r.rrtype == rrtype {
			out = append(out, r)
		}
	}
	return out
}

func below(name, apex string) bool { return name == apex || strings.HasSuffix(name, "."+apex) }

// exists tells whether there are records at or below name (RFC 8020).
func (m *model) exists(name string) bool {
	return slices.ContainsFunc(m.records, func(r modelRecord) bool { return below(r.owner, name) })
}

func (m *model) lines(section, owner string, records []modelRecord) (out []string) {
	for _, r := range records {
		out = append(out, fmt.Sprintf("  %-10s %s. %d IN %s %s", section, owner, r.ttl, r.rrtype, r.data))
	}
	return out
}

const modelSOA = "ns.example.org. hostmaster.example.org. 7 14400 3600 1209600 60"

func (m *model) negative() string {
	return fmt.Sprintf("  %-10s %s. 60 IN SOA %s", "authority", m.apex, modelSOA)
}

// ask returns the first line and the records, sorted.
func (m *model) ask(qname, qtype string) []string {
	rcode, aa := "NOERROR", " aa"
	var out []string
	seen := map[string]bool{}
	result := func() []string {
		slices.Sort(out)
		return append([]string{rcode + aa}, out...)
	}
next:
	for hop := 0; hop < 16 && below(qname, m.apex); hop++ {
		// Step 3: match down, label by label.
		labels := strings.Split(strings.TrimSuffix(strings.TrimSuffix(qname, m.apex), "."), ".")
		for i := len(labels); i >= 0; i-- {
			name := strings.TrimPrefix(strings.Join(labels[i:], ".")+"."+m.apex, ".")
			if name != m.apex && len(m.get(name, "NS")) > 0 { // step 3b
				if qtype == "DS" && name == qname {
					out = append(out, m.negative())
					return result()
				}
				if hop == 0 {
					aa = ""
				}
				ns := m.get(name, "NS")
				out = append(out, m.lines("authority", name, ns)...)
				for _, r := range ns {
					target := strings.TrimSuffix(r.data, ".")
					out = append(out, m.lines("additional", target, m.get(target, "A"))...)
					out = append(out, m.lines("additional", target, m.get(target, "AAAA"))...)
				}
				return result()
			}
			if dname := m.get(name, "DNAME"); len(dname) > 0 && name != qname { // step 3c of RFC 6672
				if line := m.lines("answer", name, dname)[0]; !slices.Contains(out, line) { // RFC 2181 section 5
					out = append(out, line)
				}
				target := strings.TrimSuffix(qname, name) + strings.TrimSuffix(dname[0].data, ".")
				out = append(out, fmt.Sprintf("  %-10s %s. %d IN CNAME %s.", "answer", qname, dname[0].ttl, target))
				seen[qname] = true
				if qname = target; seen[qname] || qtype == "CNAME" {
					return result()
				}
				continue next
			}
		}
		source := qname
		if !m.exists(qname) { // step 3c
			encloser := qname
			for !m.exists(encloser) && encloser != m.apex {
				_, encloser, _ = strings.Cut(encloser, ".")
			}
			if source = "*." + encloser; !m.exists(source) {
				rcode = "NXDOMAIN"
				out = append(out, m.negative())
				return result()
			}
		}
		if cname := m.get(source, "CNAME"); len(cname) > 0 && qtype != "CNAME" { // step 3a
			out = append(out, m.lines("answer", qname, cname)...)
			seen[qname] = true
			qname = strings.TrimSuffix(cname[0].data, ".")
			if seen[qname] {
				return result()
			}
			continue
		}
		found := m.get(source, qtype)
		if len(found) == 0 {
			out = append(out, m.negative())
		}
		out = append(out, m.lines("answer", qname, found)...)
		return result()
	}
	return result()
}

func drawName(t *rapid.T, label string) string {
	labels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "*", "ns"}), 0, 4).Draw(t, label)
	return strings.Join(append(labels, "example.org"), ".")
}

var modelTypes = []string{"A", "AAAA", "TXT", "MX", "CNAME", "NS", "DNAME"}

func drawData(t *rapid.T, rrtype string) string {
	n := rapid.IntRange(1, 3).Draw(t, "value")
	switch rrtype {
	case "A":
		return fmt.Sprintf("192.0.2.%d", n)
	case "AAAA":
		return fmt.Sprintf("2001:db8::%d", n)
	case "TXT":
		return fmt.Sprintf(`"text %d"`, n)
	case "MX":
		return fmt.Sprintf("%d %s.", n, drawName(t, "exchange"))
	}
	return drawName(t, "target") + "."
}

// TestModel builds zones at random, record by record and host by host, and
// asks the zone and the model the same questions.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{apex: "example.org"}
		ns := modelRecord{"example.org", "NS", 300, "ns.example.org."}
		m.records = append(m.records, ns)
		var file strings.Builder
		line := func(r modelRecord) string { return fmt.Sprintf("%s. %d IN %s %s\n", r.owner, r.ttl, r.rrtype, r.data) }
		file.WriteString(line(ns))
		apex := dnsname.MustParse("example.org")
		for range rapid.IntRange(0, 15).Draw(t, "records") {
			rrtype := rapid.SampledFrom(modelTypes).Draw(t, "type")
			r := modelRecord{drawName(t, "owner"), rrtype, 300, drawData(t, rrtype)}
			if slices.Contains(m.records, r) {
				continue
			}
			// What the parser refuses is not in the zone; another test says what that is.
			if _, err := zone.Parse(strings.NewReader(file.String()+line(r)), "model", apex); err == nil {
				file.WriteString(line(r))
				m.records = append(m.records, r)
			}
		}
		records, err := zone.Parse(strings.NewReader(file.String()), "model", apex)
		if err != nil {
			t.Fatal(err)
		}
		z, err := zone.New(zone.Config{Apex: apex, Records: records, Serial: 7})
		if err != nil {
			t.Fatal(err)
		}
		for generation := range rapid.IntRange(0, 15).Draw(t, "changes") {
			owner := drawName(t, "host")
			name := dnsname.MustParse(owner)
			if z.CheckHost(name) != nil {
				continue
			}
			v4 := rapid.IntRange(0, 2).Draw(t, "addresses")
			withText := rapid.Bool().Draw(t, "text")
			m.records = slices.DeleteFunc(m.records, func(r modelRecord) bool { return r.owner == owner && r.ttl == 60 })
			var a []netip.Addr
			for i := range v4 {
				a = append(a, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
				m.records = append(m.records, modelRecord{owner, "A", 60, a[i].String()})
			}
			var txt []string
			if withText && len(m.get(owner, "TXT")) == 0 {
				txt = []string{"host"}
				m.records = append(m.records, modelRecord{owner, "TXT", 60, `"host"`})
			}
			if err := z.Set(name, 60, a, nil, txt, uint64(generation)); err != nil {
				t.Fatal(err)
			}
		}
		for range 30 {
			qname := drawName(t, "question")
			rrtype := rapid.SampledFrom(append([]string{"DS"}, modelTypes...)).Draw(t, "qtype")
			qtype, _ := dnsutil.StringToType(rrtype)
			got := strings.Split(strings.TrimSuffix(showRapid(t, ask(z, qname, qtype, 4096)), "\n"), "\n")
			slices.Sort(got[1:])
			if want := m.ask(qname, rrtype); !slices.Equal(got, want) {
				t.Fatalf("%s %s in\n%s%v\ngot\n%s\nwant\n%s", qname, rrtype, file.String(), m.records, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

func showRapid(t *rapid.T, data []byte) string {
	m := &dns.Msg{Data: data}
	if err := m.Unpack(); err != nil {
		t.Fatalf("response does not parse: %v", err)
	}
	return text(m)
}
