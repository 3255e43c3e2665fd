package ddns_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

const (
	home  = "192.0.2.7"
	home6 = "2001:db8::7"
)

// TestUpdate is what updates come to, each on a host at 198.51.100.1 and
// 2001:db8::1 with prefix 2001:db8:0:ff00::/56 and the TXT value "old".
func TestUpdate(t *testing.T) {
	nine := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8", "192.0.2.9"}
	public := func(s *ddns.Settings) { s.Addresses = new(ddns.AddressRule) }
	lan := func(s *ddns.Settings) {
		rule, err := ddns.ParseAddressRule("192.0.2.0/24,2001:db8:0:ff00::/64")
		if err != nil {
			panic(err)
		}
		s.Addresses = &rule
	}
	for _, tt := range []struct {
		name     string
		settings []func(*ddns.Settings)
		source   string
		udp      bool
		changes  []ddns.Change
		when     []ddns.Precondition
		code     ddns.Code
		same     bool // unchanged
		a, aaaa  string
		prefix   string
		txt      string
	}{
		// no change named: the source, its family only
		{name: "auto IPv4", source: home, a: home},
		{name: "auto IPv6", source: home6, aaaa: home6},
		{name: "auto, mapped source", source: "::ffff:192.0.2.7", a: home},
		{name: "auto, source with zone", source: "fe80::1%eth0", aaaa: "fe80::1"},
		{name: "auto, no change", source: "198.51.100.1", same: true},
		{name: "auto over UDP", source: home, udp: true, code: ddns.NotSource},
		{name: "auto, private, public only", settings: []func(*ddns.Settings){public}, source: "10.0.0.1", code: ddns.AddressNotAllowed},
		{name: "auto, public", settings: []func(*ddns.Settings){public}, source: "176.32.100.36", a: "176.32.100.36"},

		// addresses
		{name: "the source named", source: home, changes: []ddns.Change{set(ddns.TypeA, home)}, a: home},
		{name: "the source named twice", source: home, changes: []ddns.Change{set(ddns.TypeA, home, home)}, a: home},
		{name: "another address", source: home, changes: []ddns.Change{set(ddns.TypeA, "192.0.2.8")}, code: ddns.NotSource},
		{name: "the source and another", source: home, changes: []ddns.Change{set(ddns.TypeA, home, "192.0.2.8")}, code: ddns.NotSource},
		{name: "the source, and another family's", source: home, changes: []ddns.Change{set(ddns.TypeA, home), set(ddns.TypeAAAA, home6)}, code: ddns.NotSource},
		{name: "another address, free", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{set(ddns.TypeA, "192.0.2.8")}, a: "192.0.2.8"},
		{name: "both families, free", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{set(ddns.TypeA, home), set(ddns.TypeAAAA, home6)}, a: home, aaaa: home6},
		{name: "over UDP, free", settings: []func(*ddns.Settings){free}, source: home, udp: true, changes: []ddns.Change{set(ddns.TypeA, "192.0.2.8")}, a: "192.0.2.8"},
		{name: "outside the CIDR list", settings: []func(*ddns.Settings){lan}, source: "198.51.100.9", code: ddns.AddressNotAllowed},
		{name: "inside the CIDR list", settings: []func(*ddns.Settings){lan}, source: home, a: home},
		{name: "one bad address refuses the whole", settings: []func(*ddns.Settings){free, lan}, source: home, changes: []ddns.Change{set(ddns.TypeA, home, "10.0.0.1")}, code: ddns.AddressNotAllowed},
		{name: "unspecified", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{set(ddns.TypeA, "0.0.0.0")}, code: ddns.AddressNotAllowed},
		{name: "multicast", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{set(ddns.TypeAAAA, "ff02::1")}, code: ddns.AddressNotAllowed},
		{name: "broadcast", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{set(ddns.TypeA, "255.255.255.255")}, code: ddns.AddressNotAllowed},
		{name: "IPv6 for A", source: home6, changes: []ddns.Change{set(ddns.TypeA, home6)}, code: ddns.WrongFamily},
		{name: "IPv4 for AAAA", source: home, changes: []ddns.Change{set(ddns.TypeAAAA, home)}, code: ddns.WrongFamily},
		{name: "mapped address", source: home, changes: []ddns.Change{set(ddns.TypeAAAA, "::ffff:192.0.2.7")}, code: ddns.Malformed},
		{name: "address with zone", source: home6, changes: []ddns.Change{set(ddns.TypeAAAA, "fe80::1%eth0")}, code: ddns.Malformed},
		{name: "no address at all", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Replace, Addrs: []netip.Addr{{}}}}, code: ddns.Malformed},
		{name: "empty is not absent", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Replace}}, code: ddns.Malformed},
		{name: "remove nothing", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Remove}}, code: ddns.Malformed},
		{name: "clear with a value", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Clear, Addrs: addrs(home)}}, code: ddns.Malformed},
		{name: "clear", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Clear}}, a: "-"},
		{name: "clear over UDP", source: home, udp: true, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Clear}}, code: ddns.NotSource},
		{name: "remove over UDP", source: home, udp: true, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Remove, Addrs: addrs("198.51.100.1")}}, code: ddns.NotSource},
		{name: "clear both", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Clear}, {Type: ddns.TypeAAAA, Op: ddns.Clear}}, a: "-", aaaa: "-"},
		{name: "remove", source: home, changes: []ddns.Change{{Type: ddns.TypeAAAA, Op: ddns.Remove, Addrs: addrs("2001:db8::1")}}, aaaa: "-"},
		{name: "remove what is not there", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Remove, Addrs: addrs("192.0.2.99")}}, same: true},
		{name: "add", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Add, Addrs: addrs(home)}}, a: home + " 198.51.100.1"},
		{name: "add what is there", source: "198.51.100.1", changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Add, Addrs: addrs("198.51.100.1")}}, same: true},
		{name: "clear, then add", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Clear}, {Type: ddns.TypeA, Op: ddns.Add, Addrs: addrs(home)}}, a: home},
		{name: "eight and one more", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: ddns.Add, Addrs: addrs(nine[:8]...)}}, code: ddns.TooMany},
		{name: "eight", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{set(ddns.TypeA, nine[:8]...)}, a: strings.Join(nine[:8], " ")},
		{name: "nine", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{set(ddns.TypeA, nine...)}, code: ddns.TooMany},
		{name: "unknown operation", source: home, changes: []ddns.Change{{Type: ddns.TypeA, Op: 9, Addrs: addrs(home)}}, code: ddns.Malformed},
		{name: "unknown type", source: home, changes: []ddns.Change{{Type: 9, Op: ddns.Clear}}, code: ddns.Malformed},

		// prefixes
		{name: "prefix with the source", source: "2001:db8:0:aa01::5", changes: []ddns.Change{prefix("2001:db8:0:aa00::/56")}, prefix: "2001:db8:0:aa00::/56"},
		{name: "prefix without the source", source: "2001:db8:0:bb01::5", changes: []ddns.Change{prefix("2001:db8:0:aa00::/56")}, code: ddns.NotSource},
		{name: "prefix over IPv4", source: home, changes: []ddns.Change{prefix("2001:db8:0:aa00::/56")}, code: ddns.NotSource},
		{name: "prefix over UDP", source: "2001:db8:0:aa01::5", udp: true, changes: []ddns.Change{prefix("2001:db8:0:aa00::/56")}, code: ddns.NotSource},
		{name: "prefix, free", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("2001:db8:0:aa00::/56")}, prefix: "2001:db8:0:aa00::/56"},
		{name: "the same prefix", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("2001:db8:0:ff00::/56")}, same: true},
		{name: "prefix of documentation, public only", settings: []func(*ddns.Settings){free, public}, source: home, changes: []ddns.Change{prefix("2001:db8:0:aa00::/56")}, code: ddns.AddressNotAllowed},
		{name: "ULA prefix, public only", settings: []func(*ddns.Settings){free, public}, source: home, changes: []ddns.Change{prefix("fd00::/48")}, code: ddns.AddressNotAllowed},
		{name: "public prefix", settings: []func(*ddns.Settings){free, public}, source: home, changes: []ddns.Change{prefix("2a02:100::/48")}, prefix: "2a02:100::/48"},
		{name: "only the start of the prefix is allowed", settings: []func(*ddns.Settings){free, lan}, source: home, changes: []ddns.Change{prefix("2001:db8:0:ff00::/56")}, code: ddns.AddressNotAllowed},
		{name: "the whole prefix is allowed", settings: []func(*ddns.Settings){free, lan}, source: home, changes: []ddns.Change{prefix("2001:db8:0:ff00::/64")}, prefix: "2001:db8:0:ff00::/64"},
		{name: "multicast prefix", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("ff02::/64")}, code: ddns.AddressNotAllowed},
		{name: "prefix with host bits", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("2001:db8:0:aa01::/56")}, code: ddns.Malformed},
		{name: "/0", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("::/0")}, code: ddns.Malformed},
		{name: "/47", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("2001:db8::/47")}, code: ddns.Malformed},
		{name: "/65", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("2001:db8::/65")}, code: ddns.Malformed},
		{name: "/128", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("2001:db8::1/128")}, code: ddns.Malformed},
		{name: "IPv4 prefix", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{prefix("192.0.2.0/24")}, code: ddns.Malformed},
		{name: "mapped prefix", settings: []func(*ddns.Settings){free}, source: home, changes: []ddns.Change{{Type: ddns.TypePrefix, Op: ddns.Replace, Prefix: netip.PrefixFrom(netip.MustParseAddr("::ffff:0.0.0.0"), 64)}}, code: ddns.Malformed},
		{name: "no prefix", source: home, changes: []ddns.Change{{Type: ddns.TypePrefix, Op: ddns.Replace}}, code: ddns.Malformed},
		{name: "add a prefix", source: home, changes: []ddns.Change{{Type: ddns.TypePrefix, Op: ddns.Add, Prefix: netip.MustParsePrefix("2001:db8::/56")}}, code: ddns.Malformed},
		{name: "clear the prefix", source: home, changes: []ddns.Change{{Type: ddns.TypePrefix, Op: ddns.Clear}}, prefix: "-"},

		// TXT
		{name: "add a value", source: home, changes: []ddns.Change{txt(ddns.Add, "new")}, txt: "old new"},
		{name: "add a value over UDP", source: home, udp: true, changes: []ddns.Change{txt(ddns.Add, "new")}, txt: "old new"},
		{name: "add two, one is there", source: home, changes: []ddns.Change{txt(ddns.Add, "new", "old", "new")}, txt: "old new"},
		{name: "eight values and one", source: home, changes: []ddns.Change{txt(ddns.Add, "1", "2", "3", "4", "5", "6", "7", "8")}, code: ddns.TooMany},
		{name: "add eight in all", source: home, changes: []ddns.Change{txt(ddns.Add, "1", "2", "3", "4", "5", "6", "7")}, txt: "old 1 2 3 4 5 6 7"},
		{name: "add what is there already", source: home, changes: []ddns.Change{txt(ddns.Add, "old")}, same: true},
		{name: "replace values", source: home, changes: []ddns.Change{txt(ddns.Replace, "one", "two")}, txt: "one two"},
		{name: "remove a value", source: home, changes: []ddns.Change{txt(ddns.Remove, "old", "never")}, txt: "-"},
		{name: "clear values", source: home, changes: []ddns.Change{txt(ddns.Clear)}, txt: "-"},
		{name: "replace by nothing", source: home, changes: []ddns.Change{txt(ddns.Replace)}, code: ddns.Malformed},
		{name: "add nothing", source: home, changes: []ddns.Change{txt(ddns.Add)}, code: ddns.Malformed},
		{name: "nine values", source: home, changes: []ddns.Change{txt(ddns.Replace, "1", "2", "3", "4", "5", "6", "7", "8", "9")}, code: ddns.TooMany},
		{name: "empty value", source: home, changes: []ddns.Change{txt(ddns.Add, "")}, code: ddns.Malformed},
		{name: "256 octets", source: home, changes: []ddns.Change{txt(ddns.Add, strings.Repeat("x", 256))}, code: ddns.Malformed},
		{name: "no UTF-8", source: home, changes: []ddns.Change{txt(ddns.Add, "a\xff")}, code: ddns.Malformed},
		{name: "control characters", source: home, changes: []ddns.Change{txt(ddns.Add, "a\n")}, code: ddns.Malformed},
		{name: "255 octets", source: home, changes: []ddns.Change{txt(ddns.Replace, strings.Repeat("x", 255))}, txt: strings.Repeat("x", 255)},
		{name: "unknown operation on TXT", source: home, changes: []ddns.Change{txt(0, "x")}, code: ddns.Malformed},

		// all or nothing
		{name: "the second change is refused", source: home, changes: []ddns.Change{txt(ddns.Add, "new"), set(ddns.TypeA, "192.0.2.8")}, code: ddns.NotSource},
		{name: "three sets at once", source: home, changes: []ddns.Change{txt(ddns.Add, "new"), set(ddns.TypeA, home), {Type: ddns.TypeAAAA, Op: ddns.Clear}}, a: home, aaaa: "-", txt: "old new"},

		// preconditions
		{name: "A exists", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetExists, Type: ddns.TypeA}}, a: home},
		{name: "A is absent, but is not", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetAbsent, Type: ddns.TypeA}}, code: ddns.ConditionFailed},
		{name: "A equals", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetEquals, Type: ddns.TypeA, Addrs: addrs("198.51.100.1", "198.51.100.1")}}, a: home},
		{name: "A equals more", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetEquals, Type: ddns.TypeA, Addrs: addrs("198.51.100.1", home)}}, code: ddns.ConditionFailed},
		{name: "A equals nothing", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetEquals, Type: ddns.TypeA}}, code: ddns.ConditionFailed},
		{name: "AAAA equals", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetEquals, Type: ddns.TypeAAAA, Addrs: addrs("2001:db8::1")}}, a: home},
		{name: "TXT equals", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetEquals, Type: ddns.TypeTXT, Texts: []string{"old", "old"}}}, a: home},
		{name: "TXT equals another", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetEquals, Type: ddns.TypeTXT, Texts: []string{"new"}}}, code: ddns.ConditionFailed},
		{name: "TXT exists", source: home, when: []ddns.Precondition{{Kind: ddns.RRsetExists, Type: ddns.TypeTXT}}, a: home},
		{name: "name in use", source: home, when: []ddns.Precondition{{Kind: ddns.NameInUse}}, a: home},
		{name: "name not in use, but is", source: home, when: []ddns.Precondition{{Kind: ddns.NameNotInUse}}, code: ddns.ConditionFailed},
		{name: "unknown condition", source: home, when: []ddns.Precondition{{Kind: 9}}, code: ddns.ConditionFailed},
		{name: "the second condition fails", source: home, when: []ddns.Precondition{{Kind: ddns.NameInUse}, {Kind: ddns.RRsetAbsent, Type: ddns.TypeAAAA}}, code: ddns.ConditionFailed},
		{name: "conditions are judged before the change", source: "198.51.100.1", when: []ddns.Precondition{{Kind: ddns.NameNotInUse}}, code: ddns.ConditionFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			made := w.add(t, "nas.dyn.example.org", tt.settings...)
			w.put(t, "nas.dyn.example.org", func(h *ddns.Host, write *ddns.Write) {
				h.A, h.AAAA, h.Prefix = addrs("198.51.100.1"), addrs("2001:db8::1"), netip.MustParsePrefix("2001:db8:0:ff00::/56")
				h.TXT = []ddns.TXT{{Value: "old", Time: w.clock()}}
				c := *made.Credential
				c.Grants = []ddns.Grant{{Host: h.Name, Types: []ddns.Type{ddns.TypeA, ddns.TypeAAAA, ddns.TypeTXT, ddns.TypePrefix, 9}}}
				write.Credentials = []*ddns.Credential{&c}
			})
			before := w.host(t, "nas.dyn.example.org")
			u := by(made, tt.source, tt.changes...)
			u.Preconditions = tt.when
			u.Source.Proven = !tt.udp
			out, err := w.Update(t.Context(), u)
			after := w.host(t, "nas.dyn.example.org")
			if tt.code != "" {
				r := wantCode(t, err, tt.code)
				if r.Why == "" || r.Fix == "" {
					t.Errorf("the refusal does not help: %v", r)
				}
				if len(tt.when) > 0 && r.Failed != tt.when[len(tt.when)-1].Kind {
					t.Errorf("condition %d is said to have failed", r.Failed)
				}
				if state(after) != state(before) || after.Generation != before.Generation {
					t.Errorf("a refused update changed the host to %s", state(after))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			keep := func(given, old string) string {
				switch given {
				case "":
					return old
				case "-":
					return ""
				}
				return given
			}
			want := fmt.Sprintf("A %s, AAAA %s, prefix %s, TXT %s", keep(tt.a, "198.51.100.1"), keep(tt.aaaa, "2001:db8::1"),
				keep(tt.prefix, "2001:db8:0:ff00::/56"), keep(tt.txt, "old"))
			if got := state(after); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if out.Changed == tt.same || (after.Generation == before.Generation) != tt.same {
				t.Errorf("changed %v, generation %d to %d", out.Changed, before.Generation, after.Generation)
			}
			if out.Changed && (out.Unconfirmed != nil || after.Published != after.Generation) {
				t.Errorf("DNS is not known to show it: %v", out.Unconfirmed)
			}
			// Once more, unconditionally, it is no change. (One cannot add an address twice either.)
			u.Preconditions = nil
			if again := w.must(t, u); again.Changed {
				t.Error("the same update again is a change")
			}
		})
	}
}

// state is what a host has, in words.
func state(h *ddns.Host) string {
	words := func(list []netip.Addr) string {
		texts := make([]string, len(list))
		for i, a := range list {
			texts[i] = a.String()
		}
		return strings.Join(texts, " ")
	}
	var values []string
	for _, t := range h.TXT {
		values = append(values, t.Value)
	}
	p := ""
	if h.Prefix.IsValid() {
		p = h.Prefix.String()
	}
	return fmt.Sprintf("A %s, AAAA %s, prefix %s, TXT %s", words(h.A), words(h.AAAA), p, strings.Join(values, " "))
}

func TestNameNotInUse(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	u := by(made, home)
	u.Preconditions = []ddns.Precondition{{Kind: ddns.NameNotInUse}, {Kind: ddns.RRsetAbsent, Type: ddns.TypeAAAA}}
	if !w.must(t, u).Changed {
		t.Error("the first address is no change")
	}
	_, err := w.Update(t.Context(), u)
	wantCode(t, err, ddns.ConditionFailed)
}

func TestTXTHasAPlace(t *testing.T) {
	long := strings.Repeat("x", 63) + "." + strings.Repeat("y", 63) + "." + strings.Repeat("z", 63) + "." + strings.Repeat("w", 40) + ".example.net"
	for _, name := range []string{"*.home.dyn.example.org", long} {
		w := newWorld(t)
		made := w.add(t, name)
		w.put(t, name, func(h *ddns.Host, write *ddns.Write) {
			c := *made.Credential
			c.Grants = []ddns.Grant{{Host: h.Name, Types: []ddns.Type{ddns.TypeTXT}}}
			write.Credentials = []*ddns.Credential{&c}
		})
		_, err := w.Update(t.Context(), by(made, home, txt(ddns.Add, "x")))
		wantCode(t, err, ddns.NotYours)
	}
}

// TestEvents: what changed is in the host's history, in full.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org", free)
	w.must(t, by(made, home))
	w.must(t, by(made, home, set(ddns.TypeA, "192.0.2.8"), prefix("2001:db8::/56")))
	events, err := w.History(t.Context(), named("nas.dyn.example.org"))
	if err != nil {
		t.Fatal(err)
	}
	got := events[0]
	want := ddns.Event{Time: w.clock(), Generation: 3, Outcome: "changed", Door: "test", Credential: made.Credential.ID,
		Source: netip.MustParseAddr(home), Proven: true, What: "prefix none to 2001:db8::/56", Before: addrs(home), After: addrs("192.0.2.8")}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if len(events) != 3 || events[2].What != "created" {
		t.Errorf("history is %v", events)
	}
	h := w.host(t, "nas.dyn.example.org")
	if h.ChangedBy != made.Credential.ID || !h.ChangedAt.Equal(w.clock()) || !h.Seen.Equal(w.clock()) {
		t.Errorf("changed by %s at %s, seen %s", h.ChangedBy, h.ChangedAt, h.Seen)
	}
	if _, err := w.History(t.Context(), named("none.dyn.example.org")); code(err) != ddns.NotFound {
		t.Errorf("history of no host: %v", err)
	}
}

// TestUnchangedIsFree: no write and no call, but one sign of life in six hours.
func TestUnchangedIsFree(t *testing.T) {
	w := newWorld(t)
	made := w.add(t, "nas.dyn.example.org")
	w.must(t, by(made, home))
	writes, calls := w.store.Writes(), w.dns.Calls()
	for range 100 {
		w.pass(3 * time.Minute) // five hours
		if w.must(t, by(made, home)).Changed {
			t.Fatal("changed")
		}
	}
	if w.store.Writes() != writes || w.dns.Calls() != calls {
		t.Errorf("%d writes, %d calls", w.store.Writes()-writes, w.dns.Calls()-calls)
	}
	for range 100 {
		w.pass(3 * time.Minute)
		w.must(t, by(made, home))
	}
	if n := w.store.Writes() - writes; n != 1 {
		t.Errorf("%d writes in ten hours, want 1", n)
	}
	if h := w.host(t, "nas.dyn.example.org"); h.Seen.Before(w.clock().Add(-ddns.SeenEvery)) {
		t.Errorf("seen %s", h.Seen)
	}
}

// TestConflict: an update that is overtaken is decided again.
func TestConflict(t *testing.T) {
	overtake, tries := 2, 0
	var w *world
	var made ddns.Created
	w = newWorld(t)
	w.store.Fail = func(method string) error {
		if method != "Save" || made.Host == nil {
			return nil
		}
		if tries++; tries > overtake {
			return nil
		}
		return ddns.ErrConflict
	}
	made = w.add(t, "nas.dyn.example.org")
	if out := w.must(t, by(made, home)); !out.Changed || tries != 3 {
		t.Errorf("changed %v after %d tries", out.Changed, tries)
	}
	overtake, tries = 1<<30, 0
	_, err := w.Update(t.Context(), by(made, "192.0.2.8"))
	wantCode(t, err, ddns.Unavailable)
	if !errors.Is(err, ddns.ErrConflict) || tries > 100 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	_, err = w.Set(t.Context(), made.Host.Name, ddns.Settings{TTL: new(uint32(300))})
	wantCode(t, err, ddns.Unavailable)
	_, err = w.Add(t.Context(), named("other.dyn.example.org"), open(), ddns.Secret{})
	wantCode(t, err, ddns.Unavailable)
}

// TestStoreDown: no outcome is claimed, and the cause is for the log alone.
func TestStoreDown(t *testing.T) {
	broken := errors.New("disk /var/lib on fire")
	w := newWorld(t)
	var failing string
	w.store.Fail = func(method string) error {
		if method == failing {
			return broken
		}
		return nil
	}
	made := w.add(t, "nas.dyn.example.org", func(s *ddns.Settings) { s.Suspended = new(false) })
	limited, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		failing string
		do      func() error
	}{
		{"Host", func() error { _, err := w.Update(t.Context(), by(made, home)); return err }},
		{"Save", func() error { _, err := w.Update(t.Context(), by(made, home)); return err }},
		{"Events", func() error { _, err := w.Update(t.Context(), by(limited, home)); return err }},
		{"Events", func() error { _, err := w.History(t.Context(), made.Host.Name); return err }},
		{"Host", func() error { _, err := w.History(t.Context(), made.Host.Name); return err }},
		{"Hosts", func() error { _, _, err := w.List(t.Context(), "", 10); return err }},
		{"Host", func() error {
			_, err := w.Add(t.Context(), named("b.dyn.example.org"), open(), ddns.Secret{})
			return err
		}},
		{"Save", func() error {
			_, err := w.Add(t.Context(), named("b.dyn.example.org"), open(), ddns.Secret{})
			return err
		}},
		{"Seal", func() error {
			_, err := w.Add(t.Context(), named("b.dyn.example.org"), open(), ddns.Secret{})
			return err
		}},
		{"Save", func() error { return w.Remove(t.Context(), made.Host.Name) }},
		{"Seal", func() error { _, err := w.Rotate(t.Context(), made.Host.Name, ddns.Secret{}, nil); return err }},
		{"Seal", func() error { _, err := w.RotateToken(t.Context(), made.Host.Name, made.Credential.ID, 0); return err }},
	} {
		failing = tt.failing
		r := wantCode(t, tt.do(), ddns.Unavailable)
		if strings.Contains(r.Error(), "fire") || !errors.Is(r, broken) || r.RetryAfter <= 0 {
			t.Errorf("%s down: %v, retry after %s, cause %v", tt.failing, r, r.RetryAfter, r.Cause)
		}
	}
	// These are not worth refusing an update for.
	failing = "Refused"
	_, err = w.Update(t.Context(), by(made, home, set(ddns.TypeA, "192.0.2.8")))
	wantCode(t, err, ddns.NotSource)
	failing = ""
	w.must(t, by(made, home))
	failing = "Touch"
	w.pass(7 * time.Hour)
	w.must(t, by(made, home))
	failing = "Seal"
	if _, err := ddns.NewService(w.Config); err == nil {
		t.Error("a service without a decoy")
	}
}

// TestMatrix: every credential against every host and type. Only the diagonal
// changes anything.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	type actor struct {
		name   string
		host   dnsname.Name // the one host it may change; zero: none
		types  []ddns.Type
		proofs []ddns.Proof
	}
	all := []ddns.Type{ddns.TypeA, ddns.TypeAAAA, ddns.TypePrefix, ddns.TypeTXT}
	source := from("2001:db8:0:aa01::5")
	seed := func(host string, secret ddns.Secret) ddns.Proof {
		return seedProof(source, host, secret)
	}
	var actors []actor
	var hosts []dnsname.Name
	for i := range 4 {
		text := fmt.Sprintf("host%d.dyn.example.org", i)
		made := w.add(t, text, free)
		hosts = append(hosts, made.Host.Name)
		actors = append(actors, actor{text + " first token", made.Host.Name, all, []ddns.Proof{ddns.TokenProof{Token: made.Token}, seed(text, made.Token)}})
		for _, types := range [][]ddns.Type{{ddns.TypeA}, {ddns.TypeAAAA}, {ddns.TypeTXT}, {ddns.TypePrefix}, {ddns.TypeA, ddns.TypeTXT}} {
			more, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Types: types})
			if err != nil {
				t.Fatal(err)
			}
			actors = append(actors, actor{fmt.Sprintf("%s token for %v", text, types), made.Host.Name, types, []ddns.Proof{ddns.TokenProof{Token: more.Token}}})
		}
		elsewhere, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		if err != nil {
			t.Fatal(err)
		}
		expired, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{Expires: w.clock().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		revoked, err := w.AddToken(t.Context(), made.Host.Name, ddns.TokenSpec{})
		if err == nil {
			_, err = w.RevokeToken(t.Context(), made.Host.Name, revoked.Credential.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, dead := range map[string]ddns.Created{"elsewhere": elsewhere, "expired": expired, "revoked": revoked} {
			actors = append(actors, actor{text + " " + name, dnsname.Name{}, nil, []ddns.Proof{ddns.TokenProof{Token: dead.Token}, seed(text, dead.Token)}})
		}
	}
	actors = append(actors,
		actor{name: "no proof", proofs: []ddns.Proof{nil}},
		actor{name: "empty token", proofs: []ddns.Proof{ddns.TokenProof{}, ddns.TokenProof{Token: ddns.NewSecret("-")}}},
		actor{name: "empty secret", proofs: []ddns.Proof{ddns.SeedProof{}, seed("host0.dyn.example.org", ddns.Secret{})}})
	w.pass(2 * time.Hour) // what was to expire has
	changes := map[ddns.Type]func(n int) ddns.Change{
		ddns.TypeA:      func(n int) ddns.Change { return set(ddns.TypeA, fmt.Sprintf("198.51.100.%d", n)) },
		ddns.TypeAAAA:   func(n int) ddns.Change { return set(ddns.TypeAAAA, fmt.Sprintf("2001:db8::%d", n)) },
		ddns.TypePrefix: func(n int) ddns.Change { return prefix(fmt.Sprintf("2001:db8:0:%d00::/56", n)) },
		ddns.TypeTXT:    func(n int) ddns.Change { return txt(ddns.Replace, fmt.Sprint(n)) },
	}
	n, changed := 0, 0
	for _, who := range actors {
		for _, proof := range who.proofs {
			for _, host := range hosts {
				for typ, change := range changes {
					n = (n + 1) % 90
					before := w.generations(t, hosts)
					writes := w.store.Writes()
					u := ddns.Update{Host: host, Proof: proof, Source: source, Changes: []ddns.Change{change(n + 1)}}
					out, err := w.Update(t.Context(), u)
					may := host == who.host && slices.Contains(who.types, typ)
					if may != (err == nil) || out.Changed != may {
						t.Errorf("%s sets %s of %s: changed %v, %v", who.name, typ, host, out.Changed, err)
					}
					switch {
					case may:
						changed++
					case host == who.host:
						wantCode(t, err, ddns.NotYours)
					default:
						want := ddns.BadProof
						if _, ok := proof.(ddns.TokenProof); ok && !who.host.IsZero() {
							want = ddns.NotYours // a token shows whose it is at any host
						}
						wantCode(t, err, want)
						if w.store.Writes() != writes {
							t.Errorf("%s made the server write", who.name)
						}
					}
					for i, g := range w.generations(t, hosts) {
						if moved := g != before[i]; moved != (may && hosts[i] == host) {
							t.Errorf("%s sets %s of %s: %s moved %v", who.name, typ, host, hosts[i], moved)
						}
					}
				}
			}
		}
	}
	if want := 4 * (4 + 4 + 1 + 1 + 1 + 1 + 2); changed != want { // first token twice
		t.Errorf("%d changes, want %d", changed, want)
	}
}

func (w *world) generations(t testing.TB, hosts []dnsname.Name) (out []uint64) {
	for _, name := range hosts {
		out = append(out, w.host(t, name.String()).Generation)
	}
	return out
}
