package main

import (
	"net/netip"
	"strings"
	"time"

	"godwit/internal/api"
)

type tokenCommand struct {
	Add    tokenAddCommand    `cmd:"" help:"Give a host a further token, TSIG key or join code; prints it once."`
	List   tokenListCommand   `cmd:"" help:"List a host's credentials."`
	Set    tokenSetCommand    `cmd:"" help:"Change which hosts a token serves."`
	Rotate tokenRotateCommand `cmd:"" help:"Replace one token or TSIG key by a new one with the same hosts and limits, a device's key by a join code."`
	Revoke tokenRevokeCommand `cmd:"" help:"End one credential at once."`
}

type tokenAddCommand struct {
	targetFlags
	jsonFlag
	Name          hostName   `arg:"" help:"Name of the host."`
	Host          []hostName `placeholder:"NAME2" help:"A further host that it serves, with the same limits; repeatable, 50 hosts in all."`
	Label         string     `placeholder:"TEXT" help:"A note of your own: router, laptop ..."`
	Types         []string   `placeholder:"TYPE" enum:"A,AAAA,TXT,prefix" help:"Only these: A, AAAA, TXT, prefix. TXT is for certificates: values at _acme-challenge below the host. Default: all."`
	Networks      []string   `placeholder:"CIDR" help:"Only from these networks. Default: from everywhere."`
	Rate          int        `placeholder:"N" help:"At most so many changes an hour. Default: the host's limit."`
	Expires       string     `placeholder:"TIME" help:"End after so long (72h, 90d) or at a time (2030-01-31). Default: never."`
	URLToken      bool       `name:"url-token" help:"Let it stand in a URL, where logs may see it, for clients that cannot send it otherwise."`
	TSIG          bool       `name:"tsig" help:"Make a TSIG key for DNS UPDATE messages: nsupdate, certbot, lego, DHCP servers."`
	TSIGAlgorithm string     `name:"tsig-algorithm" enum:"hmac-sha256,hmac-sha384,hmac-sha512,hmac-sha1,hmac-md5" default:"hmac-sha256" placeholder:"NAME" help:"Algorithm of the TSIG key: hmac-sha256, hmac-sha384, hmac-sha512; hmac-sha1 and hmac-md5 are broken and for what knows no other."`
	Join          bool       `help:"Make a join code: all else is for the key that a device makes and joins with."`
}

func (tokenAddCommand) Help() string {
	return `A token may narrow what its host may do, never widen it. One for several hosts is
listed with each of them; rotated or revoked at one, it is at all.

Examples:

    godwit host token add nas.dyn.example.com --label router
    godwit host token add nas.dyn.example.com --label laptop --join
    godwit host token add nas.dyn.example.com --host cam.dyn.example.com --label router
    godwit host token add nas.dyn.example.com --label acme --types TXT
    godwit host token add nas.dyn.example.com --label certbot --types TXT --tsig
    godwit host token add nas.dyn.example.com --types AAAA --networks 198.51.100.0/24 --expires 90d`
}

func (c tokenAddCommand) Run(a *app) error {
	spec := api.TokenSpec{Hosts: texts(c.Host), Label: c.Label, Types: c.Types, Rate: c.Rate, URLToken: c.URLToken, Join: c.Join}
	if c.Join && len(c.Host) > 0 {
		return usage("--join makes a code for the key of one host; make one for each, or a token for all of them")
	}
	if c.TSIG {
		if c.Join || c.URLToken {
			return usage("--tsig makes a key that is no join code and does not stand in a URL; leave --join and --url-token out")
		}
		if strings.HasPrefix(c.Target, awsTarget) {
			return usage("TSIG keys are for godwit serve's own DNS listener, which a function in AWS has not; make a token: leave --tsig out")
		}
		spec.TSIG = c.TSIGAlgorithm
	} else if c.TSIGAlgorithm != "hmac-sha256" {
		return usage("--tsig-algorithm is for a TSIG key; add --tsig")
	}
	if c.Join && (c.Expires != "" || c.URLToken) {
		return usage("--join makes a code that ends after a day and becomes a key; leave --expires and --url-token out")
	}
	if c.Rate < 0 {
		return usage("--rate %d is negative; give the number of changes an hour", c.Rate)
	}
	for _, text := range c.Networks {
		p, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); err != nil && addrErr == nil {
			p, err = addr.Prefix(addr.BitLen())
		}
		if err != nil || p != p.Masked() {
			return usage("--networks %q is not a CIDR block; give one such as 198.51.100.0/24", text)
		}
		spec.Networks = append(spec.Networks, p)
	}
	var err error
	if spec.Expires, err = parseExpiry(c.Expires, a.now()); err != nil {
		return err
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	created, err := server.AddToken(a.ctx, c.Name.String(), spec)
	if err != nil {
		return err
	}
	return a.printToken(created, c.JSON, c.targetFlag(a))
}

// parseExpiry reads a span, a date or a time; "" is never.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := parseSpan(text); err == nil && d > 0 {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			if !t.After(now) {
				return t, usage("--expires %s has passed; give a time to come, such as 90d", text)
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, usage("--expires %q is not understood; give 72h, 90d, 2030-01-31 or 2030-01-31T12:00:00Z", text)
}

func (a *app) printToken(c api.Created, asJSON bool, target string) error {
	switch {
	case asJSON:
		return a.printJSON(c)
	case c.JoinCode != "":
		a.print("Key %s of %s begins when a device has joined.", c.Credential, c.Host)
		a.printJoin(c, target)
		return nil
	case c.TSIG != nil:
		a.print("New TSIG key %s of %s, shown this once:\n", c.Credential, hostList(c.Host, c.Hosts))
		a.printTSIG(c)
		a.print("\nWhole set-ups: godwit host setup %s --for nsupdate, knsupdate, certbot, lego ...%s", shellQuote(c.Host), target)
		return nil
	}
	a.print("New token %s of %s, shown this once:\n\n  %s", c.Credential, hostList(c.Host, c.Hosts), c.Token)
	return nil
}

func texts(names []hostName) (out []string) {
	for _, n := range names {
		out = append(out, n.String())
	}
	return out
}

// hostList is a host, or all hosts that a credential serves if it serves several.
func hostList(host string, all []string) string {
	if len(all) == 0 {
		return host
	}
	return strings.Join(all, ", ")
}

type tokenListCommand struct {
	targetFlags
	jsonFlag
	Name hostName `arg:"" help:"Name of the host."`
}

func (tokenListCommand) Help() string {
	return "Secrets are never listed.\n\nExample:\n\n    godwit host token list nas.dyn.example.com"
}

func (c tokenListCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	tokens, err := server.Tokens(a.ctx, c.Name.String())
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(tokens.Credentials)
	}
	if len(tokens.Credentials) == 0 {
		a.say("%s has no credential, so nothing can update it. Make one: godwit host token add %s%s",
			tokens.Host, shellQuote(tokens.Host), c.targetFlag(a))
		return nil
	}
	a.printCredentials(tokens.Credentials, a.now())
	return nil
}

type tokenSetCommand struct {
	targetFlags
	jsonFlag
	Name       hostName   `arg:"" help:"Name of a host that it serves."`
	ID         string     `arg:"" name:"id" help:"Which token: its 8 characters, which \"host token list\" shows."`
	AddHost    []hostName `placeholder:"NAME2" help:"A host that it is to serve too, with the types and rights that it has for NAME; repeatable."`
	RemoveHost []hostName `placeholder:"NAME2" help:"A host that it is to serve no longer; repeatable."`
}

func (tokenSetCommand) Help() string {
	return `The token itself stays; what serves a host no longer is refused there at once.

Examples:

    godwit host token set nas.dyn.example.com k7m2qx4p --add-host cam.dyn.example.com
    godwit host token set nas.dyn.example.com k7m2qx4p --remove-host cam.dyn.example.com`
}

func (c tokenSetCommand) Run(a *app) error {
	if err := checkID(c.ID); err != nil {
		return err
	}
	if len(c.AddHost)+len(c.RemoveHost) == 0 {
		return usage("nothing is to change; give --add-host NAME2 or --remove-host NAME2")
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	token, err := server.SetToken(a.ctx, c.Name.String(), c.ID, api.SetToken{AddHosts: texts(c.AddHost), RemoveHosts: texts(c.RemoveHost)})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(token)
	}
	a.print("Credential %s serves %s.", c.ID, strings.Join(token.Hosts, ", "))
	return nil
}

type tokenRotateCommand struct {
	targetFlags
	jsonFlag
	Name    hostName `arg:"" help:"Name of the host."`
	ID      string   `arg:"" name:"id" help:"Which token or key: its 8 characters, which \"host token list\" shows."`
	Overlap string   `placeholder:"TIME" help:"Let the old one go on for so long, such as 24h. Default: it ends at once."`
}

func (tokenRotateCommand) Help() string {
	return `A token or TSIG key of several hosts is rotated for all of them.
In place of a device's key there is a join code; with --overlap the old key goes on meanwhile.
A device can do that by itself too: godwit agent rotate.

Examples:

    godwit host token rotate nas.dyn.example.com k7m2qx4p
    godwit host token rotate nas.dyn.example.com k7m2qx4p --overlap 24h`
}

func (c tokenRotateCommand) Run(a *app) error {
	if err := checkID(c.ID); err != nil {
		return err
	}
	var overlap time.Duration
	if c.Overlap != "" {
		var err error
		if overlap, err = parseSpan(c.Overlap); err != nil {
			return usage("--overlap %s; give a time such as 24h", err)
		}
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	created, err := server.RotateToken(a.ctx, c.Name.String(), c.ID, api.RotateToken{Overlap: int64(overlap / time.Second)})
	if err != nil {
		return err
	}
	return a.printToken(created, c.JSON, c.targetFlag(a))
}

type tokenRevokeCommand struct {
	targetFlags
	jsonFlag
	Name hostName `arg:"" help:"Name of the host."`
	ID   string   `arg:"" name:"id" help:"Which credential; \"host token list\" shows them."`
}

func (tokenRevokeCommand) Help() string {
	return `A token of several hosts ends for all of them; to take one from it: godwit host token set.

Example:

    godwit host token revoke nas.dyn.example.com k7m2qx4p`
}

func (c tokenRevokeCommand) Run(a *app) error {
	if err := checkID(c.ID); err != nil {
		return err
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	revoked, err := server.RevokeToken(a.ctx, c.Name.String(), c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(struct {
			Host       string   `json:"host"`
			Hosts      []string `json:"hosts"`
			Credential string   `json:"credential"`
			Revoked    bool     `json:"revoked"`
		}{c.Name.String(), revoked.Hosts, c.ID, true})
	}
	a.print("Credential %s of %s is revoked.", c.ID, strings.Join(revoked.Hosts, ", "))
	return nil
}

// checkID catches a whole token where its ID is meant, before it goes anywhere.
func checkID(id string) error {
	if len(id) == 8 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == "" {
		return nil
	}
	return usage("a credential's ID has 8 characters of a-z and 2-7; godwit host token list shows them (never give the token itself here)")
}
