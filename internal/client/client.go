// Package client speaks to a godwit server: [Client] to its admin API, [Seed]
// to its public door with the seed's two requests.
//
// A target says which installation an admin command is for: "local:DIR" (the
// daemon's socket in that data directory), the path of a socket, or
// "https://HOST" with an admin token. Where there is no server to speak to,
// [Config.Transport] is one. What the server refuses comes back as an
// *api.Problem, whose text ends with what to do. No redirect is followed: a
// token or a hash is for the server that it was meant for.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"godwit/internal/api"
)

// SocketName is the admin socket's file name in the data directory.
const SocketName = "admin.sock"

// maxAnswer bounds an answer that is not a stream, in octets. A page of 1000
// hosts with all that they may hold stays below.
const maxAnswer = 64 << 20

// Config is what a Client is made of.
type Config struct {
	// Target is "local:DIR", the path of a socket, "https://HOST[:PORT]", or
	// "http://" with a loopback address. Required.
	Target string
	// Transport, if not nil, answers the requests in place of a server, and Target
	// is but its name in messages. Its errors say all there is to say and are
	// returned as they are.
	Transport http.RoundTripper
	// Token is the admin token, for https and http.
	Token string
	// RootCAs sign the server's certificate. nil: the system's.
	RootCAs *x509.CertPool
	// Timeout of one request that is not a stream. 0: 30 seconds.
	Timeout time.Duration
	// ImportHosts is how many hosts one request of an import has at most; 0: 1000.
	ImportHosts int
}

// Client is a client of the admin API. Safe for concurrent use.
type Client struct {
	base    string // URL without path
	token   string
	socket  string // "" over TCP
	inside  string // name of what Config.Transport speaks to; "": a server
	http    *http.Client
	timeout time.Duration
	chunk   int // hosts in one request of an import
}

// NotRunning says that nothing answers at a target.
type NotRunning struct {
	Target string
	Fix    string
	Cause  error
}

func (e *NotRunning) Error() string {
	return fmt.Sprintf("no godwit server answers at %s; %s", e.Target, e.Fix)
}

func (e *NotRunning) Unwrap() error { return e.Cause }

// New returns a client for a target. It connects to nothing yet.
func New(c Config) (*Client, error) {
	out := &Client{token: c.Token, timeout: c.Timeout, chunk: c.ImportHosts}
	if out.timeout <= 0 {
		out.timeout = 30 * time.Second
	}
	if out.chunk <= 0 {
		out.chunk = chunkHosts
	}
	if c.Transport != nil {
		out.inside, out.base, out.token = c.Target, "http://localhost", ""
		out.http = &http.Client{Transport: c.Transport, CheckRedirect: refuseRedirect}
		return out, nil
	}
	transport := newTransport(c.RootCAs)
	out.http = &http.Client{Transport: transport, CheckRedirect: refuseRedirect}
	scheme, rest, isURL := strings.Cut(c.Target, "://")
	dir, isLocal := strings.CutPrefix(c.Target, "local:")
	switch {
	case isURL && (scheme == "https" || scheme == "http"):
		u, err := url.Parse(c.Target)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("target %q is not a server's address; write it as https://ddns.example.com", c.Target)
		}
		if scheme == "http" && !isLoopback(u.Hostname()) {
			return nil, fmt.Errorf("target %q would send the admin token in the clear; use https://%s, or run the command on the server itself", c.Target, rest)
		}
		if c.Token == "" {
			return nil, fmt.Errorf("target %q needs an admin token; give its file with --admin-token-file", c.Target)
		}
		out.base = scheme + "://" + u.Host
		return out, nil
	case isURL:
	case isLocal && dir != "":
		out.socket = filepath.Join(dir, SocketName)
	case !isLocal && strings.ContainsRune(c.Target, filepath.Separator):
		out.socket = c.Target
	}
	if out.socket == "" {
		return nil, fmt.Errorf("target %q is not understood; give local:DIR, aws:STACK, the path of a socket, or https://HOST", c.Target)
	}
	out.base, out.token = "http://localhost", ""
	var d net.Dialer
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", out.socket)
	}
	return out, nil
}

// newTransport has a limit on every phase before the body; bodies are bounded by
// the request's context.
func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     30 * time.Second,
		MaxIdleConns:        4,
		DisableCompression:  true,
	}
}

func refuseRedirect(to *http.Request, _ []*http.Request) error {
	return fmt.Errorf("the server sends us on to %s://%s; use that address if it is the right one", to.URL.Scheme, to.URL.Host)
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// path joins segments to a path of the admin API, each escaped.
func path(segments ...string) string {
	var b strings.Builder
	b.WriteString(api.AdminPath)
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// do sends one request and reads its whole answer into out, if that is not nil.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	return c.exchange(ctx, method, path, query, body, out)
}

func (c *Client) exchange(ctx context.Context, method, path string, query url.Values, body io.Reader, out any) error {
	r, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<16)) // so that the connection can serve again
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer of %s: %w", c.where(), c.unconfirmed(method, err))
	case len(data) > maxAnswer:
		return fmt.Errorf("the answer of %s is longer than %d octets; is it a godwit server?", c.where(), maxAnswer)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s answered what this program does not understand (%w); is it a godwit server of the same version?", c.where(), err)
	}
	return nil
}

// stream copies the answer's body to w. It is nil only if w has all of it.
func (c *Client) stream(ctx context.Context, path string, query url.Values, w io.Writer) error {
	r, err := c.send(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(w, r.Body)
	switch {
	case err != nil && c.inside != "":
		return fmt.Errorf("what came is not whole: %w", err)
	case err != nil:
		return fmt.Errorf("the answer of %s broke off, what came is not whole: %w; look at the server's log and try again", c.where(), err)
	}
	return nil
}

// send returns an answer of status 2xx, or the error that the answer is.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	r, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(method, err)
	}
	if r.StatusCode/100 != 2 {
		defer r.Body.Close()
		return nil, problem(r)
	}
	return r, nil
}

// where names the server in messages.
func (c *Client) where() string {
	return cmp.Or(c.inside, c.socket, c.base)
}

func (c *Client) unreachable(method string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // its text repeats the URL, where a secret could be
	}
	if c.inside != "" {
		return err
	}
	var op *net.OpError
	dialing := errors.As(err, &op) && op.Op == "dial"
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	switch {
	case dialing && absent && c.socket != "":
		return &NotRunning{Target: c.socket, Cause: err,
			Fix: "start it: godwit serve --zone dyn.example.com --data " + filepath.Dir(c.socket)}
	case dialing && absent:
		return &NotRunning{Target: c.base, Cause: err, Fix: "check the address, and that the server runs with --admin"}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the socket %s is not yours to use: %w; run the command as the user that the server runs as", c.socket, err)
	case dialing:
		return fmt.Errorf("connect to %s: %w; check the address, and that this machine reaches it", c.where(), err)
	}
	return fmt.Errorf("speak to %s: %w", c.where(), c.unconfirmed(method, err))
}

// unconfirmed says of a change whose answer did not come that it may have happened.
func (c *Client) unconfirmed(method string, err error) error {
	if method == http.MethodGet {
		return fmt.Errorf("%w; check the address, and that a godwit server is there", err)
	}
	return fmt.Errorf("could not confirm that it was done (%w); look before you repeat it", err)
}

// problem reads the error that an answer is.
func problem(r *http.Response) error {
	p := &api.Problem{}
	data, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == api.ProblemType && json.Unmarshal(data, p) == nil && p.Code != "" {
		p.Status = r.StatusCode
		return p
	}
	return &api.Problem{Status: r.StatusCode, Title: http.StatusText(r.StatusCode), Code: "",
		Detail: fmt.Sprintf("the server answered %s, not as a godwit server does", r.Status), Help: "check the address"}
}
