package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/agent"
)

// fake is a source that says what it is told to.
type fake struct {
	name  string
	found map[agent.Family]netip.Addr
	note  string
	err   error
}

func (s *fake) Name() string { return s.name }

func (s *fake) Find(_ context.Context, f agent.Family) (agent.Finding, error) {
	return agent.Finding{Addr: s.found[f], Note: s.note}, s.err
}

func TestSources(t *testing.T) {
	broken := &fake{name: "broken", err: errors.New("no answer")}
	none := &fake{name: "none", err: fmt.Errorf("behind CGNAT: %w", agent.ErrNone)}
	right := &fake{name: "right", found: home, note: "a note"}
	other := &fake{name: "other", found: moved}
	crossed := &fake{name: "crossed", found: map[agent.Family]netip.Addr{agent.IPv4: home[agent.IPv6], agent.IPv6: home[agent.IPv4]}}
	mapped := &fake{name: "mapped", found: map[agent.Family]netip.Addr{agent.IPv6: netip.MustParseAddr("::ffff:198.51.100.7")}}
	for _, c := range []struct {
		name    string
		sources []agent.Source
		state   string
		body    string // of the newest request; "": nothing was sent
		says    string // in message or note
	}{
		{"the first that knows", []agent.Source{broken, none, right, other}, agent.StateRight, "198.51.100.7", "a note"},
		{"the server at last", []agent.Source{none, nil}, agent.StateRight, "{}", "behind CGNAT"},
		{"nobody has one", []agent.Source{none, none}, agent.StateAbsent, "", "behind CGNAT"},
		{"nobody can tell", []agent.Source{none, broken}, agent.StateTrouble, "", "broken cannot tell the address: no answer"},
		{"of the other family", []agent.Source{crossed}, agent.StateTrouble, "", "crossed cannot tell the address"},
		{"not the request's own", []agent.Source{other}, agent.StateTrouble, "203.0.113.9", "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			var log safe
			config := w.config(&log)
			config.Targets[0].IPv4.Sources, config.Targets[0].IPv6.Off = c.sources, true
			a, err := agent.New(config)
			if err != nil {
				t.Fatal(err)
			}
			_ = a.Once(t.Context())
			f := a.Status().Hosts[0].Families[0]
			if f.State != c.state || !strings.Contains(f.Message+f.Note, c.says) {
				t.Errorf("%+v", f)
			}
			tries := w.seen(agent.IPv4, time.Time{})
			if c.body == "" && len(tries) != 0 || c.body != "" && !strings.Contains(tries[len(tries)-1].body, c.body) {
				t.Errorf("%+v", tries)
			}
		})
	}
	w := newWorld(t)
	var log safe
	config := w.config(&log)
	config.Targets[0].IPv6.Sources, config.Targets[0].IPv4.Off = []agent.Source{mapped}, true
	a, err := agent.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Once(t.Context()); err == nil || len(w.tries) != 0 {
		t.Errorf("a mapped address was sent: %v", w.tries)
	}
}

// TestNamedIsCheap: with a source of its own, every request names the address,
// and none of them writes but the first.
func TestNamedIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var log safe
		c := w.config(&log)
		c.Dir = ""
		s := &fake{name: "interface h0", found: home}
		c.Targets[0].IPv4.Sources, c.Targets[0].IPv6.Sources = []agent.Source{s}, []agent.Source{s}
		live(t, w, c, func(*agent.Agent) { pass(30 * time.Hour) })
		if w.writes != 2 || !w.right(both...) {
			t.Errorf("%d writes, DNS shows %v", w.writes, w.shows)
		}
		w.checkGentle(t)
	})
}

// TestBehind: who is behind CGNAT is told so, once.
func TestBehind(t *testing.T) {
	for local, want := range map[string]string{
		"100.64.3.7": "behind CGNAT", "203.0.113.40": "something in between", "192.168.1.7": "", "198.51.100.7": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.local[agent.IPv4] = []netip.Addr{netip.MustParseAddr(local), netip.MustParseAddr(local)}
			var log safe
			live(t, w, w.config(&log), func(a *agent.Agent) {
				pass(time.Hour)
				if f := a.Status().Hosts[0].Families[0]; f.State != agent.StateRight || !strings.Contains(f.Note, want) || want == "" && f.Note != "" {
					t.Errorf("%s: %+v", local, f)
				}
			})
			if n := strings.Count(log.String(), "about the address"); want != "" && n != 1 || want == "" && n != 0 {
				t.Errorf("%s: said %d times", local, n)
			}
		})
	}
}

// FuzzKey: a key that is read can be written and read to the same, and an error
// says nothing of what the file holds.
func FuzzKey(f *testing.F) {
	f.Add(`{"server":"https://a.example","host":"nas.example.org","credential":"k7m2qx4p","seed":"nWGxnf/9Wmm6hEr0kuwsxERJxWl7MmkZcDusAxrn9/A="}`)
	f.Add(`{"seed":"c2hvcnQ="}`)
	f.Add("not a key")
	path := filepath.Join(f.TempDir(), "key")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := agent.ReadKey(path)
		if err != nil {
			return
		}
		if err := key.Write(path); err != nil {
			t.Fatal(err)
		}
		again, err := agent.ReadKey(path)
		if err != nil || string(again.Public()) != string(key.Public()) || again.Credential != key.Credential || strings.Contains(fmt.Sprintf("%+v %#v", key, key), "157 97 177 157") {
			t.Fatalf("%v, %+v", err, again)
		}
	})
}
