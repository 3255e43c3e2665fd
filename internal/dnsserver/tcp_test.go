package dnsserver_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsserver"
)

func framed(query []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
}

func hostQuery(id uint16) []byte {
	p := probe{qname: "home." + z, qtype: dns.TypeA}
	query := p.query()
	binary.BigEndian.PutUint16(query, id)
	return query
}

func TestTCPPipelining(t *testing.T) {
	s := start(t, dnsserver.Config{})
	c := dial(t, "tcp", s.Addrs()[0])
	var all []byte
	const n = 2000
	for id := range uint16(n) {
		all = append(all, framed(hostQuery(id))...)
	}
	go c.Write(all)
	seen := map[uint16]bool{}
	for range n {
		seen[binary.BigEndian.Uint16(readTCP(t, c))] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d answered", len(seen), n)
	}
}

// TestTCPSegments sends one query octet by octet, length prefix included.
func TestTCPSegments(t *testing.T) {
	s := start(t, dnsserver.Config{})
	c := dial(t, "tcp", s.Addrs()[0])
	c.(*net.TCPConn).SetNoDelay(true)
	for _, b := range framed(hostQuery(7)) {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if reply := readTCP(t, c); reply[1] != 7 || reply[7] != 1 {
		t.Errorf("%x", reply)
	}
}

// closed waits until the server closes c and says what came before.
func closed(t *testing.T, c net.Conn) []byte {
	t.Helper()
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection stays open")
	}
	return got
}

func TestTCPTimeouts(t *testing.T) {
	s := start(t, dnsserver.Config{IdleTimeout: 300 * time.Millisecond, MessageTimeout: 300 * time.Millisecond})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		closed(t, dial(t, "tcp", s.Addrs()[0]))
	})
	t.Run("half a prefix", func(t *testing.T) {
		t.Parallel()
		c := dial(t, "tcp", s.Addrs()[0])
		c.Write([]byte{0})
		closed(t, c)
	})
	t.Run("half a query", func(t *testing.T) {
		t.Parallel()
		c := dial(t, "tcp", s.Addrs()[0])
		c.Write(framed(hostQuery(1))[:20])
		closed(t, c)
	})
	t.Run("idle after an answer", func(t *testing.T) {
		t.Parallel()
		c := dial(t, "tcp", s.Addrs()[0])
		c.Write(framed(hostQuery(1)))
		if got := closed(t, c); len(got) < 20 {
			t.Errorf("%x", got)
		}
	})
	t.Run("not DNS", func(t *testing.T) {
		t.Parallel()
		c := dial(t, "tcp", s.Addrs()[0])
		c.Write([]byte{0, 3, 1, 2, 3})
		closed(t, c)
	})
	t.Run("not DNS after a query", func(t *testing.T) {
		t.Parallel()
		c := dial(t, "tcp", s.Addrs()[0])
		c.Write(append(framed(hostQuery(1)), 0, 3, 1, 2, 3))
		if got := closed(t, c); len(got) < 20 {
			t.Errorf("the query was not answered: %x", got)
		}
	})
	t.Run("trickle", func(t *testing.T) {
		t.Parallel()
		// An octet now and then does not keep a connection alive.
		c := dial(t, "tcp", s.Addrs()[0])
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 1000 {
				if _, err := c.Write(framed(hostQuery(1))[i%20 : i%20+1]); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		closed(t, c)
		c.Close()
		<-done
	})
}

// TestTCPSlowReader: a client that takes no answers is dropped.
func TestTCPSlowReader(t *testing.T) {
	s := start(t, dnsserver.Config{MessageTimeout: 100 * time.Millisecond})
	c := dial(t, "tcp", s.Addrs()[0])
	query := framed((&probe{qname: "big." + z, qtype: dns.TypeTXT}).query())
	batch := bytes.Repeat(query, 1000)
	for {
		if _, err := c.Write(batch); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection stays open")
			}
			return
		}
	}
}

func TestTCPLimits(t *testing.T) {
	s := start(t, dnsserver.Config{MaxConns: 3, MaxConnsPerPrefix: 2})
	ask := func(c net.Conn) {
		t.Helper()
		c.Write(framed(hostQuery(1)))
		readTCP(t, c)
	}
	v4, v6 := s.Addrs()[0], s.Addrs()[1]
	first, second := dial(t, "tcp", v4), dial(t, "tcp", v4)
	ask(first)
	ask(second)
	closed(t, dial(t, "tcp", v4)) // the address has its two
	third := dial(t, "tcp", v6)
	ask(third)
	ask(first)
	fourth := dial(t, "tcp", v6) // the server has its three: the second has been silent longest
	ask(fourth)
	closed(t, second)
	ask(first)
	ask(third)
	ask(fourth)
	third.Close()
	// The place of the client is free when the server has seen the end of it,
	// which takes an unknown moment: a new connection is tried until it is served.
	for deadline := time.Now().Add(within); ; {
		c := dial(t, "tcp", v6)
		c.Write(framed(hostQuery(1)))
		_, err := io.ReadFull(c, make([]byte, 20))
		c.Close()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place is not given back")
		}
	}
	if counts := s.Counts(); counts.Refused < 1 || counts.Evicted < 1 || counts.Conns < 4 {
		t.Errorf("%+v", counts)
	}
}

// TestTCPWholeAnswer: what UDP cuts, TCP gives.
func TestTCPWholeAnswer(t *testing.T) {
	s := start(t, dnsserver.Config{})
	query := (&probe{qname: "big." + z, qtype: dns.TypeTXT}).query()
	udp, tcp := exchange(t, "udp", s.Addrs()[0], query), exchange(t, "tcp", s.Addrs()[0], query)
	if udp[2]&2 == 0 || len(udp) > 512 || tcp[2]&2 != 0 || tcp[7] != 5 {
		t.Errorf("UDP %x, TCP %x", udp, tcp)
	}
}

// TestWildcardListener asks a server on the unspecified addresses at several
// addresses of this machine. A connected socket takes no reply from another one.
func TestWildcardListener(t *testing.T) {
	addresses := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("[::]:0")}
	if runtime.GOOS != "linux" {
		_, err := dnsserver.New(context.Background(), dnsserver.Config{Zones: testZones(t), Addresses: addresses})
		if err == nil {
			t.Error("a listener that would answer from the wrong address was made")
		}
		return
	}
	s := start(t, dnsserver.Config{Addresses: addresses})
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"} {
		server := s.Addrs()[0]
		if host == "::1" {
			server = s.Addrs()[1]
		}
		addr := netip.AddrPortFrom(netip.MustParseAddr(host), server.Port())
		for _, network := range []string{"udp", "tcp"} {
			if reply := exchange(t, network, addr, hostQuery(9)); reply[7] != 1 {
				t.Errorf("%s %s: %x", network, addr, reply)
			}
		}
	}
}

// TestBurst sends more than a batch at once and counts the answers.
func TestBurst(t *testing.T) {
	s := start(t, dnsserver.Config{UDPSockets: 1})
	c := dial(t, "udp", s.Addrs()[0])
	const n = 150
	for id := range uint16(n) {
		if _, err := c.Write(hostQuery(id)); err != nil {
			t.Fatal(err)
		}
		c.Write([]byte{1, 2, 3}) // gets no answer, and must not disturb
	}
	seen := map[uint16]bool{}
	buffer := make([]byte, 2048)
	for range n {
		k, err := c.Read(buffer)
		if err != nil {
			t.Fatalf("after %d answers: %v", len(seen), err)
		}
		if k < 12 || buffer[7] != 1 {
			t.Fatalf("%x", buffer[:k])
		}
		seen[binary.BigEndian.Uint16(buffer)] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d answered", len(seen), n)
	}
	if counts := s.Counts(); counts.UDP.Responses() != n || counts.UDP.Rcodes["NOERROR"] != n {
		t.Errorf("%+v", counts)
	}
}

// TestServeStops: Serve returns with its context although clients are connected
// and half-way through a query, and the ports are free then.
func TestServeStops(t *testing.T) {
	s, err := dnsserver.New(context.Background(), dnsserver.Config{
		Zones: testZones(t), Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	c := dial(t, "tcp", s.Addrs()[0])
	c.Write(framed(hostQuery(1)))
	readTCP(t, c)
	c.Write([]byte{0})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	again, err := dnsserver.New(context.Background(), dnsserver.Config{Zones: testZones(t), Addresses: s.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
