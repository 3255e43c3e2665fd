package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Message is a signed request as far as it can be read without the key: nothing
// in it is to be believed before [Message.Verify] has said so.
type Message struct {
	// KeyID names the key: 1 to 64 printable ASCII characters without space,
	// quote and backslash.
	KeyID string
	// Created is when it was signed, by the signer's clock: Unix seconds, above 0
	// and of at most 15 digits.
	Created int64
	// Expires is after which second it no longer holds, not before Created; 0
	// if the signer did not say.
	Expires int64

	base      []byte // what was signed, RFC 9421 section 2.5
	signature [ed25519.SignatureSize]byte
}

// Request is what a signature has to do with of a request that a server received.
type Request struct {
	Method string
	// Target is the request target as it came.
	Target string
	// Authority is the one that the server answers to, as the function [Authority]
	// writes it: what was signed for another one will not verify, and Host, which a
	// proxy may rewrite, is not looked at. "" is the authority that the request
	// itself names.
	Authority string
	Host      string // as it came
	TLS       bool   // whether it came by TLS, of which the default port of Host depends
	// The lines of the header fields Signature-Input, Signature and Content-Digest.
	Input, Signature, Digest []string
	Body                     []byte // all of it, as it came
}

// RequestOf is the Request that net/http has read; its Body is not looked at.
func RequestOf(r *http.Request, body []byte, authority string) Request {
	return Request{Method: r.Method, Target: requestTarget(r.RequestURI, r.URL), Authority: authority, Host: r.Host, TLS: r.TLS != nil,
		Input: r.Header["Signature-Input"], Signature: r.Header["Signature"], Digest: r.Header["Content-Digest"], Body: body}
}

// Parse reads the signature of a request. The cost is bounded by 4096 octets of
// each header field and the length of the body. The error is an [*Error].
func Parse(r Request) (*Message, error) {
	label, m, err := chosen(r.Input)
	if err != nil {
		return nil, err
	}
	authority := r.Authority
	if authority == "" {
		scheme := "http"
		if r.TLS {
			scheme = "https"
		}
		if authority, err = Authority(scheme, r.Host); err != nil {
			return nil, err
		}
	}
	t, err := newTarget(r.Method, authority, r.Target)
	if err != nil {
		return nil, err
	}
	if !isCovered(m.items, covered(t.method)) {
		return nil, malformed("the signature covers something else than it must",
			`cover "@method" "@authority" "@path", and "content-digest" unless the method is GET, each once and without parameters`)
	}
	out := &Message{}
	if err := out.readParams(m.params); err != nil {
		return nil, err
	}
	if err := out.readSignature(r.Signature, label); err != nil {
		return nil, err
	}
	if t.method != http.MethodGet {
		if t.digest, err = checkDigest(r.Digest, r.Body); err != nil {
			return nil, err
		}
	} else if len(r.Body) > 0 {
		return nil, malformed("a signed GET has a body, which nothing covers", "leave the body out")
	}
	out.base = t.base(m.items, m.value)
	return out, nil
}

// Verify tells whether the key made the signature over this request. It is false
// for what is not a public key. All public keys cost the same, whether they made
// it or not; what is no public key costs less, so a decoy for an unknown KeyID
// must be one.
func (m *Message) Verify(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, m.base, m.signature[:])
}

// CheckTime tells whether the signature is of the server's time: created at most
// [Window] away from it, and not expired. Ask after Verify. The error is an
// [*Error] of the kind ErrTime.
func (m *Message) CheckTime(now time.Time) error {
	second := now.Unix() // whole seconds, because Created has no others
	window := int64(Window / time.Second)
	switch {
	case m.Created < second-window || m.Created > second+window:
		return &Error{ErrTime, "the signature was made more than " + strconv.FormatInt(window, 10) + " seconds away from the server's time",
			"set the clock, or take the offset from this answer, and sign again"}
	case m.Expires != 0 && second > m.Expires:
		return &Error{ErrTime, "the signature has expired", "sign again"}
	}
	return nil
}

// chosen is the one member of Signature-Input that has our tag, and its label.
func chosen(lines []string) (label string, m *member, err error) {
	_, inputs, err := field("Signature-Input", lines)
	if err != nil {
		return "", nil, err
	}
	for i := range inputs {
		for _, p := range inputs[i].params {
			if p.key != "tag" || p.value != `"`+Tag+`"` {
				continue
			}
			if m != nil {
				return "", nil, malformed("two signatures have the tag "+Tag, "send one")
			}
			m = &inputs[i]
		}
	}
	if m == nil {
		return "", nil, &Error{ErrMissing, "there is no signature with the tag " + Tag, `sign the request (RFC 9421), with tag="` + Tag + `"`}
	}
	return m.key, m, nil
}

// field reads a header field that is a dictionary, its lines joined as RFC 9110
// section 5.3 says. One that is not there has no members.
func field(name string, lines []string) (joined string, members []member, err error) {
	size := 0
	for _, line := range lines {
		size += len(line) + len(", ")
	}
	if size > maxField {
		return "", nil, malformed(name+" is longer than "+strconv.Itoa(maxField)+" octets", "send fewer or shorter signatures")
	}
	if len(lines) == 1 {
		joined = strings.Trim(lines[0], " \t")
	} else {
		var b strings.Builder
		for i, line := range lines {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(strings.Trim(line, " \t"))
		}
		joined = b.String()
	}
	members, ok := parseDictionary(joined)
	if !ok {
		return "", nil, malformed(name+" is not a dictionary in canonical spelling",
			"write it as RFC 8941 section 4.1 says: one space after a comma, none elsewhere, no key twice")
	}
	return joined, members, nil
}

// isCovered tells whether list has exactly the wanted components, in any order.
func isCovered(list, want []string) bool {
	if len(list) != len(want) {
		return false
	}
	for _, component := range want {
		seen := false
		for _, item := range list {
			seen = seen || item == component
		}
		if !seen {
			return false
		}
	}
	return true
}

func (m *Message) readParams(params []param) error {
	var alg string
	for _, p := range params {
		ok := true
		switch p.key {
		case "created":
			m.Created, ok = readSeconds(p.value)
		case "expires":
			m.Expires, ok = readSeconds(p.value)
		case "keyid":
			m.KeyID, ok = unquote(p.value)
			ok = ok && isKeyID(m.KeyID)
		case "alg":
			alg, ok = unquote(p.value)
			ok = ok && alg == algorithm
		case "nonce":
			_, ok = unquote(p.value)
		case "tag":
		default:
			return malformed("the signature has a parameter that the profile does not know", "send created, keyid, alg and tag, and nothing besides but expires and nonce")
		}
		if !ok {
			return malformed("the signature's parameter "+p.key+" is not as it should be",
				`write created=SECONDS;keyid="ID";alg="`+algorithm+`";tag="`+Tag+`"`)
		}
	}
	switch {
	case m.Created == 0 || m.KeyID == "" || alg == "":
		return malformed("the signature lacks created, keyid or alg", "send all three")
	case m.Expires != 0 && m.Expires < m.Created:
		return malformed("the signature expires before it is created", "leave expires out, or make it later")
	}
	return nil
}

// readSeconds reads an Integer from 1 up. The dictionary's parser has bounded
// its digits.
func readSeconds(item string) (int64, bool) {
	n, err := strconv.ParseInt(item, 10, 64) // no Decimal, which has a point
	return n, err == nil && n > 0
}

// unquote takes the quotes from a String; escapes stay. Nothing that is compared
// here has any.
func unquote(item string) (string, bool) {
	if !strings.HasPrefix(item, `"`) {
		return "", false
	}
	return item[1 : len(item)-1], true
}

func (m *Message) readSignature(lines []string, label string) error {
	_, members, err := field("Signature", lines)
	if err != nil {
		return err
	}
	found := find(members, label)
	if found == nil || !readBytes(found, m.signature[:]) {
		return malformed("Signature has no Ed25519 signature under the label of Signature-Input", "send label=:BASE64 OF 64 OCTETS: without parameters")
	}
	return nil
}

// checkDigest holds the body to Content-Digest, whose text it returns. Digests
// by other algorithms are not looked at (RFC 9530 section 2).
func checkDigest(lines []string, body []byte) (string, error) {
	joined, members, err := field("Content-Digest", lines)
	if err != nil {
		return "", err
	}
	var told [sha256.Size]byte
	if found := find(members, "sha-256"); found == nil || !readBytes(found, told[:]) {
		return "", malformed("Content-Digest has no sha-256", "send Content-Digest: sha-256=:BASE64: (RFC 9530), for {} too")
	}
	sum := sha256.Sum256(body)
	if subtle.ConstantTimeCompare(sum[:], told[:]) != 1 {
		return "", &Error{ErrDigest, "the body is not the one that Content-Digest tells", "make the digest over the body exactly as it is sent, without compression"}
	}
	return joined, nil
}

// readBytes fills into with a Byte Sequence of its length that has no parameters.
func readBytes(m *member, into []byte) bool {
	text := strings.Trim(m.item, ":")
	if !strings.HasPrefix(m.item, ":") || len(m.params) > 0 || base64.StdEncoding.DecodedLen(len(text)) > len(into)+2 {
		return false
	}
	out, err := base64.StdEncoding.DecodeString(text) // which the dictionary's parser has seen to be base64
	return err == nil && copy(into, out) == len(into) && len(out) == len(into)
}
