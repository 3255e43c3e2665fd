//go:build !linux

package sqlite

import "os"

// openChanges opens or makes a file of the log, and tells whether each write is
// synced by itself.
func openChanges(name string) (*os.File, bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	return f, false, err
}
