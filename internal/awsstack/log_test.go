package awsstack_test

import "testing"

// TestRequestsAreLogged: the lines that are looked for are those that the doors
// write.
func TestRequestsAreLogged(t *testing.T) {
	for _, text := range []string{`slog.LevelInfo, "changed"`, `slog.String("host"`, `slog.String("door"`, `slog.String("outcome"`, `slog.String("source"`, `level, "update", `} {
		if !sourceHas(t, "../httpserver", text) {
			t.Errorf("nothing logs with %s", text)
		}
	}
	if !sourceHas(t, "../../cmd/godwit-lambda", "slog.NewJSONHandler(log") {
		t.Error("the function's log is no JSON")
	}
}
