package awstest_test

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
)

// TestRoute53LikeMoto holds the stand-in to an emulator that we did not write,
// where that one does what Route 53 is documented to do.
func TestRoute53LikeMoto(t *testing.T) {
	transport := awscall.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	url := awstest.StartMoto(t)
	accounts := map[string]*account{
		"moto": {t: t, Client: client(t, awscall.Config{Endpoint: url, Transport: transport})},
		"ours": open(t, awstest.Route53Config{}),
	}
	// step does the same with both and compares what came of it.
	step := func(name string, do func(a *account) string) {
		t.Helper()
		moto, ours := do(accounts["moto"]), do(accounts["ours"])
		if moto != ours {
			t.Errorf("%s:\nmoto %s\nours %s", name, moto, ours)
		}
	}
	step("make a zone", func(a *account) string {
		status, body, code := a.call("POST", "hostedzone", `<CreateHostedZoneRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Name>example.com</Name><CallerReference>r</CallerReference></CreateHostedZoneRequest>`)
		var got struct {
			ID      string   `xml:"HostedZone>Id"`
			Name    string   `xml:"HostedZone>Name"`
			Servers []string `xml:"DelegationSet>NameServers>NameServer"`
		}
		if err := xml.Unmarshal([]byte(body), &got); err != nil {
			return err.Error()
		}
		id, prefixed := strings.CutPrefix(got.ID, "/hostedzone/")
		a.zone = id
		return fmt.Sprint(status, code, prefixed, got.Name, len(got.Servers) > 0)
	})
	batches := map[string][]string{
		"upsert of new sets": {set("UPSERT", "a.example.com", "A 60 192.0.2.1|192.0.2.2"), set("UPSERT", "a.example.com.", "AAAA 60 2001:db8::1"), set("UPSERT", "ab.example.com", "A 60 192.0.2.1"), // with a-b moto goes by no final dot
			set("UPSERT", "x.a.example.com", "A 60 192.0.2.1"), set("UPSERT", "b.example.com", `TXT 30 "t"`)},
	}
	var many []string
	for i := range 400 {
		many = append(many, set("CREATE", fmt.Sprintf("h%d.example.com", i), "A 60 192.0.2.1"))
	}
	batches["400 at once"] = many
	batches["too many elements"] = append(many, append(many, append(many, many...)...)...)
	for _, name := range []string{"upsert of new sets", "400 at once", "too many elements"} {
		step(name, func(a *account) string {
			status, body, code := a.call("POST", "hostedzone/"+a.zone+"/rrset", batch(batches[name]...))
			return fmt.Sprint(status, code, status == 200 && !strings.Contains(body, "<Id>/change/C"))
		})
	}
	step("upsert in place", func(a *account) string {
		code, _ := a.change(set("UPSERT", "a.example.com", "A 300 192.0.2.7"), set("DELETE", "b.example.com", `TXT 30 "t"`))
		return code
	})
	for _, query := range []string{"", "maxitems=2", "name=a.example.com&type=AAAA&maxitems=1", "name=a.example.com&type=A&maxitems=2", "name=b.example.com", "name=zzz.example.com",
		"name=h250.example.com", "name=a.example.com&maxitems=4", "maxitems=300"} {
		step("list "+query, func(a *account) string {
			l := a.list(query)
			var out strings.Builder
			for _, s := range l.Sets {
				if s.Type != "SOA" && s.Type != "NS" { // their values differ
					fmt.Fprintln(&out, s)
				}
			}
			return fmt.Sprint(len(l.Sets), l.Truncated, l.NextName, l.NextType, l.MaxItems, out.String())
		})
	}
	for _, c := range [][2]string{{"GET", "hostedzone/ZNONE/rrset"}, {"GET", "hostedzone/ZNONE"}, {"DELETE", "hostedzone/ZNONE"}} {
		step(c[0]+" "+c[1], func(a *account) string {
			status, _, code := a.call(c[0], c[1], "")
			return fmt.Sprint(status, code)
		})
	}
	step("type without name", func(a *account) string {
		status, _, code := a.call("GET", "hostedzone/"+a.zone+"/rrset?type=A", "")
		return fmt.Sprint(status, code)
	})
	step("delete a zone that is not empty", func(a *account) string {
		status, _, code := a.call("DELETE", "hostedzone/"+a.zone, "")
		return fmt.Sprint(status, code)
	})
}
