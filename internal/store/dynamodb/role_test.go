package dynamodb_test

import (
	"crypto/ed25519"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// permissions are what IAM is asked for a call that writes: an action and the kind
// of item, as "PutItem #cred#" or "UpdateItem host". A transaction asks for each
// action in it (Amazon DynamoDB Developer Guide, "Using IAM with transactions").
func permissions(action string, body []byte) []string {
	type call struct{ Key, Item map[string]struct{ S string } }
	name := func(action string, c call) string {
		key := c.Key["hostname"].S + c.Item["hostname"].S
		if !strings.HasPrefix(key, "#") {
			return action + " host"
		}
		kind, _, _ := strings.Cut(key[1:], "#")
		return action + " #" + kind + "#"
	}
	switch action {
	case "TransactWriteItems":
		var in struct{ TransactItems []map[string]call }
		_ = json.Unmarshal(body, &in) // then nothing is in it, and the database refuses it
		var out []string
		for _, item := range in.TransactItems {
			for kind, c := range item {
				out = append(out, name(strings.TrimSuffix(kind, "Item")+"Item", c))
			}
		}
		return out
	case "PutItem", "UpdateItem", "DeleteItem":
		var c call
		_ = json.Unmarshal(body, &c) // as before
		return []string{name(action, c)}
	}
	return nil
}

// testRole: what the function does by itself and for its callers its role allows
// (internal/awsstack/template.yaml).
func testRole(t *testing.T, d *database) {
	x := d.newSite(t, d.table())
	allowed := []string{"UpdateItem host", "UpdateItem #meta#", "UpdateItem #cred#", "PutItem #name#", "PutItem #cred#", "DeleteItem #cred#"}
	used := map[string]bool{}
	as := func(what string, do func() error) {
		t.Helper()
		x.p.watch(nil)
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		x.p.mu.Lock()
		defer x.p.mu.Unlock()
		for _, a := range x.p.asked {
			used[a] = true
			if !slices.Contains(allowed, a) {
				t.Errorf("%s needs %s, which the role does not have", what, a)
			}
		}
	}
	host := named("www.dyn.example.org")
	made, err := x.AddJoin(t.Context(), host, ddns.Settings{Addresses: new(ddns.AnyAddress)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.AddJoin(t.Context(), named("late.dyn.example.org"), ddns.Settings{}); err != nil {
		t.Fatal(err)
	}
	source := ddns.SourceOf(netip.MustParseAddr(home))
	first, second := make([]byte, ddns.KeySize), slices.Repeat([]byte{1}, ddns.KeySize)
	signed := func(id string, key []byte) ddns.Update {
		x.clock.Add(1)
		return ddns.Update{Host: host, Door: "signed", Source: source, Proof: ddns.SignatureProof{KeyID: id, Created: x.now().Unix(),
			Verify: func(k ed25519.PublicKey) bool { return string(k) == string(key) }, CheckTime: func(time.Time) *ddns.Refusal { return nil }}}
	}
	as("join", func() error {
		code, _ := ddns.ParseCode(made.Code.Reveal())
		_, err := x.Join(t.Context(), "join", source, code, first)
		return err
	})
	as("update", func() error {
		_, err := x.Update(t.Context(), signed(made.Credential.ID, first))
		return err
	})
	as("unchanged", func() error {
		_, err := x.Update(t.Context(), signed(made.Credential.ID, first))
		return err
	})
	x.clock.Add(60)
	as("new key", func() error {
		_, err := x.ReplaceKey(t.Context(), signed(made.Credential.ID, first), second)
		return err
	})
	x.clock.Add(int64(8 * 24 * time.Hour / time.Second)) // join codes and keys that were replaced have ended
	as("sweep", func() error { return x.Sweep(t.Context()) })
	as("repair", func() error { return x.Repair(t.Context()) })
	as("inspect", func() error { return x.Inspect(t.Context(), []dnsname.Name{named("dyn.example.org")}) })
	as("adopt", func() error {
		_, err := x.store.Adopt(t.Context())
		return err
	})
	if !used["DeleteItem #cred#"] || !used["PutItem #cred#"] {
		t.Errorf("used were %v", used)
	}
}
