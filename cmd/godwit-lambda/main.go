// Command godwit-lambda is godwit as an AWS Lambda function: `bootstrap` of the
// runtime provided.al2023. It serves the public doors behind a Function URL.
// config.go has its settings, all of them variables of the environment.
package main

import (
	"io"
	"log/slog"
	"os"
)

func main() { os.Exit(run(os.Environ(), os.Stderr)) }

// run serves until Lambda ends the process. It returns only if it cannot start;
// the exit code is then in the function's log, and Lambda tries again.
func run(environ []string, log io.Writer) int {
	s, err := readSettings(environ)
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: s.level}))
	if err != nil {
		logger.Error("the function cannot start: its environment is not right", "err", err)
		return 1
	}
	for _, w := range s.warnings {
		logger.Warn(w)
	}
	return 0
}
