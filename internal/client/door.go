package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"godwit/internal/api"
	"godwit/internal/dnsname"
)

// maxDoorAnswer bounds an answer of the public doors, in octets.
const maxDoorAnswer = 16 << 10

// DoorConfig is what a Door is made of.
type DoorConfig struct {
	// URL of the server, https or http, without a path. Required.
	URL string
	// Network is "tcp4" or "tcp6" to go over that family. "": either.
	Network string
	// Local is the address to send from. Zero: the system's choice.
	Local netip.Addr
	// Sign proves who sends a request, with this body: see signature.Signer. It
	// goes before Token.
	Sign func(r *http.Request, body []byte) error
	// Token is the bearer token of the host. It is sent over https, or to a
	// loopback address.
	Token string
	// RootCAs sign the server's certificate. nil: the system's.
	RootCAs *x509.CertPool
	// Time is what certificates are checked against. nil: the device's clock.
	Time func() time.Time
	// Timeout of one request with its answer. 0: 15 seconds.
	Timeout time.Duration
	// Transport, if not nil, carries the requests. For tests; it has to mind
	// Network itself.
	Transport http.RoundTripper
}

// Door speaks to a server's public doors as the owner of a host. An answer that
// is not from a godwit server, such as a captive portal's page, is an
// *api.Problem without a Code; no redirect is followed, no proxy of the
// environment is used, and what the server says is made fit for a terminal and
// rid of the token. Safe for concurrent use.
type Door struct {
	c    DoorConfig
	base string
	http *http.Client
}

// NewDoor returns a client of a server's doors. It connects to nothing yet.
func NewDoor(c DoorConfig) (*Door, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("the server's URL is not understood; write it as https://ddns.example.com")
	case c.Sign == nil && c.Token != "" && u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("%s would send the token in the clear; use https, or a key in place of the token (godwit agent join)", c.URL)
	}
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	d := &Door{c: c, base: u.Scheme + "://" + u.Host}
	transport := c.Transport
	if transport == nil {
		transport = d.transport()
	}
	d.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return d, nil
}

func (d *Door) transport() *http.Transport {
	t := newTransport(d.c.RootCAs)
	t.TLSClientConfig.Time = d.c.Time
	dialer := &net.Dialer{Timeout: d.c.Timeout}
	if d.c.Local.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: d.c.Local.AsSlice()}
	}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialer.DialContext(ctx, cmp.Or(d.c.Network, network), addr)
	}
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

// Close closes idle connections.
func (d *Door) Close() { d.http.CloseIdleConnections() }

// SetAddresses asks for a host's addresses to be these. The answer is of that
// host, has an outcome, and addresses of the right families.
func (d *Door) SetAddresses(ctx context.Context, host dnsname.Name, set api.SetAddresses) (api.Addresses, error) {
	var out api.Addresses
	err := d.call(ctx, http.MethodPut, api.HostPath+host.String()+api.AddressesPath, set, &out)
	if err == nil && out.Outcome != api.Changed && out.Outcome != api.Unchanged {
		err = d.strange(http.StatusOK, "an answer without an outcome")
	}
	return out, d.check(host, out, err)
}

// Addresses reads what a host's addresses are. No mark is set and nothing
// changes.
func (d *Door) Addresses(ctx context.Context, host dnsname.Name) (api.Addresses, error) {
	var out api.Addresses
	err := d.call(ctx, http.MethodGet, api.HostPath+host.String(), nil, &out)
	return out, d.check(host, out, err)
}

// Join turns a one-time code into a key for its host. Nothing proves who asks
// but the code.
func (d *Door) Join(ctx context.Context, join api.Join) (api.Joined, error) {
	var out api.Joined
	err := d.call(ctx, http.MethodPost, api.JoinPath, join, &out)
	if err == nil && (out.Host == "" || out.Credential == "") {
		err = d.strange(http.StatusOK, "an answer without a host")
	}
	return out, err
}

// ReplaceKey introduces the key that follows the one that signs the request.
func (d *Door) ReplaceKey(ctx context.Context, host dnsname.Name, key api.ReplaceKey) (api.Joined, error) {
	var out api.Joined
	err := d.call(ctx, http.MethodPost, api.HostPath+host.String()+api.KeyPath, key, &out)
	if err == nil && out.Credential == "" {
		err = d.strange(http.StatusOK, "an answer without a key")
	}
	return out, err
}

// Source asks which address this program's requests come from. It proves
// nothing and costs the server next to nothing.
func (d *Door) Source(ctx context.Context) (netip.Addr, error) {
	r, data, err := d.send(ctx, http.MethodGet, "/ip", nil, false)
	if err != nil {
		return netip.Addr{}, err
	}
	text := strings.TrimSpace(string(data))
	a, err := netip.ParseAddr(text)
	if err != nil || len(text) > 64 || a.Zone() != "" {
		return netip.Addr{}, d.strange(r.StatusCode, "something that is no address")
	}
	return a.Unmap(), nil
}

// check holds an answer to what it can be, so that a portal's JSON is not taken
// for the server's.
func (d *Door) check(host dnsname.Name, a api.Addresses, err error) error {
	if err != nil {
		return err
	}
	if named, err := dnsname.Parse(a.Host); err != nil || named != host {
		return d.strange(http.StatusOK, "an answer about another host")
	}
	for _, family := range []struct {
		list []netip.Addr
		four bool
	}{{a.A, true}, {a.AAAA, false}} {
		for _, addr := range family.list {
			if len(family.list) > 8 || addr.Is4() != family.four || addr.Is4In6() || addr.Zone() != "" {
				return d.strange(http.StatusOK, "an answer with addresses that no host has")
			}
		}
	}
	return nil
}

// call sends in as JSON and reads the answer into out.
func (d *Door) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
	}
	r, data, err := d.send(ctx, method, path, body, path != api.JoinPath)
	if err != nil {
		return err
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return d.strange(r.StatusCode, "something that is not JSON")
	}
	if json.Unmarshal(data, out) != nil {
		return d.strange(r.StatusCode, "JSON of another kind, or half of it")
	}
	return nil
}

// send returns an answer of status 200 or 201 with its whole body.
func (d *Door) send(ctx context.Context, method, path string, body []byte, prove bool) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d.c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("make the request: %w", err)
	}
	if method == http.MethodGet {
		req.Body, req.GetBody = nil, nil
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case !prove:
	case d.c.Sign != nil:
		if err := d.c.Sign(req, body); err != nil {
			return nil, nil, fmt.Errorf("sign the request: %w", err)
		}
	case d.c.Token != "":
		req.Header.Set("Authorization", "Bearer "+d.c.Token)
	}
	r, err := d.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its text repeats the URL
		}
		return nil, nil, &wayError{d.clean("reach " + d.base + ": " + err.Error()), err}
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusCreated {
		return nil, nil, d.problem(r)
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxDoorAnswer+1))
	switch {
	case err != nil:
		return nil, nil, &wayError{d.clean("read the answer of " + d.base + ": " + err.Error()), err}
	case len(data) > maxDoorAnswer:
		return nil, nil, d.strange(r.StatusCode, "more than any answer of a godwit server")
	}
	return r, data, nil
}

// wayError is what went wrong on the way. Its text is clean: what the standard
// library says of an answer that is no HTTP repeats it.
type wayError struct {
	text  string
	cause error
}

func (e *wayError) Error() string { return e.text }
func (e *wayError) Unwrap() error { return e.cause }

// problem reads a refusal, and takes from the header what its body lacks.
func (d *Door) problem(r *http.Response) error {
	var p *api.Problem
	if !errors.As(problem(r), &p) {
		return d.strange(r.StatusCode, "nothing")
	}
	if p.Code == "" {
		p.Detail = d.base + " answered " + strconv.Itoa(r.StatusCode) + ", not as a godwit server does"
		p.Help = "check the URL, and that nothing stands in between (a log-in page, a proxy)"
	}
	p.Code, p.Title, p.Detail, p.Help = d.clean(p.Code), d.clean(p.Title), d.clean(p.Detail), d.clean(p.Help)
	if date, err := http.ParseTime(r.Header.Get("Date")); err == nil && p.Now == 0 {
		p.Now = date.Unix()
	}
	after := r.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(after, 10, 32); err == nil {
		p.RetryAfter = seconds
	} else if at, err := http.ParseTime(after); err == nil && p.Now > 0 {
		p.RetryAfter = at.Unix() - p.Now
	}
	p.RetryAfter = max(p.RetryAfter, 0)
	return p
}

// strange is an answer that no godwit server gives.
func (d *Door) strange(status int, what string) error {
	return &api.Problem{Status: status, Title: http.StatusText(status),
		Detail: d.base + " answered " + what + ", not as a godwit server does",
		Help:   "check the URL, and that nothing stands in between (a log-in page, a proxy)"}
}

// clean makes a stranger's text fit for a log and a terminal: short, printable,
// and without the token, which a hostile server could send back.
func (d *Door) clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if d.c.Token != "" {
		text = strings.ReplaceAll(text, d.c.Token, "[secret]")
	}
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "…"
	}
	return text
}
