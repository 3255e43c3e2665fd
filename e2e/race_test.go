//go:build linux && race

package e2e

// raceEnabled tells whether the tests, and so the daemon, have the race detector.
const raceEnabled = true
