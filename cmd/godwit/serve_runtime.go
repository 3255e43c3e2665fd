package main

import (
	"os"
	"runtime"
)

// useOneProcessor fits the scheduler to a machine, or a share of one, with a
// single processor, unless the operator set GOMAXPROCS.
//
// The store's writer waits for the disk with each commit, and the runtime lends
// a waiting thread's place to another. With a single place that costs a change of
// threads there and back each time; a second one leaves the writer where it is.
func useOneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
}
