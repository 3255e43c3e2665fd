package authority

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"godwit/internal/dnsname"
)

// ShowChallenge makes DNS show texts of this server's own at owner, such as
// _acme-challenge.ddns.dyn.example.com, beside those of a host there, in place of
// the ones of the call before; none takes them away. They are in memory only: a
// restart forgets them.
//
// The SOA serial moves, durably, because to the feed the texts are part of the
// zone's static content, and the texts are shown with it: a secondary that has
// the serial has them too. When the call returns, the next question sees both;
// after an error it sees what it saw before. Call it after Follow, from one
// goroutine at a time.
func (a *Authority) ShowChallenge(ctx context.Context, owner dnsname.Name, texts []string) error {
	z := a.zone(owner)
	if z == nil {
		return fmt.Errorf("%s is in no zone of this server", owner)
	}
	if err := z.CheckChallenge(owner, texts); err != nil {
		return err
	}
	a.mu.Lock()
	a.waiting[owner] = slices.Clone(texts)
	before := a.challenges[owner]
	a.setChallengeLocked(owner, texts)
	a.mu.Unlock()
	// Not under the lock: the store hands commits to apply meanwhile. The first of
	// those that moves the serial shows the texts.
	serial, err := a.feed.Zone(ctx, z.Apex(), a.fingerprint(z.Apex()))
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, waits := a.waiting[owner]; err != nil && waits {
		delete(a.waiting, owner)
		a.setChallengeLocked(owner, before)
	}
	if err != nil {
		return fmt.Errorf("serial of zone %s: %w", z.Apex(), err)
	}
	a.step(z, serial)
	return nil
}

func (a *Authority) setChallengeLocked(owner dnsname.Name, texts []string) {
	if a.challenges[owner] = slices.Clone(texts); len(texts) == 0 {
		delete(a.challenges, owner)
	}
}

// fingerprint is that of a zone's static content, challenges and keys.
func (a *Authority) fingerprint(apex dnsname.Name) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	if secured := a.secured[apex]; secured != nil {
		lines = append(lines, fmt.Sprintf("keys %x\n", secured))
	}
	for owner, texts := range a.challenges {
		if home, _ := a.Zone(owner); home == apex {
			lines = append(lines, fmt.Sprintf("%s %q\n", owner, texts))
		}
	}
	if len(lines) == 0 {
		return a.prints[apex]
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(string(a.prints[apex]) + strings.Join(lines, "")))
	return sum[:]
}
