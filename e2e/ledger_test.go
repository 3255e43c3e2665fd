//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// The ledger is a client in a process of its own. It sends updates from ever new
// addresses, writes down each attempt before it is sent and each acknowledgement
// after it came, and so knows what the server owes us when it comes back.

// ledgerConfig is what the ledger process is told by its environment.
type ledgerConfig struct {
	URL     string
	File    string
	Hosts   []testHost
	Workers int
	First   int // number of the first source address
}

// Lines of the ledger's file: a word, a host, an address.
const (
	attempted    = "attempted"
	acknowledged = "acknowledged"
	refused      = "refused" // and the status

	// powerCut, alone, is written by the controller: what is acknowledged after it
	// would never have left the machine.
	powerCut = "cut"
	loading  = "loading" // alone: the power is back, a new load begins
)

// sourceAddress is the n-th address to send from: all of 127.0.0.0/8 but the
// first and last 65536.
func sourceAddress(n int) string {
	n %= 254 << 16
	return fmt.Sprintf("127.%d.%d.%d", 1+n>>16, n>>8&255, n&255)
}

type ledgerProcess struct {
	config ledgerConfig
	mu     sync.Mutex // guards file
	file   *os.File
	source atomic.Int64
	wanted atomic.Int64 // acknowledgements until "reached" is said
}

func ledgerMain(text string) int {
	l := &ledgerProcess{}
	err := json.Unmarshal([]byte(text), &l.config)
	if err == nil {
		l.file, err = os.OpenFile(l.config.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l.source.Store(int64(l.config.First))
	var stop atomic.Bool
	var workers sync.WaitGroup
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, n, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "run":
			count, _ := strconv.Atoi(n)
			l.wanted.Store(int64(count))
			l.note(loading)
			stop.Store(false)
			for w := range l.config.Workers {
				workers.Go(func() { l.work(w, &stop) })
			}
		case "pause":
			stop.Store(true)
			workers.Wait()
			fmt.Println("paused")
		}
	}
	return 0
}

// work goes round the worker's own hosts, each round from another address over
// one connection, until it is stopped or the server is gone.
func (l *ledgerProcess) work(worker int, stop *atomic.Bool) {
	var own []testHost
	for i := worker; i < len(l.config.Hosts); i += l.config.Workers {
		own = append(own, l.config.Hosts[i])
	}
	for !stop.Load() {
		c := newCaller(sourceAddress(int(l.source.Add(1))), l.config.URL)
		for _, h := range own {
			if stop.Load() {
				break
			}
			l.note(attempted, h.Name, c.source)
			got, err := c.update(h.Name, h.Secret)
			switch {
			case err != nil:
				c.close()
				return
			case got.status == 200 || got.status == 201:
				l.note(acknowledged, h.Name, c.source)
				if l.wanted.Add(-1) == 0 {
					fmt.Println("reached")
				}
			default:
				l.note(refused, h.Name, c.source, strconv.Itoa(got.status))
			}
		}
		c.close()
	}
}

func (l *ledgerProcess) note(words ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.WriteString(strings.Join(words, " ") + "\n"); err != nil {
		panic(err) // a ledger that cannot write must not go on acknowledging
	}
}

// owed is what the server owes us of one host.
type owed struct {
	acknowledged string   // address; "" before the first
	later        []string // attempts after it, in order; any of them may have come through
	// changes since the last look, at least and at most
	least, most uint64
	generation  uint64 // at the last look; 0: not looked yet
}

// ledger is the controlling end of a ledger process.
type ledger struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	file  *os.File
	rest  string // half a line
	cut   bool   // a powerCut was read since the load began
	hosts map[string]*owed

	acknowledged int
	refusals     map[string]int // by status
}

// startLedger starts a ledger process that stops with the test.
func startLedger(t testing.TB, d *daemon, hosts []testHost, workers int) *ledger {
	t.Helper()
	config := ledgerConfig{URL: d.url(), File: filepath.Join(t.TempDir(), "ledger"), Hosts: hosts, Workers: workers}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{lines: make(chan string, 16), hosts: map[string]*owed{}, refusals: map[string]int{}}
	for _, h := range hosts {
		l.hosts[h.Name] = &owed{}
	}
	if l.file, err = os.OpenFile(config.File, os.O_CREATE|os.O_RDONLY, 0o644); err != nil {
		t.Fatal(err)
	}
	l.cmd = exec.Command(self)
	l.cmd.Env = append(os.Environ(), ledgerEnv+"="+string(text))
	l.cmd.Stderr = os.Stderr
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if l.stdin, err = l.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(l.lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			l.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		l.stdin.Close()
		l.cmd.Process.Kill()
		for range l.lines { // so that the reader ends
		}
		<-read
		l.cmd.Wait()
		l.file.Close()
	})
	return l
}

// run starts the load; reached then says when so many acknowledgements came.
func (l *ledger) run(acknowledgements int) error {
	_, err := fmt.Fprintf(l.stdin, "run %d\n", acknowledgements)
	return err
}

// noteCut writes down that the power goes now. An fsync that is under way may
// still be reported as done by ext4, whose shutdown only plays a power cut: a real
// one would have stopped the program too.
func (l *ledger) noteCut() error {
	f, err := os.OpenFile(l.file.Name(), os.O_APPEND|os.O_WRONLY, 0) // l.file reads on where it was
	if err != nil {
		return err
	}
	_, err = f.WriteString(powerCut + "\n")
	return errors.Join(err, f.Close())
}

// pause ends the load, reads the file, and tells whether the number was reached.
func (l *ledger) pause() (reached bool, err error) {
	if _, err := fmt.Fprintln(l.stdin, "pause"); err != nil {
		return false, err
	}
	for line := range l.lines {
		if line == "paused" {
			return reached, l.read()
		}
		reached = true
	}
	return false, fmt.Errorf("the ledger process is gone")
}

// read takes in what the file has more.
func (l *ledger) read() error {
	data, err := io.ReadAll(l.file)
	if err != nil {
		return err
	}
	lines := strings.Split(l.rest+string(data), "\n")
	l.rest = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		f := strings.Fields(line)
		if len(f) == 1 {
			l.cut = f[0] == powerCut
			continue
		}
		host := l.hosts[f[1]]
		switch f[0] {
		case attempted:
			host.later = append(host.later, f[2])
			host.most++
		case acknowledged:
			if l.cut {
				continue
			}
			host.later = host.later[slices.Index(host.later, f[2])+1:]
			host.acknowledged = f[2]
			host.least++
			l.acknowledged++
		case refused:
			l.refusals[f[3]]++
			if f[3] == "503" {
				continue // the disk failed under it: nobody knows what is on it
			}
			host.later = slices.DeleteFunc(host.later, func(a string) bool { return a == f[2] })
			host.most--
		}
	}
	return nil
}

// settle judges what a host shows after the load: the last acknowledged address
// or one that was attempted later, at a generation that fits.
func (o *owed) settle(shown string, generation uint64) error {
	if shown != o.acknowledged && !slices.Contains(o.later, shown) {
		return fmt.Errorf("it is %q; acknowledged was %q, attempted later were %q", shown, o.acknowledged, o.later)
	}
	if o.generation > 0 {
		if moved := generation - o.generation; moved < o.least || moved > o.most {
			return fmt.Errorf("its generation moved by %d, from %d, but %d changes were acknowledged and %d attempted", moved, o.generation, o.least, o.most)
		}
	}
	*o = owed{acknowledged: shown, generation: generation}
	return nil
}
