//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestGuesses floods a host and a name that is no host with wrong proofs. They
// get the same answers, cause no write, and the owner is not locked out, not
// even at the address of the flood.
func TestGuesses(t *testing.T) {
	const callers = 8
	guesses := 10_000
	if testing.Short() {
		guesses = 1_000
	}
	// The limit of requests is off: each guess is to reach the proof.
	d := serve(t, launch{args: []string{"--requests-per-second", "0"}})
	host := testHosts("guessed", 1)[0]
	mustAddHosts(t, d, []testHost{host})
	if got, err := d.updateFrom("127.0.7.1", host.Name, host.Secret); err != nil || got.body != hasBeenSet(host.Name, "127.0.7.1") {
		t.Fatalf("the owner's first update: %d %s (%v)", got.status, got.body, err)
	}
	atRest(t, d.data)
	before := fingerprint(t, d.data)

	var running sync.WaitGroup
	answers := make([]map[string]int, callers)
	errs := make([]error, callers)
	for w := range callers {
		answers[w] = map[string]int{}
		running.Go(func() {
			c := newCaller(fmt.Sprintf("127.0.7.%d", w+1), d.url())
			defer c.close()
			for n := range guesses / callers {
				name := host.Name
				if n%2 == 1 {
					name = "nobody." + zone
				}
				got, err := c.update(name, fmt.Sprintf("guess %d of %d", n, w))
				if err != nil {
					errs[w] = err
					return
				}
				answers[w][fmt.Sprintf("%d %s", got.status, got.body)]++
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
	const tooOften = `429 {"return_status": "fail", "return_message": "Too many requests. Try again later."}`
	wrong := fmt.Sprintf("%d %s", http.StatusUnauthorized, badHash)
	if seen[wrong] == 0 || seen[tooOften] == 0 || len(seen) != 2 {
		t.Errorf("guesses were answered: %v", seen)
	}
	t.Logf("%d guesses said wrong, %d said too often", seen[wrong], seen[tooOften])

	if after := fingerprint(t, d.data); after != before {
		t.Errorf("guesses changed the files of the store\nbefore:\n%s\nafter:\n%s", before, after)
	}
	// The owner, at an address of the flood and at a new one.
	if got, err := d.updateFrom("127.0.7.1", host.Name, host.Secret); err != nil || got.body != matches {
		t.Errorf("the owner at the address of the flood: %d %s (%v)", got.status, got.body, err)
	}
	if got, err := d.updateFrom("127.0.7.200", host.Name, host.Secret); err != nil || got.body != hasBeenSet(host.Name, "127.0.7.200") {
		t.Errorf("the owner next door: %d %s (%v)", got.status, got.body, err)
	}
}

// atRest waits until a store that nobody writes to has brought its last change
// into its row.
func atRest(t *testing.T, dir string) {
	t.Helper()
	needProgram(t, "sqlite3")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		out, err := exec.CommandContext(t.Context(), "sqlite3", "-readonly", filepath.Join(dir, "godwit.db"), "select count(*) from pending").CombinedOutput()
		if err != nil {
			t.Fatalf("sqlite3: %v: %s", err, out)
		}
		if strings.TrimSpace(string(out)) == "0" {
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
