package route53_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
	"godwit/internal/publish/route53"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var apex = dnsname.MustParse("dyn.example.org")

type keys struct{}

func (keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: awstest.SecretAccessKey}, nil
}

func client(t testing.TB, endpoint string, transport http.RoundTripper) *awscall.Client {
	t.Helper()
	c, err := awscall.New(awscall.Config{Service: "route53", Region: "us-east-1", Endpoint: endpoint, Credentials: keys{}, Transport: transport, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a stand-in with the zone of apex and a publisher into it.
type world struct {
	*awstest.Route53
	*route53.Publisher
	zone string
}

func open(t testing.TB, c awstest.Route53Config, edit ...func(*route53.Config)) *world {
	t.Helper()
	w := &world{Route53: awstest.NewRoute53(c)}
	w.zone = w.AddZone(apex.String())
	w.Publisher = w.another(t, edit...)
	return w
}

// another is a further publisher into the same zone, of another process.
func (w *world) another(t testing.TB, edit ...func(*route53.Config)) *route53.Publisher {
	t.Helper()
	c := route53.Config{Client: client(t, "http://route53.example.com", w.Route53), Zones: map[dnsname.Name]string{apex: "/hostedzone/" + w.zone}}
	for _, e := range edit {
		e(&c)
	}
	p, err := route53.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func child(t testing.TB, label string) dnsname.Name {
	t.Helper()
	n, err := dnsname.Parse(label + "." + apex.String())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// host is a host with one address of each family at generation 1.
func host(t testing.TB, label string, n int) *ddns.Host {
	t.Helper()
	return &ddns.Host{Name: child(t, label), Zone: apex, TTL: 60, Generation: 1, A: []netip.Addr{v4(n)}, AAAA: []netip.Addr{v6(n)}}
}

func v4(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}) }
func v6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(n >> 8), 15: byte(n)})
}

// next is a host's next state.
func next(h *ddns.Host, edit func(*ddns.Host)) *ddns.Host {
	n := h.Clone()
	n.Generation++
	edit(n)
	return n
}

// must publishes hosts, and notes it on them as the core does.
func must(t testing.TB, p ddns.Publisher, hosts ...*ddns.Host) {
	t.Helper()
	for i, r := range p.Publish(t.Context(), hosts) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		hosts[i].Published, hosts[i].Shown = r.Generation, r.Shown
	}
}

// shows is what the stand-in has at a name for a type, as "60 198.18.0.1"; ""
// for nothing.
func (w *world) shows(name, rrType string) string {
	s, ok := w.Set(w.zone, name, rrType)
	if !ok {
		return ""
	}
	return fmt.Sprint(s.TTL, " ", strings.Join(slices.Sorted(slices.Values(s.Values)), " "))
}

// rrset reads what Route 53 has, with a reader of TXT values of its own.
func rrset(s awstest.RecordSet, owner dnsname.Name, t ddns.Type) (ddns.RRset, bool) {
	out := ddns.RRset{Owner: owner, Type: t, TTL: uint32(s.TTL)}
	for _, v := range s.Values {
		if t != ddns.TypeTXT {
			out.Addrs = append(out.Addrs, netip.MustParseAddr(v))
			continue
		}
		text := ""
		for _, part := range strings.Split(strings.Trim(v, `"`), `" "`) {
			// Go's octal escapes are the same.
			u, err := strconv.Unquote(`"` + part + `"`)
			if err != nil {
				panic(err)
			}
			text += u
		}
		out.Texts = append(out.Texts, text)
	}
	return out, true
}

// Shows is a publishtest.Setup's.
func (w *world) Shows(owner dnsname.Name, t ddns.Type) (ddns.RRset, bool) {
	s, ok := w.Set(w.zone, strings.ReplaceAll(owner.String(), "*", `\052`), t.String())
	if !ok {
		return ddns.RRset{}, false
	}
	return rrset(s, owner, t)
}

// faulty makes a host's next publish go wrong, and heals afterwards.
type faulty struct {
	ddns.Inspector
	// begin makes it go wrong, end heals it.
	begin func(f publishtest.Fault, owners []dnsname.Name) (end func())

	mu     sync.Mutex // guards faults
	faults map[dnsname.Name]publishtest.Fault
}

func (p *faulty) Fail(f publishtest.Fault, hosts ...dnsname.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults == nil {
		p.faults = map[dnsname.Name]publishtest.Fault{}
	}
	for _, n := range hosts {
		p.faults[n] = f
	}
}

func (p *faulty) Publish(ctx context.Context, hosts []*ddns.Host) []ddns.Published {
	for _, h := range hosts {
		p.mu.Lock()
		f, ok := p.faults[h.Name]
		delete(p.faults, h.Name)
		p.mu.Unlock()
		if !ok {
			continue
		}
		owners := h.Names()
		if challenge, err := h.Name.Child("_acme-challenge"); err == nil {
			owners = append(owners, challenge)
		}
		defer p.begin(f, owners)()
	}
	return p.Inspector.Publish(ctx, hosts)
}

// wrong lets the stand-in refuse these owners' sets, or lose the answers to
// batches with them; blind loses those to listings of them as well.
func (w *world) wrong(blind bool) func(publishtest.Fault, []dnsname.Name) func() {
	return func(f publishtest.Fault, owners []dnsname.Name) func() {
		var heal []func()
		for _, o := range owners {
			name := strings.ReplaceAll(o.String(), "*", `\052`)
			if f == publishtest.Refuse {
				heal = append(heal, w.Poison(name))
				continue
			}
			heal = append(heal, w.Inject(awstest.Rule{Action: awstest.ChangeSets, Name: name, Times: -1, Fault: awstest.Cut().AfterCommit()}))
			if blind {
				heal = append(heal, w.Inject(awstest.Rule{Action: awstest.ListSets, Name: name, Times: -1, Fault: awstest.Cut()}))
			}
		}
		return func() {
			for _, h := range heal {
				h()
			}
		}
	}
}

// setup is the suite's.
func (w *world) setup(blind bool) publishtest.Setup {
	p := &faulty{Inspector: w.Publisher, begin: w.wrong(blind)}
	return publishtest.Setup{Publisher: p, Zone: apex, Shows: w.Shows, Fail: p.Fail}
}
