package ddns_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
)

// TestFollowerBits: the prefix gives its bits and the low part the rest, for
// every length; where they do not go together there is no address, because it
// would be one in another subnet.
func TestFollowerBits(t *testing.T) {
	for bits := 48; bits <= 64; bits++ {
		subnets := uint16(1<<(64-bits) - 1) // the highest, and with it the longest, that has room
		for _, tt := range []struct {
			subnet uint16
			fits   bool
		}{{0, true}, {subnets, true}, {subnets + 1, bits == 48}, {0x8000, bits == 48}} {
			low := netip.AddrFrom16([16]byte{6: byte(tt.subnet >> 8), 7: byte(tt.subnet), 8: 0xff, 15: 1})
			h := &ddns.Host{Name: named("r.example.net"), TTL: 60, Prefix: netip.PrefixFrom(netip.MustParseAddr("2001:db8::"), bits),
				Followers: []ddns.Follower{{Name: named("f.example.net"), Low: low, AAAA: true}}}
			sets := h.RRsets()
			if len(sets) > 0 != tt.fits {
				t.Errorf("/%d, subnet %x: %v", bits, tt.subnet, sets)
				continue
			}
			want := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(tt.subnet >> 8), byte(tt.subnet), 0xff, 15: 1})
			if tt.fits && (sets[0].Addrs[0] != want || !h.Prefix.Contains(want)) {
				t.Errorf("/%d, subnet %x: %s, want %s", bits, tt.subnet, sets[0].Addrs[0], want)
			}
		}
	}
}

func TestParseLow(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"::1234", "::1234"},
		{"::1", "::1"},
		{"::1:2:3:4", "::1:2:3:4"},
		{"::1.2.3.4", "::102:304"},
		{"0:0:0:5::1/56", "0:0:0:5::1"},
		{"0:0:0:ff::1/56", "0:0:0:ff::1"},
		{"::1/64", "::1"},
		{"0:0:0:ffff::1/48", "0:0:0:ffff::1"},
		{"02:00:5e:10:00:00", "::5eff:fe10:0"},
		{"00-00-5E-00-53-01", "::200:5eff:fe00:5301"},
		{"::1:0200:5e10:aa", "::1:200:5e10:aa"},
		{"::1:0200:5e10:aaa", "::1:200:5e10:aaa"}, // as many octets as a MAC, and as many colons

		{"", ""}, {"::", ""}, {"::/64", ""}, {"0:0:0:5::/56", ""}, {"0:0:0:5::1", ""}, {"0:0:0:100::1/56", ""}, {"0:0:1::1/48", ""},
		{"2001:db8::1", ""}, {"::1/47", ""}, {"::1/65", ""}, {"::1/128", ""}, {"::1/0", ""}, {"::1%eth0", ""}, {"::ffff:192.0.2.1", ""},
		{"192.0.2.1", ""}, {"192.0.2.1/24", ""}, {"02:00:5e-10:00:00", ""}, {"02:00:5e:10:00:0", ""}, {"02:00:5e:10:00:0g", ""},
		{"2:00:5e:10:00:000", ""}, {"02005e100000", ""}, {"02.00.5e.10.00.00", ""}, {"nas", ""}, {strings.Repeat("x", 1000), ""},
	} {
		got, err := ddns.ParseLow(tt.text)
		if tt.want == "" {
			if r := wantCode(t, err, ddns.Malformed); len(r.Why) > 200 {
				t.Errorf("%.20q: the refusal has %d octets", tt.text, len(r.Why))
			}
		} else if err != nil || got != netip.MustParseAddr(tt.want) {
			t.Errorf("%q: %s, %v; want %s", tt.text, got, err, tt.want)
		}
	}
}

func TestLowText(t *testing.T) {
	for text, want := range map[string]string{
		"::1234": "::1234", "02:00:5e:10:00:00": "::5eff:fe10:0", "0:0:0:5::1/56": "0:0:0:5::1/60", "0:0:0:ff::1/56": "0:0:0:ff::1/56",
		"0:0:0:1:a:0:0:1/60": "0:0:0:1:a:0:0:1/60", "0:0:0:ffff:1:2:3:4/48": "0:0:0:ffff:1:2:3:4/48", "0:0:0:100::2:0:4/48": "0:0:0:100::2:0:4/52",
	} {
		low, err := ddns.ParseLow(text)
		if got := ddns.LowText(low); err != nil || got != want {
			t.Errorf("%s is written %s, %v; want %s", text, got, err, want)
		}
	}
}

func follow(text, low string) ddns.Follower {
	l, err := ddns.ParseLow(low)
	if err != nil {
		panic(err)
	}
	return ddns.Follower{Name: named(text), Low: l, A: true, AAAA: true}
}

func following(list ...ddns.Follower) func(*ddns.Settings) {
	return func(s *ddns.Settings) { s.Followers = &list }
}

// family is a router with a wildcard and two followers, at home with a prefix.
func family(t *testing.T, w *world) ddns.Created {
	t.Helper()
	made := w.add(t, "box.dyn.example.org", free, following(follow("tv.dyn.example.org", "::1234"), follow("cam.box.dyn.example.org", "0:0:0:5::1/56")),
		func(s *ddns.Settings) { s.Wildcard = new(true) })
	w.must(t, by(made, home, set(ddns.TypeA, home), set(ddns.TypeAAAA, home6), prefix("2001:db8:0:aa00::/56")))
	return made
}

// dns is what shows RRsets.
type dns interface {
	Shows(dnsname.Name, ddns.Type) (ddns.RRset, bool)
}

func wantShown(t *testing.T, d dns, doing string, want map[string]string) {
	t.Helper()
	for name, addrs := range want {
		a, _ := d.Shows(named(name), ddns.TypeA)
		aaaa, _ := d.Shows(named(name), ddns.TypeAAAA)
		if got := fmt.Sprint(slices.Concat(a.Addrs, aaaa.Addrs)); got != "["+addrs+"]" {
			t.Errorf("%s: DNS shows %s at %s, want %s", doing, got, name, addrs)
		}
	}
}

// TestFollowers is the life of a router and of what is behind it. Whatever
// happens to all of them is one generation and one event.
func TestFollowers(t *testing.T) {
	w := newWorld(t)
	made := family(t, w)
	const box, tv, cam = "box.dyn.example.org", "tv.dyn.example.org", "cam.box.dyn.example.org"
	star := "*." + box
	event := func() ddns.Event {
		t.Helper()
		events, err := w.History(t.Context(), named(tv)) // a follower's history is its router's
		if err != nil {
			t.Fatal(err)
		}
		return events[0]
	}
	both := home + " " + home6
	wantShown(t, w.dns, "at first", map[string]string{box: both, star: both, tv: home + " 2001:db8:0:aa00::1234", cam: home + " 2001:db8:0:aa05::1"})

	before := w.host(t, box).Generation
	w.must(t, by(made, home, prefix("2001:db8:0:bb00::/56"), set(ddns.TypeAAAA, "2001:db8::8")))
	wantShown(t, w.dns, "another prefix", map[string]string{box: home + " 2001:db8::8", tv: home + " 2001:db8:0:bb00::1234", cam: home + " 2001:db8:0:bb05::1"})
	if e := event(); w.host(t, box).Generation != before+1 || e.Generation != before+1 || e.What != "prefix 2001:db8:0:aa00::/56 to 2001:db8:0:bb00::/56 (followers moved: 2)" {
		t.Errorf("generation %d after %d, event %+v", w.host(t, box).Generation, before, e)
	}

	// A shorter delegation leaves a subnet ID no room: no address rather than a
	// wrong one, and the rest goes on.
	w.must(t, by(made, home, prefix("2001:db8:0:cc00::/62")))
	wantShown(t, w.dns, "a small prefix", map[string]string{tv: home + " 2001:db8:0:cc00::1234", cam: home})
	if e := event(); !strings.HasSuffix(e.What, "(followers moved: 1) (followers without AAAA, for their subnet IDs have no room in it: 1)") {
		t.Errorf("event %q", e.What)
	}
	w.must(t, by(made, home, prefix("2001:db8:0:cc00::/61")))
	wantShown(t, w.dns, "room again", map[string]string{cam: home + " 2001:db8:0:cc05::1"})

	change := func(s ddns.Settings, what string) {
		t.Helper()
		if _, err := w.Set(t.Context(), named(box), s); err != nil {
			t.Fatal(err)
		}
		if e := event(); e.What != what {
			t.Errorf("event %q, want %q", e.What, what)
		}
	}
	change(ddns.Settings{Suspended: new(true)}, "suspended off to on")
	wantShown(t, w.dns, "suspended", map[string]string{box: "", star: "", tv: "", cam: ""})
	change(ddns.Settings{Suspended: new(false)}, "suspended on to off")
	wantShown(t, w.dns, "back", map[string]string{tv: home + " 2001:db8:0:cc00::1234"})

	tvOnly := follow(tv, "::5678")
	tvOnly.A = false
	change(ddns.Settings{Followers: &[]ddns.Follower{tvOnly, follow("new.dyn.example.org", "::9")}},
		"followers added new.dyn.example.org, changed tv.dyn.example.org, removed cam.box.dyn.example.org")
	wantShown(t, w.dns, "another list", map[string]string{tv: "2001:db8:0:cc00::5678", cam: "", "new.dyn.example.org": home + " 2001:db8:0:cc00::9"})
	change(ddns.Settings{Followers: &[]ddns.Follower{follow("new.dyn.example.org", "::9"), tvOnly}}, "followers in another order")

	// The lease ends for all.
	change(ddns.Settings{Lease: new(24 * time.Hour)}, "lease 0s to 24h0m0s")
	w.pass(25 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantShown(t, w.dns, "no sign of life", map[string]string{box: "", star: "", tv: "", "new.dyn.example.org": ""})
	w.must(t, by(made, home, prefix("2001:db8:0:dd00::/56"), ddns.Change{Type: ddns.TypeA, Op: ddns.Replace, Addrs: addrs(home)}))
	wantShown(t, w.dns, "alive again", map[string]string{tv: "2001:db8:0:dd00::5678"})

	if err := w.Remove(t.Context(), named(box)); err != nil {
		t.Fatal(err)
	}
	wantShown(t, w.dns, "removed", map[string]string{box: "", star: "", tv: "", "new.dyn.example.org": ""})
	w.add(t, tv)
}

// TestFollowersInAnEvent: a list of 64 names does not fill a host's history.
func TestFollowersInAnEvent(t *testing.T) {
	w := newWorld(t)
	w.add(t, "box.dyn.example.org")
	var list []ddns.Follower
	for i := range ddns.MaxFollowers {
		list = append(list, follow(fmt.Sprintf("f%d.dyn.example.org", i), fmt.Sprintf("::%x", i+1)))
	}
	if _, err := w.Set(t.Context(), named("box.dyn.example.org"), ddns.Settings{Followers: &list}); err != nil {
		t.Fatal(err)
	}
	events, err := w.History(t.Context(), named("f63.dyn.example.org"))
	const want = "followers added f0.dyn.example.org f1.dyn.example.org f2.dyn.example.org f3.dyn.example.org 60 more"
	if err != nil || events[0].What != want {
		t.Errorf("%v, %v", events, err)
	}
}

// TestFollowersNames: who asks about a follower, or wants its name, is told whose
// it is; and it has nothing that could be changed without its router.
func TestFollowersNames(t *testing.T) {
	w := newWorld(t)
	family(t, w)
	w.add(t, "other.dyn.example.org")
	tv := named("tv.dyn.example.org")
	h, credentials, err := w.Find(t.Context(), tv)
	if err != nil || h.Name != named("box.dyn.example.org") || len(credentials) != 1 {
		t.Fatalf("Find: %v, %v, %v", h, credentials, err)
	}
	if own, _, err := w.Find(t.Context(), h.Name); err != nil || own.Name != h.Name {
		t.Errorf("Find of the router: %v, %v", own, err)
	}
	for _, name := range []string{"none.dyn.example.org", "*.box.dyn.example.org"} {
		if _, _, err := w.Find(t.Context(), named(name)); code(err) != ddns.NotFound {
			t.Errorf("Find of %s: %v", name, err)
		}
	}
	_, addErr := w.Add(t.Context(), tv, ddns.Settings{}, ddns.Secret{})
	_, starErr := w.Add(t.Context(), named("*.box.dyn.example.org"), ddns.Settings{}, ddns.Secret{})
	_, sameErr := w.Add(t.Context(), h.Name, ddns.Settings{}, ddns.Secret{})
	_, setErr := w.Set(t.Context(), named("other.dyn.example.org"), ddns.Settings{Followers: &[]ddns.Follower{follow("new.dyn.example.org", "::1"), follow("tv.dyn.example.org", "::1")}})
	_, hostErr := w.Set(t.Context(), h.Name, ddns.Settings{Followers: &[]ddns.Follower{follow("other.dyn.example.org", "::1")}})
	imported, err := w.ImportHosts(t.Context(), []ddns.ExportedHost{{Name: named("third.dyn.example.org"), Followers: []ddns.Follower{follow("tv.dyn.example.org", "::1")}}})
	if err != nil || len(imported.Skipped) != 1 {
		t.Fatalf("import: %+v, %v", imported, err)
	}
	for _, tt := range []struct {
		doing     string
		err       error
		code      ddns.Code
		why, help string
	}{
		{"a host of a follower's name", addErr, ddns.Exists, "tv.dyn.example.org is a follower of box.dyn.example.org already", "host show box.dyn.example.org"},
		{"a host of a wildcard's name", starErr, ddns.Exists, "*.box.dyn.example.org is the wildcard of box.dyn.example.org already", "host show box.dyn.example.org"},
		{"a host again", sameErr, ddns.Exists, "there is a host box.dyn.example.org already", "host set"},
		{"a follower of another", setErr, ddns.Exists, "tv.dyn.example.org is a follower of box.dyn.example.org already", "host show box.dyn.example.org"},
		{"a follower of a host's name", hostErr, ddns.Exists, "there is a host other.dyn.example.org already", "host show"},
		{"remove", w.Remove(t.Context(), tv), ddns.NotFound, "is a follower of box.dyn.example.org", "godwit host set box.dyn.example.org"},
	} {
		r := wantCode(t, tt.err, tt.code)
		if !strings.Contains(r.Why, tt.why) || !strings.Contains(r.Fix, tt.help) {
			t.Errorf("%s: %v", tt.doing, r)
		}
	}
	if why := imported.Skipped[0].Why; !strings.Contains(why, "tv.dyn.example.org is a follower of box.dyn.example.org already") {
		t.Errorf("import: %s", why)
	}
}

// TestFollowersDrift: what somebody changed of a follower in DNS is put right
// with its router, and what DNS did not take at first is published later.
func TestFollowersDrift(t *testing.T) {
	w, d := inspected(t)
	made := family(t, w)
	const tv, cam = "tv.dyn.example.org", "cam.box.dyn.example.org"
	d.Fail(publishtest.Refuse, made.Host.Name)
	out, err := w.Update(t.Context(), by(made, home, prefix("2001:db8:0:bb00::/56")))
	if err != nil || out.Unconfirmed == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	wantShown(t, d, "refused", map[string]string{tv: home + " 2001:db8:0:aa00::1234"})
	if err := w.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{tv: home + " 2001:db8:0:bb00::1234", cam: home + " 2001:db8:0:bb05::1"}
	wantShown(t, d, "repaired", want)

	d.Change(address(tv, 60, "2001:db8::bad"), address(tv, 300, home), ddns.RRset{Owner: named(cam), Type: ddns.TypeA})
	calls := d.Calls()
	if err := w.Inspect(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	wantShown(t, d, "inspected", want)
	if got := shows(d, tv, ddns.TypeA); got != "60 ["+home+"]" || d.Calls() != calls+1 {
		t.Errorf("%s after %d publishes", got, d.Calls()-calls)
	}
}
