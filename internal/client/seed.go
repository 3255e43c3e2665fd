package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"godwit/internal/api"
)

// Seed makes the seed's two requests to a server's public door, or to the
// seed's own Function URL. No secret is sent, only a hash that is good for the
// caller's present address. The zero value but for URL is ready to use.
type Seed struct {
	URL string // of the server, http or https; required
	// Network is "tcp4" or "tcp6" to go over that family. "": either.
	Network string
	// Local is the address to send from. Zero: the system's choice.
	Local netip.Addr
	// RootCAs sign the server's certificate. nil: the system's.
	RootCAs *x509.CertPool
	// Timeout of one request. 0: 30 seconds.
	Timeout time.Duration
}

// Get asks for the address that this program's requests come from.
func (s Seed) Get(ctx context.Context) (netip.Addr, error) {
	h, err := s.client()
	if err != nil {
		return netip.Addr{}, err
	}
	defer h.CloseIdleConnections()
	text, err := s.get(ctx, h)
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(text)
}

// Set gives a host the address that this program's requests come from. message
// is the server's own; changed tells whether the host had another address.
func (s Seed) Set(ctx context.Context, host, secret string) (message string, changed bool, err error) {
	h, err := s.client()
	if err != nil {
		return "", false, err
	}
	defer h.CloseIdleConnections()
	source, err := s.get(ctx, h)
	if err != nil {
		return "", false, err
	}
	// The hash is made over the server's own spelling of the address.
	sum := sha256.Sum256([]byte(source + host + secret))
	a, status, err := s.post(ctx, h, seedRequest{Mode: "set", Host: host, Hash: hex.EncodeToString(sum[:])})
	if err != nil {
		return "", false, err
	}
	return a.Message, status == http.StatusCreated, nil
}

func (s Seed) get(ctx context.Context, h *http.Client) (string, error) {
	a, _, err := s.post(ctx, h, seedRequest{Mode: "get"})
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(a.Message); err != nil {
		return "", fmt.Errorf("%s did not answer with an address; is it the URL of a godwit server?", s.URL)
	}
	return a.Message, nil
}

type seedRequest struct {
	Mode string `json:"execution_mode"`
	Host string `json:"ddns_hostname,omitempty"`
	Hash string `json:"validation_hash,omitempty"`
}

type seedAnswer struct {
	Status  string `json:"return_status"`
	Message string `json:"return_message"`
}

func (s Seed) client() (*http.Client, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("URL %q is not understood; write it as https://ddns.example.com", s.URL)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if s.Local.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: s.Local.AsSlice(), Zone: s.Local.Zone()}
	}
	t := newTransport(s.RootCAs)
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if s.Network != "" {
			network = s.Network
		}
		return dialer.DialContext(ctx, network, addr)
	}
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	return &http.Client{Transport: t, CheckRedirect: refuseRedirect, Timeout: timeout}, nil
}

func (s Seed) post(ctx context.Context, h *http.Client, in seedRequest) (seedAnswer, int, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return seedAnswer{}, 0, fmt.Errorf("write the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return seedAnswer{}, 0, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	r, err := h.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		if in.Mode == "set" {
			return seedAnswer{}, 0, fmt.Errorf("could not confirm that %s was set (%w); run it again: a second time does no harm", in.Host, err)
		}
		return seedAnswer{}, 0, fmt.Errorf("ask %s: %w; check the URL and that the server runs", s.URL, err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return seedAnswer{}, 0, fmt.Errorf("read the answer of %s: %w; try again", s.URL, err)
	}
	var a seedAnswer
	if json.Unmarshal(data, &a) != nil || a.Status == "" {
		return seedAnswer{}, 0, &api.Problem{Status: r.StatusCode, Title: http.StatusText(r.StatusCode),
			Detail: fmt.Sprintf("%s answered %s, not as a godwit server does", s.URL, r.Status), Help: "check the URL"}
	}
	if a.Status != "success" || r.StatusCode/100 != 2 {
		return seedAnswer{}, 0, seedProblem(r, a)
	}
	return a, r.StatusCode, nil
}

// seedProblem gives a refusal of the seed's door the code that the other doors
// have for it, and what to do.
func seedProblem(r *http.Response, a seedAnswer) error {
	p := &api.Problem{Status: r.StatusCode, Title: http.StatusText(r.StatusCode), Detail: strings.TrimSuffix(a.Message, ".")}
	switch r.StatusCode {
	case http.StatusBadRequest:
		p.Code, p.Help = "malformed", "check the host name and that the URL is the server's"
	case http.StatusUnauthorized:
		p.Code, p.Help = "bad-proof", "check the host name and the secret, and that the host's seed proof is on"
	case http.StatusForbidden:
		p.Code, p.Help = "address-not-allowed", "ask the operator: godwit host show NAME, godwit host set NAME --addresses any"
	case http.StatusTooManyRequests:
		p.Code, p.Help = "rate-limited", "wait a little"
	case http.StatusInternalServerError:
		p.Code, p.Help = "unavailable", "it is stored and will be published; look again in a minute"
	case http.StatusServiceUnavailable:
		p.Code, p.Help = "unavailable", "run it again in a minute"
	}
	return p
}
