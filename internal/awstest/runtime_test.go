package awstest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"godwit/internal/awstest"
)

// bootstrapEnv makes this test's program behave as a bootstrap.
const bootstrapEnv = "AWSTEST_BOOTSTRAP"

// bootstrap is the least that the Runtime API asks of a program: it answers an
// event with its own bytes, and does what some events say.
func bootstrap() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"
	post := func(path, body string) {
		// As AWS's own runtime client does it: chunked.
		res, err := http.Post(api+path, "application/json", io.MultiReader(strings.NewReader(body)))
		if err != nil {
			os.Exit(3)
		}
		res.Body.Close()
	}
	if os.Getenv(bootstrapEnv) == "fail" {
		post("init/error", `{"errorMessage":"no table"}`)
		os.Exit(1)
	}
	for {
		res, err := http.Get(api + "invocation/next")
		if err != nil {
			os.Exit(3)
		}
		event, _ := io.ReadAll(res.Body)
		res.Body.Close()
		at := "invocation/" + res.Header.Get("Lambda-Runtime-Aws-Request-Id")
		word, url, _ := strings.Cut(string(event), " ")
		switch word {
		case "exit":
			fmt.Println("ending")
			os.Exit(7)
		case "late":
			if res, err := http.Get(url); err == nil { // which takes as long as the test wants
				res.Body.Close()
			}
			post(at+"/response", "late")
		case "error":
			post(at+"/error", `{"errorMessage":"no"}`)
		case "deadline":
			post(at+"/response", res.Header.Get("Lambda-Runtime-Deadline-Ms"))
		default:
			post(at+"/response", string(event))
		}
	}
}

func start(t *testing.T, how string) *awstest.Function {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := awstest.StartFunction([]string{bootstrapEnv + "=" + how}, program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	return f
}

func TestFunction(t *testing.T) {
	f := start(t, "run")
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		event, want string
		failed      bool
	}{{"one", "one", false}, {"error", `{"errorMessage":"no"}`, true}, {"two", "two", false}} {
		a, err := f.Invoke(t.Context(), []byte(c.event))
		if err != nil || string(a.Body) != c.want || a.Failed != c.failed {
			t.Errorf("%s: got %q, failed %t, error %v", c.event, a.Body, a.Failed, err)
		}
		if a.Came.Before(a.Handed) || a.Handed.Before(f.Started) {
			t.Errorf("%s: started %s, handed out %s, answered %s", c.event, f.Started, a.Handed, a.Came)
		}
	}
	f.Timeout = 3 * time.Second
	before := time.Now()
	a, err := f.Invoke(t.Context(), []byte("deadline"))
	if err != nil {
		t.Fatal(err)
	}
	var ms int64
	if _, err := fmt.Sscan(string(a.Body), &ms); err != nil {
		t.Fatal(err)
	}
	if d := time.UnixMilli(ms).Sub(before); d < 2900*time.Millisecond || d > 13*time.Second {
		t.Errorf("the deadline is %s away", d)
	}
}

// A late answer is for the event that it answers, and for no later one.
func TestFunctionLate(t *testing.T) {
	f := start(t, "run")
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-release
	}))
	defer server.Close()
	if a, err := f.Invoke(ctx, []byte("late "+server.URL)); err == nil {
		t.Errorf("got %q", a.Body)
	}
	close(release)
	if a, err := f.Invoke(t.Context(), []byte("next")); err != nil || string(a.Body) != "next" {
		t.Errorf("got %q, %v", a.Body, err)
	}
}

func TestFunctionEnds(t *testing.T) {
	f := start(t, "run")
	if _, err := f.Invoke(t.Context(), []byte("exit")); err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "ending") {
		t.Errorf("got %v", err)
	}
	<-f.Exited()
	f = start(t, "fail")
	if err := f.Ready(t.Context()); err == nil {
		t.Error("a program that cannot start is ready")
	}
}

func TestURLEvent(t *testing.T) {
	plain := awstest.URLRequest{Source: "192.0.2.1", Body: "é"}
	if got := plain.Event(); !bytes.Contains(got, []byte(`"body":"é"`)) || !bytes.Contains(got, []byte(`"isBase64Encoded":false`)) {
		t.Errorf("got %s", got)
	}
	plain.Encoded = true
	if got := plain.Event(); !bytes.Contains(got, []byte(`"body":"w6k="`)) || !bytes.Contains(got, []byte(`"isBase64Encoded":true`)) {
		t.Errorf("got %s", got)
	}
	a, err := awstest.ParseURLAnswer([]byte(`{"statusCode":200,"body":"w6k=","isBase64Encoded":true}`))
	if err != nil || a.Body != "é" || a.StatusCode != 200 {
		t.Errorf("got %+v, %v", a, err)
	}
}
