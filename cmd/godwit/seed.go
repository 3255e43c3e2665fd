package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"godwit/internal/agent"
	"godwit/internal/agent/command"
	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/dnsname"
	"godwit/internal/signature"
)

// doorFlags say where a server's public door is.
type doorFlags struct {
	URL  string `name:"url" required:"" env:"GODWIT_URL" placeholder:"URL" help:"The server's URL."`
	IPv4 bool   `name:"ipv4" short:"4" help:"Go over IPv4 only."`
	IPv6 bool   `name:"ipv6" short:"6" help:"Go over IPv6 only."`
}

func (f doorFlags) seed() (client.Seed, error) {
	s := client.Seed{URL: f.URL}
	u, err := url.Parse(f.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return s, usage("--url %q is not understood; write it as https://ddns.example.com", f.URL)
	case f.IPv4 && f.IPv6:
		return s, usage("-4 and -6 exclude each other; leave one out")
	}
	s.Network = f.network()
	return s, nil
}

// network is the family to go over; "": either.
func (f doorFlags) network() string {
	switch {
	case f.IPv4:
		return "tcp4"
	case f.IPv6:
		return "tcp6"
	}
	return ""
}

// Protocols that get and set speak.
const (
	seedProtocol = "seed"
	doorProtocol = "signed"
)

type getCommand struct {
	doorFlags
	jsonFlag
	Protocol string `enum:"seed,signed" default:"seed" help:"seed: the AWS sample's, which every server speaks; signed: godwit's own (GET /ip)."`
}

func (getCommand) Help() string {
	return `Examples:

    godwit get --url https://ddns.example.com
    godwit get --url https://ddns.example.com -6`
}

func (c getCommand) Run(a *app) error {
	seed, err := c.seed()
	if err != nil {
		return err
	}
	get := seed.Get
	if c.Protocol == doorProtocol {
		door, err := client.NewDoor(client.DoorConfig{URL: c.URL, Network: c.network()})
		if err != nil {
			return usage("--url: %s", err)
		}
		defer door.Close()
		get = door.Source
	}
	addr, err := get(a.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(struct {
			Address netip.Addr `json:"address"`
		}{addr})
	}
	a.print("%s", addr)
	return nil
}

type setCommand struct {
	doorFlags
	jsonFlag
	Host       string `required:"" env:"GODWIT_HOST" placeholder:"NAME" help:"Name of the host."`
	SecretFile string `env:"GODWIT_SECRET_FILE" placeholder:"FILE" help:"File with the host's token or secret; - for standard input. Default: the variable GODWIT_SECRET, else you are asked."`
	KeyFile    string `placeholder:"FILE" help:"The host's key, which 'godwit agent join' made, in place of a secret."`
	Protocol   string `enum:"seed,signed," default:"" help:"seed: the AWS sample's hash over address, host and secret; signed: godwit's own, with the key, or with the token as it is (https only). Default: signed with a key, else seed."`
}

func (setCommand) Help() string {
	return `Makes the seed's two requests: the server says which address it sees, and gets a hash over
it, the host's name and the secret. The secret itself is not sent. With --key-file it is one signed
request; with --protocol signed and a token, one request that has the token in it.

Examples:

    godwit set --url https://ddns.example.com --host nas.dyn.example.com --secret-file nas.secret
    godwit set --url https://ddns.example.com --host nas.dyn.example.com --secret-file nas.secret -6
    godwit set --url https://ddns.example.com --host nas.dyn.example.com --key-file nas.key
    GODWIT_SECRET="$(pass nas)" godwit set --url https://ddns.example.com --host nas.dyn.example.com`
}

func (c setCommand) Run(a *app) error {
	seed, err := c.seed()
	switch {
	case err != nil:
		return err
	case c.KeyFile != "" && (c.SecretFile != "" || c.Protocol == seedProtocol):
		return usage("--key-file signs, and goes with no secret and not with --protocol seed; leave one out")
	case c.KeyFile != "" || c.Protocol == doorProtocol:
		return c.signed(a)
	}
	secret, err := c.secret(a)
	if err != nil {
		return err
	}
	// The name goes as it was typed: the hash is made over it.
	message, changed, err := seed.Set(a.ctx, c.Host, secret)
	if err != nil {
		return err
	}
	outcome := api.Unchanged
	if changed {
		outcome = api.Changed
	}
	return c.tell(a, outcome, message)
}

func (c setCommand) tell(a *app, outcome, message string) error {
	if c.JSON {
		return a.printJSON(struct {
			Host    string `json:"host"`
			Outcome string `json:"outcome"`
			Message string `json:"message"`
		}{c.Host, outcome, message})
	}
	a.print("%s", message)
	return nil
}

// signed asks the server to take the address that the request comes from.
func (c setCommand) signed(a *app) error {
	host, err := dnsname.Parse(c.Host)
	if err != nil {
		return usage("--host: %s", err)
	}
	config := client.DoorConfig{URL: c.URL, Network: c.network()}
	var signer *signature.Signer
	if c.KeyFile != "" {
		key, err := agent.ReadKey(c.KeyFile)
		if err == nil {
			signer, err = key.Signer()
		}
		if err != nil {
			return err
		}
		config.Sign = agent.SignWith(signer)
	} else if config.Token, err = c.secret(a); err != nil {
		return err
	}
	door, err := client.NewDoor(config)
	if err != nil {
		return usage("--url: %s", err)
	}
	defer door.Close()
	var answer api.Addresses
	set := func() error {
		answer, err = door.SetAddresses(a.ctx, host, api.SetAddresses{})
		return err
	}
	if signer != nil {
		err = command.Signed(signer, set)
	} else {
		err = set()
	}
	if err != nil {
		return err
	}
	addresses := slices.Concat(answer.A, answer.AAAA)
	texts := make([]string, len(addresses))
	for i, addr := range addresses {
		texts[i] = addr.String()
	}
	return c.tell(a, answer.Outcome, fmt.Sprintf("%s is at %s (%s)", answer.Host, strings.Join(texts, " and "), answer.Outcome))
}

func (c setCommand) secret(a *app) (string, error) {
	if c.SecretFile != "" {
		return a.readSecret(c.SecretFile, "Secret of "+c.Host)
	}
	if text, _ := a.env.Lookup("GODWIT_SECRET"); text != "" {
		return text, nil
	}
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return a.prompt(f, "Secret of "+c.Host)
	}
	return "", usage("the host's secret is needed; add --secret-file FILE, or set GODWIT_SECRET")
}
