package httpserver

import (
	"io"
	"net"
	"testing"

	"godwit/internal/ddns"
)

// Stopping breaks nothing off that net/http has begun to read.
func TestStopLeavesWhatIsHandedOver(t *testing.T) {
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server, err := New(Config{Service: &ddns.Service{}})
		if err != nil {
			t.Fatal(err)
		}
		f := server.newFront(l)
		go f.run()
		client, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_, err = io.WriteString(client, "PUT ")
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(client, "/v1/"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("PUT /v1/"))
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		f.wait(t.Context())
		_, _ = c.Close(), client.Close()
	}
}
