package awstest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// URLRequest is a request to a Function URL, of which [URLRequest.Event] makes
// what the function gets. The zero value of a field is what is said there.
type URLRequest struct {
	Method  string // POST
	Path    string // "/"; as in the request line, escaped
	Query   string // without "?"
	Source  string // the caller's address, in the platform's spelling
	Body    string // none
	Encoded bool   // the platform chose base64 for the body
	Header  map[string]string
	Cookies []string
}

// Event is the event in payload format 2.0 (docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html):
// header names in lower case, a body only if there is one.
func (q URLRequest) Event() []byte {
	method, path := q.Method, q.Path
	if method == "" {
		method = "POST"
	}
	if path == "" {
		path = "/"
	}
	const domain = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
	headers := map[string]string{
		"host": domain, "user-agent": "curl/8.0", "accept": "*/*", "content-type": "application/json",
		"x-amzn-trace-id": "Root=1-00000000-000000000000000000000000", "x-amzn-tls-version": "TLSv1.3",
		"x-forwarded-for": q.Source, "x-forwarded-proto": "https", "x-forwarded-port": "443",
	}
	for name, value := range q.Header {
		headers[strings.ToLower(name)] = value
	}
	event := map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": q.Query, "headers": headers,
		"requestContext": map[string]any{
			"accountId": "anonymous", "apiId": domain[:32], "domainName": domain, "domainPrefix": domain[:32],
			"http":      map[string]any{"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": q.Source, "userAgent": "curl/8.0"},
			"requestId": "00000000-0000-0000-0000-000000000000", "routeKey": "$default", "stage": "$default",
			"time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 1767225600000,
		},
		"isBase64Encoded": q.Encoded,
	}
	if len(q.Cookies) > 0 {
		event["cookies"] = q.Cookies
		headers["cookie"] = strings.Join(q.Cookies, "; ")
	}
	if q.Body != "" {
		event["body"] = q.Body
		if q.Encoded {
			event["body"] = base64.StdEncoding.EncodeToString([]byte(q.Body))
		}
	}
	return mustJSON(event)
}

// URLAnswer is a function's answer to a Function URL.
type URLAnswer struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

// ParseURLAnswer reads an answer and decodes its body.
func ParseURLAnswer(data []byte) (URLAnswer, error) {
	var a URLAnswer
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("answer %.200q: %w", data, err)
	}
	if a.IsBase64Encoded {
		body, err := base64.StdEncoding.DecodeString(a.Body)
		if err != nil {
			return a, fmt.Errorf("answer %.200q: %w", data, err)
		}
		a.Body = string(body)
	}
	return a, nil
}

// StreamEvent is a batch of a DynamoDB stream: one record for each key, in that
// order, with sequence numbers that begin at first. A key may be there more than
// once.
func StreamEvent(first int, keys ...string) []byte {
	records := make([]any, len(keys))
	for i, key := range keys {
		records[i] = map[string]any{
			"eventID": fmt.Sprintf("%032x", first+i), "eventName": "MODIFY", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
			"dynamodb": map[string]any{
				"ApproximateCreationDateTime": 1767225600, "Keys": map[string]any{"hostname": map[string]any{"S": key}},
				"NewImage":       map[string]any{"hostname": map[string]any{"S": key}, "gw_due": map[string]any{"N": "1767225600"}},
				"SequenceNumber": SequenceNumber(first + i), "SizeBytes": 59, "StreamViewType": "NEW_IMAGE",
			},
			"eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/godwit/stream/2026-01-01T00:00:00.000",
		}
	}
	return mustJSON(map[string]any{"Records": records})
}

// SequenceNumber is the n-th record's, in the form of DynamoDB's.
func SequenceNumber(n int) string { return fmt.Sprintf("%021d", n) }

// ScheduleEvent is what a scheduled rule sends.
func ScheduleEvent() []byte {
	return mustJSON(map[string]any{
		"version": "0", "id": "00000000-0000-0000-0000-000000000000", "detail-type": "Scheduled Event", "source": "aws.events",
		"account": "123456789012", "time": "2026-01-01T00:00:00Z", "region": "us-east-1",
		"resources": []string{"arn:aws:events:us-east-1:123456789012:rule/godwit"}, "detail": map[string]any{},
	})
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // cannot be: maps of texts
		panic(err)
	}
	return b
}
