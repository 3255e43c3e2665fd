package tsig

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strings"
)

// Algorithm is the name of a MAC algorithm as people write it, lower case and
// without a dot at the end.
type Algorithm string

// The algorithms of RFC 8945 section 6 that there are here. The last two are for
// devices that know no other: MD5 must not be used and SHA-1 should not be.
const (
	SHA256 Algorithm = "hmac-sha256"
	SHA384 Algorithm = "hmac-sha384"
	SHA512 Algorithm = "hmac-sha512"
	SHA1   Algorithm = "hmac-sha1"
	MD5    Algorithm = "hmac-md5"
)

// Algorithms are all there are, the one to choose first.
var Algorithms = []Algorithm{SHA256, SHA384, SHA512, SHA1, MD5}

type function struct {
	wire string
	size int
	new  func() hash.Hash
}

var functions = map[Algorithm]function{
	SHA256: {"\x0bhmac-sha256\x00", sha256.Size, sha256.New},
	SHA384: {"\x0bhmac-sha384\x00", sha512.Size384, sha512.New384},
	SHA512: {"\x0bhmac-sha512\x00", sha512.Size, sha512.New},
	SHA1:   {"\x09hmac-sha1\x00", sha1.Size, sha1.New},
	MD5:    {"\x08hmac-md5\x07sig-alg\x03reg\x03int\x00", md5.Size, md5.New},
}

// ParseAlgorithm reads an algorithm as people and programs write it: in any
// case, with a dot at the end or not, MD5 with its long name too.
func ParseAlgorithm(text string) (Algorithm, bool) {
	a := Algorithm(strings.TrimSuffix(strings.ToLower(text), "."))
	if a == "hmac-md5.sig-alg.reg.int" {
		a = MD5
	}
	_, ok := functions[a]
	return a, ok
}

// FromWire is the algorithm of a [Record].
func FromWire(wire []byte) (Algorithm, bool) {
	for a, f := range functions {
		if f.wire == string(wire) {
			return a, true
		}
	}
	return "", false
}

// Wire is the algorithm's name in wire form; nil if it is none of ours.
func (a Algorithm) Wire() []byte {
	f, ok := functions[a]
	if !ok {
		return nil
	}
	return []byte(f.wire)
}

// Size is the length of a full MAC in octets, and of a good secret.
func (a Algorithm) Size() int { return functions[a].size }
