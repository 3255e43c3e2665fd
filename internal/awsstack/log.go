package awsstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"godwit/internal/awscall"
)

// Line is what the function's log has of one request for a change. What changes
// nothing leaves no line.
type Line struct {
	Time    time.Time `json:"time"`
	Host    string    `json:"host"`
	Door    string    `json:"door"`
	Outcome string    `json:"outcome"`
	Source  string    `json:"source"`
	Err     string    `json:"err"` // why the server could not do it; for operators
	// Taken is when CloudWatch took the line, in milliseconds since 1970. Lines are
	// found some seconds after they were written, and not in order.
	Taken int64 `json:"-"`
}

const (
	maxLogPages = 20
	logPage     = 1000 // lines
)

// Requests reads what the function's log has of requests since a time, of one host
// or of all with host "". At most 20,000 lines are read, the oldest first.
func (s *Stack) Requests(ctx context.Context, group, host string, since time.Time) ([]Line, error) {
	pattern := `{ $.msg = "update" }`
	if host != "" {
		pattern = `{ $.msg = "update" && $.host = "` + host + `" }`
	}
	in := map[string]any{"logGroupName": group, "startTime": since.UnixMilli(), "limit": logPage, "filterPattern": pattern}
	var lines []Line
	for range maxLogPages {
		body, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		r, err := s.calls["logs"].Do(ctx, awscall.Request{Method: http.MethodPost, Path: "/", Body: body, Repeat: true,
			Header: http.Header{"X-Amz-Target": {"Logs_20140328.FilterLogEvents"}, "Content-Type": {"application/x-amz-json-1.1"}}})
		if err != nil {
			return nil, fmt.Errorf("read the function's log %s: %w", group, explain(err))
		}
		var out struct {
			Events []struct {
				Message       string
				IngestionTime int64
			}
			NextToken string
		}
		if err := json.Unmarshal(r.Body, &out); err != nil {
			return nil, fmt.Errorf("read the function's log %s: the answer is not understood: %w", group, err)
		}
		for _, e := range out.Events {
			if l, ok := parseLine(e.Message); ok && (host == "" || l.Host == host) {
				l.Taken = e.IngestionTime
				lines = append(lines, l)
			}
		}
		if out.NextToken == "" {
			break
		}
		in["nextToken"] = out.NextToken
	}
	return lines, nil
}

// parseLine reads a line of the log, if it is about a request for a change. The
// log is the function's own, but what it logs of a stranger's request is not: a
// line is JSON or nothing, and its texts are cut.
func parseLine(text string) (Line, bool) {
	var in struct {
		Msg string `json:"msg"`
		Line
	}
	if len(text) > 1<<14 || json.Unmarshal([]byte(text), &in) != nil || in.Msg != "update" || in.Outcome == "" || in.Time.IsZero() {
		return Line{}, false
	}
	for _, t := range []*string{&in.Host, &in.Door, &in.Outcome, &in.Source, &in.Err} {
		*t = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				return -1
			}
			return r
		}, (*t)[:min(len(*t), 300)])
	}
	return in.Line, true
}
