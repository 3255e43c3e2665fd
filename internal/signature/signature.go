// Package signature signs HTTP requests and reads signed ones, by RFC 9421 in
// one fixed profile.
//
// The profile covers "@method", "@authority" and "@path", and "content-digest"
// (RFC 9530, sha-256) in all requests but GET, which has no body. The algorithm
// is Ed25519, the tag "godwit". Parameters are created, keyid, alg and tag, and
// if the signer likes expires and a nonce that nobody looks at. Order of
// components and parameters, and the label, are the signer's choice. Requests
// with a query are not in the profile: nothing would cover it.
//
// A [Signer] is the device's side. The server's side is [Parse], which makes a
// [Message] that is not yet proof of anything: the caller looks up the key that
// it names and asks [Message.Verify], then [Message.CheckTime], and then
// whether it has seen a newer one. In this order only the holder of the key
// learns what is wrong with the time.
//
// What a signature covers has one spelling here: structured fields (RFC 8941)
// that are not as section 4.1 there would write them are refused, and so are
// paths that are not in the normal form of RFC 3986 section 6.2.2. So both
// sides have the same octets without rewriting anything, and a proxy that
// normalises changes nothing.
package signature

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// Tag is the tag parameter that marks the signature that is for us (RFC 9421
	// section 2.3).
	Tag = "godwit"
	// Window is how far created may be from the server's clock, either way.
	Window = 300 * time.Second
)

const (
	algorithm  = "ed25519"
	maxCreated = 999_999_999_999_999 // an Integer has at most 15 digits (RFC 8941 section 3.3.1)
	// maxField bounds each of the three header fields, its lines joined, in
	// octets. Other signatures of a proxy have room beside ours.
	maxField     = 4096
	maxMethod    = 16
	maxAuthority = 300 // a name of 253, or an address, and a port
	maxPath      = 1024
	maxKeyID     = 64
)

// What may be wrong with a request, for [errors.Is]. Every error of [Parse] and
// [Message.CheckTime] is an [*Error] of one of these kinds.
var (
	// ErrMissing: there is no signature with our tag.
	ErrMissing = errors.New("signature: none with the tag " + Tag)
	// ErrMalformed: there is one, and it or the request is not as the profile says.
	ErrMalformed = errors.New("signature: not in the profile")
	// ErrDigest: the body is not the one that Content-Digest tells.
	ErrDigest = errors.New("signature: the body has another digest")
	// ErrTime: the signature is from another time, or has expired.
	ErrTime = errors.New("signature: not of this time")
)

// Error says what is wrong with a signed request, and how to mend it. It repeats
// nothing that a stranger sent and can be shown to anyone.
type Error struct {
	Kind error // ErrMissing, ErrMalformed, ErrDigest or ErrTime
	Why  string
	Fix  string
}

func (e *Error) Error() string { return e.Why + "; " + e.Fix }

// Unwrap is the kind.
func (e *Error) Unwrap() error { return e.Kind }

func malformed(why, fix string) error { return &Error{ErrMalformed, why, fix} }

// components are what the profile covers, as they stand in a list. The last is
// for requests with a body.
var components = [...]string{`"@method"`, `"@authority"`, `"@path"`, `"content-digest"`}

// covered are the components of a request with this method.
func covered(method string) []string {
	if method == http.MethodGet {
		return components[:3]
	}
	return components[:]
}

// target is what a signature speaks of: the values of the components.
type target struct {
	method, authority, path string
	digest                  string // Content-Digest as sent; "" for GET
}

// newTarget checks method, authority and request target, which must be a path.
// Nothing in them can end a line of the base.
func newTarget(method, authority, requestTarget string) (target, error) {
	if method == "" || len(method) > maxMethod || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return target{}, malformed("the method is not one that can be signed", "use GET, PUT, POST or DELETE")
	}
	path, _, query := strings.Cut(requestTarget, "?")
	switch {
	case query:
		return target{}, malformed("a signed request has a query, which nothing covers", "leave the query out")
	case !isNormalPath(path):
		return target{}, malformed("the path is not in normal form",
			"send the path alone, without dot segments, with %XX in capitals and only where it is needed (RFC 3986 section 6.2.2)")
	}
	return target{method: method, authority: authority, path: path}, nil
}

// base is the signature base of RFC 9421 section 2.5 for components in the order
// of list; params is the text of @signature-params.
func (t target) base(list []string, params string) []byte {
	out := make([]byte, 0, 128+len(t.authority)+len(t.path)+len(t.digest)+len(params))
	for _, component := range list {
		value := t.digest
		switch component {
		case `"@method"`:
			value = t.method
		case `"@authority"`:
			value = t.authority
		case `"@path"`:
			value = t.path
		}
		out = append(append(append(append(out, component...), ": "...), value...), '\n')
	}
	return append(append(out, `"@signature-params": `...), params...)
}

// Authority is the value of "@authority" (RFC 9421 section 2.2.3) for a URL with
// this scheme and host: lower case, without the scheme's own port. A host is in
// ASCII.
func Authority(scheme, host string) (string, error) {
	port := ":80"
	if scheme == "https" {
		port = ":443"
	}
	authority := strings.TrimSuffix(strings.ToLower(host), port)
	for i := range len(authority) {
		switch c := authority[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._:[]", c) >= 0:
		default:
			return "", malformed("the host name has characters that no host has", "write it in ASCII (xn--...), without a user or a zone")
		}
	}
	if authority == "" || len(authority) > maxAuthority {
		return "", malformed("the host name is empty or too long", "name the server, as in ddns.example.com")
	}
	return authority, nil
}

// isNormalPath tells whether a path is absolute and as RFC 3986 section 6.2.2
// would leave it. Repeated slashes are part of a path.
func isNormalPath(path string) bool {
	if path == "" || path[0] != '/' || len(path) > maxPath {
		return false
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case isUnreserved(c), strings.IndexByte("/:@!$&'()*+,;=", c) >= 0:
		case c == '%':
			if i+2 >= len(path) {
				return false
			}
			high, low := strings.IndexByte(upperHex, path[i+1]), strings.IndexByte(upperHex, path[i+2])
			if high < 0 || low < 0 || isUnreserved(byte(high<<4|low)) {
				return false
			}
			i += 2
		default:
			return false
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

const upperHex = "0123456789ABCDEF"

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// isKeyID tells whether an ID may stand in keyid: 1 to 64 printable ASCII
// characters that a String need not escape.
func isKeyID(id string) bool {
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return id != "" && len(id) <= maxKeyID
}

// digestOf is the Content-Digest of a body.
func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// requestTarget is what stands in a request's first line. A server has it as it
// came; for a client it is what net/http will send.
func requestTarget(requestURI string, u *url.URL) string {
	if requestURI != "" {
		return requestURI
	}
	return u.RequestURI()
}
