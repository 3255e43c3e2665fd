package zone_test

import (
	"slices"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// The texts of a challenge stand beside a host's own, and neither knows of the other.
func TestChallengeBesideHost(t *testing.T) {
	const name = "_acme-challenge.nas.example.org"
	owner := dnsname.MustParse(name)
	z := emptyZone(t)
	challenge := func(texts ...string) {
		t.Helper()
		if err := z.SetChallenge(owner, texts); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want ...string) {
		t.Helper()
		var got []string
		answer := show(t, ask(z, name, dns.TypeTXT, 1232))
		for line := range strings.Lines(answer) {
			if _, text, ok := strings.Cut(line, " TXT "); ok {
				got = append(got, strings.Trim(strings.TrimSpace(text), `"`))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("the texts are %q, want %q; the answer:\n%s", got, want, answer)
		}
	}
	challenge("one", "two", "one")
	want("one", "two")
	setHost(t, z, name, 7, "host's")
	want("host's", "one", "two")
	challenge("three")
	want("host's", "three")
	setHost(t, z, name, 6, "older")
	want("host's", "three")
	setHost(t, z, name, 8)
	want("three")
	z.Forget(owner) // of the host nothing is left, and another may have the name
	setHost(t, z, name, 1, "another's")
	want("another's", "three")
	challenge()
	want("another's")
	setHost(t, z, name, 2)
	want()
	if got := show(t, ask(z, "nas.example.org", dns.TypeTXT, 1232)); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Errorf("the name above is left over:\n%s", got)
	}
	if z.Hosts() != 0 {
		t.Errorf("%d names are left over", z.Hosts())
	}
}

func TestChallengeRefuses(t *testing.T) {
	records, err := zone.Parse(strings.NewReader("office NS ns1.example.net.\n_acme-challenge.www CNAME www.example.net.\n"),
		"test.zone", dnsname.MustParse("example.org"))
	if err != nil {
		t.Fatal(err)
	}
	z := mustNew(t, zone.Config{Apex: dnsname.MustParse("example.org"), Records: records})
	for name, want := range map[string]string{
		"_acme-challenge.office.example.org": "test.zone:1",
		"_acme-challenge.www.example.org":    "test.zone:2",
		"_acme-challenge.example.net":        "not in zone",
	} {
		if err := z.SetChallenge(dnsname.MustParse(name), []string{"x"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that says %s", name, err, want)
		}
	}
	if err := z.SetChallenge(dnsname.MustParse("_acme-challenge.example.org"), longTexts()); err == nil {
		t.Error("texts are accepted that no response could hold")
	}
}
