package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
)

// parseListeners takes IP addresses with ports. ":53" is all addresses of both
// families, "localhost:53" both loopback addresses; other names are refused,
// because a name's addresses may change and a listener's do not.
func parseListeners(field *[]netip.AddrPort, values []string) ([]string, error) {
	if len(values) == 1 && values[0] == off {
		return values, nil
	}
	var texts []string
	for _, v := range values {
		hosts := []string{""}
		rest := v
		if port, ok := strings.CutPrefix(v, "localhost:"); ok {
			hosts, rest = []string{"127.0.0.1:", "[::1]:"}, port
		} else if port, ok := strings.CutPrefix(v, ":"); ok {
			hosts, rest = []string{"0.0.0.0:", "[::]:"}, port
		}
		for _, host := range hosts {
			a, err := netip.ParseAddrPort(host + rest)
			if err != nil {
				if v == off {
					return nil, fmt.Errorf("off cannot stand beside addresses")
				}
				return nil, fmt.Errorf("%q is not an IP address with a port", v)
			}
			a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
			*field = append(*field, a)
			texts = append(texts, a.String())
		}
	}
	return texts, nil
}

// checkListeners refuses two listeners that would want the same port.
func (s *Serve) checkListeners(bad func(name, why, fix string) error) error {
	type listener struct {
		setting string
		at      netip.AddrPort
	}
	var all []listener
	for _, group := range []struct {
		setting string
		at      []netip.AddrPort
	}{{"http", s.HTTP}, {"https", s.HTTPS}, {"dns", s.DNS}, {"admin", []netip.AddrPort{s.Admin}}} {
		for _, at := range group.at {
			if at.IsValid() {
				all = append(all, listener{group.setting, at})
			}
		}
	}
	for i, a := range all {
		for _, b := range all[:i] {
			if overlap(a.at, b.at) {
				return bad(a.setting, fmt.Sprintf("%s overlaps with %s of --%s", a.at, b.at, b.setting), "give one of them another port or address")
			}
		}
	}
	return nil
}

// overlap tells whether two listeners want the same port of one address. The
// families are apart: IPv6 listeners are bound for IPv6 alone.
func overlap(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() || a.Port() == 0 || a.Addr().Is4() != b.Addr().Is4() {
		return false
	}
	return cmp.Compare(a.Addr().String(), b.Addr().String()) == 0 || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
}
