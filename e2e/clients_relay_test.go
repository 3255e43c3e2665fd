//go:build linux

package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// relay is a reverse proxy in front of a daemon, for clients that we did not
// write: it keeps every request as it came, to the byte, and says where they come
// from. It passes bytes on as they are, but for one field more in the head; the
// daemon must trust 127.0.0.1. Safe for concurrent use.
type relay struct {
	t      testing.TB
	port   int // on 127.0.0.1 and ::1
	server *tls.Config
	dial   func() (net.Conn, error) // to the daemon

	mu        sync.Mutex // guards following
	listeners []net.Listener
	conns     map[net.Conn]bool
	running   sync.WaitGroup
	source    string   // where the clients are
	requests  []string // their heads
}

// newRelay listens at both loopback addresses, with TLS if server is not nil.
func newRelay(t testing.TB, server *tls.Config, dial func() (net.Conn, error)) *relay {
	t.Helper()
	r := &relay{t: t, port: freePort(t), server: server, dial: dial, conns: map[net.Conn]bool{}}
	r.up()
	t.Cleanup(r.down)
	return r
}

// up begins to listen, at the same port each time.
func (r *relay) up() {
	r.t.Helper()
	for _, at := range []string{v4(r.port), v6(r.port)} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			r.t.Fatal(err)
		}
		if r.server != nil {
			l = tls.NewListener(l, r.server)
		}
		r.mu.Lock()
		r.listeners = append(r.listeners, l)
		r.mu.Unlock()
		r.running.Go(func() { r.accept(l) })
	}
}

// down stops listening: who comes now is refused, as where a server has ended.
func (r *relay) down() {
	r.mu.Lock()
	for _, l := range r.listeners {
		l.Close()
	}
	for c := range r.conns {
		c.Close()
	}
	r.listeners = nil
	r.mu.Unlock()
	r.running.Wait()
}

func (r *relay) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r.running.Go(func() { r.pass(c) })
	}
}

// keep has down close a connection; it returns what takes it off again.
func (r *relay) keep(c net.Conn) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = true
	return func() {
		c.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, c)
	}
}

func (r *relay) pass(client net.Conn) {
	defer r.keep(client)()
	in := bufio.NewReader(client)
	if _, err := in.Peek(1); err != nil {
		return // nothing was asked: a client that does not like the certificate
	}
	server, err := r.dial()
	if err != nil {
		return
	}
	defer r.keep(server)()
	answered := make(chan struct{})
	r.running.Go(func() {
		defer close(answered)
		io.Copy(client, server)
		client.Close()
	})
	for {
		head, length, err := readHead(in)
		if err != nil {
			if half, ok := server.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) {
				half.CloseWrite() // it has said all and may still be listening
				<-answered
			}
			return
		}
		r.mu.Lock()
		r.requests = append(r.requests, head)
		from := r.source
		r.mu.Unlock()
		if from != "" {
			head = strings.TrimSuffix(head, "\r\n") + "X-Forwarded-For: " + from + "\r\n\r\n"
		}
		if _, err := io.WriteString(server, head); err != nil {
			return
		}
		if _, err := io.CopyN(server, in, length); err != nil {
			return
		}
	}
}

// readHead reads a request's head, to the empty line, and says how long its body is.
func readHead(in *bufio.Reader) (head string, body int64, err error) {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", 0, err
		}
		b.WriteString(line)
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Content-Length") {
			if body, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil {
				return "", 0, err
			}
		}
		if strings.TrimRight(line, "\r\n") == "" {
			return b.String(), body, nil
		}
	}
}

// move says where the clients are from now on.
func (r *relay) move(source string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.source = source
}

// took returns the requests since the last time, without those for the address
// that a client has.
func (r *relay) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(r.requests), func(head string) bool {
		return strings.Contains(head, " /nic/checkip") || strings.Contains(head, " /ip")
	})
	r.requests = nil
	return out
}
