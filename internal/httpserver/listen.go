package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Limits of connections. A zero field is its default, a negative number of
// connections is no limit.
type Limits struct {
	// Connections at once on all public listeners, and again on all admin
	// listeners. 0: 4096.
	Connections int
	// PerSource is how many of them one IPv4 address or IPv6 /64 may have; a
	// listed proxy and a Unix socket may have all. 0: 128.
	PerSource int
	// PerNetwork is how many one IPv4 /24 or IPv6 /48 may have, so that who has one
	// cannot keep everybody else out; a listed proxy, loopback and a Unix socket may
	// have all. 0: a quarter of Connections.
	PerNetwork int
	// ReadHeader bounds the TLS handshake and a request's header, Read the whole
	// request, Write the answer counted from the end of the header, Idle the time
	// between two requests. 0: 5 s, 10 s, 20 s, 30 s. Where requests pass net/http by
	// (docs/decisions/0013), Write and Idle may be an eighth longer.
	ReadHeader, Read, Write, Idle time.Duration
	// Shutdown is how long requests may go on once the server is to stop. 0: 5 s.
	Shutdown time.Duration
}

func (l *Limits) fill() {
	number := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	number(&l.Connections, 4096)
	number(&l.PerSource, 128)
	quarter := (l.Connections + 3) / 4
	if l.Connections < 0 {
		quarter = -1
	}
	number(&l.PerNetwork, quarter)
	length := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	length(&l.ReadHeader, 5*time.Second)
	length(&l.Read, 10*time.Second)
	length(&l.Write, 20*time.Second)
	length(&l.Idle, 30*time.Second)
	length(&l.Shutdown, 5*time.Second)
}

// maxHeader bounds a request's header, in octets; net/http adds 4 KiB of its own.
const maxHeader = 12 << 10

// Listener is a socket and what is served on it.
type Listener struct {
	net.Listener
	// TLS, if not nil, is spoken on it; see [TLSConfig].
	TLS *tls.Config
	// Admin serves the admin API instead of the public doors.
	Admin bool
}

// Serve serves the listeners until ctx ends or one of them fails, and then stops
// all of them: requests that have begun may end, within Limits.Shutdown. It
// closes the listeners. The error is nil if ctx ended. A Server is served once.
func (s *Server) Serve(ctx context.Context, listeners ...Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	public, admin := s.newGate(), s.newGate()
	for _, l := range listeners {
		handler, g := s.lasting(s.public), public
		if l.Admin {
			handler, g = s.admin, admin
		}
		srv := &http.Server{
			Handler:                      handler,
			TLSConfig:                    l.TLS,
			ReadHeaderTimeout:            s.Limits.ReadHeader,
			ReadTimeout:                  s.Limits.Read,
			WriteTimeout:                 s.Limits.Write,
			IdleTimeout:                  s.Limits.Idle,
			MaxHeaderBytes:               maxHeader,
			DisableGeneralOptionsHandler: true,
			HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 32},
			ErrorLog:                     slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		}
		listener := net.Listener(&gatedListener{Listener: l.Listener, gate: g})
		wait := func(context.Context) {}
		if l.TLS == nil && !l.Admin {
			front := s.newFront(listener)
			group.Go(func() error { front.run(); return nil })
			listener, wait = front, front.wait
		}
		group.Go(func() error {
			var err error
			if l.TLS != nil {
				err = srv.ServeTLS(listener, "", "")
			} else {
				err = srv.Serve(listener)
			}
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
		})
		group.Go(func() error {
			<-ctx.Done()
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Limits.Shutdown)
			defer cancel()
			if err := srv.Shutdown(end); err != nil {
				_ = srv.Close() // what is still going on has had its time
			}
			wait(end)
			return nil
		})
	}
	return group.Wait()
}

// lasting gives each request the time that an answer has, whether its client
// listens or not: a client may close its side when it has said all and read on,
// which net/http takes for leaving, and an update that has begun would be lost.
func (s *Server) lasting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.Limits.Write)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// gate counts connections and refuses those above the limits.
type gate struct {
	all, perSource, perNetwork int
	exempt                     func(netip.Addr) bool // from the latter two

	mu      sync.Mutex // guards following
	open    int
	sources map[netip.Prefix]int // and networks
}

func (s *Server) newGate() *gate {
	return &gate{all: s.Limits.Connections, perSource: s.Limits.PerSource, perNetwork: s.Limits.PerNetwork, exempt: s.trusts, sources: make(map[netip.Prefix]int)}
}

// enter lets a connection in or not. source is what leave must be given.
func (g *gate) enter(peer net.Addr) (source netip.Prefix, ok bool) {
	if tcp, isTCP := peer.(*net.TCPAddr); isTCP {
		a := tcp.AddrPort().Addr().WithZone("").Unmap()
		bits := 64
		if a.Is4() {
			bits = 32
		}
		if !g.exempt(a) {
			source, _ = a.Prefix(bits)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= 0 && g.open >= g.all {
		return source, false
	}
	if source.IsValid() {
		network := callerNetwork(source.Addr())
		if g.perSource >= 0 && g.sources[source] >= g.perSource ||
			g.perNetwork >= 0 && g.sources[network] >= g.perNetwork && !source.Addr().IsLoopback() {
			return source, false
		}
		g.sources[source]++
		g.sources[network]++
	}
	g.open++
	return source, true
}

func (g *gate) leave(source netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if source.IsValid() {
		for _, p := range [...]netip.Prefix{source, callerNetwork(source.Addr())} {
			if g.sources[p]--; g.sources[p] == 0 {
				delete(g.sources, p)
			}
		}
	}
}

// gatedListener closes connections above the limits at once: a queue of them
// would only make others wait.
type gatedListener struct {
	net.Listener
	gate *gate
}

func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if source, ok := l.gate.enter(c.RemoteAddr()); ok {
			return &gatedConn{Conn: c, leave: sync.OnceFunc(func() { l.gate.leave(source) })}, nil
		}
		_ = c.Close()
	}
}

type gatedConn struct {
	net.Conn
	leave func()
}

func (c *gatedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
