package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/dnsname"
	"godwit/internal/dnsserver"
	"godwit/internal/publish/authority"
	"godwit/internal/secondary"
	"godwit/internal/tsig"
)

// maxKeyFile bounds what a file with keys can cost.
const maxKeyFile = 1 << 20

// makeSecondaries makes the zones ones that secondaries follow, if any may.
func (d *daemon) makeSecondaries() error {
	s := d.settings
	if len(s.TSIGKeyFiles) == 0 {
		return nil
	}
	for _, name := range s.TSIGKeyFiles {
		if err := d.readKeys(name); err != nil {
			return err
		}
	}
	c := secondary.Config{Catalog: s.Catalog, Listeners: s.DNS, Log: d.log}
	for _, one := range s.Secondaries {
		key, err := d.transferKey(one.Key)
		if err != nil {
			return fmt.Errorf("--secondary %s: %w", one.Addr, err)
		}
		c.Secondaries = append(c.Secondaries, secondary.Secondary{Addr: one.Addr, Key: key})
	}
	if err := d.authority.ServeSecondaries(authority.Secondaries{
		Catalog: s.Catalog, Changed: func(apex dnsname.Name) { d.secondaries.Changed(apex) },
	}); err != nil {
		return fmt.Errorf("--catalog %s: %w", s.Catalog, err)
	}
	serials := make(map[dnsname.Name]func() uint32)
	for _, z := range d.authority.Transferred() {
		c.Zones = append(c.Zones, z.Apex())
		serials[z.Apex()] = z.Serial
	}
	c.Serial = func(apex dnsname.Name) uint32 { return serials[apex]() }
	d.secondaries = secondary.New(c)
	return nil
}

func (d *daemon) readKeys(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("--tsig-key-file: %w; name a file with keys as tsig-keygen prints them, that this user may read", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("it is larger than 1 MiB; give a file with keys alone")
	}
	if err != nil {
		return fmt.Errorf("--tsig-key-file %s: %w", name, err)
	}
	keys, err := tsig.ParseKeys(string(text))
	if err != nil {
		return fmt.Errorf("--tsig-key-file %s: %w", name, err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o007 != 0 {
		d.warn(fmt.Sprintf("every user of this machine can read the keys in %s, and so get all zones; run: chmod 640 %s", name, name))
	}
	for _, k := range keys {
		if slices.ContainsFunc(d.transferKeys, func(have tsig.Key) bool { return string(have.Name) == string(k.Name) }) {
			return fmt.Errorf("--tsig-key-file %s: key %s is in another file too; keep one of them", name, keyName(k))
		}
		d.transferKeys = append(d.transferKeys, k)
	}
	return nil
}

func keyName(k tsig.Key) string {
	name, _, _ := dnsname.FromWire(k.Name) // made from a name
	return name.String()
}

// transferKey is the key of that name; the only one, if the name is zero.
func (d *daemon) transferKey(name dnsname.Name) (tsig.Key, error) {
	var names []string
	for _, k := range d.transferKeys {
		if string(k.Name) == name.Wire() && !name.IsZero() || name.IsZero() && len(d.transferKeys) == 1 {
			return k, nil
		}
		names = append(names, keyName(k))
	}
	if name.IsZero() {
		return tsig.Key{}, fmt.Errorf("there are several keys; say which one it has, as in =%s", names[0])
	}
	return tsig.Key{}, fmt.Errorf("there is no key %s in --tsig-key-file; there is %s", name, strings.Join(names, ", "))
}

// transfers completes the DNS server's settings.
func (d *daemon) transfers(c *dnsserver.Config) {
	if d.secondaries == nil {
		return
	}
	c.Transfers, c.TransferKeys = d.authority, d.transferKeys
	kinds := map[dnsserver.TransferKind]secondary.Kind{
		dnsserver.Whole: secondary.Whole, dnsserver.Difference: secondary.Difference, dnsserver.NoNews: secondary.NoNews,
	}
	c.Transferred = func(t dnsserver.Transferred) {
		apex, kind := t.Zone.Apex(), kinds[t.Kind]
		d.log.Debug("transfer", "zone", apex.String(), "client", t.Client.String(), "kind", string(kind), "serial", t.Serial)
		d.secondaries.Transferred(t.Client, t.Key, apex, t.Serial, kind, time.Now())
	}
}

// followers is what the admin API tells of the secondaries of each zone.
func (d *daemon) followers() map[string][]api.Secondary {
	out := make(map[string][]api.Secondary)
	if d.secondaries == nil {
		return out
	}
	for _, s := range d.secondaries.States() {
		apex := s.Zone.String()
		out[apex] = append(out[apex], api.Secondary{Address: s.Secondary.String(), Notified: s.Acknowledged, Problem: s.Problem,
			Transferred: s.Transferred, Transfer: string(s.Kind), Serial: s.Serial})
	}
	return out
}
