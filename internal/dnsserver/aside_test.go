package dnsserver_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/ddns"
	"godwit/internal/dnsserver"
	"godwit/internal/tsig"
)

// stuck is an Updater whose store hangs.
type stuck struct{ until chan struct{} }

func (s stuck) VerifyTSIG(context.Context, ddns.Source, []byte, tsig.Record) (*ddns.TSIGProof, error) {
	<-s.until
	return nil, tsig.ErrKey
}

func (s stuck) Update(context.Context, ddns.Update) (ddns.Outcome, error) {
	panic("nothing is proved")
}

func signedByNobody() []byte {
	k := tsig.Key{Name: []byte("\x01k\x00"), Algorithm: tsig.SHA256, Secret: []byte("k")}
	r := tsig.Request(1, time.Now())
	msg, _ := k.Sign(update(1, z, false, nil, []rr{addA(1)}), &r, nil, false)
	return msg
}

// Questions are answered while updates wait, however many come.
func TestQuestionsDoNotWaitForUpdates(t *testing.T) {
	until := make(chan struct{})
	s := start(t, dnsserver.Config{Updater: stuck{until}, MaxConns: 4})
	server := s.Addrs()[0]
	msg := signedByNobody()
	udp, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for range 5000 {
		if _, err := udp.Write(msg); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 { // more connections than there may be
		tcp, err := net.Dial("tcp", server.String())
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		if _, err := tcp.Write(append([]byte{byte(len(msg) >> 8), byte(len(msg))}, msg...)); err != nil {
			t.Fatal(err)
		}
	}
	q := dns.NewMsg(home+".", dns.TypeA)
	if err := q.Pack(); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "tcp"} {
		if reply := exchangeAll(t, network, server, q.Data); reply[3]&0xf != dns.RcodeSuccess {
			t.Errorf("%s: % x", network, reply[:4])
		}
	}
	for deadline := time.Now().Add(within); ; runtime.Gosched() {
		if c := s.Counts(); c.Crowded > 0 && c.Dropped == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("no message was too much: %+v", c)
		}
	}
	close(until)
}

// Messages by UDP, whose sources may be forged, take no room from those by TCP.
func TestUDPCrowdsOutNoTCP(t *testing.T) {
	until := make(chan struct{})
	s := start(t, dnsserver.Config{Updater: stuck{until}})
	server := s.Addrs()[0]
	msg := signedByNobody()
	udp, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for deadline := time.Now().Add(within); s.Counts().Crowded == 0; {
		if _, err := udp.Write(msg); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("no message was too much: %+v", s.Counts())
		}
	}
	replied := make(chan []byte, 1)
	go func() { replied <- exchangeAll(t, "tcp", server, msg) }()
	for deadline := time.Now().Add(within); s.Counts().Conns == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("no connection")
		}
	}
	close(until)
	if reply := <-replied; reply[3]&0xf != dns.RcodeNotAuth {
		t.Errorf("reply by TCP: % x", reply[:4])
	}
}
