package httpserver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// bench measures the handler alone: the request is used again and the answer is
// thrown away, so that what is counted is ours and the store's.
func bench(b *testing.B, r *rig, body func(i int) string) {
	req := httptest.NewRequest("POST", "/", nil)
	req.RemoteAddr = home + ":40000"
	handler := r.server.Public()
	reader := strings.NewReader("")
	req.Body = io.NopCloser(reader)
	w := &discard{h: http.Header{}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		text := body(i)
		reader.Reset(text)
		req.ContentLength = int64(len(text))
		clear(w.h)
		handler.ServeHTTP(w, req)
		if w.status/100 != 2 {
			b.Fatal(w.status)
		}
	}
}

type discard struct {
	h      http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
