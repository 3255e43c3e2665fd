package zone

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"codeberg.org/miekg/dns"
)

// SvcParamKeys of RFC 9460 section 14.3.2 that others depend on.
const (
	svcMandatory     = 0
	svcALPN          = 1
	svcNoDefaultALPN = 2
)

// isService tells whether records of a type have SvcParams.
func isService(rrtype uint16) bool { return rrtype == dns.TypeSVCB || rrtype == dns.TypeHTTPS }

// joinService makes the text of a service record of its fields: the value of a
// SvcParam may be quoted (RFC 9460 appendix A), and the scanner ends a field
// before a quote, as other types want it.
func joinService(fields []string) string {
	return strings.ReplaceAll(strings.Join(fields, " "), `= "`, `="`)
}

// orderService puts the SvcParams of a service record's data, which is in wire
// form, and the keys in "mandatory" into the order that RFC 9460 sections 2.2 and
// 8 want, and says what of them contradicts itself (sections 7.1.1 and 8).
func orderService(rdata []byte) error {
	params := rdata[2:]
	for params[0] != 0 {
		params = params[1+int(params[0]):]
	}
	params = params[1:]
	values := map[uint16][]byte{}
	for rest := bytes.Clone(params); len(rest) > 0; {
		key, n := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if _, twice := values[key]; twice {
			return fmt.Errorf("key%d is there twice", key)
		}
		values[key], rest = rest[4:4+n], rest[4+n:]
	}
	if _, is := values[svcNoDefaultALPN]; is && len(values[svcALPN]) == 0 {
		return errors.New("no-default-alpn without alpn")
	}
	if alpn, is := values[svcALPN]; is && len(alpn) == 0 {
		return errors.New("alpn without a protocol")
	}
	if err := orderMandatory(values); err != nil {
		return err
	}
	ordered := params[:0]
	for _, key := range slices.Sorted(maps.Keys(values)) {
		ordered = binary.BigEndian.AppendUint16(ordered, key)
		ordered = binary.BigEndian.AppendUint16(ordered, uint16(len(values[key])))
		ordered = append(ordered, values[key]...)
	}
	return nil
}

func orderMandatory(values map[uint16][]byte) error {
	mandatory := values[svcMandatory]
	var keys []uint16
	for at := 0; at < len(mandatory); at += 2 {
		keys = append(keys, binary.BigEndian.Uint16(mandatory[at:]))
	}
	slices.Sort(keys)
	for i, key := range keys {
		if _, is := values[key]; !is || key == svcMandatory || i > 0 && keys[i-1] == key {
			return fmt.Errorf("mandatory names key%d, which must be another one that is there, once", key)
		}
		binary.BigEndian.PutUint16(mandatory[2*i:], key)
	}
	return nil
}
