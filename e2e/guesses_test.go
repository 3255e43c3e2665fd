//go:build linux

package e2e

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/internal/signature"
)

// guess is a wrong proof at one door, for a host. Guesses of one number are the
// same for every host but for its name.
type guess struct {
	door string
	make func(base, host, id string, n int) (*http.Request, error)
}

// guesses are one for each door that takes a proof. id is a credential's, which is
// no secret.
var guesses = []guess{
	{"seed", func(base, host, _ string, n int) (*http.Request, error) {
		return http.NewRequest("POST", base, strings.NewReader(seedBody(host, seedHash("127.0.7.1", host, fmt.Sprint("guess ", n)))))
	}},
	{"signed", func(base, host, id string, n int) (*http.Request, error) {
		signer, err := signature.NewSigner(id, ed25519.NewKeyFromSeed(fmt.Appendf(nil, "guess %026d", n)))
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequest("PUT", base+"v1/hosts/"+host+"/addresses", strings.NewReader("{}"))
		if err != nil {
			return nil, err
		}
		return req, signer.Sign(req, []byte("{}"), time.Now())
	}},
	{"bearer", func(base, host, id string, n int) (*http.Request, error) {
		req, err := http.NewRequest("PUT", base+"v1/hosts/"+host+"/addresses", strings.NewReader("{}"))
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+guessed(id, n))
		}
		return req, err
	}},
	{"dyndns2", func(base, host, id string, n int) (*http.Request, error) {
		req, err := http.NewRequest("GET", base+"nic/update?hostname="+host, nil)
		if err == nil {
			req.SetBasicAuth(host, guessed(id, n))
		}
		return req, err
	}},
	{"dyndns2, a secret without an ID", func(base, host, _ string, n int) (*http.Request, error) {
		req, err := http.NewRequest("GET", base+"nic/update?hostname="+host, nil)
		if err == nil {
			req.SetBasicAuth(host, fmt.Sprint("guess ", n))
		}
		return req, err
	}},
	{"dyndns2, form", func(base, host, id string, n int) (*http.Request, error) {
		form := url.Values{"hostname": {host}, "username": {id}, "password": {guessed(id, n)}}
		req, err := http.NewRequest("POST", base+"update", strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}},
	{"DuckDNS", func(base, host, id string, n int) (*http.Request, error) {
		return http.NewRequest("GET", base+"update?domains="+host+"&token="+guessed(id, n), nil)
	}},
	{"dynv6", func(base, host, id string, n int) (*http.Request, error) {
		return http.NewRequest("GET", base+"api/update?hostname="+host+"&ipv4=auto&token="+guessed(id, n), nil)
	}},
	{"token URL", func(base, host, id string, n int) (*http.Request, error) {
		return http.NewRequest("GET", base+"u/"+guessed(id, n)+"/?h="+host, nil)
	}},
	{"join", func(base, _, _ string, n int) (*http.Request, error) {
		body := fmt.Sprintf(`{"code":%q,"public_key":%q}`, guessed("", n)[:16], base64.StdEncoding.EncodeToString(make([]byte, 32)))
		req, err := http.NewRequest("POST", base+"v1/join", strings.NewReader(body))
		if err == nil {
			req.Header.Set("Content-Type", "application/json")
		}
		return req, err
	}},
}

// guessed is a text like a token, or like its secret alone.
func guessed(id string, n int) string {
	secret := strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d").Replace(fmt.Sprintf("%026d", n))
	if id == "" {
		return secret
	}
	return id + "-" + secret
}

// try makes a guess. What is told is all of the answer but the time, numbers of
// seconds apart.
func (g guess) try(c *caller, host, id string, n int) (status int, told string, err error) {
	req, err := g.make(c.url, host, id, n)
	if err != nil {
		return 0, "", err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	res.Header.Del("Date")
	text := fmt.Sprintf("%d %v %s", res.StatusCode, res.Header, body)
	if res.StatusCode != http.StatusUnauthorized {
		text = seconds.ReplaceAllString(text, "N")
	}
	return res.StatusCode, text, err
}

var seconds = regexp.MustCompile(`\b[0-9]+s?\b`)

// flood makes guesses from several addresses, at every door, at the host and at a
// name that is no host, and says how many were answered how.
func flood(t *testing.T, base, host, id string, count int) map[string]int {
	t.Helper()
	const callers = 8
	var running sync.WaitGroup
	answers := make([]map[string]int, callers)
	errs := make([]error, callers)
	for w := range callers {
		answers[w] = map[string]int{}
		running.Go(func() {
			c := newCaller(fmt.Sprintf("127.0.7.%d", w+1), base)
			defer c.close()
			// A connection that was refused is not listened to for a while.
			c.http.Transport.(*http.Transport).DisableKeepAlives = true
			for n := range count / callers {
				name := host
				if n/len(guesses)%2 == 1 {
					name = "nobody." + zone
				}
				g := guesses[n%len(guesses)]
				status, told, err := g.try(c, name, id, n*callers+w)
				if err != nil {
					errs[w] = err
					return
				}
				verdict := "wrong"
				switch {
				case strings.Contains(told, "rate-limited") || strings.Contains(told, "Too many requests"):
					verdict = "too often"
				case status != http.StatusUnauthorized && !strings.HasSuffix(told, " KO"):
					verdict = told
				}
				answers[w][verdict]++
			}
		})
	}
	running.Wait()
	seen := map[string]int{}
	for w := range callers {
		if errs[w] != nil {
			t.Fatal(errs[w])
		}
		for text, n := range answers[w] {
			seen[text] += n
		}
	}
	return seen
}

// TestGuesses floods a host and a name that is no host with wrong proofs, at every
// door. Both get the same answers, nothing is written, and the owner is locked out
// neither at an address of the flood nor at new ones.
func TestGuesses(t *testing.T) {
	count, during := 10_000, 2_000
	switch {
	case long():
		count = 1_000_000
	case testing.Short():
		count, during = 1_000, 500
	}
	// The limit of requests is off: each guess is to reach the proof.
	d := serve(t, launch{args: openLimits})
	host := testHosts("guessed", 1)[0]
	mustAddHosts(t, d, []testHost{host})
	var token struct{ Credential, Token string }
	if err := json.Unmarshal([]byte(d.mustGodwit(t, "host", "token", "add", host.Name, "--json")), &token); err != nil {
		t.Fatal(err)
	}
	// own is one of the owner's updates, by one of two doors.
	own := func(source string, n int) error {
		c := newCaller(source, d.url())
		defer c.close()
		want := []string{"good " + source + "\n", "nochg " + source + "\n", hasBeenSet(host.Name, source), matches}
		var got answer
		var err error
		if n%2 == 0 {
			got, err = c.update(host.Name, host.Secret)
		} else {
			var req *http.Request
			if req, err = http.NewRequest("GET", d.url()+"nic/update?hostname="+host.Name, nil); err != nil {
				return err
			}
			req.SetBasicAuth(host.Name, []string{host.Secret, token.Token}[n/2%2])
			var res *http.Response
			if res, err = c.http.Do(req); err == nil {
				var body []byte
				body, err = io.ReadAll(res.Body)
				got = answer{res.StatusCode, string(body), res.Header}
				_ = res.Body.Close()
			}
		}
		if err == nil && !slices.Contains(want, got.body) {
			err = fmt.Errorf("the owner at %s is answered %d %s", source, got.status, got.body)
		}
		return err
	}
	if err := own("127.0.7.1", 0); err != nil {
		t.Fatal(err)
	}
	atRest(t, d.data)
	before := fingerprint(t, d.data)

	// Of each guess a first one, from elsewhere: a host and no host answer alike.
	for i, g := range guesses {
		c := newCaller(fmt.Sprintf("127.0.%d.1", 10+i), d.url())
		status, known, err := g.try(c, host.Name, token.Credential, i)
		_, unknown, err2 := g.try(c, "nobody000."+zone, token.Credential, i)
		c.close()
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if known != unknown || status != http.StatusUnauthorized && !strings.HasSuffix(known, " KO") {
			t.Errorf("%s tells a host from none:\n%s\n%s", g.door, known, unknown)
		}
	}

	// While the flood goes on the owner says again and again that nothing is new.
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-end:
				if n < 3 {
					done <- fmt.Errorf("the owner made %d updates meanwhile", n)
				}
				close(done)
				return
			default:
			}
			if err := own("127.0.7.1", n); err != nil {
				done <- err
				close(done)
				return
			}
		}
	}()
	seen := flood(t, d.url(), host.Name, token.Credential, count)
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if seen["wrong"] == 0 || seen["too often"] == 0 || len(seen) != 2 {
		t.Errorf("guesses were answered: %v", seen)
	}
	t.Logf("guesses were answered: %v", seen)
	if after := fingerprint(t, d.data); after != before {
		t.Errorf("guesses changed the files of the store\nbefore:\n%s\nafter:\n%s", before, after)
	}

	// And that he has moved: next door to the flood, and to somewhere else.
	var moving sync.WaitGroup
	moving.Go(func() {
		for n := range 20 {
			if err := own(fmt.Sprintf("127.0.%d.%d", 7+n%3, 200+n), n); err != nil {
				t.Error(err)
			}
		}
	})
	flood(t, d.url(), host.Name, token.Credential, during)
	moving.Wait()
}

// atRest waits until a store has brought its first and only change into its row.
func atRest(t *testing.T, dir string) {
	t.Helper()
	needProgram(t, "sqlite3")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		out, err := exec.CommandContext(t.Context(), "sqlite3", "-readonly", filepath.Join(dir, "godwit.db"), "select count(*) from notes where key = 'applied'").CombinedOutput()
		if err != nil {
			t.Fatalf("sqlite3: %v: %s", err, out)
		}
		if strings.TrimSpace(string(out)) == "1" {
			return
		}
	}
	t.Fatal("a change is pending for a minute")
}

// fingerprint tells of every file of a data directory its size, the time it was
// written and a hash of its content. SQLite's shared memory is left out: readers
// lock in it, and it holds nothing that lasts.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, entry.Name())
		if !info.Mode().IsRegular() || filepath.Ext(name) == ".db-shm" {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		text += fmt.Sprintf("%s %d %s %s\n", entry.Name(), info.Size(), info.ModTime().Format("15:04:05.000000000"), hex.EncodeToString(sum[:8]))
	}
	return text
}
