package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"godwit/internal/dnsname"
)

// Secondary is a name server that follows the zones.
type Secondary struct {
	Addr netip.AddrPort
	Key  dnsname.Name // of its TSIG key; zero: the only one
}

// parseSecondaries takes ADDR[:PORT][=KEY]; an IPv6 address with a port is in brackets.
func parseSecondaries(s *Serve, values []string) ([]string, error) {
	var texts []string
	for _, v := range values {
		place, key, named := strings.Cut(v, "=")
		addr, err := parseServer(place)
		if err != nil {
			return nil, err
		}
		one := Secondary{Addr: addr}
		if slices.ContainsFunc(s.Secondaries, func(o Secondary) bool { return o.Addr == one.Addr }) {
			return nil, &Error{Why: fmt.Sprintf("secondary %s is there twice", one.Addr), Fix: "name it once"}
		}
		text := one.Addr.String()
		if named {
			if one.Key, err = dnsname.Parse(key); err != nil {
				return nil, fmt.Errorf("the TSIG key's name: %w", err)
			}
			text += "=" + one.Key.String()
		}
		s.Secondaries = append(s.Secondaries, one)
		texts = append(texts, text)
	}
	return texts, nil
}

// parseServer takes where a DNS server listens, as ADDR[:PORT]; the port is 53 if not given.
func parseServer(text string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(text)
	if addr, plain := netip.ParseAddr(text); plain == nil {
		at, err = netip.AddrPortFrom(addr, 53), nil
	}
	if err != nil {
		return at, fmt.Errorf("%q is not an IP address with or without a port", text)
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if at.Addr().IsUnspecified() || at.Addr().IsMulticast() || at.Port() == 0 {
		return at, fmt.Errorf("%s is no place where a name server listens", at)
	}
	return at, nil
}

func parseKeyFiles(s *Serve, values []string) ([]string, error) {
	for _, v := range values {
		var path string
		if _, err := parsePath(&path, []string{v}); err != nil {
			return nil, err
		}
		if slices.Contains(s.TSIGKeyFiles, path) {
			return nil, &Error{Why: fmt.Sprintf("%s is there twice", path), Fix: "name it once"}
		}
		s.TSIGKeyFiles = append(s.TSIGKeyFiles, path)
	}
	return s.TSIGKeyFiles, nil
}

func parseCatalog(s *Serve, values []string) (_ []string, err error) {
	if len(values) == 0 {
		return nil, nil
	}
	if s.Catalog, err = dnsname.Parse(values[0]); err != nil {
		return nil, err
	}
	if s.Catalog.CountLabels() == 0 || s.Catalog.IsWildcard() {
		return nil, fmt.Errorf("%s cannot be a catalog's name", s.Catalog)
	}
	return []string{s.Catalog.String()}, nil
}

// checkSecondaries judges the settings about secondaries beside the others.
func (s *Serve) checkSecondaries(bad func(name, why, fix string) error) error {
	const makeKey = "make a key: (umask 077; tsig-keygen transfer >transfer.key), then add --tsig-key-file transfer.key"
	for _, row := range []struct {
		name string
		set  bool
	}{{"secondary", len(s.Secondaries) > 0}, {"tsig-key-file", len(s.TSIGKeyFiles) > 0}, {"catalog", !s.Catalog.IsZero()}} {
		switch {
		case row.set && s.Route53:
			return bad(row.name, "Route 53 answers for the zones, so no secondary can follow this server", "leave it out, or --publish route53")
		case row.set && len(s.DNS) == 0:
			return bad(row.name, "there is no DNS listener that a secondary could get a zone from", "add one, for example --dns 0.0.0.0:53")
		case row.set && len(s.TSIGKeyFiles) == 0:
			return bad(row.name, "zones are given only to who has a TSIG key", makeKey)
		}
	}
	if slices.Contains(s.Zones, s.Catalog) {
		return bad("catalog", fmt.Sprintf("%s is one of the zones", s.Catalog), "give the catalog a name of its own, for example --catalog catalog."+s.Catalog.String())
	}
	return nil
}
