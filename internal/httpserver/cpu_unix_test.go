//go:build unix

package httpserver_test

import (
	"syscall"
	"time"
)

// cpu is the processor time that the process has used.
func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
