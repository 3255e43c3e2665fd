package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"godwit/internal/client"
	"godwit/internal/dnsserver"
	"godwit/internal/httpserver"
)

// listenDNS binds the DNS sockets, UDP and TCP.
func (d *daemon) listenDNS(ctx context.Context) (err error) {
	addresses := d.usable("dns", d.settings.DNS)
	if len(addresses) == 0 {
		return nil
	}
	c := dnsserver.Config{Zones: d.authority.Zones(), Addresses: addresses, ResponsesPerSecond: d.settings.ResponsesPerSecond, Updater: d.service}
	d.transfers(&c)
	d.dns, err = dnsserver.New(ctx, c)
	if err != nil {
		return explainBind("dns", err)
	}
	for _, at := range d.dns.Addrs() {
		d.bound.DNS = append(d.bound.DNS, at.String())
	}
	return nil
}

// listenHTTP binds the sockets of the doors and of the admin API.
func (d *daemon) listenHTTP(ctx context.Context) error {
	s := d.settings
	for _, at := range d.usable("http", s.HTTP) {
		if err := d.listen(ctx, "http", at, httpserver.Listener{}); err != nil {
			return err
		}
	}
	for _, at := range s.HTTPS {
		if err := d.listen(ctx, "https", at, httpserver.Listener{TLS: d.tlsConfig()}); err != nil {
			return err
		}
	}
	if s.Admin.IsValid() {
		if err := d.listen(ctx, "admin", s.Admin, httpserver.Listener{Admin: true, TLS: d.tlsConfig()}); err != nil {
			return err
		}
	}
	socket, err := listenSocket(ctx, filepath.Join(s.Data, client.SocketName))
	if err != nil {
		return err
	}
	d.listeners = append(d.listeners, httpserver.Listener{Listener: socket, Admin: true})
	d.bound.Admin = append(d.bound.Admin, socket.Addr().String())
	d.url = d.publicURL()
	if s.URL == "" && len(s.HTTPS) > 0 {
		d.warn(fmt.Sprintf("set-ups that are printed name %s, which the certificate may not be for; give --url https://NAME", d.url))
	}
	return nil
}

func (d *daemon) listen(ctx context.Context, setting string, at netip.AddrPort, l httpserver.Listener) (err error) {
	names := map[string]*[]string{"http": &d.bound.HTTP, "https": &d.bound.HTTPS, "admin": &d.bound.Admin}[setting]
	// One family each, so that 0.0.0.0 and [::] can stand side by side.
	network := "tcp6"
	if at.Addr().Is4() {
		network = "tcp4"
	}
	var lc net.ListenConfig
	if l.Listener, err = lc.Listen(ctx, network, at.String()); err != nil {
		return explainBind(setting, err)
	}
	d.listeners = append(d.listeners, l)
	*names = append(*names, l.Addr().String())
	return nil
}

// usable leaves out the default's IPv6 address on machines without IPv6. An
// address that somebody asked for is never left out.
func (d *daemon) usable(setting string, list []netip.AddrPort) []netip.AddrPort {
	if !d.settings.Default(setting) {
		return list
	}
	l, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		_ = l.Close()
		return list
	}
	d.log.Info("this machine has no IPv6, so there is no listener on ::1", "for", setting)
	return slices.DeleteFunc(slices.Clone(list), func(a netip.AddrPort) bool { return a.Addr().Is6() })
}

// explainBind says why a listener could not be had, and what to do.
func explainBind(setting string, err error) error {
	if err == nil {
		return nil
	}
	at := "the address"
	port := 0
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		at = op.Addr.String()
		if _, text, err := net.SplitHostPort(at); err == nil {
			port, _ = strconv.Atoi(text)
		}
	}
	flag := "--" + setting
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && port == 53:
		return fmt.Errorf("another program listens on %s already (%w); see which: ss -lnup sport = :53. "+
			"If it is a resolver of this machine, listen on the public address alone, as in %s 192.0.2.1:53", at, err, flag)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("another program listens on %s already (%w); stop it, or choose another port with %s", at, err, flag)
	case errors.Is(err, os.ErrPermission) && port > 0 && port < 1024:
		return fmt.Errorf("ports below 1024, as in %s, need a privilege (%w); run: sudo setcap cap_net_bind_service=+ep \"$(command -v godwit)\", "+
			"let the service manager grant it, or choose a higher port with %s", at, err, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("this machine has no address %s (%w); see which it has: ip address; then correct %s", at, err, flag)
	}
	return fmt.Errorf("cannot listen on %s: %w; correct %s", at, err, flag)
}

// maxSocketPath is how long a socket's path may be: 104 octets with the zero at
// the end on BSD and macOS, 108 on Linux. The smaller one holds everywhere.
const maxSocketPath = 103

// listenSocket binds the admin socket. The store's lock is held, so no other
// godwit serves this directory; a socket that is there is a dead one's, unless
// somebody answers on it.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of the admin socket, %s, is longer than %d octets, more than sockets can have; give a shorter --data", path, maxSocketPath)
	}
	var dialer net.Dialer
	try, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if conn, err := dialer.DialContext(try, "unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("another program listens on %s; stop it, or give another --data", path)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s is there and is no socket; move it away, or give another --data", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the socket of a server that is gone: %w", err)
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for admin commands: %w; give a --data where sockets can be made", err)
	}
	// The directory is its owner's only, so nobody came in before this.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close the admin socket to others: %w", err), l.Close())
	}
	return l, nil
}

// loopbackOnly tells whether nobody but this machine can reach the doors.
func (d *daemon) loopbackOnly() bool {
	for _, list := range [][]netip.AddrPort{d.settings.HTTP, d.settings.HTTPS} {
		if slices.ContainsFunc(list, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() }) {
			return false
		}
	}
	return true
}

// publicURL is how clients reach the doors, as far as the listeners tell.
func (d *daemon) publicURL() string {
	if d.settings.URL != "" {
		return d.settings.URL
	}
	for _, group := range []struct {
		scheme, port string
		list         []string
	}{{"https", ":443", d.bound.HTTPS}, {"http", ":80", d.bound.HTTP}} {
		for _, text := range group.list {
			at, err := netip.ParseAddrPort(text)
			if err != nil {
				continue
			}
			if at.Addr().IsUnspecified() {
				list, _ := listenAddresses([]netip.AddrPort{at})
				if len(list) == 0 {
					continue
				}
				at = netip.AddrPortFrom(list[0], at.Port())
			}
			return group.scheme + "://" + strings.TrimSuffix(at.String(), group.port)
		}
	}
	return ""
}
