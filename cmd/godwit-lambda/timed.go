//go:build timed && linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// main, with the build tag timed, is no Lambda function: it hands its handler
// events in its own process and says what they cost. See bench/lambda.sh.
//
//	bootstrap-timed N
//
// T0 is the monotonic clock's time just before exec, in seconds.
func main() {
	handler, err := start(os.Environ(), os.Stderr)
	if err != nil || len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: bootstrap-timed N", err)
		os.Exit(1)
	}
	t0, _ := strconv.ParseFloat(os.Getenv("T0"), 64)
	n, _ := strconv.Atoi(os.Args[1])
	ready, cpuReady := monotonic()-t0, cpu()
	one := func(i int) {
		out, err := handler.Invoke(context.Background(), timedEvent(i))
		var answer struct{ StatusCode int }
		if err != nil || json.Unmarshal(out, &answer) != nil || answer.StatusCode != 201 {
			fmt.Fprintf(os.Stderr, "event %d: %s %v\n", i, out, err)
			os.Exit(1)
		}
	}
	one(0)
	first := monotonic() - t0
	wall, used := time.Now(), cpu()
	for i := 1; i <= n; i++ {
		one(i)
	}
	per := float64(max(n, 1)) / 1e3
	fmt.Printf("ready_ms=%.2f first_ms=%.2f cpu_ready_ms=%.2f warm_ms=%.3f warm_cpu_ms=%.3f rss_mib=%.1f\n",
		ready*1e3, first*1e3, cpuReady*1e3, time.Since(wall).Seconds()/per, (cpu()-used)/per, float64(usage().Maxrss)/1024)
}

// timedEvent is the seed's set, each from another address. Making it is timed
// too, as it is for the reference.
func timedEvent(i int) []byte {
	const host, secret = "host.example.com.", "SHARED" // the row that awsstub has
	source := fmt.Sprintf("198.51.%d.%d", i/250%250, i%250+1)
	hash := sha256.Sum256([]byte(source + host + secret))
	body, _ := json.Marshal(map[string]string{"execution_mode": "set", "ddns_hostname": host, "validation_hash": hex.EncodeToString(hash[:])}) // texts
	event, _ := json.Marshal(map[string]any{
		"version": "2.0", "rawPath": "/", "body": string(body),
		"requestContext": map[string]any{"http": map[string]any{"method": "POST", "protocol": "HTTP/1.1", "sourceIp": source}},
	})
	return event
}

func monotonic() float64 {
	var ts syscall.Timespec
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&ts)), 0) // CLOCK_MONOTONIC is there
	return float64(ts.Sec) + float64(ts.Nsec)/1e9
}

func usage() (r syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // it is
	return r
}

func cpu() float64 {
	r := usage()
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}
