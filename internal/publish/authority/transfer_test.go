package authority_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/publish/authority"
	"godwit/internal/zone"
)

// copyOf is what a strict secondary has of a zone.
type copyOf struct {
	zone    *zone.Zone
	serial  uint32
	records map[string]bool
	whole   int // transfers of the whole zone
	changes int // transfers of a difference
}

func (c *copyOf) refresh(auth *authority.Authority) error {
	t, err := auth.Since(c.zone, c.serial)
	if c.records == nil {
		t, err = auth.Whole(c.zone)
	}
	if err != nil {
		return err
	}
	if t.Cut() != nil {
		c.records = map[string]bool{}
		c.whole++
	} else if t.Difference() != nil {
		c.changes++
	}
	soas := 0
	for s := range t.RRsets() {
		if s.Type == dns.TypeSOA {
			soas++
			continue
		}
		for _, data := range s.Data {
			line := fmt.Sprintf("%q %d %d %x", s.Owner, s.TTL, s.Type, data)
			if gone := t.Difference() != nil && soas == 2; gone != c.records[line] {
				return fmt.Errorf("from serial %d to %d, removed %t: %s", c.serial, t.Serial, gone, line)
			} else if gone {
				delete(c.records, line)
			} else {
				c.records[line] = true
			}
		}
	}
	c.serial = t.Serial
	return nil
}

// TestTransfersAmongUpdates: secondaries that look again and again while hosts
// change and challenges come and go have in the end what the zone shows, and no
// difference on the way contradicts what they had.
func TestTransfersAmongUpdates(t *testing.T) {
	r := mustOpen(t, t.TempDir(), "", apex)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for w := range 2 {
		c := r.add(dnsname.MustParse(fmt.Sprintf("h%d.dyn.example.com", w)), ddns.Settings{})
		wg.Go(func() {
			for i := range 40 {
				r.update(c, []string{"198.51.100.7", "198.51.100.8", "198.51.100.9"}[i%3])
			}
		})
	}
	wg.Go(func() {
		for i := range 30 {
			owner := dnsname.MustParse([]string{"_acme-challenge.dyn.example.com", "h0.dyn.example.com"}[i%2])
			if err := r.auth.ShowChallenge(t.Context(), owner, []string{"a", "b"}[:i%3]); err != nil {
				t.Error(err)
			}
		}
	})
	z := r.auth.List()[0]
	copies := []*copyOf{{zone: z}, {zone: z}}
	var readers sync.WaitGroup
	for _, c := range copies {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := c.refresh(r.auth); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(done)
	readers.Wait()
	fresh := copyOf{zone: z}
	for _, c := range append(copies, &fresh) {
		if err := c.refresh(r.auth); err != nil {
			t.Fatal(err)
		}
		if c.serial != z.Serial() {
			t.Errorf("a secondary is at serial %d of %d", c.serial, z.Serial())
		}
	}
	for _, c := range copies {
		if !maps.Equal(c.records, fresh.records) {
			t.Errorf("a secondary has\n%v\nthe zone is\n%v", c.records, fresh.records)
		}
		if c.whole != 1 || c.changes == 0 {
			t.Errorf("a secondary that looked often took %d whole zones and %d differences", c.whole, c.changes)
		}
	}
	if r.told.Load() < 40 { // two hosts at most share a commit
		t.Errorf("two hosts that changed 40 times each moved the serial %d times", r.told.Load())
	}
}

// TestTransferAfterRestart: what was before a start is not in the history, so
// whoever is behind gets the whole zone, and whoever is not gets nothing.
func TestTransferAfterRestart(t *testing.T) {
	dir := t.TempDir()
	r := mustOpen(t, dir, "", apex)
	c := r.add(nas, ddns.Settings{}, "198.51.100.7")
	behind, level := copyOf{zone: r.auth.List()[0]}, copyOf{zone: r.auth.List()[0]}
	refresh := func(c *copyOf) {
		t.Helper()
		if err := c.refresh(r.auth); err != nil {
			t.Fatal(err)
		}
	}
	refresh(&behind)
	r.update(c, "198.51.100.8")
	refresh(&level)
	r.store.Close()
	r = mustOpen(t, dir, "", apex)
	behind.zone, level.zone = r.auth.List()[0], r.auth.List()[0]
	refresh(&behind)
	refresh(&level)
	if behind.whole != 2 || level.whole != 1 || level.serial != behind.serial || !maps.Equal(level.records, behind.records) {
		t.Errorf("after a restart: behind %+v, level %+v", behind, level)
	}
	// An edited zone file, or a zone inside of this one, is a step of the serial.
	r.store.Close()
	r = mustOpen(t, dir, "mail A 192.0.2.25\n", apex)
	level.zone = r.auth.List()[0]
	refresh(&level)
	if level.whole != 2 {
		t.Errorf("after the zone file was edited the secondary got no whole zone: %+v", level)
	}
	r.store.Close()
	r = mustOpen(t, dir, "mail A 192.0.2.25\n", apex, dnsname.MustParse("nas.dyn.example.com"))
	level.zone = r.auth.List()[0]
	refresh(&level)
	if level.whole != 3 || slices.ContainsFunc(slices.Collect(maps.Keys(level.records)), func(s string) bool { return strings.Contains(s, `"\x03nas`) }) {
		t.Errorf("a host that another zone has now is in the transfer still, or the serial stands: %+v", level)
	}
}

// TestCatalog: a catalog of version 2 has the zones, is found by none who just
// asks, and moves its serial exactly when the zones are others.
func TestCatalog(t *testing.T) {
	dir := t.TempDir()
	var serials []uint32
	labels := map[string]string{}
	for _, zones := range [][]dnsname.Name{{apex}, {apex}, {apex, dnsname.MustParse("lab.example.net")}} {
		r := mustOpen(t, dir, "", zones...)
		all := r.auth.Transferred()
		z := all[len(all)-1]
		if z.Apex() != catalog || len(all) != len(zones)+1 {
			t.Fatalf("the zones for secondaries are %d, the last is %s", len(all), z.Apex())
		}
		serials = append(serials, z.Serial())
		wire := []byte("\x07version" + catalog.Wire())
		if r.auth.Find(wire, dns.TypeTXT) != z || r.auth.Zones().Find(wire, dns.TypeTXT) == z {
			t.Error("the catalog is hidden from secondaries, or shown to all")
		}
		var members []string
		c := copyOf{zone: z}
		if err := c.refresh(r.auth); err != nil {
			t.Fatal(err)
		}
		version := false
		for line := range c.records {
			if strings.Contains(line, `"\aversion\acatalog`) && strings.HasSuffix(line, " 16 0132") {
				version = true
			}
			if owner, rest, ok := strings.Cut(line, `\x05zones\acatalog`); ok {
				data := rest[strings.LastIndexByte(rest, ' ')+1:]
				members = append(members, data)
				if was := labels[data]; was != "" && was != owner {
					t.Errorf("a member's label was %s and is %s", was, owner)
				}
				labels[data] = owner
			}
		}
		if !version || len(members) != len(zones) {
			t.Errorf("a catalog with version %t and %d members: %v", version, len(members), c.records)
		}
		r.store.Close()
	}
	if serials[0] != serials[1] || !ddns.Serial(serials[1]).Before(ddns.Serial(serials[2])) {
		t.Errorf("the serials of the catalog were %d", serials)
	}
	auth, err := authority.New(configs("", apex), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.ServeSecondaries(authority.Secondaries{Catalog: apex}); err == nil {
		t.Error("a catalog with the name of a zone is taken")
	}
}
