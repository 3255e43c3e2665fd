package doctor

import (
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
)

// FuzzAnswer: whatever a server answers, what is read of it are names and addresses
// of the right owner, and no more than it has records.
func FuzzAnswer(f *testing.F) {
	owner := dnsname.MustParse("nas.dyn.example.com")
	for _, text := range [][]string{{"nas.dyn.example.com. 60 IN A 192.0.2.1", "NAS.dyn.example.com. 0 IN AAAA 2001:db8::1"}, {"dyn.example.com. 3600 IN NS ns1.dyn.example.com."},
		{"example.com. 3600 IN SOA ns.example.com. hostmaster.example.com. 1 2 3 4 5"}, {"nas.dyn.example.com. 60 IN CNAME www.example.net."}} {
		m := dns.NewMsg(owner.FQDN(), dns.TypeA)
		for _, line := range text {
			rr, err := dns.New(line)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		if err := m.Pack(); err != nil {
			f.Fatal(err)
		}
		f.Add(m.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &dns.Msg{Data: data}
		if m.Unpack() != nil {
			return
		}
		for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
			addrs, _ := addresses(section, owner)
			names := nameServers(section, owner)
			if len(addrs)+len(names) > len(section) {
				t.Errorf("%d addresses and %d names of %d records", len(addrs), len(names), len(section))
			}
			for _, n := range names {
				if again, err := dnsname.Parse(n.String()); err != nil || again != n {
					t.Errorf("%v: %v, %v", n, again, err)
				}
			}
			for _, a := range addrs {
				if !a.IsValid() {
					t.Error("an address that is none")
				}
			}
			soa(section)
		}
	})
}
