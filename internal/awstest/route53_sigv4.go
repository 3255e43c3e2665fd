package awstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// verify checks a request's Signature Version 4 for service route53 in region
// us-east-1. The time in it is not held against a clock: the stand-in's may be a
// made-up one.
func (r *Route53) verify(in *http.Request, body []byte) *route53Error {
	header := in.Header.Get("Authorization")
	if header == "" {
		return refusal(403, "MissingAuthenticationToken", "Missing Authentication Token")
	}
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if !ok || len(scope) != 5 || fields["Signature"] == "" {
		return refusal(400, "IncompleteSignature", "Authorization header is not a signature of version 4")
	}
	wrong := func(why string) *route53Error { return refusal(403, "SignatureDoesNotMatch", why) }
	id, date, region, service := scope[0], scope[1], scope[2], scope[3]
	secret, ok := r.config.Keys[id]
	if !ok {
		return refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	if region != "us-east-1" || service != "route53" || scope[4] != "aws4_request" {
		return wrong("Credential should be scoped to a valid region, not '" + region + "', and to correct service: 'route53', not '" + service + "'.")
	}
	at := in.Header.Get("X-Amz-Date")
	if len(at) != len("20060102T150405Z") || at[:8] != date {
		return wrong("the date of the credential's scope is not that of X-Amz-Date")
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	if !slices.IsSorted(signed) || !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") {
		return wrong("host and x-amz-date must be signed")
	}
	var canonical strings.Builder
	canonical.WriteString(in.Method + "\n" + doubleEscaped(in.URL) + "\n" + canonicalQuery(in.URL) + "\n")
	for _, name := range signed {
		canonical.WriteString(name + ":")
		switch name {
		case "host":
			canonical.WriteString(in.Host)
		case "content-length":
			canonical.WriteString(strconv.Itoa(len(body))) // net/http takes the header away
		default:
			for i, v := range in.Header.Values(name) {
				if i > 0 {
					canonical.WriteByte(',')
				}
				canonical.WriteString(strings.Join(strings.Fields(v), " "))
			}
		}
		canonical.WriteByte('\n')
	}
	sum := sha256.Sum256(body)
	canonical.WriteString("\n" + fields["SignedHeaders"] + "\n" + hex.EncodeToString(sum[:]))
	hashed := sha256.Sum256([]byte(canonical.String()))
	toSign := "AWS4-HMAC-SHA256\n" + at + "\n" + strings.Join(scope[1:], "/") + "\n" + hex.EncodeToString(hashed[:])
	if want := hex.EncodeToString(hmacSHA256(r.signingKey(id, secret, date), toSign)); !hmac.Equal([]byte(want), []byte(fields["Signature"])) {
		return wrong("The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// signingKey derives the key of a day and keeps it.
func (r *Route53) signingKey(id, secret, date string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := r.keys[id+" "+date]
	if key == nil {
		key = []byte("AWS4" + secret)
		for _, part := range []string{date, "us-east-1", "route53", "aws4_request"} {
			key = hmacSHA256(key, part)
		}
		r.keys[id+" "+date] = key
	}
	return key
}

// doubleEscaped is the path as it came, each segment escaped once more, as all
// services but S3 want it.
func doubleEscaped(u *url.URL) string {
	segments := strings.Split(u.EscapedPath(), "/")
	for i, s := range segments {
		segments[i] = uriEscape(s)
	}
	return strings.Join(segments, "/")
}

func canonicalQuery(u *url.URL) string {
	var pairs []string
	for name, values := range u.Query() {
		for _, v := range values {
			pairs = append(pairs, uriEscape(name)+"="+uriEscape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// uriEscape leaves only the unreserved characters of RFC 3986 section 2.3.
func uriEscape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}
