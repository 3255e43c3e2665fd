//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"codeberg.org/miekg/dns"

	"godwit/internal/api"
	"godwit/internal/awstest"
)

// behind is a router with fifty names behind it, whose interface IDs are given in
// all three ways. Every other one shows the router's IPv4 address too.
const (
	behind = 50
	router = "box." + zone
)

// prefixes are what the provider delegates, one after the other.
var prefixes = []string{"2001:db8:1:aa00::/56", "2001:db8:2:bb00::/56"}

func followerName(i int) string { return fmt.Sprintf("f%d.%s", i, zone) }

// addRouter are the arguments that add it, with --source free because IPv4
// address and prefix come in one request.
func addRouter() []string {
	args := []string{"host", "add", router, "--addresses", "any", "--source", "free"}
	for i := range behind {
		id := [3]string{fmt.Sprintf("::%x", i+1), fmt.Sprintf("0:0:0:%x::1/56", i+1), fmt.Sprintf("02:00:5e:10:00:%02x", i)}[i%3]
		if i%2 == 0 {
			id += ",a"
		}
		args = append(args, "--follower", followerName(i)+"="+id)
	}
	return args
}

// wantBehind are the addresses of all names below a prefix, in text that no code
// of ours has made.
func wantBehind(prefix, v4, v6 string) map[string][2]string {
	want := map[string][2]string{router: {v4, v6}}
	subnets := strings.TrimSuffix(prefix, "00::/56")
	for i := range behind {
		addr := [2]string{"", [3]string{fmt.Sprintf("%s00::%x", subnets, i+1), fmt.Sprintf("%s%02x::1", subnets, i+1), fmt.Sprintf("%s00:0:5eff:fe10:%x", subnets, i)}[i%3]}
		if i%2 == 0 {
			addr[0] = v4
		}
		want[followerName(i)] = addr
	}
	return want
}

// moves are one request each that moves the router and all behind it: by our own
// door, and as a FRITZ!Box sends it.
func moves(token string) []func(prefix, v4, v6 string) awstest.URLRequest {
	return []func(prefix, v4, v6 string) awstest.URLRequest{
		func(prefix, v4, v6 string) awstest.URLRequest {
			return awstest.URLRequest{Method: "PUT", Path: api.HostPath + router + api.AddressesPath, Source: home1,
				Body:   fmt.Sprintf(`{"a":[%q],"aaaa":[%q],"prefix":%q}`, v4, v6, prefix),
				Header: map[string]string{"authorization": "Bearer " + token, "content-type": "application/json"}}
		},
		func(prefix, v4, v6 string) awstest.URLRequest {
			return awstest.URLRequest{Method: "GET", Path: "/nic/update", Source: home1,
				Query:  "hostname=" + router + "&myip=" + v4 + "," + v6 + "&ip6lanprefix=" + prefix,
				Header: map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(router+":"+token)), "user-agent": "Fritz!Box DDNS/1.0.1"}}
		},
	}
}

// TestFollowers: the provider delegates another prefix. One request moves fifty
// names and the router's own, in one generation with one event and one serial.
func TestFollowers(t *testing.T) {
	d := serve(t, launch{})
	var made api.Created
	if err := json.Unmarshal([]byte(d.mustGodwit(t, append(addRouter(), "--json")...)), &made); err != nil {
		t.Fatal(err)
	}
	c, err := d.admin()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res, err := newResolver(d.ports.dns)
	if err != nil {
		t.Fatal(err)
	}
	defer res.close()
	state := func() (h api.HostState, events int, serial uint32) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		h, err := c.ShowHost(ctx, router)
		if err != nil {
			t.Fatal(err)
		}
		history, err := c.History(ctx, router)
		if err != nil {
			t.Fatal(err)
		}
		if serial, err = res.serial(zone); err != nil {
			t.Fatal(err)
		}
		return h, len(history.Events), serial
	}
	for i, move := range moves(made.Token) {
		v4, v6 := fmt.Sprintf("198.51.100.%d", i+1), fmt.Sprintf("2001:db8::%d", i+1)
		before, events, serial := state()
		for again := range 2 { // the second time it is no news
			q := move(prefixes[i], v4, v6)
			word := [2][2]string{{`"outcome":"changed"`, "good "}, {`"outcome":"unchanged"`, "nochg "}}[again][i]
			if answer := d.send(t, q); !strings.Contains(answer, word) {
				t.Fatalf("%s %s: %s, want %s", q.Method, q.Path, answer, word)
			}
			after, now, shown := state()
			if after.Generation != before.Generation+1 || now != events+1 || after.Prefix.String() != prefixes[i] {
				t.Errorf("generation %d to %d, %d events to %d, prefix %s", before.Generation, after.Generation, events, now, after.Prefix)
			}
			if again == 0 && shown == serial || again == 1 && shown != serial {
				t.Errorf("request %d: the serial went from %d to %d", again+1, serial, shown)
			}
			serial = shown
		}
		for name, want := range wantBehind(prefixes[i], v4, v6) {
			for family, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				if got := answerOf(t, res, name, qtype); got != want[family] {
					t.Errorf("DNS has %q at %s %s, want %q", got, name, dns.TypeToString[qtype], want[family])
				}
			}
		}
	}
}

// send makes a request of a Function URL one of the daemon's, and returns its
// answer's body.
func (d *daemon) send(t *testing.T, q awstest.URLRequest) string {
	t.Helper()
	url := strings.TrimSuffix(d.url(), "/") + q.Path
	if q.Query != "" {
		url += "?" + q.Query
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, q.Method, url, strings.NewReader(q.Body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range q.Header {
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s, %v", q.Method, q.Path, answer.StatusCode, body, err)
	}
	return string(bytes.TrimSpace(body))
}

// answerOf is the addresses in an answer of one type, space between them.
func answerOf(t *testing.T, res *resolver, name string, qtype uint16) string {
	t.Helper()
	m, err := res.ask(name, qtype)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			list = append(list, rr.Addr.String())
		case *dns.AAAA:
			list = append(list, rr.Addr.String())
		}
	}
	return strings.Join(list, " ")
}

// TestLambdaFollowers is the same at the function: one change batch at Route 53.
func TestLambdaFollowers(t *testing.T) {
	s := deploy(t, awstest.StartMoto(t), nil)
	var made api.Created
	s.must(&made, "", addRouter()...)
	for i, move := range moves(made.Token) {
		v4, v6 := fmt.Sprintf("198.51.100.%d", i+1), fmt.Sprintf("2001:db8::%d", i+1)
		var before, after api.HostState
		s.must(&before, "", "host", "show", router)
		batches, commits, all := s.DNS.Count("ChangeResourceRecordSets"), len(s.DNS.Commits()), s.DNS.Count()
		q := move(prefixes[i], v4, v6)
		if a := ask(t, s.function, q); a.StatusCode != 200 || !strings.Contains(a.Body, "good ") && !strings.Contains(a.Body, `"outcome":"changed"`) {
			t.Fatalf("%s %s: %d %s", q.Method, q.Path, a.StatusCode, a.Body)
		}
		if n, c, calls := s.DNS.Count("ChangeResourceRecordSets")-batches, len(s.DNS.Commits())-commits, s.DNS.Count()-all; n != 1 || c != 1 || calls != 1 {
			t.Errorf("%d change batches, %d of them done, in %d calls of Route 53", n, c, calls)
		}
		for name, want := range wantBehind(prefixes[i], v4, v6) {
			for family, rrtype := range []string{"A", "AAAA"} {
				if set, _ := s.DNS.Set(s.zone, name, rrtype); strings.Join(set.Values, " ") != want[family] {
					t.Errorf("Route 53 has %q at %s %s, want %q", set.Values, name, rrtype, want[family])
				}
			}
		}
		s.must(&after, "", "host", "show", router)
		if after.Generation != before.Generation+1 || after.Published != after.Generation {
			t.Errorf("generation %d to %d, published %d", before.Generation, after.Generation, after.Published)
		}
	}
	var tv api.HostState
	s.must(&tv, "", "host", "show", followerName(1))
	if tv.Router != router || fmt.Sprint(tv.AAAA) != "[2001:db8:2:bb02::1]" {
		t.Errorf("a follower: %+v", tv)
	}
	s.must(nil, "", "host", "remove", router, "--yes")
	if left := s.DNS.Sets(s.zone); len(left) != 2 { // the apex's own
		t.Errorf("the router is removed, and Route 53 has %v", left)
	}
}
