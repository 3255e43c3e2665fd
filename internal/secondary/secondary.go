// Package secondary tells secondary name servers that zones have changed, by
// NOTIFY (RFC 1996), and remembers what they were told and what they have.
//
// Each secondary has a goroutine and a socket of its own, so that one that does
// not answer holds up no other. A secondary hears of a zone at once after a
// change, but not again before it has acknowledged or missed the message before,
// and at most once in 100 ms: what changes meanwhile is told with the next one.
// What is not acknowledged is told again, after 1 s first and then after twice the
// time, up to a minute, until it is; a further change is told a second after the
// last attempt at the latest. Who refuses the catalog reads no catalogs, which is no
// fault: it is told of the next change.
package secondary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/tsig"
)

const (
	// interval is the shortest time between two messages about one zone.
	interval = 100 * time.Millisecond
	// firstWait and lastWait are how long an acknowledgement is waited for.
	firstWait = time.Second
	lastWait  = time.Minute
)

// A Secondary is a server that follows the zones.
type Secondary struct {
	Addr netip.AddrPort
	Key  tsig.Key // signs what it is told, and its answers
}

// Config says who is to be told of what. Every field but Catalog and Log is required.
type Config struct {
	Secondaries []Secondary
	Zones       []dnsname.Name
	// Catalog is which of Zones is a catalog (RFC 9432); zero: none.
	Catalog dnsname.Name
	// Serial is the present serial of a zone. It must not wait.
	Serial func(apex dnsname.Name) uint32
	// Listeners are where this server answers DNS: a secondary is told from the
	// address of one of them, because it takes its zones' news from no other.
	Listeners []netip.AddrPort
	Log       *slog.Logger
}

// Kind is what a secondary got in a transfer.
type Kind string

// The kinds of transfers.
const (
	Whole      Kind = "axfr" // the whole zone
	Difference Kind = "ixfr"
	NoNews     Kind = "none" // it had the present serial
)

// State is what is known of one secondary and one zone. A zero time is never.
type State struct {
	Secondary netip.AddrPort
	Zone      dnsname.Name
	// Acknowledged is when it last acknowledged a NOTIFY. Problem says why the last
	// one was not, "" if it was or is on its way; or that it takes no news.
	Acknowledged time.Time
	Problem      string
	// Transferred is when it last got the zone or heard that there is no news, Kind
	// which of them, and Serial what it has had since: later than the zone's own, if
	// it came from somebody else.
	Transferred time.Time
	Kind        Kind
	Serial      uint32
	// Behind tells that the zone has another serial by now. It is false before the
	// first transfer: a secondary that was up to date all the time has made none.
	Behind bool
}

// Set is the secondaries of a server. Its methods are safe for concurrent use.
type Set struct {
	peers []*peer
}

// New makes a Set that tells nobody before Run.
func New(c Config) *Set {
	s := &Set{}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, one := range c.Secondaries {
		p := &peer{Secondary: one, source: source(one.Addr, c.Listeners), serial: c.Serial, catalog: c.Catalog, log: c.Log,
			wake: make(chan struct{}, 1), at: make(map[dnsname.Name]*told)}
		for _, apex := range c.Zones {
			t := &told{State: State{Secondary: one.Addr, Zone: apex}, wait: firstWait}
			p.zones, p.at[apex] = append(p.zones, t), t
		}
		s.peers = append(s.peers, p)
	}
	return s
}

// source is the address to speak from: a listener's of the same family that
// reaches as far, if there is one, else whatever the system takes. One that is
// private, or public, as the secondary's comes first.
func source(to netip.AddrPort, listeners []netip.AddrPort) (from netip.AddrPort) {
	for _, l := range listeners {
		a := l.Addr().Unmap()
		if a.Is4() != to.Addr().Is4() || a.IsLoopback() != to.Addr().IsLoopback() || a.IsUnspecified() {
			continue
		}
		if a.IsPrivate() == to.Addr().IsPrivate() {
			return netip.AddrPortFrom(a, 0)
		}
		if !from.IsValid() {
			from = netip.AddrPortFrom(a, 0)
		}
	}
	return from
}

// Changed tells that a zone's serial has moved. It neither waits nor allocates.
func (s *Set) Changed(dnsname.Name) {
	for _, p := range s.peers {
		select {
		case p.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// Transferred notes what a secondary got, who came from an address with a key. A
// secondary behind another address than the one it is told at is known by its
// key, if no other one has it.
func (s *Set) Transferred(client netip.Addr, key []byte, apex dnsname.Name, serial uint32, kind Kind, now time.Time) {
	var found *peer
	several := false
	for _, p := range s.peers {
		if string(p.Key.Name) != string(key) {
			continue
		}
		if p.Addr.Addr() == client {
			found, several = p, false
			break
		}
		found, several = p, found != nil
	}
	if found == nil || several {
		return
	}
	found.mu.Lock()
	defer found.mu.Unlock()
	if t := found.at[apex]; t != nil {
		t.Transferred, t.Kind, t.Serial = now, kind, serial
	}
}

// States are what is known, by secondary and zone in the order of the Config.
func (s *Set) States() []State {
	var out []State
	for _, p := range s.peers {
		p.mu.Lock()
		for _, t := range p.zones {
			state := t.State
			if serial := p.serial(t.Zone); !t.Transferred.IsZero() {
				state.Behind = t.Serial != serial
				if int32(t.Serial-serial) > 0 { // RFC 1982
					state.Problem = "it has a later serial than this server, so it takes nothing: remove the zone there, and let it get the zone anew"
				}
			}
			out = append(out, state)
		}
		p.mu.Unlock()
	}
	return out
}

// Run tells every secondary of every zone, and then of each change, until ctx ends.
func (s *Set) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range s.peers {
		wg.Go(func() { p.run(ctx) })
	}
	wg.Wait()
}

// peer is one secondary.
type peer struct {
	Secondary
	source  netip.AddrPort // zero: the system's choice
	serial  func(dnsname.Name) uint32
	catalog dnsname.Name
	log     *slog.Logger
	wake    chan struct{}

	mu    sync.Mutex // guards what follows
	zones []*told
	at    map[dnsname.Name]*told
}

// told is what a secondary was told of one zone.
type told struct {
	State
	known    bool   // serial was acknowledged, or is none of the secondary's business
	serial   uint32 // of the last message
	asked    bool   // the last message has no answer yet
	id       uint16
	mac      []byte
	sent     time.Time
	wait     time.Duration // after sent, until it is told again
	reported bool          // the problem has been logged
}

// told ends the attempts to tell of the serial of the last message.
func (t *told) told() {
	t.known, t.asked, t.reported, t.wait, t.Problem = true, false, false, firstWait, ""
}

// has tells whether there is nothing to tell of this serial.
func (t *told) has(serial uint32) bool { return t.known && serial == t.serial }

// run is the peer's goroutine.
func (p *peer) run(ctx context.Context) {
	replies := make(chan []byte, 16)
	var conn *net.UDPConn
	var reader sync.WaitGroup
	hangUp := func() {
		if conn != nil {
			conn.Close()
			reader.Wait()
			conn = nil
		}
	}
	defer hangUp()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case reply := <-replies:
			p.take(reply, time.Now())
		case <-p.wake:
		case <-timer.C:
		}
		if conn == nil {
			var err error
			if conn, err = p.dial(ctx); err == nil {
				reader.Go(func() { listen(conn, replies) })
			} else {
				conn = nil
				p.fail(err)
				timer.Reset(firstWait)
				continue
			}
		}
		next, err := p.tell(conn, time.Now())
		if err != nil {
			hangUp() // the address may have gone; another socket may do
			p.fail(err)
			next = firstWait
		}
		timer.Reset(next)
	}
}

func (p *peer) dial(ctx context.Context) (*net.UDPConn, error) {
	var d net.Dialer
	if p.source.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(p.source)
	}
	c, err := d.DialContext(ctx, "udp", p.Addr.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// listen hands over what the secondary says until the socket is closed. What
// comes faster than it is looked at is let go: the secondary is told again.
func listen(conn *net.UDPConn, replies chan<- []byte) {
	buffer := make([]byte, 2048)
	for {
		n, err := conn.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Nobody listens there, as the answer to a message says.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case replies <- append([]byte(nil), buffer[:n]...):
		default:
		}
	}
}

// tell sends what is due and returns how long there is nothing to do.
func (p *peer) tell(conn *net.UDPConn, now time.Time) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := lastWait
	for _, t := range p.zones {
		serial := p.serial(t.Zone)
		if t.has(serial) {
			continue
		}
		due := t.sent.Add(interval)
		if t.asked {
			due = t.sent.Add(t.wait)
			if serial != t.serial {
				due = t.sent.Add(min(t.wait, firstWait))
			}
		}
		if now.Before(due) {
			next = min(next, due.Sub(now))
			continue
		}
		if t.asked {
			t.wait = min(2*t.wait, lastWait)
			if t.Problem == "" {
				t.Problem = "no answer to NOTIFY"
			}
			p.report(t)
		}
		message := t.message(p.Key, serial, now)
		if _, err := conn.Write(message); err != nil {
			return 0, err
		}
		next = min(next, t.wait)
	}
	return next, nil
}

// fail notes a problem of the socket for the zones that there is something to tell of.
func (p *peer) fail(err error) {
	why := "NOTIFY cannot be sent: " + err.Error()
	if errno, ok := errors.AsType[syscall.Errno](err); ok { // addresses are said beside it
		why = "NOTIFY cannot be sent: " + errno.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.zones {
		if !t.has(p.serial(t.Zone)) {
			t.Problem = why
			p.report(t)
		}
	}
}

// report logs a problem once, until it is over; p.mu is held.
func (p *peer) report(t *told) {
	if !t.reported {
		t.reported = true
		p.log.Warn("a secondary does not hear of changes; trying again", "secondary", p.Addr.String(), "zone", t.Zone.String(), "err", t.Problem)
	}
}

// take takes an answer. What cannot be the secondary's own is left alone.
func (p *peer) take(reply []byte, now time.Time) {
	if len(reply) < headerLen {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.zones {
		if !t.asked {
			continue
		}
		rcode, refused, ok := t.answer(p.Key, reply, now)
		if !ok {
			continue
		}
		if rcode != "" {
			t.Problem = fmt.Sprintf("it answers NOTIFY with %s", rcode)
			if refused && t.Zone == p.catalog {
				t.told()
				p.log.Info("a secondary does not read the catalog", "secondary", p.Addr.String(), "zone", t.Zone.String())
			} else {
				p.report(t)
			}
			return
		}
		if t.reported {
			p.log.Info("a secondary hears of changes again", "secondary", p.Addr.String(), "zone", t.Zone.String())
		}
		t.told()
		t.Acknowledged = now
		return
	}
}
