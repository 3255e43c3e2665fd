package config

import (
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"godwit/internal/dnsname"
)

// letsEncrypt is the certificate authority unless another one is named.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func parseTLSNames(s *Serve, values []string) ([]string, error) {
	var texts []string
	for _, v := range values {
		name, err := parseTLSName(v)
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(s.TLSNames, name):
			return nil, &Error{Why: fmt.Sprintf("%s is there twice", name), Fix: "name it once"}
		}
		s.TLSNames = append(s.TLSNames, name)
		texts = append(texts, name.String())
	}
	return texts, nil
}

// parseTLSName takes a name that a certificate authority could know whose it is.
func parseTLSName(text string) (dnsname.Name, error) {
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return dnsname.Name{}, fmt.Errorf("%s is an address, and certificates are for names", text)
	}
	name, err := dnsname.ParseHost(text)
	switch {
	case err != nil:
		return name, err
	case name.IsWildcard():
		return name, &Error{Why: fmt.Sprintf("%s is a wildcard, and this server has no need of one", name), Fix: "name each"}
	case name.Under(dnsname.MustParse("localhost")):
		return name, fmt.Errorf("%s is no name that the internet knows", name)
	}
	return name, nil
}

func parseEmail(s *Serve, values []string) ([]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	a, err := mail.ParseAddress(values[0])
	if err != nil || a.Address != values[0] {
		return nil, fmt.Errorf("%q is not an e-mail address", values[0])
	}
	s.TLSEmail = a.Address
	return []string{s.TLSEmail}, nil
}

func parseDirectory(s *Serve, values []string) ([]string, error) {
	u, err := url.Parse(values[0])
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q is not an https URL", values[0])
	case u.User != nil: // not repeated: it may hold a password
		return nil, fmt.Errorf("a URL with a user name or password in it is not accepted")
	}
	s.ACMEDirectory = u.String()
	return []string{s.ACMEDirectory}, nil
}

// hasTLS tells whether there is a certificate, or will be.
func (s *Serve) hasTLS() bool { return s.TLSAuto || s.TLSCert != "" && s.TLSKey != "" }

// checkTLS judges the settings of TLS beside each other, and completes TLSNames.
func (s *Serve) checkTLS(bad func(name, why, fix string) error) error {
	used := len(s.HTTPS) > 0 || s.Admin.IsValid()
	switch {
	case s.TLSAuto && s.TLSCert+s.TLSKey != "":
		return bad("tls", "there is a certificate in a file too", "leave --tls-cert and --tls-key out, or --tls")
	case s.TLSCert != "" && s.TLSKey == "":
		return bad("tls-cert", "a certificate needs its key", "add --tls-key FILE")
	case s.TLSKey != "" && s.TLSCert == "":
		return bad("tls-key", "a key needs its certificate", "add --tls-cert FILE")
	case len(s.HTTPS) > 0 && !s.hasTLS():
		return bad("https", "HTTPS needs a certificate", "add --tls-cert FILE --tls-key FILE, or --tls auto --url https://NAME")
	case s.TLSCert != "" && !used:
		return bad("tls-cert", "nothing uses the certificate", "add --https 0.0.0.0:443, or leave the certificate out")
	case s.TLSAuto && len(s.HTTPS) == 0:
		return bad("tls", "nothing uses the certificate", "add --https 0.0.0.0:443, or leave --tls out")
	}
	if !s.TLSAuto {
		for name, set := range map[string]bool{
			"tls-name": len(s.TLSNames) > 0, "tls-email": s.TLSEmail != "", "tls-key-type": s.TLSKeyRSA,
			"acme-directory": s.ACMEDirectory != letsEncrypt, "acme-ca": s.ACMECA != "", "acme-eab-file": s.ACMEEABFile != "",
		} {
			if set {
				return bad(name, "it is about certificates that the server gets itself", "add --tls auto, or leave it out")
			}
		}
		return nil
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "https" {
		return bad("tls", "the certificate is for the name in --url, which has to be an https URL", "give it, for example --url https://ddns.dyn.example.com")
	}
	first, err := parseTLSName(u.Hostname())
	if err != nil {
		return bad("url", err.Error(), "give it as in --url https://ddns.dyn.example.com, or leave --tls out")
	}
	names := slices.DeleteFunc(s.TLSNames, func(n dnsname.Name) bool { return n == first })
	s.TLSNames = append([]dnsname.Name{first}, names...)
	return nil
}
