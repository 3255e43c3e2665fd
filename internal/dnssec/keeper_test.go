package dnssec_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/dnssec"
	"godwit/internal/zone"
)

// world is a keeper with a clock and a parent of the test's own.
type world struct {
	*memory
	keeper *dnssec.Keeper
	now    time.Time
	parent *dnssec.Parent // nil: it cannot be asked
	config dnssec.Config
}

var name = dnsname.MustParse(apex)

func newWorld(t testing.TB, lifetime time.Duration) *world {
	t.Helper()
	w := newWorldOf(nil)
	w.config.Lifetime = lifetime
	w.open(t)
	return w
}

// newWorldOf is a world whose keeper is still to be opened, for a zone if it is not nil.
func newWorldOf(z *zone.Zone) *world {
	w := &world{memory: &memory{texts: map[dnsname.Name][]byte{}, zone: z}, now: began}
	w.config = dnssec.Config{
		Zones: w, Store: w, Apexes: map[dnsname.Name]time.Duration{name: 24 * time.Hour},
		Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Parent: func(context.Context, dnsname.Name) (dnssec.Parent, error) {
			if w.parent == nil {
				return dnssec.Parent{}, errors.New("no answer")
			}
			return *w.parent, nil
		},
	}
	return w
}

func (w *world) open(t interface {
	Context() context.Context
	Fatal(...any)
}) {
	var err error
	if w.keeper, err = dnssec.Open(t.Context(), w.config); err != nil {
		t.Fatal(err)
	}
}

func (w *world) status(t testing.TB) dnssec.Status {
	t.Helper()
	s, ok := w.keeper.Status(name)
	if !ok {
		t.Fatal("the zone is not signed")
	}
	return s
}

// later lets so much time pass in steps, as Run does.
func (w *world) later(t testing.TB, d time.Duration) {
	t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Hour)
		w.keeper.Tend(t.Context())
	}
}

// shown is what resolvers can see at one time.
type shown struct {
	ds      []uint16 // tags
	keys    []uint16
	signing uint16 // of the zone
	all     bool   // every key signs the RRset of keys
}

func (w *world) shown(t testing.TB) shown {
	t.Helper()
	var out shown
	for _, data := range w.memory.shown.DNSKEY {
		out.keys = append(out.keys, keyTag(data))
	}
	tags := func(set *zone.ToSign) (tags []uint16) {
		sigs, ok := w.memory.shown.Signer.Sign(nil, set, w.now, true)
		if !ok {
			t.Fatal("no signature")
		}
		for len(sigs) > 0 {
			n := 2 + int(sigs[0])<<8 + int(sigs[1])
			tags = append(tags, uint16(sigs[18])<<8|uint16(sigs[19]))
			sigs = sigs[n:]
		}
		return tags
	}
	owner := []byte(name.Wire())
	by := tags(&zone.ToSign{Owner: owner, Type: 1, TTL: 60, Canonical: []byte("a")})
	if len(by) != 1 {
		t.Fatalf("signed by %d", by)
	}
	out.signing = by[0]
	out.all = slices.Equal(tags(&zone.ToSign{Owner: owner, Type: 48, TTL: 60, Canonical: []byte("k")}), out.keys)
	if w.parent != nil {
		for _, ds := range w.parent.DS {
			var tag uint16
			fmt.Sscan(ds, &tag)
			out.ds = append(out.ds, tag)
		}
	}
	return out
}

func keyTag(data []byte) uint16 {
	var sum uint32
	for i, c := range data {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	return uint16(sum + sum>>16)
}

// TestRollover changes keys with a parent that follows late or soon, and holds at
// each hour that resolvers can validate whatever they still have in their caches:
// DS records, the RRset of keys and signed data of any three times.
func TestRollover(t *testing.T) {
	rollovers := 3
	if os.Getenv("GODWIT_LONG") != "" {
		rollovers = 100
	}
	const dsTTL, keyTTL, zoneTTL = 24, 1, 24 // hours
	random := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t, 60*24*time.Hour)
	w.parent = &dnssec.Parent{TTL: dsTTL * 3600}
	var past []shown // by the hour
	delay := 0
	first := w.status(t).DS
	seen := map[uint16]bool{}
	for hours := 0; len(seen) <= rollovers; hours++ {
		if hours > (rollovers+1)*24*120 {
			t.Fatalf("%d keys after %d days: %s", len(seen), hours/24, w.status(t).Next)
		}
		w.now = w.now.Add(time.Hour)
		w.keeper.Tend(t.Context())
		if random.IntN(200) == 0 {
			w.open(t) // a restart
		}
		// The parent takes what CDS says, after a while.
		if s := w.status(t); s.Ready && !slices.Contains(w.parent.DS, s.DS.Text()) {
			if delay--; delay < 0 {
				w.parent.DS = []string{s.DS.Text()}
				delay = random.IntN(24 * 10)
			}
		}
		now := w.shown(t)
		seen[now.signing] = true
		past = append(past, now)
		if len(past) > 30 {
			past = past[1:]
		}
		if !now.all {
			t.Fatalf("hour %d: a key does not sign the keys", hours)
		}
		for i := range past {
			for j := range past {
				for k := range past {
					age := func(i int) int { return len(past) - 1 - i }
					if age(i) > dsTTL || age(j) > keyTTL || age(k) > zoneTTL || len(past[i].ds) == 0 {
						continue
					}
					trusted := slices.ContainsFunc(past[i].ds, func(tag uint16) bool { return slices.Contains(past[j].keys, tag) })
					if !trusted || !slices.Contains(past[j].keys, past[k].signing) {
						t.Fatalf("hour %d: DS %v of %d hours ago, keys %v of %d, signature of %d of %d", hours, past[i].ds, age(i), past[j].keys, age(j), past[k].signing, age(k))
					}
				}
			}
		}
	}
	if seen[first.Tag] == false {
		t.Errorf("key %d never signed", first.Tag)
	}
}

func TestParentIsNotHurried(t *testing.T) {
	w := newWorld(t, 0)
	if s := w.status(t); s.Ready || len(w.memory.shown.CDS) != 0 {
		t.Error("the DS record is offered while resolvers may hold unsigned answers")
	}
	if err := w.keeper.Confirm(t.Context(), name); err == nil {
		t.Error("a DS record is confirmed that nobody was to have yet")
	}
	for range 2 {
		if err := w.keeper.Roll(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if s := w.status(t); len(s.Keys) != 1 || !strings.Contains(s.Next, "on the parent may have the DS record of key "+fmt.Sprint(s.DS.Tag)+"; after that the key is changed") {
		t.Errorf("a change that waits: %+v", s)
	}
	w = newWorld(t, 0)
	w.later(t, 26*time.Hour)
	if s := w.status(t); !s.Ready || len(w.memory.shown.CDS) != 1 || len(w.memory.shown.CDNSKEY) != 1 {
		t.Fatalf("after a day: %s", s.Next)
	}
	// Nobody asks for another key, and the operator's word does for the parent's.
	if err := w.keeper.Confirm(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if s := w.status(t); !s.Keys[0].Parent || s.Next != "nothing: all is done" {
		t.Errorf("confirmed: %+v", s)
	}
	old := w.status(t).DS
	w.later(t, 1000*24*time.Hour)
	if err := w.keeper.Roll(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := w.keeper.Roll(t.Context(), name); err == nil || !strings.Contains(err.Error(), "godwit zone check "+apex) {
		t.Errorf("two changes at once: %v", err)
	}
	w.later(t, 100*24*time.Hour)
	if s := w.status(t); len(s.Keys) != 2 || s.DS == old || s.Keys[0].State != "signing" {
		t.Fatalf("without the parent the keys changed: %+v", s)
	}
	if err := w.keeper.Confirm(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	w.later(t, 3*24*time.Hour)
	if s := w.status(t); len(s.Keys) != 1 || s.Keys[0].Tag == old.Tag || s.Keys[0].State != "signing" {
		t.Errorf("with the parent: %+v", s)
	}
}

func TestLeaving(t *testing.T) {
	w := newWorld(t, 0)
	w.later(t, 26*time.Hour)
	w.parent = &dnssec.Parent{DS: []string{w.status(t).DS.Text()}, TTL: 3600}
	w.later(t, time.Hour)
	if err := w.keeper.Leave(t.Context(), name, false); err != nil {
		t.Fatal(err)
	}
	// RFC 8078 section 4, and its erratum 5049 about CDNSKEY.
	if got := w.memory.shown; len(got.CDS) != 1 || string(got.CDS[0]) != "\x00\x00\x00\x00\x00" || len(got.CDNSKEY) != 1 || string(got.CDNSKEY[0]) != "\x00\x00\x03\x00\x00" {
		t.Errorf("CDS %x, CDNSKEY %x", got.CDS, got.CDNSKEY)
	}
	w.later(t, time.Hour)
	if s := w.status(t); !s.Leaving || s.Next != "the parent is to take its DS records away" || len(s.Keys) != 1 {
		t.Errorf("%+v", s)
	}
	w.parent = &dnssec.Parent{TTL: 60}
	w.later(t, time.Hour)
	if s := w.status(t); s.Due.Sub(w.now) != 2*time.Hour { // the DS record's TTL and the margin
		t.Errorf("until %s, and it is %s", s.Due, w.now)
	}
	if err := w.keeper.Leave(t.Context(), name, true); err != nil {
		t.Fatal(err)
	}
	if got := w.memory.shown; len(got.CDS) != 1 || len(got.CDS[0]) != 36 {
		t.Errorf("CDS %x", got.CDS)
	}
}

// TestUnsignedMeanwhile: a zone may be answered unsigned when no resolver holds a DS
// record, not before; and who signs it again waits as at first.
func TestUnsignedMeanwhile(t *testing.T) {
	w := newWorld(t, 0)
	unused := func(want bool) {
		t.Helper()
		if got, err := dnssec.Unused(t.Context(), w, name, w.now); err != nil || got != want {
			t.Errorf("at %s unused: %t, %v", w.now, got, err)
		}
	}
	// Before the parent was to have anything it is not told that it may.
	for _, stay := range []bool{false, true} {
		if err := w.keeper.Leave(t.Context(), name, stay); err != nil {
			t.Fatal(err)
		}
		if next := w.status(t).Next; strings.Contains(next, "may have") != stay {
			t.Errorf("stay %t: %s", stay, next)
		}
	}
	w.later(t, 26*time.Hour)
	w.parent = &dnssec.Parent{DS: []string{w.status(t).DS.Text()}, TTL: 3600}
	w.later(t, time.Hour)
	unused(false)
	if err := w.keeper.Leave(t.Context(), name, false); err != nil {
		t.Fatal(err)
	}
	w.parent = &dnssec.Parent{}
	w.later(t, time.Hour)
	unused(false)
	w.later(t, 2*time.Hour)
	unused(true)

	w.now = w.now.Add(90 * 24 * time.Hour)
	w.open(t)
	if err := w.keeper.Leave(t.Context(), name, true); err != nil {
		t.Fatal(err)
	}
	if s := w.status(t); s.Ready || len(w.memory.shown.CDS) != 0 || s.Due.Sub(w.now) != 25*time.Hour {
		t.Errorf("the DS record is offered while resolvers may hold unsigned answers: %s", s.Next)
	}
	w.later(t, 25*time.Hour)
	if s := w.status(t); !s.Ready || len(w.memory.shown.CDS) != 1 {
		t.Errorf("a day later: %s", s.Next)
	}
	unused(false)
}

// TestOldKeyStaysWhileTrusted has a parent take the DS record of a key that another
// one has followed already: it is all that resolvers trust, until it is replaced.
func TestOldKeyStaysWhileTrusted(t *testing.T) {
	w := newWorld(t, 0)
	w.parent = &dnssec.Parent{TTL: 3600}
	w.later(t, 26*time.Hour)
	old := w.status(t).DS
	if err := w.keeper.Roll(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	for hours := 0; w.status(t).Keys[0].State != "retired"; hours++ {
		if hours > 100 {
			t.Fatal("nobody validates, and the key is not changed: " + w.status(t).Next)
		}
		w.later(t, time.Hour)
	}
	w.parent = &dnssec.Parent{DS: []string{old.Text()}, TTL: 86400}
	w.later(t, 30*24*time.Hour)
	if now := w.shown(t); len(now.keys) != 2 || now.keys[0] != old.Tag || !now.all {
		t.Fatalf("keys %v, and the parent has %d", now.keys, old.Tag)
	}
	if s := w.status(t); s.Next != fmt.Sprintf("the parent is to have the DS record of key %d, and no other", s.DS.Tag) || s.DS == old {
		t.Errorf("next: %s", s.Next)
	}
	w.parent = &dnssec.Parent{DS: []string{w.status(t).DS.Text()}, TTL: 60}
	w.later(t, 25*time.Hour)
	if now := w.shown(t); len(now.keys) != 2 {
		t.Error("the old key goes while resolvers may hold its DS record, which had a day")
	}
	w.later(t, time.Hour)
	if now := w.shown(t); len(now.keys) != 1 {
		t.Errorf("keys %v", now.keys)
	}
}

func TestKeysAreKept(t *testing.T) {
	w := newWorld(t, 0)
	before := w.status(t)
	w.open(t)
	if after := w.status(t); after.DS != before.DS {
		t.Errorf("after a start DS %v, before %v", after.DS, before.DS)
	}
	w.texts[name] = []byte(strings.Replace(string(w.texts[name]), `"keys":[`, `"keys":[{},`, 1))
	if _, err := dnssec.Open(t.Context(), w.config); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged keys: %v", err)
	}
	// What cannot be stored is not shown.
	w = newWorld(t, 0)
	w.later(t, 26*time.Hour)
	keys := w.memory.shown
	w.fail = errors.New("disk full")
	if err := w.keeper.Roll(t.Context(), name); err == nil || w.memory.shown != keys {
		t.Errorf("Roll that is not stored: %v", err)
	}
}

// FuzzState reads stored keys: what is taken can be used.
func FuzzState(f *testing.F) {
	w := newWorld(f, 0)
	f.Add(w.texts[name])
	if err := w.keeper.Confirm(f.Context(), name); err == nil {
		f.Fatal("confirmed")
	}
	w.now = w.now.Add(48 * time.Hour)
	w.keeper.Tend(f.Context())
	if err := w.keeper.Roll(f.Context(), name); err != nil {
		f.Fatal(err)
	}
	f.Add(w.texts[name])
	f.Add([]byte(`{"keys":[{"private":""}]}`))
	// Successors in states of which a Keeper makes none: one of a key that was never
	// offered, and one that retired.
	f.Add([]byte(regexp.MustCompile(`"offered":"[^"]*",`).ReplaceAllString(string(w.texts[name]), "")))
	f.Add([]byte(strings.Replace(string(w.texts[name]), `}],`, `,"retired":"2020-01-01T00:00:00Z","offered":"2020-01-01T00:00:00Z","parent":"2020-01-01T00:00:00Z"}],`, 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := &memory{texts: map[dnsname.Name][]byte{name: text}}
		c := w.config
		c.Store, c.Zones = m, m
		k, err := dnssec.Open(t.Context(), c)
		if err != nil {
			return
		}
		k.Tend(t.Context())
		if s, ok := k.Status(name); !ok || len(s.DS.Data) != 64 || m.shown == nil || len(m.shown.DNSKEY) == 0 {
			t.Fatalf("%+v", s)
		}
	})
}

// FuzzSignedAnswer asks a signed zone for anything: all that is answered validates,
// and what is not answered is denied.
func FuzzSignedAnswer(f *testing.F) {
	z, _ := signedZone(f)
	keys := keysOf(f, z, began)
	for _, s := range []string{"home", "x.w", "nothere", "a.old", "x.child", "www", strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 43)} {
		f.Add(s, uint16(1))
		f.Add(s, uint16(43))
		f.Add(s, uint16(255))
	}
	var asked atomic.Int64
	f.Fuzz(func(t *testing.T, text string, qtype uint16) {
		now := began.Add(time.Duration(asked.Add(1)) * time.Second / 100) // signatures are rationed
		n, err := dnsname.Parse(text + "." + apex)
		if err != nil || strings.ContainsFunc(n.String(), func(r rune) bool {
			return r == '\\' || r <= ' ' || r > '~' || r == '"' || r == '(' || r == ')' || r == ';' || r == '@' || r == '$'
		}) {
			return // the library reads other names than it writes
		}
		switch qtype {
		case 1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 46, 47, 48, 59, 60, 65, 255:
		default:
			return
		}
		m := ask(t, z, n.String(), qtype, now, qtype%2 == 0)
		validate(t, m, keys, now)
		if len(m.Answer) == 0 && nsec(m) == "" && len(m.Ns) == 0 {
			t.Errorf("%s: neither an answer nor a proof", n)
		}
	})
}
