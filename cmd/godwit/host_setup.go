package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/client"
)

type hostSetupCommand struct {
	targetFlags
	jsonFlag
	Name     hostName      `arg:"" help:"Name of the host."`
	For      string        `placeholder:"CLIENT" help:"What is to keep the host up to date, or to get certificates for it. Without it all clients are listed."`
	NewToken bool          `help:"Make a token, or a join code, for that client and no more than it needs, and print it in its place: it is shown this once."`
	Wait     bool          `help:"Then wait for a request, and say what is wrong with it. The exit code is 0 if it was accepted."`
	Timeout  time.Duration `default:"10m" placeholder:"TIME" help:"How long to wait: 10m."`
}

func (hostSetupCommand) Help() string {
	return `The token cannot be shown again, so where it goes there is a placeholder, unless --new-token
makes one.

Examples:

    godwit host setup nas.dyn.example.com
    godwit host setup fritz.dyn.example.com --for fritzbox --new-token --wait
    godwit host setup pi.dyn.example.com --for ddclient
    godwit host setup nas.dyn.example.com --for lego --new-token
    godwit host setup nas.dyn.example.com --wait --timeout 1h`
}

// setup is what one client is told of one host.
type setup struct {
	Host   string       `json:"host"`
	For    string       `json:"for"`
	Title  string       `json:"title"`
	Steps  []string     `json:"steps"`             // never null
	Values []setupValue `json:"values"`            // never null; what goes into which field
	File   *setupFile   `json:"file,omitempty"`    // that the client reads
	Run    []string     `json:"commands"`          // never null; in order
	Sends  *setupSends  `json:"request,omitempty"` // what it then asks the server
	Notes  []string     `json:"notes"`             // never null
	// Warnings are what must be mended, or it will not work.
	Warnings []string `json:"warnings"` // never null
	// Credential that was made for it, with its token or join code.
	Credential string       `json:"credential,omitempty"`
	Token      string       `json:"token,omitempty"`
	JoinCode   string       `json:"join_code,omitempty"`
	TSIG       *api.TSIGKey `json:"tsig,omitempty"`
}

type setupValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type setupFile struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// setupSends is a request, with what the client fills in still in it.
type setupSends struct {
	URL      string `json:"url"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
}

// What stands where a secret goes.
const (
	yourToken  = "YOUR-TOKEN"
	yourCode   = "YOUR-CODE"
	yourKey    = "YOUR-KEY"
	yourSecret = "YOUR-SECRET"
)

func (c hostSetupCommand) Run(a *app) error {
	if c.For == "" && c.NewToken {
		return usage("--new-token makes a token for one client; name it with --for")
	}
	if c.For == "" && c.JSON && c.Wait {
		return usage("there are two results, the clients and the request; leave --json or --wait out, or give --for")
	}
	if c.NewToken && c.JSON && c.Wait {
		return usage("the token would be shown only when the wait is over, and nothing can be sent without it; make it first: leave --wait out, then call again without --new-token")
	}
	guide, err := findClient(c.For)
	if err != nil {
		return err
	}
	if guide != nil && guide.proof == byTSIG && strings.HasPrefix(c.Target, awsTarget) {
		return usage("%s sends DNS UPDATE messages, which a function in AWS does not take; choose another client", guide.name)
	}
	if guide != nil && guide.proof == byTSIG && c.Wait {
		return usage("--wait hears of HTTP requests, and %s sends DNS UPDATE messages; what came of them: godwit host history %s%s", guide.name, shellQuote(c.Name.String()), c.targetFlag(a))
	}
	if guide != nil && guide.proof == bySeedProof && c.NewToken {
		return usage("%s proves itself with the host's own secret, the one that host add printed; use that, or make a new one: godwit host rotate %s%s",
			guide.name, shellQuote(c.Name.String()), c.targetFlag(a))
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	host, err := server.ShowHost(a.ctx, c.Name.String())
	if err != nil {
		return err
	}
	if host.Router != "" {
		return fmt.Errorf("%s is a follower of %s, whose updates move it; set that up: godwit host setup %[2]s%s", host.Host, host.Router, c.targetFlag(a))
	}
	var mark uint64
	if c.Wait { // from before anything can be sent
		seen, err := server.Requests(a.ctx, "", 0)
		if err != nil {
			return err
		}
		mark = seen.Mark
	}
	if guide == nil {
		if !c.Wait {
			return c.list(a)
		}
		return c.wait(a, server, nil, mark)
	}
	s, err := c.make(a, server, host, guide)
	if err != nil {
		return err
	}
	if c.Wait {
		return c.wait(a, server, s, mark)
	}
	if c.JSON {
		return a.printJSON(s)
	}
	a.printSetupOf(s)
	if guide.proof == byTSIG {
		a.print("\nThen see what came of it: godwit host history %s%s", shellQuote(s.Host), c.targetFlag(a))
		return nil
	}
	a.print("\nThen see what arrives: godwit host setup %s --wait%s", shellQuote(s.Host), c.targetFlag(a))
	return nil
}

// findClient finds a client by its name; "" is none.
func findClient(name string) (*setupClient, error) {
	if name == "" {
		return nil, nil
	}
	all := setupClients()
	if i := slices.IndexFunc(all, func(c setupClient) bool { return c.name == name }); i >= 0 {
		return &all[i], nil
	}
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	return nil, usage("--for %q is none of the clients: %s", name, strings.Join(names, ", "))
}

// list shows which clients there are.
func (c hostSetupCommand) list(a *app) error {
	type row struct {
		Name  string `json:"name"`
		Title string `json:"title"`
	}
	rows := []row{}
	for _, known := range setupClients() {
		rows = append(rows, row{known.name, known.title})
	}
	if c.JSON {
		return a.printJSON(rows)
	}
	t := newTable(a.stdout, "CLIENT", "WHAT IT IS")
	for _, r := range rows {
		t.add(r.Name, r.Title)
	}
	t.flush()
	a.say("\nFor one of them: godwit host setup %s --for CLIENT%s", shellQuote(c.Name.String()), c.targetFlag(a))
	return nil
}

// make fills in a client's texts.
func (c hostSetupCommand) make(a *app, server *client.Client, host api.HostState, guide *setupClient) (*setup, error) {
	s := &setup{Host: host.Host, For: guide.name, Title: guide.title, Run: []string{}, Values: []setupValue{}, Notes: []string{}, Warnings: []string{}}
	token, code := yourToken, yourCode
	key := api.TSIGKey{Name: yourKey, Algorithm: "hmac-sha256", Secret: yourSecret}
	if c.NewToken {
		spec := api.TokenSpec{Label: guide.name, Join: guide.proof == byJoin, URLToken: guide.proof == byURL, Types: []string{"A", "AAAA"}}
		if guide.types != nil {
			spec.Types = guide.types
		}
		if guide.proof == byTSIG {
			spec.TSIG = "hmac-sha256"
		}
		if guide.prefix {
			spec.Types = append(spec.Types, "prefix")
		}
		made, err := server.AddToken(a.ctx, host.Host, spec)
		if err != nil {
			return nil, err
		}
		s.Credential, s.Token, s.JoinCode = made.Credential, made.Token, made.JoinCode
		if made.TSIG != nil {
			s.TSIG, key = made.TSIG, *made.TSIG
		}
		token, code = cmp.Or(made.Token, token), cmp.Or(made.JoinCode, code)
	}
	c.warn(a, s, host, guide)

	base := cmp.Or(strings.TrimRight(host.URL, "/"), "https://YOUR-SERVER")
	scheme, address, _ := strings.Cut(base, "://")
	secure := scheme == "https"
	pick := func(yes, no string) string {
		if secure {
			return yes
		}
		return no
	}
	dns, port := dnsServer(address), "53"
	if guide.proof == byTSIG {
		var err error
		if port, err = dnsPort(a, server, s); err != nil {
			return nil, err
		}
	}
	fill := strings.NewReplacer("{HOST}", host.Host, "{URL}", base, "{SERVER}", address, "{SCHEME}", scheme, "{TOKEN}", token, "{CODE}", code, "{TARGET}", c.targetFlag(a),
		"{DNS}", dns, "{PORT}", port, "{ZONE}", host.Zone, "{TTL}", fmt.Sprint(host.TTL), "{KEY}", key.Name, "{SECRET}", key.Secret, "{ALGORITHM}", key.Algorithm, "{ALGORITHM_UPPER}", strings.ToUpper(key.Algorithm),
		"{HTTPS}", pick("1", "0"), "{YES}", pick("yes", "no"), "{BOOL}", pick("true", "false")).Replace
	for _, step := range guide.steps {
		s.Steps = append(s.Steps, fill(step))
	}
	for _, v := range guide.values {
		s.Values = append(s.Values, setupValue{v[0], fill(v[1])})
	}
	if guide.file[0] != "" {
		s.File = &setupFile{guide.file[0], fill(guide.file[1])}
	}
	for _, line := range guide.commands {
		s.Run = append(s.Run, fill(line))
	}
	if guide.sends != "" {
		s.Sends = &setupSends{URL: fill(guide.sends)}
		if guide.proof == byPassword {
			s.Sends.User, s.Sends.Password = host.Host, token
		}
	}
	for _, note := range guide.notes {
		s.Notes = append(s.Notes, fill(note))
	}
	if guide.aws != "" && strings.HasPrefix(c.Target, awsTarget) {
		s.Notes = append(s.Notes, guide.aws)
	}
	return s, nil
}

// warn says what is missing for this client at the host or the server.
func (c hostSetupCommand) warn(a *app, s *setup, host api.HostState, guide *setupClient) {
	name, target := shellQuote(host.Host), c.targetFlag(a)
	warn := func(format string, args ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...)) }
	u, err := url.Parse(host.URL)
	switch {
	case host.URL == "" || err != nil:
		warn("The server does not know its own URL: put it in the place of YOUR-SERVER, and start the server with --url.")
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && guide.proof != bySeedProof && guide.proof != byJoin && guide.proof != byTSIG:
		warn("The server is reached over plain HTTP, where it takes no token unless it was started with --http-tokens. Better give it a certificate (--https, --tls-cert).")
	}
	if err == nil && isLoopback(u.Hostname()) {
		s.Notes = append(s.Notes, host.URL+" is for this machine alone. For a client elsewhere start the server with --url, and with --https or --http where the client reaches it.")
	}
	if guide.free && host.Source == api.SourceMatch {
		warn("It sends addresses of both families over one connection, and the host takes only the request's own: godwit host set %s --source free%s", name, target)
	}
	if slices.Equal(guide.types, []string{"TXT"}) && strings.HasPrefix(host.Host, "*.") {
		warn("The values for a wildcard's certificate stand below the name without the star: use %s, which is to be a host too.", host.Host[2:])
	}
	if host.Suspended {
		warn("The host is suspended, so every request is refused: godwit host set %s --suspended=off%s", name, target)
	}
	if guide.proof == bySeedProof && !host.Seed {
		warn("The seed's protocol is off for the host: godwit host set %s --seed%s, then godwit host rotate %[1]s%[2]s for a secret of that kind.", name, target)
	}
	if c.NewToken {
		return
	}
	switch again := "godwit host setup " + name + " --for " + guide.name + " --new-token" + target; guide.proof {
	case byPassword:
		s.Notes = append(s.Notes, yourToken+" is the host's token, which was shown once. For one of this client's own: "+again)
	case byURL:
		s.Notes = append(s.Notes, yourToken+" is a token that may stand in a URL, which the host's first one may not. Make it: "+again)
	case byJoin:
		s.Notes = append(s.Notes, yourCode+" is a join code, good once and for a day. Make it: "+again)
	case byTSIG:
		s.Notes = append(s.Notes, yourKey+" and "+yourSecret+" are a TSIG key's name and secret. Make one: "+again)
	case bySeedProof:
		s.Notes = append(s.Notes, yourToken+" is the host's first token or secret; if it is lost: godwit host rotate "+name+target)
	}
}

func (a *app) printSetupOf(s *setup) {
	a.print("%s, for %s:\n", s.Host, s.Title)
	for i, step := range s.Steps {
		a.print("  %d. %s", i+1, step)
	}
	if len(s.Values) > 0 {
		a.print("")
		var pairs []string
		for _, v := range s.Values {
			pairs = append(pairs, "  "+v.Name, v.Value)
		}
		fields(a.stdout, pairs...)
	}
	if s.File != nil {
		a.print("\n%s:\n\n%s", s.File.Path, indent(strings.TrimSuffix(s.File.Text, "\n")))
	}
	if len(s.Run) > 0 {
		a.print("\nRun:\n\n%s", indent(strings.Join(s.Run, "\n")))
	}
	if s.Token != "" {
		a.print("\nThe token is new, %s, and is shown this once.", s.Credential)
	}
	if s.TSIG != nil {
		a.print("\nThe TSIG key is new, %s, and is shown this once.", s.Credential)
	}
	if s.JoinCode != "" {
		a.print("\nThe join code is new, good once and for a day, and is shown this once.")
	}
	if len(s.Notes) > 0 {
		a.print("")
	}
	for _, note := range s.Notes {
		a.print("* %s", note)
	}
	for i, w := range s.Warnings {
		if i == 0 {
			a.print("")
		}
		a.print("✗ %s", w)
	}
}

// dnsServer is the server's name or address, where its DNS listener is too.
func dnsServer(address string) string {
	if u, err := url.Parse("//" + address); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	return address
}

// dnsPort is the port of the server's DNS listener.
func dnsPort(a *app, server *client.Client, s *setup) (string, error) {
	status, err := server.Status(a.ctx)
	if err != nil {
		return "", err
	}
	if len(status.Listeners.DNS) == 0 {
		s.Warnings = append(s.Warnings, "The server has no DNS listener, which takes UPDATE messages: start it with --dns.")
		return "53", nil
	}
	_, port, err := net.SplitHostPort(status.Listeners.DNS[0])
	return port, err
}

// isLoopback tells whether a URL's host is this machine.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

// isAbsent tells whether the server says that there is no such host.
func isAbsent(err error) bool {
	p, ok := errors.AsType[*api.Problem](err)
	return ok && p.Code == api.CodeNotFound
}
