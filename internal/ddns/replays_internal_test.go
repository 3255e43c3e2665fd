package ddns

import (
	"encoding/binary"
	"testing"
	"time"

	"godwit/internal/tsig"
)

// A key that sends more than can be remembered gives way itself: its messages are
// refused, others' are not, and the memory stays bounded.
func TestReplaysGiveWay(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := newReplays(now.Add(-time.Hour))
	r.max = 1000
	n := uint64(0)
	send := func(id string, at time.Time) Code {
		n++
		mac := binary.BigEndian.AppendUint64(nil, n)
		p := &TSIGProof{id: id, sealed: []byte{1}, record: tsig.Record{Time: uint64(at.Unix()), MAC: mac}}
		first, err := r.once(p, now, func() (Outcome, error) { return Outcome{Changed: true}, nil })
		if refusal, ok := err.(*Refusal); ok {
			return refusal.Code
		}
		if again, err := r.once(p, now, func() (Outcome, error) { t.Error("done twice"); return Outcome{}, nil }); err != nil || !again.Repeated || !first.Changed {
			t.Errorf("%s again: %+v, %v", id, again, err)
		}
		return ""
	}
	if got := send("quiet", now); got != "" {
		t.Fatal(got)
	}
	refused := 0
	for range 5 * r.max {
		if send("loud", now.Add(290*time.Second)) == Clock { // a span of its own, and the newest
			refused++
		}
		if r.count > r.max {
			t.Fatalf("%d messages are remembered, not %d", r.count, r.max)
		}
	}
	if refused == 0 {
		t.Error("the loud key was never refused")
	}
	for _, ago := range []time.Duration{0, time.Second, 250 * time.Second} {
		if got := send("quiet", now.Add(-ago)); got != "" {
			t.Errorf("a quiet key's message of %s ago: %s", ago, got)
		}
	}
	if !r.stale(&Credential{ID: "loud"}, now.Add(290*time.Second).Unix(), now) || r.stale(&Credential{ID: "quiet"}, now.Unix(), now) {
		t.Error("what was forgotten would be taken again, or another key's is refused")
	}

	// What has passed is forgotten.
	now = now.Add(20 * time.Minute)
	if got := send("new", now); got != "" || r.count != 1 || len(r.known) != 1 || len(r.keys) != 1 {
		t.Errorf("%q; %d messages in %d spans of %d keys are left", got, r.count, len(r.known), len(r.keys))
	}
}
