package sqlite

import (
	"strings"
	"testing"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// TestCacheIsBounded fills a small cache and looks at what it holds.
func TestCacheIsBounded(t *testing.T) {
	const limit = 256 << 10
	c := newCache(limit)
	held := func() (bytes, hosts int) {
		for i := range c.shards {
			s := &c.shards[i]
			bytes += s.bytes
			hosts += len(s.hosts)
			if len(s.hosts) != len(s.ring) {
				t.Fatalf("%d hosts, %d in the ring", len(s.hosts), len(s.ring))
			}
		}
		return bytes, hosts
	}
	name := func(i int) dnsname.Name {
		n, err := dnsname.MustParse("example.org").Child(string(rune('a'+i%26)) + strings.Repeat("x", i/26%50) + string(rune('a'+i/1300)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 5000 {
		h := richHost()
		h.Name = name(i)
		_, since := c.get(h.Name)
		c.put(h.Name, &entry{host: h, complete: true}, since)
		c.get(name(0)) // asked for all the time
	}
	bytes, hosts := held()
	if bytes > limit || hosts < 50 {
		t.Errorf("%d bytes, %d hosts are held; the limit is %d", bytes, hosts, limit)
	}
	if e, _ := c.get(name(0)); e == nil {
		t.Error("what was asked for all the time has gone")
	}
	// What a reader read before a commit is not put after it.
	h := richHost()
	_, since := c.get(h.Name)
	written := map[dnsname.Name]*entry{h.Name: {host: h, gone: true}}
	c.begin(written)
	c.put(h.Name, &entry{host: h}, since)
	_, during := c.get(h.Name)
	c.put(h.Name, &entry{host: h}, during)
	c.end(true)
	c.put(h.Name, &entry{host: h}, since)
	c.put(h.Name, &entry{host: h}, during)
	if e, _ := c.get(h.Name); e != nil {
		t.Error("a state from before a commit was put after it")
	}
	none := newCache(0)
	_, since = none.get(h.Name)
	none.put(h.Name, &entry{host: h}, since)
	if e, _ := none.get(h.Name); e != nil {
		t.Error("a cache of nothing holds something")
	}
}

// TestReadBeforeASharedCredentialChanged has somebody read a host that is in no
// cache, while another host's save changes a credential of both.
func TestReadBeforeASharedCredentialChanged(t *testing.T) {
	s, err := Open(t.TempDir(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, b := dnsname.MustParse("a.dyn.example.org"), dnsname.MustParse("b.dyn.example.org")
	key, _ := ddns.NewToken(a, day)
	key.Grants = append(key.Grants, ddns.Grant{Host: b})
	host := func(n dnsname.Name) *ddns.Host {
		return &ddns.Host{Name: n, Zone: dnsname.MustParse("dyn.example.org"), TTL: 60, Generation: 1, Published: 1, Credentials: []string{key.ID}}
	}
	if err := s.Save(t.Context(), ddns.Write{Host: host(a), Credentials: []*ddns.Credential{key}}, ddns.Write{Host: host(b)}); err != nil {
		t.Fatal(err)
	}
	s.cache = newCache(1 << 20)
	_, since := s.cache.get(b)
	old := &entry{host: host(b), creds: []*ddns.Credential{key}, complete: true}
	before, _, err := s.Host(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	after := before.Clone()
	after.Generation, after.Published, after.Credentials = 2, 2, nil
	if err := s.Save(t.Context(), ddns.Write{Before: before, Host: after, Revoked: []string{key.ID}}); err != nil {
		t.Fatal(err)
	}
	s.cache.put(b, old, since)
	_, list, err := s.Host(t.Context(), b)
	if err != nil || len(list) != 0 {
		t.Errorf("a revoked credential is still read: %v, %v", list, err)
	}
}
