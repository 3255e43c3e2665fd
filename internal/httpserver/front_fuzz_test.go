package httpserver

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

// What is taken for an everyday request, net/http reads as one, with the same
// body, nothing behind it, and no wish of its own for the connection.
func FuzzEverydayBody(f *testing.F) {
	for _, s := range []string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "POST / HTTP/1.1\r\nhOST:[::1]:8053\r\nContent-Length:  02 \r\nAccept: \r\n\r\n{}",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
		"POST / HTTP/1.1\r\nHost: x\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{}", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\n\r\n{}",
		"POST / HTTP/1.1\r\nHost : x\r\nContent-Length: 2\r\n\r\n{}", "POST / HTTP/1.1\r\nHost: x\r\nAccept: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
		"POST / HTTP/1.1\r\nHost: x y\r\nContent-Length: 2\r\n\r\n{}", "POST / HTTP/1.1\r\nHost: \r\nContent-Length: 2\r\n\r\n{}",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", "POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"POST / HTTP/1.1\r\nHost: x\r\nAccept: \x00\r\nContent-Length: 2\r\n\r\n{}", "POST / HTTP/1.1\r\nHo\xc5\xbft: x\r\nContent-Length: 2\r\n\r\n{}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		body, ok := everydayBody(request)
		if !ok {
			return
		}
		rest := bufio.NewReader(bytes.NewReader(request))
		r, err := http.ReadRequest(rest)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) || rest.Buffered() > 0 {
			t.Fatalf("%q: body %q, not %q (%v), %d octets behind it", request, got, body, err, rest.Buffered())
		}
		if r.Method != "POST" || r.RequestURI != "/" || r.Proto != "HTTP/1.1" || r.Host == "" || r.Close || len(r.TransferEncoding) > 0 {
			t.Fatalf("%q: %+v", request, r)
		}
		for name := range r.Header {
			switch name {
			case "Content-Length", "Content-Type", "User-Agent", "Accept", "Accept-Encoding":
			default:
				t.Fatalf("%q: field %s", request, name)
			}
		}
	})
}
