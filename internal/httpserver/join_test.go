package httpserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

func withLocal(ctx context.Context, at string) context.Context {
	return context.WithValue(ctx, http.LocalAddrContextKey, net.Addr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at))))
}

func joinBody(code, key string) string { return `{"code":"` + code + `","public_key":"` + key + `"}` }

// A code becomes one key, in any spelling, once.
func TestJoin(t *testing.T) {
	o := newOver(t)
	made, err := o.service.AddJoin(t.Context(), dnsname.MustParse(host1), anyAddress())
	if err != nil {
		t.Fatal(err)
	}
	code, key, other := made.Code.Reveal(), newKey("device"), newKey("other")
	post := func(code, key string) *httptest.ResponseRecorder {
		t.Helper()
		w := o.send("POST", "/v1/join", home, joinBody(code, key))
		rules(t, w.Result())
		o.valid("POST /v1/join", o.doc.Paths.Find("/v1/join").Post, w)
		return w
	}
	plain := strings.ReplaceAll(code, "-", "")
	for _, bad := range []string{"", plain[1:], plain + "a", "0" + plain[1:], plain[:4] + "-" + plain[4:], code + "-", strings.ReplaceAll(code, "-", " ")} {
		wantProblem(t, post(bad, textOf(key)), 400, "malformed")
	}
	for _, bad := range []string{"", textOf(key)[4:], "!" + textOf(key)[1:]} {
		wantProblem(t, post(code, bad), 400, "malformed")
	}
	joinedAs := fmt.Sprintf(`{"host":"host1.dyn.example.com","credential":"%s","now":%d}`+"\n", made.Credential.ID, o.now.Now().Unix())
	want(t, post(strings.ToUpper(plain), textOf(key)), 201, joinedAs)
	want(t, post(code, textOf(key)), 200, joinedAs) // the first answer may have been lost
	used := post(code, textOf(other))
	if h, cs, err := o.service.Show(t.Context(), dnsname.MustParse(host1)); err != nil || h.Generation != 2 || len(cs) != 1 || cs[0].Kind != ddns.KindEd25519 || string(cs[0].Verifier) != string(public(key)) || !h.Ends.IsZero() {
		t.Errorf("host %+v, credentials %+v, %v", h, cs, err)
	}
	d := device{o.rig, host1, made.Credential.ID, key}
	if w := d.put(home, "{}", 0); w.Code != 200 { // in the second of joining
		t.Errorf("the first update: %d %s", w.Code, w.Body)
	}
	// Unknown, used and expired codes are one to a stranger.
	unknown := post("aaaa-bbbb-cccc-dddd", textOf(key))
	more, err := o.service.AddToken(t.Context(), dnsname.MustParse(host1), ddns.TokenSpec{Join: true})
	if err != nil {
		t.Fatal(err)
	}
	o.now.Move(ddns.CodeLife)
	expired := post(more.Code.Reveal(), textOf(key))
	for name, w := range map[string]*httptest.ResponseRecorder{"used": used, "expired": expired, "unknown": unknown} {
		wantProblem(t, w, 401, "bad-proof")
		if w.Body.String() != unknown.Body.String() || line(w.Header()) != line(unknown.Header()) {
			t.Errorf("%s: %v %s", name, w.Header(), w.Body)
		}
	}
	if err := o.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h, cs, err := o.service.Show(t.Context(), dnsname.MustParse(host1)); err != nil || len(cs) != 1 || len(h.Credentials) != 1 || !h.Ends.IsZero() {
		t.Errorf("the expired code is still there: %+v, %+v, %v", h, cs, err)
	}
	// The key goes on.
	o.now.Move(time.Minute)
	if w := d.put("10.0.0.1", "{}", 0); w.Code != 200 {
		t.Errorf("after the sweep: %d %s", w.Code, w.Body)
	}
	for what, secret := range map[string]string{"code": code, "plain code": plain, "private key": string(key.Seed())} {
		if strings.Contains(strings.ToLower(o.log.String()), secret) {
			t.Errorf("the %s is in the log", what)
		}
	}
	// A suspended host takes nobody in, and says so to who has the code.
	more, err = o.service.AddToken(t.Context(), dnsname.MustParse(host1), ddns.TokenSpec{Join: true})
	if err == nil {
		_, err = o.service.Set(t.Context(), dnsname.MustParse(host1), ddns.Settings{Suspended: on()})
	}
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, post(more.Code.Reveal(), textOf(key)), 403, "suspended")
}

// Of a hundred that come with one code at once, one key wins.
func TestJoinRace(t *testing.T) {
	r := newRig(t)
	made, err := r.service.AddJoin(t.Context(), dnsname.MustParse(host1), anyAddress())
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	codes := make([]int, 100)
	for i := range codes {
		group.Go(func() {
			codes[i] = r.send("POST", "/v1/join", home, joinBody(made.Code.Reveal(), textOf(newKey(fmt.Sprint(i))))).Code
		})
	}
	group.Wait()
	won := -1
	for i, code := range codes {
		switch {
		case code == 201 && won < 0:
			won = i
		case code != 401:
			t.Errorf("%d got %d", i, code)
		}
	}
	_, cs, err := r.service.Show(t.Context(), dnsname.MustParse(host1))
	if won < 0 || err != nil || len(cs) != 1 || string(cs[0].Verifier) != string(public(newKey(fmt.Sprint(won)))) {
		t.Errorf("%d won, and the host has %+v, %v", won, cs, err)
	}
}

// Guesses are limited by their source, and a right code is taken all the same.
func TestJoinGuesses(t *testing.T) {
	r := newRig(t, func(c *ddns.Config, _ *httpserver.Config) { c.Limits = ddns.DefaultLimits() })
	made, err := r.service.AddJoin(t.Context(), dnsname.MustParse(host1), anyAddress())
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int]int{}
	for i := range 60 {
		counts[r.send("POST", "/v1/join", home, joinBody(fmt.Sprintf("aaaabbbbccccdd%c%c", 'a'+i%26, 'a'+i/26), textOf(newKey("x")))).Code]++
	}
	if counts[401] != 20 || counts[429] != 40 {
		t.Errorf("60 guesses: %v", counts)
	}
	if w := r.send("POST", "/v1/join", home, joinBody(made.Code.Reveal(), textOf(newKey("x")))); w.Code != 201 {
		t.Errorf("the right code: %d %s", w.Code, w.Body)
	}
}

// A key introduces the next, goes on for a day, and introduces no other.
func TestReplaceKey(t *testing.T) {
	o := newOver(t)
	d := o.join(host1, anyAddress())
	post := func(d device, key string, off time.Duration) *httptest.ResponseRecorder {
		t.Helper()
		w := d.answer(d.signed("POST", d.path()+"/key", home, `{"public_key":"`+key+`"}`, off))
		o.valid("POST /v1/hosts/{name}/key", o.doc.Paths.Find("/v1/hosts/{name}/key").Post, w)
		return w
	}
	key, other := newKey("next"), newKey("other")
	first := post(d, textOf(key), 0)
	var in api.Joined
	if json.Unmarshal(first.Body.Bytes(), &in) != nil || first.Code != 201 || in.Host != host1 || in.Credential == d.id {
		t.Fatalf("%d %s", first.Code, first.Body)
	}
	next := device{o.rig, host1, in.Credential, key}
	wantProblem(t, post(d, textOf(key), 0), 409, "replayed")
	o.now.Move(time.Minute)
	if again := post(d, textOf(key), 0); again.Code != 200 || !strings.Contains(again.Body.String(), in.Credential) {
		t.Errorf("the same key again: %d %s", again.Code, again.Body)
	}
	wantProblem(t, post(d, textOf(other), 0), 403, "not-yours")
	wantProblem(t, post(d, textOf(other)[4:], 0), 400, "malformed")
	for _, who := range []device{next, d} {
		if w := who.put(home, "{}", 0); w.Code != 200 {
			t.Errorf("%s in the overlap: %d %s", who.id, w.Code, w.Body)
		}
		o.now.Move(time.Minute)
	}
	token, err := o.service.AddToken(t.Context(), dnsname.MustParse(host1), ddns.TokenSpec{})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("POST", d.path()+"/key", strings.NewReader(`{"public_key":"`+textOf(other)+`"}`))
	req.Header.Set("Authorization", "Bearer "+token.Token.Reveal())
	wantProblem(t, o.answer(req.WithContext(withLocal(t.Context(), "127.0.0.1:80"))), 403, "not-yours")

	o.now.Move(ddns.KeyOverlap)
	wantProblem(t, d.put("10.0.0.1", "{}", 0), 401, "bad-proof")
	if err := o.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h := o.show(host1); len(h.Credentials) != 2 || !h.Ends.IsZero() {
		t.Errorf("after the sweep: %+v", h)
	}
	o.now.Move(time.Minute)
	if w := next.put("10.0.0.1", "{}", 0); w.Code != 200 {
		t.Errorf("the new key: %d %s", w.Code, w.Body)
	}
	// Revoked is as unknown.
	if _, err := o.service.RevokeToken(t.Context(), dnsname.MustParse(host1), next.id); err != nil {
		t.Fatal(err)
	}
	o.now.Move(time.Minute)
	wantProblem(t, next.put("10.0.0.2", "{}", 0), 401, "bad-proof")
}
