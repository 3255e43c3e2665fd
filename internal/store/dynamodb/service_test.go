package dynamodb_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/internal/awscall"
	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
	"godwit/internal/store/dynamodb"
)

// site is a Service over a table, with a DNS that can be asked.
type site struct {
	*ddns.Service
	d     *database
	p     *proxy
	store *dynamodb.Store
	table string
	dns   *publishtest.Inspected
	clock atomic.Int64 // seconds that have passed
}

type allZones struct{}

func (allZones) Zone(name dnsname.Name) (dnsname.Name, bool) {
	for apex := range zones {
		if name.Under(apex) {
			return apex, true
		}
	}
	return dnsname.Name{}, false
}
func (allZones) Clash(dnsname.Name) error { return nil }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (x *site) now() time.Time { return noon.Add(time.Duration(x.clock.Load()) * time.Second) }

// newSite makes a Service over a table of its own. Each is a process of its own,
// but for the DNS, if it is given one.
func (d *database) newSite(t *testing.T, table string, edit ...func(*awscall.Config)) *site {
	t.Helper()
	x := &site{d: d, table: table, dns: new(publishtest.Inspected)}
	var client *awscall.Client
	x.p, client = d.proxied(edit...)
	x.store = d.store(table, func(c *dynamodb.Config) { c.Client, c.Now = client, x.now })
	x.serve(t, x.store)
	return x
}

func (x *site) serve(t *testing.T, store *dynamodb.Store, edit ...func(*ddns.Config)) {
	t.Helper()
	c := ddns.Config{Store: store, Sealer: store, Zones: allZones{}, Publisher: x.dns, Now: x.now}
	for _, e := range edit {
		e(&c)
	}
	var err error
	if x.Service, err = ddns.NewService(c); err != nil {
		t.Fatal(err)
	}
}

func named(text string) dnsname.Name { return dnsname.MustParse(text) }

// seedUpdate is what a client of the reference's sends.
func seedUpdate(hostAsSent, secret, source string) ddns.Update {
	src := ddns.SourceOf(netip.MustParseAddr(source))
	var hash [sha256.Size]byte
	_, _ = hex.Decode(hash[:], []byte(ddns.SeedHash(source, hostAsSent, ddns.NewSecret(secret))))
	return ddns.Update{Host: named(hostAsSent), Door: "seed", Source: src, Proof: ddns.SeedProof{Source: src, Host: hostAsSent, Hash: hash}}
}

func (x *site) must(t *testing.T, u ddns.Update) ddns.Outcome {
	t.Helper()
	out, err := x.Update(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (x *site) refused(t *testing.T, u ddns.Update, code ddns.Code) {
	t.Helper()
	_, err := x.Update(t.Context(), u)
	if r, ok := errors.AsType[*ddns.Refusal](err); !ok || r.Code != code {
		t.Errorf("%v, want %s", err, code)
	}
}

func (x *site) shows(owner string) string {
	set, _ := x.dns.Shows(named(owner), ddns.TypeA)
	return fmt.Sprint(set.TTL, set.Addrs)
}

// reference is what the reference's function reads of a row: the item by the
// name that the client sent, its data as JSON, and of that three members.
type reference struct {
	Zone   *string `json:"route_53_zone_id"`
	TTL    *int    `json:"route_53_record_ttl"`
	Secret *string `json:"shared_secret"`
}

func (x *site) readAsReference(t *testing.T, hostAsSent string) (reference, bool) {
	t.Helper()
	key, _ := json.Marshal(hostAsSent)
	text := x.d.do("GetItem", fmt.Sprintf(`{"TableName":%q,"Key":{"hostname":{"S":%s}}}`, x.table, key))
	var answer struct {
		Item map[string]struct{ S string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		// Attributes of other types are of no interest to it.
		var loose struct{ Item map[string]json.RawMessage }
		if err := json.Unmarshal([]byte(text), &loose); err != nil {
			t.Fatal(err)
		}
		answer.Item = map[string]struct{ S string }{}
		for k, v := range loose.Item {
			var s struct{ S string }
			_ = json.Unmarshal(v, &s)
			answer.Item[k] = s
		}
	}
	var r reference
	if json.Unmarshal([]byte(answer.Item["data"].S), &r) != nil || r.Zone == nil || r.TTL == nil || r.Secret == nil {
		return r, false
	}
	return r, true
}

// accepts tells whether the reference's function takes a client's hash.
func (r reference) accepts(source, hostAsSent, secret string) bool {
	sum := sha256.Sum256([]byte(source + hostAsSent + *r.Secret))
	return hex.EncodeToString(sum[:]) == ddns.SeedHash(source, hostAsSent, ddns.NewSecret(secret))
}

// byTool puts a row as the reference's newrecord.py does: the whole item, by
// joining texts.
func (x *site) byTool(key, zone string, ttl int, secret string) {
	data := `{"route_53_zone_id": "` + zone + `","route_53_record_ttl": ` + fmt.Sprint(ttl) + `,"shared_secret": "` + secret + `"}`
	x.put(key, data)
}

func (x *site) put(key, data string) {
	item, _ := json.Marshal(map[string]any{"hostname": map[string]string{"S": key}, "data": map[string]string{"S": data}})
	x.d.do("PutItem", fmt.Sprintf(`{"TableName":%q,"Item":%s}`, x.table, item))
}

func addresses(owner string, ttl uint32, list ...string) ddns.RRset {
	set := ddns.RRset{Owner: named(owner), Type: ddns.TypeA, TTL: ttl}
	for _, a := range list {
		set.Addrs = append(set.Addrs, netip.MustParseAddr(a))
	}
	return set
}

// home and moved are public, as a host of the reference's takes no other.
const home, moved = "176.32.100.36", "176.32.100.37"

// testBothDirections: rows of the reference's tools are our hosts, and its
// function goes on reading them after anything that we did.
func testBothDirections(t *testing.T, d *database) {
	for name, c := range map[string]struct {
		key, sent, secret string
		broken            bool // the reference's function cannot read the row before we have mended it
		alias             bool // its key is found by an alias alone
	}{
		"as documented":            {key: "www.dyn.example.org", sent: "www.dyn.example.org", secret: "shared_secret_1"},
		"with the dot":             {key: "www.dyn.example.org.", sent: "www.dyn.example.org.", secret: "shared_secret_1"},
		"with the dot, sent bare":  {key: "www.dyn.example.org.", sent: "www.dyn.example.org", secret: "shared_secret_1"},
		"bare, sent with the dot":  {key: "www.dyn.example.org", sent: "www.dyn.example.org.", secret: "shared_secret_1"},
		"capitals":                 {key: "WWW.Dyn.example.org", sent: "WWW.Dyn.example.org", secret: "shared_secret_1", alias: true},
		"capitals and dot":         {key: "WWW.dyn.example.org.", sent: "www.dyn.example.org", secret: "shared_secret_1", alias: true},
		"a quote in the secret":    {key: "www.dyn.example.org", sent: "www.dyn.example.org", secret: `se"cret`, broken: true},
		"a backslash":              {key: "www.dyn.example.org", sent: "www.dyn.example.org", secret: `se\cret`, broken: true},
		"beyond ASCII":             {key: "www.dyn.example.org", sent: "www.dyn.example.org", secret: "gehéim😀"},
		"a token as its secret":    {key: "www.dyn.example.org", sent: "www.dyn.example.org", secret: "k7m2qx4p-abcdefghijklmnopqrstuvwxyz"},
		"a secret of one letter":   {key: "www.dyn.example.org", sent: "www.dyn.example.org", secret: "x"},
		"spaces around the secret": {key: "www.dyn.example.org", sent: "www.dyn.example.org", secret: " x "},
	} {
		t.Run(name, func(t *testing.T) {
			x := d.newSite(t, d.table())
			x.byTool(c.key, "Z0DYN", 60, c.secret)
			if err := x.store.SetAdopted(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			made, err := x.store.Adopt(t.Context())
			if err != nil || (made == 1) != c.alias {
				t.Fatalf("%d aliases, %v", made, err)
			}
			if made, err := x.store.Adopt(t.Context()); err != nil || made != 0 {
				t.Errorf("again: %d aliases, %v", made, err)
			}
			if _, ok := x.readAsReference(t, c.key); ok == c.broken {
				t.Fatalf("the reference reads the row: %t", ok)
			}
			x.dns.Change(addresses("www.dyn.example.org", 60, home))
			x.refused(t, seedUpdate(c.sent, c.secret+"x", home), ddns.BadProof)
			if out := x.must(t, seedUpdate(c.sent, c.secret, home)); out.Changed {
				t.Error("what DNS shows is not known to match")
			}
			if out := x.must(t, seedUpdate(c.sent, c.secret, moved)); !out.Changed || x.shows("www.dyn.example.org") != "60 ["+moved+"]" {
				t.Errorf("%+v, DNS shows %s", out, x.shows("www.dyn.example.org"))
			}
			reads := func(secret string, ttl int) {
				t.Helper()
				r, ok := x.readAsReference(t, c.key)
				if !ok || *r.Zone != "Z0DYN" || *r.TTL != ttl || !r.accepts(home, c.key, secret) {
					t.Errorf("the reference reads %+v, %t", r, ok)
				}
			}
			reads(c.secret, 60)
			// An operator's change reaches it too.
			if _, err := x.Set(t.Context(), named(c.sent), ddns.Settings{TTL: new(uint32(300))}); err != nil {
				t.Fatal(err)
			}
			reads(c.secret, 300)
			rotated, err := x.Rotate(t.Context(), named(c.sent), ddns.Secret{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			reads(rotated.Token.Reveal(), 300)
			x.refused(t, seedUpdate(c.sent, c.secret, moved), ddns.BadProof)
			x.must(t, seedUpdate(c.sent, rotated.Token.Reveal(), moved))
			// Its tools put a new secret into the text: that is the token now.
			x.editData(t, c.key, rotated.Token.Reveal(), "another-one")
			x.refused(t, seedUpdate(c.sent, rotated.Token.Reveal(), moved), ddns.BadProof)
			x.must(t, seedUpdate(c.sent, "another-one", moved))
			// Off: neither the old secret nor any that is known.
			if _, err := x.Set(t.Context(), named(c.sent), ddns.Settings{SeedOff: new(true)}); err != nil {
				t.Fatal(err)
			}
			x.refused(t, seedUpdate(c.sent, "another-one", moved), ddns.BadProof)
			if r, ok := x.readAsReference(t, c.key); !ok || r.accepts(home, c.key, "another-one") || len(*r.Secret) < 30 {
				t.Errorf("with the seed's proof off the reference reads %+v, %t", r, ok)
			}
			u := seedUpdate(c.sent, "", moved)
			u.Proof = ddns.TokenProof{Token: ddns.NewSecret("another-one")}
			x.must(t, u)
			// And once the host is gone it knows nothing of it.
			if err := x.Remove(t.Context(), named(c.sent)); err != nil {
				t.Fatal(err)
			}
			if _, ok := x.readAsReference(t, c.key); ok || x.shows("www.dyn.example.org") != "0 []" {
				t.Error("a removed host is still there")
			}
			again, err := x.Add(t.Context(), named(c.sent), ddns.Settings{}, ddns.Secret{})
			if err != nil || again.Host.Generation < 7 {
				t.Errorf("generations begin anew: %+v, %v", again.Host, err)
			}
		})
	}
}

// editData replaces a secret in a row's text and leaves the rest of the row.
func (x *site) editData(t *testing.T, key, from, to string) {
	t.Helper()
	text := x.d.do("GetItem", fmt.Sprintf(`{"TableName":%q,"Key":{"hostname":{"S":%q}}}`, x.table, key))
	var answer struct {
		Item map[string]struct{ S any }
	}
	_ = json.Unmarshal([]byte(text), &answer)
	old, _ := answer.Item["data"].S.(string)
	if !strings.Contains(old, from) {
		t.Fatalf("data is %q", old)
	}
	value, _ := json.Marshal(strings.Replace(old, from, to, 1))
	x.d.do("UpdateItem", fmt.Sprintf(`{"TableName":%q,"Key":{"hostname":{"S":%q}},"UpdateExpression":"SET #d=:d","ExpressionAttributeNames":{"#d":"data"},"ExpressionAttributeValues":{":d":{"S":%s}}}`, x.table, key, value))
}

// testForeignMembers of data and of the row survive every edit of ours.
func testForeignMembers(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	x.put("www.dyn.example.org", `{"note":"ü","route_53_zone_id":"Z0DYN","route_53_record_ttl":"60","shared_secret":"s3cret","aws_region":"us-west-2","nested":{"a":[1,{"b":null}]},"route_53_record_type":"A"}`)
	x.d.do("UpdateItem", fmt.Sprintf(`{"TableName":%q,"Key":{"hostname":{"S":"www.dyn.example.org"}},"UpdateExpression":"SET theirs=:v","ExpressionAttributeValues":{":v":{"SS":["a","b"]}}}`, x.table))
	x.must(t, seedUpdate("www.dyn.example.org", "s3cret", home))
	if _, err := x.Set(t.Context(), named("www.dyn.example.org"), ddns.Settings{TTL: new(uint32(90))}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Rotate(t.Context(), named("www.dyn.example.org"), ddns.NewSecret("a secret of my own"), nil); err != nil {
		t.Fatal(err)
	}
	text := x.d.do("GetItem", fmt.Sprintf(`{"TableName":%q,"Key":{"hostname":{"S":"www.dyn.example.org"}},"ProjectionExpression":"#d,theirs","ExpressionAttributeNames":{"#d":"data"}}`, x.table))
	for _, want := range []string{`\"note\": \"`, `\"aws_region\": \"us-west-2\"`, `\"nested\": {\"a\":[1,{\"b\":null}]}`, `\"route_53_record_type\": \"A\"`, `\"route_53_record_ttl\": 90`, `\"shared_secret\": \"a secret of my own\"`, `"SS"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is lost: %s", want, text)
		}
	}
}

// testTwoRowsOfOneHost: the one without a dot counts, and is listed alone.
func testTwoRowsOfOneHost(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	if err := x.store.SetAdopted(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	x.byTool("www.dyn.example.org.", "Z0DYN", 60, "of the dotted one")
	x.byTool("www.dyn.example.org", "Z0DYN", 60, "of the bare one")
	x.byTool("MAIL.dyn.example.org", "Z0DYN", 60, "without an alias yet")
	x.put("www2.dyn.example.org", `broken`)
	x.byTool("www2.dyn.example.org.", "Z0DYN", 60, "beside the broken one")
	x.refused(t, seedUpdate("www.dyn.example.org.", "of the dotted one", home), ddns.BadProof)
	x.must(t, seedUpdate("www.dyn.example.org.", "of the bare one", home))
	hosts, _, err := x.List(t.Context(), "", 100)
	if err != nil || len(hosts) != 2 {
		t.Errorf("%d hosts, %v", len(hosts), err)
	}
}

// testDamaged: a row that cannot be read answers strangers, and costs, what a
// host does that is not there.
func testDamaged(t *testing.T, d *database) {
	for _, adopted := range []bool{false, true} {
		x := d.newSite(t, d.table())
		if err := x.store.SetAdopted(t.Context(), adopted); err != nil {
			t.Fatal(err)
		}
		x.put("bad.dyn.example.org", `broken`)
		x.byTool("www.dyn.example.org", "Z0DYN", 60, "s3cret")
		x.refused(t, seedUpdate("www.dyn.example.org", "wrong", home), ddns.BadProof) // #meta has been read
		x.p.watch(nil)
		x.refused(t, seedUpdate("nobody.dyn.example.org", "x", home), ddns.BadProof)
		unknown := x.p.called()
		x.p.watch(nil)
		x.refused(t, seedUpdate("bad.dyn.example.org", "x", home), ddns.BadProof)
		wantCalls(t, x.p, "a damaged row", unknown)
		if _, _, err := x.Show(t.Context(), named("bad.dyn.example.org")); !errors.Is(err, ddns.ErrDamaged) {
			t.Errorf("an operator is told %v", err)
		}
	}
	// What this program is too old for, or is damaged for all, is no reason to turn
	// clients away for good: many stop when their proof is refused.
	x := d.newSite(t, d.table())
	d.do("PutItem", fmt.Sprintf(`{"TableName":%q,"Item":{"hostname":{"S":"www.dyn.example.org"},"gw_v":{"N":"2"},"gw_gen":{"N":"1"},
		"data":{"S":"{\"route_53_zone_id\":\"Z0DYN\",\"route_53_record_ttl\":60,\"shared_secret\":\"x\"}"}}}`, x.table))
	x.refused(t, seedUpdate("www.dyn.example.org", "x", home), ddns.Unavailable)
	x = d.newSite(t, d.table())
	d.do("PutItem", fmt.Sprintf(`{"TableName":%q,"Item":{"hostname":{"S":"#meta"},"gw_v":{"N":"99"}}}`, x.table))
	x.refused(t, seedUpdate("www.dyn.example.org", "x", home), ddns.Unavailable)
}

// testUnusedRow: of two rows of one host the other one is never published, and
// does not come back when the host is removed.
func testUnusedRow(t *testing.T, d *database) {
	const www = "www.dyn.example.org"
	x := d.newSite(t, d.table())
	if err := x.store.SetAdopted(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	x.byTool(www+".", "Z0DYN", 60, "of the dotted one")
	x.dns.Fail(publishtest.Refuse, named(www))
	x.must(t, seedUpdate(www, "of the dotted one", home)) // stored, and not published
	x.byTool(www, "Z0DYN", 60, "of the bare one")
	if x.must(t, seedUpdate(www, "of the bare one", moved)); x.shows(www) != "60 ["+moved+"]" {
		t.Fatalf("DNS shows %s", x.shows(www))
	}
	x.clock.Add(3600)
	if err := x.Repair(t.Context()); err != nil || x.shows(www) != "60 ["+moved+"]" {
		t.Errorf("after a repair DNS shows %s, %v", x.shows(www), err)
	}
	if err := x.Remove(t.Context(), named(www)); err != nil || x.shows(www) != "0 []" {
		t.Fatalf("%v, DNS shows %s", err, x.shows(www))
	}
	x.refused(t, seedUpdate(www, "of the dotted one", home), ddns.BadProof)
	if hosts, _, err := x.List(t.Context(), "", 100); err != nil || len(hosts) != 0 {
		t.Errorf("%d hosts after the removal, %v", len(hosts), err)
	}
	if err := x.Repair(t.Context()); err != nil || x.shows(www) != "0 []" {
		t.Errorf("after another repair DNS shows %s, %v", x.shows(www), err)
	}
	// It can be added again, and the row that is not used is still that.
	made, err := x.Add(t.Context(), named(www), ddns.Settings{}, ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	x.must(t, seedUpdate(www, made.Token.Reveal(), home))
	x.refused(t, seedUpdate(www, "of the dotted one", moved), ddns.BadProof)
}

// testAddedTwice: of two operators who add a host again, whose row had a dot, one
// is told that it is there.
func testAddedTwice(t *testing.T, d *database) {
	const www = "www.dyn.example.org"
	x := d.newSite(t, d.table())
	if err := x.store.SetAdopted(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	x.byTool(www+".", "Z0DYN", 60, "s3cret")
	x.must(t, seedUpdate(www, "s3cret", home))
	if err := x.Remove(t.Context(), named(www)); err != nil {
		t.Fatal(err)
	}
	y := d.newSite(t, x.table)
	var made ddns.Created
	x.p.watch(func(_ int, action string) fault {
		if action == "TransactWriteItems" && made.Host == nil {
			var err error
			if made, err = y.Add(t.Context(), named(www), ddns.Settings{}, ddns.Secret{}); err != nil {
				t.Error(err)
			}
		}
		return none
	})
	_, err := x.Add(t.Context(), named(www), ddns.Settings{}, ddns.Secret{})
	if r, ok := errors.AsType[*ddns.Refusal](err); !ok || r.Code != ddns.Exists {
		t.Errorf("the second is told %v", err)
	}
	x.p.watch(nil)
	if x.must(t, seedUpdate(www, made.Token.Reveal(), home)); made.Host.Generation < 3 {
		t.Errorf("generation %d after an earlier host of that name", made.Host.Generation)
	}
}

// testAliasMoves: a row that the reference's tools have made under another
// spelling, after the one before was deleted there, is found as that was; beside
// what is left of a host that was removed here it is not.
func testAliasMoves(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	if err := x.store.SetAdopted(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	adopt := func(want int) {
		t.Helper()
		if made, err := x.store.Adopt(t.Context()); err != nil || made != want {
			t.Errorf("%d aliases, %v; want %d", made, err, want)
		}
	}
	x.byTool("WWW.dyn.example.org", "Z0DYN", 60, "first")
	adopt(1)
	x.must(t, seedUpdate("WWW.dyn.example.org", "first", home))
	x.byTool("Www.dyn.example.org", "Z0DYN", 60, "second")
	adopt(0) // the first has the name
	x.refused(t, seedUpdate("Www.dyn.example.org", "second", home), ddns.BadProof)
	d.do("DeleteItem", fmt.Sprintf(`{"TableName":%q,"Key":{"hostname":{"S":"WWW.dyn.example.org"}}}`, x.table))
	adopt(1)
	adopt(0)
	x.must(t, seedUpdate("Www.dyn.example.org", "second", home))
	x.byTool("wWW.dyn.example.org", "Z0DYN", 60, "third")
	if err := x.Remove(t.Context(), named("www.dyn.example.org")); err != nil {
		t.Fatal(err)
	}
	adopt(0)
	x.refused(t, seedUpdate("wWW.dyn.example.org", "third", home), ddns.BadProof)
}

// testCalls: what an update costs in calls of the database.
func testCalls(t *testing.T, d *database) {
	const www = "www.dyn.example.org"
	t.Run("own table", func(t *testing.T) {
		x := d.newSite(t, d.table())
		made, err := x.Add(t.Context(), named(www), ddns.Settings{}, ddns.Secret{})
		if err != nil {
			t.Fatal(err)
		}
		secret := made.Token.Reveal()
		x.must(t, seedUpdate(www, secret, home))
		if err := x.Inspect(t.Context(), []dnsname.Name{named("dyn.example.org")}); err != nil {
			t.Fatal(err)
		}
		looks, publishes := x.dns.Looks(), x.dns.Calls()
		for range 3 {
			x.p.watch(nil)
			x.must(t, seedUpdate(www, secret, home))
			wantCalls(t, x.p, "unchanged", "GetItem")
		}
		if x.dns.Looks() != looks || x.dns.Calls() != publishes {
			t.Error("an unchanged update called DNS")
		}
		x.p.watch(nil)
		x.must(t, seedUpdate(www, secret, moved))
		wantCalls(t, x.p, "changed", "GetItem UpdateItem UpdateItem")
		if n := x.dns.Calls() - publishes; n != 1 || x.dns.Looks() != looks {
			t.Errorf("%d publishes, %d looks", n, x.dns.Looks()-looks)
		}
		// Wrong proofs cost the same, whether there is such a host or not.
		x.p.watch(nil)
		x.refused(t, seedUpdate(www, "wrong", home), ddns.BadProof)
		known := x.p.called()
		x.p.watch(nil)
		x.refused(t, seedUpdate("nobody.dyn.example.org", "wrong", home), ddns.BadProof)
		wantCalls(t, x.p, "unknown host", known)
		// #meta is read along with a host now and then, at no cost of its own.
		x.clock.Add(301)
		x.p.watch(nil)
		x.must(t, seedUpdate(www, secret, moved))
		wantCalls(t, x.p, "after five minutes", "BatchGetItem")
		// A sign of life is one write more, after six hours.
		x.clock.Add(6 * 3600)
		x.must(t, seedUpdate(www, secret, moved))
		x.p.watch(nil)
		x.must(t, seedUpdate(www, secret, moved))
		wantCalls(t, x.p, "after a sign of life", "GetItem")
	})
	t.Run("adopted table", func(t *testing.T) {
		for _, key := range []string{www, www + ".", "WWW.dyn.example.org"} {
			x := d.newSite(t, d.table())
			x.byTool(key, "Z0DYN", 60, "s3cret")
			if err := x.store.SetAdopted(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			first := "BatchGetItem UpdateItem"
			if made, err := x.store.Adopt(t.Context()); err != nil {
				t.Fatal(err)
			} else if made > 0 {
				first = "BatchGetItem GetItem UpdateItem" // it is behind an alias, which is remembered
			}
			x.clock.Add(301)
			x.dns.Change(addresses(www, 60, home))
			x.p.watch(nil)
			x.must(t, seedUpdate(www, "s3cret", home))
			wantCalls(t, x.p, "first contact, matches", first)
			if x.dns.Looks() != 1 || x.dns.Calls() != 0 {
				t.Errorf("%d looks, %d publishes", x.dns.Looks(), x.dns.Calls())
			}
			if err := x.Inspect(t.Context(), []dnsname.Name{named("dyn.example.org")}); err != nil {
				t.Fatal(err)
			}
			x.p.watch(nil)
			x.must(t, seedUpdate(www, "s3cret", home))
			wantCalls(t, x.p, "unchanged", "BatchGetItem")
			x.p.watch(nil)
			x.must(t, seedUpdate(www, "s3cret", moved))
			wantCalls(t, x.p, "changed", "BatchGetItem UpdateItem UpdateItem")
			x.p.watch(nil)
			x.refused(t, seedUpdate(www, "wrong", home), ddns.BadProof)
			known := x.p.called()
			x.p.watch(nil)
			x.refused(t, seedUpdate("nobody.dyn.example.org", "wrong", home), ddns.BadProof)
			wantCalls(t, x.p, "unknown host", known)
		}
	})
}

// testTwoFunctions at once on one host: nothing is lost, nothing applied twice,
// and DNS ends at the newest.
func testTwoFunctions(t *testing.T, d *database) {
	table := d.table()
	x := d.newSite(t, table)
	made, err := x.Add(t.Context(), named("www.dyn.example.org"), ddns.Settings{Addresses: new(ddns.AnyAddress), Free: new(true)}, ddns.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 4
	var changed atomic.Int64
	var wg sync.WaitGroup
	for i := range writers {
		store := d.store(table, func(c *dynamodb.Config) { c.Client = d.newClient(x.p.URL) })
		other := &site{d: d, dns: x.dns}
		other.serve(t, store)
		wg.Go(func() {
			for n := range each {
				u := seedUpdate("www.dyn.example.org", made.Token.Reveal(), fmt.Sprintf("198.51.100.%d", 10*i+n+1))
				out, err := other.Update(context.Background(), u)
				if err != nil {
					t.Error(err)
				} else if out.Changed {
					changed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	h, _, err := x.Show(t.Context(), named("www.dyn.example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if h.Generation != uint64(changed.Load())+1 || changed.Load() != writers*each {
		t.Errorf("generation %d after %d changes of %d updates", h.Generation, changed.Load(), writers*each)
	}
	if err := x.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h, _, err = x.Show(t.Context(), named("www.dyn.example.org")); err != nil || h.Published != h.Generation || x.shows("www.dyn.example.org") != fmt.Sprint(60, h.A) {
		t.Errorf("published %d of %d, DNS shows %s of %s, %v", h.Published, h.Generation, x.shows("www.dyn.example.org"), h.A, err)
	}
}
