//go:build unix

package agent

import (
	"os"
	"syscall"
)

// giveToOwner gives a new file to the owner of the directory that it is in. Only
// root can, and for others it is so already.
func giveToOwner(f *os.File, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return f.Chown(int(stat.Uid), int(stat.Gid))
}
