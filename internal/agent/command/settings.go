package command

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"godwit/internal/agent"
	"godwit/internal/agent/source"
	"godwit/internal/dnsname"
)

// Flags are settings as the command line has them, as text. Each goes before its
// environment variable, and that before the file. The tags are for a parser
// that reads them; Bind is for package flag.
type Flags struct {
	Config     string   `placeholder:"FILE" help:"Configuration file. Default: /etc/godwit/agent.toml if it is there, else godwit/agent.toml in your own configuration directory."`
	StateDir   string   `placeholder:"DIR" help:"Directory of the keys and of what the agent remembers."`
	StatusFile string   `placeholder:"FILE" help:"File in which the agent tells what it does. Default: status.json in the state directory."`
	Host       []string `placeholder:"NAME" help:"Only this host, which need not be in the file. Repeatable."`
	URL        string   `name:"url" placeholder:"URL" help:"The server's URL."`
	KeyFile    string   `placeholder:"FILE" help:"The host's key. Default: the one in the state directory that joining made."`
	TokenFile  string   `placeholder:"FILE" help:"File with the host's token, in place of a key."`
	CAFile     string   `name:"ca-file" placeholder:"FILE" help:"Certificates (PEM) that sign the server's, in place of the system's."`
	IPv4       []string `name:"ipv4" sep:"none" placeholder:"SOURCE" help:"Where the IPv4 address comes from: server, interface [NAME], router, web URL…, dns NAME@SERVER, command PATH ARG…, off, or remove. Repeatable; asked in order."`
	IPv6       []string `name:"ipv6" sep:"none" placeholder:"SOURCE" help:"The same for IPv6."`
	Prefix     string   `placeholder:"SOURCE" help:"Where the delegated IPv6 prefix comes from, for the names that follow the host: delegated, interface NAME[/LENGTH], command PATH ARG…, or off. It goes with the IPv6 address."`
	Interval   string   `placeholder:"DURATION" help:"From one look at the address to the next, as in 5m; at least 30s."`
	LogLevel   string   `placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat  string   `placeholder:"FORMAT" help:"text or json."`
}

// Settings are what the agent is to do, checked.
type Settings struct {
	Agent     agent.Config // without a Log
	File      string       // the configuration file, whether or not it is there
	HaveFile  bool
	LogLevel  slog.Level
	LogJSON   bool
	explicit  bool // File was named
	stateFlag bool // the state directory was named on the command line
}

// Error is a mistake in how the agent was called or configured.
type Error struct{ Why, Fix string }

func (e *Error) Error() string { return e.Why + "; " + e.Fix }

// wrong makes an Error.
func wrong(fix, why string, args ...any) error { return &Error{fmt.Sprintf(why, args...), fix} }

// setting is one key, wherever it stands.
type setting struct {
	name    string
	example string // in the file
	flag    func(*Flags) []string
	list    bool // takes several values
	top     bool // may stand at the top of the file
	host    bool // may stand in a [[host]]
}

func one(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

var settings = []setting{
	{name: "state-dir", example: `state-dir = "/var/lib/godwit-agent"`, top: true, flag: func(f *Flags) []string { return one(f.StateDir) }},
	{name: "status-file", example: `status-file = "/run/godwit-agent/status.json"`, top: true, flag: func(f *Flags) []string { return one(f.StatusFile) }},
	{name: "interval", example: `interval = "5m"`, top: true, flag: func(f *Flags) []string { return one(f.Interval) }},
	{name: "ca-file", example: `ca-file = "/etc/godwit/ca.pem"`, top: true, flag: func(f *Flags) []string { return one(f.CAFile) }},
	{name: "log-level", example: `log-level = "info"`, top: true, flag: func(f *Flags) []string { return one(f.LogLevel) }},
	{name: "log-format", example: `log-format = "text"`, top: true, flag: func(f *Flags) []string { return one(f.LogFormat) }},
	{name: "name", example: `name = "nas.dyn.example.com"`, host: true},
	{name: "url", example: `url = "https://ddns.example.com"`, top: true, host: true, flag: func(f *Flags) []string { return one(f.URL) }},
	{name: "key-file", example: `key-file = "/var/lib/godwit-agent/keys/nas.key"`, host: true, flag: func(f *Flags) []string { return one(f.KeyFile) }},
	{name: "token-file", example: `token-file = "/etc/godwit/nas.token"`, host: true, flag: func(f *Flags) []string { return one(f.TokenFile) }},
	{name: "ipv4", example: `ipv4 = ["server"]`, list: true, top: true, host: true, flag: func(f *Flags) []string { return f.IPv4 }},
	{name: "ipv6", example: `ipv6 = ["interface eth0", "server"]`, list: true, top: true, host: true, flag: func(f *Flags) []string { return f.IPv6 }},
	{name: "prefix", example: `prefix = "interface br-lan"`, top: true, host: true, flag: func(f *Flags) []string { return one(f.Prefix) }},
	{name: "poll", example: `poll = "ip"`, top: true, host: true},
	{name: "hook", example: `hook = ["/usr/local/bin/moved", "nas"]`, list: true, top: true, host: true},
}

func named(name string) (setting, bool) {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
	if i < 0 {
		return setting{}, false
	}
	return settings[i], true
}

func (s setting) variable() string {
	return "GODWIT_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// value is what a setting says, and where.
type value struct {
	texts []string
	from  string // "--url", "GODWIT_URL", "/etc/godwit/agent.toml line 3"
}

// text is the one value; "" if there is none.
func (v value) text() string {
	if len(v.texts) == 0 {
		return ""
	}
	return v.texts[0]
}

// loader reads settings from flags, environment and file.
type loader struct {
	flags Flags
	sys   System
	top   map[string]value
	hosts []map[string]value
}

// get looks a setting up, first where it goes before the others. host may be nil.
func (l *loader) get(name string, host map[string]value) (value, error) {
	s, _ := named(name)
	if s.flag != nil {
		if texts := s.flag(&l.flags); len(texts) > 0 {
			return value{texts, "--" + name}, nil
		}
		if text, ok := l.sys.Lookup(s.variable()); ok {
			if strings.TrimSpace(text) == "" {
				return value{}, wrong("unset it, or give it a value", "%s is set but empty", s.variable())
			}
			texts := []string{text}
			if s.list {
				texts = strings.Split(text, ",")
				for i := range texts {
					texts[i] = strings.TrimSpace(texts[i])
				}
			}
			return value{texts, s.variable()}, nil
		}
	}
	if v, ok := host[name]; ok {
		return v, nil
	}
	return l.top[name], nil
}

// Load reads the settings. Hosts may be missing; see [Settings.Check].
func Load(flags Flags, sys System) (*Settings, error) {
	l := &loader{flags: flags, sys: sys}
	s := &Settings{File: flags.Config, stateFlag: flags.StateDir != ""}
	explicit := s.File != ""
	if !explicit {
		s.File, explicit = sys.Lookup("GODWIT_CONFIG")
	}
	if !explicit {
		s.File = sys.defaultFile()
	}
	s.explicit = explicit
	data, err := sys.ReadFile(s.File)
	switch {
	case err == nil:
		s.HaveFile = true
		if err := l.read(s.File, data); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, wrong("let the agent's user read it", "read the configuration: %v", err)
	}
	if err := l.common(s); err != nil {
		return nil, err
	}
	return s, l.targets(s)
}

// Check says what is missing before an agent can run.
func (s *Settings) Check() error {
	switch {
	case s.explicit && !s.HaveFile:
		return wrong("name one that is there, or none", "there is no configuration at %s", s.File)
	case len(s.Agent.Targets) > 0:
		return nil
	case !s.HaveFile:
		return wrong("join a host: godwit agent join URL CODE", "there is no configuration at %s, and no host is named", s.File)
	}
	return wrong("join one: godwit agent join URL CODE", "%s configures no host", s.File)
}

func (l *loader) common(s *Settings) error {
	var err error
	get := func(name string) value {
		v, e := l.get(name, nil)
		if err == nil {
			err = e
		}
		return v
	}
	stateDir, status, interval := get("state-dir"), get("status-file"), get("interval")
	ca, level, format := get("ca-file"), get("log-level"), get("log-format")
	if err != nil {
		return err
	}
	if s.Agent.Dir = stateDir.text(); s.Agent.Dir == "" {
		if s.Agent.Dir, err = l.sys.stateDir(); err != nil {
			return err
		}
	}
	s.Agent.Status = status.text()
	if text := interval.text(); text != "" {
		s.Agent.Interval, err = time.ParseDuration(text)
		if err != nil || s.Agent.Interval < agent.MinInterval || s.Agent.Interval > 24*time.Hour {
			return wrong(`give it as in interval = "5m"`, "%s: interval %q is not a duration from 30s to 24h", interval.from, text)
		}
	}
	if text := level.text(); text != "" {
		if s.LogLevel.UnmarshalText([]byte(text)) != nil || !slices.Contains([]string{"debug", "info", "warn", "error"}, text) {
			return wrong("give one of them", "%s: log-level %q is not debug, info, warn or error", level.from, text)
		}
	}
	switch text := format.text(); text {
	case "", "text":
	case "json":
		s.LogJSON = true
	default:
		return wrong("give one of them", "%s: log-format %q is not text or json", format.from, text)
	}
	if file := ca.text(); file != "" {
		pem, err := l.sys.ReadFile(file)
		if err != nil {
			return wrong("name a file with certificates", "%s: %v", ca.from, err)
		}
		s.Agent.RootCAs = x509.NewCertPool()
		if !s.Agent.RootCAs.AppendCertsFromPEM(pem) {
			return wrong("name a file with certificates in PEM form", "%s: %s holds no certificate", ca.from, file)
		}
	}
	return nil
}

// targets are the hosts of the file, or those that the command line names.
func (l *loader) targets(s *Settings) error {
	hosts := l.hosts
	names := value{l.flags.Host, "--host"}
	if text, ok := l.sys.Lookup("GODWIT_HOST"); ok && len(names.texts) == 0 {
		names = value{strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }), "GODWIT_HOST"}
	}
	if len(names.texts) > 0 {
		hosts = nil
		for _, text := range names.texts {
			name, err := dnsname.ParseHost(text)
			if err != nil {
				return wrong("give it as in --host nas.dyn.example.com", "%s: %v", names.from, err)
			}
			before := len(hosts)
			for _, h := range l.hosts {
				if of, err := dnsname.ParseHost(h["name"].text()); err == nil && of == name {
					hosts = append(hosts, h)
				}
			}
			if len(hosts) == before {
				hosts = append(hosts, map[string]value{"name": {[]string{text}, names.from}})
			}
		}
	}
	known := known{map[string]agent.Source{}, map[string]agent.PrefixSource{}}
	for _, h := range hosts {
		t, err := l.target(s, h, known)
		if err != nil {
			return err
		}
		s.Agent.Targets = append(s.Agent.Targets, t)
	}
	return nil
}

// known are sources by their text. Hosts that name the same one share it.
type known struct {
	sources  map[string]agent.Source
	prefixes map[string]agent.PrefixSource
}

func (l *loader) target(s *Settings, h map[string]value, known known) (t agent.Target, err error) {
	if t.Host, err = dnsname.ParseHost(h["name"].text()); err != nil {
		return t, wrong(`give it as in name = "nas.dyn.example.com"`, "%s: %v", h["name"].from, err)
	}
	values := map[string]value{}
	for _, name := range []string{"url", "key-file", "token-file", "ipv4", "ipv6", "prefix", "poll", "hook"} {
		if values[name], err = l.get(name, h); err != nil {
			return t, err
		}
	}
	t.Server, t.KeyFile, t.TokenFile = strings.TrimRight(values["url"].text(), "/"), values["key-file"].text(), values["token-file"].text()
	if t.Server == "" {
		return t, wrong(`add url = "https://ddns.example.com"`, "%s: host %s has no server", h["name"].from, t.Host)
	}
	if u, err := url.Parse(t.Server); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return t, wrong(`give it as in url = "https://ddns.example.com"`, "%s: the server's URL is not understood", values["url"].from)
	}
	// Who names one of them on the command line does not mean the file's other.
	inFile := func(v value) bool { return strings.HasPrefix(v.from, s.File) }
	if key, token := values["key-file"], values["token-file"]; inFile(key) && !inFile(token) && t.TokenFile != "" {
		t.KeyFile = ""
	} else if inFile(token) && !inFile(key) && t.KeyFile != "" {
		t.TokenFile = ""
	}
	switch {
	case t.KeyFile != "" && t.TokenFile != "":
		return t, wrong("leave one out", "host %s has a key (%s) and a token (%s)", t.Host, values["key-file"].from, values["token-file"].from)
	case t.TokenFile == "" && t.KeyFile == "":
		t.KeyFile = agent.KeyPath(s.Agent.Dir, t.Server, t.Host)
	}
	if t.IPv4, err = known.choice(values["ipv4"]); err != nil {
		return t, err
	}
	if t.IPv6, err = known.choice(values["ipv6"]); err != nil {
		return t, err
	}
	if t.Prefix, err = known.prefix(values["prefix"]); err != nil {
		return t, err
	}
	if t.IPv4.Off && t.IPv6.Off {
		return t, wrong("let one of them be, or leave the host out", "both families of %s are off", t.Host)
	}
	if t.IPv6.Off && t.Prefix != nil {
		return t, wrong("leave one of them out", "%s: the prefix goes with the IPv6 address of %s, and IPv6 is off", values["prefix"].from, t.Host)
	}
	switch poll := values["poll"]; poll.text() {
	case "", "update":
	case "ip":
		t.PollIP = true
	default:
		return t, wrong(`give it as in poll = "ip"`, "%s: poll %q is not update or ip", poll.from, poll.text())
	}
	t.Hook = values["hook"].texts
	return t, nil
}

// prefix reads the source of the prefix; nil: none.
func (k known) prefix(v value) (agent.PrefixSource, error) {
	text := strings.TrimSpace(v.text())
	if text == "" || text == "off" {
		return nil, nil
	}
	if k.prefixes[text] == nil {
		p, err := source.NewPrefix(text)
		if err != nil {
			return nil, wrong(`give it as in prefix = "interface br-lan"`, "%s: %v", v.from, err)
		}
		k.prefixes[text] = p
	}
	return k.prefixes[text], nil
}

// choice reads the sources of a family.
func (k known) choice(v value) (c agent.Choice, err error) {
	for _, text := range v.texts {
		switch text = strings.TrimSpace(text); text {
		case "off", "remove":
			if len(v.texts) > 1 {
				return c, wrong("leave it alone, or leave the others out", "%s: %s stands beside other sources", v.from, text)
			}
			c.Off, c.Remove = text == "off", text == "remove"
			continue
		case "server":
			c.Sources = append(c.Sources, nil)
			continue
		}
		if k.sources[text] == nil {
			if k.sources[text], err = source.New(text); err != nil {
				return c, wrong(`or take what the server sees: "server"`, "%s: %v", v.from, err)
			}
		}
		c.Sources = append(c.Sources, k.sources[text])
	}
	return c, nil
}
