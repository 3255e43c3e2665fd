//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

// family is one kind of address of a device.
type family struct {
	network string // for net.Resolver
	format  string // of the address, by its last number
	change  string // for ip -batch
}

var families = []family{
	{"ip4", "198.51.100.%d", "addr del %s/24 dev h0\naddr add %s/24 dev h0\n"},
	{"ip6", "2001:db8:7::%d", "addr del %s/64 dev h0\naddr add %s/64 dev h0 nodad\n"},
}

// moves changes the addresses of one device after the other, IPv4 before IPv6,
// and asks the server's DNS until it shows the new one. The time is from the end
// of the command that changed the address.
func moves(devices []string) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", *dns)
	}}
	took := map[string][]time.Duration{}
	for i, pid := range devices {
		for _, f := range families {
			before, after := fmt.Sprintf(f.format, 10+i), fmt.Sprintf(f.format, 110+i)
			cmd := exec.Command("nsenter", "--net=/proc/"+pid+"/ns/net", "ip", "-batch", "-")
			cmd.Stdin = strings.NewReader(fmt.Sprintf(f.change, before, after))
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("move device %d: %w: %s", i, err, out)
			}
			d, err := shows(resolver, hostName(i).String()+".", f.network, netip.MustParseAddr(after))
			if err != nil {
				return err
			}
			took[f.network] = append(took[f.network], d)
		}
	}
	for _, f := range families {
		list := took[f.network]
		fmt.Printf("%s moves=%d p50_ms=%.0f p95_ms=%.0f min_ms=%.0f max_ms=%.0f\n", f.network, len(list),
			ms(quantile(list, .5)), ms(quantile(list, .95)), ms(quantile(list, 0)), ms(quantile(list, 1)))
	}
	return nil
}

// shows asks every 2 ms until the name has this address and no other.
func shows(r *net.Resolver, name, network string, want netip.Addr) (time.Duration, error) {
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		got, err := r.LookupNetIP(ctx, network, name)
		cancel()
		switch d := time.Since(began); {
		case err == nil && len(got) == 1 && got[0].Unmap() == want:
			return d, nil
		case d > patience:
			return d, fmt.Errorf("%s: DNS shows %v (%v) after %s, not %s", name, got, err, patience, want)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
