package awstest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
)

// TestRoute53Faults befall the call that they are meant for, before or after
// its effect.
func TestRoute53Faults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault   awstest.Fault
		code    string // part of what the client sees
		happens bool
	}{
		"500":       {awstest.ServerError(), "InternalFailure", false},
		"503":       {awstest.Unavailable(), "ServiceUnavailable", false},
		"500 after": {awstest.ServerError().AfterCommit(), "InternalFailure", true},
		"503 after": {awstest.Unavailable().AfterCommit(), "ServiceUnavailable", true},
		"cut":       {awstest.Cut(), "could not confirm", false},
		"cut after": {awstest.Cut().AfterCommit(), "could not confirm", true},
		"throttled": {awstest.Throttled(), "Throttling", false},
		"busy":      {awstest.Busy(), "PriorRequestNotComplete", false},
		"denied":    {awstest.Denied(), "AccessDenied", false},
		"malformed": {awstest.Malformed(), "", true},
		"truncated": {awstest.Truncated(), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, awstest.Route53Config{})
			server, stop, err := a.Listen()
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			transport := awscall.NewTransport()
			defer transport.CloseIdleConnections()
			a.Client = client(t, awscall.Config{Endpoint: server, Transport: transport, Timeout: time.Minute})
			a.Inject(awstest.Rule{Action: awstest.ChangeSets, Name: "A.example.org", Skip: 1, Fault: tt.fault})
			a.must(set("CREATE", "b.example.org", "A 60 192.0.2.1")) // another name
			a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1")) // skipped
			code, _ := a.change(set("UPSERT", "a.example.org", "A 60 192.0.2.2"))
			if !strings.Contains(code, tt.code) || code == "" != (tt.code == "") {
				t.Error(code)
			}
			if happens := a.shows("a.example.org", "A") == "A 60 192.0.2.2"; happens != tt.happens {
				t.Errorf("happens: %t", happens)
			}
			a.must(set("UPSERT", "a.example.org", "A 60 192.0.2.3")) // once only
		})
	}
}

// TestRoute53Delay: what is answered too late has happened.
func TestRoute53Delay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, awstest.Route53Config{})
		a.Client = client(t, awscall.Config{Transport: a.Route53, Timeout: time.Minute})
		a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1"))
		a.Inject(awstest.Rule{Action: awstest.ChangeSets, Fault: awstest.Fault{Delay: time.Hour}})
		if code, _ := a.change(set("UPSERT", "a.example.org", "A 60 192.0.2.2")); !strings.Contains(code, "deadline") {
			t.Error(code)
		}
		if got := a.shows("a.example.org", "A"); got != "A 60 192.0.2.2" {
			t.Error(got)
		}
		time.Sleep(time.Hour) // until the stand-in has answered
	})
}

// TestRoute53Wait holds a call although its client has gone.
func TestRoute53Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, awstest.Route53Config{})
		a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1"))
		release := make(chan struct{})
		a.Inject(awstest.Rule{Action: awstest.ChangeSets, Fault: awstest.Fault{Wait: release}})
		a.Client = client(t, awscall.Config{Transport: a.Route53, Timeout: time.Minute})
		if code, _ := a.change(set("UPSERT", "a.example.org", "A 60 192.0.2.2")); !strings.Contains(code, "deadline") {
			t.Error(code)
		}
		if got := a.shows("a.example.org", "A"); got != "A 60 192.0.2.1" {
			t.Error(got)
		}
		close(release)
		synctest.Wait() // it is served by another goroutine
		if got := a.shows("a.example.org", "A"); got != "A 60 192.0.2.2" {
			t.Error(got)
		}
	})
}

func TestRoute53Poison(t *testing.T) {
	a := open(t, awstest.Route53Config{})
	heal := a.Poison("bad.example.org")
	if code, body := a.change(set("CREATE", "a.example.org", "A 60 192.0.2.1"), set("CREATE", "bad.example.org", "A 60 192.0.2.1")); code != "InvalidChangeBatch" || !strings.Contains(body, "bad.example.org") {
		t.Errorf("%s: %s", code, body)
	}
	heal()
	a.must(set("CREATE", "bad.example.org", "A 60 192.0.2.1"))
}

// TestRoute53Chance is the same for the same seed.
func TestRoute53Chance(t *testing.T) {
	run := func(seed uint64) (out string) {
		a := open(t, awstest.Route53Config{})
		a.Inject(awstest.Rule{Times: -1, Chance: 0.5, Seed: seed, Fault: awstest.Throttled()})
		for range 64 {
			_, _, code := a.call("GET", "hostedzonesbyname", "")
			out += fmt.Sprint(len(code) / 10)
		}
		return out
	}
	first := run(1)
	if first != run(1) || first == run(2) || strings.Count(first, "1") < 16 || strings.Count(first, "1") > 48 {
		t.Error(first)
	}
}

// TestRoute53Logs: what was asked and what was true in between.
func TestRoute53Logs(t *testing.T) {
	a := open(t, awstest.Route53Config{})
	a.must(set("CREATE", "a.example.org", "A 60 192.0.2.1"))
	a.must(set("DELETE", "a.example.org", "A 60 192.0.2.1"), set("CREATE", "a.example.org", "A 60 192.0.2.2"))
	a.change(set("CREATE", "a.example.org", "A 60 192.0.2.2"))
	a.must(set("DELETE", "a.example.org", "A 60 192.0.2.2"))
	var states []string
	for _, s := range a.History("A.example.org", "A") {
		if s == nil {
			states = append(states, "-")
		} else {
			states = append(states, s.Values...)
		}
	}
	if got := strings.Join(states, " "); got != "192.0.2.1 192.0.2.2 -" {
		t.Error(got)
	}
	calls := a.Calls()
	if len(calls) != 4 || calls[1].Action != awstest.ChangeSets || calls[1].Zone != a.zone || len(calls[1].Changes) != 2 || calls[1].Changes[0].Set.Name != "a.example.org." ||
		calls[2].Code != "InvalidChangeBatch" || calls[2].Status != 400 || a.Count() != 4 || a.Count(awstest.ListSets) != 0 {
		t.Errorf("%+v", calls)
	}
}
