package agent

import (
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"godwit/internal/api"
)

// How long the agent waits. Decision 0014 has the reasons.
const (
	// DefaultInterval is from one look at an address to the next.
	DefaultInterval = 5 * time.Minute
	// MinInterval is the least that lies between two tries of one family of a
	// host, whatever happens.
	MinInterval = 30 * time.Second

	refreshEvery   = 23 * time.Hour // and at most an interval more
	startWindow    = 10 * time.Second
	settle         = 250 * time.Millisecond // what an event waits for its siblings
	settleAtMost   = time.Second
	longestReach   = 80 * time.Second // between tries where nothing of ours answers
	longestTrouble = time.Hour
	refusedPause   = time.Hour
	badProofPause  = 6 * time.Hour
	requestTimeout = 10 * time.Second
	tryTimeout     = 20 * time.Second // all requests of one try
	findTimeout    = 15 * time.Second // all sources of one try
)

// class says how long to wait after a try, and whether somebody has to act.
type class uint8

const (
	untried class = iota
	fine
	absent      // this place has no address of the family
	unreachable // nothing of ours answered: no network, no DNS, a portal
	temporary   // the server has trouble, or asks us to wait
	refused     // only a person can mend it
	badProof    // the server does not know the key or token
)

// verdict is what came of a try.
type verdict struct {
	class class
	code  string // of the refusal, or a word for the log
	// after is what the server asks us to wait; 0: it says nothing.
	after time.Duration
}

// judge sorts an error of a try. It looks at codes and kinds, never at texts.
func judge(err error) verdict {
	var p *api.Problem
	if !errors.As(err, &p) {
		if noRoute(err) {
			return verdict{class: absent, code: "absent"}
		}
		return verdict{class: unreachable, code: "unreachable"}
	}
	after := time.Duration(p.RetryAfter) * time.Second
	switch p.Code {
	case "bad-proof":
		return verdict{class: badProof, code: p.Code}
	case "clock", "replayed", "not-source", "unavailable", "rate-limited", api.CodeInternal:
		return verdict{temporary, p.Code, after}
	case "":
		if p.Status == http.StatusTooManyRequests || p.Status >= 500 {
			return verdict{temporary, http.StatusText(p.Status), after}
		}
		return verdict{class: unreachable, code: "not a godwit server"}
	}
	return verdict{class: refused, code: p.Code}
}

// noRoute tells whether an error says that the family does not reach out of here.
func noRoute(err error) bool {
	var unsuitable *net.AddrError // the server's address is a literal of the other family
	return errors.As(err, &unsuitable) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// pause is how long to wait after a try with this verdict, the failures'th in a
// row that was not fine; random is from 0 to 1.
func pause(v verdict, failures int, interval time.Duration, random float64) time.Duration {
	spread := func(d time.Duration, from, to float64) time.Duration {
		return time.Duration(float64(d) * (from + (to-from)*random))
	}
	backoff := func(longest time.Duration) time.Duration {
		d := min(MinInterval<<min(failures-1, 16), longest)
		return max(spread(d, 0.5, 1), MinInterval+spread(d/4, 0, 1))
	}
	switch v.class {
	case absent, fine:
		return max(spread(interval, 0.9, 1.1), MinInterval)
	case refused:
		return spread(refusedPause, 0.9, 1.1)
	case badProof:
		return spread(badProofPause, 0.9, 1.1)
	case unreachable:
		return min(backoff(longestReach), longestReach)
	}
	if v.after > 0 {
		// Not before, and not all at once.
		return spread(min(max(v.after, MinInterval), longestTrouble), 1, 1.25)
	}
	return min(backoff(longestTrouble), longestTrouble)
}
