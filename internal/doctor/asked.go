package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/api"
	"godwit/internal/dnsname"
)

const (
	maxServers   = 13 // name servers of a zone that are looked at
	maxAddresses = 3  // of one name server
)

// nameServer is one of the zone's.
type nameServer struct {
	name  dnsname.Name
	addrs []netip.Addr
}

// inDNS looks at the parent, the name servers and the resolver.
func (e *exam) inDNS(ctx context.Context, name dnsname.Name) {
	apex, err := dnsname.Parse(e.Host.Zone)
	if err != nil {
		return
	}
	i := slices.IndexFunc(e.Zones, func(z api.Zone) bool { return z.Apex == e.Host.Zone })
	if i < 0 {
		e.find(Wrong, "zone", "the server does not serve "+e.Host.Zone+", in which the host is", "Start the server with --zone "+e.Host.Zone+", or remove the host: "+e.command("host remove"))
		return
	}
	configured := parseServers(e.Zones[i].NameServers)
	e.right("zone", "%s, name servers %s", e.Host.Zone, names(configured))
	delegated, known := e.delegation(ctx, apex, configured)
	if len(delegated) > 0 {
		e.servers(ctx, name, apex, delegated, e.Zones[i].Serial)
	} else {
		e.servers(ctx, name, apex, configured, e.Zones[i].Serial)
	}
	if known {
		e.resolver(ctx, name)
	}
}

// parseServers reads NAME or NAME=ADDR,… as a server tells its name servers.
func parseServers(texts []string) (out []nameServer) {
	for _, text := range texts {
		host, addrs, _ := strings.Cut(text, "=")
		n, err := dnsname.Parse(host)
		if err != nil {
			continue
		}
		ns := nameServer{name: n}
		for addr := range strings.SplitSeq(addrs, ",") {
			if a, err := netip.ParseAddr(addr); err == nil {
				ns.addrs = append(ns.addrs, a)
			}
		}
		out = append(out, ns)
	}
	return out
}

func names(servers []nameServer) string {
	var out []string
	for _, s := range servers {
		out = append(out, s.name.String())
	}
	slices.Sort(out)
	if out == nil {
		return "none"
	}
	return strings.Join(out, " ")
}

// delegation asks the parent zone who answers for the zone. answered tells whether
// the resolver could be asked at all.
func (e *exam) delegation(ctx context.Context, apex dnsname.Name, configured []nameServer) (delegated []nameServer, answered bool) {
	parent, servers, err := e.ask.parent(ctx, apex)
	if err != nil {
		e.find(Note, "delegation", "the resolver "+e.ask.Resolver.String()+" cannot be asked for the parent zone: "+reason(err), "Name one that answers, such as --resolver 9.9.9.9")
		return nil, false
	}
	var m *dns.Msg
	for _, at := range servers {
		if m, err = e.ask.server(ctx, at, apex, dns.TypeNS); err == nil && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
			break
		}
		m = nil
	}
	if m == nil {
		e.find(Note, "delegation", "no name server of the parent zone "+parent.String()+" answers from here")
		return nil, true
	}
	for _, n := range append(nameServers(m.Ns, apex), nameServers(m.Answer, apex)...) {
		if len(delegated) < maxServers && !slices.ContainsFunc(delegated, func(s nameServer) bool { return s.name == n }) {
			delegated = append(delegated, nameServer{name: n})
		}
	}
	if len(delegated) == 0 {
		e.find(Wrong, "delegation", fmt.Sprintf("the parent zone %s does not know %s: nobody in the world is sent to its name servers", parent, apex),
			"Put the records that this prints into the zone "+parent.String()+": godwit zone list"+e.Flag)
		return nil, true
	}
	if lost, strange := missing(configured, delegated), missing(delegated, configured); lost+strange != "" {
		what := fmt.Sprintf("the parent zone %s names %s", parent, names(delegated))
		if strange != "" {
			what += "; the server knows nothing of " + strange
		}
		if lost != "" {
			what += "; " + lost + " is missing there"
		}
		e.find(Wrong, "delegation", what, "Make the NS records in "+parent.String()+" those that this prints: godwit zone list"+e.Flag)
	} else {
		e.right("delegation", "the parent zone %s names %s", parent, names(delegated))
	}
	e.glue(ctx, m, parent, apex, delegated, configured)
	return delegated, true
}

// missing are the names of a that b lacks; "" for none.
func missing(a, b []nameServer) string {
	var out []string
	for _, s := range a {
		if !slices.ContainsFunc(b, func(o nameServer) bool { return o.name == s.name }) {
			out = append(out, s.name.String())
		}
	}
	return strings.Join(out, " and ")
}

// glue gives the delegated name servers their addresses: from the parent where
// they are below the zone itself, else from the resolver.
func (e *exam) glue(ctx context.Context, referral *dns.Msg, parent, apex dnsname.Name, delegated, configured []nameServer) {
	for i := range delegated {
		s := &delegated[i]
		s.addrs, _ = addresses(referral.Extra, s.name)
		if !s.name.Under(apex) {
			if len(s.addrs) == 0 {
				s.addrs = e.ask.lookUp(ctx, s.name)
			}
			if len(s.addrs) == 0 {
				e.find(Wrong, "name server "+s.name.String(), "it has no address", "Give it one in its own zone, or name another: godwit serve --ns NAME")
			}
			continue
		}
		j := slices.IndexFunc(configured, func(o nameServer) bool { return o.name == s.name })
		var own []netip.Addr
		if j >= 0 {
			own = configured[j].addrs
		}
		fix := "Make the address records of " + s.name.String() + " in " + parent.String() + " those that this prints: godwit zone list" + e.Flag
		switch {
		case len(s.addrs) == 0 && referral.Authoritative: // parent and zone are one server's, which sends no referral
			s.addrs = own
		case len(s.addrs) == 0:
			e.find(Wrong, "glue", "the parent zone has no address of "+s.name.String()+", which is inside of the zone itself, so nobody finds it", fix)
			s.addrs = own
		case len(own) > 0 && !same(s.addrs, own):
			e.find(Wrong, "glue", fmt.Sprintf("the parent zone has %s at %s, and the server says %s", s.name, list(s.addrs), list(own)), fix)
		default:
			e.right("glue", "%s is at %s", s.name, list(s.addrs))
		}
	}
}

// view is what one address of a name server says.
type view struct {
	server      dnsname.Name
	at          netip.Addr
	err         error // it does not answer
	tcp         error // it does not answer over TCP
	rcode       string
	lame        bool // it answers, and not with authority
	cname       bool
	addrs       []netip.Addr
	ttl, serial uint32
}

// servers asks every name server for the host, all at once.
func (e *exam) servers(ctx context.Context, name, apex dnsname.Name, servers []nameServer, serial uint32) {
	var views []view
	for _, s := range servers {
		for _, at := range s.addrs[:min(len(s.addrs), maxAddresses)] {
			views = append(views, view{server: s.name, at: at})
		}
	}
	var wait sync.WaitGroup
	for i := range views {
		wait.Go(func() { e.look(ctx, &views[i], name, apex) })
	}
	wait.Wait()
	for _, v := range views {
		e.judge(v, name, serial)
	}
	if i := slices.IndexFunc(views, func(v view) bool { return v.err == nil && !v.lame }); i >= 0 {
		e.followers(ctx, views[i].at)
		return
	}
	if e.Status != nil && len(e.Status.Listeners.DNS) > 0 {
		e.find(Note, "listeners", "the server answers DNS on "+strings.Join(e.Status.Listeners.DNS, " "))
	}
}

// look asks one address of a name server.
func (e *exam) look(ctx context.Context, v *view, name, apex dnsname.Name) {
	m, err := e.ask.server(ctx, v.at, apex, dns.TypeSOA)
	if v.err = err; err != nil {
		return
	}
	if _, serial, _, ok := soa(m.Answer); ok {
		v.serial = serial
	}
	v.rcode, v.lame = rcode(m), m.Rcode != dns.RcodeSuccess || !m.Authoritative || v.serial == 0
	if v.lame {
		return
	}
	for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if m, err = e.ask.server(ctx, v.at, name, rtype); err != nil {
			v.err = err
			return
		}
		found, ttl := addresses(m.Answer, name)
		if v.addrs = append(v.addrs, found...); len(found) > 0 {
			v.ttl = ttl
		}
		v.cname = v.cname || slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { _, is := rr.(*dns.CNAME); return is && owns(rr, name) })
	}
	_, v.tcp = e.ask.overTCP(ctx, v.at, apex, dns.TypeSOA)
}

// judge says what is wrong with what one address of a name server says.
func (e *exam) judge(v view, name dnsname.Name, serial uint32) {
	check := "name server " + v.server.String()
	at := v.at.String() + " "
	reach := fmt.Sprintf("Let it be reached at %s, port %d, over UDP and TCP: look at --dns and --ns of the server, at the firewall and at what the provider forwards", v.at, e.ask.Port)
	switch wanted := e.wanted(); {
	case v.err != nil && v.at.Is6() && errors.Is(v.err, syscall.ENETUNREACH):
		e.find(Note, check, at+"cannot be asked: this machine has no IPv6")
	case v.err != nil:
		e.find(Wrong, check, at+"does not answer: "+reason(v.err), reach)
	case v.lame:
		e.find(Wrong, check, fmt.Sprintf("%sanswers (%s), but not for %s", at, v.rcode, e.Host.Zone), "Let it serve the zone, or take it out of the parent's NS records and out of --ns")
	case v.cname:
		e.find(Wrong, check, at+"has a CNAME at the name: a static record stands in the host's place", "Take it out of the zone file, or remove the host: "+e.command("host remove"))
	case !same(v.addrs, wanted) && len(wanted) == 0:
		e.find(Wrong, check, fmt.Sprintf("%sanswers %s where nothing is to be shown: a wildcard or a static record", at, list(v.addrs)), "Look for it in the zone: "+e.command("host list"))
	case !same(v.addrs, wanted):
		e.find(Wrong, check, fmt.Sprintf("%sanswers %s, and %s is stored%s", at, list(v.addrs), list(wanted), behind(serial, v.serial)), e.late(serial, v.serial))
	case v.tcp != nil:
		e.find(Wrong, check, at+"answers over UDP and not over TCP: "+reason(v.tcp), reach)
	case len(v.addrs) > 0 && v.ttl != e.Host.TTL && !name.IsWildcard():
		e.find(Note, check, fmt.Sprintf("%sanswers %s with TTL %d, and %d is stored", at, list(v.addrs), v.ttl, e.Host.TTL))
	case serial != 0 && v.serial != serial:
		e.find(Note, check, fmt.Sprintf("%sanswers %s%s", at, list(v.addrs), behind(serial, v.serial)))
	default:
		e.right(check, "%sanswers %s, serial %d", at, list(v.addrs), v.serial)
	}
}

// behind says how a server's zone differs in age; "" if it does not, or if the
// installation tells no serial.
func behind(serial, has uint32) string {
	switch d := int32(serial - has); { // RFC 1982 section 3.2
	case serial == 0 || d == 0:
		return ""
	case d > 0:
		return fmt.Sprintf("; it is behind: serial %d, not %d", has, serial)
	}
	return fmt.Sprintf("; it is ahead: serial %d, not %d", has, serial)
}

func (e *exam) late(serial, has uint32) string {
	switch d := int32(serial - has); {
	case serial == 0:
		return "Wait a minute and look again; the DNS provider takes as long. If it stays, somebody else changes the records"
	case d > 0:
		return "It is a secondary that does not get the zone: let it transfer the zone from the server, or take it out of the NS records"
	case d < 0:
		return "Another server answers in this one's place, perhaps an older installation: stop it, or take it out of the NS records"
	}
	return "Look again: the change may have come meanwhile. If it stays, another server answers in this one's place: stop it, or take it out of the NS records"
}

// followers compares what the first server that answers says of the names behind
// the host.
func (e *exam) followers(ctx context.Context, at netip.Addr) {
	for _, f := range e.Host.Followers {
		n, err := dnsname.Parse(f.Name)
		if err != nil {
			continue
		}
		var has []netip.Addr
		for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			m, err := e.ask.server(ctx, at, n, rtype)
			if err != nil {
				return // that has been said
			}
			found, _ := addresses(m.Answer, n)
			has = append(has, found...)
		}
		wanted := f.Addresses
		if e.Host.Suspended {
			wanted = nil
		}
		if same(has, wanted) {
			e.right("follower "+f.Name, "%s answers %s", at, list(has))
			continue
		}
		e.find(Wrong, "follower "+f.Name, fmt.Sprintf("%s answers %s, and %s follows from the host", at, list(has), list(wanted)), "Look again: the change may have come meanwhile")
	}
}

// resolver looks at what a resolver still holds.
func (e *exam) resolver(ctx context.Context, name dnsname.Name) {
	var has []netip.Addr
	var left uint32
	for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m, err := e.ask.resolve(ctx, name, rtype)
		if err != nil {
			e.find(Note, "resolver", e.ask.Resolver.String()+" does not answer: "+reason(err))
			return
		}
		if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
			e.find(Wrong, "resolver", e.ask.Resolver.String()+" answers "+rcode(m)+": it does not reach the zone's name servers, or does not believe them")
			return
		}
		found, ttl := addresses(m.Answer, name)
		if has = append(has, found...); len(found) == 0 {
			_, _, ttl, _ = soa(m.Ns)
		}
		left = max(left, ttl)
	}
	if wanted := e.wanted(); !same(has, wanted) {
		e.find(Wrong, "resolver", fmt.Sprintf("%s says %s, and %s is stored; it may hold that for %s more", e.ask.Resolver, list(has), list(wanted), time.Duration(left)*time.Second),
			fmt.Sprintf("If all else is right, wait %s: then the resolver asks again", time.Duration(left)*time.Second))
		return
	}
	e.right("resolver", "%s says %s, for %s more", e.ask.Resolver, list(has), time.Duration(left)*time.Second)
}

// reason is why there was no answer, in few words.
func reason(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "it cannot be reached from here"
	}
	return err.Error()
}
