package awstest_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(bootstrapEnv) != "" {
		bootstrap() // never returns
	}
	goleak.VerifyTestMain(m)
}
