package httpserver

import (
	"net/http"
	"net/url"
	"strings"
)

// normalise puts a request's path into one form before it is routed: repeated
// slashes are one, one trailing slash is dropped. Never by a redirect. A path
// with dot segments belongs to nobody.
func normalise(next http.Handler, notFound http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		escaped := r.URL.EscapedPath()
		path := normalPath(escaped)
		if hasDots(path) || r.RequestURI == "*" {
			notFound(w, r)
			return
		}
		if path != escaped {
			plain, err := url.PathUnescape(path)
			if err != nil { // cannot be: it was made of a URL that was read
				notFound(w, r)
				return
			}
			u := *r.URL
			u.Path, u.RawPath = plain, path
			clone := *r
			clone.URL = &u
			r = &clone
		}
		next.ServeHTTP(w, r)
	})
}

// normalPath is the one form of an escaped path. An empty one is "/".
func normalPath(escaped string) string {
	if strings.HasPrefix(escaped, "/") && (len(escaped) == 1 || !strings.HasSuffix(escaped, "/")) && !strings.Contains(escaped, "//") {
		return escaped
	}
	var b strings.Builder
	b.Grow(len(escaped) + 1)
	b.WriteByte('/')
	last := byte('/')
	for i := range len(escaped) {
		if c := escaped[i]; c != '/' || last != '/' {
			b.WriteByte(c)
			last = c
		}
	}
	path := b.String()
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// hasDots tells whether a segment of the path is "." or "..".
func hasDots(path string) bool {
	if !strings.Contains(path, "/.") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
