package httpserver

import (
	"context"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// front stands before net/http on a listener without TLS. A request that is like
// most (see readEveryday) it answers itself: net/http, made for every kind of
// request, takes more time for one than everything else about it
// (docs/decisions/0013). A connection on which anything else arrives is net/http's
// from then on, with what arrived.
//
// To net/http it is the listener.
type front struct {
	net.Listener
	server *Server
	toHTTP chan accepted
	closed chan struct{} // by Close
	once   sync.Once

	// ctx is that of the requests that front answers.
	ctx    context.Context
	cancel context.CancelFunc
	served sync.WaitGroup // connections that are front's

	mu      sync.Mutex // guards conns
	conns   map[net.Conn]struct{}
	closing atomic.Bool

	newest atomic.Pointer[dateText]
}

// dateText is a second as Date has it.
type dateText struct {
	second int64
	text   string
}

// accepted is what net/http gets from Accept.
type accepted struct {
	conn net.Conn
	err  error
}

func (s *Server) newFront(l net.Listener) *front {
	f := &front{Listener: l, server: s, toHTTP: make(chan accepted), closed: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// run accepts connections until Close.
func (f *front) run() {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			f.hand(nil, err) // net/http knows which errors pass, and waits
		} else if !f.enter(c) {
			_ = c.Close()
		}
		if f.closing.Load() {
			return
		}
	}
}

// enter begins to serve a connection.
func (f *front) enter(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing.Load() {
		return false
	}
	f.conns[c] = struct{}{}
	f.served.Go(func() {
		defer f.leave(c)
		f.serve(c)
	})
	return true
}

func (f *front) leave(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// hand gives a connection, or an error of Accept, to net/http.
func (f *front) hand(c net.Conn, err error) {
	select {
	case f.toHTTP <- accepted{c, err}:
	case <-f.closed:
		if c != nil {
			_ = c.Close()
		}
	}
}

// Accept is net/http's.
func (f *front) Accept() (net.Conn, error) {
	select {
	case a := <-f.toHTTP:
		return a.conn, a.err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close stops listening and lets the connections go that wait for a request.
func (f *front) Close() error {
	err := f.Listener.Close()
	f.once.Do(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.closing.Store(true)
		close(f.closed)
		for c := range f.conns {
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
	})
	return err
}

// wait returns when all requests have been answered, or when ctx ends; those
// that are left then are broken off.
func (f *front) wait(ctx context.Context) {
	defer f.cancel()
	_ = f.Close() // net/http may have stopped before it knew this listener
	done := make(chan struct{})
	go func() {
		f.served.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		for c := range f.conns {
			_ = c.Close()
		}
	}
}

// serve answers the requests of a connection until it ends or is net/http's.
func (f *front) serve(c net.Conn) {
	s := f.server
	door := ""
	defer func() {
		if v := recover(); v != nil {
			s.Log.Error("a door panicked; please report it", "door", door, "panic", v, "stack", string(debug.Stack()))
			_ = c.Close()
		}
	}()
	src, byProxy, err := s.peer(c.RemoteAddr().String())
	if err != nil || byProxy {
		f.leave(c)
		f.hand(c, nil)
		return
	}
	tokens := s.takesTokensAt(c.LocalAddr())
	room, out := make([]byte, everydayRoom), make([]byte, 0, 512)
	// A deadline costs a tenth of a request, so one is moved only when it has to be.
	var readBy, writeBy time.Time
	var begun span
	defer begun.end()
	now := time.Now()
	_ = c.SetReadDeadline(now.Add(s.Limits.ReadHeader))
	for {
		if f.closing.Load() { // after the deadline was set, lest it be set over Close's
			_ = c.Close()
			return
		}
		n, _ := c.Read(room)
		if n == 0 {
			_ = c.Close()
			return
		}
		kind, in := readEveryday(room[:n])
		if kind == nil {
			f.leave(c) // or Close would set a deadline in the midst of net/http's work
			_ = c.SetDeadline(time.Time{})
			f.hand(&resumed{c, room[:n]}, nil)
			return
		}
		door, in.Authority, in.source, in.tokens = kind.door, s.Authority, src, tokens
		// Nobody listens for the client's leaving, so there is an end to it.
		begun.renew(f.ctx, s.Limits.Write)
		answer := kind.answer(s, begun, in)
		last := f.closing.Load()
		now = time.Now()
		out = answer.appendHTTP(out[:0], f.date(now), last)
		if by := now.Add(s.Limits.Write); by.After(writeBy) {
			writeBy = by.Add(s.Limits.Write / 8)
			_ = c.SetWriteDeadline(writeBy)
		}
		if _, err := c.Write(out); err != nil || last {
			_ = c.Close()
			return
		}
		if answer.status == http.StatusTooManyRequests || answer.status == http.StatusServiceUnavailable {
			f.holdBack()
		}
		if by := now.Add(s.Limits.Idle); by.After(readBy) {
			readBy = by.Add(s.Limits.Idle / 8)
			_ = c.SetReadDeadline(readBy)
		}
	}
}

// span is the context of what is done for one connection.
type span struct {
	context.Context
	cancel context.CancelFunc // nil before renew
	by     time.Time
}

// renew has it last for d from now, or an eighth longer.
func (s *span) renew(parent context.Context, d time.Duration) {
	if by := time.Now().Add(d); by.After(s.by) {
		s.end()
		s.by = by.Add(d / 8)
		s.Context, s.cancel = context.WithDeadline(parent, s.by)
	}
}

func (s *span) end() {
	if s.cancel != nil {
		s.cancel()
	}
}

// date is the time as Date has it (RFC 9110 section 6.6.1). Writing it anew for each
// answer takes longer than the rest of its header.
func (f *front) date(now time.Time) string {
	d := f.newest.Load()
	if d == nil || d.second != now.Unix() {
		d = &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
		f.newest.Store(d)
	}
	return d.text
}

// holdBack keeps a connection that was told to come back later from asking again
// at once: refusing it as fast as it can ask would take the time of the others.
// Who waits for as long as Retry-After says does not notice.
func (f *front) holdBack() {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.closed:
	}
}

// resumed is a connection of which something has been read already.
type resumed struct {
	net.Conn
	rest []byte
}

func (c *resumed) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.rest = nil // its room may be long
	}
	return n, nil
}
