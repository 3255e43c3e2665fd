package authority

import (
	"context"
	"crypto/sha256"
	"fmt"

	"godwit/internal/dnsname"
	"godwit/internal/zone"
)

// Secure has a zone's answers signed, with the keys that s says. Before Follow the
// zone only takes them; afterwards the SOA serial moves, durably, if the records
// about keys are others than before, or secondaries are to get other signatures: to
// the feed that is part of the zone's static content. An error is about the serial, after they are shown. One goroutine at a
// time may call it.
func (a *Authority) Secure(ctx context.Context, apex dnsname.Name, s *zone.Security) error {
	z := a.zone(apex)
	if z == nil || z.Apex() != apex {
		return fmt.Errorf("%s is no zone of this server", apex)
	}
	print := sha256.New()
	for _, data := range [][][]byte{s.DNSKEY, s.CDNSKEY, s.CDS, {s.Round}} {
		fmt.Fprintf(print, "%x\n", data)
	}
	a.mu.Lock()
	z.Secure(s)
	a.secured[apex] = print.Sum(nil)
	a.mu.Unlock()
	if a.feed == nil {
		return nil
	}
	// Not under the lock: the store hands commits to apply meanwhile.
	serial, err := a.feed.Zone(ctx, apex, a.fingerprint(apex))
	if err != nil {
		return fmt.Errorf("serial of zone %s: %w", apex, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.step(z, serial)
	return nil
}
