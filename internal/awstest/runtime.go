package awstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Runtime is the Lambda Runtime API of one execution environment
// (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): one program polls it
// for events and answers them one after the other. What it does not show: that
// Lambda freezes a program between two events, and more than one event at a time.
// Safe for concurrent use; make it with [NewRuntime].
type Runtime struct {
	// Timeout of the function: each event's deadline is that far away. It does not
	// end the program, which is what Lambda does then. It is set before first use.
	Timeout time.Duration

	listener net.Listener
	server   *http.Server
	served   chan struct{}

	invoking sync.Mutex // held while an event is with the program
	polls    chan chan handedOut
	failed   chan Answer // the program could not start

	mu     sync.Mutex             // guards following
	events int                    // handed out so far
	waited map[string]chan Answer // by request ID; an answer that nobody waits for any more is dropped
}

// handedOut is an event on its way to the program.
type handedOut struct {
	id       string
	payload  []byte
	deadline time.Time
}

// Answer is what a program said to an event.
type Answer struct {
	// Body is the answer, or the error's JSON if Failed.
	Body   []byte
	Failed bool
	// Handed is when the program was given the event, Came when its answer came.
	Handed, Came time.Time
}

// NewRuntime starts a Runtime API on a free port of 127.0.0.1. The function's
// timeout is 60 s unless it is set to something else.
func NewRuntime() (*Runtime, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Runtime{
		Timeout: time.Minute, listener: listener, served: make(chan struct{}),
		polls: make(chan chan handedOut), failed: make(chan Answer, 1), waited: make(map[string]chan Answer),
	}
	const api = "/2018-06-01/runtime/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api+"invocation/next", r.handOut)
	mux.HandleFunc("POST "+api+"invocation/{id}/response", r.take)
	mux.HandleFunc("POST "+api+"invocation/{id}/error", r.take)
	mux.HandleFunc("POST "+api+"init/error", r.take)
	r.server = &http.Server{Handler: mux}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(listener) // until Close
	}()
	return r, nil
}

// Address is what AWS_LAMBDA_RUNTIME_API has to say.
func (r *Runtime) Address() string { return r.listener.Addr().String() }

// Close ends the API and the connections to it.
func (r *Runtime) Close() error {
	err := r.server.Close()
	<-r.served
	return err
}

// handOut is the program's wait for an event.
func (r *Runtime) handOut(w http.ResponseWriter, req *http.Request) {
	event := make(chan handedOut, 1)
	select {
	case r.polls <- event:
	case <-req.Context().Done():
		return
	}
	select {
	case e := <-event:
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", e.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(e.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:godwit")
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
		_, _ = w.Write(e.payload)
	case <-req.Context().Done():
	}
}

// take takes an answer or an error.
func (r *Runtime) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a := Answer{Body: body, Failed: strings.HasSuffix(req.URL.Path, "/error"), Came: time.Now()}
	to := r.failed
	if id := req.PathValue("id"); id != "" {
		r.mu.Lock()
		to = r.waited[id]
		delete(r.waited, id)
		r.mu.Unlock()
	}
	select {
	case to <- a:
	default: // nobody waits for it
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

// Ready waits until the program polls for an event, and keeps that poll for the
// next Invoke. It returns what the program reported if it could not start.
func (r *Runtime) Ready(ctx context.Context) error {
	r.invoking.Lock()
	defer r.invoking.Unlock()
	poll, err := r.poll(ctx)
	if err == nil {
		go func() { // back in line; the program does not know
			select {
			case r.polls <- poll:
			case <-r.served:
			}
		}()
	}
	return err
}

func (r *Runtime) poll(ctx context.Context) (chan handedOut, error) {
	select {
	case poll := <-r.polls:
		return poll, nil
	case a := <-r.failed:
		return nil, fmt.Errorf("the program reported: %s", a.Body)
	case <-ctx.Done():
		return nil, fmt.Errorf("the program does not ask for an event: %w", ctx.Err())
	}
}

// Invoke hands an event to the program when it asks for one, and waits for the
// answer. Calls queue up.
func (r *Runtime) Invoke(ctx context.Context, event []byte) (Answer, error) {
	r.invoking.Lock()
	defer r.invoking.Unlock()
	poll, err := r.poll(ctx)
	if err != nil {
		return Answer{}, err
	}
	answer := make(chan Answer, 1)
	r.mu.Lock()
	r.events++
	id := fmt.Sprintf("00000000-0000-0000-0000-%012d", r.events)
	r.waited[id] = answer
	r.mu.Unlock()
	handed := time.Now()
	poll <- handedOut{id, event, handed.Add(r.Timeout)}
	select {
	case a := <-answer:
		a.Handed = handed
		return a, nil
	case <-ctx.Done():
		r.mu.Lock()
		delete(r.waited, id)
		r.mu.Unlock()
		return Answer{}, fmt.Errorf("the program does not answer: %w", ctx.Err())
	}
}

// Function is a custom-runtime program (a bootstrap) that runs with a Runtime of
// its own, as in one execution environment of Lambda.
type Function struct {
	*Runtime
	Started time.Time // just before the program was started

	cmd    *exec.Cmd
	exited chan struct{}
	err    error // what Wait said; after exited

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

// StartFunction starts a program. args is the program and its arguments, env
// its environment; what Lambda sets beside it is added.
func StartFunction(env []string, args ...string) (*Function, error) {
	if len(args) == 0 {
		return nil, errors.New("awstest: no program")
	}
	r, err := NewRuntime()
	if err != nil {
		return nil, err
	}
	f := &Function{Runtime: r, exited: make(chan struct{})}
	f.cmd = exec.Command(args[0], args[1:]...)
	f.cmd.Env = append(append([]string{}, env...),
		"AWS_LAMBDA_RUNTIME_API="+r.Address(), "AWS_LAMBDA_FUNCTION_NAME=godwit", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "_HANDLER=bootstrap", "LAMBDA_TASK_ROOT="+os.TempDir())
	f.cmd.Stdout, f.cmd.Stderr = (*functionLog)(f), (*functionLog)(f)
	f.Started = time.Now()
	if err := f.cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	go func() {
		f.err = f.cmd.Wait()
		close(f.exited)
	}()
	return f, nil
}

// functionLog takes what the program writes.
type functionLog Function

func (l *functionLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

// Log is all that the program has written to its standard output and error.
func (f *Function) Log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.String()
}

// PID is the program's process ID.
func (f *Function) PID() int { return f.cmd.Process.Pid }

// Exited is closed when the program has ended.
func (f *Function) Exited() <-chan struct{} { return f.exited }

// Invoke is [Runtime.Invoke], and also ends when the program does.
func (f *Function) Invoke(ctx context.Context, event []byte) (Answer, error) {
	ctx, cancel := f.whileRunning(ctx)
	defer cancel()
	a, err := f.Runtime.Invoke(ctx, event)
	return a, f.explain(err)
}

// Ready is [Runtime.Ready], and also ends when the program does.
func (f *Function) Ready(ctx context.Context) error {
	ctx, cancel := f.whileRunning(ctx)
	defer cancel()
	return f.explain(f.Runtime.Ready(ctx))
}

func (f *Function) whileRunning(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-f.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (f *Function) explain(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-f.exited:
		return fmt.Errorf("the program has ended (%v), and wrote:\n%s", f.err, f.Log())
	default:
		return err
	}
}

// Stop ends the program with SIGKILL, as Lambda ends an environment without
// extensions, and its Runtime. Stopping twice is fine.
func (f *Function) Stop() {
	_ = f.cmd.Process.Kill() // it may have ended
	<-f.exited
	_ = f.Runtime.Close()
}
