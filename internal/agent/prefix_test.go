package agent_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/agent"
)

// delegated is a source of the prefix that says what it is told to.
type delegated struct {
	mu     sync.Mutex // guards following
	prefix netip.Prefix
	err    error
}

func (*delegated) Name() string { return "delegated" }

func (s *delegated) FindPrefix(context.Context) (netip.Prefix, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prefix, s.err
}

func (s *delegated) set(text string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prefix, s.err = (netip.Prefix{}), err; err == nil {
		s.prefix = netip.MustParsePrefix(text)
	}
}

// TestPrefix: the delegated prefix goes with the IPv6 address, and only with
// that. Another one is told though the address is the same; one that cannot be
// found holds nothing up and takes nothing away; at rest it costs no write.
func TestPrefix(t *testing.T) {
	for name, edit := range map[string]func(*agent.Target){
		"server":  func(*agent.Target) {},
		"source":  func(c *agent.Target) { c.IPv6.Sources = []agent.Source{&fake{name: "interface h0", found: home}} },
		"removed": func(c *agent.Target) { c.IPv6.Remove = true },
		"poll ip": func(c *agent.Target) { c.PollIP = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, source := newWorld(t), &delegated{}
				const first, second = "2001:db8:0:aa00::/56", "2001:db8:0:bb00::/56"
				source.set(first, nil)
				has := func(want string) {
					t.Helper()
					w.mu.Lock()
					defer w.mu.Unlock()
					if w.prefix.String() != want {
						t.Errorf("the server has the prefix %s, want %s", w.prefix, want)
					}
				}
				c := w.config(new(safe))
				c.Targets[0].Prefix = source
				edit(&c.Targets[0])
				live(t, w, c, func(a *agent.Agent) {
					pass(10 * time.Second)
					has(first)
					pass(6 * time.Minute)
					writes := w.writes
					pass(time.Hour)
					if w.writes != writes {
						t.Errorf("%d writes at rest", w.writes-writes)
					}
					source.set(second, nil)
					pass(6 * time.Minute)
					has(second)
					source.set("", errors.New("no lease now"))
					pass(12 * time.Minute)
					has(second)
					s := a.Status().Hosts[0].Families[1]
					if s.State != agent.StateRight && s.State != agent.StateRemoved || s.Prefix.String() != second || !strings.Contains(s.Note, "the prefix is left as it is: no lease now") {
						t.Errorf("%+v", s)
					}
				})
				for _, try := range w.seen(agent.IPv4, time.Time{}) {
					if strings.Contains(try.body, "prefix") {
						t.Errorf("over IPv4: %s", try.body)
					}
				}
				// It is remembered: who starts again tells only what is news.
				source.set(first, nil)
				c.Targets[0].Prefix = source
				live(t, w, c, func(*agent.Agent) { pass(2 * time.Minute) })
				has(first)
				w.checkGentle(t)
			})
		})
	}
}

// TestPrefixWithoutIPv6: a prefix that could never be told is refused.
func TestPrefixWithoutIPv6(t *testing.T) {
	c := newWorld(t).config(new(safe))
	c.Targets[0].Prefix, c.Targets[0].IPv6.Off = &delegated{}, true
	if _, err := agent.New(c); err == nil || !strings.Contains(err.Error(), "its prefix goes with its IPv6 address") {
		t.Errorf("%v", err)
	}
}
