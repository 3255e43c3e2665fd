package agent_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"godwit/internal/agent"
	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
)

// everyZone takes every name for one of its own.
type everyZone struct{}

func (everyZone) Zone(dnsname.Name) (dnsname.Name, bool) {
	return dnsname.MustParse("dyn.example.com"), true
}
func (everyZone) Clash(dnsname.Name) error { return nil }

// pipes is a listener whose connections never leave the process, so that they
// live by the bubble's clock.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.80:80"))
}

// dial connects from an address.
func (p *pipes) dial(ctx context.Context, from netip.Addr) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.accept <- end{there, from}:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// end is the server's end of a connection.
type end struct {
	net.Conn
	from netip.Addr
}

func (e end) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(e.from, 40000))
}
func (e end) LocalAddr() net.Addr { return newPipes().Addr() }

// counted counts what goes through in each second.
type counted struct {
	*crowd
	http.RoundTripper
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.second[int(time.Since(c.began)/time.Second)]++
	c.mu.Unlock()
	return c.RoundTripper.RoundTrip(r)
}

func (c counted) CloseIdleConnections() { c.RoundTripper.(*http.Transport).CloseIdleConnections() }

// TestCrowdAtDaemon: a crowd of devices with keys that start at once, against the
// daemon's own HTTP server and core with their default limits, each from an
// address of its own, and all behind one (CGNAT), which the limit for a source
// lets in little by little.
func TestCrowdAtDaemon(t *testing.T) {
	const window = 10 // seconds
	shared := netip.MustParseAddr("176.32.100.36")
	for _, tt := range []struct {
		name   string
		agents int
		from   func(i int) netip.Addr
		done   time.Duration // when all must be right
	}{
		{"an address each", 1000, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{176, 32, byte(i >> 8), byte(i)}) }, window * time.Second},
		{"one address for all", 400, func(int) netip.Addr { return shared }, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				store := new(publishtest.Store)
				service, err := ddns.NewService(ddns.Config{Store: store, Sealer: store, Zones: everyZone{}, Limits: ddns.DefaultLimits()})
				if err != nil {
					t.Fatal(err)
				}
				daemon, err := httpserver.New(httpserver.Config{Service: service})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				listener := newPipes()
				var all sync.WaitGroup
				defer all.Wait()
				defer cancel()
				all.Go(func() {
					if err := daemon.Serve(ctx, httpserver.Listener{Listener: listener}); err != nil {
						t.Error(err)
					}
				})
				c := &crowd{second: map[int]int{}}
				random := mathrand.New(mathrand.NewPCG(7, 8))
				var mu sync.Mutex
				var devices []*agent.Agent
				for i := range tt.agents {
					name := dnsname.MustParse(fmt.Sprintf("h%d.dyn.example.com", i))
					from := tt.from(i)
					wire := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return listener.dial(ctx, from) }}
					device, err := agent.New(agent.Config{
						Targets:   []agent.Target{{Server: "http://ddns.example.com", Host: name, KeyFile: joined(t, service, name, dir, i), IPv6: agent.Choice{Off: true}}},
						Transport: func(agent.Family) http.RoundTripper { return counted{c, wire} },
						Local:     func(agent.Family) []netip.Addr { return []netip.Addr{home[agent.IPv4]} },
						Random:    func() float64 { mu.Lock(); defer mu.Unlock(); return random.Float64() },
					})
					if err != nil {
						t.Fatal(err)
					}
					devices = append(devices, device)
				}
				pass(time.Hour) // since they joined
				c.began = time.Now()
				for _, device := range devices {
					all.Go(func() { device.Run(ctx) })
				}
				pass(tt.done)
				wrong := 0
				for i := range tt.agents {
					host, _, err := service.Show(ctx, dnsname.MustParse(fmt.Sprintf("h%d.dyn.example.com", i)))
					if err != nil {
						t.Fatal(err)
					}
					if len(host.A) != 1 || host.A[0] != tt.from(i) {
						wrong++
					}
				}
				if wrong > 0 {
					t.Errorf("%d of %d hosts are wrong after %s", wrong, tt.agents, tt.done)
				}
				pass(2 * time.Minute)
				if peak := c.peak(0, time.Hour); peak > 2*tt.agents/window {
					t.Errorf("%d requests in one second, want at most %d", peak, 2*tt.agents/window)
				}
			})
		})
	}
}

// joined adds a host and gives a device its key, and returns the key's file.
func joined(t *testing.T, service *ddns.Service, name dnsname.Name, dir string, i int) string {
	t.Helper()
	made, err := service.AddJoin(t.Context(), name, ddns.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	code, _ := ddns.ParseCode(made.Code.Reveal())
	// From elsewhere: the devices find their sources' limits unspent.
	from := ddns.Source{Addr: netip.AddrFrom4([4]byte{176, 33, byte(i >> 8), byte(i)}), Proven: true}
	in, err := service.Join(t.Context(), "join", from, code, public)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]any{"server": "http://ddns.example.com", "host": name.String(), "credential": in.Credential.ID, "seed": private.Seed()})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name.String()+".key")
	if err := os.WriteFile(path, file, 0o600); err != nil { // not Key.Write, which waits for the disk
		t.Fatal(err)
	}
	return path
}
