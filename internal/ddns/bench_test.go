package ddns_test

import (
	"net/netip"
	"testing"

	"godwit/internal/ddns"
)

// benchWorld is a Service over the real store with one host, as one box has it:
// DNS follows the store.
func benchWorld(b testing.TB) (*world, ddns.Created) {
	store := openSQLite(b, b.TempDir())
	b.Cleanup(func() { _ = store.Close() })
	w := onSQLite(b, store, func(c *ddns.Config) { c.Publisher = nil })
	return w, w.add(b, "nas.dyn.example.org", free)
}

// BenchmarkUpdateUnchanged is what nearly every update is.
func BenchmarkUpdateUnchanged(b *testing.B) {
	w, made := benchWorld(b)
	u := by(made, home)
	w.must(b, u)
	b.ReportAllocs()
	for b.Loop() {
		if out, err := w.Update(background, u); err != nil || out.Changed {
			b.Fatal(out.Changed, err)
		}
	}
}

// BenchmarkUpdateChanged is one caller alone, who waits for each commit.
func BenchmarkUpdateChanged(b *testing.B) {
	w, made := benchWorld(b)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		u := by(made, home, ddns.Change{Type: ddns.TypeA, Op: ddns.Replace, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})}})
		if out, err := w.Update(background, u); err != nil || !out.Changed {
			b.Fatal(out.Changed, err)
		}
	}
}

// BenchmarkAuthenticate: an unknown host must cost what a wrong proof costs.
func BenchmarkAuthenticate(b *testing.B) {
	w, made := benchWorld(b)
	w.must(b, by(made, home)) // a server that has no host yet has none to hide
	wrong := ddns.NewSecret("aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa")
	near := ddns.NewSecret(made.Token.Reveal()[:34] + "1")
	for _, bb := range []struct {
		name, host string
		proof      ddns.Proof
	}{
		{"token/unknown", "none.dyn.example.org", ddns.TokenProof{Token: wrong}},
		{"token/wrong", "nas.dyn.example.org", ddns.TokenProof{Token: wrong}},
		{"token/near", "nas.dyn.example.org", ddns.TokenProof{Token: near}},
		{"seed/unknown", "none.dyn.example.org", seedProof(from(home), "none.dyn.example.org", wrong)},
		{"seed/wrong", "nas.dyn.example.org", seedProof(from(home), "nas.dyn.example.org", wrong)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			u := ddns.Update{Host: named(bb.host), Proof: bb.proof, Source: from(home)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Update(background, u); err == nil {
					b.Fatal("a wrong proof holds")
				}
			}
		})
	}
}

// TestAllocations holds what an unchanged update allocates, the store's share
// included.
func TestAllocations(t *testing.T) {
	w, made := benchWorld(t)
	u := by(made, home)
	w.must(t, u)
	got := testing.AllocsPerRun(200, func() {
		if _, err := w.Update(background, u); err != nil {
			t.Fatal(err)
		}
	})
	if got > 12 {
		t.Errorf("an unchanged update allocates %.0f times", got)
	}
}
