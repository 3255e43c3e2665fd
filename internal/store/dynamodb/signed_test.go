package dynamodb_test

import (
	"crypto/ed25519"
	"net/netip"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// testSignedCalls: what a signed update costs in calls of the database.
func testSignedCalls(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	made, err := x.AddJoin(t.Context(), named("www.dyn.example.org"), ddns.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Inspect(t.Context(), []dnsname.Name{named("dyn.example.org")}); err != nil {
		t.Fatal(err)
	}
	code, _ := ddns.ParseCode(made.Code.Reveal())
	key := make([]byte, ddns.KeySize)
	if _, err := x.Join(t.Context(), "join", ddns.SourceOf(netip.MustParseAddr(home)), code, key); err != nil {
		t.Fatal(err)
	}
	signed := func(source string, changes ...ddns.Change) ddns.Update {
		x.clock.Add(1)
		return ddns.Update{Host: named("www.dyn.example.org"), Door: "signed", Source: ddns.SourceOf(netip.MustParseAddr(source)), Changes: changes,
			Proof: ddns.SignatureProof{KeyID: made.Credential.ID, Created: x.now().Unix(), Verify: func(k ed25519.PublicKey) bool { return string(k) == string(key) },
				CheckTime: func(time.Time) *ddns.Refusal { return nil }}}
	}
	at := ddns.Change{Type: ddns.TypeA, Op: ddns.Replace, Addrs: []netip.Addr{netip.MustParseAddr(home)}}
	for _, c := range []struct {
		what, want string
		u          ddns.Update
	}{
		{"changed", "GetItem UpdateItem UpdateItem", signed(home)},
		{"named, unchanged", "GetItem", signed(home, at)},
		{"auto, unchanged", "GetItem UpdateItem", signed(home)},
		{"named, changed", "GetItem UpdateItem UpdateItem", signed(moved, ddns.Change{Type: ddns.TypeA, Op: ddns.Replace, Addrs: []netip.Addr{netip.MustParseAddr(moved)}})},
	} {
		x.p.watch(nil)
		x.must(t, c.u)
		wantCalls(t, x.p, c.what, c.want)
	}
}
