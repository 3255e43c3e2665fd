package authority_test

import (
	"sync"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

func TestChallengeMovesTheSerial(t *testing.T) {
	dir := t.TempDir()
	other := dnsname.MustParse("lab.example.net")
	r := mustOpen(t, dir, "", apex, other)
	const name = "_acme-challenge.ddns.dyn.example.com"
	serial := func() ddns.Serial { return ddns.Serial(r.auth.List()[0].Serial()) }
	forward := func(what string, from ddns.Serial) ddns.Serial {
		t.Helper()
		if !from.Before(serial()) {
			t.Errorf("the serial went from %d to %d with %s", from, serial(), what)
		}
		return serial()
	}
	challenge := func(texts ...string) {
		t.Helper()
		if err := r.auth.ShowChallenge(t.Context(), dnsname.MustParse(name), texts); err != nil {
			t.Fatal(err)
		}
	}
	before, quiet := serial(), r.auth.List()[1].Serial()
	challenge("one", "two")
	r.want(name, dns.TypeTXT, `60 IN TXT "one"; 60 IN TXT "two"`)
	shown := forward("a challenge", before)
	challenge("two")
	r.want(name, dns.TypeTXT, `60 IN TXT "two"`)
	shown = forward("another value", shown)
	challenge()
	r.want(name, dns.TypeTXT, "NXDOMAIN")
	gone := forward("its end", shown)
	if got := r.auth.List()[1].Serial(); got != quiet {
		t.Errorf("the serial of %s went from %d to %d", other, quiet, got)
	}

	// A restart without a challenge changes nothing; one that loses a challenge
	// moves on from the serial that was shown with it.
	r.store.Close()
	r = mustOpen(t, dir, "", apex, other)
	if serial() != gone {
		t.Errorf("after a restart the serial is %d, want %d", serial(), gone)
	}
	challenge("three")
	shown = forward("a challenge", gone)
	r.store.Close()
	r = mustOpen(t, dir, "", apex, other)
	r.want(name, dns.TypeTXT, "NXDOMAIN")
	forward("a restart that forgot the challenge", shown)

	if err := r.auth.ShowChallenge(t.Context(), dnsname.MustParse("_acme-challenge.example.org"), []string{"x"}); err == nil {
		t.Error("a challenge is taken for a name that is in no zone")
	}
}

// TestChallengeAmongUpdates: the serial only goes forward while hosts change and
// challenges come and go.
func TestChallengeAmongUpdates(t *testing.T) {
	r := mustOpen(t, t.TempDir(), "", apex)
	c := r.add(nas, ddns.Settings{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			r.update(c, []string{"198.51.100.7", "198.51.100.8"}[i%2])
		}
	})
	owner := dnsname.MustParse("_acme-challenge.nas.dyn.example.com")
	var before ddns.Serial
	for i := range 20 {
		if err := r.auth.ShowChallenge(t.Context(), owner, []string{"a", "b"}[:1+i%2]); err != nil {
			t.Fatal(err)
		}
		after := ddns.Serial(r.auth.List()[0].Serial())
		if i > 0 && !before.Before(after) {
			t.Errorf("the serial went from %d to %d", before, after)
		}
		before = after
	}
	wg.Wait()
	r.want("_acme-challenge.nas.dyn.example.com", dns.TypeTXT, `60 IN TXT "a"; 60 IN TXT "b"`)
	r.want("nas.dyn.example.com", dns.TypeA, "60 IN A 198.51.100.8")
}
