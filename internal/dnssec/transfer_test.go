package dnssec_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsutil"
	"pgregory.net/rapid"

	"godwit/internal/dnsname"
	"godwit/internal/dnssec"
	"godwit/internal/zone"
)

// transferOf is a whole zone as a secondary gets it, without the second SOA record.
func transferOf(t interface{ Fatal(...any) }, z *zone.Zone) (out []dns.RR) {
	whole, err := z.Whole()
	if err != nil {
		t.Fatal(err)
	}
	for s := range whole.RRsets() {
		for _, data := range s.Data {
			msg := []byte{0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0}
			msg = append(msg, s.Owner...)
			msg = append(msg, byte(s.Type>>8), byte(s.Type), 0, 1)
			msg = binary.BigEndian.AppendUint32(msg, s.TTL)
			msg = append(binary.BigEndian.AppendUint16(msg, uint16(len(data))), data...)
			m := &dns.Msg{Data: msg}
			if err := m.Unpack(); err != nil {
				t.Fatal(err)
			}
			if unknown, ok := m.Answer[0].(*dns.RFC3597); ok {
				unknown.RRType = s.Type // the library leaves it out
			}
			out = append(out, m.Answer...)
		}
	}
	return out[:len(out)-1]
}

// verifyZone holds a transferred zone to RFC 4035 section 2: one chain of NSEC records
// through every name that is not glue, in canonical order, with the types of each,
// and a signature of every authoritative RRset, valid at now and for two weeks. It
// returns a line for each NSEC record.
func verifyZone(t interface {
	Fatal(...any)
	Errorf(string, ...any)
}, rrs []dns.RR, now time.Time) (chain []string) {
	keys := make(map[uint16]*dns.DNSKEY)
	cuts := make(map[string]bool)
	types := make(map[string][]uint16)
	for _, rr := range rrs {
		owner := rr.Header().Name
		switch rr := rr.(type) {
		case *dns.DNSKEY:
			keys[rr.KeyTag()] = rr
		case *dns.NS:
			cuts[owner] = owner != apex+"."
		}
	}
	hidden := func(owner string) bool {
		for cut, is := range cuts {
			if is && strings.HasSuffix(owner, "."+cut) {
				return true
			}
		}
		return false
	}
	next := make(map[string]*dns.NSEC)
	for _, s := range rrsets(rrs) {
		label := s.owner + " " + dnsutil.TypeToString(s.rrtype)
		if len(s.rrs) == 0 {
			t.Errorf("a signature of nothing: %s", label)
			continue
		}
		if hidden(s.owner) || cuts[s.owner] && s.rrtype != dns.TypeDS && s.rrtype != dns.TypeNSEC {
			if len(s.sigs) > 0 || s.rrtype == dns.TypeNSEC {
				t.Errorf("%s is the child's", label)
			}
			if !hidden(s.owner) && s.rrtype == dns.TypeNS {
				types[s.owner] = append(types[s.owner], s.rrtype)
			}
			continue
		}
		types[s.owner] = append(types[s.owner], s.rrtype)
		wanted := 1
		switch s.rrtype {
		case dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
			wanted = len(keys)
		case dns.TypeNSEC:
			next[s.owner] = s.rrs[0].(*dns.NSEC)
		}
		if len(s.sigs) != wanted {
			t.Errorf("%s has %d signatures, want %d", label, len(s.sigs), wanted)
		}
		for _, sig := range s.sigs {
			if key := keys[sig.KeyTag]; key == nil {
				t.Errorf("%s is signed by none of the keys", label)
			} else if err := sig.Verify(key, s.rrs, &dns.SignOption{}); err != nil {
				t.Errorf("%s: %v", label, err)
			}
			want := dnsutil.Labels(s.owner)
			if strings.HasPrefix(s.owner, "*.") {
				want--
			}
			if int(sig.Labels) != want {
				t.Errorf("%s: %d labels, want %d", label, sig.Labels, want)
			}
			if !sig.ValidPeriod(now) || !sig.ValidPeriod(now.Add(14*24*time.Hour)) {
				t.Errorf("%s: valid from %d to %d, and it is %d", label, sig.Inception, sig.Expiration, now.Unix())
			}
		}
	}
	at := apex + "."
	for range next {
		n := next[at]
		if n == nil {
			t.Errorf("the chain ends at %s", at)
			return chain
		}
		want := append(types[at], dns.TypeRRSIG)
		if slices.Sort(want); !slices.Equal(n.TypeBitMap, want) {
			t.Errorf("the types of %s are %v, want %v", at, n.TypeBitMap, want)
		}
		if n.NextDomain != apex+"." && dns.CompareName(at, n.NextDomain) >= 0 {
			t.Errorf("%s comes before %s", n.NextDomain, at)
		}
		chain = append(chain, strings.TrimSuffix(at, apex+"."))
		at = n.NextDomain
		delete(types, n.Hdr.Name)
	}
	if at != apex+"." || len(types) > 0 {
		t.Errorf("the chain ends at %s, without %v", at, types)
	}
	return chain
}

// TestTransferIsSigned has every form of record, and says what the chain is.
func TestTransferIsSigned(t *testing.T) {
	z, k := signedZone(t)
	z.SetSerial(2)
	got := verifyZone(t, transferOf(t, z), began)
	want := strings.Fields("afsdb. away. child. *.cn. far. gone. home. _acme-challenge.home. loop. loop2. naptr. new. a.new. ns. old. rp. safe. svc. _sip._udp. unknown. v4only. *.w. www. a.ent.")
	slices.Sort(want)
	sorted := slices.Sorted(slices.Values(got[1:]))
	if got[0] != "" || !slices.Equal(sorted, want) {
		t.Errorf("the chain is %q", got)
	}
	// What was made is there for the next one, which an update lets sign little.
	before := k.Counts().There.Made
	if err := z.Set(dnsname.MustParse("new-host."+apex), 60, []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil, nil, 2); err != nil {
		t.Fatal(err)
	}
	z.SetSerial(3)
	transferOf(t, z)
	// The address, its NSEC record and the one before it, and the SOA.
	if made := k.Counts().There.Made - before; made != 4 {
		t.Errorf("%d signatures after one update, want 4", made)
	}
}

// TestTransfersAreSigned is TestTransferIsSigned for any zone.
func TestTransfersAreSigned(t *testing.T) {
	labels := []string{"a", "b", "z", "*", "-", "_", "0", "ab", "aa"}
	rapid.Check(t, func(t *rapid.T) {
		name := func(what string) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(labels), 1, 3).Draw(t, what), ".")
		}
		text := "$TTL 300\n@ NS ns.example.net.\n"
		for range rapid.IntRange(0, 6).Draw(t, "records") {
			owner := name("owner")
			form := rapid.SampledFrom([]string{"%s TXT x\n", "%s NS ns.%[1]s\nns.%[1]s A 192.0.2.1\n", "%s NS %[1]s\n%[1]s A 192.0.2.1\n%[1]s DS 1 13 2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", "%s CNAME b\n", "%s DNAME example.net.\n", `\000\001%s MX 10 b` + "\n"}).Draw(t, "form")
			more := fmt.Sprintf(form, owner)
			// What contradicts itself is left out.
			if _, err := zone.Parse(strings.NewReader(text+more), "zone", dnsname.MustParse(apex)); err == nil {
				text += more
			}
		}
		records, err := zone.Parse(strings.NewReader(text), "zone", dnsname.MustParse(apex))
		if err != nil {
			t.Fatal(err)
		}
		z, err := zone.New(zone.Config{Apex: dnsname.MustParse(apex), Records: records, Serial: 1})
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 8).Draw(t, "hosts") {
			host := dnsname.MustParse(name("host") + "." + apex)
			addrs := []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("192.0.2.8")}
			if host.IsWildcard() {
				addrs = addrs[:1] // of more the library takes no signature of a wildcard
			}
			_ = z.Set(host, 60, addrs, nil, nil, 1) // some cannot be
			if rapid.Bool().Draw(t, "gone") {
				_ = z.Set(host, 60, nil, nil, nil, 2)
			}
		}
		w := newWorldOf(z)
		w.open(t)
		verifyZone(t, transferOf(t, z), began)
	})
}

// TestSecondariesGetFreshSignatures lets a year pass, with a change of keys: a
// secondary that gets the zone when its serial moves, and only then, has signatures
// that are valid for two weeks more, by keys that it has.
func TestSecondariesGetFreshSignatures(t *testing.T) {
	z := newZone(t)
	w := newWorldOf(z)
	w.parent = &dnssec.Parent{TTL: 3600}
	w.open(t)
	var have []dns.RR
	var round string
	transfers := 0
	for hour := range 365 * 24 / 7 {
		if hour == 24*20 {
			if err := w.keeper.Roll(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		if s := w.status(t); s.Ready && !slices.Contains(w.parent.DS, s.DS.Text()) {
			w.parent.DS = []string{s.DS.Text()}
		}
		// As the fingerprint of the zone has it: see authority.Secure.
		if now := fmt.Sprintf("%x %x %s", w.memory.shown.DNSKEY, w.memory.shown.CDS, w.memory.shown.Round); now != round {
			round = now
			z.SetSerial(z.Serial() + 1)
			have = transferOf(t, z)
			transfers++
			verifyZone(t, have, w.now)
		}
		if hour%24 == 23 {
			for _, rr := range have {
				if sig, ok := rr.(*dns.RRSIG); ok && !sig.ValidPeriod(w.now.Add(14*24*time.Hour)) {
					t.Fatalf("%s ends within two weeks of %s", sig, w.now)
				}
			}
		}
		w.later(t, time.Hour)
	}
	if s := w.status(t); len(s.Keys) != 1 || transfers < 18 || transfers > 30 {
		t.Errorf("%d transfers, keys %+v", transfers, s.Keys)
	}
}
