package ddns

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/internal/dnsname"
)

var (
	drawV4 = rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(0, 12).Draw(t, "v4"))})
	})
	drawV6 = rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(rapid.IntRange(0, 12).Draw(t, "v6"))})
	})
	drawText   = rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
	drawChange = rapid.Custom(func(t *rapid.T) Change {
		c := Change{Type: Type(rapid.IntRange(0, 5).Draw(t, "type")), Op: Op(rapid.IntRange(0, 5).Draw(t, "op"))}
		switch c.Type {
		case TypeA:
			c.Addrs = rapid.SliceOfN(drawV4, 0, 9).Draw(t, "addrs")
		case TypeAAAA:
			c.Addrs = rapid.SliceOfN(rapid.OneOf(drawV6, drawV4), 0, 9).Draw(t, "addrs")
		case TypeTXT:
			c.Texts = rapid.SliceOfN(drawText, 0, 4).Draw(t, "texts")
		case TypePrefix:
			p := netip.PrefixFrom(drawV6.Draw(t, "prefix"), rapid.IntRange(40, 70).Draw(t, "bits"))
			c.Prefix = rapid.SampledFrom([]netip.Prefix{{}, p, p.Masked()}).Draw(t, "masked")
		}
		return c
	})
	drawHost = rapid.Custom(func(t *rapid.T) *Host {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		h := &Host{Name: dnsname.MustParse("nas.example.org"), Zone: dnsname.MustParse("example.org"), TTL: 60, Addresses: AnyAddress,
			Free: rapid.Bool().Draw(t, "free"), Generation: 7, ChangedAt: now, Seen: now}
		h.A = sortAddrs(rapid.SliceOfN(drawV4, 0, 8).Draw(t, "A"))
		h.AAAA = sortAddrs(rapid.SliceOfN(drawV6, 0, 8).Draw(t, "AAAA"))
		for _, v := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.ID).Draw(t, "TXT") {
			h.TXT = append(h.TXT, TXT{Value: v, Time: now})
		}
		return h
	})
)

// TestDecide: a decision changes nothing that it is given; what it makes is a
// valid, canonical state one generation further; what is not named is left
// alone; and the same update again, if it only says what the sets are, is no change.
func TestDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHost.Draw(t, "host")
		u := Update{Host: h.Name, Changes: rapid.SliceOfN(drawChange, 0, 3).Draw(t, "changes"),
			Source: Source{Addr: rapid.OneOf(drawV4, drawV6).Draw(t, "source"), Proven: rapid.Bool().Draw(t, "proven")}}
		c := &Credential{ID: "aaaaaaaa", State: Active}
		now := h.ChangedAt.Add(time.Hour)
		before := fmt.Sprintf("%+v %+v", h, u)
		d := decide(h, c, u, Rate{}, now)
		if after := fmt.Sprintf("%+v %+v", h, u); after != before {
			t.Fatalf("deciding changed\n%s to\n%s", before, after)
		}
		switch {
		case d.refusal != nil:
			if d.next != nil || d.refusal.Code == "" || d.refusal.Why == "" || d.refusal.Fix == "" {
				t.Fatalf("refused with %+v", d)
			}
			return
		case d.next == nil:
			return
		}
		if d.next.Generation != h.Generation+1 || d.event.Generation != d.next.Generation || d.next.ChangedBy != c.ID {
			t.Fatalf("decided %+v", d)
		}
		if err := d.next.Validate(); err != nil {
			t.Fatalf("decided on what cannot be: %v", err)
		}
		for _, set := range [][]netip.Addr{d.next.A, d.next.AAAA} {
			if !slices.Equal(set, sortAddrs(slices.Clone(set))) {
				t.Fatalf("%s is not canonical", set)
			}
		}
		names := func(typ Type) bool {
			return len(u.Changes) == 0 && familyOf(u.Source.Addr) == typ || slices.ContainsFunc(u.Changes, func(c Change) bool { return c.Type == typ })
		}
		if !names(TypeA) && !slices.Equal(h.A, d.next.A) || !names(TypeAAAA) && !slices.Equal(h.AAAA, d.next.AAAA) ||
			!names(TypePrefix) && h.Prefix != d.next.Prefix || !names(TypeTXT) && !slices.Equal(h.TXT, d.next.TXT) {
			t.Fatal("what the update does not name has changed")
		}
		types := map[Type]int{}
		for _, ch := range u.Changes {
			types[ch.Type]++
		}
		for _, n := range types {
			if n > 1 {
				return // to remove and add the same again may well be a change each time
			}
		}
		if again := decide(d.next, c, u, Rate{}, now); again.next != nil || again.refusal != nil || again.touch != (Touch{}) {
			t.Fatalf("again: %+v", again)
		}
	})
}

// TestDecideLimit: a change that is limited is refused with its time and leaves
// the allowance as it was.
func TestDecideLimit(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	h := &Host{Name: dnsname.MustParse("nas.example.org"), Addresses: AnyAddress, Busy: now.Add(20 * time.Minute)}
	u := Update{Source: SourceOf(netip.MustParseAddr("192.0.2.1"))}
	d := decide(h, &Credential{State: Active}, u, Rate{30, 10}, now)
	if d.refusal == nil || d.refusal.Code != RateLimited || d.refusal.RetryAfter != 2*time.Minute {
		t.Errorf("decided %+v", d)
	}
	d = decide(h, &Credential{State: Active}, u, Rate{30, 10}, now.Add(2*time.Minute))
	if d.next == nil || !d.next.Busy.Equal(now.Add(22*time.Minute)) {
		t.Errorf("decided %+v", d)
	}
}

// TestExpire: nothing happens before it is due, what is due goes, and then
// nothing is due any more by then.
func TestExpire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHost.Draw(t, "host")
		h.Lease = time.Duration(rapid.IntRange(0, 60).Draw(t, "lease")) * time.Hour
		for i := range h.TXT {
			h.TXT[i].Time = h.TXT[i].Time.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "hours")) * time.Hour)
		}
		if rapid.Bool().Draw(t, "prefix") {
			h.Prefix = netip.MustParsePrefix("2001:db8::/56")
		}
		now := h.ChangedAt.Add(time.Duration(rapid.IntRange(-1, 80).Draw(t, "now")) * time.Hour)
		due := h.NextDue()
		next, event := expire(h, now)
		if isDue := !due.IsZero() && !now.Before(due); isDue != (next != nil) {
			t.Fatalf("due %s, now %s: %v", due, now, next)
		}
		if next == nil {
			return
		}
		if sameRecords(h, next) || next.Generation != h.Generation+1 || event.Generation != next.Generation || event.What == "" {
			t.Fatalf("expired to %+v, %+v", next, event)
		}
		if later := next.NextDue(); !later.IsZero() && !later.After(now) {
			t.Fatalf("due again at %s", later)
		}
		if next.lastSign() != h.lastSign() {
			t.Fatalf("the last sign of life moved from %s to %s", h.lastSign(), next.lastSign())
		}
	})
}

func TestPace(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &Credential{ID: "a", Rate: 2}
	ago := func(d time.Duration) Event { return Event{Time: now.Add(-d), Credential: "a", Outcome: changed} }
	other, refused := ago(0), ago(0)
	other.Credential, refused.Outcome = "b", string(RateLimited)
	for _, tt := range []struct {
		name   string
		events []Event // the newest first
		wait   time.Duration
	}{
		{"none", nil, 0},
		{"one", []Event{ago(time.Minute)}, 0},
		{"two", []Event{ago(time.Minute), ago(10 * time.Minute)}, 50 * time.Minute},
		{"three", []Event{ago(time.Minute), ago(10 * time.Minute), ago(20 * time.Minute)}, 50 * time.Minute},
		{"one an hour ago", []Event{ago(time.Minute), ago(time.Hour)}, 0},
		{"others", []Event{other, refused, ago(time.Minute), other}, 0},
		{"another machine's clock", []Event{ago(-time.Second), ago(time.Minute)}, 59 * time.Minute},
		{"the clock was set back", []Event{ago(-24 * time.Hour), ago(-25 * time.Hour)}, 0},
	} {
		r := pace(c, tt.events, now)
		if (r != nil) != (tt.wait > 0) || r != nil && r.RetryAfter != tt.wait {
			t.Errorf("%s: %v", tt.name, r)
		}
	}
}
