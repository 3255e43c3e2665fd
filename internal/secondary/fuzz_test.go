package secondary

import (
	"testing"
	"time"

	"godwit/internal/dnsname"
	"godwit/internal/tsig"
)

// FuzzAnswer: nothing acknowledges a NOTIFY but an answer that the key has signed.
func FuzzAnswer(f *testing.F) {
	key := tsig.Key{Name: []byte("\x01k\x00"), Algorithm: tsig.SHA256, Secret: []byte("0123456789abcdef0123456789abcdef")}
	now := time.Unix(1_800_000_000, 0)
	f.Add([]byte("\x00\x00\xa4\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\xa4\x09\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\xa4\x09\x00\x00\x00\x00\x00\x00\x00\x01\x01k\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x1d\x0bhmac-sha256\x00\x00\x00\x00\x00\x00\x00\x01\x2c\x00\x00\x00\x00\x00\x11\x00\x00"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		if len(reply) < headerLen {
			return
		}
		told := &told{State: State{Zone: dnsname.MustParse("example.org")}}
		told.message(key, 1, now)
		reply[0], reply[1] = byte(told.id>>8), byte(told.id)
		if rcode, _, ok := told.answer(key, reply, now); ok && rcode == "" {
			t.Fatalf("acknowledged by who has no key: %x", reply)
		}
	})
}
