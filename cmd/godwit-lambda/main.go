//go:build !timed

package main

import (
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

// main serves until Lambda ends the process. It ends by itself only if it cannot
// start; why is then in the function's log, and Lambda tries again.
func main() {
	handler, err := start(os.Environ(), os.Stderr)
	if err != nil {
		os.Exit(1)
	}
	log.SetFlags(0) // the loop logs events that failed, as JSON
	lambda.Start(handler)
}
