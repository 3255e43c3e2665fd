package e2e

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
)

// TestForgedFlood asks as if from all over one /24, as whoever wants that network
// flooded does: the network gets a second's worth of answers and then slips, and
// its resolvers are answered by TCP meanwhile, those elsewhere by UDP too.
func TestForgedFlood(t *testing.T) {
	needRoot(t, "for a network of its own")
	needProgram(t, "ip")
	if !isolated(t, "--net") {
		return
	}
	const perSecond = 10_000
	seconds := 2
	if long() {
		seconds = 60
	}
	if err := loopbackUp(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"192.0.2.53/32", "198.51.100.1/24", "203.0.113.1/24"} {
		mustRun(t, "ip", "addr", "add", addr, "dev", "lo")
	}
	const server = "192.0.2.53:53"
	d := serve(t, launch{args: []string{"--dns", server}})
	hosts := testHosts("home", 1)
	mustAddHosts(t, d, hosts)
	name := hosts[0].Name
	if got, err := d.updateFrom(sourceAddress(1), name, hosts[0].Secret); err != nil || got.status != http.StatusCreated {
		t.Fatal(got, err)
	}
	m := dns.NewMsg(name, dns.TypeA)
	if err := m.Pack(); err != nil {
		t.Fatal(err)
	}
	var answers, slips, others atomic.Int64
	var readers sync.WaitGroup
	const sources = 64
	var conns []net.Conn
	for i := range sources {
		from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(4 * i)}), 0))
		conn, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(server)))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		readers.Go(func() {
			reply := make([]byte, 2048)
			for {
				n, err := conn.Read(reply)
				switch {
				case err != nil:
					return
				case n > 12 && reply[7] == 1:
					answers.Add(1)
				case n > 12 && n <= len(m.Data) && reply[2]&2 != 0:
					slips.Add(1)
				default:
					others.Add(1)
				}
			}
		})
	}
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		began, sent := time.Now(), 0
		for sent < seconds*perSecond {
			<-pace.C
			for due := int(time.Since(began).Seconds() * perSecond); sent < min(due, seconds*perSecond); sent++ {
				conns[sent%sources].Write(m.Data) // an error is a full queue
			}
		}
	}()
	asked := 0
	for over := false; !over || asked < 20; asked++ {
		askFrom(t, "tcp", "198.51.100.7", server, name)
		if asked < 100 { // the other network has a limit too
			askFrom(t, "udp", "203.0.113.7", server, name)
		}
		select {
		case <-flooded:
			over = true
		default:
		}
	}
	for _, c := range conns {
		c.Close()
	}
	readers.Wait()
	t.Logf("%d queries: %d answers, %d slips; %d asked meanwhile", seconds*perSecond, answers.Load(), slips.Load(), asked)
	// The credit of a second, and five a second in the long run.
	if got, most := answers.Load(), int64(300+5*seconds); got > most || got == 0 {
		t.Errorf("%d answers, want at most %d", got, most)
	}
	if slips.Load() < 100 || others.Load() > 0 {
		t.Errorf("%d slips, %d other replies", slips.Load(), others.Load())
	}
}

// askFrom asks for an A record from an address of this machine; it must come. A
// lost packet is asked for again, as resolvers do.
func askFrom(t *testing.T, network, from, server, name string) {
	t.Helper()
	client := dns.NewClient()
	client.Dialer = &net.Dialer{Timeout: patience}
	client.ReadTimeout = 2 * time.Second
	ip := net.ParseIP(from)
	if network == "tcp" {
		client.Dialer.LocalAddr = &net.TCPAddr{IP: ip}
	} else {
		client.Dialer.LocalAddr = &net.UDPAddr{IP: ip}
	}
	for try := 1; ; try++ {
		res, _, err := client.Exchange(context.Background(), dns.NewMsg(name, dns.TypeA), network, server)
		if err == nil && len(res.Answer) == 1 && !res.Truncated {
			return
		}
		if try == 10 {
			t.Fatalf("from %s by %s: %v %v", from, network, res, err)
		}
	}
}
