package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/smithy-go"

	"godwit/internal/api"
	"godwit/internal/awscall"
	"godwit/internal/ddns"
)

// inProcess has a handler of this process answer a request, as if it had come
// over the admin socket: whoever runs the process is its operator. The answer's
// body comes while the handler writes it. What a server would keep to its log,
// why it could not do something, is told: the operator has no other log.
func inProcess(handler http.Handler, log *operatorLog, r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Net: "unix"})))
	in := r.Clone(ctx)
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	body, to := io.Pipe()
	w := &pipedAnswer{header: http.Header{}, to: to, begun: make(chan struct{})}
	log.forget()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			err := io.EOF
			if recover() != nil { // the handler's guard lets http.ErrAbortHandler alone through
				err = withFix(cmp.Or(log.cause(), error(io.ErrUnexpectedEOF)))
			}
			w.WriteHeader(http.StatusOK)
			_ = to.CloseWithError(err) // never fails
		}()
		handler.ServeHTTP(w, in)
	}()
	<-w.begun // the handler's calls end with the context, so it answers
	out := &http.Response{StatusCode: w.status, Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, ContentLength: -1, Request: r, Body: &pipedBody{body, func() { cancel(); <-done }}}
	if w.status < http.StatusInternalServerError {
		return out, nil
	}
	defer out.Body.Close()
	if r.Method == http.MethodGet && errors.Is(r.Context().Err(), context.Canceled) {
		return nil, r.Context().Err() // the person has had enough
	}
	var p api.Problem
	if err := json.NewDecoder(out.Body).Decode(&p); err != nil {
		return nil, fmt.Errorf("could not do it: %w", err)
	}
	if cause := log.cause(); cause != nil {
		p.Detail, p.Help = told(r, cause)
		p.RetryAfter = 0
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	out.Body = io.NopCloser(bytes.NewReader(text))
	return out, nil
}

// told is why a request was not done and what to do, in two texts.
func told(r *http.Request, cause error) (detail, help string) {
	changes := r.Method != http.MethodGet
	switch {
	case errors.Is(cause, ddns.ErrConflict):
		return cause.Error(), "somebody else is changing it at the same time: run the command again"
	case changes && (awscall.Unknown(cause) || r.Context().Err() != nil):
		return "could not confirm that it was done: " + cause.Error(), "look before you repeat it: godwit host list"
	}
	return cause.Error(), fixOf(cause)
}

// withFix adds what to do, if the error does not say so itself.
func withFix(err error) error {
	if fix := fixOf(err); fix != "" {
		return fmt.Errorf("%w; %s", err, fix)
	}
	return err
}

// fixOf is what an operator can do about what AWS says; "" if that is not known,
// or said already.
func fixOf(err error) string {
	code := ""
	e, answered := errors.AsType[*awscall.Error](err)
	if answered {
		code = e.Code
	} else if e, ok := errors.AsType[smithy.APIError](err); ok {
		code = e.ErrorCode()
	}
	switch code {
	case "ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch":
		return "AWS does not know these credentials, or they have expired: get new ones, and look with: aws sts get-caller-identity"
	case "AccessDeniedException", "ResourceNotFoundException", "UnrecognizedClientException", "ExpiredTokenException": // DynamoDB's: the store says it
		return ""
	}
	switch {
	case awscall.Throttled(err) || code == "Throttling":
		return "AWS has no room for it at the moment: try again in a minute"
	case answered && e.Status == http.StatusForbidden:
		return "the credentials may not do this: compare them with the policy that godwit aws deploy prints"
	case answered && e.Status >= http.StatusInternalServerError:
		return "AWS is in trouble: try again later"
	case errors.Is(err, context.DeadlineExceeded):
		return "AWS has not answered in time: check the network, and try again"
	case code == "" && errors.As(err, new(net.Error)):
		return "AWS is not reached: check the network and the region, and try again"
	}
	return ""
}

// causeOf is what is behind a refusal that has a cause.
func causeOf(err error) error {
	if r, ok := errors.AsType[*ddns.Refusal](err); ok && r.Cause != nil {
		return r.Cause
	}
	return err
}

// pipedAnswer is an [http.ResponseWriter] that writes into a pipe.
type pipedAnswer struct {
	header, sent http.Header
	status       int
	to           *io.PipeWriter
	begun        chan struct{} // closed when status and sent are there
}

func (w *pipedAnswer) Header() http.Header { return w.header }

func (w *pipedAnswer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status, w.sent = status, w.header.Clone()
	close(w.begun)
}

func (w *pipedAnswer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.to.Write(b)
}

// pipedBody ends the handler with the body.
type pipedBody struct {
	*io.PipeReader
	end func()
}

func (b *pipedBody) Close() error {
	err := b.PipeReader.Close()
	b.end()
	return err
}

// operatorLog is the log of what a server would be, for the one person who is there:
// warnings are said, and the last error is kept for the answer that it explains.
// It is a [slog.Handler] by way of logger. Safe for concurrent use.
type operatorLog struct {
	say func(string, ...any)

	mu   sync.Mutex // guards following
	last error
}

func (l *operatorLog) logger() *slog.Logger { return slog.New(logHandler{operatorLog: l}) }

func (l *operatorLog) forget() { l.set(nil) }

func (l *operatorLog) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = err
}

// cause is the last error that was logged; nil: none.
func (l *operatorLog) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

type logHandler struct {
	*operatorLog
	with []slog.Attr
}

func (logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.with = append(h.with[:len(h.with):len(h.with)], attrs...)
	return h
}

// WithGroup leaves groups out: nothing of ours makes one.
func (h logHandler) WithGroup(string) slog.Handler { return h }

// Handle says a record as a sentence, or keeps its error.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var about []string
	var cause error
	take := func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && a.Key == "err" {
			cause = err
			return true
		}
		about = append(about, fmt.Sprintf("%s %v", a.Key, a.Value))
		return true
	}
	for _, a := range h.with {
		take(a)
	}
	r.Attrs(take)
	if r.Level >= slog.LevelError && cause != nil {
		h.set(causeOf(cause))
		return nil
	}
	text := r.Message
	if len(about) > 0 {
		text += " (" + strings.Join(about, ", ") + ")"
	}
	if cause != nil {
		text += ": " + withFix(cause).Error()
	}
	h.say("Warning: %s", text)
	return nil
}
