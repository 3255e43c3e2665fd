package source

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"godwit/internal/agent"
)

const dnsTimeout = 10 * time.Second // for the server's own name and all repetitions

// dns is a name that one server answers with the address of who asks.
type dns struct {
	name, server, port string
	txt                bool
}

func newDNS(rest string) (*dns, error) {
	fields := strings.Fields(rest)
	form := fmt.Errorf("source \"dns %s\" is not of the form NAME@SERVER or NAME@SERVER TXT, as in \"dns myip.opendns.com@208.67.222.222\"", rest)
	if len(fields) == 0 || len(fields) > 2 || len(fields) == 2 && fields[1] != "TXT" {
		return nil, form
	}
	name, server, ok := strings.Cut(fields[0], "@")
	s := &dns{name: strings.TrimSuffix(name, ".") + ".", server: server, port: "53", txt: len(fields) == 2}
	if host, port, err := net.SplitHostPort(server); err == nil {
		s.server, s.port = host, port
	}
	if _, err := netip.ParseAddr(s.server); !ok || name == "" || s.server == "" || err != nil && strings.ContainsAny(s.server, "@:/[]") {
		return nil, form
	}
	return s, nil
}

func (s *dns) Name() string {
	name := "dns " + strings.TrimSuffix(s.name, ".") + "@" + s.server
	if s.port != "53" {
		name = "dns " + strings.TrimSuffix(s.name, ".") + "@" + net.JoinHostPort(s.server, s.port)
	}
	if s.txt {
		name += " TXT"
	}
	return name
}

// Find asks over the family, so that the server sees the address of that family.
// The answer is as trustworthy as the way to the server: DNS does not prove it.
func (s *dns) Find(ctx context.Context, f agent.Family) (agent.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	resolver := &net.Resolver{
		PreferGo: true, // the only one that lets us say whom to ask
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network[:3]+map[agent.Family]string{agent.IPv4: "4", agent.IPv6: "6"}[f], net.JoinHostPort(s.server, s.port))
		},
	}
	var answers []string
	if s.txt {
		texts, err := resolver.LookupTXT(ctx, s.name)
		if err != nil {
			return agent.Finding{}, err
		}
		answers = texts
	} else {
		addrs, err := resolver.LookupNetIP(ctx, map[agent.Family]string{agent.IPv4: "ip4", agent.IPv6: "ip6"}[f], s.name)
		if err != nil {
			return agent.Finding{}, err
		}
		for _, a := range addrs {
			answers = append(answers, a.Unmap().String())
		}
	}
	if len(answers) != 1 {
		return agent.Finding{}, fmt.Errorf("%s answers with %d records, not one", s.server, len(answers))
	}
	addr, err := parseAddr(s.server, answers[0], f)
	return agent.Finding{Addr: addr}, err
}
