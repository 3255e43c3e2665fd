package sqlite_test

import (
	"path/filepath"
	"testing"

	"godwit/internal/ddns"
)

// TestWarm: a start loads every host once; after it every host comes from
// memory, and what is in memory is what the database holds, also if it was
// written while it was being read.
func TestWarm(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	const hosts = 3000
	fill(t, s, hosts)
	follow := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
		known := newShadow()
		if err := s.Follow(known.loader, nil, func(ddns.Commit) {}); err != nil {
			t.Fatal(err)
		}
		if len(known.hosts) != hosts || len(known.wrong) > 0 {
			t.Errorf("%d hosts are loaded, want %d; %v", len(known.hosts), hosts, known.wrong)
		}
	}

	follow()
	s.Warmed()
	for i := range hosts {
		if !s.Cached(benchName(i)) {
			t.Fatalf("%s is not in memory", benchName(i))
		}
	}

	follow()
	for i := 0; i < hosts; i += 7 { // races with the warming
		h, _, err := s.Host(t.Context(), benchName(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Save(t.Context(), moved(h, "192.0.2.77")); err != nil {
			t.Fatal(err)
		}
	}
	s.Warmed()
	for i := range hosts {
		h, credentials, err := s.Host(t.Context(), benchName(i))
		if err != nil || len(credentials) != 1 || credentials[0].ID != h.Credentials[0] {
			t.Fatalf("%s: credentials %v, %v", benchName(i), credentials, err)
		}
		if i%7 == 0 && h.A[0].String() != "192.0.2.77" {
			t.Errorf("%s has %v, which is not what was stored last", benchName(i), h.A)
		}
	}
}
