package dnsserver

import (
	"encoding/hex"
	"net/netip"
	"testing"
	"time"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSipHash has the vectors of the reference implementation: key 00 to 0f,
// messages of the octets 00, 01, 02 and so on.
func TestSipHash(t *testing.T) {
	var key [16]byte
	var message [64]byte
	for i := range message {
		message[i] = byte(i)
		key[i%16] = byte(i % 16)
	}
	for length, want := range map[int]uint64{
		0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 7: 0xab0200f58b01d137, 8: 0x93f5f5799a932462,
		15: 0xa129ca6149be45e5, 63: 0x958a324ceb064572,
	} {
		if got := sipHash(&key, message[:length]); got != want {
			t.Errorf("%d octets: %#x, want %#x", length, got, want)
		}
	}
}

// TestCookieVectors has the examples of RFC 9018 appendix A.
func TestCookieVectors(t *testing.T) {
	for _, tt := range []struct {
		name, secret, previous, client, in, want string
		now                                      int64
		valid                                    bool
	}{
		{
			name: "A.1, a new cookie", secret: "e5e973e5a6b2a43f48e7dc849e37bfcf", client: "198.51.100.100",
			in: "2464c4abcf10c957", now: 1559731985, want: "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
		},
		{
			name: "A.2, renewed", secret: "e5e973e5a6b2a43f48e7dc849e37bfcf", client: "198.51.100.100",
			in: "2464c4abcf10c957010000005cf79f111f8130c3eee29480", now: 1559734385, want: "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", valid: true,
		},
		{
			// The appendix does not say so, but it is nearly two hours old.
			name: "A.3, reserved bits", secret: "e5e973e5a6b2a43f48e7dc849e37bfcf", client: "203.0.113.203",
			in: "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", now: 1559734700, want: "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
		},
		{
			name: "A.3, while it is young", secret: "e5e973e5a6b2a43f48e7dc849e37bfcf", client: "203.0.113.203",
			in: "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", now: 0x5cf78f71 + 60, valid: true,
		},
		{
			name: "A.4, rolled over", secret: "445536bcd2513298075a5d379663c962", previous: "dd3bdf9344b678b185a6f5cb60fca715", client: "2001:db8:220:1:59de:d0f4:8769:82b8",
			in: "22681ab97d52c298010000005cf7c57926556bd0934c72f8", now: 1559741961, want: "22681ab97d52c298010000005cf7c609a6bb79d16625507a", valid: true,
		},
		{
			name: "young, given back", secret: "e5e973e5a6b2a43f48e7dc849e37bfcf", client: "198.51.100.100",
			in: "2464c4abcf10c957010000005cf79f111f8130c3eee29480", now: 1559731985 + 1700, want: "2464c4abcf10c957010000005cf79f111f8130c3eee29480", valid: true,
		},
	} {
		s := newSecrets()
		keys := s.current.Load()
		copy(keys[0][:], unhex(t, tt.secret))
		if tt.previous != "" {
			copy(keys[1][:], unhex(t, tt.previous))
		}
		var out [24]byte
		valid := s.cookie(&out, unhex(t, tt.in), netip.MustParseAddr(tt.client), time.Unix(tt.now, 0))
		if got := hex.EncodeToString(out[:]); tt.want != "" && got != tt.want || valid != tt.valid {
			t.Errorf("%s: got %s %t, want %s %t", tt.name, got, valid, tt.want, tt.valid)
		}
	}
}

func TestCookieIsBound(t *testing.T) {
	s := newSecrets()
	client := netip.MustParseAddr("192.0.2.1")
	now := time.Unix(1_800_000_000, 0)
	var good, out [24]byte
	s.cookie(&good, []byte("clientco"), client, now)
	if !s.cookie(&out, good[:], client, now.Add(time.Minute)) {
		t.Error("our own cookie is not valid")
	}
	if s.cookie(&out, good[:], netip.MustParseAddr("192.0.2.2"), now) {
		t.Error("valid for another address")
	}
	if s.cookie(&out, good[:], client, now.Add(61*time.Minute)) || s.cookie(&out, good[:], client, now.Add(-6*time.Minute)) {
		t.Error("valid at any time")
	}
	for i := range good {
		forged := good
		forged[i] ^= 1
		if s.cookie(&out, forged[:], client, now) {
			t.Errorf("valid with octet %d changed", i)
		}
	}
	s.roll()
	if !s.cookie(&out, good[:], client, now) || out == good {
		t.Error("after one rollover a cookie is valid, and replaced")
	}
	s.roll()
	if s.cookie(&out, good[:], client, now) {
		t.Error("valid after two rollovers")
	}
}

func TestClientPrefix(t *testing.T) {
	for client, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%lo": "fe80::/64",
	} {
		if got := clientPrefix(netip.MustParseAddr(client)).String(); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
}
