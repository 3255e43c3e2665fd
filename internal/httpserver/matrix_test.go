package httpserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

// recorder notes whatever is written of hosts.
type recorder struct {
	ddns.Store
	mu     sync.Mutex // guards following
	writes []ddns.Write
	marks  int
	noted  []string // hosts whose refusals were written down
}

func (r *recorder) Save(ctx context.Context, writes ...ddns.Write) error {
	err := r.Store.Save(ctx, writes...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.writes = append(r.writes, writes...)
	}
	return err
}

func (r *recorder) Touch(ctx context.Context, n dnsname.Name, generation uint64, t ddns.Touch) error {
	r.mu.Lock()
	r.marks++
	r.mu.Unlock()
	return r.Store.Touch(ctx, n, generation, t)
}

func (r *recorder) Refused(ctx context.Context, n dnsname.Name, e ddns.Event, count uint64) error {
	r.mu.Lock()
	r.noted = append(r.noted, n.String())
	r.mu.Unlock()
	return r.Store.Refused(ctx, n, e, count)
}

func (r *recorder) take() (writes []ddns.Write, marks int, noted []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	writes, marks, noted = r.writes, r.marks, r.noted
	r.writes, r.marks, r.noted = nil, 0, nil
	return writes, marks, noted
}

// right is what a credential may do at one host.
type right struct {
	types string // as in "A AAAA prefix"
	url   bool
}

// holder is somebody with a credential, and what it is good for.
type holder struct {
	what   string
	id     string
	text   string // token or secret; "" for a key
	user   string // of an acme-dns account, whose key is text
	device *device
	seed   bool // it answers the seed's proof
	rights map[string]right
}

// The names that each holder asks for, besides hosts that are his.
const (
	mine     = "mine.dyn.example.com"
	second   = "second.dyn.example.com"
	foreign  = "foreign.dyn.example.com"
	secretly = "secretly.dyn.example.com" // with a secret of the user's own
	follower = "tv.dyn.example.com"       // of mine
	wild     = "*.w.dyn.example.com"
	halted   = "halted.dyn.example.com" // suspended
)

var (
	matrixHosts = []string{mine, second, foreign, secretly, wild, zone, halted}
	matrixNames = append(slices.Clone(matrixHosts), follower, "x.w."+zone, "nobody."+zone, "_acme-challenge."+mine, "www.example.org", "com")
)

// matrix is the world of TestMatrix.
type matrix struct {
	*rig
	record  *recorder
	holders []*holder
	n       int
}

func newMatrix(t *testing.T) *matrix {
	m := &matrix{record: &recorder{}}
	m.rig = newRig(t, fullAdmin, quiet, func(core *ddns.Config, front *httpserver.Config) {
		memory := new(publishtest.Store)
		m.record.Store = memory
		core.Store, core.Sealer = m.record, memory
		front.HTTPTokens, front.DefaultZone = true, dnsname.MustParse(zone)
	})
	settings := anyAddress()
	settings.Free = on()
	const all = "A AAAA prefix TXT"
	add := func(h *holder) { m.holders = append(m.holders, h) }
	of := func(types string, url bool, hosts ...string) map[string]right {
		out := map[string]right{}
		for _, n := range hosts {
			out[n] = right{types, url}
		}
		return out
	}
	var made ddns.Created
	for _, n := range matrixHosts {
		own := ""
		if n == secretly {
			own = ownText
		}
		made = m.add(n, own, settings)
		h := &holder{what: "first of " + n, id: made.Credential.ID, text: own + made.Token.Reveal(), seed: true, rights: of(all, false, n)}
		if n == halted {
			h.rights = nil
		}
		add(h)
	}
	set := func(name string, s ddns.Settings) {
		if _, err := m.service.Set(t.Context(), dnsname.MustParse(name), s); err != nil {
			t.Fatal(err)
		}
	}
	set(halted, ddns.Settings{Suspended: on()})
	set(mine, ddns.Settings{Followers: &[]ddns.Follower{{Name: dnsname.MustParse(follower), Low: netip.MustParseAddr("::1234"), AAAA: true, A: true}}})
	set(foreign, ddns.Settings{SeedOff: on()})
	m.holders[2].seed = false

	token := func(what string, spec ddns.TokenSpec, rights map[string]right) *holder {
		made, err := m.service.AddToken(t.Context(), dnsname.MustParse(mine), spec)
		if err != nil {
			t.Fatal(err)
		}
		h := &holder{what: what, id: made.Credential.ID, text: made.Token.Reveal() + made.Code.Reveal(), rights: rights}
		add(h)
		return h
	}
	token("A alone", ddns.TokenSpec{Types: []ddns.Type{ddns.TypeA}}, of("A", false, mine))
	token("AAAA and prefix, in a URL", ddns.TokenSpec{Types: []ddns.Type{ddns.TypeAAAA, ddns.TypePrefix}, URLToken: true}, of("AAAA prefix", true, mine))
	token("TXT alone, in a URL", ddns.TokenSpec{Types: []ddns.Type{ddns.TypeTXT}, URLToken: true}, of("TXT", true, mine))
	token("in a URL", ddns.TokenSpec{URLToken: true}, of(all, true, mine))
	token("of two hosts", ddns.TokenSpec{Hosts: []dnsname.Name{dnsname.MustParse(second)}, URLToken: true}, of(all, true, mine, second))
	token("TXT of a network elsewhere", ddns.TokenSpec{Types: []ddns.Type{ddns.TypeTXT, ddns.TypeA}, URLToken: true,
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}, nil)
	token("expired", ddns.TokenSpec{Expires: m.now.Now().Add(time.Minute), URLToken: true}, nil)
	revoked := token("revoked", ddns.TokenSpec{URLToken: true, Hosts: []dnsname.Name{dnsname.MustParse(foreign)}}, nil)
	if _, err := m.service.RevokeToken(t.Context(), dnsname.MustParse(foreign), revoked.id); err != nil {
		t.Fatal(err)
	}
	stopped := token("stopped", ddns.TokenSpec{URLToken: true}, nil)
	m.stop(stopped.id)
	good := m.holders[0]
	add(&holder{what: "a guess", id: good.id, text: good.id + "-" + strings.Repeat("a", 26)})
	add(&holder{what: "a guess without an ID", id: "aaaaaaaa", text: "password"})
	add(&holder{what: "nothing", id: "aaaaaaaa"})
	add(&holder{what: "the admin token", id: "aaaaaaaa", text: adminToken})

	account := func(what string, networks ...netip.Prefix) *holder {
		made, err := m.service.Register(t.Context(), ddns.Update{Host: dnsname.MustParse(mine), Source: ddns.SourceOf(netip.MustParseAddr(here)),
			Proof: ddns.TokenProof{Token: ddns.NewSecret(good.text)}}, networks)
		if err != nil {
			t.Fatal(err)
		}
		h := &holder{what: what, id: made.Credential.ID, user: made.User, text: made.Key.Reveal()}
		add(h)
		return h
	}
	account("account").rights = of("TXT", false, mine)
	account("account of a network elsewhere", netip.MustParsePrefix("203.0.113.0/24"))
	if _, err := m.service.RevokeToken(t.Context(), dnsname.MustParse(mine), account("account, revoked").id); err != nil {
		t.Fatal(err)
	}
	m.stop(account("account, stopped").id)
	key := func(what, name string, spec ddns.TokenSpec, rights map[string]right) {
		spec.Join = true
		made, err := m.service.AddToken(t.Context(), dnsname.MustParse(name), spec)
		if err != nil {
			t.Fatal(err)
		}
		d := &device{rig: m.rig, host: name, id: made.Credential.ID, key: newKey(what)}
		if w := m.send("POST", "/v1/join", here, joinBody(made.Code.Reveal(), textOf(d.key))); w.Code != 201 {
			t.Fatalf("join: %d %s", w.Code, w.Body)
		}
		add(&holder{what: what, id: d.id, text: textOf(d.key), device: d, rights: rights})
	}
	key("key of mine", mine, ddns.TokenSpec{}, of(all, true, mine))
	key("key of mine for AAAA", mine, ddns.TokenSpec{Types: []ddns.Type{ddns.TypeAAAA}}, of("AAAA", true, mine))
	key("key of foreign", foreign, ddns.TokenSpec{}, of(all, true, foreign))
	for _, h := range m.holders {
		if h.device == nil { // who has no key signs with one of his own, as what he has
			h.device = &device{rig: m.rig, host: mine, id: h.id, key: newKey("forger")}
		}
	}
	m.now.Move(time.Hour)
	for _, n := range matrixHosts {
		m.fill(n)
	}
	m.record.take()
	return m
}

// edit saves a state that no command makes.
func (m *matrix) edit(name string, do func(h *ddns.Host, credentials []*ddns.Credential, w *ddns.Write)) {
	m.t.Helper()
	before, credentials, err := m.record.Host(m.t.Context(), dnsname.MustParse(name))
	if err != nil {
		m.t.Fatal(err)
	}
	w := ddns.Write{Before: before, Host: before.Clone()}
	w.Host.Generation++
	w.Host.Published = w.Host.Generation
	w.Event = ddns.Event{Time: m.now.Now(), Generation: w.Host.Generation, Outcome: "changed", Door: "test"}
	do(w.Host, credentials, &w)
	if err := m.record.Store.Save(m.t.Context(), w); err != nil {
		m.t.Fatal(err)
	}
}

func (m *matrix) stop(id string) {
	m.edit(mine, func(_ *ddns.Host, credentials []*ddns.Credential, w *ddns.Write) {
		c := *credentials[slices.IndexFunc(credentials, func(c *ddns.Credential) bool { return c.ID == id })]
		c.State = ddns.CredentialStop
		w.Credentials = []*ddns.Credential{&c}
	})
}

// fill gives a host something of each type, so that there is something to lose.
func (m *matrix) fill(name string) {
	m.edit(name, func(h *ddns.Host, _ []*ddns.Credential, _ *ddns.Write) {
		h.A, h.AAAA = []netip.Addr{netip.MustParseAddr("192.0.2.200")}, []netip.Addr{netip.MustParseAddr("2001:db8::200")}
		h.Prefix = netip.MustParsePrefix("2001:db8:200:ff00::/56")
		if !h.Name.IsWildcard() {
			h.TXT = []ddns.TXT{{Value: "200", Time: m.now.Now()}}
		}
	})
}

// asks are all that can be asked for, each with a value that no host has.
func (m *matrix) asks() []asked {
	m.n++
	return []asked{
		{"set", "A", fmt.Sprintf("198.51.%d.%d", 100+m.n/250, 1+m.n%250)}, {"set", "AAAA", fmt.Sprintf("2001:db8:1::%x", m.n)},
		{"set", "prefix", fmt.Sprintf("2001:db8:%x:ff00::/56", m.n)}, {"set", "A prefix", fmt.Sprintf("2001:db8:%x:fe00::/56", m.n)}, {"set", "TXT", fmt.Sprint("v", m.n)},
		{"remove", "A", ""}, {"remove", "AAAA", ""}, {"remove", "prefix", ""}, {"remove", "TXT", "200"}, {"remove", "A AAAA", ""},
	}
}

// state is all that there is, as an operator sees it.
func (m *matrix) state() string {
	hosts, _, err := m.record.Hosts(m.t.Context(), "", 1000)
	if err != nil {
		m.t.Fatal(err)
	}
	var out strings.Builder
	for _, h := range hosts {
		_, credentials, err := m.record.Host(m.t.Context(), h.Name)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, c := range credentials {
			c := *c
			c.Mark = 0
			fmt.Fprintln(&out, h.Name, c)
		}
		h = h.Clone()
		h.Refusals, h.Seen, h.Row = 0, time.Time{}, nil
		fmt.Fprintf(&out, "%+v\n", *h)
	}
	return out.String()
}

// differs says which types of record two states of a host differ in.
func differs(a, b *ddns.Host) string {
	var out []string
	note := func(same bool, what string) {
		if !same {
			out = append(out, what)
		}
	}
	note(slices.Equal(a.A, b.A), "A")
	note(slices.Equal(a.AAAA, b.AAAA), "AAAA")
	note(a.Prefix == b.Prefix, "prefix")
	note(slices.Equal(a.TXT, b.TXT), "TXT")
	rest := func(h *ddns.Host) string {
		h = h.Clone()
		h.A, h.AAAA, h.Prefix, h.TXT, h.Generation, h.Published, h.ChangedAt, h.ChangedBy = nil, nil, netip.Prefix{}, nil, 0, 0, time.Time{}, ""
		h.Seen, h.Busy, h.Refusals, h.Row = time.Time{}, time.Time{}, 0, nil
		return fmt.Sprintf("%+v", *h)
	}
	note(rest(a) == rest(b), "more")
	return strings.Join(out, " ")
}

// may is the rule: what this holder may do this way to this name, told apart from
// the program's.
func (h *holder) may(w way, name string, a asked) bool {
	r, ok := h.rights[name]
	isKey := h.device.id == h.id && h.text == textOf(h.device.key)
	switch {
	case !ok, isKey != (w.proof == "key"), (h.user != "") != (w.proof == "account"), w.proof == "seed" && !h.seed, w.proof == "url" && !r.url:
		return false
	case a.types == "TXT" && dnsname.MustParse(name).IsWildcard():
		return false
	}
	for _, t := range strings.Fields(a.types) {
		if !slices.Contains(strings.Fields(r.types), t) {
			return false
		}
	}
	return true
}

// TestMatrix: every holder of a credential asks for everything, at every name, at
// every door. Nothing is written but what the holder may change, and of that only
// what was asked for.
func TestMatrix(t *testing.T) {
	m := newMatrix(t)
	code, err := m.service.AddToken(t.Context(), dnsname.MustParse(mine), ddns.TokenSpec{Join: true})
	if err != nil {
		t.Fatal(err)
	}
	m.holders = append(m.holders, &holder{what: "a join code", id: code.Credential.ID, text: code.Code.Reveal(),
		device: &device{rig: m.rig, host: mine, id: code.Credential.ID, key: newKey("forger")}})
	m.record.take()
	allowed, refused := 0, 0
	for _, h := range m.holders {
		for _, w := range matrixWays() {
			before := m.state()
			changed := false
			for _, name := range matrixNames {
				for _, a := range m.asks() {
					if w.proof == "key" {
						m.now.Move(12 * time.Second) // a signature is of a later time than what others did
					}
					req := w.make(h, name, a)
					if req == nil {
						continue
					}
					answer := httptest.NewRecorder()
					m.server.Public().ServeHTTP(answer, req)
					what := fmt.Sprintf("%s, %s: %s %s of %s", h.what, w.what, a.verb, a.types, name)
					if answer.Code >= 500 {
						t.Errorf("%s: %d %s", what, answer.Code, answer.Body)
					}
					writes, marks, noted := m.record.take()
					if marks > 0 {
						t.Errorf("%s: a mark moved by itself", what)
					}
					for _, n := range noted {
						if _, ok := h.rights[n]; !ok && n != halted && !strings.HasSuffix(h.what, "stopped") {
							t.Errorf("%s: a refusal was written down at %s", what, n)
						}
					}
					if !h.may(w, name, a) {
						if refused++; len(writes) > 0 {
							t.Fatalf("%s: %s was written; %d %s", what, writes[0].Host.Name, answer.Code, answer.Body)
						}
						continue
					}
					allowed++
					if len(writes) != 1 || writes[0].Host.Name.String() != name || differs(writes[0].Before, writes[0].Host) != a.types || len(writes[0].Credentials)+len(writes[0].Revoked) > 0 {
						t.Fatalf("%s: %d writes; %d %s", what, len(writes), answer.Code, answer.Body)
					}
					if writes[0].Host.ChangedBy != h.id {
						t.Errorf("%s: changed by %s", what, writes[0].Host.ChangedBy)
					}
					changed = true
					m.fill(name)
				}
			}
			if after := m.state(); !changed && after != before {
				t.Fatalf("%s, %s: something changed\nbefore:\n%s\nafter:\n%s", h.what, w.what, before, after)
			}
		}
	}
	t.Logf("%d allowed, %d refused", allowed, refused)
	if allowed < 200 {
		t.Errorf("only %d were allowed", allowed)
	}
}

// TestMatrixWithoutName: where no host is named it is the credential's only one,
// and where several are each is judged by itself.
func TestMatrixWithoutName(t *testing.T) {
	m := newMatrix(t)
	dyndns2 := func(h *holder, hosts, value string) *http.Request {
		return request("GET", "/nic/update?hostname="+url.QueryEscape(hosts)+"&myip="+value, here, "", "Authorization", basic(h.id, h.text))
	}
	for _, h := range m.holders {
		for what, c := range map[string]struct {
			proof string
			make  func(value string) *http.Request
		}{
			"dyndns2": {"text", func(value string) *http.Request { return dyndns2(h, "", value) }},
			"token URL": {"url", func(value string) *http.Request {
				return request("GET", "/u/"+url.PathEscape(h.text)+"?ip="+value, here, "")
			}},
			"token URL, Basic": {"text", func(value string) *http.Request {
				return request("GET", "/u?ip="+value, here, "", "Authorization", basic(h.id, h.text))
			}},
			"dynv6": {"url", func(value string) *http.Request {
				return request("GET", "/api/update?ipv4="+value+"&token="+url.QueryEscape(h.text), here, "")
			}},
		} {
			a := m.asks()[0]
			m.server.Public().ServeHTTP(httptest.NewRecorder(), c.make(a.value))
			writes, _, _ := m.record.take()
			want := ""
			if len(h.rights) == 1 && h.what != "first of "+secretly { // a secret without an ID works where the host is named
				for n := range h.rights {
					if h.may(way{proof: c.proof}, n, a) {
						want = n
					}
				}
			}
			if got := written(writes); got != want {
				t.Errorf("%s, %s without a name: wrote %q, want %q", h.what, what, got, want)
			}
		}
		a := m.asks()[0]
		m.server.Public().ServeHTTP(httptest.NewRecorder(), dyndns2(h, strings.Join(matrixNames, ","), a.value))
		writes, _, _ := m.record.take()
		var want []string
		for _, n := range matrixNames {
			if h.may(way{proof: "text"}, n, a) {
				want = append(want, n)
			}
		}
		if got := written(writes); got != strings.Join(want, " ") {
			t.Errorf("%s, all names at once: wrote %q, want %q", h.what, got, want)
		}
	}
}

func written(writes []ddns.Write) string {
	var out []string
	for _, w := range writes {
		out = append(out, w.Host.Name.String())
	}
	return strings.Join(out, " ")
}

// TestMatrixOfVerbs: what is no update. Reading is for whoever may update, keys
// are introduced by keys and made from codes, and an operator's verbs are nobody's
// here.
func TestMatrixOfVerbs(t *testing.T) {
	m := newMatrix(t)
	before := m.state()
	ctx := withLocal(t.Context(), "127.0.0.1:8054")
	tcp := context.WithValue(ctx, http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8054}))
	for _, h := range m.holders {
		isKey := h.text == textOf(h.device.key)
		for _, name := range matrixNames {
			_, covered := h.rights[name]
			m.now.Move(12 * time.Second)
			read := m.answer(h.device.signed("GET", "/v1/hosts/"+name, here, "", 0))
			if (read.Code == 200) != (covered && isKey) {
				t.Errorf("%s reads %s with a signature: %d", h.what, name, read.Code)
			}
			read = m.answer(request("GET", "/v1/hosts/"+name, here, "", "Authorization", "Bearer "+h.text))
			if (read.Code == 200) != (covered && !isKey && h.user == "") {
				t.Errorf("%s reads %s: %d", h.what, name, read.Code)
			}
			if !isKey || !covered { // who may comes last
				m.answer(h.device.signed("POST", "/v1/hosts/"+name+"/key", here, `{"public_key":"`+textOf(newKey("thief"))+`"}`, 0))
			}
			m.answer(request("POST", "/v1/hosts/"+name+"/key", here, `{"public_key":"`+textOf(newKey("thief"))+`"}`, "Authorization", "Bearer "+h.text))
			m.answer(request("POST", "/v1/join", here, joinBody(h.text, textOf(newKey("thief")))))
			for _, verb := range adminVerbs(name, h.id) {
				method, path, _ := strings.Cut(verb.to, " ")
				fields := []string{"Content-Type", "application/json", "Authorization", "Bearer " + h.text}
				req := request(method, path, here, verb.body, fields...).WithContext(tcp)
				req.Host = "127.0.0.1:8054"
				w := httptest.NewRecorder()
				if m.server.Public().ServeHTTP(w, req); w.Code != 404 {
					t.Errorf("%s at a public listener, %s: %d %s", h.what, verb.to, w.Code, w.Body)
				}
				if h.text == adminToken {
					continue
				}
				w = httptest.NewRecorder()
				if m.server.Admin().ServeHTTP(w, req); w.Code != 401 {
					t.Errorf("%s at the admin listener, %s: %d %s", h.what, verb.to, w.Code, w.Body)
				}
			}
			if writes, marks, _ := m.record.take(); len(writes) > 0 || marks > 0 {
				t.Fatalf("%s at %s: wrote %s", h.what, name, written(writes))
			}
		}
	}
	if after := m.state(); after != before {
		t.Errorf("something changed\nbefore:\n%s\nafter:\n%s", before, after)
	}
	// A key introduces one for its own host, with its own limits; a code likewise.
	for _, h := range m.holders {
		if h.text != textOf(h.device.key) {
			continue
		}
		m.now.Move(12 * time.Second)
		next := newKey("next " + h.what)
		w := m.answer(h.device.signed("POST", "/v1/hosts/"+h.device.host+"/key", here, `{"public_key":"`+textOf(next)+`"}`, 0))
		m.onlyKey(h.what, w, h.device.host, h.rights[h.device.host].types)
	}
	made, err := m.service.AddToken(t.Context(), dnsname.MustParse(foreign), ddns.TokenSpec{Join: true, Types: []ddns.Type{ddns.TypeA}})
	if err != nil {
		t.Fatal(err)
	}
	m.record.take()
	m.onlyKey("a join code", m.answer(request("POST", "/v1/join", here, joinBody(made.Code.Reveal(), textOf(newKey("joined"))))), foreign, "A")
}

// TestMatrixOfAccounts: who may set challenge values of a host registers accounts
// of it, which may do that and nothing else; nobody else does.
func TestMatrixOfAccounts(t *testing.T) {
	m := newMatrix(t)
	registered := 0
	for _, h := range m.holders {
		isKey := h.text == textOf(h.device.key)
		for _, name := range matrixNames {
			if !strings.Contains(name, ".") { // it would be no host's name, but an ID
				continue
			}
			before := m.state()
			w := m.answer(request("POST", "/acme-dns/register", here, "", "Authorization", basic(name, h.text)))
			writes, marks, _ := m.record.take()
			r := h.rights[name]
			if isKey || h.user != "" || !strings.Contains(r.types, "TXT") || name == wild {
				if after := m.state(); w.Code < 400 || w.Code >= 500 || len(writes)+marks > 0 || after != before {
					t.Errorf("%s registers at %s: %d %s", h.what, name, w.Code, w.Body)
				}
				continue
			}
			registered++
			var made struct{ Username, Password, FullDomain, Subdomain string }
			if w.Code != 201 || json.Unmarshal(w.Body.Bytes(), &made) != nil || made.FullDomain != "_acme-challenge."+name || made.Username != made.Subdomain || len(made.Password) != 40 {
				t.Fatalf("%s registers at %s: %d %s", h.what, name, w.Code, w.Body)
			}
			if len(writes) != 1 || writes[0].Host.Name.String() != name || len(writes[0].Credentials) != 1 || len(writes[0].Revoked) > 0 {
				t.Fatalf("%s registers at %s: wrote %+v", h.what, name, writes)
			}
			c := writes[0].Credentials[0]
			if c.Kind != ddns.KindACME || len(c.Grants) != 1 || c.Grants[0].Host.String() != name || !slices.Equal(c.Grants[0].Types, []ddns.Type{ddns.TypeTXT}) || c.Grants[0].URLToken {
				t.Errorf("%s registers at %s: it may %+v", h.what, name, c.Grants)
			}
			if d := differs(writes[0].Before, writes[0].Host); d != "more" {
				t.Errorf("%s registers at %s: %s changed", h.what, name, d)
			}
			if _, err := m.service.RevokeToken(t.Context(), dnsname.MustParse(name), c.ID); err != nil { // there is not room for all of them
				t.Fatal(err)
			}
			m.record.take()
		}
	}
	if registered != 9 {
		t.Errorf("%d registered, want 9", registered)
	}
}

// onlyKey checks that a request gave one host one key, and nothing else to anybody.
func (m *matrix) onlyKey(what string, w *httptest.ResponseRecorder, name, types string) {
	m.t.Helper()
	var got api.Joined
	writes, _, _ := m.record.take()
	if w.Code != 201 || json.Unmarshal(w.Body.Bytes(), &got) != nil || written(writes) != name {
		m.t.Fatalf("%s: %d %s, wrote %s", what, w.Code, w.Body, written(writes))
	}
	if d := differs(writes[0].Before, writes[0].Host); d != "" && d != "more" {
		m.t.Errorf("%s: %s changed", what, d)
	}
	i := slices.IndexFunc(writes[0].Credentials, func(c *ddns.Credential) bool { return c.ID == got.Credential })
	if i < 0 || writes[0].Credentials[i].Kind != ddns.KindEd25519 || len(writes[0].Credentials[i].Grants) != 1 {
		m.t.Fatalf("%s: credentials %+v", what, writes[0].Credentials)
	}
	g := writes[0].Credentials[i].Grants[0]
	var have []string
	for _, t := range g.Types {
		have = append(have, t.String())
	}
	if text := strings.Join(have, " "); g.Host.String() != name || g.URLToken || text != types && (text != "" || types != "A AAAA prefix TXT") {
		m.t.Errorf("%s: it may %+v", what, g)
	}
}

// adminVerbs are all that an operator may ask of a host and its tokens.
func adminVerbs(name, id string) []struct{ to, body string } {
	const hosts = "/v1/admin/hosts"
	at := hosts + "/" + url.PathEscape(name)
	return []struct{ to, body string }{
		{"GET " + hosts, ""}, {"POST " + hosts, `{"host":"new.dyn.example.com"}`}, {"GET " + at, ""}, {"PATCH " + at, `{"ttl":61}`}, {"DELETE " + at, ""},
		{"GET " + at + "/history", ""}, {"POST " + at + "/rotate", `{}`}, {"GET " + at + "/tokens", ""}, {"POST " + at + "/tokens", `{}`},
		{"PATCH " + at + "/tokens/" + id, `{"add_hosts":["` + second + `"]}`}, {"POST " + at + "/tokens/" + id + "/rotate", `{}`},
		{"DELETE " + at + "/tokens/" + id, ""}, {"GET /v1/admin/export?secrets=true", ""}, {"GET /v1/admin/backup", ""}, {"POST /v1/admin/check", ""},
		{"POST /v1/admin/import", `{"godwit_export":1,"hosts":[]}`}, {"GET /v1/admin/status", ""}, {"GET /v1/admin/zones", ""}, {"POST /v1/admin/zones/dyn.example.com/keys", `{"do":"roll"}`},
	}
}
