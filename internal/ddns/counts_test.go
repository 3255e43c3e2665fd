package ddns_test

import (
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
)

// TestCounts: each update is counted once, at its door and by its outcome.
func TestCounts(t *testing.T) {
	w := newWorld(t, func(c *ddns.Config) { c.Limits.Requests = ddns.Rate{PerHour: 3600, Burst: 3} })
	made := w.add(t, "nas.dyn.example.org")
	for _, u := range []ddns.Update{
		by(made, home),
		by(made, home),
		by(made, home, set(ddns.TypeA, "192.0.2.8")),
		by(made, home), // one too many
		by(made, "198.51.100.9", set(ddns.TypeAAAA, home6)),
	} {
		_, _ = w.Update(t.Context(), u)
	}
	other := by(made, "198.51.100.9")
	other.Door, other.Proof = "other", ddns.TokenProof{Token: ddns.NewSecret("wrong")}
	_, _ = w.Update(t.Context(), other)
	w.pass(time.Minute)
	register := by(made, home)
	register.Door = "register"
	if _, err := w.Register(t.Context(), register, nil); err != nil {
		t.Fatal(err)
	}
	register.Proof = other.Proof
	_, _ = w.Register(t.Context(), register, nil)
	w.pass(time.Minute)
	w.dns.Fail(publishtest.Refuse, made.Host.Name)
	_, _ = w.Update(t.Context(), by(made, "198.51.100.10"))

	got := w.Counts()
	want := map[string]map[string]uint64{
		"test":     {"changed": 2, "unchanged": 1, "not-source": 2, "rate-limited": 1},
		"other":    {"bad-proof": 1},
		"register": {"changed": 1, "bad-proof": 1},
	}
	if len(got.Doors) != len(want) {
		t.Errorf("doors: %v", got.Doors)
	}
	for door, outcomes := range want {
		all := uint64(0)
		for outcome, n := range got.Doors[door].Outcomes {
			if n != outcomes[outcome] {
				t.Errorf("%s, %s: %d, want %d", door, outcome, n, outcomes[outcome])
			}
			all += n
		}
		if n := got.Doors[door].Latency.N; n != all {
			t.Errorf("%s: %d were timed of %d", door, n, all)
		}
	}
	if got.Unconfirmed != 1 || got.Overloaded+uint64(got.Proofs+got.Places) != 0 {
		t.Errorf("%+v", got)
	}
}
