package source_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"godwit/internal/agent"
)

// page serves a page at an address of the loopback.
func page(t *testing.T, addr string, certificate *tls.Certificate, configure func(*tls.Config), handler http.HandlerFunc) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Listener.Close()
	server.Listener = listener
	if certificate != nil {
		server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		if configure != nil {
			configure(server.TLS)
		}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.URL + "/ip"
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func TestWeb(t *testing.T) {
	good := says("20.0.0.7\n")
	var secondRequests atomic.Int32
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"one address": {good, "20.0.0.7"},
		"address in a header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Your-Address", "20.0.0.7")
			w.Header().Set("Content-Length", "0")
		}, "not one address"},
		"HTML":                 {says("<html><body>Current IP Address: 20.0.0.7</body></html>"), "not one address"},
		"captive portal":       {says("<!DOCTYPE html>" + strings.Repeat("Welcome! ", 500)), "more than 64"},
		"two addresses":        {says("20.0.0.7\n20.0.0.8\n"), "not one address"},
		"two families":         {says("20.0.0.7,2a01:100::7"), "not one address"},
		"the other family":     {says("2a01:100::7"), "not an IPv4 address"},
		"with a port":          {says("20.0.0.7:80"), "not one address"},
		"with leading zeros":   {says("020.0.0.7"), "not one address"},
		"unspecified":          {says("0.0.0.0"), "knows no address"},
		"private":              {says("10.1.2.3"), "behind NAT"},
		"shared":               {says("100.100.1.1"), "behind CGNAT"},
		"loopback":             {says("127.0.0.1"), "loopback"},
		"documentation":        {says("192.0.2.7"), "documentation"},
		"mapped":               {says("::ffff:20.0.0.7"), "not an IPv4 address"},
		"empty":                {says(""), "not one address"},
		"10 MB":                {says(strings.Repeat(" ", 10<<20) + "20.0.0.7"), "more than 64"},
		"64 octets with space": {says("20.0.0.7" + strings.Repeat(" ", 56)), "20.0.0.7"},
		"65 octets":            {says("20.0.0.7" + strings.Repeat(" ", 57)), "more than 64"},
		"large headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 64 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1024))
			}
			good(w, nil)
		}, "headers exceeded"},
		"server error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			good(w, nil)
		}, "status 500"},
		"too many requests": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			good(w, nil)
		}, "status 429"},
		"created": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated); good(w, nil) }, "status 201"},
		"truncated": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "20.0.0.7")
		}, "unexpected EOF"},
		"reset": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"redirect to itself": {func(w http.ResponseWriter, r *http.Request) {
			if secondRequests.Add(1) > 1 {
				t.Error("a redirect is followed")
			}
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			good(w, nil)
		}, "status 302"},
		"compressed without being asked": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "\x1f\x8b\x08")
		}, "not one address"},
	} {
		t.Run(name, func(t *testing.T) {
			checkFind(t, newSource(t, "web "+page(t, "127.0.0.1", nil, nil, test.handler)), agent.IPv4, test.want)
		})
	}
	t.Run("one octet and no more", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		url := page(t, "127.0.0.1", nil, nil, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "20.0.0.7")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		if got, err := newSource(t, "web "+url).Find(ctx, agent.IPv4); err == nil {
			t.Errorf("got %v", got)
		}
	})
	t.Run("IPv6", func(t *testing.T) {
		checkFind(t, newSource(t, "web "+page(t, "::1", nil, nil, says("2a01:100::7"))), agent.IPv6, "2a01:100::7")
	})
	t.Run("another family than the page's", func(t *testing.T) {
		checkFind(t, newSource(t, "web "+page(t, "127.0.0.1", nil, nil, good)), agent.IPv6, "no suitable address")
	})
	t.Run("proxy", func(t *testing.T) {
		t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
		t.Setenv("NO_PROXY", "")
		checkFind(t, newSource(t, "web "+page(t, "127.0.0.2", nil, nil, good)), agent.IPv4, "20.0.0.7")
	})
}

func TestWebCertificates(t *testing.T) {
	tomorrow, yesterday := time.Now().Add(20*time.Hour), time.Now().Add(-20*time.Hour)
	stranger := newAuthority()
	for name, test := range map[string]struct {
		certificate tls.Certificate
		configure   func(*tls.Config)
		want        string
	}{
		"good":         {authority.sign(t, "127.0.0.1", tomorrow), nil, "20.0.0.7"},
		"expired":      {authority.sign(t, "127.0.0.1", yesterday), nil, "expired"},
		"another name": {authority.sign(t, "127.0.0.9", tomorrow), nil, "valid for 127.0.0.9"},
		"not trusted":  {stranger.sign(t, "127.0.0.1", tomorrow), nil, "unknown authority"},
		"TLS 1.1 and no more": {authority.sign(t, "127.0.0.1", tomorrow), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
			"protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			url := page(t, "127.0.0.1", &test.certificate, test.configure, says("20.0.0.7"))
			checkFind(t, newSource(t, "web "+url), agent.IPv4, test.want)
		})
	}
	t.Run("redirect to http", func(t *testing.T) {
		certificate := authority.sign(t, "127.0.0.1", tomorrow)
		plain := page(t, "127.0.0.1", nil, nil, says("20.0.0.7"))
		url := page(t, "127.0.0.1", &certificate, nil, http.RedirectHandler(plain, http.StatusMovedPermanently).ServeHTTP)
		checkFind(t, newSource(t, "web "+url), agent.IPv4, "status 301")
	})
}

// TestWebQuorum: one page is believed alone; of several, two must agree.
func TestWebQuorum(t *testing.T) {
	for name, test := range map[string]struct {
		pages []string
		want  string
		note  string
	}{
		"two agree":                      {[]string{"20.0.0.7", "20.0.0.7"}, "20.0.0.7", ""},
		"two of three, one is down":      {[]string{"", "20.0.0.7", "20.0.0.7"}, "20.0.0.7", ""},
		"two of three, the first lies":   {[]string{"20.6.6.6", "20.0.0.7", "20.0.0.7"}, "20.0.0.7", "127.0.0.1"},
		"two of three, the second lies":  {[]string{"20.0.0.7", "20.6.6.6", "20.0.0.7"}, "20.0.0.7", "127.0.0.2"},
		"the third is not needed":        {[]string{"20.0.0.7", "20.0.0.7", "20.6.6.6"}, "20.0.0.7", ""},
		"one of two":                     {[]string{"20.0.0.7", ""}, "no two pages agree", ""},
		"two differ":                     {[]string{"20.0.0.7", "20.0.0.8"}, "no two pages agree", ""},
		"three differ":                   {[]string{"20.0.0.7", "20.0.0.8", "20.0.0.9"}, "127.0.0.3:", ""},
		"two private ones are not heard": {[]string{"10.0.0.7", "10.0.0.7", "20.0.0.9"}, "no two pages agree", ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := "web"
			for i, text := range test.pages {
				spec += " " + page(t, fmt.Sprintf("127.0.0.%d", i+1), nil, nil, func(w http.ResponseWriter, _ *http.Request) {
					if text == "" {
						w.WriteHeader(http.StatusServiceUnavailable)
					}
					fmt.Fprint(w, text)
				})
			}
			s := newSource(t, spec)
			checkFind(t, s, agent.IPv4, test.want)
			got, err := s.Find(t.Context(), agent.IPv4)
			if errors.Is(err, agent.ErrNone) {
				t.Errorf("%v is ErrNone, on the word of one page", err)
			}
			if !strings.Contains(got.Note, test.note) || (got.Note == "") != (test.note == "") {
				t.Errorf("note %q; want one that names %q", got.Note, test.note)
			}
		})
	}
}

// TestWebQueryStaysInside: a query may hold a secret, which no message shows.
func TestWebQueryStaysInside(t *testing.T) {
	s := newSource(t, "web http://127.0.0.1:1/ip?token=hush#hush")
	_, err := s.Find(t.Context(), agent.IPv4)
	if err == nil || strings.Contains(s.Name()+err.Error(), "hush") {
		t.Errorf("%s: %v", s.Name(), err)
	}
}
