package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
)

// ParentDS is what the name servers of the parent zone say of a zone's DS records.
type ParentDS struct {
	Parent dnsname.Name
	// DS are their data as in a zone file, in order.
	DS []string
	// TTL of the records, or of the news that there are none, in seconds.
	TTL uint32
}

// AskParentDS asks every name server of the parent zone for the DS records of a
// zone, and the resolver who they are. Those that do not answer for the parent are left out; an
// error says that none does, or that they say different things. ctx bounds it all.
func AskParentDS(ctx context.Context, c Config, apex dnsname.Name) (ParentDS, error) {
	a := newAsker(c)
	parent, servers, err := a.parent(ctx, apex)
	if err != nil {
		return ParentDS{}, err
	}
	out := ParentDS{Parent: parent}
	heard := false
	for _, at := range servers[:min(len(servers), maxServers)] {
		m, err := a.server(ctx, at, apex, dns.TypeDS)
		if err != nil || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError || !m.Authoritative {
			continue
		}
		var ds []string
		from, _, ttl, _ := soa(m.Ns)
		for _, rr := range m.Answer {
			if d, ok := rr.(*dns.DS); ok && owns(rr, apex) {
				ds, ttl = append(ds, fmt.Sprintf("%d %d %d %s", d.KeyTag, d.Algorithm, d.DigestType, strings.ToUpper(d.Digest))), rr.Header().TTL
			}
		}
		if len(ds) == 0 && from != parent {
			// It has the zone and not its parent, and DS records are the parent's
			// (RFC 4035 section 3.1.4.1).
			continue
		}
		slices.Sort(ds)
		if heard && !slices.Equal(ds, out.DS) {
			return ParentDS{}, fmt.Errorf("the name servers of %s do not agree about DS records; they may be about to change", parent)
		}
		out.DS, out.TTL, heard = ds, max(out.TTL, ttl), true
	}
	if !heard {
		return ParentDS{}, fmt.Errorf("no name server of %s answers", parent)
	}
	return out, nil
}

// lookUp asks the resolver for a name's addresses.
func (a *asker) lookUp(ctx context.Context, name dnsname.Name) (out []netip.Addr) {
	for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if m, err := a.resolve(ctx, name, rtype); err == nil {
			found, _ := addresses(m.Answer, name)
			out = append(out, found...)
		}
	}
	return out
}

// parent finds the zone above an apex, and its servers' addresses.
func (a *asker) parent(ctx context.Context, apex dnsname.Name) (parent dnsname.Name, servers []netip.Addr, err error) {
	above, ok := apex.Parent()
	if !ok {
		return above, nil, errors.New("the root has no parent")
	}
	m, err := a.resolve(ctx, above, dns.TypeSOA)
	if err != nil {
		return above, nil, err
	}
	parent, _, _, ok = soa(slices.Concat(m.Answer, m.Ns))
	if !ok {
		return above, nil, fmt.Errorf("it answers %s without a SOA", rcode(m))
	}
	if m, err = a.resolve(ctx, parent, dns.TypeNS); err != nil {
		return parent, nil, err
	}
	for _, ns := range nameServers(m.Answer, parent) {
		found, _ := addresses(m.Extra, ns)
		if len(found) == 0 {
			found = a.lookUp(ctx, ns)
		}
		servers = append(servers, found...)
		if len(servers) >= maxServers {
			break
		}
	}
	if len(servers) == 0 {
		return parent, nil, fmt.Errorf("it knows no name server of %s", parent)
	}
	return parent, servers, nil
}
