package command

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// DefaultFile is read if it is there and no other file is named.
const DefaultFile = "/etc/godwit/agent.toml"

// maxFile bounds a configuration file, in octets.
const maxFile = 1 << 20

// System is where variables and files come from: the process's own, or a test's.
type System struct {
	Lookup   func(key string) (string, bool)
	ReadFile func(name string) ([]byte, error)
	// Exists tells whether a file or directory is there.
	Exists func(name string) bool
	Root   bool // the user may do everything
}

// OS is the process's own.
func OS() System {
	return System{os.LookupEnv, readBounded, func(name string) bool { _, err := os.Stat(name); return err == nil }, os.Geteuid() == 0}
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return data, err
}

func (s System) get(key string) string { v, _ := s.Lookup(key); return v }

// defaultFile is the system's file if it is there or the user is the system's,
// else the user's own.
func (s System) defaultFile() string {
	system := DefaultFile
	if runtime.GOOS == "windows" {
		system = filepath.Join(s.get("ProgramData"), "godwit", "agent.toml")
	}
	own := s.get("XDG_CONFIG_HOME")
	if home := s.get("HOME"); !filepath.IsAbs(own) && home != "" {
		own = filepath.Join(home, ".config")
	}
	if s.Root || s.Exists(system) || !filepath.IsAbs(own) {
		return system
	}
	return filepath.Join(own, "godwit", "agent.toml")
}

// stateDir is where the state is if nobody says: where systemd says, else the
// system's place for root, who joins for a service that runs as another user,
// else the user's own.
func (s System) stateDir() (string, error) {
	// systemd separates several directories by colons; the first is ours.
	if dir, _, _ := strings.Cut(s.get("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(s.get("ProgramData"), "godwit-agent"), nil
	}
	if s.Root && s.Exists("/etc/openwrt_release") { // where /var is memory, and the keys would be gone with the power
		return "/etc/godwit-agent", nil
	}
	if s.Root {
		return "/var/lib/godwit-agent", nil
	}
	if dir := s.get("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "godwit-agent"), nil
	}
	if home := s.get("HOME"); home != "" {
		return filepath.Join(home, ".local", "state", "godwit-agent"), nil
	}
	return "", wrong("name one: --state-dir DIR", "there is no directory for the state: neither STATE_DIRECTORY nor HOME is set")
}
