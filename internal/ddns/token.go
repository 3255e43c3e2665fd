package ddns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"godwit/internal/dnsname"
)

// TokenSpec says what a further token is good for. It may narrow the host's
// policy, never widen it.
type TokenSpec struct {
	Label    string         // at most 64 octets
	Types    []Type         // empty: A, AAAA and prefix
	Networks []netip.Prefix // at most 32; empty: all
	Rate     int            // accepted changes in any hour, at most MaxEvents; 0: the host's limit alone
	Expires  time.Time      // zero: never
	URLToken bool
	// Join asks for a join code: all else is for the key that it becomes. It has
	// an end of its own, and cannot stand in a URL.
	Join bool
}

func (t TokenSpec) validate(now time.Time) error {
	switch {
	case len(t.Label) > 64:
		return refuse(Malformed, "the label is longer than 64 octets", "give a shorter one")
	case len(t.Networks) > 32:
		return refuse(Malformed, "more than 32 source networks", "name fewer, larger ones")
	case slices.ContainsFunc(t.Networks, func(p netip.Prefix) bool { return !p.IsValid() || p.Addr().Is4In6() }):
		return refuse(Malformed, "a source network is not a CIDR block", "give blocks such as 192.0.2.0/24,2001:db8::/32")
	case slices.ContainsFunc(t.Types, func(t Type) bool { return t < TypeA || t > TypePrefix }):
		return refuse(Malformed, "a type is not one that hosts have", "use A, AAAA, TXT or prefix")
	case t.Rate < 0 || t.Rate > MaxEvents: // it is counted in the host's history
		return refuse(Malformed, fmt.Sprintf("the rate is not 0 to %d", MaxEvents), "give the number of changes an hour, or 0 for the host's own limit")
	case t.Join && (!t.Expires.IsZero() || t.URLToken):
		return refuse(Malformed, "a join code has an end of its own, and a key does not stand in a URL", "leave the expiry and the URL right out")
	case !t.Expires.IsZero() && !t.Expires.After(now):
		return refuse(Malformed, "the token would have expired already", "give a time in the future")
	}
	return nil
}

// AddToken gives a host a further token or join code. It is shown once and kept
// only as a hash.
func (s *Service) AddToken(ctx context.Context, name dnsname.Name, spec TokenSpec) (Created, error) {
	var out Created
	done, err := s.change(ctx, name, func(h *Host, _ []*Credential, w *Write) (string, error) {
		now := s.Now()
		if err := spec.validate(now); err != nil {
			return "", err
		}
		what := "token "
		if spec.Join {
			what, out = "join code ", newJoin(h.Name, now)
		} else {
			c, token := NewToken(h.Name, now)
			c.Expires = spec.Expires
			out = Created{Credential: c, Token: token}
		}
		c := out.Credential
		c.Label, c.Networks, c.Rate = spec.Label, spec.Networks, spec.Rate
		c.Grants[0].Types, c.Grants[0].URLToken = spec.Types, spec.URLToken
		w.Credentials = append(w.Credentials, c)
		h.Credentials = append(h.Credentials, c.ID)
		return what + c.ID + " added", nil
	})
	out.Host = done.Host
	return out, err
}

func noSuchToken(id string, name dnsname.Name) *Refusal {
	return &Refusal{Code: NotFound, Why: fmt.Sprintf("%s has no credential %q", name, id), Fix: "godwit host token list shows them", Cause: ErrNoCredential}
}

// RotateToken replaces one token by a new one with the same limits, a key or a
// join code by a new code. The old one goes on working for overlap, which may be
// 0, or until it expires.
func (s *Service) RotateToken(ctx context.Context, name dnsname.Name, id string, overlap time.Duration) (Created, error) {
	var out Created
	done, err := s.change(ctx, name, func(h *Host, credentials []*Credential, w *Write) (string, error) {
		i := slices.IndexFunc(credentials, func(c *Credential) bool { return c.ID == id && c.rotates() })
		if i < 0 {
			return "", noSuchToken(id, name)
		}
		old, now := credentials[i], s.Now()
		switch {
		case len(old.Grants) > 1:
			return "", refuse(Malformed, "this credential serves several hosts", "add a new one and revoke this one")
		case !old.Expires.IsZero() && !now.Before(old.Expires):
			return "", refuse(Malformed, "this credential has expired", "add a new one")
		}
		if old.shared() {
			c, token := NewToken(h.Name, now)
			c.Expires = old.Expires
			out = Created{Credential: c, Token: token}
			if old.Sealed != nil {
				if err := s.seal(h, c, token); err != nil {
					return "", err
				}
			}
		} else {
			out = newJoin(h.Name, now)
		}
		c := out.Credential
		c.Label, c.Networks, c.Rate, c.State = old.Label, old.Networks, old.Rate, old.State
		c.Grants = slices.Clone(old.Grants)
		if end := now.Add(overlap); overlap > 0 && (old.Expires.IsZero() || old.Expires.After(end)) {
			d := *old
			d.Expires = end
			w.Credentials = append(w.Credentials, &d)
		} else if overlap <= 0 {
			w.drop(h, old)
		}
		w.Credentials = append(w.Credentials, c)
		h.Credentials = append(h.Credentials, c.ID)
		return fmt.Sprintf("%s %s rotated to %s", old.Kind, id, c.ID), nil
	})
	out.Host = done.Host
	return out, err
}

// RevokeToken ends one credential of a host at once.
func (s *Service) RevokeToken(ctx context.Context, name dnsname.Name, id string) error {
	_, err := s.change(ctx, name, func(h *Host, credentials []*Credential, w *Write) (string, error) {
		for _, c := range credentials {
			if c.ID == id {
				w.drop(h, c)
				return "credential " + id + " revoked", nil
			}
		}
		return "", noSuchToken(id, name)
	})
	return err
}
