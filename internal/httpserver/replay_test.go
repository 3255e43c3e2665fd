package httpserver_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/store/sqlite"
)

// capture is a request as somebody on its way has copied it.
type capture struct {
	what string
	req  *http.Request
	body string
	at   time.Time // when it was sent
}

// captured has the doors answer a request, and keeps it.
func (d device) captured(what string, wantStatus int, req *http.Request) capture {
	d.t.Helper()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	c := capture{what, req, string(body), d.now.Now()}
	if w := c.send(d.rig, ""); w.Code != wantStatus {
		d.t.Fatalf("%s: %d %s", what, w.Code, w.Body)
	}
	return c
}

// send sends it again, from another source unless that is "".
func (c capture) send(r *rig, source string) *httptest.ResponseRecorder {
	req := c.req.Clone(r.t.Context())
	req.Body = io.NopCloser(strings.NewReader(c.body))
	if source != "" {
		req.RemoteAddr = source
	}
	return r.answer(req)
}

// state is all that a replay could change.
func (r *rig) state(name string) string {
	r.t.Helper()
	h, cs, err := r.service.Show(r.t.Context(), dnsname.MustParse(name))
	if err != nil {
		r.t.Fatal(err)
	}
	out := fmt.Sprintf("%d %v %v %v %v %s %d", h.Generation, h.A, h.AAAA, h.Prefix, h.Credentials, h.ChangedBy, h.Refusals)
	for _, c := range cs {
		out += fmt.Sprintf(" [%s %s %x %d %s]", c.ID, c.Kind, c.Verifier, c.Mark, c.Expires)
	}
	return out
}

// Every captured request, sent again a thousand times, changes nothing: at once,
// after a restart, by another instance on the same store, at both edges of the
// window and beyond, with the clock a day off, and after somebody else's change.
func TestReplayCorpus(t *testing.T) {
	r := newRig(t)
	free := anyAddress()
	free.Free = on()
	d := r.join(host1, free)
	put := d.path() + "/addresses"
	var corpus []capture
	take := func(what string, status int, method, path, source, body string, off time.Duration) {
		t.Helper()
		corpus = append(corpus, d.captured(what, status, d.signed(method, path, source, body, off)))
		r.now.Move(time.Second)
	}
	take("auto, changed", 200, "PUT", put, "192.0.2.1", `{}`, 0)
	take("auto, unchanged", 200, "PUT", put, "192.0.2.1", `{}`, 0)
	take("named, changed", 200, "PUT", put, "192.0.2.1", `{"a":["192.0.2.2"]}`, 0)
	take("the next key", 201, "POST", d.path()+"/key", "192.0.2.1", `{"public_key":"`+textOf(newKey("next"))+`"}`, 0)
	r.now.Move(11 * time.Second)
	take("named, unchanged", 200, "PUT", put, "192.0.2.1", `{"a":["192.0.2.2"]}`, 0)
	take("named, unchanged, of the future", 200, "PUT", put, "192.0.2.1", `{"a":["192.0.2.2"]}`, 299*time.Second)
	code, err := r.service.AddToken(t.Context(), dnsname.MustParse(host1), ddns.TokenSpec{Join: true})
	if err != nil {
		t.Fatal(err)
	}
	corpus = append(corpus, d.captured("join", 201, httptest.NewRequest("POST", "/v1/join", strings.NewReader(joinBody(code.Code.Reveal(), textOf(newKey("third")))))))

	times := 1000
	if testing.Short() {
		times = 100
	}
	phases := []struct {
		what string
		do   func()
	}{
		{"at once", func() {}},
		{"another instance", r.start},
		{"after a restart", func() {
			if err := r.store.Close(); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.start()
		}},
		{"after another credential's change", func() {
			token, err := r.service.AddToken(t.Context(), dnsname.MustParse(host1), ddns.TokenSpec{})
			if err == nil {
				_, err = r.service.Update(t.Context(), ddns.Update{Host: dnsname.MustParse(host1), Proof: ddns.TokenProof{Token: token.Token},
					Source: ddns.SourceOf(netip.MustParseAddr("192.0.2.77"))})
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"after an operator's change", func() {
			ttl := uint32(77)
			if _, err := r.service.Set(t.Context(), dnsname.MustParse(host1), ddns.Settings{TTL: &ttl}); err != nil {
				t.Fatal(err)
			}
		}},
	}
	start := r.now.Now()
	for _, p := range phases {
		p.do()
		before := r.state(host1)
		for _, c := range corpus {
			for i := range times / len(phases) {
				// 300 s are the edges for what was signed in its time.
				at := []time.Time{start, c.at.Add(300 * time.Second), c.at.Add(-300 * time.Second), c.at.Add(301 * time.Second), c.at.Add(24 * time.Hour), c.at.Add(-24 * time.Hour)}[i%6]
				r.now.Move(at.Sub(r.now.Now()))
				w := c.send(r, []string{"", "198.51.100.99:1"}[i/6%2])
				if w.Code >= 500 || w.Code == 201 {
					t.Fatalf("%s, %s, at %s: %d %s", p.what, c.what, at, w.Code, w.Body)
				}
			}
			r.now.Move(start.Sub(r.now.Now()))
			if after := r.state(host1); after != before {
				t.Fatalf("%s: %s changed something:\n%s\n%s", p.what, c.what, before, after)
			}
		}
	}
}

// A restored backup knows nothing of what was accepted since, and takes none of
// it again.
func TestReplayAfterRestore(t *testing.T) {
	r := newRig(t)
	settings := anyAddress()
	settings.Free = on()
	d := r.join(host1, settings)
	put := d.path() + "/addresses"
	file := filepath.Join(t.TempDir(), "backup")
	if err := r.store.Backup(t.Context(), file, nil); err != nil {
		t.Fatal(err)
	}
	auto := d.captured("auto", 200, d.signed("PUT", put, "192.0.2.1", `{}`, 0))
	r.now.Move(time.Second)
	named := d.captured("named", 200, d.signed("PUT", put, "192.0.2.1", `{"a":["192.0.2.2"]}`, 0))
	r.now.Move(time.Second)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	old := r.dir
	r.dir = filepath.Join(t.TempDir(), "restored")
	if err := sqlite.Restore(t.Context(), r.dir, file, sqlite.Config{Now: r.now.Now}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(old, "seal.key"), filepath.Join(r.dir, "seal.key")); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.start()
	before := r.state(host1)
	for _, c := range []capture{auto, named} {
		wantProblem(t, c.send(r, "198.51.100.99:1"), 409, "replayed")
	}
	if after := r.state(host1); after != before {
		t.Errorf("it changed something:\n%s\n%s", before, after)
	}
	r.now.Move(11 * time.Second)
	if w := d.put("192.0.2.1", `{}`, 0); w.Code != 200 {
		t.Errorf("the device itself: %d %s", w.Code, w.Body)
	}
}
