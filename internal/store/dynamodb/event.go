package dynamodb

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"godwit/internal/ddns"
)

// appendEvent writes an event as the JSON that ddns.Event reads. The mark is of
// this one write: who has lost the answer knows his own by it.
func appendEvent(dst []byte, e *ddns.Event, mark uint64) []byte {
	dst = append(dst, `{"write":"`...)
	dst = strconv.AppendUint(dst, mark, 36)
	dst = append(dst, `","time":"`...)
	dst = e.Time.UTC().Truncate(time.Microsecond).AppendFormat(dst, time.RFC3339Nano)
	dst = strconv.AppendUint(append(dst, `","generation":`...), e.Generation, 10)
	dst = appendQuoted(append(dst, `,"outcome":`...), e.Outcome)
	dst = appendQuoted(append(dst, `,"door":`...), e.Door)
	if e.Credential != "" {
		dst = appendQuoted(append(dst, `,"credential":`...), e.Credential)
	}
	if e.Source.IsValid() {
		dst = append(e.Source.AppendTo(append(dst, `,"source":"`...)), '"')
	}
	if e.Proven {
		dst = append(dst, `,"proven":true`...)
	}
	if e.What != "" {
		dst = appendQuoted(append(dst, `,"what":`...), e.What)
	}
	list := func(name string, addrs []netip.Addr) {
		if len(addrs) == 0 {
			return
		}
		dst = append(dst, `,"`...)
		dst = append(dst, name...)
		for i, a := range addrs {
			if dst = append(dst, `,"`...); i == 0 {
				dst = append(dst[:len(dst)-2], `":["`...)
			}
			dst = append(a.AppendTo(dst), '"')
		}
		dst = append(dst, ']')
	}
	list("before", e.Before)
	list("after", e.After)
	return append(dst, '}')
}

func parseEvent(text string) (e ddns.Event, err error) {
	err = json.Unmarshal([]byte(text), &e)
	return e, err
}

// slot is where in gw_log the event of a generation stands: over that of
// MaxEvents generations before. The list has all its places from the beginning,
// so one can be written without reading the others.
func slot(generation uint64) int { return int(generation % ddns.MaxEvents) }

func appendLog(dst []byte, generation uint64, event string) []byte {
	dst = append(dst, `{"L":[`...)
	for i := range ddns.MaxEvents {
		if i > 0 {
			dst = append(dst, ',')
		}
		if text := ""; i == slot(generation) {
			dst = appendS(dst, event)
		} else {
			dst = appendS(dst, text)
		}
	}
	return append(dst, "]}"...)
}
