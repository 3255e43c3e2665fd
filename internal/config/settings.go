package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"godwit/internal/dnsname"
)

// Flags are the settings of `godwit serve` as the command line gives them, for
// kong. nil is what was not given.
type Flags struct {
	Zone     []string `sep:"none" placeholder:"ZONE" help:"Answer for this zone, and let hosts be added in it. At least one; repeat it for more."`
	Data     *string  `placeholder:"DIR" help:"Keep hosts, keys and the admin socket here. Default: $$STATE_DIRECTORY, else $$XDG_STATE_HOME/godwit, else ~/.local/state/godwit."`
	HTTP     []string `name:"http" sep:"none" placeholder:"ADDR" help:"Listen for HTTP here (repeatable; off: nowhere). Default: 127.0.0.1:8053 and [::1]:8053."`
	HTTPS    []string `name:"https" sep:"none" placeholder:"ADDR" help:"Listen for HTTPS here (repeatable). Needs --tls auto, or --tls-cert and --tls-key."`
	TLS      *string  `name:"tls" placeholder:"auto" help:"auto: get the certificate for HTTPS from a certificate authority and renew it. By giving it you agree to the authority's terms of service. Needs --url."`
	TLSNames []string `name:"tls-name" sep:"none" placeholder:"NAME" help:"A name that the certificate is for too, beside the one of --url (repeatable)."`
	TLSEmail *string  `name:"tls-email" placeholder:"ADDRESS" help:"Where the certificate authority may write to. Default: nowhere."`
	TLSType  *string  `name:"tls-key-type" placeholder:"TYPE" help:"ecdsa, or rsa for clients that know no other. Default: ecdsa."`
	ACMEDir  *string  `name:"acme-directory" placeholder:"URL" help:"The certificate authority, by the URL of its ACME directory. Default: Let's Encrypt."`
	ACMECA   *string  `name:"acme-ca" placeholder:"FILE" help:"Root certificates, PEM, that the certificate authority's own HTTPS is held to. Default: the system's."`
	ACMEEAB  *string  `name:"acme-eab-file" placeholder:"FILE" help:"File with a key ID and a MAC key, for an authority that asks for an account of its own (external account binding)."`
	TLSCert  *string  `name:"tls-cert" placeholder:"FILE" help:"Certificate chain for HTTPS, PEM. Read again on SIGHUP."`
	TLSKey   *string  `name:"tls-key" placeholder:"FILE" help:"Its private key, PEM."`
	DNS      []string `name:"dns" sep:"none" placeholder:"ADDR" help:"Answer DNS here, UDP and TCP (repeatable; off: nowhere). Default: 127.0.0.1:5300 and [::1]:5300."`
	Admin    *string  `placeholder:"ADDR" help:"Offer the admin API on TCP too. Needs --admin-token-file. The socket in the data directory is always there."`
	Token    *string  `name:"admin-token-file" placeholder:"FILE" help:"File with the token that --admin asks for."`
	URL      *string  `name:"url" placeholder:"URL" help:"How clients reach this server, for the set-ups that are printed. Default: the first listener."`
	NS       []string `name:"ns" sep:"none" placeholder:"NAME[=ADDR,...]" help:"A name server of the zones, with its addresses if it is in one of them (repeatable). Default: ns.ZONE at the DNS listeners."`
	ZoneFile []string `name:"zone-file" sep:"none" placeholder:"ZONE=FILE" help:"Static records of a zone: MX, TXT, CAA, glue ... (repeatable)."`
	Second   []string `name:"secondary" sep:"none" placeholder:"ADDR[:PORT][=KEY]" help:"Tell this name server when a zone changes (NOTIFY), signed with that TSIG key (repeatable). Default port: 53; default key: the only one."`
	KeyFile  []string `name:"tsig-key-file" sep:"none" placeholder:"FILE" help:"TSIG keys as tsig-keygen prints them (repeatable). Who has one of them gets zones by AXFR and IXFR."`
	Catalog  *string  `placeholder:"NAME" help:"List the zones in a catalog zone of this name (RFC 9432), from which secondaries learn of new ones. Default: none."`
	DNSSEC   []string `name:"dnssec" sep:"none" placeholder:"ZONE" help:"Sign this zone (repeatable). 'godwit zone ds' says what its parent needs."`
	KeyDays  *string  `name:"dnssec-key-days" placeholder:"N" help:"Replace the key of a signed zone when it is so old and its parent knows it; 0: only by 'godwit zone roll'. Default: 365."`
	KeyAsk   *string  `name:"dnssec-resolver" placeholder:"ADDR[:PORT]" help:"Resolver to ask about the parents of signed zones, where this machine's sees another DNS than the internet. Default: this machine's; default port: 53."`
	Publish  *string  `placeholder:"WHERE" help:"authority: answer DNS here. route53: publish in Route 53, with the credentials of the AWS configuration. Default: authority."`
	Hosted   []string `name:"hosted-zone" sep:"none" placeholder:"ZONE=ID" help:"The Route 53 hosted zone of a zone (repeatable). Default: the public one of that name."`
	Proxy    []string `name:"trusted-proxy" sep:"none" placeholder:"CIDR" help:"Believe this proxy when it says where a request came from (repeatable)."`
	Tokens   *bool    `name:"http-tokens" help:"Take tokens over plain HTTP that is not on loopback too, where whoever reads them on the way can use them for ever. Signatures need no such thing."`
	Label    *string  `name:"default-zone" placeholder:"ZONE" help:"The zone of a host that a client in DuckDNS's form names by its first label alone. Default: the only zone, if there is one."`
	Changes  *string  `name:"changes-per-hour" placeholder:"N" help:"Accepted changes per host and hour; 0: no limit. Default: 30."`
	Requests *string  `name:"requests-per-second" placeholder:"N" help:"Requests per source and second; 0: no limit. Default: 20."`
	Replies  *string  `name:"responses-per-second" placeholder:"N" help:"DNS responses of one kind about one name by UDP to an IPv4 /24 or IPv6 /56 and second; 0: no limit. Default: 200."`
	Level    *string  `name:"log-level" placeholder:"LEVEL" help:"debug, info, warn or error. Default: info."`
	Format   *string  `name:"log-format" placeholder:"FORMAT" help:"text or json. Default: text."`
	Config   *string  `placeholder:"FILE" help:"Read settings from this file (TOML). Default: /etc/godwit/godwit.toml, if it is there."`
}

// off stands for no listener at all.
const off = "off"

// setting is one row of the table: how a setting is called, and what its text means.
type setting struct {
	name    string
	example string // "--zone dyn.example.com"
	list    bool   // takes several values
	commas  bool   // commas part values, because no value has one
	off     bool   // may be "off"
	number  bool   // or a truth value: it stands in a file without quotes
	flag    func(*Flags) []string
	// fallback gives the values when nobody does; nil: none.
	fallback func(Environment) ([]string, error)
	// parse sets the field and returns the values in canonical form. It gets no
	// values if there are none.
	parse func(s *Serve, values []string) ([]string, error)
}

func (row setting) variable() string {
	return "GODWIT_" + strings.ToUpper(strings.ReplaceAll(row.name, "-", "_"))
}

// value is the example's value alone.
func (row setting) value() string {
	return row.example[strings.IndexAny(row.example, " =")+1:]
}

// inFile is the example as a line of the file.
func (row setting) inFile() string {
	text := strconv.Quote(row.value())
	switch {
	case row.list:
		text = "[" + text + "]"
	case row.number:
		text = row.value()
	}
	return row.name + " = " + text
}

func one(v *string) []string {
	if v == nil {
		return nil
	}
	return []string{*v}
}

func always(values ...string) func(Environment) ([]string, error) {
	return func(Environment) ([]string, error) { return values, nil }
}

// settings is the table, in the order of the help text. Each is a flag, a
// variable GODWIT_NAME and a key of the file.
var settings = []setting{
	{name: "zone", example: "--zone dyn.example.com", list: true, commas: true,
		flag:  func(f *Flags) []string { return f.Zone },
		parse: func(s *Serve, v []string) ([]string, error) { return parseZones(s, v) }},
	{name: "data", example: "--data /var/lib/godwit",
		flag: func(f *Flags) []string { return one(f.Data) },
		fallback: func(env Environment) ([]string, error) {
			dir, err := DefaultData(env)
			return []string{dir}, err
		},
		parse: func(s *Serve, v []string) ([]string, error) { return parsePath(&s.Data, v) }},
	{name: "http", example: "--http 0.0.0.0:80", list: true, commas: true, off: true,
		flag:     func(f *Flags) []string { return f.HTTP },
		fallback: always("127.0.0.1:8053", "[::1]:8053"),
		parse:    func(s *Serve, v []string) ([]string, error) { return parseListeners(&s.HTTP, v) }},
	{name: "https", example: "--https 0.0.0.0:443", list: true, commas: true, off: true,
		flag:  func(f *Flags) []string { return f.HTTPS },
		parse: func(s *Serve, v []string) ([]string, error) { return parseListeners(&s.HTTPS, v) }},
	{name: "tls", example: "--tls auto",
		flag: func(f *Flags) []string { return one(f.TLS) },
		parse: func(s *Serve, v []string) ([]string, error) {
			if len(v) > 0 && v[0] != "auto" {
				return nil, fmt.Errorf("%q is not auto", v[0])
			}
			s.TLSAuto = len(v) > 0
			return v, nil
		}},
	{name: "tls-name", example: "--tls-name dyn.example.com", list: true, commas: true,
		flag:  func(f *Flags) []string { return f.TLSNames },
		parse: func(s *Serve, v []string) ([]string, error) { return parseTLSNames(s, v) }},
	{name: "tls-email", example: "--tls-email hostmaster@example.com",
		flag:  func(f *Flags) []string { return one(f.TLSEmail) },
		parse: func(s *Serve, v []string) ([]string, error) { return parseEmail(s, v) }},
	{name: "tls-key-type", example: "--tls-key-type rsa",
		flag:     func(f *Flags) []string { return one(f.TLSType) },
		fallback: always("ecdsa"),
		parse: func(s *Serve, v []string) ([]string, error) {
			if v[0] != "ecdsa" && v[0] != "rsa" {
				return nil, fmt.Errorf("%q is not ecdsa or rsa", v[0])
			}
			s.TLSKeyRSA = v[0] == "rsa"
			return v, nil
		}},
	{name: "acme-directory", example: "--acme-directory https://acme-staging-v02.api.letsencrypt.org/directory",
		flag:     func(f *Flags) []string { return one(f.ACMEDir) },
		fallback: always(letsEncrypt),
		parse:    func(s *Serve, v []string) ([]string, error) { return parseDirectory(s, v) }},
	{name: "acme-ca", example: "--acme-ca /etc/godwit/acme-ca.pem",
		flag:  func(f *Flags) []string { return one(f.ACMECA) },
		parse: func(s *Serve, v []string) ([]string, error) { return parsePath(&s.ACMECA, v) }},
	{name: "acme-eab-file", example: "--acme-eab-file /etc/godwit/acme-eab",
		flag:  func(f *Flags) []string { return one(f.ACMEEAB) },
		parse: func(s *Serve, v []string) ([]string, error) { return parsePath(&s.ACMEEABFile, v) }},
	{name: "tls-cert", example: "--tls-cert /etc/godwit/fullchain.pem",
		flag:  func(f *Flags) []string { return one(f.TLSCert) },
		parse: func(s *Serve, v []string) ([]string, error) { return parsePath(&s.TLSCert, v) }},
	{name: "tls-key", example: "--tls-key /etc/godwit/privkey.pem",
		flag:  func(f *Flags) []string { return one(f.TLSKey) },
		parse: func(s *Serve, v []string) ([]string, error) { return parsePath(&s.TLSKey, v) }},
	{name: "dns", example: "--dns 0.0.0.0:53", list: true, commas: true, off: true,
		flag:     func(f *Flags) []string { return f.DNS },
		fallback: always("127.0.0.1:5300", "[::1]:5300"),
		parse:    func(s *Serve, v []string) ([]string, error) { return parseListeners(&s.DNS, v) }},
	{name: "admin", example: "--admin 127.0.0.1:8054",
		flag: func(f *Flags) []string { return one(f.Admin) },
		parse: func(s *Serve, v []string) ([]string, error) {
			if len(v) == 0 {
				return nil, nil
			}
			a, err := netip.ParseAddrPort(v[0])
			if err != nil {
				return nil, fmt.Errorf("%q is not one address with a port", v[0])
			}
			s.Admin = a
			return []string{a.String()}, nil
		}},
	{name: "admin-token-file", example: "--admin-token-file /etc/godwit/admin-token",
		flag:  func(f *Flags) []string { return one(f.Token) },
		parse: func(s *Serve, v []string) ([]string, error) { return parsePath(&s.AdminTokenFile, v) }},
	{name: "url", example: "--url https://ddns.example.com",
		flag:  func(f *Flags) []string { return one(f.URL) },
		parse: func(s *Serve, v []string) ([]string, error) { return parseURL(s, v) }},
	{name: "ns", example: "--ns ns1.dyn.example.com=192.0.2.1,2001:db8::1", list: true,
		flag:  func(f *Flags) []string { return f.NS },
		parse: func(s *Serve, v []string) ([]string, error) { return parseNameServers(s, v) }},
	{name: "zone-file", example: "--zone-file dyn.example.com=/etc/godwit/dyn.example.com.zone", list: true,
		flag:  func(f *Flags) []string { return f.ZoneFile },
		parse: func(s *Serve, v []string) ([]string, error) { return parseZoneFiles(s, v) }},
	{name: "secondary", example: "--secondary 192.0.2.2=transfer", list: true, commas: true,
		flag:  func(f *Flags) []string { return f.Second },
		parse: func(s *Serve, v []string) ([]string, error) { return parseSecondaries(s, v) }},
	{name: "tsig-key-file", example: "--tsig-key-file /etc/godwit/transfer.key", list: true,
		flag:  func(f *Flags) []string { return f.KeyFile },
		parse: func(s *Serve, v []string) ([]string, error) { return parseKeyFiles(s, v) }},
	{name: "catalog", example: "--catalog catalog.example.com",
		flag:  func(f *Flags) []string { return one(f.Catalog) },
		parse: func(s *Serve, v []string) ([]string, error) { return parseCatalog(s, v) }},
	{name: "dnssec", example: "--dnssec dyn.example.com", list: true, commas: true,
		flag:  func(f *Flags) []string { return f.DNSSEC },
		parse: func(s *Serve, v []string) ([]string, error) { return parseApexes(&s.DNSSEC, v) }},
	{name: "dnssec-key-days", example: "--dnssec-key-days 365", number: true,
		flag:     func(f *Flags) []string { return one(f.KeyDays) },
		fallback: always("365"),
		parse:    func(s *Serve, v []string) ([]string, error) { return parseLimit(&s.DNSSECKeyDays, v) }},
	{name: "dnssec-resolver", example: "--dnssec-resolver 9.9.9.9",
		flag: func(f *Flags) []string { return one(f.KeyAsk) },
		parse: func(s *Serve, v []string) (_ []string, err error) {
			if len(v) == 0 {
				return nil, nil
			}
			s.DNSSECResolver, err = parseServer(v[0])
			return []string{s.DNSSECResolver.String()}, err
		}},
	{name: "publish", example: "--publish route53",
		flag:     func(f *Flags) []string { return one(f.Publish) },
		fallback: always("authority"),
		parse: func(s *Serve, v []string) ([]string, error) {
			if v[0] != "authority" && v[0] != "route53" {
				return nil, fmt.Errorf("%q is not authority or route53", v[0])
			}
			s.Route53 = v[0] == "route53"
			return v, nil
		}},
	{name: "hosted-zone", example: "--hosted-zone dyn.example.com=Z0123456789ABC", list: true, commas: true,
		flag:  func(f *Flags) []string { return f.Hosted },
		parse: func(s *Serve, v []string) ([]string, error) { return parseHostedZones(s, v) }},
	{name: "trusted-proxy", example: "--trusted-proxy 192.0.2.0/24", list: true, commas: true,
		flag:  func(f *Flags) []string { return f.Proxy },
		parse: func(s *Serve, v []string) ([]string, error) { return parseProxies(s, v) }},
	{name: "http-tokens", example: "--http-tokens=true", number: true,
		flag: func(f *Flags) []string {
			if f.Tokens == nil {
				return nil
			}
			return []string{strconv.FormatBool(*f.Tokens)}
		},
		fallback: always("false"),
		parse: func(s *Serve, v []string) ([]string, error) {
			if v[0] != "true" && v[0] != "false" {
				return nil, fmt.Errorf("%q is neither true nor false", v[0])
			}
			s.HTTPTokens = v[0] == "true"
			return v, nil
		}},
	{name: "default-zone", example: "--default-zone dyn.example.com",
		flag: func(f *Flags) []string { return one(f.Label) },
		parse: func(s *Serve, v []string) (_ []string, err error) {
			if len(v) == 0 {
				return nil, nil
			}
			s.DefaultZone, err = dnsname.Parse(v[0])
			return []string{s.DefaultZone.String()}, err
		}},
	{name: "changes-per-hour", example: "--changes-per-hour 30", number: true,
		flag:     func(f *Flags) []string { return one(f.Changes) },
		fallback: always("30"),
		parse:    func(s *Serve, v []string) ([]string, error) { return parseLimit(&s.ChangesPerHour, v) }},
	{name: "requests-per-second", example: "--requests-per-second 20", number: true,
		flag:     func(f *Flags) []string { return one(f.Requests) },
		fallback: always("20"),
		parse:    func(s *Serve, v []string) ([]string, error) { return parseLimit(&s.RequestsPerSecond, v) }},
	{name: "responses-per-second", example: "--responses-per-second 200", number: true,
		flag:     func(f *Flags) []string { return one(f.Replies) },
		fallback: always("200"),
		parse:    func(s *Serve, v []string) ([]string, error) { return parseLimit(&s.ResponsesPerSecond, v) }},
	{name: "log-level", example: "--log-level info",
		flag:     func(f *Flags) []string { return one(f.Level) },
		fallback: always("info"),
		parse: func(s *Serve, v []string) ([]string, error) {
			i := slices.Index([]string{"debug", "info", "warn", "error"}, v[0])
			if i < 0 {
				return nil, fmt.Errorf("%q is not debug, info, warn or error", v[0])
			}
			s.LogLevel = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[i]
			return v, nil
		}},
	{name: "log-format", example: "--log-format text",
		flag:     func(f *Flags) []string { return one(f.Format) },
		fallback: always("text"),
		parse: func(s *Serve, v []string) ([]string, error) {
			if v[0] != "text" && v[0] != "json" {
				return nil, fmt.Errorf("%q is not text or json", v[0])
			}
			s.LogJSON = v[0] == "json"
			return v, nil
		}},
}

func parseZones(s *Serve, values []string) ([]string, error) {
	if len(values) == 0 {
		return nil, fmt.Errorf("a zone is needed: the part of the name space that this server answers for")
	}
	var texts []string
	for _, v := range values {
		name, err := dnsname.Parse(v)
		switch {
		case err != nil:
			return nil, err
		case name.CountLabels() == 0:
			return nil, fmt.Errorf("the root cannot be a zone here")
		case name.IsWildcard():
			return nil, fmt.Errorf("a zone's name cannot be a wildcard, as %s is", name)
		case slices.Contains(s.Zones, name):
			return nil, &Error{Why: fmt.Sprintf("zone %s is there twice", name), Fix: "name it once"}
		}
		s.Zones = append(s.Zones, name)
		texts = append(texts, name.String())
	}
	return texts, nil
}

// parsePath takes a file or directory name. It is made absolute, so that it
// means the same in every message and to every command that repeats it.
func parsePath(field *string, values []string) ([]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	if values[0] == "" || strings.ContainsFunc(values[0], func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
		return nil, fmt.Errorf("%q is not a path", values[0])
	}
	path, err := filepath.Abs(values[0])
	*field = path
	return []string{path}, err
}

func parseURL(s *Serve, values []string) ([]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	text := strings.TrimRight(values[0], "/")
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("%q is not an http or https URL with a host", values[0])
	case u.User != nil: // not repeated: it may hold a password
		return nil, fmt.Errorf("a URL with a user name or password in it is not accepted")
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, fmt.Errorf("%q has more than a scheme, a host and a port: the doors have paths of their own", values[0])
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%q has a port that is not 1 to 65535", values[0])
		}
	}
	// Canonical: what prints the same parses the same.
	s.URL = u.String()
	return []string{s.URL}, nil
}

func parseNameServers(s *Serve, values []string) ([]string, error) {
	var texts []string
	for _, v := range values {
		name, list, hasAddresses := strings.Cut(v, "=")
		owner, err := dnsname.ParseHost(name)
		if err != nil {
			return nil, err
		}
		if owner.IsWildcard() {
			return nil, fmt.Errorf("a name server cannot be a wildcard, as %s is", owner)
		}
		if slices.ContainsFunc(s.NameServers, func(n NameServer) bool { return n.Name == owner }) {
			return nil, &Error{Why: fmt.Sprintf("name server %s is there twice", owner), Fix: "name it once, with all its addresses"}
		}
		ns := NameServer{Name: owner}
		text := owner.String()
		if hasAddresses {
			for part := range strings.SplitSeq(list, ",") {
				a, err := netip.ParseAddr(strings.TrimSpace(part))
				if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
					return nil, fmt.Errorf("%q is not an address that a resolver could ask", part)
				}
				ns.Addresses = append(ns.Addresses, a.Unmap())
			}
			slices.SortFunc(ns.Addresses, netip.Addr.Compare)
			ns.Addresses = slices.Compact(ns.Addresses)
			text += "=" + joinAddrs(ns.Addresses)
		}
		s.NameServers = append(s.NameServers, ns)
		texts = append(texts, text)
	}
	return texts, nil
}

func joinAddrs(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}

func parseZoneFiles(s *Serve, values []string) ([]string, error) {
	var texts []string
	for _, v := range values {
		zone, path, ok := strings.Cut(v, "=")
		if !ok || path == "" {
			return nil, fmt.Errorf("%q is not a zone, =, and a file", v)
		}
		apex, err := dnsname.Parse(zone)
		if err != nil {
			return nil, err
		}
		if _, twice := s.ZoneFiles[apex]; twice {
			return nil, &Error{Why: fmt.Sprintf("zone %s has two files", apex), Fix: "put all its records into one"}
		}
		var abs string
		if _, err := parsePath(&abs, []string{path}); err != nil {
			return nil, err
		}
		s.ZoneFiles[apex] = abs
		texts = append(texts, apex.String()+"="+abs)
	}
	return texts, nil
}

func parseHostedZones(s *Serve, values []string) ([]string, error) {
	var texts []string
	for _, v := range values {
		zone, id, ok := strings.Cut(v, "=")
		id = strings.TrimPrefix(id, "/hostedzone/")
		if !ok || id == "" || len(id) > 32 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			return nil, fmt.Errorf("%q is not a zone, =, and the ID of a hosted zone", v)
		}
		apex, err := dnsname.Parse(zone)
		if err != nil {
			return nil, err
		}
		if _, twice := s.HostedZones[apex]; twice {
			return nil, &Error{Why: fmt.Sprintf("zone %s has two hosted zones", apex), Fix: "give the one that its parent delegates to"}
		}
		s.HostedZones[apex] = id
		texts = append(texts, apex.String()+"="+id)
	}
	return texts, nil
}

func parseProxies(s *Serve, values []string) ([]string, error) {
	var texts []string
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			a, err := netip.ParseAddr(v)
			if err != nil || a.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a CIDR block", v)
			}
			a = a.Unmap()
			p = netip.PrefixFrom(a, a.BitLen())
		}
		switch {
		case p != p.Masked():
			return nil, &Error{Why: fmt.Sprintf("%s has bits set beyond its length", p), Fix: "did you mean " + p.Masked().String() + "?"}
		case p.Bits() == 0:
			// Then anybody could say that a request came from anywhere.
			return nil, fmt.Errorf("%s would trust everybody", p)
		case p.Addr().Is4In6():
			return nil, fmt.Errorf("%s is IPv4 in IPv6 form", p)
		}
		s.TrustedProxies = append(s.TrustedProxies, p)
		texts = append(texts, p.String())
	}
	return texts, nil
}

func parseLimit(field *int, values []string) ([]string, error) {
	n, err := strconv.Atoi(values[0])
	if err != nil || n < 0 || n > 1_000_000 {
		return nil, fmt.Errorf("%q is not a whole number from 0 to 1000000", values[0])
	}
	*field = n
	return []string{strconv.Itoa(n)}, nil
}

// check judges the settings beside each other.
func (s *Serve) check() error {
	bad := func(name, why, fix string) error {
		from := ""
		for _, src := range s.Sources {
			if src.Name == name {
				from = src.From
			}
		}
		return &Error{name, from, why, fix}
	}
	if s.Route53 && s.Default("dns") {
		s.noDNS()
	}
	if err := s.checkTLS(bad); err != nil {
		return err
	}
	switch {
	case len(s.HostedZones) > 0 && !s.Route53:
		return bad("hosted-zone", "nothing is published in Route 53", "add --publish route53, or leave the hosted zone out")
	case s.Admin.IsValid() && s.AdminTokenFile == "":
		return bad("admin", "the admin API on TCP needs a token",
			"make one: (umask 077; openssl rand -hex 32 >admin-token), then add --admin-token-file admin-token")
	case s.AdminTokenFile != "" && !s.Admin.IsValid():
		return bad("admin-token-file", "nothing uses the admin token", "add --admin 127.0.0.1:8054, or leave the token out")
	case s.Admin.IsValid() && !s.Admin.Addr().IsLoopback() && !s.hasTLS():
		return bad("admin", "the admin token must not travel in the clear",
			"add --tls-cert FILE --tls-key FILE, or listen on loopback: --admin 127.0.0.1:8054")
	case len(s.HTTP)+len(s.HTTPS)+len(s.DNS) == 0:
		return bad("dns", "all listeners are off", "leave one on, for example --dns 0.0.0.0:53")
	}
	if err := s.checkListeners(bad); err != nil {
		return err
	}
	if err := s.checkSecondaries(bad); err != nil {
		return err
	}
	if err := s.checkDNSSEC(bad); err != nil {
		return err
	}
	for apex := range s.HostedZones {
		if !slices.Contains(s.Zones, apex) {
			return bad("hosted-zone", fmt.Sprintf("%s is not one of the zones", apex), "add --zone "+apex.String()+", or leave its hosted zone out")
		}
	}
	switch {
	case s.DefaultZone.IsZero() && len(s.Zones) == 1:
		s.DefaultZone = s.Zones[0]
	case !s.DefaultZone.IsZero() && !slices.Contains(s.Zones, s.DefaultZone):
		return bad("default-zone", fmt.Sprintf("%s is not one of the zones", s.DefaultZone), "add --zone "+s.DefaultZone.String()+", or name one that is there")
	}
	for apex := range s.ZoneFiles {
		if !slices.Contains(s.Zones, apex) {
			return bad("zone-file", fmt.Sprintf("%s is not one of the zones", apex), "add --zone "+apex.String()+", or leave its file out")
		}
	}
	for _, ns := range s.NameServers {
		var holder dnsname.Name
		for _, apex := range s.Zones {
			if ns.Name.Under(apex) && (holder.IsZero() || apex.Under(holder)) {
				holder = apex
			}
		}
		_, file := s.ZoneFiles[holder]
		switch {
		case holder.IsZero() && len(ns.Addresses) > 0:
			return bad("ns", fmt.Sprintf("%s is in none of the zones, so its addresses come from elsewhere", ns.Name), "give the name alone: --ns "+ns.Name.String())
		case !holder.IsZero() && len(ns.Addresses) == 0 && !file:
			return bad("ns", fmt.Sprintf("%s is in zone %s and has no address, so nobody could reach it", ns.Name, holder),
				fmt.Sprintf("give its public addresses: --ns %s=192.0.2.1,2001:db8::1", ns.Name))
		}
	}
	return nil
}

// noDNS turns the default listeners for DNS off: Route 53 answers.
func (s *Serve) noDNS() {
	s.DNS = nil
	i := slices.IndexFunc(s.Sources, func(src Source) bool { return src.Name == "dns" })
	s.Sources[i].Values = []string{off}
}
