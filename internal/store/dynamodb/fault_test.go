package dynamodb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"godwit/internal/awscall"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/store/dynamodb"
)

// testFaults: whatever happens to a call, before or after it took effect, a
// command that succeeded was done once, and one that did not was not done twice.
func testFaults(t *testing.T, d *database) {
	const www = "www.dyn.example.org"
	for name, f := range map[string]fault{
		"throttled": throttle, "500 before": fail, "500 after": failLate, "cut before": cutEarly, "cut after": cutLate, "transaction at work": conflict,
	} {
		t.Run(name, func(t *testing.T) {
			x := d.newSite(t, d.table())
			// each does something again and again, and each time another call goes wrong.
			each := func(doing string, calls int, do func() error, check func() error) {
				t.Helper()
				for n := 1; n <= calls; n++ {
					x.p.watch(func(i int, action string) fault {
						if i != n || f == conflict && action != "UpdateItem" {
							return none
						}
						return f
					})
					err := do()
					x.p.watch(nil)
					if err != nil {
						t.Errorf("%s, call %d: %v", doing, n, err)
					}
					if err := check(); err != nil {
						t.Errorf("%s, call %d: %v", doing, n, err)
					}
				}
			}
			generation := func() (uint64, error) {
				h, _, err := x.store.Host(t.Context(), named(www))
				if err != nil {
					return 0, err
				}
				return h.Generation, nil
			}
			made, err := x.Add(t.Context(), named(www), ddns.Settings{Addresses: new(ddns.AnyAddress)}, ddns.Secret{})
			if err != nil {
				t.Fatal(err)
			}
			secret, address, want := made.Token.Reveal(), 0, uint64(1)
			moved := func() error {
				now, err := generation()
				if err == nil && now != want {
					err = fmt.Errorf("generation %d, want %d", now, want)
				}
				if got := x.shows(www); err == nil && got != fmt.Sprintf("60 [198.51.100.%d]", address) {
					err = fmt.Errorf("DNS shows %s, want .%d", got, address)
				}
				if err == nil {
					var list []ddns.Event
					if list, err = x.store.Events(t.Context(), named(www)); err == nil && uint64(len(list)) != want {
						err = fmt.Errorf("%d events at generation %d", len(list), want)
					}
				}
				return err
			}
			each("update", 3, func() error {
				address, want = address+1, want+1
				out, err := x.Update(t.Context(), seedUpdate(www, secret, fmt.Sprintf("198.51.100.%d", address)))
				if err == nil && (!out.Changed || out.Unconfirmed != nil) {
					err = fmt.Errorf("%+v", out)
				}
				return err
			}, moved)
			each("rotate", 4, func() error {
				want++
				made, err := x.Rotate(t.Context(), named(www), ddns.Secret{}, nil)
				secret = made.Token.Reveal()
				return err
			}, func() error {
				if err := moved(); err != nil {
					return err
				}
				_, err := x.Update(t.Context(), seedUpdate(www, secret, fmt.Sprintf("198.51.100.%d", address)))
				return err
			})
			n := 0
			each("add and remove", 7, func() error {
				n++
				name := named(fmt.Sprintf("h%d.dyn.example.org", n))
				_, err := x.Add(t.Context(), name, ddns.Settings{Wildcard: new(true)}, ddns.Secret{})
				return errors.Join(err, x.Remove(t.Context(), name))
			}, func() error {
				name := named(fmt.Sprintf("h%d.dyn.example.org", n))
				if _, _, err := x.store.Host(t.Context(), name); !errors.Is(err, ddns.ErrNoHost) {
					return fmt.Errorf("still there: %w", err)
				}
				made, err := x.Add(t.Context(), name, ddns.Settings{}, ddns.Secret{})
				if err == nil && made.Host.Generation != 3 {
					err = fmt.Errorf("added again at generation %d", made.Host.Generation)
				}
				return err
			})
		})
	}
}

// testManyFaults: random faults on every fifth call, from several functions.
// Each acknowledged change is in the history once and DNS ends at the newest.
func testManyFaults(t *testing.T, d *database) {
	x := d.newSite(t, d.table(), func(c *awscall.Config) { c.Attempts = 4 })
	made, err := x.Add(t.Context(), named("www.dyn.example.org"), ddns.Settings{Addresses: new(ddns.AnyAddress)}, ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	x.p.watch(func(_ int, action string) fault {
		if random.IntN(5) > 0 {
			return none
		}
		return []fault{throttle, fail, failLate, cutEarly, cutLate}[random.IntN(5)]
	})
	sure := map[uint64]string{} // generation to address, as acknowledged
	for i := range 30 {
		address := fmt.Sprintf("198.51.100.%d", i+1)
		out, err := x.Update(t.Context(), seedUpdate("www.dyn.example.org", made.Token.Reveal(), address))
		if err != nil {
			continue // unavailable: done or not
		}
		if out.Changed {
			if was, twice := sure[out.Host.Generation]; twice {
				t.Errorf("generation %d is of %s and of %s", out.Host.Generation, was, address)
			}
			sure[out.Host.Generation] = address
		}
	}
	x.p.watch(nil)
	if len(sure) < 10 {
		t.Fatalf("only %d updates succeeded", len(sure))
	}
	events, err := x.store.Events(t.Context(), named("www.dyn.example.org"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if want, ok := sure[e.Generation]; ok && fmt.Sprint(e.After) != "["+want+"]" {
			t.Errorf("generation %d is %s in the history, %s was acknowledged", e.Generation, e.After, want)
		}
		delete(sure, e.Generation)
	}
	if len(sure) > 0 {
		t.Errorf("lost: %v", sure)
	}
	if err := x.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h, _, err := x.Show(t.Context(), named("www.dyn.example.org")); err != nil || h.Published != h.Generation || x.shows("www.dyn.example.org") != fmt.Sprint(60, h.A) {
		t.Errorf("%+v, %v; DNS shows %s", h, err, x.shows("www.dyn.example.org"))
	}
}

// testDown: while the table is away every door says unavailable, and nothing is
// done; afterwards all is as before.
func testDown(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	made, err := x.Add(t.Context(), named("www.dyn.example.org"), ddns.Settings{}, ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []fault{throttle, fail, cutEarly} {
		x.p.watch(func(int, string) fault { return f })
		x.refused(t, seedUpdate("www.dyn.example.org", made.Token.Reveal(), home), ddns.Unavailable)
		x.refused(t, seedUpdate("nobody.dyn.example.org", "x", home), ddns.Unavailable)
		if err := x.Repair(t.Context()); err == nil {
			t.Error("Repair had nothing to say")
		}
	}
	x.p.watch(nil)
	if h, _, err := x.Show(t.Context(), named("www.dyn.example.org")); err != nil || h.Generation != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, _, err := x.store.Host(ctx, named("www.dyn.example.org")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// testNoPhantoms: nothing that is written of an unknown name makes an item.
func testNoPhantoms(t *testing.T, d *database) {
	for _, adopted := range []bool{false, true} {
		x := d.newSite(t, d.table())
		if adopted {
			if err := x.store.SetAdopted(t.Context(), true); err != nil {
				t.Fatal(err)
			}
		}
		ctx, nobody := t.Context(), named("nobody.dyn.example.org")
		x.refused(t, seedUpdate("nobody.dyn.example.org", "x", home), ddns.BadProof)
		if _, err := x.store.Note(ctx, nobody, 3, nil); !errors.Is(err, ddns.ErrNoHost) {
			t.Errorf("Note: %v", err)
		}
		if err := x.store.Touch(ctx, nobody, 1, ddns.Touch{Seen: noon, Credential: "k7m2qx4p", Mark: 1}); !errors.Is(err, ddns.ErrConflict) {
			t.Errorf("Touch: %v", err)
		}
		if err := x.store.Touch(ctx, nobody, 1, ddns.Touch{Seen: noon}); !errors.Is(err, ddns.ErrConflict) {
			t.Errorf("Touch: %v", err)
		}
		if err := x.store.Refused(ctx, nobody, ddns.Event{Time: noon, Outcome: "not-yours"}, 1); err != nil {
			t.Errorf("Refused: %v", err)
		}
		gone := &ddns.Host{Name: nobody, Zone: named("dyn.example.org"), TTL: 60, Generation: 1}
		next := gone.Clone()
		next.Generation = 2
		if err := x.store.Save(ctx, ddns.Write{Before: gone, Host: next}); !errors.Is(err, ddns.ErrConflict) {
			t.Errorf("Save: %v", err)
		}
		var answer struct {
			Items []map[string]any
		}
		if err := json.Unmarshal([]byte(d.do("Scan", fmt.Sprintf(`{"TableName":%q}`, x.table))), &answer); err != nil {
			t.Fatal(err)
		}
		for _, item := range answer.Items {
			if fmt.Sprint(item["hostname"]) != "map[S:#meta]" {
				t.Errorf("an item has come to be: %v", item)
			}
		}
	}
}

// testLimits of DynamoDB are said in words, and nothing is done beyond them.
func testLimits(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	router, err := x.Add(t.Context(), named("router.dyn.example.org"), ddns.Settings{}, ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	follow := func(n int) error {
		list := make([]ddns.Follower, n)
		for i := range list {
			list[i] = ddns.Follower{Name: named(fmt.Sprintf("f%d.dyn.example.org", i)), Low: netip.MustParseAddr("::1"), AAAA: true}
		}
		_, err := x.Set(t.Context(), router.Host.Name, ddns.Settings{Followers: &list})
		return err
	}
	// More names than one transaction can take are claimed first.
	x.p.watch(nil)
	if err := follow(ddns.MaxFollowers); err != nil || strings.Count(x.p.called(), "Transact") != 3 {
		t.Errorf("%d followers: %v after %s", ddns.MaxFollowers, err, x.p.called())
	}
	// Once they are there, all of them move in one write.
	x.p.watch(nil)
	u := seedUpdate("router.dyn.example.org", router.Token.Reveal(), "2606:4700::1")
	u.Changes = []ddns.Change{{Type: ddns.TypePrefix, Op: ddns.Replace, Prefix: netip.MustParsePrefix("2606:4700::/56")}}
	x.must(t, u)
	wantCalls(t, x.p, "a prefix with 64 followers", "GetItem UpdateItem UpdateItem")
	// 400 KB an item; the emulator draws the line at 405,000 octets.
	x.put("big.dyn.example.org", `{"route_53_zone_id":"Z0DYN","route_53_record_ttl":60,"shared_secret":"s3cret","note":"`+strings.Repeat("x", 404_850)+`"}`)
	_, err = x.Update(t.Context(), seedUpdate("big.dyn.example.org", "s3cret", home))
	if refusal, ok := errors.AsType[*ddns.Refusal](err); !ok || refusal.Cause == nil || !strings.Contains(refusal.Cause.Error(), "400 KB") {
		t.Errorf("an item beyond 400 KB: %v", err)
	}
	// A zone without an ID cannot have hosts.
	elsewhere := d.store(x.table, func(c *dynamodb.Config) { c.Zones = nil })
	h := &ddns.Host{Name: named("a.dyn.example.org"), Zone: named("dyn.example.org"), TTL: 60, Generation: 1}
	if err := elsewhere.Save(t.Context(), ddns.Write{Host: h}); err == nil || !strings.Contains(err.Error(), "hosted zone of dyn.example.org") {
		t.Errorf("%v", err)
	}
	missing := d.store("no-such-table")
	if _, _, err := missing.Host(t.Context(), h.Name); err == nil || !strings.Contains(err.Error(), `no table "no-such-table" in eu-west-1`) {
		t.Errorf("%v", err)
	}
	for _, cursor := range []string{"nonsense", "[]", `{"hostname":`} {
		if _, _, err := x.store.Hosts(t.Context(), cursor, 10); err == nil {
			t.Errorf("cursor %q is taken", cursor)
		}
	}
}

// testUnprocessed: what a batch leaves out is asked for again, and not for ever.
func testUnprocessed(t *testing.T, d *database) {
	table := d.table()
	x := d.newSite(t, table)
	if err := x.store.SetAdopted(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	x.byTool("www.dyn.example.org", "Z0DYN", 60, "s3cret")
	asked, never := 0, false
	server := answering(t, func(body string) string {
		var request struct {
			RequestItems map[string]struct{ Keys []json.RawMessage }
		}
		if err := json.Unmarshal([]byte(body), &request); err != nil {
			t.Error(err)
		}
		keys := request.RequestItems[table].Keys
		asked++
		take := min(1, len(keys))
		if never {
			take = 0
		}
		rest, _ := json.Marshal(keys[take:])
		answer := d.do("BatchGetItem", fmt.Sprintf(`{"RequestItems":{%q:{"Keys":[%s]}}}`, table, keys[0]))
		var got struct{ Responses map[string]json.RawMessage }
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Error(err)
		}
		left := "{}"
		if take < len(keys) {
			left = fmt.Sprintf(`{%q:{"Keys":%s}}`, table, rest)
		}
		return fmt.Sprintf(`{"Responses":{%q:%s},"UnprocessedKeys":%s}`, table, got.Responses[table], left)
	})
	store := d.store(table, func(c *dynamodb.Config) { c.Client = d.newClient(server) })
	h, _, err := store.Host(t.Context(), named("www.dyn.example.org"))
	if err != nil || h.TTL != 60 || asked != 4 {
		t.Errorf("%+v, %v after %d calls", h, err, asked)
	}
	never = true
	if _, _, err := store.Host(t.Context(), named("www.dyn.example.org")); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("%v", err)
	}
}

// testGarbage: an answer that is not DynamoDB's is no state of a host, and a
// write that gets one may have been made.
func testGarbage(t *testing.T, d *database) {
	for _, text := range []string{``, `<html>`, `[]`, `{"Item":`, `{"Item":{"hostname":{"S":"www.dyn.example.org"},"data":{"N":"1"}}}`,
		`{"Item":{"hostname":{"S":"www.dyn.example.org"},"data":{"S":"{}"},"gw_gen":{"S":"x"}}}`} {
		url := answering(t, func(string) string { return text })
		store := d.store("hosts", func(c *dynamodb.Config) { c.Client = d.newClient(url) })
		// A fresh store reads a batch first: then #meta says that the table is ours.
		if _, err := store.Pass(t.Context()); (err == nil) != strings.HasPrefix(text, `{"Item":{`) {
			t.Errorf("%s: Pass says %v", text, err)
		}
		if _, _, err := store.Host(t.Context(), named("www.dyn.example.org")); err == nil || errors.Is(err, ddns.ErrNoHost) {
			t.Errorf("%s: %v", text, err)
		}
		if _, _, err := store.Unpublished(t.Context(), "", 10); (err == nil) != strings.HasPrefix(text, `{"Item":{`) {
			t.Errorf("%s: Unpublished says %v", text, err)
		}
	}
}

// testWiped: a row that the reference's tools have put anew is a host of theirs
// again, and what is left of ours harms nobody.
func testWiped(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	const www = "www.dyn.example.org"
	made, err := x.Add(t.Context(), named(www), ddns.Settings{}, ddns.NewSecret("a secret of my own"))
	if err != nil {
		t.Fatal(err)
	}
	further, err := x.AddToken(t.Context(), named(www), ddns.TokenSpec{})
	if err != nil {
		t.Fatal(err)
	}
	x.must(t, seedUpdate(www, "a secret of my own", home))
	x.byTool(www, "Z0DYN", 60, "made anew")
	x.refused(t, seedUpdate(www, "a secret of my own", home), ddns.BadProof)
	for _, c := range []*ddns.Credential{made.Credential, further.Credential} {
		if _, err := x.store.Credential(t.Context(), c.ID); !errors.Is(err, ddns.ErrNoCredential) {
			t.Errorf("credential %s: %v", c.ID, err)
		}
	}
	if out := x.must(t, seedUpdate(www, "made anew", home)); out.Changed || out.Host.Generation != 1 {
		t.Errorf("%+v", out)
	}
	// The secret that was lost is free for another host.
	if _, err := x.Add(t.Context(), named("other.dyn.example.org"), ddns.Settings{}, ddns.NewSecret("a secret of my own")); err != nil {
		t.Error(err)
	}
	if _, err := x.Add(t.Context(), named("third.dyn.example.org"), ddns.Settings{}, ddns.NewSecret("a secret of my own")); err == nil {
		t.Error("two hosts have one secret")
	}
}

// testPass is kept for processes that come and go.
func testPass(t *testing.T, d *database) {
	table := d.table()
	a, b := d.store(table), d.store(table)
	if p, err := a.Pass(t.Context()); err != nil || p != (ddns.Pass{}) {
		t.Errorf("%+v, %v", p, err)
	}
	want := ddns.Pass{Cursor: `dyn.example.org {"hostname":{"S":"x"}}`, Began: noon, Completed: noon.Add(-time.Hour)}
	if err := errors.Join(a.SetAdopted(t.Context(), true), a.SetPass(t.Context(), want)); err != nil {
		t.Fatal(err)
	}
	if p, err := b.Pass(t.Context()); err != nil || p != want {
		t.Errorf("%+v, %v", p, err)
	}
	if at, err := b.Inspected(t.Context()); err != nil || !at.Equal(want.Completed) {
		t.Errorf("%s, %v", at, err)
	}
}

// testInspectFar goes on where it stopped, over pages of the table.
func testInspectFar(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	zone := []dnsname.Name{named("dyn.example.org")}
	for i := range 5 {
		name := fmt.Sprintf("h%d.dyn.example.org", i)
		made, err := x.Add(t.Context(), named(name), ddns.Settings{}, ddns.Secret{})
		if err != nil {
			t.Fatal(err)
		}
		x.must(t, seedUpdate(name, made.Token.Reveal(), home))
		x.dns.Change(addresses(name, 60, moved))
	}
	x.p.watch(func(_ int, action string) fault {
		if action == "Scan" {
			return fail
		}
		return none
	})
	if err := x.Inspect(t.Context(), zone); err == nil {
		t.Error("a table that is away is no error")
	}
	x.p.watch(nil)
	if err := x.Inspect(t.Context(), zone); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if got := x.shows(fmt.Sprintf("h%d.dyn.example.org", i)); got != "60 ["+home+"]" {
			t.Errorf("DNS shows %s", got)
		}
	}
	if p, err := x.store.Pass(t.Context()); err != nil || !p.Completed.Equal(x.now()) {
		t.Errorf("%+v, %v", p, err)
	}
}
