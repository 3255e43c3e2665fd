package ddns

import (
	"errors"
	"sync"
	"time"

	"godwit/internal/dnsname"
)

// ErrNotTaken is in the error of a publish that was refused for what the host
// says, not for want of room, rights or reach: the same state will be refused
// again until something else about DNS changes.
var ErrNotTaken = errors.New("DNS does not take it")

// untaken remembers which states DNS does not take, so that they are tried again
// with growing pauses and do not use up what others need.
type untaken struct {
	mu    sync.Mutex // guards hosts
	hosts map[dnsname.Name]untakenState
}

type untakenState struct {
	generation uint64
	pause      time.Duration
	until      time.Time
}

const (
	firstPause   = time.Minute
	longestPause = time.Hour
	maxUntaken   = 4096 // beyond that one of them is forgotten, and tried sooner
)

// waits tells whether a host's state is not to be tried yet.
func (u *untaken) waits(h *Host, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.hosts[h.Name]
	return ok && s.generation == h.Generation && now.Before(s.until) && s.until.Sub(now) <= longestPause
}

// note remembers what came of a try.
func (u *untaken) note(h *Host, err error, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.hosts[h.Name]
	if !errors.Is(err, ErrNotTaken) {
		delete(u.hosts, h.Name)
		return
	}
	if s.generation != h.Generation {
		s = untakenState{generation: h.Generation}
	}
	s.pause = min(max(2*s.pause, firstPause), longestPause)
	s.until = now.Add(s.pause)
	if u.hosts == nil {
		u.hosts = map[dnsname.Name]untakenState{}
	}
	if len(u.hosts) >= maxUntaken {
		for k := range u.hosts {
			delete(u.hosts, k)
			break
		}
	}
	u.hosts[h.Name] = s
}
