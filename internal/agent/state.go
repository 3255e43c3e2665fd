package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Files in the state directory.
const (
	// StateName is what the agent has to remember: it is on disk before it counts.
	StateName = "state.json"
	// StatusName is what the agent tells of itself. Losing it loses nothing.
	StatusName = "status.json"
)

// maxStateFile bounds what a damaged file can cost, in octets.
const maxStateFile = 1 << 20

// memory is what outlives a restart, by target and family.
type memory struct {
	Targets map[string]*targetMemory `json:"targets"`
}

type targetMemory struct {
	// Offset is the server's clock less our own, in seconds; LastCreated the
	// newest signature. A restart goes on after them.
	Offset      int64                    `json:"offset,omitempty"`
	LastCreated int64                    `json:"last_created,omitempty"`
	Families    map[string]*familyMemory `json:"families"` // "IPv4", "IPv6"
}

type familyMemory struct {
	// Address is the last that the server acknowledged; invalid: none, or none
	// any more.
	Address netip.Addr `json:"address,omitzero"`
	// Prefix is the last that the server acknowledged with an address.
	Prefix    netip.Prefix `json:"prefix,omitzero"`
	Since     time.Time    `json:"since,omitzero"`
	Refreshed time.Time    `json:"refreshed,omitzero"` // last asked for anew
	Tried     time.Time    `json:"tried,omitzero"`     // last try that went out
}

// Status is what an agent believes and does, for people and monitoring.
type Status struct {
	Started time.Time `json:"started"`
	Written time.Time `json:"written"`
	// Ended is when the agent stopped in good order. Zero: it runs, or was killed.
	Ended time.Time    `json:"ended,omitzero"`
	Hosts []HostStatus `json:"hosts"` // never null
}

// HostStatus is one host at one server.
type HostStatus struct {
	Host     string         `json:"host"`
	Server   string         `json:"server"`
	Families []FamilyStatus `json:"families"` // never null
}

// What a family's State can be.
const (
	StateWaiting = "waiting" // not tried yet
	StateRight   = "right"   // the server acknowledged the address
	StateRemoved = "removed" // the server acknowledged that there is none
	StateAbsent  = "absent"  // this place has no address of the family
	StateTrouble = "trouble" // it will be tried again; nobody has to act yet
	StateRefused = "refused" // somebody has to act
)

// FamilyStatus is one family of a host.
type FamilyStatus struct {
	Family string `json:"family"` // "IPv4" or "IPv6"
	State  string `json:"state"`
	// Address is the last that the server acknowledged, Since when it came.
	Address netip.Addr `json:"address,omitzero"`
	Since   time.Time  `json:"since,omitzero"`
	// Prefix is the last of the host's followers that the server acknowledged.
	Prefix  netip.Prefix `json:"prefix,omitzero"`
	Message string       `json:"message,omitempty"` // what is wrong, and what to do
	Note    string       `json:"note,omitempty"`    // what a person should know, such as CGNAT
	Next    time.Time    `json:"next,omitzero"`     // when it is tried again
	Answers []Answer     `json:"answers"`           // the newest first; never null
}

// Answer is what came of one try.
type Answer struct {
	Time    time.Time `json:"time"`
	Outcome string    `json:"outcome"` // "changed", "unchanged", or the code of what was wrong
}

// keptAnswers is how many answers a family's status has.
const keptAnswers = 5

// Health tells whether an agent with this status is all right at the time now,
// and if not, why not.
func (s *Status) Health(now time.Time) error {
	if !s.Ended.IsZero() {
		return fmt.Errorf("the agent is not running: it ended at %s; start it: godwit agent run", s.Ended.Format(time.DateTime))
	}
	var first error
	for _, h := range s.Hosts {
		reached := false
		for _, f := range h.Families {
			switch {
			case !f.Next.IsZero() && now.Sub(f.Next) > DefaultInterval:
				return fmt.Errorf("the agent is not running, or stuck: it wanted to try %s of %s again at %s; start it: godwit agent run", f.Family, h.Host, f.Next.Format(time.DateTime))
			case f.State == StateTrouble || f.State == StateRefused:
				if first == nil {
					first = fmt.Errorf("%s of %s: %s", f.Family, h.Host, f.Message)
				}
			}
			reached = reached || f.State != StateAbsent
		}
		if !reached && first == nil {
			first = fmt.Errorf("%s: this device reaches the server over no family; check the network", h.Host)
		}
	}
	return first
}

// ReadStatus reads the status file of an agent.
func ReadStatus(path string) (*Status, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no status at %s: no agent has run here; start it: godwit agent run", path)
	}
	if err != nil {
		return nil, err
	}
	s := &Status{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, damaged(path, err)
	}
	return s, nil
}

// readMemory reads the state file. One that cannot be understood is as none:
// all that is lost is one request that would not have been needed.
func readMemory(path string) (*memory, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte("{}"), nil
	}
	m, damage := parseMemory(data)
	switch {
	case err != nil:
		return m, err
	case damage != nil:
		return m, damaged(path, damage)
	}
	return m, nil
}

func parseMemory(data []byte) (*memory, error) {
	m := &memory{}
	err := json.Unmarshal(data, m)
	if err != nil {
		m = &memory{}
	}
	if m.Targets == nil {
		m.Targets = map[string]*targetMemory{}
	}
	return m, err
}

func (m *memory) target(key string) *targetMemory {
	t := m.Targets[key]
	if t == nil {
		t = &targetMemory{}
		m.Targets[key] = t
	}
	if t.Families == nil {
		t.Families = map[string]*familyMemory{}
	}
	return t
}

func (t *targetMemory) family(f Family) *familyMemory {
	m := t.Families[f.String()]
	if m == nil {
		m = &familyMemory{}
		t.Families[f.String()] = m
	}
	if !m.Address.IsValid() || m.Address.Is4() != (f == IPv4) {
		m.Address = netip.Addr{}
	}
	return m
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxStateFile))
}

func damaged(path string, err error) error {
	return fmt.Errorf("%s is damaged: %w; it is written anew by the next godwit agent run", path, err)
}

// writeJSON replaces a file whole. durable: it is on disk when this returns.
func writeJSON(path string, v any, durable bool) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return writeFile(path, append(data, '\n'), 0o600, durable)
}

// writeFile replaces a file whole or not at all, and gives it to the owner of
// its directory, because the one who joins is often root and the agent is not.
func writeFile(path string, data []byte, mode fs.FileMode, durable bool) error {
	dir := filepath.Dir(path)
	if err := MakeDir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = giveToOwner(f, dir)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// MakeDir makes a directory of the agent's, with those above it, which nobody
// else can read. What is made belongs to the owner of the directory above.
func MakeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if _, err := os.Stat(above); errors.Is(err, fs.ErrNotExist) {
			if err := MakeDir(above); err != nil {
				return err
			}
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return giveToOwner(f, above)
}
