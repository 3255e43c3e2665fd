//go:build linux

package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/internal/agent"
)

// fakeRouter is a gateway at a loopback address of its own.
type fakeRouter struct {
	addr netip.Addr
	web  string // host and port of its HTTP server, if it has one
}

// newRouter takes a loopback address that no other test has.
func newRouter(t *testing.T) *fakeRouter {
	t.Helper()
	for i := 1; i < 255; i++ {
		addr := netip.AddrFrom4([4]byte{127, 77, byte(i), 1})
		// Whoever listens on this TCP port has the address.
		owner, err := net.Listen("tcp4", addr.String()+":5351")
		if err != nil {
			continue
		}
		t.Cleanup(func() { owner.Close() })
		return &fakeRouter{addr: addr}
	}
	t.Fatal("no loopback address is free")
	return nil
}

// answer makes the router answer datagrams at a port.
func (r *fakeRouter) answer(t *testing.T, port string, reply func(request []byte) [][]byte) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", r.addr.String()+":"+port)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			for _, d := range reply(slices.Clone(buffer[:n])) {
				conn.WriteTo(d, from)
			}
		}
	}()
}

// serve makes the router an Internet gateway with that HTTP server.
func (r *fakeRouter) serve(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	listener, err := net.Listen("tcp4", r.addr.String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })
	r.web = listener.Addr().String()
}

func searchReply(location string) []byte {
	return []byte("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: " + searches[0] + "\r\nUSN: uuid:x\r\nEXT:\r\nLOCATION: " + location + "\r\n\r\n")
}

// igd answers as an Internet gateway whose WAN side has that address.
func igd(service, addr string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			fmt.Fprint(w, descriptionOf(service, "/ctl"))
		case r.URL.Path == "/ctl" && r.Header.Get("Soapaction") == `"`+service+`#GetExternalIPAddress"`:
			fmt.Fprint(w, soapOf(addr))
		default:
			http.Error(w, "no such action", http.StatusInternalServerError)
		}
	}
}

func natpmpReply(addr string) []byte {
	return append([]byte{0, 128, 0, 0, 0, 0, 0, 9}, netip.MustParseAddr(addr).AsSlice()...)
}

// pcpReplyTo answers a MAP request as a server would.
func pcpReplyTo(request []byte, addr string) []byte {
	reply := slices.Clone(request)
	reply[1] |= pcpReply
	clear(reply[8:24])
	external := netip.MustParseAddr(addr).As16()
	copy(reply[44:], external[:])
	return reply
}

func portControlOf(pcp, natpmp func(request []byte) [][]byte) func([]byte) [][]byte {
	return func(request []byte) [][]byte {
		if len(request) == 2 {
			return natpmp(request)
		}
		return pcp(request)
	}
}

// natpmpOnly is what a server of RFC 6886 section 3.5 says to other versions.
func natpmpOnly(request []byte) [][]byte { return [][]byte{{0, 128 | request[1], 0, 1, 0, 0, 0, 9}} }

func TestRouter(t *testing.T) {
	for _, test := range []struct {
		name  string
		build func(t *testing.T, r *fakeRouter)
		want  string
	}{
		{"PCP", func(t *testing.T, r *fakeRouter) {
			r.answer(t, "5351", portControlOf(func(q []byte) [][]byte { return [][]byte{pcpReplyTo(q, "20.0.0.7")} }, nil))
		}, "20.0.0.7"},
		{"NAT-PMP after another version", func(t *testing.T, r *fakeRouter) {
			r.answer(t, "5351", portControlOf(natpmpOnly, func([]byte) [][]byte { return [][]byte{natpmpReply("20.0.0.8")} }))
		}, "20.0.0.8"},
		{"UPnP 1", func(t *testing.T, r *fakeRouter) {
			r.serve(t, igd("urn:schemas-upnp-org:service:WANIPConnection:1", "20.0.0.9"))
			r.answer(t, "1900", func([]byte) [][]byte { return [][]byte{searchReply("http://" + r.web + "/root.xml")} })
		}, "20.0.0.9"},
		{"UPnP 2 after PCP has no resources", func(t *testing.T, r *fakeRouter) {
			refuse := func(q []byte) [][]byte { a := pcpReplyTo(q, "20.0.0.1"); a[3] = 8; return [][]byte{a} }
			r.answer(t, "5351", portControlOf(refuse, func([]byte) [][]byte { return [][]byte{{0, 128, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0}} }))
			r.serve(t, igd("urn:schemas-upnp-org:service:WANIPConnection:2", "20.0.0.9"))
			r.answer(t, "1900", func([]byte) [][]byte { return [][]byte{searchReply("http://" + r.web + "/root.xml")} })
		}, "20.0.0.9"},
		{"shared address", func(t *testing.T, r *fakeRouter) {
			r.answer(t, "5351", portControlOf(natpmpOnly, func([]byte) [][]byte { return [][]byte{natpmpReply("100.64.1.1")} }))
		}, "behind CGNAT"},
		{"private address", func(t *testing.T, r *fakeRouter) {
			r.serve(t, igd("urn:schemas-upnp-org:service:WANPPPConnection:1", "192.168.0.2"))
			r.answer(t, "1900", func([]byte) [][]byte { return [][]byte{searchReply("http://" + r.web + "/root.xml")} })
		}, "behind NAT"},
		{"no address at all", func(t *testing.T, r *fakeRouter) {
			r.answer(t, "5351", portControlOf(natpmpOnly, func([]byte) [][]byte { return [][]byte{natpmpReply("0.0.0.0")} }))
		}, "knows no address now"},
		{"nothing", func(*testing.T, *fakeRouter) {}, "tells no address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			test.build(t, r)
			s := &router{gateway: func() (netip.Addr, error) { return r.addr, nil }}
			got, err := s.Find(t.Context(), agent.IPv4)
			want, parseErr := netip.ParseAddr(test.want)
			switch {
			case parseErr == nil && (err != nil || got.Addr != want):
				t.Errorf("got %v, %v; want %s", got, err, want)
			case parseErr != nil && (err == nil || got.Addr.IsValid() || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, %v; want an error that says %q", got, err, test.want)
			case errors.Is(err, agent.ErrNone) != strings.HasPrefix(test.want, "behind"):
				t.Errorf("%v: is it ErrNone?", err)
			}
		})
	}
}

// TestPCPMappingIsRemoved: the mapping that was made to learn the address does
// not stay.
func TestPCPMappingIsRemoved(t *testing.T) {
	r := newRouter(t)
	lifetimes := make(chan uint32, 2)
	nonces := make(chan string, 2)
	r.answer(t, "5351", func(q []byte) [][]byte {
		lifetimes <- binary.BigEndian.Uint32(q[4:])
		nonces <- string(q[24:44])
		return [][]byte{pcpReplyTo(q, "20.0.0.7")}
	})
	if _, err := askPCP(t.Context(), r.addr); err != nil {
		t.Fatal(err)
	}
	if made, removed := <-lifetimes, <-lifetimes; made != mapLifetime || removed != 0 {
		t.Errorf("lifetimes %d, then %d", made, removed)
	}
	if made, removed := <-nonces, <-nonces; made != removed {
		t.Error("another mapping is removed than was made")
	}
}

// TestPortControlHostile: what is no answer of the router to this request is
// passed over, and the true answer behind it is taken.
func TestPortControlHostile(t *testing.T) {
	change := func(at int, value byte) func([]byte) []byte {
		return func(q []byte) []byte { a := pcpReplyTo(q, "20.6.6.6"); a[at] = value; return a }
	}
	stranger, err := net.ListenPacket("udp4", "127.88.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for name, lie := range map[string]func(q []byte) []byte{
		"nonce":           change(24, 0xff),
		"port":            change(41, 0),
		"protocol":        change(36, 6),
		"opcode":          change(1, 0x82),
		"a request":       func(q []byte) []byte { return q },
		"short":           func(q []byte) []byte { return pcpReplyTo(q, "20.6.6.6")[:59] },
		"not of fours":    func(q []byte) []byte { return append(pcpReplyTo(q, "20.6.6.6"), 0) },
		"too long":        func(q []byte) []byte { return append(pcpReplyTo(q, "20.6.6.6"), make([]byte, 1044)...) },
		"empty":           func([]byte) []byte { return nil },
		"refusal, forged": func(q []byte) []byte { a := pcpReplyTo(q, "20.6.6.6"); a[3], a[30] = 2, a[30]+1; return a },
	} {
		t.Run("PCP "+name, func(t *testing.T) {
			r := newRouter(t)
			r.answer(t, "5351", func(q []byte) [][]byte { return [][]byte{lie(q), pcpReplyTo(q, "20.0.0.7")} })
			if got, err := askPCP(t.Context(), r.addr); err != nil || got.String() != "20.0.0.7" {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	for name, lie := range map[string][]byte{
		"opcode":  {0, 129, 0, 0, 0, 0, 0, 9, 20, 6, 6, 6},
		"version": {1, 128, 0, 0, 0, 0, 0, 9, 20, 6, 6, 6},
		"short":   {0, 128, 0, 0, 0, 0, 0, 9, 20, 6, 6},
		"long":    {0, 128, 0, 0, 0, 0, 0, 9, 20, 6, 6, 6, 6},
		"empty":   {},
	} {
		t.Run("NAT-PMP "+name, func(t *testing.T) {
			r := newRouter(t)
			r.answer(t, "5351", func([]byte) [][]byte { return [][]byte{lie, natpmpReply("20.0.0.7")} })
			if got, err := askNATPMP(t.Context(), r.addr); err != nil || got.String() != "20.0.0.7" {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	t.Run("another source", func(t *testing.T) {
		r := newRouter(t)
		conn, err := dialGateway(t.Context(), r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := stranger.WriteTo(natpmpReply("20.6.6.6"), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		r.answer(t, "5351", func([]byte) [][]byte { return [][]byte{natpmpReply("20.0.0.7")} })
		var first []byte
		if err := exchange(t.Context(), conn, []byte{0, 0}, func(reply []byte) bool { first = slices.Clone(reply); return true }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(first, natpmpReply("20.0.0.7")) {
			t.Errorf("the stranger's answer is taken: %x", first)
		}
	})
	t.Run("silence, then the end", func(t *testing.T) {
		r := newRouter(t)
		ctx, cancel := context.WithCancel(t.Context())
		r.answer(t, "5351", func([]byte) [][]byte { cancel(); return nil })
		s := &router{gateway: func() (netip.Addr, error) { return r.addr, nil }}
		if got, err := s.Find(ctx, agent.IPv4); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// TestUPnPHostile: a gateway, or who speaks in its name, gets no address past
// us and sends us nowhere else.
func TestUPnPHostile(t *testing.T) {
	elsewhere := newRouter(t)
	elsewhere.serve(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reaches another device", r.Method, r.URL)
	})
	const service = "urn:schemas-upnp-org:service:WANIPConnection:1"
	bodies := func(description, soap string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				fmt.Fprint(w, description)
				return
			}
			fmt.Fprint(w, soap)
		}
	}
	good := descriptionOf(service, "/ctl")
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"description of 10 MB": {bodies(strings.Repeat("<root>", 10<<20/6), ""), "more than"},
		"SOAP of 10 MB":        {bodies(good, strings.Repeat(" ", 10<<20)), "more than"},
		"entity bomb":          {bodies(`<!DOCTYPE r [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><root><device>&b;</device></root>`, ""), "description"},
		"no XML":               {bodies("go away", ""), "description"},
		"no WAN connection":    {bodies(descriptionOf("urn:schemas-upnp-org:service:Layer3Forwarding:1", "/x"), ""), "no WAN connection"},
		"control elsewhere":    {bodies(descriptionOf(service, "http://"+elsewhere.web+"/ctl"), soapOf("20.6.6.6")), "not its own address"},
		"control by name":      {bodies(descriptionOf(service, "http://localhost/ctl"), soapOf("20.6.6.6")), "not its own address"},
		"base elsewhere":       {bodies(strings.Replace(good, "<device>", "<URLBase>http://"+elsewhere.web+"</URLBase><device>", 1), ""), "not its own address"},
		"redirect":             {http.RedirectHandler("http://"+elsewhere.web+"/", http.StatusFound).ServeHTTP, "status 302"},
		"redirect to itself":   {http.RedirectHandler("/", http.StatusFound).ServeHTTP, "status 302"},
		"fault": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusInternalServerError)
			}
			fmt.Fprint(w, good)
		}, "status 500"},
		"two addresses":            {bodies(good, soapOf("20.6.6.6</NewExternalIPAddress><NewExternalIPAddress>20.6.6.7")), "2 addresses"},
		"no address":               {bodies(good, soapOf("")), "names no address"},
		"IPv6 address":             {bodies(good, soapOf("2a01:100::1")), "not an IPv4 address"},
		"not connected":            {bodies(good, soapOf("0.0.0.0")), "names no address"},
		"an answer to another ask": {bodies(good, strings.ReplaceAll(soapOf("20.6.6.6"), "GetExternalIPAddress", "GetStatusInfo")), "0 addresses"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			r.serve(t, test.handler)
			r.answer(t, "1900", func([]byte) [][]byte {
				return [][]byte{nil, []byte("NOTIFY * HTTP/1.1\r\n\r\n"), searchReply("http://" + elsewhere.web + "/"), searchReply("http://" + r.web + "/root.xml")}
			})
			if got, err := askUPnP(t.Context(), r.addr); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %s, %v; want an error that says %q", got, err, test.want)
			}
		})
	}
	t.Run("one octet and no more", func(t *testing.T) {
		t.Parallel()
		r := newRouter(t)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		r.serve(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "<")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		r.answer(t, "1900", func([]byte) [][]byte { return [][]byte{searchReply("http://" + r.web + "/root.xml")} })
		if got, err := askUPnP(ctx, r.addr); err == nil {
			t.Errorf("got %s", got)
		}
	})
}
