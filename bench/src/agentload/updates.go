//go:build linux

package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"godwit/internal/agent"
	"godwit/internal/api"
	"godwit/internal/signature"
)

// perKey is how many updates a host gets in a row. A key makes one signature for
// each second, and a server takes those of the next five minutes: that is enough
// for five rounds.
const perKey = 20

// device is one host with its key.
type device struct {
	i      int
	key    *agent.Key
	signer *signature.Signer
}

// line is one connection that stays open, from an address of its own.
type line struct {
	conn net.Conn
	r    *bufio.Reader
	addr netip.Addr
}

func dial(i int) (*line, error) {
	l := &line{addr: netip.AddrFrom4([4]byte{127, 1, byte(i / 250), byte(1 + i%250)})}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: l.addr.AsSlice()}, Timeout: 10 * time.Second}
	r, err := http.NewRequest(http.MethodGet, *url, nil)
	if err != nil {
		return nil, err
	}
	if l.conn, err = d.Dial("tcp", r.URL.Host); err != nil {
		return nil, err
	}
	l.r = bufio.NewReader(l.conn)
	return l, nil
}

// A door makes a request for a host over a line. Each has hosts of its own: what
// a secret has changed, no key may change for ten seconds, and a signature of the
// future, which a key that signs more than once a second makes, is always noted.
// from is the address that the line comes from.
type door struct {
	name string
	// move is whether each request comes from another address than the last.
	move bool
	send func(d *device, from netip.Addr) (*http.Request, error)
	// done tells an update that changed or left what it should.
	done func(status int, answer []byte) bool
}

func signed(d *device, s *signature.Signer, body string) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodPut, *url+api.HostPath+hostName(d.i).String()+api.AddressesPath, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	return r, s.Sign(r, []byte(body), time.Now())
}

func signedRequest(d *device, _ netip.Addr) (*http.Request, error) { return signed(d, d.signer, "{}") }

// unchangedRequest names the address that is there. It moves no mark, so that
// many may have the same time.
func unchangedRequest(d *device, from netip.Addr) (*http.Request, error) {
	s, err := d.key.Signer()
	if err != nil {
		return nil, err
	}
	return signed(d, s, `{"a":["`+from.String()+`"]}`)
}

func outcome(want string) func(int, []byte) bool {
	return func(_ int, answer []byte) bool {
		var a api.Addresses
		return json.Unmarshal(answer, &a) == nil && a.Outcome == want
	}
}

var doors = []door{
	{"signed", true, signedRequest, outcome(api.Changed)},
	{"seed", true, seedRequest, func(status int, _ []byte) bool { return status == http.StatusCreated }},
	{"unchanged", false, unchangedRequest, outcome(api.Unchanged)},
}

func seedRequest(d *device, from netip.Addr) (*http.Request, error) {
	name := hostName(d.i).String()
	sum := sha256.Sum256([]byte(from.String() + name + secret(d.i)))
	body := fmt.Sprintf(`{"execution_mode":"set","ddns_hostname":%q,"validation_hash":"%x"}`, name, sum)
	return http.NewRequest(http.MethodPost, *url+"/", strings.NewReader(body))
}

// updates loads the server through each door, with one update in flight and
// with one for each host. Each door has *hosts of its own.
func updates() error {
	devices := make([]*device, len(doors)**hosts)
	for i := range devices {
		key, err := agent.ReadKey(keyPath(i))
		if err != nil {
			return err
		}
		devices[i] = &device{i: i, key: key}
		if devices[i].signer, err = key.Signer(); err != nil {
			return err
		}
	}
	for range *rounds {
		if err := verify(); err != nil {
			return err
		}
		for _, flight := range []int{1, *hosts} {
			for i, d := range doors {
				if *only != "" && *only != d.name {
					continue
				}
				if err := load(d, devices[i**hosts:][:*hosts], flight); err != nil {
					return fmt.Errorf("%s, %d in flight: %w", d.name, flight, err)
				}
			}
		}
	}
	return nil
}

// verify prints what a single check of a signature takes on this machine at this
// time: no update can cost less.
func verify() error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	const n = 500
	message := make([]byte, 300) // the length of what an update signs
	signature := ed25519.Sign(private, message)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadCPU()
	for range n {
		if !ed25519.Verify(public, message, signature) {
			return errors.New("a signature is not what it should be")
		}
	}
	fmt.Printf("ed25519 cpu_us=%.1f\n", float64((threadCPU()-before).Nanoseconds())/1e3/n)
	return nil
}

// threadCPU is what the calling thread has spent on a CPU.
func threadCPU() time.Duration {
	const rusageThread = 1 // getrusage(2); package syscall has no name for it
	var r syscall.Rusage
	_ = syscall.Getrusage(rusageThread, &r) // the arguments are right
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// load prints one row.
func load(d door, devices []*device, flight int) error {
	times := perKey
	if flight == 1 {
		times /= 3 // it takes long enough
	}
	workers := make([]worker, flight)
	for w := range workers {
		workers[w].door = d
		for i := w; i < len(devices); i += flight {
			workers[w].devices = append(workers[w].devices, devices[i])
		}
		for side := range workers[w].lines {
			l, err := dial(2*w + side)
			if err != nil {
				return err
			}
			defer l.conn.Close()
			workers[w].lines[side] = l
		}
	}
	all := func(do func(*worker) error) error {
		var wg sync.WaitGroup
		errs := make(chan error, flight)
		for w := range workers {
			wg.Go(func() {
				if err := do(&workers[w]); err != nil {
					errs <- err
				}
			})
		}
		wg.Wait()
		close(errs)
		return <-errs
	}
	// Before the clock runs, every host is where its first line comes from.
	if err := all(func(w *worker) error { return w.pass(0, true) }); err != nil {
		return err
	}
	time.Sleep(time.Second) // for a signature that is newer
	began, before := time.Now(), cpu()
	err := all(func(w *worker) error {
		for n := range times {
			if err := w.pass(n+1, false); err != nil {
				return err
			}
		}
		return nil
	})
	took, spent := time.Since(began), cpu()-before
	if err != nil {
		return err
	}
	var latency []time.Duration
	for _, w := range workers {
		latency = append(latency, w.latency...)
	}
	n := len(latency)
	fmt.Printf("%s/%d updates=%d rate=%.0f cpu_us=%.1f p50_us=%d p99_us=%d\n", d.name, flight, n, float64(n)/took.Seconds(),
		float64(spent.Microseconds())/float64(n), quantile(latency, .5).Microseconds(), quantile(latency, .99).Microseconds())
	return nil
}

// worker has one update in flight.
type worker struct {
	door    door
	devices []*device
	lines   [2]*line
	latency []time.Duration
}

// pass updates each host of the worker once.
func (w *worker) pass(n int, warm bool) error {
	d, l := w.door, w.lines[0]
	if d.move {
		l = w.lines[n%2]
	}
	for _, device := range w.devices {
		began := time.Now()
		status, answer, err := l.exchange(d, device)
		if err != nil {
			return err
		}
		if !warm {
			if !d.done(status, answer) {
				return fmt.Errorf("host %d: status %d: %.300s", device.i, status, answer)
			}
			w.latency = append(w.latency, time.Since(began))
		}
	}
	return nil
}

// exchange writes the request by hand: the client of net/http costs more than
// the server that is measured.
func (l *line) exchange(d door, device *device) (status int, answer []byte, err error) {
	r, err := d.send(device, l.addr)
	if err != nil {
		return 0, nil, err
	}
	if err := l.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, nil, err
	}
	if err := r.Write(l.conn); err != nil {
		return 0, nil, err
	}
	response, err := http.ReadResponse(l.r, r)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return response.StatusCode, answer, err
}
