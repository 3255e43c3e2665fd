package lambdaserver_test

import (
	"context"
	"net/http"
	"testing"

	"godwit/internal/awstest"
	"godwit/internal/lambdaserver"
)

// An event into a request and an answer out of it, with nothing done in between.
func BenchmarkInvoke(b *testing.B) {
	s := newServer(b, lambdaserver.Config{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write([]byte(`{"return_status": "success", "return_message": "192.0.2.1"}`))
	})})
	event := awstest.URLRequest{Source: "2001:db8::1", Body: `{"execution_mode":"get"}`}.Event()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Invoke(context.Background(), event); err != nil {
			b.Fatal(err)
		}
	}
}
