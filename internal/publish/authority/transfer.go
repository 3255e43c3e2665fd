package authority

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// history is what each zone remembers for secondaries: half an hour of the 5
// changes per second that a million hosts make when each changes once in two days.
// It takes about 200 octets for each change.
var history = zone.History{Changes: 10_000, Octets: 4 << 20}

// Secondaries says what secondaries get of the zones. The zero value keeps no
// history and makes no catalog.
type Secondaries struct {
	// Catalog is the name of a catalog zone (RFC 9432) with all zones of the
	// server. It is found by [Authority.Find] alone: it is nobody else's business.
	// Zero: none.
	Catalog dnsname.Name
	// Changed is told of a zone whose serial has moved. It must not wait, nor call
	// the Authority. Nil: nobody is told.
	Changed func(apex dnsname.Name)
}

// ServeSecondaries makes the Authority one that secondaries follow. Call it
// before Follow.
func (a *Authority) ServeSecondaries(s Secondaries) error {
	a.secondaries = s
	if s.Catalog.IsZero() {
		return nil
	}
	if z := a.zone(s.Catalog); z != nil && z.Apex() == s.Catalog {
		return fmt.Errorf("the catalog %s is one of the zones; give it a name of its own, such as catalog.%s", s.Catalog, s.Catalog)
	}
	var apexes []dnsname.Name
	for _, z := range a.list {
		apexes = append(apexes, z.Apex())
	}
	text := catalog(apexes)
	records, err := zone.Parse(strings.NewReader(text), "catalog", s.Catalog)
	if err != nil {
		return err
	}
	if a.catalog, err = zone.New(zone.Config{Apex: s.Catalog, Records: records}); err != nil {
		return err
	}
	print := sha256.Sum256([]byte(text))
	a.prints[s.Catalog] = print[:]
	return nil
}

// catalog is the zone file of a catalog (RFC 9432 section 4).
func catalog(zones []dnsname.Name) string {
	var b strings.Builder
	b.WriteString("$TTL 0\n@ SOA invalid. invalid. 0 3600 600 2147483646 0\n@ NS invalid.\nversion TXT 2\n")
	for _, apex := range zones {
		fmt.Fprintf(&b, "%s.zones PTR %s.\n", memberID(apex), apex)
	}
	return b.String()
}

// memberID is the label of a zone in the catalog: the same one over restarts, and
// for a zone that comes back, so that secondaries keep what they have of it (RFC
// 9432 section 5.4).
func memberID(apex dnsname.Name) string {
	sum := sha256.Sum256([]byte(apex.Wire()))
	return hex.EncodeToString(sum[:16])
}

// beginTransfers gives the catalog its serial, and the zones a past that begins now.
func (a *Authority) beginTransfers(ctx context.Context) error {
	if a.catalog != nil {
		serial, err := a.feed.Zone(ctx, a.catalog.Apex(), a.prints[a.catalog.Apex()])
		if err != nil {
			return fmt.Errorf("serial of the catalog %s: %w", a.catalog.Apex(), err)
		}
		a.catalog.SetSerial(uint32(serial))
	}
	if a.secondaries.Changed != nil {
		for _, z := range a.list {
			z.KeepHistory(history)
		}
	}
	return nil
}

// Transferred are the zones that secondaries may have, the catalog at the end.
func (a *Authority) Transferred() []*zone.Zone {
	if a.catalog == nil {
		return a.list
	}
	return append(a.list[:len(a.list):len(a.list)], a.catalog)
}

// Find is Find of [Authority.Zones] and of the catalog, for who may have all of it.
func (a *Authority) Find(qname []byte, qtype uint16) *zone.Zone {
	z := a.zones.Find(qname, qtype)
	if a.catalog == nil || z != nil && z.Apex().Under(a.catalog.Apex()) {
		return z
	}
	if name, _, err := dnsname.FromWire(qname); err == nil && name.Under(a.catalog.Apex()) {
		return a.catalog
	}
	return z
}

// Whole is a transfer of all of a zone at one serial. Changes wait for as long as
// it takes to note where its parts are.
func (a *Authority) Whole(z *zone.Zone) (*zone.Transfer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return z.Whole()
}

// Since is a transfer for who has a serial of a zone: see [zone.Zone.Since].
func (a *Authority) Since(z *zone.Zone, serial uint32) (*zone.Transfer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return z.Since(serial)
}
