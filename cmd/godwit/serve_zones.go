package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
	"godwit/internal/publish/authority"
	"godwit/internal/zone"
)

// minAdminToken is the least length of the admin token in octets: it is all
// that stands between the internet and every host.
const minAdminToken = 20

// readFiles reads the certificate and the admin token.
func (d *daemon) readFiles() (err error) {
	s := d.settings
	if s.TLSCert != "" {
		if d.certificate, err = httpserver.LoadCertificate(s.TLSCert, s.TLSKey, d.log); err != nil {
			return fmt.Errorf("%w; give PEM files that belong together, and that this user may read", err)
		}
	}
	if s.AdminTokenFile != "" {
		token, err := (&app{}).readSecret(s.AdminTokenFile, "")
		if err != nil {
			return err
		}
		if len(token) < minAdminToken {
			return fmt.Errorf("the admin token in %s is shorter than %d characters; make one: (umask 077; openssl rand -hex 32 >%s)", s.AdminTokenFile, minAdminToken, s.AdminTokenFile)
		}
		if info, err := os.Stat(s.AdminTokenFile); err == nil && info.Mode().Perm()&0o007 != 0 {
			d.warn(fmt.Sprintf("every user of this machine can read the admin token; run: chmod 640 %s", s.AdminTokenFile))
		}
		d.adminToken = httpserver.HashAdminToken(token)
	}
	return nil
}

// makeZones makes the zones, still without hosts, from the settings and files.
func (d *daemon) makeZones() (err error) {
	s := d.settings
	var configs []authority.ZoneConfig
	for _, apex := range s.Zones {
		c := authority.ZoneConfig{Apex: apex}
		var static []byte
		if file := s.ZoneFiles[apex]; file != "" {
			if static, err = os.ReadFile(file); err != nil {
				return fmt.Errorf("zone %s: %w; name its file as in --zone-file %s=FILE", apex, err, apex)
			}
			c.File, c.FileName = bytes.NewReader(static), file
		}
		if c.NameServers, err = d.nameServers(apex, static, c.FileName); err != nil {
			return err
		}
		configs = append(configs, c)
	}
	if d.authority, err = authority.New(configs, d.log); err != nil {
		return err
	}
	for _, z := range d.authority.List() {
		if s.Route53 {
			break
		}
		for _, ns := range nameServersOf(d.authority.Zones(), z) {
			if name, _, has := strings.Cut(ns, "="); !has && isUnder(name, z.Apex()) {
				d.warn(fmt.Sprintf("name server %s of zone %s has no address, so nobody can reach it; give --ns %s=ADDRESS", name, z.Apex(), name))
			}
		}
	}
	return nil
}

func isUnder(name string, apex dnsname.Name) bool {
	n, err := dnsname.Parse(name)
	return err == nil && n.Under(apex)
}

// nameServers of a zone: those of the settings, else those of its file, else
// ns.<zone> where DNS is listened for.
func (d *daemon) nameServers(apex dnsname.Name, static []byte, file string) ([]zone.NameServer, error) {
	var out []zone.NameServer
	for _, ns := range d.settings.NameServers {
		server := zone.NameServer{Name: ns.Name}
		// A name server's addresses are records of the one zone that it is in.
		if innermost(d.settings.Zones, ns.Name) == apex {
			server.Addresses = ns.Addresses
		}
		out = append(out, server)
	}
	if out != nil {
		return out, nil
	}
	own, err := apex.Child("ns")
	if err != nil {
		return nil, fmt.Errorf("zone %s needs a name server, and ns.%s is too long a name; give one with --ns NAME", apex, apex)
	}
	if static != nil {
		// Without name servers in the file either, zone.New takes ns.<zone>.
		records, err := zone.Parse(bytes.NewReader(static), file, apex)
		if err != nil {
			return nil, err
		}
		trial, err := zone.New(zone.Config{Apex: apex, Records: records})
		if err != nil {
			return nil, err
		}
		alone, err := zone.NewZones(trial)
		if err != nil {
			return nil, err
		}
		if found := nameServersOf(alone, trial); !slices.Equal(found, []string{own.String()}) {
			return nil, nil
		}
	}
	addresses, reachable := listenAddresses(d.settings.DNS)
	if !reachable && len(addresses) > 0 {
		d.warn(fmt.Sprintf("%s, the name server of zone %s, is at %s, which the internet does not reach; give the public address: --ns ns1.%s=ADDRESS",
			own, apex, joinAddresses(addresses), apex))
	}
	return []zone.NameServer{{Name: own, Addresses: addresses}}, nil
}

func innermost(zones []dnsname.Name, name dnsname.Name) (apex dnsname.Name) {
	for _, z := range zones {
		if name.Under(z) && (apex.IsZero() || z.Under(apex)) {
			apex = z
		}
	}
	return apex
}

// listenAddresses are the addresses at which listeners can be reached, the
// public ones if there are any, and whether that is from everywhere. Loopback
// alone counts as such: whoever listens there tries things out.
func listenAddresses(listeners []netip.AddrPort) (list []netip.Addr, reachable bool) {
	add := func(a netip.Addr) {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	for _, at := range listeners {
		if !at.Addr().IsUnspecified() {
			add(at.Addr())
			continue
		}
		all, _ := net.InterfaceAddrs() // none: the zone's server has no address, which is warned about
		for _, one := range all {
			if p, err := netip.ParsePrefix(one.String()); err == nil {
				if a := p.Addr().Unmap(); a.Is4() == at.Addr().Is4() && a.IsGlobalUnicast() {
					add(a)
				}
			}
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	public := slices.DeleteFunc(slices.Clone(list), func(a netip.Addr) bool { return !ddns.IsPublic(a) })
	if len(public) > 0 {
		return public, true
	}
	return list, !slices.ContainsFunc(list, func(a netip.Addr) bool { return !a.IsLoopback() })
}

func joinAddresses(list []netip.Addr) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}

// zones is what the admin API tells of the zones.
func (d *daemon) zones() []api.Zone {
	var out []api.Zone
	followers := d.followers()
	for _, z := range d.authority.List() {
		out = append(out, api.Zone{Apex: z.Apex().String(), Serial: z.Serial(), Hosts: z.Hosts(),
			NameServers: nameServersOf(d.authority.Zones(), z), Secondaries: followers[z.Apex().String()], DNSSEC: d.keys(z.Apex())})
	}
	for _, hosted := range d.hosted {
		i := slices.IndexFunc(out, func(z api.Zone) bool { return z.Apex == hosted.Apex.String() })
		out[i].Serial, out[i].NameServers = 0, append([]string{}, hosted.NameServers...)
	}
	return out
}

// nameServersOf asks a zone for its name servers, those of its file too. Each
// is NAME, or NAME=ADDR,… if its addresses are in one of the zones.
func nameServersOf(zones *zone.Zones, z *zone.Zone) []string {
	var out []string
	for _, ns := range lookup(z, z.Apex(), typeNS) {
		if ns.rtype != typeNS || ns.owner != z.Apex() {
			continue
		}
		var addresses []netip.Addr
		if home := zones.Find([]byte(ns.name.Wire()), typeA); home != nil {
			for _, rtype := range []uint16{typeA, typeAAAA} {
				for _, r := range lookup(home, ns.name, rtype) {
					if r.addr.IsValid() && r.owner == ns.name && r.rtype == rtype {
						addresses = append(addresses, r.addr)
					}
				}
			}
		}
		text := ns.name.String()
		if len(addresses) > 0 {
			text += "=" + joinAddresses(addresses)
		}
		out = append(out, text)
	}
	return out
}

// lookup asks a zone without a socket.
func lookup(z *zone.Zone, name dnsname.Name, rtype uint16) []record {
	const limit = 16 << 10
	msg := append(make([]byte, 0, limit+zone.Slack), question(0, name, rtype)...)
	msg[2] |= 0x80 // a response
	var w zone.Writer
	w.Start(msg, []byte(name.Wire()), limit)
	z.Answer(&w, rtype)
	a, err := parseAnswer(w.Finish())
	if err != nil {
		return nil
	}
	return a.records
}
