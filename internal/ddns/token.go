package ddns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/tsig"
)

// TokenSpec says what a further token is good for. It may narrow the host's
// policy, never widen it.
type TokenSpec struct {
	// Hosts that the token serves besides the one that is asked for it, with the
	// same types; at most MaxGrants in all. A join code has none: its key's marks
	// are one host's.
	Hosts    []dnsname.Name
	Label    string         // at most 64 octets
	Types    []Type         // empty: all
	Networks []netip.Prefix // at most 32; empty: all
	Rate     int            // accepted changes in any hour, at most MaxEvents; 0: the host's limit alone
	Expires  time.Time      // zero: never
	URLToken bool
	// TSIG asks for a key for DNS UPDATE messages, of this algorithm; "": none. It
	// cannot stand in a URL.
	TSIG tsig.Algorithm
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
	case t.TSIG != "" && t.TSIG.Size() == 0:
		return refuse(Malformed, "there is no such TSIG algorithm", "use hmac-sha256")
	case t.TSIG != "" && (t.Join || t.URLToken):
		return refuse(Malformed, "a TSIG key is no join code and does not stand in a URL", "leave join and the URL right out")
	case t.Join && (!t.Expires.IsZero() || t.URLToken):
		return refuse(Malformed, "a join code has an end of its own, and a key does not stand in a URL", "leave the expiry and the URL right out")
	case len(t.Hosts) > MaxGrants:
		return tooManyHosts()
	case t.Join && len(t.Hosts) > 0:
		return refuse(Malformed, "a key serves one host", "make a join code for each host, or a token for all of them")
	case !t.Expires.IsZero() && !t.Expires.After(now):
		return refuse(Malformed, "the token would have expired already", "give a time in the future")
	}
	return nil
}

// AddToken gives a host, and the others that spec names, a further token or join
// code. It is shown once and kept only as a hash.
func (s *Service) AddToken(ctx context.Context, name dnsname.Name, spec TokenSpec) (Created, error) {
	if err := spec.validate(s.Now()); err != nil {
		return Created{}, err
	}
	var out Created
	others := func([]*Credential) []dnsname.Name { return spec.Hosts }
	done, err := s.changeAll(ctx, name, others, func(edits []edit) (string, error) {
		now := s.Now()
		if err := allThere(edits, spec.Hosts); err != nil {
			return "", err
		}
		what := "token "
		switch {
		case spec.Join:
			what, out = "join code ", newJoin(name, now)
		case spec.TSIG != "":
			what = "TSIG key "
			var err error
			if out, err = s.newTSIG(edits[0].Host, spec.TSIG, now); err != nil {
				return "", err
			}
		default:
			c, token := NewToken(name, now)
			out = Created{Credential: c, Token: token}
		}
		c := out.Credential
		if !spec.Join {
			c.Expires = spec.Expires
		}
		c.Label, c.Networks, c.Rate = spec.Label, spec.Networks, spec.Rate
		c.Grants = nil
		for i := range edits {
			h := edits[i].Host
			c.Grants = append(c.Grants, Grant{Host: h.Name, Types: spec.Types, URLToken: spec.URLToken})
			h.Credentials = append(h.Credentials, c.ID)
		}
		edits[0].Credentials = append(edits[0].Credentials, c)
		return what + c.ID + " added" + forHosts(edits), checkGrants(c)
	})
	if err == nil {
		out.Host = done[0].Host
	}
	return out, err
}

// allThere refuses names that are none of the hosts at hand.
func allThere(edits []edit, names []dnsname.Name) error {
	for _, n := range names {
		if !slices.ContainsFunc(edits, func(e edit) bool { return e.Host.Name == n }) {
			return noSuchHost(n)
		}
	}
	return nil
}

// forHosts says how many hosts a change is about, if it is several.
func forHosts(edits []edit) string {
	if len(edits) == 1 {
		return ""
	}
	return fmt.Sprintf(", for %d hosts", len(edits))
}

// checkGrants holds a credential to the number of hosts that it may serve.
func checkGrants(c *Credential) error {
	if len(c.Grants) > MaxGrants {
		return tooManyHosts()
	}
	return nil
}

func tooManyHosts() *Refusal {
	return refuse(TooMany, fmt.Sprintf("a credential serves %d hosts at most", MaxGrants), "give the others one of their own")
}

func noSuchToken(id string, name dnsname.Name) *Refusal {
	return &Refusal{Code: NotFound, Why: fmt.Sprintf("%s has no credential %q", name, id), Fix: "godwit host token list shows them", Cause: ErrNoCredential}
}

// changeToken is changeAll for one of a host's credentials and all hosts that it
// serves, with those in also.
func (s *Service) changeToken(ctx context.Context, name dnsname.Name, id string, also []dnsname.Name, do func(c *Credential, edits []edit) (what string, err error)) ([]Outcome, error) {
	find := func(list []*Credential) *Credential {
		if i := slices.IndexFunc(list, func(c *Credential) bool { return c.ID == id }); i >= 0 {
			return list[i]
		}
		return nil
	}
	served := func(list []*Credential) (names []dnsname.Name) {
		if c := find(list); c != nil {
			for _, g := range c.Grants {
				names = append(names, g.Host)
			}
		}
		return append(names, also...)
	}
	return s.changeAll(ctx, name, served, func(edits []edit) (string, error) {
		c := find(edits[0].had)
		if c == nil {
			return "", noSuchToken(id, name)
		}
		return do(c, edits)
	})
}

func (c *Credential) serves(host dnsname.Name) bool {
	_, ok := c.Grant(host)
	return ok
}

// without takes a credential's ID from a host.
func (e *edit) without(id string) {
	e.Host.Credentials = slices.DeleteFunc(e.Host.Credentials, func(own string) bool { return own == id })
}

// RotateToken replaces one token by a new one with the same hosts and limits, a
// key or a join code by a new code. The old one goes on working for overlap,
// which may be 0, or until it expires.
func (s *Service) RotateToken(ctx context.Context, name dnsname.Name, id string, overlap time.Duration) (Created, error) {
	var out Created
	done, err := s.changeToken(ctx, name, id, nil, func(old *Credential, edits []edit) (string, error) {
		now := s.Now()
		switch {
		case old.Kind == KindACME:
			return "", refuse(Malformed, "an acme-dns account is not rotated", "let the client register again, and revoke this one")
		case !old.rotates():
			return "", noSuchToken(id, name)
		case len(old.Grants) > 1 && !old.shared() && old.Kind != KindTSIG:
			return "", refuse(Malformed, "this key serves several hosts", "make a join code for each host, and revoke this one")
		case !old.Expires.IsZero() && !now.Before(old.Expires):
			return "", refuse(Malformed, "this credential has expired", "add a new one")
		}
		switch {
		case old.Kind == KindTSIG:
			var err error
			if out, err = s.newTSIG(edits[0].Host, tsig.Algorithm(old.Algorithm), now); err != nil {
				return "", err
			}
			out.Credential.Expires = old.Expires
		case old.shared():
			c, token := NewToken(name, now)
			c.Expires = old.Expires
			out = Created{Credential: c, Token: token}
			if old.Sealed != nil {
				if err := s.seal(edits[0].Host, c, token); err != nil {
					return "", err
				}
			}
		default:
			out = newJoin(name, now)
		}
		c, w := out.Credential, &edits[0].Write
		c.Label, c.Networks, c.Rate, c.State = old.Label, old.Networks, old.Rate, old.State
		c.Grants = nil
		for i := range edits {
			h := edits[i].Host
			if g, ok := old.Grant(h.Name); ok {
				c.Grants = append(c.Grants, g)
			}
			if overlap <= 0 {
				edits[i].without(id)
			}
			h.Credentials = append(h.Credentials, c.ID)
		}
		if end := now.Add(overlap); overlap > 0 && (old.Expires.IsZero() || old.Expires.After(end)) {
			d := *old
			d.Expires = end
			w.Credentials = append(w.Credentials, &d)
		} else if overlap <= 0 {
			w.Revoked = append(w.Revoked, id)
		}
		w.Credentials = append(w.Credentials, c)
		return fmt.Sprintf("%s %s rotated to %s%s", old.Kind, id, c.ID, forHosts(edits)), nil
	})
	if err == nil {
		out.Host = done[0].Host
	}
	return out, err
}

// RevokeToken ends one credential of a host at once, for all hosts that it
// serves, and returns those.
func (s *Service) RevokeToken(ctx context.Context, name dnsname.Name, id string) ([]dnsname.Name, error) {
	var hosts []dnsname.Name
	_, err := s.changeToken(ctx, name, id, nil, func(_ *Credential, edits []edit) (string, error) {
		hosts = nil
		for i := range edits {
			edits[i].without(id)
			hosts = append(hosts, edits[i].Host.Name)
		}
		edits[0].Revoked = []string{id}
		return "credential " + id + " revoked" + forHosts(edits), nil
	})
	return hosts, err
}

// SetToken adds hosts to those that a host's token serves, with the types and
// rights that it has for that host, and takes others away, which may be that host
// itself. It returns the token as it is then, read only. A token that is the
// host's seed secret too serves that host alone, for the seed's hash cannot tell
// two hosts with one secret apart.
func (s *Service) SetToken(ctx context.Context, name dnsname.Name, id string, add, remove []dnsname.Name) (*Credential, error) {
	if len(add) > MaxGrants {
		return nil, tooManyHosts()
	}
	var out *Credential
	_, err := s.changeToken(ctx, name, id, add, func(c *Credential, edits []edit) (string, error) {
		out = c
		switch {
		case c.Kind != KindToken && c.Kind != KindTSIG:
			return "", refuse(Malformed, "only a token or TSIG key serves several hosts, and this credential is none", "make one: godwit host token add NAME --host OTHER")
		case c.Kind == KindToken && c.Sealed != nil && len(add) > 0:
			return "", refuse(Malformed, "this token is also the host's secret for the seed's proof, and no other host may have that",
				"make another one: godwit host token add NAME --host OTHER, or turn that proof off: godwit host set NAME --seed=off")
		}
		if err := allThere(edits, add); err != nil {
			return "", err
		}
		for _, n := range remove {
			if !c.serves(n) || slices.Contains(add, n) {
				return "", refuse(NotFound, fmt.Sprintf("credential %s does not serve %s", id, n), "godwit host token list shows its hosts")
			}
		}
		next := *c
		next.Grants = slices.DeleteFunc(slices.Clone(c.Grants), func(g Grant) bool { return slices.Contains(remove, g.Host) })
		for i := range edits {
			switch h := edits[i].Host; {
			case slices.Contains(remove, h.Name):
				edits[i].without(id)
			case !c.serves(h.Name):
				like, _ := c.Grant(name)
				like.Host = h.Name
				next.Grants = append(next.Grants, like)
				h.Credentials = append(h.Credentials, id)
			}
		}
		switch {
		case len(next.Grants) == 0:
			return "", refuse(Malformed, "that would leave the token no host", fmt.Sprintf("revoke it: godwit host token revoke %s %s", name, id))
		case slices.EqualFunc(next.Grants, c.Grants, func(a, b Grant) bool { return a.Host == b.Host }):
			return "", nil
		}
		out = &next
		edits[0].Credentials = []*Credential{&next}
		return fmt.Sprintf("token %s serves %d hosts, not %d", id, len(next.Grants), len(c.Grants)), checkGrants(&next)
	})
	return out, err
}
