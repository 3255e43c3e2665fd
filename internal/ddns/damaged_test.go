package ddns_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// TestDamaged: a host that cannot be read answers, and costs, what an unknown one
// does; operators are told, seldom, and nothing of it is published or taken away.
func TestDamaged(t *testing.T) {
	var log strings.Builder
	w := newWorld(t, func(c *ddns.Config) { c.Deferred, c.Log = true, slog.New(slog.NewTextHandler(&log, nil)) })
	bad, good := w.add(t, "bad.dyn.example.org"), w.add(t, "good.dyn.example.org")
	w.must(t, by(bad, home))
	if errs := w.PublishHosts(t.Context(), []dnsname.Name{bad.Host.Name}); errs[0] != nil {
		t.Fatal(errs)
	}
	w.must(t, by(good, home))
	damage := false
	w.store.Fail = func(method string) error {
		if damage && method == "Host" {
			damage = false // the read that follows is of another host
			return fmt.Errorf("row of %s: %w", bad.Host.Name, ddns.ErrDamaged)
		}
		return nil
	}
	log.Reset()
	unknown := by(bad, home)
	unknown.Host = named("nobody.dyn.example.org")
	_, want := w.Update(t.Context(), unknown)
	for range 3 {
		damage = true
		reads := w.store.Calls("Host")
		_, err := w.Update(t.Context(), by(bad, "192.0.2.9"))
		if r := wantCode(t, err, ddns.NotYours); r == nil || r.Error() != want.Error() || errors.Is(err, ddns.ErrDamaged) || w.store.Calls("Host")-reads != 2 {
			t.Errorf("%v after %d reads, an unknown one answers %v", err, w.store.Calls("Host")-reads, want)
		}
	}
	if n := strings.Count(log.String(), "host=bad.dyn.example.org"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, log.String())
	}
	w.pass(time.Minute)
	// A feed that is told of it goes on behind it.
	damage = true
	if errs := w.PublishHosts(t.Context(), []dnsname.Name{bad.Host.Name}); errs[0] != nil || !strings.Contains(log.String(), "not published") {
		t.Errorf("%v\n%s", errs, log.String())
	}
	damage = true
	_, _, err := w.Show(t.Context(), bad.Host.Name)
	if wantCode(t, err, ddns.Unavailable); !errors.Is(err, ddns.ErrDamaged) {
		t.Errorf("an operator is told %v", err)
	}
	if got := fmt.Sprint(w.shows("bad.dyn.example.org", ddns.TypeA)); got != "["+home+"]" {
		t.Errorf("DNS shows %s", got)
	}
}
