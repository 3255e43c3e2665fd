//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/api"
	"godwit/internal/client"
)

// seedHash is the seed's proof, made here a second time on purpose: what the
// program calls right is not our judge.
func seedHash(source, host, secret string) string {
	sum := sha256.Sum256([]byte(source + host + secret))
	return hex.EncodeToString(sum[:])
}

func seedBody(host, hash string) string {
	return fmt.Sprintf(`{"execution_mode":"set","ddns_hostname":%q,"validation_hash":%q}`, host, hash)
}

const (
	matches = `{"return_status": "success", "return_message": "Your IP address matches the current Route53 DNS record."}`
	badHash = `{"return_status": "fail", "return_message": "Validation hashes do not match."}`
	later   = `{"return_status": "fail", "return_message": "Temporarily unavailable. Try again later."}`
)

func hasBeenSet(host, address string) string {
	return fmt.Sprintf(`{"return_status": "success", "return_message": "Your hostname record %s. has been set to %s"}`, host, address)
}

// caller sends requests from one address, over one connection as long as that lives.
type caller struct {
	source string
	url    string
	http   *http.Client
	// forwardedFor, if not empty, is whom the caller says to be a proxy for.
	forwardedFor string
}

func newCaller(source, url string) *caller {
	local := &net.TCPAddr{IP: netip.MustParseAddr(source).AsSlice()}
	return &caller{source: source, url: url, http: &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{LocalAddr: local, Timeout: patience}).DialContext,
			MaxIdleConnsPerHost: 1,
			MaxConnsPerHost:     1,
			DisableCompression:  true,
		},
	}}
}

func (c *caller) close() { c.http.CloseIdleConnections() }

type answer struct {
	status int
	body   string
	header http.Header
}

func (c *caller) post(body string) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.forwardedFor != "" {
		req.Header.Set("X-Forwarded-For", c.forwardedFor)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return answer{res.StatusCode, string(data), res.Header}, err
}

// update is the seed's "set" from the caller's address.
func (c *caller) update(host, secret string) (answer, error) {
	return c.post(seedBody(host, seedHash(c.source, host, secret)))
}

// updateFrom is one update on a connection of its own.
func (d *daemon) updateFrom(source, host, secret string) (answer, error) {
	url := d.url()
	if strings.Contains(source, ":") {
		url = "http://" + v6(d.ports.http) + "/"
	}
	c := newCaller(source, url)
	defer c.close()
	return c.update(host, secret)
}

// resolver asks one server over UDP from one socket. Not for concurrent use.
type resolver struct {
	conn   net.Conn
	dns    *dns.Client
	id     uint16
	cookie string // in hexadecimal: the client's, and the server's as it came last
}

func newResolver(port int) (*resolver, error) {
	conn, err := net.Dial("udp", v4(port))
	if err != nil {
		return nil, err
	}
	r := &resolver{conn: conn, dns: dns.NewClient()}
	r.dns.ReadTimeout = 5 * time.Second
	return r, nil
}

func (r *resolver) close() { r.conn.Close() }

// ask asks with a cookie, and once more if the server wants its own one in it, as
// it does before it sends large answers by UDP.
func (r *resolver) ask(name string, qtype uint16) (res *dns.Msg, err error) {
	if r.cookie == "" {
		r.cookie = "0123456789abcdef"
	}
	for range 2 {
		m := dns.NewMsg(name, qtype)
		r.id++
		m.ID, m.RecursionDesired, m.UDPSize = r.id, false, 1232
		m.Pseudo = []dns.RR{&dns.COOKIE{Cookie: r.cookie}}
		if res, _, err = r.dns.ExchangeWithConn(context.Background(), m, r.conn); err != nil {
			return nil, fmt.Errorf("ask for %s: %w", name, err)
		}
		for _, option := range res.Pseudo {
			if c, ok := option.(*dns.COOKIE); ok {
				r.cookie = c.Cookie
			}
		}
		if res.Rcode != dns.RcodeBadCookie {
			break
		}
	}
	return res, nil
}

// addresses are the A records that a host has now, space between them; "" for none.
func (r *resolver) addresses(name string) (string, error) {
	res, err := r.ask(name, dns.TypeA)
	if err != nil {
		return "", err
	}
	// A host without an address is no name in DNS.
	if res.Rcode != dns.RcodeSuccess && res.Rcode != dns.RcodeNameError {
		return "", fmt.Errorf("ask for %s: %s", name, dns.RcodeToString[res.Rcode])
	}
	var list []string
	for _, rr := range res.Answer {
		if a, ok := rr.(*dns.A); ok {
			list = append(list, a.Addr.String())
		}
	}
	return strings.Join(list, " "), nil
}

func (r *resolver) serial(apex string) (uint32, error) {
	res, err := r.ask(apex, dns.TypeSOA)
	if err != nil {
		return 0, err
	}
	for _, rr := range res.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial, nil
		}
	}
	return 0, fmt.Errorf("no SOA of %s in the answer (%s)", apex, dns.RcodeToString[res.Rcode])
}

// serialBack tells whether now is before seen (RFC 1982 section 3.2).
func serialBack(seen, now uint32) bool { return int32(now-seen) < 0 }

// admin is a client of the daemon's socket.
func (d *daemon) admin() (*client.Client, error) {
	return client.New(client.Config{Target: d.target(), Timeout: patience})
}

// hosts are all hosts by name.
func (d *daemon) hosts(ctx context.Context) (map[string]api.HostState, error) {
	c, err := d.admin()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	out := map[string]api.HostState{}
	for h, err := range c.Hosts(ctx) {
		if err != nil {
			return nil, err
		}
		out[h.Host] = h
	}
	return out, nil
}

// testHost is a host whose secret the test chose.
type testHost struct{ Name, Secret string }

func testHosts(prefix string, n int) []testHost {
	hosts := make([]testHost, n)
	for i := range hosts {
		name := prefix + strconv.Itoa(i) + "." + zone
		sum := sha256.Sum256([]byte("secret of " + name))
		hosts[i] = testHost{name, hex.EncodeToString(sum[:16])}
	}
	return hosts
}

// importFile is a document for `godwit host import`. address may be empty.
func importFile(hosts []testHost, address func(i int) string) []byte {
	type credential struct {
		Kind   string `json:"kind"`
		Secret string `json:"secret"`
	}
	type host struct {
		Name        string       `json:"name"`
		TTL         int          `json:"ttl"`
		Addresses   string       `json:"addresses"`
		A           []string     `json:"a,omitempty"`
		Credentials []credential `json:"credentials"`
	}
	doc := struct {
		Version int    `json:"godwit_export"`
		Hosts   []host `json:"hosts"`
	}{Version: 1}
	for i, h := range hosts {
		e := host{Name: h.Name, TTL: 60, Addresses: "any", Credentials: []credential{{"seed", h.Secret}}}
		if address != nil {
			e.A = []string{address(i)}
		}
		doc.Hosts = append(doc.Hosts, e)
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(doc); err != nil {
		panic(err) // plain strings and numbers
	}
	return b.Bytes()
}

// addHosts imports hosts that any address may be given.
func (d *daemon) addHosts(hosts []testHost) error {
	c, err := d.admin()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := c.Import(ctx, bytes.NewReader(importFile(hosts, nil)), client.ImportOptions{})
	if err == nil && got.Added != len(hosts) {
		err = fmt.Errorf("import of %d hosts added %d, skipped %v", len(hosts), got.Added, got.Skipped)
	}
	return err
}

func mustAddHosts(t testing.TB, d *daemon, hosts []testHost) {
	t.Helper()
	if err := d.addHosts(hosts); err != nil {
		t.Fatal(err)
	}
}
