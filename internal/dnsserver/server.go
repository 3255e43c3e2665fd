// Package dnsserver answers DNS questions by UDP and TCP from zones that it is
// given (RFC 1034, 1035, 2136, 6891, 7766, 7828, 7873, 8906, 8914 and
// 9018).
//
// A query is read in place, the zone writes its answer behind the question, and
// the OPT record follows: octets to octets, without message objects and without
// an allocation. That includes EDNS and cookies, because what asks an
// authoritative server is resolvers, and they send both.
//
// On Linux there is one UDP socket per processor and address (SO_REUSEPORT),
// each with a goroutine that takes up to 64 queries with one system call and
// sends their answers with another. What the answers of a batch need from memory
// is fetched for all of them at once. When nothing comes a thread waits in the
// kernel. Elsewhere net.UDPConn does the work.
//
// With Config.ResponsesPerSecond one response goes by UDP to one network only so
// often, so that queries with forged source addresses harm nobody. Every second
// response beyond that is a slip: TC, or BADCOOKIE and a cookie for who knows
// cookies; the others are not sent. By TCP and to a valid server cookie there is
// no such limit, since those addresses are not forged. To anybody else a response
// is two and a half times as long as its query at most; TC, or BADCOOKIE and a
// cookie, goes in place of a longer one.
//
// Secondaries that have a TSIG key get zones by AXFR and IXFR (RFC 1995, 5936 and
// 8945). A transfer is a cut of the zone, which goes on changing; it waits for its
// turn, and each of its messages has a time limit, so that slow secondaries neither
// hold up updates nor hold on to memory for ever.
//
// UPDATE messages (RFC 2136), and queries that are signed with the keys of those
// who send them, are set aside for goroutines of their own, because their keys and
// hosts are in a store that may have to be waited for: no other question waits
// with them. Their number is bounded. Beyond it, and when as many more wait, a
// message is dropped by UDP, where clients send again, and is SERVFAIL by TCP. An
// UPDATE becomes one update of the core, of one host, all or nothing.
//
// What is not supported gets the answer that RFC 8906 wants rather than
// silence: NOTIMP for other opcodes, REFUSED for other classes, zones and for
// transfers (with an extended error, RFC 8914), BADVERS, FORMERR. Silence is for
// what has no header and for responses.
package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/internal/tsig"
	"godwit/internal/zone"
)

// Zones finds the zone that answers a question, nil if there is none. qname is
// in lower-case wire form and must not be kept. Many goroutines call Find for
// each question, so it must neither wait nor allocate. *[zone.Zones] is one.
type Zones interface {
	Find(qname []byte, qtype uint16) *zone.Zone
}

// Config says where and how to serve. The zero value of each field but Zones
// and Addresses is a good choice.
type Config struct {
	// Zones has the answers. It is required.
	Zones Zones

	// Addresses are served by UDP and TCP each. Port 0 takes a free port, the
	// same one for both. At least one is required. An unspecified address
	// (0.0.0.0 for IPv4, [::] for IPv6 only) serves all addresses of the
	// machine and answers from the one that was asked; where that needs more
	// than the portable socket calls (anything but Linux) it is refused.
	Addresses []netip.AddrPort

	// UDPSize is the largest response by UDP in octets, and what we tell
	// clients that we take: 512 to 1400. 0: 1232, which passes everywhere
	// without fragments (RFC 9715). To clients without a valid cookie it is less.
	UDPSize int

	// UDPSockets is the number of UDP sockets per address, on Linux. 0: one per
	// processor that the program may use.
	UDPSockets int

	// IdleTimeout is how long a TCP connection may be without a query, from its
	// start too, and what edns-tcp-keepalive tells clients. 0: 10 s.
	IdleTimeout time.Duration

	// MessageTimeout is how long a TCP query may take from its first octet to
	// its last, and how long a client may take to accept an answer. 0: 5 s.
	MessageTimeout time.Duration

	// MaxConns is the number of TCP connections in all: one more has that closed
	// which has been without a query longest. MaxConnsPerPrefix is the number from
	// one IPv4 address or IPv6 /64: one more is closed at once. 0: 1000 and 50.
	MaxConns, MaxConnsPerPrefix int

	// ResponsesPerSecond is how often one response goes by UDP to one network,
	// IPv4 /24 or IPv6 /56, at most: see the package's text. At most 1,000,000.
	// 0: without limit.
	ResponsesPerSecond int

	// Now is the clock, for cookies, TSIG and the limit on responses. Nil: time.Now.
	Now func() time.Time

	// Updater judges UPDATE messages, and queries that are signed with its keys. Nil:
	// UPDATE is NOTIMP, and such keys are unknown.
	Updater Updater

	// Transfers are for who has one of TransferKeys: AXFR and IXFR by TCP, at most
	// 16 at once and 8 of them to one IPv4 address or IPv6 /64; and other queries
	// about the zones that only it finds. Nil: transfers are refused.
	Transfers    Transfers
	TransferKeys []tsig.Key
	// Transferred is told of each transfer that has been sent, by the goroutine
	// that sent it. Nil: nobody is.
	Transferred func(Transferred)
}

// A Server has its sockets open from [New] on; [Server.Serve] answers on them.
type Server struct {
	config  Config
	secrets *secrets
	limiter *limiter // nil: none
	addrs   []netip.AddrPort
	udp     []*udpSocket
	tcp     []*net.TCPListener
	conns   connTable
	places  *places
	aside   *aside              // nil: there is no Updater
	keys    map[string]tsig.Key // Config.TransferKeys by name

	countsMu sync.Mutex
	counts   []*counts // guarded by countsMu
}

// New checks the configuration and opens the sockets. The error names the
// address or the setting. Whoever does not call Serve calls [Server.Close].
func New(ctx context.Context, c Config) (*Server, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	s := &Server{config: c, secrets: newSecrets(), places: newPlaces(), keys: make(map[string]tsig.Key)}
	for _, k := range c.TransferKeys {
		s.keys[string(k.Name)] = k
	}
	if c.Updater != nil {
		s.aside = &aside{server: s, max: asideWorkers * min(runtime.NumCPU(), runtime.GOMAXPROCS(0)), udp: s.newCounts(false), tcp: s.newCounts(true)}
	}
	if c.ResponsesPerSecond > 0 {
		s.limiter = newLimiter(c.ResponsesPerSecond, c.Now())
	}
	s.conns.init(c.MaxConns, c.MaxConnsPerPrefix)
	for _, addr := range c.Addresses {
		if err := s.listen(ctx, addr); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (c *Config) complete() error {
	if c.Zones == nil {
		return errors.New("DNS server without zones")
	}
	if len(c.Addresses) == 0 {
		return errors.New("DNS server without an address; give one such as 127.0.0.1:5300")
	}
	if c.UDPSize == 0 {
		c.UDPSize = 1232
	}
	if c.UDPSize < floorUDP || c.UDPSize > 1400 {
		return fmt.Errorf("a UDP size of %d octets; give 512 to 1400, such as 1232", c.UDPSize)
	}
	if c.UDPSockets == 0 {
		c.UDPSockets = runtime.GOMAXPROCS(0)
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 10 * time.Second
	}
	if c.MessageTimeout == 0 {
		c.MessageTimeout = 5 * time.Second
	}
	if c.MaxConns == 0 {
		c.MaxConns = 1000
	}
	if c.MaxConnsPerPrefix == 0 {
		c.MaxConnsPerPrefix = 50
	}
	if c.UDPSockets < 0 || c.IdleTimeout < 0 || c.MessageTimeout < 0 || c.MaxConns < 0 || c.MaxConnsPerPrefix < 0 {
		return errors.New("a negative limit in the DNS server's settings; give a positive one, or none for the default")
	}
	if c.ResponsesPerSecond < 0 || c.ResponsesPerSecond > 1_000_000 {
		return fmt.Errorf("%d responses per second; give 1 to 1000000, such as 200, or 0 for no limit", c.ResponsesPerSecond)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// listen opens the sockets of one address, TCP first: it tells whether another
// server has the port, which a UDP socket with SO_REUSEPORT might not.
func (s *Server) listen(ctx context.Context, addr netip.AddrPort) error {
	if !addr.IsValid() {
		return errors.New("DNS server with an address that is none; give one such as 127.0.0.1:5300")
	}
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	family := "4"
	if addr.Addr().Is6() {
		family = "6"
	}
	// A free TCP port may be taken for UDP: then try another one.
	for attempt := 0; ; attempt++ {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp"+family, addr.String())
		if err != nil {
			return fmt.Errorf("listen for DNS by TCP: %w", err)
		}
		bound := netip.AddrPortFrom(addr.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port())
		sockets, err := listenUDP(ctx, "udp"+family, bound, s.config.UDPSockets)
		if err != nil {
			l.Close()
			if addr.Port() == 0 && attempt < 10 {
				continue
			}
			return fmt.Errorf("listen for DNS by UDP: %w", err)
		}
		s.tcp = append(s.tcp, l.(*net.TCPListener))
		s.udp = append(s.udp, sockets...)
		s.addrs = append(s.addrs, bound)
		return nil
	}
}

// Addrs are the addresses that are served, in the order of the configuration,
// with the ports that port 0 became.
func (s *Server) Addrs() []netip.AddrPort { return s.addrs }

// Close closes the sockets. It is for a server that is not serving; one that
// is stops by its context.
func (s *Server) Close() error {
	var errs []error
	for _, u := range s.udp {
		errs = append(errs, u.close())
	}
	for _, l := range s.tcp {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Serve answers until ctx ends, closes everything and returns nil; or it
// returns the error that made it stop before. It can be called once.
func (s *Server) Serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, u := range s.udp {
		g.Go(func() error { return u.serve(s.newResponder(false), s.config.Now) })
	}
	tcp := s.newResponder(true)
	for _, l := range s.tcp {
		g.Go(func() error { return s.acceptTCP(ctx, l, tcp.counts) })
	}
	g.Go(func() error {
		rollover := time.NewTicker(cookieRollover)
		defer rollover.Stop()
		for {
			select {
			case <-rollover.C:
				s.secrets.roll()
			case <-ctx.Done():
				close(s.places.stopping)
				s.conns.closeAll()
				if s.aside != nil {
					s.aside.close() // before the sockets that its answers go by
				}
				return s.Close()
			}
		}
	})
	return g.Wait()
}

func (s *Server) newCounts(tcp bool) *counts {
	c := &counts{tcp: tcp}
	s.countsMu.Lock()
	s.counts = append(s.counts, c)
	s.countsMu.Unlock()
	return c
}

func (s *Server) newResponder(tcp bool) *responder { return s.responderWith(s.newCounts(tcp)) }

func (s *Server) responderWith(c *counts) *responder {
	return &responder{zones: s.config.Zones, secrets: s.secrets, counts: c, limiter: s.limiter, udpSize: s.config.UDPSize, keepalive: s.config.IdleTimeout, aside: s.aside,
		transfers: s.config.Transfers, transferKeys: s.keys, transferred: s.config.Transferred}
}
