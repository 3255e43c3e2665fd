package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"time"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/signature"
)

// exchange tells the server the address, in as few requests as it takes: one if
// all is well, and one more each for a clock that is wrong, an order that is
// lost, and an address that has changed.
func (r *runner) exchange(ctx context.Context, f *family, found Finding, prefix netip.Prefix) (outcome string, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	r.proof.mu.Lock()
	defer r.proof.mu.Unlock()
	fresh, err := r.proof.loadLocked()
	if err != nil {
		return "", &localError{err}
	}
	if fresh && r.proof.signer != nil {
		r.restoreOrder(r.proof.signer)
	}
	door, err := r.door(f, found.Addr, func() time.Time { return r.serverTime(f) })
	if err != nil {
		return "", &localError{err}
	}
	defer func() { door.Close() }()

	known, refreshed := r.remembered(f)
	named, byServer := found.Addr, !f.Remove && !found.Addr.IsValid()
	anew := f.anew || time.Since(refreshed) >= refreshEvery
	if byServer && !anew && known.IsValid() {
		named = known
		if r.PollIP {
			seen, err := door.Source(ctx)
			switch {
			case expired(err): // by which clock? see below
			case err != nil:
				return "", err
			case seen != known:
				named = netip.Addr{}
			case !prefix.IsValid() || prefix == r.knownPrefix(f):
				return api.Unchanged, nil
			}
		}
	}
	for learnt, ordered, own := false, false, false; ; {
		answer, err := door.SetAddresses(ctx, r.Host, request(f, named, prefix))
		if err == nil {
			var shown netip.Addr
			shown, err = confirmed(f, named, prefix, answer)
			if err == nil && byServer && named.IsValid() && answer.Source.Is4() == named.Is4() && answer.Source.IsValid() && answer.Source != named {
				named = netip.Addr{} // a host that may be set to any address took the old one
				continue
			}
			if err == nil {
				r.acknowledge(f, shown, prefix, anew || byServer && !named.IsValid())
			}
			return answer.Outcome, err
		}
		if expired(err) && !own {
			// The server's clock, as it was learnt, may have been the wrong one.
			own = true
			door.Close()
			if door, err = r.door(f, found.Addr, nil); err != nil {
				return "", &localError{err}
			}
			continue
		}
		var p *api.Problem
		if !errors.As(err, &p) {
			return "", err
		}
		switch now := time.Now(); {
		case p.Code == "clock" && r.proof.signer != nil && p.Now > 0 && !learnt:
			r.proof.signer.Learn(time.Unix(p.Now, 0), now)
			r.log.Info("the clock of this device is wrong; the agent goes by the server's", "seconds_off", now.Unix()-p.Now)
			learnt, f.unsaved = true, true
		case p.Code == "replayed" && r.proof.signer != nil && !ordered && r.proof.signer.After(p.LastCreated, now):
			ordered = true
		case p.Code == "not-source" && byServer && named.IsValid():
			named = netip.Addr{}
		default:
			return "", err
		}
	}
}

// door goes over the family, and from the very address that was found if it is
// this device's: a server takes no address that a request does not come from.
func (r *runner) door(f *family, found netip.Addr, clock func() time.Time) (*client.Door, error) {
	c := client.DoorConfig{URL: r.Server, Network: "tcp4", Sign: r.proof.signLocked(), Token: r.proof.token,
		RootCAs: r.a.c.RootCAs, Timeout: requestTimeout, Time: clock}
	if f.Family == IPv6 {
		c.Network = "tcp6"
	}
	if found.IsValid() && slices.Contains(r.a.c.Local(f.Family), found) {
		c.Local = found
	}
	if r.a.c.Transport != nil {
		c.Transport = r.a.c.Transport(f.Family)
	}
	return client.NewDoor(c)
}

// serverTime is as near to the server's clock as this device comes. One without
// a battery for its clock boots in 1970, where no certificate is valid, and so
// would never learn the time: it cannot be earlier than the last answer.
func (r *runner) serverTime(f *family) time.Time {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	now := time.Now()
	if f.memory.Refreshed.After(now) {
		now = f.memory.Refreshed
	}
	return now.Add(time.Duration(r.memory.Offset) * time.Second)
}

// expired tells whether a certificate was refused for its time.
func expired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// request names an address, or removes the family, or lets the server choose;
// and it names the prefix, if there is one.
func request(f *family, named netip.Addr, prefix netip.Prefix) (set api.SetAddresses) {
	if prefix.IsValid() {
		set.Prefix = &prefix
	}
	list := []netip.Addr{}
	switch {
	case named.IsValid():
		list = append(list, named)
	case !f.Remove:
		return set
	}
	if f.Family == IPv4 {
		set.A = &list
	} else {
		set.AAAA = &list
	}
	return set
}

// confirmed is the address that the server acknowledges, with the prefix;
// invalid if the family was to be removed.
func confirmed(f *family, named netip.Addr, prefix netip.Prefix, answer api.Addresses) (netip.Addr, error) {
	list := answer.A
	if f.Family == IPv6 {
		list = answer.AAAA
	}
	switch {
	case prefix.IsValid() && answer.Prefix != prefix:
	case f.Remove && len(list) == 0:
		return netip.Addr{}, nil
	case !f.Remove && len(list) == 1 && (!named.IsValid() || list[0] == named):
		return list[0], nil
	}
	return netip.Addr{}, errors.New("the server's answer does not say what it was asked for; it will be asked again")
}

// remembered is the address that the server acknowledged last, and when it was
// asked for anew.
func (r *runner) remembered(f *family) (netip.Addr, time.Time) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	return f.memory.Address, f.memory.Refreshed
}

// knownPrefix is the prefix that the server acknowledged last.
func (r *runner) knownPrefix(f *family) netip.Prefix {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	return f.memory.Prefix
}

// acknowledge notes what the server has confirmed.
func (r *runner) acknowledge(f *family, shown netip.Addr, prefix netip.Prefix, anew bool) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	now := time.Now().Round(0)
	if f.memory.Address != shown {
		r.log.Info("the server has the address", "family", f.Family, "address", text(shown), "before", text(f.memory.Address))
		f.memory.Address, f.memory.Since, f.unsaved = shown, now, true
	}
	if prefix.IsValid() && f.memory.Prefix != prefix {
		r.log.Info("the server has the prefix", "prefix", prefix.String())
		f.memory.Prefix, f.unsaved = prefix, true
	}
	if anew {
		f.memory.Refreshed, f.unsaved = now, true
	}
	f.anew = false
}

// restoreOrder lets a signer that was just made go on where the last one of this
// device stopped.
func (r *runner) restoreOrder(s *signature.Signer) {
	r.a.mu.Lock()
	offset, last := r.memory.Offset, r.memory.LastCreated
	r.a.mu.Unlock()
	now := time.Now()
	if offset != 0 {
		s.Learn(now.Add(time.Duration(offset)*time.Second), now)
	}
	s.After(last, now)
}
