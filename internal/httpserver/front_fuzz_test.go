package httpserver

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"godwit/internal/api"
	"godwit/internal/signature"
)

// What is taken for an everyday request, net/http reads as one, with the same
// words in it, nothing behind it, no wish of its own for the connection, and for
// the same door.
func FuzzEveryday(f *testing.F) {
	seed := func(fields, body string) string { return "POST / HTTP/1.1\r\n" + fields + "\r\n" + body }
	for _, s := range []string{
		seed("Host: x\r\nContent-Length: 2\r\n", "{}"), seed("hOST:[::1]:8053\r\nContent-Length:  02 \r\nAccept: \r\nConnection: Keep-Alive\r\n", "{}"),
		seed("Host: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n", "{}"), seed("Host: x\r\nContent-Length: +2\r\n", "{}"),
		seed("Host: x\r\nHost: x\r\nContent-Length: 2\r\n", "{}"), seed("Content-Length: 2\r\n", "{}"),
		seed("Host: x\r\nContent-Length: 1\r\n", "{}"), seed("Host: x\r\nContent-Length: 2\n", "{}"),
		seed("Host : x\r\nContent-Length: 2\r\n", "{}"), seed("Host: x\r\nAccept: a\r\n b\r\nContent-Length: 2\r\n", "{}"),
		seed("Host: x y\r\nContent-Length: 2\r\n", "{}"), seed("Host: \r\nContent-Length: 2\r\n", "{}"),
		seed("Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n", "{}"), "POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		seed("Host: x\r\nAccept: \x00\r\nContent-Length: 2\r\n", "{}"), seed("Ho\xc5\xbft: x\r\nContent-Length: 2\r\n", "{}"),
		seed("Host: x\r\nAccept\r\nContent-Length: 2\r\n", "{}"), seed("Host: x\r\nConnection: close\r\nContent-Length: 2\r\n", "{}"),
		seed("Host: x\r\nAuthorization: \r\nAuthorization: Bearer x\r\nContent-Length: 2\r\n", "{}"), seed("Host: x\r\nUser-Agent: a\tb\r\nContent-Length: 2\r\n", "{}"),
		"PUT /v1/hosts/a.example.org./addresses HTTP/1.1\r\nHost: x\r\nSignature: \r\nSignature-Input: a=()\r\nContent-Digest: b=::\r\nContent-Length: 0\r\n\r\n",
		"PUT /v1/hosts/../addresses HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "PUT /v1/hosts//addresses HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"PUT /v1/hosts/a%2eb/addresses HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "PUT /v1/hosts/a/addresses/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"PUT /v1/hosts/a/addresses?x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "PUT /v1/hosts/a/addresses HTTP/1.1\r\nHost: x\r\nSignature: a\r\nSignature: b\r\nContent-Length: 0\r\n\r\n",
		"GET /nic/update?hostname=a.example.org&myip=192.0.2.1 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\nConnection: keep-alive\r\n\r\n",
		"GET /nic/update?a#b%zz?c HTTP/1.1\r\nHost: x\r\n\r\n", "GET /nic/update? HTTP/1.1\r\nHost: x\r\n\r\n", "GET /nic/update?a b HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /nic/update?a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "GET /nic/update?a HTTP/1.1\r\nHost: x\r\n\r\nGET", "GET //nic/update?a HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /nic/update?a\x01 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /nic/update?a HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	// What is routed as the server's own paths are says which door it is for.
	var door, name string
	nobody := func(http.ResponseWriter, *http.Request) { door = "" }
	at := func(d string) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { door, name = d, r.PathValue("name") }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", at(doorSeed))
	mux.HandleFunc("PUT "+api.HostPath+"{name}"+api.AddressesPath, at(doorSigned))
	mux.HandleFunc("GET "+dyndns2Path, at(doorDyndns2))
	mux.HandleFunc("/", nobody)
	routed := normalise(mux, nobody)
	f.Fuzz(func(t *testing.T, request []byte) {
		kind, in := readEveryday(request)
		if kind == nil {
			return
		}
		rest := bufio.NewReader(bytes.NewReader(request))
		r, err := http.ReadRequest(rest)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || rest.Buffered() > 0 {
			t.Fatalf("%q: %v, %d octets behind it", request, err, rest.Buffered())
		}
		want := doorRequest{Request: signature.RequestOf(r, body, ""), name: in.name, auth: r.Header.Get("Authorization"), agent: r.UserAgent()}
		if len(in.Body) == 0 {
			in.Body, want.Body = nil, nil
		}
		if !reflect.DeepEqual(in, want) {
			t.Fatalf("%q\ngot  %+v\nwant %+v", request, in, want)
		}
		if r.Proto != "HTTP/1.1" || r.Host == "" || r.Close || len(r.TransferEncoding) > 0 || len(r.Trailer) > 0 {
			t.Fatalf("%q: %+v", request, r)
		}
		for field, values := range r.Header {
			switch field {
			case "Content-Length", "Authorization", "User-Agent", "Signature-Input", "Signature", "Content-Digest":
				if len(values) > 1 {
					t.Fatalf("%q: %s more than once", request, field)
				}
			case "Content-Type", "Accept", "Accept-Encoding", "Connection":
			default:
				t.Fatalf("%q: field %s", request, field)
			}
		}
		if kind.door == doorDyndns2 && in.Target != dyndns2Path+"?"+r.URL.RawQuery {
			t.Fatalf("%q has the query %q", request, r.URL.RawQuery)
		}
		routed.ServeHTTP(httptest.NewRecorder(), r)
		if door != kind.door || name != in.name {
			t.Fatalf("%q is for %q %q, not %q %q", request, door, name, kind.door, in.name)
		}
	})
}
