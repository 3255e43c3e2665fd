package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"godwit/internal/api"
	"godwit/internal/certificate"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

// makeCertificate makes what gets the certificate. It asks nobody and writes
// nothing.
func (d *daemon) makeCertificate() (err error) {
	s := d.settings
	if !s.TLSAuto {
		return nil
	}
	c := certificate.Config{
		Dir: filepath.Join(s.Data, "tls"), Names: s.TLSNames, RSA: s.TLSKeyRSA, Directory: s.ACMEDirectory, Email: s.TLSEmail,
		RootsFile: s.ACMECA, EABFile: s.ACMEEABFile, UserAgent: "godwit/" + buildInfo().Version, Log: d.log,
	}
	elsewhere := slices.IndexFunc(s.TLSNames, func(name dnsname.Name) bool {
		_, ours := d.authority.Zone(name)
		return !ours
	})
	switch {
	case s.Route53 || len(s.DNS) == 0:
		d.proveByTLS("this server does not answer DNS for them")
	case elsewhere >= 0:
		d.proveByTLS(fmt.Sprintf("%s is in none of the zones", s.TLSNames[elsewhere]))
	default:
		c.Challenges, d.proof = d.authority, "by DNS, in zones of this server"
	}
	d.automatic, err = certificate.Open(c)
	return err
}

// proveByTLS warns if a certificate authority cannot reach the HTTPS listener,
// which it must where DNS cannot prove whose the names are.
func (d *daemon) proveByTLS(why string) {
	d.proof = "at port 443, because " + why
	if !slices.ContainsFunc(d.settings.HTTPS, func(a netip.AddrPort) bool { return a.Port() == 443 }) {
		d.warn(fmt.Sprintf("the certificate authority connects to port 443 of the certificate's names, because %s, and no --https is at port 443; "+
			"have the port forwarded here, or listen there", why))
	}
}

// lookForAddresses warns of names of the certificate that are in a zone of this
// server and have no address there.
func (d *daemon) lookForAddresses() {
	for _, name := range d.settings.TLSNames {
		z := d.authority.Zones().Find([]byte(name.Wire()), typeA)
		if z == nil || d.settings.Route53 {
			continue
		}
		found := append(lookup(z, name, typeA), lookup(z, name, typeAAAA)...)
		if !slices.ContainsFunc(found, func(r record) bool { return r.addr.IsValid() }) {
			d.warn(fmt.Sprintf("%s, a name of the certificate, has no address in zone %s, so no client finds this server by it; "+
				"give one with --ns %s=ADDRESS, in a zone file, or with godwit host add", name, z.Apex(), name))
		}
	}
}

// tlsConfig is for the listeners; nil: no TLS.
func (d *daemon) tlsConfig() *tls.Config {
	switch {
	case d.automatic != nil:
		c := httpserver.TLSConfig(d.automatic.Get)
		c.GetConfigForClient = d.automatic.Challenge
		return c
	case d.certificate != nil:
		return d.certificate.Config()
	}
	return nil
}

// certificateState is what the admin API tells of the certificate.
func (d *daemon) certificateState() *api.Certificate {
	switch {
	case d.automatic != nil:
		s := d.automatic.State()
		return &api.Certificate{Names: append([]string{}, s.Names...), NotAfter: s.NotAfter, Problem: s.Problem}
	case d.certificate != nil:
		leaf := d.certificate.Leaf()
		return &api.Certificate{Names: append([]string{}, leaf.DNSNames...), NotAfter: leaf.NotAfter}
	}
	return nil
}

// reload loads the certificate again at each SIGHUP, or looks whether a new one
// is to be got.
func (d *daemon) reload(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		switch {
		case d.automatic != nil:
			d.log.Info("SIGHUP: looking whether a certificate is to be got")
			d.automatic.Again()
		case d.certificate == nil:
			d.log.Info("SIGHUP: there is no certificate to load; other settings need a restart")
		default:
			if err := d.certificate.Reload(); err != nil {
				d.log.Error("the certificate cannot be loaded; the old one is served on", "err", err)
				continue
			}
			d.log.Info("the certificate was loaded again")
		}
	}
}
