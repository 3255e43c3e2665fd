package httpserver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/internal/signature"
)

// BenchmarkSigned is what the server does for one signed update, by the handler
// and a real store, the verification included; making the signature is not.
//
// changed is an update that moves the host, unchanged one that names what is
// there, as an agent at rest sends, and mark one that names no address and so
// moves the key's mark. One device sends one after the other, or 64 at once.
func BenchmarkSigned(b *testing.B) {
	for _, c := range []struct {
		name   string
		bodies [2]string // in turn
	}{
		{"changed", [2]string{`{"a":["192.0.2.1"]}`, `{"a":["192.0.2.2"]}`}},
		{"unchanged", [2]string{`{"a":["192.0.2.1"]}`, `{"a":["192.0.2.1"]}`}},
		{"mark", [2]string{`{}`, `{}`}},
	} {
		for _, devices := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", c.name, devices), func(b *testing.B) { benchSigned(b, devices, c.bodies) })
		}
	}
}

func benchSigned(b *testing.B, devices int, bodies [2]string) {
	r := newRig(b)
	settings := anyAddress()
	settings.Free = on()
	type sender struct {
		device
		*signature.Signer
		requests [4]*http.Request
	}
	senders := make([]sender, devices)
	for i := range senders {
		d := r.join(fmt.Sprintf("host%d.%s", i, zone), settings)
		if w := d.put("192.0.2.1", bodies[1], 0); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
		s, err := signature.NewSigner(d.id, d.key)
		if err != nil {
			b.Fatal(err)
		}
		senders[i] = sender{device: d, Signer: s}
	}
	sign := func(s *sender, body string) *http.Request {
		path := s.path() + "/addresses"
		made, err := http.NewRequest("PUT", "https://"+server+path, nil)
		if err == nil {
			err = s.Sign(made, []byte(body), r.now.Now())
		}
		if err != nil {
			b.Fatal(err)
		}
		req := httptest.NewRequest("PUT", path, strings.NewReader(body))
		req.Host, req.Header, req.RemoteAddr = server, made.Header, "192.0.2.1:40000"
		return req
	}
	handler := r.server.Public()
	r.now.Move(time.Second)
	b.ReportAllocs()
	var spent time.Duration
	n := 0
	for n < b.N {
		b.StopTimer()
		for i := range senders {
			for j := range senders[i].requests {
				senders[i].requests[j] = sign(&senders[i], bodies[j%2])
			}
		}
		// What they sign is in order, and not of the future when it comes.
		r.now.Move(time.Duration(len(senders[0].requests)) * time.Second)
		before := cpu()
		b.StartTimer()
		var group sync.WaitGroup
		for i := range senders {
			group.Go(func() {
				w := &discard{h: http.Header{}}
				for _, req := range senders[i].requests {
					clear(w.h)
					if handler.ServeHTTP(w, req); w.status != http.StatusOK {
						b.Error(w.status)
					}
				}
			})
		}
		group.Wait()
		spent += cpu() - before
		n += devices * len(senders[0].requests)
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(n), "cpu-µs/op")
}
