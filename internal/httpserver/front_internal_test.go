package httpserver

import (
	"crypto/ed25519"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/signature"
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

// What our own client sends is an everyday request.
func TestClientIsEveryday(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.NewSigner("k7m2qx4p", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	door, err := client.NewDoor(client.DoorConfig{URL: "http://" + l.Addr().String(), Sign: func(r *http.Request, body []byte) error {
		return signer.Sign(r, body, time.Unix(1767225600, 0))
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := door.SetAddresses(t.Context(), dnsname.MustParse("host1.dyn.example.com"), api.SetAddresses{})
		done <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	request := make([]byte, everydayRoom)
	n, err := c.Read(request)
	if err != nil {
		t.Fatal(err)
	}
	if kind, in := readEveryday(request[:n]); kind == nil || kind.door != doorSigned || in.name != "host1.dyn.example.com" || string(in.Body) != "{}" {
		t.Errorf("%q is not", request[:n])
	}
	_, _ = c.Close(), l.Close()
	if <-done == nil {
		t.Error("the client has an answer")
	}
}
