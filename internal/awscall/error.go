package awscall

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Error is a service's answer that is not a success.
type Error struct {
	Status  int    // 300 to 599
	Code    string // "ConditionalCheckFailedException"; "" if the body says none
	Message string // at most 1 KiB of it
	Body    []byte // the whole answer, for callers that need more than the code
	// Date is the service's clock, to the second; zero if it sent none.
	Date time.Time
}

func (e *Error) Error() string {
	code := e.Code
	if code == "" {
		code = "answer"
	}
	text := code + " (HTTP " + strconv.Itoa(e.Status) + ")"
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// lostError is a request that got no answer, or none that can be trusted.
type lostError struct {
	cause error
	sent  bool // it may have arrived
}

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// callError is what Do returns: the last attempt's error, and whether any
// attempt may have taken effect.
type callError struct {
	doing   string
	cause   error
	unknown bool
}

func (e *callError) Error() string {
	if e.unknown {
		return e.doing + ": could not confirm that it was done: " + e.cause.Error()
	}
	return e.doing + ": " + e.cause.Error()
}
func (e *callError) Unwrap() error { return e.cause }

// Unknown tells whether a request that ended in err may have taken effect: an
// answer was lost, or the service failed after it had begun. It may be true of
// an [*Error] too, if an attempt before the one that it answers was lost.
func Unknown(err error) bool {
	if e, ok := errors.AsType[*callError](err); ok {
		return e.unknown
	}
	if e, ok := errors.AsType[*lostError](err); ok {
		return e.sent
	}
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status >= 500 && !e.throttled()
}

// Throttled tells whether the service had no room for the request that ended in
// err. That request did nothing.
func Throttled(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.throttled()
}

func (e *Error) throttled() bool {
	switch e.Code {
	case "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"ProvisionedThroughputExceededException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown",
		"BandwidthLimitExceeded", "LimitExceededException", "TransactionInProgressException",
		"PriorRequestNotComplete": // Route 53: another change of the same zone is being processed
		return true
	}
	return e.Status == http.StatusTooManyRequests
}

// again tells whether an attempt that did nothing is worth another.
func again(err error) bool {
	if e, ok := errors.AsType[*lostError](err); ok {
		return !e.sent
	}
	return Throttled(err)
}

const maxMessage = 1 << 10

// newError reads an answer that is not a success.
func newError(resp *http.Response, text []byte) *Error {
	e := &Error{Status: resp.StatusCode, Body: text}
	e.Code, e.Message = decodeError(text)
	if e.Code == "" {
		e.Code = shortCode(resp.Header.Get("X-Amzn-Errortype"))
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		e.Date = date
	}
	return e
}

// decodeError finds code and message in an error's body: JSON with "__type", or
// XML as ErrorResponse or with the code as its root. Other bodies have neither.
func decodeError(text []byte) (code, message string) {
	text = bytes.TrimLeft(text, " \t\r\n")
	switch {
	case len(text) == 0:
	case text[0] == '{':
		var e struct { // member names match in any case
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(text, &e) // what could be read stays
		code, message = e.Type, e.Message
	case text[0] == '<':
		code, message = decodeXML(text)
	}
	return shortCode(code), clip(message)
}

// shortCode takes the namespace from "com.amazonaws.dynamodb.v20120810#Code"
// and what may follow the code in a header.
func shortCode(code string) string {
	code = code[strings.LastIndexByte(code, '#')+1:]
	code, _, _ = strings.Cut(code, ":")
	if len(code) > 128 || strings.ContainsFunc(code, func(r rune) bool {
		return r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return ""
	}
	return code
}

func clip(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// decodeXML reads as much of the body as makes sense.
func decodeXML(text []byte) (code, message string) {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	root := ""
	var in strings.Builder // the element at hand
	var messages []string
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		switch t := token.(type) {
		case xml.StartElement:
			if root == "" {
				root = t.Name.Local
			}
			in.Reset()
		case xml.CharData:
			if in.Len() <= maxMessage {
				in.Write(t)
			}
		case xml.EndElement:
			switch {
			case t.Name.Local == "Code" && code == "":
				code = in.String()
			case t.Name.Local == "Message" && len(messages) < 10:
				messages = append(messages, in.String())
			}
			in.Reset()
		}
	}
	if code == "" && root != "ErrorResponse" && len(messages) > 0 {
		code = root // InvalidChangeBatch is a root of its own
	}
	return code, strings.Join(messages, "; ")
}
