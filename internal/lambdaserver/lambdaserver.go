// Package lambdaserver is what one AWS Lambda function is asked for: an
// http.Handler's answers behind a Function URL, the records of a table's stream,
// and a schedule.
//
// What an event is follows from its shape and from nothing else, in this order:
//
//	requestContext.http     a request through the Function URL (payload format 2.0)
//	Records                 a batch of a DynamoDB stream
//	source is aws.events    the schedule
//
// Anything else is refused with an error, which makes the invocation fail.
// Through the URL only the first can arrive: the platform makes the event, and a
// caller fills in texts. Whoever may call Invoke directly can make all of it up,
// the source address too; the function's policy is what keeps them out.
//
// The package knows no AWS library: [Server.Invoke] takes and gives the bytes
// that the Lambda Runtime API carries.
package lambdaserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Config is what a Server is made of.
type Config struct {
	// HTTP answers requests through the Function URL. Required.
	HTTP http.Handler
	// Publish makes DNS show what the hosts with these keys of the table say by
	// now, and returns one error for each, in order: nil means that nothing of it
	// need be done again. Each key is there once. nil: there is no stream.
	Publish func(ctx context.Context, keys []string) []error
	// Tick does what the schedule is for. nil: there is no schedule.
	Tick func(ctx context.Context) error
	// RequestTime is how long a request through the URL may take; it ends sooner
	// if the invocation does. 0: 8 s, less than the 30 s after which a repair may
	// publish the same host.
	RequestTime time.Duration
	Log         *slog.Logger // nil: nothing is logged
}

const (
	defaultRequestTime = 8 * time.Second
	// answerTime is kept back from the invocation's time for the answer.
	answerTime = 500 * time.Millisecond
)

// Server answers events. Safe for concurrent use.
type Server struct{ Config }

// New returns a Server. It starts nothing.
func New(c Config) (*Server, error) {
	if c.HTTP == nil {
		return nil, errors.New("lambdaserver: Config.HTTP is missing")
	}
	if c.RequestTime <= 0 {
		c.RequestTime = defaultRequestTime
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{c}, nil
}

// event is as much of an event as is looked at.
type event struct {
	RequestContext struct {
		DomainName string `json:"domainName"`
		HTTP       *struct {
			Method   string `json:"method"`
			Protocol string `json:"protocol"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"`
	} `json:"requestContext"`
	RawPath         string            `json:"rawPath"`
	RawQueryString  string            `json:"rawQueryString"`
	Cookies         []string          `json:"cookies"`
	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`

	Records []record `json:"Records"`

	Source string `json:"source"`
}

// Invoke answers one event. ctx carries the invocation's deadline; what Invoke
// does ends a little before it, so that there is time for the answer.
//
// A request through the URL always gets an answer and never an error. An error
// is for the platform: the event is none of ours, the schedule's work failed, or
// a batch has a record that cannot be named as failed. The platform tries a
// failed batch again.
func (s *Server) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("the event is not understood: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-answerTime))
		defer cancel()
	}
	switch {
	case e.RequestContext.HTTP != nil:
		return s.request(ctx, &e), nil
	case e.Records != nil:
		return s.stream(ctx, e.Records)
	case e.Source == "aws.events":
		if s.Tick == nil {
			return nil, errors.New("the schedule has nothing to do here: take the rule away")
		}
		return []byte("null"), s.Tick(ctx)
	}
	return nil, errors.New("the event is not one of a Function URL, of a DynamoDB stream or of a schedule; nothing else is served")
}
