package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/doctor"
)

// TestKeysNotStored: a store that fails is told as that, and not as a refusal of the keys'.
func TestKeysNotStored(t *testing.T) {
	d, _ := start(t, "--dnssec=dyn.example.com", "--dnssec-resolver=127.0.0.9:9")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that nothing is written
	_, err := d.changeKeys(ctx, dnsname.MustParse("dyn.example.com"), "roll")
	if r, ok := errors.AsType[*ddns.Refusal](err); !ok || r.Code != ddns.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	_, err = d.changeKeys(t.Context(), dnsname.MustParse("example.net"), "roll")
	if r, ok := errors.AsType[*ddns.Refusal](err); !ok || r.Code != ddns.ConditionFailed || !strings.Contains(r.Fix, "--dnssec example.net") {
		t.Errorf("%v", err)
	}
}

// TestParentIsAskedFor: the daemon asks the resolver that it was told.
func TestParentIsAskedFor(t *testing.T) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start(t, "--dnssec=dyn.example.com", "--dnssec-resolver="+conn.LocalAddr().String())
	room := make([]byte, 4096)
	n, from, err := conn.ReadFromUDPAddrPort(room)
	if err != nil {
		t.Fatal(err)
	}
	q := &dns.Msg{Data: room[:n]}
	if err := q.Unpack(); err != nil || len(q.Question) != 1 || q.Question[0].Header().Name != "example.com." || dns.RRToType(q.Question[0]) != dns.TypeSOA {
		t.Errorf("%v, %v", q, err)
	}
	room[2], room[3] = 0x80, 5 // REFUSED, so that it need not wait
	_, _ = conn.WriteToUDPAddrPort(room[:n], from)
}

const (
	oneDS   = "11111 13 2 0000000000000000000000000000000000000000000000000000000000000001"
	otherDS = "22222 13 2 0000000000000000000000000000000000000000000000000000000000000002"
	lowerDS = "33333 13 2 00000000000000000000000000000000000000000000000000000000000000ab"
)

// TestZoneCheck: what a parent may have for DS records, and what is said of it.
func TestZoneCheck(t *testing.T) {
	signed := func(ds ...string) *api.ZoneKeys {
		return &api.ZoneKeys{DS: ds, Keys: []api.ZoneKey{{Tag: 11111, State: "signing"}, {Tag: 33333, State: "published"}}, Next: "nothing"}
	}
	leaving := signed()
	leaving.Leaving = true
	for _, c := range []struct {
		name, parent string
		keys         *api.ZoneKeys
		state        doctor.State
		what, do     string
	}{
		{"absent, not signed", "", nil, doctor.Right, "the zone is not signed, and the parent zone example.com has no DS record", ""},
		{"there, not signed", "dyn DS " + oneDS + "\n", nil, doctor.Wrong, "refuse all names", "take the DS records of dyn.example.com out of example.com"},
		{"absent, too early", "", signed(), doctor.Right, "it is too early", ""},
		{"there, too early", "dyn DS " + oneDS + "\n", signed(), doctor.Note, "already, and it is too early", ""},
		{"absent", "", signed(oneDS), doctor.Wrong, "has no DS record, so nobody checks", "godwit zone ds dyn.example.com"},
		{"right", "dyn DS " + oneDS + "\n", signed(oneDS), doctor.Right, "has " + oneDS, ""},
		{"right, in lower case", "dyn DS " + lowerDS + "\n", signed(strings.ToUpper(lowerDS)), doctor.Right, "AB", ""},
		{"of no key", "dyn DS " + otherDS + "\n", signed(oneDS), doctor.Wrong, "are of none of the zone's keys", "godwit zone ds dyn.example.com"},
		{"one too many", "dyn DS " + oneDS + "\ndyn DS " + otherDS + "\n", signed(oneDS), doctor.Wrong, "is to have " + oneDS + ", and has " + oneDS + ", " + otherDS, "and no others"},
		{"still the other key's", "dyn DS " + oneDS + "\n", signed(strings.ToUpper(lowerDS)), doctor.Wrong, "is to have 33333", "and no others"},
		{"still there, to be signed no more", "dyn DS " + oneDS + "\n", leaving, doctor.Wrong, "still has DS records", "Take the DS records"},
		{"gone, signed no more", "", leaving, doctor.Right, "has no DS record any more", ""},
		{"a server of the zone alone beside a right one", "@ NS lame\nlame A 127.0.0.1\ndyn DS " + oneDS + "\n", signed(oneDS), doctor.Right, "has " + oneDS, ""},
		{"a silent server beside a right one", "@ NS lame\nlame A 127.0.0.9\ndyn DS " + oneDS + "\n", signed(oneDS), doctor.Right, "has " + oneDS, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := plant(t, delegated+c.parent)
			f := tr.dsOf(c.keys)
			if f.State != c.state || !strings.Contains(f.What, c.what) || !strings.Contains(strings.Join(f.Do, "\n"), c.do) {
				t.Errorf("%+v", f)
			}
		})
	}
	t.Run("a server that refuses beside a right one", func(t *testing.T) {
		tr := plant(t, delegated+"@ NS lame\nlame A 127.0.0.3\ndyn DS "+oneDS+"\n")
		start(t, "--zone=example.net", "--dns=127.0.0.3:"+tr.port)
		if f := tr.dsOf(signed(oneDS)); f.State != doctor.Right {
			t.Errorf("%+v", f)
		}
	})
	t.Run("servers that do not agree", func(t *testing.T) {
		tr := plant(t, delegated+"@ NS ns3\nns3 A 127.0.0.3\ndyn DS "+oneDS+"\n")
		file := filepath.Join(t.TempDir(), "example.com.zone")
		if err := os.WriteFile(file, []byte(delegated), 0o600); err != nil {
			t.Fatal(err)
		}
		start(t, "--zone=example.com", "--zone-file=example.com="+file, "--ns=ns3.example.com=127.0.0.3", "--dns=127.0.0.3:"+tr.port)
		if f := tr.dsOf(signed(oneDS)); f.State != doctor.Note || !strings.Contains(f.What, "do not agree") {
			t.Errorf("%+v", f)
		}
	})
	t.Run("servers that do not answer", func(t *testing.T) {
		tr := plant(t, delegated)
		c := tr.config()
		c.Port = 9 // where nobody listens
		if _, err := doctor.AskParentDS(t.Context(), c, dnsname.MustParse("dyn.example.com")); err == nil || err.Error() != "no name server of example.com answers" {
			t.Errorf("%v", err)
		}
	})
	t.Run("the command", func(t *testing.T) {
		tr := plant(t, delegated, "--dnssec=dyn.example.com", "--dnssec-resolver=127.0.0.9:9")
		r := call("", "zone", "check", "dyn.example.com", "--resolver", tr.resolver, "--dns-port", tr.port, "--json")
		var report doctor.Report
		if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 || !report.Right || !strings.Contains(r.stdout, "it is too early") {
			t.Errorf("%v: %+v", err, r)
		}
	})
}

func (tr *tree) config() doctor.Config {
	return doctor.Config{Resolver: netip.MustParseAddrPort(tr.resolver), Port: netip.MustParseAddrPort("127.0.0.1:" + tr.port).Port()}
}

// dsOf is what is said of the parent's DS records when the server has these keys.
func (tr *tree) dsOf(keys *api.ZoneKeys) doctor.Finding {
	r := doctor.ExamineZone(tr.t.Context(), tr.config(), api.Zone{Apex: "dyn.example.com", NameServers: []string{"ns1.dyn.example.com 127.0.0.1"}, DNSSEC: keys}, "")
	for _, f := range r.Findings {
		if f.Check == "DS" {
			return f
		}
	}
	tr.t.Errorf("nothing is said of DS records: %+v", r)
	return doctor.Finding{}
}
