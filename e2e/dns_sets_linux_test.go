package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"codeberg.org/miekg/dns"
)

// setHost is a host whose addresses all carry the number of the update that set
// them.
type setHost struct {
	name, token        string
	sent, acknowledged atomic.Int64
}

// setAddresses are the addresses of the n-th update by family, n from 1.
func setAddresses(n int64) (a, aaaa []string) {
	for i := range 4 {
		a = append(a, fmt.Sprintf("10.%d.%d.%d", i, n>>8, n&255))
		aaaa = append(aaaa, fmt.Sprintf("2001:db8:%x::%x", i+1, n))
	}
	return a, aaaa
}

// TestWholeSets sets eight addresses of a host at a time, again and again, while
// others ask for them by UDP and TCP: each answer is the whole of one update, none
// that is older than what was acknowledged before the question, and the question
// after an acknowledgement sees it.
func TestWholeSets(t *testing.T) {
	updates := int64(250)
	if long() {
		updates = 25_000
	}
	d := serve(t, launch{args: openLimits})
	var hosts []*setHost
	for i := range 4 {
		h := &setHost{name: fmt.Sprintf("sets%d.%s", i, zone)}
		var made struct{ Token string }
		if err := json.Unmarshal([]byte(d.mustGodwit(t, "host", "add", h.name, "--addresses", "any", "--source", "free", "--json")), &made); err != nil {
			t.Fatal(err)
		}
		h.token = made.Token
		hosts = append(hosts, h)
	}
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			conn, err := net.Dial(network, v4(d.ports.dns))
			if err != nil {
				t.Fatal(err)
			}
			res := &resolver{conn: conn, dns: dns.NewClient()}
			res.dns.ReadTimeout = patience
			defer res.close()
			readers.Go(func() {
				for i := 0; !stop.Load(); i++ {
					if err := hosts[i%len(hosts)].look(res, qtype); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	for _, h := range hosts {
		writers.Go(func() {
			if err := h.write(d, updates); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
}

// write makes so many updates, and asks after each.
func (h *setHost) write(d *daemon, updates int64) error {
	res, err := newResolver(d.ports.dns)
	if err != nil {
		return err
	}
	defer res.close()
	for n := int64(1); n <= updates; n++ {
		a, aaaa := setAddresses(n)
		all := strings.Join(append(a, aaaa...), ",")
		req, err := http.NewRequest("GET", d.url()+"nic/update?"+url.Values{"hostname": {h.name}, "myip": {all}}.Encode(), nil)
		if err != nil {
			return err
		}
		req.SetBasicAuth(h.name, h.token)
		h.sent.Store(n)
		reply, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		if err != nil || !strings.HasPrefix(string(body), "good ") {
			return fmt.Errorf("update %d of %s: %s %q, %v", n, h.name, reply.Status, body, err)
		}
		h.acknowledged.Store(n)
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if err := h.look(res, qtype); err != nil {
				return err
			}
		}
	}
	return nil
}

// look asks for the addresses of one family, which must be those of one update
// that is not older than the last acknowledged one.
func (h *setHost) look(res *resolver, qtype uint16) error {
	least := h.acknowledged.Load()
	reply, err := res.ask(h.name, qtype)
	if err != nil {
		return err
	}
	most := h.sent.Load()
	shown := map[string]bool{}
	for _, rr := range reply.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			shown[rr.Addr.String()] = true
		case *dns.AAAA:
			shown[rr.Addr.String()] = true
		}
	}
	for n := least; n <= most; n++ {
		if n == 0 && len(shown) == 0 {
			return nil
		}
		want, aaaa := setAddresses(n)
		if qtype == dns.TypeAAAA {
			want = aaaa
		}
		same := len(shown) == len(want)
		for _, addr := range want {
			same = same && shown[addr]
		}
		if same {
			return nil
		}
	}
	return fmt.Errorf("%s between updates %d and %d: %v", h.name, least, most, shown)
}
