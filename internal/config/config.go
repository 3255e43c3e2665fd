// Package config turns flags, environment variables and one TOML file into
// checked settings, and remembers where each came from.
//
// A flag beats the environment, the environment beats the file, the file beats
// the default. Everything is text until it reaches the table in settings.go,
// so a value means the same wherever it stands and is refused in the same
// words. What is set is never silently ignored: an unknown key in the file, an
// empty variable, a setting that has no effect beside the others, each is an
// error that names the setting, its place, and an example that works.
//
// No setting is a secret. Secrets are in files, and settings name the files.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"godwit/internal/dnsname"
)

// DefaultFile is read if it is there and no other file is named.
const DefaultFile = "/etc/godwit/godwit.toml"

// Serve is what `godwit serve` is to do.
type Serve struct {
	// Zones are the apexes of the zones to answer for; at least one.
	Zones []dnsname.Name
	// Data is the directory of the store and the admin socket.
	Data string
	// HTTP, HTTPS and DNS are the listeners; empty: none. Port 0 is any free one.
	// Without DNS listeners of their own choice, who publishes elsewhere has none.
	HTTP, HTTPS, DNS []netip.AddrPort
	// TLSAuto asks for a certificate from the CA whose directory ACMEDirectory is,
	// an https URL, for TLSNames, the first of which is that of URL.
	TLSAuto       bool
	TLSNames      []dnsname.Name
	TLSEmail      string // empty: none
	TLSKeyRSA     bool   // else ECDSA
	ACMEDirectory string
	// ACMECA and ACMEEABFile are files; empty: none.
	ACMECA, ACMEEABFile string
	// TLSCert and TLSKey are files in PEM form, both or neither.
	TLSCert, TLSKey string
	// Admin is the TCP listener of the admin API. Zero: only the socket in Data.
	Admin netip.AddrPort
	// AdminTokenFile holds the token that Admin asks for. Empty exactly if Admin is zero.
	AdminTokenFile string
	// URL is how clients reach the HTTP doors, without a slash at the end.
	// Empty: derived from the listeners.
	URL string
	// NameServers of every zone. Empty: ns.<zone> at the DNS listeners.
	NameServers []NameServer
	// ZoneFiles hold static records, by apex.
	ZoneFiles map[dnsname.Name]string
	// Secondaries are told of changes. Who has a key of TSIGKeyFiles gets zones, and
	// Catalog, which lists them; zero: there is none.
	Secondaries  []Secondary
	TSIGKeyFiles []string
	Catalog      dnsname.Name
	// DNSSEC are the zones to sign, DNSSECKeyDays the age in days at which a key is
	// replaced; 0: none. DNSSECResolver is asked about parent zones; zero: the
	// machine's.
	DNSSEC         []dnsname.Name
	DNSSECKeyDays  int
	DNSSECResolver netip.AddrPort
	// Route53 tells to publish there; HostedZones are the IDs of hosted zones by
	// apex, of those that are given.
	Route53     bool
	HostedZones map[dnsname.Name]string
	// TrustedProxies may say where a request came from.
	TrustedProxies []netip.Prefix
	// HTTPTokens takes tokens over plain HTTP on all addresses.
	HTTPTokens bool
	// DefaultZone completes a label where clients name no more. Zero: there are
	// several zones, and none is it.
	DefaultZone dnsname.Name
	// ChangesPerHour limits accepted changes per host; 0: no limit.
	ChangesPerHour int
	// RequestsPerSecond limits requests per source; 0: no limit.
	RequestsPerSecond int
	// ResponsesPerSecond limits DNS responses by UDP to a network; 0: no limit.
	ResponsesPerSecond int
	LogLevel           slog.Level
	LogJSON            bool

	// Sources say where each setting came from, in the order of the help text.
	Sources []Source
	// Warnings are worth saying before anything starts.
	Warnings []string
}

// NameServer is one server of the zones, with its addresses if it is in one of them.
type NameServer struct {
	Name      dnsname.Name
	Addresses []netip.Addr
}

// Source is one setting's values, canonical, and the place they came from.
type Source struct {
	Name   string
	Values []string // empty: not set
	List   bool     // whether the setting takes several values
	Number bool     // whether it is a number
	From   string   // "flag", "default", "environment GODWIT_…", "file … line 3"
}

// Default tells whether nobody said anything about a setting.
func (s *Serve) Default(name string) bool {
	return slices.ContainsFunc(s.Sources, func(src Source) bool { return src.Name == name && src.From == fromDefault })
}

const (
	fromFlag    = "flag"
	fromDefault = "default"

	fromEnvironment = "environment " // and the variable
)

// Error says which setting is wrong, where it stands, and what would work.
type Error struct {
	Setting string // "" if it is not about one
	From    string
	Why     string
	Fix     string
}

func (e *Error) Error() string {
	text := e.Why + "; " + e.Fix
	switch {
	case e.Setting == "":
		return text
	case e.From == fromFlag || e.From == fromDefault || e.From == "":
		return fmt.Sprintf("--%s: %s", e.Setting, text)
	}
	return fmt.Sprintf("setting %s (%s): %s", e.Setting, e.From, text)
}

// Environment is where variables and files come from: the process's own, or a test's.
type Environment struct {
	Lookup   func(key string) (string, bool)
	List     func() []string // "KEY=value"
	ReadFile func(name string) ([]byte, error)
}

// OSEnvironment is the process's own.
func OSEnvironment() Environment { return Environment{os.LookupEnv, os.Environ, readBounded} }

func (e Environment) get(key string) string { v, _ := e.Lookup(key); return v }

// LoadServe reads what was given and checks it. The error is an *Error for what
// the operator can correct.
func LoadServe(flags Flags, env Environment) (*Serve, error) {
	file, err := readFile(flags.Config, env)
	if err != nil {
		return nil, err
	}
	s := &Serve{ZoneFiles: make(map[dnsname.Name]string), HostedZones: make(map[dnsname.Name]string)}
	for _, row := range settings {
		given, from, err := row.find(flags, env, file)
		if err != nil {
			return nil, err
		}
		if from == fromDefault && row.fallback != nil {
			if given, err = row.fallback(env); err != nil {
				return nil, &Error{row.name, from, err.Error(), "set it, for example " + row.example}
			}
		}
		values, err := row.parse(s, given)
		if err != nil {
			fix := "give it as in " + row.example
			var own *Error
			if errors.As(err, &own) {
				fix = cmp.Or(own.Fix, fix)
				return nil, &Error{row.name, from, own.Why, fix}
			}
			return nil, &Error{row.name, from, err.Error(), fix}
		}
		s.Sources = append(s.Sources, Source{row.name, values, row.list, row.number, from})
	}
	s.Warnings = unknownVariables(env)
	s.leaveClientsToken()
	return s, s.check()
}

// leaveClientsToken leaves GODWIT_ADMIN_TOKEN_FILE alone, with a warning, when
// nothing here asks for a token: whoever runs admin commands against another
// server has it in the environment for those.
func (s *Serve) leaveClientsToken() {
	i := slices.IndexFunc(s.Sources, func(src Source) bool { return src.Name == "admin-token-file" })
	if s.Admin.IsValid() || !strings.HasPrefix(s.Sources[i].From, fromEnvironment) {
		return
	}
	s.Warnings = append(s.Warnings, "GODWIT_ADMIN_TOKEN_FILE is for admin commands only here: this server has no --admin listener that asks for a token")
	s.AdminTokenFile, s.Sources[i].Values, s.Sources[i].From = "", nil, fromDefault
}

// find returns the values of a setting and where they stand.
func (row setting) find(flags Flags, env Environment, file *file) (values []string, from string, err error) {
	if values := row.flag(&flags); values != nil {
		return row.split(values), fromFlag, nil
	}
	if text, ok := env.Lookup(row.variable()); ok {
		from := fromEnvironment + row.variable()
		values := row.split([]string{text})
		if row.list && !row.commas { // a value has commas of its own: only space parts them
			values = strings.Fields(text)
		}
		if strings.TrimSpace(text) == "" {
			return nil, from, &Error{row.name, from, "it is set but empty", "unset the variable, or give it as in " + row.variable() + "=" + row.value()}
		}
		return values, from, nil
	}
	if entry, ok := file.entries[row.name]; ok {
		from := fmt.Sprintf("file %s", file.name)
		if entry.line > 0 {
			from += fmt.Sprintf(" line %d", entry.line)
		}
		if len(entry.values) > 1 && !row.list || entry.array && !row.list {
			return nil, from, &Error{row.name, from, "it takes one value, not a list", "give it as in " + row.inFile()}
		}
		if len(entry.values) == 0 { // an empty array: none at all, which only listeners can be
			if !row.off {
				return nil, from, &Error{row.name, from, "the list is empty", "leave the line out, or give it as in " + row.inFile()}
			}
			return []string{off}, from, nil
		}
		return row.split(entry.values), from, nil
	}
	return nil, fromDefault, nil
}

func (row setting) split(values []string) []string {
	if !row.commas {
		return values
	}
	var out []string
	for _, v := range values {
		out = append(out, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })...)
	}
	if len(out) == 0 {
		return values // empty text: refused where it is parsed
	}
	return out
}

// unknownVariables warns of GODWIT_ variables that nothing reads: a misspelt
// one would be ignored silently.
func unknownVariables(env Environment) []string {
	known := []string{"GODWIT_CONFIG", "GODWIT_TARGET", "GODWIT_ADMIN_TOKEN_FILE", "GODWIT_URL", "GODWIT_HOST", "GODWIT_SECRET", "GODWIT_SECRET_FILE",
		// of the agent
		"GODWIT_STATE_DIR", "GODWIT_STATUS_FILE", "GODWIT_INTERVAL", "GODWIT_CA_FILE", "GODWIT_KEY_FILE", "GODWIT_TOKEN_FILE", "GODWIT_IPV4", "GODWIT_IPV6", "GODWIT_PREFIX"}
	for _, row := range settings {
		known = append(known, row.variable())
	}
	var warnings []string
	for _, kv := range env.List() {
		key, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(key, "GODWIT_") && !slices.Contains(known, key) {
			warnings = append(warnings, fmt.Sprintf("the environment variable %s means nothing to godwit; did you mean %s?", key, nearest(key, known)))
		}
	}
	slices.Sort(warnings)
	return warnings
}

// DefaultData is the data directory when nobody names one: $STATE_DIRECTORY
// (systemd), else $XDG_STATE_HOME/godwit, else ~/.local/state/godwit.
func DefaultData(env Environment) (string, error) {
	// systemd separates several directories by colons; the first is ours.
	if dir, _, _ := strings.Cut(env.get("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	// A relative path there is invalid and to be ignored (XDG Base Directory Specification).
	if dir := env.get("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "godwit"), nil
	}
	if home := env.get("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "godwit"), nil
	}
	return "", errors.New("there is no default place for data: neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set")
}

// readFile reads the file that is named by flag or environment, else the
// default one if it is there.
func readFile(flag *string, env Environment) (*file, error) {
	name, from := DefaultFile, fromDefault
	if flag != nil {
		name, from = *flag, fromFlag
	} else if v, ok := env.Lookup("GODWIT_CONFIG"); ok {
		name, from = v, fromEnvironment+"GODWIT_CONFIG"
	}
	if name == "" {
		return nil, &Error{"config", from, "the file name is empty", "give it as in --config " + DefaultFile}
	}
	data, err := env.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && from == fromDefault:
		return &file{}, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, &Error{"config", from, err.Error(), "run as a user who may read it, or name another file with --config"}
	case err != nil:
		return nil, &Error{"config", from, err.Error(), "name a file that can be read, or leave it out"}
	}
	return parseFile(name, data)
}
