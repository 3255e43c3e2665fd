package ddns

import (
	"context"
	"sync"
	"time"

	"godwit/internal/dnsname"
)

// refusals counts what was refused to callers who had proved themselves, so
// that a host's refusals cost one write in RefusalEvery and no more.
type refusals struct {
	mu    sync.Mutex // guards hosts
	hosts map[dnsname.Name]*refusalCount
}

type refusalCount struct {
	written time.Time // when they were last written down
	n       uint64    // since then
}

func newRefusals() *refusals { return &refusals{hosts: make(map[dnsname.Name]*refusalCount)} }

// count adds one and says how many are to be written down now; 0: none.
func (r *refusals) count(name dnsname.Name, now time.Time) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.hosts[name]
	if c == nil {
		if len(r.hosts) >= maxBuckets {
			for k := range r.hosts { // any one: its next refusal is written down sooner
				delete(r.hosts, k)
				break
			}
		}
		r.hosts[name] = &refusalCount{written: now}
		return 1
	}
	c.n++
	if now.Sub(c.written) < RefusalEvery {
		return 0
	}
	n := c.n
	*c = refusalCount{written: now}
	return n
}

// refused records a refusal in the host's history, within bounds, and returns it.
func (s *Service) refused(ctx context.Context, h *Host, c *Credential, u Update, r *Refusal, now time.Time) *Refusal {
	if n := s.refusals.count(h.Name, now); n > 0 {
		e := Event{Time: now, Generation: h.Generation, Outcome: string(r.Code), Door: u.Door, Credential: c.ID,
			Source: u.Source.Addr, Proven: u.Source.Proven, What: r.Why}
		if err := s.Store.Refused(ctx, h.Name, e, n); err != nil {
			s.Log.Warn("could not record a refusal", "host", h.Name.String(), "err", err)
		}
	}
	return r
}
