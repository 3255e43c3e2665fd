package main

import (
	"net/netip"
	"net/url"
	"os"

	"golang.org/x/term"

	"godwit/internal/client"
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
	case f.IPv4:
		s.Network = "tcp4"
	case f.IPv6:
		s.Network = "tcp6"
	}
	return s, nil
}

type getCommand struct {
	doorFlags
	jsonFlag
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
	addr, err := seed.Get(a.ctx)
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
}

func (setCommand) Help() string {
	return `Makes the seed's two requests: the server says which address it sees, and gets a hash over
it, the host's name and the secret. The secret itself is not sent.

Examples:

    godwit set --url https://ddns.example.com --host nas.dyn.example.com --secret-file nas.secret
    godwit set --url https://ddns.example.com --host nas.dyn.example.com --secret-file nas.secret -6
    GODWIT_SECRET="$(pass nas)" godwit set --url https://ddns.example.com --host nas.dyn.example.com`
}

func (c setCommand) Run(a *app) error {
	seed, err := c.seed()
	if err != nil {
		return err
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
	if c.JSON {
		outcome := "unchanged"
		if changed {
			outcome = "changed"
		}
		return a.printJSON(struct {
			Host    string `json:"host"`
			Outcome string `json:"outcome"`
			Message string `json:"message"`
		}{c.Host, outcome, message})
	}
	a.print("%s", message)
	return nil
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
