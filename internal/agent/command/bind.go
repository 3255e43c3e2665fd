package command

import (
	"flag"
	"strings"
)

// Bind lets package flag fill f.
func (f *Flags) Bind(set *flag.FlagSet) {
	set.StringVar(&f.Config, "config", "", "configuration `FILE`")
	set.StringVar(&f.StateDir, "state-dir", "", "`DIR` of the keys and of what the agent remembers")
	set.StringVar(&f.StatusFile, "status-file", "", "`FILE` in which the agent tells what it does")
	set.Var((*texts)(&f.Host), "host", "only this host `NAME`; repeatable")
	set.StringVar(&f.URL, "url", "", "the server's `URL`")
	set.StringVar(&f.KeyFile, "key-file", "", "the host's key `FILE`")
	set.StringVar(&f.TokenFile, "token-file", "", "`FILE` with the host's token, in place of a key")
	set.StringVar(&f.CAFile, "ca-file", "", "certificates `FILE` that sign the server's")
	set.Var((*texts)(&f.IPv4), "ipv4", "`SOURCE` of the IPv4 address: server, interface [NAME], router, web URL…, dns NAME@SERVER, command PATH ARG…, off, remove; repeatable")
	set.Var((*texts)(&f.IPv6), "ipv6", "`SOURCE` of the IPv6 address; repeatable")
	set.StringVar(&f.Prefix, "prefix", "", "`SOURCE` of the delegated IPv6 prefix: delegated, interface NAME[/LENGTH], command PATH ARG…, or off")
	set.StringVar(&f.Interval, "interval", "", "`DURATION` from one look at the address to the next, at least 30s")
	set.StringVar(&f.LogLevel, "log-level", "", "`LEVEL`: debug, info, warn or error")
	set.StringVar(&f.LogFormat, "log-format", "", "`FORMAT`: text or json")
}

// texts is a flag that may be given more than once.
type texts []string

func (t *texts) String() string { return strings.Join(*t, ", ") }

func (t *texts) Set(text string) error { *t = append(*t, text); return nil }
