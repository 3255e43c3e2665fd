package signature_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/internal/signature"
)

// next signs a request and returns its created.
func next(t testing.TB, s *signature.Signer, now time.Time) int64 {
	t.Helper()
	r := newRequest(t, "PUT", "https://"+authority+target, "{}")
	if err := s.Sign(r, []byte("{}"), now); err != nil {
		t.Fatal(err)
	}
	m, err := signature.Parse(signature.RequestOf(overWire(t, r, []byte("{}")), []byte("{}"), authority))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Verify(publicKey(t)) {
		t.Fatal("does not verify")
	}
	return m.Created
}

func TestNewSignerRefuses(t *testing.T) {
	for name, id := range map[string]string{"empty": "", "quote": `a"b`, "backslash": `a\b`, "space": "a b", "line": "a\nb", "beyond ASCII": "é", "long": strings.Repeat("a", 65)} {
		if _, err := signature.NewSigner(id, testKey(t)); err == nil {
			t.Errorf("takes an ID: %s", name)
		}
	}
	if _, err := signature.NewSigner(keyID, testKey(t)[:32]); err == nil {
		t.Error("takes half a key")
	}
}

// What cannot be signed is refused before anything is done to the request, and
// takes no created.
func TestSignRefuses(t *testing.T) {
	s := newSigner(t)
	for name, bend := range map[string]func(*http.Request){
		"query":           func(r *http.Request) { r.URL.RawQuery = "a=b" },
		"empty query":     func(r *http.Request) { r.URL.ForceQuery = true },
		"opaque":          func(r *http.Request) { r.URL.Opaque = "//x/y" },
		"no scheme":       func(r *http.Request) { r.URL.Scheme = "" },
		"other scheme":    func(r *http.Request) { r.URL.Scheme = "ftp" },
		"no host":         func(r *http.Request) { r.URL.Host, r.Host = "", "" },
		"beyond ASCII":    func(r *http.Request) { r.Host = "bücher.example.com" },
		"dot segments":    func(r *http.Request) { r.URL.Path = "/v1/../x" },
		"not normal":      func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/v1/*", "/v1/%2a" },
		"relative":        func(r *http.Request) { r.URL.Path = "v1" },
		"method":          func(r *http.Request) { r.Method = "put" },
		"GET with a body": func(r *http.Request) { r.Method = "GET" },
	} {
		r := newRequest(t, "PUT", "https://"+authority+target, "{}")
		r.Header.Set("Signature", "as before")
		bend(r)
		host := r.Host
		err := s.Sign(r, []byte("{}"), clock)
		if !errors.Is(err, signature.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkError(t, err)
		if r.Host != host || len(r.Header) != 1 || r.Header.Get("Signature") != "as before" {
			t.Errorf("%s: the request was changed", name)
		}
	}
	if got := next(t, s, clock); got != created {
		t.Errorf("a refusal took a created: %d", got)
	}
	if err := s.Sign(newRequest(t, "PUT", "https://"+authority+target, "{}"), nil, time.Unix(1e15, 0)); !errors.Is(err, signature.ErrTime) {
		t.Errorf("a clock of 16 digits: %v", err)
	}
}

// Signing again replaces what was there, a Content-Digest that nothing covers too.
func TestSignAgain(t *testing.T) {
	s := newSigner(t)
	r := newRequest(t, "PUT", "https://"+authority+target, "{}")
	for i := range int64(2) {
		if err := s.Sign(r, []byte("{}"), clock); err != nil {
			t.Fatal(err)
		}
		m, err := signature.Parse(signature.RequestOf(overWire(t, r, []byte("{}")), []byte("{}"), ""))
		if err != nil || !m.Verify(publicKey(t)) || m.Created != created+i {
			t.Fatalf("signed %d times: %v, %v", i+1, m, err)
		}
	}
	bare := &http.Request{URL: &url.URL{Scheme: "https", Host: authority, Path: "/"}} // a GET, as net/http has it
	if err := s.Sign(bare, nil, clock); err != nil {
		t.Fatal(err)
	}
	r.Method = "GET"
	if err := s.Sign(r, nil, clock); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Header["Content-Digest"]; ok {
		t.Error("a GET has a Content-Digest")
	}
}

// Host goes out in the spelling that was signed, so that it holds where the
// server cannot know the scheme.
func TestHostBehindProxy(t *testing.T) {
	r := newRequest(t, "PUT", "https://DDNS.example.com:443"+target, "{}")
	if err := newSigner(t).Sign(r, []byte("{}"), clock); err != nil {
		t.Fatal(err)
	}
	got := overWire(t, r, []byte("{}"))
	got.TLS = nil // the proxy ends it
	m, err := signature.Parse(signature.RequestOf(got, []byte("{}"), ""))
	if err != nil || !m.Verify(publicKey(t)) {
		t.Errorf("Host %q: %v, %v", got.Host, m, err)
	}
}

// The order holds in one second, over a clock that goes back, and when many sign
// at once.
func TestOrder(t *testing.T) {
	s := newSigner(t)
	for i, c := range []struct {
		now  time.Time
		want int64
	}{
		{clock, created}, {clock, created + 1}, {clock.Add(999 * time.Millisecond), created + 2},
		{clock.Add(10 * time.Second), created + 10}, {clock.Add(-time.Hour), created + 11}, {time.Time{}, created + 12},
	} {
		if got := next(t, s, c.now); got != c.want {
			t.Errorf("signature %d: created %d, want %d", i, got, c.want)
		}
	}
	if got := next(t, newSigner(t), time.Time{}); got != 1 {
		t.Errorf("without a clock the first created is %d, want 1", got)
	}

	const signers, each = 8, 25
	var all [signers][]int64
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() {
			for range each {
				r := newRequest(t, "PUT", "https://"+authority+target, "{}")
				if err := s.Sign(r, []byte("{}"), clock); err != nil {
					t.Error(err)
					return
				}
				m, err := signature.Parse(signature.RequestOf(overWire(t, r, nil), []byte("{}"), ""))
				if err != nil {
					t.Error(err)
					return
				}
				all[i] = append(all[i], m.Created)
			}
		})
	}
	wait.Wait()
	var got []int64
	for _, some := range all {
		if !slices.IsSorted(some) {
			t.Errorf("one of them went back: %d", some)
		}
		got = append(got, some...)
	}
	slices.Sort(got)
	for i, c := range got {
		if c != created+13+int64(i) {
			t.Fatalf("created %d is not the next after %d", c, created+12+i)
		}
	}
	if len(got) != signers*each {
		t.Errorf("%d signatures", len(got))
	}
}

// A wrong clock is mended by the server's, whichever way it was wrong.
func TestLearn(t *testing.T) {
	for name, own := range map[string]time.Time{
		"right":         clock,
		"an hour late":  clock.Add(-time.Hour),
		"an hour early": clock.Add(time.Hour),
		"none":          {},
		"years early":   clock.AddDate(30, 0, 0),
	} {
		s := newSigner(t)
		before := next(t, s, own)
		s.Learn(clock, own)
		got := next(t, s, own)
		if name == "right" && got != before+1 {
			t.Errorf("%s: %d after %d", name, got, before)
		}
		m := signature.Message{Created: got}
		if err := m.CheckTime(clock); err != nil {
			t.Errorf("%s: %v: created is off by %d s", name, err, got-created)
		}
		s.Learn(clock, own) // the answer to a second request of that time
		if again := next(t, s, own); again != got+1 {
			t.Errorf("%s: %d after %d", name, again, got)
		}
		if later := next(t, s, own.Add(time.Minute)); later != created+60 {
			t.Errorf("%s: a minute later created is %d, want %d", name, later, created+60)
		}
	}
	s := newSigner(t)
	for _, nonsense := range []time.Time{{}, time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 0)} {
		s.Learn(nonsense, clock)
		r := newRequest(t, "PUT", "https://"+authority+target, "{}")
		switch err := s.Sign(r, []byte("{}"), clock); {
		case errors.Is(err, signature.ErrTime):
		case err != nil:
			t.Error(err)
		default: // far from any time, but a signature
			if _, err := signature.Parse(signature.RequestOf(overWire(t, r, nil), []byte("{}"), "")); err != nil {
				t.Errorf("after a server's time of %d: %v", nonsense.Unix(), err)
			}
		}
		s.Learn(clock, clock)
		if got := next(t, s, clock); got != created && got != created+1 {
			t.Errorf("after a server's time of %d created is %d, want %d", nonsense.Unix(), got, created)
		}
		s = newSigner(t)
	}
}

// A Signer that does not know what was accepted learns it from the refusal, and
// is not sent where no server can be.
func TestAfter(t *testing.T) {
	s := newSigner(t)
	for _, c := range []struct {
		last int64
		ok   bool
		want int64
	}{
		{created + 7, true, created + 8},
		{created + 2, true, created + 9},
		{created + 600, true, created + 601},
		{created + 601, false, created + 602},
		{math.MaxInt64, false, created + 603},
		{math.MinInt64, true, created + 604},
	} {
		if ok := s.After(c.last, clock); ok != c.ok {
			t.Errorf("After(%d) = %t", c.last, ok)
		}
		if got := next(t, s, clock); got != c.want {
			t.Errorf("after %d created is %d, want %d", c.last, got, c.want)
		}
	}
	slow := newSigner(t)
	slow.Learn(clock, clock.Add(-time.Hour))
	if !slow.After(created+5, clock.Add(-time.Hour)) || next(t, slow, clock.Add(-time.Hour)) != created+6 {
		t.Error("the offset does not count")
	}
}

// The key is not printed, whoever prints the Signer.
func TestSignerHidesKey(t *testing.T) {
	s := newSigner(t)
	key := testKey(t)
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("signer", "signer", s)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("signer", "signer", s)
	out := logged.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		out += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, struct{ s *signature.Signer }{s})
	}
	out = strings.ToLower(out)
	for _, secret := range []string{
		string(key[:8]), hex.EncodeToString(key[:8]), strings.ToLower(base64.StdEncoding.EncodeToString(key[:6])),
		strings.Trim(fmt.Sprint([]byte(key[:8])), "[]"), strings.Trim(fmt.Sprintf("%#v", []byte(key[:8])), "[]byte{}"),
	} {
		if strings.Contains(out, secret) {
			t.Errorf("%q was printed", secret)
		}
	}
	// The Signer has a key of its own.
	given := slices.Clone(key)
	own, err := signature.NewSigner(keyID, given)
	if err != nil {
		t.Fatal(err)
	}
	clear(given)
	next(t, own, clock)
}
