//go:build unix

package command

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock makes this process the only agent of a state directory, so that two do
// not write over what the other remembers. A directory that cannot be locked,
// such as one on some network file systems, is used without.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}, nil // agent.New says what is wrong with it
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("an agent is running already with the state directory %s: stop that one first, or give this one another --state-dir", dir)
	}
	return func() { f.Close() }, nil
}
