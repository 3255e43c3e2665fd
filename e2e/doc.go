// Package e2e tests godwit from outside: the real program over real sockets,
// asked by dig, curl and the shell, killed, cut off from its disk, and watched
// by a ledger in another process that knows what was acknowledged.
//
// testdata/script holds one story a file, to be read as the manual; their own
// commands (serve, update, dig …) are in script_test.go. Programs are built once
// by TestMain, which the test cache does not see: run with -count=1. The tests run
// on Linux.
//
// Everything stays on 127.0.0.0/8 and ::1. Tests that mount or unshare need
// root; without it they skip, but with CI set that is a failure.
package e2e
