package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/store/sqlite"
)

// TestActivity: what is written is counted, what is refused is not, and what the
// log has not brought over yet can be seen.
func TestActivity(t *testing.T) {
	now := day
	s, err := sqlite.Open(t.TempDir(), sqlite.Config{Now: func() time.Time { return now }}.Unswept())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Activity(); got.Writes != 0 || got.Commits.N != 0 || got.Log != 0 || !got.Swept.Equal(day) || got.Refusing {
		t.Errorf("at first: %+v", got)
	}
	h := newHost(nas)
	if err := s.Save(t.Context(), created(h)); err != nil {
		t.Fatal(err)
	}
	now = day.Add(time.Minute)
	if err := s.Save(t.Context(), moved(h, "192.0.2.2")); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), moved(h, "192.0.2.3")); err == nil {
		t.Fatal("a write on an older state was taken")
	}
	got := s.Activity()
	if got.Writes != 2 || got.Commits.N != 2 || got.Log == 0 || !got.Swept.Equal(day) {
		t.Errorf("after two writes: %+v", got)
	}
	for range 3 { // the host, then the records
		if err := s.Advance(10); err != nil {
			t.Fatal(err)
		}
	}
	if after := s.Activity(); after.Writes != 2 || after.Commits.N != 2 || after.Log != 0 || !after.Swept.Equal(now) {
		t.Errorf("after a sweep: %+v", after)
	}
}

func TestLag(t *testing.T) {
	s := open(t, t.TempDir())
	if hosts, since, err := s.Lag(t.Context()); hosts != 0 || !since.IsZero() || err != nil {
		t.Errorf("nothing is stored: %d, %v, %v", hosts, since, err)
	}
	for i := range 3 {
		h := newHost(dnsname.MustParse(fmt.Sprintf("h%d.dyn.example.org", i)))
		if i < 2 { // DNS has nothing of these two yet
			h.Published = 0
		}
		h.ChangedAt = day.Add(time.Duration(i) * time.Hour)
		if err := s.Save(t.Context(), created(h)); err != nil {
			t.Fatal(err)
		}
	}
	hosts, since, err := s.Lag(t.Context())
	if hosts != 2 || !since.Equal(day) || err != nil {
		t.Errorf("%d since %v, %v; want 2 since %v", hosts, since, err, day)
	}
	if _, err := s.Note(t.Context(), dnsname.MustParse("h0.dyn.example.org"), 1, []ddns.RRset{}); err != nil {
		t.Fatal(err)
	}
	hosts, since, err = s.Lag(t.Context())
	if want := day.Add(time.Hour); hosts != 1 || !since.Equal(want) || err != nil {
		t.Errorf("after one was noted: %d since %v, %v; want 1 since %v", hosts, since, err, want)
	}
}
