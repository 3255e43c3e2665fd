package httpserver

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// The files are looked at once a minute at most, and a failure is told once.
func TestCertificateRefresh(t *testing.T) {
	var log strings.Builder
	now := time.Unix(1767225600, 0)
	c := &Certificate{certFile: "/nonexistent/cert.pem", keyFile: "/nonexistent/key.pem", now: func() time.Time { return now },
		log: slog.New(slog.NewTextHandler(&log, nil)), checked: now}
	old := &tls.Certificate{}
	c.current.Store(old)
	get := c.Config().GetCertificate
	tell := func(want int) {
		t.Helper()
		if got, _ := get(nil); got != old {
			t.Error("the old certificate is not served")
		}
		if got := strings.Count(log.String(), "cannot be used"); got != want {
			t.Errorf("told %d times, want %d", got, want)
		}
	}
	tell(0)
	now = now.Add(checkEvery)
	tell(1)
	tell(1)
	now = now.Add(checkEvery)
	tell(2)
}
