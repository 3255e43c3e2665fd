package dnssec

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"godwit/internal/dnsname"
)

const (
	// algorithm is ECDSA P-256 with SHA-256 (RFC 6605), which every validator
	// knows and whose signatures are small.
	algorithm = 13
	// digestSHA256 is the digest of DS records (RFC 4509); others are no longer
	// needed (RFC 8624 section 3.3).
	digestSHA256 = 2
	// flagsKey says of a key that it is the zone's, and that DS records point to
	// it (RFC 4034 section 2.1.1).
	flagsKey  = 257
	protocol  = 3
	sigLen    = 64
	typeKey   = 48
	typeCDS   = 59
	typeCDKey = 60
)

// publicData is the data of a key's DNSKEY record.
func publicData(k *ecdsa.PublicKey) ([]byte, error) {
	point, err := k.Bytes() // 4, X, Y
	if err != nil {
		return nil, err
	}
	return append([]byte{flagsKey >> 8, flagsKey & 0xff, protocol, algorithm}, point[1:]...), nil
}

// tag is the key tag of a DNSKEY record's data (RFC 4034 appendix B).
func tag(dnskey []byte) uint16 {
	var sum uint32
	for i, c := range dnskey {
		if i%2 == 0 {
			sum += uint32(c) << 8
		} else {
			sum += uint32(c)
		}
	}
	return uint16(sum + sum>>16)
}

// A DS is what the parent zone is to have of a key (RFC 4034 section 5).
type DS struct {
	Tag       uint16
	Algorithm uint8
	Digest    uint8  // type
	Data      string // the digest, in lower-case hexadecimal
}

// Text is the record's data as in a zone file.
func (d DS) Text() string {
	return fmt.Sprintf("%d %d %d %s", d.Tag, d.Algorithm, d.Digest, strings.ToUpper(d.Data))
}

// digest is the DS of a DNSKEY record's data.
func digest(apex dnsname.Name, dnskey []byte) DS {
	sum := sha256.Sum256(append([]byte(apex.Wire()), dnskey...))
	return DS{tag(dnskey), algorithm, digestSHA256, fmt.Sprintf("%x", sum)}
}

// cds is the data of a CDS record: that of the DS (RFC 7344 section 3.1).
func cds(apex dnsname.Name, dnskey []byte) []byte {
	sum := sha256.Sum256(append([]byte(apex.Wire()), dnskey...))
	out := binary.BigEndian.AppendUint16(nil, tag(dnskey))
	return append(append(out, algorithm, digestSHA256), sum[:]...)
}

// deleteCDS and deleteCDNSKEY ask the parent to take its DS records away (RFC 8078
// section 4).
var (
	deleteCDS     = []byte{0, 0, 0, 0, 0}
	deleteCDNSKEY = []byte{0, 0, protocol, 0, 0}
)

// keyText is the data of a DNSKEY record as in a zone file.
func keyText(dnskey []byte) string {
	return fmt.Sprintf("%d %d %d %s", binary.BigEndian.Uint16(dnskey), dnskey[2], dnskey[3], base64.StdEncoding.EncodeToString(dnskey[4:]))
}
