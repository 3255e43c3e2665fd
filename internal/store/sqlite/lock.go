package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// lock is a data directory's lock file, held. The file stays when it is given
// back: removing it would let two processes hold locks on two files of one name.
type lock struct{ f *os.File }

// errHeld: another process, or another Store of this one, holds the lock.
var errHeld = errors.New("held")

// LockedError says that a data directory is in use.
type LockedError struct {
	Dir string
	PID int // of the holder; 0 if it has not written it down
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("the data directory %s is in use by %s: stop it first, or give another --data", e.Dir, who)
}

// takeLock takes the lock or says who holds it, without waiting.
func takeLock(file string) (*lock, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	if err := lockOS(f); err != nil {
		text, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		if errors.Is(err, errHeld) {
			pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
			return nil, &LockedError{strings.TrimSuffix(file, string(os.PathSeparator)+lockFile), pid}
		}
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	// Who holds it is a kindness, not the lock: a full disk must not keep us out.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &lock{f}, nil
}

func (l *lock) release() error {
	_ = l.f.Truncate(0)
	return l.f.Close() // which gives it back
}
