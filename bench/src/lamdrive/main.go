//go:build linux

// Command lamdrive times a Lambda custom-runtime program (a bootstrap) from
// outside: it serves the Runtime API on loopback, starts the program, hands it
// Function URL events and waits for each answer.
//
//	lamdrive [flags] CMD [ARGS...]
//
// CMD inherits the environment. Each event is the seed's "set" for one host;
// with -same, all of them come from -address, otherwise each from another one.
// The result is one line of key=value pairs:
//
//	ready_ms     from just before exec to the first poll for an event
//	first_ms     from just before exec to the first answer (the event waits at the first poll)
//	cpu_ready_ms CPU time until the first poll
//	warm_ms, warm_cpu_ms  per further event; status is the last answer's
//	rss_mib      peak resident size
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"godwit/internal/awstest"
)

var (
	n       = flag.Int("n", 400, "events after the first")
	host    = flag.String("host", "host.example.com.", "host name in the events")
	secret  = flag.String("secret", "SHARED", "the host's shared secret")
	same    = flag.Bool("same", false, "every event from -address")
	address = flag.String("address", "192.0.2.1", "source address with -same")
	timeout = flag.Duration("timeout", 30*time.Second, "patience for one answer")
)

func event(i int) []byte {
	source := *address
	if !*same {
		source = fmt.Sprintf("198.51.%d.%d", i/250%250, i%250+1)
	}
	sum := sha256.Sum256([]byte(source + *host + *secret))
	body, _ := json.Marshal(map[string]string{"execution_mode": "set", "ddns_hostname": *host, "validation_hash": hex.EncodeToString(sum[:])}) // texts
	return awstest.URLRequest{Source: source, Body: string(body)}.Event()
}

func main() {
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: lamdrive [flags] CMD [ARGS...]")
		os.Exit(2)
	}
	if err := run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "lamdrive:", err)
		os.Exit(1)
	}
}

func run(command []string) error {
	f, err := awstest.StartFunction(os.Environ(), command...)
	if err != nil {
		return err
	}
	defer f.Stop()
	status := 0
	invoke := func(i int) (awstest.Answer, error) {
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		defer cancel()
		a, err := f.Invoke(ctx, event(i))
		if err != nil {
			return a, err
		}
		u, err := awstest.ParseURLAnswer(a.Body)
		if status = u.StatusCode; err != nil || a.Failed || status/100 != 2 {
			return a, fmt.Errorf("answer %s\nlog:\n%s", a.Body, f.Log())
		}
		return a, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := f.Ready(ctx); err != nil {
		return err
	}
	ready, cpuReady := time.Since(f.Started), cpu(f.PID())
	a, err := invoke(0)
	if err != nil {
		return err
	}
	first := a.Came.Sub(f.Started)
	// An event is over when the program asks for the next one.
	settle := func() error { return f.Ready(ctx) }
	if err := settle(); err != nil {
		return err
	}
	began, cpu0 := time.Now(), cpu(f.PID())
	for i := 1; i <= *n; i++ {
		if _, err := invoke(i); err != nil {
			return err
		}
	}
	ctx, cancel = context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := settle(); err != nil {
		return err
	}
	wall, warm := time.Since(began), cpu(f.PID())-cpu0
	ms := func(d time.Duration, per int) float64 { return d.Seconds() * 1e3 / float64(max(per, 1)) }
	fmt.Printf("ready_ms=%.2f first_ms=%.2f cpu_ready_ms=%.2f warm_ms=%.3f warm_cpu_ms=%.3f rss_mib=%.1f status=%d\n",
		ms(ready, 1), ms(first, 1), ms(cpuReady, 1), ms(wall, *n), ms(warm, *n), rss(f.PID()), status)
	return nil
}

// cpu is the time that all threads of the process have spent on a CPU.
func cpu(pid int) time.Duration {
	var sum int64
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is right
	for _, f := range files {
		data, _ := os.ReadFile(f) // a thread may have gone
		v, _, _ := strings.Cut(string(data), " ")
		ns, _ := strconv.ParseInt(v, 10, 64)
		sum += ns
	}
	return time.Duration(sum)
}

var peak = regexp.MustCompile(`VmHWM:\s+(\d+)`)

// rss is the process' peak resident size in MiB.
func rss(pid int) float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m := peak.FindSubmatch(data)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseFloat(string(m[1]), 64) // digits
	return kb / 1024
}
