package dnsserver

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	clientCookieLen = 8
	// A server cookie from elsewhere has 8 to 32 octets (RFC 7873 section 4);
	// ours, and everyone's who follows RFC 9018, has 16.
	minServerCookie = 8
	maxServerCookie = 32
	serverCookieLen = 16

	cookieVersion = 1
	// RFC 9018 section 4.3: how old a server cookie may be, how far ahead its
	// time may lie, and from what age on it is replaced.
	cookieOld   = time.Hour
	cookieAhead = 5 * time.Minute
	cookieRenew = 30 * time.Minute

	// cookieRollover is how often the secret changes. The one before stays valid
	// for as long, so that no client notices (RFC 9018 section 5).
	cookieRollover = 24 * time.Hour
)

// secrets are the keys of server cookies. They live in memory only: after a
// restart clients get new cookies with their next answers, and nothing else
// depends on them. They are safe for use by many goroutines.
type secrets struct {
	current atomic.Pointer[[2][16]byte] // the one to make cookies with, and the one before
}

func newSecrets() *secrets {
	s := &secrets{}
	var keys [2][16]byte
	rand.Read(keys[0][:])
	rand.Read(keys[1][:])
	s.current.Store(&keys)
	return s
}

func (s *secrets) roll() {
	keys := [2][16]byte{1: s.current.Load()[0]}
	rand.Read(keys[0][:])
	s.current.Store(&keys)
}

// cookie puts the COOKIE option's data for an answer to client into out: the
// client cookie, and a server cookie of time now, or the one that came if it is
// valid and young. It tells whether the one that came is valid.
func (s *secrets) cookie(out *[clientCookieLen + serverCookieLen]byte, in []byte, client netip.Addr, now time.Time) (valid bool) {
	keys := s.current.Load()
	copy(out[:clientCookieLen], in)
	if len(in) == len(out) && in[clientCookieLen] == cookieVersion {
		age := time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(in[12:]))) * time.Second
		if age <= cookieOld && age >= -cookieAhead {
			for i := range keys {
				want := cookieHash(&keys[i], in[:16], client)
				if subtle.ConstantTimeCompare(want[:], in[16:]) == 1 {
					// One of the old secret, of another version's flags or of
					// the future is replaced, a good one is given back.
					valid = true
					if i == 0 && age < cookieRenew && age >= 0 && in[9]|in[10]|in[11] == 0 {
						copy(out[:], in)
						return true
					}
					break
				}
			}
		}
	}
	out[8], out[9], out[10], out[11] = cookieVersion, 0, 0, 0
	binary.BigEndian.PutUint32(out[12:], uint32(now.Unix()))
	hash := cookieHash(&keys[0], out[:16], client)
	copy(out[16:], hash[:])
	return valid
}

// cookieHash is the hash in a server cookie: of the client cookie, version,
// reserved octets and time, which are the 16 octets of head, and the client's
// address (RFC 9018 section 4.4).
func cookieHash(key *[16]byte, head []byte, client netip.Addr) (sum [8]byte) {
	var input [32]byte
	n := copy(input[:], head)
	if client.Is4() || client.Is4In6() {
		a := client.As4()
		n += copy(input[n:], a[:])
	} else {
		a := client.As16()
		n += copy(input[n:], a[:])
	}
	binary.LittleEndian.PutUint64(sum[:], sipHash(key, input[:n]))
	return sum
}
