package httpserver_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"godwit/internal/httpserver"
)

// A client may close its side when it has said all, and read on: nc does, and so
// does what stands behind some TLS wrappers. Its update is made all the same.
func TestHalfClose(t *testing.T) {
	r := newRig(t)
	addr := r.serve(httpserver.Listener{})
	for i := range 40 { // it is a race between net/http and the store
		name := fmt.Sprintf("host%d.%s", i, zone)
		token := r.add(name, "", anyAddress()).Token.Reveal()
		request := "GET /nic/update?hostname=" + name + " HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " +
			base64.StdEncoding.EncodeToString([]byte(name+":"+token)) + "\r\n\r\n"
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.WriteString(c, request); err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		answer, readErr := io.ReadAll(c)
		c.Close()
		if err != nil || readErr != nil || !strings.HasSuffix(string(answer), "\r\n\r\ngood 127.0.0.1\n") {
			t.Fatalf("%v, %v, answer %q", err, readErr, answer)
		}
	}
}
