package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// label is what our own signatures are called.
const label = "godwit"

// Signer signs requests with one device's key and keeps the order in which it
// does: every signature has a created above the one before, so that a server can
// refuse replays by one remembered number. Safe for concurrent use; requests
// that are sent at the same time may still arrive in another order.
//
// A Signer forgets its order when the program ends. Who keeps [Signer.Order] goes
// on after it, and [Signer.After] also mends it from the server's refusal.
type Signer struct {
	keyID string
	// sign holds the key. A function, because fmt prints unexported fields, and
	// after a wrong verb even the slice behind a pointer, but never what a
	// function holds.
	sign func(base []byte) []byte

	mu     sync.Mutex // guards both
	offset int64      // the server's clock less our own, in seconds
	last   int64      // the newest created that was used
}

// NewSigner returns a Signer for the key that the server knows as keyID, the
// credential ID.
func NewSigner(keyID string, key ed25519.PrivateKey) (*Signer, error) {
	switch {
	case len(key) != ed25519.PrivateKeySize:
		return nil, errors.New("the key is not an Ed25519 private key; make a new one by joining again")
	case !isKeyID(keyID):
		return nil, errors.New("the credential ID is not 1 to 64 printable characters; take the one that the server gave when the device joined")
	}
	own := slices.Clone(key)
	return &Signer{keyID: keyID, sign: func(base []byte) []byte { return ed25519.Sign(own, base) }}, nil
}

// Sign signs a request that a client is about to send, with this body, at the
// time now of the device's own clock. It sets Host (to the one spelling that is
// signed), Content-Digest unless the method is GET, Signature-Input and
// Signature, in place of what was there. To send the request again, sign it
// again.
//
// The URL has a scheme and a host and no query; a GET has no body. Otherwise the
// error is an [*Error], and the request is as it was.
func (s *Signer) Sign(r *http.Request, body []byte, now time.Time) error {
	method := r.Method
	if method == "" { // as net/http has it
		method = http.MethodGet
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	if r.URL.Scheme != "https" && r.URL.Scheme != "http" {
		return malformed("the URL is not one that can be signed", "use https://HOST/PATH")
	}
	authority, err := Authority(r.URL.Scheme, host)
	if err != nil {
		return err
	}
	t, err := newTarget(method, authority, requestTarget("", r.URL))
	switch {
	case err != nil:
		return err
	case method != http.MethodGet:
		t.digest = digestOf(body)
	case len(body) > 0:
		return malformed("a signed GET has a body, which nothing covers", "leave the body out")
	}
	list := covered(method)
	created, err := s.next(now)
	if err != nil {
		return err
	}
	params := "(" + strings.Join(list, " ") + ");created=" + strconv.FormatInt(created, 10) +
		`;keyid="` + s.keyID + `";alg="` + algorithm + `";tag="` + Tag + `"`
	signature := s.sign(t.base(list, params))

	if r.Header == nil {
		r.Header = make(http.Header)
	}
	// What is sent is what was signed: a server behind a proxy that ends TLS
	// cannot know that :443 was the scheme's own port.
	r.Host = authority
	r.Header.Del("Content-Digest")
	if t.digest != "" {
		r.Header.Set("Content-Digest", t.digest)
	}
	r.Header.Set("Signature-Input", label+"="+params)
	r.Header.Set("Signature", label+"=:"+base64.StdEncoding.EncodeToString(signature)+":")
	return nil
}

// next takes the next created: the server's time as we know it, and above the
// one before.
func (s *Signer) next(now time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	created := max(now.Unix()+s.offset, s.last+1)
	if created > maxCreated {
		return 0, &Error{ErrTime, "the clock is beyond any time that can be signed", "set the clock"}
	}
	s.last = created
	return created, nil
}

// Learn takes the server's time from an answer that came at the time now of the
// device's own clock, after the server refused a signature for its time.
//
// It leaves the order alone, unless that has run so far ahead of the server that
// the server has refused all of it: a clock that was wrong by years must not
// hold back the right one.
func (s *Signer) Learn(server, now time.Time) {
	second := min(max(server.Unix(), 0), maxCreated)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset = second - now.Unix()
	if s.last > second+int64(Window/time.Second) {
		s.last = second
	}
}

// After makes the next signature newer than created, which a server has given as
// the newest that it accepted when it refused a signature as replayed. It tells
// whether signing again makes sense: false if created is too far ahead of the
// server's time as we know it, where no server can have accepted it.
func (s *Signer) After(created int64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The server's clock and ours are at most a window apart, and so were
	// created and the server's clock.
	if created > now.Unix()+s.offset+2*int64(Window/time.Second) {
		return false
	}
	s.last = max(s.last, created)
	return true
}

// Order is what a device keeps for its next start: the server's clock less its
// own, in seconds, for Learn; and the newest created that was used, for After.
func (s *Signer) Order() (offset, last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offset, s.last
}
