package sqlite

import (
	"database/sql/driver"
	"errors"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// richHost has every column filled.
func richHost() *ddns.Host {
	n := dnsname.MustParse("nas.dyn.example.org")
	rule, _ := ddns.ParseAddressRule("192.0.2.0/24,2001:db8::/32")
	return &ddns.Host{
		Name: n, Zone: dnsname.MustParse("dyn.example.org"), TTL: 300, Addresses: rule, Free: true, SeedOff: true, Wildcard: true, Lease: 36 * time.Hour,
		A: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, AAAA: []netip.Addr{netip.MustParseAddr("2001:db8::1")},
		Prefix:    netip.MustParsePrefix("2001:db8:0:ff00::/56"),
		Followers: []ddns.Follower{{Name: dnsname.MustParse("tv.dyn.example.org"), Low: netip.MustParseAddr("::1234"), AAAA: true}},
		TXT:       []ddns.TXT{{Value: "challenge", Credential: "k7m2qx4p", Time: day}}, Generation: 7, Published: 6,
		Shown:   []ddns.RRset{{Owner: n, Type: ddns.TypeA, TTL: 60, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.9")}}},
		Created: day, ChangedAt: day.Add(time.Hour), ChangedBy: "k7m2qx4p", Seen: day.Add(2 * time.Hour), Busy: day.Add(time.Minute), Refusals: 5,
		Credentials: []string{"k7m2qx4p", "aaaaaaaa"},
	}
}

func richCredential() *ddns.Credential {
	return &ddns.Credential{ID: "k7m2qx4p", Kind: ddns.KindTSIG, Algorithm: "hmac-sha256", Verifier: []byte{1, 2}, Sealed: []byte{3}, Fingerprint: []byte{4, 5},
		Grants:   []ddns.Grant{{Host: dnsname.MustParse("nas.dyn.example.org"), Types: []ddns.Type{ddns.TypeA}, URLToken: true}},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Rate:     5, Created: day, Expires: day.Add(time.Hour), State: ddns.Active, Mark: 1770000000, Label: "router"}
}

// flip calls check with each row that differs from this one in one bit.
func flip(row []driver.Value, check func(column, bit int, row []driver.Value)) {
	for i, value := range row {
		bits := 64
		switch v := value.(type) {
		case string:
			bits = 8 * len(v)
		case []byte:
			bits = 8 * len(v)
		case nil:
			continue
		}
		for bit := range bits {
			other := slices.Clone(row)
			switch v := value.(type) {
			case int64:
				other[i] = v ^ 1<<bit
			case string:
				b := []byte(v)
				b[bit/8] ^= 1 << (bit % 8)
				other[i] = string(b)
			case []byte:
				b := slices.Clone(v)
				b[bit/8] ^= 1 << (bit % 8)
				other[i] = b
			}
			check(i, bit, other)
		}
	}
}

func TestEveryFlippedBitOfAHost(t *testing.T) {
	want := richHost()
	dns, state, err := encodeHost(want, 5)
	if err != nil {
		t.Fatal(err)
	}
	row := []driver.Value{int64(1), dns, state}
	if got, err := decodeRow(row); err != nil || got.applied != 5 || !reflect.DeepEqual(got.host, want) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
	damaged := 0
	flip(row[1:], func(column, bit int, columns []driver.Value) {
		got, err := decodeRow(append([]driver.Value{int64(1)}, columns...))
		if _, ok := errors.AsType[*DamagedError](err); ok {
			damaged++
			return
		}
		if err != nil || got.applied != 5 || !reflect.DeepEqual(got.host, want) {
			t.Errorf("column %d, bit %d: read as %+v, %v", column, bit, got.host, err)
		}
	})
	if damaged < 1000 {
		t.Errorf("%d flipped bits were noticed", damaged)
	}
}

func TestEveryFlippedBitOfACredential(t *testing.T) {
	want := richCredential()
	row, err := credentialValues(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeCredential(row); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
	flip(row, func(column, bit int, row []driver.Value) {
		got, err := decodeCredential(row)
		if _, ok := errors.AsType[*DamagedError](err); !ok && (err != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("column %d, bit %d: read as %+v, %v", column, bit, got, err)
		}
	})
}

func FuzzHostRow(f *testing.F) {
	dns, state, err := encodeHost(richHost(), 7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(dns, state)
	f.Add(`["NAS.Example.ORG.","xn--",-1,"suspended suspended","192.0.2.1%eth0 ::ffff:10.0.0.1",-9223372036854775808,0,{}]`, `[-1,-1,"",0,0,0,0,"any",0," ",0,0,[]]`)
	f.Add(`["\\046",".",1,"removed"," ",1,1,{"txt":[{"time":"0000-01-01T00:00:00Z"}]}]`, `[1,1,"\u0000",1,1,1,1,"10.0.0.0/8,",1,"",1,1,[{"owner":"","type":0}]]`)
	f.Fuzz(func(t *testing.T, dns, state string) {
		h := new(ddns.Host)
		var s summer
		if _, err := decodeDNS(h, dns, new(zoneMemo), &s); err != nil && err != errSum {
			return
		}
		applied, err := decodeState(h, state, 0, &s)
		if err != nil && err != errSum {
			return
		}
		// What was read, written and read again is the same.
		dns, state, err = encodeHost(h, applied)
		if err != nil {
			return // JSON of names or times beyond what JSON can say
		}
		again, appliedAgain, err := decodeHost(dns, state)
		if err != nil {
			t.Fatalf("written and read: %v\n%s\n%s", err, dns, state)
		}
		dnsAgain, stateAgain, err := encodeHost(again, appliedAgain)
		if err != nil || dnsAgain != dns || stateAgain != state {
			t.Fatalf("%s %s became %s %s, %v", dns, state, dnsAgain, stateAgain, err)
		}
	})
}

func FuzzCredentialRow(f *testing.F) {
	f.Add("k7m2qx4p", "token", `[{"host":"nas.example.org"}]`, "192.0.2.0/24 2001:db8::/32", []byte{1}, int64(1), int64(0))
	f.Add("", "", `null`, "0.0.0.0/0  ", []byte{}, int64(-1), int64(1)<<62)
	f.Fuzz(func(t *testing.T, id, kind, grants, networks string, blob []byte, n, sum int64) {
		row := []driver.Value{id, kind, "", "active", blob, blob, blob, grants, networks, n, n, n, n, "", sum}
		c, err := decodeCredential(row)
		if err != nil {
			if _, ok := errors.AsType[*DamagedError](err); !ok {
				t.Fatalf("%v is no DamagedError", err)
			}
			return
		}
		if c.ID != id {
			t.Fatal("another ID")
		}
	})
}

func FuzzEvents(f *testing.F) {
	e := ddns.Event{Time: day, Generation: 3, Outcome: "changed", Door: "seed", Credential: "k7m2qx4p", Source: netip.MustParseAddr("192.0.2.1"), Proven: true,
		What: "a \"b\" ü\x00", Before: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}
	f.Add(string(appendEvent(appendEvent(nil, &e, 0), &ddns.Event{Outcome: "not-source"}, 9)))
	f.Add(",[]")
	f.Add(`,[1,2,"","","","",0,"",""],[1,2,"","","","",0,"","",null,null]   `)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := decodeEvents(text)
		if err != nil {
			return
		}
		var again []byte
		for i := range list {
			again = appendEvent(again, &list[i].Event, list[i].count)
		}
		same, err := decodeEvents(string(again))
		if err != nil {
			t.Fatalf("%q: %v", again, err)
		}
		if len(same) != len(list) {
			t.Fatalf("%d events became %d", len(list), len(same))
		}
		for i := range list {
			if !reflect.DeepEqual(list[i], same[i]) {
				t.Fatalf("%+v became %+v", list[i], same[i])
			}
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("SQLite format 3\x00" + strings.Repeat("\x10\x00", 50)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err == nil && (h.pageSize < 512 || h.pageSize > 65536) {
			t.Fatalf("page size %d", h.pageSize)
		}
	})
}

func FuzzSealed(f *testing.F) {
	k, err := newSealKey(make([]byte, keySize))
	if err != nil {
		f.Fatal(err)
	}
	s := &sealer{current: k, keys: map[[keyIDSize]byte]*sealKey{k.id: k}, random: strings.NewReader(strings.Repeat("n", nonceSize))}
	host := dnsname.MustParse("nas.example.org")
	sealed, err := s.seal(host, "k7m2qx4p", ddns.NewSecret("open sesame"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{sealVersion})
	f.Add(sealed[:sealHeader])
	f.Fuzz(func(t *testing.T, b []byte) {
		secret, err := s.open(host, "k7m2qx4p", b)
		if err == nil && (string(b) != string(sealed) || secret.Reveal() != "open sesame") {
			t.Fatalf("%x opens", b)
		}
	})
}

// TestMigration takes a database of an older format forward, and fails on the way.
func TestMigration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "godwit.db")
	cfg := Config{}.withDefaults()
	if _, err := openDatabase(file, cfg, steps[:1]); err != nil {
		t.Fatal(err)
	}
	with := func(do func(c *conn)) {
		t.Helper()
		c, err := openConn(file, 1<<10, false)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		do(c)
	}
	with(func(c *conn) {
		if err := insertHost(c, &entry{host: richHost(), chunks: noChunks}); err != nil {
			t.Fatal(err)
		}
	})
	broken := errors.New("power cut")
	fails := true
	later := append(slices.Clone(steps[:1]),
		step{2, func(c *conn) error { return c.exec("alter table hosts add column colour text; create table extra (x)") }},
		step{3, func(c *conn) error {
			err := c.exec("update hosts set colour = 'green'; drop table extra")
			if fails && err == nil {
				err = broken
			}
			return err
		}})
	with(func(c *conn) {
		if err := migrate(c, later); !errors.Is(err, broken) {
			t.Fatalf("a failing step: %v", err)
		}
		if _, format, _, err := version(c); err != nil || format != 2 {
			t.Fatalf("format %d after step 3 failed, %v", format, err)
		}
		if n, _, err := c.queryInt("select count(*) from extra"); err != nil || n != 0 {
			t.Fatalf("step 3 was half done: %v", err)
		}
	})
	fails = false
	with(func(c *conn) {
		for range 2 { // the second time there is nothing to do
			if err := migrate(c, later); err != nil {
				t.Fatal(err)
			}
		}
		if _, format, _, err := version(c); err != nil || format != 3 {
			t.Fatalf("format %d, %v", format, err)
		}
		if colour, _, err := c.queryText("select colour from hosts"); err != nil || colour != "green" {
			t.Fatalf("colour %q, %v", colour, err)
		}
		err := c.query("select "+hostColumns+" from hosts", func(row []driver.Value) error {
			e, err := decodeRow(row)
			if err == nil && !reflect.DeepEqual(e.host, richHost()) {
				t.Errorf("the host became %+v", e.host)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzPendingRow(f *testing.F) {
	dns, state, err := encodeHost(richHost(), 7)
	if err != nil {
		f.Fatal(err)
	}
	event := appendEvent(nil, &ddns.Event{Time: day, Generation: 3, Outcome: "changed", Door: "seed"}, 0)
	f.Add(`{"hosts":[[1,` + dns + `,` + state + string(event) + `]],"zones":[["dyn.example.org",1772366400]]}`)
	f.Add(`{"hosts":[[1,` + dns + `,` + state + string(event) + `,{"k7m2qx4p":1770000000},{"":1e3}]],"zones":[]}`)
	f.Add(`{"hosts":[[1,[],[]]],"zones":[[]]}`)
	f.Add(`{"hosts":[null,{}],"zones":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		_, r, err := decodePending([]driver.Value{int64(1), sumPending(1, []byte(text)), text})
		if err != nil {
			if _, ok := errors.AsType[*DamagedError](err); !ok {
				t.Fatalf("%v is no DamagedError", err)
			}
			return
		}
		for _, i := range r.Hosts {
			if i.host == nil {
				t.Fatal("an item without its host")
			}
			for _, c := range i.changes {
				if list, err := decodeEvents(c.text); err != nil || len(list) != 1 || list[0].Generation != c.generation {
					t.Fatalf("change %q: %v, %v", c.text, list, err)
				}
			}
		}
		if _, _, err := decodePending([]driver.Value{int64(2), sumPending(1, []byte(text)), text}); err == nil {
			t.Fatal("a row is read under another number")
		}
	})
}
