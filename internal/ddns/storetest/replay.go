package storetest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// oneZone is [ddns.Zones] with one zone and no static records.
type oneZone struct{}

func (oneZone) Zone(n dnsname.Name) (dnsname.Name, bool) { return zone, n.Under(zone) }
func (oneZone) Clash(dnsname.Name) error                 { return nil }

// signer makes signatures as the core sees them: what it is told of a key that
// fits, and no arithmetic.
type signer struct {
	id  string
	key ed25519.PublicKey
}

func (s signer) update(n dnsname.Name, created int64, source netip.Addr, changes ...ddns.Change) ddns.Update {
	return ddns.Update{Host: n, Door: "signed", Source: ddns.SourceOf(source), Changes: changes, Proof: ddns.SignatureProof{
		KeyID: s.id, Created: created,
		Verify: func(key ed25519.PublicKey) bool { return bytes.Equal(key, s.key) },
		CheckTime: func(now time.Time) *ddns.Refusal {
			if d := now.Unix() - created; d < -300 || d > 300 {
				return &ddns.Refusal{Code: ddns.Clock}
			}
			return nil
		},
	}}
}

// Replay has two instances on one store take signed updates of two keys, a
// token's and an operator's, in turn, for so many steps, and after each sends
// everything that was accepted until then once more, through either instance,
// from either source, in both windows' edges and with the clock a day off.
// Nothing of it may change anything. At last both get one request, and one join
// code, many times at once.
//
// open returns a store, which is also a [ddns.Sealer].
func Replay(t *testing.T, steps int, open func(t *testing.T) ddns.Store) {
	ctx, s, clock := t.Context(), open(t), start
	instances := [2]*ddns.Service{}
	for i := range instances {
		var err error
		if instances[i], err = ddns.NewService(ddns.Config{Store: s, Sealer: s.(ddns.Sealer), Zones: oneZone{}, Now: func() time.Time { return clock }}); err != nil {
			t.Fatal(err)
		}
	}
	n := name("replay")
	policy, free := ddns.AnyAddress, true
	made, err := instances[0].Add(ctx, n, ddns.Settings{Addresses: &policy, Free: &free}, ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	var keys [2]signer
	for i := range keys {
		code, err := instances[i].AddToken(ctx, n, ddns.TokenSpec{Join: true})
		if err != nil {
			t.Fatal(err)
		}
		proof, _ := ddns.ParseCode(code.Code.Reveal())
		keys[i].key = bytes.Repeat([]byte{byte(i + 1)}, ddns.KeySize)
		joined, err := instances[1-i].Join(ctx, "join", ddns.SourceOf(addr("192.0.2.1")), proof, keys[i].key)
		if err != nil {
			t.Fatal(err)
		}
		keys[i].id = joined.Credential.ID
	}
	random := rand.New(rand.NewPCG(1, 2))
	sources := [2]netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}
	type accepted struct {
		signer
		created int64
		changes []ddns.Change
	}
	var corpus []accepted
	state := func() string {
		h, list, err := s.Host(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(h.Generation, h.A, h.TTL, h.ChangedBy, h.Refusals)
		for _, c := range list {
			text += fmt.Sprint(" ", c.ID, c.Mark)
		}
		return text
	}
	for step := range steps {
		clock = clock.Add(time.Duration(random.IntN(3)) * 700 * time.Millisecond)
		by := instances[random.IntN(2)]
		source := sources[random.IntN(2)]
		switch what := random.IntN(8); what {
		case 0:
			ttl := uint32(60 + step)
			_, err = by.Set(ctx, n, ddns.Settings{TTL: &ttl})
		case 1:
			_, err = by.Update(ctx, ddns.Update{Host: n, Door: "test", Proof: ddns.TokenProof{Token: made.Token}, Source: ddns.SourceOf(source)})
		default:
			a := accepted{signer: keys[random.IntN(2)], created: clock.Unix() + int64([]int{0, 0, 0, 1, -300, 300}[random.IntN(6)])}
			if what > 4 {
				a.changes = []ddns.Change{{Type: ddns.TypeA, Op: ddns.Replace, Addrs: []netip.Addr{sources[random.IntN(2)]}}}
			}
			_, err = by.Update(ctx, a.update(n, a.created, source, a.changes...))
			if r, ok := errors.AsType[*ddns.Refusal](err); ok && r.Code == ddns.Replayed && r.LastCreated < clock.Unix()+300 {
				a.created = r.LastCreated + 1 // as a signer would
				_, err = by.Update(ctx, a.update(n, a.created, source, a.changes...))
			}
			if err == nil {
				corpus = append(corpus, a)
			} else if r, ok := errors.AsType[*ddns.Refusal](err); ok && (r.Code == ddns.Replayed || r.Code == ddns.Clock) {
				err = nil // its mark is too far ahead
			}
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		before, now := state(), clock
		for i, a := range corpus {
			at := time.Unix(a.created, 0)
			for _, clock = range []time.Time{now, at.Add(-300 * time.Second), at.Add(300 * time.Second), at.Add(24 * time.Hour), at.Add(-24 * time.Hour)} {
				// Its outcome is a refusal, or unchanged.
				_, _ = instances[(step+i)%2].Update(ctx, a.update(n, a.created, sources[random.IntN(2)], a.changes...))
			}
		}
		if clock = now; state() != before {
			t.Fatalf("step %d: what was sent again changed something:\n%s\n%s", step, before, state())
		}
	}
	if len(corpus) < steps/4 {
		t.Fatalf("only %d of %d steps were signed updates that were accepted", len(corpus), steps)
	}

	// Both instances get one request at the same time, which names no address.
	clock = clock.Add(time.Hour)
	var group sync.WaitGroup
	var got [16]error
	for i := range got {
		group.Go(func() {
			_, got[i] = instances[i%2].Update(ctx, keys[0].update(n, clock.Unix(), sources[i/2%2]))
		})
	}
	group.Wait()
	taken := 0
	for _, err := range got {
		if r, ok := errors.AsType[*ddns.Refusal](err); err == nil {
			taken++
		} else if !ok || r.Code != ddns.Replayed {
			t.Errorf("a request sent twice at once: %v", err)
		}
	}
	if taken != 1 {
		t.Errorf("one signed request was taken %d times", taken)
	}

	// So do they one join code, each time for another key.
	code, err := instances[0].AddToken(ctx, n, ddns.TokenSpec{Join: true})
	if err != nil {
		t.Fatal(err)
	}
	proof, _ := ddns.ParseCode(code.Code.Reveal())
	for i := range got {
		group.Go(func() {
			_, got[i] = instances[i%2].Join(ctx, "join", ddns.SourceOf(sources[i/2%2]), proof, bytes.Repeat([]byte{byte(100 + i)}, ddns.KeySize))
		})
	}
	group.Wait()
	_, list, err := s.Host(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	var won ed25519.PublicKey
	for _, c := range list {
		if c.ID == code.Credential.ID {
			won = c.Verifier
		}
	}
	for i, err := range got {
		r, _ := errors.AsType[*ddns.Refusal](err)
		switch wins := len(won) > 0 && won[0] == byte(100+i); {
		case err == nil != wins:
			t.Errorf("join %d: %v, and the key is %x", i, err, won)
		case err != nil && (r == nil || r.Code != ddns.BadProof):
			t.Errorf("join %d: %v", i, err)
		}
	}
	if len(won) != ddns.KeySize {
		t.Errorf("nobody joined: %+v", list)
	}
}
