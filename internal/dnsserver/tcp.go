package dnsserver

import (
	"bufio"
	"bytes"
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/zone"
)

const (
	// tcpRead is the read buffer of a connection: some dozens of pipelined queries.
	tcpRead = 2048
	// tcpFirst is what is allocated for a query on its length prefix alone. More
	// only comes as octets do, so that 65535 costs whoever claims it.
	tcpFirst = 4096
	// tcpFlush is when answers to pipelined queries are sent although more
	// queries are waiting.
	tcpFlush = 32 << 10
)

// answers are the buffers that responses to one connection are gathered in. A
// connection that waits for queries holds none.
type answers struct{ pool sync.Pool }

func (a *answers) get() *[]byte {
	if b, ok := a.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, tcpFlush+2+maxTCP+zone.Slack)
	return &b
}

func (a *answers) put(b *[]byte) {
	*b = (*b)[:0]
	a.pool.Put(b)
}

// tcpConn is an open connection.
type tcpConn struct {
	*net.TCPConn
	client netip.Addr
	done   chan struct{} // closed when nobody uses the connection any more
	ended  chan struct{} // closed when it is closed from outside; guarded by its mu
	place  *list.Element // in connTable.open; guarded by its mu; nil: it has none any more
}

// connTable knows the open connections, for the limits and to close them.
type connTable struct {
	mu        sync.Mutex
	open      list.List            // of *tcpConn, that which has been silent longest first; guarded by mu, as the rest
	perPrefix map[netip.Prefix]int // of open
	closed    bool
	max       int // set once
	maxPrefix int // set once
	wait      sync.WaitGroup
}

func (t *connTable) init(max, maxPrefix int) {
	t.perPrefix = map[netip.Prefix]int{}
	t.max, t.maxPrefix = max, maxPrefix
}

// clientPrefix is what counts as one client: an IPv4 address, an IPv6 /64.
func clientPrefix(client netip.Addr) netip.Prefix {
	bits := 32
	if client.Is6() {
		bits = 64
	}
	p, _ := client.WithZone("").Prefix(bits)
	return p
}

// add takes a connection, unless its client has as many as it may. If there are
// as many as there may be in all, those that have been silent longest make room
// (RFC 7766 section 6.2.3), so that who opens connections and lets them be keeps
// out nobody; it tells how many. They are gone when add returns.
func (t *connTable) add(c *tcpConn) (taken bool, evicted uint64) {
	p := clientPrefix(c.client)
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if t.closed || t.perPrefix[p] >= t.maxPrefix {
			return false, evicted
		}
		if t.open.Len() < t.max {
			break
		}
		silent := t.open.Front().Value.(*tcpConn)
		t.drop(silent)
		silent.end()
		evicted++
		t.mu.Unlock()
		<-silent.done
		t.mu.Lock()
	}
	c.place = t.open.PushBack(c)
	t.perPrefix[p]++
	t.wait.Add(1)
	return true, evicted
}

// drop takes a connection out of the table, if it is there; t.mu is held.
func (t *connTable) drop(c *tcpConn) {
	if c.place == nil {
		return
	}
	t.open.Remove(c.place)
	c.place = nil
	p := clientPrefix(c.client)
	if t.perPrefix[p]--; t.perPrefix[p] == 0 {
		delete(t.perPrefix, p)
	}
}

// end closes the connection under who uses it; the table's mu is held, and it is
// in the table or was so until now.
func (c *tcpConn) end() {
	close(c.ended)
	c.Close()
}

// asked notes that a connection has just had a query.
func (t *connTable) asked(c *tcpConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.place != nil {
		t.open.MoveToBack(c.place)
	}
}

// remove is for who has used the connection, and does so no longer.
func (t *connTable) remove(c *tcpConn) {
	t.mu.Lock()
	t.drop(c)
	t.mu.Unlock()
	close(c.done)
	t.wait.Done()
}

// closeAll closes all connections, and those that come later, and waits until
// nobody uses them.
func (t *connTable) closeAll() {
	t.mu.Lock()
	t.closed = true
	for e := t.open.Front(); e != nil; e = e.Next() {
		e.Value.(*tcpConn).end()
	}
	t.mu.Unlock()
	t.wait.Wait()
}

// acceptTCP accepts connections until the listener is closed.
func (s *Server) acceptTCP(ctx context.Context, l *net.TCPListener, counts *counts) error {
	var buffers answers
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// The client is gone, or descriptors have run out: the latter lasts,
			// and must not take a processor.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		conn := &tcpConn{TCPConn: c, client: c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(), done: make(chan struct{}), ended: make(chan struct{})}
		taken, evicted := s.conns.add(conn)
		counts.evicted.Add(evicted)
		if !taken {
			counts.refused.Add(1)
			c.Close()
			continue
		}
		counts.conns.Add(1)
		go func() {
			defer s.conns.remove(conn)
			defer conn.Close()
			s.serveTCP(conn, counts, &buffers)
		}()
	}
}

// serveTCP answers the queries of one connection, in their order (RFC 7766
// section 6.2.1.1 lets a server choose; an answer takes microseconds). Any error
// ends it: there is nobody to tell.
func (s *Server) serveTCP(c *tcpConn, counts *counts, buffers *answers) {
	var (
		r      = s.responderWith(counts)
		reader = bufio.NewReaderSize(c, tcpRead)
		query  []byte
		held   *[]byte   // answers not yet sent
		since  time.Time // the query of the first of them was there
		count  uint64
	)
	defer func() {
		if held != nil {
			buffers.put(held)
		}
	}()
	flush := func() error {
		if held == nil {
			return nil
		}
		var err error
		if len(*held) > 0 {
			c.SetWriteDeadline(time.Now().Add(s.config.MessageTimeout))
			_, err = c.Write(*held)
			counts.latency.Observe(s.config.Now().Sub(since), count)
			count = 0
		}
		buffers.put(held)
		held = nil
		return err
	}
	for {
		if !wholeQuery(reader) {
			if held != nil {
				s.conns.asked(c)
			}
			if flush() != nil {
				return
			}
			if reader.Buffered() == 0 {
				c.SetReadDeadline(time.Now().Add(s.config.IdleTimeout))
				if _, err := reader.Peek(1); err != nil {
					return
				}
			}
			// From the first octet on the whole query has this long.
			c.SetReadDeadline(time.Now().Add(s.config.MessageTimeout))
		}
		var err error
		if query, err = readQuery(reader, query[:0]); err != nil {
			return
		}
		if held == nil {
			held = buffers.get()
		}
		start := len(*held)
		out := append(*held, 0, 0)
		now := s.config.Now()
		reply := r.respond(query, out[start+2:start+2], c.client, true, now)
		if r.transfer != nil {
			if flush() != nil || s.serveTransfer(c, r, query) != nil {
				return
			}
			continue
		}
		if r.waits {
			if flush() != nil {
				return
			}
			held = buffers.get()
			start, out = 0, append(*held, 0, 0)
			var ok bool
			if reply, ok = s.waitAside(c, query, now); !ok {
				return
			}
			out = append(out, reply...)
		}
		if len(reply) == 0 {
			if len(query) < headerLen { // not DNS: send what there is, and go
				flush()
				return
			}
			continue
		}
		if count++; count == 1 {
			since = now
		}
		binary.BigEndian.PutUint16(out[start:], uint16(len(reply)))
		// The capacity holds the largest reply, so that it was written in place.
		*held = out[:start+2+len(reply)]
		if len(*held) > tcpFlush && flush() != nil {
			return
		}
	}
}

// waitAside has a query set aside, and returns its answer, empty if it gets none;
// false: the connection has ended meanwhile. The answers of a connection stay in
// the order of its queries.
func (s *Server) waitAside(c *tcpConn, query []byte, now time.Time) ([]byte, bool) {
	answer := make(chan []byte, 1)
	m := asked{bytes.Clone(query), c.client, true, now, func(reply []byte) { answer <- reply }}
	if !s.aside.add(m) {
		s.aside.tcp.crowded.Add(1)
		return []byte{query[0], query[1], 0x80 | query[2]&0x78, dns.RcodeServerFailure, 0, 0, 0, 0, 0, 0, 0, 0}, true
	}
	select {
	case reply := <-answer:
		return reply, true
	case <-c.ended:
		return nil, false
	}
}

// wholeQuery tells whether the next query can be read without waiting.
func wholeQuery(r *bufio.Reader) bool {
	if r.Buffered() < 2 {
		return false
	}
	prefix, _ := r.Peek(2)
	return r.Buffered() >= 2+int(binary.BigEndian.Uint16(prefix))
}

// readQuery reads one query after its length prefix (RFC 7766 section 8) into
// query, which has length 0 and grows as octets arrive.
func readQuery(r *bufio.Reader, query []byte) ([]byte, error) {
	var prefix [2]byte
	for i := range prefix {
		b, err := r.ReadByte()
		if err != nil {
			return query, err
		}
		prefix[i] = b
	}
	for want := int(binary.BigEndian.Uint16(prefix[:])); len(query) < want; {
		n := len(query)
		more := min(want-n, max(n, tcpFirst))
		if n+more > cap(query) {
			query = append(make([]byte, 0, n+more), query...)
		}
		query = query[:n+more]
		for n < len(query) {
			k, err := r.Read(query[n:])
			n += k
			if err != nil {
				return query[:n], err
			}
		}
	}
	return query, nil
}
