package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkDyndns2 is one host's update as a router sends it, by way of the
// handler alone.
func BenchmarkDyndns2(b *testing.B) {
	o := newRouterRig(b)
	o.reset()
	for _, c := range []struct{ name, query string }{
		{"unchanged", "hostname=" + host1 + "&myip=192.0.2.1"},
		{"two hosts", "hostname=" + host1 + "," + host2 + "&myip=192.0.2.1"},
	} {
		b.Run(c.name, func(b *testing.B) {
			req := httptest.NewRequest("GET", "/nic/update?"+c.query, nil)
			req.RemoteAddr = home + ":40000"
			req.SetBasicAuth("admin", o.tokens["both"])
			req.Header.Set("User-Agent", "ddclient/3.10.0")
			handler, w := o.server.Public(), &discard{h: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				handler.ServeHTTP(w, req)
				if w.status != 200 {
					b.Fatal(w.status)
				}
			}
		})
	}
}
