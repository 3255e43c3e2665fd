package sqlite_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("GODWIT_TEST_WRITER"); dir != "" {
		os.Exit(writeUntilTold(dir))
	}
	goleak.VerifyTestMain(m)
}
