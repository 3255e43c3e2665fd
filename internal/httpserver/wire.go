package httpserver

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/tsig"
)

// hostState is a host as the API shows it; credentials nil leaves them out.
func hostState(h *ddns.Host, credentials []*ddns.Credential) api.HostState {
	out := api.HostState{
		Host: h.Name.String(), A: some(h.A), AAAA: some(h.AAAA), TTL: h.TTL, Generation: h.Generation, Published: h.Published,
		Zone: h.Zone.String(), Addresses: h.Addresses.String(), Source: api.SourceMatch, Seed: !h.SeedOff, Suspended: h.Suspended,
		Wildcard: h.Wildcard, Lease: int64(h.Lease / time.Second), Prefix: h.Prefix,
		Created: h.Created.UTC(), ChangedAt: h.ChangedAt.UTC(), ChangedBy: h.ChangedBy, Seen: h.Seen.UTC(), Refusals: h.Refusals,
	}
	if h.Free {
		out.Source = api.SourceFree
	}
	for _, f := range h.Followers {
		a, aaaa := h.FollowerAddrs(f)
		out.Followers = append(out.Followers, api.FollowerState{
			Follower:  api.Follower{Name: f.Name.String(), Low: ddns.LowText(f.Low), A: f.A, AAAA: f.AAAA},
			Addresses: some(slices.Concat(a, aaaa)),
		})
	}
	for _, t := range h.TXT {
		out.Challenges = append(out.Challenges, api.Challenge{Value: t.Value, Credential: t.Credential, Time: t.Time.UTC()})
	}
	if credentials != nil {
		out.Credentials = credentialStates(h, credentials)
	}
	return out
}

// nameState is what the API shows at a name of a host: the host, or its follower.
func nameState(name dnsname.Name, h *ddns.Host, credentials []*ddns.Credential) api.HostState {
	f, ok := h.Follower(name)
	if !ok {
		return hostState(h, credentials)
	}
	out := hostState(h, nil)
	a, aaaa := h.FollowerAddrs(f)
	out.Host, out.Router, out.A, out.AAAA = name.String(), h.Name.String(), some(a), some(aaaa)
	out.Followers, out.Challenges, out.Wildcard = nil, nil, false
	return out
}

// aboutFollower leaves of its router's events what they were to a follower: the
// router's own AAAA is none of it, and its prefix is in words.
func aboutFollower(events []ddns.Event, f ddns.Follower) (out []ddns.Event) {
	shown := func(addrs []netip.Addr) []netip.Addr {
		return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !f.A || !a.Is4() })
	}
	for _, e := range events {
		e.Before, e.After = shown(e.Before), shown(e.After)
		if e.Outcome != api.Changed || e.What != "" || !slices.Equal(e.Before, e.After) {
			out = append(out, e)
		}
	}
	return out
}

// some is the list, never nil: JSON shows an empty one.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func credentialStates(h *ddns.Host, credentials []*ddns.Credential) []api.Credential {
	out := make([]api.Credential, 0, len(credentials))
	for _, c := range credentials {
		grant, _ := c.Grant(h.Name)
		state := api.Credential{
			ID: c.ID, Kind: string(c.Kind), Algorithm: c.Algorithm, Label: c.Label, Networks: c.Networks, Rate: c.Rate,
			Created: c.Created.UTC(), Expires: c.Expires.UTC(), State: string(c.State), URLToken: grant.URLToken,
			Hosts: hostsOf(c),
			Seed:  !h.SeedOff && c.Sealed != nil && (c.Kind == ddns.KindToken || c.Kind == ddns.KindSeed),
		}
		for _, t := range grant.Types {
			state.Types = append(state.Types, t.String())
		}
		out = append(out, state)
	}
	return out
}

// hostsOf are all hosts of a credential that serves several.
func hostsOf(c *ddns.Credential) (hosts []string) {
	if len(c.Grants) > 1 {
		for _, g := range c.Grants {
			hosts = append(hosts, g.Host.String())
		}
	}
	return hosts
}

func parseHosts(texts []string) ([]dnsname.Name, error) {
	names := make([]dnsname.Name, len(texts))
	for i, text := range texts {
		var err error
		if names[i], err = parseHost(text); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func parseHost(text string) (dnsname.Name, error) { return dnsname.ParseHost(text) }

// negate turns a switch around; nil stays nil.
func negate(p *bool) *bool {
	if p == nil {
		return nil
	}
	b := !*p
	return &b
}

// seconds reads a duration of at most 20 years.
func seconds(member string, n int64) (time.Duration, error) {
	if n < 0 || n > 20*365*24*3600 {
		return 0, malformed(member+" is not a number of seconds that makes sense", "give 3600 for an hour, for example")
	}
	return time.Duration(n) * time.Second, nil
}

// readSettings reads what a request says of a host's settings.
func readSettings(in api.Settings) (ddns.Settings, error) {
	out := ddns.Settings{TTL: in.TTL, SeedOff: negate(in.Seed), Suspended: in.Suspended, Wildcard: in.Wildcard}
	if in.Addresses != nil {
		rule, err := ddns.ParseAddressRule(*in.Addresses)
		if err != nil {
			return ddns.Settings{}, err
		}
		out.Addresses = &rule
	}
	if in.Source != nil {
		free := *in.Source == api.SourceFree
		if !free && *in.Source != api.SourceMatch {
			return ddns.Settings{}, malformed(fmt.Sprintf("source %q is not understood", word(*in.Source)), "give match or free")
		}
		out.Free = &free
	}
	if in.Lease != nil {
		lease, err := seconds("lease", *in.Lease)
		if err != nil {
			return ddns.Settings{}, err
		}
		out.Lease = &lease
	}
	if in.Followers != nil {
		followers := make([]ddns.Follower, 0, len(*in.Followers))
		for _, f := range *in.Followers {
			name, err := parseHost(f.Name)
			if err != nil {
				return ddns.Settings{}, err
			}
			low, err := ddns.ParseLow(f.Low)
			if err != nil {
				return ddns.Settings{}, err
			}
			followers = append(followers, ddns.Follower{Name: name, Low: low, A: f.A, AAAA: f.AAAA})
		}
		out.Followers = &followers
	}
	return out, nil
}

// readTokenSpec reads what a request says a token is good for.
func readTokenSpec(in api.TokenSpec) (ddns.TokenSpec, error) {
	out := ddns.TokenSpec{Label: in.Label, Rate: in.Rate, Expires: in.Expires, URLToken: in.URLToken, Join: in.Join}
	for _, r := range in.Label {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ddns.TokenSpec{}, malformed("the label has control characters", "use printable ones")
		}
	}
	if in.TSIG != "" {
		var ok bool
		if out.TSIG, ok = tsig.ParseAlgorithm(in.TSIG); !ok {
			return ddns.TokenSpec{}, malformed(fmt.Sprintf("TSIG algorithm %q is not known", word(in.TSIG)), "give hmac-sha256, hmac-sha384 or hmac-sha512")
		}
	}
	var err error
	if out.Hosts, err = parseHosts(in.Hosts); err != nil {
		return ddns.TokenSpec{}, err
	}
	known := []ddns.Type{ddns.TypeA, ddns.TypeAAAA, ddns.TypeTXT, ddns.TypePrefix}
types:
	for _, text := range in.Types {
		for i, t := range known {
			if t.String() == text {
				out.Types = append(out.Types, t)
				known = append(known[:i:i], known[i+1:]...) // each once
				continue types
			}
		}
		return ddns.TokenSpec{}, malformed(fmt.Sprintf("type %q is not understood, or is there twice", word(text)), "give A, AAAA, TXT or prefix")
	}
	for _, p := range in.Networks {
		if !p.IsValid() || p.Addr().Is4In6() {
			return ddns.TokenSpec{}, malformed("a network is not a CIDR block", "write it as 192.0.2.0/24 or 2001:db8::/32")
		}
		out.Networks = append(out.Networks, netip.PrefixFrom(p.Addr(), p.Bits()).Masked())
	}
	return out, nil
}
