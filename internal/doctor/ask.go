package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsconf"

	"godwit/internal/dnsname"
)

// maxQuestions bounds one examination.
const maxQuestions = 200

var errTooMany = errors.New("too many questions have been asked already")

// asker asks name servers. Safe for concurrent use.
type asker struct {
	Config
	client *dns.Client
	asked  atomic.Int32
}

func newAsker(c Config) *asker {
	if c.Port == 0 {
		c.Port = 53
	}
	if c.Timeout <= 0 {
		c.Timeout = 2 * time.Second
	}
	a := &asker{Config: c, client: dns.NewClient()}
	dialer := *a.client.Dialer
	dialer.Timeout = c.Timeout
	a.client.Dialer, a.client.ReadTimeout, a.client.WriteTimeout = &dialer, c.Timeout, c.Timeout
	return a
}

// resolve asks the resolver.
func (a *asker) resolve(ctx context.Context, name dnsname.Name, rtype uint16) (*dns.Msg, error) {
	return a.exchange(ctx, a.Resolver, name, rtype, true, "udp", "udp")
}

// server asks an authoritative server over UDP, and over TCP what does not fit.
func (a *asker) server(ctx context.Context, at netip.Addr, name dnsname.Name, rtype uint16) (*dns.Msg, error) {
	return a.exchange(ctx, netip.AddrPortFrom(at, a.Port), name, rtype, false, "udp", "udp")
}

// overTCP asks an authoritative server over TCP.
func (a *asker) overTCP(ctx context.Context, at netip.Addr, name dnsname.Name, rtype uint16) (*dns.Msg, error) {
	return a.exchange(ctx, netip.AddrPortFrom(at, a.Port), name, rtype, false, "tcp")
}

// exchange asks over each of the networks until there is an answer.
func (a *asker) exchange(ctx context.Context, at netip.AddrPort, name dnsname.Name, rtype uint16, recursive bool, networks ...string) (m *dns.Msg, err error) {
	for _, network := range networks {
		if m, err = a.once(ctx, at, name, rtype, recursive, network); err == nil && m.Truncated && network == "udp" {
			m, err = a.once(ctx, at, name, rtype, recursive, "tcp")
		}
		if err == nil {
			return m, nil
		}
	}
	return nil, err
}

func (a *asker) once(ctx context.Context, at netip.AddrPort, name dnsname.Name, rtype uint16, recursive bool, network string) (*dns.Msg, error) {
	if a.asked.Add(1) > maxQuestions {
		return nil, errTooMany
	}
	q := dns.NewMsg(name.FQDN(), rtype)
	q.RecursionDesired, q.UDPSize = recursive, 1232
	m, _, err := a.client.Exchange(ctx, q, network, at.String())
	return m, err
}

// addresses are the A and AAAA records of a name among records, and the least of
// their TTLs in seconds.
func addresses(records []dns.RR, name dnsname.Name) (out []netip.Addr, ttl uint32) {
	for _, rr := range records {
		if !owns(rr, name) {
			continue
		}
		var a netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			a = rr.Addr
		case *dns.AAAA:
			a = rr.Addr
		default:
			continue
		}
		if len(out) == 0 || rr.Header().TTL < ttl {
			ttl = rr.Header().TTL
		}
		out = append(out, a)
	}
	return out, ttl
}

// owns tells whether a record is a name's.
func owns(rr dns.RR, name dnsname.Name) bool {
	owner, err := dnsname.Parse(rr.Header().Name)
	return err == nil && owner == name
}

// nameServers are the targets of a name's NS records.
func nameServers(records []dns.RR, name dnsname.Name) (out []dnsname.Name) {
	for _, rr := range records {
		if ns, ok := rr.(*dns.NS); ok && owns(rr, name) {
			if target, err := dnsname.Parse(ns.Ns); err == nil {
				out = append(out, target)
			}
		}
	}
	return out
}

// soa is the first SOA record among records.
func soa(records []dns.RR) (owner dnsname.Name, serial, negative uint32, ok bool) {
	for _, rr := range records {
		if s, is := rr.(*dns.SOA); is {
			owner, err := dnsname.Parse(rr.Header().Name)
			return owner, s.Serial, min(rr.Header().TTL, s.Minttl), err == nil
		}
	}
	return dnsname.Name{}, 0, 0, false
}

func rcode(m *dns.Msg) string { return dns.RcodeToString[m.Rcode] }

// SystemResolver is the resolver that this machine uses, as /etc/resolv.conf names
// it first.
func SystemResolver() (netip.AddrPort, error) {
	c, err := dnsconf.FromFile("/etc/resolv.conf")
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("this machine's resolver is not known: %w", err)
	}
	for _, text := range c.Servers {
		if a, err := netip.ParseAddr(text); err == nil {
			return netip.AddrPortFrom(a, 53), nil
		}
	}
	return netip.AddrPort{}, errors.New("this machine's resolver is not known: /etc/resolv.conf names none")
}
