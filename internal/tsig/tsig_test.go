package tsig_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/miekg/dns"

	"godwit/internal/tsig"
)

var (
	keyName = []byte("\x08k7m2qx4p\x03dyn\x07example\x03org\x00")
	secret  = func() (s []byte) {
		for i := range byte(32) {
			s = append(s, i)
		}
		return s
	}()
)

func key(a tsig.Algorithm) tsig.Key { return tsig.Key{Name: keyName, Algorithm: a, Secret: secret} }

type recording struct {
	program   string
	algorithm tsig.Algorithm
	msg       []byte
}

func recordings(t testing.TB) (list []recording) {
	text, err := os.ReadFile("testdata/recorded.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] != "#" {
			msg, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, recording{f[0], tsig.Algorithm(f[1]), msg})
		}
	}
	if len(list) == 0 {
		t.Fatal("nothing is recorded")
	}
	return list
}

// read is tsig.Read of a message that has a good record.
func read(t testing.TB, msg []byte) tsig.Record {
	t.Helper()
	r, err := tsig.Read(msg)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

func signedAt(r tsig.Record) time.Time { return time.Unix(int64(r.Time), 0) }

// What other programs signed holds, with that key and no other, and the same
// message signed here has the same octets.
func TestRecordings(t *testing.T) {
	for _, rec := range recordings(t) {
		t.Run(rec.program+" "+string(rec.algorithm), func(t *testing.T) {
			r := read(t, rec.msg)
			if a, ok := tsig.FromWire(r.Algorithm); !ok || a != rec.algorithm || !bytes.Equal(r.Name, keyName) {
				t.Errorf("key %q of algorithm %q", r.Name, r.Algorithm)
			}
			k := key(rec.algorithm)
			if err := k.Verify(rec.msg, &r, nil, false, signedAt(r)); err != nil {
				t.Error(err)
			}
			other := k
			other.Secret = secret[1:]
			if err := other.Verify(rec.msg, &r, nil, false, signedAt(r)); !errors.Is(err, tsig.ErrSig) {
				t.Errorf("with another secret: %v", err)
			}
			bare := slices.Clone(rec.msg[:r.Offset])
			binary.BigEndian.PutUint16(bare[10:], binary.BigEndian.Uint16(bare[10:])-1)
			mine := tsig.Request(binary.BigEndian.Uint16(bare), signedAt(r))
			if signed, mac := k.Sign(bare, &mine, nil, false); !bytes.Equal(signed, rec.msg) || !bytes.Equal(mac, r.MAC) {
				t.Errorf("signed here:\n%x\nwant\n%x", signed, rec.msg)
			}
		})
	}
}

// A forwarder gives a message another ID; the signature is over the first one.
func TestOriginalID(t *testing.T) {
	rec := recordings(t)[0]
	rec.msg[0]++
	r := read(t, rec.msg)
	if err := key(rec.algorithm).Verify(rec.msg, &r, nil, false, signedAt(r)); err != nil {
		t.Error(err)
	}
}

// RFC 8945 section 5.2, in its order.
func TestVerify(t *testing.T) {
	now := time.Unix(1_767_225_600, 0)
	k := key(tsig.SHA256)
	for _, c := range []struct {
		name string
		edit func(k *tsig.Key, r *tsig.Record, now *time.Time)
		want error
	}{
		{"good", func(*tsig.Key, *tsig.Record, *time.Time) {}, nil},
		{"another name", func(k *tsig.Key, _ *tsig.Record, _ *time.Time) { k.Name = []byte("\x01k\x00") }, tsig.ErrKey},
		{"another algorithm", func(k *tsig.Key, _ *tsig.Record, _ *time.Time) { k.Algorithm = tsig.SHA384 }, tsig.ErrKey},
		{"no algorithm", func(k *tsig.Key, r *tsig.Record, _ *time.Time) { k.Algorithm, r.Algorithm = "none", nil }, tsig.ErrFormat},
		{"zero MAC", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.MAC = make([]byte, 32) }, tsig.ErrSig},
		{"no MAC", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.MAC = nil }, tsig.ErrFormat},
		{"MAC below half", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.MAC = r.MAC[:15] }, tsig.ErrFormat},
		{"half a MAC", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.MAC = r.MAC[:16] }, tsig.ErrTrunc},
		{"half a wrong MAC", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.MAC = r.MAC[1:17] }, tsig.ErrSig},
		{"MAC too long", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.MAC = append(slices.Clone(r.MAC), 0) }, tsig.ErrFormat},
		{"at the edge", func(_ *tsig.Key, _ *tsig.Record, now *time.Time) { *now = now.Add(300 * time.Second) }, nil},
		{"too old", func(_ *tsig.Key, _ *tsig.Record, now *time.Time) { *now = now.Add(301 * time.Second) }, tsig.ErrTime},
		{"of the future", func(_ *tsig.Key, _ *tsig.Record, now *time.Time) { *now = now.Add(-301 * time.Second) }, tsig.ErrTime},
		{"half a MAC, too old", func(_ *tsig.Key, r *tsig.Record, now *time.Time) { r.MAC, *now = r.MAC[:16], now.Add(time.Hour) }, tsig.ErrTime},
		{"another time", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.Time++ }, tsig.ErrSig},
		{"another fudge", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.Fudge++ }, tsig.ErrSig},
		{"an error", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.Error = 1 }, tsig.ErrSig},
		{"other data", func(_ *tsig.Key, r *tsig.Record, _ *time.Time) { r.Other = []byte{1} }, tsig.ErrSig},
	} {
		t.Run(c.name, func(t *testing.T) {
			made := tsig.Request(7, now)
			msg, _ := k.Sign(question(7), &made, nil, false)
			k, r, now := k, read(t, msg), now
			c.edit(&k, &r, &now)
			if err := k.Verify(msg, &r, nil, false, now); !errors.Is(err, c.want) || err != nil && c.want == nil {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("a fudge of more than ours", func(t *testing.T) {
		made := tsig.Request(7, now)
		made.Fudge = 65535
		msg, _ := k.Sign(question(7), &made, nil, false)
		r := read(t, msg)
		if err := k.Verify(msg, &r, nil, false, now.Add(301*time.Second)); !errors.Is(err, tsig.ErrTime) {
			t.Error(err)
		}
	})
}

// question is a query without TSIG.
func question(id uint16) []byte {
	msg := binary.BigEndian.AppendUint16(nil, id)
	return append(msg, "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03dyn\x07example\x03org\x00\x00\x06\x00\x01"...)
}

func TestReadRefuses(t *testing.T) {
	whole := recordings(t)[0].msg
	r := read(t, whole)
	edit := func(do func(msg []byte) []byte) []byte { return do(slices.Clone(whole)) }
	fixed := r.Offset + len(keyName) // type, class, TTL, length
	for name, msg := range map[string][]byte{
		"empty":           nil,
		"header cut":      whole[:11],
		"an octet behind": append(slices.Clone(whole), 0),
		"class IN":        edit(func(m []byte) []byte { m[fixed+3] = 1; return m }),
		"TTL":             edit(func(m []byte) []byte { m[fixed+7] = 1; return m }),
		"not additional":  edit(func(m []byte) []byte { m[9]++; m[11]--; return m }),
		"not last":        edit(func(m []byte) []byte { m[11]++; return append(m, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0) }),
		"twice":           edit(func(m []byte) []byte { m[11]++; return append(m, m[r.Offset:]...) }),
		"name points ahead": edit(func(m []byte) []byte {
			return append(append(m[:r.Offset:r.Offset], 0xc0|byte(fixed>>8), byte(fixed)), whole[fixed:]...)
		}),
		"name points at it": edit(func(m []byte) []byte {
			return append(append(m[:r.Offset:r.Offset], 0xc0, byte(r.Offset)), whole[fixed:]...)
		}),
		"algorithm is a ptr": edit(func(m []byte) []byte { m[fixed+10] = 0xc0; return m }),
		"algorithm is cut":   edit(func(m []byte) []byte { m[fixed+10] = 63; return m }),
		"MAC is cut":         edit(func(m []byte) []byte { m[len(m)-6-33]++; return m }),
		"other data missing": edit(func(m []byte) []byte { m[len(m)-1]++; return m }),
	} {
		if _, err := tsig.Read(msg); !errors.Is(err, tsig.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range whole {
		if _, err := tsig.Read(whole[:i]); !errors.Is(err, tsig.ErrFormat) {
			t.Errorf("cut to %d octets: %v", i, err)
		}
	}
	if _, err := tsig.Read(question(1)); !errors.Is(err, tsig.ErrNone) {
		t.Errorf("without a record: %v", err)
	}
	// A name may be compressed and have capitals (RFC 1035 section 4.1.4).
	short := edit(func(m []byte) []byte {
		return append(append(m[:r.Offset:r.Offset], "\x08K7m2Qx4P\xc0\x0c"...), whole[fixed:]...)
	})
	if got := read(t, short); !bytes.Equal(got.Name, keyName) {
		t.Errorf("name %q", got.Name)
	}
}

// Requests, answers and messages of a stream: what the DNS library signs is good
// here, and the other way round.
func TestLikeTheLibrary(t *testing.T) {
	for _, a := range tsig.Algorithms[:4] { // the library knows no MD5
		t.Run(string(a), func(t *testing.T) {
			k, lib := key(a), dns.HmacTSIG{Secret: secret}
			var prior []byte
			for i, timersOnly := range []bool{false, false, true, true} { // request, answer, its further messages
				option := dns.TSIGOption{RequestMAC: hex.EncodeToString(prior), TimersOnly: timersOnly}
				theirs := dns.NewMsg("dyn.example.org.", dns.TypeSOA)
				theirs.ID = uint16(100 + i)
				theirs.Pseudo = []dns.RR{dns.NewTSIG("k7m2qx4p.dyn.example.org.", string(a)+".", tsig.Fudge)}
				if err := dns.TSIGSign(theirs, lib, &option); err != nil {
					t.Fatal(err)
				}
				r := read(t, theirs.Data)
				if err := k.Verify(theirs.Data, &r, prior, timersOnly, signedAt(r)); err != nil {
					t.Errorf("message %d of the library: %v", i, err)
				}

				made := tsig.Request(uint16(200+i), time.Now())
				msg, mac := k.Sign(question(made.OriginalID), &made, prior, timersOnly)
				ours := &dns.Msg{Data: slices.Clone(msg)}
				if err := ours.Unpack(); err != nil {
					t.Fatal(err)
				}
				option = dns.TSIGOption{RequestMAC: hex.EncodeToString(prior), TimersOnly: timersOnly}
				if err := dns.TSIGVerify(ours, lib, &option); err != nil {
					t.Errorf("message %d of ours: %v", i, err)
				}
				prior = mac
			}
		})
	}
}

// The answer to a wrong clock tells ours, and the client can check it by its own.
func TestResponse(t *testing.T) {
	k := key(tsig.SHA256)
	then, now := time.Unix(1_767_225_600, 0), time.Unix(1_767_229_200, 0)
	made := tsig.Request(7, then)
	request, requestMAC := k.Sign(question(7), &made, nil, false)
	asked := read(t, request)

	told := asked.Response(tsig.BadTime, now)
	reply, _ := k.Sign(question(7), &told, requestMAC, false)
	r := read(t, reply)
	if err := k.Verify(reply, &r, requestMAC, false, then); err != nil {
		t.Error(err)
	}
	if want := []byte{0, 0, 0x69, 0x55, 0xc7, 0x10}; r.Error != tsig.BadTime || !bytes.Equal(r.Other, want) || r.Time != asked.Time {
		t.Errorf("error %d, time %d, other data %x, want %x", r.Error, r.Time, r.Other, want)
	}

	refused := asked.Refusal(tsig.BadKey)
	if size := refused.Size(); len(refused.Append(question(7))) != len(question(7))+size {
		t.Errorf("Size is %d", size)
	}
	r = read(t, refused.Append(question(7)))
	if r.Error != tsig.BadKey || len(r.MAC) > 0 || r.OriginalID != 7 || !bytes.Equal(r.Name, keyName) {
		t.Errorf("refusal %+v", r)
	}
}

func TestParseAlgorithm(t *testing.T) {
	for text, want := range map[string]tsig.Algorithm{
		"HMAC-SHA256": tsig.SHA256, "hmac-sha512.": tsig.SHA512, "hmac-md5.sig-alg.reg.int.": tsig.MD5, "hmac-sha224": "", "": "",
	} {
		if got, ok := tsig.ParseAlgorithm(text); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}

// Whatever comes: what is read can be written again as it was, but for the
// compression of its name, and nothing is signed by a key that did not sign it.
func FuzzRead(f *testing.F) {
	for _, r := range recordings(f) {
		f.Add(r.msg)
	}
	f.Add(question(1))
	k := tsig.Key{Name: keyName, Algorithm: tsig.SHA256, Secret: []byte("nobody has this")}
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, err := tsig.Read(msg)
		if err != nil {
			return
		}
		bare := slices.Clone(msg[:r.Offset])
		binary.BigEndian.PutUint16(bare[10:], binary.BigEndian.Uint16(bare[10:])-1)
		again, err := tsig.Read(r.Append(bare))
		if err != nil {
			t.Fatalf("read, written and read: %v", err)
		}
		if again.Offset != r.Offset || !bytes.Equal(again.Name, r.Name) || !bytes.Equal(again.Signed(bare, nil, true), r.Signed(bare, nil, true)) {
			t.Fatalf("%+v became %+v", r, again)
		}
		if err := k.Verify(msg, &r, nil, false, time.Unix(int64(r.Time), 0)); err == nil {
			t.Fatal("it holds")
		}
	})
}
