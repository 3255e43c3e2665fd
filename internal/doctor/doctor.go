// Package doctor finds out why a name is wrong in DNS.
//
// It holds side by side what an installation says of a host (its state, history and
// newest requests), what the parent zone says (delegation and glue), what each
// authoritative server answers, and what a resolver still holds:
//
//	client → stored → parent → name servers → resolver
//
// Everything on the way is a [Finding], and what is wrong comes with what to do.
// It changes nothing, asks a bounded number of questions, and gives each a bounded
// time.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/dnsname"
)

// Config says how DNS is asked.
type Config struct {
	// Resolver is asked for what lies above the zone, and for what it holds of the
	// name. Required.
	Resolver netip.AddrPort
	Port     uint16        // of all name servers; 0: 53
	Timeout  time.Duration // of one question, which is asked twice; 0: 2 s
	Now      func() time.Time
}

// Case is what an installation says of a host.
type Case struct {
	Host     api.HostState
	Events   []api.Event   // the newest first
	Requests []api.Request // the newest first; others' may be among them
	Zones    []api.Zone
	Status   *api.Status // nil: it does not tell
	// Listed are the records that the DNS provider has of the host. nil: there is
	// none, or it cannot be asked.
	Listed []api.RRset
	// NotListed says why the provider's records are not known; "": they are, or
	// there is none.
	NotListed string
	// Twins are other hosts that have a shared secret of this one.
	Twins []string
	// Flag is how commands that are printed name the installation: " --target X".
	Flag string
}

// State of what was looked at.
type State string

const (
	Right State = "right"
	Wrong State = "wrong"
	Note  State = "note" // out of the ordinary, or could not be looked at
)

// Finding is one thing that was looked at.
type Finding struct {
	Check string   `json:"check"`
	State State    `json:"state"`
	What  string   `json:"what"`
	Do    []string `json:"do,omitempty"` // in order
}

// Report is all that was found, in the order from the client to the resolver.
type Report struct {
	Host     string    `json:"host"`
	Right    bool      `json:"right"`    // nothing is wrong
	Findings []Finding `json:"findings"` // never null
	Do       []string  `json:"do"`       // never null; about what is wrong, each once
}

// Examine looks at everything. ctx bounds the whole.
func Examine(ctx context.Context, c Config, in Case) Report {
	if c.Now == nil {
		c.Now = time.Now
	}
	e := &exam{Case: in, now: c.Now(), ask: newAsker(c), out: Report{Host: in.Host.Host, Findings: []Finding{}, Do: []string{}}}
	e.stored()
	e.heard()
	e.listed()
	if name, err := dnsname.Parse(in.Host.Host); err == nil {
		e.inDNS(ctx, name)
	}
	return e.report()
}

// report ends an examination.
func (e *exam) report() Report {
	e.out.Right = true
	for _, f := range e.out.Findings {
		if f.State != Wrong {
			continue
		}
		e.out.Right = false
		for _, do := range f.Do {
			if !slices.Contains(e.out.Do, do) {
				e.out.Do = append(e.out.Do, do)
			}
		}
	}
	return e.out
}

// Unreadable is the report of a host that is stored in a way that cannot be read.
func Unreadable(host, why, fix string) Report {
	do := []string{cmp.Or(fix, "Mend what is stored of it; until then it is neither updated nor published")}
	return Report{Host: host, Findings: []Finding{{"host", Wrong, "it cannot be read: " + why, do}}, Do: do}
}

// exam is one examination.
type exam struct {
	Case
	now time.Time
	ask *asker
	out Report
}

func (e *exam) find(state State, check, what string, do ...string) {
	e.out.Findings = append(e.out.Findings, Finding{check, state, what, do})
}

func (e *exam) right(check, format string, args ...any) {
	e.find(Right, check, fmt.Sprintf(format, args...))
}

// owner is the host that the name is of: itself, or the router that it follows.
func (e *exam) owner() string { return cmp.Or(e.Host.Router, e.Host.Host) }

// command is a godwit command about the host, with words after its name.
func (e *exam) command(words string, more ...string) string {
	line := "godwit " + words + " " + quote(e.owner())
	for _, m := range more {
		line += " " + m
	}
	return line + e.Flag
}

// quote keeps the star of a wildcard from a shell.
func quote(name string) string {
	if strings.HasPrefix(name, "*") {
		return "'" + name + "'"
	}
	return name
}

// wanted is what DNS should show at the host's name.
func (e *exam) wanted() []netip.Addr {
	if e.Host.Suspended {
		return nil
	}
	return slices.Concat(e.Host.A, e.Host.AAAA)
}

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "nothing"
	}
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}

// same compares sets of addresses.
func same(a, b []netip.Addr) bool {
	sorted := func(l []netip.Addr) []netip.Addr {
		return slices.Compact(slices.SortedFunc(slices.Values(l), netip.Addr.Compare))
	}
	return slices.Equal(sorted(a), sorted(b))
}

// ago is how long something is past, in one unit.
func (e *exam) ago(t time.Time) string {
	switch d := e.now.Sub(t); {
	case d < time.Minute:
		return "less than a minute ago"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}
