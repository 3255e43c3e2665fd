package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

type hostCommand struct {
	Add     hostAddCommand     `cmd:"" help:"Add a host; prints its token once, and how to set it up."`
	List    hostListCommand    `cmd:"" help:"List hosts and their addresses."`
	Show    hostShowCommand    `cmd:"" help:"Show all about one host."`
	Set     hostSetCommand     `cmd:"" help:"Change a host's settings."`
	History hostHistoryCommand `cmd:"" help:"Show what happened to a host."`
	Rotate  hostRotateCommand  `cmd:"" help:"Replace all tokens, secrets and keys of a host by a new one."`
	Remove  hostRemoveCommand  `cmd:"" help:"Take a host out of DNS and forget it."`
	Import  hostImportCommand  `cmd:"" help:"Add hosts from a file: an export, or the seed's."`
	Export  hostExportCommand  `cmd:"" help:"Write hosts into a file."`
	Setup   hostSetupCommand   `cmd:"" help:"Say how a router or program is set up for a host, and what is wrong with what it sends."`
	Token   tokenCommand       `cmd:"" help:"Further tokens, keys and join codes of a host."`
}

// hostName is an argument: a name that a host can have.
type hostName struct{ dnsname.Name }

// UnmarshalText is how kong reads it.
func (h *hostName) UnmarshalText(text []byte) error {
	n, err := dnsname.ParseHost(string(text))
	h.Name = n
	return err
}

// switchFlag is --flag, --flag=on or --flag=off.
type switchFlag bool

// IsBool lets the flag stand without a value.
func (switchFlag) IsBool() bool { return true }

// Decode is how kong reads it.
func (s *switchFlag) Decode(ctx *kong.DecodeContext) error {
	*s = true
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	switch v := ctx.Scan.Pop().Value; v {
	case "on", true:
	case "off", false:
		*s = false
	default:
		return fmt.Errorf("%v is neither on nor off", v)
	}
	return nil
}

// settingFlags are what an operator may say of a host.
type settingFlags struct {
	TTL       *uint32     `name:"ttl" placeholder:"SECONDS" help:"How long resolvers may keep an answer, 1 to 86400. A new host has 60."`
	Addresses *string     `placeholder:"POLICY" help:"Which addresses may be published: public (a new host's), any (private and loopback ones too), or CIDR blocks with commas."`
	Source    *string     `placeholder:"POLICY" help:"match (a new host's): only the address that a request comes from; free: a request may name another."`
	Seed      *switchFlag `placeholder:"on|off" help:"Whether the seed's protocol works for this host: --seed=off."`
	Wildcard  *switchFlag `help:"Names below the host show its addresses too: --wildcard, --wildcard=off."`
	Lease     *string     `placeholder:"TIME" help:"Take the addresses out of DNS after no sign of life for so long, such as 72h or 30d; off: never."`
	Follower  []string    `sep:"none" placeholder:"NAME=ID" help:"A name behind the same router: its AAAA is the delegated prefix and this interface ID, such as tv.dyn.example.com=::1234, with a subnet ID 0:0:0:5::1/56, or a MAC address. Add ,a to show the router's IPv4 address too, ,a-only for that alone (repeatable; replaces the list; off: none)."`
}

// settings checks the flags as far as that needs no server.
func (f settingFlags) settings() (api.Settings, error) {
	out := api.Settings{TTL: f.TTL, Seed: (*bool)(f.Seed), Wildcard: (*bool)(f.Wildcard)}
	if f.TTL != nil && (*f.TTL < 1 || *f.TTL > ddns.MaxTTL) {
		return out, usage("--ttl %d is not 1 to %d seconds; give --ttl 60, for example", *f.TTL, ddns.MaxTTL)
	}
	if f.Addresses != nil {
		rule, err := ddns.ParseAddressRule(*f.Addresses)
		if err != nil || *f.Addresses == "" {
			return out, usage("--addresses %q is not understood; give public, any, or CIDR blocks such as 192.168.0.0/16,fd00::/8", *f.Addresses)
		}
		text := rule.String()
		out.Addresses = &text
	}
	if f.Source != nil {
		if *f.Source != api.SourceMatch && *f.Source != api.SourceFree {
			return out, usage("--source %q is not understood; give match or free", *f.Source)
		}
		out.Source = f.Source
	}
	if f.Lease != nil {
		d, err := parseSpan(*f.Lease)
		if err != nil {
			return out, usage("--lease %s; give a time such as 72h or 30d, or off", err)
		}
		seconds := int64(d / time.Second)
		out.Lease = &seconds
	}
	if f.Follower != nil {
		list := []api.Follower{}
		for _, text := range f.Follower {
			if text == "off" && len(f.Follower) == 1 {
				break
			}
			follower, err := parseFollower("--follower", text)
			if err != nil {
				return out, err
			}
			list = append(list, follower)
		}
		out.Followers = &list
	}
	return out, nil
}

// parseFollower reads NAME=ID[,a|,a-only].
func parseFollower(flag, text string) (api.Follower, error) {
	const fix = "give NAME=ID, such as tv.dyn.example.com=::1234"
	owner, id, ok := strings.Cut(text, "=")
	if !ok {
		return api.Follower{}, usage("%s %q has no interface ID; %s", flag, text, fix)
	}
	id, family, _ := strings.Cut(id, ",")
	f := api.Follower{AAAA: true}
	switch family {
	case "":
	case "a":
		f.A = true
	case "a-only":
		f.A, f.AAAA = true, false
	default:
		return f, usage("%s %q ends in neither ,a nor ,a-only; %s", flag, text, fix)
	}
	n, err := dnsname.ParseHost(owner)
	if err != nil {
		return f, usage("%s: %s", flag, err)
	}
	low, err := ddns.ParseLow(id)
	if err != nil {
		return f, usage("%s %q: %s is not an interface ID; %s", flag, text, id, fix)
	}
	f.Name, f.Low = n.String(), ddns.LowText(low)
	return f, nil
}

// parseSpan reads a time such as 90m, 72h or 30d; off is 0.
func parseSpan(text string) (time.Duration, error) {
	if text == "off" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is not a time", text)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a time", text)
	}
	return d, nil
}

func span(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
