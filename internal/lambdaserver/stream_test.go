package lambdaserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/internal/awstest"
	"godwit/internal/lambdaserver"
)

// failures are the sequence numbers of a batch's answer.
func failures(t rapid.TB, out []byte) []string {
	t.Helper()
	var answer struct {
		Failures *[]struct {
			Record string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || answer.Failures == nil {
		t.Fatalf("answer %s: %v", out, err)
	}
	ids := []string{}
	for _, f := range *answer.Failures {
		ids = append(ids, f.Record)
	}
	return ids
}

func sequence(numbers ...int) []string {
	out := []string{}
	for _, n := range numbers {
		out = append(out, awstest.SequenceNumber(n))
	}
	return out
}

func TestStream(t *testing.T) {
	down := errors.New("down")
	for _, c := range []struct {
		name  string
		keys  []string
		errs  []error // of the keys in the order in which they came
		asked []string
		want  []string
	}{
		{"all published", []string{"a", "b"}, []error{nil, nil}, []string{"a", "b"}, sequence()},
		{"one fails", []string{"a", "b", "c"}, []error{nil, down, nil}, []string{"a", "b", "c"}, sequence(11)},
		{"a key more than once", []string{"a", "b", "a", "b", "a"}, []error{down, nil}, []string{"a", "b"}, sequence(10, 12, 14)},
		{"all fail", []string{"a", "b"}, []error{down, down}, []string{"a", "b"}, sequence(10, 11)},
		{"a result is missing", []string{"a", "b"}, []error{nil}, []string{"a", "b"}, sequence(11)},
		{"nothing", nil, nil, nil, sequence()},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []string
			s := newServer(t, lambdaserver.Config{HTTP: http.NotFoundHandler(), Publish: func(_ context.Context, keys []string) []error {
				asked = append(asked, keys...)
				return c.errs
			}})
			out, err := s.Invoke(t.Context(), awstest.StreamEvent(10, c.keys...))
			if err != nil {
				t.Fatal(err)
			}
			if got := failures(t, out); !slices.Equal(got, c.want) || !slices.Equal(asked, c.asked) {
				t.Errorf("got %v, want %v; asked for %v, want %v", got, c.want, asked, c.asked)
			}
		})
	}
}

// As a stream goes on at the earliest record that failed, whatever fails how
// often: in the end every key has been published after its last record came, and
// none had to be published by a record that was given up.
func TestStreamLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := map[string]int{} // what the table says: the number of the newest record
		shown := map[string]int{}
		s, err := lambdaserver.New(lambdaserver.Config{HTTP: http.NotFoundHandler(), Publish: func(_ context.Context, keys []string) []error {
			errs := make([]error, len(keys))
			for i, key := range keys {
				if rapid.IntRange(0, 2).Draw(t, "fails") == 0 {
					errs[i] = errors.New("down")
					continue
				}
				shown[key] = state[key] // by state, as it is now
			}
			return errs
		}})
		if err != nil {
			t.Fatal(err)
		}
		keys := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 30).Draw(t, "keys")
		for at, rounds := 0, 0; at < len(keys); rounds++ {
			if rounds > 1000 {
				t.Fatal("no progress")
			}
			end := min(at+rapid.IntRange(1, 10).Draw(t, "batch"), len(keys))
			for i := at; i < end; i++ {
				state[keys[i]] = max(state[keys[i]], i+1)
			}
			out, err := s.Invoke(context.Background(), awstest.StreamEvent(at, keys[at:end]...))
			if err != nil {
				t.Fatal(err)
			}
			failed := failures(t, out)
			at = end
			for _, id := range failed {
				var n int
				fmt.Sscanf(id, "%d", &n)
				at = min(at, n)
			}
		}
		for key, n := range state {
			if shown[key] != n {
				t.Fatalf("%s shows %d, and the table says %d", key, shown[key], n)
			}
		}
	})
}

// A batch with a record that cannot be named as failed fails whole, before
// anything is published.
func TestStreamRefused(t *testing.T) {
	s := newServer(t, lambdaserver.Config{HTTP: http.NotFoundHandler(), Publish: func(context.Context, []string) []error {
		t.Error("something was published")
		return nil
	}})
	good := `{"eventSource":"aws:dynamodb","dynamodb":{"Keys":{"hostname":{"S":"a"}},"SequenceNumber":"1"}}`
	for _, bad := range []string{
		`{}`, `null`,
		`{"eventSource":"aws:sqs","dynamodb":{"Keys":{"hostname":{"S":"a"}},"SequenceNumber":"1"}}`,
		`{"eventSource":"aws:dynamodb","dynamodb":{"Keys":{"hostname":{"S":"a"}}}}`,
		`{"eventSource":"aws:dynamodb","dynamodb":{"Keys":{"id":{"S":"a"}},"SequenceNumber":"2"}}`,
	} {
		if out, err := s.Invoke(t.Context(), []byte(`{"Records":[`+good+`,`+bad+`]}`)); err == nil {
			t.Errorf("%s: got %s", bad, out)
		}
	}
}

func TestKinds(t *testing.T) {
	ticks := 0
	failing := errors.New("throttled")
	var result error
	s := newServer(t, lambdaserver.Config{HTTP: http.NotFoundHandler(), Tick: func(context.Context) error { ticks++; return result }})
	if _, err := s.Invoke(t.Context(), awstest.ScheduleEvent()); err != nil || ticks != 1 {
		t.Errorf("the schedule: %d ticks, %v", ticks, err)
	}
	result = failing
	if _, err := s.Invoke(t.Context(), awstest.ScheduleEvent()); !errors.Is(err, failing) {
		t.Errorf("a tick that fails: %v", err)
	}
	// Everything of the schedule inside a request is the request's.
	if a := ask(t, s, []byte(`{"source":"aws.events","Records":[],"requestContext":{"http":{"method":"GET","sourceIp":"192.0.2.1"}}}`)); a.StatusCode != 404 || ticks != 2 {
		t.Errorf("got %+v after %d ticks", a, ticks)
	}
	for event, want := range map[string]string{
		``: "not understood", `{`: "not understood", `[]`: "not understood", `"x"`: "not understood",
		`{}`: "nothing else is served", `null`: "nothing else is served", `{"source":"aws.s3"}`: "nothing else is served",
		`{"requestContext":{}}`: "nothing else is served", `{"requestContext":{"http":null}}`: "nothing else is served",
		`{"body":"{}","headers":{}}`:        "nothing else is served",
		string(awstest.StreamEvent(1, "a")): "does not publish from a stream",
	} {
		if out, err := s.Invoke(t.Context(), []byte(event)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %s, %v", event, out, err)
		}
	}
	idle := newServer(t, lambdaserver.Config{HTTP: http.NotFoundHandler()})
	if _, err := idle.Invoke(t.Context(), awstest.ScheduleEvent()); err == nil {
		t.Error("a schedule for a function that has none")
	}
}
