package main

import (
	"net/netip"
	"strings"
	"time"

	"godwit/internal/api"
)

type tokenCommand struct {
	Add    tokenAddCommand    `cmd:"" help:"Give a host a further token or join code; prints it once."`
	List   tokenListCommand   `cmd:"" help:"List a host's credentials."`
	Rotate tokenRotateCommand `cmd:"" help:"Replace one token by a new one with the same limits, a key by a join code."`
	Revoke tokenRevokeCommand `cmd:"" help:"End one credential at once."`
}

type tokenAddCommand struct {
	targetFlags
	jsonFlag
	Name     hostName `arg:"" help:"Name of the host."`
	Label    string   `placeholder:"TEXT" help:"A note of your own: router, laptop ..."`
	Types    []string `placeholder:"TYPE" enum:"A,AAAA,TXT,prefix" help:"Only these: A, AAAA, TXT, prefix. Default: all but TXT."`
	Networks []string `placeholder:"CIDR" help:"Only from these networks. Default: from everywhere."`
	Rate     int      `placeholder:"N" help:"At most so many changes an hour. Default: the host's limit."`
	Expires  string   `placeholder:"TIME" help:"End after so long (72h, 90d) or at a time (2030-01-31). Default: never."`
	URLToken bool     `name:"url-token" help:"Let it stand in a URL, where logs may see it, for clients that cannot send it otherwise."`
	Join     bool     `help:"Make a join code: all else is for the key that a device makes and joins with."`
}

func (tokenAddCommand) Help() string {
	return `A token may narrow what its host may do, never widen it.

Examples:

    godwit host token add nas.dyn.example.com --label router
    godwit host token add nas.dyn.example.com --label laptop --join
    godwit host token add nas.dyn.example.com --types AAAA --networks 198.51.100.0/24 --expires 90d`
}

func (c tokenAddCommand) Run(a *app) error {
	spec := api.TokenSpec{Label: c.Label, Types: c.Types, Rate: c.Rate, URLToken: c.URLToken, Join: c.Join}
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
	}
	a.print("New token %s of %s, shown this once:\n\n  %s", c.Credential, c.Host, c.Token)
	return nil
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

type tokenRotateCommand struct {
	targetFlags
	jsonFlag
	Name    hostName `arg:"" help:"Name of the host."`
	ID      string   `arg:"" name:"id" help:"Which token or key: its 8 characters, which \"host token list\" shows."`
	Overlap string   `placeholder:"TIME" help:"Let the old one go on for so long, such as 24h. Default: it ends at once."`
}

func (tokenRotateCommand) Help() string {
	return `In place of a key there is a join code; with --overlap the old key goes on meanwhile.
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
	return "Example:\n\n    godwit host token revoke nas.dyn.example.com k7m2qx4p"
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
	if err := server.RevokeToken(a.ctx, c.Name.String(), c.ID); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(struct {
			Host       string `json:"host"`
			Credential string `json:"credential"`
			Revoked    bool   `json:"revoked"`
		}{c.Name.String(), c.ID, true})
	}
	a.print("Credential %s of %s is revoked.", c.ID, c.Name)
	return nil
}

// checkID catches a whole token where its ID is meant, before it goes anywhere.
func checkID(id string) error {
	if len(id) == 8 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == "" {
		return nil
	}
	return usage("a credential's ID has 8 characters of a-z and 2-7; godwit host token list shows them (never give the token itself here)")
}
