package sqlite

import (
	"os"
	"syscall"
)

// openChanges opens or makes a file of the log, and tells whether each write is
// synced by itself. It passes the kernel's cache by where the file system lets it:
// nobody reads what is written here, and a sync has less to look for.
func openChanges(name string) (*os.File, bool, error) {
	const flags = os.O_RDWR | os.O_CREATE | syscall.O_DSYNC
	f, err := os.OpenFile(name, flags|syscall.O_DIRECT, 0o600)
	if err != nil {
		f, err = os.OpenFile(name, flags, 0o600)
	}
	return f, true, err
}
