package awscall

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeError(t *testing.T) {
	for _, c := range []struct{ text, code, message string }{
		{``, "", ""},
		{`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no table"}`, "ResourceNotFoundException", "no table"},
		{` {"__type":"ThrottlingException","Message":"m"}`, "ThrottlingException", "m"},
		{`{"__type":7,"message":"m"}`, "", "m"},
		{`{"__type":`, "", ""},
		{`[]`, "", ""},
		{"<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error><Type>Sender</Type><Code>NoSuchHostedZone</Code><Message>none &lt;here&gt;</Message></Error><RequestId>r</RequestId></ErrorResponse>", "NoSuchHostedZone", "none <here>"},
		{`<InvalidChangeBatch xmlns="x"><Messages><Message>one</Message><Message>two</Message></Messages></InvalidChangeBatch>`, "InvalidChangeBatch", "one; two"},
		{`<html><body><p>Log in</p></body></html>`, "", ""},
		{`<ErrorResponse><Error><Code>Thrott`, "", ""},
		{`<ErrorResponse><Error><Code>Throttling</Code><Message>cut o`, "Throttling", ""},
		{`{"__type":"a b"}`, "", ""},
	} {
		if code, message := decodeError([]byte(c.text)); code != c.code || message != c.message {
			t.Errorf("%s: %q, %q", c.text, code, message)
		}
	}
}

// FuzzDecodeError: whatever a service or a box in between says, code and message
// are short, printable as text, and a code is a word.
func FuzzDecodeError(f *testing.F) {
	for _, seed := range []string{`{"__type":"a#B:c","message":"\ud800"}`, `<A><Code>B</Code><Message>c</Message></A>`, `<A><Message>b</Message></A>`,
		`<?xml version="1.0" encoding="latin1"?><A>`, "<\xff>", `{"__type":{}}`, `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		code, message := decodeError(text)
		if len(code) > 128 || strings.ContainsAny(code, " \n\"<#:") || len(message) > maxMessage || !utf8.ValidString(message) {
			t.Errorf("%q, %q", code, message)
		}
	})
}
