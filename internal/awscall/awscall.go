// Package awscall makes signed calls of AWS services over plain net/http.
//
// It is the part of an AWS SDK that is the same for all services: sign
// (Signature Version 4), send, repeat what may be repeated, say what is known of
// the outcome. What a request and an answer mean is the caller's business.
//
// After an error exactly one of these holds, and a caller has to tell them apart:
//
//   - the service refused: an [*Error] with its code; nothing happened;
//   - it had no room: the same, and [Throttled]; nothing happened;
//   - [Unknown]: the request was sent and no answer that can be trusted came
//     back, so it may have taken effect;
//   - neither: the request never left, and nothing happened.
//
// A [Client] is built once and kept: its connections are reused, and a process
// that starts often builds nothing else.
package awscall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Config is what a Client is made of.
type Config struct {
	Service string // signing name: "dynamodb", "route53"
	Region  string // signing region: "eu-west-1"; of Route 53 "us-east-1"
	// Endpoint is scheme and authority: "https://dynamodb.eu-west-1.amazonaws.com".
	Endpoint string
	// Credentials are asked before every attempt, so they should be cached ones.
	Credentials aws.CredentialsProvider
	// Transport carries the requests; nil: [NewTransport]. Redirects are not followed.
	Transport http.RoundTripper
	// Attempts is how often a request is sent at most; 0: 3.
	Attempts int
	// Timeout bounds each attempt, the whole answer included; 0: ctx alone does.
	Timeout time.Duration
	// Backoff is the mean of the first pause and doubles with each; 0: 50 ms.
	Backoff time.Duration
	// MaxBody bounds an answer's body in octets; 0: 16 MiB.
	MaxBody int64
	Now     func() time.Time // nil: time.Now
}

// Client calls one service. Safe for concurrent use.
type Client struct {
	Config
	base   *url.URL
	signer *v4.Signer
	// skew is how far the service's clock is ahead of ours, in nanoseconds, once
	// it has refused a signature for its time.
	skew atomic.Int64
}

// maxPause bounds a pause between two attempts.
const maxPause = 5 * time.Second

// New returns a Client. It starts nothing and connects to nothing.
func New(c Config) (*Client, error) {
	base, err := url.Parse(c.Endpoint)
	switch {
	case err != nil:
		return nil, fmt.Errorf("endpoint of %s: %w", c.Service, err)
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || strings.TrimSuffix(base.Path, "/") != "" || base.RawQuery != "" || base.User != nil:
		return nil, fmt.Errorf("endpoint %q of %s is not scheme and host, such as https://%[2]s.eu-west-1.amazonaws.com", c.Endpoint, c.Service)
	case c.Service == "" || c.Region == "" || c.Credentials == nil:
		return nil, errors.New("a client of AWS needs a service, a region and credentials")
	}
	if c.Transport == nil {
		c.Transport = NewTransport()
	}
	if c.Attempts <= 0 {
		c.Attempts = 3
	}
	if c.Backoff <= 0 {
		c.Backoff = 50 * time.Millisecond
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 16 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{Config: c, base: &url.URL{Scheme: base.Scheme, Host: base.Host}, signer: v4.NewSigner()}, nil
}

// NewTransport returns a transport for calls of AWS: HTTP/1.1, which is what
// its APIs speak, with connections that are kept. Clients may share one.
func NewTransport() *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    3 * time.Second,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        time.Minute,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// Request is one call.
type Request struct {
	Method string
	// Path is the path and query as they go out, already escaped: "/",
	// "/2013-04-01/hostedzone/Z1/rrset?maxitems=1". Signing sorts the query.
	Path   string
	Header http.Header // of the caller; not changed. "X-Amz-Target", "Content-Type"
	Body   []byte
	// Repeat allows the request to be sent again after its answer was lost. Reads
	// may always be; a change only if the caller can tell its own effect from
	// somebody else's. What was refused for want of room is repeated regardless.
	Repeat bool
}

// Response is the answer to a request that the service granted.
type Response struct {
	Status int // 200 to 299
	Header http.Header
	Body   []byte
	// Repeated tells that an earlier attempt's answer was lost, so that the
	// request may have taken effect twice.
	Repeated bool
}

// Do makes a call. It repeats, within ctx's deadline and after a pause with
// full jitter: what was throttled, what never left, and, if r.Repeat, what
// ended in an unknown outcome. A signature that is refused for the time in it is
// made once more with the service's clock. For errors see the package's comment.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	sum := sha256.Sum256(r.Body)
	digest := hex.EncodeToString(sum[:])
	unknown, corrected := false, false
	for attempt := 1; ; attempt++ {
		resp, err := c.attempt(ctx, &r, digest)
		if err == nil {
			resp.Repeated = unknown
			return resp, nil
		}
		lost := Unknown(err)
		unknown = unknown || lost
		switch {
		case !corrected && c.correctClock(err):
			corrected = true
			continue // at once: the next one has the right time
		case attempt >= c.Attempts || ctx.Err() != nil,
			lost && !r.Repeat,
			!lost && !again(err),
			!c.pause(ctx, attempt):
			return Response{}, &callError{c.describe(&r), err, unknown}
		}
	}
}

// describe names a request for messages.
func (c *Client) describe(r *Request) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return target
	}
	path, _, _ := strings.Cut(r.Path, "?")
	return c.Service + " " + r.Method + " " + path
}

// pause waits before the next attempt, or says that ctx leaves no time for it.
func (c *Client) pause(ctx context.Context, attempt int) bool {
	limit := min(c.Backoff<<min(attempt, 16), maxPause)
	wait := rand.N(limit + 1)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// progress is how far a request has come, as net/http tells it. Safe for
// concurrent use: a request may go on when its caller has given it up.
type progress struct{ begun, wrote atomic.Bool }

// traced returns a context in which p follows a request.
func (p *progress) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { p.begun.Store(true) },
		WroteHeaders: func() { p.wrote.Store(true) },
	})
}

// sent tells whether the service may have got the request: not while it has no
// connection to write to. Of a transport that says nothing nothing is known.
func (p *progress) sent() bool { return p.wrote.Load() || !p.begun.Load() }

// attempt sends a request once.
func (c *Client) attempt(ctx context.Context, r *Request, digest string) (Response, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	credentials, err := c.Credentials.Retrieve(ctx)
	if err != nil {
		return Response{}, fmt.Errorf("get credentials: %w", err)
	}
	target := *c.base
	var query string
	target.RawPath, query, _ = strings.Cut(r.Path, "?")
	target.RawQuery = query
	if target.Path, err = url.PathUnescape(target.RawPath); err != nil {
		return Response{}, fmt.Errorf("path %q: %w", r.Path, err)
	}
	header := make(http.Header, len(r.Header)+4) // and what signing adds
	for k, v := range r.Header {
		header[k] = v
	}
	header["User-Agent"] = userAgent
	req := &http.Request{Method: r.Method, URL: &target, Host: target.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if len(r.Body) > 0 {
		// Of this type net/http knows that it need not be waited for: headers and
		// body leave together, in one packet if they fit.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = int64(len(r.Body))
	}
	at := c.Now().Add(time.Duration(c.skew.Load()))
	if err := c.signer.SignHTTP(ctx, credentials, req, digest, c.Service, c.Region, at); err != nil {
		return Response{}, fmt.Errorf("sign: %w", err)
	}
	var p progress
	if len(r.Body) > 0 { // of a request without one there is nothing to know: it changes nothing
		ctx = p.traced(ctx)
	}
	resp, err := c.Transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return Response{}, &lostError{err, p.sent()}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := c.read(resp)
	if err != nil {
		return Response{}, &lostError{err, true}
	}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return Response{Status: resp.StatusCode, Header: resp.Header, Body: text}, nil
	}
	return Response{}, newError(resp, text)
}

var userAgent = []string{"godwit"}

// read takes an answer's whole body, within bounds, and holds it against the
// checksum that DynamoDB sends.
func (c *Client) read(resp *http.Response) ([]byte, error) {
	if resp.ContentLength > c.MaxBody {
		return nil, fmt.Errorf("the answer has %d octets, more than %d", resp.ContentLength, c.MaxBody)
	}
	var text []byte
	var err error
	if n := resp.ContentLength; n >= 0 {
		text = make([]byte, n)
		_, err = io.ReadFull(resp.Body, text)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	} else {
		text, err = io.ReadAll(io.LimitReader(resp.Body, c.MaxBody+1))
		if err == nil && int64(len(text)) > c.MaxBody {
			err = fmt.Errorf("the answer has more than %d octets", c.MaxBody)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if sum := resp.Header.Get("X-Amz-Crc32"); sum != "" {
		if want, err := strconv.ParseUint(sum, 10, 32); err != nil || uint32(want) != crc32.ChecksumIEEE(text) {
			return nil, errors.New("the answer was damaged on its way: its checksum differs")
		}
	}
	return text, nil
}

// correctClock takes over the service's clock from an answer that refused a
// signature for its time, and tells whether another attempt makes sense.
func (c *Client) correctClock(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Date.IsZero() {
		return false
	}
	skew := e.Date.Sub(c.Now())
	off := (skew - time.Duration(c.skew.Load())).Abs()
	switch e.Code {
	case "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture":
		if off < 2*time.Second { // Date has whole seconds
			return false
		}
	case "InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure":
		// A wrong key says the same. Signatures are good for five minutes.
		if off < 4*time.Minute {
			return false
		}
	default:
		return false
	}
	c.skew.Store(int64(skew))
	return true
}
