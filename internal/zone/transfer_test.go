package zone_test

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"codeberg.org/miekg/dns"
	"pgregory.net/rapid"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// secondary is a copy of a zone as a strict secondary keeps it: record by record,
// and any difference that does not fit what it has is a fault.
type secondary struct {
	serial  uint32
	records map[string]bool
}

// lines are records as text, each for itself.
func lines(sets iter.Seq[zone.RRset]) (out []string) {
	for s := range sets {
		for _, data := range s.Data {
			out = append(out, fmt.Sprintf("%q %d %d %x", s.Owner, s.TTL, s.Type, data))
		}
	}
	return out
}

// take is what a secondary does with a transfer.
func (s *secondary) take(t *zone.Transfer) error {
	all := lines(t.RRsets())
	isSOA := func(line string) bool { return strings.Contains(line, fmt.Sprintf(" %d ", dns.TypeSOA)) }
	switch {
	case t.Cut() != nil:
		if len(all) < 2 || all[0] != all[len(all)-1] {
			return fmt.Errorf("a whole zone that does not stand between two SOA records:\n%s", strings.Join(all, "\n"))
		}
		s.records = make(map[string]bool)
		for _, line := range all[1 : len(all)-1] {
			if s.records[line] || isSOA(line) {
				return fmt.Errorf("the zone has this twice: %s", line)
			}
			s.records[line] = true
		}
	case t.Difference() != nil:
		soas, part := 0, 0
		for i, line := range all {
			if isSOA(line) {
				soas++
				part = soas
				continue
			}
			switch part {
			case 2: // removed
				if !s.records[line] {
					return fmt.Errorf("record %d is to be removed, and is not there: %s", i, line)
				}
				delete(s.records, line)
			case 3: // added
				if s.records[line] {
					return fmt.Errorf("record %d is to be added, and is there: %s", i, line)
				}
				s.records[line] = true
			default:
				return fmt.Errorf("record %d stands in no part: %s", i, line)
			}
		}
		if soas != 4 || t.Difference().From != s.serial || t.Difference().To != t.Serial {
			return fmt.Errorf("a difference from %d to %d with %d SOA records, at %d", t.Difference().From, t.Difference().To, soas, s.serial)
		}
	default:
		if len(all) != 1 || !isSOA(all[0]) {
			return fmt.Errorf("no news consists of: %s", all)
		}
		return nil
	}
	s.serial = t.Serial
	return nil
}

const transferStatic = `$TTL 300
@ NS ns
ns A 192.0.2.53
text TXT "static"
text MX 10 mail
sub NS ns.sub
ns.sub A 192.0.2.54
a.b.empty TXT "deep"
`

func transferZone(t interface{ Fatal(...any) }, static string) *zone.Zone {
	apex := dnsname.MustParse("example.org")
	records, err := zone.Parse(strings.NewReader(static), "zone", apex)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zone.New(zone.Config{Apex: apex, Records: records, Serial: 1})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestTransfersModel: whatever a secondary has, and whatever changed since, one
// transfer brings it to what the zone is, and no difference asks it to remove what
// it has not or to add what it has.
func TestTransfersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z := transferZone(t, transferStatic)
		z.KeepHistory(zone.History{Changes: rapid.IntRange(0, 12).Draw(t, "changes"), Octets: rapid.IntRange(0, 4000).Draw(t, "octets")})
		secondaries := make([]secondary, 4)
		names := []dnsname.Name{}
		for _, n := range []string{"example.org", "nas.example.org", "a.nas.example.org", "text.example.org", "*.example.org", "empty.example.org"} {
			names = append(names, dnsname.MustParse(n))
		}
		generation, serial, changed := uint64(0), uint32(1), false
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				owner := rapid.SampledFrom(names).Draw(t, "owner")
				var a, aaaa []netip.Addr
				for i := range rapid.IntRange(0, 2).Draw(t, "a") {
					a = append(a, netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(0, 2).Draw(t, "octet") + 3*i)}))
				}
				if rapid.Bool().Draw(t, "aaaa") {
					aaaa = []netip.Addr{netip.MustParseAddr("2001:db8::1")}
				}
				texts := rapid.SliceOfN(rapid.SampledFrom([]string{"static", "one", "two"}), 0, 2).Draw(t, "texts")
				generation++
				if err := z.Set(owner, uint32(rapid.SampledFrom([]int{60, 300, 600}).Draw(t, "ttl")), a, aaaa, texts, generation); err != nil {
					t.Fatal(err)
				}
				changed = true
			},
			"challenge": func(t *rapid.T) {
				texts := rapid.SliceOfN(rapid.SampledFrom([]string{"three", "four"}), 0, 2).Draw(t, "texts")
				if err := z.SetChallenge(rapid.SampledFrom(names).Draw(t, "owner"), texts); err != nil {
					t.Fatal(err)
				}
				changed = true
			},
			"serial": func(t *rapid.T) {
				serial += uint32(rapid.IntRange(1, 3).Draw(t, "step"))
				z.SetSerial(serial)
				changed = false
			},
			"whole": func(t *rapid.T) {
				if changed {
					return
				}
				s := &secondaries[rapid.IntRange(0, 3).Draw(t, "secondary")]
				whole, err := z.Whole()
				if err != nil {
					t.Fatal(err)
				}
				if err := s.take(whole); err != nil {
					t.Fatal(err)
				}
			},
			"since": func(t *rapid.T) {
				s := &secondaries[rapid.IntRange(0, 3).Draw(t, "secondary")]
				since, err := z.Since(s.serial)
				if errors.Is(err, zone.ErrUnsettled) && changed {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := s.take(since); err != nil {
					t.Fatal(err)
				}
				if changed || s.serial != z.Serial() {
					return
				}
				whole, err := z.Whole()
				if err != nil {
					t.Fatal(err)
				}
				var other secondary
				if err := other.take(whole); err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(s.records, other.records) {
					t.Fatalf("at serial %d the secondary has\n%s\nand the zone is\n%s", s.serial, sorted(s.records), sorted(other.records))
				}
			},
		})
	})
}

func sorted(records map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(records)), "\n")
}

// TestCutIsWhatAnswersSay: a cut has exactly the records that questions get, and
// keeps them while the zone changes.
func TestCutIsWhatAnswersSay(t *testing.T) {
	z := transferZone(t, transferStatic)
	z.KeepHistory(zone.History{Changes: 1e6, Octets: 1e6})
	const hosts = 3000 // many buckets, and slots that share one
	name := func(i int) dnsname.Name { return dnsname.MustParse(fmt.Sprintf("h%d.example.org", i)) }
	set := func(i int, last byte, generation uint64) {
		t.Helper()
		if err := z.Set(name(i), 60, []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, last})}, nil, nil, generation); err != nil {
			t.Fatal(err)
		}
	}
	for i := range hosts {
		set(i, 1, 1)
	}
	z.SetSerial(2)
	cut, err := z.Cut()
	if err != nil {
		t.Fatal(err)
	}
	before := lines(cut.RRsets())
	slices.Sort(before)
	if twice := slices.Compact(slices.Clone(before)); len(twice) != len(before) {
		t.Errorf("of %d records %d are there twice", len(before), len(before)-len(twice))
	}
	if want := hosts + 7; len(before) != want {
		t.Errorf("the cut has %d records, want %d", len(before), want)
	}
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for range 3 {
				again := lines(cut.RRsets())
				if slices.Sort(again); !slices.Equal(again, before) {
					t.Error("a cut changed with its zone")
				}
			}
		})
	}
	for i := range 2 * hosts { // splits buckets too
		set(i, 2, 2)
	}
	z.SetSerial(3)
	wait.Wait()
	if _, err := z.Since(2); err != nil || cut.Serial() != 2 {
		t.Errorf("the cut's serial is %d; %v", cut.Serial(), err)
	}
}

// TestHistoryIsBounded: what does not fit is forgotten, and then the whole zone is
// transferred, never part of a difference.
func TestHistoryIsBounded(t *testing.T) {
	z := transferZone(t, transferStatic)
	z.KeepHistory(zone.History{Changes: 10, Octets: 1 << 20})
	host := dnsname.MustParse("nas.example.org")
	step := func(serial uint32, changes int) {
		t.Helper()
		for i := range changes {
			if err := z.Set(host, 60, []netip.Addr{netip.AddrFrom4([4]byte{byte(serial), 0, 2, byte(i)})}, nil, nil, uint64(serial)); err != nil {
				t.Fatal(err)
			}
		}
		z.SetSerial(serial)
	}
	whole := func(since uint32, want bool) {
		t.Helper()
		got, err := z.Since(since)
		if err != nil {
			t.Fatal(err)
		}
		if is := got.Cut() != nil; is != want {
			t.Errorf("since %d: whole is %t, want %t", since, is, want)
		}
	}
	step(2, 5)
	step(3, 5)
	whole(1, false)
	step(4, 1)
	whole(1, true)
	whole(2, false)
	step(5, 11) // more than fits at once
	whole(4, true)
	step(6, 1)
	whole(4, true)
	whole(5, false)
	whole(6, false)
	whole(7, false) // the future: no news

	// A change without a serial is in no transfer of the whole zone.
	if err := z.SetChallenge(host, []string{"x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Whole(); !errors.Is(err, zone.ErrUnsettled) {
		t.Errorf("a zone with a change that no serial stands for: %v", err)
	}
	whole(5, false)
	z.SetSerial(7)
	whole(6, false)
}
